//! Blobs: which there are, and the rules of writing and reading them.
//!
//! Blobs have up to tens of MB and are on disk only. The hub gets and gives them in ranges of at most
//! [`RANGE_BYTES_MAX`] and keeps none.
//!
//! They are stored as what [`Effects`](crate::session::Effects) calls blobs: `write_blob` for each range
//! as it arrives, while the bytes are digested on their way ([`Incoming`]); `commit_blob` for what has
//! the right hash; `read_blob` for ranges; `remove_blob` as [`Blobs::clean`] decides. A blob is
//! recorded when its commit was answered: one that was committed but not recorded is written over when
//! it is next fetched.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::codec::rljson::{BlobHasher, Hash};

/// Largest blob, in bytes.
pub const BLOB_BYTES_MAX: u64 = 1 << 30;
/// Most bytes of a blob that are in memory at once: what clients ask for at a time.
pub const RANGE_BYTES_MAX: usize = 4 << 20;

/// Why a blob is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// It is larger than [`BLOB_BYTES_MAX`], or than it was said to be.
    #[error("a blob is larger than it may be")]
    TooLarge,
    /// It is shorter than it was said to be.
    #[error("a blob ends early")]
    Short,
    /// Its bytes are those of another blob.
    #[error("a blob has other bytes than its id says")]
    Mismatch,
}

/// A blob that is being fetched, range by range.
#[derive(Debug)]
pub struct Incoming {
    id: Hash,
    size: u64,
    received: u64,
    hasher: BlobHasher,
}

impl Incoming {
    /// A blob of this id and size, of which nothing has come.
    pub fn new(id: Hash, size: u64) -> Result<Self, BlobError> {
        if size > BLOB_BYTES_MAX {
            return Err(BlobError::TooLarge);
        }
        Ok(Self { id, size, received: 0, hasher: BlobHasher::default() })
    }

    /// The range to ask for next; none if all has come.
    pub fn next_range(&self) -> Option<Range<u64>> {
        let end = self.size.min(self.received + RANGE_BYTES_MAX as u64);
        (self.received < end).then_some(self.received..end)
    }

    /// The next bytes have come.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        let received = self.received.saturating_add(bytes.len() as u64);
        if received > self.size {
            return Err(BlobError::TooLarge);
        }
        self.hasher.update(bytes);
        self.received = received;
        Ok(())
    }

    /// Whether it is what its id says, now that all has come.
    pub fn finish(self) -> Result<Hash, BlobError> {
        if self.received < self.size {
            return Err(BlobError::Short);
        }
        if self.hasher.finish() == self.id { Ok(self.id) } else { Err(BlobError::Mismatch) }
    }
}

#[derive(Clone, Copy, Debug)]
struct Blob {
    size: u64,
    created_ms: u64,
    used: u64,
}

/// The blobs that are on disk.
#[derive(Debug, Default)]
pub struct Blobs {
    blobs: BTreeMap<Hash, Blob>,
    bytes: u64,
    bytes_max: u64,
    uses: u64,
}

impl Blobs {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    /// What they take on disk, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether so many bytes more fit.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.bytes.saturating_add(bytes) <= self.bytes_max
    }

    /// A blob was written at `created_ms` since the Unix epoch; it is to be recorded.
    pub fn put(&mut self, id: Hash, size: u64, created_ms: u64) {
        self.uses += 1;
        let blob = Blob { size, created_ms, used: self.uses };
        self.bytes = self.bytes.saturating_add(size);
        if let Some(old) = self.blobs.insert(id, blob) {
            self.bytes = self.bytes.saturating_sub(old.size);
        }
    }

    /// Whether it is there.
    pub fn has(&self, id: &Hash) -> bool {
        self.blobs.contains_key(id)
    }

    /// Size in bytes and time of writing, in ms since the Unix epoch; notes that it was used.
    pub fn use_blob(&mut self, id: &Hash) -> Option<(u64, u64)> {
        self.uses += 1;
        let blob = self.blobs.get_mut(id)?;
        blob.used = self.uses;
        Some((blob.size, blob.created_ms))
    }

    /// All blobs whose id begins so, by id, those after `after`: id, size, time.
    pub fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<Hash>,
    ) -> impl Iterator<Item = (Hash, u64, u64)> + 'a {
        let is_listed = move |id: &Hash| id.as_str().starts_with(prefix) && Some(*id) > after;
        let listed = self.blobs.iter().filter(move |(id, _)| is_listed(id));
        listed.map(|(id, blob)| (*id, blob.size, blob.created_ms))
    }

    /// A blob is not there after all.
    pub fn forget(&mut self, id: &Hash) {
        if let Some(blob) = self.blobs.remove(id) {
            self.bytes = self.bytes.saturating_sub(blob.size);
        }
    }

    /// Drops what is not needed until so many bytes more fit; what was dropped.
    pub(super) fn clean(&mut self, is_needed: impl Fn(&Hash) -> bool, bytes: u64) -> Vec<Hash> {
        if self.has_room(bytes) {
            return Vec::new();
        }
        let mut droppable: Vec<(u64, Hash)> = self
            .blobs
            .iter()
            .filter(|(id, _)| !is_needed(id))
            .map(|(id, blob)| (blob.used, *id))
            .collect();
        droppable.sort_unstable();
        let mut dropped = Vec::new();
        for (_, id) in droppable {
            if self.has_room(bytes) {
                break;
            }
            self.forget(&id);
            dropped.push(id);
        }
        dropped
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        assert_eq!(self.bytes, self.blobs.values().map(|blob| blob.size).sum::<u64>());
    }
}

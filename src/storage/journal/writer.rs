//! Appending: one write a turn, segment after segment.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Sync;
use super::syncer::{Synced, Syncer, Work};
use super::volume::{SegmentFile, Volume};
use crate::codec::journal::{Key, Place, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::session::Instant;
use crate::session::journal::{Batch, Sought};

/// Size from which on a segment is followed by the next, in bytes.
const SEGMENT_BYTES: u64 = 64 << 20;
/// Segments beyond which sessions are asked to store what pins the oldest.
const SEGMENTS_MAX: u32 = 8;
/// Space reserved beyond what is written, in bytes. It is what a full disk leaves for the batch
/// under way.
const RESERVE_BYTES: u64 = 4 << 20;
/// Reserve below which more is reserved, in bytes.
const RESERVE_LOW_BYTES: u64 = 2 << 20;
/// Between attempts after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// What a journal is opened with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of this epoch's records.
    pub key: Key,
    /// Whose journal it is.
    pub shard: usize,
    /// When it is synced.
    pub sync: Sync,
    /// Size from which on a segment is followed by the next, in bytes.
    pub segment_bytes: u64,
}

impl Settings {
    /// The usual ones.
    pub fn new(key: Key, shard: usize, sync: Sync) -> Self {
        Self { key, shard, sync, segment_bytes: SEGMENT_BYTES }
    }
}

/// Why nothing should be recorded for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no more space.
    Full(String),
    /// A write failed: its batch waits, and so does what depends on it.
    WriteFailed(String),
    /// A sync failed: up to the segment of this number nobody knows what is on the disk.
    SyncFailed {
        /// The newest segment that is in doubt.
        abandoned: u32,
        /// What the system said.
        error: String,
    },
}

/// What earlier processes wrote, until no session needs it.
#[derive(Debug)]
pub struct Earlier {
    shards: AtomicUsize,
    remove: fn(&std::path::Path, u32),
    root: std::path::PathBuf,
    epoch: u32,
}

impl Earlier {
    /// Deletes the epochs before `epoch` under `root` with `remove` when `shards` are done with them.
    pub fn new(
        root: &std::path::Path,
        epoch: u32,
        shards: usize,
        remove: fn(&std::path::Path, u32),
    ) -> Arc<Self> {
        Arc::new(Self { shards: AtomicUsize::new(shards), remove, root: root.to_owned(), epoch })
    }

    /// One more shard needs nothing of it; the work to be done if it was the last.
    fn done(self: Arc<Self>) -> Option<Work> {
        let last = self.shards.fetch_sub(1, Ordering::AcqRel) == 1;
        last.then(|| Work::RemoveEarlier(Box::new(move || (self.remove)(&self.root, self.epoch))))
    }
}

/// What can be let go once a sync that is under way has succeeded.
#[derive(Clone, Copy, Debug)]
struct Release {
    /// Segments before this one.
    before: u32,
    /// What earlier processes wrote.
    earlier: bool,
}

/// The journal of one shard.
#[derive(Debug)]
pub struct Journal {
    /// What is recorded in this turn.
    pub batch: Batch,
    settings: Settings,
    volume: Arc<dyn Volume>,
    file: Arc<dyn SegmentFile>,
    syncer: Syncer,
    earlier: Option<Arc<Earlier>>,
    /// Bytes of the present segment.
    written: u64,
    /// Bytes of the present segment that there is space for.
    reserved: u64,
    /// Bytes of the batch that are sealed already.
    sealed: usize,
    synced: Place,
    sync_at: Option<Instant>,
    /// What each sync under way lets go.
    syncing: VecDeque<Release>,
    /// What no session needs, by what is written: a trim that is not may still be lost.
    releasable: Release,
    removed_before: u32,
    /// The gravest.
    trouble: Option<Trouble>,
    /// The batch could not be written.
    write_failed: bool,
    retry_at: Option<Instant>,
}

impl Journal {
    /// Opens the first segment of a shard, with `recovered` sessions of earlier processes to be
    /// stored anew.
    ///
    /// # Errors
    /// If it cannot be created and written; a text for people.
    pub fn open(
        settings: Settings,
        volume: Arc<dyn Volume>,
        syncer: Syncer,
        recovered: usize,
        earlier: Option<Arc<Earlier>>,
    ) -> Result<Self, String> {
        let batch = Batch::new(settings.key, recovered);
        let first = Self::begin(&*volume, &settings, batch.segment());
        let (file, reserved) = first.map_err(|error| {
            format!("the journal cannot be written: {error}; free some space or use --in-memory")
        })?;
        let mut journal = Self {
            batch,
            settings,
            volume,
            file,
            syncer,
            earlier,
            written: SEGMENT_HEADER_BYTES as u64,
            reserved,
            sealed: 0,
            synced: Place::default(),
            sync_at: None,
            syncing: VecDeque::new(),
            releasable: Release { before: 1, earlier: false },
            removed_before: 1,
            trouble: None,
            write_failed: false,
            retry_at: None,
        };
        if recovered == 0 {
            journal.release(Release { before: 1, earlier: true });
        }
        Ok(journal)
    }

    /// Writes what was recorded. Whether what depends on it may be sent.
    pub fn commit(&mut self, now: Instant) -> bool {
        if self.batch.is_empty() {
            return !self.holds_back();
        }
        if self.write_failed && self.retry_at.is_some_and(|at| now < at) || !self.write(now) {
            return false;
        }
        match self.settings.sync {
            Sync::Always => self.sync_now(now),
            Sync::Every(interval) => {
                self.sync_at.get_or_insert(now + interval);
            }
            Sync::Never => self.release(self.releasable),
        }
        // In doubt the segment grows: one that is left is synced no more.
        if self.written >= self.settings.segment_bytes && !self.is_doubted() {
            self.rotate(now);
        }
        !self.holds_back()
    }

    /// Writes the batch; whether it is written.
    fn write(&mut self, now: Instant) -> bool {
        if self.batch.bytes().len() != self.sealed {
            self.sealed = self.batch.seal(self.synced).len();
        }
        if let Err(error) = self.file.write_at(self.batch.bytes(), self.written) {
            self.write_failed = true;
            self.fail(Trouble::WriteFailed(error.to_string()), now);
            return false;
        }
        if std::mem::take(&mut self.write_failed)
            && matches!(self.trouble, Some(Trouble::WriteFailed(_)))
        {
            self.recover();
        }
        self.written += self.batch.bytes().len() as u64;
        self.sealed = 0;
        self.batch.clear();
        self.releasable =
            Release { before: self.batch.oldest_needed(), earlier: self.batch.earlier() == 0 };
        self.reserve(now);
        true
    }

    /// Has entries of a session read back; whether that was taken on. What was recorded must be
    /// written.
    pub fn read_back(&mut self, name: Box<str>, sought: Sought) -> bool {
        debug_assert!(self.batch.is_empty(), "what is not written cannot be read");
        self.syncer.submit(Work::ReadBack {
            shard: self.settings.shard,
            volume: Arc::clone(&self.volume),
            key: self.settings.key,
            name,
            sought,
            end: self.place(),
        })
    }

    /// Does what is due besides: starts syncs, tries again after failures.
    pub fn tend(&mut self, now: Instant) {
        if self.sync_at.is_some_and(|at| at <= now) && self.syncing.is_empty() {
            self.start_sync(now);
        }
        if self.retry_at.is_none_or(|at| at > now) {
            return;
        }
        self.retry_at = None;
        if self.write_failed {
            self.commit(now);
        }
        match self.trouble {
            None | Some(Trouble::WriteFailed(_)) => {}
            Some(Trouble::Full(_)) => self.reserve(now),
            Some(Trouble::SyncFailed { abandoned, .. }) => {
                self.retry_at = Some(now + RETRY);
                if self.batch.segment() <= abandoned {
                    self.rotate(now);
                } else if self.batch.oldest_needed() > abandoned {
                    self.end_doubt(now);
                }
            }
        }
    }

    /// A sync is done.
    pub fn on_synced(&mut self, synced: Synced, now: Instant) {
        let release = self.syncing.pop_front();
        match synced.result {
            Ok(()) if self.is_doubted() => {}
            Ok(()) => {
                self.synced = self.synced.max(synced.place);
                if let Some(release) = release {
                    self.release(release);
                }
            }
            Err(error) => self.abandon(error, now),
        }
    }

    /// The process ends: whatever was written is synced, unless it never is.
    pub fn finish(&mut self) {
        if self.settings.sync != Sync::Never
            && let Err(error) = self.file.sync()
        {
            log::error!(
                scope = "process", event = "journal-failed";
                "the disk did not confirm the end of the journal of shard {}: {error}",
                self.settings.shard
            );
        }
    }

    /// When [`Journal::tend`] is next due.
    pub fn next_due(&self) -> Option<Instant> {
        let sync = self.sync_at.filter(|_| self.syncing.is_empty());
        sync.into_iter().chain(self.retry_at).min()
    }

    /// Why nothing should be recorded for now, if so.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Sessions with entries up to this segment should be stored anew.
    pub fn wants_stored(&self) -> Option<u32> {
        match self.trouble {
            // What says that they are must not be where nobody knows what is.
            Some(Trouble::SyncFailed { abandoned, .. }) => {
                (self.batch.segment() > abandoned).then_some(abandoned)
            }
            _ => {
                let oldest = self.batch.oldest_needed();
                (self.batch.segment() - oldest >= SEGMENTS_MAX).then_some(oldest)
            }
        }
    }

    /// Whether what was recorded last must not be told yet.
    fn holds_back(&self) -> bool {
        let write_failed = self.write_failed;
        match self.trouble {
            Some(Trouble::SyncFailed { .. }) => write_failed || self.settings.sync == Sync::Always,
            _ => write_failed,
        }
    }

    /// A sync has failed: nobody knows what is on the disk of what was written before.
    fn is_doubted(&self) -> bool {
        matches!(self.trouble, Some(Trouble::SyncFailed { .. }))
    }

    fn fail(&mut self, trouble: Trouble, now: Instant) {
        self.retry_at = Some(now + RETRY);
        if self.trouble.as_ref() == Some(&trouble)
            || self.is_doubted() && !matches!(trouble, Trouble::SyncFailed { .. })
        {
            return;
        }
        let shard = self.settings.shard;
        match &trouble {
            Trouble::Full(error) => log::error!(
                scope = "process", event = "journal-full";
                "the journal of shard {shard} has no space left ({error}): its sessions are \
                 read-only until there is some"
            ),
            Trouble::WriteFailed(error) => log::error!(
                scope = "process", event = "journal-failed";
                "the journal of shard {shard} cannot be written ({error}): its sessions are \
                 read-only, and those that were to be written are held, until it can"
            ),
            Trouble::SyncFailed { abandoned, error } => log::error!(
                scope = "process", event = "journal-failed";
                "the disk did not confirm the journal of shard {shard} up to segment {abandoned} \
                 ({error}): its sessions are read-only until all are stored anew"
            ),
        }
        self.trouble = Some(trouble);
    }

    fn recover(&mut self) {
        log::info!(
            scope = "process", event = "journal-recovered";
            "the journal of shard {} is written again", self.settings.shard
        );
        self.trouble = None;
        self.retry_at = None;
    }

    /// Nobody needs what was not confirmed: says so where that is, and tries a sync of it.
    fn end_doubt(&mut self, now: Instant) {
        self.batch.trim_all();
        if !self.write(now) {
            return;
        }
        match self.file.sync() {
            Ok(()) => self.recover(),
            Err(error) => self.abandon(error.to_string(), now),
        }
    }

    fn abandon(&mut self, error: String, now: Instant) {
        let abandoned = self.batch.segment();
        self.fail(Trouble::SyncFailed { abandoned, error }, now);
        self.rotate(now);
    }

    /// Makes sure that the next batches have space.
    fn reserve(&mut self, now: Instant) {
        let full = matches!(self.trouble, Some(Trouble::Full(_)));
        if self.reserved.saturating_sub(self.written) >= RESERVE_LOW_BYTES && !full {
            return;
        }
        let wanted = self.written + RESERVE_BYTES;
        match self.file.reserve(wanted) {
            Ok(()) => {
                self.reserved = wanted;
                if full {
                    self.recover();
                }
            }
            Err(error) if self.trouble.is_none() || full => {
                self.fail(Trouble::Full(error.to_string()), now);
            }
            Err(_) => {}
        }
    }

    /// Goes on in the next segment. If it cannot be created the present one goes on.
    fn rotate(&mut self, now: Instant) {
        if !self.batch.is_empty() {
            return;
        }
        let number = self.batch.segment() + 1;
        match Self::begin(&*self.volume, &self.settings, number) {
            Ok((file, reserved)) => {
                // A later sync is of a later segment: it must not be the first to succeed.
                let syncs = self.settings.sync != Sync::Never && !self.is_doubted();
                if syncs && !self.start_sync(now) {
                    return;
                }
                self.batch.begin_segment();
                self.file = file;
                self.reserved = reserved;
                self.written = SEGMENT_HEADER_BYTES as u64;
            }
            Err(error) if self.trouble.is_none() => {
                self.fail(Trouble::Full(error.to_string()), now);
            }
            Err(_) => {}
        }
    }

    fn begin(
        volume: &dyn Volume,
        settings: &Settings,
        number: u32,
    ) -> std::io::Result<(Arc<dyn SegmentFile>, u64)> {
        let file = volume.create(number)?;
        file.reserve(RESERVE_BYTES)?;
        let header = SegmentHeader { key: settings.key, shard: settings.shard as u32, number };
        file.write_at(&header.bytes(), 0)?;
        if settings.sync == Sync::Always {
            volume.sync_names()?;
        }
        Ok((file, RESERVE_BYTES))
    }

    fn place(&self) -> Place {
        Place { segment: self.batch.segment(), offset: self.written }
    }

    fn sync_now(&mut self, now: Instant) {
        match self.file.sync() {
            // It tells nothing of what an earlier one has failed on.
            Ok(()) if self.is_doubted() => {}
            Ok(()) => {
                self.synced = self.place();
                if self.trouble.is_none() {
                    self.release(self.releasable);
                }
            }
            Err(error) => self.abandon(error.to_string(), now),
        }
    }

    /// Asks for a sync of the present segment; whether it was taken on.
    fn start_sync(&mut self, now: Instant) -> bool {
        let (file, volume) = (Arc::clone(&self.file), Arc::clone(&self.volume));
        let (shard, place) = (self.settings.shard, self.place());
        if self.syncer.submit(Work::Sync { shard, file, volume, place }) {
            self.syncing.push_back(self.releasable);
            self.sync_at = None;
            return true;
        }
        self.sync_at = Some(now + RETRY);
        false
    }

    fn release(&mut self, release: Release) {
        while self.removed_before < release.before {
            let (volume, number) = (Arc::clone(&self.volume), self.removed_before);
            if !self.syncer.submit(Work::Remove { volume, number }) {
                return;
            }
            self.removed_before += 1;
        }
        self.batch.forget_before(self.removed_before);
        if release.earlier
            && let Some(work) = self.earlier.take().and_then(Earlier::done)
        {
            self.syncer.submit(work);
        }
    }
}

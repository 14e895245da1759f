//! A route as a stored record, and its changes as entries of the journal.
//!
//! What is kept: the latest ref, the log, and what each run of a client announced last and has read
//! since, which its next tree was made from. Not kept: what is read by clients that have announced
//! nothing yet, as nobody knows after a restart whose that was; what such a client announces first is
//! merged as if it had read nothing.

use std::sync::Arc;

use super::origins::{READS_MAX, Worth};
use super::{Payload, Ref, Route};
use crate::codec::json;
use crate::codec::lib0::{Malformed, Reader, write_varbuf, write_varuint};
use crate::protocol::rljson::merge::Trust;
use crate::session::Instant;

/// The version of the record; the first had no reads.
const VERSION: u64 = 2;
const DEPTH_MAX: usize = 16;

/// A payload that was taken up, and the latest ref from then on: an entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub(super) payload: Arc<str>,
    pub(super) latest: Ref,
}

/// What a run of a client has read and may have put in place: an entry of the journal. It takes the
/// place of the run's last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reads {
    pub(super) origin: Box<str>,
    pub(super) reads: Vec<(Ref, Worth)>,
}

/// Why a record or an entry cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    /// It is cut, or has something where it should have something else.
    #[error("a stored route: {0}")]
    Malformed(#[from] Malformed),
    /// It has another version.
    #[error("a stored route has version {0}")]
    Version(u64),
    /// A payload or a ref is none.
    #[error("a stored route has a payload that is none")]
    Payload,
    /// More was read than is remembered, or nobody knows what it is worth.
    #[error("a stored route has reads that are none")]
    Reads,
}

impl Change {
    /// The latest ref after it.
    pub fn latest(&self) -> &Ref {
        &self.latest
    }

    /// What was taken up, as it came.
    pub fn payload(&self) -> &str {
        &self.payload
    }

    /// Appends the entry.
    pub fn write(&self, out: &mut Vec<u8>) {
        write(out, &self.payload, &self.latest);
    }

    /// Reads an entry.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, StoredError> {
        Ok(Self { payload: reader.varstring()?.into(), latest: reader.varstring()?.into() })
    }
}

fn write(out: &mut Vec<u8>, payload: &str, latest: &str) {
    write_varbuf(out, payload.as_bytes());
    write_varbuf(out, latest.as_bytes());
}

impl Reads {
    /// Appends the entry.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_varbuf(out, self.origin.as_bytes());
        let reads = self.reads.iter();
        write_reads(out, reads.map(|(reference, worth)| (reference, *worth)));
    }

    /// Reads an entry.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, StoredError> {
        Ok(Self { origin: reader.varstring()?.into(), reads: read_reads(reader)? })
    }
}

fn write_reads<'a>(out: &mut Vec<u8>, reads: impl ExactSizeIterator<Item = (&'a Ref, Worth)>) {
    write_varuint(out, reads.len() as u64);
    for (reference, worth) in reads {
        write_varbuf(out, reference.as_bytes());
        let worth = match worth {
            Worth::New => 0,
            Worth::Settled => 1,
            Worth::Doubtful(Trust::Likely) => 2,
            Worth::Doubtful(Trust::Open) => 3,
            Worth::Doubtful(Trust::Unlikely) => 4,
        };
        write_varuint(out, worth);
    }
}

fn read_reads(reader: &mut Reader<'_>) -> Result<Vec<(Ref, Worth)>, StoredError> {
    let count = reader.count(2)?;
    if count > READS_MAX {
        return Err(StoredError::Reads);
    }
    let mut reads = Vec::new();
    for _ in 0..count {
        let reference = reader.varstring()?.into();
        let worth = match reader.varuint()? {
            0 => Worth::New,
            1 => Worth::Settled,
            2 => Worth::Doubtful(Trust::Likely),
            3 => Worth::Doubtful(Trust::Open),
            4 => Worth::Doubtful(Trust::Unlikely),
            _ => return Err(StoredError::Reads),
        };
        reads.push((reference, worth));
    }
    Ok(reads)
}

impl Route {
    /// Appends the route as it is.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_varuint(out, VERSION);
        write_varbuf(out, self.latest.as_deref().unwrap_or_default().as_bytes());
        let entries = self.log.entries();
        write_varuint(out, entries.len() as u64);
        entries.for_each(|(payload, latest)| write(out, payload, latest));
        let mut origins = self.origins.bases();
        origins.retain(|(_, bases)| bases.own().is_some() || bases.reads().len() > 0);
        write_varuint(out, origins.len() as u64);
        for (origin, bases) in origins {
            write(out, origin, bases.own().map_or("", |own| own));
            write_reads(out, bases.reads());
        }
    }

    /// Fills a new route with a stored one.
    pub fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), StoredError> {
        let version = reader.varuint()?;
        if !(1..=VERSION).contains(&version) {
            return Err(StoredError::Version(version));
        }
        let latest = reader.varstring()?;
        for _ in 0..reader.count(2)? {
            let change = Change::read(reader)?;
            self.log.push(Payload::stored(&change.payload)?, &change.latest);
        }
        for _ in 0..reader.count(2)? {
            let bases = self.origins.restore(reader.varstring()?);
            let last = reader.varstring()?;
            if !last.is_empty() {
                bases.announced(last.into(), Instant::default());
            }
            if version > 1 {
                bases.restore_reads(read_reads(reader)?);
            }
        }
        self.latest = (!latest.is_empty()).then(|| latest.into());
        Ok(())
    }

    /// Applies what was taken up after the route was stored, and returns that.
    pub fn apply(&mut self, change: &Change) -> Result<Payload, StoredError> {
        let payload = Payload::stored(&change.payload)?;
        if !payload.origin.is_empty() {
            let reference = Ref::clone(&payload.reference);
            self.origins.restore(&payload.origin).announced(reference, Instant::default());
        }
        self.latest = Some(Ref::clone(&change.latest));
        self.log.push(payload.clone(), &change.latest);
        Ok(payload)
    }

    /// Applies what was read after the route was stored.
    pub fn apply_reads(&mut self, reads: Reads) {
        self.origins.restore(&reads.origin).restore_reads(reads.reads);
    }

    /// An earlier process heard something of this run of which nothing came yet.
    pub fn park(&mut self, origin: &str) {
        if !origin.is_empty() {
            self.origins.park(origin);
        }
    }

    /// What runs of clients have read, or not any more, since this was called last: to be recorded.
    pub fn take_reads(&mut self) -> Vec<Reads> {
        let changed = self.unrecorded.take().into_iter();
        let of = |origin: Box<str>| {
            let reads = self.origins.get(&origin)?.bases.reads();
            let reads = reads.map(|(reference, worth)| (Ref::clone(reference), worth)).collect();
            Some(Reads { origin, reads })
        };
        changed.filter_map(of).collect()
    }
}

impl Payload {
    /// Reads a payload that was kept.
    pub fn stored(text: &str) -> Result<Self, StoredError> {
        let raw = json::parse(text, DEPTH_MAX).map_err(|_| StoredError::Payload)?;
        Self::read(raw).map_err(|_| StoredError::Payload)
    }
}

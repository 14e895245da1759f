//! A route as a stored record, and its changes as entries of the journal.
//!
//! What is kept: the latest ref, the log, and what each run of a client announced last, which its
//! next tree was made from. Not kept: who reads what, which nobody knows after a restart; a client
//! whose tree was made from one that it only read is merged as if it had not.

use super::{Payload, Ref, Route};
use crate::codec::json;
use crate::codec::lib0::{Malformed, Reader, write_varbuf, write_varuint};
use crate::session::Instant;

/// The version of the record.
const VERSION: u64 = 1;
const DEPTH_MAX: usize = 16;

/// A payload that was taken up, and the latest ref from then on: an entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub(super) payload: Box<str>,
    pub(super) latest: Ref,
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
}

impl Change {
    /// The latest ref after it.
    pub fn latest(&self) -> &Ref {
        &self.latest
    }

    /// The ref that was taken up.
    pub fn reference(&self) -> Option<Ref> {
        Payload::stored(&self.payload).ok().map(|payload| payload.reference)
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

impl Route {
    /// Appends the route as it is.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_varuint(out, VERSION);
        write_varbuf(out, self.latest.as_deref().unwrap_or_default().as_bytes());
        let entries = self.log.entries();
        write_varuint(out, entries.len() as u64);
        entries.for_each(|(payload, latest)| write(out, payload, latest));
        let origins = self.origins.announced();
        write_varuint(out, origins.len() as u64);
        origins.into_iter().for_each(|(origin, last)| write(out, origin, last));
    }

    /// Fills a new route with a stored one.
    pub fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), StoredError> {
        let version = reader.varuint()?;
        if version != VERSION {
            return Err(StoredError::Version(version));
        }
        let latest = reader.varstring()?;
        for _ in 0..reader.count(2)? {
            let change = Change::read(reader)?;
            self.log.push(Payload::stored(&change.payload)?, &change.latest);
        }
        for _ in 0..reader.count(2)? {
            let (origin, last) = (reader.varstring()?, Ref::from(reader.varstring()?));
            self.origins.entry(origin).bases.announced(last, Instant::default());
        }
        self.latest = (!latest.is_empty()).then(|| latest.into());
        Ok(())
    }

    /// Applies what was taken up after the route was stored, and returns that.
    pub fn apply(&mut self, change: &Change) -> Result<Payload, StoredError> {
        let payload = Payload::stored(&change.payload)?;
        if !payload.origin.is_empty() {
            let reference = Ref::clone(&payload.reference);
            self.origins.entry(&payload.origin).bases.announced(reference, Instant::default());
        }
        self.latest = Some(Ref::clone(&change.latest));
        self.log.push(payload.clone(), &change.latest);
        Ok(payload)
    }
}

impl Payload {
    /// Reads a payload that was kept.
    pub fn stored(text: &str) -> Result<Self, StoredError> {
        let raw = json::parse(text, DEPTH_MAX).map_err(|_| StoredError::Payload)?;
        Self::read(raw).map_err(|_| StoredError::Payload)
    }
}

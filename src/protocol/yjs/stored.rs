//! A document as a stored record: version, position in the journal, state, and updates that wait.

use crate::codec::lib0::{Reader, write_varbuf, write_varuint};
use crate::session::effects::RecordName;
use crate::session::journal::Position;

/// The version of the record.
const VERSION: u64 = 1;

/// A stored document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stored<'a> {
    /// Everything recorded up to here is part of it.
    pub(super) position: Position,
    /// An update.
    pub(super) state: &'a [u8],
    /// Updates.
    pub(super) pending: Vec<&'a [u8]>,
}

/// Where a document is stored.
pub(super) fn record_name(room: &str) -> RecordName {
    RecordName { namespace: "yjs/documents", names: vec![room.to_owned()] }
}

/// The record of a document with everything recorded up to `position`.
pub(super) fn write<'a>(
    state: &[u8],
    pending: impl IntoIterator<Item = &'a [u8]>,
    position: Position,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(state.len() + 32);
    write_varuint(&mut out, VERSION);
    out.extend_from_slice(&position.to_le_bytes());
    write_varbuf(&mut out, state);
    pending.into_iter().for_each(|update| write_varbuf(&mut out, update));
    out
}

/// Reads a record; none if it is not one.
pub(super) fn read(record: &[u8]) -> Option<Stored<'_>> {
    let mut reader = Reader::new(record);
    reader.varuint().ok().filter(|&version| version == VERSION)?;
    let position = Position::from_le_bytes(reader.bytes(8).ok()?.try_into().ok()?);
    let state = reader.varbuf().ok()?;
    let mut pending = Vec::new();
    while !reader.is_empty() {
        pending.push(reader.varbuf().ok()?);
    }
    Some(Stored { position, state, pending })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let pending: [&[u8]; 2] = [&[1, 2], &[3]];
        for count in 0..3 {
            let pending = &pending[..count];
            let record = write(&[0, 0], pending.iter().copied(), 1 << 60);
            let expected = Stored { position: 1 << 60, state: &[0, 0], pending: pending.to_vec() };
            assert_eq!(read(&record), Some(expected));
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let good = write(&[0, 0], [], 7);
        for cut in 0..good.len() {
            assert_eq!(read(&good[..cut]), None, "{cut}");
        }
        assert_eq!(read(&[&good[..], &[5, 0]].concat()), None);
        assert_eq!(read(&[&[2], &good[1..]].concat()), None);
    }
}

//! A document as a stored record: version, position in the journal, state.

use crate::codec::lib0::{Reader, write_varuint};
use crate::codec::ysync::check_update;
use crate::session::effects::RecordName;
use crate::session::journal::Position;

/// The version of the record.
const VERSION: u64 = 1;

/// Where a document is stored.
pub(super) fn record_name(room: &str) -> RecordName {
    RecordName { namespace: "yjs/documents", names: vec![room.to_owned()] }
}

/// The record of a document's `state`, with everything recorded up to `position`.
pub(super) fn write(state: &[u8], position: Position) -> Vec<u8> {
    let mut out = Vec::with_capacity(state.len() + 12);
    write_varuint(&mut out, VERSION);
    out.extend_from_slice(&position.to_le_bytes());
    out.extend_from_slice(state);
    out
}

/// State and position of a record; none if it is not one, or the state is not a document's.
pub(super) fn read(record: &[u8]) -> Option<(&[u8], Position)> {
    let mut reader = Reader::new(record);
    let version = reader.varuint().ok().filter(|&version| version == VERSION);
    let position = version.and_then(|_| reader.bytes(8).ok()?.try_into().ok())?;
    let state = reader.rest();
    check_update(state).ok().map(|_| (state, Position::from_le_bytes(position)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        assert_eq!(read(&write(&[0, 0], 1 << 60)), Some((&[0, 0][..], 1 << 60)));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let good = write(&[0, 0], 7);
        for cut in 0..good.len() {
            assert_eq!(read(&good[..cut]), None, "{cut}");
        }
        assert_eq!(read(&[&good[..], &[0]].concat()), None);
        assert_eq!(read(&[&[2], &good[1..]].concat()), None);
    }
}

//! Recovery of a segment: any bytes, damaged in any way, are read without a panic, and nothing that
//! was not recorded is handed out.
//!
//! Input: up to 64 operations of two bytes that make a journal, then damage of four bytes each
//! (place, kind).

#![no_main]

use libfuzzer_sys::fuzz_target;
use lockstep::codec::journal::{Found, Key, Kind, Place, Scan, Seal, SegmentHeader};
use lockstep::session::journal::{Batch, Cursor};

const KEY: Key = Key { epoch: 1, salt: 0x5EED };

fuzz_target!(|data: &[u8]| {
    // Bytes as they are.
    for found in Scan::new(KEY, data) {
        if let Found::Record(record, _) = found {
            let _ = Seal::read(record.body);
        }
    }
    let _ = SegmentHeader::read(data);
    // A journal that was made, with some bytes changed.
    let (operations, damage) = data.split_at(data.len().min(128));
    let header = SegmentHeader { key: KEY, shard: 0, number: 1 };
    let mut segment = header.bytes().to_vec();
    let mut batch = Batch::new(KEY, 0);
    let mut cursors = [Cursor::default(), Cursor::default()];
    let mut said: Vec<(u64, Vec<u8>)> = Vec::new();
    for operation in operations.chunks_exact(2) {
        let at = usize::from(operation[0] & 1);
        let (cursor, name) = (&mut cursors[at], ["x/a", "x/b"][at]);
        match operation[0] >> 6 {
            0 | 1 => {
                let body = vec![operation[1]; usize::from(operation[1])];
                said.push((batch.record(cursor, name, &[&body]), body));
            }
            2 => {
                let last = cursor.last();
                batch.trim(cursor, name, last.saturating_sub(u64::from(operation[1])));
            }
            _ => {
                let synced = Place { segment: 1, offset: segment.len() as u64 };
                segment.extend_from_slice(batch.seal(synced));
                batch.clear();
            }
        }
        batch.invariants();
    }
    let whole = segment.len();
    for change in damage.chunks_exact(4) {
        let place = usize::from(u16::from_le_bytes([change[0], change[1]])) % whole;
        segment[place] ^= change[2];
    }
    let mut ends = 0;
    for found in Scan::new(KEY, &segment) {
        match found {
            Found::Record(record, _) if record.kind == Kind::Entry => {
                let known = said.iter().find(|(position, _)| *position == record.position);
                assert_eq!(known.map(|(_, body)| &body[..]), Some(record.body));
            }
            Found::Record(..) => {}
            Found::Gap(from, to) => assert!(from < to),
            Found::Tail(_) => ends += 1,
        }
    }
    assert!(ends <= 1);
});

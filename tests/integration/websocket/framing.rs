//! Section 1: whole frames, with every form of the length.

use super::case::{Case, binary, case, text};

/// Number within 1.1 (text) and 1.2 (binary), and octets of payload.
const LENGTHS: [(u32, usize); 7] =
    [(1, 0), (2, 125), (3, 126), (4, 127), (5, 128), (6, 65_535), (7, 65_536)];
/// Up to this length the frames are also sent octet by octet.
const SHORT: usize = 128;

pub fn section_1() -> Vec<Case> {
    let mut cases = Vec::new();
    for (group, frame) in [("1.1", text(*b"*")), ("1.2", binary(*b"\xFE"))] {
        let message = |octets: usize| {
            let mut frame = frame.clone();
            frame.payload = frame.payload.repeat(octets);
            frame
        };
        for (number, octets) in LENGTHS {
            let id = format!("{group}.{number}");
            cases.push(case(&id).echoed(message(octets)));
            if octets <= SHORT {
                let id = format!("{id} octet by octet");
                cases.push(case(id).octet_by_octet().echoed(message(octets)));
            }
        }
        cases.push(case(format!("{group}.8")).in_chops_of(997).echoed(message(65_536)));
    }
    cases
}

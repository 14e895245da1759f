//! Section 9: large messages, and many.
//!
//! The suite's sizes and numbers of messages, each once. Payloads have no period, so a piece that
//! is lost, repeated or misplaced shows.

use super::case::{Case, binary, case, fragments, text};
use crate::support::websocket::Frame;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// 9.1 and 9.2: octets of one frame.
const WHOLE: [usize; 6] = [64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB];
/// 9.3 and 9.4: octets of a fragment of 4 MiB.
const FRAGMENTS: [usize; 9] = [64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB];
/// 9.5 and 9.6: octets of a write of 1 MiB.
const CHOPS: [usize; 6] = [64, 128, 256, 512, KIB, 2 * KIB];
/// 9.7 and 9.8: octets of a message; each is answered before the next is sent.
const SMALL: [usize; 6] = [0, 16, 64, 256, KIB, 4 * KIB];
/// Messages of a case of 9.7 or 9.8.
const MANY: usize = 1000;

/// Made one by one, since together they would take much memory.
pub fn section_9() -> impl Iterator<Item = Case> {
    let texts: fn(usize) -> Frame = numbered_text;
    let binaries: fn(usize) -> Frame = numbered_binary;
    [(0, texts), (1, binaries)].into_iter().flat_map(|(offset, message)| {
        let group =
            move |number| (1..).map(move |row| case(format!("9.{}.{row}", number + offset)));
        let whole = group(1).zip(WHOLE).map(move |(case, octets)| case.echoed(message(octets)));
        let fragmented = group(3).zip(FRAGMENTS).map(move |(case, octets)| {
            let message = message(4 * MIB);
            case.sends(fragments(&message, octets)).receives([message]).closes()
        });
        let chopped = group(5)
            .zip(CHOPS)
            .map(move |(case, octets)| case.in_chops_of(octets).echoed(message(MIB)));
        let many = group(7).zip(SMALL).map(move |(case, octets)| {
            let message = || [message(octets)];
            let echoed = |case: Case, _| case.sends(message()).receives(message());
            (0..MANY).fold(case, echoed).closes()
        });
        whole.chain(fragmented).chain(chopped).chain(many)
    })
}

/// Numbered cells of 16 octets, of characters that take one to three.
fn numbered_text(octets: usize) -> Frame {
    let cells = (0..octets / 16).map(|cell| format!("{cell:08x}é€→"));
    text(cells.collect::<String>())
}

/// Numbered cells of 4 octets.
fn numbered_binary(octets: usize) -> Frame {
    let cells = (0..octets as u32 / 4).flat_map(|cell| (!cell).to_le_bytes());
    binary(cells.collect::<Vec<u8>>())
}

//! Rules of RFC 6455 that the suite does not ask for: those only a client can break, and the
//! server's own limits.

use super::case::{Case, binary, case, close, last, open, reserved, text};
use crate::support::websocket::frame_with;

/// Largest message of the echo endpoint, in octets.
const MESSAGE_OCTETS_MAX: u64 = 16 << 20;
/// Most fragments of one.
const FRAGMENTS_MAX: usize = 1 << 17;
/// What a client sends in vain, below the mebibyte that the server puts up with.
const STUBBORN_OCTETS: usize = 512 << 10;

pub fn cases() -> Vec<Case> {
    let unmasked = |first| frame_with(first, b"Hello", None);
    let announced =
        |octets: u64| [&[0x81, 0x80 | 127], &octets.to_be_bytes()[..], &[0; 4]].concat();
    let empty = || open(last(""));
    vec![
        case("§5.1 unmasked text").sends_octets(unmasked(0x81)).refused(1002),
        case("§5.1 unmasked ping").sends_octets(unmasked(0x89)).refused(1002),
        case("§5.2 5 octets in 16 bits")
            .sends_octets(*b"\x81\xFE\x00\x05\0\0\0\0Hello")
            .refused(1002),
        case("§5.2 125 octets in 64 bits").sends_octets(announced(125)).refused(1002),
        case("§5.2 65535 octets in 64 bits").sends_octets(announced(65_535)).refused(1002),
        case("§5.2 more than 63 bits").sends_octets(announced(1 << 63)).refused(1002),
        // A reset would destroy a close frame that was not read yet.
        case("§7.1.1 no reset for who goes on sending")
            .in_chops_of(4096)
            .sends([reserved(1, text("Hello"))])
            .refused(1002)
            .sends([binary([0; STUBBORN_OCTETS])]),
        case("§7.4.2 1015 on the wire").sends([close(1015, "")]).refused(1002),
        case("§10.4 too large, before it arrives")
            .sends_octets(announced(MESSAGE_OCTETS_MAX + 1))
            .refused(1009),
        case("§10.4 too large with its last fragment")
            .sends([open(text("*"))])
            .sends_octets({
                let mut header = announced(MESSAGE_OCTETS_MAX);
                header[0] = 0x80;
                header
            })
            .refused(1009),
        case("§10.4 as many fragments as allowed")
            .sends([open(text(""))])
            .sends((2..FRAGMENTS_MAX).map(|_| empty()))
            .sends([last("")])
            .receives([text("")])
            .closes(),
        case("§10.4 one fragment more")
            .sends([open(text(""))])
            .sends((1..FRAGMENTS_MAX).map(|_| empty()))
            .sends([empty()])
            .refused(1008),
    ]
}

//! Sections 3 and 4: bits and opcodes that mean nothing yet fail the connection, but not what came
//! before them.

use super::case::{Case, bare_close, binary, case, frame, ping, reserved, text};

const HELLO: &str = "Hello, world!";

/// Reserved bits.
pub fn section_3() -> Vec<Case> {
    let hello_then = |rsv| [text(HELLO), reserved(rsv, text(HELLO)), ping("")];
    vec![
        case("3.1").sends([reserved(1, text(HELLO))]).refused(1002),
        case("3.2").sends(hello_then(2)).receives([text(HELLO)]).refused(1002),
        case("3.3").frame_by_frame().sends(hello_then(3)).receives([text(HELLO)]).refused(1002),
        case("3.4").octet_by_octet().sends(hello_then(4)).receives([text(HELLO)]).refused(1002),
        case("3.5").sends([reserved(5, binary(*b"\x00\xFF\xFE"))]).refused(1002),
        case("3.6").sends([reserved(6, ping(HELLO))]).refused(1002),
        case("3.7").sends([reserved(7, bare_close(""))]).refused(1002),
    ]
}

/// Reserved opcodes: 4.1 those of data frames, 4.2 those of control frames.
pub fn section_4() -> Vec<Case> {
    let group = |id: &str, first: u8| {
        let case = |number| case(format!("{id}.{number}"));
        let hello_then = |frame| [text(HELLO), frame, ping("")];
        [
            case(1).sends([frame(first, "")]).refused(1002),
            case(2).sends([frame(first + 1, "payload")]).refused(1002),
            case(3).sends(hello_then(frame(first + 2, ""))).receives([text(HELLO)]).refused(1002),
            case(4)
                .sends(hello_then(frame(first + 3, HELLO)))
                .receives([text(HELLO)])
                .refused(1002),
            case(5)
                .octet_by_octet()
                .sends(hello_then(frame(first + 4, HELLO)))
                .receives([text(HELLO)])
                .refused(1002),
        ]
    };
    [group("4.1", 3), group("4.2", 11)].concat()
}

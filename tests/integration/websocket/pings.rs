//! Section 2: pings are answered with what they carry, pongs with nothing.

use super::case::{Case, case, ping, pong};
use crate::support::websocket::Frame;

pub fn section_2() -> Vec<Case> {
    let no_text = *b"\x00\xFF\xFE\xFD\xFC\xFB\x00\xFF";
    vec![
        case("2.1").sends([ping("")]).receives([pong("")]).closes(),
        case("2.2").sends([ping("Hello, world!")]).receives([pong("Hello, world!")]).closes(),
        case("2.3").sends([ping(no_text)]).receives([pong(no_text)]).closes(),
        case("2.4").sends([ping([0xFE; 125])]).receives([pong([0xFE; 125])]).closes(),
        case("2.5").sends([ping([0xFE; 126])]).refused(1002),
        case("2.6")
            .octet_by_octet()
            .sends([ping([0xFE; 125])])
            .receives([pong([0xFE; 125])])
            .closes(),
        case("2.7").sends([pong("")]).closes(),
        case("2.8").sends([pong("unsolicited")]).closes(),
        case("2.9").sends([pong("unsolicited"), ping("ping")]).receives([pong("ping")]).closes(),
        case("2.10").sends(ten(ping)).receives(ten(pong)).closes(),
        case("2.11").octet_by_octet().sends(ten(ping)).receives(ten(pong)).closes(),
    ]
}

fn ten(frame: fn(String) -> Frame) -> impl Iterator<Item = Frame> {
    (0..10).map(move |number| frame(format!("payload-{number}")))
}

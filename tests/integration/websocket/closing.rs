//! Section 7: the closing handshake.
//!
//! The server answers a close with its code and without a reason, after everything it still had to
//! send; what comes behind the close means nothing.

use super::case::{Case, bare_close, case, close, last, open, ping, text};
use crate::support::websocket::Frame;

/// Codes a peer may send (RFC 6455 §7.4), in the order of 7.7.
const ALLOWED: [u16; 13] =
    [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
/// Codes a peer must not send, in the order of 7.9.
const FORBIDDEN: [u16; 9] = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999];

pub fn section_7() -> Vec<Case> {
    [handshake(), payloads(), codes()].concat()
}

/// 7.1: what comes before and behind a close.
fn handshake() -> Vec<Case> {
    let (hello, large) = (text("Hello, world!"), text("BAsd7&jh23".repeat(26_215)));
    vec![
        case("7.1.1").echoed(hello.clone()),
        case("7.1.2").sends([normal(), bare_close("")]).answered(normal()),
        case("7.1.3").sends([normal(), ping("")]).answered(normal()),
        case("7.1.4").sends([normal(), hello.clone()]).answered(normal()),
        case("7.1.5")
            .sends([open(text("fragment1")), normal(), last("fragment2")])
            .answered(normal()),
        case("7.1.6")
            .sends([large.clone(), hello.clone(), normal(), ping("")])
            .receives([large, hello])
            .answered(normal()),
    ]
}

/// 7.3 and 7.5: the payload of a close frame.
fn payloads() -> Vec<Case> {
    let no_utf8 = b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80edited";
    vec![
        case("7.3.1").sends([bare_close("")]).answered(bare_close("")),
        case("7.3.2").sends([bare_close("a")]).refused(1002),
        case("7.3.3").sends([normal()]).answered(normal()),
        case("7.3.4").sends([close(1000, "Hello, world!")]).answered(normal()),
        case("7.3.5").sends([close(1000, [b'*'; 123])]).answered(normal()),
        case("7.3.6").sends([close(1000, [b'*'; 124])]).refused(1002),
        case("7.5.1").sends([close(1000, no_utf8)]).refused(1007),
    ]
}

/// 7.7, 7.9 and 7.13: codes.
fn codes() -> Vec<Case> {
    let numbered = |group: &'static str| (1..).map(move |number| case(format!("{group}.{number}")));
    let allowed = numbered("7.7")
        .zip(ALLOWED)
        .map(|(case, code)| case.sends([close(code, "")]).answered(close(code, "")));
    let forbidden = numbered("7.9").zip(FORBIDDEN);
    // The suite only looks at what happens with these.
    let undefined = numbered("7.13").zip([5000, 65_535]);
    allowed
        .chain(
            forbidden
                .chain(undefined)
                .map(|(case, code)| case.sends([close(code, "")]).refused(1002)),
        )
        .collect()
}

/// The close frame of a conversation that went well.
fn normal() -> Frame {
    close(1000, "")
}

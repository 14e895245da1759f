//! Sections 5 and 10: messages in several frames, with control frames in between.

use super::case::{Case, case, fragments, last, open, ping, pong, text};
use crate::support::websocket::Frame;

/// How the suite sends most conversations: at once, frame by frame, octet by octet.
const CUTS: [fn(Case) -> Case; 3] = [|case| case, Case::frame_by_frame, Case::octet_by_octet];

pub fn section_5() -> Vec<Case> {
    let mut cases = vec![
        case("5.1").sends([open(ping("fragment1")), last("fragment2")]).refused(1002),
        case("5.2").sends([open(pong("fragment1")), last("fragment2")]).refused(1002),
    ];
    cases.extend(cut_three_ways(3, |case| {
        case.sends([open(text("fragment1")), last("fragment2")])
            .receives([text("fragment1fragment2")])
            .closes()
    }));
    cases.extend(cut_three_ways(6, |case| {
        case.sends([open(text("fragment1")), ping("ping"), last("fragment2")])
            .receives([pong("ping"), text("fragment1fragment2")])
            .closes()
    }));
    cases.extend(cut_three_ways(9, |case| {
        case.sends([last("continues nothing"), text("Hello, world!")]).refused(1002)
    }));
    cases.extend(cut_three_ways(12, |case| {
        case.sends([open(last("continues nothing")), text("Hello, world!")]).refused(1002)
    }));
    let twice = |frames: [Frame; 3]| [frames.clone(), frames].concat();
    cases.extend([
        case("5.15")
            .sends([
                open(text("fragment1")),
                last("fragment2"),
                open(last("fragment3")),
                text("fragment4"),
            ])
            .receives([text("fragment1fragment2")])
            .refused(1002),
        case("5.16")
            .sends(twice([open(last("fragment1")), open(text("fragment2")), last("fragment3")]))
            .refused(1002),
        case("5.17")
            .sends(twice([last("fragment1"), open(text("fragment2")), last("fragment3")]))
            .refused(1002),
        case("5.18").sends([open(text("fragment1")), text("fragment2")]).refused(1002),
        pinged_twice(case("5.19")),
        pinged_twice(case("5.20").frame_by_frame()),
    ]);
    cases
}

/// Fragments as a sender makes them that knows the size of a packet.
pub fn section_10() -> Vec<Case> {
    let message = text("*".repeat(65_536));
    vec![case("10.1.1").sends(fragments(&message, 1300)).receives([message]).closes()]
}

/// Three cases that differ only in how they are sent.
fn cut_three_ways(first: usize, script: fn(Case) -> Case) -> impl Iterator<Item = Case> {
    let ids = (first..).map(|number| format!("5.{number}"));
    ids.zip(CUTS).map(move |(id, cut)| script(cut(case(id))))
}

/// The first ping is answered while the message is still incomplete.
fn pinged_twice(case: Case) -> Case {
    case.sends([open(text("fragment1")), open(last("fragment2")), ping("pongme 1!")])
        .receives([pong("pongme 1!")])
        .sends([open(last("fragment3")), open(last("fragment4")), ping("pongme 2!")])
        .sends([last("fragment5")])
        .receives([pong("pongme 2!"), text("fragment1fragment2fragment3fragment4fragment5")])
        .closes()
}

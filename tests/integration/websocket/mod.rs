//! WebSocket conformance of the echo endpoint: the cases of the Autobahn test suite, numbered as
//! there, told in our own words and asked more strictly.
//!
//! Where the suite accepts several reactions, a case here names the one that is right; and every
//! case ends cleanly: the server's close frame with the expected code, then the end of its stream,
//! before the client has ended its own.
//!
//! Deliberately absent: sections 12 and 13 (compression, which the server never negotiates) and 9.9
//! (an endless message, which the suite itself leaves out).

mod beyond;
mod case;
mod closing;
mod fragmentation;
mod framing;
mod limits;
mod pings;
mod reserved;
mod utf8;

use crate::support::http;
use crate::support::server::Server;
use case::Case;

#[test]
fn section_1_frames_of_all_lengths() {
    conform(framing::section_1());
}

#[test]
fn section_2_pings_and_pongs() {
    conform(pings::section_2());
}

#[test]
fn section_3_reserved_bits() {
    conform(reserved::section_3());
}

#[test]
fn section_4_reserved_opcodes() {
    conform(reserved::section_4());
}

#[test]
fn section_5_fragmentation() {
    conform(fragmentation::section_5());
}

#[test]
fn section_6_utf8() {
    conform(utf8::section_6());
}

#[test]
fn section_6_4_every_wrong_octet_is_refused_as_it_arrives() {
    conform(utf8::section_6_4_for_all());
}

#[test]
fn section_7_closing() {
    conform(closing::section_7());
}

#[test]
fn section_9_large_and_many_messages() {
    conform(limits::section_9());
}

#[test]
fn section_10_automatic_fragmentation() {
    conform(fragmentation::section_10());
}

#[test]
fn what_rfc_6455_asks_beyond_the_suite() {
    conform(beyond::cases());
}

/// All sessions of the echo endpoint live on one shard: connections that another one accepted are
/// handed over before their first frame.
#[test]
fn two_shards_conform_alike() {
    let server = Server::start(2, &["--as", "conformance"]);
    let sections = [
        framing::section_1(),
        pings::section_2(),
        reserved::section_3(),
        fragmentation::section_5(),
        utf8::section_6(),
        closing::section_7(),
        fragmentation::section_10(),
    ];
    play(&server, sections.into_iter().flatten());
    let metrics = http::get(server.address(), "/metrics");
    let handed_over = |line: &&str| line.starts_with(HANDED_OFF) && !line.ends_with(" 0");
    assert!(metrics.text().lines().any(|line| handed_over(&line)), "no connection was handed over");
    server.stop();
}

/// What counts the connections a shard accepted for another one.
const HANDED_OFF: &str = "lockstep_handed_off_total{";

/// Plays cases one after the other against one server.
fn conform(cases: impl IntoIterator<Item = Case>) {
    let server = Server::start(1, &["--as", "conformance"]);
    play(&server, cases);
    server.stop();
}

fn play(server: &Server, cases: impl IntoIterator<Item = Case>) {
    for case in cases {
        case.play(server.address());
    }
}

//! Members that do not read: they are cut within bounds of bytes and time, the others lose nothing
//! and wait for nobody, and memory stays bounded.

use std::time::{Duration, Instant};

use crate::support::canary::{Canary, session_on};
use crate::support::croquet::Member;
use crate::support::eventually;
use crate::support::http::Connection;
use crate::support::server::{MemoryWatch, Server};
use crate::support::websocket::Client;

const SLOW_CLOSED: &str = "lockstep_slow_consumers_closed_total";

/// Little against what the server's side of a socket may grow to.
const RECEIVE_BUFFER_BYTES: usize = 128 << 10;

/// Payload of the `number`th message, of many bytes.
fn payload(number: usize, bytes: usize) -> String {
    format!("{number} {}", "x".repeat(bytes))
}

/// Joins with a socket that holds little, so that what is not read waits in the server.
fn join_reading_little(server: &Server, session: &str, user: &str) -> Member {
    let path = format!("/reflector/{session}");
    let client = Client::open(server.address(), &path);
    rustix::net::sockopt::set_socket_recv_buffer_size(client.stream(), RECEIVE_BUFFER_BYTES)
        .expect("options can be set");
    Member::join_with(client, &path, user)
}

/// Talks and listens at about this rate; everybody in `listeners` hears everything.
fn talk(
    listeners: &mut [Member],
    numbers: std::ops::Range<usize>,
    bytes: usize,
    per_second: usize,
) {
    let pause = Duration::from_secs_f64(bytes as f64 / per_second as f64);
    for number in numbers {
        let begun = Instant::now();
        let payload = payload(number, bytes);
        listeners[0].send(&payload);
        for listener in &mut *listeners {
            listener.await_payload(&payload);
        }
        // Sets the rate of the load; nothing is awaited by it.
        std::thread::sleep(pause.saturating_sub(begun.elapsed()));
    }
}

#[test]
fn a_member_that_stops_reading_is_cut_and_the_others_hear_everything() {
    for shards in [1, 2] {
        let server = Server::start(shards, &["--lag-bytes-max", "1MiB"]);
        let session = session_on(0, 2);
        let canary = Canary::start(server.address());
        let mut listeners =
            ["a", "b", "c"].map(|user| Member::join(server.address(), "talk", user));
        let mut victims: Vec<_> = (0..5)
            .map(|number| join_reading_little(&server, "talk", &format!("victim {number}")))
            .collect();
        // One in the canary's own session, where little is said: it is not slow yet.
        let mut quiet = join_reading_little(&server, &session, "quiet");
        let watch = MemoryWatch::start(&server);
        let mut number = 0;
        let begun = Instant::now();
        while server.metric(SLOW_CLOSED) < 5 {
            assert!(begun.elapsed() < Duration::from_secs(15), "the slow were not cut");
            talk(&mut listeners, number..number + 8, 64 << 10, 8 << 20);
            number += 8;
        }
        watch.assert_grew_less_than(16);
        // What they read now is in order up to the cut, and the cut says why.
        for victim in &mut victims {
            while victim.next_payload().is_some() {}
        }
        quiet.send("not cut");
        quiet.await_payload("not cut");
        talk(&mut listeners, number..number + 3, 1_000, 8 << 20);
        assert_eq!(server.metric(SLOW_CLOSED), 5);
        // They may come back.
        let mut back = Member::join(server.address(), "back", "victim 0");
        back.send("back");
        back.await_payload("back");
        canary.finish();
        server.stop();
    }
}

/// The close frame comes after whole frames only, however the cut fell.
#[test]
fn one_who_is_cut_is_told_to_reconnect() {
    let server = Server::start(1, &["--lag-bytes-max", "256KiB"]);
    let mut talker = [Member::join(server.address(), "talk", "talker")];
    let mut victim = join_reading_little(&server, "talk", "victim");
    let mut number = 0;
    while server.metric(SLOW_CLOSED) == 0 {
        assert!(number < 4_000, "the slow one was not cut");
        talk(&mut talker, number..number + 10, 10_000, 1 << 30);
        number += 10;
    }
    // It has 2 s to take its last bytes.
    assert_eq!(victim.client.closed(), (4003, "please reconnect".to_owned()));
    server.stop();
}

#[test]
fn a_member_that_reads_on_in_time_loses_nothing() {
    for shards in [1, 2] {
        let server = Server::start(shards, &["--lag-bytes-max", "8MiB"]);
        let mut listeners = ["a", "b"].map(|user| Member::join(server.address(), "talk", user));
        let mut pausing = join_reading_little(&server, "talk", "pausing");
        for round in 0..3 {
            // Less than the bound, but much more than its socket holds.
            talk(&mut listeners, round * 80..(round + 1) * 80, 64 << 10, 1 << 30);
            pausing.await_payload(&payload((round + 1) * 80 - 1, 64 << 10));
        }
        pausing.send("still here");
        for listener in &mut listeners {
            listener.await_payload("still here");
        }
        assert_eq!(server.metric(SLOW_CLOSED), 0);
        server.stop();
    }
}

/// Within the bound of bytes, but without taking one for 10 s.
#[test]
fn a_member_that_takes_nothing_for_too_long_is_cut() {
    let server = Server::start(2, &["--lag-bytes-max", "64MiB"]);
    let canary = Canary::start(server.address());
    let mut talker = [Member::join(server.address(), "talk", "talker")];
    let victim = join_reading_little(&server, "talk", "victim");
    let begun = Instant::now();
    // More than two sockets hold.
    talk(&mut talker, 0..160, 64 << 10, 1 << 30);
    eventually("the stuck one is cut", || server.metric(SLOW_CLOSED) == 1);
    let took = begun.elapsed();
    assert!((9..18).contains(&took.as_secs()), "cut after {took:?}");
    eventually("it is forgotten", || server.metric("lockstep_members") == 5);
    drop(victim);
    canary.finish();
    server.stop();
}

#[test]
fn a_reader_that_trickles_is_served_in_order() {
    let server = Server::start(1, &[]);
    let mut listeners = [Member::join(server.address(), "talk", "talker")];
    let mut trickling = join_reading_little(&server, "talk", "trickling");
    for round in 0..40 {
        talk(&mut listeners, round..round + 1, 100_000, 1 << 30);
        if round % 4 == 3 {
            trickling.await_payload(&payload(round - 3, 100_000));
        }
    }
    trickling.await_payload(&payload(39, 100_000));
    server.stop();
}

#[test]
fn joining_a_long_history_without_reading_it_costs_little() {
    let server = Server::start(1, &["--lag-bytes-max", "1MiB"]);
    let mut talker = [Member::join(server.address(), "talk", "talker")];
    talk(&mut talker, 0..160, 64 << 10, 1 << 30);
    let canary = Canary::start(server.address());
    let watch = MemoryWatch::start(&server);
    // Each is sent a history of 10 MiB, which all of them share.
    let path = "/reflector/talk";
    let lazy: Vec<_> = (0..30)
        .map(|number| {
            let mut client = Client::open(server.address(), path);
            rustix::net::sockopt::set_socket_recv_buffer_size(
                client.stream(),
                RECEIVE_BUFFER_BYTES,
            )
            .expect("options can be set");
            client.send_text(&crate::support::croquet::join_text(&format!("lazy {number}")));
            client
        })
        .collect();
    eventually("all have joined", || {
        Connection::open(server.address())
            .request("GET", "/users/talk", "", b"")
            .text()
            .matches("lazy")
            .count()
            == 30
    });
    talk(&mut talker, 160..176, 64 << 10, 1 << 30);
    watch.assert_grew_less_than(32);
    drop(lazy);
    canary.finish();
    server.stop();
}

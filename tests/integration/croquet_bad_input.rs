//! What no Croquet client should send, over the wire: nobody but its sender may notice, and nothing
//! may be left of it.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::canary::{Canary, session_on};
use crate::support::croquet::{Member, join_text, send_text};
use crate::support::http::Connection;
use crate::support::random::Random;
use crate::support::server::{MemoryWatch, Server};
use crate::support::websocket::{Client, Next, frame, frame_with};
use crate::support::{eventually, reset_on_drop};

/// What becomes of the sender of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Closed(u16),
    Stays,
}

use Fate::{Closed, Stays};

/// Sends one message and finds out what becomes of its sender.
fn fate(client: &mut Client, message: &str) -> Fate {
    client.try_send(&frame(true, 1, message.as_bytes()));
    client.try_send(&frame(true, 1, br#"{"action":"PING","args":"still there?"}"#));
    loop {
        match client.next() {
            Next::Frame(frame) if frame.opcode == 8 => return Closed(frame.close().0),
            Next::Frame(frame) if frame.opcode == 1 => {
                if frame.text() == r#"{"action":"PONG","args":"still there?"}"# {
                    return Stays;
                }
            }
            Next::Frame(_) => {}
            end => panic!("{message:.200}: the connection ended with {end:?}"),
        }
    }
}

/// Sends each message as one who has joined `session`, and as another connection each.
fn check_members(address: SocketAddr, session: &str, cases: &[(String, Fate)]) {
    for (message, expected) in cases {
        let mut member = Member::join(address, session, "attacker");
        assert_eq!(fate(&mut member.client, message), *expected, "{message:.200}");
    }
}

fn owned(cases: &[(&str, Fate)]) -> Vec<(String, Fate)> {
    cases.iter().map(|(message, fate)| ((*message).to_owned(), *fate)).collect()
}

fn with_args(action: &str, cases: &[(Value, Fate)]) -> Vec<(String, Fate)> {
    let message = |args: &Value| json!({"action": action, "args": args}).to_string();
    let mut all: Vec<_> = cases.iter().map(|(args, fate)| (message(args), *fate)).collect();
    all.sort_by_key(|(message, _)| message.len());
    all
}

/// Runs `attack` on the common session of one pair of the canary, with one shard and with two.
fn beside_a_canary(arguments: &[&str], attack: impl Fn(&Server, &str)) {
    for shards in [1, 2] {
        let server = Server::start(shards, arguments);
        let canary = Canary::start(server.address());
        attack(&server, &session_on(1, 2));
        canary.finish();
        assert_eq!(server.metric("lockstep_session_panics_total"), 0);
        server.stop();
    }
}

#[test]
fn envelopes_that_are_none() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let objects = "{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000);
    let mut cases = owned(&[
        ("", Closed(4102)),
        (" ", Closed(4102)),
        ("{", Closed(4102)),
        ("}", Closed(4102)),
        // Arrays are objects without an action, as in the original.
        ("[]", Stays),
        ("[1,2]", Stays),
        ("[1,2", Closed(4102)),
        ("1", Closed(4102)),
        ("-", Closed(4102)),
        ("\"SEND\"", Closed(4102)),
        ("true", Closed(4102)),
        ("nul", Closed(4102)),
        ("null", Closed(4109)),
        (" null ", Closed(4109)),
        ("{\"action\":\"PULSE\"", Closed(4102)),
        ("{\"action\":\"PULSE\"}}", Closed(4102)),
        ("{\"action\":\"PULSE\"} {}", Closed(4102)),
        ("{action:\"PULSE\"}", Closed(4102)),
        ("{'action':'PULSE'}", Closed(4102)),
        ("{\"action\":\"PULSE\",}", Closed(4102)),
        ("{\"action\":01}", Closed(4102)),
        ("{\"action\":NaN}", Closed(4102)),
        ("{\"action\":+1}", Closed(4102)),
        ("{\"action\":\"\\x\"}", Closed(4102)),
        ("{\"action\":\"\\u12\"}", Closed(4102)),
        ("{\"action\":\"\u{1}\"}", Closed(4102)),
        ("\u{FEFF}{\"action\":\"PULSE\"}", Closed(4102)),
        ("{}", Stays),
        ("{\"action\":null}", Stays),
        ("{\"action\":5}", Stays),
        ("{\"action\":[]}", Stays),
        ("{\"action\":\"\"}", Stays),
        ("{\"action\":\"LEAVE\"}", Stays),
        ("{\"action\":\"send\",\"args\":[1]}", Stays),
        ("{\"action\":\"__proto__\"}", Stays),
        ("{\"id\":5,\"action\":\"PULSE\"}", Stays),
        ("{\"id\":\"other session\",\"action\":\"PULSE\",\"args\":{\"x\":1e999}}", Stays),
        ("{\"action\":\"\\ud800\"}", Stays),
        ("\t\r\n{ \"action\" : \"PULSE\" } \n", Stays),
    ]);
    cases.extend([
        (deep.clone(), Closed(4102)),
        (objects.clone(), Closed(4102)),
        ("[".repeat(100_000), Closed(4102)),
        ("{\"a\":".repeat(100_000), Closed(4102)),
        (format!("{{\"action\":\"PING\",\"args\":{deep}}}"), Closed(4102)),
        (format!("{{\"action\":\"LOG\",\"args\":{objects}}}"), Closed(4102)),
        (format!("{{\"action\":\"SEND\",\"args\":[0,0,\"x\",{deep}]}}"), Closed(4102)),
        (format!("{{\"unknown\":{deep},\"action\":\"PULSE\"}}"), Closed(4102)),
        (format!("{{\"action\":\"{}\"}}", "x".repeat(1 << 20)), Stays),
        (format!("{{{}\"action\":\"PULSE\"}}", "\"a\":1,".repeat(100_000)), Stays),
    ]);
    beside_a_canary(&[], |server, session| check_members(server.address(), session, &cases));
}

#[test]
fn sends_that_are_none() {
    let big = "x".repeat(300);
    let mut cases = with_args(
        "SEND",
        &[
            (json!(null), Closed(4109)),
            (json!(5), Closed(4102)),
            (json!("x"), Closed(4102)),
            (json!({}), Closed(4102)),
            (json!([]), Closed(4102)),
            (json!([0]), Closed(4102)),
            (json!([0, 0]), Closed(4102)),
            (json!([0, 0, null]), Closed(4102)),
            (json!([0, 0, 5]), Closed(4102)),
            (json!([0, 0, true]), Closed(4102)),
            (json!([0, 0, ["x"]]), Closed(4102)),
            (json!([0, 0, {}]), Closed(4102)),
            // Forged: what only the reflector says.
            (
                json!([0, 0, {"what": "users", "active": 0, "total": 0, "left": ["a", "b"]}]),
                Closed(4102),
            ),
            (json!([0, 0, {"what": "tally", "tally": {}, "tuttiKey": "k"}]), Closed(4102)),
            (json!([0, 0, {"what": "audit"}]), Closed(4102)),
            // Odd and in order: only the payload's type matters.
            (json!(["x", {}, "attack", null, [], {"a": 1}]), Stays),
            (json!([-1e300, 1e300, "attack", "latency"]), Stays),
            (json!([0, 0, "attack", -1e300]), Stays),
        ],
    );
    cases.extend(owned(&[
        (r#"{"action":"SEND"}"#, Closed(4109)),
        (r#"{"action":"SEND","args":[0,0,"attack"],"tags":5}"#, Stays),
        (r#"{"action":"SEND","args":[0,0,"attack"],"tags":[]}"#, Stays),
        (r#"{"action":"SEND","args":[0,0,"attack"],"tags":{"debounce":"x","msgID":{}}}"#, Stays),
        (r#"{"action":"SEND","args":[0,0,"attack"],"tags":{"debounce":1e999}}"#, Stays),
        (r#"{"action":"SEND","args":[1e999,0,"attack"]}"#, Stays),
    ]));
    let tags = format!(r#""tags":{{"debounce":1,"msgID":"{big}"}}"#);
    cases.push((format!(r#"{{"action":"SEND","args":[0,0,"x"],{tags}}}"#), Closed(4102)));
    beside_a_canary(&[], |server, session| {
        // Two who know better: all they hear is consecutive and theirs, or of those who stay.
        let mut witness = Member::join(server.address(), session, "witness");
        check_members(server.address(), session, &cases);
        witness.send("the end");
        loop {
            let payload = witness.next_payload().expect("the witness is not cut");
            if payload == "the end" {
                break;
            }
            let known =
                payload.as_str().is_some_and(|text| text == "attack" || text.starts_with("round "));
            assert!(known || payload["what"] == "users", "{payload} reached the session");
        }
    });
}

#[test]
fn joins_that_are_none() {
    let join = |change: Value| {
        let mut args =
            json!({"version": 1, "apiKey": "none", "user": "u", "ticks": {"tick": 1000}});
        for (name, value) in change.as_object().expect("changes") {
            args[name] = value.clone();
        }
        args
    };
    let long = "x".repeat(100_000);
    let mut cases = with_args(
        "JOIN",
        &[
            (json!(null), Closed(4100)),
            (json!(5), Closed(4100)),
            (json!("x"), Closed(4100)),
            (json!([]), Closed(4100)),
            (json!({}), Closed(4100)),
            (json!({"version": 0, "apiKey": "x"}), Closed(4100)),
            (json!({"version": null, "apiKey": "x"}), Closed(4100)),
            (json!({"version": "", "apiKey": "x"}), Closed(4100)),
            (json!({"version": false, "apiKey": "x"}), Closed(4100)),
            (json!({"version": 1}), Closed(4103)),
            (join(json!({"user": long})), Closed(4102)),
            (join(json!({"user": {"id": "x", "data": long}})), Closed(4102)),
            (join(json!({"appId": long})), Closed(4102)),
            (join(json!({"persistentId": long})), Closed(4102)),
            (join(json!({"developerId": long})), Closed(4102)),
            (join(json!({"tove": long})), Closed(4102)),
            // No ticks ended the original's process.
            (json!({"version": 1, "apiKey": "x"}), Stays),
            (json!({"version": 1, "apiKey": null, "user": ""}), Stays),
            (join(json!({"ticks": null})), Stays),
            (join(json!({"ticks": 5})), Stays),
            (join(json!({"ticks": {"tick": "x", "delay": [], "scale": {}}})), Stays),
            (join(json!({"ticks": {"tick": -1, "delay": -1, "scale": -1}})), Stays),
            (join(json!({"ticks": {"tick": 1e300, "delay": 1e300, "scale": 1e300}})), Stays),
            (join(json!({"ticks": {"tick": 1e-300, "delay": 1e-300, "scale": 1e-300}})), Stays),
            (join(json!({"user": 5})), Stays),
            (join(json!({"user": [[], {}]})), Stays),
            (join(json!({"location": "yes", "user": ["x"]})), Stays),
            (join(json!({"name": 5, "appId": 5, "persistentId": [], "developerId": {}})), Stays),
            (join(json!({"name": long, "url": long, "sdk": long, "codeHash": long})), Stays),
            (join(json!({"heraldUrl": "file:///etc/passwd"})), Stays),
            (join(json!({"heraldUrl": long})), Stays),
            (join(json!({"heraldUrl": "http://127.0.0.1:1/"})), Stays),
            (join(json!({"leaveDelay": 1e300})), Stays),
            (join(json!({"leaveDelay": -1e300})), Stays),
            (join(json!({"leaveDelay": "x", "dormantDelay": "x"})), Stays),
            (join(json!({"flags": {"rawtime": "x", "microverse": [], "other": 1}})), Stays),
            (join(json!({"flags": [1, 2]})), Stays),
            (join(json!({"version": 1e300, "apiKey": {"a": 1}})), Stays),
        ],
    );
    cases.extend(owned(&[
        (r#"{"action":"JOIN"}"#, Closed(4100)),
        (r#"{"action":"JOIN","args":{"version":1e999,"apiKey":1}}"#, Stays),
    ]));
    beside_a_canary(&[], |server, _| {
        for (number, (message, expected)) in cases.iter().enumerate() {
            // Each opens a session of its own, and then somebody joins it all the same.
            let session = format!("joins-{number}");
            let mut client = Client::open(server.address(), &format!("/reflector/{session}"));
            assert_eq!(fate(&mut client, message), *expected, "{message:.200}");
            let mut member = Member::join(server.address(), &session, "later");
            member.send("x");
            member.await_payload("x");
        }
    });
}

#[test]
fn votes_snapshots_and_ticks_that_are_none() {
    let long = "x".repeat(100_000);
    let vote = |at: usize, value: Value| {
        let mut args = json!([0, 0, "{}", null, true, ["t"], "topic@0"]);
        args[at] = value;
        args
    };
    let mut cases = with_args(
        "TUTTI",
        &[
            (json!(null), Closed(4109)),
            (json!(5), Closed(4109)),
            (json!({}), Closed(4109)),
            (json!([]), Closed(4102)),
            (json!([0, 0, "x"]), Closed(4102)),
            (json!([0, 0, "x", null, true, null]), Closed(4102)),
            (vote(0, json!("x")), Closed(4102)),
            (vote(2, json!(5)), Closed(4102)),
            (vote(2, json!({})), Closed(4102)),
            (vote(2, json!(long)), Closed(4102)),
            (vote(3, json!([])), Closed(4102)),
            (vote(3, json!([0, 0, {"what": "users"}])), Closed(4102)),
            (vote(3, json!("x")), Closed(4102)),
            (vote(5, json!(5)), Closed(4102)),
            (vote(5, json!([long])), Closed(4102)),
            (vote(6, json!(5)), Closed(4102)),
            (vote(6, json!(long)), Closed(4102)),
            (vote(0, json!(1e15)), Stays),
            (vote(0, json!(-1e300)), Stays),
            (vote(4, json!({})), Stays),
        ],
    );
    cases.extend(with_args(
        "SNAP",
        &[
            (json!(null), Closed(4109)),
            (json!(5), Closed(4109)),
            (json!([]), Closed(4109)),
            (json!({}), Stays),
            (json!({"time": 1e15, "seq": 1, "hash": "h", "url": "http://x.example/"}), Stays),
            (json!({"time": -1, "seq": 1, "hash": "h", "url": "http://x.example/"}), Stays),
            (json!({"time": 0, "seq": -1, "hash": "h", "url": "http://x.example/"}), Stays),
            (json!({"time": 0, "seq": 1.5, "hash": "h", "url": "http://x.example/"}), Stays),
            (json!({"time": 0, "seq": 1e300, "hash": "h", "url": "http://x.example/"}), Stays),
            (json!({"time": 0, "seq": 7, "hash": "h", "url": "http://x.example/"}), Stays),
            (json!({"time": 0, "seq": 4_294_967_281_u32, "hash": "h", "url": ""}), Stays),
            (json!({"time": 0, "seq": 4_294_967_281_u32, "hash": "h", "url": long}), Stays),
            (json!({"time": "0", "seq": "1", "hash": 5, "url": 5, "dissident": []}), Stays),
        ],
    ));
    cases.extend(with_args(
        "SAVE",
        &[
            (json!(null), Closed(4109)),
            (json!([]), Closed(4109)),
            // Those who joined without an application have nowhere to save to.
            (json!({}), Closed(4101)),
            (json!({"persistTime": "x", "url": 5}), Closed(4101)),
        ],
    ));
    cases.extend(with_args(
        "TICKS",
        &[
            (json!(null), Closed(4109)),
            (json!(5), Closed(4109)),
            (json!([]), Closed(4109)),
            (json!({}), Stays),
            (json!({"tick": "x", "delay": {}, "scale": []}), Stays),
            (json!({"tick": 0, "scale": 0}), Stays),
            (json!({"tick": -5, "delay": -5, "scale": -5}), Stays),
        ],
    ));
    for action in ["TUTTI", "SNAP", "SAVE", "TICKS"] {
        cases.push((json!({"action": action}).to_string(), Closed(4109)));
    }
    for action in ["PING", "PULSE", "LOG"] {
        cases.push((json!({"action": action}).to_string(), Stays));
        for args in [json!(null), json!([]), json!({"a": {}}), json!(long), json!(1e300)] {
            cases.push((json!({"action": action, "args": args}).to_string(), Stays));
        }
    }
    beside_a_canary(&[], |server, session| {
        check_members(server.address(), session, &cases);
        let late = Member::join(server.address(), session, "late");
        assert_eq!(late.sync["url"], "", "no snapshot was taken");
        let first = late.sync["messages"][0][1].as_u64();
        assert_eq!(first, Some(4_294_967_281), "the history is whole");
    });
}

#[test]
fn those_who_have_not_joined_change_nothing() {
    beside_a_canary(&[], |server, session| {
        let args = json!({"time": 1, "seq": 4_294_967_281_u32, "hash": "h", "tick": 17, "scale": 64,
            "url": "http://x.example/", "persistTime": 1});
        let votes = json!([0, 0, "{}", null, true, null, "k@0"]);
        for (action, args) in
            [("SNAP", &args), ("SAVE", &args), ("TICKS", &args), ("TUTTI", &votes)]
        {
            let path = format!("/reflector/{session}");
            let mut client = Client::open(server.address(), &path);
            let message = json!({"action": action, "args": args}).to_string();
            assert_eq!(fate(&mut client, &message), Closed(4000), "{action}");
        }
        let mut client = Client::open(server.address(), &format!("/reflector/{session}"));
        for message in [send_text("unheard"), json!({"action": "SEND", "args": []}).to_string()] {
            assert_eq!(fate(&mut client, &message), Stays);
        }
        let late = Member::join(server.address(), session, "late");
        assert_eq!(late.sync["url"], "");
        assert!(!late.sync["messages"].to_string().contains("unheard"));
    });
}

/// Any member may change the ticks of its session; bounds keep that from hurting others.
#[test]
fn ticks_stay_within_bounds() {
    let server = Server::start(1, &[]);
    let canary = Canary::start(server.address());
    let mut members: Vec<_> = (0..10)
        .map(|number| Member::join(server.address(), "fast", &format!("user {number}")))
        .collect();
    let ticks = json!({"action": "TICKS", "args": {"tick": 1e-9, "scale": 1e9}}).to_string();
    members[0].client.send_text(&ticks);
    // What the bounds are is tested under a virtual clock; here, that the others live with it.
    members[1].send("x");
    members[1].await_payload("x");
    canary.finish();
    server.stop();
}

#[test]
fn messages_that_are_too_large() {
    beside_a_canary(&["--croquet-message-bytes-max", "64KiB"], |server, session| {
        let path = format!("/reflector/{session}");
        let open = || Client::open(server.address(), &path);
        let watch = MemoryWatch::start(server);
        let fits = format!("{{\"action\":\"LOG\",\"args\":\"{}\"}}", "x".repeat(65_510));
        assert_eq!(fits.len(), 65_536);
        assert_eq!(fate(&mut open(), &fits), Stays);
        let over = fits.replacen("LOG", "PING", 1);
        assert_eq!(fate(&mut open(), &over), Closed(1009));

        // In fragments, none of which is too large.
        let mut client = open();
        client.send(&frame(false, 1, &over.as_bytes()[..40_000]));
        client.try_send(&frame(true, 0, &over.as_bytes()[40_000..]));
        assert_eq!(client.closed().0, 1009);

        // Announced only: no byte of it need come, and none may be waited for or reserved.
        for announced in [65_537_u64, 1 << 32, (1 << 62) + 5, i64::MAX as u64] {
            let mut client = open();
            let mut header = vec![0x81, 0xFF];
            header.extend_from_slice(&announced.to_be_bytes());
            header.extend_from_slice(&[1, 2, 3, 4]);
            client.send(&header);
            assert_eq!(client.closed().0, 1009, "{announced} bytes announced");
        }
        // Many at once that announce what is allowed and send nothing of it.
        let waiting: Vec<_> = (0..500)
            .map(|_| {
                let mut client = open();
                client.send(&frame_with(0x81, &[b' '; 65_536], Some([0; 4]))[..20]);
                client
            })
            .collect();
        assert_eq!(fate(&mut open(), "{}"), Stays);
        watch.assert_grew_less_than(16);
        drop(waiting);
    });
}

#[test]
fn text_that_is_no_text() {
    beside_a_canary(&[], |server, session| {
        let path = format!("/reflector/{session}");
        for (opcode, code) in [(1, 1007), (2, 4102)] {
            for bytes in
                [&b"{\"action\":\"\xFF\"}"[..], b"\xC0\x80", b"\xED\xA0\x80", b"{\"a\":\"\xE2\x82"]
            {
                let mut client = Client::open(server.address(), &path);
                client.send(&frame(true, opcode, bytes));
                assert_eq!(client.closed().0, code, "{bytes:?}");
            }
        }
    });
}

/// Messages of clients with a few bytes changed, dropped, doubled or swapped between them.
#[test]
fn mutated_messages_disturb_nobody() {
    let originals = [
        join_text("u"),
        send_text("payload of some length \\u0041"),
        json!({"action": "TUTTI", "args": [5, 0, "{\"a\":1}", [1, 2, "x"], true, ["t"], "k@5"]}).to_string(),
        json!({"action": "SNAP", "args": {"time": 5, "seq": 4_294_967_285_u32, "hash": "h", "url": "http://x.example/s"}}).to_string(),
        json!({"action": "SAVE", "args": {"persistTime": 5, "url": "http://x.example/p", "dissident": false}}).to_string(),
        json!({"action": "TICKS", "args": {"tick": 1000, "delay": 0, "scale": 1}}).to_string(),
        json!({"action": "PING", "args": {"sent": 123.456}}).to_string(),
        json!({"action": "SEND", "args": [0, 0, "x", 1], "tags": {"debounce": 10, "msgID": "m"}}).to_string(),
    ];
    let mut random = Random::new();
    beside_a_canary_mut(|server| {
        for round in 0..1_000 {
            // A new session now and then: what one attacker did must not keep the next from it.
            let session = format!("mutated-{}", round / 20);
            let mut client = Client::open(server.address(), &format!("/reflector/{session}"));
            client.send_text(&join_text("attacker"));
            for _ in 0..20 {
                let mut bytes = originals[random.below(originals.len())].clone().into_bytes();
                for _ in 0..=random.below(4) {
                    mutate(&mut bytes, &mut random);
                }
                if !client.try_send(&frame(true, 2, &bytes)) {
                    break;
                }
            }
            if random.below(2) == 0 {
                client.finish();
                client.closed();
            }
            if round % 20 == 19 {
                let mut member = Member::join(server.address(), &session, "member");
                member.send("sane");
                member.await_payload("sane");
            }
        }
    });
}

fn beside_a_canary_mut(mut attack: impl FnMut(&Server)) {
    for shards in [1, 2] {
        let server = Server::start(shards, &[]);
        let canary = Canary::start(server.address());
        attack(&server);
        canary.finish();
        assert_eq!(server.metric("lockstep_session_panics_total"), 0);
        server.stop();
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const PIECES: [&[u8]; 12] = [
        b"null",
        b"[]",
        b"{}",
        b"1e999",
        b"-1",
        b"\"\"",
        b"0.1",
        b"true",
        b"\\u0000",
        b"18446744073709551616",
        b"\xFF",
        b"[[[[[[[[",
    ];
    let at = random.below(bytes.len() + 1);
    let end = (at + random.below(8)).min(bytes.len());
    match random.below(5) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        3 => bytes.truncate(at),
        _ => drop(bytes.splice(at..end, PIECES[random.below(PIECES.len())].iter().copied())),
    }
}

/// How long a flood lasts: enough for the server to take far more than sockets hold, if it would.
const FLOOD: Duration = Duration::from_secs(3);

/// Sends the same bytes again and again without reading, while the server takes them.
fn flood(mut stream: &TcpStream, bytes: &[u8]) {
    let (begun, many) = (Instant::now(), bytes.repeat((64 << 10) / bytes.len() + 1));
    stream.set_write_timeout(Some(FLOOD / 6)).expect("timeouts can be set");
    let mut rest: &[u8] = &many;
    while begun.elapsed() < FLOOD {
        match stream.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // Cut, as it may be.
            Err(_) => return,
        }
        if rest.is_empty() {
            rest = &many;
        }
    }
}

#[test]
fn floods_with_unread_replies_do_not_fill_the_memory() {
    let text = |message: Value| frame(true, 1, message.to_string().as_bytes());
    let vote = json!([0, 0, "{}", [0, 0, "x"], true, null, "k@0"]);
    let floods = [
        ("PING", text(json!({"action": "PING", "args": "x".repeat(1_000)}))),
        ("small PING", text(json!({"action": "PING"}))),
        ("JOIN", frame(true, 1, join_text("again").as_bytes())),
        ("SEND", frame(true, 1, send_text(&"x".repeat(300)).as_bytes())),
        ("TUTTI", text(json!({"action": "TUTTI", "args": vote}))),
        ("TICKS", text(json!({"action": "TICKS", "args": {"tick": 1000}}))),
        ("LOG", text(json!({"action": "LOG", "args": "x".repeat(100)}))),
        ("WebSocket ping", frame(true, 9, &[b'x'; 125])),
    ];
    for shards in [1, 2] {
        let server = Server::start(shards, &["--lag-bytes-max", "1MiB"]);
        let canary = Canary::start(server.address());
        let watch = MemoryWatch::start(&server);
        let mut attackers = Vec::new();
        for (name, bytes) in &floods {
            let session = name.replace(' ', "-");
            // Some history, so that each JOIN is worth an answer.
            let mut first = Member::join(server.address(), &session, "first");
            for number in 0..15 {
                let payload = format!("{number}{}", "x".repeat(1_000));
                first.send(&payload);
                first.await_payload(&payload);
            }
            for number in 0..2 {
                let user = format!("attacker {number}");
                attackers.push((Member::join(server.address(), &session, &user), bytes.clone()));
            }
        }
        let attackers: Vec<_> = attackers
            .into_iter()
            .map(|(member, bytes)| {
                std::thread::spawn(move || {
                    flood(member.client.stream(), &bytes);
                    member
                })
            })
            .collect();
        let attackers: Vec<_> =
            attackers.into_iter().map(|one| one.join().expect("floods do not panic")).collect();
        watch.assert_grew_less_than(32);
        drop(attackers);
        canary.finish();
        server.stop();
    }
}

#[test]
fn resets_at_every_stage_leave_nothing_behind() {
    for shards in [1, 2] {
        let server = Server::start(shards, &[]);
        let address = server.address();
        let canary = Canary::start(address);
        eventually("the canary is alone", || server.metric("lockstep_members") == 4);
        let (descriptors, connections) =
            (server.descriptors(), server.metric("lockstep_connections"));
        for round in 0..20 {
            let plain = |bytes: &[u8]| {
                let mut connection = Connection::open(address);
                connection.send(bytes);
                reset_on_drop(connection.stream());
            };
            plain(b"");
            plain(b"GET /hea");
            plain(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
            plain(b"GET /sessions HTTP/1.1\r\nHost: h\r\n\r\nGET /ses");
            plain(b"PUT /files/f HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nbegun");
            plain(b"PUT /files/f HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbe");
            plain(b"GET /files/f HTTP/1.1\r\nHost: h\r\n\r\n");
            plain(
                b"GET /reflector/reset HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
                  Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            );
            let session = session_on(round % 2, 2);
            let path = format!("/reflector/{session}");
            let upgraded = |bytes: &[u8]| {
                let mut client = Client::open(address, &path);
                client.send(bytes);
                reset_on_drop(client.stream());
            };
            let join = frame(true, 1, join_text("reset").as_bytes());
            upgraded(b"");
            upgraded(&join);
            upgraded(&join[..join.len() / 2]);
            upgraded(&[0x81]);
            upgraded(&frame(false, 1, b"{\"action\":"));
            upgraded(&[&join[..], &frame(true, 8, &[3, 232])].concat());
            let member = Member::join(address, &session, "reset");
            reset_on_drop(member.client.stream());
            drop(member);
            let mut member = Member::join(address, &session, "reset");
            member.send("the last word");
            member.client.send(&frame(true, 1, b"{\"action\":\"SEND\"")[..9]);
            reset_on_drop(member.client.stream());
        }
        eventually("all are forgotten", || {
            server.metric("lockstep_connections") <= connections
                && server.metric("lockstep_members") == 4
                && server.descriptors() <= descriptors
        });
        canary.finish();
        server.stop();
    }
}

#[test]
fn churn_leaves_nothing_behind() {
    for shards in [1, 2] {
        let server = Server::start(shards, &[]);
        let address = server.address();
        let canary = Canary::start(address);
        let (descriptors, connections) =
            (server.descriptors(), server.metric("lockstep_connections"));
        let watch = MemoryWatch::start(&server);
        let workers = [0, 1, 2, 3].map(|worker| {
            std::thread::spawn(move || {
                for round in 0..500 {
                    match (worker + round) % 5 {
                        0 => drop(TcpStream::connect(address).expect("the server accepts")),
                        1 => {
                            let mut connection = Connection::open(address);
                            connection.try_send(b"GET / HTTP/1.1\r\n");
                        }
                        2 => {
                            let session = format!("/reflector/churn-{}", round % 7);
                            let mut client = Client::open(address, &session);
                            client.try_send(&frame(true, 1, join_text("churn").as_bytes()));
                        }
                        3 => reset_on_drop(&TcpStream::connect(address).expect("it accepts")),
                        _ => {
                            let session = format!("churn-{}", round % 7);
                            let mut member = Member::join(address, &session, "churn");
                            member.client.send(&frame(true, 8, &[3, 232]));
                            assert_eq!(member.client.closed().0, 1000);
                        }
                    }
                }
            })
        });
        workers.into_iter().for_each(|worker| worker.join().expect("the server serves on"));
        eventually("all are forgotten", || {
            server.metric("lockstep_connections") <= connections
                && server.descriptors() <= descriptors
        });
        assert!(server.metric("lockstep_accepted_total") >= 2_000);
        watch.assert_grew_less_than(32);
        canary.finish();
        server.stop();
    }
}

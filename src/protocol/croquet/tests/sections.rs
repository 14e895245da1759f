//! What a client sees, section by section of the contract (specs: croquet §2–§10).

use serde_json::{Value, json};

use super::harness::Room;
use crate::protocol::croquet::{Config, PROTOCOL, session_key};
use crate::protocol::{Hello, Machine};
use crate::session::Close;

const SEQ_0: u64 = 0xFFFF_FFF0;

fn none() -> Value {
    json!({})
}

/// A room where `users` joined and were announced.
fn room_of(users: &[&str]) -> (Room, Vec<usize>) {
    let mut room = Room::new();
    let names: Vec<_> = users.iter().map(|user| room.join(json!(user), none())).collect();
    room.run_to(200);
    for &name in &names {
        room.take_texts(name);
    }
    (room, names)
}

#[test]
fn the_session_is_the_last_path_element() {
    for path in ["/abc", "/any/path/v1/abc", "abc", "//abc"] {
        assert_eq!(session_key(path), Ok("abc".to_owned()));
    }
    assert_eq!(session_key("/a%2Fb"), Ok("a%2Fb".to_owned()));
    for path in ["", "/", "/v1/"] {
        assert_eq!(session_key(path), Err(Close::new(4100, "outdated protocol")));
    }
    assert!(session_key(&"x".repeat(10_000)).is_err());
    assert!((PROTOCOL.limits)(&Default::default()).message_bytes_max == 4 << 20);
}

#[test]
fn messages_have_the_form_of_the_original() {
    let mut room = Room::new();
    let a = room.join(json!("va"), none());
    let timeline = room.take(a).remove(0)["args"]["timeline"].as_str().unwrap().to_owned();
    let sync = &room.received(a)[0].1;
    let expected = format!(
        r#"{{"id":"room","action":"SYNC","args":{{"url":"","messages":[],"time":0,"seq":4294967280,"tove":"tove","reflector":"local","timeline":"{timeline}","flags":{{}}}}}}"#
    );
    assert_eq!(*sync, expected);
    room.say(a, r#"{"action":"SEND", "args": [ 1 , 2, "\u0061 \"", {"x": [1]} , 7 ] }"#);
    room.run_to(50);
    assert_eq!(
        room.take_texts(a),
        [
            r#"{"id":"room","action":"RECV","args":[0,4294967281,"\u0061 \"", {"x": [1]} , 7]}"#,
            r#"{"id":"room","action":"TICK","args":50}"#,
        ]
    );
}

#[test]
fn ids_are_escaped() {
    let mut room = Room::open("a\"\\\u{1}é", Config::default(), false);
    let a = room.join(json!("va"), none());
    assert_eq!(room.take(a)[0]["id"], "a\"\\\u{1}é");
}

#[test]
fn a_joiner_replays_what_it_missed_and_goes_on_from_there() {
    let (mut room, names) = room_of(&["va"]);
    for at in 0..20 {
        room.send(names[0], &format!("p{at}"));
    }
    let b = room.join(json!("vb"), none());
    room.send(names[0], "live");
    let got = room.take(b);
    assert_eq!(got.len(), 2);
    let messages = got[0]["args"]["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 21);
    assert_eq!(got[0]["args"]["seq"], json!((SEQ_0 + 21) as u32), "wrapped");
    assert_eq!(messages[20][1], 5);
    assert_eq!(got[1]["args"], json!([200, 6, "live", 0]));
    assert!(room.is_admitted(b));
}

#[test]
fn a_large_history_is_shared_and_chunked() {
    let (mut room, names) = room_of(&["va"]);
    let payload = "é".repeat(9_000);
    for _ in 0..150 {
        room.send(names[0], &payload);
    }
    for user in ["vb", "vc"] {
        let name = room.join(json!(user), none());
        let texts = room.take_texts(name);
        assert_eq!(texts.len(), 2);
        assert!(texts[0].starts_with("_CHUNK10{") && texts[1].starts_with("_CHUNK01"));
        assert_eq!(texts[0].encode_utf16().count(), 1_000_008);
        let sync: Value =
            serde_json::from_str(&(texts[0][8..].to_owned() + &texts[1][8..])).unwrap();
        let messages = sync["args"]["messages"].as_array().unwrap();
        assert_eq!(messages.len(), 151);
        assert!(messages[1..].iter().all(|message| message[2] == payload));
    }
}

#[test]
fn a_second_join_is_another_sync_and_no_other_user() {
    let (mut room, names) = room_of(&["va"]);
    room.join_again(names[0], json!("vz"), none());
    room.send(names[0], "x");
    let got = room.take(names[0]);
    assert_eq!([&got[0]["action"], &got[1]["action"]], ["SYNC", "RECV"]);
    room.run_to(1_000);
    assert!(room.take_args(names[0], "RECV").is_empty(), "nobody joined");
    assert_eq!(room.machine.users(), r#"["va"]"#);
    for _ in 0..20 {
        room.join_again(names[0], json!("va"), none());
    }
    assert_eq!(room.closed(names[0]), Some(4003), "often enough");
}

#[test]
fn ticks_come_when_nothing_else_does() {
    let (mut room, names) = room_of(&["va"]);
    room.run_to(1_200);
    let ticks = room.take_args(names[0], "TICK");
    let expected: Vec<Value> = (1..=20).map(|at| json!(200 + at * 50)).collect();
    assert_eq!(ticks, expected);
    assert_eq!(room.counters.croquet_ticks.get(), 24);
    for at in 0..50 {
        room.run_to(1_220 + at * 20);
        room.send(names[0], "x");
    }
    let got = room.take(names[0]);
    assert!(got.iter().all(|message| message["action"] == "RECV"), "messages are ticks");
}

#[test]
fn ticks_missed_stay_missed() {
    let (mut room, names) = room_of(&["va"]);
    room.stall_to(5_000);
    assert_eq!(room.take_args(names[0], "TICK"), [json!(5_000)]);
    room.run_to(5_049);
    assert!(room.take(names[0]).is_empty());
    room.run_to(5_050);
    assert_eq!(room.take_args(names[0], "TICK"), [json!(5_050)]);
}

#[test]
fn nobody_listening_means_no_ticks() {
    let mut room = Room::new();
    let spectator = room.join(Value::Null, none());
    room.run_to(1_000);
    assert_eq!(room.take(spectator).len(), 1, "SYNC only");
    assert_eq!(room.machine.deadline(), None);
    let a = room.join(json!("va"), none());
    room.run_to(1_100);
    assert_eq!(room.take_args(a, "TICK"), [json!(1_050), json!(1_100)], "time ran on");
    room.leave(a, 1000);
    room.run_to(60_000);
    assert_eq!(room.take(spectator).len(), 0);
}

#[test]
fn the_first_joiner_chooses_the_ticks_within_bounds() {
    for (ticks, tick_ms) in [
        (json!({"tick": 100}), 100),
        (json!({"tick": 0.01}), 16),
        (json!({"tick": 1e300}), 60_000),
        (json!({"tick": -5}), 200),
        (json!({"tick": "50"}), 200),
        (json!({}), 200),
        (json!(null), 200),
        (json!([1]), 200),
    ] {
        let mut room = Room::new();
        let a = room.join(json!("va"), json!({"ticks": ticks}));
        room.join(json!("vb"), json!({"ticks": {"tick": 5_000}}));
        room.run_to(199);
        let from = room.received(a).len();
        room.run_to(70_000);
        let ticks = &room.received(a)[from..];
        let first = ticks.iter().position(|(_, text)| text.contains("RECV")).unwrap();
        assert_eq!(ticks[first + 1].0, 200 + tick_ms, "{ticks:?}");
    }
}

#[test]
fn ticks_change_for_all() {
    let (mut room, names) = room_of(&["va", "vb"]);
    room.act(names[0], "TICKS", json!({"tick": 20, "scale": 2}));
    room.run_to(260);
    assert_eq!(room.take_args(names[1], "TICK"), [json!(240), json!(280), json!(320)]);
    room.act(names[0], "TICKS", json!({"tick": 1_000}));
    room.run_to(1_280);
    assert_eq!(room.take_args(names[1], "TICK"), [json!(340), json!(1_340)], "scale is 1 again");
    // Asking again and again does not keep the ticks back.
    for at in 0..200 {
        room.run_to(1_280 + at * 10);
        room.act(names[0], "TICKS", json!({"tick": 50}));
    }
    assert!(room.take_args(names[1], "TICK").len() >= 39);
}

#[test]
fn delayed_messages_share_one_time() {
    let mut room = Room::new();
    let a = room.join(json!("va"), json!({"ticks": {"tick": 200, "delay": 100}}));
    room.run_to(410);
    room.take(a);
    room.run_to(510);
    room.send(a, "d1");
    room.run_to(520);
    room.send(a, "d2");
    assert_eq!(room.take(a).len(), 1, "the tick of 501");
    room.run_to(1_000);
    let got = room.take(a);
    let texts: Vec<_> =
        got.iter().map(|m| (m["action"].as_str().unwrap(), m["args"][2].as_str())).collect();
    assert_eq!(texts, [("RECV", Some("d1")), ("RECV", Some("d2")), ("TICK", None)]);
    assert_eq!(got[0]["args"][0], got[1]["args"][0]);
    assert_eq!(got[0]["args"][0], 600);
    room.run_to(1_150);
    room.send(a, "late enough");
    assert_eq!(room.take_args(a, "RECV").len(), 1, "not delayed");
}

#[test]
fn a_delayed_batch_is_bounded() {
    let mut room = Room::new();
    let a = room.join(json!("va"), json!({"ticks": {"tick": 60_000, "delay": 1e300}}));
    room.run_to(59_001);
    assert_eq!(room.take_args(a, "RECV").len(), 1, "a delay is never longer than a tick");
    room.run_to(119_100);
    assert_eq!(room.take_args(a, "TICK").len(), 1);
    for _ in 0..10_001 {
        room.send(a, "x");
    }
    assert_eq!(room.take_args(a, "RECV").len(), 10_000, "full, so it was sent early");
    room.run_to(179_002);
    assert_eq!(room.take_args(a, "RECV").len(), 1);
}

#[test]
fn users_are_announced_in_batches() {
    let mut room = Room::new();
    let a = room.join(json!("va"), none());
    room.run_to(150);
    let b = room.join(json!("vb"), none());
    let c = room.join(json!("vc"), none());
    room.leave(c, 1000);
    room.run_to(200);
    assert_eq!(
        room.take_args(a, "RECV"),
        [
            json!([200, SEQ_0 + 1, {"what": "users", "active": 2, "total": 2, "joined": ["va", "vb"], "_size": 58}])
        ]
    );
    room.run_to(1_000);
    room.leave(b, 1006);
    room.run_to(1_200);
    assert_eq!(
        room.take_args(a, "RECV"),
        [
            json!([1_200, SEQ_0 + 2, {"what": "users", "active": 1, "total": 1, "left": ["vb"], "_size": 51}])
        ]
    );
    assert_eq!(room.machine.describe(), "room 1 app http://localhost/page");
}

#[test]
fn a_leave_is_announced_after_the_delay_of_the_last_joiner() {
    let mut room = Room::new();
    let a = room.join(json!("va"), json!({"leaveDelay": 5}));
    let b = room.join(json!("vb"), json!({"leaveDelay": 800}));
    room.run_to(500);
    room.take(a);
    room.leave(b, 1006);
    let b2 = room.join(json!("vb"), json!({"leaveDelay": 1e12}));
    room.run_to(1_600);
    let payloads: Vec<Value> =
        room.take_args(a, "RECV").into_iter().map(|mut args| args[2].take()).collect();
    assert_eq!(
        payloads,
        [
            json!({"what": "users", "active": 3, "total": 3, "joined": ["vb"], "_size": 53}),
            json!({"what": "users", "active": 2, "total": 2, "left": ["vb"], "_size": 51}),
        ]
    );
    room.leave(b2, 1006);
    room.run_to(601_000);
    assert_eq!(room.machine.users(), r#"["va","vb"]"#);
    room.run_to(601_900);
    assert_eq!(room.machine.users(), r#"["va"]"#, "never longer than ten minutes");
}

#[test]
fn spectators_get_sync_and_info_only() {
    let config =
        Config { history_messages_max: 3, history_request_snapshot: 2, ..Config::default() };
    for user in [json!(null), json!(""), json!(false), json!(0)] {
        let mut room = Room::with(config.clone(), false);
        let a = room.join(json!("va"), none());
        let spectator = room.join(user, none());
        room.run_to(200);
        for _ in 0..5 {
            room.send(a, "x");
        }
        let actions: Vec<Value> =
            room.take(spectator).into_iter().map(|mut m| m["action"].take()).collect();
        assert_eq!(actions[0], "SYNC");
        assert!(actions.len() > 1 && actions[1..].iter().all(|action| action == "INFO"));
        assert_eq!(room.machine.users(), r#"["va",null]"#);
        // A spectator may speak, and may become a user.
        room.take(a);
        room.join_again(spectator, json!("vs"), none());
        assert_eq!(room.machine.users(), r#"["va","vs"]"#);
        room.run_to(300);
        assert_eq!(room.take_args(spectator, "TICK").len(), 2);
    }
}

#[test]
fn location_is_added_if_the_first_joiner_asks() {
    let hello = || Hello {
        location: Some("us-west,Los \"Angeles,34.05,-118.2".to_owned()),
        ..Hello::default()
    };
    let place = json!({"region": "us-west", "city": {"name": "Los \"Angeles", "lat": 34.05, "lng": -118.2}});
    for (asks, users) in [
        (
            true,
            json!([["va", place], [place], {"id": "vb", "location": place}, {"location": place}, "vc"]),
        ),
        (false, json!([["va"], [], {"id": "vb"}, {}, "vc"])),
    ] {
        let mut room = Room::new();
        for user in [json!(["va"]), json!([]), json!({"id": "vb"}), json!({}), json!("vc")] {
            let name = room.enter_as(hello());
            room.join_again(name, user, json!({"location": asks}));
        }
        assert_eq!(serde_json::from_str::<Value>(&room.machine.users()).unwrap(), users);
    }
    let mut room = Room::new();
    let bare = Hello { location: Some("eu".to_owned()), ..Hello::default() };
    let name = room.enter_as(bare);
    room.join_again(name, json!(["v"]), json!({"location": true}));
    assert_eq!(room.machine.users(), r#"["v",{"region":"eu"}]"#.replace("[\"v\"", "[[\"v\"") + "]");
}

#[test]
fn the_herald_is_told_where_it_is_allowed() {
    let config = Config { herald_hosts: vec!["herald.example".to_owned()], ..Config::default() };
    let mut room = Room::with(config, false);
    let a = room.join(json!("va"), json!({"heraldUrl": "http://herald.example/x"}));
    let spectator = room.join(Value::Null, json!({"heraldUrl": "http://herald.example/x"}));
    room.run_to(200);
    let (url, body) = room.posts.remove(0);
    assert_eq!(url, "http://herald.example/x");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert!(body["time"].as_u64().unwrap() > 1_700_000_000_000);
    assert_eq!(body["id"], "room");
    assert_eq!(body["all"], json!(["va"]));
    assert_eq!((&body["joined"], body.get("left")), (&json!(["va"]), None));
    room.answer_post(Ok(()));
    room.take(a);
    room.answer_post(Err("refused \"so\"".to_owned()));
    for name in [a, spectator] {
        let info = room.take_args(name, "INFO").remove(0);
        assert_eq!(info["code"], "HERALDING_FAILED");
        assert!(info["msg"].as_str().unwrap().ends_with("failed: refused \"so\""));
    }
    room.join(json!("vb"), json!({"heraldUrl": "http://elsewhere.example/x"}));
    room.run_to(600);
    assert!(room.posts.is_empty());
}

#[test]
fn snapshots_replace_what_they_cover() {
    let (mut room, names) = room_of(&["va"]);
    for at in 0..6 {
        room.run_to(210 + at * 10);
        room.send(names[0], &format!("p{at}"));
    }
    let seq = SEQ_0 + 4;
    let snap = json!({"time": 230.5, "seq": seq, "hash": "h", "url": "http://files/s1"});
    room.act(names[0], "SNAP", snap);
    let b = room.join(json!("vb"), none());
    let sync = room.take(b).remove(0);
    let sync = &sync["args"];
    assert_eq!(sync["url"], "http://files/s1");
    assert_eq!((&sync["snapshotTime"], &sync["snapshotSeq"]), (&json!(230.5), &json!(seq)));
    let left: Vec<_> = sync["messages"].as_array().unwrap().iter().map(|m| &m[2]).collect();
    assert_eq!(left, ["p3", "p4", "p5"]);
    // One without messages after the other is fine if it is newer.
    room.act(names[0], "SNAP", json!({"time": 231, "seq": seq, "hash": "h", "url": "s2"}));
    room.act(names[0], "SNAP", json!({"time": 231, "seq": seq + 1, "hash": "h", "url": "s3"}));
    let c = room.join(json!("vc"), none());
    assert_eq!(room.take(c)[0]["args"]["url"], "s2");
}

#[test]
fn debounced_messages_are_heard_once() {
    let (mut room, names) = room_of(&["va", "vb"]);
    let poll = |debounce: Value| {
        json!({"action": "SEND", "args": [0, 0, "poll", 0],
        "tags": {"debounce": debounce, "msgID": "pollForSnapshot"}})
    };
    for &name in &names {
        room.say(name, &poll(json!(5_000)).to_string());
    }
    assert_eq!(room.take_args(names[0], "RECV").len(), 1);
    room.run_to(5_201);
    room.say(names[1], &poll(json!(5_000)).to_string());
    for not_debounced in [json!(0), json!(null), json!("x"), json!(-1)] {
        room.say(names[0], &poll(not_debounced).to_string());
    }
    assert_eq!(room.take_args(names[0], "RECV").len(), 5);
}

#[test]
fn raw_time_takes_the_last_place() {
    let mut room = Room::new();
    let a = room.join(json!("va"), json!({"flags": {"rawtime": true, "microverse": 1, "x": true}}));
    room.act(a, "TICKS", json!({"scale": 2}));
    room.run_to(100);
    assert_eq!(room.take(a)[0]["args"]["flags"], json!({"rawtime": true, "microverse": true}));
    room.act(a, "SEND", json!([0, 0, "four", 7]));
    room.act(a, "SEND", json!([0, 0, "five", {"x": [1, 2]}, 7]));
    room.act(a, "SEND", json!([0, 0, "three"]));
    let vote = |key: &str, first: Value| json!([0, 0, "\"p\"", first, true, null, key]);
    room.act(a, "TUTTI", vote("k", json!([0, 0, "first"])));
    let got: Vec<Value> = room.take_args(a, "RECV");
    assert_eq!(got[0], json!([200, SEQ_0 + 1, "four", 100]));
    assert_eq!(got[1], json!([200, SEQ_0 + 2, "five", {"x": [1, 2]}, 100]));
    assert_eq!(got[2], json!([200, SEQ_0 + 3, "three", 100]), "the payload is not overwritten");
    assert_eq!(got[3], json!([200, SEQ_0 + 4, "first", 100]));
    assert_eq!((&got[4][2]["what"], &got[4][3]), (&json!("tally"), &json!(100)));
    for (args, pong) in [
        (json!({"n": 1}), json!({"n": 1, "rawTime": 100})),
        (json!({}), json!({"rawTime": 100})),
        (json!([1]), json!([1])),
        (json!("}"), json!("}")),
        (json!(null), json!(null)),
    ] {
        room.act(a, "PING", args);
        assert_eq!(room.take(a), [json!({"action": "PONG", "args": pong})]);
    }
    room.say(a, r#"{"action":"PING"}"#);
    assert_eq!(room.take_texts(a), [r#"{"action":"PONG"}"#]);
}

#[test]
fn latencies_and_messages_are_counted() {
    let (mut room, names) = room_of(&["va"]);
    for latency in [json!(9), json!(0), json!(-1), json!(60_000), json!("x"), json!(59_999.5)] {
        room.act(names[0], "SEND", json!([0, 0, "x", latency]));
    }
    assert_eq!(room.counters.croquet_latency.sum_ms.get(), 9 + 59_999);
    assert_eq!(room.counters.croquet_messages.get(), 7);
    assert_eq!(room.counters.croquet_sessions.get(), 1);
    assert_eq!(room.counters.croquet_connections.get(), 1);
    room.leave(names[0], 1000);
    room.run_to(20_000);
    assert_eq!(room.counters.croquet_sessions.get(), 0);
    assert_eq!(room.counters.croquet_connections.get(), 0);
}

#[test]
fn statistics_count_once_for_each_who_listened() {
    let (mut room, names) = room_of(&["va", "vb"]);
    let spectator = room.join(Value::Null, json!({}));
    let (sends, ticks) =
        (room.counters.croquet_traffic.sends.get(), room.counters.croquet_traffic.ticks.get());
    room.take(names[0]);
    room.send(names[0], "x");
    assert_eq!(room.counters.croquet_traffic.sends.get(), sends + 2, "spectators hear nothing");
    room.run_to(room.now_ms() + 100);
    let heard = room.take_args(names[0], "TICK").len() as u64;
    assert!(heard > 0);
    assert_eq!(room.counters.croquet_traffic.ticks.get(), ticks + 2 * heard);
    let text = r#"{"action":"PULSE"}"#;
    let bytes_in = room.counters.croquet_traffic.bytes_in.get();
    room.say(spectator, text);
    assert_eq!(room.counters.croquet_traffic.bytes_in.get(), bytes_in + text.len() as u64);
    assert_eq!(room.counters.croquet_traffic.users.get(), 3);
    room.leave(spectator, 1000);
    room.enter();
    assert_eq!(room.counters.croquet_traffic.users.get(), 3, "the most at once");
}

#[test]
fn a_round_trip_is_what_clients_report_or_the_answer_to_a_ping() {
    let mut room = Room::new();
    let hello = Hello { user_ip: "10.0.0.9".to_owned(), ..Hello::default() };
    let name = room.enter_as(hello);
    let wall_ms = room.wall_ms();
    for payload in [wall_ms, wall_ms - 17, wall_ms - 59_999, wall_ms - 60_000, wall_ms + 1] {
        room.answer_ping(name, payload.to_string().as_bytes());
    }
    for payload in [&b""[..], b"are you there?", b"-1", b"\xFF", b"99999999999999999999"] {
        room.answer_ping(name, payload);
    }
    room.join_again(name, json!("va"), json!({}));
    for latency in [json!(9), json!(0), json!(60_000), json!("x"), json!(59_999.5)] {
        room.act(name, "SEND", json!([0, 0, "x", latency]));
    }
    let all: Vec<u32> = room.latencies.iter().map(|&(_, ms)| ms).collect();
    assert_eq!(all, [0, 17, 59_999, 9, 59_999]);
    assert!(room.latencies.iter().all(|(address, _)| address == "10.0.0.9"));
}

#[test]
fn snapshots_are_requested_as_the_history_fills() {
    let (mut room, names) = room_of(&["va"]);
    room.run_to(60_000);
    room.take(names[0]);
    let (mut requests, mut infos) = (Vec::new(), Vec::new());
    let send = r#"{"action":"SEND","args":[0,0,"x",0]}"#;
    // The users message is the first one.
    for len in 1..100_010 {
        room.say(names[0], send);
        for text in room.take_texts(names[0]) {
            if text.contains("REQU") {
                assert_eq!(text, r#"{"id":"room","action":"REQU"}"#);
                requests.push(len);
            } else if text.contains("INFO") {
                infos.push(len);
            }
        }
    }
    let expected = |len: &usize| {
        let every = ((100_000 - len) / 100 * 10).max(1);
        len.is_multiple_of(every)
    };
    let before_full: Vec<usize> = (60_000..100_000).filter(expected).collect();
    assert_eq!(before_full.len(), 170);
    assert_eq!(requests[..170], before_full[..]);
    assert_eq!(requests.len(), 170 + 10, "each dropped message asks again");
    assert_eq!(
        (infos[0], infos.len() - 10),
        (90_090, before_full.iter().filter(|l| **l > 90_000).count())
    );
    assert_eq!(room.counters.croquet_messages.get(), 100_000);
    // What a snapshot needs still goes through, so that the session can recover.
    let poll = r#"{"action":"SEND","args":[0,0,"poll",0],"tags":{"debounce":5000,"msgID":"p"}}"#;
    room.say(names[0], poll);
    room.act(names[0], "TUTTI", json!([59_000, 0, "v", null, true, ["x"], "snapshot@59000"]));
    let got = room.take_args(names[0], "RECV");
    assert_eq!((&got[0][2], &got[1][2]["what"]), (&json!("poll"), &json!("tally")));
    let seq = got[1][1].clone();
    room.act(names[0], "SNAP", json!({"time": 59_000, "seq": seq, "hash": "h", "url": "u"}));
    room.say(names[0], send);
    assert_eq!(room.take_args(names[0], "RECV").len(), 1);
}

#[test]
fn bytes_fill_the_history_too() {
    let config = Config { history_bytes_max: 100_000, ..Config::default() };
    let mut room = Room::with(config, false);
    let a = room.join(json!("va"), none());
    room.run_to(200);
    let payload = "x".repeat(1_000);
    let (mut requested_at, mut delivered) = (None, 0);
    for at in 0..200 {
        room.send(a, &payload);
        for message in room.take(a) {
            match message["action"].as_str().unwrap() {
                "REQU" => requested_at = requested_at.or(Some(at)),
                "RECV" => delivered += 1,
                _ => {}
            }
        }
    }
    assert!((58..=61).contains(&requested_at.unwrap()), "{requested_at:?}");
    assert!((97..=100).contains(&delivered), "{delivered}");
}

#[test]
fn a_session_at_rest_is_small() {
    let bytes = size_of::<crate::protocol::croquet::machine::Reflector>()
        + size_of::<crate::protocol::croquet::live::Live>();
    assert!(bytes <= 1 << 10, "{bytes} bytes");
}

#[test]
fn a_session_outlives_its_members_for_a_while() {
    let (mut room, names) = room_of(&["va"]);
    room.send(names[0], "keep");
    room.leave(names[0], 1000);
    room.run_to(10_100);
    assert!(!room.machine.is_over());
    let b = room.join(json!("vb"), none());
    let sync = room.take(b).remove(0);
    assert_eq!(sync["args"]["time"], 10_100);
    assert_eq!(sync["args"]["messages"].as_array().unwrap().len(), 2);
    room.leave(b, 1000);
    room.run_to(20_099);
    assert!(!room.machine.is_over());
    room.run_to(20_100);
    assert!(room.machine.is_over());
    assert_eq!(room.machine.deadline(), None);
}

#[test]
fn a_connection_keeps_an_empty_session_for_a_while() {
    let (mut room, names) = room_of(&["va"]);
    room.leave(names[0], 1000);
    room.run_to(9_000);
    let b = room.enter();
    room.run_to(15_900);
    room.join_again(b, json!("vb"), none());
    assert_eq!(room.take(b)[0]["args"]["messages"].as_array().unwrap().len(), 1);
}

#[test]
fn a_session_nobody_joins_is_over_for_its_sockets() {
    let mut room = Room::new();
    let silent = room.enter();
    room.run_to(6_999);
    let late = room.enter();
    room.run_to(13_900);
    assert_eq!(room.machine.describe(), "room 0  ");
    room.run_to(14_000);
    room.join_again(late, json!("v"), none());
    assert_eq!(room.closed(late), Some(4003));
    assert!(!room.machine.is_over(), "a silent socket is still seated");
    // A new connection opens it again, for the silent one too.
    let new = room.enter();
    room.join_again(silent, json!("vs"), none());
    room.join_again(new, json!("vn"), none());
    assert_eq!(room.machine.users(), r#"["vs","vn"]"#);
}

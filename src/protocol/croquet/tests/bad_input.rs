//! Every wrong type and missing field of every action: nothing panics, the sender is closed with a
//! defined code or ignored, and the others go on receiving consecutive messages.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::harness::{Name, Room, join_args};
use crate::protocol::Message;

/// Values of every type, and of sizes nobody expects.
fn odd_values() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(-1),
        json!(0.5),
        json!(1e308),
        json!(""),
        json!("x"),
        json!("😀\u{0}\u{2028}"),
        json!("x".repeat(5_000)),
        json!([]),
        json!([null]),
        json!([0, 0]),
        json!([0, 0, {"what": "users"}]),
        json!([0, 0, "p"]),
        json!([[[[]]]]),
        json!({}),
        json!({"a": 1}),
        json!({"tick": "x", "delay": [], "scale": {}}),
        json!({"id": "v", "data": "x".repeat(5_000)}),
    ]
}

/// Two members; `b` is the neighbour who must not notice.
struct Pair {
    room: Room,
    a: Name,
    b: Name,
    next_seq: u32,
}

impl Pair {
    fn new() -> Self {
        let mut room = Room::new();
        let a = room.join(json!("va"), json!({}));
        let b = room.join(json!("vb"), json!({}));
        room.run_to(200);
        room.take(a);
        room.take(b);
        Self { room, a, b, next_seq: 0xFFFF_FFF2 }
    }

    /// Another member in place of one that was closed.
    fn replace(&mut self) {
        if self.room.closed(self.a).is_some() {
            self.a = self.room.join(json!("va"), json!({}));
        }
    }

    /// Whatever happened, `b` hears all of what follows, in order and soon.
    fn check(&mut self, what: &str) {
        let close = self.room.closed(self.a);
        let defined = [4000, 4003, 4100, 4101, 4102, 4103, 4109];
        assert!(close.is_none_or(|code| defined.contains(&code)), "{what}: {close:?}");
        self.room.send(self.b, "still here");
        let now = self.room.now_ms();
        self.room.run_to(now + 1_300);
        let all = self.room.take_args(self.b, "RECV");
        assert!(all.iter().any(|recv| recv[2] == "still here"), "{what}");
        for recv in all {
            assert_eq!(recv[1], self.next_seq, "{what}");
            self.next_seq = self.next_seq.wrapping_add(1);
            let payload = &recv[2];
            assert!(payload.is_string() || payload["_size"].is_number(), "{what}: {payload}");
        }
        assert_eq!(self.room.closed(self.b), None);
        self.replace();
    }

    fn try_args(&mut self, action: &str, args: Value) {
        let what = format!("{action} {args}");
        self.room.act(self.a, action, args);
        self.check(&what[..what.floor_char_boundary(200)]);
    }
}

const ACTIONS: [&str; 9] =
    ["JOIN", "SEND", "TUTTI", "SNAP", "SAVE", "TICKS", "PING", "PULSE", "LOG"];

#[test]
fn args_of_any_type() {
    let mut pair = Pair::new();
    for action in ACTIONS {
        for value in odd_values() {
            pair.try_args(action, value);
        }
        let (what, a) = (format!(r#"{{"action":"{action}"}}"#), pair.a);
        pair.room.say(a, &what);
        pair.check(&what);
    }
}

#[test]
fn fields_of_any_type_and_missing_ones() {
    let mut pair = Pair::new();
    let snap =
        json!({"time": 100, "seq": 0xFFFF_FFF1_u32, "hash": "h", "url": "u", "dissident": null});
    let save = json!({"persistTime": 1, "url": "u", "dissident": null});
    let ticks = json!({"tick": 50, "delay": 0, "scale": 1});
    let mut join = join_args(json!("va"));
    for more in ["leaveDelay", "heraldUrl", "location", "flags"] {
        join[more] = json!(0);
    }
    for (action, good) in [("SNAP", snap), ("SAVE", save), ("TICKS", ticks), ("JOIN", join)] {
        for field in good.as_object().unwrap().keys() {
            for value in odd_values() {
                let mut bad = good.clone();
                bad[field] = value;
                pair.try_args(action, bad);
            }
            let mut bad = good.clone();
            bad.as_object_mut().unwrap().remove(field);
            pair.try_args(action, bad);
        }
    }
}

#[test]
fn joins_of_a_fresh_session() {
    // The first JOIN opens the session, so each bad one gets a session of its own.
    for field in join_args(json!("va")).as_object().unwrap().keys() {
        for value in odd_values().into_iter().chain([json!("absent")]) {
            let mut room = Room::new();
            let a = room.enter();
            let mut args = join_args(json!("va"));
            args[field] = value.clone();
            if value == "absent" {
                args.as_object_mut().unwrap().remove(field);
            }
            room.act(a, "JOIN", args);
            room.run_to(10);
            let b = room.join(json!("vb"), json!({}));
            let sync = room.take(b).remove(0);
            assert_eq!(sync["action"], "SYNC", "{field} {value}");
            room.run_to(300);
            assert_eq!(room.take_args(b, "RECV")[0][1], 0xFFFF_FFF1_u32);
        }
    }
}

#[test]
fn elements_of_any_type_and_missing_ones() {
    let mut pair = Pair::new();
    let send = json!([0, 0, "p", 5]);
    for (action, good) in
        [("SEND", send), ("TUTTI", json!([100, 0, "p", [0, 0, "f"], true, ["x"], "k"]))]
    {
        let good = good.as_array().unwrap();
        for at in 0..good.len() {
            for (round, value) in odd_values().into_iter().enumerate() {
                let mut bad = good.clone();
                bad[at] = value;
                if action == "TUTTI" && at != 6 {
                    bad[6] = json!(format!("k{at}.{round}"));
                }
                pair.try_args(action, json!(bad));
            }
            pair.try_args(action, json!(good[..at]));
        }
    }
}

#[test]
fn envelopes_and_tags_of_any_type() {
    let mut pair = Pair::new();
    for value in odd_values() {
        let a = pair.a;
        pair.room.say(a, &value.to_string());
        pair.check("envelope");
        let a = pair.a;
        pair.room.say(a, &json!({"action": value, "args": 1}).to_string());
        pair.check("action");
        for tags in
            [value.clone(), json!({"debounce": value}), json!({"debounce": 5, "msgID": value})]
        {
            let a = pair.a;
            let send = json!({"action": "SEND", "args": [0, 0, "p", 0], "tags": tags});
            pair.room.say(a, &send.to_string());
            pair.check("tags");
        }
    }
    let deep = "[".repeat(200) + &"]".repeat(200);
    for text in [
        "",
        " ",
        "{",
        "}",
        "{nope",
        "nul",
        "\u{feff}{}",
        "{}{}",
        "{\"action\":\"PING\",}",
        "{\"action\":\"SEND\",\"args\":[0,0,\"\u{1}\"]}",
        &format!("{{\"action\":\"PING\",\"args\":{deep}}}"),
    ] {
        let a = pair.a;
        pair.room.say(a, text);
        pair.check(text);
    }
    for bytes in [&b"\xFF"[..], b"{\"action\":\"PING\",\"args\":\"\xC0\x80\"}"] {
        let a = pair.a;
        pair.room.tell(a, Message::Binary(bytes));
        assert_eq!(pair.room.closed(a), Some(4102));
        pair.check("bytes");
    }
}

#[test]
fn what_the_original_says_to_bad_input() {
    for (text, code) in [
        ("null", Some(4109)),
        (" null ", Some(4109)),
        ("[]", None),
        ("\"x\"", Some(4102)),
        ("{}", None),
        (r#"{"action":"SEND"}"#, Some(4109)),
        (r#"{"action":"SEND","args":null}"#, Some(4109)),
        (r#"{"action":"SEND","args":[]}"#, None),
        (r#"{"action":"JOIN","args":{"version":0,"apiKey":"k"}}"#, Some(4100)),
        (r#"{"action":"JOIN","args":{"version":1}}"#, Some(4103)),
        (r#"{"action":"SNAP","args":{}}"#, Some(4000)),
        (r#"{"action":"LOG"}"#, None),
        (r#"{"action":"LOG","args":{"x":1}}"#, None),
        (r#"{"action":"LEAVING","args":1}"#, None),
    ] {
        let mut room = Room::new();
        let a = room.enter();
        room.say(a, text);
        assert_eq!(room.closed(a), code, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_harmless(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..8)) {
        let mut pair = Pair::new();
        for message in messages {
            let a = pair.a;
            pair.room.tell(a, Message::Binary(&message));
            pair.replace();
        }
        pair.check("any bytes");
    }

    #[test]
    fn damaged_messages_are_harmless(
        action in prop::sample::select(&ACTIONS[..]),
        at in 0..400usize,
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut pair = Pair::new();
        let args = match action {
            "JOIN" => join_args(json!(["vz"])),
            "SEND" => json!([0, 0, "some payload", 5]),
            "TUTTI" => json!([100, 0, "p", [0, 0, "f"], true, ["x"], "k"]),
            "TICKS" => json!({"tick": 20, "delay": 1, "scale": 1.5}),
            _ => json!({"time": 100, "seq": 0xFFFF_FFF1_u32, "hash": "h", "url": "u"}),
        };
        let mut text = json!({"id": "x", "action": action, "args": args}).to_string().into_bytes();
        let at = at % text.len();
        if cut {
            text.truncate(at);
        } else {
            text[at] = byte;
        }
        let a = pair.a;
        pair.room.tell(a, Message::Binary(&text));
        pair.check("damaged");
    }
}

//! Replays of what the original was recorded to say. Times are session times and may differ by the
//! jitter of the recording; everything else is compared exactly, but for the number of ticks.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::harness::{Name, Room};
use crate::protocol::Message;
use crate::protocol::croquet::Config;

/// What a recorded time may be off, in milliseconds.
const JITTER_MS: f64 = 30.0;

macro_rules! transcripts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(include_str!(concat!(
                "../../../../tests/transcripts/croquet/", stringify!($name), ".jsonl"
            )));
        })*
    };
}

transcripts! {
    chunks debounce delay end_and_resume errors join_send_tick nojoin paths rejoin snapshot tutti
    users_objects
}

/// What a connection was recorded to receive, pings aside.
#[derive(Debug, Default)]
struct Expected {
    texts: Vec<String>,
    close: Option<u64>,
}

/// One recorded session.
struct Replay {
    room: Room,
    names: BTreeMap<String, Name>,
    expected: BTreeMap<String, Expected>,
    last_ms: u64,
}

fn replay(transcript: &str) {
    let lines: Vec<Value> =
        transcript.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut sessions = BTreeMap::<String, Replay>::new();
    for line in &lines {
        let connection = line["conn"].as_str().unwrap();
        // Connections that close at once have no session id to go by.
        if connection == "X" || connection == "nosession" {
            continue;
        }
        let key = session_of(connection, &lines);
        let session = sessions.entry(key.clone()).or_insert_with(|| Replay {
            room: Room::open(&key, Config::default(), false),
            names: BTreeMap::new(),
            expected: BTreeMap::new(),
            last_ms: line["t"].as_u64().unwrap(),
        });
        session.step(connection, line);
    }
    for session in sessions.values_mut() {
        session.compare();
    }
}

/// The id in what a connection sends.
fn session_of(connection: &str, lines: &[Value]) -> String {
    let ids = lines.iter().filter(|line| line["conn"] == connection);
    let id = ids.filter_map(|line| line["json"]["id"].as_str()).next();
    id.unwrap_or(connection).to_owned()
}

impl Replay {
    fn step(&mut self, connection: &str, line: &Value) {
        let ms = line["t"].as_u64().unwrap();
        let at = ms - self.last_ms + self.room.now_ms();
        self.last_ms = ms;
        self.room.run_to(at);
        let expected = self.expected.entry(connection.to_owned()).or_default();
        let text = line["text"].as_str().unwrap_or_default();
        match (line["dir"].as_str().unwrap(), line["ev"].as_str().unwrap()) {
            (_, "open") => drop(self.names.insert(connection.to_owned(), self.room.enter())),
            ("s2c", "text") if line["json"].is_null() => expected.texts.push(text.to_owned()),
            ("s2c", "text") => expected.texts.push(line["json"].to_string()),
            ("s2c", "close") => expected.close = line["code"].as_u64(),
            ("s2c", "ping") => {}
            ("c2s", "close") => self.room.leave(self.names[connection], 1000),
            ("c2s", "terminate") => self.room.leave(self.names[connection], 1006),
            ("c2s", "text") => self.say(self.names[connection], text, &line["json"]),
            other => panic!("{other:?}"),
        }
    }

    fn say(&mut self, name: Name, text: &str, json: &Value) {
        if let Some(binary) = text.strip_prefix("binary frame ") {
            self.room.tell(name, Message::Binary(binary.as_bytes()));
        } else if text.starts_with("SEND with a 2,500,000 character payload") {
            self.room.send(name, &"x".repeat(2_500_000));
        } else if json.is_null() {
            self.room.say(name, text);
        } else {
            self.room.say(name, &json.to_string());
        }
    }

    fn compare(&mut self) {
        let mut timelines = BTreeMap::new();
        for (connection, expected) in &self.expected {
            let name = self.names[connection];
            let close = self.room.closed(name).map(u64::from);
            assert_eq!(close, expected.close.filter(|&code| code >= 4000), "{connection}");
            let got: Vec<&str> =
                self.room.received(name).iter().map(|(_, text)| text.as_str()).collect();
            compare_ticks(&expected.texts, &got);
            let others = got.iter().filter(|text| !is_tick(text));
            let mut others = others.copied();
            for text in expected.texts.iter().filter(|text| !is_tick(text)) {
                let got = others.next().unwrap_or_else(|| panic!("{connection} lacks {text}"));
                compare_texts(text, got, &mut timelines);
            }
            assert_eq!(others.next(), None, "{connection}");
        }
    }
}

fn is_tick(text: &str) -> bool {
    text.contains(r#""action":"TICK""#)
}

fn compare_ticks(expected: &[String], got: &[&str]) {
    let expected = expected.iter().filter(|text| is_tick(text)).count() as f64;
    let got = got.iter().filter(|text| is_tick(text)).count() as f64;
    assert!((expected - got).abs() <= 2.0 + expected / 10.0, "{got} ticks, not {expected}");
}

fn compare_texts(expected: &str, got: &str, timelines: &mut BTreeMap<String, String>) {
    if expected.starts_with("_CHUNK") {
        return compare_chunks(expected, got);
    }
    let (mut expected_json, mut got_json): (Value, Value) =
        (serde_json::from_str(expected).unwrap(), serde_json::from_str(got).unwrap());
    let timeline = got_json["args"]["timeline"].as_str().map(str::to_owned);
    if let (Some(got), Some(expected)) = (timeline, expected_json["args"]["timeline"].as_str()) {
        let known = timelines.entry(expected.to_owned()).or_insert_with(|| got.clone());
        assert_eq!(*known, got, "one timeline");
        got_json["args"]["timeline"] = json!(expected);
    }
    let (expected_times, got_times) = (take_times(&mut expected_json), take_times(&mut got_json));
    assert_eq!(expected_json, got_json);
    assert_eq!(expected_times.len(), got_times.len());
    for (expected_ms, got_ms) in expected_times.iter().zip(&got_times) {
        let off = (expected_ms - got_ms).abs();
        assert!(off <= JITTER_MS, "{off} ms off\nexpected {expected}\n     got {got}");
    }
}

/// Chunks were recorded as their beginning and their length.
fn compare_chunks(expected: &str, got: &str) {
    let (start, len) = expected.trim_end_matches(')').rsplit_once("...(").unwrap();
    let len: usize = len.parse().unwrap();
    // The session id of the recording was a little longer than what now stands for it.
    assert!(len == got.len() || len < 1_000_000 && len - got.len() < 16, "{}", got.len());
    let visible = start.find("raw-").unwrap_or(start.len());
    assert_eq!(start[..visible], got[..visible]);
}

/// Takes the times out of a message.
fn take_times(message: &mut Value) -> Vec<f64> {
    let mut times = Vec::new();
    let is_recv = message["action"] == "RECV";
    let args = &mut message["args"];
    if is_recv {
        take_message_times(args, &mut times);
        return times;
    }
    for name in ["time", "rawTime"] {
        times.extend(args.get_mut(name).and_then(|time| time.take().as_f64()));
    }
    let messages = args.get_mut("messages").and_then(Value::as_array_mut);
    for message in messages.into_iter().flatten() {
        take_message_times(message, &mut times);
    }
    times
}

/// The first element, and the last one where it is raw time: no latency is as long.
fn take_message_times(message: &mut Value, times: &mut Vec<f64>) {
    times.extend(message[0].take().as_f64());
    if let Some(last) = message.get_mut(3)
        && last.as_f64().is_some_and(|raw| raw > 100.0)
    {
        times.extend(last.take().as_f64());
    }
}

/// A real session of three clients, in the order the original gave to what they sent.
#[test]
fn real_clients() {
    let transcript = include_str!("../../../../tests/transcripts/croquet/real-client-a.jsonl");
    let lines = transcript.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<(String, String, Value)> = lines
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            (text("conn"), text("dir"), serde_json::from_str(&text("raw")).unwrap())
        })
        .collect();
    let id = lines[0].2["id"].as_str().unwrap();
    let mut room = Room::open(id, Config::default(), false);
    let mut names = BTreeMap::new();
    // Of what different clients sent only the original knew the order.
    let mut syncs: Vec<_> = lines.iter().filter(|(_, _, raw)| raw["action"] == "SYNC").collect();
    syncs.sort_by_key(|(_, _, sync)| sync["args"]["time"].as_u64());
    for (connection, _, _) in syncs {
        let mut joins = lines.iter().filter(|(_, _, raw)| raw["action"] == "JOIN");
        let (_, _, join) = joins.find(|(other, _, _)| other == connection).unwrap();
        let name = room.enter();
        names.insert(connection, name);
        room.say(name, &join.to_string());
    }
    let received = lines.iter().filter(|(_, _, raw)| raw["action"] == "RECV");
    let mut compared = 0;
    for (_, _, recv) in received {
        room.run_to(recv["args"][0].as_u64().unwrap());
        let sender = lines.iter().find(|(_, dir, raw)| {
            dir == "c2s" && raw["action"] == "SEND" && raw["args"][2] == recv["args"][2]
        });
        if let Some((connection, _, send)) = sender {
            room.say(names[connection], &send.to_string());
        } else if recv["args"][2].is_string() {
            break; // sent after the part that was kept
        }
        for name in names.values() {
            let (time_ms, got) = room.last_recv(*name);
            assert_eq!(got["args"].as_array().unwrap()[1..], recv["args"].as_array().unwrap()[1..]);
            assert!((time_ms - recv["args"][0].as_f64().unwrap()).abs() <= 1.0);
        }
        compared += 1;
    }
    assert!(compared >= 60, "{compared} messages");
}

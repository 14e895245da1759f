//! A well-behaved Croquet client as raw JSON over a raw WebSocket. It checks all it receives: that
//! sequence numbers are consecutive, and that time does not go back.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::websocket::{Client, Frame, Next};

/// A member of a session.
pub struct Member {
    pub client: Client,
    session: String,
    seq: u32,
    time: u64,
    /// What the SYNC said.
    pub sync: Value,
}

/// A JOIN as clients send it.
pub fn join_text(user: &str) -> String {
    json!({
        "id": "", "action": "JOIN",
        "args": {"version": 1, "apiKey": "none", "user": user, "ticks": {"tick": 1000, "delay": 0}}
    })
    .to_string()
}

/// A SEND with this payload.
pub fn send_text(payload: &str) -> String {
    json!({"action": "SEND", "args": [0, 0, payload, 1]}).to_string()
}

/// The next text; one that comes in chunks (`_CHUNK`, is-first flag, is-last flag, slice) is joined.
fn whole(client: &mut Client) -> String {
    let mut joined = String::new();
    loop {
        let text = client.text();
        let Some(chunk) = text.strip_prefix("_CHUNK") else { return text };
        joined.push_str(&chunk[2..]);
        if chunk.as_bytes()[1] == b'1' {
            return joined;
        }
    }
}

/// JSON as JavaScript reads it, to which no number is too large: such a one, which others may say and
/// all are told as it is, is null here.
fn as_clients_read(json: &str) -> Value {
    if let Ok(value) = serde_json::from_str(json) {
        return value;
    }
    if let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(json) {
        return elements.into_iter().map(|element| as_clients_read(element.get())).collect();
    }
    if let Ok(fields) = serde_json::from_str::<BTreeMap<String, &RawValue>>(json) {
        let read = |(key, value): (String, &RawValue)| (key, as_clients_read(value.get()));
        return fields.into_iter().map(read).collect();
    }
    let number: f64 = json.parse().unwrap_or_else(|_| panic!("not JSON: {json}"));
    assert!(number.is_infinite(), "not JSON: {json}");
    Value::Null
}

impl Member {
    /// Joins the session under the path prefix of the common listener.
    pub fn join(address: SocketAddr, session: &str, user: &str) -> Self {
        Self::join_at(address, &format!("/reflector/{session}"), user)
    }

    /// Joins the session at this path.
    pub fn join_at(address: SocketAddr, path: &str, user: &str) -> Self {
        Self::join_with(Client::open(address, path), path, user)
    }

    /// Joins on an open connection.
    pub fn join_with(mut client: Client, path: &str, user: &str) -> Self {
        let session = path.rsplit('/').next().unwrap_or_default().to_owned();
        client.send_text(&join_text(user));
        let sync = as_clients_read(&whole(&mut client));
        assert_eq!(sync["action"], "SYNC", "{sync}");
        assert_eq!(sync["id"], session.as_str());
        let args = sync["args"].clone();
        let seq = args["seq"].as_u64().expect("SYNC has a seq") as u32;
        let time = args["time"].as_u64().expect("SYNC has a time");
        if let Some(last) = args["messages"].as_array().expect("SYNC has messages").last() {
            assert_eq!(last[1].as_u64(), Some(u64::from(seq)), "{sync}");
        }
        Self { client, session, seq, time, sync: args }
    }

    pub fn send(&mut self, payload: &str) {
        self.client.send_text(&send_text(payload));
    }

    /// The payload of the next message, checked; `None` once the server ends the connection.
    pub fn next_payload(&mut self) -> Option<Value> {
        self.next_message().map(|mut message| message[2].take())
    }

    /// The next message, `[time, seq, payload, …]`, checked; `None` once the server ends the
    /// connection.
    pub fn next_message(&mut self) -> Option<Value> {
        loop {
            match self.client.next() {
                Next::Frame(Frame { opcode: 1, payload, .. }) => {
                    if let Some(message) = self.on_text(&payload) {
                        return Some(message);
                    }
                }
                Next::Frame(Frame { opcode: 9 | 10, .. }) => {}
                Next::Frame(Frame { opcode: 8, .. }) | Next::End | Next::Reset => return None,
                other => panic!("a message was expected, not {other:?}"),
            }
        }
    }

    /// Waits for this payload; everything else on the way is checked.
    pub fn await_payload(&mut self, payload: &str) {
        loop {
            let next = self.next_payload();
            let next = next.unwrap_or_else(|| panic!("cut before {payload:?} came"));
            if next == payload {
                return;
            }
        }
    }

    /// The last sequence number seen.
    pub fn seq(&self) -> u32 {
        self.seq
    }

    /// The latest session time heard.
    pub fn time(&self) -> u64 {
        self.time
    }

    fn on_text(&mut self, text: &[u8]) -> Option<Value> {
        let mut message = as_clients_read(std::str::from_utf8(text).expect("texts are UTF-8"));
        match message["action"].as_str() {
            Some("RECV") => {
                let [time, seq] = [0, 1].map(|at| message["args"][at].clone());
                assert_eq!(message["id"], self.session.as_str());
                let seq = seq.as_u64().expect("a seq") as u32;
                assert_eq!(seq, self.seq.wrapping_add(1), "a message was lost or doubled");
                self.seq = seq;
                self.on_time(time.as_u64().expect("a time"));
                Some(message["args"].take())
            }
            Some("TICK") => {
                self.on_time(message["args"].as_u64().expect("a time"));
                None
            }
            Some("PONG" | "REQU" | "INFO") => None,
            _ => panic!("a member does not expect {message}"),
        }
    }

    fn on_time(&mut self, time: u64) {
        assert!(time >= self.time, "time went back from {} to {time}", self.time);
        self.time = time;
    }
}

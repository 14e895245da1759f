//! Socket.IO (protocol 5 over Engine.IO 4) with CoMutiNy's world as the application: `chat:message`
//! goes to everybody, its sender included, `player:update` to all but its sender; both are
//! acknowledged. Where everybody sends they move, otherwise they talk. Whoever sends joins as a player;
//! all others stay connected as those do who only look on.

use std::io::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Incoming, Manner, Protocol, Seat};

/// Query of a client that uses nothing but WebSocket.
pub(crate) const QUERY: &str = "?EIO=4&transport=websocket";
/// Asks for the first namespace.
pub(crate) const CONNECT: &[u8] = b"40";
/// Answers a ping.
pub(crate) const PONG: &[u8] = b"3";
const SAID: &[u8] = b"42[\"chat:message\",";
const MOVED: &[u8] = b"42[\"player:updated\",";
/// What a server of the application makes of ids and time in a message.
const MADE: &str = "\"id\":\"mh8x0k3v-0a1b2c3d\",";
const TIME: &str = ",\"timestamp\":\"2026-01-01T00:00:00.000Z\"";

/// What a text message of a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    /// The connection is open.
    Open,
    /// To be answered with [`PONG`].
    Ping,
    /// The client is in its namespace.
    Connected,
    /// An array whose first element is its name.
    Event { body: &'a [u8] },
    /// The array that a message of this number is answered with.
    Ack { id: u32, body: &'a [u8] },
    /// The server has ended it.
    Ended,
    /// Anything else.
    Unknown,
}

impl<'a> Packet<'a> {
    /// Reads one.
    pub(crate) fn read(text: &'a [u8]) -> Self {
        match text {
            [b'0', ..] => Self::Open,
            b"2" => Self::Ping,
            [b'4', b'0', ..] => Self::Connected,
            [b'4', b'2', body @ ..] => Self::Event { body },
            [b'4', b'3', rest @ ..] => Self::ack(rest),
            [b'1' | b'4', b'1' | b'4', ..] | b"1" => Self::Ended,
            _ => Self::Unknown,
        }
    }

    fn ack(rest: &'a [u8]) -> Self {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (id, body) = rest.split_at(digits);
        let id = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
        id.map_or(Self::Unknown, |id| Self::Ack { id, body })
    }
}

/// Whether an event is of this name.
pub(crate) fn is_named(body: &[u8], name: &str) -> bool {
    let name = body.strip_prefix(b"[\"").and_then(|rest| rest.strip_prefix(name.as_bytes()));
    name.is_some_and(|rest| rest.starts_with(b"\""))
}

/// Why a server says in an acknowledgement that it did not do what it was asked for, if it did not.
pub(crate) fn refusal(body: &[u8]) -> Option<&str> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        ok: bool,
        #[serde(borrow)]
        message: Option<&'a RawValue>,
    }
    if body.starts_with(b"[{\"ok\":true") {
        return None;
    }
    match serde_json::from_slice::<[Answer<'_>; 1]>(body) {
        Ok([answer]) if answer.ok => None,
        Ok([answer]) => Some(answer.message.map_or("", RawValue::get)),
        Err(_) => Some("an acknowledgement that cannot be read"),
    }
}

/// A client of the world.
#[derive(Debug)]
pub(super) struct Socketio {
    manner: Manner,
}

/// Bytes of a delivery with these manners.
pub(super) fn delivery_bytes(manner: &Manner) -> usize {
    let world = Socketio::new(Manner { nonce: 0xffff, ..manner.clone() });
    let (seat, mut out) = (Seat { session: 0, member: 0 }, Vec::new());
    world.push_body(seat, &vec![b'x'; manner.payload_bytes], &mut out);
    let id = world.player(seat);
    let frame = if world.moves() {
        // As it moved, with who it is.
        MOVED.len() + format!("\"id\":\"{id}\",\"name\":\"Player {id}\",").len()
    } else {
        SAID.len() + format!("{MADE}\"playerId\":\"{id}\",\"author\":\"Player {id}\",{TIME}").len()
    };
    frame + out.len() + "]".len()
}

impl Socketio {
    /// A client with these manners.
    pub(super) fn new(manner: Manner) -> Self {
        Self { manner }
    }

    fn player(&self, seat: Seat) -> String {
        format!("perf-{:x}-{}", self.manner.nonce, seat.member)
    }

    fn moves(&self) -> bool {
        self.manner.senders == self.manner.members
    }

    fn plays(&self, seat: Seat) -> bool {
        seat.member < self.manner.senders
    }

    /// What a message says besides who says it.
    fn push_body(&self, seat: Seat, payload: &[u8], out: &mut Vec<u8>) {
        let (start, end): (String, &[u8]) = if self.moves() {
            // Full floats, as JavaScript prints them.
            let x = f64::from(seat.member % 50) - 24.157_303_509_501_94;
            let start = format!(
                "{{\"position\":{{\"x\":{x},\"y\":2.473169876251371,\"z\":-11.38064153820951}},\
                 \"animation\":\"walk\",\"metadata\":{{\"stamp\":\""
            );
            (start, b"\"}}")
        } else {
            ("{\"content\":\"".to_owned(), b"\"}")
        };
        out.extend_from_slice(start.as_bytes());
        out.extend_from_slice(payload);
        out.extend_from_slice(end);
    }
}

impl Protocol for Socketio {
    fn path(&self, _seat: Seat) -> String {
        format!("{}/{QUERY}", self.manner.prefix)
    }

    /// The server opens.
    fn join(&self, _seat: Seat) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn is_echoed(&self) -> bool {
        !self.moves()
    }

    fn payload_bytes(&self) -> usize {
        self.manner.payload_bytes
    }

    fn message(&self, seat: Seat, number: u32, payload: &[u8], out: &mut Vec<u8>) {
        let name = if self.moves() { "player:update" } else { "chat:message" };
        // 0 is the join. Writing to a vector cannot fail.
        let _ = write!(out, "42{}[\"{name}\",", u64::from(number) + 1);
        self.push_body(seat, payload, out);
        out.push(b']');
    }

    fn read<'a>(&self, seat: Seat, text: &'a [u8], reply: &mut Vec<u8>) -> Incoming<'a> {
        if text.starts_with(if self.moves() { MOVED } else { SAID }) {
            return Incoming::Deliveries { bytes: text };
        }
        match Packet::read(text) {
            Packet::Open => {
                reply.extend_from_slice(CONNECT);
                Incoming::Notice { order: None }
            }
            Packet::Ping => {
                reply.extend_from_slice(PONG);
                Incoming::Tick
            }
            Packet::Event { body } if is_named(body, "world:state") => {
                if !self.plays(seat) {
                    return Incoming::Joined { order: None };
                }
                let id = self.player(seat);
                let _ = write!(reply, "420[\"player:join\",{{\"playerId\":\"{id}\"}}]");
                Incoming::Notice { order: None }
            }
            Packet::Ack { id, body } => match refusal(body) {
                Some(reason) => Incoming::Refused { reason: reason.as_bytes() },
                None if id == 0 => Incoming::Joined { order: None },
                None => Incoming::Notice { order: None },
            },
            Packet::Connected | Packet::Event { .. } => Incoming::Notice { order: None },
            Packet::Ended => Incoming::Refused { reason: text },
            Packet::Unknown => Incoming::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ledger::Stamp;

    const SEAT: Seat = Seat { session: 0, member: 5 };

    fn world(senders: u32) -> Socketio {
        Socketio::new(Manner { senders, ..super::super::manner() })
    }

    fn reply(senders: u32, text: &str) -> (Incoming<'_>, String) {
        let mut reply = Vec::new();
        let incoming = world(senders).read(SEAT, text.as_bytes(), &mut reply);
        (incoming, String::from_utf8(reply).unwrap())
    }

    fn said(senders: u32, payload: &[u8]) -> Value {
        let mut text = Vec::new();
        world(senders).message(SEAT, 6, payload, &mut text);
        assert_eq!(&text[..3], b"427");
        serde_json::from_slice(&text[3..]).unwrap()
    }

    #[test]
    fn who_only_looks_on_has_joined_with_the_snapshot_and_a_player_when_it_is_told_so() {
        let notice = Incoming::Notice { order: None };
        let joined = Incoming::Joined { order: None };
        assert_eq!(world(1).path(SEAT), "/prefix/?EIO=4&transport=websocket");
        assert_eq!(reply(1, "0{\"sid\":\"x\"}"), (notice, "40".to_owned()));
        assert_eq!(reply(1, "40{\"sid\":\"y\"}"), (notice, String::new()));
        let state = "42[\"world:state\",{\"players\":[]}]";
        assert_eq!(reply(1, state), (joined, String::new()));
        let join = "420[\"player:join\",{\"playerId\":\"perf-9-5\"}]";
        assert_eq!(reply(20, state), (notice, join.to_owned()));
        assert_eq!(reply(20, "430[{\"ok\":true,\"state\":{}}]"), (joined, String::new()));
        assert_eq!(reply(20, "4312[{\"ok\":true}]"), (notice, String::new()));
    }

    #[test]
    fn what_a_server_refuses_or_ends_is_told_and_pings_are_answered() {
        let no = reply(20, "430[{\"ok\":false,\"message\":\"no\"}]").0;
        assert_eq!(no, Incoming::Refused { reason: b"\"no\"" });
        for ended in ["41", "44{\"message\":\"Invalid namespace\"}", "1"] {
            assert_eq!(reply(1, ended).0, Incoming::Refused { reason: ended.as_bytes() });
        }
        assert_eq!(reply(1, "2"), (Incoming::Tick, "3".to_owned()));
        assert_eq!(reply(1, "7").0, Incoming::Unknown);
        assert_eq!(reply(1, "43[]").0, Incoming::Unknown);
    }

    #[test]
    fn all_who_send_move_and_few_talk() {
        let stamp = Stamp { sender: 5, number: 6, due_ns: 7 };
        let mut payload = Vec::new();
        stamp.write(64, &mut payload);
        let text = String::from_utf8(payload.clone()).unwrap();
        let chat = said(1, &payload);
        assert_eq!(chat, json!(["chat:message", { "content": text }]));
        let update = said(20, &payload);
        assert_eq!(
            (&update[0], &update[1]["animation"]),
            (&json!("player:update"), &json!("walk"))
        );
        assert_eq!(update[1]["metadata"]["stamp"], text);
        assert_eq!(update[1]["position"]["x"], json!(5.0 - 24.157_303_509_501_94));
        for (senders, name) in [(1, "chat:message"), (20, "player:updated")] {
            let text = format!("42[\"{name}\",{{\"content\":\"{text}\"}}]");
            let Incoming::Deliveries { bytes } = reply(senders, &text).0 else { panic!("{text}") };
            assert_eq!(Stamp::find(bytes).collect::<Vec<_>>(), [stamp]);
            let other = reply(21 - senders, &text).0;
            assert_eq!(other, Incoming::Notice { order: None }, "the other one is no delivery");
        }
        assert!(world(1).is_echoed() && !world(20).is_echoed());
    }

    #[test]
    fn the_nominal_size_is_that_of_a_message_as_it_arrives() {
        let id = "perf-ffff-0";
        for (senders, name) in [(1, "chat:message"), (20, "player:updated")] {
            let world = Socketio::new(Manner { nonce: 0xffff, ..world(senders).manner });
            let mut body = Vec::new();
            world.push_body(Seat { session: 0, member: 0 }, &[b'p'; 64], &mut body);
            let body = String::from_utf8(body).unwrap();
            let body = &body[1..body.len() - 1];
            let heard = if senders == 1 {
                format!("{MADE}\"playerId\":\"{id}\",\"author\":\"Player {id}\",{body}{TIME}")
            } else {
                format!("\"id\":\"{id}\",\"name\":\"Player {id}\",{body}")
            };
            let heard = format!("42[\"{name}\",{{{heard}}}]");
            assert_eq!(delivery_bytes(&world.manner), heard.len(), "{name}");
        }
    }
}

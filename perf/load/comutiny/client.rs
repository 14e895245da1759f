//! One client of the world, without its socket: what it says, and what it makes of what it hears.

use std::collections::VecDeque;
use std::io::Write;

use crate::protocol::socketio::{CONNECT, PONG, Packet, is_named, refusal};

/// How far from the middle clients go, and how high.
const REACH: f64 = 25.0;
const HEIGHT: f64 = 5.0;

/// Where a client is between its connecting and its going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The server has not opened the connection yet.
    Opening,
    /// It has asked to join.
    Joining,
    /// It moves.
    Playing,
    /// It has said that it leaves.
    Leaving,
    /// It has been told that it may.
    Left,
}

/// What a client found out.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    /// It plays; so long it took.
    Joined { ns: u64 },
    /// Its update was acknowledged; so long that took.
    Updated { ns: u64 },
    /// It was told that somebody else moved.
    Relayed,
    /// Something is wrong.
    Trouble(String),
}

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    number: u32,
    nonce: u32,
    phase: Phase,
    next_ack: u32,
    /// What has not been acknowledged, oldest first: its number, and when it was said.
    asked: VecDeque<(u32, u64)>,
}

impl Client {
    /// The client of this number, in a run of this nonce.
    pub(super) fn new(number: u32, nonce: u32) -> Self {
        Self { number, nonce, phase: Phase::Opening, next_ack: 0, asked: VecDeque::new() }
    }

    /// Where it is.
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// What was not acknowledged.
    pub(super) fn unanswered(&self) -> usize {
        self.asked.len()
    }

    /// Moves to a place that `draw` (numbers in 0..1) decides on; what it says.
    pub(super) fn update(&mut self, now_ns: u64, mut draw: impl FnMut() -> f64) -> Vec<u8> {
        let mut within = |reach: f64| (draw() * 2.0 - 1.0) * reach;
        let (x, z) = (within(REACH), within(REACH));
        let y = (within(HEIGHT) + HEIGHT) / 2.0;
        let payload =
            format!("{{\"position\":{{\"x\":{x},\"y\":{y},\"z\":{z}}},\"animation\":\"walk\"}}");
        self.ask("player:update", &payload, now_ns)
    }

    /// Leaves; what it says.
    pub(super) fn leave(&mut self, now_ns: u64) -> Vec<u8> {
        self.phase = Phase::Leaving;
        self.ask("player:leave", "", now_ns)
    }

    /// Hears a message; what it answers goes into `reply`.
    pub(super) fn hear(&mut self, text: &[u8], now_ns: u64, reply: &mut Vec<u8>) -> Option<Found> {
        match Packet::read(text) {
            Packet::Open => reply.extend_from_slice(CONNECT),
            Packet::Ping => reply.extend_from_slice(PONG),
            Packet::Connected => {
                self.phase = Phase::Joining;
                let Self { number, nonce, .. } = *self;
                let payload = format!(
                    "{{\"playerId\":\"load-{nonce:x}-{number}\",\"name\":\"Load {number}\",\
                     \"alias\":\"Load {number}\",\"position\":{{\"x\":0,\"y\":0,\"z\":0}},\
                     \"animation\":\"idle\",\"metadata\":{{}}}}"
                );
                *reply = self.ask("player:join", &payload, now_ns);
            }
            Packet::Event { body } if is_named(body, "player:updated") => {
                return Some(Found::Relayed);
            }
            Packet::Event { body } if is_named(body, "session:terminated") => {
                return Some(Found::Trouble("the session was terminated".to_owned()));
            }
            Packet::Event { .. } => {}
            Packet::Ack { id, body } => return self.answered(id, body, now_ns),
            Packet::Ended => {
                return Some(Found::Trouble("the server ended the session".to_owned()));
            }
            Packet::Unknown => {
                let text = String::from_utf8_lossy(&text[..text.len().min(80)]);
                return Some(Found::Trouble(format!("not understood: {text}")));
            }
        }
        None
    }

    fn ask(&mut self, name: &str, payload: &str, now_ns: u64) -> Vec<u8> {
        let comma = if payload.is_empty() { "" } else { "," };
        let mut text = Vec::new();
        // Writing to a vector cannot fail.
        let _ = write!(text, "42{}[\"{name}\"{comma}{payload}]", self.next_ack);
        self.asked.push_back((self.next_ack, now_ns));
        self.next_ack += 1;
        text
    }

    fn answered(&mut self, id: u32, body: &[u8], now_ns: u64) -> Option<Found> {
        let place = self.asked.iter().position(|(asked, _)| *asked == id);
        let Some((_, asked_ns)) = place.and_then(|place| self.asked.remove(place)) else {
            return Some(Found::Trouble(format!("acknowledgement {id} of nothing")));
        };
        if let Some(reason) = refusal(body) {
            return Some(Found::Trouble(format!("refused: {reason}")));
        }
        let ns = now_ns.saturating_sub(asked_ns);
        match self.phase {
            Phase::Opening => None,
            Phase::Joining => {
                self.phase = Phase::Playing;
                Some(Found::Joined { ns })
            }
            Phase::Playing => Some(Found::Updated { ns }),
            // The leaving is the last that was asked for.
            Phase::Leaving | Phase::Left if id + 1 < self.next_ack => Some(Found::Updated { ns }),
            Phase::Leaving | Phase::Left => {
                self.phase = Phase::Left;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn hear(client: &mut Client, text: &str, now_ns: u64) -> (Option<Found>, String) {
        let mut reply = Vec::new();
        let found = client.hear(text.as_bytes(), now_ns, &mut reply);
        (found, String::from_utf8(reply).unwrap())
    }

    fn playing() -> Client {
        let mut client = Client::new(3, 10);
        assert_eq!(hear(&mut client, "0{}", 0), (None, "40".to_owned()));
        let (found, said) = hear(&mut client, "40{\"sid\":\"x\"}", 5);
        assert!(
            found.is_none() && said.starts_with("420[\"player:join\",{\"playerId\":\"load-a-3\"")
        );
        assert!(serde_json::from_str::<Value>(&said[3..]).is_ok(), "{said}");
        assert_eq!(hear(&mut client, "42[\"world:state\",{}]", 6), (None, String::new()));
        let joined = hear(&mut client, "430[{\"ok\":true}]", 9).0;
        assert_eq!((joined, client.phase()), (Some(Found::Joined { ns: 4 }), Phase::Playing));
        client
    }

    #[test]
    fn a_client_joins_moves_and_leaves_and_knows_how_long_each_took() {
        let mut client = playing();
        let mut draws = [0.0, 1.0, 0.5].into_iter();
        let said = client.update(10, || draws.next().unwrap());
        let text = "421[\"player:update\",{\"position\":{\"x\":-25,\"y\":2.5,\"z\":25},\"animation\":\"walk\"}]";
        assert_eq!(String::from_utf8(said).unwrap(), text);
        client.update(20, || 0.5);
        assert_eq!(client.leave(30), b"423[\"player:leave\"]");
        let second = hear(&mut client, "432[{\"ok\":true}]", 50).0;
        assert_eq!(second, Some(Found::Updated { ns: 30 }));
        let first = hear(&mut client, "431[{\"ok\":true,\"player\":{}}]", 51).0;
        assert_eq!(first, Some(Found::Updated { ns: 41 }));
        assert_eq!((client.phase(), client.unanswered()), (Phase::Leaving, 1));
        assert_eq!(hear(&mut client, "433[{\"ok\":true}]", 52).0, None);
        assert_eq!((client.phase(), client.unanswered()), (Phase::Left, 0));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let mut client = playing();
        assert_eq!(hear(&mut client, "2", 0), (None, "3".to_owned()));
        let updated = "42[\"player:updated\",{}]";
        assert_eq!(hear(&mut client, updated, 0).0, Some(Found::Relayed));
        client.update(0, || 0.5);
        let refused = "431[{\"ok\":false,\"message\":\"Player not registered\"}]";
        for text in [refused, refused, "439[]", "42[\"session:terminated\",{}]", "41", "9"] {
            let found = hear(&mut client, text, 0).0;
            assert!(matches!(found, Some(Found::Trouble(_))), "{text}: {found:?}");
        }
    }
}

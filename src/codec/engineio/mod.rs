//! Engine.IO 4, the transport below Socket.IO: packets, payloads of long-polling, session ids and
//! requests (specs: socketio §1–§5).
//!
//! Invariants:
//! - What a session says is framed once, as WebSocket frames. A long-polling client is answered with
//!   the same frames, written anew as a payload: see [`payload::from_frames`].
//!
//! Deliberately absent: sessions, timers, HTTP (the shard's); protocol 3 and JSONP.

pub mod payload;
mod request;
mod sid;

#[cfg(test)]
mod tests;

use std::time::Duration;

use data_encoding::BASE64;

pub use request::{Means, Query, Refusal};
pub use sid::{SECRET_BYTES, SID_BYTES, Sid};

/// The packet that ends a session.
pub const CLOSE: &str = "1";
/// The packet that asks whether the client is there.
pub const PING: &str = "2";
/// What a client sends first on the WebSocket that it wants to move to.
pub const PROBE: &str = "2probe";
/// The answer.
pub const PROBED: &str = "3probe";
/// What a client sends when it has moved.
pub const UPGRADE: &str = "5";
/// A packet that says nothing, to end a poll.
pub const NOOP: &str = "6";

/// A packet from a client, as a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// The client ends the session.
    Close,
    /// The client answers a ping.
    Pong,
    /// A text message.
    Message(&'a str),
    /// A binary message.
    Binary(Vec<u8>),
    /// One that means nothing here.
    Ignored,
}

/// A text that is no packet of a client: its session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no packet of Engine.IO")]
pub struct BadPacket;

impl<'a> Packet<'a> {
    /// The packet that a text is. Clients do not ping in protocol 4.
    pub fn parse(text: &'a str) -> Result<Self, BadPacket> {
        match text.as_bytes().first() {
            Some(b'4') => Ok(Self::Message(&text[1..])),
            Some(b'3') => Ok(Self::Pong),
            Some(b'b') => {
                BASE64.decode(&text.as_bytes()[1..]).map(Self::Binary).map_err(|_| BadPacket)
            }
            Some(b'1') => Ok(Self::Close),
            Some(b'0' | b'5' | b'6') => Ok(Self::Ignored),
            _ => Err(BadPacket),
        }
    }
}

/// What a client is told when its session is opened.
#[derive(Clone, Copy, Debug)]
pub struct Handshake {
    /// The session.
    pub sid: Sid,
    /// It polls, and may move to a WebSocket.
    pub may_upgrade: bool,
    /// From one ping to the next.
    pub ping_interval: Duration,
    /// Time to answer one.
    pub ping_timeout: Duration,
    /// Largest payload or message of a client, in bytes.
    pub payload_bytes_max: usize,
}

impl Handshake {
    /// The packet that says it.
    pub fn packet(&self) -> String {
        format!(
            r#"0{{"sid":"{}","upgrades":[{}],"pingInterval":{},"pingTimeout":{},"maxPayload":{}}}"#,
            self.sid,
            if self.may_upgrade { r#""websocket""# } else { "" },
            self.ping_interval.as_millis(),
            self.ping_timeout.as_millis(),
            self.payload_bytes_max,
        )
    }
}

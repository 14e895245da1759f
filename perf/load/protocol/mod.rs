//! The languages the generator speaks. A protocol turns messages into frames and back; it holds
//! no socket, and counts nothing. Adding one = one file here and a line in each function below.

mod croquet;
mod gallery;
pub(crate) mod raw;
mod rljson;
pub(crate) mod socketio;
mod yjs;

use crate::failure::Failure;
use crate::websocket;

/// Where a connection sits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    /// Which session.
    pub(crate) session: u32,
    /// Which member of it.
    pub(crate) member: u32,
}

/// What all connections of a run have in common.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    /// Put before the session in the path.
    pub(crate) prefix: String,
    /// Tells the sessions of this run from those of another on the same server.
    pub(crate) nonce: u64,
    /// Members of each session.
    pub(crate) members: u32,
    /// How many of them send.
    pub(crate) senders: u32,
    /// Bytes of a message's payload.
    pub(crate) payload_bytes: usize,
    /// The protocol whose deliveries the raw ones shall be as long as.
    pub(crate) like: String,
    /// How often an idle session shall tick, where a protocol has such a thing.
    pub(crate) tick_ms: u32,
}

/// What a frame of the server means. `order` is the session's own sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incoming<'a> {
    /// The connection is a member now; the next order follows this one.
    Joined { order: Option<u32> },
    /// A member's message.
    Delivery { payload: &'a [u8], order: Option<u32> },
    /// Members' messages, one or more, their payloads somewhere in these bytes.
    Deliveries { bytes: &'a [u8] },
    /// A message of the server's own making within the session, such as who joined, or a step of
    /// the opening; an answer due is in the reply.
    Notice { order: Option<u32> },
    /// A sign of life.
    Tick,
    /// The server will not have this client, for this reason.
    Refused { reason: &'a [u8] },
    /// Nothing the protocol knows.
    Unknown,
}

/// A server's language, from a client's side.
pub(crate) trait Protocol {
    /// Request target of the upgrade.
    fn path(&self, seat: Seat) -> String;
    /// Messages to send once upgraded.
    fn join(&self, seat: Seat) -> Vec<Vec<u8>>;
    /// Opcode of the client's messages.
    fn opcode(&self) -> u8 {
        websocket::TEXT
    }
    /// Whether a sender is owed its own messages. Where it is not, one that comes all the same
    /// is no delivery, but the server's time for it counts.
    fn is_echoed(&self) -> bool {
        true
    }
    /// Bytes a payload shall have so that the delivery has the size asked for.
    fn payload_bytes(&self) -> usize;
    /// Wraps a payload for sending, as the sender's message `number`, counting from zero.
    fn message(&self, seat: Seat, number: u32, payload: &[u8], out: &mut Vec<u8>);
    /// Reads one message of the server. What is put into `reply` is sent back as one message.
    fn read<'a>(&self, seat: Seat, text: &'a [u8], reply: &mut Vec<u8>) -> Incoming<'a>;
}

/// The protocols by name.
pub(crate) const NAMES: [&str; 6] = ["croquet", "gallery", "yjs", "socketio", "rljson", "raw"];

/// The protocol called `name`.
pub(crate) fn named(name: &str, manner: Manner) -> Result<Box<dyn Protocol>, Failure> {
    match name {
        "croquet" => Ok(Box::new(croquet::Croquet::new(manner))),
        "gallery" => Ok(Box::new(gallery::Gallery::new(manner))),
        "yjs" => Ok(Box::new(yjs::Yjs::new(manner))),
        "socketio" => Ok(Box::new(socketio::Socketio::new(manner))),
        "rljson" => Ok(Box::new(rljson::Rljson::new(manner)?)),
        "raw" => Ok(Box::new(raw::Raw::new(&manner)?)),
        _ => Err(unknown(name)),
    }
}

/// Bytes of a delivery's message in the protocol that the raw one shall be like.
fn delivery_bytes(manner: &Manner) -> Result<usize, Failure> {
    let payload_bytes = manner.payload_bytes;
    match manner.like.as_str() {
        "croquet" => Ok(croquet::recv_bytes(payload_bytes)),
        "gallery" => Ok(gallery::delivery_bytes(payload_bytes)),
        "yjs" => Ok(yjs::delivery_bytes(payload_bytes)),
        "socketio" => Ok(socketio::delivery_bytes(manner)),
        "rljson" => Ok(rljson::delivery_bytes(manner)),
        "raw" => Ok(payload_bytes),
        name => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> Failure {
    Failure::Setup(format!("no protocol {name}: know {}", NAMES.join(", ")))
}

/// Path prefix a protocol is usually served under.
pub(crate) fn usual_prefix(name: &str) -> &'static str {
    match name {
        "croquet" => "/reflector",
        "gallery" => "/gallery",
        "yjs" => "/yjs",
        "socketio" => "/socket.io",
        "rljson" => "/rljson/socket.io",
        _ => "/raw",
    }
}

/// Whether all connections to a server of this protocol are in one session.
pub(crate) fn has_one_session(name: &str) -> bool {
    name == "socketio"
}

/// Whether a server of this protocol keeps what was said in a session when all have gone, on purpose.
pub(crate) fn keeps_sessions(name: &str) -> bool {
    name == "rljson"
}

/// How often one sender of this protocol may send in an open loop.
pub(crate) fn rate_max_hz(name: &str) -> f64 {
    if name == "rljson" { rljson::RATE_MAX_HZ } else { f64::INFINITY }
}

#[cfg(test)]
fn manner() -> Manner {
    Manner {
        prefix: "/prefix".to_owned(),
        nonce: 9,
        members: 20,
        senders: 1,
        payload_bytes: 64,
        like: "croquet".to_owned(),
        tick_ms: 60_000,
    }
}

//! The languages the generator speaks. A protocol turns messages into text frames and back; it
//! holds no socket, and counts nothing. Adding one = one file here and one line in [`named`].

mod croquet;
pub(crate) mod raw;

use crate::failure::Failure;

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
    /// Bytes of a message's payload.
    pub(crate) payload_bytes: usize,
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
    /// A message of the server's own making within the session, such as who joined.
    Notice { order: Option<u32> },
    /// A sign of life or a step of the opening; an answer due is in the reply.
    Tick,
    /// Nothing the protocol knows.
    Unknown,
}

/// A server's language, from a client's side.
pub(crate) trait Protocol {
    /// Request target of the upgrade.
    fn path(&self, seat: Seat) -> String;
    /// Text to send once upgraded.
    fn join(&self, seat: Seat, out: &mut Vec<u8>);
    /// Bytes a payload shall have so that the delivery has the size asked for.
    fn payload_bytes(&self) -> usize;
    /// Wraps a payload for sending.
    fn message(&self, seat: Seat, payload: &[u8], out: &mut Vec<u8>);
    /// Reads one message of the server. What is put into `reply` is sent back as one message.
    fn read<'a>(&self, seat: Seat, text: &'a [u8], reply: &mut Vec<u8>) -> Incoming<'a>;
}

/// The protocols by name, with the default prefix of each.
pub(crate) const NAMES: [&str; 2] = ["croquet", "raw"];

/// The protocol called `name`.
pub(crate) fn named(name: &str, manner: Manner) -> Result<Box<dyn Protocol>, Failure> {
    match name {
        "croquet" => Ok(Box::new(croquet::Croquet::new(manner))),
        "raw" => Ok(Box::new(raw::Raw::new(&manner))),
        _ => Err(Failure::Setup(format!("no protocol {name}: know {}", NAMES.join(", ")))),
    }
}

/// Path prefix a protocol is usually served under.
pub(crate) fn usual_prefix(name: &str) -> &'static str {
    if name == "croquet" { "/reflector" } else { "/raw" }
}

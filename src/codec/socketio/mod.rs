//! Packets of Socket.IO, protocol 5 (specs: socketio §8): `<type>[<n>-][<nsp>,][<ackId>][<json>]`.
//!
//! Invariants:
//! - What is read borrows from the message: nothing is allocated, and nothing recurses.
//! - What is not as the original wants it is refused; the receiver then closes the connection. Ack
//!   ids are told back exactly, where the original rounds them to a double.
//! - What is written is a text message of Engine.IO: it begins with the type of a message packet.
//!
//! Deliberately absent: attachments, which are messages of their own, and whatever needs to know
//! which namespaces there are.

mod decode;
mod encode;
mod placeholder;

#[cfg(test)]
mod tests;

pub use decode::{Body, Limits, Packet, PacketError, decode};
pub use encode::{Head, Parts, ack, connect_error, event, prefix};
pub use placeholder::attachment_of;

/// Most attachments of a packet, as the original has it.
pub const ATTACHMENTS_MAX: u8 = 10;
/// Longest name of a namespace, in bytes.
pub const NAMESPACE_BYTES_MAX: usize = 512;
/// Deepest nesting of a payload.
pub const DEPTH_MAX: usize = 512;

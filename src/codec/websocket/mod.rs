//! WebSocket, the server's side (RFC 6455): the opening handshake and the decoding of what clients
//! send. What the server sends is framed by `session::frame`, since it is stored framed.
//!
//! Invariants:
//! - At a frame boundary outside a fragmented message a [`Decoder`] is one null pointer: idle
//!   connections hold no buffer.
//! - A frame that arrived whole is unmasked in place and borrowed; only the incomplete is copied,
//!   each byte once.
//! - Nothing is reserved because a header announced it: memory follows the bytes that arrived.
//!
//! Deliberately absent: extensions (RSV bits are refused), the closing handshake and every timer
//! (the shard's), subprotocols (the caller adds the response header).

mod assembly;
mod decoder;
pub mod handshake;
mod header;
mod mask;
mod violation;

#[cfg(test)]
mod tests;

pub use assembly::AssemblyPool;
pub use decoder::{Decoder, Incoming, Limits};
pub use handshake::{Accept, Refusal, accept};
pub use mask::unmask;
pub use violation::Violation;

use smallvec::SmallVec;

/// Largest payload of a control frame, in bytes (RFC 6455 §5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// Longest reason of a close frame, in bytes: a control payload less the code (§5.5.1).
pub const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// What a close frame without a code counts as (§7.1.5).
pub const NO_CODE: u16 = 1005;

/// The payload of a close frame: `code`, and `reason` cut at a character boundary to
/// [`REASON_BYTES_MAX`] bytes. Empty for 1005, which stands for a close without a code and is never
/// sent (§7.4.1).
pub fn close_payload(code: u16, reason: &str) -> SmallVec<[u8; CONTROL_BYTES_MAX]> {
    let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    let mut payload = SmallVec::new();
    if code == NO_CODE {
        return payload;
    }
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    payload
}

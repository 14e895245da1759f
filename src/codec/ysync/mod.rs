//! The Yjs wire format: y-protocols' sync and awareness messages, and Yjs updates (version 1) as
//! bytes that are checked before yrs sees them.
//!
//! yrs reserves memory by declared counts, recurses on nested values and computes with clocks as
//! they come. So every state vector and every update goes through one of the checks here first.
//!
//! Invariants:
//! - A check is one pass over the bytes, refuses what follows the end, recurses nowhere, and
//!   allocates only to list the clients of an update that has more than a few.
//! - An update that was accepted is decoded by yrs without a panic and without more memory than its
//!   bytes account for. yrs may still refuse it.
//! - What the encoders of Yjs and yrs write is accepted, but for one content: see [`check_update`].
//!
//! What no check of one update can see: whether its items point to neighbours that fit together, and
//! how deep the shared types of a document are nested. yrs 0.28 frees what it still points to over
//! the one, and its stack ends with the other, so a room has to see to both.
//!
//! Deliberately absent: version 2 of the encoding, and whatever an update means.

mod awareness;
mod clients;
mod content;
mod message;
mod state_vector;
mod update;

#[cfg(test)]
mod tests;

pub use super::lib0::Malformed;
pub use awareness::{Awareness, Entry, awareness, write_awareness, write_entry};
pub use clients::CLIENTS_MAX;
pub use message::{
    FRAME_MESSAGES_MAX, Form, Head, Message, Messages, QUERY_AWARENESS, messages, permission_denied,
};
pub use state_vector::{StateVector, check_state_vector};
pub use update::{Run, SUBDOCUMENTS_MAX, Update, check_update};

/// Deepest nesting of JSON and of other values; a scalar has depth 0.
pub const DEPTH_MAX: usize = 64;
/// Largest clock, and largest clock after a range: yrs subtracts clocks as `i32`.
pub const CLOCK_MAX: u32 = (1 << 31) - 1;

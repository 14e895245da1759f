//! Yjs: y-protocols' sync and awareness messages, updates (version 1), and a document as its updates
//! make it.
//!
//! Every state vector and every update from outside is checked first. A [`Document`] is made of
//! updates that were accepted: what it keeps are structs as they came, joined where they follow each
//! other, and what is deleted. It does not put them in order, as an editor must who shows them: a
//! server that answers what others lack need not know where things stand. So nothing an update says
//! of its neighbours can lead it astray, however wrong.
//!
//! Invariants:
//! - A check is one pass over the bytes, refuses what follows the end, recurses nowhere, and
//!   allocates only to list the clients of an update that has more than a few.
//! - What the encoders of Yjs and yrs write is accepted.
//! - A document holds little more than the bytes of the updates it is made of, and takes time in
//!   proportion to an update's to take it.
//!
//! Deliberately absent: version 2 of the encoding, and whatever an update means.

mod awareness;
mod clients;
mod content;
mod deletions;
mod document;
mod message;
mod state_vector;
mod structs;
mod update;

#[cfg(test)]
mod tests;

pub use super::lib0::Malformed;
pub use awareness::{Awareness, Entry, awareness, write_awareness, write_entry};
pub use clients::CLIENTS_MAX;
pub use document::{Document, PENDING_BYTES_MAX, PENDING_MAX, Refusal, Taken};
pub use message::{
    FRAME_MESSAGES_MAX, Form, Head, Message, Messages, QUERY_AWARENESS, messages, permission_denied,
};
pub use state_vector::{StateVector, check_state_vector, state_vector};
pub use structs::{Body, Id, Item, Struct};
pub use update::{Part, Run, Update, check_update, parts};

/// Deepest nesting of JSON and of other values; a scalar has depth 0.
pub const DEPTH_MAX: usize = 64;
/// Largest clock, and largest clock after a range: yrs, for one, subtracts clocks as `i32`.
pub const CLOCK_MAX: u32 = (1 << 31) - 1;

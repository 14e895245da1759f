//! What every session uses, whatever its protocol: the [`History`] its members read from, the
//! [`Outbox`] of a connection, the [`Effects`] a protocol's state machine pushes, clocks, limits
//! and counters.
//!
//! Invariants:
//! - **Pure.** Nothing here does I/O, spawns, reads a clock or draws randomness: [`Now`] and random
//!   bits come in as arguments, deadlines go out. So all of it runs under a seeded simulator.
//! - A [`Position`] only grows, and no two bytes of a session ever share one.
//! - No map's iteration order reaches an output.
//!
//! Deliberately absent: sockets, tasks, protocols' rules.

pub mod blobs;
pub mod clock;
pub mod counters;
pub mod effects;
pub mod frame;
mod held;
pub mod history;
pub mod journal;
pub mod map;
pub mod outbox;
#[cfg(test)]
mod tests;

pub use clock::{Instant, Now};
pub use counters::Counters;
pub use effects::{Close, Droppable, Effects, Outcome};
pub use history::{Class, History, Position, RingPool};
pub use outbox::Outbox;

/// A connection's seat in its session, as the shard names it.
///
/// Unique among the members of a shard while the member is seated; used again only after the
/// protocol was told that the member left, or has let it go to another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(pub u32);

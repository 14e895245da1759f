//! Lockstep: one Linux server for real-time sessions, a drop-in for servers whose clients stay
//! unchanged.
//!
//! The idea: *a session is a log, a connection is a cursor.* A session has one writer, its owner
//! shard. What it says to its members is appended once, framed for the wire, to its history; sending
//! is the bytes between a member's cursor and the head, one send for each connection and turn.
//!
//! # Code map
//!
//! Imports point one way, from the top of this list to its bottom.
//!
//! | module | what |
//! |---|---|
//! | [`cli`] | commands, and the one list of settings |
//! | [`server`] | life of the process: preflight, start, signals, drain, the log sink, the clock |
//! | [`shard`] | everything a core owns; `shard/turn.rs` is where to begin |
//! | [`net`] | the private io_uring of a shard; all unsafe code |
//! | [`protocol`] | the protocols' state machines, and the one list of them |
//! | [`storage`] | files, blobs and records, on a thread of their own, and the journal |
//! | [`admin`] | health, statistics, metrics |
//! | [`session`] | what every session uses: history, outbox, effects, counters |
//! | [`codec`] | bytes to values and back: HTTP/1.1, WebSocket, Engine.IO, Socket.IO, JSON, Yjs, journal records |
//!
//! # Invariants
//!
//! - `codec`, `protocol`, `session` and `admin` are pure: no I/O, no clock, no randomness, no tasks.
//!   Time and random numbers come in as arguments, deadlines and effects go out.
//! - glommio appears only in `server`; unsafe code only in `net`.
//! - A message in steady state touches no lock, no shared map and no allocator.
//! - Every length, count, depth, rate, queue and wait that a peer can influence has a named limit.

// Tests of a whole shard share their driver with benches and fuzz targets, which see this name.
#[cfg(test)]
extern crate self as lockstep;

pub mod admin;
pub mod cli;
pub mod codec;
pub mod net;
pub mod protocol;
#[cfg(test)]
mod seeds;
pub mod server;
pub mod session;
pub mod shard;
pub mod storage;

//! What clients announce, and how it came.

use super::Payload;
use crate::protocol::socketio::Socket;
use crate::session::Instant;

/// A payload that is on its way, waits, or is being merged.
#[derive(Debug)]
pub struct Announcement {
    /// Who has its tree: its announcer, or whoever is asked in its place.
    pub from: Socket,
    /// What was announced.
    pub payload: Payload,
    /// When it was announced.
    pub at: Instant,
    /// Greater than that of all that was announced on the route before.
    pub number: u64,
    /// Its announcer's connection ended before its tree was fetched: others are asked for it.
    pub is_orphan: bool,
    /// Its announcer was answered, and waits for nothing more: it would take another answer for one to
    /// the same announced again.
    pub is_answered: bool,
}

impl Announcement {
    /// What a client has announced.
    pub fn new(from: Socket, payload: Payload, at: Instant, number: u64) -> Self {
        Self { from, payload, at, number, is_orphan: false, is_answered: false }
    }

    /// Whether it is of the run that sends as this origin on this connection.
    pub fn is_of(&self, from: Socket, origin: &str) -> bool {
        self.payload.origin() == origin && (!origin.is_empty() || self.from == from)
    }
}

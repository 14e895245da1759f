//! The table of connections. A connection at rest is one entry here and one node of the timer
//! wheel: no task, no buffer, no outbox.

use std::num::NonZeroU64;

use super::engine::{Engine, Probe};
use super::http::Exchange;
use super::table::Table;
use super::transfer::Move;
use super::wheel::TimerId;
use crate::codec::websocket::Decoder;
use crate::net::{GENERATION_MASK, Token};
use crate::session::outbox::Cursor;
use crate::session::{History, Instant, Outbox};

/// One connection.
#[derive(Debug)]
pub(super) struct Connection<S> {
    /// None for a member that polls.
    pub(super) socket: Option<S>,
    /// Of a client of Engine.IO.
    pub(super) engine: Option<Box<Engine>>,
    pub(super) phase: Phase,
    /// What waits for this connection alone.
    pub(super) outbox: Option<Box<Outbox>>,
    /// Reading place in the session's history.
    pub(super) cursor: PackedCursor,
    /// When the present phase began.
    pub(super) since: Moment,
    /// When bytes last arrived.
    pub(super) heard: Moment,
    /// While the socket is full: when it last took bytes.
    pub(super) progress: Moment,
    pub(super) timer: TimerId,
    pub(super) generation: u32,
    pub(super) listener: u16,
    /// Why nothing is read; see the `PAUSED_` constants.
    pub(super) paused: u8,
    /// A receive is in the kernel's hands.
    pub(super) armed: bool,
    /// Its cancellation is on its way.
    pub(super) stopping: bool,
    /// In the list of connections to be flushed.
    pub(super) dirty: bool,
    /// The socket is full.
    pub(super) blocked: bool,
    /// It left a session, and what it is still to be sent follows from what was not written then.
    pub(super) depends: bool,
}

/// A [`Cursor`] in eight bytes: one more than the position.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PackedCursor(Option<NonZeroU64>);

impl PackedCursor {
    pub(super) fn get(self) -> Cursor {
        self.0.map(|above| above.get() - 1)
    }

    pub(super) fn set(&mut self, cursor: Cursor) {
        self.0 = cursor.and_then(|position| NonZeroU64::new(position.wrapping_add(1)));
    }

    /// The connection reads no more.
    pub(super) fn take(&mut self) -> Cursor {
        std::mem::take(self).get()
    }
}

/// An [`Instant`] of the last 24 days in four bytes: milliseconds since the start, rounded up, so that
/// what follows from it is never too early, and wrapping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(u32);

impl Moment {
    pub(super) fn of(at: Instant) -> Self {
        Self(at.as_micros().div_ceil(1_000) as u32)
    }

    /// When that was, seen from now.
    pub(super) fn seen_from(self, now: Instant) -> Instant {
        let passed = Self::of(now).0.wrapping_sub(self.0);
        let now_ms = now.as_micros().div_ceil(1_000);
        Instant::from_millis(now_ms.saturating_sub(u64::from(passed)))
    }
}

/// The member sends faster than its limit.
pub(super) const PAUSED_RATE: u8 = 1;
/// The member does not read its replies.
pub(super) const PAUSED_BACKLOG: u8 = 2;
/// The member is under way to another session.
pub(super) const PAUSED_MOVING: u8 = 4;

/// What a connection is doing.
#[derive(Debug)]
pub(super) enum Phase {
    /// HTTP: reading a request or answering it.
    Http(Box<Exchange>),
    /// A WebSocket member of a session.
    Member(Seat),
    /// A member between two sessions.
    Moving(Box<Move>),
    /// A WebSocket that a member who polls may move to.
    Probing(Box<Probe>),
    /// What is queued is sent, then the peer is told that nothing follows, then its bytes are
    /// discarded until it closes: otherwise unread input would destroy the close frame.
    Closing {
        /// Bytes discarded so far.
        discarded: usize,
        /// The peer was told that nothing follows.
        finished: bool,
        /// The peer has ended its side.
        ended: bool,
    },
    /// Taken out while it is worked on.
    Busy,
}

/// A member's place in its session.
#[derive(Debug)]
pub(super) struct Seat {
    /// Index in the table of sessions.
    pub(super) session: u32,
    /// Index in the session's list of members.
    pub(super) place: u32,
    pub(super) decoder: Decoder,
    /// The protocol has accepted it as a full member.
    pub(super) admitted: bool,
    /// The first ping was sent.
    pub(super) greeted: bool,
    /// A ping was sent since bytes last arrived.
    pub(super) pinged: bool,
    /// Messages it may send before it is slowed down; negative if it has sent more.
    pub(super) allowance: i64,
    /// When the allowance was last refilled, in ms since the start, wrapping.
    pub(super) refilled_ms: u32,
}

impl Seat {
    /// The seat of one who has just come; its place is the session's to give.
    pub(super) fn new() -> Self {
        Self {
            session: 0,
            place: 0,
            decoder: Decoder::new(),
            admitted: false,
            greeted: false,
            pinged: false,
            allowance: i64::MAX,
            refilled_ms: 0,
        }
    }
}

impl<S> Connection<S> {
    pub(super) fn token(&self, index: u32) -> Token {
        Token { index, generation: self.generation }
    }

    pub(super) fn has_output(&self) -> bool {
        self.outbox.as_ref().is_some_and(|outbox| !outbox.is_empty())
    }

    /// Sorts out which messages newer ones have superseded, if it has missed more than `missed_min`
    /// bytes and any of them may be dropped; how many went. The outbox is one of the emptied ones if
    /// it has none.
    #[allow(clippy::vec_box)] // the pool of the shard: boxed as connections hold them
    pub(super) fn condense(
        &mut self,
        history: &History,
        missed_min: usize,
        outboxes: &mut Vec<Box<Outbox>>,
    ) -> usize {
        let Some(mut cursor) = self.cursor.get() else { return 0 };
        let private = self.outbox.as_ref().map_or(0, |outbox| outbox.private_bytes());
        if !Outbox::is_condensing_due(private, cursor, missed_min, history) {
            return 0;
        }
        let outbox = self.outbox.get_or_insert_with(|| outboxes.pop().unwrap_or_default());
        let dropped = outbox.condense(&mut cursor, history);
        self.cursor.set(Some(cursor));
        dropped
    }

    /// How far it is behind its session, in bytes. What may still be dropped does not count.
    pub(super) fn lag(&self, history: &History) -> u64 {
        let missed = self.outbox.as_ref().map_or(0, |outbox| outbox.missed_bytes());
        missed as u64 + self.cursor.get().map_or(0, |cursor| history.lasting_bytes_after(cursor))
    }

    /// Whether anything is still to be sent to it that may not be dropped.
    pub(super) fn has_lasting_output(&self, history: &History) -> bool {
        match &self.outbox {
            Some(outbox) => outbox.has_lasting(self.cursor.get(), history),
            None => self.cursor.get().is_some_and(|cursor| history.lasting_bytes_after(cursor) > 0),
        }
    }
}

/// Connections by index; an index has a new generation with each occupant.
#[derive(Debug)]
pub(super) struct Connections<S> {
    slots: Table<Connection<S>>,
    generation: u32,
}

impl<S> Connections<S> {
    pub(super) fn new() -> Self {
        Self { slots: Table::new(), generation: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn next_index(&self) -> u32 {
        self.slots.next_index()
    }

    pub(super) fn insert(&mut self, mut connection: Connection<S>) -> u32 {
        self.generation = (self.generation + 1) & GENERATION_MASK;
        connection.generation = self.generation;
        self.slots.insert(connection)
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Connection<S>> {
        self.slots.remove(index)
    }

    pub(super) fn get(&self, index: u32) -> Option<&Connection<S>> {
        self.slots.get(index)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Connection<S>> {
        self.slots.get_mut(index)
    }

    /// The connection a token names, if it is still there.
    pub(super) fn find(&self, token: Token) -> Option<&Connection<S>> {
        self.get(token.index).filter(|connection| connection.generation == token.generation)
    }

    /// The connection a completion names, if it is still there.
    pub(super) fn resolve(&mut self, token: Token) -> Option<&mut Connection<S>> {
        self.get_mut(token.index).filter(|connection| connection.generation == token.generation)
    }

    /// Indexes of all connections, ascending.
    pub(super) fn indexes(&self) -> Vec<u32> {
        self.slots.iter().map(|(index, _)| index).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a connection at rest takes: with 256 in a chunk of the table 24 KiB.
    #[test]
    fn a_connection_is_small() {
        assert_eq!(size_of::<Option<Connection<crate::net::ring::Socket>>>(), 96);
    }

    #[test]
    fn moments_are_never_early_and_survive_their_wrapping() {
        for now_us in [1, 1_000, 1_001, (1 << 32) * 1_000 + 500, (3 << 32) * 1_000] {
            for passed_us in [0, 1, 999, 1_000, 60_000_001] {
                let then = Instant::from_micros(u64::saturating_sub(now_us, passed_us));
                let seen = Moment::of(then).seen_from(Instant::from_micros(now_us));
                let late = seen.as_micros() - then.as_micros();
                assert!(late < 1_000, "{passed_us} us before {now_us}: {late} us late");
            }
        }
    }

    #[test]
    fn a_packed_cursor_is_the_cursor() {
        let mut packed = PackedCursor::default();
        assert_eq!(packed.get(), None);
        for position in [0, 1, u64::MAX - 1] {
            packed.set(Some(position));
            assert_eq!(packed.get(), Some(position));
        }
        assert_eq!((packed.take(), packed.get()), (Some(u64::MAX - 1), None));
    }
}

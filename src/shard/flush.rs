//! The end of a turn: one send for every connection that has something waiting, in batches, straight
//! from the histories and outboxes; then histories forget what everybody was sent.

use std::io::IoSlice;

use smallvec::{Array, SmallVec};

use super::Shard;
use super::connections::{Connection, Moment, PAUSED_BACKLOG, Phase};
use super::sessions::Sessions;
use crate::net::{SENDS_PER_BATCH_MAX, SLICES_PER_BATCH_MAX, Send, Sent, Token, Transport};
use crate::session::outbox::SLICES_PER_SEND_MAX;
use crate::session::{Close, History, Position};

/// Private bytes that may wait for a peer that does not read before we stop reading from it.
const BACKLOG_BYTES_MAX: usize = 256 << 10;

/// How much a member that is behind may miss before superseded messages are sorted out, in bytes.
const MISSED_BYTES_MAX: usize = 64 << 10;

/// Slices of one batch; they borrow from histories and outboxes.
type BatchSlices<'a> = SmallVec<[IoSlice<'a>; SLICES_PER_BATCH_MAX]>;

impl<T: Transport> Shard<T> {
    /// Sends what waits. Returns whether anything did.
    pub(super) fn flush(&mut self) -> bool {
        self.fan_out();
        if self.counters.polling.get() > 0 {
            self.answer_polls();
        }
        let mut dirty = std::mem::take(&mut self.dirty_connections);
        let worked = !dirty.is_empty();
        let (connections, mut next) = (dirty.len(), 0);
        while next < dirty.len() {
            next += self.send_batch(&dirty[next..]);
            let mut planned = std::mem::take(&mut self.planned);
            let mut sent = std::mem::take(&mut self.sent);
            let mut any_failed = false;
            for (&(index, bytes), &outcome) in planned.iter().zip(&sent) {
                any_failed |= outcome == Sent::Failed;
                dirty.extend(self.on_sent(index, bytes, outcome));
            }
            if any_failed {
                self.drop_failed(&planned, &sent);
            }
            planned.clear();
            sent.clear();
            (self.planned, self.sent) = (planned, sent);
        }
        // Behind the connections stand those of them that had more to be sent, once more: a second
        // `after_flush` would let one that it made dirty be sent to twice.
        dirty.truncate(connections);
        for token in dirty.drain(..) {
            self.after_flush(token);
        }
        // Closing slow members may have made others dirty: those are for the next turn.
        dirty.append(&mut self.dirty_connections);
        self.dirty_connections = dirty;
        self.trim_histories();
        worked || !self.dirty_connections.is_empty()
    }

    /// Marks the listening members of the sessions that have said something.
    fn fan_out(&mut self) {
        for &index in &self.dirty_sessions {
            let Some(session) = self.sessions.get(index) else { continue };
            if self.journaling.holding && session.unwritten {
                continue;
            }
            let head = session.history.head();
            for &member in &session.members {
                if let Some(connection) = self.connections.get_mut(member)
                    && connection.cursor.get().is_some_and(|cursor| cursor < head)
                    && !(connection.dirty || connection.blocked)
                {
                    connection.dirty = true;
                    let token = connection.token(member);
                    self.dirty_connections.push(token);
                }
            }
        }
    }

    /// Plans and sends as many connections as one batch holds; how many were looked at.
    fn send_batch(&mut self, dirty: &[Token]) -> usize {
        let mut slices = BatchSlices::new();
        let mut sends: SmallVec<[Send<'_, T::Socket>; SENDS_PER_BATCH_MAX]> = SmallVec::new();
        let mut looked_at = 0;
        for &token in dirty {
            if sends.len() == SENDS_PER_BATCH_MAX
                || slices.len() + SLICES_PER_SEND_MAX > SLICES_PER_BATCH_MAX
            {
                break;
            }
            looked_at += 1;
            let Some(connection) = self.connections.find(token) else { continue };
            let Some(socket) = &connection.socket else { continue };
            if connection.blocked
                || self.journaling.holding && waits_for_disk(connection, &self.sessions)
            {
                continue;
            }
            let history = history_of(connection, &self.sessions).unwrap_or(&self.silence);
            let first = slices.len();
            let bytes = plan_send(connection, history, &mut slices);
            if bytes > 0 {
                let count = slices.len() - first;
                sends.push(Send { socket, first, count });
                self.planned.push((token.index, bytes));
            }
        }
        self.counters.sends.add(sends.len() as u64);
        if !sends.is_empty() {
            self.net.send(&sends, &slices, &mut self.sent);
        }
        looked_at
    }

    /// Accounts for one send; the connection, if it has more to be sent now.
    fn on_sent(&mut self, index: u32, planned: usize, outcome: Sent) -> Option<Token> {
        let connection = self.connections.get_mut(index)?;
        let taken = match outcome {
            Sent::Bytes(taken) => taken,
            Sent::Full => 0,
            Sent::Failed => return None,
        };
        self.counters.bytes_out.add(taken as u64);
        let head = history_of(connection, &self.sessions).map_or(0, History::head);
        advance(connection, head, taken);
        if taken < planned {
            if taken > 0 || !connection.blocked {
                connection.progress = Moment::of(self.now.at);
            }
            connection.blocked = true;
            let token = connection.token(index);
            if let Some(socket) = &connection.socket {
                self.net.watch_writable(socket, token);
            }
            self.set_connection_timer(index);
            return None;
        }
        let more =
            connection.has_output() || connection.cursor.get().is_some_and(|cursor| cursor < head);
        more.then(|| connection.token(index))
    }

    /// Ends those whose sends have failed. Only after the whole batch is accounted for: whoever ends
    /// with them may have been sent something in it.
    fn drop_failed(&mut self, planned: &[(u32, usize)], sent: &[Sent]) {
        for (&(index, _), outcome) in planned.iter().zip(sent) {
            if *outcome == Sent::Failed {
                self.drop_connection(index);
            }
        }
    }

    /// A connection's part of the turn is over: an emptied outbox goes back, paused reading goes on,
    /// a connection that was to be closed after its last bytes is.
    fn after_flush(&mut self, token: Token) {
        let index = token.index;
        let Some(connection) = self.connections.resolve(token) else { return };
        connection.dirty = false;
        if self.journaling.holding && waits_for_disk(connection, &self.sessions) {
            return;
        }
        if connection.has_output() || connection.blocked && connection.socket.is_some() {
            let is_polling = connection.socket.is_none();
            let queued = connection
                .outbox
                .as_ref()
                .map_or(0, |outbox| outbox.queued_bytes() - outbox.missed_bytes());
            if connection.blocked
                && let Some(slow) = self.who_lets_pile_up(index)
            {
                self.counters.slow_closed.increment();
                return self.close_member(index, slow);
            }
            if queued > BACKLOG_BYTES_MAX && !is_polling && self.seat_of(index).is_some() {
                self.pause(index, PAUSED_BACKLOG);
            }
            // What was queued when its sends were done already is for the next turn.
            if self.connections.get(index).is_some_and(|connection| !connection.blocked) {
                self.mark_dirty(index);
            }
            return;
        }
        if let Some(outbox) = connection.outbox.take() {
            self.give_outbox(outbox);
        }
        let Some(connection) = self.connections.get_mut(index) else { return };
        let Some(socket) = &connection.socket else { return };
        match &mut connection.phase {
            Phase::Closing { ended: true, .. } => self.drop_connection(index),
            Phase::Closing { finished, .. } => {
                if !std::mem::replace(finished, true) {
                    self.net.finish_writing(socket);
                }
            }
            Phase::Http(_) => self.on_http_flushed(index),
            Phase::Probing(probe) if probe.has_moved() => self.move_if_flushed(index),
            Phase::Member(_) | Phase::Moving(_) if connection.paused & PAUSED_BACKLOG != 0 => {
                self.resume(index, PAUSED_BACKLOG);
            }
            Phase::Probing(_) => self.read_on(index),
            Phase::Member(_) | Phase::Moving(_) | Phase::Busy => {}
        }
    }

    /// How a member is closed that lets more pile up of what is for it alone than it may be behind
    /// its session with: others may tell it, while nothing is read of itself. What is shared costs
    /// nothing, but for what is relayed, which nothing else bounds.
    fn who_lets_pile_up(&self, index: u32) -> Option<Close> {
        let connection = self.connections.get(index)?;
        let Phase::Member(seat) = &connection.phase else { return None };
        let session = self.sessions.get(seat.session)?;
        let outbox = connection.outbox.as_ref()?;
        let (private, missed) = (outbox.private_bytes(), outbox.missed_bytes());
        let own = match connection.cursor.get() {
            Some(_) => private.saturating_sub(missed),
            // What its session says waits here only, and none of it is private.
            None => private + missed,
        };
        (own > session.limits.lag_bytes_max).then_some(session.protocol.slow)
    }

    /// Forgets what every member was sent; condenses what members are behind with, and closes those
    /// that still fall too far behind. Sessions with members that lag stay in the list.
    fn trim_histories(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty_sessions);
        dirty.retain(|&index| self.trim_history(index));
        dirty.append(&mut self.dirty_sessions);
        self.dirty_sessions = dirty;
    }

    fn trim_history(&mut self, index: u32) -> bool {
        let Some(session) = self.sessions.get_mut(index) else { return false };
        let history = &mut session.history;
        let mut slowest = history.head();
        let mut too_slow: SmallVec<[u32; 8]> = SmallVec::new();
        let bound = (session.limits.lag_bytes_max + history.last_entry_len()) as u64;
        for &member in &session.members {
            let Some(connection) = self.connections.get_mut(member) else { continue };
            if connection.blocked {
                let dropped = connection.condense(history, MISSED_BYTES_MAX, &mut self.outboxes);
                self.counters.superseded.add(dropped as u64);
                if !connection.has_lasting_output(history) {
                    // It misses nothing that counts: its time runs from when it does.
                    connection.progress = Moment::of(self.now.at);
                }
                if connection.lag(history) > bound {
                    too_slow.push(member);
                }
            }
            slowest = slowest.min(connection.cursor.get().unwrap_or(slowest));
        }
        history.trim(slowest, &mut self.rings);
        session.dirty = !history.is_empty();
        let (dirty, slow) = (session.dirty, session.protocol.slow);
        for member in too_slow {
            self.counters.slow_closed.increment();
            self.close_member(member, slow);
        }
        dirty
    }
}

/// Whether what this connection is to be sent depends on what could not be written.
pub(super) fn waits_for_disk<S>(connection: &Connection<S>, sessions: &Sessions) -> bool {
    match &connection.phase {
        Phase::Member(seat) => sessions.get(seat.session).is_some_and(|session| session.unwritten),
        Phase::Moving(moving) => moving.depends,
        Phase::Closing { .. } => connection.depends,
        _ => false,
    }
}

pub(super) fn history_of<'a, S>(
    connection: &Connection<S>,
    sessions: &'a Sessions,
) -> Option<&'a History> {
    match &connection.phase {
        Phase::Member(seat) => sessions.get(seat.session).map(|session| &session.history),
        _ => None,
    }
}

/// Plans what a connection is sent next; how many bytes that are.
pub(super) fn plan_send<'a, S, A>(
    connection: &'a Connection<S>,
    history: &'a History,
    out: &mut SmallVec<A>,
) -> usize
where
    A: Array<Item = IoSlice<'a>>,
{
    if let Some(outbox) = &connection.outbox {
        return outbox.plan(connection.cursor.get(), history, out);
    }
    let Some(cursor) = connection.cursor.get() else { return 0 };
    let (first, second) = history.slices(cursor, history.head());
    for slice in [first, second] {
        if !slice.is_empty() {
            out.push(IoSlice::new(slice));
        }
    }
    first.len() + second.len()
}

/// Accounts for `taken` bytes of what was planned; `head` is that of its session's history.
pub(super) fn advance<S>(connection: &mut Connection<S>, head: Position, taken: usize) {
    let mut cursor = connection.cursor.get();
    match &mut connection.outbox {
        Some(outbox) => outbox.advance(&mut cursor, head, taken),
        None => cursor = cursor.map(|cursor| cursor + taken as u64),
    }
    connection.cursor.set(cursor);
}

//! Members: WebSocket frames in, the session's machine, and every way a member goes.

use super::Shard;
use super::connections::{Moment, PAUSED_RATE, Phase, Seat};
use super::member_id;
use crate::codec::websocket::{self, Incoming, NO_CODE, Violation, close_payload};
use crate::net::Transport;
use crate::protocol::Message;
use crate::session::frame::FrameKind;
use crate::session::{Close, Position};

/// History a member that is closed is still sent, in bytes; beyond it only the frame that has
/// begun is finished.
const FAREWELL_BYTES_MAX: u64 = 64 << 10;

impl<T: Transport> Shard<T> {
    /// Decodes bytes of a member and applies message by message. How many bytes at the end are for
    /// the session that the member is moving to.
    pub(super) fn on_member_bytes(&mut self, index: u32, mut input: &mut [u8]) -> usize {
        let now = self.now.at;
        let Some((generation, seat)) = self.seat_of(index) else {
            return self.moving(index).map_or(0, |_| input.len());
        };
        let mut session = seat.session;
        // Taken out so that a message borrowed from it can be handed to the machine.
        let mut decoder = std::mem::take(&mut seat.decoder);
        let Some(limits) = self.sessions.get(session).map(|session| *session.limits) else {
            return 0;
        };
        let frame_limits = websocket::Limits {
            message_bytes_max: limits.message_bytes_max,
            fragments_max: limits.fragments_max,
        };
        let mut messages = 0;
        loop {
            match decoder.next(&mut input, frame_limits, &mut self.assemblies) {
                Ok(None) => break,
                Ok(Some(incoming)) => {
                    messages += u32::from(self.on_incoming(index, session, incoming));
                }
                Err(violation) => self.on_violation(index, violation),
            }
            // Others are told of what the message did before the next is looked at.
            if self.passages.is_due() && self.session_of(index, generation).is_some() {
                self.deliver_passages();
            }
            // All this may have moved the member, or ended it or its session.
            match self.session_of(index, generation) {
                Some(present) => session = present,
                None if self.take_along(index, &mut decoder, messages, limits) => {
                    return input.len();
                }
                None => {
                    decoder.release(&mut self.assemblies);
                    return 0;
                }
            }
        }
        if let Some((_, seat)) = self.seat_of(index) {
            seat.decoder = decoder;
            let exhausted = seat.spend(messages, limits.messages_per_second_max, now.as_millis());
            if exhausted {
                self.pause(index, PAUSED_RATE);
                self.set_connection_timer(index);
            }
        }
        0
    }

    /// Applies one message or control frame; whether it counts as a message.
    fn on_incoming(&mut self, index: u32, session: u32, incoming: Incoming<'_>) -> bool {
        let result = match incoming {
            Incoming::Text(text) if self.is_engine(index) => self.on_packet(index, session, text),
            Incoming::Text(text) => self.apply_message(index, session, Message::Text(text)),
            Incoming::Binary(bytes) => self.apply_message(index, session, Message::Binary(bytes)),
            Incoming::Ping(payload) => {
                self.push_frame(index, FrameKind::Pong, payload);
                return true;
            }
            Incoming::Pong(payload) => {
                let member = member_id(index);
                self.call(session, |machine, fx| machine.on_pong(member, payload, fx));
                return true;
            }
            Incoming::Close(reason) => {
                self.on_close_frame(index, reason.map(|(code, _)| code));
                return false;
            }
        };
        if let Err(close) = result {
            self.counters.violations.increment();
            self.close_member(index, close);
        }
        true
    }

    /// Hands a message to the machine; an error ends the member.
    pub(super) fn apply_message(
        &mut self,
        index: u32,
        session: u32,
        message: Message<'_>,
    ) -> Result<(), Close> {
        self.counters.messages_in.increment();
        let member = member_id(index);
        let result = self.call(session, |machine, fx| machine.on_message(member, message, fx));
        result.unwrap_or(Ok(()))
    }

    fn is_engine(&self, index: u32) -> bool {
        self.connections.get(index).is_some_and(|connection| connection.engine.is_some())
    }

    fn on_violation(&mut self, index: u32, violation: Violation) {
        self.counters.violations.increment();
        log::debug!(scope = "connection", event = "violation"; "closing a member: {violation}");
        self.close_member(index, violation.close());
    }

    /// The peer closes: its code is echoed, after what it was still to be sent.
    fn on_close_frame(&mut self, index: u32, code: Option<u16>) {
        self.leave(index, code.unwrap_or(NO_CODE));
        match code {
            Some(code) => self.begin_closing(index, &code.to_be_bytes()),
            None => self.begin_closing(index, &[]),
        }
    }

    /// Closes a member's connection for a reason of ours.
    pub(super) fn close_member(&mut self, index: u32, close: Close) {
        if self.seat_of(index).is_some() {
            self.leave(index, close.code);
            self.begin_closing(index, &close_payload(close.code, close.reason));
        }
    }

    /// Closes an upgraded connection that has no seat.
    pub(super) fn close_unseated(&mut self, index: u32, close: Close) {
        self.begin_closing(index, &close_payload(close.code, close.reason));
    }

    /// Takes a member out of its session and tells the machine.
    pub(super) fn leave(&mut self, index: u32, code: u16) {
        if let Some(session) = self.unseat(index) {
            self.call(session, |machine, fx| machine.on_leave(member_id(index), code, fx));
        }
    }

    /// Takes a member out of its session's list; the session's index.
    pub(super) fn unseat(&mut self, index: u32) -> Option<u32> {
        let closing = Phase::Closing { discarded: 0, finished: false, ended: false };
        let mut seat = self.take_seat(index, closing)?;
        seat.decoder.release(&mut self.assemblies);
        let depends = self.sessions.get(seat.session).is_some_and(|session| session.unwritten);
        if let Some(connection) = self.connections.get_mut(index) {
            connection.depends = depends;
        }
        self.detach(index, seat.session);
        Some(seat.session)
    }

    /// Takes a member's seat, and it out of its session's list.
    pub(super) fn take_seat(&mut self, index: u32, next: Phase) -> Option<Seat> {
        let connection = self.connections.get_mut(index)?;
        if !matches!(connection.phase, Phase::Member(_)) {
            return None;
        }
        let Phase::Member(seat) = std::mem::replace(&mut connection.phase, next) else {
            return None;
        };
        self.counters.members.decrement();
        let place = seat.place as usize;
        let members = &mut self.sessions.get_mut(seat.session)?.members;
        members.swap_remove(place);
        if let Some(&moved) = members.get(place)
            && let Some(Phase::Member(seat)) =
                self.connections.get_mut(moved).map(|connection| &mut connection.phase)
        {
            seat.place = place as u32;
        }
        Some(seat)
    }

    /// Stops a connection's reading of its session's history. What it was still to be sent moves to
    /// its outbox: all of it if that is little, else the rest of the frame that has begun.
    fn detach(&mut self, index: u32, session: u32) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let Some(cursor) = connection.cursor.take() else { return };
        let Some(session) = self.sessions.get(session) else { return };
        let history = &session.history;
        let head = history.head();
        let missed = connection.outbox.as_ref().map_or(0, |outbox| outbox.missed_bytes());
        if cursor == head && missed == 0 {
            return;
        }
        let outbox =
            connection.outbox.get_or_insert_with(|| self.outboxes.pop().unwrap_or_default());
        outbox.detach(cursor, history, FAREWELL_BYTES_MAX);
        self.mark_dirty(index);
    }

    /// Stops a member's reading of its session's history at `to`, for as long as it likes. What it
    /// was still to be sent moves to its outbox.
    pub(super) fn unlisten(&mut self, index: u32, session: u32, to: Position) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let Some(cursor) = connection.cursor.take() else { return };
        let Some(session) = self.sessions.get(session) else { return };
        let missed = connection.outbox.as_ref().map_or(0, |outbox| outbox.missed_bytes());
        if cursor < to || missed > 0 {
            let outbox =
                connection.outbox.get_or_insert_with(|| self.outboxes.pop().unwrap_or_default());
            outbox.unlisten(cursor, to, &session.history);
            self.mark_dirty(index);
        }
    }

    /// Sends a close frame; the connection ends when it is sent and the peer has gone, or at the
    /// deadline.
    fn begin_closing(&mut self, index: u32, payload: &[u8]) {
        self.push_frame(index, FrameKind::Close, payload);
        self.finish_after_flush(index);
    }

    /// Ends the connection once everything queued is sent.
    pub(super) fn finish_after_flush(&mut self, index: u32) {
        let now = self.now.at;
        if let Some(connection) = self.connections.get_mut(index) {
            connection.phase = Phase::Closing { discarded: 0, finished: false, ended: false };
            connection.since = Moment::of(now);
            connection.paused = 0;
            self.mark_dirty(index);
            self.set_connection_timer(index);
            self.read_on(index);
        }
    }

    /// Queues one frame for one connection.
    pub(super) fn push_frame(&mut self, index: u32, kind: FrameKind, payload: &[u8]) {
        let at = self.position(index);
        if let Some(outbox) = self.outbox(index) {
            outbox.push_frame(at, kind, &[payload]);
        }
        self.mark_dirty(index);
    }

    pub(super) fn seat_of(&mut self, index: u32) -> Option<(u32, &mut Seat)> {
        let connection = self.connections.get_mut(index)?;
        match &mut connection.phase {
            Phase::Member(seat) => Some((connection.generation, seat)),
            _ => None,
        }
    }

    pub(super) fn session_of(&mut self, index: u32, generation: u32) -> Option<u32> {
        let (present, seat) = self.seat_of(index)?;
        (present == generation).then_some(seat.session)
    }
}

impl Seat {
    /// Takes `messages` from the allowance; whether it is used up. Allows bursts of two seconds.
    pub(super) fn spend(&mut self, messages: u32, per_second: u32, now_ms: u64) -> bool {
        let passed = self.since_refill_ms(now_ms);
        let burst = i64::from(per_second) * 2;
        let refill = passed.saturating_mul(u64::from(per_second)) / 1_000;
        if refill > 0 || self.allowance > burst {
            self.refilled_ms = now_ms as u32;
            let refill = i64::try_from(refill).unwrap_or(i64::MAX);
            self.allowance = self.allowance.saturating_add(refill).min(burst);
        }
        self.allowance -= i64::from(messages);
        self.allowance <= 0
    }

    /// How long until the member may be read from again, in milliseconds: what it has sent too much
    /// is made up for, and there is room for a tenth of a second's messages.
    pub(super) fn rate_wait_ms(&self, per_second: u32, now_ms: u64) -> u64 {
        let enough = i64::from(per_second.div_ceil(10));
        let missing = u64::try_from(enough - self.allowance).unwrap_or(0);
        let wait = missing.saturating_mul(1_000).div_ceil(u64::from(per_second.max(1)));
        wait.saturating_sub(self.since_refill_ms(now_ms))
    }

    fn since_refill_ms(&self, now_ms: u64) -> u64 {
        u64::from((now_ms as u32).wrapping_sub(self.refilled_ms))
    }
}

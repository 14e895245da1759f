//! Members that move to another session, see
//! [`Effects::transfer`](crate::session::Effects::transfer).
//!
//! A member under way is a connection in [`Phase::Moving`] whose turn in the queue of its new
//! session's shard comes (`passage`). What it was still to be sent goes along as bytes, so that it
//! need not wait until a slow peer has read it: positions in the old session's history mean nothing
//! in the new one. On this shard nothing else happens to the connection: it keeps its place in the
//! table and its receive. To another shard it goes once the kernel has let go of it; what is
//! received until then is kept, and applied when it has entered.
//!
//! An end that comes meanwhile waits, too: whoever is sent enters and leaves, in this order.

use super::Shard;
use super::connections::{Connection, Moment, PAUSED_MOVING, Phase, Seat};
use super::engine::Engine;
use super::passage::Passage;
use crate::codec::websocket::Decoder;
use crate::net::{End, Transport};
use crate::protocol::{Hello, Limits, Protocol};
use crate::session::{Close, Outbox, Position};

/// How a member goes that has no socket to be moved.
const CANNOT_MOVE: Close = Close::new(1011, "a member that polls cannot move");
/// How a member is told to go for which there is no room on its way.
const OVERLOADED: Close = Close::new(1013, "too many members are moving; try again");

/// A member between two sessions.
#[derive(Debug)]
pub(super) struct Move {
    protocol: &'static Protocol,
    /// The key of the session it enters.
    key: String,
    carry: Vec<u8>,
    /// The session it comes from has recorded something that was not written then.
    pub(super) depends: bool,
    /// What it takes along of its old seat: its decoder, its allowance, which pings it was sent.
    pub(super) seat: Seat,
    /// Bytes received; those before `read` were for the session it comes from.
    unread: Vec<u8>,
    read: usize,
    /// How its stream ended meanwhile.
    pub(super) ended: Option<End>,
}

/// A member that comes from another shard.
#[derive(Debug)]
pub struct Arrival<S> {
    socket: S,
    engine: Option<Box<Engine>>,
    listener: u16,
    moving: Box<Move>,
    outbox: Option<Box<Outbox>>,
    heard: Moment,
    paused: u8,
}

impl<T: Transport> Shard<T> {
    /// Sends a member to the session `key`. It is still sent what its old session said up to `at`.
    pub(super) fn transfer(&mut self, index: u32, key: String, carry: Vec<u8>, at: Position) {
        if self.connections.get(index).is_some_and(|connection| connection.socket.is_none()) {
            // See `Machine::on_upgraded`.
            debug_assert!(false, "a member that polls stays where it is");
            return self.close_member(index, CANNOT_MOVE);
        }
        let Some(seat) = self.take_seat(index, Phase::Busy) else { return };
        self.carry_output_over(index, seat.session, at);
        let Some(session) = self.sessions.get(seat.session) else { return };
        let (protocol, depends) = (session.protocol, session.unwritten);
        let owner = self.owner(protocol, &key);
        let Some(connection) = self.connections.get_mut(index) else { return };
        let token = connection.token(index);
        let bytes = key.len() + carry.len();
        connection.phase = Phase::Moving(Box::new(Move {
            protocol,
            key,
            carry,
            depends,
            seat,
            unread: Vec::new(),
            read: 0,
            ended: None,
        }));
        self.set_connection_timer(index);
        if !self.passages.push(owner, Passage::Member(token), bytes) {
            self.refuse_move(index, OVERLOADED);
        } else if owner != self.config.index {
            self.pause(index, PAUSED_MOVING);
        }
    }

    /// If a member has moved whose bytes are being applied: what it keeps of that.
    pub(super) fn take_along(
        &mut self,
        index: u32,
        decoder: &mut Decoder,
        messages: u32,
        limits: Limits,
    ) -> bool {
        let now_ms = self.now.at.as_millis();
        let Some(moving) = self.moving(index) else { return false };
        moving.seat.decoder = std::mem::take(decoder);
        moving.seat.spend(messages, limits.messages_per_second_max, now_ms);
        true
    }

    /// Makes what a member is still to be sent independent of its session.
    fn carry_output_over(&mut self, index: u32, session: u32, at: Position) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let Some(session) = self.sessions.get(session) else { return };
        let cursor = connection.cursor.take();
        if connection.outbox.is_none() && cursor.is_none_or(|cursor| cursor == at) {
            return;
        }
        let outbox =
            connection.outbox.get_or_insert_with(|| self.outboxes.pop().unwrap_or_default());
        outbox.carry_over(cursor, at, &session.history);
        self.mark_dirty(index);
    }

    /// Lets a member of the table enter the session that it moves to.
    pub(super) fn complete_move(&mut self, index: u32) {
        let now = self.now.at;
        let Some(connection) = self.connections.get_mut(index) else { return };
        let Phase::Moving(moving) = std::mem::replace(&mut connection.phase, Phase::Busy) else {
            unreachable!("who is in the queue is moving");
        };
        connection.since = Moment::of(now);
        connection.paused &= !PAUSED_MOVING;
        let peer = self.peer_address(index).to_string();
        let Move { protocol, key, carry, depends, seat, unread, read, ended } = *moving;
        self.counters.transfers.increment();
        self.enter(index, protocol, key, seat, Hello { peer, carry, ..Hello::default() });
        if depends {
            if let Some(session) = self.seat_of(index).map(|(_, seat)| seat.session) {
                self.depend(session);
            }
            self.mark_dirty(index);
        }
        if self.draining {
            self.close_member(index, protocol.restart);
        }
        self.apply_unread(index, unread, read);
        match ended {
            Some(why) => self.on_end_of_stream(index, why),
            None => self.read_on(index),
        }
    }

    /// Applies what a member has sent from `read` on. What it has sent behind a message that moves it
    /// goes with it.
    pub(super) fn apply_unread(&mut self, index: u32, mut unread: Vec<u8>, read: usize) {
        let left = self.on_member_bytes(index, &mut unread[read..]);
        if left > 0
            && let Some(moving) = self.moving(index)
        {
            moving.read = unread.len() - left;
            moving.unread = unread;
        }
    }

    /// Keeps bytes of a member under way for the session it enters.
    pub(super) fn keep_unread(&mut self, index: u32, bytes: &[u8]) {
        if let Some(moving) = self.moving(index) {
            moving.unread.extend_from_slice(bytes);
        }
    }

    /// Takes a member out of the table for its way to another shard, unless the kernel still
    /// receives for it.
    pub(super) fn pack(&mut self, index: u32) -> Option<Box<Arrival<T::Socket>>> {
        let connection = self.connections.get_mut(index).filter(|connection| !connection.armed)?;
        let outbox = connection.outbox.take();
        let connection = self.remove_connection(index)?;
        let Connection { socket, engine, listener, phase, heard, paused, .. } = connection;
        let mut socket = socket?;
        let Phase::Moving(moving) = phase else {
            unreachable!("who is in the queue is moving");
        };
        self.net.release(&mut socket);
        Some(Box::new(Arrival { socket, engine, listener, moving, outbox, heard, paused }))
    }

    fn unpack(&mut self, arrival: Arrival<T::Socket>) -> u32 {
        let Arrival { socket, engine, listener, moving, outbox, heard, paused } = arrival;
        let index = self.insert_connection(Some(socket), listener, Phase::Moving(moving));
        if let Some(connection) = self.connections.get_mut(index) {
            (connection.outbox, connection.heard, connection.paused) = (outbox, heard, paused);
            connection.engine = engine;
        }
        self.mark_dirty(index);
        index
    }

    /// A member comes from another shard.
    pub(super) fn arrive(&mut self, arrival: Arrival<T::Socket>) {
        let index = self.unpack(arrival);
        self.complete_move(index);
    }

    /// The shard that a member was sent to is gone, or this one is about to be: the process stops.
    pub(super) fn turn_back(&mut self, arrival: Arrival<T::Socket>) {
        let restart = arrival.moving.protocol.restart;
        let index = self.unpack(arrival);
        self.refuse_move(index, restart);
    }

    /// Closes a member on its way.
    fn refuse_move(&mut self, index: u32, close: Close) {
        self.counters.passages_dropped.increment();
        if let Some(moving) = self.moving(index) {
            let mut decoder = std::mem::take(&mut moving.seat.decoder);
            decoder.release(&mut self.assemblies);
        }
        self.close_unseated(index, close);
    }

    /// Whether the connection is a member's under way, whose end waits until it has entered.
    pub(super) fn defer_end(&mut self, index: u32) -> bool {
        let Some(moving) = self.moving(index) else { return false };
        moving.ended = Some(End::Failed);
        if let Some(connection) = self.connections.get_mut(index)
            && let Some(outbox) = connection.outbox.take()
        {
            self.give_outbox(outbox);
        }
        true
    }

    pub(super) fn moving(&mut self, index: u32) -> Option<&mut Move> {
        match &mut self.connections.get_mut(index)?.phase {
            Phase::Moving(moving) => Some(moving),
            _ => None,
        }
    }
}

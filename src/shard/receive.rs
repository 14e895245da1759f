//! Input of the network: connections that come, bytes that arrive, streams that end.

use std::time::Duration;

use super::Shard;
use super::connections::{Moment, PAUSED_MOVING, Phase};
use super::http::Exchange;
use crate::net::{End, Token, Transport};

/// Pause after the process ran out of descriptors or memory for connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes read and thrown away after a close, so that the close frame is not destroyed by a reset.
const LINGER_BYTES_MAX: usize = 1 << 20;

impl<T: Transport> Shard<T> {
    pub(super) fn on_accepted(&mut self, socket: T::Socket, listener: u16) {
        self.counters.accepted.increment();
        if self.connections.len() >= self.config.connections_max || self.draining {
            self.counters.refused.increment();
            self.net.end(socket);
            return;
        }
        let exchange = Box::new(Exchange::new(self.now.at));
        let index = self.insert_connection(Some(socket), listener, Phase::Http(exchange));
        self.set_connection_timer(index);
        self.read_on(index);
    }

    pub(super) fn on_accept_paused(&mut self, listener: u16, errno: i32) {
        self.counters.accept_pauses.increment();
        log::warn!(
            scope = "process", event = "accept-paused", errno = errno;
            "cannot accept connections for now (errno {errno}): raise the limit of open files \
             (LimitNOFILE, ulimit -n)"
        );
        if let Some(&timer) = self.accept_timers.get(usize::from(listener)) {
            self.wheel.set(timer, Some(self.now.at + ACCEPT_PAUSE));
        }
    }

    pub(super) fn on_received(&mut self, token: Token, mut bytes: T::Lease, armed: bool) {
        let now = self.now.at;
        let Some(connection) = self.connections.resolve(token) else { return };
        connection.armed = armed;
        connection.heard = Moment::of(now);
        self.counters.bytes_in.add(bytes.len() as u64);
        let index = token.index;
        match &mut connection.phase {
            Phase::Member(seat) => {
                seat.pinged = false;
                let left = self.on_member_bytes(index, &mut bytes);
                if left > 0 {
                    self.keep_unread(index, &bytes[bytes.len() - left..]);
                }
            }
            Phase::Moving(moving) => {
                moving.seat.pinged = false;
                self.keep_unread(index, &bytes);
                self.pause(index, PAUSED_MOVING);
            }
            Phase::Probing(_) => self.on_probe_bytes(index, &mut bytes),
            Phase::Http(exchange) => {
                exchange.input.extend_from_slice(&bytes);
                drop(bytes);
                self.advance_http(index);
            }
            Phase::Closing { discarded, .. } => {
                *discarded += bytes.len();
                if *discarded > LINGER_BYTES_MAX {
                    self.drop_connection(index);
                }
            }
            Phase::Busy => debug_assert!(false, "a busy connection receives nothing"),
        }
        self.read_on(index);
    }

    pub(super) fn on_ended(&mut self, token: Token, why: End) {
        let Some(connection) = self.connections.resolve(token) else { return };
        connection.armed = false;
        self.on_end_of_stream(token.index, why);
    }

    pub(super) fn on_end_of_stream(&mut self, index: u32, why: End) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let unsent = connection.has_output();
        match (why, &mut connection.phase) {
            (End::Stopped, _) => self.read_on(index),
            // It leaves the session that it enters.
            (_, Phase::Moving(moving)) => moving.ended = Some(why),
            (_, Phase::Http(exchange)) if exchange.needs_peer() => self.drop_connection(index),
            // A client may say that it sends no more and still wait for its answer.
            (End::Eof, Phase::Http(exchange)) if unsent || exchange.is_answering() => {
                exchange.input_ended = true;
                self.advance_http(index);
            }
            // What it is still to be told, such as why it was closed, may yet reach it.
            (End::Eof, Phase::Closing { ended, .. }) if unsent => *ended = true,
            _ => self.drop_connection(index),
        }
    }

    pub(super) fn on_writable(&mut self, token: Token) {
        let now = self.now.at;
        if let Some(connection) = self.connections.resolve(token) {
            connection.blocked = false;
            connection.progress = Moment::of(now);
            // What it is sent now should not be out of date.
            if let Phase::Member(seat) = &connection.phase
                && let Some(session) = self.sessions.get(seat.session)
            {
                let dropped = connection.condense(&session.history, 0, &mut self.outboxes);
                self.counters.superseded.add(dropped as u64);
            }
            self.mark_dirty(token.index);
        }
    }
}

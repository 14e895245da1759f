//! Deadlines: one timer for each connection and each session, set to whatever is due first. A timer
//! that fires early only computes the next deadline.

use std::time::Duration;

use super::Shard;
use super::connections::{Connection, Moment, PAUSED_RATE, Phase, Seat};
use super::sessions::Session;
use crate::net::Transport;
use crate::session::Instant;
use crate::session::frame::FrameKind;

/// A full socket that takes no byte for this long, while anything waits that may not be dropped,
/// belongs to a slow consumer.
const PROGRESS_MAX: Duration = Duration::from_secs(10);
/// Time for a closing connection to take its last bytes and go.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// Time for a member that polls to ask for its last bytes (specs: socketio §4).
const POLL_CLOSE_MAX: Duration = Duration::from_secs(30);
/// Time for a client to move to a WebSocket that it has opened (specs: socketio §1).
const UPGRADE_MAX: Duration = Duration::from_secs(10);

impl<T: Transport> Shard<T> {
    /// Sets a connection's timer to what is due first.
    pub(super) fn set_connection_timer(&mut self, index: u32) {
        let Some(connection) = self.connections.get(index) else { return };
        let since = connection.since.seen_from(self.now.at);
        let due = match &connection.phase {
            Phase::Http(exchange) => Some(exchange.deadline),
            Phase::Closing { .. } => Some(since + self.time_to_close(connection)),
            Phase::Probing(_) => Some(since + UPGRADE_MAX),
            Phase::Member(seat) => {
                let session = self.sessions.get(seat.session);
                session.and_then(|session| member_due(connection, seat, session, self.now.at))
            }
            // Its deadlines run again once it has entered.
            Phase::Moving(_) | Phase::Busy => None,
        };
        self.wheel.set(connection.timer, due);
    }

    pub(super) fn on_connection_timer(&mut self, index: u32) {
        let now = self.now.at;
        let Some(connection) = self.connections.get(index) else { return };
        let since = connection.since.seen_from(now);
        match &connection.phase {
            Phase::Member(_) => self.on_member_timer(index),
            Phase::Closing { .. } if now >= since + self.time_to_close(connection) => {
                self.drop_connection(index);
            }
            Phase::Probing(_) if now >= since + UPGRADE_MAX => self.end_probe(index),
            Phase::Http(exchange) if now >= exchange.deadline => self.on_http_deadline(index),
            _ => self.set_connection_timer(index),
        }
    }

    /// How long a closing connection has to take its last bytes.
    fn time_to_close(&self, connection: &Connection<T::Socket>) -> Duration {
        match connection.socket {
            Some(_) => CLOSE_MAX,
            None if self.draining => Duration::ZERO,
            // What it had on its way when it said so.
            None if connection.engine.as_ref().is_some_and(|engine| engine.said_goodbye()) => {
                CLOSE_MAX
            }
            None => POLL_CLOSE_MAX,
        }
    }

    fn on_member_timer(&mut self, index: u32) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(index) else { return };
        let seen = |moment: Moment| moment.seen_from(now.at);
        let (since, heard) = (seen(connection.since), seen(connection.heard));
        let paused = connection.paused;
        let Phase::Member(seat) = &connection.phase else { return };
        let Some(session) = self.sessions.get(seat.session) else { return };
        let (is_polling, is_engine) = (connection.socket.is_none(), connection.engine.is_some());
        let mut stuck =
            connection.blocked && !is_polling && now.at >= seen(connection.progress) + PROGRESS_MAX;
        if stuck && !connection.has_lasting_output(&session.history) {
            // As when its session says something, see `trim_history`.
            connection.progress = Moment::of(now.at);
            stuck = false;
        }
        let (protocol, rate) = (session.protocol, session.limits.messages_per_second_max);
        let liveness = &protocol.liveness;
        if stuck {
            self.counters.slow_closed.increment();
            return self.close_member(index, protocol.slow);
        }
        if !self.beat(index) {
            return;
        }
        let Some((_, seat)) = self.seat_of(index) else { return };
        // Who is not read from cannot be heard. Whom Engine.IO pings has its own time to answer.
        if let Some((limit, close)) = liveness.silence
            && !is_engine
            && paused == 0
            && now.at >= heard + limit
        {
            self.counters.silent_closed.increment();
            return self.close_member(index, close);
        }
        if let Some((limit, close)) = liveness.join
            && !seat.admitted
            && now.at >= since + limit
        {
            self.counters.silent_closed.increment();
            return self.close_member(index, close);
        }
        let may_go_on = seat.rate_wait_ms(rate, now.at.as_millis()) == 0;
        let greet = !is_engine
            && !seat.greeted
            && liveness.first_ping.is_some_and(|after| now.at >= since + after);
        let ping = !is_engine
            && !seat.pinged
            && liveness.ping.is_some_and(|after| now.at >= heard + after);
        seat.greeted |= greet;
        seat.pinged |= ping;
        if greet || ping {
            let mut digits = itoa::Buffer::new();
            self.push_frame(index, FrameKind::Ping, digits.format(now.wall_ms).as_bytes());
        }
        if paused & PAUSED_RATE != 0 && may_go_on {
            self.resume(index, PAUSED_RATE);
        }
        self.set_connection_timer(index);
    }

    pub(super) fn on_session_timer(&mut self, index: u32) {
        let now = self.now.at;
        let Some(session) = self.sessions.get(index) else { return };
        let is_due = session.machine.deadline().is_some_and(|due| due <= now);
        if is_due {
            self.call(index, |machine, fx| machine.on_deadline(fx));
        }
        let Some(session) = self.sessions.get(index) else { return };
        if session.history.held_until().is_some_and(|due| due <= now) {
            self.call(index, |_, fx| fx.release());
        } else if !is_due {
            self.wheel.set(session.timer, session.deadline());
        }
    }

    pub(super) fn on_report_timer(&mut self) {
        self.reports.on_deadline(self.now.at, &self.counters);
        self.wheel.set(self.report_timer, Some(self.reports.deadline()));
        // Should the storage have been too busy to be asked.
        self.ask_removals();
    }
}

fn member_due<S>(
    connection: &Connection<S>,
    seat: &Seat,
    session: &Session,
    now: Instant,
) -> Option<Instant> {
    let liveness = &session.protocol.liveness;
    let is_engine = connection.engine.is_some();
    let silence = liveness.silence.filter(|_| connection.paused == 0 && !is_engine);
    let rate = session.limits.messages_per_second_max;
    let rate_wait = || Duration::from_millis(seat.rate_wait_ms(rate, now.as_millis()));
    let first_ping = liveness.first_ping.filter(|_| !seat.greeted && !is_engine);
    let ping = liveness.ping.filter(|_| !seat.pinged && !is_engine);
    let join = liveness.join.filter(|_| !seat.admitted);
    let (since, heard) = (connection.since.seen_from(now), connection.heard.seen_from(now));
    [
        first_ping.map(|after| since + after),
        ping.map(|after| heard + after),
        silence.map(|(limit, _)| heard + limit),
        join.map(|(limit, _)| since + limit),
        (connection.blocked && connection.socket.is_some())
            .then(|| connection.progress.seen_from(now) + PROGRESS_MAX),
        connection.engine.as_ref().map(|engine| engine.due()),
        (connection.paused & PAUSED_RATE != 0).then(|| now + rate_wait()),
    ]
    .into_iter()
    .flatten()
    .min()
}

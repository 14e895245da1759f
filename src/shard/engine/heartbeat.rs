//! Heartbeats: the server pings, the client answers (specs: socketio §6). They go on whatever else
//! is said, since it is by them that a client knows that the server is there.

use super::super::Shard;
use super::super::connections::Phase;
use super::{Engine, GONE, PACKET};
use crate::codec::engineio;
use crate::net::Transport;
use crate::protocol::EngineIo;
use crate::session::Instant;

/// When a client is pinged next, or has to have answered.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) enum Heartbeat {
    /// It is pinged at this time.
    Resting(Instant),
    /// It was pinged, and has until this time to answer.
    Pinged(Instant),
    /// Something else came meanwhile, for which it was given more time once.
    Extended(Instant),
}

impl Heartbeat {
    /// That of a client that has just come: it is not pinged at once.
    pub(super) fn new(now: Instant, settings: &EngineIo) -> Self {
        Self::Resting(now + settings.ping_interval)
    }

    pub(super) fn due(self) -> Instant {
        let (Self::Resting(due) | Self::Pinged(due) | Self::Extended(due)) = self;
        due
    }
}

impl<T: Transport> Shard<T> {
    /// A client has answered.
    pub(super) fn on_engine_pong(&mut self, index: u32) {
        let now = self.now.at;
        if let Some(engine) = self.connections.get_mut(index).and_then(|c| c.engine.as_mut())
            && !matches!(engine.heartbeat, Heartbeat::Resting(_))
        {
            engine.heartbeat = Heartbeat::new(now, &engine.settings);
            self.set_connection_timer(index);
        }
    }

    /// Pings a client whose time has come; ends one that has not answered. Whether it is there still.
    pub(in crate::shard) fn beat(&mut self, index: u32) -> bool {
        let now = self.now.at;
        let Some(connection) = self.connections.get_mut(index) else { return false };
        let (heard, paused) = (connection.heard.seen_from(now), connection.paused != 0);
        let is_seated = matches!(connection.phase, Phase::Member(_));
        let is_due = |engine: &&mut Box<Engine>| is_seated && now >= engine.due();
        let Some(engine) = connection.engine.as_mut().filter(is_due) else { return true };
        let timeout = engine.settings.ping_timeout;
        match engine.heartbeat {
            // Who is not read from cannot be heard.
            Heartbeat::Pinged(_) | Heartbeat::Extended(_) if paused => {
                engine.heartbeat = Heartbeat::Pinged(now + timeout);
            }
            Heartbeat::Resting(due) => {
                // From when it was due: what is late here is not the client's gain.
                engine.heartbeat = Heartbeat::Pinged(due + timeout);
                self.push_frame(index, PACKET, engineio::PING.as_bytes());
            }
            Heartbeat::Pinged(due) if heard + timeout > due => {
                engine.heartbeat = Heartbeat::Extended(heard + timeout);
            }
            _ => {
                self.counters.silent_closed.increment();
                if self.polling(index).is_some() {
                    self.drop_connection(index);
                } else {
                    self.close_member(index, GONE);
                }
                return false;
            }
        }
        true
    }
}

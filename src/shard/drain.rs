//! Stopping: no new connections, everything stored, every member told to come back later.

use std::time::Duration;

use super::Shard;
use super::connections::Phase;
use super::mesh::Item;
use crate::net::Transport;

impl<T: Transport> Shard<T> {
    /// Begins to stop.
    pub(super) fn drain(&mut self) {
        if std::mem::replace(&mut self.draining, true) {
            return;
        }
        self.net.stop_accepting();
        let sessions: Vec<u32> = self.sessions.iter().map(|(index, _)| index).collect();
        for session in sessions {
            self.call(session, |machine, fx| machine.on_drain(fx));
        }
        for index in self.connections.indexes() {
            self.drain_connection(index);
        }
    }

    fn drain_connection(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        match &mut connection.phase {
            Phase::Member(seat) => {
                let session = self.sessions.get(seat.session);
                if let Some(restart) = session.map(|session| session.protocol.restart) {
                    self.close_member(index, restart);
                }
            }
            Phase::Http(exchange) if exchange.is_answering() => exchange.keep_alive = false,
            Phase::Http(_) => self.finish_after_flush(index),
            // It is told when it has entered where it goes.
            Phase::Moving(_) | Phase::Busy => {}
            // One that polls is not waited for any more.
            Phase::Closing { .. } => self.set_connection_timer(index),
            Phase::Probing(_) => self.end_probe(index),
        }
    }

    /// Lets nothing more come from other shards. Whether nothing had come since the shard was done:
    /// connections that had are told to come back later, and there is more to do.
    pub fn shut(&mut self) -> bool {
        let late: Vec<_> = self.inbox.close().collect();
        for item in late {
            match item {
                Item::Adopt(adoption) => self.adopt(*adoption),
                Item::Reroute(reroute) => self.on_rerouted(*reroute),
                Item::Arrive(arrival) => self.turn_back(*arrival),
                Item::Tell(_) => self.counters.passages_dropped.increment(),
                // Nobody here waits for it.
                Item::Ask(_)
                | Item::Answer { .. }
                | Item::Storage(_)
                | Item::Account(_)
                | Item::Journal(_)
                | Item::Configure(_)
                | Item::Drain => {}
            }
        }
        self.is_done()
    }

    /// While stopping: how long the clients have to go.
    pub fn time_to_drain(&self) -> Option<Duration> {
        self.draining.then_some(self.config.drain)
    }
}

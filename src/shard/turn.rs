//! One turn of a shard: receive → decode → apply → append → fan out → flush.
//!
//! Everything that happened on the network since the last turn is looked at, input by input, each
//! with its effects drained before the next, what its session sent to other sessions included; then
//! what other threads sent, then timers. What was recorded is written to the journal. Only at the end
//! does the shard send: one send for each connection that has something waiting, however many
//! messages that is. Ten messages that arrived in one turn leave in one send, and this coalescing is
//! the largest lever on what a delivery costs.

use super::mesh::Item;
use super::{Shard, Timer};
use crate::net::{Event, Transport};
use crate::session::{Instant, Now};
use crate::storage::journal::Done;

/// Items taken from the inbox in one turn.
const ITEMS_PER_TURN_MAX: usize = 256;

impl<T: Transport> Shard<T> {
    /// Does everything there is to do now. Returns whether that was anything.
    pub fn turn(&mut self, now: Now) -> bool {
        self.now = now;
        self.renew_passages();
        self.deliver_passages();
        let mut events = std::mem::take(&mut self.events);
        self.net.poll(&mut events);
        let mut worked = !events.is_empty();
        for event in events.drain(..) {
            self.on_event(event);
            self.deliver_passages();
        }
        self.events = events;
        worked |= self.take_refused();
        worked |= self.take_items();
        worked |= self.fire_timers();
        self.settle_recovered();
        self.commit();
        self.read_back_fallen();
        // Behind the journal: other shards act on what sessions here have recorded.
        self.send_passages();
        worked |= self.flush();
        worked |= self.passages.is_due();
        self.counters.turns.increment();
        worked
    }

    /// When the next turn is due even if nothing happens.
    pub fn next_due(&self) -> Option<Instant> {
        self.wheel.next_due()
    }

    /// Whether items wait in the inbox, or answers of its own.
    pub fn has_items(&self) -> bool {
        !self.inbox.is_empty() || !self.refused.is_empty()
    }

    fn on_event(&mut self, event: Event<T::Socket, T::Lease>) {
        match event {
            Event::Received { token, bytes, armed } => self.on_received(token, bytes, armed),
            Event::Accepted { socket, listener } => self.on_accepted(socket, listener),
            Event::Writable { token } => self.on_writable(token),
            Event::Ended { token, why } => self.on_ended(token, why),
            Event::AcceptPaused { listener, errno } => self.on_accept_paused(listener, errno),
        }
    }

    fn take_refused(&mut self) -> bool {
        let count = self.refused.len();
        for _ in 0..count {
            let Some(answer) = self.refused.pop_front() else { break };
            self.on_storage(answer);
            self.deliver_passages();
        }
        count > 0
    }

    fn take_items(&mut self) -> bool {
        for taken in 0..ITEMS_PER_TURN_MAX {
            let Some(item) = self.inbox.next() else { return taken > 0 };
            match item {
                Item::Adopt(adoption) => self.adopt(*adoption),
                Item::Reroute(reroute) => self.on_rerouted(*reroute),
                Item::Arrive(arrival) => self.arrive(*arrival),
                Item::Tell(tell) => self.on_tell(*tell),
                Item::Storage(answer) => self.on_storage(answer),
                Item::Account(answer) => self.on_account_answer(answer),
                Item::Ask(ask) => self.on_ask(ask),
                Item::Answer { question, status, text } => self.on_answer(question, status, text),
                Item::Journal(Done::Synced(synced)) => self.on_synced(synced),
                Item::Journal(Done::ReadBack(read)) => self.on_read_back(read),
                Item::Configure(config) => self.configure(config),
                Item::Drain => self.drain(),
            }
            self.deliver_passages();
        }
        true
    }

    fn fire_timers(&mut self) -> bool {
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.advance(self.now.at, &mut fired);
        let any = !fired.is_empty();
        for timer in fired.drain(..) {
            match timer {
                Timer::Connection(index) => self.on_connection_timer(index),
                Timer::Session(index) => self.on_session_timer(index),
                Timer::Accept(listener) => self.net.accept(listener),
                Timer::Journal => self.on_journal_timer(),
                Timer::Report => self.on_report_timer(),
                // The turn itself tries again.
                Timer::Passages => {}
            }
            self.deliver_passages();
        }
        self.fired = fired;
        any
    }
}

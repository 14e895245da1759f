//! How the state of a persistent room is loaded, recovered, recorded and stored.

use std::time::Duration;

use super::{Room, Visit, encode, tell, unpack};
use crate::protocol::Loaded;
use crate::protocol::gallery::carry::{Terms, ToHall};
use crate::protocol::gallery::state::State;
use crate::protocol::gallery::stored::{Stored, record_name};
use crate::protocol::pending::{Input, Pending};
use crate::session::journal::Entries;
use crate::session::{Effects, Instant};

/// What the journal may have of a room before it is stored anew, in bytes.
const UNSTORED_BYTES_MAX: usize = 4 << 20;
const UNREADABLE: &str = "Room is unavailable";

impl Room {
    pub(super) fn keeps_records(&self) -> bool {
        self.durable && self.terms.as_ref().is_some_and(|terms| terms.persistent)
    }

    /// The epoch that changes are recorded with, if they are.
    pub(super) fn kept_epoch(&self) -> Option<u64> {
        self.keeps_records().then_some(self.epoch)
    }

    /// Whether it is known what is kept, so that it may be stored over.
    pub(super) fn may_store(&self) -> bool {
        self.pending.is_none() && self.recovered.is_none() && !self.drained
    }

    /// The session becomes the room of these terms. Whether its state is still to be loaded.
    pub(super) fn begin(&mut self, terms: Terms) -> bool {
        // What is not stored yet is newer than what is.
        let is_known = self.epoch == terms.epoch || !self.keeper.is_clean();
        if self.epoch != terms.epoch {
            self.state = State::default();
        }
        (self.sequence, self.reported, self.next_serial) = (0, 0, 0);
        self.epoch = terms.epoch;
        self.terms = Some(terms);
        self.recovered.is_some() || self.keeps_records() && !is_known
    }

    /// From here on there is no room, only a session.
    pub(super) fn end(&mut self) {
        self.terms = None;
        self.state = State::default();
    }

    /// The room is removed with what is kept of it: a state of no room takes its place.
    pub(super) fn forget(&mut self, epoch: u64, fx: &Effects<'_>) {
        self.end();
        // No later room of this name has this epoch.
        self.epoch = epoch;
        self.recovered = None;
        self.keeper.touch(fx.at(), Duration::ZERO);
    }

    /// An earlier process, or one that failed here, left what no record has.
    pub(super) fn recover(&mut self, entries: Entries, fx: &mut Effects<'_>) {
        self.recovered = Some(entries);
        self.load(None, fx);
    }

    /// Asks for the stored state; `first` waits for it.
    pub(super) fn load(&mut self, first: Option<Input>, fx: &mut Effects<'_>) {
        let pending = self.pending.get_or_insert_default();
        pending.ask(|| record_name(&self.id), fx);
        // Whoever is the first finds room to wait.
        let _ = first.map(|first| pending.push(first));
    }

    pub(super) fn on_record(&mut self, records: Loaded, fx: &mut Effects<'_>) {
        let inputs = self.pending.take().map(Pending::into_inputs).unwrap_or_default();
        if let Err(why) = self.restore(records, fx.at()) {
            log::error!(
                target: "gallery", scope = "session", event = "load-failed";
                "a persistent room cannot be read: {why}; who wants to join it is told so"
            );
            fx.counters.storage_errors.increment();
            return self.give_up(inputs, fx);
        }
        for input in inputs {
            let who = input.member();
            if let (Err(close), Some(member)) = (self.handle(input, fx), who) {
                fx.close(member, close);
            }
        }
    }

    /// Takes on what is kept; why not, if it cannot be read.
    fn restore(&mut self, records: Loaded, now: Instant) -> Result<(), String> {
        let record = records?.pop().flatten();
        let nothing = Entries::default();
        let entries = self.recovered.as_ref().unwrap_or(&nothing);
        let stored = Stored::replay(record.as_deref(), entries, now);
        let Stored { epoch, state, .. } = stored.map_err(|error| error.to_string())?;
        if self.recovered.take().is_some() {
            // Also when all was stored: the journal does not know.
            self.keeper.touch(now, Duration::ZERO);
        }
        if self.terms.is_none() {
            self.epoch = epoch;
        }
        if self.epoch == epoch {
            self.state = state;
        }
        Ok(())
    }

    /// Sends everybody back who waits for a state that cannot be had. What was recovered stays, for
    /// the next attempt.
    fn give_up(&mut self, inputs: Vec<Input>, fx: &mut Effects<'_>) {
        self.end();
        self.epoch = 0;
        for input in inputs {
            match input {
                Input::Enter(member, hello) => {
                    let visit: Option<Visit> = unpack(&hello.carry);
                    let Some(Visit { conn, user, ask, said, sequence, .. }) = visit else {
                        continue;
                    };
                    self.sequence = self.sequence.max(sequence);
                    self.said = said;
                    let text = encode::error(UNREADABLE, ask.request_id.as_deref());
                    self.send_back(member, conn, user, Some(text), None, fx);
                }
                // An operator may remove it all the same.
                Input::Told(..) => drop(self.act(input, fx)),
                Input::Said(..) | Input::Left(_) => {}
            }
        }
    }

    /// A change of so many bytes went to the journal.
    pub(super) fn note_recorded(&mut self, bytes: usize, fx: &mut Effects<'_>) {
        self.unstored_bytes += bytes;
        let is_long = self.unstored_bytes > UNSTORED_BYTES_MAX;
        let delay_ms = if is_long { 0 } else { self.config().store_delay_ms };
        self.keeper.touch(fx.at(), Duration::from_millis(delay_ms));
    }

    pub(super) fn store(&mut self, fx: &mut Effects<'_>) {
        let is_brief = self.terms.as_ref().is_some_and(|terms| !terms.persistent);
        let nothing = State::default();
        let state = if is_brief { &nothing } else { &self.state };
        let record = state.stored(self.epoch, fx.recorded());
        fx.store_base(record_name(&self.id), record);
        self.unstored_bytes = 0;
    }

    /// Tells the hall when nobody is in, and stores what is due.
    pub(super) fn settle(&mut self, fx: &mut Effects<'_>) {
        if let Some(terms) = &self.terms
            && self.is_empty()
            && self.reported != self.sequence
        {
            let epoch = terms.epoch;
            self.reported = self.sequence;
            let (sequence, was_used) = (self.sequence, self.next_serial > 0);
            tell(&ToHall::Empty { epoch, sequence, was_used }, fx);
            self.keeper.hurry(fx.at());
        }
        if self.may_store() && self.keeper.begin(fx.at()) {
            self.store(fx);
        }
    }
}

//! How a document is loaded, recovered, stored, and forgotten.

use std::time::Duration;

use super::edit::UPDATE;
use super::{Kept, Phase, REST_AFTER, Room, Unstored, stored};
use crate::codec::ysync::Refusal;
use crate::protocol::Loaded;
use crate::protocol::pending::{Input, Pending};
use crate::protocol::yjs::document::Document;
use crate::session::journal::{Entries, Position};
use crate::session::{Close, Effects};

/// Entries in the journal that a document may have before it is stored anew.
const UNSTORED_ENTRIES_MAX: usize = 10_000;
/// The same in bytes, at least; and twice as much as the stored document has.
const UNSTORED_BYTES_MIN: usize = 1 << 20;
/// From the moment that nobody is there to a document's being stored.
const STORE_AFTER: Duration = Duration::from_secs(2);

impl Room {
    /// Lets something wait for the document.
    pub(super) fn wait(&mut self, input: Input<Kept>, fx: &mut Effects<'_>) -> Result<(), Close> {
        self.load(fx);
        let Phase::Loading { pending, .. } = &mut self.phase else { return Ok(()) };
        match input {
            Input::Left(member) => {
                pending.withdraw(member);
                Ok(())
            }
            input => pending.push(input),
        }
    }

    /// Asks for the stored document, once.
    pub(super) fn load(&mut self, fx: &mut Effects<'_>) {
        let Phase::New { recovered } = &mut self.phase else { return };
        let mut pending = Pending::default();
        pending.ask(|| stored::record_name(&self.name), fx);
        self.phase = Phase::Loading { recovered: recovered.take(), pending };
    }

    /// The stored document has come: whoever waited is let in.
    pub(super) fn open(&mut self, records: Loaded, fx: &mut Effects<'_>) {
        let Phase::Loading { recovered, pending } =
            std::mem::replace(&mut self.phase, Phase::Unavailable)
        else {
            return;
        };
        match self.restore(records, recovered, fx) {
            Ok(()) => self.phase = Phase::Open,
            Err(why) => {
                fx.counters.storage_errors.increment();
                log::error!(
                    target: "yjs", scope = "session", event = "load-failed";
                    "document {:?} cannot be read: {why}; nobody may edit it", self.name
                );
            }
        }
        for input in pending.into_inputs() {
            let who = input.member();
            if let (Err(close), Some(member)) = (self.handle(input, fx), who) {
                fx.close(member, close);
            }
        }
    }

    fn restore(
        &mut self,
        records: Loaded,
        recovered: Option<Entries>,
        fx: &mut Effects<'_>,
    ) -> Result<(), String> {
        let mut position: Position = 0;
        if let Some(record) = records?.pop().flatten() {
            let stored = stored::read(&record).ok_or("the record is damaged")?;
            self.document = Document::load(stored.state).map_err(|error| error.to_string())?;
            for update in &stored.pending {
                self.document.take(update).map_err(|error| error.to_string())?;
            }
            (position, self.stored_bytes) = (stored.position, record.len());
        }
        let Some(entries) = recovered else { return Ok(()) };
        for (_, entry) in entries.after(position) {
            let [UPDATE, update @ ..] = entry else {
                return Err("an entry of the journal is none of a document".to_owned());
            };
            // Of what was refused otherwise, that is recorded what fitted.
            if let Err(Refusal::Malformed(error)) = self.document.take(update) {
                return Err(format!("an entry of the journal: {error}"));
            }
            self.unstored.entries += 1;
            self.unstored.bytes += update.len();
        }
        // Also when all was stored: the journal does not know.
        self.keeper.touch(fx.at(), STORE_AFTER);
        self.unstored.entries += 1;
        Ok(())
    }

    /// A change went to the journal.
    pub(super) fn note_recorded(&mut self, bytes: usize, fx: &mut Effects<'_>) {
        if !fx.is_recording() {
            return;
        }
        self.unstored.entries += 1;
        self.unstored.bytes += bytes;
        let bytes_max = UNSTORED_BYTES_MIN.max(2 * self.stored_bytes);
        if self.unstored.entries > UNSTORED_ENTRIES_MAX || self.unstored.bytes > bytes_max {
            self.keeper.touch(fx.at(), Duration::ZERO);
        }
    }

    /// What follows every call: stores what is due, and notes whether the session is over.
    pub(super) fn settle(&mut self, fx: &mut Effects<'_>) {
        let now = fx.at();
        match self.phase {
            Phase::Open => {}
            Phase::Unavailable => {
                self.forget_deadlines();
                self.is_over = self.seats.is_empty();
                return;
            }
            Phase::New { .. } | Phase::Loading { .. } => return,
        }
        let is_empty = self.seats.is_empty();
        if is_empty && self.unstored.entries > 0 && self.keeper.is_clean() {
            self.keeper.touch(now, STORE_AFTER);
        }
        if self.keeper.begin(now) {
            self.store(fx);
        }
        let timeout = Duration::from_millis(self.config().room_timeout_ms);
        // A document that was never written to, or was only looked at, is worth no memory.
        let rests = !self.was_used
            || self.document.is_new()
            || self.empty_since.is_some_and(|since| since + timeout <= now);
        self.is_over = is_empty && self.is_kept() && rests;
    }

    /// Whether all of it is stored, if it is to be.
    pub(super) fn is_kept(&self) -> bool {
        self.unstored.entries == 0 && self.keeper.is_clean()
    }

    fn store(&mut self, fx: &mut Effects<'_>) {
        let whole = self.document.whole();
        let record = stored::write(&whole, self.document.pending(), fx.recorded());
        (self.unstored, self.stored_bytes) = (Unstored::default(), record.len());
        fx.store_base(stored::record_name(&self.name), record);
        self.rest_at.get_or_insert_with(|| fx.at() + REST_AFTER);
    }

    /// The process stops.
    pub(super) fn store_at_the_end(&mut self, fx: &mut Effects<'_>) {
        let is_open = matches!(self.phase, Phase::Open);
        if is_open && self.durable && self.unstored.entries > 0 {
            self.store(fx);
        }
    }

    fn forget_deadlines(&mut self) {
        self.keeper = Default::default();
        (self.rest_at, self.keep_alive_at) = (None, None);
        (self.answers_at, self.read_only_until) = (None, None);
    }
}

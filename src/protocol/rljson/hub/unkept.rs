//! What changes while nothing can be recorded, since the disk is full or has failed. Rows and blobs are
//! taken all the same, and are in the next base; but nobody is told of new refs before that is stored,
//! and more can be recorded: a crash would take them back.

use std::time::Duration;

use super::Hub;
use crate::protocol::socketio::Io;
use crate::session::Instant;

/// From one look at whether something can be recorded to the next.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Changes that the journal has not got.
#[derive(Debug, Default)]
pub(super) struct Unkept {
    /// How many there were, and how many of those the base has that is being stored, and that is.
    changes: u64,
    storing: u64,
    stored: u64,
    /// Refs wait to be taken up: until when, before it is looked at again.
    pub(super) until: Option<Instant>,
}

impl Unkept {
    /// Something changed.
    pub(super) fn add(&mut self) {
        self.changes += 1;
    }

    /// A base is being stored.
    pub(super) fn begin(&mut self) {
        self.storing = self.changes;
    }

    /// It is there.
    pub(super) fn stored(&mut self, now: Instant) {
        self.stored = self.storing;
        self.until = self.until.map(|_| now);
    }
}

impl Hub {
    /// Whether a ref that is taken up now is there after a crash, with its tree. If not, it waits.
    pub(super) fn may_take_up(&mut self, io: &Io<'_, '_>) -> bool {
        let is_kept = !io.fx.is_read_only() && self.unkept.changes == self.unkept.stored;
        let may = !self.durable || is_kept;
        if !may {
            self.unkept.until.get_or_insert_with(|| io.at() + LOOK_AGAIN);
        }
        may
    }

    /// Takes up what has waited, if it may be.
    pub(super) fn take_up_waiting(&mut self, io: &mut Io<'_, '_>) {
        if self.unkept.until.take_if(|until| *until <= io.at()).is_none() {
            return;
        }
        for id in 0..self.lanes.len() as u32 {
            if self.lanes.get(id).is_some_and(|lane| lane.cross.is_some()) {
                self.merges.push_back(id);
            }
            self.take_in(id, io);
        }
    }
}

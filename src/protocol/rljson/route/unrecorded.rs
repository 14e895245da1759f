//! Which runs' reads are to be recorded: when they change, and once more when what was read is in
//! place for sure. A restart would make all of it doubtful.

use std::collections::BTreeSet;

use super::origins::{Origins, SETTLED};
use crate::session::Instant;

/// Runs of clients whose reads are not as they were recorded, or will not be.
#[derive(Debug, Default)]
pub(super) struct Unrecorded {
    changed: BTreeSet<Box<str>>,
    /// Those that have read something that they may not have in place yet.
    unsettled: BTreeSet<Box<str>>,
    /// When to look at those.
    look_at: Option<Instant>,
}

impl Unrecorded {
    /// A run has read something.
    pub(super) fn read(&mut self, origin: &str, now: Instant) {
        self.changed.insert(origin.into());
        self.unsettled.insert(origin.into());
        self.look_at.get_or_insert(now + SETTLED);
    }

    /// A run has announced something: what it had read is worth less.
    pub(super) fn announced(&mut self, origin: &str) {
        self.changed.insert(origin.into());
    }

    /// Looks at which runs have in place what they read.
    pub(super) fn on_deadline(&mut self, origins: &mut Origins, now: Instant) {
        if self.look_at.take_if(|at| *at <= now).is_none() {
            return;
        }
        for origin in std::mem::take(&mut self.unsettled) {
            let settles = origins.settle(&origin, now);
            if settles.more {
                self.unsettled.insert(origin.clone());
                self.look_at = Some(now + SETTLED);
            }
            if settles.some {
                self.changed.insert(origin);
            }
        }
    }

    /// When something is next due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.look_at
    }

    /// Runs whose reads have changed since this was called last.
    pub(super) fn take(&mut self) -> BTreeSet<Box<str>> {
        std::mem::take(&mut self.changed)
    }
}

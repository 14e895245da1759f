//! When something is stored: a while after it changed, never twice at once.

use std::time::Duration;

use crate::session::Instant;

/// From a failure to the next attempt.
const RETRY: Duration = Duration::from_secs(10);

/// Keeps a record up to date.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    /// When the next version is to be stored, if it differs.
    due: Option<Instant>,
    in_flight: bool,
}

impl Keeper {
    /// Something changed; it is stored `delay` after the first change at the latest.
    pub(super) fn touch(&mut self, now: Instant, delay: Duration) {
        let at = now + delay;
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Whether to store now; from here on a store is under way.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let begins = !self.in_flight && self.due.is_some_and(|due| due <= now);
        if begins {
            (self.due, self.in_flight) = (None, true);
        }
        begins
    }

    /// What changed is stored now rather than later.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.due = self.due.map(|due| due.min(now));
    }

    /// The store came to an end.
    pub(super) fn end(&mut self, stored: bool, now: Instant) {
        self.in_flight = false;
        if !stored {
            self.touch(now, RETRY);
        }
    }

    /// Whether all is stored.
    pub(super) fn is_clean(&self) -> bool {
        self.due.is_none() && !self.in_flight
    }

    /// When to ask again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.filter(|_| !self.in_flight)
    }
}

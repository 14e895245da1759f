//! Payloads that wait for their turn.

use std::collections::BTreeMap;

use super::payload::Ref;
use super::{Announcement, NOBODY};
use crate::protocol::socketio::Socket;

/// Payloads that may wait for their turn on a route; beyond it they are refused.
pub const QUEUE_MAX: usize = 1024;
/// Bytes of payloads beyond which none is taken that adds to those that wait.
pub const QUEUE_BYTES_MAX: usize = 4 << 20;
/// Payloads of one run that wait; a further one takes the place of the newest.
pub const QUEUE_OF_RUN_MAX: usize = 8;

/// Whose a payload is: a run of a client, or a connection that tells none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Run {
    Origin(Box<str>),
    Connection(Socket),
}

impl Run {
    fn of(from: Socket, origin: &str) -> Self {
        if origin.is_empty() { Self::Connection(from) } else { Self::Origin(origin.into()) }
    }

    fn that_announced(waiting: &Announcement) -> Self {
        Self::of(waiting.from, &waiting.payload.origin)
    }
}

/// What became of a payload.
#[derive(Debug)]
pub(super) enum Pushed {
    Waits,
    /// It took the place of this one.
    Replaced(Announcement),
    Refused(Announcement),
}

/// Payloads in the order of their coming.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<u64, Announcement>,
    /// The places of each run's, oldest first.
    runs: BTreeMap<Run, Vec<u64>>,
    /// How many of each connection's.
    senders: BTreeMap<Socket, usize>,
    bytes: usize,
    next: u64,
}

impl Queue {
    /// Takes a payload in. If `replaces` is set it has what the newest of its run has that waits.
    pub(super) fn push(&mut self, waiting: Announcement, replaces: bool) -> Pushed {
        let run = Run::that_announced(&waiting);
        let own = self.runs.get(&run).map_or(&[][..], Vec::as_slice);
        if let Some(&newest) = own.last()
            && run != Run::Connection(NOBODY)
            && (replaces || own.len() >= QUEUE_OF_RUN_MAX)
        {
            self.count(&waiting);
            let Some(replaced) = self.waiting.insert(newest, waiting) else { return Pushed::Waits };
            self.discount(&replaced);
            return Pushed::Replaced(replaced);
        }
        let len = waiting.payload.text.len();
        if self.waiting.len() >= QUEUE_MAX || self.bytes + len > QUEUE_BYTES_MAX {
            return Pushed::Refused(waiting);
        }
        self.count(&waiting);
        self.runs.entry(run).or_default().push(self.next);
        self.waiting.insert(self.next, waiting);
        self.next += 1;
        Pushed::Waits
    }

    /// The one whose turn it is.
    pub(super) fn pop(&mut self) -> Option<Announcement> {
        let (place, waiting) = self.waiting.pop_first()?;
        let run = Run::that_announced(&waiting);
        if let Some(places) = self.runs.get_mut(&run) {
            places.retain(|own| *own != place);
            if places.is_empty() {
                self.runs.remove(&run);
            }
        }
        self.discount(&waiting);
        Some(waiting)
    }

    /// A connection is gone: what was announced on it keeps its turn, and is nobody's.
    pub(super) fn orphan(&mut self, gone: Socket) {
        let Some(count) = self.senders.remove(&gone) else { return };
        *self.senders.entry(NOBODY).or_default() += count;
        for waiting in self.waiting.values_mut().filter(|waiting| waiting.from == gone) {
            waiting.from = NOBODY;
        }
        if let Some(places) = self.runs.remove(&Run::Connection(gone)) {
            let all = self.runs.entry(Run::Connection(NOBODY)).or_default();
            all.extend(places);
            all.sort_unstable();
        }
    }

    /// Whether any of a run waits.
    pub(super) fn has_of_run(&self, from: Socket, origin: &str) -> bool {
        self.runs.contains_key(&Run::of(from, origin))
    }

    /// Whether any of a connection waits.
    pub(super) fn has_of(&self, from: Socket) -> bool {
        self.senders.contains_key(&from)
    }

    /// What waits, oldest first.
    pub(super) fn refs(&self) -> impl Iterator<Item = &Ref> {
        self.waiting.values().map(|waiting| &waiting.payload.reference)
    }

    fn count(&mut self, waiting: &Announcement) {
        self.bytes += waiting.payload.text.len();
        *self.senders.entry(waiting.from).or_default() += 1;
    }

    fn discount(&mut self, waiting: &Announcement) {
        self.bytes -= waiting.payload.text.len();
        if let Some(count) = self.senders.get_mut(&waiting.from) {
            *count -= 1;
            if *count == 0 {
                self.senders.remove(&waiting.from);
            }
        }
    }
}

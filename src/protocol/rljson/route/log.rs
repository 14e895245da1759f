//! The last refs of a route.

use std::collections::{BTreeMap, VecDeque};

use super::{Payload, Ref};

/// Refs that a route remembers.
pub const LOG_REFS_MAX: usize = 1000;
/// Bytes of payloads that a route remembers.
pub const LOG_BYTES_MAX: usize = 1 << 20;
/// Refs that one gap fill tells.
pub const GAP_FILL_REFS_MAX: usize = 200;

/// How gaps are filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GapFill {
    /// With nothing: clients that keep only the last ref they hear would go back to an old one.
    #[default]
    Empty,
    /// With what others have announced since, at most [`GAP_FILL_REFS_MAX`], the newest if there are
    /// more.
    Replay,
}

#[derive(Debug)]
struct Entry {
    payload: Payload,
    /// What was the latest ref from then on.
    latest: Ref,
}

impl Entry {
    fn len(&self) -> usize {
        self.payload.text.len() + self.latest.len()
    }
}

/// What was announced, oldest first.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    /// How many entries made each ref the latest one.
    latest: BTreeMap<Ref, usize>,
    bytes: usize,
}

impl Log {
    pub(super) fn push(&mut self, payload: Payload, latest: &Ref) {
        let entry = Entry { payload, latest: Ref::clone(latest) };
        self.bytes += entry.len();
        *self.latest.entry(Ref::clone(latest)).or_default() += 1;
        self.entries.push_back(entry);
        while self.entries.len() > LOG_REFS_MAX || self.bytes > LOG_BYTES_MAX {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.bytes -= oldest.len();
            self.forget(&oldest.latest);
        }
    }

    /// All refs, the newest first; some more than once.
    pub(super) fn refs(&self) -> impl Iterator<Item = &Ref> {
        self.entries.iter().rev().flat_map(|entry| [&entry.latest, &entry.payload.reference])
    }

    /// The ref that says this, if it was the latest one any time.
    pub(super) fn known(&self, latest: Option<&Ref>, text: &str) -> Option<Ref> {
        match latest.filter(|latest| ***latest == *text) {
            Some(latest) => Some(Ref::clone(latest)),
            None => self.latest.get_key_value(text).map(|(reference, _)| Ref::clone(reference)),
        }
    }

    fn forget(&mut self, latest: &Ref) {
        if let Some(count) = self.latest.get_mut(latest) {
            *count -= 1;
            if *count == 0 {
                self.latest.remove(latest);
            }
        }
    }

    /// Payloads and what was the latest ref after each, oldest first.
    pub(super) fn entries(&self) -> impl ExactSizeIterator<Item = (&str, &Ref)> {
        self.entries.iter().map(|entry| (&*entry.payload.text, &entry.latest))
    }

    /// What others than `origin` announced under higher numbers, as a JSON array.
    pub(super) fn gap_fill(&self, how: GapFill, origin: Option<&str>, after: u64) -> String {
        let is_missed = |entry: &&Entry| {
            origin != Some(&*entry.payload.origin)
                && entry.payload.seq.is_some_and(|seq| seq > after)
        };
        let missed = match how {
            GapFill::Empty => Vec::new(),
            GapFill::Replay => {
                let newest = self.entries.iter().rev().filter(is_missed);
                let mut missed: Vec<&str> =
                    newest.take(GAP_FILL_REFS_MAX).map(|entry| &*entry.payload.text).collect();
                missed.reverse();
                missed
            }
        };
        format!("[{}]", missed.join(","))
    }
}

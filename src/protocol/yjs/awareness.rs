//! Who is there and what they look at: y-protocols' awareness (§3), the newest state of each client
//! with the member that speaks for it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::codec::ysync::{Awareness as Entries, Entry, write_awareness, write_entry};
use crate::session::{Instant, MemberId};

/// Clients renew their states every 15 s; those that do not are gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How often such are looked for.
const SWEEP: Duration = Duration::from_secs(3);
/// Clients that one member may speak for.
const CLIENTS_PER_MEMBER_MAX: usize = 32;
/// Longest state, in bytes.
const STATE_BYTES_MAX: usize = 64 << 10;
/// States of a document together, in bytes.
const BYTES_MAX: usize = 16 << 20;
/// Clients that are gone and still remembered, so that nobody takes an old state for a new one.
const GONE_MAX: usize = 4096;

/// A member says more than there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// What was new in an awareness update.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// All of it: it can be relayed as it came.
    All,
    /// This update.
    Some(Vec<u8>),
    /// Nothing.
    None,
}

/// What became of an awareness update.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) news: News,
    /// The number of the client that all of it is about, if it is about one.
    pub(super) client: Option<u64>,
    /// What its sender should know of itself: that it was taken for gone, so that it says again what
    /// it said. An update.
    pub(super) correction: Option<Vec<u8>>,
}

/// The states of a document's clients.
#[derive(Debug, Default)]
pub(super) struct Awareness {
    clients: BTreeMap<u64, Client>,
    /// Clients that are there.
    present: usize,
    /// Bytes of their states.
    bytes: usize,
    sweep_at: Option<Instant>,
    next_number: u64,
}

#[derive(Debug)]
struct Client {
    /// Given by the server; not by a peer, who chose its id.
    number: u64,
    clock: u32,
    /// None once it is gone.
    state: Option<String>,
    /// Who speaks for it.
    by: MemberId,
    seen: Instant,
}

impl Awareness {
    /// Takes on what a member says.
    pub(super) fn hear(
        &mut self,
        by: MemberId,
        mut entries: Entries<'_>,
        now: Instant,
    ) -> Result<Heard, TooMany> {
        let (all, mut new) = (entries.len(), 0);
        let mut corrections: Vec<u8> = Vec::new();
        let mut corrected = 0;
        // Only of use if some are new and some are not, which is rare.
        let mut is_new: Vec<bool> = Vec::new();
        for entry in entries.clone() {
            let takes = self.take(by, &entry, now)?;
            if !takes && let Some(clock) = self.gone_at(&entry) {
                write_entry(&mut corrections, entry.client, clock, None);
                corrected += 1;
            }
            new += usize::from(takes);
            if all > 1 {
                is_new.push(takes);
            }
        }
        let news = match new {
            0 => News::None,
            _ if new == all => News::All,
            _ => {
                let raw =
                    entries.clone().zip(is_new).filter(|(_, new)| *new).map(|(entry, _)| entry.raw);
                let mut out = Vec::new();
                write_awareness(&mut out, raw.collect::<Vec<_>>());
                News::Some(out)
            }
        };
        let correction = (corrected > 0).then(|| update_of(corrected, &corrections));
        let only = entries.next().filter(|_| all == 1);
        let client = only.and_then(|entry| Some(self.clients.get(&entry.client)?.number));
        Ok(Heard { news, client, correction })
    }

    /// Whether an entry is newer than what is known; it is then.
    fn take(&mut self, by: MemberId, entry: &Entry<'_>, now: Instant) -> Result<bool, TooMany> {
        if entry.state.is_some_and(|state| state.len() > STATE_BYTES_MAX) {
            return Err(TooMany);
        }
        let Some(known) = self.clients.get_mut(&entry.client) else {
            let Some(state) = entry.state else { return Ok(false) };
            let own = self.clients.values().filter(|client| client.by == by);
            let present = own.filter(|client| client.state.is_some()).count();
            if present >= CLIENTS_PER_MEMBER_MAX || self.bytes + state.len() > BYTES_MAX {
                return Err(TooMany);
            }
            self.present += 1;
            self.bytes += state.len();
            self.next_number += 1;
            let (number, state) = (self.next_number, Some(state.into()));
            let client = Client { number, clock: entry.clock, state, by, seen: now };
            self.clients.insert(entry.client, client);
            self.sweep_at.get_or_insert_with(|| now + SWEEP);
            return Ok(true);
        };
        let is_end = entry.state.is_none() && known.state.is_some();
        if !(entry.clock > known.clock || entry.clock == known.clock && is_end) {
            return Ok(false);
        }
        let before = known.state.as_ref().map_or(0, |state| state.len());
        let after = entry.state.map_or(0, str::len);
        if self.bytes - before + after > BYTES_MAX {
            return Err(TooMany);
        }
        self.bytes = self.bytes - before + after;
        self.present =
            self.present - usize::from(known.state.is_some()) + usize::from(entry.state.is_some());
        (known.clock, known.by, known.seen) = (entry.clock, by, now);
        match (&mut known.state, entry.state) {
            (Some(known), Some(state)) => {
                known.clear();
                known.push_str(state);
            }
            (known, state) => *known = state.map(Into::into),
        }
        self.sweep_at.get_or_insert_with(|| now + SWEEP);
        Ok(true)
    }

    /// The clock at which the client of this entry was taken for gone, if its sender does not know.
    fn gone_at(&self, entry: &Entry<'_>) -> Option<u32> {
        let known = self.clients.get(&entry.client)?;
        (known.state.is_none() && entry.state.is_some()).then_some(known.clock)
    }

    /// A member is gone: what to tell the others.
    pub(super) fn leave(&mut self, by: MemberId, now: Instant) -> Option<Vec<u8>> {
        self.remove(now, |client| client.by == by)
    }

    /// Clients that have not renewed their states are gone: what to tell everybody.
    pub(super) fn sweep(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.sweep_at.is_none_or(|at| at > now) {
            return None;
        }
        let gone = self.remove(now, |client| client.seen + SILENCE_MAX <= now);
        let excess = self.clients.len() - self.present > GONE_MAX;
        self.clients.retain(|_, client| {
            client.state.is_some() || !excess && client.seen + SILENCE_MAX > now
        });
        self.sweep_at = (!self.clients.is_empty()).then(|| now + SWEEP);
        gone
    }

    fn remove(&mut self, now: Instant, goes: impl Fn(&Client) -> bool) -> Option<Vec<u8>> {
        let (mut entries, mut count) = (Vec::new(), 0);
        for (&id, client) in &mut self.clients {
            if goes(client)
                && let Some(state) = client.state.take()
            {
                self.bytes -= state.len();
                client.clock = client.clock.saturating_add(1);
                client.seen = now;
                write_entry(&mut entries, id, client.clock, None);
                count += 1;
            }
        }
        self.present -= count;
        (count > 0).then(|| update_of(count, &entries))
    }

    /// Everybody who is there, as an update; none if nobody is.
    pub(super) fn everybody(&self) -> Option<Vec<u8>> {
        let mut entries = Vec::new();
        for (&id, client) in &self.clients {
            if let Some(state) = &client.state {
                write_entry(&mut entries, id, client.clock, Some(state));
            }
        }
        (self.present > 0).then(|| update_of(self.present, &entries))
    }

    /// When [`Awareness::sweep`] is next due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.sweep_at
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn invariants(&self) {
        let states = || self.clients.values().filter_map(|client| client.state.as_ref());
        assert_eq!(self.present, states().count());
        assert_eq!(self.bytes, states().map(|state| state.len()).sum::<usize>());
        assert!(self.clients.is_empty() || self.sweep_at.is_some());
    }
}

fn update_of(count: usize, entries: &[u8]) -> Vec<u8> {
    let mut update = Vec::with_capacity(entries.len() + 4);
    crate::codec::lib0::write_varuint(&mut update, count as u64);
    update.extend_from_slice(entries);
    update
}

//! TUTTI (specs: croquet §6): messages that every member is expected to send, counted and
//! answered with one.

use std::fmt::Write;

use super::crowd::sized;
use super::decode::Tutti;
use crate::session::Instant;

/// How long a completed tally is remembered, in milliseconds of session time.
const COMPLETED_AGE_MS: u64 = 60_000;
/// Completed tallies remembered.
const COMPLETED_MAX: usize = 20;
/// Tallies open at once.
const OPEN_MAX: usize = 100;
/// How far a vote's send time may be ahead of session time, in milliseconds: clients run ahead of
/// what they were told between two ticks.
const AHEAD_MS_MAX: f64 = 1_000.0;
/// Size of the distinct votes of all open tallies, in bytes.
const OPEN_BYTES_MAX: usize = 4 << 20;

/// Open and completed tallies; takes no room before the first.
#[derive(Debug, Default)]
pub(super) struct Tallies(Option<Box<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// In the order they were opened, which is that of their deadlines.
    open: Vec<Tally>,
    completed: Vec<(Box<str>, f64)>,
    /// Send time of the newest tally forgotten early for want of room.
    sentinel: Option<f64>,
    open_bytes: usize,
}

#[derive(Debug)]
struct Tally {
    key: Box<str>,
    send_time: f64,
    wants_vote: bool,
    target: Box<str>,
    /// Votes still missing.
    expecting: usize,
    /// Distinct payloads and how often each came.
    votes: Vec<(Box<str>, u32)>,
    /// Who has voted.
    voters: Vec<u32>,
    due: Instant,
}

/// What becomes of a vote before it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Its tally is open.
    Open,
    /// It would be the first of its tally.
    First,
    /// Too old, not of this time yet, completed before, voted already, or too many.
    Rejected(&'static str),
}

/// A tally that is over.
#[derive(Debug)]
pub(super) struct Completed {
    pub(super) key: Box<str>,
    /// Votes that never came.
    pub(super) missing: usize,
    /// Payload of the message that tells the result, if that is wanted.
    pub(super) message: Option<String>,
}

impl Tallies {
    /// Judges a vote. `told_ms` is session time as told, `now_ms` as it is.
    pub(super) fn admit(
        &mut self,
        vote: &Tutti<'_>,
        voter: u32,
        told_ms: u64,
        now_ms: f64,
    ) -> Admission {
        self.0.get_or_insert_default().admit(vote, voter, told_ms, now_ms)
    }

    /// Opens the tally of a first vote.
    pub(super) fn open(&mut self, vote: &Tutti<'_>, expecting: usize, due: Instant) {
        self.0.get_or_insert_default().open(vote, expecting, due);
    }

    /// Counts an admitted vote; returns its tally if this was the last one expected.
    ///
    /// The last vote then decides on send time, target and whether the result is wanted.
    pub(super) fn count(
        &mut self,
        vote: &Tutti<'_>,
        voter: u32,
        told_ms: u64,
    ) -> Option<Completed> {
        self.0.as_mut()?.count(vote, voter, told_ms)
    }

    /// A tally whose time is up.
    pub(super) fn take_due(&mut self, now: Instant, told_ms: u64) -> Option<Completed> {
        self.0.as_mut()?.take_due(now, told_ms)
    }

    /// When the next tally is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.as_ref()?.deadline()
    }

    /// Completed tallies as a JSON object: key to send time.
    pub(super) fn write_completed(&mut self, told_ms: u64, json: &mut String) {
        match &mut self.0 {
            Some(kept) => kept.write_completed(told_ms, json),
            None => json.push_str("{}"),
        }
    }

    /// Remembers a completed tally that was stored; `key` is raw JSON.
    pub(super) fn restore(&mut self, key: &str, send_time: f64) {
        self.0.get_or_insert_default().restore(key, send_time);
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn invariants(&self) {
        if let Some(kept) = &self.0 {
            kept.invariants();
        }
    }
}

impl Kept {
    fn admit(&mut self, vote: &Tutti<'_>, voter: u32, told_ms: u64, now_ms: f64) -> Admission {
        if self.open_bytes + vote.payload.len() > OPEN_BYTES_MAX {
            return Admission::Rejected("too many votes");
        }
        if let Some(tally) = self.open.iter().find(|tally| *tally.key == *vote.key) {
            let voted = tally.voters.contains(&voter);
            return if voted { Admission::Rejected("second vote") } else { Admission::Open };
        }
        let limit = self.clean_up(told_ms);
        if vote.send_time < limit {
            Admission::Rejected("old tally")
        } else if vote.send_time > now_ms + AHEAD_MS_MAX {
            Admission::Rejected("tally of the future")
        } else if self.completed.iter().any(|(key, _)| **key == *vote.key) {
            Admission::Rejected("completed tally")
        } else if self.open.len() == OPEN_MAX {
            Admission::Rejected("too many tallies")
        } else {
            Admission::First
        }
    }

    fn open(&mut self, vote: &Tutti<'_>, expecting: usize, due: Instant) {
        self.open.push(Tally {
            key: vote.key.into(),
            send_time: vote.send_time,
            wants_vote: vote.wants_vote,
            target: vote.target.into(),
            expecting,
            votes: Vec::new(),
            voters: Vec::new(),
            due,
        });
    }

    fn count(&mut self, vote: &Tutti<'_>, voter: u32, told_ms: u64) -> Option<Completed> {
        let at = self.open.iter().position(|tally| *tally.key == *vote.key)?;
        let tally = &mut self.open[at];
        tally.voters.push(voter);
        match tally.votes.iter_mut().find(|(payload, _)| **payload == *vote.payload) {
            Some((_, count)) => *count += 1,
            None => {
                tally.votes.push((vote.payload.into(), 1));
                self.open_bytes += vote.payload.len();
            }
        }
        tally.expecting = tally.expecting.saturating_sub(1);
        if tally.expecting > 0 {
            return None;
        }
        tally.send_time = vote.send_time;
        tally.wants_vote = vote.wants_vote;
        tally.target = vote.target.into();
        Some(self.complete(at, told_ms))
    }

    fn take_due(&mut self, now: Instant, told_ms: u64) -> Option<Completed> {
        self.deadline().filter(|&due| due <= now)?;
        Some(self.complete(0, told_ms))
    }

    fn deadline(&self) -> Option<Instant> {
        self.open.first().map(|tally| tally.due)
    }

    fn write_completed(&mut self, told_ms: u64, json: &mut String) {
        self.clean_up(told_ms);
        let sentinel = self.sentinel.map(|time| (SENTINEL, time));
        let all = self.completed.iter().map(|(key, time)| (&**key, *time)).chain(sentinel);
        json.push('{');
        for (at, (key, time)) in all.enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(json, "{comma}{key}:{time}");
        }
        json.push('}');
    }

    fn restore(&mut self, key: &str, send_time: f64) {
        if key == SENTINEL {
            self.sentinel = Some(send_time);
        } else {
            self.completed.push((key.into(), send_time));
        }
    }

    #[cfg(test)]
    fn invariants(&self) {
        assert!(self.open.len() <= OPEN_MAX);
        assert!(self.completed.len() <= COMPLETED_MAX);
        assert!(self.open.iter().is_sorted_by_key(|tally| tally.due));
        let votes = self.open.iter().flat_map(|tally| &tally.votes);
        assert_eq!(self.open_bytes, votes.map(|(payload, _)| payload.len()).sum::<usize>());
        assert!(self.open_bytes <= OPEN_BYTES_MAX);
        assert!(self.open.iter().all(|tally| tally.votes.len() <= tally.voters.len()));
    }

    fn complete(&mut self, at: usize, told_ms: u64) -> Completed {
        let tally = self.open.remove(at);
        self.open_bytes -= tally.votes.iter().map(|(payload, _)| payload.len()).sum::<usize>();
        let telling = tally.wants_vote || tally.votes.len() > 1;
        let message = telling.then(|| tally.payload());
        self.completed.push((tally.key.clone(), tally.send_time));
        self.clean_up(told_ms);
        Completed { key: tally.key, missing: tally.expecting, message }
    }

    /// Forgets old completed tallies; returns the send time below which none is accepted.
    ///
    /// If there are too many young ones the oldest go as well, and the newest of those gone stays
    /// behind as the sentinel, which then is the limit.
    fn clean_up(&mut self, told_ms: u64) -> f64 {
        let mut limit = (told_ms + 1).saturating_sub(COMPLETED_AGE_MS) as f64;
        let times = self.completed.iter().map(|&(_, time)| time).chain(self.sentinel);
        let mut young: Vec<f64> = times.filter(|&time| time >= limit).collect();
        let mut sentinel = None;
        if young.len() > COMPLETED_MAX {
            young.sort_by(|a, b| b.total_cmp(a));
            limit = young[COMPLETED_MAX - 2];
            sentinel = Some(young[COMPLETED_MAX - 1]);
        }
        self.completed.retain(|&(_, time)| time >= limit);
        // Many may share one send time.
        let excess = self.completed.len().saturating_sub(COMPLETED_MAX);
        self.completed.drain(..excess);
        self.sentinel = sentinel.or_else(|| self.sentinel.filter(|&time| time >= limit));
        self.sentinel.unwrap_or(limit)
    }
}

/// Where the sentinel is kept among the stored completed tallies.
const SENTINEL: &str = "\"sentinel\"";

impl Tally {
    /// Payload of the message that tells the result.
    fn payload(&self) -> String {
        let mut json = String::from(r#"{"what":"tally""#);
        let _ = write!(json, r#","sendTime":{},"tally":{{"#, self.send_time);
        for (at, (payload, count)) in self.votes.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(json, "{comma}{payload}:{count}");
        }
        let (target, key, missing) = (&self.target, &self.key, self.expecting);
        let _ = write!(
            json,
            r#"}},"tallyTarget":{target},"tuttiKey":{key},"missingClients":{missing}"#
        );
        sized(json)
    }
}

//! What each run of a client made its next tree from.
//!
//! A client's tree was made from what it announced last, or from one that it has read since and put
//! in place of its own. Reading is seen; putting in place is not, and what the server merges on a
//! wrong base loses edits: whatever the base has and the tree has not counts as deleted. So all that
//! a tree may have been made from are remembered, in this order:
//!
//! - What the client announced last. It is the oldest: all that it was made from is part of the
//!   latest tree.
//! - What it has read, in the order of reading. A client looks after its folder no more while it
//!   fetches a tree and puts it in place, but what it had noticed before it still announces, a
//!   debounce later (§9). So what comes soon after the reading of a root says little about it, and
//!   what comes later was made from it, unless the tree itself speaks against that: fetching may
//!   fail. [`plausible`](super::super::merge::plausible) finds that out.
//! - What it has read shortly before it announced: it may have put that in place afterwards, over
//!   what it announced. Nothing but the tree itself tells, or, where that was long enough ago for all
//!   but a slow network, if the tree itself says so.
//! - What was read on a connection that had not told whose it was, while the client was away: it may have
//!   been the client's, and broken since, seen or unseen. What an earlier process saw of such connections nobody knows: by
//!   a run of which that process left something parked, it may have been anything.
//!
//! Where that leaves several, the merge keeps what any of them would keep: a deletion that is undone
//! is a lesser evil than an edit that is lost. A base that is missing here is no harm as long as an
//! older one is there, since what others did in between looks as if the client had done it, too.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use smallvec::SmallVec;

use super::Ref;
use crate::codec::rljson::EMPTY_ROOT;
use crate::protocol::rljson::merge::Trust;
use crate::session::Instant;

/// Runs of clients that are remembered for a route; the one silent for longest is forgotten.
pub const ORIGINS_MAX: usize = 4096;
/// Trees that a client has read and may have put in place; the oldest ones are forgotten.
pub const READS_MAX: usize = 4;
/// Trees that were read nobody knows by whom, and are remembered for a route.
const STRAYS_MAX: usize = 64;
/// From the reading of a root to the last that is announced of what was there before: 300 ms of
/// debounce (§9), and at least 15 ms of storing. Who edits a file the moment that it has come announces
/// that hardly later, after some 350 ms.
pub const HURRIED: Duration = Duration::from_millis(330);
/// The same where the network is slow: what was announced within it may have been overwritten later.
pub const OVERWRITTEN_WITHIN: Duration = Duration::from_secs(3);
/// From the reading of a root to its tree's being in place for sure: fetching may take 20 s, restoring
/// 15 s; who failed reads the root again within 20 s (§9).
pub const SETTLED: Duration = Duration::from_secs(60);

/// A tree that a client may have made its next one from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// None is a tree without files.
    pub(super) reference: Option<Ref>,
    pub(super) trust: Trust,
}

/// A tree whose root a client read.
#[derive(Clone, Debug)]
pub(super) struct Read {
    reference: Ref,
    /// When it was read first.
    first: Instant,
    /// When it was read last.
    last: Instant,
    worth: Worth,
}

/// What the reading of a tree tells of what the client has in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// What the time since tells.
    New,
    /// It was put in place for sure: after [`SETTLED`] the client was still there.
    Settled,
    /// The client announced something afterwards, made from it or not; or it was another client.
    Doubtful(Trust),
}

/// What becomes of a client's reads.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settles {
    /// Something is in place now.
    pub(super) some: bool,
    /// Something may be later.
    pub(super) more: bool,
}

/// What a client may have made its next tree from.
#[derive(Clone, Debug, Default)]
pub(super) struct Bases {
    /// What it announced last; none at first, a tree without files.
    own: Option<Ref>,
    /// Oldest first.
    reads: SmallVec<[Read; 1]>,
}

impl Bases {
    /// What it announced last.
    pub(super) fn own(&self) -> Option<&Ref> {
        self.own.as_ref()
    }

    /// What it has read since, or may have put in place all the same.
    pub(super) fn reads(&self) -> impl ExactSizeIterator<Item = (&Ref, Worth)> {
        self.reads.iter().map(|read| (&read.reference, read.worth))
    }

    /// What it had read before a restart, nobody knows when.
    pub(super) fn restore_reads(&mut self, reads: Vec<(Ref, Worth)>) {
        let at = Instant::default();
        let restored = |(reference, worth)| Read { reference, first: at, last: at, worth };
        self.reads = reads.into_iter().map(restored).collect();
    }

    /// The client is there, or was until `left`: what it has read long ago is in place.
    fn settle(&mut self, left: Option<Instant>, now: Instant) -> Settles {
        let mut settles = Settles::default();
        for read in self.reads.iter_mut().filter(|read| read.worth == Worth::New) {
            if read.last + SETTLED <= left.unwrap_or(now) {
                (read.worth, settles.some) = (Worth::Settled, true);
            } else {
                settles.more |= left.is_none();
            }
        }
        settles
    }

    /// Whether there is but one.
    pub(super) fn is_sure(&self) -> bool {
        self.reads.is_empty()
    }

    /// Whether the client puts something in place over what it announced at `at`: what it had read just
    /// before, or has read since.
    pub(super) fn is_overwritten(&self, at: Instant) -> bool {
        self.reads.iter().any(|read| at < read.last + HURRIED)
    }

    /// What the client announced at `at` is part of the latest tree.
    pub(super) fn announced(&mut self, reference: Ref, at: Instant) {
        let may_follow = |read: &mut Read| at < read.last + OVERWRITTEN_WITHIN;
        self.reads.retain(|read| read.worth != Worth::Settled && may_follow(read));
        for read in self.reads.iter_mut().filter(|read| read.first <= at) {
            let is_open = at < read.last + HURRIED || read.worth == Worth::Doubtful(Trust::Open);
            read.worth = Worth::Doubtful(if is_open { Trust::Open } else { Trust::Unlikely });
        }
        self.own = Some(reference);
    }

    /// The client read the root of a tree. Whether that was not known, but for the time.
    pub(super) fn read(&mut self, reference: Ref, now: Instant) -> bool {
        let newest = self.reads.last();
        let is_known =
            newest.is_some_and(|read| read.reference == reference && read.worth == Worth::New);
        let again = self.reads.iter().position(|read| read.reference == reference);
        let again = again.map(|again| self.reads.remove(again));
        if self.reads.len() == READS_MAX {
            self.reads.remove(0);
        }
        let first = again.map_or(now, |again| again.first);
        self.reads.push(Read { reference, first, last: now, worth: Worth::New });
        !is_known
    }

    /// What a tree announced at `at` may have been made from, oldest first; never empty.
    pub(super) fn of(&self, at: Instant) -> Vec<Candidate> {
        let own = Candidate { reference: self.own.clone(), trust: Trust::Likely };
        let mut candidates = vec![own];
        for read in self.reads.iter().filter(|read| read.first <= at) {
            let trust = match read.worth {
                Worth::Doubtful(trust) => trust,
                Worth::New if at < read.last + HURRIED => Trust::Open,
                Worth::New | Worth::Settled => Trust::Likely,
            };
            let is_settled = read.worth == Worth::Settled || read.last + SETTLED <= at;
            if is_settled && trust == Trust::Likely {
                candidates.clear();
            }
            let reference = Some(Ref::clone(&read.reference));
            candidates.push(Candidate { reference, trust });
        }
        // Of a tree that it announced itself, or read twice, reading tells nothing new.
        candidates.dedup_by(|later, earlier| later.reference == earlier.reference);
        candidates
    }

    /// The client may have read these as well.
    pub(super) fn doubt(&mut self, reads: impl Iterator<Item = Read>) {
        for read in reads {
            if self.reads.iter().all(|own| own.reference != read.reference) {
                self.reads.push(Read { worth: Worth::Doubtful(Trust::Open), ..read });
            }
        }
        self.reads.sort_by_key(|read| read.last);
        let excess = self.reads.len().saturating_sub(READS_MAX);
        self.reads.drain(..excess);
    }

    /// The client may have read anything: what its next tree lacks it need not have deleted.
    pub(super) fn doubt_all(&mut self, now: Instant) {
        let (reference, worth) = (EMPTY_ROOT.as_str().into(), Worth::New);
        self.doubt(std::iter::once(Read { reference, first: now, last: now, worth }));
    }

    /// The client, gone since `left`, is back at `now`: what it sends first it may have made before it
    /// put in place what it had read.
    pub(super) fn resume(&mut self, left: Instant, now: Instant) {
        let unsettled =
            |read: &&mut Read| read.worth != Worth::Settled && left < read.last + SETTLED;
        self.reads.iter_mut().filter(unsettled).for_each(|read| read.last = now);
    }

    /// Takes over what was read before the client told its origin.
    pub(super) fn extend(&mut self, read: Self) {
        for read in read.reads {
            self.read(read.reference, read.last);
        }
    }
}

/// What was read on connections that have not told whose they are, each tree once, by when it was read last.
#[derive(Debug, Default)]
pub(super) struct Strays(VecDeque<Read>);

impl Strays {
    /// This was read on such a connection.
    pub(super) fn read(&mut self, reference: Ref, now: Instant) {
        self.0.retain(|read| read.reference != reference);
        if self.0.len() == STRAYS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Read { reference, first: now, last: now, worth: Worth::New });
    }

    /// What a client may have read that is gone since `left`, by what is known of its connection.
    pub(super) fn since(&self, left: Instant) -> impl Iterator<Item = Read> {
        self.0.iter().filter(move |read| left < read.last + SETTLED).cloned()
    }
}

/// A run of a client.
#[derive(Debug, Default)]
pub(super) struct Origin {
    pub(super) bases: Bases,
    /// When its connection ended.
    pub(super) left: Option<Instant>,
    /// An earlier process heard something of it of which nothing came yet.
    pub(super) is_parked: bool,
    /// Grows with each use.
    used: u64,
}

/// All runs of clients that announced anything on a route.
#[derive(Debug, Default)]
pub(super) struct Origins {
    origins: BTreeMap<Box<str>, Origin>,
    /// By use, the longest silent first.
    by_use: BTreeMap<u64, Box<str>>,
    uses: u64,
}

impl Origins {
    /// The run of this name, remembered from now on.
    pub(super) fn entry(&mut self, name: &str) -> &mut Origin {
        self.uses += 1;
        match self.origins.get(name) {
            Some(origin) => drop(self.by_use.remove(&origin.used)),
            None if self.origins.len() >= ORIGINS_MAX => self.forget_one(),
            None => {}
        }
        self.by_use.insert(self.uses, name.into());
        let origin = self.origins.entry(name.into()).or_default();
        origin.used = self.uses;
        origin
    }

    pub(super) fn get(&self, name: &str) -> Option<&Origin> {
        self.origins.get(name)
    }

    /// The run of this name, as an earlier process knew it: its connection ended with that.
    pub(super) fn restore(&mut self, name: &str) -> &mut Bases {
        let origin = self.entry(name);
        origin.left = Some(Instant::default());
        &mut origin.bases
    }

    /// An earlier process heard something of the run of this name of which nothing came yet.
    pub(super) fn park(&mut self, name: &str) {
        let origin = self.entry(name);
        origin.left.get_or_insert_default();
        origin.is_parked = true;
    }

    /// Each run with what it may make its next tree from, the longest silent first.
    pub(super) fn bases(&self) -> Vec<(&str, &Bases)> {
        let of = |name: &str| self.origins.get_key_value(name);
        let of = self.by_use.values().filter_map(|name| of(name));
        of.map(|(name, origin)| (&**name, &origin.bases)).collect()
    }

    /// Looks at what the run of this name has in place.
    pub(super) fn settle(&mut self, name: &str, now: Instant) -> Settles {
        let settle = |origin: &mut Origin| origin.bases.settle(origin.left, now);
        self.origins.get_mut(name).map(settle).unwrap_or_default()
    }

    fn forget_one(&mut self) {
        if let Some((_, name)) = self.by_use.pop_first() {
            self.origins.remove(&name);
        }
    }
}

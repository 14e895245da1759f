//! What was announced and is still on its way: a ref is taken up, and others are told of it, when
//! all that its tree needs is here. So what is told of can be had, and whoever goes in the middle of
//! it leaves nobody waiting.
//!
//! A ref whose announcer has gone by then is *parked*: nobody is told of it, the journal keeps it,
//! and whoever comes to its route is asked for what is missing.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use smallvec::SmallVec;

use super::fill::Fill;
use crate::protocol::rljson::route::{Announcement, NOBODY, Payload, Ref, root_of};
use crate::protocol::socketio::Socket;
use crate::session::Instant;

/// Refs of a route that may be on their way; beyond it they are refused.
pub(super) const COMING_MAX: usize = 1024;
/// Bytes of their payloads, the first not counted.
pub(super) const COMING_BYTES_MAX: usize = 4 << 20;
/// Refs of one client that may be on their way; beyond it they are refused.
pub(in crate::protocol::rljson) const COMING_OF_CLIENT_MAX: usize = 16;
/// Refs of one run that may be on their way; a further one takes the place of the newest.
pub(super) const COMING_OF_RUN_MAX: usize = 4;
/// Refs of a route that may be parked; beyond it the oldest is given up.
pub(in crate::protocol::rljson) const PARKED_MAX: usize = 64;
/// Trees of a route that are fetched at once.
pub(super) const FILLS_MAX: usize = 16;
/// Those of them that one client is asked for.
pub(super) const FILLS_OF_CLIENT_MAX: usize = 2;
/// From a client's coming to its being asked for what is parked: it may only begin to listen.
pub(in crate::protocol::rljson) const ASK_AFTER: Duration = Duration::from_millis(500);
/// Clients that are to be asked for what is parked, one after another.
const ASKED_MAX: usize = 8;
/// From a ref's coming to its announcer's being told that it was not taken up yet. Clients wait 10 s
/// (specs: rljson §4), and take that for a connection that is broken.
pub(in crate::protocol::rljson) const TELL_AFTER: Duration = Duration::from_secs(8);

/// From a ref's coming, and the last answer of its announcer to anything, to its being taken for none of a
/// tree if that, though there, answers nothing: longer than it takes to find out that it is gone.
pub(in crate::protocol::rljson) const SILENT_WITHIN: Duration = Duration::from_secs(60);

/// How far a ref is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody was asked for its tree yet.
    Ahead,
    /// Its tree is being fetched.
    Filling,
    /// All of its tree is here, or it has none.
    Held,
    /// Nobody there has its tree.
    Parked,
}

/// A ref on its way.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) announced: Announcement,
    pub(super) state: State,
    pub(super) fill: Option<Fill>,
    /// How often whoever has it did not answer in time.
    pub(super) tries: u32,
    /// Clients that came since it was parked, and when each can be asked.
    ahead: VecDeque<(Instant, Socket)>,
    /// When its announcer is told that it takes long.
    tell_at: Option<Instant>,
}

impl Entry {
    pub(super) fn reference(&self) -> &Ref {
        self.announced.payload.reference()
    }

    /// Whether it is of the run that sends as this origin on this connection.
    fn is_of(&self, from: Socket, origin: &str) -> bool {
        // Who announced nothing that has a name, and is gone, is nobody: it may be anybody.
        (!origin.is_empty() || from != NOBODY) && self.announced.is_of(from, origin)
    }

    fn text(&self) -> &str {
        self.announced.payload.as_str()
    }
}

/// What became of a ref that was announced.
#[derive(Debug)]
pub(super) enum Pushed {
    /// It is on its way.
    Comes,
    /// The same, in the place of this one.
    Replaced(Box<Announcement>),
    /// Too many are.
    Refused,
}

/// All refs of a route that are on their way, oldest first.
#[derive(Debug, Default)]
pub(super) struct Coming {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Coming {
    /// A ref is announced. If `replaces` is set it has what the newest of its run has.
    pub(super) fn push(&mut self, announced: Announcement, replaces: bool) -> Pushed {
        let (from, origin) = (announced.from, announced.payload.origin());
        let mut own =
            (0..self.entries.len()).filter(|place| self.entries[*place].is_of(from, origin));
        let (count, newest) = (own.clone().count(), own.next_back());
        // One whose tree is being fetched goes on: who announces without end would never be heard.
        let may_go = |entry: &Entry| replaces && matches!(entry.state, State::Ahead);
        let newest = newest.filter(|at| may_go(&self.entries[*at]) || count >= COMING_OF_RUN_MAX);
        let len = announced.payload.as_str().len();
        // What it is asked for is not its own.
        let is_own = |entry: &&Entry| entry.announced.from == from && !entry.announced.is_orphan;
        let of_client = self.entries.iter().filter(is_own).count();
        let is_full = self.entries.len() >= COMING_MAX
            || of_client >= COMING_OF_CLIENT_MAX
            || self.bytes + len > COMING_BYTES_MAX;
        if newest.is_none() && is_full && !self.entries.is_empty() {
            return Pushed::Refused;
        }
        let replaced = newest.and_then(|newest| self.entries.remove(newest));
        self.bytes += len;
        self.bytes -= replaced.as_ref().map_or(0, |entry| entry.text().len());
        let is_tree = root_of(announced.payload.reference()).is_some();
        self.entries.push_back(Entry {
            state: if is_tree { State::Ahead } else { State::Held },
            fill: None,
            tries: 0,
            ahead: VecDeque::new(),
            tell_at: Some(announced.at + TELL_AFTER),
            announced,
        });
        match replaced {
            Some(replaced) => Pushed::Replaced(Box::new(replaced.announced)),
            None => Pushed::Comes,
        }
    }

    /// What an earlier process knew of.
    pub(super) fn restore(&mut self, payload: Payload, number: u64) {
        let (from, at) = (NOBODY, Instant::default());
        let announced =
            Announcement { is_orphan: true, ..Announcement::new(from, payload, at, number) };
        match self.push(announced, false) {
            Pushed::Comes | Pushed::Replaced(_) => drop(self.park(number)),
            Pushed::Refused => {}
        }
    }

    /// This was taken up, and with it what its run announced before.
    pub(super) fn taken_up(&mut self, payload: &Payload) {
        let is_it = |it: &&Announcement| it.payload.as_str() == payload.as_str();
        let number = self.announced().find(is_it).map(|it| it.number);
        if let Some(number) = number {
            self.remove_older(number, NOBODY, payload);
            self.remove(number);
        }
    }

    /// Nothing came of this payload.
    pub(super) fn dropped(&mut self, payload: &str) {
        self.entries.retain(|entry| entry.text() != payload);
        self.bytes = self.payloads().map(str::len).sum();
    }

    /// Removes what the run of a payload announced before it.
    fn remove_older(&mut self, number: u64, from: Socket, payload: &Payload) -> Vec<Announcement> {
        let is_older =
            |entry: &&Entry| entry.announced.number < number && entry.is_of(from, payload.origin());
        let older = self.entries.iter().filter(is_older).map(|entry| entry.announced.number);
        let older: Vec<u64> = older.collect();
        older.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    fn announced(&self) -> impl DoubleEndedIterator<Item = &Announcement> + ExactSizeIterator {
        self.entries.iter().map(|entry| &entry.announced)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.announced.number == number)
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Announcement> {
        let place = self.announced().position(|announced| announced.number == number)?;
        let entry = self.entries.remove(place)?;
        self.bytes -= entry.text().len();
        Some(entry.announced)
    }

    /// Whether there is one whose tree is here.
    pub(super) fn has_held(&self) -> bool {
        self.entries.iter().any(|entry| entry.state == State::Held)
    }

    /// The oldest whose tree is here and that need not wait for an older one of its run that is on its
    /// way: `is_sure` tells whether it has all of that. Older ones are over with it.
    pub(super) fn next_held(
        &mut self,
        is_sure: impl Fn(&Announcement) -> bool,
    ) -> Option<(Announcement, Vec<Announcement>)> {
        let held = self.entries.iter().enumerate().find(|(place, entry)| {
            let Announcement { from, payload, .. } = &entry.announced;
            let is_ahead = |older: &Entry| {
                older.state != State::Parked && older.is_of(*from, payload.origin())
            };
            entry.state == State::Held
                && (!self.entries.range(..*place).any(is_ahead) || is_sure(&entry.announced))
        });
        let number = held.map(|(_, entry)| entry.announced.number)?;
        let held = self.remove(number)?;
        let over = self.remove_older(number, held.from, &held.payload);
        Some((held, over))
    }

    /// The next whose tree is to be fetched now: first those that nobody was late with yet.
    pub(super) fn next_fill(&mut self) -> Option<&mut Entry> {
        let of_state = |state| {
            let entries = self.entries.iter().filter(move |entry| entry.state == state);
            entries.map(|entry| (entry.announced.from, entry))
        };
        let asked: SmallVec<[Socket; FILLS_MAX]> =
            of_state(State::Filling).map(|(from, _)| from).collect();
        if asked.len() >= FILLS_MAX {
            return None;
        }
        let of = |from| asked.iter().filter(|socket| **socket == from).count();
        let may_go = of_state(State::Ahead).filter(|(from, _)| of(*from) < FILLS_OF_CLIENT_MAX);
        let next = may_go.map(|(_, entry)| entry).min_by_key(|entry| entry.tries)?;
        self.get_mut(next.announced.number)
    }

    /// A client came to the route: it is to be asked for what is parked.
    pub(super) fn ask(&mut self, socket: Socket, now: Instant) {
        for entry in self.entries.iter_mut().filter(|entry| entry.announced.is_orphan) {
            if entry.ahead.len() < ASKED_MAX {
                entry.ahead.push_back((now + ASK_AFTER, socket));
            }
        }
    }

    /// A client is gone: what it announced, or was asked for, is parked. Which refs those are, and what
    /// is given up for them.
    pub(super) fn leave(&mut self, gone: Socket) -> (Vec<u64>, Vec<Announcement>) {
        for entry in &mut self.entries {
            entry.ahead.retain(|(_, socket)| *socket != gone);
        }
        let is_lost = |entry: &&Entry| entry.announced.from == gone && entry.state != State::Held;
        let lost = self.entries.iter().filter(is_lost).map(|entry| entry.announced.number);
        let lost: Vec<u64> = lost.collect();
        let given_up = lost.iter().filter_map(|number| self.park(*number)).collect();
        for entry in self.entries.iter_mut().filter(|entry| entry.announced.from == gone) {
            (entry.announced.from, entry.tell_at) = (NOBODY, None);
        }
        (lost, given_up)
    }

    /// A client that was asked for what is parked does not answer: it is not asked for more of that.
    pub(super) fn skip(&mut self, silent: Socket) {
        for entry in self.entries.iter_mut().filter(|entry| entry.announced.is_orphan) {
            entry.ahead.retain(|(_, socket)| *socket != silent);
            if entry.state == State::Ahead && entry.announced.from == silent {
                (entry.state, entry.announced.from) = (State::Parked, NOBODY);
            }
        }
    }

    /// Clients whose trees are not taken into account yet: they are not to put others in their place.
    pub(super) fn sockets(&self) -> BTreeSet<Socket> {
        let all = self.entries.iter().flat_map(|entry| {
            let ahead = entry.ahead.iter().map(|(_, socket)| *socket);
            ahead.chain([entry.announced.from])
        });
        all.filter(|socket| *socket != NOBODY).collect()
    }

    /// Whoever announced a ref, or was asked for it, has not got its tree. What is given up for it.
    pub(super) fn park(&mut self, number: u64) -> Option<Announcement> {
        let entry = self.get_mut(number)?;
        (entry.state, entry.fill, entry.tell_at) = (State::Parked, None, None);
        (entry.announced.from, entry.announced.is_orphan) = (NOBODY, true);
        let parked = || self.announced().filter(|announced| announced.is_orphan);
        let oldest = parked().next().filter(|_| parked().count() > PARKED_MAX)?.number;
        self.remove(oldest)
    }

    /// Turns to the next clients for what is parked.
    pub(super) fn ask_next(&mut self, now: Instant) {
        for entry in self.entries.iter_mut().filter(|entry| entry.state == State::Parked) {
            if let Some((_, socket)) = entry.ahead.pop_front_if(|(at, _)| *at <= now) {
                (entry.state, entry.announced.from) = (State::Ahead, socket);
            }
        }
    }

    /// Who is to be told that what it announced takes long, and of which ref.
    pub(super) fn take_late(&mut self, now: Instant) -> Vec<(Socket, Ref)> {
        let is_late = |entry: &&mut Entry| entry.tell_at.is_some_and(|at| at <= now);
        let mut late = Vec::new();
        for entry in self.entries.iter_mut().filter(is_late) {
            (entry.tell_at, entry.announced.is_answered) = (None, true);
            late.push((entry.announced.from, Ref::clone(entry.reference())));
        }
        late
    }

    /// When something is next due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let parked = self.entries.iter().filter(|entry| entry.state == State::Parked);
        let ask = parked.filter_map(|entry| entry.ahead.front().map(|(at, _)| *at));
        let late = self.entries.iter().filter_map(|entry| entry.tell_at);
        ask.chain(late).min()
    }

    /// Refs whose trees are to be kept.
    pub(super) fn refs(&self) -> impl Iterator<Item = &Ref> {
        self.entries.iter().map(Entry::reference)
    }

    /// The runs that announced them, each as often as it did; empty where nobody said which.
    pub(super) fn origins(&self) -> impl Iterator<Item = &str> {
        self.announced().map(|announced| announced.payload.origin())
    }

    /// The payloads, oldest first.
    pub(super) fn payloads(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entries.iter().map(Entry::text)
    }
}

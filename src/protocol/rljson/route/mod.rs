//! A route: what its clients announce, one after another, and what everybody is told (specs: rljson
//! §4, §8).
//!
//! How it is called: [`Route::announce`] takes a payload in, [`Route::next_work`] gives the one whose turn
//! it is. If that is a [`Work::Merge`], the caller fetches rows and merges, in its own time, and says
//! what came of it ([`Route::finish`]); nothing else is taken up before. What is to be said comes out
//! as [`Said`].
//!
//! Invariants:
//! - The latest ref has everything that was taken up, but for what a merge decided against.
//! - A ref goes to others than its sender only if it is the latest.
//! - Who has announced or read the latest ref is not told of it again by a bootstrap: it would restore
//!   an older tree over what it has changed since (§7).
//! - Nor is anybody told anything whose own tree is still being fetched ([`Route::hold_back`]): it would
//!   put another in its place. It is told afterwards.
//! - Of each run of a client only the newest payload waits, unless it has read a tree meanwhile: then
//!   an earlier one may have what a later one has not.
//!
//! This differs from §8 in one thing: reading a root does not make the next ref a fast-forward at
//! once, since a client may have announced its own change before it put in place what it read. See
//! [`origins`].

mod acks;
mod announcement;
mod bootstrap;
mod log;
mod origins;
mod payload;
mod queue;
mod stored;
mod telling;
mod unrecorded;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::merge::{Base, Trust};
use crate::codec::rljson::Hash;
use crate::protocol::socketio::Socket;
use crate::session::{Instant, MemberId};
use acks::Acks;
use bootstrap::Bootstraps;
use log::Log;
use origins::{Bases, Candidate, Origins, Strays};
use queue::{Pushed, Queue};
use telling::Standing;
use unrecorded::Unrecorded;
use work::server_payload;

pub use acks::{ACK_WITHIN, ACKS_MAX, Ack};
pub use announcement::Announcement;
pub use bootstrap::{MIN_PACE, PACE};
pub use log::{GAP_FILL_REFS_MAX, GapFill, LOG_BYTES_MAX, LOG_REFS_MAX};
pub use origins::{HURRIED, ORIGINS_MAX, OVERWRITTEN_WITHIN, READS_MAX, SETTLED};
pub use payload::{
    NAME_BYTES_MAX, PAYLOAD_BYTES_MAX, PREDECESSORS_MAX, Payload, PayloadError, Ref, root_of,
};
pub use queue::{QUEUE_BYTES_MAX, QUEUE_MAX, QUEUE_OF_RUN_MAX};
pub use stored::{Change, Reads, StoredError};
pub use work::{Announced, Crossing, Outcome, Said, Work};

/// Who announced what nobody there has announced: whoever did is gone, and its number may be another's.
pub const NOBODY: Socket = Socket { member: MemberId(u32::MAX), namespace: 0 };

/// A client on the route.
#[derive(Debug, Default)]
struct Client {
    /// The number of what had been announced last when it came.
    came: u64,
    /// The run it belongs to, once it has announced anything.
    origin: Option<Box<str>>,
    /// What it read before.
    read: Bases,
    /// The ref that it announced or read last.
    has: Option<Ref>,
    /// The ref that it announced last.
    announced: Option<Ref>,
    /// What it did on its connection. What it announced on an earlier one is fetched from it all the same.
    done: Done,
    /// The number of the newest that it announced, here or on an earlier connection, as far as that was
    /// fetched from it.
    newest: u64,
    /// The number of the newest of that that was taken in.
    taken_in: u64,
    /// The ref that it was to be told when it was told nothing, or that was the latest when it read
    /// another: it has another tree in place, though it may have that one's root, too.
    lacks: Option<Ref>,
}

/// What a client did with its tree on its connection.
#[derive(Debug, Default)]
enum Done {
    #[default]
    Nothing,
    /// It announced nothing, and read this last.
    Read(Ref),
    /// It announced something.
    Announced,
}

/// What is known of a route.
#[derive(Debug, Default)]
pub struct Route {
    latest: Option<Ref>,
    clients: BTreeMap<Socket, Client>,
    origins: Origins,
    unrecorded: Unrecorded,
    strays: Strays,
    queue: Queue,
    merging: Option<Announcement>,
    log: Log,
    acks: Acks,
    bootstraps: Bootstraps,
    /// Clients that are told of nothing for now, and those of them that were to be told something.
    held_back: BTreeSet<Socket>,
    missed: BTreeSet<Socket>,
    said: Vec<Said>,
    /// Payloads that are over, as they came.
    ended: Vec<Arc<str>>,
    /// The number of what was announced last, and what that was when a client came last.
    numbered: u64,
    came_last: u64,
}

impl Route {
    /// A route on which nothing was announced, whose clients are told the latest ref this long after
    /// they came: [`PACE`] or [`MIN_PACE`].
    pub fn new(pace: &'static [std::time::Duration]) -> Self {
        Self { bootstraps: Bootstraps::new(pace), ..Self::default() }
    }

    /// The latest ref, if any.
    pub fn latest(&self) -> Option<&Ref> {
        self.latest.as_ref()
    }

    /// Refs whose trees are to be kept, the latest first: at most `max`, each once.
    pub fn kept(&self, max: usize) -> Vec<Ref> {
        let merging = self.merging.iter().map(|merging| &merging.payload.reference);
        let all = self.latest.iter().chain(merging).chain(self.queue.refs()).chain(self.log.refs());
        let mut seen = BTreeSet::new();
        all.filter(|reference| seen.insert(Ref::clone(reference))).take(max).cloned().collect()
    }

    /// Clients on the route.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// What is to be said, oldest first. To be called after every other call.
    pub fn take_said(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }

    /// A client is on this route from now on.
    pub fn join(&mut self, socket: Socket, now: Instant) {
        self.clients.entry(socket).or_insert_with(|| {
            self.bootstraps.begin(socket, now);
            self.came_last = self.numbered;
            Client { came: self.numbered, ..Client::default() }
        });
    }

    /// A client is gone. What it announced keeps its turn.
    pub fn leave(&mut self, socket: Socket, now: Instant) {
        let origin = self.clients.remove(&socket).and_then(|client| client.origin);
        if let Some(origin) = origin {
            self.origins.entry(&origin).left = Some(now);
        }
        self.queue.orphan(socket);
        if let Some(merging) = self.merging.as_mut().filter(|merging| merging.from == socket) {
            merging.from = NOBODY;
        }
        self.bootstraps.end(socket);
        self.held_back.remove(&socket);
        self.missed.remove(&socket);
        let mut acks = Vec::new();
        self.acks.leave(socket, &mut acks);
        self.answer(acks);
    }

    /// The number of what is announced next.
    pub fn number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }

    /// A client announces something, which has this number from now on. Its tree may have to be fetched
    /// before it is to be taken in ([`Route::take_in`]).
    pub fn expect(&mut self, from: Socket, payload: &Payload, now: Instant) -> u64 {
        let number = self.number();
        self.join(from, now);
        self.know_origin(from, &payload.origin, now);
        if let Some(client) = self.clients.get_mut(&from) {
            (client.done, client.newest) = (Done::Announced, number);
        }
        number
    }

    /// Whether what a client announces has all of what it announced before.
    pub fn is_sure(&self, from: Socket, payload: &Payload) -> bool {
        self.bases(from, &payload.origin).is_none_or(Bases::is_sure)
    }

    /// A client announces something whose tree is here, or needs not be.
    pub fn announce(&mut self, from: Socket, payload: Payload, now: Instant) -> Announced {
        let number = self.expect(from, &payload, now);
        self.take_in(Announcement::new(from, payload, now, number))
    }

    /// Takes in what was announced, whether or not its announcer is still there.
    pub fn take_in(&mut self, announced: Announcement) -> Announced {
        let is_latest = self.latest.as_ref() == Some(&announced.payload.reference);
        if is_latest && !self.has_waiting(announced.from, &announced.payload.origin) {
            self.repeat(&announced);
            return Announced::Repeated;
        }
        // Made from what waits, it has all of that; made from what was read, it may not.
        let replaces = self.is_sure(announced.from, &announced.payload);
        let reference = Ref::clone(&announced.payload.reference);
        match self.queue.push(announced, replaces) {
            Pushed::Waits => Announced::Queued,
            Pushed::Replaced(older) => {
                self.replace(&older, &reference);
                Announced::Queued
            }
            Pushed::Refused(waiting) => {
                self.refuse(&waiting);
                Announced::Refused
            }
        }
    }

    /// Takes up the next payload; none if there is none, or one is being merged.
    pub fn next_work(&mut self) -> Option<Work> {
        if self.merging.is_some() {
            return None;
        }
        let waiting = loop {
            let waiting = self.queue.pop()?;
            if self.latest.as_ref() != Some(&waiting.payload.reference) {
                break waiting;
            }
            // It became so by another's announcing the same, or by going back to it.
            self.repeat(&waiting);
        };
        match self.crossing(&waiting) {
            Some(crossing) => {
                self.merging = Some(waiting);
                Some(Work::Merge(crossing))
            }
            None => Some(Work::Forwarded(self.forward(waiting))),
        }
    }

    /// What came of the merge that [`Route::next_work`] asked for; the change that is to be recorded, if
    /// there is one.
    pub fn finish(&mut self, outcome: Outcome) -> Option<Change> {
        let waiting = self.merging.take()?;
        let announced = root_of(&waiting.payload.reference);
        let root = match outcome {
            Outcome::Merged(root) if announced != Some(root) => root,
            Outcome::Merged(_) | Outcome::Impossible => return Some(self.forward(waiting)),
            Outcome::Dropped => {
                self.refuse(&waiting);
                return None;
            }
        };
        let merged: Ref = root.as_str().into();
        if self.latest.as_ref() == Some(&merged) {
            return Some(self.answer_with_latest(waiting));
        }
        let (to, payload) = (self.told(), server_payload(&merged, true));
        let others = to.iter().copied().filter(|socket| *socket != waiting.from).collect();
        self.said.push(Said::Ref { to, payload });
        Some(self.take_up(waiting, merged, others))
    }

    /// A payload has nothing that the latest tree has not: its sender is to have that. Nobody else is
    /// told again: whoever announced it would put it over what it has changed since.
    fn answer_with_latest(&mut self, waiting: Announcement) -> Change {
        self.note_announced(&waiting);
        self.acknowledge(&waiting);
        self.tell_sender(waiting.from, self.standing(&waiting));
        let payload = waiting.payload;
        let latest = self.latest.clone().unwrap_or_else(|| Ref::clone(&payload.reference));
        let change = Change { payload: Arc::clone(&payload.text), latest };
        self.log.push(payload, &change.latest);
        change
    }

    /// A client read the row of this root from the server: it is about to put that tree in place. If
    /// that is not the latest one, what it announced meanwhile may be: it is told so, or it would stay
    /// with the older tree.
    pub fn read(&mut self, socket: Socket, root: Hash, now: Instant) {
        let Some(client) = self.clients.get_mut(&socket) else { return };
        let Some(reference) = self.log.known(self.latest.as_ref(), root.as_str()) else { return };
        let announced = client.announced.as_ref();
        let is_behind =
            self.latest.as_ref() != Some(&reference) && self.latest.as_ref() == announced;
        client.has = Some(Ref::clone(&reference));
        if !matches!(client.done, Done::Announced) {
            client.done = Done::Read(Ref::clone(&reference));
            // It may be the latest's announcer, back again, and is not to be asked whether it has that.
            client.lacks = self.latest.clone().filter(|latest| *latest != reference);
        }
        match &client.origin {
            Some(origin) => {
                if self.origins.entry(origin).bases.read(reference, now) {
                    self.unrecorded.read(origin, now);
                }
            }
            None => {
                client.read.read(Ref::clone(&reference), now);
                self.strays.read(reference, now);
            }
        }
        if is_behind && self.held_back.contains(&socket) {
            // It may have fetched that for nothing, and is asked.
            self.missed.insert(socket);
        } else if is_behind {
            self.tell_latest(socket);
        }
    }

    /// A client has heard of a ref (`<route>:ack:client`).
    pub fn hear(&mut self, from: Socket, reference: &str) {
        let mut acks = Vec::new();
        self.acks.hear(from, reference, &mut acks);
        self.answer(acks);
    }

    /// Refs that a client missed, as the JSON of its answer's `refs`.
    pub fn gap_fill(&self, how: GapFill, asker: Socket, after: u64) -> String {
        let origin = self.clients.get(&asker).and_then(|client| client.origin.as_deref());
        self.log.gap_fill(how, origin, after)
    }

    /// Does what is due.
    pub fn on_deadline(&mut self, now: Instant) {
        let mut acks = Vec::new();
        self.acks.on_deadline(now, &mut acks);
        self.answer(acks);
        self.unrecorded.on_deadline(&mut self.origins, now);
        self.tell_newcomers(now);
    }

    /// When something is next due.
    pub fn deadline(&self) -> Option<Instant> {
        let own = self.acks.deadline().into_iter().chain(self.bootstraps.deadline());
        own.chain(self.unrecorded.deadline()).min()
    }

    /// From a client's first payload on, what it read belongs to its run.
    fn know_origin(&mut self, from: Socket, origin: &str, now: Instant) {
        let Some(client) = self.clients.get_mut(&from) else { return };
        if client.origin.as_deref() != Some(origin) && !origin.is_empty() {
            client.origin = Some(origin.into());
            let read = std::mem::take(&mut client.read);
            let left = self.left(from, origin);
            let known = self.origins.entry(origin);
            if let Some(left) = left {
                known.left = None;
                known.bases.doubt(self.strays.since(left));
                if std::mem::take(&mut known.is_parked) {
                    known.bases.doubt_all(now);
                }
                known.bases.resume(left, now);
            }
            known.bases.extend(read);
            if known.bases.reads().len() > 0 {
                self.unrecorded.read(origin, now);
            }
        }
    }

    /// Since when a run was away that is back on this connection, if it was here before: for all that is
    /// known, if its connection of before still passes for one.
    fn left(&self, from: Socket, origin: &str) -> Option<Instant> {
        let known = self.origins.get(origin)?;
        let is_it = |client: &Client| client.origin.as_deref() == Some(origin);
        known.left.or_else(|| {
            let mut others = self.clients.iter().filter(|(socket, _)| **socket != from);
            others.any(|(_, client)| is_it(client)).then(Instant::default)
        })
    }

    fn has_waiting(&self, from: Socket, origin: &str) -> bool {
        self.merging.as_ref().is_some_and(|merging| merging.is_of(from, origin))
            || self.queue.has_of_run(from, origin)
    }

    /// The latest ref was announced once more.
    fn repeat(&mut self, announced: &Announcement) {
        self.note_announced(announced);
        self.acknowledge(announced);
        if self.standing(announced) == Some(Standing::Overwritten) {
            self.tell_latest(announced.from);
        }
    }

    /// Tells whoever announced something that nothing came of it.
    pub fn refuse(&mut self, announced: &Announcement) {
        self.ended.push(Arc::clone(&announced.payload.text));
        if !announced.is_answered {
            self.say_late(announced.from, Ref::clone(&announced.payload.reference));
        }
    }

    /// Tells whoever announced something that nothing came of it so far.
    pub fn say_late(&mut self, from: Socket, reference: Ref) {
        if self.clients.contains_key(&from) {
            self.said.push(Said::Ack(Ack::refused(from, reference)));
        }
    }

    /// Payloads that were announced and are over, though nobody was told of them: to be called after
    /// every other call.
    pub fn take_ended(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.ended)
    }

    /// What was announced is over, since its run has announced this after it. If that is the same tree once
    /// more, which is still to be taken in, a client that is back is not to take the one for the other.
    pub fn replace(&mut self, older: &Announcement, by: &Ref) {
        if older.is_orphan && older.payload.reference == *by {
            self.ended.push(Arc::clone(&older.payload.text));
        } else {
            self.acknowledge(older);
        }
    }

    /// Acknowledges a ref that others need not be told of.
    fn acknowledge(&mut self, announced: &Announcement) {
        let Announcement { from, payload, is_answered, .. } = announced;
        let from = *from;
        self.ended.push(Arc::clone(&payload.text));
        if !is_answered && self.clients.contains_key(&from) {
            let (others, reference) = (self.clients.len() - 1, Ref::clone(&payload.reference));
            self.said.push(Said::Ack(Ack::at_once(from, reference, others)));
        }
    }

    /// What a payload has to be merged with, unless it was made from the latest ref for sure, or is
    /// none of a tree.
    fn crossing(&self, waiting: &Announcement) -> Option<Crossing> {
        let latest = self.latest.as_ref()?;
        let payload = &waiting.payload;
        if payload.predecessors.iter().any(|base| **base == **latest) {
            return None;
        }
        let bases = self.bases(waiting.from, &payload.origin);
        let bases =
            bases.map_or_else(|| Bases::default().of(waiting.at), |bases| bases.of(waiting.at));
        if matches!(&bases[..], [only] if only.reference.as_ref() == Some(latest)) {
            return None;
        }
        let is_old = bases.iter().all(|base| base.reference.is_none())
            && self.log.known(None, &payload.reference).is_some();
        // A new run that begins with a tree of old: a client that was started again on its folder.
        let own =
            Candidate { reference: Some(Ref::clone(&payload.reference)), trust: Trust::Likely };
        let bases = if is_old { vec![own] } else { bases };
        let (latest, announced) = (root_of(latest)?, root_of(&payload.reference)?);
        let base = |candidate: &Candidate| Base {
            root: candidate.reference.as_deref().and_then(root_of),
            trust: candidate.trust,
        };
        let bases = bases.iter().map(base).collect();
        Some(Crossing { from: waiting.from, bases, latest, announced })
    }

    /// What whoever sends as this origin on this connection may have made its next tree from.
    fn bases(&self, from: Socket, origin: &str) -> Option<&Bases> {
        match origin {
            "" => self.clients.get(&from).map(|client| &client.read),
            origin => self.origins.get(origin).map(|origin| &origin.bases),
        }
    }

    /// Makes a payload the latest ref, and tells everybody else.
    fn forward(&mut self, waiting: Announcement) -> Change {
        let (from, told) = (waiting.from, Ref::clone(&waiting.payload.reference));
        // It has something else in place of what it announced, or is about to.
        let standing = self.standing(&waiting);
        let bases = self.bases(from, &waiting.payload.origin);
        let is_overwritten = bases.is_some_and(|bases| bases.is_overwritten(waiting.at));
        let has_another = is_overwritten || standing != Some(Standing::Newest);
        let others = self.relay(&waiting, is_overwritten);
        let change = self.take_up(waiting, told, others);
        if has_another {
            self.tell_sender(from, standing);
        }
        change
    }

    /// A payload is taken into account: `latest` has all that it had. The others have been told.
    fn take_up(&mut self, waiting: Announcement, latest: Ref, others: BTreeSet<Socket>) -> Change {
        self.note_announced(&waiting);
        let Announcement { from, payload, at, is_answered, .. } = waiting;
        if !is_answered {
            let mut acks = Vec::new();
            let announced = (from, Ref::clone(&payload.reference));
            self.acks.begin(announced, Ref::clone(&latest), others, at, &mut acks);
            self.answer(acks);
        }
        self.latest = Some(Ref::clone(&latest));
        let change = Change { payload: Arc::clone(&payload.text), latest };
        self.log.push(payload, &change.latest);
        change
    }

    fn note_announced(&mut self, announced: &Announcement) {
        let (payload, at) = (&announced.payload, announced.at);
        let reference = &payload.reference;
        let standing = self.standing(announced);
        if let Some(client) = self.clients.get_mut(&announced.from) {
            client.newest = client.newest.max(announced.number);
            client.taken_in = client.taken_in.max(announced.number);
            if standing == Some(Standing::Newest) {
                client.has = Some(Ref::clone(reference));
            }
            if standing != Some(Standing::Older) {
                client.announced = Some(Ref::clone(reference));
            }
            if payload.origin.is_empty() {
                client.read.announced(Ref::clone(reference), at);
            }
        }
        if !payload.origin.is_empty() {
            let bases = &mut self.origins.entry(&payload.origin).bases;
            if bases.reads().len() > 0 {
                self.unrecorded.announced(&payload.origin);
            }
            bases.announced(Ref::clone(reference), at);
        }
    }

    fn answer(&mut self, acks: Vec<Ack>) {
        let is_there = |ack: &Ack| self.clients.contains_key(&ack.to);
        self.said.extend(acks.into_iter().filter(is_there).map(Said::Ack));
    }
}

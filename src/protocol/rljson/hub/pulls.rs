//! What clients are asked for, because the hub has not got it: who waits for it, who was asked, who is
//! asked next. Pure bookkeeping; [`super::forward`] does the talking.
//!
//! Invariants:
//! - What several wait for is asked for once.
//! - Nobody is asked for what it waits for itself.
//! - A pull ends: found, refused by everybody, or at its deadline.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use smallvec::{SmallVec, smallvec};

use super::fill::FillId;
use super::lanes::LaneId;
use crate::codec::rljson::Hash;
use crate::protocol::socketio::{AckId, Socket};
use crate::session::Instant;

/// From asking for something to its being given up.
pub(in crate::protocol::rljson) const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The same for blobs, which take time to send.
pub(super) const BLOB_WITHIN: Duration = Duration::from_secs(15);
/// Silence of whoever was asked after which somebody else is asked, too.
pub(in crate::protocol::rljson) const HEDGE_AFTER: Duration = Duration::from_millis(1_000);
/// Pulls of all clients together; beyond it they are refused.
pub(in crate::protocol::rljson) const PULLS_MAX: usize = 8_192;
/// Who may wait for one thing, beyond which it is refused.
pub(super) const WAITERS_MAX: usize = 1_024;
/// Requests that one client is asked at once: fewer than Socket.IO keeps open
/// ([`REQUESTS_OPEN_MAX`](crate::protocol::socketio::REQUESTS_OPEN_MAX)).
pub(in crate::protocol::rljson) const LOAD_MAX: usize = 48;
/// Clients that are asked for one thing, one after another.
pub(super) const TARGETS_MAX: usize = 64;
/// Pulls that are looked at again when somebody can be asked more.
const FED_MAX: usize = 64;
/// Clients that are asked for the same at once, when the first had it not.
const WIDTH_MAX: usize = 4;
/// The same for blobs.
const BLOB_WIDTH_MAX: usize = 2;

/// Names a pull.
pub(super) type PullId = u64;

/// The routes whose clients may be asked; none stands for clients on no route.
pub(super) type Scope = SmallVec<[LaneId; 1]>;

/// The scope of this client alone: no route has such a number.
pub(super) fn alone(socket: Socket) -> Scope {
    smallvec![LaneId::MAX - socket.member.0]
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Want {
    /// A row of a table, by its hash.
    Row(Box<str>, Hash),
    /// Rows of a table that fit a filter: JSON.
    Rows(Box<str>, Box<str>),
    /// Whether there is a table.
    Table(Box<str>),
    /// The range of a blob from the first to before the second byte.
    Blob(Hash, (u64, u64)),
    /// Whether there is a blob.
    BlobExists(Hash),
    /// How long a blob is.
    Properties(Hash),
}

impl Want {
    fn is_blob(&self) -> bool {
        matches!(self, Self::Blob(..))
    }

    /// How long it may take.
    pub(super) fn within(&self) -> Duration {
        if self.is_blob() { BLOB_WITHIN } else { ANSWER_WITHIN }
    }
}

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiter {
    /// A client, for the acknowledgement of its request.
    Client(Socket, AckId),
    /// Several rows that a client asked for together.
    Group(Socket, u64),
    /// The fetching of a tree.
    Fill(FillId),
    /// A merge on a route, in this run of it.
    Merge(LaneId, u64),
    /// A client that is to be told the latest ref of a route unless it has it.
    Bootstrap(LaneId, Socket),
    /// A blob that is on its way to the disk.
    Fetch(Hash),
}

impl Waiter {
    /// The client, if it is one.
    fn client(self) -> Option<Socket> {
        match self {
            Self::Client(socket, _) | Self::Group(socket, _) => Some(socket),
            _ => None,
        }
    }
}

/// Something that is asked for.
#[derive(Debug)]
pub(super) struct Pull {
    pub(super) want: Want,
    pub(super) scope: Scope,
    pub(super) waiters: Vec<Waiter>,
    /// Who is asked next.
    ahead: VecDeque<Socket>,
    /// Who was asked, and has not answered.
    out: SmallVec<[Socket; WIDTH_MAX]>,
    width: usize,
    /// Somebody answered that there is none.
    pub(super) is_empty: bool,
    /// What somebody refused it with.
    pub(super) refusal: Option<Box<str>>,
    /// Somebody has not answered in time.
    pub(super) is_late: bool,
    until: Instant,
    /// When to ask somebody else, too, or to give up.
    due: Instant,
}

impl Pull {
    fn waits(&self, who: Socket) -> bool {
        self.waiters.iter().any(|waiter| waiter.client() == Some(who))
    }

    fn width_max(&self) -> usize {
        if self.want.is_blob() { BLOB_WIDTH_MAX } else { WIDTH_MAX }
    }
}

/// What becomes of a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// This client is to be asked.
    Ask(Socket),
    /// An answer, or room for a request, is due.
    Wait,
    /// Nobody is left.
    Over,
}

/// What a request to a client was for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) pulls: SmallVec<[PullId; 1]>,
    pub(super) how: How,
}

/// How a client was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// For one thing.
    One,
    /// For several rows of a table.
    Batch,
    /// For a row, to see whether it can be asked for several.
    Probe,
}

/// All pulls.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    next: PullId,
    pulls: BTreeMap<PullId, Pull>,
    by_want: BTreeMap<(Scope, Want), PullId>,
    due: BTreeSet<(Instant, PullId)>,
    asked: BTreeMap<(Socket, u64), Asked>,
    load: BTreeMap<Socket, usize>,
    /// Those that can go on.
    ready: VecDeque<PullId>,
    /// Those that wait for room.
    starved: VecDeque<PullId>,
}

impl Pulls {
    /// Waits for something that is asked for already. Whether it is; `None` if too many wait.
    pub(super) fn join(&mut self, scope: &Scope, want: &Want, waiter: Waiter) -> Option<bool> {
        let key = (scope.clone(), want.clone());
        let Some(pull) = self.by_want.get(&key).and_then(|id| self.pulls.get_mut(id)) else {
            return Some(false);
        };
        if pull.waiters.len() >= WAITERS_MAX {
            return None;
        }
        pull.waiters.push(waiter);
        Some(true)
    }

    /// Asks for something: these clients, in this order. Whether there is room.
    pub(super) fn begin(
        &mut self,
        scope: Scope,
        want: Want,
        waiter: Waiter,
        targets: VecDeque<Socket>,
        now: Instant,
    ) -> bool {
        if self.pulls.len() >= PULLS_MAX {
            return false;
        }
        let id = self.next;
        self.next += 1;
        let until = now + want.within();
        let due = until.min(now + HEDGE_AFTER);
        self.by_want.insert((scope.clone(), want.clone()), id);
        self.due.insert((due, id));
        self.ready.push_back(id);
        let pull = Pull {
            want,
            scope,
            waiters: vec![waiter],
            ahead: targets,
            out: SmallVec::new(),
            width: 1,
            is_empty: false,
            refusal: None,
            is_late: false,
            until,
            due,
        };
        self.pulls.insert(id, pull);
        true
    }

    /// The next that can go on.
    pub(super) fn next_ready(&mut self) -> Option<PullId> {
        self.ready.pop_front()
    }

    /// What is to be done for a pull. `is_here` tells whether a client is still there.
    pub(super) fn step(&mut self, id: PullId, is_here: impl Fn(Socket) -> bool) -> Step {
        let Some(pull) = self.pulls.get_mut(&id) else { return Step::Wait };
        if pull.out.len() >= pull.width {
            return Step::Wait;
        }
        let mut busy = VecDeque::new();
        while let Some(target) = pull.ahead.pop_front() {
            if !is_here(target) || pull.waits(target) {
                continue;
            }
            if self.load.get(&target).is_some_and(|load| *load >= LOAD_MAX) {
                busy.push_back(target);
                continue;
            }
            busy.append(&mut pull.ahead);
            pull.ahead = busy;
            pull.out.push(target);
            if pull.out.len() < pull.width {
                self.ready.push_back(id);
            }
            return Step::Ask(target);
        }
        let is_starved = !busy.is_empty();
        pull.ahead = busy;
        if is_starved {
            self.starved.push_back(id);
            return Step::Wait;
        }
        if pull.out.is_empty() { Step::Over } else { Step::Wait }
    }

    /// A request was sent.
    pub(super) fn sent(&mut self, to: Socket, request: u64, asked: Asked) {
        *self.load.entry(to).or_default() += 1;
        self.asked.insert((to, request), asked);
    }

    /// A request was answered, or will not be; what it was for.
    pub(super) fn answered(&mut self, by: Socket, request: u64) -> Option<Asked> {
        let asked = self.asked.remove(&(by, request))?;
        if let Some(load) = self.load.get_mut(&by) {
            *load -= 1;
            if *load == 0 {
                self.load.remove(&by);
            }
        }
        let fed = self.starved.len().min(FED_MAX);
        self.ready.extend(self.starved.drain(..fed));
        Some(asked)
    }

    /// What is asked for.
    pub(super) fn get(&self, id: PullId) -> Option<&Pull> {
        self.pulls.get(&id)
    }

    /// Somebody has not got it, or does not say.
    pub(super) fn missed(&mut self, id: PullId, by: Socket, empty: bool, refusal: Option<&str>) {
        let Some(pull) = self.pulls.get_mut(&id) else { return };
        pull.out.retain(|asked| *asked != by);
        pull.is_empty |= empty;
        if let Some(text) = refusal {
            pull.refusal.get_or_insert_with(|| text.into());
        }
        if !pull.want.is_blob() {
            pull.width = WIDTH_MAX;
        }
        self.ready.push_back(id);
    }

    /// Somebody does not answer.
    pub(super) fn silent(&mut self, id: PullId, by: Socket) {
        if let Some(pull) = self.pulls.get_mut(&id) {
            pull.is_late = true;
        }
        self.missed(id, by, false, None);
    }

    /// Somebody could not be asked like this, and is asked again.
    pub(super) fn retry(&mut self, id: PullId, target: Socket) {
        if let Some(pull) = self.pulls.get_mut(&id) {
            pull.out.retain(|asked| *asked != target);
            pull.ahead.push_front(target);
            self.ready.push_back(id);
        }
    }

    /// It is over: found, or given up.
    pub(super) fn end(&mut self, id: PullId) -> Option<Pull> {
        let pull = self.pulls.remove(&id)?;
        self.due.remove(&(pull.due, id));
        self.by_want.remove(&(pull.scope.clone(), pull.want.clone()));
        Some(pull)
    }

    /// A client is gone: it waits for nothing any more.
    pub(super) fn leave(&mut self, who: Socket) {
        self.withdraw(|waiter| match waiter {
            Waiter::Bootstrap(_, socket) => *socket == who,
            _ => waiter.client() == Some(who),
        });
    }

    /// These wait for nothing any more.
    pub(super) fn withdraw(&mut self, is_gone: impl Fn(&Waiter) -> bool) {
        let mut idle = Vec::new();
        for (id, pull) in &mut self.pulls {
            pull.waiters.retain(|waiter| !is_gone(waiter));
            if pull.waiters.is_empty() {
                idle.push(*id);
            }
        }
        idle.into_iter().for_each(|id| drop(self.end(id)));
    }

    /// Lets pulls that are due ask more clients; tells the next that is given up.
    pub(super) fn expire(&mut self, now: Instant) -> Option<PullId> {
        while let Some(&(due, id)) = self.due.first().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, id));
            let Some(pull) = self.pulls.get_mut(&id) else { continue };
            if pull.until <= now {
                return Some(id);
            }
            pull.width = (pull.width + 1).min(pull.width_max());
            pull.due = pull.until.min(now + HEDGE_AFTER);
            self.due.insert((pull.due, id));
            self.ready.push_back(id);
        }
        None
    }

    /// When something is next due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn invariants(&self) {
        assert!(self.ready.is_empty(), "something can go on");
        assert_eq!(self.pulls.len(), self.by_want.len());
        assert_eq!(self.pulls.len(), self.due.len());
        assert!(self.pulls.len() <= PULLS_MAX);
        if self.pulls.len() > 300 {
            // Looking at all of them takes too long.
            return;
        }
        for (id, pull) in &self.pulls {
            assert!(!pull.waiters.is_empty() && pull.waiters.len() <= WAITERS_MAX);
            assert!(!pull.out.is_empty() || self.starved.contains(id), "{pull:?} is stuck");
            assert!(pull.out.len() <= pull.width_max());
        }
        let mut load: BTreeMap<Socket, usize> = BTreeMap::new();
        self.asked.keys().for_each(|(socket, _)| *load.entry(*socket).or_default() += 1);
        assert_eq!(load, self.load);
    }
}

//! Fetching the tree of a ref before anybody is told of it: row by row from the root, from whoever
//! announced it, and the blobs of its files (specs: rljson §8).

use std::collections::BTreeSet;

use smallvec::smallvec;

use super::Hub;
use super::coming::State;
use super::fetch::{Missed, Wanted};
use super::lanes::LaneId;
use super::pulls::{Scope, Waiter, Want, alone};
use crate::codec::rljson::{EMPTY_ROOT, Hash, Identity, Row};
use crate::protocol::rljson::route::{Announcement, NOBODY, root_of};
use crate::protocol::rljson::shelf::REACH_ROWS_MAX;
use crate::protocol::socketio::{Io, Socket};

/// Rows of one tree that are asked for at once.
pub(super) const FILL_PULLS_MAX: usize = 32;
/// Directories that are known to be there with all that is below them; beyond it all are forgotten.
pub(super) const WHOLE_MAX: usize = 1 << 20;

/// What a tree is fetched for: a route, and the number of a ref that is on its way there.
pub(super) type FillId = (LaneId, u64);

/// A tree that is being fetched.
#[derive(Debug)]
pub(super) struct Fill {
    /// Who has it.
    from: Socket,
    /// Who is asked for it.
    scope: Scope,
    root: Hash,
    /// Rows to be looked at.
    ahead: Vec<Hash>,
    seen: BTreeSet<Hash>,
    /// Rows that are asked for.
    out: usize,
    /// Blobs that are asked for.
    blobs: BTreeSet<Hash>,
    /// Rows that were looked at.
    walked: usize,
    /// Something cannot be had.
    is_lost: bool,
    /// Of that, something was not answered in time.
    is_late: bool,
    /// There is no room for something.
    is_unkept: bool,
    /// Something was asked for: whoever has it is the one who brings the tree.
    is_brought: bool,
}

/// Why a tree cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// Some of it is here: it is a tree.
    pub(super) is_tree: bool,
    /// Somebody did not answer in time.
    pub(super) is_late: bool,
}

impl Fill {
    fn new(root: Hash, from: Socket, scope: Scope) -> Self {
        Self {
            from,
            scope,
            root,
            ahead: vec![root],
            seen: BTreeSet::new(),
            out: 0,
            blobs: BTreeSet::new(),
            walked: 0,
            is_lost: false,
            is_late: false,
            is_unkept: false,
            is_brought: false,
        }
    }

    fn is_over(&self) -> bool {
        self.out == 0 && (self.is_lost || self.ahead.is_empty() && self.blobs.is_empty())
    }
}

/// What a row of a tree needs.
struct Needs {
    children: Vec<Hash>,
    blob: Option<Hash>,
}

impl Hub {
    /// Fetches what is announced on a route next.
    pub(super) fn fill_next(&mut self, lane: LaneId) {
        while let Some(entry) = self.lanes.get_mut(lane).and_then(|lane| lane.coming.next_fill()) {
            let Some(root) = root_of(entry.reference()) else {
                entry.state = State::Held;
                continue;
            };
            entry.state = State::Filling;
            // Of what is parked it must be known who brings it.
            let Announcement { from, number, is_orphan, .. } = entry.announced;
            let scope = if is_orphan { alone(from) } else { smallvec![lane] };
            entry.fill = Some(Fill::new(root, from, scope));
            let id = (lane, number);
            self.walk_on(id);
        }
    }

    /// A tree can be walked on.
    fn walk_on(&mut self, id: FillId) {
        if !self.walks.contains(&id) {
            self.walks.push_back(id);
        }
    }

    /// Walks a tree on: at most so many rows. How many it were.
    pub(super) fn walk(&mut self, id: FillId, rows_max: usize, io: &mut Io<'_, '_>) -> usize {
        let Some(mut fill) = self.fill_of(id).and_then(Option::take) else { return 0 };
        let mut rows = 0;
        while rows < rows_max && fill.out < FILL_PULLS_MAX && !fill.is_lost {
            let Some(hash) = fill.ahead.pop() else { break };
            rows += 1;
            self.look_at(id, &mut fill, hash, io);
        }
        if fill.is_over() {
            self.end_fill(id, fill, io);
            return rows;
        }
        if !fill.ahead.is_empty() && fill.out < FILL_PULLS_MAX {
            self.walk_on(id);
        }
        if let Some(place) = self.fill_of(id) {
            *place = Some(fill);
        }
        rows
    }

    fn look_at(&mut self, id: FillId, fill: &mut Fill, hash: Hash, io: &mut Io<'_, '_>) {
        if hash == EMPTY_ROOT || fill.walked >= REACH_ROWS_MAX || !fill.seen.insert(hash) {
            return;
        }
        let Some(table) = self.lanes.get(id.0).map(|lane| lane.table.clone()) else { return };
        if self.whole.contains(&(id.0, hash)) {
            return;
        }
        let Some(text) = self.shelf.row(&table, &hash) else {
            let (want, waiter) = (Want::Row(table, hash), Waiter::Fill(id));
            match self.pull_from(fill.scope.clone(), Some(fill.from), want, waiter, io) {
                true => (fill.out, fill.is_brought) = (fill.out + 1, true),
                false => fill.is_unkept = true,
            }
            return;
        };
        fill.walked += 1;
        let Some(needs) = needs(hash, text) else { return };
        fill.ahead.extend(needs.children);
        if let Some(blob) = needs.blob {
            match self.want_blob(id, blob, fill.from, &fill.scope) {
                Wanted::There => {}
                Wanted::Comes => {
                    fill.blobs.insert(blob);
                    fill.is_brought = true;
                }
                Wanted::NoRoom => fill.is_unkept = true,
            }
        }
    }

    /// All of a tree is there, or some of it cannot be had.
    fn end_fill(&mut self, id: FillId, fill: Fill, io: &mut Io<'_, '_>) {
        log::debug!(
            target: "rljson", scope = "session", event = "filled";
            "tree {}: {} rows, lost: {}, no room: {}",
            fill.root, fill.walked, fill.is_lost, fill.is_unkept
        );
        if fill.is_lost {
            let lost = Lost { is_tree: fill.walked > 0, is_late: fill.is_late };
            return self.not_held(id, lost, io);
        }
        if !fill.is_unkept {
            if self.whole.len() + fill.seen.len() > WHOLE_MAX {
                self.whole.clear();
            }
            self.whole.extend(fill.seen.into_iter().map(|row| (id.0, row)));
        }
        if !fill.is_brought
            && let Some(entry) = self.lanes.get_mut(id.0).and_then(|lane| lane.coming.get_mut(id.1))
            && entry.announced.is_orphan
        {
            // All of it was here: whoever was to be asked may not have it.
            entry.announced.from = NOBODY;
        }
        self.held(id, io);
    }

    /// A row has come.
    pub(super) fn fill_got(&mut self, id: FillId, want: &Want) {
        let Want::Row(table, hash) = want else { return };
        let is_there = self.shelf.row(table, hash).is_some();
        let Some(Some(fill)) = self.fill_of(id) else { return };
        fill.out -= 1;
        if is_there {
            fill.seen.remove(hash);
            fill.ahead.push(*hash);
        } else {
            // It is had when it is asked for.
            fill.is_unkept = true;
        }
        self.walk_on(id);
    }

    /// A row cannot be had.
    pub(super) fn fill_missed(&mut self, id: FillId, is_late: bool) {
        let Some(Some(fill)) = self.fill_of(id) else { return };
        fill.out -= 1;
        fill.is_lost = true;
        fill.is_late |= is_late;
        self.walk_on(id);
    }

    /// A blob that trees wait for is there, or not.
    pub(super) fn fill_blob(&mut self, blob: Hash, outcome: Result<(), Missed>) {
        for id in self.blobs.awaited.remove(&blob).unwrap_or_default() {
            let Some(Some(fill)) = self.fill_of(id) else { continue };
            if fill.blobs.remove(&blob) {
                fill.is_lost |= matches!(outcome, Err(Missed::Lost | Missed::Late));
                fill.is_late |= outcome == Err(Missed::Late);
                fill.is_unkept |= outcome == Err(Missed::Unkept);
                self.walk_on(id);
            }
        }
    }

    /// Whoever a blob was fetched from is gone, or has it not: a tree that needs it has it from its own
    /// announcer.
    pub(super) fn want_again(&mut self, id: FillId, blob: Hash) {
        let Some(Some(fill)) = self.fill_of(id) else { return };
        let (from, scope) = (fill.from, fill.scope.clone());
        if self.want_blob(id, blob, from, &scope) != Wanted::Comes
            && let Some(Some(fill)) = self.fill_of(id)
        {
            fill.blobs.remove(&blob);
            fill.is_unkept = true;
            self.walk_on(id);
        }
    }

    /// Whether a tree is fetched from this client, or no more.
    pub(super) fn is_filled_from(&mut self, id: FillId, client: Option<Socket>) -> bool {
        match self.fill_of(id) {
            Some(Some(fill)) => Some(fill.from) == client,
            _ => true,
        }
    }

    /// The place of a tree that is being fetched, if it still is.
    fn fill_of(&mut self, (lane, ref_id): FillId) -> Option<&mut Option<Fill>> {
        Some(&mut self.lanes.get_mut(lane)?.coming.get_mut(ref_id)?.fill)
    }
}

/// Rows that are none of a tree need nothing.
fn needs(hash: Hash, text: &str) -> Option<Needs> {
    let row = Row::read(hash, text).ok()?;
    let blob = match row.identity() {
        Identity::Content(blob) => Some(blob),
        _ => None,
    };
    Some(Needs { children: row.children().to_vec(), blob })
}

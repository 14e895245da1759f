//! Fetching the tree of a route's latest ref, before anybody asks for it: row by row from the root,
//! from whoever announced it, then the blobs of its files (specs: rljson §8).

use std::collections::BTreeSet;

use smallvec::smallvec;

use super::Hub;
use super::lanes::LaneId;
use super::pulls::{Waiter, Want};
use crate::codec::rljson::{EMPTY_ROOT, Hash, Identity, Row};
use crate::protocol::rljson::shelf::REACH_ROWS_MAX;
use crate::protocol::socketio::{Io, Socket};

/// Rows of one tree that are asked for at once.
pub(super) const FILL_PULLS_MAX: usize = 32;
/// Directories that are known to be there with all that is below them; beyond it all are forgotten.
pub(super) const WHOLE_MAX: usize = 1 << 20;

/// A tree that is being fetched.
#[derive(Debug)]
pub(super) struct Fill {
    pub(super) run: u64,
    /// Who announced it.
    from: Option<Socket>,
    root: Hash,
    /// Rows to be looked at.
    ahead: Vec<Hash>,
    seen: BTreeSet<Hash>,
    /// Rows that are asked for.
    out: usize,
    /// Rows that were looked at.
    walked: usize,
    /// Something is missing.
    is_incomplete: bool,
}

impl Fill {
    pub(super) fn new(root: Hash, run: u64, from: Option<Socket>) -> Self {
        Self {
            run,
            from,
            root,
            ahead: vec![root],
            seen: BTreeSet::new(),
            out: 0,
            walked: 0,
            is_incomplete: false,
        }
    }
}

/// What a row of a tree needs.
struct Needs {
    children: Vec<Hash>,
    blob: Option<Hash>,
}

impl Hub {
    /// A tree can be walked on.
    pub(super) fn walk_on(&mut self, lane: LaneId) {
        if !self.walks.contains(&lane) {
            self.walks.push_back(lane);
        }
    }

    /// Walks a tree on: at most so many rows. How many it were.
    pub(super) fn walk(&mut self, id: LaneId, rows_max: usize, io: &mut Io<'_, '_>) -> usize {
        let Some(mut fill) = self.lanes.get_mut(id).and_then(|lane| lane.fill.take()) else {
            return 0;
        };
        let mut rows = 0;
        while rows < rows_max && fill.out < FILL_PULLS_MAX {
            let Some(hash) = fill.ahead.pop() else { break };
            rows += 1;
            self.look_at(id, &mut fill, hash, io);
        }
        let is_over = fill.ahead.is_empty() && fill.out == 0;
        if is_over {
            self.end_fill(id, fill);
        } else {
            if !fill.ahead.is_empty() && fill.out < FILL_PULLS_MAX {
                self.walk_on(id);
            }
            if let Some(lane) = self.lanes.get_mut(id) {
                lane.fill = Some(fill);
            }
        }
        rows
    }

    fn look_at(&mut self, id: LaneId, fill: &mut Fill, hash: Hash, io: &mut Io<'_, '_>) {
        if hash == EMPTY_ROOT || fill.walked >= REACH_ROWS_MAX || !fill.seen.insert(hash) {
            return;
        }
        let Some(table) = self.lanes.get(id).map(|lane| lane.table.clone()) else { return };
        if self.whole.contains(&(id, hash)) {
            return;
        }
        let Some(text) = self.shelf.row(&table, &hash) else {
            let (want, waiter) = (Want::Row(table, hash), Waiter::Fill(id, fill.run));
            match self.pull_from(smallvec![id], fill.from, want, waiter, io) {
                true => fill.out += 1,
                false => fill.is_incomplete = true,
            }
            return;
        };
        fill.walked += 1;
        let Some(needs) = needs(hash, text) else { return };
        fill.ahead.extend(needs.children);
        if let Some(blob) = needs.blob {
            self.want_blob(id, blob, fill.from);
        }
    }

    /// All rows are there, or cannot be had.
    fn end_fill(&mut self, id: LaneId, fill: Fill) {
        log::debug!(
            target: "rljson", scope = "session", event = "filled";
            "tree {}: {} rows, complete: {}", fill.root, fill.walked, !fill.is_incomplete
        );
        if fill.is_incomplete {
            return;
        }
        if self.whole.len() + fill.seen.len() > WHOLE_MAX {
            self.whole.clear();
        }
        self.whole.extend(fill.seen.into_iter().map(|row| (id, row)));
    }

    /// A row has come.
    pub(super) fn fill_got(&mut self, id: LaneId, run: u64, want: &Want) {
        let Want::Row(table, hash) = want else { return };
        let is_there = self.shelf.row(table, hash).is_some();
        let Some(fill) = self.fill(id, run) else { return };
        fill.out -= 1;
        if is_there {
            fill.seen.remove(hash);
            fill.ahead.push(*hash);
        } else {
            // There is no room for it: it is had when it is asked for.
            fill.is_incomplete = true;
        }
        self.walk_on(id);
    }

    /// A row cannot be had.
    pub(super) fn fill_missed(&mut self, id: LaneId, run: u64) {
        let Some(fill) = self.fill(id, run) else { return };
        fill.out -= 1;
        fill.is_incomplete = true;
        self.walk_on(id);
    }

    /// The tree that is being fetched, if it is still this one.
    fn fill(&mut self, id: LaneId, run: u64) -> Option<&mut Fill> {
        let fill = self.lanes.get_mut(id)?.fill.as_mut()?;
        (fill.run == run).then_some(fill)
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

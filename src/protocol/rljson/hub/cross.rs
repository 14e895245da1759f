//! Merging refs that crossed: the rows that are needed are fetched, and in time the merge is made, or
//! given up.

use std::collections::BTreeSet;
use std::time::Duration;

use smallvec::smallvec;

use super::Hub;
use super::lanes::LaneId;
use super::pulls::{Waiter, Want};
use crate::codec::rljson::Hash;
use crate::protocol::rljson::merge::{MISSING_MAX, MergeError, Merged};
use crate::protocol::rljson::route::{Crossing, Outcome};
use crate::protocol::socketio::Io;
use crate::session::Instant;

/// From a ref's turn to its merge's being given up for want of rows.
pub(super) const MERGE_WITHIN: Duration = Duration::from_secs(10);

/// A merge on its way.
#[derive(Debug)]
pub(super) struct Cross {
    crossing: Crossing,
    run: u64,
    pub(super) until: Instant,
    /// Rows that were asked for.
    tried: BTreeSet<Hash>,
    /// Of those the ones that are due.
    out: usize,
    /// What the trees were made from cannot be had.
    is_baseless: bool,
}

impl Cross {
    pub(super) fn new(crossing: Crossing, run: u64, now: Instant) -> Self {
        let until = now + MERGE_WITHIN;
        Self { crossing, run, until, tried: BTreeSet::new(), out: 0, is_baseless: false }
    }

    /// Rows that were not asked for yet.
    fn news(&self, missing: &[Hash]) -> Vec<Hash> {
        missing.iter().copied().filter(|row| !self.tried.contains(row)).collect()
    }
}

impl Hub {
    /// Goes on with a merge: makes it, or asks for rows, or gives up.
    pub(super) fn merge(&mut self, id: LaneId, io: &mut Io<'_, '_>) {
        let Some(mut cross) = self.lanes.get_mut(id).and_then(|lane| lane.cross.take()) else {
            return;
        };
        if !self.may_take_up(io) {
            cross.until = io.at() + MERGE_WITHIN;
            return self.wait(id, cross);
        }
        let is_late = cross.until <= io.at();
        if cross.out > 0 && !is_late {
            return self.wait(id, cross);
        }
        loop {
            match self.try_merge(id, &cross) {
                Ok(merged) => return self.merged(id, cross, merged, io),
                Err(MergeError::Missing(rows)) => {
                    let news = if is_late { Vec::new() } else { cross.news(&rows) };
                    for row in news {
                        self.fetch_row(id, &mut cross, row, io);
                    }
                    if cross.out > 0 && !is_late {
                        return self.wait(id, cross);
                    }
                    if cross.is_baseless {
                        return self.give_up_merge(id, &cross, &rows, io);
                    }
                    cross.is_baseless = true;
                }
                Err(why) => return self.unmerged(id, Outcome::Impossible, &why.to_string(), io),
            }
        }
    }

    fn wait(&mut self, id: LaneId, cross: Cross) {
        if let Some(lane) = self.lanes.get_mut(id) {
            lane.cross = Some(cross);
            self.lanes.touch(id);
        }
    }

    fn try_merge(&self, id: LaneId, cross: &Cross) -> Result<Merged, MergeError> {
        let table = self.lanes.get(id).map_or("", |lane| &lane.table);
        let lookup = |hash: &Hash| self.shelf.row(table, hash);
        let conflicts = self.config().conflicts;
        match cross.is_baseless {
            false => cross.crossing.merge(conflicts, lookup),
            true => cross.crossing.merge_without_base(conflicts, lookup),
        }
    }

    fn fetch_row(&mut self, id: LaneId, cross: &mut Cross, row: Hash, io: &mut Io<'_, '_>) {
        cross.tried.insert(row);
        let Some(table) = self.lanes.get(id).map(|lane| lane.table.clone()) else { return };
        let first = Some(cross.crossing.from);
        let (want, waiter) = (Want::Row(table, row), Waiter::Merge(id, cross.run));
        cross.out += usize::from(self.pull_from(smallvec![id], first, want, waiter, io));
    }

    /// A row has come, or will not.
    pub(super) fn merge_got(&mut self, id: LaneId, run: u64) {
        let Some(lane) = self.lanes.get_mut(id) else { return };
        let Some(cross) = lane.cross.as_mut().filter(|cross| cross.run == run) else { return };
        cross.out -= 1;
        if cross.out == 0 {
            self.merges.push_back(id);
        }
    }

    fn merged(&mut self, id: LaneId, cross: Cross, merged: Merged, io: &mut Io<'_, '_>) {
        let Some(table) = self.lanes.get(id).map(|lane| lane.table.clone()) else { return };
        for (hash, text) in &merged.rows {
            let is_kept =
                self.take_row(&table, text, io).is_ok() && self.shelf.row(&table, hash).is_some();
            if !is_kept {
                let why = "there is no room for the merged rows";
                return self.unmerged(id, Outcome::Impossible, why, io);
            }
        }
        self.conclude(id, Outcome::Merged(merged.root), Some(cross), io);
    }

    /// Rows cannot be had: those of a tree that nobody could follow, or of the latest one.
    fn give_up_merge(&mut self, id: LaneId, cross: &Cross, missing: &[Hash], io: &mut Io<'_, '_>) {
        let table = self.lanes.get(id).map_or("", |lane| &lane.table);
        let lacking = self.shelf.lacking(table, cross.crossing.announced, MISSING_MAX).rows;
        let outcome = match missing.iter().any(|row| lacking.contains(row)) {
            true => Outcome::Dropped,
            false => Outcome::Impossible,
        };
        self.unmerged(id, outcome, "rows are missing", io);
    }

    fn unmerged(&mut self, id: LaneId, outcome: Outcome, why: &str, io: &mut Io<'_, '_>) {
        let route = self.lanes.get(id).map_or("", |lane| &lane.name);
        log::debug!(
            target: "rljson", scope = "session", event = "not-merged";
            "refs on {route} crossed, and were not merged ({outcome:?}): {why}"
        );
        self.conclude(id, outcome, None, io);
    }

    fn conclude(
        &mut self,
        id: LaneId,
        outcome: Outcome,
        cross: Option<Cross>,
        io: &mut Io<'_, '_>,
    ) {
        let Some(lane) = self.lanes.get_mut(id) else { return };
        let change = lane.route.finish(outcome);
        let from = cross.map(|cross| cross.crossing.from);
        if let Some(change) = change {
            self.changed(id, &change, from, io);
        }
        self.work(id, io);
    }
}

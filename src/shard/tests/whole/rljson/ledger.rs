//! What is known of all trees, over all processes.

use std::collections::{BTreeMap, BTreeSet};

use crate::codec::rljson::{EMPTY_ROOT, Hash};
use crate::protocol::rljson::tests::agent::Files;
use crate::protocol::rljson::tests::forest::{Contents, File, Forest};

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) files: Files,
    /// All rows and blobs that any client has, of trees that are there as a whole.
    forest: Forest,
    /// The trees that somebody was told of on each route, or that were acknowledged.
    told: BTreeMap<u64, BTreeSet<Hash>>,
    /// What users deleted, or wrote over.
    thrown_away: BTreeSet<Hash>,
}

impl Ledger {
    pub(super) fn throw_away(&mut self, files: Vec<File>) {
        self.thrown_away.extend(files.into_iter().map(File::blob));
    }

    /// A client has this tree: all of it.
    pub(super) fn know(&mut self, forest: &Forest) {
        for (hash, row) in &forest.rows {
            self.forest.rows.entry(*hash).or_insert_with(|| row.clone());
        }
    }

    pub(super) fn contents(&self, root: Hash) -> Contents {
        if root == EMPTY_ROOT { Contents::new() } else { self.forest.contents(root) }
    }

    /// Somebody is told of a tree, or that it was taken up.
    pub(super) fn tell(&mut self, route: u64, root: Hash) {
        self.told.entry(route).or_default().insert(root);
    }

    /// Whether anybody was told of anything.
    pub(super) fn has_told(&self, route: u64) -> bool {
        self.told.contains_key(&route)
    }

    /// Nothing is lost in the latest tree that anybody was told of.
    pub(super) fn check(&mut self, route: u64, latest: Hash) {
        let there = blobs(&self.contents(latest));
        for root in self.told.get(&route).into_iter().flatten() {
            // What nobody has read as a whole is known by what was made from it.
            if *root != EMPTY_ROOT && !self.forest.rows.contains_key(root) {
                continue;
            }
            for blob in blobs(&self.contents(*root)) {
                let is_kept = there.contains(&blob) || self.thrown_away.contains(&blob);
                assert!(is_kept, "{blob} of {root} is lost: {latest} is the latest");
            }
        }
        // It stands for all of them.
        self.told.insert(route, BTreeSet::from([latest]));
    }
}

fn blobs(contents: &Contents) -> BTreeSet<Hash> {
    contents.values().flatten().map(|(blob, _)| *blob).collect()
}

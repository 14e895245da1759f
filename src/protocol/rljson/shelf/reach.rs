//! What trees are made of: from a root to its children to the blobs of their files.

use std::collections::BTreeSet;

use super::Shelf;
use crate::codec::rljson::{EMPTY_ROOT, Hash, Identity, Row};

/// Most rows that are walked for one tree; what lies beyond is fetched when somebody asks for it.
pub const REACH_ROWS_MAX: usize = 200_000;

/// What a tree needs and the shelf has not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacking {
    /// Rows.
    pub rows: Vec<Hash>,
    /// Blobs.
    pub blobs: Vec<Hash>,
}

/// What some trees are made of.
#[derive(Debug, Default)]
pub(super) struct Reached<'a> {
    rows: BTreeSet<(&'a str, Hash)>,
    blobs: BTreeSet<Hash>,
}

impl Reached<'_> {
    pub(super) fn has_row(&self, table: &str, hash: &Hash) -> bool {
        self.rows.contains(&(table, *hash))
    }

    pub(super) fn has_blob(&self, blob: &Hash) -> bool {
        self.blobs.contains(blob)
    }
}

impl Shelf {
    /// What is missing of a tree, as far as rows are there that tell, at most `max` of each. Rows that
    /// are none of a tree need nothing.
    pub fn lacking(&self, table: &str, root: Hash, max: usize) -> Lacking {
        let mut reached = Reached::default();
        let mut lacking = Lacking::default();
        self.walk(table, root, &mut reached, |missing| {
            if lacking.rows.len() < max {
                lacking.rows.push(missing);
            }
        });
        let missing = reached.blobs.into_iter().filter(|blob| !self.blobs.has(blob));
        lacking.blobs = missing.take(max).collect();
        lacking
    }

    pub(super) fn reach<'a>(
        &self,
        roots: impl IntoIterator<Item = (&'a str, Hash)>,
    ) -> Reached<'a> {
        let mut reached = Reached::default();
        for (table, root) in roots {
            self.walk(table, root, &mut reached, |_| {});
        }
        reached
    }

    /// Adds a tree to what is reached. Trees share most of their rows: those are walked once.
    fn walk<'a>(
        &self,
        table: &'a str,
        root: Hash,
        reached: &mut Reached<'a>,
        mut on_missing: impl FnMut(Hash),
    ) {
        let mut ahead = vec![root];
        let mut walked = 0;
        while let Some(hash) = ahead.pop() {
            if !reached.rows.insert((table, hash)) {
                continue;
            }
            let Some(text) = self.row(table, &hash) else {
                if hash != EMPTY_ROOT {
                    on_missing(hash);
                }
                continue;
            };
            walked += 1;
            let Ok(row) = Row::read(hash, text) else { continue };
            if let Identity::Content(blob) = row.identity() {
                reached.blobs.insert(blob);
            }
            if walked < REACH_ROWS_MAX {
                ahead.extend(row.children());
            }
        }
    }
}

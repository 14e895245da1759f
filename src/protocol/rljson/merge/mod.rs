//! Merges two trees of files that crossed, given the one both come from (specs: rljson §8).
//!
//! | module | what |
//! |---|---|
//! | `base` | which of the trees that a client had it made its own from |
//! | `join` | the merge, directory by directory |
//! | `rows` | rows on their way from the shelf, counted |
//!
//! At each path a side that is what it was in the base loses against the other. Two files are the
//! same if their content is; all directories are the same. Beyond that:
//! - Who deletes loses against who edits. A directory goes with the last of what is in it.
//! - Of two edits the newer one stays, or both do: the older one under a name of its own, see
//!   [`Conflicts`]. The same content written at two times is no edit; the later time is kept.
//! - Of a file and a directory at the same path the directory stays, and the file gets a name of its
//!   own, whatever the setting: they cannot be compared.
//! - Files of the same age are put in order by their content, then by their row.
//! - Without a base nothing was deleted: the union.
//! - Of several possible bases, where they differ, that counts which keeps more. What `theirs` has as
//!   any of them had it is no edit of theirs, nor is it a deletion if any of them had nothing; what
//!   `ours` has counts as it was only if all of them had it so.
//!
//! Invariants:
//! - With one base or none the outcome does not depend on which side is called which.
//! - What one side has and the other has left as it was comes out in the very rows it had, so that
//!   merging an older tree with a newer one gives the newer one's root.
//! - Subtrees that are the same on both sides, or unchanged on one, are not looked into: their rows
//!   need not be there.

mod base;
mod join;
mod rows;

use crate::codec::rljson::{Hash, HashError, TreeError};
use join::Merger;

pub use base::{Base, Trust, plausible};

/// Deepest path of directories in trees that are merged. Merging recurses on it.
pub const DIRECTORIES_DEEP_MAX: usize = 64;
/// Most rows that are read for one merge.
pub const ROWS_READ_MAX: usize = 100_000;
/// Most missing rows that are told at once.
pub const MISSING_MAX: usize = 1_000;

/// What becomes of the older one of two edits of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conflicts {
    /// It is dropped.
    Newest,
    /// It stays, as `name (conflict 1a2b3c4d).ext`: eight characters of its content's hash.
    #[default]
    KeepBoth,
}

/// What came of a merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The root of the merged tree: one of the sides', if it needs no other.
    pub root: Hash,
    /// Rows that neither side has, children before their parents.
    pub rows: Vec<(Hash, String)>,
}

/// Why trees were not merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// These rows are needed, at most [`MISSING_MAX`]; there may be more.
    #[error("{} rows are missing", .0.len())]
    Missing(Vec<Hash>),
    /// This row is none of a tree.
    #[error("row {0}: {1}")]
    Row(Hash, TreeError),
    /// This row is not where its path says, or is there twice, or is a file where the root is.
    #[error("row {0} is out of place")]
    Misplaced(Hash),
    /// A tree is deeper than [`DIRECTORIES_DEEP_MAX`].
    #[error("a tree has more than {DIRECTORIES_DEEP_MAX} directories in one another")]
    TooDeep,
    /// More than [`ROWS_READ_MAX`] rows would have to be read.
    #[error("more than {ROWS_READ_MAX} rows differ")]
    TooMany,
    /// A row could not be made.
    #[error("a merged row: {0}")]
    Made(HashError),
}

/// Merges the trees of these roots, of which `theirs` may have been made from any of `bases`; none of
/// them, or one that is none, is a tree without files. `lookup` gives the text of a row that was
/// verified to have the hash, or nothing if it is missing.
pub fn merge<'r>(
    bases: &[Option<Hash>],
    ours: Hash,
    theirs: Hash,
    conflicts: Conflicts,
    lookup: impl Fn(&Hash) -> Option<&'r str>,
) -> Result<Merged, MergeError> {
    if ours == theirs || bases.contains(&Some(theirs)) {
        return Ok(Merged { root: ours, rows: Vec::new() });
    }
    if !bases.is_empty() && bases.iter().all(|base| *base == Some(ours)) {
        return Ok(Merged { root: theirs, rows: Vec::new() });
    }
    Merger::new(lookup, conflicts).merge(bases, ours, theirs)
}

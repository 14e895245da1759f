//! Which of the trees that a client had it made its next one from.
//!
//! A client takes over a tree as a whole, some time after it read its root. Where a path of its next
//! tree is as it was in the one that it read, and as in none before, that speaks for its having put
//! it in place; where a path is as before, and not as in what it read, that speaks against it. What
//! the client has changed itself speaks for nothing.

use std::collections::BTreeSet;

use smallvec::SmallVec;

use super::rows::{Names, Rows};
use super::{DIRECTORIES_DEEP_MAX, MergeError};
use crate::codec::rljson::{Hash, Identity, Row};

/// A tree that a client may have made its next one from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// Its root; none for a tree without files.
    pub root: Option<Hash>,
    /// How much the time tells of it.
    pub trust: Trust,
}

/// What the times tell of a tree that a client had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The client has put it in place, unless its next tree speaks against it.
    Likely,
    /// Nothing: the client may have put it in place or not.
    Open,
    /// The client has put another one in place, unless its next tree speaks for this one.
    Unlikely,
}

/// Those of `bases`, oldest first, that `theirs` may have been made from: back from the newest to the
/// first that is likely and has nothing against it, or something for it; of the unlikely ones those
/// that have something for them. Never empty, unless `bases` is.
pub fn plausible<'r>(
    bases: &[Base],
    theirs: Hash,
    lookup: impl Fn(&Hash) -> Option<&'r str>,
) -> Result<Vec<Option<Hash>>, MergeError> {
    if let [base] = bases {
        return Ok(vec![base.root]);
    }
    let hashes: Vec<Option<Hash>> = bases.iter().map(|base| base.root).collect();
    let mut rows = Rows::new(lookup);
    let roots = rows.roots(&hashes)?;
    let theirs = rows.root(theirs)?;
    let mut found = Vec::new();
    for (at, base) in bases.iter().enumerate().rev() {
        let others = |other: &usize| match base.trust {
            Trust::Unlikely => *other != at,
            Trust::Likely | Trust::Open => *other < at && bases[*other].trust != Trust::Unlikely,
        };
        let others: Others<'_, '_> =
            (0..bases.len()).filter(others).map(|other| roots[other].as_ref()).collect();
        let evidence = match base.trust {
            Trust::Open => Evidence::default(),
            Trust::Likely | Trust::Unlikely => {
                Evidence::of(&mut rows, &others, roots[at].as_ref(), theirs.as_ref())?
            }
        };
        if base.trust != Trust::Unlikely || evidence.has_for {
            found.push(base.root);
        }
        if base.trust == Trust::Likely && (evidence.has_for || !evidence.has_against) {
            break;
        }
    }
    found.reverse();
    rows.end(Some(found))
}

/// Paths that speak for a base, and against it.
#[derive(Debug, Default)]
struct Evidence {
    has_for: bool,
    has_against: bool,
}

/// Rows at a path: of the other bases.
type Others<'m, 'r> = SmallVec<[Option<&'m Row<'r>>; 4]>;

impl Evidence {
    /// What `theirs` says of `base`, `others` being what else it may have been made from.
    fn of<'r, F: Fn(&Hash) -> Option<&'r str>>(
        rows: &mut Rows<F>,
        others: &[Option<&Row<'r>>],
        base: Option<&Row<'r>>,
        theirs: Option<&Row<'r>>,
    ) -> Result<Self, MergeError> {
        let mut evidence = Self::default();
        evidence.gather(rows, others, base, theirs, 0)?;
        Ok(evidence)
    }

    /// Compares what is in these directories.
    fn gather<'r, F: Fn(&Hash) -> Option<&'r str>>(
        &mut self,
        rows: &mut Rows<F>,
        others: &[Option<&Row<'r>>],
        base: Option<&Row<'r>>,
        theirs: Option<&Row<'r>>,
        depth: usize,
    ) -> Result<(), MergeError> {
        if depth > DIRECTORIES_DEEP_MAX {
            return Err(MergeError::TooDeep);
        }
        let hash = |row: Option<&Row<'_>>| row.map(|row| row.hash);
        if self.has_for || others.iter().all(|others| hash(*others) == hash(base)) {
            return Ok(());
        }
        let base_names = rows.names(base)?;
        let their_names = rows.names(theirs)?;
        let others_names: SmallVec<[Names<'r>; 4]> =
            others.iter().map(|others| rows.names(*others)).collect::<Result<_, _>>()?;
        let all = others_names.iter().chain([&base_names, &their_names]);
        let all: BTreeSet<&String> = all.flat_map(Names::keys).collect();
        for name in all {
            let others: Others<'_, 'r> = others_names.iter().map(|names| names.get(name)).collect();
            let (base, theirs) = (base_names.get(name), their_names.get(name));
            self.note(&others, base, theirs);
            self.gather(rows, &others, base, theirs, depth + 1)?;
        }
        Ok(())
    }

    /// Notes what a path says.
    fn note(
        &mut self,
        others: &[Option<&Row<'_>>],
        base: Option<&Row<'_>>,
        theirs: Option<&Row<'_>>,
    ) {
        let is = |row: Option<&Row<'_>>| -> Option<Identity> { row.map(Row::identity) };
        let is_of_base = is(base) == is(theirs);
        let is_of_others = others.iter().any(|others| is(*others) == is(theirs));
        self.has_for |= is_of_base && !is_of_others;
        self.has_against |= is_of_others && !is_of_base;
    }
}

//! Rows on their way from the shelf: counted, and noted if they are missing.

use std::collections::{BTreeMap, BTreeSet};

use super::{MISSING_MAX, MergeError, ROWS_READ_MAX};
use crate::codec::rljson::{EMPTY_ROOT, EMPTY_ROOT_ROW, Hash, Identity, Row};

/// What is in a directory, by name.
pub(super) type Names<'r> = BTreeMap<String, Row<'r>>;

/// Where rows are read from.
pub(super) struct Rows<F> {
    lookup: F,
    missing: BTreeSet<Hash>,
    read: usize,
}

impl<'r, F: Fn(&Hash) -> Option<&'r str>> Rows<F> {
    pub(super) fn new(lookup: F) -> Self {
        Self { lookup, missing: BTreeSet::new(), read: 0 }
    }

    /// Rows that were found missing so far.
    pub(super) fn missing(&self) -> usize {
        self.missing.len()
    }

    /// `result`, if nothing was missing on the way to it.
    pub(super) fn end<T>(self, result: Option<T>) -> Result<T, MergeError> {
        match result {
            Some(result) if self.missing.is_empty() => Ok(result),
            _ => Err(MergeError::Missing(self.missing.into_iter().collect())),
        }
    }

    /// The row of this hash, or nothing and a note that it is missing.
    fn row(&mut self, hash: Hash) -> Result<Option<Row<'r>>, MergeError> {
        self.read += 1;
        if self.read > ROWS_READ_MAX {
            return Err(MergeError::TooMany);
        }
        let known = (hash == EMPTY_ROOT).then_some(EMPTY_ROOT_ROW);
        let Some(text) = known.or_else(|| (self.lookup)(&hash)) else {
            if self.missing.len() < MISSING_MAX {
                self.missing.insert(hash);
            }
            return Ok(None);
        };
        Row::read(hash, text).map(Some).map_err(|error| MergeError::Row(hash, error))
    }

    pub(super) fn root(&mut self, hash: Hash) -> Result<Option<Row<'r>>, MergeError> {
        let row = self.row(hash)?;
        let is_root = |row: &Row<'_>| row.is_root() && row.identity() == Identity::Directory;
        if row.as_ref().is_some_and(|row| !is_root(row)) {
            return Err(MergeError::Misplaced(hash));
        }
        Ok(row)
    }

    /// The same for trees that may be without files.
    pub(super) fn roots(
        &mut self,
        hashes: &[Option<Hash>],
    ) -> Result<Vec<Option<Row<'r>>>, MergeError> {
        let root = |hash: &Option<Hash>| hash.map_or(Ok(None), |hash| self.root(hash));
        hashes.iter().map(root).collect()
    }

    /// What is in a directory, as far as its rows are there; nothing in a file.
    pub(super) fn names(&mut self, directory: Option<&Row<'r>>) -> Result<Names<'r>, MergeError> {
        let mut names = Names::new();
        let Some(directory) = directory else { return Ok(names) };
        for &child in directory.children() {
            let Some(row) = self.row(child)? else { continue };
            let name = row.name().to_owned();
            if !row.is_in(directory) || names.insert(name, row).is_some() {
                return Err(MergeError::Misplaced(child));
            }
        }
        Ok(names)
    }
}

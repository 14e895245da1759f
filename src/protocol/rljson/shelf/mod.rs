//! Rows and blobs by their hashes: what is kept, and for how long (specs: rljson §8).
//!
//! What a hash names never changes, so all of it may be kept for ever, and is as long as it fits.
//! Rows are in memory, and on disk in pages ([`pages`]); of blobs only the sizes are ([`blobs`]).
//! What the last refs of a route need stays; of the rest that goes which was not used for longest, and
//! only when there is no room.
//!
//! Invariants:
//! - A row on the shelf has the hash that it lies under.
//! - The bytes that are counted are those that are there.
//! - Nothing that can be reached from the roots that are to stay is ever dropped.

mod blobs;
mod pages;
mod reach;

use std::collections::BTreeMap;

use crate::codec::rljson::{Hash, HashError, parse_row, verify};

pub use blobs::{BLOB_BYTES_MAX, BlobError, Blobs, Incoming, RANGE_BYTES_MAX};
pub use pages::{Index, PAGE_BYTES_MAX, PageId, StoredError, write_entry};
pub use reach::{Lacking, REACH_ROWS_MAX};

/// Tables that a shelf has.
pub const TABLES_MAX: usize = 256;
/// Longest name of a table, in bytes.
pub const TABLE_BYTES_MAX: usize = 128;
/// What a row costs beside its text, in bytes.
const ROW_OVERHEAD: usize = 96;

/// Why a row is not put on the shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShelfError {
    /// It is no row, or has another hash than it says.
    #[error(transparent)]
    Row(#[from] HashError),
    /// No room, not even when everything was dropped that is not needed.
    #[error("no room for more rows")]
    Full,
    /// More tables than [`TABLES_MAX`], or a name longer than [`TABLE_BYTES_MAX`].
    #[error("too many tables, or too long a name")]
    Table,
}

/// A row.
#[derive(Debug)]
struct Row {
    text: Box<str>,
    /// Grows with each use.
    used: u64,
    /// The page it is stored in.
    page: Option<PageId>,
}

impl Row {
    fn bytes(&self) -> usize {
        self.text.len() + ROW_OVERHEAD
    }
}

type Rows = BTreeMap<Hash, Row>;

/// Rows, and an index of blobs.
#[derive(Debug, Default)]
pub struct Shelf {
    tables: BTreeMap<Box<str>, Rows>,
    blobs: Blobs,
    row_bytes: usize,
    row_bytes_max: usize,
    uses: u64,
    pages: pages::Pages,
}

impl Shelf {
    /// An empty shelf for this many bytes of rows and of blobs.
    pub fn new(row_bytes_max: usize, blob_bytes_max: u64) -> Self {
        Self { row_bytes_max, blobs: Blobs::new(blob_bytes_max), ..Self::default() }
    }

    /// The blobs.
    pub fn blobs(&mut self) -> &mut Blobs {
        &mut self.blobs
    }

    /// What rows take, in bytes of memory.
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Puts a row on the shelf, which has to say its hash. Tells the hash, and whether the row is new
    /// here: then it is to be recorded ([`write_entry`]). If there is no room, [`Shelf::clean`] makes
    /// some, unless all is needed.
    pub fn put(&mut self, table: &str, text: &str) -> Result<(Hash, bool), ShelfError> {
        let hash = verify(parse_row(text)?)?;
        let is_there = self.use_row(table, &hash).is_some();
        if !is_there && self.row_bytes + text.len() + ROW_OVERHEAD > self.row_bytes_max {
            return Err(ShelfError::Full);
        }
        self.keep(table, hash, text, None).map(|is_new| (hash, is_new))
    }

    /// Puts a row on the shelf whose hash is known, whether there is room or not: what was stored was
    /// put before, maybe with more room.
    fn keep(
        &mut self,
        table: &str,
        hash: Hash,
        text: &str,
        page: Option<PageId>,
    ) -> Result<bool, ShelfError> {
        if self.use_row(table, &hash).is_some() {
            return Ok(false);
        }
        let is_known = self.tables.contains_key(table);
        if !is_known && (self.tables.len() == TABLES_MAX || table.len() > TABLE_BYTES_MAX) {
            return Err(ShelfError::Table);
        }
        let row = Row { text: text.into(), used: self.uses, page };
        self.row_bytes += row.bytes();
        self.pages.count(&row);
        self.tables.entry(table.into()).or_default().insert(hash, row);
        Ok(true)
    }

    /// A row, if it is there.
    pub fn row(&self, table: &str, hash: &Hash) -> Option<&str> {
        Some(&self.tables.get(table)?.get(hash)?.text)
    }

    /// The same, and notes that it was used.
    pub fn use_row(&mut self, table: &str, hash: &Hash) -> Option<&str> {
        self.uses += 1;
        let row = self.tables.get_mut(table)?.get_mut(hash)?;
        row.used = self.uses;
        Some(&row.text)
    }

    /// Rows of a table, by their hashes.
    pub fn rows<'a>(&'a self, table: &str) -> impl Iterator<Item = (&'a Hash, &'a str)> + use<'a> {
        let rows = self.tables.get(table).into_iter().flatten();
        rows.map(|(hash, row)| (hash, &*row.text))
    }

    /// Whether a table has any rows.
    pub fn has_table(&self, table: &str) -> bool {
        self.tables.contains_key(table)
    }

    /// Makes room for `row_bytes` and `blob_bytes` more: drops what no tree of these roots needs, what
    /// was not used for longest first. Tells the blobs that are to be removed.
    ///
    /// All that the roots need is walked: whoever has little room should ask for some more at once.
    pub fn clean<'a>(
        &mut self,
        roots: impl IntoIterator<Item = (&'a str, Hash)>,
        row_bytes: usize,
        blob_bytes: u64,
    ) -> Vec<Hash> {
        let wanted = self.row_bytes.saturating_add(row_bytes);
        let mut excess = wanted.saturating_sub(self.row_bytes_max);
        if excess == 0 && self.blobs.has_room(blob_bytes) {
            return Vec::new();
        }
        let reached = self.reach(roots);
        let mut droppable: Vec<(u64, &str, Hash)> = self
            .tables
            .iter()
            .flat_map(|(table, rows)| rows.iter().map(|(hash, row)| (row.used, &**table, *hash)))
            .filter(|&(_, table, hash)| !reached.has_row(table, &hash))
            .collect();
        droppable.sort_unstable();
        let mut drops = Vec::new();
        for (_, table, hash) in droppable {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(self.tables[table][&hash].bytes());
            drops.push((table.to_owned(), hash));
        }
        drops.iter().for_each(|(table, hash)| self.drop_row(table, hash));
        self.blobs.clean(|blob| reached.has_blob(blob), blob_bytes)
    }

    fn drop_row(&mut self, table: &str, hash: &Hash) {
        let Some(rows) = self.tables.get_mut(table) else { return };
        if let Some(row) = rows.remove(hash) {
            self.row_bytes -= row.bytes();
            self.pages.discount(&row);
        }
        if rows.is_empty() {
            self.tables.remove(table);
        }
    }

    /// Panics if what is counted is not what is there.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let rows = || self.tables.values().flatten();
        assert_eq!(self.row_bytes, rows().map(|(_, row)| row.bytes()).sum::<usize>());
        for (hash, row) in rows() {
            assert_eq!(verify(parse_row(&row.text).unwrap()), Ok(*hash));
        }
        self.pages.check(rows().map(|(_, row)| row));
        self.blobs.check();
    }
}

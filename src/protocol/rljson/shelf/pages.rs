//! A shelf on disk: pages of rows, an index that names them, and entries of the journal.
//!
//! A row is recorded in the journal when it comes. When the journal has grown long, rows that are in
//! no page yet are written to a page, a record of its own, until few are left; then the index is
//! stored as the session's base, with the pages' numbers, the blobs, and the few rows that came
//! meanwhile. Pages never change. One whose rows were mostly dropped is given up: what is left of it
//! goes into a new page, and its number is used again once an index is stored that does not name it.
//!
//! A page that is there twice, or an old one in the place of a new one, does no harm: rows are
//! verified as they are read, and are what they are wherever they lie. Rows that were dropped come
//! back with their page, and are dropped again when there is no room.
//!
//! How the hub calls it, all in one checkpoint: [`Shelf::give_up_pages`], then [`Shelf::next_page`]
//! until there is none, each stored and answered ([`Shelf::on_page_stored`]), then
//! [`Shelf::write_index`] with `Effects::store_base`, and [`Shelf::on_index_stored`].

use std::collections::{BTreeMap, BTreeSet};

use super::{BLOB_BYTES_MAX, Row, Shelf, ShelfError};
use crate::codec::lib0::{Malformed, Reader, write_varbuf, write_varuint};
use crate::codec::rljson::{HASH_CHARS, Hash, HashError, parse_row, verify};
use crate::session::journal::Position;

/// Bytes of rows in a page: one more row may go beyond.
pub const PAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes of rows that are worth no page: they go into the index.
const LEFT_BYTES_MAX: usize = 256 << 10;
/// The version of pages and of the index.
const VERSION: u64 = 1;
const ROW: u8 = 1;
const BLOB: u8 = 2;

/// The number of a page: part of its record's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageId(pub u32);

/// Why a page, an index or an entry cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    /// It is cut, or has something where it should have something else.
    #[error("a stored shelf: {0}")]
    Malformed(#[from] Malformed),
    /// It has another version.
    #[error("a stored shelf has version {0}")]
    Version(u64),
    /// A row is not what it was.
    #[error("a stored row: {0}")]
    Row(#[from] HashError),
    /// There are more tables than a shelf has.
    #[error("a stored shelf: {0}")]
    Shelf(#[from] ShelfError),
}

/// What an index says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Everything recorded up to here is part of it.
    pub position: Position,
    /// The pages to be loaded.
    pub pages: Vec<PageId>,
}

/// Pages in use.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// Bytes of each that is stored, and of those the ones whose rows are still there.
    stored: BTreeMap<PageId, Fill>,
    /// Given up, but the stored index may name them.
    given_up: BTreeSet<PageId>,
    /// The same, and the index that is being stored does not.
    released: BTreeSet<PageId>,
    /// Bytes of rows in no page.
    left: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fill {
    written: usize,
    live: usize,
}

impl Pages {
    /// A row came.
    pub(super) fn count(&mut self, row: &Row) {
        match row.page {
            Some(page) => {
                let fill = self.stored.entry(page).or_default();
                fill.live += row.text.len();
            }
            None => self.left += row.text.len(),
        }
    }

    /// A row was dropped.
    pub(super) fn discount(&mut self, row: &Row) {
        match row.page {
            Some(page) => {
                if let Some(fill) = self.stored.get_mut(&page) {
                    fill.live -= row.text.len();
                }
            }
            None => self.left -= row.text.len(),
        }
    }

    fn free(&self) -> PageId {
        let is_free = |page: &PageId| {
            !self.stored.contains_key(page)
                && !self.given_up.contains(page)
                && !self.released.contains(page)
        };
        (0..).map(PageId).find(is_free).unwrap_or(PageId(u32::MAX))
    }

    #[cfg(test)]
    pub(super) fn check<'a>(&self, rows: impl Iterator<Item = &'a Row>) {
        let mut expected: BTreeMap<Option<PageId>, usize> = BTreeMap::new();
        for row in rows {
            *expected.entry(row.page).or_default() += row.text.len();
        }
        assert_eq!(self.left, expected.remove(&None).unwrap_or(0));
        for (page, fill) in &self.stored {
            assert_eq!(fill.live, expected.remove(&Some(*page)).unwrap_or(0));
            assert!(fill.live <= fill.written);
        }
        assert!(expected.is_empty());
    }
}

/// Appends the journal's entry of a row.
pub fn write_entry(out: &mut Vec<u8>, table: &str, text: &str) {
    out.push(ROW);
    write_row(out, table, text);
}

fn write_row(out: &mut Vec<u8>, table: &str, text: &str) {
    write_varbuf(out, table.as_bytes());
    write_varbuf(out, text.as_bytes());
}

impl Shelf {
    /// Appends the journal's entry of a blob that was written.
    pub fn write_blob_entry(out: &mut Vec<u8>, id: &Hash, size: u64, created_ms: u64) {
        out.push(BLOB);
        write_blob(out, id, size, created_ms);
    }

    /// Applies an entry of the journal.
    pub fn apply(&mut self, entry: &[u8]) -> Result<(), StoredError> {
        let mut reader = Reader::new(entry);
        match reader.byte()? {
            ROW => self.read_row(&mut reader, None)?,
            BLOB => self.read_blob(&mut reader)?,
            _ => return Err(Malformed::Tag.into()),
        }
        Ok(reader.end()?)
    }

    /// Gives up pages of which less than half is left.
    pub fn give_up_pages(&mut self) {
        let is_sparse = |fill: &Fill| fill.live < fill.written / 2;
        let sparse = self.pages.stored.iter().filter(|(_, fill)| is_sparse(fill));
        let sparse: BTreeSet<PageId> = sparse.map(|(page, _)| *page).collect();
        if sparse.is_empty() {
            return;
        }
        for row in self.tables.values_mut().flat_map(BTreeMap::values_mut) {
            if row.page.is_some_and(|page| sparse.contains(&page)) {
                row.page = None;
                self.pages.left += row.text.len();
            }
        }
        for page in sparse {
            self.pages.stored.remove(&page);
            self.pages.given_up.insert(page);
        }
    }

    /// Whether rows are to be stored in a page before the index.
    pub fn needs_page(&self) -> bool {
        self.pages.left > LEFT_BYTES_MAX
    }

    /// The next page to be stored, with its content; none if too little is left for one.
    pub fn next_page(&mut self) -> Option<(PageId, Vec<u8>)> {
        if !self.needs_page() {
            return None;
        }
        let page = self.pages.free();
        let mut content = Vec::new();
        write_varuint(&mut content, VERSION);
        let mut written = 0;
        let rows = self.tables.iter_mut().flat_map(|(table, rows)| {
            rows.values_mut().map(move |row| (table, row)).filter(|(_, row)| row.page.is_none())
        });
        for (table, row) in rows {
            if written >= PAGE_BYTES_MAX {
                break;
            }
            write_row(&mut content, table, &row.text);
            written += row.text.len();
            row.page = Some(page);
        }
        self.pages.left -= written;
        self.pages.stored.insert(page, Fill { written, live: written });
        Some((page, content))
    }

    /// Whether a page was stored: if not, its rows go into another one.
    pub fn on_page_stored(&mut self, page: PageId, is_stored: bool) {
        if is_stored || self.pages.stored.remove(&page).is_none() {
            return;
        }
        for row in self.tables.values_mut().flat_map(BTreeMap::values_mut) {
            if row.page == Some(page) {
                row.page = None;
                self.pages.left += row.text.len();
            }
        }
    }

    /// Appends the index, with everything recorded up to `position`. All pages have to be stored.
    pub fn write_index(&mut self, out: &mut Vec<u8>, position: Position) {
        write_varuint(out, VERSION);
        out.extend_from_slice(&position.to_le_bytes());
        write_varuint(out, self.pages.stored.len() as u64);
        self.pages.stored.keys().for_each(|page| write_varuint(out, u64::from(page.0)));
        let blobs: Vec<_> = self.blobs.list("", None).collect();
        write_varuint(out, blobs.len() as u64);
        for (id, size, created_ms) in blobs {
            write_blob(out, &id, size, created_ms);
        }
        let left = || {
            let rows = self
                .tables
                .iter()
                .flat_map(|(table, rows)| rows.values().map(move |row| (table, row)));
            rows.filter(|(_, row)| row.page.is_none())
        };
        write_varuint(out, left().count() as u64);
        left().for_each(|(table, row)| write_row(out, table, &row.text));
        self.pages.released.append(&mut self.pages.given_up);
    }

    /// Whether the index was stored: then pages that it does not name may be written over.
    pub fn on_index_stored(&mut self, is_stored: bool) {
        let mut released = std::mem::take(&mut self.pages.released);
        if !is_stored {
            self.pages.given_up.append(&mut released);
        }
    }

    /// Reads an index into an empty shelf. Its pages are to be loaded and read next, then entries of
    /// the journal after its position.
    pub fn read_index(&mut self, reader: &mut Reader<'_>) -> Result<Index, StoredError> {
        read_version(reader)?;
        let position = reader.bytes(8)?.try_into().map_err(|_| Malformed::End)?;
        let mut pages = Vec::new();
        for _ in 0..reader.count(1)? {
            let page = u32::try_from(reader.varuint()?).map_err(|_| Malformed::Number)?;
            pages.push(PageId(page));
        }
        for _ in 0..reader.count(HASH_CHARS + 2)? {
            self.read_blob(reader)?;
        }
        for _ in 0..reader.count(2)? {
            self.read_row(reader, None)?;
        }
        Ok(Index { position: Position::from_le_bytes(position), pages })
    }

    /// Reads a page that the index names.
    pub fn read_page(&mut self, page: PageId, content: &[u8]) -> Result<(), StoredError> {
        let mut reader = Reader::new(content);
        read_version(&mut reader)?;
        let before = reader.rest().len();
        self.pages.stored.entry(page).or_default().written = before;
        while !reader.is_empty() {
            self.read_row(&mut reader, Some(page))?;
        }
        Ok(())
    }

    fn read_row(
        &mut self,
        reader: &mut Reader<'_>,
        page: Option<PageId>,
    ) -> Result<(), StoredError> {
        let (table, text) = (reader.varstring()?, reader.varstring()?);
        let hash = verify(parse_row(text)?)?;
        self.keep(table, hash, text, page)?;
        Ok(())
    }

    fn read_blob(&mut self, reader: &mut Reader<'_>) -> Result<(), StoredError> {
        let id = reader.bytes(HASH_CHARS)?.try_into().map_err(|_| Malformed::End)?;
        let id = Hash::from_ascii(id).ok_or(Malformed::Tag)?;
        let (size, created_ms) = (reader.varuint()?, reader.varuint()?);
        if size > BLOB_BYTES_MAX {
            return Err(Malformed::Number.into());
        }
        self.blobs.put(id, size, created_ms);
        Ok(())
    }
}

fn write_blob(out: &mut Vec<u8>, id: &Hash, size: u64, created_ms: u64) {
    out.extend_from_slice(id.as_bytes());
    write_varuint(out, size);
    write_varuint(out, created_ms);
}

fn read_version(reader: &mut Reader<'_>) -> Result<(), StoredError> {
    match reader.varuint()? {
        VERSION => Ok(()),
        version => Err(StoredError::Version(version)),
    }
}

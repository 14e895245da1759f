use std::collections::BTreeMap;

use proptest::prelude::*;

use super::forest::{Folder, Forest};
use crate::codec::lib0::Reader;
use crate::codec::rljson::{EMPTY_ROOT, Hash, HashError, blob_id};
use crate::protocol::rljson::shelf::*;

const TABLE: &str = "sharedTree";

fn shelf() -> Shelf {
    Shelf::new(1 << 30, 1 << 40)
}

fn fill(shelf: &mut Shelf, forest: &Forest) {
    for (hash, text) in &forest.rows {
        assert_eq!(shelf.put(TABLE, text), Ok((*hash, true)));
        assert_eq!(shelf.put(TABLE, text), Ok((*hash, false)));
    }
}

#[test]
fn rows_are_verified_on_their_way_in() {
    let mut shelf = shelf();
    assert_eq!(shelf.put(TABLE, "{}"), Err(HashError::Absent.into()));
    assert!(shelf.put(TABLE, r#"{"a":1,"_hash":"YTfW0T6bdCWWdoaakK6bgN"}"#).is_err());
    assert!(shelf.put(TABLE, "[").is_err());
    assert_eq!(shelf.row_bytes(), 0);
    assert!(!shelf.has_table(TABLE));
}

#[test]
fn what_a_tree_lacks_is_told() {
    let mut forest = Forest::default();
    let root = forest.plant(&Folder::of(&[("a", 1, 1), ("d/b", 2, 1), ("d/c", 2, 2)]));
    let mut shelf = shelf();
    let mut asked = 0;
    let lacking = loop {
        let lacking = shelf.lacking(TABLE, root, 100);
        if lacking.rows.is_empty() {
            break lacking;
        }
        asked += lacking.rows.len();
        for hash in &lacking.rows {
            shelf.put(TABLE, &forest.rows[hash]).unwrap();
        }
    };
    assert_eq!(asked, forest.rows.len());
    let mut blobs = [1_u32, 2].map(|content| blob_id(&content.to_le_bytes()));
    blobs.sort_unstable();
    assert_eq!(lacking.blobs, blobs);
    shelf.blobs().put(blobs[0], 4, 0);
    assert_eq!(shelf.lacking(TABLE, root, 100).blobs, blobs[1..]);
    assert_eq!(shelf.lacking(TABLE, EMPTY_ROOT, 100), Lacking::default());
    assert_eq!(shelf.lacking("other", root, 100).rows, [root]);
}

#[test]
fn what_no_tree_needs_goes_first_if_there_is_no_room() {
    let mut forest = Forest::default();
    let old = forest.plant(&Folder::of(&[("a", 1, 1), ("b", 2, 1)]));
    let new = forest.plant(&Folder::of(&[("a", 1, 1), ("c", 3, 1)]));
    let mut full = shelf();
    fill(&mut full, &forest);
    for content in 1..=3_u32 {
        full.blobs().put(blob_id(&content.to_le_bytes()), 10, 0);
    }
    assert_eq!(full.clean([(TABLE, new)], 0, 0), []);

    let (bytes, blob_bytes) = (full.row_bytes(), full.blobs().bytes());
    let mut shelf = Shelf::new(bytes, blob_bytes);
    fill(&mut shelf, &forest);
    for content in 1..=3_u32 {
        shelf.blobs().put(blob_id(&content.to_le_bytes()), 10, 0);
    }
    let more = r#"{"_hash":"RBNvo1WzZ4oRRq0W9-hknp"}"#;
    assert_eq!(shelf.put("t", more), Err(ShelfError::Full));
    // Used lately, but of no use.
    shelf.use_row(TABLE, &old);
    assert_eq!(shelf.clean([(TABLE, new)], 1, 1), [blob_id(&2_u32.to_le_bytes())]);
    assert!(shelf.row(TABLE, &old).is_some());
    assert_eq!(shelf.lacking(TABLE, old, 9).rows.len(), 1);
    assert_eq!(shelf.lacking(TABLE, new, 9), Lacking::default());
    assert!(shelf.put("t", more).is_ok());
    // All else is needed.
    assert_eq!(shelf.clean([(TABLE, new), ("t", new)], usize::MAX / 2, u64::MAX), []);
    assert_eq!(shelf.lacking(TABLE, new, 9), Lacking::default());
    assert_eq!(shelf.row(TABLE, &old), None);
    shelf.check();
}

#[test]
fn tables_are_so_many() {
    let mut shelf = shelf();
    let row = r#"{"_hash":"RBNvo1WzZ4oRRq0W9-hknp"}"#;
    for table in 0..TABLES_MAX {
        assert!(shelf.put(&table.to_string(), row).is_ok());
    }
    assert_eq!(shelf.put("one more", row), Err(ShelfError::Table));
    assert!(shelf.put("0", row).is_ok());
    let long = "x".repeat(TABLE_BYTES_MAX + 1);
    assert_eq!(Shelf::new(1 << 20, 0).put(&long, row), Err(ShelfError::Table));
}

#[test]
fn blobs_are_digested_range_by_range() {
    let bytes: Vec<u8> = (0..RANGE_BYTES_MAX + 10).map(|at| at as u8).collect();
    let mut incoming = Incoming::new(blob_id(&bytes), bytes.len() as u64).unwrap();
    let mut ranges = 0;
    while let Some(range) = incoming.next_range() {
        ranges += 1;
        incoming.push(&bytes[range.start as usize..range.end as usize]).unwrap();
    }
    assert_eq!((ranges, incoming.finish()), (2, Ok(blob_id(&bytes))));

    let id = blob_id(b"abc");
    let with = |size, parts: &[&[u8]]| {
        let mut incoming = Incoming::new(id, size)?;
        parts.iter().try_for_each(|part| incoming.push(part))?;
        incoming.finish()
    };
    assert_eq!(with(3, &[b"a", b"", b"bc"]), Ok(id));
    assert_eq!(with(3, &[b"ab"]), Err(BlobError::Short));
    assert_eq!(with(3, &[b"ab", b"cd"]), Err(BlobError::TooLarge));
    assert_eq!(with(3, &[b"abd"]), Err(BlobError::Mismatch));
    assert_eq!(with(BLOB_BYTES_MAX + 1, &[]), Err(BlobError::TooLarge));
}

#[test]
fn blobs_are_listed_by_id() {
    let mut shelf = shelf();
    let blobs = shelf.blobs();
    let mut ids: Vec<Hash> = (0..50_u32).map(|number| blob_id(&number.to_le_bytes())).collect();
    ids.iter().for_each(|id| blobs.put(*id, 1, 7));
    ids.sort_unstable();
    assert_eq!(blobs.list("", None).map(|(id, ..)| id).collect::<Vec<_>>(), ids);
    assert_eq!(blobs.list("", Some(ids[47])).map(|(id, ..)| id).collect::<Vec<_>>(), ids[48..]);
    let prefix = &ids[9].as_str()[..3];
    assert_eq!(blobs.list(prefix, None).collect::<Vec<_>>(), [(ids[9], 1, 7)]);
    assert_eq!(blobs.use_blob(&ids[0]), Some((1, 7)));
    blobs.put(ids[0], 5, 8);
    assert_eq!((blobs.bytes(), blobs.use_blob(&ids[0])), (54, Some((5, 8))));
    blobs.forget(&ids[0]);
    assert_eq!((blobs.bytes(), blobs.use_blob(&ids[0])), (49, None));
}

/// A shelf, and what a disk has of it.
struct Kept {
    shelf: Shelf,
    pages: BTreeMap<PageId, Vec<u8>>,
    index: Option<Vec<u8>>,
    /// Entries of the journal by position.
    journal: Vec<Vec<u8>>,
    rows: BTreeMap<Hash, String>,
}

impl Kept {
    fn new() -> Self {
        Self {
            shelf: shelf(),
            pages: BTreeMap::new(),
            index: None,
            journal: Vec::new(),
            rows: BTreeMap::new(),
        }
    }

    fn put(&mut self, number: u32) {
        // Large ones, so that there are several pages.
        let text = format!("{{\"n\":{number},\"x\":\"{}\"}}", "x".repeat(100 << 10));
        let hash = crate::codec::rljson::hash(crate::codec::rljson::parse_row(&text).unwrap());
        let text = format!("{},\"_hash\":\"{}\"}}", &text[..text.len() - 1], hash.unwrap());
        let (hash, is_new) = self.shelf.put(TABLE, &text).unwrap();
        if is_new {
            let mut entry = Vec::new();
            write_entry(&mut entry, TABLE, &text);
            self.journal.push(entry);
        }
        self.rows.insert(hash, text);
    }

    /// Stores what is in no page, and the index, as far as the disk does.
    fn checkpoint(&mut self, pages: usize, stores_index: bool) {
        self.shelf.give_up_pages();
        let mut left = pages;
        while let Some((page, content)) = self.shelf.next_page() {
            if left == 0 {
                self.shelf.on_page_stored(page, false);
                return;
            }
            left -= 1;
            self.pages.insert(page, content);
            self.shelf.on_page_stored(page, true);
        }
        let mut index = Vec::new();
        self.shelf.write_index(&mut index, self.journal.len() as u64);
        if stores_index {
            self.index = Some(index);
        }
        self.shelf.on_index_stored(stores_index);
    }

    fn drop_half(&mut self) {
        let bytes = self.shelf.row_bytes() / 2 + 1;
        let spare = (1 << 30) - self.shelf.row_bytes() + bytes;
        self.shelf.clean([], spare, 0);
        self.rows.retain(|hash, _| self.shelf.row(TABLE, hash).is_some());
        assert!(self.shelf.row_bytes() < bytes);
    }

    fn crash(&mut self) {
        self.shelf = shelf();
        let mut position = 0;
        if let Some(index) = &self.index {
            let index = self.shelf.read_index(&mut Reader::new(index)).unwrap();
            position = index.position;
            for page in index.pages {
                self.shelf.read_page(page, &self.pages[&page]).unwrap();
            }
        }
        for entry in &self.journal[position as usize..] {
            self.shelf.apply(entry).unwrap();
        }
        // What was dropped may be back.
        self.check();
    }

    fn check(&self) {
        self.shelf.check();
        for (hash, text) in &self.rows {
            assert_eq!(self.shelf.row(TABLE, hash), Some(&**text));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(25))]

    #[test]
    fn no_crash_loses_a_row(ops in proptest::collection::vec((0..6_u8, 0..60_u32), 1..60)) {
        let mut kept = Kept::new();
        for (op, number) in ops {
            match op {
                0..=2 => (0..10).for_each(|more| kept.put(number + more)),
                3 => kept.checkpoint(number as usize % 4, number % 3 > 0),
                4 => kept.drop_half(),
                _ => kept.crash(),
            }
            kept.check();
        }
        kept.crash();
    }

    #[test]
    fn whatever_is_stored_it_does_not_panic(
        bytes: Vec<u8>, flips in proptest::collection::vec((any::<u16>(), 1..=255_u8), 1..6),
    ) {
        let (index, page, entry) = &*STORED;
        for stored in [&bytes, index, page, entry] {
            let mut changed = stored.clone();
            for (at, flip) in &flips {
                let at = usize::from(*at) % changed.len().max(1);
                changed.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= flip);
            }
            let mut shelf = shelf();
            let _ = shelf.apply(&changed);
            let _ = shelf.read_page(PageId(0), &changed);
            let _ = shelf.read_index(&mut Reader::new(&changed));
            // What was read is consistent, and can be stored and dropped.
            shelf.check();
            shelf.write_index(&mut Vec::new(), 0);
            let everything = 1 << 30;
            shelf.clean([], everything, u64::MAX);
            shelf.check();
        }
    }
}

/// An index, a page and an entry of the journal that are as they should be.
static STORED: std::sync::LazyLock<(Vec<u8>, Vec<u8>, Vec<u8>)> = std::sync::LazyLock::new(|| {
    let mut forest = Forest::default();
    let root = forest.plant(&Folder::of(&[("a", 1, 1), ("d/b", 2, 1)]));
    let (mut index, mut page, mut entry) = (Vec::new(), vec![1], Vec::new());
    let mut shelf = shelf();
    fill(&mut shelf, &forest);
    shelf.blobs().put(blob_id(b"x"), 5, 6);
    shelf.write_index(&mut index, 7);
    for text in forest.rows.values() {
        // An entry of the journal is its kind, then what a page has.
        let mut row = Vec::new();
        write_entry(&mut row, TABLE, text);
        page.extend_from_slice(&row[1..]);
    }
    write_entry(&mut entry, TABLE, &forest.rows[&root]);
    (index, page, entry)
});

#[test]
fn records_that_were_cut_or_changed_are_refused() {
    let mut kept = Kept::new();
    (0..3).for_each(|number| kept.put(number));
    let id = blob_id(b"x");
    let mut entry = Vec::new();
    Shelf::write_blob_entry(&mut entry, &id, 5, 6);
    kept.shelf.apply(&entry).unwrap();
    kept.checkpoint(9, true);
    let index = kept.index.unwrap();
    let mut again = shelf();
    let read = again.read_index(&mut Reader::new(&index)).unwrap();
    assert_eq!(read, Index { position: 3, pages: vec![PageId(0)] });
    assert_eq!(again.blobs().use_blob(&id), Some((5, 6)));
    for cut in 0..index.len() {
        assert!(shelf().read_index(&mut Reader::new(&index[..cut])).is_err());
    }
    let page = &kept.pages[&PageId(0)];
    let mut changed = page.clone();
    let last = changed.len() - 200;
    changed[last] ^= 1;
    assert!(matches!(shelf().read_page(PageId(0), &changed), Err(StoredError::Row(_))));
    assert!(shelf().read_page(PageId(0), &page[..page.len() - 1]).is_err());
    changed[0] = 9;
    assert_eq!(shelf().read_page(PageId(0), &changed), Err(StoredError::Version(9)));
}

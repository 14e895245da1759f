//! A folder of files as a client of the hub has it: the rows of its tree, and what is in the files,
//! which is made when it is asked for and kept nowhere.

use std::collections::BTreeMap;
use std::ops::Range;

use lockstep::codec::json;
use lockstep::codec::rljson::{Hash, ROW_DEPTH_MAX, blob_id, hash};

/// Files in one directory of the folder.
const FILES_PER_DIRECTORY: u32 = 50;

/// A folder.
#[derive(Debug)]
pub(super) struct Folder {
    /// The row of its root.
    pub(super) root: Hash,
    rows: BTreeMap<Hash, String>,
    /// Seeds of what is in files, by its hash.
    files: BTreeMap<Hash, u64>,
    file_bytes: usize,
}

impl Folder {
    /// A folder of so many files of this size, unlike those of another nonce.
    pub(super) fn new(nonce: u64, files: u32, file_bytes: usize) -> Self {
        let mut folder = Self {
            root: lockstep::codec::rljson::EMPTY_ROOT,
            rows: BTreeMap::new(),
            files: BTreeMap::new(),
            file_bytes,
        };
        let mut directories = Vec::new();
        for first in (0..files).step_by(FILES_PER_DIRECTORY as usize) {
            let path = format!("part-{}", first / FILES_PER_DIRECTORY);
            let last = files.min(first + FILES_PER_DIRECTORY);
            let own: Vec<Hash> = (first..last).map(|n| folder.file(&path, n, nonce)).collect();
            directories.push(folder.directory(&path, &own));
        }
        folder.root = folder.directory(".", &directories);
        folder
    }

    /// The row of this hash.
    pub(super) fn row(&self, hash: &Hash) -> Option<&str> {
        self.rows.get(hash).map(String::as_str)
    }

    /// Rows there are.
    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.len() as u64 * self.file_bytes as u64
    }

    /// Bytes of each.
    pub(super) fn file_bytes(&self) -> usize {
        self.file_bytes
    }

    /// A part of a file, as far as it goes.
    pub(super) fn read(&self, blob: &Hash, range: Range<usize>) -> Option<Vec<u8>> {
        let seed = *self.files.get(blob)?;
        let end = range.end.min(self.file_bytes);
        Some(content(seed, range.start.min(end)..end))
    }

    fn file(&mut self, directory: &str, number: u32, nonce: u64) -> Hash {
        let seed = nonce << 32 | u64::from(number);
        let blob = blob_id(&content(seed, 0..self.file_bytes));
        self.files.insert(blob, seed);
        let (name, size) = (format!("file-{number}.ts"), self.file_bytes);
        let meta = sealed(&format!(
            "\"name\":\"{name}\",\"type\":\"file\",\"relativePath\":\"{directory}/{name}\",\
             \"size\":{size},\"mtime\":{},\"blobId\":\"{blob}\"",
            1_767_225_600_000_u64 + u64::from(number)
        ));
        self.add(&format!("\"id\":\"{name}\",\"isParent\":false,\"meta\":{}", meta.1))
    }

    fn directory(&mut self, path: &str, children: &[Hash]) -> Hash {
        let meta = sealed(&format!(
            "\"name\":\"{path}\",\"type\":\"directory\",\"relativePath\":\"{path}\""
        ));
        let children: Vec<String> = children.iter().map(|child| format!("\"{child}\"")).collect();
        let (meta, children) = (meta.1, children.join(","));
        self.add(&format!(
            "\"id\":\"{path}\",\"isParent\":true,\"meta\":{meta},\"children\":[{children}]"
        ))
    }

    fn add(&mut self, members: &str) -> Hash {
        let (own, row) = sealed(members);
        self.rows.insert(own, row);
        own
    }
}

/// An object of these members with its hash, and the hash.
fn sealed(members: &str) -> (Hash, String) {
    let object = format!("{{{members}}}");
    let read = json::parse(&object, ROW_DEPTH_MAX).expect("it was written as JSON");
    let own = hash(read).expect("it has nothing that cannot be hashed");
    (own, format!("{{{members},\"_hash\":\"{own}\"}}"))
}

/// Bytes that nobody compresses, at any place of a file (splitmix64).
fn content(seed: u64, range: Range<usize>) -> Vec<u8> {
    let word = |at: usize| {
        let mut mixed = (seed << 24).wrapping_add(at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    };
    let first = range.start / 8;
    let words = (first..range.end.div_ceil(8)).flat_map(word);
    words.skip(range.start % 8).take(range.len()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_same_in_one_piece_and_in_several() {
        let folder = Folder::new(9, 3, 1_001);
        assert_eq!((folder.rows(), folder.bytes()), (5, 3_003));
        for blob in folder.files.keys() {
            let whole = folder.read(blob, 0..usize::MAX).unwrap();
            assert_eq!(blob_id(&whole), *blob);
            let parts = [0..13, 13..1_000, 1_000..5_000];
            let parts: Vec<u8> =
                parts.into_iter().flat_map(|part| folder.read(blob, part).unwrap()).collect();
            assert_eq!(parts, whole);
        }
    }

    #[test]
    fn folders_of_two_runs_have_nothing_in_common() {
        let (one, other) = (Folder::new(1, 60, 10), Folder::new(2, 60, 10));
        assert!(one.files.keys().all(|blob| !other.files.contains_key(blob)));
        assert_ne!(one.root, other.root);
        assert_eq!(one.rows(), 63);
    }
}

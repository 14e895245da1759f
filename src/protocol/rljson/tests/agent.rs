//! Clients that behave as FsAgents do: a folder that users change, and trees that are put in its place
//! (specs: rljson §9).

use std::collections::BTreeMap;

use super::forest::{Contents, File, Folder};
use crate::codec::rljson::{EMPTY_ROOT, Hash};

/// Where users put files.
pub(crate) const PATHS: [&str; 8] = ["a", "b", "c/a", "c/b", "c/d/a", "e", "e/a", "f"];

/// All files that users have made, each with a content of its own.
#[derive(Debug, Default)]
pub(crate) struct Files {
    made: u32,
    by_blob: BTreeMap<Hash, u32>,
}

impl Files {
    /// A new one. Clocks differ: by `later_ms`.
    pub(crate) fn make(&mut self, later_ms: u32) -> File {
        self.made += 1;
        let file = File { content: self.made, mtime_ms: self.made + later_ms };
        self.by_blob.insert(file.blob(), self.made);
        file
    }

    /// The file that somebody has read from the server.
    pub(crate) fn read(&self, blob: Hash, mtime_us: i64) -> File {
        File { content: self.by_blob[&blob], mtime_ms: (mtime_us / 1_000) as u32 }
    }
}

/// A client's folder and the trees that it knows of.
#[derive(Debug, Default)]
pub(crate) struct Agent {
    pub(crate) folder: Folder,
    /// What it last announced or put in place.
    pub(crate) known: Option<Hash>,
    /// The last ref that it heard or announced: it does not fetch that again.
    pub(crate) heard: Option<Hash>,
}

impl Agent {
    /// The tree that it last announced or put in place; at first that is an empty one.
    pub(crate) fn tree(&self) -> Hash {
        self.known.unwrap_or(EMPTY_ROOT)
    }

    /// A user changes a file, or deletes it; the files that are thrown away by that, on purpose.
    pub(crate) fn edit(&mut self, path: &str, file: Option<File>) -> Vec<File> {
        let before = self.folder.clone();
        match file {
            Some(file) => self.folder.put(path, Some(file)),
            None => self.folder.remove(path),
        }
        self.folder.lacks(&before)
    }

    /// Announces its folder, which is this tree, unless it knows that: what it was made from.
    pub(crate) fn announce(&mut self, root: Hash) -> Option<Option<Hash>> {
        if self.known == Some(root) {
            return None;
        }
        self.heard = Some(root);
        Some(self.known.replace(root))
    }

    /// Hears of a ref; whether that is to be fetched.
    pub(crate) fn hear(&mut self, root: Hash) -> bool {
        self.heard.replace(root) != Some(root)
    }

    /// Puts a tree in place, and deletes all else.
    pub(crate) fn apply(&mut self, root: Hash, contents: &Contents, files: &Files) {
        let mut folder = Folder::default();
        for (path, what) in contents {
            folder.put(path, what.map(|(blob, mtime_us)| files.read(blob, mtime_us)));
        }
        (self.known, self.folder) = (Some(root), folder);
    }
}

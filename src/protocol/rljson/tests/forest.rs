//! Folders of files, as clients have them, and the rows they make of them.

use std::collections::BTreeMap;

use serde_json::json;

use crate::codec::rljson::{Hash, Node, Row, blob_id, hash, parse_row, verify};

/// A file as a client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct File {
    pub(crate) content: u32,
    pub(crate) mtime_ms: u32,
}

impl File {
    pub(crate) fn blob(self) -> Hash {
        blob_id(&self.content.to_le_bytes())
    }
}

/// A folder: what is at each path, `None` being a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Folder(pub(crate) BTreeMap<String, Option<File>>);

impl Folder {
    pub(crate) fn of(files: &[(&str, u32, u32)]) -> Self {
        let mut folder = Self::default();
        for &(path, content, mtime_ms) in files {
            folder.put(path, Some(File { content, mtime_ms }));
        }
        folder
    }

    /// Puts a file or a directory somewhere, and takes away what is in its way.
    pub(crate) fn put(&mut self, path: &str, what: Option<File>) {
        for (at, _) in path.match_indices('/') {
            if self.0.get(&path[..at]).is_none_or(Option::is_some) {
                self.0.insert(path[..at].to_owned(), None);
            }
        }
        if what.is_some() || self.0.get(path).is_some_and(Option::is_some) {
            self.remove(path);
        }
        self.0.insert(path.to_owned(), what);
    }

    pub(crate) fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.0.retain(|other, _| other != path && !other.starts_with(&below));
    }

    pub(crate) fn file(&self, path: &str) -> Option<File> {
        self.0.get(path).copied().flatten()
    }

    /// Files of another folder that this one has nowhere.
    pub(crate) fn lacks(&self, other: &Self) -> Vec<File> {
        let has = |gone: &File| self.files().any(|(_, file)| file == *gone);
        other.files().map(|(_, file)| file).filter(|file| !has(file)).collect()
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, File)> {
        self.0.iter().filter_map(|(path, what)| Some((path.as_str(), (*what)?)))
    }
}

/// What is in a tree: the content of each file and when it was written, `None` for a directory.
pub(crate) type Contents = BTreeMap<String, Option<(Hash, i64)>>;

/// All rows there are, and all blobs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forest {
    pub(crate) rows: BTreeMap<Hash, String>,
    pub(crate) blobs: BTreeMap<Hash, Vec<u8>>,
}

impl Forest {
    pub(crate) fn row(&self, hash: &Hash) -> Option<&str> {
        self.rows.get(hash).map(String::as_str)
    }

    /// Plants a folder as a client does: the root's hash.
    pub(crate) fn plant(&mut self, folder: &Folder) -> Hash {
        self.directory(folder, ".")
    }

    fn directory(&mut self, folder: &Folder, path: &str) -> Hash {
        let mut children = Vec::new();
        for (at, what) in &folder.0 {
            let above = at.rsplit_once('/').map_or(".", |(above, _)| above);
            if above == path {
                children.push(match what {
                    Some(file) => self.file(at, *file).to_string(),
                    None => self.directory(folder, at).to_string(),
                });
            }
        }
        let name = path.rsplit('/').next().unwrap();
        let meta = json!({ "name": name, "type": "directory", "relativePath": path });
        let mut row = json!({ "id": name, "isParent": !children.is_empty(), "meta": meta });
        if !children.is_empty() {
            row["children"] = json!(children);
        }
        self.add(row)
    }

    fn file(&mut self, path: &str, file: File) -> Hash {
        self.blobs.insert(file.blob(), file.content.to_le_bytes().to_vec());
        let name = path.rsplit('/').next().unwrap();
        let meta = json!({
            "name": name, "type": "file", "relativePath": path, "size": 4,
            "mtime": file.mtime_ms, "blobId": file.blob().as_str(),
        });
        self.add(json!({ "id": name, "isParent": false, "meta": meta }))
    }

    fn add(&mut self, mut row: serde_json::Value) -> Hash {
        let of = |row: &serde_json::Value| hash(parse_row(&row.to_string()).unwrap()).unwrap();
        row["meta"]["_hash"] = json!(of(&row["meta"]).as_str());
        let hash = of(&row);
        row["_hash"] = json!(hash.as_str());
        self.rows.insert(hash, row.to_string());
        hash
    }

    /// Adds rows that were made elsewhere, which have to be right.
    pub(crate) fn take(&mut self, rows: &[(Hash, String)]) {
        for (hash, text) in rows {
            assert_eq!(verify(parse_row(text).unwrap()), Ok(*hash));
            self.rows.insert(*hash, text.clone());
        }
    }

    /// What is in a tree: every path, with the content of files. Panics if a row is missing or out
    /// of place.
    pub(crate) fn contents(&self, root: Hash) -> Contents {
        let mut contents = BTreeMap::new();
        let mut directories = vec![root];
        while let Some(hash) = directories.pop() {
            let directory = Row::read(hash, &self.rows[&hash]).unwrap();
            for &child in directory.children() {
                let row = Row::read(child, &self.rows[&child]).unwrap();
                assert!(row.is_in(&directory));
                let what = match row.node {
                    Node::File { blob, mtime_us } => Some((blob.unwrap(), mtime_us)),
                    Node::Directory { .. } => {
                        directories.push(child);
                        None
                    }
                };
                assert!(contents.insert(row.path.to_string(), what).is_none(), "{}", row.path);
            }
        }
        contents
    }
}

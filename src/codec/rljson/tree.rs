//! Rows of trees of files (specs: rljson §6): one for each file and directory, each directory naming
//! its children by their hashes.

use std::borrow::Cow;

use super::{Hash, HashError, hash, parse_row};
use crate::codec::json::{self, JsonError, Raw, write_string};

/// The root of a tree without files: always the same.
pub const EMPTY_ROOT: Hash =
    Hash::new("YTfW0T6bdCWWdoaakK6bgN").expect("22 characters of base64url");
/// Its row, which nobody need be asked for.
pub const EMPTY_ROOT_ROW: &str = concat!(
    r#"{"id":".","isParent":false,"meta":{"name":".","type":"directory","relativePath":".","#,
    r#""_hash":"gJimCXxx6iZqkVdiyq7Go2"},"_hash":"YTfW0T6bdCWWdoaakK6bgN"}"#,
);
/// Path and name of a root.
const ROOT: &str = ".";
/// Longest name of a file or directory, in bytes: what file systems allow.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest path within a tree, in bytes.
pub const PATH_BYTES_MAX: usize = 4096;

/// Why a row is none of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// It is no row at all.
    #[error(transparent)]
    Row(#[from] HashError),
    /// A member is missing, or is not what it has to be; or a blob or a child is not named by a hash.
    #[error("a row of a tree lacks {0}")]
    Member(&'static str),
    /// A name that no file can have, or a path that does not end in the name.
    #[error("a row of a tree has a name that does not fit its path")]
    Name,
}

/// A row of a tree.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// The row, read as far as it is opaque.
    raw: Raw<'a>,
    meta: Raw<'a>,
    /// What its content is called: not recomputed, the row was verified when it came.
    pub hash: Hash,
    /// Its path from the root, `/` between names; `.` for the root.
    pub path: Cow<'a, str>,
    /// What it is.
    pub node: Node,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A file.
    File {
        /// Its content, if the row tells.
        blob: Option<Hash>,
        /// When it was last written, in microseconds since the Unix epoch; 0 if that is not told.
        mtime_us: i64,
    },
    /// A directory.
    Directory {
        /// The rows of what is in it.
        children: Vec<Hash>,
    },
}

/// What makes two files at a path the same (specs: rljson §8): not when they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// Files of this content.
    Content(Hash),
    /// A file whose content is not told is only the same as itself.
    Row(Hash),
    /// All directories.
    Directory,
}

impl<'a> Row<'a> {
    /// Reads the row that `hash` names, which was verified before.
    pub fn read(hash: Hash, text: &'a str) -> Result<Self, TreeError> {
        let raw = parse_row(text)?;
        let meta = member(raw, "meta").filter(|meta| meta.is_object());
        let meta = meta.ok_or(TreeError::Member("meta"))?;
        let text_of = |key| member(meta, key).and_then(Raw::to_string_value);
        let path = text_of("relativePath").ok_or(TreeError::Member("meta.relativePath"))?;
        let node = match text_of("type").as_deref() {
            Some("file") => file(meta)?,
            Some("directory") => Node::Directory { children: children(raw)? },
            _ => return Err(TreeError::Member("meta.type")),
        };
        let row = Self { raw, meta, hash, path, node };
        let is_own = text_of("name").is_some_and(|name| name == row.name());
        if is_own && is_path(&row.path) { Ok(row) } else { Err(TreeError::Name) }
    }

    /// Its name: the last part of its path.
    pub fn name(&self) -> &str {
        self.path.rsplit_once('/').map_or(&self.path, |(_, name)| name)
    }

    /// Whether its path is the root's.
    pub fn is_root(&self) -> bool {
        self.path == ROOT
    }

    /// Whether it lies directly in this directory.
    pub fn is_in(&self, directory: &Row<'_>) -> bool {
        match self.path.rsplit_once('/') {
            Some((above, _)) => above == directory.path,
            None => directory.is_root() && !self.is_root(),
        }
    }

    /// What it has in common with others at its path.
    pub fn identity(&self) -> Identity {
        match self.node {
            Node::File { blob: Some(blob), .. } => Identity::Content(blob),
            Node::File { blob: None, .. } => Identity::Row(self.hash),
            Node::Directory { .. } => Identity::Directory,
        }
    }

    /// The rows of what is in it: none in a file.
    pub fn children(&self) -> &[Hash] {
        match &self.node {
            Node::Directory { children } => children,
            Node::File { .. } => &[],
        }
    }

    /// When it was last written, as far as that is told; 0 otherwise.
    pub fn mtime_us(&self) -> i64 {
        match self.node {
            Node::File { mtime_us, .. } => mtime_us,
            Node::Directory { .. } => 0,
        }
    }

    /// This directory with other children: the row and its hash. Without any it looks as clients have
    /// it: no parent, no `children`.
    pub fn with_children(&self, children: &[Hash]) -> Result<(Hash, String), HashError> {
        let list =
            children.iter().map(|child| format!("\"{child}\"")).collect::<Vec<_>>().join(",");
        let list = if children.is_empty() { None } else { Some(format!("[{list}]")) };
        let is_parent = if children.is_empty() { "false" } else { "true" };
        let row =
            rewritten(self.raw, &[("isParent", Some(is_parent)), ("children", list.as_deref())]);
        hashed(row)
    }

    /// This file by another name in the same directory: the row and its hash.
    pub fn renamed(&self, name: &str) -> Result<(Hash, String), HashError> {
        let path = match self.path.rsplit_once('/') {
            Some((above, _)) => format!("{above}/{name}"),
            None => name.to_owned(),
        };
        let (name, path) = (quoted(name), quoted(&path));
        let meta = rewritten(self.meta, &[("name", Some(&name)), ("relativePath", Some(&path))]);
        let (_, meta) = hashed(meta)?;
        hashed(rewritten(self.raw, &[("id", Some(&name)), ("meta", Some(&meta))]))
    }
}

fn file(meta: Raw<'_>) -> Result<Node, TreeError> {
    let blob = match member(meta, "blobId") {
        None => None,
        Some(id) => Some(hash_of(id).ok_or(TreeError::Member("meta.blobId"))?),
    };
    // Saturates; what is beyond orders last all the same.
    let mtime_us = member(meta, "mtime").and_then(Raw::as_f64).map_or(0, |ms| (ms * 1e3) as i64);
    Ok(Node::File { blob, mtime_us })
}

fn children(row: Raw<'_>) -> Result<Vec<Hash>, TreeError> {
    let Some(children) = member(row, "children") else { return Ok(Vec::new()) };
    if !children.is_array() {
        return Err(TreeError::Member("children"));
    }
    let children: Option<Vec<Hash>> = children.elements().map(hash_of).collect();
    children.ok_or(TreeError::Member("children"))
}

fn hash_of(value: Raw<'_>) -> Option<Hash> {
    value.to_string_value().and_then(|text| Hash::new(&text))
}

/// A member that is there and not `null`.
fn member<'a>(object: Raw<'a>, key: &str) -> Option<Raw<'a>> {
    let found = object.fields().filter(|(own, _)| own.is_string_of(key)).last();
    found.map(|(_, value)| value).filter(|value| !value.is_null())
}

/// Whether a path may be looked at: every part is the name of something.
fn is_path(path: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty() && name.len() <= NAME_BYTES_MAX && name != ".." && !name.contains('\0')
    };
    let is_below = path.split('/').all(|name| is_name(name) && name != ROOT);
    path == ROOT || path.len() <= PATH_BYTES_MAX && is_below
}

fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    write_string(&mut out, text);
    String::from_utf8(out).unwrap_or_default()
}

/// The members of an object but its hash, without the brace that ends it, some of them replaced or
/// left out.
fn rewritten(object: Raw<'_>, changes: &[(&str, Option<&str>)]) -> String {
    let mut out = String::from("{");
    let mut push = |key: &str, value: &str| {
        let comma = if out.len() > 1 { "," } else { "" };
        out.extend([comma, key, ":", value]);
    };
    for (key, value) in object.fields() {
        let is_changed = changes.iter().any(|(changed, _)| key.is_string_of(changed));
        if !is_changed && !key.is_string_of("_hash") {
            push(key.as_str(), value.as_str());
        }
    }
    for (key, value) in changes {
        if let Some(value) = value {
            push(&quoted(key), value);
        }
    }
    out
}

/// Ends an object with its hash.
fn hashed(mut object: String) -> Result<(Hash, String), HashError> {
    object.push('}');
    let hash = hash(json::parse(&object, super::ROW_DEPTH_MAX).map_err(too_deep)?)?;
    object.pop();
    let comma = if object.len() > 1 { "," } else { "" };
    object.extend([comma, "\"_hash\":\"", hash.as_str(), "\"}"]);
    Ok((hash, object))
}

fn too_deep(error: JsonError) -> HashError {
    debug_assert!(false, "what was read is written as valid JSON: {error}");
    HashError::Json(error)
}

//! Rows of rljson and trees of them: any bytes are read without a panic, a hash is one of what it
//! names, and trees that cross are merged the same whichever side is called which. What is announced
//! and what is stored of it are read from the same bytes.
//!
//! Input: lines. One that is a row is put into the root of the tree that is being made. One that begins
//! with 0, 1 or 2 makes that tree the one being made, and the rest is a path and, behind a `:`, a
//! file's content; without, it is a directory.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use lockstep::codec::json::{self, write_string};
use lockstep::codec::lib0::Reader;
use lockstep::codec::rljson::{Hash, Node, Row, blob_id, hash, parse_row, verify};
use lockstep::protocol::rljson::merge::{Conflicts, Merged, merge};
use lockstep::protocol::rljson::route::{Change, PACE, Payload, PayloadError, Route};
use lockstep::protocol::rljson::shelf::{PageId, Shelf};

/// Lines that are looked at.
const LINES_MAX: usize = 200;

/// All rows there are, by their hashes.
type Forest = BTreeMap<Hash, String>;

/// What a tree is made of: what is at each path, and rows that somebody put into its root.
#[derive(Default)]
struct Tree {
    paths: BTreeMap<String, Option<Vec<u8>>>,
    strangers: Vec<Hash>,
}

impl Tree {
    /// Puts something at a path, and directories above it.
    fn put(&mut self, path: &str, content: Option<&[u8]>) {
        let path = path.trim_matches('/');
        if path.is_empty() {
            return;
        }
        for (at, _) in path.match_indices('/') {
            self.paths.insert(path[..at].to_owned(), None);
        }
        self.paths.insert(path.to_owned(), content.map(<[u8]>::to_vec));
    }

    /// The rows of what lies in this directory, and all below.
    fn plant(&self, directory: &str, forest: &mut Forest, deep: usize) -> Vec<Hash> {
        let mut children = Vec::new();
        for (path, what) in &self.paths {
            let above = path.rsplit_once('/').map_or(".", |(above, _)| above);
            if above != directory || deep > 70 {
                continue;
            }
            let below =
                if what.is_none() { self.plant(path, forest, deep + 1) } else { Vec::new() };
            children.extend(row(path, what.as_deref(), &below, forest));
        }
        children
    }

    fn root(&self, forest: &mut Forest) -> Hash {
        let mut children = self.plant(".", forest, 0);
        children.extend(&self.strangers);
        row(".", None, &children, forest).expect("a root has a hash")
    }
}

/// Makes a row of a tree as clients do.
fn row(path: &str, content: Option<&[u8]>, below: &[Hash], forest: &mut Forest) -> Option<Hash> {
    let quoted = |text: &str| {
        let mut out = Vec::new();
        write_string(&mut out, text);
        String::from_utf8(out).expect("JSON is UTF-8")
    };
    let (name, path) = (quoted(path.rsplit('/').next().unwrap_or(path)), quoted(path));
    let kind = match content {
        None => "\"type\":\"directory\"".to_owned(),
        Some(bytes) => {
            let (blob, mtime) = (blob_id(bytes), bytes.first().copied().unwrap_or(0));
            format!("\"type\":\"file\",\"blobId\":\"{blob}\",\"mtime\":{mtime}")
        }
    };
    let list: Vec<String> = below.iter().map(|child| format!("\"{child}\"")).collect();
    let (is_parent, list) = (!below.is_empty(), list.join(","));
    let text = format!(
        "{{\"id\":{name},\"isParent\":{is_parent},\"children\":[{list}],\
         \"meta\":{{\"name\":{name},\"relativePath\":{path},{kind}}}}}"
    );
    // A path may have what cannot be hashed.
    let own = hash(parse_row(&text).ok()?).ok()?;
    forest.insert(own, text);
    Some(own)
}

/// Reads what may be a row; its hash and the row that says it, if that is sound.
fn read(text: &str) -> Option<(Hash, String)> {
    let raw = parse_row(text).ok()?;
    let own = hash(raw).ok();
    if let Ok(said) = verify(raw) {
        assert_eq!(own, Some(said), "what was verified has another hash");
    }
    let (own, members) = (own?, text.trim_end().strip_suffix('}')?);
    let sealed = format!("{members},\"_hash\":\"{own}\"}}");
    // What is in it may say a wrong hash.
    if verify(parse_row(&sealed).ok()?) != Ok(own) {
        return None;
    }
    if let Ok(row) = Row::read(own, &sealed) {
        check_changed(&row);
    }
    Some((own, sealed))
}

/// What is made of a row is one again.
fn check_changed(row: &Row<'_>) {
    let made = match &row.node {
        Node::Directory { children } => row.with_children(children),
        Node::File { .. } if row.is_root() => return,
        Node::File { .. } => row.renamed("a \"name\""),
    };
    let (own, text) = made.expect("it was read before");
    assert_eq!(verify(parse_row(&text).expect("a row was made")), Ok(own), "{text}");
    let made = Row::read(own, &text).expect("it was made as a row of a tree");
    assert_eq!(made.children(), row.children());
    if matches!(row.node, Node::File { .. }) {
        assert_eq!((made.name(), made.mtime_us()), ("a \"name\"", row.mtime_us()));
    } else {
        assert_eq!(made.path, row.path);
    }
}

fn check_merged(merged: &Merged) {
    for (own, text) in &merged.rows {
        assert_eq!(verify(parse_row(text).expect("a row was made")), Ok(*own));
        assert!(Row::read(*own, text).is_ok(), "{text}");
    }
}

/// What is announced, and is handed on with who it comes from.
fn check_payload(line: &str) {
    let read = |text: &str| json::parse(text, 64).ok().map(Payload::read);
    let Some(Ok(payload)) = read(line) else { return };
    let relayed = payload.relayed("client_1_a");
    assert!(matches!(read(&relayed), Some(Err(PayloadError::Relayed))), "{relayed}");
}

/// What is stored, from anything.
fn check_stored(data: &[u8]) {
    let mut shelf = Shelf::new(1 << 20, 1 << 20);
    let _ = shelf.apply(data);
    let _ = shelf.read_index(&mut Reader::new(data));
    let _ = shelf.read_page(PageId(1), data);
    let restored = |stored: &[u8]| {
        let mut route = Route::new(PACE);
        route.restore(&mut Reader::new(stored)).is_ok().then_some(route)
    };
    let mut route = restored(data).unwrap_or_else(|| Route::new(PACE));
    if let Ok(change) = Change::read(&mut Reader::new(data)) {
        let _ = route.apply(&change);
    }
    let (mut stored, mut again) = (Vec::new(), Vec::new());
    route.write(&mut stored);
    restored(&stored).expect("it was written so").write(&mut again);
    assert_eq!(stored, again);
}

fuzz_target!(|data: &[u8]| {
    check_stored(data);
    let text = String::from_utf8_lossy(data);
    let (mut trees, mut forest, mut current) = <(Vec<Tree>, Forest, usize)>::default();
    trees.resize_with(3, Tree::default);
    for line in text.split('\n').take(LINES_MAX) {
        check_payload(line);
        if let Some((own, row)) = read(line) {
            forest.insert(own, row);
            trees[current].strangers.push(own);
        } else if let Some(number) = line.chars().next().and_then(|first| first.to_digit(3)) {
            current = number as usize;
            match line[1..].split_once(':') {
                Some((path, content)) => trees[current].put(path, Some(content.as_bytes())),
                None => trees[current].put(&line[1..], None),
            }
        }
    }
    let roots: Vec<Hash> = trees.iter().map(|tree| tree.root(&mut forest)).collect();
    let lookup = |hash: &Hash| forest.get(hash).map(String::as_str);
    let [base, ours, theirs] = roots[..] else { unreachable!("there are three") };
    for conflicts in [Conflicts::Newest, Conflicts::KeepBoth] {
        for bases in [&[None][..], &[Some(base)]] {
            let one = merge(bases, ours, theirs, conflicts, lookup);
            let other = merge(bases, theirs, ours, conflicts, lookup);
            assert_eq!(one.is_ok(), other.is_ok());
            let (Ok(one), Ok(other)) = (one, other) else { continue };
            assert_eq!(one.root, other.root, "it matters which side is called which");
            check_merged(&one);
        }
    }
    let several = [None, Some(base), Some(ours)];
    let _ = merge(&several, ours, theirs, Conflicts::default(), lookup).map(|it| check_merged(&it));
});

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::forest::{File, Folder, Forest};
use crate::codec::rljson::{EMPTY_ROOT, Hash, Row, blob_id};
use crate::protocol::rljson::merge::{Conflicts, MergeError, Merged, merge, nearest};

const BOTH: Conflicts = Conflicts::KeepBoth;
const NEWEST: Conflicts = Conflicts::Newest;

fn try_merge(
    forest: &Forest,
    base: Option<Hash>,
    ours: Hash,
    theirs: Hash,
    conflicts: Conflicts,
) -> Result<Merged, MergeError> {
    merge(base, ours, theirs, conflicts, |hash| forest.row(hash))
}

/// Merges, whichever side is which, and adds the rows.
fn merged(
    forest: &mut Forest,
    base: Option<Hash>,
    ours: Hash,
    theirs: Hash,
    conflicts: Conflicts,
) -> Hash {
    let one = try_merge(forest, base, ours, theirs, conflicts).unwrap();
    let other = try_merge(forest, base, theirs, ours, conflicts).unwrap();
    assert_eq!(one, other);
    forest.take(&one.rows);
    one.root
}

/// What is in the merged tree, without times.
fn outcome(
    base: Option<&[(&str, u32, u32)]>,
    ours: &[(&str, u32, u32)],
    theirs: &[(&str, u32, u32)],
    conflicts: Conflicts,
) -> BTreeMap<String, Option<Hash>> {
    let mut forest = Forest::default();
    let base = base.map(|base| forest.plant(&Folder::of(base)));
    let (ours, theirs) = (forest.plant(&Folder::of(ours)), forest.plant(&Folder::of(theirs)));
    let root = merged(&mut forest, base, ours, theirs, conflicts);
    let contents = forest.contents(root);
    contents.into_iter().map(|(path, what)| (path, what.map(|(blob, _)| blob))).collect()
}

fn expected(paths: &[(&str, Option<u32>)]) -> BTreeMap<String, Option<Hash>> {
    let blob = |content: u32| blob_id(&content.to_le_bytes());
    paths.iter().map(|&(path, content)| (path.to_owned(), content.map(blob))).collect()
}

fn copy_name(stem: &str, content: u32, ending: &str) -> String {
    let blob = blob_id(&content.to_le_bytes());
    format!("{stem} (conflict {}){ending}", &blob.as_str()[..8])
}

#[test]
fn edits_of_different_files_are_both_kept() {
    let base: &[_] = &[("a", 1, 1), ("d/b", 2, 1), ("d/c", 3, 1)];
    let found = outcome(
        Some(base),
        &[("a", 9, 2), ("d/b", 2, 1), ("d/c", 3, 1)],
        &[("a", 1, 1), ("d/b", 2, 1), ("d/new", 4, 1)],
        BOTH,
    );
    let all = expected(&[("a", Some(9)), ("d", None), ("d/b", Some(2)), ("d/new", Some(4))]);
    assert_eq!(found, all);
}

#[test]
fn without_a_base_the_union_is_kept() {
    let found = outcome(None, &[("a", 1, 1)], &[("d/b", 2, 1)], BOTH);
    assert_eq!(found, expected(&[("a", Some(1)), ("d", None), ("d/b", Some(2))]));
}

#[test]
fn an_empty_late_joiner_deletes_nothing() {
    let mut forest = Forest::default();
    let full = forest.plant(&Folder::of(&[("a", 1, 1), ("d/b", 2, 1)]));
    assert_eq!(forest.plant(&Folder::default()), EMPTY_ROOT);
    let merge = try_merge(&forest, None, EMPTY_ROOT, full, BOTH).unwrap();
    assert_eq!(merge, Merged { root: full, rows: vec![] });
    let emptied = try_merge(&forest, Some(full), EMPTY_ROOT, full, BOTH).unwrap();
    assert_eq!(emptied.root, EMPTY_ROOT);
}

#[test]
fn an_edit_wins_over_a_deletion_and_brings_its_directory_back() {
    let base: &[_] = &[("d/e/a", 1, 1), ("d/b", 2, 1)];
    let found = outcome(Some(base), &[], &[("d/e/a", 7, 2), ("d/b", 2, 1)], BOTH);
    assert_eq!(found, expected(&[("d", None), ("d/e", None), ("d/e/a", Some(7))]));
    // Not if only its time differs.
    let found = outcome(Some(base), &[("d/b", 2, 1)], &[("d/e/a", 1, 9), ("d/b", 2, 1)], BOTH);
    assert_eq!(found, expected(&[("d", None), ("d/b", Some(2))]));
}

#[test]
fn of_two_edits_the_newer_keeps_the_name() {
    let sides: [&[_]; 3] = [&[("a.txt", 1, 1)], &[("a.txt", 2, 5)], &[("a.txt", 3, 4)]];
    let found = outcome(Some(sides[0]), sides[1], sides[2], NEWEST);
    assert_eq!(found, expected(&[("a.txt", Some(2))]));
    let copy = copy_name("a", 3, ".txt");
    let all = expected(&[("a.txt", Some(2)), (&copy, Some(3))]);
    assert_eq!(outcome(Some(sides[0]), sides[1], sides[2], BOTH), all);
    assert_eq!(outcome(None, sides[1], sides[2], BOTH), all);
}

#[test]
fn the_same_content_written_twice_is_no_conflict() {
    let mut forest = Forest::default();
    let [old, new] = [3, 8].map(|mtime| forest.plant(&Folder::of(&[("a", 1, mtime)])));
    assert_eq!(merged(&mut forest, None, old, new, BOTH), new);
}

#[test]
fn a_side_that_only_touched_a_file_loses_against_an_edit() {
    let found = outcome(Some(&[("a", 1, 1)]), &[("a", 1, 9)], &[("a", 2, 2)], BOTH);
    assert_eq!(found, expected(&[("a", Some(2))]));
}

#[test]
fn a_directory_keeps_its_name_against_a_file() {
    let copy = copy_name("x", 2, "");
    let dir = [("x/a", 5, 1)];
    let all = expected(&[("x", None), ("x/a", Some(5)), (&copy, Some(2))]);
    assert_eq!(outcome(None, &[("x", 2, 9)], &dir, NEWEST), all);
    // An edit of what became a directory.
    assert_eq!(outcome(Some(&[("x", 1, 1)]), &[("x", 2, 9)], &dir, BOTH), all);
    // No edit.
    let found = outcome(Some(&[("x", 2, 1)]), &[("x", 2, 9)], &dir, BOTH);
    assert_eq!(found, expected(&[("x", None), ("x/a", Some(5))]));
    // A directory became a file, while something in it was edited, or something deleted.
    let base = [("x/a", 4, 1), ("x/b", 6, 1)];
    assert_eq!(outcome(Some(&base), &[("x", 2, 9)], &[("x/a", 5, 1), ("x/b", 6, 1)], BOTH), all);
    let found = outcome(Some(&base), &[("x", 2, 9)], &[("x/b", 6, 1)], BOTH);
    assert_eq!(found, expected(&[("x", Some(2))]));
}

#[test]
fn a_name_that_is_taken_is_not_taken_again() {
    let copy = copy_name("a", 3, "");
    let found = outcome(Some(&[("a", 1, 1)]), &[("a", 2, 5)], &[("a", 3, 4), (&copy, 7, 1)], BOTH);
    let longer = format!("a (conflict {})", blob_id(&3_u32.to_le_bytes()));
    let all = expected(&[("a", Some(2)), (&copy, Some(7)), (&longer, Some(3))]);
    assert_eq!(found, all);
}

#[test]
fn long_names_stay_names() {
    let long = format!("{}.txt", "\u{e9}".repeat(125));
    let found = outcome(None, &[(&long, 1, 1)], &[(&long, 2, 2)], BOTH);
    assert_eq!(found.len(), 2);
    assert!(found.keys().all(|name| name.len() <= 255 && name.ends_with(".txt")));
}

#[test]
fn what_is_missing_is_told_level_by_level_and_nothing_else() {
    let mut forest = Forest::default();
    let shared = [("s/1", 1, 1), ("s/2", 2, 1)];
    let side = |more: (&'static str, u32, u32)| Folder::of(&[&shared[..], &[more]].concat());
    let [base, ours, theirs] =
        [("d/a", 1, 1), ("d/a", 2, 2), ("d/a", 3, 3)].map(|more| forest.plant(&side(more)));
    let mut here = Forest::default();
    let mut rounds = 0;
    let result = loop {
        match try_merge(&here, Some(base), ours, theirs, BOTH) {
            Err(MergeError::Missing(hashes)) => {
                assert!(!hashes.is_empty());
                rounds += 1;
                for hash in hashes {
                    assert!(here.0.insert(hash, forest.0[&hash].clone()).is_none());
                }
            }
            result => break result.unwrap(),
        }
    };
    assert_eq!(rounds, 3);
    // Roots, `d` and `d/a` of each, and `s`, but nothing in it.
    assert_eq!(here.0.len(), 3 + 3 + 3 + 1);
    assert_eq!(result, try_merge(&forest, Some(base), ours, theirs, BOTH).unwrap());
}

#[test]
fn what_is_no_tree_is_refused() {
    let mut forest = Forest::default();
    let root = forest.plant(&Folder::of(&[("a", 1, 1), ("d/b", 1, 1)]));
    let text = forest.0[&root].clone();
    let row = Row::read(root, &text).unwrap();
    let [file, directory] = [row.children()[0], row.children()[1]];
    let below = Row::read(directory, &forest.0[&directory]).unwrap().children()[0];
    for misplaced in [file, directory] {
        let result = try_merge(&forest, None, root, misplaced, BOTH);
        assert_eq!(result, Err(MergeError::Misplaced(misplaced)));
    }
    // A row twice, and one that belongs below.
    for (children, misplaced) in [([file, file], file), ([file, below], below)] {
        let (other, text) = row.with_children(&children).unwrap();
        forest.0.insert(other, text);
        let result = try_merge(&forest, None, root, other, BOTH);
        assert_eq!(result, Err(MergeError::Misplaced(misplaced)));
    }
    let bad = blob_id(b"bad");
    forest.0.insert(bad, "{}".to_owned());
    assert!(matches!(try_merge(&forest, None, root, bad, BOTH), Err(MergeError::Row(..))));
}

#[test]
fn trees_too_deep_are_refused() {
    let mut forest = Forest::default();
    let deep = |content| Folder::of(&[(&*format!("{}a", "d/".repeat(65)), content, 1)]);
    let (ours, theirs) = (forest.plant(&deep(1)), forest.plant(&deep(2)));
    assert_eq!(try_merge(&forest, None, ours, theirs, BOTH), Err(MergeError::TooDeep));
}

#[test]
fn a_tree_was_made_from_the_one_it_has_most_in_common_with() {
    let mut forest = Forest::default();
    let mut plant = |files: &[(&str, u32, u32)]| forest.plant(&Folder::of(files));
    let own = plant(&[("a", 1, 1)]);
    let other = plant(&[("a", 1, 1), ("d/b", 2, 1), ("d/c", 3, 1)]);
    let edited_own = plant(&[("a", 1, 9), ("n", 4, 1)]);
    let edited_other = plant(&[("a", 1, 1), ("d/b", 2, 2), ("n", 4, 1)]);
    let lookup = |hash: &Hash| forest.row(hash);
    let bases = [Some(own), Some(other)];
    assert_eq!(nearest(&bases, edited_own, lookup), Ok(Some(own)));
    assert_eq!(nearest(&bases, edited_other, lookup), Ok(Some(other)));
    assert_eq!(nearest(&[None, Some(other)], EMPTY_ROOT, lookup), Ok(None));
    assert_eq!(nearest(&[None, Some(other)], edited_own, lookup), Ok(None));
    assert_eq!(nearest(&[None, Some(other)], edited_other, lookup), Ok(Some(other)));
    // Without rows where there is nothing to choose.
    let gone = blob_id(b"gone");
    assert_eq!(nearest(&[Some(gone)], own, lookup), Ok(Some(gone)));
    assert_eq!(nearest(&[None, Some(gone)], own, lookup), Err(MergeError::Missing(vec![gone])));
}

const PATHS: [&str; 10] = ["a", "a/x", "a/y", "b.txt", "d", "d/a", "d/b", "d/e", "d/e/f", "d/e/g"];

#[derive(Clone, Debug)]
enum Change {
    Put(usize, File),
    Make(usize),
    Remove(usize),
}

fn changes(max: usize) -> impl Strategy<Value = Vec<Change>> {
    let path = 0..PATHS.len();
    let file = (0..5_u32, 0..4_u32).prop_map(|(content, mtime_ms)| File { content, mtime_ms });
    let change = prop_oneof![
        4 => (path.clone(), file).prop_map(|(path, file)| Change::Put(path, file)),
        1 => path.clone().prop_map(Change::Make),
        2 => path.prop_map(Change::Remove),
    ];
    proptest::collection::vec(change, 0..max)
}

fn changed(folder: &Folder, changes: &[Change]) -> Folder {
    let mut folder = folder.clone();
    for change in changes {
        match change {
            Change::Put(path, file) => folder.put(PATHS[*path], Some(*file)),
            Change::Make(path) => folder.put(PATHS[*path], None),
            Change::Remove(path) => folder.remove(PATHS[*path]),
        }
    }
    folder
}

type Contents = BTreeMap<String, Option<(Hash, i64)>>;

fn blob_at(contents: &Contents, path: &str) -> Option<Hash> {
    contents.get(path).copied().flatten().map(|(blob, _)| blob)
}

/// Whether a file is there under its own name, or one that it was given.
fn is_there(contents: &Contents, path: &str, blob: Hash) -> bool {
    let stem = path.split('.').next().unwrap();
    contents.iter().any(|(other, what)| {
        let is_copy = other.starts_with(stem) && other[stem.len()..].starts_with(" (conflict ");
        what.is_some_and(|(is, _)| is == blob) && (other == path || is_copy)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn nothing_is_lost_that_nobody_deleted(
        start in changes(12), left in changes(6), right in changes(6), newest: bool, has_base: bool,
    ) {
        let base = changed(&Folder::default(), &start);
        let sides = [changed(&base, &left), changed(&base, &right)];
        let mut forest = Forest::default();
        let base_root = has_base.then(|| forest.plant(&base));
        let base = if has_base { base } else { Folder::default() };
        let [ours, theirs] = [forest.plant(&sides[0]), forest.plant(&sides[1])];
        let conflicts = if newest { NEWEST } else { BOTH };
        let root = merged(&mut forest, base_root, ours, theirs, conflicts);
        let contents = forest.contents(root);

        for (side, other) in [(&sides[0], &sides[1]), (&sides[1], &sides[0])] {
            for (path, file) in side.files() {
                let is_new = base.file(path).is_none_or(|was| was.content != file.content);
                let stayed = !is_new && other.file(path).is_some_and(|is| is.content == file.content);
                let beaten = newest
                    && other.file(path).is_some_and(|other| other.mtime_ms >= file.mtime_ms);
                if is_new && !beaten || stayed {
                    prop_assert!(is_there(&contents, path, file.blob()), "{path} {contents:?}");
                }
                // What one side left as it was and the other did not is not brought back.
                if !is_new && !stayed {
                    prop_assert_ne!(blob_at(&contents, path), Some(file.blob()), "{}", path);
                }
            }
        }
        // Nothing is made up.
        let known: Vec<Hash> =
            sides.iter().flat_map(|side| side.files().map(|(_, file)| file.blob())).collect();
        prop_assert!(contents.values().flatten().all(|(blob, _)| known.contains(blob)));
        // Whoever merges again gets the same.
        for side in [ours, theirs] {
            prop_assert_eq!(merged(&mut forest, base_root, side, root, conflicts), root);
            prop_assert_eq!(merged(&mut forest, Some(side), side, root, conflicts), root);
            prop_assert_eq!(merged(&mut forest, base_root, side, side, conflicts), side);
        }
    }

    #[test]
    fn of_a_tree_with_an_older_one_the_newer_comes_out(start in changes(12), more in changes(8)) {
        let older = changed(&Folder::default(), &start);
        let newer = changed(&older, &more);
        let mut forest = Forest::default();
        let (older, newer) = (forest.plant(&older), forest.plant(&newer));
        // Also where the roots do not tell: below a directory that differs.
        prop_assert_eq!(merged(&mut forest, Some(older), older, newer, BOTH), newer);
        prop_assert_eq!(merged(&mut forest, Some(older), newer, newer, BOTH), newer);
    }
}

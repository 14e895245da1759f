use std::collections::BTreeMap;

use proptest::prelude::*;

use super::forest::{Contents, File, Folder, Forest};
use crate::codec::rljson::{EMPTY_ROOT, Hash, Row, blob_id};
use crate::protocol::rljson::merge::{
    Base, Conflicts, MergeError, Merged, Trust, merge, plausible,
};

const BOTH: Conflicts = Conflicts::KeepBoth;
const NEWEST: Conflicts = Conflicts::Newest;

fn try_merge(
    forest: &Forest,
    base: Option<Hash>,
    ours: Hash,
    theirs: Hash,
    conflicts: Conflicts,
) -> Result<Merged, MergeError> {
    merge(&[base], ours, theirs, conflicts, |hash| forest.row(hash))
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
                    assert!(here.rows.insert(hash, forest.rows[&hash].clone()).is_none());
                }
            }
            result => break result.unwrap(),
        }
    };
    assert_eq!(rounds, 3);
    // Roots, `d` and `d/a` of each, and `s`, but nothing in it.
    assert_eq!(here.rows.len(), 3 + 3 + 3 + 1);
    assert_eq!(result, try_merge(&forest, Some(base), ours, theirs, BOTH).unwrap());
}

#[test]
fn what_is_no_tree_is_refused() {
    let mut forest = Forest::default();
    let root = forest.plant(&Folder::of(&[("a", 1, 1), ("d/b", 1, 1)]));
    let text = forest.rows[&root].clone();
    let row = Row::read(root, &text).unwrap();
    let [file, directory] = [row.children()[0], row.children()[1]];
    let below = Row::read(directory, &forest.rows[&directory]).unwrap().children()[0];
    for misplaced in [file, directory] {
        let result = try_merge(&forest, None, root, misplaced, BOTH);
        assert_eq!(result, Err(MergeError::Misplaced(misplaced)));
    }
    // A row twice, and one that belongs below.
    for (children, misplaced) in [([file, file], file), ([file, below], below)] {
        let (other, text) = row.with_children(&children).unwrap();
        forest.rows.insert(other, text);
        let result = try_merge(&forest, None, root, other, BOTH);
        assert_eq!(result, Err(MergeError::Misplaced(misplaced)));
    }
    let bad = blob_id(b"bad");
    forest.rows.insert(bad, "{}".to_owned());
    assert!(matches!(try_merge(&forest, None, root, bad, BOTH), Err(MergeError::Row(..))));
}

#[test]
fn trees_too_deep_are_refused() {
    let mut forest = Forest::default();
    let deep = |content| Folder::of(&[(&*format!("{}a", "d/".repeat(65)), content, 1)]);
    let (ours, theirs) = (forest.plant(&deep(1)), forest.plant(&deep(2)));
    assert_eq!(try_merge(&forest, None, ours, theirs, BOTH), Err(MergeError::TooDeep));
}

type Files<'a> = &'a [(&'a str, u32, u32)];

/// Of some folders, oldest first, those that another may have been made from, by their numbers.
fn possible(bases: &[(Files<'_>, Trust)], theirs: Files<'_>) -> Vec<usize> {
    let mut forest = Forest::default();
    let theirs = forest.plant(&Folder::of(theirs));
    let mut plant = |&(files, trust): &(Files<'_>, Trust)| {
        let root = (!files.is_empty()).then(|| forest.plant(&Folder::of(files)));
        Base { root, trust }
    };
    let bases: Vec<Base> = bases.iter().map(&mut plant).collect();
    let found = plausible(&bases, theirs, |hash| forest.row(hash)).unwrap();
    let at = |root: &Option<Hash>| bases.iter().position(|base| base.root == *root).unwrap();
    found.iter().map(at).collect()
}

#[test]
fn a_tree_speaks_for_what_it_was_made_from() {
    use Trust::{Likely, Open, Unlikely};
    let own: &[_] = &[("a", 1, 1), ("d/b", 2, 1)];
    let read: &[_] = &[("a", 1, 1), ("d/b", 3, 2), ("d/c", 4, 1)];
    let likely = [(own, Likely), (read, Likely)];
    // It has what only the newer one has, or what the client has changed tells nothing.
    assert_eq!(possible(&likely, &[("a", 5, 5), ("d/b", 6, 6), ("d/c", 4, 9)]), [1]);
    assert_eq!(possible(&likely, &[("a", 1, 1), ("d/b", 3, 2)]), [1]);
    assert_eq!(possible(&likely, &[("a", 5, 5), ("d/b", 6, 6), ("d/c", 7, 9)]), [1]);
    // It has what only the older one has.
    assert_eq!(possible(&likely, &[("a", 5, 5), ("d/b", 2, 1)]), [0, 1]);
    assert_eq!(possible(&likely, &[("a", 5, 5), ("d/b", 6, 6)]), [0, 1]);
    // A deletion that was taken over.
    assert_eq!(possible(&[(read, Likely), (own, Likely)], &[("d/b", 6, 6)]), [1]);
    // Too soon to tell.
    assert_eq!(possible(&[(own, Likely), (read, Open)], read), [0, 1]);
    let other: &[_] = &[("z", 9, 9)];
    assert_eq!(possible(&[(own, Likely), (read, Likely), (other, Open)], read), [1, 2]);
    assert_eq!(possible(&[(&[], Likely), (read, Likely)], &[("n", 9, 9)]), [0, 1]);
    assert_eq!(possible(&[(read, Open)], own), [0]);
    // Put over what was announced afterwards, if the tree says so.
    let doubtful = [(own, Likely), (read, Unlikely)];
    assert_eq!(possible(&doubtful, &[("a", 1, 1), ("d/b", 3, 2)]), [0, 1]);
    assert_eq!(possible(&doubtful, &[("a", 5, 5), ("d/b", 6, 6)]), [0]);
    assert_eq!(possible(&[(own, Likely), (read, Unlikely), (&[], Likely)], read), [0, 1, 2]);
    assert_eq!(possible(&[(own, Likely), (read, Unlikely), (&[], Likely)], &[]), [2]);
}

#[test]
fn rows_of_bases_are_needed_only_where_there_are_several() {
    let mut forest = Forest::default();
    let root = forest.plant(&Folder::of(&[("a", 1, 1)]));
    let gone = Some(blob_id(b"gone"));
    let gone = Base { root: gone, trust: Trust::Likely };
    let own = Base { root: None, trust: Trust::Likely };
    let lookup = |hash: &Hash| forest.row(hash);
    assert_eq!(plausible(&[gone], root, lookup), Ok(vec![gone.root]));
    let missing = MergeError::Missing(gone.root.into_iter().collect());
    assert_eq!(plausible(&[own, gone], root, lookup), Err(missing));
}

#[test]
fn of_several_bases_that_counts_which_keeps_more() {
    fn outcome(
        bases: &[Files<'_>],
        ours: Files<'_>,
        theirs: Files<'_>,
    ) -> BTreeMap<String, Option<Hash>> {
        let mut forest = Forest::default();
        let bases: Vec<_> =
            bases.iter().map(|base| Some(forest.plant(&Folder::of(base)))).collect();
        let (ours, theirs) = (forest.plant(&Folder::of(ours)), forest.plant(&Folder::of(theirs)));
        let merged = merge(&bases, ours, theirs, BOTH, |hash| forest.row(hash)).unwrap();
        forest.take(&merged.rows);
        let contents = forest.contents(merged.root);
        let outcome = contents.into_iter().map(|(path, what)| (path, what.map(|(blob, _)| blob)));
        outcome.collect()
    }
    let (one, two) = (&[("a", 1, 1)][..], &[("a", 2, 2)][..]);
    // Announced before what was read was in place: no edit.
    assert_eq!(outcome(&[one, two], two, one), expected(&[("a", Some(2))]));
    // An edit of the one or the other: both stay.
    let both = expected(&[("a", Some(3)), (&copy_name("a", 2, ""), Some(2))]);
    assert_eq!(outcome(&[one, two], two, &[("a", 3, 3)]), both);
    // Deleted only if it was there for sure.
    assert_eq!(outcome(&[one, two], two, &[]), expected(&[("a", Some(2))]));
    assert_eq!(outcome(&[&[], two], two, &[]), expected(&[("a", Some(2))]));
    assert_eq!(outcome(&[two, two], two, &[]), expected(&[]));
    let deep = &[("d/a", 2, 2), ("d/b", 1, 1)][..];
    let kept = expected(&[("d", None), ("d/a", Some(2))]);
    assert_eq!(outcome(&[&[("d/b", 1, 1)], deep], deep, &[]), kept);
    // What others deleted or edited is not brought back.
    assert_eq!(outcome(&[one, two], &[], two), expected(&[]));
    assert_eq!(outcome(&[one, two], &[], one), expected(&[]));
    assert_eq!(outcome(&[one, two], &[("a", 3, 3)], two), expected(&[("a", Some(3))]));
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
    fn whatever_else_may_have_been_the_base_no_edit_is_lost(
        start in changes(12), left in changes(6), right in changes(6), others in
        proptest::collection::vec(changes(6), 1..3), place in 0..3_usize,
    ) {
        // Nobody else has what the announced tree brings.
        let mine = |change: &Change| match change {
            Change::Put(path, file) => Change::Put(*path, File { content: file.content + 9, ..*file }),
            other => other.clone(),
        };
        let base = changed(&Folder::default(), &start);
        let right: Vec<Change> = right.iter().map(mine).collect();
        let sides = [changed(&base, &left), changed(&base, &right)];
        let mut forest = Forest::default();
        let mut bases: Vec<Option<Hash>> =
            others.iter().map(|other| Some(forest.plant(&changed(&base, other)))).collect();
        bases.insert(place.min(bases.len()), Some(forest.plant(&base)));
        let [ours, theirs] = [forest.plant(&sides[0]), forest.plant(&sides[1])];
        let merged = merge(&bases, ours, theirs, BOTH, |hash| forest.row(hash)).unwrap();
        forest.take(&merged.rows);
        let contents = forest.contents(merged.root);
        for (side, other) in [(&sides[0], &sides[1]), (&sides[1], &sides[0])] {
            for (path, file) in side.files() {
                let is_new = base.file(path).is_none_or(|was| was.content != file.content);
                let stayed = other.file(path).is_some_and(|is| is.content == file.content);
                if is_new || stayed {
                    prop_assert!(is_there(&contents, path, file.blob()), "{path} {contents:?}");
                }
            }
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

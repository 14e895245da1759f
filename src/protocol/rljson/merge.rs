//! Merges two trees of files that crossed, given the one both come from (specs: rljson §8).
//!
//! At each path a side that is what it was in the base loses against the other. Two files are the
//! same if their content is; all directories are the same. Beyond that:
//! - Who deletes loses against who edits. A directory goes with the last of what is in it.
//! - Of two edits the newer one stays, or both do: the older one under a name of its own, see
//!   [`Conflicts`]. The same content written at two times is no edit; the later time is kept.
//! - Of a file and a directory at the same path the directory stays, and the file gets a name of its
//!   own, whatever the setting: they cannot be compared.
//! - Files of the same age are put in order by their content, then by their row.
//! - Without a base nothing was deleted: the union.
//!
//! Invariants:
//! - The outcome does not depend on which side is called which.
//! - What one side has and the other has left as it was comes out in the very rows it had, so that
//!   merging an older tree with a newer one gives the newer one's root.
//! - Subtrees that are the same on both sides, or unchanged on one, are not looked into: their rows
//!   need not be there.

use std::collections::{BTreeMap, BTreeSet};

use crate::codec::rljson::{
    EMPTY_ROOT, EMPTY_ROOT_ROW, Hash, HashError, Identity, NAME_BYTES_MAX, Node, Row, TreeError,
};

/// Deepest path of directories in trees that are merged. Merging recurses on it.
pub const DIRECTORIES_DEEP_MAX: usize = 64;
/// Most rows that are read for one merge.
pub const ROWS_READ_MAX: usize = 100_000;
/// Most missing rows that are told at once.
pub const MISSING_MAX: usize = 1_000;
/// Characters of a hash that tell a file's older version from its newer one.
const MARK_CHARS: usize = 8;

/// What becomes of the older one of two edits of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conflicts {
    /// It is dropped.
    Newest,
    /// It stays, as `name (conflict 1a2b3c4d).ext`: eight characters of its content's hash.
    #[default]
    KeepBoth,
}

/// What came of a merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The root of the merged tree: one of the sides', if it needs no other.
    pub root: Hash,
    /// Rows that neither side has, children before their parents.
    pub rows: Vec<(Hash, String)>,
}

/// Why trees were not merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// These rows are needed, at most [`MISSING_MAX`]; there may be more.
    #[error("{} rows are missing", .0.len())]
    Missing(Vec<Hash>),
    /// This row is none of a tree.
    #[error("row {0}: {1}")]
    Row(Hash, TreeError),
    /// This row is not where its path says, or is there twice, or is a file where the root is.
    #[error("row {0} is out of place")]
    Misplaced(Hash),
    /// A tree is deeper than [`DIRECTORIES_DEEP_MAX`].
    #[error("a tree has more than {DIRECTORIES_DEEP_MAX} directories in one another")]
    TooDeep,
    /// More than [`ROWS_READ_MAX`] rows would have to be read.
    #[error("more than {ROWS_READ_MAX} rows differ")]
    TooMany,
    /// A row could not be made.
    #[error("a merged row: {0}")]
    Made(HashError),
}

/// Merges the trees of these roots. `lookup` gives the text of a row that was verified to have the
/// hash, or nothing if it is missing.
pub fn merge<'r>(
    base: Option<Hash>,
    ours: Hash,
    theirs: Hash,
    conflicts: Conflicts,
    lookup: impl Fn(&Hash) -> Option<&'r str>,
) -> Result<Merged, MergeError> {
    if ours == theirs || base == Some(theirs) {
        return Ok(Merged { root: ours, rows: Vec::new() });
    }
    if base == Some(ours) {
        return Ok(Merged { root: theirs, rows: Vec::new() });
    }
    let mut merger =
        Merger { lookup, conflicts, rows: Vec::new(), missing: BTreeSet::new(), read: 0 };
    let base = base.map(|base| merger.root(base)).transpose()?.flatten();
    let (ours, theirs) = (merger.root(ours)?, merger.root(theirs)?);
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return Err(merger.missing()) };
    if !merger.missing.is_empty() {
        return Err(merger.missing());
    }
    match merger.directory(base.as_ref(), [Some(&ours), Some(&theirs)], 0)? {
        Some(kept) if merger.missing.is_empty() => {
            Ok(Merged { root: kept.hash, rows: merger.rows })
        }
        _ => Err(merger.missing()),
    }
}

/// Which of these trees `theirs` was made from: the one that the fewest paths tell apart from it, the
/// last of those. None stands for a tree without files.
pub fn nearest<'r>(
    bases: &[Option<Hash>],
    theirs: Hash,
    lookup: impl Fn(&Hash) -> Option<&'r str>,
) -> Result<Option<Hash>, MergeError> {
    if let [base] = bases {
        return Ok(*base);
    }
    let mut merger = Merger::new(lookup, Conflicts::default());
    let theirs = merger.root(theirs)?;
    let mut best: Option<(usize, Option<Hash>)> = None;
    for &base in bases {
        let row = base.map(|base| merger.root(base)).transpose()?.flatten();
        let distance = merger.distance([row.as_ref(), theirs.as_ref()], 0)?;
        if best.is_none_or(|(least, _)| distance <= least) {
            best = Some((distance, base));
        }
    }
    let nearest = best.and_then(|(_, base)| base);
    if merger.missing.is_empty() { Ok(nearest) } else { Err(merger.missing()) }
}

struct Merger<F> {
    lookup: F,
    conflicts: Conflicts,
    rows: Vec<(Hash, String)>,
    missing: BTreeSet<Hash>,
    read: usize,
}

/// What is in a directory, by name.
type Names<'r> = BTreeMap<String, Row<'r>>;

/// What stays at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    hash: Hash,
    identity: Identity,
}

impl Kept {
    fn new(row: &Row<'_>) -> Self {
        Self { hash: row.hash, identity: row.identity() }
    }

    fn directory(hash: Hash) -> Self {
        Self { hash, identity: Identity::Directory }
    }
}

/// What becomes of a name.
#[derive(Debug, Default)]
struct Outcome<'m, 'r> {
    stays: Option<Kept>,
    /// A file that needs another name.
    moves: Option<&'m Row<'r>>,
}

impl<'m, 'r> Outcome<'m, 'r> {
    fn stay(row: &Row<'_>) -> Self {
        Self { stays: Some(Kept::new(row)), moves: None }
    }

    fn gone() -> Self {
        Self::default()
    }
}

impl<'r, F: Fn(&Hash) -> Option<&'r str>> Merger<F> {
    fn new(lookup: F, conflicts: Conflicts) -> Self {
        Self { lookup, conflicts, rows: Vec::new(), missing: BTreeSet::new(), read: 0 }
    }

    /// How many paths below these directories tell them apart.
    fn distance(
        &mut self,
        sides: [Option<&Row<'r>>; 2],
        depth: usize,
    ) -> Result<usize, MergeError> {
        if depth > DIRECTORIES_DEEP_MAX {
            return Err(MergeError::TooDeep);
        }
        let names = [self.names(sides[0])?, self.names(sides[1])?];
        let all: BTreeSet<&String> = names.iter().flat_map(Names::keys).collect();
        let mut distance = 0;
        for name in all {
            let at = [names[0].get(name), names[1].get(name)];
            let [one, other] = at.map(|row| row.map(|row| (row.hash, row.identity())));
            if one.map(|(hash, _)| hash) == other.map(|(hash, _)| hash) {
                continue;
            }
            distance += usize::from(one.map(|(_, is)| is) != other.map(|(_, is)| is));
            distance += self.distance(at, depth + 1)?;
        }
        Ok(distance)
    }

    /// The row of this hash, or nothing and a note that it is missing.
    fn row(&mut self, hash: Hash) -> Result<Option<Row<'r>>, MergeError> {
        self.read += 1;
        if self.read > ROWS_READ_MAX {
            return Err(MergeError::TooMany);
        }
        let known = (hash == EMPTY_ROOT).then_some(EMPTY_ROOT_ROW);
        let Some(text) = known.or_else(|| (self.lookup)(&hash)) else {
            if self.missing.len() < MISSING_MAX {
                self.missing.insert(hash);
            }
            return Ok(None);
        };
        Row::read(hash, text).map(Some).map_err(|error| MergeError::Row(hash, error))
    }

    fn root(&mut self, hash: Hash) -> Result<Option<Row<'r>>, MergeError> {
        let row = self.row(hash)?;
        let is_root = |row: &Row<'_>| row.is_root() && row.identity() == Identity::Directory;
        if row.as_ref().is_some_and(|row| !is_root(row)) {
            return Err(MergeError::Misplaced(hash));
        }
        Ok(row)
    }

    /// What is in a directory, as far as its rows are there; nothing in a file.
    fn names(&mut self, directory: Option<&Row<'r>>) -> Result<Names<'r>, MergeError> {
        let mut names = Names::new();
        let Some(directory) = directory else { return Ok(names) };
        for &child in directory.children() {
            let Some(row) = self.row(child)? else { continue };
            let name = row.name().to_owned();
            if !row.is_in(directory) || names.insert(name, row).is_some() {
                return Err(MergeError::Misplaced(child));
            }
        }
        Ok(names)
    }

    /// Merges directories at the same path. None comes out if nothing is left and not both sides
    /// have one.
    fn directory(
        &mut self,
        base: Option<&Row<'r>>,
        sides: [Option<&Row<'r>>; 2],
        depth: usize,
    ) -> Result<Option<Kept>, MergeError> {
        if depth > DIRECTORIES_DEEP_MAX {
            return Err(MergeError::TooDeep);
        }
        let missing = self.missing.len();
        let base_names = self.names(base)?;
        let side_names = [self.names(sides[0])?, self.names(sides[1])?];
        if self.missing.len() > missing {
            // What cannot be read would look deleted.
            return Ok(None);
        }
        let all: BTreeSet<&String> = side_names.iter().flat_map(Names::keys).collect();
        let mut stay: BTreeMap<String, Kept> = BTreeMap::new();
        let mut move_away = Vec::new();
        for name in all {
            let at = [side_names[0].get(name), side_names[1].get(name)];
            let outcome = self.name(base_names.get(name), at, depth)?;
            move_away.extend(outcome.moves);
            if let Some(kept) = outcome.stays {
                stay.insert(name.clone(), kept);
            }
        }
        // Independent of the sides, also where one name leads to the next.
        move_away.sort_by_key(|row| (row.name().to_owned(), rank(row)));
        for row in move_away {
            self.move_away(row, &mut stay)?;
        }
        self.finish(base, sides, &stay)
    }

    /// Finds or makes the row of a directory with these children.
    fn finish(
        &mut self,
        base: Option<&Row<'r>>,
        sides: [Option<&Row<'r>>; 2],
        stay: &BTreeMap<String, Kept>,
    ) -> Result<Option<Kept>, MergeError> {
        let is_on_both = sides.iter().all(Option::is_some);
        if stay.is_empty() && !is_on_both || !self.missing.is_empty() {
            return Ok(None);
        }
        let children: Vec<Hash> = stay.values().map(|kept| kept.hash).collect();
        let mut sorted = children.clone();
        sorted.sort_unstable();
        let candidates = preferred(base, sides);
        let fitting = candidates.iter().flatten().find(|row| {
            let mut own = row.children().to_vec();
            own.sort_unstable();
            own == sorted
        });
        if let Some(row) = fitting {
            return Ok(Some(Kept::new(row)));
        }
        let Some(template) = candidates.into_iter().flatten().next() else { return Ok(None) };
        self.make(template, &children).map(|hash| Some(Kept::directory(hash)))
    }

    fn make(&mut self, template: &Row<'_>, children: &[Hash]) -> Result<Hash, MergeError> {
        let (hash, text) = template.with_children(children).map_err(MergeError::Made)?;
        self.rows.push((hash, text));
        Ok(hash)
    }

    /// Merges what is at a name.
    fn name<'m>(
        &mut self,
        base: Option<&Row<'r>>,
        sides: [Option<&'m Row<'r>>; 2],
        depth: usize,
    ) -> Result<Outcome<'m, 'r>, MergeError> {
        let hash = |row: Option<&Row<'_>>| row.map(|row| row.hash);
        let [ours, theirs] = sides;
        let unchanged = if hash(ours) == hash(theirs) || hash(theirs) == hash(base) {
            Some(ours)
        } else if hash(ours) == hash(base) {
            Some(theirs)
        } else {
            None
        };
        if let Some(result) = unchanged {
            return Ok(result.map_or_else(Outcome::gone, Outcome::stay));
        }
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => match (&ours.node, &theirs.node) {
                (Node::File { .. }, Node::File { .. }) => Ok(self.files(base, ours, theirs)),
                (Node::Directory { .. }, Node::Directory { .. }) => {
                    self.directories(base, sides, depth)
                }
                (Node::File { .. }, _) => self.file_and_directory(base, ours, theirs, depth),
                (_, Node::File { .. }) => self.file_and_directory(base, theirs, ours, depth),
            },
            (Some(side), None) | (None, Some(side)) => self.deleted(base, side, depth),
            (None, None) => Ok(Outcome::gone()),
        }
    }

    /// Two files whose rows differ from each other's and the base's.
    fn files<'m>(
        &self,
        base: Option<&Row<'_>>,
        ours: &'m Row<'r>,
        theirs: &'m Row<'r>,
    ) -> Outcome<'m, 'r> {
        let (newer, older) =
            if rank(ours) >= rank(theirs) { (ours, theirs) } else { (theirs, ours) };
        if ours.identity() == theirs.identity() {
            return Outcome::stay(newer);
        }
        let is_as_it_was =
            |row: &Row<'_>| base.is_some_and(|base| base.identity() == row.identity());
        if is_as_it_was(ours) {
            return Outcome::stay(theirs);
        }
        if is_as_it_was(theirs) {
            return Outcome::stay(ours);
        }
        let moves = (self.conflicts == Conflicts::KeepBoth).then_some(older);
        Outcome { moves, ..Outcome::stay(newer) }
    }

    fn directories<'m>(
        &mut self,
        base: Option<&Row<'r>>,
        sides: [Option<&Row<'r>>; 2],
        depth: usize,
    ) -> Result<Outcome<'m, 'r>, MergeError> {
        let base = base.filter(|base| base.identity() == Identity::Directory);
        let stays = self.directory(base, sides, depth + 1)?;
        Ok(Outcome { stays, moves: None })
    }

    /// One side has a file, the other a directory, and neither row is the base's.
    fn file_and_directory<'m>(
        &mut self,
        base: Option<&Row<'r>>,
        file: &'m Row<'r>,
        directory: &'m Row<'r>,
        depth: usize,
    ) -> Result<Outcome<'m, 'r>, MergeError> {
        match base.map(Row::identity) {
            // The file stayed, and became a directory on the other side.
            Some(identity) if identity == file.identity() => Ok(Outcome::stay(directory)),
            // The directory was deleted for the file: what was edited in it stays.
            Some(Identity::Directory) => {
                let outcome = self.directories(base, [Some(directory), None], depth)?;
                Ok(match outcome.stays {
                    Some(_) => Outcome { moves: Some(file), ..outcome },
                    None => Outcome::stay(file),
                })
            }
            _ => Ok(Outcome { moves: Some(file), ..Outcome::stay(directory) }),
        }
    }

    /// One side has nothing here any more, the other a row that is not the base's.
    fn deleted<'m>(
        &mut self,
        base: Option<&Row<'r>>,
        side: &'m Row<'r>,
        depth: usize,
    ) -> Result<Outcome<'m, 'r>, MergeError> {
        match (base.map(Row::identity), side.identity()) {
            (Some(Identity::Directory), Identity::Directory) => {
                self.directories(base, [Some(side), None], depth)
            }
            (Some(was), is) if was == is => Ok(Outcome::gone()),
            _ => Ok(Outcome::stay(side)),
        }
    }

    /// Gives a file that had to make way a name of its own, unless it is there already.
    fn move_away(
        &mut self,
        row: &Row<'_>,
        stay: &mut BTreeMap<String, Kept>,
    ) -> Result<(), MergeError> {
        for attempt in 0.. {
            let name = conflict_name(row, attempt);
            match stay.get(&name) {
                Some(kept) if kept.identity == row.identity() => return Ok(()),
                Some(_) => {}
                None => {
                    let (hash, text) = row.renamed(&name).map_err(MergeError::Made)?;
                    self.rows.push((hash, text));
                    stay.insert(name, Kept { hash, identity: row.identity() });
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn missing(self) -> MergeError {
        MergeError::Missing(self.missing.into_iter().collect())
    }
}

/// What puts two versions of a file in order: the greater one stays.
fn rank(row: &Row<'_>) -> (i64, Identity, Hash) {
    (row.mtime_us(), row.identity(), row.hash)
}

/// The rows of a directory, that first whose properties are to be kept.
fn preferred<'m, 'r>(
    base: Option<&Row<'_>>,
    sides: [Option<&'m Row<'r>>; 2],
) -> [Option<&'m Row<'r>>; 2] {
    let [ours, theirs] = sides;
    let hash = |row: Option<&Row<'_>>| row.map(|row| row.hash);
    let is_theirs = ours.is_none()
        || theirs.is_some()
            && hash(theirs) != hash(base)
            && (hash(ours) == hash(base) || hash(theirs) > hash(ours));
    if is_theirs { [theirs, ours] } else { [ours, theirs] }
}

/// `name (conflict 1a2b3c4d).ext`. Names are cut to what file systems allow.
fn conflict_name(row: &Row<'_>, attempt: usize) -> String {
    let (Identity::Content(hash) | Identity::Row(hash)) = row.identity() else {
        return row.name().to_owned();
    };
    let mark = match attempt {
        0 => hash.as_str()[..MARK_CHARS].to_owned(),
        1 => hash.to_string(),
        _ => format!("{hash} {attempt}"),
    };
    let name = row.name();
    let (stem, ending) = match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= 32 => name.split_at(dot),
        _ => (name, ""),
    };
    let mark = format!(" (conflict {mark}){ending}");
    let mut stem_len = stem.len().min(NAME_BYTES_MAX.saturating_sub(mark.len()));
    while !stem.is_char_boundary(stem_len) {
        stem_len -= 1;
    }
    format!("{}{mark}", &stem[..stem_len])
}

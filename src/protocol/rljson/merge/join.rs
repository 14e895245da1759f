//! The merge, directory by directory.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use super::rows::{Names, Rows};
use super::{Conflicts, DIRECTORIES_DEEP_MAX, MergeError, Merged};
use crate::codec::rljson::{Hash, Identity, NAME_BYTES_MAX, Node, Row};

/// Characters of a hash that tell a file's older version from its newer one.
const MARK_CHARS: usize = 8;

/// Which tree a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ours,
    Theirs,
}

/// What the two sides have at a path, ours first.
type Sides<'m, 'r> = [Option<&'m Row<'r>>; 2];

/// What `theirs` may have been made from, at a path. Never empty.
#[derive(Clone, Debug)]
struct Bases<'m, 'r>(SmallVec<[Option<&'m Row<'r>>; 4]>);

impl Bases<'_, '_> {
    /// Whether a side may have left something as it was: ours if all bases agree, theirs if any base
    /// has it so.
    fn agree(&self, side: Side, is: impl Fn(Option<&Row<'_>>) -> bool) -> bool {
        match side {
            Side::Ours => self.0.iter().all(|base| is(*base)),
            Side::Theirs => self.0.iter().any(|base| is(*base)),
        }
    }

    /// Whether what a side has here, or has not, is the very row that was here.
    fn had_row(&self, side: Side, row: Option<&Row<'_>>) -> bool {
        self.agree(side, |base| hash(base) == hash(row))
    }

    /// Whether what a side has here is the same as what was here.
    fn had(&self, side: Side, identity: Identity) -> bool {
        self.agree(side, |base| base.is_some_and(|base| base.identity() == identity))
    }

    /// The directories among them.
    fn directories(&self) -> Self {
        let is_directory = |row: &&Row<'_>| row.identity() == Identity::Directory;
        Self(self.0.iter().map(|base| base.filter(is_directory)).collect())
    }
}

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

/// A merge under way.
pub(super) struct Merger<F> {
    read: Rows<F>,
    conflicts: Conflicts,
    /// Rows that it made.
    made: Vec<(Hash, String)>,
}

impl<'r, F: Fn(&Hash) -> Option<&'r str>> Merger<F> {
    pub(super) fn new(lookup: F, conflicts: Conflicts) -> Self {
        Self { read: Rows::new(lookup), conflicts, made: Vec::new() }
    }

    pub(super) fn merge(
        mut self,
        bases: &[Option<Hash>],
        ours: Hash,
        theirs: Hash,
    ) -> Result<Merged, MergeError> {
        let bases = self.read.roots(if bases.is_empty() { &[None] } else { bases })?;
        let (ours, theirs) = (self.read.root(ours)?, self.read.root(theirs)?);
        if self.read.missing() > 0 {
            return self.read.end(None);
        }
        let bases = Bases(bases.iter().map(Option::as_ref).collect());
        let kept = self.directory(&bases, [ours.as_ref(), theirs.as_ref()], 0)?;
        self.read.end(kept.map(|kept| Merged { root: kept.hash, rows: self.made }))
    }

    /// Merges directories at the same path. None comes out if nothing is left and not both sides
    /// have one.
    fn directory(
        &mut self,
        bases: &Bases<'_, 'r>,
        sides: Sides<'_, 'r>,
        depth: usize,
    ) -> Result<Option<Kept>, MergeError> {
        if depth > DIRECTORIES_DEEP_MAX {
            return Err(MergeError::TooDeep);
        }
        let missing = self.read.missing();
        let base_names: SmallVec<[Names<'r>; 4]> =
            bases.0.iter().map(|base| self.read.names(*base)).collect::<Result<_, _>>()?;
        let side_names = [self.read.names(sides[0])?, self.read.names(sides[1])?];
        if self.read.missing() > missing {
            // What cannot be read would look deleted.
            return Ok(None);
        }
        let all: BTreeSet<&String> = side_names.iter().flat_map(Names::keys).collect();
        let mut stay: BTreeMap<String, Kept> = BTreeMap::new();
        let mut move_away = Vec::new();
        for name in all {
            let bases = Bases(base_names.iter().map(|names| names.get(name)).collect());
            let at = [side_names[0].get(name), side_names[1].get(name)];
            let outcome = self.name(&bases, at, depth)?;
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
        self.finish(bases, sides, &stay)
    }

    /// Finds or makes the row of a directory with these children.
    fn finish(
        &mut self,
        bases: &Bases<'_, 'r>,
        sides: Sides<'_, 'r>,
        stay: &BTreeMap<String, Kept>,
    ) -> Result<Option<Kept>, MergeError> {
        let is_on_both = sides.iter().all(Option::is_some);
        if stay.is_empty() && !is_on_both || self.read.missing() > 0 {
            return Ok(None);
        }
        let children: Vec<Hash> = stay.values().map(|kept| kept.hash).collect();
        let mut sorted = children.clone();
        sorted.sort_unstable();
        let candidates = preferred(bases, sides);
        let fitting = candidates.iter().flatten().find(|row| {
            let mut own = row.children().to_vec();
            own.sort_unstable();
            own == sorted
        });
        if let Some(row) = fitting {
            return Ok(Some(Kept::new(row)));
        }
        let Some(template) = candidates.into_iter().flatten().next() else { return Ok(None) };
        let (hash, text) = template.with_children(&children).map_err(MergeError::Made)?;
        self.made.push((hash, text));
        Ok(Some(Kept::directory(hash)))
    }

    /// Merges what is at a name.
    fn name<'m>(
        &mut self,
        bases: &Bases<'_, 'r>,
        sides: Sides<'m, 'r>,
        depth: usize,
    ) -> Result<Outcome<'m, 'r>, MergeError> {
        let [ours, theirs] = sides;
        if hash(ours) == hash(theirs) || bases.had_row(Side::Theirs, theirs) {
            return Ok(ours.map_or_else(Outcome::gone, Outcome::stay));
        }
        if bases.had_row(Side::Ours, ours) {
            return Ok(theirs.map_or_else(Outcome::gone, Outcome::stay));
        }
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => match (&ours.node, &theirs.node) {
                (Node::File { .. }, Node::File { .. }) => Ok(self.files(bases, ours, theirs)),
                (Node::Directory { .. }, Node::Directory { .. }) => {
                    self.directories(bases, sides, depth)
                }
                (Node::File { .. }, _) => {
                    self.file_and_directory(bases, ours, Side::Theirs, theirs, depth)
                }
                (_, Node::File { .. }) => {
                    self.file_and_directory(bases, theirs, Side::Ours, ours, depth)
                }
            },
            (Some(row), None) => self.deleted(bases, Side::Ours, row, depth),
            (None, Some(row)) => self.deleted(bases, Side::Theirs, row, depth),
            (None, None) => Ok(Outcome::gone()),
        }
    }

    /// Two files whose rows differ from each other's and the base's.
    fn files<'m>(
        &self,
        bases: &Bases<'_, 'r>,
        ours: &'m Row<'r>,
        theirs: &'m Row<'r>,
    ) -> Outcome<'m, 'r> {
        let (newer, older) =
            if rank(ours) >= rank(theirs) { (ours, theirs) } else { (theirs, ours) };
        if ours.identity() == theirs.identity() {
            return Outcome::stay(newer);
        }
        if bases.had(Side::Theirs, theirs.identity()) {
            return Outcome::stay(ours);
        }
        if bases.had(Side::Ours, ours.identity()) {
            return Outcome::stay(theirs);
        }
        let moves = (self.conflicts == Conflicts::KeepBoth).then_some(older);
        Outcome { moves, ..Outcome::stay(newer) }
    }

    fn directories<'m>(
        &mut self,
        bases: &Bases<'_, 'r>,
        sides: Sides<'_, 'r>,
        depth: usize,
    ) -> Result<Outcome<'m, 'r>, MergeError> {
        let stays = self.directory(&bases.directories(), sides, depth + 1)?;
        Ok(Outcome { stays, moves: None })
    }

    /// One side has a file, the other a directory, and neither row is the base's.
    fn file_and_directory<'m>(
        &mut self,
        bases: &Bases<'_, 'r>,
        file: &'m Row<'r>,
        side: Side,
        directory: &'m Row<'r>,
        depth: usize,
    ) -> Result<Outcome<'m, 'r>, MergeError> {
        let (files_side, directory_alone) = match side {
            Side::Ours => (Side::Theirs, [Some(directory), None]),
            Side::Theirs => (Side::Ours, [None, Some(directory)]),
        };
        if bases.had(files_side, file.identity()) {
            // The file stayed, and became a directory on the other side.
            return Ok(Outcome::stay(directory));
        }
        if bases.had(side, Identity::Directory) {
            // The directory was deleted for the file: what was edited in it stays.
            let outcome = self.directories(bases, directory_alone, depth)?;
            return Ok(match outcome.stays {
                Some(_) => Outcome { moves: Some(file), ..outcome },
                None => Outcome::stay(file),
            });
        }
        Ok(Outcome { moves: Some(file), ..Outcome::stay(directory) })
    }

    /// Only this side has anything here, and not the very row that was here.
    fn deleted<'m>(
        &mut self,
        bases: &Bases<'_, 'r>,
        side: Side,
        row: &'m Row<'r>,
        depth: usize,
    ) -> Result<Outcome<'m, 'r>, MergeError> {
        match (bases.had(side, row.identity()), row.identity(), side) {
            (false, ..) => Ok(Outcome::stay(row)),
            (true, Identity::Directory, Side::Ours) => {
                self.directories(bases, [Some(row), None], depth)
            }
            (true, Identity::Directory, Side::Theirs) => {
                self.directories(bases, [None, Some(row)], depth)
            }
            (true, ..) => Ok(Outcome::gone()),
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
                    self.made.push((hash, text));
                    stay.insert(name, Kept { hash, identity: row.identity() });
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn hash(row: Option<&Row<'_>>) -> Option<Hash> {
    row.map(|row| row.hash)
}

/// What puts two versions of a file in order: the greater one stays.
fn rank(row: &Row<'_>) -> (i64, Identity, Hash) {
    (row.mtime_us(), row.identity(), row.hash)
}

/// The rows of a directory, that first whose properties are to be kept.
fn preferred<'m, 'r>(bases: &Bases<'_, '_>, [ours, theirs]: Sides<'m, 'r>) -> Sides<'m, 'r> {
    let is_theirs = ours.is_none()
        || theirs.is_some()
            && !bases.had_row(Side::Theirs, theirs)
            && (bases.had_row(Side::Ours, ours) || hash(theirs) > hash(ours));
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

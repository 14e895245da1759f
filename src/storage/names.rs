//! From the names peers choose to the names of files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::request::{Area, FileError};
use crate::session::effects::RecordName;

/// Longest path of a file, in bytes.
pub const FILE_PATH_BYTES_MAX: usize = 1024;
/// Most bytes in the names of one record, together.
pub const RECORD_NAME_BYTES_MAX: usize = 1024;
/// Longest part of a file's path, in bytes: what file systems allow.
const SEGMENT_BYTES_MAX: usize = 255;
/// Longest part of a record's path, in bytes, its ending not counted.
const RECORD_SEGMENT_BYTES_MAX: usize = 200;
/// Ending of a record's file. Names never hold a dot, so no directory has it.
const RECORD_ENDING: &str = ".rec";

/// An area and a relative path of a file that stays in it: no part of it is empty, `.` or `..`, and
/// none holds a control character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FilePath {
    area: Area,
    path: String,
}

impl FilePath {
    pub(super) fn parse(area: Area, path: String) -> Result<Self, FileError> {
        let fits = path.len() <= FILE_PATH_BYTES_MAX;
        let is_path = fits && path.split('/').all(is_plain);
        if is_path { Ok(Self { area, path }) } else { Err(FileError::BadPath) }
    }

    pub(super) fn area(&self) -> Area {
        self.area
    }

    pub(super) fn as_str(&self) -> &str {
        &self.path
    }

    pub(super) fn as_path(&self) -> &Path {
        Path::new(&self.path)
    }

    /// The directories above it, outermost first: `a`, `a/b` for `a/b/c`.
    pub(super) fn directories(&self) -> impl Iterator<Item = &str> {
        self.path.match_indices('/').map(|(at, _)| &self.path[..at])
    }
}

fn is_plain(segment: &str) -> bool {
    !segment.is_empty()
        && segment.len() <= SEGMENT_BYTES_MAX
        && segment != "."
        && segment != ".."
        && !segment.chars().any(char::is_control)
}

/// Where a record is kept, relative to the directory of all records. Different names get different
/// paths, and no path is a directory of another.
///
/// The namespace is one directory (`/` becomes `.`). Each name but the last is a directory, the last
/// a file with an ending. Names are percent-encoded down to letters, digits, `-` and `_`; one that
/// is longer than a file name may be goes on in a directory, whose name then ends in `+`.
pub(super) fn record_path(record: &RecordName) -> Result<PathBuf, String> {
    let bytes: usize = record.names.iter().map(String::len).sum();
    if record.names.is_empty() || bytes + record.names.len() > RECORD_NAME_BYTES_MAX {
        let namespace = record.namespace;
        return Err(format!(
            "a record of {namespace} has {} names of {bytes} bytes; allowed are 1 to \
             {RECORD_NAME_BYTES_MAX} bytes with one more for each name",
            record.names.len()
        ));
    }
    let mut path = PathBuf::from(record.namespace.replace('/', "."));
    for name in &record.names {
        push_name(&mut path, &encode(name));
    }
    path.as_mut_os_string().push(RECORD_ENDING);
    Ok(path)
}

/// Appends an encoded name, which is ASCII, in parts that file systems allow.
fn push_name(path: &mut PathBuf, mut encoded: &str) {
    while encoded.len() > RECORD_SEGMENT_BYTES_MAX {
        let (part, rest) = encoded.split_at(RECORD_SEGMENT_BYTES_MAX);
        path.push(format!("{part}+"));
        encoded = rest;
    }
    path.push(encoded);
}

/// Percent-encodes a name; the empty one becomes a lone `%`.
fn encode(name: &str) -> String {
    if name.is_empty() {
        return "%".to_owned();
    }
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes all that is written");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn path_of(names: &[&str]) -> String {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let path = record_path(&RecordName { namespace: "croquet/sessions", names }).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn parse(path: &str) -> Result<FilePath, FileError> {
        FilePath::parse(Area::Files, path.to_owned())
    }

    #[test]
    fn a_file_path_cannot_leave_its_directory() {
        for bad in ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.", "a\0b", "a\nb"]
        {
            assert_eq!(parse(bad), Err(FileError::BadPath), "{bad:?}");
        }
        for good in ["a", "a/b/c", "...", ".a", "a..b/c", "é/%2e", "a\\b", "a b"] {
            assert!(parse(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn long_file_paths_are_refused() {
        let longest = vec!["a".repeat(204); 5].join("/");
        assert_eq!(longest.len(), FILE_PATH_BYTES_MAX);
        assert!(parse(&longest).is_ok());
        assert!(parse(&format!("{longest}a")).is_err());
        assert!(parse(&"a".repeat(SEGMENT_BYTES_MAX)).is_ok());
        assert!(parse(&"a".repeat(SEGMENT_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn directories_are_named_from_the_outside_in() {
        let path = parse("a/b/c").unwrap();
        assert_eq!(path.directories().collect::<Vec<_>>(), ["a", "a/b"]);
    }

    #[test]
    fn odd_names_have_plain_paths() {
        assert_eq!(path_of(&["Ab-1_x"]), "croquet.sessions/Ab-1_x.rec");
        assert_eq!(path_of(&[".."]), "croquet.sessions/%2E%2E.rec");
        assert_eq!(path_of(&["a/b", "c"]), "croquet.sessions/a%2Fb/c.rec");
        assert_eq!(path_of(&["", ""]), "croquet.sessions/%/%.rec");
        assert_eq!(path_of(&["é"]), "croquet.sessions/%C3%A9.rec");
        let long = path_of(&[&"a".repeat(201)]);
        assert_eq!(long, format!("croquet.sessions/{}+/a.rec", "a".repeat(200)));
    }

    #[test]
    fn records_without_a_name_or_with_a_huge_one_are_refused() {
        for names in [vec![], vec!["a".repeat(RECORD_NAME_BYTES_MAX)], vec![String::new(); 1025]] {
            assert!(record_path(&RecordName { namespace: "n", names }).is_err());
        }
    }

    #[test]
    fn the_same_letters_cut_differently_are_different_records() {
        let long = "a".repeat(200);
        let joined = format!("{long}x");
        let cuts: &[&[&str]] = &[
            &[&joined],
            &[&long, "x"],
            &[&long],
            &["x", "x"],
            &["xx"],
            &["x.rec", "x"],
            &["x"],
            &["x", ""],
            &["%"],
            &[""],
        ];
        let paths: BTreeSet<_> = cuts.iter().map(|names| path_of(names)).collect();
        assert_eq!(paths.len(), cuts.len());
    }

    proptest! {
        #[test]
        fn different_names_have_different_paths_none_above_another(
            a in proptest::collection::vec("[a.%+/ é]{0,4}|[ab]{199,202}", 1..4),
            b in proptest::collection::vec("[a.%+/ é]{0,4}|[ab]{199,202}", 1..4),
        ) {
            let path = |names: &Vec<String>| {
                record_path(&RecordName { namespace: "n", names: names.clone() }).unwrap()
            };
            prop_assert_eq!(a == b, path(&a) == path(&b));
            prop_assert!(a == b || !path(&a).starts_with(path(&b)));
            for part in path(&a).iter() {
                prop_assert!(part.len() <= SEGMENT_BYTES_MAX);
                prop_assert!(part != "." && part != "..");
            }
        }
    }
}

//! Reading what earlier processes left behind, and keeping aside what cannot be trusted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::rebuild::{Rebuild, Site};
use crate::codec::journal::{Key, Kind, Place, Record, SegmentHeader};
use crate::session::journal::Entries;
use crate::storage::durable;

/// Directory of the journal within the data directory.
const JOURNAL: &str = "journal";
/// Directory of what was kept aside, within that of the journal.
const DAMAGED: &str = "damaged";
/// Bytes of a file name chosen from a session's name.
const NAME_BYTES_MAX: usize = 120;

/// A session with entries that are kept nowhere else.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Its full name.
    pub name: String,
    /// The entries, oldest first; those up to `trimmed` are kept elsewhere.
    pub entries: Entries,
    /// Position of the last.
    pub last: u64,
    /// Entries up to here are kept elsewhere.
    pub trimmed: u64,
}

/// A session of which entries are missing.
#[derive(Debug)]
pub struct Damaged {
    /// Its full name.
    pub name: String,
    /// Where they are missing, for people.
    pub site: String,
    /// What is sound of it.
    pub entries: Entries,
}

/// How far recovery has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Bytes read.
    pub read: u64,
    /// Bytes there are.
    pub total: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Sessions to be continued.
    pub sessions: Vec<Recovered>,
    /// Full names of sessions that must not be opened: entries of theirs are missing.
    pub refused: BTreeSet<String>,
    /// The epoch of this process.
    pub epoch: u32,
    /// Bytes that were read.
    pub bytes: u64,
    /// Records that were read.
    pub records: u64,
}

/// The directory of this process's segments.
#[derive(Debug)]
pub struct Epoch {
    /// What its records are made with.
    pub key: Key,
    /// The directory.
    pub path: PathBuf,
    /// The directory of all epochs.
    pub root: PathBuf,
}

impl Epoch {
    /// Makes the directory of a new epoch in `data_dir`. `salt` is random.
    ///
    /// # Errors
    /// A text for people.
    pub fn create(data_dir: &Path, epoch: u32, salt: u64) -> Result<Self, String> {
        let root = data_dir.join(JOURNAL);
        let path = root.join(epoch_name(epoch));
        durable::create_directories(&path).map_err(|error| {
            format!("the journal cannot be created in {}: {error}", path.display())
        })?;
        Ok(Self { key: Key { epoch, salt }, path, root })
    }

    /// Deletes the directories of all epochs before `epoch` under `root`.
    pub fn remove_before(root: &Path, epoch: u32) {
        for (earlier, path) in epochs(root).unwrap_or_default() {
            if earlier < epoch
                && let Err(error) = fs::remove_dir_all(&path)
            {
                log::warn!(
                    scope = "process", event = "journal";
                    "{} is not needed and cannot be deleted: {error}", path.display()
                );
            }
        }
    }
}

/// The sessions in these segments, and those that are damaged. Segments are in the order of epoch,
/// shard and number, each with what makes its records, its shard and its number.
#[cfg(test)]
pub(crate) fn rebuilt(segments: &[(Key, u32, u32, Vec<u8>)]) -> (Vec<Recovered>, Vec<Damaged>) {
    let mut rebuild = Rebuild::default();
    for (at, (key, shard, number, bytes)) in segments.iter().enumerate() {
        let next = segments.get(at + 1);
        let is_last = next.is_none_or(|next| (next.0, next.1) != (*key, *shard));
        let place = Place { segment: *number, offset: 0 };
        rebuild.segment(*key, Site { epoch: key.epoch, shard: *shard, place }, bytes, is_last);
    }
    rebuild.finish()
}

/// Reads the journal in `data_dir`. Changes nothing but what it keeps aside.
///
/// # Errors
/// If it cannot be read, or what is damaged cannot be kept aside; a text for people.
pub fn recover(data_dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Recovery, String> {
    let root = data_dir.join(JOURNAL);
    let unreadable = |path: &Path, error: &io::Error| {
        format!(
            "the journal cannot be read: {}: {error}\n  give the user of this process access, or \
             move the file away: what only it holds is then lost",
            path.display()
        )
    };
    let epochs = epochs(&root).map_err(|error| unreadable(&root, &error))?;
    let mut segments = Vec::new();
    for (&epoch, path) in &epochs {
        segments.extend(segments_of(epoch, path).map_err(|error| unreadable(path, &error))?);
    }
    let total = segments.iter().map(|segment| segment.bytes).sum();
    let (mut rebuild, mut read) = (Rebuild::default(), 0);
    let keys = keys(&segments);
    for (at, segment) in segments.iter().enumerate() {
        progress(Progress { read, total });
        let bytes = fs::read(&segment.path).map_err(|error| unreadable(&segment.path, &error))?;
        read += bytes.len() as u64;
        let next = segments.get(at + 1);
        let is_last =
            next.is_none_or(|next| (next.epoch, next.shard) != (segment.epoch, segment.shard));
        match SegmentHeader::read(&bytes)
            .map(|header| header.key)
            .or_else(|| keys.get(&segment.epoch).copied())
        {
            Some(key) => rebuild.segment(key, segment.site(), &bytes, is_last),
            None if bytes.is_empty() => {}
            None => log::error!(
                scope = "process", event = "journal-damaged";
                "{} does not begin like a segment: nothing of it can be used", segment.path.display()
            ),
        }
    }
    progress(Progress { read, total });
    let (sessions, damaged) = rebuild.finish();
    report(&rebuild);
    let aside = root.join(DAMAGED);
    for one in &damaged {
        keep_aside(&aside, one).map_err(|error| unreadable(&aside, &error))?;
    }
    let epoch = epochs.keys().next_back().map_or(1, |last| last + 1);
    let refused = refused(&aside).map_err(|error| unreadable(&aside, &error))?;
    let sessions = sessions.into_iter().filter(|found| !refused.contains(&found.name)).collect();
    Ok(Recovery { sessions, refused, epoch, bytes: total, records: rebuild.records })
}

/// One line for each end that was cut and each hole.
fn report(rebuild: &Rebuild) {
    for tail in &rebuild.tails {
        log::warn!(
            scope = "process", event = "journal-tail";
            "{}: {} bytes that were being written when the process ended are not used",
            tail.site, tail.bytes
        );
    }
    for hole in &rebuild.holes {
        log::error!(
            scope = "process", event = "journal-damaged";
            "{}: {} bytes are damaged, with sound records behind them", hole.site, hole.bytes
        );
    }
}

struct Segment {
    epoch: u32,
    shard: u32,
    number: u32,
    path: PathBuf,
    bytes: u64,
}

impl Segment {
    fn site(&self) -> Site {
        let place = Place { segment: self.number, offset: 0 };
        Site { epoch: self.epoch, shard: self.shard, place }
    }
}

fn epoch_name(epoch: u32) -> String {
    format!("{epoch:08}")
}

/// The epochs under `root`, oldest first.
fn epochs(root: &Path) -> io::Result<BTreeMap<u32, PathBuf>> {
    let mut found = BTreeMap::new();
    match fs::read_dir(root) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                if let Some(epoch) = name.to_str().and_then(|name| name.parse().ok()) {
                    found.insert(epoch, entry.path());
                }
            }
            Ok(found)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(found),
        Err(error) => Err(error),
    }
}

/// The segments of an epoch by shard and number.
fn segments_of(epoch: u32, path: &Path) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let parts = name.to_str().and_then(|name| name.strip_suffix(".log")?.split_once('-'));
        if let Some((shard, number)) = parts
            && let (Ok(shard), Ok(number)) = (shard.parse(), number.parse())
        {
            let bytes = entry.metadata()?.len();
            found.push(Segment { epoch, shard, number, path: entry.path(), bytes });
        }
    }
    found.sort_by_key(|segment| (segment.shard, segment.number));
    Ok(found)
}

/// The key of each epoch, from any of its headers that is sound.
fn keys(segments: &[Segment]) -> BTreeMap<u32, Key> {
    let mut keys = BTreeMap::new();
    for segment in segments {
        if let std::collections::btree_map::Entry::Vacant(place) = keys.entry(segment.epoch)
            && let Some(header) = read_header(&segment.path)
        {
            place.insert(header.key);
        }
    }
    keys
}

fn read_header(path: &Path) -> Option<SegmentHeader> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let length = crate::codec::journal::SEGMENT_HEADER_BYTES as u64;
    fs::File::open(path).ok()?.take(length).read_to_end(&mut bytes).ok()?;
    SegmentHeader::read(&bytes)
}

/// Keeps what is sound of a session as a segment of its own, beside the journal.
fn keep_aside(aside: &Path, damaged: &Damaged) -> io::Result<()> {
    durable::create_directories(aside)?;
    let path = aside.join(file_name_of(&damaged.name));
    let key = Key::default();
    let mut bytes = SegmentHeader { key, shard: 0, number: 0 }.bytes().to_vec();
    let record =
        |kind, position, previous| Record { kind, session: 1, position, previous, body: b"" };
    key.write(&mut bytes, &record(Kind::Name, 0, 0), &[damaged.name.as_bytes()]);
    let mut previous = 0;
    for (position, body) in damaged.entries.after(0) {
        key.write(&mut bytes, &record(Kind::Entry, position, previous), &[body]);
        previous = position;
    }
    durable::replace(&path, &[&bytes])?;
    log::error!(
        scope = "process", event = "journal-damaged";
        "{}: entries of session {:?} are missing: it is refused; the {} that are sound are kept in \
         {}. Delete that file to go on without them from what was stored last.",
        damaged.site, damaged.name, damaged.entries.len(), path.display()
    );
    Ok(())
}

/// Names of the sessions that were kept aside, now or earlier.
fn refused(aside: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let entries = match fs::read_dir(aside) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let bytes = fs::read(entry?.path())?;
        let start = crate::codec::journal::SEGMENT_HEADER_BYTES;
        let name = bytes.get(start..).and_then(|bytes| Key::default().read(bytes));
        if let Some(name) = name.and_then(|record| String::from_utf8(record.body.to_vec()).ok()) {
            names.insert(name);
        }
    }
    Ok(names)
}

/// A file name that tells people which session it is, and is unique.
fn file_name_of(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
    let told: String = name.chars().map(plain).take(NAME_BYTES_MAX).collect();
    format!("{told}-{:08x}.log", crc32c::crc32c(name.as_bytes()))
}

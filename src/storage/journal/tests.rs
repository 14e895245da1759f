//! The journal against a disk that tears, loses and refuses: what was told must be there, and nothing
//! that was not said.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::rebuild::{Rebuild, Site};
use super::syncer::{Syncer, Work};
use super::volume::{SegmentFile, Volume};
use super::writer::{Journal, Settings, Trouble};
use super::{Damaged, Done, Recovered, Sync, Synced, rebuilt};
use crate::codec::journal::{Key, Place, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::seeds::Seeds;
use crate::session::Instant;
use crate::session::journal::Cursor;

/// Runs of the random test.
const SEEDS: u64 = 20_000;
/// Processes of each, one after another.
const LIVES: usize = 3;
/// What a disk keeps apart when the power goes.
const SECTOR_BYTES: usize = 512;

/// A random sequence from a printed seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// A segment on the fake disk.
#[derive(Clone, Debug, Default)]
struct Image {
    /// As programs see it.
    written: Vec<u8>,
    /// As it is after a loss of power at the latest sync.
    synced: Vec<u8>,
    /// Its name is on the disk.
    named: bool,
}

#[derive(Debug, Default)]
struct Disk {
    segments: BTreeMap<u32, Image>,
    /// Writes fail after so many bytes.
    write_fails_after: Option<usize>,
    sync_fails: bool,
    full: bool,
}

/// A fake volume, and the files on it.
#[derive(Clone, Debug, Default)]
struct Fake(Arc<Mutex<Disk>>);

#[derive(Debug)]
struct FakeFile(Fake, u32);

fn failure(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}

impl Fake {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    /// What is there after the process was killed.
    fn after_kill(&self) -> BTreeMap<u32, Vec<u8>> {
        let disk = self.disk();
        disk.segments.iter().map(|(&number, image)| (number, image.written.clone())).collect()
    }

    /// What is there after a loss of power: of what was not synced any sectors, and any names.
    fn after_power_loss(&self, random: &mut Random) -> BTreeMap<u32, Vec<u8>> {
        let disk = self.disk();
        let mut left = BTreeMap::new();
        for (&number, image) in &disk.segments {
            if !image.named && random.one_in(2) {
                continue;
            }
            let mut bytes = image.written.clone();
            for (at, sector) in bytes.chunks_mut(SECTOR_BYTES).enumerate() {
                let start = at * SECTOR_BYTES;
                if random.one_in(2) {
                    for (offset, byte) in sector.iter_mut().enumerate() {
                        *byte = image.synced.get(start + offset).copied().unwrap_or(0);
                    }
                }
            }
            if bytes.len() > image.synced.len() && random.one_in(2) {
                let more = random.below(bytes.len() - image.synced.len());
                bytes.truncate(image.synced.len() + more);
            }
            left.insert(number, bytes);
        }
        left
    }
}

impl Volume for Fake {
    fn create(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>> {
        let mut disk = self.disk();
        if disk.full {
            return Err(failure("full"));
        }
        disk.segments.insert(number, Image::default());
        drop(disk);
        Ok(Arc::new(FakeFile(self.clone(), number)))
    }

    fn read(&self, number: u32) -> io::Result<Vec<u8>> {
        let disk = self.disk();
        disk.segments.get(&number).map(|one| one.written.clone()).ok_or_else(|| failure("none"))
    }

    fn remove(&self, number: u32) -> io::Result<()> {
        self.disk().segments.remove(&number).map(drop).ok_or_else(|| failure("no such segment"))
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut disk = self.disk();
        if disk.sync_fails {
            return Err(failure("sync"));
        }
        disk.segments.values_mut().for_each(|image| image.named = true);
        Ok(())
    }
}

impl SegmentFile for FakeFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.0.disk();
        let fails_after = disk.write_fails_after;
        let image = disk.segments.get_mut(&self.1).unwrap();
        let (start, taken) = (offset as usize, fails_after.unwrap_or(usize::MAX).min(bytes.len()));
        if image.written.len() < start + taken {
            image.written.resize(start + taken, 0);
        }
        image.written[start..start + taken].copy_from_slice(&bytes[..taken]);
        if fails_after.is_some() { Err(failure("write")) } else { Ok(()) }
    }

    fn reserve(&self, _: u64) -> io::Result<()> {
        if self.0.disk().full { Err(failure("full")) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.0.disk();
        if disk.sync_fails {
            return Err(failure("sync"));
        }
        if let Some(image) = disk.segments.get_mut(&self.1) {
            image.synced = image.written.clone();
        }
        Ok(())
    }
}

/// One epoch's segments as bytes.
type Segments = BTreeMap<u32, Vec<u8>>;

fn rebuild(epochs: &[Segments]) -> (Vec<Recovered>, Vec<Damaged>, Rebuild) {
    let mut rebuild = Rebuild::default();
    for (at, segments) in epochs.iter().enumerate() {
        let epoch = at as u32 + 1;
        let key = segments.values().find_map(|bytes| SegmentHeader::read(bytes));
        for (&number, bytes) in segments {
            let is_last = segments.keys().next_back() == Some(&number);
            let place = Place { segment: number, offset: 0 };
            if let Some(header) = SegmentHeader::read(bytes).or(key) {
                rebuild.segment(header.key, Site { epoch, shard: 0, place }, bytes, is_last);
            }
        }
    }
    let (recovered, damaged) = rebuild.finish();
    (recovered, damaged, rebuild)
}

/// A session as its machine knows it.
#[derive(Clone, Debug, Default)]
struct Model {
    /// Everything recorded and not trimmed.
    entries: Vec<(u64, Vec<u8>)>,
    /// How many of them must be there after the kind of crash that is tested.
    promised: usize,
}

struct World {
    random: Random,
    sync: Sync,
    disk: Fake,
    works: Receiver<Work>,
    journal: Journal,
    sessions: BTreeMap<String, (Cursor, Model)>,
    now: Instant,
    /// Number of entries of each session when the sync under way was asked for.
    pending: Vec<BTreeMap<String, u64>>,
    loses_power: bool,
    /// What earlier processes left.
    earlier: Vec<Segments>,
}

const NAMES: [&str; 4] = ["croquet/a", "croquet/b", "yjs/c", "gallery/d"];

impl World {
    fn new(seed: u64) -> Self {
        Self::start(Random(seed), BTreeMap::new(), Vec::new())
    }

    /// A process that goes on with these sessions.
    fn start(
        mut random: Random,
        sessions: BTreeMap<String, (Cursor, Model)>,
        earlier: Vec<Segments>,
    ) -> Self {
        let sync =
            [Sync::Always, Sync::Every(Duration::from_millis(100)), Sync::Never][random.below(3)];
        let (disk, (syncer, works)) = (Fake::default(), Syncer::by_hand());
        let journal = open(earlier.len() as u32 + 1, sync, &disk, syncer, sessions.len());
        let loses_power = sync != Sync::Never && random.one_in(2);
        let (now, pending) = (Instant::from_millis(1), Vec::new());
        Self { random, sync, disk, works, journal, sessions, now, pending, loses_power, earlier }
    }

    fn step(&mut self) {
        let name = NAMES[self.random.below(NAMES.len())];
        let (cursor, model) = self.sessions.entry(name.to_owned()).or_default();
        let read_only = self.journal.trouble().is_some();
        match self.random.below(20) {
            0..=9 if !read_only => {
                let body: Vec<u8> =
                    (0..self.random.below(80)).map(|_| self.random.next() as u8).collect();
                let position = self.journal.batch.record(cursor, name, &[&body]);
                model.entries.push((position, body));
            }
            10 => {
                let covered = self.random.below(model.entries.len() + 1);
                if let Some(last) = covered.checked_sub(1) {
                    let position = model.entries[last].0;
                    self.journal.batch.trim(cursor, name, position);
                    model.entries.drain(..covered);
                    model.promised = model.promised.saturating_sub(covered);
                }
            }
            11 if model.entries.is_empty() => self.journal.batch.close(cursor, name),
            12 => self.disk.disk().full = self.random.one_in(2),
            13 => {
                let fails = self.random.one_in(3).then(|| self.random.below(200));
                self.disk.disk().write_fails_after = fails;
            }
            14 => self.disk.disk().sync_fails = self.random.one_in(3),
            15 => self.do_work(),
            16 => self.store_what_is_wanted(),
            _ => {
                self.now = self.now + Duration::from_millis(self.random.below(700) as u64);
                self.turn();
            }
        }
        self.journal.batch.invariants();
    }

    /// What a shard does at the end of a turn.
    fn turn(&mut self) {
        if self.journal.next_due().is_some_and(|due| due <= self.now) {
            let before = self.works.len();
            self.journal.tend(self.now);
            self.note_syncs(before);
        }
        let before = self.works.len();
        let may_send = self.journal.commit(self.now);
        self.note_syncs(before);
        // With a sync at an interval a loss of power may take what is younger.
        let promised_at_once = !self.loses_power || self.sync == Sync::Always;
        if may_send && promised_at_once {
            for (_, model) in self.sessions.values_mut() {
                model.promised = model.entries.len();
            }
        }
    }

    /// Notes what each sync that was asked for since will cover.
    fn note_syncs(&mut self, before: usize) {
        let written = self.journal.batch.is_empty();
        for _ in before..self.works.len() {
            let last = |(_, model): &(Cursor, Model)| model.entries.last().map_or(0, |last| last.0);
            let covered = self.sessions.iter().map(|(name, one)| (name.clone(), last(one)));
            self.pending.push(if written { covered.collect() } else { BTreeMap::new() });
        }
    }

    fn do_work(&mut self) {
        for work in self.works.try_iter().collect::<Vec<_>>() {
            let covered = self.pending.remove(0);
            let Some((_, Done::Synced(synced))) = work.run() else { continue };
            let Synced { place, result } = synced;
            let trusted = result.is_ok()
                && !matches!(self.journal.trouble(), Some(Trouble::SyncFailed { .. }));
            let before = self.works.len();
            self.journal.on_synced(Synced { place, result }, self.now);
            self.note_syncs(before);
            if trusted {
                for (name, last) in covered {
                    let Some((_, model)) = self.sessions.get_mut(&name) else { continue };
                    let synced = model.entries.iter().filter(|entry| entry.0 <= last).count();
                    model.promised = model.promised.max(synced);
                }
            }
        }
    }

    fn store_what_is_wanted(&mut self) {
        let Some(up_to) = self.journal.wants_stored() else { return };
        for (name, (cursor, model)) in &mut self.sessions {
            if cursor.oldest_segment().is_some_and(|segment| segment <= up_to) {
                self.journal.batch.trim(cursor, name, cursor.last());
                *model = Model::default();
            }
        }
    }

    /// The process ends without a word, what it left behind is read, and the next goes on from that.
    fn crash(mut self) -> Self {
        let segments = if self.loses_power {
            self.disk.after_power_loss(&mut self.random)
        } else {
            self.disk.after_kill()
        };
        // A sync that failed leaves nobody knowing what is there, until everything is stored anew.
        let doubted = matches!(self.journal.trouble(), Some(Trouble::SyncFailed { .. }));
        self.earlier.push(segments);
        let (recovered, damaged, _) = rebuild(&self.earlier);
        assert!(damaged.is_empty(), "{damaged:?}");
        let mut found: BTreeMap<_, _> =
            recovered.into_iter().map(|found| (found.name.clone(), found)).collect();
        let mut sessions = BTreeMap::new();
        for (name, (_, model)) in &self.sessions {
            let found = found.remove(name);
            let entries: Vec<(u64, &[u8])> = found
                .as_ref()
                .map_or_else(Vec::new, |found| found.entries.after(found.trimmed).collect());
            check(name, model, &entries, doubted && self.loses_power);
            let Some(found) = &found else { continue };
            let cursor = Cursor::recovered(found.last, found.trimmed);
            let entries: Vec<_> = entries.iter().map(|(at, body)| (*at, body.to_vec())).collect();
            let promised = entries.len();
            sessions.insert(name.clone(), (cursor, Model { entries, promised }));
        }
        assert!(found.is_empty(), "{found:?} were never recorded");
        Self::start(self.random, sessions, self.earlier)
    }
}

/// What was found is what was recorded up to some point, and holds what was promised.
fn check(name: &str, model: &Model, found: &[(u64, &[u8])], doubted: bool) {
    // A trim that was lost leaves older entries, which the stored record has.
    let first = model.entries.first().map_or(u64::MAX, |entry| entry.0);
    let found: Vec<_> = found.iter().filter(|entry| entry.0 >= first).collect();
    for (at, &&(position, body)) in found.iter().enumerate() {
        let (expected, said) = &model.entries[at];
        assert_eq!((position, body), (*expected, &said[..]), "entry {at} of {name}");
    }
    if !doubted {
        let promised = model.promised;
        assert!(found.len() >= promised, "{name}: {} of {promised} promised", found.len());
    }
}

fn open(epoch: u32, sync: Sync, disk: &Fake, syncer: Syncer, recovered: usize) -> Journal {
    let key = Key { epoch, salt: 7 };
    let settings = Settings { segment_bytes: 700, ..Settings::new(key, 0, sync) };
    Journal::open(settings, Arc::new(disk.clone()), syncer, recovered, None).unwrap()
}

#[test]
fn what_was_told_survives_a_disk_that_tears_loses_and_refuses() {
    for seed in Seeds::of_run(SEEDS).range {
        let told = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..LIVES {
                for _ in 0..world.random.below(150) {
                    world.step();
                }
                world = world.crash();
            }
        });
        assert!(told.is_ok(), "run again with LOCKSTEP_SEED={seed}");
    }
}

/// Positions and bodies of entries.
type Bodies = Vec<(u64, Vec<u8>)>;
/// What each session has recorded.
type Said = BTreeMap<String, Bodies>;

/// A journal of three sessions over several segments, synced in part, and what each has recorded.
fn small() -> (Segments, Said) {
    let (disk, (syncer, works)) = (Fake::default(), Syncer::by_hand());
    let mut journal = open(1, Sync::Every(Duration::from_millis(1)), &disk, syncer, 0);
    let mut sessions: BTreeMap<String, (Cursor, Bodies)> = BTreeMap::new();
    for turn in 0_u64..14 {
        for (at, name) in NAMES.into_iter().enumerate().take(3) {
            if (turn + at as u64).is_multiple_of(2) || at == 2 && turn > 5 {
                continue;
            }
            let (cursor, entries) = sessions.entry(name.to_owned()).or_default();
            let body = format!("{name} says {turn}").into_bytes();
            let position = journal.batch.record(cursor, name, &[&body]);
            entries.push((position, body));
        }
        let now = Instant::from_millis(turn * 10);
        journal.tend(now);
        assert!(journal.commit(now));
        for work in works.try_iter().collect::<Vec<_>>() {
            if turn < 10
                && let Some((_, Done::Synced(synced))) = work.run()
            {
                journal.on_synced(synced, now);
            }
        }
    }
    let entries = sessions.into_iter().map(|(name, (_, entries))| (name, entries)).collect();
    (disk.after_kill(), entries)
}

/// How many sessions are refused, and how many are shorter than they were.
fn judge(segments: &Segments, said: &Said) -> (usize, usize) {
    let (recovered, damaged, _) = rebuild(std::slice::from_ref(segments));
    let mut shorter = 0;
    for (name, entries) in said {
        if damaged.iter().any(|one| one.name == *name) {
            continue;
        }
        let found = recovered.iter().find(|one| one.name == *name);
        let found: Vec<_> = found.map_or_else(Vec::new, |one| one.entries.after(0).collect());
        for (found, (position, body)) in found.iter().zip(entries) {
            assert_eq!(*found, (*position, &body[..]));
        }
        assert!(found.len() <= entries.len());
        shorter += usize::from(found.len() < entries.len());
    }
    (damaged.len(), shorter)
}

#[test]
fn a_sound_journal_comes_back_whole() {
    let (segments, said) = small();
    assert!(segments.len() >= 3, "{} segments", segments.len());
    assert_eq!(judge(&segments, &said), (0, 0));
}

#[test]
fn any_flipped_bit_costs_at_most_its_own_session() {
    let (good, said) = small();
    let (mut refused, mut cut, mut unhurt) = (0, 0, 0);
    for (&number, bytes) in &good {
        for bit in 0..bytes.len() * 8 {
            let mut segments = good.clone();
            segments.get_mut(&number).unwrap()[bit / 8] ^= 1 << (bit % 8);
            match judge(&segments, &said) {
                (0, 0) => unhurt += 1,
                (1, 0) => refused += 1,
                (0, 1) => cut += 1,
                more => panic!("bit {bit} of segment {number}: {more:?} sessions"),
            }
        }
    }
    // Entries are most of it; what was not synced yet is cut like a torn end.
    assert!(refused > 0 && cut > 0 && unhurt > 0, "{refused} {cut} {unhurt}");
    assert!(refused > cut, "{refused} {cut}");
}

#[test]
fn a_cut_at_any_byte_leaves_sound_entries_only() {
    let (good, said) = small();
    let last = *good.keys().next_back().unwrap();
    for (&number, bytes) in &good {
        for len in 0..bytes.len() {
            let mut segments = good.clone();
            segments.get_mut(&number).unwrap().truncate(len);
            let (refused, _) = judge(&segments, &said);
            assert!(number != last || refused == 0, "the end of the log was only torn");
        }
        let mut segments = good.clone();
        segments.remove(&number);
        judge(&segments, &said);
    }
}

#[test]
fn bytes_of_any_kind_are_read_without_a_panic() {
    let mut random = Random(1);
    let (good, _) = small();
    for _ in 0..2_000 {
        let mut segments = good.clone();
        for bytes in segments.values_mut() {
            for _ in 0..random.below(20) {
                let at = random.below(bytes.len());
                bytes[at] = random.next() as u8;
            }
        }
        rebuild(&[segments]);
    }
}

#[test]
fn sessions_go_on_over_epochs_and_start_anew_when_closed() {
    let (first, (syncer, _works)) = (Fake::default(), Syncer::by_hand());
    let mut journal = open(1, Sync::Never, &first, syncer, 0);
    let (mut a, mut b) = (Cursor::default(), Cursor::default());
    journal.batch.record(&mut a, "x/a", &[b"a1"]);
    journal.batch.record(&mut b, "x/b", &[b"b1"]);
    journal.batch.close(&mut b, "x/b");
    journal.batch.record(&mut b, "x/b", &[b"b2"]);
    assert!(journal.commit(Instant::default()));
    let (found, _, _) = rebuild(&[first.after_kill()]);
    let bodies = |found: &Recovered| -> Vec<Vec<u8>> {
        found.entries.after(found.trimmed).map(|(_, body)| body.to_vec()).collect()
    };
    assert_eq!(bodies(&found[0]), [b"a1"]);
    assert_eq!(bodies(&found[1]), [b"b2"], "what was before the close is gone");

    let (second, (syncer, _works)) = (Fake::default(), Syncer::by_hand());
    let mut journal = open(2, Sync::Never, &second, syncer, 2);
    let mut a = Cursor::recovered(found[0].last, found[0].trimmed);
    let covered = a.last();
    journal.batch.record(&mut a, "x/a", &[b"a2"]);
    assert!(journal.commit(Instant::default()));
    let epochs = [first.after_kill(), second.after_kill()];
    let (found, damaged, _) = rebuild(&epochs);
    assert!(damaged.is_empty());
    assert_eq!(bodies(&found[0]), [&b"a1"[..], b"a2"]);
    // Without the first epoch what is there makes no sense alone, and with a trim it does.
    let (_, damaged, _) = rebuild(&[Segments::new(), second.after_kill()]);
    assert!(damaged.is_empty(), "nothing was ever synced, so nothing is promised");
    journal.batch.trim(&mut a, "x/a", covered);
    assert!(journal.commit(Instant::default()));
    assert_eq!(journal.batch.earlier(), 1, "the other recovered session still needs the first");
    let (found, _, _) = rebuild(&[Segments::new(), second.after_kill()]);
    assert_eq!(bodies(&found[0]), [b"a2"]);
}

#[test]
fn segments_that_nobody_needs_are_deleted() {
    let (disk, (syncer, works)) = (Fake::default(), Syncer::by_hand());
    let mut journal = open(1, Sync::Never, &disk, syncer, 0);
    let (mut quiet, mut busy) = (Cursor::default(), Cursor::default());
    journal.batch.record(&mut quiet, "x/quiet", &[b"once"]);
    for turn in 0..200 {
        let position = journal.batch.record(&mut busy, "x/busy", &[&[0; 100]]);
        if turn % 10 == 9 {
            journal.batch.trim(&mut busy, "x/busy", position);
        }
        assert!(journal.commit(Instant::default()));
        works.try_iter().for_each(|work| drop(work.run()));
    }
    let segments = disk.after_kill().len();
    assert!(segments > 8, "the quiet session needs the first");
    assert_eq!(journal.wants_stored(), Some(1));
    let last = quiet.last();
    journal.batch.trim(&mut quiet, "x/quiet", last);
    assert!(journal.commit(Instant::default()));
    works.try_iter().for_each(|work| drop(work.run()));
    assert!(disk.after_kill().len() <= 4, "{} segments", disk.after_kill().len());
    assert_eq!(journal.wants_stored(), None);
}

#[test]
fn a_full_disk_is_noticed_while_there_is_still_space_for_what_was_said() {
    let (disk, (syncer, _works)) = (Fake::default(), Syncer::by_hand());
    let key = Key { epoch: 1, salt: 7 };
    let volume = Arc::new(disk.clone());
    let settings = Settings::new(key, 0, Sync::Never);
    let mut journal = Journal::open(settings, volume, syncer, 0, None).unwrap();
    disk.disk().full = true;
    let mut cursor = Cursor::default();
    let mut turns = 0;
    while journal.trouble().is_none() {
        journal.batch.record(&mut cursor, "x/a", &[&[0; 10_000]]);
        assert!(journal.commit(Instant::from_millis(turns)), "what was said is written and sent");
        turns += 1;
    }
    assert!(matches!(journal.trouble(), Some(Trouble::Full(_))));
    assert!(turns > 100);
    journal.tend(Instant::from_millis(100_000));
    assert!(journal.trouble().is_some(), "it is still full");
    disk.disk().full = false;
    let due = journal.next_due().unwrap();
    journal.tend(due);
    assert_eq!(journal.trouble(), None);
}

#[test]
fn a_batch_that_cannot_be_written_holds_back_what_depends_on_it() {
    let (disk, (syncer, _works)) = (Fake::default(), Syncer::by_hand());
    let mut journal = open(1, Sync::Never, &disk, syncer, 0);
    let mut cursor = Cursor::default();
    journal.batch.record(&mut cursor, "x/a", &[b"one"]);
    disk.disk().write_fails_after = Some(SEGMENT_HEADER_BYTES);
    assert!(!journal.commit(Instant::from_millis(0)));
    assert!(!journal.commit(Instant::from_millis(1)), "not tried again at once");
    disk.disk().write_fails_after = None;
    journal.tend(journal.next_due().unwrap());
    assert!(journal.commit(Instant::from_millis(2_000)));
    let (found, damaged, _) = rebuild(&[disk.after_kill()]);
    assert!(damaged.is_empty());
    assert_eq!(found[0].entries.len(), 1, "written once, over what had failed");
}

#[test]
fn a_sync_that_failed_is_never_taken_for_success() {
    let (disk, (syncer, works)) = (Fake::default(), Syncer::by_hand());
    let mut journal = open(1, Sync::Always, &disk, syncer, 0);
    let mut cursor = Cursor::default();
    journal.batch.record(&mut cursor, "x/a", &[b"one"]);
    disk.disk().sync_fails = true;
    assert!(!journal.commit(Instant::from_millis(0)));
    disk.disk().sync_fails = false;
    let mut now = Instant::from_millis(0);
    for _ in 0..5 {
        now = now + Duration::from_secs(2);
        journal.tend(now);
        assert!(!journal.commit(now), "another sync says nothing about the first");
    }
    assert_eq!(journal.wants_stored(), Some(1));
    let last = cursor.last();
    journal.batch.trim(&mut cursor, "x/a", last);
    journal.commit(now);
    journal.tend(now + Duration::from_secs(2));
    assert_eq!(journal.trouble(), None);
    assert!(journal.commit(now + Duration::from_secs(2)));
    works.try_iter().for_each(|work| drop(work.run()));
}

/// With no space for another segment it goes on in the one that is in doubt.
#[test]
fn a_sync_vouches_for_nothing_that_an_earlier_one_has_failed_on() {
    let (disk, (syncer, _works)) = (Fake::default(), Syncer::by_hand());
    let mut journal = open(1, Sync::Always, &disk, syncer, 0);
    let mut cursor = Cursor::default();
    let mut ends = Vec::new();
    for (at, fails) in [false, true, false, false].into_iter().enumerate() {
        disk.disk().sync_fails = fails;
        disk.disk().full |= fails;
        journal.batch.record(&mut cursor, "x/a", &[b"entry"]);
        assert_eq!(journal.commit(Instant::from_millis(at as u64)), at == 0);
        ends.push(disk.disk().segments[&1].written.len());
    }
    let mut bytes = disk.disk().segments[&1].written.clone();
    bytes[ends[0]..ends[1]].fill(0);
    let (found, damaged) = rebuilt(&[(Key { epoch: 1, salt: 7 }, 0, 1, bytes)]);
    assert!(damaged.is_empty(), "nobody was told of what is missing: {damaged:?}");
    assert_eq!(found[0].entries.len(), 1);
}

#[test]
fn what_is_missing_is_missing_since_the_first_hole_behind_what_is_known() {
    let (disk, (syncer, works)) = (Fake::default(), Syncer::by_hand());
    let mut journal = open(1, Sync::Every(Duration::from_millis(1)), &disk, syncer, 0);
    let (mut quiet, mut busy) = (Cursor::default(), Cursor::default());
    // Who says something in each segment, and how many of those are synced.
    let said: [&[&str]; 5] = [&["busy"], &["quiet"], &["quiet", "busy"], &["busy"], &["quiet"]];
    for (number, names) in said.into_iter().enumerate() {
        for &name in names {
            let cursor = if name == "quiet" { &mut quiet } else { &mut busy };
            journal.batch.record(cursor, name, &[&[number as u8; 800]]);
        }
        let now = Instant::from_millis(number as u64);
        assert!(journal.commit(now));
        for work in works.try_iter().filter(|_| number < 2).collect::<Vec<_>>() {
            if let Some((_, Done::Synced(synced))) = work.run() {
                journal.on_synced(synced, now);
            }
        }
    }
    let whole = disk.after_kill();
    assert_eq!(whole.len(), 6, "a segment for each turn, and the next");
    let names = |segments: &Segments| {
        let (found, damaged, _) = rebuild(std::slice::from_ref(segments));
        let found: Vec<_> = found.iter().map(|one| (one.name.clone(), one.entries.len())).collect();
        let damaged: Vec<_> = damaged.into_iter().map(|one| one.name).collect();
        (found, damaged)
    };
    let both = |busy, quiet| vec![("busy".to_owned(), busy), ("quiet".to_owned(), quiet)];
    assert_eq!(names(&whole), (both(3, 3), vec![]));
    // One that was never synced is cut in its header: a torn end, whatever is damaged before.
    let mut torn = whole.clone();
    torn.get_mut(&3).unwrap().truncate(16);
    assert_eq!(names(&torn), (both(1, 1), vec![]));
    torn.get_mut(&1).unwrap()[70..].fill(0);
    assert_eq!(names(&torn), (vec![("quiet".to_owned(), 1)], vec!["busy".to_owned()]));
    // One that was synced is not, whatever is torn behind it.
    let mut damaged = whole;
    damaged.get_mut(&2).unwrap()[70..].fill(0);
    damaged.get_mut(&4).unwrap()[70..].fill(0);
    assert_eq!(names(&damaged).1, ["quiet"]);
}

#[test]
fn what_was_torn_and_cut_costs_nothing_that_came_after() {
    let life = |epoch: u32, cursor: &mut Cursor, said: std::ops::Range<u8>| {
        let (disk, (syncer, _works)) = (Fake::default(), Syncer::by_hand());
        let mut journal = open(epoch, Sync::Never, &disk, syncer, usize::from(epoch > 1));
        for number in said {
            journal.batch.record(cursor, "x/a", &[&[number; 800]]);
            assert!(journal.commit(Instant::default()));
        }
        disk.after_kill()
    };
    let mut first = life(1, &mut Cursor::default(), 0..4);
    first.get_mut(&2).unwrap().truncate(100);
    let (found, damaged, _) = rebuild(std::slice::from_ref(&first));
    assert!(damaged.is_empty());
    assert_eq!(found[0].entries.len(), 1);
    let mut cursor = Cursor::recovered(found[0].last, found[0].trimmed);
    let second = life(2, &mut cursor, 10..13);
    let (found, damaged, _) = rebuild(&[first, second]);
    assert!(damaged.is_empty());
    let said: Vec<u8> = found[0].entries.after(0).map(|(_, body)| body[0]).collect();
    assert_eq!(said, [0, 10, 11, 12]);
}

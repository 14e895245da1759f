//! A document: the structs of each client, in the order of their clocks, and what is deleted.
//!
//! Structs are kept as they are written on the wire, one after another, so that telling somebody what
//! it lacks is copying. A struct that goes on where the last one ends is joined to it: a sentence
//! typed letter by letter is one item. What is deleted is emptied now and then ([`Document::collect`]).
//!
//! An update may come before what it builds on. Such a one waits, in full, until it fits.

use std::collections::BTreeMap;
use std::ops::Range;

use super::deletions::Deletions;
use super::state_vector::state_vector;
use super::structs::{Body, Id, Joint, Struct};
use super::update::{Part, check_update, parts};
use super::{CLIENTS_MAX, Malformed};
use crate::codec::lib0::{Reader, write_varuint};

/// Updates that may wait for others.
pub const PENDING_MAX: usize = 1_000;
/// The same in bytes.
pub const PENDING_BYTES_MAX: usize = 1 << 20;
/// Bytes that deleting must free at least before anything is collected, and then a fourth of all.
const COLLECT_BYTES_MIN: usize = 4 << 10;
/// What a client's structs or deletions are taken to cost besides themselves, in bytes.
const CLIENT_BYTES: usize = 128;

/// What became of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The document had it all.
    Known,
    /// The document has it now.
    New,
    /// Some of it waits for what is missing.
    Waiting,
}

/// Why an update was not taken. The document is as it was, but for structs that fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is not an update.
    #[error("malformed: {0}")]
    Malformed(#[from] Malformed),
    /// Too much waits already.
    #[error("too many updates wait for what is missing")]
    TooMuchMissing,
    /// The document has too many clients.
    #[error("the document has too many clients")]
    TooManyClients,
}

/// A document.
#[derive(Clone, Debug, Default)]
pub struct Document {
    clients: BTreeMap<u64, Client>,
    deletions: BTreeMap<u64, Deletions>,
    /// Updates that wait, oldest first.
    pending: Vec<Pending>,
    pending_bytes: usize,
    /// Structs, and their bytes.
    structs: usize,
    bytes: usize,
    /// Ranges of the deletions.
    ranges: usize,
    /// Clocks that were deleted and not collected.
    uncollected: usize,
}

/// The structs of one client, from clock zero on.
#[derive(Clone, Debug, Default)]
struct Client {
    /// The clock after the last.
    end: u32,
    bytes: Vec<u8>,
    /// Where each struct begins.
    starts: Vec<Start>,
    /// The last one, if others may be joined to it.
    joint: Option<Joint>,
}

/// An update that waits.
#[derive(Clone, Debug)]
struct Pending {
    update: Box<[u8]>,
    /// A clock that it goes on from, and that is not there yet.
    misses: Id,
}

/// What a merge has come to.
#[derive(Clone, Copy, Debug, Default)]
struct Merged {
    is_new: bool,
    is_crowded: bool,
    misses: Option<Id>,
}

#[derive(Clone, Copy, Debug)]
struct Start {
    clock: u32,
    at: u32,
}

impl Document {
    /// A document that nobody has written to.
    pub fn new() -> Self {
        Self::default()
    }

    /// A document made of this update, and of nothing else.
    ///
    /// # Errors
    /// If it is not an update, or not a whole document's.
    pub fn load(update: &[u8]) -> Result<Self, Refusal> {
        let mut document = Self::new();
        match document.take(update)? {
            Taken::Waiting => Err(Refusal::TooMuchMissing),
            Taken::New | Taken::Known => Ok(document),
        }
    }

    /// Takes an update, checking it.
    ///
    /// # Errors
    /// If it is not one, or if there is no room for it.
    pub fn take(&mut self, update: &[u8]) -> Result<Taken, Refusal> {
        check_update(update)?;
        let merged = self.merge(update)?;
        if let Some(misses) = merged.misses {
            self.wait(update, misses)?;
        }
        if merged.is_new {
            self.retry();
        }
        match merged {
            Merged { is_crowded: true, .. } => Err(Refusal::TooManyClients),
            Merged { misses: Some(_), .. } => Ok(Taken::Waiting),
            Merged { is_new: true, .. } => Ok(Taken::New),
            _ => Ok(Taken::Known),
        }
    }

    /// Takes of an update that was checked what fits.
    fn merge(&mut self, update: &[u8]) -> Result<Merged, Malformed> {
        let mut merged = Merged::default();
        parts(update, |part| match part {
            Part::Struct(id, part) => self.take_struct(id, &part, &mut merged),
            Part::Deletion(id, len) => {
                let deletions = self.deletions.entry(id.client).or_default();
                let before = deletions.ranges().len();
                let deletes = deletions.insert(id.clock..id.clock + len);
                self.ranges = self.ranges - before + deletions.ranges().len();
                if deletes {
                    merged.is_new = true;
                    self.uncollected += len as usize;
                }
            }
        })?;
        Ok(merged)
    }

    fn take_struct(&mut self, id: Id, part: &Struct<'_>, merged: &mut Merged) {
        // Items that cover nothing mean nothing; what was left out is nothing to be kept.
        if part.len == 0 || part.body == Body::Skipped {
            return;
        }
        let end = self.end_of(id.client);
        if id.clock > end {
            merged.misses.get_or_insert(id);
            return;
        }
        if id.clock + part.len <= end {
            return;
        }
        if end == 0 && self.clients.len() >= CLIENTS_MAX {
            merged.is_crowded = true;
            return;
        }
        let client = self.clients.entry(id.client).or_default();
        let (structs, bytes) = (client.starts.len(), client.bytes.len());
        client.append_from(id, part, end - id.clock);
        self.structs += client.starts.len() - structs;
        self.bytes += client.bytes.len() - bytes;
        merged.is_new = true;
    }

    /// The clock after a client's last.
    fn end_of(&self, client: u64) -> u32 {
        self.clients.get(&client).map_or(0, |client| client.end)
    }

    /// Lets an update wait for what is missing.
    fn wait(&mut self, update: &[u8], misses: Id) -> Result<(), Refusal> {
        if self.pending.iter().any(|known| *known.update == *update) {
            return Ok(());
        }
        if self.pending.len() >= PENDING_MAX
            || self.pending_bytes + update.len() > PENDING_BYTES_MAX
        {
            return Err(Refusal::TooMuchMissing);
        }
        self.pending_bytes += update.len();
        self.pending.push(Pending { update: update.into(), misses });
        Ok(())
    }

    /// Takes what has waited and fits now, until nothing does.
    fn retry(&mut self) {
        let mut goes_on = !self.pending.is_empty();
        while std::mem::take(&mut goes_on) {
            let mut pending = std::mem::take(&mut self.pending);
            pending.retain_mut(|Pending { update, misses }| {
                if self.end_of(misses.client) < misses.clock {
                    return true;
                }
                goes_on = true;
                // It was checked when it came.
                let still = self.merge(update).ok().and_then(|merged| merged.misses);
                still.is_some_and(|still| {
                    *misses = still;
                    true
                })
            });
            self.pending = pending;
            self.pending_bytes = self.pending.iter().map(|pending| pending.update.len()).sum();
        }
    }

    /// Updates that wait for what is missing, oldest first.
    pub fn pending(&self) -> impl Iterator<Item = &[u8]> {
        self.pending.iter().map(|pending| &*pending.update)
    }

    /// What it holds, in bytes, about.
    pub fn len(&self) -> usize {
        let clients = (self.clients.len() + self.deletions.len()) * CLIENT_BYTES;
        let ranges = self.ranges * size_of::<Range<u32>>();
        clients + self.structs * size_of::<Start>() + self.bytes + ranges + self.pending_bytes
    }

    /// Whether nobody has written to it.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.deletions.is_empty() && self.pending.is_empty()
    }

    /// Writes the state vector: what it has.
    pub fn write_vector(&self, out: &mut Vec<u8>) {
        write_varuint(out, self.clients.len() as u64);
        for (&id, client) in self.clients.iter().rev() {
            write_varuint(out, id);
            write_varuint(out, u64::from(client.end));
        }
    }

    /// Writes what one lacks who has `vector`, that was checked, as an update. What waits is not
    /// part of it.
    pub fn write_difference(&self, vector: &[u8], out: &mut Vec<u8>) {
        let mut has: BTreeMap<u64, u32> = BTreeMap::new();
        for Id { client, clock } in state_vector(vector) {
            has.insert(client, clock);
        }
        let from = |id: &u64| has.get(id).copied().unwrap_or(0);
        let lacks = || self.clients.iter().rev().filter(|(id, client)| from(id) < client.end);
        write_varuint(out, lacks().count() as u64);
        for (&id, client) in lacks() {
            client.write_from(id, from(&id), out);
        }
        write_varuint(out, self.deletions.len() as u64);
        for (&id, deletions) in self.deletions.iter().rev() {
            write_varuint(out, id);
            write_varuint(out, deletions.ranges().len() as u64);
            for range in deletions.ranges() {
                write_varuint(out, u64::from(range.start));
                write_varuint(out, u64::from(range.end - range.start));
            }
        }
    }

    /// The whole document as an update. What waits is not part of it.
    pub fn whole(&self) -> Vec<u8> {
        let mut out =
            Vec::with_capacity(self.bytes + 16 * self.clients.len() + 8 * self.ranges + 16);
        self.write_difference(&[0], &mut out);
        out
    }

    /// Whether so much was deleted that [`Document::collect`] is worth its time.
    pub fn is_collection_due(&self) -> bool {
        self.uncollected > COLLECT_BYTES_MIN.max(self.bytes / 4)
    }

    /// Empties what is deleted, as clients do (Yjs, `ContentDeleted`); takes time in proportion to
    /// the document's size.
    pub fn collect(&mut self) {
        self.uncollected = 0;
        for (id, deletions) in &self.deletions {
            let Some(client) = self.clients.get_mut(id) else { continue };
            let (structs, bytes) = (client.starts.len(), client.bytes.len());
            client.collect(*id, deletions);
            self.structs = self.structs - structs + client.starts.len();
            self.bytes = self.bytes - bytes + client.bytes.len();
        }
    }

    /// What must hold between any two calls.
    pub fn invariants(&self) {
        let clients = || self.clients.values();
        assert_eq!(self.bytes, clients().map(|client| client.bytes.len()).sum::<usize>());
        assert_eq!(self.structs, clients().map(|client| client.starts.len()).sum::<usize>());
        let ranges = self.deletions.values().map(|deletions| deletions.ranges().len());
        assert_eq!(self.ranges, ranges.sum::<usize>());
        let pending = self.pending.iter().map(|pending| pending.update.len());
        assert_eq!(self.pending_bytes, pending.sum::<usize>());
        assert!(self.pending.len() <= PENDING_MAX && self.pending_bytes <= PENDING_BYTES_MAX);
        self.deletions.values().for_each(Deletions::invariants);
        for (&id, client) in &self.clients {
            client.invariants(id);
        }
    }
}

impl Client {
    /// Adds a struct without its first `offset` clocks, which goes on where the last one ends.
    fn append_from(&mut self, id: Id, part: &Struct<'_>, offset: u32) {
        if offset == 0 {
            return self.append(id, part);
        }
        let mut cut = Vec::new();
        part.write(id, offset, &mut cut);
        if let Some(rest) = read_struct(&cut) {
            self.append(Id { clock: id.clock + offset, ..id }, &rest);
        }
    }

    /// Adds a struct, which goes on where the last one ends.
    fn append(&mut self, id: Id, part: &Struct<'_>) {
        let before = Id { client: id.client, clock: id.clock.wrapping_sub(1) };
        let joins = self.joint.is_some_and(|joint| joint.join(part, before, &mut self.bytes));
        if !joins {
            let at = self.bytes.len();
            self.bytes.extend_from_slice(part.raw);
            self.starts.push(Start { clock: id.clock, at: at as u32 });
            self.joint = Joint::new(part, at);
        }
        self.end = id.clock + part.len;
    }

    /// Writes count, client, clock and structs from a clock on, of which there are some.
    fn write_from(&self, id: u64, clock: u32, out: &mut Vec<u8>) {
        let first = self.starts.partition_point(|start| start.clock <= clock).saturating_sub(1);
        let Some(start) = self.starts.get(first) else { return };
        write_varuint(out, (self.starts.len() - first) as u64);
        write_varuint(out, id);
        write_varuint(out, u64::from(clock));
        let mut rest = start.at as usize;
        if clock > start.clock
            && let Some(part) = read_struct(&self.bytes[rest..])
        {
            let id = Id { client: id, clock: start.clock };
            part.write(id, clock - start.clock, out);
            rest += part.raw.len();
        }
        out.extend_from_slice(&self.bytes[rest..]);
    }

    /// Empties what is deleted.
    fn collect(&mut self, id: u64, deletions: &Deletions) {
        let old = std::mem::take(self);
        let (mut reader, mut clock) = (Reader::new(&old.bytes), 0);
        let mut scratch = Vec::new();
        while let Ok(part) = Struct::read(&mut reader) {
            let whole = Id { client: id, clock };
            let mut offset = 0;
            while offset < part.len {
                let rest = clock + offset..clock + part.len;
                let (end, is_deleted) = match part.can_be_emptied() {
                    true => deletions.first_part(rest),
                    false => (rest.end, false),
                };
                let len = end - clock - offset;
                scratch.clear();
                if is_deleted {
                    part.write_deleted(whole, offset, len, &mut scratch);
                } else {
                    part.write_part(whole, offset, len, &mut scratch);
                }
                if let Some(piece) = read_struct(&scratch) {
                    self.append(Id { client: id, clock: clock + offset }, &piece);
                }
                offset += len;
            }
            clock += part.len;
        }
        self.bytes.shrink_to_fit();
        self.starts.shrink_to_fit();
    }

    fn invariants(&self, id: u64) {
        let (mut reader, mut clock) = (Reader::new(&self.bytes), 0);
        for start in &self.starts {
            let at = self.bytes.len() - reader.rest().len();
            assert_eq!((start.clock, start.at as usize), (clock, at), "client {id}");
            let part = Struct::read(&mut reader).expect("what is kept is sound");
            assert!(part.len > 0 && part.body != Body::Skipped);
            clock += part.len;
        }
        assert!(reader.is_empty());
        assert_eq!(clock, self.end);
        assert!(!self.starts.is_empty());
    }
}

/// The first struct of bytes that are sound.
fn read_struct(bytes: &[u8]) -> Option<Struct<'_>> {
    Struct::read(&mut Reader::new(bytes)).ok()
}

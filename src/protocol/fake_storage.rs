//! The storage and the journal of one session as tests have them: a disk that is a map, and answers
//! that wait until they are taken.

use std::collections::{BTreeMap, VecDeque};

use super::{Loaded, Machine};
use crate::codec::journal::{HEADER_BYTES, Key, Kind};
use crate::session::Effects;
use crate::session::blobs::{BlobDone, BlobError, BlobRequest};
use crate::session::effects::RecordName;
use crate::session::journal::{Batch, Cursor, Entries, Position, Recorder};

/// Records by their names.
pub(super) type Disk = BTreeMap<String, Vec<u8>>;

/// What one session has.
pub(super) struct FakeStorage {
    /// The session, as the journal calls it.
    name: &'static str,
    pub(super) disk: Disk,
    pub(super) blobs: BTreeMap<String, Vec<u8>>,
    /// Blobs that are being written.
    writes: BTreeMap<String, Vec<u8>>,
    journal: Option<Batch>,
    key: Key,
    place: Cursor,
    /// The last entry that is in a base.
    trimmed: Position,
    /// What all fails with, if it does.
    pub(super) broken: Option<String>,
    answers: VecDeque<Answer>,
}

/// What the storage has done.
pub(super) enum Answer {
    Loaded(u32, Loaded),
    Stored(RecordName, u32, Result<(), String>),
    Blob(u32, Result<BlobDone, BlobError>),
}

impl Answer {
    /// Tells the session.
    pub(super) fn tell(self, machine: &mut dyn Machine, fx: &mut Effects<'_>) {
        match self {
            Self::Loaded(ticket, records) => machine.on_loaded(ticket, records, fx),
            Self::Stored(record, _, result) => machine.on_stored(&record, result, fx),
            Self::Blob(ticket, result) => machine.on_blob(ticket, result, fx),
        }
    }
}

impl FakeStorage {
    /// That of a process of this epoch, on this disk, with a journal if it is durable; `entries` are
    /// what an earlier process left there.
    pub(super) fn new(
        name: &'static str,
        durable: bool,
        disk: Disk,
        entries: &Entries,
        epoch: u32,
    ) -> Self {
        let key = Key { epoch, ..Key::default() };
        let recovered = !entries.is_empty();
        let place =
            if recovered { Cursor::recovered(entries.last(), 0) } else { Cursor::default() };
        Self {
            name,
            disk,
            blobs: BTreeMap::new(),
            writes: BTreeMap::new(),
            journal: durable.then(|| Batch::new(key, usize::from(recovered))),
            key,
            place,
            trimmed: 0,
            broken: None,
            answers: VecDeque::new(),
        }
    }

    /// That of the process.
    pub(super) fn epoch(&self) -> u32 {
        self.key.epoch
    }

    /// Means to record for one call of the machine.
    pub(super) fn recorder(&mut self, read_only: bool) -> Option<Recorder<'_>> {
        let (cursor, name) = (&mut self.place, self.name);
        self.journal.as_mut().map(|batch| Recorder { batch, cursor, name, read_only })
    }

    /// Reads records.
    pub(super) fn load(&mut self, ticket: u32, records: &[RecordName]) {
        let found = records.iter().map(|name| self.disk.get(&path(name)).cloned());
        let result = self.broken.clone().map_or_else(|| Ok(found.collect()), Err);
        self.answers.push_back(Answer::Loaded(ticket, result));
    }

    /// Writes a record.
    pub(super) fn store(&mut self, record: RecordName, content: Vec<u8>, base: Option<u32>) {
        let result = self.broken.clone().map_or(Ok(()), Err);
        if result.is_ok() {
            self.disk.insert(path(&record), content);
        }
        self.answers.push_back(Answer::Stored(record, base.unwrap_or_default(), result));
    }

    /// Does something with a blob.
    pub(super) fn do_blob(&mut self, id: &str, request: BlobRequest) {
        let failed = self.broken.clone().map(BlobError::Failed);
        let (ticket, result) = match request {
            BlobRequest::Write { ticket, bytes } => {
                self.writes.entry(id.to_owned()).or_default().extend(bytes);
                (ticket, Ok(BlobDone::Written))
            }
            BlobRequest::Commit { ticket } => match self.writes.remove(id) {
                Some(bytes) if failed.is_none() => {
                    self.blobs.insert(id.to_owned(), bytes);
                    (ticket, Ok(BlobDone::Committed))
                }
                _ => (ticket, Err(BlobError::NotFound)),
            },
            BlobRequest::Read { ticket, range } => match self.blobs.get(id) {
                Some(bytes) => {
                    let end = bytes.len().min(range.end as usize);
                    let part = bytes[end.min(range.start as usize)..end].to_vec();
                    (ticket, Ok(BlobDone::Read(part)))
                }
                None => (ticket, Err(BlobError::NotFound)),
            },
            BlobRequest::Abort => return drop(self.writes.remove(id)),
            BlobRequest::Remove => return drop(self.blobs.remove(id)),
        };
        self.answers.push_back(Answer::Blob(ticket, failed.map_or(result, Err)));
    }

    /// The next answer; what was stored goes from the journal.
    pub(super) fn next_answer(&mut self) -> Option<Answer> {
        let answer = self.answers.pop_front()?;
        if let Answer::Stored(_, store, Ok(())) = &answer
            && let (Some(batch), Some(covered)) = (&mut self.journal, self.place.covered_by(*store))
        {
            batch.trim(&mut self.place, self.name, covered);
            self.trimmed = covered;
        }
        Some(answer)
    }

    /// Whether the journal has something that no record has.
    pub(super) fn needs_journal(&self) -> bool {
        self.place.oldest_segment().is_some()
    }

    /// What was recorded and is not in a base that was stored.
    pub(super) fn remaining(&self) -> Entries {
        let mut remaining = Entries::default();
        for (position, body) in self.recorded().after(self.trimmed) {
            remaining.push(position, body);
        }
        remaining
    }

    /// All that was recorded so far, whether or not it is stored meanwhile.
    pub(super) fn recorded(&self) -> Entries {
        let mut entries = Entries::default();
        let mut bytes = self.journal.as_ref().map_or(&[][..], Batch::bytes);
        while let Some(record) = self.key.read(bytes) {
            if record.kind == Kind::Entry {
                entries.push(record.position, record.body);
            }
            bytes = &bytes[HEADER_BYTES + record.body.len()..];
        }
        assert!(bytes.is_empty());
        entries
    }
}

fn path(record: &RecordName) -> String {
    format!("{}/{}", record.namespace, record.names.join("/"))
}

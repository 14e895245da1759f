//! Blobs of sessions: what a session asked for, as uploads and reads of the storage.
//!
//! The storage answers in the order it was asked, so that a write is its upload and a queue of steps:
//! the next answer is that of the first. A write that fails in any step is over. What a session had
//! under way ends with it; what it wanted removed is removed nevertheless.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use super::Shard;
use crate::net::Transport;
use crate::protocol::Protocol;
use crate::session::blobs::{
    BLOB_READS_MAX, BLOB_STEPS_MAX, BLOB_WRITES_MAX, BlobDone, BlobError, BlobRequest, is_blob_id,
};
use crate::storage::{Area, Busy, FileError, Operation, Outcome, Request, Ticket, UploadId};

/// Blobs that a shard still has to remove; what is beyond stays.
const REMOVALS_MAX: usize = 1 << 16;
/// How many of them the storage is asked for at once.
const REMOVALS_ASKED_MAX: usize = 32;

/// What one session has under way.
#[derive(Debug, Default)]
pub(super) struct SessionBlobs {
    writes: Vec<Write>,
    /// Numbers of requests to the storage, and the tickets they are for.
    reads: Vec<(u32, u32)>,
    numbers: u32,
}

/// A blob being written.
#[derive(Debug)]
struct Write {
    /// That of its requests to the storage.
    number: u32,
    id: Box<str>,
    /// More can be appended.
    is_open: bool,
    upload: Option<UploadId>,
    /// Those that are not answered, in order.
    steps: VecDeque<Step>,
    /// How many of them the storage was asked for.
    asked: usize,
    /// The storage is asked for no more: the next answer says why.
    is_over: bool,
}

#[derive(Debug)]
struct Step {
    ticket: u32,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Empty once the storage was asked.
    Append(Vec<u8>),
    Commit,
}

/// What is to be done now that there is a step more.
enum Added {
    /// The write of this number is to be begun.
    Begin(u32),
    /// It may be asked for.
    Step(u32),
    Refused(u32, FileError),
}

impl SessionBlobs {
    fn next_number(&mut self) -> u32 {
        self.numbers = self.numbers.wrapping_add(1);
        self.numbers
    }

    fn position(&self, is_sought: impl Fn(&Write) -> bool) -> Option<usize> {
        self.writes.iter().position(is_sought)
    }

    /// The blob that is being written under this id.
    fn open(&self, id: &str) -> Option<usize> {
        self.position(|write| write.is_open && *write.id == *id)
    }

    fn write(&mut self, number: u32) -> Option<&mut Write> {
        self.writes.iter_mut().find(|write| write.number == number)
    }

    fn take_write(&mut self, number: u32) -> Option<Write> {
        self.position(|write| write.number == number).map(|at| self.writes.swap_remove(at))
    }

    fn take_read(&mut self, number: u32) -> Option<u32> {
        let at = self.reads.iter().position(|(other, _)| *other == number)?;
        Some(self.reads.swap_remove(at).1)
    }

    fn add(&mut self, id: &str, step: Step) -> Added {
        let Some(at) = self.open(id) else { return self.begin(id, step) };
        let write = &mut self.writes[at];
        write.is_open = matches!(step.what, What::Append(_));
        write.steps.push_back(step);
        if write.steps.len() > BLOB_STEPS_MAX {
            return Added::Refused(write.number, FileError::TooMany);
        }
        Added::Step(write.number)
    }

    fn begin(&mut self, id: &str, step: Step) -> Added {
        let error = if !is_blob_id(id) {
            Some(FileError::BadPath)
        } else if matches!(step.what, What::Commit) {
            Some(FileError::NotFound)
        } else if self.writes.len() >= BLOB_WRITES_MAX {
            Some(FileError::TooMany)
        } else {
            None
        };
        let number = self.next_number();
        self.writes.push(Write {
            number,
            id: id.into(),
            is_open: error.is_none(),
            upload: None,
            steps: VecDeque::from([step]),
            asked: 0,
            is_over: false,
        });
        error.map_or(Added::Begin(number), |error| Added::Refused(number, error))
    }
}

impl Write {
    /// What the storage is to be asked for next, if it can be.
    fn next_operation(&mut self) -> Option<Operation> {
        let upload = self.upload?;
        let step = self.steps.get_mut(self.asked)?;
        self.asked += 1;
        Some(match &mut step.what {
            What::Append(bytes) => Operation::PutChunk { upload, bytes: std::mem::take(bytes) },
            What::Commit => Operation::PutCommit { upload },
        })
    }

    /// Nothing more is written; what the storage is to forget.
    fn end(&mut self) -> Option<UploadId> {
        self.is_open = false;
        self.is_over = true;
        self.upload.take()
    }
}

/// Blobs to be removed, by their paths.
#[derive(Debug, Default)]
pub(super) struct Removals {
    pub(super) waiting: BTreeSet<String>,
    asked: usize,
}

impl Removals {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.asked == 0
    }
}

impl<T: Transport> Shard<T> {
    /// A session wants something done with a blob.
    pub(super) fn on_blob_request(&mut self, index: u32, id: &str, request: BlobRequest) {
        match request {
            BlobRequest::Write { ticket, bytes } => {
                self.add_step(index, id, Step { ticket, what: What::Append(bytes) });
            }
            BlobRequest::Commit { ticket } => {
                self.add_step(index, id, Step { ticket, what: What::Commit });
            }
            BlobRequest::Abort => self.abort_blob(index, id),
            BlobRequest::Read { ticket, range } => self.read_blob(index, id, ticket, range),
            BlobRequest::Remove => self.remove_blob(index, id),
        }
    }

    fn add_step(&mut self, index: u32, id: &str, step: Step) {
        let Some(session) = self.sessions.get_mut(index) else { return };
        let length = match &step.what {
            What::Append(bytes) => bytes.len() as u64,
            What::Commit => 0,
        };
        let path = path_of(session.protocol, id);
        match session.blobs.get_or_insert_default().add(id, step) {
            Added::Begin(number) => {
                let (area, length_hint) = (Area::Blobs, Some(length));
                self.ask_storage(index, number, Operation::PutBegin { area, path, length_hint });
            }
            Added::Step(number) => self.ask_steps(index, number),
            Added::Refused(number, error) => {
                self.end_write(index, number);
                self.answer_session(index, number, Outcome::Begun(Err(error)));
            }
        }
    }

    /// Asks the storage for all steps of a write that can be.
    fn ask_steps(&mut self, index: u32, number: u32) {
        loop {
            let Some(session) = self.sessions.get_mut(index) else { return };
            let write = session.blobs.as_mut().and_then(|blobs| blobs.write(number));
            let Some(write) = write else { return };
            let Some(operation) = write.next_operation() else { return };
            if matches!(operation, Operation::PutCommit { .. }) {
                // It is to stay, then.
                self.removals.waiting.remove(&path_of(session.protocol, &write.id));
            }
            if !self.ask_storage(index, number, operation) {
                // What comes after a step that is left out must not be carried out.
                return self.end_write(index, number);
            }
        }
    }

    fn end_write(&mut self, index: u32, number: u32) {
        let write = self.blobs(index).and_then(|blobs| blobs.write(number));
        if let Some(upload) = write.and_then(Write::end) {
            self.abort_upload(upload);
        }
    }

    fn abort_blob(&mut self, index: u32, id: &str) {
        let Some(blobs) = self.blobs(index) else { return };
        let Some(at) = blobs.open(id) else { return };
        if let Some(upload) = blobs.writes.swap_remove(at).upload {
            self.abort_upload(upload);
        }
    }

    fn read_blob(&mut self, index: u32, id: &str, ticket: u32, range: Range<u64>) {
        let Some(session) = self.sessions.get_mut(index) else { return };
        let path = path_of(session.protocol, id);
        let blobs = session.blobs.get_or_insert_default();
        let has_room = blobs.reads.len() < BLOB_READS_MAX;
        let number = blobs.next_number();
        blobs.reads.push((number, ticket));
        if !is_blob_id(id) {
            self.answer_session(index, number, Outcome::Range(Err(FileError::BadPath)));
        } else if !has_room {
            self.answer_session(index, number, Outcome::Range(Err(FileError::TooMany)));
        } else {
            let (area, offset) = (Area::Blobs, range.start);
            let len = range.end.saturating_sub(range.start);
            self.ask_storage(index, number, Operation::GetRange { area, path, offset, len });
        }
    }

    fn remove_blob(&mut self, index: u32, id: &str) {
        let Some(session) = self.sessions.get(index).filter(|_| is_blob_id(id)) else { return };
        if self.removals.waiting.len() == REMOVALS_MAX {
            log::error!(
                scope = "session", event = "blob-stays", protocol = session.protocol.name;
                "{REMOVALS_MAX} blobs are still to be removed: {id} stays"
            );
            return;
        }
        self.removals.waiting.insert(path_of(session.protocol, id));
        self.ask_removals();
    }

    /// Asks the storage to remove what is to be removed, a few at a time.
    pub(super) fn ask_removals(&mut self) {
        let ticket = Ticket { shard: self.config.index as u16, owner: 0, number: 0 };
        while self.removals.asked < REMOVALS_ASKED_MAX
            && let Some(path) = self.removals.waiting.pop_first()
        {
            let operation = Operation::Remove { area: Area::Blobs, path };
            match self.storage.submit(Request { ticket, operation }) {
                Ok(()) => self.removals.asked += 1,
                Err(Busy(Request { operation: Operation::Remove { path, .. }, .. })) => {
                    self.removals.waiting.insert(path);
                    return;
                }
                Err(Busy(_)) => unreachable!("what was refused is what was asked for"),
            }
        }
    }

    /// A blob was removed, or not.
    pub(super) fn on_removed(&mut self, result: Result<(), FileError>) {
        self.removals.asked = self.removals.asked.saturating_sub(1);
        if let Err(error) = result {
            self.counters.storage_errors.increment();
            log::error!(scope = "session", event = "blob-stays"; "cannot remove a blob: {error}");
        }
        self.ask_removals();
    }

    /// The storage has done something for a session's blobs.
    pub(super) fn on_blob_outcome(&mut self, index: u32, number: u32, outcome: Outcome) {
        match outcome {
            Outcome::Begun(Ok(upload)) => self.on_write_begun(index, number, upload),
            Outcome::Written { result: Ok(()), .. } => {
                self.on_step_done(index, number, BlobDone::Written);
            }
            Outcome::Committed(Ok(_)) => self.on_step_done(index, number, BlobDone::Committed),
            Outcome::Range(result) => {
                if let Some(ticket) = self.blobs(index).and_then(|blobs| blobs.take_read(number)) {
                    self.answer_blob(index, &[ticket], result.map(BlobDone::Read));
                }
            }
            Outcome::Begun(Err(error))
            | Outcome::Written { result: Err(error), .. }
            | Outcome::Committed(Err(error)) => self.fail_write(index, number, error),
            _ => debug_assert!(false, "sessions ask for nothing else"),
        }
    }

    fn on_write_begun(&mut self, index: u32, number: u32, upload: UploadId) {
        match self.blobs(index).and_then(|blobs| blobs.write(number)) {
            Some(write) if !write.is_over => {
                write.upload = Some(upload);
                self.ask_steps(index, number);
            }
            _ => self.abort_upload(upload),
        }
    }

    fn on_step_done(&mut self, index: u32, number: u32, done: BlobDone) {
        let Some(blobs) = self.blobs(index) else { return };
        let Some(write) = blobs.write(number) else { return };
        let Some(step) = write.steps.pop_front() else { return };
        write.asked -= 1;
        if matches!(step.what, What::Commit) {
            blobs.take_write(number);
        }
        self.answer_blob(index, &[step.ticket], Ok(done));
    }

    /// The storage has given up an upload, or has not begun it.
    fn fail_write(&mut self, index: u32, number: u32, error: FileError) {
        let Some(write) = self.blobs(index).and_then(|blobs| blobs.take_write(number)) else {
            return;
        };
        let tickets: Vec<u32> = write.steps.iter().map(|step| step.ticket).collect();
        self.answer_blob(index, &tickets, Err(error));
    }

    /// Tells a session what became of requests, unless one of these answers ends it.
    fn answer_blob(&mut self, index: u32, tickets: &[u32], result: Result<BlobDone, FileError>) {
        if let Err(error) = &result
            && error.status() >= 500
        {
            self.counters.storage_errors.increment();
            log::warn!(scope = "session", event = "blob-failed"; "{error}");
        }
        let mut result = result.map_err(told);
        let generation = self.sessions.get(index).map(|session| session.generation);
        for (left, &ticket) in (0..tickets.len()).rev().zip(tickets) {
            let result = if left > 0 {
                result.clone()
            } else {
                std::mem::replace(&mut result, Err(BlobError::Busy))
            };
            if self.sessions.get(index).map(|session| session.generation) == generation {
                self.call(index, |machine, fx| machine.on_blob(ticket, result, fx));
            }
        }
    }

    /// A session is gone: the storage forgets what it was writing. What is not begun yet is
    /// forgotten when it is.
    pub(super) fn give_up_blobs(&mut self, blobs: Option<Box<SessionBlobs>>) {
        for upload in blobs.iter().flat_map(|blobs| &blobs.writes).filter_map(|write| write.upload)
        {
            self.abort_upload(upload);
        }
    }

    fn blobs(&mut self, index: u32) -> Option<&mut SessionBlobs> {
        self.sessions.get_mut(index)?.blobs.as_deref_mut()
    }
}

/// Where a session's blob is kept: those of each protocol apart, in directories by the first two
/// characters of their ids.
fn path_of(protocol: &Protocol, id: &str) -> String {
    let first = id.get(..2).unwrap_or(id);
    format!("{}/{first}/{id}", protocol.name)
}

fn told(error: FileError) -> BlobError {
    match error {
        FileError::BadPath => BlobError::BadId,
        FileError::NotFound | FileError::Gone => BlobError::NotFound,
        FileError::TooMany => BlobError::Busy,
        FileError::Full { .. }
        | FileError::BlobsFull { .. }
        | FileError::TooLarge { .. }
        | FileError::SizeLimit { .. } => BlobError::Full(error.to_string()),
        FileError::DiskFull { .. }
        | FileError::Conflict { .. }
        | FileError::Io { .. }
        | FileError::Internal => BlobError::Failed(error.to_string()),
    }
}

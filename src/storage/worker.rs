//! The threads: one for files and records, one for posts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, bounded, select};

use super::backend::Backend;
use super::client::{Client, POSTS_QUEUED_MAX, REQUESTS_QUEUED_MAX, Release, Work};
use super::data_dir::DataDir;
use super::disk::Disk;
use super::memory::Memory;
use super::post::post;
use super::request::{Answer, FileError, Operation, Outcome, Request};
use super::store::{HANDLES_MAX, Limits, Store, UPLOADS_MAX};

/// Reads the wall clock, in milliseconds since the Unix epoch.
pub type WallMs = Box<dyn Fn() -> u64 + Send>;

/// Where files and records are kept.
pub enum Place {
    /// On disk.
    Disk(DataDir),
    /// In memory, until the process ends. The clock dates the files.
    Memory(WallMs),
}

/// What the storage must know.
pub struct Settings {
    /// Where to keep things.
    pub place: Place,
    /// Largest file, in bytes.
    pub file_bytes_max: u64,
    /// Bytes of all files together.
    pub files_bytes_max: u64,
    /// Bytes of all blobs together.
    pub blobs_bytes_max: u64,
}

/// Starts the storage's threads. They end when the last clone of the client is dropped.
///
/// `reply` gets every answer and the index of the shard it is for; it is called on the storage's
/// threads, and while it runs nothing else is stored. Fails with a text for people if the data
/// directory cannot be prepared or no thread can be started.
pub fn spawn(
    settings: Settings,
    reply: impl Fn(usize, Answer) + Send + Sync + 'static,
) -> Result<Client, String> {
    let reply: Reply = Arc::new(reply);
    let (work, works) = bounded(REQUESTS_QUEUED_MAX);
    let (releases, released) = bounded(UPLOADS_MAX + HANDLES_MAX);
    let (posts, posted) = bounded(POSTS_QUEUED_MAX);
    let Settings { place, file_bytes_max, files_bytes_max, blobs_bytes_max } = settings;
    let limits = Limits { file_bytes_max, files_bytes_max, blobs_bytes_max };
    let replies = Arc::clone(&reply);
    match place {
        Place::Disk(data_dir) => {
            let disk = Disk::open(data_dir)?;
            start("storage", move || {
                serve(Store::new(disk, limits), &works, &released, &replies);
            })?;
        }
        Place::Memory(wall_ms) => start("storage", move || {
            let memory = Memory::new(wall_ms);
            serve(Store::new(memory, limits), &works, &released, &replies);
        })?,
    }
    start("webhooks", move || serve_posts(&posted, &reply))?;
    Ok(Client { work, posts, releases })
}

type Reply = Arc<dyn Fn(usize, Answer) + Send + Sync>;

fn start(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(body);
    started.map(drop).map_err(|error| format!("cannot start the thread {name}: {error}"))
}

/// Carries out requests until the last client is gone. Releases come first: they make room.
fn serve<B: Backend>(
    mut store: Store<B>,
    works: &Receiver<Work>,
    released: &Receiver<Release>,
    reply: &Reply,
) {
    loop {
        select! {
            recv(works) -> work => {
                released.try_iter().for_each(|release| give_up(&mut store, release));
                match work {
                    Ok(work) => carry_out(&mut store, work, reply),
                    Err(_) => return,
                }
            }
            recv(released) -> release => match release {
                Ok(release) => give_up(&mut store, release),
                Err(_) => return works.iter().for_each(|work| carry_out(&mut store, work, reply)),
            }
        }
    }
}

fn give_up<B: Backend>(store: &mut Store<B>, release: Release) {
    if catch_unwind(AssertUnwindSafe(|| store.release(release))).is_err() {
        log::error!(scope = "storage", event = "panic"; "a release failed");
    }
}

fn carry_out<B: Backend>(store: &mut Store<B>, work: Work, reply: &Reply) {
    match work {
        Work::Barrier(done) => drop(done.try_send(())),
        Work::Request(Request { ticket, operation }) => {
            let fault = fault_of(&operation);
            let performed = catch_unwind(AssertUnwindSafe(|| store.perform(operation)));
            if let Some(outcome) = performed.unwrap_or_else(|_| {
                log::error!(scope = "storage", event = "panic"; "an operation failed");
                fault
            }) {
                answer(reply, Answer { ticket, outcome });
            }
        }
    }
}

fn serve_posts(posted: &Receiver<Request>, reply: &Reply) {
    for Request { ticket, operation } in posted {
        let Operation::Post { url, body } = operation else { continue };
        let result = catch_unwind(|| post(&url, &body));
        let result = result.unwrap_or_else(|_| Err(FileError::Internal.to_string()));
        answer(reply, Answer { ticket, outcome: Outcome::Posted(result) });
    }
}

fn answer(reply: &Reply, answer: Answer) {
    let shard = usize::from(answer.ticket.shard);
    if catch_unwind(AssertUnwindSafe(|| reply(shard, answer))).is_err() {
        log::error!(scope = "storage", event = "panic", shard; "an answer was lost");
    }
}

/// What is answered if carrying out an operation panics.
pub(super) fn fault_of(operation: &Operation) -> Option<Outcome> {
    let (fault, text) = (FileError::Internal, FileError::Internal.to_string());
    Some(match operation {
        Operation::PutBegin { .. } => Outcome::Begun(Err(fault)),
        Operation::PutChunk { .. } => Outcome::Written { result: Err(fault), bytes: Vec::new() },
        Operation::PutCommit { .. } => Outcome::Committed(Err(fault)),
        Operation::GetOpen { .. } => Outcome::Opened(Err(fault)),
        Operation::GetRead { .. } => Outcome::Read { result: Err(fault), buffer: Vec::new() },
        Operation::Stat { .. } => Outcome::Stat(Err(fault)),
        Operation::GetRange { .. } => Outcome::Range(Err(fault)),
        Operation::Remove { .. } => Outcome::Removed(Err(fault)),
        Operation::Load { .. } => Outcome::Loaded(Err(text)),
        Operation::Store { record, .. } => {
            Outcome::Stored { record: record.clone(), result: Err(text) }
        }
        Operation::Post { .. } => Outcome::Posted(Err(text)),
        Operation::PutAbort { .. } | Operation::GetClose { .. } => return None,
    })
}

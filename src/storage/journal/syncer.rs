//! The thread that waits for the disk: group commits at an interval, deletions, and reading back what
//! sessions have recorded, which no deletion overtakes therefore.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::read_back::{ReadBack, read_back};
use super::volume::{SegmentFile, Volume};
use crate::codec::journal::{Key, Place};
use crate::session::journal::Sought;

/// Work that may wait; each shard has at most one sync under way.
const WORK_QUEUED_MAX: usize = 4096;

/// What the thread does.
pub(super) enum Work {
    /// Syncs a segment; the shard is told.
    Sync { shard: usize, file: Arc<dyn SegmentFile>, volume: Arc<dyn Volume>, place: Place },
    /// Reads back entries of a session from segments that are written up to `end`; the shard is told.
    ReadBack {
        shard: usize,
        volume: Arc<dyn Volume>,
        key: Key,
        name: Box<str>,
        sought: Sought,
        end: Place,
    },
    /// Deletes a segment that nobody needs.
    Remove { volume: Arc<dyn Volume>, number: u32 },
    /// Deletes what earlier processes wrote.
    RemoveEarlier(Box<dyn FnOnce() + Send>),
}

/// A sync is done.
#[derive(Debug)]
pub struct Synced {
    /// Everything before it is on the disk,
    pub place: Place,
    /// unless this is an error.
    pub result: Result<(), String>,
}

/// What a shard is told of its work.
#[derive(Debug)]
pub enum Done {
    /// A segment was synced, or not.
    Synced(Synced),
    /// A session's entries were read back, or not.
    ReadBack(ReadBack),
}

/// Hands work to the thread.
#[derive(Clone, Debug)]
pub struct Syncer {
    work: Sender<Work>,
}

impl Syncer {
    /// Starts the thread, which ends when the last clone is dropped and all is done. `reply` gets
    /// the index of the shard that is told.
    ///
    /// # Errors
    /// If no thread can be started; a text for people.
    pub fn spawn(reply: impl Fn(usize, Done) + Send + 'static) -> Result<Self, String> {
        let (work, works) = bounded(WORK_QUEUED_MAX);
        std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || serve(&works, &reply))
            .map_err(|error| format!("the journal's thread cannot be started: {error}"))?;
        Ok(Self { work })
    }

    /// A syncer whose work the caller does: for tests.
    #[cfg(test)]
    pub(super) fn by_hand() -> (Self, Receiver<Work>) {
        let (work, works) = bounded(WORK_QUEUED_MAX);
        (Self { work }, works)
    }

    /// A syncer whose work is done when somebody asks for it: for tests.
    #[cfg(test)]
    pub(crate) fn postponed() -> (Self, Postponed) {
        let (syncer, works) = Self::by_hand();
        (syncer, Postponed(works))
    }

    /// Hands over work; whether there was room for it.
    pub(super) fn submit(&self, work: Work) -> bool {
        self.work.try_send(work).is_ok()
    }
}

/// Work that nobody has done yet.
#[cfg(test)]
pub(crate) struct Postponed(Receiver<Work>);

#[cfg(test)]
impl Postponed {
    /// How much there is.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Does the next; the shard that is told of it, and what.
    pub(crate) fn step(&self) -> Option<(usize, Done)> {
        self.0.try_recv().ok()?.run()
    }
}

fn serve(works: &Receiver<Work>, reply: &dyn Fn(usize, Done)) {
    for work in works {
        if let Some((shard, done)) = work.run() {
            reply(shard, done);
        }
    }
}

impl Work {
    /// Does it; what the shard is told of it.
    pub(super) fn run(self) -> Option<(usize, Done)> {
        match self {
            Self::Sync { shard, file, volume, place } => {
                let synced = file.sync().and_then(|()| volume.sync_names());
                let result = synced.map_err(|error| error.to_string());
                Some((shard, Done::Synced(Synced { place, result })))
            }
            Self::ReadBack { shard, volume, key, name, sought, end } => {
                let result = read_back(key, &sought, end, |number| volume.read(number));
                Some((shard, Done::ReadBack(ReadBack { name, result })))
            }
            Self::Remove { volume, number } => {
                if let Err(error) = volume.remove(number) {
                    log::warn!(
                        scope = "process", event = "journal";
                        "segment {number} of the journal is not needed and cannot be deleted: {error}"
                    );
                }
                None
            }
            Self::RemoveEarlier(remove) => {
                remove();
                None
            }
        }
    }
}

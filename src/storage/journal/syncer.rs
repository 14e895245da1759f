//! The thread that waits for the disk: group commits at an interval, and deletions.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::volume::{SegmentFile, Volume};
use crate::codec::journal::Place;

/// Work that may wait; each shard has at most one sync under way.
const WORK_QUEUED_MAX: usize = 4096;

/// What the thread does.
pub(super) enum Work {
    /// Syncs a segment; the shard is told.
    Sync { shard: usize, file: Arc<dyn SegmentFile>, volume: Arc<dyn Volume>, place: Place },
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

/// Hands work to the thread.
#[derive(Clone, Debug)]
pub struct Syncer {
    work: Sender<Work>,
}

impl Syncer {
    /// Starts the thread, which ends when the last clone is dropped and all is done. `reply` gets
    /// the index of the shard whose segment was synced.
    ///
    /// # Errors
    /// If no thread can be started; a text for people.
    pub fn spawn(reply: impl Fn(usize, Synced) + Send + 'static) -> Result<Self, String> {
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

    /// Hands over work; whether there was room for it.
    pub(super) fn submit(&self, work: Work) -> bool {
        self.work.try_send(work).is_ok()
    }
}

fn serve(works: &Receiver<Work>, reply: &dyn Fn(usize, Synced)) {
    for work in works {
        if let Some((shard, synced)) = work.run() {
            reply(shard, synced);
        }
    }
}

impl Work {
    /// Does it; what the shard is told of it.
    pub(super) fn run(self) -> Option<(usize, Synced)> {
        match self {
            Self::Sync { shard, file, volume, place } => {
                let synced = file.sync().and_then(|()| volume.sync_names());
                Some((shard, Synced { place, result: synced.map_err(|error| error.to_string()) }))
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

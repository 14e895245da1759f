//! A storage in memory whose work the caller does, request by request: for tests that must know when
//! what is done.

use crossbeam_channel::{Receiver, bounded};

use super::client::{Client, POSTS_QUEUED_MAX, REQUESTS_QUEUED_MAX, Release, Work};
use super::memory::Memory;
use super::request::{Answer, Operation, Request};
use super::store::{HANDLES_MAX, Limits, Store, UPLOADS_MAX};
use super::worker::fault_of;

/// Bytes of all files, and of all blobs.
const BYTES_MAX: u64 = 16 << 20;

/// The storage's end of its queues, and what is stored.
pub(crate) struct ByHand {
    store: Store<Memory>,
    works: Receiver<Work>,
    releases: Receiver<Release>,
    _posts: Receiver<Request>,
}

impl ByHand {
    /// Nothing stored yet, and the shards' end.
    pub(crate) fn new(wall_ms: u64) -> (Client, Self) {
        let memory = Memory::new(Box::new(move || wall_ms));
        let limits = Limits {
            file_bytes_max: BYTES_MAX,
            files_bytes_max: BYTES_MAX,
            blobs_bytes_max: BYTES_MAX,
        };
        Self::serving(Store::new(memory, limits))
    }

    /// The storage of the next process: what was stored is there, what was asked for is not done.
    pub(crate) fn restarted(self) -> (Client, Self) {
        Self::serving(self.store)
    }

    fn serving(store: Store<Memory>) -> (Client, Self) {
        let (work, works) = bounded(REQUESTS_QUEUED_MAX);
        let (released, releases) = bounded(UPLOADS_MAX + HANDLES_MAX);
        let (posts, posted) = bounded(POSTS_QUEUED_MAX);
        let client = Client { work, posts, releases: released };
        (client, Self { store, works, releases, _posts: posted })
    }

    /// Requests that wait.
    pub(crate) fn len(&self) -> usize {
        self.works.len()
    }

    /// Does the next thing that was asked for, or fails to store it; its answer, if it has one.
    pub(crate) fn step(&mut self, fails: bool) -> Option<Answer> {
        for release in self.releases.try_iter() {
            self.store.release(release);
        }
        let Work::Request(Request { ticket, operation }) = self.works.try_recv().ok()? else {
            return None;
        };
        let fault = fault_of(&operation);
        let fails = fails && matches!(operation, Operation::Store { .. });
        let outcome = if fails { fault } else { self.store.perform(operation) };
        outcome.map(|outcome| Answer { ticket, outcome })
    }
}

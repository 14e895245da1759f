//! How many documents are in memory, on all shards. Counted when one is opened and when it goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A count of documents.
#[derive(Debug, Default)]
pub struct Census {
    rooms: AtomicUsize,
}

impl Census {
    /// Documents in memory now.
    pub fn rooms(&self) -> usize {
        self.rooms.load(Relaxed)
    }

    /// Counts one more for as long as the entry lives.
    pub(super) fn enter(self: &Arc<Self>) -> Counted {
        self.rooms.fetch_add(1, Relaxed);
        Counted(Arc::clone(self))
    }
}

/// One that is counted.
#[derive(Debug)]
pub(super) struct Counted(Arc<Census>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.rooms.fetch_sub(1, Relaxed);
    }
}

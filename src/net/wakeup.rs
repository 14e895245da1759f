//! The eventfd by which other threads wake a shard that sleeps in its ring.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use rustix::event::{EventfdFlags, eventfd};

/// Wakes one shard from any thread. Costs a system call only if the shard sleeps.
#[derive(Clone, Debug)]
pub struct Wakeup {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    eventfd: OwnedFd,
    sleeping: AtomicBool,
}

impl Wakeup {
    /// A wakeup whose shard is awake.
    ///
    /// # Errors
    /// If no eventfd can be made.
    pub fn new() -> io::Result<Self> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { inner: Arc::new(Inner { eventfd, sleeping: AtomicBool::new(false) }) })
    }

    /// Called by the shard before it looks at its inbox for the last time and sleeps.
    pub fn will_sleep(&self) {
        self.inner.sleeping.store(true, SeqCst);
    }

    /// Called by the shard when it is awake again.
    pub fn is_awake(&self) {
        self.inner.sleeping.store(false, SeqCst);
    }

    /// Wakes the shard if it sleeps. Call after the item is in its inbox.
    pub fn kick(&self) {
        if self.inner.sleeping.swap(false, SeqCst) {
            // Fails only if the counter is full, in which case the shard is awake anyway.
            let _ = rustix::io::write(&self.inner.eventfd, &1u64.to_ne_bytes());
        }
    }

    /// Takes the kicks so far, so that the next one fires the ring again.
    pub fn clear(&self) {
        let mut count = [0; 8];
        // Fails if there was none, which is as well.
        let _ = rustix::io::read(&self.inner.eventfd, &mut count);
    }

    /// For the ring to watch.
    pub fn raw_fd(&self) -> RawFd {
        self.inner.eventfd.as_raw_fd()
    }
}

//! Epoll with time-outs finer than a millisecond.

use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{Errno, Result};

const EVENTS_MAX: usize = 1024;

/// One epoll instance, level-triggered.
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
}

/// A descriptor that is ready.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    /// The key it was added under.
    pub(crate) key: u64,
    /// Bytes, an end or an error can be read.
    pub(crate) readable: bool,
    /// Bytes can be written.
    pub(crate) writable: bool,
}

impl Poller {
    /// Opens the epoll instance.
    pub(crate) fn open() -> Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    /// Watches `fd` for input, and for room to write if asked.
    pub(crate) fn add(&self, fd: impl AsFd, key: u64, write: bool) -> Result<()> {
        epoll::add(&self.epoll, fd, EventData::new_u64(key), interest(write))
    }

    /// Changes whether room to write is watched for.
    pub(crate) fn watch_write(&self, fd: impl AsFd, key: u64, write: bool) -> Result<()> {
        epoll::modify(&self.epoll, fd, EventData::new_u64(key), interest(write))
    }

    /// Stops watching.
    pub(crate) fn remove(&self, fd: impl AsFd) -> Result<()> {
        epoll::delete(&self.epoll, fd)
    }

    /// An empty list for [`Poller::wait`].
    pub(crate) fn list() -> Vec<Event> {
        Vec::with_capacity(EVENTS_MAX)
    }

    /// Waits until something is ready or `timeout_ns` have passed (`None`: for ever).
    /// Epoll's own time-out counts milliseconds, so the waiting is done by ppoll on the epoll
    /// descriptor; when something is ready already, that costs nothing extra.
    pub(crate) fn wait(&self, ready: &mut Vec<Event>, timeout_ns: Option<u64>) -> Result<()> {
        self.collect(ready)?;
        if !ready.is_empty() || timeout_ns == Some(0) {
            return Ok(());
        }
        let timeout = timeout_ns.map(|ns| Timespec {
            tv_sec: (ns / 1_000_000_000).cast_signed(),
            tv_nsec: (ns % 1_000_000_000).cast_signed(),
        });
        match poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => Ok(()),
            Ok(_) => self.collect(ready),
            Err(error) => Err(error),
        }
    }

    fn collect(&self, ready: &mut Vec<Event>) -> Result<()> {
        const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        ready.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(ready), Some(&NOW)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl From<Event> for Ready {
    fn from(event: Event) -> Self {
        let (data, flags) = (event.data, event.flags);
        let broken = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        Self {
            key: data.u64(),
            readable: broken || flags.contains(EventFlags::IN),
            writable: flags.contains(EventFlags::OUT),
        }
    }
}

fn interest(write: bool) -> EventFlags {
    if write { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN }
}

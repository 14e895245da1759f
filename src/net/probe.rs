//! Whether this kernel lets this process do what a shard's ring does.
#![allow(unsafe_code)] // a buffer ring is shared with the kernel by address

use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::{IoUring, Probe, cqueue, opcode, types};

/// Entries of the ring that is tried.
const ENTRIES: u32 = 8;
const BUFFER_GROUP: u16 = 0;
const BUFFER_BYTES: usize = 64;

/// Operations that cannot be done without, and their names.
const OPERATIONS: &[(u8, &str)] = &[
    (opcode::Accept::CODE, "ACCEPT"),
    (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
    (opcode::PollAdd::CODE, "POLL_ADD"),
    (opcode::Read::CODE, "READ"),
    (opcode::Recv::CODE, "RECV"),
    (opcode::Send::CODE, "SEND"),
    (opcode::SendMsg::CODE, "SENDMSG"),
    (opcode::Timeout::CODE, "TIMEOUT"),
];

/// What the kernel refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// A ring could not be created.
    #[error("io_uring_setup: {0}")]
    Create(#[source] io::Error),
    /// An operation is unknown or forbidden.
    #[error("io_uring has no operation {0}")]
    Operation(&'static str),
    /// A ring of provided buffers could not be registered.
    #[error("io_uring_register of a buffer ring: {0}")]
    Buffers(#[source] io::Error),
    /// Receiving again and again with one request does not work.
    #[error("io_uring multishot receive: {0}")]
    Multishot(#[source] io::Error),
}

/// Creates a small ring, looks for the operations a shard needs, and receives a byte by multishot
/// into a provided buffer. Leaves nothing behind.
pub fn probe() -> Result<(), ProbeError> {
    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(ENTRIES)
        .map_err(ProbeError::Create)?;
    let mut known = Probe::new();
    ring.submitter().register_probe(&mut known).map_err(ProbeError::Create)?;
    if let Some((_, name)) = OPERATIONS.iter().find(|(code, _)| !known.is_supported(*code)) {
        return Err(ProbeError::Operation(name));
    }
    with_buffers(&mut ring, receive)
}

/// A ring of one buffer, and the buffer behind it: a page, as the kernel wants it aligned.
#[repr(C, align(4096))]
struct Page {
    entry: types::BufRingEntry,
    buffer: [u8; BUFFER_BYTES],
}

fn with_buffers(
    ring: &mut IoUring,
    body: impl FnOnce(&mut IoUring) -> io::Result<()>,
) -> Result<(), ProbeError> {
    // SAFETY: a page of zeros is a valid Page: integers only.
    let mut page = Box::new(unsafe { std::mem::zeroed::<Page>() });
    let buffer = page.buffer.as_mut_ptr() as u64;
    page.entry.set_addr(buffer);
    page.entry.set_len(BUFFER_BYTES as u32);
    let page = Box::into_raw(page);
    // SAFETY: the page holds a ring of one entry at its start, and lives until the ring of buffers
    // was unregistered below.
    let registered =
        unsafe { ring.submitter().register_buf_ring_with_flags(page as u64, 1, BUFFER_GROUP, 0) };
    let tried = match registered {
        Err(error) => Err(ProbeError::Buffers(error)),
        Ok(()) => {
            // SAFETY: the tail lies in the page's first entry, is aligned for a u16, and from here
            // on is touched by the kernel and this store only.
            unsafe {
                let tail = types::BufRingEntry::tail(page.cast()).cast_mut();
                AtomicU16::from_ptr(tail).store(1, Ordering::Release);
            }
            let received = body(ring).map_err(ProbeError::Multishot);
            let unregistered = ring.submitter().unregister_buf_ring(BUFFER_GROUP);
            received.and_then(|()| unregistered.map_err(ProbeError::Buffers))
        }
    };
    // SAFETY: the pointer came from the box above; the receive is over and the kernel has
    // forgotten the page.
    drop(unsafe { Box::from_raw(page) });
    tried
}

/// Receives a byte that is there already, and ends the receive.
fn receive(ring: &mut IoUring) -> io::Result<()> {
    let (ours, mut theirs) = UnixStream::pair()?;
    theirs.write_all(b"x")?;
    let entry = opcode::RecvMulti::new(types::Fd(ours.as_raw_fd()), BUFFER_GROUP).build();
    // SAFETY: the entry holds no pointer, and its descriptor is open until the receive has ended.
    let pushed = unsafe { ring.submission().push(&entry) };
    pushed.map_err(|error| io::Error::other(error.to_string()))?;
    let (result, flags) = next(ring)?;
    if result != 1 || cqueue::buffer_select(flags) != Some(0) || !cqueue::more(flags) {
        let error = if result < 0 { -result } else { 0 };
        return Err(io::Error::from_raw_os_error(error));
    }
    drop(theirs);
    // The end of the stream ends the receive: then nothing is in the kernel's hands.
    next(ring).map(drop)
}

fn next(ring: &mut IoUring) -> io::Result<(i32, u32)> {
    ring.submit_and_wait(1)?;
    let entry = ring.completion().next();
    entry.map(|entry| (entry.result(), entry.flags())).ok_or_else(|| io::ErrorKind::TimedOut.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_passes() {
        probe().unwrap();
    }

    #[test]
    fn a_receive_without_buffers_fails_and_leaves_the_ring_usable() {
        let mut ring = IoUring::new(ENTRIES).unwrap();
        assert_eq!(receive(&mut ring).unwrap_err().raw_os_error(), Some(105)); // ENOBUFS
        with_buffers(&mut ring, receive).unwrap();
    }
}

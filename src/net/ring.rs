//! The private io_uring of a shard: multishot accept, receives into the shared pool, and sends in
//! batches that the kernel executes inline.
//!
//! The ring is `SINGLE_ISSUER | DEFER_TASKRUN`: completions are posted only while the shard is in
//! `io_uring_enter`, never by interrupting it. The shard also sleeps there ([`Ring::wait`]), woken by
//! a completion, by time, or by other threads through an eventfd that the ring watches.
//!
//! A socket that stays is registered with the ring: the kernel then need not look up and count its
//! file for each send, which is 4 % of the cost of a lone one.
#![allow(unsafe_code)] // submission entries carry raw descriptors and pointers

#[cfg(test)]
mod tests;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use io_uring::squeue::{Entry, Flags};
use io_uring::{IoUring, cqueue, opcode, types};

use super::pool::{Lease, Pool};
use super::wakeup::Wakeup;
use super::{
    End, Event, GENERATION_MASK, Receive, SENDS_PER_BATCH_MAX, Send, Sent, Token, Transport,
};

/// Entries of the submission queue.
const SUBMISSIONS: u32 = 1024;
/// Entries of the completion queue.
const COMPLETIONS: u32 = 8192;
/// The only buffer group.
const BUFFER_GROUP: u16 = 0;
const GETEVENTS: u32 = 1;
/// Completions that end gathering early.
const GATHERED_MAX: usize = 64;
/// Silence after which the memory of the receive pool is given back.
const REST_AFTER: Duration = Duration::from_millis(100);

/// Operations, as the top four bits of a completion's user data name them.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
enum Op {
    Accept = 1,
    Receive = 2,
    Writable = 3,
    Send = 4,
    Cancel = 5,
    Wakeup = 6,
}

fn user_data(op: Op, token: Token) -> u64 {
    (op as u64) << 60 | u64::from(token.generation & GENERATION_MASK) << 32 | u64::from(token.index)
}

fn token_of(user_data: u64) -> Token {
    Token { index: user_data as u32, generation: (user_data >> 32) as u32 & GENERATION_MASK }
}

fn listener_token(listener: usize) -> Token {
    Token { index: listener as u32, generation: 0 }
}

/// A connection's socket, and its place in the ring's table of registered files once it has one.
///
/// It has none before it has entered a session, and on its way to another shard.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    registered: Option<u32>,
}

impl Socket {
    /// What a submission names it by.
    fn target(&self) -> (types::Fd, Flags) {
        match self.registered {
            Some(place) => (types::Fd(place as i32), Flags::FIXED_FILE),
            None => (types::Fd(self.fd.as_raw_fd()), Flags::empty()),
        }
    }
}

/// Sizes of a ring's receive pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolSize {
    /// Number of buffers, a power of two up to 32,768.
    pub buffers: u16,
    /// Bytes in each.
    pub buffer_bytes: usize,
}

/// A completion put aside while the batch it arrived with was being sent.
#[derive(Clone, Copy)]
struct Completion {
    user_data: u64,
    result: i32,
    flags: u32,
}

impl From<cqueue::Entry> for Completion {
    fn from(entry: cqueue::Entry) -> Self {
        Self { user_data: entry.user_data(), result: entry.result(), flags: entry.flags() }
    }
}

/// One shard's ring.
pub struct Ring {
    uring: IoUring,
    pool: Pool,
    wakeup: Wakeup,
    /// See [`Ring::gather`]; in microseconds.
    gather_us: Option<NonZeroU32>,
    listeners: Vec<OwnedFd>,
    accepting: bool,
    /// It has slept for [`REST_AFTER`] or longer, and nothing came.
    rested: bool,
    aside: Vec<Completion>,
    /// Sockets to be closed once the kernel has seen the entries that name them.
    closing: Vec<Socket>,
    places: Places,
    /// Message headers of the batch being sent.
    headers: Vec<libc::msghdr>,
    results: Vec<i32>,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl Ring {
    /// An io_uring as a ring needs it, for the calling thread alone.
    ///
    /// # Errors
    /// If the kernel refuses it; `ENOMEM` if it is short of memory now, which passes.
    pub fn io_uring() -> io::Result<IoUring> {
        IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_cqsize(COMPLETIONS)
            .setup_submit_all()
            .build(SUBMISSIONS)
    }

    /// A ring on the calling thread, which must be the only one to use it, of an io_uring made
    /// here. `sockets_max` sockets can be registered; what comes beyond is served at a slightly
    /// higher cost.
    ///
    /// # Errors
    /// If the kernel refuses its buffers or the eventfd.
    pub fn new(
        uring: IoUring,
        size: PoolSize,
        sockets_max: u32,
        listeners: Vec<OwnedFd>,
        wakeup: &Wakeup,
    ) -> io::Result<Self> {
        let pool = Pool::new(size.buffers, size.buffer_bytes)?;
        // SAFETY: the pool's ring outlives the io_uring: both are fields of this struct, and
        // dropping the io_uring first (field order) makes the kernel forget the registration.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(
                pool.ring_address(),
                pool.count(),
                BUFFER_GROUP,
                0,
            )?;
        }
        let places = register_table(&uring, sockets_max);
        let mut ring = Self {
            uring,
            pool,
            wakeup: wakeup.clone(),
            gather_us: None,
            listeners,
            accepting: true,
            rested: false,
            aside: Vec::new(),
            closing: Vec::new(),
            places,
            headers: Vec::with_capacity(SENDS_PER_BATCH_MAX),
            results: Vec::with_capacity(SENDS_PER_BATCH_MAX),
        };
        ring.pool.replenish();
        ring.watch_wakeup();
        for listener in 0..ring.listeners.len() {
            ring.accept(listener as u16);
        }
        Ok(ring)
    }

    /// Sleeps for `window` at least from now on, unless much happens before, so that several things
    /// are done in one turn and leave in one send. What happens after that wakes it at once: nothing
    /// is delayed where little is to do, and nothing by more than `window`. Zero, at the start, is for
    /// not at all. Whether the kernel can: Linux 6.12.
    pub fn gather(&mut self, window: Duration) -> bool {
        let us = u32::try_from(window.as_micros()).unwrap_or(u32::MAX);
        let can = self.uring.params().is_feature_min_timeout();
        self.gather_us = NonZeroU32::new(us).filter(|_| can);
        can || us == 0
    }

    /// Sleeps until something happens, a kick or `at_most` included. Call after
    /// [`Wakeup::will_sleep`], with nothing in the inbox.
    pub fn wait(&mut self, at_most: Duration) {
        if self.has_work() {
            return;
        }
        if std::mem::take(&mut self.rested) {
            // SAFETY: all completions were translated, and the kernel receives only while this thread
            // is in `io_uring_enter` (`DEFER_TASKRUN`).
            unsafe { self.pool.rest() };
        }
        let timespec = types::Timespec::from(at_most);
        let mut args = types::SubmitArgs::new().timespec(&timespec);
        let mut wanted = 1;
        if let Some(window) = self.gather_us {
            let at_most_us = u32::try_from(at_most.as_micros()).unwrap_or(u32::MAX);
            args = args.min_wait_usec(window.get().min(at_most_us));
            wanted = GATHERED_MAX;
        }
        let waited = self.uring.submitter().submit_with_args(wanted, &args);
        if let Err(error) = waited {
            let code = error.raw_os_error().unwrap_or(0);
            assert!(
                matches!(code, libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN),
                "io_uring_enter failed: {error}"
            );
            self.rested = code == libc::ETIME && at_most >= REST_AFTER;
        }
    }

    /// Asks to be told of kicks, each of them.
    fn watch_wakeup(&mut self) {
        let eventfd = types::Fd(self.wakeup.raw_fd());
        let entry = opcode::PollAdd::new(eventfd, libc::POLLIN as u32).multi(true).build();
        let token = Token { index: 0, generation: 0 };
        self.push(&entry.user_data(user_data(Op::Wakeup, token)));
    }

    fn has_work(&mut self) -> bool {
        let submissions = self.uring.submission();
        let pending = submissions.taskrun() || submissions.cq_overflow() || !submissions.is_empty();
        drop(submissions);
        pending
            || !self.aside.is_empty()
            || !self.closing.is_empty()
            || !self.uring.completion().is_empty()
    }

    /// Queues an entry, submitting first if the queue is full.
    fn push(&mut self, entry: &Entry) {
        loop {
            // SAFETY: descriptors in entries are open while the entry is submitted (they belong to
            // live sockets, and `end` drops a socket only by value); pointers are those of
            // `send`, which submits before it returns.
            if unsafe { self.uring.submission().push(entry) }.is_ok() {
                return;
            }
            self.enter(0);
        }
    }

    /// Submits what is queued and lets the kernel post completions.
    fn enter(&mut self, wait: u32) {
        let queued = self.uring.submission().len() as u32;
        // SAFETY: no argument is passed.
        let entered = unsafe {
            self.uring.submitter().enter::<libc::sigset_t>(queued, wait, GETEVENTS, None)
        };
        if let Err(error) = entered {
            // EINTR, EBUSY and EAGAIN pass by themselves: the next turn tries again.
            let code = error.raw_os_error().unwrap_or(0);
            assert!(
                matches!(code, libc::EINTR | libc::EBUSY | libc::EAGAIN),
                "io_uring_enter failed: {error}"
            );
        }
    }

    /// Registers a socket that stays, if there is a place for it.
    fn register(&mut self, socket: &mut Socket) {
        if socket.registered.is_some() {
            return;
        }
        let Some(place) = self.places.take() else { return };
        let fds = [socket.fd.as_raw_fd()];
        match self.uring.submitter().register_files_update(place, &fds) {
            Ok(_) => socket.registered = Some(place),
            Err(_) => self.places.give(place),
        }
    }

    /// Closes the sockets that were ended, now that the kernel has seen what names them.
    fn close_ended(&mut self) {
        for socket in self.closing.drain(..) {
            // Ends a receive in force, which would otherwise keep the socket alive.
            let _ = rustix::net::shutdown(&socket.fd, rustix::net::Shutdown::Both);
            let Some(place) = socket.registered else { continue };
            // Taken out of the table, or the table would keep it alive.
            if self.uring.submitter().register_files_update(place, &[-1]).is_ok() {
                self.places.give(place);
            }
        }
    }

    fn translate(&mut self, done: Completion) -> Option<Event<Socket, Lease>> {
        let token = token_of(done.user_data);
        match done.user_data >> 60 {
            op if op == Op::Accept as u64 => self.accepted(token.index as u16, done),
            op if op == Op::Receive as u64 => Some(self.received(token, done)),
            op if op == Op::Writable as u64 => Some(Event::Writable { token }),
            op if op == Op::Wakeup as u64 => {
                self.wakeup.clear();
                if !cqueue::more(done.flags) {
                    self.watch_wakeup();
                }
                None
            }
            _ => None,
        }
    }

    fn accepted(&mut self, listener: u16, done: Completion) -> Option<Event<Socket, Lease>> {
        if done.result >= 0 {
            // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
            let fd = unsafe { OwnedFd::from_raw_fd(done.result) };
            let socket = Socket { fd, registered: None };
            if !cqueue::more(done.flags) {
                self.accept(listener);
            }
            return self.accepting.then_some(Event::Accepted { socket, listener });
        }
        let errno = -done.result;
        match errno {
            libc::ECANCELED => None,
            // The connection was gone before it was accepted.
            libc::ECONNABORTED | libc::EPROTO | libc::EINTR | libc::EAGAIN => {
                if !cqueue::more(done.flags) {
                    self.accept(listener);
                }
                None
            }
            _ => Some(Event::AcceptPaused { listener, errno }),
        }
    }

    fn received(&mut self, token: Token, done: Completion) -> Event<Socket, Lease> {
        // A buffer may have been taken even if nothing was received: it must go back.
        let lease = cqueue::buffer_select(done.flags)
            // SAFETY: each completion is translated once, and names the buffer it consumed.
            .map(|id| unsafe { self.pool.lease(id, done.result.max(0) as usize) });
        match (done.result, lease) {
            (1.., Some(bytes)) => Event::Received { token, bytes, armed: cqueue::more(done.flags) },
            (0, _) => Event::Ended { token, why: End::Eof },
            (result, _) if -result == libc::ENOBUFS => {
                self.pool.fell_short();
                Event::Ended { token, why: End::Stopped }
            }
            (result, _) if matches!(-result, libc::ECANCELED | libc::EINTR) => {
                Event::Ended { token, why: End::Stopped }
            }
            _ => Event::Ended { token, why: End::Failed },
        }
    }

    /// Queues one batch; returns when the kernel has executed all of it.
    fn submit_sends(&mut self, sends: &[Send<'_, Socket>], slices: &[IoSlice<'_>]) {
        self.headers.clear();
        self.results.clear();
        self.results.resize(sends.len(), -libc::EAGAIN);
        for (place, send) in sends.iter().enumerate() {
            let slices = &slices[send.first..send.first + send.count];
            let (fd, flags) = send.socket.target();
            let entry = self.send_entry(fd, slices).flags(flags);
            let place = Token { index: place as u32, generation: 0 };
            self.push(&entry.user_data(user_data(Op::Send, place)));
        }
        let mut outstanding = sends.len();
        self.enter(0);
        loop {
            outstanding -= self.collect_sends();
            if outstanding == 0 {
                return;
            }
            // Not seen in practice: MSG_DONTWAIT is executed inline. But the bytes are borrowed, so
            // we do not leave before the kernel has let go of them.
            self.enter(1);
        }
    }

    fn send_entry(&mut self, fd: types::Fd, slices: &[IoSlice<'_>]) -> Entry {
        const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        if let [slice] = slices {
            return opcode::Send::new(fd, slice.as_ptr(), slice.len() as u32).flags(FLAGS).build();
        }
        assert!(self.headers.len() < self.headers.capacity(), "headers must not move");
        // SAFETY: all zeroes is a valid msghdr.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        // IoSlice is guaranteed to have the layout of iovec.
        header.msg_iov = slices.as_ptr().cast_mut().cast();
        header.msg_iovlen = slices.len();
        self.headers.push(header);
        let header: *const libc::msghdr = &raw const self.headers[self.headers.len() - 1];
        opcode::SendMsg::new(fd, header).flags(FLAGS as u32).build()
    }

    /// Takes the send completions that are there and puts the others aside.
    fn collect_sends(&mut self) -> usize {
        let mut collected = 0;
        for entry in self.uring.completion() {
            let done = Completion::from(entry);
            if done.user_data >> 60 == Op::Send as u64 {
                self.results[token_of(done.user_data).index as usize] = done.result;
                collected += 1;
            } else {
                self.aside.push(done);
            }
        }
        collected
    }
}

/// Free places in the table of registered files.
#[derive(Debug, Default)]
struct Places {
    freed: Vec<u32>,
    /// Places from here on were never used.
    fresh: u32,
    end: u32,
}

impl Places {
    fn take(&mut self) -> Option<u32> {
        self.freed.pop().or_else(|| {
            let place = self.fresh;
            (place < self.end).then(|| {
                self.fresh += 1;
                place
            })
        })
    }

    fn give(&mut self, place: u32) {
        self.freed.push(place);
    }
}

/// Makes a table of registered files with room for `sockets_max`; one without places if the kernel
/// refuses it.
fn register_table(uring: &IoUring, sockets_max: u32) -> Places {
    match uring.submitter().register_files_sparse(sockets_max) {
        Ok(()) => Places { end: sockets_max, ..Places::default() },
        Err(error) => {
            log::warn!(
                scope = "process", event = "warning";
                "sockets cannot be registered with io_uring ({error}): sends cost a little more"
            );
            Places::default()
        }
    }
}

impl Transport for Ring {
    type Socket = Socket;
    type Lease = Lease;

    fn poll(&mut self, events: &mut Vec<Event<Socket, Lease>>) {
        self.pool.replenish();
        if self.has_work() {
            self.enter(0);
        }
        self.close_ended();
        let mut done = std::mem::take(&mut self.aside);
        done.extend(self.uring.completion().map(Completion::from));
        for completion in done.drain(..) {
            events.extend(self.translate(completion));
        }
        if self.aside.is_empty() {
            self.aside = done;
        }
    }

    fn receive(&mut self, socket: &mut Socket, token: Token, how: Receive) {
        if how == Receive::Stream {
            self.register(socket);
        }
        let (fd, flags) = socket.target();
        let entry = match how {
            Receive::Once => opcode::Recv::new(fd, std::ptr::null_mut(), 0)
                .buf_group(BUFFER_GROUP)
                .build()
                .flags(Flags::BUFFER_SELECT),
            Receive::Stream => opcode::RecvMulti::new(fd, BUFFER_GROUP).build(),
        };
        self.push(&entry.flags(flags).user_data(user_data(Op::Receive, token)));
    }

    fn stop_receiving(&mut self, token: Token) {
        let target = user_data(Op::Receive, token);
        let entry = opcode::AsyncCancel::new(target).build();
        self.push(&entry.user_data(user_data(Op::Cancel, token)));
    }

    fn release(&mut self, socket: &mut Socket) {
        // Entries that name it must not be seen when its place or descriptor is another's.
        if !self.uring.submission().is_empty() {
            self.enter(0);
        }
        let Some(place) = socket.registered.take() else { return };
        if self.uring.submitter().register_files_update(place, &[-1]).is_ok() {
            self.places.give(place);
        }
    }

    fn watch_writable(&mut self, socket: &Socket, token: Token) {
        let (fd, flags) = socket.target();
        let entry = opcode::PollAdd::new(fd, libc::POLLOUT as u32).build();
        self.push(&entry.flags(flags).user_data(user_data(Op::Writable, token)));
    }

    fn send(
        &mut self,
        sends: &[Send<'_, Socket>],
        slices: &[IoSlice<'_>],
        results: &mut Vec<Sent>,
    ) {
        assert!(sends.len() <= SENDS_PER_BATCH_MAX, "a batch holds at most 512 sends");
        self.submit_sends(sends, slices);
        results.extend(self.results.iter().map(|&result| match result {
            0.. => Sent::Bytes(result as usize),
            _ if -result == libc::EAGAIN => Sent::Full,
            _ => Sent::Failed,
        }));
    }

    fn finish_writing(&mut self, socket: &Socket) {
        // A connection that is gone already needs no farewell.
        let _ = rustix::net::shutdown(&socket.fd, rustix::net::Shutdown::Write);
    }

    fn end(&mut self, socket: Socket) {
        // Not closed yet: queued entries name its descriptor, which must not be given to another
        // socket before the kernel has seen them.
        self.closing.push(socket);
    }

    fn peer(&self, socket: &Socket) -> Option<SocketAddr> {
        rustix::net::getpeername(&socket.fd)
            .ok()
            .flatten()
            .and_then(|address| address.try_into().ok())
    }

    fn accept(&mut self, listener: u16) {
        if !self.accepting {
            return;
        }
        let Some(socket) = self.listeners.get(usize::from(listener)) else { return };
        let fd: RawFd = socket.as_raw_fd();
        let entry = opcode::AcceptMulti::new(types::Fd(fd))
            .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
            .build();
        let token = listener_token(usize::from(listener));
        self.push(&entry.user_data(user_data(Op::Accept, token)));
    }

    fn stop_accepting(&mut self) {
        self.accepting = false;
        for listener in 0..self.listeners.len() {
            let target = user_data(Op::Accept, listener_token(listener));
            let entry = opcode::AsyncCancel::new(target).build();
            self.push(&entry.user_data(user_data(Op::Cancel, listener_token(listener))));
        }
        self.enter(0);
        self.listeners.clear();
    }
}

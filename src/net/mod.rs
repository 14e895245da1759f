//! Sockets: accept, receive pool, send batches. All `unsafe` and all raw system calls of the
//! project live in this module.
//!
//! A shard sees a [`Transport`]: it asks for events, gets received bytes in leased buffers, and
//! hands over one batch of sends a turn. [`ring::Ring`] is the real one, a private io_uring for each
//! shard; [`memory::Memory`] carries bytes between vectors, for benches, tests and simulation.
//!
//! Invariants:
//! - A send borrows its bytes only for the duration of [`Transport::send`]: it is executed inline
//!   (`MSG_DONTWAIT`), so bytes go straight from the session's history into the kernel.
//! - An idle connection holds no buffer: the kernel takes one from the shared pool when bytes are
//!   there.
//! - A completion names its connection by [`Token`]; a token whose generation is past is ignored,
//!   so a socket may be dropped while the kernel still works on it.

pub mod listen;
pub mod memory;
mod pool;
pub mod probe;
pub mod ring;
pub mod wakeup;

use std::io::IoSlice;
use std::net::SocketAddr;
use std::ops::DerefMut;

/// How completions name a connection: its place in the shard's table, and the generation of that
/// place (28 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// Index in the table of connections.
    pub index: u32,
    /// Which occupant of that index.
    pub generation: u32,
}

/// Generations wrap at this value.
pub const GENERATION_MASK: u32 = (1 << 28) - 1;

/// How long a receive stays in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receive {
    /// For one buffer: nothing is in the kernel's hands afterwards, so the socket can move.
    Once,
    /// Until the stream ends, it is cancelled, or the pool runs dry.
    Stream,
}

/// What happened on the network.
#[derive(Debug)]
pub enum Event<S, L> {
    /// A connection was accepted on listener number `listener`.
    Accepted {
        /// Its socket.
        socket: S,
        /// Index of the listener.
        listener: u16,
    },
    /// No connection can be accepted now (descriptors or memory are short); ask again later.
    AcceptPaused {
        /// Index of the listener.
        listener: u16,
        /// The errno.
        errno: i32,
    },
    /// Bytes arrived.
    Received {
        /// For whom.
        token: Token,
        /// The bytes, in a buffer of the pool.
        bytes: L,
        /// Whether the receive is still in force.
        armed: bool,
    },
    /// The receive ended without bytes.
    Ended {
        /// For whom.
        token: Token,
        /// Why.
        why: End,
    },
    /// A socket that was full takes bytes again.
    Writable {
        /// For whom.
        token: Token,
    },
}

/// Why a receive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer sent all it will send.
    Eof,
    /// It was cancelled, or the pool was dry: it may be asked for again.
    Stopped,
    /// The connection failed.
    Failed,
}

/// One planned send: its socket and `count` slices of the batch, beginning at `first`.
#[derive(Debug)]
pub struct Send<'a, S> {
    /// Where to.
    pub socket: &'a S,
    /// Index of its first slice.
    pub first: usize,
    /// How many slices.
    pub count: usize,
}

/// What became of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The kernel took this many bytes; fewer than planned means that the socket is full.
    Bytes(usize),
    /// The socket was full already.
    Full,
    /// The connection failed.
    Failed,
}

/// Sends a batch may hold.
pub const SENDS_PER_BATCH_MAX: usize = 512;
/// Slices a batch may hold.
pub const SLICES_PER_BATCH_MAX: usize = 1024;

/// The network as a shard sees it.
pub trait Transport {
    /// A connection's socket; dropping it closes it.
    type Socket: std::fmt::Debug;
    /// Received bytes; dropping it gives the buffer back.
    type Lease: DerefMut<Target = [u8]> + std::fmt::Debug;

    /// Submits what is queued and collects what has happened, without waiting.
    fn poll(&mut self, events: &mut Vec<Event<Self::Socket, Self::Lease>>);

    /// Asks for the bytes of a socket.
    fn receive(&mut self, socket: &mut Self::Socket, token: Token, how: Receive);

    /// Ends a receive; [`Event::Ended`] follows unless it has ended by itself.
    fn stop_receiving(&mut self, token: Token);

    /// Gives up a socket that goes to another transport; no receive is in force.
    fn release(&mut self, socket: &mut Self::Socket);

    /// Asks to be told once when the socket takes bytes again.
    fn watch_writable(&mut self, socket: &Self::Socket, token: Token);

    /// Sends a batch without waiting; `results` gets one entry for each send, in order.
    fn send(
        &mut self,
        sends: &[Send<'_, Self::Socket>],
        slices: &[IoSlice<'_>],
        results: &mut Vec<Sent>,
    );

    /// Tells the peer that nothing more will be sent.
    fn finish_writing(&mut self, socket: &Self::Socket);

    /// Ends a connection both ways; a receive in force ends by itself.
    fn end(&mut self, socket: Self::Socket);

    /// The peer's address.
    fn peer(&self, socket: &Self::Socket) -> Option<SocketAddr>;

    /// Accepts again on a listener that was paused.
    fn accept(&mut self, listener: u16);

    /// Stops accepting on all listeners, for good.
    fn stop_accepting(&mut self);
}

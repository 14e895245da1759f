//! A network of vectors, for benches, tests and simulation: whole turns of a shard without a kernel.
//!
//! Sockets have a send capacity, so that full sockets, short sends and slow readers can be staged.
//! Several shards may share one network: each has a side of it, in the order they were made.
//! A turn costs what happened in it, however many connections there are, and nothing is allocated
//! for connections whose bytes are discarded.

use std::cell::RefCell;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use super::{End, Event, Receive, Send, Sent, Token, Transport};

/// What the far ends of all connections hold and do. Cheap to clone: all clones are one network.
#[derive(Clone, Debug, Default)]
pub struct Network {
    inner: Rc<RefCell<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    ends: Vec<FarEnd>,
    sides: Vec<Side>,
    /// Sides that a transport was made for.
    transports: usize,
    spare: Vec<Vec<u8>>,
}

/// What one shard is still to be told.
#[derive(Debug, Default)]
struct Side {
    /// Connections to be accepted.
    arriving: Vec<usize>,
    /// Connections that something may have happened on.
    ready: Vec<usize>,
    /// Connections whose receives were cancelled.
    stopped: Vec<(usize, Token)>,
    accepts_no_more: bool,
}

#[derive(Debug, Default)]
struct FarEnd {
    /// The side that holds the other end.
    side: usize,
    /// In that side's list of ready ones.
    is_ready: bool,
    /// Bytes on their way to the server.
    inbound: Vec<u8>,
    /// The far end sends no more.
    finished: bool,
    /// The connection has failed.
    failed: bool,
    /// The receive in force at the server.
    receive: Option<(Token, Receive)>,
    /// Bytes the server has sent and the far end has not read.
    outbound: Vec<u8>,
    /// Bytes the server has sent in all, and in how many sends.
    sent: u64,
    sends: u64,
    /// Bytes the connection takes before it is full; what is discarded takes no room.
    capacity: usize,
    discard: bool,
    writable: Option<Token>,
    /// The server sends no more.
    server_finished: bool,
    closed: bool,
}

impl Network {
    /// A network without connections.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a connection to the first shard; its number.
    pub fn connect(&self) -> usize {
        self.connect_to(0)
    }

    /// Opens a connection to the shard whose transport was made as number `side`; its number.
    pub fn connect_to(&self, side: usize) -> usize {
        let mut inner = self.inner.borrow_mut();
        let connection = inner.ends.len();
        inner.ends.push(FarEnd { side, capacity: usize::MAX, ..FarEnd::default() });
        inner.side(side).arriving.push(connection);
        connection
    }

    /// Sends bytes to the server.
    pub fn deliver(&self, connection: usize, bytes: &[u8]) {
        self.change(connection, |end| end.inbound.extend_from_slice(bytes));
    }

    /// The far end sends no more.
    pub fn finish(&self, connection: usize) {
        self.change(connection, |end| end.finished = true);
    }

    /// The connection fails: what is on its way is lost.
    pub fn fail(&self, connection: usize) {
        self.change(connection, |end| end.failed = true);
    }

    /// The connection fails, which the server finds out only when it sends.
    pub fn fail_unnoticed(&self, connection: usize) {
        self.inner.borrow_mut().ends[connection].failed = true;
    }

    /// Takes what the server has sent.
    pub fn take(&self, connection: usize) -> Vec<u8> {
        self.change(connection, |end| std::mem::take(&mut end.outbound))
    }

    /// Takes the first `bytes` of what the server has sent, at most.
    pub fn take_some(&self, connection: usize, bytes: usize) -> Vec<u8> {
        self.change(connection, |end| {
            let bytes = bytes.min(end.outbound.len());
            end.outbound.drain(..bytes).collect()
        })
    }

    /// How much unread data the connection takes before it is full, in bytes.
    pub fn set_capacity(&self, connection: usize, bytes: usize) {
        self.change(connection, |end| end.capacity = bytes);
    }

    /// From here on what the server sends is counted and dropped.
    pub fn discard(&self, connection: usize) {
        self.change(connection, |end| end.discard = true);
    }

    /// Bytes the server has sent in all.
    pub fn sent(&self, connection: usize) -> u64 {
        self.inner.borrow().ends[connection].sent
    }

    /// In how many sends the server has sent them.
    pub fn sends(&self, connection: usize) -> u64 {
        self.inner.borrow().ends[connection].sends
    }

    /// Whether the server reads this connection now.
    pub fn is_read(&self, connection: usize) -> bool {
        self.inner.borrow().ends[connection].receive.is_some()
    }

    /// Whether the server has closed the connection.
    pub fn is_closed(&self, connection: usize) -> bool {
        self.inner.borrow().ends[connection].closed
    }

    /// Whether the server has said that it will send no more.
    pub fn is_finished(&self, connection: usize) -> bool {
        let inner = self.inner.borrow();
        inner.ends[connection].server_finished || inner.ends[connection].closed
    }

    fn change<R>(&self, connection: usize, change: impl FnOnce(&mut FarEnd) -> R) -> R {
        let mut inner = self.inner.borrow_mut();
        let result = change(&mut inner.ends[connection]);
        inner.note(connection);
        result
    }
}

impl Inner {
    fn side(&mut self, side: usize) -> &mut Side {
        if self.sides.len() <= side {
            self.sides.resize_with(side + 1, Side::default);
        }
        &mut self.sides[side]
    }

    /// Puts a connection into its side's list of ready ones if its server is to be told something.
    fn note(&mut self, connection: usize) {
        let end = &mut self.ends[connection];
        if !end.is_ready && (end.has_room_to_tell() || end.has_input_to_tell()) {
            end.is_ready = true;
            self.sides[end.side].ready.push(connection);
        }
    }
}

impl FarEnd {
    fn has_room_to_tell(&self) -> bool {
        self.writable.is_some() && (self.outbound.len() < self.capacity || self.failed)
    }

    fn has_input_to_tell(&self) -> bool {
        self.receive.is_some() && (!self.inbound.is_empty() || self.finished || self.failed)
    }

    /// How much of `slice` the connection takes.
    fn absorb(&mut self, slice: &[u8]) -> usize {
        if self.discard {
            return slice.len();
        }
        let room = self.capacity.saturating_sub(self.outbound.len()).min(slice.len());
        self.outbound.extend_from_slice(&slice[..room]);
        room
    }
}

/// The server's end of a connection.
#[derive(Debug)]
pub struct Socket(usize);

/// Received bytes.
#[derive(Debug)]
pub struct Lease {
    bytes: Vec<u8>,
    network: Network,
}

impl Deref for Lease {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        self.network.inner.borrow_mut().spare.push(bytes);
    }
}

/// One shard's side of a [`Network`].
#[derive(Debug)]
pub struct Memory {
    network: Network,
    side: usize,
    /// Bytes handed over in one event at most.
    chunk: usize,
    /// The list of ready connections that is not in use.
    looked_at: Vec<usize>,
}

impl Memory {
    /// A transport on this network that delivers at most `chunk` bytes in one event.
    pub fn new(network: Network, chunk: usize) -> Self {
        let mut inner = network.inner.borrow_mut();
        let side = inner.transports;
        inner.transports += 1;
        inner.side(side);
        drop(inner);
        Self { network, side, chunk, looked_at: Vec::new() }
    }

    /// Tells what happened on one connection.
    fn tell(&self, inner: &mut Inner, connection: usize, events: &mut Vec<Event<Socket, Lease>>) {
        let Inner { ends, spare, .. } = inner;
        let end = &mut ends[connection];
        end.is_ready = false;
        if end.side != self.side {
            // It has moved to another shard since.
            return inner.note(connection);
        }
        if end.has_room_to_tell()
            && let Some(token) = end.writable.take()
        {
            events.push(Event::Writable { token });
        }
        let Some((token, how)) = end.receive.filter(|_| end.has_input_to_tell()) else { return };
        if end.failed || end.inbound.is_empty() {
            end.receive = None;
            let why = if end.failed { End::Failed } else { End::Eof };
            events.push(Event::Ended { token, why });
            return;
        }
        let bytes = self.lease(&mut end.inbound, spare);
        let armed = how == Receive::Stream;
        if !armed {
            end.receive = None;
        }
        events.push(Event::Received { token, bytes, armed });
        if armed && end.finished && end.inbound.is_empty() {
            // As the kernel may: the last bytes and the end behind them at once.
            end.receive = None;
            events.push(Event::Ended { token, why: End::Eof });
        }
        inner.note(connection);
    }

    /// Tells that a receive was cancelled; as the kernel may, bytes that were there first.
    fn tell_stopped(
        &self,
        inner: &mut Inner,
        connection: usize,
        token: Token,
        events: &mut Vec<Event<Socket, Lease>>,
    ) {
        let Inner { ends, spare, .. } = inner;
        let end = &mut ends[connection];
        if !(end.failed || end.closed || end.inbound.is_empty()) {
            let bytes = self.lease(&mut end.inbound, spare);
            events.push(Event::Received { token, bytes, armed: true });
        }
        events.push(Event::Ended { token, why: End::Stopped });
    }

    /// The first bytes of what is on its way to the server.
    fn lease(&self, inbound: &mut Vec<u8>, spare: &mut Vec<Vec<u8>>) -> Lease {
        let mut bytes = spare.pop().unwrap_or_default();
        bytes.extend(inbound.drain(..inbound.len().min(self.chunk)));
        Lease { bytes, network: self.network.clone() }
    }

    /// Hands one end of a connection to this side.
    fn change<R>(&self, socket: &Socket, change: impl FnOnce(&mut FarEnd) -> R) -> R {
        self.network.change(socket.0, |end| {
            end.side = self.side;
            change(end)
        })
    }
}

impl Transport for Memory {
    type Socket = Socket;
    type Lease = Lease;

    fn poll(&mut self, events: &mut Vec<Event<Socket, Lease>>) {
        let mut guard = self.network.inner.borrow_mut();
        let inner = &mut *guard;
        let side = &mut inner.sides[self.side];
        if !side.accepts_no_more {
            let sockets = side.arriving.drain(..).map(Socket);
            events.extend(sockets.map(|socket| Event::Accepted { socket, listener: 0 }));
        }
        let mut ready = std::mem::replace(&mut side.ready, std::mem::take(&mut self.looked_at));
        for (connection, token) in std::mem::take(&mut side.stopped) {
            self.tell_stopped(inner, connection, token, events);
        }
        for connection in ready.drain(..) {
            self.tell(inner, connection, events);
        }
        drop(guard);
        self.looked_at = ready;
    }

    fn receive(&mut self, socket: &mut Socket, token: Token, how: Receive) {
        self.change(socket, |end| end.receive = Some((token, how)));
    }

    fn stop_receiving(&mut self, token: Token) {
        let mut inner = self.network.inner.borrow_mut();
        let side = self.side;
        let armed =
            |end: &FarEnd| end.side == side && end.receive.is_some_and(|(armed, _)| armed == token);
        if let Some(connection) = inner.ends.iter().position(armed) {
            inner.ends[connection].receive = None;
            inner.sides[side].stopped.push((connection, token));
        }
    }

    fn release(&mut self, socket: &mut Socket) {
        self.change(socket, |end| {
            assert!(end.receive.is_none(), "a receive is in force");
            end.writable = None;
        });
    }

    fn watch_writable(&mut self, socket: &Socket, token: Token) {
        self.change(socket, |end| end.writable = Some(token));
    }

    fn send(
        &mut self,
        sends: &[Send<'_, Socket>],
        slices: &[IoSlice<'_>],
        results: &mut Vec<Sent>,
    ) {
        let mut inner = self.network.inner.borrow_mut();
        for send in sends {
            let end = &mut inner.ends[send.socket.0];
            let slices = &slices[send.first..send.first + send.count];
            assert!(slices.iter().all(|slice| !slice.is_empty()), "an empty slice was planned");
            if end.failed {
                results.push(Sent::Failed);
                continue;
            }
            let taken: usize = slices.iter().map(|slice| end.absorb(slice)).sum();
            end.sent += taken as u64;
            end.sends += 1;
            results.push(if taken == 0 { Sent::Full } else { Sent::Bytes(taken) });
        }
    }

    fn finish_writing(&mut self, socket: &Socket) {
        self.change(socket, |end| end.server_finished = true);
    }

    fn end(&mut self, socket: Socket) {
        self.change(&socket, |end| {
            end.closed = true;
            end.receive = None;
            end.writable = None;
        });
    }

    fn peer(&self, _: &Socket) -> Option<SocketAddr> {
        Some(SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    fn accept(&mut self, _: u16) {}

    fn stop_accepting(&mut self) {
        self.network.inner.borrow_mut().sides[self.side].accepts_no_more = true;
    }
}

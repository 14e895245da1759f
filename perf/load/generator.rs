//! The event loop over all connections: opens them, joins, sends on time or as fast as answers
//! come, and counts what arrives.
//!
//! Invariants: `tally` only grows until [`Generator::begin_window`]'s caller takes a copy; a
//! sender's messages count from zero and every member of its session is owed each of them once,
//! the sender itself only where the protocol says so.

mod presence;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::mem;
use std::net::SocketAddrV4;

use rustix::event::epoll::Event;
use rustix::fd::OwnedFd;

use crate::clock::Clock;
use crate::failure::{Failure, While};
use crate::histogram::Histogram;
use crate::ledger::{Arrival, Flow, Stamp};
use crate::poller::{Poller, Ready};
use crate::protocol::{Incoming, Protocol, Seat};
use crate::websocket::{self, Opening};
use crate::{clock, socket};

const BUFFER_BYTES: usize = 256 * 1024;
/// A server that lets nothing happen for this long is given up.
const STALL_NS: u64 = 20_000_000_000;
/// After the last message: this long without any delivery ends the wait for missing ones.
const DRAIN_QUIET_NS: u64 = 3_000_000_000;
const WAIT_MAX_NS: u64 = 100_000_000;
/// 127.0.0.2 is the first source address.
const SOURCE_FIRST: u8 = 2;

/// How messages are paced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pacing {
    /// Each sender sends this often, whatever comes back.
    Open {
        /// Messages per second and sender.
        rate_hz: f64,
    },
    /// Each sender keeps this many messages under way; one has arrived when every member of
    /// the session that is owed it has it.
    Closed {
        /// Messages under way.
        window: u32,
    },
}

/// Counts since the generator started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) joined: u64,
    pub(crate) sent: u64,
    pub(crate) expected: u64,
    pub(crate) deliveries: u64,
    pub(crate) delivery_bytes: u64,
    pub(crate) echoes: u64,
    pub(crate) unique: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) stale: u64,
    pub(crate) misrouted: u64,
    pub(crate) order_breaks: u64,
    pub(crate) notices: u64,
    pub(crate) ticks: u64,
    pub(crate) pings: u64,
    pub(crate) unknown: u64,
    pub(crate) closed: u64,
    pub(crate) receive_calls: u64,
}

/// Where to connect and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    /// The server.
    pub(crate) target: SocketAddrV4,
    /// Number of loopback source addresses to spread over.
    pub(crate) sources: u8,
    /// Connections that may be on their way in at once.
    pub(crate) parallel: usize,
}

/// All connections of a run.
pub(crate) struct Generator {
    clock: Clock,
    poller: Poller,
    protocol: Box<dyn Protocol>,
    opening: Opening,
    host: String,
    route: Route,
    connections: Vec<Connection>,
    senders: Vec<Sender>,
    ready_senders: Vec<u32>,
    tally: Tally,
    latency: Histogram,
    first_trouble: Option<String>,
    events: Vec<Event>,
    buffer: Vec<u8>,
    text: Vec<u8>,
    payload: Vec<u8>,
    random: u64,
    slow: Vec<presence::Slow>,
    next_sip_ns: u64,
}

struct Connection {
    fd: OwnedFd,
    seat: Seat,
    phase: Phase,
    watches_write: bool,
    order: Option<u32>,
    partial: Vec<u8>,
    unsent: Vec<u8>,
    flows: Vec<Flow>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Upgrading,
    Joining,
    Member,
    Closed,
}

struct Sender {
    connection: u32,
    session: u32,
    /// Its place among the senders of its session.
    slot: u32,
    /// Members that are owed each message.
    receivers: u32,
    next: u32,
    window: u32,
    /// Deliveries still owed, per message from `next - owed.len()` on; only kept for closed loops.
    owed: VecDeque<u32>,
    is_ready: bool,
}

impl Generator {
    /// A generator without connections.
    pub(crate) fn new(protocol: Box<dyn Protocol>, route: Route) -> Result<Self, Failure> {
        Ok(Self {
            clock: Clock::start(),
            poller: Poller::open().while_doing(|| "opening epoll".to_owned())?,
            protocol,
            opening: Opening::new(),
            host: route.target.to_string(),
            route,
            connections: Vec::new(),
            senders: Vec::new(),
            ready_senders: Vec::new(),
            tally: Tally::default(),
            latency: Histogram::new(),
            first_trouble: None,
            events: Poller::list(),
            buffer: vec![0; BUFFER_BYTES],
            text: Vec::new(),
            payload: Vec::new(),
            random: 0x9e37_79b9_7f4a_7c15,
            slow: Vec::new(),
            next_sip_ns: 0,
        })
    }

    /// Nanoseconds on the generator's clock.
    pub(crate) fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// The counts so far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Latencies since the last [`Generator::begin_window`].
    pub(crate) fn latency(&self) -> &Histogram {
        &self.latency
    }

    /// What first went wrong with a connection, if anything did.
    pub(crate) fn first_trouble(&self) -> Option<&str> {
        self.first_trouble.as_deref()
    }

    /// Starts a window of measurement.
    pub(crate) fn begin_window(&mut self) -> Tally {
        self.latency.clear();
        self.tally
    }

    /// Opens `sessions × members` connections, session by session, and joins them all.
    /// `progress` is told the number of members about once a second.
    pub(crate) fn join_all(
        &mut self,
        sessions: u32,
        members: u32,
        mut progress: impl FnMut(&Self),
    ) -> Result<(), Failure> {
        let seats: Vec<_> = (0..sessions)
            .flat_map(|session| (0..members).map(move |member| Seat { session, member }))
            .collect();
        let (mut opened, mut last_joined) = (0, 0);
        let (mut moved_ns, mut told_ns) = (self.now_ns(), self.now_ns());
        while self.tally.joined < seats.len() as u64 {
            while opened < seats.len()
                && opened as u64 - self.tally.joined < self.route.parallel as u64
            {
                self.connect(seats[opened])?;
                opened += 1;
            }
            self.turn(Some(WAIT_MAX_NS))?;
            if let Some(trouble) = &self.first_trouble {
                let joined = self.tally.joined;
                return Err(Failure::Server(format!("{trouble} (after {joined} joins)")));
            }
            let now = self.now_ns();
            if self.tally.joined > last_joined {
                (last_joined, moved_ns) = (self.tally.joined, now);
            } else if now - moved_ns > STALL_NS {
                let text =
                    format!("stopped answering after {last_joined} of {} joins", seats.len());
                return Err(Failure::Server(text));
            }
            if now - told_ns >= 1_000_000_000 {
                told_ns = now;
                progress(self);
            }
        }
        Ok(())
    }

    /// Handles what comes until `until_ns`, sending nothing of its own accord.
    pub(crate) fn listen_until(&mut self, until_ns: u64) -> Result<(), Failure> {
        loop {
            let now = self.now_ns();
            if now >= until_ns {
                return Ok(());
            }
            self.turn(Some((until_ns - now).min(WAIT_MAX_NS)))?;
        }
    }

    /// Makes the first `senders` members of each session senders.
    pub(crate) fn appoint_senders(&mut self, senders: u32, members: u32, pacing: Pacing) {
        let window = match pacing {
            Pacing::Open { .. } => 0,
            Pacing::Closed { window } => window,
        };
        let receivers = if self.protocol.is_echoed() { members } else { members - 1 };
        for (index, connection) in self.connections.iter_mut().enumerate() {
            connection.flows = vec![Flow::default(); senders as usize];
            let Seat { session, member } = connection.seat;
            if member < senders {
                self.ready_senders.push(self.senders.len() as u32);
                self.senders.push(Sender {
                    connection: index as u32,
                    session,
                    slot: member,
                    receivers,
                    next: 0,
                    window,
                    owed: VecDeque::new(),
                    is_ready: true,
                });
            }
        }
    }

    /// When each sender's first message is due: spread evenly at random over one period, from a
    /// fixed seed.
    pub(crate) fn schedule(&mut self, rate_hz: f64) -> Schedule {
        let period_ns = (1e9 / rate_hz) as u64;
        let start = self.now_ns();
        let due = (0..self.senders.len() as u32)
            .map(|sender| Reverse((start + self.draw() % period_ns.max(1), sender)))
            .collect();
        Schedule { period_ns, due }
    }

    /// Sends what is due and handles what comes, until `until_ns`.
    pub(crate) fn send_on_time(
        &mut self,
        schedule: &mut Schedule,
        until_ns: u64,
    ) -> Result<(), Failure> {
        loop {
            let now = self.now_ns();
            if now >= until_ns {
                return Ok(());
            }
            self.sip(now);
            while let Some(&Reverse((due_ns, sender))) = schedule.due.peek() {
                if due_ns > now {
                    break;
                }
                schedule.due.pop();
                schedule.due.push(Reverse((due_ns + schedule.period_ns, sender)));
                self.push_message(sender, due_ns);
                self.flush(self.senders[sender as usize].connection);
            }
            let next = schedule.due.peek().map_or(until_ns, |&Reverse((due, _))| due.min(until_ns));
            self.turn(Some(next.saturating_sub(self.now_ns()).min(WAIT_MAX_NS)))?;
        }
    }

    /// Keeps every sender's window full and handles what comes, until `until_ns`.
    pub(crate) fn send_in_windows(&mut self, until_ns: u64) -> Result<(), Failure> {
        let mut moved = (self.tally.deliveries, self.now_ns());
        loop {
            let now = self.now_ns();
            if now >= until_ns {
                return Ok(());
            }
            for sender in mem::take(&mut self.ready_senders) {
                self.refill(sender, now);
            }
            self.turn(Some((until_ns - now).min(WAIT_MAX_NS)))?;
            if self.tally.deliveries > moved.0 {
                moved = (self.tally.deliveries, now);
            } else if now - moved.1 > STALL_NS {
                return Err(Failure::Server("stopped delivering".to_owned()));
            }
        }
    }

    /// Waits for what is still owed.
    pub(crate) fn drain(&mut self) -> Result<(), Failure> {
        let mut moved = (self.tally.unique, self.now_ns());
        while self.tally.unique < self.tally.expected {
            self.turn(Some(WAIT_MAX_NS))?;
            if self.tally.unique > moved.0 {
                moved = (self.tally.unique, self.now_ns());
            } else if self.now_ns() - moved.1 > DRAIN_QUIET_NS {
                break;
            }
        }
        Ok(())
    }

    fn turn(&mut self, timeout_ns: Option<u64>) -> Result<(), Failure> {
        let mut events = mem::take(&mut self.events);
        self.poller.wait(&mut events, timeout_ns).while_doing(|| "waiting for input".to_owned())?;
        for &event in &events {
            let ready = Ready::from(event);
            if ready.writable {
                self.flush(ready.key as u32);
            }
            if ready.readable {
                self.receive(ready.key as u32);
            }
        }
        self.events = events;
        Ok(())
    }

    fn connect(&mut self, seat: Seat) -> Result<(), Failure> {
        let index = self.connections.len() as u32;
        let connection = self.dial(index, seat)?;
        self.connections.push(connection);
        self.flush(index);
        Ok(())
    }

    /// A connection on its way in, which is watched as number `index`.
    fn dial(&mut self, index: u32, seat: Seat) -> Result<Connection, Failure> {
        let source = SOURCE_FIRST + (index % u32::from(self.route.sources)) as u8;
        let target = self.route.target;
        let fd = socket::connect(source, target)
            .while_doing(|| format!("connecting from 127.0.0.{source} to {target}"))?;
        let mut unsent = Vec::new();
        self.opening.request(&self.protocol.path(seat), &self.host, &mut unsent);
        self.poller
            .add(&fd, u64::from(index), true)
            .while_doing(|| "watching a connection".to_owned())?;
        Ok(Connection {
            fd,
            seat,
            phase: Phase::Upgrading,
            watches_write: true,
            order: None,
            partial: Vec::new(),
            unsent,
            flows: Vec::new(),
        })
    }

    fn receive(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if connection.phase == Phase::Closed {
            return;
        }
        let mut buffer = mem::take(&mut self.buffer);
        match socket::receive(&connection.fd, &mut buffer) {
            Ok(None) => {}
            Ok(Some(0)) => self.lose(index, "closed a connection"),
            Err(error) => self.lose(index, &format!("broke a connection: {error}")),
            Ok(Some(bytes)) => {
                self.tally.receive_calls += 1;
                self.digest(index, &buffer[..bytes]);
            }
        }
        self.buffer = buffer;
    }

    /// Handles all that is complete in `data` and keeps the rest.
    fn digest(&mut self, index: u32, data: &[u8]) {
        let partial = &mut self.connections[index as usize].partial;
        if partial.is_empty() {
            let used = self.consume(index, data);
            self.connections[index as usize].partial = data[used..].to_vec();
            return;
        }
        let mut joined = mem::take(partial);
        joined.extend_from_slice(data);
        let used = self.consume(index, &joined);
        self.connections[index as usize].partial = joined.split_off(used);
    }

    fn consume(&mut self, index: u32, data: &[u8]) -> usize {
        let now = self.now_ns();
        let mut at = 0;
        if self.connections[index as usize].phase == Phase::Upgrading {
            match self.opening.response(data) {
                Ok(None) => return 0,
                Ok(Some(bytes)) => at = bytes,
                Err(malformed) => {
                    self.lose(index, &malformed.to_string());
                    return data.len();
                }
            }
            self.join(index);
        }
        loop {
            match websocket::parse(&data[at..]) {
                Ok(None) => return at,
                Ok(Some(frame)) => {
                    self.frame(index, frame, &data[at + frame.start..at + frame.end], now);
                    at += frame.end;
                }
                Err(malformed) => {
                    self.lose(index, &malformed.to_string());
                    return data.len();
                }
            }
        }
    }

    fn join(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        connection.phase = Phase::Joining;
        for message in self.protocol.join(connection.seat) {
            self.push_frame(index, self.protocol.opcode(), &message);
        }
        self.flush(index);
    }

    fn frame(&mut self, index: u32, frame: websocket::Frame, payload: &[u8], now_ns: u64) {
        match frame.opcode {
            websocket::TEXT | websocket::BINARY => {
                // The header counts as wire bytes; a server's frame has no mask.
                self.message(index, payload, (frame.end) as u64, now_ns);
            }
            websocket::PING => {
                self.tally.pings += 1;
                self.push_frame(index, websocket::PONG, payload);
                self.flush(index);
            }
            websocket::CLOSE => {
                let code = payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
                self.lose(index, &format!("closed a connection with code {code}"));
            }
            _ => {}
        }
    }

    fn message(&mut self, index: u32, text: &[u8], wire_bytes: u64, now_ns: u64) {
        let mut reply = mem::take(&mut self.text);
        reply.clear();
        let connection = &mut self.connections[index as usize];
        match self.protocol.read(connection.seat, text, &mut reply) {
            Incoming::Delivery { payload, order } => {
                self.check_order(index, order);
                let delivered = self.deliver(index, Stamp::read(payload), now_ns);
                self.tally.delivery_bytes += if delivered { wire_bytes } else { 0 };
            }
            Incoming::Deliveries { bytes } => {
                let mut delivered = false;
                for stamp in Stamp::find(bytes) {
                    delivered |= self.deliver(index, Some(stamp), now_ns);
                }
                self.tally.delivery_bytes += if delivered { wire_bytes } else { 0 };
            }
            Incoming::Notice { order } => {
                self.tally.notices += 1;
                self.check_order(index, order);
            }
            Incoming::Tick => self.tally.ticks += 1,
            Incoming::Joined { .. } if connection.phase == Phase::Member => self.tally.notices += 1,
            Incoming::Joined { order } => {
                connection.order = order;
                connection.phase = Phase::Member;
                self.tally.joined += 1;
            }
            Incoming::Refused { reason } => {
                self.lose(index, &format!("refused: {}", String::from_utf8_lossy(reason)));
            }
            Incoming::Unknown => self.tally.unknown += 1,
        }
        if !reply.is_empty() {
            self.push_frame(index, self.protocol.opcode(), &reply);
            self.flush(index);
        }
        self.text = reply;
    }

    /// A session's own numbers must follow each other without a gap.
    fn check_order(&mut self, index: u32, order: Option<u32>) {
        let last = &mut self.connections[index as usize].order;
        if let (Some(order), Some(last)) = (order, *last)
            && order != last.wrapping_add(1)
        {
            self.tally.order_breaks += 1;
        }
        *last = order.or(*last);
    }

    /// Books one message; false if it is a sender's own and not owed to it.
    fn deliver(&mut self, index: u32, stamp: Option<Stamp>, now_ns: u64) -> bool {
        let author = stamp.and_then(|stamp| self.senders.get(stamp.sender as usize));
        if !self.protocol.is_echoed() && author.is_some_and(|author| author.connection == index) {
            self.tally.echoes += 1;
            return false;
        }
        self.tally.deliveries += 1;
        match stamp {
            Some(stamp) => self.book(index, stamp, now_ns),
            None => self.tally.unknown += 1,
        }
        true
    }

    fn book(&mut self, index: u32, stamp: Stamp, now_ns: u64) {
        let connection = &mut self.connections[index as usize];
        let sender = self.senders.get_mut(stamp.sender as usize);
        let Some(sender) = sender.filter(|sender| sender.session == connection.seat.session) else {
            self.tally.misrouted += 1;
            return;
        };
        self.latency.record(now_ns.saturating_sub(stamp.due_ns));
        match connection.flows[sender.slot as usize].record(stamp.number) {
            Arrival::New => {}
            Arrival::Reordered => self.tally.reordered += 1,
            Arrival::Stale => self.tally.stale += 1,
            Arrival::Duplicate => {
                self.tally.duplicated += 1;
                return;
            }
        }
        self.tally.unique += 1;
        if sender.settle(stamp.number) && !sender.is_ready {
            sender.is_ready = true;
            self.ready_senders.push(stamp.sender);
        }
    }

    fn refill(&mut self, sender: u32, now_ns: u64) {
        let entry = &mut self.senders[sender as usize];
        entry.is_ready = false;
        let room = entry.window as usize - entry.owed.len().min(entry.window as usize);
        let connection = entry.connection;
        for _ in 0..room {
            self.push_message(sender, now_ns);
        }
        self.flush(connection);
    }

    fn push_message(&mut self, sender: u32, due_ns: u64) {
        let entry = &mut self.senders[sender as usize];
        let connection = entry.connection;
        if self.connections[connection as usize].phase == Phase::Closed {
            return;
        }
        let stamp = Stamp { sender, number: entry.next, due_ns };
        entry.next += 1;
        if entry.window > 0 {
            entry.owed.push_back(entry.receivers);
        }
        self.tally.sent += 1;
        self.tally.expected += u64::from(entry.receivers);
        let (mut payload, mut text) = (mem::take(&mut self.payload), mem::take(&mut self.text));
        payload.clear();
        text.clear();
        stamp.write(self.protocol.payload_bytes(), &mut payload);
        let seat = self.connections[connection as usize].seat;
        self.protocol.message(seat, stamp.number, &payload, &mut text);
        self.push_frame(connection, self.protocol.opcode(), &text);
        (self.payload, self.text) = (payload, text);
    }

    fn push_frame(&mut self, index: u32, opcode: u8, payload: &[u8]) {
        let mask = (self.draw() as u32).to_ne_bytes();
        let unsent = &mut self.connections[index as usize].unsent;
        websocket::write_masked(opcode, payload, mask, unsent);
    }

    /// Writes what waits on a connection, and watches for room only while something does.
    fn flush(&mut self, index: u32) {
        let connection = &mut self.connections[index as usize];
        if connection.phase == Phase::Closed {
            return;
        }
        if !connection.unsent.is_empty() {
            match socket::send(&connection.fd, &connection.unsent) {
                Ok(sent) => drop(connection.unsent.drain(..sent)),
                Err(error) => return self.lose(index, &format!("refused bytes: {error}")),
            }
        }
        let waits = !connection.unsent.is_empty();
        if waits != connection.watches_write {
            connection.watches_write = waits;
            if let Err(error) = self.poller.watch_write(&connection.fd, u64::from(index), waits) {
                self.lose(index, &format!("left a socket epoll will not watch: {error}"));
            }
        }
    }

    fn lose(&mut self, index: u32, trouble: &str) {
        let connection = &mut self.connections[index as usize];
        if connection.phase == Phase::Closed {
            return;
        }
        connection.phase = Phase::Closed;
        self.tally.closed += 1;
        // It is out of the epoll or it is gone; either way it will not report again.
        let _ = self.poller.remove(&connection.fd);
        if self.first_trouble.is_none() {
            self.first_trouble = Some(trouble.to_owned());
        }
    }

    /// The next number of a fixed sequence (splitmix64): runs repeat exactly.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Sender {
    /// Notes a delivery; true if the window has room again.
    fn settle(&mut self, number: u32) -> bool {
        if self.window == 0 {
            return false;
        }
        let first = self.next - self.owed.len() as u32;
        if let Some(owed) = number.checked_sub(first).and_then(|at| self.owed.get_mut(at as usize))
        {
            *owed = owed.saturating_sub(1);
        }
        while self.owed.front() == Some(&0) {
            self.owed.pop_front();
        }
        (self.owed.len() as u32) < self.window
    }
}

/// The senders of an open loop in the order of their next messages.
pub(crate) struct Schedule {
    period_ns: u64,
    due: BinaryHeap<Reverse<(u64, u32)>>,
}

/// A rate over a window.
pub(crate) fn per_second(count: u64, window_ns: u64) -> f64 {
    count as f64 / clock::seconds(window_ns.max(1))
}

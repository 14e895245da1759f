//! One shard: everything a core owns, and the turn in which it moves.
//!
//! Read [`turn`] first. The path of a message: `turn` → `receive` (bytes of one connection) →
//! `member` (frames, the protocol's machine) → `effects` (what the machine asked for) → `flush` (one
//! send for each dirty connection).
//!
//! Members may also poll (`engine`): they are connections without a socket.
//!
//! Connections come by `handoff`; what goes from session to session passes through `passage`:
//! members (`transfer`) and messages (`tell`).
//!
//! Invariants:
//! - A shard shares nothing: it owns its sockets, sessions, histories, timers and counters. Other
//!   threads reach it only through its inbox (`mesh`).
//! - *One mutation, one drain*: the effects of one input are drained before the next is looked at.
//! - A connection whose index another table holds is there: removing a connection unseats it.
//! - No task, buffer or timer object exists for an idle connection.
//!
//! Deliberately absent: locks, `.await` (only `run` has it), protocols' rules.

mod accounts;
mod blobs;
mod connections;
mod drain;
mod effects;
mod engine;
pub mod fallen;
mod files;
mod flush;
mod handoff;
mod http;
mod invariants;
pub mod journaling;
mod member;
pub mod mesh;
mod passage;
pub mod placement;
mod receive;
pub mod routes;
pub mod run;
mod sessions;
mod standing;
mod table;
mod tell;
#[cfg(test)]
mod tests;
mod timers;
mod transfer;
pub mod turn;
pub mod wheel;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chacha20::ChaCha8Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};

use crate::codec::websocket::AssemblyPool;
use crate::net::{Event, Receive, Sent, Token, Transport};
use crate::session::{
    Counters, Effects, History, MemberId, Now, Outbox, Outcome, Position, RingPool,
};
use crate::{protocol, storage};

use connections::{Connection, Connections, Moment, PackedCursor, Phase};
use mesh::{Inbox, Outlet};
use passage::Passages;
use sessions::Sessions;
use wheel::{TimerId, Wheel};

/// What a shard is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which shard this is.
    pub index: usize,
    /// How many there are.
    pub shards: usize,
    /// The listeners, in the order of their sockets.
    pub listeners: Vec<routes::Profile>,
    /// Settings of the protocols.
    pub protocols: Arc<protocol::Config>,
    /// Records can be stored.
    pub durable: bool,
    /// Connections this shard holds at most; beyond it new ones are closed at once.
    pub connections_max: usize,
    /// Largest file the file server takes, in bytes.
    pub file_bytes_max: u64,
    /// Panics of one session within a minute after which it is closed for a minute.
    pub panics_max: usize,
    /// Time for clients to go when the process stops.
    pub drain: Duration,
    /// Seeds the random numbers handed to state machines.
    pub seed: u64,
}

/// What a shard is connected to.
#[derive(Debug)]
pub struct Links<S> {
    /// The outlets of all shards, its own included.
    pub peers: Vec<Outlet<S>>,
    /// Its own inbox.
    pub inbox: Inbox<S>,
    /// The counters of all shards.
    pub counters: Arc<[Counters]>,
    /// Blocking file work.
    pub storage: storage::Client,
    /// Who keeps CoMutiNy's accounts, if there are any.
    pub accounts: Option<storage::accounts::Client>,
    /// What sessions record.
    pub journaling: journaling::Journaling,
}

/// Whose a timer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    Connection(u32),
    Session(u32),
    /// Accept again on this listener.
    Accept(u16),
    /// Sync the journal, or try again to write it.
    Journal,
    /// Tell the log of the shard as a whole.
    Report,
    /// Try again what found another shard's inbox full.
    Passages,
}

/// One shard. `T` is its network.
#[derive(Debug)]
pub struct Shard<T: Transport> {
    config: Config,
    net: T,
    now: Now,
    connections: Connections<T::Socket>,
    sessions: Sessions,
    wheel: Wheel<Timer>,
    peers: Vec<Outlet<T::Socket>>,
    inbox: Inbox<T::Socket>,
    passages: Passages<T::Socket>,
    counters: CountersOfShard,
    storage: storage::Client,
    accounts: Option<storage::accounts::Client>,
    journaling: journaling::State,
    fallen: fallen::Fallen,
    /// Of each protocol that has had a session here.
    limits: Vec<(&'static str, Rc<protocol::Limits>)>,
    /// Of each Engine.IO entrance that was asked for here.
    engines: Vec<(&'static protocol::Entrance, Arc<protocol::EngineIo>)>,
    /// Questions to other shards that are not fully answered.
    questions: http::Questions,
    draining: bool,
    /// Stored records whose writing is not confirmed yet.
    stores_pending: usize,
    removals: blobs::Removals,
    /// Answers to requests that the storage was not even asked: looked at like its own.
    refused: VecDeque<storage::Answer>,
    random: ChaCha8Rng,
    /// One for each listener: when to accept again.
    accept_timers: Vec<TimerId>,
    reports: protocol::Reports,
    report_timer: TimerId,

    // Buffers used again every turn.
    events: Vec<Event<T::Socket, T::Lease>>,
    fired: Vec<Timer>,
    outcome: Outcome,
    /// By token: an index may have a new occupant before the turn ends.
    dirty_connections: Vec<Token>,
    dirty_sessions: Vec<u32>,
    sent: Vec<Sent>,
    planned: Vec<(u32, usize)>,

    /// What one who polls is sent, as frames and as a payload.
    frames: Vec<u8>,
    payload: Vec<u8>,

    // Memory that idle connections and sessions do not hold.
    rings: RingPool,
    assemblies: AssemblyPool,
    #[allow(clippy::vec_box)] // boxed where they are used: an idle connection has one pointer
    outboxes: Vec<Box<Outbox>>,
    /// What connections outside of any session listen to.
    silence: History,
}

/// This shard's counters among those of all shards.
#[derive(Debug)]
struct CountersOfShard {
    all: Arc<[Counters]>,
    index: usize,
}

impl std::ops::Deref for CountersOfShard {
    type Target = Counters;

    fn deref(&self) -> &Counters {
        &self.all[self.index]
    }
}

/// Emptied outboxes a shard keeps for the next replies.
const OUTBOXES_KEPT: usize = 1024;

/// Members are named by the index of their connection.
fn member_id(index: u32) -> MemberId {
    MemberId(index)
}

impl<T: Transport> Shard<T> {
    /// A shard on this network.
    pub fn new(config: Config, net: T, links: Links<T::Socket>) -> Self {
        let mut wheel = Wheel::new();
        let listeners = 0..config.listeners.len() as u16;
        let accept_timers = listeners.map(|listener| wheel.add(Timer::Accept(listener))).collect();
        let reports = protocol::Reports::new(config.index);
        let report_timer = wheel.add(Timer::Report);
        wheel.set(report_timer, Some(reports.deadline()));
        let passages = Passages::new(config.index, links.peers.len(), wheel.add(Timer::Passages));
        let counters = CountersOfShard { all: links.counters, index: config.index };
        let journaling = journaling::State::new(links.journaling, &mut wheel);
        Self {
            random: ChaCha8Rng::seed_from_u64(config.seed),
            config,
            net,
            now: Now::default(),
            connections: Connections::new(),
            sessions: Sessions::default(),
            wheel,
            accept_timers,
            reports,
            report_timer,
            peers: links.peers,
            inbox: links.inbox,
            passages,
            counters,
            storage: links.storage,
            accounts: links.accounts,
            journaling,
            fallen: fallen::Fallen::default(),
            limits: Vec::new(),
            engines: Vec::new(),
            questions: http::Questions::default(),
            draining: false,
            stores_pending: 0,
            removals: blobs::Removals::default(),
            refused: VecDeque::new(),
            events: Vec::new(),
            fired: Vec::new(),
            outcome: Outcome::default(),
            dirty_connections: Vec::new(),
            dirty_sessions: Vec::new(),
            sent: Vec::new(),
            planned: Vec::new(),
            frames: Vec::new(),
            payload: Vec::new(),
            rings: RingPool::default(),
            assemblies: AssemblyPool::default(),
            outboxes: Vec::new(),
            silence: History::new(),
        }
    }

    /// The network, for whoever drives the shard.
    pub fn net(&mut self) -> &mut T {
        &mut self.net
    }

    /// Whether the shard was told to stop and has nothing left to do.
    pub fn is_done(&self) -> bool {
        self.draining
            && self.connections.len() == 0
            && self.stores_pending == 0
            && self.removals.is_empty()
            && self.refused.is_empty()
            && !self.journaling.holding
            && self.passages.is_empty()
            && self.inbox.is_empty()
    }

    /// Settings that files tell have changed: sessions are told, and others open with them.
    fn configure(&mut self, protocols: Arc<protocol::Config>) {
        let sessions: Vec<u32> = self.sessions.iter().map(|(index, _)| index).collect();
        for index in sessions {
            self.call(index, |machine, fx| machine.on_configured(&protocols, fx));
        }
        self.config.protocols = protocols;
    }

    /// A fresh random number, which nobody can tell from the ones before.
    fn next_random(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// A connection; without a socket that of a member that polls.
    fn insert_connection(&mut self, socket: Option<T::Socket>, listener: u16, phase: Phase) -> u32 {
        if socket.is_none() {
            self.counters.polling.increment();
        }
        let timer = self.wheel.add(Timer::Connection(self.connections.next_index()));
        self.counters.connections.increment();
        let at = Moment::of(self.now.at);
        self.connections.insert(Connection {
            socket,
            engine: None,
            phase,
            outbox: None,
            cursor: PackedCursor::default(),
            since: at,
            heard: at,
            progress: at,
            timer,
            generation: 0,
            listener,
            paused: 0,
            armed: false,
            stopping: false,
            dirty: false,
            blocked: false,
            depends: false,
        })
    }

    /// Takes a connection out of the table without closing its socket.
    fn remove_connection(&mut self, index: u32) -> Option<Connection<T::Socket>> {
        let mut connection = self.connections.remove(index)?;
        self.wheel.remove(connection.timer);
        self.counters.connections.decrement();
        if connection.socket.is_none() {
            self.counters.polling.decrement();
        }
        if let Some(outbox) = connection.outbox.take() {
            self.give_outbox(outbox);
        }
        match &mut connection.phase {
            Phase::Http(exchange) => self.abandon(exchange),
            Phase::Probing(probe) if !probe.has_moved() => self.abandon_probe(probe),
            _ => {}
        }
        Some(connection)
    }

    /// Ends a connection at once; a member leaves its session first, or as soon as it has entered
    /// the one that it is moving to.
    fn drop_connection(&mut self, index: u32) {
        if self.defer_end(index) {
            return;
        }
        self.leave(index, 1006);
        if let Some(mut connection) = self.remove_connection(index) {
            if let Some(socket) = connection.socket.take() {
                self.net.end(socket);
            }
            if let Some(engine) = connection.engine {
                self.end_engine(*engine);
            }
        }
    }

    /// The connection's outbox, from the pool if it has none.
    fn outbox(&mut self, index: u32) -> Option<&mut Outbox> {
        let connection = self.connections.get_mut(index)?;
        if connection.outbox.is_none() {
            connection.outbox = Some(self.outboxes.pop().unwrap_or_default());
        }
        connection.outbox.as_deref_mut()
    }

    /// Bytes that wait for one connection alone.
    fn queued_bytes(&self, index: u32) -> usize {
        let outbox = self.connections.get(index).and_then(|found| found.outbox.as_ref());
        outbox.map_or(0, |outbox| outbox.queued_bytes())
    }

    fn give_outbox(&mut self, mut outbox: Box<Outbox>) {
        if self.outboxes.len() < OUTBOXES_KEPT {
            outbox.clear();
            self.outboxes.push(outbox);
        }
    }

    /// Queues bytes for one connection.
    fn push_raw(&mut self, index: u32, bytes: &[u8]) {
        let at = self.position(index);
        if let Some(outbox) = self.outbox(index) {
            outbox.push(at, &[bytes]);
        }
        self.mark_dirty(index);
    }

    /// The position that bytes queued now belong after: the head of the history a member may listen
    /// to, before every position for one that has not entered, after every position for one that
    /// has left.
    fn position(&self, index: u32) -> Position {
        match self.connections.get(index).map(|connection| &connection.phase) {
            Some(Phase::Member(seat)) => {
                self.sessions.get(seat.session).map_or(0, |session| session.history.head())
            }
            Some(Phase::Closing { .. }) => Position::MAX,
            Some(Phase::Http(_) | Phase::Moving(_) | Phase::Probing(_) | Phase::Busy) | None => 0,
        }
    }

    fn mark_dirty(&mut self, index: u32) {
        if let Some(connection) = self.connections.get_mut(index)
            && !connection.dirty
        {
            connection.dirty = true;
            let token = connection.token(index);
            self.dirty_connections.push(token);
        }
    }

    /// Reads on, unless a receive is in force or reading is paused.
    fn read_on(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        if connection.armed || connection.paused != 0 {
            return;
        }
        let queued = connection.outbox.as_ref().map_or(0, |outbox| outbox.queued_bytes());
        let how = match &connection.phase {
            // A peer that does not read its answers is not read from. Nothing is in the kernel's
            // hands, either, when a request that waits for that moves the connection.
            Phase::Http(exchange)
                if !exchange.wants_input()
                    || connection.blocked
                    || queued > http::ANSWERS_BYTES_MAX =>
            {
                return;
            }
            // It has moved: the socket is the member's as soon as everything is sent.
            Phase::Probing(probe) if probe.has_moved() => return,
            // Nor is one that does not read what it is answered before it moves.
            Phase::Probing(_) if connection.blocked || queued > http::ANSWERS_BYTES_MAX => return,
            Phase::Http(_) | Phase::Probing(_) => Receive::Once,
            Phase::Member(_) | Phase::Moving(_) | Phase::Closing { .. } => Receive::Stream,
            Phase::Busy => return,
        };
        let token = connection.token(index);
        let Some(socket) = &mut connection.socket else { return };
        connection.armed = true;
        connection.stopping = false;
        self.net.receive(socket, token, how);
    }

    /// Stops reading for the reason `why` (a `PAUSED_` constant).
    fn pause(&mut self, index: u32, why: u8) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        connection.paused |= why;
        if connection.armed && !connection.stopping {
            connection.stopping = true;
            let token = connection.token(index);
            self.net.stop_receiving(token);
        }
    }

    /// Withdraws a reason not to read.
    fn resume(&mut self, index: u32, why: u8) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        connection.paused &= !why;
        connection.heard = Moment::of(self.now.at);
        self.read_on(index);
        self.answer_post(index);
        self.set_connection_timer(index);
    }

    /// Lends a session's machine for one call, then drains what it asked for. `None` if the session
    /// is gone, or ended by a panic in this call.
    fn call<R>(
        &mut self,
        index: u32,
        call: impl FnOnce(&mut dyn protocol::Machine, &mut Effects<'_>) -> R,
    ) -> Option<R> {
        let random = self.next_random();
        let session = self.sessions.get_mut(index)?;
        let recorded = session.journal.as_ref().map_or(0, |cursor| cursor.last());
        let recorder = self.journaling.recorder(&mut session.journal, &session.name);
        let mut outcome = std::mem::take(&mut self.outcome);
        let mut fx = Effects::new(
            self.now,
            random,
            &self.counters,
            &mut session.history,
            &mut self.rings,
            &mut outcome,
        )
        .with_recorder(recorder);
        let machine = &mut *session.machine;
        // A machine that panicked is never called again, so nobody sees what it left half done.
        let caught =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call(machine, &mut fx)));
        self.note_recorded(index, recorded);
        match caught {
            Ok(result) => {
                self.drain_effects(index, outcome);
                Some(result)
            }
            Err(_) => {
                self.end_after_panic(index);
                None
            }
        }
    }
}

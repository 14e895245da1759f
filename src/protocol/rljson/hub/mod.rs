//! The hub: routes of refs, what the refs name, and clients that ask each other for it through us
//! (specs: rljson §7, §8).
//!
//! | module | what |
//! |---|---|
//! | [`ask`], [`answer`], [`filter`] | what clients can ask for, and the forms of answers |
//! | [`reads`], [`writes`] | what is answered from the shelf, and what is put there |
//! | [`pulls`], [`forward`], [`verdict`] | what has to be asked of other clients, and what they answer |
//! | [`lanes`], [`refs`], [`peers`] | routes, what is announced on them, and who is there |
//! | [`coming`], [`arrivals`], [`fill`] | refs whose trees are not here yet, and how those are fetched |
//! | [`cross`] | merging refs that crossed |
//! | [`blobs`], [`fetch`] | blobs, which are on disk: how they get from there, and there |
//! | [`keep`], [`unkept`], [`load`] | what outlives the process, what waits until it does, and how the next has it |
//!
//! Invariants:
//! - Every request with an acknowledgement is answered, and once.
//! - A row that is given, kept or merged has the hash it is asked for by; so has a whole blob.
//! - A client is never asked for what it waits for itself, nor anybody who shares no route with it.
//! - A ref is in the journal, and its tree here as far as there is room, before anybody is told of it.
//!
//! # Who may read what
//!
//! A hash is a capability: nobody guesses one, and who knows it was told by somebody who has what it
//! names. So rows by hash and blobs by id are given to whoever names them. All else, which would tell
//! hashes, is a route's own: its refs, rows that are searched for, lists of blobs, and questions to
//! its clients. A client is on the routes that it announces on or names when it connects (`route` in
//! `auth` or in the query). Who names none is on the only route there is, as with the original; with
//! several it is on none.

mod access;
mod answer;
mod arrivals;
mod ask;
mod blobs;
mod coming;
mod cross;
mod fetch;
mod fill;
mod filter;
mod forward;
mod keep;
mod lanes;
mod load;
mod peers;
mod pulls;
mod reads;
mod refs;
mod unkept;
mod verdict;
mod writes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::Config;
use super::shelf::Shelf;
use crate::codec::json::Raw;
use crate::codec::rljson::Hash;
use crate::protocol::keeper::Keeper;
use crate::protocol::socketio::{
    AckId, Application, Event, Io, Refusal, Socket, Unanswered, Values,
};
use crate::protocol::{self, Hello, Loaded, Open};
use crate::session::Instant;
use crate::session::blobs::{BlobDone, BlobError};
use crate::session::effects::RecordName;
use crate::session::journal::Entries;
pub(super) use access::route_name;
use answer::Form;
use fill::FillId;
use lanes::{LaneId, Lanes};
use load::Phase;
use peers::Peer;
use pulls::Pulls;
use reads::Group;
use unkept::Unkept;

#[cfg(test)]
pub(super) use coming::{ASK_AFTER, COMING_OF_CLIENT_MAX, PARKED_MAX, SILENT_WITHIN, TELL_AFTER};
#[cfg(test)]
pub(super) use peers::WAITING_MAX;
#[cfg(test)]
pub(super) use pulls::{ANSWER_WITHIN, HEDGE_AFTER, LOAD_MAX, PULLS_MAX};

/// Rows that are walked in one call, beyond which other clients are looked after first.
const WALK_ROWS_MAX: usize = 2_000;
/// What a client is told whose request is one too many.
const BUSY: &str = "too many requests wait already";

/// All that is known.
#[derive(Debug)]
pub(super) struct Hub {
    key: Box<str>,
    config: Arc<protocol::Config>,
    durable: bool,
    phase: Phase,
    /// What is in the journal and in no record, until the record is loaded.
    recovered: Option<Entries>,
    keeper: Keeper,
    /// What the journal has and no record, in bytes.
    unstored_bytes: usize,
    /// The process stops: what is stored stays as it is.
    drained: bool,
    /// Until when it is not forgotten, though nobody is there.
    lingers_until: Option<Instant>,
    shelf: Shelf,
    /// When it is worth trying again to make room on the shelf.
    clean_at: Instant,
    /// Types of tables.
    kinds: BTreeMap<Box<str>, Box<str>>,
    lanes: Lanes,
    peers: BTreeMap<Socket, Peer>,
    /// Clients that came so far.
    came: u64,
    pulls: Pulls,
    groups: BTreeMap<u64, Group>,
    next_group: u64,
    /// Trees that are to be walked on.
    walks: VecDeque<FillId>,
    /// Routes whose merges may go on.
    merges: VecDeque<LaneId>,
    /// Directories whose trees were fetched as a whole, and are there unless something was dropped.
    whole: BTreeSet<(LaneId, Hash)>,
    storing: Option<keep::Storing>,
    unkept: Unkept,
    /// The next entry of the journal.
    entry: Vec<u8>,
    blobs: blobs::Store,
}

impl Hub {
    /// A hub that nobody is in.
    pub(super) fn new(open: Open) -> Self {
        let config = &open.config.rljson;
        Self {
            key: open.key.into(),
            shelf: Shelf::new(config.row_bytes_max, config.blob_bytes_max),
            durable: open.durable,
            phase: if open.durable { Phase::New } else { Phase::Open },
            recovered: None,
            keeper: Keeper::default(),
            unstored_bytes: 0,
            drained: false,
            lingers_until: None,
            clean_at: open.now.at,
            kinds: BTreeMap::new(),
            lanes: Lanes::default(),
            peers: BTreeMap::new(),
            came: 0,
            pulls: Pulls::default(),
            groups: BTreeMap::new(),
            next_group: 0,
            walks: VecDeque::new(),
            merges: VecDeque::new(),
            whole: BTreeSet::new(),
            storing: None,
            unkept: Unkept::default(),
            entry: Vec::new(),
            blobs: blobs::Store::default(),
            config: open.config,
        }
    }

    fn config(&self) -> &Config {
        &self.config.rljson
    }

    /// A client is there.
    fn welcome(&mut self, socket: Socket, route: Option<&str>, io: &mut Io<'_, '_>) {
        let Some(peer) = self.peers.get(&socket) else { return };
        let named = route.filter(|route| peer.rights.may_read(route));
        if let Some(lane) = named.and_then(|route| self.lane(route)) {
            self.enter(socket, lane, io);
        } else if let Some(only) = self.lanes.only() {
            self.place(socket, only, io.at());
        }
    }

    /// Does what a client says.
    fn hear(
        &mut self,
        socket: Socket,
        name: &str,
        args: &Values<'_>,
        ack: Option<AckId>,
        io: &mut Io<'_, '_>,
    ) {
        if name.starts_with('/') {
            let payload = args.values.clone().next();
            self.hear_ref(socket, name, payload, io);
            if let Some(ack) = ack {
                answer::succeed(io, (socket, ack), Form::Io, b"null");
            }
        } else if let Some(ack) = ack {
            self.answer(socket, name, args, ack, io);
        }
    }

    /// What follows every call.
    fn settle(&mut self, io: &mut Io<'_, '_>) {
        let mut rows_left = WALK_ROWS_MAX;
        loop {
            self.drive(io);
            if let Some(lane) = self.merges.pop_front() {
                self.merge(lane, io);
            } else if rows_left > 0
                && let Some(tree) = self.walks.pop_front()
            {
                rows_left = rows_left.saturating_sub(self.walk(tree, rows_left, io).max(1));
            } else if self.fetches_more() {
                self.fetch_wanted(io);
            } else {
                break;
            }
        }
        self.store_if_due(io);
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn invariants(&self) {
        self.pulls.invariants();
        assert!(self.merges.is_empty());
        for (socket, peer) in &self.peers {
            for lane in &peer.lanes {
                let lane = self.lanes.get(*lane).expect("is there");
                assert_eq!(lane.sockets.get(&peer.came), Some(socket));
            }
        }
        for (_, lane) in self.lanes.iter() {
            assert!(lane.sockets.values().all(|socket| self.peers.contains_key(socket)));
            assert_eq!(lane.sockets.len(), lane.route.clients());
        }
    }
}

impl Application for Hub {
    fn on_open(&mut self, io: &mut Io<'_, '_>) {
        self.load(io);
    }

    fn on_connect(
        &mut self,
        socket: Socket,
        hello: &Hello,
        auth: Option<Raw<'_>>,
        io: &mut Io<'_, '_>,
    ) -> Result<(), Refusal> {
        let rights = access::rights(hello, auth, self.config())?;
        let route = access::route(hello, auth);
        self.came += 1;
        self.lingers_until = None;
        self.peers.insert(socket, Peer::new(self.came, rights, io.at()));
        self.load(io);
        match &mut self.phase {
            Phase::Loading(waiting) => waiting.connect(socket, route),
            _ => self.welcome(socket, route.as_deref(), io),
        }
        self.settle(io);
        Ok(())
    }

    fn on_event(&mut self, socket: Socket, event: Event<'_>, io: &mut Io<'_, '_>) {
        // A number is the name of nothing.
        let name = event.name.to_string_value().unwrap_or_else(|| event.name.as_str().into());
        if let Phase::Loading(waiting) = &mut self.phase {
            if !waiting.hear(socket, &event)
                && let Some(ack) = event.ack
            {
                answer::refuse(io, (socket, ack), Form::Io, "the hub is not ready yet");
            }
            return;
        }
        self.hear(socket, &name, &event.args, event.ack, io);
        self.settle(io);
    }

    fn on_answer(
        &mut self,
        socket: Socket,
        request: u64,
        answer: Result<Values<'_>, Unanswered>,
        io: &mut Io<'_, '_>,
    ) {
        self.take_answer(socket, request, answer, io);
        self.settle(io);
    }

    fn on_disconnect(&mut self, socket: Socket, io: &mut Io<'_, '_>) {
        if let Phase::Loading(waiting) = &mut self.phase {
            waiting.withdraw(socket);
        }
        self.depart(socket, io);
        if self.peers.is_empty() {
            self.keeper.hurry(io.at());
            self.lingers_until = Some(io.at() + Duration::from_millis(self.config().linger_ms));
        }
        self.settle(io);
    }

    fn on_deadline(&mut self, io: &mut Io<'_, '_>) {
        while let Some(pull) = self.pulls.expire(io.at()) {
            self.give_up(pull, true, io);
        }
        self.on_refs_due(io);
        self.take_up_waiting(io);
        self.blobs.put_off_until = self.blobs.put_off_until.filter(|until| *until > io.at());
        self.lingers_until = self.lingers_until.filter(|until| *until > io.at());
        self.settle(io);
    }

    fn deadline(&self) -> Option<Instant> {
        let walk = (!self.walks.is_empty()).then(Instant::default);
        let own = self.pulls.deadline().into_iter().chain(self.lanes.deadline());
        let store = self.store_at().into_iter().chain(self.unkept.until);
        let store = store.chain(self.blobs.put_off_until);
        own.chain(walk).chain(self.lingers_until).chain(store).min()
    }

    fn on_loaded(&mut self, ticket: u32, records: Loaded, io: &mut Io<'_, '_>) {
        self.take_loaded(ticket, records, io);
        self.settle(io);
    }

    fn on_recovered(&mut self, entries: Entries, io: &mut Io<'_, '_>) {
        self.recovered = Some(entries);
        self.load(io);
    }

    fn on_checkpoint(&mut self, io: &mut Io<'_, '_>) {
        self.checkpoint(io);
        self.settle(io);
    }

    fn on_stored(&mut self, _: &RecordName, result: Result<(), String>, io: &mut Io<'_, '_>) {
        self.take_stored(result.is_ok(), io);
        self.settle(io);
    }

    fn on_blob(&mut self, ticket: u32, result: Result<BlobDone, BlobError>, io: &mut Io<'_, '_>) {
        self.take_blob(ticket, result, io);
        self.settle(io);
    }

    fn on_drain(&mut self, io: &mut Io<'_, '_>) {
        self.store_at_the_end(io);
    }

    fn is_over(&self) -> bool {
        self.may_be_forgotten()
    }

    fn describe(&self) -> String {
        let (lanes, clients) = (self.lanes.len(), self.peers.len());
        format!(
            "{} {clients} clients, {lanes} routes, {} row bytes",
            self.key,
            self.shelf.row_bytes()
        )
    }
}

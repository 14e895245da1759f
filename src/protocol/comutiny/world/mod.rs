//! The world: who is in it, what its clients ask for, and what they are answered.

pub(super) mod join;
mod keep;
mod talk;

use std::sync::Arc;

use super::chat::Chat;
use super::fault::Fault;
use super::identity;
use super::players::{Order, Players};
use super::{Config, DEPTH_MAX};
use crate::codec::json::{self, Raw, write_string};
use crate::protocol::keeper::Keeper;
use crate::protocol::socketio::{AckId, Application, Event, Io, Refusal, Socket};
use crate::protocol::{self, Hello, Loaded, Open};
use crate::session::effects::RecordName;
use crate::session::journal::Entries;
use crate::session::map::Map;
use crate::session::{Instant, MemberId};

use keep::Phase;

/// What the buffer for answers may keep between calls, in bytes.
const OUT_BYTES_KEPT: usize = 64 << 10;

/// The world.
#[derive(Debug)]
pub(super) struct World {
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
    /// Clients that are connected and have not been sent away.
    seats: Map<MemberId, Seat>,
    players: Players,
    chat: Chat,
    /// Players whose newest state is held back, in the order they were changed.
    untold: Vec<Order>,
    /// When they must be told of.
    tell_at: Option<Instant>,
    /// What is said next.
    out: Vec<u8>,
}

/// A client.
#[derive(Debug)]
struct Seat {
    /// Whom it plays.
    plays: Option<Order>,
    /// Whom it has shown to be.
    subject: Option<Box<str>>,
    /// When its allowance of joins would be full.
    joins_full_at: Instant,
}

/// What a client can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Join,
    Update,
    Chat,
    Leave,
}

impl Ask {
    /// Everything else is ignored.
    fn by_name(name: Raw<'_>) -> Option<Self> {
        let all = [
            ("player:update", Self::Update),
            ("chat:message", Self::Chat),
            ("player:join", Self::Join),
            ("player:leave", Self::Leave),
        ];
        all.into_iter().find(|(own, _)| name.is_string_of(own)).map(|(_, ask)| ask)
    }
}

impl World {
    /// The world, empty.
    pub(super) fn new(open: Open) -> Self {
        Self {
            key: open.key.into(),
            config: open.config,
            durable: open.durable,
            phase: if open.durable { Phase::New } else { Phase::Open },
            recovered: None,
            keeper: Keeper::default(),
            unstored_bytes: 0,
            drained: false,
            seats: Map::default(),
            players: Players::default(),
            chat: Chat::default(),
            untold: Vec::new(),
            tell_at: None,
            out: Vec::new(),
        }
    }

    fn config(&self) -> &Config {
        &self.config.comutiny
    }

    /// Shows a client the world.
    fn show(&mut self, socket: Socket, io: &mut Io<'_, '_>) {
        self.out.clear();
        self.write_snapshot(io);
        io.emit(socket, "world:state", &[&self.out]);
    }

    /// Appends the snapshot to what is said next.
    fn write_snapshot(&mut self, io: &Io<'_, '_>) {
        self.chat.greet(io.fx.now, io.fx.random);
        let catalogue = &self.config.comutiny.catalogue;
        let out = &mut self.out;
        out.extend_from_slice(b"{\"world\":");
        out.extend_from_slice(catalogue.world.as_bytes());
        out.extend_from_slice(b",\"players\":");
        self.players.write(out);
        out.extend_from_slice(b",\"chat\":");
        self.chat.write(out);
        out.extend_from_slice(b",\"spriteAtlas\":");
        out.extend_from_slice(catalogue.atlas.as_bytes());
        out.push(b'}');
    }

    /// Does what a client asks for, and answers it.
    fn hear(
        &mut self,
        socket: Socket,
        ask: Ask,
        payload: Option<Raw<'_>>,
        ack: Option<AckId>,
        io: &mut Io<'_, '_>,
    ) {
        self.out.clear();
        // Whoever was sent away may have said something before it knew.
        if !self.seats.contains_key(&socket.member) {
            return;
        }
        let result = match ask {
            Ask::Join => self.join(socket, payload, io),
            Ask::Update => self.update(socket, payload, io),
            Ask::Chat => self.talk(socket, payload, io),
            Ask::Leave => {
                self.leave(socket, io);
                self.out.clear();
                self.out.extend_from_slice(b"{\"ok\":true}");
                Ok(())
            }
        };
        if let Err(fault) = result {
            self.refuse(fault);
        }
        if let Some(ack) = ack {
            io.acknowledge(socket, ack, &[&self.out]);
        }
    }

    /// Makes a refusal what is said next.
    fn refuse(&mut self, fault: Fault) {
        self.out.clear();
        self.out.extend_from_slice(b"{\"ok\":false,\"message\":");
        write_string(&mut self.out, &fault.to_string());
        self.out.push(b'}');
    }

    /// What follows every call.
    fn settle(&mut self, io: &mut Io<'_, '_>) {
        self.out.clear();
        self.out.shrink_to(OUT_BYTES_KEPT);
        self.store_if_due(io);
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn invariants(&self) {
        self.players.invariants();
        self.chat.invariants();
        let mut played: Vec<_> = self.seats.values().filter_map(|seat| seat.plays).collect();
        played.sort_unstable();
        let count = played.len();
        played.dedup();
        assert_eq!(count, played.len(), "a player has two owners");
        assert_eq!(count, self.players.len(), "a player has no owner");
        for (member, seat) in &self.seats {
            let owner = seat.plays.map(|order| self.players.get(order).map(|it| it.owner.member));
            assert!(owner.is_none_or(|owner| owner == Some(*member)));
        }
        assert_eq!(self.untold.is_empty(), self.tell_at.is_none());
    }
}

impl Application for World {
    /// Who connects is shown the world: once on a connection, for no more than it costs to open one.
    fn may_return(&self) -> bool {
        false
    }

    fn on_open(&mut self, io: &mut Io<'_, '_>) {
        self.load(io);
    }

    fn on_connect(
        &mut self,
        socket: Socket,
        hello: &Hello,
        _: Option<Raw<'_>>,
        io: &mut Io<'_, '_>,
    ) -> Result<(), Refusal> {
        let subject = identity::subject(self.config(), hello, io.fx.now.wall_ms);
        let seat = Seat { plays: None, subject, joins_full_at: io.at() };
        self.seats.insert(socket.member, seat);
        self.load(io);
        match &mut self.phase {
            Phase::Loading(waiting) => waiting.connect(socket),
            _ => self.show(socket, io),
        }
        self.settle(io);
        Ok(())
    }

    fn on_event(&mut self, socket: Socket, event: Event<'_>, io: &mut Io<'_, '_>) {
        let Some(ask) = Ask::by_name(event.name) else { return };
        let payload = event.args.values.clone().next();
        if let Phase::Loading(waiting) = &mut self.phase {
            if !waiting.hear(socket, ask, payload, event.ack)
                && let Some(ack) = event.ack
            {
                self.refuse(Fault::NotReady);
                io.acknowledge(socket, ack, &[&self.out]);
            }
        } else {
            self.hear(socket, ask, payload, event.ack, io);
        }
        self.settle(io);
    }

    fn on_disconnect(&mut self, socket: Socket, io: &mut Io<'_, '_>) {
        if let Phase::Loading(waiting) = &mut self.phase {
            waiting.withdraw(socket);
        }
        self.leave(socket, io);
        self.seats.remove(&socket.member);
        if self.seats.is_empty() {
            self.keeper.hurry(io.at());
        }
        self.settle(io);
    }

    fn on_deadline(&mut self, io: &mut Io<'_, '_>) {
        if self.tell_at.is_some_and(|at| at <= io.at()) {
            self.tell_all(io);
        }
        self.settle(io);
    }

    fn deadline(&self) -> Option<Instant> {
        self.tell_at.into_iter().chain(self.store_at()).min()
    }

    fn on_loaded(&mut self, _: u32, records: Loaded, io: &mut Io<'_, '_>) {
        let Phase::Loading(waiting) = self.restore(records, io) else { return };
        for input in waiting.into_inputs() {
            match input {
                keep::Input::Connect(socket) => self.show(socket, io),
                keep::Input::Ask { socket, ask, payload, ack } => {
                    // It was valid when it came.
                    let payload = payload.as_deref();
                    let payload = payload.and_then(|text| json::parse(text, DEPTH_MAX).ok());
                    self.hear(socket, ask, payload, ack, io);
                }
            }
        }
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
        self.keeper.end(result.is_ok(), io.at());
        self.settle(io);
    }

    /// Everybody is told of other sprites, and shown another world.
    fn on_configured(&mut self, config: &Arc<protocol::Config>, io: &mut Io<'_, '_>) {
        let before = std::mem::replace(&mut self.config, Arc::clone(config));
        let (old, new) = (&before.comutiny.catalogue, &config.comutiny.catalogue);
        // Those who wait for what is stored are shown the world then.
        if old.world != new.world && !matches!(self.phase, Phase::Loading(_)) {
            self.out.clear();
            self.write_snapshot(io);
            io.broadcast("world:state", &[&self.out]);
        }
        if old.atlas != new.atlas {
            io.broadcast("sprites:atlasUpdated", &[new.atlas.as_bytes()]);
        }
        self.settle(io);
    }

    fn on_drain(&mut self, io: &mut Io<'_, '_>) {
        self.store_at_the_end(io);
    }

    fn is_over(&self) -> bool {
        match self.phase {
            Phase::Open if self.durable => self.keeper.is_clean(),
            Phase::Open => self.chat.is_fresh(),
            Phase::New | Phase::Unavailable => true,
            Phase::Loading(_) => false,
        }
    }

    fn describe(&self) -> String {
        format!("{} {}", self.key, self.players.len())
    }
}

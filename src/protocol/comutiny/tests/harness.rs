//! A shard in miniature: the world, its clients, a disk, a journal, and a clock that the test turns.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::world::World;
use super::super::{Config, WORLD};
use crate::protocol::fake_storage::{Disk, FakeStorage};
use crate::protocol::receiver::{Receiver, Sent};
use crate::protocol::socketio::Server;
use crate::protocol::{self, Hello, Machine, Message, Open};
use crate::session::effects::Effect;
use crate::session::journal::Entries;
use crate::session::{
    Close, Counters, Effects, History, Instant, MemberId, Now, Outcome, RingPool,
};

/// A client; names stay valid after it is gone.
pub(super) type Name = usize;

/// The wall clock when the world begins.
pub(super) const EPOCH_MS: u64 = 1_700_000_000_000;

/// The world and everything around it.
pub(super) struct Shard {
    server: Server<World>,
    clients: Vec<Client>,
    history: History,
    pool: RingPool,
    outcome: Outcome,
    counters: Counters,
    config: Arc<protocol::Config>,
    pub(super) storage: FakeStorage,
    /// Nothing can be recorded.
    pub(super) read_only: bool,
    /// The storage answers only when the test says so.
    pub(super) holds_storage: bool,
    now_us: u64,
    random: u64,
}

/// A connection.
#[derive(Default)]
pub(super) struct Client {
    member: Option<MemberId>,
    receiver: Receiver,
    /// What it was sent and the test has not looked at.
    inbox: VecDeque<String>,
    heard: Vec<Heard>,
    acks: BTreeMap<u64, Value>,
    next_ack: u64,
    /// It does not read.
    pub(super) is_stuck: bool,
    /// The server has closed it.
    pub(super) is_closed: bool,
}

/// An event of the server: its name and its only argument.
pub(super) type Heard = (String, Value);

impl Shard {
    pub(super) fn new(config: Config) -> Self {
        Self::start(config, false, Disk::new(), Entries::default(), 1)
    }

    pub(super) fn durable(config: Config) -> Self {
        Self::start(config, true, Disk::new(), Entries::default(), 1)
    }

    /// The next process, on this disk and with these entries in the journal.
    pub(super) fn crashed(&self, disk: Disk, entries: Entries) -> Self {
        Self::start(self.config.comutiny.clone(), true, disk, entries, self.storage.epoch() + 1)
    }

    fn start(config: Config, durable: bool, disk: Disk, entries: Entries, epoch: u32) -> Self {
        let config = Arc::new(protocol::Config { comutiny: config, ..Default::default() });
        let now = Now { at: Instant::default(), wall_ms: EPOCH_MS };
        let open = Open { key: WORLD.to_owned(), now, config: config.clone(), durable };
        let storage = FakeStorage::new(WORLD, durable, disk, &entries, epoch);
        let within = Duration::from_millis(config.comutiny.recovery_ms);
        let server = Server::new(World::new(open), 0);
        let mut shard = Self {
            server: if within.is_zero() { server } else { server.with_recovery(within) },
            clients: Vec::new(),
            history: History::new(),
            pool: RingPool::default(),
            outcome: Outcome::default(),
            counters: Counters::default(),
            config,
            storage,
            read_only: false,
            holds_storage: false,
            now_us: u64::from(epoch) * 1_000_000,
            random: 1,
        };
        if !entries.is_empty() {
            shard.call(|machine, fx| machine.on_recovered(entries, fx));
        }
        shard
    }

    pub(super) fn seeded(mut self, seed: u64) -> Self {
        self.random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
        self
    }

    /// A number below `bound`.
    pub(super) fn pick(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) as usize % bound
    }

    /// A client connects to the namespace.
    pub(super) fn connect(&mut self) -> Name {
        self.connect_as(Hello::default())
    }

    pub(super) fn connect_as(&mut self, hello: Hello) -> Name {
        let name = self.enter(hello);
        self.send(name, "0");
        let connected = self.clients[name].inbox.pop_front().expect("is answered");
        assert!(connected.starts_with("40{\"sid\":\""), "{connected}");
        name
    }

    /// A client opens a connection.
    pub(super) fn enter(&mut self, hello: Hello) -> Name {
        let name = self.clients.len();
        // Used again as soon as it is free, as a shard does.
        let is_free = |member: &MemberId| self.name(*member).is_none();
        let member = (0..).map(MemberId).find(is_free).expect("one is free");
        self.clients.push(Client { member: Some(member), ..Client::default() });
        self.call(|machine, fx| machine.on_enter(member, hello, fx)).expect("enters");
        name
    }

    /// A client that has joined, and looked at what it was told.
    pub(super) fn join(&mut self, id: &str) -> Name {
        let name = self.connect();
        let ack = self.ask(name, "player:join", json!({"playerId": id}));
        assert_eq!(ack["ok"], true, "{ack}");
        self.take(name);
        name
    }

    /// A client sends a packet.
    pub(super) fn send(&mut self, name: Name, text: &str) {
        self.offer(name, text).expect("a packet that is in order");
    }

    /// A client sends a packet that may not be in order.
    pub(super) fn offer(&mut self, name: Name, text: &str) -> Result<(), Close> {
        let member = self.clients[name].member.expect("is there");
        self.call(|machine, fx| machine.on_message(member, Message::Text(text), fx))
    }

    /// A client says something, and wants no answer.
    pub(super) fn say(&mut self, name: Name, event: &str, payload: Value) {
        self.send(name, &format!("2{}", json!([event, payload])));
    }

    /// A client asks for something; the number of its answer.
    pub(super) fn begin(&mut self, name: Name, event: &[Value]) -> u64 {
        let ack = self.clients[name].next_ack;
        self.clients[name].next_ack += 1;
        self.send(name, &format!("2{ack}{}", json!(event)));
        ack
    }

    /// What a client was answered.
    pub(super) fn answer(&mut self, name: Name, ack: u64) -> Option<Value> {
        self.sort(name);
        self.clients[name].acks.remove(&ack)
    }

    /// A client says something, and is answered.
    pub(super) fn ask(&mut self, name: Name, event: &str, payload: Value) -> Value {
        let ack = self.begin(name, &[json!(event), payload]);
        self.answer(name, ack).expect("is answered")
    }

    /// What a client was told since the last time.
    pub(super) fn take(&mut self, name: Name) -> Vec<Heard> {
        self.sort(name);
        std::mem::take(&mut self.clients[name].heard)
    }

    /// Clients have looked at what they were told so far.
    pub(super) fn forget(&mut self, names: &[Name]) {
        names.iter().for_each(|name| drop(self.take(*name)));
    }

    /// Tells answers from events.
    fn sort(&mut self, name: Name) {
        let client = &mut self.clients[name];
        for text in client.inbox.drain(..) {
            if let Some(event) = text.strip_prefix("42") {
                client.heard.push(serde_json::from_str(event).expect("a name and a value"));
                continue;
            }
            let text = text.strip_prefix("43").unwrap_or_else(|| panic!("an answer: {text}"));
            let (ack, value) = text.split_at(text.find('[').expect("an array"));
            let [value] = serde_json::from_str(value).expect("one value");
            let ack = ack.parse().expect("a number");
            assert!(client.acks.insert(ack, value).is_none(), "answered twice");
        }
    }

    /// What a client was sent since the last time, as it was sent.
    pub(super) fn take_texts(&mut self, name: Name) -> Vec<String> {
        self.clients[name].inbox.drain(..).collect()
    }

    pub(super) fn client(&mut self, name: Name) -> &mut Client {
        &mut self.clients[name]
    }

    /// A client's connection ends.
    pub(super) fn end(&mut self, name: Name) {
        if let Some(member) = self.clients[name].member.take() {
            self.clients[name].receiver = Receiver::default();
            self.call(|machine, fx| machine.on_leave(member, 1006, fx));
        }
    }

    /// What whoever connects now is shown.
    pub(super) fn snapshot(&mut self) -> Value {
        let name = self.connect();
        let mut heard = self.take(name);
        self.end(name);
        assert_eq!(heard.len(), 1, "{heard:?}");
        let (event, snapshot) = heard.remove(0);
        assert_eq!(event, "world:state");
        snapshot
    }

    /// Time passes; deadlines are met.
    pub(super) fn pass(&mut self, ms: u64) {
        let end_us = self.now_us + ms * 1_000;
        while let Some(due) = self.server.deadline().filter(|due| due.as_micros() <= end_us) {
            self.now_us = self.now_us.max(due.as_micros());
            self.call(|machine, fx| machine.on_deadline(fx));
        }
        self.now_us = end_us;
    }

    /// Settings change.
    pub(super) fn configure(&mut self, config: Config) {
        let config = Arc::new(protocol::Config { comutiny: config, ..Default::default() });
        self.call(|machine, fx| machine.on_configured(&config, fx));
    }

    pub(super) fn checkpoint(&mut self) {
        self.call(|machine, fx| machine.on_checkpoint(fx));
    }

    pub(super) fn stop(&mut self) {
        self.call(|machine, fx| machine.on_drain(fx));
    }

    pub(super) fn is_over(&self) -> bool {
        self.server.is_over()
    }

    pub(super) fn describe(&self) -> String {
        self.server.describe()
    }

    /// The storage answers.
    pub(super) fn answer_storage(&mut self) {
        while let Some(answer) = self.storage.next_answer() {
            self.call_once(|machine, fx| answer.tell(machine, fx));
        }
    }

    /// Whether the journal has something that no record has.
    pub(super) fn needs_journal(&self) -> bool {
        self.storage.needs_journal()
    }

    /// All that was recorded so far, whether or not it is stored meanwhile.
    pub(super) fn recorded(&self) -> Entries {
        self.storage.recorded()
    }

    /// What of it the journal still has.
    pub(super) fn journal(&self) -> Entries {
        self.storage.remaining()
    }

    fn call<R>(&mut self, act: impl FnOnce(&mut dyn Machine, &mut Effects<'_>) -> R) -> R {
        let result = self.call_once(act);
        if !self.holds_storage {
            self.answer_storage();
        }
        result
    }

    /// One call of the machine and what follows from it here.
    fn call_once<R>(&mut self, act: impl FnOnce(&mut dyn Machine, &mut Effects<'_>) -> R) -> R {
        self.pick(1);
        let wall_ms = EPOCH_MS + self.now_us / 1_000;
        let now = Now { at: Instant::from_micros(self.now_us), wall_ms };
        self.outcome.clear();
        let recorder = self.storage.recorder(self.read_only);
        let (history, pool) = (&mut self.history, &mut self.pool);
        let mut fx =
            Effects::new(now, self.random, &self.counters, history, pool, &mut self.outcome)
                .with_recorder(recorder);
        let result = act(&mut self.server, &mut fx);
        self.server.app().invariants();
        self.server.invariants();
        let closed = self.drain();
        self.flush();
        for name in closed {
            self.clients[name].is_closed = true;
            self.end(name);
        }
        result
    }

    fn drain(&mut self) -> Vec<Name> {
        let mut closed = Vec::new();
        for effect in std::mem::take(&mut self.outcome.effects) {
            match effect {
                Effect::Reply { to, at, start, end } => {
                    let bytes = &self.outcome.bytes[start..end];
                    if let Some(name) = self.name(to) {
                        self.clients[name].receiver.outbox.push(at, &[bytes]);
                    }
                }
                Effect::Listen { member, from } => {
                    if let Some(name) = self.name(member) {
                        self.clients[name].receiver.cursor.get_or_insert(from);
                    }
                }
                Effect::Unlisten { member, at } => {
                    if let Some(name) = self.name(member) {
                        let Receiver { outbox, cursor } = &mut self.clients[name].receiver;
                        if let Some(from) = cursor.take() {
                            outbox.unlisten(from, at, &self.history);
                        }
                    }
                }
                Effect::Skip { member, from, to } => {
                    if let Some(name) = self.name(member) {
                        self.clients[name].receiver.skip(from, to);
                    }
                }
                Effect::Close { member, .. } => closed.extend(self.name(member)),
                Effect::Load { ticket, records } => self.storage.load(ticket, &records),
                Effect::Store { record, content, base } => {
                    self.storage.store(record, content, base);
                }
                Effect::Admit { .. } => {}
                effect => panic!("the world never asks for {effect:?}"),
            }
        }
        closed
    }

    fn name(&self, member: MemberId) -> Option<Name> {
        self.clients.iter().position(|client| client.member == Some(member))
    }

    /// Sends what was said to everybody who reads.
    pub(super) fn flush(&mut self) {
        for client in self.clients.iter_mut().filter(|it| it.member.is_some()) {
            if client.is_stuck {
                // A shard does it when there is more of it.
                let Receiver { outbox, cursor } = &mut client.receiver;
                if let Some(cursor) = cursor.as_mut() {
                    outbox.condense(cursor, &self.history);
                }
            } else {
                let sent = client.receiver.send(&self.history);
                client.inbox.extend(sent.into_iter().map(Sent::into_text));
            }
        }
        self.history.trim(self.history.head(), &mut self.pool);
    }
}

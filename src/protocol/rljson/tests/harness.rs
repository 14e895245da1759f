//! A shard in miniature: the hub, its clients, a disk, a journal, and a clock that the test turns.

use std::sync::Arc;

use serde_json::{Value, json};

use super::serve;
use crate::protocol::fake_storage::{Disk, FakeStorage};
use crate::protocol::receiver::{Receiver, Sent};
use crate::protocol::rljson::hub::Hub;
use crate::protocol::rljson::{Config, HUB};
use crate::protocol::socketio::Server;
use crate::protocol::socketio::said::Said;
use crate::protocol::{self, Hello, Machine, Message, Open};
use crate::session::effects::Effect;
use crate::session::journal::Entries;
use crate::session::{Counters, Effects, History, Instant, MemberId, Now, Outcome, RingPool};

/// A client; names stay valid after it is gone.
pub(super) type Name = usize;

/// The wall clock when the hub begins.
pub(super) const EPOCH_MS: u64 = 1_700_000_000_000;

/// The hub and everything around it.
pub(super) struct Shard {
    server: Server<Hub>,
    clients: Vec<Client>,
    history: History,
    pool: RingPool,
    outcome: Outcome,
    pub(super) counters: Counters,
    config: Arc<protocol::Config>,
    pub(super) storage: FakeStorage,
    /// Nothing can be recorded.
    pub(super) is_read_only: bool,
    /// The storage answers only when the test says so.
    pub(super) holds_storage: bool,
    now_us: u64,
    random: u64,
}

/// A connection.
#[derive(Default)]
struct Client {
    member: Option<MemberId>,
    receiver: Receiver,
    said: Vec<Said>,
    next_ack: u64,
}

/// A request of the server.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    pub(super) ack: u64,
    pub(super) name: String,
    pub(super) args: Vec<Value>,
}

impl Shard {
    pub(super) fn new(config: Config) -> Self {
        Self::start(config, false, Disk::new(), Entries::default(), 1)
    }

    pub(super) fn durable(config: Config) -> Self {
        Self::start(config, true, Disk::new(), Entries::default(), 1)
    }

    /// The next process, on this disk and with these entries in the journal.
    pub(super) fn crashed(&self, disk: Disk, entries: Entries) -> Self {
        Self::start(self.config.rljson.clone(), true, disk, entries, self.storage.epoch() + 1)
    }

    fn start(config: Config, durable: bool, disk: Disk, entries: Entries, epoch: u32) -> Self {
        let config = Arc::new(protocol::Config { rljson: config, ..Default::default() });
        let now = Now { at: Instant::default(), wall_ms: EPOCH_MS };
        let open = Open { key: HUB.to_owned(), now, config: config.clone(), durable };
        let storage = FakeStorage::new(HUB, durable, disk, &entries, epoch);
        let attachments_bytes_max = config.rljson.message_bytes_max;
        let mut shard = Self {
            server: Server::new(Hub::new(open), attachments_bytes_max),
            clients: Vec::new(),
            history: History::new(),
            pool: RingPool::default(),
            outcome: Outcome::default(),
            counters: Counters::default(),
            config,
            storage,
            is_read_only: false,
            holds_storage: false,
            now_us: u64::from(epoch) * 1_000_000,
            random: 1,
        };
        if !entries.is_empty() {
            shard.call(|machine, fx| machine.on_recovered(entries, fx));
        }
        shard
    }

    /// A client connects.
    pub(super) fn connect(&mut self) -> Name {
        self.connect_with("/socket.io/", "")
    }

    /// A client connects to this target, with this `auth`.
    pub(super) fn connect_with(&mut self, target: &str, auth: &str) -> Name {
        self.try_connect(target, auth).expect("is let in")
    }

    pub(super) fn try_connect(&mut self, target: &str, auth: &str) -> Result<Name, String> {
        let name = self.clients.len();
        // Used again as soon as it is free, as a shard does.
        let is_free = |member: &MemberId| self.name(*member).is_none();
        let member = (0..).map(MemberId).find(is_free).expect("one is free");
        self.clients.push(Client { member: Some(member), ..Client::default() });
        let hello = Hello { target: target.to_owned(), ..Hello::default() };
        self.call(|machine, fx| machine.on_enter(member, hello, fx)).expect("enters");
        let sent = self
            .call(|machine, fx| machine.on_message(member, Message::Text(&format!("0{auth}")), fx));
        sent.expect("a packet that is in order");
        match self.clients[name].said.remove(0) {
            Said::Connected => Ok(name),
            Said::Refused(why) => Err(why["message"].as_str().unwrap().to_owned()),
            other => panic!("{other:?}"),
        }
    }

    /// A client sends a packet.
    pub(super) fn send(&mut self, name: Name, text: &str, attachments: &[&[u8]]) {
        let member = self.clients[name].member.expect("is there");
        let sent = self.call(|machine, fx| machine.on_message(member, Message::Text(text), fx));
        sent.expect("a packet that is in order");
        for attachment in attachments {
            let message = Message::Binary(attachment);
            self.call(|machine, fx| machine.on_message(member, message, fx)).expect("in order");
        }
    }

    /// A client says something, and wants no answer.
    pub(super) fn say(&mut self, name: Name, event: &str, payload: Value) {
        self.send(name, &format!("2{}", json!([event, payload])), &[]);
    }

    /// A client announces a ref.
    pub(super) fn announce(&mut self, name: Name, route: &str, origin: &str, reference: &str) {
        self.say(name, route, json!({ "o": origin, "r": reference }));
    }

    /// A client asks for something; the number of its answer.
    pub(super) fn begin(&mut self, name: Name, event: &str, args: &[Value]) -> u64 {
        let ack = self.clients[name].next_ack;
        self.clients[name].next_ack += 1;
        let mut all = vec![json!(event)];
        all.extend_from_slice(args);
        self.send(name, &format!("2{ack}{}", json!(all)), &[]);
        ack
    }

    /// What a client was answered.
    pub(super) fn answer(&mut self, name: Name, ack: u64) -> Option<Vec<Value>> {
        self.whole_answer(name, ack).map(|(args, _)| args)
    }

    /// The same with attachments.
    pub(super) fn whole_answer(
        &mut self,
        name: Name,
        ack: u64,
    ) -> Option<(Vec<Value>, Vec<Vec<u8>>)> {
        let (body, attachments) = self.raw_answer(name, ack)?;
        Some((serde_json::from_str(&body).expect("an array"), attachments))
    }

    /// The same byte for byte.
    pub(super) fn raw_answer(&mut self, name: Name, ack: u64) -> Option<(String, Vec<Vec<u8>>)> {
        let said = &mut self.clients[name].said;
        let is_it = |said: &Said| matches!(said, Said::Answer { ack: own, .. } if *own == ack);
        let place = said.iter().position(is_it)?;
        match said.remove(place) {
            Said::Answer { body, attachments, .. } => Some((body, attachments)),
            _ => None,
        }
    }

    /// A client asks for something, and is answered at once.
    pub(super) fn ask(&mut self, name: Name, event: &str, args: &[Value]) -> Vec<Value> {
        let ack = self.begin(name, event, args);
        self.answer(name, ack).expect("is answered")
    }

    /// Events that a client was told since the last time; requests stay.
    pub(super) fn events(&mut self, name: Name) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        self.clients[name].said.retain(|said| match said {
            Said::Event { name, args, ack: None } => {
                events.push((name.clone(), args.first().cloned().unwrap_or(Value::Null)));
                false
            }
            _ => true,
        });
        events
    }

    /// What a client was asked since the last time.
    pub(super) fn requests(&mut self, name: Name) -> Vec<Request> {
        let mut requests = Vec::new();
        self.clients[name].said.retain(|said| match said {
            Said::Event { name, args, ack: Some(ack) } => {
                requests.push(Request { ack: *ack, name: name.clone(), args: args.clone() });
                false
            }
            _ => true,
        });
        requests
    }

    /// The same, but for what tries whether it knows newer methods: older clients never answer that.
    pub(super) fn asked(&mut self, name: Name) -> Vec<Request> {
        let mut requests = self.requests(name);
        requests.retain(|request| request.name != "readRowsByHashes");
        requests
    }

    /// A client answers a request.
    pub(super) fn reply(&mut self, name: Name, ack: u64, args: &[Value]) {
        self.send(name, &format!("3{ack}{}", json!(args)), &[]);
    }

    /// A client answers a request for a blob.
    pub(super) fn reply_blob(&mut self, name: Name, ack: u64, id: &str, size: usize, part: &[u8]) {
        self.reply_with(name, ack, &serve::part_of(id, size), part);
    }

    /// A client answers a request with something attached.
    pub(super) fn reply_with(&mut self, name: Name, ack: u64, args: &[Value], part: &[u8]) {
        self.send(name, &format!("61-{ack}{}", json!(args)), &[part]);
    }

    /// A client's connection ends.
    pub(super) fn end(&mut self, name: Name) {
        if let Some(member) = self.clients[name].member.take() {
            self.clients[name].receiver = Receiver::default();
            self.call(|machine, fx| machine.on_leave(member, 1006, fx));
        }
    }

    /// Time passes; deadlines are met.
    pub(super) fn pass(&mut self, ms: u64) {
        let end_us = self.now_us + ms * 1_000;
        let mut calls = 0;
        while let Some(due) = self.server.deadline().filter(|due| due.as_micros() <= end_us) {
            self.now_us = self.now_us.max(due.as_micros());
            self.call(|machine, fx| machine.on_deadline(fx));
            calls += 1;
            assert!(calls < 100_000, "something is always due");
        }
        self.now_us = end_us;
    }

    pub(super) fn checkpoint(&mut self) {
        self.call(|machine, fx| machine.on_checkpoint(fx));
    }

    pub(super) fn stop(&mut self) {
        self.call(|machine, fx| machine.on_drain(fx));
    }

    pub(super) fn describe(&self) -> String {
        self.server.describe()
    }

    pub(super) fn is_over(&self) -> bool {
        self.server.is_over()
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

    fn call<R>(&mut self, act: impl FnOnce(&mut dyn Machine, &mut Effects<'_>) -> R) -> R {
        let result = self.call_once(act);
        if !self.holds_storage {
            self.answer_storage();
        }
        result
    }

    /// One call of the machine and what follows from it here.
    fn call_once<R>(&mut self, act: impl FnOnce(&mut dyn Machine, &mut Effects<'_>) -> R) -> R {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let wall_ms = EPOCH_MS + self.now_us / 1_000;
        let now = Now { at: Instant::from_micros(self.now_us), wall_ms };
        self.outcome.clear();
        let recorder = self.storage.recorder(self.is_read_only);
        let (history, pool) = (&mut self.history, &mut self.pool);
        let mut fx =
            Effects::new(now, self.random, &self.counters, history, pool, &mut self.outcome)
                .with_recorder(recorder);
        let result = act(&mut self.server, &mut fx);
        self.server.invariants();
        self.server.app().invariants();
        self.drain();
        result
    }

    fn drain(&mut self) {
        for effect in std::mem::take(&mut self.outcome.effects) {
            match effect {
                Effect::Reply { to, at, start, end } => {
                    let bytes = &self.outcome.bytes[start..end];
                    if let Some(name) = self.name(to) {
                        self.clients[name].receiver.outbox.push(at, &[bytes]);
                    }
                }
                Effect::Share { to, at, bytes } => {
                    if let Some(name) = self.name(to) {
                        self.clients[name].receiver.outbox.push(at, &[&bytes]);
                    }
                }
                Effect::Listen { member, from } => {
                    if let Some(name) = self.name(member) {
                        self.clients[name].receiver.cursor.get_or_insert(from);
                    }
                }
                Effect::Load { ticket, records } => self.storage.load(ticket, &records),
                Effect::Store { record, content, base } => {
                    self.storage.store(record, content, base);
                }
                Effect::Blob { id, request } => self.storage.do_blob(&id, request),
                Effect::Admit { .. } => {}
                effect => panic!("the hub never asks for {effect:?}"),
            }
        }
        for client in self.clients.iter_mut().filter(|it| it.member.is_some()) {
            let sent = client.receiver.send(&self.history);
            sent.into_iter().for_each(|frame| take(&mut client.said, frame));
        }
        self.history.trim(self.history.head(), &mut self.pool);
    }

    fn name(&self, member: MemberId) -> Option<Name> {
        self.clients.iter().position(|client| client.member == Some(member))
    }
}

/// Reads a frame of the server.
fn take(said: &mut Vec<Said>, frame: Sent) {
    if !frame.is_text {
        return said.last_mut().expect("of something").attach(frame.payload);
    }
    let text = frame.into_text();
    let (packet, _) = Said::read(text.strip_prefix('4').expect("a message"));
    if let Said::Answer { ack, .. } = &packet {
        let is_same = |own: &Said| matches!(own, Said::Answer { ack: own, .. } if own == ack);
        assert!(!said.iter().any(is_same), "answered twice");
    }
    said.push(packet);
}

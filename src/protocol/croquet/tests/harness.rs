//! A shard in miniature: one session, its members' connections, and a clock that the test turns.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::Config;
use super::super::machine::Reflector;
use super::super::stream::Traffic;
use crate::protocol::receiver::{Receiver, Sent};
use crate::protocol::{self, Hello, Loaded, Machine, Message, Open};
use crate::session::effects::{Effect, RecordName};
use crate::session::journal::{Batch, Cursor as JournalCursor, Entries, Recorder};
use crate::session::{Close, Counters, Effects, History, Instant, MemberId, Now};
use crate::session::{Outcome, RingPool};

/// A connection of the test; names stay valid after it closed.
pub(super) type Name = usize;

/// The session, as the journal calls it.
const NAME: &str = "croquet/room";
/// When the virtual clock begins, in milliseconds: not at zero, and between two milliseconds.
const EPOCH_US: u64 = 1_000_700;

#[derive(Debug, Default)]
struct Connection {
    receiver: Receiver,
    /// Messages with the time they were sent at, in milliseconds.
    received: Vec<(u64, String)>,
    /// Messages and their bytes, as a client counts them: chunks together are one message.
    traffic: Traffic,
    taken: usize,
    admitted: bool,
    closed: Option<Close>,
    is_seated: bool,
}

/// One session with everything around it.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) machine: Reflector,
    pub(super) counters: Counters,
    history: History,
    pool: RingPool,
    outcome: Outcome,
    connections: Vec<Connection>,
    now_us: u64,
    random: u64,
    /// Loads that were asked for and not answered.
    pub(super) loads: Vec<(u32, Vec<RecordName>)>,
    pub(super) stores: Vec<(RecordName, Vec<u8>)>,
    pub(super) posts: Vec<(String, String)>,
    /// Nothing can be recorded.
    pub(super) read_only: bool,
    /// Stores are not confirmed by themselves.
    pub(super) holds_stores: bool,
    unconfirmed: Vec<(RecordName, Option<u32>)>,
    /// What is recorded, for a room that records.
    pub(super) journal: Option<(Batch, JournalCursor)>,
    /// Round trips that were told: address and milliseconds.
    pub(super) latencies: Vec<(String, u32)>,
}

impl Room {
    pub(super) fn new() -> Self {
        Self::with(Config::default(), false)
    }

    pub(super) fn with(config: Config, durable: bool) -> Self {
        Self::open("room", config, durable)
    }

    pub(super) fn open(key: &str, croquet: Config, durable: bool) -> Self {
        let now = Now { at: Instant::from_micros(EPOCH_US), wall_ms: 1_700_000_000_000 };
        #[allow(clippy::needless_update)] // other protocols have settings too
        let config = protocol::Config { croquet, ..protocol::Config::default() };
        let config = Arc::new(config);
        Self {
            machine: Reflector::new(Open { key: key.to_owned(), now, config, durable }),
            counters: Counters::default(),
            history: History::new(),
            pool: RingPool::default(),
            outcome: Outcome::default(),
            connections: Vec::new(),
            now_us: EPOCH_US,
            random: 7,
            loads: Vec::new(),
            stores: Vec::new(),
            posts: Vec::new(),
            read_only: false,
            holds_stores: false,
            unconfirmed: Vec::new(),
            journal: None,
            latencies: Vec::new(),
        }
    }

    /// Milliseconds since the room was opened.
    pub(super) fn now_ms(&self) -> u64 {
        (self.now_us - EPOCH_US) / 1_000
    }

    /// One call of the machine and everything that follows from it.
    fn call<R>(&mut self, act: impl FnOnce(&mut Reflector, &mut Effects<'_>) -> R) -> R {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = Instant::from_micros(self.now_us);
        let now = Now { at, wall_ms: self.wall_ms() };
        self.outcome.clear();
        let mut fx = Effects::new(
            now,
            self.random,
            &self.counters,
            &mut self.history,
            &mut self.pool,
            &mut self.outcome,
        )
        .with_recorder(self.journal.as_mut().map(|(batch, cursor)| Recorder {
            batch,
            cursor,
            name: NAME,
            read_only: self.read_only,
        }));
        let result = act(&mut self.machine, &mut fx);
        let gone = self.drain();
        self.flush();
        self.machine.invariants();
        let needs = |(_, cursor): &(Batch, JournalCursor)| cursor.oldest_segment().is_some();
        let needs_journal = self.journal.as_ref().is_some_and(needs);
        assert!(!(self.machine.is_over() && needs_journal), "what was recorded is not stored");
        self.check_traffic();
        for (name, close) in gone {
            self.drop_connection(name, close.code, Some(close));
        }
        if !self.holds_stores {
            while let Some((record, _)) = self.unconfirmed.first().cloned() {
                self.answer_store(&record, Ok(()));
            }
        }
        result
    }

    fn drain(&mut self) -> Vec<(Name, Close)> {
        let mut gone = Vec::new();
        for effect in self.outcome.effects.drain(..) {
            match effect {
                Effect::Reply { to, at, start, end } => {
                    let bytes = &self.outcome.bytes[start..end];
                    self.connections[to.0 as usize].receiver.outbox.push(at, &[bytes]);
                }
                Effect::Share { to, at, bytes } | Effect::Relay { to, at, bytes } => {
                    self.connections[to.0 as usize].receiver.outbox.push_shared(at, bytes);
                }
                Effect::Admit { member } => self.connections[member.0 as usize].admitted = true,
                Effect::Listen { member, from } => {
                    self.connections[member.0 as usize].receiver.cursor.get_or_insert(from);
                }
                Effect::Skip { .. } => panic!("the reflector sends everything to its sender too"),
                Effect::Unlisten { .. } => panic!("whoever has joined listens until it leaves"),
                Effect::Close { member, close } => gone.push((member.0 as usize, close)),
                Effect::Load { ticket, records } => self.loads.push((ticket, records)),
                Effect::Store { record, content, base } => {
                    self.unconfirmed.push((record.clone(), base));
                    self.stores.push((record, content));
                }
                Effect::Post { url, body } => self.posts.push((url, body)),
                Effect::Latency { start, end, ms } => {
                    let address = std::str::from_utf8(&self.outcome.bytes[start..end]);
                    self.latencies.push((address.unwrap().to_owned(), ms));
                }
                Effect::Blob { .. } => panic!("a reflector has no blobs"),
                Effect::Transfer { .. } | Effect::Tell { .. } => {
                    panic!("a reflector has one session only")
                }
            }
        }
        gone
    }

    /// Sends everything that waits, like a shard at the end of its turn.
    fn flush(&mut self) {
        let ms = self.now_ms();
        for connection in self.connections.iter_mut().filter(|connection| connection.is_seated) {
            connection.send(&self.history, ms);
        }
        self.history.trim(self.history.head(), &mut self.pool);
    }

    fn drop_connection(&mut self, name: Name, code: u16, close: Option<Close>) {
        let connection = &mut self.connections[name];
        if std::mem::take(&mut connection.is_seated) {
            connection.closed = close;
            self.call(|machine, fx| machine.on_leave(MemberId(name as u32), code, fx));
        }
    }

    /// What the machine says it sent is what was received.
    fn check_traffic(&self) {
        let mut bytes = 0;
        for (name, connection) in self.connections.iter().enumerate() {
            bytes += connection.traffic.bytes;
            if let Some(sent) = self.machine.sent(MemberId(name as u32)) {
                assert_eq!(sent, connection.traffic, "connection {name}");
            }
        }
        assert_eq!(self.counters.croquet_traffic.bytes_out.get(), bytes);
    }

    /// A connection takes a seat.
    pub(super) fn enter(&mut self) -> Name {
        self.enter_as(Hello::default())
    }

    pub(super) fn enter_as(&mut self, hello: Hello) -> Name {
        let name = self.connections.len();
        self.connections.push(Connection { is_seated: true, ..Connection::default() });
        let member = MemberId(name as u32);
        if let Err(close) = self.call(|machine, fx| machine.on_enter(member, hello, fx)) {
            self.drop_connection(name, close.code, Some(close));
        }
        name
    }

    /// A connection says `text`.
    pub(super) fn say(&mut self, name: Name, text: &str) {
        self.tell(name, Message::Text(text));
    }

    pub(super) fn tell(&mut self, name: Name, message: Message<'_>) {
        if !self.connections[name].is_seated {
            return;
        }
        let member = MemberId(name as u32);
        if let Err(close) = self.call(|machine, fx| machine.on_message(member, message, fx)) {
            self.drop_connection(name, close.code, Some(close));
        }
    }

    /// A connection does `action`.
    pub(super) fn act(&mut self, name: Name, action: &str, args: Value) {
        self.say(name, &json!({"id": "room", "action": action, "args": args}).to_string());
    }

    /// A new connection joins as `user`; `more` is merged into the args.
    pub(super) fn join(&mut self, user: Value, more: Value) -> Name {
        let name = self.enter();
        self.join_again(name, user, more);
        name
    }

    pub(super) fn join_again(&mut self, name: Name, user: Value, more: Value) {
        let mut args = join_args(user);
        for (key, value) in more.as_object().unwrap() {
            args[key] = value.clone();
        }
        self.act(name, "JOIN", args);
    }

    /// A SEND of `payload` as clients make it.
    pub(super) fn send(&mut self, name: Name, payload: &str) {
        self.act(name, "SEND", json!([0, 0, payload, 0]));
    }

    /// A connection answers a ping with this payload.
    pub(super) fn answer_ping(&mut self, name: Name, payload: &[u8]) {
        self.call(|machine, fx| machine.on_pong(MemberId(name as u32), payload, fx));
    }

    /// The wall clock, in milliseconds.
    pub(super) fn wall_ms(&self) -> u64 {
        1_700_000_000_000 + self.now_us / 1_000
    }

    /// A connection ends.
    pub(super) fn leave(&mut self, name: Name, code: u16) {
        self.drop_connection(name, code, None);
    }

    /// Turns the clock to `ms` after the opening, calling the machine whenever it asked for it.
    pub(super) fn run_to(&mut self, ms: u64) {
        let end = EPOCH_US + ms * 1_000;
        while let Some(due) = self.machine.deadline().map(Instant::as_micros)
            && due <= end
        {
            self.now_us = self.now_us.max(due);
            self.call(|machine, fx| machine.on_deadline(fx));
            let next = self.machine.deadline().map(Instant::as_micros);
            assert!(next.is_none_or(|next| next > self.now_us), "a deadline that never passes");
        }
        self.now_us = self.now_us.max(end);
    }

    /// Turns the clock without calling the machine until the end: a shard that was held up.
    pub(super) fn stall_to(&mut self, ms: u64) {
        self.now_us = EPOCH_US + ms * 1_000;
        self.call(|machine, fx| machine.on_deadline(fx));
    }

    pub(super) fn answer_load(&mut self, answer: Loaded) {
        let (ticket, _) = self.loads.remove(0);
        self.call(|machine, fx| machine.on_loaded(ticket, answer, fx));
    }

    pub(super) fn recover(&mut self, entries: Entries) {
        self.call(|machine, fx| machine.on_recovered(entries, fx));
    }

    pub(super) fn answer_store(&mut self, record: &RecordName, answer: Result<(), String>) {
        let place = self.unconfirmed.iter().position(|(name, _)| name == record).expect("stored");
        let (_, base) = self.unconfirmed.remove(place);
        if let (Some(store), Some((batch, cursor)), true) =
            (base, &mut self.journal, answer.is_ok())
            && let Some(covered) = cursor.covered_by(store)
        {
            batch.trim(cursor, NAME, covered);
        }
        self.call(|machine, fx| machine.on_stored(record, answer, fx));
    }

    pub(super) fn answer_post(&mut self, answer: Result<(), String>) {
        self.call(|machine, fx| machine.on_posted(answer, fx));
    }

    pub(super) fn drain_process(&mut self) {
        self.call(|machine, fx| machine.on_drain(fx));
    }

    pub(super) fn closed(&self, name: Name) -> Option<u16> {
        self.connections[name].closed.map(|close| close.code)
    }

    pub(super) fn is_seated(&self, name: Name) -> bool {
        self.connections[name].is_seated
    }

    pub(super) fn is_admitted(&self, name: Name) -> bool {
        self.connections[name].admitted
    }

    /// What a connection received since this was last asked, as texts.
    pub(super) fn take_texts(&mut self, name: Name) -> Vec<String> {
        let connection = &mut self.connections[name];
        let new = connection.received[connection.taken..].iter().map(|(_, text)| text.clone());
        let new = new.collect();
        connection.taken = connection.received.len();
        new
    }

    /// What a connection received since this was last asked.
    pub(super) fn take(&mut self, name: Name) -> Vec<Value> {
        self.take_texts(name).iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    /// The args of everything with this action that was received since this was last asked.
    pub(super) fn take_args(&mut self, name: Name, action: &str) -> Vec<Value> {
        let all = self.take(name).into_iter();
        all.filter(|message| message["action"] == action)
            .map(|mut message| message["args"].take())
            .collect()
    }

    /// The newest RECV of a connection, and its session time.
    pub(super) fn last_recv(&self, name: Name) -> (f64, Value) {
        let all = self.received(name).iter().rev();
        let recv = all.map(|(_, text)| text).find(|text| text.contains(r#""action":"RECV""#));
        let recv: Value = serde_json::from_str(recv.expect("a RECV")).unwrap();
        (recv["args"][0].as_f64().unwrap(), recv)
    }

    /// Everything a connection ever received, with times.
    pub(super) fn received(&self, name: Name) -> &[(u64, String)] {
        &self.connections[name].received
    }
}

impl Connection {
    fn send(&mut self, history: &History, ms: u64) {
        for text in self.receiver.send(history).into_iter().map(Sent::into_text) {
            let chunk = text.strip_prefix("_CHUNK");
            self.traffic.messages += u64::from(!chunk.is_some_and(|chunk| chunk.starts_with('0')));
            self.traffic.bytes += chunk.map_or(text.len(), |chunk| chunk.len() - 2) as u64;
            self.received.push((ms, text));
        }
    }
}

/// JOIN args as the tests' clients send them.
pub(super) fn join_args(user: Value) -> Value {
    json!({
        "name": "app/n", "apiKey": "none", "appId": "app", "persistentId": "pers",
        "url": "http://localhost/page", "sdk": "2.0.4", "developerId": "dev", "version": 1,
        "user": user, "ticks": {"tick": 50, "delay": 0}, "dormantDelay": 0, "tove": "tove",
        "codeHash": "code",
    })
}

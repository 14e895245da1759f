//! A shard in miniature: one room, its members' connections, a disk, and a clock that the test turns.

use std::sync::Arc;

use yrs::updates::decoder::Decode;
use yrs::{Doc, GetString, ReadTxn, StateVector, Text, Transact, Update};

use crate::codec::journal::{HEADER_BYTES, Key, Kind};
use crate::codec::ysync::{Form, Head, Message as Said, awareness, messages, write_entry};
use crate::protocol::receiver::{Receiver, Sent};
use crate::protocol::yjs::Config;
use crate::protocol::yjs::room::Room;
use crate::protocol::yjs::socketio::Socket;
use crate::protocol::yjs::stored;
use crate::protocol::{self, Hello, Machine, Message};
use crate::session::effects::Effect;
use crate::session::journal::{Batch, Cursor as JournalCursor, Entries, Position, Recorder};
use crate::session::{Close, Counters, Effects, History, Instant, MemberId, Now};
use crate::session::{Outcome, RingPool};

/// A member; names stay valid after it is gone.
pub(super) type Name = usize;

/// What a member was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Text(String),
    Step1(Vec<u8>),
    Step2(Vec<u8>),
    Update(Vec<u8>),
    /// Client, clock, state.
    Awareness(Vec<(u64, u32, Option<String>)>),
    Denied(String),
    Custom(String),
}

#[derive(Default)]
struct Connection {
    receiver: Receiver,
    heard: Vec<Heard>,
    closed: Option<Close>,
    is_seated: bool,
    is_admitted: bool,
    /// Of Zeal's Socket.IO form.
    is_socket: bool,
    /// The session it was sent to.
    went_to: Option<(String, Vec<u8>)>,
}

/// One room with everything around it.
pub(super) struct World {
    pub(super) room: Room,
    config: Arc<protocol::Config>,
    durable: bool,
    /// The process; it grows with every crash.
    epoch: u32,
    pub(super) counters: Counters,
    history: History,
    pool: RingPool,
    outcome: Outcome,
    connections: Vec<Connection>,
    now_us: u64,
    /// The stored record.
    pub(super) disk: Option<Vec<u8>>,
    pub(super) stores: usize,
    /// Loads and stores are answered when the test says so.
    pub(super) holds: bool,
    unanswered: Vec<Answer>,
    pub(super) journal: Option<(Batch, JournalCursor)>,
    /// What was written to the journal: entries with their positions.
    written: Vec<(Position, Vec<u8>)>,
    /// The journal was told to forget what is not after this.
    trimmed: Position,
    pub(super) read_only: bool,
}

enum Answer {
    Loaded,
    Stored { content: Vec<u8>, base: Option<u32> },
}

/// What becomes of loads and stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Luck {
    Good,
    Bad,
    /// What is stored is on the disk, and a failure is told.
    Doubtful,
}

impl World {
    /// A room in memory.
    pub(super) fn new() -> Self {
        Self::with(Config::default(), false)
    }

    pub(super) fn durable() -> Self {
        let mut world = Self::with(Config::default(), true);
        let key = Key { epoch: world.epoch, salt: 0 };
        world.journal = Some((Batch::new(key, 0), JournalCursor::default()));
        world
    }

    pub(super) fn with(yjs: Config, durable: bool) -> Self {
        let now = Now { at: Instant::from_millis(1_000), wall_ms: 1_700_000_000_000 };
        let config = Arc::new(protocol::Config { yjs, ..protocol::Config::default() });
        Self {
            room: Room::new("room".into(), config.clone(), durable, now),
            config,
            durable,
            epoch: 1,
            counters: Counters::default(),
            history: History::new(),
            pool: RingPool::default(),
            outcome: Outcome::default(),
            connections: Vec::new(),
            now_us: 1_000_000,
            disk: None,
            stores: 0,
            holds: false,
            unanswered: Vec::new(),
            journal: None,
            written: Vec::new(),
            trimmed: 0,
            read_only: false,
        }
    }

    fn now(&self) -> Now {
        Now { at: Instant::from_micros(self.now_us), wall_ms: 1_700_000_000_000 }
    }

    /// One call of the machine and everything that follows from it.
    fn call<R>(&mut self, act: impl FnOnce(&mut Room, &mut Effects<'_>) -> R) -> R {
        let now = self.now();
        self.outcome.clear();
        let recorder = self.journal.as_mut().map(|(batch, cursor)| Recorder {
            batch,
            cursor,
            name: "yjs/room/room",
            read_only: self.read_only,
        });
        let mut fx = Effects::new(
            now,
            7,
            &self.counters,
            &mut self.history,
            &mut self.pool,
            &mut self.outcome,
        )
        .with_recorder(recorder);
        let result = act(&mut self.room, &mut fx);
        self.commit();
        let gone = self.drain();
        for connection in &mut self.connections {
            connection.send(&self.history);
        }
        self.history.trim(self.history.head(), &mut self.pool);
        self.room.invariants();
        for (name, close) in gone {
            self.end(name, Some(close));
        }
        if !self.holds {
            self.answer();
        }
        result
    }

    /// Writes what was recorded.
    fn commit(&mut self) {
        let Some((batch, _)) = &mut self.journal else { return };
        let key = Key { epoch: self.epoch, salt: 0 };
        let mut bytes = batch.bytes();
        while let Some(record) = key.read(bytes) {
            if record.kind == Kind::Entry {
                self.written.push((record.position, record.body.to_vec()));
            }
            bytes = &bytes[HEADER_BYTES + record.body.len()..];
        }
        assert!(bytes.is_empty(), "the journal can be read");
        batch.clear();
    }

    fn drain(&mut self) -> Vec<(Name, Close)> {
        let mut gone = Vec::new();
        for effect in self.outcome.effects.drain(..) {
            if let Effect::Reply { to: member, .. }
            | Effect::Share { to: member, .. }
            | Effect::Relay { to: member, .. }
            | Effect::Admit { member }
            | Effect::Listen { member, .. }
            | Effect::Skip { member, .. }
            | Effect::Close { member, .. }
            | Effect::Transfer { member, .. } = &effect
            {
                assert!(self.connections[member.0 as usize].is_seated, "{effect:?}: not a member");
            }
            match effect {
                Effect::Reply { to, at, start, end } => {
                    let bytes = &self.outcome.bytes[start..end];
                    self.connections[to.0 as usize].receiver.outbox.push(at, &[bytes]);
                }
                Effect::Share { to, at, bytes } => {
                    self.connections[to.0 as usize].receiver.outbox.push_shared(at, bytes);
                }
                Effect::Relay { to, at, bytes } => {
                    let connection = &mut self.connections[to.0 as usize];
                    assert!(connection.is_socket, "only those who do not listen");
                    connection.receiver.outbox.push_relayed(at, bytes);
                }
                Effect::Admit { member } => self.connections[member.0 as usize].is_admitted = true,
                Effect::Listen { member, from } => {
                    assert!(!self.connections[member.0 as usize].is_socket, "it reads text only");
                    self.connections[member.0 as usize].receiver.cursor.get_or_insert(from);
                }
                Effect::Skip { member, from, to } => {
                    self.connections[member.0 as usize].receiver.skip(from, to);
                }
                Effect::Close { member, close } => gone.push((member.0 as usize, close)),
                Effect::Transfer { member, key, carry, .. } => {
                    let connection = &mut self.connections[member.0 as usize];
                    connection.is_seated = false;
                    connection.went_to = Some((key, carry));
                }
                Effect::Load { records, .. } => {
                    assert_eq!(records, [stored::record_name("room")]);
                    self.unanswered.push(Answer::Loaded);
                }
                Effect::Store { record, content, base } => {
                    assert_eq!(record, stored::record_name("room"));
                    self.stores += 1;
                    self.unanswered.push(Answer::Stored { content, base });
                }
                other => panic!("a room does not do this: {other:?}"),
            }
        }
        gone
    }

    /// Answers loads and stores.
    pub(super) fn answer(&mut self) {
        self.answer_with(Luck::Good);
    }

    pub(super) fn answer_with(&mut self, luck: Luck) {
        for answer in std::mem::take(&mut self.unanswered) {
            let result = if luck == Luck::Good { Ok(()) } else { Err("no disk".to_owned()) };
            match answer {
                Answer::Loaded => {
                    let records = result.map(|()| vec![self.disk.clone()]);
                    self.call(|room, fx| room.on_loaded(1, records, fx));
                }
                Answer::Stored { content, base } => {
                    if luck != Luck::Bad {
                        self.disk = Some(content);
                    }
                    if luck == Luck::Good {
                        self.trim(base);
                    }
                    let name = stored::record_name("room");
                    self.call(|room, fx| room.on_stored(&name, result, fx));
                }
            }
        }
    }

    /// The journal need not have what is stored.
    fn trim(&mut self, base: Option<u32>) {
        if let Some((batch, cursor)) = &mut self.journal
            && let Some(covered) = base.and_then(|base| cursor.covered_by(base))
        {
            batch.trim(cursor, "yjs/room/room", covered);
            self.trimmed = self.trimmed.max(covered);
        }
    }

    /// Loads or stores are not answered.
    pub(super) fn is_waiting(&self) -> bool {
        !self.unanswered.is_empty()
    }

    /// Whether the session is over, as a shard sees it.
    pub(super) fn is_over(&self) -> bool {
        self.room.is_over() && self.connections.iter().all(|connection| !connection.is_seated)
    }

    /// Whether the journal has what is stored nowhere.
    pub(super) fn is_needed(&self) -> bool {
        let journal = self.journal.as_ref();
        journal.is_some_and(|(_, cursor)| cursor.oldest_segment().is_some())
    }

    /// A session that was over is opened again.
    pub(super) fn reopen(&mut self) {
        if let Some((batch, cursor)) = &mut self.journal {
            batch.close(cursor, "yjs/room/room");
            (self.written, self.trimmed) = (Vec::new(), 0);
        }
        self.begin();
    }

    /// The process dies, and another goes on. What was being stored may be `stored`; the journal may
    /// have `all` that it was told to forget.
    pub(super) fn crash(&mut self, stored: bool, all: bool) {
        for answer in std::mem::take(&mut self.unanswered) {
            if let Answer::Stored { content, .. } = answer
                && stored
            {
                self.disk = Some(content);
            }
        }
        self.connections.iter_mut().for_each(|connection| connection.is_seated = false);
        self.begin();
        let Some((batch, cursor)) = &mut self.journal else { return };
        self.epoch += 1;
        let mut entries = Entries::default();
        if all {
            self.trimmed = 0;
        }
        let trimmed = self.trimmed;
        for (position, body) in &self.written {
            if *position > trimmed {
                entries.push(*position, body);
            }
        }
        let key = Key { epoch: self.epoch, salt: 0 };
        *batch = Batch::new(key, usize::from(!entries.is_empty()));
        *cursor = JournalCursor::default();
        if !entries.is_empty() {
            *cursor = JournalCursor::recovered(entries.last(), trimmed);
            self.recover(entries);
        }
    }

    fn begin(&mut self) {
        self.room = Room::new("room".into(), self.config.clone(), self.durable, self.now());
        self.history = History::new();
    }

    pub(super) fn fail_load(&mut self) {
        self.unanswered.clear();
        self.call(|room, fx| room.on_loaded(1, Err("no disk".to_owned()), fx));
    }

    fn end(&mut self, name: Name, close: Option<Close>) {
        let connection = &mut self.connections[name];
        if std::mem::take(&mut connection.is_seated) {
            connection.closed = close;
            self.call(|room, fx| room.on_leave(MemberId(name as u32), 1006, fx));
        }
    }

    /// A client of y-websocket comes.
    pub(super) fn enter(&mut self) -> Name {
        self.enter_as(Hello { target: "/room".to_owned(), ..Hello::default() })
    }

    pub(super) fn enter_as(&mut self, hello: Hello) -> Name {
        let name = self.connections.len();
        let is_socket = Socket::unpack(&hello.carry).is_some();
        let connection = Connection { is_seated: true, is_socket, ..Connection::default() };
        self.connections.push(connection);
        let member = MemberId(name as u32);
        if let Err(close) = self.call(|room, fx| room.on_enter(member, hello, fx)) {
            self.end(name, Some(close));
        }
        name
    }

    /// A client of Zeal's Socket.IO form comes.
    pub(super) fn enter_socket(&mut self, may_write: bool) -> Name {
        self.enter_as(Hello { carry: socket(may_write).pack(), ..Hello::default() })
    }

    pub(super) fn leave(&mut self, name: Name) {
        self.end(name, None);
    }

    pub(super) fn say(&mut self, name: Name, frame: &[u8]) {
        if self.connections[name].is_socket {
            let event = serde_json::json!(["crdt:message", "room", frame]);
            return self.tell(name, Message::Text(&format!("2{event}")));
        }
        self.tell(name, Message::Binary(frame));
    }

    pub(super) fn tell(&mut self, name: Name, message: Message<'_>) {
        if !self.connections[name].is_seated {
            return;
        }
        let member = MemberId(name as u32);
        if let Err(close) = self.call(|room, fx| room.on_message(member, message, fx)) {
            self.end(name, Some(close));
        }
    }

    pub(super) fn step1(&mut self, name: Name, vector: &[u8]) {
        self.say(name, &[Head::step1(vector.len()).as_bytes(), vector].concat());
    }

    pub(super) fn step2(&mut self, name: Name, update: &[u8]) {
        self.say(name, &[Head::step2(update.len()).as_bytes(), update].concat());
    }

    pub(super) fn update(&mut self, name: Name, update: &[u8]) {
        self.say(name, &[Head::update(update.len()).as_bytes(), update].concat());
    }

    /// Client, clock, state of each.
    pub(super) fn aware(&mut self, name: Name, states: &[(u64, u32, Option<&str>)]) {
        let mut update = vec![states.len() as u8];
        for &(client, clock, state) in states {
            write_entry(&mut update, client, clock, state);
        }
        // Both forms are understood.
        let is_unprefixed =
            self.connections[name].is_socket && (self.now_us / 1_000).is_multiple_of(2);
        let form = if is_unprefixed { Form::Unprefixed } else { Form::Plain };
        let head = Head::awareness(form, update.len());
        self.say(name, &[head.as_bytes(), &update].concat());
    }

    /// Turns the clock, calling the machine whenever it asked for it.
    pub(super) fn run(&mut self, ms: u64) {
        let end = self.now_us + ms * 1_000;
        while let Some(due) = self.room.deadline().map(Instant::as_micros)
            && due <= end
        {
            self.now_us = self.now_us.max(due);
            self.call(|room, fx| room.on_deadline(fx));
            let next = self.room.deadline().map(Instant::as_micros);
            assert!(next.is_none_or(|next| next > self.now_us), "a deadline that never passes");
        }
        self.now_us = end;
    }

    pub(super) fn checkpoint(&mut self) {
        self.call(|room, fx| room.on_checkpoint(fx));
    }

    pub(super) fn stop(&mut self) {
        self.call(|room, fx| room.on_drain(fx));
    }

    pub(super) fn recover(&mut self, entries: Entries) {
        self.call(|room, fx| room.on_recovered(entries, fx));
    }

    /// What a member was sent since this was last asked.
    pub(super) fn heard(&mut self, name: Name) -> Vec<Heard> {
        std::mem::take(&mut self.connections[name].heard)
    }

    /// Forgets what everybody was sent.
    pub(super) fn ignore(&mut self) {
        self.connections.iter_mut().for_each(|connection| connection.heard.clear());
    }

    pub(super) fn closed(&self, name: Name) -> Option<Close> {
        self.connections[name].closed
    }

    pub(super) fn is_seated(&self, name: Name) -> bool {
        self.connections[name].is_seated
    }

    pub(super) fn is_admitted(&self, name: Name) -> bool {
        self.connections[name].is_admitted
    }

    pub(super) fn went_to(&self, name: Name) -> Option<(String, Vec<u8>)> {
        self.connections[name].went_to.clone()
    }

    /// The text that one who has nothing is told of.
    pub(super) fn text(&mut self) -> String {
        text_of(&[&self.whole()])
    }

    /// What one is told who has nothing.
    pub(super) fn whole(&mut self) -> Vec<u8> {
        let name = self.enter();
        self.heard(name);
        self.step1(name, &[0]);
        let heard = self.heard(name);
        self.leave(name);
        let updates: Vec<&[u8]> = heard
            .iter()
            .map(|heard| match heard {
                Heard::Step2(update) | Heard::Update(update) => &**update,
                other => panic!("no answer: {other:?}"),
            })
            .collect();
        let [whole] = updates[..] else {
            return yrs::merge_updates_v1(updates).expect("sound updates");
        };
        whole.to_vec()
    }
}

impl Connection {
    fn send(&mut self, history: &History) {
        // Who goes elsewhere is still sent what it was told here.
        if !self.is_seated && self.went_to.is_none() {
            return;
        }
        for Sent { is_text, payload } in self.receiver.send(history) {
            if is_text && self.is_socket {
                self.heard.extend(heard_by_socket(String::from_utf8(payload).expect("UTF-8")));
            } else if is_text {
                self.heard.push(Heard::Text(String::from_utf8(payload).expect("UTF-8")));
            } else {
                let heard = messages(&payload, Form::Plain).map(|said| heard(said.expect("sound")));
                self.heard.extend(heard);
            }
        }
    }
}

/// A client of Zeal's Socket.IO form, as its lobby sends it.
pub(super) fn socket(may_write: bool) -> Socket {
    Socket { sid: Some("sid".into()), may_write, by_url: Some(false) }
}

/// What is in a packet; other events than messages, and other packets, as they are.
fn heard_by_socket(packet: String) -> Vec<Heard> {
    let Some(event) = packet.strip_prefix("42") else { return vec![Heard::Text(packet)] };
    let event: serde_json::Value = serde_json::from_str(event).expect("JSON");
    match event[0].as_str() {
        Some("crdt:message") => {
            assert_eq!((&event[1], event.as_array().map(Vec::len)), (&"room".into(), Some(3)));
            let frame: Vec<u8> = serde_json::from_value(event[2].clone()).expect("bytes");
            let is_awareness = frame.first() == Some(&1);
            assert!(!is_awareness || awareness(&frame[1..]).is_ok(), "without its length");
            messages(&frame, Form::Unprefixed).map(|said| heard(said.expect("sound"))).collect()
        }
        Some("crdt:error") if event[1]["type"] == "permission" => {
            assert_eq!(event[1]["error"], event[1]["message"]);
            vec![Heard::Denied(event[1]["message"].as_str().expect("text").to_owned())]
        }
        _ => vec![Heard::Text(packet)],
    }
}

fn heard(said: Said<'_>) -> Heard {
    match said {
        Said::Step1(vector) => Heard::Step1(vector.to_vec()),
        Said::Step2(update) => Heard::Step2(update.to_vec()),
        Said::Update(update) => Heard::Update(update.to_vec()),
        Said::Awareness(update) => Heard::Awareness(
            awareness(update)
                .expect("sound")
                .map(|entry| (entry.client, entry.clock, entry.state.map(str::to_owned)))
                .collect(),
        ),
        Said::Auth(reason) => Heard::Denied(String::from_utf8(reason.to_vec()).expect("UTF-8")),
        Said::Custom(json) => Heard::Custom(json.to_owned()),
        Said::QueryAwareness => panic!("servers do not ask this"),
    }
}

/// A client's document: one text.
pub(super) struct Writer {
    pub(super) doc: Doc,
}

impl Writer {
    pub(super) fn new(client: u64) -> Self {
        let client = yrs::block::ClientID::new(client);
        let doc = Doc::with_options(yrs::Options::with_guid_and_client_id("".into(), client));
        doc.get_or_insert_text("text");
        Self { doc }
    }

    /// Types at the end; the update.
    pub(super) fn types(&self, what: &str) -> Vec<u8> {
        let text = self.doc.get_or_insert_text("text");
        let mut transaction = self.doc.transact_mut();
        let end = text.len(&transaction);
        text.insert(&mut transaction, end, what);
        transaction.encode_update_v1()
    }

    /// Deletes the first characters; the update.
    pub(super) fn deletes(&self, count: u32) -> Vec<u8> {
        let text = self.doc.get_or_insert_text("text");
        let mut transaction = self.doc.transact_mut();
        text.remove_range(&mut transaction, 0, count);
        transaction.encode_update_v1()
    }

    /// Types one character somewhere; the update.
    pub(super) fn types_at(&self, place: u32, what: &str) -> Vec<u8> {
        let text = self.doc.get_or_insert_text("text");
        let mut transaction = self.doc.transact_mut();
        let at = place % (text.len(&transaction) + 1);
        text.insert(&mut transaction, at, what);
        transaction.encode_update_v1()
    }

    /// Deletes one character somewhere; the update, if there is any.
    pub(super) fn deletes_at(&self, place: u32) -> Option<Vec<u8>> {
        let text = self.doc.get_or_insert_text("text");
        let mut transaction = self.doc.transact_mut();
        let len = text.len(&transaction);
        if len == 0 {
            return None;
        }
        text.remove_range(&mut transaction, place % len, 1);
        Some(transaction.encode_update_v1())
    }

    pub(super) fn whole(&self) -> Vec<u8> {
        self.doc.transact().encode_state_as_update_v1(&StateVector::default())
    }

    pub(super) fn vector(&self) -> Vec<u8> {
        use yrs::updates::encoder::Encode;
        self.doc.transact().state_vector().encode_v1()
    }

    pub(super) fn takes(&self, update: &[u8]) {
        let update = Update::decode_v1(update).expect("an update");
        self.doc.transact_mut().apply_update(update).expect("an update that fits");
    }

    pub(super) fn text(&self) -> String {
        let text = self.doc.get_or_insert_text("text");
        text.get_string(&self.doc.transact())
    }
}

/// The text of a document that is made of these updates.
pub(super) fn text_of(updates: &[&[u8]]) -> String {
    let reader = Writer::new(1);
    updates.iter().for_each(|update| reader.takes(update));
    reader.text()
}

//! Shards in miniature: a hall and rooms, what is on its way between them, their clients, a disk,
//! and a clock that the test turns.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::hall::Hall;
use super::super::room::Room;
use super::super::{Config, HALL, ROOM_PREFIX};
use crate::codec::journal::{HEADER_BYTES, Key, Kind};
use crate::protocol::receiver::{Receiver, Sent};
use crate::protocol::{self, Hello, Machine, Message, Removal};
use crate::session::effects::{Effect, RecordName};
use crate::session::journal::{Batch, Cursor as Place, Entries, Recorder};
use crate::session::{Close, Counters, Effects, History, Instant, MemberId, Now};
use crate::session::{Outcome, RingPool};

/// A client; names stay valid after it is gone.
pub(super) type Name = usize;

/// The wall clock when the world begins.
pub(super) const EPOCH_MS: u64 = 1_700_000_000_000;
/// Deliveries after which sessions are taken to talk for ever.
const STEPS_MAX: usize = 100_000;

/// Everything around the machines.
pub(super) struct World {
    sessions: BTreeMap<String, Session>,
    clients: Vec<Client>,
    wires: BTreeMap<Wire, VecDeque<Parcel>>,
    pub(super) disk: BTreeMap<String, Vec<u8>>,
    /// The journal of this process, if there is one.
    journal: Option<Batch>,
    key: Key,
    /// What an earlier process recorded and nobody has opened yet.
    recovered: Recorded,
    /// Nothing can be recorded.
    pub(super) read_only: bool,
    /// Answers of the storage under way.
    answers: VecDeque<Answer>,
    /// What the storage fails with, if it does.
    pub(super) broken: Option<String>,
    pub(super) counters: Counters,
    config: Arc<protocol::Config>,
    durable: bool,
    outcome: Outcome,
    pool: RingPool,
    now_us: u64,
    random: u64,
    next_member: u32,
    opened: u64,
    /// Whether tests wait for everything that follows from an act.
    pub(super) settles: bool,
    /// Whether things arrive in an order of the world's choosing.
    pub(super) shuffles: bool,
}

/// Tells keep their order, and members do, from one session to another; not among each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wire {
    from: String,
    to: String,
    carries_members: bool,
}

enum Parcel {
    Tell(Vec<u8>),
    Member(Name, Vec<u8>),
}

enum Answer {
    Loaded(String, u64, u32, Result<Vec<Option<Vec<u8>>>, String>),
    Stored(String, u64, RecordName, u32, Result<(), String>),
}

/// What sessions have recorded, by their keys.
pub(super) type Recorded = BTreeMap<String, Entries>;

#[allow(clippy::large_enum_variant)] // a handful in a test
enum Host {
    Hall(Hall),
    Room(Room),
}

struct Session {
    host: Host,
    history: History,
    serial: u64,
    place: Place,
}

#[derive(Default)]
struct Client {
    seat: Option<(String, MemberId)>,
    is_moving: bool,
    /// Its connection ended while it was moving.
    is_gone: bool,
    /// What it said while it was moving.
    unheard: VecDeque<String>,
    receiver: Receiver,
    received: Vec<String>,
    taken: usize,
    closed: Option<Close>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(super) fn with(gallery: Config) -> Self {
        let config = protocol::Config { gallery, ..protocol::Config::default() };
        Self {
            sessions: BTreeMap::new(),
            clients: Vec::new(),
            wires: BTreeMap::new(),
            disk: BTreeMap::new(),
            journal: None,
            key: Key { epoch: 1, salt: 0 },
            recovered: Recorded::new(),
            read_only: false,
            answers: VecDeque::new(),
            broken: None,
            counters: Counters::default(),
            config: Arc::new(config),
            durable: false,
            outcome: Outcome::default(),
            pool: RingPool::default(),
            now_us: 0,
            random: 7,
            next_member: 0,
            opened: 0,
            settles: true,
            shuffles: false,
        }
    }

    pub(super) fn durable(gallery: Config) -> Self {
        let world = Self { durable: true, ..Self::with(gallery) };
        Self { journal: Some(Batch::new(world.key, 0)), ..world }
    }

    /// A process that starts anew on the same disk, after the one before has ended in good order.
    pub(super) fn restarted(self) -> Self {
        let nothing = Recorded::new();
        let disk = self.disk.clone();
        self.crashed(disk, nothing)
    }

    /// A process that starts anew on this disk and recovers these entries.
    pub(super) fn crashed(&self, disk: BTreeMap<String, Vec<u8>>, recovered: Recorded) -> Self {
        let mut next = Self::durable(self.config.gallery.clone());
        next.key.epoch = self.key.epoch + 1;
        next.journal = Some(Batch::new(next.key, recovered.len()));
        (next.disk, next.recovered) = (disk, recovered);
        next.now_us = self.now_us + 5_000_000;
        // The shard continues them by itself.
        while let Some(key) = next.recovered.keys().next().cloned() {
            next.call(&key, |_, _| ());
        }
        next.settle();
        next
    }

    /// All that was recorded so far, whether or not it is stored meanwhile.
    pub(super) fn recorded(&self) -> Recorded {
        let Some(batch) = &self.journal else { return Recorded::new() };
        let (mut recorded, mut names) = (Recorded::new(), BTreeMap::new());
        let mut bytes = batch.bytes();
        while let Some(record) = self.key.read(bytes) {
            match record.kind {
                Kind::Name => {
                    let name = String::from_utf8(record.body.to_vec()).unwrap();
                    names.insert(record.session, name);
                }
                Kind::Entry => {
                    let entries = recorded.entry(names[&record.session].clone()).or_default();
                    entries.push(record.position, record.body);
                }
                _ => {}
            }
            bytes = &bytes[HEADER_BYTES + record.body.len()..];
        }
        assert!(bytes.is_empty());
        recorded
    }

    /// The session of this key, which is not there, is continued from what was recorded.
    pub(super) fn recover(&mut self, key: &str, entries: Entries) {
        self.recovered.insert(key.to_owned(), entries);
        self.call(key, |_, _| ());
    }

    /// The journal has grown long.
    pub(super) fn checkpoint(&mut self, key: &str) {
        self.call(key, |machine, fx| machine.on_checkpoint(fx));
        self.follow_up();
    }

    pub(super) fn seeded(mut self, seed: u64) -> Self {
        self.random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
        (self.settles, self.shuffles) = (false, true);
        self
    }

    /// A number below `bound`.
    pub(super) fn pick(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) as usize % bound
    }

    pub(super) fn now_ms(&self) -> u64 {
        EPOCH_MS + self.now_us / 1_000
    }

    /// The process has started.
    pub(super) fn open(&mut self) {
        self.call(HALL, |machine, fx| machine.on_open(fx));
        self.follow_up();
    }

    /// An operator removes a room.
    pub(super) fn remove(&mut self, room: &str) -> Removal {
        let removal = self.call(HALL, |machine, fx| machine.on_remove(room, fx));
        self.follow_up();
        removal
    }

    /// A client connects, with this path and query.
    pub(super) fn connect_to(&mut self, target: &str) -> Name {
        let name = self.clients.len();
        self.clients.push(Client::default());
        let hello =
            Hello { target: target.to_owned(), user_ip: "9.9.9.9".to_owned(), ..Hello::default() };
        self.seat(name, HALL, hello);
        self.follow_up();
        name
    }

    pub(super) fn connect(&mut self, user: &str) -> Name {
        self.connect_to(&format!("/?userId={user}"))
    }

    /// A client says something.
    pub(super) fn say(&mut self, name: Name, text: &str) {
        self.tell(name, Message::Text(text));
        self.follow_up();
    }

    pub(super) fn tell(&mut self, name: Name, message: Message<'_>) {
        let client = &mut self.clients[name];
        if let Some((key, member)) = client.seat.clone() {
            if let Err(close) =
                self.call(&key, |machine, fx| machine.on_message(member, message, fx))
            {
                self.close(name, close);
            }
        } else if client.is_moving {
            client.unheard.push_back(String::from_utf8(message.bytes().to_vec()).unwrap());
        }
    }

    pub(super) fn act(&mut self, name: Name, request: Value) {
        self.say(name, &request.to_string());
    }

    /// Joins a room; what the client is told.
    pub(super) fn join(&mut self, name: Name, room: &str) -> Vec<Value> {
        self.join_as(name, room, "editor")
    }

    pub(super) fn join_as(&mut self, name: Name, room: &str, role: &str) -> Vec<Value> {
        let info = json!({"userId": "liar", "name": format!("n{name}"), "role": role});
        self.act(name, json!({"action": "join_room", "roomId": room, "userInfo": info}));
        self.take(name)
    }

    pub(super) fn broadcast(&mut self, name: Name, message: Value) {
        self.act(name, json!({"action": "broadcast", "requestId": "b", "message": message}));
    }

    /// A client's connection ends.
    pub(super) fn end(&mut self, name: Name) {
        let client = &mut self.clients[name];
        match client.seat.take() {
            Some((key, member)) => {
                client.receiver.cursor = None;
                self.call(&key, |machine, fx| machine.on_leave(member, 1006, fx));
            }
            None => client.is_gone = true,
        }
        self.follow_up();
    }

    /// What a client received since this was last asked.
    pub(super) fn take(&mut self, name: Name) -> Vec<Value> {
        let texts = self.take_texts(name);
        texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    /// Whatever these clients received is as if they had been asked.
    pub(super) fn names_forget(&mut self, names: &[Name]) {
        names.iter().for_each(|&name| drop(self.take_texts(name)));
    }

    pub(super) fn take_texts(&mut self, name: Name) -> Vec<String> {
        let client = &mut self.clients[name];
        let new = client.received[client.taken..].to_vec();
        client.taken = client.received.len();
        new
    }

    /// Everything a client ever received.
    pub(super) fn received(&self, name: Name) -> Vec<Value> {
        let texts = self.clients[name].received.iter();
        texts.map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    pub(super) fn closed(&self, name: Name) -> Option<Close> {
        self.clients[name].closed
    }

    /// Where a client is: the key of a session, nothing while it moves.
    pub(super) fn place(&self, name: Name) -> Option<&str> {
        self.clients[name].seat.as_ref().map(|(key, _)| key.as_str())
    }

    pub(super) fn is_there(&self, key: &str) -> bool {
        self.sessions.contains_key(key)
    }

    /// The users of a room, by its machine.
    pub(super) fn users(&self, room: &str) -> Vec<String> {
        let session = self.sessions.get(&format!("{ROOM_PREFIX}{room}"));
        let users = session.map_or_else(|| "[]".to_owned(), |it| it.host.as_machine().users());
        let users: Vec<Value> = serde_json::from_str(&users).unwrap();
        users.iter().map(|user| user["id"].as_str().unwrap().to_owned()).collect()
    }

    pub(super) fn stats(&self) -> Value {
        let hall = self.sessions.get(HALL);
        let text = hall.map_or_else(super::super::no_rooms, |it| it.host.as_machine().users());
        serde_json::from_str(&text).unwrap()
    }

    /// Everything, for a test that failed.
    pub(super) fn dump(&self) -> String {
        let clients =
            self.clients.iter().enumerate().filter(|(_, client)| !client.received.is_empty());
        let clients = clients.map(|(name, it)| {
            let last = it.received.last();
            format!("{name}: {:?} {:?} {} {last:?}\n", it.seat, it.closed, it.is_moving)
        });
        let hosts = self.sessions.iter().map(|(key, it)| match &it.host {
            Host::Hall(hall) => format!("{key}: {hall:#?}\n"),
            Host::Room(room) => format!("{key}: {room:#?}\n"),
        });
        clients.chain(hosts).collect()
    }

    /// Lets one thing arrive; whether there was one.
    pub(super) fn step(&mut self) -> bool {
        self.wires.retain(|_, parcels| !parcels.is_empty());
        let choices = self.wires.len() + usize::from(!self.answers.is_empty());
        if choices == 0 {
            return false;
        }
        let choice = if self.shuffles { self.pick(choices) } else { 0 };
        if let Some(wire) = self.wires.keys().nth(choice).cloned() {
            let parcel = self.wires.get_mut(&wire).and_then(VecDeque::pop_front).unwrap();
            self.arrive(wire, parcel);
        } else if let Some(answer) = self.answers.pop_front() {
            self.answer(answer);
        }
        true
    }

    /// Lets everything arrive.
    pub(super) fn settle(&mut self) {
        for _ in 0..STEPS_MAX {
            if !self.step() {
                return;
            }
        }
        panic!("sessions talk for ever");
    }

    /// Lets time pass, calling machines whenever they asked for it.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now_us + ms * 1_000;
        loop {
            let due = |session: &Session| session.host.as_machine().deadline();
            let next = self.sessions.iter().filter_map(|(key, it)| Some((due(it)?, key.clone())));
            let Some((at, key)) = next.min().filter(|(at, _)| at.as_micros() <= end) else { break };
            self.now_us = self.now_us.max(at.as_micros());
            self.call(&key, |machine, fx| machine.on_deadline(fx));
            let next = self.sessions.get(&key).and_then(due);
            assert!(next.is_none_or(|next| next > at), "a deadline that never passes");
            self.follow_up();
        }
        self.now_us = end;
    }

    pub(super) fn drain_process(&mut self) {
        for key in self.sessions.keys().cloned().collect::<Vec<_>>() {
            self.call(&key, |machine, fx| machine.on_drain(fx));
        }
        self.settle();
    }

    fn follow_up(&mut self) {
        if self.settles {
            self.settle();
        }
    }

    fn arrive(&mut self, wire: Wire, parcel: Parcel) {
        match parcel {
            Parcel::Tell(body) => {
                self.call(&wire.to, |machine, fx| machine.on_told(&wire.from, &body, fx));
            }
            Parcel::Member(name, carry) => {
                self.clients[name].is_moving = false;
                self.seat(name, &wire.to, Hello { carry, ..Hello::default() });
                if self.clients[name].is_gone {
                    return self.end(name);
                }
                while !self.clients[name].is_moving
                    && let Some(text) = self.clients[name].unheard.pop_front()
                {
                    self.tell(name, Message::Text(&text));
                }
            }
        }
    }

    fn answer(&mut self, answer: Answer) {
        let (Answer::Loaded(key, serial, ..) | Answer::Stored(key, serial, ..)) = &answer;
        let (key, serial) = (key.clone(), *serial);
        let Some(session) = self.sessions.get_mut(&key).filter(|one| one.serial == serial) else {
            return;
        };
        match answer {
            Answer::Loaded(_, _, ticket, records) => {
                self.call(&key, |machine, fx| machine.on_loaded(ticket, records, fx));
            }
            Answer::Stored(_, _, record, store, result) => {
                let covered = session.place.covered_by(store).filter(|_| result.is_ok());
                if let (Some(batch), Some(covered)) = (&mut self.journal, covered) {
                    batch.trim(&mut session.place, &key, covered);
                }
                self.call(&key, |machine, fx| machine.on_stored(&record, result, fx));
            }
        }
    }

    fn seat(&mut self, name: Name, key: &str, hello: Hello) {
        self.next_member += 1;
        let member = MemberId(self.next_member);
        self.clients[name].seat = Some((key.to_owned(), member));
        if let Err(close) = self.call(key, |machine, fx| machine.on_enter(member, hello, fx)) {
            self.close(name, close);
        }
    }

    fn close(&mut self, name: Name, close: Close) {
        self.clients[name].closed = Some(close);
        if let Some((key, member)) = self.clients[name].seat.take() {
            self.clients[name].receiver.cursor = None;
            self.call(&key, |machine, fx| machine.on_leave(member, close.code, fx));
        }
    }

    fn resume(&mut self, key: &str, entries: Entries) {
        let session = self.sessions.get_mut(key).unwrap();
        session.place = Place::recovered(entries.last(), 0);
        self.call(key, |machine, fx| machine.on_recovered(entries, fx));
    }

    /// One call of a machine and everything that follows from it here.
    fn call<R>(
        &mut self,
        key: &str,
        act: impl FnOnce(&mut dyn Machine, &mut Effects<'_>) -> R,
    ) -> R {
        self.pick(1);
        let now = Now { at: Instant::from_micros(self.now_us), wall_ms: self.now_ms() };
        if !self.sessions.contains_key(key) {
            self.opened += 1;
            let (config, serial) = (self.config.clone(), self.opened);
            let host = match key.strip_prefix(ROOM_PREFIX) {
                Some(id) => Host::Room(Room::new(id.into(), config, self.durable)),
                None => Host::Hall(Hall::new(config, self.durable)),
            };
            let (history, place) = (History::new(), Place::default());
            self.sessions.insert(key.to_owned(), Session { host, history, serial, place });
            if let Some(entries) = self.recovered.remove(key) {
                self.resume(key, entries);
            }
        }
        let session = self.sessions.get_mut(key).unwrap();
        self.outcome.clear();
        let (history, pool) = (&mut session.history, &mut self.pool);
        let (cursor, read_only) = (&mut session.place, self.read_only);
        let recorder = self.journal.as_mut();
        let recorder = recorder.map(|batch| Recorder { batch, cursor, name: key, read_only });
        let mut fx =
            Effects::new(now, self.random, &self.counters, history, pool, &mut self.outcome)
                .with_recorder(recorder);
        let result = act(session.host.as_machine_mut(), &mut fx);
        match &mut session.host {
            Host::Hall(hall) => hall.invariants(),
            Host::Room(room) => room.invariants(),
        }
        let closes = self.drain(key);
        self.flush(key);
        for (name, close) in closes {
            self.close(name, close);
        }
        let is_empty = !self.clients.iter().any(|client| client.is_in(key));
        if is_empty && self.sessions.get(key).is_some_and(|it| it.host.as_machine().is_over()) {
            let ended = self.sessions.remove(key).unwrap();
            assert_eq!(ended.place.oldest_segment(), None, "{key} is over before it is stored");
        }
        result
    }

    fn drain(&mut self, key: &str) -> Vec<(Name, Close)> {
        let mut closes = Vec::new();
        let serial = self.sessions[key].serial;
        for effect in std::mem::take(&mut self.outcome.effects) {
            match effect {
                Effect::Reply { to, at, start, end } => {
                    if let Some(client) = self.member(key, to) {
                        let bytes = self.outcome.bytes[start..end].to_vec();
                        self.clients[client].receiver.outbox.push(at, &[&bytes]);
                    }
                }
                Effect::Listen { member, from } => {
                    if let Some(client) = self.member(key, member) {
                        self.clients[client].receiver.cursor.get_or_insert(from);
                    }
                }
                Effect::Skip { member, from, to } => {
                    if let Some(client) = self.member(key, member) {
                        self.clients[client].receiver.skip(from, to);
                    }
                }
                Effect::Close { member, close } => {
                    closes.extend(self.member(key, member).map(|name| (name, close)));
                }
                Effect::Transfer { member, key: to, carry, .. } => {
                    self.flush(key);
                    if let Some(name) = self.member(key, member) {
                        let client = &mut self.clients[name];
                        (client.seat, client.receiver.cursor, client.is_moving) =
                            (None, None, true);
                        self.send(key, to, Parcel::Member(name, carry));
                    }
                }
                Effect::Tell { key: to, body } => self.send(key, to, Parcel::Tell(body)),
                Effect::Load { ticket, records } => {
                    let found = records.iter().map(|name| self.disk.get(&path(name)).cloned());
                    let result = self.broken.clone().map_or_else(|| Ok(found.collect()), Err);
                    self.answers.push_back(Answer::Loaded(key.to_owned(), serial, ticket, result));
                }
                Effect::Store { record, content, base } => {
                    let result = self.broken.clone().map_or(Ok(()), Err);
                    if result.is_ok() {
                        self.disk.insert(path(&record), content);
                    }
                    let (key, base) = (key.to_owned(), base.unwrap_or_default());
                    self.answers.push_back(Answer::Stored(key, serial, record, base, result));
                }
                Effect::Admit { .. } => {}
                effect => panic!("the gallery never asks for {effect:?}"),
            }
        }
        closes
    }

    fn send(&mut self, from: &str, to: String, parcel: Parcel) {
        let carries_members = matches!(parcel, Parcel::Member(..));
        // Members after tells, unless the world shuffles.
        let wire = Wire { from: from.to_owned(), to, carries_members };
        self.wires.entry(wire).or_default().push_back(parcel);
    }

    fn member(&self, key: &str, member: MemberId) -> Option<Name> {
        let is_it =
            |client: &Client| client.seat.as_ref().is_some_and(|(k, m)| k == key && *m == member);
        self.clients.iter().position(is_it)
    }

    /// Sends what a session said, like a shard at the end of its turn.
    fn flush(&mut self, key: &str) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        for client in self.clients.iter_mut().filter(|client| client.is_in(key)) {
            client.send(&session.history);
        }
        session.history.trim(session.history.head(), &mut self.pool);
    }
}

impl Host {
    fn as_machine(&self) -> &dyn Machine {
        match self {
            Self::Hall(hall) => hall,
            Self::Room(room) => room,
        }
    }

    fn as_machine_mut(&mut self) -> &mut dyn Machine {
        match self {
            Self::Hall(hall) => hall,
            Self::Room(room) => room,
        }
    }
}

impl Client {
    fn is_in(&self, key: &str) -> bool {
        self.seat.as_ref().is_some_and(|(seat, _)| seat == key)
    }

    fn send(&mut self, history: &History) {
        self.received.extend(self.receiver.send(history).into_iter().map(Sent::into_text));
    }
}

fn path(record: &RecordName) -> String {
    format!("{}/{}", record.namespace, record.names.join("/"))
}

/// An error event.
pub(super) fn error(text: &str, request_id: Value) -> Value {
    let mut data = json!({"message": text});
    if request_id != "absent" {
        data["requestId"] = request_id;
    }
    json!({"event": "error", "data": data})
}

/// A message event.
pub(super) fn message(message: Value, sender: &str) -> Value {
    json!({"event": "message", "data": {"message": message, "senderId": sender}})
}

//! The world in a shard in miniature, and what its clients say and hear.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::world::World;
use super::super::{Config, WORLD};
use crate::protocol::fake_storage::{Disk, FakeStorage};
use crate::protocol::miniature::Miniature;
use crate::protocol::receiver::Sent;
use crate::protocol::socketio::Server;
use crate::protocol::{self, Hello, Message, Open};
use crate::session::journal::Entries;
use crate::session::{Close, Instant, Now};

pub(super) use crate::protocol::miniature::{EPOCH_MS, Name};

/// The world and everything around it.
pub(super) struct Shard {
    miniature: Miniature<Server<World>>,
    clients: Vec<Client>,
}

/// What a client was told and has not looked at.
#[derive(Default)]
struct Client {
    heard: Vec<Heard>,
    acks: BTreeMap<u64, Value>,
    next_ack: u64,
}

/// An event of the server: its name and its only argument.
pub(super) type Heard = (String, Value);

impl Deref for Shard {
    type Target = Miniature<Server<World>>;

    fn deref(&self) -> &Self::Target {
        &self.miniature
    }
}

impl DerefMut for Shard {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.miniature
    }
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
        Self::start(self.config.comutiny.clone(), true, disk, entries, self.storage.epoch() + 1)
    }

    fn start(config: Config, durable: bool, disk: Disk, entries: Entries, epoch: u32) -> Self {
        let config = Arc::new(protocol::Config { comutiny: config, ..Default::default() });
        let now = Now { at: Instant::default(), wall_ms: EPOCH_MS };
        let open = Open { key: WORLD.to_owned(), now, config: Arc::clone(&config), durable };
        let storage = FakeStorage::new(WORLD, durable, disk, &entries, epoch);
        let within = Duration::from_millis(config.comutiny.recovery_ms);
        let server = Server::new(World::new(open), 0);
        let server = if within.is_zero() { server } else { server.with_recovery(within) };
        let invariants = |server: &Server<World>| {
            server.app().invariants();
            server.invariants();
        };
        let miniature = Miniature::start(server, config, storage, entries, invariants);
        Self { miniature, clients: Vec::new() }
    }

    pub(super) fn seeded(mut self, seed: u64) -> Self {
        self.seed(seed);
        self
    }

    /// A client connects to the namespace.
    pub(super) fn connect(&mut self) -> Name {
        self.connect_as(Hello::default())
    }

    pub(super) fn connect_as(&mut self, hello: Hello) -> Name {
        let name = self.enter(hello);
        self.send(name, "0");
        let connected = self.next_sent(name).map(Sent::into_text).expect("is answered");
        assert!(connected.starts_with("40{\"sid\":\""), "{connected}");
        name
    }

    /// A client opens a connection.
    pub(super) fn enter(&mut self, hello: Hello) -> Name {
        self.clients.push(Client::default());
        self.miniature.enter(hello)
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
        self.miniature.offer(name, Message::Text(text))
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
        let sent = self.take_texts(name);
        let client = &mut self.clients[name];
        for text in sent {
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
        self.take_sent(name).into_iter().map(Sent::into_text).collect()
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

    /// Settings change.
    pub(super) fn configure(&mut self, config: Config) {
        self.miniature.configure(protocol::Config { comutiny: config, ..Default::default() });
    }
}

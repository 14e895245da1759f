//! The hub in a shard in miniature, and what its clients say and hear.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde_json::{Value, json};

use super::serve;
use crate::protocol::fake_storage::{Disk, FakeStorage};
use crate::protocol::miniature::Miniature;
use crate::protocol::receiver::Sent;
use crate::protocol::rljson::hub::Hub;
use crate::protocol::rljson::{Config, HUB};
use crate::protocol::socketio::Server;
use crate::protocol::socketio::said::Said;
use crate::protocol::{self, Hello, Message, Open};
use crate::session::journal::Entries;
use crate::session::{Instant, Now};

pub(super) use crate::protocol::miniature::{EPOCH_MS, Name};

/// The hub and everything around it.
pub(super) struct Shard {
    miniature: Miniature<Server<Hub>>,
    clients: Vec<Client>,
}

/// What a client was told and has not looked at.
#[derive(Default)]
struct Client {
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

impl Deref for Shard {
    type Target = Miniature<Server<Hub>>;

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
        Self::start(self.config.rljson.clone(), true, disk, entries, self.storage.epoch() + 1)
    }

    fn start(config: Config, durable: bool, disk: Disk, entries: Entries, epoch: u32) -> Self {
        let config = Arc::new(protocol::Config { rljson: config, ..Default::default() });
        let now = Now { at: Instant::default(), wall_ms: EPOCH_MS };
        let open = Open { key: HUB.to_owned(), now, config: Arc::clone(&config), durable };
        let storage = FakeStorage::new(HUB, durable, disk, &entries, epoch);
        let server = Server::new(Hub::new(open), config.rljson.message_bytes_max);
        let invariants = |server: &Server<Hub>| {
            server.invariants();
            server.app().invariants();
        };
        let miniature = Miniature::start(server, config, storage, entries, invariants);
        Self { miniature, clients: Vec::new() }
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
        let name = self.enter(Hello { target: target.to_owned(), ..Hello::default() });
        self.clients.push(Client::default());
        self.send(name, &format!("0{auth}"), &[]);
        match self.said(name).remove(0) {
            Said::Connected => Ok(name),
            Said::Refused(why) => Err(why["message"].as_str().unwrap().to_owned()),
            other => panic!("{other:?}"),
        }
    }

    /// A client sends a packet.
    pub(super) fn send(&mut self, name: Name, text: &str, attachments: &[&[u8]]) {
        self.offer(name, Message::Text(text)).expect("a packet that is in order");
        for attachment in attachments {
            self.offer(name, Message::Binary(attachment)).expect("in order");
        }
    }

    /// What a client was told and has not looked at.
    fn said(&mut self, name: Name) -> &mut Vec<Said> {
        let said = &mut self.clients[name].said;
        self.miniature.take_sent(name).into_iter().for_each(|frame| take(said, frame));
        said
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
        let said = self.said(name);
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
        self.said(name).retain(|said| match said {
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
        self.said(name).retain(|said| match said {
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

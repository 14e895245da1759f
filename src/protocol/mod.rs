//! The protocols: state machines that decode what members say, change their session and push
//! [`Effects`]. All pure; see `session` for what they share.
//!
//! [`PROTOCOLS`] is the one list. A protocol is a folder here and a line in it: its routes, limits,
//! profile, metrics labels and help text follow from that line.

pub mod comutiny;
pub mod croquet;
pub mod echo;
#[cfg(test)]
mod fake_storage;
pub mod gallery;
mod js;
mod keeper;
#[cfg(test)]
mod miniature;
mod pending;
mod phase;
mod query;
#[cfg(test)]
mod receiver;
pub mod rljson;
pub mod socketio;
pub mod yjs;

use std::sync::Arc;
use std::time::Duration;

use crate::session::blobs::{BlobDone, BlobError};
use crate::session::effects::RecordName;
use crate::session::journal::Entries;
use crate::session::{Close, Counters, Effects, Instant, MemberId, Now};

/// Every protocol of this server.
pub static PROTOCOLS: &[&Protocol] = &[
    &croquet::PROTOCOL,
    &gallery::PROTOCOL,
    &yjs::PROTOCOL,
    &comutiny::PROTOCOL,
    &rljson::PROTOCOL,
    &echo::PROTOCOL,
];

/// Sessions that are opened when the process starts, if records can be stored: a protocol and a key.
pub static STANDING: &[(&Protocol, &str)] = &[(&gallery::PROTOCOL, gallery::HALL)];

/// What the shard must know of a protocol.
#[derive(Debug)]
pub struct Protocol {
    /// Metrics label, log field, and first part of its sessions' full names.
    pub name: &'static str,
    /// Where upgrade requests find it on the common listener; none keeps it off that listener.
    pub entrances: &'static [Entrance],
    /// The servers that it takes the place of.
    pub drop_ins: &'static [DropIn],
    /// Opens a session.
    pub open: fn(Open) -> Box<dyn Machine>,
    /// Its sessions record in the journal.
    pub journaled: bool,
    /// Limits of its connections.
    pub limits: fn(&Config) -> Limits,
    /// Deadlines of its connections.
    pub liveness: Liveness,
    /// How a member that does not keep up is told to go.
    pub slow: Close,
    /// How members are told to go when their session ended by a fault, or the process stops.
    pub restart: Close,
}

/// A way into the sessions of a protocol.
#[derive(Debug)]
pub struct Entrance {
    /// Its path on the listener. One that ends in `/` takes every path below it; any other takes
    /// itself and what lies below it.
    pub path: &'static str,
    /// The session that is asked for by what follows in the request's path, see
    /// [`Entrance::rest`].
    pub session_key: SessionKey,
    /// How those who come in here talk.
    pub wire: Wire,
}

/// Names a session by what follows an entrance in a path.
pub type SessionKey = fn(rest: &str) -> Result<String, Close>;

/// How members talk.
#[derive(Clone, Copy, Debug)]
pub enum Wire {
    /// WebSocket messages are the protocol's.
    WebSocket,
    /// They are Engine.IO's packets, and the client may poll for them.
    EngineIo(fn(&Config) -> EngineIo),
}

impl Entrance {
    /// An entrance for WebSockets.
    pub const fn new(path: &'static str, session_key: SessionKey) -> Self {
        Self { path, session_key, wire: Wire::WebSocket }
    }

    /// An entrance for clients of Engine.IO.
    pub const fn engine_io(
        path: &'static str,
        session_key: SessionKey,
        settings: fn(&Config) -> EngineIo,
    ) -> Self {
        Self { path, session_key, wire: Wire::EngineIo(settings) }
    }

    /// What follows this entrance in a path: empty, or with its slash; `None` if it lies elsewhere.
    pub fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        let own = self.path.strip_suffix('/');
        let rest = path.strip_prefix(own.unwrap_or(self.path))?;
        (rest.starts_with('/') || rest.is_empty() && own.is_none()).then_some(rest)
    }
}

/// What clients of Engine.IO are told and held to (specs: socketio §1).
#[derive(Clone, Debug)]
pub struct EngineIo {
    /// From one ping to the next.
    pub ping_interval: Duration,
    /// Time to answer one.
    pub ping_timeout: Duration,
    /// Whose pages may talk to it.
    pub origins: Origins,
}

/// The defaults of the original.
impl Default for EngineIo {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            origins: Origins::default(),
        }
    }
}

/// Origins of pages, as browsers tell them.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// May read what is answered: `*` stands for all.
    pub allowed: Vec<String>,
    /// All others are refused, also by WebSocket, which browsers do not guard. Who tells no origin is
    /// no page, and welcome.
    pub only: bool,
}

impl Origins {
    /// The value that lets pages of this origin read an answer, if they may.
    pub fn allow<'a>(&self, origin: Option<&'a str>) -> Option<&'a str> {
        if self.allows_all() {
            return Some("*");
        }
        origin.filter(|origin| self.allowed.iter().any(|allowed| allowed == origin))
    }

    /// Whether a request of this origin is refused.
    pub fn refuses(&self, origin: Option<&str>) -> bool {
        self.only && origin.is_some() && self.allow(origin).is_none()
    }

    fn allows_all(&self) -> bool {
        self.allowed.iter().any(|allowed| allowed == "*")
    }
}

/// A server that a protocol takes the place of, with its paths at the root.
#[derive(Debug)]
pub struct DropIn {
    /// Its name in `--as` and `--listen`.
    pub name: &'static str,
    /// One line of help.
    pub summary: &'static str,
    /// The port of the original.
    pub port: u16,
    /// What it answers to requests without an upgrade. Below the protocol's entrances on the common
    /// listener the first of its originals answers.
    pub pages: Pages,
    /// Where upgrade requests find it.
    pub entrances: &'static [Entrance],
    /// Ways into other protocols.
    pub others: &'static [(&'static Protocol, &'static [Entrance])],
}

/// Which server's answers to plain HTTP requests are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Ours.
    Common,
    /// The CoMutiNy gateway's (specs: comutiny §1).
    Comutiny,
    /// The Croquet reflector's, with its file server (specs: croquet §1.2, §14).
    Croquet,
    /// The Gallery Viewer server's (specs: gallery §6).
    Gallery,
    /// Those of a server of @rljson: none (specs: rljson §1).
    Rljson,
    /// Zeal's CRDT server's (specs: zeal §0).
    Zeal,
    /// y-websocket's server's (specs: zeal §4).
    YWebsocket,
}

/// What a session is opened with.
#[derive(Clone, Debug)]
pub struct Open {
    /// Its key.
    pub key: String,
    /// When.
    pub now: Now,
    /// Settings of the protocols.
    pub config: Arc<Config>,
    /// Whether records can be stored: off with `--in-memory`.
    pub durable: bool,
}

/// Settings of all protocols, with the defaults that help texts show.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// CoMutiNy's.
    pub comutiny: comutiny::Config,
    /// Croquet's.
    pub croquet: croquet::Config,
    /// Gallery's.
    pub gallery: gallery::Config,
    /// The rljson hub's.
    pub rljson: rljson::Config,
    /// Those of Yjs documents.
    pub yjs: yjs::Config,
    /// The cookie in which clients of Engine.IO that poll are given their session id, for balancers
    /// that keep a client with a server; none by default (specs: socketio §4).
    pub sid_cookie: Option<String>,
}

/// Limits of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest incoming message, in bytes; beyond it close 1009.
    pub message_bytes_max: usize,
    /// Most fragments of one message; beyond it close 1008.
    pub fragments_max: u32,
    /// How far a member may fall behind its session, in bytes, the newest entry not counted.
    pub lag_bytes_max: usize,
    /// Messages a member may send a second, sustained; beyond it the shard reads slower.
    pub messages_per_second_max: u32,
}

/// Deadlines of a connection. Each `None` is off. To clients of Engine.IO, which has pings of its own,
/// only the last applies.
#[derive(Clone, Copy, Debug)]
pub struct Liveness {
    /// The first ping, after the upgrade. Its payload is the wall clock in ms, decimal.
    pub first_ping: Option<Duration>,
    /// Silence after which a ping is sent.
    pub ping: Option<Duration>,
    /// Silence after which the member is closed, and how.
    pub silence: Option<(Duration, Close)>,
    /// Time to be admitted, and how the connection is closed otherwise.
    pub join: Option<(Duration, Close)>,
}

/// Who a new member is, as its upgrade request told. Of a member that comes from another session
/// only `peer` and `carry` are set: what else matters is the old session's to carry.
#[derive(Debug, Default)]
pub struct Hello {
    /// Path and query as they were asked for.
    pub target: String,
    /// `ip:port` of the socket's peer.
    pub peer: String,
    /// First element of `X-Forwarded-For`, else the peer's address.
    pub user_ip: String,
    /// `X-Location` header, if any.
    pub location: Option<String>,
    /// `Cookie` header, if any.
    pub cookie: Option<String>,
    /// `Authorization` header, if any.
    pub authorization: Option<String>,
    /// What the session it comes from says of it; empty for a member that comes from outside.
    pub carry: Vec<u8>,
}

/// A whole message from a member.
#[derive(Debug)]
pub enum Message<'a> {
    /// A text message: valid UTF-8.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Its bytes, whatever its kind.
    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// A session's state machine.
///
/// Every call may push effects; the shard drains them, asks for [`Machine::deadline`] and then
/// looks at the next input. An `Err` closes the member's connection with that code, after which
/// `on_leave` is called for it like for any other.
pub trait Machine: std::fmt::Debug {
    /// The session was opened with the process, see [`STANDING`]: nobody is there yet.
    fn on_open(&mut self, fx: &mut Effects<'_>) {
        let _ = fx;
    }

    /// A connection took a seat.
    fn on_enter(
        &mut self,
        member: MemberId,
        hello: Hello,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close>;

    /// A member said something.
    fn on_message(
        &mut self,
        member: MemberId,
        message: Message<'_>,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close>;

    /// A member answered a ping of the shard. `payload` is what it sent, which for an honest one is
    /// the wall clock in ms at the time of the ping, decimal.
    fn on_pong(&mut self, member: MemberId, payload: &[u8], fx: &mut Effects<'_>) {
        let _ = (member, payload, fx);
    }

    /// A member that polled has moved to a WebSocket. Only then it may go to another session.
    fn on_upgraded(&mut self, member: MemberId, fx: &mut Effects<'_>) {
        let _ = (member, fx);
    }

    /// A member's connection is gone or going. `code` is the close code seen, 1006 for none.
    fn on_leave(&mut self, member: MemberId, code: u16, fx: &mut Effects<'_>);

    /// The time asked for by [`Machine::deadline`] has come. May be called early.
    fn on_deadline(&mut self, fx: &mut Effects<'_>);

    /// When [`Machine::on_deadline`] is next due.
    fn deadline(&self) -> Option<Instant>;

    /// The session `from` of this protocol said something.
    fn on_told(&mut self, from: &str, body: &[u8], fx: &mut Effects<'_>) {
        let _ = (from, body, fx);
    }

    /// Stored records that were asked for; `None` for each that does not exist.
    fn on_loaded(&mut self, ticket: u32, records: Loaded, fx: &mut Effects<'_>) {
        let _ = (ticket, records, fx);
    }

    /// The session has entries in the journal that no stored record has: the process before this one
    /// ended without storing it. Called right after it was opened, before anybody enters; with nobody
    /// there the machine should store its base and be over after a while, as if all had just left.
    fn on_recovered(&mut self, entries: Entries, fx: &mut Effects<'_>) {
        let _ = (entries, fx);
    }

    /// The journal has grown long, or has failed: store a base (`Effects::store_base`) now.
    fn on_checkpoint(&mut self, fx: &mut Effects<'_>) {
        let _ = fx;
    }

    /// A record was stored, or not.
    fn on_stored(&mut self, record: &RecordName, result: Result<(), String>, fx: &mut Effects<'_>) {
        let _ = (record, result, fx);
    }

    /// What became of the request of this ticket on a blob, see
    /// [`Effects::write_blob`](crate::session::Effects::write_blob).
    fn on_blob(&mut self, ticket: u32, result: Result<BlobDone, BlobError>, fx: &mut Effects<'_>) {
        let _ = (ticket, result, fx);
    }

    /// A post was delivered, or not.
    fn on_posted(&mut self, result: Result<(), String>, fx: &mut Effects<'_>) {
        let _ = (result, fx);
    }

    /// Settings that files tell have changed: these hold from now on.
    fn on_configured(&mut self, config: &Arc<Config>, fx: &mut Effects<'_>) {
        let _ = (config, fx);
    }

    /// An operator wants something removed; what its name means is the protocol's.
    fn on_remove(&mut self, what: &str, fx: &mut Effects<'_>) -> Removal {
        let _ = (what, fx);
        Removal::Absent
    }

    /// The process stops: store what must outlive it. The shard closes the members afterwards.
    fn on_drain(&mut self, fx: &mut Effects<'_>) {
        let _ = fx;
    }

    /// Whether the session is over and may be forgotten.
    fn is_over(&self) -> bool;

    /// One line for `/sessions`.
    fn describe(&self) -> String;

    /// JSON array of the users, for `/users/<session>`.
    fn users(&self) -> String {
        "[]".to_owned()
    }
}

/// What became of an operator's wish to remove something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone; what is stored of it goes, too.
    Removed,
    /// There is none.
    Absent,
    /// Somebody is there.
    InUse,
    /// It is not known yet what there is.
    NotReady,
}

/// What protocols tell the log of a shard as a whole, not of one session.
#[derive(Debug)]
pub struct Reports {
    croquet: croquet::Report,
}

impl Reports {
    /// Reports of the shard of this index.
    pub fn new(shard: usize) -> Self {
        Self { croquet: croquet::Report::new(shard) }
    }

    /// A round trip to the client at this address took `ms` milliseconds.
    pub fn on_latency(&mut self, address: &str, ms: u32) {
        self.croquet.on_latency(address, ms);
    }

    /// Tells what is due.
    pub fn on_deadline(&mut self, now: Instant, counters: &Counters) {
        self.croquet.on_deadline(now, counters);
    }

    /// When something is next due.
    pub fn deadline(&self) -> Instant {
        self.croquet.deadline()
    }
}

/// Content of stored records in the order asked for, or why they could not be read.
pub type Loaded = Result<Vec<Option<Vec<u8>>>, String>;

/// Whether two secrets are the same, in a time that tells nothing but their lengths.
fn is_same_secret(one: &str, other: &str) -> bool {
    let differences = one.bytes().zip(other.bytes()).fold(0, |found, (a, b)| found | (a ^ b));
    one.len() == other.len() && differences == 0
}

/// The protocol of this name.
pub fn by_name(name: &str) -> Option<&'static Protocol> {
    PROTOCOLS.iter().copied().find(|protocol| protocol.name == name)
}

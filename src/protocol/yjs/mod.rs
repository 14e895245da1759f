//! Documents of Yjs (specs: zeal): updates are relayed among those who edit a document, which the
//! server keeps so that whoever comes late or comes back is told what it lacks.
//!
//! A session is one document ([`room`]): what was written ([`document`]) and who is there,
//! looking at what ([`awareness`]). Clients of y-websocket name it by the path they ask for. Zeal's
//! native clients (`/ws`) name it in their first message; until then they are in the lobby
//! ([`lobby`]), and [`native`] has what they and the server say to each other besides. Zeal's web
//! clients do the same by Socket.IO ([`socketio`]).
//!
//! Invariants:
//! - No byte of an update or a state reaches a client that `codec::ysync` has not checked.
//! - An update is relayed as it came, and only if it tells anything new.
//! - A member is answered one difference a turn, whatever it asks: answers cost far more than
//!   questions.
//!
//! Deliberately absent: shared types (nothing here looks into a document), version 2 of the
//! encoding, accounts (see [`access`]).

mod access;
mod awareness;
mod census;
mod document;
mod lobby;
mod native;
mod room;
mod socketio;
mod stored;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use super::{
    DropIn, EngineIo, Entrance, Limits, Liveness, Machine, Open, Origins, Pages, Protocol,
};
use crate::codec::http1::path::percent_decode;
use crate::session::Close;
pub use census::Census;

/// Key of the session of Zeal's native clients that are in no room.
const LOBBY: &str = "lobby";
/// The same of those who talk Socket.IO.
const SOCKETIO_LOBBY: &str = "socket.io";
/// What precedes the name of a room in its session's key.
const ROOM_PREFIX: &str = "room/";
/// Longest name of a room, in bytes.
pub const ROOM_BYTES_MAX: usize = 256;

const BAD_ROOM: Close = Close::new(4400, "Invalid room name");
const UNAUTHORIZED: Close = Close::new(4401, "Unauthorized");
const ROOM_FULL: Close = Close::new(1013, "Room capacity reached");
const SERVER_FULL: Close = Close::new(1013, "Room limit reached");
const MALFORMED: Close = Close::new(1008, "Malformed message");
const NOT_BINARY: Close = Close::new(1003, "Messages are binary");
const REFUSED: Close = Close::new(1008, "Too much is missing");
const TOO_AWARE: Close = Close::new(1008, "Too many awareness states");
const UNAVAILABLE: Close = Close::new(1011, "Document is unavailable");
const SILENT: Close = Close::new(1001, "Heartbeat timeout");
const IDLE: Close = Close::new(1008, "Not joined");
const STOPPING: Close = Close::new(1012, "Server restarts");
const TOO_SLOW: Close = Close::new(1013, "Too slow");

/// Settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Largest incoming message, in bytes; beyond it close 1009.
    pub message_bytes_max: usize,
    /// The same for Zeal's clients. Those that talk Socket.IO are told so instead, and it is the
    /// frame in their message that counts: as numbers it takes up to four times as much.
    pub native_message_bytes_max: usize,
    /// Most fragments of one incoming message.
    pub fragments_max: u32,
    /// How far a member may fall behind its document, in bytes; beyond it close 1013.
    pub lag_bytes_max: usize,
    /// Messages a member may send a second, sustained, and twice as many at once; beyond it the
    /// server reads slower.
    pub messages_per_second_max: u32,
    /// Documents in memory.
    pub rooms_max: usize,
    /// Documents in memory beyond which Zeal's clients open no more.
    pub native_rooms_max: usize,
    /// Clients of a document.
    pub clients_per_room_max: usize,
    /// Clients of a document beyond which Zeal's clients are refused.
    pub native_clients_per_room_max: usize,
    /// Largest document, in bytes; what would make it larger is dropped, and its author told.
    pub document_bytes_max: usize,
    /// How long a document stays in memory when everybody has left, in milliseconds.
    pub room_timeout_ms: u64,
    /// What clients that may write must know, if anything.
    pub write_token: Option<String>,
    /// What clients that may only read must know, if there are such.
    pub read_token: Option<String>,
    /// Origins whose pages may talk to Zeal's Socket.IO form; all if there are none.
    pub origins: Vec<String>,
    /// Documents in memory, on all shards.
    pub census: Arc<Census>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            message_bytes_max: 64 << 20,
            native_message_bytes_max: 1 << 20,
            fragments_max: 1 << 14,
            lag_bytes_max: 16 << 20,
            messages_per_second_max: 1_000,
            rooms_max: 100_000,
            native_rooms_max: 1_000,
            clients_per_room_max: 10_000,
            native_clients_per_room_max: 100,
            document_bytes_max: 256 << 20,
            room_timeout_ms: 30 * 60_000,
            write_token: None,
            read_token: None,
            origins: Vec::new(),
            census: Arc::default(),
        }
    }
}

/// Documents of Yjs.
pub static PROTOCOL: Protocol = Protocol {
    name: "yjs",
    entrances: &[
        Entrance::new("/yjs/", room_of_path),
        Entrance::new("/ws", lobby_of_path),
        Entrance::engine_io("/zeal/socket.io/", socketio_lobby_of_path, engine_io),
    ],
    drop_ins: &[
        DropIn {
            name: "yjs",
            summary: "Yjs documents, as y-websocket's server",
            port: 1234,
            pages: Pages::YWebsocket,
            entrances: &[Entrance::new("/", room_of_path)],
            others: &[],
        },
        DropIn {
            name: "zeal",
            summary: "Yjs documents, as Zeal's CRDT server",
            port: 8080,
            pages: Pages::Zeal,
            entrances: &[
                Entrance::new("/ws", lobby_of_path),
                Entrance::new("/yjs/", room_of_path),
                Entrance::engine_io("/socket.io/", socketio_lobby_of_path, engine_io),
            ],
            others: &[],
        },
    ],
    open,
    journaled: true,
    limits: |config| Limits {
        message_bytes_max: config.yjs.message_bytes_max,
        fragments_max: config.yjs.fragments_max,
        lag_bytes_max: config.yjs.lag_bytes_max,
        messages_per_second_max: config.yjs.messages_per_second_max,
    },
    liveness: Liveness {
        first_ping: None,
        ping: Some(Duration::from_secs(30)),
        silence: Some((Duration::from_secs(60), SILENT)),
        join: Some((Duration::from_secs(30), IDLE)),
    },
    slow: TOO_SLOW,
    restart: STOPPING,
};

fn open(open: Open) -> Box<dyn Machine> {
    match open.key.strip_prefix(ROOM_PREFIX) {
        Some(name) => Box::new(room::Room::new(name.into(), open.config, open.durable, open.now)),
        None if open.key == SOCKETIO_LOBBY => Box::new(socketio::lobby::Lobby::new(open.config)),
        None => Box::new(lobby::Lobby::new(open.config)),
    }
}

/// A room is named by the whole path (§4).
fn room_of_path(rest: &str) -> Result<String, Close> {
    let name = percent_decode(rest.strip_prefix('/').unwrap_or(rest)).map_err(|_| BAD_ROOM)?;
    room_key(&name).ok_or(BAD_ROOM)
}

fn lobby_of_path(_: &str) -> Result<String, Close> {
    Ok(LOBBY.to_owned())
}

fn socketio_lobby_of_path(_: &str) -> Result<String, Close> {
    Ok(SOCKETIO_LOBBY.to_owned())
}

/// What Zeal's Socket.IO clients are told and held to (§0).
fn engine_io(config: &super::Config) -> EngineIo {
    let allowed = &config.yjs.origins;
    let origins = if allowed.is_empty() {
        Origins { allowed: vec!["*".to_owned()], only: false }
    } else {
        Origins { allowed: allowed.clone(), only: true }
    };
    EngineIo {
        ping_interval: Duration::from_secs(25),
        ping_timeout: Duration::from_secs(60),
        origins,
    }
}

/// The key of a room's session; none for what no room may be called.
fn room_key(name: &str) -> Option<String> {
    let is_name = (1..=ROOM_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
    is_name.then(|| format!("{ROOM_PREFIX}{name}"))
}

//! The hub of rljson (specs: rljson §7, §8): a drop-in for the sync server of @rljson, for clients
//! that announce refs to each other and read from each other what the refs name.
//!
//! | module | what |
//! |---|---|
//! | [`hub`] | the Socket.IO application: what clients ask for, what they are asked, what is kept |
//! | [`merge`] | two trees that crossed, and the one both come from, into one |
//! | [`route`] | what is announced on a route, by whom, and what everybody is told |
//! | [`shelf`] | rows and blobs by their hashes: what is kept, where, and for how long |
//!
//! How they are put together: a ref is read ([`route::Payload`]), [`route::Route::announce`] says whether
//! it is a fast-forward. If not, rows are fetched onto the shelf as far as they are missing,
//! [`merge::merge`] makes one tree of two, and the rows it made go onto the shelf. All but the hub is
//! pure data and speaks no Socket.IO.

mod hub;
pub mod merge;
pub mod route;
pub mod shelf;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use super::socketio::{self, Server};
use super::{DropIn, EngineIo, Entrance, Limits, Machine, Open, Origins, Pages, Protocol};
use crate::session::Close;

/// Key of the one session: routes are told apart inside.
pub const HUB: &str = "hub";

/// How soon whoever comes is told the latest ref.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// [`route::PACE`].
    #[default]
    Careful,
    /// [`route::MIN_PACE`].
    Quick,
}

impl Pace {
    fn times(self) -> &'static [Duration] {
        match self {
            Self::Careful => route::PACE,
            Self::Quick => route::MIN_PACE,
        }
    }
}

/// What opens a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// With its slash.
    pub route: Box<str>,
    /// Whether refs may be announced there, too.
    pub write: bool,
    /// What a client has to show.
    pub secret: String,
}

/// A grant that is not of the form `ROUTE:read=SECRET` or `ROUTE:write=SECRET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not ROUTE:read=SECRET or ROUTE:write=SECRET")]
pub struct GrantError;

impl std::str::FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let (what, secret) = text.split_once('=').ok_or(GrantError)?;
        let (route, right) = what.rsplit_once(':').ok_or(GrantError)?;
        let write = match right {
            "read" => false,
            "write" => true,
            _ => return Err(GrantError),
        };
        let route = hub::route_name(route).filter(|_| !secret.is_empty()).ok_or(GrantError)?;
        Ok(Self { route, write, secret: secret.to_owned() })
    }
}

/// Settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Largest incoming message, in bytes, and so the largest blob that is had in one piece.
    pub message_bytes_max: usize,
    /// Refs a client may announce a second, sustained; at least 1. Five seconds' worth may come at once.
    pub refs_per_second_max: u32,
    /// Messages a client may send a second, sustained; beyond it the server reads slower.
    pub messages_per_second_max: u32,
    /// Rows that are kept, in bytes of memory.
    pub row_bytes_max: usize,
    /// Blobs that are kept, in bytes on disk.
    pub blob_bytes_max: u64,
    /// Most routes.
    pub routes_max: usize,
    /// Whether clients may write of their own accord.
    pub allow_writes: bool,
    /// What becomes of a file that was edited twice at once.
    pub conflicts: merge::Conflicts,
    /// How soon whoever comes is told the latest ref.
    pub bootstrap: Pace,
    /// What clients that missed refs are told.
    pub gap_fill: route::GapFill,
    /// What clients must show to connect, if anything.
    pub token: Option<String>,
    /// What they may show instead, to follow only.
    pub read_token: Option<String>,
    /// What they may show instead, to be on some routes only.
    pub grants: Vec<Grant>,
    /// Routes that nobody may announce on, with or without their slash.
    pub read_only_routes: Vec<String>,
    /// Origins of pages that may talk to the hub; all, if there is none.
    pub origins: Vec<String>,
    /// From a change to its being stored, in milliseconds: until then the journal has it.
    pub store_delay_ms: u64,
    /// How long what is known of clients is kept in memory after the last has left, in milliseconds.
    pub linger_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            message_bytes_max: 10 << 20,
            refs_per_second_max: 20,
            messages_per_second_max: 5_000,
            row_bytes_max: 256 << 20,
            blob_bytes_max: 10 << 30,
            routes_max: 1_000,
            allow_writes: false,
            conflicts: merge::Conflicts::default(),
            bootstrap: Pace::default(),
            gap_fill: route::GapFill::default(),
            token: None,
            read_token: None,
            grants: Vec::new(),
            read_only_routes: Vec::new(),
            origins: Vec::new(),
            store_delay_ms: 60_000,
            linger_ms: 600_000,
        }
    }
}

/// How many whole messages a client may be behind with, in what is for it alone.
const LAG_MESSAGES: usize = 8;

/// The hub.
pub static PROTOCOL: Protocol = Protocol {
    name: "rljson",
    entrances: &[Entrance::engine_io("/rljson/socket.io/", session_key, engine_io)],
    drop_ins: &[DropIn {
        name: "rljson",
        summary: "sync hub of @rljson",
        port: 3000,
        pages: Pages::Rljson,
        entrances: &[Entrance::engine_io("/socket.io/", session_key, engine_io)],
        others: &[],
    }],
    open,
    journaled: true,
    limits: |config| Limits {
        message_bytes_max: config.rljson.message_bytes_max,
        fragments_max: 1024,
        lag_bytes_max: config.rljson.message_bytes_max * LAG_MESSAGES,
        messages_per_second_max: config.rljson.messages_per_second_max,
    },
    liveness: socketio::LIVENESS,
    slow: socketio::CLOSE,
    restart: socketio::CLOSE,
};

fn engine_io(config: &super::Config) -> EngineIo {
    let allowed = &config.rljson.origins;
    let origins = match allowed.is_empty() {
        true => Origins { allowed: vec!["*".to_owned()], only: false },
        false => Origins { allowed: allowed.clone(), only: true },
    };
    EngineIo { origins, ..EngineIo::default() }
}

fn session_key(_: &str) -> Result<String, Close> {
    Ok(HUB.to_owned())
}

fn open(open: Open) -> Box<dyn Machine> {
    let attachments_bytes_max = open.config.rljson.message_bytes_max;
    Box::new(Server::new(hub::Hub::new(open), attachments_bytes_max))
}

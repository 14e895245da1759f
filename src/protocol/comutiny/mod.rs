//! The CoMutiNy world gateway (specs: comutiny): one world on Socket.IO, whose players see each
//! other move and talk.
//!
//! Every client enters the one [`world`], which sends it a snapshot and then what changes: players
//! ([`player`], [`metadata`]) and the [`chat`]. Avatars, the name of the world and its sprites are
//! an operator's to give ([`avatars`]); who a client is, a token of its handshake may tell
//! ([`identity`]), which it got elsewhere or for an account here ([`accounts`]).
//!
//! What clients send is cleaned as the original of the first document does it. Of its last version
//! there is what existing clients can use and earlier ones do not notice: `alias`, `direction` and
//! `sprite` of a player whose client has said them, four more keys of an appearance, and updates
//! that may be held back for a while. Absent are its maps with their objects, for which snapshots of
//! that version have room. Unlike in both, whatever is to be acknowledged is, also a `player:leave`
//! with a payload.
//!
//! Invariants:
//! - A player has one owner, and a socket one player at most. A socket that joins takes a player over
//!   from its owner, who is told and leaves; the others are told of no departure.
//! - The snapshot and what is said after it add up to the world, for every client at any time.
//! - A message is in the journal before anybody is told of it, its sender included. Players are not
//!   kept: whoever plays them is gone with the process.
//! - Updates of one player may replace each other, and nothing else.
//!
//! Deliberately absent: bounds of the world (the original has none).

pub mod accounts;
mod avatars;
mod chat;
mod fault;
mod identity;
pub mod jwt;
mod metadata;
mod payload;
mod player;
mod players;
#[cfg(test)]
pub(crate) mod tests;
mod world;

use std::sync::Arc;
use std::time::Duration;

use super::socketio::{self, Server};
use super::{DropIn, EngineIo, Entrance, Limits, Machine, Open, Origins, Pages, Protocol};
use crate::session::Close;

pub use accounts::Accounts;
pub use avatars::{Catalogue, CatalogueError, FILE_BYTES_MAX};
pub use identity::Login;

/// Key of the one session.
pub const WORLD: &str = "world";

/// Longest id of a player, in bytes.
const ID_BYTES_MAX: usize = 256;
/// Longest name and author, in UTF-16 units; beyond it, they are cut.
const NAME_UNITS_MAX: usize = 100;
/// Longest text of a message, in UTF-16 units; beyond it, it is cut.
const CONTENT_UNITS_MAX: usize = 500;
/// The same for what the world is called and described as.
const WORLD_TEXT_UNITS_MAX: usize = 500;
/// Longest animation, in bytes.
const ANIMATION_BYTES_MAX: usize = 256;
/// Most keys of a player's metadata, beside those that are cleaned.
const METADATA_KEYS_MAX: usize = 128;
/// Messages of the chat that are kept.
const CHAT_KEPT: usize = 50;
/// Deepest nesting of what clients send.
const DEPTH_MAX: usize = 64;

/// Settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Largest incoming message, in bytes.
    pub message_bytes_max: usize,
    /// How far a client may fall behind, in bytes, beside updates that newer ones replace.
    pub lag_bytes_max: usize,
    /// Messages a client may send a second, sustained; beyond it the server reads slower.
    pub messages_per_second_max: u32,
    /// Most players.
    pub players_max: usize,
    /// Metadata of one player, in bytes.
    pub metadata_bytes_max: usize,
    /// Metadata of all players together, in bytes.
    pub world_bytes_max: usize,
    /// How long updates may be held back to be told together, the newest of each player, in
    /// milliseconds; 0 for not at all.
    pub update_interval_ms: u64,
    /// Whether clients may talk in the name of others and before they join, as the original lets
    /// them.
    pub speak_as_anybody: bool,
    /// Whether a client whose player was taken over is sent `session:disconnect`, too.
    pub announce_disconnect: bool,
    /// What clients must show to play as somebody; without it everybody may be anybody.
    pub login: Option<Login>,
    /// Accounts that clients make over HTTP; none if tokens are made elsewhere, or not at all.
    pub accounts: Option<Accounts>,
    /// Origins whose pages may read what is answered to polls, separated by commas; `*` for any.
    pub cors_origin: String,
    /// What is known of the world.
    pub catalogue: Arc<Catalogue>,
    /// How long after its connection was cut a client may come back and be told what it has missed
    /// (Socket.IO's connection state recovery), in milliseconds; 0 for not at all.
    pub recovery_ms: u64,
    /// From a message to the chat's being stored, in milliseconds: until then the journal has it.
    pub store_delay_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            message_bytes_max: 1_000_000,
            lag_bytes_max: 4 << 20,
            messages_per_second_max: 1_000,
            players_max: 1_000,
            metadata_bytes_max: 64 << 10,
            world_bytes_max: 8 << 20,
            update_interval_ms: 0,
            speak_as_anybody: false,
            announce_disconnect: true,
            login: None,
            accounts: None,
            cors_origin: "*".to_owned(),
            catalogue: Arc::default(),
            recovery_ms: 0,
            store_delay_ms: 60_000,
        }
    }
}

/// The CoMutiNy gateway.
pub static PROTOCOL: Protocol = Protocol {
    name: "comutiny",
    entrances: &[Entrance::engine_io("/comutiny/socket.io/", session_key, engine_io)],
    drop_ins: &[DropIn {
        name: "comutiny",
        summary: "CoMutiNy's world",
        port: 4000,
        pages: Pages::Comutiny,
        entrances: &[Entrance::engine_io("/socket.io/", session_key, engine_io)],
        others: &[],
    }],
    open,
    journaled: true,
    limits: |config| Limits {
        message_bytes_max: config.comutiny.message_bytes_max,
        fragments_max: 1024,
        // Whoever joins is sent all of the world at once.
        lag_bytes_max: config.comutiny.lag_bytes_max + config.comutiny.world_bytes_max,
        messages_per_second_max: config.comutiny.messages_per_second_max,
    },
    liveness: socketio::LIVENESS,
    slow: socketio::CLOSE,
    restart: socketio::CLOSE,
};

fn engine_io(config: &super::Config) -> EngineIo {
    EngineIo { origins: accounts::origins(&config.comutiny), ..EngineIo::default() }
}

fn session_key(_: &str) -> Result<String, Close> {
    Ok(WORLD.to_owned())
}

fn open(open: Open) -> Box<dyn Machine> {
    // Nothing here has attachments: they are taken, like anything else that means nothing.
    let attachments_bytes_max = open.config.comutiny.message_bytes_max;
    let recovery = Duration::from_millis(open.config.comutiny.recovery_ms);
    let server = Server::new(world::World::new(open), attachments_bytes_max);
    if recovery.is_zero() { Box::new(server) } else { Box::new(server.with_recovery(recovery)) }
}

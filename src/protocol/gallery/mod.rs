//! Gallery Viewer rooms (specs: gallery): JSON messages relayed within rooms whose state the server
//! keeps, so that whoever comes late sees what the others see.
//!
//! Every connection enters the one [`hall`], which knows which rooms and connections there are
//! ([`directory`]) and sends it on to the session of a room ([`room`]), where the message relay
//! ([`relay`]) and the room's state ([`state`]) are. A member goes back through the hall when it
//! leaves or is refused. Sessions live on different shards: what they tell each other ([`carry`])
//! takes time and may cross on the way.
//!
//! Invariants:
//! - The hall alone creates and deletes rooms; a room alone decides who is in it.
//! - A connection has one number for all its life, and a newer one for the same user id wins,
//!   wherever the two meet.
//! - The room a join was sent to exists when it arrives: a room is deleted only once the hall has
//!   heard that it was empty after the last join it was sent.
//! - Room state changes in one place, `State::apply`; what a persistent room must not lose goes to
//!   the journal with it ([`stored`]).
//! - What a member said before it moved is heard before what it says after.
//!
//! Deliberately absent: accounts (roles are what members say they are, unless a secret to sign them
//! with is set); looking into what is relayed beyond its type; limits, heartbeat and slow members
//! (the shard's, as [`PROTOCOL`] tells it).

mod carry;
mod creations;
mod decode;
mod directory;
mod encode;
mod hall;
mod relay;
mod room;
mod state;
mod stored;
#[cfg(test)]
mod tests;
mod token;
mod user;

use std::time::Duration;

use super::{DropIn, Entrance, Limits, Liveness, Machine, Open, Pages, Protocol};
use crate::session::Close;
pub use user::Role;

/// Key of the session that every connection enters first.
pub const HALL: &str = "hall";
/// What precedes the id of a room in its session's key.
const ROOM_PREFIX: &str = "room/";

/// Longest room id and user id, in bytes.
const ID_BYTES_MAX: usize = 128;
/// Longest name of a user, in characters.
const NAME_CHARS_MAX: usize = 64;
/// Longest avatar, in bytes of JSON.
const AVATAR_BYTES_MAX: usize = 4 << 10;
/// Longest password of a room, in bytes of JSON.
const PASSWORD_BYTES_MAX: usize = 128;
/// Longest `requestId`, in bytes of JSON.
const REQUEST_ID_BYTES_MAX: usize = 256;
/// Deepest nesting of what members send.
const DEPTH_MAX: usize = 64;

const BAD_API_KEY: Close = Close::new(1008, "Invalid API key");
const BAD_USER_ID: Close = Close::new(1008, "Invalid user ID");
const REPLACED: Close = Close::new(4001, "Replaced by a new connection");
const SILENT: Close = Close::new(1001, "Heartbeat timeout");
const STOPPING: Close = Close::new(1001, "Server shutting down");
const TOO_SLOW: Close = Close::new(1013, "Too slow");
const OVERLOADED: Close = Close::new(1013, "Try again later");
const CONFUSED: Close = Close::new(1011, "Internal error");

/// Settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Largest incoming message, in bytes; beyond it close 1009.
    pub message_bytes_max: usize,
    /// Most fragments of one incoming message.
    pub fragments_max: u32,
    /// How far a member may fall behind its room, in bytes; beyond it close 1013.
    pub lag_bytes_max: usize,
    /// Messages a member may send a second, sustained, and twice as many at once; beyond it the
    /// server reads slower.
    pub messages_per_second_max: u32,
    /// Rooms there may be, those included that came to be by joining them.
    pub rooms_max: usize,
    /// Users of a room that does not say how many.
    pub users_max_default: u32,
    /// Users that a room may ask for.
    pub users_max: u32,
    /// How long a room that was never joined is kept, in milliseconds.
    pub room_timeout_ms: u64,
    /// Rooms that may be created a minute from one address; loopback is exempt, 0 for no limit.
    pub creations_per_minute_max: u32,
    /// State of a room, in bytes.
    pub state_bytes_max: usize,
    /// The key that clients must know, if any.
    pub api_key: Option<String>,
    /// What roles are signed with; without it members choose theirs.
    pub role_secret: Option<String>,
    /// Whether a room has one host at most.
    pub one_host: bool,
    /// Whether `/stats` keeps the rooms to itself.
    pub hide_rooms: bool,
    /// Who may do what.
    pub permissions: Permissions,
    /// How long poses and gazes may be held back to leave together, in milliseconds; 0 for not at all.
    pub pose_interval_ms: u64,
    /// How long the place of a replaced connection is kept for the new one, in milliseconds.
    pub replaced_grace_ms: u64,
    /// From a change of a persistent room to its being stored, in milliseconds: until then the
    /// journal has it.
    pub store_delay_ms: u64,
}

/// The least role for each kind of change; viewer for everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// Which scene is shown.
    pub scene_change: Role,
    /// The tree view.
    pub tree_view_change: Role,
    /// Annotations.
    pub annotations: Role,
    /// Others' cameras.
    pub camera_control: Role,
}

impl Default for Permissions {
    fn default() -> Self {
        Self {
            scene_change: Role::Editor,
            tree_view_change: Role::Editor,
            annotations: Role::Editor,
            camera_control: Role::Editor,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            message_bytes_max: 1 << 20,
            fragments_max: 1024,
            lag_bytes_max: 4 << 20,
            messages_per_second_max: 200,
            rooms_max: 1_000,
            users_max_default: 50,
            users_max: 1_000,
            room_timeout_ms: 24 * 3_600_000,
            creations_per_minute_max: 60,
            state_bytes_max: 1 << 20,
            api_key: None,
            role_secret: None,
            one_host: false,
            hide_rooms: false,
            permissions: Permissions::default(),
            pose_interval_ms: 0,
            replaced_grace_ms: 10_000,
            store_delay_ms: 60_000,
        }
    }
}

/// The Gallery Viewer server.
pub static PROTOCOL: Protocol = Protocol {
    name: "gallery",
    entrances: &[Entrance::new("/gallery", session_key)],
    drop_ins: &[DropIn {
        name: "gallery",
        summary: "Gallery Viewer rooms",
        port: 8080,
        pages: Pages::Gallery,
        entrances: &[Entrance::new("/", session_key)],
        others: &[],
    }],
    open,
    journaled: true,
    limits: |config| Limits {
        message_bytes_max: config.gallery.message_bytes_max,
        fragments_max: config.gallery.fragments_max,
        lag_bytes_max: config.gallery.lag_bytes_max,
        messages_per_second_max: config.gallery.messages_per_second_max,
    },
    liveness: Liveness {
        first_ping: None,
        ping: Some(Duration::from_secs(30)),
        silence: Some((Duration::from_secs(60), SILENT)),
        join: None,
    },
    slow: TOO_SLOW,
    restart: STOPPING,
};

fn session_key(_: &str) -> Result<String, Close> {
    Ok(HALL.to_owned())
}

fn open(open: Open) -> Box<dyn Machine> {
    match open.key.strip_prefix(ROOM_PREFIX) {
        Some(id) => Box::new(room::Room::new(id.into(), open.config, open.durable)),
        None => Box::new(hall::Hall::new(open.config, open.durable)),
    }
}

/// The body of `/stats` while there is nobody.
pub fn no_rooms() -> String {
    directory::Directory::default().stats(false)
}

/// The key of a room's session.
fn room_key(id: &str) -> String {
    format!("{ROOM_PREFIX}{id}")
}

/// Whether an id is one that rooms and users may have.
fn is_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

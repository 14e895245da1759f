//! Croquet reflector (specs: croquet). A session's reflector stamps every message with session
//! time and a sequence number, retains it until a snapshot covers it, and sends it to every member
//! that listens, its sender included; when there is nothing to say it sends the time. Payloads are
//! encrypted end to end and relayed as they came.
//!
//! Where things are: [`decode`] opens what members send, [`encode`] makes what they are sent,
//! [`stream`] stamps (with [`clock`] and [`messages`]), [`crowd`] knows who is there and announces
//! them, [`tally`] counts votes, [`stored`] is what outlives the process, [`live`] is one
//! incarnation of a session and [`machine`] its life cycle; [`report`] tells the log of a shard.
//!
//! Invariants:
//! - Everything is validated before a sequence number is taken: sequence numbers are consecutive,
//!   whatever a member sends, since one gap would send all clients into a loop of reconnections.
//! - Session time never goes back, not even over a restart.
//! - A member is sent SYNC, then every message from there on, none missing and none twice.
//! - Nothing a member says reaches the session before the member has been sent its SYNC.
//!
//! Deliberately absent: looking into payloads; limits, liveness and slow consumers of connections
//! (the shard's, as [`PROTOCOL`] tells it); the file server; authentication (the original has none
//! when self-hosted).

mod clock;
mod context;
mod crowd;
mod debounce;
mod decode;
mod encode;
mod herald;
mod live;
mod machine;
mod messages;
mod report;
mod stored;
mod stream;
mod tally;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use report::Report;

use super::{DropIn, Entrance, Limits, Liveness, Pages, Protocol};
use crate::session::Close;

/// Longest session id, in bytes. Those of clients have 43.
const SESSION_ID_BYTES_MAX: usize = 512;

const UNKNOWN_SESSION: Close = Close::new(4000, "unknown session");
const INACTIVE: Close = Close::new(4002, "client inactive");
const RECONNECT: Close = Close::new(4003, "please reconnect");
const OUTDATED: Close = Close::new(4100, "outdated protocol");
const BAD_APP_ID: Close = Close::new(4101, "bad appId");
const MALFORMED: Close = Close::new(4102, "malformed message");
const BAD_API_KEY: Close = Close::new(4103, "bad apiKey");
const UNKNOWN_ERROR: Close = Close::new(4109, "unknown error");
const NEVER_JOINED: Close = Close::new(4121, "client never joined");

/// An event for the log, under the name it has in the original.
macro_rules! event {
    ($level:ident, $scope:literal, $event:literal, $id:expr
     $(, $key:ident = $value:expr)*; $($message:tt)+) => {
        log::$level!(
            target: "croquet",
            scope = $scope, event = $event, sessionId = $id $(, $key = $value)*;
            $($message)+
        )
    };
}
use event;

/// Settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Largest incoming message, in bytes; beyond it close 1009.
    pub message_bytes_max: usize,
    /// Most fragments of one incoming message.
    pub fragments_max: u32,
    /// How far a member may fall behind its session, in bytes; beyond it close 4003.
    pub lag_bytes_max: usize,
    /// Messages a member may send a second, sustained; beyond it the server reads slower.
    pub messages_per_second_max: u32,
    /// Messages retained without a snapshot; beyond it messages are dropped.
    pub history_messages_max: usize,
    /// Retained messages from which on clients are asked for a snapshot.
    pub history_request_snapshot: usize,
    /// Size of the retained messages, in bytes: its fraction counts like that of their number.
    pub history_bytes_max: usize,
    /// Shortest interval between ticks that a member may ask for, in milliseconds.
    pub tick_ms_min: u32,
    /// Longest interval between ticks that a member may ask for, in milliseconds.
    pub tick_ms_max: u32,
    /// Longest time a closed connection may still count as there, in milliseconds.
    pub leave_delay_ms_max: u32,
    /// Hosts (`name` or `name:port`) that joins and leaves may be posted to; none by default.
    pub herald_hosts: Vec<String>,
    /// What clients are told of this server; `local` reads `localWithStorage` where records are
    /// stored.
    pub label: String,
    /// How long a session outlives its last member, in milliseconds.
    pub deletion_delay_ms: u32,
    /// How long a session waits for the first JOIN, in milliseconds.
    pub join_wait_ms: u32,
    /// From the first join or leave to the message that announces it, in milliseconds.
    pub users_interval_ms: u32,
    /// How long a tally waits for votes, in milliseconds.
    pub tally_interval_ms: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            message_bytes_max: 4 << 20,
            fragments_max: 1024,
            lag_bytes_max: 4 << 20,
            messages_per_second_max: 1_000,
            history_messages_max: 100_000,
            history_request_snapshot: 60_000,
            history_bytes_max: 64 << 20,
            tick_ms_min: 16,
            tick_ms_max: 60_000,
            leave_delay_ms_max: 600_000,
            herald_hosts: Vec::new(),
            label: "local".to_owned(),
            deletion_delay_ms: 10_000,
            join_wait_ms: 7_000,
            users_interval_ms: 200,
            tally_interval_ms: 1_000,
        }
    }
}

/// The Croquet reflector.
pub static PROTOCOL: Protocol = Protocol {
    name: "croquet",
    entrances: &[Entrance::new("/reflector/", session_key)],
    drop_ins: &[DropIn {
        name: "croquet",
        summary: "Croquet reflector and file server",
        port: 9090,
        pages: Pages::Croquet,
        entrances: &[Entrance::new("/", session_key)],
        others: &[],
    }],
    open: |open| Box::new(machine::Reflector::new(open)),
    journaled: true,
    limits: |config| Limits {
        message_bytes_max: config.croquet.message_bytes_max,
        fragments_max: config.croquet.fragments_max,
        lag_bytes_max: config.croquet.lag_bytes_max,
        messages_per_second_max: config.croquet.messages_per_second_max,
    },
    liveness: Liveness {
        first_ping: Some(Duration::from_millis(100)),
        ping: Some(Duration::from_secs(30)),
        silence: Some((Duration::from_secs(60), INACTIVE)),
        join: Some((Duration::from_secs(35), NEVER_JOINED)),
    },
    slow: RECONNECT,
    restart: RECONNECT,
};

/// The session id: the last element of the path, whatever comes before it (specs: croquet §1.1).
fn session_key(path: &str) -> Result<String, Close> {
    match path.rsplit('/').next() {
        Some(id) if !id.is_empty() && id.len() <= SESSION_ID_BYTES_MAX => Ok(id.to_owned()),
        _ => Err(OUTDATED),
    }
}

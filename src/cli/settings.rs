//! Everything that can be set, as values: what the commands and the environment come to.
//!
//! Nothing here knows of flags or of where a value came from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use crate::protocol::{self, DropIn, PROTOCOLS, Protocol, echo};
use crate::server::log::{Filter, Format};
use crate::storage::journal::Sync;

/// Most shards of a process: connections and queues between shards grow with their square.
pub const SHARDS_MAX: u16 = 256;
/// Bytes of one receive buffer.
pub const RECEIVE_BUFFER_BYTES: usize = 4096;
/// Most receive buffers of a shard: what the kernel allows in one ring of buffers.
pub const RECEIVE_BUFFERS_MAX: u16 = 1 << 15;
/// Name of the profile that offers every protocol.
pub const ALL: &str = "all";
/// The port of the common listener.
pub const PORT: u16 = 8080;

/// What a listener serves, and so what its paths and its `/health` and `/stats` bodies are.
#[derive(Clone, Copy, Debug)]
pub enum Profile {
    /// Every protocol, each under its prefix.
    All,
    /// A drop-in for one original: its paths at the root.
    One(&'static Protocol, &'static DropIn),
}

impl Profile {
    /// Every profile there is, in the order they are shown.
    pub fn every() -> impl Iterator<Item = Self> {
        let drop_ins = |protocol: &&'static Protocol| {
            let protocol = *protocol;
            protocol.drop_ins.iter().map(move |drop_in| Self::One(protocol, drop_in))
        };
        let conformance = Self::One(&echo::PROTOCOL, &echo::CONFORMANCE);
        std::iter::once(Self::All).chain(PROTOCOLS.iter().flat_map(drop_ins)).chain([conformance])
    }

    /// The profile of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::every().find(|profile| profile.name() == name)
    }

    /// Its name in `--as` and `--listen`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::All => ALL,
            Self::One(_, drop_in) => drop_in.name,
        }
    }

    /// The port it has if none is set: that of the original.
    pub fn port(&self) -> u16 {
        match self {
            Self::All => PORT,
            Self::One(_, drop_in) => drop_in.port,
        }
    }
}

impl PartialEq for Profile {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Profile {}

/// An address and what is served there. Port 0 lets the system choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What is served.
    pub profile: Profile,
    /// Where.
    pub address: SocketAddr,
}

impl Listener {
    /// Whether both want the same port of the same interface.
    fn clashes_with(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.address, other.address);
        let any = ours.ip().is_unspecified() || theirs.ip().is_unspecified();
        ours.port() != 0 && ours.port() == theirs.port() && (any || ours.ip() == theirs.ip())
    }
}

/// How many shards run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shards {
    /// One for each core this process may use.
    #[default]
    Auto,
    /// So many.
    Count(NonZeroU16),
}

impl Shards {
    /// The number of shards, given how many cores this process may use.
    pub fn count(self, cores: usize) -> u16 {
        match self {
            Self::Auto => u16::try_from(cores).unwrap_or(SHARDS_MAX).clamp(1, SHARDS_MAX),
            Self::Count(count) => count.get(),
        }
    }
}

/// Everything that can be set. Defaults are those of the list of settings.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where to listen, and what is served there; at least one.
    pub listeners: Vec<Listener>,
    /// How many shards run.
    pub shards: Shards,
    /// Connections of the whole process; `None` for as many as the limit of open files allows, up
    /// to [`crate::server::preflight::CONNECTIONS_MAX_DEFAULT`].
    pub connections_max: Option<usize>,
    /// Receive buffers of each shard, of [`RECEIVE_BUFFER_BYTES`] each; a power of two.
    pub receive_buffers: u16,
    /// How long a shard waits for more at once, see [`crate::net::ring::Ring::gather`].
    pub gather: Duration,
    /// How long members have to go when the process stops.
    pub drain: Duration,
    /// The data directory; `None` keeps everything in memory.
    pub data_dir: Option<PathBuf>,
    /// When what sessions record is synced.
    pub sync: Sync,
    /// Largest file of the file server, in bytes.
    pub file_bytes_max: u64,
    /// All files of the file server together, in bytes.
    pub files_bytes_max: u64,
    /// All blobs of sessions together, in bytes.
    pub blobs_bytes_max: u64,
    /// How log lines look.
    pub log_format: Format,
    /// Which log lines are written.
    pub log_filter: Filter,
    /// CoMutiNy's, but for what its file of avatars tells.
    pub comutiny: protocol::comutiny::Config,
    /// That file, if any.
    pub comutiny_avatars: Option<PathBuf>,
    /// See [`protocol::Config::sid_cookie`].
    pub sid_cookie: Option<String>,
    /// The Croquet reflector's.
    pub croquet: CroquetSettings,
    /// The gallery's.
    pub gallery: protocol::gallery::Config,
    /// The rljson hub's.
    pub rljson: protocol::rljson::Config,
    /// Those of Yjs documents.
    pub yjs: protocol::yjs::Config,
    /// What is odd about the settings without being wrong: to be logged at start.
    pub warnings: Vec<String>,
}

/// The Croquet reflector's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CroquetSettings {
    /// Largest incoming message, in bytes.
    pub message_bytes_max: usize,
    /// Messages a member may send a second, sustained.
    pub messages_per_second_max: u32,
    /// Messages retained without a snapshot.
    pub history_messages_max: usize,
    /// Bytes of messages retained without a snapshot.
    pub history_bytes_max: usize,
    /// How far a member may fall behind its session, in bytes.
    pub lag_bytes_max: usize,
    /// Hosts, `name` or `name:port`, that joins and leaves may be posted to.
    pub herald_hosts: Vec<String>,
    /// What clients are told of this server.
    pub label: String,
}

impl CroquetSettings {
    /// As the protocol wants them.
    fn config(&self) -> protocol::croquet::Config {
        protocol::croquet::Config {
            message_bytes_max: self.message_bytes_max,
            messages_per_second_max: self.messages_per_second_max,
            history_messages_max: self.history_messages_max,
            history_bytes_max: self.history_bytes_max,
            lag_bytes_max: self.lag_bytes_max,
            herald_hosts: self.herald_hosts.clone(),
            label: self.label.clone(),
            ..protocol::croquet::Config::default()
        }
    }
}

/// Settings that cannot be meant together, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Contradiction {
    /// There is nowhere to listen.
    #[error("there is no address to listen on")]
    NoListener,
    /// Two listeners want the same port.
    #[error(
        "{first} is wanted twice: for {} and, as {second}, for {}",
        profiles.0, profiles.1
    )]
    PortTaken {
        /// The first listener's address.
        first: SocketAddr,
        /// The second listener's address.
        second: SocketAddr,
        /// The names of their profiles.
        profiles: (&'static str, &'static str),
    },
    /// A single file may be larger than all together.
    #[error("one file may have {file} bytes, all files together only {files}")]
    FileAboveQuota {
        /// Limit of one file.
        file: u64,
        /// Limit of all files.
        files: u64,
    },
    /// The kernel takes only powers of two.
    #[error("{0} receive buffers: the number must be a power of two up to {RECEIVE_BUFFERS_MAX}")]
    ReceiveBuffers(u16),
    /// Nobody could write.
    #[error("there is a token to read documents, but none to write them")]
    NoWriteToken,
    /// Nobody could know the key.
    #[error("clients of the gallery must know a key, but there is none")]
    NoApiKey,
    /// Anybody could sign.
    #[error("players of CoMutiNy must show a token, but there is no secret to sign it with")]
    NoJwtSecret,
}

impl Settings {
    /// Looks for what cannot be meant.
    pub fn validate(&self) -> Result<(), Contradiction> {
        if self.listeners.is_empty() {
            return Err(Contradiction::NoListener);
        }
        self.check_ports()?;
        let (file, files) = (self.file_bytes_max, self.files_bytes_max);
        if file > files {
            return Err(Contradiction::FileAboveQuota { file, files });
        }
        let buffers = self.receive_buffers;
        if !buffers.is_power_of_two() || buffers > RECEIVE_BUFFERS_MAX {
            return Err(Contradiction::ReceiveBuffers(buffers));
        }
        if self.comutiny.login.as_ref().is_some_and(|login| login.secret.is_empty()) {
            return Err(Contradiction::NoJwtSecret);
        }
        if self.gallery.api_key.as_ref().is_some_and(String::is_empty) {
            return Err(Contradiction::NoApiKey);
        }
        if self.yjs.read_token.is_some() && self.yjs.write_token.is_none() {
            return Err(Contradiction::NoWriteToken);
        }
        Ok(())
    }

    /// The protocols' share.
    pub fn protocols(&self) -> protocol::Config {
        protocol::Config {
            comutiny: self.comutiny.clone(),
            croquet: self.croquet.config(),
            gallery: self.gallery.clone(),
            rljson: self.rljson.clone(),
            yjs: self.yjs.clone(),
            sid_cookie: self.sid_cookie.clone(),
        }
    }

    fn check_ports(&self) -> Result<(), Contradiction> {
        for (index, second) in self.listeners.iter().enumerate() {
            let clash = self.listeners[..index].iter().find(|first| first.clashes_with(second));
            if let Some(first) = clash {
                return Err(Contradiction::PortTaken {
                    first: first.address,
                    second: second.address,
                    profiles: (first.profile.name(), second.profile.name()),
                });
            }
        }
        Ok(())
    }
}

/// The interface of a listener if none is set: reachable from this machine only.
pub const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

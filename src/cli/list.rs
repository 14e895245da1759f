//! The one list of settings. A line here is a flag, an environment variable, a configuration key, a
//! default and a line of help.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use super::settings::{HOST, Listener, Profile, RECEIVE_BUFFERS_MAX, SHARDS_MAX, Settings, Shards};
use super::values::{Complaint, address, bytes, duration, host, number, profile, switch, unknown};
use crate::protocol::gallery::Role;
use crate::server::log::{Filter, Format};
use crate::storage::FILES_BYTES_MAX_IN_MEMORY;
use crate::storage::journal::Sync;

/// One thing that can be set.
#[derive(Debug)]
pub struct Setting {
    /// The flag, without its dashes. All other names follow from it.
    pub flag: &'static str,
    /// The flag's one-letter form.
    pub short: Option<char>,
    /// Where it stands in the help, and in a configuration.
    pub group: Group,
    /// What it takes.
    pub takes: Takes,
    /// Environment variables of the original servers that are honoured as well.
    pub originals: &'static [&'static str],
    /// What holds if nothing is said.
    pub default: Default,
    /// One line of help.
    pub doc: &'static str,
    pub(super) apply: fn(&mut Draft, &str) -> Result<(), Complaint>,
}

/// Settings that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Listeners, shards, connections.
    Serving,
    /// Files and records.
    Storage,
    /// Log lines.
    Log,
    /// The Croquet reflector.
    Croquet,
    /// Gallery rooms.
    Gallery,
    /// Documents.
    Yjs,
}

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// One value, of this kind.
    One(&'static str),
    /// Values of this kind: the flag is repeated, or they are separated by commas.
    Many(&'static str),
    /// Nothing; in the environment `true` or `false`.
    Nothing,
}

/// What holds if nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// This value.
    Is(&'static str),
    /// Something that depends on other settings, or none; as told here.
    Told(&'static str),
}

impl Setting {
    /// Its environment variable.
    pub fn variable(&self) -> String {
        format!("LOCKSTEP_{}", self.flag.to_uppercase().replace('-', "_"))
    }

    /// Its environment variables, the one that wins first.
    pub fn variables(&self) -> impl Iterator<Item = String> {
        let originals = self.originals.iter().map(|name| (*name).to_owned());
        std::iter::once(self.variable()).chain(originals)
    }

    /// Its key in a configuration: `croquet.message_bytes_max`.
    pub fn key(&self) -> String {
        let table = self.group.table();
        let own = self.flag.strip_prefix(table).and_then(|rest| rest.strip_prefix('-'));
        match own {
            Some(own) if !table.is_empty() => format!("{table}.{}", own.replace('-', "_")),
            _ => self.flag.replace('-', "_"),
        }
    }

    /// Its default as help shows it.
    pub fn default_text(&self) -> &'static str {
        match self.default {
            Default::Is(text) | Default::Told(text) => text,
        }
    }
}

impl Group {
    /// Title in the help.
    pub fn title(self) -> &'static str {
        match self {
            Self::Serving => "Serving",
            Self::Storage => "Files and records",
            Self::Log => "Log",
            Self::Croquet => "Croquet",
            Self::Gallery => "Gallery",
            Self::Yjs => "Yjs and Zeal",
        }
    }

    /// The configuration table of flags that begin with its name.
    fn table(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Croquet => "croquet",
            Self::Gallery => "gallery",
            Self::Yjs => "yjs",
            Self::Serving | Self::Storage => "",
        }
    }
}

/// Two sets of settings that exclude each other. If both are given, the one given with more weight
/// wins (flag over environment); with equal weight it is a mistake.
pub(super) const EXCLUSIVE: &[(&[&str], &[&str])] =
    &[(&["listen"], &["as", "host", "port"]), (&["in-memory"], &["data-dir"])];

/// Quota of all files on disk, in bytes.
const FILES_BYTES_MAX: u64 = 10 << 30;
/// Shortest interval between syncs, in milliseconds.
const SYNC_MS_MIN: u64 = 1;
/// Longest interval between syncs, in milliseconds.
const SYNC_MS_MAX: u64 = 60_000;
/// Longest drain, in milliseconds.
const DRAIN_MS_MAX: u64 = 3_600_000;
const CONNECTIONS_MAX: u64 = 10_000_000;
const LABEL_BYTES_MAX: usize = 64;
const SECRET_BYTES_MAX: usize = 512;
/// Longest that poses in a gallery may wait.
const POSE_INTERVAL_MS_MAX: u64 = 1_000;
/// Most users of a gallery room.
const USERS_MAX: u64 = 100_000;
const YEAR_MS: u64 = 366 * 86_400_000;
const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Settings on their way: values that others decide about are still apart.
#[derive(Debug)]
pub(super) struct Draft {
    settings: Settings,
    profile: Option<Profile>,
    listeners: Vec<Listener>,
    host: IpAddr,
    port: Option<u16>,
    data_dir: PathBuf,
    in_memory: bool,
    files_bytes_max: Option<u64>,
    gallery_api_key: Option<String>,
    gallery_requires_api_key: bool,
    verbose: bool,
}

impl Draft {
    pub(super) fn new() -> Self {
        Self {
            settings: Settings::default(),
            profile: None,
            listeners: Vec::new(),
            host: HOST,
            port: None,
            data_dir: PathBuf::new(),
            in_memory: false,
            files_bytes_max: None,
            gallery_api_key: None,
            gallery_requires_api_key: false,
            verbose: false,
        }
    }

    /// Decides what depends on several settings.
    pub(super) fn finish(self) -> Settings {
        let mut settings = self.settings;
        settings.listeners = self.listeners;
        if settings.listeners.is_empty() {
            let profile = self.profile.unwrap_or(Profile::All);
            let address = (self.host, self.port.unwrap_or_else(|| profile.port())).into();
            settings.listeners.push(Listener { profile, address });
        }
        settings.data_dir = (!self.in_memory).then_some(self.data_dir);
        let quota = if self.in_memory { FILES_BYTES_MAX_IN_MEMORY } else { FILES_BYTES_MAX };
        settings.files_bytes_max = self.files_bytes_max.unwrap_or(quota);
        if self.gallery_requires_api_key {
            settings.gallery.api_key = Some(self.gallery_api_key.unwrap_or_default());
        }
        if self.verbose {
            let filter = std::mem::take(&mut settings.log_filter);
            settings.log_filter = filter.at_least("lockstep", log::LevelFilter::Debug);
        }
        settings
    }
}

/// Every setting.
pub static SETTINGS: &[Setting] = &[
    Setting {
        flag: "as",
        short: None,
        group: Group::Serving,
        takes: Takes::One("PROFILE"),
        originals: &[],
        default: Default::Is("all"),
        doc: "Be a drop-in for one server: its port, its paths at the root, its status bodies",
        apply: |draft, text| {
            draft.profile = Some(profile(text)?);
            Ok(())
        },
    },
    Setting {
        flag: "listen",
        short: None,
        group: Group::Serving,
        takes: Takes::Many("PROFILE=ADDRESS"),
        originals: &[],
        default: Default::Told("one listener, as --as, --host and --port say"),
        doc: "Serve a profile at an address, for example croquet=127.0.0.1:9090; may be repeated",
        apply: |draft, text| {
            let Some((name, at)) = text.split_once('=') else {
                return Err(Complaint::new(
                    format!("{text:?} does not name a profile and an address"),
                    "give both, for example croquet=127.0.0.1:9090",
                ));
            };
            draft.listeners.push(Listener { profile: profile(name)?, address: address(at)? });
            Ok(())
        },
    },
    Setting {
        flag: "host",
        short: None,
        group: Group::Serving,
        takes: Takes::One("ADDRESS"),
        originals: &["HOST"],
        default: Default::Is("127.0.0.1"),
        doc: "Interface to listen on; 0.0.0.0 for all",
        apply: |draft, text| {
            draft.host = host(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "port",
        short: Some('p'),
        group: Group::Serving,
        takes: Takes::One("PORT"),
        originals: &["PORT"],
        default: Default::Told("8080, or the profile's"),
        doc: "Port to listen on; 0 lets the system choose",
        apply: |draft, text| {
            draft.port = Some(number(text, 0..=u64::from(u16::MAX))? as u16);
            Ok(())
        },
    },
    Setting {
        flag: "shards",
        short: None,
        group: Group::Serving,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("auto"),
        doc: "Threads that serve, each on a core of its own; auto for one on each core",
        apply: |draft, text| {
            if text != "auto" {
                let count = number(text, 1..=u64::from(SHARDS_MAX))? as u16;
                draft.settings.shards = NonZeroU16::new(count).map_or(Shards::Auto, Shards::Count);
            }
            Ok(())
        },
    },
    Setting {
        flag: "connections-max",
        short: None,
        group: Group::Serving,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Told("100000, or as many as files may be open"),
        doc: "Most connections at once; more are refused",
        apply: |draft, text| {
            draft.settings.connections_max = Some(number(text, 1..=CONNECTIONS_MAX)? as usize);
            Ok(())
        },
    },
    Setting {
        flag: "receive-buffers",
        short: None,
        group: Group::Serving,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("256"),
        doc: "Receive buffers of 4KiB that the connections of a shard share; a power of two",
        apply: |draft, text| {
            let count = number(text, 1..=u64::from(RECEIVE_BUFFERS_MAX))?;
            draft.settings.receive_buffers = count as u16;
            Ok(())
        },
    },
    Setting {
        flag: "lag-bytes-max",
        short: None,
        group: Group::Serving,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("4MiB"),
        doc: "How far a member may fall behind its session before it is told to reconnect",
        apply: |draft, text| {
            draft.settings.croquet.lag_bytes_max = bytes(text, KIB..=GIB)? as usize;
            draft.settings.gallery.lag_bytes_max = draft.settings.croquet.lag_bytes_max;
            draft.settings.yjs.lag_bytes_max = draft.settings.croquet.lag_bytes_max;
            Ok(())
        },
    },
    Setting {
        flag: "drain",
        short: None,
        group: Group::Serving,
        takes: Takes::One("DURATION"),
        originals: &[],
        default: Default::Is("5s"),
        doc: "How long members have to go when the process is told to stop",
        apply: |draft, text| {
            draft.settings.drain = duration(text, 0..=DRAIN_MS_MAX)?;
            Ok(())
        },
    },
    Setting {
        flag: "data-dir",
        short: None,
        group: Group::Storage,
        takes: Takes::One("DIRECTORY"),
        originals: &[],
        default: Default::Is("lockstep-data"),
        doc: "Where files and records are kept; one process each",
        apply: |draft, text| {
            if text.is_empty() {
                return Err(Complaint::new("there is no directory without a name", "name one"));
            }
            draft.data_dir = PathBuf::from(text);
            Ok(())
        },
    },
    Setting {
        flag: "sync",
        short: None,
        group: Group::Storage,
        takes: Takes::One("WHEN"),
        originals: &[],
        default: Default::Is("100ms"),
        doc: "When what sessions record survives a loss of power: always, never or an interval",
        apply: |draft, text| {
            draft.settings.sync = match text {
                "always" => Sync::Always,
                "never" => Sync::Never,
                interval => Sync::Every(duration(interval, SYNC_MS_MIN..=SYNC_MS_MAX)?),
            };
            Ok(())
        },
    },
    Setting {
        flag: "in-memory",
        short: None,
        group: Group::Storage,
        takes: Takes::Nothing,
        originals: &[],
        default: Default::Is("false"),
        doc: "Keep files in memory and no records: nothing outlives the process",
        apply: |draft, text| {
            draft.in_memory = switch(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "file-bytes-max",
        short: None,
        group: Group::Storage,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("100MiB"),
        doc: "Largest file that may be uploaded",
        apply: |draft, text| {
            draft.settings.file_bytes_max = bytes(text, 1..=TIB)?;
            Ok(())
        },
    },
    Setting {
        flag: "files-bytes-max",
        short: None,
        group: Group::Storage,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Told("10GiB; 256MiB with --in-memory"),
        doc: "Room for all uploaded files together",
        apply: |draft, text| {
            draft.files_bytes_max = Some(bytes(text, 1..=1024 * TIB)?);
            Ok(())
        },
    },
    Setting {
        flag: "log-format",
        short: None,
        group: Group::Log,
        takes: Takes::One("FORMAT"),
        originals: &[],
        default: Default::Is("auto"),
        doc: "How lines look: text, json, or auto for text on a terminal and else json",
        apply: |draft, text| {
            draft.settings.log_format = match text {
                "auto" => Format::Auto,
                "text" => Format::Text,
                "json" => Format::Json,
                _ => return Err(unknown("log format", text, &["auto", "text", "json"])),
            };
            Ok(())
        },
    },
    Setting {
        flag: "log-level",
        short: None,
        group: Group::Log,
        takes: Takes::One("LEVELS"),
        originals: &["RUST_LOG"],
        default: Default::Is("info"),
        doc: "off, error, warn, info, debug or trace; or for parts, as in warn,lockstep=debug",
        apply: |draft, text| {
            let remedy = "give a level, or levels for parts, as in warn,lockstep=debug";
            let filter = Filter::parse(text).map_err(|what| Complaint::new(what, remedy))?;
            draft.settings.log_filter = filter;
            Ok(())
        },
    },
    Setting {
        flag: "verbose",
        short: Some('v'),
        group: Group::Log,
        takes: Takes::Nothing,
        originals: &[],
        default: Default::Is("false"),
        doc: "Log this server's own doings at level debug at least",
        apply: |draft, text| {
            draft.verbose = switch(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "croquet-message-bytes-max",
        short: None,
        group: Group::Croquet,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("4MiB"),
        doc: "Largest message a client may send",
        apply: |draft, text| {
            draft.settings.croquet.message_bytes_max = bytes(text, KIB..=GIB)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "croquet-messages-per-second-max",
        short: None,
        group: Group::Croquet,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("1000"),
        doc: "Messages a client may send a second, sustained; one that sends more is read slower",
        apply: |draft, text| {
            let most = number(text, 1..=1_000_000)?;
            draft.settings.croquet.messages_per_second_max = most as u32;
            Ok(())
        },
    },
    Setting {
        flag: "croquet-history-messages-max",
        short: None,
        group: Group::Croquet,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("100000"),
        doc: "Messages a session retains without a snapshot",
        apply: |draft, text| {
            let most = number(text, 1..=100_000_000)?;
            draft.settings.croquet.history_messages_max = most as usize;
            Ok(())
        },
    },
    Setting {
        flag: "croquet-history-bytes-max",
        short: None,
        group: Group::Croquet,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("64MiB"),
        doc: "Bytes of messages a session retains without a snapshot",
        apply: |draft, text| {
            draft.settings.croquet.history_bytes_max = bytes(text, 64 * KIB..=64 * GIB)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "croquet-herald-hosts",
        short: None,
        group: Group::Croquet,
        takes: Takes::Many("HOST"),
        originals: &[],
        default: Default::Told("none"),
        doc: "Hosts, name or name:port, that joins and leaves may be posted to; may be repeated",
        apply: |draft, text| {
            draft.settings.croquet.herald_hosts.push(herald_host(text)?);
            Ok(())
        },
    },
    Setting {
        flag: "croquet-label",
        short: None,
        group: Group::Croquet,
        takes: Takes::One("NAME"),
        originals: &["CLUSTER_LABEL"],
        default: Default::Is("local"),
        doc: "What clients are told of this server",
        apply: |draft, text| {
            draft.settings.croquet.label = label(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-require-api-key",
        short: None,
        group: Group::Gallery,
        takes: Takes::Nothing,
        originals: &["REQUIRE_API_KEY"],
        default: Default::Is("false"),
        doc: "Close connections whose apiKey is not the one that is set",
        apply: |draft, text| {
            draft.gallery_requires_api_key = switch(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-api-key",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("KEY"),
        originals: &["API_KEY"],
        default: Default::Told("none"),
        doc: "The key that clients must know, if one is required",
        apply: |draft, text| {
            draft.gallery_api_key = Some(secret(text)?);
            Ok(())
        },
    },
    Setting {
        flag: "gallery-message-bytes-max",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("1MiB"),
        doc: "Largest message a client may send",
        apply: |draft, text| {
            draft.settings.gallery.message_bytes_max = bytes(text, KIB..=GIB)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-messages-per-second-max",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("200"),
        doc: "Messages a client may send a second, sustained; one that sends more is read slower",
        apply: |draft, text| {
            draft.settings.gallery.messages_per_second_max = number(text, 1..=1_000_000)? as u32;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-rooms-max",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("1000"),
        doc: "Most rooms at once",
        apply: |draft, text| {
            draft.settings.gallery.rooms_max = number(text, 1..=10_000_000)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-users-per-room",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("50"),
        doc: "Users of a room whose creator does not say how many",
        apply: |draft, text| {
            draft.settings.gallery.users_max_default = number(text, 1..=USERS_MAX)? as u32;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-users-per-room-max",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("1000"),
        doc: "Users that the creator of a room may ask for",
        apply: |draft, text| {
            draft.settings.gallery.users_max = number(text, 1..=USERS_MAX)? as u32;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-room-timeout",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("DURATION"),
        originals: &[],
        default: Default::Is("24h"),
        doc: "How long a room that nobody joins is kept",
        apply: |draft, text| {
            draft.settings.gallery.room_timeout_ms =
                duration(text, 1_000..=YEAR_MS)?.as_millis() as u64;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-rooms-per-minute-max",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("60"),
        doc: "Rooms that may be created a minute from one address; 0 for no limit; loopback has none",
        apply: |draft, text| {
            draft.settings.gallery.creations_per_minute_max = number(text, 0..=1_000_000)? as u32;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-state-bytes-max",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("1MiB"),
        doc: "State that a room may keep",
        apply: |draft, text| {
            draft.settings.gallery.state_bytes_max = bytes(text, KIB..=GIB)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-pose-interval",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("DURATION"),
        originals: &[],
        default: Default::Is("0ms"),
        doc: "How long poses and gazes may wait so that several leave in one send; 0ms for not at all",
        apply: |draft, text| {
            draft.settings.gallery.pose_interval_ms =
                duration(text, 0..=POSE_INTERVAL_MS_MAX)?.as_millis() as u64;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-scene-change",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("ROLE"),
        originals: &[],
        default: Default::Is("editor"),
        doc: "Who may change which scene is shown: host, editor (and host) or all",
        apply: |draft, text| {
            draft.settings.gallery.permissions.scene_change = role(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-tree-view-change",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("ROLE"),
        originals: &[],
        default: Default::Is("editor"),
        doc: "Who may change the tree view: host, editor (and host) or all",
        apply: |draft, text| {
            draft.settings.gallery.permissions.tree_view_change = role(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-annotations",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("ROLE"),
        originals: &[],
        default: Default::Is("editor"),
        doc: "Who may annotate: host, editor (and host) or all",
        apply: |draft, text| {
            draft.settings.gallery.permissions.annotations = role(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-camera-control",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("ROLE"),
        originals: &[],
        default: Default::Is("editor"),
        doc: "Who may take control of cameras: host, editor (and host) or all",
        apply: |draft, text| {
            draft.settings.gallery.permissions.camera_control = role(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-role-secret",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("SECRET"),
        originals: &[],
        default: Default::Told("none"),
        doc: "What tokens that grant roles are signed with; without it clients choose their role",
        apply: |draft, text| {
            draft.settings.gallery.role_secret = Some(secret(text)?);
            Ok(())
        },
    },
    Setting {
        flag: "gallery-one-host",
        short: None,
        group: Group::Gallery,
        takes: Takes::Nothing,
        originals: &[],
        default: Default::Is("false"),
        doc: "Let a room have one host only: a second one becomes an editor",
        apply: |draft, text| {
            draft.settings.gallery.one_host = switch(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-hide-rooms",
        short: None,
        group: Group::Gallery,
        takes: Takes::Nothing,
        originals: &[],
        default: Default::Is("false"),
        doc: "Leave the ids of rooms out of /stats",
        apply: |draft, text| {
            draft.settings.gallery.hide_rooms = switch(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "yjs-message-bytes-max",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("64MiB"),
        doc: "Largest message a y-websocket client may send",
        apply: |draft, text| {
            draft.settings.yjs.message_bytes_max = bytes(text, KIB..=GIB)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "max-message-size",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("1MiB"),
        doc: "The same for Zeal's native clients",
        apply: |draft, text| {
            draft.settings.yjs.native_message_bytes_max = bytes(text, KIB..=GIB)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "yjs-messages-per-second-max",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("1000"),
        doc: "Messages a client may send a second, sustained; one that sends more is read slower",
        apply: |draft, text| {
            draft.settings.yjs.messages_per_second_max = number(text, 1..=1_000_000)? as u32;
            Ok(())
        },
    },
    Setting {
        flag: "yjs-rooms-max",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("100000"),
        doc: "Most documents in memory",
        apply: |draft, text| {
            draft.settings.yjs.rooms_max = number(text, 1..=10_000_000)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "max-rooms",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("1000"),
        doc: "The same when a Zeal client opens one",
        apply: |draft, text| {
            draft.settings.yjs.native_rooms_max = number(text, 1..=10_000_000)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "yjs-clients-per-room-max",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("10000"),
        doc: "Most clients of a document",
        apply: |draft, text| {
            draft.settings.yjs.clients_per_room_max = number(text, 1..=10_000_000)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "max-clients-per-room",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("100"),
        doc: "The same when a Zeal client joins",
        apply: |draft, text| {
            draft.settings.yjs.native_clients_per_room_max = number(text, 1..=10_000_000)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "yjs-document-bytes-max",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("256MiB"),
        doc: "Largest document",
        apply: |draft, text| {
            draft.settings.yjs.document_bytes_max = bytes(text, KIB..=4 * GIB - 1)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "room-timeout-minutes",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("MINUTES"),
        originals: &[],
        default: Default::Is("30"),
        doc: "How long a document stays in memory when all have left; with --in-memory it is gone then",
        apply: |draft, text| {
            draft.settings.yjs.room_timeout_ms = number(text, 0..=YEAR_MS / 60_000)? * 60_000;
            Ok(())
        },
    },
    Setting {
        flag: "yjs-write-token",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("SECRET"),
        originals: &[],
        default: Default::Told("none"),
        doc: "What clients must show as ?token= to edit documents",
        apply: |draft, text| {
            draft.settings.yjs.write_token = Some(secret(text)?);
            Ok(())
        },
    },
    Setting {
        flag: "yjs-read-token",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("SECRET"),
        originals: &[],
        default: Default::Told("none"),
        doc: "What clients may show instead, to read documents only",
        apply: |draft, text| {
            draft.settings.yjs.read_token = Some(secret(text)?);
            Ok(())
        },
    },
];

/// The setting of this flag.
pub fn by_flag(flag: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.flag == flag)
}

fn herald_host(text: &str) -> Result<String, Complaint> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    let what = format!("{text:?} is not a host");
    Err(Complaint::new(what, "give a name or name:port, without http:// and path"))
}

fn role(text: &str) -> Result<Role, Complaint> {
    match text {
        "host" => Ok(Role::Host),
        "editor" => Ok(Role::Editor),
        "all" => Ok(Role::Viewer),
        _ => Err(unknown("role", text, &["host", "editor", "all"])),
    }
}

/// A complaint about a secret does not repeat it.
fn secret(text: &str) -> Result<String, Complaint> {
    if text.len() <= SECRET_BYTES_MAX && !text.chars().any(char::is_control) {
        return Ok(text.to_owned());
    }
    let remedy = format!("give up to {SECRET_BYTES_MAX} bytes of plain text");
    Err(Complaint::new("the secret cannot be used", remedy))
}

fn label(text: &str) -> Result<String, Complaint> {
    if text.len() <= LABEL_BYTES_MAX && !text.chars().any(char::is_control) {
        return Ok(text.to_owned());
    }
    let what = format!("{text:?} cannot be shown to clients");
    Err(Complaint::new(what, format!("give up to {LABEL_BYTES_MAX} bytes of plain text")))
}

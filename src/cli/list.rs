//! The one list of settings. A line here is a flag, an environment variable, a configuration key, a
//! default and a line of help.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use super::settings::{HOST, Listener, Profile, RECEIVE_BUFFERS_MAX, SHARDS_MAX, Settings, Shards};
use super::values::{Complaint, address, bytes, duration, host, number, profile, switch, unknown};
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
        }
    }

    /// The configuration table of flags that begin with its name.
    fn table(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Croquet => "croquet",
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

fn label(text: &str) -> Result<String, Complaint> {
    if text.len() <= LABEL_BYTES_MAX && !text.chars().any(char::is_control) {
        return Ok(text.to_owned());
    }
    let what = format!("{text:?} cannot be shown to clients");
    Err(Complaint::new(what, format!("give up to {LABEL_BYTES_MAX} bytes of plain text")))
}

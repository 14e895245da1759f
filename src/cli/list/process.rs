//! Settings of the process: listeners, shards, connections, storage, log.

use std::num::NonZeroU16;
use std::path::PathBuf;

use super::{Default, GIB, Group, KIB, Setting, Takes};
use crate::cli::settings::{Listener, RECEIVE_BUFFERS_MAX, SHARDS_MAX, Shards};
use crate::cli::values::{
    Complaint, address, bytes, cookie_name, duration, host, number, profile, short_duration,
    switch, unknown,
};
use crate::server::log::{Filter, Format};
use crate::storage::journal::Sync;

/// Shortest interval between syncs, in milliseconds.
const SYNC_MS_MIN: u64 = 1;
/// Longest interval between syncs, in milliseconds.
const SYNC_MS_MAX: u64 = 60_000;
/// Longest drain, in milliseconds.
const DRAIN_MS_MAX: u64 = 3_600_000;
/// Longest time that things are gathered for, in microseconds.
const GATHER_US_MAX: u64 = 100_000;
const CONNECTIONS_MAX: u64 = 10_000_000;
const TIB: u64 = 1 << 40;

/// In the order of the help.
pub(super) static SETTINGS: &[Setting] = &[
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
        flag: "gather",
        short: None,
        group: Group::Serving,
        takes: Takes::One("DURATION"),
        originals: &[],
        default: Default::Is("0us"),
        doc: "How long a busy shard waits at most so that more is done at once, which is cheaper; 0us for not at all",
        apply: |draft, text| {
            draft.settings.gather = short_duration(text, 0..=GATHER_US_MAX)?;
            Ok(())
        },
    },
    Setting {
        flag: "sid-cookie",
        short: None,
        group: Group::Serving,
        takes: Takes::One("NAME"),
        originals: &[],
        default: Default::Told("none"),
        doc: "Cookie that tells Socket.IO clients who poll their session id, for balancers to go by",
        apply: |draft, text| {
            draft.settings.sid_cookie = Some(cookie_name(text)?);
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
];

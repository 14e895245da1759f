//! From settings to a running server: the sink of the log, the preflight, the listeners, the
//! announcement.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::settings::{Listener, Profile, RECEIVE_BUFFER_BYTES, Settings};
use super::{Stop, exit};
use crate::net::ring::PoolSize;
use crate::protocol;
use crate::protocol::comutiny::{Catalogue, FILE_BYTES_MAX};
use crate::server::clock::Clock;
use crate::server::preflight::{self, Needs, Ready};
use crate::server::recovery::Durable;
use crate::server::{self, Options, Reread};
use crate::shard::routes;
use crate::storage::{self, Place};

/// Serves until a signal. `give_back` is [`Options::give_back`].
///
/// # Errors
/// A text for people and an exit code, if the server cannot start or fails.
pub fn serve(settings: &Settings, give_back: fn()) -> Result<(), Stop> {
    let clock = Clock::start();
    server::log::start(settings.log_format, settings.log_filter.clone(), clock)
        .map_err(|error| stop(exit::FAULT, format_args!("cannot start the log: {error}")))?;
    let shards = settings.shards.count(server::cores().len());
    let needs = Needs {
        shards,
        connections_max: settings.connections_max,
        data_dir: settings.data_dir.as_deref(),
    };
    let ready =
        preflight::check(needs).map_err(|error| stop(preflight::Error::EXIT_CODE, &error))?;
    for warning in settings.warnings.iter().chain(&ready.warnings) {
        log::warn!(scope = "process", event = "warning"; "{warning}");
    }
    let protocols =
        protocols(settings).map_err(|why| stop(exit::CONFIGURATION, format_args!("{why}")))?;
    let options = options(settings, protocols, shards, ready, clock, give_back);
    let listeners = &settings.listeners;
    server::serve(options, |addresses| announce(listeners, addresses, shards))
        .map_err(|error| stop(exit::FAULT, &error))
}

/// The protocols' settings, with what files tell.
fn protocols(settings: &Settings) -> Result<protocol::Config, String> {
    let mut protocols = settings.protocols();
    if let Some(path) = &settings.comutiny_avatars {
        let refused = |why: &dyn std::fmt::Display| {
            format!("the avatars in {} cannot be used: {why}", path.display())
        };
        let text = read(path).map_err(|error| refused(&error))?;
        let catalogue = Catalogue::parse(&text).map_err(|error| refused(&error))?;
        protocols.comutiny.catalogue = Arc::new(catalogue);
    }
    Ok(protocols)
}

/// A file of avatars; of one that is too long as much as shows it.
fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

fn options(
    settings: &Settings,
    protocols: protocol::Config,
    shards: u16,
    ready: Ready,
    clock: Clock,
    give_back: fn(),
) -> Options {
    let place = match ready.data_dir {
        Some(directory) => Place::Disk(directory),
        None => Place::Memory(Box::new(move || clock.wall_ms())),
    };
    Options {
        listeners: settings.listeners.iter().map(listener).collect(),
        shards: shards.into(),
        storage: storage::Settings {
            place,
            file_bytes_max: settings.file_bytes_max,
            files_bytes_max: settings.files_bytes_max,
            blobs_bytes_max: settings.blobs_bytes_max,
        },
        durable: settings
            .data_dir
            .clone()
            .map(|data_dir| Durable { data_dir, sync: settings.sync }),
        protocols,
        reread: settings.comutiny_avatars.is_some().then(|| {
            let settings = settings.clone();
            Box::new(move || self::protocols(&settings)) as Reread
        }),
        connections_max: ready.connections_max,
        gather: settings.gather,
        receive_pool: PoolSize {
            buffers: settings.receive_buffers,
            buffer_bytes: RECEIVE_BUFFER_BYTES,
        },
        file_bytes_max: settings.file_bytes_max,
        drain: settings.drain,
        give_back,
        clock,
    }
}

fn listener(listener: &Listener) -> server::Listener {
    let profile = match listener.profile {
        Profile::All => routes::Profile::All,
        Profile::One(protocol, drop_in) => routes::Profile::Only(protocol, drop_in),
    };
    server::Listener { address: listener.address, profile }
}

/// One line for each listener on standard output, in the order they were given.
fn announce(listeners: &[Listener], addresses: &[SocketAddr], shards: u16) {
    let mut stdout = std::io::stdout().lock();
    for (listener, address) in listeners.iter().zip(addresses) {
        log::info!(
            scope = "process", event = "listen", profile = listener.profile.name();
            "serving {} on {address} with {shards} shards", listener.profile.name()
        );
        // Nobody may be reading: that is no reason not to serve.
        let _ = writeln!(stdout, "LISTENING http://{address}");
    }
    let _ = stdout.flush();
}

fn stop(code: u8, why: impl std::fmt::Display) -> Stop {
    Stop { text: format!("lockstep: {why}\n"), code }
}

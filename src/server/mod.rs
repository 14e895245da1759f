//! The life of the process: check the host, bind, start a shard on every core, announce, wait for a
//! signal or a failure, drain, end.
//!
//! Invariants:
//! - Nothing is announced before every shard accepts.
//! - A shard that dies ends the process with an error: half a server is worse than none, since its
//!   sessions would stay unreachable.
//!
//! Deliberately absent: anything a message passes through.

pub mod clock;
pub mod log;
pub mod preflight;
pub mod recovery;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use glommio::{LocalExecutorBuilder, Placement};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::net::listen::listen;
use crate::net::ring::{PoolSize, Ring};
use crate::net::wakeup::Wakeup;
use crate::session::Counters;
use crate::shard::journaling::Journaling;
use crate::shard::mesh::{Inbox, Item, Outlet, inbox};
use crate::shard::routes::Profile;
use crate::shard::{self, Links, Shard};
use crate::storage::accounts;
use crate::{protocol, storage};
use clock::Clock;
use recovery::Durable;

/// Stack of a shard's thread: decoders of documents may recurse (within limits of their own).
const STACK_BYTES: usize = 8 << 20;
/// Registered memory of an executor. glommio's default of 10 MiB costs as much resident memory.
const IO_MEMORY_BYTES: usize = 64 << 10;
/// Entries of an executor's rings: a shard's sockets have a ring of their own.
const EXECUTOR_RING_DEPTH: usize = 64;
/// How long an address may be in use, or memory short, before that is a fault.
const START_PATIENCE: Duration = Duration::from_secs(2);
/// Between attempts.
const START_RETRY: Duration = Duration::from_millis(50);
/// Time for what is stored at the end to reach the disk.
const STORAGE_DRAIN_MAX: Duration = Duration::from_secs(10);

/// What to serve, and how.
pub struct Options {
    /// At least one.
    pub listeners: Vec<Listener>,
    /// How many shards; each is pinned to a core.
    pub shards: usize,
    /// Files and records.
    pub storage: storage::Settings,
    /// Where sessions are kept; `None` keeps everything in memory.
    pub durable: Option<Durable>,
    /// Settings of the protocols.
    pub protocols: protocol::Config,
    /// Reads again what files tell of them, at every SIGHUP; none leaves that signal alone.
    pub reread: Option<Reread>,
    /// Connections of the whole process.
    pub connections_max: usize,
    /// Receive pool of each shard.
    pub receive_pool: PoolSize,
    /// How long a shard waits for more at once, see [`Ring::gather`].
    pub gather: Duration,
    /// Largest file the file server takes, in bytes.
    pub file_bytes_max: u64,
    /// Time for clients to go when the process stops.
    pub drain: Duration,
    /// Lets the allocator give memory back that it holds for nothing on the calling thread.
    pub give_back: fn(),
    /// The clock of the process.
    pub clock: Clock,
}

/// Settings of the protocols as files tell them now, or why they cannot be used.
pub type Reread = Box<dyn Fn() -> Result<protocol::Config, String>>;

/// One address and what is served there.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    /// Where.
    pub address: SocketAddr,
    /// What.
    pub profile: Profile,
}

/// Why the server could not start, or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address cannot be bound.
    #[error("cannot listen on {address}: {error}. {}", bind_remedy(.error))]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// A shard could not start.
    #[error("shard {shard} cannot start: {reason}")]
    Start {
        /// Which.
        shard: usize,
        /// Why.
        reason: String,
    },
    /// A shard ended though nobody told it to.
    #[error("shard {shard} failed: {reason}; the process ends, since its sessions are lost")]
    Failed {
        /// Which.
        shard: usize,
        /// Why.
        reason: String,
    },
    /// Something the process needs once cannot be had.
    #[error("cannot {what}: {reason}")]
    Process {
        /// What failed.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

fn bind_remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "Another process listens there: stop it, or choose another port with --port"
        }
        std::io::ErrorKind::PermissionDenied => {
            "Ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one with --port"
        }
        _ => "Choose an address of this host with --host or --listen",
    }
}

/// What the main thread waits for.
enum Notice {
    Accepting,
    /// The process is to end.
    Signal,
    /// Files are to be read again.
    Reread,
    Ended {
        shard: usize,
        result: Result<(), String>,
    },
}

/// Serves until a signal. `announce` is called with the bound addresses once every shard accepts.
///
/// # Errors
/// See [`Error`]. A second signal ends the process at once, with status 1.
pub fn serve(options: Options, announce: impl FnOnce(&[SocketAddr])) -> Result<(), Error> {
    let (notify, notices) = bounded(64);
    watch_signals(notify.clone(), options.reread.is_some())?;
    let (addresses, sockets) = bind(&options.listeners, options.shards)?;
    let (peers, inboxes) = make_inboxes(options.shards)?;
    let accounts = start_accounts(&options, &peers)?;
    let storage = start_storage(options.storage, &peers)?;
    let journalings = recovery::start(options.durable.as_ref(), &peers, options.clock)?;
    let launch = Launch {
        config: shard::Config {
            index: 0,
            shards: options.shards,
            listeners: options.listeners.iter().map(|listener| listener.profile).collect(),
            protocols: Arc::new(options.protocols),
            durable: options.durable.is_some(),
            connections_max: options.connections_max.div_ceil(options.shards),
            file_bytes_max: options.file_bytes_max,
            panics_max: shard::fallen::PANICS_MAX,
            drain: options.drain,
            seed: 0,
        },
        receive_pool: options.receive_pool,
        gather: options.gather,
        give_back: options.give_back,
        peers: peers.clone(),
        counters: (0..options.shards).map(|_| Counters::default()).collect(),
        storage: storage.clone(),
        accounts,
        clock: options.clock,
        notify,
    };
    let cores = cores();
    let mut threads = Vec::new();
    for (index, ((inbox, sockets), journaling)) in
        inboxes.into_iter().zip(sockets).zip(journalings).enumerate()
    {
        let core = cores[index % cores.len()];
        threads.push(launch.start(index, core, inbox, sockets, journaling)?);
    }
    drop(launch);
    let result = supervise(&peers, &notices, options.reread, || announce(&addresses));
    for thread in threads {
        let _ = thread.join();
    }
    if !storage.drain(STORAGE_DRAIN_MAX) {
        ::log::warn!(scope = "process", event = "storage-slow"; "the storage did not finish in time");
    }
    result
}

/// Waits until all shards accept, then for the end: a signal, or a shard that fails.
fn supervise(
    peers: &[Outlet],
    notices: &Receiver<Notice>,
    reread: Option<Reread>,
    announce: impl FnOnce(),
) -> Result<(), Error> {
    let mut announce = Some(announce);
    let (mut accepting, mut ended, mut stopping) = (0, 0, false);
    let mut failure = None;
    while ended < peers.len() {
        let Ok(notice) = notices.recv() else { break };
        let was_stopping = stopping;
        match notice {
            Notice::Accepting => accepting += 1,
            Notice::Signal if stopping => {
                log::flush(Duration::from_secs(1));
                std::process::exit(1);
            }
            Notice::Signal => stopping = true,
            Notice::Reread => reread.iter().for_each(|reread| configure(peers, reread)),
            Notice::Ended { shard, result } => {
                ended += 1;
                if let Err(reason) = result {
                    failure.get_or_insert(match announce {
                        Some(_) => Error::Start { shard, reason },
                        None => Error::Failed { shard, reason },
                    });
                    stopping = true;
                }
            }
        }
        if accepting == peers.len()
            && let Some(announce) = announce.take()
        {
            announce();
        }
        if stopping && !was_stopping {
            ::log::info!(scope = "process", event = "offload"; "stopping: clients are told");
            peers.iter().for_each(|peer| peer.send_waiting(Item::Drain));
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Tells all shards what files tell now.
fn configure(peers: &[Outlet], reread: &Reread) {
    match reread() {
        Ok(config) => {
            let config = Arc::new(config);
            ::log::info!(scope = "process", event = "configure"; "files were read again");
            for peer in peers {
                peer.send_waiting(Item::Configure(Arc::clone(&config)));
            }
        }
        Err(why) => {
            ::log::error!(scope = "process", event = "configure"; "{why}: all stays as it was");
        }
    }
}

/// What every shard is started with.
struct Launch {
    config: shard::Config,
    receive_pool: PoolSize,
    gather: Duration,
    give_back: fn(),
    peers: Vec<Outlet>,
    counters: Arc<[Counters]>,
    storage: storage::Client,
    accounts: Option<accounts::Client>,
    clock: Clock,
    notify: Sender<Notice>,
}

impl Launch {
    /// Starts a shard on a thread of its own, pinned to `core`.
    fn start(
        &self,
        index: usize,
        core: usize,
        (inbox, wakeup): (Inbox, Wakeup),
        sockets: Vec<OwnedFd>,
        journaling: Journaling,
    ) -> Result<JoinHandle<()>, Error> {
        let mut config = self.config.clone();
        config.index = index;
        config.seed = random_seed();
        let links = Links {
            peers: self.peers.clone(),
            inbox,
            counters: Arc::clone(&self.counters),
            storage: self.storage.clone(),
            accounts: self.accounts.clone(),
            journaling,
        };
        let (pool, gather, give_back) = (self.receive_pool, self.gather, self.give_back);
        let (clock, notify) = (self.clock, self.notify.clone());
        let body = move || {
            let accepting = notify.clone();
            let run = async move {
                let mut ring = patiently(ErrorKind::OutOfMemory, Ring::io_uring)
                    .and_then(|uring| {
                        Ring::new(uring, pool, config.connections_max as u32, sockets, &wakeup)
                    })
                    .map_err(|error| format!("its io_uring: {error}"))?;
                if !ring.gather(gather) && index == 0 {
                    ::log::warn!(
                        scope = "process", event = "warning";
                        "--gather needs Linux 6.12 or newer: nothing is gathered"
                    );
                }
                let shard = Shard::new(config, ring, links);
                let _ = accepting.send(Notice::Accepting);
                let clock = move || clock.now();
                shard::run::run(shard, wakeup, clock, give_back);
                Ok(())
            };
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                executor(core).map(|executor| executor.run(run)).and_then(|result| result)
            }));
            let result = caught.unwrap_or_else(|_| Err("a fault of the server itself".to_owned()));
            let _ = notify.send(Notice::Ended { shard: index, result });
        };
        let thread = std::thread::Builder::new()
            .name(format!("shard-{index}"))
            .stack_size(STACK_BYTES)
            .spawn(body);
        thread.map_err(|error| Error::Start { shard: index, reason: error.to_string() })
    }
}

fn executor(core: usize) -> Result<glommio::LocalExecutor, String> {
    let make = || {
        LocalExecutorBuilder::new(Placement::Fixed(core))
            .io_memory(IO_MEMORY_BYTES)
            .ring_depth(EXECUTOR_RING_DEPTH)
            .make()
            .map_err(std::io::Error::from)
    };
    patiently(ErrorKind::OutOfMemory, make).map_err(|error| format!("its executor: {error}"))
}

/// The cores this process may run on.
pub fn cores() -> Vec<usize> {
    let allowed = rustix::thread::sched_getaffinity(None);
    let cores: Vec<usize> = allowed
        .map(|set| (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
        .unwrap_or_default();
    if cores.is_empty() { vec![0] } else { cores }
}

fn bind(
    listeners: &[Listener],
    shards: usize,
) -> Result<(Vec<SocketAddr>, Vec<Vec<OwnedFd>>), Error> {
    let mut addresses = Vec::new();
    let mut by_shard: Vec<Vec<OwnedFd>> = (0..shards).map(|_| Vec::new()).collect();
    for &Listener { address, .. } in listeners {
        let (bound, sockets) = patiently(ErrorKind::AddrInUse, || listen(address, shards))
            .map_err(|error| Error::Listen { address, error })?;
        addresses.push(bound);
        for (shard, socket) in by_shard.iter_mut().zip(sockets) {
            shard.push(socket);
        }
    }
    Ok((addresses, by_shard))
}

/// Does what may fail for a little while: the kernel lets go of the sockets and the locked memory of
/// a process that was killed only after the process has gone, and whoever restarts a server is faster
/// than that.
#[expect(clippy::disallowed_methods, reason = "no shard runs yet, and there is no event to await")]
fn patiently<R>(
    passing: ErrorKind,
    mut attempt: impl FnMut() -> std::io::Result<R>,
) -> std::io::Result<R> {
    let mut attempts = START_PATIENCE.as_millis() / START_RETRY.as_millis();
    loop {
        match attempt() {
            Err(error) if error.kind() == passing && attempts > 0 => {
                attempts -= 1;
                std::thread::sleep(START_RETRY);
            }
            result => return result,
        }
    }
}

type Inboxes = (Vec<Outlet>, Vec<(Inbox, Wakeup)>);

fn make_inboxes(shards: usize) -> Result<Inboxes, Error> {
    let mut outlets = Vec::new();
    let mut inboxes = Vec::new();
    for _ in 0..shards {
        let wakeup = Wakeup::new().map_err(|error| Error::Process {
            what: "make an eventfd",
            reason: error.to_string(),
        })?;
        let (outlet, inbox) = inbox(wakeup.clone());
        outlets.push(outlet);
        inboxes.push((inbox, wakeup));
    }
    Ok((outlets, inboxes))
}

fn start_storage(settings: storage::Settings, peers: &[Outlet]) -> Result<storage::Client, Error> {
    let peers = peers.to_vec();
    storage::spawn(settings, move |shard, answer| {
        if let Some(peer) = peers.get(shard) {
            peer.send_waiting(Item::Storage(answer));
        }
    })
    .map_err(|reason| Error::Process { what: "open the storage", reason })
}

/// Starts the thread of CoMutiNy's accounts, if there are to be any.
fn start_accounts(options: &Options, peers: &[Outlet]) -> Result<Option<accounts::Client>, Error> {
    let Some(settings) = &options.protocols.comutiny.accounts else { return Ok(None) };
    let path = options.durable.as_ref().map(|durable| durable.data_dir.join("accounts/comutiny"));
    let peers = peers.to_vec();
    let started = accounts::spawn(path, settings.limits, move |shard, answer| {
        if let Some(peer) = peers.get(shard) {
            peer.send_waiting(Item::Account(answer));
        }
    });
    started.map(Some).map_err(|reason| Error::Process { what: "open the accounts", reason })
}

fn watch_signals(notify: Sender<Notice>, rereads: bool) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::Process {
        what: "watch for signals",
        reason: error.to_string(),
    };
    // Its default ends the process: a limit on the size of files fails the write instead.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map_err(failed)?;
    let hang_up = rereads.then_some(SIGHUP);
    let mut signals = Signals::new([SIGTERM, SIGINT].into_iter().chain(hang_up)).map_err(failed)?;
    let watch = move || {
        for signal in signals.forever() {
            let notice = if signal == SIGHUP { Notice::Reread } else { Notice::Signal };
            if notify.send(notice).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(watch).map_err(failed)?;
    Ok(())
}

/// Seeds a shard's random numbers from the kernel.
fn random_seed() -> u64 {
    let mut seed = [0; 8];
    // Cannot fail for so few bytes on kernels that have io_uring.
    let _ = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty());
    u64::from_ne_bytes(seed)
}

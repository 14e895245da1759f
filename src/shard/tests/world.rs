//! A whole server in one thread: shards on a network of vectors, under a clock that moves when it
//! is told to. Benches, fuzz targets and the allocation test drive shards with it too, so it uses
//! nothing but the public interface.
#![allow(dead_code, unreachable_pub)] // none of its users needs all of it
#![allow(clippy::disallowed_types)] // the journal's thread reads the disk

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use lockstep::codec::journal::Key;
use lockstep::net::memory::{Memory, Network, Socket};
use lockstep::net::wakeup::Wakeup;
use lockstep::session::{Counters, Instant, Now};
use lockstep::shard::journaling::Journaling;
use lockstep::shard::mesh::{self, Item, Outlet};
use lockstep::shard::placement;
use lockstep::shard::routes::Profile;
use lockstep::shard::{Config, Links, Shard};
use lockstep::storage::journal::{
    Done, Earlier, Journal, Recovered, SegmentFile, Settings, Sync, Syncer, Volume,
};
use lockstep::{protocol, storage};

/// The wall clock when the virtual one starts.
pub const EPOCH_MS: u64 = 1_700_000_000_000;
/// Turns after which a world that does not come to rest is taken to spin.
const TURNS_MAX: usize = 10_000;
/// The mask of every frame that clients send.
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    pub profile: Profile,
    pub shards: usize,
    pub chunk: usize,
    pub durable: bool,
    /// Whether sessions record in a journal.
    pub journal: bool,
    pub panics_max: usize,
    pub connections_max: usize,
    pub protocols: protocol::Config,
    pub seed: u64,
    /// When the journal is synced.
    pub sync: Sync,
    /// What its records are made with.
    pub key: Key,
    /// Size from which on a segment is followed by the next, in bytes.
    pub segment_bytes: Option<u64>,
    /// Sessions of an earlier process.
    pub recovered: Vec<Recovered>,
    /// What earlier processes wrote, until it can go.
    pub earlier: Option<Arc<Earlier>>,
    /// The journal's thread, if the caller does its work.
    pub syncer: Option<Syncer>,
}

impl Setup {
    /// One shard with everything at its default, in memory.
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            shards: 1,
            chunk: 4096,
            durable: false,
            journal: false,
            panics_max: 3,
            connections_max: 10_000,
            protocols: protocol::Config::default(),
            seed: 1,
            sync: Sync::Never,
            key: Key { epoch: 1, salt: 7 },
            segment_bytes: None,
            recovered: Vec::new(),
            earlier: None,
            syncer: None,
        }
    }
}

/// Shards, their network, their clock and their storage.
pub struct World {
    pub network: Network,
    pub shards: Vec<Shard<Memory>>,
    pub counters: Arc<[Counters]>,
    pub outlets: Vec<Outlet<Socket>>,
    pub now: Now,
    storage: Storage,
    /// The journals of the shards.
    pub disk: Disk,
    read: Receiver<(usize, Done)>,
}

/// Segments in memory, by shard and number.
pub type Disk = Arc<RwLock<DiskBytes>>;

#[derive(Debug, Default)]
pub struct DiskBytes {
    pub segments: BTreeMap<(usize, u32), Vec<u8>>,
    /// How much of each survives a loss of power, in bytes.
    pub synced: BTreeMap<(usize, u32), usize>,
    /// Segments with bytes that a sync has failed on: nobody knows whether they ever get there.
    pub doubted: BTreeSet<(usize, u32)>,
    /// Whether writes fail.
    pub fails: bool,
    /// Whether syncs fail.
    pub sync_fails: bool,
    /// Syncs that failed.
    pub failed_syncs: usize,
    /// What a write that fails has written all the same, in bytes.
    pub torn: usize,
}

/// Those of one shard.
#[derive(Debug)]
struct Segments {
    disk: Disk,
    shard: usize,
}

#[derive(Debug)]
struct SegmentBytes(Disk, (usize, u32));

impl Volume for Segments {
    fn create(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>> {
        let id = (self.shard, number);
        self.disk.write().expect("nobody panics").segments.insert(id, Vec::new());
        Ok(Arc::new(SegmentBytes(self.disk.clone(), id)))
    }

    fn read(&self, number: u32) -> io::Result<Vec<u8>> {
        let disk = self.disk.read().expect("nobody panics");
        disk.segments
            .get(&(self.shard, number))
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove(&self, number: u32) -> io::Result<()> {
        self.disk.write().expect("nobody panics").segments.remove(&(self.shard, number));
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
}

impl SegmentFile for SegmentBytes {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.0.write().expect("nobody panics");
        let (fails, torn) = (disk.fails, disk.torn);
        let segment = disk.segments.entry(self.1).or_default();
        segment.truncate(offset as usize);
        if fails {
            segment.extend_from_slice(&bytes[..torn.min(bytes.len())]);
            return Err(io::Error::other("the disk fails"));
        }
        segment.extend_from_slice(bytes);
        Ok(())
    }

    fn reserve(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.0.write().expect("nobody panics");
        if disk.sync_fails {
            disk.doubted.insert(self.1);
            disk.failed_syncs += 1;
            return Err(io::Error::other("the disk does not confirm"));
        }
        // As in Linux: what a sync has failed on counts as clean, and the next one is content.
        if !disk.doubted.contains(&self.1) {
            let length = disk.segments.get(&self.1).map_or(0, Vec::len);
            disk.synced.insert(self.1, length);
        }
        Ok(())
    }
}

/// The storage's threads and what they answer. Worlds may share them, one after another.
#[derive(Clone)]
pub struct Storage {
    client: storage::Client,
    answers: Receiver<(usize, storage::Answer)>,
    /// Whoever writes to it holds the storage up after its next answer.
    gate: Arc<RwLock<()>>,
}

impl Storage {
    pub fn new() -> Self {
        let (reply, answers) = unbounded();
        let settings = storage::Settings {
            place: storage::Place::Memory(Box::new(|| EPOCH_MS)),
            file_bytes_max: 1 << 20,
            files_bytes_max: 8 << 20,
            blobs_bytes_max: 16 << 20,
        };
        let gate = Arc::new(RwLock::new(()));
        let passed = gate.clone();
        let answer = move |shard, answer| {
            drop(reply.send((shard, answer)));
            drop(passed.read());
        };
        let client = storage::spawn(settings, answer).expect("threads can be started");
        Self { client, answers, gate }
    }

    /// One whose work and answers are the caller's to do and give.
    pub fn by_hand(client: storage::Client) -> Self {
        let (_, answers) = unbounded();
        Self { client, answers, gate: Arc::default() }
    }
}

impl World {
    pub fn new(setup: Setup) -> Self {
        Self::with(Storage::new(), setup)
    }

    pub fn with(storage: Storage, setup: Setup) -> Self {
        let network = Network::new();
        let counters: Arc<[Counters]> = (0..setup.shards).map(|_| Counters::default()).collect();
        let wakeup = || Wakeup::new().expect("an eventfd can be made");
        let (outlets, inboxes): (Vec<_>, Vec<_>) =
            (0..setup.shards).map(|_| mesh::inbox(wakeup())).unzip();
        let protocols = Arc::new(setup.protocols);
        let (done, read) = unbounded();
        let reply = move |shard, what| drop(done.send((shard, what)));
        let syncer = setup.journal.then(|| {
            let own = || Syncer::spawn(reply).expect("threads can be started");
            setup.syncer.unwrap_or_else(own)
        });
        let disk = Disk::default();
        let mut recovered: Vec<Vec<Recovered>> = (0..setup.shards).map(|_| Vec::new()).collect();
        for session in setup.recovered {
            recovered[placement::owner(&session.name, setup.shards)].push(session);
        }
        let mut journaling = |index: usize| {
            let Some(syncer) = syncer.clone() else { return Journaling::default() };
            let mut settings = Settings::new(setup.key, index, setup.sync);
            settings.segment_bytes = setup.segment_bytes.unwrap_or(settings.segment_bytes);
            let volume = Arc::new(Segments { disk: disk.clone(), shard: index });
            let recovered = std::mem::take(&mut recovered[index]);
            let earlier = setup.earlier.clone();
            let journal = Journal::open(settings, volume, syncer, recovered.len(), earlier);
            let journal = journal.expect("memory can be written");
            Journaling { journal: Some(journal), recovered, ..Journaling::default() }
        };
        let shard = |(index, inbox)| {
            let config = Config {
                index,
                shards: setup.shards,
                listeners: vec![setup.profile],
                protocols: protocols.clone(),
                durable: setup.durable,
                connections_max: setup.connections_max,
                file_bytes_max: 1 << 20,
                panics_max: setup.panics_max,
                drain: Duration::from_secs(10),
                seed: setup.seed.wrapping_add(index as u64),
            };
            let links = Links {
                peers: outlets.clone(),
                inbox,
                counters: counters.clone(),
                storage: storage.client.clone(),
                accounts: None,
                journaling: journaling(index),
            };
            Shard::new(config, Memory::new(network.clone(), setup.chunk), links)
        };
        let shards = inboxes.into_iter().enumerate().map(shard).collect();
        let now = Now { at: Instant::from_millis(1), wall_ms: EPOCH_MS };
        Self { network, shards, counters, outlets, now, storage, disk, read }
    }

    /// One turn of every shard; whether anything was done.
    pub fn turn(&mut self) -> bool {
        let now = self.now;
        self.shards.iter_mut().fold(false, |worked, shard| shard.turn(now) | worked)
    }

    /// Turns until there is nothing to do.
    pub fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            if !self.turn() && self.shards.iter().all(|shard| !shard.has_items()) {
                self.check();
                return;
            }
        }
        panic!("the shards spin: they find something to do in every turn");
    }

    /// Checks the shards' tables, in debug builds.
    pub fn check(&self) {
        if cfg!(debug_assertions) {
            self.shards.iter().for_each(Shard::invariants);
        }
    }

    /// Lets the storage finish what it was asked for, and the shards hear of it.
    pub fn settle_storage(&mut self) {
        loop {
            self.settle();
            assert!(self.storage.client.drain(Duration::from_secs(10)), "the storage hangs");
            let before = self.storage.answers.len();
            for (shard, answer) in self.storage.answers.try_iter().take(before) {
                self.outlets[shard].send(Item::Storage(answer)).expect("there is room");
            }
            if before == 0 {
                return;
            }
        }
    }

    /// What holds the storage up as long as somebody writes to it.
    pub fn storage_gate(&self) -> Arc<RwLock<()>> {
        self.storage.gate.clone()
    }

    /// Lets the journal's thread read back what a session that fell has recorded.
    pub fn await_read_back(&mut self) {
        self.settle();
        let read = self.read.recv_timeout(Duration::from_secs(10));
        let (shard, done) = read.expect("the journal is being read");
        self.outlets[shard].send(Item::Journal(done)).expect("there is room");
        self.settle();
    }

    /// Lets time pass, with a turn whenever one is due.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.at + time;
        self.settle();
        while let Some(due) = self.next_due().filter(|&due| due <= end) {
            self.set_time(due.max(self.now.at));
            self.settle();
        }
        self.set_time(end);
        self.settle();
    }

    /// Moves the clock, without a turn.
    pub fn set_time(&mut self, at: Instant) {
        self.now = Now { at, wall_ms: EPOCH_MS + at.as_millis() };
    }

    fn next_due(&self) -> Option<Instant> {
        self.shards.iter().filter_map(Shard::next_due).min()
    }

    /// Tells all shards to stop.
    pub fn drain(&mut self) {
        for outlet in &self.outlets {
            outlet.send(Item::Drain).expect("there is room");
        }
    }

    /// A sum over the shards.
    pub fn count(&self, read: impl Fn(&Counters) -> u64) -> u64 {
        self.counters.iter().map(read).sum()
    }

    /// Connects to shard `side` and asks for an upgrade; no turn is made.
    pub fn dial(&self, side: usize, path: &str) -> Peer {
        let peer = self.connect(side);
        self.network.deliver(peer.connection, upgrade(path).as_bytes());
        peer
    }

    /// Connects to shard `side`, and says nothing.
    pub fn connect(&self, side: usize) -> Peer {
        let connection = self.network.connect_to(side);
        Peer { connection, network: self.network.clone(), unread: Vec::new(), upgraded: false }
    }

    /// A member: connected and upgraded.
    pub fn join(&mut self, path: &str) -> Peer {
        let mut peer = self.dial(0, path);
        self.settle();
        peer.read();
        assert!(peer.upgraded, "the upgrade was refused");
        peer
    }

    /// A client of CoMutiNy's world, who plays somebody or looks on.
    pub fn enter_comutiny(&mut self, player: Option<usize>) -> Peer {
        let mut peer = self.join(COMUTINY_PATH);
        peer.send_text("40");
        if let Some(number) = player {
            peer.send_text(&format!(r#"420["player:join",{{"playerId":"player-{number}"}}]"#));
        }
        self.settle();
        let texts = peer.texts();
        let last = if player.is_some() { "430[{\"ok\":true" } else { "42[\"world:state\"" };
        assert!(texts.last().is_some_and(|text| text.starts_with(last)), "{texts:?}");
        peer
    }
}

/// Where a client of CoMutiNy's world connects that uses nothing but WebSocket.
const COMUTINY_PATH: &str = "/socket.io/?EIO=4&transport=websocket";

/// The request of a WebSocket client.
pub fn upgrade(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// What a Croquet client says when it joins the session `id`.
pub fn croquet_join(id: &str, user: usize) -> Vec<u8> {
    let text = format!(
        r#"{{"id":"{id}","action":"JOIN","args":{{"name":"app/n","apiKey":"none","appId":"app","version":1,"user":"u{user}","ticks":{{"tick":50,"delay":0}},"url":"http://h/"}}}}"#
    );
    masked(0x81, text.as_bytes())
}

/// What a Croquet client sends for its session `id` to relay.
pub fn croquet_send(id: &str, payload: usize) -> Vec<u8> {
    let payload = "p".repeat(payload);
    let text = format!(r#"{{"id":"{id}","action":"SEND","args":[0,0,"{payload}",12]}}"#);
    masked(0x81, text.as_bytes())
}

/// A frame as a client sends it. `first` is its first byte.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ MASK[at % 4]));
    frame
}

/// A client.
#[derive(Debug)]
pub struct Peer {
    pub connection: usize,
    network: Network,
    unread: Vec<u8>,
    upgraded: bool,
}

impl Peer {
    pub fn send_text(&self, text: &str) {
        self.send(0x81, text.as_bytes());
    }

    /// Sends one frame with this first byte.
    pub fn send(&self, first: u8, payload: &[u8]) {
        self.network.deliver(self.connection, &masked(first, payload));
    }

    /// Reads what there is; whole frames, in order.
    pub fn read(&mut self) -> Vec<Frame> {
        self.read_some(usize::MAX)
    }

    /// Reads at most `bytes`; whole frames, in order.
    pub fn read_some(&mut self, bytes: usize) -> Vec<Frame> {
        self.unread.extend(self.network.take_some(self.connection, bytes));
        self.upgraded = self.upgraded || self.cut_response();
        let mut frames = Vec::new();
        let mut start = 0;
        while self.upgraded
            && let Some((frame, len)) = Frame::parse(&self.unread[start..])
        {
            frames.push(frame);
            start += len;
        }
        self.unread.drain(..start);
        frames
    }

    /// Reads what there is: the payloads of its text messages.
    pub fn texts(&mut self) -> Vec<String> {
        self.read().into_iter().filter_map(Frame::into_text).collect()
    }

    /// Whether the stream ends with a frame.
    pub fn is_aligned(&self) -> bool {
        self.unread.is_empty()
    }

    pub fn is_upgraded(&self) -> bool {
        self.upgraded
    }

    pub fn is_closed(&self) -> bool {
        self.network.is_closed(self.connection)
    }

    fn cut_response(&mut self) -> bool {
        let end = self.unread.windows(4).position(|window| window == b"\r\n\r\n");
        let Some(end) = end.filter(|_| self.unread.starts_with(b"HTTP/1.1 101")) else {
            return false;
        };
        self.unread.drain(..end + 4);
        true
    }
}

/// A frame as a client receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its first byte.
    pub first: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// A close frame.
    pub fn close(code: u16, reason: &str) -> Self {
        let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
        Self { first: 0x88, payload }
    }

    pub fn is_close(&self) -> bool {
        self.first == 0x88
    }

    pub fn into_text(self) -> Option<String> {
        (self.first == 0x81).then(|| String::from_utf8(self.payload).expect("texts are UTF-8"))
    }

    fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&first, rest) = bytes.split_first()?;
        assert!(
            matches!(first, 0x81 | 0x82 | 0x88 | 0x89 | 0x8A),
            "no frame begins with {first:#x}"
        );
        let (start, len): (usize, usize) = match *rest.first()? {
            len @ 0..=125 => (2, usize::from(len)),
            126 => (4, usize::from(u16::from_be_bytes(rest.get(1..3)?.try_into().ok()?))),
            127 => (10, u64::from_be_bytes(rest.get(1..9)?.try_into().ok()?) as usize),
            _ => panic!("a server never masks"),
        };
        let payload = bytes.get(start..start.checked_add(len)?)?.to_vec();
        Some((Self { first, payload }, start + len))
    }
}

//! What a run plays on: one process after another, with their network, clock, disk and storage, and
//! everything that goes wrong with these.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use super::super::simulation::Random;
use super::super::world::{EPOCH_MS, Setup, Storage, World};
use super::{Met, ms};
use crate::codec::journal::Key;
use crate::net::memory::Socket;
use crate::session::Counters;
use crate::shard::mesh::Item;
use crate::shard::routes::Profile;
use crate::storage::ByHand;
use crate::storage::journal::{Earlier, Postponed, Sync, Syncer, rebuilt};

thread_local! {
    /// Epochs before this one were deleted.
    static FORGOTTEN: Cell<u32> = const { Cell::new(0) };
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is killed: what was written is there, and no more.
    Kill,
    /// The power is cut: what was not synced may be there, or in part, or be rubbish.
    PowerCut,
    /// It stops in good order, if its disk lets it.
    Stop,
}

/// Processes, one after another.
pub(super) struct Stage {
    pub(super) world: World,
    pub(super) random: Random,
    /// Counted from 1.
    pub(super) life: u32,
    /// The disk failed in this life.
    pub(super) troubled: bool,
    pub(super) met: Met,
    storage: Option<ByHand>,
    syncs: Postponed,
    sync: Sync,
    key: Key,
    /// Stores fail, too.
    stores_fail: bool,
    traces: bool,
    /// What earlier processes left of their journals.
    image: Vec<(Key, u32, u32, Vec<u8>)>,
}

impl Stage {
    /// The first process.
    pub(super) fn new(seed: u64) -> Self {
        FORGOTTEN.set(0);
        let random = Random(seed);
        let (client, storage) = ByHand::new(EPOCH_MS);
        let (_, syncs) = Syncer::postponed();
        let mut stage = Self {
            // In whose place the first process comes.
            world: World::with(Storage::by_hand(client), Setup::new(Profile::All)),
            random,
            life: 0,
            troubled: false,
            met: Met::default(),
            storage: Some(storage),
            syncs,
            sync: Sync::Never,
            key: Key { epoch: 0, salt: 0 },
            stores_fail: false,
            traces: std::env::var_os("LOCKSTEP_TRACE").is_some(),
            image: Vec::new(),
        };
        stage.start();
        stage
    }

    /// The next process, which goes on from what the last one left.
    fn start(&mut self) {
        let (recovered, damaged) = rebuilt(&self.image);
        assert!(damaged.is_empty(), "what was on the disk is damaged: {damaged:?}");
        self.met.recovered += recovered.len();
        self.life += 1;
        self.troubled = false;
        self.stores_fail = false;
        self.key = Key { epoch: self.life, salt: self.random.next() };
        self.sync = match self.random.below(3) {
            0 => Sync::Never,
            1 => Sync::Every(ms(1 + self.random.below(300))),
            _ => Sync::Always,
        };
        let (syncer, syncs) = Syncer::postponed();
        let (client, storage) = self.storage.take().expect("it is there").restarted();
        let shards = 1 + self.random.below(3) as usize;
        let forget: fn(&Path, u32) = |_, epoch| FORGOTTEN.set(epoch);
        let mut setup = Setup {
            shards,
            chunk: [100, 1_000, 4_096][self.random.below(3) as usize],
            durable: true,
            journal: true,
            panics_max: 3,
            seed: self.random.next(),
            sync: self.sync,
            key: self.key,
            segment_bytes: Some(500 + self.random.below(8_000)),
            recovered,
            earlier: Some(Earlier::new(Path::new(""), self.life, shards, forget)),
            syncer: Some(syncer),
            ..Setup::new(Profile::All)
        };
        setup.protocols.croquet.lag_bytes_max = 1 << (12 + self.random.below(8));
        setup.protocols.yjs.lag_bytes_max = 1 << (12 + self.random.below(8));
        setup.protocols.comutiny.lag_bytes_max = 1 << (12 + self.random.below(8));
        setup.protocols.comutiny.world_bytes_max = 1 << 14;
        setup.protocols.comutiny.update_interval_ms = [0, 50][self.random.below(2) as usize];
        setup.protocols.comutiny.store_delay_ms = 3_000;
        setup.protocols.yjs.room_timeout_ms = 5_000;
        setup.protocols.gallery.lag_bytes_max = 1 << (12 + self.random.below(8));
        setup.protocols.gallery.store_delay_ms = 3_000;
        setup.protocols.gallery.pose_interval_ms = [0, 20][self.random.below(2) as usize];
        setup.protocols.rljson.store_delay_ms = 3_000;
        setup.protocols.rljson.linger_ms = 5_000;
        let now = self.world.now.at + ms(1 + self.random.below(5_000));
        self.world = World::with(Storage::by_hand(client), setup);
        self.world.set_time(now);
        (self.storage, self.syncs) = (Some(storage), syncs);
        let now = self.world.now;
        self.world.shards.iter_mut().for_each(|shard| shard.begin(now));
    }

    /// Something happens to the machine, or nothing: turns, time, the disk.
    pub(super) fn step(&mut self) {
        match self.random.below(40) {
            0 => self.disk_changes(),
            1..=5 => {
                let time = [20, 300, 1_500, 6_000][self.random.below(4) as usize];
                let time = ms(self.random.below(time));
                self.world.pass(time);
            }
            6 => self.fill_inbox(),
            7..=14 => self.serve_storage(1),
            15..=20 => self.serve_storage(8),
            21..=26 => self.serve_syncs(1),
            _ => {}
        }
        for _ in 0..self.random.below(3) {
            self.world.turn();
            self.world.check();
        }
    }

    /// Writes and syncs fail for a while, or succeed again.
    fn disk_changes(&mut self) {
        let (one, two) = (self.random.one_in(3), self.random.one_in(3));
        let torn = self.random.below(200) as usize;
        self.stores_fail = self.random.one_in(6);
        let mut disk = self.world.disk.write().expect("nobody panics");
        (disk.fails, disk.sync_fails, disk.torn) = (one, two, torn);
        drop(disk);
        self.met.failing_writes += usize::from(one);
        self.trace(|| format!("writes fail: {one}, syncs: {two}"));
        self.troubled |= one || two || self.stores_fail;
    }

    /// The disk is well again.
    pub(super) fn heal(&mut self) {
        let mut disk = self.world.disk.write().expect("nobody panics");
        (disk.fails, disk.sync_fails, disk.torn) = (false, false, 0);
        self.stores_fail = false;
    }

    /// A shard has much to do: whoever would move there is refused.
    fn fill_inbox(&mut self) {
        let shard = self.any_shard();
        let answer = || Item::Answer { question: u64::MAX, status: 200, text: String::new() };
        while self.world.outlets[shard].send(answer()).is_ok() {}
    }

    pub(super) fn any_shard(&mut self) -> usize {
        self.random.below(self.world.shards.len() as u64) as usize
    }

    /// The storage does as much as this.
    pub(super) fn serve_storage(&mut self, requests: usize) {
        let waiting = self.storage.as_ref().map_or(0, ByHand::len);
        for _ in 0..requests.min(waiting) {
            let Some(storage) = &mut self.storage else { return };
            if let Some(answer) = storage.step(self.stores_fail) {
                self.trace(|| format!("storage {answer:?}"));
                let shard = usize::from(answer.ticket.shard);
                self.tell(shard, Item::Storage(answer));
            }
        }
    }

    /// With `LOCKSTEP_TRACE`, tells what happens.
    pub(super) fn trace(&self, what: impl FnOnce() -> String) {
        if self.traces {
            let text = what();
            println!("{:>8} ms: {text:.300}", self.world.now.at.as_millis());
        }
    }

    /// Puts something into a shard's inbox.
    fn tell(&mut self, shard: usize, mut item: Item<Socket>) {
        while let Err(back) = self.world.outlets[shard].send(item) {
            item = back;
            self.world.turn();
        }
    }

    /// The journal's thread does as much as this.
    pub(super) fn serve_syncs(&mut self, works: usize) {
        for _ in 0..works.min(self.syncs.len()) {
            let done = self.syncs.step();
            self.trace(|| format!("journal {done:?}"));
            let forgotten = FORGOTTEN.get();
            self.image.retain(|(key, ..)| key.epoch >= forgotten);
            let Some((shard, done)) = done else { continue };
            self.tell(shard, Item::Journal(done));
        }
    }

    /// All that was asked of storage and disk is done, and all that follows from it.
    pub(super) fn serve_all(&mut self) {
        while self.storage.as_ref().is_some_and(|storage| storage.len() > 0) || self.syncs.len() > 0
        {
            self.serve_storage(usize::MAX);
            self.serve_syncs(usize::MAX);
            self.world.settle();
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.world.pass(time);
        self.serve_all();
    }

    /// All is done that can be done now.
    pub(super) fn settle(&mut self) {
        self.world.settle();
        self.serve_all();
    }

    /// All shards are told to stop.
    pub(super) fn drain(&mut self) {
        for shard in 0..self.world.shards.len() {
            self.tell(shard, Item::Drain);
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.world.shards.iter().all(|shard| shard.is_done())
    }

    /// How this process may end.
    pub(super) fn choose_end(&mut self) -> End {
        match self.random.below(4) {
            0 => End::Stop,
            1 | 2 if self.sync == Sync::Always => End::PowerCut,
            _ => End::Kill,
        }
    }

    /// The process is gone, and the next one starts.
    pub(super) fn end(&mut self, end: End) {
        let (life, shards) = (self.life, self.world.shards.len());
        println!("life {life} on {shards} shards: {:?}, {end:?}, {:?}", self.sync, self.troubled);
        self.check_counters();
        if end == End::Stop {
            let done = self.is_done();
            assert!(done || self.troubled, "it does not stop");
            self.world.shards.iter_mut().for_each(|shard| assert!(shard.shut() || !done));
            self.world.shards.iter_mut().for_each(|shard| shard.finish());
        }
        self.take_disk(end == End::PowerCut);
        match end {
            End::Kill => self.met.kills += 1,
            End::PowerCut => self.met.cuts += 1,
            End::Stop => self.met.stops += 1,
        }
        self.start();
    }

    /// No session fell, nothing got lost between shards, and the numbers add up.
    fn check_counters(&mut self) {
        let count = |read: fn(&Counters) -> u64| self.world.count(read);
        assert_eq!(count(|counters| counters.panics.get()), 0, "a session fell");
        assert_eq!(count(|counters| counters.passages_dropped.get()), 0);
        self.met.handed_off += count(|counters| counters.handed_off.get());
        self.met.transfers += count(|counters| counters.transfers.get());
        self.met.slow_closed += count(|counters| counters.slow_closed.get());
        self.met.refused += count(|counters| counters.refused.get());
        self.met.polling[2] += count(|counters| counters.upgrades.get()) as usize;
        self.met.superseded += count(|counters| counters.superseded.get());
        let disk = self.world.disk.read().expect("nobody panics");
        self.met.failed_syncs += disk.failed_syncs;
    }

    /// Takes over what is left of the journal.
    fn take_disk(&mut self, power_is_cut: bool) {
        let disk = self.world.disk.read().expect("nobody panics");
        for (&(shard, number), bytes) in &disk.segments {
            let mut bytes = bytes.clone();
            let synced = disk.synced.get(&(shard, number)).copied().unwrap_or(0);
            if power_is_cut && synced < bytes.len() {
                self.met.unsynced += 1;
                let cut = synced + self.random.below((bytes.len() - synced) as u64 + 1) as usize;
                if self.random.one_in(2) {
                    bytes.truncate(cut);
                } else {
                    let rubbish = self.random.next().to_le_bytes();
                    let rubbish = rubbish.iter().cycle();
                    bytes[cut..].iter_mut().zip(rubbish).for_each(|(byte, other)| *byte = *other);
                }
            }
            self.image.push((self.key, shard as u32, number, bytes));
        }
    }

    /// Nobody is there any more, and after a while nothing is.
    pub(super) fn check_empty(&self) {
        let left = |world: &World| {
            (
                world.count(|counters| counters.connections.get()),
                world.count(|counters| counters.members.get()),
                world.count(|counters| counters.sessions.get()),
            )
        };
        let (connections, members, sessions) = left(&self.world);
        assert_eq!((connections, members), (0, 0));
        assert_eq!(self.world.count(|counters| counters.polling.get()), 0, "somebody polls");
        assert!(sessions <= super::STANDING, "{sessions} sessions are left");
    }
}

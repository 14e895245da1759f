//! Whole processes that end in the middle of anything, from a printed seed: what any client was told
//! is recorded is there in the next one, in order and once, whatever the disk did.
//!
//! The disk fails for a while, or in the middle of a write; the process is killed, and with
//! `--sync always` the power is cut: what was not synced is lost then, from any byte on, or is
//! rubbish. The next process has another number of shards, and goes on with what is left.

use std::collections::BTreeMap;

use super::simulation::Random;
use super::world::{Peer, Setup, World};
use super::{TALK, ms};
use crate::codec::journal::Key;
use crate::storage::journal::{Recovered, Sync, rebuilt};

const SEEDS: u64 = 1_500;
const LIVES: u64 = 3;
const STEPS: u64 = 30;
const SESSIONS: u64 = 3;

/// A client, and the session it is in.
struct Client {
    session: u64,
    peer: Peer,
}

/// What was met, to see that it was.
#[derive(Debug, Default)]
struct Met {
    told: usize,
    untold_but_kept: usize,
    lost: usize,
    cuts: usize,
    torn: usize,
    segments: usize,
}

struct Crashes {
    random: Random,
    /// What sessions were asked to keep, in order, by session.
    asked: BTreeMap<u64, Vec<String>>,
    /// What anybody was told is kept, by session.
    told: BTreeMap<u64, Vec<String>>,
    /// What is on the disk: segments of all processes.
    image: Vec<(Key, u32, u32, Vec<u8>)>,
    texts: u64,
    met: Met,
}

impl Crashes {
    /// A process from its start to its end.
    fn live(&mut self, epoch: u32, recovered: Vec<Recovered>) {
        let shards = 1 + self.random.below(3) as usize;
        let sync = match self.random.below(3) {
            0 => Sync::Never,
            1 => Sync::Every(ms(10)),
            _ => Sync::Always,
        };
        let key = Key { epoch, salt: self.random.next() };
        let segment_bytes = Some(200 + self.random.below(2_000));
        let setup = Setup {
            shards,
            journal: true,
            durable: true,
            sync,
            key,
            segment_bytes,
            recovered,
            ..Setup::new(TALK)
        };
        let mut world = World::new(setup);
        let mut clients = Vec::new();
        for session in 0..SESSIONS {
            let mut peer = world.join(&format!("/s{session}/listening"));
            peer.send_text("kept");
            world.settle();
            let told = peer.texts();
            let kept =
                told.iter().find_map(|text| text.split_once(": ")).map_or("", |(_, kept)| kept);
            self.check(session, kept);
            clients.push(Client { session, peer });
        }
        for _ in 0..self.random.below(STEPS) {
            self.step(&mut world, &mut clients);
        }
        clients.iter_mut().for_each(|client| self.listen(client));
        self.end(&world, key, sync);
    }

    /// What is kept is all that was told, and nothing that was not asked for, in order and once.
    fn check(&mut self, session: u64, kept: &str) {
        let kept: Vec<&str> = kept.split(',').filter(|text| !text.is_empty()).collect();
        let asked = self.asked.entry(session).or_default();
        let mut rest = asked.iter();
        for text in &kept {
            assert!(rest.any(|asked| asked == text), "{text} of {kept:?} is out of order");
        }
        let told = self.told.entry(session).or_default();
        for text in told.iter() {
            assert!(kept.contains(&&**text), "{text} was told, and is lost: {kept:?}");
        }
        self.met.told += told.len();
        self.met.untold_but_kept += kept.len() - told.len();
        self.met.lost += asked.len() - kept.len();
        *asked = kept.iter().map(|text| (*text).to_owned()).collect();
        told.clone_from(asked);
    }

    fn step(&mut self, world: &mut World, clients: &mut [Client]) {
        let who = self.random.below(clients.len() as u64) as usize;
        match self.random.below(10) {
            0..=5 => {
                let Client { session, peer } = &mut clients[who];
                self.texts += 1;
                let filler = "-".repeat(self.random.below(60) as usize);
                let text = format!("{}{filler}", self.texts);
                peer.send_text(&format!("keep {text}"));
                self.asked.entry(*session).or_default().push(text);
            }
            6 => {
                let mut disk = world.disk.write().expect("nobody panics");
                disk.fails = self.random.one_in(2);
                disk.torn = self.random.below(100) as usize;
            }
            7 => world.pass(ms(self.random.below(2_000))),
            8 => self.listen(&mut clients[who]),
            _ => {}
        }
        for _ in 0..self.random.below(4) {
            world.turn();
        }
    }

    /// Reads all that was sent to a client.
    fn listen(&mut self, client: &mut Client) {
        for text in client.peer.texts() {
            let (_, said) = text.split_once(' ').expect("all that is said is numbered");
            if let Some(kept) = said.strip_prefix("kept ") {
                let told = self.told.entry(client.session).or_default();
                if !told.iter().any(|told| told == kept) {
                    told.push(kept.to_owned());
                }
            }
        }
    }

    /// The process ends; takes over what is left of its disk.
    fn end(&mut self, world: &World, key: Key, sync: Sync) {
        let power_is_cut = sync == Sync::Always && self.random.one_in(2);
        let disk = world.disk.read().expect("nobody panics");
        self.met.torn += usize::from(disk.fails);
        for ((shard, number), bytes) in &disk.segments {
            let mut bytes = bytes.clone();
            let synced = disk.synced.get(&(*shard, *number)).copied().unwrap_or(0);
            if power_is_cut && synced < bytes.len() {
                self.met.cuts += 1;
                let cut = synced + self.random.below((bytes.len() - synced) as u64 + 1) as usize;
                if self.random.one_in(2) {
                    bytes.truncate(cut);
                } else {
                    let rubbish = self.random.next().to_le_bytes();
                    bytes[cut..].iter_mut().zip(rubbish.iter().cycle()).for_each(
                        |(byte, other)| {
                            *byte = *other;
                        },
                    );
                }
            }
            self.met.segments += 1;
            self.image.push((key, *shard as u32, *number, bytes));
        }
    }
}

#[test]
fn whatever_was_told_is_there_after_a_crash() {
    let mut all = Met::default();
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let mut crashes = Crashes {
            random: Random(seed),
            asked: BTreeMap::new(),
            told: BTreeMap::new(),
            image: Vec::new(),
            texts: 0,
            met: Met::default(),
        };
        for life in 0..=LIVES {
            let (recovered, damaged) = rebuilt(&crashes.image);
            assert!(damaged.is_empty(), "{damaged:?}");
            crashes.live(1 + life as u32, recovered);
        }
        let Met { told, untold_but_kept, lost, cuts, torn, segments } = crashes.met;
        all.told += told;
        all.untold_but_kept += untold_but_kept;
        all.lost += lost;
        all.cuts += cuts;
        all.torn += torn;
        all.segments += segments;
    }
    println!("{all:?}");
    let Met { told, untold_but_kept, lost, cuts, torn, segments } = all;
    let least = [told, untold_but_kept, lost, cuts, torn, segments];
    assert!(least.iter().all(|count| *count > 100), "{all:?}");
}

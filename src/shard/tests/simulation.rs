//! Many clients of a few sessions doing anything at any time, from a printed seed.
//!
//! What each client receives is checked as it reads: from the point it listens on, every number its
//! session has said, each once and in order, replies and poses in their place among them, poses of
//! each other client in order and the newest in the end, and nothing but whole frames before the end; when it moves, all that its old session has said to it before
//! anything of the new one. What sessions receive is checked by the `ledger`. When the clients stop
//! misbehaving, all who are still there must catch up, and everything must be given back when they
//! go, or when the shards stop in the middle of it all.

use std::collections::BTreeMap;

use super::ledger::{self, Place};
use super::world::{Frame, Peer, Setup, Storage, World};
use super::{TALK, ms};
use crate::seeds::Seeds;
use crate::session::Counters;
use crate::shard::mesh::Item;

const SEEDS: u64 = 500;
const STEPS: usize = 250;
const CLIENTS_MAX: usize = 12;
const SESSIONS: u64 = 3;

/// splitmix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A client and what it must be told next.
struct Client {
    peer: Peer,
    /// As the ledger knows it.
    number: u32,
    session: String,
    /// The session that it was told it is moving to.
    moving: Option<String>,
    /// Messages sent.
    sent: u64,
    /// The second fragment of the message that is being sent.
    rest: Option<Vec<u8>>,
    /// The number that the session's next message must have, once the client listens.
    next: Option<u64>,
    /// The newest pose of each class that it was told.
    poses: BTreeMap<u64, u64>,
    close: Option<Frame>,
    failed: bool,
    /// Broadcasts checked.
    heard: u64,
}

impl Client {
    fn read(&mut self, bytes: usize) {
        for frame in self.peer.read_some(bytes) {
            assert!(self.close.is_none(), "{frame:?} after the close frame");
            if frame.is_close() {
                let code = u16::from_be_bytes([frame.payload[0], frame.payload[1]]);
                assert!(code == 1000 || code > 4000, "it has broken no rule: {frame:?}");
                self.close = Some(frame);
            } else if let Some(text) = frame.into_text() {
                self.check(&text);
            }
        }
        assert!(self.close.is_none() || self.peer.is_aligned(), "bytes after the close frame");
    }

    fn check(&mut self, text: &str) {
        let (number, rest) = text.split_once(' ').expect("every text has a number");
        if let Some(number) = number.strip_suffix('~') {
            return self.check_pose(number, rest);
        }
        let Some(number) = number.strip_suffix(':') else {
            assert_eq!(self.moving, None, "it is said to those who stay: {rest:.40}");
            let number: u64 = number.parse().expect("a broadcast is numbered");
            if let Some(next) = &mut self.next {
                assert_eq!(number, *next, "something is missing, or there twice: {rest:.40}");
                *next += 1;
                self.heard += 1;
            }
            return;
        };
        let number: u64 = number.parse().expect("a reply is numbered");
        if let Some(session) = rest.strip_prefix("entered ") {
            assert_eq!(self.moving.take().as_deref(), Some(session));
            self.session = session.to_owned();
            self.next = None;
            self.poses.clear();
        } else if let Some(next) = self.next {
            assert_eq!(number, next, "a reply is out of place: {rest:.40}");
        } else if rest == "listening" {
            self.next = Some(number);
        }
        self.moving = rest.strip_prefix("moving ").map(str::to_owned);
    }

    fn check_pose(&mut self, number: &str, rest: &str) {
        let numbers: Vec<u64> =
            rest.split(' ').take(2).map(|text| text.parse().expect("poses are counted")).collect();
        let number: u64 = number.parse().expect("a pose is numbered");
        let Some(next) = self.next else { return };
        assert_eq!(number, next, "a pose is out of place: {rest:.40}");
        assert_ne!(numbers[0], u64::from(self.number), "nobody is told its own pose");
        let before = self.poses.insert(numbers[0], numbers[1]);
        assert!(before < Some(numbers[1]), "a pose is there twice, or an older one comes later");
    }

    /// Says something, at times in two fragments.
    fn say(&mut self, command: &str, random: &mut Random) {
        self.complete();
        self.sent += 1;
        let text = format!("#{} {command}", self.sent);
        if random.one_in(8) {
            let (first, rest) = text.as_bytes().split_at(random.below(4) as usize);
            self.peer.send(0x01, first);
            self.rest = Some(rest.to_vec());
        } else {
            self.peer.send_text(&text);
        }
    }

    fn complete(&mut self) {
        if let Some(rest) = self.rest.take() {
            self.peer.send(0x80, &rest);
        }
    }

    /// Whether it can expect to be told everything.
    fn is_well(&self) -> bool {
        self.peer.is_upgraded() && !self.failed && self.close.is_none() && !self.peer.is_closed()
    }

    fn act(&mut self, random: &mut Random, world: &World) {
        match random.below(60) {
            0 => self.peer.send(0x88, &1000u16.to_be_bytes()),
            1 => world.network.finish(self.peer.connection),
            2 => {
                world.network.fail(self.peer.connection);
                self.failed = true;
            }
            9 => {
                world.network.fail_unnoticed(self.peer.connection);
                self.failed = true;
            }
            3..6 => self.peer.send(0x89, b"ping"),
            6 if random.one_in(3) => self.say("panic", random),
            7 if random.one_in(3) => self.say("panic-on-leave", random),
            8 if random.one_in(3) => self.say("kick-on-leave", random),
            // Much at once, of which one buffer may hold several moves.
            10 => (0..10).for_each(|_| self.say(&command(random), random)),
            _ => self.say(&command(random), random),
        }
    }
}

/// What a client says.
fn command(random: &mut Random) -> String {
    let size_max = if random.one_in(8) { 90_000 } else { 600 };
    let size = random.below(size_max);
    match random.below(35) {
        0..4 => "listen".to_owned(),
        4..9 => "say something".to_owned(),
        9..11 => "others something".to_owned(),
        11..13 => format!("big {size}"),
        13..15 => format!("long {size}"),
        15..17 => format!("share {size}"),
        17 => format!("tick {}", random.below(50)),
        18 if random.one_in(4) => format!("kick {}", random.below(4)),
        19 if random.one_in(8) => "nonsense".to_owned(),
        20..22 => format!("move {}", target(random)),
        23 if random.one_in(8) => format!("tell-on-leave {}", target(random)),
        22..24 => format!("shove {} {}", random.below(4), target(random)),
        24..27 => format!("tell {} {}", target(random), news(random)),
        27..33 => format!("pose {}", size / 4),
        33 => "hold 0".to_owned(),
        34 => format!("hold {}", random.below(2_000)),
        _ => "admit".to_owned(),
    }
}

/// A session to go to, or to tell something.
fn target(random: &mut Random) -> String {
    let session = random.below(SESSIONS);
    match random.below(24) {
        0..4 => format!("gate{session}"),
        4..6 => format!("gategate{session}"),
        6 => "shut".to_owned(),
        _ => session.to_string(),
    }
}

/// What one session tells another.
fn news(random: &mut Random) -> String {
    match random.below(16) {
        0..4 => "answer hello".to_owned(),
        4..8 => format!("shove {} {}", random.below(4), target(random)),
        8 if random.one_in(4) => "panic".to_owned(),
        _ => "hello".to_owned(),
    }
}

struct Simulation {
    random: Random,
    world: World,
    clients: Vec<Client>,
    /// Clients that there were.
    connected: u32,
    /// Broadcasts that clients who have gone had checked.
    heard: u64,
}

impl Simulation {
    fn new(seed: u64, storage: &Storage) -> Self {
        let mut random = Random(seed);
        let mut setup = Setup::new(TALK);
        setup.shards = 1 + random.below(3) as usize;
        // Sessions panic all the time.
        setup.panics_max = usize::MAX;
        setup.chunk = [7, 100, 4096][random.below(3) as usize];
        setup.protocols.croquet.lag_bytes_max = 1 << (10 + random.below(8));
        setup.protocols.croquet.messages_per_second_max = 1 << (5 + random.below(8));
        let world = World::with(storage.clone(), setup);
        ledger::clear();
        Self { random, world, clients: Vec::new(), connected: 0, heard: 0 }
    }

    fn step(&mut self) {
        if self.clients.len() < CLIENTS_MAX && self.random.one_in(6) {
            self.connect();
        }
        if self.random.one_in(40) {
            self.fill_inbox();
        }
        for client in &mut self.clients {
            let connection = client.peer.connection;
            if self.random.one_in(3) {
                client.act(&mut self.random, &self.world);
            }
            if self.random.one_in(10) {
                let capacity = match self.random.below(3) {
                    0 => 0,
                    1 => self.random.below(3_000) as usize,
                    _ => usize::MAX,
                };
                self.world.network.set_capacity(connection, capacity);
            }
            if self.random.one_in(2) {
                client.read(self.random.below(5_000) as usize);
            }
        }
        self.world.turn();
        self.world.check();
        if self.random.one_in(20) {
            self.world.pass(ms(self.random.below(3_000)));
        }
        let gone = |client: &Client| client.peer.is_closed();
        self.clients.iter_mut().filter(|client| gone(client)).for_each(|client| {
            client.read(usize::MAX);
        });
        self.heard +=
            self.clients.iter().filter(|client| gone(client)).map(|c| c.heard).sum::<u64>();
        self.clients.retain(|client| !gone(client));
    }

    fn connect(&mut self) {
        let side = self.random.below(self.world.shards.len() as u64) as usize;
        let session = self.random.below(SESSIONS).to_string();
        let gate = if self.random.one_in(10) { "gate" } else { "" };
        self.connected += 1;
        let peer = self.world.dial(side, &format!("/{gate}{session}/as-{}", self.connected));
        self.clients.push(Client {
            peer,
            number: self.connected,
            session,
            moving: None,
            sent: 0,
            rest: None,
            next: None,
            poses: BTreeMap::new(),
            close: None,
            failed: false,
            heard: 0,
        });
    }

    /// A shard has much to do.
    fn fill_inbox(&mut self) {
        let shard = self.random.below(self.world.shards.len() as u64) as usize;
        let answer = || Item::Answer { question: u64::MAX, status: 200, text: String::new() };
        while self.world.outlets[shard].send(answer()).is_ok() {}
    }

    /// All read what there is; whoever is still there must have all its session has said, and its
    /// session all that it has said. How many are there.
    fn catch_up(&mut self) -> usize {
        for _ in 0..60 {
            for client in &mut self.clients {
                self.world.network.set_capacity(client.peer.connection, usize::MAX);
                client.complete();
                client.peer.send(0x8A, b"");
            }
            // Also for what the rate limit has held back.
            self.world.pass(ms(500));
            self.clients.iter_mut().for_each(|client| client.read(usize::MAX));
        }
        let mut sessions: BTreeMap<&str, u64> = BTreeMap::new();
        let mut poses: BTreeMap<(&str, u64), u64> = BTreeMap::new();
        let well: Vec<&Client> = self.clients.iter().filter(|client| client.is_well()).collect();
        for client in &well {
            assert_eq!(ledger::place(client.number), Some(Place::Seated(client.session.clone())));
            assert_eq!(ledger::last_applied(client.number), client.sent, "a message is lost");
            if let Some(next) = client.next {
                let others = *sessions.entry(&client.session).or_insert(next);
                assert_eq!(next, others, "a member of session {} misses something", client.session);
                for (&class, &pose) in &client.poses {
                    let newest = *poses.entry((&client.session, class)).or_insert(pose);
                    assert_eq!(
                        pose, newest,
                        "a member of session {} misses a pose",
                        client.session
                    );
                }
            }
        }
        well.len()
    }

    /// The shards stop in the middle of it all.
    fn stop(&mut self) {
        for shard in 0..self.world.shards.len() {
            while self.world.outlets[shard].send(Item::Drain).is_err() {
                self.world.turn();
            }
        }
        for _ in 0..self.random.below(20) {
            self.world.turn();
            self.world.check();
        }
        self.leave();
        self.world.pass(ms(3_000));
        assert!(self.world.shards.iter().all(|shard| shard.is_done()));
    }

    /// All go; nothing may be left.
    fn leave(&mut self) {
        self.heard += self.clients.iter().map(|client| client.heard).sum::<u64>();
        for client in &self.clients {
            self.world.network.fail(client.peer.connection);
        }
        self.world.pass(ms(3_000));
        let left = |world: &World| {
            (
                world.count(|counters| counters.connections.get()),
                world.count(|counters| counters.members.get()),
                world.count(|counters| counters.sessions.get()),
            )
        };
        assert_eq!(left(&self.world), (0, 0, 0));
        ledger::check_empty();
        assert_eq!(self.world.count(|counters| counters.panics.get()), ledger::panics());
        assert_eq!(self.world.count(|counters| counters.passages_dropped.get()), 0);
    }
}

#[test]
fn every_listener_receives_exactly_what_its_session_says() {
    let Seeds { range, alone } = Seeds::of_run(SEEDS);
    let storage = Storage::new();
    let (mut heard, mut well, mut met) = (0, 0, [0; 9]);
    for seed in range {
        // Shown if the test fails.
        println!("LOCKSTEP_SEED={seed}");
        let mut simulation = Simulation::new(seed, &storage);
        (0..STEPS).for_each(|_| simulation.step());
        if seed % 4 == 3 {
            simulation.stop();
        } else {
            well += simulation.catch_up();
            simulation.leave();
        }
        heard += simulation.heard;
        let count = |read: fn(&Counters) -> u64| simulation.world.count(read);
        let now_met = [
            count(|counters| counters.handed_off.get()),
            count(|counters| counters.slow_closed.get()),
            count(|counters| counters.silent_closed.get()),
            count(|counters| counters.violations.get()),
            count(|counters| counters.panics.get()),
            count(|counters| counters.sends.get()),
            count(|counters| counters.transfers.get()),
            count(|counters| counters.tells.get()),
            count(|counters| counters.superseded.get()),
        ];
        met.iter_mut().zip(now_met).for_each(|(all, now)| *all += now);
    }
    // What is never met is not tested.
    println!("{heard} broadcasts checked, {well} clients in the end; met: {met:?}");
    assert!(alone || (heard > 10_000 && well > 200 && met.iter().all(|&times| times > 100)));
}

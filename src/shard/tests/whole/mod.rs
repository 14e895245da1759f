//! The whole server, all its protocols at once, from a printed seed.
//!
//! A run is a row of processes, each of one to three shards behind the common listener, with a journal
//! and a storage. Simulated clients of every protocol share them: what they say arrives in pieces,
//! late or much at once, they read when they please, and their connections break; those of Engine.IO
//! poll, or have a WebSocket, or move to one. Time passes; writes, syncs and stores fail for a while;
//! storage and disk take their time; and each process is killed, has its power cut (with `--sync always`:
//! then only what was synced is sure to be there), or stops in good order. The next one goes on from what
//! is left. Everything comes from the seed, also when what is done: no thread takes part.
//!
//! What must hold is checked by each protocol's own file, by what clients see and nothing else:
//! [`croquet`], [`comutiny`], [`yjs`], [`gallery`], [`rljson`]. In all of them, after a while of calm
//! everybody has been told the same, and when all go nothing is left of them; no session falls, no shard
//! spins, and tables and queues are sound after every turn.
//!
//! `LOCKSTEP_SEED=n` runs one seed, and `LOCKSTEP_TRACE=1` tells what happens in it;
//! `LOCKSTEP_SEEDS=100000` runs so many, for nights ([`Seeds`]).

mod comutiny;
mod croquet;
mod engineio;
mod gallery;
mod line;
mod rljson;
mod socketio;
mod stage;
mod yjs;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::ms;
use crate::seeds::Seeds;
use stage::{End, Stage};

/// Runs of the usual test.
const SEEDS: u64 = 2_000;
/// Seeds that may fail before the others are given up.
const FAILURES_MAX: usize = 10;
const LIVES: u32 = 3;
/// Steps of a life, at most.
const STEPS: u64 = 250;
/// Rounds in which everything comes to rest, and how long each is, in milliseconds: in all as long as it
/// takes to find out that somebody does not poll any more.
const CALM_ROUNDS: usize = 26;
const CALM_ROUND_MS: u64 = 2_000;
/// The same of a short while.
const ROUND_MS: u64 = 500;
/// Answers to answers to answers.
const ANSWERS_MAX: usize = 1_000;
/// Sessions that may be there without anybody in them: the gallery's hall, if it has rooms.
const STANDING: u64 = 1;

/// What was met, to see that it was.
#[derive(Debug, Default)]
struct Met {
    connections: usize,
    kills: usize,
    cuts: usize,
    stops: usize,
    calms: usize,
    recovered: usize,
    unsynced: usize,
    failing_writes: usize,
    failed_syncs: usize,
    handed_off: u64,
    transfers: u64,
    slow_closed: u64,
    refused: u64,
    superseded: u64,
    /// Clients that polled, those that moved to a WebSocket, and moves that the server counted.
    polling: [usize; 3],
    /// Messages of Croquet that were checked, snapshots, and joins that told of earlier lives.
    croquet: [usize; 3],
    /// Events of CoMutiNy that were checked, what was said there, and players taken over.
    comutiny: [usize; 3],
    /// Updates of documents that were checked, and newcomers that were told what others knew; denials.
    yjs: [usize; 3],
    /// Pages that joined as Zeal's native clients do, and by Socket.IO.
    zeal: [usize; 2],
    /// Events of Gallery that were checked, annotations that earlier lives were told of, and changes.
    gallery: [usize; 3],
    /// Clients of the hub that had the latest tree, rows that were read, refs told by bootstraps, as
    /// announced, and as merged.
    rljson: [usize; 5],
}

impl Met {
    fn counts(&self) -> Vec<u64> {
        let Self { polling, zeal, croquet, comutiny, yjs, gallery, rljson, .. } = self;
        let protocols = [polling, croquet, comutiny, yjs, gallery]
            .into_iter()
            .flatten()
            .chain(zeal)
            .chain(rljson);
        let own = [
            self.connections,
            self.kills,
            self.cuts,
            self.stops,
            self.calms,
            self.recovered,
            self.unsynced,
            self.failing_writes,
            self.failed_syncs,
        ];
        let counted =
            [self.handed_off, self.transfers, self.slow_closed, self.refused, self.superseded];
        own.iter().chain(protocols).map(|&count| count as u64).chain(counted).collect()
    }
}

/// The clients of a protocol, and what they know.
trait Play {
    /// One of them does something.
    fn act(&mut self, stage: &mut Stage);

    /// They read: some of what there is, or all of it.
    fn listen(&mut self, all: bool, stage: &mut Stage);

    /// They say the last that they say before it is looked at what they know.
    fn rally(&mut self, stage: &mut Stage);

    /// Everything was said, and everybody was told.
    fn check(&mut self, stage: &mut Stage);

    /// The process is gone, and their connections with it.
    fn cut(&mut self, stage: &mut Stage);

    /// Their connections.
    fn lines(&mut self) -> Vec<&mut line::Line>;
}

struct Run {
    stage: Stage,
    plays: Vec<Box<dyn Play>>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let plays: Vec<Box<dyn Play>> = vec![
            Box::new(croquet::Croquet::default()),
            Box::new(comutiny::Comutiny::default()),
            Box::new(gallery::Gallery::default()),
            Box::new(yjs::Yjs::default()),
            Box::new(rljson::Rljson::default()),
        ];
        Self { stage: Stage::new(seed), plays }
    }

    fn live(&mut self, is_last: bool) {
        let steps = self.stage.random.below(STEPS);
        for _ in 0..steps {
            self.step();
        }
        if is_last || self.stage.random.one_in(3) {
            self.calm();
        }
        if is_last {
            self.leave();
        }
        let end = self.stage.choose_end();
        if end == End::Stop {
            self.stop();
        }
        let reads = self.stage.random.one_in(2);
        for play in &mut self.plays {
            if reads {
                play.listen(true, &mut self.stage);
            }
            play.cut(&mut self.stage);
        }
        self.stage.end(end);
    }

    fn step(&mut self) {
        for play in &mut self.plays {
            for _ in 0..self.stage.random.below(3) {
                play.act(&mut self.stage);
            }
            if self.stage.random.one_in(2) {
                play.listen(false, &mut self.stage);
            }
            for line in play.lines() {
                line.flow(&mut self.stage);
                if self.stage.random.one_in(4) {
                    line.befall(&mut self.stage);
                }
            }
        }
        self.stage.step();
    }

    /// Nothing more goes wrong; everybody must come to know the same.
    fn calm(&mut self) {
        self.stage.met.calms += 1;
        self.stage.heal();
        self.rest(2, ROUND_MS);
        for play in &mut self.plays {
            (0..6).for_each(|_| play.act(&mut self.stage));
        }
        self.rest(CALM_ROUNDS, CALM_ROUND_MS);
        for play in &mut self.plays {
            play.rally(&mut self.stage);
        }
        self.rest(6, ROUND_MS);
        for play in &mut self.plays {
            play.check(&mut self.stage);
        }
    }

    fn rest(&mut self, rounds: usize, round_ms: u64) {
        for _ in 0..rounds {
            for play in &mut self.plays {
                for line in play.lines() {
                    line.clear();
                }
            }
            self.stage.pass(ms(round_ms));
            self.listen_all();
            for play in &mut self.plays {
                play.lines().into_iter().for_each(line::Line::give_up);
            }
        }
    }

    /// All read everything, and answer, and are answered, until nobody says any more.
    fn listen_all(&mut self) {
        for _ in 0..ANSWERS_MAX {
            let mut is_over = true;
            for play in &mut self.plays {
                play.listen(true, &mut self.stage);
                for line in play.lines() {
                    is_over &= !line.has_more();
                    line.clear();
                }
            }
            if is_over {
                return;
            }
            self.stage.settle();
        }
        panic!("they never stop talking");
    }

    /// All go, and after a while nothing is left of them.
    fn leave(&mut self) {
        for play in &mut self.plays {
            play.lines().into_iter().for_each(line::Line::fail);
        }
        // Who polled and has no poll open is missed when it answers no ping.
        for _ in 0..60 {
            self.stage.pass(ms(1_000));
        }
        self.stage.check_empty();
    }

    /// The process is told to stop, and clients go as they are told to.
    fn stop(&mut self) {
        if self.stage.random.one_in(2) {
            self.stage.heal();
        }
        self.stage.drain();
        for _ in 0..22 {
            if self.stage.is_done() {
                return;
            }
            self.rest(1, ROUND_MS);
        }
    }
}

fn add(all: &mut Vec<u64>, counts: &[u64]) {
    all.resize(all.len().max(counts.len()), 0);
    all.iter_mut().zip(counts).for_each(|(all, now)| *all += now);
}

/// One run, from the first process to the last, and what it met.
fn run(seed: u64, is_alone: bool) -> Vec<u64> {
    println!("LOCKSTEP_SEED={seed}");
    let mut run = Run::new(seed);
    for life in 1..=LIVES {
        run.live(life == LIVES);
    }
    if is_alone {
        println!("{:?}", run.stage.met);
    }
    run.stage.met.counts()
}

#[test]
fn everybody_is_told_the_same_and_nothing_acknowledged_is_lost() {
    let Seeds { range: seeds, alone } = Seeds::of_run(SEEDS);
    let (next, failed) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let work = || {
        let mut met = Vec::new();
        while failed.lock().expect("nobody panics").len() < FAILURES_MAX {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            match std::panic::catch_unwind(|| run(seed, alone)) {
                Ok(counts) => add(&mut met, &counts),
                Err(_) => failed.lock().expect("nobody panics").push(seed),
            }
        }
        met
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if alone { 1 } else { threads };
    let mut met = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            add(&mut met, &thread.join().expect("it catches panics"));
        }
    });
    let mut failed = failed.into_inner().expect("nobody panics");
    failed.sort_unstable();
    assert!(failed.is_empty(), "run again with LOCKSTEP_SEED of these: {failed:?}");
    // What is never met is not tested.
    println!("met: {met:?}");
    let at_least = (seeds.end - seeds.start) / 20;
    assert!(alone || met.iter().all(|&count| count > at_least), "{met:?}");
}

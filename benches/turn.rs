//! What a whole turn of a shard costs in user space, for people: `cargo bench --bench turn`.
//!
//! The network is the in-memory one, so this is everything but the kernel. Figures are for one
//! delivery: one message to one member.

#[path = "../perf/crowd.rs"]
mod crowd;
#[path = "../src/shard/tests/world.rs"]
mod world;

use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion, Throughput, criterion_group, criterion_main};
use crowd::{CHAT, Crowd, ID, UPDATE, keystroke, pose, sends, setup};
use lockstep::protocol::{croquet, yjs};
use world::{World, croquet_join, masked};

const MEMBERS: usize = 500;
const ECHOES: usize = 100;
const JOINS: usize = 200;
/// Keystrokes in the document that somebody comes late to.
const EDITS: u32 = 100_000;
/// Turns after which a session is made anew, so that what it retains stays modest.
const TURNS_PER_SESSION: u64 = 20_000;
/// Refs after which this is so: before anybody is asked whether it is there.
const REFS_PER_SESSION: u64 = 400;

/// Times turns, each with what the first of a crowd says, and all others hear.
fn relay(bencher: &mut Bencher<'_>, crowd: fn(usize) -> Crowd, said: impl Fn(u32) -> Vec<u8>) {
    bencher.iter_custom(|iterations| {
        let (mut left, mut time) = (iterations, Duration::ZERO);
        while left > 0 {
            let mut crowd = crowd(MEMBERS);
            let (turns, before) = (left.min(TURNS_PER_SESSION), crowd.sends());
            for number in 0..turns {
                let frames = said(number as u32);
                crowd.say(&frames, |world| {
                    time += timed(|| {
                        world.turn();
                    });
                });
            }
            assert!(crowd.sends() - before >= turns, "a turn was without its sends");
            left -= turns;
        }
        time
    });
}

#[allow(clippy::disallowed_methods)] // benches read the clock
fn timed(act: impl FnOnce()) -> Duration {
    let start = Instant::now();
    act();
    start.elapsed()
}

/// What is said in a turn of each protocol, to 500.
fn bench_relay(criterion: &mut Criterion) {
    let text = |text: &str| masked(0x81, text.as_bytes());
    let (chat, update, pose) = (text(CHAT), text(UPDATE), pose());
    let chats = chat.repeat(16);
    let mut group = criterion.benchmark_group("relay to 500");
    let mut case = |name: &str, messages: usize, crowd, said: &dyn Fn(u32) -> Vec<u8>| {
        group.throughput(Throughput::Elements((messages * MEMBERS) as u64));
        group.bench_function(name, |bencher| relay(bencher, crowd, said));
    };
    case("Croquet, 1 a turn", 1, Crowd::croquet, &|_| sends(1));
    case("Croquet, 16 a turn", 16, Crowd::croquet, &|_| sends(16));
    case("Croquet with a journal", 1, Crowd::croquet_with_journal, &|_| sends(1));
    case("Gallery, a pose", 1, Crowd::gallery, &|_| pose.clone());
    case("Yjs, a keystroke", 1, Crowd::yjs, &keystroke);
    case("Socket.IO, a chat message", 1, Crowd::comutiny, &|_| chat.clone());
    case("Socket.IO, 16 chat messages", 16, Crowd::comutiny, &|_| chats.clone());
    case("Socket.IO, an update", 1, Crowd::comutiny, &|_| update.clone());
    group.throughput(Throughput::Elements(MEMBERS as u64));
    group.bench_function("rljson, a ref", announce);
}

/// A ref is announced and its row asked for; the row comes, and all others are told.
fn announce(bencher: &mut Bencher<'_>) {
    bencher.iter_custom(|iterations| {
        let (mut left, mut time) = (iterations, Duration::ZERO);
        while left > 0 {
            let mut crowd = Crowd::rljson(MEMBERS);
            let (refs, before) = (left.min(REFS_PER_SESSION), crowd.sends());
            for number in 0..refs {
                crowd.announce(number as u32, |world| time += timed(|| world.settle()));
            }
            assert!(crowd.sends() - before >= refs, "a ref was not told");
            left -= refs;
        }
        time
    });
}

fn bench_echo(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("echo");
    group.throughput(Throughput::Elements(ECHOES as u64));
    group.bench_function("100 connections", |bencher| {
        let Crowd { mut world, members } = Crowd::echo(ECHOES);
        let frame = masked(0x82, &[7; 200]);
        bencher.iter(|| {
            for member in &members {
                world.network.deliver(member.connection, &frame);
            }
            world.turn()
        });
    });
}

/// Connect, upgrade and JOIN, all at once.
fn bench_joins(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("join storm");
    group.throughput(Throughput::Elements(JOINS as u64));
    group.bench_function("200 connections", |bencher| {
        let joins: Vec<Vec<u8>> = (0..JOINS).map(|user| croquet_join(ID, user)).collect();
        bencher.iter_custom(|iterations| {
            (0..iterations)
                .map(|_| {
                    let mut world = World::new(setup(&croquet::PROTOCOL));
                    timed(|| {
                        for join in &joins {
                            let member = world.dial(0, "/session");
                            world.network.deliver(member.connection, join);
                        }
                        world.settle();
                    })
                })
                .sum()
        });
    });
}

/// Somebody comes to a document of 100,000 edits at which nobody has typed for a while.
fn bench_late_join(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("Yjs late join");
    let mut world = World::new(setup(&yjs::PROTOCOL));
    let writer = world.dial(0, &format!("/{ID}"));
    world.settle();
    for number in 0..EDITS {
        world.network.deliver(writer.connection, &keystroke(number));
        world.settle();
    }
    // It rests, and its writer answers pings.
    for _ in 0..5 {
        world.pass(Duration::from_secs(20));
        writer.send(0x8A, b"");
    }
    group.bench_function("100,000 edits at rest", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut time = Duration::ZERO;
            for _ in 0..iterations {
                let mut member = world.dial(0, &format!("/{ID}"));
                member.send(0x82, &[0, 0, 1, 0]);
                time += timed(|| world.settle());
                let frames = member.read();
                let told = frames.iter().any(|frame| frame.payload.len() > EDITS as usize);
                assert!(told, "the document was not told");
                world.network.finish(member.connection);
                world.settle();
            }
            time
        });
    });
}

criterion_group!(benches, bench_relay, bench_echo, bench_joins, bench_late_join);
criterion_main!(benches);

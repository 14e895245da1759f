//! What a whole turn of a shard costs in user space, for people: `cargo bench --bench turn`.
//!
//! The network is the in-memory one, so this is everything but the kernel. Figures are for one
//! delivery: one message to one member.

#[path = "../src/shard/tests/world.rs"]
mod world;

use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion, Throughput, criterion_group, criterion_main};
use lockstep::codec::lib0::{write_varbuf, write_varuint};
use lockstep::protocol::{Protocol, comutiny, croquet, echo, yjs};
use lockstep::shard::routes::Profile;
use world::{Peer, Setup, World, croquet_join, croquet_send, masked};

const ID: &str = "a-session-id-of-43-characters-like-any-other";
const MEMBERS: usize = 500;
const ECHOES: usize = 100;
const JOINS: usize = 200;
/// Keystrokes in the document that somebody comes late to.
const EDITS: u32 = 100_000;
/// Messages after which a session is made anew, so that what it retains stays modest.
const MESSAGES_PER_SESSION: u64 = 20_000;

fn world(protocol: &'static Protocol) -> World {
    let mut setup = Setup::new(Profile::only(protocol));
    setup.protocols.croquet.messages_per_second_max = u32::MAX;
    setup.protocols.yjs.messages_per_second_max = u32::MAX;
    setup.protocols.comutiny.messages_per_second_max = u32::MAX;
    World::new(setup)
}

/// Members of one session who forget what they hear, or of an echo.
fn members(protocol: &'static Protocol, count: usize) -> (World, Vec<Peer>) {
    let mut world = world(protocol);
    let members: Vec<Peer> = (0..count).map(|_| world.dial(0, &format!("/{ID}"))).collect();
    world.settle();
    for (user, member) in members.iter().enumerate() {
        if protocol.name == "croquet" {
            world.network.deliver(member.connection, &croquet_join(ID, user));
        }
        world.settle();
        world.network.discard(member.connection);
    }
    world.pass(Duration::from_secs(1));
    assert_eq!(world.count(|counters| counters.members.get()), count as u64);
    (world, members)
}

/// Times `iterations` turns, each with `messages` from one sender to all.
fn relay(bencher: &mut Bencher<'_>, messages: usize, payload: usize) {
    let frames = croquet_send(ID, payload).repeat(messages);
    bencher.iter_custom(|iterations| {
        let (mut left, mut time) = (iterations, Duration::ZERO);
        while left > 0 {
            let (mut world, members) = members(&croquet::PROTOCOL, MEMBERS);
            let turns = left.min(MESSAGES_PER_SESSION / messages as u64);
            time += timed(|| {
                for _ in 0..turns {
                    world.network.deliver(members[0].connection, &frames);
                    world.turn();
                }
            });
            let sends = world.network.sends(members[MEMBERS - 1].connection);
            assert!(sends >= turns, "a turn was without its sends");
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

fn bench_relay(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("relay to 500");
    for messages in [1, 16] {
        group.throughput(Throughput::Elements((messages * MEMBERS) as u64));
        let name = format!("{messages} a turn");
        group.bench_function(name, |bencher| relay(bencher, messages, 200));
    }
}

fn bench_echo(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("echo");
    group.throughput(Throughput::Elements(ECHOES as u64));
    group.bench_function("100 connections", |bencher| {
        let (mut world, members) = members(&echo::PROTOCOL, ECHOES);
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
                    let mut world = world(&croquet::PROTOCOL);
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

/// A keystroke in a Yjs document, typed at the end of what its only writer typed before.
fn keystroke(number: u32) -> Vec<u8> {
    let mut update = vec![1, 1, 7]; // one struct of client 7
    write_varuint(&mut update, number.into());
    match number.checked_sub(1) {
        Some(last) => {
            update.extend_from_slice(&[0x84, 7]);
            write_varuint(&mut update, last.into());
        }
        None => update.extend_from_slice(b"\x04\x01\x04text"),
    }
    update.extend_from_slice(b"\x01x\x00");
    let mut message = vec![0, 2];
    write_varbuf(&mut message, &update);
    masked(0x82, &message)
}

/// A keystroke to 500: taken into the document, and relayed.
fn bench_keystrokes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("Yjs keystroke");
    group.throughput(Throughput::Elements(MEMBERS as u64));
    group.bench_function("to 500", |bencher| {
        bencher.iter_custom(|iterations| {
            let (mut left, mut time) = (iterations, Duration::ZERO);
            while left > 0 {
                let (mut world, members) = members(&yjs::PROTOCOL, MEMBERS);
                let turns = left.min(MESSAGES_PER_SESSION);
                for number in 0..turns {
                    let frame = keystroke(number as u32);
                    time += timed(|| {
                        world.network.deliver(members[0].connection, &frame);
                        world.turn();
                    });
                }
                let sends = world.network.sends(members[MEMBERS - 1].connection);
                assert!(sends >= turns, "a turn was without its sends");
                left -= turns;
            }
            time
        });
    });
}

/// Somebody comes to a document of 100,000 edits at which nobody has typed for a while.
fn bench_late_join(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("Yjs late join");
    let mut world = world(&yjs::PROTOCOL);
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

/// What a player of CoMutiNy's world says to 500, on Socket.IO: taken in, told and acknowledged.
fn bench_socketio(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("Socket.IO to 500");
    let chat = r#"427["chat:message",{"content":"As long as what people write to each other"}]"#;
    let update = r#"427["player:update",{"position":{"x":-12.2503,"y":2.4731,"z":24.1250},"animation":"walk"}]"#;
    for (name, text, messages) in [
        ("chat, 1 a turn", chat, 1),
        ("chat, 16 a turn", chat, 16),
        ("update, 1 a turn", update, 1),
    ] {
        group.throughput(Throughput::Elements((messages * MEMBERS) as u64));
        let frames = masked(0x81, text.as_bytes()).repeat(messages);
        group.bench_function(name, |bencher| say(bencher, &frames));
    }
}

/// Times turns, each with these frames from a player.
fn say(bencher: &mut Bencher<'_>, frames: &[u8]) {
    let mut world = world(&comutiny::PROTOCOL);
    let player = world.enter_comutiny(Some(0));
    let others: Vec<Peer> = (1..MEMBERS).map(|_| world.enter_comutiny(None)).collect();
    for peer in others.iter().chain([&player]) {
        world.network.discard(peer.connection);
    }
    let last = others[MEMBERS - 2].connection;
    bencher.iter_custom(|iterations| {
        let before = world.network.sends(last);
        let time = timed(|| {
            for _ in 0..iterations {
                world.network.deliver(player.connection, frames);
                world.turn();
            }
        });
        assert!(world.network.sends(last) - before >= iterations, "a turn was without its sends");
        time
    });
}

criterion_group!(
    benches,
    bench_relay,
    bench_echo,
    bench_joins,
    bench_keystrokes,
    bench_late_join,
    bench_socketio
);
criterion_main!(benches);

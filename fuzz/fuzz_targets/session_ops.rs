//! A whole server of two shards: Croquet clients that connect, send, stall, fail and come back, with
//! tiny limits, in pieces of any size. The shards' tables stay sound, no session panics, and when
//! all have gone nothing is left.
//!
//! Input: lines, each a letter for what to do, a digit for the client, and what to send.

#![no_main]

#[path = "../../src/shard/tests/world.rs"]
mod world;

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use lockstep::shard::Shard;
use lockstep::shard::routes::Profile;
use world::{Peer, Setup, Storage, World, croquet_join, croquet_send};

const CLIENTS: usize = 10;
const IDS: [&str; 3] = ["one", "two", "three"];

fn setup(chunk: usize) -> Setup {
    let mut setup = Setup::new(Profile::All);
    (setup.shards, setup.chunk, setup.connections_max) = (2, chunk, 6);
    let croquet = &mut setup.protocols.croquet;
    (croquet.message_bytes_max, croquet.fragments_max) = (2_000, 3);
    (croquet.lag_bytes_max, croquet.messages_per_second_max) = (3_000, 20);
    (croquet.history_messages_max, croquet.history_request_snapshot) = (40, 10);
    (croquet.history_bytes_max, croquet.deletion_delay_ms) = (8_000, 500);
    setup
}

fn act(world: &mut World, clients: &mut [Option<Peer>], line: &[u8]) {
    let [what, who, rest @ ..] = line else { return };
    let who = usize::from(*who) % CLIENTS;
    let id = IDS[who % 3];
    if *what == b'c' {
        clients[who] = Some(world.dial(who % 2, &format!("/reflector/{id}")));
    }
    let Some(client) = &mut clients[who] else { return };
    let connection = client.connection;
    match what {
        b'j' => world.network.deliver(connection, &croquet_join(id, who)),
        b's' => world.network.deliver(connection, &croquet_send(id, rest.len() * 20)),
        b't' => client.send(0x81, rest),
        b'b' => client.send(rest.first().map_or(0x82, |first| first & 0x8F), rest),
        b'r' => world.network.deliver(connection, rest),
        b'f' => world.network.fail(connection),
        b'u' => world.network.fail_unnoticed(connection),
        b'e' => world.network.finish(connection),
        b'z' => world.network.set_capacity(connection, rest.len() * 10),
        b'o' => world.network.set_capacity(connection, usize::MAX),
        b'g' => drop(world.network.take_some(connection, rest.len() * 10)),
        b'p' => world.pass(Duration::from_millis(rest.len() as u64 * 100)),
        b'd' => world.drain(),
        _ => {}
    }
}

thread_local! {
    static STORAGE: Storage = Storage::new();
}

fuzz_target!(|data: &[u8]| {
    let Some((&chunk, data)) = data.split_first() else { return };
    let mut world = World::with(STORAGE.with(Storage::clone), setup(1 + usize::from(chunk)));
    let mut clients: [Option<Peer>; CLIENTS] = Default::default();
    for line in data.split(|&byte| byte == b'\n').take(300) {
        act(&mut world, &mut clients, line);
        world.turn();
        world.shards.iter().for_each(Shard::invariants);
    }
    assert_eq!(world.count(|counters| counters.panics.get()), 0, "a session panicked");
    for client in clients.iter().flatten() {
        world.network.fail(client.connection);
    }
    // Long enough for the silent ones, whose clients were replaced: they may have said as much as is
    // taken in 15 s, and are given up a minute later.
    world.pass(Duration::from_secs(80));
    assert_eq!(world.count(|counters| counters.members.get()), 0);
    // A process that stops forgets its sessions all at once.
    let drained = world.shards.iter().any(|shard| shard.time_to_drain().is_some());
    assert!(drained || world.count(|counters| counters.sessions.get()) == 0);
});

//! CoMutiNy's world and the hub of rljson in a whole server of two shards: whatever their clients
//! say, in whatever order, with small limits, in pieces of any size, no session panics, the shards'
//! tables stay sound, and when all have gone nothing is left.
//!
//! Input: a byte for the size of pieces and whether connections are recovered, then lines, each a
//! letter for what to do, a digit for the client, and what to send.

#![no_main]

#[path = "../../src/shard/tests/world.rs"]
mod world;

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use lockstep::codec::rljson::blob_id;
use lockstep::shard::Shard;
use lockstep::shard::routes::Profile;
use world::{Peer, Setup, Storage, World};

const CLIENTS: usize = 8;

fn setup(first: u8) -> Setup {
    let mut setup = Setup::new(Profile::All);
    (setup.shards, setup.chunk, setup.connections_max) = (2, 1 + usize::from(first >> 1), 6);
    setup.durable = true;
    let comutiny = &mut setup.protocols.comutiny;
    comutiny.recovery_ms = u64::from(first & 1) * 5_000;
    (comutiny.players_max, comutiny.metadata_bytes_max, comutiny.world_bytes_max) = (3, 300, 700);
    (comutiny.message_bytes_max, comutiny.lag_bytes_max) = (4_000, 4_000);
    (comutiny.update_interval_ms, comutiny.speak_as_anybody) = (50, true);
    setup.protocols.rljson.message_bytes_max = 4_000;
    setup
}

/// What a client says on its namespace.
fn packet(what: u8, who: usize, rest: &str) -> Option<String> {
    let name = who % 3;
    Some(match what {
        b'j' => format!(r#"42{who}["player:join",{{"playerId":"p{name}","metadata":{{{rest}}}}}]"#),
        b'u' => format!(r#"42["player:update",{{"position":{{"x":1}},"metadata":{{{rest}}}}}]"#),
        b'm' => format!(r#"42{who}["chat:message",{{"content":"{rest}","playerId":"x"}}]"#),
        b'l' => r#"421["player:leave"]"#.to_owned(),
        b'n' => {
            let root = blob_id(rest.as_bytes());
            format!(r#"42["/r{name}Tree",{{"o":"1:{who}","r":"{root}","c":"c{who}","seq":1}}]"#)
        }
        b'q' => {
            let row = blob_id(rest.as_bytes());
            format!(r#"425["readRows",{{"table":"r{name}Tree","where":{{"_hash":"{row}"}}}}]"#)
        }
        b'g' => format!(r#"426["getBlob","{}",null]"#, blob_id(rest.as_bytes())),
        // Answers to what the hub asks for, by the numbers that it begins with.
        b'a' => format!("43{}[{}]", rest.len() % 7, rest),
        b'e' => format!("42{rest}"),
        b'w' => format!("4{rest}"),
        b'o' => "3".to_owned(),
        b'k' => "41".to_owned(),
        _ => return None,
    })
}

fn act(world: &mut World, clients: &mut [Option<Peer>], line: &[u8]) {
    let [what, who, rest @ ..] = line else { return };
    let who = usize::from(*who) % CLIENTS;
    if matches!(what, b'c' | b'C') {
        let path = if who % 2 == 0 { "comutiny" } else { "rljson" };
        let target =
            format!("/{path}/socket.io/?EIO=4&transport=websocket&route=/r{}Tree", who % 3);
        let client = world.dial(who % 2, &target);
        let auth = if *what == b'C' { std::str::from_utf8(rest).unwrap_or("") } else { "" };
        client.send_text(&format!("40{auth}"));
        clients[who] = Some(client);
    }
    let Some(client) = &mut clients[who] else { return };
    let connection = client.connection;
    match what {
        b'b' => client.send(0x82, rest),
        b'f' => world.network.fail(connection),
        b'z' => world.network.set_capacity(connection, rest.len() * 10),
        b'y' => drop(world.network.take_some(connection, usize::MAX)),
        b'p' => world.pass(Duration::from_millis(rest.len() as u64 * 100)),
        b's' => world.settle_storage(),
        what => {
            let packet = std::str::from_utf8(rest).ok().and_then(|rest| packet(*what, who, rest));
            packet.iter().for_each(|packet| client.send_text(packet));
        }
    }
}

thread_local! {
    static STORAGE: Storage = Storage::new();
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, data)) = data.split_first() else { return };
    let mut world = World::with(STORAGE.with(Storage::clone), setup(first));
    let mut clients: [Option<Peer>; CLIENTS] = Default::default();
    for line in data.split(|&byte| byte == b'\n').take(200) {
        act(&mut world, &mut clients, line);
        world.turn();
        world.shards.iter().for_each(Shard::invariants);
    }
    for client in clients.iter().flatten() {
        world.network.fail(client.connection);
    }
    world.settle_storage();
    // Longer than anything waits for a client that has gone.
    world.pass(Duration::from_secs(62));
    world.settle_storage();
    assert_eq!(world.count(|counters| counters.panics.get()), 0, "a session panicked");
    assert_eq!(world.count(|counters| counters.members.get()), 0);
    assert_eq!(world.count(|counters| counters.connections.get()), 0);
});

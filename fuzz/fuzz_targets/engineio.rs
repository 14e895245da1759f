//! Engine.IO. What reads what clients send is held to what it promises; then a whole server of two
//! shards serves clients that open sessions, poll, post, move to WebSockets and go, at any point and
//! in pieces of any size, with small limits: the shards' tables stay sound, no session panics, and
//! when all have gone nothing is left.
//!
//! Input: a byte for the size of pieces, then lines, each a letter for what to do, a digit for the
//! client, and what to send.

#![no_main]

#[path = "../../src/shard/tests/world.rs"]
mod world;

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use lockstep::codec::engineio::{Packet, Query, Sid, payload};
use lockstep::protocol::echo;
use lockstep::session::frame::{FrameKind, Header};
use lockstep::shard::Shard;
use lockstep::shard::routes::Profile;
use world::{Setup, Storage, World, masked, upgrade};

const CLIENTS: usize = 6;
const CONFORMANCE: Profile = Profile::Only(&echo::PROTOCOL, &echo::CONFORMANCE);

/// A client: connections for its polls, its payloads and its WebSocket, and its session.
#[derive(Default)]
struct Client {
    connections: [Option<usize>; 3],
    path: &'static str,
    sid: String,
}

impl Client {
    /// One of its connections, opened when it is first needed.
    fn connection(&mut self, world: &World, which: usize, side: usize) -> usize {
        *self.connections[which].get_or_insert_with(|| world.network.connect_to(side % 2))
    }

    fn target(&self, means: &str) -> String {
        let path = if self.path.is_empty() { "/socket.io/" } else { self.path };
        format!("{path}?EIO=4&transport={means}&sid={}", self.sid)
    }
}

fn request(world: &World, connection: usize, method: &str, target: &str, body: &[u8]) {
    let length = body.len();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
    world.network.deliver(connection, &[head.as_bytes(), body].concat());
}

/// Opens a session and learns its id, as soon as it is told.
fn open(world: &mut World, client: &mut Client, side: usize) {
    let connection = client.connection(world, 0, side);
    client.sid.clear();
    client.path = if side % 3 == 0 { "/engine.io/" } else { "/socket.io/" };
    request(world, connection, "GET", &client.target("polling"), b"");
    (0..8).for_each(|_| drop(world.turn()));
    let answer = world.network.take(connection);
    let text = String::from_utf8_lossy(&answer);
    client.sid =
        text.split("\"sid\":\"").nth(1).map_or("", |rest| &rest[..20.min(rest.len())]).into();
}

fn act(world: &mut World, clients: &mut [Client; CLIENTS], line: &[u8]) {
    let [what, who, rest @ ..] = line else { return };
    let (side, who) = (usize::from(*who), usize::from(*who) % CLIENTS);
    let client = &mut clients[who];
    let which = usize::from(rest.first().copied().unwrap_or(0)) % 3;
    match what {
        b'o' => open(world, client, side),
        b'g' => {
            let connection = client.connection(world, 0, side);
            request(world, connection, "GET", &client.target("polling"), b"");
        }
        b'p' => {
            let connection = client.connection(world, 1, side);
            // Lines have no separator of lines, payloads may have one of packets.
            let body: Vec<u8> =
                rest.iter().map(|&byte| if byte == b'^' { 0x1E } else { byte }).collect();
            request(world, connection, "POST", &client.target("polling"), &body);
        }
        b'w' => {
            let connection = client.connection(world, 2, side);
            world.network.deliver(connection, upgrade(&client.target("websocket")).as_bytes());
        }
        b't' => {
            let connection = client.connection(world, 2, side);
            world.network.deliver(connection, &masked(0x81, rest));
        }
        b'b' => {
            let connection = client.connection(world, 2, side);
            let first = rest.first().map_or(0x82, |first| first & 0x8F);
            world.network.deliver(connection, &masked(first, rest));
        }
        b'r' => {
            let connection = client.connection(world, which, side);
            world.network.deliver(connection, rest);
        }
        b'q' => {
            let connection = client.connection(world, 0, side);
            let target = format!("/socket.io/?{}", String::from_utf8_lossy(rest));
            request(world, connection, "GET", &target, b"");
        }
        b'f' => client.connections[which].take().into_iter().for_each(|it| world.network.fail(it)),
        b'e' => client.connections[which].into_iter().for_each(|it| world.network.finish(it)),
        b'z' => client.connections[which]
            .into_iter()
            .for_each(|it| world.network.set_capacity(it, rest.len() * 10)),
        b'l' => client.connections[which]
            .into_iter()
            .for_each(|it| world.network.set_capacity(it, usize::MAX)),
        b'm' => world.pass(Duration::from_millis(rest.len() as u64 * 50)),
        b'd' => world.drain(),
        _ => {}
    }
}

/// What reads packets, payloads, queries and session ids.
fn read(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let packets: Vec<_> = payload::packets(&text).collect();
    assert_eq!(packets.join("\u{1e}"), text, "nothing is lost between packets");
    for packet in &packets {
        match Packet::parse(packet) {
            Ok(Packet::Message(message)) => assert_eq!(format!("4{message}"), **packet),
            Ok(Packet::Binary(bytes)) => {
                let mut written = Vec::new();
                let header = Header::new(FrameKind::Binary, bytes.len());
                payload::from_frames(&mut written, &[header.as_bytes(), &bytes[..]].concat());
                assert_eq!(written, packet.as_bytes(), "binary packets have one form");
            }
            Ok(_) => assert!(packet.starts_with(['0', '1', '3', '5', '6'])),
            Err(_) => assert!(!packet.starts_with(['0', '1', '3', '4', '5', '6'])),
        }
    }
    if let Some(sid) = Sid::parse(&text) {
        assert_eq!(sid.to_string(), text, "session ids have one form");
        assert!(sid.has_secret(&sid.secret));
    }
    let query = Query::parse(&text);
    assert!(query.sid.is_none_or(|sid| !sid.is_empty() && text.contains(sid)));
    assert!(!query.is_version_4 || text.contains("EIO=4"));
    assert!(query.means.is_none() || text.contains("transport="));
}

thread_local! {
    static STORAGE: Storage = Storage::new();
}

fuzz_target!(|data: &[u8]| {
    read(data);
    let Some((&chunk, data)) = data.split_first() else { return };
    let mut setup = Setup::new(CONFORMANCE);
    (setup.shards, setup.chunk, setup.connections_max) = (2, 1 + usize::from(chunk), 12);
    let mut world = World::with(STORAGE.with(Storage::clone), setup);
    let mut clients: [Client; CLIENTS] = Default::default();
    for line in data.split(|&byte| byte == b'\n').take(300) {
        act(&mut world, &mut clients, line);
        world.turn();
        world.shards.iter().for_each(Shard::invariants);
    }
    assert_eq!(world.count(|counters| counters.panics.get()), 0, "a session panicked");
    for connection in clients.iter().flat_map(|client| client.connections).flatten() {
        world.network.fail(connection);
    }
    // Long enough for heartbeats, and for those who are closed and do not ask.
    world.pass(Duration::from_secs(62));
    assert_eq!(world.count(|counters| counters.members.get()), 0);
    assert_eq!(world.count(|counters| counters.polling.get()), 0);
});

//! Clients that are cut off at any point of their way.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::gallery::{Visitor, error, framed, join, on_shards, patch, room_on, stats};
use crate::support::random::Random;
use crate::support::server::{Scratch, Server};
use crate::support::websocket::{frame, frame_with};
use crate::support::{eventually, reset_on_drop};

/// What a client does that joins, talks and leaves, without waiting for answers.
fn itinerary(random: &mut Random, user: &str, rooms: [&str; 2]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1 + random.below(8) {
        let room = [rooms[0], rooms[1], "passing"][random.below(3)];
        let role = ["viewer", "editor", "host"][random.below(3)];
        bytes.extend(framed(&match random.below(8) {
            0..4 => join(room, user, role),
            4 => json!({"action": "leave_room"}),
            5 => json!({"action": "broadcast", "message": {"type": "pose_update"}}),
            6 => json!({"action": "create_room", "config": {"maxUsers": 2}}),
            _ => json!({"action": "create_room", "roomId": room}),
        }));
    }
    bytes
}

/// Connects, says part of something and is gone, in one way or another.
fn cut(random: &mut Random, address: SocketAddr, rooms: [&str; 2]) {
    // Some come as somebody who is, or was just, there.
    let target = match random.below(9) {
        user @ 0..6 => format!("/?userId=ghost%20{user}"),
        _ => "/".to_owned(),
    };
    let upgrade = format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let mut stream = TcpStream::connect(address).expect("the server accepts connections");
    stream.set_nodelay(true).expect("options can be set");
    stream.set_read_timeout(Some(Duration::from_millis(50))).expect("timeouts can be set");
    let mut bytes = upgrade.into_bytes();
    if random.below(3) > 0 {
        // Begins when it is there, so that its end comes while it is on its way.
        stream.write_all(&bytes).expect("the server takes bytes");
        let _ = stream.read(&mut [0; 512]);
        bytes.clear();
    }
    bytes.extend(itinerary(random, "ghost", rooms));
    if random.below(4) == 0 {
        bytes.extend(frame(true, 8, &1000_u16.to_be_bytes()));
    }
    if random.below(2) == 0 {
        bytes.truncate(random.below(bytes.len()) + 1);
    }
    if random.below(10) == 0 {
        // A violation, for which it is closed.
        bytes.extend(frame_with(0x83, b"x", None));
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let piece = rest.len().min(1 + random.below(2 * rest.len()));
        if stream.write_all(&rest[..piece]).is_err() {
            return; // closed already
        }
        rest = &rest[piece..];
        spin(random);
    }
    match random.below(4) {
        0 => reset_on_drop(&stream),
        1 => drop(stream.shutdown(std::net::Shutdown::Write)),
        2 => drop(stream.read(&mut [0; 512])),
        _ => {}
    }
}

/// Lets about as much time pass as a move takes: where the cut falls is a matter of luck.
fn spin(random: &mut Random) {
    let begun = Instant::now();
    let pause = Duration::from_micros(random.below(300) as u64);
    while begun.elapsed() < pause {
        std::hint::spin_loop();
    }
}

/// Cuts off many clients beside two who stay: one in each room. They must see everybody who came
/// go, and the server must know of nobody else then.
fn cut_many(server: &Server, rooms: [&str; 2], seeds: &mut Random) {
    let address = server.address();
    let mut witnesses = ["one", "two"].map(|id| Visitor::connect(address, id));
    for (witness, room) in witnesses.iter_mut().zip(rooms) {
        witness.join(room, "host");
    }
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let mut random = Random::from_seed(seeds.next());
            let rooms = rooms.map(str::to_owned);
            std::thread::spawn(move || {
                let [one, two] = &rooms;
                (0..300).for_each(|_| cut(&mut random, address, [one, two]));
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("the server accepts connections");
    }
    eventually("only those are there who are", || {
        let (found, total) = stats(server);
        let users = |room: &str| found.iter().find(|(id, _)| id == room).map(|(_, users)| *users);
        let in_all: u64 = found.iter().map(|(_, users)| users).sum();
        println!("{total} users, {in_all} of them in {} rooms", found.len());
        total == 2 && rooms.map(users) == [Some(1); 2] && in_all == 2
    });
    for witness in &mut witnesses {
        hear_out(witness);
    }
    eventually("no session has more members", || server.metric("lockstep_members") == 2);
    // The hall and two rooms; those of which nothing but a record is left are none.
    eventually("no session is left", || server.metric("lockstep_sessions") == 3);
    assert!(server.metric("lockstep_transfers_total") > 500, "many were on their way");
}

/// Hears who came and went: in the end, nobody else is there.
fn hear_out(witness: &mut Visitor) {
    let mut seen = vec![json!(witness.id)];
    witness.say(&json!({"action": "the end"}));
    loop {
        let event = witness.hear();
        match event["event"].as_str() {
            // Who joins where it is already is told of again.
            Some("user_joined") if seen.contains(&event["data"]["user"]["id"]) => {}
            Some("user_joined") => seen.push(event["data"]["user"]["id"].clone()),
            Some("user_left") => {
                let at = seen.iter().position(|id| *id == event["data"]["userId"]);
                seen.remove(at.unwrap_or_else(|| panic!("{event}, but there are {seen:?}")));
            }
            Some("message") => {
                assert!(seen.contains(&event["data"]["senderId"]), "{event}, but {seen:?}");
            }
            _ => break assert_eq!(event, error("Unknown action: the end")),
        }
    }
    assert_eq!(seen, [json!(witness.id)]);
}

#[test]
fn who_dies_on_the_way_leaves_no_ghost() {
    let seeds = RefCell::new(Random::new());
    on_shards(&[], |server, rooms| cut_many(server, rooms, &mut seeds.borrow_mut()));
}

/// With records there is more to die in: a room whose state is being loaded.
#[test]
fn who_dies_while_a_room_is_loaded_leaves_no_ghost() {
    let mut seeds = Random::new();
    let rooms = [room_on(0, "lasting"), room_on(1, "lasting")];
    for shards in [1, 2] {
        let scratch = Scratch::new("gallery-ghosts");
        let start = || Server::start_in(scratch.path(), shards, &["--as", "gallery"]);
        let server = start();
        let mut visitor = Visitor::connect(server.address(), "u");
        for room in [&rooms[0], &rooms[1], "passing"] {
            let config = json!({"persistent": true});
            visitor.ask(&json!({"action": "create_room", "roomId": room, "config": config}));
            visitor.join(room, "host");
            visitor.broadcast(&patch("u", &json!(1), &json!({"sceneUrl": room})));
        }
        drop(visitor);
        server.stop();
        let server = start();
        cut_many(&server, [&rooms[0], &rooms[1]], &mut seeds);
        let mut visitor = Visitor::connect(server.address(), "u");
        assert_eq!(visitor.join("passing", "host")["state"]["sceneUrl"], "passing");
        drop(visitor);
        server.stop();
    }
}

//! Whole turns of a shard over the in-memory network, a protocol each: one operation is the turn
//! that takes what one client says, and sends it to all.

use std::time::Duration;

use lockstep::protocol::croquet;

use crate::case;
use crate::crowd::{CHAT, Crowd, UPDATE, keystroke, pose, sends, setup};
use crate::world::{World, croquet_join, masked};

const WARM_UP: u32 = 100;
const OPERATIONS: u32 = 100;
const MEMBERS: usize = 100;

/// All cases.
pub(crate) fn run() {
    nothing();
    croquet_relay();
    croquet_joins();
    relay("turn/Gallery, a pose to 99", &mut Crowd::gallery(MEMBERS), |_| pose());
    relay("turn/Yjs, a keystroke to 99", &mut Crowd::yjs(MEMBERS), keystroke);
    comutiny_talk();
    rljson_refs();
}

/// Counts turns, each with what the first member says, and all others hear.
fn relay(name: &str, crowd: &mut Crowd, mut said: impl FnMut(u32) -> Vec<u8>) {
    let before = crowd.sends();
    case(name, WARM_UP, OPERATIONS, |meter, number| {
        crowd.say(&said(number), |world| {
            meter.count(|| {
                world.turn();
            });
        });
    });
    let sends = crowd.sends() - before;
    assert!(sends >= u64::from(WARM_UP + OPERATIONS), "a turn of {name} was without its sends");
    assert_eq!(crowd.world.count(|counters| counters.violations.get()), 0);
}

/// What a turn costs in which nothing happens, and one in which somebody is answered.
fn nothing() {
    let mut crowd = Crowd::echo(MEMBERS);
    case("turn/nothing to do", WARM_UP, OPERATIONS, |meter, _| {
        meter.count(|| {
            crowd.world.turn();
        });
    });
    let frame = masked(0x82, &[7; 200]);
    crowd.members.drain(1..);
    relay("turn/echo of 200 bytes", &mut crowd, |_| frame.clone());
}

fn croquet_relay() {
    let mut crowd = Crowd::croquet(MEMBERS);
    relay("turn/Croquet, 1 to 100", &mut crowd, |_| sends(1));
    relay("turn/Croquet, 16 to 100", &mut crowd, |_| sends(16));
    case("turn/Croquet, a tick to 100", WARM_UP, OPERATIONS, |meter, _| {
        crowd.world.set_time(crowd.world.now.at + Duration::from_millis(50));
        meter.count(|| {
            crowd.world.turn();
        });
    });
    let mut crowd = Crowd::croquet_with_journal(MEMBERS);
    relay("turn/Croquet with a journal, 1 to 100", &mut crowd, |_| sends(1));
}

/// Connect, upgrade and JOIN, of one who comes to a session of its own.
fn croquet_joins() {
    let mut world = World::new(setup(&croquet::PROTOCOL));
    case("turn/Croquet, connect and JOIN", WARM_UP, OPERATIONS, |meter, number| {
        let id = format!("{number:043}");
        let member = world.dial(0, "/session");
        world.network.discard(member.connection);
        world.network.deliver(member.connection, &croquet_join(&id, 1));
        meter.count(|| world.settle());
    });
    let members = u64::from(WARM_UP + OPERATIONS);
    assert_eq!(world.count(|counters| counters.members.get()), members);
}

fn comutiny_talk() {
    let mut crowd = Crowd::comutiny(MEMBERS);
    for (name, text) in [
        ("turn/Socket.IO, a chat message to 100", CHAT),
        ("turn/Socket.IO, an update to 99", UPDATE),
    ] {
        relay(name, &mut crowd, |_| masked(0x81, text.as_bytes()));
    }
}

/// A ref is announced and its row asked for; the row comes, and all others are told.
fn rljson_refs() {
    let mut crowd = Crowd::rljson(MEMBERS);
    let before = crowd.sends();
    case("turn/rljson, a ref to 99", WARM_UP, OPERATIONS, |meter, number| {
        crowd.announce(number, |world| meter.count(|| world.settle()));
    });
    let told = crowd.sends() - before;
    assert!(told >= u64::from(WARM_UP + OPERATIONS), "only {told} refs were told");
}

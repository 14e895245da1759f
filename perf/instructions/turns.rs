//! Whole turns of a shard over the in-memory network, a protocol each: one operation is the turn
//! that takes what one client says, and sends it to all.

use std::time::Duration;

use lockstep::codec::lib0::write_varbuf;
use lockstep::codec::rljson::{hash, parse_row};
use lockstep::protocol::{Protocol, comutiny, croquet, echo, gallery, rljson, yjs};
use lockstep::shard::routes::Profile;

use crate::case;
use crate::codecs::typed;
use crate::world::{Peer, Setup, World, croquet_join, croquet_send, masked};

const ID: &str = "a-session-id-of-43-characters-like-any-other";
const WARM_UP: u32 = 100;
const OPERATIONS: u32 = 100;
const MEMBERS: usize = 100;
const SOCKETIO_PATH: &str = "/socket.io/?EIO=4&transport=websocket";

/// All cases.
pub(crate) fn run() {
    nothing();
    croquet_relay();
    croquet_journal();
    croquet_joins();
    gallery_poses();
    yjs_keystrokes();
    comutiny_talk();
    rljson_refs();
}

fn setup(protocol: &'static Protocol) -> Setup {
    let mut setup = Setup::new(Profile::only(protocol));
    setup.protocols.croquet.messages_per_second_max = u32::MAX;
    setup.protocols.gallery.messages_per_second_max = u32::MAX;
    setup.protocols.gallery.users_max_default = MEMBERS as u32;
    setup.protocols.yjs.messages_per_second_max = u32::MAX;
    setup.protocols.comutiny.messages_per_second_max = u32::MAX;
    setup.protocols.rljson.messages_per_second_max = u32::MAX;
    setup.protocols.rljson.refs_per_second_max = u32::MAX;
    setup
}

/// Whoever has joined forgets what is sent from now on.
fn at_rest(world: &mut World, members: &[Peer]) {
    world.settle();
    members.iter().for_each(|member| world.network.discard(member.connection));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.count(|counters| counters.members.get()), members.len() as u64);
}

/// Counts turns, each with what the first member says, and all others hear.
fn relay(name: &str, world: &mut World, members: &[Peer], mut said: impl FnMut(u32) -> Vec<u8>) {
    let last = members[members.len() - 1].connection;
    let before = world.network.sends(last);
    case(name, WARM_UP, OPERATIONS, |meter, number| {
        world.network.deliver(members[0].connection, &said(number));
        meter.count(|| {
            world.turn();
        });
    });
    let sends = world.network.sends(last) - before;
    assert!(sends >= u64::from(WARM_UP + OPERATIONS), "a turn of {name} was without its sends");
    assert_eq!(world.count(|counters| counters.violations.get()), 0);
}

/// What a turn costs in which nothing happens, and one in which somebody is answered.
fn nothing() {
    let profile = Profile::Only(&echo::PROTOCOL, &echo::CONFORMANCE);
    let mut world = World::new(Setup { profile, ..setup(&echo::PROTOCOL) });
    let members: Vec<Peer> = (0..MEMBERS).map(|_| world.join("/echo")).collect();
    at_rest(&mut world, &members);
    case("turn/nothing to do", WARM_UP, OPERATIONS, |meter, _| {
        meter.count(|| {
            world.turn();
        });
    });
    let frame = masked(0x82, &[7; 200]);
    let member = &members[MEMBERS - 1..];
    relay("turn/echo of 200 bytes", &mut world, member, |_| frame.clone());
}

fn croquet_session(setup: Setup) -> (World, Vec<Peer>) {
    let mut world = World::new(setup);
    let members: Vec<Peer> = (0..MEMBERS).map(|_| world.join(&format!("/{ID}"))).collect();
    for (user, member) in members.iter().enumerate() {
        world.network.deliver(member.connection, &croquet_join(ID, user));
        world.settle();
    }
    at_rest(&mut world, &members);
    (world, members)
}

fn croquet_relay() {
    let (mut world, members) = croquet_session(setup(&croquet::PROTOCOL));
    let frame = croquet_send(ID, 200);
    relay("turn/Croquet, 1 to 100", &mut world, &members, |_| frame.clone());
    let frames = frame.repeat(16);
    relay("turn/Croquet, 16 to 100", &mut world, &members, |_| frames.clone());
    case("turn/Croquet, a tick to 100", WARM_UP, OPERATIONS, |meter, _| {
        world.set_time(world.now.at + Duration::from_millis(50));
        meter.count(|| {
            world.turn();
        });
    });
}

fn croquet_journal() {
    let (mut world, members) =
        croquet_session(Setup { journal: true, ..setup(&croquet::PROTOCOL) });
    let frame = croquet_send(ID, 200);
    relay("turn/Croquet with a journal, 1 to 100", &mut world, &members, |_| frame.clone());
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

fn gallery_poses() {
    let mut world = World::new(setup(&gallery::PROTOCOL));
    let members: Vec<Peer> =
        (0..MEMBERS).map(|user| world.join(&format!("/?userId=user-{user}"))).collect();
    for member in &members {
        member.send_text(r#"{"action":"join_room","roomId":"r","userInfo":{"role":"editor"}}"#);
        world.settle();
    }
    at_rest(&mut world, &members);
    let pose = r#"{"action":"broadcast","roomId":"r","message":{"type":"pose_update","senderId":"user-0","timestamp":1700000000000,"data":{"position":[1.25,0.5,-3.75],"rotation":[0,0.7071,0,0.7071]}}}"#;
    let frame = masked(0x81, pose.as_bytes());
    relay("turn/Gallery, a pose to 99", &mut world, &members, |_| frame.clone());
}

fn yjs_keystrokes() {
    let mut world = World::new(setup(&yjs::PROTOCOL));
    let members: Vec<Peer> = (0..MEMBERS).map(|_| world.join(&format!("/{ID}"))).collect();
    at_rest(&mut world, &members);
    relay("turn/Yjs, a keystroke to 99", &mut world, &members, |number| {
        let mut message = vec![0, 2];
        write_varbuf(&mut message, &typed(number, 1));
        masked(0x82, &message)
    });
}

fn comutiny_talk() {
    let mut world = World::new(setup(&comutiny::PROTOCOL));
    let members: Vec<Peer> =
        (0..MEMBERS).map(|user| world.enter_comutiny((user == 0).then_some(0))).collect();
    at_rest(&mut world, &members);
    for (name, text) in [
        (
            "turn/Socket.IO, a chat message to 100",
            r#"427["chat:message",{"content":"As long as what people write to each other"}]"#,
        ),
        (
            "turn/Socket.IO, an update to 99",
            r#"427["player:update",{"position":{"x":-12.2503,"y":2.4731,"z":24.1250},"animation":"walk"}]"#,
        ),
    ] {
        let frame = masked(0x81, text.as_bytes());
        relay(name, &mut world, &members, |_| frame.clone());
    }
}

/// A row of this table's root that no other has, and its hash.
fn root(number: u32) -> (String, String) {
    let sealed = |members: &str| {
        let own = parse_row(&format!("{{{members}}}")).map(hash);
        let own = own.expect("it was written as JSON").expect("it can be hashed");
        (own.to_string(), format!("{{{members},\"_hash\":\"{own}\"}}"))
    };
    let (_, meta) = sealed(&format!(
        "\"name\":\".\",\"type\":\"directory\",\"relativePath\":\".\",\"mtime\":{number}"
    ));
    sealed(&format!("\"id\":\".\",\"isParent\":false,\"meta\":{meta}"))
}

/// A ref is announced and its row asked for; the row comes, and all others are told.
fn rljson_refs() {
    let mut world = World::new(setup(&rljson::PROTOCOL));
    let mut members: Vec<Peer> = (0..MEMBERS).map(|_| world.join(SOCKETIO_PATH)).collect();
    for member in &members {
        member.send_text(r#"40{"route":"/docsTree"}"#);
        world.settle();
    }
    let last = members[MEMBERS - 1].connection;
    members[1..].iter().for_each(|member| world.network.discard(member.connection));
    members[0].read();
    let before = world.network.sends(last);
    case("turn/rljson, a ref to 99", WARM_UP, OPERATIONS, |meter, number| {
        let (own, row) = root(number);
        // As many a second as a hub takes.
        world.set_time(world.now.at + Duration::from_millis(50));
        members[0].send_text(&format!(
            "42[\"/docsTree\",{{\"o\":\"1767225600000:a-0\",\"r\":\"{own}\",\
             \"c\":\"client_a\",\"seq\":{}}}]",
            number + 1
        ));
        meter.count(|| world.settle());
        for asked in members[0].texts() {
            // Behind the type of the packet stands the number that the answer has to bear.
            let digits = asked[2..].split('[').next().unwrap_or_default();
            members[0].send_text(&format!(
                "43{digits}[{{\"docsTree\":{{\"_data\":[{row}],\"_type\":\"trees\"}}}},null]"
            ));
        }
        meter.count(|| world.settle());
        members[0].read();
    });
    let told = world.network.sends(last) - before;
    assert!(told >= u64::from(WARM_UP + OPERATIONS), "only {told} refs were told");
}

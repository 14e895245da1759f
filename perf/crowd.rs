//! Sessions full of members over the in-memory network, and what the first of them says: so the
//! clock (`benches/turn.rs`) and callgrind (`perf/instructions`) measure the same.

use std::time::Duration;

use lockstep::codec::lib0::{write_varbuf, write_varuint};
use lockstep::codec::rljson::{hash, parse_row};
use lockstep::protocol::{Protocol, comutiny, croquet, echo, gallery, rljson, yjs};
use lockstep::shard::routes::Profile;

use crate::world::{Peer, Setup, World, croquet_join, croquet_send, masked};

/// What most sessions are called.
pub(crate) const ID: &str = "a-session-id-of-43-characters-like-any-other";
/// What a player of CoMutiNy's world says, to be acknowledged.
pub(crate) const CHAT: &str =
    r#"427["chat:message",{"content":"As long as what people write to each other"}]"#;
pub(crate) const UPDATE: &str =
    r#"427["player:update",{"position":{"x":-12.2503,"y":2.4731,"z":24.1250},"animation":"walk"}]"#;
const POSE: &str = r#"{"action":"broadcast","roomId":"r","message":{"type":"pose_update","senderId":"user-0","timestamp":1700000000000,"data":{"position":[1.25,0.5,-3.75],"rotation":[0,0.7071,0,0.7071]}}}"#;
const SOCKETIO_PATH: &str = "/socket.io/?EIO=4&transport=websocket";

/// A server of one protocol that lets a single client say as much as it can.
pub(crate) fn setup(protocol: &'static Protocol) -> Setup {
    let mut setup = Setup::new(Profile::only(protocol));
    setup.protocols.croquet.messages_per_second_max = u32::MAX;
    setup.protocols.gallery.messages_per_second_max = u32::MAX;
    setup.protocols.gallery.users_max_default = u32::MAX;
    setup.protocols.yjs.messages_per_second_max = u32::MAX;
    setup.protocols.comutiny.messages_per_second_max = u32::MAX;
    setup.protocols.rljson.messages_per_second_max = u32::MAX;
    setup.protocols.rljson.refs_per_second_max = u32::MAX;
    setup
}

/// The members of a session, who forget what they are sent.
pub(crate) struct Crowd {
    pub(crate) world: World,
    pub(crate) members: Vec<Peer>,
}

impl Crowd {
    fn new(setup: Setup, count: usize, join: impl Fn(&mut World, usize) -> Peer) -> Self {
        let crowd = Self::listening(setup, count, join);
        crowd.world.network.discard(crowd.members[0].connection);
        crowd
    }

    /// The first goes on to hear.
    fn listening(setup: Setup, count: usize, join: impl Fn(&mut World, usize) -> Peer) -> Self {
        let mut world = World::new(setup);
        let members: Vec<Peer> = (0..count)
            .map(|user| {
                let member = join(&mut world, user);
                world.settle();
                member
            })
            .collect();
        members[1..].iter().for_each(|member| world.network.discard(member.connection));
        world.pass(Duration::from_secs(1));
        assert_eq!(world.count(|counters| counters.members.get()), count as u64);
        Self { world, members }
    }

    /// Those who are sent what they say.
    pub(crate) fn echo(count: usize) -> Self {
        let profile = Profile::Only(&echo::PROTOCOL, &echo::CONFORMANCE);
        let setup = Setup { profile, ..setup(&echo::PROTOCOL) };
        Self::new(setup, count, |world, _| world.join("/echo"))
    }

    pub(crate) fn croquet(count: usize) -> Self {
        Self::croquet_in(setup(&croquet::PROTOCOL), count)
    }

    pub(crate) fn croquet_with_journal(count: usize) -> Self {
        Self::croquet_in(Setup { journal: true, ..setup(&croquet::PROTOCOL) }, count)
    }

    fn croquet_in(setup: Setup, count: usize) -> Self {
        Self::new(setup, count, |world, user| {
            let member = world.join(&format!("/{ID}"));
            world.network.deliver(member.connection, &croquet_join(ID, user));
            member
        })
    }

    pub(crate) fn gallery(count: usize) -> Self {
        Self::new(setup(&gallery::PROTOCOL), count, |world, user| {
            let member = world.join(&format!("/?userId=user-{user}"));
            member.send_text(r#"{"action":"join_room","roomId":"r","userInfo":{"role":"editor"}}"#);
            member
        })
    }

    pub(crate) fn yjs(count: usize) -> Self {
        Self::new(setup(&yjs::PROTOCOL), count, |world, _| world.join(&format!("/{ID}")))
    }

    /// The first is a player, the others look on.
    pub(crate) fn comutiny(count: usize) -> Self {
        Self::new(setup(&comutiny::PROTOCOL), count, |world, user| {
            world.enter_comutiny((user == 0).then_some(0))
        })
    }

    pub(crate) fn rljson(count: usize) -> Self {
        let setup = setup(&rljson::PROTOCOL);
        let mut crowd = Self::listening(setup, count, |world, _| {
            let member = world.join(SOCKETIO_PATH);
            member.send_text(r#"40{"route":"/docsTree"}"#);
            member
        });
        crowd.members[0].read();
        crowd
    }

    /// How often something was sent to the last.
    pub(crate) fn sends(&self) -> u64 {
        self.world.network.sends(self.members[self.members.len() - 1].connection)
    }

    /// The first says this: `turn` is for what the server makes of it.
    pub(crate) fn say(&mut self, frames: &[u8], turn: impl FnOnce(&mut World)) {
        self.world.network.deliver(self.members[0].connection, frames);
        turn(&mut self.world);
    }

    /// The first announces another ref to the hub of rljson, and answers what it is asked for:
    /// `settle` is called for what the hub does after each.
    pub(crate) fn announce(&mut self, number: u32, mut settle: impl FnMut(&mut World)) {
        let Self { world, members } = self;
        let (own, row) = root(number);
        // As many a second as a hub takes.
        world.set_time(world.now.at + Duration::from_millis(50));
        members[0].send_text(&format!(
            "42[\"/docsTree\",{{\"o\":\"1767225600000:a-0\",\"r\":\"{own}\",\
             \"c\":\"client_a\",\"seq\":{}}}]",
            number + 1
        ));
        settle(world);
        for asked in members[0].texts() {
            // Behind the type of the packet stands the number that the answer has to bear.
            let digits = asked[2..].split('[').next().unwrap_or_default();
            members[0].send_text(&format!(
                "43{digits}[{{\"docsTree\":{{\"_data\":[{row}],\"_type\":\"trees\"}}}},null]"
            ));
        }
        settle(world);
        members[0].read();
    }
}

/// Croquet messages of 200 bytes.
pub(crate) fn sends(messages: usize) -> Vec<u8> {
    croquet_send(ID, 200).repeat(messages)
}

/// A player's position in a gallery.
pub(crate) fn pose() -> Vec<u8> {
    masked(0x81, POSE.as_bytes())
}

/// A letter that is typed into a Yjs document behind those before it.
pub(crate) fn keystroke(number: u32) -> Vec<u8> {
    let mut message = vec![0, 2];
    write_varbuf(&mut message, &typed(number, 1));
    masked(0x82, &message)
}

/// Letters that client 7 types one behind the other, from the letter `first` on, as one update.
pub(crate) fn typed(first: u32, letters: u32) -> Vec<u8> {
    let mut update = vec![1];
    write_varuint(&mut update, letters.into());
    update.push(7);
    write_varuint(&mut update, first.into());
    for letter in first..first + letters {
        match letter.checked_sub(1) {
            Some(last) => {
                update.extend_from_slice(&[0x84, 7]);
                write_varuint(&mut update, last.into());
            }
            None => update.extend_from_slice(b"\x04\x01\x04text"),
        }
        update.extend_from_slice(b"\x01x");
    }
    update.push(0);
    update
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

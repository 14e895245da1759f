//! Relaying a message allocates nothing, and sessions and members at rest hold little: counted by the
//! allocator, over whole turns of a shard with the in-memory network.
#![allow(unsafe_code)] // a global allocator cannot be written without

#[path = "../src/shard/tests/world.rs"]
mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use lockstep::codec::lib0::write_varuint;
use lockstep::codec::ysync::{Form, Head, write_entry};
use lockstep::protocol::{comutiny, croquet, gallery, yjs};
use lockstep::shard::routes::Profile;
use world::{Peer, Setup, World, croquet_join, croquet_send, masked};

const ID: &str = "a-session-id-of-43-characters-like-any-other";
/// One sender and those who hear it.
const MEMBERS: usize = 51;
/// Messages relayed before anything is counted. The list of retained messages has grown past 4,096
/// then, and grows again at 8,192.
const WARM_UP: usize = 4_200;
/// What fits into one of the segments that a session retains its messages in, in bytes.
const SEGMENT_BYTES: u64 = 64 << 10;

/// What a session at rest may hold besides what it retains, and what an idle member may, in bytes.
const SESSION_BYTES_MAX: i64 = 1 << 10;
const MEMBER_BYTES_MAX: i64 = 512;
/// The same of a client of Socket.IO, and of one that is a player of CoMutiNy's world.
const SOCKET_BYTES_MAX: i64 = 512;
const PLAYER_BYTES_MAX: i64 = 1_500;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Bytes allocated by this thread, less those it freed.
    static HELD: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: i64) {
    // A thread that is ending has no counts any more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + u64::from(bytes > 0)));
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

// SAFETY: everything is forwarded to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's contract is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's contract is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes as i64);
        count(-(layout.size() as i64));
        // SAFETY: the caller's contract is passed on.
        unsafe { System.realloc(pointer, layout, bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: the caller's contract is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Heap allocations of this thread while `act` runs.
fn allocations(act: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    act();
    ALLOCATIONS.with(Cell::get) - before
}

/// A Croquet session whose members all listen and forget what they hear.
struct Session {
    world: World,
    members: Vec<Peer>,
}

impl Session {
    fn new() -> Self {
        let mut setup = Setup::new(Profile::only(&croquet::PROTOCOL));
        setup.protocols.croquet.messages_per_second_max = u32::MAX;
        let mut world = World::new(setup);
        let members: Vec<Peer> = (0..MEMBERS).map(|_| world.join(&format!("/{ID}"))).collect();
        for (user, member) in members.iter().enumerate() {
            world.network.deliver(member.connection, &croquet_join(ID, user));
        }
        world.settle();
        members.iter().for_each(|member| world.network.discard(member.connection));
        let mut session = Self { world, members };
        session.pass(1_000);
        assert_eq!(session.world.count(|counters| counters.members.get()), MEMBERS as u64);
        assert!(session.world.count(|counters| counters.croquet_ticks.get()) > 10);
        session
    }

    /// A turn with these bytes from the first member.
    fn relay(&mut self, frame: &[u8]) {
        self.world.network.deliver(self.members[0].connection, frame);
        self.world.turn();
    }

    /// Lets time pass, in turns of 10 ms.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.world.set_time(self.world.now.at + Duration::from_millis(10));
            self.world.turn();
        }
    }

    /// Relays until a message has begun a new segment of the retained messages.
    fn begin_segment(&mut self, frame: &[u8]) {
        while allocations(|| self.relay(frame)) == 0 {}
    }

    /// Bytes that everybody has been sent, together.
    fn sent(&self) -> u64 {
        self.members.iter().map(|member| self.world.network.sent(member.connection)).sum()
    }
}

#[test]
fn relaying_a_message_allocates_nothing() {
    let mut session = Session::new();
    let frame = croquet_send(ID, 20);
    (0..WARM_UP).for_each(|_| session.relay(&frame));
    session.begin_segment(&frame);
    let sent = session.sent();
    let count = allocations(|| (0..1_000).for_each(|_| session.relay(&frame)));
    assert_eq!(count, 0, "allocations for 1,000 messages to {MEMBERS} members");
    assert!(session.sent() - sent > 1_000 * MEMBERS as u64 * 20, "everybody was sent everything");
}

/// Besides the segments that messages are retained in, two allocations each: one for each 140
/// messages of this size.
#[test]
fn a_long_session_allocates_what_it_retains() {
    const MESSAGES: u64 = 20_000;
    let mut session = Session::new();
    let frame = croquet_send(ID, 200);
    (0..2_000).for_each(|_| session.relay(&frame));
    let (mut total, mut with_any) = (0, 0);
    for _ in 0..MESSAGES {
        let count = allocations(|| session.relay(&frame));
        total += count;
        with_any += u64::from(count > 0);
    }
    // Message, time, sequence number and punctuation.
    let segments = MESSAGES * 230 / SEGMENT_BYTES + 1;
    println!(
        "{total} allocations for {MESSAGES} messages, in {with_any} turns; {segments} segments"
    );
    assert!(total <= segments * 2 + 10, "{total} allocations for {segments} segments");
    assert!(with_any <= segments + 10, "{with_any} turns allocate for {segments} segments");
}

#[test]
fn bursts_ticks_and_pings_allocate_nothing() {
    let mut session = Session::new();
    let burst = croquet_send(ID, 20).repeat(16);
    let ping = masked(0x89, b"are you there?");
    let question = masked(0x81, br#"{"id":"x","action":"PING","args":123}"#);
    let pulse = masked(0x81, br#"{"id":"x","action":"PULSE"}"#);
    for _ in 0..WARM_UP / 16 + 1 {
        session.relay(&burst);
        session.relay(&ping);
        session.relay(&question);
    }
    session.begin_segment(&croquet_send(ID, 20));
    let bursts = allocations(|| (0..40).for_each(|_| session.relay(&burst)));
    assert_eq!(bursts, 0, "bursts of 16 messages in one turn");
    let ticks = allocations(|| session.pass(20_000));
    assert_eq!(ticks, 0, "20 s of ticks");
    for (name, frame) in [("ping", &ping), ("PING", &question), ("PULSE", &pulse)] {
        let count = allocations(|| (0..1_000).for_each(|_| session.relay(frame)));
        assert_eq!(count, 0, "{name}");
    }
}

/// The server's own pings, one to each silent member, and their answers.
#[test]
fn asking_the_silent_allocates_nothing() {
    let mut session = Session::new();
    let pong = masked(0x8A, b"");
    let round = |session: &mut Session| {
        for member in &session.members {
            session.world.network.deliver(member.connection, &pong);
        }
        session.pass(45_000);
    };
    round(&mut session);
    let before = session.world.count(|counters| counters.sends.get());
    assert_eq!(allocations(|| round(&mut session)), 0);
    assert!(session.world.count(|counters| counters.sends.get()) > before + MEMBERS as u64);
    assert_eq!(session.world.count(|counters| counters.silent_closed.get()), 0);
}

/// A Gallery room of as many, who send their poses around.
#[test]
fn relaying_a_pose_allocates_nothing() {
    [0, 5].into_iter().for_each(relay_poses);
}

/// Poses that may be held back for this long.
fn relay_poses(pose_interval_ms: u64) {
    let mut setup = Setup::new(Profile::only(&gallery::PROTOCOL));
    setup.protocols.gallery.pose_interval_ms = pose_interval_ms;
    setup.protocols.gallery.messages_per_second_max = u32::MAX;
    setup.protocols.gallery.users_max_default = MEMBERS as u32;
    let mut world = World::new(setup);
    let members: Vec<Peer> =
        (0..MEMBERS).map(|user| world.join(&format!("/?userId=user-{user}"))).collect();
    for member in &members {
        member.send_text(r#"{"action":"join_room","roomId":"r","userInfo":{"role":"editor"}}"#);
    }
    world.settle();
    members.iter().for_each(|member| world.network.discard(member.connection));
    let mut session = Session { world, members };
    let pose = r#""position":[1.25,0.5,-3.75],"rotation":[0,0.7071,0,0.7071]"#;
    let message = |kind: &str, sender: &str, data: &str| {
        let said = format!(
            r#"{{"action":"broadcast","roomId":"r","message":{{"type":"{kind}","senderId":"{sender}","timestamp":1700000000000,"data":{data}}}}}"#
        );
        masked(0x81, said.as_bytes())
    };
    let pose_update = message("pose_update", "user-0", &format!("{{{pose}}}"));
    let private = r#"{"action":"send_message","targetUserId":"user-7","message":{"type":"chat_message","data":{"text":"psst"}}}"#;
    let frames = [
        ("a pose", MEMBERS - 1, pose_update.clone()),
        ("sixteen at once", 16 * (MEMBERS - 1), pose_update.repeat(16)),
        (
            "a sender that is overwritten",
            MEMBERS - 1,
            message("gaze_update", "user-9", &format!("{{{pose}}}")),
        ),
        ("a chat message", MEMBERS - 1, message("chat_message", "user-0", r#"{"text":"hello"}"#)),
        ("to one", 1, masked(0x81, private.as_bytes())),
    ];
    for (name, heard, frame) in &frames {
        (0..WARM_UP).for_each(|_| session.relay(frame));
        let sent = session.sent();
        let count = allocations(|| (0..1_000).for_each(|_| session.relay(frame)));
        assert_eq!(count, 0, "{name}: allocations, {pose_interval_ms} ms");
        let bytes = session.sent() - sent;
        assert!(bytes > 1_000 * *heard as u64 * 100, "{name}: {bytes} bytes were sent");
    }
}

/// Taking a keystroke into a Yjs document and relaying it, and a state of awareness. What a document
/// keeps grows with it: it has room for 8,192 characters when anything is counted.
#[test]
fn relaying_an_update_allocates_nothing() {
    let mut setup = Setup::new(Profile::only(&yjs::PROTOCOL));
    setup.protocols.yjs.messages_per_second_max = u32::MAX;
    let mut world = World::new(setup);
    let members: Vec<Peer> = (0..MEMBERS).map(|_| world.join("/document")).collect();
    world.settle();
    members.iter().for_each(|member| world.network.discard(member.connection));
    let mut session = Session { world, members };
    // A client of this number types one letter behind the other.
    let keystroke = |clock: u32| {
        let mut update = vec![1, 1, 5];
        write_varuint(&mut update, clock.into());
        match clock.checked_sub(1) {
            Some(before) => {
                update.extend_from_slice(&[0x84, 5]);
                write_varuint(&mut update, before.into());
            }
            None => update.extend_from_slice(b"\x04\x01\x04text"),
        }
        update.extend_from_slice(b"\x01x\x00");
        masked(0x82, &[Head::update(update.len()).as_bytes(), &update].concat())
    };
    // A cursor that moves.
    let aware = |clock: u32| {
        let mut states = vec![1];
        write_entry(&mut states, 5, clock, Some(&format!("{{\"cursor\":{}}}", clock % 10)));
        let head = Head::awareness(Form::Plain, states.len());
        masked(0x82, &[head.as_bytes(), &states].concat())
    };
    let mut clock = 0;
    let mut round = |session: &mut Session, count: usize| {
        let clocks = clock..clock + count as u32;
        clock = clocks.end;
        let frames: Vec<_> = clocks.map(|clock| (keystroke(clock), aware(clock + 1))).collect();
        allocations(|| {
            for (update, state) in &frames {
                session.relay(update);
                session.relay(state);
            }
        })
    };
    for _ in 0..5 {
        round(&mut session, 1_000);
        session.pass(1_000);
    }
    let sent = session.sent();
    assert_eq!(round(&mut session, 1_000), 0);
    let bytes = session.sent() - sent;
    let expected = 1_000 * (MEMBERS as u64 - 1) * 35;
    assert!(bytes > expected, "{bytes} bytes were sent");
    assert_eq!(session.world.count(|counters| counters.violations.get()), 0);
}

/// A world of CoMutiNy without limits.
fn comutiny_world() -> World {
    let mut setup = Setup::new(Profile::only(&comutiny::PROTOCOL));
    setup.protocols.comutiny.messages_per_second_max = u32::MAX;
    setup.connections_max = usize::MAX;
    World::new(setup)
}

/// Players of CoMutiNy's world who move, as its load test has them. All is acknowledged. A chat
/// message stays in the history of the chat, in one piece.
#[test]
fn relaying_a_player_update_allocates_nothing_and_a_chat_message_once() {
    let mut world = comutiny_world();
    let members: Vec<Peer> = (0..MEMBERS).map(|user| world.enter_comutiny(Some(user))).collect();
    members.iter().for_each(|member| world.network.discard(member.connection));
    let mut session = Session { world, members };
    let update = r#"42177["player:update",{"position":{"x":-12.25,"y":2.5,"z":24.125},"animation":"walk","metadata":{"mood":"good"}}]"#;
    let chat = r#"42178["chat:message",{"content":"Hello to all of you"}]"#;
    let update = masked(0x81, update.as_bytes());
    let chat = masked(0x81, chat.as_bytes());
    let frames = [
        ("an update", 0, MEMBERS - 1, update.clone()),
        ("sixteen updates at once", 0, 16 * (MEMBERS - 1), update.repeat(16)),
        ("a chat message", 1, MEMBERS, chat.clone()),
        ("sixteen chat messages at once", 16, 16 * MEMBERS, chat.repeat(16)),
        ("a ping's answer", 0, 0, masked(0x81, b"3")),
    ];
    for (name, allowed, heard, frame) in &frames {
        (0..WARM_UP).for_each(|_| session.relay(frame));
        let sent = session.sent();
        let count = allocations(|| (0..1_000).for_each(|_| session.relay(frame)));
        let bytes = session.sent() - sent;
        println!("{name}: {count} allocations in 1,000 turns, {bytes} bytes sent");
        assert_eq!(count, allowed * 1_000, "{name}: allocations in 1,000 turns");
        assert!(bytes >= 1_000 * *heard as u64 * 100, "{name}: {bytes} bytes were sent");
    }
    assert_eq!(session.world.count(|counters| counters.violations.get()), 0);
}

/// Bytes that a world with so many clients, of whom so many play, holds when nothing happens.
fn comutiny_bytes_at_rest(clients: usize, players: usize) -> i64 {
    let mut world = comutiny_world();
    for number in 0..clients {
        let peer = world.enter_comutiny((number < players).then_some(number));
        world.network.discard(peer.connection);
    }
    world.pass(Duration::from_millis(1_500));
    assert_eq!(world.count(|counters| counters.members.get()), clients as u64);
    let before = HELD.with(Cell::get);
    world.shards.clear();
    before - HELD.with(Cell::get)
}

#[test]
fn who_is_at_rest_on_socket_io_is_small() {
    let client = (comutiny_bytes_at_rest(3_000, 0) - comutiny_bytes_at_rest(1_000, 0)) / 2_000;
    let player = (comutiny_bytes_at_rest(800, 800) - comutiny_bytes_at_rest(400, 400)) / 400;
    println!("a client holds {client} bytes, one who plays {player}");
    assert!(client <= SOCKET_BYTES_MAX, "a further client holds {client} bytes");
    assert!(player <= PLAYER_BYTES_MAX, "a further player holds {player} bytes");
}

/// Bytes that a shard with so many sessions of so many members holds when nothing happens any more:
/// those that are freed with it.
fn bytes_at_rest(sessions: usize, members: usize) -> i64 {
    let mut setup = Setup::new(Profile::only(&croquet::PROTOCOL));
    setup.connections_max = usize::MAX;
    let mut world = World::new(setup);
    for session in 0..sessions {
        let id = format!("{session:043}");
        for user in 0..members {
            let peer = world.dial(0, &format!("/{id}"));
            world.turn();
            world.network.discard(peer.connection);
            world.network.deliver(peer.connection, &croquet_join(&id, user));
            world.turn();
        }
    }
    world.settle();
    // Announcements, ticks, and the first ping.
    world.pass(Duration::from_millis(1_500));
    assert_eq!(world.count(|counters| counters.sessions.get()), sessions as u64);
    assert_eq!(world.count(|counters| counters.members.get()), (sessions * members) as u64);
    let before = HELD.with(Cell::get);
    world.shards.clear();
    before - HELD.with(Cell::get)
}

/// Most allocations of a connection, from its first byte to its SYNC; as many again are freed.
const JOIN_ALLOCATIONS_MAX: u64 = 40;

#[test]
fn joining_allocates_little() {
    let mut session = Session::new();
    let counts: Vec<u64> = (MEMBERS..MEMBERS + 8)
        .map(|user| {
            allocations(|| {
                let peer = session.world.dial(0, &format!("/{ID}"));
                session.world.turn();
                session.world.network.discard(peer.connection);
                session.world.network.deliver(peer.connection, &croquet_join(ID, user));
                session.world.turn();
            })
        })
        .collect();
    println!(
        "allocations of joins, those of the network they are simulated on included: {counts:?}"
    );
    // Now and then a table grows.
    let usual = counts.iter().min().copied().unwrap_or(u64::MAX);
    assert!(usual <= JOIN_ALLOCATIONS_MAX, "a join allocates {usual} times");
}

/// What a further session costs besides its only member, and a further member of a session.
fn further() -> (i64, i64) {
    let few = bytes_at_rest(1_000, 1);
    let session_and_member = (bytes_at_rest(3_000, 1) - few) / 2_000;
    let member = (bytes_at_rest(1, 3_000) - bytes_at_rest(1, 1_000)) / 2_000;
    (session_and_member - member, member)
}

/// What the sessions here retain: the announcement of their first member, and its length.
const RETAINED: i64 =
    r#",[200,4294967281,{"what":"users","active":1,"total":1,"joined":["u0"],"_size":59}]"#.len()
        as i64
        + 4;

#[test]
fn what_is_at_rest_is_small() {
    let (session, member) = further();
    println!("a session holds {session} bytes, {RETAINED} of them retained; a member {member}");
    assert!(session - RETAINED <= SESSION_BYTES_MAX, "a further session holds {session} bytes");
    assert!(member <= MEMBER_BYTES_MAX, "a further member holds {member} bytes");
}

//! Socket.IO: whatever a packet is, it is read or refused within its limits; and whatever clients
//! say to a small application, they are sent whole packets of theirs alone, each acknowledgement
//! comes once, and when all have gone nothing is left.
//!
//! Input: lines, each a digit for the client and what it says: text, or with `!` an attachment, `+` a
//! new connection, `-` an end, `.` a moment that passes.

#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use lockstep::codec::json::Raw;
use lockstep::codec::socketio::{Body, Limits, decode};
use lockstep::protocol::socketio::{
    AckId, Application, Event, Io, Refusal, Server, Socket, Unanswered, Values,
};
use lockstep::protocol::{Hello, Machine, Message};
use lockstep::session::effects::Effect;
use lockstep::session::{Counters, Effects, History, Instant, MemberId, Now, Outcome, RingPool};

const CLIENTS: usize = 4;
const ATTACHMENTS_BYTES_MAX: usize = 64;
/// Small enough for inputs to reach them.
const TINY: Limits = Limits { attachments_max: 2, namespace_bytes_max: 4, depth_max: 4 };

fuzz_target!(|data: &[u8]| {
    let mut world = World::new();
    for line in data.split(|&byte| byte == b'\n').take(300) {
        if let Ok(text) = std::str::from_utf8(line) {
            check_decoder(text);
        }
        world.act(line);
    }
    for place in 0..CLIENTS {
        world.leave(place);
    }
    assert!(world.server.app().present.is_empty());
    assert!(world.server.deadline().is_none(), "a request is left");
    assert!(world.server.is_over());
});

fn check_decoder(text: &str) {
    let whole = decode(text, Limits::default());
    let Ok(packet) = decode(text, TINY) else { return };
    assert_eq!(whole, Ok(packet), "what passes tiny limits passes all");
    assert!(packet.namespace.len() <= 4 && packet.namespace.starts_with('/'));
    if let Body::Event { attachments, payload } | Body::Ack { attachments, payload } = packet.body {
        assert!(attachments <= 2);
        assert!(payload.is_none_or(Raw::is_array));
    }
}

/// Does what the first letter of an event's name says.
#[derive(Debug, Default)]
struct Toy {
    present: Vec<Socket>,
    owed: Vec<(Socket, AckId)>,
    /// Numbers of requests that are open, by client.
    asked: BTreeMap<(Socket, u64), ()>,
}

impl Application for Toy {
    fn namespaces(&self) -> &'static [&'static str] {
        &["/", "/b"]
    }

    fn on_connect(
        &mut self,
        socket: Socket,
        hello: &Hello,
        auth: Option<Raw<'_>>,
        io: &mut Io<'_, '_>,
    ) -> Result<(), Refusal> {
        assert!(!self.present.contains(&socket) && hello.target == "/socket.io/");
        io.broadcast("joined", &[]);
        if auth.is_some_and(|auth| auth.fields().next().is_some()) {
            io.emit(socket, "never", &[]);
            return Err(Refusal { message: "no".to_owned(), data: None });
        }
        self.present.push(socket);
        Ok(())
    }

    fn on_event(&mut self, socket: Socket, event: Event<'_>, io: &mut Io<'_, '_>) {
        assert!(self.present.contains(&socket), "a stranger talks");
        let nobody_waits = self.asked.keys().all(|(socket, _)| self.present.contains(socket));
        assert!(nobody_waits, "that who has gone answers nothing was not told");
        let (args, attachments) = (event.args.to_args(), event.args.to_attachments());
        let bytes: usize = attachments.iter().map(|attachment| attachment.len()).sum();
        assert!(bytes <= ATTACHMENTS_BYTES_MAX);
        match event.name.as_str().as_bytes().get(1) {
            Some(b's') => io.broadcast("said", &args),
            Some(b'o') => io.broadcast_except(socket, "said", &args),
            Some(b'm') => io.send(self.present.iter().copied(), "told", &args),
            Some(b'e') => io.emit_binary(socket, "echo", &args, &attachments),
            Some(b'a') => {
                for ack in event.ack.into_iter().chain(event.ack) {
                    io.acknowledge_binary(socket, ack, &args, &attachments);
                }
            }
            Some(b'l') => self.owed.extend(event.ack.map(|ack| (socket, ack))),
            Some(b'p') => {
                for (socket, ack) in std::mem::take(&mut self.owed) {
                    io.acknowledge(socket, ack, &[]);
                }
            }
            Some(b'r') => {
                let request = io.request(socket, "asked", &[], Duration::from_millis(5));
                assert!(self.asked.insert((socket, request), ()).is_none());
            }
            Some(b'd') => io.disconnect(self.present[0]),
            Some(b'k') => io.kick(self.present[0]),
            _ => {}
        }
    }

    fn on_answer(
        &mut self,
        socket: Socket,
        request: u64,
        _: Result<Values<'_>, Unanswered>,
        _: &mut Io<'_, '_>,
    ) {
        assert!(self.asked.remove(&(socket, request)).is_some(), "an answer to nothing");
    }

    fn on_disconnect(&mut self, socket: Socket, io: &mut Io<'_, '_>) {
        let at = self.present.iter().position(|other| *other == socket);
        self.present.remove(at.expect("a stranger leaves"));
        io.emit(socket, "never", &[]);
        io.broadcast("left", &[]);
    }

    fn is_over(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        String::new()
    }
}

/// A client: its member, and how many acknowledgements it may still be sent.
#[derive(Clone, Copy, Default)]
struct Client {
    member: Option<MemberId>,
    wanted: u32,
}

struct World {
    server: Server<Toy>,
    clients: [Client; CLIENTS],
    members: u32,
    history: History,
    pool: RingPool,
    outcome: Outcome,
    counters: Counters,
    now_ms: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            server: Server::new(Toy::default(), ATTACHMENTS_BYTES_MAX),
            clients: Default::default(),
            members: 0,
            history: History::new(),
            pool: RingPool::default(),
            outcome: Outcome::default(),
            counters: Counters::default(),
            now_ms: 1,
        };
        (0..CLIENTS).for_each(|place| world.connect(place));
        world
    }

    fn act(&mut self, line: &[u8]) {
        let [place, rest @ ..] = line else { return };
        let place = usize::from(*place) % CLIENTS;
        match rest {
            [b'+', ..] => self.connect(place),
            [b'-', ..] => self.leave(place),
            [b'.', rest @ ..] => self.pass(rest.len() as u64),
            [b'!', rest @ ..] => self.say(place, Message::Binary(rest)),
            rest => {
                if let Ok(text) = std::str::from_utf8(rest) {
                    // An event is acknowledged once at most.
                    let is_wanted = matches!(text.bytes().next(), Some(b'2' | b'5'));
                    self.clients[place].wanted += u32::from(is_wanted);
                    self.say(place, Message::Text(text));
                }
            }
        }
    }

    fn connect(&mut self, place: usize) {
        self.leave(place);
        self.members += 1;
        let member = MemberId(self.members);
        self.clients[place] = Client { member: Some(member), wanted: 0 };
        let hello = Hello { target: "/socket.io/".to_owned(), ..Hello::default() };
        self.call(|server, fx| server.on_enter(member, hello, fx).expect("all may enter"));
    }

    fn say(&mut self, place: usize, message: Message<'_>) {
        let Some(member) = self.clients[place].member else { return };
        if self.call(|server, fx| server.on_message(member, message, fx)).is_err() {
            self.leave(place);
        }
    }

    fn leave(&mut self, place: usize) {
        if let Some(member) = std::mem::take(&mut self.clients[place]).member {
            self.call(|server, fx| server.on_leave(member, 1006, fx));
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        while self.server.deadline().is_some_and(|due| due.as_millis() <= self.now_ms) {
            self.call(|server, fx| server.on_deadline(fx));
        }
    }

    fn call<R>(&mut self, act: impl FnOnce(&mut Server<Toy>, &mut Effects<'_>) -> R) -> R {
        let now = Now { at: Instant::from_millis(self.now_ms), wall_ms: self.now_ms };
        let (history, pool, outcome) = (&mut self.history, &mut self.pool, &mut self.outcome);
        let mut fx = Effects::new(now, self.now_ms, &self.counters, history, pool, outcome);
        let result = act(&mut self.server, &mut fx);
        self.server.invariants();
        self.history.trim(self.history.head(), &mut self.pool);
        let mut closed = Vec::new();
        // The attachments that are due, of whom.
        let mut due = (MemberId(0), 0_u32);
        for effect in std::mem::take(&mut self.outcome.effects) {
            match effect {
                Effect::Reply { to, start, end, .. } => {
                    let frame = self.outcome.bytes[start..end].to_vec();
                    due = self.check(to, &frame, due);
                }
                Effect::Share { to, bytes, .. } => due = self.check(to, &bytes, due),
                Effect::Close { member, .. } => closed.push(member),
                _ => assert_eq!(due.1, 0, "something comes before an attachment"),
            }
        }
        assert_eq!(due.1, 0, "attachments are missing");
        self.outcome.clear();
        for member in closed {
            if let Some(place) = self.place(member) {
                self.leave(place);
            }
        }
        result
    }

    fn place(&self, member: MemberId) -> Option<usize> {
        self.clients.iter().position(|client| client.member == Some(member))
    }

    /// Checks one frame for a member; what is due after it.
    fn check(&mut self, to: MemberId, frame: &[u8], due: (MemberId, u32)) -> (MemberId, u32) {
        let place = self.place(to).expect("who is sent something is there");
        let start = match frame[1] {
            127 => 10,
            126 => 4,
            _ => 2,
        };
        if frame[0] == 0x82 {
            assert!(due.0 == to && due.1 > 0, "an attachment of nothing");
            return (to, due.1 - 1);
        }
        assert_eq!(due.1, 0, "a text where an attachment is due");
        let text = std::str::from_utf8(&frame[start..]).expect("text");
        let packet = decode(text.strip_prefix('4').expect("a message"), Limits::default());
        match packet.expect("a packet").body {
            Body::Event { attachments, .. } => (to, attachments.into()),
            Body::Ack { attachments, .. } => {
                let wanted = &mut self.clients[place].wanted;
                *wanted = wanted.checked_sub(1).expect("each is acknowledged once");
                (to, attachments.into())
            }
            _ => (to, 0),
        }
    }
}

//! Whatever clients of the gallery say, hall and rooms stay up, what they send is JSON, and every
//! client ends up somewhere. Each line of the input is said by one of four clients; `!` brings a
//! newer connection in its stead, an empty line lets time pass, a digit before a line lets so many
//! moves and messages between sessions wait.

#![no_main]

use std::collections::{BTreeMap, VecDeque};

use libfuzzer_sys::fuzz_target;
use lockstep::codec::json;
use lockstep::protocol::gallery::{HALL, PROTOCOL};
use lockstep::protocol::{Hello, Machine, Message, Open};
use lockstep::session::effects::Effect;
use lockstep::session::{Counters, Effects, History, Instant, MemberId, Now, Outcome, RingPool};

const CLIENTS: usize = 4;

fuzz_target!(|data: &[u8]| {
    let mut world = World::default();
    for client in 0..CLIENTS {
        world.connect(client);
    }
    for (at, line) in data.split(|&byte| byte == b'\n').take(500).enumerate() {
        let client = at % CLIENTS;
        let (waits, line) = match line {
            [digit @ b'0'..=b'9', rest @ ..] => (usize::from(digit - b'0'), rest),
            line => (0, line),
        };
        match line {
            [] => world.pass(3_000),
            [b'!', ..] => {
                world.connect(client);
            }
            line => world.say(client, line),
        }
        while world.parcels.len() > waits {
            world.deliver();
        }
    }
    while !world.parcels.is_empty() {
        world.deliver();
    }
    assert!(world.clients.iter().all(|client| client.seat.is_some() || client.is_closed));
});

#[derive(Default)]
struct World {
    sessions: BTreeMap<String, (Box<dyn Machine>, History)>,
    clients: Vec<Client>,
    /// The newest client of each place.
    present: [usize; CLIENTS],
    parcels: VecDeque<(String, String, Parcel)>,
    pool: RingPool,
    outcome: Outcome,
    counters: Counters,
    now_ms: u64,
    members: u32,
}

#[derive(Default)]
struct Client {
    seat: Option<(String, MemberId)>,
    is_closed: bool,
}

enum Parcel {
    Tell(Vec<u8>),
    Member(usize, Vec<u8>),
}

impl World {
    fn connect(&mut self, place: usize) {
        self.present[place] = self.clients.len();
        self.clients.push(Client::default());
        let target = format!("/?userId=u{}", place % 3);
        self.seat(self.present[place], HALL, Hello { target, ..Hello::default() });
    }

    fn seat(&mut self, client: usize, key: &str, hello: Hello) {
        self.members += 1;
        let member = MemberId(self.members);
        self.clients[client].seat = Some((key.to_owned(), member));
        self.call(key, Some(member), |machine, fx| machine.on_enter(member, hello, fx).is_ok());
    }

    fn say(&mut self, place: usize, line: &[u8]) {
        if let Some((key, member)) = self.clients[self.present[place]].seat.clone() {
            let message = Message::Binary(line);
            self.call(&key, Some(member), |machine, fx| {
                machine.on_message(member, message, fx).is_ok()
            });
        }
    }

    fn deliver(&mut self) {
        match self.parcels.pop_front() {
            Some((from, to, Parcel::Tell(body))) => self.call(&to, None, |machine, fx| {
                machine.on_told(&from, &body, fx);
                true
            }),
            Some((_, to, Parcel::Member(client, carry))) => {
                self.seat(client, &to, Hello { carry, ..Hello::default() });
            }
            None => {}
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        for key in self.sessions.keys().cloned().collect::<Vec<_>>() {
            self.call(&key, None, |machine, fx| {
                machine.on_deadline(fx);
                true
            });
        }
    }

    /// One call; a member whose call fails is closed.
    fn call(
        &mut self,
        key: &str,
        member: Option<MemberId>,
        act: impl FnOnce(&mut dyn Machine, &mut Effects<'_>) -> bool,
    ) {
        let now =
            Now { at: Instant::from_millis(self.now_ms), wall_ms: 1_700_000_000_000 + self.now_ms };
        let open = || Open { key: key.to_owned(), now, config: Default::default(), durable: false };
        let session = self.sessions.entry(key.to_owned());
        let (machine, history) =
            session.or_insert_with(|| ((PROTOCOL.open)(open()), History::new()));
        let (pool, outcome) = (&mut self.pool, &mut self.outcome);
        let mut fx = Effects::new(now, self.members.into(), &self.counters, history, pool, outcome);
        let stays = act(&mut **machine, &mut fx);
        let (first, second) = history.slices(history.tail(), history.head());
        check(&[first, second].concat());
        history.trim(history.head(), pool);
        check(&self.outcome.bytes);
        let mut closed: Vec<MemberId> = member.filter(|_| !stays).into_iter().collect();
        for effect in std::mem::take(&mut self.outcome.effects) {
            match effect {
                Effect::Close { member, .. } => closed.push(member),
                Effect::Tell { key: to, body } => {
                    self.parcels.push_back((key.to_owned(), to, Parcel::Tell(body)));
                }
                Effect::Transfer { member, key: to, carry, .. } => {
                    let client = self.client(key, member).expect("who moves is here");
                    self.clients[client].seat = None;
                    self.parcels.push_back((key.to_owned(), to, Parcel::Member(client, carry)));
                }
                _ => {}
            }
        }
        self.outcome.clear();
        for member in closed {
            if let Some(client) = self.client(key, member) {
                self.clients[client] = Client { seat: None, is_closed: true };
                self.leave(key, member);
            }
        }
        let is_empty =
            !self.clients.iter().any(|it| it.seat.as_ref().is_some_and(|it| it.0 == key));
        if is_empty && self.sessions.get(key).is_some_and(|(machine, _)| machine.is_over()) {
            self.sessions.remove(key);
        }
    }

    fn leave(&mut self, key: &str, member: MemberId) {
        self.call(key, None, |machine, fx| {
            machine.on_leave(member, 1006, fx);
            true
        });
    }

    fn client(&self, key: &str, member: MemberId) -> Option<usize> {
        self.clients
            .iter()
            .position(|it| it.seat.as_ref().is_some_and(|it| it.0 == key && it.1 == member))
    }
}

/// Checks that frames hold one JSON text each.
fn check(mut frames: &[u8]) {
    while !frames.is_empty() {
        let (head, len) = match frames[1] {
            127 => (10, u64::from_be_bytes(frames[2..10].try_into().expect("a header")) as usize),
            126 => (4, usize::from(u16::from_be_bytes([frames[2], frames[3]]))),
            len => (2, usize::from(len)),
        };
        let text = std::str::from_utf8(&frames[head..head + len]).expect("text");
        json::object_fields(text, &["event"], 128).expect("what is sent is JSON");
        frames = &frames[head + len..];
    }
}

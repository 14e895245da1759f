//! Whatever some clients of a Yjs document say, what everybody is sent is sound, nobody is closed for
//! what another has said, and two who only type go on hearing each other.
//!
//! The input is a row of moves: one byte says what is done, one by whom, one how long what follows
//! is, which is said or made into something to say. Updates that are accepted are made here, of
//! typing and deleting: what else yrs makes of accepted ones is the target `ysync`'s concern.

#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use lockstep::codec::json;
use lockstep::codec::lib0::{write_varbuf, write_varuint};
use lockstep::codec::ysync::{Form, Head, Message as Said, awareness, write_entry};
use lockstep::codec::ysync::{check_state_vector, check_update, messages};
use lockstep::protocol::yjs::PROTOCOL;
use lockstep::protocol::{Config, Hello, Machine, Message, Open};
use lockstep::session::effects::Effect;
use lockstep::session::{Counters, Effects, History, Instant, MemberId, Now, Outcome, RingPool};

const LOBBY: &str = "lobby";
const ROOM: &str = "room/x";
/// The two who only type, and their clients.
const CANARIES: usize = 2;
const CANARY_ID: u64 = 1 << 20;
/// With those that come over `/yjs/x`, and those that come over `/ws`.
const CLIENTS: usize = CANARIES + 2 + 3;
const NATIVE_FIRST: usize = CANARIES + 2;
const MOVES_MAX: usize = 300;

fuzz_target!(|data: &[u8]| {
    let mut world = World::new();
    for client in 0..CLIENTS {
        world.connect(client);
    }
    let mut rest = data;
    for number in 0..MOVES_MAX {
        let [kind, who, len, after @ ..] = rest else { break };
        let (words, after) = after.split_at(usize::from(*len).min(after.len()));
        rest = after;
        let client = CANARIES + usize::from(*who) % (CLIENTS - CANARIES);
        world.act(*kind, client, words);
        if number % 16 == 0 {
            world.check_canaries();
        }
    }
    world.check_canaries();
    world.pass(1_000);
    world.check_canaries();
});

struct World {
    config: Arc<Config>,
    sessions: BTreeMap<String, Session>,
    clients: [Client; CLIENTS],
    pool: RingPool,
    outcome: Outcome,
    counters: Counters,
    now_us: u64,
    members: u32,
    canary_clocks: [u32; CANARIES],
}

struct Session {
    machine: Box<dyn Machine>,
    history: History,
    /// The next clock of each client that was heard of.
    clocks: BTreeMap<u64, u32>,
}

#[derive(Default)]
struct Client {
    seat: Option<(String, MemberId)>,
    is_listening: bool,
    /// The last that it alone was sent.
    answer: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let mut config = Config::default();
        config.yjs.clients_per_room_max = 6;
        config.yjs.native_clients_per_room_max = 5;
        config.yjs.rooms_max = 3;
        config.yjs.native_rooms_max = 2;
        config.yjs.native_message_bytes_max = 200;
        config.yjs.room_timeout_ms = 30_000;
        Self {
            config: Arc::new(config),
            sessions: BTreeMap::new(),
            clients: Default::default(),
            pool: RingPool::default(),
            outcome: Outcome::default(),
            counters: Counters::default(),
            now_us: 1_000,
            members: 0,
            canary_clocks: [0; CANARIES],
        }
    }

    fn act(&mut self, kind: u8, client: usize, words: &[u8]) {
        match kind % 14 {
            0 => self.say_raw(client, words),
            1..=3 => self.types(client, words, false),
            4 => self.types(client, words, true),
            5 => self.deletes(client, words),
            6 => self.asks(client, words),
            7 => self.looks(client, words),
            8 => {
                let mut frame = vec![4];
                write_varbuf(&mut frame, words);
                self.say_raw(client, &frame);
            }
            9 => {
                let text: &[u8] = match words.first().map_or(0, |word| word % 5) {
                    0 => br#"{"action":"join","room":"x"}"#,
                    1 => br#"{"action":"join","room":"y"}"#,
                    2 => br#"{"action":"join","room":"z"}"#,
                    3 => br#"{"action":"leave"}"#,
                    _ => &words[1..],
                };
                if let Ok(text) = std::str::from_utf8(text) {
                    self.tell(client, Message::Text(text));
                }
            }
            10 => self.say_raw(client, &[3]),
            11 => self.pass([1, 49, 50, 3_000, 20_000, 61_000][usize::from(kind) / 14 % 6]),
            12 => {
                self.leave(client);
                self.connect(client);
            }
            _ => {
                // A sound frame with one byte that is not.
                let frame = self.keystroke(client, 1);
                let (at, flip) = match words {
                    [at, flip, ..] => (usize::from(*at) % frame.len(), *flip),
                    _ => (0, 1),
                };
                let mut frame = frame;
                frame[at] ^= flip;
                frame.extend(words.iter().skip(2));
                self.say_raw(client, &frame);
            }
        }
    }

    /// Says this unless it has an update that is accepted.
    fn say_raw(&mut self, client: usize, frame: &[u8]) {
        let is_accepted = messages(frame, Form::Plain).any(|said| match said {
            Ok(Said::Step2(update) | Said::Update(update)) => {
                check_update(update).is_ok_and(|update| !update.is_empty())
            }
            _ => false,
        });
        if !is_accepted {
            self.tell(client, Message::Binary(frame));
        }
    }

    /// One character behind the last of the same writer, or one that was typed long ago.
    fn types(&mut self, client: usize, words: &[u8], again: bool) {
        let writer = 1 + u64::from(words.first().map_or(0, |word| word % 4));
        let mut frame = self.keystroke(client, writer);
        if again {
            let body = keystroke(b"text", writer, 0);
            frame = [Head::step2(body.len()).as_bytes(), &body].concat();
        }
        self.tell(client, Message::Binary(&frame));
    }

    fn keystroke(&self, client: usize, writer: u64) -> Vec<u8> {
        let seat = self.clients[client].seat.as_ref();
        let session = seat.and_then(|(key, _)| self.sessions.get(key));
        let clock = session.and_then(|session| session.clocks.get(&writer).copied());
        let body = keystroke(b"text", writer, clock.unwrap_or(0));
        [Head::update(body.len()).as_bytes(), &body].concat()
    }

    /// Some of what a writer has typed.
    fn deletes(&mut self, client: usize, words: &[u8]) {
        let seat = self.clients[client].seat.as_ref();
        let Some(session) = seat.and_then(|(key, _)| self.sessions.get(key)) else { return };
        let [writer, from, len, ..] = *words else { return };
        let writer = 1 + u64::from(writer % 4);
        let Some(&end) = session.clocks.get(&writer) else { return };
        let from = u32::from(from) % end;
        let len = 1 + u32::from(len) % (end - from);
        let mut body = vec![0, 1];
        for number in [writer, 1, from.into(), len.into()] {
            write_varuint(&mut body, number);
        }
        let head = Head::update(body.len());
        self.tell(client, Message::Binary(&[head.as_bytes(), &body].concat()));
    }

    fn asks(&mut self, client: usize, words: &[u8]) {
        let mut vector = vec![words.len().min(4) as u8];
        for (writer, &clock) in (1..).zip(words.iter().take(4)) {
            vector.push(writer);
            write_varuint(&mut vector, clock.into());
        }
        self.say_raw(client, &[Head::step1(vector.len()).as_bytes(), &vector].concat());
    }

    fn looks(&mut self, client: usize, words: &[u8]) {
        let mut entries = Vec::new();
        let mut count = 0;
        for word in words.chunks_exact(3) {
            let state = match word[2] % 4 {
                0 => None,
                1 => Some("{}".to_owned()),
                _ => Some(format!("[{}]", word[2])),
            };
            write_entry(&mut entries, (word[0] % 40).into(), word[1].into(), state.as_deref());
            count += 1;
        }
        let update = [&[count][..], &entries].concat();
        let head = Head::awareness(Form::Plain, update.len());
        self.say_raw(client, &[head.as_bytes(), &update].concat());
    }

    /// Each of them types one character, which the other hears, and is told what the document has.
    fn check_canaries(&mut self) {
        for canary in 0..CANARIES {
            let id = CANARY_ID + canary as u64;
            let body = keystroke(b"canary", id, self.canary_clocks[canary]);
            self.canary_clocks[canary] += 1;
            let frame = [Head::update(body.len()).as_bytes(), &body].concat();
            self.tell(canary, Message::Binary(&frame));
            let session = self.sessions.get(ROOM).expect("canaries are there");
            assert_eq!(session.clocks.get(&id), Some(&self.canary_clocks[canary]), "it is relayed");
        }
        for canary in 0..CANARIES {
            assert!(self.clients[canary].is_listening);
            self.clients[canary].answer.clear();
            self.tell(canary, Message::Binary(&[0, 0, 1, 0]));
            if self.clients[canary].answer.is_empty() {
                self.pass(1);
            }
            let answer = &self.clients[canary].answer;
            let (_, payload, _) = frame(answer);
            let Some(Ok(Said::Step2(update))) = messages(payload, Form::Plain).next() else {
                panic!("no answer: {answer:?}")
            };
            let update = check_update(update).expect("what is sent is sound");
            for (id, clock) in (CANARY_ID..).zip(self.canary_clocks) {
                let has = update.runs.iter().any(|run| run.client == id && run.end == clock);
                assert!(has, "the document lacks what was relayed");
            }
        }
    }

    fn connect(&mut self, client: usize) {
        if client < NATIVE_FIRST {
            let hello = Hello { target: "/yjs/x".to_owned(), ..Hello::default() };
            self.seat(client, ROOM.to_owned(), hello);
        } else {
            let hello = Hello { target: "/ws".to_owned(), ..Hello::default() };
            self.seat(client, LOBBY.to_owned(), hello);
        }
    }

    fn seat(&mut self, client: usize, key: String, hello: Hello) {
        self.members += 1;
        let member = MemberId(self.members);
        self.clients[client] = Client { seat: Some((key.clone(), member)), ..Client::default() };
        self.call(&key, Some(client), |machine, fx| machine.on_enter(member, hello, fx).is_ok());
    }

    fn tell(&mut self, client: usize, message: Message<'_>) {
        if let Some((key, member)) = self.clients[client].seat.clone() {
            self.call(&key, Some(client), |machine, fx| {
                machine.on_message(member, message, fx).is_ok()
            });
        }
    }

    fn leave(&mut self, client: usize) {
        if let Some((key, member)) = self.clients[client].seat.take() {
            self.call(&key, None, |machine, fx| {
                machine.on_leave(member, 1006, fx);
                true
            });
        }
    }

    /// Time passes, and each session is called when it asked for it.
    fn pass(&mut self, ms: u64) {
        let end = self.now_us + ms * 1_000;
        loop {
            let deadline = |session: &Session| session.machine.deadline().map(Instant::as_micros);
            let dues = self.sessions.iter().filter_map(|(key, it)| Some((deadline(it)?, key)));
            let Some((due, key)) = dues.min().map(|(due, key)| (due, key.clone())) else { break };
            if due > end {
                break;
            }
            self.now_us = self.now_us.max(due);
            self.call(&key, None, |machine, fx| {
                machine.on_deadline(fx);
                true
            });
            let next = self.sessions.get(&key).and_then(deadline);
            assert!(next.is_none_or(|next| next > self.now_us), "a deadline that never passes");
        }
        self.now_us = end;
    }

    /// One call. If it fails, the client whose call it is is closed; nobody else ever is.
    fn call(
        &mut self,
        key: &str,
        caller: Option<usize>,
        act: impl FnOnce(&mut dyn Machine, &mut Effects<'_>) -> bool,
    ) {
        let wall_ms = 1_700_000_000_000 + self.now_us / 1_000;
        let now = Now { at: Instant::from_micros(self.now_us), wall_ms };
        let config = &self.config;
        let session = self.sessions.entry(key.to_owned()).or_insert_with(|| Session {
            machine: (PROTOCOL.open)(Open {
                key: key.to_owned(),
                now,
                config: config.clone(),
                durable: false,
            }),
            history: History::new(),
            clocks: BTreeMap::new(),
        });
        let (pool, outcome) = (&mut self.pool, &mut self.outcome);
        let random = self.members.into();
        let mut fx = Effects::new(now, random, &self.counters, &mut session.history, pool, outcome);
        let stays = act(&mut *session.machine, &mut fx);
        let (first, second) =
            session.history.slices(session.history.tail(), session.history.head());
        check(&[first, second].concat(), &mut session.clocks);
        session.history.trim(session.history.head(), pool);
        let mut is_closed = !stays;
        for effect in std::mem::take(&mut self.outcome.effects) {
            match effect {
                Effect::Reply { to, start, end, .. } => {
                    let client = self.client(key, to);
                    check(&self.outcome.bytes[start..end], &mut BTreeMap::new());
                    self.clients[client].answer = self.outcome.bytes[start..end].to_vec();
                }
                Effect::Share { to, bytes, .. } => {
                    let client = self.client(key, to);
                    // A header, and what belongs to it.
                    if bytes.first() == Some(&0x82) && self.clients[client].answer.len() > 20 {
                        self.clients[client].answer.clear();
                    }
                    self.clients[client].answer.extend_from_slice(&bytes);
                }
                Effect::Listen { member, .. } => {
                    let client = self.client(key, member);
                    self.clients[client].is_listening = true;
                }
                Effect::Close { member, close } => {
                    assert_eq!(Some(self.client(key, member)), caller, "{close:?}");
                    is_closed = true;
                }
                Effect::Transfer { member, key: to, carry, .. } => {
                    let client = self.client(key, member);
                    assert_eq!(Some(client), caller);
                    self.clients[client].seat = None;
                    self.seat(client, to, Hello { carry, ..Hello::default() });
                }
                _ => {}
            }
        }
        self.outcome.clear();
        if let Some(client) = caller.filter(|_| is_closed) {
            assert!(client >= CANARIES, "who only types is not closed");
            self.leave(client);
        }
        let is_empty =
            !self.clients.iter().any(|it| it.seat.as_ref().is_some_and(|it| it.0 == key));
        if is_empty && self.sessions.get(key).is_some_and(|session| session.machine.is_over()) {
            self.sessions.remove(key);
        }
    }

    /// Who this is; only members are ever spoken to.
    fn client(&self, key: &str, member: MemberId) -> usize {
        let is_it = |it: &Client| it.seat.as_ref().is_some_and(|it| it.0 == key && it.1 == member);
        self.clients.iter().position(is_it).expect("a member")
    }
}

/// The update of one character typed behind what the writer typed last.
fn keystroke(root: &[u8], writer: u64, clock: u32) -> Vec<u8> {
    let mut update = vec![1, 1];
    write_varuint(&mut update, writer);
    write_varuint(&mut update, clock.into());
    match clock.checked_sub(1) {
        Some(last) => {
            update.push(0x84);
            write_varuint(&mut update, writer);
            write_varuint(&mut update, last.into());
        }
        None => {
            update.extend_from_slice(&[4, 1]);
            write_varbuf(&mut update, root);
        }
    }
    update.extend_from_slice(&[1, b'x', 0]);
    update
}

/// Checks frames; notes how far clients have come whose updates they have.
fn check(mut frames: &[u8], clocks: &mut BTreeMap<u64, u32>) {
    while !frames.is_empty() {
        let (first, payload, after) = frame(frames);
        frames = after;
        if first == 0x81 {
            let text = std::str::from_utf8(payload).expect("text");
            json::object_fields(text, &["event"], 128).expect("what is sent is JSON");
            continue;
        }
        assert_eq!(first, 0x82, "a whole message");
        for said in messages(payload, Form::Plain) {
            match said.expect("what is sent is sound") {
                Said::Step1(vector) => drop(check_state_vector(vector).expect("a vector")),
                Said::Step2(update) | Said::Update(update) => {
                    for run in check_update(update).expect("an update").runs {
                        let clock = clocks.entry(run.client).or_default();
                        *clock = run.end.max(*clock);
                    }
                }
                Said::Awareness(update) => drop(awareness(update).expect("states")),
                Said::Custom(_) | Said::Auth(_) => {}
                Said::QueryAwareness => panic!("servers do not ask this"),
            }
        }
    }
}

/// First byte and payload of the first frame, and what follows it.
fn frame(bytes: &[u8]) -> (u8, &[u8], &[u8]) {
    let (head, len) = match bytes[1] {
        127 => (10, u64::from_be_bytes(bytes[2..10].try_into().expect("a header")) as usize),
        126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
        len => (2, usize::from(len)),
    };
    let (payload, after) = bytes[head..].split_at(len);
    (bytes[0], payload, after)
}

//! A shard in miniature: one session, its members' connections, and a clock that the test turns.

use std::time::Duration;

use crate::protocol::receiver::Receiver;
use crate::protocol::socketio::{Application, CLOSE, Server};
use crate::protocol::{Hello, Machine, Message};
use crate::session::effects::Effect;
use crate::session::{Close, Counters, Effects, History, Instant, MemberId, Now};
use crate::session::{Outcome, RingPool};

use super::toy::Toy;

/// A connection of the test; names stay valid after it closed.
pub(super) type Name = usize;

/// Bytes that the attachments of one packet may have together.
pub(super) const ATTACHMENTS_BYTES_MAX: usize = 100;

#[derive(Debug, Default)]
struct Connection {
    receiver: Receiver,
    received: Vec<String>,
    is_admitted: bool,
    is_seated: bool,
    closed: Option<Close>,
    /// Attachments that are still to come.
    due: usize,
}

/// One session with everything around it.
#[derive(Debug)]
pub(super) struct Room<A: Application = Toy> {
    pub(super) machine: Server<A>,
    counters: Counters,
    history: History,
    pool: RingPool,
    outcome: Outcome,
    connections: Vec<Connection>,
    now_ms: u64,
    random: u64,
}

impl Room {
    pub(super) fn new() -> Self {
        Self::with(Toy::default())
    }

    /// One whose clients may come back within this time.
    pub(super) fn recovering(within_ms: u64) -> Self {
        let mut room = Self::new();
        let machine = Server::new(Toy::default(), ATTACHMENTS_BYTES_MAX);
        room.machine = machine.with_recovery(Duration::from_millis(within_ms));
        room
    }

    /// What the application was told since this was last asked.
    pub(super) fn told(&mut self) -> Vec<String> {
        self.call(|machine, _| std::mem::take(&mut machine.app_mut().told))
    }

    /// A connection that is connected to the first namespace, and has read all it was told.
    pub(super) fn join(&mut self) -> Name {
        let name = self.enter();
        self.say(name, "0");
        self.forget();
        name
    }

    /// Forgets what was received and told.
    pub(super) fn forget(&mut self) {
        self.connections.iter_mut().for_each(|connection| connection.received.clear());
        self.told();
    }
}

impl<A: Application> Room<A> {
    pub(super) fn with(app: A) -> Self {
        Self {
            machine: Server::new(app, ATTACHMENTS_BYTES_MAX),
            counters: Counters::default(),
            history: History::new(),
            pool: RingPool::default(),
            outcome: Outcome::default(),
            connections: Vec::new(),
            now_ms: 1_000,
            random: 7,
        }
    }

    /// One call of the machine and everything that follows from it.
    fn call<R>(&mut self, act: impl FnOnce(&mut Server<A>, &mut Effects<'_>) -> R) -> R {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let now = Now { at: Instant::from_millis(self.now_ms), wall_ms: self.now_ms };
        self.outcome.clear();
        let (pool, outcome) = (&mut self.pool, &mut self.outcome);
        let history = &mut self.history;
        let mut fx = Effects::new(now, self.random, &self.counters, history, pool, outcome);
        let result = act(&mut self.machine, &mut fx);
        let gone = self.drain();
        self.flush();
        self.machine.invariants();
        for (name, close) in gone {
            self.drop_connection(name, Some(close));
        }
        result
    }

    fn drain(&mut self) -> Vec<(Name, Close)> {
        let mut gone = Vec::new();
        for effect in self.outcome.effects.drain(..) {
            let (Effect::Reply { to: member, .. }
            | Effect::Share { to: member, .. }
            | Effect::Admit { member }
            | Effect::Listen { member, .. }
            | Effect::Unlisten { member, .. }
            | Effect::Skip { member, .. }
            | Effect::Close { member, .. }) = &effect
            else {
                panic!("nobody asks for {effect:?}")
            };
            let connection = &mut self.connections[member.0 as usize];
            let receiver = &mut connection.receiver;
            if !connection.is_seated {
                let is_harmless = matches!(effect, Effect::Skip { .. } | Effect::Unlisten { .. });
                assert!(is_harmless, "{effect:?}: not a member");
                continue;
            }
            match effect {
                Effect::Reply { at, start, end, .. } => {
                    receiver.outbox.push(at, &[&self.outcome.bytes[start..end]]);
                }
                Effect::Share { at, bytes, .. } => receiver.outbox.push_shared(at, bytes),
                Effect::Admit { .. } => connection.is_admitted = true,
                Effect::Listen { from, .. } => drop(receiver.cursor.get_or_insert(from)),
                Effect::Unlisten { at, .. } => {
                    if let Some(cursor) = receiver.cursor.take() {
                        receiver.outbox.unlisten(cursor, at, &self.history);
                    }
                }
                Effect::Skip { from, to, .. } => receiver.skip(from, to),
                Effect::Close { member, close } => gone.push((member.0 as usize, close)),
                _ => {}
            }
        }
        gone
    }

    /// Sends everything that waits, like a shard at the end of its turn.
    fn flush(&mut self) {
        for connection in self.connections.iter_mut().filter(|connection| connection.is_seated) {
            connection.read(&self.history);
        }
        self.history.trim(self.history.head(), &mut self.pool);
    }

    fn drop_connection(&mut self, name: Name, close: Option<Close>) {
        let connection = &mut self.connections[name];
        if std::mem::take(&mut connection.is_seated) {
            connection.closed = close;
            self.call(|machine, fx| machine.on_leave(MemberId(name as u32), 1006, fx));
        }
    }

    /// A connection takes a seat.
    pub(super) fn enter(&mut self) -> Name {
        let name = self.connections.len();
        self.connections.push(Connection { is_seated: true, ..Connection::default() });
        let member = MemberId(name as u32);
        let hello = Hello { target: format!("/?name={name}"), ..Hello::default() };
        let result = self.call(|machine, fx| machine.on_enter(member, hello, fx));
        assert_eq!(result, Ok(()));
        name
    }

    /// A connection says `text`.
    pub(super) fn say(&mut self, name: Name, text: &str) {
        self.tell(name, Message::Text(text));
    }

    /// A connection sends an attachment.
    pub(super) fn attach(&mut self, name: Name, bytes: &[u8]) {
        self.tell(name, Message::Binary(bytes));
    }

    fn tell(&mut self, name: Name, message: Message<'_>) {
        if self.connections[name].is_seated {
            let member = MemberId(name as u32);
            if let Err(close) = self.call(|machine, fx| machine.on_message(member, message, fx)) {
                self.drop_connection(name, Some(close));
            }
        }
    }

    /// A connection ends.
    pub(super) fn leave(&mut self, name: Name) {
        self.drop_connection(name, None);
    }

    /// Lets time pass, calling the machine whenever it asked for it.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some(due) = self.machine.deadline().map(Instant::as_millis)
            && due <= end
        {
            self.now_ms = self.now_ms.max(due);
            self.call(|machine, fx| machine.on_deadline(fx));
            let next = self.machine.deadline().map(Instant::as_millis);
            assert!(next.is_none_or(|next| next > self.now_ms), "a deadline that never passes");
        }
        self.now_ms = end;
        // What was held back, as a shard does.
        self.call(|_, fx| fx.release());
    }

    /// What a connection received since this was last asked: texts without the `4`, and binaries in
    /// brackets.
    pub(super) fn take(&mut self, name: Name) -> Vec<String> {
        std::mem::take(&mut self.connections[name].received)
    }

    pub(super) fn is_admitted(&self, name: Name) -> bool {
        self.connections[name].is_admitted
    }

    /// Whether it was closed as those are that break the protocol.
    pub(super) fn is_closed(&self, name: Name) -> bool {
        let closed = self.connections[name].closed;
        assert!(closed.is_none_or(|close| close == CLOSE));
        closed.is_some()
    }

    pub(super) fn is_seated(&self, name: Name) -> bool {
        self.connections[name].is_seated
    }

    pub(super) fn is_listening(&self, name: Name) -> bool {
        self.connections[name].receiver.cursor.is_some()
    }
}

impl Connection {
    /// Takes what is sent, and checks that attachments follow their packets.
    fn read(&mut self, history: &History) {
        for sent in self.receiver.send(history) {
            if !sent.is_text {
                assert!(self.due > 0, "an attachment of nothing");
                self.due -= 1;
                self.received.push(format!("{:?}", sent.payload));
                continue;
            }
            assert_eq!(self.due, 0, "a text where an attachment is due");
            let text = sent.into_text();
            let text = text.strip_prefix('4').expect("a message of Engine.IO");
            if text.starts_with(['5', '6']) {
                let (count, _) = text[1..].split_once('-').expect("a number of attachments");
                self.due = count.parse().expect("a number");
            }
            self.received.push(text.to_owned());
        }
        assert_eq!(self.due, 0, "attachments are missing");
    }
}

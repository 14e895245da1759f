//! A shard in miniature, for tests of state machines: one machine, its members, a disk, a journal, and
//! a clock that the test turns.

use std::collections::VecDeque;
use std::sync::Arc;

use super::fake_storage::FakeStorage;
use super::receiver::{Receiver, Sent};
use super::{Config, Hello, Machine, Message};
use crate::session::effects::Effect;
use crate::session::journal::Entries;
use crate::session::{
    Close, Counters, Effects, History, Instant, MemberId, Now, Outcome, RingPool,
};

/// A member; names stay valid after it is gone.
pub(super) type Name = usize;

/// The wall clock when the first process begins.
pub(super) const EPOCH_MS: u64 = 1_700_000_000_000;

/// Calls of deadlines after which something is always due.
const CALLS_MAX: u32 = 100_000;

/// A machine and everything around it.
pub(super) struct Miniature<M> {
    pub(super) machine: M,
    pub(super) config: Arc<Config>,
    pub(super) counters: Counters,
    pub(super) storage: FakeStorage,
    /// Nothing can be recorded.
    pub(super) is_read_only: bool,
    /// The storage answers only when the test says so.
    pub(super) holds_storage: bool,
    members: Vec<Member>,
    history: History,
    pool: RingPool,
    outcome: Outcome,
    now_us: u64,
    random: u64,
    /// Holds after each call.
    invariants: fn(&M),
}

/// A connection.
#[derive(Default)]
pub(super) struct Member {
    id: Option<MemberId>,
    receiver: Receiver,
    /// What it was sent and the test has not looked at.
    sent: VecDeque<Sent>,
    /// It does not read.
    pub(super) is_stuck: bool,
    /// The server has closed it.
    pub(super) is_closed: bool,
}

impl<M: Machine> Miniature<M> {
    /// The process that the storage counts, with a machine that nobody is in; it is told of what was
    /// recorded, if anything was.
    pub(super) fn start(
        machine: M,
        config: Arc<Config>,
        storage: FakeStorage,
        recorded: Entries,
        invariants: fn(&M),
    ) -> Self {
        let mut shard = Self {
            machine,
            config,
            counters: Counters::default(),
            now_us: u64::from(storage.epoch()) * 1_000_000,
            storage,
            is_read_only: false,
            holds_storage: false,
            members: Vec::new(),
            history: History::new(),
            pool: RingPool::default(),
            outcome: Outcome::default(),
            random: 1,
            invariants,
        };
        if !recorded.is_empty() {
            shard.call(|machine, fx| machine.on_recovered(recorded, fx));
        }
        shard
    }

    /// What the test decides by chance follows from this seed.
    pub(super) fn seed(&mut self, seed: u64) {
        self.random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    }

    /// A number below `bound`.
    pub(super) fn pick(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) as usize % bound
    }

    /// Somebody opens a connection.
    pub(super) fn enter(&mut self, hello: Hello) -> Name {
        let name = self.members.len();
        // Used again as soon as it is free, as a shard does.
        let is_free = |id: &MemberId| self.name(*id).is_none();
        let id = (0..).map(MemberId).find(is_free).expect("one is free");
        self.members.push(Member { id: Some(id), ..Member::default() });
        self.call(|machine, fx| machine.on_enter(id, hello, fx)).expect("enters");
        name
    }

    /// A member sends a message that may not be in order.
    pub(super) fn offer(&mut self, name: Name, message: Message<'_>) -> Result<(), Close> {
        let id = self.members[name].id.expect("is there");
        self.call(|machine, fx| machine.on_message(id, message, fx))
    }

    pub(super) fn member(&mut self, name: Name) -> &mut Member {
        &mut self.members[name]
    }

    /// The first of what a member was sent.
    pub(super) fn next_sent(&mut self, name: Name) -> Option<Sent> {
        self.members[name].sent.pop_front()
    }

    /// What a member was sent since the last time.
    pub(super) fn take_sent(&mut self, name: Name) -> Vec<Sent> {
        self.members[name].sent.drain(..).collect()
    }

    /// A member's connection ends.
    pub(super) fn end(&mut self, name: Name) {
        if let Some(id) = self.members[name].id.take() {
            self.members[name].receiver = Receiver::default();
            self.call(|machine, fx| machine.on_leave(id, 1006, fx));
        }
    }

    /// Time passes; deadlines are met.
    pub(super) fn pass(&mut self, ms: u64) {
        let end_us = self.now_us + ms * 1_000;
        let mut calls = 0;
        while let Some(due) = self.machine.deadline().filter(|due| due.as_micros() <= end_us) {
            self.now_us = self.now_us.max(due.as_micros());
            self.call(|machine, fx| machine.on_deadline(fx));
            calls += 1;
            assert!(calls < CALLS_MAX, "something is always due");
        }
        self.now_us = end_us;
    }

    /// Settings change.
    pub(super) fn configure(&mut self, config: Config) {
        let config = Arc::new(config);
        self.call(|machine, fx| machine.on_configured(&config, fx));
    }

    pub(super) fn checkpoint(&mut self) {
        self.call(|machine, fx| machine.on_checkpoint(fx));
    }

    pub(super) fn stop(&mut self) {
        self.call(|machine, fx| machine.on_drain(fx));
    }

    pub(super) fn is_over(&self) -> bool {
        self.machine.is_over()
    }

    pub(super) fn describe(&self) -> String {
        self.machine.describe()
    }

    /// The storage answers.
    pub(super) fn answer_storage(&mut self) {
        while let Some(answer) = self.storage.next_answer() {
            self.call_once(|machine, fx| answer.tell(machine, fx));
        }
    }

    /// Whether the journal has something that no record has.
    pub(super) fn needs_journal(&self) -> bool {
        self.storage.needs_journal()
    }

    /// All that was recorded so far, whether or not it is stored meanwhile.
    pub(super) fn recorded(&self) -> Entries {
        self.storage.recorded()
    }

    /// What of it the journal still has.
    pub(super) fn journal(&self) -> Entries {
        self.storage.remaining()
    }

    fn call<R>(&mut self, act: impl FnOnce(&mut dyn Machine, &mut Effects<'_>) -> R) -> R {
        let result = self.call_once(act);
        if !self.holds_storage {
            self.answer_storage();
        }
        result
    }

    /// One call of the machine and what follows from it here.
    fn call_once<R>(&mut self, act: impl FnOnce(&mut dyn Machine, &mut Effects<'_>) -> R) -> R {
        self.pick(1);
        let wall_ms = EPOCH_MS + self.now_us / 1_000;
        let now = Now { at: Instant::from_micros(self.now_us), wall_ms };
        self.outcome.clear();
        let recorder = self.storage.recorder(self.is_read_only);
        let (history, pool) = (&mut self.history, &mut self.pool);
        let mut fx =
            Effects::new(now, self.random, &self.counters, history, pool, &mut self.outcome)
                .with_recorder(recorder);
        let result = act(&mut self.machine, &mut fx);
        (self.invariants)(&self.machine);
        let closed = self.take_effects();
        self.flush();
        for name in closed {
            self.members[name].is_closed = true;
            self.end(name);
        }
        result
    }

    /// Does what the machine asked for; whom it closes.
    fn take_effects(&mut self) -> Vec<Name> {
        let mut closed = Vec::new();
        for effect in std::mem::take(&mut self.outcome.effects) {
            match effect {
                Effect::Reply { to, at, start, end } => {
                    if let Some(name) = self.name(to) {
                        let bytes = &self.outcome.bytes[start..end];
                        self.members[name].receiver.outbox.push(at, &[bytes]);
                    }
                }
                Effect::Share { to, at, bytes } => {
                    if let Some(name) = self.name(to) {
                        self.members[name].receiver.outbox.push(at, &[&bytes]);
                    }
                }
                Effect::Listen { member, from } => {
                    if let Some(name) = self.name(member) {
                        self.members[name].receiver.cursor.get_or_insert(from);
                    }
                }
                Effect::Unlisten { member, at } => {
                    if let Some(name) = self.name(member) {
                        let Receiver { outbox, cursor } = &mut self.members[name].receiver;
                        if let Some(from) = cursor.take() {
                            outbox.unlisten(from, at, &self.history);
                        }
                    }
                }
                Effect::Skip { member, from, to } => {
                    if let Some(name) = self.name(member) {
                        self.members[name].receiver.skip(from, to);
                    }
                }
                Effect::Close { member, .. } => closed.extend(self.name(member)),
                Effect::Load { ticket, records } => self.storage.load(ticket, &records),
                Effect::Store { record, content, base } => {
                    self.storage.store(record, content, base);
                }
                Effect::Blob { id, request } => self.storage.do_blob(&id, request),
                Effect::Admit { .. } => {}
                effect => panic!("nobody here asks for {effect:?}"),
            }
        }
        closed
    }

    /// Sends what was said to everybody who reads.
    pub(super) fn flush(&mut self) {
        for member in self.members.iter_mut().filter(|it| it.id.is_some()) {
            if member.is_stuck {
                // A shard does it when there is more of it.
                let Receiver { outbox, cursor } = &mut member.receiver;
                if let Some(cursor) = cursor.as_mut() {
                    outbox.condense(cursor, &self.history);
                }
            } else {
                member.sent.extend(member.receiver.send(&self.history));
            }
        }
        self.history.trim(self.history.head(), &mut self.pool);
    }

    fn name(&self, id: MemberId) -> Option<Name> {
        self.members.iter().position(|member| member.id == Some(id))
    }
}

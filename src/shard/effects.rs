//! Draining: what a machine asked for in one call is done before the next input is looked at.

use smallvec::SmallVec;

use super::Shard;
use super::connections::Phase;
use super::sessions::Session;
use crate::net::{GENERATION_MASK, Token, Transport};
use crate::session::effects::{Effect, Outcome};
use crate::session::{Close, MemberId, Position};
use crate::storage::{
    Answer, Busy, FileError, Operation, Outcome as StorageOutcome, Request, Ticket,
};

impl<T: Transport> Shard<T> {
    pub(super) fn drain_effects(&mut self, session: u32, mut outcome: Outcome) {
        let mut closes: SmallVec<[(u32, Close); 4]> = SmallVec::new();
        let mut effects = std::mem::take(&mut outcome.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Close { member, close } => closes.push((member.0, close)),
                effect => self.apply(session, effect, &outcome.bytes),
            }
        }
        outcome.effects = effects;
        outcome.clear();
        self.outcome = outcome;
        self.after_call(session);
        for (index, close) in closes {
            if self.is_member(session, index) {
                self.close_member(index, close);
            }
        }
    }

    fn apply(&mut self, session: u32, effect: Effect, arena: &[u8]) {
        match effect {
            Effect::Reply { to, at, start, end } if self.is_member(session, to.0) => {
                if let Some(outbox) = self.outbox(to.0) {
                    outbox.push(at, &[&arena[start..end]]);
                }
                self.mark_dirty(to.0);
            }
            Effect::Share { to, at, bytes } if self.is_member(session, to.0) => {
                if let Some(outbox) = self.outbox(to.0) {
                    outbox.push_shared(at, bytes);
                }
                self.mark_dirty(to.0);
            }
            Effect::Relay { to, at, bytes } if self.is_member(session, to.0) => {
                if let Some(outbox) = self.outbox(to.0) {
                    outbox.push_relayed(at, bytes);
                }
                self.mark_dirty(to.0);
            }
            Effect::Admit { member } if self.is_member(session, member.0) => {
                if let Some((_, seat)) = self.seat_of(member.0) {
                    seat.admitted = true;
                }
                self.set_connection_timer(member.0);
            }
            Effect::Listen { member, from } if self.is_member(session, member.0) => {
                if let Some(connection) = self.connections.get_mut(member.0) {
                    let cursor = connection.cursor.get().unwrap_or(from);
                    connection.cursor.set(Some(cursor));
                }
            }
            Effect::Unlisten { member, at } if self.is_member(session, member.0) => {
                self.unlisten(member.0, session, at);
            }
            Effect::Skip { member, from, to } if self.is_listening(session, member) => {
                self.skip(member.0, from, to);
            }
            Effect::Transfer { member, key, carry, at } if self.is_member(session, member.0) => {
                self.transfer(member.0, key, carry, at);
            }
            Effect::Tell { key, body } => self.tell(session, key, body),
            Effect::Load { ticket, records } => {
                self.ask_storage(session, ticket, Operation::Load { records });
            }
            Effect::Store { record, content, base } => {
                self.stores_pending += 1;
                let number = base.unwrap_or(0);
                self.ask_storage(session, number, Operation::Store { record, content });
            }
            Effect::Blob { id, request } => self.on_blob_request(session, &id, request),
            Effect::Post { url, body } => {
                self.ask_storage(session, 0, Operation::Post { url, body });
            }
            Effect::Latency { start, end, ms } => {
                if let Ok(address) = std::str::from_utf8(&arena[start..end]) {
                    self.reports.on_latency(address, ms);
                }
            }
            // For members that have gone in the meantime.
            _ => {}
        }
    }

    /// Leaves history out for one member. If it is next to be sent, the member's cursor moves over
    /// it at once: otherwise nothing would ever be sent that takes the cursor along.
    fn skip(&mut self, index: u32, from: Position, to: Position) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        if connection.cursor.get() == Some(from) && !connection.has_output() {
            connection.cursor.set(Some(to));
        } else if let Some(outbox) = self.outbox(index) {
            outbox.push_skip(from, to);
        }
    }

    /// What follows every call: the session's timer, its place among the dirty ones, its end.
    fn after_call(&mut self, index: u32) {
        let Some(session) = self.sessions.get_mut(index) else { return };
        self.wheel.set(session.timer, session.deadline());
        if !session.dirty && !session.history.is_empty() {
            session.dirty = true;
            self.dirty_sessions.push(index);
        }
        if session.members.is_empty() && session.machine.is_over() {
            self.remove_session(index);
        }
    }

    fn remove_session(&mut self, index: u32) {
        if let Some(session) = self.take_session(index) {
            self.close_journal(session);
        }
    }

    fn take_session(&mut self, index: u32) -> Option<Session> {
        let mut session = self.sessions.remove(index)?;
        self.wheel.remove(session.timer);
        self.counters.sessions.decrement();
        self.give_up_blobs(session.blobs.take());
        Some(session)
    }

    /// A machine panicked: its session ends, its members are told to come back, and nobody else
    /// notices.
    pub(super) fn end_after_panic(&mut self, index: u32) {
        self.counters.panics.increment();
        let Some(session) = self.sessions.get(index) else { return };
        let (restart, members) = (session.protocol.restart, session.members.clone());
        log::error!(
            scope = "session", event = "panic", protocol = session.protocol.name;
            "a session ended by a fault of its own; its {} members are closed with {}",
            members.len(), restart.code
        );
        for member in members {
            self.unseat(member);
            self.close_unseated(member, restart);
        }
        if let Some(session) = self.take_session(index) {
            self.on_fallen(session);
        }
    }

    fn is_member(&self, session: u32, index: u32) -> bool {
        self.connections.get(index).is_some_and(|connection| {
            matches!(&connection.phase, Phase::Member(seat) if seat.session == session)
        })
    }

    fn is_listening(&self, session: u32, member: MemberId) -> bool {
        self.is_member(session, member.0)
            && self.connections.get(member.0).is_some_and(|member| member.cursor.get().is_some())
    }

    /// Asks the storage for work on a session; whether it was, or has too much to do. It answers in
    /// either case.
    pub(super) fn ask_storage(&mut self, session: u32, number: u32, operation: Operation) -> bool {
        self.submit(self.owner_session(session), number, operation)
    }

    /// Answers a session in the storage's place.
    pub(super) fn answer_session(&mut self, session: u32, number: u32, outcome: StorageOutcome) {
        let ticket = self.ticket(self.owner_session(session), number);
        self.refused.push_back(Answer { ticket, outcome });
    }

    fn owner_session(&self, session: u32) -> Owner {
        let generation = self.sessions.get(session).map_or(0, |session| session.generation);
        Owner::Session { index: session, generation }
    }

    fn ticket(&self, owner: Owner, number: u32) -> Ticket {
        Ticket { shard: self.config.index as u16, owner: owner.pack(), number }
    }

    /// Asks the storage for work on a connection's exchange.
    pub(super) fn ask_files(&mut self, index: u32, operation: Operation) {
        self.submit(self.owner_connection(index), 0, operation);
    }

    /// What comes back with the answer to something that is asked for a connection.
    pub(super) fn ticket_of(&self, index: u32) -> Ticket {
        self.ticket(self.owner_connection(index), 0)
    }

    fn owner_connection(&self, index: u32) -> Owner {
        let generation = self.connections.get(index).map_or(0, |found| found.generation);
        Owner::Connection(Token { index, generation })
    }

    /// Tells the storage something that is not answered.
    pub(super) fn tell_files(&mut self, operation: Operation) {
        self.submit(Owner::Connection(Token { index: u32::MAX, generation: 0 }), 0, operation);
    }

    fn submit(&mut self, owner: Owner, number: u32, operation: Operation) -> bool {
        let ticket = self.ticket(owner, number);
        let Err(Busy(request)) = self.storage.submit(Request { ticket, operation }) else {
            return true;
        };
        self.counters.storage_errors.increment();
        // Not answered at once: callers see one order of events.
        let outcome = refused(request.operation);
        self.refused.extend(outcome.map(|outcome| Answer { ticket, outcome }));
        false
    }

    /// Blocking work is done: its result goes to the session or connection that asked.
    pub(super) fn on_storage(&mut self, answer: Answer) {
        match (Owner::unpack(answer.ticket.owner), answer.outcome) {
            (_, StorageOutcome::Removed(result)) => self.on_removed(result),
            (Owner::Session { index, generation }, outcome) => {
                if matches!(outcome, StorageOutcome::Stored { .. }) {
                    self.stores_pending = self.stores_pending.saturating_sub(1);
                }
                let present = self.sessions.get(index).map(|session| session.generation);
                if present == Some(generation) {
                    self.on_session_outcome(index, answer.ticket.number, outcome);
                } else {
                    self.forget_outcome(outcome);
                }
            }
            (Owner::Connection(token), outcome) => self.on_file_outcome(token, outcome),
        }
    }

    fn on_session_outcome(&mut self, session: u32, number: u32, outcome: StorageOutcome) {
        match outcome {
            StorageOutcome::Loaded(records) => {
                self.call(session, |machine, fx| machine.on_loaded(number, records, fx));
            }
            StorageOutcome::Stored { record, result } => {
                match &result {
                    Ok(()) => self.trim_journal(session, number),
                    Err(error) => {
                        self.counters.storage_errors.increment();
                        log::error!(scope = "session", event = "store-failed"; "{error}");
                    }
                }
                self.call(session, |machine, fx| machine.on_stored(&record, result, fx));
            }
            StorageOutcome::Posted(result) => {
                self.call(session, |machine, fx| machine.on_posted(result, fx));
            }
            outcome => self.on_blob_outcome(session, number, outcome),
        }
    }
}

/// What an operation that the storage had no room for is answered with.
fn refused(operation: Operation) -> Option<StorageOutcome> {
    let busy = || "the storage is overloaded".to_owned();
    let error = FileError::TooMany;
    Some(match operation {
        Operation::PutBegin { .. } => StorageOutcome::Begun(Err(error)),
        Operation::PutChunk { bytes, .. } => StorageOutcome::Written { result: Err(error), bytes },
        Operation::PutCommit { .. } => StorageOutcome::Committed(Err(error)),
        Operation::GetOpen { .. } => StorageOutcome::Opened(Err(error)),
        Operation::GetRead { buffer, .. } => StorageOutcome::Read { result: Err(error), buffer },
        Operation::Stat { .. } => StorageOutcome::Stat(Err(error)),
        Operation::GetRange { .. } => StorageOutcome::Range(Err(error)),
        Operation::Remove { .. } => StorageOutcome::Removed(Err(error)),
        Operation::Load { .. } => StorageOutcome::Loaded(Err(busy())),
        Operation::Store { record, .. } => StorageOutcome::Stored { record, result: Err(busy()) },
        Operation::Post { .. } => StorageOutcome::Posted(Err(busy())),
        Operation::PutAbort { .. } | Operation::GetClose { .. } => return None,
    })
}

/// The connection that something was asked for.
pub(super) fn asker_of(ticket: Ticket) -> Option<Token> {
    match Owner::unpack(ticket.owner) {
        Owner::Connection(token) => Some(token),
        Owner::Session { .. } => None,
    }
}

/// Who asked the storage, packed into the ticket's 64 bits: sessions have the top bit set.
enum Owner {
    Session { index: u32, generation: u32 },
    Connection(Token),
}

impl Owner {
    const SESSION: u64 = 1 << 63;

    fn pack(&self) -> u64 {
        match *self {
            Self::Session { index, generation } => {
                Self::SESSION | u64::from(generation & GENERATION_MASK) << 32 | u64::from(index)
            }
            Self::Connection(Token { index, generation }) => {
                u64::from(generation) << 32 | u64::from(index)
            }
        }
    }

    fn unpack(packed: u64) -> Self {
        let index = packed as u32;
        let generation = (packed >> 32) as u32 & GENERATION_MASK;
        if packed & Self::SESSION == 0 {
            Self::Connection(Token { index, generation })
        } else {
            Self::Session { index, generation }
        }
    }
}

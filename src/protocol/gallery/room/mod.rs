//! A room: who is in it, what they say to each other, and what they have made of it.

mod keep;
mod members;
mod talk;

use std::sync::Arc;
use std::time::Duration;

use super::carry::{ConnId, Said, Terms, ToHall, ToRoom, Visit, pack, unpack};
use super::hall::text_of;
use super::state::{Change, State};
use super::user::{Role, User};
use super::{CONFUSED, Config, HALL, encode};
use crate::protocol::keeper::Keeper;
use crate::protocol::pending::{Input, Pending};
use crate::protocol::{self, Hello, Loaded, Machine, Message};
use crate::session::effects::RecordName;
use crate::session::journal::Entries;
use crate::session::map::Map;
use crate::session::{Close, Effects, Instant, MemberId};

/// A room.
#[derive(Debug)]
pub(super) struct Room {
    id: Box<str>,
    config: Arc<protocol::Config>,
    durable: bool,
    /// None while there is no room, only a session.
    terms: Option<Terms>,
    /// The last member that the hall has sent.
    sequence: u64,
    /// The last member after which the hall was told that nobody is in.
    reported: u64,
    state: State,
    /// The epoch of the room that the state is of; 0 for none.
    epoch: u64,
    /// Each by itself: a table that is half empty holds only pointers.
    seats: Map<MemberId, Box<Seat>>,
    kept: Vec<Kept>,
    next_serial: u64,
    /// What came before the stored state was loaded.
    pending: Option<Pending>,
    /// What is in the journal and in no record, until the record is loaded.
    recovered: Option<Entries>,
    keeper: Keeper,
    /// What the journal has and no record, in bytes.
    unstored_bytes: usize,
    /// What the member whose message is being looked at has said behind it.
    said: Said,
    /// The process stops: what is stored stays as it is.
    drained: bool,
}

/// A member.
#[derive(Debug)]
struct Seat {
    conn: ConnId,
    /// The order of joining.
    serial: u64,
    user: User,
    seen_ms: u64,
    claim: Option<Role>,
    /// What it said since it asked the hall something; the answer comes first.
    asking: Option<Box<Said>>,
}

/// The place of a replaced connection, until the new one takes it.
#[derive(Debug)]
struct Kept {
    serial: u64,
    user: User,
    seen_ms: u64,
    until: Instant,
}

impl Room {
    /// The session of the room `id`, which is made when its first member comes.
    pub(super) fn new(id: Box<str>, config: Arc<protocol::Config>, durable: bool) -> Self {
        Self {
            id,
            config,
            durable,
            terms: None,
            sequence: 0,
            reported: 0,
            state: State::default(),
            epoch: 0,
            seats: Map::default(),
            kept: Vec::new(),
            next_serial: 0,
            pending: None,
            recovered: None,
            keeper: Keeper::default(),
            unstored_bytes: 0,
            said: Said::new(),
            drained: false,
        }
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn invariants(&self) {
        self.state.invariants();
        assert!(self.said.is_empty());
        let mut users: Vec<_> = self.seats.values().map(|seat| seat.user.id()).collect();
        users.extend(self.kept.iter().map(|kept| kept.user.id()));
        let count = users.len();
        users.sort();
        users.dedup();
        assert_eq!(users.len(), count, "a user is there twice");
        match &self.terms {
            Some(terms) => assert!(count <= terms.users_max as usize),
            None => assert_eq!(count, 0),
        }
        let is_empty = count == 0 && self.pending.is_none() && self.terms.is_some();
        assert!(!is_empty || self.reported == self.sequence, "the hall does not know");
    }

    fn config(&self) -> &Config {
        &self.config.gallery
    }

    fn is_empty(&self) -> bool {
        self.seats.is_empty() && self.kept.is_empty() && self.pending.is_none()
    }

    fn handle(&mut self, input: Input, fx: &mut Effects<'_>) -> Result<(), Close> {
        let result = match &mut self.pending {
            // It cannot be sent back any more, should it be refused.
            Some(pending) if let Input::Left(member) = input => {
                let visit = pending.withdraw(member).and_then(|hello| unpack(&hello.carry));
                if let Some(Visit { conn, sequence, .. }) = visit {
                    self.sequence = self.sequence.max(sequence);
                    tell(&ToHall::Left(conn), fx);
                }
                Ok(())
            }
            Some(pending) => pending.push(input),
            None => self.act(input, fx),
        };
        self.settle(fx);
        result
    }

    fn act(&mut self, input: Input, fx: &mut Effects<'_>) -> Result<(), Close> {
        match input {
            Input::Enter(member, hello) => self.enter(member, hello, fx),
            Input::Said(member, text) => self.hear(member, &text, fx),
            Input::Left(member) => {
                if let Some(seat) = self.leave(member, fx) {
                    tell(&ToHall::Left(seat.conn), fx);
                }
                Ok(())
            }
            Input::Told(_, body) => {
                match unpack(&body) {
                    Some(told) => self.on_hall_told(told, fx),
                    None => debug_assert!(false, "the hall said what it never says"),
                }
                Ok(())
            }
        }
    }

    /// A member comes from the hall.
    fn enter(&mut self, member: MemberId, hello: Hello, fx: &mut Effects<'_>) -> Result<(), Close> {
        let visit: Visit = unpack(&hello.carry).ok_or(CONFUSED)?;
        let epoch = self.terms.as_ref().map_or(0, |terms| terms.epoch);
        if visit.terms.epoch > epoch {
            if self.is_empty() {
                if self.begin(visit.terms.clone()) {
                    self.load(Some(Input::Enter(member, hello)), fx);
                    return Ok(());
                }
            } else if let Some(terms) = &mut self.terms {
                // The hall was lost by a fault and has made the room anew, around who is here.
                terms.epoch = visit.terms.epoch;
                self.epoch = terms.epoch;
                (self.sequence, self.reported) = (0, 0);
                if self.keeps_records() {
                    // What was recorded before is of another epoch.
                    self.keeper.touch(fx.at(), Duration::ZERO);
                }
            }
        }
        self.sequence = self.sequence.max(visit.sequence);
        self.admit(member, visit, fx)
    }

    fn on_hall_told(&mut self, told: ToRoom, fx: &mut Effects<'_>) {
        match told {
            ToRoom::Replaced(conn) => self.keep_place(conn, fx),
            ToRoom::Release(user_id) => {
                self.give_up_places(|kept| *kept.user.id() == *user_id, fx);
            }
            ToRoom::Answer(conn, text) => self.on_answer(conn, &text, fx),
            ToRoom::Close { epoch, sequence } => {
                let is_this = self.terms.as_ref().is_some_and(|terms| terms.epoch == epoch)
                    && self.sequence == sequence;
                if is_this && self.is_empty() {
                    self.end();
                }
            }
            ToRoom::Remove { epoch, persistent } => {
                let is_this = self.terms.as_ref().is_none_or(|terms| terms.epoch == epoch);
                if is_this && self.seats.is_empty() {
                    self.kept.clear();
                    if persistent && self.durable {
                        self.forget(epoch, fx);
                    } else {
                        self.end();
                    }
                }
            }
        }
    }
}

impl Machine for Room {
    fn on_enter(
        &mut self,
        member: MemberId,
        hello: Hello,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        self.handle(Input::Enter(member, hello), fx)
    }

    fn on_message(
        &mut self,
        member: MemberId,
        message: Message<'_>,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let text = text_of(&message);
        if self.pending.is_some() {
            return self.handle(Input::Said(member, text.into()), fx);
        }
        let result = self.hear(member, text, fx);
        self.settle(fx);
        result
    }

    fn on_leave(&mut self, member: MemberId, _: u16, fx: &mut Effects<'_>) {
        // Cannot be refused: it takes no room.
        let _ = self.handle(Input::Left(member), fx);
    }

    fn on_told(&mut self, from: &str, body: &[u8], fx: &mut Effects<'_>) {
        let _ = self.handle(Input::Told(from.into(), body.into()), fx);
    }

    fn on_loaded(&mut self, _: u32, records: Loaded, fx: &mut Effects<'_>) {
        self.on_record(records, fx);
        self.settle(fx);
    }

    fn on_recovered(&mut self, entries: Entries, fx: &mut Effects<'_>) {
        self.recover(entries, fx);
    }

    fn on_checkpoint(&mut self, fx: &mut Effects<'_>) {
        if self.recovered.is_some() {
            return self.load(None, fx);
        }
        self.keeper.touch(fx.at(), Duration::ZERO);
        self.settle(fx);
    }

    fn on_stored(&mut self, _: &RecordName, result: Result<(), String>, fx: &mut Effects<'_>) {
        self.keeper.end(result.is_ok(), fx.at());
        self.settle(fx);
    }

    fn on_deadline(&mut self, fx: &mut Effects<'_>) {
        let (now, max) = (fx.at(), self.config().state_bytes_max);
        let _ = self.state.apply(Change::Expire, now, max);
        self.give_up_places(|kept| kept.until <= now, fx);
        self.settle(fx);
    }

    fn deadline(&self) -> Option<Instant> {
        if self.drained {
            return None;
        }
        let places = self.kept.iter().map(|kept| kept.until);
        let store_at = self.keeper.deadline().filter(|_| self.may_store());
        places.chain(self.state.deadline()).chain(store_at).min()
    }

    fn on_drain(&mut self, fx: &mut Effects<'_>) {
        if self.may_store() && !self.keeper.is_clean() {
            self.store(fx);
        }
        self.drained = true;
    }

    /// What is stored need not stay in memory; a room that is not persistent is the hall's to close.
    fn is_over(&self) -> bool {
        let is_stored = self.recovered.is_none() && self.keeper.is_clean();
        self.is_empty() && is_stored && (self.terms.is_none() || self.keeps_records())
    }

    fn describe(&self) -> String {
        format!("{} {}", self.id, self.seats.len())
    }

    fn users(&self) -> String {
        self.users_json()
    }
}

fn tell(what: &ToHall, fx: &mut Effects<'_>) {
    fx.tell(HALL.to_owned(), pack(what));
}

//! The hall: where every connection enters and waits until it joins a room, and whoever creates,
//! finds and deletes rooms.

mod doors;
mod rooms;

use std::sync::Arc;
use std::time::Duration;

use super::carry::{ConnId, Said, ToRoom, pack};
use super::creations::Creations;
use super::decode::{self, Action, INVALID_MESSAGE};
use super::directory::{Directory, Recorded};
use super::user::User;
use super::{Config, OVERLOADED, encode, room_key};
use crate::protocol::keeper::Keeper;
use crate::protocol::pending::{Input, Pending};
use crate::protocol::{self, Hello, Loaded, Machine, Message, Removal};
use crate::session::effects::RecordName;
use crate::session::frame::FrameKind;
use crate::session::journal::Entries;
use crate::session::map::Map;
use crate::session::{Close, Effects, Instant, MemberId};

/// How often rooms that nobody joins are looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// How long an empty hall stays: numbers follow the clock, and the next hall's must be larger.
const LINGER: Duration = Duration::from_secs(1);
/// How many characters of a name the server makes are random.
const RANDOM_CHARS: usize = 9;

/// The hall.
#[derive(Debug)]
pub(super) struct Hall {
    config: Arc<protocol::Config>,
    directory: Directory,
    creations: Creations,
    seats: Map<MemberId, Seat>,
    /// What came before the stored directory was loaded; none once it is.
    pending: Option<Pending>,
    /// What is in the journal and in no record, until the record is loaded.
    recovered: Option<Entries>,
    keeper: Keeper,
    durable: bool,
    sweep_at: Option<Instant>,
    /// When nobody was there any more.
    empty_since: Option<Instant>,
    is_over: bool,
    /// What the member whose message is being looked at has said behind it.
    said: Said,
}

/// A connection that is in no room.
#[derive(Debug)]
struct Seat {
    conn: ConnId,
    user: User,
}

impl Hall {
    /// An empty hall, which looks for stored rooms first if there can be any.
    pub(super) fn new(config: Arc<protocol::Config>, durable: bool) -> Self {
        Self {
            config,
            directory: Directory::default(),
            creations: Creations::default(),
            seats: Map::default(),
            pending: durable.then(Pending::default),
            recovered: None,
            keeper: Keeper::default(),
            durable,
            sweep_at: None,
            empty_since: None,
            is_over: false,
            said: Said::new(),
        }
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn invariants(&mut self) {
        assert!(self.said.is_empty());
        self.directory.invariants();
        for (&member, seat) in &self.seats {
            let conn = self.directory.conn(seat.conn).expect("who has a seat is known");
            assert_eq!(conn.place, super::directory::Place::Hall(member));
        }
    }

    fn config(&self) -> &Config {
        &self.config.gallery
    }

    /// Lets an input wait if the directory is not loaded yet; else gives it back.
    fn defer(&mut self, input: Input, fx: &mut Effects<'_>) -> Result<Option<Input>, Close> {
        let Some(pending) = &mut self.pending else { return Ok(Some(input)) };
        pending.ask(directory_name, fx);
        if let Input::Left(member) = input {
            // What it said must not send it anywhere any more.
            pending.withdraw(member);
            return Ok(None);
        }
        pending.push(input).map(|()| None)
    }

    fn handle(&mut self, input: Input, fx: &mut Effects<'_>) -> Result<(), Close> {
        let result = match self.defer(input, fx) {
            Ok(Some(input)) => self.act(input, fx),
            Ok(None) => Ok(()),
            Err(close) => Err(close),
        };
        self.settle(fx);
        result
    }

    fn act(&mut self, input: Input, fx: &mut Effects<'_>) -> Result<(), Close> {
        match input {
            Input::Enter(member, hello) if hello.carry.is_empty() => {
                self.welcome(member, &hello, fx)
            }
            Input::Enter(member, hello) => self.take_back(member, &hello, fx),
            Input::Said(member, text) => {
                self.hear(member, &text, fx);
                Ok(())
            }
            Input::Left(member) => {
                if let Some(seat) = self.seats.remove(&member) {
                    self.forget(seat.conn, fx);
                }
                Ok(())
            }
            Input::Told(from, body) => {
                self.on_room_told(&from, &body, fx);
                Ok(())
            }
        }
    }

    /// Stores what is due and tells the counters.
    fn settle(&mut self, fx: &mut Effects<'_>) {
        let is_known = self.pending.is_none();
        if is_known && self.keeper.begin(fx.at()) {
            fx.store_base(directory_name(), self.directory.stored());
        }
        if self.directory.rooms() > 0 {
            self.sweep_at.get_or_insert_with(|| fx.at() + SWEEP);
        }
        let waits = self.pending.as_ref().is_some_and(|pending| !pending.is_empty());
        let is_empty = self.directory.conns() + self.directory.rooms() == 0;
        let is_stored = self.recovered.is_none() && self.keeper.is_clean();
        self.empty_since =
            (is_empty && !waits && is_stored).then(|| self.empty_since.unwrap_or_else(|| fx.at()));
        self.is_over = self.empty_since.is_some_and(|since| since + LINGER <= fx.at());
        fx.counters.gallery_rooms.set(self.directory.rooms() as u64);
        fx.counters.gallery_connections.set(self.directory.conns() as u64);
    }

    /// Whoever is in no room may create one and join one; the rest is silent (§2).
    fn hear(&mut self, member: MemberId, text: &str, fx: &mut Effects<'_>) {
        let Some(conn) = self.seats.get(&member).map(|seat| seat.conn) else { return };
        let Some(request) = decode::request(text) else {
            return reply(member, &encode::error(INVALID_MESSAGE, Some("null")), fx);
        };
        let refused = match request.action {
            Action::Create => match request.create(self.config()) {
                Ok(ask) => {
                    let answer = self.create(conn, &ask, fx);
                    return reply(member, &answer, fx);
                }
                Err(why) => why.to_owned(),
            },
            Action::Join => match request.join() {
                Ok(ask) => return self.join(member, ask, fx),
                Err(why) => why.to_owned(),
            },
            Action::Leave | Action::Broadcast | Action::Send => return,
            Action::Unknown(action) => Action::complaint(action),
        };
        reply(member, &encode::error(&refused, request.id), fx);
    }

    /// Takes on what is kept; why not, if it cannot be read.
    fn restore(&mut self, records: Loaded, fx: &mut Effects<'_>) -> Result<(), String> {
        let mut directory = Directory::default();
        if let Some(record) = records?.pop().flatten() {
            directory.restore(&record, fx.now).map_err(|error| error.to_string())?;
        }
        if let Some(entries) = &self.recovered {
            let removed = directory.redo(entries, fx.now);
            for (room, epoch) in removed.map_err(|error| format!("the journal: {error}"))? {
                // It may not have heard of it.
                tell(&room, &ToRoom::Remove { epoch, persistent: true }, fx);
            }
            // Also when all was stored: the journal does not know.
            self.keeper.touch(fx.at(), Duration::ZERO);
        }
        (self.directory, self.recovered) = (directory, None);
        Ok(())
    }

    /// A persistent room has come or gone: that is recorded, and stored.
    fn keep(&mut self, what: &Recorded, fx: &mut Effects<'_>) {
        fx.record(&[&pack(what)]);
        self.keeper.touch(fx.at(), Duration::ZERO);
    }
}

impl Machine for Hall {
    fn on_open(&mut self, fx: &mut Effects<'_>) {
        if let Some(pending) = &mut self.pending {
            pending.ask(directory_name, fx);
        }
        self.settle(fx);
    }

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
        self.handle(Input::Said(member, text_of(&message).into()), fx)
    }

    fn on_leave(&mut self, member: MemberId, _: u16, fx: &mut Effects<'_>) {
        // Cannot be refused: it takes no room.
        let _ = self.handle(Input::Left(member), fx);
    }

    fn on_told(&mut self, from: &str, body: &[u8], fx: &mut Effects<'_>) {
        let _ = self.handle(Input::Told(from.into(), body.into()), fx);
    }

    fn on_loaded(&mut self, _: u32, records: Loaded, fx: &mut Effects<'_>) {
        let Some(pending) = self.pending.take() else { return };
        let inputs = pending.into_inputs();
        if let Err(why) = self.restore(records, fx) {
            log::error!(
                target: "gallery", scope = "session", event = "load-failed";
                "the list of persistent rooms cannot be read: {why}; clients are told to try again"
            );
            fx.counters.storage_errors.increment();
            self.pending = Some(Pending::default());
            for input in inputs {
                if let Input::Enter(member, _) = input {
                    fx.close(member, OVERLOADED);
                }
            }
            return self.settle(fx);
        }
        for input in inputs {
            let who = input.member();
            if let (Err(close), Some(member)) = (self.act(input, fx), who) {
                fx.close(member, close);
            }
        }
        self.settle(fx);
    }

    fn on_recovered(&mut self, entries: Entries, fx: &mut Effects<'_>) {
        self.recovered = Some(entries);
        self.on_open(fx);
    }

    fn on_checkpoint(&mut self, fx: &mut Effects<'_>) {
        match &mut self.pending {
            Some(pending) => pending.ask(directory_name, fx),
            None => self.keeper.touch(fx.at(), Duration::ZERO),
        }
        self.settle(fx);
    }

    fn on_remove(&mut self, what: &str, fx: &mut Effects<'_>) -> Removal {
        let removal = match &mut self.pending {
            Some(pending) => {
                pending.ask(directory_name, fx);
                Removal::NotReady
            }
            None => self.remove(what, fx),
        };
        self.settle(fx);
        removal
    }

    fn on_stored(&mut self, _: &RecordName, result: Result<(), String>, fx: &mut Effects<'_>) {
        self.keeper.end(result.is_ok(), fx.at());
        self.settle(fx);
    }

    fn on_deadline(&mut self, fx: &mut Effects<'_>) {
        if self.sweep_at.is_some_and(|at| at <= fx.at()) {
            self.sweep_at = None;
            let timeout_ms = self.config().room_timeout_ms;
            self.directory.sweep(fx.at(), timeout_ms);
            self.creations.sweep(fx.at());
        }
        self.settle(fx);
    }

    fn deadline(&self) -> Option<Instant> {
        let over_at = self.empty_since.map(|since| since + LINGER).filter(|_| !self.is_over);
        let store_at = self.keeper.deadline().filter(|_| self.pending.is_none());
        over_at.into_iter().chain(self.sweep_at).chain(store_at).min()
    }

    fn is_over(&self) -> bool {
        self.is_over
    }

    fn describe(&self) -> String {
        format!("hall {} rooms {} users", self.directory.rooms(), self.directory.conns())
    }

    /// The body of `/stats`.
    fn users(&self) -> String {
        self.directory.stats(self.config().hide_rooms)
    }
}

/// Where the persistent rooms are listed.
fn directory_name() -> RecordName {
    RecordName { namespace: "gallery/hall", names: vec!["rooms".to_owned()] }
}

/// What a message says; frames that are not UTF-8 say what cannot be understood either.
pub(super) fn text_of<'a>(message: &Message<'a>) -> &'a str {
    match message {
        Message::Text(text) => text,
        Message::Binary(bytes) => simdutf8::basic::from_utf8(bytes).unwrap_or_default(),
    }
}

pub(super) fn reply(member: MemberId, text: &str, fx: &mut Effects<'_>) {
    fx.reply(member, FrameKind::Text, &[text.as_bytes()]);
}

fn tell(room: &str, what: &ToRoom, fx: &mut Effects<'_>) {
    fx.tell(room_key(room), pack(what));
}

/// Characters as `Math.random().toString(36)` makes them.
fn random_name(mut random: u64) -> String {
    let mut next = || {
        let digit = (random % 36) as u32;
        random /= 36;
        char::from_digit(digit, 36).unwrap_or('0')
    };
    (0..RANDOM_CHARS).map(|_| next()).collect()
}

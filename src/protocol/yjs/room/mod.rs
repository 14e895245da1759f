//! A room: one document, who edits it, and what they are told.

mod edit;
mod enter;
mod keep;
mod sockets;
mod tell;

use std::sync::Arc;
use std::time::Duration;

use super::awareness::{Awareness, News, TooMany};
use super::census::Counted;
use super::document::Document;
use super::lobby::complain;
use super::native::{self, INVALID, Request, Visit};
use super::socketio::{self, BAD_PACKET, Socket, Trouble};
use super::{Config, LOBBY, MALFORMED, NOT_BINARY, TOO_AWARE, UNAVAILABLE, room_key, stored};
use crate::codec::lib0::Malformed;
use crate::codec::ysync::{self, Head, Message as Said, messages};
use crate::protocol::keeper::Keeper;
use crate::protocol::pending::{self, Input, Pending};
use crate::protocol::{self, Hello, Loaded, Machine, Message};
use crate::session::effects::RecordName;
use crate::session::journal::Entries;
use crate::session::map::Map;
use crate::session::{Close, Effects, Instant, MemberId, Now};
use sockets::Sockets;

/// Clients of y-websocket take a server for dead that says nothing for 30 s (§3).
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Time without updates after which a document rests.
const REST_AFTER: Duration = Duration::from_secs(60);
/// How often a room that can record nothing looks whether it can again.
const READ_ONLY_POLL: Duration = Duration::from_secs(1);
/// When the answers are due that were put off.
const NEXT_TURN: Duration = Duration::from_millis(1);

/// A room.
#[derive(Debug)]
pub(super) struct Room {
    name: Box<str>,
    config: Arc<protocol::Config>,
    durable: bool,
    _counted: Counted,
    /// Somebody was let in.
    was_used: bool,
    phase: Phase,
    document: Document,
    awareness: Awareness,
    seats: Map<MemberId, Seat>,
    /// Those of Zeal's Socket.IO form.
    sockets: Sockets,
    keeper: Keeper,
    /// What is in the journal and in no stored record.
    unstored: Unstored,
    /// Size of the stored document, in bytes.
    stored_bytes: usize,
    rest_at: Option<Instant>,
    /// When everybody is next sent something so that they know of the server.
    keep_alive_at: Option<Instant>,
    /// Members wait for an answer.
    answers_at: Option<Instant>,
    /// Updates could not be taken; when to look whether they can.
    read_only_until: Option<Instant>,
    /// When nobody was there any more.
    empty_since: Option<Instant>,
    is_over: bool,
}

/// What a room has of its document.
#[derive(Debug)]
enum Phase {
    /// Nothing, and nobody has asked.
    New { recovered: Option<Entries> },
    /// The stored record is being loaded.
    Loading { recovered: Option<Entries>, pending: Pending<Kept> },
    /// All of it.
    Open,
    /// It cannot be read: nobody may enter, and nothing is stored over it.
    Unavailable,
}

/// A member.
#[derive(Debug)]
struct Seat {
    kind: Kind,
    may_write: bool,
    /// It was told that it may not write, or that the room can take nothing.
    was_denied: bool,
    /// The turn in which it was told what it lacks.
    answered: Option<Instant>,
    /// What it has, if it is to be told what it lacks.
    asks: Option<Box<[u8]>>,
}

/// How a member talks.
#[derive(Debug)]
enum Kind {
    /// As y-websocket's clients do.
    YWebsocket,
    /// As Zeal's native clients do; its name.
    Native(Box<str>),
    /// As Zeal's Socket.IO clients do.
    Socket(Box<Socket>),
}

/// Entries of the journal that no stored record has.
#[derive(Clone, Copy, Debug, Default)]
struct Unstored {
    entries: usize,
    bytes: usize,
}

/// A message that waits for the document.
#[derive(Debug)]
enum Kept {
    Text(Box<str>),
    Binary(Box<[u8]>),
}

impl Kept {
    fn new(message: &Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text((*text).into()),
            Message::Binary(bytes) => Self::Binary((*bytes).into()),
        }
    }

    fn as_message(&self) -> Message<'_> {
        match self {
            Self::Text(text) => Message::Text(text),
            Self::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

impl pending::Bytes for Kept {
    fn len(&self) -> usize {
        self.as_message().bytes().len()
    }
}

impl Room {
    /// The session of the room `name`. It looks for a stored document when its first member comes.
    pub(super) fn new(
        name: Box<str>,
        config: Arc<protocol::Config>,
        durable: bool,
        now: Now,
    ) -> Self {
        let counted = config.yjs.census.enter();
        Self {
            name,
            _counted: counted,
            was_used: false,
            config,
            durable,
            phase: if durable { Phase::New { recovered: None } } else { Phase::Open },
            document: Document::default(),
            awareness: Awareness::default(),
            seats: Map::default(),
            sockets: Sockets::default(),
            keeper: Keeper::default(),
            unstored: Unstored::default(),
            stored_bytes: 0,
            rest_at: None,
            keep_alive_at: None,
            answers_at: None,
            read_only_until: None,
            empty_since: Some(now.at),
            is_over: false,
        }
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn invariants(&self) {
        self.document.invariants();
        self.awareness.invariants();
        let asks = self.seats.values().any(|seat| seat.asks.is_some());
        assert_eq!(self.answers_at.is_some(), asks);
        assert_eq!(self.keep_alive_at.is_none(), self.listeners() == 0);
        let sockets = self.seats.values().filter(|seat| matches!(seat.kind, Kind::Socket(_)));
        assert_eq!(self.sockets.len(), sockets.count());
    }

    fn config(&self) -> &Config {
        &self.config.yjs
    }

    fn hear(
        &mut self,
        member: MemberId,
        message: &Message<'_>,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let Some(seat) = self.seats.get(&member) else { return Ok(()) };
        let is_native = match seat.kind {
            Kind::YWebsocket => false,
            Kind::Native(_) => true,
            Kind::Socket(_) => {
                let Message::Text(text) = message else { return Err(BAD_PACKET) };
                return self.hear_socket(member, text, fx);
            }
        };
        match message {
            Message::Text(text) if is_native => {
                self.on_request(member, text, fx);
                Ok(())
            }
            Message::Text(_) => Err(NOT_BINARY),
            Message::Binary(frame) if is_native => {
                if frame.len() > self.config().native_message_bytes_max {
                    return Err(Close::new(1009, "Message too large"));
                }
                match self.on_frame(member, frame, fx) {
                    Err(close) if close == MALFORMED => {
                        complain(member, INVALID, fx);
                        Ok(())
                    }
                    result => result,
                }
            }
            Message::Binary(frame) => self.on_frame(member, frame, fx),
        }
    }

    /// A native client goes elsewhere.
    fn on_request(&mut self, member: MemberId, text: &str, fx: &mut Effects<'_>) {
        let key = match native::request(text) {
            Some(Request::Join(room)) => room_key(&room),
            Some(Request::Leave) => Some(LOBBY.to_owned()),
            None => None,
        };
        let Some(key) = key else { return complain(member, INVALID, fx) };
        let Some(seat) = self.leave(member, fx) else { return };
        let Kind::Native(id) = seat.kind else { return };
        fx.transfer(member, key, Visit { id, may_write: seat.may_write }.pack());
    }

    fn on_frame(
        &mut self,
        member: MemberId,
        frame: &[u8],
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let Some(seat) = self.seats.get(&member) else { return Ok(()) };
        for message in messages(frame, seat.kind.form()) {
            match message.map_err(malformed)? {
                Said::Step1(vector) => self.on_step1(member, vector, fx)?,
                Said::Step2(update) | Said::Update(update) => self.on_update(member, update, fx)?,
                Said::Awareness(update) => self.on_awareness(member, update, fx)?,
                Said::QueryAwareness => self.tell_everybody_there(member, fx),
                Said::Custom(json) => self.on_custom(member, json, fx)?,
                // Tokens are shown in the URL; this one is never passed on.
                Said::Auth(_) => {}
            }
        }
        Ok(())
    }

    fn on_awareness(
        &mut self,
        member: MemberId,
        update: &[u8],
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let entries = ysync::awareness(update).map_err(malformed)?;
        let heard = self.awareness.hear(member, entries, fx.at());
        let heard = heard.map_err(|TooMany| TOO_AWARE)?;
        match heard.news {
            News::All => self.say_awareness(update, heard.client, fx),
            News::Some(update) => self.say_awareness(&update, heard.client, fx),
            News::None => {}
        }
        if let Some(correction) = heard.correction {
            self.tell_awareness(member, &correction, fx);
        }
        Ok(())
    }

    /// An application's own message goes to the others; Zeal's heartbeats have come far enough.
    fn on_custom(
        &mut self,
        member: MemberId,
        json: &str,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let is_heartbeat = native::is_heartbeat(json).ok_or(MALFORMED)?;
        if !is_heartbeat {
            let head = Head::custom(json.len());
            self.tell_others(member, &[head.as_bytes(), json.as_bytes()], fx);
        }
        Ok(())
    }

    /// Takes a member out, and tells the others who is not there any more.
    fn leave(&mut self, member: MemberId, fx: &mut Effects<'_>) -> Option<Seat> {
        let seat = self.seats.remove(&member)?;
        if seat.asks.is_some() && self.seats.values().all(|seat| seat.asks.is_none()) {
            self.answers_at = None;
        }
        self.sockets.remove(member);
        if self.seats.is_empty() {
            self.empty_since = Some(fx.at());
        }
        if self.listeners() == 0 {
            self.keep_alive_at = None;
        }
        if let Some(gone) = self.awareness.leave(member, fx.at()) {
            self.say_awareness(&gone, None, fx);
        }
        Some(seat)
    }

    fn handle(&mut self, input: Input<Kept>, fx: &mut Effects<'_>) -> Result<(), Close> {
        match &mut self.phase {
            Phase::New { .. } | Phase::Loading { .. } => self.wait(input, fx),
            Phase::Unavailable => match input {
                Input::Left(member) => {
                    self.seats.remove(&member);
                    Ok(())
                }
                Input::Enter(member, hello) => {
                    if Socket::unpack(&hello.carry).is_some() {
                        socketio::complain(member, Trouble::of(UNAVAILABLE), fx);
                    }
                    Err(UNAVAILABLE)
                }
                _ => Err(UNAVAILABLE),
            },
            Phase::Open => match input {
                Input::Enter(member, hello) => self.enter(member, &hello, fx),
                Input::Said(member, kept) => self.hear(member, &kept.as_message(), fx),
                Input::Left(member) => {
                    self.leave(member, fx);
                    Ok(())
                }
                Input::Told(..) => Ok(()),
            },
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
        let result = self.handle(Input::Enter(member, hello), fx);
        self.settle(fx);
        result
    }

    fn on_message(
        &mut self,
        member: MemberId,
        message: Message<'_>,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let result = match self.phase {
            Phase::Open => self.hear(member, &message, fx),
            _ => self.handle(Input::Said(member, Kept::new(&message)), fx),
        };
        self.settle(fx);
        result
    }

    fn on_leave(&mut self, member: MemberId, _: u16, fx: &mut Effects<'_>) {
        // Cannot be refused: it takes no room.
        let _ = self.handle(Input::Left(member), fx);
        self.settle(fx);
    }

    fn on_loaded(&mut self, _: u32, records: Loaded, fx: &mut Effects<'_>) {
        self.open(records, fx);
        self.settle(fx);
    }

    fn on_recovered(&mut self, entries: Entries, fx: &mut Effects<'_>) {
        self.phase = Phase::New { recovered: Some(entries) };
        self.load(fx);
        self.settle(fx);
    }

    fn on_checkpoint(&mut self, fx: &mut Effects<'_>) {
        self.keeper.touch(fx.at(), Duration::ZERO);
        self.settle(fx);
    }

    fn on_stored(&mut self, _: &RecordName, result: Result<(), String>, fx: &mut Effects<'_>) {
        self.keeper.end(result.is_ok(), fx.at());
        self.settle(fx);
    }

    fn on_deadline(&mut self, fx: &mut Effects<'_>) {
        self.keep_alive(fx);
        if let Some(gone) = self.awareness.sweep(fx.at()) {
            self.say_awareness(&gone, None, fx);
        }
        self.work(fx);
        self.settle(fx);
    }

    fn deadline(&self) -> Option<Instant> {
        let timeout = Duration::from_millis(self.config().room_timeout_ms);
        let is_open = matches!(self.phase, Phase::Open);
        // What cannot be stored ends when it is.
        let may_end = is_open && self.is_kept() && !self.is_over;
        let ends_at = self.empty_since.filter(|_| may_end).map(|at| at + timeout);
        let store_at = self.keeper.deadline().filter(|_| is_open);
        [
            self.rest_at,
            self.keep_alive_at,
            self.answers_at,
            self.read_only_until,
            self.awareness.deadline(),
            store_at,
            ends_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn on_drain(&mut self, fx: &mut Effects<'_>) {
        self.store_at_the_end(fx);
    }

    fn is_over(&self) -> bool {
        self.is_over
    }

    /// An element of Zeal's `roomDetails`.
    fn describe(&self) -> String {
        let mut out = b"{\"name\":".to_vec();
        crate::codec::json::write_string(&mut out, &self.name);
        let name = String::from_utf8_lossy(&out).into_owned();
        format!("{name},\"clients\":{}}}", self.seats.len())
    }
}

fn malformed(error: Malformed) -> Close {
    log::debug!(target: "yjs", scope = "connection", event = "malformed"; "{error}");
    MALFORMED
}

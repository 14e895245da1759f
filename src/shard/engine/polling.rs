//! Long-polling: a GET waits for what its member is to be sent, a POST brings what it says.

use super::super::Shard;
use super::super::connections::{Moment, PAUSED_RATE, Phase, Seat};
use super::super::flush::{advance, history_of, plan_send, waits_for_disk};
use super::super::http::{Exchange, PROGRESS_MAX, State, Step};
use super::{Door, Form, Served};
use crate::codec::engineio::{self, Means, payload};
use crate::codec::http1::{BodyLength, BodyReader, Request};
use crate::net::{Token, Transport};
use crate::session::outbox::Slices;

use std::time::Duration;

/// How long a poll may wait: heartbeats answer it long before.
const POLL_MAX: Duration = Duration::from_secs(3600);
const TEXT: &str = "text/plain; charset=UTF-8";

/// A GET that waits.
#[derive(Debug)]
pub(in crate::shard) struct Poll {
    /// For whom.
    member: Token,
    form: Form,
}

/// A POST that is received, or waits until its member may say more.
#[derive(Debug)]
pub(in crate::shard) struct Post {
    member: Token,
    body: BodyReader,
    payload: Vec<u8>,
    payload_bytes_max: usize,
    complete: bool,
    form: Form,
}

impl Poll {
    /// Whose it is.
    pub(in crate::shard) fn member(&self) -> Token {
        self.member
    }
}

impl Post {
    /// Whose it is.
    pub(in crate::shard) fn member(&self) -> Token {
        self.member
    }

    /// Whether more bytes can be used.
    pub(in crate::shard) fn wants_input(&self) -> bool {
        !self.complete
    }
}

impl<T: Transport> Shard<T> {
    /// Opens a session for a client that polls.
    pub(super) fn open_polling(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        request: &Request<'_>,
        door: Door,
        key: String,
        mut form: Form,
    ) -> Served {
        let Some(connection) = self.connections.get(index) else { return Ok(()) };
        let listener = connection.listener;
        if self.connections.len() >= self.config.connections_max || self.draining {
            self.counters.refused.increment();
            self.answer_engine(index, exchange, 503, TEXT, b"Try again later.", &form);
            return Ok(());
        }
        let hello = self.hello(index, request);
        let member = self.insert_connection(None, listener, Phase::Busy);
        let open = self.attach_engine(member, door, Means::Polling);
        if let Some(connection) = self.connections.get_mut(member) {
            connection.blocked = true;
        }
        self.enter(member, door.protocol, key, Seat::new(), hello);
        if self.seat_of(member).is_none() {
            self.drop_connection(member);
            return Err(engineio::Refusal::Forbidden);
        }
        let name = &self.config.protocols.sid_cookie;
        form.cookie = name
            .as_ref()
            .map(|name| format!("{name}={}; Path=/; HttpOnly; SameSite=Lax", open.sid));
        self.answer_engine(index, exchange, 200, TEXT, open.packet().as_bytes(), &form);
        Ok(())
    }

    /// Parks a poll until there is something to answer it with.
    pub(super) fn poll(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        member: u32,
        form: Form,
    ) -> Served {
        let Some(token) = self.connections.get(index).map(|found| found.token(index)) else {
            return Ok(());
        };
        let polling = self.polling(member).ok_or(engineio::Refusal::BadRequest)?;
        if polling.parked.is_some() {
            self.drop_connection(member);
            return Err(engineio::Refusal::BadRequest);
        }
        polling.parked = Some(token);
        exchange.deadline = self.now.at + POLL_MAX;
        let Some(connection) = self.connections.get(member) else { return Ok(()) };
        let member = connection.token(member);
        exchange.state = State::Poll(Box::new(Poll { member, form }));
        self.on_writable(member);
        Ok(())
    }

    /// Answers the polls of those who have something to be sent.
    pub(in crate::shard) fn answer_polls(&mut self) {
        let mut next = 0;
        while let Some(&token) = self.dirty_connections.get(next) {
            next += 1;
            let found = self.connections.find(token);
            if found.is_some_and(|connection| connection.socket.is_none()) {
                self.answer_poll(token.index);
            }
        }
    }

    fn answer_poll(&mut self, index: u32) {
        let Some(connection) = self.connections.get(index) else { return };
        let Some(polling) = connection.engine.as_ref().and_then(|engine| engine.polling.as_ref())
        else {
            return;
        };
        let (Some(parked), probing) = (polling.parked, polling.probing) else { return };
        if polling.said_goodbye {
            if let Some(polling) = self.polling(index) {
                polling.parked = None;
            }
            self.answer_parked(parked, engineio::NOOP.as_bytes());
            return self.drop_connection(index);
        }
        if self.journaling.holding && waits_for_disk(connection, &self.sessions) {
            return;
        }
        let is_closing = matches!(connection.phase, Phase::Closing { .. });
        let mut body = std::mem::take(&mut self.payload);
        self.take_payload(index, &mut body);
        // Clients take the end of a session before what came with it: it has an answer of its own,
        // unless nobody will be there to give it (specs: socketio §4).
        let is_over = is_closing && (body.is_empty() || self.draining);
        if is_over {
            payload::push(&mut body, engineio::CLOSE.as_bytes());
        } else if body.is_empty() && matches!(probing, Some((_, true))) {
            payload::push(&mut body, engineio::NOOP.as_bytes());
        }
        if !body.is_empty() {
            let now = self.now.at;
            if let Some(connection) = self.connections.get_mut(index) {
                connection.blocked = true;
                connection.progress = Moment::of(now);
            }
            if let Some(polling) = self.polling(index) {
                polling.parked = None;
            }
            self.answer_parked(parked, &body);
        }
        body.clear();
        body.shrink_to(PAYLOAD_BYTES_KEPT);
        self.payload = body;
        if is_over {
            self.drop_connection(index);
        }
    }

    /// Takes all that a member is to be sent, as a payload.
    fn take_payload(&mut self, index: u32, body: &mut Vec<u8>) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let mut frames = std::mem::take(&mut self.frames);
        loop {
            let history = history_of(connection, &self.sessions).unwrap_or(&self.silence);
            let head = history.head();
            let mut slices = Slices::new();
            let planned = plan_send(connection, history, &mut slices);
            slices.iter().for_each(|slice| frames.extend_from_slice(slice));
            drop(slices);
            if planned == 0 {
                break;
            }
            advance(connection, head, planned);
        }
        self.counters.bytes_out.add(frames.len() as u64);
        payload::from_frames(body, &frames);
        frames.clear();
        frames.shrink_to(PAYLOAD_BYTES_KEPT);
        self.frames = frames;
    }

    pub(super) fn answer_parked(&mut self, parked: Token, body: &[u8]) {
        if self.connections.resolve(parked).is_none() {
            return;
        }
        self.with_exchange(parked.index, |shard, exchange| {
            if let State::Poll(poll) = std::mem::replace(&mut exchange.state, State::Head) {
                shard.answer_engine(parked.index, exchange, 200, TEXT, body, &poll.form);
            }
        });
    }

    /// Whether a member was closed, and is still to be told.
    fn is_going(&self, member: u32) -> bool {
        let found = self.connections.get(member);
        found.is_some_and(|found| matches!(found.phase, Phase::Closing { .. }))
    }

    /// Begins to receive a payload.
    pub(super) fn begin_post(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        request: &Request<'_>,
        member: u32,
        form: Form,
    ) -> Served {
        use engineio::Refusal;
        let Some(connection) = self.connections.get(index) else { return Ok(()) };
        let token = connection.token(index);
        if self.is_going(member) {
            // An error would make it come back, before it is told that it should not.
            self.skip_body_of(index, exchange, request);
            self.answer_engine(index, exchange, 200, "text/html", b"ok", &form);
            return Ok(());
        }
        let session = self.seat_of(member).map(|(_, seat)| seat.session);
        let limits = session.and_then(|session| self.sessions.get(session));
        let payload_bytes_max = limits.ok_or(Refusal::UnknownSid)?.limits.message_bytes_max;
        let polling = self.polling(member).ok_or(Refusal::BadRequest)?;
        let is_binary = request.header("content-type") == Some("application/octet-stream");
        let length = request.body().map_err(|_| Refusal::BadRequest)?;
        if polling.posting.is_some() || is_binary {
            self.drop_connection(member);
            return Err(Refusal::BadRequest);
        }
        if matches!(length, BodyLength::Length(bytes) if bytes > payload_bytes_max as u64) {
            self.refuse_payload(index, exchange, &form);
            return Ok(());
        }
        polling.posting = Some(token);
        if request.has_token("expect", "100-continue") {
            self.push_raw(index, b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let Some(connection) = self.connections.get(member) else { return Ok(()) };
        exchange.deadline = self.now.at + PROGRESS_MAX;
        exchange.state = State::Post(Box::new(Post {
            member: connection.token(member),
            body: BodyReader::new(length),
            payload: Vec::new(),
            payload_bytes_max,
            complete: false,
            form,
        }));
        Ok(())
    }

    /// A payload larger than is allowed: the session goes on (specs: socketio §4).
    fn refuse_payload(&mut self, index: u32, exchange: &mut Exchange, form: &Form) {
        exchange.keep_alive = false;
        self.answer_engine(index, exchange, 413, TEXT, b"The payload is too large.", form);
    }

    /// Receives more of a payload; applies it when it is complete.
    pub(in crate::shard) fn feed_post(&mut self, index: u32, exchange: &mut Exchange) -> Step {
        let State::Post(post) = &mut exchange.state else { return Step::Wait };
        if post.complete {
            return Step::Wait;
        }
        exchange.deadline = self.now.at + PROGRESS_MAX;
        let room = post.payload_bytes_max + 1;
        let collected = post.body.collect(&mut exchange.input, &mut post.payload, room);
        post.complete = collected == Ok(true);
        let member = post.member;
        if post.payload.len() > post.payload_bytes_max {
            let State::Post(post) = std::mem::replace(&mut exchange.state, State::Head) else {
                return Step::Wait;
            };
            self.forget_post(member);
            self.refuse_payload(index, exchange, &post.form);
            return Step::Wait;
        }
        if collected.is_err() {
            self.forget_post(member);
            self.drop_engine(member);
            self.answer_and_close(index, 400, "The chunked body is malformed.\n");
            return Step::Wait;
        }
        if !post.complete {
            return Step::Wait;
        }
        let payload = std::mem::take(&mut post.payload);
        let is_alive = self.apply_payload(member, &payload) || self.is_going(member.index);
        self.end_post(index, exchange, is_alive)
    }

    /// Answers a payload that was applied, unless its member has to wait until it may say more.
    fn end_post(&mut self, index: u32, exchange: &mut Exchange, is_alive: bool) -> Step {
        let State::Post(post) = &mut exchange.state else { return Step::Wait };
        let paused = self.connections.find(post.member).is_some_and(|found| found.paused != 0);
        if is_alive && paused {
            return Step::Wait;
        }
        let State::Post(post) = std::mem::replace(&mut exchange.state, State::Head) else {
            return Step::Wait;
        };
        self.forget_post(post.member);
        if is_alive {
            self.answer_engine(index, exchange, 200, "text/html", b"ok", &post.form);
        } else {
            self.refuse_engine(index, exchange, engineio::Refusal::BadRequest, &post.form);
        }
        Step::Next
    }

    /// A member may say more: the payload that waits for it is answered.
    pub(in crate::shard) fn answer_post(&mut self, member: u32) {
        let posting = self.polling(member).and_then(|polling| polling.posting);
        if let Some(post) = posting
            && self.connections.resolve(post).is_some()
        {
            self.with_exchange(post.index, |shard, exchange| {
                if matches!(&exchange.state, State::Post(post) if post.complete) {
                    shard.end_post(post.index, exchange, true);
                }
            });
        }
    }

    /// The session of a payload has ended.
    pub(super) fn refuse_post(&mut self, post: Token) {
        if self.connections.resolve(post).is_none() {
            return;
        }
        self.with_exchange(post.index, |shard, exchange| {
            if let State::Post(post_state) = std::mem::replace(&mut exchange.state, State::Head) {
                exchange.keep_alive &= post_state.complete;
                let refusal = engineio::Refusal::UnknownSid;
                shard.refuse_engine(post.index, exchange, refusal, &post_state.form);
            }
        });
    }

    /// A connection ends with its poll or payload: the session ends, too.
    pub(in crate::shard) fn abandon_engine(&mut self, member: Token) {
        if let Some(polling) = self.polling_of(member) {
            (polling.parked, polling.posting) = (None, None);
            self.drop_connection(member.index);
        }
    }

    fn drop_engine(&mut self, member: Token) {
        if self.connections.find(member).is_some() {
            self.drop_connection(member.index);
        }
    }

    fn forget_post(&mut self, member: Token) {
        if let Some(polling) = self.polling_of(member) {
            polling.posting = None;
        }
    }

    fn polling_of(&mut self, member: Token) -> Option<&mut super::Polling> {
        self.connections.find(member)?;
        self.polling(member.index)
    }

    /// Applies the packets of a payload; whether the session is there still.
    fn apply_payload(&mut self, member: Token, payload: &[u8]) -> bool {
        let now = self.now.at;
        let index = member.index;
        if let Some(connection) = self.connections.resolve(member) {
            connection.heard = Moment::of(now);
        }
        self.counters.bytes_in.add(payload.len() as u64);
        let Ok(text) = simdutf8::basic::from_utf8(payload) else {
            self.counters.violations.increment();
            self.drop_engine(member);
            return false;
        };
        let mut messages = 0;
        for packet in payload::packets(text) {
            let Some(session) = self.session_of(index, member.generation) else { return false };
            messages += 1;
            if self.on_packet(index, session, packet).is_err() {
                self.counters.violations.increment();
                self.drop_engine(member);
                return false;
            }
            self.deliver_passages();
        }
        let Some(session) = self.session_of(index, member.generation) else { return false };
        let Some(limits) = self.sessions.get(session).map(|session| *session.limits) else {
            return false;
        };
        if let Some((_, seat)) = self.seat_of(index)
            && seat.spend(messages, limits.messages_per_second_max, now.as_millis())
        {
            self.pause(index, PAUSED_RATE);
            self.set_connection_timer(index);
        }
        true
    }
}

/// Memory for payloads that a shard keeps, in bytes.
const PAYLOAD_BYTES_KEPT: usize = 64 << 10;

//! HTTP/1.1: one exchange at a time on a connection, pipelined requests in order, until it is
//! upgraded or closed.
//!
//! An [`Exchange`] exists only while its connection speaks HTTP. It reads one buffer at a time, so
//! the socket can move to another shard when an upgrade names its session, and so a peer that sends
//! faster than the disk writes is slowed down by its own window.

use std::time::Duration;

use super::accounts::Visit;
use super::connections::Phase;
use super::engine::{Door, Poll, Post};
use super::files::{Download, Upload};
use super::handoff::{Adoption, Reroute};
use super::mesh::{About, Ask, Item};
use super::placement;
use super::routes::{Route, route};
use super::table::Table;
use super::{Shard, sessions};
use crate::admin;
use crate::codec::http1::response::{BodyKind, write_head};
use crate::codec::http1::{self, HEAD_BYTES_MAX, Request, response};
use crate::codec::websocket::handshake;
use crate::net::{Token, Transport};
use crate::protocol::{Config, Hello, Pages, Removal, STANDING, Wire, yjs};
use crate::session::{Close, Instant};

/// Time for a request head to arrive.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Time a connection may wait between requests.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// Time for each piece of a body (64 KiB), for a file operation, for the answers of other shards.
pub(super) const PROGRESS_MAX: Duration = Duration::from_secs(30);
/// Answers that may wait for their reader, in bytes, before the next request is looked at.
pub(super) const ANSWERS_BYTES_MAX: usize = 64 << 10;
/// Body of a request that has none of our business, skipped so that the connection can be kept.
const SKIPPED_BODY_BYTES_MAX: u64 = 64 << 10;
/// What HTTP responses call the server.
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// What a connection does between its head and its answer.
#[derive(Debug)]
pub(super) enum State {
    /// Reading a request head.
    Head,
    /// Waiting for other shards.
    Asked,
    /// Receiving a file.
    Upload(Box<Upload>),
    /// Sending a file.
    Download(Box<Download>),
    /// Waiting for what a member is to be sent.
    Poll(Box<Poll>),
    /// Receiving what a member says.
    Post(Box<Post>),
    /// Receiving a wish about accounts, or waiting for what becomes of it.
    Visit(Box<Visit>),
}

/// The HTTP side of a connection.
#[derive(Debug)]
pub(super) struct Exchange {
    /// Bytes received and not consumed yet.
    pub(super) input: Vec<u8>,
    /// How far `input` was searched for the end of a head.
    searched: usize,
    pub(super) state: State,
    /// Bytes to come, or at hand, of a body that nobody wants.
    unwanted: u64,
    pub(super) deadline: Instant,
    /// The peer sends no more.
    pub(super) input_ended: bool,
    /// The connection may carry another request after this one.
    pub(super) keep_alive: bool,
    /// The request is a HEAD: its answer has no body.
    pub(super) head_only: bool,
}

impl Exchange {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            input: Vec::new(),
            searched: 0,
            state: State::Head,
            unwanted: 0,
            deadline: now + HEAD_MAX,
            input_ended: false,
            keep_alive: true,
            head_only: false,
        }
    }

    /// Whether more bytes can be used now.
    pub(super) fn wants_input(&self) -> bool {
        match &self.state {
            State::Head => !self.input_ended,
            State::Upload(upload) => !self.input_ended && upload.wants_input(self.input.len()),
            State::Post(post) => !self.input_ended && post.wants_input(),
            State::Visit(visit) => !self.input_ended && visit.wants_input(),
            // Only whether it is still there; one request ahead tells that, too.
            State::Poll(_) => !self.input_ended && self.input.is_empty(),
            State::Asked | State::Download(_) => false,
        }
    }

    /// Whether the peer must stay for the answer to mean anything.
    pub(super) fn needs_peer(&self) -> bool {
        match &self.state {
            State::Poll(_) => true,
            State::Post(post) => post.wants_input(),
            State::Visit(visit) => visit.wants_input(),
            _ => false,
        }
    }

    /// Whether an answer is under way that the peer may still wait for.
    pub(super) fn is_answering(&self) -> bool {
        !matches!(self.state, State::Head)
    }
}

/// How an answer is made of what shards said.
#[derive(Clone, Copy, Debug)]
struct Form {
    content_type: &'static str,
    /// Of all their texts, one after another.
    finish: fn(String, &Config) -> String,
}

impl Form {
    /// Zeal's `/stats`.
    const DOCUMENTS: Self =
        Self { content_type: JSON, finish: |text, config| admin::documents(&text, &config.yjs) };

    /// As it was said.
    const fn plain(content_type: &'static str) -> Self {
        Self { content_type, finish: |text, _| text }
    }
}

/// Questions to other shards, numbered by their index here.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: Table<Question>,
}

#[derive(Debug)]
struct Question {
    asker: Token,
    missing: usize,
    text: String,
    form: Form,
}

/// What became of an attempt to read a request.
pub(super) enum Step {
    /// More bytes are needed.
    Wait,
    /// The request is answered, or its answer is under way: look at what follows.
    Next,
}

impl<T: Transport> Shard<T> {
    /// Does what the bytes at hand allow.
    pub(super) fn advance_http(&mut self, index: u32) {
        while let Some(mut exchange) = self.take_exchange(index) {
            let step = match &mut exchange.state {
                State::Head if exchange.unwanted > 0 => skip_body(&mut exchange),
                // Pipelined requests must not pile up answers for one who does not read them.
                State::Head if self.queued_bytes(index) > ANSWERS_BYTES_MAX => Step::Wait,
                State::Head => self.read_request(index, &mut exchange),
                State::Upload(_) => self.feed_upload(index, &mut exchange),
                State::Post(_) => self.feed_post(index, &mut exchange),
                State::Visit(_) => self.feed_visit(index, &mut exchange),
                State::Asked | State::Download(_) | State::Poll(_) => Step::Wait,
            };
            // An upgrade, or a refusal, has made something else of the connection.
            if !self.put_exchange(index, exchange) || matches!(step, Step::Wait) {
                return;
            }
        }
    }

    fn take_exchange(&mut self, index: u32) -> Option<Box<Exchange>> {
        let connection = self.connections.get_mut(index)?;
        match std::mem::replace(&mut connection.phase, Phase::Busy) {
            Phase::Http(exchange) => Some(exchange),
            other => {
                connection.phase = other;
                None
            }
        }
    }

    fn put_exchange(&mut self, index: u32, exchange: Box<Exchange>) -> bool {
        match self.connections.get_mut(index) {
            Some(connection) if matches!(connection.phase, Phase::Busy) => {
                connection.phase = Phase::Http(exchange);
                self.set_connection_timer(index);
                true
            }
            _ => false,
        }
    }

    /// Runs `work` on the exchange of a connection, then does what has become possible.
    pub(super) fn with_exchange(
        &mut self,
        index: u32,
        work: impl FnOnce(&mut Self, &mut Exchange),
    ) {
        if let Some(mut exchange) = self.take_exchange(index) {
            work(self, &mut exchange);
            if self.put_exchange(index, exchange) {
                self.advance_http(index);
                self.read_on(index);
            }
        }
    }

    fn read_request(&mut self, index: u32, exchange: &mut Exchange) -> Step {
        let Some(end) = http1::find_head_end(&exchange.input, exchange.searched) else {
            if exchange.input.len() > HEAD_BYTES_MAX {
                self.answer_and_close(index, 431, "The request head is larger than 16 KiB.\n");
            } else if exchange.searched == 0 && !exchange.input.is_empty() {
                exchange.deadline = self.now.at + HEAD_MAX;
            }
            exchange.searched = exchange.input.len();
            return Step::Wait;
        };
        let input = std::mem::take(&mut exchange.input);
        exchange.searched = 0;
        exchange.deadline = self.now.at + IDLE_MAX;
        match http1::parse_head(&input[..end]) {
            Ok(Some((request, _))) => {
                self.on_request(index, exchange, &request, input.split_at(end));
            }
            Ok(None) => self.answer_and_close(index, 400, "The request head makes no sense.\n"),
            Err(error) => {
                self.counters.violations.increment();
                let (status, text) = error.status();
                self.answer_and_close(index, status, &format!("{text}\n"));
            }
        }
        Step::Next
    }

    fn on_request(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        request: &Request<'_>,
        (head, rest): (&[u8], &[u8]),
    ) {
        self.counters.http_requests.increment();
        let Some(connection) = self.connections.get(index) else { return };
        let listener = usize::from(connection.listener);
        let Some(&profile) = self.config.listeners.get(listener) else { return };
        exchange.input.extend_from_slice(rest);
        exchange.keep_alive = request.keep_alive() && !self.draining;
        exchange.head_only = request.method == "HEAD";
        let upgrade = request.header("upgrade").is_some();
        match route(profile, request.path(), upgrade) {
            Route::Session(protocol, entrance, rest) => {
                let key = (entrance.session_key)(rest);
                let door = Door { protocol, entrance };
                if let Wire::EngineIo(_) = entrance.wire {
                    self.on_engine_request(index, exchange, (request, head), door, key);
                } else {
                    self.upgrade(index, exchange, request, door, key);
                }
            }
            Route::File(path) => self.on_file_request(index, exchange, request, path),
            Route::Account(page) => self.on_account_request(index, exchange, request, page),
            Route::Removable(protocol, key, what) if request.method == "DELETE" => {
                self.skip_body_of(index, exchange, request);
                self.on_removal(index, exchange, request, sessions::name(protocol, key), what);
            }
            route => {
                self.skip_body_of(index, exchange, request);
                self.answer_route(index, exchange, route);
            }
        }
    }

    fn answer_route(&mut self, index: u32, exchange: &mut Exchange, route: Route<'_>) {
        let all = &self.counters.all;
        let (status, content_type, body) = match route {
            Route::Health if self.draining => (503, JSON, admin::health(false)),
            Route::Health => (200, JSON, admin::health(true)),
            Route::Stats => (200, JSON, admin::stats(all)),
            Route::Metrics => (200, "text/plain; version=0.0.4", admin::metrics(all)),
            Route::Home => (200, TEXT, admin::home()),
            Route::Alive(pages) => (200, TEXT, admin::alive(pages)),
            Route::Condition(Pages::Comutiny) => {
                let (status, body) = admin::comutiny_health(!self.draining);
                (status, JSON, body.to_owned())
            }
            Route::Condition(Pages::Zeal) => {
                let (status, body) = admin::zeal_health(!self.draining, self.now.wall_ms);
                (status, JSON, body)
            }
            Route::Condition(_) => (200, JSON, admin::condition(all, self.now.at)),
            Route::Roster(protocol, key) => {
                let name = sessions::name(protocol, key);
                return self.ask_owner(
                    index,
                    exchange,
                    &name.clone(),
                    About::Users(name),
                    Form::plain(JSON),
                );
            }
            Route::Documents => {
                let about = About::Sessions(yjs::PROTOCOL.name);
                return self.ask_all(index, exchange, about, Form::DOCUMENTS);
            }
            Route::Absent | Route::Removable(..) => (404, "", "Not Found".to_owned()),
            Route::Sessions(protocol) => {
                let about = About::Sessions(protocol.name);
                return self.ask_all(index, exchange, about, Form::plain(TEXT));
            }
            Route::Users(protocol, key) => {
                let name = sessions::name(protocol, key);
                let about = About::Users(name.clone());
                return self.ask_owner(index, exchange, &name, about, Form::plain("text/json"));
            }
            _ => return self.answer_nothing(index, exchange),
        };
        self.respond(index, exchange, status, content_type, body.as_bytes());
    }

    pub(super) fn answer_nothing(&mut self, index: u32, exchange: &mut Exchange) {
        self.respond(index, exchange, 404, TEXT, b"There is nothing at this path.\n");
    }

    /// Answers a request in full.
    pub(super) fn respond(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        status: u16,
        content_type: &str,
        body: &[u8],
    ) {
        let headers = [("Content-Type", content_type)];
        let known = if content_type.is_empty() { &headers[..0] } else { &headers[..] };
        self.answer_with(index, exchange, status, known, body);
    }

    /// The same with these headers.
    pub(super) fn answer_with(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        status: u16,
        headers: &[(&str, &str)],
        body: &[u8],
    ) {
        let mut out = Vec::new();
        let length = BodyKind::Length(body.len() as u64);
        write_head(&mut out, status, headers, length, exchange.keep_alive);
        if response::may_have_body(status) && !exchange.head_only {
            out.extend_from_slice(body);
        }
        self.push_raw(index, &out);
        self.end_exchange(index, exchange);
    }

    /// An answer is queued in full: the next request may follow, or the connection ends.
    pub(super) fn end_exchange(&mut self, index: u32, exchange: &mut Exchange) {
        exchange.state = State::Head;
        exchange.deadline = self.now.at + IDLE_MAX;
        if !exchange.keep_alive {
            self.finish_after_flush(index);
        }
    }

    /// Answers outside of any exchange and ends the connection.
    pub(super) fn answer_and_close(&mut self, index: u32, status: u16, text: &str) {
        let mut out = Vec::new();
        response::write(&mut out, status, TEXT, text.as_bytes(), false);
        self.push_raw(index, &out);
        self.finish_after_flush(index);
    }

    /// Arranges for a body that nobody wants: skipped if it is small, else the connection ends.
    pub(super) fn skip_body_of(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        request: &Request<'_>,
    ) {
        match request.body() {
            Ok(http1::BodyLength::None) => {}
            Ok(http1::BodyLength::Length(bytes)) if bytes <= SKIPPED_BODY_BYTES_MAX => {
                exchange.unwanted = bytes;
            }
            Ok(_) => exchange.keep_alive = false,
            Err(error) => {
                let (status, text) = error.status();
                self.answer_and_close(index, status, &format!("{text}\n"));
            }
        }
    }

    pub(super) fn upgrade(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        request: &Request<'_>,
        door: Door,
        key: Result<String, Close>,
    ) {
        let accept = match handshake::accept(request) {
            Ok(accept) => accept,
            Err(refusal) => return self.refuse_handshake(index, refusal),
        };
        let hello = self.hello(index, request);
        let unread = std::mem::take(&mut exchange.input);
        // Answers to requests before this one may still wait.
        let waiting = self.connections.get(index).and_then(|found| found.outbox.as_ref());
        let mut response = waiting.map_or_else(Vec::new, |outbox| outbox.unsent());
        accept.write_response(&[], &mut response);
        let Some(connection) = self.remove_connection(index) else { return };
        let Some(socket) = connection.socket else { return };
        self.place(Box::new(Adoption {
            socket,
            listener: connection.listener,
            door,
            key,
            hello,
            response,
            unread,
        }));
    }

    /// Answers an upgrade request that is none, and ends the connection.
    pub(super) fn refuse_handshake(&mut self, index: u32, refusal: handshake::Refusal) {
        let mut out = Vec::new();
        refusal.write_response(&mut out);
        self.push_raw(index, &out);
        self.finish_after_flush(index);
    }

    /// Who asks for a seat.
    pub(super) fn hello(&self, index: u32, request: &Request<'_>) -> Hello {
        let peer = self.peer_address(index);
        let forwarded = request.header("x-forwarded-for").and_then(|all| all.split(',').next());
        Hello {
            target: request.target.to_owned(),
            peer: peer.to_string(),
            user_ip: forwarded.map_or_else(|| peer.ip().to_string(), |ip| ip.trim().to_owned()),
            location: request.header("x-location").map(str::to_owned),
            cookie: request.header("cookie").map(str::to_owned),
            authorization: request.header("authorization").map(str::to_owned),
            carry: Vec::new(),
        }
    }

    /// A connection comes with a request that is this shard's to answer.
    pub(super) fn on_rerouted(&mut self, reroute: Reroute<T::Socket>) {
        let Reroute { socket, listener, unread, unsent, input_ended } = reroute;
        let mut exchange = Exchange::new(self.now.at);
        (exchange.input, exchange.input_ended) = (unread, input_ended);
        let phase = Phase::Http(Box::new(exchange));
        let index = self.insert_connection(Some(socket), listener, phase);
        if !unsent.is_empty() {
            self.push_raw(index, &unsent);
        }
        self.advance_http(index);
        self.read_on(index);
    }

    /// Everything queued on an HTTP connection is sent: a download reads on, the next request may
    /// be looked at; or all that came is answered and no more will come.
    pub(super) fn on_http_flushed(&mut self, index: u32) {
        self.with_exchange(index, |shard, exchange| {
            if let State::Download(download) = &mut exchange.state {
                exchange.deadline = shard.now.at + PROGRESS_MAX;
                shard.read_file(index, download);
            }
        });
        if let Some(connection) = self.connections.get(index)
            && let Phase::Http(exchange) = &connection.phase
            && exchange.input_ended
            && !(exchange.is_answering() || connection.has_output())
        {
            self.finish_after_flush(index);
        }
    }

    pub(super) fn on_http_deadline(&mut self, index: u32) {
        let Some(exchange) = self.take_exchange(index) else { return };
        let begun = matches!(exchange.state, State::Head) && !exchange.input.is_empty();
        self.put_exchange(index, exchange);
        if begun {
            self.answer_and_close(index, 408, "The request head took longer than 10 s.\n");
        } else {
            self.drop_connection(index);
        }
    }

    fn ask_all(&mut self, index: u32, exchange: &mut Exchange, about: About, form: Form) {
        let question = self.open_question(index, exchange, self.config.shards, form);
        for shard in 0..self.config.shards {
            self.ask(shard, question, about.clone());
        }
    }

    fn ask_owner(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        name: &str,
        about: About,
        form: Form,
    ) {
        let question = self.open_question(index, exchange, 1, form);
        self.ask(placement::owner(name, self.config.shards), question, about);
    }

    /// An operator wants something removed. Operators sit at the machine itself: a proxy is loopback,
    /// too, but tells for whom it asks, and so does the browser of an operator who was lured to a page.
    fn on_removal(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        request: &Request<'_>,
        name: String,
        what: &str,
    ) {
        let is_here = self.peer_address(index).ip().to_canonical().is_loopback();
        let is_relayed = ["x-forwarded-for", "forwarded", "via", "origin"]
            .iter()
            .any(|header| request.header(header).is_some());
        if !is_here || is_relayed {
            let text = "Ask from the machine itself, not through a proxy and not from a page.\n";
            return self.respond(index, exchange, 403, TEXT, text.as_bytes());
        }
        match http1::path::percent_decode(what) {
            Ok(what) => {
                let about = About::Remove(name.clone(), what.into_owned());
                self.ask_owner(index, exchange, &name, about, Form::plain(TEXT));
            }
            Err(_) => self.respond(index, exchange, 400, TEXT, b"The path makes no sense.\n"),
        }
    }

    fn open_question(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        missing: usize,
        form: Form,
    ) -> u64 {
        exchange.state = State::Asked;
        exchange.deadline = self.now.at + PROGRESS_MAX;
        let generation = self.connections.get(index).map_or(0, |found| found.generation);
        let asker = Token { index, generation };
        let question = Question { asker, missing, text: String::new(), form };
        self.questions.open.insert(question).into()
    }

    fn ask(&mut self, shard: usize, question: u64, about: About) {
        let ask = Item::Ask(Ask { from: self.config.index, question, about });
        if let Err(Item::Ask(ask)) = self.peers[shard].send(ask) {
            self.on_answer(ask.question, 503, String::new());
        }
    }

    /// Another shard, or this one, asks about the sessions here.
    pub(super) fn on_ask(&mut self, ask: Ask) {
        let mut status = 200;
        let text = match &ask.about {
            About::Remove(name, what) => {
                let removal = self.remove_stored(name, what);
                let (code, text) = told(removal);
                status = code;
                text.to_owned()
            }
            About::Sessions(protocol) => self
                .sessions
                .iter()
                .filter(|(_, session)| session.protocol.name == *protocol)
                .map(|(_, session)| session.machine.describe() + "\n")
                .collect(),
            About::Users(name) => self
                .sessions
                .find(name)
                .and_then(|session| self.sessions.get(session))
                .map_or_else(|| admin::no_users(name), |session| session.machine.users()),
        };
        let answer = Item::Answer { question: ask.question, status, text };
        // A full inbox: the asker's deadline ends its wait.
        let _ = self.peers[ask.from].send(answer);
    }

    /// Has the session of this full name remove something.
    fn remove_stored(&mut self, name: &str, what: &str) -> Removal {
        let standing =
            STANDING.iter().find(|(protocol, key)| sessions::name(protocol, key) == name);
        let Some(&(protocol, key)) = standing else { return Removal::Absent };
        if self.draining {
            return Removal::NotReady;
        }
        let Ok(session) = self.find_or_open(protocol, key.to_owned()) else {
            return Removal::NotReady;
        };
        let removal = self.call(session, |machine, fx| machine.on_remove(what, fx));
        // It is answered through another shard, which does not wait for the end of this turn.
        self.commit();
        removal.filter(|_| !self.journaling.holding).unwrap_or(Removal::NotReady)
    }

    pub(super) fn on_answer(&mut self, question: u64, status: u16, text: String) {
        let Some(open) = self.questions.open.get_mut(question as u32) else { return };
        open.text.push_str(&text);
        open.missing -= 1;
        if open.missing > 0 {
            return;
        }
        let Some(Question { asker, text, form, .. }) = self.questions.open.remove(question as u32)
        else {
            return;
        };
        let text = (form.finish)(text, &self.config.protocols);
        if self.connections.resolve(asker).is_some() {
            self.with_exchange(asker.index, |shard, exchange| {
                shard.respond(asker.index, exchange, status, form.content_type, text.as_bytes());
            });
        }
    }
}

/// Status and text that tell what became of a removal.
fn told(removal: Removal) -> (u16, &'static str) {
    match removal {
        Removal::Removed => (200, "Removed.\n"),
        Removal::Absent => (404, "There is no such room.\n"),
        Removal::InUse => (409, "Somebody is in it.\n"),
        Removal::NotReady => (503, "It cannot be done now; try again.\n"),
    }
}

fn skip_body(exchange: &mut Exchange) -> Step {
    let skipped = exchange.input.len().min(exchange.unwanted as usize);
    exchange.input.drain(..skipped);
    exchange.unwanted -= skipped as u64;
    if exchange.unwanted > 0 { Step::Wait } else { Step::Next }
}

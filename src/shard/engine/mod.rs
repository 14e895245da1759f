//! Engine.IO: members that poll, and members that came so and have moved to a WebSocket
//! (specs: socketio §2–§7).
//!
//! A member that polls is a connection without a socket. Its outbox and cursor are those of any
//! other; *a poll that waits is the writability of its missing socket*: it is answered at the end of
//! a turn with the frames that a socket would have been sent, written anew as a payload (`polling`).
//! When it moves to a WebSocket, that socket becomes its own, and what it was still to be sent goes
//! there as it is (`upgrade`).
//!
//! Requests may come on any connection of any shard. The session id says which shard has the
//! session; a connection whose request is for another is handed over with it.

mod heartbeat;
mod polling;
mod upgrade;

use std::io::Write as _;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use super::Shard;
use super::handoff::{Adoption, Reroute};
use super::http::Exchange;
use super::mesh::Item;
use crate::codec::engineio::{self, Handshake, Means, Packet, Query, SECRET_BYTES, Sid};
use crate::codec::http1::Request;
use crate::codec::websocket::NO_CODE;
use crate::net::{Token, Transport};
use crate::protocol::{EngineIo, Entrance, Message, Protocol, Wire};
use crate::session::frame::FrameKind;
use crate::session::{Close, Instant};

pub(super) use heartbeat::Heartbeat;
pub(super) use polling::{Poll, Post};
pub(super) use upgrade::Probe;

/// How a client goes whose packet makes no sense.
const BAD_PACKET: Close = Close::new(NO_CODE, "");
/// How a client goes that has said goodbye, or nothing at all for too long.
const GONE: Close = Close::new(NO_CODE, "");

/// What a connection of Engine.IO has besides those of others.
#[derive(Debug)]
pub(super) struct Engine {
    settings: Arc<EngineIo>,
    secret: [u8; SECRET_BYTES],
    /// What it has while it polls; none on a WebSocket.
    polling: Option<Box<Polling>>,
    heartbeat: Heartbeat,
}

/// Whose requests are open.
#[derive(Debug, Default)]
struct Polling {
    /// The poll that waits.
    parked: Option<Token>,
    /// The payload that comes in, or waits for its answer.
    posting: Option<Token>,
    /// The WebSocket that it wants to move to, and whether that was probed.
    probing: Option<(Token, bool)>,
    /// Whether it has ended the session itself, and is there for the last poll only.
    said_goodbye: bool,
}

/// How a request is answered.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// The origin whose pages may read the answer.
    origin: Option<String>,
    /// How the client would like it to be compressed.
    coding: Option<Coding>,
    /// Value of `Set-Cookie`.
    cookie: Option<String>,
}

/// A compression that clients know (RFC 9110 §8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
}

/// Answers to polls of so many bytes are compressed for those who like it (specs: socketio §4).
const COMPRESSED_BYTES_MIN: usize = 1024;

/// Where a request goes in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Door {
    pub(super) protocol: &'static Protocol,
    pub(super) entrance: &'static Entrance,
}

/// Why a request is not served, see [`engineio::Refusal`].
type Served = Result<(), engineio::Refusal>;

impl<T: Transport> Shard<T> {
    /// A request below an Engine.IO entrance. `head` is its head as it came, `key` names the session.
    pub(super) fn on_engine_request(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        (request, head): (&Request<'_>, &[u8]),
        door: Door,
        key: Result<String, Close>,
    ) {
        let settings = self.engine_settings(door.entrance);
        let origin = request.header("origin");
        let form = Form {
            origin: settings.origins.allow(origin).map(str::to_owned),
            coding: Coding::wanted(request),
            cookie: None,
        };
        if request.method == "OPTIONS" {
            self.skip_body_of(index, exchange, request);
            return self.answer_preflight(index, exchange, request, &form);
        }
        let refusal = if settings.origins.refuses(origin) {
            engineio::Refusal::Forbidden
        } else {
            match self.serve_engine(index, exchange, (request, head), door, key, form) {
                Ok(()) => return,
                Err(refusal) => refusal,
            }
        };
        if request.header("upgrade").is_some() {
            return self.answer_and_close(index, refusal.status(), refusal.message());
        }
        self.skip_body_of(index, exchange, request);
        let origin = settings.origins.allow(origin).map(str::to_owned);
        let form = Form { origin, ..Form::default() };
        self.refuse_engine(index, exchange, refusal, &form);
    }

    fn serve_engine(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        (request, head): (&Request<'_>, &[u8]),
        door: Door,
        key: Result<String, Close>,
        form: Form,
    ) -> Served {
        use engineio::Refusal;
        let query = Query::parse(request.query().unwrap_or_default());
        let means = query.means.ok_or(Refusal::UnknownTransport)?;
        let upgrade = request.header("upgrade").is_some();
        if let Some(sid) = query.sid {
            let sid = Sid::parse(sid).ok_or(Refusal::UnknownSid)?;
            let shard = usize::from(sid.shard);
            if shard != self.config.index {
                let known = shard < self.config.shards;
                return known
                    .then(|| self.reroute(index, exchange, head, shard))
                    .ok_or(Refusal::UnknownSid);
            }
            // Its timer may be late by a moment; clients wait no longer than they were told.
            let member = self.find_engine(&sid).filter(|&member| self.beat(member));
            let member = member.ok_or(Refusal::UnknownSid)?;
            if !query.is_version_4 || upgrade != (means == Means::WebSocket) {
                return Err(Refusal::BadRequest);
            }
            return match (means, request.method) {
                (Means::WebSocket, _) => {
                    self.begin_probe(index, exchange, request, member);
                    Ok(())
                }
                (Means::Polling, "GET") => {
                    self.skip_body_of(index, exchange, request);
                    self.poll(index, exchange, member, form)
                }
                (Means::Polling, "POST") => self.begin_post(index, exchange, request, member, form),
                _ => Err(Refusal::BadMethod),
            };
        }
        if request.method != "GET" {
            return Err(Refusal::BadMethod);
        }
        if upgrade != (means == Means::WebSocket) {
            return Err(Refusal::BadRequest);
        }
        if !query.is_version_4 {
            return Err(Refusal::UnsupportedVersion);
        }
        match means {
            Means::WebSocket => self.upgrade(index, exchange, request, door, key),
            Means::Polling => {
                let key = key.map_err(|_| Refusal::BadRequest)?;
                let owner = self.owner(door.protocol, &key);
                if owner != self.config.index {
                    self.reroute(index, exchange, head, owner);
                    return Ok(());
                }
                self.skip_body_of(index, exchange, request);
                self.open_polling(index, exchange, request, door, key, form)?;
            }
        }
        Ok(())
    }

    /// Hands a connection over, with a request that is another shard's to answer.
    fn reroute(&mut self, index: u32, exchange: &mut Exchange, head: &[u8], shard: usize) {
        let mut unread = head.to_vec();
        unread.append(&mut exchange.input);
        let waiting = self.connections.get(index).and_then(|found| found.outbox.as_ref());
        let unsent = waiting.map_or_else(Vec::new, |outbox| outbox.unsent());
        let Some(connection) = self.remove_connection(index) else { return };
        let Some(socket) = connection.socket else { return };
        let listener = connection.listener;
        let input_ended = exchange.input_ended;
        self.counters.handed_off.increment();
        let reroute = Box::new(Reroute { socket, listener, unread, unsent, input_ended });
        if let Err(Item::Reroute(reroute)) = self.peers[shard].send(Item::Reroute(reroute)) {
            self.counters.refused.increment();
            let Reroute { socket, listener, unsent, .. } = *reroute;
            self.refuse_overloaded(socket, listener, &unsent);
        }
    }

    /// What the clients of an entrance are told and held to.
    fn engine_settings(&mut self, entrance: &'static Entrance) -> Arc<EngineIo> {
        let known = self.engines.iter().find(|(of, _)| std::ptr::eq(*of, entrance));
        if let Some((_, settings)) = known {
            return Arc::clone(settings);
        }
        let settings = match entrance.wire {
            Wire::EngineIo(settings) => settings(&self.config.protocols),
            Wire::WebSocket => EngineIo::default(),
        };
        let settings = Arc::new(settings);
        self.engines.push((entrance, Arc::clone(&settings)));
        settings
    }

    /// Makes a connection one of Engine.IO; what it is told first.
    pub(super) fn attach_engine(&mut self, index: u32, door: Door, means: Means) -> Handshake {
        let settings = self.engine_settings(door.entrance);
        let payload_bytes_max = self.limits_of(door.protocol).message_bytes_max;
        let mut secret = [0; SECRET_BYTES];
        let random = [self.next_random().to_ne_bytes(), self.next_random().to_ne_bytes()];
        secret.copy_from_slice(&random.as_flattened()[..SECRET_BYTES]);
        let handshake = Handshake {
            sid: Sid { shard: self.config.index as u16, index, secret },
            may_upgrade: means == Means::Polling,
            ping_interval: settings.ping_interval,
            ping_timeout: settings.ping_timeout,
            payload_bytes_max,
        };
        let heartbeat = Heartbeat::new(self.now.at, &settings);
        let polling = (means == Means::Polling).then(Box::default);
        if let Some(connection) = self.connections.get_mut(index) {
            connection.engine = Some(Box::new(Engine { settings, secret, polling, heartbeat }));
        }
        handshake
    }

    fn find_engine(&self, sid: &Sid) -> Option<u32> {
        let engine = self.connections.get(sid.index)?.engine.as_ref()?;
        sid.has_secret(&engine.secret).then_some(sid.index)
    }

    fn polling(&mut self, index: u32) -> Option<&mut Polling> {
        self.connections.get_mut(index)?.engine.as_mut()?.polling.as_deref_mut()
    }

    /// Applies a packet of a member; an error ends it.
    pub(super) fn on_packet(&mut self, index: u32, session: u32, text: &str) -> Result<(), Close> {
        match Packet::parse(text) {
            Ok(Packet::Message(text)) => self.apply_message(index, session, Message::Text(text)),
            Ok(Packet::Binary(bytes)) => {
                self.apply_message(index, session, Message::Binary(&bytes))
            }
            Ok(Packet::Pong) => {
                self.on_engine_pong(index);
                Ok(())
            }
            Ok(Packet::Close) => {
                self.say_goodbye(index);
                Ok(())
            }
            Ok(Packet::Ignored) => Ok(()),
            Err(engineio::BadPacket) => Err(BAD_PACKET),
        }
    }

    /// A client has ended its session. The poll that it has open, or that is still on its way on
    /// another connection, is answered (specs: socketio §2).
    fn say_goodbye(&mut self, index: u32) {
        let Some(polling) = self.polling(index) else { return self.close_member(index, GONE) };
        polling.said_goodbye = true;
        self.leave(index, GONE.code);
        self.finish_after_flush(index);
    }

    /// A session ends at once: whoever asks for it from now on is told that there is none.
    pub(super) fn end_engine(&mut self, engine: Engine) {
        let Some(polling) = engine.polling else { return };
        if let Some(parked) = polling.parked {
            self.answer_parked(parked, engineio::CLOSE.as_bytes());
        }
        if let Some(posting) = polling.posting {
            self.refuse_post(posting);
        }
        if let Some((probe, _)) = polling.probing
            && self.connections.resolve(probe).is_some()
        {
            self.close_unseated(probe.index, GONE);
        }
    }

    fn answer_preflight(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        request: &Request<'_>,
        form: &Form,
    ) {
        let mut headers = form.headers();
        headers.push(("Access-Control-Allow-Methods", "GET,HEAD,PUT,PATCH,POST,DELETE"));
        if let Some(asked) = request.header("access-control-request-headers") {
            headers.extend([
                ("Access-Control-Allow-Headers", asked),
                ("Vary", "Access-Control-Request-Headers"),
            ]);
        }
        self.answer_with(index, exchange, 204, &headers, b"");
    }

    fn refuse_engine(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        refusal: engineio::Refusal,
        form: &Form,
    ) {
        self.counters.violations.increment();
        self.answer_engine(
            index,
            exchange,
            refusal.status(),
            "application/json",
            refusal.body().as_bytes(),
            form,
        );
    }

    fn answer_engine(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        status: u16,
        content_type: &str,
        body: &[u8],
        form: &Form,
    ) {
        let mut headers = form.headers();
        headers.extend([("Content-Type", content_type), ("Cache-Control", "no-store")]);
        match form.coding.filter(|_| body.len() >= COMPRESSED_BYTES_MIN) {
            Some(coding) => {
                headers.extend([("Content-Encoding", coding.name()), ("Vary", "Accept-Encoding")]);
                let body = coding.compress(body);
                self.answer_with(index, exchange, status, &headers, &body);
            }
            None => self.answer_with(index, exchange, status, &headers, body),
        }
    }
}

impl Engine {
    /// Whether its client polls.
    pub(super) fn is_polling(&self) -> bool {
        self.polling.is_some()
    }

    /// Whether it polls, and has ended the session itself.
    pub(super) fn said_goodbye(&self) -> bool {
        self.polling.as_ref().is_some_and(|polling| polling.said_goodbye)
    }

    /// Whether a poll waits for its answer.
    pub(super) fn is_parked(&self) -> bool {
        self.polling.as_ref().is_some_and(|polling| polling.parked.is_some())
    }

    /// When a ping is next due, or its answer.
    pub(super) fn due(&self) -> Instant {
        self.heartbeat.due()
    }
}

impl Form {
    fn headers(&self) -> Vec<(&str, &str)> {
        let mut headers = match self.origin.as_deref() {
            None => Vec::new(),
            Some("*") => vec![("Access-Control-Allow-Origin", "*")],
            Some(origin) => vec![
                ("Access-Control-Allow-Origin", origin),
                ("Access-Control-Allow-Credentials", "true"),
                ("Vary", "Origin"),
            ],
        };
        headers.extend(self.cookie.as_deref().map(|cookie| ("Set-Cookie", cookie)));
        headers
    }
}

impl Coding {
    /// What a request asks for first, of what there is. What it refuses it does not name.
    fn wanted(request: &Request<'_>) -> Option<Self> {
        let named = |name| request.has_token("accept-encoding", name);
        let gzip = named("gzip").then_some(Self::Gzip);
        gzip.or_else(|| named("deflate").then_some(Self::Deflate))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    fn compress(self, body: &[u8]) -> Vec<u8> {
        let (out, level) = (Vec::new(), Compression::fast());
        let compressed = match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(out, level);
                encoder.write_all(body).and_then(|()| encoder.finish())
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(out, level);
                encoder.write_all(body).and_then(|()| encoder.finish())
            }
        };
        compressed.expect("a vector takes every byte")
    }
}

/// Frames a packet for a WebSocket.
pub(super) const PACKET: FrameKind = FrameKind::Text;

impl<S> Adoption<S> {
    /// Whether its packets are Engine.IO's.
    pub(super) fn is_engine(&self) -> bool {
        matches!(self.door.entrance.wire, Wire::EngineIo(_))
    }
}

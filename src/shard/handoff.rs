//! A connection's first move: from the shard that accepted it to the shard that owns its session.
//! What follows when it goes to another session is in `transfer`.
//!
//! Until then it is read one buffer at a time, so nothing is in the kernel's hands when it moves:
//! the item holds the socket (and closes it if it gets lost), the bytes not looked at yet, and what
//! the upgrade request said.

use std::net::SocketAddr;
use std::rc::Rc;

use super::Shard;
use super::connections::{Phase, Seat};
use super::engine::Door;
use super::mesh::Item;
use super::placement;
use super::sessions::{self, Session};
use crate::codec::engineio::Means;
use crate::net::Transport;
use crate::protocol::{Hello, Limits, Open, Protocol};
use crate::session::frame::FrameKind;
use crate::session::{Close, History};

/// A connection on its way into a session.
#[derive(Debug)]
pub struct Adoption<S> {
    pub(super) socket: S,
    pub(super) listener: u16,
    pub(super) door: Door,
    /// The session's key, or why there is none: told by a close frame after the upgrade.
    pub(super) key: Result<String, Close>,
    pub(super) hello: Hello,
    /// The upgrade response, to be sent by whoever takes the connection.
    pub(super) response: Vec<u8>,
    /// Bytes that came behind the request.
    pub(super) unread: Vec<u8>,
}

/// A connection whose request another shard answers.
#[derive(Debug)]
pub struct Reroute<S> {
    pub(super) socket: S,
    pub(super) listener: u16,
    /// The request, and what came behind it.
    pub(super) unread: Vec<u8>,
    /// Answers to the requests before it.
    pub(super) unsent: Vec<u8>,
    /// The peer sends no more.
    pub(super) input_ended: bool,
}

impl<T: Transport> Shard<T> {
    /// Sends a connection to the owner of its session, which may be this shard.
    pub(super) fn place(&mut self, adoption: Box<Adoption<T::Socket>>) {
        let owner = match &adoption.key {
            Ok(key) => self.owner(adoption.door.protocol, key),
            Err(_) => self.config.index,
        };
        if owner == self.config.index {
            self.adopt(*adoption);
            return;
        }
        self.counters.handed_off.increment();
        if let Err(Item::Adopt(adoption)) = self.peers[owner].send(Item::Adopt(adoption)) {
            self.counters.refused.increment();
            self.refuse_overloaded(adoption.socket, adoption.listener, b"");
        }
    }

    /// Gives a connection its seat.
    pub(super) fn adopt(&mut self, adoption: Adoption<T::Socket>) {
        let is_engine = adoption.is_engine();
        let Adoption { socket, listener, door, key, hello, response, unread } = adoption;
        let protocol = door.protocol;
        let index = self.insert_connection(Some(socket), listener, Phase::Busy);
        self.push_raw(index, &response);
        let key = match key {
            Ok(key) if !self.draining => key,
            Ok(_) => return self.close_unseated(index, protocol.restart),
            Err(close) => return self.close_unseated(index, close),
        };
        if is_engine {
            let open = self.attach_engine(index, door, Means::WebSocket);
            self.push_frame(index, FrameKind::Text, open.packet().as_bytes());
        }
        self.enter(index, protocol, key, Seat::new(), hello);
        if !unread.is_empty() {
            self.apply_unread(index, unread, 0);
        }
        self.read_on(index);
    }

    /// Seats a connection in the session `key` and tells the machine.
    pub(super) fn enter(
        &mut self,
        index: u32,
        protocol: &'static Protocol,
        key: String,
        seat: Seat,
        hello: Hello,
    ) {
        let session = match self.find_or_open(protocol, key) {
            Ok(session) => session,
            Err(close) => return self.close_unseated(index, close),
        };
        self.seat(index, session, seat);
        let member = super::member_id(index);
        let entered = self.call(session, |machine, fx| machine.on_enter(member, hello, fx));
        if let Some(Err(close)) = entered {
            self.close_member(index, close);
        }
        self.set_connection_timer(index);
    }

    fn seat(&mut self, index: u32, session: u32, seat: Seat) {
        let Some(place) = self.sessions.get_mut(session).map(|session| {
            if session.members.capacity() == 0 {
                // Many sessions have one member only.
                session.members.reserve_exact(1);
            }
            session.members.push(index);
            session.members.len() as u32 - 1
        }) else {
            return;
        };
        self.counters.members.increment();
        if let Some(connection) = self.connections.get_mut(index) {
            connection.phase = Phase::Member(Seat { session, place, admitted: false, ..seat });
        }
    }

    /// The shard that owns a session.
    pub(super) fn owner(&self, protocol: &Protocol, key: &str) -> usize {
        placement::owner(&sessions::name(protocol, key), self.config.shards)
    }

    /// The limits of a protocol's connections, shared by its sessions.
    pub(super) fn limits_of(&mut self, protocol: &'static Protocol) -> Rc<Limits> {
        let known = self.limits.iter().find(|(name, _)| *name == protocol.name);
        if let Some((_, limits)) = known {
            return Rc::clone(limits);
        }
        let limits = Rc::new((protocol.limits)(&self.config.protocols));
        self.limits.push((protocol.name, Rc::clone(&limits)));
        limits
    }

    /// The session of this key; opened if it is not there. Fails for one that cannot be opened.
    pub(super) fn find_or_open(
        &mut self,
        protocol: &'static Protocol,
        key: String,
    ) -> Result<u32, Close> {
        let name = sessions::name(protocol, &key);
        if let Some(session) = self.sessions.find(&name) {
            return Ok(session);
        }
        if let Some(close) = self.refusal(protocol, &name) {
            return Err(close);
        }
        let open = Open {
            key,
            now: self.now,
            config: self.config.protocols.clone(),
            durable: self.config.durable,
        };
        let timer = self.wheel.add(super::Timer::Session(self.sessions.next_index()));
        self.counters.sessions.increment();
        let limits = self.limits_of(protocol);
        let index = self.sessions.insert(Session {
            name: name.into_boxed_str(),
            protocol,
            limits,
            machine: (protocol.open)(open),
            history: History::new(),
            members: Vec::new(),
            timer,
            generation: 0,
            dirty: false,
            journal: self.journaling.cursor(protocol),
            unwritten: false,
            blobs: None,
        });
        self.resume_recovered(index);
        // It may have fallen by that.
        self.sessions.get(index).map(|_| index).ok_or(protocol.restart)
    }

    /// The owner's inbox is full: the request is refused, the client may try again.
    pub(super) fn refuse_overloaded(&mut self, socket: T::Socket, listener: u16, unsent: &[u8]) {
        let index = self.insert_connection(Some(socket), listener, Phase::Busy);
        self.push_raw(index, unsent);
        self.answer_and_close(index, 503, "The server is overloaded; try again.\n");
    }

    /// Address of the peer, for logs and for the protocol.
    pub(super) fn peer_address(&self, index: u32) -> SocketAddr {
        let socket = self.connections.get(index).and_then(|found| found.socket.as_ref());
        let peer = socket.and_then(|socket| self.net.peer(socket));
        peer.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }
}

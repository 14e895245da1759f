//! The lobby of Zeal's Socket.IO clients: where they are until they say which document they edit.
//!
//! A client that still polls cannot move to another session: it joins as soon as it has a WebSocket.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{
    BAD_PACKET, INVALID, INVALID_ROOM, NOT_JOINED, Request, STILL_POLLS, Said, Socket, TOO_LARGE,
    acknowledge, complain, packet, refuse, refuse_namespace, say_connected,
};
use crate::codec::engineio::{Means, Query};
use crate::codec::json::Raw;
use crate::protocol::yjs::{Config, UNAUTHORIZED, access, room_key};
use crate::protocol::{self, Hello, Machine, Message};
use crate::session::map::Map;
use crate::session::{Close, Effects, Instant, MemberId};

/// Time for a client that wants to join to get its WebSocket.
pub(in crate::protocol::yjs) const UPGRADE_MAX: Duration = Duration::from_secs(10);

/// The lobby.
#[derive(Debug)]
pub(in crate::protocol::yjs) struct Lobby {
    config: Arc<protocol::Config>,
    visitors: Map<MemberId, Visitor>,
    /// Those who wait for a WebSocket, and until when.
    waiting: BTreeSet<(Instant, MemberId)>,
}

#[derive(Debug)]
struct Visitor {
    socket: Socket,
    polls: bool,
    /// The key of the room it would join, and until when it may wait for that.
    joins: Option<(String, Instant)>,
}

impl Lobby {
    /// An empty lobby.
    pub(in crate::protocol::yjs) fn new(config: Arc<protocol::Config>) -> Self {
        Self { config, visitors: Map::default(), waiting: BTreeSet::new() }
    }

    fn config(&self) -> &Config {
        &self.config.yjs
    }

    /// A client connects: it may show its token now, or has in its URL.
    fn connect(
        &mut self,
        member: MemberId,
        auth: Option<Raw<'_>>,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let config = &self.config.yjs;
        let Some(Visitor { socket, .. }) = self.visitors.get_mut(&member) else { return Ok(()) };
        if socket.sid.is_some() {
            return Err(BAD_PACKET);
        }
        let by_token = token(auth).and_then(|token| access::rights(&token, config));
        let Some(may_write) = by_token.max(socket.by_url) else {
            refuse(member, super::ROOT, UNAUTHORIZED.reason, fx);
            return Ok(());
        };
        let sid = format!("{:016x}", fx.random);
        fx.admit(member);
        say_connected(member, &sid, fx);
        (socket.may_write, socket.sid) = (may_write, Some(sid.into()));
        Ok(())
    }

    fn on_request(&mut self, member: MemberId, request: &Request<'_>, fx: &mut Effects<'_>) {
        match request {
            Request::Join(room) => self.join(member, room, fx),
            Request::Leave(_) if self.forget_join(member).is_some() => {}
            Request::Leave(_) | Request::Message { .. } => complain(member, NOT_JOINED, fx),
            Request::Invalid => complain(member, INVALID, fx),
            Request::TooLarge => complain(member, TOO_LARGE, fx),
            Request::Unknown => {}
        }
    }

    fn join(&mut self, member: MemberId, room: &str, fx: &mut Effects<'_>) {
        let Some(key) = room_key(room) else { return complain(member, INVALID_ROOM, fx) };
        let Some(visitor) = self.visitors.get_mut(&member) else { return };
        if !visitor.polls {
            return self.send(member, key, fx);
        }
        let since = visitor.joins.take().map(|(_, until)| until);
        let until = since.unwrap_or_else(|| fx.at() + UPGRADE_MAX);
        visitor.joins = Some((key, until));
        self.waiting.insert((until, member));
    }

    /// A visitor goes to its room.
    fn send(&mut self, member: MemberId, key: String, fx: &mut Effects<'_>) {
        if let Some(visitor) = self.visitors.remove(&member) {
            fx.transfer(member, key, visitor.socket.pack());
        }
    }

    /// A visitor waits no more; which room it waited for.
    fn forget_join(&mut self, member: MemberId) -> Option<String> {
        let (key, until) = self.visitors.get_mut(&member)?.joins.take()?;
        self.waiting.remove(&(until, member));
        Some(key)
    }
}

/// The token that a client shows when it connects.
fn token(auth: Option<Raw<'_>>) -> Option<String> {
    // As everywhere, the last value of a key counts.
    let (_, token) = auth?.fields().filter(|(key, _)| key.is_string_of("token")).last()?;
    token.to_string_value().map(Cow::into_owned)
}

impl Machine for Lobby {
    fn on_enter(
        &mut self,
        member: MemberId,
        hello: Hello,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let (socket, polls) = match Socket::unpack(&hello.carry) {
            // It has left a room, and may stay.
            Some(socket) => {
                fx.admit(member);
                (socket, false)
            }
            None => {
                let by_url = access::may_write(&hello.target, self.config()).ok();
                let (_, query) = hello.target.split_once('?').unwrap_or_default();
                let polls = Query::parse(query).means == Some(Means::Polling);
                (Socket { sid: None, may_write: false, by_url }, polls)
            }
        };
        self.visitors.insert(member, Visitor { socket, polls, joins: None });
        Ok(())
    }

    fn on_message(
        &mut self,
        member: MemberId,
        message: Message<'_>,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let Message::Text(text) = message else { return Err(BAD_PACKET) };
        let Some(visitor) = self.visitors.get_mut(&member) else { return Ok(()) };
        let is_connected = visitor.socket.sid.is_some();
        match packet(text, self.config.yjs.native_message_bytes_max)? {
            Said::Connect(auth) => self.connect(member, auth, fx)?,
            Said::Elsewhere(namespace) => refuse_namespace(member, namespace, fx),
            _ if !is_connected => return Err(BAD_PACKET),
            Said::Disconnect => {
                visitor.socket.sid = None;
                self.forget_join(member);
            }
            Said::Event(request, ack) => {
                acknowledge(member, ack, fx);
                self.on_request(member, &request, fx);
            }
            Said::Nothing => {}
        }
        Ok(())
    }

    fn on_upgraded(&mut self, member: MemberId, fx: &mut Effects<'_>) {
        let Some(visitor) = self.visitors.get_mut(&member) else { return };
        visitor.polls = false;
        if let Some(key) = self.forget_join(member) {
            self.send(member, key, fx);
        }
    }

    fn on_leave(&mut self, member: MemberId, _: u16, _: &mut Effects<'_>) {
        self.forget_join(member);
        self.visitors.remove(&member);
    }

    fn on_deadline(&mut self, fx: &mut Effects<'_>) {
        while let Some(&(until, member)) = self.waiting.first()
            && until <= fx.at()
        {
            self.waiting.pop_first();
            let visitor = self.visitors.get_mut(&member);
            if visitor.is_some_and(|visitor| visitor.joins.take().is_some()) {
                complain(member, STILL_POLLS, fx);
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.waiting.first().map(|&(until, _)| until)
    }

    fn is_over(&self) -> bool {
        self.visitors.is_empty()
    }

    /// It is no document.
    fn describe(&self) -> String {
        String::new()
    }
}

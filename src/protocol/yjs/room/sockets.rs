//! Members of Zeal's Socket.IO form (§1). They do not listen to the room's history, whose frames are
//! binary: what is said to all is written once for all of them, as an event.

use bytes::Bytes;

use super::{Kind, Room};
use crate::codec::json::{OctetsError, Raw, octets_len, read_octets, write_octets};
use crate::codec::ysync::Head;
use crate::protocol::yjs::socketio::{
    self, BAD_PACKET, INVALID, INVALID_ROOM, NOT_JOINED, Request, Said, Socket, TOO_LARGE, Trouble,
    acknowledge, complain, packet, refuse_namespace, say_joined,
};
use crate::protocol::yjs::{MALFORMED, SOCKETIO_LOBBY, room_key};
use crate::session::frame::{FrameKind, HEADER_BYTES_MAX, Header};
use crate::session::{Close, Effects, MemberId};

/// What writing bytes as numbers needs beyond their text, for a moment.
const SLACK_BYTES: usize = 8;
/// Memory for incoming frames that a room keeps, in bytes.
const FRAME_BYTES_KEPT: usize = 4 << 10;

/// The members of this form, and what is used again for them.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// In order.
    members: Vec<MemberId>,
    /// What their events begin with; empty until the first of them comes.
    opening: Vec<u8>,
    /// The last difference that one was told, and its event.
    answer: Option<(Bytes, Bytes)>,
    /// Memory for a frame.
    frame: Vec<u8>,
}

impl Sockets {
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn has(&self, member: MemberId) -> bool {
        self.members.binary_search(&member).is_ok()
    }

    pub(super) fn insert(&mut self, member: MemberId, room: &str) {
        if self.opening.is_empty() {
            self.opening = socketio::opening(room);
        }
        if let Err(at) = self.members.binary_search(&member) {
            self.members.insert(at, member);
        }
    }

    pub(super) fn remove(&mut self, member: MemberId) {
        if let Ok(at) = self.members.binary_search(&member) {
            self.members.remove(at);
        }
        if self.members.is_empty() {
            *self = Self::default();
        }
    }

    /// Forgets what can be made again.
    pub(super) fn rest(&mut self) {
        self.answer = None;
    }

    /// Says something to all of them but one.
    pub(super) fn say(&self, except: Option<MemberId>, parts: &[&[u8]], fx: &mut Effects<'_>) {
        let mut members = self.members.iter().filter(|member| Some(**member) != except).peekable();
        if members.peek().is_none() {
            return;
        }
        let event = self.event(parts);
        members.for_each(|&member| fx.relay(member, event.clone()));
    }

    /// Tells one of them something, which may be more than it may let pile up.
    pub(super) fn tell(&self, member: MemberId, parts: &[&[u8]], fx: &mut Effects<'_>) {
        fx.share(member, self.event(parts));
    }

    /// Tells one of them what it lacks: those that lack the same are told the same bytes.
    pub(super) fn tell_lacks(&mut self, member: MemberId, lacks: &Bytes, fx: &mut Effects<'_>) {
        let is_known =
            |known: &Bytes| known.as_ptr() == lacks.as_ptr() && known.len() == lacks.len();
        let event = match &self.answer {
            Some((known, event)) if is_known(known) => event.clone(),
            _ => {
                let head = Head::step2(lacks.len());
                let event = self.event(&[head.as_bytes(), lacks]);
                self.answer = Some((lacks.clone(), event.clone()));
                event
            }
        };
        fx.share(member, event);
    }

    /// A message event, framed.
    fn event(&self, parts: &[&[u8]]) -> Bytes {
        let payload = self.opening.len() + octets_len(parts) + 1;
        let mut out = Vec::with_capacity(HEADER_BYTES_MAX + payload + SLACK_BYTES);
        out.extend_from_slice(Header::new(FrameKind::Text, payload).as_bytes());
        let begin = out.len();
        out.extend_from_slice(&self.opening);
        write_octets(&mut out, parts);
        out.push(b']');
        debug_assert_eq!(out.len() - begin, payload, "as long as announced");
        out.into()
    }
}

impl Room {
    /// A member of this form says something.
    pub(super) fn hear_socket(
        &mut self,
        member: MemberId,
        text: &str,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        match packet(text, self.config().native_message_bytes_max)? {
            // It is connected already.
            Said::Connect(_) => return Err(BAD_PACKET),
            Said::Elsewhere(namespace) => refuse_namespace(member, namespace, fx),
            Said::Disconnect => self.send_away(member, SOCKETIO_LOBBY, true, fx),
            Said::Event(request, ack) => {
                acknowledge(member, ack, fx);
                return self.on_socket_request(member, &request, fx);
            }
            Said::Nothing => {}
        }
        Ok(())
    }

    fn on_socket_request(
        &mut self,
        member: MemberId,
        request: &Request<'_>,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        match request {
            Request::Message { room, octets } if room.is_string_of(&self.name) => {
                return self.on_octets(member, *octets, fx);
            }
            Request::Join(room) if **room == *self.name => self.welcome(member, fx),
            Request::Join(room) => match room_key(room) {
                Some(key) => self.send_away(member, &key, false, fx),
                None => complain(member, INVALID_ROOM, fx),
            },
            Request::Leave(room) if room.is_string_of(&self.name) => {
                self.send_away(member, SOCKETIO_LOBBY, false, fx);
            }
            Request::Message { .. } | Request::Leave(_) => complain(member, NOT_JOINED, fx),
            Request::Invalid => complain(member, INVALID, fx),
            Request::TooLarge => complain(member, TOO_LARGE, fx),
            Request::Unknown => {}
        }
        Ok(())
    }

    fn on_octets(
        &mut self,
        member: MemberId,
        octets: Raw<'_>,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let bytes_max = self.config().native_message_bytes_max;
        let mut frame = std::mem::take(&mut self.sockets.frame);
        let result = match read_octets(octets, &mut frame, bytes_max) {
            Ok(()) => match self.on_frame(member, &frame, fx) {
                Err(close) if close == MALFORMED => {
                    complain(member, INVALID, fx);
                    Ok(())
                }
                Err(close) => {
                    complain(member, Trouble::of(close), fx);
                    Err(close)
                }
                Ok(()) => Ok(()),
            },
            Err(OctetsError::TooMany) => {
                complain(member, TOO_LARGE, fx);
                Ok(())
            }
            Err(_) => {
                complain(member, INVALID, fx);
                Ok(())
            }
        };
        frame.clear();
        frame.shrink_to(FRAME_BYTES_KEPT);
        self.sockets.frame = frame;
        result
    }

    /// Tells a member of this form that it is here, as if it had just come.
    pub(super) fn welcome(&mut self, member: MemberId, fx: &mut Effects<'_>) {
        let sid = match self.seats.get(&member).map(|seat| &seat.kind) {
            Some(Kind::Socket(socket)) => socket.sid.as_deref().unwrap_or_default(),
            _ => return,
        };
        say_joined(member, &self.name, sid, fx);
        self.ask(member, fx);
        self.tell_everybody_there(member, fx);
    }

    /// A member of this form goes elsewhere, and perhaps out of its namespace.
    fn send_away(&mut self, member: MemberId, key: &str, ends: bool, fx: &mut Effects<'_>) {
        let Some(seat) = self.leave(member, fx) else { return };
        let Kind::Socket(mut socket) = seat.kind else { return };
        if ends {
            socket.sid = None;
        }
        fx.transfer(member, key.to_owned(), socket.pack());
    }

    /// A client of this form cannot come in: it is told why, and may try elsewhere.
    pub(super) fn turn_away(member: MemberId, socket: &Socket, close: Close, fx: &mut Effects<'_>) {
        complain(member, Trouble::of(close), fx);
        fx.transfer(member, SOCKETIO_LOBBY.to_owned(), socket.pack());
    }
}

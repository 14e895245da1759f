//! The way from polling to a WebSocket (specs: socketio §5): the client opens one, probes it, and
//! says when it has moved. Until then everything goes on by polling.

use super::super::Shard;
use super::super::connections::{Moment, Phase};
use super::super::http::Exchange;
use super::{GONE, PACKET};
use crate::codec::engineio::{NOOP, PROBE, PROBED, UPGRADE};
use crate::codec::http1::Request;
use crate::codec::websocket::{Decoder, Incoming, Limits, handshake};
use crate::net::{Token, Transport};
use crate::session::frame::FrameKind;

/// What is said on a WebSocket before a session has moved to it.
const LIMITS: Limits = Limits { message_bytes_max: 1 << 10, fragments_max: 4 };

/// A WebSocket that a session may move to.
#[derive(Debug)]
pub(in crate::shard) struct Probe {
    /// Whose.
    member: Token,
    decoder: Decoder,
    /// The client has moved: what it has said behind that.
    moved: Option<Vec<u8>>,
}

impl Probe {
    /// Whether the session moves as soon as everything is sent.
    pub(in crate::shard) fn has_moved(&self) -> bool {
        self.moved.is_some()
    }
}

impl<T: Transport> Shard<T> {
    /// A client opens a WebSocket for its session.
    pub(super) fn begin_probe(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        request: &Request<'_>,
        member: u32,
    ) {
        let accept = match handshake::accept(request) {
            Ok(accept) => accept,
            Err(refusal) => return self.refuse_handshake(index, refusal),
        };
        let mut response = Vec::new();
        accept.write_response(&[], &mut response);
        self.push_raw(index, &response);
        let unread = std::mem::take(&mut exchange.input);
        let Some(connection) = self.connections.get(index) else { return };
        let token = connection.token(index);
        let is_seated = self.seat_of(member).is_some();
        let Some(owner) = self.connections.get(member).map(|found| found.token(member)) else {
            return;
        };
        match self.polling(member) {
            Some(polling) if polling.probing.is_none() && is_seated => {
                polling.probing = Some((token, false));
            }
            // It has moved, or is about to.
            _ => return self.close_unseated(index, GONE),
        }
        let now = self.now.at;
        if let Some(connection) = self.connections.get_mut(index) {
            connection.since = Moment::of(now);
            connection.phase = Phase::Probing(Box::new(Probe {
                member: owner,
                decoder: Decoder::new(),
                moved: None,
            }));
        }
        self.set_connection_timer(index);
        self.on_probe_bytes(index, &mut { unread });
        self.read_on(index);
    }

    /// Looks at what is said on a WebSocket that a session may move to.
    pub(in crate::shard) fn on_probe_bytes(&mut self, index: u32, mut input: &mut [u8]) {
        let Some(probe) = self.probe(index) else { return };
        let member = probe.member;
        if let Some(moved) = &mut probe.moved {
            return moved.extend_from_slice(input);
        }
        let mut decoder = std::mem::take(&mut probe.decoder);
        loop {
            match decoder.next(&mut input, LIMITS, &mut self.assemblies) {
                Ok(None) => break,
                Ok(Some(Incoming::Text(PROBE))) => {
                    self.push_frame(index, PACKET, PROBED.as_bytes());
                    self.on_probed(member);
                }
                Ok(Some(Incoming::Text(UPGRADE))) => {
                    if let Some(probe) = self.probe(index) {
                        (probe.decoder, probe.moved) = (decoder, Some(input.to_vec()));
                    }
                    // What is sent here must be sent before what the session sends.
                    return self.move_if_flushed(index);
                }
                Ok(Some(Incoming::Ping(payload))) => {
                    self.push_frame(index, FrameKind::Pong, payload);
                }
                Ok(Some(Incoming::Pong(_))) => {}
                // The session goes on without it.
                Ok(Some(_)) | Err(_) => {
                    decoder.release(&mut self.assemblies);
                    return self.end_probe(index);
                }
            }
        }
        if let Some(probe) = self.probe(index) {
            probe.decoder = decoder;
        }
    }

    /// The client waits for its poll to be answered, so as to move.
    fn on_probed(&mut self, member: Token) {
        if self.connections.find(member).is_none() {
            return;
        }
        if let Some(polling) = self.polling(member.index)
            && let Some((_, probed)) = &mut polling.probing
        {
            *probed = true;
            self.mark_dirty(member.index);
        }
    }

    /// Gives a session that has moved its socket.
    pub(in crate::shard) fn move_if_flushed(&mut self, index: u32) {
        let Some(connection) = self.connections.get(index) else { return };
        if connection.has_output() || connection.armed {
            return;
        }
        let Some(connection) = self.remove_connection(index) else { return };
        let (Phase::Probing(probe), Some(socket)) = (connection.phase, connection.socket) else {
            return;
        };
        let Probe { member, decoder, moved } = *probe;
        let index = member.index;
        let now = self.now.at;
        let Some(connection) = self.connections.resolve(member) else { return };
        connection.socket = Some(socket);
        let at = Moment::of(now);
        (connection.blocked, connection.heard, connection.progress) = (false, at, at);
        let polling = connection.engine.as_mut().and_then(|engine| engine.polling.take());
        if let Phase::Member(seat) = &mut connection.phase {
            seat.decoder = decoder;
        }
        self.counters.upgrades.increment();
        self.counters.polling.decrement();
        self.mark_dirty(index);
        if let Some(polling) = polling {
            if let Some(parked) = polling.parked {
                self.answer_parked(parked, NOOP.as_bytes());
            }
            if let Some(posting) = polling.posting {
                self.refuse_post(posting);
            }
        }
        if let Some(session) = self.session_of(index, member.generation) {
            let member = super::super::member_id(index);
            self.call(session, |machine, fx| machine.on_upgraded(member, fx));
        }
        self.apply_unread(index, moved.unwrap_or_default(), 0);
        self.read_on(index);
        self.set_connection_timer(index);
    }

    /// Closes a WebSocket that no session moves to.
    pub(in crate::shard) fn end_probe(&mut self, index: u32) {
        if let Some(probe) = self.probe(index) {
            let (member, mut decoder) = (probe.member, std::mem::take(&mut probe.decoder));
            decoder.release(&mut self.assemblies);
            self.forget_probe(member);
            self.close_unseated(index, GONE);
        }
    }

    /// A WebSocket is gone that a session might have moved to.
    pub(in crate::shard) fn abandon_probe(&mut self, probe: &mut Probe) {
        probe.decoder.release(&mut self.assemblies);
        self.forget_probe(probe.member);
    }

    fn forget_probe(&mut self, member: Token) {
        if self.connections.find(member).is_some()
            && let Some(polling) = self.polling(member.index)
        {
            polling.probing = None;
        }
    }

    fn probe(&mut self, index: u32) -> Option<&mut Probe> {
        match &mut self.connections.get_mut(index)?.phase {
            Phase::Probing(probe) => Some(probe),
            _ => None,
        }
    }
}

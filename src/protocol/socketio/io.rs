//! What an application answers with.

use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use super::id::SocketId;
use super::recovery::Audience;
use super::sockets::Sockets;
use super::{AckId, CLOSE, Socket};
use crate::codec::socketio::{Head, ack, event};
use crate::session::effects::Droppable;
use crate::session::frame::{FrameKind, Header};
use crate::session::{Effects, Instant};

/// Smaller messages for several members are copied for each, in bytes: what is copied leaves in one
/// piece with all else that a member is sent, and counts as its own when it does not read.
const SHARED_BYTES_MIN: usize = 1 << 10;

/// Encodes what an application says, and hands on to the [`Effects`] of its session.
///
/// Names of events are texts that need no escapes. Arguments are JSON values, one slice each, and go
/// out as they are. What is said to a client that is not in its namespace is said to nobody.
#[derive(Debug)]
pub struct Io<'io, 'fx> {
    /// Time, randomness, storage and the journal. What is said to members goes through the methods
    /// of `Io`.
    pub fx: &'io mut Effects<'fx>,
    sockets: &'io mut Sockets,
}

impl<'io, 'fx> Io<'io, 'fx> {
    pub(super) fn new(fx: &'io mut Effects<'fx>, sockets: &'io mut Sockets) -> Self {
        Self { fx, sockets }
    }

    /// Says something to everybody in the first namespace.
    pub fn broadcast(&mut self, name: &str, args: &[&[u8]]) {
        let head = self.event_head(0);
        self.say(
            0,
            || Audience::All,
            (&head, name, args),
            |fx, parts| {
                fx.append(FrameKind::Text, parts);
            },
        );
    }

    /// Says something to everybody in the first namespace but one.
    pub fn broadcast_except(&mut self, socket: Socket, name: &str, args: &[&[u8]]) {
        let (head, id) = (self.event_head(0), self.sockets.id(socket));
        self.say(
            0,
            || Audience::AllBut(id),
            (&head, name, args),
            |fx, parts| {
                fx.append_except(socket.member, FrameKind::Text, parts);
            },
        );
    }

    /// Says something in the first namespace that a newer message of its class makes worthless.
    pub fn broadcast_droppable(&mut self, how: Droppable, name: &str, args: &[&[u8]]) {
        self.fx.append_droppable(how, FrameKind::Text, &event(&self.event_head(0), name, args));
    }

    /// Says something to one client.
    pub fn emit(&mut self, socket: Socket, name: &str, args: &[&[u8]]) {
        if let Some(id) = self.sockets.id(socket) {
            let head = self.event_head(socket.namespace);
            let audience = || Audience::Only(vec![id]);
            self.say(socket.namespace, audience, (&head, name, args), |fx, parts| {
                fx.reply(socket.member, FrameKind::Text, parts);
            });
        }
    }

    /// Says something to several clients of one namespace: encoded once.
    pub fn multicast(&mut self, to: &[Socket], name: &str, args: &[&[u8]]) {
        self.send(to.iter().copied(), name, args);
    }

    /// Says something to several clients: encoded once, if they are in one namespace.
    pub fn send(&mut self, to: impl IntoIterator<Item = Socket>, name: &str, args: &[&[u8]]) {
        if self.sockets.recovery.is_some() {
            // Each is told alone what it is to be told again.
            return to.into_iter().for_each(|socket| self.emit(socket, name, args));
        }
        let mut encoded: Option<(u8, Frame)> = None;
        for socket in to {
            if !self.sockets.is_connected(socket) {
                continue;
            }
            let of_namespace = |(namespace, _): &(u8, Frame)| *namespace == socket.namespace;
            let (_, frame) = match encoded.take().filter(of_namespace) {
                Some(known) => encoded.insert(known),
                None => {
                    let head = self.event_head(socket.namespace);
                    encoded.insert((socket.namespace, Frame::new(&event(&head, name, args))))
                }
            };
            match frame.shared() {
                Some(bytes) => self.fx.share(socket.member, bytes),
                None => self.fx.reply(socket.member, FrameKind::Text, &[frame.payload()]),
            }
        }
    }

    /// Says something to one client, with binary attachments that the placeholders in `args` name.
    /// Clients take [`ATTACHMENTS_MAX`](crate::codec::socketio::ATTACHMENTS_MAX) of them.
    pub fn emit_binary(
        &mut self,
        socket: Socket,
        name: &str,
        args: &[&[u8]],
        attachments: &[&[u8]],
    ) {
        if self.sockets.is_connected(socket) {
            let prefix = self.sockets.prefix(socket.namespace);
            let head = Head::event(prefix, attachments.len(), None);
            self.reply(socket, &event(&head, name, args), attachments);
        }
    }

    /// Acknowledges an event. Each is acknowledged once: more is said to nobody.
    pub fn acknowledge(&mut self, socket: Socket, ack: AckId, args: &[&[u8]]) {
        self.acknowledge_binary(socket, ack, args, &[]);
    }

    /// Acknowledges an event, with binary attachments that the placeholders in `args` name.
    pub fn acknowledge_binary(
        &mut self,
        socket: Socket,
        id: AckId,
        args: &[&[u8]],
        attachments: &[&[u8]],
    ) {
        if self.sockets.take_ack(socket, id) {
            let prefix = self.sockets.prefix(socket.namespace);
            let head = Head::ack(prefix, attachments.len(), id.0);
            self.reply(socket, &ack(&head, args), attachments);
        }
    }

    /// Says something to one client that it is to acknowledge; the number that
    /// [`Application::on_answer`](super::Application::on_answer) will name. A client that is not
    /// there has no answer: do not ask it again.
    pub fn request(&mut self, socket: Socket, name: &str, args: &[&[u8]], within: Duration) -> u64 {
        let due = self.at() + within;
        let (number, is_connected) = self.sockets.open_request(socket, due);
        if is_connected {
            let head = Head::event(self.sockets.prefix(socket.namespace), 0, Some(number));
            self.fx.reply(socket.member, FrameKind::Text, &event(&head, name, args));
        }
        number
    }

    /// Disconnects a client from its namespace. The application is told
    /// ([`Application::on_disconnect`](super::Application::on_disconnect)).
    pub fn disconnect(&mut self, socket: Socket) {
        if self.sockets.disconnect(socket) {
            let head = Head::disconnect(self.sockets.prefix(socket.namespace));
            self.fx.reply(socket.member, FrameKind::Text, &[head.as_bytes()]);
            if socket.namespace == 0 {
                self.fx.unlisten(socket.member);
            }
        }
    }

    /// Disconnects a client from its namespace and closes its connection.
    pub fn kick(&mut self, socket: Socket) {
        if self.sockets.is_connected(socket) {
            self.disconnect(socket);
            self.fx.close(socket.member, CLOSE);
        }
    }

    /// Whether the client that connects in this call has come back: it was told what it has missed.
    pub fn is_back(&self) -> bool {
        self.sockets.is_back
    }

    /// What others know the client by, while it is in its namespace: the `sid` it was told.
    pub fn id(&self, socket: Socket) -> Option<SocketId> {
        self.sockets.id(socket)
    }

    /// Time of this call on the monotonic clock.
    pub fn at(&self) -> Instant {
        self.fx.at()
    }

    /// Sends a packet and its attachments, with nothing in between.
    fn reply(&mut self, socket: Socket, text: &[&[u8]], attachments: &[&[u8]]) {
        self.fx.reply(socket.member, FrameKind::Text, text);
        for attachment in attachments {
            self.fx.reply(socket.member, FrameKind::Binary, &[attachment]);
        }
    }

    /// Says an event, with its offset if it is kept for those who may come back.
    fn say(
        &mut self,
        namespace: u8,
        audience: impl FnOnce() -> Audience,
        (head, name, args): (&Head, &str, &[&[u8]]),
        say: impl FnOnce(&mut Effects<'fx>, &[&[u8]]),
    ) {
        let at = self.at();
        let Some(recovery) = &mut self.sockets.recovery else {
            return say(self.fx, &event(head, name, args));
        };
        let offset = recovery.offset();
        let mut all: SmallVec<[&[u8]; 8]> = args.into();
        all.push(offset.as_bytes());
        let parts = event(head, name, &all);
        recovery.keep(at, namespace, audience(), &parts);
        say(self.fx, &parts);
    }

    fn event_head(&self, namespace: u8) -> Head {
        Head::event(self.sockets.prefix(namespace), 0, None)
    }
}

/// A text message for several members, in one piece as it is on the wire.
#[derive(Debug)]
struct Frame {
    bytes: Bytes,
    header: usize,
}

impl Frame {
    fn new(parts: &[&[u8]]) -> Self {
        let payload = parts.iter().map(|part| part.len()).sum();
        let header = Header::new(FrameKind::Text, payload);
        let header = header.as_bytes();
        let mut bytes = Vec::with_capacity(header.len() + payload);
        bytes.extend_from_slice(header);
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Self { bytes: bytes.into(), header: header.len() }
    }

    fn payload(&self) -> &[u8] {
        &self.bytes[self.header..]
    }

    /// The bytes for one more member, if they are worth to be shared.
    fn shared(&self) -> Option<Bytes> {
        (self.bytes.len() >= SHARED_BYTES_MIN).then(|| self.bytes.clone())
    }
}

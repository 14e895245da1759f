//! The machine between a session's connections and its application.

use std::sync::Arc;
use std::time::Duration;

use super::super::{Config, Hello, Loaded, Machine, Message};
use super::assembly::{Added, Assembly, Said};
use super::hello::KeptHello;
use super::id::SocketId;
use super::recovery::{self, Back, Recovery};
use super::sockets::{Member, Notice, Sockets};
use super::{AckId, Application, CLOSE, Event, Io, Socket, Values};
use crate::codec::json::{Kept, Raw};
use crate::codec::socketio::{Body, Head, Limits, Packet, connect_error, decode, prefix};
use crate::session::blobs::{BlobDone, BlobError};
use crate::session::effects::RecordName;
use crate::session::frame::FrameKind;
use crate::session::journal::Entries;
use crate::session::{Close, Effects, Instant, MemberId};

/// What a client is told that asks for a namespace there is not.
const INVALID_NAMESPACE: &str = "Invalid namespace";

/// A session of an application: its clients' connections, namespaces, acknowledgements and
/// attachments.
#[derive(Debug)]
pub struct Server<A> {
    app: A,
    sockets: Sockets,
    attachments_bytes_max: usize,
}

impl<A: Application> Server<A> {
    /// A session that nobody is in. The attachments of one packet may have so many bytes together.
    ///
    /// # Panics
    /// If the application has more than 255 namespaces.
    pub fn new(app: A, attachments_bytes_max: usize) -> Self {
        assert!(app.namespaces().len() <= usize::from(u8::MAX), "a namespace is named by a byte");
        let sockets = Sockets::new(app.namespaces());
        Self { app, sockets, attachments_bytes_max }
    }

    /// The same, whose clients may come back within this time after their connection was cut, and
    /// are told what they have missed. Every event then has an argument more.
    pub fn with_recovery(mut self, within: Duration) -> Self {
        self.sockets.recovery = Some(Box::new(Recovery::new(within)));
        self
    }

    /// The application.
    pub fn app(&self) -> &A {
        &self.app
    }

    #[cfg(test)]
    pub(super) fn app_mut(&mut self) -> &mut A {
        &mut self.app
    }

    /// What must hold between any two calls.
    ///
    /// # Panics
    /// If it does not.
    pub fn invariants(&self) {
        self.sockets.invariants();
    }

    /// Calls the application, and tells it what follows from what it did.
    fn call<R>(
        &mut self,
        fx: &mut Effects<'_>,
        act: impl FnOnce(&mut A, &mut Io<'_, '_>) -> R,
    ) -> R {
        let result = act(&mut self.app, &mut Io::new(fx, &mut self.sockets));
        self.settle(fx);
        result
    }

    /// Tells the application what it does not know yet.
    fn settle(&mut self, fx: &mut Effects<'_>) {
        self.sockets.end_event();
        self.tell_notices(fx);
        let recovery = self.sockets.recovery.as_mut();
        if recovery.is_some_and(|recovery| recovery.record(fx)) {
            self.app.on_checkpoint(&mut Io::new(fx, &mut self.sockets));
            self.tell_notices(fx);
        }
    }

    fn tell_notices(&mut self, fx: &mut Effects<'_>) {
        while let Some(notice) = self.sockets.next_notice() {
            let io = &mut Io::new(fx, &mut self.sockets);
            match notice {
                Notice::Unanswered(socket, request, why) => {
                    self.app.on_answer(socket, request, Err(why), io);
                }
                Notice::Disconnected(socket) => self.app.on_disconnect(socket, io),
            }
        }
    }

    fn on_text(&mut self, member: MemberId, text: &str, fx: &mut Effects<'_>) -> Result<(), Close> {
        let is_due = |member: &mut Member| member.assembly.is_some();
        if self.sockets.member(member).is_none_or(is_due) {
            return Err(CLOSE);
        }
        let packet = decode(text, Limits::default()).map_err(|_| CLOSE)?;
        self.on_packet(member, packet, fx)
    }

    fn on_packet(
        &mut self,
        member: MemberId,
        packet: Packet<'_>,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let namespaces = self.app.namespaces();
        let namespace = namespaces.iter().position(|name| *name == packet.namespace);
        let socket = namespace.map(|namespace| Socket { member, namespace: namespace as u8 });
        if let Body::Connect(auth) = packet.body {
            return match socket {
                Some(socket) => self.connect(socket, auth, fx),
                None => {
                    refuse(member, &prefix(packet.namespace), INVALID_NAMESPACE, None, fx);
                    Ok(())
                }
            };
        }
        let socket = socket.filter(|socket| self.sockets.is_connected(*socket)).ok_or(CLOSE)?;
        match packet.body {
            Body::Connect(_) | Body::ConnectError(_) => return Err(CLOSE),
            Body::Disconnect => self.disconnect(socket, fx),
            Body::Event { attachments, payload } => {
                let said = Said::Event(packet.ack.map(AckId));
                self.begin(socket, said, attachments, payload, fx);
            }
            Body::Ack { attachments, payload } => {
                self.begin(socket, Said::Answer(packet.ack), attachments, payload, fx);
            }
        }
        Ok(())
    }

    /// A client asks to connect. That it may comes before what the application says to it; all of
    /// that is taken back if the application does not want it.
    fn connect(
        &mut self,
        socket: Socket,
        auth: Option<Raw<'_>>,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        if self.sockets.is_connected(socket) {
            return Err(CLOSE);
        }
        let kept = self.sockets.member(socket.member).and_then(|member| member.hello.as_ref());
        let hello = kept.ok_or(CLOSE)?.to_hello();
        let recovery = self.sockets.recovery.as_mut();
        let back = recovery.and_then(|kept| kept.come_back(socket.namespace, auth, fx.at()));
        let id = self.sockets.connect(socket, fx.random, back.map(|back| back.id));
        let before = fx.mark();
        fx.admit(socket.member);
        if socket.namespace == 0 {
            fx.listen(socket.member);
        }
        self.welcome(socket, id, back, fx);
        self.sockets.is_back = back.is_some();
        let io = &mut Io::new(fx, &mut self.sockets);
        match self.app.on_connect(socket, &hello, auth, io) {
            Ok(()) => self.forget_hello(socket.member),
            Err(refusal) => {
                fx.retract(socket.member, before);
                self.sockets.refuse(socket);
                let prefix = self.sockets.prefix(socket.namespace);
                refuse(socket.member, prefix, &refusal.message, refusal.data.as_deref(), fx);
            }
        }
        self.settle(fx);
        Ok(())
    }

    /// Tells a client that it is connected; before, what one who is back has missed.
    fn welcome(&mut self, socket: Socket, id: SocketId, back: Option<Back>, fx: &mut Effects<'_>) {
        let head = Head::connect(self.sockets.prefix(socket.namespace));
        let mut pid = None;
        if let Some(recovery) = &mut self.sockets.recovery {
            for packet in back.iter().flat_map(|back| recovery.missed(socket.namespace, *back)) {
                fx.reply(socket.member, FrameKind::Text, &[packet]);
            }
            pid = Some(recovery.connect(socket, id, fx.random, back).to_text());
        }
        let id = id.to_text();
        let between: &[u8] = if pid.is_some() { b"\",\"pid\":\"" } else { b"" };
        let pid = pid.as_ref().map_or(&[][..], |pid| &pid[..]);
        let parts = [head.as_bytes(), b"{\"sid\":\"", &id, between, pid, b"\"}"];
        fx.reply(socket.member, FrameKind::Text, &parts);
    }

    /// Forgets what a connection's upgrade request told, if nothing can ask for it any more.
    fn forget_hello(&mut self, member: MemberId) {
        if !self.app.may_return()
            && self.sockets.is_everywhere(member)
            && let Some(member) = self.sockets.member(member)
        {
            member.hello = None;
        }
    }

    fn disconnect(&mut self, socket: Socket, fx: &mut Effects<'_>) {
        self.sockets.disconnect(socket);
        if socket.namespace == 0 {
            fx.unlisten(socket.member);
        }
        self.settle(fx);
    }

    /// A packet has come, but perhaps not its attachments.
    fn begin(
        &mut self,
        socket: Socket,
        said: Said,
        attachments: u8,
        payload: Option<Raw<'_>>,
        fx: &mut Effects<'_>,
    ) {
        if attachments == 0 {
            return self.hear(socket, said, payload, &[], fx);
        }
        let assembly = Assembly::new(socket, said, payload.map(Kept::from), attachments);
        if let Some(member) = self.sockets.member(socket.member) {
            member.assembly = Some(Box::new(assembly));
        }
    }

    fn on_attachment(
        &mut self,
        member: MemberId,
        bytes: &[u8],
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let bytes_max = self.attachments_bytes_max;
        let slot = &mut self.sockets.member(member).ok_or(CLOSE)?.assembly;
        let assembly = match slot.as_mut().ok_or(CLOSE)?.add(bytes, bytes_max) {
            Added::Due => return Ok(()),
            Added::TooLarge => return Err(CLOSE),
            Added::Whole => slot.take().ok_or(CLOSE)?,
        };
        // The application may have disconnected it meanwhile.
        if self.sockets.is_connected(assembly.socket()) {
            let payload = assembly.payload().map(Kept::as_raw);
            let attachments = assembly.attachments();
            self.hear(assembly.socket(), assembly.said(), payload, attachments, fx);
        }
        Ok(())
    }

    /// A whole packet has come.
    fn hear(
        &mut self,
        socket: Socket,
        said: Said,
        payload: Option<Raw<'_>>,
        attachments: &[Vec<u8>],
        fx: &mut Effects<'_>,
    ) {
        let Some(payload) = payload else { return };
        let mut values = payload.elements();
        match said {
            Said::Event(ack) => {
                let Some(name) = values.next() else { return };
                let event = Event { name, args: Values { values, attachments }, ack };
                self.sockets.begin_event(socket, ack);
                self.call(fx, |app, io| app.on_event(socket, event, io));
            }
            Said::Answer(Some(request)) if self.sockets.requests.close(socket, request) => {
                let values = Ok(Values { values, attachments });
                self.call(fx, |app, io| app.on_answer(socket, request, values, io));
            }
            // Answers to what was not asked, or not any more, are for nobody.
            Said::Answer(_) => {}
        }
    }
}

/// Tells a connection that it may not connect to a namespace.
fn refuse(member: MemberId, prefix: &str, message: &str, data: Option<&str>, fx: &mut Effects<'_>) {
    let head = Head::connect_error(prefix);
    let parts: [&[u8]; 2] = [head.as_bytes(), &connect_error(message, data)];
    fx.reply(member, FrameKind::Text, &parts);
}

impl<A: Application> Machine for Server<A> {
    fn on_open(&mut self, fx: &mut Effects<'_>) {
        self.call(fx, A::on_open);
    }

    fn on_enter(
        &mut self,
        member: MemberId,
        hello: Hello,
        _: &mut Effects<'_>,
    ) -> Result<(), Close> {
        self.sockets.enter(member, KeptHello::new(&hello));
        Ok(())
    }

    fn on_message(
        &mut self,
        member: MemberId,
        message: Message<'_>,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let result = match message {
            Message::Binary(bytes) => self.on_attachment(member, bytes, fx),
            Message::Text(text) => self.on_text(member, text, fx),
        };
        if result.is_err()
            && let Some(recovery) = &mut self.sockets.recovery
        {
            recovery.forget_all(member);
        }
        result
    }

    fn on_leave(&mut self, member: MemberId, _: u16, fx: &mut Effects<'_>) {
        self.sockets.leave(member, fx.at());
        self.settle(fx);
    }

    fn on_deadline(&mut self, fx: &mut Effects<'_>) {
        self.sockets.expire(fx.at());
        if let Some(recovery) = &mut self.sockets.recovery {
            recovery.expire(fx.at());
        }
        self.settle(fx);
        if self.app.deadline().is_some_and(|due| due <= fx.at()) {
            self.call(fx, A::on_deadline);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let recovery = self.sockets.recovery.as_ref().and_then(|recovery| recovery.deadline());
        let own = self.sockets.requests.deadline().into_iter().chain(recovery);
        own.chain(self.app.deadline()).min()
    }

    fn on_loaded(&mut self, ticket: u32, records: Loaded, fx: &mut Effects<'_>) {
        self.call(fx, |app, io| app.on_loaded(ticket, records, io));
    }

    fn on_recovered(&mut self, entries: Entries, fx: &mut Effects<'_>) {
        let (own, others) = recovery::split(&entries);
        if let Some(recovery) = &mut self.sockets.recovery {
            recovery.replay(&own, fx.at());
        }
        self.call(fx, |app, io| app.on_recovered(others, io));
    }

    fn on_checkpoint(&mut self, fx: &mut Effects<'_>) {
        if let Some(recovery) = &mut self.sockets.recovery {
            recovery.renew(fx);
        }
        self.call(fx, A::on_checkpoint);
    }

    fn on_stored(&mut self, record: &RecordName, result: Result<(), String>, fx: &mut Effects<'_>) {
        self.call(fx, |app, io| app.on_stored(record, result, io));
    }

    fn on_blob(&mut self, ticket: u32, result: Result<BlobDone, BlobError>, fx: &mut Effects<'_>) {
        self.call(fx, |app, io| app.on_blob(ticket, result, io));
    }

    fn on_configured(&mut self, config: &Arc<Config>, fx: &mut Effects<'_>) {
        self.call(fx, |app, io| app.on_configured(config, io));
    }

    fn on_drain(&mut self, fx: &mut Effects<'_>) {
        self.call(fx, A::on_drain);
    }

    fn is_over(&self) -> bool {
        let recovery = self.sockets.recovery.as_ref();
        let may_return = recovery.is_some_and(|recovery| recovery.deadline().is_some());
        self.sockets.len() == 0 && !may_return && self.app.is_over()
    }

    fn describe(&self) -> String {
        self.app.describe()
    }
}

//! What the public protocol test suite presumes: namespaces `/` and `/custom`, whose clients are
//! told what they said when they connected; in `/` messages come back, or are acknowledged with what
//! they said.

use super::super::{Hello, Machine, Open};
use super::{Application, Event, Io, Refusal, Server, Socket};
use crate::codec::json::Raw;

/// Most bytes that the attachments of one packet have together.
const ATTACHMENTS_BYTES_MAX: usize = 16 << 20;

/// Opens its only session.
pub fn open(_: Open) -> Box<dyn Machine> {
    Box::new(Server::new(Conformance::default(), ATTACHMENTS_BYTES_MAX))
}

#[derive(Debug, Default)]
pub(super) struct Conformance {
    clients: usize,
}

impl Application for Conformance {
    fn namespaces(&self) -> &'static [&'static str] {
        &["/", "/custom"]
    }

    fn on_connect(
        &mut self,
        socket: Socket,
        _: &Hello,
        auth: Option<Raw<'_>>,
        io: &mut Io<'_, '_>,
    ) -> Result<(), Refusal> {
        self.clients += 1;
        io.emit(socket, "auth", &[auth.map_or("{}", Raw::as_str).as_bytes()]);
        Ok(())
    }

    fn on_event(&mut self, socket: Socket, event: Event<'_>, io: &mut Io<'_, '_>) {
        if socket.namespace != 0 {
            return;
        }
        let (args, attachments) = (event.args.to_args(), event.args.to_attachments());
        if event.is("message") {
            io.emit_binary(socket, "message-back", &args, &attachments);
        } else if event.is("message-with-ack")
            && let Some(ack) = event.ack
        {
            io.acknowledge_binary(socket, ack, &args, &attachments);
        }
    }

    fn on_disconnect(&mut self, _: Socket, _: &mut Io<'_, '_>) {
        self.clients -= 1;
    }

    fn is_over(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        format!("conformance {}", self.clients)
    }
}

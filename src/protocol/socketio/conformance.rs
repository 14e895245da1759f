//! What the public protocol test suite presumes: namespaces `/` and `/custom`, whose clients are
//! told what they said when they connected; in `/` messages come back, or are acknowledged with what
//! they said.
//!
//! For tests of published clients there is more in `/`, of which the suite says nothing:
//!
//! | client says | what follows |
//! |---|---|
//! | `broadcast`, … | everybody else hears the same |
//! | `ask`, … | it is asked the same as `asked`, and told what it answered as `answered` |
//! | `kick` | it is disconnected; `kick`, … closes its connection, too |
//!
//! Who does not answer in time, or connects with `{"token":"refused"}`, is told so.

use std::time::Duration;

use super::super::{Hello, Machine, Open};
use super::{Application, Event, Io, Refusal, Server, Socket, Unanswered, Values};
use crate::codec::json::Raw;

/// Most bytes that the attachments of one packet have together.
const ATTACHMENTS_BYTES_MAX: usize = 16 << 20;
/// Time to answer what is asked.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Who says this is not welcome.
const REFUSED: &str = r#"{"token":"refused"}"#;

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
        let auth = auth.map_or("{}", Raw::as_str);
        if auth == REFUSED {
            return Err(Refusal { message: "Refused".to_owned(), data: Some(auth.to_owned()) });
        }
        self.clients += 1;
        io.emit(socket, "auth", &[auth.as_bytes()]);
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
        } else if event.is("broadcast") {
            io.broadcast_except(socket, "broadcast", &args);
        } else if event.is("ask") {
            io.request(socket, "asked", &args, ANSWER_MAX);
        } else if event.is("kick") && args.is_empty() {
            io.disconnect(socket);
        } else if event.is("kick") {
            io.kick(socket);
        }
    }

    fn on_answer(
        &mut self,
        socket: Socket,
        _: u64,
        answer: Result<Values<'_>, Unanswered>,
        io: &mut Io<'_, '_>,
    ) {
        match answer {
            Ok(answer) => {
                let attachments = answer.to_attachments();
                io.emit_binary(socket, "answered", &answer.to_args(), &attachments);
            }
            Err(_) => io.emit(socket, "unanswered", &[]),
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

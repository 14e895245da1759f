//! An application for tests: does what events say, and notes what it was told.

use std::time::Duration;

use crate::codec::json::Raw;
use crate::protocol::Hello;
use crate::protocol::socketio::{
    AckId, Application, Event, Io, Refusal, Socket, Unanswered, Values,
};
use crate::session::{Droppable, Instant};

/// Its namespaces.
pub(super) const NAMESPACES: [&str; 2] = ["/", "/b"];
const ONLY: [&str; 1] = ["/"];

#[derive(Debug, Default)]
pub(super) struct Toy {
    /// What it was told since this was last looked at.
    pub(super) told: Vec<String>,
    pub(super) sockets: Vec<Socket>,
    pub(super) tick_at: Option<Instant>,
    /// Acknowledgements that it owes.
    pub(super) owed: Vec<(Socket, AckId)>,
    /// It has but one namespace, and nobody may come back to it.
    pub(super) is_lean: bool,
    pub(super) hellos: Vec<String>,
}

fn number(value: Option<Raw<'_>>) -> u64 {
    value.and_then(Raw::as_f64).map_or(0, |number| number as u64)
}

fn list(values: &Values<'_>) -> String {
    values.values.clone().map(Raw::as_str).collect::<Vec<_>>().join(",")
}

fn place(socket: Socket) -> String {
    format!("{}{}", socket.member.0, NAMESPACES[usize::from(socket.namespace)])
}

impl Toy {
    /// All clients of the first namespace.
    fn crowd(&self) -> Vec<Socket> {
        self.sockets.iter().copied().filter(|socket| socket.namespace == 0).collect()
    }

    fn act(&mut self, name: &str, socket: Socket, event: &Event<'_>, io: &mut Io<'_, '_>) {
        let mut values = event.args.clone();
        let args = values.to_args();
        match name {
            "say" => io.broadcast("said", &args),
            "others" => io.broadcast_except(socket, "said", &args),
            "pose" => {
                let within = Duration::from_millis(5);
                let how = Droppable { class: 1, except: Some(socket.member), within };
                io.broadcast_droppable(how, "posed", &args);
            }
            "all" => io.multicast(&self.crowd(), "told", &args),
            "everywhere" => io.send(self.sockets.iter().copied(), "told", &args),
            "echo" => io.emit_binary(socket, "echo", &args, &event.args.to_attachments()),
            "between" => {
                io.broadcast("said", &[b"1"]);
                io.emit_binary(socket, "echo", &args, &event.args.to_attachments());
                io.broadcast("said", &[b"2"]);
            }
            "acks" => {
                for _ in 0..number(values.next_value()) {
                    event
                        .ack
                        .iter()
                        .for_each(|ack| io.acknowledge(socket, *ack, &[b"1", b"\"a\""]));
                }
            }
            "ack-echo" => {
                let ack = event.ack.expect("tests want an acknowledgement");
                io.acknowledge_binary(socket, ack, &args, &event.args.to_attachments());
            }
            "owe" => self.owed.extend(event.ack.map(|ack| (socket, ack))),
            "pay" => {
                for (socket, ack) in std::mem::take(&mut self.owed) {
                    io.acknowledge(socket, ack, &[b"\"paid\""]);
                    io.acknowledge(socket, ack, &[b"\"again\""]);
                }
            }
            "ask" => {
                let within = Duration::from_millis(number(values.next_value()));
                io.request(socket, "asked", &[], within);
            }
            "ask-gone" => {
                io.disconnect(socket);
                io.request(socket, "asked", &[], Duration::from_secs(1));
            }
            "leave" => {
                io.disconnect(socket);
                io.disconnect(socket);
                io.emit(socket, "late", &[]);
            }
            "kick" => {
                let victim = self.sockets[number(values.next_value()) as usize];
                io.kick(victim);
            }
            "drop" => {
                let victim = self.sockets[number(values.next_value()) as usize];
                io.disconnect(victim);
            }
            "tick" => {
                let within = Duration::from_millis(number(values.next_value()));
                self.tick_at = Some(io.at() + within);
            }
            _ => {}
        }
    }
}

impl Application for Toy {
    fn namespaces(&self) -> &'static [&'static str] {
        if self.is_lean { &ONLY } else { &NAMESPACES }
    }

    fn may_return(&self) -> bool {
        !self.is_lean
    }

    fn on_connect(
        &mut self,
        socket: Socket,
        hello: &Hello,
        auth: Option<Raw<'_>>,
        io: &mut Io<'_, '_>,
    ) -> Result<(), Refusal> {
        let auth = auth.map_or("", Raw::as_str);
        assert!(!self.sockets.contains(&socket), "connected twice");
        let back = if io.is_back() { " back" } else { "" };
        let shown = if auth.contains("pid") { "" } else { auth };
        self.told.push(format!("{} connect {shown}{back}", place(socket)));
        self.hellos.push(hello.target.clone());
        io.broadcast("joined", &[socket.member.0.to_string().as_bytes()]);
        if auth.contains("refuse") {
            io.emit(socket, "never", &[]);
            io.request(socket, "never", &[], Duration::from_secs(1));
            let data = auth.contains("data").then(|| "{\"a\":[1]}".to_owned());
            return Err(Refusal { message: "\"no\"".to_owned(), data });
        }
        self.sockets.push(socket);
        if auth.contains("hello") {
            io.emit(socket, "hello", &[]);
        }
        if auth.contains("leave") {
            io.disconnect(socket);
        }
        Ok(())
    }

    fn on_event(&mut self, socket: Socket, event: Event<'_>, io: &mut Io<'_, '_>) {
        assert!(self.sockets.contains(&socket), "a stranger talks");
        let name = event.name.as_str();
        let ack = event.ack.map_or(String::new(), |ack| format!(" #{}", ack.0));
        self.told.push(format!("{} {name}({}){ack}", place(socket), list(&event.args)));
        let name = event.name.to_string_value().unwrap_or_default();
        self.act(&name, socket, &event, io);
    }

    fn on_answer(
        &mut self,
        socket: Socket,
        request: u64,
        answer: Result<Values<'_>, Unanswered>,
        _: &mut Io<'_, '_>,
    ) {
        let answer = match answer {
            Ok(values) => format!("({}) {:?}", list(&values), values.attachments),
            Err(why) => format!("{why:?}"),
        };
        self.told.push(format!("{} answers {request} {answer}", place(socket)));
    }

    fn on_disconnect(&mut self, socket: Socket, io: &mut Io<'_, '_>) {
        let at = self.sockets.iter().position(|other| *other == socket);
        self.sockets.remove(at.expect("a stranger leaves"));
        self.told.push(format!("{} disconnect", place(socket)));
        io.emit(socket, "too late", &[]);
        io.broadcast("left", &[socket.member.0.to_string().as_bytes()]);
    }

    fn on_deadline(&mut self, _: &mut Io<'_, '_>) {
        self.tick_at = None;
        self.told.push("tick".to_owned());
    }

    fn deadline(&self) -> Option<Instant> {
        self.tick_at
    }

    fn is_over(&self) -> bool {
        self.tick_at.is_none()
    }

    fn describe(&self) -> String {
        format!("toy {}", self.sockets.len())
    }
}

//! Echo, for public conformance suites: sends every message back to its sender.
//!
//! Only served under `--as conformance`.

use std::time::Duration;

use crate::session::frame::FrameKind;
use crate::session::{Close, Effects, Instant, MemberId};

use super::{
    Config, DropIn, EngineIo, Entrance, Hello, Limits, Liveness, Machine, Message, Pages, Protocol,
    socketio,
};

/// The echo endpoint of `--as conformance`.
pub static PROTOCOL: Protocol = WEBSOCKET;

const WEBSOCKET: Protocol = Protocol {
    name: "echo",
    entrances: &[],
    drop_ins: &[],
    open: |_| Box::new(Echo { members: 0, prefix: b"" }),
    journaled: false,
    // The suites' largest message has 16 MiB, their most fragmented one 65,536 fragments.
    limits: |_| Limits {
        message_bytes_max: 16 << 20,
        fragments_max: 1 << 17,
        lag_bytes_max: 64 << 20,
        messages_per_second_max: u32::MAX,
    },
    liveness: Liveness { first_ping: None, ping: None, silence: None, join: None },
    slow: Close::new(1013, "too slow"),
    restart: Close::new(1012, "service restart"),
};

/// The same for clients of Engine.IO.
pub static ENGINE: Protocol = ENGINE_IO;

const ENGINE_IO: Protocol = Protocol {
    name: "engine-echo",
    open: |_| Box::new(Echo { members: 0, prefix: b"4" }),
    limits: |_| Limits {
        message_bytes_max: 1_000_000,
        fragments_max: 1024,
        lag_bytes_max: 16 << 20,
        messages_per_second_max: u32::MAX,
    },
    ..WEBSOCKET
};

/// Clients of Socket.IO, told what they said.
pub static SOCKETS: Protocol = Protocol {
    name: "socketio",
    open: socketio::conformance::open,
    liveness: socketio::LIVENESS,
    ..ENGINE_IO
};

/// What public conformance suites presume: never part of the common listener.
pub static CONFORMANCE: DropIn = DropIn {
    name: "conformance",
    summary: "echo endpoints for conformance suites",
    port: 9001,
    pages: Pages::Common,
    entrances: &[Entrance::new("/echo", key)],
    others: &[
        (&ENGINE, &[Entrance::engine_io("/engine.io/", key, engine_of_suites)]),
        (
            &SOCKETS,
            &[
                Entrance::engine_io("/socket.io/", key, engine_of_suites),
                // The same with the heartbeats of the original, for clients on busy machines.
                Entrance::engine_io("/calm.io/", key, |_| EngineIo::default()),
            ],
        ),
    ],
};

/// All echo together: nobody hears anybody else.
fn key(_: &str) -> Result<String, Close> {
    Ok("echo".to_owned())
}

/// What the suites presume of servers of Engine.IO and Socket.IO.
fn engine_of_suites(_: &Config) -> EngineIo {
    EngineIo {
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        ..EngineIo::default()
    }
}

#[derive(Debug)]
struct Echo {
    members: usize,
    /// What a text message begins with on the wire.
    prefix: &'static [u8],
}

impl Machine for Echo {
    fn on_enter(&mut self, _: MemberId, _: Hello, _: &mut Effects<'_>) -> Result<(), Close> {
        self.members += 1;
        Ok(())
    }

    fn on_message(
        &mut self,
        member: MemberId,
        message: Message<'_>,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        match message {
            Message::Text(text) => {
                fx.reply(member, FrameKind::Text, &[self.prefix, text.as_bytes()])
            }
            Message::Binary(bytes) => fx.reply(member, FrameKind::Binary, &[bytes]),
        }
        Ok(())
    }

    fn on_leave(&mut self, _: MemberId, _: u16, _: &mut Effects<'_>) {
        self.members -= 1;
    }

    fn on_deadline(&mut self, _: &mut Effects<'_>) {}

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn is_over(&self) -> bool {
        self.members == 0
    }

    fn describe(&self) -> String {
        format!("echo {}", self.members)
    }
}

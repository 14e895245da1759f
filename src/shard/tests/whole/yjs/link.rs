//! How a page talks to the server: as y-websocket's clients do, or as Zeal's, in JSON on a WebSocket or by
//! Socket.IO (specs: zeal §1, §2).

use serde_json::{Value, json};

use super::super::engineio::Means;
use super::super::line::Line;
use super::super::socketio::Socket;
use super::super::stage::Stage;
use crate::codec::lib0::{Reader, write_varbuf};
use crate::protocol::socketio::said::Said;

/// What an awareness update begins with.
const AWARENESS: u8 = 1;

/// A page's connection.
pub(super) enum Link {
    /// The room is in its path.
    Path(Line),
    /// The room is told first.
    Native(Line),
    SocketIo(Box<Zeal>),
}

/// One by Socket.IO.
pub(super) struct Zeal {
    socket: Socket,
    room: String,
    /// What was said before it was let in.
    early: Option<Vec<Vec<u8>>>,
    is_refused: bool,
}

/// What the server says.
pub(super) enum Heard {
    Message(Vec<u8>),
    /// That it takes no changes now.
    Denied,
}

impl Link {
    pub(super) fn dial(room: usize, stage: &mut Stage) -> Self {
        let room = format!("r{room}");
        match stage.random.below(4) {
            0 | 1 => Self::Path(Line::dial(stage, &format!("/yjs/{room}"))),
            2 => {
                let mut line = Line::dial(stage, "/ws");
                line.text(&json!({ "action": "join", "room": room }).to_string());
                Self::Native(line)
            }
            _ => Self::SocketIo(Box::new(Zeal {
                socket: Self::dial_zeal(stage),
                room,
                early: Some(Vec::new()),
                is_refused: false,
            })),
        }
    }

    /// Rooms need a WebSocket in the end.
    fn dial_zeal(stage: &mut Stage) -> Socket {
        let means = [Means::WebSocket, Means::Both][stage.random.below(2) as usize];
        Socket::dial_by(means, stage, "/zeal/socket.io/", "")
    }

    /// Says a message of y-protocols.
    pub(super) fn say(&mut self, message: Vec<u8>) {
        match self {
            Self::Path(line) | Self::Native(line) => line.binary(&message),
            Self::SocketIo(zeal) => zeal.say(message),
        }
    }

    /// Reads some of what there is.
    pub(super) fn hear(&mut self, bytes: usize, stage: &mut Stage) -> Vec<Heard> {
        let line = match self {
            Self::SocketIo(zeal) => return zeal.hear(bytes, stage),
            Self::Path(line) | Self::Native(line) => line,
        };
        let mut heard = Vec::new();
        for frame in line.hear(bytes) {
            if frame.first == 0x82 {
                heard.push(Heard::Message(frame.payload));
                continue;
            }
            let text: Value = serde_json::from_slice(&frame.payload).expect("texts are JSON");
            assert_eq!(text["event"], "joined", "{text}");
            stage.met.zeal[0] += 1;
        }
        let is_expected = matches!(line.close, None | Some(1000 | 1001 | 1012 | 1013));
        assert!(is_expected, "closed with {:?}", line.close);
        heard
    }

    pub(super) fn lines(&mut self) -> Vec<&mut Line> {
        match self {
            Self::Path(line) | Self::Native(line) => vec![line],
            Self::SocketIo(zeal) => zeal.socket.wire.lines().collect(),
        }
    }

    /// Whether nothing more will come.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Path(line) | Self::Native(line) => line.is_over(),
            Self::SocketIo(zeal) => zeal.is_refused || zeal.socket.wire.is_over(),
        }
    }
}

impl Zeal {
    fn say(&mut self, message: Vec<u8>) {
        if let Some(early) = &mut self.early {
            return early.push(message);
        }
        // Awareness updates have no length here.
        let message = match message.split_first() {
            Some((&AWARENESS, rest)) => {
                let update = Reader::new(rest).varbuf().expect("an update").to_vec();
                [vec![AWARENESS], update].concat()
            }
            _ => message,
        };
        self.socket.emit("crdt:message", &[json!(self.room), json!(message)]);
    }

    fn hear(&mut self, bytes: usize, stage: &mut Stage) -> Vec<Heard> {
        let mut heard = Vec::new();
        for said in self.socket.hear(bytes, stage) {
            match said {
                Said::Connected => self.socket.emit("crdt:join", &[json!(self.room)]),
                Said::Event { name, args, ack: None } => {
                    stage.met.zeal[1] += usize::from(name == "crdt:joined");
                    heard.extend(self.on_event(&name, &args));
                }
                _ => panic!("a page does not expect {said:?}"),
            }
        }
        heard
    }

    fn on_event(&mut self, name: &str, args: &[Value]) -> Option<Heard> {
        match name {
            "crdt:joined" => {
                let early = self.early.take().unwrap_or_default();
                early.into_iter().for_each(|message| self.say(message));
            }
            "crdt:message" => {
                assert!(args[0] == *self.room && self.early.is_none(), "{args:?}");
                let message: Vec<u8> = serde_json::from_value(args[1].clone()).expect("octets");
                let (&kind, update) = message.split_first().expect("it has a kind");
                if kind != AWARENESS {
                    return Some(Heard::Message(message));
                }
                let mut plain = vec![AWARENESS];
                write_varbuf(&mut plain, update);
                return Some(Heard::Message(plain));
            }
            "crdt:error" if args[0]["type"] == "permission" => return Some(Heard::Denied),
            // It had no WebSocket in time, or the room falls.
            "crdt:error" => self.is_refused = true,
            _ => panic!("{name} is never said"),
        }
        None
    }
}

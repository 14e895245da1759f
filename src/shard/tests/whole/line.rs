//! A client's connection, for a WebSocket or for requests: what it says comes in pieces, late or much at once, what it is told is read
//! when it pleases, and it may break at any time.

use super::super::world::{Frame, Peer, masked, upgrade};
use super::stage::Stage;
use crate::net::memory::Network;

/// A client's end of a connection.
pub(super) struct Line {
    peer: Peer,
    network: Network,
    /// What was said and is not on its way yet.
    out: Vec<u8>,
    /// It is for requests, and this was read of their answers.
    answers: Option<Vec<u8>>,
    /// How the server ended it.
    pub(super) close: Option<u16>,
    /// It broke; what the server sends on it is lost.
    failed: bool,
    /// The client has said that it goes.
    left: bool,
}

impl Line {
    /// Connects to any shard and asks for a WebSocket.
    pub(super) fn dial(stage: &mut Stage, path: &str) -> Self {
        let mut line = Self::open(stage);
        (line.out, line.answers) = (upgrade(path).into_bytes(), None);
        line
    }

    /// Connects to any shard, for requests.
    pub(super) fn open(stage: &mut Stage) -> Self {
        let side = stage.any_shard();
        stage.met.connections += 1;
        Self {
            peer: stage.world.connect(side),
            network: stage.world.network.clone(),
            out: Vec::new(),
            answers: Some(Vec::new()),
            close: None,
            failed: false,
            left: false,
        }
    }

    pub(super) fn request(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Reads some of what was sent: status and body of an answer, once all of it is there.
    pub(super) fn answer(&mut self, bytes: usize) -> Option<(u16, String)> {
        let answers = self.answers.as_mut()?;
        answers.extend(self.network.take_some(self.peer.connection, bytes));
        let head = answers.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(&answers[..head]).expect("heads are texts");
        let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.map_or(0, |length| length.parse().expect("a number"));
        let status = text[9..12].parse().expect("a number");
        let body = answers.get(head..head + length)?.to_vec();
        answers.drain(..head + length);
        Some((status, String::from_utf8(body).expect("bodies are texts")))
    }

    pub(super) fn text(&mut self, text: &str) {
        self.out.extend(masked(0x81, text.as_bytes()));
    }

    pub(super) fn binary(&mut self, bytes: &[u8]) {
        self.out.extend(masked(0x82, bytes));
    }

    /// Some of what was said gets on its way, cut anywhere.
    pub(super) fn flow(&mut self, stage: &mut Stage) {
        let bytes = match stage.random.below(4) {
            0 => 0,
            1 => stage.random.below(60) as usize,
            _ => self.out.len(),
        };
        self.send(bytes);
    }

    fn send(&mut self, bytes: usize) {
        let bytes: Vec<u8> = self.out.drain(..bytes.min(self.out.len())).collect();
        if !bytes.is_empty() && !self.failed {
            self.network.deliver(self.peer.connection, &bytes);
        }
    }

    /// Whether something is still to be sent.
    pub(super) fn has_more(&self) -> bool {
        !(self.out.is_empty() || self.failed)
    }

    /// All of it does, and nothing holds the other direction up.
    pub(super) fn clear(&mut self) {
        self.send(usize::MAX);
        self.network.set_capacity(self.peer.connection, usize::MAX);
    }

    /// Something befalls the connection, or not.
    pub(super) fn befall(&mut self, stage: &mut Stage) {
        let connection = self.peer.connection;
        match stage.random.below(60) {
            0 if self.answers.is_none() => {
                self.out.extend(masked(0x88, &1000_u16.to_be_bytes()));
                self.left = true;
            }
            0 | 1 => {
                self.send(usize::MAX);
                self.network.finish(connection);
                self.left = true;
            }
            2 => self.fail(),
            3 => {
                self.network.fail_unnoticed(connection);
                self.failed = true;
            }
            4..10 => {
                let capacity = [0, 900, usize::MAX, usize::MAX][stage.random.below(4) as usize];
                self.network.set_capacity(connection, capacity);
            }
            _ => {}
        }
    }

    pub(super) fn fail(&mut self) {
        self.network.fail(self.peer.connection);
        self.failed = true;
    }

    /// Reads some of what was sent: its messages, in order.
    pub(super) fn hear(&mut self, bytes: usize) -> Vec<Frame> {
        let mut heard = Vec::new();
        for frame in self.peer.read_some(bytes) {
            assert!(self.close.is_none(), "{frame:?} after the close frame");
            match frame.first {
                0x88 => {
                    let code = frame.payload.get(..2).map_or(1005, |code| {
                        u16::from_be_bytes(code.try_into().expect("two bytes"))
                    });
                    self.close = Some(code);
                    self.network.finish(self.peer.connection);
                }
                0x89 => self.out.extend(masked(0x8A, &frame.payload)),
                0x8A => {}
                _ => heard.push(frame),
            }
        }
        heard
    }

    /// Whether it can be expected to carry everything.
    pub(super) fn is_well(&self) -> bool {
        self.peer.is_upgraded() && self.close.is_none() && self.is_open()
    }

    /// Whether neither end has ended it.
    pub(super) fn is_open(&self) -> bool {
        !(self.failed || self.left || self.peer.is_closed())
    }

    /// Whether nothing more will come.
    pub(super) fn is_over(&self) -> bool {
        self.peer.is_closed() || self.failed || self.close.is_some()
    }

    /// The client goes, if the server has not let it in.
    pub(super) fn give_up(&mut self) {
        if !(self.is_well() || self.answers.is_some() && self.is_open()) {
            self.fail();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.fail();
    }
}

//! A client's end of Socket.IO, on a connection that may break.

use serde_json::{Value, json};

use super::engineio::{Means, Wire};
use super::stage::Stage;
use crate::protocol::socketio::said::Said;

pub(super) struct Socket {
    pub(super) wire: Wire,
    /// A packet whose attachments have not all come.
    open: Option<(Said, usize)>,
    /// Numbers its requests.
    asked: u64,
}

impl Socket {
    /// Connects to any shard by any means, and then to the first namespace.
    pub(super) fn dial(stage: &mut Stage, path: &str, auth: &str) -> Self {
        let means = Means::any(stage);
        Self::dial_by(means, stage, path, auth)
    }

    pub(super) fn dial_by(means: Means, stage: &mut Stage, path: &str, auth: &str) -> Self {
        let mut wire = Wire::dial(stage, path, means);
        wire.text(&format!("40{auth}"));
        Self { wire, open: None, asked: 0 }
    }

    /// Says something.
    pub(super) fn emit(&mut self, event: &str, args: &[Value]) {
        self.wire.text(&format!("42{}", packet(event, args)));
    }

    /// Asks for something; the number of the answer.
    pub(super) fn ask(&mut self, event: &str, args: &[Value]) -> u64 {
        self.asked += 1;
        self.wire.text(&format!("42{}{}", self.asked, packet(event, args)));
        self.asked
    }

    /// Answers a request of the server.
    pub(super) fn answer(&mut self, ack: u64, args: &[Value], part: Option<&[u8]>) {
        let args = json!(args);
        match part {
            Some(part) => {
                self.wire.text(&format!("461-{ack}{args}"));
                self.wire.binary(part);
            }
            None => self.wire.text(&format!("43{ack}{args}")),
        }
    }

    /// Reads some of what there is.
    pub(super) fn hear(&mut self, bytes: usize, stage: &mut Stage) -> Vec<Said> {
        let mut heard = Vec::new();
        for frame in self.wire.hear(bytes, stage) {
            if frame.first == 0x82 {
                let (mut packet, left) =
                    self.open.take().expect("attachments come behind a packet");
                packet.attach(frame.payload);
                self.put(packet, left - 1, &mut heard);
                continue;
            }
            let text = frame.into_text().expect("packets are texts");
            assert!(text == "2" || self.open.is_none(), "{text} amid a packet");
            match text.split_at(1) {
                ("0" | "6", _) => {}
                ("2", "") => self.wire.text("3"),
                ("4", packet) => {
                    let (packet, attachments) = Said::read(packet);
                    self.put(packet, attachments, &mut heard);
                }
                _ => panic!("a client does not expect {text}"),
            }
        }
        heard
    }

    fn put(&mut self, packet: Said, left: usize, heard: &mut Vec<Said>) {
        if left == 0 {
            heard.push(packet);
        } else {
            self.open = Some((packet, left));
        }
    }
}

fn packet(event: &str, args: &[Value]) -> Value {
    let mut all = vec![json!(event)];
    all.extend_from_slice(args);
    json!(all)
}

//! What a server says on Socket.IO, as clients read it: for tests.

use serde_json::Value;

/// A packet of the server for the first namespace, and what is attached to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Connected,
    /// Why the client may not connect.
    Refused(Value),
    Disconnected,
    Event {
        name: String,
        args: Vec<Value>,
        ack: Option<u64>,
    },
    /// An answer, with its values as they came.
    Answer {
        ack: u64,
        body: String,
        attachments: Vec<Vec<u8>>,
    },
}

impl Said {
    /// Reads a packet; also how many attachments come behind it.
    ///
    /// # Panics
    /// If it is none, as for all that follows.
    pub(crate) fn read(text: &str) -> (Self, usize) {
        let (kind, rest) = text.split_at(1);
        let body = rest.find(['[', '{']).unwrap_or(rest.len());
        let (head, body) = rest.split_at(body);
        let (attachments, ack) = head.split_once('-').unwrap_or(("0", head));
        let ack = (!ack.is_empty()).then(|| ack.parse().expect("a number"));
        let said = match kind {
            "0" => Self::Connected,
            "1" => Self::Disconnected,
            "2" => {
                let mut args: Vec<Value> = serde_json::from_str(body).expect("an array");
                let name = args.remove(0).as_str().expect("a name").to_owned();
                Self::Event { name, args, ack }
            }
            "3" | "6" => {
                let ack = ack.expect("answers have a number");
                Self::Answer { ack, body: body.to_owned(), attachments: Vec::new() }
            }
            "4" => Self::Refused(serde_json::from_str(body).expect("JSON")),
            _ => panic!("a server never says {text}"),
        };
        (said, attachments.parse().expect("a number"))
    }

    /// What came behind it.
    pub(crate) fn attach(&mut self, bytes: Vec<u8>) {
        let Self::Answer { attachments, .. } = self else { panic!("of nothing") };
        attachments.push(bytes);
    }
}

//! What a member is sent, frame by frame, in tests of state machines.

use crate::session::frame::split;
use crate::session::outbox::{Cursor, Slices};
use crate::session::{History, Outbox, Position};

/// A member's connection, whose peer takes everything at once.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    pub(super) outbox: Outbox,
    pub(super) cursor: Cursor,
}

/// A frame of the server.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) is_text: bool,
    pub(super) payload: Vec<u8>,
}

impl Sent {
    /// The payload of a text frame.
    ///
    /// # Panics
    /// If it is none.
    pub(super) fn into_text(self) -> String {
        assert!(self.is_text, "a whole text frame");
        String::from_utf8(self.payload).expect("texts are UTF-8")
    }
}

impl Receiver {
    /// Leaves history out, as a shard does.
    pub(super) fn skip(&mut self, from: Position, to: Position) {
        if self.cursor == Some(from) && self.outbox.is_empty() {
            self.cursor = Some(to);
        } else if self.cursor.is_some() {
            self.outbox.push_skip(from, to);
        }
    }

    /// Sends all that waits.
    ///
    /// # Panics
    /// If it does not end with a frame.
    pub(super) fn send(&mut self, history: &History) -> Vec<Sent> {
        let mut stream = Vec::new();
        loop {
            let mut slices = Slices::new();
            let planned = self.outbox.plan(self.cursor, history, &mut slices);
            slices.iter().for_each(|slice| stream.extend_from_slice(slice));
            drop(slices);
            self.outbox.advance(&mut self.cursor, history.head(), planned);
            if planned == 0 {
                break;
            }
        }
        let (mut frames, mut rest) = (Vec::new(), &stream[..]);
        while !rest.is_empty() {
            let (first, payload, behind) = split(rest).expect("half a frame was sent");
            assert!([0x81, 0x82].contains(&first), "a whole message");
            frames.push(Sent { is_text: first == 0x81, payload: payload.to_vec() });
            rest = behind;
        }
        frames
    }
}

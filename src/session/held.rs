//! What a session holds back so that it leaves together with what is said shortly after: droppable
//! messages only, until the first of them has waited long enough or anything else is said.

use super::clock::Instant;
use super::frame::FrameKind;
use super::history::Class;
use super::{Droppable, MemberId};

/// What is held back at most, in bytes, a few for each message included; beyond it nothing waits.
const HELD_BYTES_MAX: usize = 16 << 10;

/// Messages held back, in order.
#[derive(Debug, Default)]
pub(super) struct Held {
    messages: Vec<Message>,
    /// Their payloads.
    bytes: Vec<u8>,
    due: Instant,
}

#[derive(Debug)]
struct Message {
    class: Class,
    except: Option<MemberId>,
    kind: FrameKind,
    len: usize,
}

impl Held {
    /// Whether nothing is held back.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// When all of it must go.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Holds a message back until `due`, or until an earlier one is due. Whether there is room for
    /// more.
    pub(super) fn push(
        &mut self,
        how: Droppable,
        kind: FrameKind,
        parts: &[&[u8]],
        due: Instant,
    ) -> bool {
        self.due = if self.is_empty() { due } else { self.due.min(due) };
        let before = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        let len = self.bytes.len() - before;
        self.messages.push(Message { class: how.class, except: how.except, kind, len });
        self.bytes.len() + self.messages.len() * size_of::<Message>() < HELD_BYTES_MAX
    }

    /// Hands out all of it, in order, and keeps its buffers.
    pub(super) fn drain(
        &mut self,
        mut each: impl FnMut(Class, Option<MemberId>, FrameKind, &[u8]),
    ) {
        let mut start = 0;
        for Message { class, except, kind, len } in self.messages.drain(..) {
            each(class, except, kind, &self.bytes[start..start + len]);
            start += len;
        }
        self.bytes.clear();
        // Twice what is held, as it has grown.
        self.bytes.shrink_to(2 * HELD_BYTES_MAX);
    }
}

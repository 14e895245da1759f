//! The chat: its last messages, each as the JSON that clients are sent.

use std::collections::VecDeque;
use std::io::Write;

use super::{CHAT_KEPT, CONTENT_UNITS_MAX};
use crate::codec::date::Rfc3339;
use crate::codec::json::write_string;
use crate::protocol::js;
use crate::session::Now;

const BASE: u64 = 36;
/// Digits of the random part of a message's id.
const RANDOM_DIGITS: usize = 8;

/// What lies between the random numbers of two messages of one call: odd, so that none are the same.
const STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;

/// The chat.
#[derive(Debug, Default)]
pub(super) struct Chat {
    messages: VecDeque<Box<str>>,
    /// The only message is one that nobody said.
    is_fresh: bool,
    /// The message that is being made.
    draft: Vec<u8>,
    /// Messages made so far: several may be in one call, which has one random number.
    made: u64,
}

/// Who says what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) player_id: &'a str,
    pub(super) author: &'a str,
    pub(super) content: &'a str,
}

impl Message<'_> {
    /// What an empty chat begins with.
    pub(super) const GREETING: Message<'static> =
        Message { player_id: "system", author: "System", content: "Hello World" };

    /// Appends it as clients are sent it.
    fn write(self, out: &mut Vec<u8>, now: Now, random: u64) {
        out.extend_from_slice(b"{\"id\":\"");
        write_base_36(out, now.wall_ms, 1);
        out.push(b'-');
        write_base_36(out, random % BASE.pow(RANDOM_DIGITS as u32), RANDOM_DIGITS);
        out.extend_from_slice(b"\",\"playerId\":");
        write_string(out, self.player_id);
        out.extend_from_slice(b",\"author\":");
        write_string(out, self.author);
        out.extend_from_slice(b",\"content\":");
        write_string(out, self.content);
        // Writing to a vector cannot fail.
        let _ = write!(out, ",\"timestamp\":\"{}\"}}", Rfc3339(now.wall_ms));
    }
}

impl Chat {
    /// Makes sure that there is something to be shown.
    pub(super) fn greet(&mut self, now: Now, random: u64) {
        if self.messages.is_empty() {
            let greeting = self.make(Message::GREETING, now, random);
            self.messages.push_back(greeting);
            self.is_fresh = true;
        }
    }

    /// A message as clients are sent it, with an id of its own.
    pub(super) fn make(&mut self, message: Message<'_>, now: Now, random: u64) -> Box<str> {
        self.made += 1;
        self.draft.clear();
        let random = random.wrapping_add(self.made.wrapping_mul(STRIDE));
        message.write(&mut self.draft, now, random);
        // One allocation, as long as the message.
        String::from_utf8_lossy(&self.draft).into()
    }

    /// What was not said by anybody, and now is to be kept: told once.
    pub(super) fn take_fresh(&mut self) -> Option<&str> {
        let is_fresh = std::mem::take(&mut self.is_fresh);
        self.messages.front().filter(|_| is_fresh).map(|message| &**message)
    }

    /// Whether there is nothing worth keeping.
    pub(super) fn is_fresh(&self) -> bool {
        self.is_fresh || self.messages.is_empty()
    }

    /// Adds a message; the oldest goes if there are too many.
    pub(super) fn push(&mut self, message: Box<str>) {
        if self.messages.len() >= CHAT_KEPT {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
    }

    /// Appends it as JSON, oldest first.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (index, message) in self.messages.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(message.as_bytes());
        }
        out.push(b']');
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn invariants(&self) {
        assert!(self.messages.len() <= CHAT_KEPT);
        assert!(!self.is_fresh || self.messages.len() == 1);
    }
}

/// What is said, as it is kept; `None` if that is nothing.
pub(super) fn content(text: &str) -> Option<&str> {
    let text = js::cut(js::trim(text), CONTENT_UNITS_MAX);
    (!text.is_empty()).then_some(text)
}

fn write_base_36(out: &mut Vec<u8>, mut number: u64, digits_min: usize) {
    let start = out.len();
    while number > 0 || out.len() - start < digits_min {
        out.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % BASE) as usize]);
        number /= BASE;
    }
    out[start..].reverse();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Instant;

    #[test]
    fn a_message_tells_when_it_was_said() {
        let now = Now { at: Instant::from_millis(5), wall_ms: 1_735_689_600_007 };
        // (1735689600007).toString(36) and (36 ** 8 - 1).toString(36) in Node.
        let json = |message: Message<'_>, now, random| {
            let mut out = Vec::new();
            message.write(&mut out, now, random);
            String::from_utf8(out).unwrap()
        };
        let message = Message { player_id: "p\"", author: "a", content: "c" };
        assert_eq!(
            json(message, now, 36_u64.pow(8) - 1),
            r#"{"id":"m5d4ruo7-zzzzzzzz","playerId":"p\"","author":"a","content":"c","timestamp":"2025-01-01T00:00:00.007Z"}"#
        );
        let json = json(Message::GREETING, Now::default(), 0);
        assert!(json.starts_with(r#"{"id":"0-00000000","playerId":"system""#), "{json}");
    }
}

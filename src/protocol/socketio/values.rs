//! Looking at what was sent.

use super::{Event, Values};
use crate::codec::json::Raw;
use crate::codec::socketio::attachment_of;

impl<'a> Values<'a> {
    /// The bytes that `value` stands for, if it is a placeholder; it may be of any depth. In a
    /// packet without attachments nothing is one.
    pub fn attachment(&self, value: Raw<'_>) -> Option<&'a [u8]> {
        attachment_of(value, self.attachments)
    }

    /// The next of the values.
    pub fn next_value(&mut self) -> Option<Raw<'a>> {
        self.values.next()
    }

    /// The values as arguments for [`Io`](super::Io), to be said again. With attachments they need
    /// all of them, in their order.
    pub fn to_args(&self) -> Vec<&'a [u8]> {
        self.values.clone().map(|value| value.as_str().as_bytes()).collect()
    }

    /// The attachments as [`Io`](super::Io) takes them.
    pub fn to_attachments(&self) -> Vec<&'a [u8]> {
        self.attachments.iter().map(Vec::as_slice).collect()
    }
}

impl Event<'_> {
    /// Whether this is its name.
    pub fn is(&self, name: &str) -> bool {
        self.name.is_string_of(name)
    }
}

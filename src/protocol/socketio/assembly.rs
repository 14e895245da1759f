//! Packets with attachments: a text message, and as many binary messages right behind it.

use super::{AckId, Socket};
use crate::codec::json::Kept;

/// A packet whose attachments are due.
#[derive(Debug)]
pub(super) struct Assembly {
    socket: Socket,
    said: Said,
    payload: Option<Kept>,
    due: u8,
    attachments: Vec<Vec<u8>>,
    bytes: usize,
}

/// What a packet says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Said {
    /// An event, to be acknowledged or not.
    Event(Option<AckId>),
    /// The answer to the request of this number, if it names one.
    Answer(Option<u64>),
}

/// What became of an attachment.
#[derive(Debug)]
pub(super) enum Added {
    /// More are due.
    Due,
    /// It was the last.
    Whole,
    /// All together are too large.
    TooLarge,
}

impl Assembly {
    /// A packet that has so many attachments.
    pub(super) fn new(socket: Socket, said: Said, payload: Option<Kept>, due: u8) -> Self {
        Self { socket, said, payload, due, attachments: Vec::new(), bytes: 0 }
    }

    /// Adds the next attachment. All together may have `bytes_max` bytes.
    pub(super) fn add(&mut self, attachment: &[u8], bytes_max: usize) -> Added {
        self.bytes = self.bytes.saturating_add(attachment.len());
        if self.bytes > bytes_max {
            return Added::TooLarge;
        }
        self.attachments.push(attachment.to_vec());
        self.due = self.due.saturating_sub(1);
        if self.due > 0 { Added::Due } else { Added::Whole }
    }

    /// Whose it is.
    pub(super) fn socket(&self) -> Socket {
        self.socket
    }

    /// What it says.
    pub(super) fn said(&self) -> Said {
        self.said
    }

    /// Its payload.
    pub(super) fn payload(&self) -> Option<&Kept> {
        self.payload.as_ref()
    }

    /// What is there of its attachments.
    pub(super) fn attachments(&self) -> &[Vec<u8>] {
        &self.attachments
    }
}

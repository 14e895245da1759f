//! Bare WebSocket rooms: a text that starts with `J` is answered to its sender alone, any other
//! is sent as it is to everybody in the room. Deliveries have the size that those of another
//! protocol would have with the same payload, so that both move equal bytes.

use super::{Incoming, Manner, Protocol, Seat};
use crate::failure::Failure;

/// First byte of a join and of its answer.
pub(crate) const JOIN: u8 = b'J';

/// A client of the baseline.
#[derive(Debug)]
pub(super) struct Raw {
    prefix: String,
    nonce: u64,
    frame_bytes: usize,
}

impl Raw {
    /// A client with these manners.
    pub(super) fn new(manner: &Manner) -> Result<Self, Failure> {
        let frame_bytes = super::delivery_bytes(manner)?;
        Ok(Self { prefix: manner.prefix.clone(), nonce: manner.nonce, frame_bytes })
    }
}

impl Protocol for Raw {
    fn path(&self, seat: Seat) -> String {
        format!("{}/{:x}-{}", self.prefix, self.nonce, seat.session)
    }

    fn join(&self, _seat: Seat) -> Vec<Vec<u8>> {
        // As long as a Croquet JOIN or SYNC, roughly.
        vec![vec![JOIN; 256]]
    }

    fn payload_bytes(&self) -> usize {
        self.frame_bytes
    }

    fn message(&self, _seat: Seat, _number: u32, payload: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(payload);
    }

    fn read<'a>(&self, _seat: Seat, text: &'a [u8], _reply: &mut Vec<u8>) -> Incoming<'a> {
        match text.first() {
            Some(&JOIN) => Incoming::Joined { order: None },
            Some(_) => Incoming::Delivery { payload: text, order: None },
            None => Incoming::Unknown,
        }
    }
}

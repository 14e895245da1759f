//! State vectors: `count, count x (client, clock)`.

use smallvec::SmallVec;

use super::clients::{check_spread, count_clients};
use super::{CLOCK_MAX, Malformed};
use crate::codec::lib0::Reader;

/// Client and clock, one byte each.
const ENTRY_BYTES_MIN: usize = 2;

/// What a state vector is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateVector {
    /// Clients in it, at most [`CLIENTS_MAX`](super::CLIENTS_MAX).
    pub clients: u32,
}

impl StateVector {
    /// Whether its sender has nothing.
    pub fn is_empty(&self) -> bool {
        self.clients == 0
    }
}

/// Checks a state vector (lib0 version 1, as yrs 0.28's `StateVector::decode_v1` reads it).
pub fn check_state_vector(bytes: &[u8]) -> Result<StateVector, Malformed> {
    let mut reader = Reader::new(bytes);
    let count = count_clients(&mut reader, ENTRY_BYTES_MIN)?;
    let mut clients = SmallVec::<[u64; 8]>::new();
    for _ in 0..count {
        clients.push(reader.varuint()?);
        if reader.varuint()? > u64::from(CLOCK_MAX) {
            return Err(Malformed::Clock);
        }
    }
    reader.end()?;
    check_spread(clients.iter().copied())?;
    Ok(StateVector { clients: count as u32 })
}

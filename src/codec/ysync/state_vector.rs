//! State vectors: `count, count x (client, clock)`.

use super::{CLOCK_MAX, Malformed};
use crate::codec::lib0::Reader;

/// Client and clock, one byte each.
const ENTRY_BYTES_MIN: usize = 2;

/// What a state vector is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateVector {
    /// Clients in it.
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
    let count = reader.count(ENTRY_BYTES_MIN)?;
    let clients = u32::try_from(count).map_err(|_| Malformed::TooMany)?;
    for _ in 0..count {
        let _client = reader.varuint()?;
        if reader.varuint()? > u64::from(CLOCK_MAX) {
            return Err(Malformed::Clock);
        }
    }
    reader.end()?;
    Ok(StateVector { clients })
}

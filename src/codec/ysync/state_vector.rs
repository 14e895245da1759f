//! State vectors: `count, count x (client, clock)`.

use super::clients::count_clients;
use super::structs::Id;
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

/// The clients and clocks of a state vector that was checked, in the order they come.
pub fn state_vector(bytes: &[u8]) -> impl Iterator<Item = Id> {
    let mut reader = Reader::new(bytes);
    let count = reader.varuint().unwrap_or_default();
    (0..count).map_while(move |_| {
        let client = reader.varuint().ok()?;
        Some(Id { client, clock: reader.varuint().ok()?.try_into().ok()? })
    })
}

/// Checks a state vector (lib0 version 1).
pub fn check_state_vector(bytes: &[u8]) -> Result<StateVector, Malformed> {
    let mut reader = Reader::new(bytes);
    let count = count_clients(&mut reader, ENTRY_BYTES_MIN)?;
    for _ in 0..count {
        let _client = reader.varuint()?;
        if reader.varuint()? > u64::from(CLOCK_MAX) {
            return Err(Malformed::Clock);
        }
    }
    reader.end()?;
    Ok(StateVector { clients: count as u32 })
}

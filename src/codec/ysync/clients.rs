//! How many clients there may be, and what their numbers have to be like.

use super::Malformed;
use crate::codec::lib0::Reader;

/// Most clients in one state vector, and in each half of one update. A document has one for each
/// time that somebody opened and changed it.
pub const CLIENTS_MAX: usize = 1 << 18;

/// As few clients may collide as they like.
const FEW: usize = 1024;
const BUCKETS: usize = 4096;

/// The count of clients with entries of at least so many bytes.
pub(super) fn count_clients(
    reader: &mut Reader<'_>,
    entry_bytes_min: usize,
) -> Result<usize, Malformed> {
    let count = reader.count(entry_bytes_min)?;
    if count <= CLIENTS_MAX { Ok(count) } else { Err(Malformed::TooMany) }
}

/// yrs keeps clients in hash tables by their numbers as they are: many that share their low bits
/// would take it quadratic time. Those of Yjs and yrs are random.
pub(super) fn check_spread(clients: impl ExactSizeIterator<Item = u64>) -> Result<(), Malformed> {
    let count = clients.len();
    if count <= FEW {
        return Ok(());
    }
    let most = (32 + 4 * count / BUCKETS) as u16;
    let mut buckets = [0_u16; BUCKETS];
    for client in clients {
        let bucket = &mut buckets[client as usize % BUCKETS];
        *bucket += 1;
        if *bucket > most {
            return Err(Malformed::CollidingClients);
        }
    }
    Ok(())
}

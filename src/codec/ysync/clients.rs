//! How many clients there may be.

use super::Malformed;
use crate::codec::lib0::Reader;

/// Most clients in one state vector, and in each half of one update. A document has one for each
/// time that somebody opened and changed it.
pub const CLIENTS_MAX: usize = 1 << 18;

/// The count of clients with entries of at least so many bytes.
pub(super) fn count_clients(
    reader: &mut Reader<'_>,
    entry_bytes_min: usize,
) -> Result<usize, Malformed> {
    let count = reader.count(entry_bytes_min)?;
    if count <= CLIENTS_MAX { Ok(count) } else { Err(Malformed::TooMany) }
}

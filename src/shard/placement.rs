//! Which shard owns a session: a pure function of its name, so that no directory is needed.

/// The shard that owns the session with this name, below `shards`.
pub fn owner(session: &str, shards: usize) -> usize {
    crc32c::crc32c(session.as_bytes()) as usize % shards
}

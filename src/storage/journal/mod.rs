//! The journal: what sessions must have after a crash, as one append-only log for each shard.
//!
//! `writer` appends the batch of a turn to the shard's present segment, `syncer` is the thread that
//! waits for the disk, `recover` reads what an earlier process left behind, `read_back` what a session
//! of this process has recorded. A process writes into a
//! directory of its own, `journal/<epoch>`, and deletes those of earlier epochs when every session
//! in them was stored anew; nothing is ever changed in place.
//!
//! Invariants:
//! - A batch is written before anything of its turn is sent.
//! - What was not sound is never handed out: a session with a gap is refused, by name, and the
//!   others are not touched.
//! - A sync that failed is never repeated as if nothing had been: its segment is abandoned, and every
//!   session with entries in it is stored anew before anything more is recorded.
//!
//! Deliberately absent: what entries mean (the protocols'), waiting for the disk on a shard (but for
//! `--sync always`).

mod read_back;
mod rebuild;
mod recover;
mod syncer;
#[cfg(test)]
mod tests;
mod volume;
mod writer;

use std::time::Duration;

pub use read_back::ReadBack;
#[cfg(test)]
pub(crate) use recover::rebuilt;
pub use recover::{Damaged, Epoch, Progress, Recovered, Recovery, recover};
#[cfg(test)]
pub(crate) use syncer::Postponed;
pub use syncer::{Done, Synced, Syncer};
pub use volume::{Directory, SegmentFile, Volume};
pub use writer::{Earlier, Journal, Settings, Trouble};

/// When what was written is made to survive a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before anything that depends on it is sent.
    Always,
    /// At this interval.
    Every(Duration),
    /// When the system sees fit.
    Never,
}

impl Default for Sync {
    fn default() -> Self {
        Self::Every(Duration::from_millis(100))
    }
}

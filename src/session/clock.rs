//! Time as an argument: one reading of both clocks a turn, handed to whatever needs it.

use std::num::NonZeroU64;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point on the monotonic clock, in microseconds since the process started.
///
/// All protocol logic uses this clock; it never runs backward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(
    /// One more than the microseconds, so that an optional one takes no more room.
    NonZeroU64,
);

impl Default for Instant {
    fn default() -> Self {
        Self::from_micros(0)
    }
}

impl Instant {
    /// A point `us` microseconds after the process started.
    pub const fn from_micros(us: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(us))
    }

    /// A point `ms` milliseconds after the process started.
    pub const fn from_millis(ms: u64) -> Self {
        Self::from_micros(ms * 1_000)
    }

    /// Microseconds since the process started.
    pub const fn as_micros(self) -> u64 {
        self.0.get() - 1
    }

    /// Whole milliseconds since the process started.
    pub const fn as_millis(self) -> u64 {
        self.as_micros() / 1_000
    }

    /// Time passed since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        let us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(us))
    }
}

impl Sub<Self> for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// One reading of the clocks, taken once a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For everything a protocol decides.
    pub at: Instant,
    /// Milliseconds since the Unix epoch: only for what is shown to people or sent as a date.
    pub wall_ms: u64,
}

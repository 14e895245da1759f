//! The generator's clock: nanoseconds since it was made, and never anything else.

use std::time::{Duration, Instant};

/// A monotonic clock that starts at zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// Starts the clock.
    #[allow(clippy::disallowed_methods, reason = "the one place where the generator reads time")]
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Nanoseconds since [`Clock::start`].
    pub(crate) fn now_ns(self) -> u64 {
        nanoseconds(self.origin.elapsed())
    }
}

/// A duration as nanoseconds; half a millennium fits.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Seconds as a float, for rates and shares.
pub(crate) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

//! The only reader of the machine's clocks. Everything else gets a [`Now`] as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::session::{Instant, Now};

pub use crate::codec::date::{Rfc3339, TimeOfDay};

/// The process's clocks. A copy reads the same clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: std::time::Instant,
}

impl Clock {
    /// Starts the monotonic clock at zero.
    #[expect(clippy::disallowed_methods, reason = "this module is where the clocks are read")]
    pub fn start() -> Self {
        Self { started: std::time::Instant::now() }
    }

    /// Reads both clocks: microseconds since the start, and milliseconds since the Unix epoch.
    pub fn now(&self) -> Now {
        let us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        Now { at: Instant::from_micros(us), wall_ms: self.wall_ms() }
    }

    /// Milliseconds since the Unix epoch; 0 on a machine whose clock is before it.
    #[expect(clippy::disallowed_methods, reason = "this module is where the clocks are read")]
    pub fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_begins_near_zero_and_never_runs_backward() {
        let clock = Clock::start();
        let (first, second) = (clock.now(), clock.now());
        assert!(first.at <= second.at);
        assert!(first.at < Instant::from_millis(10_000), "{first:?}");
        assert!(first.wall_ms > 1_700_000_000_000, "{first:?}");
    }
}

//! Which seeds a randomised test runs.

use std::ops::Range;

/// Seeds of one run of a test.
#[derive(Clone, Debug)]
pub(crate) struct Seeds {
    pub(crate) range: Range<u64>,
    /// One was asked for, to see what happens in it: what it does not meet is no fault.
    pub(crate) alone: bool,
}

impl Seeds {
    /// `LOCKSTEP_SEED=n` asks for one, `LOCKSTEP_SEEDS=n` for so many, from `LOCKSTEP_SEED` on if both are
    /// set; otherwise it is as many as `usual`.
    pub(crate) fn of_run(usual: u64) -> Self {
        let number = |name: &str| {
            let text = std::env::var(name).ok()?;
            Some(text.parse::<u64>().unwrap_or_else(|why| panic!("{name}={text}: {why}")))
        };
        let (first, count) = (number("LOCKSTEP_SEED"), number("LOCKSTEP_SEEDS"));
        let (start, alone) = (first.unwrap_or(0), first.is_some() && count.is_none());
        let usual = if alone { 1 } else { usual };
        Self { range: start..start + count.unwrap_or(usual), alone }
    }
}

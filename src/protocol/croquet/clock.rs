//! Session time (specs: croquet §4): milliseconds since the timeline began, at a chosen pace.

use crate::session::Instant;

/// The slowest and the fastest pace a member may ask for.
const SCALE_RANGE: (f64, f64) = (1.0 / 64.0, 64.0);
/// An advance beyond this is worth a warning, in milliseconds.
const JUMP_MS: u64 = 60_000;

/// A session's time. It is kept in fractions of a microsecond, so that a change of pace never
/// makes it step back, and told in whole milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Since when the pace is what it is.
    anchor: Instant,
    /// Session time at the anchor, in microseconds.
    anchored_us: f64,
    scale: f64,
    /// The time last told, in milliseconds.
    told_ms: u64,
    /// When this incarnation began, for raw time.
    start: Instant,
}

impl Clock {
    /// A clock at zero.
    pub(super) fn new(now: Instant) -> Self {
        Self::resumed(now, 0, 1.0)
    }

    /// A clock that goes on from a stored time.
    pub(super) fn resumed(now: Instant, time_ms: u64, scale: f64) -> Self {
        let scale = sane_scale(scale);
        let anchored_us = time_ms as f64 * 1_000.0;
        Self { anchor: now, anchored_us, scale, told_ms: time_ms, start: now }
    }

    /// Advances to `now` and tells the time; never less than what was told before.
    pub(super) fn advance(&mut self, now: Instant) -> u64 {
        self.told_ms = self.told_ms.max(self.peek_ms(now) as u64);
        self.told_ms
    }

    /// How far [`Clock::advance`] would go, if that is suspiciously far.
    pub(super) fn jump(&self, now: Instant) -> Option<u64> {
        let ahead = (self.peek_ms(now) as u64).saturating_sub(self.told_ms);
        (ahead > JUMP_MS).then_some(ahead)
    }

    /// The time at `now`, in milliseconds with their fraction, without telling it.
    pub(super) fn peek_ms(&self, now: Instant) -> f64 {
        self.micros(now) / 1_000.0
    }

    /// The time last told, in milliseconds.
    pub(super) fn told_ms(&self) -> u64 {
        self.told_ms
    }

    /// Milliseconds since this incarnation began, at the pace of the wall.
    pub(super) fn raw_ms(&self, now: Instant) -> u64 {
        now.since(self.start).as_millis() as u64
    }

    /// The pace: session time per real time.
    pub(super) fn scale(&self) -> f64 {
        self.scale
    }

    /// Changes the pace from now on.
    pub(super) fn set_scale(&mut self, now: Instant, scale: f64) {
        self.anchored_us = self.micros(now);
        self.anchor = now;
        self.scale = sane_scale(scale);
    }

    fn micros(&self, now: Instant) -> f64 {
        self.anchored_us + now.since(self.anchor).as_micros() as f64 * self.scale
    }
}

/// Within bounds, and 1 for what is not a pace at all.
fn sane_scale(scale: f64) -> f64 {
    if scale > 0.0 { scale.clamp(SCALE_RANGE.0, SCALE_RANGE.1) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn time_begins_at_zero_and_is_floored() {
        let mut clock = Clock::new(at(5));
        assert_eq!(clock.advance(at(5)), 0);
        assert_eq!(clock.advance(Instant::from_micros(6_999)), 1);
        assert_eq!(clock.raw_ms(at(9)), 4);
    }

    #[test]
    fn a_change_of_pace_is_no_step() {
        let mut clock = Clock::new(at(0));
        assert_eq!(clock.advance(at(100)), 100);
        clock.set_scale(at(100), 64.0);
        assert_eq!(clock.advance(at(101)), 164);
        clock.set_scale(at(101), 1.0 / 64.0);
        assert_eq!(clock.advance(at(101)), 164);
        assert_eq!(clock.advance(at(101 + 64)), 165);
    }

    #[test]
    fn the_pace_is_bounded() {
        let mut clock = Clock::new(at(0));
        for (asked, got) in
            [(1e9, 64.0), (1e-9, 1.0 / 64.0), (-1.0, 1.0), (f64::NAN, 1.0), (f64::INFINITY, 64.0)]
        {
            clock.set_scale(at(0), asked);
            assert_eq!(clock.scale(), got);
        }
    }

    #[test]
    fn a_resumed_clock_goes_on_and_never_back() {
        let mut clock = Clock::resumed(at(1_000), 7_000, 1.0);
        assert_eq!(clock.told_ms(), 7_000);
        assert_eq!(clock.advance(at(1_001)), 7_001);
        assert_eq!(clock.advance(at(900)), 7_001, "even if the caller's clock were wrong");
        assert_eq!(clock.jump(at(70_000)), Some(68_999));
        assert_eq!(clock.jump(at(1_100)), None);
    }
}

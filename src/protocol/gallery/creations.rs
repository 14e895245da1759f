//! How many rooms an address may create: else a single client could use up all there may be.

use std::net::IpAddr;

use crate::session::Instant;
use crate::session::map::GuardedMap;

/// Addresses remembered. Whoever comes when there are more is let through.
const ADDRESSES_MAX: usize = 10_000;
const MINUTE_US: u64 = 60_000_000;

/// Creations by address; each address is known until its allowance is full again.
#[derive(Debug, Default)]
pub(super) struct Creations {
    /// When the allowance would be full.
    full_at: GuardedMap<Box<str>, Instant>,
}

impl Creations {
    /// Whether `address` may create a room now; counts it if so. A minute's allowance may be used at
    /// once.
    pub(super) fn allow(&mut self, address: &str, per_minute: u32, now: Instant) -> bool {
        if per_minute == 0 || is_loopback(address) {
            return true;
        }
        let full_at = self.full_at.get(address).map_or(now, |&at| at.max(now));
        let full_at = Instant::from_micros(full_at.as_micros() + MINUTE_US / u64::from(per_minute));
        if full_at.since(now).as_micros() > u128::from(MINUTE_US) {
            return false;
        }
        if self.full_at.len() < ADDRESSES_MAX || self.full_at.contains_key(address) {
            self.full_at.insert(address.into(), full_at);
        }
        true
    }

    /// Forgets those whose allowance is full.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.full_at.retain(|_, at| *at > now);
    }
}

fn is_loopback(address: &str) -> bool {
    address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_use_a_minutes_allowance_at_once_and_then_slowly() {
        let mut creations = Creations::default();
        let mut created =
            |at, address| creations.allow(address, 3, Instant::from_millis(at)) as usize;
        let at_once: usize = (0..10).map(|_| created(0, "9.9.9.9")).sum();
        assert_eq!(at_once, 3);
        assert_eq!(created(19_000, "9.9.9.9"), 0);
        assert_eq!(created(20_000, "9.9.9.9"), 1);
        assert_eq!(created(20_000, "9.9.9.9"), 0);
        assert_eq!(created(20_000, "9.9.9.8"), 1, "others are not affected");
        assert!((0..100).all(|_| created(0, "127.0.0.1") == 1));
        creations.sweep(Instant::from_millis(200_000));
        assert!(creations.full_at.is_empty());
    }
}

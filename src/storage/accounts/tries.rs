//! How often a network address has tried a password in the last minute.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// In milliseconds.
const WINDOW_MS: u64 = 60_000;
/// Addresses that are remembered at once; beyond it all are forgotten, which lets some try anew.
const ADDRESSES_MAX: usize = 16 << 10;

/// Tries by address.
pub(super) struct Tries {
    per_minute_max: u32,
    by_address: BTreeMap<IpAddr, Window>,
}

struct Window {
    since_ms: u64,
    tries: u32,
}

impl Tries {
    /// None yet.
    pub(super) fn new(per_minute_max: u32) -> Self {
        Self { per_minute_max, by_address: BTreeMap::new() }
    }

    /// Counts one more; whether it is allowed.
    pub(super) fn allow(&mut self, address: IpAddr, now_ms: u64) -> bool {
        let address = network_of(address);
        if self.by_address.len() >= ADDRESSES_MAX && !self.by_address.contains_key(&address) {
            self.by_address.retain(|_, window| !window.is_over(now_ms));
            if self.by_address.len() >= ADDRESSES_MAX {
                self.by_address.clear();
            }
        }
        let fresh = Window { since_ms: now_ms, tries: 0 };
        let window = self.by_address.entry(address).or_insert(fresh);
        if window.is_over(now_ms) {
            *window = Window { since_ms: now_ms, tries: 0 };
        }
        window.tries = window.tries.saturating_add(1);
        window.tries <= self.per_minute_max
    }
}

impl Window {
    fn is_over(&self, now_ms: u64) -> bool {
        now_ms.abs_diff(self.since_ms) >= WINDOW_MS
    }
}

/// Whoever has one address of IPv6 has the 2^64 beside it, too.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn tries_are_counted_by_network_and_minute() {
        let mut tries = Tries::new(2);
        let mut allow = |from: &str, at| tries.allow(address(from), at);
        assert!(allow("10.0.0.1", 0) && allow("::ffff:10.0.0.1", 30_000));
        assert!(!allow("10.0.0.1", 59_999), "the third in a minute");
        assert!(allow("10.0.0.2", 59_999));
        assert!(allow("10.0.0.1", 60_000), "the next minute");
        assert!(allow("2001:db8::1", 0) && allow("2001:db8::2", 0) && !allow("2001:db8::3", 0));
        assert!(allow("2001:db8:0:1::1", 0));
    }

    #[test]
    fn few_addresses_are_remembered() {
        let mut tries = Tries::new(1);
        for number in 0..3 * ADDRESSES_MAX as u32 {
            assert!(tries.allow(std::net::Ipv4Addr::from_bits(number).into(), 0));
            assert!(tries.by_address.len() <= ADDRESSES_MAX);
        }
    }
}

//! What the log tells of a shard as a whole (specs: croquet §15): statistics every 10 s while anybody
//! is there, and every 5 minutes how long round trips took, by the clients' addresses.
//!
//! A round trip is what a client reports with its SEND, as in the original; for clients that say
//! nothing it is the answer to a ping of ours.

use std::fmt;
use std::time::Duration;

use crate::session::counters::{LATENCY_BOUNDS_MS, latency_bucket};
use crate::session::map::GuardedMap;
use crate::session::{Counters, Instant};

/// Between two lines of statistics.
const STATS_INTERVAL: Duration = Duration::from_secs(10);
/// Between two tellings of latencies.
const LATENCY_INTERVAL: Duration = Duration::from_secs(300);
/// Addresses whose latencies are told; those of more are only counted. A hash table of 4,096 places
/// holds them.
const ADDRESSES_MAX: usize = 3_500;
/// Longest address, in bytes: proxies tell it, and may tell anything.
const ADDRESS_BYTES_MAX: usize = 64;
/// Latencies told at once; the rest follow after [`TELLING_PAUSE`], so that members need not wait.
const TOLD_AT_ONCE_MAX: usize = 64;
const TELLING_PAUSE: Duration = Duration::from_millis(100);

/// What a shard tells the log, and when.
#[derive(Debug)]
pub struct Report {
    shard: usize,
    stats_at: Instant,
    /// The counters when statistics were last looked at.
    seen: Totals,
    seen_at: Instant,
    latencies_at: Instant,
    latencies: GuardedMap<Box<str>, Latency>,
    /// Latencies of addresses there was no room for.
    unlisted: u64,
    telling: Vec<(Box<str>, Latency)>,
    /// When the next of those are told.
    tell_at: Option<Instant>,
}

impl Report {
    /// The report of the shard of this index.
    pub fn new(shard: usize) -> Self {
        let start = Instant::default();
        Self {
            shard,
            stats_at: start + STATS_INTERVAL,
            seen: Totals::default(),
            seen_at: start,
            latencies_at: start + LATENCY_INTERVAL,
            latencies: GuardedMap::default(),
            unlisted: 0,
            telling: Vec::new(),
            tell_at: None,
        }
    }

    /// A round trip to the client at this address took `ms` milliseconds.
    pub fn on_latency(&mut self, address: &str, ms: u32) {
        if let Some(latency) = self.latencies.get_mut(address) {
            latency.observe(ms);
        } else if self.latencies.len() < ADDRESSES_MAX && address.len() <= ADDRESS_BYTES_MAX {
            self.latencies.entry(address.into()).or_default().observe(ms);
        } else {
            self.unlisted += 1;
        }
    }

    /// Tells what is due.
    pub fn on_deadline(&mut self, now: Instant, counters: &Counters) {
        if self.stats_at <= now {
            self.stats_at = now + STATS_INTERVAL;
            if let Some(stats) = self.stats(now, counters) {
                log::debug!(target: "croquet", scope = "process", event = "stats",
                    shard = self.shard; "{stats}");
            }
        }
        if self.latencies_at <= now {
            self.latencies_at = now + LATENCY_INTERVAL;
            self.begin_telling(now);
        }
        if self.tell_at.is_some_and(|at| at <= now) {
            self.tell_latencies(now);
        }
    }

    /// When something is next due.
    pub fn deadline(&self) -> Instant {
        let first = self.stats_at.min(self.latencies_at);
        self.tell_at.map_or(first, |at| at.min(first))
    }

    /// Statistics since they were last asked for; none if there was nobody and nothing.
    fn stats(&mut self, now: Instant, counters: &Counters) -> Option<Stats> {
        let totals = Totals::read(counters);
        let users = &counters.croquet_traffic.users;
        let stats = Stats {
            users: users.get(),
            passed: now.since(self.seen_at),
            totals: totals.since(&self.seen),
        };
        users.set(counters.croquet_connections.get());
        (self.seen, self.seen_at) = (totals, now);
        (stats.users > 0 || stats.totals != Totals::default()).then_some(stats)
    }

    /// From here on latencies are collected anew, while those collected so far are told.
    fn begin_telling(&mut self, now: Instant) {
        if self.latencies.is_empty() && self.unlisted == 0 {
            return;
        }
        log::debug!(target: "croquet", scope = "process", event = "latencies", shard = self.shard,
            count = self.latencies.len(), unlisted = self.unlisted;
            "telling the latencies of {} addresses", self.latencies.len());
        self.unlisted = 0;
        self.telling.extend(self.latencies.drain());
        self.tell_at = Some(now);
    }

    fn tell_latencies(&mut self, now: Instant) {
        for _ in 0..TOLD_AT_ONCE_MAX {
            let Some((address, latency)) = self.telling.pop() else { break };
            log::info!(target: "croquet", severity = "NOTICE", scope = "process", event = "latency",
                shard = self.shard, userIp = &*address, "json:latency":% = latency;
                "Latency {} ms ({}-{} ms)", latency.mean(), latency.min, latency.max);
        }
        self.tell_at = (!self.telling.is_empty()).then(|| now + TELLING_PAUSE);
    }
}

/// The counters that statistics are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    messages: u64,
    sends: u64,
    ticks: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Totals {
    fn read(counters: &Counters) -> Self {
        let traffic = &counters.croquet_traffic;
        Self {
            messages: counters.croquet_messages.get(),
            sends: traffic.sends.get(),
            ticks: traffic.ticks.get(),
            bytes_in: traffic.bytes_in.get(),
            bytes_out: traffic.bytes_out.get(),
        }
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            messages: self.messages - earlier.messages,
            sends: self.sends - earlier.sends,
            ticks: self.ticks - earlier.ticks,
            bytes_in: self.bytes_in - earlier.bytes_in,
            bytes_out: self.bytes_out - earlier.bytes_out,
        }
    }
}

/// Displays as the original's line.
#[derive(Debug)]
struct Stats {
    /// Most connections at once.
    users: u64,
    passed: Duration,
    totals: Totals,
}

impl fmt::Display for Stats {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "USERS: {}", self.users)?;
        let Totals { messages, sends, ticks, bytes_in, bytes_out } = self.totals;
        let seconds = self.passed.as_secs_f64().max(1e-3);
        for (name, count) in [
            ("RECV", messages),
            ("SEND", sends),
            ("TICK", ticks),
            ("IN", bytes_in),
            ("OUT", bytes_out),
        ] {
            write!(out, ", {name}/s: {:.0}", count as f64 / seconds)?;
        }
        Ok(())
    }
}

/// Latencies of one address, in milliseconds. Displays as the original's JSON.
#[derive(Clone, Copy, Debug)]
struct Latency {
    min: u32,
    max: u32,
    sum: u64,
    hist: [u32; LATENCY_BOUNDS_MS.len() + 1],
}

impl Default for Latency {
    fn default() -> Self {
        Self { min: u32::MAX, max: 0, sum: 0, hist: Default::default() }
    }
}

impl Latency {
    fn observe(&mut self, ms: u32) {
        self.min = self.min.min(ms);
        self.max = self.max.max(ms);
        self.sum += u64::from(ms);
        self.hist[latency_bucket(ms)] += 1;
    }

    fn mean(&self) -> u64 {
        let count: u64 = self.hist.iter().map(|&count| u64::from(count)).sum();
        self.sum.div_ceil(count.max(1))
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, max, sum, .. } = self;
        write!(out, r#"{{"min":{min},"max":{max},"sum":{sum},"hist":"#)?;
        write_list(&self.hist, out)?;
        write!(out, r#","limits":"#)?;
        write_list(&LATENCY_BOUNDS_MS, out)?;
        write!(out, "}}")
    }
}

fn write_list(numbers: &[u32], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, number) in numbers.iter().enumerate() {
        write!(out, "{}{number}", if at == 0 { '[' } else { ',' })?;
    }
    write!(out, "]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant::from_millis(s * 1_000)
    }

    #[test]
    fn statistics_are_of_the_time_since_the_last() {
        let (mut report, counters) = (Report::new(0), Counters::default());
        assert!(report.stats(at(10), &counters).is_none(), "nobody was there");
        counters.croquet_connections.add(2);
        counters.croquet_traffic.users.raise_to(3);
        counters.croquet_messages.add(100);
        counters.croquet_traffic.sends.add(200);
        counters.croquet_traffic.ticks.add(44);
        counters.croquet_traffic.bytes_in.add(12_345);
        counters.croquet_traffic.bytes_out.add(54_321);
        let line = report.stats(at(20), &counters).expect("much was done").to_string();
        assert_eq!(line, "USERS: 3, RECV/s: 10, SEND/s: 20, TICK/s: 4, IN/s: 1234, OUT/s: 5432");
        let line = report.stats(at(40), &counters).expect("somebody is there").to_string();
        assert_eq!(line, "USERS: 2, RECV/s: 0, SEND/s: 0, TICK/s: 0, IN/s: 0, OUT/s: 0");
        counters.croquet_connections.decrement();
        counters.croquet_connections.decrement();
        assert!(report.stats(at(50), &counters).is_some(), "somebody was there");
        assert!(report.stats(at(60), &counters).is_none());
    }

    #[test]
    fn a_latency_is_told_as_the_original_does() {
        let mut latency = Latency::default();
        for ms in [8, 9, 59_999, 0] {
            latency.observe(ms);
        }
        assert_eq!(latency.mean(), 15_004);
        let json: serde_json::Value = serde_json::from_str(&latency.to_string()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "min": 0, "max": 59_999, "sum": 60_016,
                "hist": [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
                "limits": LATENCY_BOUNDS_MS,
            })
        );
    }

    #[test]
    fn latencies_are_told_a_few_at_a_time() {
        let (mut report, counters) = (Report::new(0), Counters::default());
        for number in 0..200 {
            report.on_latency(&format!("address-{number}"), 7);
            report.on_latency(&format!("address-{number}"), 9);
        }
        report.on_deadline(at(290), &counters);
        assert_eq!((report.latencies.len(), report.deadline()), (200, at(300)));
        let mut now = at(300);
        for left in [200 - TOLD_AT_ONCE_MAX, 200 - 2 * TOLD_AT_ONCE_MAX, 8, 0] {
            report.on_deadline(now, &counters);
            assert_eq!(report.telling.len(), left);
            assert!(report.latencies.is_empty());
            now = report.deadline();
        }
        assert_eq!(now, at(310), "all are told");
        report.on_latency("address-1", 7);
        assert_eq!(report.latencies["address-1"].hist[0], 1, "counted anew");
    }

    #[test]
    fn only_so_many_addresses_are_told_apart() {
        let mut report = Report::new(0);
        report.on_latency(&"x".repeat(ADDRESS_BYTES_MAX + 1), 1);
        assert_eq!((report.latencies.len(), report.unlisted), (0, 1));
        for number in 0..=ADDRESSES_MAX {
            report.on_latency(&number.to_string(), 1);
        }
        assert_eq!((report.latencies.len(), report.unlisted), (ADDRESSES_MAX, 2));
        report.on_latency("0", 1);
        assert_eq!(report.latencies["0"].hist[0], 2);
        assert!(report.latencies.capacity() < 4_096, "one more would double the table");
    }
}

//! Latency counts in buckets that grow with the value: 32 per power of two, so every
//! quantile is right to about 3 %.

const SUB_BITS: u32 = 5;
const SUB: u64 = 1 << SUB_BITS;
const BUCKETS: usize = ((64 - SUB_BITS as usize) + 1) << SUB_BITS;

/// Counts of nanosecond values.
#[derive(Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_ns: u64,
}

impl Histogram {
    /// An empty histogram; all its memory is taken here.
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max_ns: 0 }
    }

    /// Counts one value.
    pub(crate) fn record(&mut self, ns: u64) {
        self.counts[bucket(ns)] += 1;
        self.total += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// Forgets everything counted so far.
    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
        self.max_ns = 0;
    }

    /// How many values were counted.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The largest value.
    pub(crate) fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The value below which `share` of all values lie (upper edge of its bucket).
    pub(crate) fn quantile_ns(&self, share: f64) -> u64 {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_edge(index).min(self.max_ns);
            }
        }
        self.max_ns
    }
}

fn bucket(ns: u64) -> usize {
    if ns < SUB {
        return ns as usize;
    }
    let power = 63 - ns.leading_zeros();
    let within = (ns >> (power - SUB_BITS)) - SUB;
    ((u64::from(power - SUB_BITS + 1) << SUB_BITS) + within) as usize
}

fn upper_edge(index: usize) -> u64 {
    let (row, within) = ((index as u64) >> SUB_BITS, (index as u64) & (SUB - 1));
    if row == 0 {
        return within;
    }
    let width = 1u64 << (row - 1);
    (SUB + within).saturating_mul(width).saturating_add(width - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_within_three_per_cent_of_its_edge() {
        for shift in 0..63 {
            for offset in [0, 1, 7] {
                let value = (1u64 << shift) + offset;
                let edge = upper_edge(bucket(value));
                assert!(edge >= value && (edge - value) as f64 <= value as f64 / 31.0, "{value}");
            }
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn quantiles_follow_the_counts() {
        let mut histogram = Histogram::new();
        (1..=100).for_each(|ms| histogram.record(ms * 1_000_000));
        let p50 = histogram.quantile_ns(0.5);
        assert!((50_000_000..=52_000_000).contains(&p50), "{p50}");
        assert_eq!(histogram.quantile_ns(1.0), 100_000_000);
        assert_eq!(histogram.total(), 100);
    }
}

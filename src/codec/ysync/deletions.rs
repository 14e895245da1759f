//! What is deleted: ranges of clocks, apart from each other and in order.

use std::ops::Range;

/// Deleted clocks of one client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Deletions {
    ranges: Vec<Range<u32>>,
}

impl Deletions {
    /// Adds a range that is not empty; whether any of it is new.
    pub(super) fn insert(&mut self, range: Range<u32>) -> bool {
        // Ranges that overlap it or touch it become one with it.
        let first = self.ranges.partition_point(|known| known.end < range.start);
        let touched = self.ranges[first..].partition_point(|known| known.start <= range.end);
        let touched = first..first + touched;
        let Some(known) = self.ranges.get(first).filter(|_| !touched.is_empty()) else {
            self.ranges.insert(first, range);
            return true;
        };
        if known.start <= range.start && range.end <= known.end {
            return false;
        }
        let end = self.ranges[touched.end - 1].end.max(range.end);
        self.ranges[first] = known.start.min(range.start)..end;
        self.ranges.drain(first + 1..touched.end);
        true
    }

    /// All ranges.
    pub(super) fn ranges(&self) -> &[Range<u32>] {
        &self.ranges
    }

    /// The part of `range` that is of one kind from its start on: its end, and whether it is deleted.
    pub(super) fn first_part(&self, range: Range<u32>) -> (u32, bool) {
        let next = self.ranges.partition_point(|known| known.end <= range.start);
        match self.ranges.get(next) {
            Some(known) if known.start <= range.start => (known.end.min(range.end), true),
            Some(known) => (known.start.min(range.end), false),
            None => (range.end, false),
        }
    }

    /// What must hold between any two calls.
    pub(super) fn invariants(&self) {
        assert!(self.ranges.iter().all(|range| range.start < range.end));
        assert!(self.ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let mut deletions = Deletions::default();
        for (range, is_new, expected) in [
            (5..7, true, &[(5, 7)][..]),
            (5..7, false, &[(5, 7)]),
            (10..12, true, &[(5, 7), (10, 12)]),
            (7..8, true, &[(5, 8), (10, 12)]),
            (3..4, true, &[(3, 4), (5, 8), (10, 12)]),
            (6..8, false, &[(3, 4), (5, 8), (10, 12)]),
            (4..5, true, &[(3, 8), (10, 12)]),
            (0..20, true, &[(0, 20)]),
            (20..21, true, &[(0, 21)]),
        ] {
            assert_eq!(deletions.insert(range.clone()), is_new, "{range:?}");
            let ranges: Vec<_> =
                deletions.ranges().iter().map(|known| (known.start, known.end)).collect();
            assert_eq!(ranges, expected, "{range:?}");
            deletions.invariants();
        }
    }

    #[test]
    fn a_range_is_taken_apart() {
        let mut deletions = Deletions::default();
        deletions.insert(3..5);
        deletions.insert(8..9);
        for (range, part) in [
            (0..10, (3, false)),
            (3..10, (5, true)),
            (4..5, (5, true)),
            (5..10, (8, false)),
            (5..7, (7, false)),
            (9..10, (10, false)),
        ] {
            assert_eq!(deletions.first_part(range.clone()), part, "{range:?}");
        }
    }
}

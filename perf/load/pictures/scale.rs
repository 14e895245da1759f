//! A logarithmic axis of ratios.

/// The axis never shows less than this much on each side of 1.
const LEAST: f64 = 0.8;
const MOST: f64 = 1.25;

/// Maps ratios to places between two ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    left: f64,
    right: f64,
}

impl Scale {
    /// An axis from `left` to `right` with room for 1 and for all of `ratios`, which are above 0.
    pub(super) fn around(ratios: impl Iterator<Item = f64>, left: f64, right: f64) -> Self {
        let (low, high) =
            ratios.fold((LEAST, MOST), |(low, high), ratio| (low.min(ratio), high.max(ratio)));
        // Air at both ends.
        let air = (high / low).powf(0.02);
        Self { low: low / air, high: high * air, left, right }
    }

    /// Where a ratio is.
    pub(super) fn at(self, ratio: f64) -> f64 {
        let share = (ratio / self.low).ln() / (self.high / self.low).ln();
        self.left + share * (self.right - self.left)
    }

    /// Ratios to draw lines at: 1, 2 and 5 of each decade, or 1 alone where there are too many.
    pub(super) fn marks(self) -> Vec<f64> {
        let wide = self.high / self.low > 2_000.0;
        let steps: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let mut marks = Vec::new();
        for decade in -6_i32..=6 {
            marks.extend(steps.iter().map(|step| step * 10f64.powi(decade)));
        }
        if self.high / self.low < 4.0 {
            marks.extend([0.6, 0.7, 0.8, 0.9, 1.2, 1.4, 1.6, 1.8]);
        }
        marks.retain(|mark| (self.low..=self.high).contains(mark));
        marks.sort_by(f64::total_cmp);
        marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_factors_are_equally_long() {
        let scale = Scale::around([0.1, 10.0].into_iter(), 0.0, 100.0);
        assert!((scale.at(1.0) - 50.0).abs() < 1e-9);
        assert!((scale.at(4.0) - scale.at(2.0) - (scale.at(1.0) - scale.at(0.5))).abs() < 1e-9);
        assert!(scale.at(0.1) > 0.0 && scale.at(10.0) < 100.0);
    }

    #[test]
    fn one_is_always_marked_and_nothing_outside() {
        for ratios in [[0.07, 2.2], [0.9, 1.1], [1.0, 58.0], [3.0, 4.0], [0.01, 500.0]] {
            let scale = Scale::around(ratios.into_iter(), 0.0, 100.0);
            let marks = scale.marks();
            assert!(marks.contains(&1.0), "{marks:?}");
            assert!(marks.len() <= 10, "{marks:?}");
            assert!(marks.iter().all(|mark| (0.0..=100.0).contains(&scale.at(*mark))));
        }
    }
}

//! Times that were taken, and the tables they are told in.

use serde_json::{Value, json};

/// Most errors that are told one by one.
pub(super) const ERRORS_TOLD: usize = 10;

/// How long something took, each time.
#[derive(Debug, Default)]
pub(super) struct Samples {
    ns: Vec<u64>,
}

/// What all of them amount to, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Spread {
    pub(super) count: usize,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) average: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p95: f64,
}

impl Samples {
    /// Adds one.
    pub(super) fn record(&mut self, ns: u64) {
        self.ns.push(ns);
    }

    /// What they amount to; all zero if there are none.
    pub(super) fn spread(&self) -> Spread {
        let mut sorted = self.ns.clone();
        sorted.sort_unstable();
        let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else {
            return Spread::default();
        };
        let ms = |ns: u64| ns as f64 / 1e6;
        // The smallest that so many are not above.
        let quantile = |share: f64| {
            let rank = (sorted.len() as f64 * share).ceil() as usize;
            ms(sorted[rank.clamp(1, sorted.len()) - 1])
        };
        let sum: u64 = sorted.iter().sum();
        Spread {
            count: sorted.len(),
            min: ms(*first),
            max: ms(*last),
            average: ms(sum) / sorted.len() as f64,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p95: quantile(0.95),
        }
    }
}

impl Spread {
    /// The columns of [`Spread::row`].
    pub(super) const COLUMNS: [&'static str; 8] =
        ["latency, ms", "count", "min", "max", "average", "p50", "p90", "p95"];

    /// A row of a table.
    pub(super) fn row(&self, name: &str) -> Vec<String> {
        let ms = [self.min, self.max, self.average, self.p50, self.p90, self.p95];
        let ms = ms.iter().map(|ms| format!("{ms:.2}"));
        [name.to_owned(), self.count.to_string()].into_iter().chain(ms).collect()
    }

    /// The same as JSON.
    pub(super) fn to_json(self) -> Value {
        let Self { count, min, max, average, p50, p90, p95 } = self;
        json!({
            "count": count, "min": min, "max": max, "average": average,
            "p50": p50, "p90": p90, "p95": p95,
        })
    }
}

/// A table with a frame, its first column to the left and all others to the right.
pub(super) fn table(columns: &[&str], rows: &[Vec<String>]) -> String {
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(String::len);
        cells.chain([columns[at].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let rule = |left: &str, middle: &str, right: &str| {
        let lines: Vec<_> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        format!("{left}{}{right}\n", lines.join(middle))
    };
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(at, (cell, width))| match at {
            0 => format!(" {cell:<width$} "),
            _ => format!(" {cell:>width$} "),
        });
        format!("│{}│\n", padded.collect::<Vec<_>>().join("│"))
    };
    let mut out = rule("┌", "┬", "┐") + &line(columns.to_vec()) + &rule("├", "┼", "┤");
    for row in rows {
        out += &line(row.iter().map(String::as_str).collect());
    }
    out + &rule("└", "┴", "┘")
}

/// The first errors, and how many more there are.
pub(super) fn told(errors: &[String]) -> Vec<String> {
    let mut lines: Vec<_> =
        errors.iter().take(ERRORS_TOLD).map(|error| format!("- {error}")).collect();
    if errors.len() > ERRORS_TOLD {
        lines.push(format!("...and {} more", errors.len() - ERRORS_TOLD));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let mut samples = Samples::default();
        assert_eq!(samples.spread(), Spread::default());
        (1..=20).rev().for_each(|ms| samples.record(ms * 1_000_000));
        let spread = samples.spread();
        assert_eq!((spread.count, spread.min, spread.max, spread.average), (20, 1.0, 20.0, 10.5));
        assert_eq!((spread.p50, spread.p90, spread.p95), (10.0, 18.0, 19.0));
        assert_eq!(spread.row("join")[..3], ["join", "20", "1.00"]);
        assert_eq!(spread.to_json()["p95"], 19.0);
    }

    #[test]
    fn a_table_is_as_wide_as_its_widest_cells() {
        let rows =
            [vec!["join".to_owned(), "7".to_owned()], vec!["u".to_owned(), "123".to_owned()]];
        let expected = "\
┌──────┬─────┐
│ what │   n │
├──────┼─────┤
│ join │   7 │
│ u    │ 123 │
└──────┴─────┘
";
        assert_eq!(table(&["what", "n"], &rows), expected);
    }

    #[test]
    fn ten_errors_are_told_and_the_others_counted() {
        let errors: Vec<String> = (0..13).map(|number| number.to_string()).collect();
        let told = super::told(&errors);
        assert_eq!((told.len(), told[9].as_str(), told[10].as_str()), (11, "- 9", "...and 3 more"));
        assert_eq!(super::told(&errors[..10]).len(), 10);
    }
}

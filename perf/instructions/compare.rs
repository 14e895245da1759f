//! Counts beside those that were accepted: the table, and the verdict.
//!
//! A file of counts is a line `taken with: …` and a line for each case: its count, then its name.
//! A bench has no tests, so those of this are among the load generator's (`perf/load/counts.rs`).

use std::fmt::Write;

/// More than this above what was accepted is a regression. Counts repeat to some hundredths of a
/// per cent.
const GROWTH_MAX: f64 = 0.03;
const TAKEN_WITH: &str = "taken with: ";

/// What was counted, and with what.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Counts {
    /// Whatever besides the source decides what a case costs: compiler, C library, kind of CPU.
    pub(crate) taken_with: String,
    /// Instructions per operation of each case, in order.
    pub(crate) cases: Vec<(String, f64)>,
}

/// What the comparison comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    Failed,
    /// Taken under other conditions: nothing can be said.
    NotComparable,
}

/// Instructions in a dump of callgrind's.
pub(crate) fn total(dump: &str) -> Option<f64> {
    let line = dump.lines().find_map(|line| line.strip_prefix("totals: "))?;
    line.trim().parse().ok()
}

impl Counts {
    pub(crate) fn text(&self) -> String {
        let mut text = String::from(
            "# Instructions per operation, as perf/count --accept writes them. Not to be edited.\n",
        );
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{TAKEN_WITH}{}", self.taken_with);
        for (name, count) in &self.cases {
            let _ = writeln!(text, "{count:>12.1}  {name}");
        }
        text
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let taken_with = lines.next()?.strip_prefix(TAKEN_WITH)?.to_owned();
        let case = |line: &str| {
            let (count, name) = line.trim_start().split_once("  ")?;
            Some((name.to_owned(), count.parse().ok().filter(|count| *count > 0.0)?))
        };
        Some(Self { taken_with, cases: lines.map(case).collect::<Option<_>>()? })
    }

    fn of(&self, name: &str) -> Option<f64> {
        self.cases.iter().find(|(other, _)| other == name).map(|(_, count)| *count)
    }
}

/// The table, and whether it is good enough.
pub(crate) fn compare(accepted: &Counts, counts: &Counts) -> (String, Verdict) {
    let mut report = format!("{:<40} {:>12} {:>12} {:>7}\n", "case", "accepted", "now", "ratio");
    let (mut more, mut less, mut unknown) = (0, 0, 0);
    for (name, now) in &counts.cases {
        let Some(before) = accepted.of(name) else {
            unknown += 1;
            let _ =
                writeln!(report, "{name:<40} {:>12} {now:>12.1} {:>7}  not accepted yet", "-", "-");
            continue;
        };
        let ratio = now / before;
        let remark = if ratio > 1.0 + GROWTH_MAX {
            more += 1;
            "  MORE"
        } else if ratio < 1.0 - GROWTH_MAX {
            less += 1;
            "  less"
        } else {
            ""
        };
        let _ = writeln!(report, "{name:<40} {before:>12.1} {now:>12.1} {ratio:>7.3}{remark}");
    }
    for (name, before) in accepted.cases.iter().filter(|(name, _)| counts.of(name).is_none()) {
        unknown += 1;
        let _ = writeln!(
            report,
            "{name:<40} {before:>12.1} {:>12} {:>7}  not counted any more",
            "-", "-"
        );
    }
    if accepted.taken_with != counts.taken_with {
        let _ = write!(
            report,
            "\nNOT COMPARABLE, SO NOT CHECKED: counts depend on what they are taken with.\n  \
             accepted: {}\n  now:      {}\nperf/count --accept, on the state before the change, \
             makes this what is compared with.\n",
            accepted.taken_with, counts.taken_with
        );
        return (report, Verdict::NotComparable);
    }
    let per_cent = GROWTH_MAX * 100.0;
    if more + unknown > 0 {
        let _ = write!(
            report,
            "\nFAILED: {more} cases cost over {per_cent} % more than was accepted, {unknown} are new \
             or gone.\nIf that is meant: perf/count --accept, and commit perf/instructions.txt with \
             the reason.\n"
        );
        return (report, Verdict::Failed);
    }
    if less > 0 {
        let _ = write!(
            report,
            "\n{less} cases cost over {per_cent} % less: perf/count --accept keeps it so.\n"
        );
    }
    (report, Verdict::Passed)
}

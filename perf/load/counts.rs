//! What `perf/count` decides: tests of the comparison of counts, which a bench cannot have.

#[path = "../instructions/compare.rs"]
mod compare;

use compare::{Counts, Verdict, compare, total};

fn counts(taken_with: &str, cases: &[(&str, f64)]) -> Counts {
    let cases = cases.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    Counts { taken_with: taken_with.to_owned(), cases }
}

fn verdict(accepted: &[(&str, f64)], now: &[(&str, f64)]) -> Verdict {
    compare(&counts("rustc 1", accepted), &counts("rustc 1", now)).1
}

#[test]
fn more_than_three_per_cent_more_fails_and_no_less() {
    assert_eq!(
        verdict(&[("a", 100.0), ("b b", 50.0)], &[("a", 103.0), ("b b", 1.0)]),
        Verdict::Passed
    );
    assert_eq!(
        verdict(&[("a", 100.0), ("b b", 50.0)], &[("a", 103.2), ("b b", 1.0)]),
        Verdict::Failed
    );
    let (report, _) = compare(&counts("x", &[("a", 100.0)]), &counts("x", &[("a", 110.0)]));
    assert!(report.contains("1.100  MORE") && report.contains("--accept"), "{report}");
}

#[test]
fn a_case_that_is_new_or_gone_fails() {
    assert_eq!(verdict(&[("a", 1.0)], &[("a", 1.0), ("b", 1.0)]), Verdict::Failed);
    assert_eq!(verdict(&[("a", 1.0), ("b", 1.0)], &[("a", 1.0)]), Verdict::Failed);
}

#[test]
fn another_compiler_is_said_and_does_not_fail() {
    let (report, verdict) =
        compare(&counts("rustc 1", &[("a", 1.0)]), &counts("rustc 2", &[("a", 9.0)]));
    assert_eq!(verdict, Verdict::NotComparable);
    assert!(report.contains("NOT CHECKED") && report.contains("rustc 2"), "{report}");
}

#[test]
fn what_was_accepted_is_read_back() {
    let written =
        counts("rustc 1.95.0 (x 2026), glibc 2.36", &[("turn/a, 1 to 2", 12.5), ("b", 7.0)]);
    assert_eq!(Counts::read(&written.text()), Some(written));
    assert_eq!(Counts::read("taken with: x\n 0.0  nothing\n"), None);
}

#[test]
fn a_dump_says_its_total() {
    let dump = "version: 1\npart: 3\nevents: Ir\nsummary: 9\n\nfn=(1)\n0 8\ntotals: 4711\n";
    assert_eq!(total(dump), Some(4711.0));
    assert_eq!(total("events: Ir\n"), None);
}

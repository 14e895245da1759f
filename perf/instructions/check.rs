//! The command line of the comparison: what is read, and what is written ([`compare`]).

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use crate::compare::{Counts, Verdict, compare, total};

/// `check NAMES DUMPS BASELINE TAKEN_WITH [accept]`: the names as printed by the cases, the
/// directory that callgrind has written to, what was accepted, and what this was taken with.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let (arguments, accepts) = match arguments {
        [arguments @ .., last] if last == "accept" => (arguments, true),
        arguments => (arguments, false),
    };
    let [names, dumps, baseline, taken_with] = arguments else {
        eprintln!("usage: check NAMES DUMPS BASELINE TAKEN_WITH [accept]");
        return ExitCode::FAILURE;
    };
    let done = collect(Path::new(names), Path::new(dumps), taken_with).and_then(|counts| {
        if accepts { accept(&counts, baseline) } else { check(&counts, baseline) }
    });
    match done {
        Ok(Verdict::Passed | Verdict::NotComparable) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::FAILURE,
        Err(trouble) => {
            eprintln!("instructions: {trouble}");
            ExitCode::FAILURE
        }
    }
}

fn accept(counts: &Counts, baseline: &str) -> Result<Verdict, String> {
    fs::write(baseline, counts.text()).map_err(|error| format!("{baseline}: {error}"))?;
    println!("{} counts are accepted in {baseline}", counts.cases.len());
    Ok(Verdict::Passed)
}

fn check(counts: &Counts, baseline: &str) -> Result<Verdict, String> {
    let text = fs::read_to_string(baseline).map_err(|error| format!("{baseline}: {error}"))?;
    let accepted = Counts::read(&text).ok_or_else(|| format!("{baseline} cannot be read"))?;
    let (report, verdict) = compare(&accepted, counts);
    print!("{report}");
    Ok(verdict)
}

/// Puts together what the cases printed and what callgrind counted, a dump for each case.
fn collect(names: &Path, dumps: &Path, taken_with: &str) -> Result<Counts, String> {
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let mut cases = Vec::new();
    for (number, line) in read(names)?.lines().enumerate() {
        let (name, operations) = line.rsplit_once(' ').ok_or("a case without its operations")?;
        let operations: f64 = operations.parse().map_err(|_| format!("cannot be read: {line}"))?;
        let dump = dumps.join(format!("out.{}", number + 1));
        let total = total(&read(&dump)?).filter(|total| *total > 0.0);
        let total = total.ok_or_else(|| format!("nothing was counted of {name}"))?;
        cases.push((name.to_owned(), total / operations));
    }
    Ok(Counts { taken_with: taken_with.to_owned(), cases })
}

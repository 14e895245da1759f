//! Medians and ratios of many results: one row per scenario and server.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::SummaryRequest;
use crate::failure::{Failure, While};

/// Results of one server in one scenario.
type Runs = Vec<Value>;
type Table = BTreeMap<String, BTreeMap<String, Runs>>;

/// Prints the table, and writes it as JSON if asked.
pub(crate) fn print(request: &SummaryRequest) -> Result<(), Failure> {
    let rows = rows_of(&request.paths, &request.against)?;
    println!(
        "| scenario | server | runs | figure | median (min–max) | of {} | server CPU | p50 / p99 ms | deliveries/s | RSS, MB | lost, doubled, reordered | remarks |",
        request.against
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    rows.iter().for_each(print_row);
    if let Some(path) = &request.json {
        let text = format!("{:#}\n", json!({ "against": request.against, "rows": rows }));
        fs::write(path, text).while_doing(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// A row for each scenario and server in these result files, or directories of them.
pub(crate) fn rows_of(paths: &[PathBuf], against: &str) -> Result<Vec<Value>, Failure> {
    let mut table = Table::new();
    for path in files(paths)? {
        let text =
            fs::read_to_string(&path).while_doing(|| format!("reading {}", path.display()))?;
        let Ok(run) = serde_json::from_str::<Value>(&text) else { continue };
        if let (Some(scenario), Some(label)) = (run["scenario"].as_str(), run["label"].as_str()) {
            let runs = table.entry(scenario.to_owned()).or_default();
            runs.entry(label.to_owned()).or_default().push(run);
        }
    }
    Ok(table.iter().flat_map(|(name, row)| rows(name, row, against)).collect())
}

fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).while_doing(|| format!("reading {}", path.display()))?;
        let is_json = |path: &Path| path.extension().is_some_and(|extension| extension == "json");
        files.extend(entries.flatten().map(|entry| entry.path()).filter(|path| is_json(path)));
    }
    files.sort();
    Ok(files)
}

fn rows(scenario: &str, servers: &BTreeMap<String, Runs>, against: &str) -> Vec<Value> {
    let reference = servers.get(against).and_then(|runs| spread(runs, "/figure/value"));
    let row = |(label, runs): (&String, &Runs)| {
        let [least, median, most] = spread(runs, "/figure/value")?;
        let middle = |path: &str| spread(runs, path).map(|[_, median, _]| median);
        let sum =
            |path: &str| -> u64 { runs.iter().filter_map(|run| run.pointer(path)?.as_u64()).sum() };
        let bound = runs.iter().filter(|run| run["generator_bound"] == Value::Bool(true)).count();
        Some(json!({
            "scenario": scenario,
            "server": label,
            "runs": runs.len(),
            "figure": runs[0]["figure"]["name"],
            "unit": runs[0]["figure"]["unit"],
            "median": median,
            "min": least,
            "max": most,
            "ratio": reference.filter(|_| label != against).map(|[_, median_of, _]| median / median_of),
            "server_cpu_share": middle("/server_cpu_share"),
            "server_user_share": middle("/server_user_share"),
            "server_kept_waiting_share": middle("/server_kept_waiting_share"),
            "generator_cpu_share": middle("/generator_cpu_share"),
            "cpu_ms_per_s": middle("/cpu_ms_per_s"),
            "cpu_us_per_join_settled": middle("/cpu_us_per_join_settled"),
            "deliveries_per_s": middle("/deliveries_per_s"),
            "deliveries_per_receive": middle("/deliveries_per_receive"),
            "wire_bytes_per_delivery": middle("/wire_bytes_per_delivery"),
            "rss_mb": resident(runs).map(|bytes| bytes / 1e6),
            "p50_ms": middle("/latency_ms/p50"),
            "p99_ms": middle("/latency_ms/p99"),
            "lost": sum("/ledger/lost"),
            "duplicated": sum("/ledger/duplicated"),
            "reordered": sum("/ledger/reordered") + sum("/ledger/late_beyond_judgement"),
            "order_breaks": sum("/ledger/order_breaks"),
            "misrouted": sum("/ledger/misrouted"),
            "closed": sum("/ledger/closed"),
            "ticks_in_window": sum("/ticks_in_window"),
            "echoes_in_window": sum("/echoes_in_window"),
            "generator_bound_runs": bound,
            "kernel": runs[0]["kernel"],
        }))
    };
    servers.iter().filter_map(row).collect()
}

/// Resident bytes with all members in, or at rest where there are none.
fn resident(runs: &[Value]) -> Option<f64> {
    let paths = ["/memory_after/rss_bytes", "/memory/rss_bytes"];
    paths.iter().find_map(|path| spread(runs, path)).map(|[_, median, _]| median)
}

/// Least, middle and greatest value at `path`; of an even number of runs the mean of the middle two.
fn spread(runs: &[Value], path: &str) -> Option<[f64; 3]> {
    let mut values: Vec<f64> = runs.iter().filter_map(|run| run.pointer(path)?.as_f64()).collect();
    values.sort_by(f64::total_cmp);
    let (&least, &most) = (values.first()?, values.last()?);
    let half = values.len() / 2;
    let odd = values.len() % 2 == 1;
    let median = if odd { values[half] } else { f64::midpoint(values[half - 1], values[half]) };
    Some([least, median, most])
}

fn print_row(row: &Value) {
    let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
    let number = |name: &str, digits: usize| {
        row[name].as_f64().map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let digits = if row["median"].as_f64().is_some_and(|median| median >= 100.0) { 0 } else { 3 };
    let share = row["server_cpu_share"].as_f64();
    let share = share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0));
    println!(
        "| {} | {} | {} | {}, {} | **{}** ({}–{}) | {} | {share} | {} / {} | {} | {} | {}, {}, {} | {} |",
        text("scenario"),
        text("server"),
        number("runs", 0),
        text("figure"),
        text("unit"),
        number("median", digits),
        number("min", digits),
        number("max", digits),
        number("ratio", 2),
        number("p50_ms", 2),
        number("p99_ms", 2),
        number("deliveries_per_s", 0),
        number("rss_mb", 1),
        number("lost", 0),
        number("duplicated", 0),
        number("reordered", 0),
        remarks(row),
    );
}

/// A server that waits for its core finds more to do when it gets it, and coalesces more than it
/// would undisturbed: from this share on the table says so.
const WAITING_SHARE: f64 = 0.1;

fn remarks(row: &Value) -> String {
    const WORTH_SAYING: [(&str, &str); 6] = [
        ("generator_bound_runs", "generator was the limit"),
        ("order_breaks", "breaks in the session's order"),
        ("misrouted", "misrouted"),
        ("closed", "connections lost"),
        ("ticks_in_window", "ticks in the window"),
        ("echoes_in_window", "senders' own messages besides"),
    ];
    let said = WORTH_SAYING.iter().filter_map(|(name, words)| match row[*name].as_u64() {
        None | Some(0) => None,
        Some(count) => Some(format!("{words}: {count}")),
    });
    let waiting = row["server_kept_waiting_share"].as_f64().filter(|&share| share >= WAITING_SHARE);
    let waiting = waiting.map(|share| format!("server kept waiting: {:.0} %", share * 100.0));
    said.chain(waiting).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_compare_medians() {
        let run = |value: f64| json!({ "figure": { "name": "f", "unit": "us", "value": value } });
        let mut servers = BTreeMap::new();
        servers.insert("baseline".to_owned(), [4.0, 2.0, 9.0].map(run).to_vec());
        servers.insert("ours".to_owned(), [2.0, 1.0, 8.0, 4.0].map(run).to_vec());
        let rows = rows("fanout", &servers, "baseline");
        assert_eq!(rows[0]["ratio"], Value::Null);
        assert_eq!(rows[1]["median"], 3.0);
        assert_eq!(rows[1]["ratio"], 0.75);
    }
}

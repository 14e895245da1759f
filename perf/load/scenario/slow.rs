//! Slow readers among fast ones: what they cost the others, and what becomes of them.

use serde_json::{Value, json};

use super::{Run, SETTLE_NS, seconds};
use crate::cli::Order;
use crate::failure::Failure;
use crate::generator::{Pacing, Schedule};
use crate::probe::Memory;
use crate::report::{Outcome, Window};

const MEMBERS: u32 = 100;
/// One of so many members hardly reads, unless `--slow` says how many do.
const ONE_IN: u32 = 10;
/// Enough for a lag of some megabytes within a window.
const PAYLOAD_BYTES: usize = 8_000;
const RATE_HZ: f64 = 50.0;

/// What was seen of the server, second by second.
struct Watched {
    /// Most anonymous memory.
    anon_bytes: u64,
    /// When the first of the slow ones was let go, in seconds.
    first_cut_s: Option<f64>,
}

/// Two windows of the same traffic: first everybody reads, then some hardly do. What they are not sent
/// is nobody's loss; what all others are not sent is.
pub(super) fn run(order: &Order) -> Result<(Outcome, Option<String>), Failure> {
    let members = order.members.unwrap_or(MEMBERS).max(2);
    let slow = order.slow.unwrap_or(members / ONE_IN).min(members - 1);
    let payload_bytes = order.payload_bytes.unwrap_or(PAYLOAD_BYTES);
    let rate_hz = order.rate_hz.unwrap_or(RATE_HZ);
    let order = &Order { payload_bytes: Some(payload_bytes), ..order.clone() };
    let mut run = Run::new(order, 1, members, 1)?;
    run.server.require_probe()?;
    run.join(1, members)?;
    run.generator.listen_until(run.generator.now_ns() + SETTLE_NS)?;
    run.generator.appoint_senders(1, members, Pacing::Open { rate_hz });
    let mut schedule = run.generator.schedule(rate_hz);
    let until = run.generator.now_ns() + seconds(order.warmup_s);
    run.generator.send_on_time(&mut schedule, until)?;

    let rest = run.server.memory()?;
    let (without, read) = talk(&mut run, &mut schedule, order.duration_s)?;
    run.generator.drain()?;
    let (before, files) = (run.server.memory()?, run.server.files()?);
    let who = run.generator.members_from(members - slow);
    run.generator.slow_down(&who)?;
    run.generator.owe_to(members - slow);
    let mut schedule = run.generator.schedule(rate_hz);
    let (with, watched) = talk(&mut run, &mut schedule, order.duration_s)?;
    run.generator.drain()?;
    let let_go = files.saturating_sub(run.server.files()?);
    let cut = run.generator.catch_up()?;

    let mut outcome = outcome((&with, before, &watched), (&without, rest, &read));
    outcome.put("members", members);
    outcome.put("slow", slow);
    outcome.put("slow_cut_off", cut);
    outcome.put("slow_let_go_in_window", let_go);
    outcome.put("rate_hz", rate_hz);
    outcome.put("payload_bytes", payload_bytes);
    outcome.put_ledger(&run.generator);
    let tally = run.generator.tally();
    Ok((outcome, missed(tally.expected.saturating_sub(tally.unique), tally.closed)))
}

/// Sends on time for so long, and watches the server.
fn talk(
    run: &mut Run,
    schedule: &mut Schedule,
    duration_s: f64,
) -> Result<(Window, Watched), Failure> {
    let (probe, begun) = (run.server.probe, run.generator.now_ns());
    let files = run.server.files()?;
    let mut watched = Watched { anon_bytes: 0, first_cut_s: None };
    let window = run.measure(seconds(duration_s), |generator, until| {
        generator.send_on_time(schedule, until)?;
        if let Some(probe) = probe {
            watched.anon_bytes = watched.anon_bytes.max(probe.memory()?.rss_anon_bytes);
            if watched.first_cut_s.is_none() && probe.files()? < files {
                watched.first_cut_s = Some((generator.now_ns() - begun) as f64 / 1e9);
            }
        }
        Ok(())
    })?;
    Ok((window, watched))
}

/// A window, the server's memory before it, and what was seen in it.
type Part<'a> = (&'a Window, Memory, &'a Watched);

fn outcome(with: Part<'_>, without: Part<'_>) -> Outcome {
    let (window, before, watched) = with;
    let mut outcome = Outcome::new("cpu_us_per_delivery", "us", cost(window));
    outcome.put("without_slow", summary(without));
    outcome.put("cost_ratio", cost(window) / cost(without.0));
    outcome.put("anon_bytes_grown", grown(with));
    outcome.put("first_cut_s", watched.first_cut_s);
    outcome.put("memory_before", before);
    outcome.put_window(window);
    outcome.put_latency(window);
    outcome
}

fn cost(window: &Window) -> f64 {
    window.server.run_ns as f64 / 1e3 / window.tally.deliveries.max(1) as f64
}

/// By how much the server's memory was above that before, at most, in bytes. What a session retains of
/// its messages is in it, whoever reads.
fn grown((_, before, watched): Part<'_>) -> u64 {
    watched.anon_bytes.saturating_sub(before.rss_anon_bytes)
}

fn summary(part: Part<'_>) -> Value {
    let window = part.0;
    json!({
        "cpu_us_per_delivery": cost(window),
        "latency_ms": window.latency_ms(),
        "anon_bytes_grown": grown(part),
    })
}

/// What must not happen to those who read.
fn missed(lost: u64, closed: u64) -> Option<String> {
    (lost + closed > 0)
        .then(|| format!("those who read lost {lost} messages and {closed} connections"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::Tally;
    use crate::histogram::Histogram;
    use crate::probe::Cpu;

    fn window(run_ns: u64, deliveries: u64) -> Window {
        let cpu = |run_ns| Cpu { run_ns, ..Cpu::default() };
        let tally = Tally { deliveries, ..Tally::default() };
        Window::new(1_000_000_000, cpu(run_ns), cpu(0), tally, &Histogram::new())
    }

    #[test]
    fn the_slow_are_judged_by_what_the_others_pay_and_lose() {
        let watched = Watched { anon_bytes: 9_000, first_cut_s: Some(2.5) };
        let before = Memory { rss_anon_bytes: 5_000, ..Memory::default() };
        let (slow, fast) = (window(6_000, 2), window(4_000, 2));
        let read = Watched { anon_bytes: 6_000, first_cut_s: None };
        let outcome = outcome((&slow, before, &watched), (&fast, before, &read));
        let value = outcome.write("slow", "croquet", "x", None).unwrap();
        assert_eq!(value["figure"]["value"], 3.0);
        assert_eq!(value["without_slow"]["cpu_us_per_delivery"], 2.0);
        assert_eq!(value["without_slow"]["anon_bytes_grown"], 1_000);
        assert_eq!(value["cost_ratio"], 1.5);
        assert_eq!(value["anon_bytes_grown"], 4_000);
        assert_eq!(value["first_cut_s"], 2.5);
        assert_eq!(missed(0, 0), None);
        assert!(missed(1, 0).is_some() && missed(0, 1).is_some());
    }
}

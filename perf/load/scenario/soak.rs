//! A long soak in little time: members come, talk, leave, come back and go, over and over, and what
//! that leaves behind is measured.

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use serde_json::json;

use super::{Run, Server, seconds, wait_until};
use crate::cli::Order;
use crate::clock::Clock;
use crate::failure::{Failure, While};
use crate::generator::{Pacing, Tally};
use crate::protocol;
use crate::report::Outcome;

/// How long everybody talks, three times a cycle.
const TALK_NS: u64 = 200_000_000;
/// From the end of a cycle to the reading of memory: whoever left has been noticed.
const REST_NS: u64 = 50_000_000;
/// Servers may keep an empty session for a while.
const LEAVE_NS: u64 = 30_000_000_000;
const RATE_HZ: f64 = 20.0;
/// Anonymous memory may grow by so much per join after warming up, in bytes: below it, what is seen is
/// the allocator's and the page tables'.
const GROWTH_PER_JOIN_MAX: f64 = 32.0;
/// Cycles without which growth cannot be told from warming up.
const CYCLES_MIN: usize = 16;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What a server holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held {
    anon_bytes: u64,
    files: u64,
    /// Where the server says so on `/metrics`, as lockstep does.
    sessions: Option<u64>,
}

/// What all cycles found.
#[derive(Clone, Debug, Default)]
struct Soaked {
    start: Held,
    end: Held,
    /// Anonymous memory after each cycle, in bytes.
    anon_bytes: Vec<u64>,
    joins_per_cycle: u64,
    deliveries: u64,
    lost: u64,
    doubled: u64,
    misplaced: u64,
    closed: u64,
}

/// Runs cycles for as long as was asked for, each with sessions of its own unless these are kept on
/// purpose, and judges what is left.
pub(super) fn run(order: &Order) -> Result<(Outcome, Option<String>), Failure> {
    let is_one = protocol::has_one_session(order.language());
    let is_kept = protocol::keeps_sessions(order.language());
    let sessions = if is_one { 1 } else { order.sessions.unwrap_or(10) };
    let members = order.members.unwrap_or(if is_one { 100 } else { 20 }).max(2);
    let senders = order.senders.unwrap_or(1).min(members / 2);
    let rate_hz = rate_of(order);
    let server = Server::of(order)?;
    server.require_probe()?;
    let whole = server.cpu()?;
    let clock = Clock::start();
    let mut soaked = Soaked { start: held(&server)?, ..Soaked::default() };
    if is_one || is_kept {
        // One session is the application's: it stays when all have gone.
        soaked.start.sessions = soaked.start.sessions.map(|sessions| sessions.max(1));
    }
    let mut kept: Option<Run> = None;
    while clock.now_ns() < seconds(order.duration_s) {
        let cycle = soaked.anon_bytes.len() as u64;
        let before = kept.as_ref().map(|run| run.generator.tally()).unwrap_or_default();
        let mut run = match kept.take() {
            Some(run) => run,
            None => come(order, sessions, members, senders, cycle + 1)?,
        };
        churn(&mut run, members, rate_hz)?;
        soaked.book(&run.generator.tally().since(&before));
        kept = is_kept.then_some(run);
        wait_until(clock, clock.now_ns() + REST_NS);
        soaked.anon_bytes.push(server.memory()?.rss_anon_bytes);
        eprintln!("  cycle {}: {} bytes", cycle + 1, soaked.anon_bytes[cycle as usize]);
    }
    drop(kept);
    let until = clock.now_ns() + LEAVE_NS;
    soaked.end = held(&server)?;
    while !soaked.is_left() && clock.now_ns() < until {
        wait_until(clock, clock.now_ns() + 500_000_000);
        soaked.end = held(&server)?;
    }
    let used = server.cpu()?.since(whole);
    let mut outcome = soaked.outcome();
    let joins = soaked.joins_per_cycle * soaked.anon_bytes.len() as u64;
    outcome.put("cpu_us_per_join_and_its_talk", used.run_ns as f64 / 1e3 / joins.max(1) as f64);
    outcome.put("sessions", sessions);
    outcome.put("members", members);
    let troubles = soaked.troubles();
    Ok((outcome, (!troubles.is_empty()).then(|| troubles.join("; "))))
}

/// All come.
fn come(
    order: &Order,
    sessions: u32,
    members: u32,
    senders: u32,
    number: u64,
) -> Result<Run, Failure> {
    let mut run = Run::numbered(order, sessions, members, senders, number)?;
    run.join(sessions, members)?;
    let rate_hz = rate_of(order);
    run.generator.appoint_senders(senders, members, Pacing::Open { rate_hz });
    Ok(run)
}

fn rate_of(order: &Order) -> f64 {
    let rate_hz = order.rate_hz.unwrap_or(RATE_HZ);
    rate_hz.min(protocol::rate_max_hz(order.language()))
}

/// All talk; half of them leave, the others talk; they come back, and all talk. Nothing is under way
/// when somebody comes or leaves, so what is owed to whom is certain.
fn churn(run: &mut Run, members: u32, rate_hz: f64) -> Result<(), Failure> {
    talk(run, rate_hz)?;
    let leaving = run.generator.members_from(members / 2);
    run.generator.leave(&leaving);
    run.generator.owe_to(members / 2);
    talk(run, rate_hz)?;
    run.generator.come_back(&leaving)?;
    run.generator.owe_to(members);
    talk(run, rate_hz)
}

fn talk(run: &mut Run, rate_hz: f64) -> Result<(), Failure> {
    let mut schedule = run.generator.schedule(rate_hz);
    run.generator.send_on_time(&mut schedule, run.generator.now_ns() + TALK_NS)?;
    run.generator.drain()
}

fn held(server: &Server) -> Result<Held, Failure> {
    let sessions = sessions_told(server.target)?;
    Ok(Held { anon_bytes: server.memory()?.rss_anon_bytes, files: server.files()?, sessions })
}

/// Asks a server for its metrics; the connection is gone when this returns.
fn sessions_told(target: SocketAddrV4) -> Result<Option<u64>, Failure> {
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(target)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        // Who does not speak HTTP may end it as it likes.
        let _ = stream.read_to_end(&mut answer);
        Ok(answer)
    };
    let answer = ask().while_doing(|| format!("asking {target} for /metrics"))?;
    Ok(sessions(&String::from_utf8_lossy(&answer)))
}

/// The sum of a metric's samples.
fn sessions(metrics: &str) -> Option<u64> {
    let sample = |line: &str| -> Option<u64> {
        let rest = line.strip_prefix("lockstep_sessions")?;
        let rest = rest.split_once('}').map_or(rest, |(_, value)| value);
        rest.strip_prefix(' ')?.trim().parse().ok()
    };
    metrics.lines().filter_map(sample).reduce(|sum, value| sum + value)
}

impl Soaked {
    fn book(&mut self, tally: &Tally) {
        self.joins_per_cycle = tally.joined;
        self.deliveries += tally.deliveries;
        self.lost += tally.expected.saturating_sub(tally.unique);
        self.doubled += tally.duplicated;
        self.misplaced += tally.reordered + tally.stale + tally.misrouted + tally.order_breaks;
        self.closed += tally.closed;
    }

    /// Whether everything is as it was before anybody came.
    fn is_left(&self) -> bool {
        self.end.files <= self.start.files && self.end.sessions <= self.start.sessions
    }

    fn outcome(&self) -> Outcome {
        let growth = growth_per_cycle(&self.anon_bytes).map(|bytes| bytes / self.joins());
        let mut outcome = Outcome::new("anon_growth_per_join", "bytes", growth.unwrap_or(f64::NAN));
        outcome.put("growth_per_join_max", GROWTH_PER_JOIN_MAX);
        outcome.put("cycles", self.anon_bytes.len());
        outcome.put("joins_per_cycle", self.joins_per_cycle);
        outcome.put("deliveries", self.deliveries);
        outcome.put("anon_bytes", json!(self.anon_bytes));
        outcome.put("anon_bytes_at_start", self.start.anon_bytes);
        outcome.put("anon_bytes_at_end", self.end.anon_bytes);
        outcome.put("files_at_start", self.start.files);
        outcome.put("files_at_end", self.end.files);
        outcome.put("sessions_at_start", self.start.sessions);
        outcome.put("sessions_at_end", self.end.sessions);
        outcome.put(
            "ledger",
            json!({
                "lost": self.lost,
                "duplicated": self.doubled,
                "reordered": self.misplaced,
                "closed": self.closed,
            }),
        );
        outcome
    }

    fn joins(&self) -> f64 {
        self.joins_per_cycle.max(1) as f64
    }

    /// What is not as it must be.
    fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        match growth_per_cycle(&self.anon_bytes).map(|bytes| bytes / self.joins()) {
            None => troubles.push(format!("fewer than {CYCLES_MIN} cycles: take longer")),
            Some(growth) if growth > GROWTH_PER_JOIN_MAX => troubles.push(format!(
                "memory grows by {growth:.0} bytes per join, more than {GROWTH_PER_JOIN_MAX}"
            )),
            Some(_) => {}
        }
        let wrong = [
            (self.lost, "messages lost"),
            (self.doubled, "doubled"),
            (self.misplaced, "out of order or misrouted"),
            (self.closed, "connections lost"),
        ];
        troubles.extend(
            wrong
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, what)| format!("{count} {what}")),
        );
        if !self.is_left() {
            let (start, end) = (self.start, self.end);
            troubles.push(format!(
                "when all had gone there were {} files open instead of {}, and {:?} sessions instead of {:?}",
                end.files, start.files, end.sessions, start.sessions
            ));
        }
        troubles
    }
}

/// By how much the mean of the last quarter is above that of the quarter before, per cycle: the first
/// half is warming up.
fn growth_per_cycle(samples: &[u64]) -> Option<f64> {
    if samples.len() < CYCLES_MIN {
        return None;
    }
    let quarter = samples.len() / 4;
    let mean = |samples: &[u64]| samples.iter().sum::<u64>() as f64 / samples.len() as f64;
    let (rest, last) = samples.split_at(samples.len() - quarter);
    Some((mean(last) - mean(&rest[rest.len() - quarter..])) / quarter as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soaked(anon_bytes: Vec<u64>) -> Soaked {
        let start = Held { anon_bytes: 1000, files: 20, sessions: Some(0) };
        Soaked { start, end: start, anon_bytes, joins_per_cycle: 10, ..Soaked::default() }
    }

    #[test]
    fn warming_up_is_no_growth_and_a_leak_is() {
        let settles: Vec<u64> = (0..40).map(|cycle| 5_000_000 + 900_000 * cycle.min(12)).collect();
        assert_eq!(growth_per_cycle(&settles), Some(0.0));
        assert!(soaked(settles).troubles().is_empty());
        let leaks: Vec<u64> = (0..40).map(|cycle| 5_000_000 + 400 * cycle).collect();
        assert_eq!(growth_per_cycle(&leaks), Some(400.0));
        assert!(soaked(leaks).troubles()[0].contains("40 bytes per join"));
        assert_eq!(soaked(vec![1; CYCLES_MIN - 1]).troubles().len(), 1);
    }

    #[test]
    fn whatever_is_left_or_lost_is_a_trouble() {
        let fine = || soaked(vec![1000; 20]);
        assert!(fine().troubles().is_empty());
        let end = |files, sessions| Held { anon_bytes: 1000, files, sessions };
        let worse = [
            Soaked { lost: 1, ..fine() },
            Soaked { doubled: 1, ..fine() },
            Soaked { misplaced: 1, ..fine() },
            Soaked { closed: 1, ..fine() },
            Soaked { end: end(21, Some(0)), ..fine() },
            Soaked { end: end(20, Some(1)), ..fine() },
        ];
        for soaked in worse {
            assert_eq!(soaked.troubles().len(), 1, "{soaked:?}");
        }
        // Who does not tell its sessions is judged by the rest.
        let mute = Held { sessions: None, ..fine().start };
        assert!(Soaked { start: mute, end: mute, ..fine() }.troubles().is_empty());
    }

    #[test]
    fn sessions_are_summed_over_shards() {
        let metrics = "# TYPE lockstep_sessions gauge\nlockstep_sessions{shard=\"0\"} 3\n\
                       lockstep_sessions{shard=\"1\"} 4\nlockstep_sessions_ended 9\n";
        assert_eq!(sessions(metrics), Some(7));
        assert_eq!(sessions("lockstep_sessions 5\n"), Some(5));
        assert_eq!(sessions("HTTP/1.1 404 Not Found\r\n\r\n"), None);
    }
}

//! What the test found, and whether that is good enough.

use serde_json::json;

use super::client::Phase;
use super::samples::{Spread, table, told};
use super::{Trial, Window};
use crate::clock;
use crate::failure::Failure;
use crate::report::Outcome;

impl Trial<'_> {
    /// How it goes.
    pub(super) fn tell_progress(&self, now_ns: u64) {
        let playing =
            self.links.iter().filter(|l| !l.is_over && l.client.phase() == Phase::Playing).count();
        eprintln!(
            "  {:5.1} s  {playing} of {} play  {} deliveries  {} errors",
            clock::seconds(now_ns),
            self.settings.clients,
            self.deliveries,
            self.errors.len()
        );
    }

    /// The tables, and the first errors.
    pub(super) fn tell(&self) {
        let counts = [self.connections.to_string(), self.disconnects.to_string()];
        let row = counts.into_iter().chain([self.errors.len().to_string()]).collect();
        print!("{}", table(&["connections", "disconnects", "errors"], &[row]));
        let (joins, updates) = (self.joins.spread(), self.updates.spread());
        print!("{}", table(&Spread::COLUMNS, &[joins.row("join"), updates.row("update")]));
        told(&self.errors).iter().for_each(|line| println!("{line}"));
    }

    /// All of it, with what the players' time cost.
    pub(super) fn outcome(&self, window: &Window) -> Outcome {
        let (joins, updates) = (self.joins.spread(), self.updates.spread());
        let cost = window.cpu.map(|cpu| cpu.run_ns as f64 / 1e3 / window.deliveries.max(1) as f64);
        let mut outcome = match cost {
            Some(us) => Outcome::new("cpu_us_per_delivery", "us", us),
            None => Outcome::new("update_p95", "ms", updates.p95),
        };
        outcome.put("clients", self.settings.clients);
        outcome.put("update_interval_ms", self.settings.update_interval_ms);
        outcome.put("connections", self.connections);
        outcome.put("disconnects", self.disconnects);
        outcome.put("errors", self.errors.len());
        outcome.put("first_errors", told(&self.errors));
        outcome.put("join_ms", joins.to_json());
        outcome.put("update_ms", updates.to_json());
        outcome.put("window_s", clock::seconds(window.ns));
        outcome.put("deliveries", window.deliveries);
        let per_s = window.deliveries as f64 / clock::seconds(window.ns.max(1));
        outcome.put("deliveries_per_s", per_s);
        let share = window.cpu.map(|cpu| cpu.run_ns as f64 / window.ns.max(1) as f64);
        outcome.put("server_cpu_share", share);
        outcome.put("latency_ms", json!({ "p50": updates.p50, "p90": updates.p90 }));
        outcome
    }

    /// Whether it was good enough.
    pub(super) fn judge(&self) -> Result<(), Failure> {
        let (joins, updates) = (self.joins.spread(), self.updates.spread());
        let mut missed = Vec::new();
        if self.errors.len() > self.settings.max_errors {
            missed.push(format!("{} errors", self.errors.len()));
        }
        let limits = [
            ("updates", updates, self.settings.p95_ms),
            ("joins", joins, self.settings.join_p95_ms),
        ];
        for (name, spread, limit) in limits {
            // Nothing at all is not fast.
            if let Some(limit) = limit
                && (spread.count == 0 || spread.p95 > limit)
            {
                missed.push(format!("p95 of {} {name} {:.2} ms", spread.count, spread.p95));
            }
        }
        if missed.is_empty() { Ok(()) } else { Err(Failure::Missed(missed.join(", "))) }
    }
}

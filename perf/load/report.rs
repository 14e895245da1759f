//! The result of one run: one figure that matters and everything needed to judge it, as JSON
//! and as a table.

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::cli::Order;
use crate::clock;
use crate::failure::{Failure, While};
use crate::generator::{Generator, Tally, per_second};
use crate::histogram::Histogram;
use crate::probe::{self, Cpu};

/// The generator held the server back if it was running, or ready to run but kept waiting by
/// other work, for this share of the time.
const BOUND_SHARE: f64 = 0.9;

/// A span of measurement.
pub(crate) struct Window {
    /// Its length.
    pub(crate) ns: u64,
    /// The server's CPU time in it.
    pub(crate) server: Cpu,
    /// The generator's.
    pub(crate) own: Cpu,
    /// What was counted in it.
    pub(crate) tally: Tally,
    latency_ms: Value,
}

impl Window {
    /// Keeps the window's readings.
    pub(crate) fn new(ns: u64, server: Cpu, own: Cpu, tally: Tally, latency: &Histogram) -> Self {
        let ms = |ns: u64| ns as f64 / 1e6;
        let latency_ms = json!({
            "count": latency.total(),
            "p50": ms(latency.quantile_ns(0.5)),
            "p90": ms(latency.quantile_ns(0.9)),
            "p99": ms(latency.quantile_ns(0.99)),
            "p999": ms(latency.quantile_ns(0.999)),
            "max": ms(latency.max_ns()),
        });
        Self { ns, server, own, tally, latency_ms }
    }

    /// Its length in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        clock::seconds(self.ns)
    }

    /// Latencies in milliseconds.
    pub(crate) fn latency_ms(&self) -> &Value {
        &self.latency_ms
    }

    fn share(&self, ns: u64) -> f64 {
        ns as f64 / self.ns.max(1) as f64
    }
}

impl Tally {
    /// What was counted since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            joined: self.joined - earlier.joined,
            sent: self.sent - earlier.sent,
            expected: self.expected - earlier.expected,
            deliveries: self.deliveries - earlier.deliveries,
            delivery_bytes: self.delivery_bytes - earlier.delivery_bytes,
            echoes: self.echoes - earlier.echoes,
            unique: self.unique - earlier.unique,
            duplicated: self.duplicated - earlier.duplicated,
            reordered: self.reordered - earlier.reordered,
            stale: self.stale - earlier.stale,
            misrouted: self.misrouted - earlier.misrouted,
            order_breaks: self.order_breaks - earlier.order_breaks,
            notices: self.notices - earlier.notices,
            ticks: self.ticks - earlier.ticks,
            pings: self.pings - earlier.pings,
            unknown: self.unknown - earlier.unknown,
            closed: self.closed - earlier.closed,
            receive_calls: self.receive_calls - earlier.receive_calls,
        }
    }
}

/// What a run found out.
pub(crate) struct Outcome {
    values: Map<String, Value>,
}

impl Outcome {
    /// An outcome whose point is `figure`.
    pub(crate) fn new(figure: &str, unit: &str, value: f64) -> Self {
        let mut values = Map::new();
        let figure = json!({ "name": figure, "unit": unit, "value": value });
        values.insert("figure".to_owned(), figure);
        Self { values }
    }

    /// Adds a value.
    pub(crate) fn put(&mut self, name: &str, value: impl Serialize) {
        self.values.insert(name.to_owned(), json!(value));
    }

    /// Adds CPU time and rates.
    pub(crate) fn put_window(&mut self, window: &Window) {
        let own = window.share(window.own.run_ns);
        let deliveries = window.tally.deliveries;
        self.put("window_s", window.seconds());
        self.put("server_cpu_share", window.share(window.server.run_ns));
        self.put("server_user_share", window.server.user_share());
        self.put("server_kept_waiting_share", window.share(window.server.wait_ns));
        self.put("generator_cpu_share", own);
        self.put("generator_kept_waiting_share", window.share(window.own.wait_ns));
        let busy = window.share(window.own.run_ns + window.own.wait_ns);
        self.put("generator_bound", busy >= BOUND_SHARE);
        self.put("deliveries", deliveries);
        self.put("deliveries_per_s", per_second(deliveries, window.ns));
        self.put("echoes_in_window", window.tally.echoes);
        self.put("ticks_in_window", window.tally.ticks);
        self.put("notices_in_window", window.tally.notices);
        let per = |count: u64, by: u64| count as f64 / by.max(1) as f64;
        self.put("wire_bytes_per_delivery", per(window.tally.delivery_bytes, deliveries));
        self.put("deliveries_per_receive", per(deliveries, window.tally.receive_calls));
    }

    /// Adds latencies; from the moment a message was due to its arrival in the generator.
    pub(crate) fn put_latency(&mut self, window: &Window) {
        self.put("latency_ms", &window.latency_ms);
    }

    /// Adds what was lost, doubled or reordered over the whole run.
    pub(crate) fn put_ledger(&mut self, generator: &Generator) {
        let tally = generator.tally();
        self.put(
            "ledger",
            json!({
                "sent": tally.sent,
                "expected": tally.expected,
                "arrived": tally.unique,
                "lost": tally.expected.saturating_sub(tally.unique),
                "duplicated": tally.duplicated,
                "reordered": tally.reordered,
                "late_beyond_judgement": tally.stale,
                "misrouted": tally.misrouted,
                "order_breaks": tally.order_breaks,
                "echoes": tally.echoes,
                "notices": tally.notices,
                "ticks": tally.ticks,
                "pings": tally.pings,
                "unknown": tally.unknown,
                "closed": tally.closed,
                "first_trouble": generator.first_trouble(),
            }),
        );
    }

    /// Prints the table, and writes the JSON where the order says.
    pub(crate) fn print(self, order: &Order) -> Result<(), Failure> {
        let path = order.json.as_deref();
        let value = self.write(&order.scenario, &order.protocol, &order.label, path)?;
        println!("{} ({}, {})", order.scenario, order.label, order.protocol);
        print_lines("", &value);
        if value["generator_bound"] == Value::Bool(true) {
            eprintln!(
                "load: the generator was busy for ≥ {:.0} % of the window: rates are its limit, \
                 not the server's; CPU time per delivery stays valid",
                BOUND_SHARE * 100.0
            );
        }
        Ok(())
    }

    /// Says what it is an outcome of, and writes that to a file if there is one.
    pub(crate) fn write(
        mut self,
        scenario: &str,
        protocol: &str,
        label: &str,
        path: Option<&Path>,
    ) -> Result<Value, Failure> {
        self.put("scenario", scenario);
        self.put("protocol", protocol);
        self.put("label", label);
        self.put("kernel", probe::kernel());
        let value = Value::Object(self.values);
        if let Some(path) = path {
            let text = format!("{value:#}\n");
            fs::write(path, text).while_doing(|| format!("writing {}", path.display()))?;
        }
        Ok(value)
    }
}

/// Prints the members of an object, a line each.
pub(crate) fn print_lines(above: &str, value: &Value) {
    let Value::Object(members) = value else { return };
    for (name, value) in members {
        match value {
            Value::Object(_) => print_lines(&format!("{above}{name}."), value),
            Value::Number(number) => {
                let text = number.as_f64().filter(|_| number.is_f64());
                let text = text.map_or_else(|| number.to_string(), |value| format!("{value:.3}"));
                println!("  {:<40} {text:>14}", format!("{above}{name}"));
            }
            Value::Null => {}
            other => println!("  {:<40} {other:>14}", format!("{above}{name}")),
        }
    }
}

//! The command line.

use std::net::SocketAddrV4;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::{baseline, comutiny, pictures, sync};

/// What to do.
pub(crate) enum Command {
    /// Run one scenario against a server.
    Run(Box<Order>),
    /// Serve as the baseline.
    Baseline(baseline::Settings),
    /// Run CoMutiNy's own load test.
    Comutiny(Box<comutiny::Settings>),
    /// Sync a folder through the hub of @rljson.
    Sync(Box<sync::Settings>),
    /// Medians and ratios of results.
    Summary(SummaryRequest),
    /// Draw ratios.
    Pictures(pictures::Request),
    /// Say where a process listens.
    Address(u32),
    /// Name the scenarios.
    List,
}

/// One run. What is `None` is the scenario's or the protocol's to say.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) scenario: String,
    pub(crate) protocol: String,
    pub(crate) like: String,
    pub(crate) label: String,
    pub(crate) pid: Option<u32>,
    pub(crate) target: Option<SocketAddrV4>,
    pub(crate) prefix: Option<String>,
    pub(crate) cpu: Option<usize>,
    pub(crate) sources: u8,
    pub(crate) parallel: usize,
    pub(crate) connections: Option<u32>,
    pub(crate) sessions: Option<u32>,
    pub(crate) members: Option<u32>,
    pub(crate) senders: Option<u32>,
    pub(crate) slow: Option<u32>,
    pub(crate) rate_hz: Option<f64>,
    pub(crate) window: Option<u32>,
    pub(crate) payload_bytes: Option<usize>,
    pub(crate) tick_ms: u32,
    pub(crate) warmup_s: f64,
    pub(crate) duration_s: f64,
    pub(crate) json: Option<PathBuf>,
}

impl Order {
    /// The protocol whose sessions are meant, also where bare messages take its place.
    pub(crate) fn language(&self) -> &str {
        if self.protocol == "raw" { &self.like } else { &self.protocol }
    }
}

/// Which results to put side by side.
#[derive(Clone, Debug)]
pub(crate) struct SummaryRequest {
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) against: String,
    pub(crate) json: Option<PathBuf>,
}

/// Reads the command line; ends the process on a mistake or a call for help.
pub(crate) fn parse() -> Command {
    let matches = command().get_matches();
    match matches.subcommand() {
        Some(("run", run)) => Command::Run(Box::new(order(run))),
        Some(("baseline", settings)) => Command::Baseline(baseline::Settings {
            port: value(settings, "port"),
            batch: settings.get_flag("batch"),
            uring: settings.get_flag("uring"),
            cpu: maybe(settings, "cpu"),
        }),
        Some(("comutiny", settings)) => Command::Comutiny(Box::new(comutiny_settings(settings))),
        Some(("sync", settings)) => Command::Sync(Box::new(sync::Settings {
            pid: value(settings, "pid"),
            prefix: value(settings, "prefix"),
            files: value(settings, "files"),
            file_bytes: value(settings, "file-bytes"),
            readers: value(settings, "readers"),
            cpu: maybe(settings, "cpu"),
            label: value(settings, "label"),
            json: maybe(settings, "json"),
        })),
        Some(("summary", summary)) => Command::Summary(SummaryRequest {
            paths: summary.get_many("paths").into_iter().flatten().cloned().collect(),
            against: value(summary, "against"),
            json: maybe(summary, "json"),
        }),
        Some(("pictures", pictures)) => Command::Pictures(pictures::Request {
            paths: pictures.get_many("paths").into_iter().flatten().cloned().collect(),
            against: value(pictures, "against"),
            out: value(pictures, "out"),
        }),
        Some(("address", address)) => Command::Address(value(address, "pid")),
        _ => Command::List,
    }
}

fn command() -> clap::Command {
    clap::Command::new("load")
        .about("Drives a server of real-time sessions and says what each delivery cost it")
        .subcommand_required(true)
        .subcommand(run_command())
        .subcommand(comutiny_command())
        .subcommand(sync_command())
        .subcommand(
            clap::Command::new("baseline")
                .about("Serve raw rooms with a bare send loop on epoll")
                .arg(
                    option("port", "port on 127.0.0.1, 0 for any", value_parser!(u16))
                        .default_value("0"),
                )
                .arg(cpu())
                .arg(
                    Arg::new("batch")
                        .long("batch")
                        .action(ArgAction::SetTrue)
                        .help("send once per turn and receiver instead of once per message"),
                )
                .arg(
                    Arg::new("uring")
                        .long("uring")
                        .action(ArgAction::SetTrue)
                        .help("send to all receivers at once, by io_uring"),
                ),
        )
        .subcommand(
            clap::Command::new("summary")
                .about("Medians and ratios of result files, or of directories of them")
                .args(results())
                .arg(option("json", "also write the table here", value_parser!(PathBuf))),
        )
        .subcommand(
            clap::Command::new("pictures")
                .about("Draw the ratios of summaries, or of result files, as SVG")
                .args(results())
                .arg(
                    option("out", "directory of the pictures", value_parser!(PathBuf))
                        .default_value("perf/pictures"),
                ),
        )
        .subcommand(
            clap::Command::new("address")
                .about("Wait until a process listens, and say where")
                .arg(option("pid", "the process", value_parser!(u32)).required(true)),
        )
        .subcommand(clap::Command::new("list").about("Name the scenarios"))
}

/// Which results are meant, and what they are compared with.
fn results() -> [Arg; 2] {
    [
        Arg::new("paths").required(true).num_args(1..).value_parser(value_parser!(PathBuf)),
        option("against", "label of the runs to compare with", value_parser!(String))
            .default_value("baseline"),
    ]
}

fn run_command() -> clap::Command {
    clap::Command::new("run").about("Run one scenario").args([
        Arg::new("scenario").required(true).help("see `load list`"),
        option("protocol", "croquet, gallery, yjs, socketio, rljson or raw", value_parser!(String))
            .default_value("croquet"),
        option("like", "raw: the protocol whose deliveries are as long", value_parser!(String))
            .default_value("croquet"),
        option("label", "name of the server in the result", value_parser!(String))
            .default_value("server"),
        option(
            "pid",
            "the server's process: whence CPU time, memory and, by default, the port",
            value_parser!(u32),
        ),
        option(
            "target",
            "address of the server, if not to be found by its process",
            value_parser!(SocketAddrV4),
        ),
        option("prefix", "path before the session", value_parser!(String)),
        cpu(),
        option("sources", "loopback source addresses", value_parser!(u8).range(1..=64))
            .default_value("8"),
        option("parallel", "connections on their way in at once", value_parser!(usize))
            .default_value("64"),
        option("connections", "idle, storm: how many", value_parser!(u32).range(1..)),
        option("sessions", "traffic: sessions", value_parser!(u32).range(1..)),
        option("members", "members per session", value_parser!(u32).range(1..)),
        option("senders", "sending members per session", value_parser!(u32).range(1..)),
        option("slow", "slow: members that hardly read", value_parser!(u32)),
        option("rate", "open loop: messages per second and sender", value_parser!(f64)),
        option(
            "window",
            "closed loop: messages under way per sender",
            value_parser!(u32).range(1..),
        ),
        option("payload-bytes", "bytes of a message's payload", value_parser!(usize)),
        option("tick-ms", "tick asked for in JOIN", value_parser!(u32)).default_value("60000"),
        option("warmup-s", "traffic before the window", value_parser!(f64)).default_value("1"),
        option("duration-s", "the window", value_parser!(f64)).default_value("8"),
        option("json", "write the result here too", value_parser!(PathBuf)),
    ])
}

fn comutiny_command() -> clap::Command {
    let knob = |name, variable, default, help| {
        option(name, help, value_parser!(u64)).env(variable).default_value(default)
    };
    clap::Command::new("comutiny")
        .about("Play in CoMutiNy's world: its load test; fails if the result is not good enough")
        .args([
            option("target-url", "http://localhost:PORT", value_parser!(String))
                .env("LOAD_TARGET_URL")
                .default_value("http://localhost:4000"),
            option("clients", "players", value_parser!(u32).range(1..))
                .env("LOAD_CLIENTS")
                .default_value("50"),
            knob("duration-ms", "LOAD_DURATION_MS", "60000", "after the last player's coming"),
            knob("update-interval-ms", "LOAD_UPDATE_INTERVAL_MS", "1000", "between two moves"),
            knob("spawn-interval-ms", "LOAD_SPAWN_INTERVAL_MS", "50", "between two players"),
            option("max-errors", "most errors", value_parser!(usize)).default_value("0"),
            option("p95-ms", "slowest 95th percentile of updates", value_parser!(f64)),
            option("join-p95-ms", "the same of joins", value_parser!(f64)),
            option("pid", "the server's process: whence CPU time", value_parser!(u32)),
            cpu(),
            option("label", "name of the server in the result", value_parser!(String))
                .default_value("server"),
            option("json", "write the result here too", value_parser!(PathBuf)),
        ])
}

fn sync_command() -> clap::Command {
    clap::Command::new("sync")
        .about("Sync a folder of new files through the hub of @rljson, and say what that cost")
        .args([
            option("pid", "the server's process", value_parser!(u32)).required(true),
            option("prefix", "path before the query", value_parser!(String))
                .default_value("/rljson/socket.io"),
            option("files", "files in the folder", value_parser!(u32)).default_value("200"),
            option("file-bytes", "bytes of each", value_parser!(usize)).default_value("1024"),
            option("readers", "clients that read all of it", value_parser!(u32).range(1..))
                .default_value("1"),
            cpu(),
            option("label", "name of the server in the result", value_parser!(String))
                .default_value("server"),
            option("json", "write the result here too", value_parser!(PathBuf)),
        ])
}

fn comutiny_settings(matches: &ArgMatches) -> comutiny::Settings {
    comutiny::Settings {
        target_url: value(matches, "target-url"),
        clients: value(matches, "clients"),
        duration_ms: value(matches, "duration-ms"),
        update_interval_ms: value(matches, "update-interval-ms"),
        spawn_interval_ms: value(matches, "spawn-interval-ms"),
        max_errors: value(matches, "max-errors"),
        p95_ms: maybe(matches, "p95-ms"),
        join_p95_ms: maybe(matches, "join-p95-ms"),
        pid: maybe(matches, "pid"),
        cpu: maybe(matches, "cpu"),
        label: value(matches, "label"),
        json: maybe(matches, "json"),
    }
}

fn order(matches: &ArgMatches) -> Order {
    Order {
        scenario: value(matches, "scenario"),
        protocol: value(matches, "protocol"),
        like: value(matches, "like"),
        label: value(matches, "label"),
        pid: maybe(matches, "pid"),
        target: maybe(matches, "target"),
        prefix: maybe(matches, "prefix"),
        cpu: maybe(matches, "cpu"),
        sources: value(matches, "sources"),
        parallel: value(matches, "parallel"),
        connections: maybe(matches, "connections"),
        sessions: maybe(matches, "sessions"),
        members: maybe(matches, "members"),
        senders: maybe(matches, "senders"),
        slow: maybe(matches, "slow"),
        rate_hz: maybe(matches, "rate"),
        window: maybe(matches, "window"),
        payload_bytes: maybe(matches, "payload-bytes"),
        tick_ms: value(matches, "tick-ms"),
        warmup_s: value(matches, "warmup-s"),
        duration_s: value(matches, "duration-s"),
        json: maybe(matches, "json"),
    }
}

fn cpu() -> Arg {
    option("cpu", "core to stay on", value_parser!(usize))
}

fn option(
    name: &'static str,
    help: &'static str,
    parser: impl clap::builder::IntoResettable<clap::builder::ValueParser>,
) -> Arg {
    Arg::new(name).long(name).help(help).value_parser(parser)
}

fn maybe<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<T> {
    matches.get_one::<T>(name).cloned()
}

fn value<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> T {
    maybe(matches, name).expect("the argument is required or has a default")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_declaration_is_consistent() {
        super::command().debug_assert();
    }
}

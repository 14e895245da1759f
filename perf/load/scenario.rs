//! The scenarios by name, and one run of one of them.

mod slow;
mod soak;

use std::net::SocketAddrV4;
use std::time::Duration;

use crate::cli::Order;
use crate::clock::{Clock, nanoseconds};
use crate::failure::Failure;
use crate::generator::{Generator, Pacing, Route, Tally, per_second};
use crate::probe::{Cpu, Memory, Probe};
use crate::protocol::{self, Manner};
use crate::report::{Outcome, Window};
use crate::socket;

/// Servers announce joins and ping some 100–200 ms late: until this has passed, joining has not
/// been paid in full.
const SETTLE_NS: u64 = 1_000_000_000;
/// Memory is read only after clean-up timers of a few seconds have run.
const IDLE_SETTLE_NS: u64 = 3_000_000_000;
const START_NS: u64 = 10_000_000_000;

/// A scenario of the list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// What it is called.
    pub(crate) name: &'static str,
    /// What it shows.
    pub(crate) about: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Rest,
    Idle { connections: u32 },
    Storm { connections: u32 },
    Traffic(Traffic),
    Slow,
    Soak,
}

#[derive(Clone, Copy, Debug)]
struct Traffic {
    sessions: u32,
    members: u32,
    senders: u32,
    payload_bytes: usize,
    pacing: Pacing,
}

const MEMBERS: u32 = 20;
/// Players of a game where all of them are in one session.
const PLAYERS: u32 = 50;
const PAYLOAD_BYTES: usize = 64;

const fn fanout(pacing: Pacing) -> Traffic {
    Traffic { sessions: 1, members: 500, senders: 1, payload_bytes: PAYLOAD_BYTES, pacing }
}

const fn relay(window: u32) -> Traffic {
    let pacing = Pacing::Closed { window };
    Traffic { sessions: 1, members: 50, senders: 1, payload_bytes: PAYLOAD_BYTES, pacing }
}

const fn rooms(sessions: u32, members: u32, payload_bytes: usize, pacing: Pacing) -> Traffic {
    Traffic { sessions, members, senders: members, payload_bytes, pacing }
}

/// All scenarios.
const SCENARIOS: [Scenario; 13] = [
    Scenario { name: "rss", about: "memory of the server at rest", kind: Kind::Rest },
    Scenario {
        name: "idle",
        about: "memory and CPU time per idle member, 20 per session",
        kind: Kind::Idle { connections: 10_000 },
    },
    Scenario {
        name: "storm",
        about: "CPU time per connect, upgrade and join, 20 members per session",
        kind: Kind::Storm { connections: 10_000 },
    },
    Scenario {
        name: "fanout",
        about: "1 sender, 500 members, 50 messages/s: nothing can be coalesced",
        kind: Kind::Traffic(fanout(Pacing::Open { rate_hz: 50.0 })),
    },
    Scenario {
        name: "fanout-saturated",
        about: "1 sender, 500 members, 16 messages under way: coalescing shows",
        kind: Kind::Traffic(fanout(Pacing::Closed { window: 16 })),
    },
    Scenario {
        name: "relay",
        about: "1 sender, 50 members, one message under way at a time",
        kind: Kind::Traffic(relay(1)),
    },
    Scenario {
        name: "relay-saturated",
        about: "1 sender, 50 members, 20 messages under way",
        kind: Kind::Traffic(relay(20)),
    },
    Scenario {
        name: "rooms",
        about: "100 sessions of 20, everybody sends once per second",
        kind: Kind::Traffic(rooms(100, 20, PAYLOAD_BYTES, Pacing::Open { rate_hz: 1.0 })),
    },
    Scenario {
        name: "rooms-saturated",
        about: "100 sessions of 20, everybody keeps one message under way",
        kind: Kind::Traffic(rooms(100, 20, PAYLOAD_BYTES, Pacing::Closed { window: 1 })),
    },
    Scenario {
        name: "game",
        about: "5 sessions of 20, everybody sends 100 bytes 20 times per second",
        kind: Kind::Traffic(rooms(5, 20, 100, Pacing::Open { rate_hz: 20.0 })),
    },
    Scenario {
        name: "low",
        about: "10 sessions of 2, 20 messages/s each: latency without load",
        kind: Kind::Traffic(rooms(10, 2, PAYLOAD_BYTES, Pacing::Open { rate_hz: 20.0 })),
    },
    Scenario {
        name: "slow",
        about: "1 sender, 100 members of whom 10 hardly read, beside the same with all reading",
        kind: Kind::Slow,
    },
    Scenario {
        name: "soak",
        about: "members come, talk, leave and come back, over and over: what that leaves behind",
        kind: Kind::Soak,
    },
];

/// Prints the names.
pub(crate) fn print_list() {
    for scenario in SCENARIOS {
        println!("{:<18} {}", scenario.name, scenario.about);
    }
}

/// Waits until a process listens, and prints its address.
pub(crate) fn print_address(pid: u32) -> Result<(), Failure> {
    println!("{}", wait_for_listener(Probe::of(pid))?);
    Ok(())
}

/// Runs what was ordered and prints the result.
pub(crate) fn run(order: &Order) -> Result<(), Failure> {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == order.scenario);
    let Some(scenario) = scenario else {
        return Err(Failure::Setup(format!("no scenario {}: see `load list`", order.scenario)));
    };
    if let Some(cpu) = order.cpu {
        socket::pin(cpu)?;
    }
    let (outcome, missed) = match scenario.kind {
        Kind::Slow => slow::run(order)?,
        Kind::Soak => soak::run(order)?,
        kind => (simple(kind, scenario.name, order)?, None),
    };
    outcome.print(order)?;
    missed.map_or(Ok(()), |missed| Err(Failure::Missed(missed)))
}

/// Runs a scenario that nobody can fail.
fn simple(kind: Kind, name: &str, order: &Order) -> Result<Outcome, Failure> {
    match kind {
        Kind::Rest => rest(order),
        Kind::Idle { connections } => idle(order, order.connections.unwrap_or(connections)),
        Kind::Storm { connections } => storm(order, order.connections.unwrap_or(connections)),
        Kind::Traffic(traffic) => {
            let traffic = if protocol::has_one_session(order.language()) {
                traffic.in_one_session(name)?
            } else {
                traffic
            };
            traffic
                .not_faster_than(protocol::rate_max_hz(order.language()))
                .overridden(order)?
                .run(order)
        }
        Kind::Slow | Kind::Soak => Err(Failure::Setup(format!("{name} is judged"))),
    }
}

fn rest(order: &Order) -> Result<Outcome, Failure> {
    let server = Server::of(order)?;
    server.require_probe()?;
    // Late start-up work must not count as rest; nothing else wakes a server that is at rest.
    let clock = Clock::start();
    wait_until(clock, IDLE_SETTLE_NS);
    let before = server.cpu()?;
    wait_until(clock, IDLE_SETTLE_NS + seconds(order.duration_s));
    let used = server.cpu()?.since(before);
    let memory = server.memory()?;
    let threads = server.probe.map(Probe::threads).transpose()?;
    let mut outcome = Outcome::new("rss_bytes", "bytes", memory.rss_bytes as f64);
    outcome.put("memory", memory);
    outcome.put("threads", threads);
    outcome.put("cpu_ms_per_s", used.run_ns as f64 / 1e6 / order.duration_s);
    Ok(outcome)
}

fn idle(order: &Order, connections: u32) -> Result<Outcome, Failure> {
    let (sessions, members) = rooms_for(order, connections);
    let mut run = Run::new(order, sessions, members, order.senders.unwrap_or(0))?;
    run.server.require_probe()?;
    let total = f64::from(sessions * members);
    let before = run.server.memory()?;
    run.join(sessions, members)?;
    run.generator.listen_until(run.generator.now_ns() + IDLE_SETTLE_NS)?;
    let after = run.server.memory()?;
    let per = |after: u64, before: u64| (after as f64 - before as f64) / total;
    let window = run.measure(seconds(order.duration_s), Generator::listen_until)?;
    let anon = per(after.rss_anon_bytes, before.rss_anon_bytes);
    let mut outcome = Outcome::new("anon_bytes_per_connection", "bytes", anon);
    outcome.put("connections", sessions * members);
    outcome.put("rss_bytes_per_connection", per(after.rss_bytes, before.rss_bytes));
    outcome.put("private_bytes_per_connection", per(after.private_bytes, before.private_bytes));
    outcome.put("memory_before", before);
    outcome.put("memory_after", after);
    outcome.put("cpu_ms_per_s", window.server.run_ns as f64 / 1e6 / window.seconds());
    outcome.put_window(&window);
    outcome.put_ledger(&run.generator);
    Ok(outcome)
}

fn storm(order: &Order, connections: u32) -> Result<Outcome, Failure> {
    let (sessions, members) = rooms_for(order, connections);
    let mut run = Run::new(order, sessions, members, order.senders.unwrap_or(0))?;
    run.server.require_probe()?;
    let total = f64::from(sessions * members);
    let whole = run.begin()?;
    run.join(sessions, members)?;
    let joining = run.end(&whole)?;
    run.generator.listen_until(run.generator.now_ns() + SETTLE_NS)?;
    let settled = run.server.cpu()?.since(whole.server);
    let per_join = |cpu: Cpu| cpu.run_ns as f64 / 1e3 / total;
    let mut outcome = Outcome::new("cpu_us_per_join", "us", per_join(joining.server));
    outcome.put("connections", sessions * members);
    outcome.put("cpu_us_per_join_settled", per_join(settled));
    outcome.put("joins_per_s", per_second(u64::from(sessions * members), joining.ns));
    outcome.put("parallel", order.parallel);
    outcome.put_window(&joining);
    outcome.put_ledger(&run.generator);
    Ok(outcome)
}

/// Full sessions for so many connections; a session alone may be smaller.
fn rooms_for(order: &Order, connections: u32) -> (u32, u32) {
    if protocol::has_one_session(order.language()) {
        return (1, connections);
    }
    let members = order.members.unwrap_or(MEMBERS).min(connections);
    (connections / members, members)
}

impl Traffic {
    /// The same where there is only one session. What is about many is about nothing there.
    fn in_one_session(self, name: &str) -> Result<Self, Failure> {
        match (self.sessions, name) {
            (1, _) => Ok(self),
            (_, "game") => Ok(Self { sessions: 1, members: PLAYERS, senders: PLAYERS, ..self }),
            _ => Err(Failure::Setup(format!("{name} needs sessions, and there is only one"))),
        }
    }

    /// The same with senders that are not refused for sending too often, unless they are told to.
    fn not_faster_than(self, rate_max_hz: f64) -> Self {
        let pacing = match self.pacing {
            Pacing::Open { rate_hz } => Pacing::Open { rate_hz: rate_hz.min(rate_max_hz) },
            closed @ Pacing::Closed { .. } => closed,
        };
        Self { pacing, ..self }
    }

    fn overridden(self, order: &Order) -> Result<Self, Failure> {
        let members = order.members.unwrap_or(self.members);
        let pacing = match (self.pacing, order.rate_hz, order.window) {
            (_, Some(_), Some(_)) => {
                return Err(Failure::Setup("--rate and --window exclude each other".to_owned()));
            }
            (_, Some(rate_hz), None) if rate_hz > 0.0 => Pacing::Open { rate_hz },
            (_, None, Some(window)) => Pacing::Closed { window },
            (pacing, ..) => pacing,
        };
        let everybody = self.senders == self.members;
        let senders = order.senders.unwrap_or(if everybody { members } else { self.senders });
        Ok(Self {
            sessions: order.sessions.unwrap_or(self.sessions),
            members,
            senders: senders.min(members),
            payload_bytes: order.payload_bytes.unwrap_or(self.payload_bytes),
            pacing,
        })
    }

    fn run(self, order: &Order) -> Result<Outcome, Failure> {
        let order = &Order { payload_bytes: Some(self.payload_bytes), ..order.clone() };
        let mut run = Run::new(order, self.sessions, self.members, self.senders)?;
        let before = run.server.memory()?;
        run.join(self.sessions, self.members)?;
        run.generator.listen_until(run.generator.now_ns() + SETTLE_NS)?;
        run.generator.appoint_senders(self.senders, self.members, self.pacing);
        let (warmup, duration) = (seconds(order.warmup_s), seconds(order.duration_s));
        let window = match self.pacing {
            Pacing::Open { rate_hz } => {
                let mut schedule = run.generator.schedule(rate_hz);
                let until = run.generator.now_ns() + warmup;
                run.generator.send_on_time(&mut schedule, until)?;
                run.measure(duration, |generator, until| {
                    generator.send_on_time(&mut schedule, until)
                })?
            }
            Pacing::Closed { .. } => {
                run.generator.send_in_windows(run.generator.now_ns() + warmup)?;
                run.measure(duration, Generator::send_in_windows)?
            }
        };
        let after = run.server.memory()?;
        run.generator.drain()?;
        Ok(self.outcome(&run, &window, before, after))
    }

    fn outcome(self, run: &Run, window: &Window, before: Memory, after: Memory) -> Outcome {
        let deliveries = window.tally.deliveries;
        let cost = window.server.run_ns as f64 / 1e3 / deliveries.max(1) as f64;
        let mut outcome = Outcome::new("cpu_us_per_delivery", "us", cost);
        outcome.put("sessions", self.sessions);
        outcome.put("members", self.members);
        outcome.put("senders", self.senders);
        outcome.put("payload_bytes", self.payload_bytes);
        match self.pacing {
            Pacing::Open { rate_hz } => outcome.put("rate_hz", rate_hz),
            Pacing::Closed { window } => outcome.put("window_messages", window),
        }
        outcome.put("memory_before", before);
        outcome.put("memory_after", after);
        outcome.put_window(window);
        outcome.put_latency(window);
        outcome.put_ledger(&run.generator);
        outcome
    }
}

/// The server under test.
struct Server {
    target: SocketAddrV4,
    probe: Option<Probe>,
}

impl Server {
    /// Finds the server, waiting for it to listen.
    fn of(order: &Order) -> Result<Self, Failure> {
        let probe = order.pid.map(Probe::of);
        let target = match (order.target, probe) {
            (Some(target), _) => target,
            (None, Some(probe)) => wait_for_listener(probe)?,
            (None, None) => return Err(Failure::Setup("say --pid or --target".to_owned())),
        };
        if !target.ip().is_loopback() {
            return Err(Failure::Setup(format!("{target} is not a loopback address")));
        }
        Ok(Self { target, probe })
    }

    fn require_probe(&self) -> Result<(), Failure> {
        match self.probe {
            Some(_) => Ok(()),
            None => Err(Failure::Setup("this scenario needs --pid".to_owned())),
        }
    }

    fn files(&self) -> Result<u64, Failure> {
        self.probe.map_or(Ok(0), Probe::files)
    }

    fn cpu(&self) -> Result<Cpu, Failure> {
        self.probe.map_or_else(|| Ok(Cpu::default()), Probe::cpu)
    }

    fn memory(&self) -> Result<Memory, Failure> {
        self.probe.map_or_else(|| Ok(Memory::default()), Probe::memory)
    }
}

pub(crate) fn wait_for_listener(probe: Probe) -> Result<SocketAddrV4, Failure> {
    let clock = Clock::start();
    loop {
        let found = probe.listening()?;
        match found.as_slice() {
            [one] => return Ok(SocketAddrV4::new([127, 0, 0, 1].into(), one.port())),
            [] if clock.now_ns() < START_NS => wait_until(clock, clock.now_ns() + 20_000_000),
            [] => return Err(Failure::Server("does not listen on IPv4".to_owned())),
            several => {
                let text = format!("the server listens on {several:?}: choose one with --target");
                return Err(Failure::Setup(text));
            }
        }
    }
}

/// A server, its generator, and a reader of their clocks.
struct Run {
    server: Server,
    generator: Generator,
    own: Probe,
}

/// A reading to measure from.
struct Mark {
    ns: u64,
    server: Cpu,
    own: Cpu,
    tally: Tally,
}

impl Run {
    fn new(order: &Order, sessions: u32, members: u32, senders: u32) -> Result<Self, Failure> {
        Self::numbered(order, sessions, members, senders, 0)
    }

    /// The same where one process makes several runs: each number has sessions of its own.
    fn numbered(
        order: &Order,
        sessions: u32,
        members: u32,
        senders: u32,
        number: u64,
    ) -> Result<Self, Failure> {
        let connections = sessions * members;
        socket::reserve_files(u64::from(connections))?;
        let server = Server::of(order)?;
        if let Some(files) = server.probe.map(Probe::files_max).transpose()?
            && files < u64::from(connections)
        {
            let text = format!("{connections} connections, but the server may open {files} files");
            return Err(Failure::Setup(text));
        }
        let usual = protocol::usual_prefix(&order.protocol);
        let manner = Manner {
            prefix: order.prefix.clone().unwrap_or_else(|| usual.to_owned()),
            nonce: number << 32 | u64::from(std::process::id()),
            members,
            senders,
            like: order.like.clone(),
            payload_bytes: order.payload_bytes.unwrap_or(PAYLOAD_BYTES),
            tick_ms: order.tick_ms,
        };
        let protocol = protocol::named(&order.protocol, manner)?;
        let Order { sources, parallel, .. } = *order;
        let route = Route { target: server.target, sources, parallel };
        Ok(Self { server, generator: Generator::new(protocol, route)?, own: Probe::own() })
    }

    fn join(&mut self, sessions: u32, members: u32) -> Result<(), Failure> {
        self.generator.join_all(sessions, members, |generator| {
            eprintln!("  {} of {} joined", generator.tally().joined, sessions * members);
        })
    }

    fn begin(&mut self) -> Result<Mark, Failure> {
        let tally = self.generator.begin_window();
        let (server, own) = (self.server.cpu()?, self.own.cpu()?);
        Ok(Mark { ns: self.generator.now_ns(), server, own, tally })
    }

    fn end(&self, mark: &Mark) -> Result<Window, Failure> {
        let ns = self.generator.now_ns() - mark.ns;
        let (server, own) =
            (self.server.cpu()?.since(mark.server), self.own.cpu()?.since(mark.own));
        let tally = self.generator.tally().since(&mark.tally);
        Ok(Window::new(ns, server, own, tally, self.generator.latency()))
    }

    /// Lets `act` work for `duration_ns`, second by second, and says on stderr how it goes.
    fn measure(
        &mut self,
        duration_ns: u64,
        mut act: impl FnMut(&mut Generator, u64) -> Result<(), Failure>,
    ) -> Result<Window, Failure> {
        const STEP_NS: u64 = 1_000_000_000;
        let mark = self.begin()?;
        let end = mark.ns + duration_ns;
        let mut last = (mark.ns, mark.server, mark.own, mark.tally);
        while self.generator.now_ns() < end {
            act(&mut self.generator, (last.0 + STEP_NS).min(end))?;
            let now = (
                self.generator.now_ns(),
                self.server.cpu()?,
                self.own.cpu()?,
                self.generator.tally(),
            );
            let ns = now.0 - last.0;
            let share = |cpu: Cpu| 100.0 * cpu.run_ns as f64 / ns.max(1) as f64;
            eprintln!(
                "  {:4.1} s  {:>9.0} deliveries/s  server {:3.0} %  generator {:3.0} %",
                (now.0 - mark.ns) as f64 / 1e9,
                per_second(now.3.deliveries - last.3.deliveries, ns),
                share(now.1.since(last.1)),
                share(now.2.since(last.2)),
            );
            last = now;
        }
        self.end(&mark)
    }
}

fn seconds(value: f64) -> u64 {
    nanoseconds(Duration::from_secs_f64(value.max(0.0)))
}

#[allow(clippy::disallowed_methods, reason = "nothing is connected yet; only the server runs")]
fn wait_until(clock: Clock, until_ns: u64) {
    std::thread::sleep(Duration::from_nanos(until_ns.saturating_sub(clock.now_ns())));
}

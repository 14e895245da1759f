//! CoMutiNy's load test with the knobs of the original (specs: comutiny §8): players come one after
//! the other, move at an interval for a while, and leave. Runs against any server of that world.
//!
//! `client` is one player without its socket, `samples` the times and tables, `verdict` what they amount to; here are the sockets
//! and the clock. The time that is asked for counts from the last player's coming.

mod client;
mod samples;
mod verdict;

use std::mem;
use std::net::SocketAddrV4;
use std::path::PathBuf;

use rustix::event::epoll::Event;
use rustix::fd::OwnedFd;

use crate::clock::Clock;
use crate::failure::{Failure, While};
use crate::poller::{Poller, Ready};
use crate::probe::{Cpu, Probe};
use crate::protocol::socketio::QUERY;
use crate::socket;
use crate::websocket::{self, Opening};
use client::{Client, Found, Phase};
use samples::Samples;

/// A player that has not joined by then has failed.
const JOIN_MAX_NS: u64 = 5_000_000_000;
/// How long those who leave wait to be told that they may.
const GRACE_NS: u64 = 500_000_000;
const WAIT_MAX_NS: u64 = 100_000_000;
const PROGRESS_NS: u64 = 1_000_000_000;
const BUFFER_BYTES: usize = 256 * 1024;
/// Most errors that are kept; more are counted.
const ERRORS_KEPT_MAX: usize = 100_000;
/// Where clients of this test come from: 127.0.0.1.
const SOURCE: u8 = 1;

/// What to do, and what is good enough.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) target_url: String,
    pub(crate) clients: u32,
    pub(crate) duration_ms: u64,
    pub(crate) update_interval_ms: u64,
    pub(crate) spawn_interval_ms: u64,
    /// Most errors.
    pub(crate) max_errors: usize,
    /// Slowest 95th percentile of updates and of joins, in milliseconds.
    pub(crate) p95_ms: Option<f64>,
    pub(crate) join_p95_ms: Option<f64>,
    /// The server's process, for its CPU time.
    pub(crate) pid: Option<u32>,
    pub(crate) cpu: Option<usize>,
    pub(crate) label: String,
    pub(crate) json: Option<PathBuf>,
}

/// Runs the test, tells what it found, and fails if that is not good enough.
pub(crate) fn run(settings: &Settings) -> Result<(), Failure> {
    if let Some(cpu) = settings.cpu {
        socket::pin(cpu)?;
    }
    socket::reserve_files(settings.clients.into())?;
    let mut trial = Trial::new(settings)?;
    trial.spawn_all()?;
    let window = trial.play()?;
    trial.leave()?;
    trial.tell();
    trial.outcome(&window).write(
        "comutiny",
        "socketio",
        &settings.label,
        settings.json.as_deref(),
    )?;
    trial.judge()
}

/// The address in a URL on the loopback network.
fn address_of(url: &str) -> Result<SocketAddrV4, Failure> {
    let refuse = || Failure::Setup(format!("{url} is no http://localhost:PORT"));
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("ws://"));
    let host = rest.ok_or_else(refuse)?.trim_end_matches('/').replace("localhost", "127.0.0.1");
    let host = if host.contains(':') { host } else { host + ":80" };
    let address: SocketAddrV4 = host.parse().map_err(|_| refuse())?;
    if address.ip().is_loopback() { Ok(address) } else { Err(refuse()) }
}

struct Trial<'a> {
    settings: &'a Settings,
    target: SocketAddrV4,
    host: String,
    probe: Option<Probe>,
    clock: Clock,
    poller: Poller,
    opening: Opening,
    links: Vec<Link>,
    joins: Samples,
    updates: Samples,
    /// Acknowledgements and what others were told.
    deliveries: u64,
    connections: u32,
    disconnects: u32,
    errors: Vec<String>,
    told_ns: u64,
    events: Vec<Event>,
    buffer: Vec<u8>,
    random: u64,
}

/// A client and its socket.
struct Link {
    fd: OwnedFd,
    client: Client,
    is_upgraded: bool,
    is_over: bool,
    partial: Vec<u8>,
    unsent: Vec<u8>,
    watches_write: bool,
    next_update_ns: u64,
}

/// What the players' time cost.
struct Window {
    ns: u64,
    deliveries: u64,
    cpu: Option<Cpu>,
}

impl<'a> Trial<'a> {
    fn new(settings: &'a Settings) -> Result<Self, Failure> {
        let target = address_of(&settings.target_url)?;
        Ok(Self {
            settings,
            target,
            host: target.to_string(),
            probe: settings.pid.map(Probe::of),
            clock: Clock::start(),
            poller: Poller::open().while_doing(|| "opening epoll".to_owned())?,
            opening: Opening::new(),
            links: Vec::new(),
            joins: Samples::default(),
            updates: Samples::default(),
            deliveries: 0,
            connections: 0,
            disconnects: 0,
            errors: Vec::new(),
            told_ns: 0,
            events: Poller::list(),
            buffer: vec![0; BUFFER_BYTES],
            random: u64::from(std::process::id()),
        })
    }

    /// One player after the other; each has joined, or failed, before the next comes.
    fn spawn_all(&mut self) -> Result<(), Failure> {
        for number in 0..self.settings.clients {
            let came_ns = self.clock.now_ns();
            self.connect(number)?;
            let index = self.links.len() - 1;
            let is_coming = |trial: &Self| {
                let link = &trial.links[index];
                !link.is_over && matches!(link.client.phase(), Phase::Opening | Phase::Joining)
            };
            while is_coming(self) && self.clock.now_ns() < came_ns + JOIN_MAX_NS {
                self.turn(came_ns + JOIN_MAX_NS)?;
            }
            if is_coming(self) {
                self.lose(index, "did not join in time");
            }
            self.turn_until(self.clock.now_ns() + self.settings.spawn_interval_ms * 1_000_000)?;
        }
        Ok(())
    }

    fn play(&mut self) -> Result<Window, Failure> {
        let cpu = |probe: Option<Probe>| probe.map(Probe::cpu).transpose();
        let (start_ns, before, deliveries) =
            (self.clock.now_ns(), cpu(self.probe)?, self.deliveries);
        self.turn_until(start_ns + self.settings.duration_ms * 1_000_000)?;
        let used = cpu(self.probe)?.zip(before).map(|(after, before)| after.since(before));
        let ns = self.clock.now_ns() - start_ns;
        Ok(Window { ns, deliveries: self.deliveries - deliveries, cpu: used })
    }

    /// Everybody leaves, waits a little to be told so, and disconnects.
    fn leave(&mut self) -> Result<(), Failure> {
        let now = self.clock.now_ns();
        for index in 0..self.links.len() {
            if self.links[index].client.phase() == Phase::Playing {
                let text = self.links[index].client.leave(now);
                self.say(index, &text);
            }
        }
        while self.is_anybody_leaving() && self.clock.now_ns() < now + GRACE_NS {
            self.turn(now + GRACE_NS)?;
        }
        for index in 0..self.links.len() {
            let unanswered = self.links[index].client.unanswered();
            if unanswered > 0 && !self.links[index].is_over {
                self.trouble(index, &format!("was not acknowledged {unanswered} times"));
            }
            self.say(index, b"41");
            self.end(index);
        }
        Ok(())
    }

    fn is_anybody_leaving(&self) -> bool {
        self.links.iter().any(|link| !link.is_over && link.client.phase() == Phase::Leaving)
    }

    fn turn_until(&mut self, until_ns: u64) -> Result<(), Failure> {
        while self.clock.now_ns() < until_ns {
            self.turn(until_ns)?;
        }
        Ok(())
    }

    /// Moves those whose time it is, and hears what comes before then.
    fn turn(&mut self, until_ns: u64) -> Result<(), Failure> {
        let now = self.clock.now_ns();
        let next = self.move_players(now).min(until_ns);
        let mut events = mem::take(&mut self.events);
        let wait = next.saturating_sub(self.clock.now_ns()).min(WAIT_MAX_NS);
        self.poller.wait(&mut events, Some(wait)).while_doing(|| "waiting".to_owned())?;
        for &event in &events {
            let ready = Ready::from(event);
            if ready.writable {
                self.flush(ready.key as usize);
            }
            if ready.readable {
                self.receive(ready.key as usize);
            }
        }
        self.events = events;
        if now >= self.told_ns + PROGRESS_NS {
            self.told_ns = now;
            self.tell_progress(now);
        }
        Ok(())
    }

    /// When the next of them moves.
    fn move_players(&mut self, now_ns: u64) -> u64 {
        let interval_ns = self.settings.update_interval_ms.max(1) * 1_000_000;
        let mut next = u64::MAX;
        for index in 0..self.links.len() {
            let link = &mut self.links[index];
            if link.is_over || link.client.phase() != Phase::Playing {
                continue;
            }
            if link.next_update_ns <= now_ns {
                // A test that falls behind does not catch up in a burst.
                link.next_update_ns = now_ns + interval_ns;
                let random = &mut self.random;
                let text = link.client.update(now_ns, || draw(random));
                self.say(index, &text);
            }
            next = next.min(self.links[index].next_update_ns);
        }
        next
    }

    fn connect(&mut self, number: u32) -> Result<(), Failure> {
        let target = self.target;
        let fd =
            socket::connect(SOURCE, target).while_doing(|| format!("connecting to {target}"))?;
        let mut unsent = Vec::new();
        self.opening.request(&format!("/socket.io/{QUERY}"), &self.host, &mut unsent);
        self.poller
            .add(&fd, u64::from(number), true)
            .while_doing(|| "watching a connection".to_owned())?;
        self.links.push(Link {
            fd,
            client: Client::new(number, std::process::id()),
            is_upgraded: false,
            is_over: false,
            partial: Vec::new(),
            unsent,
            watches_write: true,
            next_update_ns: 0,
        });
        Ok(())
    }

    fn receive(&mut self, index: usize) {
        if self.links[index].is_over {
            return;
        }
        let mut buffer = mem::take(&mut self.buffer);
        match socket::receive(&self.links[index].fd, &mut buffer) {
            Ok(None) => {}
            Ok(Some(0)) => self.lose(index, "was disconnected"),
            Err(error) => self.lose(index, &format!("lost its connection: {error}")),
            Ok(Some(bytes)) => {
                let mut data = mem::take(&mut self.links[index].partial);
                data.extend_from_slice(&buffer[..bytes]);
                let used = self.consume(index, &data);
                self.links[index].partial = data.split_off(used);
            }
        }
        self.buffer = buffer;
    }

    fn consume(&mut self, index: usize, data: &[u8]) -> usize {
        let mut at = 0;
        if !self.links[index].is_upgraded {
            match self.opening.response(data) {
                Ok(None) => return 0,
                Ok(Some(bytes)) => at = bytes,
                Err(malformed) => {
                    self.lose(index, &format!("met a server that {malformed}"));
                    return data.len();
                }
            }
            self.links[index].is_upgraded = true;
            self.connections += 1;
        }
        while !self.links[index].is_over {
            match websocket::parse(&data[at..]) {
                Ok(None) => return at,
                Ok(Some(frame)) => {
                    self.frame(index, frame.opcode, &data[at + frame.start..at + frame.end]);
                    at += frame.end;
                }
                Err(malformed) => self.lose(index, &format!("met a server that {malformed}")),
            }
        }
        data.len()
    }

    fn frame(&mut self, index: usize, opcode: u8, payload: &[u8]) {
        match opcode {
            websocket::TEXT => self.hear(index, payload),
            websocket::PING => self.push(index, websocket::PONG, payload),
            websocket::CLOSE => self.lose(index, "was disconnected"),
            _ => {}
        }
    }

    fn hear(&mut self, index: usize, text: &[u8]) {
        let mut reply = Vec::new();
        let now = self.clock.now_ns();
        match self.links[index].client.hear(text, now, &mut reply) {
            None => {}
            Some(Found::Joined { ns }) => {
                self.joins.record(ns);
                self.links[index].next_update_ns =
                    now + self.settings.update_interval_ms * 1_000_000;
            }
            Some(Found::Updated { ns }) => {
                self.deliveries += 1;
                self.updates.record(ns);
            }
            Some(Found::Relayed) => self.deliveries += 1,
            Some(Found::Trouble(text)) => self.trouble(index, &text),
        }
        if !reply.is_empty() {
            self.say(index, &reply);
        }
    }

    fn say(&mut self, index: usize, text: &[u8]) {
        self.push(index, websocket::TEXT, text);
    }

    fn push(&mut self, index: usize, opcode: u8, payload: &[u8]) {
        let mask = ((draw(&mut self.random) * f64::from(u32::MAX)) as u32).to_ne_bytes();
        websocket::write_masked(opcode, payload, mask, &mut self.links[index].unsent);
        self.flush(index);
    }

    fn flush(&mut self, index: usize) {
        let link = &mut self.links[index];
        if link.is_over {
            return;
        }
        match socket::send(&link.fd, &link.unsent) {
            Ok(sent) => drop(link.unsent.drain(..sent)),
            Err(error) => return self.lose(index, &format!("lost its connection: {error}")),
        }
        let waits = !link.unsent.is_empty();
        if waits != link.watches_write {
            link.watches_write = waits;
            if let Err(error) = self.poller.watch_write(&link.fd, index as u64, waits) {
                self.lose(index, &format!("has a socket epoll will not watch: {error}"));
            }
        }
    }

    fn lose(&mut self, index: usize, trouble: &str) {
        if !self.links[index].is_over {
            self.trouble(index, trouble);
            self.end(index);
        }
    }

    fn end(&mut self, index: usize) {
        let link = &mut self.links[index];
        if mem::replace(&mut link.is_over, true) {
            return;
        }
        self.disconnects += u32::from(link.is_upgraded);
        // What is out of the epoll, or is gone, reports nothing.
        let _ = self.poller.remove(&link.fd);
        let _ = rustix::net::shutdown(&link.fd, rustix::net::Shutdown::Both);
    }

    fn trouble(&mut self, index: usize, text: &str) {
        if self.errors.len() < ERRORS_KEPT_MAX {
            self.errors.push(format!("client {index} {text}"));
        }
    }
}

/// A number in 0..1, the next of its sequence (splitmix64).
fn draw(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_a_target() {
        for (url, address) in [
            ("http://localhost:4000", "127.0.0.1:4000"),
            ("http://localhost:4000/", "127.0.0.1:4000"),
            ("ws://127.0.0.7", "127.0.0.7:80"),
        ] {
            assert_eq!(address_of(url).unwrap().to_string(), address);
        }
        for url in
            ["localhost:4000", "http://192.0.2.1:4000", "http://a.example/", "https://localhost"]
        {
            assert!(address_of(url).is_err(), "{url}");
        }
    }

    #[test]
    fn draws_are_between_zero_and_one_and_differ() {
        let mut state = 7;
        let draws: Vec<f64> = (0..1_000).map(|_| draw(&mut state)).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        let mean = draws.iter().sum::<f64>() / 1_000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
    }
}

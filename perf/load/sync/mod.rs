//! A folder through the hub of @rljson: one client announces a tree of files that nobody has yet,
//! others read all of it, row by row and file by file. What it cost the server, and what memory it
//! has then. Everything that is read is compared with what was announced.
//!
//! `folder` is what is announced, `peer` the clients; here are the sockets and the clock.

mod folder;
mod peer;

use std::mem;
use std::net::SocketAddrV4;
use std::path::PathBuf;

use rustix::event::epoll::Event;
use rustix::fd::OwnedFd;

use crate::clock::{self, Clock};
use crate::failure::{Failure, While};
use crate::poller::{Poller, Ready};
use crate::probe::Probe;
use crate::protocol::socketio::QUERY;
use crate::report::{Outcome, print_lines};
use crate::websocket::{self, Opening};
use crate::{scenario, socket};
use folder::Folder;
use peer::{Peer, Place, Said};

/// A server that lets nothing happen for this long is given up.
const STALL_NS: u64 = 20_000_000_000;
const WAIT_MAX_NS: u64 = 100_000_000;
const BUFFER_BYTES: usize = 1 << 20;
/// Memory is read so long after the last byte.
const SETTLE_NS: u64 = 3_000_000_000;
/// Where clients come from: 127.0.0.1.
const SOURCE: u8 = 1;

/// What to do.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) pid: u32,
    pub(crate) prefix: String,
    pub(crate) files: u32,
    pub(crate) file_bytes: usize,
    pub(crate) readers: u32,
    pub(crate) cpu: Option<usize>,
    pub(crate) label: String,
    pub(crate) json: Option<PathBuf>,
}

/// Runs it, and tells what it cost.
pub(crate) fn run(settings: &Settings) -> Result<(), Failure> {
    if let Some(cpu) = settings.cpu {
        socket::pin(cpu)?;
    }
    let nonce = u64::from(std::process::id());
    let folder = Folder::new(nonce, settings.files, settings.file_bytes);
    let route = format!("/sync{nonce:x}Tree");
    let probe = Probe::of(settings.pid);
    let mut hub = Hub::open(settings, Place { folder: &folder, route: &route })?;
    hub.until(|links| links.iter().all(|link| link.peer.is_connected))?;
    let (cpu, memory, start) = (probe.cpu()?, probe.memory()?, hub.clock.now_ns());
    hub.announce();
    hub.until(|links| links.iter().all(|link| link.peer.is_owner || link.peer.is_done))?;
    let ns = hub.clock.now_ns() - start;
    let used = probe.cpu()?.since(cpu);
    hub.rest(SETTLE_NS)?;
    let after = probe.memory()?;
    let mut outcome = Outcome::new("cpu_ms", "ms", used.run_ns as f64 / 1e6);
    outcome.put("files", settings.files);
    outcome.put("file_bytes", settings.file_bytes);
    outcome.put("readers", settings.readers);
    outcome.put("rows", folder.rows());
    outcome.put("bytes", folder.bytes());
    let given: u64 = hub.links.iter().map(|link| link.peer.requests).sum();
    outcome.put("requests", given);
    outcome.put("window_s", clock::seconds(ns));
    outcome.put("server_user_share", used.user_share());
    outcome.put("cpu_ms_settled", probe.cpu()?.since(cpu).run_ns as f64 / 1e6);
    outcome.put("memory_before", memory);
    outcome.put("memory_after", after);
    let value = outcome.write("sync", "rljson", &settings.label, settings.json.as_deref())?;
    print_lines("", &value);
    Ok(())
}

/// A client and its socket.
struct Link {
    fd: OwnedFd,
    peer: Peer,
    is_upgraded: bool,
    partial: Vec<u8>,
    unsent: Vec<u8>,
    watches_write: bool,
}

/// All clients of a hub; the first has the folder.
struct Hub<'a> {
    at: Place<'a>,
    clock: Clock,
    poller: Poller,
    opening: Opening,
    links: Vec<Link>,
    events: Vec<Event>,
    buffer: Vec<u8>,
    said: Said,
    /// When anything came last.
    moved_ns: u64,
}

impl<'a> Hub<'a> {
    fn open(settings: &Settings, at: Place<'a>) -> Result<Self, Failure> {
        let target = scenario::wait_for_listener(Probe::of(settings.pid))?;
        let mut hub = Self {
            at,
            clock: Clock::start(),
            poller: Poller::open().while_doing(|| "opening epoll".to_owned())?,
            opening: Opening::new(),
            links: Vec::new(),
            events: Poller::list(),
            buffer: vec![0; BUFFER_BYTES],
            said: Said::new(),
            moved_ns: 0,
        };
        for number in 0..=settings.readers {
            hub.connect(target, &settings.prefix, number == 0)?;
        }
        Ok(hub)
    }

    fn connect(&mut self, target: SocketAddrV4, prefix: &str, owns: bool) -> Result<(), Failure> {
        let fd =
            socket::connect(SOURCE, target).while_doing(|| format!("connecting to {target}"))?;
        let mut unsent = Vec::new();
        self.opening.request(&format!("{prefix}/{QUERY}"), &target.to_string(), &mut unsent);
        self.poller
            .add(&fd, self.links.len() as u64, true)
            .while_doing(|| "watching a connection".to_owned())?;
        let peer = if owns { Peer::owner() } else { Peer::default() };
        let (partial, is_upgraded, watches_write) = (Vec::new(), false, true);
        self.links.push(Link { fd, peer, is_upgraded, partial, unsent, watches_write });
        Ok(())
    }

    /// The first client announces what it has.
    fn announce(&mut self) {
        let (route, root) = (self.at.route, self.at.folder.root);
        let text = format!("42[\"{route}\",{{\"o\":\"1767225600000:perf\",\"r\":\"{root}\"}}]");
        self.links[0].push(websocket::TEXT, text.as_bytes());
    }

    fn until(&mut self, is_so: impl Fn(&[Link]) -> bool) -> Result<(), Failure> {
        self.moved_ns = self.clock.now_ns();
        while !is_so(&self.links) {
            self.turn()?;
            if self.clock.now_ns() - self.moved_ns > STALL_NS {
                let waits: Vec<String> = self.links.iter().map(|link| link.peer.told()).collect();
                let text = format!("stopped answering: {}", waits.join(", "));
                return Err(Failure::Server(text));
            }
        }
        Ok(())
    }

    /// Answers what comes for so long.
    fn rest(&mut self, ns: u64) -> Result<(), Failure> {
        let until = self.clock.now_ns() + ns;
        while self.clock.now_ns() < until {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), Failure> {
        for index in 0..self.links.len() {
            self.flush(index)?;
        }
        let mut events = mem::take(&mut self.events);
        let waited = self.poller.wait(&mut events, Some(WAIT_MAX_NS));
        waited.while_doing(|| "waiting for input".to_owned())?;
        for ready in events.iter().map(|event| Ready::from(*event)) {
            if ready.readable {
                self.receive(ready.key as usize)?;
            }
        }
        self.events = events;
        Ok(())
    }

    fn receive(&mut self, index: usize) -> Result<(), Failure> {
        let link = &mut self.links[index];
        let received = socket::receive(&link.fd, &mut self.buffer);
        match received.while_doing(|| "reading from the server".to_owned())? {
            None => return Ok(()),
            Some(0) => return Err(Failure::Server("closed a connection".to_owned())),
            Some(bytes) => link.partial.extend_from_slice(&self.buffer[..bytes]),
        }
        self.moved_ns = self.clock.now_ns();
        let data = mem::take(&mut self.links[index].partial);
        let used = self.consume(index, &data)?;
        self.links[index].partial = if used == 0 { data } else { data[used..].to_vec() };
        Ok(())
    }

    fn consume(&mut self, index: usize, data: &[u8]) -> Result<usize, Failure> {
        let wrong = |why: String| Failure::Server(format!("client {index}: {why}"));
        let link = &mut self.links[index];
        let mut at = 0;
        if !link.is_upgraded {
            let upgraded = self.opening.response(data).map_err(|why| wrong(why.to_string()))?;
            let Some(bytes) = upgraded else { return Ok(0) };
            (link.is_upgraded, at) = (true, bytes);
        }
        while let Some(frame) =
            websocket::parse(&data[at..]).map_err(|why| wrong(why.to_string()))?
        {
            let payload = &data[at + frame.start..at + frame.end];
            at += frame.end;
            let (peer, said) = (&mut link.peer, &mut self.said);
            match frame.opcode {
                websocket::TEXT => {
                    let text = String::from_utf8_lossy(payload);
                    peer.hear(&text, &self.at, said).map_err(wrong)?;
                }
                websocket::BINARY => peer.hear_bytes(payload, &self.at, said).map_err(wrong)?,
                websocket::PING => link.push(websocket::PONG, payload),
                websocket::CLOSE => return Err(wrong("was disconnected".to_owned())),
                _ => {}
            }
            for (text, bytes) in self.said.drain(..) {
                link.push(websocket::TEXT, text.as_bytes());
                bytes.iter().for_each(|bytes| link.push(websocket::BINARY, bytes));
            }
        }
        Ok(at)
    }

    fn flush(&mut self, index: usize) -> Result<(), Failure> {
        let link = &mut self.links[index];
        if !link.unsent.is_empty() {
            let sent = socket::send(&link.fd, &link.unsent);
            let sent = sent.while_doing(|| "writing to the server".to_owned())?;
            link.unsent.drain(..sent);
        }
        let waits = !link.unsent.is_empty();
        if waits != link.watches_write {
            link.watches_write = waits;
            let watched = self.poller.watch_write(&link.fd, index as u64, waits);
            watched.while_doing(|| "watching a connection".to_owned())?;
        }
        Ok(())
    }
}

impl Link {
    fn push(&mut self, opcode: u8, payload: &[u8]) {
        websocket::write_masked(opcode, payload, [0x37, 0xFA, 0x21, 0x3D], &mut self.unsent);
    }
}

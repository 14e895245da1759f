//! The floor: the least a WebSocket server can do to fan messages out. One thread, one epoll,
//! one `send` per message and receiver; with `--batch` one per turn and receiver. It reads a
//! frame, unmasks it once, and sends the same bytes to every socket of the room. There are no
//! limits, no time-outs and no session, so nothing that does more can be expected to cost less,
//! unless by cheaper kernel entries: with `--uring` all sends of a message, or of a turn, are one
//! entry.

use std::collections::BTreeMap;
use std::io::Write;
use std::mem;

use rustix::fd::{AsRawFd, OwnedFd, RawFd};

use crate::failure::{Failure, While};
use crate::poller::{Poller, Ready};
use crate::protocol::raw::JOIN;
use crate::volley::Volley;
use crate::{socket, websocket};

const LISTENER: u64 = u64::MAX;
const BUFFER_BYTES: usize = 64 * 1024;
/// A receiver this far behind is dropped.
const UNSENT_BYTES_MAX: usize = 64 << 20;

/// How to serve.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Port on 127.0.0.1, 0 for any.
    pub(crate) port: u16,
    /// Send once per turn and receiver rather than once per message.
    pub(crate) batch: bool,
    /// Send by io_uring, to all receivers at once.
    pub(crate) uring: bool,
    /// Core to stay on.
    pub(crate) cpu: Option<usize>,
}

/// Serves until killed.
pub(crate) fn serve(settings: &Settings) -> Result<(), Failure> {
    if let Some(cpu) = settings.cpu {
        socket::pin(cpu)?;
    }
    socket::reserve_files(0)?;
    let (listener, address) =
        socket::listen(settings.port).while_doing(|| "listening".to_owned())?;
    let poller = Poller::open().while_doing(|| "opening epoll".to_owned())?;
    poller.add(&listener, LISTENER, false).while_doing(|| "watching the listener".to_owned())?;
    println!("listening on {address}");
    std::io::stdout().flush().while_doing(|| "writing the address".to_owned())?;
    let volley = settings.uring.then(Volley::open).transpose()?;
    Server::new(listener, poller, settings.batch, volley).run()
}

struct Server {
    listener: OwnedFd,
    poller: Poller,
    batch: bool,
    /// Sends; without it each connection is sent to by itself.
    volley: Option<Volley>,
    connections: Vec<Option<Connection>>,
    free: Vec<u32>,
    rooms: Vec<Room>,
    room_of_path: BTreeMap<String, u32>,
    buffer: Vec<u8>,
    frame: Vec<u8>,
    dirty: Vec<u32>,
}

struct Connection {
    fd: OwnedFd,
    room: Option<u32>,
    partial: Vec<u8>,
    unsent: Vec<u8>,
}

#[derive(Default)]
struct Room {
    members: Vec<u32>,
    pending: Vec<u8>,
}

/// The connection is over.
struct Gone;

impl Server {
    fn new(listener: OwnedFd, poller: Poller, batch: bool, volley: Option<Volley>) -> Self {
        Self {
            listener,
            poller,
            batch,
            volley,
            connections: Vec::new(),
            free: Vec::new(),
            rooms: Vec::new(),
            room_of_path: BTreeMap::new(),
            buffer: vec![0; BUFFER_BYTES],
            frame: Vec::new(),
            dirty: Vec::new(),
        }
    }

    fn run(mut self) -> Result<(), Failure> {
        let mut events = Poller::list();
        loop {
            self.poller.wait(&mut events, None).while_doing(|| "waiting".to_owned())?;
            for &event in &events {
                let ready = Ready::from(event);
                match ready.key {
                    LISTENER => self.accept(),
                    key => self.serve(key as u32, ready),
                }
            }
            for room in mem::take(&mut self.dirty) {
                let mut pending = mem::take(&mut self.rooms[room as usize].pending);
                self.fan_out(room, &pending);
                pending.clear();
                self.rooms[room as usize].pending = pending;
            }
        }
    }

    fn accept(&mut self) {
        while let Ok(Some(fd)) = socket::accept(&self.listener) {
            let index = self.free.pop().unwrap_or(self.connections.len() as u32);
            if self.poller.add(&fd, u64::from(index), false).is_err() {
                continue;
            }
            let connection = Connection { fd, room: None, partial: Vec::new(), unsent: Vec::new() };
            match self.connections.get_mut(index as usize) {
                Some(slot) => *slot = Some(connection),
                None => self.connections.push(Some(connection)),
            }
        }
    }

    fn serve(&mut self, index: u32, ready: Ready) {
        let mut outcome = Ok(());
        if ready.writable {
            outcome = self.send(index, &[]);
        }
        if ready.readable && outcome.is_ok() {
            let mut buffer = mem::take(&mut self.buffer);
            outcome = self.receive(index, &mut buffer);
            self.buffer = buffer;
        }
        if outcome.is_err() {
            self.drop_connection(index);
        }
    }

    fn receive(&mut self, index: u32, buffer: &mut [u8]) -> Result<(), Gone> {
        let Some(connection) = &mut self.connections[index as usize] else { return Ok(()) };
        let bytes = match socket::receive(&connection.fd, buffer) {
            Ok(Some(0)) | Err(_) => return Err(Gone),
            Ok(None) => return Ok(()),
            Ok(Some(bytes)) => bytes,
        };
        if connection.partial.is_empty() {
            let used = self.consume(index, &mut buffer[..bytes])?;
            self.keep(index, buffer[used..bytes].to_vec());
            return Ok(());
        }
        let mut data = mem::take(&mut connection.partial);
        data.extend_from_slice(&buffer[..bytes]);
        let used = self.consume(index, &mut data)?;
        self.keep(index, data.split_off(used));
        Ok(())
    }

    fn keep(&mut self, index: u32, tail: Vec<u8>) {
        if let Some(connection) = &mut self.connections[index as usize] {
            connection.partial = tail;
        }
    }

    fn consume(&mut self, index: u32, data: &mut [u8]) -> Result<usize, Gone> {
        let mut at = 0;
        if self.room(index).is_none() {
            at = self.upgrade(index, data)?;
        }
        while let Some(room) = self.room(index) {
            let Some(frame) = websocket::parse(&data[at..]).map_err(|_| Gone)? else { break };
            let payload = &mut data[at + frame.start..at + frame.end];
            if let Some(mask) = frame.mask {
                websocket::apply_mask(payload, mask);
            }
            self.message(index, room, frame.opcode, payload)?;
            at += frame.end;
        }
        Ok(at)
    }

    fn room(&self, index: u32) -> Option<u32> {
        self.connections[index as usize].as_ref()?.room
    }

    fn upgrade(&mut self, index: u32, data: &[u8]) -> Result<usize, Gone> {
        let mut head = Vec::new();
        let Some((path, bytes)) = websocket::answer(data, &mut head).map_err(|_| Gone)? else {
            return Ok(0);
        };
        let next = self.rooms.len() as u32;
        let room = *self.room_of_path.entry(path).or_insert(next);
        if room == next {
            self.rooms.push(Room::default());
        }
        self.rooms[room as usize].members.push(index);
        if let Some(connection) = &mut self.connections[index as usize] {
            connection.room = Some(room);
        }
        self.send(index, &head)?;
        Ok(bytes)
    }

    fn message(&mut self, index: u32, room: u32, opcode: u8, payload: &[u8]) -> Result<(), Gone> {
        let mut frame = mem::take(&mut self.frame);
        frame.clear();
        let outcome = match opcode {
            websocket::TEXT | websocket::BINARY => {
                websocket::write_plain(opcode, payload, &mut frame);
                if payload.first() == Some(&JOIN) {
                    self.send(index, &frame)
                } else {
                    self.relay(room, &frame);
                    Ok(())
                }
            }
            websocket::PING => {
                websocket::write_plain(websocket::PONG, payload, &mut frame);
                self.send(index, &frame)
            }
            websocket::CLOSE => Err(Gone),
            _ => Ok(()),
        };
        self.frame = frame;
        outcome
    }

    fn relay(&mut self, room: u32, frame: &[u8]) {
        if !self.batch {
            return self.fan_out(room, frame);
        }
        let pending = &mut self.rooms[room as usize].pending;
        if pending.is_empty() {
            self.dirty.push(room);
        }
        pending.extend_from_slice(frame);
    }

    fn fan_out(&mut self, room: u32, frames: &[u8]) {
        let members = mem::take(&mut self.rooms[room as usize].members);
        let mut gone = Vec::new();
        if let Some(mut volley) = self.volley.take() {
            self.fire(&mut volley, &members, frames, &mut gone);
            self.volley = Some(volley);
        } else {
            let gone_now = members.iter().filter(|&&member| self.send(member, frames).is_err());
            gone.extend(gone_now);
        }
        self.rooms[room as usize].members = members;
        gone.into_iter().for_each(|member| self.drop_connection(member));
    }

    /// Sends to all who have nothing waiting at once, to the others one by one.
    fn fire(&mut self, volley: &mut Volley, members: &[u32], frames: &[u8], gone: &mut Vec<u32>) {
        let is_clear = |member: &&u32| {
            let connection = self.connections[**member as usize].as_ref();
            connection.is_some_and(|connection| connection.unsent.is_empty())
        };
        let (clear, waiting): (Vec<u32>, Vec<u32>) = members.iter().partition(is_clear);
        let fds = clear.iter().filter_map(|&member| self.connections[member as usize].as_ref());
        let fds: Vec<RawFd> = fds.map(|connection| connection.fd.as_raw_fd()).collect();
        let mut short = Vec::new();
        volley.fire(&fds, frames, |at, sent| match sent {
            Ok(bytes) if bytes == frames.len() => {}
            Ok(bytes) => short.push((clear[at], bytes)),
            Err(_) => gone.push(clear[at]),
        });
        let rest = short.into_iter().map(|(member, sent)| (member, &frames[sent..]));
        for (member, bytes) in rest.chain(waiting.into_iter().map(|member| (member, frames))) {
            if self.send(member, bytes).is_err() {
                gone.push(member);
            }
        }
    }

    /// Sends what waits and then `bytes`; what does not fit waits for room.
    fn send(&mut self, index: u32, bytes: &[u8]) -> Result<(), Gone> {
        let Some(connection) = &mut self.connections[index as usize] else { return Ok(()) };
        let waited = !connection.unsent.is_empty();
        if waited {
            connection.unsent.extend_from_slice(bytes);
            let sent = socket::send(&connection.fd, &connection.unsent).map_err(|_| Gone)?;
            connection.unsent.drain(..sent);
        } else if !bytes.is_empty() {
            let sent = socket::send(&connection.fd, bytes).map_err(|_| Gone)?;
            connection.unsent.extend_from_slice(&bytes[sent..]);
        }
        if connection.unsent.len() > UNSENT_BYTES_MAX {
            return Err(Gone);
        }
        let waits = !connection.unsent.is_empty();
        if waits != waited {
            let key = u64::from(index);
            self.poller.watch_write(&connection.fd, key, waits).map_err(|_| Gone)?;
        }
        Ok(())
    }

    fn drop_connection(&mut self, index: u32) {
        let Some(connection) = self.connections[index as usize].take() else { return };
        // Closing the descriptor would take it out of the epoll too, were it never duplicated.
        let _ = self.poller.remove(&connection.fd);
        if let Some(room) = connection.room {
            self.rooms[room as usize].members.retain(|&member| member != index);
        }
        self.free.push(index);
    }
}

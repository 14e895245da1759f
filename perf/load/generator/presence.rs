//! Members that leave and come back, and members that hardly read.

use std::mem;

use rustix::net::{Shutdown, shutdown, sockopt};

use super::{Flow, Generator, Phase, STALL_NS, Seat, WAIT_MAX_NS};
use crate::failure::{Failure, While};
use crate::{socket, websocket};

/// What a member that hardly reads has room for, in bytes: the rest waits at the server.
const SLOW_BUFFER_BYTES: usize = 16 << 10;
/// How much such a member reads at a time, and how often, unless it reads nothing.
const SIP_BYTES: usize = 1 << 10;
const SIP_NS: u64 = 1_000_000_000;
/// Whoever has been slow and is told nothing for this long is told nothing any more.
const QUIET_NS: u64 = 1_000_000_000;
const CATCH_UP_NS: u64 = 20_000_000_000;
const GOING_AWAY: u16 = 1001;

/// A member that hardly reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slow {
    connection: u32,
    /// Whether it reads anything at all.
    sips: bool,
    /// The server has ended its connection.
    ended: bool,
}

impl Generator {
    /// The members from number `first` on, of each session.
    pub(crate) fn members_from(&self, first: u32) -> Vec<u32> {
        let numbered = self.connections.iter().zip(0..);
        let late = |seat: Seat| seat.member >= first;
        numbered.filter(|(one, _)| late(one.seat)).map(|(_, index)| index).collect()
    }

    /// Senders owe each message to so many members of their session from now on.
    pub(crate) fn owe_to(&mut self, members: u32) {
        let receivers = if self.protocol.is_echoed() { members } else { members - 1 };
        self.senders.iter_mut().for_each(|sender| sender.receivers = receivers);
    }

    /// These leave; every second one without a word.
    pub(crate) fn leave(&mut self, who: &[u32]) {
        for &index in who {
            if index % 2 == 0 {
                self.push_frame(index, websocket::CLOSE, &GOING_AWAY.to_be_bytes());
                self.flush(index);
            }
            let connection = &mut self.connections[index as usize];
            connection.phase = Phase::Closed;
            // Either fails only where the server has ended it already.
            let _ = self.poller.remove(&connection.fd);
            let _ = shutdown(&connection.fd, Shutdown::Both);
        }
    }

    /// These come back to where they were.
    pub(crate) fn come_back(&mut self, who: &[u32]) -> Result<(), Failure> {
        for some in who.chunks(self.route.parallel.max(1)) {
            let joined = self.tally.joined + some.len() as u64;
            for &index in some {
                self.reconnect(index)?;
            }
            self.await_joined(joined)?;
        }
        Ok(())
    }

    fn reconnect(&mut self, index: u32) -> Result<(), Failure> {
        let Seat { session, member } = self.connections[index as usize].seat;
        let senders = self.connections[index as usize].flows.len();
        let mut back = self.dial(index, Seat { session, member })?;
        back.flows = vec![Flow::default(); senders];
        self.connections[index as usize] = back;
        self.flush(index);
        Ok(())
    }

    fn await_joined(&mut self, joined: u64) -> Result<(), Failure> {
        let until = self.now_ns() + STALL_NS;
        while self.tally.joined < joined {
            self.turn(Some(WAIT_MAX_NS))?;
            if let Some(trouble) = &self.first_trouble {
                return Err(Failure::Server(format!("{trouble}, to one who came back")));
            }
            if self.now_ns() > until {
                return Err(Failure::Server("lets nobody back in".to_owned()));
            }
        }
        Ok(())
    }

    /// From now on every second of these reads 1 KiB per second, and the others nothing. What they are
    /// sent is no delivery.
    pub(crate) fn slow_down(&mut self, who: &[u32]) -> Result<(), Failure> {
        for (&connection, number) in who.iter().zip(0..) {
            let fd = &self.connections[connection as usize].fd;
            self.poller.remove(fd).while_doing(|| "leaving a connection alone".to_owned())?;
            sockopt::set_socket_recv_buffer_size(fd, SLOW_BUFFER_BYTES)
                .while_doing(|| "making a buffer small".to_owned())?;
            self.slow.push(Slow { connection, sips: number % 2 == 0, ended: false });
        }
        Ok(())
    }

    /// Those who read a little do so when it is time.
    pub(super) fn sip(&mut self, now_ns: u64) {
        if self.slow.is_empty() || now_ns < self.next_sip_ns {
            return;
        }
        self.next_sip_ns = now_ns + SIP_NS;
        self.read_slowly(SIP_BYTES, |slow| slow.sips);
    }

    /// Reads so much, at most, of each of those; whether there was anything.
    fn read_slowly(&mut self, bytes: usize, who: impl Fn(&Slow) -> bool) -> bool {
        let (mut buffer, mut any) = (mem::take(&mut self.buffer), false);
        let room = bytes.min(buffer.len());
        for slow in self.slow.iter_mut().filter(|slow| !slow.ended && who(slow)) {
            let fd = &self.connections[slow.connection as usize].fd;
            match socket::receive(fd, &mut buffer[..room]) {
                Ok(None) => {}
                Ok(Some(0)) | Err(_) => slow.ended = true,
                Ok(Some(_)) => any = true,
            }
        }
        self.buffer = buffer;
        any
    }

    /// Lets those who were slow read all there is for them; how many the server has cut off.
    pub(crate) fn catch_up(&mut self) -> Result<u32, Failure> {
        let begun = self.now_ns();
        let mut last = begun;
        while self.now_ns() - last < QUIET_NS && self.now_ns() - begun < CATCH_UP_NS {
            if self.read_slowly(usize::MAX, |_| true) {
                last = self.now_ns();
            } else {
                self.turn(Some(WAIT_MAX_NS / 10))?;
            }
        }
        Ok(self.slow.iter().filter(|slow| slow.ended).count() as u32)
    }
}

//! Connection state recovery (specs: socketio §8): a client whose connection was cut, and that comes
//! back in time, has its name again and is told what it has missed.
//!
//! Every event that is not volatile and asks for no acknowledgement ends with its offset, which the
//! client tells when it comes back, besides a secret that it was told when it connected.

use std::collections::VecDeque;
use std::time::Duration;

use super::Socket;
use super::id::SocketId;
use crate::codec::json::Raw;
use crate::session::map::Map;
use crate::session::{Instant, MemberId};

/// Packets that are kept for those who may come back, in bytes; beyond it the oldest goes.
pub(super) const LOG_BYTES_MAX: usize = 8 << 20;
/// Clients whose names are kept; beyond it those go who were lost first.
pub(super) const LOST_MAX: usize = 10_000;

/// What a packet is kept with, in bytes.
const LOGGED_OVERHEAD: usize = 64;

/// Who was told something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Everybody.
    All,
    /// Everybody but one.
    AllBut(Option<SocketId>),
    /// These.
    Only(Vec<SocketId>),
}

/// What is kept for those who may come back.
#[derive(Debug)]
pub(super) struct Recovery {
    within: Duration,
    log: VecDeque<Logged>,
    log_bytes: usize,
    /// Offset of the next packet.
    next: u64,
    secrets: Map<Socket, SocketId>,
    /// Those who may come back, in the order they were lost.
    lost: VecDeque<Lost>,
}

#[derive(Debug)]
struct Logged {
    at: Instant,
    namespace: u8,
    audience: Audience,
    payload: Box<[u8]>,
}

#[derive(Debug)]
struct Lost {
    secret: SocketId,
    id: SocketId,
    namespace: u8,
    until: Instant,
}

/// One who has come back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Back {
    pub(super) id: SocketId,
    secret: SocketId,
    /// The first offset that it may not have seen.
    from: u64,
}

/// An offset as the last argument of an event: a JSON string.
#[derive(Debug)]
pub(super) struct Offset(String);

impl Offset {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Recovery {
    /// Those may come back who are lost for no longer than this.
    pub(super) fn new(within: Duration) -> Self {
        Self {
            within,
            log: VecDeque::new(),
            log_bytes: 0,
            next: 1,
            secrets: Map::default(),
            lost: VecDeque::new(),
        }
    }

    /// The offset of what is said next.
    pub(super) fn offset(&self) -> Offset {
        Offset(format!("\"{}\"", self.next))
    }

    /// Keeps what is said, with its offset in it.
    pub(super) fn keep(&mut self, at: Instant, namespace: u8, audience: Audience, parts: &[&[u8]]) {
        self.next += 1;
        let payload = parts.concat().into_boxed_slice();
        self.log_bytes += payload.len() + LOGGED_OVERHEAD;
        self.log.push_back(Logged { at, namespace, audience, payload });
        self.expire(at);
    }

    /// A client is connected: what it is to tell when it comes back.
    pub(super) fn connect(&mut self, socket: Socket, random: u64, back: Option<Back>) -> SocketId {
        let secret = back.map_or_else(|| SocketId::secret(random, self.next), |back| back.secret);
        self.secrets.insert(socket, secret);
        secret
    }

    /// A client's connection was cut.
    pub(super) fn lose(&mut self, socket: Socket, id: SocketId, now: Instant) {
        if let Some(secret) = self.secrets.remove(&socket) {
            let until = now + self.within;
            self.lost.push_back(Lost { secret, id, namespace: socket.namespace, until });
        }
        self.expire(now);
    }

    /// A client has left its namespace, and may not come back.
    pub(super) fn forget(&mut self, socket: Socket) {
        self.secrets.remove(&socket);
    }

    /// A client has broken the rules, and may not come back.
    pub(super) fn forget_all(&mut self, member: MemberId) {
        self.secrets.retain(|socket, _| socket.member != member);
    }

    /// Whom a client says it was, if it is in time and all it has missed is there.
    pub(super) fn come_back(
        &mut self,
        namespace: u8,
        auth: Option<Raw<'_>>,
        now: Instant,
    ) -> Option<Back> {
        self.expire(now);
        let (mut secret, mut offset) = (None, None);
        for (key, value) in auth?.fields() {
            if key.is_string_of("pid") {
                secret = value.to_string_value();
            } else if key.is_string_of("offset") {
                offset = value.to_string_value();
            }
        }
        let (secret, offset) = (secret?, offset?.parse::<u64>().ok()?);
        let from = offset.checked_add(1)?;
        if !(self.first()..=self.next).contains(&from) {
            return None;
        }
        let is_it = |lost: &Lost| {
            lost.namespace == namespace
                && crate::protocol::is_same_secret(&lost.secret.to_string(), &secret)
        };
        let lost = self.lost.remove(self.lost.iter().position(is_it)?)?;
        Some(Back { id: lost.id, secret: lost.secret, from })
    }

    /// What one who has come back has missed, in order.
    pub(super) fn missed(&self, namespace: u8, back: Back) -> impl Iterator<Item = &[u8]> {
        let skipped = back.from.saturating_sub(self.first()) as usize;
        let is_for_it = move |logged: &&Logged| {
            logged.namespace == namespace
                && match &logged.audience {
                    Audience::All => true,
                    Audience::AllBut(one) => *one != Some(back.id),
                    Audience::Only(those) => those.contains(&back.id),
                }
        };
        self.log.iter().skip(skipped).filter(is_for_it).map(|logged| &*logged.payload)
    }

    /// Forgets what is of no use any more.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.lost.front().is_some_and(|lost| lost.until <= now) || self.lost.len() > LOST_MAX
        {
            self.lost.pop_front();
        }
        let is_old = |logged: &Logged| logged.at + self.within <= now;
        while self.log_bytes > LOG_BYTES_MAX || self.log.front().is_some_and(is_old) {
            let Some(logged) = self.log.pop_front() else { break };
            self.log_bytes -= logged.payload.len() + LOGGED_OVERHEAD;
        }
    }

    /// When somebody who is lost may not come back any more.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.lost.front().map(|lost| lost.until)
    }

    /// Offset of the oldest packet that is kept; of the next one, if none is.
    fn first(&self) -> u64 {
        self.next - self.log.len() as u64
    }

    /// What must hold between any two calls.
    pub(super) fn invariants(&self) {
        let bytes = self.log.iter().map(|logged| logged.payload.len() + LOGGED_OVERHEAD);
        assert_eq!(bytes.sum::<usize>(), self.log_bytes);
        assert!(self.log_bytes <= LOG_BYTES_MAX && self.lost.len() <= LOST_MAX);
        assert!(self.lost.iter().map(|lost| lost.until).is_sorted());
        assert!(self.log.iter().map(|logged| logged.at).is_sorted());
    }
}

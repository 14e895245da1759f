//! Connection state recovery (specs: socketio §8): a client whose connection was cut, and that comes
//! back in time, has its name again and is told what it has missed.
//!
//! Every event that is not volatile and asks for no acknowledgement ends with its offset, which the
//! client tells when it comes back, besides a secret that it was told when it connected.
//!
//! What is kept of this is in the journal, too, so that clients may also come back to the process
//! after this one (`journal`).

mod journal;

use std::collections::VecDeque;
use std::time::Duration;

use super::Socket;
use super::id::SocketId;
use crate::codec::json::Raw;
use crate::session::map::Map;
use crate::session::{Instant, MemberId};

use journal::Unrecorded;
pub(super) use journal::split;

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
    /// Offset of the newest packet that is not kept any more.
    forgotten: u64,
    /// Those who are connected.
    present: Map<Socket, Name>,
    /// Those who may come back, in the order they were lost.
    lost: VecDeque<Lost>,
    unrecorded: Unrecorded,
}

#[derive(Debug)]
struct Logged {
    offset: u64,
    at: Instant,
    namespace: u8,
    audience: Audience,
    payload: Box<[u8]>,
}

/// What a client is called, and what it shows to be called so again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name {
    secret: SocketId,
    id: SocketId,
    namespace: u8,
}

#[derive(Debug)]
struct Lost {
    name: Name,
    until: Instant,
}

/// One who has come back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Back {
    pub(super) id: SocketId,
    secret: SocketId,
    /// The newest offset that it has seen.
    seen: u64,
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
            forgotten: 0,
            present: Map::default(),
            lost: VecDeque::new(),
            unrecorded: Unrecorded::default(),
        }
    }

    /// The offset of what is said next.
    pub(super) fn offset(&self) -> Offset {
        Offset(format!("\"{}\"", self.next))
    }

    /// Keeps what is said, with its offset in it.
    pub(super) fn keep(&mut self, at: Instant, namespace: u8, audience: Audience, parts: &[&[u8]]) {
        let (offset, payload) = (self.next, parts.concat().into_boxed_slice());
        self.next += 1;
        self.unrecorded.said += 1;
        self.push(Logged { offset, at, namespace, audience, payload });
        self.expire(at);
    }

    fn push(&mut self, logged: Logged) {
        self.log_bytes += logged.payload.len() + LOGGED_OVERHEAD;
        self.log.push_back(logged);
    }

    /// A client is connected: what it is to tell when it comes back.
    pub(super) fn connect(
        &mut self,
        socket: Socket,
        id: SocketId,
        random: u64,
        back: Option<Back>,
    ) -> SocketId {
        let secret = back.map_or_else(|| SocketId::secret(random, self.next), |back| back.secret);
        let name = Name { secret, id, namespace: socket.namespace };
        self.present.insert(socket, name);
        if back.is_none() {
            self.unrecorded.named.push(name);
        }
        secret
    }

    /// A client's connection was cut.
    pub(super) fn lose(&mut self, socket: Socket, now: Instant) {
        if let Some(name) = self.present.remove(&socket) {
            self.lost.push_back(Lost { name, until: now + self.within });
        }
        self.expire(now);
    }

    /// A client has left its namespace, and may not come back.
    pub(super) fn forget(&mut self, socket: Socket) {
        let name = self.present.remove(&socket);
        self.unrecorded.gone.extend(name.map(|name| name.secret));
    }

    /// A client has broken the rules, and may not come back.
    pub(super) fn forget_all(&mut self, member: MemberId) {
        let gone = &mut self.unrecorded.gone;
        self.present.retain(|socket, name| {
            let stays = socket.member != member;
            gone.extend((!stays).then_some(name.secret));
            stays
        });
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
        let (secret, seen) = (secret?, offset?.parse::<u64>().ok()?);
        // Of a process that was not the last it may have seen what nobody knows of.
        let is_known = seen == self.forgotten
            || self.log.binary_search_by_key(&seen, |logged| logged.offset).is_ok();
        let is_it = |lost: &Lost| {
            lost.name.namespace == namespace
                && crate::protocol::is_same_secret(&lost.name.secret.to_string(), &secret)
        };
        let place = self.lost.iter().position(is_it).filter(|_| is_known)?;
        let Name { id, secret, .. } = self.lost.remove(place)?.name;
        Some(Back { id, secret, seen })
    }

    /// What one who has come back has missed, in order.
    pub(super) fn missed(&self, namespace: u8, back: Back) -> impl Iterator<Item = &[u8]> {
        let skipped = self.log.partition_point(|logged| logged.offset <= back.seen);
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
        let is_late = |lost: &Lost| lost.until <= now;
        while self.lost.len() > LOST_MAX || self.lost.front().is_some_and(is_late) {
            let Some(lost) = self.lost.pop_front() else { break };
            self.unrecorded.gone.push(lost.name.secret);
        }
        let is_old = |logged: &Logged| logged.at + self.within <= now;
        while self.log_bytes > LOG_BYTES_MAX || self.log.front().is_some_and(is_old) {
            let Some(logged) = self.log.pop_front() else { break };
            self.log_bytes -= logged.payload.len() + LOGGED_OVERHEAD;
            self.forgotten = logged.offset;
        }
    }

    /// When somebody who is lost may not come back any more.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.lost.front().map(|lost| lost.until)
    }

    /// What must hold between any two calls.
    pub(super) fn invariants(&self) {
        let bytes = self.log.iter().map(|logged| logged.payload.len() + LOGGED_OVERHEAD);
        assert_eq!(bytes.sum::<usize>(), self.log_bytes);
        assert!(self.log_bytes <= LOG_BYTES_MAX && self.lost.len() <= LOST_MAX);
        assert!(self.lost.iter().map(|lost| lost.until).is_sorted());
        assert!(self.log.iter().map(|logged| logged.at).is_sorted());
        assert!(self.log.iter().is_sorted_by(|one, other| one.offset < other.offset));
        assert!(self.log.front().is_none_or(|first| self.forgotten < first.offset));
        assert!(self.log.back().is_none_or(|last| last.offset < self.next));
    }
}

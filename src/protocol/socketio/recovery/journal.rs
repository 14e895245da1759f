//! What is kept for those who may come back, in the journal of the session.
//!
//! Its entries lie among those of the application, told from them by their first byte. Each call
//! records what it changed. When the application stores a base, these entries stay: they are needed
//! from the last [`RESET`] on, which is followed by all there is. Whenever the journal wants to be
//! rid of them, all is recorded anew.

use super::{Audience, Logged, Lost, Name, Recovery};
use crate::protocol::socketio::id::{ID_BYTES, SocketId};
use crate::session::journal::Entries;
use crate::session::map::Map;
use crate::session::{Effects, Instant};

/// First byte of these entries. No application's begins with it.
const MARK: u8 = 0xF5;
/// What was recorded before counts no more: offset of the next packet, of the newest forgotten.
const RESET: u8 = 0;
/// A packet that was said.
const SAID: u8 = 1;
/// Clients that were given names.
const NAMED: u8 = 2;
/// Secrets of those who may not come back.
const GONE: u8 = 3;

/// Audiences of packets.
const ALL: u8 = 0;
const ALL_BUT: u8 = 1;
const ONLY: u8 = 2;

/// A name: secret, id, namespace.
const NAME_BYTES: usize = 2 * ID_BYTES + 1;
/// Names in one entry.
const NAMES_MAX: usize = 1024;
/// By how much offsets grow with a new process: more than may have been said and lost with the one
/// before it, whose offsets must not be given again.
const RESTART_OFFSETS: u64 = 1 << 32;

/// What the journal does not have yet.
#[derive(Debug, Default)]
pub(super) struct Unrecorded {
    /// How many of the newest packets.
    pub(super) said: usize,
    pub(super) named: Vec<Name>,
    pub(super) gone: Vec<SocketId>,
    /// Whether it has all the rest.
    is_whole: bool,
}

/// Tells what is kept here, which comes first, from the entries of the application.
pub(in crate::protocol::socketio) fn split(entries: &Entries) -> (Entries, Entries) {
    let (mut own, mut others) = (Entries::default(), Entries::default());
    for (position, body) in entries.after(0) {
        let to = if body.first() == Some(&MARK) { &mut own } else { &mut others };
        to.push(position, body);
    }
    (own, others)
}

impl Recovery {
    /// Records what has changed. Whether the journal has entries of no use: the application should
    /// store a base.
    pub(in crate::protocol::socketio) fn record(&mut self, fx: &mut Effects<'_>) -> bool {
        let is_useless = self.present.is_empty() && self.lost.is_empty();
        if is_useless {
            while let Some(logged) = self.log.pop_front() {
                self.forgotten = logged.offset;
            }
            self.log_bytes = 0;
        }
        let Unrecorded { said, named, gone, is_whole } = std::mem::take(&mut self.unrecorded);
        if !fx.is_recording() {
            return false;
        }
        if is_useless || fx.is_read_only() {
            // Nobody would read it, or nothing can be added; then it is missing something.
            fx.need_recorded(None);
            return is_whole;
        }
        if is_whole {
            self.record_said(self.log.len().saturating_sub(said), fx);
            record_many(NAMED, named.into_iter().map(name_bytes), fx);
            record_many(GONE, gone.iter().map(|secret| *secret.as_bytes()), fx);
        } else {
            self.record_all(fx);
        }
        self.unrecorded.is_whole = true;
        false
    }

    /// The journal is to be rid of what it has: all is recorded anew.
    pub(in crate::protocol::socketio) fn renew(&mut self, fx: &mut Effects<'_>) {
        self.unrecorded.is_whole = false;
        self.record(fx);
    }

    fn record_all(&self, fx: &mut Effects<'_>) {
        let (next, forgotten) = (self.next.to_le_bytes(), self.forgotten.to_le_bytes());
        fx.record(&[&[MARK, RESET], &next, &forgotten]);
        fx.need_recorded(Some(fx.recorded()));
        self.record_said(0, fx);
        let lost = self.lost.iter().map(|lost| lost.name);
        record_many(NAMED, lost.chain(self.present.values().copied()).map(name_bytes), fx);
    }

    /// Records packets from this one of the log on.
    fn record_said(&self, from: usize, fx: &mut Effects<'_>) {
        for logged in self.log.iter().skip(from) {
            let mut ids = Vec::new();
            let (kind, those): (u8, &[SocketId]) = match &logged.audience {
                Audience::All => (ALL, &[]),
                Audience::AllBut(one) => (ALL_BUT, one.as_slice()),
                Audience::Only(those) => (ONLY, those),
            };
            those.iter().for_each(|id| ids.extend_from_slice(id.as_bytes()));
            let (offset, count) = (logged.offset.to_le_bytes(), those.len() as u32);
            let head = [MARK, SAID, logged.namespace, kind];
            fx.record(&[&head, &offset, &count.to_le_bytes(), &ids, &logged.payload]);
        }
    }

    /// Takes on what an earlier process has recorded. All who were connected then were lost now, and
    /// what was said was said now.
    pub(in crate::protocol::socketio) fn replay(&mut self, entries: &Entries, now: Instant) {
        let mut names = Names::default();
        for (_, entry) in entries.after(0) {
            if self.replay_one(entry, &mut names, now).is_none() {
                log::error!(
                    target: "socketio", scope = "session", event = "recovery";
                    "what was kept for clients that come back is not understood: they begin anew"
                );
                *self = Self::new(self.within);
                return;
            }
        }
        self.next += RESTART_OFFSETS;
        let until = now + self.within;
        self.lost = names.in_order().map(|name| Lost { name, until }).collect();
        self.expire(now);
        self.unrecorded = Unrecorded::default();
    }

    fn replay_one(&mut self, entry: &[u8], names: &mut Names, now: Instant) -> Option<()> {
        let ([_, kind], mut body) = entry.split_first_chunk()?;
        match *kind {
            RESET => {
                *self = Self::new(self.within);
                self.next = take(&mut body).map(u64::from_le_bytes)?;
                self.forgotten = take(&mut body).map(u64::from_le_bytes)?;
                *names = Names::default();
            }
            SAID => {
                let logged = read_said(body, now)?;
                self.next = logged.offset.checked_add(1)?;
                self.push(logged);
                self.expire(now);
            }
            NAMED => {
                while !body.is_empty() {
                    let secret = SocketId::from_bytes(take(&mut body)?);
                    let id = SocketId::from_bytes(take(&mut body)?);
                    let [namespace] = take(&mut body)?;
                    names.add(Name { secret, id, namespace });
                }
            }
            GONE => {
                while !body.is_empty() {
                    names.remove(SocketId::from_bytes(take(&mut body)?));
                }
            }
            _ => return None,
        }
        Some(())
    }
}

/// Names by their secrets, and when they were given.
#[derive(Debug, Default)]
struct Names {
    all: Map<SocketId, (u64, Name)>,
    given: u64,
}

impl Names {
    fn add(&mut self, name: Name) {
        self.given += 1;
        self.all.insert(name.secret, (self.given, name));
    }

    fn remove(&mut self, secret: SocketId) {
        self.all.remove(&secret);
    }

    fn in_order(self) -> impl Iterator<Item = Name> {
        let mut all: Vec<_> = self.all.into_values().collect();
        all.sort_unstable_by_key(|(given, _)| *given);
        all.into_iter().map(|(_, name)| name)
    }
}

/// Records entries of one kind with so many of these in each as one may have.
fn record_many<const N: usize>(kind: u8, all: impl Iterator<Item = [u8; N]>, fx: &mut Effects<'_>) {
    let mut all = all.peekable();
    while all.peek().is_some() {
        let some: Vec<u8> = all.by_ref().take(NAMES_MAX).flatten().collect();
        fx.record(&[&[MARK, kind], &some]);
    }
}

fn name_bytes(name: Name) -> [u8; NAME_BYTES] {
    let mut bytes = [0; NAME_BYTES];
    bytes[..ID_BYTES].copy_from_slice(name.secret.as_bytes());
    bytes[ID_BYTES..2 * ID_BYTES].copy_from_slice(name.id.as_bytes());
    bytes[2 * ID_BYTES] = name.namespace;
    bytes
}

fn read_said(mut body: &[u8], at: Instant) -> Option<Logged> {
    let [namespace, kind] = take(&mut body)?;
    let offset = take(&mut body).map(u64::from_le_bytes)?;
    let count = take(&mut body).map(u32::from_le_bytes)? as usize;
    let mut those = Vec::new();
    for _ in 0..count {
        those.push(SocketId::from_bytes(take(&mut body)?));
    }
    let audience = match kind {
        ALL => Audience::All,
        ALL_BUT => Audience::AllBut(those.pop()),
        ONLY => Audience::Only(those),
        _ => return None,
    };
    Some(Logged { offset, at, namespace, audience, payload: body.into() })
}

/// The next bytes.
fn take<const N: usize>(body: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = body.split_first_chunk()?;
    *body = rest;
    Some(*taken)
}

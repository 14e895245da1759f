//! Sessions that ended by a fault of their own: what they recorded is read back and they go on, but
//! not those that panic again and again.
//!
//! A session that fell keeps its place in the journal, so that no segment it needs is deleted. What
//! it recorded is read by the journal's thread, once all of it is written; until then nobody may
//! enter. Then it is opened as at a start of the process.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Shard;
use super::sessions::Session;
use crate::net::Transport;
use crate::protocol::Protocol;
use crate::session::journal::{Cursor, Entries};
use crate::session::{Close, Instant};
use crate::storage::journal::ReadBack;

/// Panics of one session within a minute after which it is closed for a while.
pub const PANICS_MAX: usize = 3;
const MINUTE: Duration = Duration::from_secs(60);
/// How long it is closed.
const QUARANTINE: Duration = Duration::from_secs(60);
/// Sessions of which panics are remembered that have no other consequence.
const REMEMBERED_MAX: usize = 1024;

/// Sessions that fell.
#[derive(Debug, Default)]
pub(super) struct Fallen {
    falls: BTreeMap<Box<str>, Fall>,
    /// Those to be read back.
    to_read: VecDeque<Box<str>>,
}

#[derive(Debug, Default)]
struct Fall {
    /// When it panicked, within the last minute.
    panics: Vec<Instant>,
    /// Its protocol, if it has panicked.
    protocol: Option<&'static Protocol>,
    phase: Phase,
}

#[derive(Debug, Default)]
enum Phase {
    /// It may be opened, or is open.
    #[default]
    Up,
    /// Nobody may enter before this.
    Quarantined(Instant, Option<Box<Cursor>>),
    /// Its entries are to be read back, or are being read.
    Down(Box<Cursor>),
    /// They are read.
    ReadBack(Box<Cursor>, Entries),
    /// They are in the journal, and the next start recovers them.
    Lost,
}

impl Fallen {
    /// Whether the session cannot be opened. A quarantine that is over ends by being asked about.
    fn is_down(&mut self, name: &str, now: Instant) -> bool {
        let Some(fall) = self.falls.get_mut(name) else { return false };
        if let Phase::Quarantined(until, cursor) = &mut fall.phase
            && *until <= now
        {
            fall.phase = match cursor.take() {
                Some(cursor) => {
                    self.to_read.push_back(name.into());
                    Phase::Down(cursor)
                }
                None => Phase::Up,
            };
        }
        !matches!(fall.phase, Phase::Up | Phase::ReadBack(..))
    }

    /// Notes a panic; whether the session has had too many.
    fn note_panic(
        &mut self,
        name: &str,
        protocol: &'static Protocol,
        now: Instant,
        panics_max: usize,
    ) -> bool {
        if self.falls.len() >= REMEMBERED_MAX {
            let is_recent = |at: &Instant| now.since(*at) < MINUTE;
            self.falls.retain(|_, fall| {
                !matches!(fall.phase, Phase::Up) || fall.panics.iter().any(is_recent)
            });
        }
        let fall = self.falls.entry(name.into()).or_default();
        fall.panics.retain(|at| now.since(*at) < MINUTE);
        fall.panics.push(now);
        fall.protocol = Some(protocol);
        let too_many = fall.panics.len() >= panics_max;
        if too_many {
            fall.panics.clear();
        }
        too_many
    }

    /// Whether anything is being read back.
    #[cfg(test)]
    pub(super) fn is_reading(&self) -> bool {
        self.falls.values().any(|fall| matches!(fall.phase, Phase::Down(_)))
    }

    fn set(&mut self, name: &str, phase: Phase) {
        self.falls.entry(name.into()).or_default().phase = phase;
    }

    /// The place and the entries of a session that is opened again.
    pub(super) fn take(&mut self, name: &str) -> Option<(Box<Cursor>, Entries)> {
        let fall = self.falls.get_mut(name)?;
        match std::mem::take(&mut fall.phase) {
            Phase::ReadBack(cursor, entries) => Some((cursor, entries)),
            phase => {
                fall.phase = phase;
                None
            }
        }
    }
}

impl<T: Transport> Shard<T> {
    /// Why a session of this name that fell cannot be opened, if so.
    pub(super) fn fallen_refusal(&mut self, protocol: &Protocol, name: &str) -> Option<Close> {
        self.fallen.is_down(name, self.now.at).then_some(protocol.restart)
    }

    /// A session has panicked and is gone.
    pub(super) fn on_fallen(&mut self, mut session: Session) {
        let (now, panics_max) = (self.now.at, self.config.panics_max);
        let name = std::mem::take(&mut session.name);
        let too_many = self.fallen.note_panic(&name, session.protocol, now, panics_max);
        let cursor = session.journal.take().filter(|place| place.oldest_segment().is_some());
        let is_read = cursor.as_ref().is_none_or(|place| place.sought().is_some());
        let phase = match cursor {
            // The next start recovers it.
            _ if self.draining => return,
            _ if !is_read => {
                log_lost(&name);
                Phase::Lost
            }
            cursor if too_many => {
                self.counters.quarantines.increment();
                log::error!(
                    scope = "session", event = "quarantine";
                    "session {name:?} has panicked again and again: it is closed for {} s",
                    QUARANTINE.as_secs()
                );
                Phase::Quarantined(now + QUARANTINE, cursor)
            }
            Some(cursor) => {
                self.fallen.to_read.push_back(name.clone());
                Phase::Down(cursor)
            }
            None => Phase::Up,
        };
        self.fallen.set(&name, phase);
    }

    /// A session is gone with entries that are in the journal only.
    pub(super) fn on_lost(&mut self, name: &str) {
        log_lost(name);
        self.fallen.set(name, Phase::Lost);
    }

    /// Asks for what sessions that fell have recorded, when it is written.
    pub(super) fn read_back_fallen(&mut self) {
        let Some(journal) = &mut self.journaling.journal else { return };
        while journal.batch.is_empty()
            && let Some(name) = self.fallen.to_read.pop_front()
        {
            let Some(fall) = self.fallen.falls.get(&name) else { continue };
            let Phase::Down(cursor) = &fall.phase else { continue };
            let Some(sought) = cursor.sought() else { continue };
            if !journal.read_back(name.clone(), sought) {
                // The thread is busy.
                return self.fallen.to_read.push_front(name);
            }
        }
    }

    /// What a session has recorded is there again: it goes on.
    pub(super) fn on_read_back(&mut self, read: ReadBack) {
        let ReadBack { name, result } = read;
        let Some(fall) = self.fallen.falls.get_mut(&name) else { return };
        let Phase::Down(cursor) = std::mem::take(&mut fall.phase) else {
            debug_assert!(false, "nothing is read of a session that is not down");
            return;
        };
        match result {
            Ok(entries) => {
                log::info!(
                    scope = "session", event = "read-back";
                    "session {name:?} goes on from the {} entries it had recorded", entries.len()
                );
                fall.phase = Phase::ReadBack(cursor, entries);
                if let Some(protocol) = fall.protocol.filter(|_| !self.draining) {
                    let key = name[protocol.name.len() + 1..].to_owned();
                    let _ = self.find_or_open(protocol, key);
                }
            }
            Err(why) => {
                log::error!(
                    scope = "session", event = "journal-damaged";
                    "what session {name:?} recorded cannot be read back: {why}"
                );
                self.on_lost(&name);
            }
        }
    }
}

fn log_lost(name: &str) {
    log::error!(
        scope = "session", event = "not-stored";
        "session {name:?} ended before it was stored: the next start recovers it from the journal, \
         and until then it cannot be opened"
    );
}

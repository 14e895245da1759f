//! The shard's journal: what machines recorded is written before anything of the turn is sent;
//! sessions of an earlier process are continued; nothing more is recorded while the disk fails.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::sessions::{self, Session};
use super::wheel::TimerId;
use super::{Shard, Timer, Wheel};
use crate::net::Transport;
use crate::protocol::{PROTOCOLS, Protocol};
use crate::session::Close;
use crate::session::journal::{Cursor, Recorder};
use crate::session::map::GuardedMap;
use crate::storage::journal::{Journal, Recovered, Synced};

/// Recovered sessions that are opened to be stored anew at the same time.
const SETTLING_MAX: usize = 64;

/// How an opening is refused whose session has lost entries.
const DAMAGED: Close = Close::new(1011, "session is damaged, see the server's log");

/// A shard's part of the journal, as it is started with.
#[derive(Debug, Default)]
pub struct Journaling {
    /// The log; none with `--in-memory`.
    pub journal: Option<Journal>,
    /// Sessions of an earlier process that this shard owns.
    pub recovered: Vec<Recovered>,
    /// Full names of sessions that must not be opened.
    pub refused: Arc<BTreeSet<String>>,
}

/// What the shard keeps of it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) journal: Option<Journal>,
    timer: TimerId,
    recovered: GuardedMap<Box<str>, Recovered>,
    /// Names of recovered sessions in the order they are continued in.
    to_settle: VecDeque<Box<str>>,
    refused: Arc<BTreeSet<String>>,
    /// Sessions with entries that are not written.
    unwritten: Vec<u32>,
    /// What depends on unwritten entries is held.
    pub(super) holding: bool,
}

impl State {
    pub(super) fn new(with: Journaling, wheel: &mut Wheel<Timer>) -> Self {
        let mut state = Self {
            journal: with.journal,
            timer: wheel.add(Timer::Journal),
            recovered: GuardedMap::default(),
            to_settle: VecDeque::new(),
            refused: with.refused,
            unwritten: Vec::new(),
            holding: false,
        };
        for found in with.recovered {
            let name: Box<str> = found.name.as_str().into();
            state.to_settle.push_back(name.clone());
            state.recovered.insert(name, found);
        }
        state
    }

    /// Means to record for one call of a session's machine.
    pub(super) fn recorder<'a>(
        &'a mut self,
        cursor: &'a mut Option<Box<Cursor>>,
        name: &'a str,
    ) -> Option<Recorder<'a>> {
        let (journal, cursor) = (self.journal.as_mut()?, cursor.as_deref_mut()?);
        let read_only = journal.trouble().is_some();
        Some(Recorder { batch: &mut journal.batch, cursor, name, read_only })
    }

    /// A new session's place in the journal, if its protocol has one.
    pub(super) fn cursor(&self, protocol: &Protocol) -> Option<Box<Cursor>> {
        (self.journal.is_some() && protocol.journaled).then(Box::default)
    }
}

impl<T: Transport> Shard<T> {
    /// Writes what this turn recorded. What must not be sent yet is held (see `flush`).
    pub(super) fn commit(&mut self) {
        let state = &mut self.journaling;
        let Some(journal) = &mut state.journal else { return };
        if journal.batch.is_empty() && !state.holding {
            return;
        }
        let (bytes, entries) = (journal.batch.bytes().len(), journal.batch.entries());
        let may_send = journal.commit(self.now.at);
        self.counters.journal_read_only.set(u64::from(journal.trouble().is_some()));
        self.wheel.set(state.timer, journal.next_due());
        if may_send {
            self.counters.journal_batches.increment();
            self.counters.journal_bytes.add(bytes as u64);
            self.counters.journal_entries.set(entries);
            self.written();
        } else {
            state.holding = true;
        }
    }

    /// Everything recorded is written: what was held is sent.
    fn written(&mut self) {
        let held = std::mem::replace(&mut self.journaling.holding, false);
        let mut unwritten = std::mem::take(&mut self.journaling.unwritten);
        for index in unwritten.drain(..) {
            let Some(session) = self.sessions.get_mut(index) else { continue };
            session.unwritten = false;
            if held {
                for member in session.members.clone() {
                    self.mark_dirty(member);
                }
            }
        }
        self.journaling.unwritten = unwritten;
        if held {
            self.release_departed();
        }
    }

    /// Those who left meanwhile are sent what they were still to be sent.
    fn release_departed(&mut self) {
        for index in self.connections.indexes() {
            if self.connections.get(index).is_some_and(|connection| connection.depends) {
                self.mark_dirty(index);
            }
        }
    }

    /// A call of this session's machine is over: notes that it recorded something.
    pub(super) fn note_recorded(&mut self, index: u32, before: u64) {
        let Some(session) = self.sessions.get_mut(index) else { return };
        let last = session.journal.as_ref().map_or(0, |cursor| cursor.last());
        if last != before && !session.unwritten {
            session.unwritten = true;
            self.journaling.unwritten.push(index);
        }
    }

    /// What this session says follows from what another has recorded: it waits for that, too.
    pub(super) fn depend(&mut self, index: u32) {
        let is_written = self.journaling.unwritten.is_empty();
        if let Some(session) = self.sessions.get_mut(index).filter(|_| !is_written)
            && !session.unwritten
        {
            session.unwritten = true;
            self.journaling.unwritten.push(index);
        }
    }

    pub(super) fn on_journal_timer(&mut self) {
        let Some(journal) = &mut self.journaling.journal else { return };
        journal.tend(self.now.at);
        self.after_journal();
    }

    pub(super) fn on_synced(&mut self, synced: Synced) {
        let Some(journal) = &mut self.journaling.journal else { return };
        self.counters.journal_syncs.increment();
        if synced.result.is_err() {
            self.counters.storage_errors.increment();
        }
        journal.on_synced(synced, self.now.at);
        self.after_journal();
    }

    fn after_journal(&mut self) {
        let state = &mut self.journaling;
        let Some(journal) = &state.journal else { return };
        self.wheel.set(state.timer, journal.next_due());
        self.counters.journal_read_only.set(u64::from(journal.trouble().is_some()));
        if let Some(up_to) = journal.wants_stored() {
            self.ask_to_store(up_to);
        }
    }

    /// Asks sessions with entries in segments up to this one to store themselves anew.
    fn ask_to_store(&mut self, up_to: u32) {
        let pinning = |session: &Session| {
            let oldest = session.journal.as_ref().and_then(|cursor| cursor.oldest_segment());
            oldest.is_some_and(|segment| segment <= up_to)
        };
        let sessions: Vec<u32> = self
            .sessions
            .iter()
            .filter(|(_, session)| pinning(session))
            .map(|(index, _)| index)
            .collect();
        for index in sessions {
            self.call(index, |machine, fx| machine.on_checkpoint(fx));
        }
    }

    /// Continues sessions of an earlier process that nobody has asked for yet, a few at a time, so
    /// that they are stored and the journal of that process can go.
    pub(super) fn settle_recovered(&mut self) {
        while self.settling() < SETTLING_MAX && !self.draining {
            let Some(name) = self.journaling.to_settle.pop_front() else { return };
            if !self.journaling.recovered.contains_key(&name) {
                continue;
            }
            let (protocol, key) = name.split_once('/').unwrap_or_default();
            let protocol = PROTOCOLS.iter().find(|known| known.name == protocol);
            match protocol {
                Some(protocol) => {
                    let _ = self.find_or_open(protocol, key.to_owned());
                }
                None => log::error!(
                    scope = "process", event = "journal";
                    "session {name:?} of the journal belongs to no protocol of this version"
                ),
            }
        }
    }

    /// Recovered sessions that were opened and are not stored anew yet.
    fn settling(&self) -> usize {
        let earlier = self.journaling.journal.as_ref().map_or(0, |journal| journal.batch.earlier());
        earlier.saturating_sub(self.journaling.recovered.len())
    }

    /// Why a session of this name cannot be opened, if so.
    pub(super) fn refusal(&mut self, protocol: &Protocol, name: &str) -> Option<Close> {
        if self.journaling.refused.contains(name) {
            return Some(DAMAGED);
        }
        self.fallen_refusal(protocol, name)
    }

    /// Hands a session that was just opened what an earlier process recorded, or it itself before it
    /// fell.
    pub(super) fn resume_recovered(&mut self, index: u32) {
        let Some(session) = self.sessions.get_mut(index) else { return };
        if let Some((place, entries)) = self.fallen.take(&session.name) {
            session.journal = Some(place);
            self.call(index, |machine, fx| machine.on_recovered(entries, fx));
            return;
        }
        let Some(found) = self.journaling.recovered.remove(&session.name) else { return };
        session.journal = Some(Box::new(Cursor::recovered(found.last, found.trimmed)));
        self.call(index, |machine, fx| machine.on_recovered(found.entries, fx));
    }

    /// Everything up to the store of this number is kept in a stored record.
    pub(super) fn trim_journal(&mut self, index: u32, store: u32) {
        let Some(session) = self.sessions.get_mut(index) else { return };
        let Some(mut recorder) = self.journaling.recorder(&mut session.journal, &session.name)
        else {
            return;
        };
        if let Some(covered) = recorder.cursor.covered_by(store) {
            let Recorder { batch, cursor, name, .. } = &mut recorder;
            batch.trim(cursor, name, covered);
        }
    }

    /// A session has gone. If everything of it is stored the journal forgets it.
    pub(super) fn close_journal(&mut self, mut session: Session) {
        let name = &session.name;
        let Some(Recorder { batch, cursor, .. }) =
            self.journaling.recorder(&mut session.journal, name)
        else {
            return;
        };
        if cursor.oldest_segment().is_none() {
            batch.close(cursor, name);
        } else if !self.draining {
            self.on_lost(&session.name);
        }
    }

    /// The shard ends: what it wrote is synced.
    pub fn finish(&mut self) {
        self.commit();
        if let Some(journal) = &mut self.journaling.journal {
            journal.finish();
        }
    }
}

/// The full name of a session, as the journal knows it.
pub fn session_name(protocol: &Protocol, key: &str) -> String {
    sessions::name(protocol, key)
}

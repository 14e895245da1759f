//! The table of sessions this shard owns.

use std::rc::Rc;

use super::blobs::SessionBlobs;
use super::table::Table;
use super::wheel::TimerId;
use crate::protocol::{Limits, Machine, Protocol};
use crate::session::journal::Cursor;
use crate::session::map::GuardedIndex;
use crate::session::{History, Instant};

/// One session: its state machine, what it says, and who listens.
#[derive(Debug)]
pub(super) struct Session {
    /// Protocol and key, see [`name`].
    pub(super) name: Box<str>,
    pub(super) protocol: &'static Protocol,
    pub(super) limits: Rc<Limits>,
    pub(super) machine: Box<dyn Machine>,
    pub(super) history: History,
    /// Indexes of its members' connections.
    pub(super) members: Vec<u32>,
    pub(super) timer: TimerId,
    /// Tells this occupant of the index from earlier ones.
    pub(super) generation: u32,
    /// In the list of sessions that have said something this turn or have members lagging.
    pub(super) dirty: bool,
    /// Its place in the journal, if its protocol records there.
    pub(super) journal: Option<Box<Cursor>>,
    /// It has recorded something that is not written yet.
    pub(super) unwritten: bool,
    /// What it has under way with blobs; none if it never had.
    pub(super) blobs: Option<Box<SessionBlobs>>,
}

impl Session {
    /// Its key, as its protocol knows it.
    pub(super) fn key(&self) -> &str {
        &self.name[self.protocol.name.len() + 1..]
    }

    /// When something is next due: what its machine asked for, or what is held back.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.machine.deadline().into_iter().chain(self.history.held_until()).min()
    }
}

/// The full name of a session: unique across protocols.
pub(super) fn name(protocol: &Protocol, key: &str) -> String {
    format!("{}/{key}", protocol.name)
}

/// Sessions by index and by name.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    slots: Table<Session>,
    by_name: GuardedIndex<u32>,
    generation: u32,
}

impl Sessions {
    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.by_name.find(name, |index| &*self.slots[index].name)
    }

    pub(super) fn next_index(&self) -> u32 {
        self.slots.next_index()
    }

    pub(super) fn insert(&mut self, mut session: Session) -> u32 {
        self.generation = (self.generation + 1) & crate::net::GENERATION_MASK;
        session.generation = self.generation;
        let index = self.slots.insert(session);
        self.by_name.insert(index, |index| &*self.slots[index].name);
        index
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Session> {
        let session = self.slots.remove(index)?;
        self.by_name.remove(&session.name, index);
        Some(session)
    }

    pub(super) fn get(&self, index: u32) -> Option<&Session> {
        self.slots.get(index)
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Session> {
        self.slots.get_mut(index)
    }

    /// Sessions in the order of their index.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Session)> {
        self.slots.iter()
    }
}

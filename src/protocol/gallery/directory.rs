//! Which rooms and connections there are, and where each connection is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::ID_BYTES_MAX;
use super::carry::{ConnId, Terms};
use super::decode::quoted;
use crate::session::journal::Entries;
use crate::session::map::{GuardedIndex, GuardedMap, Map};
use crate::session::{Instant, MemberId, Now};

/// Everything the hall knows.
#[derive(Debug, Default)]
pub(super) struct Directory {
    rooms: GuardedMap<Rc<str>, Entry>,
    /// Each by itself: a table that is half empty holds only pointers.
    conns: Map<ConnId, Box<Conn>>,
    /// The newest connection of each user, by the user's id.
    users: GuardedIndex<ConnId>,
    last_number: u64,
}

/// A room.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) terms: Terms,
    /// Members it was sent.
    pub(super) sequence: u64,
    /// Connections that are there or on their way.
    users: u32,
    active_at: Instant,
    active_ms: u64,
}

/// A connection. There are many: most have nothing rare.
#[derive(Debug)]
pub(super) struct Conn {
    /// The user's id, and the address it comes from.
    text: Box<str>,
    user_id_bytes: u8,
    /// A newer one has come for the same user.
    pub(super) replaced: bool,
    pub(super) place: Place,
    rare: Option<Box<Rare>>,
}

#[derive(Debug, Default)]
struct Rare {
    /// Its role, signed, as it was sent.
    token: Option<Box<str>>,
    /// The room in which its predecessor's place is kept for it.
    inherits: Option<Box<str>>,
}

const _: () = assert!(ID_BYTES_MAX <= u8::MAX as usize);

/// Where a connection is, or is on its way to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Hall(MemberId),
    /// A room's id and epoch: it may be gone before the connection has come back.
    Room(Rc<str>, u64),
}

/// A persistent room, as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    id: Box<str>,
    terms: Terms,
}

/// What the hall records in the journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Recorded {
    /// A persistent room was created.
    Created { id: Box<str>, terms: Terms },
    /// The persistent room of this epoch was removed.
    Removed { id: Box<str>, epoch: u64 },
}

impl Directory {
    /// A number larger than any before, also than those of a process that was here before.
    pub(super) fn number(&mut self, now: Now) -> u64 {
        self.last_number = (self.last_number + 1).max(now.wall_ms.saturating_mul(1_000));
        self.last_number
    }

    /// How many rooms there are.
    pub(super) fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// How many connections there are.
    pub(super) fn conns(&self) -> usize {
        self.conns.len()
    }

    pub(super) fn room(&mut self, id: &str) -> Option<&mut Entry> {
        self.rooms.get_mut(id)
    }

    pub(super) fn add_room(&mut self, id: Box<str>, terms: Terms, now: Now) {
        let entry =
            Entry { terms, sequence: 0, users: 0, active_at: now.at, active_ms: now.wall_ms };
        self.rooms.insert(id.into(), entry);
    }

    pub(super) fn remove_room(&mut self, id: &str) {
        self.rooms.remove(id);
    }

    /// Whether anybody is in a room or on the way there.
    pub(super) fn is_in_use(&self, id: &str) -> bool {
        self.rooms.get(id).is_some_and(|entry| entry.users > 0)
    }

    /// Forgets rooms that nobody was in for as long as this; the persistent ones stay.
    pub(super) fn sweep(&mut self, now: Instant, timeout_ms: u64) {
        let idle = |entry: &Entry| now.since(entry.active_at).as_millis() >= timeout_ms.into();
        self.rooms.retain(|_, entry| entry.terms.persistent || entry.users > 0 || !idle(entry));
    }

    pub(super) fn conn(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(&id).map(Box::as_mut)
    }

    /// A connection has come; the one it replaces, if any.
    pub(super) fn add_conn(&mut self, id: ConnId, conn: Conn) -> Option<ConnId> {
        let Self { conns, users, .. } = self;
        conns.insert(id, Box::new(conn));
        users.insert(id, |id| conns[&id].user_id())
    }

    /// A connection is gone.
    pub(super) fn remove_conn(&mut self, id: ConnId, now: Now) -> Option<Conn> {
        let conn = *self.conns.remove(&id)?;
        self.users.remove(conn.user_id(), id);
        self.depart(&conn.place, now);
        Some(conn)
    }

    /// A connection is sent to a room: the room's terms, and how many it was sent with this one.
    pub(super) fn send_conn(&mut self, id: ConnId, to: &str, now: Now) -> Option<(Terms, u64)> {
        let Self { rooms, conns, .. } = self;
        let (room, entry) = rooms.get_key_value_mut(to)?;
        entry.sequence += 1;
        let sent = (entry.terms.clone(), entry.sequence);
        if let Some(conn) = conns.get_mut(&id) {
            entry.users += 1;
            entry.note(now);
            let from =
                std::mem::replace(&mut conn.place, Place::Room(Rc::clone(room), sent.0.epoch));
            self.depart(&from, now);
        }
        Some(sent)
    }

    /// A connection is back in the hall.
    pub(super) fn take_conn_back(&mut self, id: ConnId, member: MemberId, now: Now) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let from = std::mem::replace(&mut conn.place, Place::Hall(member));
        self.depart(&from, now);
    }

    fn depart(&mut self, place: &Place, now: Now) {
        let Place::Room(id, epoch) = place else { return };
        if let Some(entry) = self.rooms.get_mut(id).filter(|entry| entry.terms.epoch == *epoch) {
            entry.users -= 1;
            entry.note(now);
        }
    }

    /// The persistent rooms, as a record.
    pub(super) fn stored(&self) -> Vec<u8> {
        let rooms = self.in_order().filter(|(_, entry)| entry.terms.persistent);
        let stored = rooms
            .map(|(id, entry)| Stored { id: id.into(), terms: entry.terms.clone() })
            .collect::<Vec<_>>();
        super::carry::pack(&stored)
    }

    /// Takes in a record made by [`Directory::stored`].
    pub(super) fn restore(&mut self, record: &[u8], now: Now) -> Result<(), serde_json::Error> {
        for Stored { id, terms } in serde_json::from_slice::<Vec<Stored>>(record)? {
            self.last_number = self.last_number.max(terms.epoch);
            self.add_room(id, terms, now);
        }
        Ok(())
    }

    /// Takes in what was recorded behind the record, whether or not it is part of that already.
    /// Returns the rooms that were removed meanwhile, each with its epoch.
    pub(super) fn redo(
        &mut self,
        entries: &Entries,
        now: Now,
    ) -> Result<Vec<(Box<str>, u64)>, serde_json::Error> {
        let mut all_removed = BTreeMap::new();
        for (_, entry) in entries.after(0) {
            match serde_json::from_slice(entry)? {
                Recorded::Created { id, terms } => {
                    self.last_number = self.last_number.max(terms.epoch);
                    if self.rooms.get(&*id).is_none_or(|room| room.terms.epoch < terms.epoch) {
                        self.add_room(id, terms, now);
                    }
                }
                Recorded::Removed { id, epoch } => {
                    self.last_number = self.last_number.max(epoch);
                    if self.rooms.get(&*id).is_some_and(|room| room.terms.epoch == epoch) {
                        self.remove_room(&id);
                    }
                    all_removed.insert(id, epoch);
                }
            }
        }
        all_removed.retain(|id, _| !self.rooms.contains_key(&**id));
        Ok(all_removed.into_iter().collect())
    }

    /// The body of the original's `/stats` (specs: gallery §6).
    pub(super) fn stats(&self, hides_rooms: bool) -> String {
        let mut json = String::from("{\n  \"rooms\": [");
        let mut rooms = self.in_order().filter(|_| !hides_rooms).peekable();
        let is_empty = rooms.peek().is_none();
        let mut comma = "";
        for (id, entry) in rooms {
            let Entry { users, active_ms, terms, .. } = entry;
            let _ = write!(
                json,
                "{comma}\n    {{\n      \"roomId\": {},\n      \"userCount\": {users},\n      \
                 \"createdAt\": {},\n      \"lastActivity\": {active_ms}\n    }}",
                quoted(id),
                terms.created_ms,
            );
            comma = ",";
        }
        json.push_str(if is_empty { "]" } else { "\n  ]" });
        let _ = write!(json, ",\n  \"totalUsers\": {}\n}}", self.conns());
        json
    }

    /// Rooms in the order of their creation.
    fn in_order(&self) -> impl Iterator<Item = (&str, &Entry)> {
        let mut rooms: Vec<_> = self.rooms.iter().map(|(id, entry)| (&**id, entry)).collect();
        rooms.sort_by_key(|(_, entry)| entry.terms.epoch);
        rooms.into_iter()
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn invariants(&self) {
        let newest = self.users.iter().map(|id| &self.conns[&id]);
        assert!(newest.clone().all(|conn| !conn.replaced));
        let mut users: Vec<&str> = newest.map(|conn| conn.user_id()).collect();
        users.sort_unstable();
        users.dedup();
        assert_eq!(users.len(), self.users.iter().count(), "a user is there twice");
        let replaced = self.conns.values().filter(|conn| conn.replaced).count();
        assert_eq!(self.conns.len(), users.len() + replaced);
        for (id, entry) in &self.rooms {
            let place = Place::Room(id.clone(), entry.terms.epoch);
            let there = self.conns.values().filter(|conn| conn.place == place).count();
            assert_eq!(entry.users as usize, there, "{id}");
        }
    }
}

impl Conn {
    /// One in the hall, of a user whose id keeps to [`ID_BYTES_MAX`].
    pub(super) fn new(user_id: &str, user_ip: &str, member: MemberId) -> Self {
        Self {
            text: [user_id, user_ip].concat().into(),
            user_id_bytes: user_id.len() as u8,
            replaced: false,
            place: Place::Hall(member),
            rare: None,
        }
    }

    pub(super) fn user_id(&self) -> &str {
        &self.text[..self.user_id_bytes.into()]
    }

    pub(super) fn user_ip(&self) -> &str {
        &self.text[self.user_id_bytes.into()..]
    }

    /// Its role, signed, as it was sent.
    pub(super) fn token(&self) -> Option<&str> {
        self.rare.as_ref()?.token.as_deref()
    }

    pub(super) fn set_token(&mut self, token: &str) {
        self.rare.get_or_insert_default().token = Some(token.into());
    }

    /// Its predecessor's place in this room is kept for it.
    pub(super) fn inherit(&mut self, room: Box<str>) {
        self.rare.get_or_insert_default().inherits = Some(room);
    }

    /// The room in which a place is kept for it; it is told once.
    pub(super) fn take_inherited(&mut self) -> Option<Box<str>> {
        self.rare.as_mut()?.inherits.take()
    }
}

impl Entry {
    fn note(&mut self, now: Now) {
        (self.active_at, self.active_ms) = (now.at, now.wall_ms);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_connection_is_small() {
        assert_eq!(size_of::<super::Conn>(), 56);
    }
}

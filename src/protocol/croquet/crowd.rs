//! Who is in a session (specs: croquet §8): counts, the announcement of joins and leaves, and
//! those whose connection is gone but who may come back in time.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;

use super::encode::units;
use crate::session::{Instant, MemberId};

/// A member's identity to the others: raw JSON, compared as text.
pub(super) type User = Rc<str>;

/// Joins and leaves that belong in one message.
#[derive(Debug, Default)]
pub(super) struct Announcement {
    pub(super) joined: Vec<User>,
    pub(super) left: Vec<User>,
}

/// The members of a session, as far as the others hear of them. A member is known by its serial
/// number: the order of joining.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// All, those about to leave included; no user for a spectator.
    members: BTreeMap<u32, Option<User>>,
    next_serial: u32,
    pending: Announcement,
    announce_at: Option<Instant>,
    /// Gone, but not announced yet: in order of their time.
    leaving: VecDeque<(Instant, u32)>,
    /// Members that listen to nothing but INFO.
    spectators: Vec<MemberId>,
    /// Members with a user.
    active: usize,
    /// Members with a user and a connection.
    listening: usize,
}

impl Crowd {
    /// All members, those about to leave included.
    pub(super) fn total(&self) -> usize {
        self.members.len()
    }

    /// Members with a user, those about to leave included.
    pub(super) fn active(&self) -> usize {
        self.active
    }

    /// Members with a user and a connection.
    pub(super) fn listening(&self) -> usize {
        self.listening
    }

    /// Members that listen to nothing but INFO.
    pub(super) fn spectators(&self) -> &[MemberId] {
        &self.spectators
    }

    /// Who is there, in the order of joining; none for a spectator.
    pub(super) fn users(&self) -> impl Iterator<Item = Option<&User>> {
        self.members.values().map(Option::as_ref)
    }

    /// A member joins; its user, if any, is announced `interval` after the first change. Returns
    /// its serial number.
    pub(super) fn join(
        &mut self,
        member: MemberId,
        user: Option<User>,
        now: Instant,
        interval: Duration,
    ) -> u32 {
        let serial = self.next_serial;
        self.next_serial += 1;
        self.members.insert(serial, None);
        self.spectators.push(member);
        if let Some(user) = user {
            self.reveal(member, serial, user, now, interval);
        }
        serial
    }

    /// A spectator says who it is. Whoever has a user keeps it.
    pub(super) fn reveal(
        &mut self,
        member: MemberId,
        serial: u32,
        user: User,
        now: Instant,
        interval: Duration,
    ) {
        let Some(nobody @ None) = self.members.get_mut(&serial) else {
            return;
        };
        *nobody = Some(user.clone());
        self.spectators.retain(|&spectator| spectator != member);
        self.active += 1;
        self.listening += 1;
        let Announcement { joined, left } = &mut self.pending;
        cancel_or_note(left, joined, user);
        self.announce_at.get_or_insert(now + interval);
    }

    /// A member's connection is gone. It counts as there until `at`, if that is later than now.
    pub(super) fn hang_up(
        &mut self,
        member: MemberId,
        serial: u32,
        at: Instant,
        now: Instant,
        interval: Duration,
    ) {
        match self.members.get(&serial) {
            Some(Some(_)) => self.listening -= 1,
            _ => self.spectators.retain(|&spectator| spectator != member),
        }
        if at <= now {
            return self.depart(serial, now, interval);
        }
        // Nearly always the last place: the delay rarely changes.
        let place = self.leaving.partition_point(|&(other, _)| other <= at);
        self.leaving.insert(place, (at, serial));
    }

    /// Lets go of those whose time is up.
    pub(super) fn depart_due(&mut self, now: Instant, interval: Duration) {
        while let Some(&(at, serial)) = self.leaving.front()
            && at <= now
        {
            self.leaving.pop_front();
            self.depart(serial, now, interval);
        }
    }

    /// Joins and leaves to announce now, if it is time.
    pub(super) fn announcement_due(&mut self, now: Instant) -> Option<Announcement> {
        self.announce_at.filter(|&at| at <= now)?;
        self.take_announcement()
    }

    /// Joins and leaves not announced yet, if any.
    pub(super) fn take_announcement(&mut self) -> Option<Announcement> {
        self.announce_at = None;
        let pending = std::mem::take(&mut self.pending);
        (!pending.joined.is_empty() || !pending.left.is_empty()).then_some(pending)
    }

    /// When something is next due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.announce_at.into_iter().chain(self.leaving.front().map(|&(at, _)| at)).min()
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn invariants(&self) {
        let is_user = |serial| self.members.get(serial).is_some_and(Option::is_some);
        let leaving_users = self.leaving.iter().filter(|(_, serial)| is_user(serial)).count();
        assert_eq!(self.active, self.users().flatten().count());
        assert_eq!(self.active, self.listening + leaving_users);
        assert_eq!(self.total(), self.listening + self.spectators.len() + self.leaving.len());
        assert!(self.leaving.iter().is_sorted_by_key(|&(at, _)| at));
        let pending = !self.pending.joined.is_empty() || !self.pending.left.is_empty();
        assert!(!pending || self.announce_at.is_some());
    }

    fn depart(&mut self, serial: u32, now: Instant, interval: Duration) {
        if let Some(user) = self.members.remove(&serial).flatten() {
            self.active -= 1;
            let Announcement { joined, left } = &mut self.pending;
            cancel_or_note(joined, left, user);
            self.announce_at.get_or_insert(now + interval);
        }
    }
}

/// Who left and joined, or joined and left, within one interval is not mentioned at all.
fn cancel_or_note(opposite: &mut Vec<User>, list: &mut Vec<User>, user: User) {
    match opposite.iter().position(|other| *other == user) {
        Some(at) => drop(opposite.remove(at)),
        None => list.push(user),
    }
}

impl Announcement {
    /// The payload of the message that announces it.
    pub(super) fn payload(&self, crowd: &Crowd) -> String {
        let mut json = String::from(r#"{"what":"users""#);
        let _ = write!(json, r#","active":{},"total":{}"#, crowd.active(), crowd.total());
        self.write_lists(&mut json);
        sized(json)
    }

    /// `,"joined":[…],"left":[…]`, leaving out what is empty.
    pub(super) fn write_lists(&self, json: &mut String) {
        for (name, users) in [("joined", &self.joined), ("left", &self.left)] {
            if !users.is_empty() {
                let _ = write!(json, r#","{name}":"#);
                write_users(json, users.iter().map(Some));
            }
        }
    }
}

/// A JSON array of users, null for a spectator.
pub(super) fn write_users<'a>(json: &mut String, users: impl Iterator<Item = Option<&'a User>>) {
    json.push('[');
    for (at, user) in users.enumerate() {
        if at > 0 {
            json.push(',');
        }
        json.push_str(user.map_or("null", |user| user));
    }
    json.push(']');
}

/// Closes an object that lacks only its brace, after adding how long it would be without this.
pub(super) fn sized(mut json: String) -> String {
    let size = units(json.as_bytes()) + 1;
    let _ = write!(json, r#","_size":{size}}}"#);
    json
}

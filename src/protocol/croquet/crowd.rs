//! Who is in a session (specs: croquet §8): counts, the announcement of joins and leaves, and
//! those whose connection is gone but who may come back in time.

use std::collections::VecDeque;
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
    /// All, those about to leave included, by serial number; no user for a spectator.
    members: Vec<(u32, Option<User>)>,
    next_serial: u32,
    /// Members with a user.
    active: u32,
    /// Members with a user and a connection.
    listening: u32,
    announce_at: Option<Instant>,
    /// None most of the time.
    unsettled: Option<Box<Unsettled>>,
}

/// What there is only around joins and leaves, and with spectators.
#[derive(Debug, Default)]
struct Unsettled {
    pending: Announcement,
    /// Gone, but not announced yet: in order of their time.
    leaving: VecDeque<(Instant, u32)>,
    /// Members that listen to nothing but INFO.
    spectators: Vec<MemberId>,
}

impl Crowd {
    /// All members, those about to leave included.
    pub(super) fn total(&self) -> usize {
        self.members.len()
    }

    /// Members with a user, those about to leave included.
    pub(super) fn active(&self) -> usize {
        self.active as usize
    }

    /// Members with a user and a connection.
    pub(super) fn listening(&self) -> usize {
        self.listening as usize
    }

    /// Members that listen to nothing but INFO.
    pub(super) fn spectators(&self) -> &[MemberId] {
        self.unsettled.as_ref().map_or(&[], |unsettled| &unsettled.spectators)
    }

    /// Who is there, in the order of joining; none for a spectator.
    pub(super) fn users(&self) -> impl Iterator<Item = Option<&User>> {
        self.members.iter().map(|(_, user)| user.as_ref())
    }

    /// A member joins, as a spectator for now. Returns its serial number.
    pub(super) fn join(&mut self, member: MemberId) -> u32 {
        let serial = self.next_serial;
        self.next_serial += 1;
        if self.members.capacity() == 0 {
            // Many a session has one member only.
            self.members.reserve_exact(1);
        }
        self.members.push((serial, None));
        self.unsettled().spectators.push(member);
        serial
    }

    /// A spectator says who it is, which is announced `interval` after the first change. Whoever has a
    /// user keeps it.
    pub(super) fn reveal(
        &mut self,
        member: MemberId,
        serial: u32,
        user: User,
        now: Instant,
        interval: Duration,
    ) {
        let Some(nobody @ None) = self.user_mut(serial) else { return };
        *nobody = Some(user.clone());
        self.active += 1;
        self.listening += 1;
        let Unsettled { pending, spectators, .. } = self.unsettled();
        spectators.retain(|&spectator| spectator != member);
        cancel_or_note(&mut pending.left, &mut pending.joined, user);
        self.settle();
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
        match self.user_mut(serial) {
            Some(Some(_)) => self.listening -= 1,
            _ => self.unsettled().spectators.retain(|&spectator| spectator != member),
        }
        if at <= now {
            self.depart(&[serial], now, interval);
            return;
        }
        let leaving = &mut self.unsettled().leaving;
        // Nearly always the last place: the delay rarely changes.
        let place = leaving.partition_point(|&(other, _)| other <= at);
        leaving.insert(place, (at, serial));
    }

    /// Lets go of those whose time is up.
    pub(super) fn depart_due(&mut self, now: Instant, interval: Duration) {
        let Some(unsettled) = &mut self.unsettled else { return };
        let due = unsettled.leaving.partition_point(|&(at, _)| at <= now);
        if due > 0 {
            let gone: Vec<u32> = unsettled.leaving.drain(..due).map(|(_, serial)| serial).collect();
            self.depart(&gone, now, interval);
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
        let pending = std::mem::take(&mut self.unsettled.as_mut()?.pending);
        self.settle();
        (!pending.is_empty()).then_some(pending)
    }

    /// When something is next due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let leaving = self.unsettled.as_ref().and_then(|unsettled| unsettled.leaving.front());
        self.announce_at.into_iter().chain(leaving.map(|&(at, _)| at)).min()
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn invariants(&self) {
        assert!(self.members.is_sorted_by(|(one, _), (next, _)| one < next));
        assert_eq!(self.active(), self.users().flatten().count());
        let empty = Unsettled::default();
        let Unsettled { pending, leaving, spectators } =
            self.unsettled.as_deref().unwrap_or(&empty);
        let is_user = |&&(_, serial): &&(Instant, u32)| {
            self.members.iter().any(|(other, user)| *other == serial && user.is_some())
        };
        assert_eq!(self.active(), self.listening() + leaving.iter().filter(is_user).count());
        assert_eq!(self.total(), self.listening() + spectators.len() + leaving.len());
        assert!(leaving.iter().is_sorted_by_key(|&(at, _)| at));
        assert!(pending.is_empty() || self.announce_at.is_some());
        assert!(self.unsettled.as_ref().is_none_or(|unsettled| !unsettled.is_empty()));
    }

    /// Takes members out, and notes that those with a user have left.
    fn depart(&mut self, gone: &[u32], now: Instant, interval: Duration) {
        for &serial in gone {
            let Some(user) = self.user_mut(serial).and_then(Option::take) else { continue };
            self.active -= 1;
            let Announcement { joined, left } = &mut self.unsettled().pending;
            cancel_or_note(joined, left, user);
            self.announce_at.get_or_insert(now + interval);
        }
        if let [serial] = gone {
            if let Ok(place) = self.place(*serial) {
                self.members.remove(place);
            }
        } else {
            let mut gone = gone.to_vec();
            gone.sort_unstable();
            self.members.retain(|(serial, _)| gone.binary_search(serial).is_err());
        }
        if self.members.len() < self.members.capacity() / 4 {
            self.members.shrink_to(self.members.len() * 2);
        }
        self.settle();
    }

    fn place(&self, serial: u32) -> Result<usize, usize> {
        self.members.binary_search_by_key(&serial, |&(serial, _)| serial)
    }

    fn user_mut(&mut self, serial: u32) -> Option<&mut Option<User>> {
        let place = self.place(serial).ok()?;
        Some(&mut self.members[place].1)
    }

    fn unsettled(&mut self) -> &mut Unsettled {
        self.unsettled.get_or_insert_default()
    }

    /// Lets go of memory that is not needed now.
    fn settle(&mut self) {
        self.unsettled.take_if(|unsettled| unsettled.is_empty());
    }
}

impl Unsettled {
    fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.leaving.is_empty() && self.spectators.is_empty()
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
    fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.left.is_empty()
    }

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

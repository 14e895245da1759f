//! How a document changes, and how members are told what they lack.

use super::{NEXT_TURN, READ_ONLY_POLL, REST_AFTER, Room, malformed};
use crate::codec::ysync::{Head, Refusal, Taken, check_state_vector};
use crate::protocol::yjs::REFUSED;
use crate::session::frame::{FrameKind, Header};
use crate::session::{Close, Effects, MemberId};

/// An update that changes nothing.
const NOTHING_NEW: &[u8] = &[0, 0];
/// What an entry in the journal begins with: an update.
pub(super) const UPDATE: u8 = b'U';

const READ_ONLY_MEMBER: &str = "You may only read this document";
const READ_ONLY_FULL: &str = "The document is as large as it may be";
const READ_ONLY_ROOM: &str = "The server can store no changes now; yours are asked for again";

impl Room {
    /// A member tells what has changed, or what the server lacked: what is new is recorded and
    /// relayed as it came. Every client that comes says again what is deleted.
    pub(super) fn on_update(
        &mut self,
        member: MemberId,
        update: &[u8],
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        if !self.takes_from(member, update, fx) {
            return Ok(());
        }
        match self.document.take(update) {
            Ok(Taken::Known) => Ok(()),
            Ok(Taken::New | Taken::Waiting) => {
                self.relay(member, update, fx);
                Ok(())
            }
            Err(Refusal::Malformed(error)) => Err(malformed(error)),
            // Parts of it may have fitted: what the document has must be recorded, and told.
            Err(_) => {
                self.relay(member, update, fx);
                Err(REFUSED)
            }
        }
    }

    /// Whether a member's changes can be taken; if not it is told, once.
    fn takes_from(&mut self, member: MemberId, update: &[u8], fx: &mut Effects<'_>) -> bool {
        let bytes_max = self.config().document_bytes_max;
        let Some(seat) = self.seats.get_mut(&member) else { return false };
        if update == NOTHING_NEW {
            return false;
        }
        let reason = if !seat.may_write {
            READ_ONLY_MEMBER
        } else if fx.is_read_only() {
            self.read_only_until.get_or_insert_with(|| fx.at() + READ_ONLY_POLL);
            READ_ONLY_ROOM
        } else if self.document.len() + update.len() > bytes_max {
            READ_ONLY_FULL
        } else {
            return true;
        };
        if !std::mem::replace(&mut seat.was_denied, true) {
            self.deny(member, reason, fx);
        }
        false
    }

    fn relay(&mut self, member: MemberId, update: &[u8], fx: &mut Effects<'_>) {
        fx.record(&[&[UPDATE], update]);
        let head = Head::update(update.len());
        self.tell_others(member, &[head.as_bytes(), update], fx);
        self.rest_at = Some(fx.at() + REST_AFTER);
        self.note_recorded(update.len(), fx);
    }

    /// A member asks what it lacks. Once in a turn it is told at once.
    pub(super) fn on_step1(
        &mut self,
        member: MemberId,
        vector: &[u8],
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        check_state_vector(vector).map_err(malformed)?;
        let Some(seat) = self.seats.get_mut(&member) else { return Ok(()) };
        if seat.answered == Some(fx.at()) {
            seat.asks = Some(vector.into());
            self.answers_at.get_or_insert_with(|| fx.at() + NEXT_TURN);
            return Ok(());
        }
        seat.answered = Some(fx.at());
        self.answer(member, vector, fx);
        Ok(())
    }

    fn answer(&mut self, member: MemberId, vector: &[u8], fx: &mut Effects<'_>) {
        let lacks = self.document.difference(vector);
        if self.sockets.has(member) {
            self.sockets.tell_lacks(member, &lacks, fx);
        } else {
            let head = Head::step2(lacks.len());
            let header = Header::new(FrameKind::Binary, head.as_bytes().len() + lacks.len());
            fx.share(member, [header.as_bytes(), head.as_bytes()].concat().into());
            fx.share(member, lacks);
        }
        for update in self.document.pending() {
            let head = Head::update(update.len());
            self.tell(member, &[head.as_bytes(), update], fx);
        }
        self.rest_at.get_or_insert_with(|| fx.at() + REST_AFTER);
    }

    /// Does what is due.
    pub(super) fn work(&mut self, fx: &mut Effects<'_>) {
        let now = fx.at();
        let is_due = |at: Option<_>| at.is_some_and(|at| at <= now);
        if is_due(self.answers_at) {
            self.answer_all(fx);
        }
        if is_due(self.read_only_until) {
            self.try_to_write(fx);
        }
        if is_due(self.rest_at) {
            self.rest_at = None;
            self.document.rest();
            self.sockets.rest();
        }
    }

    fn answer_all(&mut self, fx: &mut Effects<'_>) {
        self.answers_at = None;
        let mut asking: Vec<(MemberId, Box<[u8]>)> = self
            .seats
            .iter_mut()
            .filter_map(|(&member, seat)| Some((member, seat.asks.take()?)))
            .collect();
        asking.sort_unstable_by_key(|&(member, _)| member);
        for (member, vector) in asking {
            if let Some(seat) = self.seats.get_mut(&member) {
                seat.answered = Some(fx.at());
            }
            self.answer(member, &vector, fx);
        }
    }

    /// If changes can be recorded again: whoever was denied is asked for what it has changed.
    fn try_to_write(&mut self, fx: &mut Effects<'_>) {
        if fx.is_read_only() {
            self.read_only_until = Some(fx.at() + READ_ONLY_POLL);
            return;
        }
        self.read_only_until = None;
        let denied = self.seats.iter_mut().filter(|(_, seat)| seat.was_denied && seat.may_write);
        let mut members: Vec<MemberId> = denied
            .map(|(&member, seat)| {
                seat.was_denied = false;
                member
            })
            .collect();
        members.sort_unstable();
        members.into_iter().for_each(|member| self.ask(member, fx));
    }
}

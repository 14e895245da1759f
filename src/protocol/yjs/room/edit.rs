//! How a document changes, and how members are told what they lack.

use bytes::Bytes;

use super::{APPLY_AFTER, NEXT_TURN, READ_ONLY_POLL, REST_AFTER, Room, malformed};
use crate::codec::ysync::{Head, check_state_vector, check_update, permission_denied};
use crate::protocol::yjs::REFUSED;
use crate::protocol::yjs::document::{Applied, Culprits};
use crate::session::frame::{FrameKind, Header};
use crate::session::{Close, Effects, MemberId};

/// What an entry in the journal begins with: an update.
pub(super) const UPDATE: u8 = b'U';

const READ_ONLY_MEMBER: &str = "You may only read this document";
const READ_ONLY_ROOM: &str = "The server can store no changes now; yours are asked for again";

impl Room {
    /// A member tells what has changed: it is recorded and relayed, and applied later.
    pub(super) fn on_update(
        &mut self,
        member: MemberId,
        update: &[u8],
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        if check_update(update).map_err(malformed)?.is_empty() || !self.takes_from(member, fx) {
            return Ok(());
        }
        self.relay(member, update, fx);
        self.document.push(update, Some(member));
        self.apply_at.get_or_insert_with(|| fx.at() + APPLY_AFTER);
        if self.document.is_behind() {
            self.apply(fx)?;
        }
        Ok(())
    }

    /// A member tells what the server lacked. Every client says so when it comes, and says again
    /// what is deleted: only news is recorded and relayed.
    pub(super) fn on_step2(
        &mut self,
        member: MemberId,
        update: &[u8],
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        if check_update(update).map_err(malformed)?.is_empty() || !self.takes_from(member, fx) {
            return Ok(());
        }
        let result = self.document.apply_now(update);
        let (applied, culprits) = result.map_err(|error| self.fail(error, fx))?;
        self.close_all(culprits, fx);
        self.apply_at = None;
        match applied {
            Applied::New => self.relay(member, update, fx),
            Applied::Known => {}
            Applied::Refused => return Err(REFUSED),
        }
        Ok(())
    }

    /// Whether a member's changes can be taken; if not it is told, once.
    fn takes_from(&mut self, member: MemberId, fx: &mut Effects<'_>) -> bool {
        let Some(seat) = self.seats.get_mut(&member) else { return false };
        let reason = if !seat.may_write {
            READ_ONLY_MEMBER
        } else if fx.is_read_only() {
            self.read_only_until.get_or_insert_with(|| fx.at() + READ_ONLY_POLL);
            READ_ONLY_ROOM
        } else {
            return true;
        };
        if !std::mem::replace(&mut seat.was_denied, true) {
            fx.reply(member, FrameKind::Binary, &[&permission_denied(reason)]);
        }
        false
    }

    fn relay(&mut self, member: MemberId, update: &[u8], fx: &mut Effects<'_>) {
        fx.record(&[&[UPDATE], update]);
        let head = Head::update(update.len());
        fx.append_except(member, FrameKind::Binary, &[head.as_bytes(), update]);
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
        self.apply(fx)?;
        self.answer(member, vector, fx)
    }

    fn answer(
        &mut self,
        member: MemberId,
        vector: &[u8],
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let lacks = self.document.difference(vector).map_err(|error| self.fail(error, fx))?;
        let head = Head::step2(lacks.len());
        let header = Header::new(FrameKind::Binary, head.as_bytes().len() + lacks.len());
        fx.share(member, [header.as_bytes(), head.as_bytes()].concat().into());
        fx.share(member, lacks);
        self.rest_at.get_or_insert_with(|| fx.at() + REST_AFTER);
        Ok(())
    }

    /// Applies what waits. Whoever has said what cannot be applied is closed.
    pub(super) fn apply(&mut self, fx: &mut Effects<'_>) -> Result<(), Close> {
        self.apply_at = None;
        if self.document.has_unapplied() {
            let culprits = self.document.apply().map_err(|error| self.fail(error, fx))?;
            self.close_all(culprits, fx);
        }
        Ok(())
    }

    /// What the document has.
    pub(super) fn vector(&mut self, fx: &mut Effects<'_>) -> Result<Bytes, Close> {
        self.apply(fx)?;
        self.document.vector().map_err(|error| self.fail(error, fx))
    }

    fn close_all(&mut self, culprits: Culprits, fx: &mut Effects<'_>) {
        for member in culprits {
            fx.counters.violations.increment();
            // It may be gone, and another in its seat: then that one comes back.
            if self.seats.contains_key(&member) {
                fx.close(member, REFUSED);
            }
        }
    }

    /// Does what is due.
    pub(super) fn work(&mut self, fx: &mut Effects<'_>) {
        let now = fx.at();
        let is_due = |at: Option<_>| at.is_some_and(|at| at <= now);
        // An error means that everybody was sent away.
        if is_due(self.apply_at) && self.apply(fx).is_err() {
            return;
        }
        if is_due(self.answers_at) && self.answer_all(fx).is_err() {
            return;
        }
        if is_due(self.read_only_until) {
            self.try_to_write(fx);
        }
        if is_due(self.rest_at) {
            self.rest_at = None;
            if self.apply(fx).is_ok()
                && let Err(error) = self.document.rest()
            {
                self.fail(error, fx);
            }
        }
    }

    fn answer_all(&mut self, fx: &mut Effects<'_>) -> Result<(), Close> {
        self.answers_at = None;
        self.apply(fx)?;
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
            self.answer(member, &vector, fx)?;
        }
        Ok(())
    }

    /// If changes can be recorded again: whoever was denied is asked for what it has changed.
    fn try_to_write(&mut self, fx: &mut Effects<'_>) {
        if fx.is_read_only() {
            self.read_only_until = Some(fx.at() + READ_ONLY_POLL);
            return;
        }
        self.read_only_until = None;
        let Ok(vector) = self.vector(fx) else { return };
        let denied = self.seats.iter_mut().filter(|(_, seat)| seat.was_denied && seat.may_write);
        let mut members: Vec<MemberId> = denied
            .map(|(&member, seat)| {
                seat.was_denied = false;
                member
            })
            .collect();
        members.sort_unstable();
        let head = Head::step1(vector.len());
        for member in members {
            fx.reply(member, FrameKind::Binary, &[head.as_bytes(), &vector]);
        }
    }
}

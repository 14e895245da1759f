//! What members of a room say.

use std::time::Duration;

use super::{Room, Seat, tell};
use crate::protocol::gallery::carry::{ConnId, Return, ToHall, pack};
use crate::protocol::gallery::decode::{self, Action, INVALID_MESSAGE, JoinAsk, Request};
use crate::protocol::gallery::hall::reply;
use crate::protocol::gallery::relay::{Inner, Kind, Verdict};
use crate::protocol::gallery::stored;
use crate::protocol::gallery::user::User;
use crate::protocol::gallery::{HALL, OVERLOADED, encode};
use crate::session::frame::FrameKind;
use crate::session::{Close, Droppable, Effects, MemberId};

/// Messages that may wait behind a question to the hall, in bytes.
const SAID_BYTES_MAX: usize = 1 << 20;
/// And in number.
const SAID_MAX: usize = 512;

impl Room {
    /// A member says something.
    pub(super) fn hear(
        &mut self,
        member: MemberId,
        text: &str,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let Some(seat) = self.seats.get_mut(&member) else { return Ok(()) };
        if let Some(said) = &mut seat.asking {
            let bytes: usize = said.iter().map(|text| text.len()).sum();
            if said.len() == SAID_MAX || bytes + text.len() > SAID_BYTES_MAX {
                return Err(OVERLOADED);
            }
            said.push_back(text.into());
            return Ok(());
        }
        seat.seen_ms = fx.now.wall_ms;
        let Some(request) = decode::request(text) else {
            reply(member, &encode::error(INVALID_MESSAGE, Some("null")), fx);
            return Ok(());
        };
        if let Err(why) = self.dispatch(member, &request, fx) {
            reply(member, &encode::error(&why, request.id), fx);
        }
        Ok(())
    }

    /// Hears what a member said before it could be heard.
    pub(super) fn catch_up(&mut self, member: MemberId, fx: &mut Effects<'_>) -> Result<(), Close> {
        while let Some(text) = self.said.pop_front() {
            if let Err(close) = self.hear(member, &text, fx) {
                self.said.clear();
                return Err(close);
            }
        }
        Ok(())
    }

    pub(super) fn dispatch(
        &mut self,
        member: MemberId,
        request: &Request<'_>,
        fx: &mut Effects<'_>,
    ) -> Result<(), String> {
        match request.action {
            Action::Broadcast | Action::Send => self.relay(member, request, fx),
            Action::Create => {
                let ask = request.create(self.config())?;
                if let Some(seat) = self.seats.get_mut(&member) {
                    seat.asking = Some(Box::default());
                    tell(&ToHall::Create(seat.conn, ask), fx);
                }
            }
            Action::Join => {
                let ask = request.join()?;
                if *ask.room == *self.id {
                    if let Some(why) = self.refusal(&ask, true) {
                        return Err(why.to_owned());
                    }
                    self.introduce(member, ask, true, fx);
                } else {
                    self.go(member, Some(ask), fx);
                }
            }
            Action::Leave => self.go(member, None, fx),
            Action::Unknown(action) => return Err(Action::complaint(action)),
        }
        Ok(())
    }

    /// A member leaves, to another room or to none.
    pub(super) fn go(&mut self, member: MemberId, join: Option<JoinAsk>, fx: &mut Effects<'_>) {
        if let Some(Seat { conn, user, .. }) = self.leave(member, fx) {
            self.send_back(member, conn, user, None, join, fx);
        }
    }

    pub(super) fn send_back(
        &mut self,
        member: MemberId,
        conn: ConnId,
        user: User,
        reply: Option<String>,
        join: Option<JoinAsk>,
        fx: &mut Effects<'_>,
    ) {
        let said = std::mem::take(&mut self.said);
        let carry = pack(&Return { conn, user, reply, join, said });
        fx.transfer(member, HALL.to_owned(), carry);
    }

    pub(super) fn relay(&mut self, member: MemberId, request: &Request<'_>, fx: &mut Effects<'_>) {
        let to_all = request.action == Action::Broadcast;
        let epoch = self.kept_epoch();
        let Self { seats, state, config, .. } = self;
        let (Some(seat), config) = (seats.get(&member), &config.gallery) else { return };
        let Some(message) = request.message() else {
            return reply(member, &encode::error(INVALID_MESSAGE, Some("null")), fx);
        };
        let inner = Inner::new(message);
        let (mut changed, mut bytes) = (false, 0);
        let verdict = if !to_all {
            inner.judge_private(&seat.user, state, config)
        } else if epoch.is_some() && inner.kind.is_kept() && fx.is_read_only() {
            inner.judge_read_only(&seat.user, state, config)
        } else {
            inner.judge(&seat.user, state, config, fx.at(), &mut |change| {
                if let Some(epoch) = epoch.filter(|_| inner.kind.is_kept()) {
                    (changed, bytes) = (true, stored::record(change, epoch, fx));
                }
            })
        };
        if let Some((why, is_answer)) = verdict.complaint() {
            let id = if is_answer { request.id } else { Some("null") };
            reply(member, &encode::error(why, id), fx);
            if let Verdict::Heal(_) = verdict {
                let mut json = String::new();
                state.write(&mut json);
                reply(member, &encode::state_full(&json, fx.now.wall_ms), fx);
            }
            return;
        }
        let parts = inner.parts(seat.user.stamp());
        if to_all && let Kind::Fleeting(kind) = inner.kind {
            let how = Droppable {
                class: kind.class(seat.serial),
                except: Some(member),
                within: Duration::from_millis(config.pose_interval_ms),
            };
            fx.append_droppable(how, FrameKind::Text, &parts);
        } else if to_all {
            fx.append_except(member, FrameKind::Text, &parts);
        } else if let Some((&target, _)) =
            seats.iter().find(|(_, seat)| request.is_for(seat.user.id()))
        {
            fx.reply(target, FrameKind::Text, &parts);
        }
        drop(parts);
        if changed {
            self.note_recorded(bytes, fx);
        }
    }

    pub(super) fn on_answer(&mut self, conn: ConnId, text: &str, fx: &mut Effects<'_>) {
        let Some(member) = self.member_of(conn) else { return };
        let Some(seat) = self.seats.get_mut(&member) else { return };
        let Some(said) = seat.asking.take() else { return };
        reply(member, text, fx);
        self.said = *said;
        if let Err(close) = self.catch_up(member, fx) {
            fx.close(member, close);
        }
    }
}

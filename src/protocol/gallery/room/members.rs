//! Who comes into a room and who leaves it, and what the others hear of that.

use std::time::Duration;

use super::{Kept, Room, Seat, tell};
use crate::protocol::gallery::carry::{ConnId, ToHall, Visit};
use crate::protocol::gallery::decode::JoinAsk;
use crate::protocol::gallery::hall::reply;
use crate::protocol::gallery::state::Change;
use crate::protocol::gallery::user::{Role, User};
use crate::protocol::gallery::{REPLACED, encode};
use crate::protocol::is_same_secret;
use crate::session::frame::FrameKind;
use crate::session::{Close, Effects, MemberId};

const FULL: &str = "Room is full";
const WRONG_PASSWORD: &str = "Invalid password";

impl Room {
    /// Lets a member in, or sends it back (§2).
    pub(super) fn admit(
        &mut self,
        member: MemberId,
        visit: Visit,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let Visit { conn, user, ask, claim, said, .. } = visit;
        let old = self.seat_of(user.id()).map(|(member, seat)| (member, seat.conn, seat.serial));
        if let Some((_, other, _)) = old
            && other > conn
        {
            tell(&ToHall::Left(conn), fx);
            return Err(REPLACED);
        }
        self.said = said;
        let kept = self.kept.iter().position(|kept| kept.user.id() == user.id());
        let is_known = old.is_some() || kept.is_some();
        if let Some(why) = self.refusal(&ask, is_known) {
            let text = encode::error(why, ask.request_id.as_deref());
            self.send_back(member, conn, user, Some(text), None, fx);
            return Ok(());
        }
        let mut serial = None;
        if let Some((old, conn, place)) = old {
            // Newest wins: to the others nothing happens.
            self.seats.remove(&old);
            tell(&ToHall::Left(conn), fx);
            fx.close(old, REPLACED);
            serial = Some(place);
        } else if let Some(at) = kept {
            serial = Some(self.kept.remove(at).serial);
        }
        let is_new = serial.is_none();
        let serial = serial.unwrap_or(self.next_serial);
        self.next_serial = self.next_serial.max(serial + 1);
        let seen_ms = fx.now.wall_ms;
        let seat = Seat { conn, serial, user, seen_ms, claim, asking: None };
        self.seats.insert(member, Box::new(seat));
        tell(&ToHall::Entered(conn), fx);
        self.introduce(member, ask, is_new, fx);
        fx.admit(member);
        fx.listen(member);
        self.catch_up(member, fx)
    }

    pub(super) fn refusal(&self, ask: &JoinAsk, is_known: bool) -> Option<&'static str> {
        let terms = self.terms.as_ref()?;
        let users = self.seats.len() + self.kept.len();
        if users >= terms.users_max as usize && !is_known {
            return Some(FULL);
        }
        let password = terms.password.as_deref()?;
        let given = ask.password.as_deref().unwrap_or_default();
        (!is_same_secret(password, given)).then_some(WRONG_PASSWORD)
    }

    /// Tells a member where it is, and the others who it is.
    pub(super) fn introduce(
        &mut self,
        member: MemberId,
        ask: JoinAsk,
        is_news: bool,
        fx: &mut Effects<'_>,
    ) {
        let role_is_signed = self.config().role_secret.is_some();
        let one_host = self.config().one_host;
        let Some(seat) = self.seats.get_mut(&member) else { return };
        if let Some(info) = ask.info {
            seat.user.update(info);
        }
        if role_is_signed {
            seat.user.role = seat.claim.unwrap_or(Role::Viewer);
        }
        seat.seen_ms = fx.now.wall_ms;
        if one_host && seat.user.role == Role::Host {
            let hosts = self.seats.values().filter(|seat| seat.user.role == Role::Host).count();
            if hosts > 1
                && let Some(seat) = self.seats.get_mut(&member)
            {
                seat.user.role = Role::Editor;
            }
        }
        let Some(terms) = &self.terms else { return };
        let (users, mut state) = (self.users_json(), String::new());
        self.state.write(&mut state);
        let request_id = ask.request_id.as_deref();
        let joined = encode::room_joined(request_id, &self.id, &users, &state, terms.created_ms);
        reply(member, &joined, fx);
        if is_news {
            self.announce(member, fx);
        }
    }

    /// Tells the others who a member is.
    pub(super) fn announce(&self, member: MemberId, fx: &mut Effects<'_>) {
        let Some(seat) = self.seats.get(&member) else { return };
        let mut user = String::new();
        seat.user.write(seat.seen_ms, &mut user);
        let event = encode::user_joined(&user);
        fx.append_except(member, FrameKind::Text, &[event.as_bytes()]);
    }

    /// Takes a member out and tells the others.
    pub(super) fn leave(&mut self, member: MemberId, fx: &mut Effects<'_>) -> Option<Seat> {
        let seat = self.seats.remove(&member)?;
        let event = encode::user_left(seat.user.id());
        fx.append_except(member, FrameKind::Text, &[event.as_bytes()]);
        self.on_user_gone(&seat.user, fx);
        Some(*seat)
    }

    pub(super) fn on_user_gone(&mut self, user: &User, fx: &mut Effects<'_>) {
        let max = self.config().state_bytes_max;
        let _ = self.state.apply(Change::Unfocus { owner: user.id() }, fx.at(), max);
        let hosts = self.seats.values().filter(|seat| seat.user.role == Role::Host).count();
        if self.config().one_host && user.role == Role::Host && hosts == 0 {
            self.promote(fx);
        }
    }

    /// The editor that is here for the longest time becomes the host.
    pub(super) fn promote(&mut self, fx: &mut Effects<'_>) {
        let editors = self.seats.values_mut().filter(|seat| seat.user.role == Role::Editor);
        let Some(oldest) = editors.min_by_key(|seat| seat.serial) else { return };
        oldest.user.role = Role::Host;
        let mut user = String::new();
        oldest.user.write(oldest.seen_ms, &mut user);
        fx.append(FrameKind::Text, &[encode::user_joined(&user).as_bytes()]);
    }

    /// A member is closed because a newer connection has come; that one finds its place here.
    pub(super) fn keep_place(&mut self, conn: ConnId, fx: &mut Effects<'_>) {
        let Some(member) = self.member_of(conn) else { return };
        let Some(seat) = self.seats.remove(&member) else { return };
        let until = fx.at() + Duration::from_millis(self.config().replaced_grace_ms);
        let Seat { serial, user, seen_ms, .. } = *seat;
        self.kept.push(Kept { serial, user, seen_ms, until });
        fx.close(member, REPLACED);
        tell(&ToHall::Left(conn), fx);
    }

    pub(super) fn give_up_places(&mut self, is_over: impl Fn(&Kept) -> bool, fx: &mut Effects<'_>) {
        let (gone, kept) = self.kept.drain(..).partition(|kept| is_over(kept));
        self.kept = kept;
        let gone: Vec<Kept> = gone;
        for Kept { user, .. } in gone {
            fx.append(FrameKind::Text, &[encode::user_left(user.id()).as_bytes()]);
            self.on_user_gone(&user, fx);
        }
    }

    pub(super) fn member_of(&self, conn: ConnId) -> Option<MemberId> {
        self.seats.iter().find(|(_, seat)| seat.conn == conn).map(|(&member, _)| member)
    }

    pub(super) fn seat_of(&self, user_id: &str) -> Option<(MemberId, &Seat)> {
        let mut seats = self.seats.iter();
        seats.find(|(_, seat)| seat.user.id() == user_id).map(|(&member, seat)| (member, &**seat))
    }

    /// Users in the order of joining, as a JSON array.
    pub(super) fn users_json(&self) -> String {
        let here = self.seats.values().map(|seat| (seat.serial, &seat.user, seat.seen_ms));
        let kept = self.kept.iter().map(|kept| (kept.serial, &kept.user, kept.seen_ms));
        let mut users: Vec<_> = here.chain(kept).collect();
        users.sort_by_key(|&(serial, ..)| serial);
        let mut json = String::from("[");
        for (at, (_, user, seen_ms)) in users.into_iter().enumerate() {
            json.push_str(if at > 0 { "," } else { "" });
            user.write(seen_ms, &mut json);
        }
        json.push(']');
        json
    }
}

//! How connections come into the hall and how they are lost.

use super::{Hall, Seat, random_name, reply, tell};
use crate::protocol::gallery::carry::{ConnId, Return, ToRoom, unpack};
use crate::protocol::gallery::directory::{Conn, Place};
use crate::protocol::gallery::user::User;
use crate::protocol::gallery::{BAD_API_KEY, BAD_USER_ID, CONFUSED, REPLACED, encode, is_id};
use crate::protocol::{Hello, is_same_secret, query};
use crate::session::{Close, Effects, MemberId};

/// Longest signed role, in bytes.
const TOKEN_BYTES_MAX: usize = 512;

impl Hall {
    /// A connection from outside (§1).
    pub(super) fn welcome(
        &mut self,
        member: MemberId,
        hello: &Hello,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let given = |name| query::parameter(&hello.target, name);
        if let Some(key) = &self.config().api_key
            && !is_same_secret(key, &given("apiKey").unwrap_or_default())
        {
            return Err(BAD_API_KEY);
        }
        let user_id = given("userId").filter(|id| !id.is_empty());
        let user_id = user_id.unwrap_or_else(|| format!("user-{}", random_name(fx.random)));
        if !is_id(&user_id) {
            return Err(BAD_USER_ID);
        }
        let mut conn = Conn::new(&user_id, &hello.user_ip, member);
        if self.config().role_secret.is_some()
            && let Some(token) = given("token").filter(|token| token.len() <= TOKEN_BYTES_MAX)
        {
            conn.set_token(&token);
        }
        let id = self.directory.number(fx.now);
        if let Some(old) = self.directory.add_conn(id, conn) {
            self.replace(old, id, fx);
        }
        self.seats.insert(member, Seat { conn: id, user: User::new(&user_id) });
        fx.admit(member);
        reply(member, &encode::connected(&user_id), fx);
        Ok(())
    }

    /// The newer of two connections of one user wins (§5).
    pub(super) fn replace(&mut self, old: ConnId, new: ConnId, fx: &mut Effects<'_>) {
        let Some(conn) = self.directory.conn(old) else { return };
        conn.replaced = true;
        let mut inherited = conn.take_inherited();
        match conn.place.clone() {
            Place::Hall(member) => {
                self.seats.remove(&member);
                self.directory.remove_conn(old, fx.now);
                fx.close(member, REPLACED);
            }
            Place::Room(room, _) => {
                tell(&room, &ToRoom::Replaced(old), fx);
                inherited = Some((*room).into());
            }
        }
        if let (Some(conn), Some(room)) = (self.directory.conn(new), inherited) {
            conn.inherit(room);
        }
    }

    /// A connection comes back from a room.
    pub(super) fn take_back(
        &mut self,
        member: MemberId,
        hello: &Hello,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let Return { mut conn, user, reply: text, join, said } =
            unpack(&hello.carry).ok_or(CONFUSED)?;
        match self.directory.conn(conn) {
            Some(known) if known.replaced => {
                self.forget(conn, fx);
                return Err(REPLACED);
            }
            Some(_) => self.directory.take_conn_back(conn, member, fx.now),
            // Of a hall that was lost by a fault: as if it came from outside.
            None => {
                conn = self.directory.number(fx.now);
                let known = Conn::new(user.id(), &hello.user_ip, member);
                if let Some(old) = self.directory.add_conn(conn, known) {
                    self.replace(old, conn, fx);
                }
            }
        }
        self.seats.insert(member, Seat { conn, user });
        if let Some(text) = text {
            reply(member, &text, fx);
        }
        self.said = said;
        if let Some(ask) = join {
            self.join(member, ask, fx);
        }
        while let Some(text) = self.said.pop_front() {
            self.hear(member, &text, fx);
        }
        Ok(())
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, conn: ConnId, fx: &mut Effects<'_>) {
        let Some(mut gone) = self.directory.remove_conn(conn, fx.now) else { return };
        if let Some(room) = gone.take_inherited() {
            tell(&room, &ToRoom::Release(gone.user_id().into()), fx);
        }
    }
}

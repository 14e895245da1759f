//! How rooms come to be, are found, and end.

use super::{Hall, Seat, random_name, reply, tell};
use crate::protocol::Removal;
use crate::protocol::gallery::carry::{ConnId, Terms, ToHall, ToRoom, Visit, pack, unpack};
use crate::protocol::gallery::decode::{CreateAsk, JoinAsk};
use crate::protocol::gallery::directory::{Conn, Recorded};
use crate::protocol::gallery::user::Role;
use crate::protocol::gallery::{Config, ROOM_PREFIX, encode, room_key, token};
use crate::session::{Effects, Instant, MemberId, Now};

const AT_CAPACITY: &str = "Server at capacity";
const EXISTS: &str = "Room already exists";
const READ_ONLY: &str = "Server is read-only";
const TOO_MANY_ROOMS: &str = "Too many rooms created";

impl Hall {
    /// Creates a room; the answer to whoever wants it.
    pub(super) fn create(&mut self, conn: ConnId, ask: &CreateAsk, fx: &mut Effects<'_>) -> String {
        let request_id = ask.request_id.as_deref();
        let mut id = ask.room.clone();
        let mut random = fx.random;
        while id.is_empty() || ask.room.is_empty() && self.directory.room(&id).is_some() {
            id = format!("room-{}", random_name(random)).into();
            random = random.wrapping_add(1);
        }
        let is_kept = ask.persistent && self.durable;
        let refused = (is_kept && fx.is_read_only()).then_some(READ_ONLY);
        if let Some(why) = refused.or_else(|| self.refusal(conn, &id, fx.at())) {
            return encode::error(why, request_id);
        }
        let terms = Terms {
            epoch: self.directory.number(fx.now),
            created_ms: fx.now.wall_ms,
            users_max: ask.users_max,
            password: ask.password.clone(),
            persistent: ask.persistent,
        };
        if is_kept {
            self.keep(&Recorded::Created { id: id.clone(), terms: terms.clone() }, fx);
        }
        let answer = encode::room_created(request_id, &id);
        self.directory.add_room(id, terms, fx.now);
        answer
    }

    /// Why the room cannot be created, if so.
    pub(super) fn refusal(
        &mut self,
        conn: ConnId,
        room: &str,
        now: Instant,
    ) -> Option<&'static str> {
        let Config { rooms_max, creations_per_minute_max, .. } = *self.config();
        if self.directory.rooms() >= rooms_max {
            return Some(AT_CAPACITY);
        }
        if self.directory.room(room).is_some() {
            return Some(EXISTS);
        }
        let Self { directory, creations, .. } = self;
        let address = directory.conn(conn).map_or("", |conn| conn.user_ip());
        let allowed = creations.allow(address, creations_per_minute_max, now);
        (!allowed).then_some(TOO_MANY_ROOMS)
    }

    /// Removes a room in which nobody is, for an operator.
    pub(super) fn remove(&mut self, room: &str, fx: &mut Effects<'_>) -> Removal {
        let Some(entry) = self.directory.room(room) else { return Removal::Absent };
        let Terms { epoch, persistent, .. } = entry.terms;
        if self.directory.is_in_use(room) {
            return Removal::InUse;
        }
        let is_kept = persistent && self.durable;
        if is_kept && fx.is_read_only() {
            return Removal::NotReady;
        }
        self.directory.remove_room(room);
        if is_kept {
            self.keep(&Recorded::Removed { id: room.into(), epoch }, fx);
        }
        tell(room, &ToRoom::Remove { epoch, persistent }, fx);
        Removal::Removed
    }

    /// Sends a member to a room, which is made if it does not exist (§2).
    pub(super) fn join(&mut self, member: MemberId, ask: JoinAsk, fx: &mut Effects<'_>) {
        let Some(seat) = self.seats.get(&member) else { return };
        let conn = seat.conn;
        if self.directory.room(&ask.room).is_none() {
            if let Some(why) = self.refusal(conn, &ask.room, fx.at()) {
                return reply(member, &encode::error(why, ask.request_id.as_deref()), fx);
            }
            let terms = self.default_terms(fx.now);
            self.directory.add_room(ask.room.clone(), terms, fx.now);
        }
        let Some(Seat { user, .. }) = self.seats.remove(&member) else { return };
        let claim = self.claim(conn, user.id(), &ask.room, fx.now);
        let Some((terms, sequence)) = self.directory.send_conn(conn, &ask.room, fx.now) else {
            return;
        };
        let inherited = self.directory.conn(conn).and_then(Conn::take_inherited);
        if let Some(room) = inherited.filter(|room| *room != ask.room) {
            tell(&room, &ToRoom::Release(user.id().into()), fx);
        }
        let key = room_key(&ask.room);
        let said = std::mem::take(&mut self.said);
        let visit = Visit { conn, user, ask, claim, terms, sequence, said };
        fx.transfer(member, key, pack(&visit));
    }

    /// The role that was signed for a connection, if roles are.
    pub(super) fn claim(&mut self, conn: ConnId, user: &str, room: &str, now: Now) -> Option<Role> {
        let secret = self.config.gallery.role_secret.as_deref()?;
        let token = self.directory.conn(conn)?.token()?;
        token::granted(secret, token, user, room, now.wall_ms)
    }

    pub(super) fn default_terms(&mut self, now: Now) -> Terms {
        Terms {
            epoch: self.directory.number(now),
            created_ms: now.wall_ms,
            users_max: self.config().users_max_default,
            password: None,
            persistent: false,
        }
    }

    pub(super) fn on_room_told(&mut self, from: &str, body: &[u8], fx: &mut Effects<'_>) {
        let (Some(room), Some(told)) = (from.strip_prefix(ROOM_PREFIX), unpack(body)) else {
            debug_assert!(false, "{from} said what only rooms say");
            return;
        };
        match told {
            // It was on its way when it was replaced: the room did not know it then.
            ToHall::Entered(conn) => {
                if self.directory.conn(conn).is_some_and(|conn| conn.replaced) {
                    tell(room, &ToRoom::Replaced(conn), fx);
                }
            }
            ToHall::Left(conn) => self.forget(conn, fx),
            ToHall::Empty { epoch, sequence, was_used } => {
                if self.ends(room, epoch, sequence, was_used) {
                    tell(room, &ToRoom::Close { epoch, sequence }, fx);
                }
            }
            ToHall::Create(conn, ask) => {
                let answer = self.create(conn, &ask, fx);
                tell(room, &ToRoom::Answer(conn, answer), fx);
            }
        }
    }

    /// Whether the session of an empty room may end: not if somebody is on the way there. Once it was
    /// used the room is deleted with it, unless it is persistent.
    pub(super) fn ends(&mut self, room: &str, epoch: u64, sequence: u64, was_used: bool) -> bool {
        let Some(entry) = self.directory.room(room) else { return true };
        if entry.terms.epoch != epoch {
            return true;
        }
        let ends = entry.sequence == sequence && !entry.terms.persistent;
        if ends && was_used {
            self.directory.remove_room(room);
        }
        ends
    }
}

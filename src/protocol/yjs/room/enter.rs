//! How somebody comes in.

use super::{KEEP_ALIVE, Kind, Room, Seat};
use crate::protocol::Hello;
use crate::protocol::yjs::lobby::complain;
use crate::protocol::yjs::native::{self, Visit};
use crate::protocol::yjs::socketio::Socket;
use crate::protocol::yjs::{ROOM_FULL, SERVER_FULL, access};
use crate::session::frame::FrameKind;
use crate::session::{Close, Effects, MemberId};

impl Room {
    /// Somebody comes, straight or from the lobby.
    pub(super) fn enter(
        &mut self,
        member: MemberId,
        hello: &Hello,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        if let Some(socket) = Socket::unpack(&hello.carry) {
            return self.enter_socket(member, socket, fx);
        }
        let visit = Visit::unpack(&hello.carry);
        if let Err(close) = self.check_room(visit.is_some()) {
            if visit.is_some() {
                complain(member, close.reason, fx);
            }
            return Err(close);
        }
        let may_write = match &visit {
            Some(visit) => visit.may_write,
            None => access::may_write(&hello.target, self.config())?,
        };
        fx.admit(member);
        if let Some(visit) = &visit {
            fx.reply(member, FrameKind::Text, &[&native::joined(&self.name, visit)]);
        }
        self.ask(member, fx);
        self.tell_everybody_there(member, fx);
        fx.listen(member);
        self.keep_alive_at.get_or_insert_with(|| fx.at() + KEEP_ALIVE);
        self.seat(
            member,
            visit.map_or(Kind::YWebsocket, |visit| Kind::Native(visit.id)),
            may_write,
        );
        Ok(())
    }

    fn enter_socket(
        &mut self,
        member: MemberId,
        socket: Socket,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        if let Err(close) = self.check_room(true) {
            Self::turn_away(member, &socket, close, fx);
            return Ok(());
        }
        fx.admit(member);
        self.sockets.insert(member, &self.name);
        let may_write = socket.may_write;
        self.seat(member, Kind::Socket(Box::new(socket)), may_write);
        self.welcome(member, fx);
        Ok(())
    }

    fn seat(&mut self, member: MemberId, kind: Kind, may_write: bool) {
        (self.empty_since, self.was_used) = (None, true);
        let seat = Seat { kind, may_write, was_denied: false, answered: None, asks: None };
        self.seats.insert(member, seat);
    }

    /// Whether there is room for one more.
    fn check_room(&self, is_zeal: bool) -> Result<(), Close> {
        let config = self.config();
        let (rooms, clients) = if is_zeal {
            (config.native_rooms_max, config.native_clients_per_room_max)
        } else {
            (config.rooms_max, config.clients_per_room_max)
        };
        if !self.was_used && config.census.rooms() > rooms {
            return Err(SERVER_FULL);
        }
        if self.seats.len() >= clients { Err(ROOM_FULL) } else { Ok(()) }
    }
}

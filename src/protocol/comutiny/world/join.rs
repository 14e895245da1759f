//! Joining and leaving (specs: comutiny §3, §4).

use std::time::Duration;

use super::{Seat, World};
use crate::codec::json::{Raw, write_string};
use crate::protocol::comutiny::avatars::Avatar;
use crate::protocol::comutiny::fault::Fault;
use crate::protocol::comutiny::metadata::Metadata;
use crate::protocol::comutiny::payload::{is_object, pick, text};
use crate::protocol::comutiny::player::{Player, Said};
use crate::protocol::comutiny::players::Order;
use crate::protocol::comutiny::{ID_BYTES_MAX, identity};
use crate::protocol::js;
use crate::protocol::socketio::{Io, Socket};
use crate::session::Instant;

/// Joins of one client that have an effect, a second, sustained: each is answered with all of the
/// world.
pub(in crate::protocol::comutiny) const JOINS_PER_SECOND_MAX: u32 = 2;
/// How many of them may come at once.
pub(in crate::protocol::comutiny) const JOINS_BURST_MAX: u32 = 10;

/// What a client whose player was taken over is told.
const REPLACED: &[u8] = br#"{"reason":"session:replaced"}"#;

impl World {
    /// A client plays somebody from now on. What was said of that player before is forgotten.
    pub(super) fn join(
        &mut self,
        socket: Socket,
        payload: Option<Raw<'_>>,
        io: &mut Io<'_, '_>,
    ) -> Result<(), Fault> {
        let [id] = pick(payload, &["playerId"]);
        let id = text(id).ok_or(Fault::NoPlayerId)?;
        let id = js::trim(&id);
        self.check_id(socket, id)?;
        let player = self.player(id, payload, socket)?;
        let taken = self.players.find(id);
        self.check_room(&player, taken)?;
        self.check_rate(socket, io.at())?;

        let seat = self.seats.get(&socket.member);
        if let Some(other) = seat.and_then(|seat| seat.plays).filter(|own| Some(*own) != taken) {
            self.depart(other, io);
        }
        let loser = taken.and_then(|order| self.players.get(order)).map(|player| player.owner);
        let order = self.players.put(player);
        self.forget_untold(order);
        if let Some(Seat { plays, .. }) = self.seats.get_mut(&socket.member) {
            *plays = Some(order);
        }
        if let Some(loser) = loser.filter(|loser| *loser != socket) {
            self.evict(loser, io);
        }
        self.answer_join(socket, order, io);
        Ok(())
    }

    fn check_id(&self, socket: Socket, id: &str) -> Result<(), Fault> {
        if id.len() > ID_BYTES_MAX {
            return Err(Fault::LongPlayerId);
        }
        let subject = self.seats.get(&socket.member).and_then(|seat| seat.subject.as_deref());
        if identity::may_be(self.config(), subject, id) {
            Ok(())
        } else {
            Err(Fault::NotTheSubject)
        }
    }

    /// The player that is asked for.
    fn player(
        &mut self,
        id: &str,
        payload: Option<Raw<'_>>,
        socket: Socket,
    ) -> Result<Player, Fault> {
        let class = self.players.new_class();
        let said = Said::of(payload);
        let avatar_id = self.avatar_id(payload, said);
        let avatar: Option<(&str, &Avatar)> =
            avatar_id.as_deref().and_then(|id| Some((id, self.config().catalogue.get(id)?)));
        let metadata = Metadata::joined(said.metadata, avatar);
        metadata.check(self.config().metadata_bytes_max)?;
        let named = avatar.and_then(|(_, avatar)| avatar.name.as_deref());
        Player::joined(id, said, named, metadata, socket, class)
    }

    fn avatar_id(&self, payload: Option<Raw<'_>>, said: Said<'_>) -> Option<Box<str>> {
        let [top] = pick(payload, &["avatarId"]);
        let [inner] = pick(said.metadata.filter(is_object), &["avatarId"]);
        let id = text(top).or_else(|| text(inner))?;
        Some(js::trim(&id).into())
    }

    /// Whether there is room for a player, in the place of the one that is there already.
    fn check_room(&self, player: &Player, taken: Option<Order>) -> Result<(), Fault> {
        let config = self.config();
        let before = taken.and_then(|order| self.players.get(order));
        if before.is_none() && self.players.len() >= config.players_max {
            return Err(Fault::Crowded(config.players_max));
        }
        let freed = before.map_or(0, |player| player.metadata.bytes());
        let bytes = self.players.metadata_bytes() - freed + player.metadata.bytes();
        // Whoever needs none may always come.
        if bytes > config.world_bytes_max && player.metadata.bytes() > freed {
            return Err(Fault::LongWorld(config.world_bytes_max));
        }
        Ok(())
    }

    /// Whether a client may join once more now; counts it if so.
    fn check_rate(&mut self, socket: Socket, now: Instant) -> Result<(), Fault> {
        let Some(seat) = self.seats.get_mut(&socket.member) else { return Ok(()) };
        let full_at = seat.joins_full_at.max(now) + Duration::from_secs(1) / JOINS_PER_SECOND_MAX;
        if full_at - now > Duration::from_secs(1) * JOINS_BURST_MAX / JOINS_PER_SECOND_MAX {
            return Err(Fault::ManyJoins);
        }
        seat.joins_full_at = full_at;
        Ok(())
    }

    /// A client has lost its player to another one, and goes.
    fn evict(&mut self, loser: Socket, io: &mut Io<'_, '_>) {
        self.seats.remove(&loser.member);
        if self.config().announce_disconnect {
            io.emit(loser, "session:disconnect", &[REPLACED]);
        }
        io.emit(loser, "session:terminated", &[REPLACED]);
        io.kick(loser);
    }

    /// Tells the others, and makes the acknowledgement what is said next.
    fn answer_join(&mut self, socket: Socket, order: Order, io: &mut Io<'_, '_>) {
        self.out.clear();
        if let Some(player) = self.players.get(order) {
            player.write(&mut self.out);
            io.broadcast_except(socket, "player:joined", &[&self.out]);
        }
        self.out.clear();
        self.out.extend_from_slice(b"{\"ok\":true,\"state\":");
        self.write_snapshot(io);
        self.out.extend_from_slice(b",\"player\":");
        if let Some(player) = self.players.get(order) {
            player.write(&mut self.out);
        }
        self.out.push(b'}');
    }

    /// A client plays nobody any more.
    pub(super) fn leave(&mut self, socket: Socket, io: &mut Io<'_, '_>) {
        let seat = self.seats.get_mut(&socket.member);
        if let Some(order) = seat.and_then(|seat| seat.plays.take()) {
            self.depart(order, io);
        }
    }

    /// A player goes.
    fn depart(&mut self, order: Order, io: &mut Io<'_, '_>) {
        self.forget_untold(order);
        let Some(player) = self.players.remove(order) else { return };
        self.out.clear();
        self.out.extend_from_slice(b"{\"id\":");
        write_string(&mut self.out, &player.id);
        self.out.push(b'}');
        io.broadcast_except(player.owner, "player:left", &[&self.out]);
    }
}

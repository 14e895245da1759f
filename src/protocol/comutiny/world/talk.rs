//! Moving and talking (specs: comutiny §3).

use std::borrow::Cow;
use std::time::Duration;

use super::World;
use crate::codec::json::Raw;
use crate::protocol::comutiny::ID_BYTES_MAX;
use crate::protocol::comutiny::chat::{Message, content};
use crate::protocol::comutiny::fault::Fault;
use crate::protocol::comutiny::payload::{is_object, pick, text};
use crate::protocol::comutiny::player::{Player, Said, name_of, name_of_player};
use crate::protocol::comutiny::players::Order;
use crate::protocol::js;
use crate::protocol::socketio::{Io, Socket};
use crate::session::Droppable;

/// The beginning of an acknowledgement whose player follows.
const UPDATED: &[u8] = b"{\"ok\":true,\"player\":";
/// The same of a message.
const SAID: &[u8] = b"{\"ok\":true,\"message\":";

/// Who a message is of.
struct Speaker<'a> {
    id: Cow<'a, str>,
    author: Cow<'a, str>,
}

impl World {
    /// A client's player changes.
    pub(super) fn update(
        &mut self,
        socket: Socket,
        payload: Option<Raw<'_>>,
        io: &mut Io<'_, '_>,
    ) -> Result<(), Fault> {
        let order = self.played_by(socket).ok_or(Fault::NotRegistered)?;
        let said = Said::of(payload);
        let metadata = said.metadata.filter(is_object);
        self.check_growth(order, metadata)?;
        let changed = self.players.change(order, |player| {
            player.update(said)?;
            metadata.into_iter().for_each(|metadata| player.metadata.merge(metadata));
            Ok(())
        });
        changed.ok_or(Fault::NotRegistered)??;
        if self.config().update_interval_ms == 0 {
            // What is said next is the answer already.
            self.tell(order, io);
        } else {
            self.hold(order, io);
            self.write_player(order);
        }
        Ok(())
    }

    fn played_by(&self, socket: Socket) -> Option<Order> {
        self.seats.get(&socket.member)?.plays
    }

    /// Whether a player's metadata may grow so. What is there is not looked at again: it was within
    /// the limits.
    fn check_growth(&self, order: Order, metadata: Option<Raw<'_>>) -> Result<(), Fault> {
        let (Some(player), Some(metadata)) = (self.players.get(order), metadata) else {
            return Ok(());
        };
        let growth = player.metadata.growth(metadata);
        let config = self.config();
        player.metadata.check_growth(growth, config.metadata_bytes_max)?;
        let bytes = self.players.metadata_bytes() + growth.0;
        if growth.0 > 0 && bytes > config.world_bytes_max {
            return Err(Fault::LongWorld(config.world_bytes_max));
        }
        Ok(())
    }

    /// Makes the acknowledgement of an update what is said next; where the player stands in it.
    fn write_player(&mut self, order: Order) -> std::ops::Range<usize> {
        self.out.clear();
        self.out.extend_from_slice(UPDATED);
        if let Some(player) = self.players.get(order) {
            player.write(&mut self.out);
        }
        let end = self.out.len();
        self.out.push(b'}');
        UPDATED.len()..end
    }

    /// Tells the others of a player's newest state, as [`World::write_player`] wrote it.
    fn tell(&mut self, order: Order, io: &mut Io<'_, '_>) {
        let range = self.write_player(order);
        let Some(player) = self.players.get(order) else { return };
        let how = Droppable {
            class: player.class,
            except: Some(player.owner.member),
            within: Duration::ZERO,
        };
        io.broadcast_droppable(how, "player:updated", &[&self.out[range]]);
    }

    /// Lets the others wait for a player's newest state.
    fn hold(&mut self, order: Order, io: &Io<'_, '_>) {
        let was_untold =
            self.players.change(order, |player| std::mem::replace(&mut player.is_untold, true));
        if was_untold == Some(false) {
            self.untold.push(order);
        }
        let interval = Duration::from_millis(self.config().update_interval_ms);
        self.tell_at.get_or_insert_with(|| io.at() + interval);
    }

    /// Tells the others of every state that was held back.
    pub(super) fn tell_all(&mut self, io: &mut Io<'_, '_>) {
        for order in std::mem::take(&mut self.untold) {
            if self.players.change(order, |player| player.is_untold = false).is_some() {
                self.tell(order, io);
            }
        }
        self.tell_at = None;
    }

    /// Something that makes a player's state known, or worthless, was said.
    pub(super) fn forget_untold(&mut self, order: Order) {
        self.untold.retain(|own| *own != order);
        self.players.change(order, |player| player.is_untold = false);
        if self.untold.is_empty() {
            self.tell_at = None;
        }
    }

    /// A client says something to everybody.
    pub(super) fn talk(
        &mut self,
        socket: Socket,
        payload: Option<Raw<'_>>,
        io: &mut Io<'_, '_>,
    ) -> Result<(), Fault> {
        let [id, author, said] = pick(payload, &["playerId", "author", "content"]);
        let player = self.played_by(socket).and_then(|order| self.players.get(order));
        let speaker = Speaker::of(player, id, author, self.config.comutiny.speak_as_anybody)?;
        let said = said.and_then(Raw::to_string_value).unwrap_or_default();
        let said = content(&said).ok_or(Fault::EmptyMessage)?;
        self.may_talk(io)?;
        let message = Message { player_id: &speaker.id, author: &speaker.author, content: said };
        let message = self.chat.make(message, io.fx.now, io.fx.random);
        // Whoever hears a player sees it where it has moved to.
        if let Some(order) = self.played_by(socket)
            && self.players.get(order).is_some_and(|player| player.is_untold)
        {
            self.forget_untold(order);
            self.tell(order, io);
        }
        self.keep(&message, io);
        io.broadcast("chat:message", &[message.as_bytes()]);
        self.out.clear();
        self.out.extend_from_slice(SAID);
        self.out.extend_from_slice(message.as_bytes());
        self.out.push(b'}');
        self.chat.push(message);
        Ok(())
    }
}

impl<'a> Speaker<'a> {
    /// Whom a message is of, sent by who plays `player`.
    fn of(
        player: Option<&'a Player>,
        id: Option<Raw<'a>>,
        author: Option<Raw<'a>>,
        as_anybody: bool,
    ) -> Result<Self, Fault> {
        let wanted = text(id).map(trimmed);
        if as_anybody {
            let known = || player.map(|player| Cow::Borrowed(&*player.id));
            let id = wanted.or_else(known).ok_or(Fault::NoSpeaker)?;
            if id.len() > ID_BYTES_MAX {
                return Err(Fault::LongPlayerId);
            }
            let author = match author.filter(|author| !author.is_null()) {
                Some(author) => text(Some(author)).map(|text| Cow::Owned(name_of(&text).into())),
                None => player.map(|player| Cow::Borrowed(&*player.name)),
            };
            let author = author.unwrap_or_else(|| Cow::Owned(name_of_player(&id).into()));
            return Ok(Self { id, author });
        }
        match (player, wanted) {
            (Some(player), Some(id)) if *player.id != *id => Err(Fault::NotTheSender),
            (Some(player), _) => {
                Ok(Self { id: Cow::Borrowed(&player.id), author: Cow::Borrowed(&player.name) })
            }
            (None, Some(_)) => Err(Fault::NotRegistered),
            (None, None) => Err(Fault::NoSpeaker),
        }
    }
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(js::trim(text)),
        Cow::Owned(text) => Cow::Owned(js::trim(&text).to_owned()),
    }
}

//! The lobby: where Zeal's native clients are until they say which document they edit (§2).

use std::sync::Arc;

use super::native::{self, INVALID, NOT_JOINED, Request, Visit};
use super::{Config, access, room_key};
use crate::protocol::{self, Hello, Machine, Message, query};
use crate::session::frame::FrameKind;
use crate::session::map::Map;
use crate::session::{Close, Effects, Instant, MemberId};

/// The lobby.
#[derive(Debug)]
pub(super) struct Lobby {
    config: Arc<protocol::Config>,
    visitors: Map<MemberId, Visit>,
}

impl Lobby {
    /// An empty lobby.
    pub(super) fn new(config: Arc<protocol::Config>) -> Self {
        Self { config, visitors: Map::default() }
    }

    fn config(&self) -> &Config {
        &self.config.yjs
    }

    fn join(&mut self, member: MemberId, room: &str, fx: &mut Effects<'_>) {
        match room_key(room) {
            Some(key) => {
                if let Some(visit) = self.visitors.remove(&member) {
                    fx.transfer(member, key, visit.pack());
                }
            }
            None => complain(member, INVALID, fx),
        }
    }
}

impl Machine for Lobby {
    fn on_enter(
        &mut self,
        member: MemberId,
        hello: Hello,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        if let Some(visit) = Visit::unpack(&hello.carry) {
            // It has left a room, and may stay.
            fx.admit(member);
            self.visitors.insert(member, visit);
            return Ok(());
        }
        let may_write = access::may_write(&hello.target, self.config())?;
        self.visitors.insert(member, Visit::new(fx.random, may_write));
        if let Some(room) = query::parameter(&hello.target, "room") {
            self.join(member, &room, fx);
        }
        Ok(())
    }

    fn on_message(
        &mut self,
        member: MemberId,
        message: Message<'_>,
        fx: &mut Effects<'_>,
    ) -> Result<(), Close> {
        let Message::Text(text) = message else {
            complain(member, NOT_JOINED, fx);
            return Ok(());
        };
        match native::request(text) {
            Some(Request::Join(room)) => self.join(member, &room, fx),
            Some(Request::Leave) => complain(member, NOT_JOINED, fx),
            None => complain(member, INVALID, fx),
        }
        Ok(())
    }

    fn on_leave(&mut self, member: MemberId, _: u16, _: &mut Effects<'_>) {
        self.visitors.remove(&member);
    }

    fn on_deadline(&mut self, _: &mut Effects<'_>) {}

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn is_over(&self) -> bool {
        self.visitors.is_empty()
    }

    /// It is no document.
    fn describe(&self) -> String {
        String::new()
    }
}

/// Tells a native client what is wrong.
pub(super) fn complain(member: MemberId, text: &str, fx: &mut Effects<'_>) {
    fx.reply(member, FrameKind::Text, &[&native::error(text)]);
}

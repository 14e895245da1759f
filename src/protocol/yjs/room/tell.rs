//! How members are told something, each in its form.

use std::time::Duration;

use super::{KEEP_ALIVE, Kind, Room};
use crate::codec::ysync::{Form, Head, permission_denied};
use crate::protocol::yjs::socketio::{self, Trouble};
use crate::session::effects::Droppable;
use crate::session::frame::{FrameKind, Header};
use crate::session::{Effects, MemberId};

/// An awareness update without entries.
const NOTHING_NEW: &[u8] = &[1, 1, 0];

impl Room {
    /// Members that read the room's history.
    pub(super) fn listeners(&self) -> usize {
        self.seats.len() - self.sockets.len()
    }

    /// Tells all but one.
    pub(super) fn tell_others(&mut self, member: MemberId, parts: &[&[u8]], fx: &mut Effects<'_>) {
        let is_socket = self.sockets.has(member);
        match self.listeners() {
            0 => {}
            _ if is_socket => fx.append(FrameKind::Binary, parts),
            _ => fx.append_except(member, FrameKind::Binary, parts),
        }
        self.sockets.say(Some(member).filter(|_| is_socket), parts, fx);
    }

    /// Tells one.
    pub(super) fn tell(&self, member: MemberId, parts: &[&[u8]], fx: &mut Effects<'_>) {
        if self.sockets.has(member) {
            self.sockets.tell(member, parts, fx);
        } else {
            fx.reply(member, FrameKind::Binary, parts);
        }
    }

    /// Asks one for what the server lacks.
    pub(super) fn ask(&self, member: MemberId, fx: &mut Effects<'_>) {
        let vector = self.document.vector();
        let head = Head::step1(vector.len());
        self.tell(member, &[head.as_bytes(), &vector], fx);
    }

    /// Tells one that its changes are not taken.
    pub(super) fn deny(&self, member: MemberId, reason: &'static str, fx: &mut Effects<'_>) {
        if self.sockets.has(member) {
            socketio::complain(member, Trouble(reason, "permission"), fx);
        } else {
            fx.reply(member, FrameKind::Binary, &[&permission_denied(reason)]);
        }
    }

    /// Tells everybody, also whoever said it: clients alone in a room live off that echo (§3).
    /// Members that are behind are only told the newest about one client.
    pub(super) fn say_awareness(
        &mut self,
        update: &[u8],
        client: Option<u64>,
        fx: &mut Effects<'_>,
    ) {
        if self.listeners() > 0 {
            let head = Head::awareness(Form::Plain, update.len());
            let parts = [head.as_bytes(), update];
            match client {
                Some(class) => {
                    let how = Droppable { class, except: None, within: Duration::ZERO };
                    fx.append_droppable(how, FrameKind::Binary, &parts);
                }
                None => fx.append(FrameKind::Binary, &parts),
            }
            self.keep_alive_at = Some(fx.at() + KEEP_ALIVE);
        }
        let head = Head::awareness(Form::Unprefixed, update.len());
        self.sockets.say(None, &[head.as_bytes(), update], fx);
    }

    /// Tells one who is there. Shared, since it may be more than a member may let pile up.
    pub(super) fn tell_awareness(&self, member: MemberId, update: &[u8], fx: &mut Effects<'_>) {
        if self.sockets.has(member) {
            let head = Head::awareness(Form::Unprefixed, update.len());
            return self.sockets.tell(member, &[head.as_bytes(), update], fx);
        }
        let head = Head::awareness(Form::Plain, update.len());
        let header = Header::new(FrameKind::Binary, head.as_bytes().len() + update.len());
        fx.share(member, [header.as_bytes(), head.as_bytes(), update].concat().into());
    }

    pub(super) fn tell_everybody_there(&self, member: MemberId, fx: &mut Effects<'_>) {
        if let Some(update) = self.awareness.everybody() {
            self.tell_awareness(member, &update, fx);
        }
    }

    /// Clients of y-websocket hear of the server now and then; those of Engine.IO have its pings.
    pub(super) fn keep_alive(&mut self, fx: &mut Effects<'_>) {
        if self.keep_alive_at.is_some_and(|at| at <= fx.at()) {
            fx.append(FrameKind::Binary, &[NOTHING_NEW]);
            self.keep_alive_at = Some(fx.at() + KEEP_ALIVE);
        }
    }
}

impl Kind {
    /// How awareness updates stand in the frames of such a member.
    pub(super) fn form(&self) -> Form {
        if let Self::Socket(_) = self { Form::Unprefixed } else { Form::Plain }
    }
}

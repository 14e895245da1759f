//! How a ref comes to be taken up: its tree is fetched ([`super::fill`]), then its route takes it in.

use std::sync::Arc;

use super::coming::{Pushed, SILENT_WITHIN, State};
use super::fill::{FillId, Lost};
use super::lanes::LaneId;
use super::{Hub, WALK_ROWS_MAX};
use crate::protocol::rljson::route::{Announcement, Payload, Ref};
use crate::protocol::socketio::{Io, Socket};

impl Hub {
    /// A ref is on its way: its tree is fetched before anybody is told of it.
    pub(super) fn expect(
        &mut self,
        id: LaneId,
        socket: Socket,
        payload: Payload,
        io: &mut Io<'_, '_>,
    ) {
        let Some(lane) = self.lanes.get_mut(id) else { return };
        let number = lane.route.expect(socket, &payload, io.at());
        let replaces = lane.route.is_sure(socket, &payload);
        let reference = Ref::clone(payload.reference());
        let announced = Announcement::new(socket, payload, io.at(), number);
        match lane.coming.push(announced, replaces) {
            Pushed::Comes => {}
            Pushed::Replaced(older) => lane.route.replace(&older, &reference),
            Pushed::Refused => {
                lane.route.say_late(socket, reference);
                return self.say(id, io);
            }
        }
        lane.own(&reference, socket);
        self.fill_next(id);
        self.walk((id, number), WALK_ROWS_MAX, io);
        self.take_in(id, io);
        // If it was not taken in, the next process is to know of it.
        let Some(lane) = self.lanes.get_mut(id) else { return };
        if let Some(entry) = lane.coming.get_mut(number) {
            let text = Arc::clone(entry.announced.payload.text());
            lane.recorded.insert(Arc::clone(&text));
            self.record_coming(id, &text, io);
        }
    }

    /// All that a ref names is here, or it names no tree.
    pub(super) fn held(&mut self, (id, number): FillId, io: &mut Io<'_, '_>) {
        let entry = self.lanes.get_mut(id).and_then(|lane| lane.coming.get_mut(number));
        if let Some(entry) = entry {
            (entry.state, entry.fill) = (State::Held, None);
        }
        self.take_in(id, io);
    }

    /// What a ref names cannot be had, and why.
    pub(super) fn not_held(&mut self, (id, number): FillId, why: Lost, io: &mut Io<'_, '_>) {
        let Some(lane) = self.lanes.get_mut(id) else { return };
        let Some(entry) = lane.coming.get_mut(number) else { return };
        let Announcement { from: asked, at, is_orphan, .. } = entry.announced;
        let answered_at = self.peers.get(&asked).map(|peer| peer.answered_at);
        let Some(answered_at) = answered_at.filter(|_| !is_orphan) else {
            if why.is_late {
                lane.coming.skip(asked);
            }
            if let Some(given_up) = lane.coming.park(number) {
                lane.route.refuse(&given_up);
            }
            lane.coming.ask_next(io.at());
            return self.take_in(id, io);
        };
        if why.is_late && at.max(answered_at) + SILENT_WITHIN > io.at() {
            (entry.state, entry.tries) = (State::Ahead, entry.tries + 1);
        } else if !why.is_tree {
            // Nobody but its clients knows what it names.
            return self.held((id, number), io);
        } else if let Some(announced) = lane.coming.remove(number) {
            log::debug!(
                target: "rljson", scope = "session", event = "ref-dropped";
                "{} on {} is dropped: who announced it has not got all of its tree",
                announced.payload.reference(), lane.name
            );
            lane.route.refuse(&announced);
        }
        self.take_in(id, io);
    }

    /// Hands on what has come, and fetches what is next.
    pub(super) fn take_in(&mut self, id: LaneId, io: &mut Io<'_, '_>) {
        let has_held = self.lanes.get(id).is_some_and(|lane| lane.coming.has_held());
        let may = has_held && self.may_take_up(io);
        while may
            && let Some(lane) = self.lanes.get_mut(id)
            && let Some((announced, over)) =
                lane.coming.next_held(|it| lane.route.is_sure(it.from, &it.payload))
        {
            lane.hold_back(io.at());
            for older in over {
                lane.route.replace(&older, announced.payload.reference());
            }
            lane.route.take_in(announced);
            self.work(id, io);
        }
        self.fill_next(id);
        if let Some(lane) = self.lanes.get_mut(id) {
            lane.hold_back(io.at());
        }
        self.say(id, io);
    }
}

//! What is announced on routes, and who is on them.

use super::Hub;
use super::ask::{member, number};
use super::cross::Cross;
use super::fill::Fill;
use super::lanes::{self, Lane, LaneId, ROUTES_PER_CLIENT_MAX, Suffix};
use crate::codec::json::{Raw, write_string};
use crate::protocol::rljson::route::{
    Ack, Announced, Change, Payload, Ref, Route, Said, Work, root_of,
};
use crate::protocol::socketio::{Io, Socket};
use crate::session::Instant;

impl Hub {
    /// The route of this name; a new one, if there is room.
    pub(super) fn lane(&mut self, name: &str) -> Option<LaneId> {
        if let Some(lane) = self.lanes.find(name) {
            return Some(lane);
        }
        if self.lanes.len() >= self.config().routes_max {
            return None;
        }
        let route = Route::new(self.config().bootstrap.times());
        Some(self.lanes.add(Lane::new(name, route)))
    }

    /// Puts a client on a route that it has not named.
    pub(super) fn place(&mut self, socket: Socket, lane: LaneId, now: Instant) {
        let Some(peer) = self.peers.get_mut(&socket) else { return };
        let Some(place) = self.lanes.get_mut(lane) else { return };
        peer.lanes.push(lane);
        place.sockets.insert(peer.came, socket);
        place.route.join(socket, now);
        self.lanes.touch(lane);
    }

    /// Whether a client may be on this route, too.
    fn may_enter(&self, socket: Socket, name: &str) -> bool {
        let Some(peer) = self.peers.get(&socket) else { return false };
        let is_on = self.lanes.find(name).is_some_and(|lane| peer.lanes.contains(&lane));
        is_on || peer.is_provisional || peer.lanes.len() < ROUTES_PER_CLIENT_MAX
    }

    /// A client names a route that it is on.
    pub(super) fn enter(&mut self, socket: Socket, lane: LaneId, io: &mut Io<'_, '_>) {
        let Some(peer) = self.peers.get_mut(&socket) else { return };
        let was_provisional = std::mem::take(&mut peer.is_provisional);
        if peer.lanes.contains(&lane) {
            return;
        }
        if was_provisional {
            let came = peer.came;
            for other in std::mem::take(&mut peer.lanes) {
                self.exit(socket, came, other, io);
            }
        }
        self.place(socket, lane, io.at());
    }

    fn exit(&mut self, socket: Socket, came: u64, lane: LaneId, io: &mut Io<'_, '_>) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.leave(came, socket);
            lane.route.leave(socket, io.at());
        }
        self.say(lane, io);
    }

    /// A client is gone.
    pub(super) fn depart(&mut self, socket: Socket, io: &mut Io<'_, '_>) {
        let Some(peer) = self.peers.remove(&socket) else { return };
        self.pulls.leave(socket);
        self.blobs.leave(socket);
        self.groups.retain(|_, group| group.who.0 != socket);
        for lane in peer.lanes {
            self.exit(socket, peer.came, lane, io);
        }
    }

    /// An event of a route.
    pub(super) fn hear_ref(
        &mut self,
        socket: Socket,
        name: &str,
        payload: Option<Raw<'_>>,
        io: &mut Io<'_, '_>,
    ) {
        let Some((route, suffix)) = lanes::split(name) else { return };
        let Some(payload) = payload else { return };
        match suffix {
            Suffix::Ref => self.announce(socket, route, payload, io),
            Suffix::Heard => {
                let reference = member(Some(payload), "r").and_then(Raw::to_string_value);
                if let (Some(reference), Some(lane)) = (reference, self.lanes.find(route)) {
                    if let Some(lane) = self.lanes.get_mut(lane) {
                        lane.route.hear(socket, &reference);
                    }
                    self.say(lane, io);
                }
            }
            Suffix::GapFill => self.fill_gap(socket, route, payload, io),
            Suffix::Other => {}
        }
    }

    fn announce(&mut self, socket: Socket, name: &str, payload: Raw<'_>, io: &mut Io<'_, '_>) {
        let payload = match Payload::read(payload) {
            Ok(payload) => payload,
            Err(why) => {
                return log::debug!(
                    target: "rljson", scope = "session", event = "payload-refused";
                    "what a client announced on {name:?} is dropped: {why}"
                );
            }
        };
        let reference = Ref::clone(payload.reference());
        let may = self.may_announce(socket, name, io);
        let lane = if may && self.may_enter(socket, name) { self.lane(name) } else { None };
        let Some(id) = lane else {
            return refuse_ref(socket, name, &reference, io);
        };
        self.enter(socket, id, io);
        if self.lanes.only().is_some() {
            self.place_all(id, io.at());
        }
        let Some(lane) = self.lanes.get_mut(id) else { return };
        let announced = lane.route.announce(socket, payload, io.at());
        if announced != Announced::Refused {
            lane.own(&reference, socket);
        }
        self.work(id, io);
    }

    /// Whoever has named no route is on the only one there is.
    fn place_all(&mut self, lane: LaneId, now: Instant) {
        let unplaced = self.peers.iter().filter(|(_, peer)| peer.lanes.is_empty());
        let unplaced: Vec<Socket> = unplaced.map(|(socket, _)| *socket).collect();
        unplaced.into_iter().for_each(|socket| self.place(socket, lane, now));
    }

    fn may_announce(&mut self, socket: Socket, name: &str, io: &Io<'_, '_>) -> bool {
        let is_it = |own: &String| **own == *name || name.strip_prefix('/') == Some(own);
        let is_read_only = self.config().read_only_routes.iter().any(is_it);
        let is_open = self.is_open();
        let Some(peer) = self.peers.get_mut(&socket) else { return false };
        is_open && !is_read_only && peer.may_write && peer.may_announce(io.at())
    }

    /// Takes up what was announced, until something has to be merged.
    pub(super) fn work(&mut self, id: LaneId, io: &mut Io<'_, '_>) {
        while let Some(lane) = self.lanes.get_mut(id)
            && let Some(work) = lane.route.next_work()
        {
            match work {
                Work::Forwarded(change) => self.changed(id, &change, None, io),
                Work::Merge(crossing) => {
                    lane.runs += 1;
                    lane.cross = Some(Cross::new(crossing, lane.runs, io.at()));
                    self.merges.push_back(id);
                }
            }
        }
        self.say(id, io);
    }

    /// There is a new latest ref. Who has its tree, if it is not the one who announced it.
    pub(super) fn changed(
        &mut self,
        id: LaneId,
        change: &Change,
        from: Option<Socket>,
        io: &mut Io<'_, '_>,
    ) {
        self.record_change(id, change, io);
        let Some(lane) = self.lanes.get_mut(id) else { return };
        if let Some(from) = from {
            lane.own(change.latest(), from);
        }
        lane.runs += 1;
        let from = lane.owner(change.latest());
        lane.fill = root_of(change.latest()).map(|root| Fill::new(root, lane.runs, from));
        if lane.fill.is_some() {
            self.walk_on(id);
        }
    }

    /// Says what a route has to say.
    pub(super) fn say(&mut self, id: LaneId, io: &mut Io<'_, '_>) {
        let Some(lane) = self.lanes.get_mut(id) else { return };
        for said in lane.route.take_said() {
            match said {
                Said::Ref { to, payload } => {
                    io.multicast(&to, &lane.name, &[payload.as_bytes()]);
                }
                Said::Bootstrap { to, payload } => {
                    io.emit(to, &format!("{}:bootstrap", lane.name), &[payload.as_bytes()]);
                }
                Said::Ack(ack) => say_ack(&lane.name, &ack, io),
            }
        }
        self.lanes.touch(id);
    }

    fn fill_gap(&mut self, socket: Socket, name: &str, payload: Raw<'_>, io: &mut Io<'_, '_>) {
        let how = self.config().gap_fill;
        let after = number(member(Some(payload), "afterSeq")).unwrap_or(0);
        let lane = self
            .lanes
            .find(name)
            .filter(|lane| self.peers.get(&socket).is_some_and(|peer| peer.lanes.contains(lane)));
        let lane = lane.and_then(|lane| self.lanes.get(lane));
        let refs = lane.map(|lane| lane.route.gap_fill(how, socket, after));
        let refs = refs.unwrap_or_else(|| "[]".to_owned());
        let answer = format!("{{\"route\":\"{name}\",\"refs\":{refs}}}");
        io.emit(socket, &format!("{name}:gapfill:res"), &[answer.as_bytes()]);
    }

    /// Does what is due on routes.
    pub(super) fn on_refs_due(&mut self, io: &mut Io<'_, '_>) {
        for id in self.lanes.due(io.at()) {
            if let Some(lane) = self.lanes.get_mut(id) {
                lane.route.on_deadline(io.at());
                if lane.cross.as_ref().is_some_and(|cross| cross.until <= io.at()) {
                    self.merges.push_back(id);
                }
            }
            self.say(id, io);
        }
    }
}

fn say_ack(route: &str, ack: &Ack, io: &mut Io<'_, '_>) {
    let mut out = b"{\"r\":".to_vec();
    write_string(&mut out, &ack.reference);
    let (ok, received_by, total) = (ack.ok, ack.received_by, ack.total_clients);
    let rest = format!(",\"ok\":{ok},\"receivedBy\":{received_by},\"totalClients\":{total}}}");
    out.extend_from_slice(rest.as_bytes());
    io.emit(ack.to, &format!("{route}:ack"), &[&out]);
}

/// A ref is not taken: who announced it is told at once.
fn refuse_ref(to: Socket, route: &str, reference: &Ref, io: &mut Io<'_, '_>) {
    let reference = Ref::clone(reference);
    let ack = Ack { to, reference, ok: false, received_by: 0, total_clients: 0 };
    say_ack(route, &ack, io);
}

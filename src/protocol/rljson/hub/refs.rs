//! What is announced on routes, and who is on them.

use super::Hub;
use super::ask::{member, number};
use super::cross::Cross;
use super::lanes::{self, Lane, LaneId, ROUTES_PER_CLIENT_MAX, Suffix};
use super::pulls::{Waiter, Want, alone};
use crate::codec::json::{Raw, write_string};
use crate::codec::rljson::Hash;
use crate::protocol::rljson::route::{Ack, Change, Payload, Ref, Route, Said, Work, root_of};
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
        if !peer.rights.may_read(&place.name) {
            return;
        }
        peer.lanes.push(lane);
        place.sockets.insert(peer.came, socket);
        place.route.join(socket, now);
        place.coming.ask(socket, now);
        place.hold_back(now);
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
        if let Some(place) = self.lanes.get_mut(lane) {
            place.leave(came, socket);
            place.route.leave(socket, io.at());
            let (parked, given_up) = place.coming.leave(socket);
            given_up.iter().for_each(|given_up| place.route.refuse(given_up));
            place.coming.ask_next(io.at());
            self.pulls.withdraw(|waiter| {
                parked.iter().any(|number| *waiter == Waiter::Fill((lane, *number)))
            });
        }
        self.take_in(lane, io);
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
        self.stop_fetching(socket, io);
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
        self.expect(id, socket, payload, io);
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
        let (is_open, refs_per_second_max) = (self.is_open(), self.config().refs_per_second_max);
        let Some(peer) = self.peers.get_mut(&socket) else { return false };
        is_open
            && !is_read_only
            && peer.rights.may_announce(name)
            && peer.may_announce(io.at(), refs_per_second_max)
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
        lane.recorded.remove(change.payload());
        if let Some(from) = from {
            lane.own(change.latest(), from);
        }
    }

    /// Says what a route has to say.
    pub(super) fn say(&mut self, id: LaneId, io: &mut Io<'_, '_>) {
        let Some(lane) = self.lanes.get_mut(id) else { return };
        let mut ended = lane.route.take_ended();
        ended.retain(|payload| lane.recorded.remove(payload));
        let reads = lane.route.take_reads();
        for payload in ended {
            self.record_dropped(id, &payload, io);
        }
        for reads in reads {
            self.record_reads(id, &reads, io);
        }
        let Some(lane) = self.lanes.get_mut(id) else { return };
        let mut to_ask = Vec::new();
        for said in lane.route.take_said() {
            match said {
                Said::Ref { to, payload } => {
                    io.multicast(&to, &lane.name, &[payload.as_bytes()]);
                }
                Said::Bootstrap { to, payload, may_have } => {
                    match lane.route.latest().and_then(|latest| root_of(latest)) {
                        Some(root) if may_have => to_ask.push((to, root)),
                        _ => say_bootstrap(&lane.name, to, &payload, io),
                    }
                }
                Said::Ack(ack) => say_ack(&lane.name, &ack, io),
            }
        }
        for (socket, root) in to_ask {
            self.ask_before_bootstrap(id, socket, root, io);
        }
        self.lanes.touch(id);
    }

    /// Who has the latest root itself is not told of it: it announced it, or read it, on another
    /// connection, and would put it over what it has changed since (specs: rljson §7).
    fn ask_before_bootstrap(
        &mut self,
        id: LaneId,
        socket: Socket,
        root: Hash,
        io: &mut Io<'_, '_>,
    ) {
        let Some(table) = self.lanes.get(id).map(|lane| lane.table.clone()) else { return };
        let answers = self.peers.get(&socket).is_some_and(|peer| !peer.is_deaf);
        let (want, waiter) = (Want::Row(table, root), Waiter::Bootstrap(id, socket));
        if !(answers && self.pull_from(alone(socket), Some(socket), want, waiter, io)) {
            self.bootstrap(id, socket, false, io);
        }
    }

    /// A client has not got the latest root, or does not answer.
    pub(super) fn bootstrap(
        &mut self,
        id: LaneId,
        socket: Socket,
        is_late: bool,
        io: &mut Io<'_, '_>,
    ) {
        if let Some(peer) = self.peers.get_mut(&socket) {
            peer.is_deaf |= is_late;
        }
        if let Some(lane) = self.lanes.get(id)
            && let Some(payload) = lane.route.bootstrap_of(socket)
        {
            say_bootstrap(&lane.name, socket, &payload, io);
        }
    }

    /// A client that was asked has this root.
    pub(super) fn has_root(
        &mut self,
        id: LaneId,
        socket: Socket,
        root: &Hash,
        io: &mut Io<'_, '_>,
    ) {
        if let Some(lane) = self.lanes.get_mut(id) {
            lane.route.has(socket, &root.as_str().into());
        }
        // It may have read another since it was asked, and is told then.
        self.bootstrap(id, socket, false, io);
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
                for (socket, reference) in lane.coming.take_late(io.at()) {
                    lane.route.say_late(socket, reference);
                }
                lane.coming.ask_next(io.at());
                if lane.cross.as_ref().is_some_and(|cross| cross.until <= io.at()) {
                    self.merges.push_back(id);
                }
            }
            self.take_in(id, io);
        }
    }
}

fn say_bootstrap(route: &str, to: Socket, payload: &str, io: &mut Io<'_, '_>) {
    io.emit(to, &format!("{route}:bootstrap"), &[payload.as_bytes()]);
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

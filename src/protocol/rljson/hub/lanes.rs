//! Routes by name: who is on each, what is on its way there, and who has what was announced.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::coming::Coming;
use super::cross::Cross;
use crate::codec::rljson::Hash;
use crate::protocol::rljson::route::{Payload, Ref, Route};
use crate::protocol::socketio::Socket;
use crate::session::Instant;

/// Longest name of a route, in bytes, its slash included.
pub(super) const ROUTE_BYTES_MAX: usize = 128;
/// Routes that one client may be on.
pub(super) const ROUTES_PER_CLIENT_MAX: usize = 16;
/// Refs of which it is remembered who announced them.
const OWNERS_MAX: usize = 64;

/// Names a route.
pub(super) type LaneId = u32;

/// What follows a route in the name of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suffix {
    /// A ref is announced.
    Ref,
    /// A client has heard of a ref.
    Heard,
    /// A client asks for what it has missed.
    GapFill,
    /// What only servers say, and what newer clients say and nobody needs.
    Other,
}

/// The route in the name of an event, and what is said about it. A route may stand in the names of
/// our events, so it needs no escapes in JSON.
pub(super) fn split(name: &str) -> Option<(&str, Suffix)> {
    let all = [
        (":ack:client", Suffix::Heard),
        (":gapfill:req", Suffix::GapFill),
        (":gapfill:res", Suffix::Other),
        (":bootstrap", Suffix::Other),
        (":state", Suffix::Other),
        (":ack", Suffix::Other),
    ];
    let found = all.into_iter().find_map(|(end, what)| Some((name.strip_suffix(end)?, what)));
    let (route, suffix) = found.unwrap_or((name, Suffix::Ref));
    is_route(route).then_some((route, suffix))
}

/// Whether this is a route, with its slash.
pub(super) fn is_route(name: &str) -> bool {
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
    (2..=ROUTE_BYTES_MAX).contains(&name.len())
        && name.starts_with('/')
        && name.bytes().all(is_plain)
}

/// A route and its clients.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) name: Box<str>,
    /// The table that its refs name rows of: what the route ends with.
    pub(super) table: Box<str>,
    pub(super) route: Route,
    /// By the order in which they came to the hub.
    pub(super) sockets: BTreeMap<u64, Socket>,
    /// Who announced the last refs, oldest first.
    owners: VecDeque<(Ref, Socket)>,
    /// Who answered last with what was asked for.
    pub(super) helper: Option<Socket>,
    /// What was announced, and is not taken up yet.
    pub(super) coming: Coming,
    /// Payloads of those, or of what came of them, that the journal has.
    pub(super) recorded: BTreeSet<Arc<str>>,
    pub(super) cross: Option<Cross>,
    /// Counts merges, to tell them from earlier ones.
    pub(super) runs: u64,
    /// When it was last said to be due.
    due: Option<Instant>,
}

impl Lane {
    pub(super) fn new(name: &str, route: Route) -> Self {
        let table = name.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default();
        Self {
            name: name.into(),
            table: table.into(),
            route,
            sockets: BTreeMap::new(),
            owners: VecDeque::new(),
            helper: None,
            coming: Coming::default(),
            recorded: BTreeSet::new(),
            cross: None,
            runs: 0,
            due: None,
        }
    }

    /// When something is next due.
    fn deadline(&self) -> Option<Instant> {
        let cross = self.cross.as_ref().map(|cross| cross.until);
        self.route.deadline().into_iter().chain(cross).chain(self.coming.deadline()).min()
    }

    /// An earlier process knew of this, and nothing came of it yet.
    pub(super) fn restore(&mut self, payload: Payload) {
        self.recorded.insert(Arc::clone(payload.text()));
        let number = self.route.number();
        self.coming.restore(payload, number);
    }

    /// All that earlier processes knew is there.
    pub(super) fn loaded(&mut self) {
        self.coming.origins().for_each(|origin| self.route.park(origin));
    }

    /// Whose trees are on their way is told of no other meanwhile.
    pub(super) fn hold_back(&mut self, now: Instant) {
        self.route.hold_back(self.coming.sockets(), now);
    }

    /// A client has what it announced.
    pub(super) fn own(&mut self, reference: &Ref, socket: Socket) {
        self.owners.retain(|(own, _)| own != reference);
        if self.owners.len() == OWNERS_MAX {
            self.owners.pop_front();
        }
        self.owners.push_back((Ref::clone(reference), socket));
    }

    /// Who announced a ref.
    pub(super) fn owner(&self, reference: &str) -> Option<Socket> {
        self.owners.iter().rev().find(|(own, _)| **own == *reference).map(|(_, socket)| *socket)
    }

    /// Who announced the latest ref.
    pub(super) fn announcer(&self) -> Option<Socket> {
        self.route.latest().and_then(|latest| self.owner(latest))
    }

    /// A client is gone.
    pub(super) fn leave(&mut self, came: u64, socket: Socket) {
        self.sockets.remove(&came);
        self.owners.retain(|(_, owner)| *owner != socket);
        self.helper = self.helper.filter(|helper| *helper != socket);
    }

    /// Whom to ask for a row or blob, the likeliest first.
    pub(super) fn likely(&self, row: Option<&Hash>) -> impl Iterator<Item = Socket> {
        let owner = row.and_then(|row| self.owner(row.as_str()));
        owner
            .into_iter()
            .chain(self.announcer())
            .chain(self.helper)
            .chain(self.sockets.values().copied())
    }
}

/// All routes.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    by_name: BTreeMap<Box<str>, LaneId>,
    due: BTreeSet<(Instant, LaneId)>,
}

impl Lanes {
    pub(super) fn add(&mut self, lane: Lane) -> LaneId {
        let id = self.lanes.len() as LaneId;
        self.by_name.insert(lane.name.clone(), id);
        self.lanes.push(lane);
        id
    }

    pub(super) fn find(&self, name: &str) -> Option<LaneId> {
        self.by_name.get(name).copied()
    }

    pub(super) fn get(&self, id: LaneId) -> Option<&Lane> {
        self.lanes.get(id as usize)
    }

    pub(super) fn get_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.lanes.get_mut(id as usize)
    }

    /// Something of a route has changed: notes when it is next due.
    pub(super) fn touch(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(id as usize) else { return };
        if let Some(before) = lane.due {
            self.due.remove(&(before, id));
        }
        lane.due = lane.deadline();
        self.due.extend(lane.due.map(|due| (due, id)));
    }

    /// Routes that are due.
    pub(super) fn due(&self, now: Instant) -> Vec<LaneId> {
        self.due.iter().take_while(|(due, _)| *due <= now).map(|(_, id)| *id).collect()
    }

    /// When something is next due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.lanes.iter_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// The only one.
    pub(super) fn only(&self) -> Option<LaneId> {
        (self.lanes.len() == 1).then_some(0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LaneId, &Lane)> {
        (0..).zip(&self.lanes)
    }
}

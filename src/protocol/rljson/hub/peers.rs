//! Clients.

use smallvec::SmallVec;
use std::time::Duration;

use super::access::Rights;
use super::lanes::LaneId;
use super::pulls::Scope;
use crate::session::Instant;

/// Requests of one client that wait for others: fewer than Socket.IO answers late
/// ([`ACKS_OPEN_MAX`](crate::protocol::socketio::ACKS_OPEN_MAX)).
pub(in crate::protocol::rljson) const WAITING_MAX: usize = 128;
/// How many of the refs that a client may announce a second may come at once, in seconds' worth.
const REFS_BURST_SECONDS: u32 = 5;

/// Whether a client can be asked for several rows at once, as newer ones can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Batches {
    /// It was not tried. Older clients never answer.
    #[default]
    Unknown,
    /// It was asked.
    Probing,
    Yes,
    No,
}

/// A client.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its number among all that came.
    pub(super) came: u64,
    /// The routes it is on.
    pub(super) lanes: SmallVec<[LaneId; 1]>,
    /// It is on its route for want of another: it has named none.
    pub(super) is_provisional: bool,
    /// What it may do.
    pub(super) rights: Rights,
    /// Its requests that wait for others.
    pub(super) waiting: usize,
    pub(super) batches: Batches,
    /// It has left a question unanswered that real clients answer.
    pub(super) is_deaf: bool,
    /// When it last answered anything; when it came, if it has not.
    pub(super) answered_at: Instant,
    /// When its allowance of refs would be full.
    refs_full_at: Instant,
}

impl Peer {
    pub(super) fn new(came: u64, rights: Rights, now: Instant) -> Self {
        Self {
            came,
            lanes: SmallVec::new(),
            is_provisional: true,
            rights,
            waiting: 0,
            batches: Batches::default(),
            is_deaf: false,
            answered_at: now,
            refs_full_at: now,
        }
    }

    /// Whose clients may be asked for what it asks for.
    pub(super) fn scope(&self) -> Scope {
        self.lanes.clone()
    }

    /// Whether it may announce once more now; counts it if so.
    pub(super) fn may_announce(&mut self, now: Instant, refs_per_second_max: u32) -> bool {
        let full_at = self.refs_full_at.max(now) + Duration::from_secs(1) / refs_per_second_max;
        let may = full_at - now <= Duration::from_secs(1) * REFS_BURST_SECONDS;
        if may {
            self.refs_full_at = full_at;
        }
        may
    }
}

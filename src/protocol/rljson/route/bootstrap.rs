//! When whoever came is told the latest ref (specs: rljson §7): not at once, when nobody listens yet
//! and offline edits are still to come, and more than once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::protocol::socketio::Socket;
use crate::session::Instant;

/// From a client's coming to each time it is told.
pub const PACE: &[Duration] = &[
    Duration::from_millis(900),
    Duration::from_millis(2_000),
    Duration::from_millis(4_000),
    Duration::from_millis(7_000),
];
/// The same where clients are known to be quick.
pub const MIN_PACE: &[Duration] = &[
    Duration::from_millis(300),
    Duration::from_millis(1_000),
    Duration::from_millis(3_000),
    Duration::from_millis(6_000),
];

/// Who is still to be told, and when.
#[derive(Debug, Default)]
pub(super) struct Bootstraps {
    pace: &'static [Duration],
    due: BTreeSet<(Instant, Socket)>,
    /// When each came, and how often it was told.
    came: BTreeMap<Socket, (Instant, usize)>,
}

impl Bootstraps {
    pub(super) fn new(pace: &'static [Duration]) -> Self {
        Self { pace, ..Self::default() }
    }

    pub(super) fn begin(&mut self, socket: Socket, now: Instant) {
        self.end(socket);
        if let Some(&first) = self.pace.first() {
            self.due.insert((now + first, socket));
            self.came.insert(socket, (now, 0));
        }
    }

    pub(super) fn end(&mut self, socket: Socket) {
        if let Some((came, told)) = self.came.remove(&socket) {
            self.due.remove(&(came + self.pace[told], socket));
        }
    }

    /// Who is to be told now, each once however late it is.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Socket> {
        let mut sockets = Vec::new();
        while let Some(&(at, socket)) = self.due.first().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, socket));
            sockets.push(socket);
            let Some((came, told)) = self.came.get_mut(&socket) else { continue };
            while self.pace.get(*told).is_some_and(|after| *came + *after <= now) {
                *told += 1;
            }
            match self.pace.get(*told) {
                Some(&after) => drop(self.due.insert((*came + after, socket))),
                None => drop(self.came.remove(&socket)),
            }
        }
        sockets
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }
}

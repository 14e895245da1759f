//! What clients are to acknowledge, and until when.

use std::collections::{BTreeMap, BTreeSet};

use super::Socket;
use crate::session::Instant;

/// Requests that one member may leave open. With one more, the one that is due first counts as
/// unanswered.
pub const REQUESTS_OPEN_MAX: usize = 64;

/// The open requests of all clients.
#[derive(Debug, Default)]
pub(super) struct Requests {
    due: BTreeMap<(Socket, u64), Instant>,
    by_time: BTreeSet<(Instant, Socket, u64)>,
}

impl Requests {
    /// Opens a request; the one that is given up for it, if any.
    pub(super) fn open(
        &mut self,
        socket: Socket,
        number: u64,
        due: Instant,
    ) -> Option<(Socket, u64)> {
        let in_namespace = |namespace| Socket { namespace, ..socket };
        let own = (in_namespace(0), 0)..=(in_namespace(u8::MAX), u64::MAX);
        let own = self.due.range(own);
        let given_up = if own.clone().count() < REQUESTS_OPEN_MAX {
            None
        } else {
            own.min_by_key(|(_, due)| **due).map(|(request, _)| *request)
        };
        if let Some((socket, number)) = given_up {
            self.close(socket, number);
        }
        self.due.insert((socket, number), due);
        self.by_time.insert((due, socket, number));
        given_up
    }

    /// Closes a request; whether it was open.
    pub(super) fn close(&mut self, socket: Socket, number: u64) -> bool {
        let Some(due) = self.due.remove(&(socket, number)) else { return false };
        self.by_time.remove(&(due, socket, number));
        true
    }

    /// Closes the first request of this client; its number.
    pub(super) fn close_first(&mut self, socket: Socket) -> Option<u64> {
        let (&(_, number), _) = self.due.range((socket, 0)..=(socket, u64::MAX)).next()?;
        self.close(socket, number);
        Some(number)
    }

    /// Closes a request whose time is over.
    pub(super) fn expire(&mut self, now: Instant) -> Option<(Socket, u64)> {
        let &(_, socket, number) = self.by_time.first().filter(|(due, ..)| *due <= now)?;
        self.close(socket, number);
        Some((socket, number))
    }

    /// When the next one expires.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.by_time.first().map(|(due, ..)| *due)
    }

    /// Those that are open.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Socket, u64)> {
        self.due.keys().copied()
    }

    /// What must hold between any two calls.
    pub(super) fn invariants(&self) {
        assert_eq!(self.due.len(), self.by_time.len());
        assert!(
            self.by_time
                .iter()
                .all(|&(due, socket, number)| { self.due.get(&(socket, number)) == Some(&due) })
        );
    }
}

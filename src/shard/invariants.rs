//! What must hold between any two turns, for tests and fuzzing.

use super::Shard;
use super::connections::{Connection, Phase, Seat};
use crate::net::Transport;

impl<T: Transport> Shard<T> {
    /// Panics if the shard's tables contradict each other.
    pub fn invariants(&self) {
        self.rings.invariants();
        let mut members = 0;
        for index in self.connections.indexes() {
            let Some(connection) = self.connections.get(index) else { continue };
            members += usize::from(matches!(connection.phase, Phase::Member(_)));
            self.check_connection(index, connection);
        }
        self.check_passages();
        let seated: usize = self.sessions.iter().map(|(_, session)| session.members.len()).sum();
        assert_eq!(members, seated);
        for (index, session) in self.sessions.iter() {
            session.history.invariants();
            assert_eq!(self.sessions.find(&session.name), Some(index));
            assert!(session.history.is_empty() || session.dirty, "nobody would trim the history");
            assert!(!session.dirty || self.dirty_sessions.contains(&index));
        }
        assert_eq!(self.counters.connections.get(), self.connections.len() as u64);
        assert_eq!(self.counters.members.get(), members as u64);
        assert_eq!(self.counters.sessions.get(), self.sessions.iter().count() as u64);
    }

    fn check_passages(&self) {
        self.passages.invariants();
        let mut waiting = Vec::new();
        for token in self.passages.members() {
            let connection = self.connections.find(token).map(|connection| &connection.phase);
            assert!(matches!(connection, Some(Phase::Moving(_))), "who waits is not moving");
            waiting.push(token.index);
        }
        let moving = |&index: &u32| {
            let connection = self.connections.get(index).map(|connection| &connection.phase);
            matches!(connection, Some(Phase::Moving(_)))
        };
        waiting.sort_unstable();
        let moving: Vec<u32> = self.connections.indexes().into_iter().filter(moving).collect();
        assert_eq!(waiting, moving, "who is moving waits once");
    }

    fn check_connection(&self, index: u32, connection: &Connection<T::Socket>) {
        if let Some(outbox) = &connection.outbox {
            outbox.invariants();
        }
        let token = connection.token(index);
        let flushes = self.dirty_connections.iter().filter(|&&dirty| dirty == token).count();
        assert_eq!(flushes, usize::from(connection.dirty), "it would be sent to twice, or never");
        // What is held for the disk is found again by the sessions that wait for it, and who is behind
        // its session by that: others may have left it at the end of the turn.
        if !(connection.dirty || self.journaling.holding) {
            let is_found = connection.blocked || self.is_behind_dirty_session(connection);
            assert!(!connection.has_output() || is_found, "output is forgotten");
        }
        match &connection.phase {
            Phase::Member(seat) => self.check_seat(index, connection, seat),
            Phase::Http(_) | Phase::Moving(_) | Phase::Probing(_) | Phase::Closing { .. } => {
                assert_eq!(connection.cursor.get(), None);
            }
            Phase::Busy => panic!("a connection is busy between two turns"),
        }
    }

    fn is_behind_dirty_session(&self, connection: &Connection<T::Socket>) -> bool {
        let Phase::Member(seat) = &connection.phase else { return false };
        let Some(session) = self.sessions.get(seat.session) else { return false };
        let is_behind =
            connection.cursor.get().is_some_and(|cursor| cursor < session.history.head());
        is_behind && self.dirty_sessions.contains(&seat.session)
    }

    fn check_seat(&self, index: u32, connection: &Connection<T::Socket>, seat: &Seat) {
        let Some(session) = self.sessions.get(seat.session) else {
            panic!("a member outlived its session");
        };
        assert_eq!(session.members.get(seat.place as usize), Some(&index));
        let is_polling = connection.socket.is_none();
        assert_eq!(is_polling, connection.engine.as_ref().is_some_and(|e| e.is_polling()));
        assert!(
            connection.armed || connection.paused != 0 || is_polling,
            "a member is not read from"
        );
        if is_polling {
            let parked = connection.engine.as_ref().is_some_and(|engine| engine.is_parked());
            assert_eq!(connection.blocked, !parked, "a poll that waits is its writability");
        }
        if let Some(cursor) = connection.cursor.get() {
            assert!(session.history.tail() <= cursor && cursor <= session.history.head());
            let caught_up = cursor == session.history.head();
            assert!(caught_up || connection.blocked || session.dirty, "a member is left behind");
        }
    }
}

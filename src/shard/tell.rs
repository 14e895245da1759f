//! What one session tells another, see [`Effects::tell`](crate::session::Effects::tell).

use super::Shard;
use super::passage::Passage;
use crate::net::Transport;
use crate::protocol::Protocol;

/// A message from session to session.
#[derive(Debug)]
pub struct Tell {
    protocol: &'static Protocol,
    /// The key of the session that says it.
    from: String,
    /// The key of the session that is told.
    key: String,
    body: Vec<u8>,
    /// The session that says it has recorded something that was not written then.
    depends: bool,
}

impl<T: Transport> Shard<T> {
    /// A session tells the session `key` something.
    pub(super) fn tell(&mut self, session: u32, key: String, body: Vec<u8>) {
        let Some(session) = self.sessions.get(session) else { return };
        let (protocol, from) = (session.protocol, session.key().to_owned());
        let depends = session.unwritten;
        let owner = self.owner(protocol, &key);
        let bytes = from.len() + key.len() + body.len();
        let tell = Box::new(Tell { protocol, from, key, body, depends });
        if !self.passages.push(owner, Passage::Tell(tell), bytes) {
            self.counters.passages_dropped.increment();
            log::warn!(
                scope = "session", event = "tell-lost", protocol = protocol.name;
                "a message between sessions is lost: too many wait for shard {owner}"
            );
        }
    }

    /// A session of this shard is told something; it is opened for it if need be.
    pub(super) fn on_tell(&mut self, tell: Tell) {
        let Tell { protocol, from, key, body, depends } = tell;
        self.counters.tells.increment();
        let Ok(session) = self.find_or_open(protocol, key) else {
            self.counters.passages_dropped.increment();
            return;
        };
        if depends {
            self.depend(session);
        }
        self.call(session, |machine, fx| machine.on_told(&from, &body, fx));
    }
}

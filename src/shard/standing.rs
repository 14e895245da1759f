//! Sessions that know what is stored: opened when the shard starts, so that operators are told of it
//! before the first client comes.

use super::Shard;
use crate::net::Transport;
use crate::protocol::STANDING;
use crate::session::Now;

impl<T: Transport> Shard<T> {
    /// Opens the standing sessions of this shard; once, before its first turn.
    pub fn begin(&mut self, now: Now) {
        if !self.config.durable {
            return;
        }
        self.now = now;
        for &(protocol, key) in STANDING {
            let is_served = self.config.listeners.iter().any(|profile| profile.serves(protocol));
            if !is_served || self.owner(protocol, key) != self.config.index {
                continue;
            }
            if let Ok(session) = self.find_or_open(protocol, key.to_owned()) {
                self.call(session, |machine, fx| machine.on_open(fx));
            }
        }
    }
}

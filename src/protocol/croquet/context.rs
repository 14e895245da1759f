//! What stays the same for the whole life of a session.

use std::sync::Arc;

use super::Config;
use super::encode::Envelope;
use crate::protocol;

/// What a session's parts are handed with each call.
#[derive(Debug)]
pub(super) struct Context {
    /// The session id, if it stands escaped in the envelope.
    #[expect(clippy::box_collection, reason = "nearly none has one: one word at rest, not three")]
    odd_id: Option<Box<String>>,
    config: Arc<protocol::Config>,
    pub(super) envelope: Envelope,
    /// Whether records are stored.
    pub(super) durable: bool,
}

impl Context {
    /// The context of session `id`.
    pub(super) fn new(id: String, config: Arc<protocol::Config>, durable: bool) -> Self {
        let envelope = Envelope::new(&id);
        let odd_id = (envelope.raw_id() != id).then(|| Box::new(id));
        Self { odd_id, config, envelope, durable }
    }

    /// The session id.
    pub(super) fn id(&self) -> &str {
        match &self.odd_id {
            Some(id) => id,
            None => self.envelope.raw_id(),
        }
    }

    /// The reflector's settings.
    pub(super) fn config(&self) -> &Config {
        &self.config.croquet
    }

    /// What clients are told of this server.
    pub(super) fn label(&self) -> &str {
        match self.config().label.as_str() {
            "local" if self.durable => "localWithStorage",
            label => label,
        }
    }
}

//! Why something is refused: what `message` says in an acknowledgement whose `ok` is false.

use super::{ANIMATION_BYTES_MAX, ID_BYTES_MAX, METADATA_KEYS_MAX};

/// Why an event of a client had no effect. The first four are the original's texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(super) enum Fault {
    /// A join without an id.
    #[error("playerId is required")]
    NoPlayerId,
    /// An update of a client that has not joined.
    #[error("Player not registered")]
    NotRegistered,
    /// A message of nobody.
    #[error("playerId is required for chat messages")]
    NoSpeaker,
    /// A message without text.
    #[error("Message cannot be empty")]
    EmptyMessage,
    /// A message in the name of somebody else.
    #[error("playerId is not the sender's")]
    NotTheSender,
    /// An id that the client has not shown to be its own.
    #[error("playerId needs a login")]
    NotTheSubject,
    /// An id beyond its limit.
    #[error("playerId is longer than {ID_BYTES_MAX} bytes")]
    LongPlayerId,
    /// An animation beyond its limit.
    #[error("animation is longer than {ANIMATION_BYTES_MAX} bytes")]
    LongAnimation,
    /// Metadata with too many keys.
    #[error("metadata has more than {METADATA_KEYS_MAX} keys")]
    ManyKeys,
    /// Metadata beyond its limit.
    #[error("metadata is longer than {0} bytes")]
    LongMetadata(usize),
    /// Metadata of all players beyond its limit.
    #[error("the metadata of all players is longer than {0} bytes")]
    LongWorld(usize),
    /// A player too many.
    #[error("the world has {0} players already")]
    Crowded(usize),
    /// Joins beyond their rate.
    #[error("too many joins, try again in a moment")]
    ManyJoins,
    /// The disk is full, or has failed.
    #[error("the chat is read-only for now")]
    ReadOnly,
    /// What was said before cannot be read.
    #[error("the chat is unavailable")]
    Unavailable,
    /// Too much waits for the stored world.
    #[error("the world is not ready yet")]
    NotReady,
}

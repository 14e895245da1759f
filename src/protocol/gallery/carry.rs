//! What the hall and the rooms tell each other, and what a member takes along when it moves. Never
//! seen by a client.

use std::collections::VecDeque;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::decode::{CreateAsk, JoinAsk};
use super::user::{Role, User};

/// The number of a connection, given by the hall; newer connections have larger ones.
pub(super) type ConnId = u64;

/// What a member said before it moved and nobody has looked at yet.
pub(super) type Said = VecDeque<Box<str>>;

/// What a room is made by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Terms {
    /// Tells apart rooms that have the same id one after another; newer ones have larger ones.
    pub(super) epoch: u64,
    pub(super) created_ms: u64,
    pub(super) users_max: u32,
    /// Raw JSON.
    pub(super) password: Option<Box<str>>,
    pub(super) persistent: bool,
}

/// Hall to room: a member that wants to join.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Visit {
    pub(super) conn: ConnId,
    pub(super) user: User,
    pub(super) ask: JoinAsk,
    /// The role that was signed for it.
    pub(super) claim: Option<Role>,
    pub(super) terms: Terms,
    /// Counts the members that the room was sent.
    pub(super) sequence: u64,
    pub(super) said: Said,
}

/// Room to hall: a member that left, was refused, or wants to go elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Return {
    pub(super) conn: ConnId,
    pub(super) user: User,
    /// What it is still to be told.
    pub(super) reply: Option<String>,
    /// Where it wants to go.
    pub(super) join: Option<JoinAsk>,
    pub(super) said: Said,
}

/// Room to hall.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum ToHall {
    /// A member is in.
    Entered(ConnId),
    /// A member's connection is gone.
    Left(ConnId),
    /// Nobody is in since this member was sent; and whether anybody ever was.
    Empty { epoch: u64, sequence: u64, was_used: bool },
    /// A member wants a room to be created, and says nothing until it is answered.
    Create(ConnId, CreateAsk),
}

/// Hall to room.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum ToRoom {
    /// Another connection has come for the same user.
    Replaced(ConnId),
    /// The user whose place is kept will not come back to it.
    Release(Box<str>),
    /// The answer to a member's [`ToHall::Create`].
    Answer(ConnId, String),
    /// Nobody is on the way since this member was sent: the session may end.
    Close { epoch: u64, sequence: u64 },
    /// An operator has removed the room, in which nobody is.
    Remove { epoch: u64, persistent: bool },
}

/// For the wire between sessions.
pub(super) fn pack(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain values can be written")
}

/// The reverse of [`pack`].
pub(super) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

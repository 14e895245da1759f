//! What is to be done with a payload whose turn it is, and what came of it.

use super::payload::Ref;
use super::stored::Change;
use crate::codec::rljson::Hash;
use crate::protocol::rljson::merge::{Base, Conflicts, MergeError, Merged, merge, plausible};
use crate::protocol::socketio::Socket;

/// What becomes of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// It waits for its turn: ask for [`Route::next_work`](super::Route::next_work).
    Queued,
    /// It is the latest ref: acknowledged at once.
    Repeated,
    /// Too many wait.
    Refused,
}

/// What is to be done with the payload whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// It was made from the latest ref, is the latest now, and was said. The change is to be recorded.
    Forwarded(Change),
    /// It may not have been made from the latest ref; [`Route::finish`](super::Route::finish) says
    /// what came of it.
    Merge(Crossing),
}

/// A tree that has to be merged with the latest one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// Who has its rows.
    pub from: Socket,
    /// What it may have been made from, oldest first; never empty.
    pub bases: Vec<Base>,
    /// The latest root.
    pub latest: Hash,
    /// The root that was announced.
    pub announced: Hash,
}

impl Crossing {
    /// Merges what was announced with the latest tree.
    pub fn merge<'r>(
        &self,
        conflicts: Conflicts,
        lookup: impl Fn(&Hash) -> Option<&'r str> + Copy,
    ) -> Result<Merged, MergeError> {
        let bases = plausible(&self.bases, self.announced, lookup)?;
        merge(&bases, self.latest, self.announced, conflicts, lookup)
    }

    /// The same where the rows of what they were made from are gone: nothing counts as deleted.
    pub fn merge_without_base<'r>(
        &self,
        conflicts: Conflicts,
        lookup: impl Fn(&Hash) -> Option<&'r str>,
    ) -> Result<Merged, MergeError> {
        merge(&[], self.latest, self.announced, conflicts, lookup)
    }
}

/// What came of a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This is the root of the merged tree.
    Merged(Hash),
    /// The trees cannot be merged, as rows are missing or are none of trees: the later one counts, as
    /// with the original.
    Impossible,
    /// The rows of what was announced cannot be had, so nobody could follow it: the latest ref stays,
    /// and whoever announced it is told that nothing came of it.
    Dropped,
}

/// Something to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// `<route>`.
    Ref {
        /// To whom.
        to: Vec<Socket>,
        /// JSON.
        payload: String,
    },
    /// `<route>:bootstrap`.
    Bootstrap {
        /// To whom.
        to: Socket,
        /// JSON.
        payload: String,
        /// Whether the client may have put that tree in place without our knowing.
        may_have: bool,
    },
    /// `<route>:ack`.
    Ack(super::Ack),
}

/// Whom the server's own refs come from.
const SERVER: &str = "__server__";

/// What the server announces itself. Refs are written as JSON: most, not all, are plain.
pub(super) fn server_payload(reference: &Ref, is_ref: bool) -> String {
    let mut payload = format!("{{\"o\":\"{SERVER}\",\"r\":").into_bytes();
    crate::codec::json::write_string(&mut payload, reference);
    if is_ref {
        payload.extend_from_slice(format!(",\"__origin\":\"{SERVER}\"").as_bytes());
    }
    payload.push(b'}');
    String::from_utf8(payload).unwrap_or_default()
}

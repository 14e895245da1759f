//! Persistent rooms on the disk: the stored record of a room, and what the journal has of it since.
//!
//! Rooms may have the same id one after another, so everything here tells the epoch of the room it
//! is of: with the first entry of another room a state begins afresh.

use super::decode::quoted;
use super::state::{Change, Patch, State};
use crate::codec::json::{self, Raw};
use crate::session::effects::RecordName;
use crate::session::journal::{Entries, Position};
use crate::session::{Effects, Instant};

/// An entry of the journal: an object whose keys are `epoch` and those of one kind of change.
const KEYS: [&str; 8] =
    ["epoch", "version", "full", "data", "annotate", "owner", "annotation", "erase"];

/// What is kept of a room cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum Unreadable {
    /// The stored record.
    #[error("the stored state is not readable")]
    Record,
    /// What was recorded since.
    #[error("entry {0} of the journal is none of a room")]
    Entry(Position),
}

/// A room's state, and which room it is of.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) epoch: u64,
    pub(super) state: State,
    /// The last entry of the journal that is part of it.
    recorded: Position,
}

/// Where the state of a persistent room is stored.
pub(super) fn record_name(id: &str) -> RecordName {
    RecordName { namespace: "gallery/rooms", names: vec![id.to_owned()] }
}

impl Stored {
    /// The last room that a record, if there is one, and the entries behind it tell of.
    pub(super) fn replay(
        record: Option<&[u8]>,
        entries: &Entries,
        now: Instant,
    ) -> Result<Self, Unreadable> {
        let mut stored = match record {
            Some(record) => Self::read(record, now).ok_or(Unreadable::Record)?,
            None => Self::default(),
        };
        for (position, body) in entries.after(stored.recorded) {
            stored.redo(body, now).ok_or(Unreadable::Entry(position))?;
        }
        Ok(stored)
    }

    fn read(record: &[u8], now: Instant) -> Option<Self> {
        let text = std::str::from_utf8(record).ok()?;
        let keys = ["epoch", "journal", "state", "owners"];
        let [epoch, recorded, state, owners] =
            json::object_fields(text, &keys, json::DEPTH_MAX).ok()?;
        let recorded = recorded.map_or(Some(0), |raw| raw.as_str().parse().ok())?;
        let epoch = epoch?.as_str().parse().ok()?;
        Some(Self { epoch, state: State::restored(state?, owners?, now)?, recorded })
    }

    fn redo(&mut self, entry: &[u8], now: Instant) -> Option<()> {
        let text = std::str::from_utf8(entry).ok()?;
        let [epoch, version, full, data, annotate, owner, annotation, erase] =
            json::object_fields(text, &KEYS, json::DEPTH_MAX).ok()?;
        let epoch = epoch?.as_str().parse().ok()?;
        if epoch != self.epoch {
            (self.epoch, self.state) = (epoch, State::default());
        }
        let text_of = |raw: Option<Raw<'_>>| raw.and_then(Raw::to_string_value).map(Box::from);
        let (id, owner): (Option<Box<str>>, Option<Box<str>>) =
            (text_of(annotate.or(erase)), text_of(owner));
        let change = match (version, annotation, erase) {
            (Some(version), None, None) => Change::Update {
                version: version.as_str().parse().ok()?,
                is_full: full?.as_bool()?,
                patch: Patch::decode(data).ok()?.without_focus(),
            },
            (None, Some(json), None) => {
                Change::Annotate { id: id.as_deref()?, owner: owner.as_deref()?, json }
            }
            (None, None, Some(_)) => Change::Erase { id: id.as_deref()? },
            _ => return None,
        };
        // What was recorded had room: limits are not asked again.
        self.state.apply(change, now, usize::MAX).ok()
    }
}

/// Records a change of the room of this epoch; its size, in bytes. What is in focus goes with whoever
/// focuses on it, so that is not recorded.
pub(super) fn record(change: &Change<'_>, epoch: u64, fx: &mut Effects<'_>) -> usize {
    let mut write = |head: String, json: &str| {
        fx.record(&[head.as_bytes(), json.as_bytes(), b"}"]);
        head.len() + json.len() + 1
    };
    match *change {
        Change::Update { version, is_full, patch } => {
            let head =
                format!("{{\"epoch\":{epoch},\"version\":{version},\"full\":{is_full},\"data\":");
            write(head, patch.whole().map_or("null", Raw::as_str))
        }
        Change::Annotate { id, owner, json } => {
            let (id, owner) = (quoted(id), quoted(owner));
            let head =
                format!("{{\"epoch\":{epoch},\"annotate\":{id},\"owner\":{owner},\"annotation\":");
            write(head, json.as_str())
        }
        Change::Erase { id } => write(format!("{{\"epoch\":{epoch},\"erase\":"), &quoted(id)),
        Change::Focus { .. } | Change::Unfocus { .. } | Change::Expire => 0,
    }
}

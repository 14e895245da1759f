//! What clients announce (specs: rljson §4): read as far as the server has to, and handed on as it
//! came.

use std::sync::Arc;

use crate::codec::json::{self, JsonError, Raw};
use crate::codec::rljson::Hash;

/// Largest payload, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// Longest ref, origin or client id, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Most predecessors that are looked at; the others are handed on all the same.
pub const PREDECESSORS_MAX: usize = 64;
const DEPTH_MAX: usize = 16;

/// A ref: for trees of files the hash of the root's row.
pub type Ref = Arc<str>;

/// Why a payload is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// It is larger than [`PAYLOAD_BYTES_MAX`].
    #[error("a payload is larger than {PAYLOAD_BYTES_MAX} bytes")]
    TooLarge,
    /// It is no JSON object.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// No ref, or one, or an origin or client id, longer than [`NAME_BYTES_MAX`].
    #[error("a payload has no ref, or a name that is too long")]
    Name,
    /// It says whom it comes from: a server sent it before.
    #[error("a payload was relayed already")]
    Relayed,
}

/// What a client announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The object as it came.
    pub(super) text: Arc<str>,
    /// `r`.
    pub(super) reference: Ref,
    /// `o`: the client's run; empty if it tells none.
    pub(super) origin: Box<str>,
    /// `c`: the client, whatever its run.
    pub(super) client: Option<Box<str>>,
    /// `seq`.
    pub(super) seq: Option<u64>,
    /// `p`: what it was made from.
    pub(super) predecessors: Box<[Box<str>]>,
}

impl Payload {
    /// Reads what a client announces.
    pub fn read(value: Raw<'_>) -> Result<Self, PayloadError> {
        let text = value.as_str();
        if text.len() > PAYLOAD_BYTES_MAX {
            return Err(PayloadError::TooLarge);
        }
        let keys = ["o", "r", "c", "seq", "p", "__origin"];
        let [origin, reference, client, seq, predecessors, relayed] =
            json::object_fields(text, &keys, DEPTH_MAX)?;
        if relayed.is_some_and(|by| !by.is_null()) {
            return Err(PayloadError::Relayed);
        }
        let reference = name(reference)?.filter(|text| !text.is_empty());
        Ok(Self {
            text: text.into(),
            reference: reference.ok_or(PayloadError::Name)?.into(),
            origin: name(origin)?.unwrap_or_default(),
            client: name(client)?,
            seq: seq.and_then(Raw::as_f64).filter(|seq| *seq >= 0.0).map(|seq| seq as u64),
            predecessors: predecessors.map(names).unwrap_or_default(),
        })
    }

    /// The ref that is announced.
    pub fn reference(&self) -> &Ref {
        &self.reference
    }

    /// The client's run; empty if it tells none.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The object as it came.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same, to be kept.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The object for the other clients: with the sender's name, which is to be plain ASCII.
    pub fn relayed(&self, sender: &str) -> String {
        let members = self.text.trim_end().strip_suffix('}').unwrap_or_default();
        format!("{members},\"__origin\":\"{sender}\"}}")
    }
}

/// The root that a ref names, if it names any.
pub fn root_of(reference: &str) -> Option<Hash> {
    Hash::new(reference)
}

fn name(value: Option<Raw<'_>>) -> Result<Option<Box<str>>, PayloadError> {
    let text = value.and_then(Raw::to_string_value);
    if text.as_ref().is_some_and(|text| text.len() > NAME_BYTES_MAX) {
        return Err(PayloadError::Name);
    }
    Ok(text.map(|text| text.into()))
}

fn names(list: Raw<'_>) -> Box<[Box<str>]> {
    let texts = list.elements().take(PREDECESSORS_MAX).filter_map(Raw::to_string_value);
    texts.filter(|text| text.len() <= NAME_BYTES_MAX).map(Into::into).collect()
}

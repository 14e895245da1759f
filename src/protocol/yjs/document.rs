//! A document: its whole state as bytes, what has changed since, and the yrs document made of both.
//!
//! Updates are relayed before they come here and are applied in batches, so that a keystroke costs
//! its relay only. The yrs document is made when somebody wants a difference, and forgotten when the
//! document rests. If yrs panics, it is made anew without what it panicked at.
//!
//! Everything in here was checked by `codec::ysync` first.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use smallvec::SmallVec;
use yrs::block::ClientID;
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{Doc, OffsetKind, Options, ReadTxn, StateVector, Transact, TransactionMut, Update};

use crate::session::MemberId;

/// The state of a document that nobody has written to.
pub(super) const EMPTY: &[u8] = &[0, 0];
/// The state vector of one who has nothing.
const NOTHING: &[u8] = &[0];
/// Changes that are kept apart from the state at least, in bytes; and as much as the state has.
const TAIL_BYTES_MIN: usize = 64 << 10;
/// Changes that wait to be applied at most, in bytes.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// The document cannot be made of what is kept of it.
#[derive(Debug, thiserror::Error)]
#[error("the state of the document is not readable")]
pub(super) struct Unreadable;

/// Members whose updates could not be applied, in the order of those; none as a rule.
pub(super) type Culprits = SmallVec<[MemberId; 2]>;

/// What became of an update that was applied at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// The document had it all.
    Known,
    /// It is part of the document, or will be when what it depends on has come.
    New,
    /// yrs cannot apply it.
    Refused,
}

/// A change that is not part of the state yet.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// Where it ends in the bytes.
    end: usize,
    /// Whose it is; nobody's when it comes from the disk.
    from: Option<MemberId>,
}

/// A document.
#[derive(Debug)]
pub(super) struct Document {
    /// A while ago, as an update.
    state: Bytes,
    /// The state vector that belongs to `state`.
    vector: Bytes,
    /// Changes since, one after another.
    tail: Vec<u8>,
    changes: Vec<Change>,
    /// Changes that `live` has.
    applied: usize,
    /// None while nobody needs it.
    live: Option<Doc>,
    /// The last difference that was asked for, and what it is the difference to.
    answer: Option<(Box<[u8]>, Bytes)>,
}

impl Default for Document {
    fn default() -> Self {
        Self {
            state: Bytes::from_static(EMPTY),
            vector: Bytes::from_static(NOTHING),
            tail: Vec::new(),
            changes: Vec::new(),
            applied: 0,
            live: None,
            answer: None,
        }
    }
}

impl Document {
    /// A document with this state, which was checked.
    pub(super) fn load(state: Vec<u8>) -> Result<Self, Unreadable> {
        let mut document = Self { state: state.into(), ..Self::default() };
        let doc = document.make()?;
        document.vector = guarded(|| doc.transact().state_vector().encode_v1())?.into();
        document.live = Some(doc);
        Ok(document)
    }

    /// Adds a change. It is applied later.
    pub(super) fn push(&mut self, update: &[u8], from: Option<MemberId>) {
        self.tail.extend_from_slice(update);
        self.changes.push(Change { end: self.tail.len(), from });
        self.answer = None;
    }

    /// Whether so much waits that it should be applied now.
    pub(super) fn is_behind(&self) -> bool {
        self.tail.len() - self.start_of(self.applied) > BATCH_BYTES_MAX
    }

    /// Whether something waits to be applied.
    pub(super) fn has_unapplied(&self) -> bool {
        self.applied < self.changes.len()
    }

    /// Whether nobody has ever written to it.
    pub(super) fn is_new(&self) -> bool {
        self.is_folded() && *self.state == *EMPTY
    }

    /// Whether nothing has changed since the state was made.
    fn is_folded(&self) -> bool {
        self.changes.is_empty()
    }

    /// Applies what waits, and makes a new state if much has changed. Whoever has said what cannot
    /// be applied; it is not part of the document.
    pub(super) fn apply(&mut self) -> Result<Culprits, Unreadable> {
        let culprits = self.catch_up()?;
        if self.tail.len() > TAIL_BYTES_MIN.max(self.state.len()) {
            self.fold()?;
        }
        Ok(culprits)
    }

    /// Applies an update at once, and what waits before it.
    pub(super) fn apply_now(&mut self, update: &[u8]) -> Result<(Applied, Culprits), Unreadable> {
        let culprits = self.catch_up()?;
        let doc = self.live()?;
        let attempt = guarded(|| {
            let mut transaction = doc.transact_mut();
            let is_waiting = transaction.has_missing_updates();
            apply(&mut transaction, update).map(|()| {
                transaction.has_changes() || is_waiting || transaction.has_missing_updates()
            })
        });
        match attempt {
            Ok(Ok(true)) => {
                self.push(update, None);
                self.applied = self.changes.len();
                Ok((Applied::New, culprits))
            }
            Ok(Ok(false)) => Ok((Applied::Known, culprits)),
            // Nobody knows what it left half done.
            Ok(Err(_)) | Err(Unreadable) => {
                self.rebuild()?;
                Ok((Applied::Refused, culprits))
            }
        }
    }

    /// The state vector: what the document has.
    pub(super) fn vector(&mut self) -> Result<Bytes, Unreadable> {
        if self.is_folded() {
            return Ok(self.vector.clone());
        }
        self.catch_up()?;
        let doc = self.live()?;
        guarded(|| doc.transact().state_vector().encode_v1().into())
    }

    /// What one who has `vector` lacks, as an update.
    pub(super) fn difference(&mut self, vector: &[u8]) -> Result<Bytes, Unreadable> {
        if vector == NOTHING {
            return self.whole();
        }
        self.catch_up()?;
        if let Some((known, answer)) = &self.answer
            && **known == *vector
        {
            return Ok(answer.clone());
        }
        let doc = self.live()?;
        let answer = guarded(|| {
            // It was checked: what yrs cannot read is taken for nothing.
            let vector = StateVector::decode_v1(vector).unwrap_or_default();
            Bytes::from(doc.transact().encode_state_as_update_v1(&vector))
        })?;
        self.answer = Some((vector.into(), answer.clone()));
        Ok(answer)
    }

    /// The whole document as an update.
    pub(super) fn whole(&mut self) -> Result<Bytes, Unreadable> {
        if !self.is_folded() {
            self.catch_up()?;
            self.fold()?;
        }
        Ok(self.state.clone())
    }

    /// Nothing happens: everything that can be made again is forgotten.
    pub(super) fn rest(&mut self) -> Result<(), Unreadable> {
        self.whole()?;
        (self.live, self.answer) = (None, None);
        (self.tail, self.changes) = (Vec::new(), Vec::new());
        Ok(())
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn invariants(&self) {
        assert!(self.applied <= self.changes.len());
        assert_eq!(self.changes.last().map_or(0, |change| change.end), self.tail.len());
        assert!(self.live.is_some() || self.applied == 0);
    }

    fn start_of(&self, change: usize) -> usize {
        change.checked_sub(1).map_or(0, |before| self.changes[before].end)
    }

    fn bytes_of(&self, change: usize) -> &[u8] {
        &self.tail[self.start_of(change)..self.changes[change].end]
    }

    /// Makes the state of the document as it is now.
    fn fold(&mut self) -> Result<(), Unreadable> {
        debug_assert!(!self.has_unapplied());
        let doc = self.live()?;
        let (state, vector) = guarded(|| {
            let transaction = doc.transact();
            let state = transaction.encode_state_as_update_v1(&StateVector::default());
            (state, transaction.state_vector().encode_v1())
        })?;
        (self.state, self.vector) = (state.into(), vector.into());
        self.tail.clear();
        self.tail.shrink_to(TAIL_BYTES_MIN);
        self.changes.clear();
        self.applied = 0;
        Ok(())
    }

    /// Applies what waits.
    fn catch_up(&mut self) -> Result<Culprits, Unreadable> {
        if !self.has_unapplied() {
            return Ok(Culprits::new());
        }
        let doc = self.live()?;
        let attempt = guarded(|| {
            let mut transaction = doc.transact_mut();
            (self.applied..self.changes.len())
                .try_for_each(|at| apply(&mut transaction, self.bytes_of(at)))
        });
        match attempt {
            Ok(Ok(())) => {
                self.applied = self.changes.len();
                Ok(Culprits::new())
            }
            Ok(Err(Unreadable)) | Err(Unreadable) => self.rebuild(),
        }
    }

    /// The yrs document; made of the state if need be.
    fn live(&mut self) -> Result<Doc, Unreadable> {
        match &self.live {
            Some(doc) => Ok(doc.clone()),
            None => {
                let doc = self.make()?;
                self.live = Some(doc.clone());
                Ok(doc)
            }
        }
    }

    /// A yrs document with the state.
    fn make(&self) -> Result<Doc, Unreadable> {
        guarded(|| {
            let doc = Doc::with_options(Options {
                skip_gc: false,
                // That would be changes of its own, which no client hears of.
                cleanup_formatting: false,
                // As clients count. In bytes, a surrogate pair that somebody cut in two would be longer
                // when it is deleted than when it was inserted, and yrs panics.
                offset_kind: OffsetKind::Utf16,
                ..Options::with_guid_and_client_id("".into(), ClientID::new(0))
            });
            let loaded = apply(&mut doc.transact_mut(), &self.state);
            loaded.map(|()| doc)
        })?
    }

    /// Makes the yrs document anew, without the changes that cannot be applied.
    fn rebuild(&mut self) -> Result<Culprits, Unreadable> {
        let mut culprits = Culprits::new();
        (self.live, self.applied) = (None, 0);
        loop {
            let doc = self.make()?;
            let bad = (0..self.changes.len()).find(|&at| {
                let attempt = guarded(|| apply(&mut doc.transact_mut(), self.bytes_of(at)));
                !matches!(attempt, Ok(Ok(())))
            });
            match bad {
                Some(at) => culprits.extend(self.forget(at)),
                None => {
                    self.live = Some(doc);
                    self.applied = self.changes.len();
                    return Ok(culprits);
                }
            }
        }
    }

    /// Takes a change out; whose it was.
    fn forget(&mut self, at: usize) -> Option<MemberId> {
        let (start, end) = (self.start_of(at), self.changes[at].end);
        self.tail.drain(start..end);
        let change = self.changes.remove(at);
        for later in &mut self.changes[at..] {
            later.end -= end - start;
        }
        change.from
    }
}

fn apply(transaction: &mut TransactionMut<'_>, update: &[u8]) -> Result<(), Unreadable> {
    let update = Update::decode_v1(update).map_err(|_| Unreadable)?;
    transaction.apply_update(update).map_err(|_| Unreadable)
}

/// Calls yrs. A document that it panicked on must not be used again.
fn guarded<R>(call: impl FnOnce() -> R) -> Result<R, Unreadable> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_cut_in_two_can_be_deleted() {
        let mut document = Document::default();
        for update in [
            // A smile; a bar between its halves; all of it deleted.
            &b"\x01\x01\x01\x00\x04\x01\x04text\x04\xf0\x9f\x99\x82\x00"[..],
            b"\x01\x01\x02\x00\xc4\x01\x00\x01\x01\x01|\x00",
            b"\x00\x02\x02\x01\x00\x01\x01\x01\x00\x02",
        ] {
            document.push(update, None);
        }
        let culprits = document.apply().expect("the state is readable");
        assert!(culprits.is_empty());
        assert_eq!(document.changes.len(), 3, "none was forgotten");
    }
}

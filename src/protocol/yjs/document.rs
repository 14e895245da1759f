//! A document, and what was last told of it: whoever comes next is told the same bytes.

use bytes::Bytes;

use crate::codec::ysync::{self, Refusal, Taken};

/// The state vector of one who has nothing.
const NOTHING: &[u8] = &[0];

/// A document.
#[derive(Debug, Default)]
pub(super) struct Document {
    inner: ysync::Document,
    /// All of it, as an update.
    whole: Option<Bytes>,
    /// The last difference that was asked for, and what it is the difference to.
    answer: Option<(Box<[u8]>, Bytes)>,
}

impl Document {
    /// A document with this state.
    pub(super) fn load(state: &[u8]) -> Result<Self, Refusal> {
        Ok(Self { inner: ysync::Document::load(state)?, ..Self::default() })
    }

    /// Takes an update from outside.
    pub(super) fn take(&mut self, update: &[u8]) -> Result<Taken, Refusal> {
        let taken = self.inner.take(update);
        // Parts of it may have been taken before it was refused.
        if taken != Ok(Taken::Known) {
            (self.whole, self.answer) = (None, None);
        }
        taken
    }

    /// What it has, as a state vector.
    pub(super) fn vector(&self) -> Vec<u8> {
        let mut vector = Vec::new();
        self.inner.write_vector(&mut vector);
        vector
    }

    /// What one who has `vector`, which was checked, lacks, as an update.
    pub(super) fn difference(&mut self, vector: &[u8]) -> Bytes {
        if vector == NOTHING {
            return self.whole();
        }
        if let Some((known, answer)) = &self.answer
            && **known == *vector
        {
            return answer.clone();
        }
        let mut difference = Vec::new();
        self.inner.write_difference(vector, &mut difference);
        let answer = Bytes::from(difference);
        self.answer = Some((vector.into(), answer.clone()));
        answer
    }

    /// All of it, as an update.
    pub(super) fn whole(&mut self) -> Bytes {
        if let Some(whole) = &self.whole {
            return whole.clone();
        }
        if self.inner.is_collection_due() {
            self.inner.collect();
        }
        let whole = Bytes::from(self.inner.whole());
        self.whole = Some(whole.clone());
        whole
    }

    /// Updates that wait for what is missing; part of nothing else that is told.
    pub(super) fn pending(&self) -> impl Iterator<Item = &[u8]> {
        self.inner.pending()
    }

    /// Nothing happens: what can be made again is forgotten.
    pub(super) fn rest(&mut self) {
        (self.whole, self.answer) = (None, None);
    }

    /// What it holds, in bytes, about.
    pub(super) fn len(&self) -> usize {
        self.inner.len()
    }

    /// Whether nobody has ever written to it.
    pub(super) fn is_new(&self) -> bool {
        self.inner.is_empty()
    }

    /// What must hold between any two calls.
    #[cfg(test)]
    pub(super) fn invariants(&self) {
        self.inner.invariants();
    }
}

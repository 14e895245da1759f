//! What happens to a session while its stored record is loaded: kept in order, and done afterwards.

use super::Hello;
use crate::session::effects::RecordName;
use crate::session::{Close, Effects, MemberId};

/// Messages that may wait, in bytes.
const BYTES_MAX: usize = 16 << 20;
const OVERLOADED: Close = Close::new(1013, "Try again later");
/// Names the load; there is never more than one.
const TICKET: u32 = 1;

/// Something that waits. `S` is what messages are kept as.
#[derive(Debug)]
pub(super) enum Input<S = Box<str>> {
    Enter(MemberId, Hello),
    Said(MemberId, S),
    Left(MemberId),
    Told(Box<str>, Box<[u8]>),
}

impl<S> Input<S> {
    /// Whose input it is, if it is a member's.
    pub(super) fn member(&self) -> Option<MemberId> {
        match self {
            Self::Enter(member, _) | Self::Said(member, _) | Self::Left(member) => Some(*member),
            Self::Told(..) => None,
        }
    }
}

/// What has a size.
pub(super) trait Bytes {
    /// In bytes.
    fn len(&self) -> usize;
}

impl Bytes for Box<str> {
    fn len(&self) -> usize {
        str::len(self)
    }
}

/// A load under way and what waits for it.
#[derive(Debug)]
pub(super) struct Pending<S = Box<str>> {
    asked: bool,
    bytes: usize,
    inputs: Vec<Input<S>>,
}

impl<S> Default for Pending<S> {
    fn default() -> Self {
        Self { asked: false, bytes: 0, inputs: Vec::new() }
    }
}

impl<S: Bytes> Pending<S> {
    /// Asks for the record, once.
    pub(super) fn ask(&mut self, record: impl FnOnce() -> RecordName, fx: &mut Effects<'_>) {
        if !std::mem::replace(&mut self.asked, true) {
            fx.load(TICKET, vec![record()]);
        }
    }

    /// Lets something wait.
    pub(super) fn push(&mut self, input: Input<S>) -> Result<(), Close> {
        if let Input::Said(_, message) = &input {
            self.bytes += message.len();
            if self.bytes > BYTES_MAX {
                return Err(OVERLOADED);
            }
        }
        self.inputs.push(input);
        Ok(())
    }

    /// Forgets a member that is gone; what it came with.
    pub(super) fn withdraw(&mut self, member: MemberId) -> Option<Hello> {
        let mut came_with = None;
        for input in std::mem::take(&mut self.inputs) {
            match input {
                Input::Enter(who, hello) if who == member => came_with = Some(hello),
                input if input.member() == Some(member) => {}
                input => self.inputs.push(input),
            }
        }
        came_with
    }

    /// What waited, in order.
    pub(super) fn into_inputs(self) -> Vec<Input<S>> {
        self.inputs
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }
}

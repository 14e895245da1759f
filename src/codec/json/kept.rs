//! Values that outlive the text they came in.

use super::raw::Raw;

/// A valid JSON value of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept(Box<str>);

impl Kept {
    /// The value, without being checked again.
    pub fn as_raw(&self) -> Raw<'_> {
        Raw::checked(&self.0)
    }
}

impl From<Raw<'_>> for Kept {
    fn from(value: Raw<'_>) -> Self {
        Self(value.as_str().into())
    }
}

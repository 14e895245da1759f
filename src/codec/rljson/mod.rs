//! Rows of rljson and their hashes (specs: rljson §6): what a row is called by its content, and the
//! rows that make up a tree of files.
//!
//! Invariants:
//! - Nothing recurses on what a peer nested: a row's objects are hashed from an explicit stack.
//! - A [`Hash`] of a row is what the original computes for it, if it computes any.
//!
//! Deliberately absent: tables, and whatever else of a row is opaque to the server.

mod canonical;
mod hash;
mod number;
mod tree;

#[cfg(test)]
mod tests;

pub use canonical::{hash, verify};
pub use hash::{BlobHasher, HASH_CHARS, Hash, blob_id};
pub use tree::{
    EMPTY_ROOT, EMPTY_ROOT_ROW, Identity, NAME_BYTES_MAX, Node, PATH_BYTES_MAX, Row, TreeError,
};

use super::json::{self, JsonError, Raw};

/// Largest row, in bytes: a directory of 160,000 files.
pub const ROW_BYTES_MAX: usize = 4 << 20;
/// Deepest nesting of a row. Hashing reads what is nested once for each level above it.
pub const ROW_DEPTH_MAX: usize = 64;

/// Why a row has no hash, or not the one it claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// It is larger than [`ROW_BYTES_MAX`].
    #[error("a row is larger than {ROW_BYTES_MAX} bytes")]
    TooLarge,
    /// It is not JSON, or nested deeper than [`ROW_DEPTH_MAX`].
    #[error(transparent)]
    Json(#[from] JsonError),
    /// It is not an object.
    #[error("a row is not an object")]
    NotAnObject,
    /// A number that is no integer and has more than three decimals or is beyond 10^9.
    #[error("a number has a higher precision than 0.001, or is out of range")]
    Number,
    /// A key with a lone surrogate, whose place among the others would be anybody's guess.
    #[error("a key is not Unicode")]
    Key,
    /// It does not say its hash.
    #[error("a row has no _hash")]
    Absent,
    /// It, or an object in it, says another hash than its content has.
    #[error("a _hash is wrong: the content has {0}")]
    Mismatch(Hash),
}

/// Reads a row, as far as limits go.
pub fn parse_row(text: &str) -> Result<Raw<'_>, HashError> {
    if text.len() > ROW_BYTES_MAX {
        return Err(HashError::TooLarge);
    }
    let row = json::parse(text, ROW_DEPTH_MAX)?;
    if row.is_object() { Ok(row) } else { Err(HashError::NotAnObject) }
}

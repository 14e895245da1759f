//! JSON (RFC 8259) that is relayed rather than understood: whole texts are checked, and the values
//! a protocol asks for come out as slices of the text.
//!
//! Invariants:
//! - Nothing recurses and nothing is allocated, but for unescaping where it is asked for.
//! - A text is accepted exactly if `JSON.parse` of a browser accepts it, nesting aside: so escapes
//!   of lone surrogates pass.
//! - A [`Raw`] was checked whole; walking it again only skips.
//!
//! Deliberately absent: a tree of values, and numbers beyond what `f64` holds.

mod kept;
mod octets;
mod raw;
mod scan;
mod text;
mod tokens;
mod write;

#[cfg(test)]
mod tests;

pub use kept::Kept;
pub use octets::{OctetsError, octets_len, read_octets, write_octets};
pub use raw::{Elements, Fields, Raw};
pub use tokens::{Token, Tokens};
pub use write::write_string;

use scan::Scanner;

/// Deepest nesting of what is relayed, where a protocol asks for nothing else.
pub const DEPTH_MAX: usize = 128;
/// Deepest nesting that can be asked for.
pub const DEPTH_LIMIT: usize = 512;

/// Why a text was refused, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct JsonError {
    /// What is wrong.
    pub kind: JsonErrorKind,
    /// The offset of the first byte that is wrong, or the length of the text when it ends early.
    pub offset: usize,
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonErrorKind {
    /// The text ends inside a value, or has none.
    #[error("unexpected end of JSON")]
    UnexpectedEnd,
    /// No JSON can have this byte here.
    #[error("unexpected byte in JSON")]
    UnexpectedByte,
    /// A control character in a string, unescaped.
    #[error("control character in a JSON string")]
    ControlInString,
    /// A backslash before anything but an escape.
    #[error("invalid escape in a JSON string")]
    InvalidEscape,
    /// Deeper nesting than asked for.
    #[error("JSON nested too deep")]
    TooDeep,
    /// Valid JSON, but its top level is not an object.
    #[error("JSON is not an object")]
    NotAnObject,
}

/// Checks that `text` is one JSON value, nested at most `depth_max` deep (at most
/// [`DEPTH_LIMIT`]; a scalar has depth 0), in one pass.
pub fn parse(text: &str, depth_max: usize) -> Result<Raw<'_>, JsonError> {
    let mut scanner = Scanner::new(text);
    scanner.skip_space();
    let value = scanner.value(depth_max)?;
    scanner.end()?;
    Ok(value)
}

/// Checks `text` like [`parse`], and gives the values of these keys of its top-level object, in the
/// same pass. Of a key that is repeated the last value counts, as for `JSON.parse`.
pub fn object_fields<'a, const N: usize>(
    text: &'a str,
    keys: &[&str; N],
    depth_max: usize,
) -> Result<[Option<Raw<'a>>; N], JsonError> {
    let mut scanner = Scanner::new(text);
    scanner.skip_space();
    if !scanner.starts_object() {
        let offset = scanner.at();
        parse(text, depth_max)?;
        return Err(JsonError { kind: JsonErrorKind::NotAnObject, offset });
    }
    let inner_depth = depth_max.checked_sub(1);
    let inner_depth = inner_depth.ok_or_else(|| scanner.error(JsonErrorKind::TooDeep))?;
    let mut found = [None; N];
    let mut is_open = scanner.open_object()?;
    while is_open {
        let key = scanner.key()?;
        let value = scanner.value(inner_depth)?;
        if let Some(index) = key.position_in(keys) {
            found[index] = Some(value);
        }
        is_open = scanner.next_field()?;
    }
    scanner.end()?;
    Ok(found)
}

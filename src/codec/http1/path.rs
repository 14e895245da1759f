//! Paths that peers choose: percent-decoding (RFC 3986 §2.1) and what may become a file name.

use std::borrow::Cow;

/// Longest segment, in bytes after decoding: a file name's limit on Linux.
pub const SEGMENT_BYTES_MAX: usize = 255;

/// Most segments of a path.
pub const SEGMENTS_MAX: usize = 32;

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// `%` without two hexadecimal digits.
    #[error("malformed percent escape")]
    Escape,
    /// The decoded bytes are not UTF-8.
    #[error("path is not UTF-8")]
    NotUtf8,
    /// A control character, among them NUL, or a backslash, or an encoded slash.
    #[error("forbidden character in path")]
    Character,
    /// An empty segment: the path is absolute, ends in a slash or has two in a row.
    #[error("empty segment in path")]
    Empty,
    /// A segment `.` or `..`.
    #[error("relative segment in path")]
    Dots,
    /// A segment over [`SEGMENT_BYTES_MAX`] bytes.
    #[error("path segment too long")]
    TooLong,
    /// More than [`SEGMENTS_MAX`] segments.
    #[error("too many path segments")]
    TooDeep,
}

/// Decodes percent escapes; the result is UTF-8 without NUL.
pub fn percent_decode(text: &str) -> Result<Cow<'_, str>, PathError> {
    if !text.contains('%') {
        return if text.contains('\0') { Err(PathError::Character) } else { Ok(text.into()) };
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let (byte, tail) = if *byte == b'%' { escaped(tail)? } else { (*byte, tail) };
        decoded.push(byte);
        rest = tail;
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| PathError::NotUtf8)
}

/// The byte whose escape stands in `bytes`, behind its `%`, and what follows.
fn escaped(bytes: &[u8]) -> Result<(u8, &[u8]), PathError> {
    let [high, low, rest @ ..] = bytes else { return Err(PathError::Escape) };
    let digit = |byte: &u8| char::from(*byte).to_digit(16).ok_or(PathError::Escape);
    match (digit(high)? << 4 | digit(low)?) as u8 {
        0 => Err(PathError::Character),
        byte => Ok((byte, rest)),
    }
}

/// Decodes a path below some root, for example `assets/a%20b.png`, to one that cannot leave it:
/// segments joined by `/`, each an ordinary file name.
pub fn safe_relative(path: &str) -> Result<String, PathError> {
    let mut safe = String::with_capacity(path.len());
    for (index, segment) in path.split('/').enumerate() {
        if index >= SEGMENTS_MAX {
            return Err(PathError::TooDeep);
        }
        if index > 0 {
            safe.push('/');
        }
        let segment = percent_decode(segment)?;
        check_segment(&segment)?;
        safe.push_str(&segment);
    }
    Ok(safe)
}

/// Whether a decoded segment is an ordinary file name.
fn check_segment(segment: &str) -> Result<(), PathError> {
    let is_forbidden = |character: char| character.is_control() || matches!(character, '/' | '\\');
    match segment {
        "" => Err(PathError::Empty),
        "." | ".." => Err(PathError::Dots),
        _ if segment.len() > SEGMENT_BYTES_MAX => Err(PathError::TooLong),
        _ if segment.contains(is_forbidden) => Err(PathError::Character),
        _ => Ok(()),
    }
}

//! The Range header (RFC 9110 §14), for one range of bytes.

/// What part of a representation is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeResult {
    /// All of it, with 200: the header is malformed, of another unit, or names several ranges.
    Whole,
    /// These bytes, with 206.
    Part {
        /// The first byte.
        start: u64,
        /// The last byte, below the length.
        end_inclusive: u64,
    },
    /// No byte of it, with 416.
    Unsatisfiable,
}

/// Reads a Range header's value against a representation of `length` bytes.
pub fn parse(value: &str, length: u64) -> RangeResult {
    range(value, length).unwrap_or(RangeResult::Whole)
}

fn range(value: &str, length: u64) -> Option<RangeResult> {
    let (unit, set) = value.split_once('=')?;
    let (first, last) = set.trim_ascii().split_once('-')?;
    if !unit.trim_ascii().eq_ignore_ascii_case("bytes") {
        return None;
    }
    match (first, last) {
        ("", count) => Some(suffix(number(count)?, length)),
        (first, "") => Some(part(number(first)?, u64::MAX, length)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| part(first, last, length))
        }
    }
}

fn part(start: u64, end_inclusive: u64, length: u64) -> RangeResult {
    if start >= length {
        return RangeResult::Unsatisfiable;
    }
    RangeResult::Part { start, end_inclusive: end_inclusive.min(length - 1) }
}

/// The last `count` bytes.
fn suffix(count: u64, length: u64) -> RangeResult {
    match (count, length) {
        (0, _) => RangeResult::Unsatisfiable,
        // All of nothing can be had, but no Content-Range can say so.
        (_, 0) => RangeResult::Whole,
        _ => part(length.saturating_sub(count), u64::MAX, length),
    }
}

/// A number of digits only; beyond 64 bits the largest.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

//! What an item holds, as yrs 0.28 reads it (`ItemContent::decode`, `Any::decode`).

use super::{DEPTH_MAX, Malformed};
use crate::codec::json;
use crate::codec::lib0::Reader;

/// Contents, by the low five bits of a struct's first byte.
mod kind {
    pub(super) const DELETED: u8 = 1;
    pub(super) const BINARY: u8 = 3;
    pub(super) const STRING: u8 = 4;
    pub(super) const EMBED: u8 = 5;
    pub(super) const FORMAT: u8 = 6;
    pub(super) const TYPE: u8 = 7;
    pub(super) const ANY: u8 = 8;
    pub(super) const DOCUMENT: u8 = 9;
}

/// Shared types that have a name: an XML element and an XML hook.
const XML_ELEMENT: u8 = 3;

/// What a content is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// Clocks it covers; an item of none is dropped by yrs.
    pub(super) len: u64,
    /// Whether it is a document of its own.
    pub(super) is_document: bool,
    /// Whether it is a shared type.
    pub(super) is_type: bool,
}

impl Content {
    fn of(len: u64) -> Self {
        Self { len, is_document: false, is_type: false }
    }
}

/// Checks and skips the content of this kind.
pub(super) fn content(reader: &mut Reader<'_>, kind: u8) -> Result<Content, Malformed> {
    match kind {
        kind::STRING => Ok(Content::of(utf16_len(reader.varstring()?))),
        kind::DELETED => Ok(Content::of(reader.varuint()?)),
        kind::ANY => {
            let count = reader.count(1)?;
            (0..count).try_for_each(|_| skip_any(reader))?;
            Ok(Content::of(count as u64))
        }
        kind::FORMAT => {
            reader.varstring()?;
            skip_json(reader)
        }
        kind::EMBED => skip_json(reader),
        kind::TYPE => skip_type(reader),
        kind::BINARY => reader.varbuf().map(|_| Content::of(1)),
        kind::DOCUMENT => {
            let _guid = reader.varstring()?;
            skip_any(reader)?;
            Ok(Content { is_document: true, ..Content::of(1) })
        }
        // Among them JSON (2), written by Yjs before version 13: yrs 0.28 reads one string more
        // than there are, also of what it wrote itself.
        _ => Err(Malformed::Tag),
    }
}

fn skip_json(reader: &mut Reader<'_>) -> Result<Content, Malformed> {
    json::parse(reader.varstring()?, DEPTH_MAX).map_err(|_| Malformed::Json)?;
    Ok(Content::of(1))
}

/// A shared type: array, map, text, XML element, fragment, hook or text, document, undefined.
fn skip_type(reader: &mut Reader<'_>) -> Result<Content, Malformed> {
    match reader.byte()? {
        XML_ELEMENT => drop(reader.varstring()?),
        0..=6 | 9 | 15 => {}
        _ => return Err(Malformed::Tag),
    }
    Ok(Content { is_type: true, ..Content::of(1) })
}

/// Length in the units that clocks count of text.
fn utf16_len(text: &str) -> u64 {
    let bytes = text.as_bytes();
    if bytes.len() < 16 && text.is_ascii() {
        return bytes.len() as u64;
    }
    // Every character has one first byte; those of four bytes are two units.
    bytes.iter().map(|&byte| u64::from(byte & 0xC0 != 0x80) + u64::from(byte >= 0xF0)).sum()
}

/// A value that holds others: how many are left, and whether each has a key.
#[derive(Clone, Copy)]
struct Open {
    left: usize,
    is_map: bool,
}

/// Checks and skips a value of lib0's `any`.
fn skip_any(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let Some(outermost) = begin_any(reader)? else { return Ok(()) };
    let mut open = [outermost; DEPTH_MAX];
    let mut depth = 1;
    while depth > 0 {
        let innermost = &mut open[depth - 1];
        if innermost.left == 0 {
            depth -= 1;
            continue;
        }
        innermost.left -= 1;
        if innermost.is_map {
            reader.varstring()?;
        }
        if let Some(inner) = begin_any(reader)? {
            *open.get_mut(depth).ok_or(Malformed::Depth)? = inner;
            depth += 1;
        }
    }
    Ok(())
}

/// Skips a value, or enters the one that holds others.
fn begin_any(reader: &mut Reader<'_>) -> Result<Option<Open>, Malformed> {
    match reader.byte()? {
        // Undefined, null, false, true.
        127 | 126 | 121 | 120 => {}
        125 => reader.skip_varint()?,
        124 => drop(reader.bytes(4)?),
        123 | 122 => drop(reader.bytes(8)?),
        119 => drop(reader.varstring()?),
        118 => return Ok(Some(Open { left: reader.count(2)?, is_map: true })),
        117 => return Ok(Some(Open { left: reader.count(1)?, is_map: false })),
        116 => drop(reader.varbuf()?),
        _ => return Err(Malformed::Tag),
    }
    Ok(None)
}

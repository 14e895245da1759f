//! What an item holds: checked, cut and joined as Yjs reads it (yjs 13, `structs/Content*.js`; lib0,
//! `any`).

use super::{DEPTH_MAX, Malformed};
use crate::codec::json;
use crate::codec::lib0::{Reader, write_varbuf, write_varuint};

/// Contents, by the low five bits of a struct's first byte.
pub(super) mod kind {
    pub(in super::super) const DELETED: u8 = 1;
    pub(super) const JSON: u8 = 2;
    pub(super) const BINARY: u8 = 3;
    pub(super) const STRING: u8 = 4;
    pub(super) const EMBED: u8 = 5;
    pub(super) const FORMAT: u8 = 6;
    pub(in super::super) const TYPE: u8 = 7;
    pub(super) const ANY: u8 = 8;
    pub(super) const DOCUMENT: u8 = 9;
}

/// Shared types that have a name: an XML element and an XML hook.
const NAMED_TYPES: [u8; 2] = [3, 5];
/// What Yjs writes for `undefined` where JSON should be.
const UNDEFINED: &str = "undefined";
/// What half a surrogate pair becomes.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Checks and skips the content of this kind; the clocks it covers.
pub(super) fn check(reader: &mut Reader<'_>, kind: u8) -> Result<u64, Malformed> {
    match kind {
        kind::STRING => Ok(utf16_len(reader.varstring()?)),
        kind::DELETED => reader.varuint(),
        kind::ANY => {
            let count = reader.count(1)?;
            (0..count).try_for_each(|_| skip_any(reader))?;
            Ok(count as u64)
        }
        kind::JSON => {
            let count = reader.count(1)?;
            (0..count).try_for_each(|_| skip_json(reader))?;
            Ok(count as u64)
        }
        kind::FORMAT => {
            reader.varstring()?;
            skip_json(reader).map(|()| 1)
        }
        kind::EMBED => skip_json(reader).map(|()| 1),
        kind::TYPE => skip_type(reader).map(|()| 1),
        kind::BINARY => reader.varbuf().map(|_| 1),
        kind::DOCUMENT => {
            let _guid = reader.varstring()?;
            skip_any(reader).map(|()| 1)
        }
        _ => Err(Malformed::Tag),
    }
}

/// Whether contents of this kind are joined by adding their counts and what these count.
pub(super) fn joins(kind: u8) -> bool {
    [kind::STRING, kind::ANY, kind::JSON, kind::DELETED].contains(&kind)
}

/// Writes a content, that was checked, without its first `offset` clocks.
pub(super) fn write_from(kind: u8, content: &[u8], offset: u32, out: &mut Vec<u8>) {
    // As it was checked, this cannot fail.
    let _ = write_slice(kind, content, offset, None, out);
}

/// Writes the clocks `offset..offset + len` of a content that was checked.
pub(super) fn write_part(kind: u8, content: &[u8], offset: u32, len: u32, out: &mut Vec<u8>) {
    let _ = write_slice(kind, content, offset, Some(len), out);
}

fn write_slice(
    kind: u8,
    content: &[u8],
    offset: u32,
    len: Option<u32>,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let mut reader = Reader::new(content);
    match kind {
        kind::STRING => write_varbuf(out, slice_utf16(reader.varstring()?, offset, len).as_bytes()),
        kind::DELETED => {
            let rest = reader.varuint()? - u64::from(offset);
            write_varuint(out, len.map_or(rest, u64::from));
        }
        kind::ANY | kind::JSON => {
            let rest = reader.varuint()? - u64::from(offset);
            let count = len.map_or(rest, u64::from);
            let skip = |reader: &mut Reader<'_>| match kind {
                kind::ANY => skip_any(reader),
                _ => skip_json(reader),
            };
            (0..offset).try_for_each(|_| skip(&mut reader))?;
            let from = reader.rest();
            (0..count).try_for_each(|_| skip(&mut reader))?;
            write_varuint(out, count);
            out.extend_from_slice(&from[..from.len() - reader.rest().len()]);
        }
        _ => out.extend_from_slice(content),
    }
    Ok(())
}

/// A part of a text, in units of UTF-16. A pair that is cut in two is replaced, as Yjs does.
fn slice_utf16(text: &str, offset: u32, len: Option<u32>) -> String {
    let end = len.map_or(u32::MAX, |len| offset + len);
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for character in text.chars() {
        let next = at + character.len_utf16() as u32;
        if at >= offset && next <= end {
            out.push(character);
        } else if next > offset && at < end {
            out.push(REPLACEMENT);
        }
        at = next;
    }
    out
}

/// JSON, or what stands for `undefined`: clients parse it unguarded.
fn skip_json(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let text = reader.varstring()?;
    if text != UNDEFINED {
        json::parse(text, DEPTH_MAX).map_err(|_| Malformed::Json)?;
    }
    Ok(())
}

/// A shared type: array, map, text, XML element, fragment, hook or text.
fn skip_type(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    match reader.byte()? {
        named if NAMED_TYPES.contains(&named) => drop(reader.varstring()?),
        0..=6 => {}
        _ => return Err(Malformed::Tag),
    }
    Ok(())
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

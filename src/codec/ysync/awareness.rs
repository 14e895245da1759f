//! Awareness updates: `count, count x (client, clock, state)`, a state being JSON in a string.

use super::{DEPTH_MAX, Malformed};
use crate::codec::json;
use crate::codec::lib0::{Reader, write_varbuf, write_varuint};

/// Client, clock and the length of the state, one byte each.
const ENTRY_BYTES_MIN: usize = 3;
const NO_STATE: &str = "null";

/// What a client says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The client, at most 2^53 - 1.
    pub client: u64,
    /// Grows with what it says.
    pub clock: u32,
    /// JSON; `None` when the client is gone.
    pub state: Option<&'a str>,
    /// The entry as it came.
    pub raw: &'a [u8],
}

/// The entries of an awareness update that was checked whole.
#[derive(Clone, Debug)]
pub struct Awareness<'a> {
    reader: Reader<'a>,
    left: usize,
}

/// Checks an awareness update, and gives its entries. Every state is JSON, nested at most
/// [`DEPTH_MAX`] deep: clients parse it unguarded.
pub fn awareness(bytes: &[u8]) -> Result<Awareness<'_>, Malformed> {
    let mut reader = Reader::new(bytes);
    let count = reader.count(ENTRY_BYTES_MIN)?;
    let entries = Awareness { reader, left: count };
    for _ in 0..count {
        let state = entry(&mut reader)?.state.unwrap_or(NO_STATE);
        json::parse(state, DEPTH_MAX).map_err(|_| Malformed::Json)?;
    }
    reader.end()?;
    Ok(entries)
}

impl<'a> Iterator for Awareness<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.left = self.left.checked_sub(1)?;
        entry(&mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Awareness<'_> {}

fn entry<'a>(reader: &mut Reader<'a>) -> Result<Entry<'a>, Malformed> {
    let whole = reader.rest();
    let client = reader.varuint()?;
    let clock = u32::try_from(reader.varuint()?).map_err(|_| Malformed::Clock)?;
    let state = reader.varstring()?;
    let raw = &whole[..whole.len() - reader.rest().len()];
    let is_gone = state.trim_matches([' ', '\t', '\n', '\r']) == NO_STATE;
    Ok(Entry { client, clock, state: (!is_gone).then_some(state), raw })
}

/// Appends an entry, as [`Entry::raw`] is one.
pub fn write_entry(out: &mut Vec<u8>, client: u64, clock: u32, state: Option<&str>) {
    write_varuint(out, client);
    write_varuint(out, u64::from(clock));
    write_varbuf(out, state.unwrap_or(NO_STATE).as_bytes());
}

/// Appends an awareness update of these entries.
pub fn write_awareness<'a>(
    out: &mut Vec<u8>,
    entries: impl IntoIterator<Item = &'a [u8], IntoIter: ExactSizeIterator>,
) {
    let entries = entries.into_iter();
    write_varuint(out, entries.len() as u64);
    entries.for_each(|entry| out.extend_from_slice(entry));
}

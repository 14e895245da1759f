//! Structs of an update, one by one: what they are, and how they are cut and joined.
//!
//! A struct covers clocks of one client. An item of several clocks is as good as several items, each
//! of which has the one before it for its origin (Yjs, `splitItem`), so cutting and joining change
//! nothing but the bytes.

use super::Malformed;
use super::content::{self, kind};
use super::update::{clock_of, info, not_empty};
use crate::codec::lib0::{Reader, Varuint, write_varuint};

/// Names one clock of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    /// The client, at most 2^53 - 1.
    pub client: u64,
    /// Its clock.
    pub clock: u32,
}

/// What a struct is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// What was here was collected.
    Collected,
    /// What is here was left out.
    Skipped,
    /// Something that stands somewhere.
    Item(Item<'a>),
}

/// An item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    info: u8,
    origin: Option<Id>,
    right_origin: Option<Id>,
    /// Parent and key, as they came; only of an item without origins.
    parent: &'a [u8],
    /// As it came.
    content: &'a [u8],
}

/// A struct of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Struct<'a> {
    /// Clocks it covers.
    pub len: u32,
    /// What it is.
    pub body: Body<'a>,
    /// As it came.
    pub raw: &'a [u8],
}

impl<'a> Struct<'a> {
    /// Reads a struct, and checks it.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let start = reader.rest();
        let (len, body) = match reader.byte()? {
            info::GC => (not_empty(reader.varuint()?)?, Body::Collected),
            info::SKIP => (not_empty(reader.varuint()?)?, Body::Skipped),
            info => Item::read(reader, info)?,
        };
        let raw = &start[..start.len() - reader.rest().len()];
        Ok(Self { len: clock_of(len)?, body, raw })
    }

    /// Writes it without its first `offset` clocks, of which it has more.
    pub fn write(&self, id: Id, offset: u32, out: &mut Vec<u8>) {
        if offset == 0 {
            return out.extend_from_slice(self.raw);
        }
        let len = self.len - offset;
        match &self.body {
            Body::Collected => write_plain(out, info::GC, len),
            Body::Skipped => write_plain(out, info::SKIP, len),
            Body::Item(item) => {
                item.write_place(id, offset, out);
                content::write_from(item.kind(), item.content, offset, out);
            }
        }
    }

    /// Writes the clocks `offset..offset + len` of it as something that was deleted.
    pub fn write_deleted(&self, id: Id, offset: u32, len: u32, out: &mut Vec<u8>) {
        let Body::Item(item) = &self.body else { return write_plain(out, info::GC, len) };
        let deleted = Item { info: item.info & !info::KIND | kind::DELETED, ..*item };
        deleted.write_place(id, offset, out);
        write_varuint(out, u64::from(len));
    }

    /// Writes the clocks `offset..offset + len` of it.
    pub fn write_part(&self, id: Id, offset: u32, len: u32, out: &mut Vec<u8>) {
        match &self.body {
            _ if offset + len == self.len => self.write(id, offset, out),
            Body::Item(item) => {
                item.write_place(id, offset, out);
                content::write_part(item.kind(), item.content, offset, len, out);
            }
            Body::Collected => write_plain(out, info::GC, len),
            Body::Skipped => write_plain(out, info::SKIP, len),
        }
    }

    /// Whether what it holds can go when it is deleted. A shared type must stay for what is in it.
    pub fn can_be_emptied(&self) -> bool {
        matches!(&self.body, Body::Item(item) if ![kind::DELETED, kind::TYPE].contains(&item.kind()))
    }
}

impl<'a> Item<'a> {
    fn read(reader: &mut Reader<'a>, info: u8) -> Result<(u64, Body<'a>), Malformed> {
        let origin = (info & info::ORIGIN != 0).then(|| id(reader)).transpose()?;
        let right_origin = (info & info::RIGHT_ORIGIN != 0).then(|| id(reader)).transpose()?;
        let start = reader.rest();
        if info & (info::ORIGIN | info::RIGHT_ORIGIN) == 0 {
            match reader.varuint()? {
                0 => drop(id(reader)?),
                1 => drop(reader.varstring()?),
                _ => return Err(Malformed::Tag),
            }
            if info & info::PARENT_KEY != 0 {
                reader.varstring()?;
            }
        }
        let parent = &start[..start.len() - reader.rest().len()];
        let start = reader.rest();
        let len = content::check(reader, info & info::KIND)?;
        let content = &start[..start.len() - reader.rest().len()];
        Ok((len, Body::Item(Self { info, origin, right_origin, parent, content })))
    }

    fn kind(&self) -> u8 {
        self.info & info::KIND
    }

    /// What comes before the content, of the part that begins at `offset`.
    fn write_place(&self, id: Id, offset: u32, out: &mut Vec<u8>) {
        let before = Id { client: id.client, clock: (id.clock + offset).wrapping_sub(1) };
        let origin = if offset > 0 { Some(before) } else { self.origin };
        out.push(self.info | if origin.is_some() { info::ORIGIN } else { 0 });
        for neighbour in [origin, self.right_origin].into_iter().flatten() {
            write_id(out, neighbour);
        }
        if origin.is_none() && self.right_origin.is_none() {
            out.extend_from_slice(self.parent);
        }
    }
}

/// The last struct of a client, as far as others may be joined to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Joint {
    info: u8,
    right_origin: Option<Id>,
    /// Where its length or count stands, in the bytes it is the end of.
    count_at: usize,
}

impl Joint {
    /// Of a struct that stands in `out` from `at` on, to its end; none if nothing can be joined.
    pub(super) fn new(last: &Struct<'_>, at: usize) -> Option<Self> {
        let (info, right_origin, content) = match &last.body {
            Body::Collected => (info::GC, None, last.raw.len() - 1),
            Body::Skipped => return None,
            Body::Item(item) => (item.info, item.right_origin, item.content.len()),
        };
        let joins = info == info::GC || content::joins(info & info::KIND);
        let count_at = at + last.raw.len() - content;
        joins.then_some(Self { info, right_origin, count_at })
    }

    /// Joins a struct to the end of `out`, of which the one before ends at `before`; whether it can
    /// be.
    pub(super) fn join(&self, next: &Struct<'_>, before: Id, out: &mut Vec<u8>) -> bool {
        match &next.body {
            Body::Collected if self.info == info::GC => {
                self.grow(out, u64::from(next.len), &[]);
                true
            }
            Body::Item(item)
                if item.kind() == self.info & info::KIND
                    && (item.info | self.info) & info::PARENT_KEY == 0
                    && item.origin == Some(before)
                    && item.right_origin == self.right_origin
                    && self.info != info::GC =>
            {
                let mut reader = Reader::new(item.content);
                let Ok(count) = reader.varuint() else { return false };
                self.grow(out, count, reader.rest());
                true
            }
            _ => false,
        }
    }

    /// Adds to the count and to what it counts.
    fn grow(&self, out: &mut Vec<u8>, more: u64, bytes: &[u8]) {
        let mut reader = Reader::new(&out[self.count_at..]);
        let count = reader.varuint().unwrap_or_default();
        let old = out.len() - self.count_at - reader.rest().len();
        let new = Varuint::new(count + more);
        let new = new.as_bytes();
        if new.len() == old {
            out[self.count_at..self.count_at + old].copy_from_slice(new);
        } else {
            out.splice(self.count_at..self.count_at + old, new.iter().copied());
        }
        out.extend_from_slice(bytes);
    }
}

fn id(reader: &mut Reader<'_>) -> Result<Id, Malformed> {
    Ok(Id { client: reader.varuint()?, clock: clock_of(reader.varuint()?)? })
}

fn write_id(out: &mut Vec<u8>, id: Id) {
    write_varuint(out, id.client);
    write_varuint(out, u64::from(id.clock));
}

fn write_plain(out: &mut Vec<u8>, info: u8, len: u32) {
    out.push(info);
    write_varuint(out, u64::from(len));
}

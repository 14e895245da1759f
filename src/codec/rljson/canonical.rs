//! The canonical form of a row, streamed into its hash.
//!
//! Keys are sorted by UTF-16 units, members that are `null` are left out, nested objects stand as
//! their own hash, strings have `"` escaped and nothing else, keys not even that (specs: rljson §6).

use std::borrow::Cow;
use std::cmp::Ordering;

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::number::{is_hashable, write_number};
use super::{Hash, HashError};
use crate::codec::json::{Elements, Raw};

/// The member that holds a hash, and is no part of what is hashed.
const HASH: &str = "_hash";
/// What JavaScript sets on no plain object, but on what it inherits from.
const PROTO: &str = "__proto__";

/// The hash that this row has by its content, whatever it says itself.
pub fn hash(row: Raw<'_>) -> Result<Hash, HashError> {
    digest::<Sha256>(row, false).map(Hash::of)
}

/// The hash of a row that says it, as do the objects in it that say any.
pub fn verify(row: Raw<'_>) -> Result<Hash, HashError> {
    let hash = digest::<Sha256>(row, true).map(Hash::of)?;
    let said = row.fields().filter(|(key, _)| key.is_string_of(HASH)).last();
    match said {
        Some((_, said)) if said.is_string_of(hash.as_str()) => Ok(hash),
        Some((_, said)) if !is_nothing(said) => Err(HashError::Mismatch(hash)),
        _ => Err(HashError::Absent),
    }
}

/// Where the canonical form goes.
pub(super) trait Sink: Default {
    fn put(&mut self, bytes: &[u8]);
    fn finish(self) -> Hash;
}

impl Sink for Sha256 {
    fn put(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }

    fn finish(self) -> Hash {
        Hash::of(self)
    }
}

/// An object that is being written, and the arrays of it that are open.
struct Object<'a, S> {
    sink: S,
    fields: std::vec::IntoIter<(Cow<'a, str>, Raw<'a>)>,
    is_first: bool,
    arrays: SmallVec<[Array<'a>; 2]>,
    /// The hash that it says it has.
    said: Option<Raw<'a>>,
}

struct Array<'a> {
    elements: Elements<'a>,
    is_first: bool,
}

/// What comes next in an object.
enum Next<'a> {
    /// It goes on.
    More,
    /// This object stands here.
    Nested(Raw<'a>),
    /// It is over.
    End,
}

/// Writes the canonical form of a row. Objects within it are written to sinks of their own, and have
/// to say the right hash if they say any and `strict` is set.
pub(super) fn digest<S: Sink>(row: Raw<'_>, strict: bool) -> Result<S, HashError> {
    if !row.is_object() {
        return Err(HashError::NotAnObject);
    }
    let mut above = Vec::new();
    let mut object = Object::<S>::new(row)?;
    let mut number = String::new();
    loop {
        match object.step(&mut number)? {
            Next::More => {}
            Next::Nested(raw) => above.push(std::mem::replace(&mut object, Object::new(raw)?)),
            Next::End => {
                let Some(outer) = above.pop() else { return Ok(object.sink) };
                let Object { sink, said, .. } = std::mem::replace(&mut object, outer);
                let hash = sink.finish();
                if strict && said.is_some_and(|said| !said.is_string_of(hash.as_str())) {
                    return Err(HashError::Mismatch(hash));
                }
                object.put_all(&[b"\"", hash.as_bytes(), b"\""]);
            }
        }
    }
}

impl<'a, S: Sink> Object<'a, S> {
    fn new(raw: Raw<'a>) -> Result<Self, HashError> {
        let mut said = None;
        let mut fields = Vec::new();
        for (key, value) in raw.fields() {
            let key = text_of(key)?;
            match &*key {
                HASH => said = Some(value),
                PROTO => {}
                _ => fields.push((key, value)),
            }
        }
        fields.sort_by(|(a, _), (b, _)| by_utf16(a, b));
        // Of keys that are repeated the last counts, the sort being stable.
        fields.dedup_by(|later, earlier| {
            let is_repeated = later.0 == earlier.0;
            if is_repeated {
                earlier.1 = later.1;
            }
            is_repeated
        });
        fields.retain(|(_, value)| !value.is_null());
        let said = said.filter(|said| !is_nothing(*said));
        let mut sink = S::default();
        sink.put(b"{");
        let (fields, arrays) = (fields.into_iter(), SmallVec::new());
        Ok(Self { sink, fields, is_first: true, arrays, said })
    }

    /// Writes the next value, as far as it is not an object itself.
    fn step(&mut self, number: &mut String) -> Result<Next<'a>, HashError> {
        if let Some(array) = self.arrays.last_mut() {
            let Some(element) = array.elements.next() else {
                self.arrays.pop();
                self.sink.put(b"]");
                return Ok(Next::More);
            };
            if !std::mem::take(&mut array.is_first) {
                self.sink.put(b",");
            }
            return self.value(element, number);
        }
        let Some((key, value)) = self.fields.next() else {
            self.sink.put(b"}");
            return Ok(Next::End);
        };
        let before: &[u8] = if std::mem::take(&mut self.is_first) { b"\"" } else { b",\"" };
        self.put_all(&[before, key.as_bytes(), b"\":"]);
        self.value(value, number)
    }

    fn value(&mut self, value: Raw<'a>, number: &mut String) -> Result<Next<'a>, HashError> {
        if value.is_object() {
            return Ok(Next::Nested(value));
        }
        if value.is_array() {
            self.sink.put(b"[");
            self.arrays.push(Array { elements: value.elements(), is_first: true });
        } else if let Some(parsed) = value.as_f64() {
            if !is_hashable(parsed) {
                return Err(HashError::Number);
            }
            number.clear();
            write_number(number, parsed);
            self.sink.put(number.as_bytes());
        } else if let Some(text) = value.to_string_value() {
            self.string(&text);
        } else {
            self.sink.put(value.as_str().as_bytes());
        }
        Ok(Next::More)
    }

    fn string(&mut self, text: &str) {
        let mut separator: &[u8] = b"\"";
        for part in text.split('"') {
            self.put_all(&[separator, part.as_bytes()]);
            separator = b"\\\"";
        }
        self.sink.put(b"\"");
    }

    fn put_all(&mut self, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.sink.put(part));
    }
}

/// Whether it is taken for no hash at all.
fn is_nothing(said: Raw<'_>) -> bool {
    matches!(said.as_str(), "null" | "false" | "\"\"") || said.as_f64() == Some(0.0)
}

fn text_of(key: Raw<'_>) -> Result<Cow<'_, str>, HashError> {
    let text = key.to_string_value().unwrap_or_default();
    // Unescaping puts it in the place of a lone surrogate.
    let is_lone = |text: &String| text.contains(char::REPLACEMENT_CHARACTER);
    match &text {
        Cow::Owned(owned) if is_lone(owned) => Err(HashError::Key),
        _ => Ok(text),
    }
}

/// The order of `Array.prototype.sort`. Only above U+D7FF it is not that of the bytes.
fn by_utf16(a: &str, b: &str) -> Ordering {
    if a.is_ascii() || b.is_ascii() {
        return a.cmp(b);
    }
    a.encode_utf16().cmp(b.encode_utf16())
}

//! What clients send, as JavaScript reads it: fields of objects, and texts.

use std::borrow::Cow;

use crate::codec::json::Raw;

/// The values of these keys, if there is an object; of a key that is repeated the last counts. Of
/// anything but an object there is nothing.
pub(super) fn pick<'a, const N: usize>(
    object: Option<Raw<'a>>,
    keys: &[&str; N],
) -> [Option<Raw<'a>>; N] {
    let mut found = [None; N];
    let Some(object) = object else { return found };
    for (key, value) in object.fields() {
        if let Some(index) = keys.iter().position(|own| key.is_string_of(own)) {
            found[index] = Some(value);
        }
    }
    found
}

/// What `Object.entries` gives: keys and values of an object, indexes and elements of an array, and
/// nothing of anything else. Keys may be repeated.
pub(super) fn entries<'a>(value: Raw<'a>) -> impl Iterator<Item = (Cow<'a, str>, Raw<'a>)> {
    let fields = value.fields().filter_map(|(key, value)| Some((key.to_string_value()?, value)));
    let index = |(index, value): (usize, Raw<'a>)| (Cow::Owned(index.to_string()), value);
    fields.chain(value.elements().enumerate().map(index))
}

/// Whether `typeof` says of a value that counts as true that it is an object.
pub(super) fn is_object(value: &Raw<'_>) -> bool {
    value.is_object() || value.is_array()
}

/// A string that is not blank; it is still to be trimmed.
pub(super) fn text<'a>(value: Option<Raw<'a>>) -> Option<Cow<'a, str>> {
    let text = value?.to_string_value()?;
    (!crate::protocol::js::trim(&text).is_empty()).then_some(text)
}

//! Values that were checked, as slices of their text.

use std::borrow::Cow;

use memchr::memchr2;

use super::text::Unescaped;

/// A valid JSON value, without surrounding whitespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a>(&'a str);

impl<'a> Raw<'a> {
    /// Wraps what the scanner checked.
    pub(super) fn checked(text: &'a str) -> Self {
        debug_assert_eq!(text.trim_ascii(), text);
        Self(text)
    }

    /// The value as it was sent.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether it is a string.
    pub fn is_string(self) -> bool {
        self.0.starts_with('"')
    }

    /// Whether it is an object.
    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    /// Whether it is an array.
    pub fn is_array(self) -> bool {
        self.0.starts_with('[')
    }

    /// Whether it is a number.
    pub fn is_number(self) -> bool {
        self.0.starts_with(|first: char| first == '-' || first.is_ascii_digit())
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// The boolean, if it is one.
    pub fn as_bool(self) -> Option<bool> {
        match self.0 {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// The number, if it is one: the nearest `f64`, an infinity beyond its range, as in a browser.
    pub fn as_f64(self) -> Option<f64> {
        if self.is_number() { self.0.parse().ok() } else { None }
    }

    /// The content of a string that has no escapes.
    pub fn as_simple_string(self) -> Option<&'a str> {
        self.content().filter(|content| !content.contains('\\'))
    }

    /// The string, if it is one, unescaped; lone surrogates become U+FFFD. Allocates if it has
    /// escapes.
    pub fn to_string_value(self) -> Option<Cow<'a, str>> {
        let content = self.content()?;
        if content.contains('\\') {
            return Some(Unescaped::new(content).collect::<String>().into());
        }
        Some(content.into())
    }

    /// Whether it is a string that says `text` once unescaped.
    pub fn is_string_of(self, text: &str) -> bool {
        self.content().is_some_and(|content| {
            content == text || content.contains('\\') && Unescaped::new(content).eq(text.chars())
        })
    }

    /// Which of these strings it says, once unescaped.
    pub(super) fn position_in(self, texts: &[&str]) -> Option<usize> {
        match self.as_simple_string() {
            Some(content) => texts.iter().position(|text| *text == content),
            None => texts.iter().position(|text| self.is_string_of(text)),
        }
    }

    /// The elements, if it is an array; else none.
    pub fn elements(self) -> Elements<'a> {
        Elements { rest: self.inside('[') }
    }

    /// Keys (strings) and values in order, if it is an object; else none. Keys may be repeated.
    pub fn fields(self) -> Fields<'a> {
        Fields { rest: self.inside('{') }
    }

    /// The first `N` elements of an array, as far as it has them, and the text of all others
    /// without the bracket that ends it. `None` if it is not an array.
    pub fn split_elements<const N: usize>(self) -> Option<([Option<Self>; N], &'a str)> {
        if !self.is_array() {
            return None;
        }
        let mut elements = self.elements();
        let mut first = [None; N];
        first.fill_with(|| elements.next());
        Some((first, elements.rest))
    }

    /// What stands between the quotes of a string.
    fn content(self) -> Option<&'a str> {
        self.0.strip_prefix('"')?.strip_suffix('"')
    }

    /// What stands between the brackets of a container that begins so.
    fn inside(self, open: char) -> &'a str {
        let Some(inside) = self.0.strip_prefix(open) else { return "" };
        inside.get(..inside.len().saturating_sub(1)).unwrap_or_default().trim_ascii()
    }
}

/// The elements of an array.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    /// What follows the last comma, trimmed.
    rest: &'a str,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Raw<'a>> {
        next_value(&mut self.rest)
    }
}

/// The keys and values of an object.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    /// What follows the last comma, trimmed.
    rest: &'a str,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Raw<'a>, Raw<'a>);

    fn next(&mut self) -> Option<(Raw<'a>, Raw<'a>)> {
        Some((next_value(&mut self.rest)?, next_value(&mut self.rest)?))
    }
}

/// Takes a value off the text, with the comma or colon behind it.
fn next_value<'a>(rest: &mut &'a str) -> Option<Raw<'a>> {
    if rest.is_empty() {
        return None;
    }
    let (value, behind) = rest.split_at(value_len(rest.as_bytes()));
    *rest = behind.trim_ascii_start().get(1..).unwrap_or_default().trim_ascii_start();
    Some(Raw::checked(value))
}

/// The length of the valid value at the beginning of `bytes`.
fn value_len(bytes: &[u8]) -> usize {
    match bytes.first() {
        Some(b'"') => string_len(bytes),
        Some(b'{' | b'[') => container_len(bytes),
        _ => bytes.iter().position(|byte| ends_scalar(*byte)).unwrap_or(bytes.len()),
    }
}

/// The length of the valid string at the beginning of `bytes`.
pub(super) fn string_len(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found + 1;
        if bytes[at - 1] == b'"' {
            return at;
        }
        at += 1;
    }
    bytes.len()
}

fn container_len(bytes: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at += string_len(&bytes[at..]) - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 1 => return at + 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// Whether no number and no word goes on with this byte.
pub(super) fn ends_scalar(byte: u8) -> bool {
    matches!(byte, b',' | b':' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t')
}

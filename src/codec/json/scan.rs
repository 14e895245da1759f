//! The checking scanner.

use super::raw::Raw;
use super::text::{escape_len, plain_len};
use super::{DEPTH_LIMIT, JsonError, JsonErrorKind};

/// A position in a text, and the steps of the grammar from there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// The containers that are open: one bit each, set for an object.
#[derive(Clone, Copy, Debug)]
struct Nest {
    /// The innermost, lowest first; those around them are in `outer`.
    objects: u128,
    /// As many as fit into `objects` each time, the outermost first.
    outer: [u128; DEPTH_LIMIT / u128::BITS as usize - 1],
    depth: usize,
    depth_max: usize,
}

impl Nest {
    fn new(depth_max: usize) -> Self {
        let outer = Default::default();
        Self { objects: 0, outer, depth: 0, depth_max: depth_max.min(DEPTH_LIMIT) }
    }

    /// Enters a container; `None` if that is too deep.
    fn enter(&mut self, is_object: bool) -> Option<()> {
        if self.depth == self.depth_max {
            return None;
        }
        if let Some(outer) = outer_of(&mut self.outer, self.depth) {
            *outer = self.objects;
        }
        self.objects = self.objects << 1 | u128::from(is_object);
        self.depth += 1;
        Some(())
    }

    fn leave(&mut self) {
        self.objects >>= 1;
        self.depth -= 1;
        if let Some(outer) = outer_of(&mut self.outer, self.depth) {
            self.objects = *outer;
        }
    }

    fn is_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

/// Where the innermost containers are kept when their bits are used for others, if at this depth all
/// are in use.
#[inline]
fn outer_of(outer: &mut [u128], depth: usize) -> Option<&mut u128> {
    const BITS: usize = u128::BITS as usize;
    if depth.is_multiple_of(BITS) { outer.get_mut((depth / BITS).wrapping_sub(1)) } else { None }
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Bytes before the position.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Skips whitespace.
    pub(super) fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Checks and skips one value. The position is at its first byte.
    pub(super) fn value(&mut self, depth_max: usize) -> Result<Raw<'a>, JsonError> {
        let start = self.at;
        let mut nest = Nest::new(depth_max);
        loop {
            let is_over = self.begin_value(&mut nest)? && self.end_value(&mut nest)?;
            if is_over {
                return Ok(self.raw_from(start));
            }
        }
    }

    /// Checks that only whitespace follows.
    pub(super) fn end(&mut self) -> Result<(), JsonError> {
        self.skip_space();
        if self.at < self.text.len() { Err(self.unexpected()) } else { Ok(()) }
    }

    /// Whether an object begins here.
    pub(super) fn starts_object(&self) -> bool {
        self.peek() == Some(b'{')
    }

    /// Enters an object; `false` if it is empty, and then skips it.
    pub(super) fn open_object(&mut self) -> Result<bool, JsonError> {
        self.open(b'}')
    }

    /// Checks and skips a key and its colon.
    pub(super) fn key(&mut self) -> Result<Raw<'a>, JsonError> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return Err(self.unexpected());
        }
        self.string()?;
        let key = self.raw_from(start);
        self.skip_space();
        self.expect(b':')?;
        self.skip_space();
        Ok(key)
    }

    /// Goes on behind a value in an object: to the next key, or, with `false`, past the end.
    pub(super) fn next_field(&mut self) -> Result<bool, JsonError> {
        self.skip_space();
        let is_end = self.peek() == Some(b'}');
        self.expect(if is_end { b'}' } else { b',' })?;
        self.skip_space();
        Ok(!is_end)
    }

    /// An error at this position.
    pub(super) fn error(&self, kind: JsonErrorKind) -> JsonError {
        JsonError { kind, offset: self.at }
    }

    /// Scans a scalar, an empty container, or, giving `false`, up to the first value of a
    /// container.
    fn begin_value(&mut self, nest: &mut Nest) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b'"') => self.string()?,
            Some(byte @ (b'{' | b'[')) => return self.begin_container(byte == b'{', nest),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            _ => return Err(self.unexpected()),
        }
        Ok(true)
    }

    fn begin_container(&mut self, is_object: bool, nest: &mut Nest) -> Result<bool, JsonError> {
        nest.enter(is_object).ok_or_else(|| self.error(JsonErrorKind::TooDeep))?;
        if !self.open(if is_object { b'}' } else { b']' })? {
            nest.leave();
            return Ok(true);
        }
        if is_object {
            self.key()?;
        }
        Ok(false)
    }

    /// Scans what follows a value: ends of containers, up to the next value or, giving `true`, the
    /// end of the outermost.
    fn end_value(&mut self, nest: &mut Nest) -> Result<bool, JsonError> {
        while nest.depth > 0 {
            self.skip_space();
            match (self.peek(), nest.is_object()) {
                (Some(b','), is_object) => {
                    self.at += 1;
                    self.skip_space();
                    if is_object {
                        self.key()?;
                    }
                    return Ok(false);
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    self.at += 1;
                    nest.leave();
                }
                _ => return Err(self.unexpected()),
            }
        }
        Ok(true)
    }

    /// Skips the first byte of a container and whitespace; `false` if `close` follows, and then
    /// skips that too.
    fn open(&mut self, close: u8) -> Result<bool, JsonError> {
        self.at += 1;
        self.skip_space();
        Ok(!self.skip_byte(|byte| byte == close))
    }

    /// Scans a string. The position is at its first quote.
    fn string(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        loop {
            self.at += plain_len(self.rest());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.error(JsonErrorKind::ControlInString)),
                None => return Err(self.unexpected()),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let length = escape_len(self.rest());
        self.at += length.unwrap_or_else(|wrong| wrong);
        match (length, self.peek()) {
            (Ok(_), _) => Ok(()),
            (Err(_), Some(_)) => Err(self.error(JsonErrorKind::InvalidEscape)),
            (Err(_), None) => Err(self.unexpected()),
        }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        self.skip_byte(|byte| byte == b'-');
        if !self.skip_byte(|byte| byte == b'0') {
            self.digits()?;
        }
        if self.skip_byte(|byte| byte == b'.') {
            self.digits()?;
        }
        if self.skip_byte(|byte| matches!(byte, b'e' | b'E')) {
            self.skip_byte(|byte| matches!(byte, b'+' | b'-'));
            self.digits()?;
        }
        Ok(())
    }

    /// Scans one or more digits.
    fn digits(&mut self) -> Result<(), JsonError> {
        if !self.skip_byte(|byte| byte.is_ascii_digit()) {
            return Err(self.unexpected());
        }
        while self.skip_byte(|byte| byte.is_ascii_digit()) {}
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), JsonError> {
        word.bytes().try_for_each(|byte| self.expect(byte))
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.skip_byte(|next| next == byte) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Skips the next byte if it is one of these.
    fn skip_byte(&mut self, is_one: impl Fn(u8) -> bool) -> bool {
        // A branch can be predicted; adding the outcome would make each byte wait for the last.
        if !self.peek().is_some_and(is_one) {
            return false;
        }
        self.at += 1;
        true
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn raw_from(&self, start: usize) -> Raw<'a> {
        Raw::checked(&self.text[start..self.at])
    }

    /// The error that the grammar has nothing for the byte here.
    #[cold]
    #[inline(never)]
    fn unexpected(&self) -> JsonError {
        self.error(match self.peek() {
            Some(_) => JsonErrorKind::UnexpectedByte,
            None => JsonErrorKind::UnexpectedEnd,
        })
    }
}

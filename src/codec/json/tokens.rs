//! Walking all of a value, nested ones included, in one pass.

use super::raw::{Raw, ends_scalar, string_len};

/// A step of the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// An object begins.
    Object,
    /// An array begins.
    Array,
    /// The innermost object or array ends.
    End,
    /// A key of the innermost object: a string. Its value follows.
    Key(Raw<'a>),
    /// A string, a number, a boolean or `null`.
    Scalar(Raw<'a>),
}

/// The tokens of a value, in order.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Raw<'a> {
    /// All that the value is made of, in order, however deep: linear in its length, unlike walking
    /// [`Raw::fields`] and [`Raw::elements`] of what is nested.
    pub fn tokens(self) -> Tokens<'a> {
        Tokens { rest: self.as_str() }
    }
}

impl<'a> Tokens<'a> {
    /// Takes so many bytes off the text.
    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }

    fn string(&mut self) -> Token<'a> {
        let string = Raw::checked(self.take(string_len(self.rest.as_bytes())));
        self.rest = self.rest.trim_ascii_start();
        // In a valid text a colon follows keys only.
        if self.rest.starts_with(':') { Token::Key(string) } else { Token::Scalar(string) }
    }

    fn scalar(&mut self) -> Token<'a> {
        let end = self.rest.bytes().position(ends_scalar).unwrap_or(self.rest.len());
        Token::Scalar(Raw::checked(self.take(end)))
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let between = |byte: char| matches!(byte, ',' | ':' | ' ' | '\n' | '\r' | '\t');
        self.rest = self.rest.trim_start_matches(between);
        let bracket = match self.rest.as_bytes().first()? {
            b'"' => return Some(self.string()),
            b'{' => Token::Object,
            b'[' => Token::Array,
            b'}' | b']' => Token::End,
            _ => return Some(self.scalar()),
        };
        self.take(1);
        Some(bracket)
    }
}

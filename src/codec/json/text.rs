//! Strings of JSON: finding their end, and reading their escapes.

/// Bytes that are tested at once in long strings.
const STRIDE: usize = 32;

/// How many leading bytes of `bytes` stand in a JSON string for themselves: all but `"`, `\` and
/// control characters.
///
/// Keys and short strings end in the first word, long ones are mostly strides.
#[inline]
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    match bytes.first_chunk().map(plain_in_word) {
        Some(WORD) => WORD + long_plain_len(&bytes[WORD..]),
        Some(plain) => plain,
        None => short_plain_len(bytes),
    }
}

fn long_plain_len(bytes: &[u8]) -> usize {
    let (strides, _) = bytes.as_chunks::<STRIDE>();
    let mut at = STRIDE * strides.iter().take_while(|stride| all_plain(stride)).count();
    while let Some(word) = bytes[at..].first_chunk() {
        let plain = plain_in_word(word);
        at += plain;
        if plain < WORD {
            return at;
        }
    }
    at + short_plain_len(&bytes[at..])
}

fn short_plain_len(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_plain(**byte)).count()
}

/// Bytes of a machine word.
const WORD: usize = 8;

/// How many leading bytes of the word are plain.
#[inline]
fn plain_in_word(word: &[u8; WORD]) -> usize {
    const LOW: u64 = u64::from_ne_bytes([0x01; WORD]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; WORD]);
    let word = u64::from_le_bytes(*word);
    // Each sets the high bit of the lowest byte it looks for; borrows disturb only those above.
    let below = |word: u64, limit: u8| word.wrapping_sub(LOW * u64::from(limit)) & !word;
    let equal = |byte: u8| below(word ^ (LOW * u64::from(byte)), 1);
    let special = (below(word, 0x20) | equal(b'"') | equal(b'\\')) & HIGH;
    special.trailing_zeros() as usize / 8
}

/// Free of branches, so that it becomes a handful of vector instructions.
fn all_plain(stride: &[u8; STRIDE]) -> bool {
    stride.iter().fold(0, |special, byte| special | u8::from(!is_plain(*byte))) == 0
}

const fn is_plain(byte: u8) -> bool {
    (byte >= 0x20) & (byte != b'"') & (byte != b'\\')
}

/// The length of the escape at the beginning of `bytes`, which is a backslash; `Err` with the
/// offset of the byte that no escape has there, which may be past the end.
pub(super) fn escape_len(bytes: &[u8]) -> Result<usize, usize> {
    match bytes.get(1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
        Some(b'u') => {
            let is_hex = |at: &usize| bytes.get(*at).is_some_and(u8::is_ascii_hexdigit);
            (2..6).find(|at| !is_hex(at)).map_or(Ok(6), Err)
        }
        _ => Err(1),
    }
}

/// The characters of a valid string's content, unescaped. A lone surrogate becomes U+FFFD, as it
/// does when a browser encodes it.
#[derive(Clone, Debug)]
pub(super) struct Unescaped<'a> {
    rest: &'a str,
}

impl<'a> Unescaped<'a> {
    /// Reads `content`: a valid string without its quotes.
    pub(super) fn new(content: &'a str) -> Self {
        Self { rest: content }
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// The character whose escape's letter is `letter`.
    fn escaped(&mut self, letter: u8) -> char {
        self.skip(2);
        match letter {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.utf16(),
            other => char::from(other),
        }
    }

    /// The character whose UTF-16 unit stands in hexadecimal here, with a low surrogate behind it
    /// if it is a high one.
    fn utf16(&mut self) -> char {
        let high = unit(self.rest);
        self.skip(4);
        let low = self.rest.strip_prefix("\\u").map(unit).filter(|low| is_low(*low));
        let low = low.filter(|_| is_high(high));
        if low.is_some() {
            self.skip(6);
        }
        let mut characters = char::decode_utf16([high].into_iter().chain(low));
        characters.next().and_then(Result::ok).unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

impl Iterator for Unescaped<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        if character == '\\' {
            let letter = self.rest.as_bytes().get(1).copied()?;
            return Some(self.escaped(letter));
        }
        self.skip(character.len_utf8());
        Some(character)
    }
}

fn unit(hex: &str) -> u16 {
    hex.get(..4).and_then(|hex| u16::from_str_radix(hex, 16).ok()).unwrap_or_default()
}

fn is_high(unit: u16) -> bool {
    (0xD800..0xDC00).contains(&unit)
}

fn is_low(unit: u16) -> bool {
    (0xDC00..0xE000).contains(&unit)
}

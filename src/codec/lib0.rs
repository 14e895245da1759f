//! lib0, the byte encoding of the Yjs family: numbers of variable length, and what they prefix.
//!
//! Source: lib0's `encoding.js` and `decoding.js`. A varuint has seven bits a byte, the low group
//! first; the high bit says that more follow.
//!
//! Invariants: nothing is allocated by a declared size, and every number has one form only.

/// Largest number: what JavaScript holds exactly.
pub const VARUINT_MAX: u64 = (1 << 53) - 1;

/// Why bytes in this encoding were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The bytes end inside a value.
    #[error("unexpected end")]
    End,
    /// A number that is too large, or longer than it needs to be.
    #[error("invalid number")]
    Number,
    /// More entries are declared than the bytes left can hold.
    #[error("count larger than the bytes left can hold")]
    Count,
    /// A string that is not UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// A string that has to be JSON and is not, or is nested too deep.
    #[error("invalid JSON")]
    Json,
    /// A value nested too deep.
    #[error("nested too deep")]
    Depth,
    /// A tag that names nothing known.
    #[error("unknown tag")]
    Tag,
    /// A clock, or the clock after a range, beyond what yrs can count.
    #[error("clock too large")]
    Clock,
    /// A range or a struct that covers nothing where it must cover something.
    #[error("empty range")]
    Empty,
    /// The same client twice in one update.
    #[error("client repeated")]
    RepeatedClient,
    /// Client numbers chosen to collide in a hash table.
    #[error("client numbers collide")]
    CollidingClients,
    /// More of something than its limit allows.
    #[error("too many")]
    TooMany,
    /// Bytes after the end.
    #[error("trailing bytes")]
    Trailing,
}

/// Reads values one after another.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the first byte on.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Checks that all was read.
    pub fn end(&self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed::Trailing) }
    }

    /// One byte.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let (&byte, rest) = self.bytes.split_first().ok_or(Malformed::End)?;
        self.bytes = rest;
        Ok(byte)
    }

    /// As many bytes as that.
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.bytes.split_at_checked(len).ok_or(Malformed::End)?;
        self.bytes = rest;
        Ok(bytes)
    }

    /// A number, at most [`VARUINT_MAX`]. One that is longer than it needs to be is refused.
    #[inline]
    pub fn varuint(&mut self) -> Result<u64, Malformed> {
        let first = self.byte()?;
        if first < 0x80 { Ok(u64::from(first)) } else { self.long_varuint(first) }
    }

    fn long_varuint(&mut self, first: u8) -> Result<u64, Malformed> {
        let mut number = u64::from(first & 0x7F);
        for shift in (7..=49).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            match byte {
                0 => return Err(Malformed::Number),
                1..0x80 if number <= VARUINT_MAX => return Ok(number),
                1..0x80 => return Err(Malformed::Number),
                _ => {}
            }
        }
        Err(Malformed::Number)
    }

    /// Skips a signed number: six bits and the sign in its first byte, then as a varuint. At most
    /// [`VARUINT_MAX`] either way; negative zero is one.
    pub fn skip_varint(&mut self) -> Result<(), Malformed> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(());
        }
        // Seven bits too many: more than 2^53 - 1 of magnitude is 2^47 and more of these.
        let high = self.varuint()?;
        if (1..1 << 47).contains(&high) { Ok(()) } else { Err(Malformed::Number) }
    }

    /// Bytes after their length.
    #[inline]
    pub fn varbuf(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.varuint()?;
        self.bytes(usize::try_from(len).map_err(|_| Malformed::End)?)
    }

    /// Text after its length in bytes.
    #[inline]
    pub fn varstring(&mut self) -> Result<&'a str, Malformed> {
        simdutf8::basic::from_utf8(self.varbuf()?).map_err(|_| Malformed::Utf8)
    }

    /// How many entries follow, if each has at least `entry_bytes_min` bytes.
    #[inline]
    pub fn count(&mut self, entry_bytes_min: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.varuint()?).map_err(|_| Malformed::Count)?;
        if count <= self.bytes.len() / entry_bytes_min { Ok(count) } else { Err(Malformed::Count) }
    }
}

/// A number as bytes, on the stack.
#[derive(Clone, Copy, Debug)]
pub struct Varuint {
    bytes: [u8; Self::BYTES_MAX],
    len: u8,
}

impl Varuint {
    /// Longest form, in bytes.
    pub const BYTES_MAX: usize = 10;

    /// Writes `number`.
    pub fn new(number: u64) -> Self {
        let (mut bytes, mut len, mut rest) = ([0; Self::BYTES_MAX], 0, number);
        while rest >= 0x80 {
            bytes[len] = rest as u8 | 0x80;
            rest >>= 7;
            len += 1;
        }
        bytes[len] = rest as u8;
        Self { bytes, len: len as u8 + 1 }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Appends a number.
pub fn write_varuint(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(Varuint::new(number).as_bytes());
}

/// Appends bytes after their length.
pub fn write_varbuf(out: &mut Vec<u8>, bytes: &[u8]) {
    write_varuint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

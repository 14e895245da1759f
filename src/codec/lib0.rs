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
    /// A clock, or the clock after a range, beyond what any client has.
    #[error("clock too large")]
    Clock,
    /// A range or a struct that covers nothing where it must cover something.
    #[error("empty range")]
    Empty,
    /// Ranges that are not in order.
    #[error("ranges out of order")]
    Order,
    /// The same client twice in one update.
    #[error("client repeated")]
    RepeatedClient,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn written(number: u64) -> Vec<u8> {
        let mut out = Vec::new();
        write_varuint(&mut out, number);
        out
    }

    #[test]
    fn numbers_have_the_bytes_of_lib0() {
        // By hand: seven bits a byte, the low group first.
        for (number, bytes) in [
            (0, &[0][..]),
            (127, &[0x7F]),
            (128, &[0x80, 1]),
            (300, &[0xAC, 2]),
            (1 << 14, &[0x80, 0x80, 1]),
            (VARUINT_MAX, &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]),
        ] {
            assert_eq!(written(number), bytes);
            assert_eq!(Reader::new(bytes).varuint(), Ok(number));
        }
    }

    #[test]
    fn numbers_come_back_at_every_length() {
        for bits in 0..53 {
            for number in [(1 << bits) - 1, 1 << bits, (1 << bits) + 1] {
                let bytes = [written(number), vec![7]].concat();
                let mut reader = Reader::new(&bytes);
                assert_eq!(reader.varuint(), Ok(number));
                assert_eq!(reader.rest(), [7]);
            }
        }
        assert_eq!(written(u64::MAX).len(), Varuint::BYTES_MAX);
    }

    #[test]
    fn numbers_too_large_too_long_or_cut_are_refused() {
        let too_large = [written(VARUINT_MAX + 1), written(u64::MAX), vec![0xFF; 20]];
        for bytes in too_large.iter().map(Vec::as_slice).chain([&[0x80, 0][..], &[0xFF, 0x80, 0]]) {
            assert_eq!(Reader::new(bytes).varuint(), Err(Malformed::Number), "{bytes:x?}");
        }
        for cut in [&[][..], &[0x80], &[0xFF, 0xFF]] {
            assert_eq!(Reader::new(cut).varuint(), Err(Malformed::End), "{cut:x?}");
        }
    }

    #[test]
    fn signed_numbers_are_skipped_up_to_what_javascript_holds() {
        // 1, -1, -0, 64, and 2^53 - 1: six bits, then 47.
        let largest = [0xBF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x1F];
        for bytes in [&[1][..], &[0x41], &[0x40], &[0x80, 1], &largest] {
            let mut reader = Reader::new(bytes);
            assert_eq!(reader.skip_varint(), Ok(()), "{bytes:x?}");
            assert!(reader.is_empty());
        }
        let too_large = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20];
        for bytes in [&too_large[..], &[0xBF, 0], &[0xFF; 12]] {
            assert_eq!(Reader::new(bytes).skip_varint(), Err(Malformed::Number), "{bytes:x?}");
        }
    }

    #[test]
    fn buffers_and_strings_come_back() {
        let mut out = Vec::new();
        write_varbuf(&mut out, b"\xFF\0");
        write_varbuf(&mut out, "\u{E9}".as_bytes());
        write_varbuf(&mut out, b"\xFF");
        let mut reader = Reader::new(&out);
        assert_eq!(reader.varbuf(), Ok(&b"\xFF\0"[..]));
        assert_eq!(reader.varstring(), Ok("\u{E9}"));
        assert_eq!(reader.end(), Err(Malformed::Trailing));
        assert_eq!(reader.varstring(), Err(Malformed::Utf8));
        assert_eq!(reader.end(), Ok(()));
        assert_eq!(Reader::new(&[3, 1, 2]).varbuf(), Err(Malformed::End));
    }

    #[test]
    fn a_count_has_to_fit_the_bytes_left() {
        assert_eq!(Reader::new(&[2, 0, 0, 0, 0]).count(2), Ok(2));
        assert_eq!(Reader::new(&[2, 0, 0, 0]).count(2), Err(Malformed::Count));
        let mut huge = written(VARUINT_MAX);
        huge.extend([0; 64]);
        assert_eq!(Reader::new(&huge).count(1), Err(Malformed::Count));
    }
}

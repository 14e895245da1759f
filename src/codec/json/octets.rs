//! Bytes as an array of numbers, `[0,255]`: how JSON carries what is binary.

use super::Raw;

/// Why an array is none of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OctetsError {
    /// It is no array.
    #[error("not an array")]
    NotAnArray,
    /// An element is no integer from 0 to 255, written with digits alone.
    #[error("not a byte")]
    NotAByte,
    /// More bytes than asked for.
    #[error("too many bytes")]
    TooMany,
}

/// Longest text of a byte with the comma behind it.
const TEXT_BYTES_MAX: usize = 4;

/// The text of a byte with a comma behind it, and its length.
type Digits = ([u8; TEXT_BYTES_MAX], u8);

static DIGITS: [Digits; 256] = digits();

const fn digits() -> [Digits; 256] {
    let mut table = [([b','; TEXT_BYTES_MAX], 0); 256];
    let mut byte = 0;
    while byte < 256 {
        let (hundreds, tens, ones) = (byte / 100, byte / 10 % 10, byte % 10);
        let mut len = 0;
        let text = &mut table[byte].0;
        if byte >= 100 {
            text[len] = b'0' + hundreds as u8;
            len += 1;
        }
        if byte >= 10 {
            text[len] = b'0' + tens as u8;
            len += 1;
        }
        text[len] = b'0' + ones as u8;
        table[byte].1 = len as u8 + 2;
        byte += 1;
    }
    table
}

/// How long the array of these bytes is, as a text.
pub fn octets_len(parts: &[&[u8]]) -> usize {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    let more = |part: &&[u8]| -> usize {
        part.iter().map(|&byte| usize::from(byte >= 10) + usize::from(byte >= 100)).sum()
    };
    // A digit and a comma for each, but for the last; two brackets.
    2 * bytes + parts.iter().map(more).sum::<usize>() + if bytes == 0 { 2 } else { 1 }
}

/// Appends these bytes as one array.
pub fn write_octets(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.push(b'[');
    let begin = out.len();
    for part in parts {
        let mut at = out.len();
        out.resize(at + TEXT_BYTES_MAX * part.len(), 0);
        for &byte in *part {
            let (text, len) = DIGITS[usize::from(byte)];
            // As long a copy each time: what is too much of it is written over.
            out[at..at + TEXT_BYTES_MAX].copy_from_slice(&text);
            at += usize::from(len);
        }
        out.truncate(at);
    }
    if out.len() > begin {
        out.pop();
    }
    out.push(b']');
}

/// Appends the bytes that `value` is an array of, at most `bytes_max`.
pub fn read_octets(value: Raw<'_>, out: &mut Vec<u8>, bytes_max: usize) -> Result<(), OctetsError> {
    let text = value.as_str().as_bytes();
    if !value.is_array() {
        return Err(OctetsError::NotAnArray);
    }
    let mut at = behind_space(text, 1);
    if text.get(at) == Some(&b']') {
        return Ok(());
    }
    let end = out.len() + bytes_max;
    out.reserve((text.len() / 2).min(bytes_max));
    loop {
        let begin = at;
        let mut number = 0;
        while let Some(digit) = text.get(at).map(|byte| byte.wrapping_sub(b'0'))
            && digit < 10
            && at < begin + 3
        {
            number = number * 10 + u32::from(digit);
            at += 1;
        }
        let byte = u8::try_from(number).ok().filter(|_| at > begin);
        let byte = byte.ok_or(OctetsError::NotAByte)?;
        if out.len() == end {
            return Err(OctetsError::TooMany);
        }
        out.push(byte);
        at = behind_space(text, at);
        match text.get(at) {
            Some(b',') => at = behind_space(text, at + 1),
            Some(b']') => return Ok(()),
            _ => return Err(OctetsError::NotAByte),
        }
    }
}

fn behind_space(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn read(text: &str) -> Result<Vec<u8>, OctetsError> {
        let mut out = b"x".to_vec();
        let value = parse(text, 8).expect("JSON");
        read_octets(value, &mut out, 5).map(|()| out.split_off(1))
    }

    #[test]
    fn bytes_are_written_as_a_browser_writes_them() {
        let all: Vec<u8> = (0..=255).collect();
        for parts in [&[&all[..]][..], &[], &[b""], &[b"", b"\x00", b"", b"\xFF\x0A"]] {
            let mut out = b"x".to_vec();
            write_octets(&mut out, parts);
            let expected: Vec<String> = parts.concat().iter().map(u8::to_string).collect();
            let expected = format!("x[{}]", expected.join(","));
            assert_eq!(String::from_utf8(out).as_deref(), Ok(&*expected));
            assert_eq!(octets_len(parts), expected.len() - 1);
        }
    }

    #[test]
    fn bytes_are_read() {
        assert_eq!(read("[]"), Ok(vec![]));
        assert_eq!(read(" [ ] "), Ok(vec![]));
        assert_eq!(read("[0,255,10]"), Ok(vec![0, 255, 10]));
        assert_eq!(read("[ 7 ,\n\t8\r]"), Ok(vec![7, 8]));
        assert_eq!(read("[1,2,3,4,5]"), Ok(vec![1, 2, 3, 4, 5]));
    }

    #[test]
    fn what_is_no_byte_is_refused() {
        for text in [
            "[256]",
            "[1000]",
            "[25555555555555555555]",
            "[-1]",
            "[-0]",
            "[1.0]",
            "[1e2]",
            "[0e0]",
            "[\"1\"]",
            "[null]",
            "[true]",
            "[[1]]",
            "[{}]",
            "[1,[2]]",
            "[1,1.5]",
        ] {
            assert_eq!(read(text), Err(OctetsError::NotAByte), "{text}");
        }
        for text in ["{}", "\"ab\"", "1", "null"] {
            assert_eq!(read(text), Err(OctetsError::NotAnArray), "{text}");
        }
        assert_eq!(read("[1,2,3,4,5,6]"), Err(OctetsError::TooMany));
    }

    #[test]
    fn what_was_written_is_read() {
        let all: Vec<u8> = (0..=255).rev().cycle().take(1_000).collect();
        let mut text = Vec::new();
        write_octets(&mut text, &[&all[..300], &all[300..]]);
        let text = String::from_utf8(text).expect("UTF-8");
        let mut read = Vec::new();
        let value = parse(&text, 1).expect("JSON");
        assert_eq!(read_octets(value, &mut read, 1_000), Ok(()));
        assert_eq!(read, all);
    }
}

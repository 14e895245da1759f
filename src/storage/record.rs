//! The form of a record on disk: one line that tells version, length and checksum, then the content.
//!
//! `lockstep-record 1 000000000000002a 1f2e3d4c\n`: length in bytes and CRC-32C of the content, in
//! hexadecimal. A record that was torn or damaged does not pass for another one.

/// What the line begins with; the number is the version of this form.
const MAGIC: &[u8] = b"lockstep-record 1 ";
const LENGTH_DIGITS: usize = 16;
const CHECKSUM_DIGITS: usize = 8;
/// Bytes of the line, its end included.
const HEADER_BYTES: usize = MAGIC.len() + LENGTH_DIGITS + 1 + CHECKSUM_DIGITS + 1;

/// The line before this content.
pub(super) fn header(content: &[u8]) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    let rest = format!("{:016x} {:08x}\n", content.len(), crc32c::crc32c(content));
    header.extend_from_slice(rest.as_bytes());
    header
}

/// The content of a stored record, or what is wrong with it.
pub(super) fn content(mut stored: Vec<u8>) -> Result<Vec<u8>, String> {
    if !stored.starts_with(MAGIC) || stored.len() < HEADER_BYTES {
        return Err("it does not begin like a record".to_owned());
    }
    let content = stored.split_off(HEADER_BYTES);
    let expected = header(&content);
    if stored != expected {
        let (is, was) = (String::from_utf8_lossy(&expected), String::from_utf8_lossy(&stored));
        return Err(format!(
            "its content is {:?}, its first line says {:?}",
            is.trim(),
            was.trim()
        ));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored(bytes: &[u8]) -> Vec<u8> {
        [header(bytes).as_slice(), bytes].concat()
    }

    #[test]
    fn the_form_on_disk_is_fixed() {
        let text = b"lockstep-record 1 0000000000000009 e3069283\n123456789";
        assert_eq!(stored(b"123456789"), text);
        assert_eq!(header(b"").len(), HEADER_BYTES);
    }

    proptest! {
        #[test]
        fn content_comes_back(bytes: Vec<u8>) {
            prop_assert_eq!(content(stored(&bytes)), Ok(bytes));
        }

        #[test]
        fn a_changed_byte_is_noticed(bytes: Vec<u8>, at: prop::sample::Index, by in 1u8..) {
            let mut damaged = stored(&bytes);
            let at = at.index(damaged.len());
            damaged[at] ^= by;
            prop_assert!(content(damaged).is_err());
        }

        #[test]
        fn a_torn_record_is_noticed(bytes: Vec<u8>, at: prop::sample::Index) {
            let mut torn = stored(&bytes);
            torn.truncate(at.index(torn.len()));
            prop_assert!(content(torn).is_err());
        }
    }
}

//! The names of rows and blobs: the first 22 characters of a SHA-256 in base64url.

use std::fmt;

use sha2::{Digest, Sha256};

/// Characters of a hash.
pub const HASH_CHARS: usize = 22;
/// Bytes of a digest that these characters tell something of.
const DIGEST_BYTES: usize = 17;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What a row or a blob is called by its content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; HASH_CHARS]);

impl Hash {
    /// The hash of these characters; none if they are not 22 of base64url.
    pub const fn new(text: &str) -> Option<Self> {
        match text.as_bytes().as_array() {
            Some(characters) => Self::from_ascii(*characters),
            None => None,
        }
    }

    /// The hash of these characters; none if they are not base64url.
    pub const fn from_ascii(characters: [u8; HASH_CHARS]) -> Option<Self> {
        let mut at = 0;
        while at < HASH_CHARS {
            if !matches!(characters[at], b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_') {
                return None;
            }
            at += 1;
        }
        Some(Self(characters))
    }

    /// Its characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Its characters.
    pub const fn as_bytes(&self) -> &[u8; HASH_CHARS] {
        &self.0
    }

    /// Of what was digested.
    pub(super) fn of(digest: Sha256) -> Self {
        let digest = digest.finalize();
        let mut characters = [0; HASH_CHARS];
        let (mut bits, mut count, mut at) = (0_u32, 0, 0);
        for byte in digest.iter().take(DIGEST_BYTES) {
            (bits, count) = (bits << 8 | u32::from(*byte), count + 8);
            while count >= 6 && at < HASH_CHARS {
                count -= 6;
                characters[at] = ALPHABET[(bits >> count & 0x3F) as usize];
                at += 1;
            }
        }
        Self(characters)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Names a blob whose bytes come piece by piece.
#[derive(Clone, Debug, Default)]
pub struct BlobHasher(Sha256);

impl BlobHasher {
    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// What the blob is called, now that all has come.
    pub fn finish(self) -> Hash {
        Hash::of(self.0)
    }
}

/// What a blob is called.
pub fn blob_id(bytes: &[u8]) -> Hash {
    Hash::of(Sha256::new_with_prefix(bytes))
}

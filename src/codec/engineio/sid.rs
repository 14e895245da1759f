//! Session ids: where a session is, and a secret that only its client knows.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;

/// Bytes of the secret: 72 bits, beyond guessing over a network.
pub const SECRET_BYTES: usize = 9;
/// Characters of a session id.
pub const SID_BYTES: usize = 20;

/// Names an Engine.IO session: any shard finds the one that has it, which needs no map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sid {
    /// The shard that has the session.
    pub shard: u16,
    /// Its index there.
    pub index: u32,
    /// Nobody but its client knows it.
    pub secret: [u8; SECRET_BYTES],
}

impl Sid {
    /// The id that a client sent, if it looks like one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != SID_BYTES {
            return None;
        }
        let bytes: [u8; 15] = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?.try_into().ok()?;
        let [a, b, c, d, e, f, secret @ ..] = bytes;
        Some(Self {
            shard: u16::from_be_bytes([a, b]),
            index: u32::from_be_bytes([c, d, e, f]),
            secret,
        })
    }

    /// Whether this is the secret, in a time that does not tell where it differs.
    pub fn has_secret(&self, secret: &[u8; SECRET_BYTES]) -> bool {
        self.secret.iter().zip(secret).fold(0, |found, (a, b)| found | (a ^ b)) == 0
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 15];
        bytes[..2].copy_from_slice(&self.shard.to_be_bytes());
        bytes[2..6].copy_from_slice(&self.index.to_be_bytes());
        bytes[6..].copy_from_slice(&self.secret);
        f.write_str(&BASE64URL_NOPAD.encode(&bytes))
    }
}

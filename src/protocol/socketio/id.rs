//! Names of clients.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};

/// Size of a name, in bytes.
pub(super) const ID_BYTES: usize = 15;

/// What a client is known by to others in a namespace: on the wire 20 characters of URL-safe base64.
///
/// Unique, and no secret: it tells nothing of the name that Engine.IO knows the connection by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId([u8; ID_BYTES]);

impl SocketId {
    /// The name made of a random number and one that was never used before.
    pub(super) fn new(random: u64, number: u64) -> Self {
        Self::hashed(random, number, b"name")
    }

    /// A secret of the same form, which the name made of the same numbers does not give away.
    pub(super) fn secret(random: u64, number: u64) -> Self {
        Self::hashed(random, number, b"secret")
    }

    fn hashed(random: u64, number: u64, what: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(random.to_le_bytes());
        hash.update(number.to_le_bytes());
        hash.update(what);
        let mut id = [0; ID_BYTES];
        id.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        Self(id)
    }

    /// The name of these bytes, see [`SocketId::as_bytes`].
    pub(super) fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
        Self(bytes)
    }

    /// What it is made of.
    pub(super) fn as_bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }

    /// As it is on the wire: ASCII that stands in JSON for itself.
    pub fn to_text(self) -> [u8; 20] {
        let mut text = [0; 20];
        BASE64URL_NOPAD.encode_mut(&self.0, &mut text);
        text
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_text();
        out.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

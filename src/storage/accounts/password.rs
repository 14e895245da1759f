//! Passwords as Argon2id hashes (RFC 9106), in PHC strings that tell their own parameters: memory of
//! 19 MiB, two passes, one lane, as OWASP has it. Those made with other parameters stay valid.

use std::io;

use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use serde::{Deserialize, Serialize};

use super::Password;

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hash(Box<str>);

impl Hash {
    /// Hashes a password with fresh salt.
    pub(super) fn new(password: &Password) -> io::Result<Self> {
        let salt: [u8; 16] = random()?;
        let hash = Argon2::default()
            .hash_password_with_salt(password.0.as_bytes(), &salt)
            .map_err(|error| io::Error::other(format!("hashing a password: {error}")))?;
        Ok(Self(hash.to_string().into()))
    }

    /// Whether it was made of this password.
    pub(super) fn is_of(&self, password: &Password) -> bool {
        Argon2::default().verify_password(password.0.as_bytes(), &*self.0).is_ok()
    }
}

/// An id that nobody has: a UUID of version 4 (RFC 9562 §5.4).
pub(super) fn random_id() -> io::Result<String> {
    let bits = u128::from_be_bytes(random()?);
    let bits = bits & !(0xF << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    let [a, b, c, d, e] = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| &hex[range]);
    Ok(format!("{a}-{b}-{c}-{d}-{e}"))
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    if filled == N { Ok(bytes) } else { Err(io::Error::other("too few random numbers")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password(text.to_owned())
    }

    #[test]
    fn a_hash_is_of_its_password_only() {
        let hash = Hash::new(&password("correct horse")).unwrap();
        assert!(hash.is_of(&password("correct horse")));
        assert!(!hash.is_of(&password("correct Horse")) && !hash.is_of(&password("")));
        assert!(hash != Hash::new(&password("correct horse")).unwrap(), "salted");
        assert!(hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.0);
    }

    #[test]
    fn hashes_of_others_are_read() {
        // Of the reference implementation's own tests; its parameters are not ours.
        let other =
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        let other = Hash(other.into());
        assert!(other.is_of(&password("password")) && !other.is_of(&password("passwort")));
        for rubbish in ["", "$", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$"] {
            assert!(!Hash(rubbish.into()).is_of(&password("password")), "{rubbish}");
        }
    }

    #[test]
    fn ids_have_the_form_of_a_uuid() {
        let (one, other) = (random_id().unwrap(), random_id().unwrap());
        assert_ne!(one, other);
        assert!(one.len() == 36 && one.as_bytes()[14] == b'4', "{one}");
        assert!(b"89ab".contains(&one.as_bytes()[19]), "{one}");
    }
}

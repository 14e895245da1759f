//! What upgrade requests told, kept small.

use super::super::Hello;

/// A [`Hello`] of a member from outside, in one piece.
#[derive(Debug)]
pub(super) struct KeptHello(Box<[u8]>);

/// What separates its parts: in none of them, for they are visible ASCII or names of addresses.
const END: u8 = 0;

/// What precedes a part that was told, be it empty.
const TOLD: u8 = b'+';

impl KeptHello {
    /// Takes it over.
    pub(super) fn new(hello: &Hello) -> Self {
        let parts = [
            Some(&hello.target),
            Some(&hello.peer),
            Some(&hello.user_ip),
            hello.location.as_ref(),
            hello.cookie.as_ref(),
            hello.authorization.as_ref(),
        ];
        let mut bytes = Vec::new();
        for part in parts {
            if let Some(part) = part {
                bytes.push(TOLD);
                bytes.extend(part.bytes().filter(|byte| *byte != END));
            }
            bytes.push(END);
        }
        Self(bytes.into())
    }

    /// What it was.
    pub(super) fn to_hello(&self) -> Hello {
        let mut parts = self.0.split(|byte| *byte == END);
        let mut next = || {
            let part = parts.next()?.strip_prefix(&[TOLD])?;
            Some(String::from_utf8_lossy(part).into_owned())
        };
        Hello {
            target: next().unwrap_or_default(),
            peer: next().unwrap_or_default(),
            user_ip: next().unwrap_or_default(),
            location: next(),
            cookie: next(),
            authorization: next(),
            carry: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_is_kept() {
        for location in [None, Some(String::new()), Some("Paris".to_owned())] {
            for target in ["", "/socket.io/?EIO=4&x=%00"] {
                let hello = Hello {
                    target: target.to_owned(),
                    peer: "[::1]:80".to_owned(),
                    user_ip: "1.2.3.4".to_owned(),
                    location: location.clone(),
                    cookie: None,
                    authorization: location.clone(),
                    carry: Vec::new(),
                };
                let kept = KeptHello::new(&hello).to_hello();
                assert_eq!(format!("{kept:?}"), format!("{hello:?}"));
            }
        }
    }
}

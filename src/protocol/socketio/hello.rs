//! What upgrade requests told, kept small.

use super::super::Hello;

/// A [`Hello`] of a member from outside, in one piece.
#[derive(Debug)]
pub(super) struct KeptHello(Box<[u8]>);

/// What separates its parts: in none of them, for they are visible ASCII or names of addresses.
const END: u8 = 0;

impl KeptHello {
    /// Takes it over.
    pub(super) fn new(hello: &Hello) -> Self {
        let location = hello.location.as_deref();
        let mut bytes = Vec::new();
        for part in [Some(&hello.target[..]), Some(&hello.peer), Some(&hello.user_ip), location] {
            bytes.extend(part.unwrap_or_default().bytes().filter(|byte| *byte != END));
            bytes.push(END);
        }
        // Told apart from an empty one.
        if location.is_none() {
            bytes.pop();
        }
        Self(bytes.into())
    }

    /// What it was.
    pub(super) fn to_hello(&self) -> Hello {
        let mut ends = self.0.split(|byte| *byte == END);
        let mut next = || ends.next().map(|part| String::from_utf8_lossy(part).into_owned());
        let target = next().unwrap_or_default();
        let peer = next().unwrap_or_default();
        let user_ip = next().unwrap_or_default();
        let location = next();
        let is_told = ends.next().is_some();
        let location = location.filter(|_| is_told);
        Hello { target, peer, user_ip, location, carry: Vec::new() }
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
                    carry: Vec::new(),
                };
                let kept = KeptHello::new(&hello).to_hello();
                assert_eq!(format!("{kept:?}"), format!("{hello:?}"));
            }
        }
    }
}

//! Tokens that tell who somebody is: JWTs signed with HMAC-SHA256 (RFC 7515, RFC 7519).

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::codec::json::{self, Raw};
use crate::protocol::js;

/// Longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4 << 10;
/// Deepest nesting in a token.
const DEPTH_MAX: usize = 16;
/// The header of tokens made here.
const HEADER: &[u8] = br#"{"alg":"HS256","typ":"JWT"}"#;
/// RFC 4648 §5.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The subject of a token that is signed with `secret` and in force at `now_ms`, in milliseconds
/// since 1970. A number becomes a text.
pub fn verify(secret: &str, token: &str, now_ms: u64) -> Option<Box<str>> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    // Before anything in the token is looked at.
    mac_of(secret, signed)?.verify_slice(&base64url(signature)?).ok()?;
    let (header, claims) = (base64url(header)?, base64url(claims)?);
    let [algorithm] = fields(&header, &["alg"])?;
    let [subject, expires, not_before] = fields(&claims, &["sub", "exp", "nbf"])?;
    algorithm.filter(|name| name.is_string_of("HS256"))?;
    let now = now_ms as f64 / 1e3;
    // A claim that is there and no number makes the token one that is not understood.
    if expires.is_some_and(|at| at.as_f64().is_none_or(|at| at <= now))
        || not_before.is_some_and(|at| at.as_f64().is_none_or(|at| at > now))
    {
        return None;
    }
    let subject = subject.filter(|subject| subject.is_string() || subject.is_number())?;
    Some(js::text(Some(subject)).into())
}

/// A token of `subject` that is in force until `expires`, both times in seconds since 1970; `None` if
/// the secret cannot be used.
pub fn sign(secret: &str, subject: &str, issued: u64, expires: u64) -> Option<String> {
    let mut claims = b"{\"sub\":".to_vec();
    json::write_string(&mut claims, subject);
    claims.extend_from_slice(format!(",\"iat\":{issued},\"exp\":{expires}}}").as_bytes());
    let mut token = String::new();
    write_base64url(&mut token, HEADER);
    token.push('.');
    write_base64url(&mut token, &claims);
    let signature = mac_of(secret, &token)?.finalize().into_bytes();
    token.push('.');
    write_base64url(&mut token, &signature);
    Some(token)
}

fn mac_of(secret: &str, signed: &str) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(signed.as_bytes());
    Some(mac)
}

fn fields<'a, const N: usize>(json: &'a [u8], keys: &[&str; N]) -> Option<[Option<Raw<'a>>; N]> {
    json::object_fields(std::str::from_utf8(json).ok()?, keys, DEPTH_MAX).ok()
}

/// Decodes base64url without padding (RFC 4648 §5).
fn base64url(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for byte in group {
            bits = bits << 6 | u32::from(sextet(*byte)?);
        }
        let count = match group.len() {
            4 => 3,
            3 => 2,
            2 => 1,
            _ => return None,
        };
        bits <<= 6 * (4 - group.len());
        let [_, bytes @ ..] = bits.to_be_bytes();
        // What is left over of the last sextet must be zero, or two texts would be the same bytes.
        if bytes[count..].iter().any(|byte| *byte != 0) {
            return None;
        }
        out.extend_from_slice(&bytes[..count]);
    }
    Some(out)
}

/// Appends base64url without padding.
fn write_base64url(out: &mut String, bytes: &[u8]) {
    for group in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(word);
        for index in 0..=group.len() {
            let sextet = (bits >> (18 - 6 * index)) as usize & 63;
            out.push(char::from(ALPHABET[sextet]));
        }
    }
}

fn sextet(byte: u8) -> Option<u8> {
    ALPHABET.iter().position(|own| *own == byte).map(|index| index as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Signed by Node's crypto.createHmac('sha256', 's').
    const UNTIL_2000: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOjcsImlhdCI6MSwiZXhwIjoyMDAwfQ.mEuUQRgJSzRG5cfAdYlrjfzzENHneyeB2Ug1ozzBFE4";
    const FOREVER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4ifQ.v6gvhiIU1jlaspKuIfHxJl7m0bLXgCoy82JS9yEknmU";
    const FROM_2000: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI3IiwibmJmIjoyMDAwfQ.dW7X2l1g3nWcMayINP6-2Hy6eFYYrEqW0iFUCUhfOQw";
    const NO_ALGORITHM: &str =
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.jzPnqsb0IZnlzq89AWhkOVblPTik6dgK6n3pkNOWevs";
    const NO_SUBJECT: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjF9.ZlWJfeQ8dQT6M-iHJ9EvN6Xd-0QgMav0YVfBIidljf0";
    const ODD_EXPIRY: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJleHAiOiIyMDAwIn0.gyo2TMnKd0YzhFQ9TWHAGSk5jJ2LStjem9yAVagdtWc";
    const QUOTED: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhXCJiIiwiaWF0IjoxLCJleHAiOjIwMDB9.5SdfzEIB13d0VQWzaSO-JujHyAlLNQ0_zObXULVy_cc";

    #[test]
    fn a_token_is_signed_as_others_sign_it() {
        assert_eq!(sign("s", "a\"b", 1, 2_000).as_deref(), Some(QUOTED));
        assert_eq!(verify("s", QUOTED, 0).as_deref(), Some("a\"b"));
        for subject in ["", "x", "ab", "abc", "ünï"] {
            let token = sign("secret", subject, 0, 1).expect("is signed");
            assert_eq!(verify("secret", &token, 999).as_deref(), Some(subject));
            assert_eq!(verify("secret", &token, 1_000), None);
            assert_eq!(verify("other", &token, 0), None);
        }
    }

    #[test]
    fn a_token_tells_its_subject_while_it_is_in_force() {
        let at = |token: &str, ms| verify("s", token, ms);
        assert_eq!(at(UNTIL_2000, 1_999_999).as_deref(), Some("7"));
        assert_eq!(at(UNTIL_2000, 2_000_000), None, "expired");
        assert_eq!(verify("t", UNTIL_2000, 0), None);
        assert_eq!(at(FOREVER, u64::MAX).as_deref(), Some("ann"));
        assert_eq!(at(FROM_2000, 1_999_999), None);
        assert_eq!(at(FROM_2000, 2_000_000).as_deref(), Some("7"));
    }

    #[test]
    fn what_is_not_signed_so_tells_nothing() {
        assert_eq!(verify("s", NO_ALGORITHM, 0), None);
        assert_eq!(verify("s", NO_SUBJECT, 0), None);
        assert_eq!(verify("s", ODD_EXPIRY, 0), None);
        let (signed, signature) = FOREVER.rsplit_once('.').unwrap();
        let other = UNTIL_2000.rsplit_once('.').unwrap().0;
        for forged in [
            format!("{other}.{signature}"),
            format!("{signed}."),
            signed.to_owned(),
            format!("{FOREVER}A"),
            format!("{FOREVER}="),
            FOREVER[..FOREVER.len() - 1].to_owned(),
            format!("{}.{FOREVER}", "a".repeat(TOKEN_BYTES_MAX)),
            String::new(),
            "..".to_owned(),
        ] {
            assert_eq!(verify("s", &forged, 0), None, "{forged}");
        }
    }

    #[test]
    fn base64url_has_one_text_for_each_sequence_of_bytes() {
        for (text, bytes) in
            [("", &b""[..]), ("_w", b"\xff"), ("-_8", b"\xfb\xff"), ("AAEC", b"\0\x01\x02")]
        {
            assert_eq!(base64url(text).as_deref(), Some(bytes), "{text}");
        }
        for text in ["A", "_x", "-_9", "AA==", "AA A", "AA+A", "AAAAA"] {
            assert_eq!(base64url(text), None, "{text}");
        }
    }
}

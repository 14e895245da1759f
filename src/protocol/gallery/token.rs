//! Signed roles (specs: gallery §5): where a secret is set, a role is what a token of the upgrade
//! request grants: `role.expiry.signature`, the expiry in seconds since 1970, the signature the
//! HMAC-SHA256 of `userId|roomId|role|expiry` in hexadecimal.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::user::Role;

/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 32;

/// The role that `token` grants this user in this room now.
pub(super) fn granted(
    secret: &str,
    token: &str,
    user_id: &str,
    room_id: &str,
    now_ms: u64,
) -> Option<Role> {
    // With the separator in an id two different grants could be signed alike.
    if user_id.contains('|') || room_id.contains('|') {
        return None;
    }
    let (role, rest) = token.split_once('.')?;
    let (expiry, signature) = rest.split_once('.')?;
    if expiry.parse::<u64>().ok()?.saturating_mul(1_000) <= now_ms {
        return None;
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    for part in [user_id, "|", room_id, "|", role, "|", expiry] {
        mac.update(part.as_bytes());
    }
    mac.verify_slice(&bytes_of(signature)?).ok()?;
    Some(Role::by_name(role))
}

/// The bytes of a signature in hexadecimal.
fn bytes_of(hex: &str) -> Option<[u8; SIGNATURE_BYTES]> {
    let mut bytes = [0; SIGNATURE_BYTES];
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if pairs.len() != SIGNATURE_BYTES || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = (digit(*high)? << 4 | digit(*low)?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    // printf 'u|r|host|2000' | openssl dgst -sha256 -hmac s
    const TOKEN: &str =
        "host.2000.059ce1e2951c5778124fa1db59de8f812d5bd9bceb4b47f3b9d99072179f2d3d";

    #[test]
    fn a_token_grants_one_role_to_one_user_in_one_room_for_a_while() {
        let role = |secret, token: &str, user, room, ms| granted(secret, token, user, room, ms);
        assert_eq!(role("s", TOKEN, "u", "r", 1_999_999), Some(Role::Host));
        assert_eq!(
            role("s", &TOKEN.to_uppercase().replace("HOST", "host"), "u", "r", 0),
            Some(Role::Host)
        );
        assert_eq!(role("s", TOKEN, "u", "r", 2_000_000), None, "expired");
        assert_eq!(role("t", TOKEN, "u", "r", 0), None);
        assert_eq!(role("s", TOKEN, "v", "r", 0), None);
        assert_eq!(role("s", TOKEN, "u", "s", 0), None);
        assert_eq!(role("s", TOKEN, "u|r", "r", 0), None);
        for forged in [
            TOKEN.replace("2000", "3000"),
            TOKEN.replace("host", "editor"),
            TOKEN[..TOKEN.len() - 2].to_owned(),
            format!("{TOKEN}0"),
            "host.2000.".to_owned(),
            "host".to_owned(),
            String::new(),
        ] {
            assert_eq!(role("s", &forged, "u", "r", 0), None, "{forged}");
        }
    }
}

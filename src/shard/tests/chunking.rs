//! However the network cuts what a client sends, the client gets the same bytes back.

use proptest::prelude::*;

use super::world::{Setup, World, masked, upgrade};
use super::{TALK, talk};
use crate::shard::routes::Profile;

/// What one client sends from its request to its close frame.
fn conversation() -> Vec<u8> {
    let mut bytes = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n".to_vec();
    bytes.extend(upgrade("/room/listening").bytes());
    bytes.extend(masked(0x81, b"say first"));
    bytes.extend(masked(0x89, b"ping"));
    bytes.extend(masked(0x01, b"reply in "));
    bytes.extend(masked(0x8A, b""));
    bytes.extend(masked(0x00, b"three "));
    bytes.extend(masked(0x80, "parts é".as_bytes()));
    bytes.extend(masked(0x81, format!("others {}", "o".repeat(9_000)).as_bytes()));
    bytes.extend(masked(0x81, b"share 70000"));
    bytes.extend(masked(0x82, &[7; 200]));
    bytes.extend(masked(0x81, b""));
    bytes.extend(masked(0x81, b"say never heard"));
    bytes
}

/// Sends `bytes` in pieces of these lengths, with a turn after each; what comes back.
fn converse(profile: Profile, bytes: &[u8], chunk: usize, pieces: &[usize]) -> Vec<u8> {
    let mut world = World::new(Setup { chunk, ..Setup::new(profile) });
    let connection = world.network.connect();
    let mut rest = bytes;
    for &piece in pieces {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        world.network.deliver(connection, now);
        world.turn();
        rest = later;
    }
    world.network.deliver(connection, rest);
    world.settle();
    world.network.take(connection)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_bytes_come_back_however_they_were_cut(
        chunk in prop_oneof![1..20usize, 1..5_000usize],
        pieces in prop::collection::vec(prop_oneof![1..30usize, 1..4_000usize], 0..60),
    ) {
        let bytes = conversation();
        let whole = converse(TALK, &bytes, usize::MAX, &[]);
        prop_assert!(whole.ends_with(talk::DENIED.reason.as_bytes()));
        prop_assert!(converse(TALK, &bytes, chunk, &pieces) == whole);
    }
}

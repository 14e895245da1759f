//! Vectors of the specification and of recordings of the original.

use super::*;
use crate::session::frame::{FrameKind, Header};

fn framed(kind: FrameKind, content: &[u8]) -> Vec<u8> {
    [Header::new(kind, content.len()).as_bytes(), content].concat()
}

#[test]
fn packets_are_told_by_their_first_character() {
    for (text, packet) in [
        ("4hello", Ok(Packet::Message("hello"))),
        ("4", Ok(Packet::Message(""))),
        ("3", Ok(Packet::Pong)),
        ("3probe", Ok(Packet::Pong)),
        ("1", Ok(Packet::Close)),
        ("bAQIDBA==", Ok(Packet::Binary(vec![1, 2, 3, 4]))),
        ("b", Ok(Packet::Binary(vec![]))),
        ("bAQIDBA", Err(BadPacket)),
        ("0{}", Ok(Packet::Ignored)),
        ("5", Ok(Packet::Ignored)),
        ("6", Ok(Packet::Ignored)),
        ("2", Err(BadPacket)),
        ("2probe", Err(BadPacket)),
        ("7", Err(BadPacket)),
        ("", Err(BadPacket)),
        ("ü", Err(BadPacket)),
    ] {
        assert_eq!(Packet::parse(text), packet, "{text:?}");
    }
}

#[test]
fn frames_become_a_payload() {
    let long = "x".repeat(70_000);
    let frames = [
        framed(FrameKind::Text, b"4hello"),
        framed(FrameKind::Binary, &[1, 2, 3, 4]),
        framed(FrameKind::Ping, b"no packet"),
        framed(FrameKind::Text, long.as_bytes()),
        framed(FrameKind::Text, &[b'y'; 200]),
    ];
    let mut payload = Vec::new();
    payload::from_frames(&mut payload, &frames.concat());
    payload::push(&mut payload, CLOSE.as_bytes());
    let payload = String::from_utf8(payload).unwrap();
    let packets: Vec<_> = payload::packets(&payload).collect();
    assert_eq!(packets, ["4hello", "bAQIDBA==", &long, &"y".repeat(200), "1"]);
}

#[test]
fn a_payload_with_an_empty_packet_says_so() {
    assert_eq!(payload::packets("4a\u{1e}").collect::<Vec<_>>(), ["4a", ""]);
    assert_eq!(payload::packets("").collect::<Vec<_>>(), [""]);
}

#[test]
fn session_ids_lead_back() {
    let sid = Sid { shard: 513, index: 0xDEAD_BEEF, secret: [0xFF, 0, 1, 2, 3, 4, 5, 6, 7] };
    let text = sid.to_string();
    assert_eq!(text.len(), SID_BYTES);
    assert_eq!(Sid::parse(&text), Some(sid));
    assert!(sid.has_secret(&sid.secret));
    let mut other = sid.secret;
    other[8] ^= 1;
    assert!(!sid.has_secret(&other));
    for not in ["", "short", &format!("{text}A"), &text.replace('_', "/"), &"ü".repeat(10)] {
        assert_eq!(Sid::parse(not), None, "{not}");
    }
}

#[test]
fn queries_are_read_as_the_original_reads_them() {
    let query = Query::parse("EIO=4&transport=polling&t=abc&sid=x");
    assert_eq!(query.means, Some(Means::Polling));
    assert!(query.is_version_4);
    assert_eq!(query.sid, Some("x"));
    let last = Query::parse("transport=polling&EIO=3&transport=websocket&EIO=4&sid=");
    assert_eq!(last.means, Some(Means::WebSocket));
    assert!(last.is_version_4);
    assert_eq!(last.sid, None);
    assert_eq!(Query::parse("transport=tcp&EIO=abc"), Query::default());
    assert_eq!(Query::parse(""), Query::default());
}

#[test]
fn refusals_have_the_codes_that_clients_know() {
    assert_eq!(Refusal::UnknownTransport.body(), r#"{"code":0,"message":"Transport unknown"}"#);
    assert_eq!(
        Refusal::UnsupportedVersion.body(),
        r#"{"code":5,"message":"Unsupported protocol version"}"#
    );
    assert_eq!(Refusal::Forbidden.status(), 403);
    assert_eq!(Refusal::BadRequest.status(), 400);
}

#[test]
fn the_first_packet_tells_what_a_client_must_know() {
    let handshake = Handshake {
        sid: Sid { shard: 0, index: 0, secret: [0; SECRET_BYTES] },
        may_upgrade: true,
        ping_interval: Duration::from_secs(25),
        ping_timeout: Duration::from_secs(20),
        payload_bytes_max: 1_000_000,
    };
    let expected = r#"0{"sid":"AAAAAAAAAAAAAAAAAAAA","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    assert_eq!(handshake.packet(), expected);
    let direct = Handshake { may_upgrade: false, ..handshake };
    assert!(direct.packet().contains(r#""upgrades":[],"#));
}

use proptest::prelude::*;

use super::*;
use crate::codec::json::{JsonErrorKind, Raw, parse};

const LIMITS: Limits = Limits { attachments_max: 10, namespace_bytes_max: 512, depth_max: 512 };

fn read(text: &str) -> Result<Packet<'_>, PacketError> {
    decode(text, LIMITS)
}

fn raw(text: &str) -> Raw<'_> {
    parse(text, 512).unwrap()
}

fn event_of(payload: Option<&str>) -> Body<'_> {
    Body::Event { attachments: 0, payload: payload.map(raw) }
}

#[test]
fn packets_are_read() {
    let packet = |namespace, ack, body| Ok(Packet { namespace, ack, body });
    for (text, namespace, ack, body) in [
        ("0", "/", None, Body::Connect(None)),
        ("0{\"a\":1}", "/", None, Body::Connect(Some(raw("{\"a\":1}")))),
        ("0/custom,", "/custom", None, Body::Connect(None)),
        ("0/custom", "/custom", None, Body::Connect(None)),
        ("0/custom?a=1,{}", "/custom?a=1", None, Body::Connect(Some(raw("{}")))),
        ("1", "/", None, Body::Disconnect),
        ("1/custom,", "/custom", None, Body::Disconnect),
        ("2[\"a\"]", "/", None, event_of(Some("[\"a\"]"))),
        ("2/,[\"a\"]", "/", None, event_of(Some("[\"a\"]"))),
        ("212[\"a\"]", "/", Some(12), event_of(Some("[\"a\"]"))),
        ("2/b,12[\"a\", 1]", "/b", Some(12), event_of(Some("[\"a\", 1]"))),
        ("2[1]", "/", None, event_of(Some("[1]"))),
        ("2[\"error\"]", "/", None, event_of(Some("[\"error\"]"))),
        ("2 [\"a\"] ", "/", None, event_of(Some("[\"a\"]"))),
        ("2", "/", None, event_of(None)),
        ("27", "/", Some(7), event_of(None)),
        ("30[]", "/", Some(0), Body::Ack { attachments: 0, payload: Some(raw("[]")) }),
        ("3/b,5", "/b", Some(5), Body::Ack { attachments: 0, payload: None }),
        ("4\"no\"", "/", None, Body::ConnectError(Some(raw("\"no\"")))),
        ("4/b,{}", "/b", None, Body::ConnectError(Some(raw("{}")))),
    ] {
        assert_eq!(read(text), packet(namespace, ack, body), "{text}");
    }
    let placeholder = r#"["a",{"_placeholder":true,"num":0}]"#;
    let text = format!("52-/b,3{placeholder}");
    let body = Body::Event { attachments: 2, payload: Some(raw(placeholder)) };
    assert_eq!(read(&text), packet("/b", Some(3), body));
    let body = Body::Ack { attachments: 10, payload: Some(raw("[]")) };
    assert_eq!(read("610-3[]"), packet("/", Some(3), body));
    let body = Body::Event { attachments: 1, payload: None };
    assert_eq!(read("51-"), packet("/", None, body));
}

#[test]
fn what_is_no_packet_is_refused() {
    use PacketError::*;
    for (text, error) in [
        ("", Type),
        ("7", Type),
        ("a", Type),
        ("\u{e9}", Type),
        ("-1", Type),
        ("0[]", Payload),
        ("0\"a\"", Payload),
        ("0null", Payload),
        ("1[]", Payload),
        ("1{}", Payload),
        ("2{}", Payload),
        ("2[]", Payload),
        ("2\"a\"", Payload),
        ("2[{}]", Payload),
        ("2[null]", Payload),
        ("2[true]", Payload),
        ("3{}", Payload),
        ("30\"a\"", Payload),
        ("4[]", Payload),
        ("2[\"connect\"]", Reserved),
        ("2[\"connect_error\"]", Reserved),
        ("2[\"disconnect\"]", Reserved),
        ("2[\"disconnecting\"]", Reserved),
        ("2[\"newListener\"]", Reserved),
        ("2[\"removeListener\"]", Reserved),
        ("2[\"\\u0063onnect\"]", Reserved),
        ("5[\"a\"]", Attachments),
        ("5-[\"a\"]", Attachments),
        ("50-[\"a\"]", Attachments),
        ("5+1-[\"a\"]", Attachments),
        ("5-1-[\"a\"]", Attachments),
        ("51.0-[\"a\"]", Attachments),
        ("51e0-[\"a\"]", Attachments),
        ("5x-[\"a\"]", Attachments),
        ("51[\"a\"]", Attachments),
        ("51", Attachments),
        ("6[]", Attachments),
        ("511-[\"a\"]", TooManyAttachments),
        ("599999999999999999999999-[\"a\"]", TooManyAttachments),
        ("6256-[]", TooManyAttachments),
        ("218446744073709551616[\"a\"]", AckId),
    ] {
        assert_eq!(read(text), Err(error), "{text}");
    }
    for text in ["0{", "2[\"a\"", "2[\"a\"]]", "2a", "21-[\"a\"]", "2-1[\"a\"]", "2[\"a\"] 1", "1x"]
    {
        assert!(matches!(read(text), Err(Json(_))), "{text}");
    }
}

/// The original rounds ids beyond 2^53.
#[test]
fn ack_ids_are_exact() {
    for id in [0, 1, (1 << 53) + 1, u64::MAX] {
        let text = format!("2{id}[\"a\"]");
        assert_eq!(read(&text).unwrap().ack, Some(id));
        let head = Head::ack("/b,", 0, id);
        assert_eq!(head.as_bytes(), format!("43/b,{id}").as_bytes());
    }
}

#[test]
fn limits_are_kept_to_the_last() {
    let limits = Limits { attachments_max: 2, namespace_bytes_max: 4, depth_max: 2 };
    assert!(decode("52-/abc,[\"a\",[]]", limits).is_ok());
    assert_eq!(decode("53-[\"a\"]", limits), Err(PacketError::TooManyAttachments));
    assert_eq!(decode("0/abcd,", limits), Err(PacketError::Namespace));
    let error = decode("2[\"a\",[[]]]", limits).expect_err("too deep");
    assert!(matches!(error, PacketError::Json(error) if error.kind == JsonErrorKind::TooDeep));
    let nested = |depth: usize| format!("2[\"a\",{}{}]", "[".repeat(depth), "]".repeat(depth));
    assert!(read(&nested(DEPTH_MAX - 1)).is_ok());
    assert!(matches!(read(&nested(DEPTH_MAX)), Err(PacketError::Json(_))));
    let nested = |depth: usize, inside: &str| {
        format!("51-[\"a\",{}{inside}{}]", "{\"a\":[".repeat(depth), "]}".repeat(depth))
    };
    let good = r#"{"_placeholder":true,"num":0}"#;
    let bad = r#"{"_placeholder":true,"num":1}"#;
    assert!(read(&nested(255, good)).is_ok());
    assert_eq!(read(&nested(255, bad)), Err(PacketError::Placeholder));
}

#[test]
fn placeholders_name_attachments() {
    for good in [
        r#"{"_placeholder":true,"num":0}"#,
        r#"{"num":1,"_placeholder":true}"#,
        r#"{"num":1e0,"_placeholder":true,"more":[{}]}"#,
        r#"{"num":-0,"_placeholder":true}"#,
        r#"{"_placeholder":true,"num":7,"num":1}"#,
        r#"{"_placeholder":true,"_placeholder":false,"num":7}"#,
        r#"{"_placeholder":false,"num":7}"#,
        r#"{"_placeholder":1,"num":7}"#,
        r#"{"_placeholder":"true","num":7}"#,
        r#"{"_placeholder":{},"num":7}"#,
        r#"{"num":7}"#,
        r#"["_placeholder",true,"num",7]"#,
        r#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#,
        r#"{"_placeholder":true,"num":0,"x":{"_placeholder":true}}"#,
        r#""{\"_placeholder\":true}""#,
        "1",
    ] {
        let text = format!("52-[\"a\",{good}]");
        assert!(read(&text).is_ok(), "{good}");
    }
    for bad in [
        r#"{"_placeholder":true}"#,
        r#"{"_placeholder":true,"num":2}"#,
        r#"{"_placeholder":true,"num":-1}"#,
        r#"{"_placeholder":true,"num":0.5}"#,
        r#"{"_placeholder":true,"num":256}"#,
        r#"{"_placeholder":true,"num":1e999}"#,
        r#"{"_placeholder":true,"num":"0"}"#,
        r#"{"_placeholder":true,"num":null}"#,
        r#"{"_placeholder":true,"num":[0]}"#,
        r#"{"_placeholder":true,"x":{"num":0}}"#,
        r#"{"_\u0070laceholder":true,"num":2}"#,
        r#"{"_placeholder":false,"num":0,"_placeholder":true,"num":3}"#,
        r#"[[{"a":{"b":{"_placeholder":true,"num":2}},"c":0}]]"#,
    ] {
        for text in [format!("52-[\"a\",{bad}]"), format!("62-1[{bad}]")] {
            assert_eq!(read(&text), Err(PacketError::Placeholder), "{bad}");
        }
        // In an event without attachments it is but data.
        let text = format!("2[\"a\",{bad}]");
        assert!(read(&text).is_ok(), "{bad}");
    }
}

#[test]
fn attachments_are_found_by_their_placeholders() {
    let attachments = [b"a".to_vec(), b"b".to_vec()];
    let found = |text| attachment_of(raw(text), &attachments);
    assert_eq!(found(r#"{"_placeholder":true,"num":1}"#), Some(&b"b"[..]));
    assert_eq!(found(r#"{"num":5,"_placeholder":true,"num":0}"#), Some(&b"a"[..]));
    for none in [
        "0",
        "[]",
        "{}",
        r#"{"num":0}"#,
        r#"{"_placeholder":true}"#,
        r#"{"_placeholder":true,"num":2}"#,
        r#"{"_placeholder":true,"num":-1}"#,
        r#"{"_placeholder":true,"_placeholder":1,"num":0}"#,
    ] {
        assert_eq!(found(none), None, "{none}");
    }
}

fn joined(parts: &Parts<'_>) -> String {
    String::from_utf8(parts.concat()).unwrap()
}

#[test]
fn packets_are_written_as_clients_expect_them() {
    assert_eq!(prefix("/"), "");
    assert_eq!(prefix("/b"), "/b,");
    let args: [&[u8]; 2] = [b"1", b"[2]"];
    for (head, expected) in [
        (Head::connect(""), "40"),
        (Head::connect("/b,"), "40/b,"),
        (Head::disconnect("/b,"), "41/b,"),
        (Head::connect_error("/b,"), "44/b,"),
        (Head::event("", 0, None), "42"),
        (Head::event("/b,", 2, Some(7)), "452-/b,7"),
        (Head::ack("", 0, 0), "430"),
        (Head::ack("/b,", 1, 7), "461-/b,7"),
    ] {
        assert_eq!(head.as_bytes(), expected.as_bytes());
    }
    let head = Head::event("", 0, None);
    assert_eq!(joined(&event(&head, "a", &[])), r#"42["a"]"#);
    assert_eq!(joined(&event(&head, "a", &args)), r#"42["a",1,[2]]"#);
    let head = Head::ack("", 0, 3);
    assert_eq!(joined(&ack(&head, &[])), "433[]");
    assert_eq!(joined(&ack(&head, &args)), "433[1,[2]]");
    assert_eq!(connect_error("no\"", None), br#"{"message":"no\""}"#);
    assert_eq!(connect_error("", Some("[1]")), br#"{"message":"","data":[1]}"#);
}

fn namespace() -> impl Strategy<Value = String> {
    prop_oneof![Just("/".to_owned()), "/[a-z?=/\u{e9}]{0,8}"]
}

fn values() -> impl Strategy<Value = Vec<String>> {
    let value = prop_oneof![
        Just(r#"{"_placeholder":true,"num":0}"#.to_owned()),
        Just("{\"a\":[]}".to_owned()),
        any::<i32>().prop_map(|number| number.to_string()),
        "\"[a-z,\\[\\]{} -]{0,5}\"",
    ];
    prop::collection::vec(value, 0..4)
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        namespace in namespace(),
        args in values(),
        id in any::<u64>(),
        has_ack: bool,
        attachments in 0_u8..=10,
    ) {
        let before = prefix(&namespace);
        let slices: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
        let ack_id = has_ack.then_some(id);
        let head = Head::event(&before, attachments.into(), ack_id);
        let text = joined(&event(&head, "name", &slices));
        let packet = read(&text[1..]).unwrap();
        prop_assert_eq!(packet.namespace, &namespace);
        prop_assert_eq!(packet.ack, ack_id);
        let Body::Event { attachments: found, payload: Some(payload) } = packet.body else {
            panic!("an event")
        };
        prop_assert_eq!(found, attachments);
        let mut elements = payload.elements();
        prop_assert_eq!(elements.next().map(Raw::as_str), Some("\"name\""));
        prop_assert!(elements.map(Raw::as_str).eq(args.iter().map(String::as_str)));

        let head = Head::ack(&before, attachments.into(), id);
        let text = joined(&ack(&head, &slices));
        let packet = read(&text[1..]).unwrap();
        prop_assert_eq!((packet.namespace, packet.ack), (&namespace[..], Some(id)));
        let Body::Ack { attachments: found, payload: Some(payload) } = packet.body else {
            panic!("an ack")
        };
        prop_assert_eq!(found, attachments);
        prop_assert!(payload.elements().map(Raw::as_str).eq(args.iter().map(String::as_str)));
    }

    #[test]
    fn whatever_is_sent_is_read_or_refused(text in "\\PC{0,40}") {
        let _ = read(&text);
    }

    #[test]
    fn mutated_packets_are_read_or_refused(
        namespace in namespace(),
        args in values(),
        attachments in 0_u8..=10,
        mutations in prop::collection::vec(
            (any::<prop::sample::Index>(), "[0-9/,\\-\\[\\]{}\":a_ ]{0,2}"),
            1..4,
        ),
    ) {
        let before = prefix(&namespace);
        let slices: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
        let head = Head::event(&before, attachments.into(), Some(1));
        let mut text = joined(&event(&head, "name", &slices))[1..].to_owned();
        for (index, insert) in mutations {
            let at = text.floor_char_boundary(index.index(text.len() + 1));
            let end = text.ceil_char_boundary((at + 1).min(text.len()));
            text.replace_range(at..end, &insert);
        }
        if let Ok(packet) = read(&text) {
            prop_assert!(packet.namespace.starts_with('/'));
            if let Body::Event { payload: Some(payload), attachments } = packet.body {
                let name = payload.elements().next().unwrap();
                prop_assert!(name.is_string() || name.is_number());
                prop_assert!(attachments <= 10);
            }
        }
    }
}

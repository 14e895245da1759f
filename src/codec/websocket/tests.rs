use std::io::{self, Read, Write};

use proptest::prelude::*;
use tungstenite::protocol::{Message, Role, WebSocket, WebSocketConfig};

use super::{AssemblyPool, Decoder, Incoming, Limits, Violation, close_payload, unmask};

const LIMITS: Limits = Limits { message_bytes_max: 70_000, fragments_max: 8 };

/// A message or control frame that outlives its buffer.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Incoming<'_>> for Said {
    fn from(incoming: Incoming<'_>) -> Self {
        match incoming {
            Incoming::Text(text) => Self::Text(text.to_owned()),
            Incoming::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Incoming::Ping(bytes) => Self::Ping(bytes.to_vec()),
            Incoming::Pong(bytes) => Self::Pong(bytes.to_vec()),
            Incoming::Close(close) => {
                Self::Close(close.map(|(code, reason)| (code, reason.to_owned())))
            }
        }
    }
}

/// A client's frame; `first` is FIN, RSV and opcode.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    masked(first, payload, [0x12, 0x9A, 0x00, 0xFE])
}

fn masked(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        medium @ 126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend((medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(key);
    let start = bytes.len();
    bytes.extend(payload);
    let _ = unmask(&mut bytes[start..], key);
    bytes
}

/// Feeds pieces to one decoder until it refuses them.
struct Feed {
    decoder: Decoder,
    pool: AssemblyPool,
    limits: Limits,
    said: Vec<Said>,
}

impl Feed {
    fn new(limits: Limits) -> Self {
        Self { decoder: Decoder::new(), pool: AssemblyPool::new(2), limits, said: Vec::new() }
    }

    fn push(&mut self, piece: &[u8]) -> Result<(), Violation> {
        let mut buffer = piece.to_vec();
        let mut input = &mut buffer[..];
        while let Some(incoming) = self.decoder.next(&mut input, self.limits, &mut self.pool)? {
            self.said.push(incoming.into());
        }
        assert!(input.is_empty(), "None means that the input is used up");
        Ok(())
    }
}

fn decode(bytes: &[u8]) -> (Vec<Said>, Result<(), Violation>) {
    let mut feed = Feed::new(LIMITS);
    let result = feed.push(bytes);
    (feed.said, result)
}

fn decode_bytewise(bytes: &[u8]) -> (Vec<Said>, Result<(), Violation>) {
    let mut feed = Feed::new(LIMITS);
    let result = bytes.iter().try_for_each(|byte| feed.push(&[*byte]));
    (feed.said, result)
}

#[test]
fn a_decoder_at_rest_is_one_pointer() {
    assert_eq!(size_of::<Decoder>(), size_of::<usize>());
    assert!(Decoder::new().is_idle());
}

#[test]
fn examples_of_rfc_6455_5_7() {
    let masked_hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(decode(&masked_hello), (vec![Said::Text("Hello".into())], Ok(())));
    let masked_pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(decode(&masked_pong), (vec![Said::Pong(b"Hello".to_vec())], Ok(())));
    for length in [256, 65_536] {
        let bytes = vec![7; length];
        assert_eq!(decode(&frame(0x82, &bytes)), (vec![Said::Binary(bytes)], Ok(())));
    }
    let fragmented = [frame(0x01, b"Hel"), frame(0x80, b"lo")].concat();
    assert_eq!(decode(&fragmented), (vec![Said::Text("Hello".into())], Ok(())));
}

#[test]
fn control_frames_come_between_fragments_even_bytewise() {
    let bytes = [
        frame(0x01, "h\u{e9}".as_bytes()),
        frame(0x89, b"are you there"),
        frame(0x00, b""),
        frame(0x8A, b""),
        frame(0x80, b"!"),
        frame(0x88, &close_payload(4001, "bye")),
    ]
    .concat();
    let said = vec![
        Said::Ping(b"are you there".to_vec()),
        Said::Pong(Vec::new()),
        Said::Text("h\u{e9}!".into()),
        Said::Close(Some((4001, "bye".into()))),
    ];
    assert_eq!(decode(&bytes), (said.clone(), Ok(())));
    assert_eq!(decode_bytewise(&bytes), (said, Ok(())));
}

#[test]
fn a_frame_that_arrived_whole_is_handed_out_in_place() {
    let mut buffer = frame(0x82, b"in place");
    let range = buffer.as_ptr_range();
    let mut input = &mut buffer[..];
    let (mut decoder, mut pool) = (Decoder::new(), AssemblyPool::default());
    let Ok(Some(Incoming::Binary(bytes))) = decoder.next(&mut input, LIMITS, &mut pool) else {
        panic!("a whole frame");
    };
    assert!(range.contains(&bytes.as_ptr()));
    assert!(decoder.is_idle());
}

#[test]
fn every_violation_is_found_however_it_is_split() {
    let big = [&[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0x11, 0x71][..], &[0; 4]].concat();
    let fragments = (0..9).flat_map(|index| frame(u8::from(index == 0), b"")).collect();
    let cases: Vec<(Violation, u16, Vec<u8>)> = vec![
        (Violation::ReservedBits, 1002, frame(0xC1, b"x")),
        (Violation::ReservedBits, 1002, frame(0xA1, b"x")),
        (Violation::ReservedBits, 1002, frame(0x91, b"x")),
        (Violation::ReservedOpcode, 1002, frame(0x83, b"x")),
        (Violation::ReservedOpcode, 1002, frame(0x87, b"x")),
        (Violation::ReservedOpcode, 1002, frame(0x8B, b"x")),
        (Violation::ReservedOpcode, 1002, frame(0x8F, b"x")),
        (Violation::Unmasked, 1002, vec![0x81, 1, b'x']),
        (Violation::FragmentedControl, 1002, frame(0x09, b"x")),
        (Violation::OversizeControl, 1002, frame(0x89, &[0; 126])),
        (Violation::LengthNotMinimal, 1002, vec![0x82, 0xFE, 0, 125, 1, 2, 3, 4]),
        (
            Violation::LengthNotMinimal,
            1002,
            vec![0x82, 0xFF, 0, 0, 0, 0, 0, 0, 255, 255, 1, 2, 3, 4],
        ),
        (Violation::LengthOutOfRange, 1002, vec![0x82, 0xFF, 128, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]),
        (Violation::UnexpectedContinuation, 1002, frame(0x80, b"x")),
        (Violation::InterleavedMessage, 1002, [frame(0x01, b"x"), frame(0x81, b"y")].concat()),
        (Violation::TruncatedCloseCode, 1002, frame(0x88, &[3])),
        (Violation::CloseCodeNotAllowed, 1002, frame(0x88, &1005u16.to_be_bytes())),
        (Violation::CloseCodeNotAllowed, 1002, frame(0x88, &close_payload(999, ""))),
        (Violation::CloseCodeNotAllowed, 1002, frame(0x88, &close_payload(5000, ""))),
        (Violation::InvalidUtf8, 1007, frame(0x88, &[3, 0xE8, 0xFF])),
        (Violation::InvalidUtf8, 1007, frame(0x81, b"\xC3")),
        (Violation::InvalidUtf8, 1007, [frame(0x01, b"\xC3"), frame(0x80, b"")].concat()),
        (Violation::MessageTooBig, 1009, big),
        (Violation::MessageTooBig, 1009, [frame(0x02, &[0; 69_999]), frame(0, b"12")].concat()),
        (Violation::TooManyFragments, 1008, fragments),
    ];
    for (violation, code, bytes) in cases {
        let preceded = [frame(0x89, b"first"), bytes].concat();
        let expected = (vec![Said::Ping(b"first".to_vec())], Err(violation));
        assert_eq!(decode(&preceded), expected);
        assert_eq!(decode_bytewise(&preceded), expected);
        let close = violation.close();
        assert_eq!(close.code, code, "{violation}");
        assert!(!close.reason.is_empty() && close.reason.len() <= super::REASON_BYTES_MAX);
    }
}

#[test]
fn limits_are_inclusive() {
    let fragments: Vec<u8> = (0..8)
        .flat_map(|index| frame(if index == 7 { 0x80 } else { u8::from(index == 0) }, b""))
        .collect();
    assert_eq!(decode(&fragments), (vec![Said::Text(String::new())], Ok(())));
    let largest = vec![1; LIMITS.message_bytes_max];
    let halves = [frame(0x02, &largest[..4]), frame(0x80, &largest[4..])].concat();
    assert_eq!(decode(&frame(0x82, &largest)), (vec![Said::Binary(largest.clone())], Ok(())));
    assert_eq!(decode(&halves), (vec![Said::Binary(largest)], Ok(())));
}

#[test]
fn memory_follows_what_arrived_not_what_was_announced() {
    let mut feed = Feed::new(Limits { message_bytes_max: 1 << 40, fragments_max: 8 });
    feed.push(&[0x82, 0xFF, 0, 0, 0, 0xFF, 0, 0, 0, 0, 1, 2, 3, 4]).unwrap();
    let bare = feed.decoder.partial_bytes();
    assert!(bare < 1024, "{bare} bytes for a header");
    for piece in 1..100 {
        feed.push(&[0; 1000]).unwrap();
        assert!(feed.decoder.partial_bytes() <= bare + 2 * 1000 * piece);
    }
    feed.decoder.release(&mut feed.pool);
    assert!(feed.decoder.is_idle());
    assert_eq!(feed.decoder.partial_bytes(), 0);
}

#[test]
fn a_large_message_takes_no_more_than_its_length() {
    let mut feed = Feed::new(LIMITS);
    let bytes = frame(0x82, &[5; 66_000]);
    let (most, last) = bytes.split_at(bytes.len() - 1);
    most.chunks(4096).try_for_each(|piece| feed.push(piece)).unwrap();
    assert!(feed.decoder.partial_bytes() < 66_000 + 1024);
    feed.push(last).unwrap();
    assert_eq!(feed.said, [Said::Binary(vec![5; 66_000])]);
    assert!(feed.decoder.is_idle());
}

#[test]
fn an_assembly_is_reused_without_what_it_held() {
    let mut feed = Feed::new(LIMITS);
    feed.push(&frame(0x01, b"left behind")[..9]).unwrap();
    feed.decoder.release(&mut feed.pool);
    feed.push(&frame(0x01, b"new ")).unwrap();
    feed.push(&frame(0x80, b"message")).unwrap();
    assert_eq!(feed.said, [Said::Text("new message".into())]);
}

#[test]
fn text_fails_at_its_first_wrong_byte() {
    let wrong: [&[u8]; 9] = [
        b"\x80",
        b"ok\xC0\xAF",
        b"\xE0\x80\x80",
        b"\xED\xA0\x80",
        b"\xF4\x90\x80\x80",
        b"\xF8\x88\x80\x80\x80",
        b"\xFF",
        b"\xC3\x28",
        b"\xE2\x82\x28",
    ];
    for wrong in wrong {
        let text = ["\u{3ba}\u{1f79}\u{10ffff}".as_bytes(), wrong, b"edited"].concat();
        let is_wrong = |end: &usize| {
            std::str::from_utf8(&text[..*end]).is_err_and(|error| error.error_len().is_some())
        };
        let first_wrong = (0..=text.len()).find(is_wrong).expect("the text is wrong");
        let bytes = frame(0x81, &text);
        let mut feed = Feed::new(LIMITS);
        let fails = bytes.iter().position(|byte| feed.push(&[*byte]).is_err());
        assert_eq!(fails, Some(6 + first_wrong - 1), "{wrong:x?}");
    }
}

#[test]
fn a_close_reason_is_cut_between_characters() {
    let payload = close_payload(1000, &"\u{e9}".repeat(80));
    assert_eq!(payload.len(), 2 + 122);
    assert!(std::str::from_utf8(&payload[2..]).is_ok());
    assert_eq!(&close_payload(1002, "")[..], [0x03, 0xEA]);
    assert!(close_payload(1005, "").is_empty(), "what stands for no code is never sent");
}

/// A connection that has these bytes to read and forgets what is written.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite makes of these bytes, and whether it refused any.
fn reference(bytes: &[u8]) -> (Vec<Said>, bool) {
    let config = WebSocketConfig::default().max_message_size(Some(LIMITS.message_bytes_max));
    let mut socket = WebSocket::from_raw_socket(Wire(bytes), Role::Server, Some(config));
    let mut said = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => said.push(Said::Text(text.to_string())),
            Ok(Message::Binary(bytes)) => said.push(Said::Binary(bytes.to_vec())),
            Ok(Message::Ping(bytes)) => said.push(Said::Ping(bytes.to_vec())),
            Ok(Message::Pong(bytes)) => said.push(Said::Pong(bytes.to_vec())),
            Ok(_) => return (said, false),
            Err(tungstenite::Error::Io(_)) => return (said, false),
            Err(_) => return (said, true),
        }
    }
}

/// A message in fragments, with pings between them.
fn message() -> impl Strategy<Value = (Vec<u8>, Vec<Said>)> {
    let text = prop::collection::vec("[a-z\u{e9}\u{20ac}\u{1f600}]{0,40}", 1..5)
        .prop_map(|pieces| (true, pieces.concat().into_bytes()));
    let binary = prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| (false, bytes));
    let cuts = prop::collection::vec(0.0..1.0, 0..6);
    let ping = prop::option::of(prop::collection::vec(any::<u8>(), 0..126));
    (prop_oneof![text, binary], cuts, ping, any::<[u8; 4]>()).prop_map(fragmented)
}

type Plan = ((bool, Vec<u8>), Vec<f64>, Option<Vec<u8>>, [u8; 4]);

fn fragmented(((is_text, payload), cuts, ping, key): Plan) -> (Vec<u8>, Vec<Said>) {
    let mut at: Vec<usize> = cuts.iter().map(|cut| (cut * payload.len() as f64) as usize).collect();
    at.push(payload.len());
    at.sort_unstable();
    let (mut bytes, mut said, mut from) = (Vec::new(), Vec::new(), 0);
    for (index, to) in at.iter().enumerate() {
        let opcode = if index > 0 { 0 } else { 2 - u8::from(is_text) };
        let fin = if index + 1 == at.len() { 0x80 } else { 0 };
        if let Some(ping) = &ping {
            bytes.extend(masked(0x89, ping, key));
            said.push(Said::Ping(ping.clone()));
        }
        bytes.extend(masked(fin | opcode, &payload[from..*to], key));
        from = *to;
    }
    said.push(if is_text {
        Said::Text(String::from_utf8(payload).expect("made of characters"))
    } else {
        Said::Binary(payload)
    });
    (bytes, said)
}

proptest! {
    #[test]
    fn messages_are_the_same_however_they_are_split(
        messages in prop::collection::vec(message(), 1..6),
        pieces in prop::collection::vec(1_usize..60, 1..40),
    ) {
        let (bytes, said): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
        let (bytes, said) = (bytes.concat(), said.concat());
        let mut feed = Feed::new(LIMITS);
        let (mut rest, mut sizes) = (&bytes[..], pieces.iter().cycle());
        while let Some(size) = sizes.next().filter(|_| !rest.is_empty()) {
            let (piece, tail) = rest.split_at((*size).min(rest.len()));
            prop_assert_eq!(feed.push(piece), Ok(()));
            rest = tail;
        }
        prop_assert_eq!(&feed.said, &said);
        prop_assert!(feed.decoder.is_idle());
        prop_assert_eq!(decode(&bytes), (said.clone(), Ok(())));
        prop_assert_eq!(reference(&bytes), (said, false));
    }

    #[test]
    fn damage_is_found_alike_however_it_is_split(
        messages in prop::collection::vec(message(), 1..4),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes: Vec<u8> = messages.into_iter().flat_map(|(bytes, _)| bytes).collect();
        for (index, value) in damage {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        let whole = decode(&bytes);
        prop_assert_eq!(&whole.0, &decode_bytewise(&bytes).0);
        let (said, is_refused) = reference(&bytes);
        prop_assert!(!is_refused || whole.1.is_err(), "accepted what tungstenite refuses");
        let common = said.len().min(whole.0.len());
        prop_assert_eq!(&said[..common], &whole.0[..common]);
    }
}

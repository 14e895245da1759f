//! Reflector → client (specs: croquet §3): the envelope, and the cutting of long texts into
//! `_CHUNK` messages (§1).

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::codec::json;
use crate::session::frame::{FrameKind, Header};
use crate::session::{Effects, MemberId};

/// Longest text sent as one message, in UTF-16 units.
pub(super) const CHUNK_UNITS: usize = 1_000_000;
/// What comes before the messages of a SYNC, or behind them, most often takes less, in bytes.
pub(super) const SYNC_SIDE_BYTES: usize = 256;
/// Pieces below this are copied together rather than shared one by one, in bytes.
const SHARED_PIECE_BYTES_MIN: usize = 1 << 10;

/// Messages of one session to its members: everything that is the same in all of them. Sending one
/// tells its size, as the receiver counts it: without the marks of chunks.
#[derive(Debug)]
pub(super) struct Envelope {
    /// `{"id":"…","action":"`
    head: Box<str>,
}

const HEAD_BEFORE_ID: &str = "{\"id\":\"";
const HEAD_AFTER_ID: &str = "\",\"action\":\"";

impl Envelope {
    /// The envelope of session `id`.
    pub(super) fn new(id: &str) -> Self {
        let mut quoted = Vec::new();
        json::write_string(&mut quoted, id);
        let quoted = String::from_utf8(quoted).expect("JSON strings are UTF-8");
        let raw = &quoted[1..quoted.len() - 1];
        Self { head: [HEAD_BEFORE_ID, raw, HEAD_AFTER_ID].concat().into() }
    }

    /// The session id as it stands in JSON: itself, unless it has characters that are escaped.
    pub(super) fn raw_id(&self) -> &str {
        &self.head[HEAD_BEFORE_ID.len()..self.head.len() - HEAD_AFTER_ID.len()]
    }

    /// RECV: one message in replay form, `[time,seq,…]`, to all who listen.
    pub(super) fn recv(&self, message: &[u8], fx: &mut Effects<'_>) -> usize {
        broadcast(&[self.head.as_bytes(), b"RECV\",\"args\":", message, b"}"], fx)
    }

    /// TICK: the time, to all who listen.
    pub(super) fn tick(&self, time_ms: u64, fx: &mut Effects<'_>) -> usize {
        let mut digits = itoa::Buffer::new();
        let time = digits.format(time_ms).as_bytes();
        broadcast(&[self.head.as_bytes(), b"TICK\",\"args\":", time, b"}"], fx)
    }

    /// REQU: please make a snapshot.
    pub(super) fn requ(&self, fx: &mut Effects<'_>) -> usize {
        broadcast(&[self.head.as_bytes(), b"REQU\"}"], fx)
    }

    /// INFO to all who listen, and to those who do not.
    pub(super) fn info(&self, info: &[u8], others: &[MemberId], fx: &mut Effects<'_>) -> usize {
        let parts: [&[u8]; 4] = [self.head.as_bytes(), b"INFO\",\"args\":", info, b"}"];
        for &member in others {
            fx.reply(member, FrameKind::Text, &parts);
        }
        broadcast(&parts, fx)
    }

    /// What comes before the arguments of a SYNC.
    pub(super) fn sync_head(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SYNC_SIDE_BYTES);
        out.extend_from_slice(self.head.as_bytes());
        out.extend_from_slice(b"SYNC\",\"args\":");
        out
    }
}

/// A text made of `parts` to all who listen; its size.
fn broadcast(parts: &[&[u8]], fx: &mut Effects<'_>) -> usize {
    split(parts, |message| fx.append(FrameKind::Text, message));
    size(parts)
}

/// A text made of `parts` to one member; its size.
pub(super) fn reply(to: MemberId, parts: &[&[u8]], fx: &mut Effects<'_>) -> usize {
    split(parts, |message| fx.reply(to, FrameKind::Text, message));
    size(parts)
}

fn size(parts: &[&[u8]]) -> usize {
    parts.iter().map(|part| part.len()).sum()
}

/// A text made of shared `pieces` as framed bytes, to be sent to any number of members.
pub(super) fn frames(pieces: &[Bytes]) -> Vec<Bytes> {
    let mut framed = Vec::with_capacity(pieces.len() + 2);
    let mut small = BytesMut::new();
    split(pieces, |message| {
        let payload = message.iter().map(Bytes::len).sum();
        small.extend_from_slice(Header::new(FrameKind::Text, payload).as_bytes());
        for piece in message {
            if piece.len() < SHARED_PIECE_BYTES_MIN {
                small.extend_from_slice(piece);
            } else {
                framed.push(small.split().freeze());
                framed.push(piece.clone());
            }
        }
    });
    framed.push(small.freeze());
    framed.retain(|bytes| !bytes.is_empty());
    framed
}

/// A run of bytes of a text, cut only between characters.
pub(super) trait Piece: Clone {
    /// The bytes.
    fn bytes(&self) -> &[u8];
    /// A part of it.
    fn cut(&self, range: Range<usize>) -> Self;
    /// A piece with these bytes.
    fn constant(bytes: &'static [u8]) -> Self;
}

impl Piece for &[u8] {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn cut(&self, range: Range<usize>) -> Self {
        &self[range]
    }

    fn constant(bytes: &'static [u8]) -> Self {
        bytes
    }
}

impl Piece for Bytes {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn cut(&self, range: Range<usize>) -> Self {
        self.slice(range)
    }

    fn constant(bytes: &'static [u8]) -> Self {
        Self::from_static(bytes)
    }
}

/// Hands over the text made of `pieces` as one message, or as several if it is longer than
/// [`CHUNK_UNITS`]. A character is never cut in two: that chunk is then one unit shorter.
pub(super) fn split<P: Piece>(pieces: &[P], mut send: impl FnMut(&[P])) {
    // A byte is at most one unit.
    let bytes: usize = pieces.iter().map(|piece| piece.bytes().len()).sum();
    if bytes <= CHUNK_UNITS
        || pieces.iter().map(|piece| units(piece.bytes())).sum::<usize>() <= CHUNK_UNITS
    {
        return send(pieces);
    }
    let mut sent = 0;
    let mut rest = pieces.iter().cloned().collect::<SmallVec<[P; 8]>>();
    while sent < bytes {
        let mut chunk: SmallVec<[P; 8]> = SmallVec::new();
        let first = sent == 0;
        sent += take(&mut rest, &mut chunk);
        chunk.insert(0, P::constant(marker(first, sent == bytes)));
        send(&chunk);
    }
}

/// Moves up to [`CHUNK_UNITS`] units from the front of `rest` to `chunk`; says how many bytes.
fn take<P: Piece>(rest: &mut SmallVec<[P; 8]>, chunk: &mut SmallVec<[P; 8]>) -> usize {
    let (mut room, mut bytes, mut whole) = (CHUNK_UNITS, 0, 0);
    for piece in rest.iter_mut() {
        let len = piece.bytes().len();
        let (end, taken) = prefix(piece.bytes(), room);
        chunk.push(piece.cut(0..end));
        bytes += end;
        room -= taken;
        if end < len {
            *piece = piece.cut(end..len);
            break;
        }
        whole += 1;
    }
    rest.drain(..whole);
    bytes
}

const fn marker(first: bool, last: bool) -> &'static [u8] {
    match (first, last) {
        (true, true) => b"_CHUNK11",
        (true, false) => b"_CHUNK10",
        (false, true) => b"_CHUNK01",
        (false, false) => b"_CHUNK00",
    }
}

/// UTF-16 units of a UTF-8 text: one for each character, two for those beyond the basic plane.
pub(super) fn units(text: &[u8]) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.iter().map(|&byte| unit_of(byte)).sum()
}

/// Units that begin with this byte of a UTF-8 text.
fn unit_of(byte: u8) -> usize {
    usize::from(byte & 0xC0 != 0x80) + usize::from(byte >= 0xF0)
}

/// The longest prefix of whole characters with at most `room` units: its bytes and its units.
fn prefix(text: &[u8], room: usize) -> (usize, usize) {
    let ascii = &text[..text.len().min(room)];
    if ascii.is_ascii() {
        return (ascii.len(), ascii.len());
    }
    let mut taken = 0;
    for (at, &byte) in text.iter().enumerate() {
        let more = unit_of(byte);
        if taken + more > room {
            return (at, taken);
        }
        taken += more;
    }
    (text.len(), taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunks(pieces: &[&[u8]]) -> Vec<String> {
        let mut texts = Vec::new();
        split(pieces, |message| texts.push(String::from_utf8(message.concat()).unwrap()));
        texts
    }

    #[test]
    fn a_text_of_the_limit_stays_whole() {
        let text = "x".repeat(CHUNK_UNITS);
        assert_eq!(chunks(&[text.as_bytes()]), [text]);
    }

    #[test]
    fn a_longer_text_is_cut_like_the_original_does() {
        let text = "x".repeat(2_500_073);
        let texts = chunks(&[&text.as_bytes()[..70], &text.as_bytes()[70..]]);
        let lens: Vec<_> = texts.iter().map(|text| (&text[..8], text.len())).collect();
        assert_eq!(lens, [("_CHUNK10", 1_000_008), ("_CHUNK00", 1_000_008), ("_CHUNK01", 500_081)]);
    }

    #[test]
    fn many_bytes_but_few_units_stay_whole() {
        let text = "é".repeat(CHUNK_UNITS - 1);
        assert_eq!(chunks(&[text.as_bytes()]).len(), 1);
    }

    #[test]
    fn a_character_is_never_cut_in_two() {
        // The emoji's two units straddle the limit.
        let text = format!("{}😀{}", "x".repeat(CHUNK_UNITS - 1), "y".repeat(10));
        let texts = chunks(&[text.as_bytes()]);
        assert_eq!(texts[0].len(), 8 + CHUNK_UNITS - 1);
        assert_eq!(texts[1], format!("_CHUNK01😀{}", "y".repeat(10)));
    }

    #[test]
    fn shared_frames_carry_the_same_chunks() {
        let body = Bytes::from("é".repeat(1_200_000));
        let pieces = [Bytes::from_static(b"head"), body.clone(), Bytes::from_static(b"tail")];
        let framed: Vec<u8> = frames(&pieces).concat();
        let mut expected = Vec::new();
        for text in chunks(&[b"head", &body, b"tail"]) {
            expected.extend_from_slice(Header::new(FrameKind::Text, text.len()).as_bytes());
            expected.extend_from_slice(text.as_bytes());
        }
        assert!(framed == expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn joined_chunks_are_the_text(
            unit in prop::sample::select(vec!["x", "é", "€", "😀", "a😀", "xé€😀"]),
            pad in 0..4usize,
            cut in 0..400_000usize,
        ) {
            let text = format!("{}{}", "p".repeat(pad), unit.repeat(400_000));
            let cut = (0..=cut).rev().find(|&at| text.is_char_boundary(at)).unwrap();
            let texts = chunks(&[&text.as_bytes()[..cut], &text.as_bytes()[cut..]]);
            if texts.len() == 1 {
                prop_assert!(texts[0] == text);
            } else {
                let joined: String = texts.iter().map(|text| &text[8..]).collect();
                prop_assert!(joined == text);
                for (at, chunk) in texts.iter().enumerate() {
                    let flags = (at == 0, at + 1 == texts.len());
                    prop_assert_eq!(&chunk.as_bytes()[..8], marker(flags.0, flags.1));
                    prop_assert!(chunk[8..].encode_utf16().count() <= CHUNK_UNITS);
                }
            }
        }
    }
}

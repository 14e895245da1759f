//! A Yjs client as `y-websocket` connects one (y-protocols, sync and awareness): the room is the
//! path; SyncStep1 is answered by SyncStep2, both ways; then updates. Every sender types at the
//! end of its own part of one text: each update inserts the payload behind what the sender
//! inserted last, so that it is what a real client would have made of it (Yjs update format 1)
//! and no two of a sender are exchangeable. The updates never conflict and need no document here.
//!
//! Deliberately absent: the renewal of awareness, without which servers forget it after 30 s.

use super::{Incoming, Manner, Protocol, Seat};
use crate::websocket;

const SYNC: u8 = 0;
const AWARENESS: u8 = 1;
const AUTH: u8 = 2;
const STEP_1: u8 = 0;
const STEP_2: u8 = 1;
const UPDATE: u8 = 2;
/// SyncStep1 of a client that knows nothing: an empty state vector.
const STEP_1_EMPTY: [u8; 4] = [SYNC, STEP_1, 1, 0];
/// SyncStep2 of a client that has nothing: no structs, no deletions.
const STEP_2_EMPTY: [u8; 5] = [SYNC, STEP_2, 2, 0, 0];
/// The text all type into.
const TEXT_NAME: &[u8] = b"codemirror";
/// Content of a struct: a string.
const CONTENT_STRING: u8 = 4;
/// A struct names the one it was inserted behind.
const HAS_ORIGIN: u8 = 0x80;
/// A struct without a neighbour names the shared type it is in.
const IN_NAMED_TYPE: u8 = 1;
/// Client ids are random in 32 bits, hence five bytes long as a rule; so are ours.
const CLIENT_FIRST: u64 = 0x5000_0000;

/// A Yjs client.
#[derive(Debug)]
pub(super) struct Yjs {
    manner: Manner,
}

/// Bytes of an update's message as it arrives, with a payload of `payload_bytes`, after some
/// hundreds of others.
pub(super) fn delivery_bytes(payload_bytes: usize) -> usize {
    let mut out = Vec::new();
    push_update(CLIENT_FIRST, 500, &vec![b'x'; payload_bytes], &mut out);
    out.len()
}

impl Yjs {
    /// A client with these manners.
    pub(super) fn new(manner: Manner) -> Self {
        Self { manner }
    }
}

impl Protocol for Yjs {
    fn path(&self, seat: Seat) -> String {
        format!("{}/perf-{:x}-{}", self.manner.prefix, self.manner.nonce, seat.session)
    }

    fn join(&self, seat: Seat) -> Vec<Vec<u8>> {
        vec![STEP_1_EMPTY.to_vec(), awareness(seat)]
    }

    fn opcode(&self) -> u8 {
        websocket::BINARY
    }

    fn is_echoed(&self) -> bool {
        false
    }

    fn payload_bytes(&self) -> usize {
        self.manner.payload_bytes
    }

    fn message(&self, seat: Seat, number: u32, payload: &[u8], out: &mut Vec<u8>) {
        push_update(client(seat), number, payload, out);
    }

    fn read<'a>(&self, _seat: Seat, message: &'a [u8], reply: &mut Vec<u8>) -> Incoming<'a> {
        match *message {
            [SYNC, UPDATE, ref body @ ..] => Incoming::Deliveries { bytes: body },
            [SYNC, STEP_2, ..] => Incoming::Joined { order: None },
            [SYNC, STEP_1, ..] => {
                reply.extend_from_slice(&STEP_2_EMPTY);
                Incoming::Notice { order: None }
            }
            [AWARENESS, ..] => Incoming::Notice { order: None },
            [AUTH, ref reason @ ..] => Incoming::Refused { reason },
            _ => Incoming::Unknown,
        }
    }
}

fn client(seat: Seat) -> u64 {
    CLIENT_FIRST + u64::from(seat.member)
}

/// One entry: who the client is, as editors tell it.
fn awareness(seat: Seat) -> Vec<u8> {
    let state =
        format!("{{\"user\":{{\"name\":\"Writer {}\",\"color\":\"#30bced\"}}}}", seat.member);
    let mut entries = vec![1];
    push_number(client(seat), &mut entries);
    push_number(1, &mut entries);
    push_bytes(state.as_bytes(), &mut entries);
    let mut message = vec![AWARENESS];
    push_bytes(&entries, &mut message);
    message
}

/// Appends an update message: `text`, ASCII, typed behind the `number` texts of the same length
/// that the client typed before.
fn push_update(client: u64, number: u32, text: &[u8], out: &mut Vec<u8>) {
    // Clocks count characters.
    let clock = u64::from(number) * text.len() as u64;
    let mut update = Vec::with_capacity(text.len() + 40);
    update.extend_from_slice(&[1, 1]); // one client, one struct
    push_number(client, &mut update);
    push_number(clock, &mut update);
    match clock.checked_sub(1) {
        Some(last) => {
            update.push(CONTENT_STRING | HAS_ORIGIN);
            push_number(client, &mut update);
            push_number(last, &mut update);
        }
        None => {
            update.extend_from_slice(&[CONTENT_STRING, IN_NAMED_TYPE]);
            push_bytes(TEXT_NAME, &mut update);
        }
    }
    push_bytes(text, &mut update);
    update.push(0); // nothing deleted
    out.extend_from_slice(&[SYNC, UPDATE]);
    push_bytes(&update, out);
}

/// Appends a length and that many bytes.
fn push_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    push_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Appends a number in groups of seven bits, the low ones first.
fn push_number(mut number: u64, out: &mut Vec<u8>) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use yrs::updates::decoder::Decode;
    use yrs::{Doc, GetString, ReadTxn, Transact, Update};

    use super::*;
    use crate::ledger::Stamp;

    const SEAT: Seat = Seat { session: 3, member: 5 };

    fn yjs() -> Yjs {
        Yjs::new(super::super::manner())
    }

    fn read(message: &[u8]) -> (Incoming<'_>, Vec<u8>) {
        let mut reply = Vec::new();
        (yjs().read(SEAT, message, &mut reply), reply)
    }

    /// The update in a message.
    fn update(message: &[u8]) -> &[u8] {
        let mut rest = message.strip_prefix(&[SYNC, UPDATE]).unwrap();
        while rest[0] & 0x80 != 0 {
            rest = &rest[1..];
        }
        &rest[1..]
    }

    #[test]
    fn updates_make_the_texts_that_were_typed() {
        let doc = Doc::new();
        let mut typed = [String::new(), String::new()];
        for number in 0..300 {
            for (member, typed) in typed.iter_mut().enumerate() {
                let text = format!("[{member}.{number:04}]");
                let seat = Seat { session: 3, member: member as u32 };
                let mut message = Vec::new();
                yjs().message(seat, number, text.as_bytes(), &mut message);
                let update = Update::decode_v1(update(&message)).unwrap();
                doc.transact_mut().apply_update(update).unwrap();
                typed.push_str(&text);
            }
        }
        let text = doc.get_or_insert_text("codemirror");
        assert!(doc.transact().store().pending_update().is_none(), "something is missing");
        assert_eq!(text.get_string(&doc.transact()), typed.concat());
    }

    #[test]
    fn a_first_and_a_later_keystroke_are_what_yjs_writes() {
        let (mut first, mut later) = (Vec::new(), Vec::new());
        push_update(1, 0, b"a", &mut first);
        push_update(1, 200, b"b", &mut later);
        assert_eq!(first, b"\x00\x02\x14\x01\x01\x01\x00\x04\x01\x0acodemirror\x01a\x00");
        assert_eq!(later, b"\x00\x02\x0c\x01\x01\x01\xc8\x01\x84\x01\xc7\x01\x01b\x00");
    }

    #[test]
    fn stamps_are_found_in_an_update_and_in_several_merged() {
        let stamps = [0, 1, 2].map(|number| Stamp { sender: 5, number, due_ns: 7 });
        let messages = stamps.map(|stamp| {
            let (mut payload, mut message) = (Vec::new(), Vec::new());
            stamp.write(64, &mut payload);
            yjs().message(SEAT, stamp.number, &payload, &mut message);
            message
        });
        let updates = messages.each_ref().map(|message| update(message));
        let mut merged = vec![SYNC, UPDATE];
        push_bytes(&yrs::merge_updates_v1(updates).unwrap(), &mut merged);
        for (message, expected) in [(&messages[1], &stamps[1..2]), (&merged, &stamps[..])] {
            let (Incoming::Deliveries { bytes }, _) = read(message) else { panic!("{message:?}") };
            assert_eq!(Stamp::find(bytes).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn joining_asks_for_everything_and_says_who_it_is() {
        let [step, awareness] = yjs().join(SEAT).try_into().unwrap();
        assert_eq!(step, [0, 0, 1, 0]);
        let update = yrs::sync::AwarenessUpdate::decode_v1(&awareness[2..]).unwrap();
        let (id, entry) = update.clients.iter().next().unwrap();
        assert_eq!((id.get(), entry.clock), (CLIENT_FIRST + 5, 1));
        assert_eq!(&*entry.json, "{\"user\":{\"name\":\"Writer 5\",\"color\":\"#30bced\"}}");
        assert_eq!(awareness[1] as usize, awareness.len() - 2);
    }

    #[test]
    fn the_servers_question_is_answered_and_its_answer_is_the_join() {
        assert_eq!(read(&[0, 0, 1, 0]), (Incoming::Notice { order: None }, vec![0, 1, 2, 0, 0]));
        assert_eq!(read(&[0, 1, 2, 0, 0]), (Incoming::Joined { order: None }, vec![]));
        assert_eq!(read(&[1, 1, 0]), (Incoming::Notice { order: None }, vec![]));
        assert_eq!(read(b"\x02\x00\x02no").0, Incoming::Refused { reason: b"\x00\x02no" });
        assert_eq!(read(&[9]).0, Incoming::Unknown);
        assert_eq!(read(&[]).0, Incoming::Unknown);
    }

    #[test]
    fn the_nominal_size_is_that_of_an_update_among_many() {
        let mut message = Vec::new();
        yjs().message(SEAT, 700, &[b'p'; 64], &mut message);
        assert_eq!(delivery_bytes(64), message.len());
    }
}

//! Whatever the checks of Yjs messages accept, yrs reads: decoding and merging never fail or panic,
//! and what comes out is accepted again.
//!
//! Nothing is applied to a document of yrs: 0.28 keeps pointers to items it has freed when an update
//! that is sound in itself points to the wrong neighbours, which no check of one update can see.
//!
//! Input: a frame of messages, of which the updates are merged. Or the byte 0xFF, which begins no
//! message, and after it choices of which such updates are made.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lockstep::codec::lib0::{write_varbuf, write_varuint};
use lockstep::codec::ysync::{
    Form, Message, awareness, check_state_vector, check_update, messages, write_awareness,
};
use yrs::block::ClientID;
use yrs::sync::AwarenessUpdate;
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{StateVector, merge_updates_v1};

fuzz_target!(|data: &[u8]| {
    let mut room = Room { state: yrs::Update::EMPTY_V1.to_vec(), ends: [0; CLIENTS] };
    if let Some(choices) = data.strip_prefix(&[0xFF]) {
        let mut choices = Choices(choices);
        while !choices.0.is_empty() {
            let update = choices.update(&room.ends);
            room.update(&update);
        }
        return;
    }
    for message in messages(data, Form::Unprefixed) {
        if let Ok(Message::Awareness(update)) = message {
            check_awareness(update);
        }
    }
    let mut is_over = false;
    for message in messages(data, Form::Plain) {
        assert!(!is_over, "a message after an error");
        is_over = message.is_err();
        match message {
            Ok(Message::Step1(vector)) => room.state_vector(vector),
            Ok(Message::Step2(update) | Message::Update(update)) => room.update(update),
            Ok(Message::Awareness(update)) => check_awareness(update),
            _ => {}
        }
    }
});

/// Clients that made updates are about: 1 and up.
const CLIENTS: usize = 4;

struct Room {
    /// All updates, merged.
    state: Vec<u8>,
    /// The next clock of each client.
    ends: [u32; CLIENTS],
}

impl Room {
    /// Merges an update, if it is accepted.
    fn update(&mut self, bytes: &[u8]) {
        let Ok(update) = check_update(bytes) else { return };
        let decoded = yrs::Update::decode_v1(bytes).expect("yrs decodes what was accepted");
        assert!(update.is_empty() || !decoded.is_empty(), "empty to yrs");
        let vector = decoded.state_vector();
        for run in update.runs.iter().filter(|run| run.clock == 0 && update.skips == 0) {
            assert_eq!(vector.get(&ClientID::new(run.client)), run.end, "as many clocks");
        }
        check_update(&decoded.encode_v1()).expect("what yrs encodes is accepted");
        for run in &update.runs {
            if let Some(end) = self.ends.get_mut((run.client as usize).wrapping_sub(1)) {
                *end = run.end.max(*end);
            }
        }
        if update.skips == 0 {
            let merged = merge_updates_v1([&self.state[..], bytes]).expect("yrs reads both");
            check_update(&merged).expect("what yrs merges is accepted");
            self.state = merged;
        }
    }

    fn state_vector(&self, bytes: &[u8]) {
        let Ok(checked) = check_state_vector(bytes) else { return };
        let vector = StateVector::decode_v1(bytes).expect("yrs decodes what was accepted");
        assert!(vector.len() <= checked.clients as usize);
        check_state_vector(&vector.encode_v1()).expect("what yrs encodes is accepted");
    }
}

fn check_awareness(bytes: &[u8]) {
    let Ok(entries) = awareness(bytes) else { return };
    let decoded = AwarenessUpdate::decode_v1(bytes).expect("yrs decodes what was accepted");
    assert_eq!(entries.len(), entries.clone().count());
    for entry in entries.clone() {
        assert!(decoded.clients.contains_key(&ClientID::new(entry.client)));
    }
    let (mut written, raw) = (Vec::new(), entries.map(|entry| entry.raw).collect::<Vec<_>>());
    write_awareness(&mut written, raw);
    assert_eq!(written, bytes);
}

struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn below(&mut self, bound: u32) -> u32 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        u32::from(first) % bound
    }

    fn id(&mut self, out: &mut Vec<u8>, ends: &[u32; CLIENTS]) {
        let client = self.below(CLIENTS as u32);
        let clock = self.below(ends[client as usize] + 2);
        write_varuint(out, u64::from(client) + 1);
        write_varuint(out, u64::from(clock));
    }

    fn update(&mut self, ends: &[u32; CLIENTS]) -> Vec<u8> {
        let first = self.below(CLIENTS as u32);
        let clients = 1 + self.below(CLIENTS as u32 - first);
        let mut out = vec![clients as u8];
        for client in first..first + clients {
            let structs = 1 + self.below(5);
            write_varuint(&mut out, u64::from(structs));
            write_varuint(&mut out, u64::from(client) + 1);
            let end = ends[client as usize];
            let clock = end.saturating_sub(self.below(6).saturating_sub(2));
            write_varuint(&mut out, u64::from(clock));
            for _ in 0..structs {
                self.one(&mut out, ends);
            }
        }
        let deletions = self.below(3);
        out.push(deletions as u8);
        for _ in 0..deletions {
            let client = self.below(CLIENTS as u32);
            write_varuint(&mut out, u64::from(client) + 1);
            out.push(1);
            write_varuint(&mut out, u64::from(self.below(ends[client as usize] + 2)));
            out.push(1 + self.below(4) as u8);
        }
        out
    }

    fn one(&mut self, out: &mut Vec<u8>, ends: &[u32; CLIENTS]) {
        const KINDS: [u8; 12] = [0, 1, 3, 4, 4, 4, 5, 6, 7, 7, 8, 9];
        let kind = KINDS[self.below(KINDS.len() as u32) as usize];
        let flags = self.below(8) as u8;
        if kind == 0 {
            return out.extend([0, 1 + flags]);
        }
        out.push(flags << 5 | kind);
        for flag in [4, 2] {
            if flags & flag != 0 {
                self.id(out, ends);
            }
        }
        if flags & 6 == 0 {
            let names = self.below(3) as u8;
            match names {
                0 => {
                    out.push(0);
                    self.id(out, ends);
                }
                name => out.extend([1, 1, b'a' + name]),
            }
            if flags & 1 != 0 {
                out.extend([1, b'k' + self.below(2) as u8]);
            }
        }
        self.content(out, kind);
    }

    fn content(&mut self, out: &mut Vec<u8>, kind: u8) {
        const TEXTS: [&str; 5] = ["a", "abc", "\u{1F600}", "a\u{1F600}\u{E9}", ""];
        match kind {
            1 => out.push(1 + self.below(4) as u8),
            4 => write_varbuf(out, TEXTS[self.below(5) as usize].as_bytes()),
            5 => write_varbuf(out, b"[1]"),
            6 => {
                write_varbuf(out, b"b");
                write_varbuf(out, [&b"true"[..], b"null"][self.below(2) as usize]);
            }
            7 => out.push([0, 1, 2, 4, 6, 9, 15][self.below(7) as usize]),
            8 => {
                let count = self.below(4) as u8;
                out.push(count);
                out.extend(std::iter::repeat_n(127, usize::from(count)));
            }
            9 => out.extend([1, b'g', 127]),
            _ => write_varbuf(out, b"xy"),
        }
    }
}

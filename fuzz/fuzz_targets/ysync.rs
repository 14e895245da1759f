//! Documents of Yjs take whatever the checks accept, in whatever order, and what they tell makes the
//! same document again.
//!
//! Input: frames of messages, of which the updates are taken. Or the byte 0xFF, which begins no
//! message, and after it choices of which updates that are accepted are made.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lockstep::codec::lib0::{write_varbuf, write_varuint};
use lockstep::codec::ysync::{
    Document, Form, Message, Refusal, Taken, awareness, check_state_vector, check_update, messages,
    write_awareness,
};

fuzz_target!(|data: &[u8]| {
    let mut room = Room { document: Document::new(), ends: [0; CLIENTS] };
    if let Some(choices) = data.strip_prefix(&[0xFF]) {
        let mut choices = Choices(choices);
        while !choices.0.is_empty() {
            let update = choices.update(&room.ends);
            room.update(&update);
            if choices.below(8) == 0 {
                room.collect();
            }
        }
        return room.check(&[0]);
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
            Ok(Message::Step1(vector)) if check_state_vector(vector).is_ok() => room.check(vector),
            Ok(Message::Step2(update) | Message::Update(update)) => room.update(update),
            Ok(Message::Awareness(update)) => check_awareness(update),
            _ => {}
        }
    }
    room.collect();
    room.check(&[0]);
});

/// Clients that made updates are about: 1 and up.
const CLIENTS: usize = 4;

struct Room {
    document: Document,
    /// The next clock of each client.
    ends: [u32; CLIENTS],
}

impl Room {
    fn update(&mut self, bytes: &[u8]) {
        let checked = check_update(bytes);
        let taken = self.document.take(bytes);
        self.document.invariants();
        match (&checked, taken) {
            (Ok(_), Ok(Taken::New | Taken::Known)) => {
                assert_eq!(self.document.take(bytes), Ok(Taken::Known), "again");
            }
            (Ok(_), Ok(Taken::Waiting) | Err(_)) => {}
            (Err(why), taken) => assert_eq!(taken, Err(Refusal::Malformed(*why))),
        }
        for run in checked.iter().flat_map(|update| &update.runs) {
            if let Some(end) = self.ends.get_mut((run.client as usize).wrapping_sub(1)) {
                *end = run.end.max(*end);
            }
        }
    }

    /// Emptying what is deleted changes nothing else.
    fn collect(&mut self) {
        let before = vector_of(&self.document);
        self.document.collect();
        self.document.invariants();
        assert_eq!(vector_of(&self.document), before);
        let once = self.document.whole();
        self.document.collect();
        assert_eq!(self.document.whole(), once, "a second time");
    }

    /// What is told is sound, and makes the same document: all of it, and what one lacks who has
    /// `vector`.
    fn check(&self, vector: &[u8]) {
        let whole = self.document.whole();
        let again = Document::load(&whole).expect("a document");
        assert_eq!(again.whole(), whole);
        assert_eq!(vector_of(&again), vector_of(&self.document));
        let mut lacks = Vec::new();
        self.document.write_difference(vector, &mut lacks);
        check_update(&lacks).expect("what is told is sound");
        let mut nothing = Vec::new();
        self.document.write_difference(&vector_of(&self.document), &mut nothing);
        assert_eq!(check_update(&nothing).map(|update| update.structs), Ok(0));
    }
}

fn vector_of(document: &Document) -> Vec<u8> {
    let mut vector = Vec::new();
    document.write_vector(&mut vector);
    check_state_vector(&vector).expect("what is told is sound");
    vector
}

fn check_awareness(bytes: &[u8]) {
    let Ok(entries) = awareness(bytes) else { return };
    assert_eq!(entries.len(), entries.clone().count());
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
        const KINDS: [u8; 14] = [0, 1, 2, 3, 4, 4, 4, 5, 6, 7, 7, 8, 9, 10];
        let kind = KINDS[self.below(KINDS.len() as u32) as usize];
        let flags = self.below(8) as u8;
        if kind == 0 || kind == 10 {
            return out.extend([kind, 1 + flags]);
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
            2 => {
                out.push(2);
                write_varbuf(out, b"undefined");
                write_varbuf(out, b"{}");
            }
            5 => write_varbuf(out, b"[1]"),
            6 => {
                write_varbuf(out, b"b");
                write_varbuf(out, [&b"true"[..], b"null"][self.below(2) as usize]);
            }
            7 => out.push([0, 1, 2, 4, 6][self.below(5) as usize]),
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

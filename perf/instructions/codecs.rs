//! Codecs, and what a session keeps: one operation is one call on a message as clients send it.

use std::hint::black_box;

use lockstep::codec::engineio::{Packet, payload};
use lockstep::codec::http1::parse_head;
use lockstep::codec::journal::{Key, Place};
use lockstep::codec::json::{object_fields, write_string};
use lockstep::codec::rljson::{hash, parse_row, verify};
use lockstep::codec::socketio::{self, Head};
use lockstep::codec::websocket::{AssemblyPool, Decoder, Limits, unmask};
use lockstep::codec::ysync::{self, Form, check_update, messages};
use lockstep::session::frame::{FrameKind, Header};
use lockstep::session::journal::{Batch, Cursor as JournalCursor};
use lockstep::session::outbox::{Cursor, Slices};
use lockstep::session::{History, Outbox, RingPool};

use crate::case;
use crate::crowd::typed;
use crate::world::{masked, upgrade};

const WARM_UP: u32 = 20;
const OPERATIONS: u32 = 100;
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
const LIMITS: Limits = Limits { message_bytes_max: 1 << 20, fragments_max: 64 };
const DEPTH_MAX: usize = 128;
/// Those that a fan-out is planned for.
const MEMBERS: usize = 100;

/// A case all of whose work is counted.
fn whole<R>(name: &str, mut act: impl FnMut() -> R) {
    case(name, WARM_UP, OPERATIONS, |meter, _| {
        meter.count(|| {
            black_box(act());
        });
    });
}

/// All cases.
pub(crate) fn run() {
    bytes();
    frames();
    http();
    json();
    engineio();
    socketio();
    yjs();
    rljson();
    session();
    journal();
}

fn bytes() {
    for size in [64, 1024] {
        let mut data = vec![b'x'; size];
        whole(&format!("unmask/{size}"), || unmask(black_box(&mut data), MASK));
    }
    let text = "€uropean text, mostly ASCII as JSON is. ".repeat(25).into_bytes();
    whole("utf8/1050", || simdutf8::basic::from_utf8(black_box(&text)).is_ok());
}

/// Eight frames in one read; every second time in halves.
fn frames() {
    let mut bytes = Vec::new();
    let one = masked(0x81, &[b'x'; 64]);
    for (name, piece) in [("frames/8x64", usize::MAX), ("frames/8x64 in pieces of 50", 50)] {
        let (mut decoder, mut pool) = (Decoder::new(), AssemblyPool::default());
        case(name, WARM_UP, OPERATIONS, |meter, _| {
            bytes.clear();
            bytes.extend(std::iter::repeat_n(&one, 8).flatten());
            let mut found = 0;
            meter.count(|| {
                for mut input in bytes.chunks_mut(piece) {
                    while let Ok(Some(incoming)) = decoder.next(&mut input, LIMITS, &mut pool) {
                        black_box(incoming);
                        found += 1;
                    }
                }
            });
            assert!(found >= 8, "frames were lost");
        });
    }
}

fn http() {
    let head = upgrade("/reflector/abcdefghijklmnopqrstuvwxyz");
    whole("http head of an upgrade", || parse_head(black_box(head.as_bytes())).is_ok());
}

/// What a Croquet client sends.
fn json() {
    let (id, payload) = ("i".repeat(43), "p".repeat(200));
    let text = format!(r#"{{"id":"{id}","action":"SEND","args":[0,0,"{payload}",12]}}"#);
    whole("json/fields of a Croquet SEND", || {
        let [id, _, args] =
            object_fields(black_box(&text), &["id", "action", "args"], DEPTH_MAX).expect("is JSON");
        (id.is_some(), args.and_then(|args| args.split_elements::<2>()).is_some())
    });
    let mut out = Vec::new();
    whole("json/write a string of 200", || {
        out.clear();
        write_string(&mut out, black_box(&payload));
    });
}

/// A payload of three packets, read; and one made of frames.
fn engineio() {
    let event = format!("42[\"move\",{{\"id\":\"{}\"}}]", "p".repeat(100));
    let body = format!("{event}\u{1e}3\u{1e}{event}");
    whole("engineio/read a payload", || {
        let read = payload::packets(black_box(&body)).map(Packet::parse);
        let count = read.filter(Result::is_ok).count();
        assert_eq!(count, 3);
    });
    let header = Header::new(FrameKind::Text, event.len());
    let frames = [header.as_bytes(), event.as_bytes()].concat().repeat(8);
    let mut out = Vec::new();
    whole("engineio/payload of 8 frames", || {
        out.clear();
        payload::from_frames(&mut out, black_box(&frames));
        assert!(out.len() >= 8 * event.len());
    });
}

fn socketio() {
    let payload = "p".repeat(170);
    let arg = format!(r#"{{"x":1.5,"id":"{payload}"}}"#);
    let limits = socketio::Limits::default();
    let with_ack = format!(r#"2/custom,12["move",{arg}]"#);
    let binary = format!(r#"51-["move",{arg},{{"_placeholder":true,"num":0}}]"#);
    for (name, text) in
        [("socketio/read an event", with_ack), ("socketio/read a binary event", binary)]
    {
        assert!(socketio::decode(&text, limits).is_ok(), "{text}");
        whole(name, || socketio::decode(black_box(&text), limits).is_ok());
    }
    let mut out = Vec::new();
    whole("socketio/write an event", || {
        out.clear();
        let head = Head::event(black_box("/custom,"), 0, Some(12));
        let parts = socketio::event(&head, "move", &[black_box(arg.as_bytes())]);
        parts.iter().for_each(|part| out.extend_from_slice(part));
    });
}

fn yjs() {
    let (letter, thousand) = (typed(900, 1), typed(0, 1000));
    assert!(check_update(&letter).is_ok() && check_update(&thousand).is_ok());
    let message = [ysync::Head::update(letter.len()).as_bytes(), &letter].concat();
    whole("yjs/messages of a keystroke", || {
        assert!(messages(black_box(&message), Form::Plain).all(|one| one.is_ok()));
    });
    whole("yjs/check a keystroke", || check_update(black_box(&letter)).is_ok());
    whole("yjs/check 1,000 structs", || check_update(black_box(&thousand)).is_ok());
}

/// A row of a file.
fn rljson() {
    let sealed = |members: &str| {
        let own = parse_row(&format!("{{{members}}}")).map(hash);
        let own = own.expect("it was written as JSON").expect("it can be hashed");
        format!("{{{members},\"_hash\":\"{own}\"}}")
    };
    let meta = sealed(
        "\"name\":\"module-12.ts\",\"type\":\"file\",\"relativePath\":\"src/module-12.ts\",\
         \"size\":8,\"mtime\":1700000000005,\"blobId\":\"47DEQpj8HBSa-_TImW-5JC\"",
    );
    let row = sealed(&format!("\"id\":\"module-12.ts\",\"isParent\":false,\"meta\":{meta}"));
    whole("rljson/verify a row", || {
        assert!(parse_row(black_box(&row)).is_ok_and(|row| verify(row).is_ok()));
    });
}

fn session() {
    let (mut history, mut pool) = (History::new(), RingPool::default());
    let payload = [b'x'; 250];
    whole("session/append 250 bytes", || {
        let parts = [&b"{\"action\":\"RECV\",\"args\":"[..], black_box(&payload), b"}"];
        let head = history.append(FrameKind::Text, &parts, &mut pool);
        history.trim(head, &mut pool);
    });
    for entries in [1, 16] {
        let (mut history, mut pool) = (History::new(), RingPool::default());
        for _ in 0..entries {
            history.append(FrameKind::Text, &[&[0; 250]], &mut pool);
        }
        let mut outboxes: Vec<Outbox> = (0..MEMBERS).map(|_| Outbox::new()).collect();
        whole(&format!("session/plan {entries} for 100"), || {
            for outbox in &mut outboxes {
                let mut cursor: Cursor = Some(history.tail());
                let planned = {
                    let mut slices = Slices::new();
                    let planned = outbox.plan(cursor, &history, &mut slices);
                    black_box(&slices);
                    planned
                };
                outbox.advance(&mut cursor, history.head(), planned);
            }
        });
    }
}

/// A turn's entries of 120 bytes, and the seal.
fn journal() {
    let (mut batch, mut cursor) =
        (Batch::new(Key { epoch: 1, salt: 0x5EED }, 0), JournalCursor::default());
    for entries in [1, 20] {
        whole(&format!("journal/record a turn of {entries}"), || {
            for _ in 0..entries {
                batch.record(&mut cursor, "croquet/session", &[b"M", &[b'x'; 119]]);
            }
            black_box(batch.seal(Place::default()));
            batch.clear();
        });
    }
}

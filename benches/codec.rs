//! Cost of the codecs, for people: `cargo bench --bench codec`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lockstep::codec::engineio::{Packet, payload};
use lockstep::codec::http1::parse_head;
use lockstep::codec::json::{object_fields, parse, write_string};
use lockstep::codec::socketio::{self, Head};
use lockstep::codec::websocket::{AssemblyPool, Decoder, Limits, unmask};
use lockstep::codec::ysync::{self, Form, check_update, messages};
use lockstep::session::frame::{FrameKind, Header};
use serde_json::value::RawValue;
use yrs::updates::decoder::Decode;
use yrs::{Doc, ReadTxn, StateVector, Text, Transact, WriteTxn};

const KEY: [u8; 4] = [0x12, 0x9A, 0x00, 0xFE];
const LIMITS: Limits = Limits { message_bytes_max: 1 << 20, fragments_max: 64 };
const SIZES: [usize; 3] = [64, 1 << 10, 64 << 10];

/// A client's text frame of `size` bytes.
fn frame(size: usize) -> Vec<u8> {
    let mut bytes = match size {
        0..=125 => vec![0x81, 0x80 | size as u8],
        126..=0xFFFF => [&[0x81, 0xFE], &(size as u16).to_be_bytes()[..]].concat(),
        _ => [&[0x81, 0xFF], &(size as u64).to_be_bytes()[..]].concat(),
    };
    bytes.extend(KEY);
    let start = bytes.len();
    bytes.resize(start + size, b'x');
    let _ = unmask(&mut bytes[start..], KEY);
    bytes
}

/// What a Croquet client sends: 250 bytes and a little.
fn send_message() -> String {
    let (id, payload) = ("i".repeat(43), "p".repeat(200));
    format!(r#"{{"id":"{id}","action":"SEND","args":[0,0,"{payload}",12]}}"#)
}

fn bench_unmask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unmask");
    for size in SIZES {
        let mut data = vec![b'x'; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(size.to_string(), |bencher| {
            bencher.iter(|| unmask(black_box(&mut data), KEY));
        });
    }
}

fn bench_utf8(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("utf8");
    for size in SIZES {
        let data = vec![b'x'; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(size.to_string(), |bencher| {
            bencher.iter(|| simdutf8::basic::from_utf8(black_box(&data)).is_ok());
        });
    }
}

fn bench_frame(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    for size in SIZES {
        let bytes = frame(size);
        group.throughput(Throughput::Bytes(size as u64));
        // A read of eight frames, as a turn finds them; the copy in the setup is not measured.
        for (name, frames, piece) in [("whole", 8, usize::MAX), ("split", 1, size / 2)] {
            let bytes = bytes.repeat(frames);
            group.throughput(Throughput::Bytes((size * frames) as u64));
            group.bench_function(format!("{name}/{frames}x{size}"), |bencher| {
                let (mut decoder, mut pool) = (Decoder::new(), AssemblyPool::default());
                bencher.iter_batched_ref(
                    || bytes.clone(),
                    |bytes| decode(&mut decoder, &mut pool, bytes, piece),
                    BatchSize::SmallInput,
                );
            });
        }
    }
}

fn decode(decoder: &mut Decoder, pool: &mut AssemblyPool, bytes: &mut [u8], piece: usize) -> u32 {
    let mut messages = 0;
    for mut input in bytes.chunks_mut(piece) {
        while let Ok(Some(incoming)) = decoder.next(&mut input, LIMITS, pool) {
            black_box(incoming);
            messages += 1;
        }
    }
    messages
}

fn bench_head(criterion: &mut Criterion) {
    let head = "GET /reflector/abcdefghijklmnopqrstuvwxyz HTTP/1.1\r\nHost: localhost:8080\r\n\
        Connection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 \
        (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0\r\n\
        Upgrade: websocket\r\nOrigin: http://localhost:8080\r\nSec-WebSocket-Version: 13\r\n\
        Accept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    criterion.bench_function("http_head", |bencher| {
        bencher.iter(|| parse_head(black_box(head.as_bytes())).is_ok());
    });
}

#[derive(serde::Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    action: &'a RawValue,
    #[serde(borrow)]
    args: &'a RawValue,
}

fn bench_json(criterion: &mut Criterion) {
    let text = send_message();
    let mut group = criterion.benchmark_group("json_send");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("fields", |bencher| {
        bencher.iter(|| object_fields(black_box(&text), &["id", "action", "args"], 128));
    });
    group.bench_function("fields_and_split", |bencher| {
        bencher.iter(|| {
            let [id, _, args] = object_fields(black_box(&text), &["id", "action", "args"], 128)?;
            black_box((id, args.and_then(|args| args.split_elements::<2>())));
            Ok::<_, lockstep::codec::json::JsonError>(())
        });
    });
    group.bench_function("parse", |bencher| bencher.iter(|| parse(black_box(&text), 128)));
    group.bench_function("serde_json_raw_value", |bencher| {
        bencher.iter(|| {
            let envelope: Envelope<'_> = serde_json::from_str(black_box(&text))?;
            black_box((envelope.id, envelope.action, envelope.args));
            Ok::<_, serde_json::Error>(())
        });
    });
    group.finish();
    let (mut out, text) = (Vec::new(), "p".repeat(200));
    criterion.bench_function("json_write_string/200", |bencher| {
        bencher.iter(|| {
            out.clear();
            write_string(&mut out, black_box(&text));
        });
    });
}

/// A payload of long-polling: read as its packets, and made of what a WebSocket would be sent.
fn bench_engineio(criterion: &mut Criterion) {
    const PACKETS: usize = 8;
    let event = format!("42[\"move\",{{\"id\":\"{}\"}}]", "p".repeat(180));
    let body = [event.as_str(); PACKETS].join("\u{1e}");
    let header = Header::new(FrameKind::Text, event.len());
    let frames = [header.as_bytes(), event.as_bytes()].concat().repeat(PACKETS);
    let mut group = criterion.benchmark_group("engineio_payload");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            payload::packets(black_box(&body)).all(|packet| Packet::parse(packet).is_ok())
        });
    });
    let mut out = Vec::new();
    group.bench_function("write", |bencher| {
        bencher.iter(|| {
            out.clear();
            payload::from_frames(&mut out, black_box(&frames));
        });
    });
}

/// What a Socket.IO client sends: some 200 bytes, with and without an attachment.
fn bench_socketio(criterion: &mut Criterion) {
    let payload = "p".repeat(170);
    let arg = format!(r#"{{"x":1.5,"id":"{payload}"}}"#);
    let binary = format!(r#"{arg},{{"_placeholder":true,"num":0}}"#);
    let limits = socketio::Limits::default();
    let mut group = criterion.benchmark_group("socketio_parse");
    for (name, text) in [
        ("event", format!(r#"2["move",{arg}]"#)),
        ("event_with_ack", format!(r#"2/custom,12["move",{arg}]"#)),
        ("binary_event", format!(r#"51-["move",{binary}]"#)),
    ] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| socketio::decode(black_box(&text), limits).is_ok());
        });
    }
    group.finish();
    let mut out = Vec::new();
    criterion.bench_function("socketio_encode/event", |bencher| {
        bencher.iter(|| {
            out.clear();
            let head = Head::event(black_box("/custom,"), 0, Some(12));
            let parts = socketio::event(&head, "move", &[black_box(arg.as_bytes())]);
            parts.iter().for_each(|part| out.extend_from_slice(part));
        });
    });
}

/// One character typed into a text, and a text of 20,000 characters typed at changing places.
fn yjs_updates() -> [(&'static str, Vec<u8>); 2] {
    let document = Doc::with_client_id(0x1234_5678_9ABC_u64);
    for at in 0..20_000_u32 {
        let mut txn = document.transact_mut();
        let text = txn.get_or_insert_text("text");
        text.insert(&mut txn, at / 100 * 7919 % (at + 1), "x");
    }
    let typed = {
        let mut txn = document.transact_mut();
        let text = txn.get_or_insert_text("text");
        text.insert(&mut txn, 10_000, "y");
        txn.encode_update_v1()
    };
    let state = document.transact().encode_state_as_update_v1(&StateVector::default());
    [("keystroke", typed), ("document", state)]
}

fn bench_ysync(criterion: &mut Criterion) {
    let [(_, typed), _] = yjs_updates();
    let frame = [ysync::Head::update(typed.len()).as_bytes(), &typed].concat();
    criterion.bench_function("ysync_messages/keystroke", |bencher| {
        bencher.iter(|| messages(black_box(&frame), Form::Plain).all(|one| one.is_ok()));
    });
    let mut group = criterion.benchmark_group("ysync");
    for (name, update) in yjs_updates() {
        group.throughput(Throughput::Bytes(update.len() as u64));
        group.bench_function(format!("check/{name}"), |bencher| {
            bencher.iter(|| check_update(black_box(&update)).is_ok());
        });
        group.bench_function(format!("yrs_decode/{name}"), |bencher| {
            bencher.iter(|| yrs::Update::decode_v1(black_box(&update)).is_ok());
        });
    }
}

criterion_group!(
    benches,
    bench_unmask,
    bench_utf8,
    bench_frame,
    bench_head,
    bench_json,
    bench_engineio,
    bench_socketio,
    bench_ysync
);
criterion_main!(benches);

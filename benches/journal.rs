//! The journal: recording a turn's entries, and reading a segment back.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lockstep::codec::journal::{Found, Key, Place, Scan, SegmentHeader};
use lockstep::session::journal::{Batch, Cursor};

const KEY: Key = Key { epoch: 1, salt: 0x5EED };
const ENTRY_BYTES: usize = 120;

/// One turn: `entries` entries of one session, and the seal.
fn turn(batch: &mut Batch, cursor: &mut Cursor, entries: usize) {
    for _ in 0..entries {
        batch.record(cursor, "croquet/session", &[b"M", &[b'x'; ENTRY_BYTES - 1]]);
    }
    black_box(batch.seal(Place::default()));
    batch.clear();
}

fn record(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal/record a turn");
    for entries in [1, 20] {
        group.throughput(Throughput::Elements(entries as u64));
        let (mut batch, mut cursor) = (Batch::new(KEY, 0), Cursor::default());
        group.bench_function(format!("{entries} entries of {ENTRY_BYTES} bytes"), |bencher| {
            bencher.iter(|| turn(&mut batch, &mut cursor, entries));
        });
    }
    group.finish();
}

fn scan(criterion: &mut Criterion) {
    let mut segment = SegmentHeader { key: KEY, shard: 0, number: 1 }.bytes().to_vec();
    let (mut batch, mut cursor) = (Batch::new(KEY, 0), Cursor::default());
    while segment.len() < 4 << 20 {
        batch.record(&mut cursor, "croquet/session", &[&[b'x'; ENTRY_BYTES]]);
        segment.extend_from_slice(batch.seal(Place::default()));
        batch.clear();
    }
    let mut group = criterion.benchmark_group("journal/recover");
    group.throughput(Throughput::Bytes(segment.len() as u64));
    group.bench_function("4 MiB of single entries", |bencher| {
        bencher.iter(|| {
            Scan::new(KEY, &segment).filter(|found| matches!(found, Found::Record(..))).count()
        });
    });
    group.finish();
}

criterion_group!(benches, record, scan);
criterion_main!(benches);

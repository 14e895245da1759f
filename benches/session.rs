//! What a session's log costs, for people: `cargo bench --bench session`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lockstep::session::frame::FrameKind;
use lockstep::session::outbox::{Cursor, Slices};
use lockstep::session::{History, Outbox, RingPool};

const MEMBERS: usize = 500;
const SIZES: [usize; 3] = [64, 250, 4 << 10];

/// One entry in parts as Croquet's, which everybody is sent at once.
fn bench_append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    for size in SIZES {
        let (mut history, mut pool) = (History::new(), RingPool::default());
        let payload = vec![b'x'; size];
        group.throughput(Throughput::Elements(1));
        group.bench_function(size.to_string(), |bencher| {
            bencher.iter(|| {
                let parts = [&b"{\"action\":\"RECV\",\"args\":"[..], black_box(&payload), b"}"];
                let head = history.append(FrameKind::Text, &parts, &mut pool);
                history.trim(head, &mut pool);
            });
        });
    }
}

/// What to send to each of 500 members, and its account: per member.
fn bench_fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan-out");
    for entries in [1, 16] {
        let (mut history, mut pool) = (History::new(), RingPool::default());
        for _ in 0..entries {
            history.append(FrameKind::Text, &[&[0; 250]], &mut pool);
        }
        let mut outboxes: Vec<Outbox> = (0..MEMBERS).map(|_| Outbox::new()).collect();
        group.throughput(Throughput::Elements(MEMBERS as u64));
        group.bench_function(format!("{entries} entries"), |bencher| {
            bencher.iter(|| {
                for outbox in &mut outboxes {
                    let mut cursor: Cursor = Some(history.tail());
                    let planned = plan(outbox, cursor, &history);
                    outbox.advance(&mut cursor, history.head(), planned);
                }
            });
        });
    }
}

/// Eight replies between eight broadcasts, queued and sent.
fn bench_interleave(criterion: &mut Criterion) {
    let (mut history, mut pool, mut outbox) = (History::new(), RingPool::default(), Outbox::new());
    let mut group = criterion.benchmark_group("interleave");
    group.throughput(Throughput::Elements(16));
    group.bench_function("8 replies", |bencher| {
        bencher.iter(|| {
            let mut cursor: Cursor = Some(history.head());
            for _ in 0..8 {
                let at = history.append(FrameKind::Text, &[black_box(&[1; 250])], &mut pool);
                outbox.push_frame(at, FrameKind::Text, &[black_box(&[2; 60])]);
            }
            loop {
                let planned = plan(&outbox, cursor, &history);
                outbox.advance(&mut cursor, history.head(), planned);
                if planned == 0 {
                    break;
                }
            }
            history.trim(history.head(), &mut pool);
        });
    });
}

fn plan(outbox: &Outbox, cursor: Cursor, history: &History) -> usize {
    let mut slices = Slices::new();
    let planned = outbox.plan(cursor, history, &mut slices);
    black_box(&slices);
    planned
}

criterion_group!(benches, bench_append, bench_fan_out, bench_interleave);
criterion_main!(benches);

//! A history and the outboxes of its members, in any sequence of operations: each member receives
//! exactly its stream, in the order of events; one that is behind without what may be dropped.
//!
//! Input: three bytes an operation, which, for whom, and how much.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use lockstep::session::frame::{FrameKind, Header};
use lockstep::session::outbox::{Cursor, SLICES_PER_SEND_MAX, Slices};
use lockstep::session::{Class, History, Outbox, Position, RingPool};

const CLOSE: &[u8] = b"\x88\x02\x03\xE8";

#[derive(Default)]
struct Member {
    outbox: Outbox,
    cursor: Cursor,
    left: bool,
    received: Vec<u8>,
    expected: Vec<u8>,
    /// Where each frame of `expected` ends, and its class if it is droppable.
    frames: Vec<(usize, Option<Class>)>,
}

impl Member {
    fn expect(&mut self, frame: &[u8], class: Option<Class>) {
        self.expected.extend_from_slice(frame);
        self.frames.push((self.expected.len(), class));
    }

    /// Expects no more what a newer frame of its class supersedes, unless it has begun to be sent.
    fn expect_newest(&mut self) {
        let frames = std::mem::take(&mut self.frames);
        let expected = std::mem::take(&mut self.expected);
        let mut start = 0;
        for (at, &(end, class)) in frames.iter().enumerate() {
            let is_newest = frames[at + 1..].iter().all(|&(_, newer)| newer != class);
            if start < self.received.len() || class.is_none() || is_newest {
                self.expect(&expected[start..end], class);
            }
            start = end;
        }
    }

    fn condense(&mut self, history: &History) {
        let Some(cursor) = &mut self.cursor else { return };
        let before = self.frames.len();
        let dropped = self.outbox.condense(cursor, history);
        assert_eq!(*cursor, history.head());
        self.expect_newest();
        assert_eq!(before - self.frames.len(), dropped);
    }

    /// One send, of which `taken` bytes are taken at most; how many were planned.
    fn send(&mut self, history: &History, taken: usize) -> usize {
        let mut slices = Slices::new();
        let planned = self.outbox.plan(self.cursor, history, &mut slices);
        assert!(slices.len() <= SLICES_PER_SEND_MAX && slices.iter().all(|s| !s.is_empty()));
        let taken = taken.min(planned);
        self.received.extend(slices.iter().flat_map(|slice| slice.iter()).take(taken));
        drop(slices);
        self.outbox.advance(&mut self.cursor, history.head(), taken);
        assert!(self.expected.starts_with(&self.received));
        planned
    }

    fn leave(&mut self, history: &History, bytes_max: u64) {
        let Some(cursor) = self.cursor.take() else { return };
        self.outbox.detach(cursor, history, bytes_max);
        let kept = self.received.len() + self.outbox.queued_bytes();
        let is_end = self.frames.iter().any(|&(end, _)| end == kept);
        assert!(kept == 0 || is_end, "the stream is cut inside a frame");
        self.expected.truncate(kept);
        self.expect(CLOSE, None);
        self.outbox.push(Position::MAX, &[CLOSE]);
        self.left = true;
    }
}

fuzz_target!(|data: &[u8]| {
    let (mut history, mut pool) = (History::new(), RingPool::default());
    let mut members: [Member; 3] = Default::default();
    for (number, operation) in data.chunks_exact(3).enumerate() {
        let (what, who) = (operation[0] % 10, usize::from(operation[1]) % 3);
        let size = usize::from(operation[2]).pow(2) / usize::from(8 + operation[1] / 3);
        let payload = vec![number as u8; size];
        let header = Header::new(FrameKind::Text, size);
        let frame = [header.as_bytes(), &payload].concat();
        let at = history.head();
        let member = &mut members[who];
        match what {
            0 | 1 | 8 => {
                let class = (what == 8).then_some(Class::from(operation[1] / 3 % 4));
                let to = match class {
                    Some(class) => {
                        history.append_droppable(class, FrameKind::Text, &[&payload], &mut pool)
                    }
                    None => history.append(FrameKind::Text, &[&payload], &mut pool),
                };
                for (index, member) in members.iter_mut().enumerate() {
                    match member.cursor {
                        Some(_) if what != 0 && index == who => member.outbox.push_skip(at, to),
                        Some(_) => member.expect(&frame, class),
                        None => {}
                    }
                }
            }
            2 if !member.left => {
                member.outbox.push_frame(at, FrameKind::Text, &[&payload]);
                member.expect(&frame, None);
            }
            3 if !member.left => {
                let half = frame.len() / 2;
                member.outbox.push_shared(at, Bytes::copy_from_slice(&frame[..half]));
                member.outbox.push_shared(at, Bytes::copy_from_slice(&frame[half..]));
                member.expect(&frame, None);
            }
            4 if !member.left => drop(member.cursor.get_or_insert(at)),
            5 => drop(member.send(&history, size)),
            6 => member.leave(&history, size as u64),
            7 => {
                let slowest = members.iter().filter_map(|member| member.cursor).min();
                history.trim(slowest.unwrap_or(at), &mut pool);
            }
            9 => member.condense(&history),
            _ => {}
        }
        history.invariants();
        pool.invariants();
        members.iter().for_each(|member| member.outbox.invariants());
    }
    for member in &mut members {
        while member.send(&history, usize::MAX) > 0 {}
        assert_eq!(member.received, member.expected);
    }
});

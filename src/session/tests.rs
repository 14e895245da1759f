//! Histories and outboxes together, against a naive model: for each member the exact bytes it must
//! receive, in the order of events.

use std::collections::VecDeque;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;

use super::frame::{FrameKind, Header};
use super::history::{Class, History, Position, RING_BYTES_MIN, RingPool};
use super::outbox::{Cursor, Outbox, SLICES_PER_SEND_MAX, Slices};

const MEMBERS: usize = 4;
/// Classes of what is droppable.
const CLASSES: u64 = 3;

#[derive(Clone, Debug)]
enum Step {
    /// Says something to all who listen, but for one.
    Append { payload: Payload, except: Option<usize>, class: Option<Class> },
    /// Says something to one member.
    Reply { to: usize, payload: Payload },
    /// The same, from bytes shared by others, in pieces.
    Share { to: usize, payload: Payload, pieces: usize },
    /// From here on the member receives what is said to all.
    Listen { member: usize },
    /// From here on it does not, but stays.
    Unlisten { member: usize },
    /// One send, of which the kernel takes a part.
    Send { member: usize, part: Index },
    /// Sends until nothing is left.
    Flush { member: usize },
    /// The member leaves, and is sent this much of what it has missed.
    Leave { member: usize, bytes_max: u64 },
    /// The member goes elsewhere with all that it was to be sent, and may listen anew.
    CarryOver { member: usize },
    /// The connection is gone, and a new one takes its place.
    Replace { member: usize },
    /// The member is behind, and what newer entries have made worthless is not sent to it.
    Condense { member: usize },
    /// Forgets what everybody was sent.
    Trim,
}

#[derive(Clone, Debug)]
struct Payload {
    len: usize,
    parts: usize,
    binary: bool,
}

fn payload() -> impl Strategy<Value = Payload> {
    let len = prop_oneof![
        8 => 0..300usize,
        3 => 0..5_000usize,
        1 => 0..70_000usize,
        1 => prop::sample::select(vec![0, 125, 126, 4_086, 65_535, 65_536]),
    ];
    (len, 1..4usize, any::<bool>()).prop_map(|(len, parts, binary)| Payload { len, parts, binary })
}

fn step() -> impl Strategy<Value = Step> {
    let member = 0..MEMBERS;
    let except = prop::option::weighted(0.3, member.clone());
    let class = prop::option::weighted(0.6, 0..CLASSES);
    prop_oneof![
        16 => (payload(), except, class)
            .prop_map(|(payload, except, class)| Step::Append { payload, except, class }),
        6 => (member.clone(), payload()).prop_map(|(to, payload)| Step::Reply { to, payload }),
        3 => (member.clone(), payload(), 1..5usize)
            .prop_map(|(to, payload, pieces)| Step::Share { to, payload, pieces }),
        5 => member.clone().prop_map(|member| Step::Listen { member }),
        3 => member.clone().prop_map(|member| Step::Unlisten { member }),
        12 => (member.clone(), any::<Index>()).prop_map(|(member, part)| Step::Send { member, part }),
        4 => member.clone().prop_map(|member| Step::Flush { member }),
        2 => (member.clone(), prop_oneof![0..2_000u64, 0..200_000u64])
            .prop_map(|(member, bytes_max)| Step::Leave { member, bytes_max }),
        2 => member.clone().prop_map(|member| Step::CarryOver { member }),
        2 => member.clone().prop_map(|member| Step::Replace { member }),
        5 => member.prop_map(|member| Step::Condense { member }),
        4 => Just(Step::Trim),
    ]
}

/// A connection, and what it must have received in the end.
#[derive(Debug, Default)]
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

    fn has_frame_end(&self, at: usize) -> bool {
        self.frames.iter().any(|&(end, _)| end == at)
    }

    /// Expects no more what a newer frame of its class supersedes, unless it has begun to be sent.
    /// How many frames that are.
    fn expect_newest(&mut self) -> usize {
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
        frames.len() - self.frames.len()
    }

    /// What it was to be sent belongs to no session any more.
    fn forget_classes(&mut self) {
        self.frames.iter_mut().for_each(|(_, class)| *class = None);
    }

    /// Where the frame that was sent last ends, begun or sent in full.
    fn frame_begun(&self) -> usize {
        let received = self.received.len();
        let begun = received > 0;
        let mut ends = self.frames.iter().map(|&(end, _)| end);
        ends.find(|&end| begun && end >= received).unwrap_or(received)
    }

    /// One send, of which `part` is taken; whether anything was planned.
    fn send(&mut self, history: &History, part: impl FnOnce(usize) -> usize) -> bool {
        let mut slices = Slices::new();
        let planned = self.outbox.plan(self.cursor, history, &mut slices);
        assert!(slices.len() <= SLICES_PER_SEND_MAX);
        assert!(slices.iter().all(|slice| !slice.is_empty()));
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        assert_eq!(bytes.len(), planned);
        drop(slices);
        let taken = part(planned);
        self.received.extend_from_slice(&bytes[..taken]);
        self.outbox.advance(&mut self.cursor, history.head(), taken);
        planned > 0
    }
}

#[derive(Debug, Default)]
struct Model {
    history: History,
    pool: RingPool,
    members: [Member; MEMBERS],
    /// Everything ever appended, from `base` on, and where each entry ends.
    said: VecDeque<u8>,
    base: Position,
    ends: VecDeque<(Position, Option<Class>)>,
    frames_made: usize,
}

impl Model {
    /// A frame that no other equals: its parts, and its bytes on the wire.
    fn frame(&mut self, payload: &Payload) -> (FrameKind, Vec<Vec<u8>>, Vec<u8>) {
        self.frames_made += 1;
        let seed = self.frames_made.wrapping_mul(0x9E37);
        let content: Vec<u8> =
            (0..payload.len).map(|at| (seed + at * 7 + at / 251) as u8).collect();
        let kind = if payload.binary { FrameKind::Binary } else { FrameKind::Text };
        let mut frame = Header::new(kind, content.len()).as_bytes().to_vec();
        frame.extend_from_slice(&content);
        let part = content.len().div_ceil(payload.parts).max(1);
        (kind, content.chunks(part).map(<[u8]>::to_vec).collect(), frame)
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Append { payload, except, class } => self.append(&payload, except, class),
            Step::Reply { to, payload } => self.reply(to, &payload),
            Step::Share { to, payload, pieces } => self.share(to, &payload, pieces),
            Step::Listen { member } => {
                let member = &mut self.members[member];
                if !member.left {
                    member.cursor.get_or_insert_with(|| self.history.head());
                }
            }
            Step::Unlisten { member } => {
                let member = &mut self.members[member];
                if let Some(cursor) = member.cursor.take() {
                    member.outbox.unlisten(cursor, self.history.head(), &self.history);
                    let kept = member.received.len() + member.outbox.queued_bytes();
                    assert_eq!(kept, member.expected.len());
                    member.forget_classes();
                }
            }
            Step::Send { member, part } => {
                self.members[member].send(&self.history, |planned| part.index(planned + 1));
            }
            Step::Flush { member } => self.flush(member),
            Step::Leave { member, bytes_max } => self.leave(member, bytes_max),
            Step::CarryOver { member } => {
                let member = &mut self.members[member];
                if !member.left {
                    let cursor = member.cursor.take();
                    member.outbox.carry_over(cursor, self.history.head(), &self.history);
                    let kept = member.received.len() + member.outbox.queued_bytes();
                    assert_eq!(kept, member.expected.len());
                    member.forget_classes();
                }
            }
            Step::Condense { member } => {
                let Member { outbox, cursor: Some(cursor), .. } = &mut self.members[member] else {
                    return;
                };
                let dropped = outbox.condense(cursor, &self.history);
                assert_eq!(*cursor, self.history.head());
                assert_eq!(self.members[member].expect_newest(), dropped);
            }
            Step::Replace { member } => {
                let mut outbox = std::mem::take(&mut self.members[member].outbox);
                outbox.clear();
                self.members[member] = Member { outbox, ..Member::default() };
            }
            Step::Trim => self.trim(),
        }
    }

    fn append(&mut self, payload: &Payload, except: Option<usize>, class: Option<Class>) {
        let (kind, parts, frame) = self.frame(payload);
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let from = self.history.head();
        let to = match class {
            Some(class) => self.history.append_droppable(class, kind, &parts, &mut self.pool),
            None => self.history.append(kind, &parts, &mut self.pool),
        };
        assert_eq!(to, from + frame.len() as u64);
        assert_eq!(self.history.last_entry_len(), frame.len());
        self.said.extend(&frame);
        self.ends.push_back((to, class));
        for (index, member) in self.members.iter_mut().enumerate() {
            match member.cursor {
                Some(_) if except == Some(index) => member.outbox.push_skip(from, to),
                Some(_) => member.expect(&frame, class),
                None => {}
            }
        }
    }

    fn reply(&mut self, to: usize, payload: &Payload) {
        let (kind, parts, frame) = self.frame(payload);
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let at = self.history.head();
        let member = &mut self.members[to];
        if member.left {
            return;
        }
        member.outbox.push_frame(at, kind, &parts);
        member.expect(&frame, None);
    }

    fn share(&mut self, to: usize, payload: &Payload, pieces: usize) {
        let (_, _, frame) = self.frame(payload);
        let at = self.history.head();
        let member = &mut self.members[to];
        if member.left {
            return;
        }
        let whole = Bytes::from(frame.clone());
        let piece = whole.len().div_ceil(pieces);
        for start in (0..whole.len()).step_by(piece) {
            let end = whole.len().min(start + piece);
            member.outbox.push_shared(at, whole.slice(start..end));
        }
        member.expect(&frame, None);
    }

    fn flush(&mut self, member: usize) {
        let member = &mut self.members[member];
        while member.send(&self.history, |planned| planned) {}
        assert_eq!(member.received, member.expected, "not all was sent");
        assert!(member.outbox.is_empty());
        assert!(member.cursor.is_none_or(|cursor| cursor == self.history.head()));
    }

    /// What is not sent any more must end with a frame, and a close frame must follow.
    fn leave(&mut self, index: usize, bytes_max: u64) {
        const CLOSE: &[u8] = b"\x88\x02\x03\xE8";
        let member = &mut self.members[index];
        let Some(cursor) = member.cursor.take() else { return };
        let lag = self.history.head() - cursor + member.outbox.missed_bytes() as u64;
        let begun = member.frame_begun();
        member.outbox.detach(cursor, &self.history, bytes_max);
        member.outbox.invariants();
        let kept = member.received.len() + member.outbox.queued_bytes();
        if lag <= bytes_max {
            assert_eq!(kept, member.expected.len(), "little was missed, so all of it is sent");
        }
        assert!(kept >= begun, "the frame that has begun is finished");
        assert!(kept == begun || member.has_frame_end(kept), "the stream is cut inside a frame");
        member.expected.truncate(kept);
        member.frames.retain(|&(end, _)| end <= kept);
        member.expect(CLOSE, None);
        member.forget_classes();
        member.outbox.push(Position::MAX, &[CLOSE]);
        member.left = true;
    }

    fn trim(&mut self) {
        let head = self.history.head();
        let slowest = self.members.iter().filter_map(|member| member.cursor).min().unwrap_or(head);
        self.history.trim(slowest, &mut self.pool);
        while let Some(&(end, _)) = self.ends.front()
            && end <= slowest
        {
            self.ends.pop_front();
            self.said.drain(..(end - self.base) as usize);
            self.base = end;
        }
        assert_eq!(self.history.tail(), self.base);
        if slowest == head {
            assert!(self.history.is_empty());
            assert_eq!(self.history.capacity(), 0, "a history at rest holds no ring");
        }
    }

    fn check(&self) {
        self.history.invariants();
        self.pool.invariants();
        assert_eq!(self.history.len(), self.said.len());
        assert!(self.history.capacity() == 0 || self.history.capacity() >= RING_BYTES_MIN);
        for member in &self.members {
            member.outbox.invariants();
            assert!(member.expected.starts_with(&member.received), "the stream went wrong");
            if let Some(cursor) = member.cursor {
                self.check_lasting(cursor);
            }
        }
    }

    /// What the history counts of an entry that has begun is what is left of it.
    fn check_lasting(&self, cursor: Position) {
        let (mut lasting, mut has_droppable, mut start) = (0, false, self.base);
        for &(end, class) in &self.ends {
            if end > cursor && class.is_none() {
                lasting += end - start.max(cursor);
            }
            has_droppable |= end > cursor && class.is_some();
            start = end;
        }
        assert_eq!(self.history.lasting_bytes_after(cursor), lasting);
        assert_eq!(self.history.has_droppable_after(cursor), has_droppable);
    }

    fn check_entries(&self) {
        let (first, second) = self.history.slices(self.history.tail(), self.history.head());
        assert!(self.said.iter().eq(first.iter().chain(second)));
        let mut start = self.base;
        for &(end, _) in &self.ends {
            assert_eq!(self.history.entry_end(start), start);
            assert_eq!(self.history.entry_start(start), start);
            assert_eq!(self.history.entry_start(end), end);
            assert_eq!(self.history.entry_start(end - 1), start);
            assert_eq!(self.history.entry_end(start + 1), end);
            assert_eq!(self.history.entry_end(end - 1), if end - 1 == start { start } else { end });
            assert_eq!(self.history.entry_end(end), end);
            start = end;
        }
    }
}

fn said(history: &mut History, pool: &mut RingPool, class: Option<Class>, text: &str) {
    match class {
        Some(class) => {
            history.append_droppable(class, FrameKind::Text, &[text.as_bytes()], pool);
        }
        None => drop(history.append(FrameKind::Text, &[text.as_bytes()], pool)),
    }
}

#[test]
fn who_is_behind_is_sent_the_newest_of_each_class_at_its_place() {
    let (mut history, mut pool) = (History::new(), RingPool::default());
    let (mut outbox, mut cursor) = (Outbox::new(), 0);
    for (class, text) in
        [(Some(1), "a1"), (None, "X"), (Some(2), "b1"), (Some(1), "a2"), (None, "Y")]
    {
        said(&mut history, &mut pool, class, text);
    }
    assert_eq!(outbox.condense(&mut cursor, &history), 1);
    history.trim(cursor, &mut pool);
    assert_eq!(history.capacity(), 0, "it holds no ring");
    assert_eq!(outbox.missed_bytes(), 3 + 4 + 4 + 3);
    said(&mut history, &mut pool, Some(2), "b2");
    outbox.push_frame(history.head(), FrameKind::Text, &[b"to it alone"]);
    said(&mut history, &mut pool, Some(3), "c1");
    assert_eq!(outbox.condense(&mut cursor, &history), 1);
    assert_eq!(
        outbox.unsent(),
        b"\x81\x01X\x81\x02a2\x81\x01Y\x81\x02b2\x81\x0bto it alone\x81\x02c1"
    );
}

#[test]
fn what_has_begun_to_be_sent_stays() {
    let (mut history, mut pool) = (History::new(), RingPool::default());
    let (mut outbox, mut cursor) = (Outbox::new(), 1);
    said(&mut history, &mut pool, Some(1), "a1");
    said(&mut history, &mut pool, Some(1), "a2");
    said(&mut history, &mut pool, Some(1), "a3");
    assert_eq!(outbox.condense(&mut cursor, &history), 1);
    assert_eq!(outbox.unsent(), b"\x02a1\x81\x02a3");
    assert!(!outbox.has_lasting(Some(cursor), &history));
    assert_eq!(history.lasting_bytes_after(0), 0);
    outbox.detach(cursor, &history, 0);
    assert_eq!(outbox.unsent(), b"\x02a1", "one that leaves is sent what has begun");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is said, sent, cut short and forgotten: each member receives exactly its stream.
    #[test]
    fn every_member_receives_exactly_its_stream(steps in prop::collection::vec(step(), 1..150)) {
        let mut model = Model::default();
        for step in steps {
            model.apply(step);
            model.check();
        }
        model.check_entries();
        (0..MEMBERS).for_each(|member| model.flush(member));
        model.trim();
        model.check();
    }
}

/// A send of one slice costs the kernel less.
#[test]
fn what_is_said_in_a_turn_and_sent_at_its_end_is_one_slice() {
    let (mut history, mut pool) = (History::new(), RingPool::default());
    let sizes = [1, RING_BYTES_MIN / 3, RING_BYTES_MIN - 100, 3 * RING_BYTES_MIN];
    for (turn, bytes) in sizes.into_iter().cycle().take(100).enumerate() {
        let start = history.head();
        for _ in 0..=turn % 3 {
            history.append(FrameKind::Text, &["x".repeat(bytes).as_bytes()], &mut pool);
        }
        let (first, second) = history.slices(start, history.head());
        assert!(first.len() > bytes && second.is_empty(), "turn {turn}");
        history.trim(history.head(), &mut pool);
        history.invariants();
    }
}

#[test]
fn what_is_relayed_counts_until_it_is_sent() {
    let (mut outbox, history, mut cursor) = (Outbox::new(), History::new(), None);
    outbox.push(0, &[b"ab"]);
    outbox.push_relayed(0, Bytes::from_static(b"cdef"));
    outbox.push_relayed(0, Bytes::new());
    outbox.push_shared(0, Bytes::from_static(b"gh"));
    outbox.invariants();
    assert_eq!((outbox.private_bytes(), outbox.missed_bytes(), outbox.queued_bytes()), (2, 4, 8));
    outbox.advance(&mut cursor, history.head(), 3);
    outbox.invariants();
    assert_eq!((outbox.private_bytes(), outbox.missed_bytes(), outbox.queued_bytes()), (0, 3, 5));
    assert_eq!(outbox.unsent(), b"defgh");
    outbox.carry_over(cursor, history.head(), &history);
    outbox.invariants();
    assert_eq!((outbox.missed_bytes(), outbox.queued_bytes()), (0, 5));
}

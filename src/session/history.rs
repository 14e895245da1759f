//! The session's history: a ring of bytes, already framed for the wire.
//!
//! Every entry is appended once; every member reads it through a cursor, straight from here into
//! the kernel. The ring keeps what the slowest member has still to be sent and nothing more: what a
//! late joiner needs is the protocol's to keep, in the form its protocol replays it.
//!
//! A history at rest (everything sent, nothing held back) holds no buffer. Rings come from the shard's [`RingPool`]
//! and go back when the last member has caught up, which in steady state is at the end of every
//! turn, so a handful of warm buffers serve all sessions of a shard.
//!
//! An entry may be *droppable*: worthless once a newer one of its class follows. Who keeps up is sent
//! it like any other. For who does not, see [`Outbox::condense`](super::Outbox::condense).

use std::collections::VecDeque;
use std::ops::Range;

use super::clock::Instant;
use super::frame::{FrameKind, Header};
use super::held::Held;

/// A place in the stream of bytes a session has said since it was opened.
pub type Position = u64;

/// Names a class of droppable entries of one session, for example the poses of one user: a newer
/// entry makes the older ones of its class worthless. Made by the server, not by peers.
pub type Class = u64;

/// The smallest ring, in bytes. Rings are powers of two.
pub const RING_BYTES_MIN: usize = 4 << 10;
/// The largest ring that goes back to the pool rather than to the allocator, in bytes.
const POOLED_RING_BYTES_MAX: usize = 256 << 10;
/// Rings a pool keeps for each size.
const POOLED_RINGS_PER_SIZE: usize = 16;
/// Room for entry ends that a buffer in the pool may keep.
const POOLED_ENDS_MAX: usize = 1024;
/// Entries that are not droppable are looked at together, up to about so many bytes.
const PIECE_BYTES_MAX: u64 = 16 << 10;

/// What a history holds while it is not at rest.
#[derive(Debug)]
struct Buffer {
    ring: Box<[u8]>,
    /// The position whose byte the ring begins with: where it was empty last, so that what is said in a
    /// turn and sent at its end is one slice.
    base: Position,
    /// Where each retained entry ends, oldest first.
    ends: VecDeque<Position>,
    /// Those that are droppable, oldest first.
    droppables: VecDeque<Droppable>,
    /// Bytes of droppable entries since the ring was taken from the pool.
    droppable: u64,
    /// What is said but not appended yet, see [`Effects::release`](super::Effects::release).
    held: Held,
}

/// A droppable entry.
#[derive(Clone, Copy, Debug)]
struct Droppable {
    start: Position,
    end: Position,
    class: Class,
    /// Bytes of droppable entries said before it since the ring was taken from the pool.
    before: u64,
}

/// Rings not in use, by size; one pool a shard.
#[derive(Debug, Default)]
pub struct RingPool {
    #[allow(clippy::vec_box)] // boxed where they are used: a history at rest has one pointer
    by_size: [Vec<Box<Buffer>>; Self::SIZES],
}

impl RingPool {
    const SIZES: usize = (POOLED_RING_BYTES_MAX / RING_BYTES_MIN).trailing_zeros() as usize + 1;

    fn class(bytes: usize) -> usize {
        (bytes / RING_BYTES_MIN).trailing_zeros() as usize
    }

    fn take(&mut self, bytes: usize) -> Box<Buffer> {
        debug_assert!(bytes.is_power_of_two() && bytes >= RING_BYTES_MIN);
        self.by_size.get_mut(Self::class(bytes)).and_then(Vec::pop).unwrap_or_else(|| {
            Box::new(Buffer {
                ring: vec![0; bytes].into_boxed_slice(),
                base: 0,
                ends: VecDeque::new(),
                droppables: VecDeque::new(),
                droppable: 0,
                held: Held::default(),
            })
        })
    }

    fn give(&mut self, mut buffer: Box<Buffer>) {
        debug_assert!(buffer.is_at_rest());
        buffer.droppable = 0;
        if let Some(free) = self.by_size.get_mut(Self::class(buffer.ring.len()))
            && free.len() < POOLED_RINGS_PER_SIZE
        {
            buffer.ends.shrink_to(POOLED_ENDS_MAX);
            buffer.droppables.shrink_to(POOLED_ENDS_MAX);
            free.push(buffer);
        }
    }

    /// What must hold between any two calls.
    pub fn invariants(&self) {
        for (class, free) in self.by_size.iter().enumerate() {
            assert!(free.len() <= POOLED_RINGS_PER_SIZE);
            assert!(free.iter().all(|buffer| buffer.ring.len() == RING_BYTES_MIN << class));
            assert!(free.iter().all(|buffer| buffer.is_at_rest() && buffer.droppable == 0));
        }
    }
}

impl Buffer {
    fn is_at_rest(&self) -> bool {
        self.ends.is_empty() && self.droppables.is_empty() && self.held.is_empty()
    }

    fn index(&self, position: Position) -> usize {
        ((position - self.base) & (self.ring.len() as u64 - 1)) as usize
    }

    fn write(&mut self, at: Position, bytes: &[u8]) {
        let start = self.index(at);
        let first = bytes.len().min(self.ring.len() - start);
        self.ring[start..start + first].copy_from_slice(&bytes[..first]);
        self.ring[..bytes.len() - first].copy_from_slice(&bytes[first..]);
    }
}

/// What a session has said and not every member has been sent yet.
#[derive(Debug, Default)]
pub struct History {
    /// None at rest.
    buffer: Option<Box<Buffer>>,
    tail: Position,
    head: Position,
}

impl History {
    /// An empty history at position zero; holds no memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// The position after the newest entry: where a member that starts listening now begins.
    pub fn head(&self) -> Position {
        self.head
    }

    /// The position of the oldest retained byte.
    pub fn tail(&self) -> Position {
        self.tail
    }

    /// Bytes retained.
    pub fn len(&self) -> usize {
        (self.head - self.tail) as usize
    }

    /// When what is held back must be released, if anything is.
    pub fn held_until(&self) -> Option<Instant> {
        self.buffer
            .as_ref()
            .filter(|buffer| !buffer.held.is_empty())
            .map(|buffer| buffer.held.due())
    }

    /// Holds messages back; see [`History::take_held`].
    pub(super) fn held(&mut self, pool: &mut RingPool) -> &mut Held {
        &mut self.buffer.get_or_insert_with(|| pool.take(RING_BYTES_MIN)).held
    }

    /// What is held back, to be appended now; `None` if nothing is.
    pub(super) fn take_held(&mut self) -> Option<Held> {
        let buffer = self.buffer.as_deref_mut().filter(|buffer| !buffer.held.is_empty())?;
        Some(std::mem::take(&mut buffer.held))
    }

    /// Keeps the memory of what was held back.
    pub(super) fn give_held(&mut self, held: Held) {
        debug_assert!(held.is_empty());
        if let Some(buffer) = &mut self.buffer {
            buffer.held = held;
        }
    }

    /// Whether everything said has been sent.
    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Size of the ring now held, in bytes; 0 at rest.
    pub fn capacity(&self) -> usize {
        self.buffer.as_ref().map_or(0, |buffer| buffer.ring.len())
    }

    /// Appends one entry: a whole WebSocket frame whose payload is the concatenation of `parts`.
    ///
    /// Returns the position after it.
    pub fn append(&mut self, kind: FrameKind, parts: &[&[u8]], pool: &mut RingPool) -> Position {
        let payload: usize = parts.iter().map(|part| part.len()).sum();
        let header = Header::new(kind, payload);
        let mut at = self.head;
        let buffer = self.reserve(header.as_bytes().len() + payload, pool);
        for part in std::iter::once(&header.as_bytes()).chain(parts) {
            buffer.write(at, part);
            at += part.len() as u64;
        }
        buffer.ends.push_back(at);
        self.head = at;
        at
    }

    /// Appends one entry that a newer one of the same class makes worthless.
    ///
    /// Returns the position after it.
    pub fn append_droppable(
        &mut self,
        class: Class,
        kind: FrameKind,
        parts: &[&[u8]],
        pool: &mut RingPool,
    ) -> Position {
        let start = self.head;
        let end = self.append(kind, parts, pool);
        if let Some(buffer) = &mut self.buffer {
            let before = buffer.droppable;
            buffer.droppables.push_back(Droppable { start, end, class, before });
            buffer.droppable += end - start;
        }
        end
    }

    /// The bytes between two positions as at most two slices, in order.
    ///
    /// # Panics
    /// If the range is not retained: a cursor behind the tail is a bug of the shard.
    pub fn slices(&self, from: Position, to: Position) -> (&[u8], &[u8]) {
        assert!(self.tail <= from && from <= to && to <= self.head, "range is not retained");
        let Some(buffer) = self.buffer.as_ref().filter(|_| from < to) else { return (&[], &[]) };
        let ring = &buffer.ring;
        let (start, len) = (buffer.index(from), (to - from) as usize);
        let first = len.min(ring.len() - start);
        (&ring[start..start + first], &ring[..len - first])
    }

    /// The end of the entry that `position` lies inside of; `position` itself on a boundary.
    ///
    /// A stream may only be cut there: half a frame would make all that follows unreadable.
    pub fn entry_end(&self, position: Position) -> Position {
        if position == self.tail {
            // The tail is always a boundary, see `trim`.
            return position;
        }
        let Some(Buffer { ends, .. }) = self.buffer.as_deref() else { return self.head };
        let at = ends.partition_point(|&end| end < position);
        ends.get(at).copied().unwrap_or(self.head)
    }

    /// The start of the entry that `position` lies inside of; `position` itself on a boundary.
    pub fn entry_start(&self, position: Position) -> Position {
        let Some(Buffer { ends, .. }) = self.buffer.as_deref() else { return position };
        if self.entry_end(position) == position {
            return position;
        }
        let at = ends.partition_point(|&end| end < position);
        at.checked_sub(1).and_then(|at| ends.get(at)).copied().unwrap_or(self.tail)
    }

    /// Whether any entry that ends after `position` is droppable.
    pub fn has_droppable_after(&self, position: Position) -> bool {
        let newest = self.buffer.as_ref().and_then(|buffer| buffer.droppables.back());
        newest.is_some_and(|newest| newest.end > position)
    }

    /// Bytes from `position` to the head, those of droppable entries not counted.
    ///
    /// # Panics
    /// If the range is not retained.
    pub fn lasting_bytes_after(&self, position: Position) -> u64 {
        assert!(self.tail <= position && position <= self.head, "range is not retained");
        let all = self.head - position;
        let Some(Buffer { droppables, droppable, .. }) = self.buffer.as_deref() else {
            return all;
        };
        let first = droppables.partition_point(|droppable| droppable.end <= position);
        let Some(first) = droppables.get(first) else { return all };
        all - (droppable - first.before - position.saturating_sub(first.start))
    }

    /// What lies between two positions in pieces, in order: droppable entries, each with its class,
    /// and between them one or more other entries. A piece begins inside of an entry only at `from`,
    /// and then ends with it. `to` must be a boundary.
    pub fn pieces(
        &self,
        from: Position,
        to: Position,
    ) -> impl Iterator<Item = (Range<Position>, Option<Class>)> {
        debug_assert!(from >= to || self.entry_end(to) == to, "half an entry");
        let droppables = self.buffer.as_ref().map(|buffer| &buffer.droppables);
        let first =
            droppables.map_or(0, |all| all.partition_point(|droppable| droppable.end <= from));
        let mut droppables =
            droppables.into_iter().flat_map(move |all| all.range(first..)).peekable();
        let mut at = from;
        std::iter::from_fn(move || {
            if at >= to {
                return None;
            }
            let start = at;
            if let Some(droppable) = droppables.next_if(|droppable| droppable.start <= start) {
                at = droppable.end;
                return Some((start..at, Some(droppable.class)));
            }
            let stop = droppables.peek().map_or(to, |droppable| droppable.start.min(to));
            let rest = self.entry_end(start);
            at =
                if rest > start { rest } else { self.entry_end(stop.min(start + PIECE_BYTES_MAX)) };
            Some((start..at, None))
        })
    }

    /// Length of the newest entry, in bytes; 0 if none is retained.
    pub fn last_entry_len(&self) -> usize {
        let Some(buffer) = &self.buffer else { return 0 };
        let mut ends = buffer.ends.iter().rev();
        ends.next().map_or(0, |end| (end - ends.next().copied().unwrap_or(self.tail)) as usize)
    }

    /// Forgets whole entries before `position`, the cursor of the slowest member. An emptied ring
    /// goes back to the pool.
    pub fn trim(&mut self, position: Position, pool: &mut RingPool) {
        let Some(Buffer { ends, droppables, .. }) = self.buffer.as_deref_mut() else { return };
        while let Some(&end) = ends.front()
            && end <= position
        {
            self.tail = end;
            ends.pop_front();
        }
        while droppables.front().is_some_and(|droppable| droppable.end <= self.tail) {
            droppables.pop_front();
        }
        if let Some(buffer) = self.buffer.take_if(|buffer| buffer.is_at_rest()) {
            pool.give(buffer);
        }
    }

    /// What must hold between any two calls.
    pub fn invariants(&self) {
        assert!(self.tail <= self.head);
        let Some(Buffer { ring, base, ends, droppables, droppable, .. }) = self.buffer.as_deref()
        else {
            return assert!(self.is_empty());
        };
        assert!(ring.len().is_power_of_two());
        assert!(self.is_empty() || *base <= self.tail);
        assert!(self.len() <= ring.len());
        assert_eq!(self.is_empty(), ends.is_empty());
        assert_eq!(ends.back().copied().unwrap_or(self.head), self.head);
        assert!(ends.front().is_none_or(|&first| first > self.tail));
        assert!(ends.iter().is_sorted());
        let mut after = self.tail;
        let mut sum = droppables.front().map_or(*droppable, |first| first.before);
        for entry in droppables {
            assert!(after <= entry.start && entry.start < entry.end);
            assert_eq!(self.entry_end(entry.start + 1), entry.end, "not an entry");
            assert_eq!(entry.before, sum);
            sum += entry.end - entry.start;
            after = entry.end;
        }
        assert_eq!(sum, *droppable);
    }

    /// The buffer with room for `more` bytes; a larger one if need be.
    fn reserve(&mut self, more: usize, pool: &mut RingPool) -> &mut Buffer {
        let needed = self.len() + more;
        if needed > self.capacity() {
            self.grow(needed, pool);
        }
        let (is_empty, head) = (self.is_empty(), self.head);
        let buffer = self
            .buffer
            .as_deref_mut()
            .expect("every entry has a header, so there was room to make");
        if is_empty {
            buffer.base = head;
        }
        buffer
    }

    fn grow(&mut self, needed: usize, pool: &mut RingPool) {
        let mut larger = pool.take(needed.next_power_of_two().max(RING_BYTES_MIN));
        let (first, second) = self.slices(self.tail, self.head);
        larger.base = self.tail;
        larger.ring[..first.len()].copy_from_slice(first);
        larger.ring[first.len()..][..second.len()].copy_from_slice(second);
        if let Some(mut old) = self.buffer.take() {
            std::mem::swap(&mut old.ends, &mut larger.ends);
            std::mem::swap(&mut old.droppables, &mut larger.droppables);
            std::mem::swap(&mut old.held, &mut larger.held);
            std::mem::swap(&mut old.droppable, &mut larger.droppable);
            pool.give(old);
        }
        self.buffer = Some(larger);
    }
}

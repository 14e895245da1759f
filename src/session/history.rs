//! The session's history: a ring of bytes, already framed for the wire.
//!
//! Every entry is appended once; every member reads it through a cursor, straight from here into
//! the kernel. The ring keeps what the slowest member has still to be sent and nothing more: what a
//! late joiner needs is the protocol's to keep, in the form its protocol replays it.
//!
//! A history at rest (everything sent) holds no buffer. Rings come from the shard's [`RingPool`]
//! and go back when the last member has caught up, which in steady state is at the end of every
//! turn, so a handful of warm buffers serve all sessions of a shard.

use std::collections::VecDeque;

use super::frame::{FrameKind, Header};

/// A place in the stream of bytes a session has said since it was opened.
pub type Position = u64;

/// The smallest ring, in bytes. Rings are powers of two.
pub const RING_BYTES_MIN: usize = 4 << 10;
/// The largest ring that goes back to the pool rather than to the allocator, in bytes.
const POOLED_RING_BYTES_MAX: usize = 256 << 10;
/// Rings a pool keeps for each size.
const POOLED_RINGS_PER_SIZE: usize = 16;
/// Room for entry ends that a history at rest may keep.
const REST_ENDS_MAX: usize = 32;

/// Rings not in use, by size; one pool a shard.
#[derive(Debug, Default)]
pub struct RingPool {
    by_size: [Vec<Box<[u8]>>; Self::SIZES],
}

impl RingPool {
    const SIZES: usize = (POOLED_RING_BYTES_MAX / RING_BYTES_MIN).trailing_zeros() as usize + 1;

    fn class(bytes: usize) -> usize {
        (bytes / RING_BYTES_MIN).trailing_zeros() as usize
    }

    fn take(&mut self, bytes: usize) -> Box<[u8]> {
        debug_assert!(bytes.is_power_of_two() && bytes >= RING_BYTES_MIN);
        self.by_size
            .get_mut(Self::class(bytes))
            .and_then(Vec::pop)
            .unwrap_or_else(|| vec![0; bytes].into_boxed_slice())
    }

    fn give(&mut self, ring: Box<[u8]>) {
        if let Some(free) = self.by_size.get_mut(Self::class(ring.len()))
            && free.len() < POOLED_RINGS_PER_SIZE
        {
            free.push(ring);
        }
    }

    /// What must hold between any two calls.
    pub fn invariants(&self) {
        for (class, free) in self.by_size.iter().enumerate() {
            assert!(free.len() <= POOLED_RINGS_PER_SIZE);
            assert!(free.iter().all(|ring| ring.len() == RING_BYTES_MIN << class));
        }
    }
}

/// What a session has said and not every member has been sent yet.
#[derive(Debug, Default)]
pub struct History {
    ring: Box<[u8]>,
    tail: Position,
    head: Position,
    /// Where each retained entry ends, oldest first.
    ends: VecDeque<Position>,
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

    /// Whether everything said has been sent.
    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Size of the ring now held, in bytes; 0 at rest.
    pub fn capacity(&self) -> usize {
        self.ring.len()
    }

    /// Appends one entry: a whole WebSocket frame whose payload is the concatenation of `parts`.
    ///
    /// Returns the position after it.
    pub fn append(&mut self, kind: FrameKind, parts: &[&[u8]], pool: &mut RingPool) -> Position {
        let payload: usize = parts.iter().map(|part| part.len()).sum();
        let header = Header::new(kind, payload);
        self.reserve(header.as_bytes().len() + payload, pool);
        self.copy_in(header.as_bytes());
        for part in parts {
            self.copy_in(part);
        }
        self.ends.push_back(self.head);
        self.head
    }

    /// The bytes between two positions as at most two slices, in order.
    ///
    /// # Panics
    /// If the range is not retained: a cursor behind the tail is a bug of the shard.
    pub fn slices(&self, from: Position, to: Position) -> (&[u8], &[u8]) {
        assert!(self.tail <= from && from <= to && to <= self.head, "range is not retained");
        if from == to {
            return (&[], &[]);
        }
        let (start, len) = (self.index(from), (to - from) as usize);
        let first = len.min(self.ring.len() - start);
        (&self.ring[start..start + first], &self.ring[..len - first])
    }

    /// The end of the entry that `position` lies inside of; `position` itself on a boundary.
    ///
    /// A stream may only be cut there: half a frame would make all that follows unreadable.
    pub fn entry_end(&self, position: Position) -> Position {
        if position == self.tail {
            // The tail is always a boundary, see `trim`.
            return position;
        }
        let at = self.ends.partition_point(|&end| end < position);
        self.ends.get(at).copied().unwrap_or(self.head)
    }

    /// Length of the newest entry, in bytes; 0 if none is retained.
    pub fn last_entry_len(&self) -> usize {
        let mut ends = self.ends.iter().rev();
        ends.next().map_or(0, |end| (end - ends.next().copied().unwrap_or(self.tail)) as usize)
    }

    /// Forgets whole entries before `position`, the cursor of the slowest member. An emptied ring
    /// goes back to the pool.
    pub fn trim(&mut self, position: Position, pool: &mut RingPool) {
        while let Some(&end) = self.ends.front()
            && end <= position
        {
            self.tail = end;
            self.ends.pop_front();
        }
        if self.is_empty() && !self.ring.is_empty() {
            pool.give(std::mem::take(&mut self.ring));
            if self.ends.capacity() > REST_ENDS_MAX {
                self.ends.shrink_to(REST_ENDS_MAX);
            }
        }
    }

    /// What must hold between any two calls.
    pub fn invariants(&self) {
        assert!(self.tail <= self.head);
        assert!(self.ring.is_empty() || self.ring.len().is_power_of_two());
        assert!(self.len() <= self.ring.len());
        assert_eq!(self.is_empty(), self.ends.is_empty());
        assert_eq!(self.ends.back().copied().unwrap_or(self.head), self.head);
        assert!(self.ends.front().is_none_or(|&first| first > self.tail));
        assert!(self.ends.iter().is_sorted());
    }

    fn index(&self, position: Position) -> usize {
        (position & (self.ring.len() as u64 - 1)) as usize
    }

    /// Makes room for `more` bytes, moving to a larger ring if need be.
    fn reserve(&mut self, more: usize, pool: &mut RingPool) {
        let needed = self.len() + more;
        if needed <= self.ring.len() {
            return;
        }
        let mut larger = pool.take(needed.next_power_of_two().max(RING_BYTES_MIN));
        let mask = larger.len() as u64 - 1;
        let (first, second) = self.slices(self.tail, self.head);
        let mut at = self.tail;
        for slice in [first, second] {
            copy_wrapped(&mut larger, (at & mask) as usize, slice);
            at += slice.len() as u64;
        }
        let old = std::mem::replace(&mut self.ring, larger);
        if !old.is_empty() {
            pool.give(old);
        }
    }

    fn copy_in(&mut self, bytes: &[u8]) {
        let at = self.index(self.head);
        copy_wrapped(&mut self.ring, at, bytes);
        self.head += bytes.len() as u64;
    }
}

fn copy_wrapped(ring: &mut [u8], at: usize, bytes: &[u8]) {
    let first = bytes.len().min(ring.len() - at);
    ring[at..at + first].copy_from_slice(&bytes[..first]);
    ring[..bytes.len() - first].copy_from_slice(&bytes[first..]);
}

//! What is on its way between sessions: members that move, and what sessions tell each other.
//!
//! One queue for each shard, this one included, so that whatever one session sends another arrives
//! in order. What stays on this shard is delivered when the call that caused it is drained, before
//! the next message is looked at, and never from within it; only messages that a member brings along
//! are applied together, as deliveries do not nest. What goes to another shard is put into
//! its inbox at the end of a turn; what finds no room there, or is still held by the kernel, waits
//! here with all that is behind it.

use std::collections::VecDeque;
use std::time::Duration;

use crossbeam_channel::TrySendError;

use super::Shard;
use super::mesh::Item;
use super::tell::Tell;
use super::transfer::Arrival;
use super::wheel::TimerId;
use crate::net::{Token, Transport};

/// Passages that may wait for one shard. Beyond it a member is closed, and what a session tells is
/// lost; both are counted.
const WAITING_MAX: usize = 16 << 10;
/// Bytes that the passages waiting for one shard may hold, the first of them not counted.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Passages delivered on this shard in one turn: sessions that answer each other without end must
/// not keep it from its network.
const DELIVERED_PER_TURN_MAX: usize = 1024;
/// When a full inbox is tried again, if nothing else happens.
const RETRY: Duration = Duration::from_millis(1);
/// Room for passages that an emptied queue may keep.
const REST_CAPACITY_MAX: usize = 64;

/// One thing on its way.
#[derive(Debug)]
pub(super) enum Passage<S> {
    /// A member, still in this shard's table.
    Member(Token),
    /// A member, ready for another shard.
    Packed(Box<Arrival<S>>),
    /// A message.
    Tell(Box<Tell>),
}

#[derive(Debug)]
struct Waiting<S> {
    passage: Passage<S>,
    bytes: usize,
}

#[derive(Debug)]
struct Queue<S> {
    waiting: VecDeque<Waiting<S>>,
    bytes: usize,
}

/// All that is on its way from this shard's sessions.
#[derive(Debug)]
pub(super) struct Passages<S> {
    /// One for each shard.
    queues: Box<[Queue<S>]>,
    /// Which of them is this shard's own.
    here: usize,
    /// In all queues.
    count: usize,
    /// How many may still be delivered here in this turn.
    budget: usize,
    delivering: bool,
    retry: TimerId,
}

impl<S> Passages<S> {
    /// Empty queues of shard `here` to each of `shards`.
    pub(super) fn new(here: usize, shards: usize, retry: TimerId) -> Self {
        let queue = |_| Queue { waiting: VecDeque::new(), bytes: 0 };
        let queues = (0..shards).map(queue).collect();
        Self { queues, here, count: 0, budget: 0, delivering: false, retry }
    }

    /// Whether anything is to be delivered here now.
    pub(super) fn is_due(&self) -> bool {
        !(self.delivering || self.queues[self.here].waiting.is_empty())
    }

    /// Whether nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds what weighs `bytes` to the queue of a shard; whether there was room.
    pub(super) fn push(&mut self, shard: usize, passage: Passage<S>, bytes: usize) -> bool {
        let queue = &mut self.queues[shard];
        let fits = queue.waiting.is_empty() || queue.bytes + bytes <= WAITING_BYTES_MAX;
        if queue.waiting.len() >= WAITING_MAX || !fits {
            return false;
        }
        queue.bytes += bytes;
        queue.waiting.push_back(Waiting { passage, bytes });
        self.count += 1;
        true
    }

    fn pop(&mut self, shard: usize) -> Option<Waiting<S>> {
        let queue = &mut self.queues[shard];
        let waiting = queue.waiting.pop_front()?;
        queue.bytes -= waiting.bytes;
        self.count -= 1;
        if queue.waiting.is_empty() && queue.waiting.capacity() > REST_CAPACITY_MAX {
            queue.waiting.shrink_to(REST_CAPACITY_MAX);
        }
        Some(waiting)
    }

    /// Undoes [`Self::pop`].
    fn put_back(&mut self, shard: usize, waiting: Waiting<S>) {
        self.count += 1;
        self.queues[shard].bytes += waiting.bytes;
        self.queues[shard].waiting.push_front(waiting);
    }

    /// The next that is to be delivered here in this turn.
    fn next_here(&mut self) -> Option<Passage<S>> {
        if self.budget == 0 {
            return None;
        }
        let waiting = self.pop(self.here)?;
        self.budget -= 1;
        Some(waiting.passage)
    }

    /// Members on their way that are still in this shard's table.
    pub(super) fn members(&self) -> impl Iterator<Item = Token> {
        let waiting = self.queues.iter().flat_map(|queue| &queue.waiting);
        waiting.filter_map(|waiting| match waiting.passage {
            Passage::Member(token) => Some(token),
            _ => None,
        })
    }

    /// What must hold between any two turns.
    pub(super) fn invariants(&self) {
        let count: usize = self.queues.iter().map(|queue| queue.waiting.len()).sum();
        assert_eq!(self.count, count);
        for queue in &self.queues {
            assert!(queue.waiting.len() <= WAITING_MAX);
            let bytes: usize = queue.waiting.iter().map(|waiting| waiting.bytes).sum();
            assert_eq!(queue.bytes, bytes);
        }
    }
}

impl<T: Transport> Shard<T> {
    /// A turn begins.
    pub(super) fn renew_passages(&mut self) {
        self.passages.budget = DELIVERED_PER_TURN_MAX;
    }

    /// Delivers what goes to sessions of this shard.
    pub(super) fn deliver_passages(&mut self) {
        if !self.passages.is_due() {
            return;
        }
        self.passages.delivering = true;
        while let Some(passage) = self.passages.next_here() {
            match passage {
                Passage::Member(token) => self.complete_move(token.index),
                Passage::Packed(arrival) => self.arrive(*arrival),
                Passage::Tell(tell) => self.on_tell(*tell),
            }
        }
        self.passages.delivering = false;
    }

    /// Hands over what goes to other shards, as far as they have room.
    pub(super) fn send_passages(&mut self) {
        // What the journal does not have yet, other shards must not act on.
        if self.passages.is_empty() || self.journaling.holding {
            return;
        }
        for shard in 0..self.peers.len() {
            if shard != self.config.index {
                self.send_passages_to(shard);
            }
        }
    }

    fn send_passages_to(&mut self, shard: usize) {
        while let Some(Waiting { passage, bytes }) = self.passages.pop(shard) {
            let item = match passage {
                Passage::Member(token) => match self.pack(token.index) {
                    Some(arrival) => Item::Arrive(arrival),
                    // The kernel tells when it has let go of it.
                    None => return self.passages.put_back(shard, Waiting { passage, bytes }),
                },
                Passage::Packed(arrival) => Item::Arrive(arrival),
                Passage::Tell(tell) => Item::Tell(tell),
            };
            match self.peers[shard].try_send(item) {
                Ok(()) => {}
                Err(TrySendError::Full(item)) => {
                    let Some(passage) = passage_of(item) else { return };
                    self.passages.put_back(shard, Waiting { passage, bytes });
                    return self.wheel.set(self.passages.retry, Some(self.now.at + RETRY));
                }
                Err(TrySendError::Disconnected(item)) => match item {
                    Item::Arrive(arrival) => self.turn_back(*arrival),
                    _ => self.counters.passages_dropped.increment(),
                },
            }
        }
    }
}

fn passage_of<S>(item: Item<S>) -> Option<Passage<S>> {
    match item {
        Item::Arrive(arrival) => Some(Passage::Packed(arrival)),
        Item::Tell(tell) => Some(Passage::Tell(tell)),
        _ => None,
    }
}

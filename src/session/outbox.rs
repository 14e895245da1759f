//! What waits for one connection alone, in order with what its session says.
//!
//! Each item is tagged with the [`Position`] in the session's history it belongs after, so a client
//! sees replies and broadcasts in exactly the order of events. A connection at rest has no outbox;
//! drained ones go back to the shard's pool.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;
use smallvec::{Array, SmallVec};

use super::frame::{FrameKind, Header};
use super::history::{History, Position};

/// Slices one send may consist of: bounds the work of a single SENDMSG.
pub const SLICES_PER_SEND_MAX: usize = 8;
/// Private bytes an emptied outbox may keep allocated.
const REST_BYTES_MAX: usize = 16 << 10;

/// Slices of one planned send; they borrow from the history and the outbox.
pub type Slices<'a> = SmallVec<[IoSlice<'a>; SLICES_PER_SEND_MAX]>;

/// A member's reading place in its session's history; `None` while it does not listen.
pub type Cursor = Option<Position>;

#[derive(Debug)]
enum Body {
    /// The next `len` bytes of [`Outbox::bytes`].
    Private { len: usize },
    /// Bytes shared with other connections.
    Shared(Bytes),
    /// History up to this position is not for this member.
    Skip { to: Position },
}

#[derive(Debug)]
struct Item {
    at: Position,
    body: Body,
}

impl Item {
    /// Bytes to be sent.
    fn len(&self) -> usize {
        match &self.body {
            Body::Private { len } => *len,
            Body::Shared(bytes) => bytes.len(),
            Body::Skip { .. } => 0,
        }
    }
}

/// Messages for one connection, waiting to be sent.
#[derive(Debug, Default)]
pub struct Outbox {
    items: VecDeque<Item>,
    /// Private bytes, in the order of the items; those before `start` are sent.
    bytes: Vec<u8>,
    start: usize,
    /// Bytes of the front item already sent.
    front_sent: usize,
    /// Bytes not sent yet, shared ones included.
    queued: usize,
}

impl Outbox {
    /// An empty outbox; holds no memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes not sent yet.
    pub fn queued_bytes(&self) -> usize {
        self.queued
    }

    /// Queues raw bytes to be sent after history position `at`.
    pub fn push(&mut self, at: Position, parts: &[&[u8]]) {
        let before = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.note(at, self.bytes.len() - before);
    }

    /// Queues one WebSocket frame whose payload is the concatenation of `parts`.
    pub fn push_frame(&mut self, at: Position, kind: FrameKind, parts: &[&[u8]]) {
        let payload = parts.iter().map(|part| part.len()).sum();
        let before = self.bytes.len();
        self.bytes.extend_from_slice(Header::new(kind, payload).as_bytes());
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.note(at, self.bytes.len() - before);
    }

    /// Queues bytes that other connections share.
    pub fn push_shared(&mut self, at: Position, bytes: Bytes) {
        if !bytes.is_empty() {
            self.queued += bytes.len();
            self.push_item(at, Body::Shared(bytes));
        }
    }

    /// Leaves out the history between `from` and `to`: an entry that excludes its sender. If that is
    /// what the member would be sent next, its cursor must move instead.
    pub fn push_skip(&mut self, from: Position, to: Position) {
        debug_assert!(from <= to);
        if let Some(Item { body: Body::Skip { to: end }, .. }) = self.items.back_mut()
            && *end == from
        {
            *end = to;
            return;
        }
        self.push_item(from, Body::Skip { to });
    }

    /// Forgets everything, keeping a modest buffer for the next use.
    pub fn clear(&mut self) {
        self.items.clear();
        self.bytes.clear();
        self.bytes.shrink_to(REST_BYTES_MAX);
        (self.start, self.front_sent, self.queued) = (0, 0, 0);
    }

    /// Makes the outbox independent of the history, for a member that stops listening at `cursor`.
    ///
    /// If the member has missed at most `bytes_max` bytes of history, those are copied, in order
    /// with what waits here. Otherwise all is forgotten but the rest of the frame that has begun,
    /// since half a frame would make all that follows unreadable.
    pub fn detach(&mut self, cursor: Position, history: &History, bytes_max: u64) {
        let head = history.head();
        if head - cursor > bytes_max {
            return self.keep_begun(cursor, history);
        }
        self.copy_in_order(Some(cursor), head, head, history);
    }

    /// Makes the outbox the first that is sent in another session: all of the history between
    /// `cursor` and `to` is copied, in order with what waits here, and belongs after position zero.
    pub fn carry_over(&mut self, cursor: Cursor, to: Position, history: &History) {
        self.copy_in_order(cursor, to, 0, history);
    }

    /// Copies the history between the cursor and `to`, in order with what waits here. All of it is
    /// tagged with `at`.
    fn copy_in_order(&mut self, mut cursor: Cursor, to: Position, at: Position, history: &History) {
        for item in std::mem::take(&mut self.items) {
            self.copy_history(&mut cursor, item.at, at, history);
            match item.body {
                Body::Skip { to } => cursor = cursor.map(|from| from.max(to)),
                body => self.items.push_back(Item { at, body }),
            }
        }
        self.copy_history(&mut cursor, to, at, history);
    }

    /// Forgets what has not begun to be sent. Shared bytes may be parts of one frame, so those that
    /// belong after the same position stay together.
    fn keep_begun(&mut self, cursor: Position, history: &History) {
        let front = self.items.front().filter(|front| front.at <= cursor);
        let kept = match front {
            Some(&Item { at, body: Body::Shared(_) }) => {
                let shared = |item: &&Item| item.at == at && matches!(item.body, Body::Shared(_));
                self.items.iter().take_while(shared).count()
            }
            _ => usize::from(self.front_sent > 0),
        };
        self.items.truncate(kept);
        let private = match self.items.front() {
            Some(Item { body: Body::Private { len }, .. }) => len - self.front_sent,
            _ => 0,
        };
        self.bytes.truncate(self.start + private);
        self.queued = self.items.iter().map(Item::len).sum::<usize>() - self.front_sent;
        if kept == 0 {
            let (at, end) = (history.head(), history.entry_end(cursor));
            self.copy_history(&mut Some(cursor), end, at, history);
        }
    }

    /// Copies the history between the cursor and `to`, to be sent after `at`; moves the cursor.
    fn copy_history(&mut self, cursor: &mut Cursor, to: Position, at: Position, history: &History) {
        visit_history(cursor, to, history, &mut |slice| {
            self.push_shared(at, Bytes::copy_from_slice(slice));
            true
        });
    }

    /// Plans the next send: the slices between `cursor` and the head, merged with what waits here.
    /// Returns their sum, in bytes. At most [`SLICES_PER_SEND_MAX`] slices are added to `out`.
    pub fn plan<'a, A>(
        &'a self,
        cursor: Cursor,
        history: &'a History,
        out: &mut SmallVec<A>,
    ) -> usize
    where
        A: Array<Item = IoSlice<'a>>,
    {
        let mut planned = 0;
        let end = out.len() + SLICES_PER_SEND_MAX;
        self.merge(cursor, history, &mut |slice| {
            let fits = out.len() < end;
            if fits {
                planned += slice.len();
                out.push(IoSlice::new(slice));
            }
            fits
        });
        planned
    }

    /// A copy of what waits, for a connection that listens to no history.
    pub fn unsent(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.queued);
        self.merge(None, &History::new(), &mut |slice| {
            bytes.extend_from_slice(slice);
            true
        });
        bytes
    }

    /// Visits what is to be sent, history and private items merged by position, until `visit`
    /// returns false. Empty slices are not visited.
    fn merge<'a>(
        &'a self,
        mut cursor: Cursor,
        history: &'a History,
        visit: &mut dyn FnMut(&'a [u8]) -> bool,
    ) {
        let mut private = self.start;
        let mut sent = self.front_sent;
        for item in &self.items {
            if !visit_history(&mut cursor, item.at, history, visit) {
                return;
            }
            let slice = match &item.body {
                Body::Private { len } => {
                    let slice = &self.bytes[private..private + len - sent];
                    private += slice.len();
                    slice
                }
                Body::Shared(bytes) => &bytes[sent..],
                Body::Skip { to } => {
                    cursor = cursor.map(|from| from.max(*to));
                    &[]
                }
            };
            sent = 0;
            if !(slice.is_empty() || visit(slice)) {
                return;
            }
        }
        visit_history(&mut cursor, history.head(), history, visit);
    }

    /// Accounts for `sent` bytes that the kernel took of the last plan.
    pub fn advance(&mut self, cursor: &mut Cursor, head: Position, mut sent: usize) {
        loop {
            let stop = self.items.front().map_or(head, |item| item.at);
            if let Some(from) = cursor
                && *from < stop
            {
                let step = sent.min((stop - *from) as usize);
                *from += step as u64;
                sent -= step;
                if *from < stop {
                    return;
                }
            }
            let Some(item) = self.items.front() else {
                debug_assert_eq!(sent, 0, "more was sent than was planned");
                return;
            };
            let len = match &item.body {
                Body::Private { len } => *len,
                Body::Shared(bytes) => bytes.len(),
                Body::Skip { to } => {
                    *cursor = cursor.map(|from| from.max(*to));
                    self.pop();
                    continue;
                }
            };
            let step = sent.min(len - self.front_sent);
            if matches!(item.body, Body::Private { .. }) {
                self.start += step;
            }
            self.front_sent += step;
            self.queued -= step;
            sent -= step;
            if self.front_sent < len {
                return;
            }
            self.pop();
        }
    }

    /// What must hold between any two calls.
    pub fn invariants(&self) {
        let mut private = 0;
        for item in &self.items {
            match item.body {
                Body::Private { len } => private += len,
                Body::Shared(ref bytes) => assert!(!bytes.is_empty()),
                Body::Skip { to } => assert!(to >= item.at),
            }
        }
        let queued: usize = self.items.iter().map(Item::len).sum();
        assert!(
            self.front_sent == 0 || self.items.front().is_some_and(|i| self.front_sent < i.len())
        );
        let front_private =
            matches!(self.items.front(), Some(Item { body: Body::Private { .. }, .. }));
        let front_private_sent = if front_private { self.front_sent } else { 0 };
        assert_eq!(self.bytes.len() - self.start, private - front_private_sent);
        assert_eq!(self.queued, queued - self.front_sent);
        assert!(self.items.iter().is_sorted_by_key(|item| item.at));
    }

    fn note(&mut self, at: Position, len: usize) {
        if len > 0 {
            self.queued += len;
            self.push_item(at, Body::Private { len });
        }
    }

    fn push_item(&mut self, at: Position, body: Body) {
        debug_assert!(self.items.back().is_none_or(|last| last.at <= at));
        self.items.push_back(Item { at, body });
    }

    fn pop(&mut self) {
        self.items.pop_front();
        self.front_sent = 0;
        if self.items.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(REST_BYTES_MAX);
            self.start = 0;
        } else if self.start > REST_BYTES_MAX && self.start * 2 > self.bytes.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

/// Visits the history between the cursor and `to`, and moves the cursor there.
fn visit_history<'a>(
    cursor: &mut Cursor,
    to: Position,
    history: &'a History,
    visit: &mut dyn FnMut(&'a [u8]) -> bool,
) -> bool {
    let Some(from) = cursor.filter(|from| *from < to) else { return true };
    *cursor = Some(to);
    let (first, second) = history.slices(from, to);
    [first, second].into_iter().all(|slice| slice.is_empty() || visit(slice))
}

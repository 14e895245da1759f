//! What waits for one connection alone, in order with what its session says.
//!
//! Each item is tagged with the [`Position`] in the session's history it belongs after, so a client
//! sees replies and broadcasts in exactly the order of events. A connection at rest has no outbox;
//! drained ones go back to the shard's pool.
//!
//! A member that is behind holds up no ring for droppable entries: [`Outbox::condense`] takes over
//! what it has missed, without what newer entries have made worthless.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;

use bytes::Bytes;
use smallvec::{Array, SmallVec};

use super::frame::{FrameKind, Header};
use super::history::{Class, History, Position};
use super::map::Map;

/// Slices one send may consist of: bounds the work of a single SENDMSG.
pub const SLICES_PER_SEND_MAX: usize = 8;
/// Private bytes an emptied outbox may keep allocated.
const REST_BYTES_MAX: usize = 16 << 10;
/// Pieces of history that were taken over are joined up to this size, in bytes: it bounds what is
/// still sent of them to a member that is closed.
const JOINED_BYTES_MAX: usize = 16 << 10;
/// Condensing is due at the latest when a member has missed this much since it was last done, in
/// bytes: bounds the ring that one who is behind holds for droppable entries.
const CONDENSED_BYTES_MAX: usize = 1 << 20;

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

/// Why a connection is sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// It is for this connection alone.
    Reply,
    /// The session has said it, and the member was behind, or does not listen.
    Missed,
    /// The same, and it is droppable.
    Droppable(Class),
}

#[derive(Debug)]
struct Item {
    at: Position,
    origin: Origin,
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
    /// Those of them that were taken over from the history.
    missed: usize,
    /// Those of them that may be dropped.
    droppable: usize,
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

    /// Bytes of what the session has said that wait here: since [`Outbox::condense`], or by
    /// [`Outbox::push_relayed`].
    pub fn missed_bytes(&self) -> usize {
        self.missed
    }

    /// Whether anything waits, here or in the history after `cursor`, that may not be dropped.
    pub fn has_lasting(&self, cursor: Cursor, history: &History) -> bool {
        self.queued > self.droppable
            || cursor.is_some_and(|cursor| history.lasting_bytes_after(cursor) > 0)
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
            self.push_item(at, Origin::Reply, Body::Shared(bytes));
        }
    }

    /// Queues shared bytes that a member which does not listen is sent of its session; they count as
    /// missed.
    pub fn push_relayed(&mut self, at: Position, bytes: Bytes) {
        if !bytes.is_empty() {
            self.queued += bytes.len();
            self.missed += bytes.len();
            self.push_item(at, Origin::Missed, Body::Shared(bytes));
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
        self.push_item(from, Origin::Reply, Body::Skip { to });
    }

    /// Forgets everything, keeping a modest buffer for the next use.
    pub fn clear(&mut self) {
        self.items.clear();
        self.bytes.clear();
        self.bytes.shrink_to(REST_BYTES_MAX);
        (self.start, self.front_sent) = (0, 0);
        (self.queued, self.missed, self.droppable) = (0, 0, 0);
    }

    /// Whether it is time to [`Outbox::condense`] for a member that has missed what follows `cursor`
    /// and more than `missed_min` bytes of it. It is not while much waits here, all of which would be
    /// copied: so a byte that is said is copied a few times at most.
    pub fn is_condensing_due(
        private_bytes: usize,
        cursor: Position,
        missed_min: usize,
        history: &History,
    ) -> bool {
        let due = private_bytes.min(CONDENSED_BYTES_MAX).max(missed_min);
        history.head() - cursor > due as u64 && history.has_droppable_after(cursor)
    }

    /// Takes over what the member has missed, all that the history has after `cursor`, in order with
    /// what waits here; the cursor moves to the head. Of droppable entries of one class only the
    /// newest stays, at its place, besides one that has begun to be sent. Returns how many went.
    pub fn condense(&mut self, cursor: &mut Position, history: &History) -> usize {
        let from = std::mem::replace(cursor, history.head());
        self.take_over(from, history.head(), history);
        self.drop_superseded()
    }

    /// Copies the history between the cursor and `to`, in order with what waits here.
    fn take_over(&mut self, mut cursor: Position, to: Position, history: &History) {
        let old = std::mem::take(self);
        let (private, missed) = (old.private_bytes(), to.saturating_sub(cursor));
        self.bytes.reserve_exact(private + missed as usize);
        self.front_sent = old.front_sent;
        let begun = cursor - history.entry_start(cursor);
        if begun > 0 {
            self.front_sent = begun as usize;
        }
        let (mut start, mut sent) = (old.start, old.front_sent);
        for item in old.items {
            self.take_pieces(cursor..item.at, history);
            cursor = cursor.max(item.at);
            match item.body {
                Body::Skip { to } => {
                    cursor = cursor.max(to);
                    continue;
                }
                Body::Private { len } => {
                    self.bytes.extend_from_slice(&old.bytes[start..start + len - sent]);
                    start += len - sent;
                }
                Body::Shared(_) => {}
            }
            sent = 0;
            self.items.push_back(item);
        }
        self.take_pieces(cursor..to, history);
        (self.queued, self.missed, self.droppable) = self.count();
    }

    fn take_pieces(&mut self, range: Range<Position>, history: &History) {
        for (piece, class) in history.pieces(range.start, range.end) {
            let (first, second) = history.slices(piece.start, piece.end);
            self.bytes.extend_from_slice(first);
            self.bytes.extend_from_slice(second);
            // One that has begun is the first of all.
            let len = (piece.end - history.entry_start(piece.start)) as usize;
            let origin = class.map_or(Origin::Missed, Origin::Droppable);
            self.push_item(piece.start, origin, Body::Private { len });
        }
    }

    /// Forgets droppable entries that a newer one supersedes, and joins what is left of the rest.
    fn drop_superseded(&mut self) -> usize {
        let old = std::mem::take(&mut self.items);
        let (mut newest, begun) = (Map::default(), usize::from(self.front_sent > 0));
        let mut dropped = 0;
        for (at, item) in old.iter().enumerate().skip(begun) {
            if let Origin::Droppable(class) = item.origin {
                newest.insert(class, at);
            }
        }
        let (mut read, mut write, mut sent) = (self.start, self.start, self.front_sent);
        for (at, item) in old.into_iter().enumerate() {
            let Body::Private { len } = item.body else {
                sent = 0;
                self.items.push_back(item);
                continue;
            };
            let bytes = read..read + len - std::mem::take(&mut sent);
            read = bytes.end;
            if let Origin::Droppable(class) = item.origin
                && newest.get(&class).is_some_and(|&newest| newest > at)
                && at >= begun
            {
                dropped += 1;
                continue;
            }
            let to = write;
            write += bytes.len();
            self.bytes.copy_within(bytes, to);
            self.join_or_push(item, len);
        }
        self.bytes.truncate(write);
        self.bytes.shrink_to_fit();
        (self.queued, self.missed, self.droppable) = self.count();
        dropped
    }

    /// Adds private bytes, to the last item if both are of the history and small.
    fn join_or_push(&mut self, item: Item, len: usize) {
        if item.origin == Origin::Missed
            && let Some(Item {
                origin: Origin::Missed, body: Body::Private { len: joined }, ..
            }) = self.items.back_mut()
            && *joined + len <= JOINED_BYTES_MAX
        {
            *joined += len;
            return;
        }
        self.items.push_back(item);
    }

    /// Private bytes not sent yet.
    pub fn private_bytes(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Bytes not sent yet, those of them that are missed, and those that may be dropped.
    fn count(&self) -> (usize, usize, usize) {
        let (mut queued, mut missed, mut droppable) = (0, 0, 0);
        let mut sent = self.front_sent;
        for item in &self.items {
            let len = item.len() - std::mem::take(&mut sent);
            queued += len;
            missed += if item.origin == Origin::Reply { 0 } else { len };
            droppable += if matches!(item.origin, Origin::Droppable(_)) { len } else { 0 };
        }
        (queued, missed, droppable)
    }

    /// What was missed waits like any reply: it is not of the session's history any more.
    fn forget_origins(&mut self) {
        (self.missed, self.droppable) = (0, 0);
        for item in &mut self.items {
            item.origin = Origin::Reply;
        }
    }

    /// Makes the outbox independent of the history, for a member that stops listening at `cursor`.
    ///
    /// If the member has missed at most `bytes_max` bytes of history, those are sent, in order with
    /// what waits here. Otherwise all is forgotten but the rest of the frame that has begun,
    /// since half a frame would make all that follows unreadable.
    pub fn detach(&mut self, cursor: Position, history: &History, bytes_max: u64) {
        let head = history.head();
        if head - cursor + self.missed as u64 > bytes_max {
            self.keep_begun(cursor, history);
        } else {
            self.copy_in_order(Some(cursor), head, head, history);
        }
        self.forget_origins();
    }

    /// Makes the outbox independent of the history, for a member that stays and stops listening at
    /// `to`: what it has missed is sent, in order with what waits here, and counts like any reply.
    pub fn unlisten(&mut self, cursor: Position, to: Position, history: &History) {
        self.take_over(cursor, to, history);
        for mut item in std::mem::take(&mut self.items) {
            if let Origin::Droppable(_) = item.origin {
                item.origin = Origin::Missed;
            }
            match item.body {
                Body::Private { len } => self.join_or_push(item, len),
                _ => self.items.push_back(item),
            }
        }
        self.forget_origins();
    }

    /// Makes the outbox the first that is sent in another session: all of the history between
    /// `cursor` and `to` is copied, in order with what waits here, and belongs after position zero.
    pub fn carry_over(&mut self, cursor: Cursor, to: Position, history: &History) {
        self.copy_in_order(cursor, to, 0, history);
        self.forget_origins();
    }

    /// Copies the history between the cursor and `to`, in order with what waits here. All of it is
    /// tagged with `at`.
    fn copy_in_order(&mut self, mut cursor: Cursor, to: Position, at: Position, history: &History) {
        for item in std::mem::take(&mut self.items) {
            self.copy_history(&mut cursor, item.at, at, history);
            match item.body {
                Body::Skip { to } => cursor = cursor.map(|from| from.max(to)),
                body => self.items.push_back(Item { at, body, ..item }),
            }
        }
        self.copy_history(&mut cursor, to, at, history);
    }

    /// Forgets what has not begun to be sent. Shared bytes may be parts of one frame, so those that
    /// belong after the same position stay together.
    fn keep_begun(&mut self, cursor: Position, history: &History) {
        let front = self.items.front().filter(|front| front.at <= cursor);
        let kept = match front {
            Some(&Item { at, body: Body::Shared(_), .. }) => {
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
        (self.queued, self.missed, self.droppable) = self.count();
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
        // Private bytes that follow each other are one slice.
        let mut private = self.start..self.start;
        let mut sent = self.front_sent;
        for item in &self.items {
            let is_private = matches!(item.body, Body::Private { .. } | Body::Skip { .. });
            let is_next = cursor.is_none_or(|cursor| cursor >= item.at);
            let goes_on = is_private && is_next || self.visit_private(&mut private, visit);
            if !goes_on {
                return;
            }
            if !visit_history(&mut cursor, item.at, history, visit) {
                return;
            }
            match &item.body {
                Body::Private { len } => private.end += len - sent,
                Body::Shared(bytes) => {
                    if !visit(&bytes[sent..]) {
                        return;
                    }
                }
                Body::Skip { to } => cursor = cursor.map(|from| from.max(*to)),
            }
            sent = 0;
        }
        if self.visit_private(&mut private, visit) {
            visit_history(&mut cursor, history.head(), history, visit);
        }
    }

    /// Visits private bytes that were passed over, and begins anew behind them.
    fn visit_private<'a>(
        &'a self,
        range: &mut Range<usize>,
        visit: &mut dyn FnMut(&'a [u8]) -> bool,
    ) -> bool {
        let slice = &self.bytes[range.clone()];
        range.start = range.end;
        slice.is_empty() || visit(slice)
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
            match item.origin {
                Origin::Reply => {}
                Origin::Missed => self.missed -= step,
                Origin::Droppable(_) => {
                    self.missed -= step;
                    self.droppable -= step;
                }
            }
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
        assert!(
            self.front_sent == 0 || self.items.front().is_some_and(|i| self.front_sent < i.len())
        );
        let front_private =
            matches!(self.items.front(), Some(Item { body: Body::Private { .. }, .. }));
        let front_private_sent = if front_private { self.front_sent } else { 0 };
        assert_eq!(self.bytes.len() - self.start, private - front_private_sent);
        assert_eq!((self.queued, self.missed, self.droppable), self.count());
        assert!(self.items.iter().is_sorted_by_key(|item| item.at));
    }

    fn note(&mut self, at: Position, len: usize) {
        if len > 0 {
            self.queued += len;
            self.push_item(at, Origin::Reply, Body::Private { len });
        }
    }

    fn push_item(&mut self, at: Position, origin: Origin, body: Body) {
        debug_assert!(self.items.back().is_none_or(|last| last.at <= at));
        self.items.push_back(Item { at, origin, body });
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

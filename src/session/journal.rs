//! What sessions record, on its way to the journal: the batch of a shard's turn, and each session's
//! place in the log.
//!
//! A machine records what its session must have after a crash. Everything recorded in a turn is one
//! batch, written before anything of that turn is sent. What is kept elsewhere meanwhile (a stored
//! record) is *trimmed*: the segments that hold only trimmed entries are deleted.

use smallvec::SmallVec;

use crate::codec::journal::{Key, Kind, Place, Record, Seal};

/// The place of an entry in the order of all entries: grows with every entry of a shard, and with
/// every start of the process. 0 is before the first.
pub type Position = u64;

/// Segment number of entries that an earlier process wrote.
pub const EARLIER: u32 = 0;
/// Bits of a position that count within an epoch.
const POSITION_BITS: u32 = 40;
/// A batch's buffers that grew beyond this are given back, in bytes.
const BATCH_BYTES_KEPT: usize = 1 << 20;

/// In place of a session's number, all of this epoch and shard.
pub const ALL: u32 = 0;

/// A session's place in the journal.
#[derive(Debug, Default)]
pub struct Cursor {
    /// Its number in this epoch; 0 as long as it has recorded nothing.
    id: u32,
    /// The segment it was last named in.
    named_in: u32,
    /// Its line in the batch's list.
    line: u32,
    /// The batch it last recorded something in.
    batch: u64,
    last: Position,
    trimmed: Position,
    /// Segments that hold entries not trimmed, each with the last of them; oldest first.
    held: SmallVec<[(u32, Position); 2]>,
    /// Names the newest store, and what it covers.
    store: (u32, Position),
    /// The first entry that is needed whatever is stored; 0 for none.
    needed: Position,
}

impl Cursor {
    /// The place of a session that an earlier process recorded up to `last`.
    pub fn recovered(last: Position, trimmed: Position) -> Self {
        let held = SmallVec::from_slice(&[(EARLIER, last)]);
        Self { last, trimmed, held, ..Self::default() }
    }

    /// The session's last entry; 0 if there is none.
    pub fn last(&self) -> Position {
        self.last
    }

    /// The oldest segment that is needed for this session.
    pub fn oldest_segment(&self) -> Option<u32> {
        self.held.first().map(|&(segment, _)| segment)
    }

    /// Where its entries are that are kept nowhere else; none if there are none, or an earlier process
    /// wrote some of them.
    pub fn sought(&self) -> Option<Sought> {
        let segments: SmallVec<[u32; 2]> = self.held.iter().map(|&(segment, _)| segment).collect();
        let is_here = segments.first().is_some_and(|&first| first != EARLIER);
        is_here.then(|| Sought { session: self.id, after: self.trimmed, last: self.last, segments })
    }

    /// Whether it has recorded anything in this epoch or before.
    pub fn is_used(&self) -> bool {
        self.last != 0
    }

    /// Notes that a record of everything so far is being stored; the number to ask for later.
    pub fn begin_store(&mut self) -> u32 {
        self.store = (self.store.0.wrapping_add(1), self.last);
        self.store.0
    }

    /// What the store of this number covers, if it is the newest one, of what is not needed anyhow.
    pub fn covered_by(&self, store: u32) -> Option<Position> {
        let end = self.needed.checked_sub(1).unwrap_or(Position::MAX);
        (self.store.0 == store).then_some(self.store.1.min(end))
    }

    /// Entries from this one on are needed whatever is stored; none, without a position.
    pub fn need(&mut self, from: Option<Position>) {
        self.needed = from.unwrap_or_default();
    }
}

/// Entries of one session that are to be read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    /// The session's number.
    pub session: u32,
    /// Those after this position,
    pub after: Position,
    /// up to this one.
    pub last: Position,
    /// The segments that they are in, oldest first.
    pub segments: SmallVec<[u32; 2]>,
}

/// A session with records in the batch.
#[derive(Clone, Copy, Debug)]
struct Line {
    id: u32,
    last: Position,
}

/// What was recorded since the last batch was written.
#[derive(Debug)]
pub struct Batch {
    key: Key,
    bytes: Vec<u8>,
    lines: Vec<Line>,
    /// Where seals are made.
    seal: Vec<u8>,
    number: u64,
    /// The segment it will be written to.
    segment: u32,
    /// The first position that can be in it.
    begins: Position,
    next_position: Position,
    next_id: u32,
    /// For each segment from the first one on: how many sessions hold entries in it.
    holders: Holders,
    entries: u64,
}

/// How many sessions hold entries of each segment.
#[derive(Debug, Default)]
struct Holders {
    earlier: usize,
    /// Number of the first segment in `counts`.
    first: u32,
    counts: std::collections::VecDeque<usize>,
}

impl Holders {
    fn count(&mut self, segment: u32) -> Option<&mut usize> {
        if segment == EARLIER {
            return Some(&mut self.earlier);
        }
        let at = segment.checked_sub(self.first)? as usize;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts.get_mut(at)
    }
}

impl Batch {
    /// An empty batch of this epoch; `recovered` sessions hold entries of earlier ones.
    pub fn new(key: Key, recovered: usize) -> Self {
        Self {
            key,
            bytes: Vec::new(),
            lines: Vec::new(),
            seal: Vec::new(),
            number: 1,
            segment: 1,
            begins: 0,
            next_position: (u64::from(key.epoch) << POSITION_BITS) + 1,
            next_id: 1,
            holders: Holders { earlier: recovered, first: 1, ..Holders::default() },
            entries: 0,
        }
    }

    /// Records `parts` joined as one entry of a session. Returns its position.
    pub fn record(&mut self, cursor: &mut Cursor, name: &str, parts: &[&[u8]]) -> Position {
        self.name(cursor, name);
        let position = self.next_position;
        self.next_position += 1;
        let record = Record {
            kind: Kind::Entry,
            session: cursor.id,
            position,
            previous: cursor.last,
            body: &[],
        };
        self.key.write(&mut self.bytes, &record, parts);
        self.entries += 1;
        cursor.last = position;
        match cursor.held.last_mut() {
            Some((segment, last)) if *segment == self.segment => *last = position,
            _ => {
                cursor.held.push((self.segment, position));
                if let Some(count) = self.holders.count(self.segment) {
                    *count += 1;
                }
            }
        }
        if cursor.batch == self.number {
            self.lines[cursor.line as usize].last = position;
        } else {
            cursor.batch = self.number;
            cursor.line = self.lines.len() as u32;
            self.lines.push(Line { id: cursor.id, last: position });
        }
        position
    }

    /// Records that a session's entries up to `position` are kept elsewhere.
    pub fn trim(&mut self, cursor: &mut Cursor, name: &str, position: Position) {
        if position <= cursor.trimmed {
            return;
        }
        self.name(cursor, name);
        cursor.trimmed = position;
        self.mark(Kind::Trim, cursor.id, position, cursor.last);
        self.release(cursor, position);
    }

    /// Records that a session has ended and nothing of it is needed.
    pub fn close(&mut self, cursor: &mut Cursor, name: &str) {
        if cursor.is_used() {
            self.name(cursor, name);
            self.mark(Kind::Close, cursor.id, cursor.last, cursor.last);
            self.release(cursor, Position::MAX);
            *cursor = Cursor::default();
        }
    }

    /// Whether there is nothing to be written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Entries recorded so far, this batch included.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Ends the batch; its bytes are to be written as they are.
    pub fn seal(&mut self, synced: Place) -> &[u8] {
        let mut body = std::mem::take(&mut self.seal);
        Seal::write(&mut body, synced, self.lines.iter().map(|line| (line.id, line.last)));
        self.mark_with(Kind::Seal, 0, self.number, 0, &body);
        body.clear();
        self.seal = body;
        &self.bytes
    }

    /// The sealed batch that is still to be written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The batch is written, and the next begins.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(BATCH_BYTES_KEPT);
        self.lines.clear();
        self.number += 1;
    }

    /// The next batch goes to the next segment; its number.
    pub fn begin_segment(&mut self) -> u32 {
        debug_assert!(self.is_empty(), "what was recorded belongs to a segment");
        self.segment += 1;
        self.begins = self.next_position;
        self.segment
    }

    /// Records that whatever was recorded before this segment is kept elsewhere, or needed no more: what
    /// said so of single sessions may be lost with the segments before it.
    pub fn trim_all(&mut self) {
        debug_assert!(self.oldest_needed() >= self.segment, "a session needs what is before");
        self.mark(Kind::Trim, ALL, self.begins.saturating_sub(1), 0);
    }

    /// The segment that is written to.
    pub fn segment(&self) -> u32 {
        self.segment
    }

    /// Sessions with entries of earlier processes that are not trimmed.
    pub fn earlier(&self) -> usize {
        self.holders.earlier
    }

    /// The oldest segment that a session needs; the present one if there is none before.
    pub fn oldest_needed(&self) -> u32 {
        let held = self.holders.counts.iter().position(|&count| count > 0);
        held.map_or(self.segment, |at| (self.holders.first + at as u32).min(self.segment))
    }

    /// Forgets the segments before this one: they are deleted.
    pub fn forget_before(&mut self, segment: u32) {
        while self.holders.first < segment {
            self.holders.counts.pop_front();
            self.holders.first += 1;
        }
    }

    /// What must hold between any two calls.
    pub fn invariants(&self) {
        assert!(self.bytes.is_empty() || self.number > 0);
        assert!(self.lines.len() <= self.bytes.len());
        assert!(self.holders.first <= self.segment);
        assert!(self.holders.first + self.holders.counts.len() as u32 <= self.segment + 1);
    }

    /// Gives the session its number, and says its name once (twice, since all depends on it) in each
    /// segment.
    fn name(&mut self, cursor: &mut Cursor, name: &str) {
        if cursor.id == 0 {
            cursor.id = self.next_id;
            self.next_id += 1;
        }
        if cursor.named_in != self.segment {
            cursor.named_in = self.segment;
            for _ in 0..2 {
                let (id, trimmed, last) = (cursor.id, cursor.trimmed, cursor.last);
                self.mark_with(Kind::Name, id, trimmed, last, name.as_bytes());
            }
        }
    }

    fn mark(&mut self, kind: Kind, session: u32, position: Position, previous: Position) {
        self.mark_with(kind, session, position, previous, &[]);
    }

    fn mark_with(
        &mut self,
        kind: Kind,
        session: u32,
        position: Position,
        previous: Position,
        body: &[u8],
    ) {
        let record = Record { kind, session, position, previous, body: &[] };
        self.key.write(&mut self.bytes, &record, &[body]);
    }

    fn release(&mut self, cursor: &mut Cursor, position: Position) {
        while let Some(&(segment, last)) = cursor.held.first()
            && last <= position
        {
            cursor.held.remove(0);
            if let Some(count) = self.holders.count(segment) {
                *count = count.saturating_sub(1);
            }
        }
    }
}

/// Means to record entries of one session during a call of its machine.
#[derive(Debug)]
pub struct Recorder<'a> {
    /// Where entries go.
    pub batch: &'a mut Batch,
    /// The session's place.
    pub cursor: &'a mut Cursor,
    /// The session's full name.
    pub name: &'a str,
    /// Nothing more should be recorded for now: the disk is full, or has failed.
    pub read_only: bool,
}

/// Recovered entries of one session, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    bytes: Vec<u8>,
    /// Position of each, and where it ends.
    ends: Vec<(Position, usize)>,
}

impl Entries {
    /// Adds an entry.
    pub fn push(&mut self, position: Position, body: &[u8]) {
        self.bytes.extend_from_slice(body);
        self.ends.push((position, self.bytes.len()));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets all but the first `count`.
    pub fn truncate(&mut self, count: usize) {
        self.ends.truncate(count);
        self.bytes.truncate(self.ends.last().map_or(0, |&(_, end)| end));
    }

    /// Position and body of each entry after `position`.
    pub fn after(&self, position: Position) -> impl Iterator<Item = (Position, &[u8])> {
        let mut start = 0;
        self.ends.iter().filter_map(move |&(at, end)| {
            let body = &self.bytes[start..end];
            start = end;
            (at > position).then_some((at, body))
        })
    }

    /// Position of the last entry; 0 if there is none.
    pub fn last(&self) -> Position {
        self.ends.last().map_or(0, |&(position, _)| position)
    }
}

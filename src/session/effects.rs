//! What a protocol's state machine does to the world, as values.
//!
//! A state machine is called with one input and pushes effects; the shard drains them all before
//! the next input is looked at (*one mutation, one drain*). Broadcasts go straight into the
//! session's [`History`]; everything else is noted in an [`Outcome`], whose buffers the shard uses
//! again for the next call, so that steady traffic allocates nothing.
//!
//! Droppable messages may be held back for a moment, so that several leave in one send. Members do
//! not notice but for the time: whatever else is said releases them first.

use std::time::Duration;

use bytes::Bytes;

use super::MemberId;
use super::blobs::BlobRequest;
use super::clock::{Instant, Now};
use super::counters::Counters;
use super::frame::{FrameKind, Header};
use super::history::{Class, History, Position, RingPool};
use super::journal::{self, Recorder};

/// Why a connection is closed: a WebSocket close code (RFC 6455 §7.4) and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// The code on the wire.
    pub code: u16,
    /// At most 123 bytes.
    pub reason: &'static str,
}

impl Close {
    /// A close with this code and reason.
    pub const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason }
    }
}

/// How something is said that a newer message of its class makes worthless.
#[derive(Clone, Copy, Debug)]
pub struct Droppable {
    /// What a newer message supersedes: it must have the same class.
    pub class: Class,
    /// The member that is not told, if any.
    pub except: Option<MemberId>,
    /// How long it may be held back to leave together with others; zero for not at all.
    pub within: Duration,
}

/// One effect on a member or on the world beyond the session.
#[derive(Debug)]
pub enum Effect {
    /// Framed bytes `start..end` of [`Outcome::bytes`] for one member, after `at`.
    Reply {
        /// The receiver.
        to: MemberId,
        /// The history position it belongs after.
        at: Position,
        /// First byte in the outcome's arena.
        start: usize,
        /// One past the last byte.
        end: usize,
    },
    /// Framed bytes shared by several receivers.
    Share {
        /// The receiver.
        to: MemberId,
        /// The history position it belongs after.
        at: Position,
        /// Framed bytes, or a part of them.
        bytes: Bytes,
    },
    /// The same, and the session says it to all who do not listen: it counts as theirs to take.
    Relay {
        /// The receiver.
        to: MemberId,
        /// The history position it belongs after.
        at: Position,
        /// Framed bytes.
        bytes: Bytes,
    },
    /// The member is a full member: it need not fear the deadline for joining.
    Admit {
        /// Who.
        member: MemberId,
    },
    /// The member receives the history from `from` on.
    Listen {
        /// Who.
        member: MemberId,
        /// Where its cursor begins.
        from: Position,
    },
    /// The member receives no history from `at` on. What it was still to be sent of it, it is sent.
    Unlisten {
        /// Who.
        member: MemberId,
        /// Where the history ends for it.
        at: Position,
    },
    /// The entry between `from` and `to` is not for this member.
    Skip {
        /// Who is left out.
        member: MemberId,
        /// Where the entry begins.
        from: Position,
        /// Where it ends.
        to: Position,
    },
    /// The member's connection is closed after what it was sent so far.
    Close {
        /// Who.
        member: MemberId,
        /// Code and reason.
        close: Close,
    },
    /// The member moves to another session of its protocol, on whatever shard that is.
    Transfer {
        /// Who.
        member: MemberId,
        /// The key of the session it enters.
        key: String,
        /// What the new session is told of it, see `Hello::carry`.
        carry: Vec<u8>,
        /// The history position up to which it is still sent what this session says.
        at: Position,
    },
    /// A message to another session of the same protocol, on whatever shard that is.
    Tell {
        /// The key of the session; it is opened if need be.
        key: String,
        /// Handed to its `Machine::on_told`.
        body: Vec<u8>,
    },
    /// Reads stored records; answered by `Machine::on_loaded` with the same `ticket`.
    Load {
        /// Names the request in its answer.
        ticket: u32,
        /// What to read, in this order; the answer has the same length.
        records: Vec<RecordName>,
    },
    /// Writes a stored record, replacing it atomically.
    Store {
        /// Its name.
        record: RecordName,
        /// Its new content.
        content: Vec<u8>,
        /// Names the store if everything recorded before is part of it, see
        /// [`Cursor::begin_store`](super::journal::Cursor::begin_store).
        base: Option<u32>,
    },
    /// Something to be done with a blob; answered by `Machine::on_blob`, if it has a ticket.
    Blob {
        /// The session's name for the blob, not looked at yet.
        id: Box<str>,
        /// What to do.
        request: BlobRequest,
    },
    /// Posts JSON to a configured host; answered by `Machine::on_posted`.
    Post {
        /// Absolute `http://` URL.
        url: String,
        /// JSON body.
        body: String,
    },
    /// A round trip to a client took this long. The address is `start..end` of [`Outcome::bytes`].
    Latency {
        /// First byte of the client's address in the outcome's arena.
        start: usize,
        /// One past the last byte.
        end: usize,
        /// How long, in milliseconds.
        ms: u32,
    },
}

/// The name of a stored record: a namespace of ours and a path of names chosen by peers.
///
/// Names may hold any characters; the store maps them to safe file names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordName {
    /// For example `croquet/sessions`.
    pub namespace: &'static str,
    /// For example the session id.
    pub names: Vec<String>,
}

/// A place among the effects of one call.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

/// Effects of one call, and the arena of its replies.
#[derive(Debug, Default)]
pub struct Outcome {
    /// In the order they were pushed.
    pub effects: Vec<Effect>,
    /// Framed bytes of the replies.
    pub bytes: Vec<u8>,
}

impl Outcome {
    /// Empties it, keeping its buffers.
    pub fn clear(&mut self) {
        self.effects.clear();
        self.bytes.clear();
    }
}

/// What a state machine is handed with each call: the time, the session's history, and the means to
/// push effects.
#[derive(Debug)]
pub struct Effects<'a> {
    /// The reading of the clocks for this turn.
    pub now: Now,
    /// A random number, fresh for each call.
    pub random: u64,
    /// The shard's counters.
    pub counters: &'a Counters,
    history: &'a mut History,
    pool: &'a mut RingPool,
    outcome: &'a mut Outcome,
    recorder: Option<Recorder<'a>>,
}

impl<'a> Effects<'a> {
    /// Binds one call to its session's history and an empty outcome.
    pub fn new(
        now: Now,
        random: u64,
        counters: &'a Counters,
        history: &'a mut History,
        pool: &'a mut RingPool,
        outcome: &'a mut Outcome,
    ) -> Self {
        Self { now, random, counters, history, pool, outcome, recorder: None }
    }

    /// Lets the session record entries in the journal.
    pub fn with_recorder(mut self, recorder: Option<Recorder<'a>>) -> Self {
        self.recorder = recorder;
        self
    }

    /// Says something to every listening member: one WebSocket message made of `parts`.
    pub fn append(&mut self, kind: FrameKind, parts: &[&[u8]]) {
        self.release();
        self.history.append(kind, parts, self.pool);
    }

    /// Says something to every listening member but one.
    pub fn append_except(&mut self, member: MemberId, kind: FrameKind, parts: &[&[u8]]) {
        self.release();
        let from = self.history.head();
        let to = self.history.append(kind, parts, self.pool);
        self.outcome.effects.push(Effect::Skip { member, from, to });
    }

    /// Says something that is worthless once something newer of its class is said. Who keeps up is
    /// sent it like anything else, in order; who is behind is sent the newest of each class only,
    /// at its place among the rest. What is dropped does not count as lag.
    pub fn append_droppable(&mut self, how: Droppable, kind: FrameKind, parts: &[&[u8]]) {
        if how.within.is_zero() {
            self.release();
            return self.append_now(how.class, how.except, kind, parts);
        }
        let due = self.now.at + how.within;
        if !self.history.held(self.pool).push(how, kind, parts, due) {
            self.release();
        }
    }

    fn append_now(
        &mut self,
        class: Class,
        except: Option<MemberId>,
        kind: FrameKind,
        parts: &[&[u8]],
    ) {
        let from = self.history.head();
        let to = self.history.append_droppable(class, kind, parts, self.pool);
        if let Some(member) = except {
            self.outcome.effects.push(Effect::Skip { member, from, to });
        }
    }

    /// Says what was held back. Called whenever something else is said, and by the shard when the
    /// time has come.
    pub fn release(&mut self) {
        if let Some(mut held) = self.history.take_held() {
            held.drain(|class, except, kind, payload| {
                self.append_now(class, except, kind, &[payload]);
            });
            self.history.give_held(held);
        }
    }

    /// Says something to one member: one WebSocket message made of `parts`.
    pub fn reply(&mut self, to: MemberId, kind: FrameKind, parts: &[&[u8]]) {
        self.release();
        let start = self.outcome.bytes.len();
        let payload = parts.iter().map(|part| part.len()).sum();
        self.outcome.bytes.extend_from_slice(Header::new(kind, payload).as_bytes());
        for part in parts {
            self.outcome.bytes.extend_from_slice(part);
        }
        let end = self.outcome.bytes.len();
        let at = self.history.head();
        self.outcome.effects.push(Effect::Reply { to, at, start, end });
    }

    /// Sends one member bytes that are framed already and may be shared with others.
    pub fn share(&mut self, to: MemberId, bytes: Bytes) {
        self.release();
        let at = self.history.head();
        self.outcome.effects.push(Effect::Share { to, at, bytes });
    }

    /// Sends a member that does not listen what the session says: framed bytes, shared with others
    /// like it. Unlike what is shared otherwise they count: who lets too many of them pile up is
    /// closed as one that is too far behind.
    pub fn relay(&mut self, to: MemberId, bytes: Bytes) {
        self.release();
        let at = self.history.head();
        self.outcome.effects.push(Effect::Relay { to, at, bytes });
    }

    /// Marks the member as having joined.
    pub fn admit(&mut self, member: MemberId) {
        self.outcome.effects.push(Effect::Admit { member });
    }

    /// From here on the member receives what is appended. Starting twice is harmless.
    pub fn listen(&mut self, member: MemberId) {
        self.release();
        let from = self.history.head();
        self.outcome.effects.push(Effect::Listen { member, from });
    }

    /// From here on the member does not receive what is appended, until it listens again. Stopping
    /// twice is harmless.
    pub fn unlisten(&mut self, member: MemberId) {
        self.release();
        let at = self.history.head();
        self.outcome.effects.push(Effect::Unlisten { member, at });
    }

    /// This place among the effects of this call, for [`Effects::retract`].
    pub fn mark(&mut self) -> Mark {
        self.release();
        Mark(self.outcome.effects.len())
    }

    /// Takes back what one member was sent since then, and that it was admitted or began to listen.
    pub fn retract(&mut self, member: MemberId, since: Mark) {
        let effects = &mut self.outcome.effects;
        let later = effects.split_off(since.0.min(effects.len()));
        effects.extend(later.into_iter().filter(|effect| match effect {
            Effect::Reply { to, .. } | Effect::Share { to, .. } => *to != member,
            Effect::Admit { member: who } | Effect::Listen { member: who, .. } => *who != member,
            _ => true,
        }));
    }

    /// Closes the member's connection after what it was sent so far. The machine is told that the
    /// member left, as with any other end of a connection.
    pub fn close(&mut self, member: MemberId, close: Close) {
        self.release();
        self.outcome.effects.push(Effect::Close { member, close });
    }

    /// Moves a member to the session `key`. This machine has let it go: its `on_leave` is not
    /// called. What the member was sent so far is sent first; `on_enter` of the new session, with
    /// `carry` in its [`Hello`](crate::protocol::Hello), comes before anything the member says from
    /// now on. It is called even if the connection ends meanwhile, and `on_leave` then follows.
    pub fn transfer(&mut self, member: MemberId, key: String, carry: Vec<u8>) {
        self.release();
        let at = self.history.head();
        self.outcome.effects.push(Effect::Transfer { member, key, carry, at });
    }

    /// Tells the machine of another session of this protocol something; `Machine::on_told` gets it.
    /// What one session tells another arrives in order, also with the members it sends there.
    pub fn tell(&mut self, key: String, body: Vec<u8>) {
        self.outcome.effects.push(Effect::Tell { key, body });
    }

    /// Asks for stored records; `Machine::on_loaded` gets them.
    pub fn load(&mut self, ticket: u32, records: Vec<RecordName>) {
        self.outcome.effects.push(Effect::Load { ticket, records });
    }

    /// Stores a record.
    pub fn store(&mut self, record: RecordName, content: Vec<u8>) {
        self.outcome.effects.push(Effect::Store { record, content, base: None });
    }

    /// Stores a record that everything recorded so far is part of: when it is stored, those entries
    /// are not needed any more. The content should tell [`Effects::recorded`], so that entries it
    /// has already are not applied twice.
    pub fn store_base(&mut self, record: RecordName, content: Vec<u8>) {
        let base = self.recorder.as_mut().map(|recorder| recorder.cursor.begin_store());
        self.outcome.effects.push(Effect::Store { record, content, base });
    }

    /// Notes an effect that members are not told of.
    pub(super) fn push(&mut self, effect: Effect) {
        self.outcome.effects.push(effect);
    }

    /// Records an entry in the journal, made of `parts`: it is written before anything of this turn
    /// is sent, and `Machine::on_recovered` gets it after a crash. Nothing is recorded where nothing
    /// is kept.
    pub fn record(&mut self, parts: &[&[u8]]) {
        if let Some(Recorder { batch, cursor, name, .. }) = &mut self.recorder {
            batch.record(cursor, name, parts);
        }
    }

    /// Entries from this position on are needed whatever base is stored; none are again, if there is
    /// no position.
    pub fn need_recorded(&mut self, from: Option<journal::Position>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.cursor.need(from);
        }
    }

    /// Whether what is recorded is kept.
    pub fn is_recording(&self) -> bool {
        self.recorder.is_some()
    }

    /// Position of the session's last entry in the journal; 0 if there is none.
    pub fn recorded(&self) -> journal::Position {
        self.recorder.as_ref().map_or(0, |recorder| recorder.cursor.last())
    }

    /// Whether the session should change nothing that must be recorded: the disk is full, or has
    /// failed. This passes by itself.
    pub fn is_read_only(&self) -> bool {
        self.recorder.as_ref().is_some_and(|recorder| recorder.read_only)
    }

    /// Posts JSON to a configured host; `Machine::on_posted` gets the outcome.
    pub fn post(&mut self, url: String, body: String) {
        self.outcome.effects.push(Effect::Post { url, body });
    }

    /// Tells how long a round trip to the client at `address` took; what becomes of it is told by
    /// [`Reports`](crate::protocol::Reports).
    pub fn latency(&mut self, address: &str, ms: u32) {
        let start = self.outcome.bytes.len();
        self.outcome.bytes.extend_from_slice(address.as_bytes());
        let end = self.outcome.bytes.len();
        self.outcome.effects.push(Effect::Latency { start, end, ms });
    }

    /// Time of this call on the monotonic clock.
    pub fn at(&self) -> Instant {
        self.now.at
    }
}

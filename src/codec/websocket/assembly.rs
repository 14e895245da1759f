//! What a connection has sent incompletely: part of a header, part of a frame, part of a message.

use smallvec::SmallVec;

use super::decoder::Limits;
use super::header::{self, HEADER_BYTES_MAX, Header, Kind};
use super::{CONTROL_BYTES_MAX, Violation};

/// Buffers above this capacity, in bytes, are not kept by the pool.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// Memory of one connection for what is incomplete.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    /// First bytes of a header.
    header: SmallVec<[u8; HEADER_BYTES_MAX]>,
    /// The frame whose payload is arriving.
    frame: Option<Frame>,
    /// The data message that is arriving, or was just handed out.
    message: Option<Message>,
    /// Its payload, unmasked.
    payload: Vec<u8>,
    /// Payload of the control frame that is arriving, or was just handed out.
    control: SmallVec<[u8; CONTROL_BYTES_MAX]>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: Kind,
    is_final: bool,
    /// The key for the next byte.
    mask: [u8; 4],
    /// Bytes still to come.
    left: usize,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    /// `Text` or `Binary`.
    kind: Kind,
    fragments: u32,
    /// So many bytes are known to be UTF-8, if it is a text.
    valid: usize,
    /// It was handed out; the next call forgets it.
    is_over: bool,
}

/// What became of the bytes that were absorbed.
#[derive(Debug)]
pub(super) enum Absorbed {
    /// The frame is still incomplete.
    Partial,
    /// The frame is complete, its message is not.
    Fragment,
    /// A message or control frame of this kind is complete.
    Whole(Kind),
}

impl Assembly {
    /// Whether a fragmented message is under way.
    pub(super) fn in_message(&self) -> bool {
        self.message.is_some()
    }

    /// Whether a frame is under way.
    pub(super) fn in_frame(&self) -> bool {
        self.frame.is_some()
    }

    /// Whether bytes of an incomplete header are held.
    pub(super) fn in_header(&self) -> bool {
        !self.header.is_empty()
    }

    /// Whether nothing is held that is still needed.
    pub(super) fn is_idle(&self) -> bool {
        !self.in_header() && !self.in_frame() && !self.in_message()
    }

    /// Memory taken, in bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.payload.capacity()
    }

    /// Forgets a message that was handed out.
    pub(super) fn settle(&mut self) {
        if self.message.is_some_and(|message| message.is_over) {
            self.message = None;
            self.payload.clear();
        }
    }

    /// Keeps the first bytes of a header.
    pub(super) fn keep_header(&mut self, bytes: &[u8]) {
        self.header.extend_from_slice(bytes);
        debug_assert!(self.header.len() < HEADER_BYTES_MAX);
    }

    /// Completes a header begun earlier with bytes of `input`, taking those that belong to it.
    pub(super) fn complete_header(
        &mut self,
        input: &mut &mut [u8],
    ) -> Result<Option<Header>, Violation> {
        let held = self.header.len();
        let more = input.len().min(HEADER_BYTES_MAX - held);
        self.header.extend_from_slice(&input[..more]);
        let parsed = header::parse(&self.header)?;
        take(input, parsed.map_or(more, |(_, size)| size - held));
        if parsed.is_some() {
            self.header.clear();
        }
        Ok(parsed.map(|(header, _)| header))
    }

    /// Checks a data frame against the message under way, if any, and the limits.
    pub(super) fn admit(&self, header: &Header, limits: Limits) -> Result<(), Violation> {
        let Some(message) = self.message else { return admit_first(header, limits) };
        if header.kind != Kind::Continuation {
            return Err(Violation::InterleavedMessage);
        }
        if message.fragments >= limits.fragments_max {
            return Err(Violation::TooManyFragments);
        }
        let room = limits.message_bytes_max.saturating_sub(self.payload.len());
        check_size(header.length, room)
    }

    /// Begins a frame that was admitted and whose payload is `length` bytes.
    pub(super) fn open(&mut self, header: &Header, length: usize) {
        let Header { kind, is_final, mask, .. } = *header;
        self.frame = Some(Frame { kind, is_final, mask, left: length });
        match &mut self.message {
            _ if kind.is_control() => self.control.clear(),
            Some(message) => message.fragments += 1,
            None => self.message = Some(Message { kind, fragments: 1, valid: 0, is_over: false }),
        }
    }

    /// Moves what `input` has of the open frame's payload into memory.
    pub(super) fn absorb(
        &mut self,
        input: &mut &mut [u8],
        limits: Limits,
    ) -> Result<Absorbed, Violation> {
        let Some(mut frame) = self.frame else { return Ok(Absorbed::Fragment) };
        let piece = take(input, frame.left.min(input.len()));
        frame.mask = super::unmask(piece, frame.mask);
        frame.left -= piece.len();
        self.frame = (frame.left > 0).then_some(frame);
        if frame.kind.is_control() {
            self.control.extend_from_slice(piece);
            return Ok(if frame.left > 0 {
                Absorbed::Partial
            } else {
                Absorbed::Whole(frame.kind)
            });
        }
        self.append(piece, frame, limits);
        self.progress(frame)
    }

    /// The payload of the message or control frame that is complete.
    pub(super) fn payload(&self, kind: Kind) -> &[u8] {
        if kind.is_control() { &self.control } else { &self.payload }
    }

    /// Appends arrived bytes; memory doubles, but not beyond what the message may still need.
    fn append(&mut self, piece: &[u8], frame: Frame, limits: Limits) {
        let needed = self.payload.len() + piece.len();
        if needed > self.payload.capacity() {
            let bound = if frame.is_final { needed + frame.left } else { limits.message_bytes_max };
            let target = (2 * self.payload.capacity()).min(bound).max(needed);
            self.payload.reserve_exact(target - self.payload.len());
        }
        self.payload.extend_from_slice(piece);
    }

    /// Checks text as far as it arrived, and whether the frame or the message is complete.
    fn progress(&mut self, frame: Frame) -> Result<Absorbed, Violation> {
        let Some(message) = &mut self.message else { return Ok(Absorbed::Fragment) };
        let is_whole = frame.left == 0 && frame.is_final;
        if message.kind == Kind::Text {
            message.valid += valid_prefix(&self.payload[message.valid..], is_whole)?;
        }
        message.is_over = is_whole;
        Ok(match (is_whole, frame.left) {
            (true, _) => Absorbed::Whole(message.kind),
            (false, 0) => Absorbed::Fragment,
            (false, _) => Absorbed::Partial,
        })
    }

    /// Empties it for the next connection.
    fn clear(&mut self) {
        self.header.clear();
        self.frame = None;
        self.message = None;
        self.payload.clear();
        self.control.clear();
        if self.payload.capacity() > KEPT_BYTES_MAX {
            self.payload = Vec::new();
        }
    }
}

/// Checks a data frame that comes outside a fragmented message.
pub(super) fn admit_first(header: &Header, limits: Limits) -> Result<(), Violation> {
    if header.kind == Kind::Continuation {
        return Err(Violation::UnexpectedContinuation);
    }
    if !header.is_final && limits.fragments_max == 0 {
        return Err(Violation::TooManyFragments);
    }
    check_size(header.length, limits.message_bytes_max)
}

fn check_size(length: u64, room: usize) -> Result<(), Violation> {
    if length > room as u64 { Err(Violation::MessageTooBig) } else { Ok(()) }
}

/// How many bytes of `bytes` are whole valid characters. What follows them may be the beginning of
/// one more, unless this is the end of the text.
fn valid_prefix(bytes: &[u8], is_end: bool) -> Result<usize, Violation> {
    match simdutf8::compat::from_utf8(bytes) {
        Ok(text) => Ok(text.len()),
        Err(error) if error.error_len().is_none() && !is_end => Ok(error.valid_up_to()),
        Err(_) => Err(Violation::InvalidUtf8),
    }
}

/// Takes the first `count` bytes off `input`.
pub(super) fn take<'i>(input: &mut &'i mut [u8], count: usize) -> &'i mut [u8] {
    let (taken, rest) = std::mem::take(input).split_at_mut(count);
    *input = rest;
    taken
}

/// Assemblies that no connection needs at present; one pool a shard.
#[derive(Debug)]
pub struct AssemblyPool {
    #[expect(clippy::vec_box, reason = "they move to decoders, which hold eight bytes at rest")]
    free: Vec<Box<Assembly>>,
    count_max: usize,
}

impl AssemblyPool {
    /// A pool that keeps at most `count_max` assemblies, each with a buffer of at most 64 KiB.
    pub const fn new(count_max: usize) -> Self {
        Self { free: Vec::new(), count_max }
    }

    pub(super) fn get(&mut self) -> Box<Assembly> {
        self.free.pop().unwrap_or_default()
    }

    pub(super) fn put(&mut self, mut assembly: Box<Assembly>) {
        if self.free.len() < self.count_max {
            assembly.clear();
            self.free.push(assembly);
        }
    }
}

impl Default for AssemblyPool {
    /// Keeps 64 assemblies.
    fn default() -> Self {
        Self::new(64)
    }
}

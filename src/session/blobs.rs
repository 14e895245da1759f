//! Blobs of a session: bytes by an id of its choice, too large to be in memory, kept apart from
//! records.
//!
//! All sessions of a protocol have the same blobs. A blob is there when it was committed, and then
//! whole; nobody tells a session that another one has removed it.

use std::ops::Range;

use super::effects::{Effect, Effects};

/// Most bytes of a blob that are read at once. What is appended at once should have no more.
pub const BLOB_RANGE_BYTES_MAX: usize = 4 << 20;
/// Longest id of a blob, in bytes.
pub const BLOB_ID_BYTES_MAX: usize = 64;
/// Blobs that a session may be writing at once; those count whose commit is not answered.
pub const BLOB_WRITES_MAX: usize = 16;
/// Appends and commits of one blob that may be unanswered.
pub const BLOB_STEPS_MAX: usize = 4;
/// Reads of a session that may be unanswered.
pub const BLOB_READS_MAX: usize = 16;

/// What is to be done with a blob. Tickets name requests in their answers.
#[derive(Debug)]
pub enum BlobRequest {
    /// Appends to the blob being written under this id; the first one begins it.
    Write {
        /// Names the request.
        ticket: u32,
        /// What to append.
        bytes: Vec<u8>,
    },
    /// Makes what was written the blob of this id, atomically.
    Commit {
        /// Names the request.
        ticket: u32,
    },
    /// Forgets what was written. Not answered, and nothing of it that is not answered yet.
    Abort,
    /// Reads a part of a blob.
    Read {
        /// Names the request.
        ticket: u32,
        /// Which bytes.
        range: Range<u64>,
    },
    /// Removes a blob. Not answered.
    Remove,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobDone {
    /// The bytes were appended.
    Written,
    /// The blob is there, durably.
    Committed,
    /// Exactly the bytes read: fewer than asked for only at the blob's end, or if more than
    /// [`BLOB_RANGE_BYTES_MAX`] were asked for.
    Read(Vec<u8>),
}

/// Why a request on a blob failed. One to write or commit ends the writing of its blob: what else is
/// unanswered of it fails, too, and it can be begun anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// This is no id: it has 1 to [`BLOB_ID_BYTES_MAX`] letters, digits, `-` and `_`.
    #[error("not an id of a blob")]
    BadId,
    /// There is no such blob, or none that is being written.
    #[error("no such blob")]
    NotFound,
    /// Too much is under way, see [`BLOB_WRITES_MAX`], [`BLOB_STEPS_MAX`] and [`BLOB_READS_MAX`], or
    /// the storage has too much to do. This passes by itself.
    #[error("too much is under way")]
    Busy,
    /// A limit of ours leaves no room for it. The text is for people.
    #[error("{0}")]
    Full(String),
    /// The disk failed, or is full: it may take the blob later. The text is for people.
    #[error("{0}")]
    Failed(String),
}

/// Whether this may be the id of a blob.
pub fn is_blob_id(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=BLOB_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(is_plain)
}

impl Effects<'_> {
    /// Appends to a blob that is being written; the first call begins it. `Machine::on_blob` gets
    /// the outcome, as of each that has a ticket.
    pub fn write_blob(&mut self, ticket: u32, id: &str, bytes: Vec<u8>) {
        self.push_blob(id, BlobRequest::Write { ticket, bytes });
    }

    /// Makes a blob of what was written. It need not be answered first.
    pub fn commit_blob(&mut self, ticket: u32, id: &str) {
        self.push_blob(id, BlobRequest::Commit { ticket });
    }

    /// Forgets what was written. Nothing more is answered of it.
    pub fn abort_blob(&mut self, id: &str) {
        self.push_blob(id, BlobRequest::Abort);
    }

    /// Reads a part of a blob, at most [`BLOB_RANGE_BYTES_MAX`].
    pub fn read_blob(&mut self, ticket: u32, id: &str, range: Range<u64>) {
        self.push_blob(id, BlobRequest::Read { ticket, range });
    }

    /// Removes a blob, if there is one. It may be there again after a crash.
    pub fn remove_blob(&mut self, id: &str) {
        self.push_blob(id, BlobRequest::Remove);
    }

    fn push_blob(&mut self, id: &str, request: BlobRequest) {
        self.push(Effect::Blob { id: id.into(), request });
    }
}

//! What shards ask of the storage, and what they are answered.

use crate::session::effects::RecordName;

/// Says whom an answer is for. The storage only carries it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticket {
    /// The shard that asks, and gets the answer.
    pub shard: u16,
    /// The connection or session it asks for, in the shard's own terms.
    pub owner: u64,
    /// Tells apart the requests of one owner.
    pub number: u32,
}

/// An upload that was begun. Never used twice in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UploadId(pub(super) u64);

/// A file opened for reading. Never used twice in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HandleId(pub(super) u64);

/// What files are: each kind has a directory and a quota of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Those of the file server.
    Files,
    /// Blobs of sessions. No request over HTTP reaches them.
    Blobs,
}

/// One thing to do.
#[derive(Debug)]
pub struct Request {
    /// Comes back with the answer.
    pub ticket: Ticket,
    /// What to do.
    pub operation: Operation,
}

/// What can be asked for. The requests of one [`super::Client`] and its clones are carried out in
/// the order they were submitted, except that [`Operation::PutAbort`] and [`Operation::GetClose`]
/// overtake the others, and posts have an order of their own.
#[derive(Debug)]
pub enum Operation {
    /// Begins an upload; answered by [`Outcome::Begun`].
    PutBegin {
        /// What the path is one of.
        area: Area,
        /// Relative path, percent-decoded.
        path: String,
        /// The file's length in bytes if it is known: then the quota is checked at once.
        length_hint: Option<u64>,
    },
    /// Appends bytes to an upload; answered by [`Outcome::Written`]. A failure ends the upload.
    PutChunk {
        /// Which upload.
        upload: UploadId,
        /// What to append.
        bytes: Vec<u8>,
    },
    /// Makes an upload the file's content, atomically; answered by [`Outcome::Committed`]. Ends the
    /// upload, whatever the answer.
    PutCommit {
        /// Which upload.
        upload: UploadId,
    },
    /// Ends an upload and forgets its bytes. Not answered. Harmless if the upload is over.
    PutAbort {
        /// Which upload.
        upload: UploadId,
    },
    /// Opens a file for reading; answered by [`Outcome::Opened`]. Replacing the file later does
    /// not change what the handle reads.
    GetOpen {
        /// What the path is one of.
        area: Area,
        /// Relative path, percent-decoded.
        path: String,
    },
    /// Reads from an opened file; answered by [`Outcome::Read`].
    GetRead {
        /// Which file.
        handle: HandleId,
        /// Where to begin, in bytes from the file's start.
        offset: u64,
        /// How many bytes to read, at most [`super::READ_BYTES_MAX`].
        len: usize,
        /// Where to put them; what it held is overwritten.
        buffer: Vec<u8>,
    },
    /// Closes an opened file. Not answered. Harmless if it is closed.
    GetClose {
        /// Which file.
        handle: HandleId,
    },
    /// Asks for length and time of a file; answered by [`Outcome::Stat`].
    Stat {
        /// What the path is one of.
        area: Area,
        /// Relative path, percent-decoded.
        path: String,
    },
    /// Reads a part of a file at once; answered by [`Outcome::Range`].
    GetRange {
        /// What the path is one of.
        area: Area,
        /// Relative path.
        path: String,
        /// Where to begin, in bytes from the file's start.
        offset: u64,
        /// How many bytes to read, at most [`super::RANGE_BYTES_MAX`].
        len: u64,
    },
    /// Removes a file; answered by [`Outcome::Removed`]. Whoever reads from it reads on. It need
    /// not stay away if the machine fails right after that.
    Remove {
        /// What the path is one of.
        area: Area,
        /// Relative path.
        path: String,
    },
    /// Reads records; answered by [`Outcome::Loaded`].
    Load {
        /// Which ones. The answer has the same order and length.
        records: Vec<RecordName>,
    },
    /// Replaces a record atomically; answered by [`Outcome::Stored`].
    Store {
        /// Which one.
        record: RecordName,
        /// Its new content.
        content: Vec<u8>,
    },
    /// Posts JSON to a webhook; answered by [`Outcome::Posted`].
    Post {
        /// Absolute `http://` URL. Whether the host is allowed was decided before.
        url: String,
        /// JSON body.
        body: String,
    },
}

/// What became of a request.
#[derive(Debug)]
pub struct Answer {
    /// The request's.
    pub ticket: Ticket,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an [`Operation`].
#[derive(Debug)]
pub enum Outcome {
    /// Of `PutBegin`.
    Begun(Result<UploadId, FileError>),
    /// Of `PutChunk`.
    Written {
        /// Whether the bytes were written.
        result: Result<(), FileError>,
        /// The request's vector, to be used again.
        bytes: Vec<u8>,
    },
    /// Of `PutCommit`.
    Committed(Result<Committed, FileError>),
    /// Of `GetOpen`.
    Opened(Result<Opened, FileError>),
    /// Of `GetRead`.
    Read {
        /// Whether the bytes could be read.
        result: Result<(), FileError>,
        /// Exactly the bytes read: fewer than asked for only at the file's end.
        buffer: Vec<u8>,
    },
    /// Of `Stat`.
    Stat(Result<Metadata, FileError>),
    /// Of `GetRange`: exactly the bytes read, fewer than asked for only at the file's end.
    Range(Result<Vec<u8>, FileError>),
    /// Of `Remove`: success also if there was no such file.
    Removed(Result<(), FileError>),
    /// Of `Load`: content in the order asked for, `None` for a record that does not exist.
    Loaded(Result<Vec<Option<Vec<u8>>>, String>),
    /// Of `Store`.
    Stored {
        /// Which record.
        record: RecordName,
        /// Whether it is durable now.
        result: Result<(), String>,
    },
    /// Of `Post`: success is any 2xx status.
    Posted(Result<(), String>),
}

/// How an upload ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// There was no such file before.
    Created,
    /// There was one, and it is gone.
    Replaced,
}

/// What is known of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Length in bytes.
    pub length: u64,
    /// When it was last replaced, in milliseconds since the Unix epoch.
    pub modified_ms: u64,
}

/// A file opened for reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// How to name it.
    pub handle: HandleId,
    /// Of the version that the handle reads.
    pub metadata: Metadata,
}

/// Why an operation on files failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The path has `..`, an empty segment, a NUL, or is too long.
    #[error("not a path of a file here")]
    BadPath,
    /// There is no such file.
    #[error("no such file")]
    NotFound,
    /// The path, or a part of it, is a directory where a file is wanted or the reverse.
    #[error("{path}: a directory is in the way of a file, or a file of a directory")]
    Conflict {
        /// The request's path.
        path: String,
    },
    /// The file is longer than one file may be.
    #[error("the file is larger than {file_bytes_max} bytes, the most allowed (--file-bytes-max)")]
    TooLarge {
        /// The limit in force.
        file_bytes_max: u64,
    },
    /// All files together would exceed their quota.
    #[error("all files together may have {files_bytes_max} bytes (--files-bytes-max): no room")]
    Full {
        /// The limit in force.
        files_bytes_max: u64,
    },
    /// All blobs together would exceed their quota.
    #[error("all blobs together may have {blobs_bytes_max} bytes: no room")]
    BlobsFull {
        /// The limit in force.
        blobs_bytes_max: u64,
    },
    /// The disk is full.
    #[error("{path}: no space left on the disk")]
    DiskFull {
        /// The request's path.
        path: String,
    },
    /// The file is longer than the process may write.
    #[error(
        "{path}: larger than this process may write (RLIMIT_FSIZE): raise it (LimitFSIZE=infinity under systemd, `ulimit -f unlimited` in a shell)"
    )]
    SizeLimit {
        /// The request's path.
        path: String,
    },
    /// Too many files are open, for reading or for upload.
    #[error("too many files in use at once")]
    TooMany,
    /// The upload or handle is over, or never was.
    #[error("the upload or handle is over")]
    Gone,
    /// The operating system refused.
    #[error("{path}: {error}")]
    Io {
        /// The request's path.
        path: String,
        /// What the system says.
        error: String,
    },
    /// The storage itself failed.
    #[error("internal fault of the storage")]
    Internal,
}

impl FileError {
    /// The HTTP status that tells a client.
    pub fn status(&self) -> u16 {
        match self {
            Self::BadPath => 400,
            Self::NotFound => 404,
            Self::Conflict { .. } => 409,
            Self::TooLarge { .. } => 413,
            Self::Full { .. }
            | Self::BlobsFull { .. }
            | Self::DiskFull { .. }
            | Self::SizeLimit { .. } => 507,
            Self::TooMany => 503,
            Self::Gone | Self::Io { .. } | Self::Internal => 500,
        }
    }
}

//! Files, blobs and records on disk (or in memory), behind one worker thread for the whole process,
//! the shards' [`journal`], and [`accounts`].
//!
//! But for appending to its journal a shard never touches a file: it submits a [`Request`] without
//! waiting, and the worker hands an [`Answer`] to the function given to [`spawn`]. Posts to webhooks
//! have a thread of their own, so that a slow host never delays storage.
//!
//! Invariants:
//! - What was answered with success is durable: file and directory were synced before the answer.
//! - A reader sees a file or record as it was before a replacement or after it, never between.
//! - Peers choose names, never paths: nothing outside the data directory can be named.
//! - No quota is exceeded, not even by uploads that run at the same time. Files and blobs have one each.
//! - What is removed need not stay away: after a crash it may be there, and counted, again.
//!
//! Deliberately absent: clocks, decisions about who may read, write or remove, listing.

pub mod accounts;
mod backend;
#[cfg(test)]
mod by_hand;
mod client;
mod data_dir;
mod disk;
mod durable;
pub mod journal;
mod memory;
mod names;
mod post;
mod quota;
mod record;
mod request;
mod store;
#[cfg(test)]
mod tests;
mod worker;

#[cfg(test)]
pub(crate) use by_hand::ByHand;
pub use client::{Busy, Client};
pub use data_dir::{DataDir, DataDirError, FORMAT};
pub use names::{FILE_PATH_BYTES_MAX, RECORD_NAME_BYTES_MAX};
pub use quota::{
    BLOBS_BYTES_MAX_IN_MEMORY, FILES_BYTES_MAX_IN_MEMORY, RECORDS_BYTES_MAX_IN_MEMORY,
};
pub use request::{
    Answer, Area, Committed, FileError, HandleId, Metadata, Opened, Operation, Outcome, Request,
    Ticket, UploadId,
};
pub use store::{HANDLES_MAX, RANGE_BYTES_MAX, READ_BYTES_MAX, RECORD_BYTES_MAX, UPLOADS_MAX};
pub use worker::{Place, Settings, WallMs, spawn};

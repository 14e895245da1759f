//! Where segments are kept: on disk, or (in tests) anywhere else.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::storage::durable;

/// Segments are the server's own: what peers said is not for other users.
const FILE_MODE: u32 = 0o600;

/// The segments of one shard and epoch.
pub trait Volume: Debug + Send + Sync {
    /// Creates an empty segment.
    fn create(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>>;

    /// All of a segment, as it was written.
    fn read(&self, number: u32) -> io::Result<Vec<u8>>;

    /// Deletes a segment.
    fn remove(&self, number: u32) -> io::Result<()>;

    /// Makes creations durable.
    fn sync_names(&self) -> io::Result<()>;
}

/// A segment that is being written.
pub trait SegmentFile: Debug + Send + Sync {
    /// Writes all of `bytes`; what was there is replaced.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes sure that the first `bytes` can be written without running out of space.
    fn reserve(&self, bytes: u64) -> io::Result<()>;

    /// Returns when everything written is on the disk. After an error nobody knows what is, and
    /// asking again does not tell.
    fn sync(&self) -> io::Result<()>;
}

/// Name of a segment's file within the directory of its epoch.
pub(super) fn file_name(shard: u32, number: u32) -> String {
    format!("{shard:03}-{number:08}.log")
}

/// Segments as files of a directory.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    shard: u32,
}

impl Directory {
    /// The segments of `shard` in the directory of an epoch.
    pub fn new(path: &Path, shard: u32) -> Self {
        Self { path: path.to_owned(), shard }
    }

    fn file(&self, number: u32) -> PathBuf {
        self.path.join(file_name(self.shard, number))
    }
}

impl Volume for Directory {
    fn create(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>> {
        let mut options = OpenOptions::new();
        // One that a failed attempt left behind holds nothing.
        options.create(true).write(true).truncate(true).mode(FILE_MODE);
        Ok(Arc::new(options.open(self.file(number))?))
    }

    fn read(&self, number: u32) -> io::Result<Vec<u8>> {
        fs::read(self.file(number))
    }

    fn remove(&self, number: u32) -> io::Result<()> {
        fs::remove_file(self.file(number))
    }

    fn sync_names(&self) -> io::Result<()> {
        durable::sync_directory_of(&self.file(0))
    }
}

impl SegmentFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        match fallocate(self, FallocateFlags::KEEP_SIZE, 0, bytes) {
            // A file system without reservations tells when it is too late; that is seen then.
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            other => Ok(other?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

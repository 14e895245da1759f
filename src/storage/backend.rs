//! Where bytes are kept: what disk and memory have in common.

use super::names::FilePath;
use super::request::{Area, FileError, Metadata};
use crate::session::effects::RecordName;

/// Keeps files and records. Limits are the [`super::store::Store`]'s business, save those of the
/// medium itself.
pub(super) trait Backend {
    /// An upload under way.
    type Upload;
    /// A file opened for reading.
    type Handle;

    /// Bytes of all files of an area. May take its time: it is asked once.
    fn bytes(&self, area: Area) -> u64;

    /// The file's length if there is one; an error if something else is in its place or above it.
    fn length(&self, path: &FilePath) -> Result<Option<u64>, FileError>;

    /// Begins an upload, to be put somewhere in this area.
    fn begin(&mut self, area: Area) -> Result<Self::Upload, FileError>;

    /// Appends to an upload.
    fn append(&mut self, upload: &mut Self::Upload, bytes: &[u8]) -> Result<(), FileError>;

    /// Puts an upload in its place, durably.
    fn commit(&mut self, upload: Self::Upload, path: &FilePath) -> Result<(), FileError>;

    /// Forgets an upload.
    fn abort(&mut self, upload: Self::Upload);

    /// Removes a file, if there is one.
    fn remove(&mut self, path: &FilePath) -> Result<(), FileError>;

    /// Opens a file.
    fn open(&self, path: &FilePath) -> Result<(Self::Handle, Metadata), FileError>;

    /// Reads up to `len` bytes into an empty buffer; fewer only at the file's end.
    fn read(
        &self,
        handle: &Self::Handle,
        offset: u64,
        len: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), FileError>;

    /// What is known of a file.
    fn metadata(&self, path: &FilePath) -> Result<Metadata, FileError>;

    /// Reads a record.
    fn load(&mut self, record: &RecordName) -> Result<Option<Vec<u8>>, String>;

    /// Replaces a record, durably.
    fn store(&mut self, record: &RecordName, content: Vec<u8>) -> Result<(), String>;
}

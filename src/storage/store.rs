//! Carries out operations: uploads and handles in use, limits and quota, whatever the medium.

use std::collections::BTreeMap;

use super::backend::Backend;
use super::client::Release;
use super::names::FilePath;
use super::quota::Quota;
use super::request::{
    Area, Committed, FileError, HandleId, Metadata, Opened, Operation, Outcome, UploadId,
};
use crate::session::blobs::BLOB_RANGE_BYTES_MAX;
use crate::session::effects::RecordName;

/// Uploads that may be under way at once, in the whole process.
pub const UPLOADS_MAX: usize = 256;
/// Files that may be open for reading at once, in the whole process.
pub const HANDLES_MAX: usize = 1024;
/// Largest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 64 << 20;
/// Most bytes one [`Operation::GetRead`] reads.
pub const READ_BYTES_MAX: usize = 1 << 20;
/// Most bytes one [`Operation::GetRange`] reads.
pub const RANGE_BYTES_MAX: u64 = BLOB_RANGE_BYTES_MAX as u64;

/// How much there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Largest file of the file server, in bytes.
    pub(super) file_bytes_max: u64,
    /// All of them together.
    pub(super) files_bytes_max: u64,
    /// All blobs together.
    pub(super) blobs_bytes_max: u64,
}

/// Files and records of a process, on one medium.
pub(super) struct Store<B: Backend> {
    backend: B,
    file_bytes_max: u64,
    files_quota: Quota,
    blobs_quota: Quota,
    uploads: BTreeMap<UploadId, Upload<B::Upload>>,
    handles: BTreeMap<HandleId, B::Handle>,
    ids: u64,
}

struct Upload<U> {
    path: FilePath,
    written: u64,
    /// Of the quota; never less than what is written.
    reserved: u64,
    bytes: U,
}

impl<B: Backend> Store<B> {
    /// A store on this medium. Finds out how much is used, which may take its time.
    pub(super) fn new(backend: B, limits: Limits) -> Self {
        Self {
            file_bytes_max: limits.file_bytes_max,
            files_quota: Quota::new(limits.files_bytes_max, backend.bytes(Area::Files)),
            blobs_quota: Quota::new(limits.blobs_bytes_max, backend.bytes(Area::Blobs)),
            uploads: BTreeMap::new(),
            handles: BTreeMap::new(),
            ids: 0,
            backend,
        }
    }

    /// Carries out an operation; `None` for one that is not answered.
    pub(super) fn perform(&mut self, operation: Operation) -> Option<Outcome> {
        Some(match operation {
            Operation::PutBegin { area, path, length_hint } => {
                Outcome::Begun(self.begin(area, path, length_hint))
            }
            Operation::PutChunk { upload, bytes } => {
                Outcome::Written { result: self.append(upload, &bytes), bytes }
            }
            Operation::PutCommit { upload } => Outcome::Committed(self.commit(upload)),
            Operation::GetOpen { area, path } => Outcome::Opened(self.open(area, path)),
            Operation::GetRead { handle, offset, len, mut buffer } => {
                let result = self.read(handle, offset, len, &mut buffer);
                Outcome::Read { result, buffer }
            }
            Operation::Stat { area, path } => Outcome::Stat(self.stat(area, path)),
            Operation::GetRange { area, path, offset, len } => {
                Outcome::Range(self.range(area, path, offset, len))
            }
            Operation::Remove { area, path } => Outcome::Removed(self.remove(area, path)),
            Operation::Load { records } => {
                Outcome::Loaded(records.iter().map(|record| self.backend.load(record)).collect())
            }
            Operation::Store { record, content } => {
                let result = self.store(&record, content);
                Outcome::Stored { record, result }
            }
            Operation::PutAbort { upload } => return self.release(Release::Upload(upload)),
            Operation::GetClose { handle } => return self.release(Release::Handle(handle)),
            Operation::Post { .. } => unreachable!("posts have a thread of their own"),
        })
    }

    /// Gives up an upload or a handle. Never answered.
    pub(super) fn release(&mut self, release: Release) -> Option<Outcome> {
        match release {
            Release::Upload(id) => {
                if let Some(upload) = self.uploads.remove(&id) {
                    self.abort(upload);
                }
            }
            Release::Handle(id) => drop(self.handles.remove(&id)),
        }
        None
    }

    fn begin(
        &mut self,
        area: Area,
        path: String,
        length_hint: Option<u64>,
    ) -> Result<UploadId, FileError> {
        let path = FilePath::parse(area, path)?;
        let reserved = length_hint.unwrap_or(0);
        self.check_length(area, reserved)?;
        if self.uploads.len() == UPLOADS_MAX {
            return Err(FileError::TooMany);
        }
        self.backend.length(&path)?;
        self.reserve(area, reserved)?;
        let begun = self.backend.begin(area);
        let bytes = begun.inspect_err(|_| self.quota(area).release(reserved))?;
        let id = UploadId(self.next_id());
        self.uploads.insert(id, Upload { path, written: 0, reserved, bytes });
        Ok(id)
    }

    fn append(&mut self, id: UploadId, bytes: &[u8]) -> Result<(), FileError> {
        let mut upload = self.uploads.remove(&id).ok_or(FileError::Gone)?;
        let appended = self.append_to(&mut upload, bytes);
        match appended {
            Ok(()) => drop(self.uploads.insert(id, upload)),
            Err(_) => self.abort(upload),
        }
        appended
    }

    fn append_to(&mut self, upload: &mut Upload<B::Upload>, bytes: &[u8]) -> Result<(), FileError> {
        let area = upload.path.area();
        let written = upload.written.saturating_add(bytes.len() as u64);
        self.check_length(area, written)?;
        let more = written.saturating_sub(upload.reserved);
        self.reserve(area, more)?;
        upload.reserved += more;
        self.backend.append(&mut upload.bytes, bytes)?;
        upload.written = written;
        Ok(())
    }

    fn commit(&mut self, id: UploadId) -> Result<Committed, FileError> {
        let upload = self.uploads.remove(&id).ok_or(FileError::Gone)?;
        let area = upload.path.area();
        self.quota(area).release(upload.reserved);
        let old = match self.backend.length(&upload.path) {
            Ok(old) => old,
            Err(error) => {
                self.backend.abort(upload.bytes);
                return Err(error);
            }
        };
        self.backend.commit(upload.bytes, &upload.path)?;
        self.quota(area).replace(old.unwrap_or(0), upload.written);
        Ok(if old.is_some() { Committed::Replaced } else { Committed::Created })
    }

    fn abort(&mut self, upload: Upload<B::Upload>) {
        self.quota(upload.path.area()).release(upload.reserved);
        self.backend.abort(upload.bytes);
    }

    fn open(&mut self, area: Area, path: String) -> Result<Opened, FileError> {
        let path = FilePath::parse(area, path)?;
        if self.handles.len() == HANDLES_MAX {
            return Err(FileError::TooMany);
        }
        let (file, metadata) = self.backend.open(&path)?;
        let handle = HandleId(self.next_id());
        self.handles.insert(handle, file);
        Ok(Opened { handle, metadata })
    }

    fn read(
        &mut self,
        handle: HandleId,
        offset: u64,
        len: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), FileError> {
        buffer.clear();
        let file = self.handles.get(&handle).ok_or(FileError::Gone)?;
        self.backend.read(file, offset, len.min(READ_BYTES_MAX), buffer)
    }

    fn stat(&self, area: Area, path: String) -> Result<Metadata, FileError> {
        self.backend.metadata(&FilePath::parse(area, path)?)
    }

    fn range(&self, area: Area, path: String, offset: u64, len: u64) -> Result<Vec<u8>, FileError> {
        let (file, metadata) = self.backend.open(&FilePath::parse(area, path)?)?;
        let left = metadata.length.saturating_sub(offset);
        let mut buffer = Vec::new();
        self.backend.read(
            &file,
            offset,
            len.min(RANGE_BYTES_MAX).min(left) as usize,
            &mut buffer,
        )?;
        Ok(buffer)
    }

    fn remove(&mut self, area: Area, path: String) -> Result<(), FileError> {
        let path = FilePath::parse(area, path)?;
        let length = match self.backend.length(&path) {
            // What is below a file cannot be there.
            Ok(None) | Err(FileError::Conflict { .. }) => return Ok(()),
            found => found?.unwrap_or(0),
        };
        self.backend.remove(&path)?;
        self.quota(area).replace(length, 0);
        Ok(())
    }

    fn store(&mut self, record: &RecordName, content: Vec<u8>) -> Result<(), String> {
        let (length, namespace) = (content.len(), record.namespace);
        if length > RECORD_BYTES_MAX {
            return Err(format!(
                "a record of {namespace} has {length} bytes; allowed are {RECORD_BYTES_MAX}"
            ));
        }
        self.backend.store(record, content)
    }

    fn check_length(&self, area: Area, length: u64) -> Result<(), FileError> {
        let file_bytes_max = self.file_bytes_max;
        let fits = area == Area::Blobs || length <= file_bytes_max;
        if fits { Ok(()) } else { Err(FileError::TooLarge { file_bytes_max }) }
    }

    fn quota(&mut self, area: Area) -> &mut Quota {
        match area {
            Area::Files => &mut self.files_quota,
            Area::Blobs => &mut self.blobs_quota,
        }
    }

    fn reserve(&mut self, area: Area, bytes: u64) -> Result<(), FileError> {
        let quota = self.quota(area);
        let max = quota.max();
        match (quota.reserve(bytes), area) {
            (true, _) => Ok(()),
            (false, Area::Files) => Err(FileError::Full { files_bytes_max: max }),
            (false, Area::Blobs) => Err(FileError::BlobsFull { blobs_bytes_max: max }),
        }
    }

    fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    #[cfg(test)]
    pub(super) fn used_and_reserved(&mut self, area: Area) -> (u64, u64) {
        self.quota(area).used_and_reserved()
    }
}

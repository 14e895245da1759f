//! Files and records that end with the process.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::backend::Backend;
use super::names::{FilePath, record_path};
use super::quota::{Quota, RECORDS_BYTES_MAX_IN_MEMORY};
use super::request::{FileError, Metadata};
use super::worker::WallMs;
use crate::session::effects::RecordName;

/// Keeps everything in memory.
pub(super) struct Memory {
    files: BTreeMap<String, File>,
    records: BTreeMap<std::path::PathBuf, Vec<u8>>,
    records_quota: Quota,
    wall_ms: WallMs,
}

struct File {
    bytes: Bytes,
    modified_ms: u64,
}

impl File {
    fn metadata(&self) -> Metadata {
        Metadata { length: self.bytes.len() as u64, modified_ms: self.modified_ms }
    }
}

impl Memory {
    /// Nothing yet. `wall_ms` dates the files.
    pub(super) fn new(wall_ms: WallMs) -> Self {
        let records_quota = Quota::new(RECORDS_BYTES_MAX_IN_MEMORY, 0);
        Self { files: BTreeMap::new(), records: BTreeMap::new(), records_quota, wall_ms }
    }

    fn file(&self, path: &FilePath) -> Result<&File, FileError> {
        self.files.get(path.as_str()).ok_or(FileError::NotFound)
    }

    /// Whether files were put below this path.
    fn is_directory(&self, path: &str) -> bool {
        let below = format!("{path}/");
        let first = self.files.range(below.clone()..).next();
        first.is_some_and(|(found, _)| found.starts_with(&below))
    }
}

impl Backend for Memory {
    type Upload = Vec<u8>;
    type Handle = Bytes;

    fn files_bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes.len() as u64).sum()
    }

    fn length(&self, path: &FilePath) -> Result<Option<u64>, FileError> {
        let blocked = path.directories().any(|directory| self.files.contains_key(directory));
        if blocked || self.is_directory(path.as_str()) {
            return Err(FileError::Conflict { path: path.as_str().to_owned() });
        }
        Ok(self.files.get(path.as_str()).map(|file| file.bytes.len() as u64))
    }

    fn begin(&mut self) -> Result<Vec<u8>, FileError> {
        Ok(Vec::new())
    }

    fn append(&mut self, upload: &mut Vec<u8>, bytes: &[u8]) -> Result<(), FileError> {
        upload.extend_from_slice(bytes);
        Ok(())
    }

    fn commit(&mut self, upload: Vec<u8>, path: &FilePath) -> Result<(), FileError> {
        let bytes = Bytes::from(upload.into_boxed_slice());
        let file = File { bytes, modified_ms: (self.wall_ms)() };
        self.files.insert(path.as_str().to_owned(), file);
        Ok(())
    }

    fn abort(&mut self, upload: Vec<u8>) {
        drop(upload);
    }

    fn open(&self, path: &FilePath) -> Result<(Bytes, Metadata), FileError> {
        let file = self.file(path)?;
        Ok((file.bytes.clone(), file.metadata()))
    }

    fn read(
        &self,
        handle: &Bytes,
        offset: u64,
        len: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), FileError> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(handle.len());
        let end = start.saturating_add(len).min(handle.len());
        buffer.extend_from_slice(&handle[start..end]);
        Ok(())
    }

    fn metadata(&self, path: &FilePath) -> Result<Metadata, FileError> {
        self.file(path).map(File::metadata)
    }

    fn load(&mut self, record: &RecordName) -> Result<Option<Vec<u8>>, String> {
        Ok(self.records.get(&record_path(record)?).cloned())
    }

    fn store(&mut self, record: &RecordName, content: Vec<u8>) -> Result<(), String> {
        let path = record_path(record)?;
        let (old, new) = (self.records.get(&path).map_or(0, Vec::len), content.len());
        if !self.records_quota.reserve(new as u64) {
            return Err(format!(
                "{}: records in memory may have {RECORDS_BYTES_MAX_IN_MEMORY} bytes together; \
                 give a --data-dir to keep more",
                path.display()
            ));
        }
        self.records_quota.release(new as u64);
        self.records_quota.replace(old as u64, new as u64);
        self.records.insert(path, content);
        Ok(())
    }
}

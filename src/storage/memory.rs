//! Files and records that end with the process.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::backend::Backend;
use super::names::{FilePath, record_path};
use super::quota::{Quota, RECORDS_BYTES_MAX_IN_MEMORY};
use super::request::{Area, FileError, Metadata};
use super::worker::WallMs;
use crate::session::effects::RecordName;

/// Keeps everything in memory.
pub(super) struct Memory {
    files: Files,
    blobs: Files,
    records: BTreeMap<std::path::PathBuf, Vec<u8>>,
    records_quota: Quota,
    wall_ms: WallMs,
}

type Files = BTreeMap<String, File>;

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
        let (files, blobs) = (Files::new(), Files::new());
        Self { files, blobs, records: BTreeMap::new(), records_quota, wall_ms }
    }

    fn area(&self, area: Area) -> &Files {
        match area {
            Area::Files => &self.files,
            Area::Blobs => &self.blobs,
        }
    }

    fn area_mut(&mut self, area: Area) -> &mut Files {
        match area {
            Area::Files => &mut self.files,
            Area::Blobs => &mut self.blobs,
        }
    }

    fn file(&self, path: &FilePath) -> Result<&File, FileError> {
        self.area(path.area()).get(path.as_str()).ok_or(FileError::NotFound)
    }

    /// Whether files were put below this path.
    fn is_directory(&self, path: &FilePath) -> bool {
        let below = format!("{}/", path.as_str());
        let first = self.area(path.area()).range(below.clone()..).next();
        first.is_some_and(|(found, _)| found.starts_with(&below))
    }
}

impl Backend for Memory {
    type Upload = Vec<u8>;
    type Handle = Bytes;

    fn bytes(&self, area: Area) -> u64 {
        self.area(area).values().map(|file| file.bytes.len() as u64).sum()
    }

    fn length(&self, path: &FilePath) -> Result<Option<u64>, FileError> {
        let files = self.area(path.area());
        let blocked = path.directories().any(|directory| files.contains_key(directory));
        if blocked || self.is_directory(path) {
            return Err(FileError::Conflict { path: path.as_str().to_owned() });
        }
        Ok(files.get(path.as_str()).map(|file| file.bytes.len() as u64))
    }

    fn begin(&mut self, _: Area) -> Result<Vec<u8>, FileError> {
        Ok(Vec::new())
    }

    fn append(&mut self, upload: &mut Vec<u8>, bytes: &[u8]) -> Result<(), FileError> {
        upload.extend_from_slice(bytes);
        Ok(())
    }

    fn commit(&mut self, upload: Vec<u8>, path: &FilePath) -> Result<(), FileError> {
        let bytes = Bytes::from(upload.into_boxed_slice());
        let file = File { bytes, modified_ms: (self.wall_ms)() };
        self.area_mut(path.area()).insert(path.as_str().to_owned(), file);
        Ok(())
    }

    fn abort(&mut self, upload: Vec<u8>) {
        drop(upload);
    }

    fn remove(&mut self, path: &FilePath) -> Result<(), FileError> {
        self.area_mut(path.area()).remove(path.as_str());
        Ok(())
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

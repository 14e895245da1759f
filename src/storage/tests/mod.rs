//! One suite for both media ([`suite`], [`blobs`]), what only a disk can do, and the threads.

mod blobs;
mod disk;
mod suite;
mod threads;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::backend::Backend;
use super::client::Release;
use super::disk::Disk;
use super::memory::Memory;
use super::store::{Limits, Store};
use super::*;
use crate::session::effects::RecordName;

const FILE_MAX: u64 = 1_000;
const QUOTA: u64 = 2_500;
const BLOBS_QUOTA: u64 = 3_000;
const LIMITS: Limits =
    Limits { file_bytes_max: FILE_MAX, files_bytes_max: QUOTA, blobs_bytes_max: BLOBS_QUOTA };
const WALL_MS: u64 = 1_700_000_000_000;

/// A directory of one test's own.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lockstep-storage-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn data_dir(&self) -> DataDir {
        DataDir::open(&self.0).unwrap()
    }

    fn disk(&self) -> Store<Disk> {
        Store::new(Disk::open(self.data_dir()).unwrap(), LIMITS)
    }

    fn incoming(&self, area: &str) -> usize {
        fs::read_dir(self.0.join(area).join("incoming")).unwrap().count()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn in_memory() -> Store<Memory> {
    Store::new(Memory::new(Box::new(|| WALL_MS)), LIMITS)
}

/// What is done to a store, with its answers unwrapped.
impl<B: Backend> Store<B> {
    fn do_begin(&mut self, path: &str, length_hint: Option<u64>) -> Result<UploadId, FileError> {
        self.do_begin_in(Area::Files, path, length_hint)
    }

    fn do_begin_in(
        &mut self,
        area: Area,
        path: &str,
        length_hint: Option<u64>,
    ) -> Result<UploadId, FileError> {
        let operation = Operation::PutBegin { area, path: path.to_owned(), length_hint };
        match self.perform(operation) {
            Some(Outcome::Begun(result)) => result,
            other => panic!("{other:?}"),
        }
    }

    fn do_chunk(&mut self, upload: UploadId, chunk: &[u8]) -> Result<(), FileError> {
        match self.perform(Operation::PutChunk { upload, bytes: chunk.to_vec() }) {
            Some(Outcome::Written { result, bytes }) => {
                assert_eq!(bytes, chunk, "the buffer comes back");
                result
            }
            other => panic!("{other:?}"),
        }
    }

    fn do_commit(&mut self, upload: UploadId) -> Result<Committed, FileError> {
        match self.perform(Operation::PutCommit { upload }) {
            Some(Outcome::Committed(result)) => result,
            other => panic!("{other:?}"),
        }
    }

    fn do_put(&mut self, path: &str, content: &[u8]) -> Result<Committed, FileError> {
        self.do_put_in(Area::Files, path, content)
    }

    fn do_put_in(
        &mut self,
        area: Area,
        path: &str,
        content: &[u8],
    ) -> Result<Committed, FileError> {
        let upload = self.do_begin_in(area, path, Some(content.len() as u64))?;
        for chunk in content.chunks(300) {
            self.do_chunk(upload, chunk)?;
        }
        self.do_commit(upload)
    }

    fn do_open(&mut self, path: &str) -> Result<Opened, FileError> {
        match self.perform(Operation::GetOpen { area: Area::Files, path: path.to_owned() }) {
            Some(Outcome::Opened(result)) => result,
            other => panic!("{other:?}"),
        }
    }

    fn do_read(&mut self, handle: HandleId, offset: u64, len: usize) -> Result<Vec<u8>, FileError> {
        let buffer = vec![7; 3];
        match self.perform(Operation::GetRead { handle, offset, len, buffer }) {
            Some(Outcome::Read { result, buffer }) => result.map(|()| buffer),
            other => panic!("{other:?}"),
        }
    }

    fn do_get(&mut self, path: &str) -> Result<Vec<u8>, FileError> {
        let opened = self.do_open(path)?;
        let bytes = self.do_read(opened.handle, 0, READ_BYTES_MAX)?;
        assert_eq!(bytes.len() as u64, opened.metadata.length);
        self.release(Release::Handle(opened.handle));
        Ok(bytes)
    }

    fn do_stat(&mut self, path: &str) -> Result<Metadata, FileError> {
        match self.perform(Operation::Stat { area: Area::Files, path: path.to_owned() }) {
            Some(Outcome::Stat(result)) => result,
            other => panic!("{other:?}"),
        }
    }

    fn do_range(
        &mut self,
        area: Area,
        path: &str,
        offset: u64,
        len: u64,
    ) -> Result<Vec<u8>, FileError> {
        let path = path.to_owned();
        match self.perform(Operation::GetRange { area, path, offset, len }) {
            Some(Outcome::Range(result)) => result,
            other => panic!("{other:?}"),
        }
    }

    fn do_remove(&mut self, area: Area, path: &str) -> Result<(), FileError> {
        match self.perform(Operation::Remove { area, path: path.to_owned() }) {
            Some(Outcome::Removed(result)) => result,
            other => panic!("{other:?}"),
        }
    }

    fn do_store(&mut self, names: &[&str], content: &[u8]) -> Result<(), String> {
        let (record, content) = (record(names), content.to_vec());
        match self.perform(Operation::Store { record: record.clone(), content }) {
            Some(Outcome::Stored { record: stored, result }) => {
                assert_eq!(stored, record);
                result
            }
            other => panic!("{other:?}"),
        }
    }

    fn do_load(&mut self, records: &[&[&str]]) -> Result<Vec<Option<Vec<u8>>>, String> {
        let records = records.iter().map(|names| record(names)).collect();
        match self.perform(Operation::Load { records }) {
            Some(Outcome::Loaded(result)) => result,
            other => panic!("{other:?}"),
        }
    }
}

fn record(names: &[&str]) -> RecordName {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    RecordName { namespace: "croquet/sessions", names }
}

/// Runs each check on a fresh store of either medium.
macro_rules! on_both_media {
    ($($suite:ident { $($name:ident)* })*) => {
        mod on_disk {
            $($(#[test] fn $name() {
                let scratch = super::Scratch::new();
                super::$suite::$name(&mut scratch.disk());
            })*)*
        }
        mod in_memory {
            $($(#[test] fn $name() { super::$suite::$name(&mut super::in_memory()); })*)*
        }
    };
}

on_both_media! {
    suite {
        a_file_comes_back_as_it_was_put
        ranges_are_read_up_to_the_files_end
        replacing_a_file_does_not_change_what_is_being_read
        an_upload_is_not_seen_before_its_commit
        an_aborted_upload_leaves_nothing
        paths_that_leave_are_refused_everywhere
        a_file_in_place_of_a_directory_is_a_conflict
        a_conflict_that_came_up_during_an_upload_is_noticed
        files_above_their_limit_are_refused
        uploads_at_the_same_time_cannot_exceed_the_quota
        replacing_a_file_frees_the_old_one
        a_failed_chunk_ends_its_upload
        uploads_and_handles_are_bounded
        what_is_over_is_gone
        empty_files_are_files
        records_come_back_in_the_order_asked_for
        odd_and_long_record_names_do_not_meet
        a_record_without_a_name_is_an_error
    }
    blobs {
        blobs_and_files_of_one_name_are_apart
        a_range_is_bounded_and_ends_with_its_blob
        what_is_removed_makes_room
        removing_what_is_not_there_is_no_error
        a_file_that_is_read_may_be_removed
        blobs_have_a_quota_of_their_own
        a_blob_written_again_counts_once
    }
}

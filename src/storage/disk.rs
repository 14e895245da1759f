//! Files, blobs and records in the data directory.
//!
//! ```text
//! lock  format            see data_dir
//! files/content/…         the files, by their paths
//! files/incoming/<n>      uploads under way; emptied at start
//! blobs/content/…         the blobs, by their protocols and ids
//! blobs/incoming/<n>      those that are being written; emptied at start
//! records/<namespace>/…   the records, by their encoded names
//! ```

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::backend::Backend;
use super::data_dir::DataDir;
use super::names::{FilePath, record_path};
use super::request::{Area, FileError, Metadata};
use super::{durable, record};
use crate::session::effects::RecordName;

/// The scan at start tells how far it is each time it has seen so many files.
const SCAN_PROGRESS_FILES: u64 = 100_000;

/// Keeps everything in a data directory.
pub(super) struct Disk {
    files: Tree,
    blobs: Tree,
    records: PathBuf,
    uploads: u64,
    _data_dir: DataDir,
}

/// The directories of an area.
struct Tree {
    content: PathBuf,
    incoming: PathBuf,
}

/// An upload under way.
pub(super) struct Upload {
    file: File,
    path: PathBuf,
}

impl Disk {
    /// Prepares the directories, and forgets uploads that a former process did not end.
    pub(super) fn open(data_dir: DataDir) -> Result<Self, String> {
        let files = Tree::open(data_dir.path().join("files"))?;
        let blobs = Tree::open(data_dir.path().join("blobs"))?;
        let records = data_dir.path().join("records");
        create(&records)?;
        Ok(Self { files, blobs, records, uploads: 0, _data_dir: data_dir })
    }

    fn area(&self, area: Area) -> &Tree {
        match area {
            Area::Files => &self.files,
            Area::Blobs => &self.blobs,
        }
    }

    fn place(&self, path: &FilePath) -> PathBuf {
        self.area(path.area()).content.join(path.as_path())
    }
}

impl Tree {
    fn open(path: PathBuf) -> Result<Self, String> {
        let tree = Self { content: path.join("content"), incoming: path.join("incoming") };
        match fs::remove_dir_all(&tree.incoming) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(described(&tree.incoming, &error));
            }
            _ => {}
        }
        create(&tree.content)?;
        create(&tree.incoming)?;
        Ok(tree)
    }
}

fn create(path: &Path) -> Result<(), String> {
    durable::create_directories(path).map_err(|error| described(path, &error))
}

impl Backend for Disk {
    type Upload = Upload;
    type Handle = (File, PathBuf);

    fn bytes(&self, area: Area) -> u64 {
        let (mut files, mut bytes) = (0, 0);
        let mut directories = vec![self.area(area).content.clone()];
        while let Some(directory) = directories.pop() {
            let entries =
                fs::read_dir(&directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
            let entries = entries.unwrap_or_else(|error| unseen(&directory, &error));
            for entry in entries {
                match entry.metadata() {
                    Ok(metadata) if metadata.is_dir() => directories.push(entry.path()),
                    Ok(metadata) => bytes += metadata.len(),
                    Err(error) => drop(unseen::<()>(&entry.path(), &error)),
                }
                files += 1;
                if files % SCAN_PROGRESS_FILES == 0 {
                    log::info!(scope = "storage", event = "scan", files, bytes; "counting stored files");
                }
            }
        }
        bytes
    }

    fn length(&self, path: &FilePath) -> Result<Option<u64>, FileError> {
        match fs::symlink_metadata(self.place(path)) {
            Ok(metadata) if metadata.is_dir() => Err(conflict(path)),
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotADirectory => Err(conflict(path)),
            Err(error) => Err(refused(&self.place(path), &error)),
        }
    }

    fn begin(&mut self, area: Area) -> Result<Upload, FileError> {
        self.uploads += 1;
        let path = self.area(area).incoming.join(self.uploads.to_string());
        let file = File::create_new(&path).map_err(|error| refused(&path, &error))?;
        Ok(Upload { file, path })
    }

    fn append(&mut self, upload: &mut Upload, bytes: &[u8]) -> Result<(), FileError> {
        upload.file.write_all(bytes).map_err(|error| refused(&upload.path, &error))
    }

    fn commit(&mut self, upload: Upload, path: &FilePath) -> Result<(), FileError> {
        let place = self.place(path);
        let put = upload
            .file
            .sync_all()
            .and_then(|()| place.parent().map_or(Ok(()), durable::create_directories))
            .and_then(|()| fs::rename(&upload.path, &place));
        match put {
            Ok(()) => durable::sync_directory_of(&place).map_err(|error| refused(&place, &error)),
            Err(error) => {
                self.abort(upload);
                Err(if is_conflict(&error) { conflict(path) } else { refused(&place, &error) })
            }
        }
    }

    fn abort(&mut self, upload: Upload) {
        if let Err(error) = fs::remove_file(&upload.path) {
            let path = upload.path.display();
            log::warn!(scope = "storage", event = "abort", path:%; "cannot remove an upload: {error}");
        }
    }

    fn remove(&mut self, path: &FilePath) -> Result<(), FileError> {
        let place = self.place(path);
        match fs::remove_file(&place) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(refused(&place, &error)),
            _ => Ok(()),
        }
    }

    fn open(&self, path: &FilePath) -> Result<((File, PathBuf), Metadata), FileError> {
        let place = self.place(path);
        let file = File::open(&place).map_err(|error| not_read(&place, &error))?;
        let metadata = file.metadata().map_err(|error| not_read(&place, &error))?;
        Ok(((file, place), of_file(&metadata)?))
    }

    fn read(
        &self,
        (file, path): &(File, PathBuf),
        offset: u64,
        len: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), FileError> {
        buffer.resize(len, 0);
        let read = read_full(file, offset, buffer);
        buffer.truncate(*read.as_ref().unwrap_or(&0));
        read.map(drop).map_err(|error| refused(path, &error))
    }

    fn metadata(&self, path: &FilePath) -> Result<Metadata, FileError> {
        let place = self.place(path);
        of_file(&fs::metadata(&place).map_err(|error| not_read(&place, &error))?)
    }

    fn load(&mut self, record: &RecordName) -> Result<Option<Vec<u8>>, String> {
        let path = self.records.join(record_path(record)?);
        match fs::read(&path) {
            Ok(stored) => record::content(stored).map(Some).map_err(|why| put_aside(&path, &why)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(described(&path, &error)),
        }
    }

    fn store(&mut self, record: &RecordName, content: Vec<u8>) -> Result<(), String> {
        let path = self.records.join(record_path(record)?);
        let header = record::header(&content);
        path.parent()
            .map_or(Ok(()), durable::create_directories)
            .and_then(|()| durable::replace(&path, &[&header, &content]))
            .map_err(|error| described(&path, &error))
    }
}

/// Reads until the buffer is full or the file ends; how many bytes.
fn read_full(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Only regular files are files here.
fn of_file(metadata: &fs::Metadata) -> Result<Metadata, FileError> {
    if !metadata.is_file() {
        return Err(FileError::NotFound);
    }
    let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let modified_ms = modified.map_or(0, |since| since.as_millis() as u64);
    Ok(Metadata { length: metadata.len(), modified_ms })
}

/// Moves a damaged record out of the way, so that it can be looked at and is not found again.
fn put_aside(path: &Path, why: &str) -> String {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".corrupt");
    let (path, aside) = (path, Path::new(&aside));
    match fs::rename(path, aside) {
        Ok(()) => format!("{}: damaged: {why}; kept as {}", path.display(), aside.display()),
        Err(error) => format!("{}: damaged: {why}; not moved: {error}", path.display()),
    }
}

fn unseen<T>(path: &Path, error: &io::Error) -> Vec<T> {
    let path = path.display();
    log::warn!(scope = "storage", event = "scan", path:%; "not counted towards the quota: {error}");
    Vec::new()
}

fn described(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn conflict(path: &FilePath) -> FileError {
    FileError::Conflict { path: path.as_str().to_owned() }
}

fn is_conflict(error: &io::Error) -> bool {
    use ErrorKind::{AlreadyExists, DirectoryNotEmpty, IsADirectory, NotADirectory};
    matches!(error.kind(), AlreadyExists | DirectoryNotEmpty | IsADirectory | NotADirectory)
}

fn not_read(path: &Path, error: &io::Error) -> FileError {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => FileError::NotFound,
        _ => refused(path, error),
    }
}

fn refused(path: &Path, error: &io::Error) -> FileError {
    let path = path.display().to_string();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => FileError::DiskFull { path },
        ErrorKind::FileTooLarge => FileError::SizeLimit { path },
        _ if is_out_of_descriptors(error) => FileError::TooMany,
        _ => FileError::Io { path, error: error.to_string() },
    }
}

/// No descriptor is left, to the process or to the machine: that passes.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

//! The data directory: one process each, of a known format.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::durable;

/// The format of data directories that this version writes and understands.
pub const FORMAT: u32 = 1;
/// Content of the `format` file is a number; more bytes are not looked at.
const FORMAT_BYTES_MAX: u64 = 64;

/// A data directory that this process holds the lock of, for as long as the value lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why a data directory cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// It cannot be created, or not written to.
    #[error(
        "the data directory {dir} cannot be used: {path}: {error}\n  \
         give the user of this process write access, choose another directory with --data-dir, \
         or keep nothing with --in-memory"
    )]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// Another process uses it.
    #[error(
        "the data directory {dir} is in use by another process{holder}\n  \
         stop that process, or give this one a directory of its own with --data-dir"
    )]
    Taken {
        /// The directory.
        dir: PathBuf,
        /// ` (process 123)` if it is known.
        holder: String,
    },
    /// It was written by a version that this one does not understand.
    #[error(
        "the data directory {dir} has format {found:?}, this version reads format {FORMAT}\n  \
         run the version that wrote it, or choose another directory with --data-dir"
    )]
    Format {
        /// The directory.
        dir: PathBuf,
        /// What the file `format` says.
        found: String,
    },
}

impl DataDir {
    /// Creates the directory if it is missing, locks it and checks its format.
    pub fn open(dir: &Path) -> Result<Self, DataDirError> {
        let unusable = |path: &Path, error| DataDirError::Unusable {
            dir: dir.to_owned(),
            path: path.to_owned(),
            error,
        };
        durable::create_directories(dir).map_err(|error| unusable(dir, error))?;
        let lock_path = dir.join("lock");
        let lock = open_lock(&lock_path).map_err(|error| unusable(&lock_path, error))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => taken(dir, &lock_path),
            TryLockError::Error(error) => unusable(&lock_path, error),
        })?;
        sign(&lock).map_err(|error| unusable(&lock_path, error))?;
        let format_path = dir.join("format");
        let found = format(&format_path).map_err(|error| unusable(&format_path, error))?;
        if found.trim() != FORMAT.to_string() {
            return Err(DataDirError::Format { dir: dir.to_owned(), found });
        }
        Ok(Self { path: dir.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)
}

/// Leaves the number of this process in the lock, for people.
fn sign(mut lock: &File) -> io::Result<()> {
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())
}

fn taken(dir: &Path, lock: &Path) -> DataDirError {
    let number = fs::read_to_string(lock).unwrap_or_default();
    let holder = match number.trim().parse::<u32>() {
        Ok(number) => format!(" (process {number})"),
        Err(_) => String::new(),
    };
    DataDirError::Taken { dir: dir.to_owned(), holder }
}

/// What the format file says; a directory without one gets it.
fn format(path: &Path) -> io::Result<String> {
    match File::open(path) {
        Ok(file) => {
            let mut found = Vec::new();
            file.take(FORMAT_BYTES_MAX).read_to_end(&mut found)?;
            Ok(String::from_utf8_lossy(&found).trim().to_owned())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let format = FORMAT.to_string();
            durable::replace(path, &[format.as_bytes(), b"\n"])?;
            Ok(format)
        }
        Err(error) => Err(error),
    }
}

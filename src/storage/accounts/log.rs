//! The file of accounts: one line each, appended and synced, never rewritten.
//!
//! A line is a CRC-32C in eight hexadecimal digits, a blank, JSON. What a crash left of the last one
//! is cut off at start; a line that was damaged is left where it is, told, and skipped.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::book::Account;
use crate::storage::durable;

/// Longest line that is read, in bytes.
const LINE_BYTES_MAX: usize = 16 << 10;
/// For nobody but the server's user.
const FILE_MODE: u32 = 0o600;

/// Where accounts are written.
pub(super) enum Log {
    /// Nowhere: they end with the process.
    Memory,
    /// In a file.
    File {
        /// Its path.
        path: PathBuf,
        /// At its end.
        file: File,
        /// Bytes of whole lines, all of them synced.
        length: u64,
        /// What could not be taken back is in it: nothing is appended any more.
        broken: bool,
    },
}

impl Log {
    /// Keeps nothing.
    pub(super) fn memory() -> Self {
        Self::Memory
    }

    /// Opens or makes the file; the accounts in it.
    pub(super) fn open(path: PathBuf) -> Result<(Self, Vec<Account>), String> {
        let told = |error: io::Error| format!("{}: {error}", path.display());
        path.parent().map_or(Ok(()), durable::create_directories).map_err(told)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        let mut file = options.open(&path).map_err(told)?;
        durable::sync_directory_of(&path).map_err(told)?;
        let (accounts, length) = read(&path, &file).map_err(told)?;
        let torn = file.metadata().map_err(told)?.len() - length;
        if torn > 0 {
            log::warn!(
                scope = "accounts", event = "torn";
                "{}: {torn} bytes of an account that was never answered for are cut off",
                path.display()
            );
            file.set_len(length).and_then(|()| file.sync_all()).map_err(told)?;
        }
        file.seek(SeekFrom::Start(length)).map_err(told)?;
        Ok((Self::File { path, file, length, broken: false }, accounts))
    }

    /// Appends an account. If that fails, the file is as it was before, or takes no more.
    pub(super) fn append(&mut self, account: &Account) -> io::Result<()> {
        let Self::File { path, file, length, broken } = self else { return Ok(()) };
        let told = |error: io::Error| io::Error::other(format!("{}: {error}", path.display()));
        if *broken {
            return Err(told(io::Error::other(
                "an earlier failure left it in doubt; free disk space if it is full, and restart",
            )));
        }
        let line = line_of(account)?;
        let written = file.write_all(&line).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // A failed sync may have lost the line or not: it goes, or the file is in doubt.
            let undone = file
                .set_len(*length)
                .and_then(|()| file.seek(SeekFrom::Start(*length)))
                .and_then(|_| file.sync_all());
            *broken = undone.is_err();
            return Err(told(error));
        }
        *length += line.len() as u64;
        Ok(())
    }
}

fn line_of(account: &Account) -> io::Result<Vec<u8>> {
    let json = serde_json::to_string(account)?;
    Ok(format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes())).into_bytes())
}

/// The accounts in a file, and how many bytes of it are whole lines.
fn read(path: &Path, file: &File) -> io::Result<(Vec<Account>, u64)> {
    let mut reader = BufReader::new(file);
    let (mut accounts, mut length, mut number) = (Vec::new(), 0, 0_u64);
    let mut line = Vec::new();
    loop {
        line.clear();
        let bytes =
            io::Read::take(&mut reader, LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
        if bytes == 0 {
            return Ok((accounts, length));
        }
        let mut whole = bytes;
        if line.last() != Some(&b'\n') {
            // Longer than any of ours, unless the file ends here.
            whole += reader.skip_until(b'\n')?;
            let ends = length + whole as u64 == file.metadata()?.len();
            if ends && !ends_line(file, length + whole as u64)? {
                return Ok((accounts, length));
            }
        }
        number += 1;
        match account_of(&line) {
            Some(account) => accounts.push(account),
            None => log::error!(
                scope = "accounts", event = "damaged";
                "{}: line {number} is damaged: its account is unknown from now on", path.display()
            ),
        }
        length += whole as u64;
    }
}

/// Whether the byte before `end` ends a line.
fn ends_line(file: &File, end: u64) -> io::Result<bool> {
    let mut last = [0];
    let read = std::os::unix::fs::FileExt::read_at(file, &mut last, end.saturating_sub(1))?;
    Ok(read == 1 && last == *b"\n")
}

fn account_of(line: &[u8]) -> Option<Account> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (checksum, json) = line.split_once(' ')?;
    let checksum = u32::from_str_radix(checksum, 16).ok()?;
    (checksum == crc32c::crc32c(json.as_bytes())).then(|| serde_json::from_str(json).ok())?
}

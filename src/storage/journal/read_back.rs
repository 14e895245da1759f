//! Reading back what one session has recorded in this process.

use std::io;

use crate::codec::journal::{Found, Key, Kind, Place, Scan};
use crate::session::journal::{Entries, Sought};

/// What a session has recorded.
#[derive(Debug)]
pub struct ReadBack {
    /// The session's full name.
    pub name: Box<str>,
    /// Its entries that are kept nowhere else, or why they cannot be had; a text for people.
    pub result: Result<Entries, String>,
}

/// The entries that are sought, all of them, from segments that are written up to `end`.
pub(super) fn read_back(
    key: Key,
    sought: &Sought,
    end: Place,
    read: impl Fn(u32) -> io::Result<Vec<u8>>,
) -> Result<Entries, String> {
    let mut entries = Entries::default();
    for &segment in &sought.segments {
        let mut bytes =
            read(segment).map_err(|error| format!("segment {segment} cannot be read: {error}"))?;
        if segment == end.segment {
            // Behind it the shard may be writing.
            bytes.truncate(end.offset as usize);
        }
        for found in Scan::new(key, &bytes) {
            let Found::Record(record, _) = found else { continue };
            let is_sought = record.kind == Kind::Entry && record.session == sought.session;
            if !is_sought || record.position <= sought.after {
                continue;
            }
            if record.previous > entries.last().max(sought.after) {
                return Err(format!("entry {} is missing in segment {segment}", record.previous));
            }
            entries.push(record.position, record.body);
        }
    }
    if entries.last() == sought.last {
        Ok(entries)
    } else {
        Err(format!("entry {} is missing", sought.last))
    }
}

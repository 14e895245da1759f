//! What comes onto the shelf: rows that were answered or merged, and what clients write of their own
//! accord, if they may.

use std::time::Duration;

use super::Hub;
use super::answer::{self, Form};
use super::ask::{Ask, member};
use super::verdict::ANSWER_ROWS_MAX;
use crate::codec::json::Raw;
use crate::codec::rljson::{Hash, HashError, parse_row, verify};
use crate::protocol::rljson::shelf::{ShelfError, TABLES_MAX};
use crate::protocol::socketio::{AckId, Io, Socket};

/// Refs of each route whose trees are kept when there is no room, if that makes enough.
const KEPT_REFS: [usize; 3] = [16, 4, 1];
/// From a clean-up that made no room to the next.
const CLEAN_AGAIN: Duration = Duration::from_secs(10);
/// What is made room for at once, as a part of all room.
const CLEAN_PART: usize = 16;
const REFUSED: &str = "this server takes no writes";

impl Hub {
    /// Puts a row on the shelf, if there is room. Its hash, which is verified in any case.
    pub(super) fn take_row(
        &mut self,
        table: &str,
        text: &str,
        io: &mut Io<'_, '_>,
    ) -> Result<Hash, HashError> {
        let mut put = self.shelf.put(table, text);
        if put == Err(ShelfError::Full) && self.make_room(text.len(), 0, io) {
            put = self.shelf.put(table, text);
        }
        match put {
            Ok((hash, is_new)) => {
                if is_new {
                    self.record_row(table, text, io);
                }
                Ok(hash)
            }
            Err(ShelfError::Row(error)) => Err(error),
            Err(_) => verify(parse_row(text)?),
        }
    }

    /// Drops what no tree needs. Whether it was worth it.
    pub(super) fn make_room(&mut self, rows: usize, blobs: u64, io: &mut Io<'_, '_>) -> bool {
        if self.clean_at > io.at() {
            return false;
        }
        let before = self.shelf.row_bytes();
        let (row_max, blob_max) = (self.config().row_bytes_max, self.config().blob_bytes_max);
        let rows = if rows == 0 { 0 } else { rows + row_max / CLEAN_PART };
        let blobs = if blobs == 0 { 0 } else { blobs + blob_max / CLEAN_PART as u64 };
        let mut dropped = Vec::new();
        for kept_max in KEPT_REFS {
            let mut roots = Vec::new();
            for (_, lane) in self.lanes.iter() {
                let kept = lane.route.kept(kept_max);
                let own =
                    lane.coming.refs().chain(&kept).filter_map(|reference| Hash::new(reference));
                roots.extend(own.map(|root| (&*lane.table, root)));
            }
            dropped.extend(self.shelf.clean(roots, rows, blobs));
            let is_enough = self.shelf.row_bytes() + rows <= row_max;
            if is_enough && self.shelf.blobs().has_room(blobs) {
                break;
            }
        }
        self.whole.clear();
        let made_room = self.shelf.row_bytes() < before || !dropped.is_empty();
        self.drop_blobs(dropped, io);
        if !made_room {
            self.clean_at = io.at() + CLEAN_AGAIN;
        }
        made_room
    }

    /// A client writes.
    pub(super) fn write(
        &mut self,
        who: (Socket, AckId),
        form: Form,
        ask: Ask<'_>,
        io: &mut Io<'_, '_>,
    ) {
        let may_write = self.peers.get(&who.0).is_some_and(|peer| peer.rights.may_write());
        if !self.config().allow_writes || !may_write {
            return answer::refuse(io, who, form, REFUSED);
        }
        match ask {
            Ask::Write(document) => match self.write_rows(document, io) {
                Ok(()) => answer::succeed(io, who, form, b"null"),
                Err(why) => answer::refuse(io, who, form, &why),
            },
            Ask::Extend(table, kind) => {
                self.learn_kind(&table, &kind, io);
                answer::succeed(io, who, form, b"null");
            }
            Ask::SetBlob(bytes) => self.set_blob(who, bytes, io),
            _ => answer::refuse(io, who, form, REFUSED),
        }
    }

    /// Writes the rows of a document's tables. Those before one that is wrong stay.
    fn write_rows(&mut self, document: Raw<'_>, io: &mut Io<'_, '_>) -> Result<(), String> {
        let mut count = 0;
        for (key, table) in document.fields().filter(|(_, table)| table.is_object()) {
            let name = key.to_string_value().unwrap_or_default();
            let Some(data) = member(Some(table), "_data").filter(|data| data.is_array()) else {
                continue;
            };
            for row in data.elements() {
                count += 1;
                if count > ANSWER_ROWS_MAX {
                    return Err(format!("more than {ANSWER_ROWS_MAX} rows at once"));
                }
                let hash = self.take_row(&name, row.as_str(), io).map_err(|why| why.to_string())?;
                if self.shelf.row(&name, &hash).is_none() {
                    return Err("there is no room".to_owned());
                }
            }
            self.learn(&name, member(Some(table), "_type"), io);
        }
        Ok(())
    }

    /// Learns a table's type, as the first says it.
    pub(super) fn learn_kind(&mut self, table: &str, kind: &str, io: &mut Io<'_, '_>) {
        let is_name =
            (1..=64).contains(&kind.len()) && kind.bytes().all(|b| b.is_ascii_alphanumeric());
        if is_name && self.kinds.len() < TABLES_MAX && !self.kinds.contains_key(table) {
            self.kinds.insert(table.into(), kind.into());
            self.record_kind(table, kind, io);
        }
    }
}

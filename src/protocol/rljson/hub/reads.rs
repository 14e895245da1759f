//! What is answered from the shelf.

use super::answer::{self, Form, Table};
use super::ask::{self, Ask, Misfit};
use super::filter::Filter;
use super::pulls::{Waiter, Want};
use super::{BUSY, Hub, peers};
use crate::codec::json::Raw;
use crate::codec::rljson::{EMPTY_ROOT, EMPTY_ROOT_ROW, Hash, parse_row};
use crate::protocol::socketio::{AckId, Io, Socket, Values};

/// Rows that one search looks at; what lies beyond is not found.
pub(super) const SCAN_ROWS_MAX: usize = 10_000;
/// The same, in bytes.
pub(super) const SCAN_BYTES_MAX: usize = 8 << 20;
/// Bytes of rows in one answer.
pub(super) const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Several rows that a client asked for together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) who: (Socket, AckId),
    pub(super) table: Box<str>,
    pub(super) found: Table,
    /// Rows that are still asked for.
    pub(super) left: usize,
    /// Somebody had a row or said that there is none.
    pub(super) is_known: bool,
}

impl Hub {
    /// Answers a request, at once or when others have.
    pub(super) fn answer(
        &mut self,
        socket: Socket,
        name: &str,
        args: &Values<'_>,
        ack: AckId,
        io: &mut Io<'_, '_>,
    ) {
        let who = (socket, ack);
        let (ask, form) = match ask::read(name, args) {
            Ok(read) => read,
            Err(Misfit::Unknown) => {
                let name = answer::cut(name);
                let text = format!("Method \"{name}\" not found on Io instance");
                return answer::refuse(io, who, Form::Io, &text);
            }
            Err(Misfit::Arguments(form)) => {
                return answer::refuse(io, who, form, &format!("{name}: invalid arguments"));
            }
        };
        match ask {
            Ask::Configs => answer::succeed(io, who, form, b"[]"),
            Ask::Nothing => answer::succeed(io, who, form, b"null"),
            Ask::IsOpen => answer::succeed(io, who, form, b"true"),
            Ask::Rows(table, filter, text) => self.read_rows(who, &table, &filter, text, io),
            Ask::Hashes(table, hashes) => self.read_hashes(who, &table, &hashes, io),
            Ask::TableExists(table) if self.knows(&table) => {
                answer::succeed(io, who, form, b"true");
            }
            Ask::TableExists(table) => self.pull_for(who, form, Want::Table(table), io),
            Ask::ContentType(table) if self.knows(&table) => {
                let mut kind = Vec::new();
                crate::codec::json::write_string(&mut kind, self.kind(&table));
                answer::succeed(io, who, form, &kind);
            }
            Ask::RowCount(table) if self.may_search(socket, &table) && self.knows(&table) => {
                let count = self.shelf.rows(&table).count();
                answer::succeed(io, who, form, count.to_string().as_bytes());
            }
            Ask::ContentType(table) | Ask::RowCount(table) => {
                answer::refuse(io, who, form, &not_found(&table));
            }
            Ask::Blob(..) | Ask::BlobExists(_) | Ask::Properties(_) => {
                self.read_blob(who, &ask, io);
            }
            Ask::NoBlobExists => answer::succeed(io, who, form, b"false"),
            Ask::NoBlob(id) => answer::refuse(io, who, form, &format!("Blob not found: {id}")),
            Ask::List { prefix, max, after } => self.list_blobs(who, &prefix, max, after, io),
            Ask::Write(_) | Ask::Extend(..) | Ask::SetBlob(_) => self.write(who, form, ask, io),
            Ask::Never(why) => answer::refuse(io, who, form, why),
        }
    }

    fn read_rows(
        &mut self,
        who: (Socket, AckId),
        table: &str,
        filter: &Filter,
        text: &str,
        io: &mut Io<'_, '_>,
    ) {
        let mut found = Table::default();
        if let Some(hash) = filter.hash() {
            self.note_read(who.0, table, hash, io);
            let Some(row) = self.shelved(table, &hash) else {
                let want = match filter.is_hash_only() {
                    true => Want::Row(table.into(), hash),
                    false => Want::Rows(table.into(), text.into()),
                };
                return self.pull_for(who, Form::Io, want, io);
            };
            if filter.is_hash_only() || parse_row(row).is_ok_and(|row| filter.fits(row)) {
                found.add(hash, row);
            }
        } else {
            if self.may_search(who.0, table) {
                self.search(table, filter, &mut found);
            }
            if found.is_empty() {
                return self.pull_for(who, Form::Io, Want::Rows(table.into(), text.into()), io);
            }
        }
        self.give_rows(who, table, &found, io);
    }

    /// Rows of a table that fit: as far as they are found with bounded work.
    fn search(&self, table: &str, filter: &Filter, found: &mut Table) {
        let mut bytes = 0;
        for (hash, text) in self.shelf.rows(table).take(SCAN_ROWS_MAX) {
            bytes += text.len();
            if bytes > SCAN_BYTES_MAX {
                return;
            }
            if parse_row(text).is_ok_and(|row| filter.fits(row)) {
                found.add(*hash, text);
            }
        }
    }

    /// A row that need not be asked for.
    pub(super) fn shelved(&mut self, table: &str, hash: &Hash) -> Option<&str> {
        let known = (*hash == EMPTY_ROOT).then_some(EMPTY_ROOT_ROW);
        self.shelf.use_row(table, hash).or(known)
    }

    fn read_hashes(
        &mut self,
        who: (Socket, AckId),
        table: &str,
        hashes: &[Hash],
        io: &mut Io<'_, '_>,
    ) {
        let mut found = Table::default();
        let mut missing = Vec::new();
        for hash in hashes {
            self.note_read(who.0, table, *hash, io);
            match self.shelved(table, hash) {
                Some(row) => found.add(*hash, row),
                None => missing.push(*hash),
            }
            if found.bytes() > ANSWER_BYTES_MAX {
                return answer::refuse(io, who, Form::Io, "too many bytes for one answer");
            }
        }
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return self.give_rows(who, table, &found, io);
        }
        if !self.may_wait(who.0) {
            return answer::refuse(io, who, Form::Io, BUSY);
        }
        let number = self.next_group;
        self.next_group += 1;
        self.count_waiting(who.0);
        let is_known = !found.is_empty();
        let left = missing.len();
        let group = Group { who, table: table.into(), found, left, is_known };
        self.groups.insert(number, group);
        for hash in missing {
            let want = Want::Row(table.into(), hash);
            if !self.pull(who.0, want, Waiter::Group(who.0, number), io) {
                self.group_missed(number, false, io);
            }
        }
    }

    /// One of several rows was found.
    pub(super) fn group_found(&mut self, number: u64, hash: Hash, row: &str, io: &mut Io<'_, '_>) {
        if let Some(group) = self.groups.get_mut(&number) {
            group.is_known = true;
            if group.found.bytes() + row.len() <= ANSWER_BYTES_MAX {
                group.found.add(hash, row);
            }
            group.left -= 1;
        }
        self.end_group(number, io);
    }

    /// One of several rows was not found.
    pub(super) fn group_missed(&mut self, number: u64, is_empty: bool, io: &mut Io<'_, '_>) {
        if let Some(group) = self.groups.get_mut(&number) {
            group.is_known |= is_empty;
            group.left -= 1;
        }
        self.end_group(number, io);
    }

    fn end_group(&mut self, number: u64, io: &mut Io<'_, '_>) {
        if self.groups.get(&number).is_none_or(|group| group.left > 0) {
            return;
        }
        let Some(group) = self.groups.remove(&number) else { return };
        self.waited(group.who.0);
        if group.is_known || self.knows(&group.table) {
            self.give_rows(group.who, &group.table, &group.found, io);
        } else {
            answer::refuse(io, group.who, Form::Io, &not_found(&group.table));
        }
    }

    pub(super) fn give_rows(
        &self,
        who: (Socket, AckId),
        table: &str,
        rows: &Table,
        io: &mut Io<'_, '_>,
    ) {
        answer::succeed(io, who, Form::Io, &rows.write(table, self.kind(table)));
    }

    /// Whether there is a table, as far as the hub knows.
    pub(super) fn knows(&self, table: &str) -> bool {
        self.shelf.has_table(table)
            || self.kinds.contains_key(table)
            || self.lanes.iter().any(|(_, lane)| *lane.table == *table)
    }

    /// The type of a table: what was told, or what its name tells.
    pub(super) fn kind(&self, table: &str) -> &str {
        let default = if table.ends_with("InsertHistory") { "insertHistory" } else { "trees" };
        self.kinds.get(table).map_or(default, |kind| kind)
    }

    /// Whether a client may look for rows of a table whose hashes it does not know.
    fn may_search(&self, socket: Socket, table: &str) -> bool {
        let Some(peer) = self.peers.get(&socket) else { return false };
        let mut lanes = peer.lanes.iter().filter_map(|lane| self.lanes.get(*lane));
        lanes.any(|lane| {
            let rest = table.strip_prefix(&*lane.table);
            rest.is_some_and(|rest| rest.is_empty() || rest == "InsertHistory")
        })
    }

    /// A client asks for a row: if it is a tree's root, it may put that tree in the place of its own.
    fn note_read(&mut self, socket: Socket, table: &str, hash: Hash, io: &mut Io<'_, '_>) {
        let Some(peer) = self.peers.get(&socket) else { return };
        for id in peer.lanes.clone() {
            if let Some(lane) = self.lanes.get_mut(id)
                && *lane.table == *table
            {
                lane.route.read(socket, hash, io.at());
                self.say(id, io);
            }
        }
    }

    /// Whether one more request of a client may wait.
    pub(super) fn may_wait(&self, socket: Socket) -> bool {
        self.peers.get(&socket).is_some_and(|peer| peer.waiting < peers::WAITING_MAX)
    }

    pub(super) fn count_waiting(&mut self, socket: Socket) {
        if let Some(peer) = self.peers.get_mut(&socket) {
            peer.waiting += 1;
        }
    }

    /// A request of a client was answered.
    pub(super) fn waited(&mut self, socket: Socket) {
        if let Some(peer) = self.peers.get_mut(&socket) {
            peer.waiting = peer.waiting.saturating_sub(1);
        }
    }

    /// Learns a table's type, as the first says it who has it.
    pub(super) fn learn(&mut self, table: &str, kind: Option<Raw<'_>>, io: &mut Io<'_, '_>) {
        let Some(kind) = kind.and_then(Raw::to_string_value) else { return };
        self.learn_kind(table, &kind, io);
    }
}

/// What clients look for in the text.
pub(super) fn not_found(table: &str) -> String {
    format!("Table \"{table}\" not found")
}

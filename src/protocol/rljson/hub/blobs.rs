//! Blobs that are on disk: what is told of them, and how they are read for clients.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::answer::{self, Form};
use super::ask::{Ask, member, number};
use super::fetch::{Fetch, Needed, Reader};
use super::fill::FillId;
use super::pulls::Want;
use super::{BUSY, Hub};
use crate::codec::date::parse_rfc3339;
use crate::codec::json::Raw;
use crate::codec::rljson::{Hash, Identity, Row};
use crate::protocol::rljson::shelf::RANGE_BYTES_MAX;
use crate::protocol::socketio::{AckId, Io, Socket};
use crate::session::Instant;
use crate::session::blobs::{BlobDone, BlobError};

/// Blobs, or ranges of them, that are read at once; others wait.
const READS_MAX: usize = 8;
/// Rows of trees that one list of blobs looks at.
const LIST_ROWS_MAX: usize = 20_000;

/// How long a blob is, and since when it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Properties {
    /// In bytes.
    pub(super) size: u64,
    /// In milliseconds since the Unix epoch.
    pub(super) created_ms: u64,
}

impl Properties {
    /// What a client tells of a blob of this id; none if it is another's, or has no size.
    pub(super) fn read(said: Option<Raw<'_>>, id: &Hash, now_ms: u64) -> Option<Self> {
        let is_own = member(said, "blobId").is_some_and(|own| own.is_string_of(id.as_str()));
        let size = number(member(said, "size")).filter(|_| is_own)?;
        let created = member(said, "createdAt").and_then(Raw::to_string_value);
        let created_ms = created.and_then(|text| parse_rfc3339(&text));
        Some(Self { size, created_ms: created_ms.unwrap_or(now_ms) })
    }
}

/// A range of a blob that is being read for clients.
#[derive(Debug)]
struct Read {
    id: Hash,
    properties: Properties,
    start: u64,
    end: u64,
    bytes: Vec<u8>,
    readers: Vec<(Socket, AckId)>,
}

/// Blobs on their way to and from the disk.
#[derive(Debug, Default)]
pub(super) struct Store {
    tickets: u32,
    /// What is read, by the ticket of its next part.
    reads: BTreeMap<u32, Read>,
    /// What is to be read next.
    ahead: VecDeque<Read>,
    /// What is fetched from clients.
    pub(super) fetches: BTreeMap<Hash, Fetch>,
    /// Clients whose blobs are to be fetched when there is room: requests of each are bounded.
    pub(super) waiting: VecDeque<(Hash, Reader)>,
    /// What is to be fetched next, after those, for trees.
    pub(super) needed: Needed,
    /// The trees that wait for each blob.
    pub(super) awaited: BTreeMap<Hash, Vec<FillId>>,
    /// The disk does not take blobs: until when none is fetched for trees.
    pub(super) put_off_until: Option<Instant>,
    /// What is being written, by ticket.
    pub(super) writes: BTreeMap<u32, Hash>,
    /// The last that was written was not taken.
    pub(super) is_failing: bool,
}

impl Store {
    pub(super) fn next_ticket(&mut self) -> u32 {
        self.tickets = self.tickets.wrapping_add(1);
        self.tickets
    }

    /// A client is gone.
    pub(super) fn leave(&mut self, who: Socket) {
        let reads = self.reads.values_mut().chain(&mut self.ahead);
        reads.for_each(|read| read.readers.retain(|(socket, _)| *socket != who));
        self.ahead.retain(|read| !read.readers.is_empty());
        self.waiting.retain(|(_, reader)| reader.who.0 != who);
        for fetch in self.fetches.values_mut() {
            fetch.readers.retain(|reader| reader.who.0 != who);
        }
    }
}

impl Hub {
    /// Answers what is asked of one blob.
    pub(super) fn read_blob(&mut self, who: (Socket, AckId), ask: &Ask<'_>, io: &mut Io<'_, '_>) {
        let (Ask::Blob(id, _) | Ask::BlobExists(id) | Ask::Properties(id)) = *ask else { return };
        let known = self.shelf.blobs().use_blob(&id);
        let known = known.map(|(size, created_ms)| Properties { size, created_ms });
        match (ask, known) {
            (Ask::BlobExists(_), Some(_)) => answer::succeed(io, who, Form::Bs, b"true"),
            (Ask::BlobExists(_), None) => self.pull_for(who, Form::Bs, Want::BlobExists(id), io),
            (Ask::Properties(_), Some(properties)) => {
                let mut out = Vec::new();
                answer::write_properties(&mut out, &id, properties);
                answer::succeed(io, who, Form::Bs, &out);
            }
            (Ask::Properties(_), None) => self.pull_for(who, Form::Bs, Want::Properties(id), io),
            _ if !self.may_wait(who.0) => answer::refuse(io, who, Form::Bs, BUSY),
            (Ask::Blob(_, range), known) => {
                self.count_waiting(who.0);
                let reader = Reader { who, range: *range };
                match known {
                    Some(properties) => self.read(reader, id, properties, io),
                    None => self.fetch_for(reader, id, io),
                }
            }
            _ => {}
        }
    }

    /// Reads a blob that is on disk.
    pub(super) fn read(
        &mut self,
        reader: Reader,
        id: Hash,
        properties: Properties,
        io: &mut Io<'_, '_>,
    ) {
        let (start, end) = reader.within(properties.size);
        let who = reader.who;
        if start == end {
            return self.give_part(&[who], &id, properties, &[], io);
        }
        if end - start > self.config().message_bytes_max as u64 {
            let text = "a blob of this size is had by ranges only";
            self.waited(who.0);
            return answer::refuse(io, who, Form::Bs, text);
        }
        let all = self.blobs.reads.values_mut().chain(&mut self.blobs.ahead);
        let is_same = |read: &&mut Read| (read.id, read.start, read.end) == (id, start, end);
        let mut same = all.filter(is_same);
        if let Some(read) = same.next() {
            return read.readers.push(who);
        }
        let read = Read { id, properties, start, end, bytes: Vec::new(), readers: vec![who] };
        self.blobs.ahead.push_back(read);
        self.read_on(io);
    }

    /// Reads what is to be read, as far as it may be at once.
    fn read_on(&mut self, io: &mut Io<'_, '_>) {
        while self.blobs.reads.len() < READS_MAX
            && let Some(read) = self.blobs.ahead.pop_front()
        {
            let ticket = self.blobs.next_ticket();
            let from = read.start + read.bytes.len() as u64;
            let to = read.end.min(from + RANGE_BYTES_MAX as u64);
            io.fx.read_blob(ticket, read.id.as_str(), from..to);
            self.blobs.reads.insert(ticket, read);
        }
    }

    /// What became of a request to the disk.
    pub(super) fn take_blob(
        &mut self,
        ticket: u32,
        result: Result<BlobDone, BlobError>,
        io: &mut Io<'_, '_>,
    ) {
        if let Some(id) = self.blobs.writes.remove(&ticket) {
            return self.take_written(id, result, io);
        }
        let Some(mut read) = self.blobs.reads.remove(&ticket) else { return };
        match result {
            Ok(BlobDone::Read(bytes)) if !bytes.is_empty() => {
                read.bytes.extend_from_slice(&bytes);
                if read.start + read.bytes.len() as u64 >= read.end {
                    self.give_part(&read.readers, &read.id, read.properties, &read.bytes, io);
                } else {
                    self.blobs.ahead.push_front(read);
                }
            }
            Ok(_) | Err(BlobError::NotFound) => self.lost(read, io),
            Err(why) => self.fail_readers(&read.readers, &format!("{}: {why}", read.id), io),
        }
        self.read_on(io);
    }

    /// A blob is not on disk after all, or shorter: it is had from clients, if from anybody.
    fn lost(&mut self, read: Read, io: &mut Io<'_, '_>) {
        io.fx.counters.storage_errors.increment();
        self.shelf.blobs().forget(&read.id);
        self.whole.clear();
        for who in read.readers {
            let range = Some((read.start, read.end));
            self.fetch_for(Reader { who, range }, read.id, io);
        }
    }

    /// Gives clients a range of a blob.
    pub(super) fn give_part(
        &mut self,
        readers: &[(Socket, AckId)],
        id: &Hash,
        properties: Properties,
        part: &[u8],
        io: &mut Io<'_, '_>,
    ) {
        for who in readers {
            self.waited(who.0);
            answer::give_blob(io, *who, id, properties, part);
        }
    }

    /// Tells clients that a blob cannot be had.
    pub(super) fn fail_readers(
        &mut self,
        readers: &[(Socket, AckId)],
        why: &str,
        io: &mut Io<'_, '_>,
    ) {
        for who in readers {
            self.waited(who.0);
            answer::refuse(io, *who, Form::Bs, why);
        }
    }

    /// Lists blobs of the latest trees on the client's routes, by id.
    pub(super) fn list_blobs(
        &mut self,
        who: (Socket, AckId),
        prefix: &str,
        max: usize,
        after: Option<Hash>,
        io: &mut Io<'_, '_>,
    ) {
        let all = self.blobs_of(who.0);
        let listed = all.into_iter().filter(|id| id.as_str().starts_with(prefix));
        let mut listed = listed.filter(|id| Some(*id) > after).peekable();
        let mut out = b"{\"blobs\":[".to_vec();
        let mut last = None;
        for id in listed.by_ref().take(max) {
            let Some((size, created_ms)) = self.shelf.blobs().use_blob(&id) else { continue };
            if last.is_some() {
                out.push(b',');
            }
            answer::write_properties(&mut out, &id, Properties { size, created_ms });
            last = Some(id);
        }
        out.push(b']');
        if let (Some(last), true) = (last, listed.peek().is_some()) {
            out.extend_from_slice(format!(",\"continuationToken\":\"{last}\"").as_bytes());
        }
        out.push(b'}');
        answer::succeed(io, who, Form::Bs, &out);
    }

    /// Blobs of the latest trees on a client's routes, as far as they are there.
    fn blobs_of(&mut self, socket: Socket) -> BTreeSet<Hash> {
        let lanes = self.peers.get(&socket).map(|peer| peer.lanes.clone()).unwrap_or_default();
        let (mut blobs, mut rows) = (BTreeSet::new(), 0);
        for lane in lanes.iter().filter_map(|lane| self.lanes.get(*lane)) {
            let root = lane.route.latest().and_then(|latest| Hash::new(latest));
            let mut ahead: Vec<Hash> = root.into_iter().collect();
            while let Some(hash) = ahead.pop()
                && rows < LIST_ROWS_MAX
            {
                rows += 1;
                let text = self.shelf.row(&lane.table, &hash);
                let Some(row) = text.and_then(|text| Row::read(hash, text).ok()) else { continue };
                ahead.extend(row.children());
                if let Identity::Content(blob) = row.identity() {
                    blobs.insert(blob);
                }
            }
        }
        blobs.retain(|blob| self.shelf.blobs().has(blob));
        blobs
    }

    /// Blobs were dropped from the shelf.
    pub(super) fn drop_blobs(&mut self, dropped: Vec<Hash>, io: &mut Io<'_, '_>) {
        dropped.iter().for_each(|blob| io.fx.remove_blob(blob.as_str()));
    }
}

//! Blobs on their way from clients to the disk: range by range, verified as a whole, and only then
//! given to anybody. So no client is asked for more than it may send at once, and nobody is given what
//! another made up.

use smallvec::smallvec;

use super::Hub;
use super::answer::{self, Form};
use super::blobs::Properties;
use super::lanes::LaneId;
use super::pulls::{Scope, Waiter, Want};
use crate::codec::rljson::{Hash, blob_id};
use crate::protocol::rljson::shelf::{Incoming, RANGE_BYTES_MAX, Shelf};
use crate::protocol::socketio::{AckId, Io, Socket};
use crate::session::blobs::{BLOB_WRITES_MAX, BlobDone, BlobError};

/// Blobs that are fetched at once though nobody asked for them.
pub(super) const FETCHES_MAX: usize = 4;
/// Blobs that wait for being fetched; those beyond are had when somebody asks for them.
pub(super) const WANTED_MAX: usize = 1 << 16;

/// A client that waits for a blob, or for a range of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader {
    pub(super) who: (Socket, AckId),
    pub(super) range: Option<(u64, u64)>,
}

impl Reader {
    /// The range, in a blob of this size.
    pub(super) fn within(&self, size: u64) -> (u64, u64) {
        let (start, end) = self.range.unwrap_or((0, u64::MAX));
        (start.min(size), end.min(size))
    }
}

/// A blob that is to be fetched.
#[derive(Debug)]
pub(super) struct Wanted {
    id: Hash,
    lane: LaneId,
    from: Option<Socket>,
}

/// A blob that is being fetched.
#[derive(Debug)]
pub(super) struct Fetch {
    scope: Scope,
    from: Option<Socket>,
    properties: Properties,
    /// None until its first bytes have come, and when all have.
    incoming: Option<Incoming>,
    /// Clients that wait for it.
    pub(super) readers: Vec<Reader>,
    /// The client that wrote it of its own accord.
    writer: Option<(Socket, AckId)>,
}

impl Fetch {
    fn new(scope: Scope, from: Option<Socket>) -> Self {
        let properties = Properties { size: 0, created_ms: 0 };
        Self { scope, from, properties, incoming: None, readers: Vec::new(), writer: None }
    }

    /// Whether a client waits for it.
    pub(super) fn is_for(&self, socket: Socket) -> bool {
        self.readers.iter().any(|reader| reader.who.0 == socket)
    }
}

impl Hub {
    /// What a client may be asked for at once: also as text, when it polls.
    fn range_max(&self) -> u64 {
        (self.config().message_bytes_max / 2).min(RANGE_BYTES_MAX) as u64
    }

    /// A tree needs a blob.
    pub(super) fn want_blob(&mut self, lane: LaneId, id: Hash, from: Option<Socket>) {
        let is_there = self.shelf.blobs().has(&id) || self.blobs.fetches.contains_key(&id);
        if !is_there && self.blobs.wanted.len() < WANTED_MAX && self.blobs.is_wanted.insert(id) {
            self.blobs.wanted.push_back(Wanted { id, lane, from });
        }
    }

    /// A client wants a blob that is not there.
    pub(super) fn fetch_for(&mut self, reader: Reader, id: Hash, io: &mut Io<'_, '_>) {
        if let Some(fetch) = self.blobs.fetches.get_mut(&id) {
            return fetch.readers.push(reader);
        }
        if self.blobs.fetches.len() >= BLOB_WRITES_MAX {
            return self.blobs.waiting.push_back((id, reader));
        }
        let peer = self.peers.get(&reader.who.0);
        let scope = peer.map(super::Peer::scope).unwrap_or_default();
        let mut fetch = Fetch::new(scope, None);
        fetch.readers.push(reader);
        self.blobs.fetches.insert(id, fetch);
        self.fetch_on(id, 0, io);
    }

    /// Whether a client or a tree needs a blob that can be fetched now.
    pub(super) fn fetches_more(&self) -> bool {
        let fetches = self.blobs.fetches.len();
        !self.blobs.waiting.is_empty() && fetches < BLOB_WRITES_MAX
            || !self.blobs.wanted.is_empty() && fetches < FETCHES_MAX
    }

    /// Fetches what clients wait for, then what trees need, as far as it may be at once.
    pub(super) fn fetch_wanted(&mut self, io: &mut Io<'_, '_>) {
        while self.blobs.fetches.len() < BLOB_WRITES_MAX
            && let Some((id, reader)) = self.blobs.waiting.pop_front()
        {
            match self.shelf.blobs().use_blob(&id) {
                Some((size, created_ms)) => {
                    self.read(reader, id, Properties { size, created_ms }, io);
                }
                None => self.fetch_for(reader, id, io),
            }
        }
        while self.blobs.fetches.len() < FETCHES_MAX
            && let Some(Wanted { id, lane, from }) = self.blobs.wanted.pop_front()
        {
            self.blobs.is_wanted.remove(&id);
            // Somebody may have asked for it meanwhile.
            if !self.shelf.blobs().has(&id) && !self.blobs.fetches.contains_key(&id) {
                self.blobs.fetches.insert(id, Fetch::new(smallvec![lane], from));
                self.fetch_on(id, 0, io);
            }
        }
    }

    /// Asks for the next range of a blob.
    fn fetch_on(&mut self, id: Hash, start: u64, io: &mut Io<'_, '_>) {
        let Some(fetch) = self.blobs.fetches.get(&id) else { return };
        let (scope, from) = (fetch.scope.clone(), fetch.from);
        let want = Want::Blob(id, (start, start + self.range_max()));
        if !self.pull_from(scope, from, want, Waiter::Fetch(id), io) {
            self.fetch_missed(id, io);
        }
    }

    /// A range of a blob has come.
    pub(super) fn fetched(
        &mut self,
        id: Hash,
        properties: Properties,
        bytes: &[u8],
        io: &mut Io<'_, '_>,
    ) {
        let Some(fetch) = self.blobs.fetches.get_mut(&id) else { return };
        let is_first = fetch.incoming.is_none();
        let incoming = match fetch.incoming.take() {
            Some(incoming) => Ok(incoming),
            None => Incoming::new(id, properties.size),
        };
        if is_first {
            fetch.properties = properties;
        }
        let taken = incoming.and_then(|mut incoming| {
            incoming.push(bytes)?;
            Ok(incoming)
        });
        let incoming = match taken {
            Ok(incoming) if incoming.next_range().is_none() || !bytes.is_empty() => incoming,
            _ => return self.reject(id, io),
        };
        let size = fetch.properties.size;
        let is_whole = incoming.next_range().is_none();
        if is_whole {
            if incoming.finish().is_err() {
                return self.reject(id, io);
            }
            if is_first {
                self.give_fetched(id, bytes, io);
            }
        } else if let Some(fetch) = self.blobs.fetches.get_mut(&id) {
            fetch.incoming = Some(incoming);
        }
        if is_first && !self.has_room(size, io) {
            return self.fetch_missed(id, io);
        }
        self.write_part(id, bytes.to_vec(), is_whole, io);
    }

    fn has_room(&mut self, size: u64, io: &mut Io<'_, '_>) -> bool {
        self.shelf.blobs().has_room(size)
            || self.make_room(0, size, io) && self.shelf.blobs().has_room(size)
    }

    fn write_part(&mut self, id: Hash, bytes: Vec<u8>, is_last: bool, io: &mut Io<'_, '_>) {
        let ticket = self.blobs.next_ticket();
        self.blobs.writes.insert(ticket, id);
        io.fx.write_blob(ticket, id.as_str(), bytes);
        if is_last {
            let ticket = self.blobs.next_ticket();
            self.blobs.writes.insert(ticket, id);
            io.fx.commit_blob(ticket, id.as_str());
        }
    }

    /// What came is another blob's.
    fn reject(&mut self, id: Hash, io: &mut Io<'_, '_>) {
        io.fx.counters.rljson_rubbish.increment();
        self.fetch_missed(id, io);
    }

    /// A small blob is there, though not yet on disk.
    fn give_fetched(&mut self, id: Hash, bytes: &[u8], io: &mut Io<'_, '_>) {
        let Some(fetch) = self.blobs.fetches.get_mut(&id) else { return };
        let (readers, properties) = (std::mem::take(&mut fetch.readers), fetch.properties);
        for reader in readers {
            let (start, end) = reader.within(properties.size);
            let part = bytes.get(start as usize..end as usize).unwrap_or_default();
            self.give_part(&[reader.who], &id, properties, part, io);
        }
    }

    /// A blob cannot be had, or not be kept.
    pub(super) fn fetch_missed(&mut self, id: Hash, io: &mut Io<'_, '_>) {
        let Some(fetch) = self.blobs.fetches.remove(&id) else { return };
        let before = self.blobs.writes.len();
        self.blobs.writes.retain(|_, own| *own != id);
        if before > self.blobs.writes.len() || fetch.incoming.is_some() {
            io.fx.abort_blob(id.as_str());
        }
        // The trees that need it are not there as a whole.
        self.whole.clear();
        let readers: Vec<(Socket, AckId)> =
            fetch.readers.iter().map(|reader| reader.who).chain(fetch.writer).collect();
        self.fail_readers(&readers, &format!("Blob not found: {id}"), io);
    }

    /// A part of a blob was written, or all of it is on disk.
    pub(super) fn take_written(
        &mut self,
        id: Hash,
        result: Result<BlobDone, BlobError>,
        io: &mut Io<'_, '_>,
    ) {
        match result {
            Ok(BlobDone::Committed) => self.committed(id, io),
            Ok(_) => {
                let fetch = self.blobs.fetches.get(&id);
                let next = fetch.and_then(|fetch| fetch.incoming.as_ref()?.next_range());
                if let Some(range) = next {
                    self.fetch_on(id, range.start, io);
                }
            }
            Err(why) => {
                log::warn!(
                    target: "rljson", scope = "session", event = "blob-not-kept";
                    "blob {id} is not kept: {why}"
                );
                self.blobs.writes.retain(|_, own| *own != id);
                self.fetch_missed(id, io);
            }
        }
    }

    fn committed(&mut self, id: Hash, io: &mut Io<'_, '_>) {
        let Some(fetch) = self.blobs.fetches.remove(&id) else { return };
        let Properties { size, created_ms } = fetch.properties;
        self.shelf.blobs().put(id, size, created_ms);
        self.record_blob(&id, size, created_ms, io);
        for reader in fetch.readers {
            self.read(reader, id, fetch.properties, io);
        }
        if let Some(writer) = fetch.writer {
            self.waited(writer.0);
            answer_properties(writer, &id, fetch.properties, io);
        }
    }

    /// A client writes a blob.
    pub(super) fn set_blob(&mut self, who: (Socket, AckId), bytes: &[u8], io: &mut Io<'_, '_>) {
        let id = blob_id(bytes);
        if let Some((size, created_ms)) = self.shelf.blobs().use_blob(&id) {
            return answer_properties(who, &id, Properties { size, created_ms }, io);
        }
        let is_busy = self.blobs.fetches.contains_key(&id)
            || self.blobs.fetches.len() >= BLOB_WRITES_MAX
            || !self.may_wait(who.0);
        if is_busy || !self.has_room(bytes.len() as u64, io) {
            return answer::refuse(io, who, Form::Bs, "no room for a blob now");
        }
        self.count_waiting(who.0);
        let created_ms = io.fx.now.wall_ms;
        let properties = Properties { size: bytes.len() as u64, created_ms };
        let fetch = Fetch { properties, writer: Some(who), ..Fetch::new(Scope::new(), None) };
        self.blobs.fetches.insert(id, fetch);
        self.write_part(id, bytes.to_vec(), true, io);
    }

    fn record_blob(&mut self, id: &Hash, size: u64, created_ms: u64, io: &mut Io<'_, '_>) {
        self.entry.clear();
        Shelf::write_blob_entry(&mut self.entry, id, size, created_ms);
        self.record(io);
    }
}

fn answer_properties(who: (Socket, AckId), id: &Hash, properties: Properties, io: &mut Io<'_, '_>) {
    let mut out = Vec::new();
    answer::write_properties(&mut out, id, properties);
    answer::succeed(io, who, Form::Bs, &out);
}

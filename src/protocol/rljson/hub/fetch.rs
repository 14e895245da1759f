//! Blobs on their way from clients to the disk: range by range, verified as a whole, and only then
//! given to anybody. So no client is asked for more than it may send at once, and nobody is given what
//! another made up.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::Hub;
use super::answer::{self, Form};
use super::blobs::Properties;
use super::fill::FillId;
use super::pulls::{Scope, Waiter, Want};
use crate::codec::rljson::{Hash, blob_id};
use crate::protocol::rljson::shelf::{Incoming, RANGE_BYTES_MAX, Shelf};
use crate::protocol::socketio::{AckId, Io, Socket};
use crate::session::blobs::{BLOB_WRITES_MAX, BlobDone, BlobError};

/// Blobs that are fetched for trees at once: the rest of [`BLOB_WRITES_MAX`] is for who waits for one.
pub(super) const FETCHES_MAX: usize = 12;
/// Those that one client is asked for, so that a slow one delays no other.
pub(super) const FETCHES_OF_CLIENT_MAX: usize = 3;
/// Blobs that wait for being fetched; those beyond are had when somebody asks for them.
pub(super) const WANTED_MAX: usize = 1 << 16;

/// From a blob's not being taken by the disk, which may pass, to fetching for trees again.
pub(super) const FETCH_AGAIN: Duration = Duration::from_millis(500);

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

/// What becomes of a blob that a tree needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    There,
    Comes,
    /// Too many are wanted.
    NoRoom,
}

/// Why a blob did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    /// Nobody has it.
    Lost,
    /// Nobody gave it, and somebody did not answer in time.
    Late,
    /// There is no room for it.
    Unkept,
    /// It cannot be kept now: the disk failed, or has too much to do.
    PutOff,
}

/// Blobs that trees need, and that are to be fetched: from each client in turn.
#[derive(Debug, Default)]
pub(super) struct Needed {
    ahead: BTreeMap<Socket, VecDeque<(Hash, Scope)>>,
    all: BTreeSet<Hash>,
    last: Option<Socket>,
}

impl Needed {
    /// Whether there is room.
    fn push(&mut self, id: Hash, scope: &Scope, from: Socket) -> bool {
        if self.all.len() >= WANTED_MAX {
            return self.all.contains(&id);
        }
        if self.all.insert(id) {
            self.ahead.entry(from).or_default().push_back((id, scope.clone()));
        }
        true
    }

    /// A client is gone: what was to be fetched from it.
    fn leave(&mut self, gone: Socket) -> Vec<Hash> {
        let ahead = self.ahead.remove(&gone).unwrap_or_default();
        let ids: Vec<Hash> = ahead.into_iter().map(|(id, _)| id).collect();
        self.all.retain(|id| !ids.contains(id));
        ids
    }

    /// The next of a client that may be asked.
    fn next(&self, may_ask: impl Fn(Socket) -> bool) -> Option<Socket> {
        let is_later = |from: &Socket| Some(*from) > self.last;
        let clients = || self.ahead.keys().copied();
        let later = clients().filter(is_later);
        later.chain(clients().filter(|from| !is_later(from))).find(|from| may_ask(*from))
    }

    fn pop(&mut self, from: Socket) -> Option<(Hash, Scope)> {
        let queue = self.ahead.get_mut(&from)?;
        let next = queue.pop_front();
        if queue.is_empty() {
            self.ahead.remove(&from);
        }
        self.last = Some(from);
        if let Some((id, _)) = next {
            self.all.remove(&id);
        }
        next
    }
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
    pub(super) fn want_blob(
        &mut self,
        fill: FillId,
        id: Hash,
        from: Socket,
        scope: &Scope,
    ) -> Wanted {
        if self.shelf.blobs().has(&id) {
            return Wanted::There;
        }
        let comes = self.blobs.fetches.contains_key(&id) || self.blobs.needed.push(id, scope, from);
        if !comes {
            return Wanted::NoRoom;
        }
        self.blobs.awaited.entry(id).or_default().push(fill);
        Wanted::Comes
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
        let has_room = self.blobs.fetches.len() < BLOB_WRITES_MAX;
        has_room && !self.blobs.waiting.is_empty() || self.next_needed().is_some()
    }

    /// Whose blob is fetched next, of those that trees need.
    fn next_needed(&self) -> Option<Socket> {
        if self.blobs.put_off_until.is_some() || self.blobs.fetches.len() >= FETCHES_MAX {
            return None;
        }
        let under_way = |from: Socket| {
            self.blobs.fetches.values().filter(|fetch| fetch.from == Some(from)).count()
        };
        self.blobs.needed.next(|from| under_way(from) < FETCHES_OF_CLIENT_MAX)
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
        while let Some(from) = self.next_needed()
            && let Some((id, scope)) = self.blobs.needed.pop(from)
        {
            // Somebody may have asked for it meanwhile.
            if self.shelf.blobs().has(&id) {
                self.fill_blob(id, Ok(()));
            } else if let Entry::Vacant(place) = self.blobs.fetches.entry(id) {
                place.insert(Fetch::new(scope, Some(from)));
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
            self.fetch_missed(id, Missed::PutOff, io);
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
            return self.fetch_missed(id, Missed::Unkept, io);
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
        self.fetch_missed(id, Missed::Lost, io);
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

    /// A client is gone: what was fetched from it for its tree is not had from others. What the trees
    /// of others need as well is fetched from them.
    pub(super) fn stop_fetching(&mut self, gone: Socket, io: &mut Io<'_, '_>) {
        let is_from = |fetch: &Fetch| fetch.from == Some(gone) && fetch.readers.is_empty();
        let fetches = self.blobs.fetches.iter().filter(|(_, fetch)| is_from(fetch));
        let stopped: Vec<Hash> = fetches.map(|(id, _)| *id).collect();
        self.pulls.withdraw(|waiter| matches!(waiter, Waiter::Fetch(id) if stopped.contains(id)));
        for id in &stopped {
            self.forget_fetch(*id, io);
        }
        for id in self.blobs.needed.leave(gone).into_iter().chain(stopped) {
            for fill in self.blobs.awaited.remove(&id).unwrap_or_default() {
                self.want_again(fill, id);
            }
        }
    }

    /// What is fetched of a blob so far is of no use.
    fn forget_fetch(&mut self, id: Hash, io: &mut Io<'_, '_>) -> Option<Fetch> {
        let fetch = self.blobs.fetches.remove(&id)?;
        let before = self.blobs.writes.len();
        self.blobs.writes.retain(|_, own| *own != id);
        if before > self.blobs.writes.len() || fetch.incoming.is_some() {
            io.fx.abort_blob(id.as_str());
        }
        Some(fetch)
    }

    /// A blob cannot be had, or not be kept.
    pub(super) fn fetch_missed(&mut self, id: Hash, why: Missed, io: &mut Io<'_, '_>) {
        let Some(fetch) = self.forget_fetch(id, io) else { return };
        let wanted_again = match why {
            // What one who was asked has not got, others may have who announced it, too.
            Missed::Lost | Missed::Late => self.take_others(id, fetch.from),
            // Nobody is told of a tree that a crash would take back.
            Missed::PutOff if self.durable => self.put_off(id, io),
            Missed::Unkept | Missed::PutOff => Vec::new(),
        };
        self.fill_blob(id, Err(why));
        wanted_again.into_iter().for_each(|fill| self.want_again(fill, id));
        let readers: Vec<(Socket, AckId)> = fetch.readers.iter().map(|reader| reader.who).collect();
        self.fail_readers(&readers, &format!("Blob not found: {id}"), io);
        let writer = fetch.writer.as_slice();
        self.fail_readers(writer, &format!("blob {id} cannot be stored now"), io);
    }

    /// Trees that wait for a blob: nothing is fetched for any for a while.
    fn put_off(&mut self, id: Hash, io: &Io<'_, '_>) -> Vec<FillId> {
        let awaited = self.blobs.awaited.remove(&id).unwrap_or_default();
        if !awaited.is_empty() {
            self.blobs.put_off_until.get_or_insert_with(|| io.at() + FETCH_AGAIN);
        }
        awaited
    }

    /// Trees that wait for a blob, and are fetched from others than this client.
    fn take_others(&mut self, id: Hash, asked: Option<Socket>) -> Vec<FillId> {
        let awaited = self.blobs.awaited.remove(&id).unwrap_or_default();
        let (own, others) = awaited.into_iter().partition(|fill| self.is_filled_from(*fill, asked));
        self.blobs.awaited.insert(id, own);
        others
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
                self.blobs.writes.retain(|_, own| *own != id);
                if !std::mem::replace(&mut self.blobs.is_failing, true) {
                    log::warn!(
                        target: "rljson", scope = "session", event = "blob-not-kept";
                        "blob {id} is not kept, nor may others be until one is: {why}"
                    );
                }
                let missed = match why {
                    BlobError::Failed(_) | BlobError::Busy => Missed::PutOff,
                    _ => Missed::Unkept,
                };
                self.fetch_missed(id, missed, io);
            }
        }
    }

    fn committed(&mut self, id: Hash, io: &mut Io<'_, '_>) {
        let Some(fetch) = self.blobs.fetches.remove(&id) else { return };
        self.blobs.is_failing = false;
        let Properties { size, created_ms } = fetch.properties;
        self.shelf.blobs().put(id, size, created_ms);
        self.record_blob(&id, size, created_ms, io);
        self.fill_blob(id, Ok(()));
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

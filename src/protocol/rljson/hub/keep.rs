//! How the hub is loaded, recovered, recorded and stored.
//!
//! What changes is recorded at once: refs, rows, blobs, types of tables. When the journal has grown
//! long, or some time after the first change, rows are stored in pages, one after another, and then
//! the base: types, routes, and the shelf's index, which names the pages
//! ([`shelf`](crate::protocol::rljson::shelf)).

use std::time::Duration;

use super::Hub;
use super::lanes::{Lane, LaneId};
use crate::codec::json::{self, Raw};
use crate::codec::lib0::{Malformed, Reader, write_varbuf, write_varuint};
use crate::protocol::Loaded;
use crate::protocol::rljson::route::{self, Change, Payload, Route};
use crate::protocol::rljson::shelf::{self, PageId, write_entry};
use crate::protocol::socketio::{AckId, Event, Io, Socket, Values};
use crate::session::Instant;
use crate::session::effects::RecordName;
use crate::session::journal::{Entries, Position};

/// What the journal may have before all is stored anew, in bytes.
const UNSTORED_BYTES_MAX: usize = 32 << 20;
/// What may wait for the stored hub, in bytes, with [`INPUT_BYTES`] for each.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// What an event that waits costs beside its values, in bytes.
const INPUT_BYTES: usize = 64;
/// Pages that are loaded at once.
const PAGES_AT_ONCE: usize = 8;
/// Names the load of the base; there is never more than one.
const BASE: u32 = 1;
/// Names the load of pages; there is never more than one.
const PAGES: u32 = 2;
/// The version of the base.
const VERSION: u64 = 2;
/// Entries of the journal that are not the shelf's own.
const ROUTE: u8 = 16;
const KIND: u8 = 17;
/// A ref is on its way, and a ref is no more.
const COMING: u8 = 18;
const DROPPED: u8 = 19;
const DEPTH_MAX: usize = 128;

/// What is known of what is stored.
#[derive(Debug)]
pub(super) enum Phase {
    /// Nothing yet.
    New,
    /// It was asked for.
    Loading(Box<Waiting>),
    /// All of it.
    Open,
    /// It cannot be read: nobody may announce, so that nothing is stored over it.
    Unavailable,
}

/// What is being stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storing {
    Page(PageId),
    Base,
}

/// What came before the stored hub was there.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    inputs: Vec<Input>,
    bytes: usize,
    /// Up to where entries of the journal are part of the base.
    position: Position,
    /// Pages that were not loaded yet.
    pages: Vec<PageId>,
    /// Those that are being loaded.
    loading: Vec<PageId>,
}

/// Something that waits.
#[derive(Debug)]
enum Input {
    Connect {
        socket: Socket,
        route: Option<Box<str>>,
    },
    /// An event: an array of its name and values.
    Said {
        socket: Socket,
        values: Box<str>,
        ack: Option<AckId>,
    },
}

impl Waiting {
    /// A client connected.
    pub(super) fn connect(&mut self, socket: Socket, route: Option<Box<str>>) {
        self.inputs.push(Input::Connect { socket, route });
    }

    /// A client said something. Whether it may wait; attachments may not.
    pub(super) fn hear(&mut self, socket: Socket, event: &Event<'_>) -> bool {
        let values = event.args.values.clone();
        let bytes: usize = values.clone().map(|value| value.as_str().len() + 1).sum();
        self.bytes += INPUT_BYTES + event.name.as_str().len() + bytes;
        if self.bytes > WAITING_BYTES_MAX || !event.args.attachments.is_empty() {
            return false;
        }
        let mut text = format!("[{}", event.name.as_str());
        values.for_each(|value| text.extend([",", value.as_str()]));
        text.push(']');
        self.inputs.push(Input::Said { socket, values: text.into(), ack: event.ack });
        true
    }

    /// A client has gone.
    pub(super) fn withdraw(&mut self, who: Socket) {
        self.inputs.retain(|input| match input {
            Input::Connect { socket, .. } | Input::Said { socket, .. } => *socket != who,
        });
    }
}

/// Why what is stored cannot be read.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Damage {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Route(#[from] route::StoredError),
    #[error(transparent)]
    Shelf(#[from] shelf::StoredError),
    #[error("a stored hub has version {0}")]
    Version(u64),
}

impl Hub {
    fn base_name(&self) -> RecordName {
        RecordName { namespace: "rljson/hubs", names: vec![self.key.as_ref().to_owned()] }
    }

    fn page_name(&self, page: PageId) -> RecordName {
        let names = vec![self.key.as_ref().to_owned(), page.0.to_string()];
        RecordName { namespace: "rljson/pages", names }
    }

    /// Asks for what is stored, once.
    pub(super) fn load(&mut self, io: &mut Io<'_, '_>) {
        if matches!(self.phase, Phase::New) {
            self.phase = Phase::Loading(Box::default());
            io.fx.load(BASE, vec![self.base_name()]);
        }
    }

    /// Takes on what is stored, part by part.
    pub(super) fn take_loaded(&mut self, ticket: u32, records: Loaded, io: &mut Io<'_, '_>) {
        let records = match records {
            Ok(records) => records,
            Err(why) => return self.fail(&why, io),
        };
        let taken = match ticket {
            BASE => self.take_base(records.into_iter().next().flatten().as_deref()),
            _ => {
                self.take_pages(records, io);
                Ok(())
            }
        };
        if let Err(damage) = taken {
            return self.fail(&damage.to_string(), io);
        }
        let Phase::Loading(waiting) = &mut self.phase else { return };
        let rest = waiting.pages.len().saturating_sub(PAGES_AT_ONCE);
        waiting.loading = waiting.pages.split_off(rest);
        let pages = waiting.loading.clone();
        if !pages.is_empty() {
            let names = pages.into_iter().map(|page| self.page_name(page)).collect();
            return io.fx.load(PAGES, names);
        }
        match self.replay() {
            Ok(()) => self.open(Phase::Open, io),
            Err(damage) => self.fail(&damage.to_string(), io),
        }
    }

    fn take_base(&mut self, base: Option<&[u8]>) -> Result<(), Damage> {
        let Some(base) = base else { return Ok(()) };
        let mut reader = Reader::new(base);
        let version = reader.varuint()?;
        if version != VERSION {
            return Err(Damage::Version(version));
        }
        for _ in 0..reader.count(2)? {
            let (table, kind) = (reader.varstring()?, reader.varstring()?);
            self.kinds.insert(table.into(), kind.into());
        }
        for _ in 0..reader.count(2)? {
            let name = reader.varstring()?;
            let mut route = Route::new(self.config().bootstrap.times());
            let mut stored = Reader::new(reader.varbuf()?);
            route.restore(&mut stored)?;
            let mut lane = Lane::new(name, route);
            for _ in 0..stored.count(1)? {
                lane.restore(Payload::stored(stored.varstring()?)?);
            }
            stored.end()?;
            self.lanes.add(lane);
        }
        let index = self.shelf.read_index(&mut reader)?;
        reader.end()?;
        if let Phase::Loading(waiting) = &mut self.phase {
            (waiting.position, waiting.pages) = (index.position, index.pages);
        }
        Ok(())
    }

    /// Rows that cannot be read are as if they had never come: clients have them.
    fn take_pages(&mut self, records: Vec<Option<Vec<u8>>>, io: &mut Io<'_, '_>) {
        let Phase::Loading(waiting) = &mut self.phase else { return };
        for (page, record) in std::mem::take(&mut waiting.loading).into_iter().zip(records) {
            let why = match record {
                None => "it is not there".to_owned(),
                Some(content) => match self.shelf.read_page(page, &content) {
                    Ok(()) => continue,
                    Err(damage) => damage.to_string(),
                },
            };
            io.fx.counters.storage_errors.increment();
            log::error!(
                target: "rljson", scope = "session", event = "page-lost";
                "rows of page {} of hub {:?} are lost: {why}", page.0, self.key
            );
        }
    }

    /// Applies what was recorded after the base was stored.
    fn replay(&mut self) -> Result<(), Damage> {
        let Phase::Loading(waiting) = &self.phase else { return Ok(()) };
        let position = waiting.position;
        let Some(entries) = self.recovered.take() else { return Ok(()) };
        let result = self.apply_all(&entries, position);
        self.recovered = Some(entries);
        result
    }

    fn apply_all(&mut self, entries: &Entries, position: Position) -> Result<(), Damage> {
        for (_, entry) in entries.after(position) {
            let Some((tag, rest)) = entry.split_first() else { return Err(Malformed::End.into()) };
            let mut reader = Reader::new(rest);
            match *tag {
                ROUTE => {
                    let name = reader.varstring()?;
                    let change = Change::read(&mut reader)?;
                    reader.end()?;
                    if let Some(lane) = self.recorded_lane(name) {
                        let payload = lane.route.apply(&change)?;
                        lane.recorded.remove(payload.reference());
                        lane.coming.taken_up(&payload);
                    }
                }
                COMING => {
                    let (name, payload) = (reader.varstring()?, reader.varstring()?);
                    reader.end()?;
                    let payload = Payload::stored(payload)?;
                    if let Some(lane) = self.recorded_lane(name) {
                        lane.restore(payload);
                    }
                }
                DROPPED => {
                    let (name, reference) = (reader.varstring()?, reader.varstring()?);
                    reader.end()?;
                    if let Some(lane) = self.recorded_lane(name) {
                        lane.recorded.remove(reference);
                        lane.coming.dropped(reference);
                    }
                }
                KIND => {
                    let (table, kind) = (reader.varstring()?, reader.varstring()?);
                    reader.end()?;
                    self.kinds.insert(table.into(), kind.into());
                }
                _ => self.shelf.apply(entry)?,
            }
        }
        Ok(())
    }

    /// The route of this name. What was recorded was within the limit of its time.
    fn recorded_lane(&mut self, name: &str) -> Option<&mut Lane> {
        let id = self.lanes.find(name).unwrap_or_else(|| {
            let route = Route::new(self.config.rljson.bootstrap.times());
            self.lanes.add(Lane::new(name, route))
        });
        self.lanes.get_mut(id)
    }

    fn fail(&mut self, why: &str, io: &mut Io<'_, '_>) {
        io.fx.counters.storage_errors.increment();
        log::error!(
            target: "rljson", scope = "session", event = "load-failed";
            "hub {:?} cannot be read: {why}; nobody may announce refs", self.key
        );
        self.open(Phase::Unavailable, io);
    }

    /// What is stored is there, or will not be: does what has waited for it.
    fn open(&mut self, phase: Phase, io: &mut Io<'_, '_>) {
        if matches!(phase, Phase::Open) && self.recovered.take().is_some() {
            // Also when all was stored: the journal does not know.
            self.keeper.touch(io.at(), Duration::ZERO);
        }
        let Phase::Loading(waiting) = std::mem::replace(&mut self.phase, phase) else { return };
        // Before anything that was said: it is for those who are on its route.
        for input in &waiting.inputs {
            if let Input::Connect { socket, route } = input {
                self.welcome(*socket, route.as_deref(), io);
            }
        }
        for input in waiting.inputs {
            let Input::Said { socket, values, ack } = input else { continue };
            // It was valid when it came.
            let Ok(values) = json::parse(&values, DEPTH_MAX) else { continue };
            let mut values = values.elements();
            let name = values
                .next()
                .map(|name| name.to_string_value().unwrap_or_else(|| Raw::as_str(name).into()));
            let values = Values { values, attachments: &[] };
            self.hear(socket, &name.unwrap_or_default(), &values, ack, io);
        }
    }

    /// Whether refs are taken.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Records what [`Self::entry`] has.
    pub(super) fn record(&mut self, io: &mut Io<'_, '_>) {
        if !self.durable || !self.is_open() {
            return;
        }
        let is_kept = !io.fx.is_read_only();
        if is_kept {
            io.fx.record(&[&self.entry]);
            self.unstored_bytes += self.entry.len();
        } else {
            self.unkept.add();
        }
        let is_urgent = !is_kept || self.unstored_bytes > UNSTORED_BYTES_MAX;
        let delay_ms = if is_urgent { 0 } else { self.config().store_delay_ms };
        self.keeper.touch(io.at(), Duration::from_millis(delay_ms));
    }

    pub(super) fn record_row(&mut self, table: &str, text: &str, io: &mut Io<'_, '_>) {
        self.entry.clear();
        write_entry(&mut self.entry, table, text);
        self.record(io);
    }

    pub(super) fn record_change(&mut self, lane: LaneId, change: &Change, io: &mut Io<'_, '_>) {
        self.entry.clear();
        self.entry.push(ROUTE);
        let name = self.lanes.get(lane).map_or("", |lane| &lane.name);
        write_varbuf(&mut self.entry, name.as_bytes());
        change.write(&mut self.entry);
        self.record(io);
    }

    /// A ref is on its way.
    pub(super) fn record_coming(&mut self, lane: LaneId, payload: &str, io: &mut Io<'_, '_>) {
        self.record_of(COMING, lane, payload, io);
    }

    /// A ref is no more.
    pub(super) fn record_dropped(&mut self, lane: LaneId, reference: &str, io: &mut Io<'_, '_>) {
        self.record_of(DROPPED, lane, reference, io);
    }

    fn record_of(&mut self, tag: u8, lane: LaneId, text: &str, io: &mut Io<'_, '_>) {
        self.entry.clear();
        self.entry.push(tag);
        let name = self.lanes.get(lane).map_or("", |lane| &lane.name);
        write_varbuf(&mut self.entry, name.as_bytes());
        write_varbuf(&mut self.entry, text.as_bytes());
        self.record(io);
    }

    pub(super) fn record_kind(&mut self, table: &str, kind: &str, io: &mut Io<'_, '_>) {
        self.entry.clear();
        self.entry.push(KIND);
        write_varbuf(&mut self.entry, table.as_bytes());
        write_varbuf(&mut self.entry, kind.as_bytes());
        self.record(io);
    }

    fn may_store(&self) -> bool {
        self.durable && self.is_open() && !self.drained
    }

    /// When to store next.
    pub(super) fn store_at(&self) -> Option<Instant> {
        self.keeper.deadline().filter(|_| self.may_store())
    }

    pub(super) fn store_if_due(&mut self, io: &mut Io<'_, '_>) {
        if self.may_store() && self.keeper.begin(io.at()) {
            self.shelf.give_up_pages();
            self.store_on(io);
        }
    }

    /// Stores the next page, or the base when there is none.
    fn store_on(&mut self, io: &mut Io<'_, '_>) {
        match self.shelf.next_page() {
            Some((page, content)) => {
                self.storing = Some(Storing::Page(page));
                io.fx.store(self.page_name(page), content);
            }
            None => self.store_base(io),
        }
    }

    fn store_base(&mut self, io: &mut Io<'_, '_>) {
        let mut base = Vec::new();
        write_varuint(&mut base, VERSION);
        write_varuint(&mut base, self.kinds.len() as u64);
        for (table, kind) in &self.kinds {
            write_varbuf(&mut base, table.as_bytes());
            write_varbuf(&mut base, kind.as_bytes());
        }
        write_varuint(&mut base, self.lanes.len() as u64);
        for (_, lane) in self.lanes.iter() {
            write_varbuf(&mut base, lane.name.as_bytes());
            let mut stored = Vec::new();
            lane.route.write(&mut stored);
            write_varuint(&mut stored, lane.coming.payloads().len() as u64);
            for payload in lane.coming.payloads() {
                write_varbuf(&mut stored, payload.as_bytes());
            }
            write_varbuf(&mut base, &stored);
        }
        self.shelf.write_index(&mut base, io.fx.recorded());
        self.storing = Some(Storing::Base);
        self.unkept.begin();
        io.fx.store_base(self.base_name(), base);
        self.unstored_bytes = 0;
    }

    /// A page or the base was stored, or not.
    pub(super) fn take_stored(&mut self, is_stored: bool, io: &mut Io<'_, '_>) {
        match self.storing.take() {
            Some(Storing::Page(page)) => {
                self.shelf.on_page_stored(page, is_stored);
                if !is_stored {
                    self.keeper.end(false, io.at());
                } else if !self.drained {
                    self.store_on(io);
                }
            }
            Some(Storing::Base) => {
                self.shelf.on_index_stored(is_stored);
                self.keeper.end(is_stored, io.at());
                if is_stored {
                    self.unkept.stored(io.at());
                }
            }
            None => {}
        }
    }

    /// The journal wants to be rid of what it has.
    pub(super) fn checkpoint(&mut self, io: &mut Io<'_, '_>) {
        self.keeper.touch(io.at(), Duration::ZERO);
    }

    /// The process stops. What fits into the base alone is stored; of the rest the journal tells the
    /// next process.
    pub(super) fn store_at_the_end(&mut self, io: &mut Io<'_, '_>) {
        let may_store = self.may_store() && !self.keeper.is_clean() && self.storing.is_none();
        if may_store && !self.shelf.needs_page() {
            self.store_base(io);
        }
        self.drained = true;
    }

    /// Whether nothing is lost if all of this is forgotten, with nobody there.
    pub(super) fn may_be_forgotten(&self) -> bool {
        let is_left = self.peers.is_empty() && self.lingers_until.is_none();
        is_left
            && match self.phase {
                Phase::Open if self.durable => self.keeper.is_clean(),
                Phase::Open => self.lanes.len() == 0,
                Phase::New | Phase::Unavailable => true,
                Phase::Loading(_) => false,
            }
    }
}

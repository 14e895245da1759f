//! How the hub is loaded, and what clients say meanwhile.
//!
//! First the base is read, then the pages that it names, then what the journal has besides
//! ([`super::keep`]).

use std::time::Duration;

use super::Hub;
use super::keep::{COMING, DROPPED, KIND, READS, ROUTE, VERSION};
use super::lanes::Lane;
use crate::codec::json::{self, Raw};
use crate::codec::lib0::{Malformed, Reader};
use crate::protocol::Loaded;
use crate::protocol::rljson::route::{self, Change, Payload, Reads, Route};
use crate::protocol::rljson::shelf::{self, PageId};
use crate::protocol::socketio::{AckId, Event, Io, Socket, Values};
use crate::session::journal::{Entries, Position};

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
const DEPTH_MAX: usize = 128;

/// What is known of what is stored; if it cannot be read nobody may announce.
pub(super) type Phase = crate::protocol::phase::Phase<Box<Waiting>>;

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
            Ok(()) => {
                self.lanes.iter_mut().for_each(Lane::loaded);
                self.open(Phase::Open, io);
            }
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
                        lane.recorded.remove(payload.as_str());
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
                    let (name, payload) = (reader.varstring()?, reader.varstring()?);
                    reader.end()?;
                    if let Some(lane) = self.recorded_lane(name) {
                        lane.recorded.remove(payload);
                        lane.coming.dropped(payload);
                    }
                }
                READS => {
                    let name = reader.varstring()?;
                    let reads = Reads::read(&mut reader)?;
                    reader.end()?;
                    if let Some(lane) = self.recorded_lane(name) {
                        lane.route.apply_reads(reads);
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
}

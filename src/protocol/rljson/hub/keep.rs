//! How the hub is recorded and stored.
//!
//! What changes is recorded at once: refs, who reads them, rows, blobs, types of tables. When the
//! journal has grown long, or some time after the first change, rows are stored in pages, one after
//! another, and then the base: types, routes, and the shelf's index, which names the pages
//! ([`shelf`](crate::protocol::rljson::shelf)). [`super::load`] reads all that.

use std::time::Duration;

use super::Hub;
use super::lanes::LaneId;
use super::load::Phase;
use crate::codec::lib0::{write_varbuf, write_varuint};
use crate::protocol::rljson::route::{Change, Reads};
use crate::protocol::rljson::shelf::{PageId, write_entry};
use crate::protocol::socketio::Io;
use crate::session::Instant;
use crate::session::effects::RecordName;

/// What the journal may have before all is stored anew, in bytes.
const UNSTORED_BYTES_MAX: usize = 32 << 20;
/// The version of the base.
pub(super) const VERSION: u64 = 2;
/// Entries of the journal that are not the shelf's own.
pub(super) const ROUTE: u8 = 16;
pub(super) const KIND: u8 = 17;
/// A ref is on its way, and a ref is no more.
pub(super) const COMING: u8 = 18;
pub(super) const DROPPED: u8 = 19;
/// What a run of a client has read.
pub(super) const READS: u8 = 20;

/// What is being stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storing {
    Page(PageId),
    Base,
}

impl Hub {
    pub(super) fn base_name(&self) -> RecordName {
        RecordName { namespace: "rljson/hubs", names: vec![self.key.as_ref().to_owned()] }
    }

    pub(super) fn page_name(&self, page: PageId) -> RecordName {
        let names = vec![self.key.as_ref().to_owned(), page.0.to_string()];
        RecordName { namespace: "rljson/pages", names }
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
        self.begin_entry(ROUTE, lane);
        change.write(&mut self.entry);
        self.record(io);
    }

    pub(super) fn record_reads(&mut self, lane: LaneId, reads: &Reads, io: &mut Io<'_, '_>) {
        self.begin_entry(READS, lane);
        reads.write(&mut self.entry);
        self.record(io);
    }

    /// A ref is on its way.
    pub(super) fn record_coming(&mut self, lane: LaneId, payload: &str, io: &mut Io<'_, '_>) {
        self.begin_entry(COMING, lane);
        write_varbuf(&mut self.entry, payload.as_bytes());
        self.record(io);
    }

    /// A ref is no more.
    pub(super) fn record_dropped(&mut self, lane: LaneId, payload: &str, io: &mut Io<'_, '_>) {
        self.begin_entry(DROPPED, lane);
        write_varbuf(&mut self.entry, payload.as_bytes());
        self.record(io);
    }

    /// The next entry is about a route.
    fn begin_entry(&mut self, tag: u8, lane: LaneId) {
        self.entry.clear();
        self.entry.push(tag);
        let name = self.lanes.get(lane).map_or("", |lane| &lane.name);
        write_varbuf(&mut self.entry, name.as_bytes());
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

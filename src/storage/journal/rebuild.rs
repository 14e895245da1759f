//! Rebuilding sessions from segments, pure: bytes in, entries out.

use std::collections::BTreeMap;

use super::recover::{Damaged, Recovered};
use crate::codec::journal::{Found, Key, Kind, Place, Record, SEGMENT_HEADER_BYTES, Scan, Seal};
use crate::session::journal::{ALL, Entries};
use crate::session::map::Map;

/// Where something is: epoch, shard, place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) epoch: u32,
    pub(super) shard: u32,
    pub(super) place: Place,
}

impl Site {
    /// Epoch and shard.
    fn log(&self) -> (u32, u32) {
        (self.epoch, self.shard)
    }
}

impl std::fmt::Display for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { epoch, shard, place } = self;
        let name = super::volume::file_name(*shard, place.segment);
        write!(f, "journal/{epoch:08}/{name} at byte {}", place.offset)
    }
}

/// A session while its entries are collected.
#[derive(Debug, Default)]
struct Chain {
    entries: Entries,
    last: u64,
    trimmed: u64,
    /// Where it was told of last.
    seen: Option<Site>,
    /// Oldest first.
    breaks: Vec<Break>,
}

impl Chain {
    /// The process that went on from it did so from this entry: what was behind it was torn.
    fn cut(&mut self, last: u64) {
        let sound = self.entries.len() - self.entries.after(last).count();
        self.entries.truncate(sound);
        self.breaks.retain(|found| found.up_to <= last);
        self.last = last;
    }
}

/// Where entries of a session are missing.
#[derive(Debug)]
struct Break {
    /// So many entries before it are sound.
    entries: usize,
    /// Entries up to here are missing.
    up_to: u64,
    site: Site,
}

/// Bytes that are no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) site: Site,
    pub(super) bytes: u64,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Rebuild {
    chains: BTreeMap<String, Chain>,
    /// Names by epoch, shard and number.
    names: Map<(u32, u32, u32), String>,
    /// How far the log of an epoch and shard is known to have been on the disk.
    synced: Map<(u32, u32), Place>,
    /// Up to which position all that an epoch and shard recorded is kept elsewhere, and the segment that
    /// says so.
    trimmed: Map<(u32, u32), (u64, u32)>,
    /// Holes with records behind them, in the order of their logs and places.
    pub(super) holes: Vec<Hole>,
    /// Ends of logs that were being written.
    pub(super) tails: Vec<Hole>,
    /// Records.
    pub(super) records: u64,
    /// The segment that was read last.
    last: Option<Site>,
}

impl Rebuild {
    /// Reads one segment. Segments come in the order of epoch, shard and number; `is_last` is said
    /// of the last of an epoch and shard.
    pub(super) fn segment(&mut self, key: Key, site: Site, bytes: &[u8], is_last: bool) {
        let at = |offset| Site { place: Place { offset, ..site.place }, ..site };
        self.follow(site);
        if bytes.len() < SEGMENT_HEADER_BYTES && !is_last {
            self.on_hole(site, bytes.len() as u64);
        }
        for found in Scan::new(key, bytes) {
            match found {
                Found::Record(record, offset) => {
                    self.records += 1;
                    self.record(&record, at(offset));
                }
                Found::Tail(offset) if is_last => {
                    self.tails.push(Hole { site: at(offset), bytes: bytes.len() as u64 - offset });
                }
                Found::Gap(from, to) => self.on_hole(at(from), to - from),
                Found::Tail(offset) => self.on_hole(at(offset), bytes.len() as u64 - offset),
            }
        }
    }

    /// Notices a segment that is missing between this one and the one before.
    fn follow(&mut self, site: Site) {
        let last = self.last.replace(site);
        let last = last.filter(|last| last.log() == site.log());
        let expected = last.map_or(site.place.segment, |last| last.place.segment + 1);
        if expected != site.place.segment {
            let place = Place { segment: expected, offset: 0 };
            self.on_hole(Site { place, ..site }, 0);
        }
    }

    fn on_hole(&mut self, site: Site, bytes: u64) {
        self.holes.push(Hole { site, bytes });
    }

    /// The sessions with entries that are kept nowhere else, and those that cannot be trusted.
    pub(super) fn finish(&mut self) -> (Vec<Recovered>, Vec<Damaged>) {
        let (mut recovered, mut damaged) = (Vec::new(), Vec::new());
        for (name, mut chain) in std::mem::take(&mut self.chains) {
            for found in &chain.breaks {
                let all = self.trimmed.get(&found.site.log());
                if all.is_some_and(|&(all, _)| found.up_to <= all) {
                    chain.trimmed = chain.trimmed.max(found.up_to);
                }
            }
            chain.breaks.retain(|found| found.up_to > chain.trimmed);
            let was_synced = |found: &&Break| {
                let synced = self.synced.get(&found.site.log());
                synced.is_some_and(|&synced| found.site.place < synced)
            };
            if let Some(Break { site, .. }) = chain.breaks.iter().find(was_synced) {
                damaged.push(Damaged { name, site: site.to_string(), entries: chain.entries });
                continue;
            }
            if let Some(found) = chain.breaks.first() {
                // Written shortly before a loss of power and never synced: a torn end like others.
                chain.entries.truncate(found.entries);
                chain.last = chain.entries.last().max(chain.trimmed);
            }
            if chain.entries.last() > chain.trimmed {
                let Chain { entries, last, trimmed, .. } = chain;
                recovered.push(Recovered { name, entries, last, trimmed });
            }
        }
        (recovered, damaged)
    }

    fn record(&mut self, record: &Record<'_>, site: Site) {
        match record.kind {
            Kind::Name => self.on_name(record, site),
            Kind::Entry => self.on_entry(record, site),
            Kind::Trim if record.session == ALL => {
                let trimmed = self.trimmed.entry(site.log()).or_default();
                *trimmed = (*trimmed).max((record.position, site.place.segment));
            }
            Kind::Trim => {
                if let Some(chain) = self.expect(record.session, record.previous, site) {
                    chain.trimmed = chain.trimmed.max(record.position);
                }
            }
            Kind::Close => {
                if let Some(name) = self.names.get(&(site.epoch, site.shard, record.session)) {
                    self.chains.remove(name);
                }
            }
            Kind::Seal => self.on_seal(record, site),
        }
    }

    fn on_name(&mut self, record: &Record<'_>, site: Site) {
        let Ok(name) = std::str::from_utf8(record.body) else { return };
        self.names.insert((site.epoch, site.shard, record.session), name.to_owned());
        let chain = self.chains.entry(name.to_owned()).or_default();
        chain.trimmed = chain.trimmed.max(record.position);
        self.expect(record.session, record.previous, site);
    }

    fn on_entry(&mut self, record: &Record<'_>, site: Site) {
        if record.previous == 0
            && let Some(chain) = self.chain(record.session, site)
        {
            // The first of its session: what there was before has ended.
            *chain = Chain::default();
        }
        if let Some(chain) = self.expect(record.session, record.previous, site) {
            chain.entries.push(record.position, record.body);
            chain.last = record.position;
        }
    }

    fn on_seal(&mut self, record: &Record<'_>, site: Site) {
        let Some(seal) = Seal::read(record.body) else { return };
        let synced = self.synced.entry(site.log()).or_default();
        *synced = (*synced).max(seal.synced);
        for (session, last) in seal.sessions() {
            self.expect(session, last, site);
        }
    }

    fn chain(&mut self, session: u32, site: Site) -> Option<&mut Chain> {
        let name = self.names.get(&(site.epoch, site.shard, session))?;
        self.chains.get_mut(name)
    }

    /// A session's last entry should be this one. If it is a later one, some are missing: since the first
    /// hole behind what was last told of it.
    fn expect(&mut self, session: u32, last: u64, site: Site) -> Option<&mut Chain> {
        let name = self.names.get(&(site.epoch, site.shard, session))?;
        let chain = self.chains.get_mut(name)?;
        let seen = chain.seen.replace(site).filter(|seen| seen.log() == site.log());
        if seen.is_none() && last < chain.last {
            chain.cut(last);
        }
        if last > chain.last {
            if last > chain.trimmed {
                // What was trimmed of all by then is not missing.
                let segment = self.trimmed.get(&site.log()).map_or(0, |&(_, segment)| segment);
                let from = Place { segment, offset: 0 };
                let from = seen.map_or(from, |seen| seen.place.max(from));
                let site = first_hole(&self.holes, site, from).unwrap_or(site);
                chain.breaks.push(Break { entries: chain.entries.len(), up_to: last, site });
            }
            chain.last = last;
        }
        Some(chain)
    }
}

/// The first hole of this log from a place on.
fn first_hole(holes: &[Hole], Site { epoch, shard, .. }: Site, from: Place) -> Option<Site> {
    let key = |site: Site| (site.epoch, site.shard, site.place);
    let at = holes.partition_point(|hole| key(hole.site) < (epoch, shard, from));
    holes.get(at).map(|hole| hole.site).filter(|site| site.log() == (epoch, shard))
}

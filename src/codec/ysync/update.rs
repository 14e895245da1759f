//! Updates, version 1: structs of each client, then what is deleted (yjs 13, `utils/encoding.js` and
//! `utils/DeleteSet.js`).

use smallvec::SmallVec;

use super::clients::count_clients;
use super::structs::{Id, Struct};
use super::{CLOCK_MAX, Malformed};
use crate::codec::lib0::Reader;

/// Count of structs, client, clock, and one struct.
const CLIENT_BYTES_MIN: usize = 5;
/// Kind and length.
const STRUCT_BYTES_MIN: usize = 2;
/// Client, count of ranges, and one range.
const DELETED_CLIENT_BYTES_MIN: usize = 4;
/// Clock and length.
const RANGE_BYTES_MIN: usize = 2;

/// Kinds of structs that are no items, and what the first byte of an item says.
pub(super) mod info {
    pub(in super::super) const GC: u8 = 0;
    pub(in super::super) const SKIP: u8 = 10;
    pub(in super::super) const KIND: u8 = 0b0001_1111;
    pub(in super::super) const PARENT_KEY: u8 = 0b0010_0000;
    pub(in super::super) const RIGHT_ORIGIN: u8 = 0b0100_0000;
    pub(in super::super) const ORIGIN: u8 = 0b1000_0000;
}

/// The structs of one client in an update: they cover clocks without a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// The client, at most 2^53 - 1.
    pub client: u64,
    /// Its first clock.
    pub clock: u32,
    /// The clock after its last, at most [`CLOCK_MAX`].
    pub end: u32,
}

/// What an update is like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// The clients it has structs of, each once.
    pub runs: SmallVec<[Run; 4]>,
    /// Structs: items, and gaps that were collected or left out.
    pub structs: u32,
    /// Ranges that are deleted.
    pub deletions: u32,
}

impl Update {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.structs == 0 && self.deletions == 0
    }
}

/// A part of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// What begins at this clock.
    Struct(Id, Struct<'a>),
    /// From this clock on so many are deleted.
    Deletion(Id, u32),
}

/// Checks an update (lib0 version 1).
pub fn check_update(bytes: &[u8]) -> Result<Update, Malformed> {
    let mut reader = Reader::new(bytes);
    let mut update = Update::default();
    let clients = count_clients(&mut reader, CLIENT_BYTES_MIN)?;
    for _ in 0..clients {
        let run = check_client(&mut reader, &mut update)?;
        update.runs.push(run);
    }
    check_clients(&mut update.runs)?;
    check_deletions(&mut reader, &mut update)?;
    reader.end()?;
    Ok(update)
}

/// Hands out the parts of an update that was checked, in the order they come.
pub fn parts<'a>(bytes: &'a [u8], mut visit: impl FnMut(Part<'a>)) -> Result<(), Malformed> {
    let mut reader = Reader::new(bytes);
    for _ in 0..reader.varuint()? {
        let (structs, client) = (reader.varuint()?, reader.varuint()?);
        let mut clock = clock_of(reader.varuint()?)?;
        for _ in 0..structs {
            let next = Struct::read(&mut reader)?;
            visit(Part::Struct(Id { client, clock }, next));
            clock = clock_after(clock, u64::from(next.len))?;
        }
    }
    for _ in 0..reader.varuint()? {
        let client = reader.varuint()?;
        for _ in 0..reader.varuint()? {
            let (clock, len) = (clock_of(reader.varuint()?)?, clock_of(reader.varuint()?)?);
            visit(Part::Deletion(Id { client, clock }, len));
        }
    }
    Ok(())
}

fn check_client(reader: &mut Reader<'_>, update: &mut Update) -> Result<Run, Malformed> {
    let structs = reader.count(STRUCT_BYTES_MIN)?;
    let client = reader.varuint()?;
    let clock = clock_of(reader.varuint()?)?;
    let mut end = clock;
    for _ in 0..structs {
        end = clock_after(end, u64::from(Struct::read(reader)?.len))?;
    }
    update.structs = add(update.structs, structs)?;
    if clock == end {
        return Err(Malformed::Empty);
    }
    Ok(Run { client, clock, end })
}

/// Every client once, as encoders do it. Sorts the runs, the highest client first.
fn check_clients(runs: &mut [Run]) -> Result<(), Malformed> {
    // Encoders write them so.
    if runs.is_sorted_by(|one, next| one.client > next.client) {
        return Ok(());
    }
    runs.sort_unstable_by(|one, other| other.cmp(one));
    let is_repeated = runs.windows(2).any(|pair| pair[0].client == pair[1].client);
    if is_repeated { Err(Malformed::RepeatedClient) } else { Ok(()) }
}

fn check_deletions(reader: &mut Reader<'_>, update: &mut Update) -> Result<(), Malformed> {
    for _ in 0..count_clients(reader, DELETED_CLIENT_BYTES_MIN)? {
        let _client = reader.varuint()?;
        let ranges = reader.count(RANGE_BYTES_MIN)?;
        let mut before = 0;
        for _ in 0..ranges {
            let clock = clock_of(reader.varuint()?)?;
            // Encoders sort them.
            if clock < before {
                return Err(Malformed::Order);
            }
            before = clock;
            clock_after(clock, not_empty(reader.varuint()?)?)?;
        }
        update.deletions = add(update.deletions, ranges)?;
    }
    Ok(())
}

pub(super) fn clock_of(number: u64) -> Result<u32, Malformed> {
    u32::try_from(number).ok().filter(|&clock| clock <= CLOCK_MAX).ok_or(Malformed::Clock)
}

fn clock_after(clock: u32, len: u64) -> Result<u32, Malformed> {
    clock_of(u64::from(clock).checked_add(len).ok_or(Malformed::Clock)?)
}

pub(super) fn not_empty(len: u64) -> Result<u64, Malformed> {
    if len > 0 { Ok(len) } else { Err(Malformed::Empty) }
}

fn add(count: u32, more: usize) -> Result<u32, Malformed> {
    let more = u32::try_from(more).map_err(|_| Malformed::TooMany)?;
    count.checked_add(more).ok_or(Malformed::TooMany)
}

//! Updates, version 1: structs of each client, then what is deleted. As yrs 0.28 reads them
//! (`Update::decode`, `IdSet::decode`).

use smallvec::SmallVec;

use super::clients::{check_spread, count_clients};
use super::content::{Content, content};
use super::{CLOCK_MAX, Malformed};
use crate::codec::lib0::Reader;

/// Most documents within a document in one update: yrs makes each of them, at a thousand times the
/// bytes it takes here.
pub const SUBDOCUMENTS_MAX: u32 = 4096;

/// Count of structs, client, clock, and one struct.
const CLIENT_BYTES_MIN: usize = 5;
/// Kind and length.
const STRUCT_BYTES_MIN: usize = 2;
/// Client, count of ranges, and one range.
const DELETED_CLIENT_BYTES_MIN: usize = 4;
/// Clock and length.
const RANGE_BYTES_MIN: usize = 2;

/// Kinds of structs that are no items, and what the first byte of an item says.
mod info {
    pub(super) const GC: u8 = 0;
    pub(super) const SKIP: u8 = 10;
    pub(super) const KIND: u8 = 0b0001_1111;
    pub(super) const PARENT_KEY: u8 = 0b0010_0000;
    pub(super) const RIGHT_ORIGIN: u8 = 0b0100_0000;
    pub(super) const ORIGIN: u8 = 0b1000_0000;
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
    /// Structs that are gaps left out.
    pub skips: u32,
    /// Items that are shared types.
    pub types: u32,
    /// Items that are documents of their own, at most [`SUBDOCUMENTS_MAX`].
    pub subdocuments: u32,
    /// Ranges that are deleted.
    pub deletions: u32,
}

impl Update {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.structs == 0 && self.deletions == 0
    }
}

/// Checks an update (lib0 version 1).
///
/// Refused though Yjs can write it: content of the kind JSON, that Yjs itself stopped making with
/// version 13 and that yrs 0.28 misreads.
pub fn check_update(bytes: &[u8]) -> Result<Update, Malformed> {
    let mut reader = Reader::new(bytes);
    let mut update = Update::default();
    let clients = count_clients(&mut reader, CLIENT_BYTES_MIN)?;
    for _ in 0..clients {
        let run = check_client(&mut reader, &mut update)?;
        update.runs.push(run);
    }
    check_clients(&mut update.runs)?;
    check_spread(update.runs.iter().map(|run| run.client))?;
    check_deletions(&mut reader, &mut update)?;
    reader.end()?;
    Ok(update)
}

fn check_client(reader: &mut Reader<'_>, update: &mut Update) -> Result<Run, Malformed> {
    let structs = reader.count(STRUCT_BYTES_MIN)?;
    let client = reader.varuint()?;
    let clock = clock_of(reader.varuint()?)?;
    let mut end = clock;
    for _ in 0..structs {
        end = clock_after(end, check_struct(reader, update)?)?;
    }
    update.structs = add(update.structs, structs)?;
    // yrs would step over clients that cover nothing by calling itself for each.
    if clock == end {
        return Err(Malformed::Empty);
    }
    Ok(Run { client, clock, end })
}

/// yrs would put the structs of a client that is repeated into one list, in the order they come, and
/// search that as if it were sorted. Sorts the runs, the highest client first.
fn check_clients(runs: &mut [Run]) -> Result<(), Malformed> {
    // Encoders write them so.
    if runs.is_sorted_by(|one, next| one.client > next.client) {
        return Ok(());
    }
    runs.sort_unstable_by(|one, other| other.cmp(one));
    let is_repeated = runs.windows(2).any(|pair| pair[0].client == pair[1].client);
    if is_repeated { Err(Malformed::RepeatedClient) } else { Ok(()) }
}

/// Checks and skips a struct, and gives the clocks it covers.
fn check_struct(reader: &mut Reader<'_>, update: &mut Update) -> Result<u64, Malformed> {
    match reader.byte()? {
        info::GC => not_empty(reader.varuint()?),
        info::SKIP => {
            update.skips = add(update.skips, 1)?;
            not_empty(reader.varuint()?)
        }
        info => {
            check_place(reader, info)?;
            let Content { len, is_document, is_type } = content(reader, info & info::KIND)?;
            update.types = add(update.types, usize::from(is_type))?;
            update.subdocuments = add(update.subdocuments, usize::from(is_document))?;
            if update.subdocuments > SUBDOCUMENTS_MAX {
                return Err(Malformed::TooMany);
            }
            Ok(len)
        }
    }
}

/// Checks and skips where an item stands: between which neighbours, or else in which parent.
fn check_place(reader: &mut Reader<'_>, info: u8) -> Result<(), Malformed> {
    if info & info::ORIGIN != 0 {
        skip_id(reader)?;
    }
    if info & info::RIGHT_ORIGIN != 0 {
        skip_id(reader)?;
    }
    if info & (info::ORIGIN | info::RIGHT_ORIGIN) != 0 {
        return Ok(());
    }
    match reader.varuint()? {
        0 => skip_id(reader)?,
        1 => drop(reader.varstring()?),
        _ => return Err(Malformed::Tag),
    }
    if info & info::PARENT_KEY != 0 {
        reader.varstring()?;
    }
    Ok(())
}

fn skip_id(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let _client = reader.varuint()?;
    clock_of(reader.varuint()?).map(drop)
}

fn check_deletions(reader: &mut Reader<'_>, update: &mut Update) -> Result<(), Malformed> {
    for _ in 0..count_clients(reader, DELETED_CLIENT_BYTES_MIN)? {
        let _client = reader.varuint()?;
        let ranges = reader.count(RANGE_BYTES_MIN)?;
        let mut before = 0;
        for _ in 0..ranges {
            let clock = clock_of(reader.varuint()?)?;
            // yrs would insert each before those it has, in quadratic time. Encoders sort them.
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

fn clock_of(number: u64) -> Result<u32, Malformed> {
    u32::try_from(number).ok().filter(|&clock| clock <= CLOCK_MAX).ok_or(Malformed::Clock)
}

fn clock_after(clock: u32, len: u64) -> Result<u32, Malformed> {
    clock_of(u64::from(clock).checked_add(len).ok_or(Malformed::Clock)?)
}

fn not_empty(len: u64) -> Result<u64, Malformed> {
    if len > 0 { Ok(len) } else { Err(Malformed::Empty) }
}

fn add(count: u32, more: usize) -> Result<u32, Malformed> {
    let more = u32::try_from(more).map_err(|_| Malformed::TooMany)?;
    count.checked_add(more).ok_or(Malformed::TooMany)
}

//! What clients can ask for, by the names of events and their arguments (specs: rljson §2, §3).

use super::answer::Form;
use super::filter::Filter;
use crate::codec::json::Raw;
use crate::codec::rljson::Hash;
use crate::protocol::rljson::shelf::TABLE_BYTES_MAX;
use crate::protocol::socketio::Values;

/// Hashes in one `readRowsByHashes`.
pub(super) const HASHES_MAX: usize = 1_000;
/// Blobs that are told at once, whatever is asked for.
pub(super) const LIST_MAX: usize = 1_000;

/// Something that is asked for.
#[derive(Clone, Debug)]
pub(super) enum Ask<'a> {
    /// `rawTableCfgs`
    Configs,
    /// `init`, `isReady`, `close`: nothing to do.
    Nothing,
    /// `isOpen`
    IsOpen,
    /// `readRows`: table, filter, and the filter as it came.
    Rows(Box<str>, Filter, &'a str),
    /// `readRowsByHashes`
    Hashes(Box<str>, Vec<Hash>),
    /// `tableExists`
    TableExists(Box<str>),
    /// `contentType`
    ContentType(Box<str>),
    /// `rowCount`
    RowCount(Box<str>),
    /// `write`: a document.
    Write(Raw<'a>),
    /// `createOrExtendTable`: key and type.
    Extend(Box<str>, Box<str>),
    /// `getBlob`
    Blob(Hash, Option<(u64, u64)>),
    /// `blobExists`
    BlobExists(Hash),
    /// `getBlobProperties`
    Properties(Hash),
    /// `listBlobs`
    List { prefix: Box<str>, max: usize, after: Option<Hash> },
    /// `setBlob`
    SetBlob(&'a [u8]),
    /// What is refused whoever asks: why.
    Never(&'static str),
    /// A blob of an id that none has.
    NoBlob(Box<str>),
    /// `blobExists` of such an id.
    NoBlobExists,
}

/// Why something that is asked for is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// There is no such method.
    Unknown,
    /// Its arguments make no sense.
    Arguments(Form),
}

const TO_CLIENTS: &str = "this server gives blobs as a whole or by ranges, not as streams";
const NO_DUMP: &str = "this server dumps nothing";
const NO_DELETE: &str = "this server drops blobs when nothing needs them";
const NO_URL: &str = "this server has no URLs for blobs";

/// What is asked for by an event of this name, and how it is to be answered.
pub(super) fn read<'a>(name: &str, args: &Values<'a>) -> Result<(Ask<'a>, Form), Misfit> {
    let mut values = args.values.clone();
    let first = values.next().filter(|value| !value.is_null());
    let second = values.next().filter(|value| !value.is_null());
    let (ask, form) = match name {
        "rawTableCfgs" => (Some(Ask::Configs), Form::Io),
        "init" | "isReady" | "close" => (Some(Ask::Nothing), Form::Io),
        "isOpen" => (Some(Ask::IsOpen), Form::Io),
        "readRows" => (rows(first), Form::Io),
        "readRowsByHashes" => (hashes(first), Form::Io),
        "tableExists" => (table(first).map(Ask::TableExists), Form::Io),
        "contentType" => (table(member(first, "table")).map(Ask::ContentType), Form::Io),
        "rowCount" => (table(first).map(Ask::RowCount), Form::Io),
        "dump" | "dumpTable" => (Some(Ask::Never(NO_DUMP)), Form::Io),
        "write" => (member(first, "data").map(Ask::Write), Form::Io),
        "createOrExtendTable" => (extend(first), Form::Io),
        "getBlob" => (blob(first, second), Form::Bs),
        "blobExists" => (exists(first), Form::Bs),
        "getBlobProperties" => (by_id(first, Ask::Properties), Form::Bs),
        "listBlobs" => (list(first), Form::Bs),
        "getBlobStream" => (Some(Ask::Never(TO_CLIENTS)), Form::Bs),
        "setBlob" => (first.and_then(|blob| content(args, blob)), Form::Bs),
        "deleteBlob" => (Some(Ask::Never(NO_DELETE)), Form::Bs),
        "generateSignedUrl" => (Some(Ask::Never(NO_URL)), Form::Bs),
        _ => return Err(Misfit::Unknown),
    };
    ask.map(|ask| (ask, form)).ok_or(Misfit::Arguments(form))
}

/// The last member of this name that is not `null`.
pub(super) fn member<'a>(object: Option<Raw<'a>>, key: &str) -> Option<Raw<'a>> {
    let found = object?.fields().filter(|(own, _)| own.is_string_of(key)).last();
    found.map(|(_, value)| value).filter(|value| !value.is_null())
}

fn text(value: Option<Raw<'_>>) -> Option<Box<str>> {
    value?.to_string_value().map(Into::into)
}

fn table(name: Option<Raw<'_>>) -> Option<Box<str>> {
    text(name).filter(|name| (1..=TABLE_BYTES_MAX).contains(&name.len()))
}

fn rows(argument: Option<Raw<'_>>) -> Option<Ask<'_>> {
    let filter = member(argument, "where")?;
    Some(Ask::Rows(table(member(argument, "table"))?, Filter::read(filter)?, filter.as_str()))
}

fn hashes(argument: Option<Raw<'_>>) -> Option<Ask<'_>> {
    let list = member(argument, "hashes").filter(|list| list.is_array())?;
    let mut hashes = Vec::new();
    for hash in list.elements().take(HASHES_MAX + 1) {
        hashes.push(Hash::new(&hash.to_string_value()?)?);
    }
    let table = table(member(argument, "table"))?;
    (hashes.len() <= HASHES_MAX).then_some(Ask::Hashes(table, hashes))
}

fn extend(argument: Option<Raw<'_>>) -> Option<Ask<'_>> {
    let config = member(argument, "tableCfg");
    Some(Ask::Extend(table(member(config, "key"))?, table(member(config, "type"))?))
}

/// Ids that are none name no blob.
fn by_id<'a>(id: Option<Raw<'a>>, ask: fn(Hash) -> Ask<'a>) -> Option<Ask<'a>> {
    let id = id?.to_string_value()?;
    Some(Hash::new(&id).map_or_else(|| Ask::NoBlob(super::answer::cut(&id).into()), ask))
}

fn exists(id: Option<Raw<'_>>) -> Option<Ask<'_>> {
    let id = id?.to_string_value()?;
    Some(Hash::new(&id).map_or(Ask::NoBlobExists, Ask::BlobExists))
}

fn blob<'a>(id: Option<Raw<'a>>, options: Option<Raw<'a>>) -> Option<Ask<'a>> {
    let Some(range) = member(options, "range") else { return by_id(id, |id| Ask::Blob(id, None)) };
    let at = |key| number(member(Some(range), key));
    let (start, end) = (at("start").unwrap_or(0), at("end").unwrap_or(u64::MAX));
    if start > end {
        return None;
    }
    match by_id(id, |id| Ask::Blob(id, None))? {
        Ask::Blob(id, _) => Some(Ask::Blob(id, Some((start, end)))),
        other => Some(other),
    }
}

/// A whole number that JavaScript holds exactly.
pub(super) fn number(value: Option<Raw<'_>>) -> Option<u64> {
    let number = value?.as_f64().filter(|number| number.fract() == 0.0)?;
    (0.0..=9_007_199_254_740_991.0).contains(&number).then_some(number as u64)
}

fn list(options: Option<Raw<'_>>) -> Option<Ask<'_>> {
    let max = number(member(options, "maxResults")).unwrap_or(LIST_MAX as u64);
    let after = text(member(options, "continuationToken"));
    Some(Ask::List {
        prefix: text(member(options, "prefix")).unwrap_or_default(),
        max: usize::try_from(max).unwrap_or(LIST_MAX).clamp(1, LIST_MAX),
        after: match after {
            Some(token) => Some(Hash::new(&token)?),
            None => None,
        },
    })
}

/// Bytes that are attached, or a text without escapes.
fn content<'a>(args: &Values<'a>, blob: Raw<'a>) -> Option<Ask<'a>> {
    let bytes = args.attachment(blob);
    bytes.or_else(|| blob.as_simple_string().map(str::as_bytes)).map(Ask::SetBlob)
}

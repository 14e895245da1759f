//! What answers of clients are worth: only what is what was asked for counts.

use super::Hub;
use super::answer::{self, Table};
use super::ask::member;
use super::blobs::Properties;
use super::filter::Filter;
use super::pulls::Want;
use super::reads::ANSWER_BYTES_MAX;
use crate::codec::json::{self, Raw};
use crate::codec::rljson::{Hash, blob_id};
use crate::protocol::socketio::{Io, Values};

/// Rows of one answer that are looked at.
pub(super) const ANSWER_ROWS_MAX: usize = 10_000;

/// What somebody answered.
#[derive(Debug)]
pub(super) enum Verdict<'a> {
    Found(Found<'a>),
    /// There is none, says who was asked.
    Empty,
    /// It could not be told, and why.
    Refused(String),
    /// It makes no sense, or is not what was asked for.
    Rubbish,
}

/// What was asked for.
#[derive(Debug)]
pub(super) enum Found<'a> {
    Row(Hash, &'a str),
    Rows(Table),
    Yes,
    Blob(Properties, &'a [u8]),
    Properties(Properties),
}

impl Hub {
    pub(super) fn judge<'a>(
        &mut self,
        want: &Want,
        values: &Values<'a>,
        io: &mut Io<'_, '_>,
    ) -> Verdict<'a> {
        let mut both = values.values.clone();
        let (first, second) = (both.next(), both.next());
        let is_blob = matches!(want, Want::Blob(..) | Want::BlobExists(_) | Want::Properties(_));
        let (result, error) = if is_blob { (second, first) } else { (first, second) };
        if let Some(error) = error.filter(|error| !error.is_null()) {
            return Verdict::Refused(error_text(error));
        }
        let Some(result) = result else { return Verdict::Rubbish };
        match want {
            Want::Row(table, hash) => self.row_of(Some(result), table, hash, io),
            Want::Rows(table, filter) => self.rows_of(result, table, filter, io),
            Want::Table(_) | Want::BlobExists(_) => match result.as_bool() {
                Some(true) => Verdict::Found(Found::Yes),
                Some(false) => Verdict::Empty,
                None => Verdict::Rubbish,
            },
            Want::Blob(id, range) => blob_of(result, values, id, *range, io.fx.now.wall_ms),
            Want::Properties(id) => match Properties::read(Some(result), id, io.fx.now.wall_ms) {
                Some(properties) => Verdict::Found(Found::Properties(properties)),
                None => Verdict::Rubbish,
            },
        }
    }

    /// The row that was asked for, verified and put on the shelf.
    pub(super) fn row_of<'a>(
        &mut self,
        result: Option<Raw<'a>>,
        table: &str,
        hash: &Hash,
        io: &mut Io<'_, '_>,
    ) -> Verdict<'a> {
        let Some((data, kind)) = table_of(result, table) else { return Verdict::Rubbish };
        let mut rows = data.elements().take(ANSWER_ROWS_MAX).peekable();
        if rows.peek().is_none() {
            return Verdict::Empty;
        }
        let is_it = |row: &Raw<'_>| {
            member(Some(*row), "_hash").is_some_and(|own| own.is_string_of(hash.as_str()))
        };
        let Some(row) = rows.find(is_it) else { return Verdict::Rubbish };
        match self.take_row(table, row.as_str(), io) {
            Ok(own) if own == *hash => {
                self.learn(table, kind, io);
                Verdict::Found(Found::Row(own, row.as_str()))
            }
            _ => Verdict::Rubbish,
        }
    }

    /// The rows that were asked for, each verified.
    fn rows_of<'a>(
        &mut self,
        result: Raw<'a>,
        table: &str,
        filter: &str,
        io: &mut Io<'_, '_>,
    ) -> Verdict<'a> {
        let Some((data, kind)) = table_of(Some(result), table) else { return Verdict::Rubbish };
        let filter = json::parse(filter, json::DEPTH_MAX).ok().and_then(Filter::read);
        let mut found = Table::default();
        for row in data.elements() {
            let fits = filter.as_ref().is_some_and(|filter| filter.fits(row));
            let is_beyond = found.len() == ANSWER_ROWS_MAX || found.bytes() > ANSWER_BYTES_MAX;
            if !fits || is_beyond {
                return Verdict::Rubbish;
            }
            match self.take_row(table, row.as_str(), io) {
                Ok(hash) => found.add(hash, row.as_str()),
                Err(_) => return Verdict::Rubbish,
            }
        }
        if found.is_empty() {
            return Verdict::Empty;
        }
        self.learn(table, kind, io);
        Verdict::Found(Found::Rows(found))
    }
}

/// Whether an answer about rows has any tables, rather than an error.
pub(super) fn has_tables(values: &Values<'_>) -> bool {
    let mut both = values.values.clone();
    let (result, error) = (both.next(), both.next());
    result.is_some_and(Raw::is_object) && error.is_none_or(Raw::is_null)
}

/// The rows and the type of a table in an answer.
fn table_of<'a>(result: Option<Raw<'a>>, table: &str) -> Option<(Raw<'a>, Option<Raw<'a>>)> {
    let table = member(result, table)?;
    let data = member(Some(table), "_data").filter(|data| data.is_array())?;
    Some((data, member(Some(table), "_type")))
}

/// What an error says.
fn error_text(error: Raw<'_>) -> String {
    let text = error
        .to_string_value()
        .or_else(|| member(Some(error), "message").and_then(Raw::to_string_value));
    answer::cut(&text.unwrap_or_else(|| "the request failed".into())).to_owned()
}

fn blob_of<'a>(
    result: Raw<'a>,
    values: &Values<'a>,
    id: &Hash,
    (start, end): (u64, u64),
    now_ms: u64,
) -> Verdict<'a> {
    let content = member(Some(result), "content").and_then(|content| values.attachment(content));
    let Some(content) = content else { return Verdict::Rubbish };
    let said = member(Some(result), "properties");
    let Some(properties) = Properties::read(said, id, now_ms) else { return Verdict::Rubbish };
    let (len, size) = (content.len() as u64, properties.size);
    // Who does not know of ranges sends all of it. What a part has to hash to nobody knows.
    let is_part = len == size.min(end).saturating_sub(start);
    let is_whole = || start == 0 && len == size && blob_id(content) == *id;
    if is_part || is_whole() {
        Verdict::Found(Found::Blob(properties, content))
    } else {
        Verdict::Rubbish
    }
}

//! What clients are answered, in both conventions (specs: rljson §2, §3): those about rows tell the
//! result first, those about blobs the error.

use super::blobs::Properties;
use crate::codec::date::Rfc3339;
use crate::codec::json::{self, write_string};
use crate::codec::rljson::{Hash, hash};
use crate::protocol::socketio::{AckId, Io, Socket};

const NULL: &[u8] = b"null";
/// Longest text of an error, in bytes; beyond it, it is cut.
pub(super) const TEXT_BYTES_MAX: usize = 512;

/// Where the error stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `[result, error]`: rows.
    Io,
    /// `[error, result]`: blobs.
    Bs,
}

/// Answers a request.
pub(super) fn succeed(
    io: &mut Io<'_, '_>,
    (socket, ack): (Socket, AckId),
    form: Form,
    result: &[u8],
) {
    match form {
        Form::Io => io.acknowledge(socket, ack, &[result, NULL]),
        Form::Bs => io.acknowledge(socket, ack, &[NULL, result]),
    }
}

/// Refuses a request. Errors are objects with a text, where the original sends `{}`: clients look
/// into it.
pub(super) fn refuse(io: &mut Io<'_, '_>, (socket, ack): (Socket, AckId), form: Form, text: &str) {
    let error = error(text);
    match form {
        Form::Io => io.acknowledge(socket, ack, &[NULL, &error]),
        Form::Bs => io.acknowledge(socket, ack, &[&error]),
    }
}

fn error(text: &str) -> Vec<u8> {
    let mut out = b"{\"name\":\"Error\",\"message\":".to_vec();
    write_string(&mut out, cut(text));
    out.push(b'}');
    out
}

/// As much of a text as errors have.
pub(super) fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Rows of a table as an answer: those of one table, by their hashes.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<(Hash, Box<str>)>,
    bytes: usize,
}

impl Table {
    /// Adds a row, unless it is there.
    pub(super) fn add(&mut self, hash: Hash, text: &str) {
        if let Err(place) = self.rows.binary_search_by_key(&hash, |(own, _)| *own) {
            self.bytes += text.len();
            self.rows.insert(place, (hash, text.into()));
        }
    }

    /// Bytes of its rows.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it has no rows.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many rows it has.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// `{"<name>":{"_data":[..],"_type":..,"_hash":..}}`
    pub(super) fn write(&self, name: &str, kind: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes + self.rows.len() + 128);
        out.push(b'{');
        write_string(&mut out, name);
        out.extend_from_slice(b":{\"_data\":[");
        for (index, (_, text)) in self.rows.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(b"],\"_type\":");
        write_string(&mut out, kind);
        if let Some(hash) = self.hash(kind) {
            out.extend_from_slice(b",\"_hash\":\"");
            out.extend_from_slice(hash.as_bytes());
            out.push(b'"');
        }
        out.extend_from_slice(b"}}");
        out
    }

    /// The hash of the table as a whole: rows stand in it as their own.
    fn hash(&self, kind: &str) -> Option<Hash> {
        let mut text = b"{\"_data\":[".to_vec();
        for (index, (hash, _)) in self.rows.iter().enumerate() {
            text.extend_from_slice(if index > 0 { b",\"" } else { b"\"" });
            text.extend_from_slice(hash.as_bytes());
            text.push(b'"');
        }
        text.extend_from_slice(b"],\"_type\":");
        write_string(&mut text, kind);
        text.push(b'}');
        let text = String::from_utf8(text).ok()?;
        hash(json::parse(&text, 4).ok()?).ok()
    }
}

/// `{"blobId":..,"size":..,"createdAt":..}`
pub(super) fn write_properties(out: &mut Vec<u8>, id: &Hash, properties: Properties) {
    let created = Rfc3339(properties.created_ms);
    let text =
        format!("{{\"blobId\":\"{id}\",\"size\":{},\"createdAt\":\"{created}\"}}", properties.size);
    out.extend_from_slice(text.as_bytes());
}

/// Answers with the content of a blob, or of a range of it.
pub(super) fn give_blob(
    io: &mut Io<'_, '_>,
    (socket, ack): (Socket, AckId),
    id: &Hash,
    properties: Properties,
    content: &[u8],
) {
    let mut out = b"{\"content\":{\"_placeholder\":true,\"num\":0},\"properties\":".to_vec();
    write_properties(&mut out, id, properties);
    out.push(b'}');
    io.acknowledge_binary(socket, ack, &[NULL, &out], &[content]);
}

//! The file server's side of a connection (specs: croquet §14): bodies stream to and from the
//! storage a piece at a time, so a large file costs no more memory than a small one.

use super::Shard;
use super::http::{Exchange, PROGRESS_MAX, State, Step};
use crate::codec::http1::path::safe_relative;
use crate::codec::http1::range::{self, RangeResult};
use crate::codec::http1::response::{BodyKind, write_head};
use crate::codec::http1::{BodyLength, BodyReader, Request};
use crate::net::{Token, Transport};
use crate::storage::{
    Area, Committed, FileError, HandleId, Metadata, Opened, Operation, Outcome, UploadId,
};

/// Bytes handed to the storage at once, and buffered on top while it works.
const PIECE_BYTES: usize = 64 << 10;
/// Bytes read from the storage at once.
const READ_BYTES: usize = 128 << 10;
const ALLOWED: &str = "GET, HEAD, PUT, OPTIONS";
const CORS: [(&str, &str); 2] = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "Content-Length,Content-Range"),
];
const PREFLIGHT: [(&str, &str); 4] = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "GET, PUT, OPTIONS"),
    (
        "Access-Control-Allow-Headers",
        "DNT,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,\
         X-Croquet-App,X-Croquet-Id,X-Croquet-Session,X-Croquet-Version,X-Croquet-Path",
    ),
    ("Access-Control-Max-Age", "1728000"),
];

/// A file being received.
#[derive(Debug)]
pub(super) struct Upload {
    id: Option<UploadId>,
    body: BodyReader,
    /// Collected for the storage.
    piece: Vec<u8>,
    /// Bytes of the file received in all.
    received: u64,
    /// The storage works on it.
    waiting: bool,
    /// All of the body is in hand.
    complete: bool,
    committing: bool,
}

impl Upload {
    /// Whether more bytes can be used, with `buffered` already at hand.
    pub(super) fn wants_input(&self, buffered: usize) -> bool {
        !self.complete && buffered < PIECE_BYTES
    }

    /// Moves bytes of the body from `input` to the piece, up to the piece's size.
    fn collect(&mut self, input: &mut Vec<u8>) -> Result<(), &'static str> {
        let before = self.piece.len();
        self.complete = self
            .body
            .collect(input, &mut self.piece, PIECE_BYTES)
            .map_err(|_| "The chunked body is malformed.\n")?;
        self.received += (self.piece.len() - before) as u64;
        Ok(())
    }
}

/// A file being sent, or asked about.
#[derive(Debug)]
pub(super) struct Download {
    path: String,
    range: Option<String>,
    if_none_match: Option<String>,
    handle: Option<HandleId>,
    offset: u64,
    end: u64,
    waiting: bool,
}

impl<T: Transport> Shard<T> {
    pub(super) fn on_file_request(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        request: &Request<'_>,
        path: &str,
    ) {
        let body = match request.body() {
            Ok(body) => body,
            Err(error) => {
                let (status, text) = error.status();
                return self.answer_and_close(index, status, &format!("{text}\n"));
            }
        };
        if request.method != "PUT" && !matches!(body, BodyLength::None | BodyLength::Length(0)) {
            exchange.keep_alive = false;
        }
        if request.method == "OPTIONS" {
            return self.answer_head(index, exchange, 204, &PREFLIGHT);
        }
        let Ok(path) = safe_relative(path) else {
            exchange.keep_alive &= request.method != "PUT";
            return self.answer_file(index, exchange, 400, "This is no path of a file here.\n");
        };
        match request.method {
            "PUT" => self.begin_upload(index, exchange, request, path, body),
            "GET" | "HEAD" => self.begin_download(index, exchange, request, path),
            _ => {
                exchange.keep_alive = false;
                let mut headers = CORS.to_vec();
                headers.push(("Allow", ALLOWED));
                self.answer_head(index, exchange, 405, &headers);
            }
        }
    }

    fn begin_upload(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        request: &Request<'_>,
        path: String,
        body: BodyLength,
    ) {
        let length_hint = match body {
            BodyLength::Length(length) => Some(length),
            BodyLength::Chunked => None,
            BodyLength::None => {
                exchange.keep_alive = false;
                return self.answer_file(index, exchange, 411, "PUT needs a Content-Length.\n");
            }
        };
        if length_hint.is_some_and(|length| length > self.config.file_bytes_max) {
            return self.refuse_size(index, exchange);
        }
        if request.has_token("expect", "100-continue") {
            self.push_raw(index, b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let body = BodyReader::new(body);
        exchange.deadline = self.now.at + PROGRESS_MAX;
        exchange.state = State::Upload(Box::new(Upload {
            id: None,
            body,
            piece: Vec::new(),
            received: 0,
            waiting: true,
            complete: false,
            committing: false,
        }));
        self.ask_files(index, Operation::PutBegin { area: Area::Files, path, length_hint });
    }

    fn refuse_size(&mut self, index: u32, exchange: &mut Exchange) {
        exchange.keep_alive = false;
        let max = self.config.file_bytes_max;
        let text = format!("A file may have {max} bytes at most (--file-bytes-max).\n");
        self.answer_file(index, exchange, 413, &text);
    }

    /// Hands the next piece of a body to the storage, if there is one and it is idle.
    pub(super) fn feed_upload(&mut self, index: u32, exchange: &mut Exchange) -> Step {
        let State::Upload(upload) = &mut exchange.state else { return Step::Wait };
        let Some(id) = upload.id.filter(|_| !upload.waiting) else {
            return Step::Wait;
        };
        if let Err(text) = upload.collect(&mut exchange.input) {
            self.abort_upload(id);
            exchange.keep_alive = false;
            self.answer_file(index, exchange, 400, text);
            return Step::Wait;
        }
        if exchange.input_ended && exchange.input.is_empty() && !upload.complete {
            self.abort_upload(id);
            exchange.keep_alive = false;
            self.answer_file(index, exchange, 400, "The body ended early.\n");
            return Step::Wait;
        }
        if upload.received > self.config.file_bytes_max {
            self.abort_upload(id);
            self.refuse_size(index, exchange);
            return Step::Wait;
        }
        let operation =
            if upload.piece.len() >= PIECE_BYTES || (upload.complete && !upload.piece.is_empty()) {
                Some(Operation::PutChunk { upload: id, bytes: std::mem::take(&mut upload.piece) })
            } else if upload.complete {
                upload.committing = true;
                Some(Operation::PutCommit { upload: id })
            } else {
                None
            };
        if let Some(operation) = operation {
            upload.waiting = true;
            self.ask_files(index, operation);
        }
        Step::Wait
    }

    fn begin_download(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        request: &Request<'_>,
        path: String,
    ) {
        exchange.deadline = self.now.at + PROGRESS_MAX;
        let operation = if exchange.head_only {
            Operation::Stat { area: Area::Files, path: path.clone() }
        } else {
            Operation::GetOpen { area: Area::Files, path: path.clone() }
        };
        exchange.state = State::Download(Box::new(Download {
            path,
            range: request.header("range").map(str::to_owned),
            if_none_match: request.header("if-none-match").map(str::to_owned),
            handle: None,
            offset: 0,
            end: 0,
            waiting: true,
        }));
        self.ask_files(index, operation);
    }

    /// Asks for the next piece of a file that is being sent.
    pub(super) fn read_file(&mut self, index: u32, download: &mut Download) {
        let Some(handle) = download.handle.filter(|_| !download.waiting) else { return };
        let len = READ_BYTES.min((download.end - download.offset) as usize);
        download.waiting = true;
        let offset = download.offset;
        self.ask_files(index, Operation::GetRead { handle, offset, len, buffer: Vec::new() });
    }

    /// The storage has done something for a connection's exchange.
    pub(super) fn on_file_outcome(&mut self, token: Token, outcome: Outcome) {
        let index = token.index;
        if self.connections.resolve(token).is_none() {
            return self.forget_outcome(outcome);
        }
        self.with_exchange(index, |shard, exchange| {
            exchange.deadline = shard.now.at + PROGRESS_MAX;
            match outcome {
                Outcome::Begun(Ok(id)) => shard.on_begun(exchange, id),
                Outcome::Written { result: Ok(()), mut bytes } => {
                    bytes.clear();
                    if let State::Upload(upload) = &mut exchange.state {
                        upload.piece = bytes;
                        upload.waiting = false;
                    }
                }
                Outcome::Committed(Ok(committed)) => {
                    let status = if committed == Committed::Created { 201 } else { 204 };
                    shard.answer_head(index, exchange, status, &CORS);
                }
                Outcome::Opened(Ok(opened)) => shard.on_opened(index, exchange, opened),
                Outcome::Stat(Ok(metadata)) => shard.on_stat(index, exchange, metadata),
                Outcome::Read { result: Ok(()), buffer } => {
                    shard.on_file_bytes(index, exchange, buffer);
                }
                Outcome::Begun(Err(error))
                | Outcome::Committed(Err(error))
                | Outcome::Opened(Err(error))
                | Outcome::Stat(Err(error))
                | Outcome::Written { result: Err(error), .. } => {
                    shard.on_file_error(index, exchange, &error);
                }
                // The head has promised these bytes: only the end of the connection tells.
                Outcome::Read { result: Err(_), .. } => {
                    shard.counters.storage_errors.increment();
                    exchange.keep_alive = false;
                    shard.end_exchange(index, exchange);
                }
                Outcome::Range(_)
                | Outcome::Removed(_)
                | Outcome::Loaded(_)
                | Outcome::Stored { .. }
                | Outcome::Posted(_) => {}
            }
        });
    }

    /// Gives back what was opened for a connection or session that has gone.
    pub(super) fn forget_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Begun(Ok(id)) => self.abort_upload(id),
            Outcome::Opened(Ok(opened)) => self.close_file(opened.handle),
            _ => {}
        }
    }

    /// A connection ends in the middle of an exchange.
    pub(super) fn abandon(&mut self, exchange: &Exchange) {
        match &exchange.state {
            State::Upload(upload) => {
                if let Some(id) = upload.id {
                    self.abort_upload(id);
                }
            }
            State::Download(download) => {
                if let Some(handle) = download.handle {
                    self.close_file(handle);
                }
            }
            State::Poll(poll) => self.abandon_engine(poll.member()),
            State::Post(post) => self.abandon_engine(post.member()),
            State::Head | State::Asked | State::Visit(_) => {}
        }
    }

    fn on_begun(&mut self, exchange: &mut Exchange, id: UploadId) {
        match &mut exchange.state {
            State::Upload(upload) => {
                upload.id = Some(id);
                upload.waiting = false;
            }
            _ => self.abort_upload(id),
        }
    }

    fn on_opened(&mut self, index: u32, exchange: &mut Exchange, opened: Opened) {
        let State::Download(download) = &mut exchange.state else {
            return self.close_file(opened.handle);
        };
        download.handle = Some(opened.handle);
        download.waiting = false;
        let (status, headers) = download.plan(opened.metadata);
        let length = download.end - download.offset;
        self.push_file_head(index, exchange, status, &headers, length);
        let State::Download(download) = &mut exchange.state else { return };
        if length == 0 {
            self.close_file(opened.handle);
            self.end_exchange(index, exchange);
        } else {
            self.read_file(index, download);
        }
    }

    fn on_stat(&mut self, index: u32, exchange: &mut Exchange, metadata: Metadata) {
        let State::Download(download) = &mut exchange.state else { return };
        let (status, headers) = download.plan(metadata);
        let length = download.end - download.offset;
        self.push_file_head(index, exchange, status, &headers, length);
        self.end_exchange(index, exchange);
    }

    fn on_file_bytes(&mut self, index: u32, exchange: &mut Exchange, buffer: Vec<u8>) {
        let State::Download(download) = &mut exchange.state else { return };
        download.waiting = false;
        download.offset += buffer.len() as u64;
        let ended = buffer.is_empty() || download.offset >= download.end;
        let (cut_short, handle) = (download.offset < download.end, download.handle);
        if let Some(outbox) = self.outbox(index) {
            outbox.push_shared(0, buffer.into());
        }
        self.mark_dirty(index);
        if ended {
            handle.into_iter().for_each(|handle| self.close_file(handle));
            exchange.keep_alive &= !cut_short;
            self.end_exchange(index, exchange);
        }
    }

    fn on_file_error(&mut self, index: u32, exchange: &mut Exchange, error: &FileError) {
        let status = error.status();
        if status >= 500 {
            self.counters.storage_errors.increment();
            log::warn!(scope = "process", event = "file-failed"; "{error}");
        }
        // Unless the whole body is in hand, what follows on this connection is the rest of it.
        if matches!(&exchange.state, State::Upload(upload) if !upload.complete) {
            exchange.keep_alive = false;
        }
        self.answer_file(index, exchange, status, &format!("{error}\n"));
    }

    fn push_file_head(
        &mut self,
        index: u32,
        exchange: &Exchange,
        status: u16,
        headers: &[(&str, String)],
        length: u64,
    ) {
        let mut all = CORS.to_vec();
        all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
        let mut out = Vec::new();
        write_head(&mut out, status, &all, BodyKind::Length(length), exchange.keep_alive);
        self.push_raw(index, &out);
    }

    fn answer_file(&mut self, index: u32, exchange: &mut Exchange, status: u16, text: &str) {
        let mut headers = CORS.to_vec();
        headers.push(("Content-Type", "text/plain; charset=utf-8"));
        let length = BodyKind::Length(text.len() as u64);
        let mut out = Vec::new();
        write_head(&mut out, status, &headers, length, exchange.keep_alive);
        if !exchange.head_only {
            out.extend_from_slice(text.as_bytes());
        }
        self.push_raw(index, &out);
        self.end_exchange(index, exchange);
    }

    /// Answers without a body.
    fn answer_head(
        &mut self,
        index: u32,
        exchange: &mut Exchange,
        status: u16,
        headers: &[(&str, &str)],
    ) {
        let mut out = Vec::new();
        write_head(&mut out, status, headers, BodyKind::Length(0), exchange.keep_alive);
        self.push_raw(index, &out);
        self.end_exchange(index, exchange);
    }

    pub(super) fn abort_upload(&mut self, upload: UploadId) {
        self.tell_files(Operation::PutAbort { upload });
    }

    fn close_file(&mut self, handle: HandleId) {
        self.tell_files(Operation::GetClose { handle });
    }
}

impl Download {
    /// Status and headers for a file with this metadata; sets the range to be sent.
    fn plan(&mut self, metadata: Metadata) -> (u16, Vec<(&'static str, String)>) {
        let tag = format!("\"{:x}-{:x}\"", metadata.modified_ms, metadata.length);
        let matches = self.if_none_match.as_deref().is_some_and(|tags| tags.contains(&tag));
        let mut headers = vec![("ETag", tag), ("Accept-Ranges", "bytes".to_owned())];
        (self.offset, self.end) = (0, metadata.length);
        if matches {
            self.end = 0;
            return (304, headers);
        }
        let content_type = if self.path.ends_with(".json") {
            "application/json"
        } else {
            "application/octet-stream"
        };
        headers.push(("Content-Type", content_type.to_owned()));
        match self.range.as_deref().map(|range| range::parse(range, metadata.length)) {
            Some(RangeResult::Part { start, end_inclusive }) => {
                (self.offset, self.end) = (start, end_inclusive + 1);
                let length = metadata.length;
                let range = format!("bytes {start}-{end_inclusive}/{length}");
                headers.push(("Content-Range", range));
                (206, headers)
            }
            Some(RangeResult::Unsatisfiable) => {
                self.end = 0;
                headers.push(("Content-Range", format!("bytes */{}", metadata.length)));
                (416, headers)
            }
            Some(RangeResult::Whole) | None => (200, headers),
        }
    }
}

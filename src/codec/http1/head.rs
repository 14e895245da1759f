//! Heads of requests (RFC 9112 §2–3, §5–6).

use std::mem::MaybeUninit;

use memchr::{memchr_iter, memmem};
use smallvec::SmallVec;

/// Longest head, in bytes, with its final empty line; beyond it 431.
pub const HEAD_BYTES_MAX: usize = 16 << 10;

/// Most headers of a request; beyond it 431.
pub const HEADERS_MAX: usize = 64;

/// Headers kept without allocating.
const HEADERS_INLINE: usize = 16;

/// The head of a request.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The method, as sent: methods are case-sensitive.
    pub method: &'a str,
    /// The request target, as sent: free of spaces and control characters.
    pub target: &'a str,
    /// 0 or 1: HTTP/1.0 or HTTP/1.1.
    pub minor_version: u8,
    headers: SmallVec<[(&'a str, &'a [u8]); HEADERS_INLINE]>,
}

/// How the end of a request's body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body.
    None,
    /// So many bytes; may be 0.
    Length(u64),
    /// Chunks; see [`super::ChunkedDecoder`].
    Chunked,
}

/// Why a head is refused. The connection is closed after the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.status().1)]
#[non_exhaustive]
pub enum HeadError {
    /// Not a request line.
    RequestLine,
    /// Not a header field: a bad name, a control character, a folded line, a bare CR or LF.
    HeaderField,
    /// HTTP/1.1 without exactly one Host.
    Host,
    /// Content-Length is not one number of at most 64 bits.
    ContentLength,
    /// Content-Length beside Transfer-Encoding, or the latter in HTTP/1.0.
    AmbiguousBody,
    /// A transfer coding other than chunked.
    TransferCoding,
    /// More than [`HEAD_BYTES_MAX`] bytes.
    TooLong,
    /// More than [`HEADERS_MAX`] headers.
    TooManyHeaders,
    /// A version other than 1.0 and 1.1.
    Version,
}

impl HeadError {
    /// Status code, and what a human is told.
    pub fn status(self) -> (u16, &'static str) {
        match self {
            Self::RequestLine => (400, "malformed request line"),
            Self::HeaderField => (400, "malformed header field"),
            Self::Host => (400, "exactly one Host header is needed"),
            Self::ContentLength => (400, "malformed Content-Length"),
            Self::AmbiguousBody => (400, "ambiguous length of the body"),
            Self::TransferCoding => (501, "the only transfer coding here is chunked"),
            Self::TooLong => (431, "the request head is over 16 KiB"),
            Self::TooManyHeaders => (431, "the request has over 64 headers"),
            Self::Version => (505, "this server speaks HTTP/1.1"),
        }
    }
}

/// One past the end of the head in `bytes`, of which the first `from` were looked at by an earlier
/// call. A head that trickles in is so searched once, not once per piece.
pub fn find_head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let start = from.saturating_sub(3).max(empty_line(bytes)).min(bytes.len());
    memmem::find(&bytes[start..], b"\r\n\r\n").map(|at| start + at + 4)
}

/// Parses the head at the beginning of `bytes`; gives it with its length. `Ok(None)`: incomplete.
///
/// Everything that could make the end of the request ambiguous has been refused:
/// [`Request::body`] cannot fail afterwards.
pub fn parse_head(bytes: &[u8]) -> Result<Option<(Request<'_>, usize)>, HeadError> {
    let skipped = empty_line(bytes);
    check_first(&bytes[skipped..])?;
    let Some(end) = find_head_end(bytes, 0) else {
        return if bytes.len() >= HEAD_BYTES_MAX { Err(HeadError::TooLong) } else { Ok(None) };
    };
    if end > HEAD_BYTES_MAX {
        return Err(HeadError::TooLong);
    }
    let request = parse_complete(&bytes[skipped..end])?;
    request.check_host()?;
    request.body()?;
    Ok(Some((request, end)))
}

/// Length of the empty line that clients of old send before a request (RFC 9112 §2.2).
fn empty_line(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\r\n") { 2 } else { 0 }
}

/// Refuses at once what cannot become a request, such as TLS on a plain port.
fn check_first(bytes: &[u8]) -> Result<(), HeadError> {
    match bytes {
        [] | [b'\r'] => Ok(()),
        [first, ..] if first.is_ascii_alphabetic() => Ok(()),
        _ => Err(HeadError::RequestLine),
    }
}

fn parse_complete(head: &[u8]) -> Result<Request<'_>, HeadError> {
    // httparse takes a bare LF for the end of a line; others do not, so it must not pass.
    if memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r') {
        return Err(HeadError::HeaderField);
    }
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(head, &mut headers);
    let status = parsed.map_err(|error| head_error(error, head))?;
    if status != httparse::Status::Complete(head.len()) {
        return Err(HeadError::RequestLine);
    }
    let (Some(method), Some(target), Some(minor_version)) =
        (request.method, request.path, request.version)
    else {
        return Err(HeadError::RequestLine);
    };
    let headers = request.headers.iter().map(|header| (header.name, header.value)).collect();
    Ok(Request { method, target, minor_version, headers })
}

fn head_error(error: httparse::Error, head: &[u8]) -> HeadError {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => HeadError::HeaderField,
        httparse::Error::TooManyHeaders => HeadError::TooManyHeaders,
        httparse::Error::Version if names_version(head) => HeadError::Version,
        _ => HeadError::RequestLine,
    }
}

/// Whether the request line has its three words, the last a well-formed version.
fn names_version(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    let version = words.next().unwrap_or_default();
    let is_version = matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit());
    is_version && words.next().is_none()
}

impl<'a> Request<'a> {
    /// The path: the target before `?`, without scheme and authority if the target has them.
    /// Percent-encoded as sent.
    pub fn path(&self) -> &'a str {
        let path = self.origin_form();
        path.split_once('?').map_or(path, |(path, _)| path)
    }

    /// What follows the first `?` of the target.
    pub fn query(&self) -> Option<&'a str> {
        self.origin_form().split_once('?').map(|(_, query)| query)
    }

    /// The value of the first header of this name, if that is UTF-8. Names are compared without
    /// case.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers(name).next().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all headers of this name, without surrounding whitespace.
    pub fn headers<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        let named = move |header: &&(&str, &[u8])| header.0.eq_ignore_ascii_case(name);
        self.headers.iter().filter(named).map(|(_, value)| *value)
    }

    /// Whether the comma-separated headers of this name list `token`, compared without case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        let mut listed = self.headers(name).flat_map(|value| value.split(|byte| *byte == b','));
        listed.any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Whether the client may send another request on this connection (RFC 9112 §9.3).
    pub fn keep_alive(&self) -> bool {
        match self.minor_version {
            0 => self.has_token("connection", "keep-alive"),
            _ => !self.has_token("connection", "close"),
        }
    }

    /// How the end of the body is found (RFC 9112 §6.3). Cannot fail for what [`parse_head`] gave.
    pub fn body(&self) -> Result<BodyLength, HeadError> {
        let length = self.content_length()?;
        let mut codings = self.headers("transfer-encoding");
        let Some(coding) = codings.next() else {
            return Ok(length.map_or(BodyLength::None, BodyLength::Length));
        };
        if length.is_some() || self.minor_version == 0 {
            return Err(HeadError::AmbiguousBody);
        }
        if codings.next().is_some() || !coding.eq_ignore_ascii_case(b"chunked") {
            return Err(HeadError::TransferCoding);
        }
        Ok(BodyLength::Chunked)
    }

    /// The value all Content-Length headers agree on.
    fn content_length(&self) -> Result<Option<u64>, HeadError> {
        let mut agreed = None;
        for value in self.headers("content-length") {
            let length = decimal(value).ok_or(HeadError::ContentLength)?;
            if agreed.is_some_and(|agreed| agreed != length) {
                return Err(HeadError::ContentLength);
            }
            agreed = Some(length);
        }
        Ok(agreed)
    }

    fn check_host(&self) -> Result<(), HeadError> {
        match (self.headers("host").count(), self.minor_version) {
            (1, _) | (0, 0) => Ok(()),
            _ => Err(HeadError::Host),
        }
    }

    /// The target without scheme and authority (RFC 9112 §3.2.2).
    fn origin_form(&self) -> &'a str {
        let Some((scheme, rest)) = self.target.split_once("://") else { return self.target };
        if !scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return self.target;
        }
        rest.find(['/', '?']).map_or("/", |at| &rest[at..])
    }
}

/// A number of one or more digits and nothing else; `None` as well beyond 64 bits.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

//! Responses (RFC 9112 §4, RFC 9110 §15).

/// How the end of a response's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// By Content-Length: so many bytes. Also for HEAD, which sends none of them.
    Length(u64),
    /// By chunks.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// Writes a head. 1xx, 204 and 304 have no body, whatever `body` says (RFC 9112 §6.3).
///
/// Control characters in names and values become spaces, so that no text can end the head.
pub fn write_head(
    out: &mut Vec<u8>,
    status: u16,
    headers: &[(&str, &str)],
    body: BodyKind,
    keep_alive: bool,
) {
    write_status_line(out, status);
    for (name, value) in headers {
        write_header(out, name, value);
    }
    if may_have_body(status) {
        write_framing(out, body);
    }
    let keep_alive = keep_alive && body != BodyKind::UntilClose;
    write_header(out, "Connection", if keep_alive { "keep-alive" } else { "close" });
    out.extend_from_slice(b"\r\n");
}

/// Writes a whole response. An empty `content_type` says nothing of the body.
pub fn write(out: &mut Vec<u8>, status: u16, content_type: &str, body: &[u8], keep_alive: bool) {
    let length = BodyKind::Length(body.len() as u64);
    let headers = [("Content-Type", content_type)];
    let known = if content_type.is_empty() { &headers[..0] } else { &headers[..] };
    write_head(out, status, known, length, keep_alive);
    if may_have_body(status) {
        out.extend_from_slice(body);
    }
}

/// Writes one chunk of a chunked body; nothing for empty `data`, which would end it.
pub fn write_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Ends a chunked body.
pub fn write_last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

/// Writes `HTTP/1.1`, the status and its reason phrase.
pub(crate) fn write_status_line(out: &mut Vec<u8>, status: u16) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes one header line.
pub(crate) fn write_header(out: &mut Vec<u8>, name: &str, value: &str) {
    let harmless = |byte: u8| if byte.is_ascii_control() { b' ' } else { byte };
    out.extend(name.bytes().map(harmless));
    out.extend_from_slice(b": ");
    out.extend(value.bytes().map(harmless));
    out.extend_from_slice(b"\r\n");
}

fn write_framing(out: &mut Vec<u8>, body: BodyKind) {
    match body {
        BodyKind::Length(length) => {
            write_header(out, "Content-Length", itoa::Buffer::new().format(length));
        }
        BodyKind::Chunked => write_header(out, "Transfer-Encoding", "chunked"),
        BodyKind::UntilClose => {}
    }
}

pub(crate) fn may_have_body(status: u16) -> bool {
    !matches!(status, 100..=199 | 204 | 304)
}

/// The reason phrase of a status code (RFC 9110 §15); empty for one without.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}

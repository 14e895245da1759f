//! The opening handshake (RFC 6455 §4.2).

use tungstenite::handshake::derive_accept_key;

use crate::codec::http1::{BodyKind, BodyLength, Request, response};

/// A handshake that may go on: what the 101 response needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    key: String,
}

/// Why a request cannot become a WebSocket connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.status().1)]
#[non_exhaustive]
pub enum Refusal {
    /// Not GET (§4.2.1 1).
    Method,
    /// HTTP/1.0, which has no upgrades (§4.2.1 1).
    HttpVersion,
    /// A body: what follows the head could be taken for it, or for frames.
    Body,
    /// No `Upgrade: websocket` (§4.2.1 3): the resource has nothing for plain HTTP.
    NotWebSocket,
    /// No `Connection: upgrade` (§4.2.1 4).
    NotUpgrade,
    /// `Sec-WebSocket-Version` is not 13 (§4.2.1 6).
    Version,
    /// `Sec-WebSocket-Key` is absent, repeated, or not base64 of 16 bytes (§4.2.1 5).
    Key,
}

/// Checks an upgrade request.
pub fn accept(request: &Request<'_>) -> Result<Accept, Refusal> {
    require(request.method == "GET", Refusal::Method)?;
    require(request.minor_version >= 1, Refusal::HttpVersion)?;
    require(request.has_token("upgrade", "websocket"), Refusal::NotWebSocket)?;
    let body = request.body();
    require(matches!(body, Ok(BodyLength::None | BodyLength::Length(0))), Refusal::Body)?;
    require(request.has_token("connection", "upgrade"), Refusal::NotUpgrade)?;
    require(only(request, "sec-websocket-version") == Some("13"), Refusal::Version)?;
    let key = only(request, "sec-websocket-key").filter(|key| is_key(key)).ok_or(Refusal::Key)?;
    Ok(Accept { key: derive_accept_key(key.as_bytes()) })
}

impl Accept {
    /// Writes the 101 response (§4.2.2 5). `extra_headers` are for example a subprotocol.
    pub fn write_response(&self, extra_headers: &[(&str, &str)], out: &mut Vec<u8>) {
        response::write_status_line(out, 101);
        response::write_header(out, "Upgrade", "websocket");
        response::write_header(out, "Connection", "Upgrade");
        response::write_header(out, "Sec-WebSocket-Accept", &self.key);
        for (name, value) in extra_headers {
            response::write_header(out, name, value);
        }
        out.extend_from_slice(b"\r\n");
    }
}

impl Refusal {
    /// Status code, and what a human is told.
    pub fn status(self) -> (u16, &'static str) {
        match self {
            Self::Method => (405, "a WebSocket handshake is a GET request"),
            Self::HttpVersion => (400, "a WebSocket handshake needs HTTP/1.1"),
            Self::Body => (400, "a WebSocket handshake has no body"),
            Self::NotWebSocket => (426, "this address speaks WebSocket only"),
            Self::NotUpgrade => (400, "the Connection header lacks upgrade"),
            Self::Version => (426, "this server speaks WebSocket version 13 only"),
            Self::Key => (400, "Sec-WebSocket-Key must be base64 of 16 bytes"),
        }
    }

    /// Writes the whole response, after which the connection is closed.
    pub fn write_response(self, out: &mut Vec<u8>) {
        let (status, text) = self.status();
        let mut headers = [("Content-Type", "text/plain; charset=utf-8"); 4];
        let hints = self.hints();
        headers[1..=hints.len()].copy_from_slice(hints);
        let headers = &headers[..=hints.len()];
        response::write_head(out, status, headers, BodyKind::Length(text.len() as u64), false);
        out.extend_from_slice(text.as_bytes());
    }

    /// Headers that say how to do better.
    fn hints(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Method => &[("Allow", "GET")],
            Self::NotWebSocket => &[("Upgrade", "websocket"), ("Connection", "Upgrade")],
            Self::Version => &[
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Version", "13"),
            ],
            _ => &[],
        }
    }
}

fn require(holds: bool, refusal: Refusal) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(refusal) }
}

/// The value of a header that must not be repeated.
fn only<'a>(request: &Request<'a>, name: &str) -> Option<&'a str> {
    let mut values = request.headers(name);
    let value = values.next()?;
    if values.next().is_some() { None } else { std::str::from_utf8(value).ok() }
}

/// Whether this is base64 of 16 bytes. Bits beyond the last may be set, as other servers allow.
fn is_key(key: &str) -> bool {
    let alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.strip_suffix("==")
        .is_some_and(|data| data.len() == 22 && data.bytes().all(|b| alphabet(&b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::http1::parse_head;

    const GOOD: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n";

    fn handshake(head: &str) -> Result<Accept, Refusal> {
        let (request, _) = parse_head(head.as_bytes()).unwrap().unwrap();
        accept(&request)
    }

    #[test]
    fn example_of_rfc_6455_1_3() {
        let mut response = Vec::new();
        let accept = handshake(GOOD).unwrap();
        accept.write_response(&[("Sec-WebSocket-Protocol", "chat")], &mut response);
        let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
            Sec-WebSocket-Protocol: chat\r\n\r\n";
        assert_eq!(String::from_utf8(response).unwrap(), expected);
    }

    #[test]
    fn names_are_compared_without_case() {
        let head = GOOD.replace("Upgrade: websocket", "UPGRADE: h2c, WebSocket");
        assert_eq!(handshake(&head), handshake(GOOD));
    }

    #[test]
    fn requests_that_are_no_handshake_are_refused() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        for (from, to, refusal, status) in [
            ("GET", "POST", Refusal::Method, 405),
            ("HTTP/1.1", "HTTP/1.0", Refusal::HttpVersion, 400),
            ("Upgrade: websocket", "Upgrade: websockets", Refusal::NotWebSocket, 426),
            ("keep-alive, Upgrade", "keep-alive", Refusal::NotUpgrade, 400),
            ("Version: 13", "Version: 8", Refusal::Version, 426),
            ("Version: 13", "Version: 13, 8", Refusal::Version, 426),
            ("Sec-WebSocket-Version: 13", "X: y", Refusal::Version, 426),
            (key, "", Refusal::Key, 400),
            (key, "dGhlIHNhbXBsZSBub25jZQ=", Refusal::Key, 400),
            (key, "dGhlIHNhbXBsZSBub25jZTE=", Refusal::Key, 400),
            (key, "dGhlIHNhbXBsZSBub25j-Q==", Refusal::Key, 400),
            ("\r\n\r\n", "\r\nSec-WebSocket-Key: x\r\n\r\n", Refusal::Key, 400),
        ] {
            assert_eq!(handshake(&GOOD.replace(from, to)), Err(refusal), "{to}");
            assert_eq!(refusal.status().0, status);
        }
    }

    #[test]
    fn a_refusal_says_how_to_do_better() {
        let mut response = Vec::new();
        Refusal::Version.write_response(&mut response);
        let response = String::from_utf8(response).unwrap();
        assert!(response.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{response}");
        assert!(response.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{response}");
        assert!(response.ends_with("\r\n\r\nthis server speaks WebSocket version 13 only"));
    }
}

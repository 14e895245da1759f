//! As much of RFC 6455 as a client and the baseline server need: upgrade heads and whole frames.
//! Deliberately absent: fragmented messages and extensions, which no server under test sends.

use tungstenite::handshake::{client::generate_key, derive_accept_key};

/// Opcode of a text message.
pub(crate) const TEXT: u8 = 1;
/// Opcode of a binary message.
pub(crate) const BINARY: u8 = 2;
/// Opcode of a close.
pub(crate) const CLOSE: u8 = 8;
/// Opcode of a ping.
pub(crate) const PING: u8 = 9;
/// Opcode of a pong.
pub(crate) const PONG: u8 = 10;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const HEADERS_MAX: usize = 32;

/// A frame found in a buffer. Its payload is `start..end` there, still masked if it has a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// What it carries.
    pub(crate) opcode: u8,
    /// The mask of a client's frame.
    pub(crate) mask: Option<[u8; 4]>,
    /// First byte of the payload.
    pub(crate) start: usize,
    /// End of the payload and of the frame.
    pub(crate) end: usize,
}

/// The peer's bytes are not what this module reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("sent a fragmented or extended frame")]
    Fragmented,
    #[error("sent a frame longer than memory")]
    TooLong,
    #[error("did not answer the upgrade with 101")]
    NotSwitched,
    #[error("sent a broken HTTP head")]
    Head,
}

/// Finds the first frame in `data`; `None` until it is complete.
pub(crate) fn parse(data: &[u8]) -> Result<Option<Frame>, Malformed> {
    let &[first, second, ..] = data else { return Ok(None) };
    if first & 0xf0 != FIN || first & 0x0f == 0 {
        return Err(Malformed::Fragmented);
    }
    let (length, mut start) = match second & 0x7f {
        126 => match data.get(2..4) {
            Some(&[a, b]) => (u64::from(u16::from_be_bytes([a, b])), 4),
            _ => return Ok(None),
        },
        127 => match data.get(2..10).and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => (u64::from_be_bytes(bytes), 10),
            None => return Ok(None),
        },
        short => (u64::from(short), 2),
    };
    let mut mask = None;
    if second & MASKED != 0 {
        mask = data.get(start..start + 4).and_then(|bytes| bytes.try_into().ok());
        if mask.is_none() {
            return Ok(None);
        }
        start += 4;
    }
    let length = usize::try_from(length).map_err(|_| Malformed::TooLong)?;
    let end = start.checked_add(length).ok_or(Malformed::TooLong)?;
    let frame = Frame { opcode: first & 0x0f, mask, start, end };
    Ok((data.len() >= end).then_some(frame))
}

/// Appends a client's frame.
pub(crate) fn write_masked(opcode: u8, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    write_header(opcode, MASKED, payload.len(), out);
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], mask);
}

/// Appends a server's frame.
pub(crate) fn write_plain(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    write_header(opcode, 0, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Masks or unmasks in place.
pub(crate) fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

fn write_header(opcode: u8, masked: u8, length: usize, out: &mut Vec<u8>) {
    out.push(FIN | opcode);
    match length {
        0..=125 => out.push(masked | length as u8),
        126..=0xffff => {
            out.push(masked | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// The client's half of the opening handshake. One key serves all connections of a run: the
/// server must compute its answer each time anyway.
#[derive(Debug)]
pub(crate) struct Opening {
    key: String,
    accept: String,
}

impl Opening {
    /// Draws a key.
    pub(crate) fn new() -> Self {
        let key = generate_key();
        let accept = derive_accept_key(key.as_bytes());
        Self { key, accept }
    }

    /// Appends the upgrade request for `path`.
    pub(crate) fn request(&self, path: &str, host: &str, out: &mut Vec<u8>) {
        let Self { key, .. } = self;
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        );
        out.extend_from_slice(head.as_bytes());
    }

    /// Checks the server's answer; the number of its bytes once it is complete.
    pub(crate) fn response(&self, data: &[u8]) -> Result<Option<usize>, Malformed> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(data).map_err(|_| Malformed::Head)?;
        let httparse::Status::Complete(bytes) = parsed else { return Ok(None) };
        let accepted = response.headers.iter().any(|header| {
            header.name.eq_ignore_ascii_case("sec-websocket-accept")
                && header.value == self.accept.as_bytes()
        });
        if response.code != Some(101) || !accepted {
            return Err(Malformed::NotSwitched);
        }
        Ok(Some(bytes))
    }
}

/// The server's half: the path asked for, the head's length, and the answer appended to `out`.
pub(crate) fn answer(data: &[u8], out: &mut Vec<u8>) -> Result<Option<(String, usize)>, Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(data).map_err(|_| Malformed::Head)?;
    let httparse::Status::Complete(bytes) = parsed else { return Ok(None) };
    let key = request.headers.iter().find(|h| h.name.eq_ignore_ascii_case("sec-websocket-key"));
    let (Some(key), Some(path)) = (key, request.path) else { return Err(Malformed::Head) };
    let accept = derive_accept_key(key.value);
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    out.extend_from_slice(head.as_bytes());
    Ok(Some((path.to_owned(), bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_all_three_lengths_are_read_back_only_when_complete() {
        for length in [0usize, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'p'; length];
            let mut wire = Vec::new();
            write_masked(TEXT, &payload, [1, 2, 3, 4], &mut wire);
            assert_eq!(parse(&wire[..wire.len() - 1]), Ok(None), "{length}");
            let frame = parse(&wire).unwrap().unwrap();
            assert_eq!((frame.opcode, frame.end), (TEXT, wire.len()));
            apply_mask(&mut wire[frame.start..], frame.mask.unwrap());
            assert_eq!(&wire[frame.start..], &payload[..]);
        }
    }

    #[test]
    fn fragments_are_refused() {
        assert_eq!(parse(&[0x01, 0]), Err(Malformed::Fragmented));
        assert_eq!(parse(&[0x80, 0]), Err(Malformed::Fragmented));
        assert_eq!(parse(&[0xc1, 0]), Err(Malformed::Fragmented));
    }

    #[test]
    fn both_halves_of_the_handshake_agree() {
        let opening = Opening::new();
        let (mut request, mut response) = (Vec::new(), Vec::new());
        opening.request("/room/1", "127.0.0.1:80", &mut request);
        let (path, bytes) = answer(&request, &mut response).unwrap().unwrap();
        assert_eq!((path.as_str(), bytes), ("/room/1", request.len()));
        assert_eq!(opening.response(&response), Ok(Some(response.len())));
        assert_eq!(opening.response(&response[..20]), Ok(None));
        assert_eq!(opening.response(b"HTTP/1.1 200 OK\r\n\r\n"), Err(Malformed::NotSwitched));
    }
}

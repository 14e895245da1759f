//! A raw WebSocket client: frames as they are on the wire, so that a test can also break the rules.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::PATIENCE;

/// The client's masking key. Any will do; a fixed one makes failures repeatable.
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub fin: bool,
    pub rsv: u8,
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Its bytes when a client sends it.
    pub fn encode(&self) -> Vec<u8> {
        let first = u8::from(self.fin) << 7 | self.rsv << 4 | self.opcode;
        frame_with(first, &self.payload, Some(MASK))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("text frames are UTF-8")
    }

    /// Code and reason of a close frame.
    pub fn close(&self) -> (u16, &str) {
        assert_eq!(self.opcode, 8, "a close frame, not {self:?}");
        match &self.payload[..] {
            [] => (1005, ""),
            [high, low, reason @ ..] => (
                u16::from_be_bytes([*high, *low]),
                std::str::from_utf8(reason).expect("reasons are UTF-8"),
            ),
            [_] => panic!("a close frame of one byte"),
        }
    }
}

/// What the server did next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    Frame(Frame),
    /// The server has ended the connection in good order.
    End,
    /// The connection was reset.
    Reset,
}

/// One frame as bytes.
pub fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame_with(u8::from(fin) << 7 | opcode, payload, Some(MASK))
}

/// One frame with any first byte, masked or not.
pub fn frame_with(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = vec![first];
    let bit = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        short @ 0..=125 => out.push(bit | short as u8),
        middle @ 126..=0xFFFF => {
            out.push(bit | 126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(bit | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    let key = mask.unwrap_or_default();
    if mask.is_some() {
        out.extend_from_slice(&key);
    }
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// An upgraded connection.
pub struct Client {
    stream: TcpStream,
    buffered: Vec<u8>,
}

impl Client {
    /// Connects and upgrades.
    pub fn open(address: SocketAddr, target: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server accepts connections");
        stream.set_nodelay(true).expect("options can be set");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("timeouts can be set");
        let mut client = Self { stream, buffered: Vec::new() };
        client.send(
            format!(
                "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            .as_bytes(),
        );
        client.expect_upgrade();
        client
    }

    fn expect_upgrade(&mut self) {
        let end = loop {
            if let Some(at) = self.buffered.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.fill().is_some_and(|read| read > 0), "no answer to the upgrade");
        };
        let head: Vec<u8> = self.buffered.drain(..end).collect();
        let head = String::from_utf8(head).expect("heads are text");
        assert!(head.starts_with("HTTP/1.1 101 "), "not upgraded: {head}");
        // The key above is that of RFC 6455 §1.3.
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "a wrong accept key: {head}");
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes bytes");
    }

    /// Sends bytes to a server that may have closed already.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    pub fn send_text(&mut self, text: &str) {
        self.send(&frame(true, 1, text.as_bytes()));
    }

    /// What the server does next, waiting for it.
    pub fn next(&mut self) -> Next {
        loop {
            if let Some(frame) = self.take_frame() {
                return Next::Frame(frame);
            }
            match self.fill() {
                Some(0) => return Next::End,
                Some(_) => {}
                None => return Next::Reset,
            }
        }
    }

    /// The next frame.
    pub fn frame(&mut self) -> Frame {
        match self.next() {
            Next::Frame(frame) => frame,
            other => panic!("a frame was expected, not {other:?}"),
        }
    }

    /// The next text message, answering no pings and skipping control frames that are not a close.
    pub fn text(&mut self) -> String {
        loop {
            let frame = self.frame();
            match frame.opcode {
                1 => return frame.text().to_owned(),
                9 | 10 => {}
                _ => panic!("a text message was expected, not {frame:?}"),
            }
        }
    }

    /// Skips everything until the server closes; its code and reason.
    pub fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next() {
                Next::Frame(frame) if frame.opcode == 8 => {
                    let (code, reason) = frame.close();
                    return (code, reason.to_owned());
                }
                Next::Frame(_) => {}
                Next::End | Next::Reset => return (1006, String::new()),
            }
        }
    }

    /// Whether anything arrives within `time`. Only for checks that nothing does.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).expect("timeouts can be set");
        let mut byte = [0];
        let silent = self.buffered.is_empty()
            && matches!(self.stream.peek(&mut byte), Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut));
        self.stream.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
        silent
    }

    /// Ends the sending side only.
    pub fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The socket, for tests that set options on it.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let [first, second, ..] = self.buffered[..] else { return None };
        assert_eq!(second & 0x80, 0, "servers do not mask (RFC 6455 §5.1)");
        let (start, length) = match second & 0x7F {
            126 => (4, u64::from(u16::from_be_bytes(self.buffered.get(2..4)?.try_into().ok()?))),
            127 => (10, u64::from_be_bytes(self.buffered.get(2..10)?.try_into().ok()?)),
            short => (2, u64::from(short)),
        };
        let shortest = match length {
            0..=125 => 2,
            126..=0xFFFF => 4,
            _ => 10,
        };
        assert_eq!(start, shortest, "lengths take their shortest form (RFC 6455 §5.2)");
        let end = start + length as usize;
        if self.buffered.len() < end {
            return None;
        }
        let payload = self.buffered[start..end].to_vec();
        self.buffered.drain(..end);
        Some(Frame { fin: first & 0x80 != 0, rsv: first >> 4 & 7, opcode: first & 15, payload })
    }

    /// Reads more; `None` after a reset, 0 at the end.
    fn fill(&mut self) -> Option<usize> {
        let mut chunk = vec![0; 64 << 10];
        match self.stream.read(&mut chunk) {
            Ok(read) => {
                self.buffered.extend_from_slice(&chunk[..read]);
                Some(read)
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("waiting for the server: {error}"),
        }
    }
}

//! A connection's bytes in pieces must decode as they do whole, and as tungstenite decodes them.
//!
//! Input: a byte that seeds the sizes of the pieces, then what a client sends.

#![no_main]

use std::io::{self, Read, Write};

use libfuzzer_sys::fuzz_target;
use lockstep::codec::websocket::{AssemblyPool, Decoder, Incoming, Limits, Violation};
use tungstenite::protocol::{Message, Role, WebSocket, WebSocketConfig};

/// Small, so that they are met.
const LIMITS: Limits = Limits { message_bytes_max: 400, fragments_max: 5 };

/// Opcode and payload; of a close only that it came, since tungstenite changes its code.
type Said = (u8, Vec<u8>);

fuzz_target!(|data: &[u8]| {
    let Some((seed, bytes)) = data.split_first() else { return };
    let whole = decode(bytes, || usize::MAX);
    let mut size = u32::from(*seed);
    let pieces = decode(bytes, || {
        size = size.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 + (size >> 28) as usize * usize::from(seed & 3)
    });
    assert_eq!(whole.0, pieces.0, "pieces say something else");
    assert_eq!(whole.1, pieces.1, "pieces are judged otherwise");
    compare(whole, reference(bytes));
});

fn compare(
    (said, result): (Vec<Said>, Result<(), Violation>),
    (theirs, is_refused): (Vec<Said>, bool),
) {
    let common = said.len().min(theirs.len());
    assert_eq!(said[..common], theirs[..common], "tungstenite hears something else");
    let is_closed = theirs.last().is_some_and(|(opcode, _)| *opcode == 8);
    assert!(result.is_err() || is_closed || said.len() == theirs.len());
    assert!(result.is_err() || is_closed || !is_refused, "accepted what tungstenite refuses");
}

fn decode(bytes: &[u8], mut size: impl FnMut() -> usize) -> (Vec<Said>, Result<(), Violation>) {
    let (mut decoder, mut pool, mut said) = (Decoder::new(), AssemblyPool::new(1), Vec::new());
    let mut buffer = bytes.to_vec();
    let (mut rest, mut arrived) = (&mut buffer[..], 0);
    while !rest.is_empty() {
        let mut input = rest.split_off_mut(..size().min(rest.len())).unwrap_or_default();
        arrived += input.len();
        loop {
            match decoder.next(&mut input, LIMITS, &mut pool) {
                Ok(Some(incoming)) => said.push(own(incoming)),
                Ok(None) => break,
                Err(violation) => return (said, Err(violation)),
            }
        }
        assert!(decoder.partial_bytes() <= 1024 + 2 * arrived.min(LIMITS.message_bytes_max));
    }
    (said, Ok(()))
}

fn own(incoming: Incoming<'_>) -> Said {
    match incoming {
        Incoming::Text(text) => (1, text.as_bytes().to_vec()),
        Incoming::Binary(bytes) => (2, bytes.to_vec()),
        Incoming::Close(_) => (8, Vec::new()),
        Incoming::Ping(bytes) => (9, bytes.to_vec()),
        Incoming::Pong(bytes) => (10, bytes.to_vec()),
    }
}

/// What tungstenite makes of the bytes, and whether it refused any.
fn reference(bytes: &[u8]) -> (Vec<Said>, bool) {
    let config = WebSocketConfig::default()
        .read_buffer_size(1024)
        .max_message_size(Some(LIMITS.message_bytes_max));
    let mut socket = WebSocket::from_raw_socket(Wire(bytes), Role::Server, Some(config));
    let mut said = Vec::new();
    loop {
        said.push(match socket.read() {
            Ok(Message::Text(text)) => (1, text.as_bytes().to_vec()),
            Ok(Message::Binary(bytes)) => (2, bytes.to_vec()),
            Ok(Message::Close(_)) => (8, Vec::new()),
            Ok(Message::Ping(bytes)) => (9, bytes.to_vec()),
            Ok(Message::Pong(bytes)) => (10, bytes.to_vec()),
            Ok(Message::Frame(_)) | Err(tungstenite::Error::Io(_)) => return (said, false),
            Err(_) => return (said, true),
        });
    }
}

/// A connection that has these bytes to read and forgets what is written.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

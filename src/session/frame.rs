//! Headers of server-to-client WebSocket frames (RFC 6455 §5.2): final, never masked, so that the
//! same bytes serve every receiver.

/// The kind of a server frame: its first byte, FIN set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// A whole text message.
    Text = 0x81,
    /// A whole binary message.
    Binary = 0x82,
    /// Close (RFC 6455 §5.5.1).
    Close = 0x88,
    /// Ping (§5.5.2).
    Ping = 0x89,
    /// Pong (§5.5.3).
    Pong = 0x8A,
}

/// The longest server frame header, in bytes.
pub const HEADER_BYTES_MAX: usize = 10;

/// An encoded frame header.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    bytes: [u8; HEADER_BYTES_MAX],
    len: u8,
}

impl Header {
    /// The header of one unfragmented server frame with `payload` bytes.
    pub fn new(kind: FrameKind, payload: usize) -> Self {
        let mut bytes = [0; HEADER_BYTES_MAX];
        bytes[0] = kind as u8;
        let len = match payload {
            0..=125 => {
                bytes[1] = payload as u8;
                2
            }
            126..=0xFFFF => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..10].copy_from_slice(&(payload as u64).to_be_bytes());
                10
            }
        };
        Self { bytes, len }
    }

    /// The bytes that go on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// First byte and payload of the first of several server frames, and what follows; `None` if there is no
/// whole one.
pub fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (head, len) = match *bytes.get(1)? {
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        len => (2, usize::from(len)),
    };
    Some((bytes[0], bytes.get(head..head + len)?, &bytes[head + len..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        for (payload, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xFF, 0xFF]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            assert_eq!(Header::new(FrameKind::Text, payload).as_bytes(), header);
        }
    }
}

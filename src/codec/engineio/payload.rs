//! Payloads of long-polling: packets with U+001E between them, binary ones as `b` and base64
//! (specs: socketio §3).

use data_encoding::BASE64;

use crate::session::frame::{self, FrameKind};

/// Between two packets.
const SEPARATOR: char = '\u{1e}';

/// The packets of a payload, as texts. One that is empty is no packet.
pub fn packets(payload: &str) -> impl Iterator<Item = &str> {
    payload.split(SEPARATOR)
}

/// Adds a packet to a payload.
pub fn push(payload: &mut Vec<u8>, packet: &[u8]) {
    separate(payload);
    payload.extend_from_slice(packet);
}

/// Adds what is framed for WebSockets: text frames are packets, binary frames messages. Frames of
/// other kinds say nothing to one who polls. `frames` are whole frames of ours.
pub fn from_frames(payload: &mut Vec<u8>, frames: &[u8]) {
    let mut rest = frames;
    while let Some((kind, content, behind)) = frame::split(rest) {
        if kind == FrameKind::Text as u8 {
            push(payload, content);
        } else if kind == FrameKind::Binary as u8 {
            separate(payload);
            payload.push(b'b');
            payload.extend_from_slice(BASE64.encode(content).as_bytes());
        }
        rest = behind;
    }
    debug_assert!(rest.is_empty(), "half a frame");
}

fn separate(payload: &mut Vec<u8>) {
    if !payload.is_empty() {
        payload.push(SEPARATOR as u8);
    }
}

//! Headers of client frames: tungstenite reads them, the rules for clients are checked here.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::{CONTROL_BYTES_MAX, Violation};

/// The longest client frame header, in bytes: two, eight of length, four of mask.
pub(super) const HEADER_BYTES_MAX: usize = 14;

/// What a frame is, by its opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Binary,
    Continuation,
    Close,
    Ping,
    Pong,
}

impl Kind {
    /// Whether it is a control frame, which may come between the fragments of a message.
    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    fn of(opcode: OpCode) -> Result<Self, Violation> {
        match opcode {
            OpCode::Data(Data::Text) => Ok(Self::Text),
            OpCode::Data(Data::Binary) => Ok(Self::Binary),
            OpCode::Data(Data::Continue) => Ok(Self::Continuation),
            OpCode::Control(Control::Close) => Ok(Self::Close),
            OpCode::Control(Control::Ping) => Ok(Self::Ping),
            OpCode::Control(Control::Pong) => Ok(Self::Pong),
            _ => Err(Violation::ReservedOpcode),
        }
    }
}

/// A valid header of a client frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) is_final: bool,
    /// The key for the first byte of payload that is still to come.
    pub(super) mask: [u8; 4],
    /// Announced length of the payload, in bytes.
    pub(super) length: u64,
}

/// Reads the header at the beginning of `bytes`, and its size; `None` when it is incomplete.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Violation> {
    let mut cursor = Cursor::new(bytes);
    // Its only error on bytes in memory is an opcode it does not know.
    let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Violation::ReservedOpcode)?;
    let Some((header, length)) = parsed else { return Ok(None) };
    let size = cursor.position() as usize;
    if header.len(length) != size {
        return Err(Violation::LengthNotMinimal);
    }
    Ok(Some((checked(&header, length)?, size)))
}

fn checked(header: &FrameHeader, length: u64) -> Result<Header, Violation> {
    if header.rsv1 || header.rsv2 || header.rsv3 {
        return Err(Violation::ReservedBits);
    }
    let kind = Kind::of(header.opcode)?;
    let mask = header.mask.ok_or(Violation::Unmasked)?;
    if kind.is_control() {
        check_control(header.is_final, length)?;
    }
    if length > i64::MAX as u64 {
        return Err(Violation::LengthOutOfRange);
    }
    Ok(Header { kind, is_final: header.is_final, mask, length })
}

fn check_control(is_final: bool, length: u64) -> Result<(), Violation> {
    if !is_final {
        return Err(Violation::FragmentedControl);
    }
    if length > CONTROL_BYTES_MAX as u64 {
        return Err(Violation::OversizeControl);
    }
    Ok(())
}

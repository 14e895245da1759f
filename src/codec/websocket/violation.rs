//! What a client can do wrong on a WebSocket connection.

use crate::session::Close;

/// Why a client's bytes were refused. The connection cannot be decoded any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
#[non_exhaustive]
pub enum Violation {
    /// An RSV bit is set though no extension was agreed on (RFC 6455 §5.2).
    ReservedBits,
    /// Opcode 3–7 or 11–15 (§5.2).
    ReservedOpcode,
    /// A client's frame carries no mask (§5.1).
    Unmasked,
    /// A control frame without FIN (§5.5).
    FragmentedControl,
    /// A control frame of more than 125 bytes (§5.5).
    OversizeControl,
    /// The length takes more bytes than it needs (§5.2).
    LengthNotMinimal,
    /// The top bit of a 64-bit length is set (§5.2).
    LengthOutOfRange,
    /// A continuation frame outside a message (§5.4).
    UnexpectedContinuation,
    /// A new message before the fragmented one ended (§5.4).
    InterleavedMessage,
    /// A close frame of one byte (§5.5.1).
    TruncatedCloseCode,
    /// A close code that must not be sent (§7.4).
    CloseCodeNotAllowed,
    /// Text or a close reason is not UTF-8 (§8.1).
    InvalidUtf8,
    /// The message is larger than allowed here.
    MessageTooBig,
    /// The message has more fragments than allowed here.
    TooManyFragments,
}

impl Violation {
    /// The close code (§7.4.1) and reason the client is told.
    pub fn close(self) -> Close {
        Close::new(self.code(), self.reason())
    }

    fn code(self) -> u16 {
        match self {
            Self::InvalidUtf8 => 1007,
            Self::TooManyFragments => 1008,
            Self::MessageTooBig => 1009,
            _ => 1002,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bits set",
            Self::ReservedOpcode => "reserved opcode",
            Self::Unmasked => "unmasked frame",
            Self::FragmentedControl => "fragmented control frame",
            Self::OversizeControl => "control frame over 125 bytes",
            Self::LengthNotMinimal => "length not in its shortest form",
            Self::LengthOutOfRange => "length over 63 bits",
            Self::UnexpectedContinuation => "continuation without a message",
            Self::InterleavedMessage => "message inside a fragmented message",
            Self::TruncatedCloseCode => "close frame of one byte",
            Self::CloseCodeNotAllowed => "close code not allowed",
            Self::InvalidUtf8 => "invalid UTF-8",
            Self::MessageTooBig => "message too big",
            Self::TooManyFragments => "too many fragments",
        }
    }
}

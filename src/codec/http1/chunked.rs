//! Chunked bodies (RFC 9112 §7.1), decoded as they arrive.

/// Most hexadecimal digits of a chunk's size: 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

/// Longest chunk extension, in bytes, from its `;` on.
const EXTENSION_BYTES_MAX: u16 = 256;

/// Longest trailer section, in bytes.
const TRAILER_BYTES_MAX: u16 = 4 << 10;

/// Decoder of one chunked body. Extensions and trailers are checked for length and skipped.
#[derive(Clone, Copy, Debug)]
pub struct ChunkedDecoder {
    state: State,
}

/// What [`ChunkedDecoder::decode`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A piece of the body, never empty.
    Data(&'a [u8]),
    /// The body is over; what is left of the input belongs to the next request.
    End,
    /// The input is used up.
    NeedMore,
}

/// Why a chunked body is refused with 400. The connection must be closed: where the next request
/// begins is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkedError {
    /// The size is not 1–16 hexadecimal digits.
    #[error("malformed chunk size")]
    Size,
    /// An extension is over 256 bytes or has control characters.
    #[error("malformed chunk extension")]
    Extension,
    /// CR LF was expected.
    #[error("malformed line end in a chunked body")]
    LineEnd,
    /// The trailer section is over 4 KiB or has control characters.
    #[error("malformed trailer section")]
    Trailer,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// In the size, so many digits of it seen.
    Size {
        size: u64,
        digits: u8,
    },
    /// In the extension, so many bytes of it seen.
    Extension {
        size: u64,
        bytes: u16,
    },
    /// Before the LF that ends the size line.
    SizeLf {
        size: u64,
    },
    /// So many bytes of data to come.
    Data {
        left: u64,
    },
    /// Before the CR behind the data.
    DataCr,
    /// Before the LF behind the data.
    DataLf,
    /// In the trailer section, so many bytes of it seen.
    Trailer {
        bytes: u16,
        is_line_start: bool,
    },
    /// Before the LF of a trailer line, or of the empty one.
    TrailerLf {
        bytes: u16,
        is_last: bool,
    },
    End,
}

impl ChunkedDecoder {
    /// A decoder for the first byte behind a head.
    pub const fn new() -> Self {
        Self { state: State::Size { size: 0, digits: 0 } }
    }

    /// Gives the next piece of the body out of `input`, advancing it. Call it until it gives
    /// [`Piece::NeedMore`] or [`Piece::End`].
    pub fn decode<'a>(&mut self, input: &mut &'a [u8]) -> Result<Piece<'a>, ChunkedError> {
        loop {
            match self.state {
                State::End => return Ok(Piece::End),
                State::Data { left } if !input.is_empty() => return Ok(self.data(left, input)),
                _ => {}
            }
            let Some((byte, rest)) = input.split_first() else { return Ok(Piece::NeedMore) };
            self.state = self.state.after(*byte)?;
            *input = rest;
        }
    }

    fn data<'a>(&mut self, left: u64, input: &mut &'a [u8]) -> Piece<'a> {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let (data, rest) = input.split_at(count);
        *input = rest;
        self.state = State::chunk(left - count as u64);
        Piece::Data(data)
    }
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// In a chunk with `left` bytes to come.
    fn chunk(left: u64) -> Self {
        if left == 0 { Self::DataCr } else { Self::Data { left } }
    }

    fn after(self, byte: u8) -> Result<Self, ChunkedError> {
        match self {
            Self::Size { size, digits } => after_size(size, digits, byte),
            Self::Extension { size, bytes } => after_extension(size, bytes, byte),
            Self::SizeLf { size: 0 } => {
                line_feed(byte, Self::Trailer { bytes: 0, is_line_start: true })
            }
            Self::SizeLf { size } => line_feed(byte, Self::Data { left: size }),
            Self::DataCr if byte == b'\r' => Ok(Self::DataLf),
            Self::DataCr => Err(ChunkedError::LineEnd),
            Self::DataLf => line_feed(byte, Self::new()),
            Self::Trailer { bytes, is_line_start } => after_trailer(bytes, is_line_start, byte),
            Self::TrailerLf { is_last: true, .. } => line_feed(byte, Self::End),
            Self::TrailerLf { bytes, .. } => {
                line_feed(byte, Self::Trailer { bytes, is_line_start: true })
            }
            Self::Data { .. } | Self::End => Ok(self),
        }
    }

    const fn new() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

fn after_size(size: u64, digits: u8, byte: u8) -> Result<State, ChunkedError> {
    match (char::from(byte).to_digit(16), byte) {
        (Some(digit), _) if digits < SIZE_DIGITS_MAX => {
            Ok(State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
        }
        (None, b'\r') if digits > 0 => Ok(State::SizeLf { size }),
        (None, b';') if digits > 0 => Ok(State::Extension { size, bytes: 1 }),
        _ => Err(ChunkedError::Size),
    }
}

fn after_extension(size: u64, bytes: u16, byte: u8) -> Result<State, ChunkedError> {
    match byte {
        b'\r' => Ok(State::SizeLf { size }),
        _ if is_text(byte) && bytes < EXTENSION_BYTES_MAX => {
            Ok(State::Extension { size, bytes: bytes + 1 })
        }
        _ => Err(ChunkedError::Extension),
    }
}

fn after_trailer(bytes: u16, is_line_start: bool, byte: u8) -> Result<State, ChunkedError> {
    match byte {
        b'\r' => Ok(State::TrailerLf { bytes, is_last: is_line_start }),
        _ if is_text(byte) && bytes < TRAILER_BYTES_MAX => {
            Ok(State::Trailer { bytes: bytes + 1, is_line_start: false })
        }
        _ => Err(ChunkedError::Trailer),
    }
}

fn line_feed(byte: u8, next: State) -> Result<State, ChunkedError> {
    if byte == b'\n' { Ok(next) } else { Err(ChunkedError::LineEnd) }
}

/// Whether the byte may stand in a header line.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

//! Bodies of requests, as they arrive.

use super::chunked::{ChunkedDecoder, ChunkedError, Piece};
use super::head::BodyLength;

/// Reads one body, whichever way its end is found.
#[derive(Clone, Copy, Debug)]
pub enum BodyReader {
    /// So many bytes are still to come.
    Length(u64),
    /// In chunks.
    Chunked(ChunkedDecoder),
}

impl BodyReader {
    /// A reader for a body of this length.
    pub fn new(length: BodyLength) -> Self {
        match length {
            BodyLength::None => Self::Length(0),
            BodyLength::Length(bytes) => Self::Length(bytes),
            BodyLength::Chunked => Self::Chunked(ChunkedDecoder::default()),
        }
    }

    /// Moves bytes of the body from `input` to `out`, until `out` has `bytes_max` or a little more.
    /// Whether the body is complete; what is left of `input` then belongs to the next request.
    pub fn collect(
        &mut self,
        input: &mut Vec<u8>,
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<bool, ChunkedError> {
        let mut complete = false;
        let consumed = match self {
            Self::Length(left) => {
                let room = bytes_max.saturating_sub(out.len());
                let taken = input.len().min(room).min(usize::try_from(*left).unwrap_or(room));
                out.extend_from_slice(&input[..taken]);
                *left -= taken as u64;
                complete = *left == 0;
                taken
            }
            Self::Chunked(decoder) => {
                let mut rest: &[u8] = input;
                while out.len() < bytes_max {
                    match decoder.decode(&mut rest)? {
                        Piece::Data(data) => out.extend_from_slice(data),
                        Piece::End => {
                            complete = true;
                            break;
                        }
                        Piece::NeedMore => break,
                    }
                }
                input.len() - rest.len()
            }
        };
        input.drain(..consumed);
        Ok(complete)
    }
}

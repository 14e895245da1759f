//! HTTP/1.1 (RFC 9112): heads of requests, chunked bodies, paths, ranges and responses.
//!
//! Invariants:
//! - A request whose end could be read in two ways is refused, never repaired: that is what request
//!   smuggling lives on.
//! - Nothing here waits or keeps bytes: a head is parsed once, when it is complete.
//!
//! Deliberately absent: HTTP/2, compression, cookies, multipart, and any deadline (the shard's).

mod body;
pub mod chunked;
mod head;
pub mod path;
pub mod range;
pub mod response;

#[cfg(test)]
mod tests;

pub use body::BodyReader;
pub use chunked::{ChunkedDecoder, ChunkedError, Piece};
pub use head::{
    BodyLength, HEAD_BYTES_MAX, HEADERS_MAX, HeadError, Request, find_head_end, parse_head,
};
pub use path::PathError;
pub use range::RangeResult;
pub use response::BodyKind;

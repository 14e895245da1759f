//! Heads and chunked bodies: no panic, the same end whatever follows, the same body in pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lockstep::codec::http1::{
    BodyLength, ChunkedDecoder, Piece, find_head_end, parse_head, path::safe_relative, range,
};
use lockstep::codec::websocket;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some((request, size))) = parse_head(bytes) else { return };
    assert_eq!(find_head_end(bytes, 0), Some(size));
    assert_eq!(find_head_end(bytes, size - 1), Some(size));
    assert!(matches!(parse_head(&bytes[..size]), Ok(Some((_, alone))) if alone == size));
    assert!(matches!(parse_head(&bytes[..size - 1]), Ok(None)));
    assert!(!request.target.contains(|letter: char| letter.is_ascii_control() || letter == ' '));
    let _ = (request.query(), request.keep_alive(), websocket::accept(&request).is_ok());
    if let Ok(path) = safe_relative(request.path().trim_start_matches('/')) {
        assert!(path.split('/').all(|segment| !matches!(segment, "" | "." | "..")), "{path}");
        assert!(!path.contains(['\0', '\\']), "{path}");
    }
    if let Some(value) = request.header("range") {
        if let range::RangeResult::Part { start, end_inclusive } = range::parse(value, 1000) {
            assert!(start <= end_inclusive && end_inclusive < 1000);
        }
    }
    if request.body() == Ok(BodyLength::Chunked) {
        assert_eq!(dechunk(&bytes[size..], usize::MAX), dechunk(&bytes[size..], 3));
    }
});

/// The body so far, and how many bytes follow it if it is over; `None` if it is refused.
fn dechunk(bytes: &[u8], piece: usize) -> Option<(Vec<u8>, Option<usize>)> {
    let (mut decoder, mut body, mut behind) = (ChunkedDecoder::new(), Vec::new(), bytes.len());
    for mut input in bytes.chunks(piece) {
        behind -= input.len();
        loop {
            match decoder.decode(&mut input).ok()? {
                Piece::Data(data) => body.extend_from_slice(data),
                Piece::End => return Some((body, Some(behind + input.len()))),
                Piece::NeedMore => break,
            }
        }
    }
    Some((body, None))
}

use proptest::prelude::*;

use super::path::{percent_decode, safe_relative};
use super::{
    BodyKind, BodyLength, ChunkedDecoder, ChunkedError, HEAD_BYTES_MAX, HeadError, PathError,
    Piece, RangeResult, Request, find_head_end, parse_head, range, response,
};

fn head(bytes: &[u8]) -> Result<Request<'_>, HeadError> {
    let (request, size) = parse_head(bytes)?.expect("a complete head");
    assert_eq!(size, bytes.len());
    Ok(request)
}

#[test]
fn a_head_is_read() {
    let bytes = b"GET /a%20b?c=d?e HTTP/1.1\r\nhost: h\r\nX-A:  one \r\nx-a: two\r\n\r\n";
    let request = head(bytes).unwrap();
    assert_eq!((request.method, request.target), ("GET", "/a%20b?c=d?e"));
    assert_eq!((request.path(), request.query()), ("/a%20b", Some("c=d?e")));
    assert_eq!(request.header("HOST"), Some("h"));
    assert_eq!(request.headers("X-a").collect::<Vec<_>>(), [b"one", b"two"]);
    assert_eq!(request.header("none"), None);
    assert_eq!(request.body(), Ok(BodyLength::None));
}

#[test]
fn what_follows_a_head_is_left() {
    let bytes = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n\r\n\r\nGET";
    let (request, size) = parse_head(bytes).unwrap().unwrap();
    assert_eq!(&bytes[size..], b"\r\n\r\nGET");
    assert_eq!(request.body(), Ok(BodyLength::Length(4)));
}

#[test]
fn targets_have_a_path_whatever_their_form() {
    for (target, path, query) in [
        ("/", "/", None),
        ("/a?", "/a", Some("")),
        ("*", "*", None),
        ("http://h:1/a/b?c", "/a/b", Some("c")),
        ("http://h", "/", None),
        ("http://h?q", "", Some("q")),
        ("/a?u=http://b/c", "/a", Some("u=http://b/c")),
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        let request = head(bytes.as_bytes()).unwrap();
        assert_eq!((request.path(), request.query()), (path, query), "{target}");
    }
}

#[test]
fn incomplete_heads_wait() {
    let bytes = b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";
    for end in 0..bytes.len() {
        assert!(matches!(parse_head(&bytes[..end]), Ok(None)), "{end}");
    }
    assert!(head(bytes).is_ok());
}

#[test]
fn a_head_that_trickles_in_is_found_from_any_resumption() {
    let bytes = b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\nbody\r\n\r\n";
    let end = bytes.len() - 8;
    for from in 0..=end {
        assert_eq!(find_head_end(&bytes[..from], 0).is_some(), from == end);
        if from < end {
            assert_eq!(find_head_end(bytes, from), Some(end), "{from}");
        }
    }
}

#[test]
fn bad_heads_are_refused() {
    let host = "Host: h\r\n";
    for (line, headers, error) in [
        ("GET /", host, HeadError::RequestLine),
        ("GET  / HTTP/1.1", host, HeadError::RequestLine),
        ("GET / HTTP/1.1 ", host, HeadError::RequestLine),
        ("GET / HTTX/1.1", host, HeadError::RequestLine),
        ("GET / http/1.1", host, HeadError::RequestLine),
        ("GET /\0 HTTP/1.1", host, HeadError::RequestLine),
        ("GET /\x01 HTTP/1.1", host, HeadError::RequestLine),
        ("GET /\x7f HTTP/1.1", host, HeadError::RequestLine),
        ("GET /\t HTTP/1.1", host, HeadError::RequestLine),
        ("GET /a b HTTP/1.1", host, HeadError::RequestLine),
        ("G{T / HTTP/1.1", host, HeadError::RequestLine),
        ("\x16\x03\x01", host, HeadError::RequestLine),
        (" GET / HTTP/1.1", host, HeadError::RequestLine),
        ("\r\n\r\n\r\nGET / HTTP/1.1", host, HeadError::RequestLine),
        ("GET / HTTP/2.0", host, HeadError::Version),
        ("GET / HTTP/0.9", host, HeadError::Version),
        ("PRI * HTTP/2.0", "", HeadError::Version),
        ("GET / HTTP/1.1", "", HeadError::Host),
        ("GET / HTTP/1.1", "Host: h\r\nHost: h\r\n", HeadError::Host),
        ("GET / HTTP/1.0", "Host: h\r\nHost: i\r\n", HeadError::Host),
        ("GET / HTTP/1.1", "Host: h\r\nA b: c\r\n", HeadError::HeaderField),
        ("GET / HTTP/1.1", "Host: h\r\nA : c\r\n", HeadError::HeaderField),
        ("GET / HTTP/1.1", "Host: h\r\n: c\r\n", HeadError::HeaderField),
        ("GET / HTTP/1.1", "Host: h\r\nnocolon\r\n", HeadError::HeaderField),
        ("GET / HTTP/1.1", "Host: h\r\nA: b\r\n folded\r\n", HeadError::HeaderField),
        ("GET / HTTP/1.1", "Host: h\r\nA: b\r\n\tfolded\r\n", HeadError::HeaderField),
        ("GET / HTTP/1.1", " Host: h\r\n", HeadError::HeaderField),
        ("GET / HTTP/1.1", "Host: h\r\nA: b\0\r\n", HeadError::HeaderField),
        ("GET / HTTP/1.1", "Host: h\r\nA: b\rc\r\n", HeadError::HeaderField),
        ("GET / HTTP/1.1", "Host: h\nA: b\r\n", HeadError::HeaderField),
        ("GET / HTTP/1.1\nHost: h", "", HeadError::HeaderField),
        ("GET / HTTP/1.1", "Host: h\r\nA: b\n\nGET /evil HTTP/1.1\r\n", HeadError::HeaderField),
    ] {
        let bytes = format!("{line}\r\n{headers}\r\n");
        assert_eq!(parse_head(bytes.as_bytes()).err(), Some(error), "{bytes:?}");
    }
}

#[test]
fn the_end_of_a_body_is_unambiguous_or_refused() {
    let length = |length| Ok(BodyLength::Length(length));
    let (chunked, ambiguous) = ("Transfer-Encoding: chunked\r\n", Err(HeadError::AmbiguousBody));
    for (headers, body) in [
        ("", Ok(BodyLength::None)),
        ("Content-Length: 0\r\n", length(0)),
        ("content-length: 18446744073709551615\r\n", length(u64::MAX)),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", length(5)),
        (chunked, Ok(BodyLength::Chunked)),
        ("transfer-encoding: CHUNKED\r\n", Ok(BodyLength::Chunked)),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", Err(HeadError::ContentLength)),
        ("Content-Length: 5, 5\r\n", Err(HeadError::ContentLength)),
        ("Content-Length: +5\r\n", Err(HeadError::ContentLength)),
        ("Content-Length: -5\r\n", Err(HeadError::ContentLength)),
        ("Content-Length: 0x5\r\n", Err(HeadError::ContentLength)),
        ("Content-Length: 5 5\r\n", Err(HeadError::ContentLength)),
        ("Content-Length:\r\n", Err(HeadError::ContentLength)),
        ("Content-Length: 18446744073709551616\r\n", Err(HeadError::ContentLength)),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", ambiguous),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", ambiguous),
        ("Transfer-Encoding: gzip, chunked\r\n", Err(HeadError::TransferCoding)),
        ("Transfer-Encoding: identity\r\n", Err(HeadError::TransferCoding)),
        ("Transfer-Encoding: xchunked\r\n", Err(HeadError::TransferCoding)),
        ("Transfer-Encoding: chunked, chunked\r\n", Err(HeadError::TransferCoding)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", Err(HeadError::TransferCoding)),
        ("Transfer-Encoding: \"chunked\"\r\n", Err(HeadError::TransferCoding)),
        ("Transfer-Encoding:\r\n", Err(HeadError::TransferCoding)),
        ("Transfer-Encoding: \x0bchunked\r\n", Err(HeadError::HeaderField)),
        ("Transfer-Encoding : chunked\r\n", Err(HeadError::HeaderField)),
    ] {
        let bytes = format!("POST / HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
        let found = head(bytes.as_bytes()).map(|request| request.body().unwrap());
        assert_eq!(found, body, "{headers:?}");
    }
    let old = format!("POST / HTTP/1.0\r\n{chunked}\r\n");
    assert_eq!(head(old.as_bytes()).err(), Some(HeadError::AmbiguousBody));
}

#[test]
fn heads_have_limits() {
    let with_headers = |count: usize| {
        let headers: String = (1..count).map(|index| format!("X{index}: y\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: h\r\n{headers}\r\n")
    };
    assert!(head(with_headers(64).as_bytes()).is_ok());
    assert_eq!(head(with_headers(65).as_bytes()).err(), Some(HeadError::TooManyHeaders));
    let of_length = |length: usize| {
        let rest = "GET / HTTP/1.1\r\nHost: h\r\nX: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "y".repeat(length - rest))
    };
    assert!(head(of_length(HEAD_BYTES_MAX).as_bytes()).is_ok());
    let too_long = of_length(HEAD_BYTES_MAX + 1);
    assert_eq!(parse_head(too_long.as_bytes()).err(), Some(HeadError::TooLong));
    assert_eq!(parse_head(&too_long.as_bytes()[..HEAD_BYTES_MAX]).err(), Some(HeadError::TooLong));
    assert!(matches!(parse_head(&too_long.as_bytes()[..HEAD_BYTES_MAX - 1]), Ok(None)));
    assert_eq!(HeadError::TooLong.status().0, 431);
    assert_eq!(HeadError::TransferCoding.status().0, 501);
}

#[test]
fn tokens_and_keep_alive() {
    for (version, connection, keeps) in [
        (1, "", true),
        (1, "Connection: Close\r\n", false),
        (1, "Connection: upgrade,close\r\n", false),
        (1, "Connection: upgrade\r\nConnection: close\r\n", false),
        (1, "Connection: closed\r\n", true),
        (0, "", false),
        (0, "Connection: Keep-Alive\r\n", true),
    ] {
        let bytes = format!("GET / HTTP/1.{version}\r\nHost: h\r\n{connection}\r\n");
        assert_eq!(head(bytes.as_bytes()).unwrap().keep_alive(), keeps, "{bytes}");
    }
}

/// The body that a decoder makes of pieces, and what it left of the last.
fn dechunk<'a>(pieces: &[&'a [u8]]) -> Result<(Vec<u8>, bool, &'a [u8]), ChunkedError> {
    let (mut decoder, mut body) = (ChunkedDecoder::new(), Vec::new());
    for piece in pieces {
        let mut input = *piece;
        loop {
            match decoder.decode(&mut input)? {
                Piece::Data(data) => body.extend_from_slice(data),
                Piece::End => return Ok((body, true, input)),
                Piece::NeedMore => break,
            }
        }
        assert!(input.is_empty());
    }
    Ok((body, false, &[]))
}

#[test]
fn chunked_bodies_are_decoded() {
    let bytes = b"4\r\nWiki\r\nA;x=\"y\"\r\npedia in\n\n\r\n00\r\nTrailer: x\r\n\r\nGET";
    assert_eq!(dechunk(&[bytes]), Ok((b"Wikipedia in\n\n".to_vec(), true, &b"GET"[..])));
    let end = bytes.len() - 3;
    for cut in 0..end {
        let (first, second) = bytes.split_at(cut);
        assert_eq!(dechunk(&[first, second]), dechunk(&[bytes]));
        assert!(!dechunk(&[first]).unwrap().1, "{cut}");
    }
}

#[test]
fn bad_chunks_are_refused() {
    let long_extension = [b"1;".as_slice(), &[b'x'; 256], b"\r\na\r\n0\r\n\r\n"].concat();
    let long_trailer = [b"0\r\n".as_slice(), &[b'x'; 4097], b"\r\n\r\n"].concat();
    for (bytes, error) in [
        (&b"\r\n"[..], ChunkedError::Size),
        (b"g\r\n", ChunkedError::Size),
        (b"0x1\r\na", ChunkedError::Size),
        (b"-1\r\na", ChunkedError::Size),
        (b" 1\r\na", ChunkedError::Size),
        (b"1 \r\na", ChunkedError::Size),
        (b"1\na\r\n0\r\n\r\n", ChunkedError::Size),
        (b";x\r\n", ChunkedError::Size),
        (b"00000000000000001\r\na", ChunkedError::Size),
        (b"FFFFFFFFFFFFFFFFF\r\na", ChunkedError::Size),
        (b"1\rXa", ChunkedError::LineEnd),
        (b"1\r\nab\r\n", ChunkedError::LineEnd),
        (b"1\r\na\n0\r\n\r\n", ChunkedError::LineEnd),
        (b"1\r\na\rX", ChunkedError::LineEnd),
        (b"1;a\nb\r\n", ChunkedError::Extension),
        (&long_extension, ChunkedError::Extension),
        (b"0\r\nA: b\n\n", ChunkedError::Trailer),
        (b"0\r\nA: b\0\r\n\r\n", ChunkedError::Trailer),
        (&long_trailer, ChunkedError::Trailer),
        (b"0\r\n\rX", ChunkedError::LineEnd),
    ] {
        assert_eq!(dechunk(&[bytes]), Err(error), "{:?}", bytes.escape_ascii().to_string());
    }
}

/// What heads are made of, and what breaks them.
const HEAD_PIECES: &[&str] = &[
    "\r\n",
    "\r\n",
    "\r\n\r\n",
    "\nHost: h",
    "\r\nHost: h",
    "\r\nHost: h",
    "\r",
    "\n",
    "\0",
    " ",
    ":",
    "\r\nContent-Length: 1",
    "\r\nTransfer-Encoding: chunked",
    ",",
    "\t",
    "\u{e9}",
    "GET / HTTP/1.1",
];

proptest! {
    #[test]
    fn written_chunks_are_read_back_however_split(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..10),
        size in 1_usize..40,
    ) {
        let mut bytes = Vec::new();
        chunks.iter().for_each(|chunk| response::write_chunk(&mut bytes, chunk));
        response::write_last_chunk(&mut bytes);
        let pieces: Vec<_> = bytes.chunks(size).collect();
        prop_assert_eq!(dechunk(&pieces), Ok((chunks.concat(), true, &[][..])));
    }

    #[test]
    fn heads_never_panic_and_their_end_does_not_depend_on_what_follows(
        pieces in prop::collection::vec(prop::sample::select(HEAD_PIECES), 0..12),
    ) {
        let bytes = [b"GET / HTTP/1.1", pieces.concat().as_bytes()].concat();
        if let Ok(Some((request, size))) = parse_head(&bytes) {
            prop_assert!(request.body().is_ok());
            prop_assert_eq!(find_head_end(&bytes, 0), Some(size));
            let (alone, alone_size) = parse_head(&bytes[..size]).unwrap().unwrap();
            prop_assert_eq!((alone.target, alone_size), (request.target, size));
        }
    }

    #[test]
    fn safe_paths_stay_below_their_root(path in "([a.%/\\\\]|%2[eEfF]|%5c|%00){0,12}") {
        if let Ok(safe) = safe_relative(&path) {
            prop_assert!(std::path::Path::new(&safe).components().all(
                |component| matches!(component, std::path::Component::Normal(_))
            ), "{}", safe);
        }
    }
}

#[test]
fn percent_escapes_are_decoded() {
    assert_eq!(percent_decode("a%20%C3%a9+b").as_deref(), Ok("a \u{e9}+b"));
    for (text, error) in [
        ("%", PathError::Escape),
        ("%2", PathError::Escape),
        ("%zz", PathError::Escape),
        ("%+1", PathError::Escape),
        ("%\u{e9}", PathError::Escape),
        ("a%00", PathError::Character),
        ("%ff", PathError::NotUtf8),
        ("%c0%ae", PathError::NotUtf8),
    ] {
        assert_eq!(percent_decode(text), Err(error), "{text}");
    }
}

#[test]
fn paths_cannot_leave_their_root() {
    assert_eq!(safe_relative("a/b%20c/..d/.e/f..").as_deref(), Ok("a/b c/..d/.e/f.."));
    assert!(safe_relative(&"x".repeat(255)).is_ok());
    assert!(safe_relative(&["x"; 32].join("/")).is_ok());
    for (path, error) in [
        ("", PathError::Empty),
        ("/etc/passwd", PathError::Empty),
        ("a//b", PathError::Empty),
        ("a/", PathError::Empty),
        (".", PathError::Dots),
        ("a/./b", PathError::Dots),
        ("../a", PathError::Dots),
        ("a/..", PathError::Dots),
        ("%2e%2e/a", PathError::Dots),
        (".%2E/a", PathError::Dots),
        ("a%2f..%2fb", PathError::Character),
        ("%2fetc", PathError::Character),
        ("a\\..\\b", PathError::Character),
        ("a%5cb", PathError::Character),
        ("a%00b", PathError::Character),
        ("a%0ab", PathError::Character),
        ("a%c2%85", PathError::Character),
        ("%252e%252e/%zz", PathError::Escape),
    ] {
        assert_eq!(safe_relative(path), Err(error), "{path}");
    }
    assert_eq!(safe_relative("%252e%252e").as_deref(), Ok("%2e%2e"), "decoded once only");
    assert_eq!(safe_relative(&"x".repeat(256)), Err(PathError::TooLong));
    assert_eq!(safe_relative(&["x"; 33].join("/")), Err(PathError::TooDeep));
}

#[test]
fn ranges_are_read() {
    let part = |start, end_inclusive| RangeResult::Part { start, end_inclusive };
    for (value, length, result) in [
        ("bytes=0-0", 10, part(0, 0)),
        ("bytes=2-5", 10, part(2, 5)),
        ("bytes=5-", 10, part(5, 9)),
        ("bytes=5-99", 10, part(5, 9)),
        ("bytes=-3", 10, part(7, 9)),
        ("bytes=-99", 10, part(0, 9)),
        ("Bytes = 1-1", 10, part(1, 1)),
        ("bytes=0-99999999999999999999999", 10, part(0, 9)),
        ("bytes=10-", 10, RangeResult::Unsatisfiable),
        ("bytes=99999999999999999999999-", 10, RangeResult::Unsatisfiable),
        ("bytes=0-", 0, RangeResult::Unsatisfiable),
        ("bytes=-0", 10, RangeResult::Unsatisfiable),
        ("bytes=-1", 0, RangeResult::Whole),
        ("bytes=5-2", 10, RangeResult::Whole),
        ("bytes=0-1,4-5", 10, RangeResult::Whole),
        ("bytes=-", 10, RangeResult::Whole),
        ("bytes=", 10, RangeResult::Whole),
        ("bytes=a-b", 10, RangeResult::Whole),
        ("bytes=1-+2", 10, RangeResult::Whole),
        ("bytes=--1", 10, RangeResult::Whole),
        ("items=0-1", 10, RangeResult::Whole),
        ("0-1", 10, RangeResult::Whole),
    ] {
        assert_eq!(range::parse(value, length), result, "{value} of {length}");
    }
}

#[test]
fn responses_say_their_length() {
    let mut out = Vec::new();
    response::write(&mut out, 200, "text/plain", "h\u{e9}".as_bytes(), true);
    let expected = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\
        Connection: keep-alive\r\n\r\nh\u{e9}";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn responses_without_body_say_none() {
    for status in [100, 204, 304] {
        let mut out = Vec::new();
        response::write(&mut out, status, "text/plain", b"body", false);
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains("Length") && text.ends_with("Connection: close\r\n\r\n"), "{text}");
    }
}

#[test]
fn no_header_value_ends_the_head() {
    let mut out = Vec::new();
    let headers = [("X-Echo", "a\r\nSet-Cookie: evil\r\n\r\n")];
    response::write_head(&mut out, 200, &headers, BodyKind::Chunked, true);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.matches("\r\n").count(), 5, "{text}");
    assert!(text.contains("\r\nTransfer-Encoding: chunked\r\n"));
}

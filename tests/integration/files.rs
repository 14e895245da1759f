//! The file server over real sockets: every status, exact headers, paths that try to leave, uploads
//! that are cut, and memory that does not follow the size of files.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::canary::Canary;
use crate::support::http::{Connection, Response, get};
use crate::support::server::{MemoryWatch, Scratch, Server};
use crate::support::{eventually, reset_on_drop};

const EXPOSED: &str = "Content-Length,Content-Range";

/// A server with one shard and one with two, in memory and with a data directory.
fn every_server(arguments: &[&str], test: impl Fn(&Server)) {
    for shards in [1, 2] {
        let server = Server::start(shards, arguments);
        test(&server);
        server.stop();
        let data = Scratch::new("files");
        let server = Server::start_in(data.path(), shards, arguments);
        test(&server);
        server.stop();
        let (_, left) = files_below(&data.path().join("files/incoming"));
        assert_eq!(left, 0, "uploads leave nothing behind");
    }
}

/// Files below a directory and their bytes.
fn files_below(directory: &Path) -> (u64, u64) {
    let entries = std::fs::read_dir(directory).expect("the directory is there");
    entries.map(|entry| entry.expect("entries can be read")).fold(
        (0, 0),
        |(bytes, count), entry| {
            let metadata = entry.metadata().expect("entries can be looked at");
            if metadata.is_dir() {
                let (more_bytes, more) = files_below(&entry.path());
                (bytes + more_bytes, count + more)
            } else {
                (bytes + metadata.len(), count + 1)
            }
        },
    )
}

fn put(address: SocketAddr, path: &str, body: &[u8]) -> u16 {
    Connection::open(address).request("PUT", path, "", body).status
}

fn has_cors(response: &Response) {
    assert_eq!(response.header("access-control-allow-origin"), Some("*"), "{response:?}");
    assert_eq!(response.header("access-control-expose-headers"), Some(EXPOSED), "{response:?}");
}

#[test]
fn a_file_is_put_replaced_and_read() {
    for profile in ["all", "croquet"] {
        every_server(&["--as", profile], |server| {
            let mut connection = Connection::open(server.address());
            let path = "/files/snapshots/abc/0000001234_17-hash.snap";
            for (body, status) in [(&b"first"[..], 201), (b"second\0\xFF", 204), (b"", 204)] {
                let response = connection.request("PUT", path, "", body);
                assert_eq!(response.status, status);
                has_cors(&response);
                let response = connection.request("GET", path, "", b"");
                assert_eq!((response.status, &response.body[..]), (200, body));
                assert_eq!(response.header("content-type"), Some("application/octet-stream"));
                assert_eq!(response.header("accept-ranges"), Some("bytes"));
                has_cors(&response);
                let head = connection.request("HEAD", path, "", b"");
                assert_eq!(head.status, 200);
                assert_eq!(head.header("content-length"), Some(&*body.len().to_string()));
                assert_eq!(head.header("etag"), response.header("etag"));
                has_cors(&head);
            }
            let json = connection.request("PUT", "/files/a.json?x=y", "", b"{}");
            assert_eq!(json.status, 201);
            let json = connection.request("GET", "/files/a.json", "", b"");
            assert_eq!(json.header("content-type"), Some("application/json"));
        });
    }
}

#[test]
fn browsers_are_told_what_they_may_do() {
    let server = Server::start(2, &[]);
    let mut connection = Connection::open(server.address());
    for path in ["/files/none", "/files/a/b"] {
        let response = connection.request("OPTIONS", path, "Origin: https://x.example\r\n", b"");
        assert_eq!(response.status, 204);
        for (name, value) in [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-methods", "GET, PUT, OPTIONS"),
            (
                "access-control-allow-headers",
                "DNT,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,\
                 Range,X-Croquet-App,X-Croquet-Id,X-Croquet-Session,X-Croquet-Version,\
                 X-Croquet-Path",
            ),
            ("access-control-max-age", "1728000"),
        ] {
            assert_eq!(response.header(name), Some(value), "{name}");
        }
    }
    // What is refused must be readable for scripts as well.
    for (method, path, status) in
        [("GET", "/files/none", 404), ("HEAD", "/files/none", 404), ("GET", "/files/..", 400)]
    {
        let response = connection.request(method, path, "", b"");
        assert_eq!(response.status, status);
        has_cors(&response);
    }
    server.stop();
}

#[test]
fn parts_can_be_asked_for() {
    every_server(&[], |server| {
        let mut connection = Connection::open(server.address());
        connection.request("PUT", "/files/f", "", b"0123456789");
        for (range, body, content_range) in [
            ("bytes=0-0", "0", "bytes 0-0/10"),
            ("bytes=2-4", "234", "bytes 2-4/10"),
            ("bytes=7-", "789", "bytes 7-9/10"),
            ("bytes=-3", "789", "bytes 7-9/10"),
            ("bytes=-100", "0123456789", "bytes 0-9/10"),
            ("bytes=5-99999999999999999999", "56789", "bytes 5-9/10"),
        ] {
            let headers = format!("Range: {range}\r\n");
            let part = connection.request("GET", "/files/f", &headers, b"");
            assert_eq!((part.status, part.text()), (206, body), "{range}");
            assert_eq!(part.header("content-range"), Some(content_range));
            has_cors(&part);
            let head = connection.request("HEAD", "/files/f", &headers, b"");
            assert_eq!(head.header("content-length"), Some(&*body.len().to_string()));
        }
        for range in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
            let headers = format!("Range: {range}\r\n");
            let part = connection.request("GET", "/files/f", &headers, b"");
            assert_eq!((part.status, part.text()), (416, ""), "{range}");
            assert_eq!(part.header("content-range"), Some("bytes */10"));
        }
        for range in ["lines=0-1", "bytes=4-2", "bytes=x", "bytes=0-1,3-4", "bytes", "=", "bytes=-"]
        {
            let headers = format!("Range: {range}\r\n");
            let whole = connection.request("GET", "/files/f", &headers, b"");
            assert_eq!((whole.status, whole.text()), (200, "0123456789"), "{range}");
        }
    });
}

#[test]
fn what_is_known_already_is_not_sent_again() {
    every_server(&[], |server| {
        let mut connection = Connection::open(server.address());
        connection.request("PUT", "/files/f", "", b"content");
        let tag = connection.request("GET", "/files/f", "", b"");
        let tag = tag.header("etag").expect("files have a tag").to_owned();
        for (tags, status) in [
            (tag.clone(), 304),
            (format!("\"other\", {tag}"), 304),
            ("\"other\"".to_owned(), 200),
            ("garbage".to_owned(), 200),
        ] {
            let headers = format!("If-None-Match: {tags}\r\n");
            for method in ["GET", "HEAD"] {
                let response = connection.request(method, "/files/f", &headers, b"");
                assert_eq!(response.status, status, "{method} {tags}");
                assert_eq!(response.header("etag"), Some(&*tag));
            }
        }
        connection.request("PUT", "/files/f", "", b"other content");
        let headers = format!("If-None-Match: {tag}\r\n");
        assert_eq!(connection.request("GET", "/files/f", &headers, b"").status, 200);
    });
}

#[test]
fn names_are_what_they_decode_to() {
    every_server(&[], |server| {
        let address = server.address();
        for (written, read) in [
            ("/files/a%20b", "/files/a%20b"),
            ("/files/%61bc", "/files/abc"),
            ("/files/a/%62/c", "/files/a/b/c"),
            ("/files/%C3%A9", "/files/%c3%a9"),
            ("/files/...", "/files/..."),
            ("/files/.hidden", "/files/%2ehidden"),
            ("/files/a+b", "/files/a+b"),
            ("/files/100%25", "/files/100%25"),
            ("/files/q%3Fq", "/files/q%3fq"),
        ] {
            assert_eq!(put(address, written, written.as_bytes()), 201, "{written}");
            assert_eq!(get(address, read).text(), written);
        }
        let long = format!("/files/{}", "x".repeat(255));
        assert_eq!(put(address, &long, b"x"), 201);
    });
}

#[test]
fn no_path_leaves_the_files() {
    let outer = Scratch::new("traversal");
    let data = outer.path().join("a/b/data");
    let server = Server::start_in(&data, 1, &[]);
    let before = files_below(outer.path()).1;
    let paths = [
        "..",
        ".",
        "../x",
        "a/../../x",
        "a/./b",
        "a//b",
        "/etc/passwd",
        "/",
        "a/",
        "",
        "%2e%2e",
        "%2e%2e/x",
        "..%2fx",
        "%2e%2e%2f%2e%2e%2fx",
        "a%2fb",
        "a/%2e%2e/%2e%2e/x",
        "%252e%252e%2fx",
        "..%5cx",
        "a%5c..%5cx",
        "x%00",
        "%00",
        "x%0a",
        "x%0d%0aX:y",
        "x%7f",
        "%c0%ae%c0%ae/x",
        "%ff",
        "%e0%80%af",
        "%",
        "%2",
        "%zz",
        "%u002e",
        "....//x",
    ];
    let mut connection = Connection::open(server.address());
    for path in paths {
        let target = format!("/files/{path}");
        for method in ["GET", "HEAD"] {
            let status = connection.request(method, &target, "", b"").status;
            assert_eq!(status, 400, "{method} {target}");
        }
        assert_eq!(put(server.address(), &target, b"x"), 400, "PUT {target}");
    }
    for target in ["/files/../x", "/../files/x", "/x/../files/../../x", "/%2e%2e/files/x"] {
        let status = put(server.address(), target, b"x");
        assert!([400, 404].contains(&status), "PUT {target}: {status}");
    }
    let deep = format!("/files/{}x", "a/".repeat(32));
    let long = format!("/files/{}", "x".repeat(256));
    let whole = format!("/files/{}", vec!["x".repeat(250); 5].join("/"));
    for target in [deep, long, whole] {
        assert_eq!(put(server.address(), &target, b"x"), 400, "{target}");
    }
    assert_eq!(files_below(outer.path()).1, before, "nothing was written anywhere");
    server.stop();
}

#[test]
fn a_directory_is_no_file_and_a_file_no_directory() {
    every_server(&[], |server| {
        let address = server.address();
        assert_eq!(put(address, "/files/a/b", b"x"), 201);
        assert_eq!(put(address, "/files/a", b"x"), 409);
        assert_eq!(put(address, "/files/a/b/c", b"x"), 409);
        for path in ["/files/a", "/files/a/b/c", "/files/none/none"] {
            assert_eq!(get(address, path).status, 404, "{path}");
        }
        assert_eq!(get(address, "/files/a/b").text(), "x");
    });
}

#[test]
fn methods_and_lengths_are_checked() {
    every_server(&["--file-bytes-max", "1000", "--files-bytes-max", "2000"], |server| {
        let address = server.address();
        for method in ["POST", "DELETE", "PATCH", "MKCOL", "get", "TRACE"] {
            let response = Connection::open(address).request(method, "/files/f", "", b"");
            assert_eq!(response.status, 405, "{method}");
            assert_eq!(response.header("allow"), Some("GET, HEAD, PUT, OPTIONS"));
        }
        let mut connection = Connection::open(address);
        connection.send(b"PUT /files/f HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(connection.response(false).status, 411);
        assert!(connection.is_closed());

        assert_eq!(put(address, "/files/f", &[b'x'; 1000]), 201);
        assert_eq!(put(address, "/files/f", &[b'y'; 1001]), 413);
        assert_eq!(put_chunked(address, "/files/f", &[b'y'; 1001], 100), 413);
        assert_eq!(
            put_chunked(address, "/files/f", &[b'x'; 1000], 1),
            204,
            "framing is not counted"
        );
        // No byte of it needs to come for that.
        let mut connection = Connection::open(address);
        connection.send(
            b"PUT /files/f HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\
              Content-Length: 18446744073709551615\r\n\r\n",
        );
        assert_eq!(connection.response(false).status, 413);
        assert_eq!(get(address, "/files/f").body, [b'x'; 1000]);

        assert_eq!(put(address, "/files/g", &[b'x'; 900]), 201);
        assert_eq!(put(address, "/files/h", &[b'x'; 101]), 507);
        assert_eq!(put_chunked(address, "/files/h", &[b'x'; 101], 7), 507);
        assert_eq!(get(address, "/files/h").status, 404);
        assert_eq!(put(address, "/files/h", &[b'x'; 100]), 201, "what was refused was given back");
        assert_eq!(put(address, "/files/g", b""), 204);
        assert_eq!(put(address, "/files/i", &[b'x'; 900]), 201, "what was replaced is free again");
    });
}

fn put_chunked(address: SocketAddr, path: &str, body: &[u8], chunk_bytes: usize) -> u16 {
    let mut connection = Connection::open(address);
    let head = format!("PUT {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection.send(head.as_bytes());
    for chunk in body.chunks(chunk_bytes) {
        let frame = [format!("{:x};x=\"y\"\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
        if !connection.try_send(&frame) {
            break;
        }
    }
    connection.try_send(b"0\r\nX-Trailer: x\r\n\r\n");
    connection.response(false).status
}

#[test]
fn bodies_may_come_in_chunks_and_after_a_question() {
    every_server(&[], |server| {
        let address = server.address();
        let body: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
        for chunk_bytes in [997, 70_000, 300_000] {
            put_chunked(address, "/files/chunks", &body, chunk_bytes);
            assert!(get(address, "/files/chunks").body == body, "chunks of {chunk_bytes}");
        }
        assert_eq!(put_chunked(address, "/files/empty", b"", 1), 201);
        assert_eq!(get(address, "/files/empty").text(), "");

        let mut connection = Connection::open(address);
        let head = "PUT /files/asked HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\
                    Expect: 100-continue\r\n\r\n";
        connection.send(head.as_bytes());
        assert_eq!(connection.response(false).status, 100);
        connection.send(b"askedGET /files/asked HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(connection.response(false).status, 201);
        assert_eq!(connection.response(false).text(), "asked");
    });
}

#[test]
fn an_upload_that_is_cut_leaves_the_old_content_and_nothing_else() {
    let quota = ["--files-bytes-max", "1MiB", "--file-bytes-max", "1MiB"];
    for shards in [1, 2] {
        let data = Scratch::new("cut");
        let server = Server::start_in(data.path(), shards, &quota);
        let address = server.address();
        let canary = Canary::start(address);
        assert_eq!(put(address, "/files/f", b"old content"), 201);
        let descriptors = server.descriptors();
        for by_reset in [false, true] {
            for (headers, sent) in [
                ("Content-Length: 600000", 0),
                ("Content-Length: 600000", 1),
                ("Content-Length: 600000", 65_536),
                ("Content-Length: 600000", 599_999),
                ("Transfer-Encoding: chunked", 300_000),
            ] {
                let mut connection = Connection::open(address);
                connection.send(
                    format!("PUT /files/f HTTP/1.1\r\nHost: h\r\n{headers}\r\n\r\n").as_bytes(),
                );
                if headers.contains("chunked") {
                    connection.send(b"fffff\r\n");
                }
                connection.send(&vec![b'n'; sent]);
                if by_reset {
                    reset_on_drop(connection.stream());
                }
            }
            eventually("all that was cut is forgotten", || {
                files_below(&data.path().join("files/incoming")) == (0, 0)
                    && server.descriptors() <= descriptors
            });
            assert_eq!(get(address, "/files/f").text(), "old content");
            // All but what is stored may be stored again: nothing is still promised to the cut.
            let rest = vec![b'r'; (1 << 20) - b"old content".len()];
            // It may just have begun on the last of them.
            eventually("there is room", || put(address, "/files/rest", &rest) != 507);
            assert_eq!(put(address, "/files/more", b"x"), 507);
            assert_eq!(put(address, "/files/rest", b""), 204, "an empty file always fits");
        }
        canary.finish();
        server.stop();
    }
}

#[test]
fn one_who_ends_its_side_within_a_body_is_told() {
    every_server(&[], |server| {
        for sent in [0, 1, 100_000] {
            let mut connection = Connection::open(server.address());
            connection.send(b"PUT /files/f HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n");
            connection.send(&vec![b'x'; sent]);
            connection.stream().shutdown(std::net::Shutdown::Write).expect("the server is there");
            assert_eq!(connection.response(false).status, 400, "{sent} bytes sent");
            assert!(connection.is_closed());
        }
        // The whole body and then the end is in order.
        let mut connection = Connection::open(server.address());
        connection.send(b"PUT /files/g HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nwhole");
        connection.stream().shutdown(std::net::Shutdown::Write).expect("the server is there");
        assert_eq!(connection.response(false).status, 201);
        assert!(connection.is_closed());
        assert_eq!(get(server.address(), "/files/f").status, 404);
        assert_eq!(get(server.address(), "/files/g").text(), "whole");
    });
}

#[test]
fn readers_see_the_old_content_or_the_new_and_no_mixture() {
    every_server(&[], |server| {
        let address = server.address();
        let bodies = [vec![b'a'; 400_000], vec![b'b'; 300_000]];
        assert_eq!(put(address, "/files/f", &bodies[0]), 201);
        let done = Arc::new(AtomicBool::new(false));
        let readers = [(); 3].map(|()| {
            let done = Arc::clone(&done);
            std::thread::spawn(move || {
                let mut connection = Connection::open(address);
                let mut seen = 0;
                while !done.load(Ordering::Relaxed) {
                    let body = connection.request("GET", "/files/f", "", b"").body;
                    let expected = if body[0] == b'a' { 400_000 } else { 300_000 };
                    assert_eq!(body.len(), expected);
                    assert!(body.iter().all(|byte| *byte == body[0]), "a mixture");
                    seen += 1;
                }
                seen
            })
        });
        let mut connection = Connection::open(address);
        for round in 1..=15 {
            let body = &bodies[round % 2];
            assert_eq!(connection.request("PUT", "/files/f", "", body).status, 204);
            let read = connection.request("GET", "/files/f", "", b"").body;
            assert!(read == *body, "who wrote reads what it wrote");
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().expect("readers see whole files") > 0);
        }
    });
}

#[test]
fn uploads_to_one_path_at_once_end_with_one_of_them() {
    every_server(&[], |server| {
        let address = server.address();
        let writers = [0, 1, 2, 3, 4, 5, 6, 7].map(|number| {
            std::thread::spawn(move || put(address, "/files/f", &vec![b'0' + number; 200_000]))
        });
        let statuses = writers.map(|writer| writer.join().expect("writers do not panic"));
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| [201, 204].contains(status)), "{statuses:?}");
        let body = get(address, "/files/f").body;
        assert_eq!(body.len(), 200_000);
        assert!(body.iter().all(|byte| *byte == body[0]));
    });
}

const LARGE_BYTES: usize = 100 << 20;

/// Byte `at` of the large file.
fn large_byte(at: usize) -> u8 {
    (at ^ at >> 8 ^ at >> 16) as u8
}

#[test]
fn a_large_file_needs_little_memory() {
    let data = Scratch::new("large");
    let server = Server::start_in(data.path(), 2, &[]);
    let canary = Canary::start(server.address());
    let watch = MemoryWatch::start(&server);
    let mut connection = Connection::open(server.address());
    connection.send(
        format!("PUT /files/f HTTP/1.1\r\nHost: h\r\nContent-Length: {LARGE_BYTES}\r\n\r\n")
            .as_bytes(),
    );
    let mut piece = vec![0; 1 << 20];
    for start in (0..LARGE_BYTES).step_by(piece.len()) {
        piece.iter_mut().enumerate().for_each(|(at, byte)| *byte = large_byte(start + at));
        connection.send(&piece);
    }
    assert_eq!(connection.response(false).status, 201);

    // One reads it all, others ask for it and do not read.
    let lazy: Vec<_> = (0..8)
        .map(|_| {
            let mut lazy = Connection::open(server.address());
            lazy.send(b"GET /files/f HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(lazy.response_head().status, 200);
            lazy
        })
        .collect();
    connection.send(b"GET /files/f HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(connection.response_head().status, 200);
    let (mut at, mut bytes) = (0, Vec::new());
    while at < LARGE_BYTES {
        assert!(connection.body_bytes(&mut bytes) > 0, "the download ended at {at}");
        for byte in &bytes {
            assert_eq!(*byte, large_byte(at), "at {at}");
            at += 1;
        }
    }
    assert_eq!(at, LARGE_BYTES);
    watch.assert_grew_less_than(16);
    drop(lazy);
    canary.finish();
    server.stop();
}

#[test]
fn files_outlive_the_process_with_a_data_directory_only() {
    let data = Scratch::new("restart");
    for (round, status) in [(0, 201), (1, 204)] {
        let server = Server::start_in(
            data.path(),
            1,
            &["--files-bytes-max", "100", "--file-bytes-max", "100"],
        );
        if round == 1 {
            assert_eq!(get(server.address(), "/files/a/b").text(), "x".repeat(60));
            assert_eq!(put(server.address(), "/files/c", &[b'x'; 41]), 507, "the quota counts it");
        }
        assert_eq!(
            put(server.address(), "/files/a/b", &[b'x'; 60][..if round == 1 { 40 } else { 60 }]),
            status
        );
        server.stop();
    }
    let server = Server::start(1, &[]);
    assert_eq!(get(server.address(), "/files/a/b").status, 404);
    server.stop();
}

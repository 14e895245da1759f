//! A plain HTTP/1.1 client: one connection, requests as text, responses parsed just enough.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// A response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }
}

/// A connection that is kept between requests.
pub struct Connection {
    stream: TcpStream,
    buffered: Vec<u8>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server accepts connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("timeouts can be set");
        Self { stream, buffered: Vec::new() }
    }

    /// The socket, for tests that set options on it.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes the request");
    }

    /// Sends bytes to a server that may have closed already.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next response; the body of a response to HEAD is not waited for.
    pub fn response(&mut self, to_head: bool) -> Response {
        let end = loop {
            if let Some(at) = self.buffered.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.fill(), "the connection ended before a response: {:?}", self.buffered);
        };
        let head = String::from_utf8(self.buffered.drain(..end).collect()).expect("heads are text");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let mut response = Response { status, head, body: Vec::new() };
        let length = response
            .header("content-length")
            .map_or(0, |text| text.parse::<usize>().expect("Content-Length is a number"));
        if !to_head && !matches!(status, 100..=199 | 204 | 304) {
            while self.buffered.len() < length {
                assert!(self.fill(), "the connection ended within a body: {}", response.head);
            }
            response.body = self.buffered.drain(..length).collect();
        }
        response
    }

    /// One whole request and its response.
    pub fn request(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Response {
        let length = if body.is_empty() && method != "PUT" {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n");
        self.send(head.as_bytes());
        self.send(body);
        self.response(method == "HEAD")
    }

    /// Reads on for bytes of a body, for bodies too large to keep; how many came, 0 at the end.
    pub fn body_bytes(&mut self, out: &mut Vec<u8>) -> usize {
        out.clear();
        if self.buffered.is_empty() {
            self.fill();
        }
        out.append(&mut self.buffered);
        out.len()
    }

    /// The head of the next response; its body is left to be read.
    pub fn response_head(&mut self) -> Response {
        self.response(true)
    }

    /// Whether the server has closed the connection, waiting for it; other bytes are dropped.
    pub fn is_closed(&mut self) -> bool {
        while self.fill() {}
        true
    }

    fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(read) => {
                self.buffered.extend_from_slice(&chunk[..read]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("waiting for the server: {error}"),
        }
    }
}

/// GET on a connection of its own.
pub fn get(address: SocketAddr, path: &str) -> Response {
    Connection::open(address).request("GET", path, "", b"")
}

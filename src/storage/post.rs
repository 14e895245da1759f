//! Posts JSON to webhooks, one after the other, on a thread of its own.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// How long connecting, each write and each read may take.
const STEP_MAX: Duration = Duration::from_secs(5);
/// A status line is looked for in this many bytes.
const STATUS_BYTES_MAX: usize = 1024;
/// And in this many reads, so that a host that sends byte by byte is not waited for.
const STATUS_READS_MAX: usize = 8;

/// Posts `body` to an absolute `http://` URL. Success is any 2xx status; redirects are not followed.
pub(super) fn post(url: &str, body: &str) -> Result<(), String> {
    let target = Target::parse(url)?;
    let status = exchange(&target, body).map_err(|error| format!("{url}: {error}"))?;
    if (200..300).contains(&status) { Ok(()) } else { Err(format!("{url}: status {status}")) }
}

/// The parts of a URL that a request is made of.
#[derive(Debug, PartialEq, Eq)]
struct Target<'a> {
    /// Host and, if given, port, as they stand in the URL.
    authority: &'a str,
    /// Path and query; without its leading slash if the URL has none.
    path: &'a str,
}

impl<'a> Target<'a> {
    fn parse(url: &'a str) -> Result<Self, String> {
        let refuse = |why: &str| Err(format!("{url:?}: {why}"));
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refuse("not a URL: it has spaces, control or non-ASCII characters");
        }
        let Some(rest) = url.strip_prefix("http://") else {
            return refuse("only http:// is supported");
        };
        let rest = rest.split('#').next().unwrap_or(rest);
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        if authority.is_empty() || !authority.bytes().all(plain) {
            return refuse("a plain host is needed, and no user name");
        }
        Ok(Self { authority, path })
    }

    /// Host without brackets, and port.
    fn host_and_port(&self) -> Result<(&'a str, u16), String> {
        let (host, port) = match self.authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (self.authority, "80"),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().map_err(|_| format!("{port:?} is not a port"))?;
        Ok((host, port))
    }

    fn request(&self, body: &str) -> String {
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        let (path, authority, length) = (self.path, self.authority, body.len());
        format!(
            "POST {slash}{path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: lockstep\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        )
    }
}

fn exchange(target: &Target<'_>, body: &str) -> Result<u16, String> {
    let mut stream = connect(target)?;
    let told = |error: io::Error| error.to_string();
    stream.set_write_timeout(Some(STEP_MAX)).map_err(told)?;
    stream.set_read_timeout(Some(STEP_MAX)).map_err(told)?;
    stream.write_all(target.request(body).as_bytes()).map_err(told)?;
    read_status(&mut stream)
}

fn connect(target: &Target<'_>) -> Result<TcpStream, String> {
    let addresses = target.host_and_port()?.to_socket_addrs().map_err(|error| error.to_string())?;
    let mut failure = "the host has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, STEP_MAX) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = format!("{address}: {error}"),
        }
    }
    Err(failure)
}

fn read_status(stream: &mut TcpStream) -> Result<u16, String> {
    let (mut line, mut filled) = ([0; STATUS_BYTES_MAX], 0);
    for _ in 0..STATUS_READS_MAX {
        let read = stream.read(&mut line[filled..]).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => format!("no answer within {} s", STEP_MAX.as_secs()),
            _ => error.to_string(),
        })?;
        filled += read;
        if let Some(end) = memchr::memchr(b'\n', &line[..filled]) {
            return status_of(&line[..end]);
        }
        if read == 0 || filled == line.len() {
            break;
        }
    }
    Err("the answer is not HTTP".to_owned())
}

/// The code in `HTTP/1.1 204 No Content`.
fn status_of(line: &[u8]) -> Result<u16, String> {
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_ascii_whitespace();
    let version = words.next().unwrap_or_default();
    let status = words.next().and_then(|status| status.parse().ok());
    status.filter(|_| version.starts_with("HTTP/1.")).ok_or_else(|| "the answer is not HTTP".into())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers one request; joining the thread gives what it was.
    fn host(answer: &'static str) -> (String, thread::JoinHandle<(Vec<String>, String)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = Vec::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                match line.trim_end() {
                    "" => break,
                    line => head.push(line.to_owned()),
                }
            }
            let length = head.iter().find_map(|line| line.strip_prefix("Content-Length: "));
            let mut body = vec![0; length.unwrap().parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            (head, String::from_utf8(body).unwrap())
        });
        (authority, served)
    }

    #[test]
    fn a_post_is_a_plain_request_with_a_json_body() {
        let (authority, served) = host("HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(post(&format!("http://{authority}/a?b=c"), "{\"é\":1}"), Ok(()));
        let (head, body) = served.join().unwrap();
        assert_eq!(head[0], "POST /a?b=c HTTP/1.1");
        assert!(head.contains(&format!("Host: {authority}")), "{head:?}");
        assert!(head.contains(&"Content-Type: application/json".to_owned()), "{head:?}");
        assert_eq!(body, "{\"é\":1}");
    }

    #[test]
    fn what_is_not_success_is_told() {
        for (answer, told) in [
            ("HTTP/1.1 500 Oops\r\n\r\n", "status 500"),
            ("HTTP/1.0 301 Elsewhere\r\n\r\n", "status 301"),
            ("SSH-2.0 200\r\n", "not HTTP"),
            ("", "not HTTP"),
        ] {
            let (authority, served) = host(answer);
            let error = post(&format!("http://{authority}"), "{}").unwrap_err();
            assert!(error.contains(told) && error.contains(&authority), "{error}");
            assert_eq!(served.join().unwrap().0[0], "POST / HTTP/1.1");
        }
    }

    #[test]
    fn a_closed_port_is_told() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(post(&format!("http://{free}/"), "{}").unwrap_err().contains("refused"));
    }

    #[test]
    fn urls_are_taken_apart() {
        let parts = |url| Target::parse(url).and_then(|target| target.host_and_port());
        assert_eq!(parts("http://h:9/x"), Ok(("h", 9)));
        assert_eq!(parts("http://h?x=http://y:1/"), Ok(("h", 80)));
        assert_eq!(parts("http://[::1]/"), Ok(("::1", 80)));
        assert_eq!(parts("http://[::1]:7/"), Ok(("::1", 7)));
        assert_eq!(Target::parse("http://h/a#b").unwrap().path, "/a");
    }

    #[test]
    fn urls_that_could_smuggle_or_are_not_supported_are_refused() {
        for url in [
            "",
            "https://h/",
            "http:///x",
            "http://u@h/",
            "http://h\\x/",
            "http://h/ x",
            "http://h/\r\nX: y",
        ] {
            assert!(Target::parse(url).is_err(), "{url:?}");
        }
        assert!(Target::parse("http://h:x/").unwrap().host_and_port().is_err());
    }
}

//! Clients of Engine.IO and Socket.IO that break the rules, stall or go at any point, over real
//! sockets: each is answered as it is defined, others notice nothing, and nothing is left behind.

use std::net::SocketAddr;
use std::time::Duration;

use lockstep::codec::engineio::{SECRET_BYTES, Sid};
use lockstep::shard::placement;

use crate::support::http::{Connection, Response};
use crate::support::server::{MemoryWatch, Server, command};
use crate::support::websocket::{self, Client, frame};
use crate::support::{eventually, reset_on_drop};

/// Socket.IO, with heartbeats of 25 s, and of 0.3 s.
const CALM: &str = "/calm.io/";
const HASTY: &str = "/socket.io/";
const PAYLOAD_BYTES_MAX: usize = 1_000_000;

const UNKNOWN_SID: &str = r#"{"code":1,"message":"Session ID unknown"}"#;
const BAD_METHOD: &str = r#"{"code":2,"message":"Bad handshake method"}"#;
const BAD_REQUEST: &str = r#"{"code":3,"message":"Bad request"}"#;

fn start(shards: usize) -> Server {
    start_with(shards, &[])
}

fn start_with(shards: usize, more: &[&str]) -> Server {
    let shards = shards.to_string();
    let arguments = ["--as", "conformance", "--in-memory", "--port", "0", "--shards", &shards];
    Server::start_command(command(&[&arguments, more].concat()))
}

/// A session of a client that polls.
struct Session {
    address: SocketAddr,
    target: String,
    sid: String,
}

impl Session {
    fn open(address: SocketAddr, path: &str) -> Self {
        Self::open_on(&mut Connection::open(address), address, path)
    }

    fn open_on(connection: &mut Connection, address: SocketAddr, path: &str) -> Self {
        let answer = connection.request("GET", &format!("{path}?EIO=4&transport=polling"), "", b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let sid = answer.text().split('"').nth(3).expect("a session id").to_owned();
        Self { address, target: format!("{path}?EIO=4&transport=polling&sid={sid}"), sid }
    }

    /// One that is in the namespace `/`.
    fn connect(address: SocketAddr, path: &str) -> Self {
        let session = Self::open(address, path);
        assert_eq!(session.post(b"40").status, 200);
        let heard = session.poll();
        assert!(heard.text().starts_with("40{"), "{}", heard.text());
        session
    }

    fn request(&self, method: &str, headers: &str, body: &[u8]) -> Response {
        Connection::open(self.address).request(method, &self.target, headers, body)
    }

    fn post(&self, payload: &[u8]) -> Response {
        self.request("POST", "", payload)
    }

    fn poll(&self) -> Response {
        self.request("GET", "", b"")
    }

    /// Begins a poll that waits, once the server has it.
    fn park(&self) -> Connection {
        let mut connection = Connection::open(self.address);
        self.begin(&mut connection, "GET", "");
        connection
    }

    fn begin(&self, connection: &mut Connection, method: &str, headers: &str) {
        let head = format!("{method} {} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n", self.target);
        connection.send(head.as_bytes());
    }

    fn websocket_target(&self) -> String {
        self.target.replace("polling", "websocket")
    }

    fn assert_gone(&self, why: &str) {
        let answer = self.poll();
        assert_eq!((answer.status, answer.text()), (400, UNKNOWN_SID), "after {why}");
    }
}

/// A client that does nothing wrong.
struct Bystander {
    socket: Client,
    rounds: u32,
}

impl Bystander {
    fn join(address: SocketAddr) -> Self {
        let mut socket = enter(address, CALM);
        socket.send_text("40");
        assert!(socket.text().starts_with("40{"));
        assert_eq!(socket.text(), "42[\"auth\",{}]");
        Self { socket, rounds: 0 }
    }

    fn assert_unharmed(&mut self, by: &str) {
        self.rounds += 1;
        self.socket.send_text(&format!("42[\"message\",{}]", self.rounds));
        let echo = format!("42[\"message-back\",{}]", self.rounds);
        loop {
            match self.socket.text() {
                ping if ping == "2" => self.socket.send_text("3"),
                text => return assert_eq!(text, echo, "by {by}"),
            }
        }
    }
}

/// A WebSocket, told its session.
fn enter(address: SocketAddr, path: &str) -> Client {
    let mut socket = Client::open(address, &format!("{path}?EIO=4&transport=websocket"));
    assert!(socket.text().starts_with("0{\"sid\""));
    socket
}

/// Waits until nobody is there but `members`, by WebSocket.
fn assert_only(server: &Server, members: u64) {
    for (name, wanted) in [
        ("lockstep_polling_members", 0),
        ("lockstep_members", members),
        // And the one that asks.
        ("lockstep_connections", members + 1),
    ] {
        eventually(&format!("{name} is {wanted}"), || server.metric(name) == wanted);
    }
}

/// Payloads that end a session that is in the namespace `/`.
fn bad_payloads() -> Vec<(&'static str, Vec<u8>)> {
    let zero = r#"{"_placeholder":true,"num":0}"#;
    let one = r#"{"_placeholder":true,"num":1}"#;
    let deep = format!("42[\"message\",{}{}]", "[".repeat(5_000), "]".repeat(5_000));
    let texts = [
        ("a separator at the end", "42[\"message\"]\u{1e}".to_owned()),
        ("a separator first", "\u{1e}42[\"message\"]".to_owned()),
        ("two separators", "3\u{1e}\u{1e}3".to_owned()),
        ("a ping", "2".to_owned()),
        ("an unknown packet", "7".to_owned()),
        ("no base64", "b***".to_owned()),
        ("a message of no bytes", "4".to_owned()),
        ("an unknown Socket.IO packet", "49".to_owned()),
        ("connecting twice", "40".to_owned()),
        ("auth that is no object", "40/custom,[]".to_owned()),
        ("a namespace that was not joined", "42/custom,[\"message\"]".to_owned()),
        ("a namespace that is not there", "42/nowhere,[\"message\"]".to_owned()),
        ("an error from a client", "44{\"message\":\"x\"}".to_owned()),
        ("a reserved event", "42[\"disconnect\"]".to_owned()),
        ("an event without a name", "42[]".to_owned()),
        ("an event that is an object", "42{}".to_owned()),
        ("half an array", "42[\"message\"".to_owned()),
        ("deep JSON", deep),
        ("an ack id that is too large", "4299999999999999999999[\"message\"]".to_owned()),
        ("no attachments", format!("450-[\"message\",{zero}]")),
        ("too many attachments", format!("4511-[\"message\",{zero}]")),
        ("a placeholder out of range", format!("451-[\"message\",{one}]\u{1e}bAAAA")),
        ("text while attachments are due", format!("451-[\"message\",{zero}]\u{1e}42[\"m\"]")),
        ("bytes out of turn", "bAAAA".to_owned()),
    ];
    let texts = texts.into_iter().map(|(what, text)| (what, text.into_bytes()));
    texts.chain([("no UTF-8", b"42[\"\xFF\"]".to_vec())]).collect()
}

#[test]
fn a_session_id_comes_in_a_cookie_if_that_is_set() {
    let server = start_with(2, &["--sid-cookie", "io"]);
    let open = |headers: &str| {
        let target = format!("{CALM}?EIO=4&transport=polling");
        Connection::open(server.address()).request("GET", &target, headers, b"")
    };
    let first = open("Origin: http://a.example\r\n");
    let sid = first.text().split('"').nth(3).expect("a session id").to_owned();
    let cookie = format!("io={sid}; Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(first.header("set-cookie"), Some(&*cookie));
    // On the first answer only, and it is no key to anything.
    let session = Session::connect(server.address(), CALM);
    assert_eq!(session.post(b"40/custom,").header("set-cookie"), None);
    assert_eq!(session.poll().header("set-cookie"), None);
    let headers = format!("Cookie: {cookie}\r\n");
    let other = open(&headers);
    assert_ne!(other.header("set-cookie"), Some(&*cookie), "another session");
    server.stop();
    let server = start(1);
    let target = format!("{CALM}?EIO=4&transport=polling");
    let plain = Connection::open(server.address()).request("GET", &target, "", b"");
    assert_eq!(plain.header("set-cookie"), None);
    server.stop();
}

#[test]
fn what_breaks_the_protocol_ends_its_session_only() {
    for shards in [1, 2] {
        let server = start(shards);
        let mut bystander = Bystander::join(server.address());
        for (what, payload) in bad_payloads() {
            let session = Session::connect(server.address(), CALM);
            let answer = session.post(&payload);
            assert_eq!((answer.status, answer.text()), (400, BAD_REQUEST), "{what}");
            session.assert_gone(what);
            bystander.assert_unharmed(what);

            let mut socket = Bystander::join(server.address()).socket;
            for packet in payload.split(|&byte| byte == 0x1E) {
                socket.try_send(&frame(true, 1, packet));
            }
            let code = if what == "no UTF-8" { 1007 } else { 1005 };
            assert_eq!(socket.closed().0, code, "{what}");
            bystander.assert_unharmed(what);
        }
        assert_only(&server, 1);
        server.stop();
    }
}

#[test]
fn sessions_that_are_not_there_are_unknown() {
    let server = start(2);
    let mut bystander = Bystander::join(server.address());
    let session = Session::open(server.address(), CALM);
    let own = Sid::parse(&session.sid).expect("it is one of ours");
    let mut secret = own.secret;
    secret[SECRET_BYTES - 1] ^= 1;
    let foreign = [
        Sid { secret, ..own },
        Sid { shard: own.shard ^ 1, ..own },
        Sid { shard: u16::MAX, ..own },
        Sid { shard: 2, ..own },
        Sid { index: own.index + 1, ..own },
        Sid { index: u32::MAX, ..own },
    ];
    let mut sids: Vec<String> = foreign.iter().map(Sid::to_string).collect();
    sids.extend(["x", "%00", "AAAAAAAAAAAAAAAAAAAA", &"A".repeat(5_000)].map(str::to_owned));
    let mut kept = Connection::open(server.address());
    for sid in sids {
        let target = session.target.replace(&session.sid, &sid);
        for (method, body) in [("GET", &b""[..]), ("POST", b"40"), ("DELETE", b"")] {
            let answer = kept.request(method, &target, "", body);
            assert_eq!((answer.status, answer.text()), (400, UNKNOWN_SID), "{method} {sid}");
        }
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let target = target.replace("polling", "websocket");
        let answer = Connection::open(server.address()).request("GET", &target, upgrade, b"");
        assert_eq!((answer.status, answer.text()), (400, "Session ID unknown"), "{sid}");
        bystander.assert_unharmed(&sid);
    }
    drop(kept);
    assert_eq!(session.post(b"40\x1e1").status, 200, "it is there, and says goodbye");
    assert_only(&server, 1);
    server.stop();
}

#[test]
fn methods_that_mean_nothing_are_refused() {
    let server = start(2);
    let session = Session::connect(server.address(), CALM);
    let opening = format!("{CALM}?EIO=4&transport=polling");
    let mut kept = Connection::open(server.address());
    for target in [&session.target, &opening] {
        for method in ["PUT", "DELETE", "PATCH", "TRACE", "REPORT", "HEAD"] {
            let answer = kept.request(method, target, "", b"");
            let body = if method == "HEAD" { "" } else { BAD_METHOD };
            assert_eq!((answer.status, answer.text()), (400, body), "{method} {target}");
        }
        assert_eq!(kept.request("OPTIONS", target, "", b"").status, 204);
    }
    assert_eq!(kept.request("POST", &opening, "", b"40").text(), BAD_METHOD);
    assert_eq!(session.post(b"42[\"message\"]").status, 200, "none of it has ended the session");
    server.stop();
}

#[test]
fn one_poll_and_one_payload_may_be_open() {
    let server = start(2);
    let mut bystander = Bystander::join(server.address());
    let session = Session::connect(server.address(), CALM);
    let mut first = session.park();
    // Connections are served in any order: the second is the one that is refused at once.
    let mut second = session.park();
    let answers = [first.response(false), second.response(false)];
    let texts = answers.each_ref().map(|answer| (answer.status, answer.text()));
    let expected = [(200, "1"), (400, BAD_REQUEST)];
    assert!(texts == expected || texts == [expected[1], expected[0]], "{texts:?}");
    session.assert_gone("two polls");
    drop((first, second));

    let session = Session::connect(server.address(), CALM);
    let [mut first, mut second] = [(); 2].map(|()| Connection::open(server.address()));
    for connection in [&mut first, &mut second] {
        session.begin(connection, "POST", "Content-Length: 100\r\n");
        connection.send(b"42[\"mess");
    }
    let mut refused = [first.response(false), second.response(false)].map(|answer| {
        assert_eq!(answer.status, 400);
        answer.text().to_owned()
    });
    refused.sort();
    assert_eq!(refused, [UNKNOWN_SID, BAD_REQUEST]);
    session.assert_gone("two payloads");
    bystander.assert_unharmed("parallel requests");
    drop((first, second));
    assert_only(&server, 1);
    server.stop();
}

#[test]
fn payloads_that_are_too_large_end_no_session() {
    let server = start(2);
    let session = Session::connect(server.address(), CALM);
    let large = vec![b'x'; PAYLOAD_BYTES_MAX + 1];
    assert_eq!(session.post(&large).status, 413);
    let mut chunked = Connection::open(server.address());
    session.begin(&mut chunked, "POST", "Transfer-Encoding: chunked\r\n");
    chunked.send(format!("{:x}\r\n", large.len()).as_bytes());
    chunked.try_send(&large);
    assert_eq!(chunked.response(false).status, 413);
    let mut endless = Connection::open(server.address());
    session.begin(&mut endless, "POST", "Content-Length: 99999999999\r\n");
    assert_eq!(endless.response(false).status, 413);
    assert_eq!(session.post(b"42[\"message\",1]").status, 200);
    assert!(session.poll().text().ends_with("42[\"message-back\",1]"));
    let bytes = "Content-Type: application/octet-stream\r\n";
    assert_eq!(session.request("POST", bytes, b"3").status, 400);
    session.assert_gone("bytes that are no payload");
    server.stop();
}

#[test]
fn sessions_on_several_shards_share_one_connection() {
    let differs = |&shards: &usize| {
        placement::owner("socketio/echo", shards) != placement::owner("engine-echo/echo", shards)
    };
    let shards = (2..9).find(differs).expect("names are spread");
    let server = start(shards);
    // Engine.IO's own endpoint has hasty heartbeats, which a busy machine may miss.
    let done = (0..20).any(|_| share_a_connection(server.address()));
    assert!(done, "sessions were there long enough for three requests");
    server.stop();
}

/// Whether both sessions were alive all the while.
fn share_a_connection(address: SocketAddr) -> bool {
    let mut connection = Connection::open(address);
    let calm = Session::open_on(&mut connection, address, CALM);
    let echo = Session::open_on(&mut connection, address, "/engine.io/");
    let mut pipelined = Vec::new();
    for round in 0..5 {
        for (session, payload) in [
            (&calm, if round == 0 { "40".to_owned() } else { format!("42[\"message\",{round}]") }),
            (&echo, format!("4round {round}")),
        ] {
            let target = &session.target;
            let post = format!(
                "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{payload}",
                payload.len()
            );
            let get = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            pipelined.extend_from_slice((post + &get).as_bytes());
        }
    }
    connection.send(&pipelined);
    let answers: Vec<_> = (0..20).map(|_| connection.response(false)).collect();
    let texts: Vec<_> = answers.iter().map(Response::text).collect();
    if texts.iter().any(|text| *text == UNKNOWN_SID || *text == "2" || text.ends_with("\u{1e}2")) {
        return false;
    }
    for (round, four) in texts.chunks(4).enumerate() {
        assert_eq!([four[0], four[2]], ["ok"; 2], "{texts:?}");
        let back = format!("42[\"message-back\",{round}]");
        assert!(if round == 0 { four[1].starts_with("40{") } else { four[1] == back }, "{texts:?}");
        assert_eq!(four[3], format!("4round {round}"));
    }
    true
}

#[test]
fn a_client_that_floods_and_does_not_read_is_not_read_from() {
    let server = start(1);
    let mut bystander = Bystander::join(server.address());
    let memory = MemoryWatch::start(&server);
    let session = Session::connect(server.address(), CALM);
    let probe = Client::open(server.address(), &session.websocket_target());
    let mut member = enter(server.address(), CALM);
    member.send_text("40");
    let ping = frame(true, 9, &[b'p'; 125]).repeat(1_000);
    let events = frame(true, 1, format!("42[\"message\",\"{}\"]", "m".repeat(100)).as_bytes());
    for (mut socket, flood) in [(probe, ping), (member, events.repeat(1_000))] {
        socket.stream().set_write_timeout(Some(Duration::from_millis(500))).expect("an option");
        let blocked = (0..1_000).any(|_| !socket.try_send(&flood));
        assert!(blocked, "all of it was read");
        bystander.assert_unharmed("a flood");
    }
    // A payload that is all packets is answered like any other.
    let many = vec!["42[\"message\",1]"; 50_000].join("\u{1e}");
    assert_eq!(session.post(many.as_bytes()).status, 200);
    let heard = session.poll();
    assert_eq!(heard.text().matches("message-back").count(), 50_000);
    bystander.assert_unharmed("many packets");
    memory.assert_grew_less_than(32);
    server.stop();
}

/// Goes at one of the points at which a client may go, in the way that leaves most behind.
fn come_and_go(address: SocketAddr, round: usize) {
    let vanish = |connection: Connection| reset_on_drop(connection.stream());
    if round % 8 < 2 {
        let mut socket = enter(address, HASTY);
        let attachment = "451-[\"message\",{\"_placeholder\":true,\"num\":0}]";
        socket.send_text(if round.is_multiple_of(8) { "40" } else { "6" });
        socket.send_text(attachment);
        return reset_on_drop(socket.stream());
    }
    let mut connection = Connection::open(address);
    let session = Session::open_on(&mut connection, address, HASTY);
    match round % 8 {
        2 => session.begin(&mut connection, "GET", ""),
        3 => {
            session.begin(&mut connection, "POST", "Content-Length: 1000\r\n");
            connection.send(b"40\x1e42[");
        }
        // At every point of the way to a WebSocket.
        how @ 4..=6 => {
            session.begin(&mut connection, "GET", "");
            let mut probe = Client::open(address, &session.websocket_target());
            if how > 4 {
                probe.send_text("2probe");
            }
            if how > 5 {
                assert!(matches!(probe.next(), websocket::Next::Frame(_)));
                probe.send_text("5");
            }
            reset_on_drop(probe.stream());
        }
        _ => assert!(connection.request("POST", &session.target, "", b"40").status <= 400),
    }
    vanish(connection);
}

#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    let server = start(2);
    let mut bystander = Bystander::join(server.address());
    let mut rounds = |count| {
        for round in 0..count {
            come_and_go(server.address(), round);
            if round.is_multiple_of(100) {
                bystander.assert_unharmed("clients that come and go");
            }
        }
        assert_only(&server, 1);
        (server.descriptors(), server.memory_kib())
    };
    let (descriptors, memory_kib) = rounds(1_000);
    let (_, memory_now_kib) = rounds(2_000);
    println!("{descriptors} files, {memory_kib} then {memory_now_kib} KiB");
    // The last connection that asked for numbers may be there for a moment.
    eventually("as many files are open", || server.descriptors() <= descriptors);
    assert!(memory_now_kib < memory_kib + 1024, "{memory_kib} KiB became {memory_now_kib} KiB");
    server.stop();
}

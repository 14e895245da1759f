//! HTTP/1.1 over real sockets: requests in order, framing that is refused rather than guessed,
//! upgrades that are refused, what operators read, and limits.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::canary::{Canary, session_on};
use crate::support::croquet::{Member, join_text};
use crate::support::http::{Connection, get};
use crate::support::server::{Server, metric};
use crate::support::websocket::{Client, frame};
use crate::support::{eventually, reset_on_drop};

const GET_HEALTH: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn upgrade(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
         Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Sends bytes on a connection of their own; the status of the answer.
fn status_of(server: &Server, request: &[u8]) -> u16 {
    let mut connection = Connection::open(server.address());
    connection.send(request);
    connection.response(false).status
}

/// Sends bytes that must be answered with `status` and the end of the connection.
fn is_refused(server: &Server, request: &[u8], status: u16) {
    let shown = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
    let mut connection = Connection::open(server.address());
    connection.try_send(request);
    let response = connection.response(false);
    assert_eq!(response.status, status, "{shown:?} was answered {response:?}");
    assert!(response.head.contains("\r\nConnection: close\r\n"), "{shown:?}: {response:?}");
    assert!(connection.is_closed(), "{shown:?}");
}

#[test]
fn a_connection_is_kept_and_pipelined_requests_are_answered_in_order() {
    for shards in [1, 2] {
        let server = Server::start(shards, &[]);
        let mut connection = Connection::open(server.address());
        for _ in 0..3 {
            assert_eq!(connection.request("GET", "/health", "", b"").status, 200);
        }
        let targets =
            ["/health", "/sessions", "/nothing", "/users/x", "/files/none", "/stats", "/health"];
        let mut pipelined = String::new();
        for target in targets {
            pipelined += &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        }
        connection.send(pipelined.repeat(20).as_bytes());
        for _ in 0..20 {
            let answers = targets.map(|_| connection.response(false));
            assert_eq!(
                answers.each_ref().map(|answer| answer.status),
                [200, 200, 404, 200, 404, 200, 200]
            );
            assert!(answers[0].text().contains("\"ok\""), "{:?}", answers[0]);
            assert_eq!(answers[1].text(), "");
            assert_eq!(answers[3].text(), "[]");
            assert!(answers[5].text().contains("lockstep_connections"), "{:?}", answers[5]);
        }
        server.stop();
    }
}

#[test]
fn head_is_answered_like_get_but_without_a_body() {
    let server = Server::start(2, &[]);
    let mut connection = Connection::open(server.address());
    for path in ["/", "/health", "/stats", "/sessions", "/users/x", "/nothing", "/files/none"] {
        let whole = connection.request("GET", path, "", b"");
        let head = connection.request("HEAD", path, "", b"");
        assert_eq!(head.status, whole.status, "{path}");
        assert_eq!(head.header("content-type"), whole.header("content-type"), "{path}");
        // Numbers may have grown meanwhile.
        if path != "/stats" {
            assert_eq!(head.header("content-length"), whole.header("content-length"), "{path}");
        }
    }
    server.stop();
}

#[test]
fn a_head_may_arrive_in_pieces() {
    let server = Server::start(1, &[]);
    let mut other = Connection::open(server.address());
    let mut connection = Connection::open(server.address());
    connection.stream().set_nodelay(true).expect("options can be set");
    for split in 1..GET_HEALTH.len() {
        let (first, second) = GET_HEALTH.split_at(split);
        connection.send(first.as_bytes());
        // The one shard has seen the first piece when it answers what came after it.
        other.request("GET", "/health", "", b"");
        connection.send(second.as_bytes());
        assert_eq!(connection.response(false).status, 200, "split at {split}");
    }
    for byte in GET_HEALTH.bytes() {
        connection.send(&[byte]);
    }
    assert_eq!(connection.response(false).status, 200);
    server.stop();
}

#[test]
fn frames_right_behind_the_upgrade_are_not_lost() {
    for shards in [1, 2] {
        let server = Server::start(shards, &[]);
        for shard in 0..2 {
            let target = format!("/reflector/{}", session_on(shard, 2));
            let mut bytes = upgrade(&target).into_bytes();
            bytes.extend(frame(true, 1, join_text("early").as_bytes()));
            bytes.extend(frame(true, 1, br#"{"action":"PING","args":7}"#));
            let mut connection = Connection::open(server.address());
            connection.send(&bytes);
            assert_eq!(connection.response(true).status, 101);
            let mut seen = Vec::new();
            let mut more = Vec::new();
            while !String::from_utf8_lossy(&seen).contains(r#"{"action":"PONG","args":7}"#) {
                assert!(connection.body_bytes(&mut more) > 0, "the server ended");
                seen.extend_from_slice(&more);
            }
            assert!(String::from_utf8_lossy(&seen).contains("SYNC"));
        }
        server.stop();
    }
}

#[test]
fn heads_have_limits() {
    let server = Server::start(1, &[]);
    let filled = |bytes: usize| format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}", "x".repeat(bytes));
    is_refused(&server, format!("{}\r\n\r\n", filled(17 << 10)).as_bytes(), 431);
    is_refused(&server, filled(17 << 10).as_bytes(), 431);
    is_refused(&server, format!("GET /{} HTTP/1.1", "x".repeat(20 << 10)).as_bytes(), 431);
    assert_eq!(status_of(&server, format!("{}\r\n\r\n", filled(16_000)).as_bytes()), 200);
    let with_headers = |count: usize| {
        let more: String = (1..count).map(|number| format!("X-{number}: x\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: h\r\n{more}\r\n")
    };
    assert_eq!(status_of(&server, with_headers(64).as_bytes()), 200);
    is_refused(&server, with_headers(65).as_bytes(), 431);
    is_refused(&server, with_headers(1_000).as_bytes(), 431);
    server.stop();
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let server = Server::start(1, &[]);
    let canary = Canary::start(server.address());
    let put = |headers: &str| format!("PUT /files/x HTTP/1.1\r\nHost: h\r\n{headers}\r\nabcde");
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length : 5\r\n",
        " Content-Length: 5\r\n",
        "X: y\r\n Content-Length: 5\r\n",
        "X: y\nContent-Length: 5\r\n",
        "X: y\rZ: z\r\n",
        "X: \0\r\n",
        "no colon\r\n",
        ": empty name\r\n",
        "Host: other\r\n",
    ] {
        is_refused(&server, put(headers).as_bytes(), 400);
    }
    for headers in [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ] {
        is_refused(&server, put(headers).as_bytes(), 501);
    }
    for chunks in [
        "zz\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        "-1\r\nabc\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        "11111111111111111\r\nabc",
        "0\r\nX: \x01\r\n\r\n",
    ] {
        let request = "PUT /files/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        is_refused(&server, format!("{request}{chunks}").as_bytes(), 400);
    }
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET /\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("G\x00T / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        ("GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505),
        ("GET / XTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("PUT /files/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n", 400),
        ("\r\n\r\n\r\n\r\n", 400),
    ] {
        is_refused(&server, request.as_bytes(), status);
    }
    assert_eq!(get(server.address(), "/files/x").status, 404, "nothing was stored");
    canary.finish();
    server.stop();
}

#[test]
fn http_1_0_is_served_and_closed_unless_it_asks_to_be_kept() {
    let server = Server::start(1, &[]);
    let mut connection = Connection::open(server.address());
    connection.send(b"GET /health HTTP/1.0\r\n\r\n");
    assert_eq!(connection.response(false).status, 200);
    assert!(connection.is_closed());

    let mut connection = Connection::open(server.address());
    for _ in 0..2 {
        connection.send(b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(connection.response(false).status, 200);
    }
    connection.send(b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(connection.response(false).header("connection"), Some("close"));
    assert!(connection.is_closed());
    server.stop();
}

#[test]
fn upgrades_that_cannot_be_are_refused() {
    for profile in ["all", "croquet"] {
        let server = Server::start(1, &["--as", profile]);
        let good = upgrade("/reflector/abc");
        let change = |from: &str, to: &str| good.replacen(from, to, 1).into_bytes();
        is_refused(&server, &change("HTTP/1.1", "HTTP/1.0"), 400);
        is_refused(&server, &change("Version: 13", "Version: 12"), 426);
        is_refused(&server, &change("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 8"), 426);
        is_refused(&server, &change("Sec-WebSocket-Version: 13\r\n", ""), 426);
        is_refused(&server, &change("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400);
        is_refused(&server, &change("dGhlIHNhbXBsZSBub25jZQ==", "short"), 400);
        is_refused(&server, &change("keep-alive, Upgrade", "keep-alive"), 400);
        is_refused(&server, &change("Upgrade: websocket", "Upgrade: h2c"), 426);
        is_refused(&server, &change("GET", "POST"), 405);
        let mut connection = Connection::open(server.address());
        connection.send(&change("Version: 13", "Version: 7"));
        assert_eq!(connection.response(false).header("sec-websocket-version"), Some("13"));
        server.stop();
    }
}

/// Whoever takes the body for what follows the request, or the reverse, could be fooled.
#[test]
fn an_upgrade_has_no_body() {
    let server = Server::start(1, &[]);
    let good = upgrade("/reflector/abc");
    for more in ["Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n"] {
        let request = good.replacen("Upgrade: websocket", &format!("{more}Upgrade: websocket"), 1);
        is_refused(&server, request.as_bytes(), 400);
    }
    let request = good.replacen("Upgrade:", "Content-Length: 0\r\nUpgrade:", 1);
    let mut connection = Connection::open(server.address());
    connection.send(request.as_bytes());
    assert_eq!(connection.response(true).status, 101);
    server.stop();
}

#[test]
fn paths_that_lead_nowhere() {
    let server = Server::start(1, &[]);
    let mut connection = Connection::open(server.address());
    for target in ["/nothing", "//", "/reflector", "/files", "/files/", "/%", "/..", "*", "//h/x"] {
        let status = connection.request("GET", target, "", b"").status;
        let expected = if target == "/files/" { 400 } else { 404 };
        assert_eq!(status, expected, "{target}");
    }
    for target in ["/nothing", "/", "//", "/echo", "/reflector", "/health"] {
        let mut connection = Connection::open(server.address());
        connection.send(upgrade(target).as_bytes());
        assert_eq!(connection.response(false).status, 404, "{target}");
    }
    server.stop();
}

#[test]
fn a_session_needs_an_id() {
    let too_long = format!("/reflector/{}", "x".repeat(513));
    for shards in [1, 2] {
        let server = Server::start(shards, &[]);
        for target in ["/reflector/", "/reflector/v1/", "/reflector/?token=x", &too_long] {
            let mut client = Client::open(server.address(), target);
            assert_eq!(client.closed(), (4100, "outdated protocol".to_owned()), "{target}");
        }
        server.stop();
        let server = Server::start(shards, &["--as", "croquet"]);
        for target in ["/", "//", "/v1/", "///", "/?x=/y"] {
            let mut client = Client::open(server.address(), target);
            assert_eq!(client.closed().0, 4100, "{target}");
        }
        assert_eq!(server.metric("lockstep_sessions"), 0);
        server.stop();
    }
}

/// The original ends its process over these.
#[test]
fn odd_targets_and_hosts_hurt_nobody() {
    let server = Server::start(1, &["--as", "croquet"]);
    let canary = Canary::start(server.address());
    for target in ["//", "http://", "http://[", "/\\", "/%zz", "?", "*", "a", "//[/x"] {
        for head in [upgrade(target), GET_HEALTH.replacen("/health", target, 1)] {
            for host in ["localhost", "", "[", "a b", "%%%", ":::::"] {
                let mut connection = Connection::open(server.address());
                connection
                    .send(head.replacen("Host: localhost", &format!("Host: {host}"), 1).as_bytes());
                let status = connection.response(true).status;
                assert!([101, 200, 400, 404].contains(&status), "{target} {host}: {status}");
            }
        }
    }
    canary.finish();
    server.stop();
}

#[test]
fn health_and_numbers_can_be_read() {
    for shards in [1, 2] {
        let server = Server::start(shards, &[]);
        let mut member = Member::join(server.address(), &session_on(1, 2), "numbers");
        member.send("x");
        member.await_payload("x");

        for path in ["/health", "/healthz", "/livez", "/readyz"] {
            let health = get(server.address(), path);
            assert_eq!(
                (health.status, health.header("content-type")),
                (200, Some("application/json"))
            );
            let health: Value = serde_json::from_slice(&health.body).expect("JSON");
            assert_eq!(health["status"], "ok");
        }
        let stats: Value =
            serde_json::from_slice(&get(server.address(), "/stats").body).expect("JSON");
        assert_eq!(stats["shards"], shards);
        assert_eq!(stats["lockstep_members"], 1);
        assert_eq!(stats["lockstep_sessions"], 1);
        assert_eq!(stats["reflector_connections"], 1);

        let metrics = get(server.address(), "/metrics");
        assert!(
            metrics
                .header("content-type")
                .is_some_and(|kind| kind.starts_with("text/plain; version=0.0.4"))
        );
        is_prometheus_text(metrics.text());
        for (name, at_least) in [
            ("reflector_connections", 1),
            ("reflector_sessions", 1),
            ("reflector_messages", 1),
            ("reflector_ticks", 0),
            ("reflector_latency_count", 1),
            ("reflector_latency_sum", 1),
            ("lockstep_http_requests_total", 1),
            ("lockstep_slow_consumers_closed_total", 0),
        ] {
            assert!(metric(metrics.text(), name) >= at_least, "{name}");
        }
        assert!(metrics.text().contains("reflector_latency_bucket{le=\"360\"} 1\n"));
        server.stop();
    }
}

/// Every line is a comment or a sample whose family was announced with its help and type.
fn is_prometheus_text(text: &str) {
    let mut families = Vec::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(!families.contains(&name), "{name} is announced twice");
            families.push(name);
        } else if !line.starts_with("# HELP ") {
            let (sample, value) = line.rsplit_once(' ').expect("a sample and its value");
            value.parse::<f64>().expect("values are numbers");
            let name = sample.split('{').next().expect("a name");
            let of_histogram =
                |name: &'static str| move |n: &str| n.strip_suffix(name).map(str::to_owned);
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|s| of_histogram(s)(name));
            let known = families.contains(&name)
                || base.is_some_and(|base| families.contains(&base.as_str()));
            assert!(known, "{line} belongs to no announced family");
            assert!(!sample.contains('{') || sample.ends_with('}'), "{line}");
        }
    }
}

#[test]
fn sessions_and_users_are_found_on_whatever_shard_they_are() {
    for shards in [1, 2] {
        let server = Server::start(shards, &[]);
        let ids = [session_on(0, 2), session_on(1, 2)];
        let _members = ids.each_ref().map(|id| {
            [Member::join(server.address(), id, "ann"), Member::join(server.address(), id, "bob")]
        });
        // New connections land on either shard.
        for _ in 0..8 {
            let sessions = get(server.address(), "/sessions");
            assert_eq!(sessions.header("content-type"), Some("text/plain; charset=utf-8"));
            let mut lines: Vec<&str> = sessions.text().lines().collect();
            lines.sort_unstable();
            assert_eq!(lines.len(), 2, "{lines:?}");
            for (line, id) in lines.iter().zip(&ids) {
                assert!(line.starts_with(&format!("{id} 2")), "{line}");
            }
            for id in &ids {
                for path in [format!("/users/{id}"), format!("/any/users/{id}")] {
                    let users = get(server.address(), &path);
                    let mut users: Vec<String> = serde_json::from_slice(&users.body).expect("JSON");
                    users.sort();
                    assert_eq!(users, ["ann", "bob"]);
                }
            }
            assert_eq!(get(server.address(), "/users/nobody").text(), "[]");
        }
        server.stop();
    }
}

/// What is behind a request's head belongs to it, whatever the request asks for.
#[test]
fn bodies_nobody_asked_for_are_skipped() {
    let smuggled = "GET /stats HTTP/1.1\r\nHost: h\r\n\r\n";
    for shards in [1, 2] {
        let server = Server::start(shards, &[]);
        for path in ["/health", "/nothing", "/sessions", "/users/x", "/"] {
            for method in ["GET", "HEAD", "POST", "DELETE"] {
                let mut connection = Connection::open(server.address());
                let length = smuggled.len();
                let request = format!(
                    "{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n"
                );
                connection.send(format!("{request}{smuggled}{GET_HEALTH}").as_bytes());
                connection.response(method == "HEAD");
                let next = connection.response(false);
                assert!(
                    next.text().contains("\"status\":\"ok\""),
                    "{method} {path}: the body was taken for a request: {next:?}"
                );
            }
        }
        for (body, headers) in [
            (vec![b'x'; 65_537], "Content-Length: 65537"),
            (b"3\r\nabc\r\n0\r\n\r\n".to_vec(), "Transfer-Encoding: chunked"),
        ] {
            let mut connection = Connection::open(server.address());
            let head = format!("GET /health HTTP/1.1\r\nHost: h\r\n{headers}\r\n\r\n");
            connection.try_send(&[head.as_bytes(), &body, GET_HEALTH.as_bytes()].concat());
            let response = connection.response(false);
            assert_eq!((response.status, response.header("connection")), (200, Some("close")));
            assert!(connection.is_closed());
        }
        server.stop();
    }
}

#[test]
fn a_client_that_ends_its_side_still_gets_all_its_answers() {
    let server = Server::start(1, &[]);
    for (path, count) in [("/health", 1), ("/sessions", 3), ("/metrics", 3), ("/metrics", 100)] {
        let mut connection = Connection::open(server.address());
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        connection.send(request.repeat(count).as_bytes());
        connection.stream().shutdown(std::net::Shutdown::Write).expect("the server is there");
        for number in 0..count {
            let response = connection.response(false);
            assert_eq!(response.status, 200, "answer {number} of {count}");
        }
        assert!(connection.is_closed());
    }
    server.stop();
}

/// One test waits out the deadline, with every kind of request that is never finished.
#[test]
fn a_head_that_is_not_finished_in_time_ends_the_connection() {
    let server = Server::start(2, &[]);
    let begun = Instant::now();
    let silent: Vec<_> = (0..4).map(|_| Connection::open(server.address())).collect();
    let mut half: Vec<_> = (0..4).map(|_| Connection::open(server.address())).collect();
    for (connection, bytes) in half.iter_mut().zip([1, 5, 30, GET_HEALTH.len() - 1]) {
        connection.send(&GET_HEALTH.as_bytes()[..bytes]);
    }
    let mut trickle = Connection::open(server.address());
    let mut writer = trickle.stream().try_clone().expect("sockets can be shared");
    let trickling = std::thread::spawn(move || {
        // One byte now and then must not put the deadline off.
        while begun.elapsed() < Duration::from_secs(30)
            && std::io::Write::write_all(&mut writer, b"x").is_ok()
        {
            std::thread::sleep(Duration::from_millis(300));
        }
        begun.elapsed()
    });
    for connection in &mut half {
        assert_eq!(connection.response(false).status, 408);
    }
    assert_eq!(trickle.response(false).status, 408);
    for mut connection in silent {
        assert!(connection.is_closed());
    }
    drop(trickle);
    let trickled = trickling.join().expect("the trickle ends");
    assert!(trickled < Duration::from_secs(20), "the connection was kept for {trickled:?}");
    server.stop();
}

#[test]
fn a_flood_of_silent_connections_is_harmless() {
    for shards in [1, 2] {
        let server = Server::start(shards, &[]);
        let canary = Canary::start(server.address());
        let (descriptors, connections) =
            (server.descriptors(), server.metric("lockstep_connections"));
        let silent: Vec<TcpStream> = (0..500)
            .map(|_| TcpStream::connect(server.address()).expect("the server accepts"))
            .collect();
        eventually("all are accepted", || {
            server.metric("lockstep_connections") >= 500 + connections - 1
        });
        let metrics = get(server.address(), "/metrics");
        for shard in 0..shards {
            let sample = format!("lockstep_accepted_total{{shard=\"{shard}\"}}");
            let accepted = metric(metrics.text(), &sample);
            assert!(accepted >= 100, "shard {shard} accepted only {accepted}");
        }
        for stream in &silent[..250] {
            reset_on_drop(stream);
        }
        drop(silent);
        eventually("all are forgotten", || {
            server.metric("lockstep_connections") <= connections
                && server.descriptors() <= descriptors
        });
        canary.finish();
        server.stop();
    }
}

#[test]
fn connections_beyond_the_limit_are_refused() {
    let server = Server::start(1, &["--connections-max", "8"]);
    let mut held: Vec<_> = (0..8).map(|_| Connection::open(server.address())).collect();
    for connection in &mut held {
        assert_eq!(connection.request("GET", "/health", "", b"").status, 200);
    }
    for _ in 0..20 {
        assert!(Connection::open(server.address()).is_closed());
    }
    let metrics = held[0].request("GET", "/metrics", "", b"");
    assert_eq!(metric(metrics.text(), "lockstep_refused_total"), 20);
    assert_eq!(metric(metrics.text(), "lockstep_connections"), 8);
    held.pop();
    eventually("there is room again", || {
        let metrics = held[0].request("GET", "/metrics", "", b"");
        metric(metrics.text(), "lockstep_connections") == 7
    });
    assert_eq!(get(server.address(), "/health").status, 200);
    server.stop();
}

/// Answers wait for their reader on its side of the socket, not in the server.
#[test]
fn pipelined_requests_of_one_who_does_not_read_are_not_all_answered() {
    use crate::support::server::MemoryWatch;
    let server = Server::start(1, &[]);
    let file = vec![b'f'; 128 << 10];
    let mut connection = Connection::open(server.address());
    assert_eq!(connection.request("PUT", "/files/f", "", &file).status, 201);
    let canary = Canary::start(server.address());
    let watch = MemoryWatch::start(&server);
    let request = "GET /files/f HTTP/1.1\r\nHost: h\r\n\r\n".repeat(100);
    let mut greedy: Vec<_> = (0..20).map(|_| Connection::open(server.address())).collect();
    for connection in &mut greedy {
        connection.send(request.as_bytes());
    }
    // What the server would do wrong it does at once: a few hundred rounds of others show it.
    for _ in 0..300 {
        assert_eq!(connection.request("GET", "/files/f", "", b"").body.len(), file.len());
    }
    for _ in 0..100 {
        let answer = greedy[0].response(false);
        assert_eq!((answer.status, answer.body.len()), (200, file.len()));
    }
    watch.assert_grew_less_than(32);
    drop(greedy);
    canary.finish();
    server.stop();
}

//! CoMutiNy's accounts over HTTP: what each request is answered with, on one shard and on two, what
//! outlives the process, and what is refused.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::http::{Connection, Response, get};
use crate::support::server::{Scratch, Server};

const SECRET: [&str; 4] = ["--as", "comutiny", "--comutiny-jwt-secret", "0123456789abcdef"];
const JSON: &str = "Content-Type: application/json\r\n";

fn start(data: &Scratch, shards: usize, more: &[&str]) -> Server {
    Server::start_in(data.path(), shards, &[&SECRET, more].concat())
}

fn post(server: &Server, page: &str, headers: &str, body: &[u8]) -> Response {
    Connection::open(server.address()).request("POST", &format!("/auth/{page}"), headers, body)
}

fn register(server: &Server, name: &str) -> Response {
    let body = json!({ "username": name, "email": format!("{name}@x"), "password": "secret" });
    post(server, "register", JSON, body.to_string().as_bytes())
}

fn log_in(server: &Server, name: &str, password: &str) -> Response {
    let body = json!({ "email": format!("{name}@x"), "password": password });
    post(server, "login", JSON, body.to_string().as_bytes())
}

fn json_of(response: &Response) -> Value {
    serde_json::from_str(response.text()).expect("JSON")
}

fn message(response: &Response) -> String {
    json_of(response)["message"].as_str().expect("a message").to_owned()
}

/// Name and value of the cookie that was set.
fn cookie(response: &Response) -> &str {
    let cookie = response.header("set-cookie").expect("a cookie");
    cookie.split(';').next().expect("a value")
}

fn me(server: &Server, cookie: &str) -> Response {
    let headers = format!("Cookie: {cookie}\r\n");
    Connection::open(server.address()).request("GET", "/auth/me", &headers, b"")
}

#[test]
fn whoever_registers_is_known_after_a_crash() {
    for shards in [1, 2] {
        let data = Scratch::new("accounts");
        let server = start(&data, shards, &[]);
        let new = register(&server, "ann");
        assert_eq!(new.status, 201);
        assert_eq!(new.header("cache-control"), Some("no-store"));
        let user = json_of(&new);
        assert_eq!(
            (&user["user"]["username"], &user["user"]["email"]),
            (&json!("ann"), &json!("ann@x"))
        );
        assert!(user["user"].as_object().is_some_and(|user| user.len() == 3), "{user}");
        server.kill();
        let server = start(&data, 3 - shards, &[]);
        let known = log_in(&server, "ANN", "secret");
        assert_eq!((known.status, json_of(&known)), (200, user.clone()));
        for of in [&new, &known] {
            let me = me(&server, cookie(of));
            assert_eq!((me.status, json_of(&me)), (200, user.clone()));
        }
        let log = server.stop_for_log();
        assert!(!log.contains("secret") && !log.contains("ann@x"), "{log}");
    }
}

#[test]
fn each_request_that_cannot_be_served_is_told_why() {
    let server = Server::start(2, &SECRET);
    assert_eq!(register(&server, "ann").status, 201);
    let required = "username, email and password are required";
    let body = br#"{"username":"bob","email":"bob@x"}"#;
    for (headers, body) in [(JSON, &body[..]), (JSON, b"{"), (JSON, b""), ("", body)] {
        let answer = post(&server, "register", headers, body);
        assert_eq!((answer.status, &*message(&answer)), (400, required));
    }
    let taken = register(&server, "ANN");
    assert_eq!(
        (taken.status, &*message(&taken)),
        (409, "An account of that username or email exists")
    );
    // Who is not there cannot be told from whose password is wrong.
    let wrong = [log_in(&server, "ann", "x"), log_in(&server, "nobody", "secret")];
    for answer in &wrong {
        assert_eq!((answer.status, &*message(answer)), (401, "Invalid credentials"));
    }
    for forged in ["auth_token=", "auth_token=a.b.c", "other=1"] {
        let answer = me(&server, forged);
        assert_eq!((answer.status, &*message(&answer)), (401, "Unauthorized"), "{forged}");
    }
    let mut connection = Connection::open(server.address());
    for (method, page, allowed) in
        [("GET", "login", "POST"), ("POST", "me", "GET"), ("PUT", "register", "POST")]
    {
        let answer = connection.request(method, &format!("/auth/{page}"), JSON, b"{}");
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)));
    }
    assert_eq!(connection.request("GET", "/auth/other", "", b"").status, 404);
    server.stop();
}

#[test]
fn bodies_come_in_any_pieces_and_have_a_limit() {
    let server = Server::start(1, &SECRET);
    let body = r#"{"username":"ann","email":"ann@x","password":"secret"}"#;
    let head = format!(
        "POST /auth/register HTTP/1.1\r\nHost: x\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n"
    );
    let mut connection = Connection::open(server.address());
    connection.send(head.as_bytes());
    body.as_bytes().chunks(7).for_each(|piece| {
        connection.send(format!("{:x}\r\n", piece.len()).as_bytes());
        connection.send(piece);
        connection.send(b"\r\n");
    });
    connection.send(b"0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(connection.response(false).status, 201);
    assert_eq!(connection.response(false).status, 200, "what follows is answered after it");
    let large = format!("{JSON}Content-Length: 16385\r\n");
    let request = format!("POST /auth/login HTTP/1.1\r\nHost: x\r\n{large}\r\n");
    connection.send(request.as_bytes());
    let refused = connection.response(false);
    assert_eq!((refused.status, &*message(&refused)), (413, "The body is too large"));
    assert!(connection.is_closed());
    let mut connection = Connection::open(server.address());
    connection.send(head.as_bytes());
    connection.try_send(format!("4002\r\n{}", " ".repeat(0x4002)).as_bytes());
    assert_eq!(connection.response(false).status, 413);
    server.stop();
}

#[test]
fn of_many_who_want_one_name_one_has_it() {
    let server = Server::start(2, &SECRET);
    let body = json!({ "username": "ann", "email": "ann@x", "password": "secret" }).to_string();
    let length = format!("Content-Length: {}\r\n", body.len());
    let request = format!("POST /auth/register HTTP/1.1\r\nHost: x\r\n{JSON}{length}\r\n{body}");
    let mut connections: Vec<_> = (0..8).map(|_| Connection::open(server.address())).collect();
    connections.iter_mut().for_each(|connection| connection.send(request.as_bytes()));
    let statuses = connections.iter_mut().map(|connection| connection.response(false).status);
    let statuses: Vec<u16> = statuses.collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.into_iter().collect::<BTreeSet<_>>(), [201, 409].into());
    server.stop();
}

#[test]
fn tries_have_a_limit_by_address() {
    let server =
        Server::start(1, &[&SECRET[..], &["--comutiny-logins-per-minute-max", "3"]].concat());
    let new = register(&server, "ann");
    assert_eq!(log_in(&server, "ann", "x").status, 401);
    assert_eq!(log_in(&server, "ann", "secret").status, 200);
    let late = log_in(&server, "ann", "secret");
    assert_eq!((late.status, late.header("retry-after")), (429, Some("60")));
    assert_eq!(me(&server, cookie(&new)).status, 200, "is no try");
    // A proxy on this machine says for whom it asks; the last it names is the one it saw.
    let headers = format!("{JSON}X-Forwarded-For: 127.0.0.1, 192.0.2.1\r\n");
    let body = br#"{"email":"ann@x","password":"secret"}"#;
    assert_eq!(post(&server, "login", &headers, body).status, 200);
    server.stop();
}

#[test]
fn without_a_secret_or_with_no_room_there_are_none() {
    let server = Server::start(1, &["--as", "comutiny"]);
    assert_eq!(get(server.address(), "/auth/me").status, 404);
    server.stop();
    let server = Server::start(1, &[&SECRET[..], &["--comutiny-accounts-max", "0"]].concat());
    assert_eq!(register(&server, "ann").status, 404);
    server.stop();
    let server = Server::start(1, &[&SECRET[..], &["--comutiny-accounts-max", "1"]].concat());
    assert_eq!(register(&server, "ann").status, 201);
    assert_eq!(register(&server, "bob").status, 503);
    server.stop();
    let common = Server::start(1, &SECRET[2..]);
    assert_eq!(get(common.address(), "/comutiny/auth/me").status, 401);
    assert_eq!(get(common.address(), "/auth/me").status, 404);
    common.stop();
}

#[test]
fn pages_of_the_origins_that_are_set_may_log_in() {
    let origin = "http://a.example";
    let server = Server::start(1, &[&SECRET[..], &["--comutiny-cors-origin", origin]].concat());
    let mut connection = Connection::open(server.address());
    for (from, allowed) in [(origin, Some(origin)), ("http://b.example", None)] {
        let headers = format!("Origin: {from}\r\n");
        let preflight = connection.request("OPTIONS", "/auth/login", &headers, b"");
        let answer = connection.request("GET", "/auth/me", &headers, b"");
        assert_eq!((preflight.status, answer.status), (204, 401));
        for answer in [preflight, answer] {
            assert_eq!(answer.header("access-control-allow-origin"), allowed);
            let credentials = answer.header("access-control-allow-credentials");
            assert_eq!(credentials, allowed.map(|_| "true"));
        }
    }
    server.stop();
    let server = Server::start(1, &[&SECRET[..], &["--comutiny-secure-cookie"]].concat());
    let new = register(&server, "ann");
    assert!(new.header("set-cookie").is_some_and(|cookie| cookie.ends_with("; Secure")));
    assert_eq!(new.header("access-control-allow-origin"), Some("*"));
    assert_eq!(new.header("access-control-allow-credentials"), None);
    server.stop();
}

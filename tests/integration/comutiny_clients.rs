//! The published Socket.IO client as CoMutiNy's pages and load test use it, driven by the scripts in
//! `tests/clients`, against the real server with one shard and with two. What each scenario asserts
//! is said in `tests/clients/README.md`; among it, that no client reconnects unless it should.

use crate::support::clients;
use crate::support::http::{Connection, get};
use crate::support::server::{Scratch, Server};

/// Adds those that wait for pings to be missed.
const SLOW: &str = "LOCKSTEP_SLOW_CLIENT_TESTS";

/// Updates that are held back, to be told together.
const HELD_BACK: [&str; 2] = ["--comutiny-update-interval", "20ms"];

/// Runs a scenario that leaves the server alone: on the drop-in and on the common listener, and with
/// updates at once and held back.
fn run(scenario: &str) {
    run_with(scenario, &[], &[]);
    let Some(_turn) = clients::turn() else { return };
    let data = Scratch::new(scenario);
    let server = Server::start_in(data.path(), 2, &HELD_BACK);
    let mut arguments = at(&server);
    arguments.push("--path=/comutiny/socket.io/".to_owned());
    clients::run(&script(scenario), &arguments);
    stop(server);
}

/// The same with arguments for the server, and more for the scenario, on the drop-in alone.
fn run_with(scenario: &str, for_server: &[&str], for_scenario: &[&str]) {
    let Some(_turn) = clients::turn() else { return };
    for shards in [1, 2] {
        let data = Scratch::new(scenario);
        let server = start(&data, shards, for_server);
        let mut arguments = at(&server);
        arguments.extend(for_scenario.iter().map(|&argument| argument.to_owned()));
        clients::run(&script(scenario), &arguments);
        stop(server);
    }
}

fn start(data: &Scratch, shards: usize, arguments: &[&str]) -> Server {
    Server::start_in(data.path(), shards, &[&["--as", "comutiny"], arguments].concat())
}

fn script(scenario: &str) -> String {
    format!("comutiny/scenarios/{scenario}")
}

fn at(server: &Server) -> Vec<String> {
    vec![format!("--url=http://{}", server.address())]
}

/// Ends a server that must have done without any safety net.
fn stop(server: Server) {
    let log = server.stop_for_log();
    assert!(!log.contains("panicked at"), "no panic in the log: {log}");
}

#[test]
fn the_world_is_shown_first_and_is_the_same_for_all() {
    run("snapshot");
}

#[test]
fn players_join_move_and_leave() {
    run("players");
}

#[test]
fn whoever_is_replaced_is_told_and_stays_away() {
    run("replaced");
    run_with("replaced", &["--comutiny-only-terminated"], &["--only"]);
}

#[test]
fn whoever_goes_is_seen_to_go_once() {
    run("gone");
}

#[test]
fn whoever_answers_no_pings_is_seen_to_go_once() {
    if std::env::var_os(SLOW).is_some() {
        run_with("gone", &[], &["--timeout"]);
    } else {
        eprintln!("SKIPPED: {SLOW} is not set, so nobody waits for pings to be missed");
    }
}

#[test]
fn what_is_said_is_heard_and_kept() {
    run("chat");
    run_with("chat", &["--comutiny-speak-as-anybody"], &["--anybody"]);
}

#[test]
fn bad_input_troubles_nobody_else() {
    run("bad-input");
}

#[test]
fn joins_have_a_rate() {
    run("too-often");
}

#[test]
fn fifty_players_agree() {
    run("crowd");
}

#[test]
fn what_was_said_is_there_after_a_restart() {
    restart(Server::stop);
}

#[test]
fn what_was_said_is_there_after_a_crash() {
    restart(Server::kill);
}

#[test]
fn connections_are_recovered_after_a_restart_and_after_a_crash() {
    restart_with("recovered", &["--comutiny-recovery", "1min"], Server::stop);
    restart_with("recovered", &["--comutiny-recovery", "1min"], Server::kill);
}

#[test]
fn accounts_play_as_whom_they_are() {
    restart_with(
        "accounts",
        &["--comutiny-require-login", "--comutiny-jwt-secret", "s"],
        Server::stop,
    );
}

fn restart(end: fn(Server)) {
    restart_with("restart", &[], end);
}

/// The server ends as `end` says and comes back, with another number of shards.
fn restart_with(scenario: &str, arguments: &[&str], end: fn(Server)) {
    let Some(_turn) = clients::turn() else { return };
    for shards in [1, 2] {
        let data = Scratch::new(scenario);
        let server = start(&data, shards, arguments);
        let port = server.address().port().to_string();
        let again = || start(&data, 3 - shards, &[arguments, &["--port", &port]].concat());
        let at = at(&server);
        stop(clients::run_with_restarts(&script(scenario), &at, server, end, again));
    }
}

#[test]
fn the_drop_in_answers_requests_as_the_original() {
    let server = Server::start(2, &["--as", "comutiny"]);
    let health = get(server.address(), "/health");
    assert_eq!((health.status, health.text()), (200, r#"{"status":"ok"}"#));
    for path in ["/", "/nothing", "/socket.io", "/socket.iox/", "/comutiny/socket.io/"] {
        let answer = get(server.address(), path);
        assert_eq!(answer.status, 404, "{path}");
    }
    let unknown = get(server.address(), "/socket.io/?EIO=4&transport=carrier-pigeon");
    let text = r#"{"code":0,"message":"Transport unknown"}"#;
    assert_eq!((unknown.status, unknown.text()), (400, text));
    stop(server);
}

/// `Access-Control-Allow-Origin` of a first poll from a page.
fn allowed(server: &Server, origin: &str) -> (Option<String>, Option<String>) {
    let header = format!("Origin: {origin}\r\n");
    let mut connection = Connection::open(server.address());
    let path = "/socket.io/?EIO=4&transport=polling";
    let value = |answer: &crate::support::http::Response| {
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    let poll = connection.request("GET", path, &header, b"");
    assert_eq!(poll.status, 200, "who is not allowed to read it is served all the same");
    let preflight = format!("{header}Access-Control-Request-Method: POST\r\n");
    let preflight = connection.request("OPTIONS", path, &preflight, b"");
    assert_eq!(preflight.status, 204);
    (value(&poll), value(&preflight))
}

#[test]
fn pages_of_the_origins_that_are_set_may_read() {
    let server = Server::start(1, &["--as", "comutiny"]);
    let (poll, preflight) = allowed(&server, "http://a.example");
    assert!(poll.is_some() && poll == preflight, "{poll:?} {preflight:?}");
    stop(server);
    let origins = "http://a.example, http://b.example";
    let server = Server::start(1, &["--as", "comutiny", "--comutiny-cors-origin", origins]);
    for origin in ["http://a.example", "http://b.example"] {
        let both = (Some(origin.to_owned()), Some(origin.to_owned()));
        assert_eq!(allowed(&server, origin), both);
    }
    assert_eq!(allowed(&server, "http://c.example"), (None, None));
    stop(server);
}

//! The published client of Socket.IO, driven by the scripts in `tests/clients`, against the real
//! server with one shard and with two: by polling, by WebSocket, and moving from the one to the
//! other. What each scenario asserts is said in `tests/clients/README.md`.

use crate::support::clients;
use crate::support::server::{Server, command};

/// How clients travel.
const TRANSPORTS: [&str; 3] = ["polling", "websocket", "upgrading"];

fn start(shards: usize, port: u16) -> Server {
    let (shards, port) = (shards.to_string(), port.to_string());
    let arguments = ["--as", "conformance", "--in-memory", "--shards", &shards, "--port", &port];
    Server::start_command(command(&arguments))
}

fn arguments(server: &Server, transport: &str) -> [String; 2] {
    [format!("--url={}", server.url()), format!("--transport={transport}")]
}

fn script(scenario: &str) -> String {
    format!("socketio/scenarios/{scenario}")
}

/// Runs a scenario that leaves the server alone.
fn run(scenario: &str) {
    run_by(scenario, &TRANSPORTS);
}

fn run_by(scenario: &str, transports: &[&str]) {
    let Some(_turn) = clients::turn() else { return };
    for shards in [1, 2] {
        let server = start(shards, 0);
        for transport in transports {
            clients::run(&script(scenario), &arguments(&server, transport));
        }
        stop(server);
    }
}

/// Ends a server that must have done without any safety net.
fn stop(server: Server) {
    let log = server.stop_for_log();
    assert!(!log.contains("panicked at"), "no panic in the log: {log}");
}

#[test]
fn what_is_said_arrives() {
    run("talk");
}

#[test]
fn payloads_pass_up_to_the_limit() {
    run("large");
}

#[test]
fn namespaces_share_a_connection() {
    run("namespaces");
}

#[test]
fn clients_go_and_come_back() {
    run("comings");
}

#[test]
fn many_clients_come_at_once() {
    run("crowd");
}

#[test]
fn who_answers_stays_and_who_does_not_is_noticed() {
    run("heartbeat");
}

#[test]
fn clients_whose_upgrade_fails_go_on_by_polling() {
    run_by("failed-upgrade", &["upgrading"]);
}

#[test]
fn clients_come_back_after_a_restart() {
    restart(Server::stop);
}

#[test]
fn clients_come_back_after_a_crash() {
    restart(Server::kill);
}

fn restart(end: fn(Server)) {
    let Some(_turn) = clients::turn() else { return };
    for transport in TRANSPORTS {
        let server = start(1, 0);
        let (port, at) = (server.address().port(), arguments(&server, transport));
        let again = || start(2, port);
        stop(clients::run_with_restarts(&script("restart"), &at, server, end, again));
    }
}

//! The published Socket.IO client as folder agents of rljson use it, driven by the scripts in
//! `tests/clients`, against the real server with one shard and with two. What each scenario asserts
//! is said in `tests/clients/README.md`.

use crate::support::clients;
use crate::support::server::{Scratch, Server};

/// How agents travel, and shards of the server. Agents wait for most of the time: few of the
/// combinations are enough to meet each of both.
const JOURNEYS: [(&str, usize); 2] = [("polling", 1), ("upgrading", 2)];

/// Runs a scenario that leaves the server alone: on the drop-in and on the common listener.
fn run(scenario: &str) {
    let Some(_turn) = clients::turn() else { return };
    for (transport, shards) in JOURNEYS {
        let data = Scratch::new(scenario);
        let server = start(&data, shards, &[]);
        clients::run(&script(scenario), &arguments(&server, transport));
        stop(server);
    }
    let data = Scratch::new(scenario);
    let server = Server::start_in(data.path(), 2, &[]);
    let mut arguments = arguments(&server, "websocket");
    arguments.push("--path=/rljson/socket.io/".to_owned());
    clients::run(&script(scenario), &arguments);
    stop(server);
}

fn start(data: &Scratch, shards: usize, arguments: &[&str]) -> Server {
    Server::start_in(data.path(), shards, &[&["--as", "rljson"], arguments].concat())
}

fn script(scenario: &str) -> String {
    format!("rljson/scenarios/{scenario}")
}

fn arguments(server: &Server, transport: &str) -> Vec<String> {
    vec![format!("--url=http://{}", server.address()), format!("--transport={transport}")]
}

/// Ends a server that must have done without any safety net.
fn stop(server: Server) {
    let log = server.stop_for_log();
    assert!(!log.contains("panicked at"), "no panic in the log: {log}");
}

#[test]
fn folders_follow_each_other() {
    run("share");
}

#[test]
fn who_comes_late_takes_nothing_away() {
    run("late-join");
}

#[test]
fn changes_that_cross_are_merged() {
    run("crossing");
}

#[test]
fn large_files_go_in_ranges() {
    run("large");
}

#[test]
fn refs_are_acknowledged() {
    run("acks");
}

#[test]
fn what_is_refused_is_answered_and_harmless() {
    run("refusals");
}

#[test]
fn liars_and_floods_trouble_nobody_else() {
    run("hostile");
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    restart(Server::stop);
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash() {
    restart(Server::kill);
}

/// The server ends as `end` says and comes back, with another number of shards.
fn restart(end: fn(Server)) {
    let Some(_turn) = clients::turn() else { return };
    for (transport, shards) in JOURNEYS {
        let data = Scratch::new("rljson-restart");
        let server = start(&data, shards, &[]);
        let port = server.address().port().to_string();
        let again = || start(&data, 3 - shards, &["--port", &port]);
        let at = arguments(&server, transport);
        stop(clients::run_with_restarts(&script("restart"), &at, server, end, again));
    }
}

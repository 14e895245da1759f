//! The published Croquet client, driven by the scripts in `tests/clients`, against the real server
//! with one shard and with two. What each scenario asserts is said in `tests/clients/README.md`;
//! among it, that no client reconnects unless the scenario makes it.

use crate::support::clients;
use crate::support::server::{Scratch, Server};

/// Runs a scenario that leaves the server alone.
fn run(scenario: &str) {
    let Some(_turn) = clients::turn() else { return };
    for shards in [1, 2] {
        let data = Scratch::new(scenario);
        let server = Server::start_in(data.path(), shards, &[]);
        clients::run(&script(scenario), &at(&server));
        server.stop();
    }
}

fn script(scenario: &str) -> String {
    format!("croquet/scenarios/{scenario}")
}

fn at(server: &Server) -> [String; 1] {
    [format!("--box={}", server.url())]
}

#[test]
fn three_clients_at_once_agree() {
    run("concurrent");
}

#[test]
fn a_late_client_starts_from_an_uploaded_snapshot() {
    run("late-join");
}

#[test]
fn a_long_history_arrives_in_chunks() {
    run("long-history");
}

#[test]
fn a_cut_connection_is_resumed_without_anybody_noticing() {
    run("rejoin");
}

#[test]
fn fifty_clients_agree() {
    run("fifty");
}

#[test]
fn two_sessions_hear_nothing_of_each_other() {
    run("isolated");
}

#[test]
fn saved_data_starts_a_later_session() {
    run("persist");
}

#[test]
fn clients_rejoin_the_same_timeline_after_a_restart() {
    restart(Server::stop);
}

#[test]
fn clients_rejoin_the_same_timeline_after_a_crash() {
    restart(Server::kill);
}

/// Runs the scenario that goes on when the server has ended as `end` says and come back.
fn restart(end: fn(Server)) {
    let Some(_turn) = clients::turn() else { return };
    // From each number of shards to the other.
    for (shards, shards_after) in [(1, 2), (2, 1)] {
        let data = Scratch::new("restart");
        let server = Server::start_in(data.path(), shards, &[]);
        let port = server.address().port().to_string();
        let again = || Server::start_in(data.path(), shards_after, &["--port", &port]);
        let (script, at) = (script("restart"), at(&server));
        clients::run_with_restarts(&script, &at, server, end, again).stop();
    }
}

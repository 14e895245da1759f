//! The published Yjs clients, driven by the scripts in `tests/clients`, against the real server with
//! one shard and with two. What each scenario asserts is said in `tests/clients/README.md`; among
//! it, that no client reconnects unless the scenario makes it.

use crate::support::clients::{self, Scenario};
use crate::support::eventually;
use crate::support::server::{Scratch, Server, command};

/// Adds those that wait for minutes to pass.
const SLOW: &str = "LOCKSTEP_SLOW_CLIENT_TESTS";

/// Runs a scenario that leaves the server alone.
fn run(scenario: &str) {
    run_with(scenario, &[], &[]);
}

/// The same with arguments for the server, and more for the scenario.
fn run_with(scenario: &str, for_server: &[&str], for_scenario: &[&str]) {
    let Some(_turn) = clients::turn() else { return };
    for shards in [1, 2] {
        let data = Scratch::new(scenario);
        let server = Server::start_in(data.path(), shards, for_server);
        let mut arguments = at(&server);
        arguments.extend(for_scenario.iter().map(|&argument| argument.to_owned()));
        clients::run(&script(scenario), &arguments);
        stop(server);
    }
}

fn script(scenario: &str) -> String {
    format!("yjs/scenarios/{scenario}")
}

fn at(server: &Server) -> Vec<String> {
    vec![format!("--url=ws://{}/yjs", server.address())]
}

/// Ends a server that must have done without any safety net.
fn stop(server: Server) {
    // A panic is contained, and what caused it is cut off: clients that come back may never know.
    let log = server.stop_for_log();
    assert!(!log.contains("panicked at"), "no panic in the log: {log}");
}

#[test]
fn replicas_converge_through_cuts_and_absences() {
    run("converge");
}

#[test]
fn states_of_clients_come_and_go() {
    run("awareness");
}

#[test]
fn idle_clients_stay_and_silent_ones_are_forgotten() {
    if std::env::var_os(SLOW).is_some() {
        run("idle");
    } else {
        eprintln!("SKIPPED: {SLOW} is not set, so nobody waits to see whether idle clients stay");
    }
}

#[test]
fn a_late_client_is_synced_with_the_whole_document() {
    run("late-join");
}

#[test]
fn offline_edits_merge() {
    run("offline");
}

#[test]
fn a_large_document_arrives() {
    run("large-document");
}

#[test]
fn many_edits_arrive() {
    // By default a client's messages would be read at some speed of typing.
    run_with("many-edits", &["--yjs-messages-per-second-max", "1000000"], &[]);
}

#[test]
fn rooms_hear_nothing_of_each_other() {
    run("two-rooms");
}

#[test]
fn characters_that_are_cut_in_two_count_as_clients_count() {
    run("surrogates");
}

#[test]
fn native_clients_of_zeal_share_documents_with_stock_clients() {
    run("zeal-native");
}

#[test]
fn web_clients_of_zeal_share_documents_with_stock_clients() {
    run("zeal-socketio");
}

#[test]
fn the_drop_in_for_zeal_serves_its_web_clients() {
    let Some(_turn) = clients::turn() else { return };
    let data = Scratch::new("zeal-drop-in");
    let directory = data.path().to_str().expect("temporary paths are UTF-8");
    let arguments = ["--as", "zeal", "--port", "0", "--shards", "2", "--data-dir", directory];
    let server = Server::start_command(command(&arguments));
    let mut arguments = at(&server);
    arguments.push("--path=/socket.io/".to_owned());
    clients::run(&script("zeal-socketio"), &arguments);
    stop(server);
}

#[test]
fn a_full_room_refuses_native_clients() {
    run_with("crowded", &["--max-clients-per-room", "2"], &[]);
}

#[test]
fn who_is_turned_away_for_good_does_not_come_back() {
    run_with(
        "denied",
        &["--yjs-write-token", "to-write", "--yjs-read-token", "to-read"],
        &["--write-token=to-write", "--read-token=to-read"],
    );
}

#[test]
fn malformed_frames_trouble_nobody_else() {
    run("bad-frames");
}

#[test]
fn the_drop_in_serves_rooms_at_the_root() {
    let Some(_turn) = clients::turn() else { return };
    for scenario in ["two-rooms", "late-join"] {
        let data = Scratch::new("drop-in");
        let directory = data.path().to_str().expect("temporary paths are UTF-8");
        let arguments = ["--as", "yjs", "--port", "0", "--shards", "2", "--data-dir", directory];
        let server = Server::start_command(command(&arguments));
        clients::run(&script(scenario), &[format!("--url=ws://{}", server.address())]);
        stop(server);
    }
}

#[test]
fn what_was_sent_is_there_after_a_restart() {
    restart("restart", Server::stop);
}

#[test]
fn what_was_sent_is_there_after_a_crash() {
    restart("restart", Server::kill);
}

#[test]
fn web_clients_of_zeal_go_on_after_a_restart() {
    restart("zeal-restart", Server::stop);
}

#[test]
fn web_clients_of_zeal_go_on_after_a_crash() {
    restart("zeal-restart", Server::kill);
}

#[test]
fn a_document_without_clients_is_there_after_restarts() {
    restart("cold", Server::stop);
}

#[test]
fn a_document_without_clients_is_there_after_crashes() {
    restart("cold", Server::kill);
}

/// Runs a scenario that goes on when the server has ended as `end` says and come back.
fn restart(scenario: &str, end: fn(Server)) {
    let Some(_turn) = clients::turn() else { return };
    // From each number of shards to the other, and back if there is another restart.
    for shards in [1, 2] {
        let data = Scratch::new(scenario);
        let server = Server::start_in(data.path(), shards, &[]);
        let port = server.address().port().to_string();
        let mut shards_now = shards;
        let again = || {
            shards_now = 3 - shards_now;
            Server::start_in(data.path(), shards_now, &["--port", &port])
        };
        let (script, at) = (script(scenario), at(&server));
        stop(clients::run_with_restarts(&script, &at, server, end, again));
    }
}

#[test]
fn a_document_that_was_unloaded_is_there() {
    let Some(_turn) = clients::turn() else { return };
    let data = Scratch::new("unload");
    let mut server = Server::start_in(data.path(), 2, &["--room-timeout-minutes", "0"]);
    let port = server.address().port().to_string();
    let mut arguments = at(&server);
    arguments.push("--unload".to_owned());
    let mut scenario = Scenario::start(&script("cold"), &arguments);
    let mut unloaded = false;
    while let Some(wish) = scenario.wish() {
        if wish == "UNLOAD" {
            eventually("no document is in memory", || server.metric("lockstep_sessions") == 0);
            unloaded = true;
            scenario.tell("UNLOADED");
        } else {
            server.kill();
            server = Server::start_in(data.path(), 2, &["--port", &port]);
            scenario.tell("RESTARTED");
        }
    }
    scenario.finish();
    assert!(unloaded);
    stop(server);
}

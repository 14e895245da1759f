//! The published Croquet client, driven by the scripts in `tests/clients`, against the real server
//! with one shard and with two. What each scenario asserts is said in `tests/clients/README.md`;
//! among it, that no client reconnects unless the scenario makes it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock};

use crate::support::server::{Scratch, Server};

/// Skips these tests on machines without Node, said out loud.
const SKIP: &str = "LOCKSTEP_SKIP_CLIENT_TESTS";

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// One scenario at a time: they run real clients against the clock. `None` if they are skipped.
fn turn() -> Option<MutexGuard<'static, ()>> {
    static TURN: Mutex<()> = Mutex::new(());
    static INSTALLED: OnceLock<()> = OnceLock::new();
    if std::env::var_os(SKIP).is_some() {
        eprintln!("SKIPPED: {SKIP} is set, so the published client is not tested");
        return None;
    }
    let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    INSTALLED.get_or_init(install);
    Some(turn)
}

fn install() {
    let npm =
        Command::new("npm").arg("ci").current_dir(clients()).output().unwrap_or_else(|error| {
            panic!("the client tests need Node 20 and npm ({error}); {SKIP}=1 skips them")
        });
    let errors = String::from_utf8_lossy(&npm.stderr);
    assert!(npm.status.success(), "npm ci in tests/clients: {errors}; {SKIP}=1 skips these tests");
}

fn node(scenario: &str, server: &Server) -> Child {
    Command::new("node")
        .arg(format!("croquet/scenarios/{scenario}.mjs"))
        .arg(format!("--box={}", server.url()))
        .current_dir(clients())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("node cannot be started: {error}; {SKIP}=1 skips this"))
}

fn finish(scenario: &str, mut node: Child) {
    drop(node.stdin.take());
    let output = node.wait_with_output().expect("node can be waited for");
    assert!(
        output.status.success(),
        "{scenario}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs a scenario that leaves the server alone.
fn run(scenario: &str) {
    let Some(_turn) = turn() else { return };
    for shards in [1, 2] {
        let data = Scratch::new(scenario);
        let server = Server::start_in(data.path(), shards, &[]);
        finish(scenario, node(scenario, &server));
        server.stop();
    }
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
    let Some(_turn) = turn() else { return };
    // From each number of shards to the other.
    for (shards, shards_after) in [(1, 2), (2, 1)] {
        let data = Scratch::new("restart");
        let server = Server::start_in(data.path(), shards, &[]);
        let port = server.address().port().to_string();
        let mut node = node("restart", &server);
        let mut lines = BufReader::new(node.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        while lines.read_line(&mut line).expect("node's output is text") > 0
            && !line.contains("READY-FOR-RESTART")
        {
            line.clear();
        }
        if line.is_empty() {
            finish("restart before the restart", node);
            unreachable!("the scenario succeeded without a restart");
        }
        end(server);
        let server = Server::start_in(data.path(), shards_after, &["--port", &port]);
        let mut stdin = node.stdin.take().expect("stdin is piped");
        stdin.write_all(b"RESTARTED\n").expect("node reads its input");
        // Kept open until it ends, as the scenario wants it.
        let mut rest = String::new();
        lines.read_to_string(&mut rest).expect("node's output is text");
        finish("restart", node);
        drop(stdin);
        server.stop();
    }
}

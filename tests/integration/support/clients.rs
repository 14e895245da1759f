//! Published clients under Node, driven by the scenario scripts in `tests/clients`.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::thread::JoinHandle;

use super::server::Server;

/// Skips these tests on machines without Node, said out loud.
const SKIP: &str = "LOCKSTEP_SKIP_CLIENT_TESTS";

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// One scenario at a time: they run real clients against the clock. `None` if they are skipped.
pub fn turn() -> Option<MutexGuard<'static, ()>> {
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

/// Runs a scenario that leaves the server alone.
pub fn run(script: &str, arguments: &[String]) {
    Scenario::start(script, arguments).finish();
}

/// Runs a scenario that has the server restarted: ends it as `end` says and starts it as `start`
/// does, as often as it is asked to. Returns the last server.
pub fn run_with_restarts(
    script: &str,
    arguments: &[String],
    mut server: Server,
    end: fn(Server),
    mut start: impl FnMut() -> Server,
) -> Server {
    let mut scenario = Scenario::start(script, arguments);
    let mut restarts = 0;
    while let Some(wish) = scenario.wish() {
        assert_eq!(wish, "RESTART", "{script} can have this");
        end(server);
        server = start();
        restarts += 1;
        scenario.tell("RESTARTED");
    }
    scenario.finish();
    assert!(restarts > 0, "{script} has had the server restarted");
    server
}

/// A scenario that runs; killed when dropped.
pub struct Scenario {
    script: String,
    node: Child,
    lines: BufReader<ChildStdout>,
    errors: Option<JoinHandle<String>>,
}

impl Scenario {
    /// Starts a script, named by its path in `tests/clients` without the ending.
    pub fn start(script: &str, arguments: &[String]) -> Self {
        let mut node = Command::new("node")
            .arg(format!("{script}.mjs"))
            .args(arguments)
            .current_dir(clients())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("node cannot be started: {error}; {SKIP}=1 skips this"));
        let lines = BufReader::new(node.stdout.take().expect("stdout is piped"));
        let mut stderr = node.stderr.take().expect("stderr is piped");
        // Read all the while: a failure has a lot to say, and must not wait for a reader.
        let errors = std::thread::spawn(move || {
            let mut errors = Vec::new();
            stderr.read_to_end(&mut errors).expect("node's errors can be read");
            String::from_utf8_lossy(&errors).into_owned()
        });
        Self { script: script.to_owned(), node, lines, errors: Some(errors) }
    }

    /// What it wants done next: the rest of a line that begins with `READY-FOR-`. None at its end.
    pub fn wish(&mut self) -> Option<String> {
        let mut line = String::new();
        while self.lines.read_line(&mut line).expect("node's output is text") > 0 {
            if let Some(wish) = line.trim().strip_prefix("READY-FOR-") {
                return Some(wish.to_owned());
            }
            print!("{line}");
            line.clear();
        }
        None
    }

    /// Tells it that this was done. Its input stays open until it ends, as scenarios want it.
    pub fn tell(&mut self, done: &str) {
        let stdin = self.node.stdin.as_mut().expect("stdin is piped");
        // One that has failed meanwhile says why when it ends.
        let _ = writeln!(stdin, "{done}");
    }

    /// Waits for its end and checks that it has succeeded.
    pub fn finish(mut self) {
        let wish = self.wish();
        let status = self.node.wait().expect("node can be waited for");
        let errors = self.errors.take().map(JoinHandle::join);
        let errors = errors.expect("it was started").expect("errors were read");
        assert!(status.success(), "{}: {errors}", self.script);
        assert_eq!(wish, None, "{} has all it wanted", self.script);
    }
}

impl Drop for Scenario {
    fn drop(&mut self) {
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}

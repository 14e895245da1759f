//! The server under test, one process a test, on a port of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};

use super::{PATIENCE, http};

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    addresses: Addresses,
    log: PathBuf,
}

/// Where a server says it listens: the first line, and those that follow.
struct Addresses {
    first: SocketAddr,
    more: mpsc::Receiver<SocketAddr>,
}

impl Server {
    /// Starts the server in memory with `shards` shards and more arguments, on a port it picks.
    pub fn start(shards: usize, arguments: &[&str]) -> Self {
        let mut all = vec!["--in-memory"];
        all.extend_from_slice(arguments);
        Self::start_with(shards, &all)
    }

    /// Starts the server with a data directory.
    pub fn start_in(directory: &Path, shards: usize, arguments: &[&str]) -> Self {
        let directory = directory.to_str().expect("temporary paths are UTF-8");
        let mut all = vec!["--data-dir", directory];
        all.extend_from_slice(arguments);
        Self::start_with(shards, &all)
    }

    fn start_with(shards: usize, arguments: &[&str]) -> Self {
        let shards = shards.to_string();
        let mut all = vec!["--shards", &shards];
        if !arguments.contains(&"--port") {
            all.extend(["--port", "0"]);
        }
        all.extend_from_slice(arguments);
        Self::start_command(command(&all))
    }

    /// Starts a server with a command line of its own and waits until it listens.
    pub fn start_command(mut command: Command) -> Self {
        let log = scratch_path("log");
        let log_file = std::fs::File::create(&log).expect("temporary files can be written");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file);
        let mut child = command.spawn().expect("the server binary can be started");
        let stdout = child.stdout.take().expect("stdout is piped");
        let more = announced_addresses(stdout);
        let Ok(first) = more.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            let status = child.wait();
            panic!("no LISTENING line; {status:?}; log:\n{}", read_to_string(&log));
        };
        Self { child, addresses: Addresses { first, more }, log }
    }

    /// Where it listens; with several listeners, the first.
    pub fn address(&self) -> SocketAddr {
        self.addresses.first
    }

    /// The next address that was announced after the first.
    pub fn next_address(&self) -> SocketAddr {
        self.addresses.more.recv_timeout(PATIENCE).expect("another LISTENING line")
    }

    /// `http://ip:port/`.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address())
    }

    /// One of its numbers, summed over its shards.
    pub fn metric(&self, name: &str) -> u64 {
        metric(http::get(self.address(), "/metrics").text(), name)
    }

    /// Its files, sockets and rings that are open.
    pub fn descriptors(&self) -> usize {
        let directory = format!("/proc/{}/fd", self.pid());
        std::fs::read_dir(directory).expect("the server runs").count()
    }

    /// Its resident memory that is not file contents, in KiB.
    pub fn memory_kib(&self) -> u64 {
        resident_kib(self.pid()).expect("the server runs")
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far. It writes its log in its own time: await a line, or look for it in
    /// what [`Server::stop_for_log`] returns.
    pub fn log(&self) -> String {
        read_to_string(&self.log)
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Asks it to read its files again.
    pub fn hang_up(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the server is there to be signalled");
    }

    /// Waits for it to end by itself.
    pub fn wait(mut self) -> ExitStatus {
        self.await_end()
    }

    fn await_end(&mut self) -> ExitStatus {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "the server does not end: {}",
                self.log()
            );
            // Polls the end of a process: std has no wait with a deadline.
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Ends the process as a crash does: it gets no word in.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Asks it to stop and checks that it does so in good order.
    pub fn stop(self) {
        self.stop_for_log();
    }

    /// The same; returns its whole log.
    pub fn stop_for_log(mut self) -> String {
        self.terminate();
        let status = self.await_end();
        let log = self.log();
        assert!(status.success(), "the server ended with {status}: {log}");
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the server ---\n{}", self.log());
        }
        let _ = std::fs::remove_file(&self.log);
    }
}

/// A directory for one test, removed when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = scratch_path(name);
        std::fs::create_dir_all(&path).expect("a temporary directory can be made");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The server binary with these arguments and nothing of our environment that it would heed.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    command.env_remove("PORT").env_remove("HOST").args(arguments);
    command
}

/// Runs a command that is to end by itself: exit code and both outputs.
pub fn run_to_end(mut command: Command) -> (Option<i32>, String, String) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command can be started");
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let outputs = std::thread::spawn(move || {
        let text = |pipe: &mut dyn Read| {
            let mut text = String::new();
            pipe.read_to_string(&mut text).expect("outputs are text");
            text
        };
        let mut stdout = stdout.expect("stdout is piped");
        let mut stderr = stderr.expect("stderr is piped");
        (text(&mut stdout), text(&mut stderr))
    });
    let watched = Watched(child);
    super::eventually("the command ends", || outputs.is_finished());
    let (stdout, stderr) = outputs.join().expect("outputs are text");
    (watched.end(), stdout, stderr)
}

/// A child that does not outlive a failed test.
struct Watched(Child);

impl Watched {
    fn end(mut self) -> Option<i32> {
        self.0.wait().expect("a child can be waited for").code()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The number of this name in Prometheus text, summed over its labels unless they are part of the
/// name.
pub fn metric(text: &str, name: &str) -> u64 {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        if !rest.starts_with(['{', ' ']) {
            return None;
        }
        rest.rsplit(' ').next()?.parse::<u64>().ok()
    });
    let values: Vec<u64> = values.collect();
    assert!(!values.is_empty(), "there is no {name} in {text}");
    values.iter().sum()
}

fn resident_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Watches how much memory a server uses at most, from when it is made.
pub struct MemoryWatch {
    before_kib: u64,
    stop: Arc<AtomicBool>,
    sampler: std::thread::JoinHandle<u64>,
}

impl MemoryWatch {
    pub fn start(server: &Server) -> Self {
        let (pid, before_kib) = (server.pid(), server.memory_kib());
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let sampler = std::thread::spawn(move || {
            let mut peak = 0;
            while !told.load(Ordering::Relaxed) {
                peak = peak.max(resident_kib(pid).unwrap_or(0));
                // Samples a number that tells nobody when it changes.
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            peak
        });
        Self { before_kib, stop, sampler }
    }

    /// Checks that it grew by less than so many MiB at any time.
    pub fn assert_grew_less_than(self, mib: u64) {
        self.stop.store(true, Ordering::Relaxed);
        let peak = self.sampler.join().expect("the sampler does not panic");
        let grown = peak.saturating_sub(self.before_kib);
        println!("memory grew by {grown} KiB from {} KiB", self.before_kib);
        assert!(grown < mib << 10, "memory grew by {grown} KiB from {} KiB", self.before_kib);
    }
}

fn scratch_path(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("lockstep-test-{}-{number}-{name}", std::process::id()))
}

fn read_to_string(path: &Path) -> String {
    let mut text = Vec::new();
    if let Ok(mut file) = std::fs::File::open(path) {
        let _ = file.read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// The addresses of the `LISTENING` lines as they come. The rest of its output is read and dropped,
/// so that the server never blocks on it.
fn announced_addresses(stdout: impl Read + Send + 'static) -> mpsc::Receiver<SocketAddr> {
    let (found, addresses) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let url = line.strip_prefix("LISTENING http://");
            if let Some(address) = url.and_then(|url| url.trim_end_matches('/').parse().ok()) {
                let _ = found.send(address);
            }
        }
    });
    addresses
}

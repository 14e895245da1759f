//! What the machine refuses while the server runs, or before it does: descriptors, room for files,
//! io_uring.
#![allow(unsafe_code)] // a filter of system calls is installed between fork and exec

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::Value;

use crate::support::croquet::Member;
use crate::support::eventually;
use crate::support::http::{Connection, get};
use crate::support::server::{self, Scratch, Server, metric, run_to_end};

/// Sets a limit of a running server; `None` is as much as this process may have itself.
fn limit(server: &Server, resource: Resource, to: impl Into<Option<u64>>) {
    let pid = Pid::from_raw(server.pid() as i32);
    let maximum = getrlimit(resource).maximum;
    let current = to.into().or(maximum);
    prlimit(pid, resource, Rlimit { current, maximum }).expect("limits of a child can be set");
}

fn has_prlimit() -> bool {
    let found = Command::new("prlimit").arg("--version").output().is_ok();
    if !found {
        eprintln!("SKIPPED: there is no prlimit here");
    }
    found
}

/// The lowest descriptor that a server does not use.
fn lowest_free_descriptor(server: &Server) -> u64 {
    let is_open =
        |fd: &u64| std::path::Path::new(&format!("/proc/{}/fd/{fd}", server.pid())).is_symlink();
    (0..).find(|fd| !is_open(fd)).expect("some are free")
}

/// A server that may open `room` descriptors more than it needs at rest: fewer than the connections
/// it reckons with. None if there is no prlimit here. Lowering the limit later would not do: the
/// kernel looks at it when accepting is asked for, not at each connection.
fn server_with_room(room: u64, arguments: &[&str]) -> Option<Server> {
    if !has_prlimit() {
        return None;
    }
    let server = Server::start_command(server::command(arguments));
    let limit = lowest_free_descriptor(&server) + room;
    server.stop();
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={limit}:{limit}")).arg(env!("CARGO_BIN_EXE_lockstep"));
    command.args(arguments);
    Some(Server::start_command(command))
}

/// A connection that asks for `/health`, and may have to wait for the answer.
fn ask(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).expect("the kernel takes it");
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").expect("there is room");
    stream.set_nonblocking(true).expect("sockets can be set so");
    stream
}

/// Whether the answer is there.
fn is_answered(mut stream: &TcpStream) -> bool {
    let mut response = [0; 1024];
    match stream.read(&mut response) {
        Ok(read) => {
            assert!(response[..read].starts_with(b"HTTP/1.1 200 "), "{read} bytes");
            true
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("a connection that waits is cut: {error}"),
    }
}

/// Numbers asked for on a connection that is there already.
struct Operator(Connection);

impl Operator {
    fn metric(&mut self, name: &str) -> u64 {
        metric(self.0.request("GET", "/metrics", "", b"").text(), name)
    }

    fn pauses(&mut self) -> u64 {
        self.metric("lockstep_accept_pauses_total")
    }
}

fn talk(members: &mut [Member; 2], text: &str) {
    members[0].send(text);
    for member in members {
        member.await_payload(text);
    }
}

#[test]
fn running_out_of_descriptors_hurts_nobody_who_is_there() {
    const ROOM: u64 = 6;
    const CONNECTIONS: usize = 30;
    for shards in ["1", "2"] {
        let arguments = ["--in-memory", "--shards", shards, "--port", "0"];
        let Some(server) = server_with_room(ROOM, &arguments) else { return };
        let mut members = ["a", "b"].map(|user| Member::join(server.address(), "session", user));
        let mut operator = Operator(Connection::open(server.address()));
        assert_eq!(operator.pauses(), 0);
        let mut waiting: Vec<TcpStream> = (0..CONNECTIONS).map(|_| ask(&server)).collect();
        let mut served = Vec::new();
        eventually("accepting pauses", || operator.pauses() > 0);
        talk(&mut members, "out of descriptors");
        eventually("who was accepted is served", || {
            served.extend(waiting.extract_if(.., |one| is_answered(one)));
            !served.is_empty()
        });

        // It tries again a few times a second, and does nothing else in between.
        let numbers = |operator: &mut Operator| {
            let pauses = operator.pauses();
            let names = ["lockstep_turns_total", "lockstep_http_requests_total"];
            (pauses, names.map(|name| operator.metric(name)))
        };
        let (pauses, [turns, requests]) = numbers(&mut operator);
        eventually("it has paused often", || operator.pauses() >= pauses + 10);
        let (pauses_then, [turns_then, requests_then]) = numbers(&mut operator);
        let causes = (pauses_then - pauses) + (requests_then - requests);
        let turns = turns_then - turns;
        assert!(turns < 8 * causes + 100, "{turns} turns for {causes} pauses and requests");
        talk(&mut members, "still out of descriptors");

        // Each place that becomes free serves one of those who wait.
        assert!(!waiting.is_empty() && waiting.iter().all(|one| !is_answered(one)));
        eventually("all who waited are served", || {
            served.clear();
            served.extend(waiting.extract_if(.., |one| is_answered(one)));
            waiting.is_empty()
        });
        drop(served);
        talk(&mut members, "room again");
        Member::join(server.address(), "session", "c");
        let pauses = operator.pauses();
        assert_eq!(get(server.address(), "/health").status, 200);
        assert_eq!(operator.pauses(), pauses, "it accepts without a pause");
        assert!(server.stop_for_log().contains("LimitNOFILE"), "the operator is told what to do");
    }
}

#[test]
fn a_process_with_few_descriptors_refuses_connections_instead_of_running_out() {
    let mut command = Command::new("prlimit");
    command.args(["--nofile=256:256", env!("CARGO_BIN_EXE_lockstep")]);
    command.args(["--in-memory", "--shards", "1", "--port", "0"]);
    if !has_prlimit() {
        return;
    }
    let server = Server::start_command(command);
    let mut members = ["a", "b"].map(|user| Member::join(server.address(), "session", user));
    let mut operator = Operator(Connection::open(server.address()));
    let is_refused = |mut stream: &TcpStream| match stream.read(&mut [0; 1024]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    };
    let others: Vec<TcpStream> = (0..200).map(|_| ask(&server)).collect();
    eventually("some are refused", || others.iter().any(is_refused));
    eventually("all are looked at", || operator.metric("lockstep_accepted_total") >= 203);
    assert!(operator.metric("lockstep_refused_total") > 0);
    assert_eq!(operator.pauses(), 0);
    talk(&mut members, "full");
    drop(others);
    eventually("there is room", || operator.metric("lockstep_connections") == 3);
    Member::join(server.address(), "session", "c");
    talk(&mut members, "room again");
    server.stop();
}

#[test]
fn files_wait_for_descriptors_too() {
    let data = Scratch::new("descriptors");
    let path = data.path().to_str().expect("temporary paths are UTF-8");
    let arguments = ["--data-dir", path, "--shards", "1", "--port", "0"];
    let Some(server) = server_with_room(6, &arguments) else { return };
    let mut connection = Connection::open(server.address());
    assert_eq!(connection.request("PUT", "/files/f", "", b"old").status, 201);
    let others: Vec<TcpStream> = (0..20).map(|_| ask(&server)).collect();
    eventually("accepting pauses", || {
        metric(
            connection.request("GET", "/metrics", "", b"").text(),
            "lockstep_accept_pauses_total",
        ) > 0
    });
    for (method, body) in [("GET", &b""[..]), ("PUT", b"new")] {
        let response = connection.request(method, "/files/f", "", body);
        assert_eq!(response.status, 503, "{method}: {}", response.text());
    }
    drop(others);
    eventually("there is room", || get(server.address(), "/files/f").status == 200);
    let mut connection = Connection::open(server.address());
    assert_eq!(connection.request("GET", "/files/f", "", b"").body, b"old");
    assert_eq!(connection.request("PUT", "/files/f", "", b"new").status, 204);
    assert_eq!(connection.request("GET", "/files/f", "", b"").body, b"new");
    server.stop();
}

/// Uploads what does not fit; what was there stays, and what fits is still taken.
fn uploads_beyond_the_room(server: &Server, too_large: usize) {
    let mut connection = Connection::open(server.address());
    let mut put = |path: &str, body: &[u8]| connection.request("PUT", path, "", body);
    assert_eq!(put("/files/f", b"old").status, 201);
    for path in ["/files/f", "/files/new", "/files/f"] {
        let mut connection = Connection::open(server.address());
        let length =
            format!("PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {too_large}\r\n\r\n");
        connection.send(length.as_bytes());
        // It may answer, and close, before it has all.
        connection.try_send(&vec![b'x'; too_large]);
        assert_eq!(connection.response(false).status, 507, "{path}");
    }
    assert_eq!(get(server.address(), "/files/f").body, b"old");
    assert_eq!(get(server.address(), "/files/new").status, 404);
    assert_eq!(put("/files/f", b"replaced").status, 204);
    assert_eq!(put("/files/g", &[b'x'; 10_000]).status, 201, "nothing is left of the others");
    assert_eq!(get(server.address(), "/files/f").body, b"replaced");
    Member::join(server.address(), "session", "user");
}

#[test]
fn a_file_beyond_the_limit_of_the_process_is_refused() {
    let data = Scratch::new("size-limit");
    let server = Server::start_in(data.path(), 1, &[]);
    limit(&server, Resource::Fsize, 100_000);
    uploads_beyond_the_room(&server, 300_000);
    assert!(server.stop_for_log().contains("RLIMIT_FSIZE"), "the operator is told what to do");
}

/// A server with one shard whose data directory is a disk of its own, of so many MiB, that only the
/// server sees. `ballast` of them are taken. `None` where nothing can be mounted.
fn on_small_disk(data: &Scratch, mib: usize, ballast: usize) -> Option<Server> {
    let script = format!(
        r#"mount -t tmpfs -o size={mib}m tmpfs "$0" \
            && head -c {ballast}M /dev/zero > "$0/ballast" && exec "$@""#
    );
    let unshare = |program: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-Urm", "sh", "-c", &script]).arg(data.path()).args(program);
        command
    };
    if !unshare(&["true"]).output().is_ok_and(|tried| tried.status.success()) {
        eprintln!("SKIPPED: no file system can be mounted here");
        return None;
    }
    let server = [env!("CARGO_BIN_EXE_lockstep"), "--shards", "1", "--port", "0", "--data-dir"];
    let mut command = unshare(&server);
    command.arg(data.path());
    Some(Server::start_command(command))
}

#[test]
fn a_full_disk_refuses_uploads_and_nothing_else() {
    let data = Scratch::new("full-disk");
    // The journal's reserve takes 4 of them.
    let Some(server) = on_small_disk(&data, 6, 0) else { return };
    uploads_beyond_the_room(&server, 3 << 20);
    assert!(server.stop_for_log().contains("no space left on the disk"));
}

/// The next message or INFO a member is sent.
fn next_word(member: &mut Member) -> Value {
    loop {
        let answer: Value = serde_json::from_str(&member.client.text()).expect("JSON");
        if answer["action"] == "RECV" || answer["action"] == "INFO" {
            return answer["args"].clone();
        }
    }
}

#[test]
fn a_full_journal_makes_sessions_read_only_until_there_is_space() {
    let data = Scratch::new("full-journal");
    let Some(server) = on_small_disk(&data, 8, 2) else { return };
    let mut member = Member::join(server.address(), "session", "user");
    let payload = "x".repeat(50_000);
    let mut heard = Vec::new();
    loop {
        member.send(&payload);
        let word = next_word(&mut member);
        if word["code"] == "READ_ONLY" {
            break;
        }
        heard.push(word);
        assert!(heard.len() < 1_000, "the journal should have been full by now");
    }
    assert!(heard.len() > 20, "{} messages", heard.len());
    assert_eq!(server.metric("lockstep_journal_read_only"), 1);
    // Others can come, and are told all there is.
    let other = Member::join(server.address(), "session", "other");
    let told = other.sync["messages"].as_array().expect("SYNC has messages");
    assert!(heard.iter().all(|message| told.contains(message)));
    let inside = format!("/proc/{}/root{}/ballast", server.pid(), data.path().display());
    std::fs::remove_file(inside).expect("the server's disk can be reached");
    eventually("the journal to be written again", || {
        server.metric("lockstep_journal_read_only") == 0
    });
    member.send("after");
    while next_word(&mut member)[2] != "after" {}
    let log = server.stop_for_log();
    assert!(log.contains("has no space left"), "{log}");
}

#[test]
fn what_could_not_be_written_is_told_when_it_is() {
    let data = Scratch::new("held");
    let server = Server::start_in(data.path(), 1, &[]);
    let mut member = Member::join(server.address(), "session", "user");
    // The log of the server must still fit under the limit.
    let before = "x".repeat(200_000);
    member.send(&before);
    member.await_payload(&before);
    let mut bystander = Member::join(server.address(), "another", "user");
    limit(&server, Resource::Fsize, 100_000);
    member.send("held");
    eventually("the journal to fail", || server.log().contains("cannot be written"));
    // Not even a newcomer is told what a crash would take back.
    let address = server.address();
    let other = std::thread::spawn(move || Member::join(address, "session", "other"));
    assert!(member.client.is_silent_for(Duration::from_millis(300)), "held");
    assert_eq!(get(server.address(), "/health").status, 200);
    limit(&server, Resource::Fsize, None);
    member.await_payload("held");
    let told = other.join().expect("it joins when it can").sync["messages"].clone();
    assert!(told.as_array().expect("SYNC has messages").iter().any(|one| one[2] == "held"));
    bystander.send("unhurt");
    bystander.await_payload("unhurt");
    server.kill();
    let server = Server::start_in(data.path(), 1, &[]);
    let later = Member::join(server.address(), "session", "later");
    let told = later.sync["messages"].as_array().expect("SYNC has messages").iter();
    let said: Vec<_> = told.filter_map(|message| message[2].as_str()).collect();
    assert_eq!(said, [before.as_str(), "held"]);
    server.stop();
}

/// The server's command line with io_uring's system calls answered by this errno.
fn without_io_uring(errno: i32) -> Command {
    const CALLS: [u32; 3] = [425, 426, 427]; // io_uring_setup, _enter, _register
    const NUMBER_OFFSET: u32 = 0; // of the system call, in seccomp_data
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, NUMBER_OFFSET)];
    for (at, &call) in CALLS.iter().enumerate() {
        let to_errno = (CALLS.len() - at) as u8;
        program.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, to_errno, 0, call));
    }
    program.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    let refuse = libc::SECCOMP_RET_ERRNO | errno as u32;
    program.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, refuse));

    let mut command = server::command(&["--in-memory", "--shards", "1", "--port", "0"]);
    let install = move || {
        let filter =
            libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
        // SAFETY: the filter points to the program, which lives as long as this closure; both
        // calls only read it.
        let refused = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter)
                    != 0
        };
        if refused { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(install) };
    command
}

#[test]
fn a_process_that_may_not_use_io_uring_says_what_to_do() {
    // What filters answer: Docker's now, and what libseccomp does with calls it does not know.
    for errno in [libc::EPERM, libc::ENOSYS] {
        let (code, stdout, stderr) = run_to_end(without_io_uring(errno));
        assert_eq!((code, stdout.as_str()), (Some(78), ""), "{stderr}");
        for part in ["io_uring", "seccomp", "--security-opt", "SystemCallFilter"] {
            assert!(stderr.contains(part), "{part:?} is missing in {stderr:?}");
        }
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

#[test]
fn an_account_that_cannot_be_written_is_none_and_hurts_no_other() {
    let data = Scratch::new("accounts-full");
    let start = || {
        let arguments = ["--as", "comutiny", "--comutiny-jwt-secret", "s"];
        Server::start_in(data.path(), 1, &arguments)
    };
    let server = start();
    let ask = |server: &Server, page: &str, name: &str| {
        let body = format!(r#"{{"username":"{name}","email":"{name}@x","password":"p"}}"#);
        let path = format!("/auth/{page}");
        let headers = "Content-Type: application/json\r\n";
        Connection::open(server.address()).request("POST", &path, headers, body.as_bytes()).status
    };
    assert_eq!(ask(&server, "register", "before"), 201);
    let file = data.path().join("accounts/comutiny");
    let whole = std::fs::read(&file).expect("the file of accounts");
    // Room for half a line: it is torn, and taken back.
    limit(&server, Resource::Fsize, whole.len() as u64 + 100);
    assert_eq!(ask(&server, "register", "torn"), 503);
    assert_eq!(std::fs::read(&file).expect("the file of accounts"), whole);
    assert_eq!((ask(&server, "login", "before"), ask(&server, "login", "torn")), (200, 401));
    limit(&server, Resource::Fsize, None);
    assert_eq!(ask(&server, "register", "after"), 201);
    let log = server.stop_for_log();
    // The limit holds for the file of the log, too: its line is cut.
    assert!(log.contains("no account was made"), "{log}");
    let server = start();
    let known = ["before", "torn", "after"].map(|name| ask(&server, "login", name));
    assert_eq!(known, [200, 401, 200]);
    server.stop();
}

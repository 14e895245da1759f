//! The process: start, announcement, signals, exit codes, and what it says when it cannot run.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::canary::session_on;
use crate::support::croquet::Member;
use crate::support::http::{self, Connection, get};
use crate::support::server::{self, Scratch, Server, run_to_end};
use crate::support::websocket::{Client, Next};
use crate::support::{PATIENCE, eventually};

#[test]
fn announces_where_it_listens_and_stops_in_good_order() {
    for shards in [1, 2] {
        let server = Server::start(shards, &[]);
        assert_eq!(http::get(server.address(), "/health").status, 200);
        server.stop();
    }
}

#[test]
fn a_server_that_gathers_serves_all_the_same() {
    for shards in [1, 2] {
        let server = Server::start(shards, &["--gather", "20ms"]);
        // Each shard gets connections that belong to the other.
        for shard in 0..shards {
            let session = session_on(shard, shards);
            let mut members =
                ["a", "b", "c"].map(|user| Member::join(server.address(), &session, user));
            for number in 0..10 {
                let text = format!("message {number}");
                members[number % 3].send(&text);
                members.iter_mut().for_each(|member| member.await_payload(&text));
            }
        }
        assert_eq!(http::get(server.address(), "/health").status, 200);
        server.stop();
    }
}

#[test]
fn members_are_told_to_reconnect_when_it_is_to_stop() {
    for shards in [1, 2] {
        let server = Server::start(shards, &["--drain", "10s"]);
        let address = server.address();
        let mut members: Vec<_> = (0..20)
            .map(|number| Member::join(address, &format!("session-{}", number % 4), "user"))
            .collect();
        let mut unjoined = Client::open(address, "/reflector/unjoined");
        let mut idle = Connection::open(address);
        let mut half = Connection::open(address);
        assert_eq!(idle.request("GET", "/health", "", b"").status, 200);
        half.send(b"GET /hea");
        let begun = Instant::now();
        server.terminate();
        for member in &mut members {
            assert_eq!(member.client.closed(), (4003, "please reconnect".to_owned()));
            // Who goes when told is not waited for.
            assert_eq!(member.client.next(), Next::End);
        }
        assert_eq!(unjoined.closed().0, 4003);
        assert!(idle.is_closed() && half.is_closed());
        drop((members, unjoined, idle, half));
        let status = server.wait();
        assert_eq!(status.code(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(8), "it waited for nobody");
        assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
    }
}

#[test]
fn those_who_do_not_go_are_left_after_the_drain() {
    let server = Server::start(2, &["--drain", "1s"]);
    let address = server.address();
    // They are told, and neither answer nor leave; one does not even read.
    let mut member = Member::join(address, "session", "stays");
    let _deaf = Member::join(address, "session", "deaf");
    let mut upload = Connection::open(address);
    upload.send(b"PUT /files/f HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf");
    let begun = Instant::now();
    server.terminate();
    assert_eq!(member.client.closed().0, 4003);
    assert_eq!(server.wait().code(), Some(0));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(6), "it took {took:?} to stop");
}

#[test]
fn a_request_under_way_is_answered_before_it_ends() {
    for shards in [1, 2] {
        let data = Scratch::new("drain");
        let server = Server::start_in(data.path(), shards, &["--drain", "10s"]);
        let mut upload = Connection::open(server.address());
        upload.send(
            b"PUT /files/f HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\
              Content-Length: 10\r\n\r\n",
        );
        assert_eq!(upload.response(false).status, 100);
        let mut member = Member::join(server.address(), "session", "user");
        server.terminate();
        // When the member is told, every shard has been or is being told.
        assert_eq!(member.client.closed().0, 4003);
        upload.send(b"0123456789");
        let response = upload.response(false);
        assert_eq!(response.status, 201);
        assert!(upload.is_closed());
        drop(member);
        assert_eq!(server.wait().code(), Some(0));
        let stored = std::fs::read(data.path().join("files/content/f"));
        assert_eq!(stored.expect("it was stored"), b"0123456789");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let server = Server::start(2, &["--drain", "60s"]);
    let mut member = Member::join(server.address(), "session", "stays");
    // An upload that never ends keeps it from being done.
    let mut upload = Connection::open(server.address());
    upload.send(
        b"PUT /files/f HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n",
    );
    assert_eq!(upload.response(false).status, 100);
    server.terminate();
    assert_eq!(member.client.closed().0, 4003);
    let begun = Instant::now();
    server.terminate();
    let status = server.wait();
    assert!(!status.success() && status.code().is_some(), "{status}");
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[test]
fn files_are_read_again_at_a_hang_up() {
    let scratch = Scratch::new("hang-up");
    let path = scratch.path().join("avatars.json");
    let write = |text: &str| std::fs::write(&path, text).expect("files can be written");
    let sprites = |version: u32| format!(r#"{{"atlas":{{"version":{version}}}}}"#);
    write(&sprites(1));
    let file = path.to_str().expect("paths here are UTF-8");
    let server = Server::start(2, &["--as", "comutiny", "--comutiny-avatars", file]);
    let mut client = Client::open(server.address(), "/socket.io/?EIO=4&transport=websocket");
    client.text();
    client.send_text("40");
    client.text();
    assert!(client.text().contains(r#""spriteAtlas":{"version":1,"#));
    for version in [2, 3] {
        // A file that cannot be used is said, and changes nothing.
        write("{");
        server.hang_up();
        let refused = format!("the avatars in {file} cannot be used");
        eventually("the file to be refused", || {
            server.log().matches(&refused).count() == version as usize - 1
        });
        write(&sprites(version));
        server.hang_up();
        let told = format!(r#"42["sprites:atlasUpdated",{{"version":{version},"#);
        let text = client.text();
        assert!(text.starts_with(&told), "{text}");
    }
    server.stop();
}

/// An error has three parts: what failed, which value from where, what to do.
fn has_three_parts(stderr: &str, parts: &[&str]) {
    for part in parts {
        assert!(stderr.contains(part), "{part:?} is missing in {stderr:?}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn a_port_in_use_is_a_fault() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let (code, stdout, stderr) =
        run_to_end(server::command(&["--in-memory", "--shards", "1", "--port", &port]));
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(stdout, "");
    has_three_parts(&stderr, &["cannot listen", &format!("127.0.0.1:{port}"), "--port"]);

    // Another server of ours there is no different.
    let first = Server::start(1, &[]);
    let port = first.address().port().to_string();
    let (code, _, stderr) =
        run_to_end(server::command(&["--in-memory", "--shards", "1", "--port", &port]));
    assert_eq!(code, Some(1), "two servers on one port share its connections: {stderr}");
    first.stop();
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    for (arguments, parts) in [
        (&["--no-such-flag"][..], &["--no-such-flag"][..]),
        (&["--port", "seventy"], &["seventy", "--port", "number"]),
        (&["--port", "70000"], &["70000", "--port", "65535"]),
        (&["--as", "croqet"], &["croqet", "--as", "croquet"]),
        (&["--drain", "5 parsecs"], &["5 parsecs", "--drain", "30s"]),
        (&["--file-bytes-max", "ten"], &["ten", "--file-bytes-max", "10MiB"]),
        (&["--listen", "croquet"], &["croquet", "--listen", "croquet=127.0.0.1:9090"]),
        (&["--shards", "0"], &["0", "--shards", "1"]),
        (&["--in-memory", "--data-dir", "x"], &["--in-memory", "--data-dir"]),
        (&["no-such-command"], &["no-such-command"]),
    ] {
        let (code, stdout, stderr) = run_to_end(server::command(arguments));
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert_eq!(stdout, "", "{arguments:?}");
        has_three_parts(&stderr, parts);
    }
    let mut command = server::command(&["--in-memory"]);
    command.env("LOCKSTEP_PORT", "seventy");
    let (code, _, stderr) = run_to_end(command);
    assert_eq!(code, Some(78), "{stderr}");
    has_three_parts(&stderr, &["seventy", "LOCKSTEP_PORT", "number"]);
}

#[test]
fn help_and_version_are_printed() {
    for (arguments, expected) in [
        (&["--help"][..], "--data-dir"),
        (&["-h"], "--port"),
        (&["--version"], "lockstep"),
        (&["version"], "lockstep"),
    ] {
        let (code, stdout, stderr) = run_to_end(server::command(arguments));
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(stdout.contains(expected), "{arguments:?}: {stdout}");
    }
}

#[test]
fn a_machine_that_locks_too_little_memory_is_told_so() {
    let found = Command::new("prlimit").arg("--version").output();
    if found.is_err() {
        eprintln!("SKIPPED: there is no prlimit here");
        return;
    }
    let begun = Instant::now();
    let mut command = Command::new("prlimit");
    command.args(["--memlock=65536:65536", env!("CARGO_BIN_EXE_lockstep")]);
    command.args(["--in-memory", "--shards", "1", "--port", "0"]);
    let (code, stdout, stderr) = run_to_end(command);
    assert_eq!((code, stdout.as_str()), (Some(78), ""), "{stderr}");
    has_three_parts(&stderr, &["RLIMIT_MEMLOCK", "65536", "LimitMEMLOCK=infinity"]);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_data_directory_serves_one_process_only() {
    let data = Scratch::new("taken");
    let server = Server::start_in(data.path(), 1, &[]);
    let path = data.path().to_str().expect("temporary paths are UTF-8");
    let second = || server::command(&["--data-dir", path, "--shards", "1", "--port", "0"]);
    let (code, stdout, stderr) = run_to_end(second());
    assert_eq!((code, stdout.as_str()), (Some(78), ""), "{stderr}");
    has_three_parts(&stderr, &[path, &format!("process {}", server.pid()), "--data-dir"]);
    server.stop();
    // It is free again, even after an end without warning.
    let server = Server::start_command(second());
    drop(server);
    Server::start_command(second()).stop();
}

#[test]
fn a_data_directory_that_cannot_be_used_is_named() {
    let data = Scratch::new("unusable");
    let file = data.path().join("file");
    std::fs::write(&file, b"x").expect("temporary files can be written");
    std::fs::create_dir(data.path().join("newer")).expect("temporary directories can be made");
    std::fs::write(data.path().join("newer/format"), b"999\n").expect("files can be written");
    for (directory, parts) in [("file", &["--data-dir"][..]), ("newer", &["999", "--data-dir"])] {
        let path = data.path().join(directory);
        let path = path.to_str().expect("temporary paths are UTF-8");
        let (code, _, stderr) = run_to_end(server::command(&["--data-dir", path, "--port", "0"]));
        assert_eq!(code, Some(78), "{stderr}");
        has_three_parts(&stderr, &[path]);
        has_three_parts(&stderr, parts);
    }
}

#[test]
fn several_listeners_are_announced_and_served() {
    for shards in ["1", "2"] {
        let server = Server::start_command(server::command(&[
            "--in-memory",
            "--shards",
            shards,
            "--listen",
            "croquet=127.0.0.1:0",
            "--listen",
            "all=127.0.0.1:0",
        ]));
        let (croquet, all) = (server.address(), server.next_address());
        assert_ne!(croquet, all);
        assert!(get(croquet, "/").text().starts_with("Croquet reflector"));
        assert!(get(all, "/").text().starts_with("Lockstep"));
        // A session is one, whichever way its members come.
        let mut one = Member::join_at(croquet, "/any/path/v1/shared", "one");
        let mut other = Member::join_at(all, "/reflector/shared", "other");
        one.send("x");
        other.await_payload("x");
        other.send("y");
        one.await_payload("y");
        server.stop();
    }
}

#[test]
fn a_drop_in_serves_the_originals_paths_at_the_root() {
    for shards in [1, 2] {
        let server = Server::start(shards, &["--as", "croquet"]);
        let address = server.address();
        for path in ["/abc", "/v1/abc", "/any/path/abc", "/abc?token=x", "/reflector/abc"] {
            let mut member = Member::join_at(address, path.split('?').next().unwrap_or(path), path);
            member.send(path);
            member.await_payload(path);
        }
        for path in ["/", "/healthz", "/any/healthz"] {
            assert!(get(address, path).text().contains("stayin' alive"), "{path}");
        }
        assert_eq!(get(address, "/sessions").text().lines().count(), 1);
        assert!(get(address, "/users/abc").text().starts_with('['));
        assert!(get(address, "/metrics").text().contains("reflector_connections"));
        server.stop();
    }
}

#[test]
fn the_originals_environment_is_honoured() {
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.2:0").expect("a port is free");
        free.local_addr().expect("it is bound").port()
    };
    let mut command = server::command(&["--in-memory", "--shards", "1"]);
    command.env("PORT", port.to_string()).env("HOST", "127.0.0.2");
    let server = Server::start_command(command);
    assert_eq!(server.address().to_string(), format!("127.0.0.2:{port}"));
    assert_eq!(get(server.address(), "/health").status, 200);
    server.stop();

    let mut command = server::command(&["--in-memory", "--shards", "1", "--port", "0"]);
    command.env("PORT", "1").env("HOST", "localhost");
    let server = Server::start_command(command);
    assert_eq!(server.address().ip().to_string(), "127.0.0.1");
    assert_ne!(server.address().port(), 1, "the flag wins");
    server.stop();
}

#[test]
fn health_says_that_it_stops() {
    let server = Server::start(1, &["--drain", "20s"]);
    let mut member = Member::join(server.address(), "session", "stays");
    // An upload under way keeps its connection, and the process, for the drain.
    let mut upload = Connection::open(server.address());
    upload.send(
        b"PUT /files/f HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
    );
    assert_eq!(upload.response(false).status, 100);
    server.terminate();
    assert_eq!(member.client.closed().0, 4003);
    let refused = || match std::net::TcpStream::connect(server.address()) {
        Err(_) => true,
        Ok(stream) => {
            stream.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
            std::io::Read::read(&mut &stream, &mut [0]).is_ok_and(|read| read == 0)
        }
    };
    eventually("new connections are refused", refused);
    upload.send(b"xGET /health HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(upload.response(false).status, 201);
    assert!(upload.is_closed());
    drop(member);
    assert_eq!(server.wait().code(), Some(0));
}

//! A disk that has changed a byte of what was known to be on it: the session whose byte it was is
//! refused, by name and place, and the others go on.

use std::path::{Path, PathBuf};

use crate::support::croquet::Member;
use crate::support::eventually;
use crate::support::server::{Scratch, Server};
use crate::support::websocket::Client;

const SESSIONS: [&str; 3] = ["before", "fragile", "behind"];

/// Everybody says this.
fn say(members: &mut [Member], text: &str) {
    for member in members {
        member.send(text);
        member.await_payload(text);
    }
}

fn join_all(server: &Server, sessions: &[&str]) -> Vec<Member> {
    sessions.iter().map(|name| Member::join(server.address(), name, "user")).collect()
}

/// What was said in a session, as a newcomer is told.
fn said(member: &Member) -> Vec<String> {
    let messages = member.sync["messages"].as_array().expect("SYNC has messages");
    let payloads = messages.iter().filter_map(|message| message[2].as_str());
    payloads.map(str::to_owned).collect()
}

fn find(bytes: &[u8], what: &[u8]) -> Vec<usize> {
    let found = bytes.windows(what.len()).enumerate();
    found.filter(|(_, window)| *window == what).map(|(at, _)| at).collect()
}

/// The files of a directory of the journal.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).map(|entries| {
        entries.map(|entry| entry.expect("directories can be read").path()).collect()
    });
    entries.unwrap_or_default()
}

fn segments(data: &Path) -> Vec<PathBuf> {
    let epochs = files(&data.join("journal"));
    epochs.iter().filter(|path| !path.ends_with("damaged")).flat_map(|path| files(path)).collect()
}

/// Flips a bit of what the second session said.
fn damage(data: &Path, text: &str) {
    for segment in segments(data) {
        let mut bytes = std::fs::read(&segment).expect("segments can be read");
        // Each session in turn has recorded it.
        if let [_, at, _] = find(&bytes, format!("\"{text}\"").as_bytes())[..] {
            bytes[at + 1] ^= 1;
            return std::fs::write(&segment, &bytes).expect("segments can be written");
        }
    }
    panic!("nothing that was said is in the journal");
}

fn check_refused(server: &Server) {
    let close = Client::open(server.address(), "/reflector/fragile").closed();
    assert_eq!(close, (1011, "session is damaged, see the server's log".to_owned()));
}

#[test]
fn a_damaged_session_is_refused_and_the_others_go_on() {
    let data = Scratch::new("damage");
    let start = || Server::start_in(data.path(), 1, &["--sync", "1ms"]);
    let server = start();
    let mut members = join_all(&server, &SESSIONS);
    say(&mut members, "stored");
    drop(members);
    server.stop();

    let server = start();
    let mut members = join_all(&server, &SESSIONS);
    say(&mut members, "damaged");
    // Two syncs, of which the second began later than this was said; the next batch tells of it.
    let syncs = || server.metric("lockstep_journal_syncs_total");
    let mut more = 0;
    let before = syncs();
    eventually("it is on the disk", || {
        more += 1;
        say(&mut members, &format!("more {more}"));
        syncs() >= before + 3
    });
    say(&mut members, "last");
    server.kill();
    drop(members);

    damage(data.path(), "damaged");
    let server = start();
    check_refused(&server);
    let others = join_all(&server, &["before", "behind"]);
    for other in &others {
        let said = said(other);
        assert_eq!(said[..2], ["stored", "damaged"], "{said:?}");
        assert_eq!(said.len(), 3 + more);
    }
    drop(others);
    check_refused(&server);
    let log = server.stop_for_log();
    let line = log.lines().find(|line| line.contains("are missing")).expect("it is logged");
    for told in ["croquet/fragile", "/000-00000001.log at byte ", "journal/damaged"] {
        assert!(line.contains(told), "{line}");
    }
    assert_eq!(log.matches("are missing").count(), 1, "{log}");

    // That lasts until an operator decides.
    let server = start();
    check_refused(&server);
    server.stop();
    let aside = files(&data.path().join("journal/damaged"));
    let [kept] = &aside[..] else { panic!("{aside:?}") };
    let sound = std::fs::read(kept).expect("it can be read");
    assert!(!find(&sound, b"croquet/fragile").is_empty());
    std::fs::remove_file(kept).expect("it can be deleted");
    let server = start();
    let mut member = Member::join(server.address(), "fragile", "user");
    assert_eq!(said(&member), ["stored"], "as it was stored last");
    member.send("on");
    member.await_payload("on");
    server.stop();
}

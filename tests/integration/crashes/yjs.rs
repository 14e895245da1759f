//! Whatever a Yjs client was told of a document is in what the next one is told. Editors come back
//! with their documents, as pages do that were only cut off; so before any of them comes, somebody
//! who has nothing asks for the document.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use yrs::Doc;

use super::{LIVES_EACH, ROUNDS, start_anyhow};
use crate::support::eventually;
use crate::support::random::Random;
use crate::support::server::{Scratch, Server};
use crate::support::yjs::{Editor, apply, contents, whole};

const ROOMS: [&str; 3] = ["one", "two", "three"];
const WRITERS_EACH: usize = 2;
/// Keystrokes that a writer sends before it reads, at most.
const BURST_MAX: usize = 8;
/// Updates heard in all before the server is killed, at most.
const UPDATES_MAX: usize = 800;

/// A document, as the test knows it.
struct Known {
    /// What the last was given who had nothing.
    given: Doc,
    /// Updates that anybody was told since.
    told: Vec<Vec<u8>>,
    /// What its writers have.
    writers: Vec<Doc>,
}

impl Default for Known {
    fn default() -> Self {
        let writers = (0..WRITERS_EACH).map(|_| Doc::new()).collect();
        Self { given: Doc::new(), told: Vec::new(), writers }
    }
}

impl Known {
    /// Somebody who had nothing was given this.
    fn check(&mut self, room: &str, given: Doc) {
        let before = contents(&given);
        apply(&given, &whole(&self.given));
        self.told.drain(..).for_each(|update| apply(&given, &update));
        assert!(contents(&given) == before, "{room}: something is lost that was told");
        let written = Doc::new();
        self.writers.iter().for_each(|writer| apply(&written, &whole(writer)));
        let all = contents(&written);
        apply(&written, &whole(&given));
        assert!(contents(&written) == all, "{room}: there is something that nobody wrote");
        let merged = Doc::new();
        apply(&merged, &whole(&given));
        apply(&merged, &whole(&written));
        assert_eq!(contents(&merged).1, all.1, "{room}: something has changed");
        self.given = given;
    }
}

/// Asks for a document as one who has nothing, and checks it.
fn visit(address: SocketAddr, room: &str, known: &mut Known) {
    known.check(room, Editor::join(address, room, Doc::new()).doc);
}

/// What is left of an editor: its document, and the updates that it was told.
type Left = (Doc, Vec<Vec<u8>>);

/// Listens until the connection is cut.
fn listen(mut editor: Editor, count: &AtomicUsize) -> Left {
    while editor.hear().is_some() {
        count.fetch_add(1, Ordering::Relaxed);
    }
    // Ends its side too: a server that stops waits for that.
    (editor.doc, editor.told)
}

/// Types, and after each burst waits to hear of another. So of several writers one always types.
fn write(mut editor: Editor, mut random: Random, count: &AtomicUsize) -> Left {
    loop {
        let sent = (0..=random.below(BURST_MAX)).all(|_| {
            let at = random.next() as usize;
            match random.below(5) {
                0 if !editor.is_empty() => editor.deletes(at),
                _ => editor.types(at, char::from(b'a' + random.below(26) as u8)),
            }
        });
        if !sent || editor.hear().is_none() {
            return listen(editor, count);
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// One life of the server: whoever comes first checks what is there; then all write until `end`.
fn live(
    address: SocketAddr,
    round: usize,
    rooms: &mut BTreeMap<String, Known>,
    random: &mut Random,
    end: impl FnOnce(&AtomicUsize),
) {
    // All are there before one types: none waits for what another has typed before.
    let mut editors: Vec<(String, bool, Editor)> = Vec::new();
    for name in ROOMS {
        let room = format!("{name}-{}", round / LIVES_EACH);
        let known = rooms.entry(room.clone()).or_default();
        visit(address, &room, known);
        editors.push((room.clone(), false, Editor::join(address, &room, Doc::new())));
        for doc in known.writers.drain(..) {
            editors.push((room.clone(), true, Editor::join(address, &room, doc)));
        }
    }
    let count = Arc::new(AtomicUsize::new(0));
    let mut threads: Vec<(String, bool, JoinHandle<Left>)> = Vec::new();
    for (room, writes, editor) in editors {
        let (count, random) = (Arc::clone(&count), Random::from_seed(random.next()));
        let thread = std::thread::spawn(move || {
            if writes { write(editor, random, &count) } else { listen(editor, &count) }
        });
        threads.push((room, writes, thread));
    }
    end(&count);
    for (room, writes, thread) in threads {
        let (doc, told) = thread.join().expect("editors are told what they can read");
        let known = rooms.get_mut(&room).expect("it is known");
        known.told.extend(told);
        if writes {
            known.writers.push(doc);
        }
    }
}

#[test]
fn what_yjs_clients_were_told_survives_a_hundred_kills() {
    let mut random = Random::new();
    let data = Scratch::new("yjs-kills");
    let mut rooms = BTreeMap::new();
    let mut total = 0;
    for round in 0..ROUNDS {
        let server = start_anyhow(data.path(), &mut random);
        let enough = random.below(UPDATES_MAX);
        let stops = random.below(10) == 0;
        live(server.address(), round, &mut rooms, &mut random, |count| {
            eventually("editors to have heard enough", || count.load(Ordering::Relaxed) >= enough);
            if stops {
                server.stop()
            } else {
                server.kill()
            }
            total += count.load(Ordering::Relaxed);
        });
    }
    println!("{total} updates heard over {ROUNDS} lives of the server");
    let server = Server::start_in(data.path(), 2, &[]);
    rooms.iter_mut().for_each(|(room, known)| visit(server.address(), room, known));
    // Once nobody is there documents are stored, and the journal is cut.
    let records = data.path().join("records/yjs.documents");
    let stored = || std::fs::read_dir(&records).map_or(0, Iterator::count);
    eventually("every document to be stored", || stored() >= rooms.len());
    server.kill();
    let server = Server::start_in(data.path(), 3, &[]);
    rooms.iter_mut().for_each(|(room, known)| visit(server.address(), room, known));
    server.stop();
}

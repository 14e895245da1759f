//! Gallery's persistent rooms: what another member was sent, or who said it knows to be heard, is in
//! the room's state afterwards; and there are the rooms that there should be.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::gallery::{Visitor, framed, stats};
use crate::support::http::Connection;
use crate::support::random::Random;
use crate::support::server::{Scratch, Server};
use crate::support::websocket::{Frame, Next};

const ROUNDS: usize = 100;
const ROOMS: [&str; 3] = ["one", "two", "three"];
const MEMBERS_EACH: usize = 2;
/// Lives of the server that a room goes through.
const LIVES_EACH: usize = 10;
/// Changes heard in all before the server is killed, at most.
const CHANGES_MAX: usize = 300;
/// Rooms that are created and removed meanwhile in each life, at most.
const EXTRAS_MAX: usize = 4;

/// What is known of one member's changes of its room. They are numbered: every fourth is a value of
/// the state, an annotation that is replaced, one that is added again, and that one removed.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    value: u64,
    annotation: u64,
    /// The last change of the annotation that comes and goes.
    brief: u64,
    /// The last that the member has sent, heard or not.
    sent: u64,
    /// Changes that were heard.
    heard: usize,
}

impl Known {
    fn hear(&mut self, number: u64) {
        self.heard += 1;
        let known = match number % 4 {
            0 => &mut self.value,
            1 => &mut self.annotation,
            _ => &mut self.brief,
        };
        assert!(*known < number, "change {number} comes after {known}");
        *known = number;
    }

    fn merge(&mut self, other: &Self) {
        self.value = self.value.max(other.value);
        self.annotation = self.annotation.max(other.annotation);
        self.brief = self.brief.max(other.brief);
        self.sent = self.sent.max(other.sent);
        self.heard += other.heard;
    }

    /// A newcomer is shown this state: nothing is lost, and nothing invented. What it is shown is
    /// known from here on.
    fn check(&mut self, member: &str, state: &Value) {
        let annotation = |id: &str| {
            let all = state["annotations"].as_array().expect("a list");
            let found = all.iter().find(|one| one["id"] == id);
            found.map_or(0, |one| one["text"].as_u64().expect("a number"))
        };
        let told = format!("{member}: {self:?}, and there is {state}");
        let value = state[member].as_u64().unwrap_or(0);
        assert!((self.value..=self.sent).contains(&value), "{told}");
        let kept = annotation(member);
        assert!((self.annotation..=self.sent).contains(&kept), "{told}");
        match annotation(&brief(member)) {
            // Removed, or it was never there.
            0 => assert!(self.brief % 4 != 2 || self.sent > self.brief, "{told}"),
            number => {
                assert!((self.brief..=self.sent).contains(&number), "{told}");
                self.brief = number;
            }
        }
        (self.value, self.annotation) = (value, kept);
    }
}

fn brief(member: &str) -> String {
    format!("{member}, briefly")
}

/// What is known of each room's members.
type Rooms = BTreeMap<String, BTreeMap<String, Known>>;

/// A member that changes its room and hears how others do.
struct Talker {
    visitor: Visitor,
    room: String,
    version: u64,
    known: BTreeMap<String, Known>,
    count: Arc<AtomicUsize>,
}

impl Talker {
    /// Joins and checks what is there.
    fn join(
        address: SocketAddr,
        room: &str,
        id: &str,
        known: &mut BTreeMap<String, Known>,
        count: &Arc<AtomicUsize>,
    ) -> Self {
        let mut visitor = Visitor::connect(address, id);
        let state = visitor.join(room, "host")["state"].take();
        known.iter_mut().for_each(|(member, known)| known.check(member, &state));
        let (version, count) = (state["version"].as_u64().expect("a version"), Arc::clone(count));
        let mine = Known { heard: 0, ..known.get(id).copied().unwrap_or_default() };
        let known = BTreeMap::from([(id.to_owned(), mine)]);
        Self { visitor, room: room.to_owned(), version, known, count }
    }

    fn change(&mut self, number: u64) -> Value {
        let id = &self.visitor.id;
        let annotation = |name: &str| json!({"id": name, "userId": id, "text": number});
        let (kind, data) = match number % 4 {
            0 => {
                let data = json!({id: number});
                let update = json!({"type": "patch", "data": data, "version": self.version + 1});
                ("state_update", update)
            }
            1 => ("annotation_add", annotation(id)),
            2 => ("annotation_add", annotation(&brief(id))),
            _ => ("annotation_remove", json!(brief(id))),
        };
        json!({"type": kind, "timestamp": number, "data": data})
    }

    /// Talks and listens until the connection is cut.
    fn talk(mut self) -> (String, BTreeMap<String, Known>) {
        let id = self.visitor.id.clone();
        let first = self.known[&id].sent + 1;
        for number in first.. {
            let message = self.change(number);
            self.known.entry(id.clone()).or_default().sent = number;
            let mut bytes = framed(&json!({"action": "broadcast", "message": message}));
            bytes.extend(framed(&json!({"action": "well?"})));
            if !self.visitor.client.try_send(&bytes) {
                break;
            }
            match self.hear_answer() {
                Some(true) => self.on_change(&id, number),
                Some(false) => {}
                None => break,
            }
        }
        (self.room, self.known)
    }

    /// Hears others until the server has heard all that this one said: whether that was accepted.
    fn hear_answer(&mut self) -> Option<bool> {
        let mut accepted = true;
        loop {
            let event = self.next()?;
            match (event["event"].as_str(), event["data"]["message"].as_str()) {
                (Some("error"), Some("Unknown action: well?")) => return Some(accepted),
                (Some("error"), why) => {
                    assert_eq!(why, Some("Stale version"), "{event}");
                    accepted = false;
                }
                (Some("message"), _) => self.on_message(&event["data"]),
                _ => {}
            }
        }
    }

    fn on_message(&mut self, data: &Value) {
        let (sender, message) = (data["senderId"].as_str().expect("a sender"), &data["message"]);
        if message["type"] == "state_full" {
            self.version = message["data"]["version"].as_u64().expect("a version");
        } else {
            if message["type"] == "state_update" {
                self.version = message["data"]["version"].as_u64().expect("a version");
            }
            self.on_change(sender, message["timestamp"].as_u64().expect("a number"));
        }
    }

    fn on_change(&mut self, member: &str, number: u64) {
        self.known.entry(member.to_owned()).or_default().hear(number);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn next(&mut self) -> Option<Value> {
        loop {
            match self.visitor.client.next() {
                Next::Frame(Frame { opcode: 1, payload, .. }) => {
                    return Some(serde_json::from_slice(&payload).expect("events are JSON"));
                }
                Next::Frame(Frame { opcode: 9 | 10, .. }) => {}
                Next::Frame(Frame { opcode: 8, .. }) | Next::End | Next::Reset => return None,
                other => panic!("an event was expected, not {other:?}"),
            }
        }
    }
}

/// An operator and somebody who creates rooms.
struct Keeper {
    visitor: Visitor,
    rooms: BTreeSet<String>,
}

impl Keeper {
    fn create(&mut self, room: &str) {
        let config = json!({"persistent": true});
        let ask = json!({"action": "create_room", "roomId": room, "config": config});
        let answer = self.visitor.ask(&ask);
        assert_eq!(answer["event"], "room_created", "{answer}");
        self.rooms.insert(room.to_owned());
    }

    fn remove(&mut self, address: SocketAddr, room: &str) {
        let path = format!("/rooms/{room}");
        let answer = Connection::open(address).request("DELETE", &path, "", b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.rooms.remove(room);
    }
}

/// One life of the server: everybody joins, checks what is there and changes it until enough was
/// heard.
fn live(
    server: Server,
    round: usize,
    rooms: &mut Rooms,
    list: &mut BTreeSet<String>,
    random: &mut Random,
) {
    let (address, count) = (server.address(), Arc::new(AtomicUsize::new(0)));
    eventually("there are the rooms that there should be", || {
        let (found, _) = stats(&server);
        let found: BTreeSet<String> = found.into_iter().map(|(id, _)| id).collect();
        // Before the list is loaded there are none.
        assert!(found.is_empty() || found == *list, "{found:?}, not {list:?}");
        found == *list
    });
    let visitor = Visitor::connect(address, "keeper");
    let mut keeper = Keeper { visitor, rooms: std::mem::take(list) };
    let mut talkers = Vec::new();
    for name in ROOMS {
        let room = format!("{name}-{}", round / LIVES_EACH);
        if !keeper.rooms.contains(&room) {
            keeper.create(&room);
        }
        let known = rooms.entry(room.clone()).or_default();
        for at in 0..MEMBERS_EACH {
            let talker = Talker::join(address, &room, &format!("{name}-{at}"), known, &count);
            talkers.push(talker);
        }
    }
    let talkers: Vec<_> =
        talkers.into_iter().map(|talker| std::thread::spawn(move || talker.talk())).collect();
    let enough = random.below(CHANGES_MAX);
    eventually("members to have heard enough", || count.load(Ordering::Relaxed) >= enough);
    for extra in 0..random.below(EXTRAS_MAX) {
        keeper.create(&format!("extra-{round}-{extra}"));
    }
    let extras = keeper.rooms.iter().filter(|room| room.starts_with("extra"));
    let extras: Vec<String> = extras.cloned().collect();
    for room in extras.iter().skip(random.below(EXTRAS_MAX)).step_by(EXTRAS_MAX) {
        keeper.remove(address, room);
    }
    if random.below(10) == 0 {
        server.stop()
    } else {
        server.kill()
    }
    *list = keeper.rooms;
    for talker in talkers {
        let (room, more) = talker.join().expect("members hear what they should");
        let known = rooms.entry(room).or_default();
        more.into_iter().for_each(|(member, more)| known.entry(member).or_default().merge(&more));
    }
}

#[test]
fn what_gallery_members_saw_survives_a_hundred_kills() {
    let mut random = Random::new();
    let data = Scratch::new("gallery-kills");
    let (mut rooms, mut list) = (Rooms::new(), BTreeSet::new());
    for round in 0..ROUNDS {
        let shards = 1 + random.below(3);
        let sync = ["100ms", "1ms", "never", "always"][random.below(4)];
        let arguments = ["--as", "gallery", "--log-level", "warn", "--sync", sync];
        let server = Server::start_in(data.path(), shards, &arguments);
        live(server, round, &mut rooms, &mut list, &mut random);
    }
    let heard: usize = rooms.values().flat_map(BTreeMap::values).map(|known| known.heard).sum();
    println!("{heard} changes heard over {ROUNDS} lives of the server, {} rooms left", list.len());
    assert!(heard > ROUNDS);
    let server = Server::start_in(data.path(), 2, &["--as", "gallery"]);
    for (room, known) in &mut rooms {
        let state = Visitor::connect(server.address(), "last").join(room, "viewer")["state"].take();
        known.iter_mut().for_each(|(member, known)| known.check(member, &state));
    }
    server.stop();
}

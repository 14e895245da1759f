//! Clients of the Croquet reflector. Whatever happens: a sequence number stands for one message, the
//! same for everybody and in every process; a member is sent every number, once and in order; session
//! time and sequence never go back behind what anybody was told; what anybody was told is in every later
//! SYNC, or behind its snapshot; and what a member says comes back to it once, in order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Play;
use super::line::Line;
use super::stage::Stage;

const SESSIONS: u64 = 2;
const CLIENTS_MAX: usize = 5;
/// Before the first message of a session.
const SEQ_START: u32 = 0xFFFF_FFF0;

/// What is known of a session, over all processes.
#[derive(Default)]
struct Session {
    /// Messages that anybody was told, by their number in order.
    messages: BTreeMap<u32, Value>,
    /// The texts among them, with their number.
    texts: BTreeMap<String, u32>,
    told: Told,
    timeline: Option<String>,
    /// Snapshots that clients have announced.
    snapshots: BTreeSet<(u32, String)>,
    /// The last announcement of who is there, by the number of its message.
    active: Option<(u32, u64)>,
}

/// The latest that anybody was told.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    number: u32,
    time: u64,
    snapshot: u32,
}

/// A client.
struct Client {
    line: Line,
    /// Tells it from all others.
    name: u32,
    session: usize,
    /// What others had been told when it asked to join.
    floor: Told,
    /// Number and time of the last message, once it was sent SYNC.
    last: Option<(u32, u64)>,
    /// What it has said since, and how many of those it has heard.
    said: Vec<String>,
    heard: usize,
    /// The disk has failed: messages may have been dropped, and somebody was told so.
    was_dropped: bool,
}

/// All of it.
#[derive(Default)]
pub(super) struct Croquet {
    sessions: [Session; SESSIONS as usize],
    clients: Vec<Client>,
    names: u32,
}

impl Session {
    /// A message that somebody was told.
    fn note(&mut self, message: &Value, stage: &mut Stage) -> (u32, u64) {
        let (time, number) = (number_of(&message[0]), order(&message[1]));
        let known = self.messages.entry(number).or_insert_with(|| message.clone());
        assert_eq!(known, message, "number {number} was given out twice");
        if let Some(text) = message[2].as_str() {
            let known = *self.texts.entry(text.to_owned()).or_insert(number);
            assert_eq!(known, number, "{text} is there twice");
        } else if message[2]["what"] == "users" {
            let active = (number, number_of(&message[2]["active"]));
            self.active = self.active.max(Some(active));
        }
        let around = [number.wrapping_sub(1), number + 1].map(|other| self.messages.get(&other));
        let times = around.map(|other| other.map(|other| number_of(&other[0])));
        assert!(times[0] <= Some(time) && times[1].is_none_or(|later| time <= later), "{message}");
        self.told.number = self.told.number.max(number);
        self.told.time = self.told.time.max(time);
        stage.met.croquet[0] += 1;
        (number, time)
    }
}

/// The place of a sequence number, which wraps early.
fn order(seq: &Value) -> u32 {
    (number_of(seq) as u32).wrapping_sub(SEQ_START)
}

fn number_of(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a number is expected, not {value}"))
}

impl Client {
    fn hear(&mut self, text: &str, session: &mut Session, stage: &mut Stage) {
        self.was_dropped |= stage.troubled;
        stage.trace(|| format!("croquet {}: {text}", self.name));
        let message: Value = serde_json::from_str(text).expect("messages are JSON");
        assert_eq!(message["id"], format!("c{}", self.session));
        let args = &message["args"];
        match message["action"].as_str() {
            Some("SYNC") => self.sync(args, session, stage),
            Some("RECV") => {
                let (last, time) = self.last.expect("SYNC comes first");
                let (number, now) = session.note(args, stage);
                assert_eq!(number, last + 1, "a message is missing, or there twice: {text}");
                self.advance(number, now, time);
                self.own(args);
            }
            Some("TICK") => {
                let (last, time) = self.last.expect("SYNC comes first");
                let now = number_of(args);
                session.told.time = session.told.time.max(now);
                self.advance(last, now, time);
            }
            Some("INFO") => assert!(stage.troubled && args["code"] == "READ_ONLY", "{text}"),
            _ => panic!("a client does not expect {text}"),
        }
    }

    fn advance(&mut self, number: u32, now: u64, before: u64) {
        assert!(now >= before, "time went back from {before} to {now}");
        self.last = Some((number, now));
    }

    fn sync(&mut self, args: &Value, session: &mut Session, stage: &mut Stage) {
        assert_eq!(self.last, None, "it has joined once");
        let snapshot = args.get("snapshotSeq").map_or(0, order);
        let (number, time) = (order(&args["seq"]), number_of(&args["time"]));
        let Told { number: told, time: told_time, snapshot: covered } = self.floor;
        assert!(number >= told, "{told} was told, and now the last is {number}");
        assert!(time >= told_time, "time went back from {told_time} to {time}");
        assert!(snapshot >= covered, "a snapshot is lost");
        if snapshot > 0 {
            let announced = (snapshot, args["url"].as_str().unwrap_or_default().to_owned());
            assert!(session.snapshots.contains(&announced), "nobody announced {announced:?}");
        }
        let timeline = args["timeline"].as_str().expect("a timeline");
        let known = session.timeline.get_or_insert_with(|| timeline.to_owned());
        assert_eq!(known, timeline, "another timeline");
        let messages = args["messages"].as_array().expect("messages");
        let mut next = snapshot;
        for message in messages {
            next += 1;
            assert_eq!(session.note(message, stage).0, next, "a gap");
        }
        assert_eq!(next, number, "the messages do not reach to the last number");
        session.told.snapshot = session.told.snapshot.max(snapshot);
        session.told.time = session.told.time.max(time);
        stage.met.croquet[2] += usize::from(told > 0 && stage.life > 1);
        self.last = Some((number, time));
    }

    /// Its own messages come back in the order that it said them.
    fn own(&mut self, args: &Value) {
        let Some(text) = args[2].as_str() else { return };
        let Some(at) = self.said.iter().position(|said| said == text) else { return };
        assert!(at >= self.heard, "{text} comes twice, or too late");
        assert!(at == self.heard || self.was_dropped, "{:?} is lost", self.said[self.heard]);
        self.heard = at + 1;
    }

    fn say(&mut self, session: &mut Session, stage: &mut Stage) {
        let Some((number, time)) = self.last else { return };
        match stage.random.below(12) {
            0 if number > 0 => {
                let url = format!("snapshot-{number}-{}", self.name);
                session.snapshots.insert((number, url.clone()));
                stage.met.croquet[1] += 1;
                let seq = number.wrapping_add(SEQ_START);
                self.ask("SNAP", &json!({"time": time, "seq": seq, "hash": "h", "url": url}));
            }
            1 => {
                let tick = 100 + stage.random.below(900);
                self.ask("TICKS", &json!({"tick": tick, "delay": tick / 4}));
            }
            _ => self.talk(stage),
        }
    }

    fn talk(&mut self, stage: &mut Stage) {
        let size = if stage.random.one_in(20) { 6_000 } else { 30 };
        let filler = "-".repeat(stage.random.below(size) as usize);
        let text = format!("{}.{}{filler}", self.name, self.said.len());
        self.ask("SEND", &json!([0, 0, text, 12]));
        self.said.push(text);
    }

    fn ask(&mut self, action: &str, args: &Value) {
        let id = format!("c{}", self.session);
        self.line.text(&json!({"id": id, "action": action, "args": args}).to_string());
    }
}

impl Croquet {
    fn connect(&mut self, stage: &mut Stage) {
        let session = stage.random.below(SESSIONS) as usize;
        self.names += 1;
        let mut client = Client {
            line: Line::dial(stage, &format!("/reflector/c{session}")),
            name: self.names,
            session,
            floor: self.sessions[session].told,
            last: None,
            said: Vec::new(),
            heard: 0,
            was_dropped: false,
        };
        let join = json!({
            "name": "app/n", "apiKey": "none", "appId": "app", "version": 1,
            "user": format!("u{}", self.names), "ticks": {"tick": 500, "delay": 0},
            "url": "http://h/",
        });
        client.ask("JOIN", &join);
        self.clients.push(client);
    }

    fn hear(&mut self, at: usize, bytes: usize, stage: &mut Stage) {
        let client = &mut self.clients[at];
        for frame in client.line.hear(bytes) {
            let text = frame.into_text().expect("Croquet's messages are texts");
            client.hear(&text, &mut self.sessions[client.session], stage);
        }
        let is_expected = matches!(client.line.close, None | Some(1000 | 4002 | 4003));
        assert!(is_expected, "closed with {:?}", client.line.close);
    }
}

impl Play for Croquet {
    fn act(&mut self, stage: &mut Stage) {
        if self.clients.is_empty() || self.clients.len() < CLIENTS_MAX && stage.random.one_in(8) {
            return self.connect(stage);
        }
        let at = stage.random.below(self.clients.len() as u64) as usize;
        let client = &mut self.clients[at];
        client.say(&mut self.sessions[client.session], stage);
    }

    fn listen(&mut self, all: bool, stage: &mut Stage) {
        for at in 0..self.clients.len() {
            if all || stage.random.one_in(2) {
                let bytes = if all { usize::MAX } else { stage.random.below(3_000) as usize };
                self.hear(at, bytes, stage);
            }
        }
        self.clients.retain(|client| !client.line.is_over());
    }

    fn rally(&mut self, stage: &mut Stage) {
        for client in &mut self.clients {
            if client.last.is_some() && !client.was_dropped {
                assert_eq!(client.said.len(), client.heard, "a message of {} is lost", client.name);
            }
            client.heard = client.said.len();
            client.talk(stage);
        }
    }

    fn check(&mut self, stage: &mut Stage) {
        let _ = stage;
        for (at, session) in self.sessions.iter().enumerate() {
            let mut there = 0;
            for client in self.clients.iter().filter(|client| client.session == at) {
                assert!(client.line.is_well());
                let (last, _) = client.last.expect("whoever joins is sent SYNC");
                assert_eq!(last, session.told.number, "{} misses something", client.name);
                assert_eq!(client.said.len(), client.heard, "what {} said is lost", client.name);
                there += 1;
            }
            if there > 0 {
                let (_, active) = session.active.expect("it was announced");
                assert_eq!(active, there, "members of c{at}");
            }
        }
    }

    fn cut(&mut self, _: &mut Stage) {
        self.clients.clear();
    }

    fn lines(&mut self) -> Vec<&mut Line> {
        self.clients.iter_mut().map(|client| &mut client.line).collect()
    }
}

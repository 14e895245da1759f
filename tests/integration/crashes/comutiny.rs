//! CoMutiNy's chat: whatever anybody was told, or its author knows to be said, is there afterwards,
//! in that order, and nothing else but what was under way. Of players there is none.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::ROUNDS;
use crate::support::eventually;
use crate::support::random::Random;
use crate::support::server::{Scratch, Server};
use crate::support::websocket::{Client, Frame, Next, frame};

const TALKERS: usize = 4;
/// Messages that are kept.
const KEPT: usize = 50;
/// Messages heard in all before the server is killed, at most.
const MESSAGES_MAX: usize = 300;

/// What was said, in order, over all lives of the server.
#[derive(Default)]
struct Known {
    said: Vec<Value>,
    ids: BTreeSet<String>,
    heard: usize,
}

impl Known {
    fn push(&mut self, message: Value) {
        let id = message["id"].as_str().expect("an id").to_owned();
        assert!(self.ids.insert(id), "an id was given out twice: {message}");
        self.said.push(message);
    }

    fn knows(&self, message: &Value) -> bool {
        message["id"].as_str().is_some_and(|id| self.ids.contains(id))
    }

    /// A newcomer is shown this. What nobody had heard of it is known from here on.
    fn check(&mut self, snapshot: &Value) {
        assert_eq!(snapshot["players"], json!([]), "players are gone with the process");
        let chat = snapshot["chat"].as_array().expect("a chat").iter();
        let said: Vec<&Value> = chat.filter(|message| message["playerId"] != "system").collect();
        let place = said.iter().position(|message| !self.knows(message)).unwrap_or(said.len());
        let (old, unheard) = said.split_at(place);
        assert!(unheard.len() <= TALKERS, "more than was under way: {unheard:?}");
        // A greeting that nobody said may be among what is kept.
        let kept = (KEPT - 1 - unheard.len()).min(self.said.len());
        assert!(old.len() >= kept, "{} of {kept} are there: {snapshot}", old.len());
        let last = self.said.iter().skip(self.said.len() - old.len());
        assert!(last.eq(old.iter().copied()), "lost, changed or out of order: {snapshot}");
        unheard.iter().for_each(|message| self.push((*message).clone()));
    }

    /// All of them have heard the same, some more of it; and what was acknowledged was said.
    fn merge(&mut self, all: Vec<Talked>) {
        let longest = all.iter().map(|talked| &talked.heard).max_by_key(|heard| heard.len());
        let longest = longest.cloned().unwrap_or_default();
        for talked in &all {
            assert!(longest.starts_with(&talked.heard), "two have heard different things");
        }
        self.heard += longest.len();
        longest.into_iter().for_each(|message| self.push(message));
        for message in all.into_iter().flat_map(|talked| talked.acknowledged) {
            if !self.knows(&message) {
                self.push(message);
            }
        }
    }
}

/// What one of them was told.
#[derive(Default)]
struct Talked {
    heard: Vec<Value>,
    acknowledged: Vec<Value>,
}

struct Talker(Client);

impl Talker {
    /// Connects; what it is shown.
    fn connect(address: SocketAddr) -> (Self, Value) {
        let mut client = Client::open(address, "/socket.io/?EIO=4&transport=websocket");
        assert!(client.text().starts_with("0{"), "an Engine.IO handshake");
        client.send_text("40");
        assert!(client.text().starts_with("40{"), "it is connected");
        let shown = client.text();
        let shown: Value = serde_json::from_str(shown.strip_prefix("42").expect("an event"))
            .expect("events are JSON");
        assert_eq!(shown[0], "world:state");
        (Self(client), shown[1].clone())
    }

    fn join(&mut self, id: &str) {
        self.0.send_text(&format!("420[\"player:join\",{}]", json!({"playerId": id})));
        while !self.0.text().starts_with("430[{\"ok\":true") {}
    }

    /// Says one thing after another, each when the one before is acknowledged, until it is cut off.
    fn talk(mut self, name: &str, count: &AtomicUsize) -> Talked {
        let mut talked = Talked::default();
        for number in 1.. {
            let said = json!(["chat:message", {"content": format!("{name} {number}")}]);
            let packet = format!("42{number}{said}");
            if !self.0.try_send(&frame(true, 1, packet.as_bytes())) {
                break;
            }
            let answer = format!("43{number}");
            let Some(message) = self.answered(&answer, &mut talked, count) else { break };
            talked.acknowledged.push(message);
        }
        talked
    }

    fn answered(
        &mut self,
        answer: &str,
        talked: &mut Talked,
        count: &AtomicUsize,
    ) -> Option<Value> {
        loop {
            let text = self.next()?;
            if let Some(event) = text.strip_prefix("42") {
                let mut event: Value = serde_json::from_str(event).expect("events are JSON");
                if event[0] == "chat:message" {
                    talked.heard.push(event[1].take());
                    count.fetch_add(1, Ordering::Relaxed);
                }
            } else if let Some(answer) = text.strip_prefix(answer) {
                let mut answer: Value = serde_json::from_str(answer).expect("answers are JSON");
                assert_eq!(answer[0]["ok"], true, "{answer}");
                return Some(answer[0]["message"].take());
            }
        }
    }

    fn next(&mut self) -> Option<String> {
        loop {
            match self.0.next() {
                Next::Frame(frame @ Frame { opcode: 1, .. }) => {
                    return Some(frame.text().to_owned());
                }
                Next::Frame(Frame { opcode: 9 | 10, .. }) => {}
                Next::Frame(Frame { opcode: 8, .. }) | Next::End | Next::Reset => return None,
                other => panic!("a packet was expected, not {other:?}"),
            }
        }
    }
}

/// One life of the server: whoever comes first checks what is there; then all talk until `end`.
fn live(address: SocketAddr, round: usize, known: &mut Known, end: impl FnOnce(&AtomicUsize)) {
    let mut talkers = Vec::new();
    for at in 0..TALKERS {
        let (mut talker, shown) = Talker::connect(address);
        if at == 0 {
            known.check(&shown);
        }
        talker.join(&format!("{round}-{at}"));
        talkers.push(talker);
    }
    let count = Arc::new(AtomicUsize::new(0));
    let threads = talkers.into_iter().enumerate().map(|(at, talker)| {
        let (name, count) = (format!("{round}/{at}"), Arc::clone(&count));
        std::thread::spawn(move || talker.talk(&name, &count))
    });
    let threads: Vec<_> = threads.collect();
    end(&count);
    let all = threads.into_iter().map(|thread| thread.join().expect("they are told what is so"));
    known.merge(all.collect());
}

#[test]
fn what_was_said_in_comutiny_survives_a_hundred_kills() {
    let mut random = Random::new();
    let data = Scratch::new("comutiny-kills");
    let mut known = Known::default();
    for round in 0..ROUNDS {
        let shards = 1 + random.below(3);
        let sync = ["100ms", "1ms", "never", "always"][random.below(4)];
        let arguments = ["--as", "comutiny", "--log-level", "warn", "--sync", sync];
        let server = Server::start_in(data.path(), shards, &arguments);
        let enough = random.below(MESSAGES_MAX);
        live(server.address(), round, &mut known, |count| {
            eventually("enough to be heard", || count.load(Ordering::Relaxed) >= enough);
            if random.below(10) == 0 { server.stop() } else { server.kill() }
        });
    }
    println!("{} messages heard over {ROUNDS} lives of the server", known.heard);
    assert!(known.heard > ROUNDS);
    let server = Server::start_in(data.path(), 2, &["--as", "comutiny"]);
    known.check(&Talker::connect(server.address()).1);
    server.stop();
}

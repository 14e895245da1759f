//! Whatever a Croquet client heard is there afterwards, as it heard it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::{LIVES_EACH, ROUNDS, start_anyhow};
use crate::support::croquet::{Member, send_text};
use crate::support::eventually;
use crate::support::random::Random;
use crate::support::server::{Scratch, Server};
use crate::support::websocket::frame;

const SESSIONS: [&str; 4] = ["one", "two", "three", "four"];
const MEMBERS_EACH: usize = 2;
/// Messages heard in all before the server is killed, at most.
const MESSAGES_MAX: usize = 400;

/// What was heard of one session over all rounds: message by sequence number, and the latest time.
#[derive(Default)]
struct Heard {
    messages: BTreeMap<u32, Value>,
    time: u64,
}

impl Heard {
    fn merge(&mut self, other: Self) {
        for (seq, message) in other.messages {
            let known = self.messages.entry(seq).or_insert_with(|| message.clone());
            assert_eq!(*known, message, "sequence number {seq} was given out twice");
        }
        self.time = self.time.max(other.time);
    }

    /// A newcomer is told all of it.
    fn check(&self, session: &str, sync: &Value) {
        let messages = sync["messages"].as_array().expect("SYNC has messages");
        let told: BTreeMap<u64, &Value> =
            messages.iter().map(|one| (one[1].as_u64().expect("a seq"), one)).collect();
        for (&seq, message) in &self.messages {
            let found = told.get(&u64::from(seq));
            assert_eq!(found, Some(&message), "{session}: {seq} was heard, and is lost or changed");
        }
        let time = sync["time"].as_u64().expect("a time");
        assert!(time >= self.time, "{session}: time went back from {} to {time}", self.time);
    }
}

/// Talks and listens until the connection is cut.
fn talk(mut member: Member, name: String, count: &AtomicUsize) -> Heard {
    let mut heard = Heard::default();
    for number in 0.. {
        let text = send_text(&format!("{name} {number}"));
        if !member.client.try_send(&frame(true, 1, text.as_bytes())) {
            break;
        }
        let Some(message) = member.next_message() else { break };
        let seq = message[1].as_u64().expect("a seq") as u32;
        heard.messages.insert(seq, message);
        count.fetch_add(1, Ordering::Relaxed);
    }
    heard.time = member.time();
    heard
}

/// One life of the server: everybody joins, checks what is there and talks until `enough` was heard.
fn live(
    address: SocketAddr,
    round: usize,
    heard: &mut BTreeMap<String, Heard>,
    end: impl FnOnce(&AtomicUsize),
) {
    let count = Arc::new(AtomicUsize::new(0));
    let mut talkers = Vec::new();
    for name in SESSIONS {
        let session = format!("{name}-{}", round / LIVES_EACH);
        for at in 0..MEMBERS_EACH {
            let member = Member::join(address, &session, &format!("{session}-{at}"));
            heard.entry(session.clone()).or_default().check(&session, &member.sync);
            let (name, count) = (format!("{round}/{session}/{at}"), Arc::clone(&count));
            talkers.push((session.clone(), std::thread::spawn(move || talk(member, name, &count))));
        }
    }
    end(&count);
    for (session, talker) in talkers {
        let more = talker.join().expect("members hear what they should");
        heard.entry(session).or_default().merge(more);
    }
}

#[test]
fn what_croquet_clients_heard_survives_a_hundred_kills() {
    let mut random = Random::new();
    let data = Scratch::new("kills");
    let mut heard = BTreeMap::new();
    for round in 0..ROUNDS {
        let server = start_anyhow(data.path(), &mut random);
        let enough = random.below(MESSAGES_MAX);
        live(server.address(), round, &mut heard, |count| {
            eventually("members to have heard enough", || count.load(Ordering::Relaxed) >= enough);
            if random.below(10) == 0 { server.stop() } else { server.kill() }
        });
    }
    let total: usize = heard.values().map(|heard| heard.messages.len()).sum();
    println!("{total} messages heard over {ROUNDS} lives of the server");
    let server = Server::start_in(data.path(), 2, &[]);
    for (session, heard) in &heard {
        let member = Member::join(server.address(), session, "last");
        heard.check(session, &member.sync);
    }
    server.stop();
}

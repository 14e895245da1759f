//! Clients that come back to another process than the one they were cut off from.

use serde_json::{Value, json};

use super::super::Config;
use super::harness::{Name, Shard};
use crate::protocol::Hello;
use crate::session::journal::Entries;

const WITHIN_MS: u64 = 60_000;

fn recovering() -> Shard {
    Shard::durable(Config { recovery_ms: WITHIN_MS, ..Config::default() })
}

/// What a client remembers of its connection.
#[derive(Clone, Debug, Default)]
struct Memory {
    id: String,
    secret: String,
    offset: String,
}

impl Memory {
    /// Reads what a client was sent. Of events it tells their names and contents.
    fn read(&mut self, shard: &mut Shard, name: Name) -> Vec<String> {
        let mut heard = Vec::new();
        for text in shard.take_texts(name) {
            if let Some(open) = text.strip_prefix("40") {
                let open: Value = serde_json::from_str(open).expect("an object");
                self.id = open["sid"].as_str().expect("a sid").to_owned();
                self.secret = open["pid"].as_str().expect("a pid").to_owned();
                heard.push("connected".to_owned());
            } else if let Some(event) = text.strip_prefix("42") {
                let event: Value = serde_json::from_str(event).expect("an array");
                self.offset = event[2].as_str().expect("an offset").to_owned();
                let content = event[1]["content"].as_str().unwrap_or_default();
                heard.push(format!("{} {content}", event[0].as_str().expect("a name")));
            }
        }
        heard
    }

    /// Comes back on a new connection; what it is told.
    fn come_back(&mut self, shard: &mut Shard) -> Vec<String> {
        let name = shard.enter(Hello::default());
        let auth = json!({"pid": self.secret, "offset": self.offset});
        shard.send(name, &format!("0{auth}"));
        self.read(shard, name)
    }
}

/// One who has come, and what it remembers.
fn come(shard: &mut Shard) -> (Name, Memory) {
    let name = shard.enter(Hello::default());
    shard.send(name, "0");
    let mut memory = Memory::default();
    assert_eq!(memory.read(shard, name), ["connected", "world:state "]);
    (name, memory)
}

fn say(shard: &mut Shard, name: Name, content: &str) {
    shard.say(name, "chat:message", json!({"content": content, "playerId": "x"}));
}

fn talking() -> Config {
    Config { recovery_ms: WITHIN_MS, speak_as_anybody: true, ..Config::default() }
}

#[test]
fn whoever_was_there_at_a_crash_may_come_back_after_it_and_has_missed_nothing() {
    let mut shard = Shard::durable(talking());
    let (listener, mut memory) = come(&mut shard);
    let (talker, _) = come(&mut shard);
    // As it was at some time, and what was said until then and it had not read.
    let mut moments: Vec<(Memory, Vec<String>)> = vec![(memory.clone(), Vec::new())];
    for at in 0..40 {
        match at {
            10 | 30 => shard.checkpoint(),
            20 => shard.pass(20_000),
            _ => say(&mut shard, talker, &at.to_string()),
        }
        let heard = memory.read(&mut shard, listener);
        moments.iter_mut().for_each(|(_, missed)| missed.extend(heard.iter().cloned()));
        moments.push((memory.clone(), Vec::new()));
        // The process dies here, whatever of it the client had read.
        for (memory, missed) in &moments {
            let mut next = shard.crashed(shard.storage.disk.clone(), shard.journal());
            let mut back = memory.clone();
            let told = back.come_back(&mut next);
            let then = ["connected".to_owned(), "world:state ".to_owned()];
            assert_eq!(told, [&missed[..], &then].concat(), "{at}");
            assert_eq!((&back.id, &back.secret), (&memory.id, &memory.secret));
        }
    }
}

#[test]
fn one_may_come_back_over_several_processes_and_only_once_to_each() {
    let mut shard = Shard::durable(talking());
    let (_, mut memory) = come(&mut shard);
    let id = memory.id.clone();
    for round in 0..4 {
        if round == 2 {
            shard.stop();
        }
        shard = shard.crashed(shard.storage.disk.clone(), shard.journal());
        let (talker, _) = come(&mut shard);
        say(&mut shard, talker, &round.to_string());
        let missed = format!("chat:message {round}");
        let mut again = memory.clone();
        assert_eq!(memory.come_back(&mut shard), [&missed, "connected", "world:state "]);
        assert_eq!(memory.id, id);
        assert_eq!(again.come_back(&mut shard), ["connected", "world:state "]);
        assert_ne!(again.id, id, "somebody is called so");
    }
}

#[test]
fn who_has_heard_what_was_lost_with_the_process_begins_anew() {
    let mut shard = Shard::durable(talking());
    let (talker, mut memory) = come(&mut shard);
    let mut journals: Vec<Entries> = Vec::new();
    for at in 0..3 {
        journals.push(shard.journal());
        say(&mut shard, talker, &at.to_string());
    }
    memory.read(&mut shard, talker);
    // The power fails: the last of it was not synced.
    for journal in journals {
        let mut next = shard.crashed(shard.storage.disk.clone(), journal);
        let (talker, _) = come(&mut next);
        // New messages must not be taken for those that it has heard.
        (0..5).for_each(|_| say(&mut next, talker, "new"));
        let mut again = memory.clone();
        assert_eq!(again.come_back(&mut next), ["connected", "world:state "]);
        assert_ne!(again.id, memory.id);
    }
}

#[test]
fn who_has_gone_for_good_or_too_long_begins_anew() {
    let mut shard = Shard::durable(talking());
    let (quitter, mut quit) = come(&mut shard);
    let (_, mut late) = come(&mut shard);
    shard.send(quitter, "1");
    shard.end(quitter);
    let mut next = shard.crashed(shard.storage.disk.clone(), shard.journal());
    assert_eq!(quit.come_back(&mut next), ["connected", "world:state "]);
    next.pass(WITHIN_MS);
    assert_eq!(late.come_back(&mut next), ["connected", "world:state "]);
}

#[test]
fn the_journal_is_rid_of_it_when_nobody_may_come_back() {
    let mut shard = recovering();
    let (client, _) = come(&mut shard);
    assert!(shard.needs_journal());
    shard.checkpoint();
    assert!(shard.needs_journal(), "it is recorded anew");
    let renewed = shard.journal().len();
    for _ in 0..3 {
        shard.checkpoint();
        assert_eq!(shard.journal().len(), renewed, "and what was there goes");
    }
    shard.end(client);
    shard.pass(WITHIN_MS - 1);
    assert!(!shard.is_over());
    shard.pass(1);
    assert!(shard.is_over() && !shard.needs_journal());
    // Or when the process after a crash has waited as long.
    let (_, _) = come(&mut shard);
    let mut next = shard.crashed(shard.storage.disk.clone(), shard.journal());
    assert!(!next.is_over());
    next.pass(WITHIN_MS);
    assert!(next.is_over() && !next.needs_journal());
    // Or when those who were there have said goodbye.
    let (client, _) = come(&mut next);
    next.send(client, "1");
    next.end(client);
    assert!(next.is_over() && !next.needs_journal());
}

#[test]
fn what_was_kept_is_no_trouble_for_a_process_that_keeps_nothing() {
    let mut shard = Shard::durable(talking());
    let (talker, mut memory) = come(&mut shard);
    say(&mut shard, talker, "x");
    let (disk, journal) = (shard.storage.disk.clone(), shard.journal());
    let plain = Shard::durable(Config::default());
    let mut next = plain.crashed(disk, journal);
    let chat = &next.snapshot()["chat"];
    assert_eq!(chat[1]["content"], "x", "{chat}");
    assert!(next.is_over() && !next.needs_journal());
    let mut after = shard.crashed(next.storage.disk.clone(), next.journal());
    assert_eq!(memory.come_back(&mut after), ["connected", "world:state "]);
}

#[test]
fn what_is_said_while_nothing_can_be_recorded_is_not_pretended_to_be_known() {
    let mut shard = Shard::durable(talking());
    let (mover, mut memory) = come(&mut shard);
    shard.is_read_only = true;
    shard.say(mover, "player:join", json!({"playerId": "m"}));
    let mut next = shard.crashed(shard.storage.disk.clone(), shard.journal());
    assert_eq!(memory.clone().come_back(&mut next), ["connected", "world:state "]);
    // When the disk is well, all is recorded anew.
    shard.is_read_only = false;
    say(&mut shard, mover, "x");
    let mut next = shard.crashed(shard.storage.disk.clone(), shard.journal());
    let told = memory.come_back(&mut next);
    assert_eq!(told, ["chat:message x", "connected", "world:state "]);
}

//! What outlives the process: the chat, and nothing else.

use serde_json::{Value, json};

use super::super::Config;
use super::harness::Shard;
use crate::protocol::fake_storage::Disk;
use crate::session::journal::Entries;

fn chat(shard: &mut Shard) -> Value {
    shard.snapshot()["chat"].take()
}

fn say(shard: &mut Shard, name: usize, content: &str) {
    let ack = shard.ask(name, "chat:message", json!({"content": content}));
    assert_eq!(ack["ok"], true, "{ack}");
}

#[test]
fn after_a_crash_at_any_moment_the_chat_is_as_everybody_saw_it() {
    let mut shard = Shard::durable(Config::default());
    let a = shard.join("a");
    let mut moments: Vec<(Disk, Entries, Value)> = Vec::new();
    for at in 0..70 {
        match at {
            20 | 40 => shard.checkpoint(),
            30 => shard.pass(60_000),
            _ => say(&mut shard, a, &format!("{at} \u{1F600}\"\n")),
        }
        moments.push((shard.storage.disk.clone(), shard.recorded(), chat(&mut shard)));
    }
    assert_eq!(moments[0].2.as_array().unwrap().len(), 2, "with what the chat began with");
    for (at, (_, recorded, seen)) in moments.iter().enumerate() {
        // A store may take any time: whatever was stored until then may be on the disk.
        for (disk, ..) in &moments[..=at] {
            let mut next = shard.crashed(disk.clone(), recorded.clone());
            assert!(next.is_over() && !next.needs_journal(), "stored at once");
            assert_eq!(chat(&mut next), *seen, "{at}");
            let mut after = next.crashed(next.storage.disk.clone(), Entries::default());
            let snapshot = after.snapshot();
            assert_eq!(snapshot["chat"], *seen, "the journal may go now");
            assert_eq!(snapshot["players"], json!([]), "whoever played is gone");
        }
    }
}

#[test]
fn what_is_recorded_after_a_crash_is_recovered_after_the_next() {
    let mut shard = Shard::durable(Config::default());
    for round in 0..4 {
        let a = shard.join("a");
        say(&mut shard, a, &round.to_string());
        shard = shard.crashed(shard.storage.disk.clone(), shard.recorded());
    }
    let said = chat(&mut shard);
    let said: Vec<_> = said.as_array().unwrap().iter().map(|it| it["content"].clone()).collect();
    assert_eq!(said, ["Hello World", "0", "1", "2", "3"]);
}

#[test]
fn a_message_is_recorded_before_it_is_told() {
    let mut shard = Shard::durable(Config::default());
    let a = shard.join("a");
    let before = shard.recorded().len();
    assert_eq!(before, 0, "players are not");
    say(&mut shard, a, "x");
    assert_eq!(shard.recorded().len(), 2, "with what the chat began with");
    say(&mut shard, a, "y");
    assert_eq!(shard.recorded().len(), 3);
    shard.say(a, "player:update", json!({"name": "x"}));
    assert_eq!(shard.ask(a, "chat:message", json!({}))["ok"], false);
    assert_eq!(shard.recorded().len(), 3);
}

#[test]
fn nobody_talks_while_nothing_can_be_recorded() {
    let mut shard = Shard::durable(Config::default());
    let (a, b) = (shard.join("a"), shard.join("b"));
    shard.take(a);
    shard.is_read_only = true;
    let ack = shard.ask(a, "chat:message", json!({"content": "x"}));
    assert_eq!(ack, json!({"ok": false, "message": "the chat is read-only for now"}));
    assert_eq!(shard.take(b), []);
    assert_eq!(shard.ask(a, "player:update", json!({"name": "x"}))["ok"], true);
    shard.is_read_only = false;
    say(&mut shard, a, "x");
}

#[test]
fn the_chat_is_stored_when_all_have_left_or_the_process_stops() {
    let mut shard = Shard::durable(Config::default());
    let a = shard.join("a");
    assert!(!shard.is_over());
    say(&mut shard, a, "x");
    assert!(shard.storage.disk.is_empty());
    shard.end(a);
    assert!(!shard.storage.disk.is_empty() && shard.is_over() && !shard.needs_journal());
    let b = shard.join("b");
    say(&mut shard, b, "y");
    let seen = chat(&mut shard);
    shard.storage.disk.clear();
    shard.stop();
    shard.pass(1_000_000);
    shard.end(b);
    let mut next = shard.crashed(shard.storage.disk.clone(), Entries::default());
    assert_eq!(chat(&mut next), seen);
}

#[test]
fn in_memory_a_world_where_something_was_said_stays() {
    let mut shard = Shard::new(Config::default());
    let a = shard.join("a");
    shard.end(a);
    assert!(shard.is_over());
    let a = shard.join("a");
    say(&mut shard, a, "x");
    shard.end(a);
    assert!(!shard.is_over());
    assert_eq!(chat(&mut shard).as_array().unwrap().len(), 2);
}

#[test]
fn clients_wait_for_what_is_stored() {
    let mut shard = Shard::durable(Config::default());
    let a = shard.join("a");
    say(&mut shard, a, "before");
    let mut next = shard.crashed(shard.storage.disk.clone(), Entries::default());
    next.storage.disk = {
        shard.end(a);
        shard.storage.disk.clone()
    };
    next.holds_storage = true;
    let (a, b, gone) = (next.connect(), next.connect(), next.connect());
    let join = next.begin(a, &[json!("player:join"), json!({"playerId": "a"})]);
    next.say(gone, "player:join", json!({"playerId": "gone"}));
    let talk = next.begin(a, &[json!("chat:message"), json!({"content": "after"})]);
    let again = next.begin(a, &[json!("chat:message"), json!({"content": "after"})]);
    let nobody = next.begin(b, &[json!("player:update")]);
    next.end(gone);
    // Takes the seat that is free.
    let late = next.connect();
    let disk = next.storage.disk.clone();
    next.checkpoint();
    next.pass(100_000);
    assert!(!next.is_over() && next.storage.disk == disk, "nothing is stored over");
    assert_eq!((next.take(a), next.take(b)), (vec![], vec![]));
    next.answer_storage();
    let (to_a, to_b, to_late) = (next.take(a), next.take(b), next.take(late));
    let events = |heard: &[(String, Value)]| -> Vec<_> {
        heard.iter().map(|(event, _)| event.clone()).collect()
    };
    assert_eq!(events(&to_a), ["world:state", "chat:message", "chat:message"]);
    assert_ne!(to_a[1].1["id"], to_a[2].1["id"], "clients take messages of one id for one");
    assert_eq!(events(&to_b), ["world:state", "player:joined", "chat:message", "chat:message"]);
    assert_eq!(events(&to_late), events(&to_b), "the world first, also for who came last");
    assert_eq!(to_a[0].1["chat"][1]["content"], "before");
    assert_eq!(next.answer(a, join).unwrap()["state"]["chat"][1]["content"], "before");
    assert_eq!(next.answer(a, talk).unwrap()["ok"], true);
    assert_eq!(next.answer(a, again).unwrap()["ok"], true);
    assert_eq!(next.answer(b, nobody).unwrap()["message"], "Player not registered");
    assert_eq!(next.snapshot()["players"].as_array().unwrap().len(), 1);
}

#[test]
fn what_waits_is_bounded() {
    let mut shard = Shard::durable(Config::default());
    shard.holds_storage = true;
    let a = shard.connect();
    let payload = json!({"content": "x".repeat(900_000)});
    let acks: Vec<_> =
        (0..6).map(|_| shard.begin(a, &[json!("chat:message"), payload.clone()])).collect();
    assert_eq!(shard.answer(a, acks[0]), None);
    let refused = shard.answer(a, acks[5]).unwrap();
    assert_eq!(refused, json!({"ok": false, "message": "the world is not ready yet"}));
    shard.answer_storage();
    assert_eq!(shard.answer(a, acks[0]).unwrap()["ok"], false, "it has not joined");
}

#[test]
fn a_chat_that_cannot_be_read_is_not_stored_over() {
    for (broken, record) in
        [(Some("disk on fire"), &b""[..]), (None, b"{\"chat\":"), (None, b"\xff")]
    {
        let shard = Shard::durable(Config::default());
        let disk: Disk = [("comutiny/worlds/world".to_owned(), record.to_vec())].into();
        let mut shard = shard.crashed(disk.clone(), Entries::default());
        shard.storage.broken = broken.map(str::to_owned);
        let a = shard.join("a");
        let ack = shard.ask(a, "chat:message", json!({"content": "x"}));
        assert_eq!(ack["message"], "the chat is unavailable");
        assert_eq!(shard.ask(a, "player:update", json!({"name": "x"}))["ok"], true);
        shard.stop();
        shard.pass(1_000_000);
        assert_eq!(shard.storage.disk, disk);
        // It can be read again when the journal wants it.
        if broken.is_some() {
            shard.storage.broken = None;
            shard.storage.disk.clear();
            shard.checkpoint();
            say(&mut shard, a, "x");
        }
        shard.end(a);
        assert!(broken.is_some() || shard.is_over());
    }
}

#[test]
fn a_store_that_fails_is_tried_again() {
    let mut shard = Shard::durable(Config::default());
    let a = shard.join("a");
    say(&mut shard, a, "x");
    shard.storage.broken = Some("full".to_owned());
    shard.pass(65_000);
    assert!(shard.storage.disk.is_empty() && shard.needs_journal());
    shard.storage.broken = None;
    shard.pass(10_000);
    assert!(!shard.storage.disk.is_empty() && !shard.needs_journal());
}

//! What outlives the process, and what clients do while it is being loaded.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::forest::{Folder, Forest};
use super::harness::Shard;
use super::rpc::{ROUTE, TABLE, by_hash, serve};
use crate::codec::rljson::{Hash, blob_id};
use crate::protocol::fake_storage::Disk;
use crate::protocol::rljson::Config;
use crate::protocol::rljson::route::SETTLED;
use crate::session::journal::Entries;

/// A hub that was told of a tree, and the tree.
fn told(config: Config, files: u32) -> (Shard, Forest, Hash) {
    let mut shard = Shard::durable(config);
    let one = shard.connect();
    let names: Vec<String> = (0..files).map(|number| format!("f{number:05}")).collect();
    let files: Vec<(&str, u32, u32)> = names.iter().map(|name| (&**name, 1, 1)).collect();
    let mut forest = Forest::default();
    let root = forest.plant(&Folder::of(&files));
    shard.announce(one, ROUTE, "a", root.as_str());
    serve(&mut shard, one, &forest);
    (shard, forest, root)
}

/// Whether a late joiner has all of it, with nobody else there.
fn has_all(shard: &mut Shard, forest: &Forest, root: Hash) -> bool {
    let late = shard.connect();
    shard.pass(1_000);
    serve(shard, late, &Forest::default());
    let bootstrap = json!({ "o": "__server__", "r": root.as_str() });
    let is_told = shard.events(late) == [("/sharedTree:bootstrap".to_owned(), bootstrap)];
    let has = |hash: &Hash| {
        let answer = shard.ask(late, "readRows", &[by_hash(hash)]);
        answer[0][TABLE]["_data"].as_array().is_some_and(|rows| rows.len() == 1)
    };
    let has_rows = forest.rows.keys().all(has);
    shard.end(late);
    is_told && has_rows
}

#[test]
fn everything_is_there_after_a_crash() {
    let (shard, forest, root) = told(Config::default(), 20);
    let mut next = shard.crashed(Disk::new(), shard.recorded());
    assert!(has_all(&mut next, &forest, root));
    // And after the next one, from what was stored meanwhile.
    assert!(!next.needs_journal());
    let mut third = next.crashed(next.storage.disk.clone(), Entries::default());
    assert!(has_all(&mut third, &forest, root));
}

#[test]
fn everything_is_there_after_a_stop() {
    let (mut shard, forest, root) = told(Config::default(), 20);
    shard.stop();
    assert!(!shard.needs_journal());
    let mut next = shard.crashed(shard.storage.disk.clone(), Entries::default());
    assert!(has_all(&mut next, &forest, root));
}

#[test]
fn rows_are_stored_in_pages_and_what_came_later_is_in_the_journal() {
    let (mut shard, forest, root) = told(Config::default(), 3_000);
    shard.checkpoint();
    assert!(shard.storage.disk.keys().any(|name| name.starts_with("rljson/pages/hub/")));
    assert!(!shard.needs_journal());
    let mut next = shard.crashed(shard.storage.disk.clone(), shard.recorded());
    assert!(has_all(&mut next, &forest, root), "with entries that the base has already");
    let one = next.connect();
    next.announce(one, "/other", "b", "later");
    let mut third = next.crashed(next.storage.disk.clone(), next.recorded());
    assert!(third.describe().contains("2 routes"), "{}", third.describe());
    let late = third.connect_with("/?route=other", "");
    third.pass(1_000);
    assert_eq!(third.events(late)[0].1["r"], "later");
}

#[test]
fn a_page_that_is_gone_costs_its_rows_only() {
    let (mut shard, forest, root) = told(Config::default(), 3_000);
    shard.checkpoint();
    let mut disk = shard.storage.disk.clone();
    disk.retain(|name, _| !name.starts_with("rljson/pages"));
    let mut next = shard.crashed(disk, Entries::default());
    let one = next.connect();
    next.pass(1_000);
    serve(&mut next, one, &Forest::default());
    assert_eq!(next.events(one)[0].1["r"], root.as_str());
    assert_eq!(next.counters.storage_errors.get(), 1);
    // They are had from whoever has them.
    let two = next.connect();
    let ack = next.begin(one, "readRows", &[by_hash(&root)]);
    serve(&mut next, two, &forest);
    assert_eq!(next.answer(one, ack).unwrap()[1], Value::Null);
}

#[test]
fn nothing_is_stored_over_what_cannot_be_read() {
    let (mut shard, ..) = told(Config::default(), 3);
    shard.checkpoint();
    let mut damaged = shard.storage.disk.clone();
    damaged.values_mut().for_each(|record| record.truncate(record.len() / 2));
    let mut next = shard.crashed(damaged.clone(), Entries::default());
    let one = next.connect();
    next.announce(one, ROUTE, "a", "new");
    assert_eq!(next.events(one).pop().unwrap().1["ok"], false);
    next.checkpoint();
    next.pass(100_000);
    next.stop();
    assert_eq!(next.storage.disk, damaged);
}

#[test]
fn what_clients_say_meanwhile_waits_for_what_is_stored() {
    let (shard, forest, root) = told(Config::default(), 3);
    let mut next = shard.crashed(Disk::new(), Entries::default());
    next.holds_storage = true;
    next.storage.disk = {
        let mut stored = told(Config::default(), 3).0;
        stored.checkpoint();
        stored.storage.disk.clone()
    };
    let [one, gone] = [(); 2].map(|()| next.connect());
    let ack = next.begin(one, "readRows", &[by_hash(&root)]);
    next.begin(gone, "readRows", &[by_hash(&root)]);
    next.end(gone);
    assert_eq!(next.answer(one, ack), None);
    next.holds_storage = false;
    next.answer_storage();
    let answer = next.answer(one, ack).unwrap();
    let row: Value = serde_json::from_str(forest.row(&root).unwrap()).unwrap();
    assert_eq!(answer[0][TABLE]["_data"], json!([row]));
}

#[test]
fn a_hub_is_forgotten_when_all_is_stored_and_nobody_came_back() {
    let (mut shard, forest, root) = told(Config::default(), 3);
    shard.end(0);
    assert!(!shard.is_over());
    shard.pass(Config::default().linger_ms);
    assert!(shard.is_over());
    assert!(!shard.needs_journal());
    let mut next = shard.crashed(shard.storage.disk.clone(), Entries::default());
    assert!(has_all(&mut next, &forest, root));
    // In memory nobody else has it.
    let mut memory = Shard::new(Config::default());
    let one = memory.connect();
    memory.announce(one, ROUTE, "a", "r");
    memory.end(one);
    memory.pass(10_000_000);
    assert!(!memory.is_over());
}

#[test]
fn blobs_are_known_after_a_restart() {
    let mut shard = Shard::durable(Config { allow_writes: true, ..Config::default() });
    let one = shard.connect();
    shard.send(one, "51-0[\"setBlob\",{\"_placeholder\":true,\"num\":0}]", &[b"bytes"]);
    let id = shard.answer(one, 0).unwrap()[1]["blobId"].clone();
    let mut next = shard.crashed(Disk::new(), shard.recorded());
    next.storage.blobs = shard.storage.blobs.clone();
    let one = next.connect();
    let ack = next.begin(one, "getBlob", &[id.clone(), Value::Null]);
    assert_eq!(next.whole_answer(one, ack).unwrap().1, [b"bytes"]);
    // One that is not there after all is asked for.
    next.storage.blobs = BTreeMap::new();
    let two = next.connect();
    let ack = next.begin(one, "getBlob", &[id.clone(), Value::Null]);
    let asked = next.asked(two);
    next.reply_blob(two, asked[0].ack, id.as_str().unwrap(), 5, b"bytes");
    assert_eq!(next.whole_answer(one, ack).unwrap().1, [b"bytes"]);
}

#[test]
fn what_no_tree_needs_makes_room_for_what_one_needs() {
    let config = Config { row_bytes_max: 100 << 10, ..Config::default() };
    let mut shard = Shard::new(config);
    let one = shard.connect();
    let mut last = None;
    for generation in 0..40 {
        let names: Vec<String> = (0..20).map(|number| format!("g{generation}-{number}")).collect();
        let files: Vec<(&str, u32, u32)> = names.iter().map(|name| (&**name, 1, 1)).collect();
        let mut forest = Forest::default();
        let root = forest.plant(&Folder::of(&files));
        shard.announce(one, ROUTE, "a", root.as_str());
        serve(&mut shard, one, &forest);
        shard.pass(60_000);
        last = Some((forest, root));
    }
    let (forest, root) = last.unwrap();
    shard.end(one);
    assert!(has_all(&mut shard, &forest, root));
}

#[test]
fn nobody_is_told_of_what_a_crash_would_take_back() {
    let mut shard = Shard::durable(Config::default());
    let [one, two] = [(); 2].map(|()| shard.connect());
    shard.is_read_only = true;
    shard.storage.broken = Some("the disk is full".to_owned());
    let mut forest = Forest::default();
    let root = forest.plant(&Folder::of(&[("a", 1, 1)]));
    shard.announce(one, ROUTE, "a", root.as_str());
    serve(&mut shard, one, &forest);
    shard.pass(5_000);
    assert_eq!(shard.events(two), []);
    // What can be recorded now is the ref, and not its tree.
    shard.is_read_only = false;
    shard.pass(2_000);
    assert_eq!(shard.events(two), []);
    shard.storage.broken = None;
    shard.pass(1_000);
    serve(&mut shard, one, &forest);
    shard.pass(15_000);
    let told = shard.events(two);
    assert!(told.iter().any(|(_, payload)| payload["r"] == root.as_str()), "{told:?}");
    let mut next = shard.crashed(shard.storage.disk.clone(), shard.recorded());
    assert!(has_all(&mut next, &forest, root));
}

#[test]
fn nobody_is_told_of_a_tree_whose_blobs_the_disk_did_not_take() {
    let mut shard = Shard::durable(Config::default());
    let [one, two] = [(); 2].map(|()| shard.connect());
    shard.storage.broken = Some("the disk is full".to_owned());
    let (mut forest, mut roots) = (Forest::default(), Vec::new());
    for content in 1..=2 {
        roots.push(forest.plant(&Folder::of(&[("a", content, 1), ("b", 3, 1)])));
        shard.announce(one, ROUTE, "a", roots[content as usize - 1].as_str());
    }
    for _ in 0..20 {
        serve(&mut shard, one, &forest);
        shard.pass(1_000);
    }
    assert_eq!(shard.events(two), []);
    shard.storage.broken = None;
    shard.pass(1_000);
    serve(&mut shard, one, &forest);
    shard.end(one);
    let told = shard.events(two);
    assert!(told.iter().any(|(_, payload)| payload["r"] == roots[1].as_str()), "{told:?}");
    for id in forest.blobs.keys().filter(|id| **id != blob_id(&1_u32.to_le_bytes())) {
        let ack = shard.begin(two, "getBlob", &[json!(id.as_str()), Value::Null]);
        let (answer, attachments) = shard.whole_answer(two, ack).expect("is answered");
        assert_eq!(blob_id(&attachments[0]), *id, "{answer:?}");
    }
}

#[test]
fn who_deletes_after_a_crash_what_it_read_before_has_deleted_it() {
    for is_stored in [false, true] {
        let mut shard = Shard::durable(Config::default());
        let [one, two] = [(); 2].map(|()| shard.connect());
        let mut forest = Forest::default();
        let mut announce = |shard: &mut Shard, name, origin, files: &[(&str, u32, u32)]| {
            let root = forest.plant(&Folder::of(files));
            shard.announce(name, ROUTE, origin, root.as_str());
            serve(shard, name, &forest);
            root
        };
        announce(&mut shard, two, "two", &[("own", 1, 1)]);
        let all = announce(&mut shard, one, "one", &[("own", 1, 1), ("other", 2, 2)]);
        shard.ask(two, "readRows", &[by_hash(&all)]);
        // By then it has put that in place.
        shard.pass(2 * SETTLED.as_millis() as u64);
        if is_stored {
            shard.checkpoint();
            assert!(!shard.needs_journal());
        }
        let mut next = shard.crashed(shard.storage.disk.clone(), shard.recorded());
        let [back, late] = [(); 2].map(|()| next.connect());
        let left = announce(&mut next, back, "two", &[("own", 3, 3)]);
        let told = next.events(late);
        assert!(told.iter().any(|(_, payload)| payload["r"] == left.as_str()), "{told:?}");
    }
}

#[test]
fn who_names_a_route_while_the_hub_is_loaded_is_told_of_no_other() {
    let mut shard = Shard::durable(Config::default());
    shard.holds_storage = true;
    let one = shard.connect();
    shard.announce(one, ROUTE, "one", "a ref");
    let two = shard.connect_with("/socket.io/?route=/other", "");
    let three = shard.connect_with("/socket.io/?route=sharedTree", "");
    shard.answer_storage();
    assert_eq!(shard.events(two), []);
    assert_eq!(shard.events(three).len(), 1);
}

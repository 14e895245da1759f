//! Trees: fetched when they are announced, merged when they cross, there when their owner is gone.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::forest::{File, Folder, Forest};
use super::harness::{Name, Shard};
use super::rpc::{ROUTE, TABLE, by_hash, serve, shard};
use crate::codec::rljson::{EMPTY_ROOT, Hash, blob_id};
use crate::protocol::rljson::Config;

/// Reads a tree as a client does: every row and blob, at once.
fn read_tree(shard: &mut Shard, name: Name, root: Hash) -> BTreeMap<String, Vec<u8>> {
    let mut forest = Forest::default();
    let mut ahead = vec![root];
    while let Some(hash) = ahead.pop() {
        let answer = shard.ask(name, "readRows", &[by_hash(&hash)]);
        let row = &answer[0][TABLE]["_data"][0];
        assert_eq!(row["_hash"], hash.as_str(), "{answer:?}");
        forest.rows.insert(hash, row.to_string());
        let children = row["children"].as_array().cloned().unwrap_or_default();
        ahead.extend(children.iter().filter_map(|child| Hash::new(child.as_str()?)));
    }
    let mut files = BTreeMap::new();
    for (path, what) in forest.contents(root) {
        if let Some((blob, _)) = what {
            let ack = shard.begin(name, "getBlob", &[json!(blob.as_str()), Value::Null]);
            let (answer, attachments) = shard.whole_answer(name, ack).expect("is answered");
            assert_eq!((answer.len(), &answer[0]), (2, &Value::Null), "{answer:?}");
            assert_eq!(blob_id(&attachments[0]), blob);
            files.insert(path, attachments[0].clone());
        }
    }
    files
}

/// The last ref that a client was told.
fn last_ref(shard: &mut Shard, name: Name) -> Option<Hash> {
    let is_ref = |(event, _): &(String, Value)| event == ROUTE || event.ends_with(":bootstrap");
    let last = shard.events(name).into_iter().rfind(is_ref)?;
    Hash::new(last.1["r"].as_str()?)
}

#[test]
fn a_late_joiner_has_everything_though_the_owner_is_gone() {
    let mut shard = shard();
    let one = shard.connect();
    let folder = Folder::of(&[("a", 1, 1), ("d/b", 2, 1), ("d/e/c", 3, 1)]);
    let mut forest = Forest::default();
    let root = forest.plant(&folder);
    shard.announce(one, ROUTE, "a", root.as_str());
    serve(&mut shard, one, &forest);
    shard.end(one);
    let late = shard.connect();
    shard.pass(1_000);
    serve(&mut shard, late, &Forest::default());
    assert_eq!(last_ref(&mut shard, late), Some(root));
    let files = read_tree(&mut shard, late, root);
    assert_eq!(files.len(), 3);
    assert_eq!(files["d/e/c"], 3_u32.to_le_bytes());
    // What it has read it is not told again.
    shard.pass(10_000);
    assert_eq!(last_ref(&mut shard, late), None);
    let listed = shard.ask(late, "listBlobs", &[json!({ "maxResults": 2 })]);
    assert_eq!(listed[1]["blobs"].as_array().unwrap().len(), 2);
    let next = listed[1]["continuationToken"].clone();
    let listed = shard.ask(late, "listBlobs", &[json!({ "continuationToken": next })]);
    assert_eq!(listed[1]["blobs"].as_array().unwrap().len(), 1);
    assert_eq!(listed[1].get("continuationToken"), None);
}

#[test]
fn only_what_changed_is_fetched_again() {
    let mut shard = shard();
    let one = shard.connect();
    let mut forest = Forest::default();
    let mut folder = Folder::of(&[("a/1", 1, 1), ("a/2", 2, 1), ("b/3", 3, 1)]);
    let first = forest.plant(&folder);
    shard.announce(one, ROUTE, "a", first.as_str());
    serve(&mut shard, one, &forest);
    folder.put("b/3", Some(File { content: 4, mtime_ms: 2 }));
    let second = forest.plant(&folder);
    shard.announce(one, ROUTE, "a", second.as_str());
    let before = shard.counters.rljson_forwarded.get();
    serve(&mut shard, one, &forest);
    // The root, the directory, the file, its blob.
    assert!(shard.counters.rljson_forwarded.get() - before <= 3);
    assert_eq!(shard.ask(one, "rowCount", &[json!(TABLE)])[0], 9);
}

#[test]
fn refs_that_cross_are_merged_for_everybody() {
    let mut shard = shard();
    let [one, two] = [(); 2].map(|()| shard.connect());
    let base = Folder::of(&[("a", 1, 1), ("b", 2, 1)]);
    let mut forest = Forest::default();
    let root = forest.plant(&base);
    shard.announce(one, ROUTE, "one", root.as_str());
    serve(&mut shard, one, &forest);
    assert_eq!(read_tree(&mut shard, two, root).len(), 2);
    shard.pass(60_000);
    let (mut ours, mut theirs) = (base.clone(), base);
    ours.put("a", Some(File { content: 3, mtime_ms: 2 }));
    theirs.put("c", Some(File { content: 4, mtime_ms: 2 }));
    let (ours_root, theirs_root) = (forest.plant(&ours), forest.plant(&theirs));
    shard.events(one);
    shard.events(two);
    shard.announce(one, ROUTE, "one", ours_root.as_str());
    shard.announce(two, ROUTE, "two", theirs_root.as_str());
    for _ in 0..3 {
        serve(&mut shard, one, &forest);
        serve(&mut shard, two, &forest);
    }
    let merged = last_ref(&mut shard, one).expect("is told");
    assert_eq!(last_ref(&mut shard, two), Some(merged));
    let late = shard.connect();
    let files = read_tree(&mut shard, late, merged);
    let contents: Vec<(&str, u8)> = files.iter().map(|(path, file)| (&**path, file[0])).collect();
    assert_eq!(contents, [("a", 3), ("b", 2), ("c", 4)]);
}

#[test]
fn an_empty_late_joiner_deletes_nothing() {
    let mut shard = shard();
    let one = shard.connect();
    let folder = Folder::of(&[("a", 1, 1)]);
    let mut forest = Forest::default();
    let root = forest.plant(&folder);
    shard.announce(one, ROUTE, "one", root.as_str());
    serve(&mut shard, one, &forest);
    let late = shard.connect();
    shard.events(one);
    shard.announce(late, ROUTE, "late", EMPTY_ROOT.as_str());
    serve(&mut shard, late, &Forest::default());
    assert_eq!(last_ref(&mut shard, late), Some(root));
    assert!([None, Some(root)].contains(&last_ref(&mut shard, one)));
}

#[test]
fn a_ref_to_rows_that_nobody_has_is_not_merged() {
    for is_silent in [false, true] {
        let mut shard = shard();
        let [one, two] = [(); 2].map(|()| shard.connect());
        let mut forest = Forest::default();
        let known = forest.plant(&Folder::of(&[("a", 1, 1)]));
        shard.announce(one, ROUTE, "one", known.as_str());
        serve(&mut shard, one, &forest);
        let unknown = Forest::default().plant(&Folder::of(&[("b", 2, 1)]));
        shard.announce(two, ROUTE, "two", unknown.as_str());
        shard.events(one);
        shard.events(two);
        if is_silent {
            // Nobody waits for that.
            let meanwhile = forest.plant(&Folder::of(&[("a", 3, 3)]));
            shard.announce(one, ROUTE, "one", meanwhile.as_str());
            serve(&mut shard, one, &forest);
            assert_eq!(shard.events(one).len(), 1, "it is acknowledged");
            assert_eq!(shard.events(two).len(), 0, "it is told when its own was taken up, or not");
            for _ in 0..80 {
                shard.pass(1_000);
                shard.asked(two);
                serve(&mut shard, one, &forest);
            }
        } else {
            for _ in 0..6 {
                serve(&mut shard, two, &Forest::default());
                serve(&mut shard, one, &Forest::default());
            }
        }
        let mut acks = shard.events(two).into_iter().filter(|(name, _)| name.ends_with(":ack"));
        let ack = acks.next_back().expect("is told that nothing came of it");
        assert_eq!((&ack.1["r"], &ack.1["ok"]), (&json!(unknown.as_str()), &json!(false)));
        shard.announce(two, ROUTE, "two", "last");
        let heard = shard.events(one);
        assert!(heard.iter().all(|(_, payload)| payload["r"] != unknown.as_str()), "{heard:?}");
        assert!(heard.iter().any(|(_, payload)| payload["r"] == "last"));
    }
}

#[test]
fn large_blobs_come_in_ranges_and_are_given_whole() {
    let config = Config { message_bytes_max: 64 << 10, ..Config::default() };
    let mut shard = Shard::new(config);
    let one = shard.connect();
    let bytes: Vec<u8> = (0..100_000_u32).map(|at| (at / 7) as u8).collect();
    let id = blob_id(&bytes);
    shard.announce(one, ROUTE, "one", "no tree");
    let reader = shard.connect();
    let range = json!({ "range": { "start": 50_000, "end": 60_000 } });
    let part = shard.begin(reader, "getBlob", &[json!(id.as_str()), range.clone()]);
    let whole = shard.begin(reader, "getBlob", &[json!(id.as_str()), Value::Null]);
    let mut forest = Forest::default();
    forest.blobs.insert(id, bytes.clone());
    serve(&mut shard, one, &forest);
    assert_eq!(shard.counters.rljson_forwarded.get(), 4, "ranges of 32 KiB");
    let (answer, attachments) = shard.whole_answer(reader, part).unwrap();
    let properties = json!({ "blobId": id.as_str(), "size": 100_000,
        "createdAt": "2026-11-20T11:45:34.714Z" });
    assert_eq!(answer[1]["properties"], properties);
    assert_eq!(attachments, [&bytes[50_000..60_000]]);
    // It is larger than a message.
    assert!(shard.answer(reader, whole).unwrap()[0]["message"].is_string());
    shard.end(one);
    assert_eq!(shard.ask(reader, "blobExists", &[json!(id.as_str())]), [Value::Null, json!(true)]);
    let told = shard.ask(reader, "getBlobProperties", &[json!(id.as_str())]);
    assert_eq!(told, [Value::Null, properties]);
    let ack = shard.begin(reader, "getBlob", &[json!(id.as_str()), range]);
    assert_eq!(shard.whole_answer(reader, ack).unwrap().1, [&bytes[50_000..60_000]]);
    let nothing = json!({ "range": { "start": 10, "end": 10 } });
    let ack = shard.begin(reader, "getBlob", &[json!(id.as_str()), nothing]);
    assert_eq!(shard.whole_answer(reader, ack).unwrap().1, [Vec::<u8>::new()]);
    let beyond = json!({ "range": { "start": 200_000, "end": 300_000 } });
    let ack = shard.begin(reader, "getBlob", &[json!(id.as_str()), beyond]);
    assert_eq!(shard.whole_answer(reader, ack).unwrap().1, [Vec::<u8>::new()]);
}

#[test]
fn blobs_that_are_others_are_given_to_nobody() {
    let mut shard = shard();
    let [one, reader] = [(); 2].map(|()| shard.connect());
    shard.announce(one, ROUTE, "one", "no tree");
    let id = blob_id(b"right");
    for (size, part) in [(5, &b"wrong"[..]), (9, b"right"), (5, b"longer than it says"), (5, b"")] {
        let ack = shard.begin(reader, "getBlob", &[json!(id.as_str()), Value::Null]);
        let asked = shard.asked(one);
        shard.reply_blob(one, asked[0].ack, id.as_str(), size, part);
        let answer = shard.answer(reader, ack).expect("is answered");
        let expected = format!("Blob not found: {id}");
        assert_eq!(answer[0]["message"], expected, "{part:?}");
    }
    assert_eq!(shard.counters.rljson_rubbish.get(), 4);
    assert!(shard.storage.blobs.is_empty());
    let exists = shard.begin(reader, "blobExists", &[json!(id.as_str())]);
    let asked = shard.asked(one);
    shard.reply(one, asked[0].ack, &[Value::Null, json!(true)]);
    assert_eq!(shard.answer(reader, exists).unwrap(), [Value::Null, json!(true)]);
}

#[test]
fn small_blobs_are_given_though_they_cannot_be_kept() {
    let mut shard = shard();
    let [one, reader] = [(); 2].map(|()| shard.connect());
    shard.announce(one, ROUTE, "one", "no tree");
    shard.storage.broken = Some("the disk is full".to_owned());
    let id = blob_id(b"right");
    for _ in 0..2 {
        let ack = shard.begin(reader, "getBlob", &[json!(id.as_str()), Value::Null]);
        let asked = shard.asked(one);
        shard.reply_blob(one, asked[0].ack, id.as_str(), 5, b"right");
        assert_eq!(shard.whole_answer(reader, ack).unwrap().1, [b"right"]);
    }
    assert!(shard.storage.blobs.is_empty());
}

#[test]
fn clients_write_blobs_if_they_may() {
    let mut shard = Shard::new(Config { allow_writes: true, ..Config::default() });
    let one = shard.connect();
    let id = blob_id(b"bytes");
    shard.send(one, "51-0[\"setBlob\",{\"_placeholder\":true,\"num\":0}]", &[b"bytes"]);
    let answer = shard.answer(one, 0).unwrap();
    assert_eq!((&answer[1]["blobId"], &answer[1]["size"]), (&json!(id.as_str()), &json!(5)));
    let other = shard.connect();
    let ack = shard.begin(other, "getBlob", &[json!(id.as_str()), Value::Null]);
    assert_eq!(shard.whole_answer(other, ack).unwrap().1, [b"bytes"]);
}

//! Blobs that several want at once, and more of them than are fetched at once.

use serde_json::{Value, json};

use super::forest::{File, Folder, Forest};
use super::harness::{Name, Shard};
use super::rpc::{ROUTE, serve, serve_blob, serve_rows, shard};
use crate::codec::rljson::{Hash, blob_id};
use crate::session::blobs::BLOB_WRITES_MAX;

fn begin(shard: &mut Shard, reader: Name, id: &str) -> u64 {
    shard.begin(reader, "getBlob", &[json!(id), Value::Null])
}

fn is_given(shard: &mut Shard, reader: Name, ack: u64, bytes: &[u8]) -> bool {
    shard.whole_answer(reader, ack).is_some_and(|(_, attachments)| attachments == [bytes])
}

#[test]
fn readers_of_many_blobs_wait_for_a_slow_disk() {
    let mut shard = shard();
    let [one, reader] = [(); 2].map(|()| shard.connect());
    shard.announce(one, ROUTE, "one", "no tree");
    let bytes = (0..3 * BLOB_WRITES_MAX as u8).map(|number| vec![number; 5]);
    let blobs = bytes.map(|bytes| (blob_id(&bytes), bytes)).collect();
    let forest = Forest { blobs, ..Forest::default() };
    let blobs = &forest.blobs;
    shard.holds_storage = true;
    let acks: Vec<u64> = blobs.keys().map(|id| begin(&mut shard, reader, id.as_str())).collect();
    let given = |shard: &mut Shard| {
        let of = |(ack, bytes): (&u64, &Vec<u8>)| is_given(shard, reader, *ack, bytes);
        acks.iter().zip(blobs.values()).map(of).filter(|given| *given).count()
    };
    let mut all = 0;
    for _ in 0..3 {
        serve(&mut shard, one, &forest);
        all += given(&mut shard);
        shard.answer_storage();
    }
    assert_eq!(all, blobs.len(), "each as soon as there is room for it");
}

#[test]
fn who_asks_for_a_blob_that_a_tree_needs_is_not_forgotten() {
    let mut shard = shard();
    let [one, reader] = [(); 2].map(|()| shard.connect());
    let (mut forest, mut folder) = (Forest::default(), Folder::default());
    for content in 1..9 {
        folder.put(&format!("f{content}"), Some(File { content, mtime_ms: content }));
    }
    let root = forest.plant(&folder);
    shard.announce(one, ROUTE, "one", root.as_str());
    let asked = serve_rows(&mut shard, one, &forest);
    let asked_for: Vec<&str> = asked.iter().filter_map(|it| it.args[0].as_str()).collect();
    let later: Vec<Hash> =
        forest.blobs.keys().copied().filter(|id| !asked_for.contains(&id.as_str())).collect();
    assert!(!later.is_empty(), "some wait for their turn");
    let acks: Vec<u64> = later.iter().map(|id| begin(&mut shard, reader, id.as_str())).collect();
    for request in asked {
        serve_blob(&mut shard, one, &request, &forest);
    }
    serve(&mut shard, one, &forest);
    for (ack, id) in acks.into_iter().zip(later) {
        assert!(is_given(&mut shard, reader, ack, &forest.blobs[&id]), "{id}");
    }
}

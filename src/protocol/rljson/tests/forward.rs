//! What is asked of other clients: whom, how often, for how long, and what their answers are worth.

use serde_json::{Value, json};

use super::forest::{Folder, Forest};
use super::harness::{Name, Shard};
use super::rpc::{ROUTE, TABLE, by_hash, serve, serve_blob, shard, table_of};
use crate::codec::rljson::Hash;
use crate::protocol::rljson::hub::{ANSWER_WITHIN, HEDGE_AFTER, LOAD_MAX, PULLS_MAX, WAITING_MAX};

fn hash(number: usize) -> Hash {
    crate::codec::rljson::blob_id(&number.to_le_bytes())
}

/// A row and its hash.
fn row(number: u32) -> (Hash, String) {
    let mut forest = Forest::default();
    let root = forest.plant(&Folder::of(&[("a", number, 1)]));
    (root, forest.rows[&root].clone())
}

/// Clients that are on one route. The first announced something that is no tree.
fn on_route<const N: usize>(shard: &mut Shard) -> [Name; N] {
    let names = [(); N].map(|()| shard.connect());
    shard.announce(names[0], ROUTE, "a", "no tree");
    names
}

fn message(answer: &[Value]) -> &str {
    answer[1]["message"].as_str().unwrap_or_else(|| panic!("{answer:?}"))
}

#[test]
fn the_announcer_is_asked_first_and_the_asker_never() {
    let mut shard = shard();
    let [one, two, asker] = on_route(&mut shard);
    shard.announce(two, ROUTE, "b", "newer");
    let (root, text) = row(1);
    let ack = shard.begin(asker, "readRows", &[by_hash(&root)]);
    let asked = shard.asked(two);
    assert_eq!(asked.len(), 1);
    assert_eq!((&*asked[0].name, &asked[0].args[0]), ("readRows", &by_hash(&root)));
    assert!(shard.asked(one).is_empty());
    // It has not got it: somebody else is asked.
    shard.reply(two, asked[0].ack, &[table_of(&[]), Value::Null]);
    assert_eq!(shard.answer(asker, ack), None);
    let asked = shard.asked(one);
    shard.reply(one, asked[0].ack, &[table_of(&[&text]), Value::Null]);
    let answer = shard.answer(asker, ack).unwrap();
    assert_eq!(answer[0][TABLE]["_data"][0]["_hash"], root.as_str());
    assert_eq!((shard.asked(asker).len(), answer[1].clone()), (0, Value::Null));
    // Now it is on the shelf.
    assert_eq!(shard.ask(two, "readRows", &[by_hash(&root)]), answer);
}

#[test]
fn what_several_wait_for_is_asked_once() {
    let mut shard = shard();
    let [one, two, three] = on_route(&mut shard);
    let (root, text) = row(1);
    let first = shard.begin(two, "readRows", &[by_hash(&root)]);
    let second = shard.begin(three, "readRows", &[by_hash(&root)]);
    let both = json!({ "table": TABLE, "hashes": [root.as_str(), hash(1).as_str()] });
    let third = shard.begin(three, "readRowsByHashes", &[both]);
    let asked = shard.asked(one);
    assert_eq!(asked.len(), 2, "one for each row");
    shard.reply(one, asked[0].ack, &[table_of(&[&text]), Value::Null]);
    shard.reply(one, asked[1].ack, &[table_of(&[]), Value::Null]);
    // The other row may still be with who waits for the first one only.
    serve(&mut shard, two, &Forest::default());
    for (who, ack) in [(two, first), (three, second), (three, third)] {
        let answer = shard.answer(who, ack).unwrap();
        assert_eq!(answer[0][TABLE]["_data"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn rubbish_is_worth_nothing_but_a_counter() {
    let (root, text) = row(1);
    let (_, other) = row(2);
    let wrong = text.replace("\"isParent\":true", "\"isParent\":false");
    assert_ne!(wrong, text);
    let good = serde_json::from_str::<Value>(&text).unwrap();
    for answer in [
        json!(["text", null]),
        json!([null, null]),
        json!([{}, null]),
        json!([{ TABLE: 5 }, null]),
        json!([{ TABLE: { "_data": {} } }, null]),
        json!([{ "other": { "_data": [good] } }, null]),
        json!([table_of(&[&other]), null]),
        json!([table_of(&[&wrong]), null]),
        json!([]),
        json!([{ TABLE: { "_data": [1, [], "x"] } }, null]),
    ] {
        let mut shard = shard();
        let [one, two] = on_route(&mut shard);
        let ack = shard.begin(two, "readRows", &[by_hash(&root)]);
        let asked = shard.asked(one);
        shard.reply(one, asked[0].ack, answer.as_array().unwrap());
        let told = shard.answer(two, ack).expect("is answered at once");
        assert_eq!(message(&told), "the answer is not what was asked for", "{answer}");
        assert_eq!(shard.counters.rljson_rubbish.get(), 1, "{answer}");
        let known = shard.ask(two, "rowCount", &[json!(TABLE)]);
        assert_eq!(known[0], 0, "nothing is kept of {answer}");
    }
}

#[test]
fn errors_are_handed_on() {
    for (error, expected) in [
        (json!({ "message": "Table \"x\" not found" }), "Table \"x\" not found"),
        (json!("text"), "text"),
        (json!({}), "the request failed"),
    ] {
        let mut shard = shard();
        let [one, two] = on_route(&mut shard);
        let ack = shard.begin(two, "readRows", &[by_hash(&hash(1))]);
        let asked = shard.asked(one);
        shard.reply(one, asked[0].ack, &[Value::Null, error]);
        assert_eq!(message(&shard.answer(two, ack).unwrap()), expected);
    }
}

#[test]
fn an_empty_answer_is_one_if_others_refuse() {
    let mut shard = shard();
    let [one, two, three] = on_route(&mut shard);
    let ack = shard.begin(three, "readRows", &[by_hash(&hash(1))]);
    let asked = shard.asked(one);
    shard.reply(one, asked[0].ack, &[table_of(&[]), Value::Null]);
    let asked = shard.asked(two);
    shard.reply(two, asked[0].ack, &[Value::Null, json!({ "message": "x" })]);
    assert_eq!(shard.answer(three, ack).unwrap()[0][TABLE]["_data"], json!([]));
}

#[test]
fn a_target_that_leaves_is_not_waited_for() {
    let mut shard = shard();
    let [one, two, asker] = on_route(&mut shard);
    let ack = shard.begin(asker, "readRows", &[by_hash(&hash(1))]);
    assert_eq!(shard.asked(one).len(), 1);
    shard.end(one);
    assert_eq!(shard.asked(two).len(), 1);
    assert_eq!(shard.answer(asker, ack), None);
    shard.end(two);
    let answer = shard.answer(asker, ack).expect("nobody is left");
    assert_eq!(answer[0][TABLE]["_data"], json!([]));
}

#[test]
fn an_asker_that_leaves_takes_its_requests_along() {
    let mut shard = shard();
    let [one, asker] = on_route(&mut shard);
    shard.begin(asker, "readRows", &[by_hash(&hash(1))]);
    let hashes = json!({ "table": TABLE, "hashes": [hash(2).as_str()] });
    shard.begin(asker, "readRowsByHashes", &[hashes]);
    let asked = shard.asked(one);
    shard.end(asker);
    // Whoever has its place has nothing of it.
    let next = shard.connect();
    for request in asked {
        shard.reply(one, request.ack, &[table_of(&[]), Value::Null]);
    }
    shard.pass(20_000);
    assert_eq!(shard.answer(next, 0), None);
}

#[test]
fn silence_is_answered_at_the_deadline() {
    let mut shard = shard();
    let [one, two, asker] = on_route(&mut shard);
    let ack = shard.begin(asker, "readRows", &[by_hash(&hash(1))]);
    let exists = shard.begin(asker, "tableExists", &[json!("other")]);
    assert_eq!((shard.asked(one).len(), shard.asked(two).len()), (2, 0));
    // Others are asked before, should the first be stuck.
    shard.pass(HEDGE_AFTER.as_millis() as u64);
    assert_eq!(shard.asked(two).len(), 2);
    let rest = (ANSWER_WITHIN - HEDGE_AFTER).as_millis() as u64;
    shard.pass(rest - 1);
    assert_eq!(shard.answer(asker, ack), None);
    shard.pass(1);
    assert_eq!(message(&shard.answer(asker, ack).unwrap()), "Timeout after 5000 ms");
    assert_eq!(shard.answer(asker, exists).unwrap(), [json!(false), Value::Null]);
}

#[test]
fn late_answers_are_for_nobody() {
    let mut shard = shard();
    let [one, asker] = on_route(&mut shard);
    let (root, text) = row(1);
    let ack = shard.begin(asker, "readRows", &[by_hash(&root)]);
    let asked = shard.asked(one);
    shard.pass(6_000);
    assert!(shard.answer(asker, ack).is_some());
    shard.reply(one, asked[0].ack, &[table_of(&[&text]), Value::Null]);
    // Nor are answers to what nobody asked.
    shard.reply(one, 999, &[table_of(&[&text]), Value::Null]);
    assert_eq!(shard.ask(asker, "rowCount", &[json!(TABLE)])[0], 0);
}

#[test]
fn a_flood_of_requests_is_refused_and_every_one_answered() {
    let mut shard = shard();
    let [one, asker] = on_route(&mut shard);
    let acks: Vec<u64> =
        (0..400).map(|number| shard.begin(asker, "readRows", &[by_hash(&hash(number))])).collect();
    let busy = acks[WAITING_MAX..].iter();
    let busy: Vec<_> = busy.filter_map(|ack| shard.answer(asker, *ack)).collect();
    assert_eq!(busy.len(), 400 - WAITING_MAX);
    assert_eq!(message(&busy[0]), "too many requests wait already");
    // Of the others only as many are asked at once as one client is asked.
    let asked = shard.asked(one);
    assert!(asked.len() <= LOAD_MAX, "{}", asked.len());
    for request in asked {
        shard.reply(one, request.ack, &[table_of(&[]), Value::Null]);
    }
    serve(&mut shard, one, &Forest::default());
    for ack in &acks[..WAITING_MAX] {
        assert!(shard.answer(asker, *ack).is_some());
    }
}

#[test]
fn pulls_of_all_clients_are_bounded() {
    let mut shard = shard();
    let [_stuck] = on_route(&mut shard);
    let mut refused = 0;
    for client in 0..PULLS_MAX / WAITING_MAX + 1 {
        let asker = shard.connect();
        for number in 0..WAITING_MAX {
            let hash = hash(client * WAITING_MAX + number);
            let ack = shard.begin(asker, "readRows", &[by_hash(&hash)]);
            refused += usize::from(shard.answer(asker, ack).is_some());
        }
    }
    assert_eq!(refused, WAITING_MAX);
}

#[test]
fn rows_that_are_searched_for_are_asked_for_and_verified() {
    let mut shard = shard();
    let [one, asker] = on_route(&mut shard);
    let (root, text) = row(1);
    let search = json!({ "table": TABLE, "where": { "id": "." } });
    let ack = shard.begin(asker, "readRows", std::slice::from_ref(&search));
    let asked = shard.asked(one);
    assert_eq!(asked[0].args, [search]);
    shard.reply(one, asked[0].ack, &[table_of(&[&text]), Value::Null]);
    let answer = shard.answer(asker, ack).unwrap();
    assert_eq!(answer[0][TABLE]["_data"][0]["_hash"], root.as_str());
    // Rows that do not fit are none of an answer.
    let search = json!({ "table": TABLE, "where": { "id": "other" } });
    let ack = shard.begin(asker, "readRows", &[search]);
    let asked = shard.asked(one);
    shard.reply(one, asked[0].ack, &[table_of(&[&text]), Value::Null]);
    assert!(message(&shard.answer(asker, ack).unwrap()).contains("not what was asked for"));
}

#[test]
fn clients_of_other_routes_are_not_asked() {
    let mut shard = shard();
    let [one, two] = on_route(&mut shard);
    shard.announce(two, "/other", "b", "x");
    let (stranger, asker) = (shard.connect(), shard.connect_with("/?route=other", ""));
    shard.begin(asker, "readRows", &[by_hash(&hash(1))]);
    assert_eq!((shard.asked(one).len(), shard.asked(two).len()), (0, 1));
    assert_eq!(shard.asked(stranger).len(), 0);
    // Who is on no route asks others on none.
    let ack = shard.begin(stranger, "readRows", &[by_hash(&hash(2))]);
    assert_eq!((shard.asked(one).len(), shard.asked(two).len()), (0, 0));
    assert!(shard.answer(stranger, ack).is_some());
}

#[test]
fn newer_clients_are_asked_for_many_rows_at_once() {
    let mut shard = shard();
    let [one] = on_route(&mut shard);
    let mut forest = Forest::default();
    let names: Vec<String> = (0..100).map(|number| format!("f{number:03}")).collect();
    let files: Vec<(&str, u32, u32)> = names.iter().map(|name| (&**name, 1, 1)).collect();
    let root = forest.plant(&Folder::of(&files));
    shard.announce(one, ROUTE, "a", root.as_str());
    let (mut requests, mut blobs) = (0, 0);
    let mut pending = shard.requests(one);
    while !pending.is_empty() {
        for request in pending {
            requests += usize::from(request.name != "getBlob");
            let wanted: Vec<String> = match &*request.name {
                "readRows" => vec![request.args[0]["where"]["_hash"].as_str().unwrap().into()],
                "readRowsByHashes" => {
                    serde_json::from_value(request.args[0]["hashes"].clone()).unwrap()
                }
                _ => {
                    blobs += 1;
                    serve_blob(&mut shard, one, &request, &forest);
                    continue;
                }
            };
            let rows = wanted.iter().filter_map(|hash| forest.row(&Hash::new(hash)?));
            let rows: Vec<&str> = rows.collect();
            shard.reply(one, request.ack, &[table_of(&rows), Value::Null]);
        }
        pending = shard.requests(one);
    }
    assert!(requests < 15, "{requests} requests for 101 rows");
    assert_eq!(blobs, 1, "which is all files'");
    assert_eq!(shard.ask(one, "rowCount", &[json!(TABLE)])[0], 101);
}

#[test]
fn who_answers_many_at_once_no_more_is_asked_one_by_one() {
    let mut shard = shard();
    let [one, asker] = on_route(&mut shard);
    shard.begin(asker, "readRows", &[by_hash(&hash(1))]);
    for request in shard.requests(one) {
        shard.reply(one, request.ack, &[table_of(&[]), Value::Null]);
    }
    let (root, text) = row(1);
    let ack = shard.begin(asker, "readRows", &[by_hash(&root)]);
    let asked = shard.requests(one);
    assert_eq!((asked.len(), &*asked[0].name), (1, "readRowsByHashes"));
    let error = json!({ "message": "Method \"readRowsByHashes\" not found on Io instance" });
    shard.reply(one, asked[0].ack, &[Value::Null, error]);
    let asked = shard.requests(one);
    assert_eq!((asked.len(), &*asked[0].name), (1, "readRows"));
    shard.reply(one, asked[0].ack, &[table_of(&[&text]), Value::Null]);
    assert!(shard.answer(asker, ack).is_some());
}

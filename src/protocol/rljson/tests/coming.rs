//! Refs whose trees are still on their way: nobody is told of one before it is here.

use std::ops::Range;

use serde_json::{Value, json};

use super::forest::{Folder, Forest};
use super::harness::{Name, Shard};
use super::rpc::{ROUTE, by_hash, serve, serve_blob, serve_rows, shard, table_of};
use super::serve;
use crate::codec::rljson::Hash;
use crate::protocol::fake_storage::Disk;
use crate::protocol::rljson::Config;
use crate::protocol::rljson::hub::{
    ASK_AFTER, COMING_OF_CLIENT_MAX, PARKED_MAX, SILENT_WITHIN, TELL_AFTER,
};

/// The refs that a client was told, by whatever event.
fn told(shard: &mut Shard, name: Name) -> Vec<String> {
    let events = shard.events(name).into_iter();
    let refs = events.filter(|(event, _)| event == ROUTE || event.ends_with(":bootstrap"));
    refs.map(|(_, payload)| payload["r"].as_str().unwrap().to_owned()).collect()
}

fn acks(shard: &mut Shard, name: Name) -> Vec<Value> {
    let events = shard.events(name).into_iter();
    events.filter(|(event, _)| event.ends_with(":ack")).map(|(_, payload)| payload).collect()
}

fn planted(forest: &mut Forest, files: &[(&str, u32, u32)]) -> Hash {
    forest.plant(&Folder::of(files))
}

/// Milliseconds after which a client that came is asked for what is parked.
const ASKED_MS: u64 = ASK_AFTER.as_millis() as u64;

#[test]
fn others_are_told_of_a_tree_when_all_of_it_is_here() {
    let mut shard = shard();
    let [one, two] = [(); 2].map(|()| shard.connect());
    let mut forest = Forest::default();
    let root = planted(&mut forest, &[("a", 1, 1), ("d/b", 2, 1)]);
    shard.announce(one, ROUTE, "one", root.as_str());
    assert_eq!(serve_rows(&mut shard, one, &forest).len(), 2, "both blobs");
    assert_eq!(told(&mut shard, two), [""; 0]);
    // Asked again, as the first requests were never answered.
    let mut first = Forest::default();
    planted(&mut first, &[("f", 1, 1)]);
    shard.pass(16_000);
    let asked = shard.asked(one);
    assert!(!asked.is_empty());
    for request in asked {
        serve_blob(&mut shard, one, &request, &first);
    }
    assert_eq!(told(&mut shard, two), [""; 0]);
    shard.pass(16_000);
    serve(&mut shard, one, &forest);
    assert_eq!(told(&mut shard, two), [root.as_str()]);
}

#[test]
fn who_goes_in_the_middle_of_it_leaves_nobody_waiting() {
    let mut shard = shard();
    let [one, two, three] = [(); 3].map(|()| shard.connect());
    let (mut ours, mut forest) = (Forest::default(), Forest::default());
    let known = planted(&mut ours, &[("a", 1, 1)]);
    shard.announce(two, ROUTE, "two", known.as_str());
    serve(&mut shard, two, &ours);
    shard.pass(60_000);
    let large = planted(&mut forest, &[("large", 2, 2)]);
    shard.announce(one, ROUTE, "one", large.as_str());
    serve_rows(&mut shard, one, &forest);
    shard.end(one);
    let next = planted(&mut ours, &[("a", 3, 3)]);
    shard.announce(two, ROUTE, "two", next.as_str());
    serve(&mut shard, two, &ours);
    assert_eq!(told(&mut shard, three).pop().as_deref(), Some(next.as_str()));
    // Whoever comes back with it brings it in, before it is told anything that it would put in its
    // place.
    let stranger = shard.connect();
    let back = shard.connect();
    shard.pass(ASKED_MS);
    serve(&mut shard, stranger, &Forest::default());
    assert_eq!(told(&mut shard, back), [""; 0]);
    for _ in 0..3 {
        serve(&mut shard, back, &forest);
        serve(&mut shard, two, &Forest::default());
    }
    let merged = told(&mut shard, three).pop().expect("is told of what both have");
    assert_ne!(merged, next.as_str());
    assert_eq!(told(&mut shard, back), [&*merged]);
    let root = shard.ask(two, "readRows", &[by_hash(&Hash::new(&merged).unwrap())]);
    assert_eq!(root[0]["sharedTree"]["_data"][0]["children"].as_array().unwrap().len(), 2);
    shard.pass(10_000);
    assert_eq!(told(&mut shard, stranger).pop(), Some(merged));
}

#[test]
fn a_blob_that_one_has_not_got_is_had_from_another_who_announced_it() {
    let mut shard = shard();
    let [one, two, three] = [(); 3].map(|()| shard.connect());
    let (mut ours, mut forest) = (Forest::default(), Forest::default());
    let parked = planted(&mut forest, &[("a", 1, 1), ("b", 2, 2)]);
    shard.announce(one, ROUTE, "one", parked.as_str());
    shard.end(one);
    // Who comes next has the rows of it and no blob; while it is asked, another announces the same file.
    let back = shard.connect();
    shard.pass(ASKED_MS);
    let asked = serve_rows(&mut shard, back, &forest);
    assert_eq!(asked.len(), 2);
    let next = planted(&mut ours, &[("b", 2, 2)]);
    shard.announce(two, ROUTE, "two", next.as_str());
    serve(&mut shard, two, &ours);
    for request in asked {
        serve_blob(&mut shard, back, &request, &Forest::default());
    }
    serve(&mut shard, two, &ours);
    assert_eq!(told(&mut shard, three), [next.as_str()]);
    assert!(acks(&mut shard, two).iter().all(|ack| ack["ok"] == true));
}

#[test]
fn of_a_tree_whose_announcer_goes_unheard_nobody_is_told() {
    let mut shard = shard();
    let [one, two] = [(); 2].map(|()| shard.connect());
    let mut forest = Forest::default();
    let root = planted(&mut forest, &[("a", 1, 1)]);
    // It goes when it is asked for the root, and when it is asked for a blob.
    for answers in [false, true] {
        shard.announce(one, ROUTE, "one", root.as_str());
        if answers {
            assert_eq!(serve_rows(&mut shard, one, &forest).len(), 1);
        }
        shard.end(one);
        serve(&mut shard, two, &Forest::default());
        assert_eq!(told(&mut shard, two), [""; 0]);
        let back = shard.connect();
        shard.pass(ASKED_MS);
        serve(&mut shard, back, &forest);
        assert_eq!(told(&mut shard, two), [root.as_str()]);
        shard = self::shard();
        assert_eq!([one, two], [(); 2].map(|()| shard.connect()));
    }
}

#[test]
fn what_was_on_its_way_at_a_crash_is_asked_for_after_it() {
    for is_stored in [false, true] {
        let mut shard = Shard::durable(Config::default());
        let one = shard.connect();
        let mut forest = Forest::default();
        let known = planted(&mut forest, &[("a", 1, 1)]);
        shard.announce(one, ROUTE, "one", known.as_str());
        serve(&mut shard, one, &forest);
        let large = planted(&mut forest, &[("a", 1, 1), ("large", 2, 2)]);
        shard.announce(one, ROUTE, "one", large.as_str());
        serve_rows(&mut shard, one, &forest);
        if is_stored {
            shard.checkpoint();
        }
        let mut next = match is_stored {
            false => shard.crashed(Disk::new(), shard.recorded()),
            true => shard.crashed(shard.storage.disk.clone(), Default::default()),
        };
        next.storage.blobs = shard.storage.blobs.clone();
        let [back, other] = [(); 2].map(|()| next.connect());
        next.pass(ASKED_MS);
        serve(&mut next, back, &forest);
        // It might be its announcer, and is asked first.
        next.pass(1_000);
        serve(&mut next, other, &Forest::default());
        assert_eq!(told(&mut next, other), [large.as_str()], "stored: {is_stored}");
        assert_eq!(told(&mut next, back), [""; 0], "it has it");
        // That is all that was left.
        let mut third = next.crashed(Disk::new(), next.recorded());
        let late = third.connect();
        third.pass(ASKED_MS);
        assert_eq!(third.asked(late), []);
        third.pass(1_000);
        serve(&mut third, late, &Forest::default());
        assert_eq!(told(&mut third, late), [large.as_str()]);
    }
}

#[test]
fn what_was_on_its_way_at_a_crash_is_not_deleted_by_what_its_run_announces_next() {
    let mut shard = Shard::durable(Config::default());
    let one = shard.connect();
    let mut forest = Forest::default();
    let parked = planted(&mut forest, &[("a", 1, 1)]);
    shard.announce(one, ROUTE, "one", parked.as_str());
    // It may have read another tree since, on a connection of which nobody knew whose it was.
    let mut next = shard.crashed(Disk::new(), shard.recorded());
    let [back, other] = [(); 2].map(|()| next.connect());
    let later = planted(&mut forest, &[("b", 2, 2)]);
    next.announce(back, ROUTE, "one", later.as_str());
    next.pass(ASKED_MS);
    for _ in 0..3 {
        serve(&mut next, back, &forest);
        serve(&mut next, other, &Forest::default());
        next.pass(ASKED_MS);
    }
    let both = told(&mut next, other).pop().expect("is told of what both have");
    let root = next.ask(other, "readRows", &[by_hash(&Hash::new(&both).unwrap())]);
    assert_eq!(root[0]["sharedTree"]["_data"][0]["children"].as_array().unwrap().len(), 2);
}

#[test]
fn who_is_there_when_a_tree_turns_out_to_be_here_is_told_of_it() {
    let mut shard = Shard::durable(Config::default());
    let one = shard.connect();
    let mut forest = Forest::default();
    let root = planted(&mut forest, &[("a", 1, 1)]);
    // It is stored, and not taken up.
    shard.is_read_only = true;
    shard.announce(one, ROUTE, "one", root.as_str());
    serve(&mut shard, one, &forest);
    shard.pass(1_000);
    let mut next = shard.crashed(shard.storage.disk.clone(), shard.recorded());
    let late = next.connect();
    next.pass(2_000);
    serve(&mut next, late, &Forest::default());
    next.pass(2_000);
    assert_eq!(told(&mut next, late).first().map(String::as_str), Some(root.as_str()));
}

#[test]
fn what_nothing_came_of_is_not_asked_for_after_a_crash() {
    let mut shard = Shard::durable(Config::default());
    let one = shard.connect();
    let mut forest = Forest::default();
    let broken = planted(&mut forest, &[("a", 1, 1)]);
    shard.announce(one, ROUTE, "one", broken.as_str());
    forest.blobs.clear();
    serve(&mut shard, one, &forest);
    let ack = json!({ "r": broken.as_str(), "ok": false, "receivedBy": 0, "totalClients": 0 });
    assert_eq!(acks(&mut shard, one), [ack]);
    let mut next = shard.crashed(Disk::new(), shard.recorded());
    let late = next.connect();
    next.pass(10_000);
    assert_eq!((next.asked(late), told(&mut next, late)), (vec![], vec![]));
}

#[test]
fn what_several_announced_is_over_for_each_of_them() {
    let mut shard = Shard::durable(Config::default());
    let [one, two] = [(); 2].map(|()| shard.connect());
    let mut forest = Forest::default();
    let small = planted(&mut forest, &[("a", 1, 1)]);
    for (client, run) in [(one, "one"), (two, "two")] {
        shard.announce(client, ROUTE, run, small.as_str());
    }
    serve(&mut shard, one, &forest);
    serve(&mut shard, two, &forest);
    let large = planted(&mut forest, &[("a", 1, 1), ("b", 2, 2)]);
    shard.announce(two, ROUTE, "two", large.as_str());
    serve(&mut shard, two, &forest);
    let mut next = shard.crashed(Disk::new(), shard.recorded());
    let late = next.connect();
    next.pass(2_000);
    serve(&mut next, late, &Forest::default());
    next.pass(10_000);
    let told = told(&mut next, late);
    assert!(told.iter().all(|told| **told == *large.as_str()), "{told:?}");
    assert!(!told.is_empty());
}

#[test]
fn a_newer_tree_that_is_here_sooner_is_taken_up_alone() {
    let mut shard = shard();
    let [one, two] = [(); 2].map(|()| shard.connect());
    let mut forest = Forest::default();
    let large = planted(&mut forest, &[("large", 1, 1)]);
    shard.announce(one, ROUTE, "one", large.as_str());
    serve_rows(&mut shard, one, &forest);
    let small = planted(&mut forest, &[("small", 2, 2)]);
    shard.announce(one, ROUTE, "one", small.as_str());
    serve(&mut shard, one, &forest);
    assert_eq!(told(&mut shard, two), [small.as_str()]);
    let acks: Vec<Value> = acks(&mut shard, one);
    assert_eq!((&acks[0]["r"], &acks[0]["ok"]), (&json!(large.as_str()), &json!(true)));
}

#[test]
fn what_is_parked_keeps_nothing_back_that_came_after_it() {
    let mut shard = shard();
    let [one, two] = [(); 2].map(|()| shard.connect());
    let mut ours = Forest::default();
    let known = planted(&mut ours, &[("a", 1, 1)]);
    shard.announce(two, ROUTE, "two", known.as_str());
    serve(&mut shard, two, &ours);
    let mut forest = Forest::default();
    let lost = planted(&mut forest, &[("lost", 2, 2)]);
    shard.announce(one, ROUTE, "one", lost.as_str());
    shard.end(one);
    let back = shard.connect();
    // It may have put this in place: what it announces next need not have all that is parked.
    shard.ask(back, "readRows", &[by_hash(&known)]);
    let next = planted(&mut forest, &[("next", 3, 3)]);
    shard.announce(back, ROUTE, "one", next.as_str());
    // It answers for that, and for nothing else.
    forest.rows.remove(&lost);
    let _ = told(&mut shard, two);
    for _ in 0..20 {
        serve(&mut shard, back, &forest);
        serve(&mut shard, two, &ours);
        shard.pass(1_000);
    }
    let last = told(&mut shard, two).pop().expect("is told of what came later");
    let root = shard.ask(two, "readRows", &[by_hash(&Hash::new(&last).unwrap())]);
    assert_eq!(root[0]["sharedTree"]["_data"][0]["children"].as_array().unwrap().len(), 2);
}

#[test]
fn who_waits_for_an_acknowledgement_is_told_once_before_it_gives_up() {
    let mut shard = shard();
    let [one, two] = [(); 2].map(|()| shard.connect());
    let mut forest = Forest::default();
    let root = planted(&mut forest, &[("a", 1, 1)]);
    shard.announce(one, ROUTE, "one", root.as_str());
    serve_rows(&mut shard, one, &forest);
    shard.pass(TELL_AFTER.as_millis() as u64);
    let late = json!({ "r": root.as_str(), "ok": false, "receivedBy": 0, "totalClients": 0 });
    assert_eq!(acks(&mut shard, one), [late]);
    shard.pass(8_000);
    serve(&mut shard, one, &forest);
    shard.say(two, "/sharedTree:ack:client", json!({ "r": root.as_str() }));
    assert!(acks(&mut shard, one).is_empty());
    assert_eq!(told(&mut shard, two), [root.as_str()]);
}

#[test]
fn nobody_is_told_of_the_tree_of_one_that_may_have_gone_unnoticed() {
    let silent_ms = SILENT_WITHIN.as_millis() as u64;
    for answers in [false, true] {
        let mut shard = shard();
        let [one, two] = [(); 2].map(|()| shard.connect());
        let (mut first, mut second) = (Forest::default(), Forest::default());
        let first_root = planted(&mut first, &[("a", 1, 1)]);
        let second_root = planted(&mut second, &[("b", 2, 2)]);
        shard.announce(one, ROUTE, "one", first_root.as_str());
        shard.pass(silent_ms / 2);
        shard.requests(one);
        shard.announce(one, ROUTE, "two", second_root.as_str());
        if answers {
            // Of the other tree, and then no more.
            let rows = shard.asked(one).into_iter();
            for request in rows.filter(|request| request.args[0] == by_hash(&second_root)) {
                shard.reply(one, request.ack, &serve::rows(&request.args[0], &second));
            }
        }
        shard.pass(silent_ms * 2 / 3);
        assert_eq!(told(&mut shard, two).is_empty(), answers);
        shard.end(one);
        shard.pass(silent_ms);
        assert_eq!(told(&mut shard, two), [""; 0]);
    }
}

/// A client announces trees that it never gives away, each as another run.
fn announce_many(shard: &mut Shard, name: Name, numbers: Range<u32>) -> Vec<Hash> {
    let announce = |number: u32| {
        let mut forest = Forest::default();
        let root = planted(&mut forest, &[("a", number, 1)]);
        shard.announce(name, ROUTE, &format!("run{number}"), root.as_str());
        shard.pass(50);
        root
    };
    numbers.map(announce).collect()
}

#[test]
fn who_gives_nothing_away_delays_nobody_else() {
    let mut shard = shard();
    let [one, two, three] = [(); 3].map(|()| shard.connect());
    let most = COMING_OF_CLIENT_MAX as u32;
    announce_many(&mut shard, one, 0..most + 10);
    let refused = acks(&mut shard, one);
    assert_eq!(refused.iter().filter(|ack| ack["ok"] == false).count(), 10);
    let mut forest = Forest::default();
    let root = planted(&mut forest, &[("b", 1, 1)]);
    shard.announce(two, ROUTE, "two", root.as_str());
    serve(&mut shard, two, &forest);
    assert_eq!(told(&mut shard, three), [root.as_str()]);
}

#[test]
fn so_much_is_parked_and_the_oldest_is_given_up() {
    let mut shard = Shard::durable(Config::default());
    let anchor = shard.connect();
    let mut roots = Vec::new();
    let most = COMING_OF_CLIENT_MAX as u32;
    for client in 0..PARKED_MAX as u32 / most + 1 {
        let one = shard.connect();
        roots.extend(announce_many(&mut shard, one, client * most..(client + 1) * most));
        shard.end(one);
    }
    let _ = told(&mut shard, anchor);
    let mut next = shard.crashed(Disk::new(), shard.recorded());
    let back = next.connect();
    next.pass(ASKED_MS);
    // As many as are asked for at once, one after another.
    let mut asked = 0;
    loop {
        let requests = next.asked(back);
        if requests.is_empty() {
            break;
        }
        for request in requests {
            asked += 1;
            next.reply(back, request.ack, &[table_of(&[]), Value::Null]);
        }
    }
    assert_eq!(asked, PARKED_MAX);
    assert!(roots.len() > PARKED_MAX);
}

#[test]
fn who_comes_back_with_the_latest_tree_is_not_told_to_put_it_in_place() {
    let mut shard = shard();
    let one = shard.connect();
    let mut forest = Forest::default();
    let root = planted(&mut forest, &[("a", 1, 1)]);
    shard.announce(one, ROUTE, "one", root.as_str());
    serve(&mut shard, one, &forest);
    shard.end(one);
    let [back, fresh, deaf] = [(); 3].map(|()| shard.connect());
    shard.pass(900);
    serve(&mut shard, back, &forest);
    serve(&mut shard, fresh, &Forest::default());
    assert_eq!(told(&mut shard, fresh), [root.as_str()]);
    shard.pass(20_000);
    serve(&mut shard, back, &forest);
    assert_eq!(told(&mut shard, back), [""; 0]);
    assert!(told(&mut shard, deaf).contains(&root.to_string()), "who answers nothing is told");
}

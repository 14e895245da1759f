//! Blobs of sessions, from their effects to the storage and back.

use super::world::{Peer, World};
use super::{RESTART, close, world};
use crate::session::Effects;
use crate::session::blobs::{BLOB_READS_MAX, BLOB_WRITES_MAX, BlobDone, BlobError};

/// The quota of blobs in a world, in bytes.
const QUOTA: usize = 16 << 20;

/// Does what a member says: requests with a comma between them.
pub(super) fn ask(text: &str, fx: &mut Effects<'_>) {
    for request in text.split(',') {
        let words: Vec<&str> = request.split(' ').collect();
        let number = |text: &str| text.parse::<usize>().expect("tests send numbers");
        let ticket = |text: &str| number(text) as u32;
        match words[..] {
            ["write", name, id, text] => fx.write_blob(ticket(name), id, text.into()),
            ["fill", name, id, count] => fx.write_blob(ticket(name), id, vec![b'f'; number(count)]),
            ["commit", name, id] => fx.commit_blob(ticket(name), id),
            ["abort", id] => fx.abort_blob(id),
            ["read", name, id, start, end] => {
                fx.read_blob(ticket(name), id, number(start) as u64..number(end) as u64);
            }
            ["remove", id] => fx.remove_blob(id),
            ["remove-all", count] => {
                (0..number(count)).for_each(|number| fx.remove_blob(&format!("{number}")));
            }
            ["store", count] => (0..number(count)).for_each(|_| {
                let names = vec!["flood".to_owned()];
                fx.store(crate::session::effects::RecordName { namespace: "talk", names }, vec![]);
            }),
            _ => panic!("no test says {request:?}"),
        }
    }
}

/// What a session tells its members of an outcome.
pub(super) fn told(ticket: u32, result: Result<BlobDone, BlobError>) -> String {
    let outcome = match result {
        Ok(BlobDone::Read(bytes)) if bytes.len() > 100 => format!("read {}", bytes.len()),
        Ok(BlobDone::Read(bytes)) => format!("read {:?}", String::from_utf8_lossy(&bytes)),
        Ok(done) => format!("{done:?}"),
        Err(error) => format!("{error:?}"),
    };
    format!("{ticket} {outcome}")
}

/// Says something to a session; what it tells then, without its numbers.
fn say(world: &mut World, member: &mut Peer, text: &str) -> Vec<String> {
    member.send_text(&format!("blob {text}"));
    world.settle_storage();
    heard(member)
}

fn heard(member: &mut Peer) -> Vec<String> {
    let texts = member.texts();
    texts.iter().filter_map(|text| text.split_once(' ')).map(|(_, text)| text.to_owned()).collect()
}

#[test]
fn a_blob_is_written_in_ranges_and_read_in_ranges() {
    let mut world = world();
    let mut member = world.join("/room/listening");
    let told = say(&mut world, &mut member, "write 1 a-blob hello-,write 2 a-blob world");
    assert_eq!(told, ["1 Written", "2 Written"]);
    assert_eq!(say(&mut world, &mut member, "read 3 a-blob 0 100"), ["3 NotFound"]);
    assert_eq!(say(&mut world, &mut member, "write 4 a-blob !"), ["4 Written"]);
    assert_eq!(say(&mut world, &mut member, "commit 5 a-blob"), ["5 Committed"]);
    for (range, bytes) in [("0 100", "hello-world!"), ("3 8", "lo-wo"), ("12 13", ""), ("9 3", "")]
    {
        let told = say(&mut world, &mut member, &format!("read 6 a-blob {range}"));
        assert_eq!(told, [format!("6 read {bytes:?}")], "{range}");
    }
    // Other sessions of the protocol have the same blobs, and a commit may come with what it commits.
    let mut other = world.join("/elsewhere/listening");
    let told =
        say(&mut world, &mut other, "write 1 a-blob again,commit 2 a-blob,read 3 a-blob 0 9");
    assert_eq!(told, ["3 read \"hello-wor\"", "1 Written", "2 Committed"]);
    assert_eq!(say(&mut world, &mut member, "read 7 a-blob 0 9"), ["7 read \"again\""]);
    assert_eq!(say(&mut world, &mut member, "remove a-blob,read 8 a-blob 0 9"), ["8 NotFound"]);
    assert_eq!(say(&mut world, &mut member, "remove a-blob,remove never-was"), [""; 0]);
    assert!(world.shards[0].removals.is_empty());
}

#[test]
fn a_read_has_at_most_a_range() {
    let mut world = world();
    let mut member = world.join("/room/listening");
    say(&mut world, &mut member, "fill 1 big 5000000,commit 2 big");
    assert_eq!(say(&mut world, &mut member, "read 3 big 0 5000000"), ["3 read 4194304"]);
    assert_eq!(say(&mut world, &mut member, "read 4 big 4194304 9000000"), ["4 read 805696"]);
}

#[test]
fn what_is_no_id_is_refused_and_reaches_no_path() {
    let mut world = world();
    let mut member = world.join("/room/listening");
    say(&mut world, &mut member, "write 1 ok x,commit 2 ok");
    let long = "a".repeat(65);
    for id in ["", ".", "..", "../ok", "ok/ok", "talk/ok/ok", "a.b", "é", "a\0", &long] {
        let requests =
            format!("write 3 {id} x,commit 4 {id},read 5 {id} 0 1,abort {id},remove {id}");
        let told = say(&mut world, &mut member, &requests);
        assert_eq!(told, ["3 BadId", "4 BadId", "5 BadId"], "{id:?}");
    }
    let longest = "a".repeat(64);
    for id in ["a", "Zz", "-_9", &longest] {
        let told = say(&mut world, &mut member, &format!("write 1 {id} x,commit 2 {id}"));
        assert_eq!(told, ["1 Written", "2 Committed"], "{id:?}");
    }
    assert_eq!(say(&mut world, &mut member, "read 6 ok 0 9"), ["6 read \"x\""]);
}

#[test]
fn an_aborted_blob_is_not_answered_and_may_be_begun_anew() {
    let mut world = world();
    let mut member = world.join("/room/listening");
    // Before its upload has begun, and after.
    assert_eq!(say(&mut world, &mut member, "fill 1 b 9000000,abort b"), [""; 0]);
    assert_eq!(say(&mut world, &mut member, "fill 2 b 9000000"), ["2 Written"]);
    assert_eq!(say(&mut world, &mut member, "write 3 b x,abort b"), [""; 0]);
    assert_eq!(say(&mut world, &mut member, "commit 4 b,abort b"), ["4 NotFound"]);
    // Nothing of what was given up is kept room for.
    assert_eq!(say(&mut world, &mut member, "fill 5 b 9000000,abort b,write 6 b x"), ["6 Written"]);
    let told = say(&mut world, &mut member, "abort b,fill 7 b 9000000,commit 8 b");
    assert_eq!(told, ["7 Written", "8 Committed"]);
}

#[test]
fn a_write_that_fails_is_over_as_a_whole() {
    let mut world = world();
    let mut member = world.join("/room/listening");
    let told =
        say(&mut world, &mut member, "fill 1 b 9000000,fill 2 b 9000000,fill 3 b 1,commit 4 b");
    assert_eq!(told[0], "1 Written");
    for (number, text) in [(1, "2 Full"), (2, "3 Full"), (3, "4 Full")] {
        assert!(told[number].starts_with(text), "{told:?}");
    }
    assert!(told[1].contains(&format!("may have {QUOTA} bytes")), "{told:?}");
    assert_eq!(say(&mut world, &mut member, "read 5 b 0 1"), ["5 NotFound"]);
    let told = say(&mut world, &mut member, "fill 6 b 17000000,commit 7 b");
    assert!(told[0].starts_with("6 Full") && told[1].starts_with("7 Full"), "{told:?}");
    let told = say(&mut world, &mut member, "fill 8 b 16000000,commit 9 b");
    assert_eq!(told, ["8 Written", "9 Committed"], "what failed has no room");
}

#[test]
fn what_one_session_has_under_way_is_bounded() {
    let mut world = world();
    let mut member = world.join("/room/listening");
    let list = |count: usize, request: &dyn Fn(usize) -> String| {
        (0..count).map(request).collect::<Vec<_>>().join(",")
    };
    let writes = list(BLOB_WRITES_MAX + 2, &|number| format!("write {number} id{number} x"));
    let mut told = say(&mut world, &mut member, &writes);
    told.sort();
    let busy: Vec<&String> = told.iter().filter(|text| text.ends_with("Busy")).collect();
    assert_eq!((told.len(), &busy[..]), (18, &[&"16 Busy".to_owned(), &"17 Busy".to_owned()][..]));
    assert_eq!(say(&mut world, &mut member, "write 1 more x"), ["1 Busy"]);
    assert_eq!(
        say(&mut world, &mut member, "commit 1 id3,commit 2 id4"),
        ["1 Committed", "2 Committed"]
    );
    assert_eq!(say(&mut world, &mut member, "write 1 more x"), ["1 Written"]);
    let reads = list(BLOB_READS_MAX + 2, &|number| format!("read {number} id3 0 9"));
    let told = say(&mut world, &mut member, &reads);
    assert_eq!(told[..2], ["16 Busy", "17 Busy"], "they wait for nobody");
    assert!(told[2..].iter().all(|text| text.ends_with("read \"x\"")) && told.len() == 18);
    // Of one blob no more than some steps wait; what is beyond is not left out of the middle.
    let steps =
        "write 1 id5 a,write 2 id5 b,write 3 id5 c,write 4 id5 d,write 5 id5 e,commit 6 id5";
    let told = say(&mut world, &mut member, steps);
    assert_eq!(told.len(), 6);
    assert!(told.iter().filter(|text| text.ends_with("Busy")).count() >= 1, "{told:?}");
    assert!(!told.iter().any(|text| text.contains("Committed")), "{told:?}");
    assert_eq!(say(&mut world, &mut member, "read 7 id5 0 9"), ["7 NotFound"]);
}

#[test]
fn a_session_that_ends_gives_up_what_it_was_writing() {
    for (end, has_begun) in [("panic", true), ("panic", false), ("leave", true), ("leave", false)] {
        let mut world = world();
        let mut member = world.join("/room/listening");
        member.send_text("blob fill 1 b 12000000,commit 9 other");
        if has_begun {
            world.settle_storage();
        } else {
            world.settle();
        }
        member.read();
        match end {
            "panic" => {
                member.send_text("panic");
                world.settle();
                assert_eq!(member.read().last(), Some(&close(RESTART)));
            }
            _ => world.network.fail(member.connection),
        }
        world.settle_storage();
        assert_eq!(world.count(|counters| counters.sessions.get()), 0);
        // There is room for this only if there is nothing of the other any more.
        let mut next = world.join("/next/listening");
        let told = say(&mut world, &mut next, "fill 1 b 12000000,commit 2 b");
        assert_eq!(told, ["1 Written", "2 Committed"], "{end} {has_begun}");
    }
}

#[test]
fn answers_for_a_session_that_fell_are_for_nobody() {
    let mut world = world();
    let falls = world.join("/room/listening");
    let mut safe = world.join("/safe/listening");
    falls.send_text("blob fill 1 b 12000000,read 2 b 0 1");
    falls.send_text("panic");
    world.settle_storage();
    let mut member = world.join("/room/listening");
    assert_eq!(say(&mut world, &mut member, "read 3 b 0 1"), ["3 NotFound"]);
    let told = say(&mut world, &mut safe, "fill 1 c 12000000,commit 2 c");
    assert_eq!(told, ["1 Written", "2 Committed"]);
}

#[test]
fn a_blob_that_is_written_while_it_is_to_be_removed_stays() {
    let mut world = world();
    let mut member = world.join("/room/listening");
    say(&mut world, &mut member, "write 1 99 x,commit 2 99");
    let told = say(&mut world, &mut member, "remove-all 100,write 3 99 y,commit 4 99");
    assert_eq!(told, ["3 Written", "4 Committed"]);
    assert!(world.shards[0].removals.is_empty());
    assert_eq!(say(&mut world, &mut member, "read 5 99 0 9"), ["5 read \"y\""]);
    // Not one that is only begun.
    let told = say(&mut world, &mut member, "remove-all 100,write 6 99 z,abort 99");
    assert_eq!(told, [""; 0]);
    assert_eq!(say(&mut world, &mut member, "read 7 99 0 9"), ["7 NotFound"]);
}

#[test]
fn many_blobs_are_removed_a_few_at_a_time() {
    const COUNT: usize = 1_600;
    let mut world = world();
    let mut member = world.join("/room/listening");
    let step = BLOB_WRITES_MAX;
    for first in (0..COUNT).step_by(step) {
        let write = |number: usize| format!("write 1 {number} x,commit 2 {number}");
        let writes: Vec<String> = (first..first + step).map(write).collect();
        let told = say(&mut world, &mut member, &writes.join(","));
        assert_eq!(told.iter().filter(|text| *text == "2 Committed").count(), step);
    }
    let gate = world.storage_gate();
    let held = gate.write();
    member.send_text(&format!("blob remove-all {COUNT}"));
    world.settle();
    assert_eq!(world.shards[0].removals.waiting.len(), COUNT - 32);
    member.send_text("panic");
    world.settle();
    drop(held);
    world.settle_storage();
    assert!(world.shards[0].removals.is_empty(), "they outlive their session");
    let mut member = world.join("/room/listening");
    for number in [0, 1, 500, COUNT - 1] {
        assert_eq!(say(&mut world, &mut member, &format!("read 5 {number} 0 9")), ["5 NotFound"]);
    }
}

/// What comes after bytes that the storage had no room to be told of is not carried out.
#[test]
fn a_busy_storage_leaves_nothing_out_of_a_blob() {
    let mut world = world();
    let mut member = world.join("/room/listening");
    say(&mut world, &mut member, "fill 1 b 9000000,write 2 c first");
    let gate = world.storage_gate();
    let held = gate.write();
    member.send_text("blob store 1100,write 3 b second,read 4 b 0 9,write 5 d x");
    world.turn();
    drop(held);
    world.settle_storage();
    assert_eq!(heard(&mut member), ["3 Busy", "4 Busy", "5 Busy"]);
    assert_eq!(say(&mut world, &mut member, "commit 6 b"), ["6 NotFound"]);
    assert_eq!(say(&mut world, &mut member, "commit 7 c"), ["7 Committed"]);
    let told = say(&mut world, &mut member, "read 8 b 0 9,fill 9 b 9000000");
    assert_eq!(told, ["8 NotFound", "9 Written"], "what was written of it has gone");
}

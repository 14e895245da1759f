//! Updates, differences, and who is told what.

use super::harness::{Heard, World, Writer, text_of};
use crate::protocol::Message;
use crate::protocol::yjs::{MALFORMED, NOT_BINARY};

/// An update that changes nothing.
const EMPTY: &[u8] = &[0, 0];

#[test]
fn whoever_comes_is_asked_what_it_has() {
    let mut world = World::new();
    let a = world.enter();
    assert!(world.is_admitted(a));
    assert_eq!(world.heard(a), [Heard::Step1(vec![0])]);
}

#[test]
fn every_question_is_answered_also_with_nothing() {
    let mut world = World::new();
    let a = world.enter();
    world.heard(a);
    world.step1(a, &[0]);
    assert_eq!(world.heard(a), [Heard::Step2(EMPTY.to_vec())]);
}

#[test]
fn updates_go_to_the_others_as_they_came() {
    let mut world = World::new();
    let (a, b, c) = (world.enter(), world.enter(), world.enter());
    world.ignore();
    let update = Writer::new(5).types("hello");
    world.update(a, &update);
    assert_eq!(world.heard(a), []);
    assert_eq!(world.heard(b), [Heard::Update(update.clone())]);
    assert_eq!(world.heard(c), [Heard::Update(update)]);
}

#[test]
fn an_answer_to_the_server_is_relayed_as_an_update() {
    let mut world = World::new();
    let (a, b) = (world.enter(), world.enter());
    world.ignore();
    let writer = Writer::new(5);
    writer.types("offline");
    world.step2(a, &writer.whole());
    assert_eq!(world.heard(b), [Heard::Update(writer.whole())]);
    assert_eq!(world.text(), "offline");
}

#[test]
fn an_answer_that_tells_nothing_new_is_not_relayed() {
    let mut world = World::new();
    let (a, b) = (world.enter(), world.enter());
    let writer = Writer::new(5);
    world.update(a, &writer.types("hello"));
    world.update(a, &writer.deletes(2));
    world.ignore();
    // What a client says that has everything: what is deleted, once more.
    let again = {
        use yrs::{ReadTxn, Transact};
        let transaction = writer.doc.transact();
        transaction.encode_state_as_update_v1(&transaction.state_vector())
    };
    assert_ne!(again, EMPTY);
    world.step2(b, &again);
    world.step2(b, &writer.whole());
    world.step2(b, EMPTY);
    world.update(b, EMPTY);
    assert_eq!(world.heard(a), []);
}

#[test]
fn an_answer_that_depends_on_what_has_not_come_is_kept_and_relayed() {
    let mut world = World::new();
    let (a, b) = (world.enter(), world.enter());
    let writer = Writer::new(5);
    let (first, second) = (writer.types("one "), writer.types("two"));
    world.ignore();
    world.step2(a, &second);
    assert_eq!(world.heard(b), [Heard::Update(second)]);
    assert_eq!(world.text(), "");
    world.update(a, &first);
    assert_eq!(world.text(), "one two");
}

#[test]
fn whoever_comes_late_is_told_all_and_whoever_comes_back_what_it_lacks() {
    let mut world = World::new();
    let a = world.enter();
    let writer = Writer::new(5);
    world.update(a, &writer.types("one "));
    let reader = Writer::new(6);
    let b = world.enter();
    assert_eq!(world.heard(b), [Heard::Step1(writer.vector())]);
    world.step1(b, &reader.vector());
    let Heard::Step2(all) = world.heard(b).remove(0) else { panic!("no answer") };
    reader.takes(&all);
    assert_eq!(reader.text(), "one ");
    world.leave(b);
    world.update(a, &writer.types("two"));
    let b = world.enter();
    world.heard(b);
    world.step1(b, &reader.vector());
    let Heard::Step2(rest) = world.heard(b).remove(0) else { panic!("no answer") };
    assert!(rest.len() < writer.whole().len(), "it is told only what it lacks");
    reader.takes(&rest);
    assert_eq!(reader.text(), "one two");
}

#[test]
fn the_answer_has_all_that_was_said_before_the_question() {
    let mut world = World::new();
    let (a, b) = (world.enter(), world.enter());
    let writer = Writer::new(5);
    let mut updates = Vec::new();
    for round in 0..200 {
        updates.push(writer.types("x"));
        world.update(a, &updates[round]);
        if round % 50 == 0 {
            world.heard(b);
            world.step1(b, &[0]);
            let Heard::Step2(all) = world.heard(b).remove(0) else { panic!("no answer") };
            assert_eq!(text_of(&[&all]), "x".repeat(round + 1));
            // The next question comes in another turn.
            world.run(1);
        }
    }
}

#[test]
fn many_questions_in_one_turn_have_two_answers() {
    let mut world = World::new();
    let a = world.enter();
    world.update(a, &Writer::new(5).types("hello"));
    world.heard(a);
    for _ in 0..100 {
        world.step1(a, &[0]);
    }
    assert_eq!(world.heard(a).len(), 1);
    world.run(10);
    assert_eq!(world.heard(a).len(), 1);
    world.run(1_000);
    assert_eq!(world.heard(a), []);
}

#[test]
fn whoever_leaves_is_not_answered() {
    let mut world = World::new();
    let a = world.enter();
    world.step1(a, &[0]);
    world.step1(a, &[0]);
    world.leave(a);
    world.run(10);
    let b = world.enter();
    world.step1(b, &[0]);
    assert_eq!(world.heard(b).len(), 2);
}

#[test]
fn several_messages_in_one_frame_are_heard() {
    let mut world = World::new();
    let (a, b) = (world.enter(), world.enter());
    world.ignore();
    let writer = Writer::new(5);
    let (one, two) = (writer.types("a"), writer.types("b"));
    let frame = [&[0, 2, one.len() as u8], &one[..], &[0, 2, two.len() as u8], &two[..]].concat();
    world.say(a, &frame);
    assert_eq!(world.heard(b), [Heard::Update(one), Heard::Update(two)]);
}

#[test]
fn what_is_malformed_closes_its_sender_only() {
    let update = Writer::new(5).types("hello");
    let frames: &[(&str, &[u8])] = &[
        ("nothing", &[]),
        ("an unknown message", &[9]),
        ("an unknown sync message", &[0, 3, 0]),
        ("an update of a declared length that is not there", &[0, 2, 0xFF, 0xFF, 0xFF, 0x7F]),
        ("an update with a count that cannot be", &[0, 2, 4, 0xFF, 0xFF, 0xFF, 0x7F]),
        ("a state vector with a count that cannot be", &[0, 0, 4, 0xFF, 0xFF, 0xFF, 0x7F]),
        ("an awareness update with a count that cannot be", &[1, 4, 0xFF, 0xFF, 0xFF, 0x7F]),
        ("an update with bytes behind it", &[0, 2, 3, 0, 0, 0]),
        ("a message of its own that is no JSON", &[4, 1, b'{']),
    ];
    for (what, frame) in frames {
        let mut world = World::new();
        let (a, b) = (world.enter(), world.enter());
        world.heard(b);
        world.say(a, frame);
        assert_eq!(world.closed(a), Some(MALFORMED), "{what}");
        assert_eq!(world.heard(b), [], "{what}");
        let c = world.enter();
        world.heard(c);
        world.update(c, &update);
        assert_eq!(world.heard(b), [Heard::Update(update.clone())], "{what}");
    }
    let mut world = World::new();
    let a = world.enter();
    world.tell(a, Message::Text("hello"));
    assert_eq!(world.closed(a), Some(NOT_BINARY));
}

#[test]
fn every_cut_of_an_update_is_refused() {
    let update = Writer::new(5).types("hello");
    for len in 1..update.len() {
        let mut world = World::new();
        let a = world.enter();
        world.update(a, &update[..len]);
        assert_eq!(world.closed(a), Some(MALFORMED), "{len} bytes");
        assert_eq!(world.text(), "");
    }
}

#[test]
fn own_messages_go_to_the_others_and_heartbeats_to_nobody() {
    let mut world = World::new();
    let (a, b) = (world.enter(), world.enter());
    world.ignore();
    let custom = |json: &str| [&[4, json.len() as u8], json.as_bytes()].concat();
    world.say(a, &custom(r#"{"type":"heartbeat","timestamp":1}"#));
    world.say(a, &custom(r#"{"type":"ping"}"#));
    assert_eq!(world.heard(a), []);
    assert_eq!(world.heard(b), [Heard::Custom(r#"{"type":"ping"}"#.to_owned())]);
}

#[test]
fn tokens_are_never_passed_on() {
    let mut world = World::new();
    let (a, b) = (world.enter(), world.enter());
    world.ignore();
    let json = br#"{"token":"t","userId":"u"}"#;
    world.say(a, &[&[2, json.len() as u8][..], json].concat());
    assert!(world.is_seated(a));
    assert_eq!(world.heard(b), []);
}

#[test]
fn a_document_that_rests_is_told_as_before() {
    let mut world = World::new();
    let a = world.enter();
    let writer = Writer::new(5);
    world.update(a, &writer.types("hello "));
    world.run(120_000);
    assert_eq!(world.text(), "hello ");
    world.update(a, &writer.types("again"));
    assert_eq!(world.text(), "hello again");
    let b = world.enter();
    world.heard(b);
    world.step1(b, &writer.vector());
    assert_eq!(world.heard(b), [Heard::Step2(EMPTY.to_vec())]);
}

#[test]
fn long_histories_are_folded() {
    let mut world = World::new();
    let a = world.enter();
    let writer = Writer::new(5);
    for _ in 0..20_000 {
        world.update(a, &writer.types("x"));
    }
    world.run(1_000);
    assert_eq!(world.text(), "x".repeat(20_000));
}

//! What outlives members, sessions and processes.

use super::harness::{Heard, Luck, World, Writer};
use crate::protocol::Machine;
use crate::protocol::yjs::stored::Stored;
use crate::protocol::yjs::{UNAVAILABLE, stored};
use crate::session::journal::Entries;

fn entry(update: &[u8]) -> Vec<u8> {
    [b"U", update].concat()
}

#[test]
fn a_room_that_nobody_wrote_in_ends_with_its_last_member() {
    for mut world in [World::new(), World::durable()] {
        let a = world.enter();
        assert!(!world.room.is_over());
        world.leave(a);
        assert!(world.room.is_over());
        assert_eq!(world.stores, 0);
    }
}

#[test]
fn a_document_in_memory_is_kept_for_a_while() {
    let mut world = World::new();
    let a = world.enter();
    world.update(a, &Writer::new(5).types("hello"));
    world.leave(a);
    world.run(29 * 60_000);
    assert!(!world.room.is_over());
    assert_eq!(world.text(), "hello");
    world.run(29 * 60_000);
    assert!(!world.room.is_over(), "somebody has looked at it");
    world.run(2 * 60_000);
    assert!(world.room.is_over());
}

#[test]
fn a_document_is_stored_when_all_have_left_and_loaded_when_somebody_comes() {
    let mut world = World::durable();
    let a = world.enter();
    let writer = Writer::new(5);
    world.update(a, &writer.types("hello"));
    world.run(60_000);
    assert_eq!(world.stores, 0, "the journal has it");
    world.leave(a);
    world.run(5_000);
    assert_eq!(world.stores, 1);
    assert!(!world.room.is_over());
    world.run(30 * 60_000);
    assert!(world.room.is_over());
    let mut next = World::durable();
    next.disk = world.disk.take();
    assert_eq!(next.text(), "hello");
    next.run(30 * 60_000);
    assert!(next.room.is_over());
    assert_eq!(next.stores, 0, "nothing has changed");
}

#[test]
fn what_is_said_while_the_document_is_loaded_waits() {
    let mut world = World::durable();
    world.disk = Some(stored::write(&Writer::new(5).types("old "), [], 0));
    world.holds = true;
    let (a, gone) = (world.enter(), world.enter());
    let writer = Writer::new(9);
    world.update(a, &writer.types("new"));
    world.step1(a, &[0]);
    world.update(gone, &Writer::new(10).types("lost"));
    world.leave(gone);
    assert_eq!(world.heard(a), []);
    assert!(!world.room.is_over());
    world.holds = false;
    world.answer();
    let heard = world.heard(a);
    assert!(matches!(heard[0], Heard::Step1(_)));
    let Heard::Step2(all) = &heard[1] else { panic!("{heard:?}") };
    let text = super::harness::text_of(&[all]);
    assert!(text == "old new" || text == "newold ", "{text}");
}

#[test]
fn a_document_that_cannot_be_read_is_refused_and_left_alone() {
    for disk in [None, Some(vec![1, 2, 3]), Some(stored::write(&[7, 7], [], 0))] {
        let mut world = World::durable();
        let is_damaged = disk.is_some();
        world.disk = disk.clone();
        world.holds = !is_damaged;
        let a = world.enter();
        if !is_damaged {
            world.fail_load();
        }
        assert_eq!(world.closed(a), Some(UNAVAILABLE));
        assert!(world.room.is_over());
        assert_eq!(world.disk, disk);
        assert_eq!(world.counters.storage_errors.get(), 1);
        let b = world.enter();
        assert_eq!(world.closed(b), Some(UNAVAILABLE));
    }
}

#[test]
fn what_was_recorded_is_recovered_and_stored() {
    let writer = Writer::new(5);
    let state = writer.types("one ");
    let (known, two, three) = (state.clone(), writer.types("two "), writer.types("three"));
    let mut entries = Entries::default();
    for (position, update) in [(4, &known), (6, &two), (9, &three)] {
        entries.push(position, &entry(update));
    }
    let mut world = World::durable();
    world.disk = Some(stored::write(&state, [], 4));
    world.recover(entries);
    assert!(!world.room.is_over());
    world.run(5_000);
    assert_eq!(world.stores, 1);
    assert!(world.room.is_over(), "nobody is there");
    assert_eq!(world.text(), "one two three");
}

#[test]
fn recovered_entries_that_are_none_of_a_document_are_refused() {
    for bytes in [&b""[..], b"x", b"U", b"U\xFF\xFF\xFF\x7F"] {
        let mut entries = Entries::default();
        entries.push(3, bytes);
        let mut world = World::durable();
        world.recover(entries);
        let a = world.enter();
        assert_eq!(world.closed(a), Some(UNAVAILABLE));
        assert_eq!(world.stores, 0);
    }
}

#[test]
fn updates_are_recorded_as_they_came_and_a_store_tells_how_far_it_goes() {
    let mut world = World::durable();
    let a = world.enter();
    let writer = Writer::new(5);
    for _ in 0..3 {
        world.update(a, &writer.types("x"));
    }
    let recorded = world.journal.as_ref().map(|(batch, cursor)| (batch.entries(), cursor.last()));
    let (entries, last) = recorded.expect("a journal");
    assert_eq!(entries, 3);
    world.checkpoint();
    assert_eq!(world.stores, 1);
    let disk = world.disk.clone().expect("a record");
    let Stored { state, position, .. } = stored::read(&disk).expect("sound");
    assert_eq!(position, last);
    assert_eq!(super::harness::text_of(&[state]), "xxx");
    world.update(a, &writer.types("y"));
    world.stop();
    assert_eq!(world.stores, 2);
    world.stop();
    assert_eq!(world.stores, 2, "nothing has changed");
}

#[test]
fn a_long_journal_is_cut_by_storing() {
    let mut world = World::durable();
    let a = world.enter();
    let writer = Writer::new(5);
    for _ in 0..20 {
        world.update(a, &writer.types(&"x".repeat(100_000)));
    }
    assert!(world.stores >= 1);
    let mut world = World::durable();
    let a = world.enter();
    let writer = Writer::new(5);
    for _ in 0..10_001 {
        world.update(a, &writer.types("x"));
    }
    assert_eq!(world.stores, 1);
}

#[test]
fn while_nothing_can_be_recorded_nothing_is_taken_and_later_it_is_asked_for_again() {
    let mut world = World::durable();
    let (a, b) = (world.enter(), world.enter());
    world.ignore();
    world.read_only = true;
    let writer = Writer::new(5);
    let update = writer.types("hello");
    world.update(a, &update);
    world.update(a, &writer.types(" world"));
    let heard = world.heard(a);
    assert!(matches!(&heard[..], [Heard::Denied(_)]), "{heard:?}");
    assert_eq!(world.heard(b), []);
    world.run(10_000);
    assert_eq!(world.heard(a), []);
    world.read_only = false;
    world.run(2_000);
    assert_eq!(world.heard(a), [Heard::Step1(vec![0])]);
    assert_eq!(world.heard(b), []);
    world.step2(a, &writer.whole());
    assert_eq!(world.heard(b), [Heard::Update(writer.whole())]);
}

#[test]
fn a_room_sleeps_while_the_disk_takes_its_time() {
    // Checked by `run`: a deadline that has passed is never asked for again.
    let mut world = World::durable();
    world.holds = true;
    let a = world.enter();
    world.checkpoint();
    world.run(10_000);
    world.answer();
    world.answer();
    world.update(a, &Writer::new(5).types("hello"));
    world.leave(a);
    world.run(40 * 60_000);
    assert!(!world.room.is_over());
    world.answer_with(Luck::Bad);
    world.run(5_000);
    world.answer_with(Luck::Bad);
    world.run(15_000);
    assert!(!world.room.is_over());
    world.answer();
    assert!(world.room.is_over());
}

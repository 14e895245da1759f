//! Sessions that panic: what they recorded is there again, and those that do not stop are closed for
//! a while.

use super::talk::RESTART;
use super::world::{Peer, Setup, World};
use super::{TALK, close, ms};
use crate::session::Counters;

fn recording() -> World {
    World::new(Setup { journal: true, durable: true, ..Setup::new(TALK) })
}

/// Says something that makes the session panic; everybody is told to come back.
fn fell(world: &mut World, member: &mut Peer, text: &str) {
    member.read();
    member.send_text(text);
    world.settle();
    assert_eq!(member.read().last(), Some(&close(RESTART)));
}

/// Whoever tries to enter is told to come back.
fn check_closed(world: &mut World, path: &str) {
    let mut member = world.dial(0, path);
    world.settle();
    assert_eq!(member.read(), [close(RESTART)]);
}

/// What a session has kept, as a newcomer is told.
fn kept(world: &mut World, path: &str) -> String {
    let mut member = world.join(path);
    member.read();
    member.send_text("kept");
    world.settle();
    let texts = member.texts();
    texts.last().and_then(|text| text.split_once(": ")).expect("an answer").1.to_owned()
}

fn reads_nothing(world: &World) -> bool {
    !world.shards[0].fallen.is_reading()
}

fn quarantines(world: &World) -> u64 {
    world.count(|counters: &Counters| counters.quarantines.get())
}

#[test]
fn a_session_that_panicked_goes_on_from_what_it_recorded() {
    let mut world = recording();
    let mut other = world.join("/other/listening");
    let mut member = world.join("/room/listening");
    for text in ["keep one", "keep two"] {
        member.send_text(text);
        other.send_text("keep else");
        world.settle();
    }
    // What was recorded in the very call that failed is there as well.
    fell(&mut world, &mut member, "keep and panic");
    check_closed(&mut world, "/room/listening");
    world.await_read_back();
    assert_eq!(kept(&mut world, "/room/a"), "one,two,and panic");
    assert_eq!(kept(&mut world, "/other/a"), "else,else");
    assert!(!other.read().iter().any(|frame| frame.is_close()));
    // And again, with what came since.
    let mut member = world.join("/room/listening");
    member.send_text("keep three");
    fell(&mut world, &mut member, "panic");
    world.await_read_back();
    assert_eq!(kept(&mut world, "/room/a"), "one,two,and panic,three");
    assert_eq!(world.count(|counters| counters.panics.get()), 2);
    assert_eq!(quarantines(&world), 0);
}

#[test]
fn what_is_stored_is_not_read_back() {
    let mut world = recording();
    let mut member = world.join("/room/listening");
    for text in ["keep stored", "store"] {
        member.send_text(text);
        world.settle_storage();
    }
    member.send_text("keep more");
    fell(&mut world, &mut member, "panic");
    world.await_read_back();
    assert_eq!(kept(&mut world, "/room/a"), "more");
    let mut member = world.join("/stored/listening");
    for text in ["keep stored", "store"] {
        member.send_text(text);
        world.settle_storage();
    }
    fell(&mut world, &mut member, "panic");
    assert!(reads_nothing(&world));
    assert_eq!(kept(&mut world, "/stored/a"), "");
}

#[test]
fn a_session_that_panics_again_and_again_is_closed_for_a_minute() {
    let mut world = recording();
    for round in 1..=3 {
        let mut member = world.join("/room/listening");
        member.send_text(&format!("keep {round}"));
        fell(&mut world, &mut member, "panic");
        if round < 3 {
            world.await_read_back();
        }
    }
    assert_eq!(quarantines(&world), 1);
    world.pass(ms(59_000));
    check_closed(&mut world, "/room/listening");
    assert!(reads_nothing(&world));
    world.pass(ms(2_000));
    // Whoever comes first has it read back.
    check_closed(&mut world, "/room/listening");
    world.await_read_back();
    assert_eq!(kept(&mut world, "/room/a"), "1,2,3");
    // Panics that are further apart do no more than before.
    for _ in 0..4 {
        let mut member = world.join("/room/listening");
        fell(&mut world, &mut member, "panic");
        world.await_read_back();
        world.pass(ms(31_000));
    }
    assert_eq!(quarantines(&world), 1);
}

#[test]
fn a_session_that_cannot_bear_what_it_recorded_is_closed_for_a_minute() {
    let mut world = recording();
    let mut member = world.join("/room/listening");
    member.send_text("keep poison");
    world.settle();
    fell(&mut world, &mut member, "panic");
    for _ in 0..2 {
        world.await_read_back();
    }
    assert_eq!(world.count(|counters| counters.panics.get()), 3);
    assert_eq!(quarantines(&world), 1);
    check_closed(&mut world, "/room/listening");
    assert!(reads_nothing(&world));
}

#[test]
fn a_session_that_records_nothing_is_closed_as_well() {
    let mut world = World::new(Setup::new(TALK));
    for _ in 0..3 {
        let mut member = world.join("/room/listening");
        fell(&mut world, &mut member, "panic");
    }
    check_closed(&mut world, "/room/listening");
    world.join("/other/listening");
    world.pass(ms(60_001));
    world.join("/room/listening");
    assert_eq!(quarantines(&world), 1);
}

#[test]
fn a_session_is_not_continued_with_a_gap() {
    let mut world = recording();
    let mut member = world.join("/room/listening");
    for text in ["keep one", "keep two", "keep three"] {
        member.send_text(text);
        world.settle();
    }
    for segment in world.disk.write().expect("nobody panics").segments.values_mut() {
        let at = segment.windows(3).position(|bytes| bytes == b"two").expect("it was written");
        segment[at] ^= 1;
    }
    fell(&mut world, &mut member, "panic");
    world.await_read_back();
    check_closed(&mut world, "/room/listening");
    world.pass(ms(600_000));
    check_closed(&mut world, "/room/listening");
    assert!(reads_nothing(&world));
}

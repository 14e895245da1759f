//! Awareness: who is told that who is there (specs: zeal §3).

use super::harness::{Heard, World};
use crate::protocol::yjs::TOO_AWARE;

fn aware(states: &[(u64, u32, Option<&str>)]) -> Heard {
    let own = |&(client, clock, state): &(u64, u32, Option<&str>)| {
        (client, clock, state.map(str::to_owned))
    };
    Heard::Awareness(states.iter().map(own).collect())
}

fn two() -> (World, usize, usize) {
    let mut world = World::new();
    let (a, b) = (world.enter(), world.enter());
    world.ignore();
    (world, a, b)
}

#[test]
fn states_go_to_everybody_their_sender_included() {
    let (mut world, a, b) = two();
    world.aware(a, &[(1, 1, Some("{}"))]);
    assert_eq!(world.heard(a), [aware(&[(1, 1, Some("{}"))])]);
    assert_eq!(world.heard(b), [aware(&[(1, 1, Some("{}"))])]);
}

#[test]
fn old_states_are_dropped() {
    let (mut world, a, b) = two();
    world.aware(a, &[(1, 2, Some("{}"))]);
    world.heard(b);
    world.aware(b, &[(1, 2, Some("{}"))]);
    world.aware(b, &[(1, 1, Some("1"))]);
    assert_eq!(world.heard(b), []);
    world.aware(b, &[(1, 2, Some("1")), (2, 1, Some("2"))]);
    assert_eq!(world.heard(b), [aware(&[(2, 1, Some("2"))])]);
}

#[test]
fn whoever_comes_or_asks_is_told_of_all() {
    let (mut world, a, b) = two();
    world.aware(a, &[(1, 1, Some("1"))]);
    world.aware(b, &[(2, 3, Some("2"))]);
    let c = world.enter();
    let all = aware(&[(1, 1, Some("1")), (2, 3, Some("2"))]);
    assert_eq!(world.heard(c)[1], all);
    world.say(c, &[3]);
    assert_eq!(world.heard(c), [all]);
}

#[test]
fn whoever_leaves_is_gone_for_all() {
    let (mut world, a, b) = two();
    world.aware(a, &[(1, 1, Some("1")), (7, 4, Some("7"))]);
    world.aware(b, &[(2, 1, Some("2"))]);
    world.heard(b);
    world.leave(a);
    assert_eq!(world.heard(b), [aware(&[(1, 2, None), (7, 5, None)])]);
    let c = world.enter();
    assert_eq!(world.heard(c)[1..], [aware(&[(2, 1, Some("2"))])]);
}

#[test]
fn whoever_says_so_is_gone() {
    let (mut world, a, b) = two();
    world.aware(a, &[(1, 1, Some("1"))]);
    world.heard(b);
    world.aware(a, &[(1, 1, None)]);
    assert_eq!(world.heard(b), [aware(&[(1, 1, None)])]);
    world.leave(a);
    assert_eq!(world.heard(b), []);
}

#[test]
fn states_that_are_not_renewed_end() {
    let (mut world, a, b) = two();
    world.aware(a, &[(1, 1, Some("1"))]);
    world.heard(b);
    world.run(20_000);
    world.aware(a, &[(1, 2, Some("1"))]);
    world.run(20_000);
    world.heard(b);
    let c = world.enter();
    assert_eq!(world.heard(c)[1..], [aware(&[(1, 2, Some("1"))])]);
    world.run(15_000);
    assert!(world.heard(b).contains(&aware(&[(1, 3, None)])));
}

#[test]
fn whoever_comes_back_with_an_old_clock_is_told_to_say_it_again() {
    let (mut world, a, b) = two();
    world.aware(a, &[(1, 4, Some("1"))]);
    world.leave(a);
    let a = world.enter();
    world.ignore();
    world.aware(a, &[(1, 4, Some("1"))]);
    // Its client answers this with its state and clock 6 (y-protocols, applyAwarenessUpdate).
    assert_eq!(world.heard(a), [aware(&[(1, 5, None)])]);
    assert_eq!(world.heard(b), []);
    world.aware(a, &[(1, 6, Some("1"))]);
    assert_eq!(world.heard(b), [aware(&[(1, 6, Some("1"))])]);
}

#[test]
fn what_others_repeat_is_not_theirs() {
    let (mut world, a, b) = two();
    world.aware(a, &[(1, 1, Some("1"))]);
    world.aware(b, &[(1, 1, Some("1"))]);
    world.ignore();
    world.leave(b);
    assert_eq!(world.heard(a), []);
}

#[test]
fn whoever_is_alone_and_silent_hears_of_the_server() {
    let mut world = World::new();
    let a = world.enter();
    world.heard(a);
    world.run(29_000);
    assert_eq!(world.heard(a), [aware(&[])]);
    world.run(29_000);
    assert_eq!(world.heard(a).len(), 1);
}

#[test]
fn nobody_says_too_much() {
    for states in [
        (0..40).map(|client| (client, 1, "1".to_owned())).collect::<Vec<_>>(),
        vec![(1, 1, format!("\"{}\"", "x".repeat(70_000)))],
    ] {
        let (mut world, a, b) = two();
        let states: Vec<_> =
            states.iter().map(|(client, clock, state)| (*client, *clock, Some(&**state))).collect();
        world.aware(a, &states);
        assert_eq!(world.closed(a), Some(TOO_AWARE));
        assert!(world.is_seated(b));
    }
}

#[test]
fn the_gone_are_forgotten() {
    let (mut world, a, _) = two();
    world.aware(a, &[(1, 1, Some("1"))]);
    world.leave(a);
    world.run(60_000);
    let a = world.enter();
    world.heard(a);
    world.aware(a, &[(1, 1, Some("1"))]);
    assert_eq!(world.heard(a), [aware(&[(1, 1, Some("1"))])]);
}

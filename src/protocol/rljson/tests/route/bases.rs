//! What a tree may have been made from.

use super::*;
use crate::codec::rljson::EMPTY_ROOT;

#[test]
fn who_has_read_a_tree_a_while_ago_made_its_own_from_it() {
    let after = |elapsed_ms: u64| {
        let mut route = after_reading(1_000);
        announce(&mut route, 2, "b", 3, 1_000 + elapsed_ms)
    };
    assert_eq!(crossing(after(ms(HURRIED) - 1)).bases, [sure(1), unsure(2)]);
    assert_eq!(crossing(after(ms(HURRIED))).bases, [sure(1), sure(2)]);
    assert_eq!(crossing(after(ms(SETTLED) - 1)).bases, [sure(1), sure(2)]);
    assert!(is_forwarded(after(ms(SETTLED))));
    // Who reads it again has failed.
    let mut route = after_reading(1_000);
    route.read(socket(2), root(2), at(50_000));
    let work = announce(&mut route, 2, "b", 3, 1_000 + ms(SETTLED));
    assert_eq!(crossing(work).bases, [sure(1), sure(2)]);
}

#[test]
fn what_was_read_may_be_put_over_what_was_announced_since() {
    let after = |elapsed_ms: u64, later_ms: u64| {
        let mut route = after_reading(1_000);
        crossing(announce(&mut route, 2, "b", 3, 1_000 + elapsed_ms));
        route.finish(Outcome::Merged(root(4)));
        crossing(announce(&mut route, 2, "b", 5, 1_000 + later_ms)).bases
    };
    let within = ms(OVERWRITTEN_WITHIN);
    // However long ago, and whatever was read first.
    for later_ms in [within, ms(SETTLED), 10 * ms(SETTLED)] {
        assert_eq!(after(100, later_ms), [sure(3), unsure(2)]);
        assert_eq!(after(ms(HURRIED), later_ms), [sure(3), unlikely(2)]);
        assert_eq!(after(within - 1, later_ms), [sure(3), unlikely(2)]);
        assert_eq!(after(within, later_ms), [sure(3)]);
    }
    // Until something else is announced.
    let mut route = after_reading(1_000);
    for (number, at_ms) in [(3, 1_100), (5, 1_000 + within), (7, 20_000)] {
        let bases = crossing(announce(&mut route, 2, "b", number, at_ms)).bases;
        assert_eq!(bases.len(), if number == 7 { 1 } else { 2 });
        route.finish(Outcome::Merged(root(number + 1)));
    }
}

#[test]
fn whose_tree_an_earlier_process_heard_may_have_read_what_somebody_read_since() {
    let mut route = route();
    let number = route.number();
    announce(&mut route, 1, "a", 1, 0);
    route.join(socket(2), at(20_000));
    route.read(socket(2), root(1), at(20_000));
    route.leave(socket(2), at(30_000));
    // Whoever that was is back, and brings what it announced to the earlier process.
    route.join(socket(3), at(30_500));
    let parked = payload(json!({ "o": "b", "r": root(2).as_str() }));
    route.park("b");
    route.take_in(left_behind(3, parked, number));
    crossing(route.next_work());
    route.finish(Outcome::Impossible);
    let bases = crossing(announce(&mut route, 3, "b", 3, 80_000)).bases;
    let anything = Base { root: Some(EMPTY_ROOT), trust: Trust::Open };
    assert_eq!(bases, [sure(2), unsure(1), anything]);
}

#[test]
fn whoever_is_back_may_have_read_what_somebody_read_whose_connection_is_still_there() {
    for is_first_gone in [true, false] {
        let mut route = route();
        announce(&mut route, 1, "a", 1, 0);
        announce(&mut route, 2, "b", 2, 10);
        route.finish(Outcome::Impossible);
        if is_first_gone {
            route.leave(socket(2), at(1_000));
        }
        // Both of its connections are broken, of which nobody has heard.
        route.join(socket(3), at(2_000));
        route.read(socket(3), root(1), at(2_000));
        let bases = crossing(announce(&mut route, 4, "b", 3, 9_000)).bases;
        assert_eq!(bases, [sure(2), unsure(1)], "{is_first_gone}");
    }
}

#[test]
fn of_what_was_read_so_much_is_remembered() {
    let mut route = route();
    let many = READS_MAX as u32 + 3;
    for number in 1..=many {
        announce(&mut route, 1, "a", number, 0);
    }
    (1..=many).for_each(|number| route.read(socket(2), root(number), at(1)));
    route.join(socket(2), at(1));
    (1..=many).for_each(|number| route.read(socket(2), root(number), at(1)));
    let bases = crossing(announce(&mut route, 2, "b", 99, 2)).bases;
    assert_eq!(bases[..2], [NOTHING, unsure(many - READS_MAX as u32 + 1)]);
    assert_eq!((bases.len(), bases[READS_MAX]), (READS_MAX + 1, unsure(many)));
}

#[test]
fn what_is_read_after_an_announcement_is_no_base_of_it() {
    let mut route = route();
    announce(&mut route, 1, "a", 1, 0);
    crossing(announce(&mut route, 2, "b", 2, 1));
    let later = payload(json!({ "o": "a", "r": root(3).as_str() }));
    assert_eq!(route.announce(socket(1), later, at(2)), Announced::Queued);
    route.finish(Outcome::Merged(root(4)));
    route.read(socket(1), root(4), at(3));
    assert_eq!(crossing(route.next_work()).bases, [sure(1)]);
    route.finish(Outcome::Merged(root(5)));
    // But of the next.
    assert_eq!(crossing(announce(&mut route, 1, "a", 6, 4)).bases, [sure(3), unsure(4)]);
}

#[test]
fn who_comes_back_may_send_what_it_made_before() {
    let mut route = after_reading(400);
    announce(&mut route, 1, "a", 3, 400);
    route.leave(socket(2), at(500));
    route.join(socket(3), at(900_000));
    let bases = crossing(announce(&mut route, 3, "b", 4, 900_000)).bases;
    assert_eq!(bases, [sure(1), unsure(2)]);
}

#[test]
fn what_nobody_knows_who_read_may_have_been_read_by_whoever_was_away() {
    let away = |left_ms: u64| {
        let mut route = after_reading(1);
        crossing(announce(&mut route, 2, "b", 3, 5_000));
        route.finish(Outcome::Impossible);
        route.leave(socket(2), at(left_ms));
        // A connection that announces nothing.
        route.join(socket(4), at(20_000));
        route.read(socket(4), root(3), at(20_000));
        announce(&mut route, 1, "a", 5, 20_000);
        route.finish(Outcome::Impossible);
        route.read(socket(4), root(5), at(20_000));
        route.leave(socket(4), at(30_000));
        announce(&mut route, 1, "a", 6, 30_000);
        crossing(announce(&mut route, 5, "b", 7, 900_000)).bases
    };
    assert_eq!(away(10_000), [sure(3), unsure(5)]);
    assert_eq!(away(20_000 + ms(SETTLED)), [sure(3)]);
}

#[test]
fn a_ref_that_names_the_latest_as_its_predecessor_is_a_fast_forward() {
    let mut route = route();
    announce(&mut route, 1, "a", 1, 0);
    let next = json!({ "o": "b", "r": root(2).as_str(), "p": ["x", root(1).as_str()] });
    route.announce(socket(2), payload(next), at(1));
    assert!(is_forwarded(route.next_work()));
}

#[test]
fn a_new_run_that_begins_with_a_tree_of_old_has_changed_nothing() {
    let mut route = route();
    for number in 1..=3 {
        announce(&mut route, 1, "a", number, u64::from(number));
    }
    let work = crossing(announce(&mut route, 2, "new", 2, 10));
    assert_eq!(work.bases, [sure(2)]);
    route.finish(Outcome::Merged(root(3)));
    // Who is known is known to go back.
    let work = crossing(announce(&mut route, 2, "new", 1, 20));
    assert_eq!(work.bases, [sure(2)]);
}

//! Who is told what: acknowledgements, bootstraps, gaps.

use super::*;
use crate::codec::rljson::EMPTY_ROOT;

/// Who is told of the latest ref by a bootstrap.
fn bootstrapped(route: &mut Route) -> Vec<u32> {
    bootstraps(&route.take_said()).into_iter().map(|(to, _)| to).collect()
}

#[test]
fn acknowledgements_are_counted() {
    let mut route = route();
    announce(&mut route, 1, "a", 1, 0);
    assert_eq!(acks(&route.take_said()), [(1, true, 0, 0)]);
    (2..=4).for_each(|member| route.join(socket(member), at(0)));
    announce(&mut route, 1, "a", 2, 100);
    for from in [1, 2, 2, 3, 9] {
        route.hear(socket(from), root(2).as_str());
    }
    assert_eq!(acks(&route.take_said()), []);
    route.hear(socket(4), "other");
    route.leave(socket(4), at(500));
    assert_eq!(acks(&route.take_said()), [(1, true, 2, 3)]);
    announce(&mut route, 1, "a", 3, 200);
    route.hear(socket(2), root(3).as_str());
    let due = 200 + ACK_WITHIN.as_millis() as u64;
    route.on_deadline(at(due - 1));
    assert_eq!(acks(&route.take_said()), []);
    assert!(route.deadline() <= Some(at(due)));
    route.on_deadline(at(due));
    assert_eq!(acks(&route.take_said()), [(1, false, 1, 2)]);
    // Who is gone is not answered.
    announce(&mut route, 1, "a", 4, 300);
    route.leave(socket(1), at(500));
    route.hear(socket(2), root(4).as_str());
    route.hear(socket(3), root(4).as_str());
    assert_eq!(acks(&route.take_said()), []);
}

#[test]
fn a_merged_ref_is_acknowledged_by_who_heard_what_came_of_it() {
    let mut route = route();
    announce(&mut route, 1, "a", 1, 0);
    crossing(announce(&mut route, 2, "b", 2, 1));
    route.take_said();
    route.finish(Outcome::Merged(root(3)));
    route.hear(socket(1), root(3).as_str());
    assert_eq!(acks(&route.take_said()), [(2, true, 1, 1)]);
}

#[test]
fn who_brings_nothing_new_is_told_the_latest_ref_and_nobody_else_is() {
    let mut route = route();
    announce(&mut route, 1, "a", 1, 0);
    route.join(socket(3), at(0));
    crossing(announce(&mut route, 2, "b", 2, 1));
    route.take_said();
    let change = route.finish(Outcome::Merged(root(1))).unwrap();
    assert_eq!(&**change.latest(), root(1).as_str());
    let said = route.take_said();
    let latest = json!({ "o": "__server__", "r": root(1).as_str(), "__origin": "__server__" });
    assert_eq!(refs(&said), [(vec![2], latest)]);
    assert_eq!(acks(&said), [(2, true, 2, 2)], "at once: nobody else hears of it");
}

#[test]
fn who_puts_an_older_tree_over_what_it_announced_is_told_of_that() {
    let told_again = |read_ms: &[u64], announced_ms: u64| {
        let mut route = route();
        announce(&mut route, 1, "a", 1, 0);
        route.join(socket(2), at(0));
        let read = |route: &mut Route, before: bool| {
            for ms in read_ms.iter().filter(|ms| (**ms < announced_ms) == before) {
                route.read(socket(2), root(1), at(*ms));
            }
        };
        read(&mut route, true);
        crossing(announce(&mut route, 2, "b", 2, announced_ms));
        route.take_said();
        route.finish(Outcome::Merged(root(2)));
        read(&mut route, false);
        let said = refs(&route.take_said()).into_iter();
        said.filter(|(to, payload)| to == &[2] && payload["r"] == root(2).as_str()).count()
    };
    assert_eq!(told_again(&[], 1_000), 0, "it has it");
    assert_eq!(told_again(&[1_300], 1_000), 1, "read afterwards");
    assert_eq!(told_again(&[900], 1_000), 1, "read just before");
    assert_eq!(told_again(&[500], 1_000), 0, "made from what was read");
}

#[test]
fn whose_tree_is_on_its_way_is_told_of_others_afterwards() {
    let mut route = route();
    (1..=3).for_each(|member| route.join(socket(member), at(0)));
    route.hold_back([socket(2)].into(), at(0));
    announce(&mut route, 1, "a", 1, 0);
    let said = route.take_said();
    assert_eq!(refs(&said)[0].0, [3]);
    route.hear(socket(3), root(1).as_str());
    assert_eq!(acks(&route.take_said()), [(1, true, 1, 1)], "nobody waits for it");
    route.on_deadline(at(50_000));
    assert!(!bootstrapped(&mut route).contains(&2));
    route.hold_back([].into(), at(60_000));
    route.on_deadline(at(60_900));
    assert_eq!(bootstrapped(&mut route), [2]);
}

#[test]
fn whose_tree_was_merged_while_it_was_told_nothing_is_told_without_being_asked() {
    let mut route = route();
    announce(&mut route, 1, "a", 1, 0);
    crossing(announce(&mut route, 2, "b", 2, 1));
    route.hold_back([socket(2)].into(), at(2));
    route.finish(Outcome::Merged(root(1)));
    route.hold_back([].into(), at(3));
    assert_eq!(asked(&mut route, 2, 1_000), [false], "it may have had that before its own");
    assert_eq!(asked(&mut route, 2, 60_000), [true], "it was told");
}

/// Of each time that a member is told the latest ref in the next deadline: whether it is asked first.
fn asked(route: &mut Route, member: u32, at_ms: u64) -> Vec<bool> {
    route.on_deadline(at(at_ms));
    let of = |said: &Said| match said {
        Said::Bootstrap { to, may_have, .. } if *to == socket(member) => Some(*may_have),
        _ => None,
    };
    route.take_said().iter().filter_map(of).collect()
}

#[test]
fn who_is_told_nothing_for_long_after_it_came_is_told_the_latest_ref_then() {
    let mut route = route();
    announce(&mut route, 1, "a", 1, 0);
    route.join(socket(2), at(0));
    route.hold_back([socket(2)].into(), at(0));
    // All the times at which it would have been told.
    for at_ms in [900, 2_000, 4_000, 7_000, 20_000] {
        route.on_deadline(at(at_ms));
    }
    route.take_said();
    route.hold_back([].into(), at(20_000));
    route.on_deadline(at(20_900));
    assert_eq!(bootstrapped(&mut route), [2]);
}

#[test]
fn who_says_late_that_it_has_an_older_tree_is_not_told_of_its_own() {
    let mut route = route();
    announce(&mut route, 1, "a", 1, 0);
    route.join(socket(2), at(0));
    crossing(announce(&mut route, 2, "b", 2, 1));
    route.finish(Outcome::Impossible);
    assert_eq!(route.latest().map(|latest| &**latest), Some(root(2).as_str()));
    // It was asked before it announced that.
    route.has(socket(2), &root(1).as_str().into());
    route.take_said();
    route.on_deadline(at(50_000));
    assert!(!bootstrapped(&mut route).contains(&2));
}

#[test]
fn what_is_fetched_of_an_earlier_connection_is_not_what_a_client_has() {
    let mut route = route();
    let number = route.number();
    announce(&mut route, 2, "new", 5, 0);
    let old = payload(json!({ "o": "old", "r": root(4).as_str() }));
    route.take_in(left_behind(2, old, number));
    crossing(route.next_work());
    route.take_said();
    route.finish(Outcome::Merged(root(5)));
    assert_eq!(refs(&route.take_said()), [], "it would put that over what it has changed since");
    route.hold_back([].into(), at(2));
    route.on_deadline(at(50_000));
    assert_eq!(bootstraps(&route.take_said()), []);
}

#[test]
fn who_has_put_another_tree_over_what_it_announced_on_an_earlier_connection_is_told_of_it() {
    let own = || payload(json!({ "o": "b", "r": root(2).as_str() }));
    for is_announced_by_another in [false, true] {
        let mut route = route();
        let number = route.number();
        announce(&mut route, 1, "a", 1, 0);
        if is_announced_by_another {
            crossing(announce(&mut route, 3, "c", 2, 0));
            route.finish(Outcome::Impossible);
        }
        route.join(socket(2), at(60_000));
        route.read(socket(2), root(1), at(60_000));
        route.take_said();
        route.take_in(left_behind(2, own(), number));
        if !is_announced_by_another {
            crossing(route.next_work());
            route.finish(Outcome::Impossible);
        }
        let said = refs(&route.take_said());
        let to_it = said.iter().filter(|(to, _)| to == &[2]).count();
        assert_eq!(to_it, 1, "{said:?}");
    }
}

#[test]
fn who_brings_an_older_tree_of_its_own_later_is_not_told_of_the_newer() {
    let mut route = route();
    let [older, newer] = [(); 2].map(|()| route.number());
    announce(&mut route, 1, "a", 1, 0);
    route.join(socket(2), at(60_000));
    route.hold_back([socket(2)].into(), at(60_000));
    // Each is of another run: it was started again.
    for (run, root_number, number) in [("c.2", 3, newer), ("c.1", 2, older)] {
        let payload = payload(json!({ "o": run, "r": root(root_number).as_str() }));
        route.take_in(left_behind(2, payload, number));
        crossing(route.next_work());
        route.finish(Outcome::Merged(root(3)));
    }
    route.hold_back([].into(), at(60_001));
    route.take_said();
    route.on_deadline(at(70_000));
    assert_eq!(bootstrapped(&mut route), [1]);
}

#[test]
fn whose_older_tree_is_taken_up_after_its_newest_is_told_of_it() {
    let mut route = route();
    let number = route.number();
    announce(&mut route, 2, "b", 3, 0);
    let older = payload(json!({ "o": "a", "r": root(2).as_str() }));
    route.take_in(left_behind(2, older, number));
    crossing(route.next_work());
    route.take_said();
    // What its newest has was part of it, or was decided against.
    route.finish(Outcome::Merged(root(2)));
    let told = refs(&route.take_said());
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0].0[..], &told[0].1["o"]), (&[2][..], &json!("__server__")));
}

#[test]
fn what_is_announced_once_more_is_not_acknowledged_for_what_was_left_behind() {
    let mut route = route();
    let number = route.number();
    route.join(socket(2), at(60_000));
    let own = payload(json!({ "o": "b", "r": root(2).as_str() }));
    let (same, other) = (root(2).as_str().into(), root(3).as_str().into());
    for (by, acknowledged) in [(&same, 0), (&other, 1)] {
        route.replace(&left_behind(2, own.clone(), number), by);
        assert_eq!(acks(&route.take_said()).len(), acknowledged);
        assert_eq!(route.take_ended().len(), 1);
    }
}

#[test]
fn who_has_put_another_tree_over_it_on_the_connection_before_is_told() {
    let mut route = route();
    announce(&mut route, 1, "a", 1, 0);
    let slow = payload(json!({ "o": "b", "p": [root(1).as_str()], "r": root(2).as_str() }));
    let number = route.expect(socket(2), &slow, at(10));
    route.read(socket(2), root(1), at(20));
    // That connection is broken, which nobody has seen.
    route.join(socket(3), at(1_000));
    route.take_said();
    let (from, is_orphan) = (socket(2), false);
    route.take_in(Announcement { is_orphan, ..Announcement::new(from, slow, at(10), number) });
    assert!(is_forwarded(route.next_work()));
    let told = refs(&route.take_said());
    assert!(told.iter().any(|(to, said)| to == &[3] && said["o"] == "__server__"), "{told:?}");
}

#[test]
fn who_may_take_it_for_its_own_is_told_by_the_server_or_asked() {
    let mut route = route();
    announce(&mut route, 1, "a", 1, 0);
    let slow = payload(json!({ "o": "b", "p": [root(1).as_str()], "r": root(2).as_str() }));
    let number = route.expect(socket(2), &slow, at(10));
    // Its connection was broken, and it came again before that was seen; another came as well.
    (3..=5).for_each(|member| route.join(socket(member), at(1_000)));
    route.read(socket(3), root(1), at(1_000));
    route.expect(socket(5), &payload(json!({ "o": "e", "r": "any" })), at(1_000));
    route.take_said();
    let (from, is_orphan) = (socket(2), false);
    route.take_in(Announcement { is_orphan, ..Announcement::new(from, slow, at(10), number) });
    assert!(is_forwarded(route.next_work()));
    let told = refs(&route.take_said());
    let by: Vec<_> = told.iter().map(|(to, said)| (&to[..], said["o"].as_str())).collect();
    assert_eq!(by, [(&[1, 5][..], Some("b")), (&[3], Some("__server__"))]);
    route.hold_back([].into(), at(60_000));
    route.on_deadline(at(70_000));
    assert!(bootstrapped(&mut route).contains(&4));
}

#[test]
fn who_is_back_and_has_read_an_older_tree_since_is_told_without_being_asked() {
    for is_asked_before in [false, true] {
        let mut route = route();
        announce(&mut route, 1, "a", 1, 0);
        let slow = payload(json!({ "o": "b", "p": [root(1).as_str()], "r": root(2).as_str() }));
        let number = route.expect(socket(2), &slow, at(10));
        route.join(socket(3), at(1_000));
        // It was told of the older tree just before the newer one was here, which may be its own.
        route.take_in(Announcement::new(socket(2), slow, at(10), number));
        assert!(is_forwarded(route.next_work()));
        route.hold_back([].into(), at(60_000));
        if is_asked_before {
            assert_eq!(asked(&mut route, 3, 61_000), [true]);
        }
        route.read(socket(3), root(1), at(61_000));
        route.has(socket(3), &root(2).as_str().into());
        assert!(route.bootstrap_of(socket(3)).is_some());
        assert_eq!(asked(&mut route, 3, 70_000), [false]);
        route.read(socket(3), root(2), at(71_000));
        assert!(asked(&mut route, 3, 80_000).is_empty());
    }
}

#[test]
fn there_are_so_many_acknowledgements_at_once() {
    let mut route = route();
    route.join(socket(2), at(0));
    for number in 0..=ACKS_MAX as u32 {
        announce(&mut route, 1, "a", number, 0);
    }
    assert_eq!(acks(&route.take_said()), [(1, false, 0, 1)]);
}

#[test]
fn whoever_lacks_the_latest_ref_is_told_of_it_four_times() {
    let mut route = route();
    announce(&mut route, 1, "a", 1, 0);
    route.join(socket(2), at(1_000));
    let mut told = Vec::new();
    for ms in 0..10_000 {
        route.on_deadline(at(ms));
        let said = bootstraps(&route.take_said());
        told.extend(said.into_iter().map(|(to, payload)| (ms, to, payload)));
    }
    let payload = json!({ "o": "__server__", "r": root(1).as_str() });
    let expected = [1_900, 3_000, 5_000, 8_000].map(|ms| (ms, 2, payload.clone()));
    assert_eq!(told, expected);
    assert_eq!(route.deadline(), None);
}

#[test]
fn whoever_has_the_latest_ref_is_not_told_of_it() {
    let mut route = route();
    announce(&mut route, 1, "a", 1, 0);
    (2..=4).for_each(|member| route.join(socket(member), at(0)));
    // One read it, one announced it, one left, and one has something else that is to be merged.
    route.read(socket(2), root(1), at(1));
    assert_eq!(announce(&mut route, 3, "c", 1, 1), None);
    route.leave(socket(4), at(500));
    crossing(announce(&mut route, 5, "e", 2, 2));
    route.take_said();
    route.on_deadline(at(3_000));
    assert_eq!(bootstraps(&route.take_said()), []);
    // Late, and once for all that is due.
    route.finish(Outcome::Merged(root(3)));
    route.read(socket(1), root(3), at(3_001));
    route.take_said();
    route.on_deadline(at(60_000));
    assert_eq!(bootstrapped(&mut route), [2, 3, 5]);
}

#[test]
fn gaps_are_filled_with_what_others_announced() {
    let mut route = route();
    for (from, origin, seq) in [(1, "a", 1), (2, "b", 1), (2, "b", 2), (1, "a", 2)] {
        let payload = payload(json!({ "o": origin, "r": format!("{origin}{seq}"), "seq": seq }));
        route.announce(socket(from), payload, at(0));
        assert!(is_forwarded(route.next_work()));
    }
    let ask = |how, after| -> Value {
        serde_json::from_str(&route.gap_fill(how, socket(1), after)).unwrap()
    };
    assert_eq!(ask(GapFill::Empty, 0), json!([]));
    let b = |seq: u32| json!({ "o": "b", "r": format!("b{seq}"), "seq": seq });
    assert_eq!(ask(GapFill::Replay, 0), json!([b(1), b(2)]));
    assert_eq!(ask(GapFill::Replay, 1), json!([b(2)]));
}

#[test]
fn the_log_is_bounded() {
    let mut route = route();
    let filler = "x".repeat(2_000);
    for seq in 1..2_000 {
        let text = if seq < 1_000 { &*filler } else { "" };
        let value = json!({ "o": "a", "r": format!("r{seq}"), "seq": seq, "more": text });
        route.announce(socket(1), payload(value), at(0));
        route.next_work();
    }
    let missed: Value =
        serde_json::from_str(&route.gap_fill(GapFill::Replay, socket(2), 0)).unwrap();
    let missed = missed.as_array().unwrap();
    assert_eq!((missed.len(), &missed[199]["seq"]), (GAP_FILL_REFS_MAX, &json!(1_999)));
    let kept = route.kept(usize::MAX);
    assert_eq!((kept.len(), &*kept[0]), (LOG_REFS_MAX, "r1999"));
    assert_eq!(route.kept(2).len(), 2);
}

#[test]
fn who_has_the_number_of_one_who_is_gone_is_not_taken_for_it() {
    for is_merging in [true, false] {
        let mut route = route();
        announce(&mut route, 1, "a", 1, 0);
        say(&mut route, 1, "a", 2, 1);
        say(&mut route, 2, "b", 3, 2);
        if is_merging {
            assert!(is_forwarded(route.next_work()));
            crossing(route.next_work());
        }
        route.leave(socket(2), at(3));
        route.join(socket(2), at(3));
        if !is_merging {
            assert!(is_forwarded(route.next_work()));
            crossing(route.next_work());
        }
        route.take_said();
        route.finish(Outcome::Impossible);
        route.hear(socket(1), root(3).as_str());
        route.hear(socket(2), root(3).as_str());
        let said = route.take_said();
        assert_eq!(refs(&said)[0].0, [1]);
        assert_eq!(acks(&said), []);
        route.on_deadline(at(10_000));
        assert!(bootstrapped(&mut route).contains(&2));
    }
}

#[test]
fn who_has_read_the_latest_tree_while_its_own_was_fetched_is_told_of_its_own() {
    let mut route = route();
    let empty = payload(json!({ "o": "a", "r": EMPTY_ROOT.as_str() }));
    route.announce(socket(1), empty, at(0));
    assert!(is_forwarded(route.next_work()));
    let own = payload(json!({ "o": "b", "r": root(2).as_str() }));
    let number = route.expect(socket(2), &own, at(10));
    route.read(socket(2), EMPTY_ROOT, at(1_000));
    route.take_said();
    let (from, is_orphan) = (socket(2), false);
    route.take_in(Announcement { is_orphan, ..Announcement::new(from, own, at(10), number) });
    crossing(route.next_work());
    route.finish(Outcome::Merged(root(2)));
    let told: Vec<Vec<u32>> = refs(&route.take_said()).into_iter().map(|(to, _)| to).collect();
    assert_eq!(told, [[1], [2]]);
}

//! What becomes of payloads, and whose turn it is.

use super::*;

#[test]
fn payloads_are_handed_on_with_whatever_they_hold() {
    let text = r#" {"o":"1:a", "r":"x\u0079", "new":{"k":[1, 2]}, "seq":3 } "#;
    let payload = Payload::read(json::parse(text, 9).unwrap()).unwrap();
    assert_eq!(&**payload.reference(), "xy");
    let relayed = payload.relayed("client_0_1");
    let expected =
        r#"{"o":"1:a", "r":"x\u0079", "new":{"k":[1, 2]}, "seq":3 ,"__origin":"client_0_1"}"#;
    assert_eq!(relayed, expected);
}

#[test]
fn payloads_that_are_none_are_refused() {
    let read = |text: &str| Payload::read(json::parse(text, 64).unwrap());
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    for bad in [
        "{}".to_owned(),
        r#"{"r":5}"#.to_owned(),
        r#"{"r":""}"#.to_owned(),
        format!(r#"{{"r":"{long}"}}"#),
        format!(r#"{{"r":"x","o":"{long}"}}"#),
        format!(r#"{{"r":"x","c":"{long}"}}"#),
    ] {
        assert_eq!(read(&bad), Err(PayloadError::Name), "{bad}");
    }
    assert_eq!(read(r#"{"r":"x","__origin":"y"}"#), Err(PayloadError::Relayed));
    assert!(matches!(read("[]"), Err(PayloadError::Json(_))));
    let deep = format!(r#"{{"r":"x","d":{}1{}}}"#, "[".repeat(40), "]".repeat(40));
    assert!(matches!(read(&deep), Err(PayloadError::Json(_))));
    let huge = format!(r#"{{"r":"x","d":"{}"}}"#, "x".repeat(PAYLOAD_BYTES_MAX));
    assert_eq!(read(&huge), Err(PayloadError::TooLarge));
}

#[test]
fn a_ref_goes_to_all_but_its_sender() {
    let mut route = route();
    (1..=3).for_each(|member| route.join(socket(member), at(0)));
    assert!(is_forwarded(announce(&mut route, 1, "a", 1, 1)));
    let expected = json!({ "o": "a", "r": root(1).as_str(), "__origin": "client_1_0" });
    assert_eq!(refs(&route.take_said()), [(vec![2, 3], expected)]);
    assert_eq!(route.latest().map(|latest| &**latest), Some(root(1).as_str()));
}

#[test]
fn only_the_latest_ref_is_a_repetition() {
    let mut route = route();
    route.join(socket(2), at(0));
    assert!(is_forwarded(announce(&mut route, 1, "a", 1, 1)));
    route.take_said();
    assert_eq!(announce(&mut route, 1, "a", 1, 2), None);
    let said = route.take_said();
    assert_eq!((refs(&said).len(), acks(&said)), (0, vec![(1, true, 1, 1)]));
    assert!(is_forwarded(announce(&mut route, 1, "a", 2, 3)));
    // Back to what it was.
    assert!(is_forwarded(announce(&mut route, 1, "a", 1, 4)));
    assert_eq!(refs(&route.take_said()).len(), 2);
}

#[test]
fn what_was_not_made_from_the_latest_ref_is_merged() {
    let mut route = route();
    assert!(is_forwarded(announce(&mut route, 1, "a", 1, 1)));
    // A late joiner, which announces before it knows of anything.
    let late = crossing(announce(&mut route, 2, "b", 2, 2));
    let (latest, announced) = (root(1), root(2));
    assert_eq!(late, Crossing { from: socket(2), bases: vec![NOTHING], latest, announced });
    assert_eq!(route.next_work(), None);
    route.take_said();
    route.finish(Outcome::Merged(root(3))).unwrap();
    let expected = json!({ "o": "__server__", "r": root(3).as_str(), "__origin": "__server__" });
    assert_eq!(refs(&route.take_said()), [(vec![1, 2], expected)]);
    // Both have not seen it yet.
    assert_eq!(crossing(announce(&mut route, 1, "a", 4, 3)).bases, [sure(1)]);
    route.finish(Outcome::Merged(root(5)));
    assert_eq!(crossing(announce(&mut route, 2, "b", 6, 3)).bases, [sure(2)]);
    // Nothing new came of it.
    route.take_said();
    let change = route.finish(Outcome::Merged(root(5))).unwrap();
    assert_eq!(&**change.latest(), root(5).as_str());
    assert_eq!(refs(&route.take_said()).len(), 1);
}

#[test]
fn a_merge_that_is_impossible_or_needs_nothing_is_a_fast_forward() {
    for outcome in [Outcome::Impossible, Outcome::Merged(root(2))] {
        let mut route = route();
        announce(&mut route, 1, "a", 1, 1);
        crossing(announce(&mut route, 2, "b", 2, 2));
        route.take_said();
        route.finish(outcome).unwrap();
        assert_eq!(refs(&route.take_said())[0].0, [1]);
        assert_eq!(route.latest().map(|latest| &**latest), Some(root(2).as_str()));
    }
    assert_eq!(route().finish(Outcome::Impossible), None);
}

#[test]
fn what_cannot_be_had_changes_nothing() {
    let mut route = route();
    announce(&mut route, 1, "a", 1, 1);
    crossing(announce(&mut route, 2, "b", 2, 2));
    route.take_said();
    assert_eq!(route.finish(Outcome::Dropped), None);
    let said = route.take_said();
    assert_eq!((refs(&said).len(), acks(&said)), (0, vec![(2, false, 0, 0)]));
    assert_eq!(route.latest().map(|latest| &**latest), Some(root(1).as_str()));
    // It is no base of what comes next, and its sender is told of the latest.
    route.on_deadline(at(60_000));
    assert_eq!(bootstraps(&route.take_said()).len(), 1);
    assert_eq!(crossing(announce(&mut route, 2, "b", 3, 3)).bases, [NOTHING]);
}

#[test]
fn refs_that_are_no_roots_are_forwarded() {
    let mut route = route();
    for (from, reference) in [(1, "x"), (2, "y"), (1, "\u{e9}\"")] {
        let payload = payload(json!({ "o": from.to_string(), "r": reference }));
        route.announce(socket(from), payload, at(0));
        assert!(is_forwarded(route.next_work()));
    }
}

#[test]
fn of_each_run_only_the_newest_payload_waits() {
    let mut route = route();
    announce(&mut route, 1, "a", 1, 0);
    crossing(announce(&mut route, 2, "b", 2, 1));
    route.take_said();
    for number in 3..6 {
        assert_eq!(say(&mut route, 3, "c", number, 2), Announced::Queued);
    }
    // Whoever waits for acknowledgements of the others gets them.
    assert_eq!(acks(&route.take_said()), [(3, true, 2, 2); 2]);
    route.finish(Outcome::Merged(root(9)));
    assert_eq!(crossing(route.next_work()).announced, root(5));
    route.finish(Outcome::Merged(root(5_000)));
    assert_eq!(route.next_work(), None);
}

#[test]
fn who_has_read_a_tree_has_all_its_payloads_wait() {
    let mut route = after_reading(1);
    crossing(announce(&mut route, 3, "c", 10, 2));
    for number in 11..11 + QUEUE_OF_RUN_MAX as u32 + 2 {
        assert_eq!(say(&mut route, 2, "b", number, 3), Announced::Queued);
    }
    let mut announced = Vec::new();
    route.finish(Outcome::Merged(root(99)));
    while let Some(work) = route.next_work() {
        announced.push(crossing(Some(work)).announced);
        route.finish(Outcome::Merged(root(99 + announced.len() as u32)));
    }
    let first = (11..11 + QUEUE_OF_RUN_MAX as u32 - 1).map(root);
    assert_eq!(announced, first.chain([root(12 + QUEUE_OF_RUN_MAX as u32)]).collect::<Vec<_>>());
}

#[test]
fn so_many_wait() {
    let mut route = route();
    announce(&mut route, 1, "a", 1, 0);
    crossing(announce(&mut route, 2, "b", 11, 3));
    for number in 0..=QUEUE_MAX as u32 {
        let is_full = number == QUEUE_MAX as u32;
        let expected = if is_full { Announced::Refused } else { Announced::Queued };
        let origin = format!("o{number}");
        assert_eq!(say(&mut route, 4, &origin, 100 + number, 4), expected, "{number}");
    }
    let mut route = self::route();
    announce(&mut route, 1, "a", 1, 0);
    crossing(announce(&mut route, 2, "b", 11, 3));
    let filler = "x".repeat(PAYLOAD_BYTES_MAX / 2);
    let refused = (0..QUEUE_MAX).find(|number| {
        let value = json!({ "o": number.to_string(), "r": root(12).as_str(), "x": filler });
        route.announce(socket(4), payload(value), at(4)) == Announced::Refused
    });
    let refused = refused.unwrap();
    assert!((120..=128).contains(&refused), "{refused}");
}

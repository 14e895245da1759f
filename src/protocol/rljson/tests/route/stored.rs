//! Routes on their way to the disk and back.

use proptest::prelude::*;

use super::*;
use crate::codec::lib0::Reader;

#[test]
fn a_stored_route_goes_on_where_it_was() {
    let mut route = route();
    announce(&mut route, 1, "a", 1, 0);
    crossing(announce(&mut route, 2, "b", 2, 1));
    route.finish(Outcome::Merged(root(3)));
    let mut record = Vec::new();
    route.write(&mut record);
    let Some(Work::Forwarded(change)) = announce(&mut route, 3, "c", 3, 2).or_else(|| {
        route.read(socket(2), root(3), at(2));
        announce(&mut route, 2, "b", 4, 100_000)
    }) else {
        panic!("not forwarded")
    };
    let mut entry = Vec::new();
    change.write(&mut entry);

    let mut again = Route::new(PACE);
    again.restore(&mut Reader::new(&record)).unwrap();
    assert_eq!(again.latest().map(|latest| &**latest), Some(root(3).as_str()));
    let read = Change::read(&mut Reader::new(&entry)).unwrap();
    assert_eq!(read, change);
    again.apply(&read).unwrap();
    assert_eq!(again.latest(), route.latest());
    assert_eq!(again.kept(10), route.kept(10));
    // Who made the latest goes on from it, others from what they had.
    assert!(is_forwarded(announce(&mut again, 7, "b", 5, 0)));
    assert_eq!(crossing(announce(&mut again, 8, "a", 6, 0)).bases, [sure(1)]);
    for cut in 0..record.len() {
        assert!(Route::new(PACE).restore(&mut Reader::new(&record[..cut])).is_err(), "{cut}");
    }
}

#[test]
fn what_a_run_has_read_is_known_after_a_restart() {
    let after = |left_ms: Option<u64>, waits_ms: u64| {
        let mut route = after_reading(1_000);
        let mut by_journal = restored(&stored(&route)).unwrap();
        left_ms.into_iter().for_each(|ms| route.leave(socket(2), at(ms)));
        route.on_deadline(at(1_000 + waits_ms));
        for reads in route.take_reads() {
            let mut entry = Vec::new();
            reads.write(&mut entry);
            let read = Reads::read(&mut Reader::new(&entry)).unwrap();
            assert_eq!(read, reads);
            by_journal.apply_reads(read);
            for cut in 0..entry.len() {
                assert!(Reads::read(&mut Reader::new(&entry[..cut])).is_err(), "{cut}");
            }
        }
        [by_journal, restored(&stored(&route)).unwrap()]
    };
    let (settled, announces) = (ms(SETTLED), |mut route| announce(&mut route, 7, "b", 3, 5));
    for route in after(None, settled - 1) {
        assert_eq!(crossing(announces(route)).bases, [sure(1), unsure(2)], "at the crash");
    }
    for route in after(Some(30_000), 2 * settled) {
        assert_eq!(crossing(announces(route)).bases, [sure(1), unsure(2)], "it had gone before");
    }
    for route in after(None, settled) {
        assert!(is_forwarded(announces(route)), "it is in place");
    }
    // Nor is it a base of what comes after that.
    for mut route in after(None, settled) {
        announce(&mut route, 7, "b", 3, 5);
        announce(&mut route, 8, "d", 9, 6);
        route.finish(Outcome::Merged(root(10)));
        let again = restored(&stored(&route)).unwrap();
        assert_eq!(crossing(announces(again)).bases, [sure(3)]);
    }
}

#[test]
fn a_route_that_was_stored_without_reads_can_be_read() {
    let mut record = vec![1, 1, b'r', 0, 1, 1, b'a', 1, b'o'];
    assert_eq!(restored(&record).unwrap().latest().map(|latest| &**latest), Some("r"));
    record[0] = 3;
    assert_eq!(restored(&record).unwrap_err(), StoredError::Version(3));
    let too_many = [vec![2, 1, b'r', 0, 1, 1, b'a', 1, b'o', 5], [1, b'x', 0].repeat(5)];
    assert_eq!(restored(&too_many.concat()).unwrap_err(), StoredError::Reads);
}

/// A route after some announcements: by whom, in which run, of what, read before by whom.
fn after(announcements: &[(u32, u8, u32, Option<u32>)]) -> Route {
    let mut route = route();
    for (number, &(from, origin, announced, reader)) in announcements.iter().enumerate() {
        let at_ms = number as u64 * 7_000;
        if let Some(reader) = reader
            && let Some(latest) = route.latest().and_then(|latest| root_of(latest))
        {
            route.join(socket(reader), at(at_ms));
            route.read(socket(reader), latest, at(at_ms));
        }
        // Some tell no run, and some announce no roots.
        let origin = if origin == 0 { String::new() } else { format!("{origin}\u{e9}\"") };
        let reference =
            if announced == 0 { "\u{e9}".to_owned() } else { root(announced).to_string() };
        let value = json!({ "o": origin, "r": reference, "seq": number });
        route.announce(socket(from), payload(value), at(at_ms));
        while let Some(work) = route.next_work() {
            if let Work::Merge(crossing) = work {
                let merged = if announced % 3 == 0 {
                    Outcome::Impossible
                } else {
                    Outcome::Merged(root(announced + 50))
                };
                assert!(!crossing.bases.is_empty());
                route.finish(merged).unwrap();
            }
        }
    }
    route
}

fn stored(route: &Route) -> Vec<u8> {
    let mut record = Vec::new();
    route.write(&mut record);
    record
}

fn restored(record: &[u8]) -> Result<Route, StoredError> {
    let mut route = route();
    route.restore(&mut Reader::new(record)).map(|()| route)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_stored_comes_back(
        announcements in proptest::collection::vec((0..4_u32, 0..4_u8, 0..9_u32, proptest::option::of(0..4_u32)), 0..30),
    ) {
        let mut route = after(&announcements);
        let record = stored(&route);
        let mut again = restored(&record).unwrap();
        prop_assert_eq!(stored(&again), &record[..]);
        prop_assert_eq!(again.latest(), route.latest());
        prop_assert_eq!(again.kept(usize::MAX), route.kept(usize::MAX));
        // And the change that is recorded next.
        let change = match announce(&mut route, 9, "new", 99, 1_000_000) {
            Some(Work::Forwarded(change)) => change,
            _ => route.finish(Outcome::Impossible).unwrap(),
        };
        let mut entry = Vec::new();
        change.write(&mut entry);
        let read = Change::read(&mut Reader::new(&entry)).unwrap();
        prop_assert_eq!(&read, &change);
        again.apply(&read).unwrap();
        prop_assert_eq!(again.latest(), route.latest());
    }

    #[test]
    fn whatever_is_stored_it_does_not_panic(
        announcements in proptest::collection::vec((0..4_u32, 0..4_u8, 0..9_u32, proptest::option::of(0..4_u32)), 0..9),
        bytes: Vec<u8>, cut: prop::sample::Index,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 0..5),
    ) {
        let record = stored(&after(&announcements));
        prop_assert!(restored(&record[..cut.index(record.len())]).is_err());
        let mut changed = record;
        for (at, flip) in flips {
            let at = at.index(changed.len());
            changed[at] ^= flip;
        }
        for record in [&changed, &bytes] {
            let Ok(change) = Change::read(&mut Reader::new(record)) else { continue };
            let _ = route().apply(&change);
        }
        for record in [&changed, &bytes] {
            let Ok(mut again) = restored(record) else { continue };
            // It goes on, whatever it is.
            prop_assert_eq!(stored(&restored(&stored(&again)).unwrap()), stored(&again));
            announce(&mut again, 9, "new", 99, 1_000_000);
            again.kept(usize::MAX);
            again.on_deadline(at(2_000_000));
        }
    }
}

//! What the sessions of a simulation did, noted down as they did it: a panic of theirs would only
//! end a session.
//!
//! Whatever goes from one session to another, members and messages alike, is numbered by its
//! sender, so that one that is lost, doubled or overtaken shows where it arrives, or in the end.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// Where a client is, as the sessions see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Seated(String),
    /// On its way to this session.
    UnderWay(String),
}

#[derive(Debug, Default)]
struct Ledger {
    faults: Vec<String>,
    places: BTreeMap<u32, Place>,
    /// The number of the last message that was applied for a client.
    applied: BTreeMap<u32, u64>,
    /// Passages sent and arrived, by their sessions.
    passages: BTreeMap<(String, String), (u64, u64)>,
    panics: u64,
}

thread_local! {
    static LEDGER: RefCell<Ledger> = RefCell::default();
}

fn with<R>(work: impl FnOnce(&mut Ledger) -> R) -> R {
    LEDGER.with_borrow_mut(work)
}

/// Forgets everything.
pub(super) fn clear() {
    with(|ledger| *ledger = Ledger::default());
}

/// Something happened that must not.
pub(super) fn fault(text: String) {
    with(|ledger| ledger.faults.push(text));
}

/// Panics because a client asked for it.
pub(super) fn panic_as_asked() -> ! {
    with(|ledger| ledger.panics += 1);
    panic!("a panic that a test asked for")
}

/// Panics that clients asked for.
pub(super) fn panics() -> u64 {
    with(|ledger| ledger.panics)
}

/// A session sends another something; its number.
pub(super) fn sent(from: &str, to: &str) -> u64 {
    with(|ledger| {
        let pair = ledger.passages.entry((from.to_owned(), to.to_owned())).or_default();
        pair.0 += 1;
        pair.0
    })
}

/// It has arrived.
pub(super) fn arrived(from: &str, to: &str, number: u64) {
    let expected = with(|ledger| {
        let pair = ledger.passages.entry((from.to_owned(), to.to_owned())).or_default();
        pair.1 += 1;
        pair.1
    });
    if number != expected {
        fault(format!("{from} to {to}: number {number} came as number {expected}"));
    }
}

/// A client takes a seat; it must have been `before`.
pub(super) fn seated(client: u32, session: &str, before: Option<&Place>) {
    let place = Place::Seated(session.to_owned());
    let found = with(|ledger| ledger.places.insert(client, place));
    if found.as_ref() != before {
        fault(format!("client {client} enters {session}, and was {found:?}, not {before:?}"));
    }
}

/// A client leaves its seat, for another session or for good.
pub(super) fn left(client: u32, session: &str, to: Option<&str>) {
    let found = with(|ledger| match to {
        Some(to) => ledger.places.insert(client, Place::UnderWay(to.to_owned())),
        None => ledger.places.remove(&client),
    });
    if found != Some(Place::Seated(session.to_owned())) {
        fault(format!("client {client} leaves {session}, and was {found:?}"));
    }
}

/// A client's message is applied.
pub(super) fn applied(client: u32, number: u64) {
    let last = with(|ledger| ledger.applied.insert(client, number)).unwrap_or(0);
    if number != last + 1 {
        fault(format!("client {client}: message {number} came after {last}"));
    }
}

pub(super) fn place(client: u32) -> Option<Place> {
    with(|ledger| ledger.places.get(&client).cloned())
}

/// The number of the last message that was applied.
pub(super) fn last_applied(client: u32) -> u64 {
    with(|ledger| ledger.applied.get(&client).copied().unwrap_or(0))
}

/// Fails the test if anything went wrong.
pub(super) fn check() {
    with(|ledger| assert!(ledger.faults.is_empty(), "{:#?}", ledger.faults));
}

/// Fails the test if anything is still on its way, or anybody is still there.
pub(super) fn check_empty() {
    check();
    with(|ledger| {
        assert_eq!(ledger.places, BTreeMap::new());
        let lost = ledger.passages.iter().find(|(_, (sent, arrived))| sent != arrived);
        assert_eq!(lost, None);
    });
}

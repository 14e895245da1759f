//! Documents are what yrs makes of the same updates, in whatever order they come.

use yrs::block::ClientID;
use yrs::types::{Attrs, ToJson};
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{
    Any, Array, Doc, GetString, Map, MapPrelim, OffsetKind, Options, ReadTxn,
    StateVector as YrsStateVector, Text, Transact, XmlElementPrelim, XmlFragment,
};

use super::{item, rich_document, state_of, string, update_of};
use crate::codec::ysync::{
    Document, PENDING_MAX, Refusal, Taken, check_state_vector, check_update,
};

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 11
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }
}

/// A document of yrs, which counts as clients do.
fn editor(client: u64) -> Doc {
    let options = Options::with_guid_and_client_id("".into(), ClientID::new(client));
    let doc = Doc::with_options(Options { offset_kind: OffsetKind::Utf16, ..options });
    doc.get_or_insert_text("text");
    doc.get_or_insert_map("map");
    doc.get_or_insert_array("array");
    doc.get_or_insert_xml_fragment("xml");
    doc
}

fn apply(doc: &Doc, update: &[u8]) {
    let update = yrs::Update::decode_v1(update).expect("an update");
    doc.transact_mut().apply_update(update).expect("an update that fits");
}

/// Something that a person might do, whose cursor is there; the update.
fn edit(doc: &Doc, cursor: &mut u32, random: &mut Random) -> Vec<u8> {
    let (text, map) = (doc.get_or_insert_text("text"), doc.get_or_insert_map("map"));
    let (array, xml) = (doc.get_or_insert_array("array"), doc.get_or_insert_xml_fragment("xml"));
    let mut txn = doc.transact_mut();
    let len = text.len(&txn);
    let key = ["a", "b", "c"][random.below(3)];
    match random.below(12) {
        0..4 => {
            // People go on where they were, while others write at the same place.
            let at = if random.below(4) > 0 { *cursor } else { random.next() as u32 };
            let at = if len == 0 { 0 } else { at % (len + 1) };
            let typed = ["x", "word ", "\u{E9}\u{20AC}"][random.below(3)];
            text.insert(&mut txn, at, typed);
            *cursor = at + typed.encode_utf16().count() as u32;
        }
        4 => text.insert(&mut txn, len, "and so on"),
        5 | 6 if len > 0 => {
            let at = random.below(len as usize) as u32;
            let count = 1 + random.below((len - at).min(6) as usize) as u32;
            text.remove_range(&mut txn, at, count);
        }
        7 if len > 1 => {
            let bold = Attrs::from([("bold".into(), random.below(2).eq(&0).into())]);
            text.format(&mut txn, random.below(len as usize - 1) as u32, 1, bold);
        }
        8 => drop(map.insert(&mut txn, key, random.next() as f64)),
        9 => drop(map.remove(&mut txn, key)),
        10 => {
            let at = random.below(array.len(&txn) as usize + 1) as u32;
            array.insert_range(&mut txn, at, [1_i64, 2, 3].map(Any::from));
            if random.below(3) == 0 {
                array.insert(&mut txn, at, MapPrelim::from([("k", "v")]));
            }
        }
        11 if array.len(&txn) > 2 => array.remove_range(&mut txn, 1, 2),
        _ => {
            let at = random.below(xml.len(&txn) as usize + 1) as u32;
            xml.insert(&mut txn, at, XmlElementPrelim::empty("p"));
            if random.below(2) == 0 {
                xml.remove_range(&mut txn, 0, 1);
            }
        }
    }
    txn.encode_update_v1()
}

/// Everything there is to see of a document.
fn look(doc: &Doc) -> (String, String, Any, Any, Vec<u8>) {
    let (text, map) = (doc.get_or_insert_text("text"), doc.get_or_insert_map("map"));
    let (array, xml) = (doc.get_or_insert_array("array"), doc.get_or_insert_xml_fragment("xml"));
    let txn = doc.transact();
    let mut vector: Vec<_> =
        txn.state_vector().iter().map(|(client, clock)| (client.get(), clock.to_owned())).collect();
    vector.sort_unstable();
    let vector = format!("{vector:?}").into_bytes();
    let (map, array) = (map.to_json(&txn), array.to_json(&txn));
    (text.get_string(&txn), xml.get_string(&txn), map, array, vector)
}

/// A document of yrs made of these updates.
fn made_of<'a>(updates: impl IntoIterator<Item = &'a [u8]>) -> Doc {
    let doc = editor(999);
    updates.into_iter().for_each(|update| apply(&doc, update));
    doc
}

/// Updates of a few people who hear each other now and then, in the order they were made.
fn history(random: &mut Random, edits: usize) -> Vec<Vec<u8>> {
    let people: Vec<Doc> = (1..=4).map(editor).collect();
    let mut updates: Vec<Vec<u8>> = Vec::new();
    let (mut heard, mut cursors) = ([0; 4], [0; 4]);
    for _ in 0..edits {
        let who = random.below(4);
        if random.below(3) == 0 {
            updates[heard[who]..].iter().for_each(|update| apply(&people[who], update));
            heard[who] = updates.len();
        }
        updates.push(edit(&people[who], &mut cursors[who], random));
    }
    updates
}

#[test]
fn a_document_is_what_yrs_makes_of_its_updates() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let updates = history(&mut random, 150);
        let mut document = Document::new();
        for (count, update) in updates.iter().enumerate() {
            let taken = document.take(update).expect("an update of a client");
            assert_ne!(taken, Taken::Waiting, "seed {seed}");
            if random.below(20) == 0 {
                document.collect();
                document.invariants();
            }
            if random.below(40) == 0 {
                let known = made_of(updates[..=count].iter().map(|update| &**update));
                let told = made_of([&*document.whole()]);
                assert_eq!(look(&told), look(&known), "seed {seed}, {count} updates");
            }
            assert_eq!(document.take(update), Ok(Taken::Known), "seed {seed}");
        }
        document.collect();
        document.invariants();
        let whole = document.whole();
        check_update(&whole).expect("what is told is sound");
        let known = made_of(updates.iter().map(|update| &**update));
        assert_eq!(look(&made_of([&*whole])), look(&known), "seed {seed}");
        let again = Document::load(&whole).expect("a document");
        assert_eq!(again.whole(), whole, "seed {seed}");
    }
}

#[test]
fn the_order_of_updates_does_not_matter() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let updates = history(&mut random, 100);
        let known = made_of(updates.iter().map(|update| &**update));
        let mut shuffled: Vec<&Vec<u8>> = updates.iter().collect();
        for at in (1..shuffled.len()).rev() {
            shuffled.swap(at, random.below(at + 1));
        }
        let (mut document, mut has_waited) = (Document::new(), false);
        for update in shuffled {
            has_waited |= document.take(update).expect("an update") == Taken::Waiting;
            document.invariants();
        }
        assert!(has_waited, "seed {seed}");
        assert_eq!(document.pending().count(), 0, "seed {seed}");
        assert_eq!(look(&made_of([&*document.whole()])), look(&known), "seed {seed}");
    }
}

#[test]
fn whoever_lacks_something_is_told_just_that() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let updates = history(&mut random, 100);
        let known = made_of(updates.iter().map(|update| &**update));
        let mut document = Document::new();
        for update in &updates {
            document.take(update).expect("an update");
        }
        if random.below(2) == 0 {
            document.collect();
        }
        for _ in 0..5 {
            let missed = random.below(updates.len());
            let back = made_of(updates[..missed].iter().map(|update| &**update));
            let vector = back.transact().state_vector().encode_v1();
            check_state_vector(&vector).expect("a state vector");
            let mut lacks = Vec::new();
            document.write_difference(&vector, &mut lacks);
            assert!(lacks.len() <= document.whole().len());
            apply(&back, &lacks);
            assert_eq!(look(&back), look(&known), "seed {seed}, {missed} updates");
        }
        let mut vector = Vec::new();
        document.write_vector(&mut vector);
        let same = YrsStateVector::decode_v1(&vector).expect("a state vector");
        assert_eq!(same, known.transact().state_vector(), "seed {seed}");
        let mut nothing = Vec::new();
        document.write_difference(&vector, &mut nothing);
        assert_eq!(check_update(&nothing).map(|update| update.structs), Ok(0));
    }
}

#[test]
fn every_kind_of_content_is_kept() {
    let state = state_of(&rich_document());
    let mut document = Document::load(&state).expect("a document");
    assert_eq!(look(&made_of([&*document.whole()])), look(&made_of([&*state])));
    document.collect();
    document.invariants();
    assert_eq!(look(&made_of([&*document.whole()])), look(&made_of([&*state])));
}

#[test]
fn what_is_typed_in_one_go_is_one_item() {
    let doc = editor(5);
    let text = doc.get_or_insert_text("text");
    let mut document = Document::new();
    for at in 0..1_000 {
        let mut txn = doc.transact_mut();
        text.insert(&mut txn, at, "x");
        document.take(&txn.encode_update_v1()).expect("an update");
        document.invariants();
    }
    assert!(document.whole().len() < 1_050);
    assert_eq!(check_update(&document.whole()).map(|update| update.structs), Ok(1));
}

#[test]
fn what_is_deleted_takes_no_room() {
    let doc = editor(5);
    let text = doc.get_or_insert_text("text");
    let mut document = Document::new();
    let mut update = |edit: &dyn Fn(&mut yrs::TransactionMut<'_>)| {
        let mut txn = doc.transact_mut();
        edit(&mut txn);
        document.take(&txn.encode_update_v1()).expect("an update");
    };
    update(&|txn| text.insert(txn, 0, &"x".repeat(100_000)));
    update(&|txn| text.remove_range(txn, 10, 99_980));
    assert!(document.is_collection_due());
    document.collect();
    document.invariants();
    assert!(!document.is_collection_due());
    assert!(document.whole().len() < 100, "{}", document.whole().len());
    assert_eq!(look(&made_of([&*document.whole()])).0, "x".repeat(20));
}

#[test]
fn a_pair_that_is_cut_is_replaced() {
    let typed = update_of(&[&item(4, &string("a\u{1F600}b"))]);
    let mut document = Document::load(&typed).expect("a document");
    let mut lacks = Vec::new();
    document.write_difference(&[1, 1, 2], &mut lacks);
    // From clock 2 on, behind clock 1: half a pair, and the b.
    assert_eq!(lacks, [&[1, 1, 1, 2, 0x84, 1, 1][..], &string("\u{FFFD}b"), &[0]].concat());
    // The same when half of it is deleted.
    document.take(&[0, 1, 1, 1, 0, 2]).expect("an update");
    document.collect();
    document.invariants();
    let whole = document.whole();
    assert_eq!(check_update(&whole).map(|update| update.runs[0].end), Ok(4));
}

#[test]
fn only_so_much_may_wait() {
    let mut document = Document::new();
    let ahead = |clock: u16| {
        let mut update = vec![1, 1, 7];
        crate::codec::lib0::write_varuint(&mut update, u64::from(clock));
        update.extend(item(4, &[1, b'x']));
        update.push(0);
        update
    };
    for clock in 1..=PENDING_MAX as u16 {
        assert_eq!(document.take(&ahead(clock)), Ok(Taken::Waiting));
        assert_eq!(document.take(&ahead(clock)), Ok(Taken::Waiting), "and once is enough");
    }
    let more = ahead(PENDING_MAX as u16 + 1);
    assert_eq!(document.take(&more), Err(Refusal::TooMuchMissing));
    document.invariants();
    // What was missing comes: all of it fits.
    assert_eq!(document.take(&ahead(0)), Ok(Taken::New));
    assert_eq!(document.pending().count(), 0);
    document.invariants();
    assert_eq!(document.take(&more), Ok(Taken::New));
}

#[test]
fn what_was_left_out_waits() {
    // Clocks 0..3, a gap of 2, and one more.
    let update =
        [&[1, 3, 1, 0][..], &item(4, &[3, b'a', b'b', b'c']), &[10, 2], &item(4, &[1, b'z']), &[0]]
            .concat();
    let mut document = Document::new();
    assert_eq!(document.take(&update), Ok(Taken::Waiting));
    assert_eq!(document.pending().count(), 1);
    let mut vector = Vec::new();
    document.write_vector(&mut vector);
    assert_eq!(vector, [1, 1, 3]);
    let gap = [&[1, 1, 1, 3][..], &item(4, &[2, b'd', b'e']), &[0]].concat();
    assert_eq!(document.take(&gap), Ok(Taken::New));
    assert_eq!(document.pending().count(), 0);
    assert_eq!(check_update(&document.whole()).map(|update| update.runs[0].end), Ok(6));
}

#[test]
fn what_is_known_in_part_is_joined_too() {
    let collected = |len: u8| [1, 1, 1, 0, 0, len, 0];
    let typed = |text: &str| update_of(&[&item(4, &string(text))]);
    for (one, other) in
        [(collected(3).to_vec(), collected(5).to_vec()), (typed("ab"), typed("abc"))]
    {
        let mut document = Document::load(&one).expect("a document");
        assert_eq!(document.take(&other), Ok(Taken::New));
        assert_eq!(document.whole(), other);
    }
}

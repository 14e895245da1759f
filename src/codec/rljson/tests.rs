use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::canonical::{Sink, digest};
use super::number::{is_hashable, write_number};
use super::*;

/// What the original computed.
#[derive(Deserialize)]
struct Vectors {
    rows: Vec<Vector>,
    odd: Vec<Vector>,
    blobs: Vec<Blob>,
}

#[derive(Deserialize)]
struct Vector {
    row: Box<RawValue>,
    hash: String,
    canonical: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Blob {
    text: String,
    blob_id: String,
}

/// Keeps the canonical form of an object.
#[derive(Default)]
struct Text(Vec<u8>);

impl Sink for Text {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(self) -> Hash {
        blob_id(&self.0)
    }
}

fn canonical(row: &str) -> String {
    let text: Text = digest(parse_row(row).unwrap(), false).unwrap();
    String::from_utf8(text.0).unwrap()
}

fn hash_text(row: &str) -> String {
    hash(parse_row(row).unwrap()).unwrap().to_string()
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../../tests/vectors/rljson_hashes.json")).unwrap()
}

#[test]
fn rows_have_the_hashes_that_the_original_gave_them() {
    let Vectors { rows, odd, .. } = vectors();
    assert_eq!((rows.len(), odd.len()), (103, 9));
    for Vector { row, hash, canonical: expected } in rows.iter().chain(&odd) {
        assert_eq!(canonical(row.get()), *expected);
        assert_eq!(hash_text(row.get()), *hash);
    }
    for Vector { row, hash, .. } in &rows {
        assert_eq!(verify(parse_row(row.get()).unwrap()), Ok(Hash::new(hash).unwrap()));
    }
}

#[test]
fn blobs_are_called_as_the_original_calls_them() {
    for Blob { text, blob_id: id } in vectors().blobs {
        assert_eq!(blob_id(text.as_bytes()).as_str(), id);
    }
}

#[test]
fn members_are_put_into_their_canonical_form() {
    for (row, expected) in [
        (" { \"b\" : 1 , \"a\" : [ true , false ] } ", r#"{"a":[true,false],"b":1}"#),
        (r#"{"a":1,"b":null,"a":2}"#, r#"{"a":2}"#),
        (r#"{"a":1,"a":null}"#, "{}"),
        (r#"{"a":null,"a":1}"#, r#"{"a":1}"#),
        (r#"{"_hash":"x","__proto__":"y"}"#, "{}"),
        (r#"{"a":"\u00e9\ud83d\ude00\"\\\n"}"#, "{\"a\":\"\u{e9}\u{1f600}\\\"\\\n\"}"),
        (r#"{"a\n":[[],[[]],""]}"#, "{\"a\n\":[[],[[]],\"\"]}"),
        (r#"{"a":"\ud800"}"#, "{\"a\":\"\u{fffd}\"}"),
        (r#"{"a":-0,"b":-0.0,"c":1.50,"d":1E2}"#, r#"{"a":0,"b":0,"c":1.5,"d":100}"#),
    ] {
        assert_eq!(canonical(row), expected, "{row}");
    }
}

#[test]
fn keys_are_sorted_by_utf16_units() {
    let row = "{\"\u{ffff}\":1,\"\u{1f600}\":2,\"\u{e9}\":3,\"zz\":4,\"z\":5}";
    assert_eq!(canonical(row), "{\"z\":5,\"zz\":4,\"\u{e9}\":3,\"\u{1f600}\":2,\"\u{ffff}\":1}");
}

#[test]
fn what_the_original_does_not_hash_has_no_hash() {
    for (row, error) in [
        (r#"{"a":1.2345}"#, HashError::Number),
        (r#"{"a":[1e-7]}"#, HashError::Number),
        (r#"{"a":{"b":1e999}}"#, HashError::Number),
        (r#"{"a":1000000000.5}"#, HashError::Number),
        (r#"{"\ud800":1}"#, HashError::Key),
    ] {
        assert_eq!(hash(parse_row(row).unwrap()), Err(error), "{row}");
    }
    for text in ["[]", "1", "null", "\"a\""] {
        assert_eq!(parse_row(text), Err(HashError::NotAnObject));
        assert_eq!(hash(json::parse(text, 9).unwrap()), Err(HashError::NotAnObject));
    }
}

#[test]
fn a_row_has_to_say_the_right_hash_and_so_do_the_objects_in_it() {
    let inner = hash_text(r#"{"b":1}"#);
    let outer = hash_text(r#"{"a":{"b":1}}"#);
    let row = |inner: &str, outer: &str| {
        verify(parse_row(&format!(r#"{{"a":{{"b":1,"_hash":{inner}}},"_hash":{outer}}}"#)).unwrap())
    };
    let (inner, outer) = (format!("\"{inner}\""), format!("\"{outer}\""));
    assert!(row(&inner, &outer).is_ok());
    assert!(row("\"\"", &outer).is_ok());
    assert!(row("null", &outer).is_ok());
    assert!(matches!(row(&outer, &outer), Err(HashError::Mismatch(_))));
    assert!(matches!(row("[]", &outer), Err(HashError::Mismatch(_))));
    assert!(matches!(row(&inner, &inner), Err(HashError::Mismatch(_))));
    assert!(matches!(row(&inner, "7"), Err(HashError::Mismatch(_))));
    assert_eq!(row(&inner, "\"\""), Err(HashError::Absent));
    assert_eq!(verify(parse_row("{}").unwrap()), Err(HashError::Absent));
}

#[test]
fn rows_are_nested_up_to_the_limit() {
    let nested = |depth: usize| {
        let half = depth / 2;
        format!("{}1{}{}", "{\"a\":[".repeat(half), "]}".repeat(half), "")
    };
    assert!(hash(parse_row(&nested(ROW_DEPTH_MAX)).unwrap()).is_ok());
    let error = parse_row(&nested(ROW_DEPTH_MAX + 2)).unwrap_err();
    assert!(matches!(error, HashError::Json(_)), "{error}");
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(ROW_BYTES_MAX));
    assert_eq!(parse_row(&long), Err(HashError::TooLarge));
}

#[test]
fn numbers_are_printed_as_javascript_prints_them() {
    for (number, expected) in [
        (0.0, "0"),
        (-0.0, "0"),
        (1e20, "100000000000000000000"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e21, "1e+21"),
        (-1.5e300, "-1.5e+300"),
        (9007199254740993.0, "9007199254740992"),
        (18014398509481984.0, "18014398509481984"),
        (0.001, "0.001"),
        (-12.25, "-12.25"),
        (0.000001, "0.000001"),
        (1.2e-7, "1.2e-7"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e+308"),
    ] {
        let mut out = String::new();
        write_number(&mut out, number);
        assert_eq!(out, expected);
    }
}

#[test]
fn numbers_may_have_three_decimals() {
    for good in [0.0, 1.5, -0.001, 0.123, 1e300, -1e21, 5.1, 0.999, 123456789.125, 1795176.017] {
        assert!(is_hashable(good), "{good}");
    }
    for bad in [0.0001, 1.2345, 1e-300, f64::INFINITY, f64::NEG_INFINITY, 2e9 + 0.5, -2e9 - 0.5] {
        assert!(!is_hashable(bad), "{bad}");
    }
}

#[test]
fn hashes_are_22_characters_of_base64url() {
    assert!(Hash::new("YTfW0T6bdCWWdoaakK6bgN").is_some());
    for bad in ["", "YTfW0T6bdCWWdoaakK6bg", "YTfW0T6bdCWWdoaakK6bgNN", "YTfW0T6bdCWWdoaakK6bg+"] {
        assert!(Hash::new(bad).is_none(), "{bad}");
    }
}

fn row_text(path: &str, rest: Value) -> (Hash, String) {
    let name = path.rsplit('/').next().unwrap();
    let mut row = json!({ "id": name, "meta": { "name": name, "relativePath": path } });
    for (key, value) in rest.as_object().unwrap() {
        match key.as_str() {
            "children" | "isParent" => row[key] = value.clone(),
            _ => row["meta"][key] = value.clone(),
        }
    }
    let text = row.to_string();
    (hash(parse_row(&text).unwrap()).unwrap(), text)
}

#[test]
fn rows_of_a_tree_are_read() {
    let blob = blob_id(b"x");
    let (hash, text) = row_text(
        "sub/two.txt",
        json!({ "type": "file", "mtime": 1795176417017_u64, "blobId": blob.as_str() }),
    );
    let row = Row::read(hash, &text).unwrap();
    assert_eq!((&*row.path, row.name(), row.is_root()), ("sub/two.txt", "two.txt", false));
    assert_eq!(row.node, Node::File { blob: Some(blob), mtime_us: 1_795_176_417_017_000 });
    assert_eq!(row.identity(), Identity::Content(blob));

    let (sub, text) = row_text("sub", json!({ "type": "directory", "children": [hash.as_str()] }));
    let sub = Row::read(sub, &text).unwrap();
    assert_eq!(sub.children(), [hash]);
    assert_eq!(sub.identity(), Identity::Directory);
    let (root, text) = row_text(".", json!({ "type": "directory" }));
    let root = Row::read(root, &text).unwrap();
    assert!(root.is_root() && root.children().is_empty());
    assert!(row.is_in(&sub) && sub.is_in(&root) && !row.is_in(&root) && !root.is_in(&root));
}

#[test]
fn the_empty_root_is_what_it_always_is() {
    let (hash, text) = row_text(".", json!({ "type": "directory", "isParent": false }));
    assert_eq!(hash, EMPTY_ROOT);
    assert_eq!(verify(parse_row(EMPTY_ROOT_ROW).unwrap()), Ok(EMPTY_ROOT));
    let (full, text) = Row::read(hash, &text).unwrap().with_children(&[blob_id(b"")]).unwrap();
    let full = Row::read(full, &text).unwrap();
    assert_eq!(full.with_children(&[]).unwrap().0, EMPTY_ROOT);
}

#[test]
fn what_is_no_row_of_a_tree_is_refused() {
    let read = |path: &str, rest| {
        let (hash, text) = row_text(path, rest);
        Row::read(hash, &text).map(|_| ())
    };
    for (rest, member) in [
        (json!({}), "meta.type"),
        (json!({ "type": "link" }), "meta.type"),
        (json!({ "type": "file", "blobId": 5 }), "meta.blobId"),
        (json!({ "type": "file", "blobId": "short" }), "meta.blobId"),
        (json!({ "type": "directory", "children": {} }), "children"),
        (json!({ "type": "directory", "children": ["x"] }), "children"),
    ] {
        assert_eq!(read("a", rest), Err(TreeError::Member(member)));
    }
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    let deep = "x/".repeat(PATH_BYTES_MAX / 2) + "x";
    for path in ["", "..", "a//b", "/a", "a/", "../a", "a/./b", "./a", "a\0", &long, &deep] {
        assert_eq!(read(path, json!({ "type": "file" })), Err(TreeError::Name), "{path}");
    }
    assert_eq!(read("a", json!({ "type": "file", "name": "b" })), Err(TreeError::Name));
    let hash = blob_id(b"");
    assert!(matches!(Row::read(hash, "{}"), Err(TreeError::Member("meta"))));
    assert!(matches!(Row::read(hash, "["), Err(TreeError::Row(_))));
}

#[test]
fn a_renamed_file_keeps_all_else() {
    let (hash, text) = row_text("a/b.txt", json!({ "type": "file", "mtime": 5, "more": [1] }));
    let (renamed, text) = Row::read(hash, &text).unwrap().renamed("c\"d").unwrap();
    assert_eq!(verify(parse_row(&text).unwrap()), Ok(renamed));
    let row: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&row["id"], &row["meta"]["name"]), (&json!("c\"d"), &json!("c\"d")));
    assert_eq!(row["meta"]["relativePath"], json!("a/c\"d"));
    assert_eq!((&row["meta"]["more"], &row["meta"]["mtime"]), (&json!([1]), &json!(5)));
}

/// The rules of the canonical form, said once more over a tree of values.
fn reference(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let sorted: BTreeMap<Vec<u16>, &str> =
                object.keys().map(|key| (key.encode_utf16().collect(), key.as_str())).collect();
            let member = |key: &&str| {
                let value = &object[*key];
                let text = match value {
                    Value::Object(_) => format!("\"{}\"", blob_id(reference(value).as_bytes())),
                    _ => reference(value),
                };
                format!("\"{key}\":{text}")
            };
            let is_member = |key: &&str| *key != "_hash" && !object[*key].is_null();
            let members: Vec<_> = sorted.into_values().filter(is_member).collect();
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
        }
        Value::Array(array) => {
            let element = |value: &Value| match value {
                Value::Object(_) => format!("\"{}\"", blob_id(reference(value).as_bytes())),
                _ => reference(value),
            };
            format!("[{}]", array.iter().map(element).collect::<Vec<_>>().join(","))
        }
        Value::String(text) => format!("\"{}\"", text.replace('"', "\\\"")),
        other => other.to_string(),
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(Value::from),
        ".*".prop_map(Value::String),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let key = prop_oneof!["[ab\"_\u{e9}\u{ffff}\u{1f600}]{0,3}", Just("_hash".to_owned())];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            proptest::collection::btree_map(key, inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_row_is_hashed_by_the_rules(value in value()) {
        let row = json!({ "v": value });
        let expected = reference(&row);
        prop_assert_eq!(&canonical(&row.to_string()), &expected);
        prop_assert_eq!(&canonical(&serde_json::to_string_pretty(&row).unwrap()), &expected);
        prop_assert_eq!(hash_text(&row.to_string()), blob_id(expected.as_bytes()).to_string());
    }

    #[test]
    fn numbers_come_back(number: f64) {
        prop_assume!(number.is_finite());
        let mut out = String::new();
        write_number(&mut out, number);
        prop_assert_eq!(out.parse::<f64>().unwrap(), if number == 0.0 { 0.0 } else { number });
    }

    #[test]
    fn no_text_makes_it_panic(text in "[{}\\[\\]:,\"a_hash\\\\u0-9.e -]{0,40}") {
        if let Ok(row) = parse_row(&text) {
            let _ = (hash(row), verify(row));
        }
        let _ = Row::read(blob_id(b""), &text);
    }
}

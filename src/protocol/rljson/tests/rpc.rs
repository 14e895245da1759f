//! Each row of the tables of requests (specs: rljson §2, §3).

use serde_json::{Value, json};

use super::forest::{Folder, Forest};
use super::harness::{Name, Request, Shard};
use super::serve;
use crate::codec::rljson::{EMPTY_ROOT, Hash};
use crate::protocol::rljson::Config;

pub(super) const TABLE: &str = "sharedTree";
pub(super) const ROUTE: &str = "/sharedTree";

pub(super) fn shard() -> Shard {
    Shard::new(Config::default())
}

/// The argument that asks for a row by its hash.
pub(super) fn by_hash(hash: &Hash) -> Value {
    json!({ "table": TABLE, "where": { "_hash": hash.as_str() } })
}

/// What a client answers that has these rows.
pub(super) fn table_of(rows: &[&str]) -> Value {
    serve::table_of(TABLE, rows)
}

/// A client answers all that it is asked, as one that has these rows and blobs; how many rows it was
/// asked for.
pub(super) fn serve(shard: &mut Shard, name: Name, forest: &Forest) -> usize {
    serve_but(shard, name, forest, |shard, request| serve_blob(shard, name, &request, forest))
}

/// The same for rows only; the requests for blobs.
pub(super) fn serve_rows(shard: &mut Shard, name: Name, forest: &Forest) -> Vec<Request> {
    let mut blobs = Vec::new();
    serve_but(shard, name, forest, |_, request| blobs.push(request));
    blobs
}

fn serve_but(
    shard: &mut Shard,
    name: Name,
    forest: &Forest,
    mut on_blob: impl FnMut(&mut Shard, Request),
) -> usize {
    let mut count = 0;
    loop {
        let asked = shard.asked(name);
        if asked.is_empty() {
            return count;
        }
        for request in asked {
            if request.name != "readRows" {
                assert_eq!(request.name, "getBlob");
                on_blob(shard, request);
                continue;
            }
            count += 1;
            shard.reply(name, request.ack, &serve::rows(&request.args[0], forest));
        }
    }
}

pub(super) fn serve_blob(shard: &mut Shard, name: Name, request: &Request, forest: &Forest) {
    let (values, part) = serve::blob(&request.args, forest);
    match part {
        Some(part) => shard.reply_with(name, request.ack, &values, &part),
        None => shard.reply(name, request.ack, &values),
    }
}

fn error(answer: &Value) -> &str {
    assert_eq!(answer["name"], "Error");
    answer["message"].as_str().unwrap()
}

#[test]
fn what_needs_nobody_is_answered_at_once() {
    let mut shard = shard();
    let one = shard.connect();
    assert_eq!(shard.ask(one, "rawTableCfgs", &[]), [json!([]), Value::Null]);
    for name in ["init", "isReady", "close"] {
        assert_eq!(shard.ask(one, name, &[]), [Value::Null, Value::Null], "{name}");
    }
    assert_eq!(shard.ask(one, "isOpen", &[]), [json!(true), Value::Null]);
}

#[test]
fn what_is_unknown_or_senseless_is_refused_in_the_right_form() {
    let mut shard = shard();
    let one = shard.connect();
    let answer = shard.ask(one, "no\"such", &[]);
    assert_eq!(answer[0], Value::Null);
    assert_eq!(error(&answer[1]), "Method \"no\"such\" not found on Io instance");
    let answer = shard.ask(one, &"x".repeat(5_000), &[]);
    assert!(error(&answer[1]).len() < 600);
    for (name, arguments) in [
        ("readRows", vec![]),
        ("readRows", vec![json!({ "table": TABLE })]),
        ("readRows", vec![json!({ "table": 1, "where": {} })]),
        ("readRows", vec![json!({ "table": "x".repeat(129), "where": {} })]),
        ("readRowsByHashes", vec![json!({ "table": TABLE, "hashes": ["x"] })]),
        (
            "readRowsByHashes",
            vec![json!({ "table": TABLE, "hashes": vec![EMPTY_ROOT.as_str(); 1_001] })],
        ),
        ("tableExists", vec![Value::Null]),
        ("contentType", vec![json!("t")]),
        ("rowCount", vec![]),
        ("write", vec![]),
        ("createOrExtendTable", vec![json!({})]),
        ("dump", vec![]),
        ("dumpTable", vec![json!({ "table": TABLE })]),
    ] {
        let answer = shard.ask(one, name, &arguments);
        assert_eq!((answer.len(), &answer[0]), (2, &Value::Null), "{name}");
        error(&answer[1]);
    }
    for (name, arguments) in [
        ("getBlob", vec![Value::Null]),
        ("getBlob", vec![json!(EMPTY_ROOT.as_str()), json!({ "range": { "start": 2, "end": 1 } })]),
        ("getBlob", vec![json!("short"), Value::Null]),
        ("getBlobProperties", vec![json!("short")]),
        ("getBlobStream", vec![json!(EMPTY_ROOT.as_str())]),
        ("setBlob", vec![json!("text")]),
        ("deleteBlob", vec![json!(EMPTY_ROOT.as_str())]),
        ("generateSignedUrl", vec![json!(EMPTY_ROOT.as_str()), json!(1), json!("r")]),
    ] {
        let answer = shard.ask(one, name, &arguments);
        assert_eq!(answer.len(), 1, "{name}");
        error(&answer[0]);
    }
    assert_eq!(shard.ask(one, "blobExists", &[json!("short")]), [Value::Null, json!(false)]);
    let answer = shard.ask(one, "getBlob", &[json!("short"), Value::Null]);
    assert_eq!(error(&answer[0]), "Blob not found: short");
}

#[test]
fn writes_are_refused_unless_they_are_allowed() {
    let mut forest = Forest::default();
    let root = forest.plant(&Folder::of(&[("a", 1, 1)]));
    let document = json!({ "data": table_of(&[forest.row(&root).unwrap()]) });
    let mut refusing = shard();
    let one = refusing.connect();
    let answer = refusing.ask(one, "write", std::slice::from_ref(&document));
    assert_eq!(error(&answer[1]), "this server takes no writes");

    let config = Config {
        allow_writes: true,
        token: Some("w".into()),
        read_token: Some("r".into()),
        ..Config::default()
    };
    let mut shard = Shard::new(config);
    let reader = shard.connect_with("/?token=r", "");
    assert_eq!(shard.ask(reader, "write", std::slice::from_ref(&document))[0], Value::Null);
    let writer = shard.connect_with("/", "{\"token\":\"w\"}");
    assert_eq!(shard.ask(writer, "write", &[document]), [Value::Null, Value::Null]);
    let row: Value = serde_json::from_str(forest.row(&root).unwrap()).unwrap();
    assert_eq!(shard.ask(reader, "readRows", &[by_hash(&root)])[0][TABLE]["_data"], json!([row]));
    let mut wrong = row;
    wrong["id"] = json!("other");
    let wrong = json!({ "data": { TABLE: { "_data": [wrong] } } });
    let answer = shard.ask(writer, "write", &[wrong]);
    assert!(error(&answer[1]).contains("_hash is wrong"));
    let config = json!({ "tableCfg": { "key": "t", "type": "cakes" } });
    assert_eq!(shard.ask(writer, "createOrExtendTable", &[config]), [Value::Null, Value::Null]);
    assert_eq!(shard.ask(reader, "contentType", &[json!({ "table": "t" })])[0], "cakes");
    assert_eq!(shard.ask(reader, "tableExists", &[json!("t")])[0], true);
}

#[test]
fn who_shows_no_token_is_not_let_in() {
    let mut shard = Shard::new(Config { token: Some("w".into()), ..Config::default() });
    assert_eq!(shard.try_connect("/", ""), Err("unauthorized".to_owned()));
    assert_eq!(shard.try_connect("/?token=x", ""), Err("unauthorized".to_owned()));
    assert!(shard.try_connect("/?token=w", "").is_ok());
}

#[test]
fn rows_are_answered_as_the_original_does() {
    let mut shard = shard();
    let one = shard.connect();
    // From a transcript.
    let answer = shard.ask(one, "readRows", &[by_hash(&EMPTY_ROOT)]);
    let expected = json!({ "_data": [{ "id": ".", "isParent": false, "meta": { "name": ".",
        "type": "directory", "relativePath": ".", "_hash": "gJimCXxx6iZqkVdiyq7Go2" },
        "_hash": "YTfW0T6bdCWWdoaakK6bgN" }],
        "_type": "trees", "_hash": "bUj06WgbY6tUGs9IzV0bjb" });
    assert_eq!(answer, [json!({ TABLE: expected }), Value::Null]);
}

#[test]
fn a_table_that_nobody_knows_is_an_error_and_one_without_the_row_is_empty() {
    let mut shard = shard();
    let one = shard.connect();
    let hash = Hash::new("AAAAAAAAAAAAAAAAAAAAAA").unwrap();
    let answer = shard.ask(one, "readRows", &[by_hash(&hash)]);
    assert_eq!(error(&answer[1]), "Table \"sharedTree\" not found");
    let both = json!({ "table": TABLE, "hashes": [hash.as_str()] });
    let answer = shard.ask(one, "readRowsByHashes", std::slice::from_ref(&both));
    assert_eq!(error(&answer[1]), "Table \"sharedTree\" not found");
    assert_eq!(shard.ask(one, "tableExists", &[json!(TABLE)]), [json!(false), Value::Null]);
    shard.announce(one, ROUTE, "a", EMPTY_ROOT.as_str());
    let empty = json!({ TABLE: { "_data": [], "_type": "trees",
        "_hash": "-3P77S50UhQr3DwOO1AyDM" } });
    assert_eq!(shard.ask(one, "readRows", &[by_hash(&hash)]), [empty.clone(), Value::Null]);
    assert_eq!(shard.ask(one, "readRowsByHashes", &[both]), [empty, Value::Null]);
    assert_eq!(shard.ask(one, "tableExists", &[json!(TABLE)]), [json!(true), Value::Null]);
    assert_eq!(shard.ask(one, "rowCount", &[json!(TABLE)]), [json!(0), Value::Null]);
    assert_eq!(
        shard.ask(one, "contentType", &[json!({ "table": TABLE })]),
        [json!("trees"), Value::Null]
    );
}

#[test]
fn rows_that_are_there_are_found_by_any_column() {
    let mut shard = shard();
    let one = shard.connect();
    let mut forest = Forest::default();
    let root = forest.plant(&Folder::of(&[("a", 1, 1), ("b", 2, 1)]));
    shard.announce(one, ROUTE, "a", root.as_str());
    assert_eq!(serve(&mut shard, one, &forest), 3);
    let two = shard.connect();
    let find = |shard: &mut Shard, who, filter: Value| {
        let answer = shard.ask(who, "readRows", &[json!({ "table": TABLE, "where": filter })]);
        answer[0][TABLE]["_data"].as_array().map(Vec::len)
    };
    assert_eq!(find(&mut shard, two, json!({})), Some(3));
    assert_eq!(find(&mut shard, two, json!({ "isParent": false })), Some(2));
    assert_eq!(find(&mut shard, two, json!({ "id": "a", "isParent": false })), Some(1));
    assert_eq!(find(&mut shard, two, json!({ "children": null, "id": "a" })), Some(1));
    assert_eq!(find(&mut shard, two, json!({ "_hash": root.as_str(), "id": "." })), Some(1));
    assert_eq!(find(&mut shard, two, json!({ "_hash": root.as_str(), "id": "a" })), Some(0));
    let all: Vec<&str> = forest.rows.keys().map(Hash::as_str).collect();
    let hashes = json!({ "table": TABLE, "hashes": all });
    let answer = shard.ask(two, "readRowsByHashes", &[hashes]);
    let rows = answer[0][TABLE]["_data"].as_array().unwrap();
    let found: Vec<&str> = rows.iter().map(|row| row["_hash"].as_str().unwrap()).collect();
    assert_eq!(found, all, "sorted by their hashes");
    assert_eq!(shard.ask(two, "rowCount", &[json!(TABLE)]), [json!(3), Value::Null]);
    // Somebody on another route may read what it can name, and search for nothing.
    shard.announce(two, "/other", "b", "x");
    assert_eq!(find(&mut shard, two, json!({ "_hash": root.as_str() })), Some(1));
    assert_eq!(find(&mut shard, two, json!({ "id": "a" })), Some(0));
    assert!(shard.asked(one).is_empty());
}

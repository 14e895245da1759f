//! What clients answer that have rows and blobs of trees (specs: rljson §2, §3).

use serde_json::{Value, json};

use super::forest::Forest;
use crate::codec::rljson::Hash;

/// Rows as an answer has them.
pub(crate) fn table_of(table: &str, rows: &[&str]) -> Value {
    let rows: Vec<Value> = rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
    json!({ table: { "_type": "trees", "_data": rows } })
}

/// Answers `readRows` for the row of a hash, and `readRowsByHashes`.
pub(crate) fn rows(argument: &Value, forest: &Forest) -> [Value; 2] {
    let one = [argument["where"]["_hash"].clone()];
    let hashes = argument["hashes"].as_array().map_or(&one[..], Vec::as_slice);
    let hashes = hashes.iter().filter_map(|hash| Hash::new(hash.as_str()?));
    let rows: Vec<&str> =
        hashes.filter_map(|hash| forest.rows.get(&hash)).map(String::as_str).collect();
    [table_of(argument["table"].as_str().unwrap(), &rows), Value::Null]
}

/// Answers `getBlob` for a range: the values, and the bytes that are attached.
pub(crate) fn blob(args: &[Value], forest: &Forest) -> (Vec<Value>, Option<Vec<u8>>) {
    let id = args[0].as_str().unwrap();
    let Some(bytes) = Hash::new(id).and_then(|id| forest.blobs.get(&id)) else {
        return (vec![json!({ "message": format!("Blob not found: {id}") })], None);
    };
    let at = |key| args[1]["range"][key].as_u64().unwrap() as usize;
    let part = bytes[at("start")..at("end").min(bytes.len())].to_vec();
    (part_of(id, bytes.len()), Some(part))
}

/// The values of an answer with a part of a blob.
pub(crate) fn part_of(id: &str, size: usize) -> Vec<Value> {
    let properties = json!({ "blobId": id, "size": size, "createdAt": "2026-11-20T11:45:34.714Z" });
    let content = json!({ "_placeholder": true, "num": 0 });
    vec![Value::Null, json!({ "content": content, "properties": properties })]
}

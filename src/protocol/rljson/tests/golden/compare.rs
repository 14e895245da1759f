//! What an answer has to be like.

use serde_json::{Value, json};

use super::Difference;
use super::recording::{Holdings, Packet, names};
use crate::codec::json::{DEPTH_MAX, Raw, parse};

/// What our hub answered: the array as it was on the wire, and what was attached.
pub(super) type Answer = (String, Vec<Vec<u8>>);

/// Compares what a client was answered with what the original answered, if it did. Where they
/// differ, and may.
pub(super) fn compare(
    (question, argument): &(String, Value),
    own: &Holdings,
    recorded: Option<&Packet>,
    (body, attachments): &Answer,
) -> Option<Difference> {
    let values: Vec<Value> = serde_json::from_str(body).expect("an array");
    let Some(recorded) = recorded else {
        assert_eq!((&**question, &values[..]), ("rawTableCfgs", &[json!([]), Value::Null][..]));
        return Some(Difference::Hangs);
    };
    assert_eq!(*attachments, recorded.attachments, "{question} {argument}");
    match &**question {
        "rawTableCfgs" => {
            let [tables, Value::Null] = &recorded.values()[..] else { panic!("{recorded:?}") };
            let unknown: Vec<String> =
                names(tables).filter(|table| !own.tables.contains(table)).collect();
            assert_eq!(unknown, [""; 0], "the client knows these from the server alone");
            assert_eq!(values, [json!([]), Value::Null]);
            Some(Difference::Tables)
        }
        "readRows" | "getBlob" => {
            assert_eq!(*body, recorded.body, "{question} {argument}");
            None
        }
        other => panic!("{other} was not recorded"),
    }
}

/// The rows in an answer, byte for byte.
pub(super) fn rows(body: &str) -> Vec<&str> {
    let body = parse(body, DEPTH_MAX).expect("JSON");
    let tables = body.elements().next().into_iter().flat_map(Raw::fields);
    let data = tables.flat_map(|(_, table)| table.fields());
    let data = data.filter(|(name, _)| name.is_string_of("_data"));
    data.flat_map(|(_, rows)| rows.elements()).map(Raw::as_str).collect()
}

//! What the original made of what clients said: recorded from it at commit 6bb9b42, with the avatars
//! of `avatars.json` for its database. A line is what one client said, and was answered.

use std::sync::Arc;

use serde_json::Value;

use super::super::{Catalogue, Config};
use super::harness::Shard;

const LINES: &str = include_str!("../../../../tests/transcripts/comutiny/cleaning.jsonl");
const AVATARS: &str = include_str!("../../../../tests/transcripts/comutiny/avatars.json");

/// What the recording does not depend on time for.
fn comparable(mut answer: Value) -> Value {
    if let Some(answer) = answer.as_object_mut() {
        answer.remove("state");
        if let Some(message) = answer.get_mut("message").and_then(Value::as_object_mut) {
            message.remove("id");
            message.remove("timestamp");
        }
    }
    answer
}

#[test]
fn everything_is_cleaned_as_the_original_does() {
    let catalogue = Arc::new(Catalogue::parse(AVATARS).unwrap());
    let mut events = 0;
    for (number, line) in LINES.lines().enumerate() {
        let catalogue = catalogue.clone();
        let config = Config { catalogue, speak_as_anybody: true, ..Config::default() };
        let mut shard = Shard::new(config);
        let client = shard.connect();
        let steps: Vec<(String, Value, Value)> = serde_json::from_str(line).unwrap();
        for (event, payload, expected) in steps {
            let answer = comparable(shard.ask(client, &event, payload.clone()));
            assert_eq!(answer, expected, "line {}: {event} {payload}", number + 1);
            events += 1;
        }
    }
    assert!(events > 100, "{events}");
}

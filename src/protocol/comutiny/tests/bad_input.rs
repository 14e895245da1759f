//! Anything may be sent: nothing panics, and the connection stays up.

use serde_json::json;

use super::super::{Config, DEPTH_MAX};
use super::harness::Shard;

const EVENTS: [&str; 4] = ["player:join", "player:update", "chat:message", "player:leave"];
const KEYS: [&str; 12] = [
    "playerId",
    "name",
    "position",
    "animation",
    "metadata",
    "avatarId",
    "content",
    "author",
    "alias",
    "direction",
    "sprite",
    "appearance",
];

/// JSON values of all kinds, and what is odd about some.
fn values() -> Vec<String> {
    let deep = DEPTH_MAX - 8;
    let mut values: Vec<String> = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1e999",
        "-1e-999",
        "1.7976931348623157e308",
        "\"\"",
        "\" \"",
        "\"\\ud800\"",
        "\"\\udc00\\ud800\"",
        "\"\\u0000\"",
        "\"a\"",
        "\"0x\"",
        "\"-\"",
        "[]",
        "{}",
        "[[]]",
        "[null,1]",
        "{\"\":{\"\":0}}",
        "{\"a\":1,\"a\":2}",
        "{\"__proto__\":{\"x\":1}}",
        "{\"x\":{},\"y\":[],\"z\":\"1e400\"}",
        "{\"appearance\":{\"hair\":1},\"appearance\":{\"face\":\"x\"},\"avatarId\":[]}",
        "{\"_placeholder\":true,\"num\":0}",
    ]
    .map(str::to_owned)
    .into();
    values.push(format!("{}{}", "[".repeat(deep), "]".repeat(deep)));
    values.push(format!("{}0{}", "{\"a\":".repeat(deep), "}".repeat(deep)));
    values.push(format!("\"{}\"", "\u{1F600}".repeat(3_000)));
    values
}

#[test]
fn whatever_clients_say_the_world_goes_on() {
    let mut shard = Shard::new(Config { speak_as_anybody: true, ..Config::default() });
    let (a, witness) = (shard.join("a"), shard.join("witness"));
    let values = values();
    for event in EVENTS {
        for value in &values {
            shard.send(a, &format!("2[\"{event}\",{value}]"));
            shard.send(a, &format!("2[\"{event}\",{value},{value}]"));
            for key in KEYS {
                // Lest it joins too often.
                shard.pass(1_000);
                let id = if key == "playerId" { "" } else { ",\"playerId\":\"a\"" };
                shard.send(a, &format!("2[\"{event}\",{{\"{key}\":{value}{id}}}]"));
            }
        }
        shard.pass(10_000);
        shard.say(a, "player:join", json!({"playerId": "a"}));
    }
    shard.take_texts(a);
    shard.take_texts(witness);
    assert_eq!(shard.ask(a, "player:update", json!({"name": "still here"}))["ok"], true);
    assert_eq!(shard.take(witness).len(), 1);
}

#[test]
fn of_a_key_that_is_repeated_the_last_value_counts() {
    let mut shard = Shard::new(Config::default());
    let a = shard.connect();
    let said = r#"{"playerId":"b","playerId":"a","metadata":{"avatarId":"x","appearance":{"hair":"x"},"appearance":{"face":"y","face":"z"},"avatarId":5}}"#;
    shard.send(a, &format!("20[\"player:join\",{said}]"));
    let ack = shard.answer(a, 0).unwrap();
    assert_eq!(ack["player"]["id"], "a");
    assert_eq!(ack["player"]["metadata"], json!({"appearance": {"face": "z"}}));
}

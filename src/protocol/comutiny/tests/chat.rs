//! What is said (specs: comutiny §3).

use serde_json::{Value, json};

use super::super::Config;
use super::harness::Shard;

fn refused(message: &str) -> Value {
    json!({"ok": false, "message": message})
}

#[test]
fn a_message_is_told_to_everybody_with_its_sender() {
    let mut shard = Shard::new(Config::default());
    let (a, lurker) = (shard.join("a"), shard.connect());
    shard.take(lurker);
    let ack = shard.ask(a, "chat:message", json!({"content": "  hi\n there "}));
    let message = &ack["message"];
    assert_eq!(
        ack,
        json!({"ok": true, "message": {
            "id": message["id"], "playerId": "a", "author": "Player a",
            "content": "hi\n there", "timestamp": "2023-11-14T22:13:21.000Z",
        }})
    );
    for name in [a, lurker] {
        assert_eq!(shard.take(name), [("chat:message".to_owned(), message.clone())]);
    }
    assert_eq!(shard.snapshot()["chat"][1], *message);
}

#[test]
fn a_message_needs_words_and_is_cut() {
    let mut shard = Shard::new(Config::default());
    let a = shard.join("a");
    for payload in [json!({}), json!({"content": " \u{FEFF}"}), json!({"content": 5}), json!(null)]
    {
        assert_eq!(shard.ask(a, "chat:message", payload), refused("Message cannot be empty"));
    }
    let face = "\u{1F600}";
    for (content, kept) in [
        ("x".repeat(501), "x".repeat(500)),
        (face.repeat(251), face.repeat(250)),
        (format!("x{}", face.repeat(250)), format!("x{}", face.repeat(249))),
    ] {
        let ack = shard.ask(a, "chat:message", json!({"content": content}));
        assert_eq!(ack["message"]["content"], kept);
    }
}

#[test]
fn nobody_speaks_for_others() {
    let mut shard = Shard::new(Config::default());
    let (a, lurker) = (shard.join("a"), shard.connect());
    shard.take(lurker);
    let mut ask = |who, payload| shard.ask(who, "chat:message", payload);
    let said = json!({"content": "x", "playerId": " a ", "author": "Eve"});
    let ack = ask(a, said);
    assert_eq!(
        (&ack["message"]["playerId"], &ack["message"]["author"]),
        (&json!("a"), &json!("Player a"))
    );
    let said = json!({"content": "x", "playerId": "b"});
    assert_eq!(ask(a, said.clone()), refused("playerId is not the sender's"));
    assert_eq!(ask(lurker, said), refused("Player not registered"));
    assert_eq!(
        ask(lurker, json!({"content": "x"})),
        refused("playerId is required for chat messages")
    );
    assert_eq!(ask(lurker, Value::Null), refused("playerId is required for chat messages"));
    assert_eq!(shard.take(lurker).len(), 1);
}

#[test]
fn as_in_the_original_anybody_may_speak_for_others() {
    let mut shard = Shard::new(Config { speak_as_anybody: true, ..Config::default() });
    let (a, lurker) = (shard.join("a"), shard.connect());
    let mut ask = |who, payload| shard.ask(who, "chat:message", payload);
    let ack = ask(lurker, json!({"content": "x", "playerId": " b "}));
    assert_eq!(
        (&ack["message"]["playerId"], &ack["message"]["author"]),
        (&json!("b"), &json!("Player b"))
    );
    let ack = ask(a, json!({"content": "x", "playerId": "b", "author": "é".repeat(101)}));
    assert_eq!(ack["message"]["author"], "é".repeat(100));
    let ack = ask(a, json!({"content": "x", "playerId": 5, "author": null}));
    assert_eq!(
        (&ack["message"]["playerId"], &ack["message"]["author"]),
        (&json!("a"), &json!("Player a"))
    );
    let ack = ask(a, json!({"content": "x", "author": " "}));
    assert_eq!(ack["message"]["author"], "Player a");
    assert_eq!(
        ask(lurker, json!({"content": "x"})),
        refused("playerId is required for chat messages")
    );
    assert_eq!(
        ask(lurker, json!({"content": "", "playerId": "b"})),
        refused("Message cannot be empty")
    );
    let long = json!({"content": "x", "playerId": "b".repeat(257)});
    assert_eq!(ask(lurker, long)["ok"], false);
}

#[test]
fn the_last_fifty_are_kept_oldest_first() {
    let mut shard = Shard::new(Config::default());
    let a = shard.join("a");
    for number in 0..49 {
        shard.say(a, "chat:message", json!({"content": number.to_string()}));
    }
    let chat = shard.snapshot()["chat"].take();
    assert_eq!((chat.as_array().unwrap().len(), &chat[0]["playerId"]), (50, &json!("system")));
    shard.say(a, "chat:message", json!({"content": "last"}));
    let chat = shard.snapshot()["chat"].take();
    assert_eq!(chat.as_array().unwrap().len(), 50);
    assert_eq!((&chat[0]["content"], &chat[49]["content"]), (&json!("0"), &json!("last")));
}

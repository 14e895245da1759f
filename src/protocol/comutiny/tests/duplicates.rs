//! One owner for each player (specs: comutiny §4).

use serde_json::json;

use super::super::Config;
use super::harness::{Heard, Shard};

fn names(heard: &[Heard]) -> Vec<&str> {
    heard.iter().map(|(event, _)| event.as_str()).collect()
}

#[test]
fn who_joins_takes_a_player_over_and_its_owner_goes() {
    let mut shard = Shard::new(Config::default());
    let (old, other) = (shard.join("a"), shard.join("b"));
    shard.take(old);
    let new = shard.connect();
    shard.take(new);
    let ack = shard.ask(new, "player:join", json!({"playerId": "a", "name": "New"}));
    assert_eq!(ack["player"]["name"], "New");
    assert_eq!(ack["state"]["players"].as_array().unwrap().len(), 2);
    let reason = json!({"reason": "session:replaced"});
    let texts = shard.take_texts(old);
    assert_eq!(
        texts,
        [
            format!("42[\"session:disconnect\",{reason}]"),
            format!("42[\"session:terminated\",{reason}]"),
            "41".to_owned(),
        ]
    );
    assert!(shard.member(old).is_closed);
    assert_eq!(names(&shard.take(other)), ["player:joined"], "and no player:left");
    assert_eq!(shard.take(new), []);
    // It is the new one's.
    assert_eq!(shard.ask(new, "player:update", json!({"name": "x"}))["ok"], true);
    assert_eq!(names(&shard.take(other)), ["player:updated"]);
    shard.end(new);
    assert_eq!(names(&shard.take(other)), ["player:left"]);
}

#[test]
fn the_second_announcement_can_be_left_out() {
    let mut shard = Shard::new(Config { announce_disconnect: false, ..Config::default() });
    let old = shard.join("a");
    shard.join("a");
    let texts = shard.take_texts(old);
    assert_eq!(texts, [r#"42["session:terminated",{"reason":"session:replaced"}]"#, "41"]);
}

#[test]
fn the_same_socket_is_no_duplicate() {
    let mut shard = Shard::new(Config::default());
    let (a, b) = (shard.join("a"), shard.join("b"));
    shard.take(a);
    assert_eq!(shard.ask(a, "player:join", json!({"playerId": "a"}))["ok"], true);
    assert_eq!(shard.take(a), []);
    assert!(!shard.member(a).is_closed);
    assert_eq!(names(&shard.take(b)), ["player:joined"]);
}

#[test]
fn who_takes_over_a_player_gives_up_its_own() {
    let mut shard = Shard::new(Config::default());
    let (a, b, c) = (shard.join("a"), shard.join("b"), shard.join("c"));
    shard.forget(&[a, b]);
    shard.ask(b, "player:join", json!({"playerId": "a"}));
    assert!(shard.member(a).is_closed && !shard.member(b).is_closed);
    let heard = shard.take(c);
    assert_eq!(names(&heard), ["player:left", "player:joined"]);
    assert_eq!((&heard[0].1["id"], &heard[1].1["id"]), (&json!("b"), &json!("a")));
    let players = shard.snapshot()["players"].take();
    assert_eq!((&players[0]["id"], &players[1]["id"]), (&json!("a"), &json!("c")));
}

#[test]
fn ids_are_the_same_once_trimmed() {
    let mut shard = Shard::new(Config::default());
    let old = shard.join("a");
    shard.join("  a\u{FEFF}");
    assert!(shard.member(old).is_closed);
}

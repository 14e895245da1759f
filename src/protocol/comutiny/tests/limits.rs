//! Limits, each with an error that names it, and what a login is for.

use serde_json::{Value, json};

use super::super::world::join::{JOINS_BURST_MAX, JOINS_PER_SECOND_MAX};
use super::super::{ANIMATION_BYTES_MAX, Config, ID_BYTES_MAX, Login, METADATA_KEYS_MAX};
use super::harness::Shard;
use crate::protocol::Hello;

fn refusal(shard: &mut Shard, name: usize, event: &str, payload: Value) -> String {
    let ack = shard.ask(name, event, payload);
    assert_eq!(ack["ok"], false, "{ack}");
    ack["message"].as_str().unwrap().to_owned()
}

#[test]
fn ids_and_animations_have_a_length() {
    let mut shard = Shard::new(Config::default());
    let a = shard.join(&"i".repeat(ID_BYTES_MAX));
    let id = "i".repeat(ID_BYTES_MAX + 1);
    let text = refusal(&mut shard, a, "player:join", json!({"playerId": id}));
    assert_eq!(text, "playerId is longer than 256 bytes");
    let animation = "a".repeat(ANIMATION_BYTES_MAX);
    assert_eq!(shard.ask(a, "player:update", json!({"animation": animation}))["ok"], true);
    let before = shard.snapshot();
    let said = json!({"animation": format!("{animation}a"), "name": "x", "position": {"x": 1}});
    for (event, id) in [("player:update", "a"), ("player:join", "b")] {
        let mut said = said.clone();
        said["playerId"] = json!(id);
        assert_eq!(refusal(&mut shard, a, event, said), "animation is longer than 256 bytes");
    }
    assert_eq!(shard.snapshot(), before, "all of it or nothing");
}

#[test]
fn metadata_has_a_size() {
    let config = Config { metadata_bytes_max: 1_000, ..Config::default() };
    let mut shard = Shard::new(config);
    let a = shard.join("a");
    let text = |len| json!({"metadata": {"t": "x".repeat(len)}, "playerId": "a"});
    let expected = "metadata is longer than 1000 bytes";
    assert_eq!(refusal(&mut shard, a, "player:join", text(1_000)), expected);
    assert_eq!(shard.ask(a, "player:update", text(900))["ok"], true);
    assert_eq!(shard.ask(a, "player:update", text(990))["ok"], true);
    assert_eq!(refusal(&mut shard, a, "player:update", text(1_000)), expected);
    assert_eq!(
        refusal(&mut shard, a, "player:update", json!({"metadata": {"u": "xxxxxxxxx"}})),
        expected
    );
    let avatar = json!({"metadata": {"avatarId": "x".repeat(100)}});
    assert_eq!(refusal(&mut shard, a, "player:update", avatar), expected);
    // What shrinks makes room.
    assert_eq!(shard.ask(a, "player:update", text(10))["ok"], true);
    assert_eq!(shard.ask(a, "player:update", json!({"metadata": {"u": "xxxxxxxxx"}}))["ok"], true);
    // A text is cut.
    let look = json!({"metadata": {"appearance": {"hair": "x".repeat(2_000)}}});
    assert_eq!(shard.ask(a, "player:update", look)["ok"], true);
}

#[test]
fn metadata_has_so_many_keys() {
    let mut shard = Shard::new(Config::default());
    let a = shard.join("a");
    let keys = |range: std::ops::Range<usize>| -> Value {
        let keys: serde_json::Map<_, _> = range.map(|key| (key.to_string(), json!(0))).collect();
        json!({"metadata": keys, "playerId": "a"})
    };
    let max = METADATA_KEYS_MAX;
    assert_eq!(shard.ask(a, "player:update", keys(0..max))["ok"], true);
    assert_eq!(shard.ask(a, "player:update", keys(0..max))["ok"], true);
    let expected = "metadata has more than 128 keys";
    assert_eq!(refusal(&mut shard, a, "player:update", keys(max..max + 1)), expected);
    assert_eq!(refusal(&mut shard, a, "player:join", keys(0..max + 1)), expected);
}

#[test]
fn the_world_has_a_size() {
    let config = Config { world_bytes_max: 1_000, players_max: 3, ..Config::default() };
    let mut shard = Shard::new(config);
    let (a, b) = (shard.join("a"), shard.join("b"));
    let text = |id: &str, len| json!({"metadata": {"t": "x".repeat(len)}, "playerId": id});
    assert_eq!(shard.ask(a, "player:update", text("a", 700))["ok"], true);
    let expected = "the metadata of all players is longer than 1000 bytes";
    for event in ["player:update", "player:join"] {
        assert_eq!(refusal(&mut shard, b, event, text("b", 700)), expected);
        assert_eq!(shard.ask(b, event, text("b", 200))["ok"], true);
    }
    let c = shard.join("c");
    assert_eq!(refusal(&mut shard, c, "player:update", text("c", 200)), expected);
    let d = shard.connect();
    let full = "the world has 3 players already";
    assert_eq!(refusal(&mut shard, d, "player:join", json!({"playerId": "d"})), full);
    assert_eq!(shard.ask(d, "player:join", json!({"playerId": "c"}))["ok"], true, "takes one over");
    shard.end(a);
    assert_eq!(shard.ask(b, "player:update", text("b", 700))["ok"], true);
}

#[test]
fn a_client_joins_so_often() {
    let mut shard = Shard::new(Config::default());
    let (a, b) = (shard.join("a"), shard.connect());
    let join = json!({"playerId": "a", "name": "again"});
    for _ in 1..JOINS_BURST_MAX {
        assert_eq!(shard.ask(a, "player:join", join.clone())["ok"], true);
    }
    let before = shard.snapshot();
    shard.forget(&[b]);
    let expected = "too many joins, try again in a moment";
    let other = json!({"playerId": "other"});
    assert_eq!(refusal(&mut shard, a, "player:join", other), expected);
    assert_eq!(shard.snapshot(), before, "it had no effect");
    assert_eq!(shard.take(b), []);
    // Others may, and it may do all else.
    assert_eq!(shard.ask(b, "player:join", json!({"playerId": "b"}))["ok"], true);
    assert_eq!(shard.ask(a, "player:update", json!({"name": "x"}))["ok"], true);
    // What was refused cost nothing.
    shard.pass(1_000);
    for _ in 0..JOINS_PER_SECOND_MAX {
        assert_eq!(shard.ask(a, "player:join", join.clone())["ok"], true);
    }
    assert_eq!(refusal(&mut shard, a, "player:join", join.clone()), expected);
    // Nothing is saved up beyond the burst.
    shard.pass(60_000);
    for _ in 0..JOINS_BURST_MAX {
        assert_eq!(shard.ask(a, "player:join", join.clone())["ok"], true);
    }
    assert_eq!(refusal(&mut shard, a, "player:join", join), expected);
}

#[test]
fn a_connection_is_shown_the_world_once() {
    let mut shard = Shard::new(Config::default());
    let a = shard.join("a");
    shard.send(a, "1");
    assert!(shard.offer(a, "0").is_err(), "who has left must come on another connection");
}

// Node: HS256 of {"sub":"ann"} with the secret "s".
const ANN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4ifQ.v6gvhiIU1jlaspKuIfHxJl7m0bLXgCoy82JS9yEknmU";

#[test]
fn with_a_login_players_are_whom_they_have_shown_to_be() {
    let login =
        Login { secret: "s".into(), cookie: "auth_token".into(), guest_prefix: "guest-".into() };
    let config = Config { login: Some(login), ..Config::default() };
    let mut shard = Shard::new(config);
    let hello = Hello { cookie: Some(format!("auth_token={ANN}")), ..Hello::default() };
    let (ann, guest) = (shard.connect_as(hello), shard.connect());
    let mut ask = |who, id| {
        let ack = shard.ask(who, "player:join", json!({"playerId": id}));
        (ack["ok"] == true, ack["message"].clone())
    };
    assert!(ask(ann, "ann").0);
    assert_eq!(ask(ann, "bob"), (false, json!("playerId needs a login")));
    assert_eq!(ask(guest, "ann"), (false, json!("playerId needs a login")));
    assert!(ask(guest, "guest-1").0);
    assert!(ask(ann, "guest-2").0);
}

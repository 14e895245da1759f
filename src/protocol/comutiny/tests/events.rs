//! What clients say and are told (specs: comutiny §2, §3).

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::{Catalogue, Config};
use super::harness::{Heard, Shard};

fn shard() -> Shard {
    Shard::new(Config::default())
}

fn player(id: &str) -> Value {
    json!({
        "id": id, "name": format!("Player {id}"), "position": {"x": 0, "y": 0, "z": 0},
        "animation": "idle", "metadata": {},
    })
}

fn heard(event: &str, value: Value) -> Heard {
    (event.to_owned(), value)
}

#[test]
fn the_world_is_shown_first_and_unasked() {
    let mut shard = shard();
    let client = shard.connect();
    let told = shard.take(client);
    assert_eq!(told.len(), 1);
    let (event, snapshot) = &told[0];
    assert_eq!(event, "world:state");
    let message = &snapshot["chat"][0];
    assert_eq!(
        *snapshot,
        json!({
            "world": {"id": "hello-world", "name": "Hello World", "description": "A world to meet in"},
            "players": [],
            "chat": [{
                "id": message["id"], "playerId": "system", "author": "System",
                "content": "Hello World", "timestamp": "2023-11-14T22:13:21.000Z",
            }],
            "spriteAtlas": {"version": 1, "updatedAt": null, "sprites": [], "lookup": {}},
        })
    );
    let id = message["id"].as_str().unwrap();
    let (time, random) = id.split_once('-').unwrap();
    assert_eq!(time, "loyw3vu0", "the clock in base 36");
    assert_eq!(random.len(), 8);
    assert!(id.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric()));
    assert_eq!(shard.snapshot()["chat"], snapshot["chat"], "the same for everybody");
}

#[test]
fn who_joins_is_answered_with_the_world_and_the_others_are_told() {
    let mut shard = shard();
    let (a, b) = (shard.connect(), shard.connect());
    shard.forget(&[a, b]);
    let ack = shard.ask(a, "player:join", json!({"playerId": " a ", "name": " Ann "}));
    let ann = json!({
        "id": "a", "name": "Ann", "position": {"x": 0, "y": 0, "z": 0},
        "animation": "idle", "metadata": {},
    });
    let mut snapshot = shard.snapshot();
    assert_eq!(ack, json!({"ok": true, "state": snapshot, "player": ann}));
    assert_eq!(snapshot["players"].take(), json!([ann]));
    assert_eq!(shard.take(a), []);
    assert_eq!(shard.take(b), [heard("player:joined", ann)]);
    assert_eq!(shard.describe(), "world 1");
}

#[test]
fn a_join_needs_an_id() {
    let mut shard = shard();
    let client = shard.connect();
    for payload in [
        json!({}),
        json!({"playerId": ""}),
        json!({"playerId": " \u{FEFF}\n"}),
        json!({"playerId": 5}),
        json!({"playerId": null}),
        json!({"playerId": ["a"]}),
        json!(null),
        json!("a"),
        json!(7),
        json!([]),
        json!([{"playerId": "a"}]),
    ] {
        let ack = shard.ask(client, "player:join", payload.clone());
        assert_eq!(ack, json!({"ok": false, "message": "playerId is required"}), "{payload}");
    }
    let ack = shard.begin(client, &[json!("player:join")]);
    assert_eq!(shard.answer(client, ack).unwrap()["message"], "playerId is required");
    assert_eq!(shard.snapshot()["players"], json!([]));
}

#[test]
fn a_join_again_replaces_the_whole_record_at_its_place() {
    let mut shard = shard();
    let (a, b) = (shard.connect(), shard.join("b"));
    shard.ask(
        a,
        "player:join",
        json!({"playerId": "a", "name": "Ann", "animation": "walk", "metadata": {"k": 1}}),
    );
    let c = shard.join("c");
    shard.take(b);
    let ack = shard.ask(a, "player:join", json!({"playerId": "a", "metadata": {"l": [2]}}));
    let mut again = player("a");
    again["metadata"] = json!({"l": [2]});
    assert_eq!(ack["player"], again);
    assert_eq!(shard.take(b), [heard("player:joined", again.clone())]);
    assert_eq!(shard.take(c), [heard("player:joined", again.clone())]);
    assert_eq!(shard.snapshot()["players"], json!([player("b"), again, player("c")]));
}

#[test]
fn updates_tell_the_others_the_whole_player() {
    let mut shard = shard();
    let (a, b) = (shard.join("a"), shard.join("b"));
    shard.take(a);
    let said = json!({
        "position": {"x": "1.5", "y": null, "w": 4}, "animation": " walk ", "name": "Ann",
        "metadata": {"m": {"deep": [1]}, "appearance": {"hair": " short ", "wig": "no"}},
    });
    let ack = shard.ask(a, "player:update", said);
    let mut ann = json!({
        "id": "a", "name": "Ann", "position": {"x": 1.5, "y": 0, "z": 0}, "animation": "walk",
        "metadata": {"appearance": {"hair": "short"}, "m": {"deep": [1]}},
    });
    assert_eq!(ack, json!({"ok": true, "player": ann}));
    assert_eq!(shard.take(b), [heard("player:updated", ann.clone())]);
    assert_eq!(shard.take(a), []);
    // Nothing of it is in force: an update all the same.
    shard.say(
        a,
        "player:update",
        json!({"position": 0, "animation": "", "name": " ", "metadata": "x"}),
    );
    assert_eq!(shard.take(b), [heard("player:updated", ann.clone())]);
    // Key by key, but an appearance by its own keys.
    let said = json!({"metadata": {"m": 2, "appearance": {"face": "round", "hair": null}}});
    shard.say(a, "player:update", said);
    ann["metadata"] = json!({"appearance": {"face": "round", "hair": null}, "m": 2});
    assert_eq!(shard.take(b), [heard("player:updated", ann)]);
    assert_eq!(shard.ask(a, "player:update", Value::Null)["ok"], true, "as if it were empty");
}

#[test]
fn only_players_update() {
    let mut shard = shard();
    let (client, b) = (shard.connect(), shard.join("b"));
    for payload in [json!({"position": {"x": 1}}), json!({}), json!(5), Value::Null] {
        let ack = shard.ask(client, "player:update", payload);
        assert_eq!(ack, json!({"ok": false, "message": "Player not registered"}));
    }
    assert_eq!(shard.take(b), []);
}

#[test]
fn what_is_relayed_comes_as_it_was_sent() {
    let mut shard = shard();
    let (a, b) = (shard.join("a"), shard.join("b"));
    let said = r#"2["player:update",{"metadata":{"z": 1e400,"a":{"k":1,"k":2},"\u0061":-0,"s":"\ud800","t": "x"}}]"#;
    shard.send(a, said);
    let texts = shard.take_texts(b);
    // The last value of a key counts, at the place of the first.
    let metadata = r#""metadata":{"z":1e400,"a":-0,"s":"\ud800","t":"x"}}]"#;
    assert!(texts[0].ends_with(metadata), "{texts:?}");
    assert!(texts[0].starts_with(r#"42["player:updated",{"id":"a","#), "{texts:?}");
}

#[test]
fn who_leaves_is_gone_for_the_others_once() {
    let mut shard = shard();
    let (a, b) = (shard.join("a"), shard.join("b"));
    shard.take(a);
    let ack = shard.begin(a, &[json!("player:leave")]);
    assert_eq!(shard.answer(a, ack), Some(json!({"ok": true})));
    assert_eq!(shard.take(b), [heard("player:left", json!({"id": "a"}))]);
    assert_eq!(shard.take(a), []);
    // It plays nobody now, and may come back.
    let ack = shard.begin(a, &[json!("player:leave")]);
    assert_eq!(shard.answer(a, ack), Some(json!({"ok": true})));
    assert_eq!(shard.ask(a, "player:update", json!({}))["message"], "Player not registered");
    shard.end(a);
    assert_eq!(shard.take(b), []);
    shard.join("a");
    assert_eq!(shard.take(b), [heard("player:joined", player("a"))]);
}

#[test]
fn a_connection_that_ends_takes_its_player_with_it() {
    let mut shard = shard();
    let (a, b, c) = (shard.join("a\"b"), shard.join("b"), shard.join("c"));
    shard.forget(&[a, b]);
    // By a packet, by its end.
    shard.send(a, "1");
    for name in [b, c] {
        assert_eq!(shard.take(name), [heard("player:left", json!({"id": "a\"b"}))]);
    }
    shard.end(b);
    assert_eq!(shard.take(c), [heard("player:left", json!({"id": "b"}))]);
    shard.end(a);
    assert_eq!(shard.take(c), []);
    assert_eq!(shard.snapshot()["players"], json!([player("c")]));
}

#[test]
fn who_did_not_join_leaves_unnoticed() {
    let mut shard = shard();
    let (lurker, b) = (shard.connect(), shard.join("b"));
    shard.end(lurker);
    assert_eq!(shard.take(b), []);
}

#[test]
fn a_second_id_gives_up_the_first() {
    let mut shard = shard();
    let (a, b) = (shard.join("a"), shard.join("b"));
    shard.take(a);
    let ack = shard.ask(a, "player:join", json!({"playerId": "z"}));
    assert_eq!(ack["state"]["players"], json!([player("b"), player("z")]));
    assert_eq!(
        shard.take(b),
        [heard("player:left", json!({"id": "a"})), heard("player:joined", player("z"))]
    );
    assert_eq!(shard.take(a), []);
    // A join that is refused gives up nothing.
    assert_eq!(shard.ask(a, "player:join", json!({"playerId": " "}))["ok"], false);
    assert_eq!(shard.snapshot()["players"], json!([player("b"), player("z")]));
}

#[test]
fn anything_else_is_ignored() {
    let mut shard = shard();
    let (a, b) = (shard.join("a"), shard.join("b"));
    shard.take(a);
    for text in [
        r#"2["object:interact",{"objectId":"x"}]"#,
        r#"27["world:state"]"#,
        r#"2["player:joined",{"id":"x"}]"#,
        r#"2["error"]"#,
        r#"2[5,{}]"#,
        r#"31[]"#,
        "2",
    ] {
        shard.send(a, text);
    }
    assert!(shard.take_texts(a).is_empty());
    assert_eq!(shard.take(b), []);
}

#[test]
fn updates_that_wait_leave_together_and_newest_only() {
    let config = Config { update_interval_ms: 50, ..Config::default() };
    let mut shard = Shard::new(config);
    let (a, b, c) = (shard.join("a"), shard.join("b"), shard.join("c"));
    shard.forget(&[a, b]);
    for x in 1..4 {
        let ack = shard.ask(a, "player:update", json!({"position": {"x": x}}));
        assert_eq!(ack["player"]["position"]["x"], x, "answered at once");
        shard.say(b, "player:update", json!({"animation": format!("walk{x}")}));
        shard.pass(10);
    }
    assert_eq!(shard.take(c), []);
    assert_eq!(shard.snapshot()["players"][0]["position"]["x"], 3, "who comes is not kept waiting");
    shard.pass(20);
    let (mut one, mut other) = (player("a"), player("b"));
    (one["position"]["x"], other["animation"]) = (json!(3), json!("walk3"));
    let updates = [heard("player:updated", one.clone()), heard("player:updated", other.clone())];
    assert_eq!(shard.take(c), updates);
    assert_eq!(shard.take(b), updates[..1]);
    shard.pass(1_000);
    assert_eq!(shard.take(c), []);
    // What else is said of a player comes after its update, or makes it worthless.
    shard.say(a, "player:update", json!({"name": "Ann"}));
    shard.say(b, "player:update", json!({"name": "Bob"}));
    shard.say(a, "chat:message", json!({"content": "hi"}));
    shard.end(b);
    shard.pass(50);
    one["name"] = json!("Ann");
    let told = shard.take(c);
    let events: Vec<_> = told.iter().map(|(event, _)| event.as_str()).collect();
    assert_eq!(events, ["player:updated", "chat:message", "player:left"]);
    assert_eq!(told[0].1, one);
}

const CATALOGUE: &str = r#"{
    "avatars": [{"id": "k", "name": "Knight", "layerHair": "helmet", "layerFace": null,
        "spriteAsset": {"id": 4, "name": "s", "category": "c", "imageUrl": "u"}}],
    "world": {"id": " w ", "name": "W", "description":
        "d"},
    "atlas": {"version": 3, "updatedAt": "2024", "sprites": [{"id": "s", "n": 1}, {"n": 2}]}
}"#;

#[test]
fn an_operator_tells_of_avatars_the_world_and_sprites() {
    let catalogue = Arc::new(Catalogue::parse(CATALOGUE).unwrap());
    let mut shard = Shard::new(Config { catalogue, ..Config::default() });
    let snapshot = shard.snapshot();
    assert_eq!(snapshot["world"], json!({"id": "w", "name": "W", "description": "d"}));
    assert_eq!(
        snapshot["spriteAtlas"],
        json!({
            "version": 3, "updatedAt": "2024", "sprites": [{"id": "s", "n": 1}, {"n": 2}],
            "lookup": {"s": {"id": "s", "n": 1}},
        })
    );
    let a = shard.connect();
    let said = json!({
        "playerId": "a", "avatarId": "k",
        "metadata": {"appearance": {"face": "scar", "hair": null, "mesh": "m"}, "x": 1},
    });
    let ack = shard.ask(a, "player:join", said);
    assert_eq!(ack["player"]["name"], "Knight");
    let sprite = json!({"id": 4, "name": "s", "category": "c", "imageUrl": "u", "metadata": null});
    assert_eq!(
        ack["player"]["metadata"],
        json!({
            "avatarId": "k", "x": 1, "sprite": sprite, "spriteAssetId": 4,
            "appearance": {
                "hair": "helmet", "face": "scar", "outfit": null, "shoes": null, "mesh": "m",
            },
        })
    );
}

#[test]
fn when_the_operators_file_changes_everybody_is_told_of_what_is_shown() {
    let told = |text: &str| {
        let catalogue = Arc::new(Catalogue::parse(text).unwrap());
        Config { catalogue, ..Config::default() }
    };
    let mut shard = Shard::new(told(CATALOGUE));
    let (a, b) = (shard.join("a"), shard.connect());
    shard.forget(&[a, b]);
    // Avatars alone are nobody's business yet.
    let avatars = CATALOGUE.replace("Knight", "Knave");
    shard.configure(told(&avatars));
    assert_eq!((shard.take(a), shard.take(b)), (vec![], vec![]));
    let ack = shard.ask(a, "player:join", json!({"playerId": "a", "avatarId": "k"}));
    assert_eq!(ack["player"]["name"], "Knave");
    shard.forget(&[a, b]);
    let sprites = avatars.replace("\"version\": 3", "\"version\": 4");
    shard.configure(told(&sprites));
    let snapshot = shard.snapshot();
    assert_eq!(snapshot["spriteAtlas"]["version"], 4);
    let atlas = heard("sprites:atlasUpdated", snapshot["spriteAtlas"].clone());
    assert_eq!((shard.take(a), shard.take(b)), (vec![atlas.clone()], vec![atlas]));
    // Another world is shown as it is to newcomers.
    shard.configure(told(&sprites.replace("\"name\": \"W\"", "\"name\": \"V\"")));
    let snapshot = shard.snapshot();
    assert_eq!(snapshot["world"]["name"], "V");
    let world = heard("world:state", snapshot);
    assert_eq!((shard.take(a), shard.take(b)), (vec![world.clone()], vec![world]));
}

#[test]
fn a_catalogue_of_another_form_is_refused() {
    for text in ["", "5", "{\"avatars\":[{}]}", "[{\"id\":5}]", "{\"world\":1}", "[] []"] {
        assert!(Catalogue::parse(text).is_err(), "{text}");
    }
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(100), "]".repeat(100));
    assert!(Catalogue::parse(&deep).is_err());
    assert!(Catalogue::parse("[{\"id\":\"a\"}]").unwrap().get("a").is_some());
    assert!(Catalogue::parse("{\"other\":1}").is_ok());
}

#[test]
fn what_later_clients_say_is_told_if_they_said_it() {
    let mut shard = shard();
    let (a, b) = (shard.connect(), shard.join("b"));
    let said = json!({
        "playerId": "a", "alias": " Al ", "direction": " LEFT ", "sprite": " s ",
        "metadata": {"mapId": "m", "appearance": {"visorColor": "#fff"}},
    });
    shard.say(a, "player:join", said);
    let mut al = player("a");
    al["name"] = json!("Al");
    al["metadata"] = json!({"mapId": "m", "appearance": {"visorColor": "#fff"}});
    (al["alias"], al["direction"], al["sprite"]) = (json!("Al"), json!("left"), json!("s"));
    assert_eq!(shard.take(b), [heard("player:joined", al.clone())]);
    shard.say(a, "player:update", json!({"alias": "Bo", "name": "x", "direction": "up"}));
    (al["alias"], al["name"], al["direction"]) = (json!("Bo"), json!("Bo"), json!("up"));
    assert_eq!(shard.take(b), [heard("player:updated", al.clone())]);
    shard.say(a, "player:update", json!({"alias": " ", "sprite": 5, "direction": "north"}));
    assert_eq!(shard.take(b), [heard("player:updated", al)], "none of them is one");
}

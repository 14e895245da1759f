//! §1–§3: connecting, creating, joining and leaving, and what comes of nonsense.

use serde_json::{Value, json};

use super::super::Config;
use super::harness::{EPOCH_MS, World, error};
use crate::protocol::Message;

#[test]
fn s1_the_first_frame_names_the_user() {
    let mut world = World::new();
    let given = world.connect_to("/any/path?userId=J%C3%BC&apiKey=ignored");
    assert_eq!(world.take_texts(given), [r#"{"event":"connected","data":{"userId":"Jü"}}"#]);
    for target in ["/", "/?userId="] {
        let made = world.connect_to(target);
        let id = world.take(made)[0]["data"]["userId"].as_str().unwrap().to_owned();
        let random = id.strip_prefix("user-").unwrap();
        assert!(random.len() == 9 && random.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
}

#[test]
fn s1_without_the_key_there_is_no_connected_event_but_a_close() {
    let config = Config { api_key: Some("k y".to_owned()), ..Config::default() };
    let mut world = World::with(config);
    for target in ["/?userId=a", "/?userId=a&apiKey=", "/?apiKey=k+x", "/?apiKey=k+y+"] {
        let name = world.connect_to(target);
        let close = world.closed(name).unwrap();
        assert_eq!((close.code, close.reason), (1008, "Invalid API key"));
        assert!(world.take(name).is_empty());
    }
    let name = world.connect_to("/?userId=a&apiKey=k%20y");
    assert_eq!(world.closed(name), None);
    assert_eq!(world.take(name).len(), 1);
}

#[test]
fn s5_user_ids_are_short_and_plain() {
    let mut world = World::new();
    for id in ["a%00b", "%0A", &"x".repeat(129)] {
        let name = world.connect(id);
        assert_eq!(world.closed(name).map(|close| close.code), Some(1008), "{id}");
    }
    let name = world.connect(&"x".repeat(128));
    assert_eq!(world.closed(name), None);
}

#[test]
fn s2_create_room_answers_and_does_not_join() {
    let mut world = World::new();
    let name = world.connect("a");
    world.take(name);
    world.act(name, json!({"action": "create_room", "requestId": "r1", "roomId": "one"}));
    assert_eq!(
        world.take_texts(name),
        [r#"{"event":"room_created","data":{"requestId":"r1","roomId":"one"}}"#]
    );
    assert_eq!(world.place(name), Some("hall"));
    world.act(name, json!({"action": "create_room", "roomId": "one"}));
    assert_eq!(world.take(name), [error("Room already exists", json!("absent"))]);
    world.act(name, json!({"action": "create_room", "requestId": 7}));
    let answer = world.take(name).remove(0);
    assert_eq!(answer["data"]["requestId"], 7, "echoed as it came");
    let id = answer["data"]["roomId"].as_str().unwrap();
    assert!(id.len() == 14 && id.starts_with("room-"), "{id}");
}

#[test]
fn s2_the_server_holds_so_many_rooms_those_joined_into_being_included() {
    let config = Config { rooms_max: 2, creations_per_minute_max: 0, ..Config::default() };
    let mut world = World::with(config);
    let (a, b) = (world.connect("a"), world.connect("b"));
    world.act(a, json!({"action": "create_room", "roomId": "one"}));
    world.join(a, "two");
    world.take(b);
    for action in ["create_room", "join_room"] {
        world.act(b, json!({"action": action, "roomId": "three", "requestId": "x"}));
        assert_eq!(world.take(b), [error("Server at capacity", json!("x"))]);
        world.act(b, json!({"action": action, "roomId": "one", "requestId": "x"}));
        let answer = world.take(b).remove(0);
        if action == "create_room" {
            assert_eq!(answer, error("Server at capacity", json!("x")), "checked first");
        } else {
            assert_eq!(answer["event"], "room_joined");
        }
    }
}

#[test]
fn s3_room_joined_has_users_in_join_order_and_the_state_of_a_new_room() {
    let mut world = World::new();
    let (a, b) = (world.connect("a"), world.connect("b"));
    world.take(a);
    world.act(a, json!({"action": "join_room", "requestId": "j", "roomId": "r"}));
    let now = EPOCH_MS;
    let state = r#"{"version":0,"sceneUrl":"","sceneLoaded":false,"treeViewState":{},"annotations":[],"focusPoints":[],"sessionSettings":{"avatarsVisible":true,"syncCameraFraming":false,"allowAnnotations":true}}"#;
    let user = |id: &str| {
        format!(
            r#"{{"id":"{id}","name":"{id}","role":"viewer","connected":true,"lastSeen":{now}}}"#
        )
    };
    let first = user("a");
    assert_eq!(
        world.take_texts(a),
        [format!(
            r#"{{"event":"room_joined","data":{{"requestId":"j","roomInfo":{{"roomId":"r","users":[{first}],"state":{state},"createdAt":{now}}}}}}}"#
        )]
    );
    world.take(b);
    let avatar = json!({"type": "simple", "color": "#fff", "displayName": "B"});
    let info = json!({"userId": "liar", "name": "Bé", "role": "host", "avatar": avatar});
    world.act(b, json!({"action": "join_room", "roomId": "r", "userInfo": info}));
    let joined = world.take(b).remove(0);
    assert_eq!(joined["data"].get("requestId"), None);
    let users = &joined["data"]["roomInfo"]["users"];
    assert_eq!(users[0]["id"], "a");
    let second = json!({"id": "b", "name": "Bé", "role": "host", "avatar": avatar,
        "connected": true, "lastSeen": now});
    assert_eq!(users[1], second);
    assert_eq!(world.take(a), [json!({"event": "user_joined", "data": {"user": second}})]);
}

#[test]
fn s2_what_a_user_is_stays_with_the_connection_but_for_the_avatar() {
    let mut world = World::new();
    let a = world.connect("a");
    let info = json!({"name": "A", "role": "editor", "avatar": {"type": "vrm"}});
    world.act(a, json!({"action": "join_room", "roomId": "one", "userInfo": info}));
    world.act(a, json!({"action": "leave_room"}));
    world.take(a);
    let user = |world: &mut World, info: Value| {
        world.act(a, json!({"action": "join_room", "roomId": "two", "userInfo": info}));
        world.take(a).remove(0)["data"]["roomInfo"]["users"][0].take()
    };
    let same = user(&mut world, Value::Null);
    assert_eq!((&same["name"], &same["avatar"]["type"]), (&json!("A"), &json!("vrm")));
    let bare = user(&mut world, json!({"name": "", "role": null}));
    assert_eq!((&bare["name"], &bare["role"]), (&json!("A"), &json!("editor")));
    assert_eq!(bare.get("avatar"), None);
    assert_eq!(user(&mut world, json!({"role": "king"}))["role"], "viewer");
}

#[test]
fn s2_a_full_room_and_a_wrong_password_lead_back_to_the_hall() {
    let mut world = World::new();
    let names: Vec<_> = ["a", "b", "c"].iter().map(|user| world.connect(user)).collect();
    let config = json!({"maxUsers": "2", "password": "p\u{e9}"});
    world.act(names[0], json!({"action": "create_room", "roomId": "r", "config": config}));
    let join = |world: &mut World, name: usize, password: Value| {
        world.take(name);
        let request = json!({"action": "join_room", "requestId": 1, "roomId": "r",
            "password": password});
        world.act(name, request);
        world.take(name).remove(0)
    };
    for wrong in [Value::Null, json!("x"), json!(""), json!(["p\u{e9}"])] {
        assert_eq!(join(&mut world, names[0], wrong), error("Invalid password", json!(1)));
        assert_eq!(world.place(names[0]), Some("hall"));
    }
    assert_eq!(join(&mut world, names[0], json!("p\u{e9}"))["event"], "room_joined");
    assert_eq!(join(&mut world, names[1], json!("p\u{e9}"))["event"], "room_joined");
    assert_eq!(join(&mut world, names[2], json!("x")), error("Room is full", json!(1)), "first");
    // Who is in already is not counted twice.
    assert_eq!(join(&mut world, names[0], json!("p\u{e9}"))["event"], "room_joined");
    assert_eq!(world.users("r"), ["a", "b"]);
    world.end(names[1]);
    assert_eq!(join(&mut world, names[2], json!("p\u{e9}"))["event"], "room_joined");
}

#[test]
fn s5_max_users_is_what_javascript_makes_of_it_within_bounds() {
    let holds = |max: Value| {
        let config = Config { users_max_default: 3, users_max: 4, ..Config::default() };
        let mut world = World::with(config);
        let first = world.connect("0");
        world.act(
            first,
            json!({"action": "create_room", "roomId": "r", "config": {"maxUsers": max}}),
        );
        for user in 1..7 {
            let name = world.connect(&user.to_string());
            world.join(name, "r");
        }
        world.users("r").len()
    };
    for (max, expected) in [
        (json!(2), 2),
        (json!(1.5), 2),
        (json!("2"), 2),
        (json!(0), 3),
        (json!("0"), 3),
        (json!("many"), 3),
        (json!(null), 3),
        (json!([]), 3),
        (json!(-5), 1),
        (json!(1e300), 4),
    ] {
        assert_eq!(holds(max.clone()), expected, "{max}");
    }
}

#[test]
fn s2_leaving_is_told_to_the_others_and_the_empty_room_is_gone() {
    let mut world = World::new();
    let (a, b) = (world.connect("a"), world.connect("b"));
    world.join(a, "r");
    world.join(b, "r");
    world.take(a);
    world.act(b, json!({"action": "leave_room", "roomId": "ignored"}));
    assert_eq!(world.take_texts(a), [r#"{"event":"user_left","data":{"userId":"b"}}"#]);
    assert!(world.take(b).is_empty());
    world.act(b, json!({"action": "leave_room"}));
    assert!(world.take(b).is_empty(), "silent in no room");
    assert_eq!(world.stats()["rooms"][0]["userCount"], 1);
    world.end(a);
    assert!(!world.is_there("room/r"));
    assert_eq!(world.stats(), json!({"rooms": [], "totalUsers": 1}));
    world.end(b);
    world.pass(1_000);
    assert!(!world.is_there("hall"));
}

#[test]
fn s5_joining_elsewhere_leaves_first() {
    let mut world = World::new();
    let (a, b) = (world.connect("a"), world.connect("b"));
    world.join(a, "one");
    world.join(b, "one");
    world.take(a);
    assert_eq!(world.join(b, "two")[0]["event"], "room_joined");
    assert_eq!(world.take(a), [json!({"event": "user_left", "data": {"userId": "b"}})]);
    assert_eq!((world.users("one"), world.users("two")), (vec!["a".into()], vec!["b".into()]));
}

#[test]
fn s2_joining_the_same_room_again_is_told_again_but_counted_once() {
    let mut world = World::new();
    let (a, b) = (world.connect("a"), world.connect("b"));
    world.join(a, "r");
    world.join(b, "r");
    world.take(b);
    let again = world.join_as(a, "r", "host").pop().unwrap();
    assert_eq!(again["data"]["roomInfo"]["users"][0]["role"], "host");
    assert_eq!(world.take(b)[0]["data"]["user"]["role"], "host");
    assert_eq!(world.users("r"), ["a", "b"]);
}

#[test]
fn s5_rooms_need_an_id_that_is_one() {
    let mut world = World::new();
    let a = world.connect("a");
    for place in ["hall", "room/r"] {
        assert_eq!(world.place(a), Some(place));
        world.take(a);
        for id in [Value::Null, json!(""), json!(5), json!("a\nb"), json!("x".repeat(129))] {
            world.act(a, json!({"action": "join_room", "requestId": "q", "roomId": id}));
            assert_eq!(world.take(a), [error("Invalid room ID", json!("q"))], "{id}");
        }
        for id in [json!(5), json!("a\u{7f}"), json!("x".repeat(129))] {
            world.act(a, json!({"action": "create_room", "roomId": id}));
            assert_eq!(world.take(a), [error("Invalid room ID", json!("absent"))], "{id}");
        }
        world.join(a, "r");
    }
    let long = "é".repeat(64);
    assert_eq!(world.join(a, &long)[0]["data"]["roomInfo"]["roomId"], long);
}

#[test]
fn s5_names_and_avatars_have_bounds() {
    let mut world = World::new();
    let a = world.connect("a");
    world.take(a);
    for info in [
        json!({"name": "x".repeat(65)}),
        json!({"name": "a\u{1}"}),
        json!({"name": 5}),
        json!({"avatar": {"url": "x".repeat(4096)}}),
    ] {
        world.act(a, json!({"action": "join_room", "roomId": "r", "userInfo": info}));
        assert_eq!(world.take(a), [error("Invalid user info", json!("absent"))]);
    }
    let info = json!({"name": "é".repeat(64)});
    world.act(a, json!({"action": "join_room", "roomId": "r", "userInfo": info}));
    assert_eq!(world.take(a)[0]["event"], "room_joined");
}

#[test]
fn s2_what_cannot_be_understood_is_answered_alike_everywhere() {
    let mut world = World::new();
    let a = world.connect("a");
    for place in ["hall", "room/r"] {
        assert_eq!(world.place(a), Some(place));
        world.take(a);
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        for text in ["", " ", "null", "{", "{}x", "nul", &deep, "{\"requestId\":1,}"] {
            world.say(a, text);
            assert_eq!(
                world.take_texts(a),
                [
                    r#"{"event":"error","data":{"message":"Invalid message format","requestId":null}}"#
                ],
                "{text}"
            );
        }
        for (text, printed) in [
            ("{}", "undefined"),
            ("[]", "undefined"),
            ("5", "undefined"),
            ("\"x\"", "undefined"),
            (r#"{"action":null}"#, "null"),
            (r#"{"action":"fly"}"#, "fly"),
            (r#"{"action":12.50}"#, "12.5"),
            (r#"{"action":{"a":1}}"#, "[object Object]"),
            (r#"{"action":["broadcast"]}"#, "broadcast"),
        ] {
            world.say(a, text);
            let expected = error(&format!("Unknown action: {printed}"), json!("absent"));
            assert_eq!(world.take(a), [expected], "{text}");
        }
        world.tell(a, Message::Binary(br#"{"action":"fly","requestId":null}"#));
        assert_eq!(world.take(a), [error("Unknown action: fly", Value::Null)]);
        world.tell(a, Message::Binary(b"\xff"));
        assert_eq!(world.take(a), [error("Invalid message format", Value::Null)]);
        world.join(a, "r");
    }
}

#[test]
fn s2_a_member_of_a_room_may_create_another_and_is_answered_in_order() {
    let mut world = World::new();
    let (a, b) = (world.connect("a"), world.connect("b"));
    world.join(a, "r");
    world.join(b, "r");
    world.take(a);
    world.settles = false;
    world.act(a, json!({"action": "create_room", "requestId": 1, "roomId": "s"}));
    world.act(a, json!({"action": "create_room", "requestId": 2, "roomId": "s"}));
    world.act(a, json!({"action": "fly", "requestId": 3}));
    world.act(a, json!({"action": "join_room", "requestId": 4, "roomId": "s"}));
    world.act(a, json!({"action": "fly", "requestId": 5}));
    world.settle();
    let answers = world.take(a);
    let ids: Vec<_> = answers.iter().map(|answer| answer["data"]["requestId"].clone()).collect();
    assert_eq!(ids, [json!(1), json!(2), json!(3), json!(4), json!(5)]);
    assert_eq!(answers[0]["event"], "room_created");
    assert_eq!(answers[1]["data"]["message"], "Room already exists");
    assert_eq!(answers[3]["event"], "room_joined");
    assert_eq!(world.place(a), Some("room/s"));
}

#[test]
fn s5_a_room_that_nobody_joins_is_swept_after_a_day() {
    let mut world = World::new();
    let (a, b) = (world.connect("a"), world.connect("b"));
    world.act(a, json!({"action": "create_room", "roomId": "idle"}));
    let config = json!({"persistent": true});
    world.act(a, json!({"action": "create_room", "roomId": "kept", "config": config}));
    world.join(b, "busy");
    world.pass(24 * 3_600_000 - 60_000);
    assert_eq!(world.stats()["rooms"].as_array().unwrap().len(), 3);
    world.pass(120_000);
    let rooms = world.stats()["rooms"].clone();
    assert_eq!((&rooms[0]["roomId"], &rooms[1]["roomId"]), (&json!("kept"), &json!("busy")));
    assert_eq!(world.counters.gallery_rooms.get(), 2);
}

#[test]
fn s5_an_address_may_not_create_rooms_without_end() {
    let config = Config { creations_per_minute_max: 3, ..Config::default() };
    let mut world = World::with(config);
    let a = world.connect("a");
    let create = |world: &mut World| {
        world.take(a);
        world.act(a, json!({"action": "create_room"}));
        world.take(a).remove(0)
    };
    for _ in 0..3 {
        assert_eq!(create(&mut world)["event"], "room_created");
    }
    assert_eq!(create(&mut world), error("Too many rooms created", json!("absent")));
    world.join(a, "r");
    assert_eq!(world.place(a), Some("hall"), "joining into being counts as well");
    world.pass(20_001);
    assert_eq!(create(&mut world)["event"], "room_created");
}

#[test]
fn s6_stats_are_the_originals() {
    let mut world = World::new();
    let (a, b) = (world.connect("a"), world.connect("b"));
    world.join(a, "one");
    world.pass(1_000);
    world.join(b, "two");
    world.pass(1_000);
    world.broadcast(b, json!({"type": "chat_message"}));
    let (one, two) = (EPOCH_MS, EPOCH_MS + 1_000);
    assert_eq!(
        world.stats(),
        json!({"rooms": [
            {"roomId": "one", "userCount": 1, "createdAt": one, "lastActivity": one},
            {"roomId": "two", "userCount": 1, "createdAt": two, "lastActivity": two},
        ], "totalUsers": 2})
    );
    assert_eq!(world.counters.gallery_rooms.get(), 2);
    assert_eq!(world.counters.gallery_connections.get(), 2);
    let mut hidden = World::with(Config { hide_rooms: true, ..Config::default() });
    let c = hidden.connect("c");
    hidden.join(c, "secret");
    assert_eq!(hidden.stats(), json!({"rooms": [], "totalUsers": 1}));
}

//! §4 and §5: what is relayed, what it changes, and who may say it.

use serde_json::{Value, json};

use super::super::{Config, Permissions, Role};
use super::harness::{EPOCH_MS, Name, World, error, message};

/// A host, an editor and a viewer in one room, who have heard everything so far.
fn trio(config: Config) -> (World, [Name; 3]) {
    let mut world = World::with(config);
    let names = ["host", "editor", "viewer"].map(|role| {
        let name = world.connect(role);
        world.join_as(name, "r", role);
        name
    });
    names.iter().for_each(|&name| drop(world.take(name)));
    (world, names)
}

fn default_trio() -> (World, [Name; 3]) {
    trio(Config::default())
}

fn update(version: Value, data: Value) -> Value {
    json!({"type": "state_update", "senderId": "x", "timestamp": 1,
        "data": {"type": "patch", "userId": "x", "timestamp": 1, "data": data, "version": version}})
}

/// The state that somebody who comes now is sent.
fn state(world: &mut World) -> Value {
    let name = world.connect("late");
    let state = world.join(name, "r").pop().unwrap()["data"]["roomInfo"]["state"].take();
    world.end(name);
    state
}

fn denied() -> Value {
    error("Permission denied", json!("b"))
}

#[test]
fn s4_what_the_server_does_not_know_is_relayed_to_all_others() {
    let (mut world, [host, editor, viewer]) = default_trio();
    for kind in [
        "pose_update",
        "chat_message",
        "join_session",
        "request_control",
        "state_request",
        "__proto__",
        "never heard of",
    ] {
        let said = json!({"type": kind, "senderId": "viewer", "timestamp": 1.5e300,
            "data": {"a": [1, null]}, "unknown": {"deep": true}});
        world.broadcast(viewer, said.clone());
        for other in [host, editor] {
            assert_eq!(world.take(other), [message(said.clone(), "viewer")]);
        }
        assert!(world.take(viewer).is_empty());
    }
    for said in [json!("text"), json!(5), json!(["pose_update"]), json!({})] {
        world.broadcast(viewer, said.clone());
        assert_eq!(world.take(host), [message(said, "viewer")]);
    }
}

#[test]
fn s5_the_sender_inside_is_overwritten_and_the_rest_stays_as_it_is() {
    let (mut world, [host, _, viewer]) = default_trio();
    let say = |world: &mut World, inner: &str| {
        world.say(
            viewer,
            &format!(r#"{{"action":"broadcast","roomId":"other","message":{inner}}}"#),
        );
        world.take_texts(host).remove(0)
    };
    let event = |inner: &str| {
        format!(r#"{{"event":"message","data":{{"message":{inner},"senderId":"viewer"}}}}"#)
    };
    for (said, heard) in [
        (
            r#"{"type":"t", "senderId" : "host","x":1.0}"#,
            r#"{"type":"t", "senderId" : "viewer","x":1.0}"#,
        ),
        (r#"{"senderId":{"a":"b"},"type":"t"}"#, r#"{"senderId":"viewer","type":"t"}"#),
        (
            r#"{"senderId":1,"s":2,"sender\u0049d":3}"#,
            r#"{"senderId":"viewer","s":2,"sender\u0049d":"viewer"}"#,
        ),
        (
            r#"{ "data":{"senderId":"host"},"e":"\ud800\n"}"#,
            r#"{ "data":{"senderId":"host"},"e":"\ud800\n"}"#,
        ),
        (r#"{"type":"t"}"#, r#"{"type":"t"}"#),
    ] {
        assert_eq!(say(&mut world, said), event(heard));
    }
}

#[test]
fn s2_messages_need_a_room_and_a_message() {
    let (mut world, [host, _, viewer]) = default_trio();
    for action in ["broadcast", "send_message"] {
        world.act(viewer, json!({"action": action, "requestId": 1, "targetUserId": "host"}));
        assert_eq!(world.take(viewer), [error("Invalid message format", Value::Null)]);
    }
    let outside = world.connect("outside");
    world.take(outside);
    for request in [
        json!({"action": "broadcast"}),
        json!({"action": "broadcast", "message": {"type": "chat_message"}}),
        json!({"action": "send_message", "targetUserId": "host", "message": {"type": "t"}}),
        json!({"action": "leave_room"}),
    ] {
        world.act(outside, request);
        assert!(world.take(outside).is_empty());
    }
    assert!(world.take(host).is_empty());
}

#[test]
fn s5_direct_messages_stay_in_the_room() {
    let (mut world, [host, editor, viewer]) = default_trio();
    let other = world.connect("other");
    world.join(other, "elsewhere");
    let send = |world: &mut World, target: Value| {
        let said = json!({"type": "chat_message", "senderId": "host", "data": {"text": "hi"}});
        world.act(
            viewer,
            json!({"action": "send_message", "targetUserId": target, "message": said}),
        );
    };
    send(&mut world, json!("editor"));
    let heard = json!({"type": "chat_message", "senderId": "viewer", "data": {"text": "hi"}});
    assert_eq!(world.take(editor), [message(heard.clone(), "viewer")]);
    send(&mut world, json!("viewer"));
    assert_eq!(world.take(viewer), [message(heard, "viewer")], "also to oneself");
    for target in [json!("other"), json!("nobody"), Value::Null, json!(5)] {
        send(&mut world, target);
    }
    for name in [host, editor, viewer, other] {
        assert!(world.take(name).is_empty());
    }
}

#[test]
fn s5_a_version_must_be_a_newer_integer_or_the_sender_is_healed() {
    let (mut world, [host, editor, viewer]) = default_trio();
    world.broadcast(editor, update(json!(5), json!({"sceneUrl": "a.glb", "version": 99})));
    assert_eq!(world.take(host).len(), 1);
    assert!(world.take(editor).is_empty());
    world.take(viewer);
    let now = state(&mut world);
    assert_eq!((&now["version"], &now["sceneUrl"]), (&json!(5), &json!("a.glb")));
    world.names_forget(&[host, editor, viewer]);
    for (version, why) in [
        (json!(5), "Stale version"),
        (json!(4), "Stale version"),
        (json!(-1), "Stale version"),
        (json!(5.5), "Invalid version"),
        (json!("6"), "Invalid version"),
        (Value::Null, "Invalid version"),
        (json!(1e300), "Invalid version"),
        (json!(9_007_199_254_740_991_u64), "Invalid version"),
        (json!(6 + (1_u64 << 32)), "Invalid version"),
    ] {
        world.broadcast(editor, update(version.clone(), json!({"sceneUrl": "b"})));
        let heal =
            json!({"type": "state_full", "senderId": "server", "timestamp": EPOCH_MS, "data": now});
        let expected = [error(why, json!("b")), message(heal, "server")];
        assert_eq!(world.take(editor), expected, "{version}");
        assert!(world.take(host).is_empty());
    }
    assert_eq!(state(&mut world), now);
    world.names_forget(&[host, editor]);
    world.broadcast(editor, update(json!(5 + (1_u64 << 32)), json!({})));
    assert_eq!(world.take(host).len(), 1);
    assert_eq!(state(&mut world)["version"], 5 + (1_u64 << 32));
}

#[test]
fn s4_a_patch_merges_and_a_full_update_replaces() {
    let (mut world, [host, ..]) = default_trio();
    world.broadcast(
        host,
        update(
            json!(1),
            json!({"sceneUrl": "a", "sceneLoaded": true,
        "treeViewState": {"x": 1}, "mine": [1], "__proto__": {"y": 2}}),
        ),
    );
    world.broadcast(host, update(json!(2), json!({"treeViewState": {"z": 3}, "mine": 2})));
    let now = state(&mut world);
    assert_eq!(now["sceneUrl"], "a");
    assert_eq!(now["treeViewState"], json!({"z": 3}));
    assert_eq!((&now["mine"], &now["__proto__"]), (&json!(2), &json!({"y": 2})));
    let mut full = update(json!(3), json!({"sceneUrl": "b"}));
    full["data"]["type"] = json!("full");
    world.broadcast(host, full);
    let now = state(&mut world);
    assert_eq!((&now["sceneUrl"], &now["sceneLoaded"]), (&json!("b"), &json!(false)));
    assert_eq!((&now["treeViewState"], &now["version"]), (&json!({}), &json!(3)));
}

#[test]
fn s4_known_keys_keep_their_kind() {
    let (mut world, [host, editor, _]) = default_trio();
    for data in [
        json!({"sceneUrl": 5}),
        json!({"sceneLoaded": "yes"}),
        json!({"treeViewState": []}),
        json!({"annotations": {}}),
        json!({"annotations": [{"text": "no id"}]}),
        json!({"focusPoints": [5]}),
        json!({"sessionSettings": null}),
        json!([]),
        json!("x"),
    ] {
        world.broadcast(host, update(json!(1), data.clone()));
        assert_eq!(world.take(host), [error("Invalid message format", Value::Null)], "{data}");
    }
    world.broadcast(host, json!({"type": "state_update"}));
    assert_eq!(world.take(host), [error("Invalid message format", Value::Null)]);
    assert!(world.take(editor).is_empty());
    assert_eq!(state(&mut world)["version"], 0);
}

#[test]
fn s5_each_role_may_what_it_may() {
    let (mut world, names) = default_trio();
    let [host, editor, viewer] = names;
    let mut version = 0;
    let mut may = |world: &mut World, name: Name, said: Value| {
        version += 1;
        let mut said = said;
        if said["type"] == "state_update" {
            said["data"]["version"] = json!(version);
        }
        world.names_forget(&names);
        world.broadcast(name, said);
        let answer = world.take(name);
        let heard: Vec<_> =
            names.iter().filter(|other| **other != name).map(|&o| world.take(o).len()).collect();
        assert_eq!(answer.is_empty(), heard == [1, 1], "refused and relayed, or neither");
        assert!(answer.is_empty() || answer == [denied()]);
        answer.is_empty()
    };
    let scene = update(json!(0), json!({"sceneUrl": "x"}));
    let settings = update(json!(0), json!({"sessionSettings": {"allowAnnotations": true}}));
    let add =
        json!({"type": "annotation_add", "data": {"id": "n", "userId": "editor", "text": ""}});
    for (said, who_may) in [
        (scene, [true, true, false]),
        (update(json!(0), json!({"treeViewState": {}})), [true, true, false]),
        (update(json!(0), json!({"else": 1})), [true, true, false]),
        (update(json!(0), json!({})), [true, true, false]),
        (settings, [true, false, false]),
        (json!({"type": "camera_frame"}), [true, true, false]),
        (json!({"type": "grant_control"}), [true, true, false]),
        (json!({"type": "request_control"}), [true, true, true]),
        (json!({"type": "state_request"}), [true, true, true]),
        (json!({"type": "state_full", "data": {}}), [true, false, false]),
        (add, [true, false, false]),
        (json!({"type": "annotation_remove", "data": "unknown"}), [true, false, false]),
        (json!({"type": "focus_change", "data": {"userId": "x"}}), [true, true, true]),
        (json!({"type": "gaze_update"}), [true, true, true]),
    ] {
        for (name, allowed) in names.into_iter().zip(who_may) {
            assert_eq!(may(&mut world, name, said.clone()), allowed, "{said} by {name}");
        }
    }
    // An annotation of one's own may be changed and removed.
    let own = |text| json!({"type": "annotation_add", "data": {"id": "own", "text": text}});
    assert!(may(&mut world, editor, own("a")) && may(&mut world, editor, own("b")));
    assert!(!may(&mut world, viewer, json!({"type": "annotation_remove", "data": "own"})));
    assert!(may(&mut world, editor, json!({"type": "annotation_remove", "data": "own"})));
    assert!(may(&mut world, host, json!({"type": "annotation_remove", "data": "n"})));
}

#[test]
fn s5_a_full_update_by_an_editor_must_leave_the_settings() {
    let (mut world, [host, editor, _]) = default_trio();
    let mut full = update(json!(1), json!({"sceneUrl": "x"}));
    full["data"]["type"] = json!("full");
    world.broadcast(editor, full.clone());
    assert_eq!(world.take(host).len(), 1);
    full["data"]["version"] = json!(2);
    full["data"]["data"]["sessionSettings"] = json!({"allowAnnotations": false});
    world.broadcast(editor, full);
    assert_eq!(world.take(editor), [denied()]);
}

#[test]
fn s5_permissions_are_four_knobs() {
    let permissions = Permissions {
        scene_change: Role::Viewer,
        tree_view_change: Role::Host,
        annotations: Role::Viewer,
        camera_control: Role::Viewer,
    };
    let (mut world, [_, editor, viewer]) = trio(Config { permissions, ..Config::default() });
    let mut allowed = |name: Name, said: Value| {
        world.take(name);
        world.broadcast(name, said);
        let answer = world.take(name);
        assert!(answer.is_empty() || answer[0] == denied(), "{answer:?}");
        answer.is_empty()
    };
    assert!(allowed(viewer, update(json!(1), json!({"sceneUrl": "x", "sceneLoaded": true}))));
    assert!(!allowed(viewer, update(json!(2), json!({"sceneUrl": "x", "other": 1}))));
    assert!(!allowed(viewer, update(json!(2), json!({}))));
    assert!(!allowed(editor, update(json!(2), json!({"treeViewState": {}}))));
    assert!(allowed(viewer, json!({"type": "annotation_add", "data": {"id": "1"}})));
    assert!(allowed(viewer, json!({"type": "annotation_remove", "data": "1"})));
    assert!(allowed(viewer, json!({"type": "camera_frame"})));
}

#[test]
fn s5_what_is_denied_to_all_is_denied_in_private_too() {
    let (mut world, [_, editor, viewer]) = default_trio();
    let send = |message: Value| {
        json!({"action": "send_message", "requestId": "b", "targetUserId": "editor",
            "message": message})
    };
    world.act(viewer, send(update(json!(1), json!({"sceneUrl": "x"}))));
    world.act(viewer, send(json!({"type": "state_full", "data": {}})));
    assert_eq!(world.take(viewer), [denied(), denied()]);
    assert!(world.take(editor).is_empty());
    world.act(editor, send(update(json!(1), json!({"sceneUrl": "x"}))));
    assert_eq!(world.take(editor).len(), 1);
    assert_eq!(state(&mut world)["version"], 0, "what is said in private changes nothing");
}

#[test]
fn s5_annotations_are_there_for_whoever_comes_late() {
    let (mut world, [host, editor, _]) = default_trio();
    let note = |id: &str| json!({"id": id, "userId": "editor", "text": id, "color": "#fff"});
    for id in ["1", "2", "3"] {
        world.broadcast(editor, json!({"type": "annotation_add", "data": note(id)}));
    }
    world.broadcast(editor, json!({"type": "annotation_remove", "data": "2"}));
    assert_eq!(state(&mut world)["annotations"], json!([note("1"), note("3")]));
    for data in [Value::Null, json!("x"), json!({"text": "no id"}), json!({"id": 5})] {
        world.take(editor);
        world.broadcast(editor, json!({"type": "annotation_add", "data": data}));
        assert_eq!(world.take(editor), [error("Invalid message format", Value::Null)], "{data}");
    }
    let closed = json!({"sessionSettings": {"allowAnnotations": false}});
    world.broadcast(host, update(json!(1), closed));
    world.names_forget(&[host, editor]);
    for name in [host, editor] {
        world.broadcast(name, json!({"type": "annotation_add", "data": note("4")}));
        assert_eq!(world.take(name), [denied()]);
    }
}

#[test]
fn s5_a_user_has_one_focus_point_while_it_lasts() {
    let (mut world, [host, editor, viewer]) = default_trio();
    let focus = |path: &str, duration: Value| {
        json!({"type": "focus_change", "data": {"userId": "x", "targetObjectPath": path,
            "position": [0, 0, 0], "timestamp": 1, "duration": duration}})
    };
    let paths = |world: &mut World| {
        let state = state(world);
        let points = state["focusPoints"].as_array().unwrap().clone();
        let paths =
            points.iter().map(|point| point["targetObjectPath"].as_str().unwrap().to_owned());
        paths.collect::<Vec<_>>()
    };
    world.broadcast(host, focus("a", Value::Null));
    world.broadcast(host, focus("b", Value::Null));
    world.broadcast(viewer, focus("c", json!(500)));
    world.broadcast(editor, focus("d", json!(0)));
    assert_eq!(paths(&mut world), ["b", "c", "d"]);
    world.pass(499);
    assert_eq!(paths(&mut world), ["b", "c", "d"]);
    world.pass(1);
    assert_eq!(paths(&mut world), ["b", "d"]);
    world.end(host);
    assert_eq!(paths(&mut world), ["d"]);
    world.broadcast(editor, json!({"type": "focus_change", "data": null}));
    assert!(paths(&mut world).is_empty());
    world.take(editor);
    world.broadcast(editor, json!({"type": "focus_change", "data": "x"}));
    assert_eq!(world.take(editor), [error("Invalid message format", Value::Null)]);
}

#[test]
fn s5_the_state_has_a_size() {
    let config = Config { state_bytes_max: 1_000, ..Config::default() };
    let (mut world, [host, editor, _]) = trio(config);
    let too_large = error("State too large", json!("b"));
    let url = |length| json!({"sceneUrl": "x".repeat(length)});
    world.broadcast(editor, update(json!(1), url(900)));
    world.broadcast(editor, update(json!(2), url(950)));
    assert!(world.take(editor).is_empty(), "what is replaced does not count");
    world.broadcast(editor, update(json!(3), url(999)));
    world.broadcast(editor, json!({"type": "annotation_add", "data": {"id": "x".repeat(50)}}));
    world.broadcast(editor, json!({"type": "focus_change", "data": {"id": "x".repeat(50)}}));
    assert_eq!(world.take(editor), [too_large.clone(), too_large.clone(), too_large.clone()]);
    assert_eq!(world.take(host).len(), 2);
    assert_eq!(state(&mut world)["version"], 2);
    world.broadcast(editor, update(json!(3), url(10)));
    let many: serde_json::Map<_, _> = (0..257).map(|key| (key.to_string(), json!(0))).collect();
    world.names_forget(&[editor]);
    world.broadcast(editor, update(json!(4), Value::Object(many)));
    assert_eq!(world.take(editor), [too_large]);
}

#[test]
fn s5_one_host_at_a_time_if_wanted() {
    let config = Config { one_host: true, ..Config::default() };
    let mut world = World::with(config);
    let names = ["a", "b", "c"].map(|user| {
        let name = world.connect(user);
        let joined = world.join_as(name, "r", "host").pop().unwrap();
        let users = joined["data"]["roomInfo"]["users"].as_array().unwrap();
        let expected = if user == "a" { "host" } else { "editor" };
        assert_eq!(users.last().unwrap()["role"], expected);
        name
    });
    world.names_forget(&names);
    world.end(names[0]);
    for name in &names[1..] {
        let heard = world.take(*name);
        assert_eq!(heard[0], json!({"event": "user_left", "data": {"userId": "a"}}));
        let user = &heard[1]["data"]["user"];
        assert_eq!((&user["id"], &user["role"]), (&json!("b"), &json!("host")));
    }
    world.broadcast(names[1], json!({"type": "state_full"}));
    assert!(world.take(names[1]).is_empty());
}

#[test]
fn s5_roles_are_what_is_signed_where_a_secret_is_set() {
    // printf 'u|r|host|1800000000' | openssl dgst -sha256 -hmac s
    let token = "host.1800000000.e970f74a92dc4d351d8ca4aed6780a75d12a42543b0c3ba85d6893d84d19cb5e";
    let config = Config { role_secret: Some("s".to_owned()), ..Config::default() };
    let mut world = World::with(config);
    let role = |world: &mut World, name: Name, room: &str| {
        let joined = world.join_as(name, room, "editor").pop().unwrap();
        let users = joined["data"]["roomInfo"]["users"].as_array().unwrap();
        users.last().unwrap()["role"].as_str().unwrap().to_owned()
    };
    let signed = world.connect_to(&format!("/?userId=u&token={token}"));
    assert_eq!(role(&mut world, signed, "r"), "host");
    assert_eq!(role(&mut world, signed, "s"), "viewer", "not signed for this room");
    assert_eq!(role(&mut world, signed, "r"), "host");
    let forged = world.connect_to(&format!("/?userId=v&token={token}"));
    assert_eq!(role(&mut world, forged, "r"), "viewer");
    let bare = world.connect("w");
    assert_eq!(role(&mut world, bare, "r"), "viewer");
}

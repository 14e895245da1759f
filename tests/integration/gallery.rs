//! Gallery Viewer rooms over the wire, with one shard and with rooms on two: every rule that clients
//! can see (specs: gallery).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::gallery::{
    Visitor, await_stats, error, framed, join, message, on_shards, patch, room_on, stats,
};
use crate::support::http::{self, Connection};
use crate::support::random::Random;
use crate::support::server::{Scratch, Server, command};
use crate::support::websocket::{Client, frame, frame_with};
use crate::support::{eventually, reset_on_drop};

/// The state of a room that nobody has changed.
fn new_state() -> Value {
    json!({
        "version": 0, "sceneUrl": "", "sceneLoaded": false, "treeViewState": {},
        "annotations": [], "focusPoints": [],
        "sessionSettings":
            {"avatarsVisible": true, "syncCameraFraming": false, "allowAnnotations": true},
    })
}

/// A host and a viewer who have both heard of each other.
fn pair(address: SocketAddr, room: &str) -> [Visitor; 2] {
    let [mut host, mut viewer] = ["host", "viewer"].map(|id| Visitor::connect(address, id));
    host.join(room, "host");
    viewer.join(room, "viewer");
    host.hear_joined("viewer");
    [host, viewer]
}

/// Takes the named times out of an object and checks that they are of this century.
fn take_times(object: &mut Value, names: &[&str]) {
    for name in names {
        let at = object[name].take().as_u64().expect("a time in ms");
        assert!((1_500_000_000_000..4_200_000_000_000).contains(&at), "{name} is {at}");
        object.as_object_mut().expect("an object").remove(*name);
    }
}

#[test]
fn the_first_thing_a_connection_hears_is_who_it_is() {
    on_shards(&[], |server, _| {
        let address = server.address();
        let mut client = Client::open(address, "/?userId=u1");
        assert_eq!(client.text(), r#"{"event":"connected","data":{"userId":"u1"}}"#);
        Visitor::connect_at(address, "/any/where?x=1&userId=J%C3%BCrgen+B", "Jürgen B");
        let mut client = Client::open(address, "/");
        let connected: Value = serde_json::from_str(&client.text()).expect("events are JSON");
        let id = connected["data"]["userId"].as_str().expect("an id");
        let made = id.strip_prefix("user-").expect("the server makes an id");
        let plain = made.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
        assert!(made.len() == 9 && plain, "{id}");
        for bad in ["a%0Ab", &"x".repeat(129)] {
            let mut client = Client::open(address, &format!("/?userId={bad}"));
            assert_eq!(client.closed(), (1008, "Invalid user ID".to_owned()));
        }
    });
}

#[test]
fn the_common_listener_has_the_gallery_under_its_prefix() {
    let server = Server::start(2, &[]);
    for target in ["/gallery?userId=u", "/gallery/?userId=u", "/gallery/any?userId=u"] {
        Visitor::connect_at(server.address(), target, "u").join("r", "host");
    }
    eventually("nobody is there", || {
        let stats = http::get(server.address(), "/gallery/stats");
        stats.text() == "{\n  \"rooms\": [],\n  \"totalUsers\": 0\n}"
    });
    server.stop();
}

#[test]
fn rooms_are_created_joined_and_left() {
    on_shards(&[], |server, [room, _]| {
        let [mut a, mut b] = ["a", "b"].map(|id| Visitor::connect(server.address(), id));
        let created = json!({"event": "room_created", "data": {"requestId": "1", "roomId": room}});
        let create = json!({"action": "create_room", "requestId": "1", "roomId": room, "config":
            {"name": "A room", "maxUsers": 10}});
        assert_eq!(a.ask(&create), created);
        let config = json!({"name": "Another"});
        let created = a.ask(&json!({"action": "create_room", "requestId": 2, "config": config}));
        assert_eq!(
            (&created["event"], &created["data"]["requestId"]),
            (&json!("room_created"), &json!(2))
        );
        let id = created["data"]["roomId"].as_str().expect("an id");
        assert!(id.len() == "room-".len() + 9 && id.starts_with("room-"), "{id}");
        // Creating is not joining.
        await_stats(server, &[(room, 0), (id, 0)], 2);

        let avatar = json!({"type": "simple", "color": "#f00", "displayName": "A"});
        let mut joined = a.ask(&json!({"action": "join_room", "requestId": "3", "roomId": room,
            "userInfo": {"userId": "liar", "name": "Anna", "role": "host", "avatar": avatar}}));
        let mut anna =
            json!({"id": "a", "name": "Anna", "role": "host", "avatar": avatar, "connected": true});
        let info = &mut joined["data"]["roomInfo"];
        take_times(info, &["createdAt"]);
        take_times(&mut info["users"][0], &["lastSeen"]);
        let users = json!([anna]);
        let info = json!({"roomId": room, "users": users, "state": new_state()});
        assert_eq!(
            joined,
            json!({"event": "room_joined", "data": {"requestId": "3", "roomInfo": info}})
        );

        // The key is absent where there is no id, and so is the avatar; an unknown role is a viewer.
        let mut joined = b.ask(&json!({"action": "join_room", "roomId": room,
            "userInfo": {"role": "emperor"}}));
        assert_eq!(joined["data"].as_object().expect("an object").len(), 1);
        let mut ben = json!({"id": "b", "name": "b", "role": "viewer", "connected": true});
        let users = &mut joined["data"]["roomInfo"]["users"];
        (0..2).for_each(|at| take_times(&mut users[at], &["lastSeen"]));
        assert_eq!(*users, json!([anna, ben]));
        let mut event = a.hear();
        take_times(&mut event["data"]["user"], &["lastSeen"]);
        assert_eq!(event, json!({"event": "user_joined", "data": {"user": ben}}));

        // Again: told again, counted once. What is not said of the user stays, but for the avatar.
        let again = a.ask(&json!({"action": "join_room", "roomId": room,
            "userInfo": {"name": "Änne"}}));
        (anna["name"], ben["name"]) = (json!("Änne"), json!("b"));
        anna.as_object_mut().expect("an object").remove("avatar");
        let mut users = again["data"]["roomInfo"]["users"].clone();
        (0..2).for_each(|at| take_times(&mut users[at], &["lastSeen"]));
        assert_eq!(users, json!([anna, ben]));
        b.hear_joined("a");
        await_stats(server, &[(room, 2), (id, 0)], 2);

        // No answer to who leaves, and nothing to hear in no room.
        a.say(&json!({"action": "leave_room", "requestId": "4", "roomId": "ignored"}));
        b.hear_left("a");
        a.settle();
        b.broadcast(&json!({"type": "chat_message"}));
        b.settle();
        a.settle();
        a.say(&json!({"action": "leave_room"}));
        a.settle();
        b.say(&json!({"action": "leave_room"}));
        b.settle();
        await_stats(server, &[(id, 0)], 2);
        // Joining makes it, anew.
        let info = b.join(room, "viewer");
        assert_eq!(
            (&info["users"][0]["id"], info["users"].as_array().map(Vec::len)),
            (&json!("b"), Some(1))
        );
        drop((a, b));
        await_stats(server, &[(id, 0)], 0);
    });
}

#[test]
fn what_is_said_reaches_all_others_as_it_was_said() {
    on_shards(&[], |server, [room, other]| {
        let [mut host, mut viewer] = pair(server.address(), room);
        let mut third = Visitor::connect(server.address(), "third");
        third.join(room, "viewer");
        host.hear_joined("third");
        viewer.hear_joined("third");
        let mut outsider = Visitor::connect(server.address(), "outsider");
        outsider.join(other, "host");
        let mut lobby = Visitor::connect(server.address(), "lobby");

        // Byte for byte but for the sender; the room that is named does not matter.
        let odd =
            r#"{"type":"x", "data" : [1.0,1e2,-0,"\u00e9\/",{}],"unknown":null,"senderId":"host"}"#;
        host.client.send_text(&format!(
            r#"{{"roomId":{},"action":"broadcast","message":{odd},"requestId":"9"}}"#,
            json!(other)
        ));
        let expected =
            format!(r#"{{"event":"message","data":{{"message":{odd},"senderId":"host"}}}}"#);
        for listener in [&mut viewer, &mut third] {
            assert_eq!(listener.client.text(), expected);
        }
        // Who claims to be somebody else is not believed.
        viewer.broadcast(&message("host", "chat_message", &json!({"text": "I am the host"})));
        let honest = message("viewer", "chat_message", &json!({"text": "I am the host"}));
        assert_eq!(host.hear_message("viewer"), honest);
        assert_eq!(third.hear_message("viewer"), honest);
        // Every kind that everybody may say, in order; also what nobody knows, and what is no object.
        let kinds = [
            "pose_update",
            "gaze_update",
            "chat_message",
            "request_control",
            "join_session",
            "leave_session",
            "user_joined",
            "user_left",
            "state_request",
            "__proto__",
            "unheard of",
        ];
        for kind in kinds {
            third.broadcast(&message("third", kind, &json!({})));
        }
        for plain in [json!(5), json!("text"), json!([]), json!(null), json!({})] {
            third.broadcast(&plain);
        }
        for listener in [&mut host, &mut viewer] {
            for kind in kinds {
                assert_eq!(listener.hear_message("third")["type"], kind);
            }
            for plain in [json!(5), json!("text"), json!([]), json!(null), json!({})] {
                assert_eq!(listener.hear_message("third"), plain);
            }
        }
        // To one only, who is in the same room.
        let secret = message("viewer", "chat_message", &json!({"text": "psst"}));
        let to = |target: &str| json!({"action": "send_message", "targetUserId": target, "message": secret});
        viewer.say(&to("host"));
        assert_eq!(host.hear_message("viewer"), secret);
        viewer.say(&to("viewer"));
        assert_eq!(viewer.hear_message("viewer"), secret);
        for nobody in ["outsider", "lobby", "nobody", ""] {
            viewer.say(&to(nobody));
        }
        viewer.say(&json!({"action": "send_message", "message": secret}));
        lobby.say(&to("host"));
        lobby.broadcast(&secret);
        for everybody in [&mut viewer, &mut lobby, &mut host, &mut third, &mut outsider] {
            everybody.settle();
        }
    });
}

#[test]
fn frames_that_are_binary_or_in_pieces_say_the_same() {
    on_shards(&[], |server, [room, _]| {
        let [mut host, mut viewer] = pair(server.address(), room);
        let said = message("host", "chat_message", &json!({"text": "ü"}));
        let broadcast = json!({"action": "broadcast", "message": said}).to_string();
        host.client.send(&frame(true, 2, broadcast.as_bytes()));
        assert_eq!(viewer.hear_message("host"), said);
        let (head, tail) = broadcast.as_bytes().split_at(20);
        host.client.send(&[frame(false, 2, head), frame(true, 0, tail)].concat());
        assert_eq!(viewer.hear_message("host"), said);
        host.client.send(&frame(true, 2, b"\xFF\xFE"));
        let unparsable = json!({"message": "Invalid message format", "requestId": null});
        assert_eq!(host.hear(), json!({"event": "error", "data": unparsable}));
        let join = json!({"action": "join_room", "requestId": "b", "roomId": "binary"}).to_string();
        host.client.send(&frame(true, 2, join.as_bytes()));
        assert_eq!(host.hear()["data"]["requestId"], "b");
        viewer.hear_left("host");
    });
}

#[test]
fn what_makes_no_sense_is_answered_and_the_connection_stays() {
    on_shards(&[], |server, [room, _]| {
        let mut lobby = Visitor::connect(server.address(), "lobby");
        let [mut host, mut viewer] = pair(server.address(), room);
        let unparsable =
            r#"{"event":"error","data":{"message":"Invalid message format","requestId":null}}"#;
        let cases = [
            ("", None),
            ("null", None),
            ("{", None),
            ("{\"action\":\"broadcast\"", None),
            (&"[".repeat(10_000), None),
            ("[]", Some("undefined")),
            ("7", Some("undefined")),
            ("{}", Some("undefined")),
            (r#"{"action":null}"#, Some("null")),
            (r#"{"action":1.50}"#, Some("1.5")),
            (r#"{"action":{}}"#, Some("[object Object]")),
            (r#"{"action":[1,["a",null]]}"#, Some("1,a,")),
            (r#"{"action":"join"}"#, Some("join")),
            (r#"{"action":"__proto__"}"#, Some("__proto__")),
            (r#"{"action":"a\"b\u00fc"}"#, Some("a\"bü")),
        ];
        for visitor in [&mut lobby, &mut host] {
            for (text, unknown) in cases {
                visitor.client.send_text(text);
                match unknown {
                    None => assert_eq!(visitor.client.text(), unparsable, "{text:.100}"),
                    Some(name) => {
                        assert_eq!(visitor.hear(), error(&format!("Unknown action: {name}")))
                    }
                }
            }
            let answer = visitor.ask(&json!({"action": "x", "requestId": "7"}));
            let told = json!({"message": "Unknown action: x", "requestId": "7"});
            assert_eq!(answer, json!({"event": "error", "data": told}));
        }
        host.say(&json!({"action": "broadcast", "requestId": "8"}));
        assert_eq!(host.client.text(), unparsable);
        viewer.settle();
    });
}

#[test]
fn rooms_and_users_need_ids_and_names_that_are_some() {
    on_shards(&[], |server, [room, _]| {
        let mut lobby = Visitor::connect(server.address(), "lobby");
        let [mut host, mut viewer] = pair(server.address(), room);
        let long = "x".repeat(129);
        for visitor in [&mut lobby, &mut host] {
            for bad in [json!(null), json!(""), json!(5), json!(["a"]), json!("a\nb"), json!(long)]
            {
                let answer = visitor.ask(&json!({"action": "join_room", "roomId": bad}));
                assert_eq!(answer, error("Invalid room ID"), "{bad}");
            }
            assert_eq!(visitor.ask(&json!({"action": "join_room"})), error("Invalid room ID"));
            let create = json!({"action": "create_room", "roomId": long});
            assert_eq!(visitor.ask(&create), error("Invalid room ID"));
            let password = json!({"action": "create_room", "config": {"password": long}});
            assert_eq!(visitor.ask(&password), error("Invalid password"));
            for info in [json!({"name": long}), json!({"avatar": {"url": "x".repeat(4 << 10)}})] {
                let join = json!({"action": "join_room", "roomId": "r", "userInfo": info});
                assert_eq!(visitor.ask(&join), error("Invalid user info"));
            }
        }
        // Nobody has left for that.
        viewer.settle();
        await_stats(server, &[(room, 2)], 3);
    });
}

#[test]
fn a_room_has_a_capacity_and_a_password() {
    on_shards(&[], |server, [room, other]| {
        let config = json!({"maxUsers": 2, "password": "sesame"});
        let mut visitors = ["a", "b", "c"].map(|id| Visitor::connect(server.address(), id));
        let [a, b, c] = &mut visitors;
        a.ask(&json!({"action": "create_room", "roomId": room, "config": config}));
        let enter = |password: &str| json!({"action": "join_room", "requestId": "j", "roomId": room, "password": password});
        let refused =
            |why: &str| json!({"event": "error", "data": {"message": why, "requestId": "j"}});
        let without = json!({"action": "join_room", "requestId": "j", "roomId": room});
        assert_eq!(a.ask(&without), refused("Invalid password"));
        assert_eq!(a.ask(&enter("Sesame")), refused("Invalid password"));
        await_stats(server, &[(room, 0)], 3);
        assert_eq!(a.ask(&enter("sesame"))["event"], "room_joined");
        assert_eq!(b.ask(&enter("sesame"))["event"], "room_joined");
        a.hear_joined("b");
        // Full comes first; a member that joins again is not refused for it.
        assert_eq!(c.ask(&enter("wrong")), refused("Room is full"));
        assert_eq!(a.ask(&enter("sesame"))["event"], "room_joined");
        b.hear_joined("a");
        assert_eq!(a.ask(&enter("wrong")), refused("Invalid password"));
        // Who was refused may go anywhere, and knows nothing of the room.
        c.broadcast(&json!("nobody hears"));
        c.join(other, "host");
        let info = b.ask(&enter("sesame"));
        a.hear_joined("b");
        assert!(!info.to_string().contains("sesame"));
        await_stats(server, &[(room, 2), (other, 1)], 3);
        // A member of another room has left it when it is refused here.
        let mut d = Visitor::connect(server.address(), "d");
        d.join(other, "viewer");
        c.hear_joined("d");
        assert_eq!(d.ask(&enter("sesame")), refused("Room is full"));
        c.hear_left("d");
        b.say(&json!({"action": "leave_room"}));
        a.hear_left("b");
        assert_eq!(d.ask(&enter("sesame"))["event"], "room_joined");
        a.hear_joined("d");
    });
}

#[test]
fn of_many_who_join_at_once_as_many_get_in_as_fit() {
    const MAX: usize = 7;
    on_shards(&[], |server, [room, _]| {
        let mut visitors: Vec<_> = (0..20)
            .map(|number| Visitor::connect(server.address(), &format!("u{number}")))
            .collect();
        let config = json!({"maxUsers": MAX});
        visitors[0].ask(&json!({"action": "create_room", "roomId": room, "config": config}));
        for visitor in &mut visitors {
            let request = join(room, &visitor.id, "viewer");
            visitor.say(&request);
        }
        let (mut entered, mut refused) = (Vec::new(), Vec::new());
        for mut visitor in visitors {
            let mut event = visitor.hear();
            if event["event"] == "room_joined" {
                entered.push((visitor, event["data"]["roomInfo"]["users"].take()));
            } else {
                assert_eq!(event, error("Room is full"));
                refused.push(visitor);
            }
        }
        assert_eq!(entered.len(), MAX);
        // Each has seen who was there, and hears of those who come later.
        for (visitor, users) in &mut entered {
            for _ in users.as_array().map_or(0, Vec::len)..MAX {
                assert_eq!(visitor.hear()["event"], "user_joined");
            }
            visitor.settle();
        }
        await_stats(server, &[(room, MAX as u64)], 20);
    });
}

#[test]
fn the_server_holds_so_many_rooms() {
    on_shards(&["--gallery-rooms-max", "2"], |server, [room, other]| {
        let mut a = Visitor::connect(server.address(), "a");
        let mut b = Visitor::connect(server.address(), "b");
        let create = |room: &str| json!({"action": "create_room", "roomId": room});
        assert_eq!(a.ask(&create(room))["event"], "room_created");
        assert_eq!(a.ask(&create(room)), error("Room already exists"));
        a.join(other, "host");
        // From a room as from none, and by joining, too.
        for visitor in [&mut a, &mut b] {
            assert_eq!(visitor.ask(&create("third")), error("Server at capacity"));
        }
        assert_eq!(b.ask(&join("third", "b", "host")), error("Server at capacity"));
        b.join(room, "host");
        // To a third, without leaving: there is none. Then it has left.
        assert_eq!(b.ask(&join("third", "b", "host")), error("Server at capacity"));
        await_stats(server, &[(other, 1)], 2);
        assert_eq!(a.ask(&create("third"))["event"], "room_created");
    });
}

#[test]
fn joining_elsewhere_leaves_first_and_nothing_said_is_lost() {
    on_shards(&[], |server, [room, other]| {
        let mut here = Visitor::connect(server.address(), "here");
        let mut there = Visitor::connect(server.address(), "there");
        here.join(room, "host");
        there.join(other, "host");
        let mut wanderer = Visitor::connect(server.address(), "wanderer");
        wanderer.join(room, "viewer");
        here.hear_joined("wanderer");
        wanderer.join(other, "editor");
        here.hear_left("wanderer");
        there.hear_joined("wanderer");
        await_stats(server, &[(room, 1), (other, 2)], 3);
        wanderer.say(&json!({"action": "leave_room"}));
        there.hear_left("wanderer");
        // Many times in one breath: each room hears what was said in it, in order.
        const ROUNDS: u64 = 30;
        let mut bytes = Vec::new();
        for round in 0..ROUNDS {
            for at in [room, other] {
                bytes.extend(framed(&join(at, "wanderer", "viewer")));
                let message = json!({"round": round, "at": at});
                bytes.extend(framed(&json!({"action": "broadcast", "message": message})));
            }
            bytes.extend(framed(&json!({"action": "leave_room"})));
            bytes.extend(framed(&json!({"action": "broadcast", "message": "to nobody"})));
        }
        wanderer.client.send(&bytes);
        for round in 0..ROUNDS {
            for (at, host) in [(room, &mut here), (other, &mut there)] {
                host.hear_joined("wanderer");
                assert_eq!(host.hear_message("wanderer"), json!({"round": round, "at": at}));
                host.hear_left("wanderer");
                let event = wanderer.hear();
                assert_eq!(event["data"]["roomInfo"]["roomId"], at, "{event}");
            }
        }
        for visitor in [&mut wanderer, &mut here, &mut there] {
            visitor.settle();
        }
        await_stats(server, &[(room, 1), (other, 1)], 3);
    });
}

#[test]
fn of_two_connections_of_one_user_the_newer_stays() {
    on_shards(&[], |server, [room, other]| {
        let replaced = (4001, "Replaced by a new connection".to_owned());
        let [mut host, mut old] = pair(server.address(), room);
        // In a room: nobody else notices, whether it comes back there or says things first.
        let mut new = Visitor::connect(server.address(), "viewer");
        assert_eq!(old.client.closed(), replaced);
        let info = new.join(room, "editor");
        assert_eq!(info["users"][0]["id"], "host");
        assert_eq!(info["users"][1]["id"], "viewer");
        assert_eq!(info["users"].as_array().map(Vec::len), Some(2));
        new.broadcast(&json!("it is me"));
        assert_eq!(host.hear_message("viewer"), "it is me");
        host.settle();
        await_stats(server, &[(room, 2)], 2);
        // Many in a row, and at once.
        let mut all: Vec<_> = (0..10)
            .map(|_| {
                let mut visitor = Visitor::connect(server.address(), "viewer");
                visitor.say(&join(room, "viewer", "viewer"));
                visitor
            })
            .collect();
        let mut newest = all.pop().expect("ten");
        assert_eq!(new.client.closed(), replaced);
        for old in &mut all {
            assert_eq!(old.client.closed(), replaced);
        }
        assert_eq!(newest.hear()["event"], "room_joined");
        newest.broadcast(&json!("still me"));
        assert_eq!(host.hear_message("viewer"), "still me");
        await_stats(server, &[(room, 2)], 2);
        // It goes elsewhere: then the place is given up.
        let mut elsewhere = Visitor::connect(server.address(), "viewer");
        assert_eq!(newest.client.closed(), replaced);
        elsewhere.join(other, "host");
        host.hear_left("viewer");
        // Or away.
        let mut again = Visitor::connect(server.address(), "viewer");
        assert_eq!(elsewhere.client.closed(), replaced);
        drop(elsewhere);
        again.join(room, "viewer");
        host.hear_joined("viewer");
        let last = Visitor::connect(server.address(), "viewer");
        assert_eq!(again.client.closed(), replaced);
        drop(last);
        host.hear_left("viewer");
        // Where no room is involved.
        let mut one = Visitor::connect(server.address(), "one");
        let mut two = Visitor::connect(server.address(), "one");
        assert_eq!(one.client.closed(), replaced);
        two.settle();
        await_stats(server, &[(room, 1)], 2);
    });
}

#[test]
fn a_stale_version_is_refused_and_its_sender_healed() {
    on_shards(&[], |server, [room, _]| {
        let [mut host, mut viewer] = pair(server.address(), room);
        let url =
            |version: u64, url: &str| patch("host", &json!(version), &json!({"sceneUrl": url}));
        for (version, name) in [(1, "one"), (7, "seven")] {
            host.broadcast(&url(version, name));
            assert_eq!(viewer.hear_message("host"), url(version, name));
        }
        let mut state = new_state();
        (state["version"], state["sceneUrl"]) = (json!(7), json!("seven"));
        let heal = |host: &mut Visitor, why: &str| {
            let told = json!({"message": why, "requestId": "v"});
            assert_eq!(host.hear(), json!({"event": "error", "data": told}));
            let mut full = host.hear_message("server");
            take_times(&mut full, &["timestamp"]);
            assert_eq!(full, json!({"type": "state_full", "senderId": "server", "data": state}));
        };
        let request =
            |message: &Value| json!({"action": "broadcast", "requestId": "v", "message": message});
        for stale in [0, 1, 6, 7] {
            host.say(&request(&url(stale, "stale")));
            heal(&mut host, "Stale version");
        }
        let none = json!({"type": "state_update", "data": {"type": "patch", "data": {}}});
        host.say(&request(&none));
        heal(&mut host, "Invalid version");
        for bad in
            [json!(null), json!("8"), json!(7.5), json!(1e300), json!(9_007_199_254_740_991_u64)]
        {
            host.say(&request(&patch("host", &bad, &json!({"sceneUrl": "bad"}))));
            heal(&mut host, "Invalid version");
        }
        // A version within the data is not the version.
        let sly = patch("host", &json!(8), &json!({"version": 99, "sceneUrl": "eight"}));
        host.broadcast(&sly);
        assert_eq!(viewer.hear_message("host"), sly);
        let mut late = Visitor::connect(server.address(), "late");
        let info = late.join(room, "viewer");
        assert_eq!(
            (&info["state"]["version"], &info["state"]["sceneUrl"]),
            (&json!(8), &json!("eight"))
        );
        // A full one takes what it does not name back to the beginning.
        let full = json!({"type": "full", "version": 9, "data": {"sceneLoaded": true}});
        viewer.hear_joined("late");
        host.hear_joined("late");
        host.broadcast(&message("host", "state_update", &full));
        host.settle();
        let info = Visitor::connect(server.address(), "later").join(room, "viewer");
        let mut state = new_state();
        (state["version"], state["sceneLoaded"]) = (json!(9), json!(true));
        assert_eq!(info["state"], state);
        let large = json!({"treeViewState": {"x": "x".repeat(1000 << 10)}});
        host.hear_joined("later");
        host.hear_left("later");
        host.broadcast(&patch("host", &json!(10), &large));
        host.settle();
        let more = json!({"sceneUrl": "x".repeat(100 << 10)});
        host.say(&request(&patch("host", &json!(11), &more)));
        let told = json!({"message": "State too large", "requestId": "v"});
        assert_eq!(host.hear(), json!({"event": "error", "data": told}));
    });
}

#[test]
fn each_role_may_what_it_may() {
    let annotation = json!({"id": "n", "userId": "x", "text": "t"});
    let cases = |id: &str, version: u64| {
        [
            patch(id, &json!(version), &json!({"sceneUrl": "u"})),
            patch(id, &json!(version + 1), &json!({"treeViewState": {"a": 1}})),
            patch(id, &json!(version + 2), &json!({"sessionSettings": {"allowAnnotations": true}})),
            message(id, "annotation_add", &annotation),
            message(id, "annotation_remove", &json!("n")),
            message(id, "camera_frame", &json!({})),
            message(id, "grant_control", &json!({})),
            message(id, "state_full", &json!({})),
        ]
    };
    // Scene, tree view, settings, add, remove, two of cameras, state_full.
    let check = |arguments: &[&str], allowed: [(&str, [bool; 8]); 3]| {
        on_shards(arguments, |server, [room, _]| {
            let mut witness = Visitor::connect(server.address(), "witness");
            witness.join(room, "viewer");
            for (turn, (role, may)) in allowed.iter().enumerate() {
                let mut visitor = Visitor::connect(server.address(), role);
                visitor.join(room, role);
                witness.hear_joined(role);
                for (message, may) in cases(role, 10 * (turn as u64 + 1)).iter().zip(may) {
                    visitor.broadcast(message);
                    if *may {
                        visitor.settle();
                        assert_eq!(witness.hear_message(role), *message);
                    } else {
                        assert_eq!(visitor.hear(), error("Permission denied"), "{role} {message}");
                    }
                }
                // In private as in public.
                let private = json!({"action": "send_message", "targetUserId": "witness",
                    "message": message(role, "camera_frame", &json!({}))});
                visitor.say(&private);
                if may[5] {
                    visitor.settle();
                    witness.hear_message(role);
                } else {
                    assert_eq!(visitor.hear(), error("Permission denied"));
                }
                drop(visitor);
                witness.hear_left(role);
                witness.settle();
            }
        });
    };
    let (yes, no) = (true, false);
    check(
        &[],
        [
            ("viewer", [no; 8]),
            ("editor", [yes, yes, no, yes, yes, yes, yes, no]),
            ("host", [yes; 8]),
        ],
    );
    check(
        &[
            "--gallery-scene-change",
            "all",
            "--gallery-tree-view-change",
            "host",
            "--gallery-annotations",
            "all",
            "--gallery-camera-control",
            "host",
        ],
        [
            ("viewer", [yes, no, no, yes, yes, no, no, no]),
            ("editor", [yes, no, no, yes, yes, no, no, no]),
            ("host", [yes; 8]),
        ],
    );
}

#[test]
fn whoever_comes_late_sees_what_the_others_see() {
    on_shards(&[], |server, [room, _]| {
        let [mut host, mut viewer] = pair(server.address(), room);
        let annotation = |id: &str, text: &str| {
            json!({"id": id, "userId": "host", "userName": "H", "position": [1, 2.5, 3], "text": text,
                "color": "#fff", "timestamp": 1})
        };
        let focus = |id: &str, path: &str| json!({"userId": id, "targetObjectPath": path, "position": [0, 0, 0], "timestamp": 1});
        for (id, text) in [("1", "first"), ("2", "second"), ("3", "third")] {
            host.broadcast(&message("host", "annotation_add", &annotation(id, text)));
        }
        host.broadcast(&message("host", "annotation_remove", &json!("2")));
        host.broadcast(&message("host", "focus_change", &focus("host", "/a")));
        host.broadcast(&message("host", "focus_change", &focus("host", "/b")));
        let mut brief = focus("viewer", "/c");
        brief["duration"] = json!(150);
        host.settle();
        (0..6).for_each(|_| drop(viewer.hear_message("host")));
        viewer.broadcast(&message("viewer", "focus_change", &brief));
        host.hear_message("viewer");
        let mut late = Visitor::connect(server.address(), "late");
        let state = late.join(room, "viewer")["state"].take();
        let kept = json!([annotation("1", "first"), annotation("3", "third")]);
        assert_eq!(state["annotations"], kept);
        assert_eq!(state["focusPoints"][0], focus("host", "/b"));
        // The brief one ends by itself, the other when its user leaves.
        let focused = |late: &mut Visitor| late.join(room, "viewer")["state"]["focusPoints"].take();
        eventually("the brief one is gone", || focused(&mut late) == json!([focus("host", "/b")]));
        host.say(&json!({"action": "leave_room"}));
        late.hear_left("host");
        assert_eq!(focused(&mut late), json!([]));
        assert_eq!(late.join(room, "viewer")["state"]["annotations"], kept);
        // Where annotations are not wanted, nobody adds any.
        let mut chair = Visitor::connect(server.address(), "chair");
        chair.join(room, "host");
        let without = json!({"sessionSettings": {"allowAnnotations": false}});
        chair.broadcast(&patch("chair", &json!(1), &without));
        chair.broadcast(&message("chair", "annotation_add", &annotation("4", "fourth")));
        assert_eq!(chair.hear(), error("Permission denied"));
    });
}

#[test]
fn messages_have_a_size() {
    on_shards(&[], |server, [room, _]| {
        let [mut host, mut viewer] = pair(server.address(), room);
        let broadcast = |bytes: usize| {
            let rest = json!({"action": "broadcast", "message": ""}).to_string().len();
            json!({"action": "broadcast", "message": "x".repeat(bytes - rest)})
        };
        host.say(&broadcast(1 << 20));
        let heard = viewer.hear_message("host");
        assert!(heard.as_str().is_some_and(|text| text.len() > (1 << 20) - 100));
        host.client.try_send(&framed(&broadcast((1 << 20) + 1)));
        assert_eq!(host.client.closed().0, 1009);
        viewer.hear_left("host");
        await_stats(server, &[(room, 1)], 1);
    });
}

#[test]
fn a_key_is_required_if_one_is() {
    let start = |required: &str| {
        let mut command =
            command(&["--as", "gallery", "--shards", "2", "--port", "0", "--in-memory"]);
        command.env("REQUIRE_API_KEY", required).env("API_KEY", "open sesame");
        Server::start_command(command)
    };
    for required in ["true", "1", "yes"] {
        let server = start(required);
        for given in ["", "?apiKey=", "?apiKey=open", "?apiKey=open+sesamE&userId=u"] {
            let mut client = Client::open(server.address(), &format!("/{given}"));
            let next = client.frame();
            assert_eq!(next.close(), (1008, "Invalid API key"), "{given}");
        }
        Visitor::connect_at(server.address(), "/?userId=u&apiKey=open%20sesame", "u").settle();
        server.stop();
    }
    for required in ["false", "0", "no", ""] {
        let server = start(required);
        Visitor::connect(server.address(), "u").settle();
        server.stop();
    }
}

#[test]
fn persistent_rooms_outlive_the_process() {
    for (before, after) in [(1, 1), (1, 2), (2, 2), (2, 1)] {
        let scratch = Scratch::new("gallery");
        let rooms = [room_on(0, "lasting"), room_on(1, "lasting")];
        let start = |shards| Server::start_in(scratch.path(), shards, &["--as", "gallery"]);
        let annotation = json!({"id": "n", "userId": "host", "text": "here"});
        let server = start(before);
        let mut hosts = ["host", "other"].map(|id| Visitor::connect(server.address(), id));
        for (host, room) in hosts.iter_mut().zip(&rooms) {
            let config = json!({"persistent": true, "maxUsers": 2, "password": "p"});
            host.ask(&json!({"action": "create_room", "roomId": room, "config": config}));
            let mut enter = join(room, &host.id, "host");
            enter["password"] = json!("p");
            assert_eq!(host.ask(&enter)["event"], "room_joined");
            host.broadcast(&patch("host", &json!(5), &json!({"sceneUrl": room})));
            host.broadcast(&message("host", "annotation_add", &annotation));
            host.settle();
        }
        // One is empty before the end, in the other somebody is; a third room is not kept.
        hosts[0].join("brief", "host");
        server.terminate();
        for host in &mut hosts {
            assert_eq!(host.client.closed(), (1001, "Server shutting down".to_owned()));
        }
        drop(hosts);
        assert!(server.wait().success());

        let server = start(after);
        let mut visitor = Visitor::connect(server.address(), "late");
        await_stats(&server, &[(&rooms[0], 0), (&rooms[1], 0)], 1);
        for room in &rooms {
            assert_eq!(visitor.ask(&join(room, "late", "viewer")), error("Invalid password"));
            let mut enter = join(room, "late", "viewer");
            enter["password"] = json!("p");
            let joined = visitor.ask(&enter);
            let state = &joined["data"]["roomInfo"]["state"];
            assert_eq!(joined["data"]["roomInfo"]["users"].as_array().map(Vec::len), Some(1));
            assert_eq!(state["version"], 5, "{joined}");
            assert_eq!(state["sceneUrl"], room.as_str());
            assert_eq!(state["annotations"], json!([annotation]));
        }
        assert_eq!(
            visitor.ask(&json!({"action": "create_room", "roomId": rooms[0]})),
            error("Room already exists")
        );
        drop(visitor);
        server.stop();
    }
}

#[test]
fn what_was_done_right_before_the_end_outlives_it() {
    const ROOMS: u64 = 5;
    let scratch = Scratch::new("gallery-last");
    let start = |shards| Server::start_in(scratch.path(), shards, &["--as", "gallery"]);
    let name = |round: u64, number: u64| format!("round {round} room {number}");
    for round in 0..8 {
        let server = start(1 + round as usize % 2);
        let mut visitor = Visitor::connect(server.address(), "u");
        let (found, _) = stats(&server);
        let known: Vec<_> =
            (0..round).flat_map(|past| (0..ROOMS).map(move |number| name(past, number))).collect();
        assert_eq!(found.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), known);
        let mut bytes = Vec::new();
        for number in 0..ROOMS {
            let room = name(round, number);
            let config = json!({"persistent": true});
            bytes.extend(framed(
                &json!({"action": "create_room", "roomId": room, "config": config}),
            ));
            bytes.extend(framed(&join(&room, "u", "host")));
            let update = patch("u", &json!(round + 1), &json!({"sceneUrl": room}));
            bytes.extend(framed(&json!({"action": "broadcast", "message": update})));
        }
        visitor.client.send(&bytes);
        for _ in 0..ROOMS {
            assert_eq!(visitor.hear()["event"], "room_created");
            assert_eq!(visitor.hear()["event"], "room_joined");
        }
        visitor.settle();
        server.terminate();
        assert_eq!(visitor.client.closed().0, 1001);
        drop(visitor);
        assert!(server.wait().success());
    }
    let server = start(2);
    let mut visitor = Visitor::connect(server.address(), "u");
    for (round, number) in (0..8).flat_map(|round| (0..ROOMS).map(move |number| (round, number))) {
        let room = name(round, number);
        let state = visitor.join(&room, "viewer")["state"].take();
        assert_eq!((&state["version"], &state["sceneUrl"]), (&json!(round + 1), &json!(room)));
    }
    drop(visitor);
    server.stop();
}

#[test]
fn health_and_stats_are_the_originals() {
    on_shards(&[], |server, [room, other]| {
        let address = server.address();
        let empty = http::get(address, "/stats");
        assert_eq!(empty.text(), "{\n  \"rooms\": [],\n  \"totalUsers\": 0\n}");
        let [mut host, _viewer] = pair(address, room);
        let mut lobby = Visitor::connect(address, "lobby");
        lobby.ask(&json!({"action": "create_room", "roomId": other}));
        await_stats(server, &[(room, 2), (other, 0)], 3);
        let health = http::get(address, "/health?x=1");
        assert_eq!((health.status, health.header("content-type")), (200, Some("application/json")));
        let health: Value = serde_json::from_str(health.text()).expect("/health is JSON");
        assert!(health["uptime"].as_f64().is_some_and(|uptime| uptime > 0.0), "{health}");
        let (status, rooms, users) = (&health["status"], &health["rooms"], &health["users"]);
        assert_eq!((status, rooms, users), (&json!("ok"), &json!(2), &json!(3)));
        assert_eq!(health.as_object().map(serde_json::Map::len), Some(4));
        let response = http::get(address, "/stats");
        assert_eq!(response.header("content-type"), Some("application/json"));
        let mut body: Value = serde_json::from_str(response.text()).expect("/stats is JSON");
        let pretty = serde_json::to_string_pretty(&body).expect("JSON can be written");
        assert_eq!(response.text().len(), pretty.len(), "as JSON.stringify(…, null, 2)");
        let activity = body["rooms"][0]["lastActivity"].clone();
        take_times(&mut body["rooms"][0], &["createdAt", "lastActivity"]);
        take_times(&mut body["rooms"][1], &["createdAt", "lastActivity"]);
        let rooms = json!([{"roomId": room, "userCount": 2}, {"roomId": other, "userCount": 0}]);
        assert_eq!(body, json!({"rooms": rooms, "totalUsers": 3}));
        // Talking is no activity.
        host.broadcast(&json!("x"));
        host.settle();
        let after: Value = serde_json::from_str(http::get(address, "/stats").text()).expect("JSON");
        assert_eq!(after["rooms"][0]["lastActivity"], activity);
        for path in ["/", "/nothing", "/health/", "/sessions", "/files/x"] {
            let absent = http::get(address, path);
            assert_eq!((absent.status, absent.text()), (404, "Not Found"), "{path}");
            assert_eq!(absent.header("content-type"), None, "{path}");
        }
        let mut connection = Connection::open(address);
        assert_eq!(connection.request("POST", "/health", "", b"x").status, 200);
    });
    let server = Server::start(2, &["--as", "gallery", "--gallery-hide-rooms"]);
    let mut host = Visitor::connect(server.address(), "host");
    host.join("secret", "host");
    await_stats(&server, &[], 1);
    drop(host);
    server.stop();
}

/// What a client does that joins, talks and leaves, without waiting for answers.
fn itinerary(random: &mut Random, user: &str, rooms: [&str; 2]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1 + random.below(8) {
        let room = [rooms[0], rooms[1], "passing"][random.below(3)];
        let role = ["viewer", "editor", "host"][random.below(3)];
        bytes.extend(framed(&match random.below(8) {
            0..4 => join(room, user, role),
            4 => json!({"action": "leave_room"}),
            5 => json!({"action": "broadcast", "message": {"type": "pose_update"}}),
            6 => json!({"action": "create_room", "config": {"maxUsers": 2}}),
            _ => json!({"action": "create_room", "roomId": room}),
        }));
    }
    bytes
}

/// Connects, says part of something and is gone, in one way or another.
fn cut(random: &mut Random, address: SocketAddr, rooms: [&str; 2]) {
    // Some come as somebody who is, or was just, there.
    let target = match random.below(9) {
        user @ 0..6 => format!("/?userId=ghost%20{user}"),
        _ => "/".to_owned(),
    };
    let upgrade = format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let mut stream = TcpStream::connect(address).expect("the server accepts connections");
    stream.set_nodelay(true).expect("options can be set");
    stream.set_read_timeout(Some(Duration::from_millis(50))).expect("timeouts can be set");
    let mut bytes = upgrade.into_bytes();
    if random.below(3) > 0 {
        // Begins when it is there, so that its end comes while it is on its way.
        stream.write_all(&bytes).expect("the server takes bytes");
        let _ = stream.read(&mut [0; 512]);
        bytes.clear();
    }
    bytes.extend(itinerary(random, "ghost", rooms));
    if random.below(4) == 0 {
        bytes.extend(frame(true, 8, &1000_u16.to_be_bytes()));
    }
    if random.below(2) == 0 {
        bytes.truncate(random.below(bytes.len()) + 1);
    }
    if random.below(10) == 0 {
        // A violation, for which it is closed.
        bytes.extend(frame_with(0x83, b"x", None));
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let piece = rest.len().min(1 + random.below(2 * rest.len()));
        if stream.write_all(&rest[..piece]).is_err() {
            return; // closed already
        }
        rest = &rest[piece..];
        spin(random);
    }
    match random.below(4) {
        0 => reset_on_drop(&stream),
        1 => drop(stream.shutdown(std::net::Shutdown::Write)),
        2 => drop(stream.read(&mut [0; 512])),
        _ => {}
    }
}

/// Lets about as much time pass as a move takes: where the cut falls is a matter of luck.
fn spin(random: &mut Random) {
    let begun = Instant::now();
    let pause = Duration::from_micros(random.below(300) as u64);
    while begun.elapsed() < pause {
        std::hint::spin_loop();
    }
}

#[test]
fn who_dies_on_the_way_leaves_no_ghost() {
    let seeds = std::cell::RefCell::new(Random::new());
    on_shards(&[], |server, rooms| {
        let address = server.address();
        let mut witnesses = ["one", "two"].map(|id| Visitor::connect(address, id));
        let mut seen: [Vec<Value>; 2] = Default::default();
        for ((witness, room), seen) in witnesses.iter_mut().zip(rooms).zip(&mut seen) {
            let info = witness.join(room, "host");
            seen.extend(
                info["users"].as_array().into_iter().flatten().map(|user| user["id"].clone()),
            );
        }
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let mut random = Random::from_seed(seeds.borrow_mut().next());
                let rooms = rooms.map(str::to_owned);
                std::thread::spawn(move || {
                    let [one, two] = &rooms;
                    (0..300).for_each(|_| cut(&mut random, address, [one, two]));
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("the server accepts connections");
        }
        // Rooms that were created and never joined stay; the others are gone.
        eventually("only those are there who are", || {
            let (found, total) = stats(server);
            let users =
                |room: &str| found.iter().find(|(id, _)| id == room).map(|(_, users)| *users);
            let others = found.iter().filter(|(id, _)| !rooms.contains(&id.as_str()));
            let empty = others.map(|(_, users)| users).sum::<u64>() == 0;
            println!("{total} users, {} rooms", found.len());
            total == 2 && rooms.map(users) == [Some(1); 2] && empty
        });
        // Each has heard of everybody who came and went, once.
        for (witness, seen) in witnesses.iter_mut().zip(&mut seen) {
            witness.say(&json!({"action": "the end"}));
            loop {
                let event = witness.hear();
                match event["event"].as_str() {
                    Some("user_joined") => {
                        let id = event["data"]["user"]["id"].clone();
                        // Who joins where it is already is told of again.
                        if !seen.contains(&id) {
                            seen.push(id);
                        }
                    }
                    Some("user_left") => {
                        let at = seen.iter().position(|id| *id == event["data"]["userId"]);
                        seen.remove(
                            at.unwrap_or_else(|| panic!("{event}, but there are {seen:?}")),
                        );
                    }
                    Some("message") => {
                        assert!(seen.contains(&event["data"]["senderId"]), "{event}, but {seen:?}");
                    }
                    _ => break assert_eq!(event, error("Unknown action: the end")),
                }
            }
            assert_eq!(*seen, [json!(witness.id)]);
        }
        let address = server.address();
        let sessions = http::get(address, "/metrics");
        let members = crate::support::server::metric(sessions.text(), "lockstep_members");
        assert_eq!(members, 2);
    });
}

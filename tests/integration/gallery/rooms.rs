//! Who is where: rooms, their capacity, and connections that come, move and replace each other.

use serde_json::{Value, json};

use super::{new_state, pair, take_times};
use crate::support::gallery::{Visitor, await_stats, error, framed, join, on_shards};
use crate::support::websocket::Client;

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

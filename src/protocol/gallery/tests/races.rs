//! Everything at once, arriving in any order: what must hold, from printed seeds.

use serde_json::{Value, json};

use super::super::Config;
use super::harness::{Name, World};

const ROOMS: [&str; 3] = ["one", "two", "three"];
const USERS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// The events of one room in what a client received, with the users it should know of.
fn check_view(received: &[Value], own: &str) {
    let mut users: Option<Vec<String>> = None;
    for event in received {
        let data = &event["data"];
        match event["event"].as_str().unwrap() {
            "room_joined" => {
                let list = data["roomInfo"]["users"].as_array().unwrap();
                let list: Vec<String> = list.iter().map(|user| text(&user["id"])).collect();
                assert!(list.iter().any(|user| user == own), "{list:?} without {own}");
                assert!(list.len() <= 3, "more than fit: {list:?}");
                users = Some(list);
            }
            "user_joined" => {
                let (id, users) = (text(&data["user"]["id"]), users.as_mut().unwrap());
                assert_ne!(id, own);
                if !users.contains(&id) {
                    users.push(id);
                }
            }
            "user_left" => {
                let (id, users) = (text(&data["userId"]), users.as_mut().unwrap());
                assert_ne!(id, own);
                let at = users.iter().position(|user| *user == id);
                users.remove(at.expect("who left was there"));
            }
            "message" => {
                let sender = text(&data["senderId"]);
                assert!(users.as_ref().unwrap().contains(&sender), "{sender} is not here");
                assert_eq!(data["message"]["senderId"], data["senderId"]);
            }
            _ => {}
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// What the last list of users in a client's view comes to.
fn last_view(received: &[Value]) -> Vec<String> {
    let mut users = Vec::new();
    for event in received {
        let data = &event["data"];
        match event["event"].as_str().unwrap() {
            "room_joined" => {
                let list = data["roomInfo"]["users"].as_array().unwrap();
                users = list.iter().map(|user| text(&user["id"])).collect();
            }
            "user_joined" if !users.contains(&text(&data["user"]["id"])) => {
                users.push(text(&data["user"]["id"]));
            }
            "user_left" => users.retain(|user| *user != text(&data["userId"])),
            _ => {}
        }
    }
    users.sort();
    users
}

fn act(world: &mut World, clients: &mut Vec<(Name, usize)>) {
    let (room, user) = (ROOMS[world.pick(3)], world.pick(USERS.len()));
    if clients.is_empty() || world.pick(8) == 0 {
        let name = world.connect(USERS[user]);
        clients.push((name, user));
        return;
    }
    let at = world.pick(clients.len());
    let name = clients[at].0;
    match world.pick(12) {
        0 => {
            clients.swap_remove(at);
            world.end(name);
        }
        1..=4 => world.act(
            name,
            json!({"action": "join_room", "roomId": room, "requestId": 1,
            "userInfo": {"name": "n", "role": "editor"}}),
        ),
        5 => world.act(name, json!({"action": "leave_room"})),
        6 => {
            let config = json!({"maxUsers": 1 + world.pick(3), "persistent": world.pick(2) == 0});
            world.act(name, json!({"action": "create_room", "roomId": room, "config": config}));
        }
        7 => world.act(
            name,
            json!({"action": "send_message", "targetUserId": USERS[user],
            "message": {"type": "t", "senderId": "x"}}),
        ),
        8 => world.pass(4_000),
        _ => world.act(
            name,
            json!({"action": "broadcast",
            "message": {"type": "t", "senderId": "x"}}),
        ),
    }
}

fn run(seed: u64, durable: bool) {
    let config = Config {
        users_max_default: 3,
        creations_per_minute_max: 0,
        room_timeout_ms: 100_000,
        ..Config::default()
    };
    let world = if durable { World::durable(config) } else { World::with(config) };
    let mut world = world.seeded(seed);
    let mut clients = Vec::new();
    for _ in 0..300 {
        act(&mut world, &mut clients);
        for _ in 0..world.pick(4) {
            world.step();
        }
    }
    world.settle();
    // Places that are kept are given up.
    world.settles = true;
    world.pass(11_000);
    let stats = world.stats();
    clients.retain(|&(name, _)| world.closed(name).is_none());
    assert_eq!(stats["totalUsers"], clients.len(), "{}", world.dump());
    for (index, &(name, user)) in clients.iter().enumerate() {
        let received = world.received(name);
        check_view(&received, USERS[user]);
        assert!(clients[..index].iter().all(|other| other.1 != user), "a user is connected twice");
        let place = world.place(name).unwrap_or_else(|| panic!("{name} never arrived")).to_owned();
        if let Some(room) = place.strip_prefix("room/") {
            let mut users = world.users(room);
            users.sort();
            assert_eq!(last_view(&received), users);
            assert!(users.iter().any(|id| id == USERS[user]));
        }
    }
    for room in ROOMS {
        let entry = stats["rooms"].as_array().unwrap().iter().find(|it| it["roomId"] == room);
        let there = world.users(room).len();
        match entry {
            Some(entry) => assert_eq!(entry["userCount"], there, "{room}"),
            None => assert!(!world.is_there(&format!("room/{room}"))),
        }
    }
    for (name, _) in clients {
        world.end(name);
    }
    world.pass(200_000);
    assert_eq!(world.stats()["totalUsers"], 0);
    let rooms = world.stats()["rooms"].as_array().unwrap().len();
    assert_eq!(world.counters.gallery_rooms.get(), rooms as u64);
    if durable {
        assert!(ROOMS.iter().all(|room| !world.is_there(&format!("room/{room}"))));
    }
}

#[test]
fn whatever_the_order_things_end_right() {
    for seed in 0..400 {
        println!("seed {seed}");
        run(seed, seed % 2 == 0);
    }
}

#[test]
fn two_join_for_the_last_place() {
    for seed in 0..50 {
        let mut world = World::new().seeded(seed);
        let names = ["a", "b", "c"].map(|user| world.connect(user));
        let config = json!({"maxUsers": 1});
        world.act(names[0], json!({"action": "create_room", "roomId": "r", "config": config}));
        for name in names {
            world.act(name, json!({"action": "join_room", "roomId": "r"}));
        }
        world.settle();
        let answers = names.map(|name| world.take(name).pop().unwrap());
        let joined = answers.iter().filter(|it| it["event"] == "room_joined").count();
        let full = answers.iter().filter(|it| it["data"]["message"] == "Room is full").count();
        assert_eq!((joined, full), (1, 2), "seed {seed}");
        assert_eq!(world.users("r").len(), 1);
    }
}

#[test]
fn whoever_joins_a_room_that_is_being_deleted_gets_it_or_a_new_one() {
    let (mut olds, mut news) = (0, 0);
    for seed in 0..100 {
        let mut world = World::new().seeded(seed);
        let (a, b) = (world.connect("a"), world.connect("b"));
        world.join_as(a, "r", "host");
        world.settle();
        let update = json!({"data": {"sceneUrl": "x"}, "version": 1});
        world.broadcast(a, json!({"type": "state_update", "data": update}));
        world.end(a);
        for _ in 0..world.pick(4) {
            world.step();
        }
        world.act(b, json!({"action": "join_room", "roomId": "r"}));
        world.settle();
        let joined = world.take(b).pop().unwrap();
        assert_eq!(joined["event"], "room_joined", "seed {seed}");
        let users = joined["data"]["roomInfo"]["users"].as_array().unwrap().len();
        assert_eq!(users, 1);
        match joined["data"]["roomInfo"]["state"]["version"].as_u64() {
            Some(1) => olds += 1,
            _ => news += 1,
        }
        assert_eq!(world.stats()["rooms"][0]["userCount"], 1);
        world.end(b);
        world.settle();
        world.pass(1_000);
        assert!(!world.is_there("room/r") && !world.is_there("hall"));
    }
    assert!(olds > 0 && news > 0, "both happen: {olds} {news}");
}

//! §5: one user, several connections, wherever they are.

use serde_json::{Value, json};

use super::super::Config;
use super::harness::{Name, World};

fn left(user: &str) -> Value {
    json!({"event": "user_left", "data": {"userId": user}})
}

/// A watcher and a user in one room, and the user's second connection.
fn doubled() -> (World, Name, Name, Name) {
    let mut world = World::new();
    let (watcher, old) = (world.connect("w"), world.connect("u"));
    world.join(watcher, "r");
    world.join(old, "r");
    world.take(watcher);
    let new = world.connect("u");
    (world, watcher, old, new)
}

#[test]
fn the_newest_connection_wins_and_the_room_does_not_notice() {
    let (mut world, watcher, old, new) = doubled();
    let close = world.closed(old).unwrap();
    assert_eq!((close.code, close.reason), (4001, "Replaced by a new connection"));
    let joined = world.join(new, "r").pop().unwrap();
    let users = joined["data"]["roomInfo"]["users"].as_array().unwrap().clone();
    let ids: Vec<_> = users.iter().map(|user| user["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["w", "u"]);
    assert!(world.take(watcher).is_empty());
    world.broadcast(watcher, json!({"type": "t"}));
    assert_eq!(world.take(new).len(), 1);
    world.pass(60_000);
    assert!(world.take(watcher).is_empty());
    world.end(new);
    assert_eq!(world.take(watcher), [left("u")]);
    assert_eq!(world.users("r"), ["w"]);
}

#[test]
fn a_place_that_is_not_taken_again_is_given_up() {
    let leave: [fn(&mut World, Name); 3] = [
        |world, _| world.pass(10_000),
        |world, new| world.end(new),
        |world, new| {
            world.join(new, "elsewhere");
        },
    ];
    for leave in leave {
        let (mut world, watcher, _, new) = doubled();
        assert_eq!(world.users("r"), ["w", "u"]);
        world.pass(9_999);
        assert!(world.take(watcher).is_empty());
        leave(&mut world, new);
        assert_eq!(world.take(watcher), [left("u")]);
        assert_eq!(world.users("r"), ["w"]);
    }
}

#[test]
fn a_kept_place_counts_and_its_user_gets_into_the_full_room() {
    let mut world = World::new();
    let (old, other) = (world.connect("u"), world.connect("o"));
    let config = json!({"maxUsers": 1});
    world.act(old, json!({"action": "create_room", "roomId": "r", "config": config}));
    world.join(old, "r");
    let new = world.connect("u");
    assert_eq!(world.join(other, "r").pop().unwrap()["data"]["message"], "Room is full");
    assert_eq!(world.join(new, "r").pop().unwrap()["event"], "room_joined");
    assert_eq!(world.stats()["rooms"][0]["userCount"], 1);
}

#[test]
fn a_room_with_nothing_but_a_kept_place_is_not_empty_yet() {
    let mut world = World::new();
    let old = world.connect("u");
    world.join(old, "r");
    world.broadcast(
        old,
        json!({"type": "state_update", "data": {"data": {"sceneUrl": "x"}, "version": 1}}),
    );
    let new = world.connect("u");
    let joined = world.join(new, "r").pop().unwrap();
    assert_eq!(joined["data"]["roomInfo"]["state"]["version"], 1);
    let newest = world.connect("u");
    world.pass(10_000);
    assert!(!world.is_there("room/r"));
    assert_eq!(world.stats(), json!({"rooms": [], "totalUsers": 1}));
    world.end(newest);
    world.pass(1_000);
    assert!(!world.is_there("hall"));
}

#[test]
fn in_the_hall_the_old_connection_goes_at_once_and_the_place_is_passed_on() {
    let (mut world, watcher, _, second) = doubled();
    let third = world.connect("u");
    assert_eq!(world.closed(second).map(|close| close.code), Some(4001));
    assert_eq!(world.closed(third), None);
    world.join(third, "r");
    assert!(world.take(watcher).is_empty());
    assert_eq!(world.stats()["totalUsers"], 2);
}

/// The old connection is on its way into the room, or out of it, when the new one comes.
#[test]
fn a_connection_that_is_replaced_while_it_moves_is_closed_where_it_arrives() {
    for steps in 0..12 {
        for goes_in in [true, false] {
            for rejoins in [true, false] {
                let mut world = World::new();
                let (watcher, old) = (world.connect("w"), world.connect("u"));
                world.join(watcher, "r");
                if !goes_in {
                    world.join(old, "r");
                }
                world.settles = false;
                let action = if goes_in { "join_room" } else { "leave_room" };
                world.act(old, json!({"action": action, "roomId": "r"}));
                for _ in 0..steps {
                    world.step();
                }
                let new = world.connect("u");
                if rejoins {
                    world.act(new, json!({"action": "join_room", "roomId": "r"}));
                }
                world.settle();
                world.settles = true;
                assert_eq!(world.closed(old).map(|close| close.code), Some(4001));
                assert_eq!(world.closed(new), None);
                world.pass(10_000);
                let expected: &[&str] = if rejoins { &["w", "u"] } else { &["w"] };
                assert_eq!(world.users("r"), expected, "{steps} {goes_in}");
                assert_eq!(world.stats()["totalUsers"], 2);
            }
        }
    }
}

#[test]
fn the_knob_for_the_grace_is_one() {
    let config = Config { replaced_grace_ms: 0, ..Config::default() };
    let mut world = World::with(config);
    let (watcher, old) = (world.connect("w"), world.connect("u"));
    world.join(watcher, "r");
    world.join(old, "r");
    world.take(watcher);
    world.connect("u");
    world.pass(0);
    assert_eq!(world.take(watcher), [left("u")]);
}

//! §5: persistent rooms.

use serde_json::{Value, json};

use super::super::Config;
use super::harness::{Name, World, error};
use crate::protocol::Removal;

pub(super) fn create(world: &mut World, name: Name, room: &str) {
    let config = json!({"persistent": true, "password": "p", "maxUsers": 2});
    world.act(name, json!({"action": "create_room", "roomId": room, "config": config}));
}

/// A world in which `a` is in the persistent room `r`, which it has created.
pub(super) fn in_a_room() -> (World, Name) {
    let mut world = World::durable(Config::default());
    let a = world.connect("a");
    create(&mut world, a, "r");
    join(&mut world, a, "r");
    (world, a)
}

pub(super) fn join(world: &mut World, name: Name, room: &str) -> Value {
    world.take(name);
    let info = json!({"role": "host"});
    let request = json!({"action": "join_room", "roomId": room, "password": "p", "userInfo": info});
    world.act(name, request);
    world.take(name).pop().unwrap_or_default()
}

pub(super) fn change(world: &mut World, name: Name, version: u64) {
    let data = json!({"sceneUrl": "kept.glb", "extra": {"a": version}});
    let update = json!({"type": "patch", "data": data, "version": version});
    world.broadcast(name, json!({"type": "state_update", "data": update}));
    let note = json!({"id": "n", "text": "x"});
    world.broadcast(name, json!({"type": "annotation_add", "data": note}));
    world.broadcast(name, json!({"type": "focus_change", "data": {"userId": "u"}}));
}

pub(super) fn state_of(joined: &Value) -> &Value {
    &joined["data"]["roomInfo"]["state"]
}

#[test]
fn a_persistent_room_keeps_its_state_while_it_is_empty() {
    let mut world = World::new();
    let a = world.connect("a");
    create(&mut world, a, "r");
    join(&mut world, a, "r");
    change(&mut world, a, 3);
    world.act(a, json!({"action": "leave_room"}));
    assert!(world.is_there("room/r"));
    world.pass(48 * 3_600_000);
    let joined = join(&mut world, a, "r");
    assert_eq!(state_of(&joined)["version"], 3);
    assert_eq!(state_of(&joined)["focusPoints"], json!([]));
}

#[test]
fn it_leaves_memory_once_stored_and_outlives_the_process() {
    let mut world = World::durable(Config::default());
    let (a, b) = (world.connect("a"), world.connect("b"));
    create(&mut world, a, "r");
    let created = join(&mut world, a, "r")["data"]["roomInfo"]["createdAt"].take();
    change(&mut world, a, 3);
    world.pass(59_000);
    assert!(!world.disk.contains_key("gallery/rooms/r"), "the journal has it");
    world.pass(1_000);
    assert!(world.disk.contains_key("gallery/rooms/r"));
    change(&mut world, a, 4);
    world.act(a, json!({"action": "leave_room"}));
    assert!(!world.is_there("room/r"));
    assert_eq!(state_of(&join(&mut world, b, "r"))["version"], 4);
    let mut world = world.restarted();
    let (b, a) = (world.connect("b"), world.connect("a"));
    world.act(b, json!({"action": "create_room", "roomId": "r"}));
    assert_eq!(world.take(b).pop(), Some(error("Room already exists", json!("absent"))));
    world.join(b, "r");
    assert_eq!(world.place(b), Some("hall"), "the password is still asked for");
    let joined = join(&mut world, a, "r");
    assert_eq!(joined["data"]["roomInfo"]["createdAt"], created);
    assert_eq!(state_of(&joined)["sceneUrl"], "kept.glb");
    assert_eq!(state_of(&joined)["extra"], json!({"a": 4}));
    // Whose annotation it was is known as well.
    world.broadcast(a, json!({"type": "annotation_remove", "data": "n"}));
    assert!(world.take(a).is_empty());
}

#[test]
fn what_is_not_stored_yet_is_when_the_process_stops() {
    let (mut world, a) = in_a_room();
    change(&mut world, a, 3);
    world.drain_process();
    let mut world = world.restarted();
    let a = world.connect("a");
    assert_eq!(state_of(&join(&mut world, a, "r"))["version"], 3);
}

#[test]
fn a_room_of_the_same_name_that_came_later_does_not_inherit() {
    let (mut world, a) = in_a_room();
    change(&mut world, a, 3);
    world.act(a, json!({"action": "leave_room"}));
    // An operator removes the list: the room's record is an orphan.
    world.disk.remove("gallery/hall/rooms");
    let mut world = world.restarted();
    let a = world.connect("a");
    create(&mut world, a, "r");
    assert_eq!(state_of(&join(&mut world, a, "r"))["version"], 0);
}

#[test]
fn what_is_stored_is_known_before_anybody_comes() {
    let mut world = World::durable(Config::default());
    let a = world.connect("a");
    create(&mut world, a, "r");
    world.end(a);
    let mut world = world.restarted();
    world.open();
    assert_eq!(world.stats()["rooms"][0]["roomId"], "r");
    world.pass(48 * 3_600_000);
    assert_eq!(world.stats()["rooms"][0]["roomId"], "r");
}

#[test]
fn a_hall_that_finds_nothing_stored_leaves_memory() {
    let mut world = World::durable(Config::default());
    world.open();
    assert!(world.is_there("hall"));
    world.pass(48 * 3_600_000);
    assert!(!world.is_there("hall"));
}

#[test]
fn an_operator_removes_a_room_with_what_is_stored_of_it() {
    let (mut world, a) = in_a_room();
    change(&mut world, a, 3);
    assert_eq!(world.remove("r"), Removal::InUse);
    assert_eq!(world.remove("s"), Removal::Absent);
    world.act(a, json!({"action": "leave_room"}));
    let kept = |world: &World| {
        let record = &world.disk["gallery/rooms/r"];
        String::from_utf8_lossy(record).contains("kept.glb")
    };
    assert!(kept(&world));
    assert_eq!(world.remove("r"), Removal::Removed);
    assert!(!kept(&world) && !world.is_there("room/r"));
    let mut world = world.restarted();
    assert_eq!(world.remove("r"), Removal::NotReady, "the list of rooms is not loaded yet");
    assert_eq!(world.remove("r"), Removal::Absent);
    let a = world.connect("a");
    create(&mut world, a, "r");
    assert_eq!(state_of(&join(&mut world, a, "r"))["version"], 0);
}

/// What the room was about to store does not come back.
#[test]
fn a_room_is_removed_while_it_is_being_stored() {
    let (mut world, a) = in_a_room();
    world.broken = Some("full".to_owned());
    change(&mut world, a, 3);
    world.act(a, json!({"action": "leave_room"}));
    assert!(world.is_there("room/r"), "it tries again later");
    world.broken = None;
    assert_eq!(world.remove("r"), Removal::Removed);
    world.pass(60_000);
    assert!(!world.is_there("room/r"));
    assert!(!String::from_utf8_lossy(&world.disk["gallery/rooms/r"]).contains("kept.glb"));
    assert_eq!(world.stats()["rooms"], json!([]));
}

#[test]
fn others_are_neither_stored_nor_loaded() {
    let mut world = World::durable(Config::default());
    let a = world.connect("a");
    world.join_as(a, "r", "host");
    change(&mut world, a, 3);
    world.pass(10_000);
    world.end(a);
    assert!(world.disk.is_empty());
}

#[test]
fn a_room_that_cannot_be_read_is_not_begun_afresh() {
    let (mut world, a) = in_a_room();
    change(&mut world, a, 3);
    world.act(a, json!({"action": "leave_room"}));
    let sound = world.disk["gallery/rooms/r"].clone();
    world.disk.insert("gallery/rooms/r".to_owned(), b"{\"epoch\":".to_vec());
    assert_eq!(join(&mut world, a, "r"), error("Room is unavailable", json!("absent")));
    assert_eq!(world.place(a), Some("hall"));
    assert_eq!(world.disk["gallery/rooms/r"], b"{\"epoch\":");
    world.disk.insert("gallery/rooms/r".to_owned(), sound);
    assert_eq!(state_of(&join(&mut world, a, "r"))["version"], 3);
}

#[test]
fn while_the_list_of_rooms_cannot_be_read_nobody_enters() {
    let mut world = World::durable(Config::default());
    world.broken = Some("the disk is gone".to_owned());
    let a = world.connect("a");
    assert_eq!(world.closed(a).map(|close| close.code), Some(1013));
    assert!(world.take(a).is_empty());
    world.broken = None;
    let b = world.connect("b");
    assert_eq!(world.take(b).len(), 1);
}

#[test]
fn what_comes_before_the_records_is_heard_in_order() {
    let mut world = World::durable(Config::default());
    world.settles = false;
    let (a, b) = (world.connect("a"), world.connect("b"));
    create(&mut world, a, "r");
    world.act(a, json!({"action": "join_room", "roomId": "r", "password": "p"}));
    world.act(a, json!({"action": "broadcast", "message": {"type": "t"}}));
    world.act(b, json!({"action": "fly"}));
    world.end(b);
    world.settle();
    let events: Vec<_> = world.take(a).iter().map(|event| event["event"].clone()).collect();
    assert_eq!(events, ["connected", "room_created", "room_joined"]);
    assert_eq!(world.stats()["totalUsers"], 1);
}

#[test]
fn a_store_that_failed_is_tried_again() {
    let (mut world, a) = in_a_room();
    world.broken = Some("full".to_owned());
    change(&mut world, a, 3);
    world.pass(1_000);
    world.end(a);
    assert!(world.is_there("room/r"));
    world.broken = None;
    world.pass(10_000);
    assert!(world.disk.contains_key("gallery/rooms/r") && !world.is_there("room/r"));
}

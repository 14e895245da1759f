//! What persistent rooms record, and what becomes of it after a crash.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::{Config, HALL};
use super::harness::{Name, Recorded, World, error};
use super::storage::{change, create, in_a_room, join, state_of};
use crate::protocol::Removal;
use crate::session::journal::Entries;

/// What must be there after a crash at some moment.
struct Moment {
    disk: BTreeMap<String, Vec<u8>>,
    recorded: Recorded,
    rooms: Vec<Value>,
    /// The state of room `r`, if it exists.
    state: Option<Value>,
}

impl Moment {
    fn of(world: &mut World, witness: Name) -> Self {
        let rooms = persistent(world);
        let state = rooms.contains(&json!("r")).then(|| kept(&join(world, witness, "r")));
        Self { disk: world.disk.clone(), recorded: world.recorded(), rooms, state }
    }

    fn check(&self, world: &mut World) {
        world.open();
        assert_eq!(persistent(world), self.rooms);
        if let Some(state) = &self.state {
            let late = world.connect("late");
            assert_eq!(kept(&join(world, late, "r")), *state);
            world.end(late);
        }
    }
}

/// Ids of the rooms but for `brief`, which is not kept.
fn persistent(world: &World) -> Vec<Value> {
    let stats = world.stats();
    let ids = stats["rooms"].as_array().unwrap().iter().map(|room| room["roomId"].clone());
    ids.filter(|id| id != "brief").collect()
}

/// What is kept of a state: nothing is in focus when nobody is there.
fn kept(joined: &Value) -> Value {
    assert_eq!(joined["event"], "room_joined", "{joined}");
    let mut state = state_of(joined).clone();
    state["focusPoints"] = json!([]);
    state
}

fn update(world: &mut World, name: Name, kind: &str, version: u64, data: Value) {
    let data = json!({"type": kind, "data": data, "version": version});
    world.broadcast(name, json!({"type": "state_update", "data": data}));
}

fn annotate(world: &mut World, name: Name, id: &str, text: &str) {
    let data = json!({"id": id, "userId": "somebody", "text": text});
    world.broadcast(name, json!({"type": "annotation_add", "data": data}));
}

fn entries(world: &World, key: &str) -> usize {
    world.recorded().get(key).map_or(0, Entries::len)
}

/// One step of a room's life after another; `a` is in it as its host.
fn step(world: &mut World, a: Name, at: usize) {
    match at {
        0 => create(world, a, "r"),
        1 => drop(join(world, a, "r")),
        2 => update(world, a, "patch", 3, json!({"sceneUrl": "a.glb", "x\u{1F600}\n": [1, {}]})),
        3 => annotate(world, a, "1", "first"),
        4 => annotate(world, a, "\"2\"\u{0}", "second"),
        5 => annotate(world, a, "1", "changed"),
        6 => world.broadcast(a, json!({"type": "annotation_remove", "data": "\"2\"\u{0}"})),
        7 => world.broadcast(a, json!({"type": "focus_change", "data": {"userId": "a"}})),
        8 => world.broadcast(a, json!({"type": "pose_update", "data": {}})),
        9 => world.checkpoint("room/r"),
        10 => update(world, a, "patch", 9, json!({"focusPoints": [{"userId": "a"}]})),
        11 => update(world, a, "patch", 10, Value::Null),
        12 => update(world, a, "patch", 10, json!({"sceneUrl": "stale.glb"})),
        13 => update(world, a, "full", 11, json!({"treeViewState": {"open": true}})),
        14 => annotate(world, a, "3", "third"),
        15 => world.pass(60_000),
        16 => update(world, a, "full", 12, json!({"annotations": [{"id": "4", "userId": "b"}]})),
        17 => world.checkpoint(HALL),
        18 => create(world, a, "s"),
        19 => world.pass(70_000),
        20 => drop(join(world, a, "brief")),
        21 => change(world, a, 5),
        _ => unreachable!(),
    }
}

#[test]
fn after_a_crash_at_any_moment_a_room_is_as_its_members_saw_it() {
    let mut world = World::durable(Config::default());
    let (a, witness) = (world.connect("a"), world.connect("witness"));
    let mut moments = vec![Moment::of(&mut world, witness)];
    for at in 0..22 {
        step(&mut world, a, at);
        moments.push(Moment::of(&mut world, witness));
    }
    // All leave, the room is removed, and one of the same name comes and is changed.
    for name in [a, witness] {
        world.act(name, json!({"action": "leave_room"}));
    }
    moments.push(Moment::of(&mut world, witness));
    world.act(witness, json!({"action": "leave_room"}));
    assert_eq!(world.remove("r"), Removal::Removed);
    moments.push(Moment::of(&mut world, witness));
    create(&mut world, a, "r");
    moments.push(Moment::of(&mut world, witness));
    join(&mut world, a, "r");
    annotate(&mut world, a, "5", "of the second room");
    moments.push(Moment::of(&mut world, witness));

    assert_eq!(moments[12].state.as_ref().unwrap()["version"], 10);
    for (at, moment) in moments.iter().enumerate() {
        // Whatever was stored until then may be on the disk: a store may take any time.
        for stored in &moments[..=at] {
            let mut next = world.crashed(stored.disk.clone(), moment.recorded.clone());
            assert!(!next.is_there("room/r") && !next.is_there("room/s"), "stored, and gone");
            assert!(next.recorded().is_empty());
            moment.check(&mut next);
            // The journal may go now.
            moment.check(&mut next.restarted());
        }
    }
}

#[test]
fn what_is_recorded_after_a_crash_is_recovered_after_the_next() {
    let (mut world, a) = in_a_room();
    annotate(&mut world, a, "1", "first");
    for version in 1..5 {
        let (disk, recorded) = (world.disk.clone(), world.recorded());
        world = world.crashed(disk, recorded);
        let a = world.connect("a");
        let joined = join(&mut world, a, "r");
        assert_eq!(kept(&joined)["version"], version - 1);
        assert_eq!(kept(&joined)["annotations"][0]["text"], "first");
        update(&mut world, a, "patch", version, json!({}));
    }
}

/// With as many annotations as there may be, doing again what is stored already would not do.
#[test]
fn entries_that_a_record_has_are_not_applied_again() {
    let (mut world, a) = in_a_room();
    let many: Vec<Value> = (0..9_999).map(|id| json!({"id": id.to_string()})).collect();
    update(&mut world, a, "patch", 1, json!({"annotations": many}));
    annotate(&mut world, a, "x", "there");
    world.broadcast(a, json!({"type": "annotation_remove", "data": "x"}));
    annotate(&mut world, a, "y", "there");
    world.take(a);
    world.checkpoint("room/r");
    let expected = kept(&join(&mut world, a, "r"));
    assert_eq!(expected["annotations"].as_array().map(Vec::len), Some(10_000));
    let mut next = world.crashed(world.disk.clone(), world.recorded());
    let b = next.connect("b");
    assert_eq!(kept(&join(&mut next, b, "r")), expected);
}

#[test]
fn who_comes_while_a_room_is_recovered_waits() {
    let (mut world, a) = in_a_room();
    change(&mut world, a, 3);
    world.checkpoint("room/r");
    let disk = world.disk.clone();
    change(&mut world, a, 4);
    let expected = kept(&join(&mut world, a, "r"));
    let mut next = world.crashed(disk, Recorded::new());
    next.settles = false;
    let b = next.connect("b");
    next.settle();
    next.recover("room/r", world.recorded().remove("room/r").unwrap());
    next.act(b, json!({"action": "join_room", "roomId": "r", "password": "p"}));
    next.settle();
    assert_eq!(kept(&next.take(b).pop().unwrap()), expected);
    next.end(b);
    next.settle();
    assert!(!next.is_there("room/r"));
}

#[test]
fn what_is_being_loaded_is_not_stored_over() {
    let (mut world, a) = in_a_room();
    change(&mut world, a, 3);
    world.act(a, json!({"action": "leave_room"}));
    world.settles = false;
    world.act(a, json!({"action": "join_room", "roomId": "r", "password": "p"}));
    while !world.is_there("room/r") {
        assert!(world.step());
    }
    world.checkpoint("room/r");
    world.settle();
    assert_eq!(kept(&world.take(a).pop().unwrap())["version"], 3);
    assert!(String::from_utf8_lossy(&world.disk["gallery/rooms/r"]).contains("kept.glb"));
}

#[test]
fn what_is_not_kept_is_not_recorded() {
    let mut world = World::durable(Config::default());
    let a = world.connect("a");
    world.join_as(a, "brief", "host");
    change(&mut world, a, 3);
    assert!(world.recorded().is_empty());
    create(&mut world, a, "r");
    assert_eq!(entries(&world, HALL), 1);
    join(&mut world, a, "r");
    for kind in ["pose_update", "gaze_update", "focus_change", "chat_message", "camera_frame"] {
        world.broadcast(a, json!({"type": kind, "data": {"x": 1}}));
    }
    let update = json!({"type": "patch", "data": {}, "version": 1});
    let message = json!({"type": "state_update", "data": update});
    world.act(a, json!({"action": "send_message", "targetUserId": "a", "message": message}));
    assert_eq!(entries(&world, "room/r"), 0);
    change(&mut world, a, 3);
    assert_eq!(entries(&world, "room/r"), 2, "state and annotation");
    change(&mut world, a, 3);
    assert_eq!(entries(&world, "room/r"), 3, "nobody hears of a stale update");
}

#[test]
fn while_nothing_can_be_recorded_what_is_kept_does_not_change() {
    let mut world = World::durable(Config::default());
    let (a, b) = (world.connect("a"), world.connect("b"));
    create(&mut world, a, "r");
    join(&mut world, a, "r");
    join(&mut world, b, "r");
    change(&mut world, a, 3);
    let before = join(&mut world, a, "r");
    world.names_forget(&[a, b]);
    world.read_only = true;
    let read_only = error("Room is read-only", json!("b"));
    update(&mut world, a, "patch", 4, json!({"sceneUrl": "lost.glb"}));
    let told = world.take(a);
    assert_eq!(told[0], read_only);
    // It goes on from what the others see.
    assert_eq!(told[1]["data"]["message"]["data"], *state_of(&before));
    annotate(&mut world, a, "m", "lost");
    world.broadcast(a, json!({"type": "annotation_remove", "data": "n"}));
    assert_eq!(world.take(a), [read_only.clone(), read_only]);
    assert!(world.take(b).is_empty());
    // Everything else goes on.
    world.broadcast(a, json!({"type": "chat_message", "data": {"text": "hello"}}));
    world.broadcast(a, json!({"type": "focus_change", "data": {"userId": "a"}}));
    assert_eq!(world.take(b).len(), 2);
    let c = world.connect("c");
    world.take(c);
    create(&mut world, c, "s");
    assert_eq!(world.take(c), [error("Server is read-only", json!("absent"))]);
    world.join_as(c, "brief", "host");
    change(&mut world, c, 3);
    assert!(world.take(c).is_empty());
    world.act(a, json!({"action": "leave_room"}));
    world.act(b, json!({"action": "leave_room"}));
    assert_eq!(world.remove("r"), Removal::NotReady);
    world.read_only = false;
    let joined = join(&mut world, a, "r");
    assert_eq!(state_of(&joined)["annotations"], state_of(&before)["annotations"]);
    update(&mut world, a, "patch", 4, json!({}));
    assert!(world.take(a).is_empty());
    create(&mut world, c, "s");
    assert_eq!(persistent(&world), ["r", "s"]);
}

#[test]
fn what_was_recorded_survives_records_that_cannot_be_read() {
    let (mut world, a) = in_a_room();
    world.checkpoint("room/r");
    change(&mut world, a, 3);
    let sound = world.disk.clone();
    let mut broken = sound.clone();
    broken.values_mut().for_each(|record| record.truncate(10));
    let mut next = world.crashed(broken.clone(), world.recorded());
    assert!(next.is_there("room/r") && next.is_there(HALL), "nobody else has it");
    let b = next.connect("b");
    assert_eq!(next.closed(b).map(|close| close.code), Some(1013));
    next.disk.insert("gallery/hall/rooms".to_owned(), sound["gallery/hall/rooms"].clone());
    let c = next.connect("c");
    assert_eq!(join(&mut next, c, "r"), error("Room is unavailable", json!("absent")));
    next.checkpoint("room/r");
    next.pass(60_000);
    assert_eq!(next.disk["gallery/rooms/r"], broken["gallery/rooms/r"]);
    next.disk.insert("gallery/rooms/r".to_owned(), sound["gallery/rooms/r"].clone());
    assert_eq!(kept(&join(&mut next, c, "r"))["version"], 3);
    next.end(c);
    assert!(!next.is_there("room/r"));
}

#[test]
fn entries_that_are_none_of_a_room_are_refused() {
    let mut world = World::durable(Config::default());
    let a = world.connect("a");
    create(&mut world, a, "r");
    world.end(a);
    for bad in [
        &b""[..],
        b"x",
        b"{}",
        b"{\"epoch\":1}",
        b"{\"epoch\":1,\"erase\":7}",
        b"{\"epoch\":-1,\"erase\":\"n\"}",
        b"{\"epoch\":1,\"version\":2,\"data\":null}",
        b"{\"epoch\":1,\"version\":2,\"full\":true,\"data\":[]}",
        b"{\"epoch\":1,\"annotate\":\"n\",\"annotation\":{}}",
        b"{\"epoch\":1,\"erase\":\"n\"\xFF}",
    ] {
        let mut entries = Entries::default();
        entries.push(1 << 40, bad);
        let recorded = Recorded::from([("room/r".to_owned(), entries)]);
        let mut next = world.crashed(world.disk.clone(), recorded);
        let b = next.connect("b");
        let answer = join(&mut next, b, "r");
        assert_eq!(answer, error("Room is unavailable", json!("absent")), "{bad:?}");
        assert!(!next.disk.contains_key("gallery/rooms/r"));
        // An operator may remove it all the same.
        assert_eq!(next.remove("r"), Removal::Removed);
        assert!(!next.is_there("room/r"));
    }
}

/// The hall's word was on its way when the process was killed.
#[test]
fn a_room_that_was_removed_does_not_come_back() {
    let (mut world, a) = in_a_room();
    change(&mut world, a, 3);
    let before = world.disk.clone();
    let entries = world.recorded().remove("room/r").unwrap();
    world.act(a, json!({"action": "leave_room"}));
    assert_eq!(world.remove("r"), Removal::Removed);
    let mut recorded = world.recorded();
    recorded.insert("room/r".to_owned(), entries);
    let mut next = world.crashed(before, recorded);
    assert!(persistent(&next).is_empty());
    let record = String::from_utf8_lossy(&next.disk["gallery/rooms/r"]).into_owned();
    assert!(!record.contains("kept.glb"), "{record}");
    let b = next.connect("b");
    create(&mut next, b, "r");
    assert_eq!(kept(&join(&mut next, b, "r"))["version"], 0);
}

#[test]
fn a_removal_is_over_only_when_it_is_stored() {
    let (mut world, a) = in_a_room();
    change(&mut world, a, 3);
    world.broken = Some("full".to_owned());
    world.act(a, json!({"action": "leave_room"}));
    assert_eq!(world.remove("r"), Removal::Removed);
    assert!(world.is_there("room/r"), "the journal has entries of it");
    // A room of the same name may come meanwhile, and does not inherit.
    world.join_as(a, "r", "host");
    change(&mut world, a, 1);
    world.act(a, json!({"action": "leave_room"}));
    assert!(world.is_there("room/r"));
    world.broken = None;
    world.pass(20_000);
    assert!(!world.is_there("room/r"));
    assert!(!String::from_utf8_lossy(&world.disk["gallery/rooms/r"]).contains("kept.glb"));
}

#[test]
fn a_long_journal_is_cut_by_storing() {
    let (mut world, a) = in_a_room();
    let tree = "x".repeat(500_000);
    for version in 1..10 {
        assert!(!world.disk.contains_key("gallery/rooms/r"));
        update(&mut world, a, "patch", version, json!({"treeViewState": {"x": tree}}));
    }
    assert!(world.disk.contains_key("gallery/rooms/r"));
}

//! Stored sessions (specs: croquet §10).

use serde_json::{Value, json};

use super::harness::Room;
use crate::codec::journal::{HEADER_BYTES, Key, Kind};
use crate::protocol::Machine;
use crate::protocol::croquet::Config;
use crate::session::effects::RecordName;
use crate::session::journal::{Batch, Cursor, Entries};

fn durable() -> Room {
    Room::with(Config::default(), true)
}

fn latest() -> RecordName {
    RecordName { namespace: "croquet/sessions", names: vec!["room".to_owned()] }
}

fn saved() -> RecordName {
    let names = ["dev", "app", "pers"].map(str::to_owned).to_vec();
    RecordName { namespace: "croquet/saved", names }
}

/// A stored session with some history, and the time it was left at.
fn stored() -> (Vec<u8>, Value) {
    let mut room = durable();
    let a = room.join(json!("va"), json!({"ticks": {"tick": 100, "delay": 40}, "tove": "t1"}));
    room.answer_load(Ok(vec![None, None]));
    room.run_to(500);
    for at in 0..5 {
        room.send(a, &format!("p{at}"));
    }
    room.run_to(700);
    room.act(a, "TUTTI", json!([600, 0, "p", null, true, null, "k@600"]));
    room.act(a, "SNAP", json!({"time": 500, "seq": 0xFFFF_FFF3_u32, "hash": "h", "url": "s1"}));
    room.run_to(1_000);
    room.leave(a, 1006);
    room.run_to(20_000);
    assert!(room.machine.is_over());
    let (record, content) = room.stores.pop().unwrap();
    assert_eq!(record, latest());
    let json = serde_json::from_slice(&content).unwrap();
    (content, json)
}

#[test]
fn joiners_wait_until_the_record_is_read() {
    let mut room = durable();
    let a = room.join(json!("va"), json!({}));
    let b = room.join(json!("vb"), json!({}));
    let c = room.join(json!("vc"), json!({}));
    room.send(a, "too early");
    room.act(a, "PING", json!(1));
    room.leave(c, 1006);
    assert_eq!(room.take(a), [json!({"action": "PONG", "args": 1})]);
    assert!(!room.is_admitted(a));
    assert_eq!(room.loads.len(), 1);
    assert_eq!(room.loads[0].1, [latest(), saved()]);
    room.run_to(300);
    room.answer_load(Ok(vec![None, None]));
    for name in [a, b] {
        let sync = room.take(name).remove(0);
        assert_eq!(sync["action"], "SYNC");
        assert_eq!(sync["args"]["reflector"], "localWithStorage");
        assert!(room.is_admitted(name));
    }
    room.run_to(500);
    assert_eq!(room.machine.users(), r#"["va","vb"]"#);
    let d = room.join(json!("vd"), json!({}));
    assert_eq!(room.take(d).len(), 1, "loaded once");
}

#[test]
fn an_application_without_a_name_has_no_saved_data() {
    let mut room = durable();
    let a = room.join(json!("va"), json!({"persistentId": null}));
    assert_eq!(room.loads[0].1, [latest()]);
    room.answer_load(Ok(vec![None]));
    room.act(a, "SAVE", json!({"persistTime": 1, "url": "u"}));
    assert_eq!(room.closed(a), Some(4101));
}

#[test]
fn saved_data_starts_the_next_session() {
    let mut room = durable();
    let a = room.join(json!("va"), json!({}));
    room.answer_load(Ok(vec![None, None]));
    for bad in [json!(null), json!(""), json!(5), json!("x".repeat(3_000))] {
        room.act(a, "SAVE", json!({"persistTime": 1, "url": bad}));
    }
    room.act(a, "SAVE", json!({"persistTime": 1, "url": "d", "dissident": {"x": 1}}));
    assert!(room.stores.is_empty());
    room.act(a, "SAVE", json!({"persistTime": 1, "url": "http://files/\"p\""}));
    let (record, content) = room.stores.remove(0);
    assert_eq!(record, saved());
    let b = room.join(json!("vb"), json!({}));
    assert_eq!(room.take(b)[0]["args"]["url"], "", "the running session is not changed");

    let mut room = durable();
    let a = room.join(json!("va"), json!({}));
    room.answer_load(Ok(vec![None, Some(content)]));
    let sync = room.take(a).remove(0);
    assert_eq!(sync["args"]["url"], "http://files/\"p\"");
    assert_eq!(sync["args"]["persisted"], true);
    assert_eq!(sync["args"]["time"], 0);
}

#[test]
fn records_have_the_fields_of_the_original() {
    let (_, json) = stored();
    assert_eq!(json["id"], "room");
    assert_eq!((&json["name"], &json["version"]), (&json!("n"), &json!(1)));
    assert_eq!(json["time"], 940, "as it was told last");
    assert_eq!(
        (&json["tick"], &json["delay"], &json["scale"]),
        (&json!(100), &json!(40), &json!(1))
    );
    assert_eq!((&json["snapshotTime"], &json["snapshotUrl"]), (&json!(500), &json!("s1")));
    assert_eq!(json["snapshotSeq"], 0xFFFF_FFF3_u32);
    assert_eq!((&json["appId"], &json["persistentId"]), (&json!("app"), &json!("pers")));
    assert_eq!((&json["tove"], &json["location"]), (&json!("t1"), &json!(false)));
    assert_eq!(json["completedTallies"], json!({"k@600": 600}));
    assert_eq!(json["seq"], 0xFFFF_FFF7_u32);
    assert_eq!(json["messages"].as_array().unwrap().len(), 4);
    assert!(json["timeline"].is_string() && json["lastTick"].is_number());
    assert!(json["lastMsgTime"].is_number());
}

#[test]
fn a_resumed_session_goes_on_where_it_was() {
    let (content, json) = stored();
    let mut room = durable();
    room.run_to(5_000);
    let b = room.join(json!("vb"), json!({"ticks": {"tick": 20}, "tove": "t2"}));
    room.run_to(5_250);
    room.answer_load(Ok(vec![Some(content), None]));
    let sync = room.take(b).remove(0);
    let sync = &sync["args"];
    assert_eq!(sync["time"], 940, "it stood still");
    assert_eq!((&sync["seq"], &sync["timeline"]), (&json["seq"], &json["timeline"]));
    assert_eq!(sync["messages"], json["messages"]);
    assert_eq!((&sync["tove"], &sync["url"]), (&json!("t1"), &json!("s1")));
    // Ticks are the stored ones (Q14), and so is the delay.
    room.run_to(5_350);
    assert_eq!(room.take_args(b, "TICK"), [json!(1_040)]);
    room.send(b, "x");
    assert!(room.take(b).is_empty());
    room.run_to(5_391);
    let recv = room.take_args(b, "RECV").remove(0);
    assert_eq!((&recv[1], &recv[2]), (&json!(0xFFFF_FFF8_u32), &json!("x")));
    // A tally that was completed stays so.
    room.act(b, "TUTTI", json!([600, 0, "p", null, true, null, "k@600"]));
    room.run_to(5_440);
    assert!(room.take_args(b, "RECV").is_empty());
}

#[test]
fn unreadable_records_are_never_a_fresh_start() {
    let (content, json) = stored();
    let broken = |change: &dyn Fn(&mut Value)| {
        let mut json = json.clone();
        change(&mut json);
        Ok(vec![Some(json.to_string().into_bytes()), None])
    };
    let answers = [
        Err("disk on fire".to_owned()),
        Ok(vec![Some(content[..content.len() - 1].to_vec()), None]),
        Ok(vec![Some(Vec::new()), None]),
        Ok(vec![None, Some(b"{}".to_vec())]),
        broken(&|json| json["seq"] = json!(7)),
        broken(&|json| drop(json["messages"].as_array_mut().unwrap().remove(1))),
        broken(&|json| json["messages"][1] = json!([1])),
        broken(&|json| json["messages"][1] = json!("x")),
        broken(&|json| drop(json.as_object_mut().unwrap().remove("timeline"))),
    ];
    for answer in answers {
        let mut room = durable();
        let a = room.join(json!("va"), json!({}));
        let b = room.join(json!("vb"), json!({}));
        room.answer_load(answer);
        assert_eq!((room.closed(a), room.closed(b)), (Some(4003), Some(4003)));
        assert_eq!(room.counters.storage_errors.get(), 1);
        // The next one tries again.
        let c = room.join(json!("vc"), json!({}));
        room.answer_load(Ok(vec![Some(content.clone()), None]));
        assert_eq!(room.take(c)[0]["args"]["seq"], json["seq"]);
    }
}

#[test]
fn records_of_the_original_may_lack_fields_and_may_be_odd() {
    let odd = json!({
        "time": 5.0, "seq": 3, "messages": [[1, 2, "a"], [2, 3, {"what": "users"}, 7]],
        "timeline": "abc", "tick": 0.0001, "delay": 1e300, "scale": -3, "lastTick": 1e300,
        "snapshotTime": -1, "snapshotSeq": null, "snapshotUrl": "", "persistentUrl": "",
        "completedTallies": {"sentinel": 1, "x@2": 2}, "lastAuditTime": 0,
    });
    let mut room = durable();
    let a = room.join(json!("va"), json!({}));
    room.answer_load(Ok(vec![Some(odd.to_string().into_bytes()), None]));
    assert_eq!(room.take(a)[0]["args"]["messages"], odd["messages"]);
    room.run_to(1_000);
    assert!(room.take(a).len() > 10);
}

#[test]
fn what_members_said_can_always_be_read_back() {
    // Lone surrogates, which no Rust string holds, and the deepest nesting there may be.
    let mut room = durable();
    let a = room.join(json!({"id": "\u{0}"}), json!({"tove": "\u{1F600}"}));
    room.answer_load(Ok(vec![None, None]));
    room.run_to(300);
    let deep = "[".repeat(126) + &"]".repeat(126);
    room.say(a, r#"{"action":"SEND","args":[0,0,"\ud800"]}"#);
    room.say(a, &format!(r#"{{"action":"SEND","args":[0,0,"p",{deep}]}}"#));
    room.say(a, r#"{"action":"TUTTI","args":[0,0,"\udc00",null,true,null,"\ud800k"]}"#);
    let b = room.enter();
    room.say(b, r#"{"action":"JOIN","args":{"version":1,"apiKey":"k","user":"\ud83d"}}"#);
    room.run_to(600);
    assert_eq!(room.received(a).iter().filter(|(_, text)| text.contains("RECV")).count(), 5);
    room.drain_process();
    let (_, content) = room.stores.pop().unwrap();
    let mut room = durable();
    let c = room.join(json!("vc"), json!({}));
    room.answer_load(Ok(vec![Some(content), None]));
    let sync = room.take_texts(c).remove(0);
    assert!(sync.contains(r#""\ud800"]"#) && sync.contains(&deep), "{sync}");
    room.say(c, r#"{"action":"TUTTI","args":[0,0,"p",null,true,null,"\ud800k"]}"#);
    assert!(room.take_texts(c).is_empty(), "completed before");
}

#[test]
fn a_snapshot_is_stored_soon_and_not_too_often() {
    let mut room = durable();
    let a = room.join(json!("va"), json!({}));
    room.answer_load(Ok(vec![None, None]));
    room.run_to(1_000);
    assert!(room.stores.is_empty());
    let mut times = Vec::new();
    for at in 0..300 {
        room.run_to(1_010 + at * 10);
        let time = room.now_ms() - 5;
        room.act(a, "SNAP", json!({"time": time, "seq": 0xFFFF_FFF1_u32, "hash": "h", "url": "u"}));
        times.resize(room.stores.len(), room.now_ms());
    }
    assert_eq!(times.len(), 3, "{times:?}");
    // One that fails is tried again.
    room.run_to(20_000);
    let before = room.stores.len();
    room.holds_stores = true;
    let last = json!({"time": 19_000, "seq": 0xFFFF_FFF1_u32, "hash": "h", "url": "u"});
    room.act(a, "SNAP", last);
    room.run_to(21_000);
    assert_eq!(room.stores.len(), before + 1);
    room.answer_store(&latest(), Err("disk full".to_owned()));
    room.run_to(40_000);
    assert_eq!(room.stores.len(), before + 2);
}

#[test]
fn a_snapshot_alone_is_worth_storing() {
    // With spectators only, neither time nor sequence go on.
    let mut room = durable();
    let a = room.join(Value::Null, json!({}));
    room.answer_load(Ok(vec![None, None]));
    for at in 1..4 {
        room.run_to(at * 2_000);
        let snap = json!({"time": at, "seq": 0xFFFF_FFF0_u32, "hash": "h", "url": "u"});
        room.act(a, "SNAP", snap);
        room.run_to(at * 2_000 + 1);
        assert_eq!(room.stores.len() as u64, at);
    }
}

#[test]
fn draining_stores_what_clients_were_told() {
    let mut room = durable();
    let a = room.join(json!("va"), json!({}));
    room.answer_load(Ok(vec![None, None]));
    room.run_to(150);
    room.drain_process();
    let told = room.take(a);
    let last = told.last().unwrap();
    assert_eq!(last["args"][2]["what"], "users", "announced early");
    let record: Value = serde_json::from_slice(&room.stores[0].1).unwrap();
    assert_eq!((&record["time"], &record["seq"]), (&last["args"][0], &last["args"][1]));
    // Nothing more is told that would not be stored.
    assert_eq!(room.machine.deadline(), None);
    room.run_to(1_000);
    assert!(room.take(a).is_empty());
    room.send(a, "too late");
    assert_eq!(room.closed(a), Some(4003));
    let b = room.enter();
    assert_eq!(room.closed(b), Some(4003));
    assert_eq!(room.stores.len(), 1);
}

#[test]
fn an_unchanged_session_is_not_stored_again() {
    let (content, _) = stored();
    let mut room = durable();
    let a = room.join(json!("va"), json!({}));
    room.answer_load(Ok(vec![Some(content), None]));
    room.leave(a, 1006);
    room.run_to(30_000);
    assert!(room.stores.is_empty());
    let mut room = durable();
    room.join(json!("va"), json!({}));
    room.drain_process();
    assert!(room.stores.is_empty(), "not while it is being read");
}

#[test]
fn a_session_without_storage_stores_nothing() {
    let mut room = Room::new();
    let a = room.join(json!("va"), json!({}));
    room.run_to(300);
    room.act(a, "SNAP", json!({"time": 200, "seq": 0xFFFF_FFF1_u32, "hash": "h", "url": "u"}));
    room.act(a, "SAVE", json!({"persistTime": 1, "url": "u"}));
    room.leave(a, 1006);
    room.run_to(30_000);
    assert!(room.stores.is_empty() && room.loads.is_empty());
}

#[test]
fn a_late_answer_to_a_session_that_ended_is_ignored() {
    let (content, _) = stored();
    let mut room = durable();
    let a = room.join(json!("va"), json!({}));
    room.leave(a, 1006);
    let silent = room.enter();
    room.run_to(30_000);
    room.answer_load(Ok(vec![Some(content), None]));
    assert_eq!(room.machine.describe(), "room 0  ");
    assert!(room.take(silent).is_empty());
}

/// A room that records what it must not lose.
fn recording() -> Room {
    let mut room = durable();
    room.journal = Some((Batch::new(Key { epoch: 1, salt: 0 }, 0), Cursor::default()));
    room
}

/// What a room has recorded, as recovery reads it.
fn recorded(room: &Room) -> Entries {
    let (batch, _) = room.journal.as_ref().unwrap();
    let (key, mut entries, mut bytes) =
        (Key { epoch: 1, salt: 0 }, Entries::default(), batch.bytes());
    while let Some(record) = key.read(bytes) {
        if record.kind == Kind::Entry {
            entries.push(record.position, record.body);
        }
        bytes = &bytes[HEADER_BYTES + record.body.len()..];
    }
    entries
}

#[test]
fn a_session_goes_on_from_what_it_recorded() {
    let mut room = recording();
    let a = room.join(json!("va"), json!({"ticks": {"tick": 100, "delay": 40}, "tove": "t1"}));
    room.answer_load(Ok(vec![None, None]));
    for at in 0..20 {
        room.run_to(500 + at * 50);
        room.send(a, &format!("p{at}"));
    }
    room.act(a, "TUTTI", json!([600, 0, "p", null, true, null, "k@600"]));
    room.act(a, "SNAP", json!({"time": 700, "seq": 0xFFFF_FFF5_u32, "hash": "h", "url": "s1"}));
    room.act(a, "TICKS", json!({"tick": 50, "delay": 20, "scale": 2}));
    room.run_to(1_600);
    room.send(a, "after the snapshot");
    room.run_to(2_000);
    let b = room.join(json!("vb"), json!({}));
    let before = room.take(b).remove(0);
    // From the journal alone, and with a record that has a part of it.
    let base = room.stores.last().map(|(_, content)| content.clone());
    assert!(base.is_some(), "a snapshot is stored soon");
    for base in [None, base] {
        let mut next = durable();
        next.recover(recorded(&room));
        next.answer_load(Ok(vec![base]));
        let c = next.join(json!("vc"), json!({}));
        let after = next.take(c).remove(0);
        for same in ["messages", "seq", "url", "snapshotTime", "snapshotSeq", "tove", "timeline"] {
            assert_eq!(before["args"][same], after["args"][same], "{same}");
        }
        let time = |sync: &Value| sync["args"]["time"].as_u64().unwrap();
        assert!(time(&after) >= time(&before));
        assert!(time(&after) <= time(&before) + 11_000, "a lease at twice the pace");
        next.act(c, "TUTTI", json!([600, 0, "p", null, true, null, "k@600"]));
        assert!(next.take_texts(c).is_empty(), "completed before");
        next.run_to(10);
        assert_eq!(next.stores.len(), 1, "stored at once, so that the journal can go");
    }
}

#[test]
fn what_was_recorded_survives_a_load_that_fails() {
    let mut room = recording();
    let a = room.join(json!("va"), json!({}));
    room.answer_load(Ok(vec![None, None]));
    room.send(a, "said");
    let seq = room.machine.seq();
    let mut next = durable();
    next.recover(recorded(&room));
    next.answer_load(Err("busy".to_owned()));
    let c = next.join(json!("vc"), json!({}));
    next.answer_load(Ok(vec![None, None]));
    assert_eq!(next.take(c)[0]["args"]["seq"], seq);
}

#[test]
fn nothing_is_said_that_cannot_be_recorded() {
    let mut room = recording();
    let a = room.join(json!("va"), json!({}));
    room.answer_load(Ok(vec![None, None]));
    room.run_to(300);
    room.take(a);
    room.read_only = true;
    room.send(a, "one");
    room.send(a, "two");
    let told = room.take(a);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["args"]["code"], "READ_ONLY");
    room.read_only = false;
    room.send(a, "three");
    assert_eq!(room.take(a)[0]["args"][2], "three");
}

#[test]
fn a_session_is_over_only_when_it_is_stored() {
    let mut room = recording();
    room.holds_stores = true;
    let a = room.join(json!("va"), json!({}));
    room.answer_load(Ok(vec![None, None]));
    room.send(a, "said");
    room.leave(a, 1006);
    room.run_to(20_000);
    assert_eq!(room.stores.len(), 1);
    assert!(!room.machine.is_over());
    room.answer_store(&latest(), Err("disk full".to_owned()));
    let b = room.join(json!("vb"), json!({}));
    assert_eq!(room.take(b)[0]["args"]["messages"][0][2], "said", "it is still as it was");
    room.leave(b, 1006);
    room.run_to(60_000);
    room.answer_store(&latest(), Ok(()));
    assert!(room.machine.is_over());
}

#[test]
fn who_comes_and_goes_at_once_leaves_nothing_in_the_journal_alone() {
    let mut room = recording();
    let a = room.join(json!("va"), json!({}));
    room.answer_load(Ok(vec![None, None]));
    assert_eq!(room.take(a)[0]["args"]["time"], 0);
    room.leave(a, 1006);
    room.run_to(20_000);
    assert!(room.machine.is_over());
    assert_eq!(room.stores.len(), 1);
}

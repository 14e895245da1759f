//! Members of Zeal's Socket.IO form in a room (specs: zeal §1, §3).

use super::harness::{Heard, Name, World, Writer, socket};
use crate::codec::ysync::write_entry;
use crate::protocol::Message;
use crate::protocol::yjs::socketio::{BAD_PACKET, Socket};
use crate::protocol::yjs::{Config, SOCKETIO_LOBBY, TOO_AWARE, UNAVAILABLE, engine_io};

const JOINED: &str = r#"42["crdt:joined",{"roomName":"room","clientId":"sid"}]"#;

fn error(text: &str, kind: &str) -> Heard {
    let argument = format!(r#"{{"error":"{text}","message":"{text}","type":"{kind}"}}"#);
    Heard::Text(format!(r#"42["crdt:error",{argument}]"#))
}

fn invalid() -> Heard {
    error("Invalid message", "invalid")
}

fn aware(states: &[(u64, u32, Option<&str>)]) -> Heard {
    let own = |&(client, clock, state): &(u64, u32, Option<&str>)| {
        (client, clock, state.map(str::to_owned))
    };
    Heard::Awareness(states.iter().map(own).collect())
}

/// One of y-websocket, and two sockets.
fn three() -> (World, [Name; 3]) {
    let mut world = World::new();
    let names = [world.enter(), world.enter_socket(true), world.enter_socket(true)];
    world.ignore();
    (world, names)
}

fn emit(world: &mut World, name: Name, packet: &str) {
    world.tell(name, Message::Text(packet));
}

#[test]
fn who_comes_is_told_where_it_is_and_who_is_there_and_asked_what_it_has() {
    let mut world = World::new();
    let a = world.enter();
    world.aware(a, &[(1, 1, Some("{}"))]);
    let b = world.enter_socket(true);
    let expected =
        [Heard::Text(JOINED.to_owned()), Heard::Step1(vec![0]), aware(&[(1, 1, Some("{}"))])];
    assert_eq!(world.heard(b), expected);
    assert!(world.is_admitted(b));
    // To join again changes nothing, and is answered.
    world.aware(b, &[(2, 1, Some("2"))]);
    world.ignore();
    emit(&mut world, b, r#"2["crdt:join","room"]"#);
    let heard = world.heard(b);
    assert_eq!(heard[..2], expected[..2]);
    assert_eq!(heard[2], aware(&[(1, 1, Some("{}")), (2, 1, Some("2"))]));
    assert_eq!(world.heard(a), []);
}

#[test]
fn updates_go_to_all_others_whatever_their_form_and_questions_to_nobody() {
    let (mut world, [a, b, c]) = three();
    let writer = Writer::new(5);
    let update = writer.types("x");
    world.update(b, &update);
    assert_eq!(world.heard(a), [Heard::Update(update.clone())]);
    assert_eq!(world.heard(b), []);
    assert_eq!(world.heard(c), [Heard::Update(update)]);
    // What one lacks is relayed as an update, too.
    writer.types("y");
    world.step2(c, &writer.whole());
    assert_eq!(world.heard(a), [Heard::Update(writer.whole())]);
    assert_eq!(world.heard(b), [Heard::Update(writer.whole())]);
    assert_eq!(world.heard(c), []);
    let update = writer.types("z");
    world.update(a, &update);
    for name in [b, c] {
        assert_eq!(world.heard(name), [Heard::Update(update.clone())]);
    }
    world.step1(b, &[0]);
    assert_eq!(world.heard(b), [Heard::Step2(writer.whole())]);
    assert_eq!((world.heard(a), world.heard(c)), (vec![], vec![]));
    assert_eq!(world.text(), "xyz");
}

#[test]
fn a_question_is_answered_also_with_nothing() {
    let (mut world, [_, b, c]) = three();
    for name in [b, c] {
        world.step1(name, &[0]);
        assert_eq!(world.heard(name), [Heard::Step2(vec![0, 0])]);
    }
    // Those who lack the same are told the same; then something else.
    let writer = Writer::new(5);
    for text in ["x", "y"] {
        world.update(b, &writer.types(text));
        world.ignore();
        world.run(1);
        for name in [b, c] {
            world.step1(name, &[0]);
            assert_eq!(world.heard(name), [Heard::Step2(writer.whole())]);
        }
    }
    // Once a turn.
    world.step1(c, &[0]);
    assert_eq!(world.heard(c), []);
    world.run(1);
    assert_eq!(world.heard(c), [Heard::Step2(writer.whole())]);
}

#[test]
fn states_go_to_everybody_without_their_length() {
    let (mut world, [a, b, c]) = three();
    let mut entry = Vec::new();
    write_entry(&mut entry, 7, 1, Some("{}"));
    // As the original's client sends it.
    world.say(b, &[&[1, 1], &entry[..]].concat());
    let expected = [aware(&[(7, 1, Some("{}"))])];
    for name in [a, b, c] {
        assert_eq!(world.heard(name), expected, "{name}");
    }
    // As y-protocols does.
    let mut entry = Vec::new();
    write_entry(&mut entry, 7, 2, Some("{}"));
    world.say(b, &[&[1, entry.len() as u8 + 1, 1], &entry[..]].concat());
    world.aware(a, &[(8, 1, Some("8"))]);
    for name in [a, b, c] {
        let expected = [aware(&[(7, 2, Some("{}"))]), aware(&[(8, 1, Some("8"))])];
        assert_eq!(world.heard(name), expected, "{name}");
    }
    world.say(c, &[3]);
    assert_eq!(world.heard(c), [aware(&[(7, 2, Some("{}")), (8, 1, Some("8"))])]);
    world.leave(b);
    assert_eq!(world.heard(c), [aware(&[(7, 3, None)])]);
    assert_eq!(world.heard(a), [aware(&[(7, 3, None)])]);
}

#[test]
fn nobody_who_is_there_is_no_answer() {
    let (mut world, [_, b, _]) = three();
    world.say(b, &[3]);
    assert_eq!(world.heard(b), []);
}

#[test]
fn states_that_are_not_renewed_end_for_all() {
    let (mut world, [a, b, c]) = three();
    world.aware(b, &[(7, 1, Some("7"))]);
    world.ignore();
    world.run(35_000);
    assert!(world.heard(a).contains(&aware(&[(7, 2, None)])));
    assert_eq!(world.heard(b), [aware(&[(7, 2, None)])]);
    assert_eq!(world.heard(c), [aware(&[(7, 2, None)])]);
}

#[test]
fn who_is_pinged_by_the_engine_hears_no_noise() {
    let mut world = World::new();
    let b = world.enter_socket(true);
    world.ignore();
    world.run(300_000);
    assert_eq!(world.heard(b), []);
    // Nor with one that does.
    let a = world.enter();
    world.ignore();
    world.run(300_000);
    assert_eq!((world.heard(b), world.heard(a).len()), (vec![], 15));
}

#[test]
fn messages_of_applications_go_to_the_others_and_tokens_to_nobody() {
    let (mut world, [a, b, c]) = three();
    let say = |world: &mut World, name, tag, json: &str| {
        world.say(name, &[&[tag, json.len() as u8], json.as_bytes()].concat());
    };
    say(&mut world, b, 2, r#"{"token":"t","userId":"u","userName":"n"}"#);
    say(&mut world, b, 4, r#"{"type":"heartbeat","timestamp":1}"#);
    for name in [a, b, c] {
        assert_eq!(world.heard(name), []);
    }
    for (from, others) in [(b, [a, c]), (a, [b, c])] {
        say(&mut world, from, 4, r#"{"type":"wave"}"#);
        assert_eq!(world.heard(from), []);
        for name in others {
            assert_eq!(world.heard(name), [Heard::Custom(r#"{"type":"wave"}"#.to_owned())]);
        }
    }
}

#[test]
fn who_goes_elsewhere_takes_its_name_and_rights_along() {
    for (packet, key, sid) in [
        (r#"2["crdt:leave","room"]"#, SOCKETIO_LOBBY, Some("sid")),
        (r#"2["crdt:join","other"]"#, "room/other", Some("sid")),
        ("1", SOCKETIO_LOBBY, None),
    ] {
        for may_write in [true, false] {
            let mut world = World::new();
            let (a, b) = (world.enter(), world.enter_socket(may_write));
            world.aware(b, &[(7, 1, Some("7"))]);
            world.ignore();
            emit(&mut world, b, packet);
            let carry = Socket { sid: sid.map(Into::into), ..socket(may_write) }.pack();
            assert_eq!(world.went_to(b), Some((key.to_owned(), carry)), "{packet}");
            assert_eq!(world.heard(a), [aware(&[(7, 2, None)])]);
        }
    }
}

#[test]
fn who_is_wrong_is_told_and_stays() {
    let (mut world, [a, b, _]) = three();
    let not_joined = error("Not joined", "membership");
    for (packet, answer) in [
        (r#"2["crdt:message","other",[3]]"#, not_joined.clone()),
        (r#"2["crdt:leave","other"]"#, not_joined),
        (r#"2["crdt:join",""]"#, error("Invalid room name", "invalid")),
        (r#"2["crdt:join",7]"#, invalid()),
        (r#"2["crdt:message","room"]"#, invalid()),
        (r#"2["crdt:message","room","AA=="]"#, invalid()),
        (r#"2["crdt:message","room",{"0":3}]"#, invalid()),
        (r#"2["crdt:message","room",[256]]"#, invalid()),
        (r#"2["crdt:message","room",[-1]]"#, invalid()),
        (r#"2["crdt:message","room",[3.0]]"#, invalid()),
        (r#"2["crdt:message","room",[[3]]]"#, invalid()),
        (r#"2["crdt:message","room",[]]"#, invalid()),
        (r#"2["crdt:message","room",[9]]"#, invalid()),
        (r#"2["crdt:message","room",[0,2,4,255,255,255,127]]"#, invalid()),
        // This stopped the original's whole process.
        (r#"2["crdt:message","room",[0,0,5,255,255,255,255,15]]"#, invalid()),
    ] {
        emit(&mut world, b, packet);
        assert_eq!(world.heard(b), [answer], "{packet}");
    }
    for packet in [r#"2["other","room",[3]]"#, "2", "31[]", r#"2["error"]"#] {
        emit(&mut world, b, packet);
        assert_eq!(world.heard(b), [], "{packet}");
    }
    assert_eq!(world.heard(a), []);
    assert!(world.is_seated(b));
}

#[test]
fn who_talks_no_socketio_is_cut() {
    for packet in ["", "9", "0", "4", "2{}", r#"2["disconnect"]"#, r#"2/x,["crdt:join","a"]"#] {
        let (mut world, [a, b, _]) = three();
        emit(&mut world, b, packet);
        assert_eq!(world.closed(b), Some(BAD_PACKET), "{packet}");
        assert!(world.is_seated(a));
    }
    let (mut world, [_, b, _]) = three();
    world.tell(b, Message::Binary(&[3]));
    assert_eq!(world.closed(b), Some(BAD_PACKET));
}

#[test]
fn other_namespaces_are_none_and_events_are_acknowledged() {
    let (mut world, [_, b, _]) = three();
    emit(&mut world, b, "0/admin,{}");
    let refusal = r#"44/admin,{"message":"Invalid namespace"}"#;
    assert_eq!(world.heard(b), [Heard::Text(refusal.to_owned())]);
    emit(&mut world, b, r#"218446744073709551615["crdt:message","room",[0,0,1,0]]"#);
    let ack = Heard::Text("4318446744073709551615[]".to_owned());
    assert_eq!(world.heard(b), [ack, Heard::Step2(vec![0, 0])]);
    emit(&mut world, b, r#"20["other"]"#);
    assert_eq!(world.heard(b), [Heard::Text("430[]".to_owned())]);
}

#[test]
fn frames_have_a_largest_size() {
    let config = Config { native_message_bytes_max: 1_000, ..Config::default() };
    let mut world = World::with(config, false);
    let b = world.enter_socket(true);
    world.ignore();
    let too_large = [error("Message too large", "size")];
    world.say(b, &[0; 1_001]);
    assert_eq!(world.heard(b), too_large);
    // Not even looked at.
    emit(&mut world, b, &format!("2[{}", "9".repeat(10_000)));
    assert_eq!(world.heard(b), too_large);
    world.say(b, &[255; 1_000]);
    assert_eq!(world.heard(b), [invalid()]);
    assert!(world.is_seated(b));
}

#[test]
fn a_full_room_sends_back_to_the_lobby() {
    let full = Config { native_clients_per_room_max: 1, ..Config::default() };
    let closed = Config { native_rooms_max: 0, ..Config::default() };
    for (config, text) in [(full, "Room capacity reached"), (closed, "Room limit reached")] {
        let mut world = World::with(config, false);
        let first = world.enter_socket(true);
        let name = if world.is_seated(first) { world.enter_socket(true) } else { first };
        assert_eq!(world.went_to(name), Some((SOCKETIO_LOBBY.to_owned(), socket(true).pack())));
        assert_eq!(world.heard(name), [error(text, "capacity")]);
    }
}

#[test]
fn pages_of_all_origins_may_come_unless_some_are_named() {
    let settings = |origins: &[&str]| {
        let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
        let yjs = Config { origins, ..Config::default() };
        engine_io(&crate::protocol::Config { yjs, ..Default::default() }).origins
    };
    let all = settings(&[]);
    assert_eq!((all.allow(Some("http://a")), all.refuses(Some("http://a"))), (Some("*"), false));
    let some = settings(&["http://a"]);
    assert_eq!(some.allow(Some("http://a")), Some("http://a"));
    assert!(some.refuses(Some("http://b")) && !some.refuses(None));
}

#[test]
fn what_may_not_be_written_is_refused_once() {
    let mut world = World::new();
    let (a, b) = (world.enter(), world.enter_socket(false));
    world.ignore();
    let writer = Writer::new(5);
    world.update(b, &writer.types("no"));
    world.step2(b, &writer.whole());
    assert_eq!(world.heard(b), [Heard::Denied("You may only read this document".to_owned())]);
    assert_eq!(world.heard(a), []);
    world.update(a, &writer.types("yes"));
    assert_eq!(world.heard(b).len(), 1);
}

#[test]
fn what_could_not_be_recorded_is_asked_for_again() {
    let mut world = World::durable();
    let b = world.enter_socket(true);
    world.ignore();
    let writer = Writer::new(5);
    world.read_only = true;
    world.update(b, &writer.types("x"));
    assert!(matches!(world.heard(b)[..], [Heard::Denied(_)]));
    world.read_only = false;
    world.run(2_000);
    assert_eq!(world.heard(b), [Heard::Step1(vec![0])]);
    world.step2(b, &writer.whole());
    assert_eq!(world.text(), "x");
}

#[test]
fn who_cannot_stay_is_told_why() {
    let (mut world, [a, b, _]) = three();
    let long = format!("\"{}\"", "x".repeat(70_000));
    world.aware(b, &[(1, 1, Some(&long))]);
    assert_eq!(world.closed(b), Some(TOO_AWARE));
    assert_eq!(world.heard(b), [error("Too many awareness states", "refused")]);
    assert!(world.is_seated(a));
    let mut world = World::durable();
    world.holds = true;
    let b = world.enter_socket(true);
    world.say(b, &[3]);
    world.fail_load();
    assert_eq!(world.closed(b), Some(UNAVAILABLE));
    assert_eq!(world.heard(b)[0], error("Document is unavailable", "unavailable"));
}

#[test]
fn what_is_said_while_the_document_is_loaded_is_heard_afterwards() {
    let mut world = World::durable();
    world.holds = true;
    let b = world.enter_socket(true);
    let update = Writer::new(5).types("x");
    world.update(b, &update);
    world.step1(b, &[0]);
    assert_eq!(world.heard(b), []);
    world.answer();
    let heard = world.heard(b);
    let expected = [Heard::Text(JOINED.to_owned()), Heard::Step1(vec![0]), Heard::Step2(update)];
    assert_eq!(heard, expected);
}

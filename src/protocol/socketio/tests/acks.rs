//! Acknowledgements, both ways.

use super::harness::Room;
use crate::protocol::Machine;
use crate::protocol::socketio::{ACKS_OPEN_MAX, REQUESTS_OPEN_MAX};

#[test]
fn each_event_is_acknowledged_once() {
    let mut room = Room::new();
    let one = room.join();
    for times in 1..3 {
        room.say(one, &format!("218446744073709551615[\"acks\",{times}]"));
        assert_eq!(room.take(one), ["318446744073709551615[1,\"a\"]"]);
    }
    // An id may be used again, and even at once.
    room.say(one, "25[\"owe\"]");
    room.say(one, "25[\"owe\"]");
    room.say(one, "25[\"acks\",1]");
    room.say(one, "26[\"nothing\"]");
    assert_eq!(room.take(one), ["35[1,\"a\"]"]);
    room.say(one, "2[\"pay\"]");
    assert_eq!(room.take(one), ["35[\"paid\"]", "35[\"again\"]"]);
    room.say(one, "0/b");
    room.forget();
    room.say(one, "2/b,5[\"owe\"]");
    room.say(one, "2/b,6[\"pay\"]");
    assert_eq!(room.take(one), ["3/b,5[\"paid\"]"]);
}

#[test]
fn nothing_is_acknowledged_to_who_has_left_meanwhile() {
    let mut room = Room::new();
    let one = room.join();
    room.say(one, "20[\"owe\"]");
    room.say(one, "21[\"leave\"]");
    room.say(one, "0");
    room.forget();
    room.say(one, "2[\"pay\"]");
    assert_eq!(room.take(one), [""; 0]);
}

#[test]
fn of_very_many_events_the_newest_may_be_acknowledged_later() {
    let mut room = Room::new();
    let one = room.join();
    for id in 0..ACKS_OPEN_MAX + 10 {
        room.say(one, &format!("2{id}[\"owe\"]"));
    }
    room.say(one, "2[\"pay\"]");
    let paid = (10..ACKS_OPEN_MAX + 10).map(|id| format!("3{id}[\"paid\"]"));
    assert_eq!(room.take(one), paid.collect::<Vec<_>>());
}

#[test]
fn requests_are_numbered_in_each_namespace_and_answered_once() {
    let mut room = Room::new();
    let (one, other) = (room.join(), room.join());
    room.say(one, "0/b");
    room.forget();
    room.say(one, "2[\"ask\",1000]");
    room.say(other, "2[\"ask\",1000]");
    room.say(one, "2/b,[\"ask\",1000]");
    assert_eq!(room.take(one), ["20[\"asked\"]", "2/b,0[\"asked\"]"]);
    assert_eq!(room.take(other), ["21[\"asked\"]"]);
    room.told();
    // Not its own, not asked, not a number: ignored (S31).
    for text in ["31[]", "3/b,1[]", "32[]", "3[]", "318446744073709551615[]", "30"] {
        room.say(one, text);
        assert!(room.told().is_empty() && !room.is_closed(one), "{text}");
    }
    room.say(one, "30[1, {}]");
    assert_eq!(room.told(), ["0/ answers 0 (1,{}) []"]);
    room.say(one, "30[2]");
    assert!(room.told().is_empty());
    room.say(other, "62-1[{\"_placeholder\":true,\"num\":0}]");
    room.attach(other, &[1]);
    assert!(room.told().is_empty());
    room.attach(other, &[2, 3]);
    let told = "1/ answers 1 ({\"_placeholder\":true,\"num\":0}) [[1], [2, 3]]";
    assert_eq!(room.told(), [told]);
    room.say(one, "3/b,0[]");
    assert_eq!(room.told(), ["0/b answers 0 () []"]);
    assert_eq!(room.machine.deadline(), None);
}

#[test]
fn who_does_not_answer_in_time_does_not_answer() {
    let mut room = Room::new();
    let one = room.join();
    room.say(one, "2[\"ask\",50]");
    room.say(one, "2[\"ask\",20]");
    room.told();
    room.pass(19);
    assert!(room.told().is_empty());
    room.pass(1);
    assert_eq!(room.told(), ["0/ answers 1 TimedOut"]);
    room.say(one, "31[]");
    assert!(room.told().is_empty(), "too late");
    room.pass(30);
    assert_eq!(room.told(), ["0/ answers 0 TimedOut"]);
    assert_eq!(room.machine.deadline(), None);
}

#[test]
fn who_goes_does_not_answer() {
    let mut room = Room::new();
    let one = room.join();
    room.say(one, "0/b");
    for text in ["2[\"ask\",1000]", "2[\"ask\",1000]", "2/b,[\"ask\",1000]"] {
        room.say(one, text);
    }
    room.told();
    room.say(one, "1");
    let gone = ["0/ disconnect", "0/ answers 0 Gone", "0/ answers 1 Gone"];
    assert_eq!(room.told(), gone);
    room.leave(one);
    assert_eq!(room.told(), ["0/b disconnect", "0/b answers 0 Gone"]);
    assert_eq!(room.machine.deadline(), None);
    let other = room.join();
    room.say(other, "2[\"ask-gone\"]");
    assert_eq!(room.take(other), ["1"]);
    assert_eq!(room.told(), ["1/ \"ask-gone\"()", "1/ disconnect", "1/ answers 2 Gone"]);
}

#[test]
fn of_very_many_requests_the_most_urgent_are_given_up() {
    let mut room = Room::new();
    let (one, other) = (room.join(), room.join());
    room.say(other, "2[\"ask\",1]");
    for ms in 0..REQUESTS_OPEN_MAX {
        room.say(one, &format!("2[\"ask\",{}]", 1_000 - ms));
    }
    room.forget();
    room.say(one, "2[\"ask\",2000]");
    let number = REQUESTS_OPEN_MAX + 1;
    assert_eq!(room.take(one), [format!("2{number}[\"asked\"]")]);
    let told = room.told();
    assert_eq!(told[1..], [format!("0/ answers {REQUESTS_OPEN_MAX} TimedOut")]);
}

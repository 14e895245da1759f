//! What the public protocol test suite presumes of its server.

use super::harness::Room;
use crate::protocol::Machine;
use crate::protocol::socketio::conformance::Conformance;

const ZERO: &str = "{\"_placeholder\":true,\"num\":0}";

#[test]
fn the_suites_server_is_as_the_suite_presumes() {
    let mut room = Room::with(Conformance::default());
    let one = room.enter();
    room.say(one, "0{\"token\":\"123\"}");
    assert_eq!(room.take(one)[1..], ["2[\"auth\",{\"token\":\"123\"}]"]);
    room.say(one, "0/custom,");
    assert_eq!(room.take(one)[1..], ["2/custom,[\"auth\",{}]"]);
    room.say(one, "0/random");
    assert_eq!(room.take(one), ["4/random,{\"message\":\"Invalid namespace\"}"]);
    room.say(one, "2[\"message\",1,\"2\",{\"3\":[true]}]");
    assert_eq!(room.take(one), ["2[\"message-back\",1,\"2\",{\"3\":[true]}]"]);
    room.say(one, &format!("51-[\"message\",{ZERO}]"));
    room.attach(one, &[1, 2, 3]);
    assert_eq!(room.take(one), [&format!("51-[\"message-back\",{ZERO}]"), "[1, 2, 3]"]);
    room.say(one, "2456[\"message-with-ack\",1,\"2\",{\"3\":[false]}]");
    assert_eq!(room.take(one), ["3456[1,\"2\",{\"3\":[false]}]"]);
    room.say(one, &format!("51-789[\"message-with-ack\",{ZERO}]"));
    room.attach(one, &[4]);
    assert_eq!(room.take(one), [&format!("61-789[{ZERO}]"), "[4]"]);
    room.say(one, "2[\"message-with-ack\"]");
    room.say(one, "2/custom,1[\"message\",1]");
    assert_eq!(room.take(one), [""; 0]);
    room.say(one, "1/custom");
    room.say(one, "2[\"message\"]");
    assert_eq!(room.take(one), ["2[\"message-back\"]"]);
    assert_eq!(room.machine.describe(), "conformance 1");
    room.say(one, "4abc");
    assert!(room.is_closed(one) && room.machine.is_over());
}

#[test]
fn clients_can_have_themselves_asked_heard_and_kicked() {
    let mut room = Room::with(Conformance::default());
    let (one, other) = (room.enter(), room.enter());
    room.say(one, "0{\"token\":\"refused\"}");
    let refusal = "4{\"message\":\"Refused\",\"data\":{\"token\":\"refused\"}}";
    assert_eq!(room.take(one), [refusal]);
    for member in [one, other] {
        room.say(member, "0");
        room.take(member);
    }
    room.say(one, "2[\"broadcast\",1,[2]]");
    assert_eq!(room.take(one), [""; 0]);
    assert_eq!(room.take(other), ["2[\"broadcast\",1,[2]]"]);
    room.say(one, "2[\"ask\",\"who?\"]");
    assert_eq!(room.take(one), ["20[\"asked\",\"who?\"]"]);
    room.say(one, &format!("61-0[{ZERO}]"));
    room.attach(one, &[5]);
    assert_eq!(room.take(one), [&format!("51-[\"answered\",{ZERO}]"), "[5]"]);
    room.say(one, "2[\"kick\"]");
    assert_eq!(room.take(one), ["1"]);
    assert!(!room.is_closed(one));
    room.say(other, "2[\"kick\",true]");
    assert_eq!(room.take(other), ["1"]);
    assert!(room.is_closed(other));
}

//! Packets with attachments.

use super::harness::{ATTACHMENTS_BYTES_MAX, Room};

const ZERO: &str = "{\"_placeholder\":true,\"num\":0}";
const ONE: &str = "{\"_placeholder\":true,\"num\":1}";

#[test]
fn a_packet_is_told_when_its_attachments_are_there() {
    let mut room = Room::new();
    let one = room.join();
    room.say(one, &format!("52-[\"echo\",{ONE},[{{\"a\":{ZERO}}}]]"));
    room.attach(one, &[]);
    assert!(room.told().is_empty());
    room.attach(one, &[7, 8]);
    assert_eq!(room.told(), [format!("0/ \"echo\"({ONE},[{{\"a\":{ZERO}}}])")]);
    let header = format!("52-[\"echo\",{ONE},[{{\"a\":{ZERO}}}]]");
    assert_eq!(room.take(one), [&header, "[]", "[7, 8]"]);
    room.say(one, "0/b");
    room.forget();
    room.say(one, &format!("51-/b,12[\"ack-echo\",{ZERO}]"));
    room.attach(one, &[1]);
    assert_eq!(room.take(one), [&format!("61-/b,12[{ZERO}]"), "[1]"]);
    // Attachments that nothing names are there, and in nobody's way (S42).
    room.say(one, "51-[\"a\"]");
    room.attach(one, &[1]);
    room.told();
    room.say(one, "51-");
    room.attach(one, &[1]);
    assert!(room.told().is_empty() && !room.is_closed(one), "no payload, no event");
    room.say(one, "2[\"a\"]");
    assert_eq!(room.told(), ["0/ \"a\"()"]);
}

/// S46 and S47.
#[test]
fn what_comes_out_of_turn_closes() {
    for header in ["2[\"a\"]", "20[\"a\"]", "30[]"] {
        let mut room = Room::new();
        let one = room.join();
        room.say(one, header);
        room.attach(one, &[1]);
        assert!(room.is_closed(one), "{header}");
    }
    for text in ["2[\"a\"]", "51-[\"a\"]", "1", "0/b", "", "30[]"] {
        let mut room = Room::new();
        let one = room.join();
        room.say(one, "52-[\"a\"]");
        room.attach(one, &[1]);
        room.say(one, text);
        assert!(room.is_closed(one), "{text}");
        assert_eq!(room.told(), ["0/ disconnect"]);
    }
    let mut room = Room::new();
    let one = room.enter();
    room.attach(one, &[1]);
    assert!(room.is_closed(one));
    let other = room.join();
    room.say(other, "51-[\"a\"]");
    room.attach(other, &[1]);
    room.attach(other, &[1]);
    assert!(room.is_closed(other));
}

#[test]
fn attachments_are_as_large_as_they_may_be_together() {
    let mut room = Room::new();
    let one = room.join();
    for _ in 0..2 {
        room.say(one, "52-[\"a\"]");
        room.attach(one, &[1]);
        room.attach(one, &[0; ATTACHMENTS_BYTES_MAX - 1]);
        assert_eq!(room.told(), ["0/ \"a\"()"]);
    }
    room.say(one, "52-[\"a\"]");
    room.attach(one, &[1]);
    room.attach(one, &[0; ATTACHMENTS_BYTES_MAX]);
    assert!(room.is_closed(one));
}

#[test]
fn nothing_comes_between_a_packet_and_its_attachments() {
    let mut room = Room::new();
    let (one, other) = (room.join(), room.join());
    room.say(other, "2[\"pose\",1]");
    room.say(one, &format!("52-[\"between\",{ZERO},{ONE}]"));
    room.attach(one, &[1]);
    room.say(other, "2[\"say\",0]");
    room.attach(one, &[2]);
    let echo = format!("52-[\"echo\",{ZERO},{ONE}]");
    let posed = "2[\"posed\",1]";
    let said = ["2[\"said\",0]", "2[\"said\",1]"];
    assert_eq!(room.take(one), [posed, said[0], said[1], &echo, "[1]", "[2]", "2[\"said\",2]"]);
    assert_eq!(room.take(other), [said[0], said[1], "2[\"said\",2]"]);
}

/// The application may end what a client has begun to say.
#[test]
fn who_is_disconnected_amid_a_packet_finishes_it_for_nobody() {
    let mut room = Room::new();
    let (one, other) = (room.join(), room.join());
    room.say(one, "0/b");
    room.forget();
    room.say(one, "51-/b,[\"a\"]");
    room.say(other, "2[\"drop\",2]");
    assert_eq!(room.told(), ["1/ \"drop\"(2)", "0/b disconnect"]);
    room.attach(one, &[1]);
    assert!(room.told().is_empty() && !room.is_closed(one));
    room.say(one, "2[\"a\"]");
    assert_eq!(room.told(), ["0/ \"a\"()"]);
    // Not even for itself, when it has come back.
    room.say(one, "0/b");
    room.say(one, "51-/b,[\"a\"]");
    room.say(other, "2[\"drop\",2]");
    room.forget();
    room.attach(one, &[1]);
    assert!(room.told().is_empty());
}

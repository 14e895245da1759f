//! Who is in which namespace.

use super::harness::Room;
use super::toy::Toy;

const INVALID: &str = "{\"message\":\"Invalid namespace\"}";

#[test]
fn there_are_these_namespaces_and_no_other() {
    let mut room = Room::new();
    let one = room.enter();
    // The query is part of the name (S8).
    for name in ["/c", "/b/", "/b?x=1", "/%2Fb", "/\u{e9}"] {
        room.say(one, &format!("0{name},"));
        assert_eq!(room.take(one), [format!("4{name},{INVALID}")]);
    }
    assert!(!room.is_admitted(one) && !room.is_closed(one) && room.told().is_empty());
    // The comma may be missing (S4).
    room.say(one, "0/b");
    assert!(room.take(one)[0].starts_with("0/b,{\"sid\":\""));
    assert!(room.is_admitted(one) && !room.is_listening(one));
    room.say(one, "0/,");
    assert!(room.take(one)[0].starts_with("0{\"sid\":\""));
    assert_eq!(room.told(), ["0/b connect ", "0/ connect "]);
    room.say(one, "2/b,[\"a\"]");
    assert_eq!(room.told(), ["0/b \"a\"()"]);
}

#[test]
fn who_is_refused_stays_and_may_ask_again() {
    let mut room = Room::new();
    let one = room.enter();
    room.say(one, "0{\"refuse\":1}");
    assert_eq!(room.take(one), ["4{\"message\":\"\\\"no\\\"\"}"]);
    assert!(!room.is_admitted(one) && !room.is_listening(one));
    room.say(one, "0/b,{\"refuse\":\"data\"}");
    assert_eq!(room.take(one), ["4/b,{\"message\":\"\\\"no\\\"\",\"data\":{\"a\":[1]}}"]);
    room.forget();
    // It left nothing behind.
    room.pass(5_000);
    assert!(room.told().is_empty());
    room.say(one, "0");
    assert!(room.take(one)[0].starts_with("0{"));
    room.say(one, "2/b,[\"a\"]");
    assert!(room.is_closed(one));
}

/// S55.
#[test]
fn who_leaves_hears_nothing_and_may_come_back() {
    let mut room = Room::new();
    let (one, other) = (room.join(), room.join());
    room.say(one, "0/b");
    let first = room.take(one);
    room.say(one, "1");
    assert_eq!(room.take(one), [""; 0], "there is no answer");
    assert_eq!(room.take(other), ["2[\"joined\",0]", "2[\"left\",0]"]);
    assert!(!room.is_listening(one) && !room.is_closed(one));
    room.say(other, "2[\"say\",1]");
    room.say(other, "2[\"all\",1]");
    room.say(other, "2[\"everywhere\",1]");
    assert_eq!(room.take(one), ["2/b,[\"told\",1]"]);
    room.forget();
    room.say(one, "0{}");
    assert_eq!(room.told(), ["0/ connect {}"]);
    let again = room.take(one);
    assert!(again[0].starts_with("0{\"sid\"") && again[0][1..] != first[0][3..]);
    assert_eq!(again[1..], ["2[\"joined\",0]"]);
    room.say(other, "2[\"say\",2]");
    assert_eq!(room.take(one), ["2[\"said\",2]"]);
    let hellos = std::mem::take(&mut room.machine.app_mut().hellos);
    assert_eq!(hellos, ["/?name=0", "/?name=1", "/?name=0", "/?name=0"]);
}

#[test]
fn where_nobody_may_return_what_the_request_told_is_forgotten() {
    let mut room = Room::with(Toy { is_lean: true, ..Toy::default() });
    let one = room.enter();
    room.say(one, "0/b");
    room.say(one, "0{\"refuse\":1}");
    room.say(one, "0{\"leave\":1}");
    assert_eq!(room.take(one).last().unwrap(), "1");
    room.say(one, "0");
    assert!(!room.is_closed(one), "it was never asked for: it had not been everywhere");
    room.say(one, "1");
    room.say(one, "0");
    assert!(room.is_closed(one));
}

/// S56 and S57.
#[test]
fn the_application_disconnects_and_kicks() {
    let mut room = Room::new();
    let (one, other) = (room.join(), room.join());
    room.say(one, "0/b");
    room.forget();
    room.say(one, "2/b,[\"leave\"]");
    assert_eq!(room.take(one), ["1/b,", "2[\"left\",0]"]);
    assert_eq!(room.told(), ["0/b \"leave\"()", "0/b disconnect"]);
    room.say(one, "2[\"leave\"]");
    assert_eq!(room.take(one), ["1"]);
    assert!(!room.is_listening(one) && !room.is_closed(one));
    room.say(one, "0/b");
    room.say(one, "0");
    room.forget();
    // Those that are there: the other, this one in /b and in the first.
    room.say(other, "2[\"kick\",2]");
    assert!(room.is_closed(one) && !room.is_closed(other));
    assert_eq!(room.told(), ["1/ \"kick\"(2)", "0/ disconnect", "0/b disconnect"]);
    assert_eq!(room.take(one), ["1"]);
    room.say(other, "2[\"kick\",0]");
    assert!(room.is_closed(other));
}

#[test]
fn who_is_disconnected_while_it_connects_is_told_both() {
    let mut room = Room::new();
    let one = room.enter();
    room.say(one, "0{\"leave\":1}");
    let texts = room.take(one);
    assert!(texts[0].starts_with("0{"));
    assert_eq!(texts[1..], ["2[\"joined\",0]", "1"]);
    assert_eq!(room.told(), ["0/ connect {\"leave\":1}", "0/ disconnect"]);
    assert!(!room.is_listening(one));
}

#[test]
fn a_connection_that_ends_leaves_all_its_namespaces() {
    let mut room = Room::new();
    let (one, other) = (room.join(), room.join());
    room.say(one, "0/b");
    room.forget();
    room.leave(one);
    assert_eq!(room.told(), ["0/b disconnect", "0/ disconnect"]);
    assert_eq!(room.take(other), ["2[\"left\",0]", "2[\"left\",0]"]);
}

//! Packets one by one (specs: socketio §8).

use super::harness::Room;

#[test]
fn a_client_connects_and_is_told_before_anything_else() {
    let mut room = Room::new();
    let one = room.enter();
    assert!(!room.is_admitted(one) && !room.is_listening(one));
    room.say(one, "0{\"hello\":1}");
    assert!(room.is_admitted(one) && room.is_listening(one));
    let texts = room.take(one);
    let sid = texts[0].strip_prefix("0{\"sid\":\"").and_then(|rest| rest.strip_suffix("\"}"));
    let sid = sid.expect("a CONNECT answer");
    assert!(
        sid.len() == 20 && sid.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    );
    assert_eq!(texts[1..], ["2[\"joined\",0]", "2[\"hello\"]"]);
    assert_eq!(room.told(), ["0/ connect {\"hello\":1}"]);
    let other = room.enter();
    room.say(other, "0");
    assert_ne!(room.take(other)[0], texts[0]);
    assert_eq!(room.take(one), ["2[\"joined\",1]"]);
}

/// S9 to S12, S53, S54 and W11.
#[test]
fn what_is_out_of_turn_closes() {
    for texts in [
        &["0", "0"][..],
        &["0/b", "0/b,{}"],
        &["2[\"a\"]"],
        &["1"],
        &["30[]"],
        &["0/b,", "2[\"a\"]"],
        &["0", "2/b,[\"a\"]"],
        &["0", "1/b,"],
        &["0", "3/b,0[]"],
        &["0", "2/c,[\"a\"]"],
        &["0", "1/c"],
        &["0", "4\"no\""],
        &["0", "4/b,{}"],
        &["0", "1", "2[\"a\"]"],
        &["0", "1", "1"],
        &["0", "51-/b,[\"a\"]"],
        &["0", ""],
        &["0", "7"],
        &["0[]"],
        &["4abc"],
    ] {
        let mut room = Room::new();
        let one = room.enter();
        let (last, before) = texts.split_last().unwrap();
        before.iter().for_each(|text| room.say(one, text));
        assert!(!room.is_closed(one), "{texts:?}");
        room.say(one, last);
        assert!(room.is_closed(one), "{texts:?}");
        assert!(room.machine.app().sockets.is_empty(), "{texts:?}: it has left");
    }
}

/// S13 to S38, but for what the codec's own tests tell.
#[test]
fn what_is_no_packet_closes() {
    for text in [
        "0\"a\"",
        "0null",
        "1[]",
        "2{}",
        "2[]",
        "2[{}]",
        "2[\"connect\"]",
        "2[\"disconnect\"]",
        "2[\"newListener\"]",
        "3{}",
        "2[\"a\"",
        "2-[\"a\"]",
        "218446744073709551616[\"a\"]",
        "50-[\"a\"]",
        "511-[\"a\"]",
        "51.5-[\"a\"]",
        "5-[\"a\"]",
        "5[\"a\"]",
        "51-[\"a\",{\"_placeholder\":true,\"num\":1}]",
        "61-0[{\"_placeholder\":true}]",
    ] {
        let mut room = Room::new();
        let one = room.join();
        room.say(one, text);
        assert!(room.is_closed(one), "{text}");
        assert_eq!(room.told(), ["0/ disconnect"], "{text}");
    }
}

#[test]
fn events_are_told_as_they_came() {
    let mut room = Room::new();
    let one = room.join();
    for (text, told) in [
        ("2[\"a\"]", "0/ \"a\"()"),
        ("2[\"a\", 1,{ \"b\":null}]", "0/ \"a\"(1,{ \"b\":null})"),
        ("2[1,2]", "0/ 1(2)"),
        ("2[\"error\"]", "0/ \"error\"()"),
        ("2[\"\\ud800\",1e400,-0]", "0/ \"\\ud800\"(1e400,-0)"),
        // It is but data (S51).
        (
            "2[\"a\",{\"_placeholder\":true,\"num\":3}]",
            "0/ \"a\"({\"_placeholder\":true,\"num\":3})",
        ),
        ("27[\"a\"]", "0/ \"a\"() #7"),
        ("218446744073709551615[\"a\"]", "0/ \"a\"() #18446744073709551615"),
    ] {
        room.say(one, text);
        assert_eq!(room.told(), [told]);
    }
    // Tolerated, and ignored (S29, S33).
    for text in ["2", "27", "3", "37", "3[]"] {
        room.say(one, text);
        assert!(room.told().is_empty() && !room.is_closed(one), "{text}");
    }
}

#[test]
fn what_is_said_reaches_whom_it_is_for() {
    let mut room = Room::new();
    let all: Vec<_> = (0..3).map(|_| room.join()).collect();
    room.say(all[2], "0/b");
    room.forget();
    for (text, heard) in [
        ("2[\"say\",1]", [&["2[\"said\",1]"][..]; 3]),
        ("2[\"others\",1,{}]", [&[], &["2[\"said\",1,{}]"], &["2[\"said\",1,{}]"]]),
        ("2[\"all\",[]]", [&["2[\"told\",[]]"]; 3]),
        (
            "2[\"everywhere\"]",
            [&["2[\"told\"]"], &["2[\"told\"]"], &["2[\"told\"]", "2/b,[\"told\"]"]],
        ),
        ("2[\"echo\",\"x\"]", [&["2[\"echo\",\"x\"]"], &[], &[]]),
    ] {
        room.say(all[0], text);
        for name in &all {
            assert_eq!(room.take(*name), heard[*name], "{text}: {name}");
        }
    }
}

/// Small ones are copied, large ones shared.
#[test]
fn messages_of_any_size_reach_several() {
    let mut room = Room::new();
    let all = [room.join(), room.join()];
    for size in [0, 1_000, 1_005, 1_006, 1_007, 1_008, 1_009, 1_010, 1_011, 2_000, 70_000] {
        room.say(all[0], &format!("2[\"all\",\"{}\"]", "x".repeat(size)));
        for name in all {
            assert_eq!(room.take(name), [format!("2[\"told\",\"{}\"]", "x".repeat(size))]);
        }
    }
}

#[test]
fn what_may_wait_is_said_before_who_stops_listening() {
    let mut room = Room::new();
    let (one, other) = (room.join(), room.join());
    room.say(one, "2[\"pose\",1]");
    assert!(room.take(other).is_empty(), "it waits");
    room.say(other, "1");
    assert_eq!(room.take(other), ["2[\"posed\",1]"]);
    assert_eq!(room.take(one), ["2[\"left\",1]"]);
    // What waits is not for a member that is refused, either: and who said it is not told it.
    room.say(one, "2[\"pose\",2]");
    room.say(one, "0/b,{\"refuse\":1}");
    let no = "4/b,{\"message\":\"\\\"no\\\"\"}";
    assert_eq!(room.take(one), ["2[\"joined\",0]", no]);
}

#[test]
fn the_application_is_called_when_it_asked_for_it() {
    let mut room = Room::new();
    let one = room.join();
    room.say(one, "2[\"tick\",50]");
    room.forget();
    room.say(one, "2[\"ask\",20]");
    room.forget();
    room.leave(one);
    assert!(!crate::protocol::Machine::is_over(&room.machine));
    room.pass(49);
    assert!(!room.told().contains(&"tick".to_owned()));
    room.pass(1);
    assert_eq!(room.told(), ["tick"]);
    assert!(crate::protocol::Machine::is_over(&room.machine));
    let one = room.enter();
    assert!(!crate::protocol::Machine::is_over(&room.machine), "somebody is there");
    room.leave(one);
    assert!(crate::protocol::Machine::is_over(&room.machine));
}

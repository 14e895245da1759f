//! Clients whose connections are cut and that come back.

use super::harness::{Name, Room};
use crate::protocol::socketio::recovery::LOG_BYTES_MAX;

/// What a client remembers.
#[derive(Clone, Debug, Default)]
struct Memory {
    sid: String,
    pid: String,
    offset: String,
}

impl Memory {
    /// Reads what a connection was sent; what events said, without their offsets.
    fn read(&mut self, room: &mut Room, name: Name) -> Vec<String> {
        let mut heard = Vec::new();
        for packet in room.take(name) {
            if let Some(event) = packet.strip_prefix("2[") {
                let (rest, offset) = event.rsplit_once(",\"").expect("an offset at the end");
                self.offset = offset.trim_end_matches("\"]").to_owned();
                heard.push(rest.to_owned());
            } else if let Some(open) = packet.strip_prefix("0{") {
                let parts: Vec<_> = open.split('"').collect();
                assert_eq!((parts[1], parts[5]), ("sid", "pid"), "{open}");
                (self.sid, self.pid) = (parts[3].to_owned(), parts[7].to_owned());
                heard.push("connected".to_owned());
            } else {
                heard.push(packet);
            }
        }
        heard
    }

    /// Comes back on a new connection.
    fn come_back(&self, room: &mut Room) -> Name {
        let name = room.enter();
        let Self { pid, offset, .. } = self;
        room.say(name, &format!("0{{\"pid\":\"{pid}\",\"offset\":\"{offset}\"}}"));
        name
    }
}

fn join(room: &mut Room) -> (Name, Memory) {
    let name = room.enter();
    room.say(name, "0");
    let mut memory = Memory::default();
    assert_eq!(memory.read(room, name)[0], "connected");
    (name, memory)
}

/// Whether it is told that it has come back; it is connected in any case.
fn is_back(room: &mut Room, name: Name) -> bool {
    let told = room.told();
    assert!(room.is_listening(name));
    told.iter().any(|told| told.ends_with(" back"))
}

#[test]
fn who_comes_back_in_time_is_told_what_it_has_missed() {
    let mut room = Room::recovering(1_000);
    let (lost, mut memory) = join(&mut room);
    let (other, _) = join(&mut room);
    room.say(other, "2[\"say\",1]");
    memory.read(&mut room, lost);
    let before = memory.clone();
    room.leave(lost);
    for text in ["2[\"say\",2]", "2[\"all\",3]", "2[\"others\",4]", "2[\"pose\",5]"] {
        room.say(other, text);
    }
    room.pass(900);
    room.forget();
    let again = memory.come_back(&mut room);
    assert!(is_back(&mut room, again));
    // What was said to those who were there is not for it, nor what is volatile.
    let heard = memory.read(&mut room, again);
    let missed = ["\"left\",0", "\"said\",2", "\"said\",4"];
    assert_eq!(heard, [&missed[..], &["connected", "\"joined\",2"]].concat());
    assert_eq!((memory.sid, memory.pid), (before.sid, before.pid));
}

#[test]
fn one_is_told_again_what_was_said_to_it_alone() {
    let mut room = Room::recovering(1_000);
    let (lost, mut memory) = join(&mut room);
    // It may have got none of this.
    room.say(lost, "2[\"all\",1]");
    room.say(lost, "2[\"others\",2]");
    room.leave(lost);
    let again = memory.come_back(&mut room);
    assert_eq!(memory.read(&mut room, again)[..3], ["\"told\",1", "\"left\",0", "connected"]);
}

#[test]
fn nobody_comes_back_twice_too_late_or_as_somebody_else() {
    let mut room = Room::recovering(1_000);
    let (lost, memory) = join(&mut room);
    room.leave(lost);
    let stranger = Memory { pid: "A".repeat(20), ..memory.clone() };
    let name = stranger.come_back(&mut room);
    assert!(!is_back(&mut room, name));
    let from_the_future = Memory { offset: "999".to_owned(), ..memory.clone() };
    for offset in ["", "x", "-1", "18446744073709551615"] {
        let odd = Memory { offset: offset.to_owned(), ..memory.clone() };
        let name = odd.come_back(&mut room);
        assert!(!is_back(&mut room, name), "{offset:?}");
    }
    let name = from_the_future.come_back(&mut room);
    assert!(!is_back(&mut room, name));
    let again = memory.come_back(&mut room);
    assert!(is_back(&mut room, again));
    let name = memory.come_back(&mut room);
    assert!(!is_back(&mut room, name), "it is here already");
    room.leave(again);
    room.pass(1_001);
    let name = memory.come_back(&mut room);
    assert!(!is_back(&mut room, name), "too late");
}

#[test]
fn who_leaves_or_breaks_the_rules_does_not_come_back() {
    for last in ["1", "nonsense", "2[\"leave\"]"] {
        let mut room = Room::recovering(1_000);
        let (lost, memory) = join(&mut room);
        room.say(lost, last);
        room.leave(lost);
        let name = memory.come_back(&mut room);
        assert!(!is_back(&mut room, name), "{last}");
    }
}

#[test]
fn who_has_missed_more_than_is_kept_begins_anew() {
    let mut room = Room::recovering(1_000);
    let (lost, mut memory) = join(&mut room);
    let (other, _) = join(&mut room);
    memory.read(&mut room, lost);
    room.leave(lost);
    let long = format!("2[\"say\",\"{}\"]", "x".repeat(LOG_BYTES_MAX / 8));
    (0..8).for_each(|_| room.say(other, &long));
    let name = memory.come_back(&mut room);
    assert!(!is_back(&mut room, name));
}

#[test]
fn a_session_stays_as_long_as_somebody_may_come_back() {
    use crate::protocol::Machine as _;
    let mut room = Room::recovering(1_000);
    let (lost, _) = join(&mut room);
    room.leave(lost);
    assert!(!room.machine.is_over());
    room.pass(1_000);
    assert!(room.machine.is_over());
}

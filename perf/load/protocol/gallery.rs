//! The Gallery Viewer's protocol: JSON objects with an `action` one way and an `event` the other.
//! A client creates or joins a room and broadcasts poses, which go to all others of the room.
//! The payload rides in a pose as one more key; servers pass unknown keys on untouched.

use std::io::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Incoming, Manner, Protocol, Seat};

/// Members of a room that nobody created with more.
const MEMBERS_USUAL: u32 = 50;
/// The answer to all but one of those who create a room at once.
const EXISTS: &str = "Room already exists";
/// What a browser says of a head at rest: full floats, as JavaScript prints them.
const POSE: &str = "\"position\":[-1.8427315950393677,1.600000023841858,4.217904090881348],\
                    \"rotation\":[0,0.7071067811865475,0,0.7071067811865476]";
const MESSAGE: &[u8] = b"{\"event\":\"message\",\"data\":{\"message\":";

/// A client of the gallery.
#[derive(Debug)]
pub(super) struct Gallery {
    manner: Manner,
}

#[derive(Deserialize)]
struct Event<'a> {
    event: &'a str,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Trouble<'a> {
    message: &'a str,
}

/// Bytes of a pose as it arrives, with a payload of `payload_bytes`.
pub(super) fn delivery_bytes(payload_bytes: usize) -> usize {
    let mut out = MESSAGE.to_vec();
    let seat = Seat { session: 0, member: 0 };
    let id = user(0xffff, seat);
    push_pose(&id, &vec![b'x'; payload_bytes], &mut out);
    out.len() + format!(",\"senderId\":\"{id}\"}}}}").len()
}

impl Gallery {
    /// A client with these manners.
    pub(super) fn new(manner: Manner) -> Self {
        Self { manner }
    }

    fn room(&self, seat: Seat) -> String {
        format!("perf-{:x}-{}", self.manner.nonce, seat.session)
    }
}

impl Protocol for Gallery {
    fn path(&self, seat: Seat) -> String {
        format!("{}?userId={}", self.manner.prefix, user(self.manner.nonce, seat))
    }

    fn join(&self, seat: Seat) -> Vec<Vec<u8>> {
        let (room, member, most) = (self.room(seat), seat.member, self.manner.members);
        let mut messages = Vec::new();
        // Joining creates a room of the usual size. A larger one must be created, by all who
        // come, since any of them may be the first.
        if most > MEMBERS_USUAL {
            messages.push(format!(
                "{{\"action\":\"create_room\",\"requestId\":\"create\",\"roomId\":\"{room}\",\
                 \"config\":{{\"maxUsers\":{most},\"persistent\":false}}}}"
            ));
        }
        messages.push(format!(
            "{{\"action\":\"join_room\",\"requestId\":\"join\",\"roomId\":\"{room}\",\
             \"userInfo\":{{\"name\":\"Visitor {member}\",\"role\":\"viewer\",\
             \"avatar\":{{\"type\":\"simple\",\"color\":\"#30bced\",\
             \"displayName\":\"Visitor {member}\"}}}}}}"
        ));
        messages.into_iter().map(String::into_bytes).collect()
    }

    fn is_echoed(&self) -> bool {
        false
    }

    fn payload_bytes(&self) -> usize {
        self.manner.payload_bytes
    }

    fn message(&self, seat: Seat, _number: u32, payload: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"action\":\"broadcast\",\"message\":");
        push_pose(&user(self.manner.nonce, seat), payload, out);
        out.push(b'}');
    }

    fn read<'a>(&self, _seat: Seat, text: &'a [u8], _reply: &mut Vec<u8>) -> Incoming<'a> {
        if text.starts_with(MESSAGE) {
            return Incoming::Deliveries { bytes: text };
        }
        let Ok(event) = serde_json::from_slice::<Event<'a>>(text) else { return Incoming::Unknown };
        let data = event.data.map_or("", RawValue::get);
        match event.event {
            "message" => Incoming::Deliveries { bytes: text },
            "connected" | "room_created" | "user_joined" | "user_left" => {
                Incoming::Notice { order: None }
            }
            "room_joined" => Incoming::Joined { order: None },
            "error" => refused(data),
            _ => Incoming::Unknown,
        }
    }
}

fn refused(data: &str) -> Incoming<'_> {
    match serde_json::from_str::<Trouble<'_>>(data) {
        Ok(trouble) if trouble.message == EXISTS => Incoming::Notice { order: None },
        Ok(trouble) => Incoming::Refused { reason: trouble.message.as_bytes() },
        Err(_) => Incoming::Unknown,
    }
}

fn user(nonce: u64, Seat { session, member }: Seat) -> String {
    format!("user-{nonce:x}-{session}-{member}")
}

fn push_pose(user: &str, payload: &[u8], out: &mut Vec<u8>) {
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "{{\"type\":\"pose_update\",\"senderId\":\"{user}\",\"timestamp\":1767225600000,\
         \"data\":{{{POSE},\"stamp\":\""
    );
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\"}}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::ledger::Stamp;

    const SEAT: Seat = Seat { session: 3, member: 5 };

    fn gallery(members: u32) -> Gallery {
        Gallery::new(Manner { members, ..super::super::manner() })
    }

    fn read(text: &str) -> Incoming<'_> {
        gallery(20).read(SEAT, text.as_bytes(), &mut Vec::new())
    }

    fn joining(members: u32) -> Vec<Value> {
        let messages = gallery(members).join(SEAT);
        messages.iter().map(|text| serde_json::from_slice(text).unwrap()).collect()
    }

    #[test]
    fn a_room_of_the_usual_size_is_joined_and_a_larger_one_created_before() {
        let [join] = joining(50).try_into().unwrap();
        assert_eq!((&join["action"], &join["roomId"]), (&json!("join_room"), &json!("perf-9-3")));
        assert_eq!(join["userInfo"]["avatar"]["displayName"], "Visitor 5");
        let [create, join] = joining(500).try_into().unwrap();
        assert_eq!(create["action"], "create_room");
        assert_eq!(create["config"]["maxUsers"], 500);
        assert_eq!(create["roomId"], join["roomId"]);
        assert_eq!(gallery(20).path(SEAT), "/prefix?userId=user-9-3-5");
    }

    #[test]
    fn a_pose_is_found_again_in_the_usual_and_in_any_other_arrangement() {
        let stamp = Stamp { sender: 5, number: 6, due_ns: 7 };
        let (mut payload, mut text) = (Vec::new(), Vec::new());
        stamp.write(64, &mut payload);
        gallery(20).message(SEAT, 6, &payload, &mut text);
        let said: Value = serde_json::from_slice(&text).unwrap();
        let (message, sender) = (&said["message"], "user-9-3-5");
        assert_eq!(
            (&said["action"], &message["type"]),
            (&json!("broadcast"), &json!("pose_update"))
        );
        assert_eq!(message["senderId"], sender);
        assert_eq!(message["data"]["rotation"].as_array().unwrap().len(), 4);
        let usual = format!(
            "{{\"event\":\"message\",\"data\":{{\"message\":{message},\"senderId\":\"{sender}\"}}}}"
        );
        let other =
            json!({ "data": { "senderId": sender, "message": message }, "event": "message" });
        for text in [usual, other.to_string()] {
            let Incoming::Deliveries { bytes } = read(&text) else { panic!("{text}") };
            assert_eq!(Stamp::find(bytes).collect::<Vec<_>>(), [stamp]);
        }
    }

    #[test]
    fn the_nominal_size_is_that_of_a_pose_as_it_arrives() {
        let gallery = Gallery::new(Manner { nonce: 0xffff, ..super::super::manner() });
        let seat = Seat { session: 0, member: 0 };
        let (mut said, sender) = (Vec::new(), user(0xffff, seat));
        gallery.message(seat, 0, &[b'p'; 64], &mut said);
        let said: BTreeMap<&str, &RawValue> = serde_json::from_slice(&said).unwrap();
        let message = said["message"];
        let heard = format!(
            "{{\"event\":\"message\",\"data\":{{\"message\":{message},\"senderId\":\"{sender}\"}}}}"
        );
        assert_eq!(delivery_bytes(64), heard.len());
    }

    #[test]
    fn the_servers_own_messages_are_told_apart() {
        let connected = "{\"event\":\"connected\",\"data\":{\"userId\":\"u\"}}";
        assert_eq!(read(connected), Incoming::Notice { order: None });
        let joined =
            "{\"event\":\"room_joined\",\"data\":{\"requestId\":\"join\",\"roomInfo\":{}}}";
        assert_eq!(read(joined), Incoming::Joined { order: None });
        let error = |text| format!("{{\"event\":\"error\",\"data\":{{\"message\":\"{text}\"}}}}");
        assert_eq!(read(&error(EXISTS)), Incoming::Notice { order: None });
        let full = error("Room is full");
        assert_eq!(read(&full), Incoming::Refused { reason: b"Room is full" });
        assert_eq!(read("{\"event\":\"weather\",\"data\":{}}"), Incoming::Unknown);
        assert_eq!(read("@"), Incoming::Unknown);
    }
}

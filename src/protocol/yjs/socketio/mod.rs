//! What Zeal's Socket.IO clients and the server say to each other (§1), and what such a member takes
//! along when it moves between their lobby ([`lobby`]) and a room.
//!
//! The frames of the other forms travel as arrays of numbers, in events that name their room. A
//! client is in one room at a time; it is told what is wrong with what it says, and stays. Only what
//! is no Socket.IO (specs: socketio §8) ends its connection.
//!
//! Deliberately absent: attachments, namespaces but `/`, and requests to clients.

pub(super) mod lobby;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::codec::json::{self, Raw};
use crate::codec::socketio::{Body, Head, Limits, ack, connect_error, decode, event, prefix};
use crate::codec::websocket::NO_CODE;
use crate::session::frame::FrameKind;
use crate::session::{Close, Effects, MemberId};

/// How a client goes that does not talk Socket.IO.
pub(super) const BAD_PACKET: Close = Close::new(NO_CODE, "");
/// Characters of an event besides its bytes: its name, and that of its room with every character
/// escaped.
const ENVELOPE_BYTES_MAX: usize = 64 + 6 * super::ROOM_BYTES_MAX;
/// Characters that a byte takes, with its comma.
const OCTET_BYTES_MAX: usize = 4;

/// The only namespace.
const ROOT: &str = "/";
const JOIN: &str = "crdt:join";
const JOINED: &str = "crdt:joined";
const LEAVE: &str = "crdt:leave";
const MESSAGE: &str = "crdt:message";
const ERROR: &str = "crdt:error";

/// What a client is told with `crdt:error`: a text, and a word for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trouble(pub(super) &'static str, pub(super) &'static str);

pub(super) const INVALID: Trouble = Trouble("Invalid message", "invalid");
pub(super) const INVALID_ROOM: Trouble = Trouble("Invalid room name", "invalid");
pub(super) const NOT_JOINED: Trouble = Trouble("Not joined", "membership");
pub(super) const TOO_LARGE: Trouble = Trouble("Message too large", "size");
pub(super) const STILL_POLLS: Trouble =
    Trouble("Rooms need a WebSocket, and yours was not opened in time", "transport");

impl Trouble {
    /// What becomes of a client that cannot enter, or cannot stay.
    pub(super) fn of(close: Close) -> Self {
        let kind = match close {
            super::ROOM_FULL | super::SERVER_FULL => "capacity",
            super::UNAVAILABLE => "unavailable",
            _ => "refused",
        };
        Self(close.reason, kind)
    }
}

/// A client of this form.
///
/// No other carry is read as one: it has fields that this has not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Socket {
    /// Its public name, given by the server; none while it is not connected to the namespace.
    pub(super) sid: Option<Box<str>>,
    pub(super) may_write: bool,
    /// The same by what its URL shows; none if it may not even read.
    pub(super) by_url: Option<bool>,
}

impl Socket {
    /// For the way between sessions.
    pub(super) fn pack(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The reverse of [`Socket::pack`]; none for who comes from elsewhere.
    pub(super) fn unpack(carry: &[u8]) -> Option<Self> {
        serde_json::from_slice(carry).ok()
    }
}

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// It connects to the namespace, and shows this.
    Connect(Option<Raw<'a>>),
    /// It would connect to a namespace that is none.
    Elsewhere(&'a str),
    /// It leaves the namespace; its connection stays.
    Disconnect,
    /// An event, and what it is to be acknowledged with.
    Event(Request<'a>, Option<u64>),
    /// Nothing that matters.
    Nothing,
}

/// What an event asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    /// To edit the document of this name.
    Join(Cow<'a, str>),
    /// Not to edit the document of this name any more.
    Leave(Raw<'a>),
    /// A frame for a document.
    Message {
        /// Its name, a string.
        room: Raw<'a>,
        /// An array, if the client is right.
        octets: Raw<'a>,
    },
    /// An event of ours, with arguments that are not.
    Invalid,
    /// A message that is longer than frames may be.
    TooLarge,
    /// Some other event.
    Unknown,
}

/// Reads a packet. `frame_bytes_max` is how long the frame in a message may be.
pub(super) fn packet(text: &str, frame_bytes_max: usize) -> Result<Said<'_>, Close> {
    // An event that names no room is as good as one that does: nothing in it is looked at.
    if text.starts_with('2') && text.len() > ENVELOPE_BYTES_MAX + OCTET_BYTES_MAX * frame_bytes_max
    {
        return Ok(Said::Event(Request::TooLarge, None));
    }
    // Nothing that is said here has attachments.
    let limits = Limits { attachments_max: 0, ..Limits::default() };
    let packet = decode(text, limits).map_err(|error| {
        log::debug!(target: "yjs", scope = "connection", event = "malformed"; "packet: {error}");
        BAD_PACKET
    })?;
    match packet.body {
        Body::Connect(auth) if packet.namespace == ROOT => Ok(Said::Connect(auth)),
        Body::Connect(_) => Ok(Said::Elsewhere(packet.namespace)),
        // It is in no other, and only servers refuse.
        Body::ConnectError(_) => Err(BAD_PACKET),
        _ if packet.namespace != ROOT => Err(BAD_PACKET),
        Body::Disconnect => Ok(Said::Disconnect),
        Body::Event { payload: Some(payload), .. } => Ok(Said::Event(request(payload), packet.ack)),
        Body::Event { payload: None, .. } | Body::Ack { .. } => Ok(Said::Nothing),
    }
}

fn request(payload: Raw<'_>) -> Request<'_> {
    let Some(([name, room, octets], _)) = payload.split_elements::<3>() else {
        return Request::Invalid;
    };
    let Some(name) = name else { return Request::Unknown };
    let room = room.filter(|room| room.is_string());
    if name.is_string_of(MESSAGE) {
        let both = room.zip(octets);
        return both.map_or(Request::Invalid, |(room, octets)| Request::Message { room, octets });
    }
    if name.is_string_of(JOIN) {
        let name = room.and_then(Raw::to_string_value);
        return name.map_or(Request::Invalid, Request::Join);
    }
    if name.is_string_of(LEAVE) {
        return room.map_or(Request::Invalid, Request::Leave);
    }
    Request::Unknown
}

/// Tells a client that it is connected, by which name.
pub(super) fn say_connected(member: MemberId, sid: &str, fx: &mut Effects<'_>) {
    let mut payload = br#"{"sid":"#.to_vec();
    json::write_string(&mut payload, sid);
    payload.push(b'}');
    fx.reply(member, FrameKind::Text, &[Head::connect("").as_bytes(), &payload]);
}

/// Tells a client that it may not connect to a namespace.
pub(super) fn refuse(member: MemberId, namespace: &str, why: &str, fx: &mut Effects<'_>) {
    let head = Head::connect_error(&prefix(namespace));
    fx.reply(member, FrameKind::Text, &[head.as_bytes(), &connect_error(why, None)]);
}

/// Tells a client that there is no such namespace.
pub(super) fn refuse_namespace(member: MemberId, namespace: &str, fx: &mut Effects<'_>) {
    refuse(member, namespace, "Invalid namespace", fx);
}

/// Acknowledges an event, if that is asked for.
pub(super) fn acknowledge(member: MemberId, id: Option<u64>, fx: &mut Effects<'_>) {
    if let Some(id) = id {
        fx.reply(member, FrameKind::Text, &ack(&Head::ack("", 0, id), &[]));
    }
}

/// Tells a client that it is in a room.
pub(super) fn say_joined(member: MemberId, room: &str, sid: &str, fx: &mut Effects<'_>) {
    let mut argument = br#"{"roomName":"#.to_vec();
    json::write_string(&mut argument, room);
    argument.extend_from_slice(br#","clientId":"#);
    json::write_string(&mut argument, sid);
    argument.push(b'}');
    say(member, JOINED, &argument, fx);
}

/// Tells a client what is wrong. The original says `error`, its client reads the others.
pub(super) fn complain(member: MemberId, Trouble(text, kind): Trouble, fx: &mut Effects<'_>) {
    let mut argument = Vec::new();
    for (before, value) in [("{\"error\":", text), (",\"message\":", text), (",\"type\":", kind)] {
        argument.extend_from_slice(before.as_bytes());
        json::write_string(&mut argument, value);
    }
    argument.push(b'}');
    say(member, ERROR, &argument, fx);
}

fn say(member: MemberId, name: &str, argument: &[u8], fx: &mut Effects<'_>) {
    fx.reply(member, FrameKind::Text, &event(&Head::event("", 0, None), name, &[argument]));
}

/// What a message event of a room begins with: all before its bytes.
pub(super) fn opening(room: &str) -> Vec<u8> {
    let head = Head::event("", 0, None);
    let mut opening = [head.as_bytes(), b"[\"", MESSAGE.as_bytes(), b"\","].concat();
    json::write_string(&mut opening, room);
    opening.push(b',');
    opening
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_BYTES_MAX: usize = 100;

    fn read(text: &str) -> Result<Said<'_>, Close> {
        packet(text, FRAME_BYTES_MAX)
    }

    fn event(text: &str) -> Request<'_> {
        match read(text) {
            Ok(Said::Event(request, None)) => request,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn events_are_read() {
        let join = |room: &str| Request::Join(room.to_owned().into());
        assert_eq!(event(r#"2["crdt:join","a"]"#), join("a"));
        assert_eq!(event(r#"2["crdt:join","a\"b",{}]"#), join("a\"b"));
        assert!(
            matches!(event(r#"2["crdt:leave","a"]"#), Request::Leave(a) if a.is_string_of("a"))
        );
        let Request::Message { room, octets } = event(r#"2["crdt:message","a",[1, 2]]"#) else {
            panic!("a message");
        };
        assert_eq!((room.as_str(), octets.as_str()), ("\"a\"", "[1, 2]"));
        for text in [
            r#"2["crdt:join"]"#,
            r#"2["crdt:join",1]"#,
            r#"2["crdt:leave",["a"]]"#,
            r#"2["crdt:message","a"]"#,
            r#"2["crdt:message",[1],"a"]"#,
        ] {
            assert_eq!(event(text), Request::Invalid, "{text}");
        }
        assert_eq!(event(r#"2["error","a"]"#), Request::Unknown);
        assert_eq!(event("2[7]"), Request::Unknown);
        assert!(matches!(read(r#"213["crdt:join","a"]"#), Ok(Said::Event(_, Some(13)))));
        let long = format!(r#"2["crdt:message","a",[{}1]]"#, "1,".repeat(1_100));
        assert_eq!(event(&long), Request::TooLarge);
    }

    #[test]
    fn other_packets_are_read() {
        assert_eq!(read("0"), Ok(Said::Connect(None)));
        assert!(matches!(read(r#"0{"token":"t"}"#), Ok(Said::Connect(Some(_)))));
        assert_eq!(read("0/custom,"), Ok(Said::Elsewhere("/custom")));
        assert_eq!(read("1"), Ok(Said::Disconnect));
        for nothing in ["2", "3", "31[]", "37"] {
            assert_eq!(read(nothing), Ok(Said::Nothing), "{nothing}");
        }
    }

    #[test]
    fn what_is_no_packet_for_a_server_ends_the_connection() {
        for text in [
            "",
            "x",
            "7",
            "2{}",
            "2[",
            "2[]",
            r#"2["connect"]"#,
            "1{}",
            "0[]",
            "4",
            r#"4"no""#,
            r#"2/custom,["crdt:join","a"]"#,
            "1/custom,",
            r#"51-["crdt:message","a",{"_placeholder":true,"num":0}]"#,
            "61-1[]",
        ] {
            assert_eq!(read(text), Err(BAD_PACKET), "{text}");
        }
    }

    #[test]
    fn sockets_are_told_from_other_members() {
        let socket = Socket { sid: Some("a".into()), may_write: true, by_url: None };
        assert_eq!(Socket::unpack(&socket.pack()), Some(socket));
        assert_eq!(Socket::unpack(b""), None);
        assert_eq!(Socket::unpack(&super::super::native::Visit::new(1, true).pack()), None);
        assert_eq!(opening("a\"b"), br#"42["crdt:message","a\"b","#);
    }
}

//! What Zeal's native clients and the server say to each other in text (§2), and what a member takes
//! along when it moves between the lobby and a room.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::codec::json;
use crate::codec::ysync::DEPTH_MAX;

pub(super) const NOT_JOINED: &str = "Not joined";
pub(super) const INVALID: &str = "Invalid message";

/// A request in text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    /// To edit the document of this name.
    Join(Cow<'a, str>),
    /// To edit none.
    Leave,
}

/// A client of the native form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Visit {
    /// Its name, given by the server.
    pub(super) id: Box<str>,
    pub(super) may_write: bool,
}

impl Visit {
    /// A new client, named by a random number.
    pub(super) fn new(random: u64, may_write: bool) -> Self {
        Self { id: format!("{random:016x}").into(), may_write }
    }

    /// For the way between sessions.
    pub(super) fn pack(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The reverse of [`Visit::pack`].
    pub(super) fn unpack(carry: &[u8]) -> Option<Self> {
        serde_json::from_slice(carry).ok()
    }
}

/// Reads a request; none if it is not one.
pub(super) fn request(text: &str) -> Option<Request<'_>> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(borrow)]
        action: Cow<'a, str>,
        #[serde(borrow)]
        room: Option<Cow<'a, str>>,
    }
    let raw: Raw<'_> = serde_json::from_str(text).ok()?;
    match &*raw.action {
        "join" => raw.room.map(Request::Join),
        "leave" => Some(Request::Leave),
        _ => None,
    }
}

/// Whether a message of an application's own is a sign of life only; none if it is no JSON object.
pub(super) fn is_heartbeat(text: &str) -> Option<bool> {
    let [kind] = json::object_fields(text, &["type"], DEPTH_MAX).ok()?;
    Some(kind.is_some_and(|kind| kind.is_string_of("heartbeat")))
}

/// The answer to a join.
pub(super) fn joined(room: &str, visit: &Visit) -> Vec<u8> {
    let mut out = br#"{"event":"joined","roomName":"#.to_vec();
    json::write_string(&mut out, room);
    out.extend_from_slice(br#","clientId":"#);
    json::write_string(&mut out, &visit.id);
    out.push(b'}');
    out
}

/// An error.
pub(super) fn error(text: &str) -> Vec<u8> {
    let mut out = br#"{"event":"error","error":"#.to_vec();
    json::write_string(&mut out, text);
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read() {
        let join = |room: &str| Some(Request::Join(room.to_owned().into()));
        assert_eq!(request(r#"{"action":"join","room":"a"}"#), join("a"));
        assert_eq!(request(r#"{"room":"a\"b","x":1,"action":"join"}"#), join("a\"b"));
        assert_eq!(request(r#"{"action":"leave"}"#), Some(Request::Leave));
        for text in ["", "{}", "[]", r#"{"action":"join"}"#, r#"{"action":"x"}"#, r#"{"action":1}"#]
        {
            assert_eq!(request(text), None, "{text}");
        }
    }

    #[test]
    fn answers_are_json() {
        let visit = Visit::new(255, true);
        let text = String::from_utf8(joined("a\"b", &visit)).expect("UTF-8");
        assert_eq!(text, r#"{"event":"joined","roomName":"a\"b","clientId":"00000000000000ff"}"#);
        assert_eq!(error("x"), br#"{"event":"error","error":"x"}"#);
        assert_eq!(Visit::unpack(&visit.pack()), Some(visit));
    }
}

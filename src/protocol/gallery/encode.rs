//! Server → client (specs: gallery §3): `{event,data}`.

use std::fmt::Write as _;

use super::decode::{RequestId, quoted};

/// Before a relayed message.
pub(super) const MESSAGE_HEAD: &[u8] = br#"{"event":"message","data":{"message":"#;
/// Between a relayed message and its sender's id.
pub(super) const MESSAGE_SENDER: &[u8] = br#","senderId":"#;
/// Behind the sender's id.
pub(super) const MESSAGE_TAIL: &[u8] = b"}}";

/// The first thing a connection hears.
pub(super) fn connected(user_id: &str) -> String {
    format!(r#"{{"event":"connected","data":{{"userId":{}}}}}"#, quoted(user_id))
}

/// A room was created.
pub(super) fn room_created(request_id: RequestId<'_>, room_id: &str) -> String {
    let (id, room_id) = (request(request_id), quoted(room_id));
    format!(r#"{{"event":"room_created","data":{{{id}"roomId":{room_id}}}}}"#)
}

/// What a member is told that joined. Users and state are JSON.
pub(super) fn room_joined(
    request_id: RequestId<'_>,
    room_id: &str,
    users: &str,
    state: &str,
    created_ms: u64,
) -> String {
    let (id, room_id) = (request(request_id), quoted(room_id));
    format!(
        r#"{{"event":"room_joined","data":{{{id}"roomInfo":{{"roomId":{room_id},"users":{users},"state":{state},"createdAt":{created_ms}}}}}}}"#
    )
}

/// What the others are told of a member that joined. The user is JSON.
pub(super) fn user_joined(user: &str) -> String {
    format!(r#"{{"event":"user_joined","data":{{"user":{user}}}}}"#)
}

/// What the others are told of a member that left.
pub(super) fn user_left(user_id: &str) -> String {
    format!(r#"{{"event":"user_left","data":{{"userId":{}}}}}"#, quoted(user_id))
}

/// Something was refused.
pub(super) fn error(text: &str, request_id: RequestId<'_>) -> String {
    let mut out = format!(r#"{{"event":"error","data":{{"message":{}"#, quoted(text));
    if let Some(id) = request_id {
        let _ = write!(out, r#","requestId":{id}"#);
    }
    out.push_str("}}");
    out
}

/// The room's state as the message that makes a client start from it.
pub(super) fn state_full(state: &str, now_ms: u64) -> String {
    format!(
        r#"{{"event":"message","data":{{"message":{{"type":"state_full","senderId":"server","timestamp":{now_ms},"data":{state}}},"senderId":"server"}}}}"#
    )
}

/// `"requestId":…,` if there is one.
fn request(id: RequestId<'_>) -> String {
    id.map_or_else(String::new, |id| format!(r#""requestId":{id},"#))
}

//! Client → server (specs: gallery §2): borrowed requests, and what they ask for as values that may
//! travel between sessions.

use serde::{Deserialize, Serialize};

use super::user::{Info, Role};
use super::{
    AVATAR_BYTES_MAX, Config, DEPTH_MAX, NAME_CHARS_MAX, PASSWORD_BYTES_MAX, REQUEST_ID_BYTES_MAX,
    is_id,
};
use crate::codec::json::{self, JsonErrorKind, Raw};
use crate::protocol::js::{self, something};

/// Longest part of an unknown action that its sender is told, in bytes.
const SHOWN_BYTES_MAX: usize = 1 << 10;

/// What is answered to anything that cannot be understood.
pub(super) const INVALID_MESSAGE: &str = "Invalid message format";
const INVALID_ROOM_ID: &str = "Invalid room ID";
const INVALID_USER_INFO: &str = "Invalid user info";
const INVALID_PASSWORD: &str = "Invalid password";

/// Raw JSON of a `requestId`, to be echoed.
pub(super) type RequestId<'a> = Option<&'a str>;

/// A message with its action known and the rest not yet looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) id: RequestId<'a>,
    pub(super) action: Action<'a>,
    fields: Fields<'a>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action<'a> {
    Create,
    Join,
    Leave,
    Broadcast,
    Send,
    /// As it was sent, if at all.
    Unknown(Option<Raw<'a>>),
}

#[derive(Clone, Copy, Debug, Default)]
struct Fields<'a> {
    room_id: Option<Raw<'a>>,
    config: Option<Raw<'a>>,
    password: Option<Raw<'a>>,
    user_info: Option<Raw<'a>>,
    message: Option<Raw<'a>>,
    target: Option<Raw<'a>>,
}

/// Opens a message. `None` stands for [`INVALID_MESSAGE`].
pub(super) fn request(text: &str) -> Option<Request<'_>> {
    const NAMES: [&str; 8] = [
        "action",
        "requestId",
        "roomId",
        "message",
        "config",
        "password",
        "userInfo",
        "targetUserId",
    ];
    let found = match json::object_fields(text, &NAMES, DEPTH_MAX) {
        Ok(found) => found,
        Err(error) if error.kind == JsonErrorKind::NotAnObject => return without_action(text),
        Err(_) => return None,
    };
    let [action, id, room_id, message, config, password, user_info, target] = found;
    if id.is_some_and(|id| id.as_str().len() > REQUEST_ID_BYTES_MAX) {
        return None;
    }
    Some(Request {
        id: id.map(Raw::as_str),
        action: named(action),
        fields: Fields { room_id, config, password, user_info, message, target },
    })
}

fn named(action: Option<Raw<'_>>) -> Action<'_> {
    const ACTIONS: [(&str, Action<'_>); 5] = [
        ("broadcast", Action::Broadcast),
        ("send_message", Action::Send),
        ("join_room", Action::Join),
        ("create_room", Action::Create),
        ("leave_room", Action::Leave),
    ];
    let known = action.and_then(|raw| ACTIONS.iter().find(|(name, _)| raw.is_string_of(name)));
    known.map_or(Action::Unknown(action), |(_, action)| *action)
}

/// JavaScript looks for an action in anything but `null`.
fn without_action(text: &str) -> Option<Request<'_>> {
    let value = json::parse(text, DEPTH_MAX).ok().filter(|value| !value.is_null());
    value.map(|_| Request { id: None, action: Action::Unknown(None), fields: Fields::default() })
}

impl<'a> Request<'a> {
    /// The message to be relayed.
    pub(super) fn message(&self) -> Option<Raw<'a>> {
        self.fields.message
    }

    /// Whether it is for the user of this id alone.
    pub(super) fn is_for(&self, user_id: &str) -> bool {
        self.fields.target.is_some_and(|target| target.is_string_of(user_id))
    }

    /// The room to be created; its id is empty if the server is to choose one.
    pub(super) fn create(&self, config: &Config) -> Result<CreateAsk, &'static str> {
        let wanted = self.fields.config.unwrap_or_else(|| self.empty());
        let names = ["maxUsers", "password", "persistent"];
        let found = json::object_fields(wanted.as_str(), &names, DEPTH_MAX);
        let [users_max, password, persistent] = found.unwrap_or_default();
        let room = match something(self.fields.room_id) {
            Some(raw) => room_id(Some(raw))?,
            None => Box::default(),
        };
        Ok(CreateAsk {
            request_id: self.id.map(Into::into),
            room,
            users_max: self::users_max(users_max, config),
            password: self::password(something(password))?,
            persistent: persistent.is_some_and(js::truthy),
        })
    }

    /// The room to be joined.
    pub(super) fn join(&self) -> Result<JoinAsk, &'static str> {
        Ok(JoinAsk {
            request_id: self.id.map(Into::into),
            room: room_id(self.fields.room_id)?,
            password: self::password(self.fields.password)?,
            info: something(self.fields.user_info).map(info).transpose()?,
        })
    }

    fn empty(&self) -> Raw<'a> {
        json::parse("{}", 1).expect("an empty object is JSON")
    }
}

impl Action<'_> {
    /// What the sender of an unknown action is told.
    pub(super) fn complaint(action: Option<Raw<'_>>) -> String {
        let mut text = format!("Unknown action: {}", js::text(action));
        text.truncate(text.floor_char_boundary(SHOWN_BYTES_MAX));
        text
    }
}

/// A room to be created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CreateAsk {
    /// Raw JSON.
    pub(super) request_id: Option<Box<str>>,
    /// Empty if the server is to choose.
    pub(super) room: Box<str>,
    pub(super) users_max: u32,
    /// Raw JSON.
    pub(super) password: Option<Box<str>>,
    pub(super) persistent: bool,
}

/// A room to be joined, and as whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JoinAsk {
    /// Raw JSON.
    pub(super) request_id: Option<Box<str>>,
    pub(super) room: Box<str>,
    /// Raw JSON.
    pub(super) password: Option<Box<str>>,
    pub(super) info: Option<Info>,
}

fn room_id(raw: Option<Raw<'_>>) -> Result<Box<str>, &'static str> {
    let id = raw.and_then(Raw::to_string_value).filter(|id| is_id(id));
    id.map(Into::into).ok_or(INVALID_ROOM_ID)
}

/// Strings are written alike, so that passwords can be compared as text.
fn password(raw: Option<Raw<'_>>) -> Result<Option<Box<str>>, &'static str> {
    let text = raw
        .map(|raw| raw.to_string_value().map_or_else(|| raw.as_str().into(), |text| quoted(&text)));
    match text {
        Some(text) if text.len() > PASSWORD_BYTES_MAX + 2 => Err(INVALID_PASSWORD),
        text => Ok(text),
    }
}

/// `maxUsers || 50`, within bounds. So many fit that their number is not below it.
fn users_max(raw: Option<Raw<'_>>, config: &Config) -> u32 {
    match something(raw).and_then(js::number) {
        Some(users) if users != 0.0 => users.ceil().clamp(1.0, f64::from(config.users_max)) as u32,
        _ => config.users_max_default,
    }
}

fn info(raw: Raw<'_>) -> Result<Info, &'static str> {
    let found = json::object_fields(raw.as_str(), &["name", "role", "avatar"], DEPTH_MAX);
    let [name, role, avatar] = found.unwrap_or_default();
    if avatar.is_some_and(|avatar| avatar.as_str().len() > AVATAR_BYTES_MAX) {
        return Err(INVALID_USER_INFO);
    }
    let role = something(role).map(|role| role.to_string_value().unwrap_or_default());
    Ok(Info {
        name: something(name).map(user_name).transpose()?,
        role: role.map(|role| Role::by_name(&role)),
        avatar: avatar.map(|avatar| avatar.as_str().into()),
    })
}

fn user_name(raw: Raw<'_>) -> Result<Box<str>, &'static str> {
    let fits = |name: &str| name.chars().count() <= NAME_CHARS_MAX;
    let plain = |name: &str| !name.chars().any(char::is_control);
    let name = raw.to_string_value().filter(|name| fits(name) && plain(name));
    name.map(Into::into).ok_or(INVALID_USER_INFO)
}

/// A string as JSON.
pub(super) fn quoted(text: &str) -> Box<str> {
    let mut out = Vec::new();
    json::write_string(&mut out, text);
    String::from_utf8(out).expect("JSON strings are UTF-8").into()
}

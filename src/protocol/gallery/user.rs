//! Who members are to each other.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::decode::quoted;

/// What a member may do; each role may what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Looks on.
    Viewer,
    /// Changes the scene.
    Editor,
    /// Changes the session's settings as well.
    Host,
}

impl Role {
    /// The role of this name; whoever is something unknown is a viewer.
    pub(super) fn by_name(name: &str) -> Self {
        match name {
            "host" => Self::Host,
            "editor" => Self::Editor,
            _ => Self::Viewer,
        }
    }

    /// Its name on the wire.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Host => "host",
        }
    }
}

/// A user. It belongs to the connection and outlives its rooms. There are many: what is known of one
/// lies in one piece.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct User {
    /// Its parts one behind the other.
    text: Box<str>,
    /// Where each part ends but the last.
    ends: [u16; PARTS - 1],
    pub(super) role: Role,
}

/// The part of a user's text that is the id as JSON.
const STAMP: usize = 0;
/// The part that is the id. Empty if the stamp is no more than quotes around it.
const ID: usize = 1;
/// The part that is the name.
const NAME: usize = 2;
/// The part that is the avatar, raw JSON. Empty if there is none.
const AVATAR: usize = 3;
/// How many parts there are.
const PARTS: usize = 4;

/// What a member says of itself when it joins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Info {
    pub(super) name: Option<Box<str>>,
    pub(super) role: Option<Role>,
    /// Raw JSON.
    pub(super) avatar: Option<Box<str>>,
}

impl User {
    /// A user of whom nothing is known but its id, which keeps to [`ID_BYTES_MAX`](super::ID_BYTES_MAX).
    pub(super) fn new(id: &str) -> Self {
        Self::of(id, id, Role::Viewer, "")
    }

    fn of(id: &str, name: &str, role: Role, avatar: &str) -> Self {
        let stamp = quoted(id);
        let is_plain = stamp.len() == id.len() + 2;
        let parts = [&*stamp, if is_plain { "" } else { id }, name, avatar];
        let mut end = 0;
        let ends = [STAMP, ID, NAME].map(|part| {
            end += parts[part].len();
            u16::try_from(end).expect("ids and names are short")
        });
        Self { text: parts.concat().into(), ends, role }
    }

    fn part(&self, part: usize) -> &str {
        let start = part.checked_sub(1).map_or(0, |before| self.ends[before].into());
        let end = self.ends.get(part).map_or(self.text.len(), |&end| end.into());
        &self.text[start..end]
    }

    /// Its id as JSON.
    pub(super) fn stamp(&self) -> &str {
        self.part(STAMP)
    }

    pub(super) fn id(&self) -> &str {
        let stamp = self.stamp();
        let id = self.part(ID);
        if id.is_empty() { &stamp[1..stamp.len() - 1] } else { id }
    }

    /// Takes on what the member says of itself: an avatar that is not mentioned is gone.
    pub(super) fn update(&mut self, info: Info) {
        let name = info.name.as_deref().unwrap_or_else(|| self.part(NAME));
        let avatar = info.avatar.as_deref().unwrap_or_default();
        *self = Self::of(self.id(), name, info.role.unwrap_or(self.role), avatar);
    }

    /// As JSON.
    pub(super) fn write(&self, last_seen_ms: u64, out: &mut String) {
        let (id, name, role) = (self.stamp(), quoted(self.part(NAME)), self.role.name());
        let _ = write!(out, r#"{{"id":{id},"name":{name},"role":"{role}","#);
        let avatar = self.part(AVATAR);
        if !avatar.is_empty() {
            let _ = write!(out, r#""avatar":{avatar},"#);
        }
        let _ = write!(out, r#""connected":true,"lastSeen":{last_seen_ms}}}"#);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_user_is_told_apart() {
        for id in ["u", "user-1", "a\"b", "\\", "\u{fe}\u{1f600}"] {
            let mut user = User::new(id);
            let json = serde_json::to_string(id).unwrap();
            assert_eq!((user.id(), user.stamp()), (id, &*json));
            assert_eq!((user.part(NAME), user.part(AVATAR)), (id, ""));
            for (name, avatar) in [(Some("N"), Some("{}")), (None, Some("1")), (Some(""), None)] {
                let before = user.part(NAME).to_owned();
                let info =
                    Info { name: name.map(Into::into), role: None, avatar: avatar.map(Into::into) };
                user.update(info);
                assert_eq!((user.id(), user.stamp()), (id, &*json));
                assert_eq!(user.part(NAME), name.unwrap_or(&before));
                assert_eq!(user.part(AVATAR), avatar.unwrap_or_default());
            }
        }
    }

    #[test]
    fn a_user_is_small() {
        assert_eq!(size_of::<User>(), 24);
    }
}

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

/// A user. It belongs to the connection and outlives its rooms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct User {
    pub(super) id: Box<str>,
    pub(super) name: Box<str>,
    pub(super) role: Role,
    /// Raw JSON.
    pub(super) avatar: Option<Box<str>>,
}

/// What a member says of itself when it joins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Info {
    pub(super) name: Option<Box<str>>,
    pub(super) role: Option<Role>,
    /// Raw JSON.
    pub(super) avatar: Option<Box<str>>,
}

impl User {
    /// A user of whom nothing is known but its id.
    pub(super) fn new(id: &str) -> Self {
        Self { id: id.into(), name: id.into(), role: Role::Viewer, avatar: None }
    }

    /// Takes on what the member says of itself: an avatar that is not mentioned is gone.
    pub(super) fn update(&mut self, info: Info) {
        self.name = info.name.unwrap_or_else(|| std::mem::take(&mut self.name));
        self.role = info.role.unwrap_or(self.role);
        self.avatar = info.avatar;
    }

    /// As JSON.
    pub(super) fn write(&self, last_seen_ms: u64, out: &mut String) {
        let (id, name, role) = (quoted(&self.id), quoted(&self.name), self.role.name());
        let _ = write!(out, r#"{{"id":{id},"name":{name},"role":"{role}","#);
        if let Some(avatar) = &self.avatar {
            let _ = write!(out, r#""avatar":{avatar},"#);
        }
        let _ = write!(out, r#""connected":true,"lastSeen":{last_seen_ms}}}"#);
    }
}

//! The gallery's settings.

use super::{Default, GIB, Group, KIB, Setting, Takes, YEAR_MS, secret};
use crate::cli::values::{Complaint, bytes, duration, number, switch, unknown};
use crate::protocol::gallery::Role;

/// Longest that poses in a gallery may wait.
const POSE_INTERVAL_MS_MAX: u64 = 1_000;
/// Most users of a gallery room.
const USERS_MAX: u64 = 100_000;

/// In the order of the help.
pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        flag: "gallery-require-api-key",
        short: None,
        group: Group::Gallery,
        takes: Takes::Nothing,
        originals: &["REQUIRE_API_KEY"],
        default: Default::Is("false"),
        doc: "Close connections whose apiKey is not the one that is set",
        apply: |draft, text| {
            draft.gallery_requires_api_key = switch(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-api-key",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("KEY"),
        originals: &["API_KEY"],
        default: Default::Told("none"),
        doc: "The key that clients must know, if one is required",
        apply: |draft, text| {
            draft.gallery_api_key = Some(secret(text)?);
            Ok(())
        },
    },
    Setting {
        flag: "gallery-message-bytes-max",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("1MiB"),
        doc: "Largest message a client may send",
        apply: |draft, text| {
            draft.settings.gallery.message_bytes_max = bytes(text, KIB..=GIB)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-messages-per-second-max",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("200"),
        doc: "Messages a client may send a second, sustained; one that sends more is read slower",
        apply: |draft, text| {
            draft.settings.gallery.messages_per_second_max = number(text, 1..=1_000_000)? as u32;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-rooms-max",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("1000"),
        doc: "Most rooms at once",
        apply: |draft, text| {
            draft.settings.gallery.rooms_max = number(text, 1..=10_000_000)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-users-per-room",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("50"),
        doc: "Users of a room whose creator does not say how many",
        apply: |draft, text| {
            draft.settings.gallery.users_max_default = number(text, 1..=USERS_MAX)? as u32;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-users-per-room-max",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("1000"),
        doc: "Users that the creator of a room may ask for",
        apply: |draft, text| {
            draft.settings.gallery.users_max = number(text, 1..=USERS_MAX)? as u32;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-room-timeout",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("DURATION"),
        originals: &[],
        default: Default::Is("24h"),
        doc: "How long a room that nobody joins is kept",
        apply: |draft, text| {
            draft.settings.gallery.room_timeout_ms =
                duration(text, 1_000..=YEAR_MS)?.as_millis() as u64;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-rooms-per-minute-max",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("60"),
        doc: "Rooms that may be created a minute from one address; 0 for no limit; loopback has none",
        apply: |draft, text| {
            draft.settings.gallery.creations_per_minute_max = number(text, 0..=1_000_000)? as u32;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-state-bytes-max",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("1MiB"),
        doc: "State that a room may keep",
        apply: |draft, text| {
            draft.settings.gallery.state_bytes_max = bytes(text, KIB..=GIB)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-pose-interval",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("DURATION"),
        originals: &[],
        default: Default::Is("0ms"),
        doc: "How long poses and gazes may wait so that several leave in one send; 0ms for not at all",
        apply: |draft, text| {
            draft.settings.gallery.pose_interval_ms =
                duration(text, 0..=POSE_INTERVAL_MS_MAX)?.as_millis() as u64;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-scene-change",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("ROLE"),
        originals: &[],
        default: Default::Is("editor"),
        doc: "Who may change which scene is shown: host, editor (and host) or all",
        apply: |draft, text| {
            draft.settings.gallery.permissions.scene_change = role(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-tree-view-change",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("ROLE"),
        originals: &[],
        default: Default::Is("editor"),
        doc: "Who may change the tree view: host, editor (and host) or all",
        apply: |draft, text| {
            draft.settings.gallery.permissions.tree_view_change = role(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-annotations",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("ROLE"),
        originals: &[],
        default: Default::Is("editor"),
        doc: "Who may annotate: host, editor (and host) or all",
        apply: |draft, text| {
            draft.settings.gallery.permissions.annotations = role(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-camera-control",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("ROLE"),
        originals: &[],
        default: Default::Is("editor"),
        doc: "Who may take control of cameras: host, editor (and host) or all",
        apply: |draft, text| {
            draft.settings.gallery.permissions.camera_control = role(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-role-secret",
        short: None,
        group: Group::Gallery,
        takes: Takes::One("SECRET"),
        originals: &[],
        default: Default::Told("none"),
        doc: "What tokens that grant roles are signed with; without it clients choose their role",
        apply: |draft, text| {
            draft.settings.gallery.role_secret = Some(secret(text)?);
            Ok(())
        },
    },
    Setting {
        flag: "gallery-one-host",
        short: None,
        group: Group::Gallery,
        takes: Takes::Nothing,
        originals: &[],
        default: Default::Is("false"),
        doc: "Let a room have one host only: a second one becomes an editor",
        apply: |draft, text| {
            draft.settings.gallery.one_host = switch(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "gallery-hide-rooms",
        short: None,
        group: Group::Gallery,
        takes: Takes::Nothing,
        originals: &[],
        default: Default::Is("false"),
        doc: "Leave the ids of rooms out of /stats",
        apply: |draft, text| {
            draft.settings.gallery.hide_rooms = switch(text)?;
            Ok(())
        },
    },
];

fn role(text: &str) -> Result<Role, Complaint> {
    match text {
        "host" => Ok(Role::Host),
        "editor" => Ok(Role::Editor),
        "all" => Ok(Role::Viewer),
        _ => Err(unknown("role", text, &["host", "editor", "all"])),
    }
}

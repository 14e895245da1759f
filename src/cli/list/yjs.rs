//! Settings of Yjs documents.

use super::{Default, GIB, Group, KIB, Setting, Takes, YEAR_MS, secret};
use crate::cli::values::{Complaint, bytes, number};

/// In the order of the help.
pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        flag: "yjs-message-bytes-max",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("64MiB"),
        doc: "Largest message a y-websocket client may send",
        apply: |draft, text| {
            draft.settings.yjs.message_bytes_max = bytes(text, KIB..=GIB)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "max-message-size",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("1MiB"),
        doc: "The same for Zeal's clients",
        apply: |draft, text| {
            draft.settings.yjs.native_message_bytes_max = bytes(text, KIB..=GIB)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "yjs-messages-per-second-max",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("1000"),
        doc: "Messages a client may send a second, sustained; one that sends more is read slower",
        apply: |draft, text| {
            draft.settings.yjs.messages_per_second_max = number(text, 1..=1_000_000)? as u32;
            Ok(())
        },
    },
    Setting {
        flag: "yjs-rooms-max",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("100000"),
        doc: "Most documents in memory",
        apply: |draft, text| {
            draft.settings.yjs.rooms_max = number(text, 1..=10_000_000)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "max-rooms",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("1000"),
        doc: "The same when a Zeal client opens one",
        apply: |draft, text| {
            draft.settings.yjs.native_rooms_max = number(text, 1..=10_000_000)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "yjs-clients-per-room-max",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("10000"),
        doc: "Most clients of a document",
        apply: |draft, text| {
            draft.settings.yjs.clients_per_room_max = number(text, 1..=10_000_000)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "max-clients-per-room",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("100"),
        doc: "The same when a Zeal client joins",
        apply: |draft, text| {
            draft.settings.yjs.native_clients_per_room_max = number(text, 1..=10_000_000)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "yjs-document-bytes-max",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("256MiB"),
        doc: "Largest document",
        apply: |draft, text| {
            draft.settings.yjs.document_bytes_max = bytes(text, KIB..=4 * GIB - 1)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "room-timeout-minutes",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("MINUTES"),
        originals: &[],
        default: Default::Is("30"),
        doc: "How long a document stays in memory when all have left; with --in-memory it is gone then",
        apply: |draft, text| {
            draft.settings.yjs.room_timeout_ms = number(text, 0..=YEAR_MS / 60_000)? * 60_000;
            Ok(())
        },
    },
    Setting {
        flag: "yjs-write-token",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("SECRET"),
        originals: &[],
        default: Default::Told("none"),
        doc: "What clients must show as ?token= to edit documents",
        apply: |draft, text| {
            draft.settings.yjs.write_token = Some(secret(text)?);
            Ok(())
        },
    },
    Setting {
        flag: "yjs-read-token",
        short: None,
        group: Group::Yjs,
        takes: Takes::One("SECRET"),
        originals: &[],
        default: Default::Told("none"),
        doc: "What clients may show instead, to read documents only",
        apply: |draft, text| {
            draft.settings.yjs.read_token = Some(secret(text)?);
            Ok(())
        },
    },
    Setting {
        flag: "zeal-origins",
        short: None,
        group: Group::Yjs,
        takes: Takes::Many("ORIGIN"),
        originals: &[],
        default: Default::Told("all"),
        doc: "Origins of pages that may talk to Zeal's Socket.IO form; all others are refused then",
        apply: |draft, text| {
            draft.settings.yjs.origins.push(origin(text)?);
            Ok(())
        },
    },
];

/// As browsers tell it.
pub(super) fn origin(text: &str) -> Result<String, Complaint> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let is_origin = text.split_once("://").is_some_and(|(scheme, host)| {
        let letters = !scheme.is_empty() && scheme.bytes().all(is_plain);
        letters && !host.is_empty() && host.bytes().all(is_plain)
    });
    if is_origin {
        return Ok(text.to_ascii_lowercase());
    }
    let what = format!("{text:?} is not an origin");
    Err(Complaint::new(what, "give scheme, host and port, for example https://app.example:8443"))
}

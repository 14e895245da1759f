//! The Croquet reflector's settings.

use super::{Default, GIB, Group, KIB, Setting, Takes};
use crate::cli::values::{Complaint, bytes, number};

const LABEL_BYTES_MAX: usize = 64;

/// In the order of the help.
pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        flag: "croquet-message-bytes-max",
        short: None,
        group: Group::Croquet,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("4MiB"),
        doc: "Largest message a client may send",
        apply: |draft, text| {
            draft.settings.croquet.message_bytes_max = bytes(text, KIB..=GIB)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "croquet-messages-per-second-max",
        short: None,
        group: Group::Croquet,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("1000"),
        doc: "Messages a client may send a second, sustained; one that sends more is read slower",
        apply: |draft, text| {
            let most = number(text, 1..=1_000_000)?;
            draft.settings.croquet.messages_per_second_max = most as u32;
            Ok(())
        },
    },
    Setting {
        flag: "croquet-history-messages-max",
        short: None,
        group: Group::Croquet,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("100000"),
        doc: "Messages a session retains without a snapshot",
        apply: |draft, text| {
            let most = number(text, 1..=100_000_000)?;
            draft.settings.croquet.history_messages_max = most as usize;
            Ok(())
        },
    },
    Setting {
        flag: "croquet-history-bytes-max",
        short: None,
        group: Group::Croquet,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("64MiB"),
        doc: "Bytes of messages a session retains without a snapshot",
        apply: |draft, text| {
            draft.settings.croquet.history_bytes_max = bytes(text, 64 * KIB..=64 * GIB)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "croquet-herald-hosts",
        short: None,
        group: Group::Croquet,
        takes: Takes::Many("HOST"),
        originals: &[],
        default: Default::Told("none"),
        doc: "Hosts, name or name:port, that joins and leaves may be posted to; may be repeated",
        apply: |draft, text| {
            draft.settings.croquet.herald_hosts.push(herald_host(text)?);
            Ok(())
        },
    },
    Setting {
        flag: "croquet-label",
        short: None,
        group: Group::Croquet,
        takes: Takes::One("NAME"),
        originals: &["CLUSTER_LABEL"],
        default: Default::Is("local"),
        doc: "What clients are told of this server",
        apply: |draft, text| {
            draft.settings.croquet.label = label(text)?;
            Ok(())
        },
    },
];

fn herald_host(text: &str) -> Result<String, Complaint> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    let what = format!("{text:?} is not a host");
    Err(Complaint::new(what, "give a name or name:port, without http:// and path"))
}

fn label(text: &str) -> Result<String, Complaint> {
    if text.len() <= LABEL_BYTES_MAX && !text.chars().any(char::is_control) {
        return Ok(text.to_owned());
    }
    let what = format!("{text:?} cannot be shown to clients");
    Err(Complaint::new(what, format!("give up to {LABEL_BYTES_MAX} bytes of plain text")))
}

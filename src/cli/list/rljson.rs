//! The settings of the rljson hub.

use super::{Default, GIB, Group, KIB, Setting, Takes, plain, secret};
use crate::cli::values::{Complaint, bytes, number, switch, unknown};
use crate::protocol::rljson::merge::Conflicts;
use crate::protocol::rljson::route::GapFill;
use crate::protocol::rljson::{Grant, Pace};

const MIB: u64 = 1 << 20;
/// Most blobs on disk, in bytes.
const BLOB_BYTES_MAX: u64 = 1 << 50;

/// In the order of the help.
pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        flag: "rljson-message-bytes-max",
        short: None,
        group: Group::Rljson,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("10MiB"),
        doc: "Largest message a client may send, blobs included",
        apply: |draft, text| {
            draft.settings.rljson.message_bytes_max = bytes(text, 64 * KIB..=GIB)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "rljson-refs-per-second-max",
        short: None,
        group: Group::Rljson,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("20"),
        doc: "Refs a client may announce a second, sustained; others are refused",
        apply: |draft, text| {
            draft.settings.rljson.refs_per_second_max = number(text, 1..=100_000)? as u32;
            Ok(())
        },
    },
    Setting {
        flag: "rljson-messages-per-second-max",
        short: None,
        group: Group::Rljson,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("5000"),
        doc: "Messages a client may send a second, sustained; one that sends more is read slower",
        apply: |draft, text| {
            draft.settings.rljson.messages_per_second_max = number(text, 1..=1_000_000)? as u32;
            Ok(())
        },
    },
    Setting {
        flag: "rljson-row-bytes-max",
        short: None,
        group: Group::Rljson,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("256MiB"),
        doc: "Rows that are kept, in memory; what no tree needs goes first",
        apply: |draft, text| {
            draft.settings.rljson.row_bytes_max = bytes(text, MIB..=1024 * GIB)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "rljson-blob-bytes-max",
        short: None,
        group: Group::Rljson,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Told("10GiB, 192MiB with --in-memory"),
        doc: "Blobs that are kept; what no tree needs goes first",
        apply: |draft, text| {
            draft.rljson_blob_bytes_max = Some(bytes(text, MIB..=BLOB_BYTES_MAX)?);
            Ok(())
        },
    },
    Setting {
        flag: "rljson-routes-max",
        short: None,
        group: Group::Rljson,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("1000"),
        doc: "Most routes",
        apply: |draft, text| {
            draft.settings.rljson.routes_max = number(text, 1..=100_000)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "rljson-allow-writes",
        short: None,
        group: Group::Rljson,
        takes: Takes::Nothing,
        originals: &[],
        default: Default::Is("false"),
        doc: "Take rows and blobs that clients write of their own accord, as the original does",
        apply: |draft, text| {
            draft.settings.rljson.allow_writes = switch(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "rljson-conflicts",
        short: None,
        group: Group::Rljson,
        takes: Takes::One("WHICH"),
        originals: &[],
        default: Default::Is("keep-both"),
        doc: "What becomes of a file that two clients edited at once: keep-both or newest",
        apply: |draft, text| {
            let all = [("keep-both", Conflicts::KeepBoth), ("newest", Conflicts::Newest)];
            draft.settings.rljson.conflicts = one_of("way to settle conflicts", text, &all)?;
            Ok(())
        },
    },
    Setting {
        flag: "rljson-bootstrap",
        short: None,
        group: Group::Rljson,
        takes: Takes::One("PACE"),
        originals: &[],
        default: Default::Is("careful"),
        doc: "When whoever comes is told the latest ref: careful (after 0.9, 2, 4, 7 s) or quick (0.3, 1, 3, 6 s)",
        apply: |draft, text| {
            let all = [("careful", Pace::Careful), ("quick", Pace::Quick)];
            draft.settings.rljson.bootstrap = one_of("pace", text, &all)?;
            Ok(())
        },
    },
    Setting {
        flag: "rljson-gap-fill",
        short: None,
        group: Group::Rljson,
        takes: Takes::One("HOW"),
        originals: &[],
        default: Default::Is("empty"),
        doc: "What clients that missed refs are told: empty, or replay for those of others",
        apply: |draft, text| {
            let all = [("empty", GapFill::Empty), ("replay", GapFill::Replay)];
            draft.settings.rljson.gap_fill = one_of("way to fill gaps", text, &all)?;
            Ok(())
        },
    },
    Setting {
        flag: "rljson-token",
        short: None,
        group: Group::Rljson,
        takes: Takes::One("SECRET"),
        originals: &[],
        default: Default::Told("none"),
        doc: "What clients must show as auth.token or ?token= to connect",
        apply: |draft, text| {
            draft.settings.rljson.token = Some(secret(text)?);
            Ok(())
        },
    },
    Setting {
        flag: "rljson-read-token",
        short: None,
        group: Group::Rljson,
        takes: Takes::One("SECRET"),
        originals: &[],
        default: Default::Told("none"),
        doc: "What clients may show instead, to follow only: their refs are refused",
        apply: |draft, text| {
            draft.settings.rljson.read_token = Some(secret(text)?);
            Ok(())
        },
    },
    Setting {
        flag: "rljson-grant",
        short: None,
        group: Group::Rljson,
        takes: Takes::Many("ROUTE:RIGHT=SECRET"),
        originals: &[],
        default: Default::Told("none"),
        doc: "What clients may show instead, to be on one route only; RIGHT is read or write",
        apply: |draft, text| {
            let grant = secret(text)?.parse::<Grant>();
            draft.settings.rljson.grants.push(grant.map_err(|_| {
                let remedy = "give ROUTE:read=SECRET or ROUTE:write=SECRET, as folder:read=abc";
                Complaint::new("the grant cannot be used", remedy)
            })?);
            Ok(())
        },
    },
    Setting {
        flag: "rljson-read-only",
        short: None,
        group: Group::Rljson,
        takes: Takes::Many("ROUTE"),
        originals: &[],
        default: Default::Told("none"),
        doc: "Routes that nobody may announce refs on",
        apply: |draft, text| {
            draft.settings.rljson.read_only_routes.push(plain(text)?);
            Ok(())
        },
    },
    Setting {
        flag: "rljson-origins",
        short: None,
        group: Group::Rljson,
        takes: Takes::Many("ORIGIN"),
        originals: &[],
        default: Default::Told("all"),
        doc: "Origins of pages that may talk to it; all others are refused then",
        apply: |draft, text| {
            draft.settings.rljson.origins.push(super::yjs::origin(text)?);
            Ok(())
        },
    },
];

fn one_of<T: Copy>(kind: &str, text: &str, all: &[(&str, T)]) -> Result<T, Complaint> {
    let found = all.iter().find(|(name, _)| *name == text);
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    found.map(|(_, value)| *value).ok_or_else(|| unknown(kind, text, &names))
}

//! The settings of CoMutiNy's world.

use super::{Default, GIB, Group, KIB, Setting, Takes, plain, secret};
use crate::cli::values::{bytes, cookie_name, duration, number, switch};

/// Longest that updates may wait, in milliseconds.
const UPDATE_INTERVAL_MS_MAX: u64 = 1_000;
/// Longest time in which a client may come back.
const RECOVERY_MS_MAX: u64 = 3_600_000;

/// Most accounts: all are in memory, at some 400 bytes each.
const ACCOUNTS_MAX: u64 = 10_000_000;
/// Longest that a token is in force, and shortest, in milliseconds.
const TOKEN_MS: std::ops::RangeInclusive<u64> = 1_000..=super::YEAR_MS;

/// In the order of the help.
pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        flag: "comutiny-avatars",
        short: None,
        group: Group::Comutiny,
        takes: Takes::One("FILE"),
        originals: &[],
        default: Default::Told("none"),
        doc: "JSON file of avatars that players may name; may tell the world's name and sprites, too; read again at SIGHUP",
        apply: |draft, text| {
            draft.settings.comutiny_avatars = Some(plain(text)?.into());
            Ok(())
        },
    },
    Setting {
        flag: "comutiny-cors-origin",
        short: None,
        group: Group::Comutiny,
        takes: Takes::One("ORIGIN"),
        originals: &["CORS_ORIGIN"],
        default: Default::Is("*"),
        doc: "The origin that browsers may come from; * for any",
        apply: |draft, text| {
            draft.settings.comutiny.cors_origin = plain(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "comutiny-message-bytes-max",
        short: None,
        group: Group::Comutiny,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("1MB"),
        doc: "Largest message a client may send",
        apply: |draft, text| {
            draft.settings.comutiny.message_bytes_max = bytes(text, KIB..=GIB)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "comutiny-messages-per-second-max",
        short: None,
        group: Group::Comutiny,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("1000"),
        doc: "Messages a client may send a second, sustained; one that sends more is read slower",
        apply: |draft, text| {
            draft.settings.comutiny.messages_per_second_max = number(text, 1..=1_000_000)? as u32;
            Ok(())
        },
    },
    Setting {
        flag: "comutiny-players-max",
        short: None,
        group: Group::Comutiny,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("1000"),
        doc: "Most players in the world",
        apply: |draft, text| {
            draft.settings.comutiny.players_max = number(text, 1..=1_000_000)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "comutiny-metadata-bytes-max",
        short: None,
        group: Group::Comutiny,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("64KiB"),
        doc: "Metadata that a player may have",
        apply: |draft, text| {
            draft.settings.comutiny.metadata_bytes_max = bytes(text, KIB..=GIB)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "comutiny-world-bytes-max",
        short: None,
        group: Group::Comutiny,
        takes: Takes::One("SIZE"),
        originals: &[],
        default: Default::Is("8MiB"),
        doc: "Metadata that all players together may have",
        apply: |draft, text| {
            draft.settings.comutiny.world_bytes_max = bytes(text, KIB..=GIB)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "comutiny-update-interval",
        short: None,
        group: Group::Comutiny,
        takes: Takes::One("DURATION"),
        originals: &[],
        default: Default::Is("0ms"),
        doc: "How long updates may wait, so that the newest of each player leave together; 0ms for not at all",
        apply: |draft, text| {
            draft.settings.comutiny.update_interval_ms =
                duration(text, 0..=UPDATE_INTERVAL_MS_MAX)?.as_millis() as u64;
            Ok(())
        },
    },
    Setting {
        flag: "comutiny-recovery",
        short: None,
        group: Group::Comutiny,
        takes: Takes::One("DURATION"),
        originals: &[],
        default: Default::Is("0ms"),
        doc: "How long after its connection was cut a client may come back and be told what it has missed; 0ms for not at all",
        apply: |draft, text| {
            draft.settings.comutiny.recovery_ms =
                duration(text, 0..=RECOVERY_MS_MAX)?.as_millis() as u64;
            Ok(())
        },
    },
    Setting {
        flag: "comutiny-speak-as-anybody",
        short: None,
        group: Group::Comutiny,
        takes: Takes::Nothing,
        originals: &[],
        default: Default::Is("false"),
        doc: "Let clients talk in anybody's name and before they join, as the original does",
        apply: |draft, text| {
            draft.settings.comutiny.speak_as_anybody = switch(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "comutiny-only-terminated",
        short: None,
        group: Group::Comutiny,
        takes: Takes::Nothing,
        originals: &[],
        default: Default::Is("false"),
        doc: "Tell replaced clients session:terminated only, not session:disconnect before it",
        apply: |draft, text| {
            draft.settings.comutiny.announce_disconnect = !switch(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "comutiny-require-login",
        short: None,
        group: Group::Comutiny,
        takes: Takes::Nothing,
        originals: &[],
        default: Default::Is("false"),
        doc: "Let players who are no guests be only whom the token of their handshake names",
        apply: |draft, text| {
            draft.comutiny_requires_login = switch(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "comutiny-jwt-secret",
        short: None,
        group: Group::Comutiny,
        takes: Takes::One("SECRET"),
        originals: &["JWT_SECRET"],
        default: Default::Told("none"),
        doc: "What those tokens (JWT, HS256) are signed with; with it there are accounts under /auth",
        apply: |draft, text| {
            draft.comutiny_login.secret = secret(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "comutiny-auth-cookie",
        short: None,
        group: Group::Comutiny,
        takes: Takes::One("NAME"),
        originals: &["AUTH_COOKIE_NAME"],
        default: Default::Is("auth_token"),
        doc: "The cookie they come in, unless in an Authorization header",
        apply: |draft, text| {
            draft.comutiny_login.cookie = cookie_name(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "comutiny-accounts-max",
        short: None,
        group: Group::Comutiny,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("100000"),
        doc: "Most accounts that can be made; 0 for none, if tokens are made elsewhere",
        apply: |draft, text| {
            draft.comutiny_accounts.limits.accounts_max = number(text, 0..=ACCOUNTS_MAX)? as usize;
            Ok(())
        },
    },
    Setting {
        flag: "comutiny-logins-per-minute-max",
        short: None,
        group: Group::Comutiny,
        takes: Takes::One("NUMBER"),
        originals: &[],
        default: Default::Is("60"),
        doc: "Passwords that may be tried from one address in a minute, right or wrong",
        apply: |draft, text| {
            draft.comutiny_accounts.limits.tries_per_minute_max =
                number(text, 1..=1_000_000)? as u32;
            Ok(())
        },
    },
    Setting {
        flag: "comutiny-token-lifetime",
        short: None,
        group: Group::Comutiny,
        takes: Takes::One("DURATION"),
        originals: &["JWT_EXPIRES_IN"],
        default: Default::Is("7d"),
        doc: "How long the tokens of accounts are in force",
        apply: |draft, text| {
            draft.comutiny_accounts.token_s = duration(text, TOKEN_MS)?.as_secs();
            Ok(())
        },
    },
    Setting {
        flag: "comutiny-secure-cookie",
        short: None,
        group: Group::Comutiny,
        takes: Takes::Nothing,
        originals: &[],
        default: Default::Is("false"),
        doc: "Let browsers send the cookie of accounts over HTTPS only: for use behind such a proxy",
        apply: |draft, text| {
            draft.comutiny_accounts.cookie_is_secure = switch(text)?;
            Ok(())
        },
    },
    Setting {
        flag: "comutiny-guest-prefix",
        short: None,
        group: Group::Comutiny,
        takes: Takes::One("PREFIX"),
        originals: &[],
        default: Default::Is("guest-"),
        doc: "What the ids of guests begin with, who need no token",
        apply: |draft, text| {
            draft.comutiny_login.guest_prefix = plain(text)?;
            Ok(())
        },
    },
];

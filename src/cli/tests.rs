use std::collections::BTreeSet;
use std::time::Duration;

use super::settings::{Contradiction, Shards};
use super::*;
use crate::protocol::gallery::Permissions;
use crate::protocol::{self, comutiny};
use crate::server::log::Format;

fn run(arguments: &str, environment: &[(&str, &str)]) -> Result<Command, Stop> {
    let arguments = std::iter::once("lockstep").chain(arguments.split_whitespace());
    let variables = environment.iter().map(|(name, value)| (name.into(), value.into()));
    parse(arguments.map(OsString::from), variables)
}

fn settings(arguments: &str, environment: &[(&str, &str)]) -> Settings {
    match run(arguments, environment) {
        Ok(Command::Serve(settings)) => *settings,
        other => panic!("{arguments}: {other:?}"),
    }
}

fn stop(arguments: &str, environment: &[(&str, &str)]) -> Stop {
    run(arguments, environment).expect_err(arguments)
}

fn addresses(settings: &Settings) -> Vec<String> {
    let listeners = settings.listeners.iter();
    listeners.map(|one| format!("{}={}", one.profile.name(), one.address)).collect()
}

/// Help in one line, so that where it was wrapped does not matter.
fn help(arguments: &str) -> String {
    let stop = stop(arguments, &[]);
    assert_eq!(stop.code, exit::OK);
    stop.text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_setting_has_all_its_names_in_help() {
    for command in ["--help", "-h", "serve --help"] {
        let help = help(command);
        for setting in list::every() {
            let variables = setting.variables().collect::<Vec<_>>().join(", ");
            let line =
                format!("{} [env: {variables}] [default: {}]", setting.doc, setting.default_text());
            assert!(help.contains(&line), "{command} lacks {line}");
            assert!(help.contains(&format!("--{}", setting.flag)), "{command}: {}", setting.flag);
            assert!(help.contains(setting.group.title()), "{command}: {:?}", setting.group);
        }
    }
}

#[test]
fn no_two_settings_share_a_name_and_each_is_documented() {
    let flags: BTreeSet<_> = list::every().map(|setting| setting.flag).collect();
    let keys: BTreeSet<_> = list::every().map(Setting::key).collect();
    let variables: BTreeSet<_> = list::every().flat_map(Setting::variables).collect();
    let originals: usize = list::every().map(|setting| setting.originals.len()).sum();
    assert_eq!(flags.len(), list::every().count());
    assert_eq!(keys.len(), list::every().count());
    assert_eq!(variables.len(), list::every().count() + originals);
    for setting in list::every() {
        let doc = setting.doc;
        assert!(doc.len() > 10 && !doc.ends_with('.'), "{}: {doc}", setting.flag);
        assert!(doc.starts_with(|first: char| !first.is_whitespace()), "{}", setting.flag);
    }
}

#[test]
fn names_follow_from_the_flag() {
    let croquet = list::by_flag("croquet-history-bytes-max").unwrap();
    assert_eq!(croquet.key(), "croquet.history_bytes_max");
    assert_eq!(croquet.variable(), "LOCKSTEP_CROQUET_HISTORY_BYTES_MAX");
    let level = list::by_flag("log-level").unwrap();
    assert_eq!(level.key(), "log.level");
    assert_eq!(level.variables().collect::<Vec<_>>(), ["LOCKSTEP_LOG_LEVEL", "RUST_LOG"]);
    assert_eq!(list::by_flag("data-dir").unwrap().key(), "data_dir");
    assert_eq!(list::by_flag("verbose").unwrap().key(), "verbose");
}

#[test]
fn every_default_is_a_value_that_can_be_given() {
    for setting in list::every() {
        if let list::Default::Is(text) = setting.default {
            let applied = (setting.apply)(&mut list::Draft::new(), text);
            assert_eq!(applied, Ok(()), "{}", setting.flag);
        }
    }
}

#[test]
fn defaults_are_safe_and_as_documented() {
    let settings = settings("", &[]);
    assert_eq!(addresses(&settings), ["all=127.0.0.1:8080"]);
    assert_eq!(settings.shards, Shards::Auto);
    assert_eq!(settings.connections_max, None);
    assert_eq!(settings.receive_buffers, 256);
    assert_eq!(settings.drain, Duration::from_secs(5));
    assert_eq!(settings.data_dir.as_deref(), Some("lockstep-data".as_ref()));
    assert_eq!(settings.file_bytes_max, 100 << 20);
    assert_eq!(settings.files_bytes_max, 10 << 30);
    assert_eq!(settings.log_format, Format::Auto);
    assert_eq!(settings.croquet.message_bytes_max, 4 << 20);
    assert_eq!(settings.croquet.lag_bytes_max, 4 << 20);
    assert_eq!(settings.croquet.history_messages_max, 100_000);
    assert_eq!(settings.croquet.history_bytes_max, 64 << 20);
    assert_eq!(settings.croquet.messages_per_second_max, 1_000);
    assert_eq!(settings.croquet.label, "local");
    assert!(settings.croquet.herald_hosts.is_empty());
    let (comutiny, own) = (&settings.comutiny, comutiny::Config::default());
    assert_eq!(comutiny.message_bytes_max, own.message_bytes_max);
    assert_eq!(comutiny.messages_per_second_max, own.messages_per_second_max);
    assert_eq!(comutiny.players_max, own.players_max);
    assert_eq!(comutiny.metadata_bytes_max, own.metadata_bytes_max);
    assert_eq!(comutiny.world_bytes_max, own.world_bytes_max);
    assert_eq!(comutiny.update_interval_ms, 0);
    assert_eq!((comutiny.speak_as_anybody, comutiny.announce_disconnect), (false, true));
    assert_eq!((&comutiny.login, &*comutiny.cors_origin), (&None, "*"));
    assert_eq!(settings.comutiny_avatars, None);
    let (rljson, own) = (&settings.rljson, protocol::rljson::Config::default());
    assert_eq!(rljson.message_bytes_max, own.message_bytes_max);
    assert_eq!(rljson.refs_per_second_max, own.refs_per_second_max);
    assert_eq!(rljson.messages_per_second_max, own.messages_per_second_max);
    assert_eq!(rljson.row_bytes_max, own.row_bytes_max);
    assert_eq!(rljson.blob_bytes_max, own.blob_bytes_max);
    assert_eq!(rljson.routes_max, own.routes_max);
    assert_eq!((rljson.conflicts, rljson.bootstrap), (own.conflicts, own.bootstrap));
    assert_eq!((rljson.gap_fill, rljson.allow_writes), (own.gap_fill, false));
    assert_eq!((&rljson.token, &rljson.read_token), (&None, &None));
    assert!(rljson.origins.is_empty() && rljson.read_only_routes.is_empty());
    assert!(rljson.grants.is_empty());
    assert_eq!(settings.gallery.rooms_max, 1_000);
    assert_eq!(settings.gallery.users_max_default, 50);
    assert_eq!(settings.gallery.message_bytes_max, 1 << 20);
    assert_eq!(settings.gallery.room_timeout_ms, 24 * 3_600_000);
    assert_eq!(settings.gallery.permissions, Permissions::default());
    assert_eq!((&settings.gallery.api_key, &settings.gallery.role_secret), (&None, &None));
    assert!(settings.warnings.is_empty());
}

#[test]
fn serve_is_what_happens_without_a_command() {
    for arguments in ["--port 7", "serve --port 7", "--port 7 serve", "--port 6 serve -p 7"] {
        let served = settings(arguments, &[]);
        assert_eq!(addresses(&served), ["all=127.0.0.1:7"], "{arguments}");
    }
    assert!(matches!(run("version", &[]), Ok(Command::Version)));
    assert_eq!(version(), format!("lockstep {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_flag_wins_over_the_environment_and_our_variables_over_the_originals() {
    let both = [("PORT", "1"), ("LOCKSTEP_PORT", "2")];
    assert_eq!(addresses(&settings("", &both[..1])), ["all=127.0.0.1:1"]);
    assert_eq!(addresses(&settings("", &both)), ["all=127.0.0.1:2"]);
    assert_eq!(addresses(&settings("--port 3", &both)), ["all=127.0.0.1:3"]);
}

#[test]
fn names_of_the_originals_are_honoured() {
    let env = [("HOST", "0.0.0.0"), ("PORT", "5"), ("RUST_LOG", "warn,lockstep=debug")];
    let served = settings("", &env);
    assert_eq!(addresses(&served), ["all=0.0.0.0:5"]);
    assert!(served.log_filter.passes("lockstep::x", log::Level::Debug));
    assert!(!served.log_filter.passes("glommio", log::Level::Info));
    assert_eq!(settings("", &[("CLUSTER_LABEL", "x")]).croquet.label, "x");
    let key =
        |required| settings("", &[("REQUIRE_API_KEY", required), ("API_KEY", "k")]).gallery.api_key;
    for (text, expected) in [("true", Some("k")), ("1", Some("k")), ("false", None), ("", None)] {
        assert_eq!(key(text).as_deref(), expected, "{text}");
    }
    let stop = stop("", &[("REQUIRE_API_KEY", "yes")]);
    assert_eq!(stop.code, exit::CONFIGURATION);
    assert!(stop.text.contains("set API_KEY"), "{}", stop.text);
}

#[test]
fn players_show_tokens_only_if_they_must() {
    let secret = [("JWT_SECRET", "s"), ("AUTH_COOKIE_NAME", "c"), ("CORS_ORIGIN", "http://a")];
    assert_eq!(settings("", &secret).comutiny.login, None);
    assert_eq!(settings("", &secret).comutiny.cors_origin, "http://a");
    let accounts = settings("--comutiny-token-lifetime 1h", &secret).comutiny.accounts.unwrap();
    assert_eq!((&*accounts.secret, &*accounts.cookie, accounts.token_s), ("s", "c", 3_600));
    assert!(settings("--comutiny-accounts-max 0", &secret).comutiny.accounts.is_none());
    assert!(settings("", &[]).comutiny.accounts.is_none());
    let login = settings("--comutiny-require-login", &secret).comutiny.login.unwrap();
    assert_eq!((&*login.secret, &*login.cookie, &*login.guest_prefix), ("s", "c", "guest-"));
    let stop = stop("--comutiny-require-login", &[]);
    assert_eq!(stop.code, exit::USAGE);
    assert!(stop.text.contains("set JWT_SECRET"), "{}", stop.text);
    assert!(!settings("--comutiny-only-terminated", &[]).comutiny.announce_disconnect);
}

#[test]
fn every_setting_can_come_from_its_variable() {
    let values = |setting: &Setting| match (setting.flag, setting.default) {
        ("listen", _) => "croquet=127.0.0.1:1,all=127.0.0.1:2",
        ("port", _) => "1",
        ("connections-max", _) => "10",
        ("files-bytes-max", _) => "1GiB",
        ("croquet-herald-hosts", _) => "a:1,b",
        ("zeal-origins" | "rljson-origins", _) => "http://a:1,https://B",
        ("as", _) => "croquet",
        ("in-memory" | "verbose" | "gallery-one-host" | "gallery-hide-rooms", _) => "true",
        ("comutiny-jwt-secret", _) => "abc",
        ("sid-cookie", _) => "io",
        ("comutiny-avatars", _) => "avatars.json",
        ("gallery-api-key" | "gallery-role-secret" | "yjs-write-token", _) => "abc",
        ("yjs-read-token", _) => "",
        ("rljson-token" | "rljson-read-token" | "rljson-read-only", _) => "abc",
        ("rljson-grant", _) => "folder:read=abc",
        ("rljson-blob-bytes-max", _) => "1GiB",
        (_, list::Default::Is(text)) => text,
        (flag, list::Default::Told(_)) => panic!("give {flag} a value in this test"),
    };
    for setting in list::every() {
        settings("", &[(&setting.variable(), values(setting))]);
        let refused = run("", &[(&setting.variable(), "\u{1}")]);
        let lenient = setting.flag == "data-dir";
        assert_eq!(refused.is_ok(), lenient, "{}", setting.flag);
    }
    let many = settings("", &[("LOCKSTEP_CROQUET_HERALD_HOSTS", "a:1, b,")]);
    assert_eq!(many.croquet.herald_hosts, ["a:1", "b"]);
    let many = settings("", &[("LOCKSTEP_ZEAL_ORIGINS", "http://a:1,https://B")]);
    assert_eq!(many.yjs.origins, ["http://a:1", "https://b"]);
    for origin in ["*", "a", "http://", "://a", "http://a/", "http://a b"] {
        assert!(run("", &[("LOCKSTEP_ZEAL_ORIGINS", origin)]).is_err(), "{origin}");
    }
    let two = settings("", &[("LOCKSTEP_LISTEN", "croquet=127.0.0.1:1,all=127.0.0.1:2")]);
    assert_eq!(addresses(&two), ["croquet=127.0.0.1:1", "all=127.0.0.1:2"]);
}

#[test]
fn empty_variables_are_as_if_unset() {
    assert_eq!(addresses(&settings("", &[("LOCKSTEP_PORT", ""), ("PORT", "")])).len(), 1);
}

#[test]
fn a_profile_brings_its_port() {
    assert_eq!(addresses(&settings("--as croquet", &[])), ["croquet=127.0.0.1:9090"]);
    assert_eq!(addresses(&settings("--as croquet -p 0", &[])), ["croquet=127.0.0.1:0"]);
    assert_eq!(addresses(&settings("--as conformance", &[])), ["conformance=127.0.0.1:9001"]);
}

#[test]
fn an_unknown_profile_is_told_which_there_are() {
    let stop = stop("--as croqet", &[]);
    assert_eq!(stop.code, exit::USAGE);
    assert_eq!(
        stop.text,
        "error: there is no profile \"croqet\"\n  given by --as croqet\n  \
         did you mean \"croquet\"? known are: all, croquet, gallery, yjs, zeal, comutiny, rljson, conformance\n"
    );
    // The protocol behind `conformance` is not a profile by its own name.
    assert_eq!(self::stop("--as echo", &[]).code, exit::USAGE);
}

#[test]
fn an_error_names_the_variable_that_a_value_came_from() {
    for (variable, given) in
        [("PORT", "given by PORT=x\n"), ("LOCKSTEP_PORT", "given by LOCKSTEP_PORT=x\n")]
    {
        let stop = stop("", &[(variable, "x")]);
        assert_eq!(stop.code, exit::CONFIGURATION);
        assert!(stop.text.contains(given), "{}", stop.text);
        assert_eq!(stop.text.lines().count(), 3, "{}", stop.text);
    }
}

#[test]
fn what_exceeds_its_limits_is_refused() {
    for arguments in [
        "--shards 0",
        "--shards 257",
        "--shards many",
        "--port 65536",
        "--port -1",
        "--drain 5",
        "--drain 2h",
        "--file-bytes-max 0",
        "--connections-max 0",
        "--receive-buffers 0",
        "--receive-buffers 65536",
        "--host example.org",
        "--listen croquet",
        "--listen croquet=9090",
        "--listen nothing=127.0.0.1:1",
        "--log-format xml",
        "--log-level loud",
        "--croquet-herald-hosts http://a/",
        "--croquet-message-bytes-max 1",
        "--no-such-flag",
        "--port",
        "serve twice",
    ] {
        assert_eq!(stop(arguments, &[]).code, exit::USAGE, "{arguments}");
    }
}

#[test]
fn what_excludes_each_other_is_refused_when_given_alike() {
    let memory = [("LOCKSTEP_IN_MEMORY", "true")];
    let dir = ("LOCKSTEP_DATA_DIR", "d");
    for arguments in ["--in-memory --data-dir d", "--listen all=127.0.0.1:1 --port 2"] {
        assert_eq!(stop(arguments, &[]).code, exit::USAGE, "{arguments}");
    }
    let stop = stop("", &[memory[0], dir]);
    assert_eq!(stop.code, exit::CONFIGURATION);
    assert!(stop.text.contains("LOCKSTEP_IN_MEMORY=true and LOCKSTEP_DATA_DIR=d"), "{}", stop.text);
}

#[test]
fn of_what_excludes_each_other_the_flag_wins() {
    assert_eq!(settings("--in-memory", &[("LOCKSTEP_DATA_DIR", "d")]).data_dir, None);
    let disk = settings("--data-dir d", &[("LOCKSTEP_IN_MEMORY", "true")]);
    assert_eq!(disk.data_dir.as_deref(), Some("d".as_ref()));
    let off = settings("", &[("LOCKSTEP_IN_MEMORY", "off"), ("LOCKSTEP_DATA_DIR", "d")]);
    assert_eq!(off.data_dir.as_deref(), Some("d".as_ref()));
    let listen = settings("--listen all=127.0.0.1:1", &[("PORT", "2"), ("HOST", "::")]);
    assert_eq!(addresses(&listen), ["all=127.0.0.1:1"]);
    let port = settings("--port 3", &[("LOCKSTEP_LISTEN", "croquet=127.0.0.1:1")]);
    assert_eq!(addresses(&port), ["all=127.0.0.1:3"]);
}

#[test]
fn memory_has_a_smaller_quota_and_no_directory() {
    let settings = settings("--in-memory", &[]);
    assert_eq!((settings.data_dir, settings.files_bytes_max), (None, 256 << 20));
    assert_eq!(self::settings("--in-memory --files-bytes-max 1GiB", &[]).files_bytes_max, 1 << 30);
    assert!(list::by_flag("files-bytes-max").unwrap().default_text().contains("256MiB"));
}

#[test]
fn listeners_on_one_port_are_refused() {
    for second in ["127.0.0.1:1", "0.0.0.0:1", "[::]:1"] {
        let arguments = format!("--listen all=127.0.0.1:1 --listen croquet={second}");
        let stop = stop(&arguments, &[]);
        assert_eq!(stop.code, exit::USAGE);
        assert!(stop.text.contains("wanted twice"), "{}", stop.text);
    }
    for second in ["127.0.0.1:0", "127.0.0.2:1", "127.0.0.1:2"] {
        let arguments = format!("--listen all=127.0.0.1:1 --listen croquet={second}");
        assert_eq!(settings(&arguments, &[]).listeners.len(), 2);
    }
    assert_eq!(settings("--listen all=[::1]:0 --listen all=[::1]:0", &[]).listeners.len(), 2);
}

#[test]
fn a_file_larger_than_all_files_is_refused() {
    let stop = stop("--files-bytes-max 1MiB", &[]);
    assert_eq!(stop.code, exit::USAGE);
    assert!(stop.text.contains("the default of --file-bytes-max"), "{}", stop.text);
    assert!(settings("--files-bytes-max 1MiB --file-bytes-max 1MiB", &[]).validate().is_ok());
}

#[test]
fn settings_made_by_hand_are_looked_at_as_well() {
    let mut settings = settings("", &[]);
    settings.receive_buffers = 100;
    assert_eq!(settings.validate(), Err(Contradiction::ReceiveBuffers(100)));
    settings.listeners.clear();
    assert_eq!(settings.validate(), Err(Contradiction::NoListener));
}

#[test]
fn verbose_adds_to_the_level() {
    for arguments in ["-v", "--verbose --log-level warn", "-vv --log-level lockstep=info,error"] {
        let filter = settings(arguments, &[]).log_filter;
        assert!(filter.passes("lockstep::shard", log::Level::Debug), "{arguments}");
        assert!(!filter.passes("glommio", log::Level::Debug), "{arguments}");
    }
}

#[test]
fn a_misspelt_variable_is_told_and_does_no_harm() {
    let settings = settings("", &[("LOCKSTEP_PROT", "1"), ("LOCKSTEP_WHATEVER", "1")]);
    assert_eq!(settings.warnings.len(), 2);
    assert!(settings.warnings[0].contains("did you mean LOCKSTEP_PORT?"), "{settings:?}");
    assert!(!settings.warnings[1].contains("did you mean"), "{settings:?}");
}

#[test]
fn variables_made_up_by_a_container_platform_are_not_ours() {
    let settings = settings(
        "",
        &[
            ("LOCKSTEP_PORT", "tcp://10.0.0.1:8080"),
            ("LOCKSTEP_SERVICE_HOST", "10.0.0.1"),
            ("LOCKSTEP_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("PORT", "9"),
        ],
    );
    assert_eq!(addresses(&settings), ["all=127.0.0.1:9"]);
    assert!(settings.warnings.is_empty(), "{settings:?}");
}

#[test]
fn shards_follow_the_cores_unless_set() {
    assert_eq!(Shards::Auto.count(3), 3);
    assert_eq!(Shards::Auto.count(0), 1);
    assert_eq!(Shards::Auto.count(1000), 256);
    assert_eq!(settings("--shards 2", &[]).shards.count(8), 2);
}

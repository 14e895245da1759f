//! What a path means on a listener. Pure.

use crate::protocol::{PROTOCOLS, Protocol};

/// What a listener serves.
#[derive(Clone, Copy, Debug)]
pub enum Profile {
    /// Every protocol under its prefix.
    All,
    /// One protocol as its original serves it: at the root, whatever the path.
    Only(&'static Protocol),
    /// Endpoints that public conformance suites presume.
    Conformance(&'static [(&'static str, &'static Protocol)]),
}

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub enum Route<'a> {
    /// A seat in a session of this protocol; only with an upgrade.
    Session(&'static Protocol, &'a str),
    /// A file; its path is still percent-encoded.
    File(&'a str),
    /// Whether the process serves.
    Health,
    /// Numbers as JSON.
    Stats,
    /// Numbers for Prometheus.
    Metrics,
    /// A line for each session.
    Sessions(&'static Protocol),
    /// Users of one session, by its key.
    Users(&'static Protocol, &'a str),
    /// What the original answers to whoever asks whether it is there.
    Alive(&'static Protocol),
    /// Numbers in the form of an original: its `/health`.
    Condition(&'static Protocol),
    /// The same for its `/stats`: asked of the session of this protocol that knows.
    Roster(&'static Protocol, &'static str),
    /// What this server is.
    Home,
    /// Nothing is here, as an original says it.
    Absent,
    /// Nothing is here.
    NotFound,
}

/// The route of a path (without its query) on a listener.
pub fn route<'a>(profile: Profile, path: &'a str, upgrade: bool) -> Route<'a> {
    match profile {
        Profile::All => common(path, upgrade),
        Profile::Only(protocol) if upgrade => Route::Session(protocol, path),
        Profile::Only(protocol) => original(protocol, path),
        Profile::Conformance(endpoints) => endpoints
            .iter()
            .find(|(endpoint, _)| *endpoint == path)
            .map_or_else(|| common(path, false), |&(_, protocol)| Route::Session(protocol, path)),
    }
}

/// The listener that serves every protocol.
fn common(path: &str, upgrade: bool) -> Route<'_> {
    for &protocol in PROTOCOLS {
        let Some(prefix) = protocol.prefix else { continue };
        // The session's key may be the whole path to the protocol, so the slash stays.
        let Some(at) = rest_of(path, prefix, protocol) else { continue };
        return if upgrade {
            Route::Session(protocol, &path[at..])
        } else {
            original(protocol, &path[at..])
        };
    }
    if upgrade {
        return Route::NotFound;
    }
    match path {
        "/" => Route::Home,
        "/health" | "/healthz" | "/livez" | "/readyz" => Route::Health,
        _ => numbers(path).or_else(|| files_and_users(path)).unwrap_or(Route::NotFound),
    }
}

/// Where what belongs to the protocol begins in a path under its prefix: at the last slash of the
/// prefix. The gallery, whose sessions have no names, does without that slash.
fn rest_of(path: &str, prefix: &str, protocol: &Protocol) -> Option<usize> {
    let at = prefix.len() - 1;
    let is_bare = path == &prefix[..at] && is_gallery(protocol);
    (is_bare || path.starts_with(prefix)).then_some(at)
}

fn is_gallery(protocol: &Protocol) -> bool {
    protocol.name == crate::protocol::gallery::PROTOCOL.name
}

/// The HTTP side of one original.
fn original<'a>(protocol: &'static Protocol, path: &'a str) -> Route<'a> {
    match path {
        "/health" if is_gallery(protocol) => Route::Condition(protocol),
        "/stats" if is_gallery(protocol) => Route::Roster(protocol, crate::protocol::gallery::HALL),
        "/metrics" => Route::Metrics,
        _ if is_gallery(protocol) => Route::Absent,
        "/" | "/health" => Route::Alive(protocol),
        _ if path.ends_with("/healthz") => Route::Alive(protocol),
        _ => numbers(path).or_else(|| files_and_users(path)).unwrap_or(Route::NotFound),
    }
}

fn numbers(path: &str) -> Option<Route<'_>> {
    match path {
        "/stats" => Some(Route::Stats),
        "/metrics" => Some(Route::Metrics),
        _ => None,
    }
}

/// Croquet's endpoints (specs: croquet §1.2, §14).
fn files_and_users(path: &str) -> Option<Route<'_>> {
    let croquet = &crate::protocol::croquet::PROTOCOL;
    if let Some(file) = path.strip_prefix("/files/") {
        return Some(Route::File(file));
    }
    if path == "/sessions" {
        return Some(Route::Sessions(croquet));
    }
    let key = path.contains("/users/").then(|| path.rsplit('/').next().unwrap_or_default());
    key.map(|key| Route::Users(croquet, key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{croquet, echo, gallery};

    #[test]
    fn the_common_listener_serves_protocols_under_their_prefixes() {
        let at = |path| route(Profile::All, path, true);
        assert!(matches!(at("/reflector/abc"), Route::Session(p, "/abc") if p.name == "croquet"));
        assert!(matches!(at("/reflector/v1/abc"), Route::Session(_, "/v1/abc")));
        assert!(matches!(at("/reflector/"), Route::Session(_, "/")));
        assert!(matches!(at("/other/abc"), Route::NotFound));
        assert!(matches!(at("/echo"), Route::NotFound));
    }

    #[test]
    fn plain_requests_find_health_numbers_and_files() {
        let at = |path| route(Profile::All, path, false);
        assert!(matches!(at("/"), Route::Home));
        assert!(matches!(at("/healthz"), Route::Health));
        assert!(matches!(at("/metrics"), Route::Metrics));
        assert!(matches!(at("/reflector/metrics"), Route::Metrics));
        assert!(matches!(at("/files/a/b%20c"), Route::File("a/b%20c")));
        assert!(matches!(at("/x/users/abc"), Route::Users(_, "abc")));
        assert!(matches!(at("/nothing"), Route::NotFound));
    }

    #[test]
    fn a_drop_in_takes_upgrades_on_any_path() {
        let only = Profile::Only(&croquet::PROTOCOL);
        assert!(matches!(route(only, "/any/v1/abc", true), Route::Session(_, "/any/v1/abc")));
        assert!(matches!(route(only, "/x/healthz", false), Route::Alive(_)));
        assert!(matches!(route(only, "/reflector/x", false), Route::NotFound));
    }

    #[test]
    fn the_gallery_is_found_with_and_without_a_slash() {
        for path in ["/gallery", "/gallery/", "/gallery/any"] {
            let found = route(Profile::All, path, true);
            assert!(matches!(found, Route::Session(p, _) if p.name == "gallery"), "{path}");
        }
        assert!(matches!(route(Profile::All, "/galleryx", true), Route::NotFound));
        assert!(matches!(route(Profile::All, "/reflector", true), Route::NotFound));
        assert!(matches!(route(Profile::All, "/", true), Route::NotFound));
        assert!(matches!(route(Profile::All, "/", false), Route::Home));
        let only = Profile::Only(&gallery::PROTOCOL);
        assert!(matches!(route(only, "/any/where", true), Route::Session(..)));
        for (path, under) in [("/health", "/gallery/health"), ("/stats", "/gallery/stats")] {
            let (at_root, common) = (route(only, path, false), route(Profile::All, under, false));
            assert_eq!(format!("{at_root:?}"), format!("{common:?}"));
        }
        assert!(matches!(route(only, "/health", false), Route::Condition(_)));
        assert!(matches!(route(only, "/stats", false), Route::Roster(_, "hall")));
        assert!(matches!(route(only, "/metrics", false), Route::Metrics));
        for path in ["/", "/files/a", "/sessions", "/healthz"] {
            assert!(matches!(route(only, path, false), Route::Absent), "{path}");
        }
    }

    #[test]
    fn conformance_serves_its_endpoints_only() {
        static ENDPOINTS: [(&str, &Protocol); 1] = [("/echo", &echo::PROTOCOL)];
        let profile = Profile::Conformance(&ENDPOINTS);
        assert!(matches!(route(profile, "/echo", true), Route::Session(p, _) if p.name == "echo"));
        assert!(matches!(route(profile, "/reflector/a", true), Route::NotFound));
    }
}

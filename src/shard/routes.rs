//! What a path means on a listener. Pure.

use crate::protocol::comutiny::accounts::Page;
use crate::protocol::{DropIn, Entrance, PROTOCOLS, Pages, Protocol, Wire, croquet, gallery};

/// What a listener serves.
#[derive(Clone, Copy, Debug)]
pub enum Profile {
    /// Every protocol at its entrances.
    All,
    /// One protocol as one of its originals serves it.
    Only(&'static Protocol, &'static DropIn),
}

impl Profile {
    /// A protocol as the first of its originals serves it; everything, if it has none.
    pub fn only(protocol: &'static Protocol) -> Self {
        protocol.drop_ins.first().map_or(Self::All, |drop_in| Self::Only(protocol, drop_in))
    }
}

impl Profile {
    /// Whether sessions of this protocol can be reached.
    pub(super) fn serves(self, protocol: &Protocol) -> bool {
        match self {
            Self::All => !protocol.entrances.is_empty(),
            Self::Only(served, drop_in) => {
                let mut others = drop_in.others.iter().map(|(other, _)| *other);
                served.name == protocol.name || others.any(|other| other.name == protocol.name)
            }
        }
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub enum Route<'a> {
    /// A seat in a session of this protocol, found by what follows its entrance in the path; only
    /// with an upgrade, unless the entrance is Engine.IO's.
    Session(&'static Protocol, &'static Entrance, &'a str),
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
    Alive(Pages),
    /// Numbers in the form of an original: its `/health`.
    Condition(Pages),
    /// The same for its `/stats`: asked of the session of this protocol that knows.
    Roster(&'static Protocol, &'static str),
    /// Documents and their clients, as Zeal's `/stats` tells.
    Documents,
    /// Something that the session of this protocol and key knows and can remove; its name is still
    /// percent-encoded.
    Removable(&'static Protocol, &'static str, &'a str),
    /// A page of CoMutiNy's accounts, if there are any.
    Account(Page),
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
        Profile::Only(protocol, drop_in) => {
            let own = std::iter::once((protocol, drop_in.entrances));
            let entered = enter_any(own.chain(drop_in.others.iter().copied()), path);
            if upgrade {
                return entered.unwrap_or(Route::NotFound);
            }
            entered.filter(may_poll).unwrap_or_else(|| page(drop_in.pages, path))
        }
    }
}

/// The listener that serves every protocol.
fn common(path: &str, upgrade: bool) -> Route<'_> {
    let all = PROTOCOLS.iter().map(|&protocol| (protocol, protocol.entrances));
    match enter_any(all, path) {
        Some(found) if upgrade || may_poll(&found) => return found,
        Some(Route::Session(Protocol { drop_ins: [original, ..], .. }, _, rest)) => {
            return page(original.pages, rest);
        }
        _ if upgrade => return Route::NotFound,
        _ => {}
    }
    common_page(path)
}

/// What is found without an upgrade, by whose pages are served.
fn page(pages: Pages, path: &str) -> Route<'_> {
    match pages {
        Pages::Common => common_page(path),
        Pages::Comutiny => comutiny_page(path),
        Pages::Croquet => croquet_page(path),
        Pages::Gallery => gallery_page(path),
        Pages::Rljson => numbers(path).unwrap_or(Route::NotFound),
        Pages::Zeal => zeal_page(path),
        Pages::YWebsocket => y_websocket_page(path),
    }
}

fn common_page(path: &str) -> Route<'_> {
    match path {
        "/" => Route::Home,
        "/health" | "/healthz" | "/livez" | "/readyz" => Route::Health,
        _ => numbers(path)
            .or_else(|| files_and_users(path))
            .or_else(|| account(path.strip_prefix("/comutiny")?))
            .unwrap_or(Route::NotFound),
    }
}

fn account(path: &str) -> Option<Route<'_>> {
    Page::at(path).map(Route::Account)
}

/// The first entrance that a path goes through.
fn enter_any<'a>(
    all: impl Iterator<Item = (&'static Protocol, &'static [Entrance])>,
    path: &'a str,
) -> Option<Route<'a>> {
    let mut doors =
        all.flat_map(|(protocol, entrances)| entrances.iter().map(move |found| (protocol, found)));
    doors.find_map(|(protocol, entrance)| {
        entrance.rest(path).map(|rest| Route::Session(protocol, entrance, rest))
    })
}

/// Engine.IO's clients may come without an upgrade.
fn may_poll(route: &Route<'_>) -> bool {
    matches!(route, Route::Session(_, Entrance { wire: Wire::EngineIo(_), .. }, _))
}

fn comutiny_page(path: &str) -> Route<'_> {
    match path {
        "/health" => Route::Condition(Pages::Comutiny),
        _ => account(path).or_else(|| numbers(path)).unwrap_or(Route::NotFound),
    }
}

fn croquet_page(path: &str) -> Route<'_> {
    match path {
        "/" | "/health" => Route::Alive(Pages::Croquet),
        _ if path.ends_with("/healthz") => Route::Alive(Pages::Croquet),
        _ => numbers(path).or_else(|| files_and_users(path)).unwrap_or(Route::NotFound),
    }
}

fn gallery_page(path: &str) -> Route<'_> {
    let hall = gallery::HALL;
    match path {
        "/health" => Route::Condition(Pages::Gallery),
        "/stats" => Route::Roster(&gallery::PROTOCOL, hall),
        "/metrics" => Route::Metrics,
        _ => path
            .strip_prefix("/rooms/")
            .map_or(Route::Absent, |room| Route::Removable(&gallery::PROTOCOL, hall, room)),
    }
}

fn zeal_page(path: &str) -> Route<'_> {
    match path {
        "/" => Route::Alive(Pages::Zeal),
        "/health" => Route::Condition(Pages::Zeal),
        "/stats" => Route::Documents,
        "/metrics" => Route::Metrics,
        _ => Route::NotFound,
    }
}

/// The original answers whatever is asked.
fn y_websocket_page(path: &str) -> Route<'_> {
    match path {
        "/stats" => Route::Documents,
        "/metrics" => Route::Metrics,
        _ => Route::Alive(Pages::YWebsocket),
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
    let croquet = &croquet::PROTOCOL;
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
    use crate::protocol::echo::{self, CONFORMANCE};
    use crate::protocol::yjs;

    #[test]
    fn the_common_listener_serves_protocols_under_their_prefixes() {
        let at = |path| route(Profile::All, path, true);
        assert!(
            matches!(at("/reflector/abc"), Route::Session(p, _, "/abc") if p.name == "croquet")
        );
        assert!(matches!(at("/reflector/v1/abc"), Route::Session(_, _, "/v1/abc")));
        assert!(matches!(at("/reflector/"), Route::Session(_, _, "/")));
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
        let only = Profile::only(&croquet::PROTOCOL);
        assert!(matches!(route(only, "/any/v1/abc", true), Route::Session(_, _, "/any/v1/abc")));
        assert!(matches!(route(only, "/x/healthz", false), Route::Alive(_)));
        assert!(matches!(route(only, "/reflector/x", false), Route::NotFound));
    }

    #[test]
    fn the_gallery_is_found_with_and_without_a_slash() {
        for path in ["/gallery", "/gallery/", "/gallery/any"] {
            let found = route(Profile::All, path, true);
            assert!(matches!(found, Route::Session(p, ..) if p.name == "gallery"), "{path}");
        }
        assert!(matches!(route(Profile::All, "/galleryx", true), Route::NotFound));
        assert!(matches!(route(Profile::All, "/reflector", true), Route::NotFound));
        assert!(matches!(route(Profile::All, "/", true), Route::NotFound));
        assert!(matches!(route(Profile::All, "/", false), Route::Home));
        let only = Profile::only(&gallery::PROTOCOL);
        assert!(matches!(route(only, "/any/where", true), Route::Session(..)));
        for (path, under) in [("/health", "/gallery/health"), ("/stats", "/gallery/stats")] {
            let (at_root, common) = (route(only, path, false), route(Profile::All, under, false));
            assert_eq!(format!("{at_root:?}"), format!("{common:?}"));
        }
        assert!(matches!(route(only, "/health", false), Route::Condition(_)));
        assert!(matches!(route(only, "/stats", false), Route::Roster(_, "hall")));
        assert!(matches!(route(only, "/metrics", false), Route::Metrics));
        for (profile, path) in [(only, "/rooms/a%20b"), (Profile::All, "/gallery/rooms/a%20b")] {
            let found = route(profile, path, false);
            assert!(matches!(found, Route::Removable(_, "hall", "a%20b")), "{found:?}");
        }
        for path in ["/", "/files/a", "/sessions", "/healthz", "/rooms"] {
            assert!(matches!(route(only, path, false), Route::Absent), "{path}");
        }
    }

    #[test]
    fn the_world_tells_its_health_and_numbers() {
        let at = |path| page(Pages::Comutiny, path);
        assert!(matches!(at("/health"), Route::Condition(Pages::Comutiny)));
        assert!(matches!(at("/stats"), Route::Stats));
        assert!(matches!(at("/metrics"), Route::Metrics));
        assert!(matches!(at("/auth/me"), Route::Account(Page::Me)));
        let common = route(Profile::All, "/comutiny/auth/login", false);
        assert!(matches!(common, Route::Account(Page::LogIn)));
        assert!(matches!(route(Profile::All, "/auth/login", false), Route::NotFound));
        for path in ["/", "/auth", "/sessions", "/files/a"] {
            assert!(matches!(at(path), Route::NotFound), "{path}");
        }
    }

    #[test]
    fn documents_are_found_by_path_and_in_the_lobby() {
        let at = |path| route(Profile::All, path, true);
        assert!(matches!(at("/yjs/a/b"), Route::Session(p, _, "/a/b") if p.name == "yjs"));
        assert!(
            matches!(at("/ws"), Route::Session(p, e, "") if p.name == "yjs" && e.path == "/ws")
        );
        assert!(matches!(at("/wsx"), Route::NotFound));
        let drop_in = |name: &str| {
            let found = yjs::PROTOCOL.drop_ins.iter().find(|drop_in| drop_in.name == name);
            Profile::Only(&yjs::PROTOCOL, found.expect("a drop-in"))
        };
        let zeal = drop_in("zeal");
        assert!(matches!(route(zeal, "/ws", true), Route::Session(..)));
        assert!(matches!(route(zeal, "/yjs/a", true), Route::Session(_, _, "/a")));
        assert!(matches!(route(zeal, "/a", true), Route::NotFound));
        assert!(matches!(route(zeal, "/", false), Route::Alive(Pages::Zeal)));
        assert!(matches!(route(zeal, "/health", false), Route::Condition(Pages::Zeal)));
        assert!(matches!(route(zeal, "/stats", false), Route::Documents));
        assert!(matches!(route(zeal, "/other", false), Route::NotFound));
        let stock = drop_in("yjs");
        assert!(matches!(route(stock, "/any/room", true), Route::Session(_, _, "/any/room")));
        assert!(matches!(route(stock, "/any", false), Route::Alive(Pages::YWebsocket)));
        // Below an entrance the first original answers.
        let common = route(Profile::All, "/yjs/a", false);
        assert!(matches!(common, Route::Alive(Pages::YWebsocket)));
    }

    #[test]
    fn conformance_serves_its_endpoints_only() {
        let profile = Profile::Only(&echo::PROTOCOL, &CONFORMANCE);
        assert!(matches!(route(profile, "/echo", true), Route::Session(p, ..) if p.name == "echo"));
        assert!(matches!(route(profile, "/reflector/a", true), Route::NotFound));
    }
}

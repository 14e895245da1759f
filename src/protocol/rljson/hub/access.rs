//! Who may come in, what it may do there, and the route that it names: in `auth` of its CONNECT, or
//! as a parameter of the URL.

use std::collections::BTreeMap;

use super::lanes::is_route;
use crate::codec::json::Raw;
use crate::protocol::rljson::Config;
use crate::protocol::socketio::Refusal;
use crate::protocol::{Hello, is_same_secret, query};

/// What a client may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    /// Follow all routes, and announce on them if it is set.
    All { write: bool },
    /// Follow these routes, and announce on those that are set.
    Routes(BTreeMap<Box<str>, bool>),
}

impl Rights {
    /// Whether it may be on this route.
    pub(super) fn may_read(&self, route: &str) -> bool {
        match self {
            Self::All { .. } => true,
            Self::Routes(routes) => routes.contains_key(route),
        }
    }

    /// Whether it may announce on this route.
    pub(super) fn may_announce(&self, route: &str) -> bool {
        match self {
            Self::All { write } => *write,
            Self::Routes(routes) => routes.get(route).is_some_and(|write| *write),
        }
    }

    /// Whether it may write rows and blobs of its own accord, which are no route's.
    pub(super) fn may_write(&self) -> bool {
        *self == Self::All { write: true }
    }
}

/// What a client may do; why it may not even come in.
pub(super) fn rights(
    hello: &Hello,
    auth: Option<Raw<'_>>,
    config: &Config,
) -> Result<Rights, Refusal> {
    if config.token.is_none() && config.read_token.is_none() && config.grants.is_empty() {
        return Ok(Rights::All { write: true });
    }
    let given = told(hello, auth, "token").unwrap_or_default();
    let is_it = |token: &Option<String>| {
        token.as_deref().is_some_and(|token| is_same_secret(token, &given))
    };
    if is_it(&config.token) {
        return Ok(Rights::All { write: true });
    }
    if is_it(&config.read_token) {
        return Ok(Rights::All { write: false });
    }
    let mut routes = BTreeMap::new();
    for grant in config.grants.iter().filter(|grant| is_same_secret(&grant.secret, &given)) {
        *routes.entry(grant.route.clone()).or_default() |= grant.write;
    }
    if routes.is_empty() {
        return Err(Refusal { message: "unauthorized".to_owned(), data: None });
    }
    Ok(Rights::Routes(routes))
}

/// The route that a client names, with its slash.
pub(super) fn route(hello: &Hello, auth: Option<Raw<'_>>) -> Option<Box<str>> {
    route_name(&told(hello, auth, "route")?)
}

/// The name of a route, with or without its slash; none if it can be none's.
pub(in crate::protocol::rljson) fn route_name(text: &str) -> Option<Box<str>> {
    let route = if text.starts_with('/') { text.to_owned() } else { format!("/{text}") };
    is_route(&route).then(|| route.into())
}

fn told(hello: &Hello, auth: Option<Raw<'_>>, key: &str) -> Option<String> {
    let own = super::ask::member(auth, key).and_then(Raw::to_string_value);
    own.map(Into::into).or_else(|| query::parameter(&hello.target, key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json;

    fn config(token: Option<&str>, read: Option<&str>) -> Config {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Config { token: own(token), read_token: own(read), ..Config::default() }
    }

    fn rights_of(target: &str, auth: &str, config: &Config) -> Option<Rights> {
        let hello = Hello { target: target.to_owned(), ..Hello::default() };
        rights(&hello, json::parse(auth, 4).ok(), config).ok()
    }

    fn ask(target: &str, auth: &str, config: &Config) -> Option<bool> {
        let rights = rights_of(target, auth, config)?;
        assert!(rights.may_read("/a"));
        assert_eq!(rights.may_write(), rights.may_announce("/a"));
        Some(rights.may_write())
    }

    #[test]
    fn tokens_decide_if_there_are_any() {
        assert_eq!(ask("/", "", &config(None, None)), Some(true));
        let one = config(Some("w"), None);
        assert_eq!(ask("/", "", &one), None);
        assert_eq!(ask("/?token=w", "", &one), Some(true));
        assert_eq!(ask("/?token=w", r#"{"token":"x"}"#, &one), None);
        assert_eq!(ask("/", r#"{"token":"w"}"#, &one), Some(true));
        let both = config(Some("w"), Some("r"));
        assert_eq!(ask("/?token=r", "", &both), Some(false));
        assert_eq!(ask("/?token=", "", &both), None);
    }

    #[test]
    fn a_token_may_be_for_some_routes_only() {
        let grants = [("a:read=x", ()), ("/a:write=y", ()), ("b:read=y", ())]
            .map(|(text, ())| text.parse().expect("a grant"));
        let some = Config { grants: grants.to_vec(), ..config(Some("w"), None) };
        assert_eq!(rights_of("/?token=z", "", &some), None);
        assert_eq!(rights_of("/", "", &some), None);
        assert_eq!(ask("/?token=w", "", &some), Some(true));
        let may = |token: &str| {
            let rights = rights_of(&format!("/?token={token}"), "", &some).expect("comes in");
            assert!(!rights.may_write());
            ["/a", "/b", "/c"].map(|route| (rights.may_read(route), rights.may_announce(route)))
        };
        assert_eq!(may("x"), [(true, false), (false, false), (false, false)]);
        assert_eq!(may("y"), [(true, true), (true, false), (false, false)]);
    }

    #[test]
    fn a_route_can_be_named() {
        let named = |target: &str, auth: &str| {
            let hello = Hello { target: target.to_owned(), ..Hello::default() };
            route(&hello, json::parse(auth, 4).ok())
        };
        assert_eq!(named("/?route=a", "").as_deref(), Some("/a"));
        assert_eq!(named("/?route=%2Fa", "").as_deref(), Some("/a"));
        assert_eq!(named("/", r#"{"route":"/b"}"#).as_deref(), Some("/b"));
        assert_eq!(named("/", r#"{"route":"\"b"}"#), None);
        assert_eq!(named("/", ""), None);
    }
}

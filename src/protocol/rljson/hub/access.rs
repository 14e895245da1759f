//! Who may come in, what it may do there, and the route that it names: in `auth` of its CONNECT, or
//! as a parameter of the URL.

use super::lanes::is_route;
use crate::codec::json::Raw;
use crate::protocol::rljson::Config;
use crate::protocol::socketio::Refusal;
use crate::protocol::{Hello, is_same_secret, query};

/// Whether a client may announce and write; why it may not even read.
pub(super) fn may_write(
    hello: &Hello,
    auth: Option<Raw<'_>>,
    config: &Config,
) -> Result<bool, Refusal> {
    if config.token.is_none() && config.read_token.is_none() {
        return Ok(true);
    }
    let given = told(hello, auth, "token").unwrap_or_default();
    let is_it = |token: &Option<String>| {
        token.as_deref().is_some_and(|token| is_same_secret(token, &given))
    };
    if is_it(&config.token) {
        return Ok(true);
    }
    if is_it(&config.read_token) {
        return Ok(false);
    }
    Err(Refusal { message: "unauthorized".to_owned(), data: None })
}

/// The route that a client names, with its slash.
pub(super) fn route(hello: &Hello, auth: Option<Raw<'_>>) -> Option<Box<str>> {
    let route = told(hello, auth, "route")?;
    let route = if route.starts_with('/') { route } else { format!("/{route}") };
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

    fn ask(target: &str, auth: &str, config: &Config) -> Option<bool> {
        let hello = Hello { target: target.to_owned(), ..Hello::default() };
        may_write(&hello, json::parse(auth, 4).ok(), config).ok()
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

//! Who a client is, as a token of its handshake tells (specs: comutiny §7), in a cookie or an
//! `Authorization` header.

use super::{Config, ID_BYTES_MAX, jwt};
use crate::protocol::Hello;

/// What clients must show to play as somebody.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// What tokens are signed with.
    pub secret: String,
    /// The cookie they come in.
    pub cookie: String,
    /// What ids begin with that need no token; if empty, every id needs one.
    pub guest_prefix: String,
}

impl std::fmt::Debug for Login {
    /// The secret is not shown.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Login").field("cookie", &self.cookie).finish_non_exhaustive()
    }
}

/// Whom the handshake tells this client to be; `None` for a guest, and for everybody if nobody is
/// asked.
pub(super) fn subject(config: &Config, hello: &Hello, now_ms: u64) -> Option<Box<str>> {
    let login = config.login.as_ref()?;
    let token = token(&login.cookie, hello.authorization.as_deref(), hello.cookie.as_deref())?;
    let subject = jwt::verify(&login.secret, token, now_ms)?;
    (1..=ID_BYTES_MAX).contains(&subject.len()).then_some(subject)
}

/// Whether a client may play as `player_id`.
pub(super) fn may_be(config: &Config, subject: Option<&str>, player_id: &str) -> bool {
    let Some(login) = &config.login else { return true };
    let prefix = &login.guest_prefix;
    subject == Some(player_id) || !prefix.is_empty() && player_id.starts_with(prefix)
}

/// The token of a request, by its headers; that of `Authorization` counts first.
pub(super) fn token<'a>(
    cookie_name: &str,
    authorization: Option<&'a str>,
    cookies: Option<&'a str>,
) -> Option<&'a str> {
    let bearer = authorization.and_then(bearer);
    bearer.or_else(|| cookie(cookies?, cookie_name))
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookie<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = header.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(own, _)| own.trim() == name)?;
    let value = value.trim();
    Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Signed by Node's crypto.createHmac('sha256', 's').
    const UNTIL_2000: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOjcsImlhdCI6MSwiZXhwIjoyMDAwfQ.mEuUQRgJSzRG5cfAdYlrjfzzENHneyeB2Ug1ozzBFE4";
    const FOREVER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4ifQ.v6gvhiIU1jlaspKuIfHxJl7m0bLXgCoy82JS9yEknmU";

    fn hello(cookie: Option<&str>, authorization: Option<&str>) -> Hello {
        Hello {
            cookie: cookie.map(str::to_owned),
            authorization: authorization.map(str::to_owned),
            ..Hello::default()
        }
    }

    fn config() -> Config {
        let login = Login {
            secret: "s".to_owned(),
            cookie: "auth_token".to_owned(),
            guest_prefix: "guest-".to_owned(),
        };
        Config { login: Some(login), ..Config::default() }
    }

    #[test]
    fn tokens_come_in_cookies_and_headers() {
        let config = config();
        let who = |cookie: Option<&str>, header: Option<&str>| {
            subject(&config, &hello(cookie, header), 0)
        };
        let jar = format!("a=b; auth_token={FOREVER}; c");
        assert_eq!(who(Some(&jar), None).as_deref(), Some("ann"));
        assert_eq!(who(Some(&format!("auth_token=\"{FOREVER}\"")), None).as_deref(), Some("ann"));
        let bearer = format!("bearer {UNTIL_2000}");
        assert_eq!(who(Some(&jar), Some(&bearer)).as_deref(), Some("7"), "the header wins");
        for (cookie, header) in
            [(None, None), (Some("x_auth_token=1"), None), (None, Some("Basic abc"))]
        {
            assert_eq!(who(cookie, header), None);
        }
        assert_eq!(subject(&Config::default(), &hello(Some(&jar), None), 0), None);
    }

    #[test]
    fn only_guests_need_no_token() {
        let config = config();
        assert!(may_be(&config, Some("ann"), "ann"));
        assert!(may_be(&config, None, "guest-1"));
        assert!(!may_be(&config, None, "ann"));
        assert!(!may_be(&config, Some("ann"), "bob"));
        assert!(may_be(&Config::default(), None, "ann"), "nobody is asked");
        let no_guests = Login { guest_prefix: String::new(), ..config.login.unwrap() };
        let config = Config { login: Some(no_guests), ..Config::default() };
        assert!(!may_be(&config, None, "guest-1"));
    }
}

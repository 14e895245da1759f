//! Accounts over HTTP, as far as a client needs them before it enters the world (specs: comutiny §7):
//! what a request wishes, and how it is answered. Passwords and disk are the storage's.

use super::{Config, NAME_UNITS_MAX, identity, jwt};
use crate::codec::json;
use crate::storage::accounts::{Limits, Outcome, Password, Wish};

/// Largest body of a request, in bytes.
pub const BODY_BYTES_MAX: usize = 16 << 10;
/// Longest e-mail address, in bytes (RFC 5321 §4.5.3.1.3).
const EMAIL_BYTES_MAX: usize = 254;
/// Longest password, in bytes.
const PASSWORD_BYTES_MAX: usize = 1024;
/// Deepest nesting of a body.
const DEPTH_MAX: usize = 16;

/// How accounts are kept and shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    /// What tokens are signed with.
    pub secret: String,
    /// The cookie they are given in.
    pub cookie: String,
    /// Whether browsers are to send that cookie over HTTPS only.
    pub cookie_is_secure: bool,
    /// How long tokens are in force, in seconds.
    pub token_s: u64,
    /// How many accounts, and how many tries.
    pub limits: Limits,
}

impl std::fmt::Debug for Accounts {
    /// The secret is not shown.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Accounts").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// A new account.
    Register,
    /// A token.
    LogIn,
    /// Who the token says the client is.
    Me,
}

impl Page {
    /// What is at a path, as the original has it.
    pub fn at(path: &str) -> Option<Self> {
        match path {
            "/auth/register" => Some(Self::Register),
            "/auth/login" => Some(Self::LogIn),
            "/auth/me" => Some(Self::Me),
            _ => None,
        }
    }

    /// How it is asked for.
    pub fn method(self) -> &'static str {
        match self {
            Self::Register | Self::LogIn => "POST",
            Self::Me => "GET",
        }
    }

    /// What a body wishes, or how it is answered at once.
    pub fn wish(self, body: &[u8]) -> Result<Wish, Reply> {
        const KEYS: [&str; 3] = ["username", "email", "password"];
        let missing = || match self {
            Self::Register => Reply::error(400, "username, email and password are required"),
            Self::LogIn | Self::Me => Reply::error(400, "email and password are required"),
        };
        let text = std::str::from_utf8(body).map_err(|_| missing())?;
        let fields = json::object_fields(text, &KEYS, DEPTH_MAX).map_err(|_| missing())?;
        let [username, email, password] =
            fields.map(|field| field.and_then(|field| field.to_string_value()));
        let given = |field: Option<std::borrow::Cow<'_, str>>| {
            field.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let password = password.filter(|password| !password.is_empty()).ok_or_else(missing)?;
        let email = given(email).ok_or_else(missing)?;
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(Reply::error(400, "password is too long"));
        }
        let password = Password(password.into_owned());
        if self == Self::LogIn {
            return Ok(Wish::LogIn { email, password });
        }
        let username = given(username).ok_or_else(missing)?;
        if username.encode_utf16().count() > NAME_UNITS_MAX || has_control(&username) {
            return Err(Reply::error(400, "username is too long or has control characters"));
        }
        if email.len() > EMAIL_BYTES_MAX || has_control(&email) || !is_address(&email) {
            return Err(Reply::error(400, "email is no e-mail address"));
        }
        Ok(Wish::Register { username, email, password })
    }
}

fn is_address(email: &str) -> bool {
    email.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// Whom the headers of a request say the client is, or how it is answered at once.
pub fn who_asks(
    accounts: &Accounts,
    authorization: Option<&str>,
    cookie: Option<&str>,
    now_ms: u64,
) -> Result<Wish, Reply> {
    let token = identity::token(&accounts.cookie, authorization, cookie);
    let subject = token.and_then(|token| jwt::verify(&accounts.secret, token, now_ms));
    subject.map_or_else(|| Err(Reply::stranger()), |id| Ok(Wish::Find { id: id.into() }))
}

/// Whose pages may read answers, and send the cookie.
pub fn origins(config: &Config) -> super::Origins {
    let allowed = config.cors_origin.split(',').map(|origin| origin.trim().to_owned());
    super::Origins { allowed: allowed.collect(), only: false }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Of HTTP.
    pub status: u16,
    /// JSON.
    pub body: String,
    /// Value of `Set-Cookie`.
    pub cookie: Option<String>,
}

impl Reply {
    /// Something went wrong; `message` is for people.
    pub fn error(status: u16, message: &str) -> Self {
        let mut body = b"{\"message\":".to_vec();
        json::write_string(&mut body, message);
        body.push(b'}');
        let body = String::from_utf8_lossy(&body).into_owned();
        Self { status, body, cookie: None }
    }

    /// Too much is asked of this server at the moment.
    pub fn busy() -> Self {
        Self::error(503, "Too many are logging in, try again")
    }

    fn stranger() -> Self {
        Self::error(401, "Unauthorized")
    }

    /// How a wish is answered.
    pub fn new(page: Page, outcome: Outcome, accounts: &Accounts, now_ms: u64) -> Self {
        match outcome {
            Outcome::Registered(user) | Outcome::Is(user) => {
                let Ok(told) = serde_json::to_string(&user) else {
                    return Self::error(500, "The answer cannot be written");
                };
                let is_new = page == Page::Register;
                let cookie = (page != Page::Me).then(|| accounts.cookie_of(&user.id, now_ms));
                let status = if is_new { 201 } else { 200 };
                Self { status, body: format!("{{\"user\":{told}}}"), cookie: cookie.flatten() }
            }
            Outcome::Taken => Self::error(409, "An account of that username or email exists"),
            Outcome::Unknown if page == Page::Me => Self::stranger(),
            Outcome::Unknown => Self::error(401, "Invalid credentials"),
            Outcome::TooMany => Self::error(429, "Too many tries, wait a minute"),
            Outcome::Full => Self::error(503, "No more accounts can be made"),
            Outcome::Failed => Self::error(503, "Accounts are out of order, try again later"),
        }
    }
}

impl Accounts {
    /// `Set-Cookie` with a token of this id (RFC 6265 §4.1).
    fn cookie_of(&self, id: &str, now_ms: u64) -> Option<String> {
        let now = now_ms / 1_000;
        let token = jwt::sign(&self.secret, id, now, now.saturating_add(self.token_s))?;
        let secure = if self.cookie_is_secure { "; Secure" } else { "" };
        Some(format!(
            "{}={token}; Max-Age={}; Path=/; HttpOnly; SameSite=Lax{secure}",
            self.cookie, self.token_s
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::accounts::User;

    fn accounts() -> Accounts {
        Accounts {
            secret: "s".to_owned(),
            cookie: "auth_token".to_owned(),
            cookie_is_secure: false,
            token_s: 100,
            limits: Limits { accounts_max: 1, tries_per_minute_max: 1 },
        }
    }

    fn refused(page: Page, body: &str) -> (u16, String) {
        let reply = page.wish(body.as_bytes()).err().expect("an error");
        assert_eq!(reply.cookie, None);
        (reply.status, reply.body)
    }

    #[test]
    fn a_body_says_what_is_wished() {
        let body = br#"{"password":" p\u00e4ss ","email":" ann@x ","username":" Ann ","more":[1]}"#;
        let Ok(Wish::Register { username, email, password }) = Page::Register.wish(body) else {
            panic!("no wish")
        };
        assert_eq!((&*username, &*email, &*password.0), ("Ann", "ann@x", " päss "));
        let Ok(Wish::LogIn { email, password }) = Page::LogIn.wish(body) else { panic!("no wish") };
        assert_eq!((&*email, &*password.0), ("ann@x", " päss "));
    }

    #[test]
    fn what_is_missing_or_makes_no_sense_is_told() {
        let required = r#"{"message":"username, email and password are required"}"#;
        for body in [
            "",
            "{",
            "[]",
            "null",
            "{}",
            r#"{"username":"a","email":"a@b"}"#,
            r#"{"username":"a","email":"a@b","password":""}"#,
            r#"{"username":" ","email":"a@b","password":"p"}"#,
            r#"{"username":"a","email":7,"password":"p"}"#,
        ] {
            assert_eq!(refused(Page::Register, body), (400, required.to_owned()), "{body}");
        }
        assert!(refused(Page::LogIn, r#"{"password":"p"}"#).1.contains("email and password are"));
        assert!(Page::LogIn.wish(b"\xff").is_err());
        let long = "x".repeat(PASSWORD_BYTES_MAX + 1);
        for (username, email, password, told) in [
            (&*"x".repeat(NAME_UNITS_MAX + 1), "a@b", "p", "username"),
            ("a\\u0007b", "a@b", "p", "username"),
            ("a", "a@", "p", "email"),
            ("a", "@b", "p", "email"),
            ("a", "b", "p", "email"),
            ("a", &*format!("a@{}", "b".repeat(EMAIL_BYTES_MAX)), "p", "email"),
            ("a", "a@b", &*long, "password"),
        ] {
            let body =
                format!(r#"{{"username":"{username}","email":"{email}","password":"{password}"}}"#);
            let (status, text) = refused(Page::Register, &body);
            assert!(status == 400 && text.contains(told), "{status} {text}");
        }
    }

    #[test]
    fn success_brings_the_user_and_a_cookie_that_says_who_it_is() {
        let user =
            User { id: "7".to_owned(), username: "A\"nn".to_owned(), email: "ann@x".to_owned() };
        let accounts = accounts();
        let reply = |page, outcome| Reply::new(page, outcome, &accounts, 5_000);
        let new = reply(Page::Register, Outcome::Registered(user.clone()));
        let told = r#"{"user":{"id":"7","username":"A\"nn","email":"ann@x"}}"#;
        assert_eq!((new.status, &*new.body), (201, told));
        let cookie = new.cookie.unwrap();
        let (token, rest) = cookie.strip_prefix("auth_token=").unwrap().split_once(';').unwrap();
        assert_eq!(rest, " Max-Age=100; Path=/; HttpOnly; SameSite=Lax");
        let asks = |cookie: &str, at| who_asks(&accounts, None, Some(cookie), at);
        let held = format!("auth_token={token}");
        assert!(matches!(asks(&held, 104_999), Ok(Wish::Find { id }) if id == "7"));
        assert_eq!(asks(&held, 105_000).err().map(|reply| reply.status), Some(401));
        assert_eq!(asks("auth_token=x", 0).err().map(|reply| reply.status), Some(401));
        let known = reply(Page::LogIn, Outcome::Is(user.clone()));
        assert!(known.status == 200 && known.cookie.is_some());
        let me = reply(Page::Me, Outcome::Is(user));
        assert_eq!((me.status, &*me.body, me.cookie), (200, told, None));
        let secure = Accounts { cookie_is_secure: true, ..accounts.clone() };
        assert!(secure.cookie_of("7", 0).unwrap().ends_with("; SameSite=Lax; Secure"));
    }

    #[test]
    fn each_failure_has_its_status() {
        let accounts = accounts();
        for (page, outcome, status, told) in [
            (Page::Register, Outcome::Taken, 409, "exists"),
            (Page::LogIn, Outcome::Unknown, 401, "Invalid credentials"),
            (Page::Me, Outcome::Unknown, 401, "Unauthorized"),
            (Page::LogIn, Outcome::TooMany, 429, "minute"),
            (Page::Register, Outcome::Full, 503, "No more"),
            (Page::Register, Outcome::Failed, 503, "out of order"),
        ] {
            let reply = Reply::new(page, outcome, &accounts, 0);
            assert_eq!((reply.status, reply.cookie), (status, None));
            assert!(reply.body.contains(told), "{}", reply.body);
        }
    }
}

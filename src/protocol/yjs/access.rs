//! Who may come in, and who may write: clients show a token as a parameter of the URL (§4).

use super::{Config, UNAUTHORIZED};
use crate::protocol::{is_same_secret, query};
use crate::session::Close;

/// Whether whoever asked for this target may write; how it is refused if it may not even read.
pub(super) fn may_write(target: &str, config: &Config) -> Result<bool, Close> {
    let given = query::parameter(target, "token").unwrap_or_default();
    rights(&given, config).ok_or(UNAUTHORIZED)
}

/// Whether whoever shows this token may write; none if it may not even read.
pub(super) fn rights(token: &str, config: &Config) -> Option<bool> {
    let Some(write) = &config.write_token else { return Some(true) };
    if is_same_secret(write, token) {
        return Some(true);
    }
    let reads = config.read_token.as_ref().is_some_and(|read| is_same_secret(read, token));
    reads.then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(write: Option<&str>, read: Option<&str>) -> Config {
        let own = |token: Option<&str>| token.map(str::to_owned);
        Config { write_token: own(write), read_token: own(read), ..Config::default() }
    }

    #[test]
    fn without_tokens_everybody_may_write() {
        assert_eq!(may_write("/a", &config(None, None)), Ok(true));
        assert_eq!(may_write("/a?token=x", &config(None, None)), Ok(true));
    }

    #[test]
    fn with_tokens_they_decide() {
        let config = config(Some("w"), Some("r"));
        assert_eq!(may_write("/a?token=w", &config), Ok(true));
        assert_eq!(may_write("/a?x=1&token=r", &config), Ok(false));
        for target in ["/a", "/a?token=", "/a?token=x", "/a?token=ww"] {
            assert_eq!(may_write(target, &config), Err(UNAUTHORIZED), "{target}");
        }
    }

    #[test]
    fn without_a_token_to_read_only_writers_come_in() {
        assert_eq!(may_write("/a?token=", &config(Some("w"), None)), Err(UNAUTHORIZED));
    }
}

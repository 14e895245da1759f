//! The herald (specs: croquet §8): joins and leaves posted to a URL of the application's, if its
//! host is one the operator allows.

/// Whether `url` is `http://`, without user information, at one of `hosts`: each a name or
/// `name:port`, where a bare name allows any port.
pub(super) fn is_allowed(url: &str, hosts: &[String]) -> bool {
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let well_formed = !authority.is_empty()
        && !authority.contains('@')
        && rest.bytes().all(|b| b.is_ascii_graphic());
    let name = authority.rsplit_once(':').map_or(authority, |(name, _)| name);
    let is_host =
        |host: &String| host.eq_ignore_ascii_case(authority) || host.eq_ignore_ascii_case(name);
    well_formed && hosts.iter().any(is_host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allowed_hosts_are_posted_to() {
        let hosts = ["herald.example".to_owned(), "127.0.0.1:81".to_owned()];
        for url in
            ["http://herald.example", "http://HERALD.example:8080/path?q", "http://127.0.0.1:81/x"]
        {
            assert!(is_allowed(url, &hosts), "{url}");
        }
        for url in [
            "",
            "http://",
            "https://herald.example/",
            "http://127.0.0.1/x",
            "http://127.0.0.1:80/x",
            "http://evil.example/herald.example",
            "http://herald.example@evil.example/",
            "http://evil.example\\@herald.example/",
            "http://evil.example#herald.example",
            "http://herald.example/a b",
            "http://herald.example/\r\nHost: x",
        ] {
            assert!(!is_allowed(url, &hosts), "{url}");
        }
        assert!(!is_allowed("http://herald.example/", &[]));
    }
}

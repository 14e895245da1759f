//! Parameters of the upgrade request, as `URLSearchParams` reads them.

/// The first value of `name` in the query of a request's target.
pub(super) fn parameter(target: &str, name: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key) == name).then(|| decoded(value))
    })
}

/// Plus signs are spaces, percent escapes bytes; what is no escape stands for itself.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'+', _) => (b' ', tail),
            (b'%', [high, low, behind @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, behind),
                _ => (b'%', tail),
            },
            _ => (*first, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_a_browser_writes_them() {
        let target = "/x?a&userId=J%C3%BCrgen+B%26%&userId=second&apiKey=";
        assert_eq!(parameter(target, "userId").as_deref(), Some("Jürgen B&%"));
        assert_eq!(parameter(target, "apiKey").as_deref(), Some(""));
        assert_eq!(parameter(target, "a").as_deref(), Some(""));
        assert_eq!(parameter(target, "b"), None);
        assert_eq!(parameter("/x", "a"), None);
        assert_eq!(parameter("/x?a=%ff", "a").as_deref(), Some("\u{FFFD}"));
    }
}

//! Values as people write them: `30s`, `10MiB`, `100_000`.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::settings::{HOST, Profile};

/// What is wrong with a value, and what to do. Where it came from is added by who knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Complaint {
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

const MS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("min", 60_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const US: &[(&str, u64)] = &[("us", 1), ("ms", 1_000), ("s", 1_000_000)];

const BYTES: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// A duration with its unit, in a range of milliseconds.
pub(super) fn duration(text: &str, range: RangeInclusive<u64>) -> Result<Duration, Complaint> {
    let hint = "give a whole number and its unit: ms, s, m, h or d, for example 30s";
    let ms = scaled(text, MS)
        .or_else(|| (text == "0").then_some(0))
        .ok_or_else(|| Complaint::new(format!("{text:?} is not a duration"), hint))?;
    within(ms, &range, |ms| format!("{ms}ms")).map(Duration::from_millis)
}

/// The same in a range of microseconds.
pub(super) fn short_duration(
    text: &str,
    range: RangeInclusive<u64>,
) -> Result<Duration, Complaint> {
    let hint = "give a whole number and its unit: us, ms or s, for example 200us";
    let us = scaled(text, US)
        .or_else(|| (text == "0").then_some(0))
        .ok_or_else(|| Complaint::new(format!("{text:?} is not a duration"), hint))?;
    within(us, &range, |us| format!("{us}us")).map(Duration::from_micros)
}

/// A number of bytes, with a unit or without, in a range.
pub(super) fn bytes(text: &str, range: RangeInclusive<u64>) -> Result<u64, Complaint> {
    let hint = "give a whole number of bytes, or with a unit: KiB, MiB, GiB, for example 10MiB";
    let bytes = scaled(text, BYTES)
        .ok_or_else(|| Complaint::new(format!("{text:?} is not a size"), hint))?;
    within(bytes, &range, in_bytes)
}

/// A plain number in a range.
pub(super) fn number(text: &str, range: RangeInclusive<u64>) -> Result<u64, Complaint> {
    let (min, max) = (range.start(), range.end());
    let hint = || format!("give a whole number from {min} to {max}");
    let number = scaled(text, &[("", 1)])
        .ok_or_else(|| Complaint::new(format!("{text:?} is not a number"), hint()))?;
    within(number, &range, |number| number.to_string())
}

/// A truth value.
pub(super) fn switch(text: &str) -> Result<bool, Complaint> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(Complaint::new(format!("{text:?} is neither yes nor no"), "give true or false")),
    }
}

/// The name of a cookie (RFC 6265 §4.1.1), of the characters that nobody quotes.
pub(super) fn cookie_name(text: &str) -> Result<String, Complaint> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(Complaint::new(
        format!("{text:?} is no name of a cookie"),
        "give up to 64 letters, digits, -, _ or .",
    ))
}

/// An IP address, or `localhost`.
pub(super) fn host(text: &str) -> Result<IpAddr, Complaint> {
    if text == "localhost" {
        return Ok(HOST);
    }
    text.parse().map_err(|_| {
        Complaint::new(
            format!("{text:?} is not an address to listen on"),
            "give an IP address: 127.0.0.1 for this machine only, 0.0.0.0 or :: for all interfaces",
        )
    })
}

/// `IP:PORT`, or `localhost:PORT`.
pub(super) fn address(text: &str) -> Result<SocketAddr, Complaint> {
    let local = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    local.map(|port| SocketAddr::new(HOST, port)).map_or_else(|| text.parse(), Ok).map_err(|_| {
        Complaint::new(
            format!("{text:?} is not an address and port"),
            "give both, for example 127.0.0.1:9090 or [::1]:9090",
        )
    })
}

/// A profile by its name.
pub(super) fn profile(text: &str) -> Result<Profile, Complaint> {
    let names: Vec<_> = Profile::every().map(|profile| profile.name()).collect();
    Profile::by_name(text).ok_or_else(|| unknown("profile", text, &names))
}

/// Complains about a name that is none of `names`, and says which one may have been meant.
pub(super) fn unknown(kind: &str, text: &str, names: &[&str]) -> Complaint {
    let known = format!("known are: {}", names.join(", "));
    let remedy = match nearest(text, names) {
        Some(name) => format!("did you mean {name:?}? {known}"),
        None => known,
    };
    Complaint::new(format!("there is no {kind} {text:?}"), remedy)
}

/// The name that differs least from `text`, unless it differs by more than a third and two letters.
pub(super) fn nearest<'a>(text: &str, names: &[&'a str]) -> Option<&'a str> {
    let lowered = text.to_lowercase();
    let distances = names.iter().map(|name| (edits(&lowered, &name.to_lowercase()), *name));
    let allowed = (text.chars().count() / 3).max(2);
    distances.filter(|(edits, _)| *edits <= allowed).min().map(|(_, name)| name)
}

/// How many letters must be put in, left out or changed to make one text of the other.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for column in 0..b.len() {
            let changed = diagonal + usize::from(letter != b[column]);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

/// A number of bytes in the largest unit that divides it.
pub(super) fn in_bytes(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let fits = |(_, shift): &&(&str, u32)| bytes > 0 && bytes.is_multiple_of(1 << shift);
    match units.iter().find(fits) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// Digits, perhaps with `_` between them, and one of the units.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digit = |char: char| char.is_ascii_digit() || char == '_';
    let (digits, unit) = text.split_at(text.find(|char| !digit(char)).unwrap_or(text.len()));
    let number: u64 = digits.replace('_', "").parse().ok()?;
    let unit = unit.trim_start();
    let (_, scale) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(*scale)
}

fn within<D: Display>(
    value: u64,
    range: &RangeInclusive<u64>,
    shown: impl Fn(u64) -> D,
) -> Result<u64, Complaint> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (min, max) = (shown(*range.start()), shown(*range.end()));
    let what = format!("{} is out of range", shown(value));
    Err(Complaint::new(what, format!("give something from {min} to {max}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let any = || 0..=u64::MAX;
        for (text, ms) in [
            ("0", 0),
            ("0s", 0),
            ("250ms", 250),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1 h", 3_600_000),
        ] {
            assert_eq!(duration(text, any()), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "s", "5 parsecs", "-1s", "1.5s", "99999999999999999999s"] {
            assert!(duration(text, any()).is_err(), "{text:?}");
        }
        assert_eq!(short_duration("20us", any()), Ok(Duration::from_micros(20)));
        assert_eq!(short_duration("2ms", any()), Ok(Duration::from_millis(2)));
        assert!(short_duration("2m", any()).is_err());
        let error = duration("2h", 0..=3_600_000).unwrap_err();
        assert_eq!(error.remedy, "give something from 0ms to 3600000ms");
    }

    #[test]
    fn sizes_are_bytes_unless_a_unit_says_otherwise() {
        let any = || 0..=u64::MAX;
        for (text, size) in [
            ("0", 0),
            ("1_000", 1_000),
            ("10MiB", 10 << 20),
            ("10 mib", 10 << 20),
            ("2kB", 2_000),
            ("1GiB", 1 << 30),
            ("7B", 7),
        ] {
            assert_eq!(bytes(text, any()), Ok(size), "{text}");
        }
        for text in ["", "MiB", "1M", "1e6", "0x10", "99999999999GiB", "_"] {
            assert!(bytes(text, any()).is_err(), "{text:?}");
        }
        assert!(bytes("1023", 1024..=2048).unwrap_err().remedy.contains("from 1KiB to 2KiB"));
    }

    #[test]
    fn sizes_are_shown_as_they_can_be_written() {
        for size in [0, 1, 1_000, 1 << 10, 3 << 20, (1 << 30) + 1, 5 << 40] {
            assert_eq!(bytes(&in_bytes(size), 0..=u64::MAX), Ok(size));
        }
        assert_eq!(in_bytes(100 << 20), "100MiB");
    }

    #[test]
    fn a_misspelt_name_brings_the_nearest_one() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(nearest("croqet", &["all", "croquet"]), Some("croquet"));
        assert_eq!(nearest("Croquet", &["all", "croquet"]), Some("croquet"));
        assert_eq!(nearest("zeal", &["all", "croquet"]), None);
    }

    #[test]
    fn addresses_need_a_port() {
        assert_eq!(address("localhost:80").unwrap(), "127.0.0.1:80".parse().unwrap());
        assert_eq!(address("[::1]:80").unwrap(), "[::1]:80".parse().unwrap());
        for text in ["", "80", ":80", "127.0.0.1", "localhost", "example.org:80", "localhost:x"] {
            assert!(address(text).is_err(), "{text:?}");
        }
    }
}

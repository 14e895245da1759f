//! What values mean to JavaScript, where the behaviour of originals rests on it.

use crate::codec::json::Raw;

/// Whether a value counts as true.
pub(super) fn truthy(value: Raw<'_>) -> bool {
    match value.as_str() {
        "null" | "false" | "\"\"" => false,
        _ => value.as_f64() != Some(0.0),
    }
}

/// A value that counts as true; `None` for all others, as with `value || …`.
pub(super) fn something(value: Option<Raw<'_>>) -> Option<Raw<'_>> {
    value.filter(|&value| truthy(value))
}

/// `Number(value)`, of what is not an object or array; `None` for what is not a number then.
pub(super) fn number(value: Raw<'_>) -> Option<f64> {
    if let Some(truth) = value.as_bool() {
        return Some(f64::from(u8::from(truth)));
    }
    let number = match value.to_string_value() {
        Some(text) => number_of_text(&text),
        None => value.as_f64(),
    };
    number.filter(|number| !number.is_nan())
}

/// `Number(value)` if it is finite, of any value there is.
pub(super) fn finite(value: Raw<'_>) -> Option<f64> {
    let mut value = value;
    let mut is_element = false;
    // An array is converted by way of its text: that of one element is the element's.
    while value.is_array() {
        let mut elements = value.elements();
        value = match (elements.next(), elements.next()) {
            (None, _) => return Some(0.0),
            (Some(only), None) => only,
            (Some(_), Some(_)) => return None,
        };
        is_element = true;
    }
    if value.is_null() {
        return Some(0.0);
    }
    let is_text_of_truth = is_element && value.as_bool().is_some();
    number(value).filter(|number| number.is_finite() && !is_text_of_truth)
}

/// `Number(text)` (ECMA-262 §7.1.4.1); `None` for NaN.
fn number_of_text(text: &str) -> Option<f64> {
    let text = trim(text);
    if text.is_empty() {
        return Some(0.0);
    }
    if let Some(number) = text.strip_prefix('0').and_then(prefixed) {
        return number;
    }
    match text.strip_prefix(['+', '-']).unwrap_or(text) {
        "Infinity" if text.starts_with('-') => Some(f64::NEG_INFINITY),
        "Infinity" => Some(f64::INFINITY),
        // Unlike here, there words such as `inf` and `nan` are none.
        plain if plain.starts_with(|first: char| first.is_ascii_digit() || first == '.') => {
            text.parse().ok()
        }
        _ => None,
    }
}

/// A number with the base `x`, `o` or `b`, behind its 0. The outer `None`: it has no base.
fn prefixed(rest: &str) -> Option<Option<f64>> {
    let (letter, digits) = (rest.chars().next()?, rest.get(1..)?);
    let base = match letter {
        'x' | 'X' => 16,
        'o' | 'O' => 8,
        'b' | 'B' => 2,
        _ => return None,
    };
    let number = digits.chars().try_fold(0.0, |number, digit| {
        digit.to_digit(base).map(|digit| number * f64::from(base) + f64::from(digit))
    });
    Some(number.filter(|_| !digits.is_empty()))
}

/// `text.trim()`.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|char: char| char == '\u{FEFF}' || char.is_whitespace() && char != '\u{85}')
}

/// `text.slice(0, units)`, in UTF-16 units: but a character that has two is never cut in half.
pub(super) fn cut(text: &str, units: usize) -> &str {
    let mut left = units;
    let end = text.char_indices().find(|(_, char)| {
        let fits = char.len_utf16() <= left;
        left = left.saturating_sub(char.len_utf16());
        !fits
    });
    end.map_or(text, |(end, _)| &text[..end])
}

/// Appends a number that is finite as `JSON.stringify` writes it.
pub(super) fn write_number(out: &mut Vec<u8>, number: f64) {
    use std::io::Write as _;
    // Without an exponent both write the shortest digits that read back the same. Writing to a
    // vector cannot fail.
    let _ = match number.abs() {
        0.0 => write!(out, "0"),
        1e-6..1e21 => write!(out, "{number}"),
        _ => write!(out, "{}", number_text(number)),
    };
}

/// `String(value)`, `undefined` if there is none.
pub(super) fn text(value: Option<Raw<'_>>) -> String {
    let Some(value) = value else { return "undefined".to_owned() };
    if value.is_object() {
        "[object Object]".to_owned()
    } else if value.is_array() {
        // Bounded by the nesting that was accepted.
        let element =
            |value: Raw<'_>| if value.is_null() { String::new() } else { text(Some(value)) };
        value.elements().map(element).collect::<Vec<_>>().join(",")
    } else if let Some(number) = value.as_f64() {
        number_text(number)
    } else {
        value.to_string_value().map_or_else(|| value.as_str().to_owned(), |text| text.into_owned())
    }
}

/// `String(number)` (ECMA-262 §6.1.6.1.20): the shortest digits, an exponent only where it is long.
fn number_text(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let sign = if number < 0.0 { "-" } else { "" };
    if number.is_infinite() {
        return format!("{sign}Infinity");
    }
    let scientific = format!("{:e}", number.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits = mantissa.replace('.', "");
    let count = digits.len() as i32;
    // Where the point stands, counted from the first digit.
    let point = exponent.parse::<i32>().unwrap_or(0) + 1;
    let zeros = |count: i32| "0".repeat(count.unsigned_abs() as usize);
    let unsigned = match point {
        1..=21 if point >= count => digits + &zeros(point - count),
        1..=21 => format!("{}.{}", &digits[..point as usize], &digits[point as usize..]),
        -5..=0 => format!("0.{}{digits}", zeros(point)),
        _ => {
            let (first, rest) = digits.split_at(1);
            let dot = if rest.is_empty() { "" } else { "." };
            format!("{first}{dot}{rest}e{:+}", point - 1)
        }
    };
    format!("{sign}{unsigned}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json;

    fn raw(text: &str) -> Raw<'_> {
        json::parse(text, 64).unwrap()
    }

    #[test]
    fn values_are_printed_as_a_browser_prints_them() {
        for (json, printed) in [
            ("null", "null"),
            ("true", "true"),
            (r#""a\"b""#, "a\"b"),
            ("5", "5"),
            ("-0", "0"),
            ("1.50", "1.5"),
            ("-12.25", "-12.25"),
            ("1e3", "1000"),
            ("123456789012345680000", "123456789012345680000"),
            ("1e21", "1e+21"),
            ("1.5e300", "1.5e+300"),
            ("0.000001", "0.000001"),
            ("0.00000012", "1.2e-7"),
            ("1e999", "Infinity"),
            ("{\"a\":1}", "[object Object]"),
            ("[]", ""),
            ("[1,null,[2,\"x\"],{}]", "1,,2,x,[object Object]"),
        ] {
            assert_eq!(text(Some(raw(json))), printed, "{json}");
        }
        assert_eq!(text(None), "undefined");
    }

    #[test]
    fn numbers_are_what_values_come_to() {
        for (json, expected) in [
            ("5", Some(5.0)),
            ("\" 7 \"", Some(7.0)),
            ("\"\"", Some(0.0)),
            ("true", Some(1.0)),
            ("\"x\"", None),
            ("null", None),
            ("{}", None),
        ] {
            assert_eq!(number(raw(json)), expected, "{json}");
        }
    }

    // As `Number` of Node 20 answers.
    #[test]
    fn anything_becomes_a_number_as_in_a_browser() {
        for (json, expected) in [
            ("null", Some(0.0)),
            ("false", Some(0.0)),
            ("\"\\u000b\\ufeff 12 \\u2028\"", Some(12.0)),
            ("\"\\u008512\"", None),
            ("\"0x1F\"", Some(31.0)),
            ("\"-0x1F\"", None),
            ("\"0b101\"", Some(5.0)),
            ("\"0o17\"", Some(15.0)),
            ("\"0x\"", None),
            ("\"0xg\"", None),
            ("\"0\"", Some(0.0)),
            ("\"007\"", Some(7.0)),
            ("\".5\"", Some(0.5)),
            ("\"5.\"", Some(5.0)),
            ("\"+5e-1\"", Some(0.5)),
            ("\".\"", None),
            ("\"1_000\"", None),
            ("\"1 2\"", None),
            ("\"Infinity\"", None),
            ("\"inf\"", None),
            ("\"nan\"", None),
            ("\"--1\"", None),
            ("\"+-1\"", None),
            ("1e999", None),
            ("{}", None),
            ("[]", Some(0.0)),
            ("[5]", Some(5.0)),
            ("[[\"5\"]]", Some(5.0)),
            ("[null]", Some(0.0)),
            ("[true]", None),
            ("[1,2]", None),
            ("[{}]", None),
        ] {
            assert_eq!(finite(raw(json)), expected, "{json}");
        }
        assert_eq!(number(raw("\"Infinity\"")), Some(f64::INFINITY));
    }

    #[test]
    fn texts_are_trimmed_and_cut_in_units_of_utf_16() {
        assert_eq!(trim("\u{FEFF}\u{A0}\n a b \u{2029}"), "a b");
        assert_eq!(trim("\u{85}a\u{200B}"), "\u{85}a\u{200B}");
        for (text, units, expected) in [
            ("abc", 2, "ab"),
            ("abc", 3, "abc"),
            ("a\u{1F600}b", 1, "a"),
            ("a\u{1F600}b", 2, "a"),
            ("a\u{1F600}b", 3, "a\u{1F600}"),
            ("\u{1F600}b", 1, ""),
            ("\u{e9}\u{e9}", 1, "\u{e9}"),
            ("", 5, ""),
        ] {
            assert_eq!(cut(text, units), expected, "{text:?} {units}");
        }
    }

    #[test]
    fn numbers_are_written_as_a_browser_writes_them() {
        for (number, expected) in [
            (-0.0, "0"),
            (0.1, "0.1"),
            (-12.5, "-12.5"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1e-6, "0.000001"),
            (-1.5e-7, "-1.5e-7"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
        ] {
            let mut out = Vec::new();
            write_number(&mut out, number);
            assert_eq!(out, expected.as_bytes());
        }
    }
}

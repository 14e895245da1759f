//! What values mean to JavaScript, where the original's behaviour rests on it.

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
        Some(text) if text.trim().is_empty() => Some(0.0),
        Some(text) => text.trim().parse().ok(),
        None => value.as_f64(),
    };
    number.filter(|number| !number.is_nan())
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
}

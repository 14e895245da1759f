//! Numbers as the original hashes them: checked, and printed as JavaScript does.

use std::fmt::Write as _;

/// Largest number that may have decimals.
const MAX: f64 = 1e9;
/// How many of its steps are one: numbers have at most three decimals.
const STEPS: f64 = 1e3;
/// Digits of the shortest form of any `f64`.
const DIGITS_MAX: i32 = 17;

/// Whether numbers like this are hashed: integers, and small ones with at most three decimals.
///
/// The original compares with a tolerance that its own rounding exceeds for some of them, like 5.1,
/// and then its clients have no such row to begin with.
pub(super) fn is_hashable(number: f64) -> bool {
    let is_integer = number.is_finite() && number.fract() == 0.0;
    is_integer || number.abs() <= MAX && (number * STEPS).round() / STEPS == number
}

/// Appends what `String(number)` gives for a finite number (ECMA-262 §6.1.6.1.20): the shortest
/// digits, and an exponent only where it is long.
pub(super) fn write_number(out: &mut String, number: f64) {
    const EXACT: f64 = (1_u64 << 53) as f64;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        // Also for -0, which is printed without its sign.
        out.push_str(itoa::Buffer::new().format(number as i64));
        return;
    }
    if number < 0.0 {
        out.push('-');
    }
    let scientific = format!("{:e}", number.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent = exponent.parse().unwrap_or(0);
    write_digits(out, &mantissa.replace('.', ""), exponent);
}

/// Writes digits with the point behind the first one moved by `exponent`.
fn write_digits(out: &mut String, digits: &str, exponent: i32) {
    let count = digits.len() as i32;
    debug_assert!((1..=DIGITS_MAX).contains(&count));
    let zeros = |out: &mut String, count: i32| (0..count).for_each(|_| out.push('0'));
    match exponent + 1 {
        point @ 1..=21 if point >= count => {
            out.push_str(digits);
            zeros(out, point - count);
        }
        point @ 1..=21 => {
            let (whole, decimals) = digits.split_at(point as usize);
            let _ = write!(out, "{whole}.{decimals}");
        }
        point @ -5..=0 => {
            out.push_str("0.");
            zeros(out, -point);
            out.push_str(digits);
        }
        _ => {
            let (first, decimals) = digits.split_at(1);
            let dot = if decimals.is_empty() { "" } else { "." };
            let _ = write!(out, "{first}{dot}{decimals}e{exponent:+}");
        }
    }
}

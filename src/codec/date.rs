//! Dates as text.

use std::fmt;

const MS_PER_DAY: u64 = 86_400_000;

/// A wall clock time in UTC that displays as RFC 3339 with milliseconds:
/// `2026-11-20T14:02:03.004Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rfc3339(
    /// Milliseconds since the Unix epoch.
    pub u64,
);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0 / MS_PER_DAY);
        write!(out, "{year:04}-{month:02}-{day:02}T{}Z", TimeOfDay(self.0))
    }
}

/// The time of day in UTC of a wall clock time: `14:02:03.004`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOfDay(
    /// Milliseconds since the Unix epoch.
    pub u64,
);

impl fmt::Display for TimeOfDay {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0 % MS_PER_DAY;
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
        write!(out, "{hour:02}:{minute:02}:{second:02}.{:03}", ms % 1_000)
    }
}

/// Year, month and day of the Gregorian calendar, from days since 1970-01-01.
///
/// Counts in eras of 400 years that begin on 1 March, so that a leap day ends its year (the method
/// of Howard Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 0000-03-01
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// The time that a text in the form of [`Rfc3339`] says, in milliseconds since the Unix epoch.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let bytes: &[u8; 24] = text.as_bytes().as_array()?;
    let template = b"0000-00-00T00:00:00.000Z";
    let is_so = |(own, as_in): (&u8, &u8)| match as_in {
        b'0' => own.is_ascii_digit(),
        _ => own == as_in,
    };
    if !bytes.iter().zip(template).all(is_so) {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let is_time = hour < 24 && minute < 60 && second < 60;
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) || !is_time {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(seconds * 1_000 + number(20, 23)?)
}

/// Days from 1970-01-01 to a date: what [`civil`] undoes.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for day in 0..146_097 {
            let ms = day * MS_PER_DAY + day * 997 % MS_PER_DAY;
            assert_eq!(parse_rfc3339(&Rfc3339(ms).to_string()), Some(ms));
        }
        for text in [
            "",
            "2026-11-20T11:45:34Z",
            "2026-13-20T11:45:34.714Z",
            "2026-11-20T24:45:34.714Z",
            "1969-11-20T11:45:34.714Z",
            "2026-11-20T11:45:34.7140",
            "2026-11-20 11:45:34.714Z",
            "+026-11-20T11:45:34.714Z",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn known_times_are_written_in_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (951_868_800, "2000-03-01T00:00:00.007Z"),
            (1_709_164_799, "2024-02-28T23:59:59.007Z"),
            (1_735_689_599, "2024-12-31T23:59:59.007Z"),
            (1_735_689_600, "2025-01-01T00:00:00.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            assert_eq!(Rfc3339(seconds * 1_000 + 7).to_string(), text);
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut before = civil(0);
        for day in 1..146_097 {
            let (year, month, date) = civil(day);
            let next_day = (before.0, before.1, before.2 + 1);
            let next_month = (before.0, before.1 + 1, 1);
            let next_year = (before.0 + 1, 1, 1);
            assert!([next_day, next_month, next_year].contains(&(year, month, date)), "{day}");
            assert!((1..=12).contains(&month) && (1..=31).contains(&date));
            before = (year, month, date);
        }
        assert_eq!(civil(146_097), (2370, 1, 1));
    }
}

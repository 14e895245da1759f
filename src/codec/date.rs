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

#[cfg(test)]
mod tests {
    use super::*;

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

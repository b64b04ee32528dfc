//! Dates of times: what the functions of calendars ask, in UTC.

/// A moment as a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Date {
    pub year: i64,
    /// From 1.
    pub month: i64,
    /// From 1.
    pub day: i64,
    /// From 1.
    pub day_of_year: i64,
    /// From 0, Sunday.
    pub weekday: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
}

const DAY_S: i64 = 86_400;

impl Date {
    /// Of seconds since 1970.
    pub(crate) fn of(seconds: i64) -> Self {
        let (days, rest) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
        // Years that begin in March put the leap day last; 400 of them are an era of always the same length.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let from_march = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * from_march + 2) / 153;
        let day = from_march - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let before: i64 = (1..month).map(|month| days_in_month(year, month)).sum();
        Self {
            year,
            month,
            day,
            day_of_year: before + day,
            weekday: (days + 4).rem_euclid(7),
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }
}

/// Length of a month.
pub(crate) fn days_in_month(year: i64, month: i64) -> i64 {
    let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A time to the second: `2026-11-25T03:37:39Z`.
pub(crate) fn rfc3339(milliseconds: i64) -> String {
    let Date { year, month, day, hour, minute, second, .. } = Date::of(milliseconds / 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text, weekday, day_of_year) in [
            (0, "1970-01-01T00:00:00Z", 4, 1),
            (-1, "1969-12-31T23:59:59Z", 3, 365),
            (951_782_400, "2000-02-29T00:00:00Z", 2, 60),
            (1_709_251_199, "2024-02-29T23:59:59Z", 4, 60),
            (4_107_542_400, "2100-03-01T00:00:00Z", 1, 60),
            (1_795_305_600, "2026-11-22T00:00:00Z", 0, 326),
        ] {
            let date = Date::of(seconds);
            assert_eq!(
                (rfc3339(seconds * 1000).as_str(), date.weekday, date.day_of_year),
                (text, weekday, day_of_year)
            );
        }
        assert_eq!([days_in_month(2024, 2), days_in_month(1900, 2), days_in_month(2000, 2)], [29, 28, 29]);
    }
}

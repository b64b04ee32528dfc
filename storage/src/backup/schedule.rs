//! Which backups stay: so many days, weeks, months and years, and of each the newest.
//!
//! Periods without a backup do not count, so nothing goes because backups stopped. Days begin at midnight UTC, weeks on Monday.

use std::{collections::BTreeSet, fmt};

use chrono::{DateTime, Datelike};

const DAY_MS: i64 = 86_400_000;

/// How many periods of each kind keep their newest backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Days.
    pub days: usize,
    /// Weeks.
    pub weeks: usize,
    /// Months.
    pub months: usize,
    /// Years.
    pub years: usize,
}

impl Default for Keep {
    fn default() -> Self {
        Self { days: 7, weeks: 4, months: 12, years: 7 }
    }
}

impl Keep {
    /// Reads `7d,4w,12m,7y`; what is left out keeps nothing.
    ///
    /// # Errors
    /// What is wrong, and how it is written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut keep = Self { days: 0, weeks: 0, months: 0, years: 0 };
        for part in text.split(',').map(str::trim) {
            let wrong = || format!("`{part}` is no number of periods: write it like 7d,4w,12m,7y");
            let split = part.char_indices().next_back().ok_or_else(wrong)?.0;
            let (number, unit) = part.split_at(split);
            let periods = match unit {
                "d" => &mut keep.days,
                "w" => &mut keep.weeks,
                "m" => &mut keep.months,
                "y" => &mut keep.years,
                _ => return Err(wrong()),
            };
            if *periods > 0 {
                return Err(format!("`{unit}` is said twice in `{text}`"));
            }
            *periods = number.parse().ok().filter(|number| (1..=10_000).contains(number)).ok_or_else(wrong)?;
        }
        Ok(keep)
    }

    /// Those of some times, milliseconds, that stay; the newest always does.
    pub(super) fn pick(&self, taken_ms: &[i64]) -> BTreeSet<i64> {
        let mut newest_first = taken_ms.to_vec();
        newest_first.sort_unstable_by(|a, b| b.cmp(a));
        let mut stay: BTreeSet<i64> = newest_first.first().copied().into_iter().collect();
        let day = |ms: i64| ms.div_euclid(DAY_MS);
        // 1970-01-01 was a Thursday.
        let week = |ms: i64| (day(ms) + 3).div_euclid(7);
        let date = |ms: i64| DateTime::from_timestamp_millis(ms).unwrap_or_default();
        let month = |ms: i64| i64::from(date(ms).year()) * 12 + i64::from(date(ms).month0());
        let year = |ms: i64| i64::from(date(ms).year());
        let periods: [(usize, &dyn Fn(i64) -> i64); 4] =
            [(self.days, &day), (self.weeks, &week), (self.months, &month), (self.years, &year)];
        for (periods, period) in periods {
            let mut seen = BTreeSet::new();
            let first_of_its = newest_first.iter().filter(|ms| seen.insert(period(**ms)));
            stay.extend(first_of_its.take(periods));
        }
        stay
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { days, weeks, months, years } = self;
        write!(f, "{days}d,{weeks}w,{months}m,{years}y")
    }
}

#[cfg(test)]
mod tests;

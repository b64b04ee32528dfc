//! Stretches of time that follow each other: what `date_trunc` and `time_bucket` cut times to.
//!
//! Invariant: a stretch that a calendar does not have, far from our time, is none, never a wrong one.

use std::ops::Range;

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{Expr, interval_arithmetic::Interval, preimage::PreimageResult},
};

pub(super) const SECOND_US: i64 = 1_000_000;
pub(super) const DAY_US: i64 = 86_400 * SECOND_US;

/// How long stretches are, and where one of them begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stretches {
    /// All the same.
    Even {
        /// Microseconds, positive.
        step_us: i64,
        /// Microseconds since 1970.
        origin_us: i64,
    },
    /// Whole months of UTC.
    Months {
        /// Positive.
        count: i32,
        /// A month in which one begins, counted from January of the year 0.
        origin: i32,
    },
}

impl Stretches {
    /// Even ones of which one begins in 1970.
    pub(super) fn even(step_us: i64) -> Self {
        Self::Even { step_us, origin_us: 0 }
    }

    /// The one that a time is in, microseconds.
    pub(super) fn around(self, us: i64) -> Option<Range<i64>> {
        match self {
            Self::Even { step_us, origin_us } => {
                let after = us.checked_sub(origin_us)?.rem_euclid(step_us);
                let start = us.checked_sub(after)?;
                Some(start..start.checked_add(step_us)?)
            }
            Self::Months { count, origin } => {
                let month = month_of(us)?;
                let first = month.checked_sub(month.checked_sub(origin)?.rem_euclid(count))?;
                let day = NaiveDate::from_ymd_opt(first.div_euclid(12), first.rem_euclid(12).unsigned_abs() + 1, 1)?;
                Some(midnight_us(day)..midnight_us(day.checked_add_months(Months::new(count.unsigned_abs()))?))
            }
        }
    }

    /// The times that are cut to a time: where `cut(times) = start` is said, `times` is in this range.
    pub(super) fn preimage(self, times: &Expr, start_us: i64, value: &ScalarValue) -> Result<PreimageResult> {
        let ScalarValue::TimestampMicrosecond(_, zone) = value else { return Ok(PreimageResult::None) };
        let Some(stretch) = self.around(start_us).filter(|stretch| stretch.start == start_us) else {
            // A time at which no stretch begins.
            return Ok(PreimageResult::None);
        };
        let bound = |us| ScalarValue::TimestampMicrosecond(Some(us), zone.clone());
        let interval = Interval::try_new(bound(stretch.start), bound(stretch.end))?;
        Ok(PreimageResult::Range { expr: times.clone(), interval: Box::new(interval) })
    }
}

/// The month that a time is in, counted from January of the year 0.
pub(super) fn month_of(us: i64) -> Option<i32> {
    let day = DateTime::from_timestamp_micros(us)?.date_naive();
    day.year().checked_mul(12)?.checked_add(i32::try_from(day.month0()).ok()?)
}

fn midnight_us(day: NaiveDate) -> i64 {
    day.and_time(NaiveTime::MIN).and_utc().timestamp_micros()
}

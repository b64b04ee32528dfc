//! Times as PostgreSQL writes them.
//!
//! Called by `value` for each value of a column. The days of a column's rows mostly are one: its text is kept.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike};

use super::number::{pair, whole};
use crate::wire::Out;

const SECOND_US: u64 = 1_000_000;
const DAY_SECONDS: i64 = 86_400;
const DAY_US: i64 = 86_400_000_000;

/// Writes days, and keeps the text of the last.
#[derive(Default)]
pub(super) struct Days {
    last: Option<i64>,
    text: String,
    is_common: bool,
}

impl Days {
    /// Writes a day, counted from the epoch; its number if it is in no year that is known.
    pub fn date(&mut self, out: &mut Out, day: i64) {
        if self.find(day) {
            out.bytes(self.text.as_bytes());
            self.era(out);
        } else {
            whole(out, day);
        }
    }

    /// Writes a time, microseconds from the epoch; with its offset if that is known.
    pub fn timestamp(&mut self, out: &mut Out, time_us: i64, has_zone: bool) {
        if !self.find(time_us.div_euclid(DAY_US)) {
            return whole(out, time_us);
        }
        out.bytes(self.text.as_bytes());
        out.put_u8(b' ');
        clock(out, time_us.rem_euclid(DAY_US).unsigned_abs());
        if has_zone {
            out.bytes(b"+00");
        }
        self.era(out);
    }

    fn era(&self, out: &mut Out) {
        if !self.is_common {
            out.bytes(b" BC");
        }
    }

    /// Makes the text of a day; false if it is in no year that is known.
    fn find(&mut self, day: i64) -> bool {
        if self.last == Some(day) {
            return true;
        }
        let Some(time) = day.checked_mul(DAY_SECONDS).and_then(|seconds| DateTime::from_timestamp(seconds, 0)) else {
            return false;
        };
        let (is_common, year) = time.year_ce();
        self.text.clear();
        // Writing to memory does not fail.
        let _ = write!(self.text, "{year:04}-{:02}-{:02}", time.month(), time.day());
        (self.last, self.is_common) = (Some(day), is_common);
        true
    }
}

/// Writes a time of the day, or of more hours than a day has; microseconds.
pub(super) fn clock(out: &mut Out, time_us: u64) {
    let (seconds, micros) = (time_us / SECOND_US, time_us % SECOND_US);
    let hours = seconds / 3_600;
    if hours < 100 {
        out.bytes(&pair(hours));
    } else {
        whole(out, i64::try_from(hours).unwrap_or(i64::MAX));
    }
    let ([m, n], [s, t]) = (pair(seconds / 60 % 60), pair(seconds % 60));
    out.bytes(&[b':', m, n, b':', s, t]);
    if micros > 0 {
        let ([a, b], [c, d], [e, f]) = (pair(micros / 10_000), pair(micros / 100), pair(micros));
        let digits = [b'.', a, b, c, d, e, f];
        let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
        out.bytes(&digits[..digits.len() - zeros]);
    }
}

/// Writes a length of time in its parts.
pub(super) fn interval(out: &mut Out, months: i32, days: i32, time_us: i64) {
    let before = out.len();
    for (count, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if count != 0 {
            if out.len() > before {
                out.put_u8(b' ');
            }
            whole(out, count.into());
            out.put_u8(b' ');
            out.bytes(unit.as_bytes());
            if count != 1 {
                out.put_u8(b's');
            }
        }
    }
    if time_us != 0 || out.len() == before {
        out.bytes(if out.len() > before { b" " } else { b"" });
        out.bytes(if time_us < 0 { b"-" } else { b"" });
        clock(out, time_us.unsigned_abs());
    }
}

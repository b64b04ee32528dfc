//! Reads the times that providers write, as microseconds since the epoch, and the months they lie in.
//!
//! Called by every mapping. Takes ISO 8601 with and without a zone, with a blank for the `T`, cut after minutes as Oracle does, without
//! separators as manifests do, and dates with the month first as Azure and spreadsheets write them.
//!
//! Invariants: a time without a zone is UTC; what is finer than a millisecond is cut off. Not here: which zone a provider's month is in.

use crate::columns::Time;
use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime};

const DAY_US: i64 = 86_400_000_000;
/// Begin of the years 1990, 2000 and 2100, days since the epoch.
const DAY_1990: i64 = 7_305;
const DAY_2000: i64 = 10_957;
const DAY_2100: i64 = 47_482;
const NO_TIME: &str =
    "no time: looked for 2024-09-01T00:00:00Z, 2024-09-01 00:00:00, 2024-09-01 or 9/1/2024, month first";

/// A text and its time, since neighbouring rows mostly have the same.
#[derive(Debug, Default)]
pub(crate) struct Cached {
    text: String,
    us: i64,
}

impl Cached {
    /// Reads a time, or recalls it.
    pub(crate) fn read(&mut self, text: &str) -> Result<i64, &'static str> {
        if self.text != text {
            self.us = micros(text).ok_or(NO_TIME)?;
            self.text.clear();
            self.text.push_str(text);
        }
        Ok(self.us)
    }
}

/// A text with the begin and end of a period, since neighbouring rows mostly have the same.
#[derive(Debug, Default)]
pub(crate) struct CachedInterval {
    text: String,
    us: Option<(i64, i64)>,
}

impl CachedInterval {
    /// Is the text the charge period of a row?
    pub(crate) fn is(&mut self, text: &str, times: &[Option<i64>; Time::COUNT]) -> bool {
        if self.text != text {
            self.us = text.split_once('/').and_then(|(start, end)| micros(start).zip(micros(end)));
            text.clone_into(&mut self.text);
        }
        let period = times[Time::ChargePeriodStart as usize].zip(times[Time::ChargePeriodEnd as usize]);
        period.is_some() && period == self.us
    }
}

/// Reads a time.
pub(crate) fn micros(text: &str) -> Option<i64> {
    let text = text.trim();
    let at = text.find(['T', ' ']).unwrap_or(text.len());
    let (day, clock) = text.split_at_checked(at)?;
    let day = date(day)?;
    let (clock, offset_min) = zone(clock.get(1..).unwrap_or_default())?;
    let (hour, minute, second, milli) = time_of_day(clock)?;
    let time = NaiveTime::from_hms_milli_opt(hour, minute, second, milli)?;
    let us = day.and_time(time).and_utc().timestamp_micros();
    us.checked_sub(offset_min * 60_000_000)
}

/// First day of the month a time lies in, as days since the epoch.
pub(crate) fn month(us: i64) -> Option<i32> {
    i32::try_from(first_of_month(us)?.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

/// Begin of the month a time lies in.
pub(crate) fn month_start(us: i64) -> Option<i64> {
    Some(i64::from(month(us)?) * DAY_US)
}

/// Begin of the month after the one a time lies in.
pub(crate) fn month_end(us: i64) -> Option<i64> {
    let next = first_of_month(us)?.checked_add_months(Months::new(1))?;
    Some(next.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
}

/// Can a billing month begin then? Before 2000 nobody billed what is billed here, and no month of the next century is billed in this one.
pub(crate) fn is_billing_time(us: i64) -> bool {
    (DAY_2000 * DAY_US..DAY_2100 * DAY_US).contains(&us)
}

/// Can a charge begin then? Some are longer ago than the first bills, such as those of contracts that were taken over.
pub(crate) fn is_charge_time(us: i64) -> bool {
    (DAY_1990 * DAY_US..DAY_2100 * DAY_US).contains(&us)
}

/// What is wrong with a time that is out of a range.
pub(crate) fn out_of_range(range: &str, us: i64) -> String {
    let time =
        DateTime::from_timestamp_micros(us).map_or_else(|| format!("{us}us"), |time| time.format("%FT%TZ").to_string());
    format!("out of range: {range} value={time}")
}

/// The same time some months later, on the last day of a month that is too short.
pub(crate) fn months_later(us: i64, months: u32) -> Option<i64> {
    Some(DateTime::from_timestamp_micros(us)?.checked_add_months(Months::new(months))?.timestamp_micros())
}

/// The same time a day later.
pub(crate) fn next_day(us: i64) -> i64 {
    us.saturating_add(DAY_US)
}

/// Begin of a month of Google's invoices, such as `202011`: midnight in Los Angeles, as UTC.
pub(crate) fn pacific_month_start(text: &str) -> Option<i64> {
    let (year, month) = text.split_at_checked(4)?;
    let first = NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, 1)?;
    // Summer time lasts from the second Sunday of March to two o'clock on the first of November.
    let hours = if (4..=11).contains(&first.month()) { 7 } else { 8 };
    Some(first.and_hms_opt(hours, 0, 0)?.and_utc().timestamp_micros())
}

/// Begin of the month after one of Google's invoices.
pub(crate) fn pacific_month_after(text: &str) -> Option<i64> {
    let next = month_end(pacific_month_start(text)?)?;
    pacific_month_start(&DateTime::from_timestamp_micros(next)?.format("%Y%m").to_string())
}

fn first_of_month(us: i64) -> Option<NaiveDate> {
    DateTime::from_timestamp_micros(us)?.date_naive().with_day(1)
}

fn date(text: &str) -> Option<NaiveDate> {
    if let Some((year, rest)) = text.split_once('-') {
        let (month, day) = rest.split_once('-')?;
        return ymd(fixed(year, 4)?, fixed(month, 2)?, fixed(day, 2)?);
    }
    if let Some((month, rest)) = text.split_once('/') {
        let (day, year) = rest.split_once('/')?;
        let year = match year.len() {
            2 => 2000 + fixed(year, 2)?,
            _ => fixed(year, 4)?,
        };
        return ymd(year, short(month)?, short(day)?);
    }
    let (year, rest) = text.split_at_checked(4)?;
    let (month, day) = rest.split_at_checked(2)?;
    ymd(fixed(year, 4)?, fixed(month, 2)?, fixed(day, 2)?)
}

/// Years that money was billed in: others are typing errors, and their microseconds may not fit.
fn ymd(year: u32, month: u32, day: u32) -> Option<NaiveDate> {
    let year = i32::try_from(year).ok().filter(|year| (1970..=9999).contains(year))?;
    NaiveDate::from_ymd_opt(year, month, day)
}

fn fixed(text: &str, digits: usize) -> Option<u32> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn short(text: &str) -> Option<u32> {
    fixed(text, text.len().clamp(1, 2))
}

/// The time of day, and the minutes its zone is ahead of UTC.
fn zone(text: &str) -> Option<(&str, i64)> {
    let text = text.strip_suffix("UTC").map_or(text, str::trim_end);
    if let Some(text) = text.strip_suffix('Z') {
        return Some((text, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let (clock, offset) = text.split_at_checked(at)?;
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let digits: String = offset.chars().skip(1).filter(|c| *c != ':').collect();
    let (hours, minutes) = match digits.len() {
        2 => (fixed(&digits, 2)?, 0),
        _ => (fixed(digits.get(..2)?, 2)?, fixed(digits.get(2..)?, 2)?),
    };
    (hours < 24 && minutes < 60).then(|| (clock.trim_end(), sign * i64::from(hours * 60 + minutes)))
}

fn time_of_day(text: &str) -> Option<(u32, u32, u32, u32)> {
    if text.is_empty() {
        return Some((0, 0, 0, 0));
    }
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let milli = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let digits = if clock.contains(':') { clock.replace(':', "") } else { clock.to_owned() };
    let seconds = match digits.len() {
        4 => 0,
        _ => fixed(digits.get(4..)?, 2)?,
    };
    Some((fixed(digits.get(..2)?, 2)?, fixed(digits.get(2..4)?, 2)?, seconds, milli))
}

/// Days after a date that Azure states as the last one of a period.
pub(crate) fn after_last_day(us: i64) -> Option<i64> {
    let next = DateTime::from_timestamp_micros(us)?.date_naive().checked_add_days(Days::new(1))?;
    Some(next.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iso(us: Option<i64>) -> String {
        us.and_then(DateTime::from_timestamp_micros)
            .map_or("none".to_owned(), |time| time.format("%FT%T%.3f").to_string())
    }

    #[test]
    fn times_as_providers_write_them_are_read() {
        for (given, wanted) in [
            ("2024-09-01T00:00:00Z", "2024-09-01T00:00:00.000"),
            ("2023-11-01T05:06:07.089Z", "2023-11-01T05:06:07.089"),
            ("2024-09-01 13:00:00", "2024-09-01T13:00:00.000"),
            ("2024-09-01 13:00:00 UTC", "2024-09-01T13:00:00.000"),
            ("2020-11-09 23:00:00+00:00", "2020-11-09T23:00:00.000"),
            ("2020-11-09T23:00:00-08:00", "2020-11-10T07:00:00.000"),
            ("2020-11-10 05:49:32.199000+00:00", "2020-11-10T05:49:32.199"),
            ("2024-09-01", "2024-09-01T00:00:00.000"),
            ("9/2/2023", "2023-09-02T00:00:00.000"),
            ("08/01/2023", "2023-08-01T00:00:00.000"),
            ("5/1/25", "2025-05-01T00:00:00.000"),
            ("20180801T000000.000Z", "2018-08-01T00:00:00.000"),
            ("2020-08-06T12:00Z", "2020-08-06T12:00:00.000"),
        ] {
            assert_eq!(iso(micros(given)), wanted, "{given}");
        }
        for given in [
            "",
            "2025-07-5T00:00:00Z",
            "2023-13-01",
            "13/1/2023",
            "2023-02-30",
            "1/2",
            "yesterday",
            "2024-09-01T25:00:00Z",
        ] {
            assert_eq!(micros(given), None, "{given}");
        }
    }

    #[test]
    fn bills_are_of_this_century_and_charges_of_a_little_before() {
        let at = |text: &str| micros(text).unwrap();
        for (text, billed, charged) in [
            ("1989-12-31T23:59:59", false, false),
            ("1990-01-01", false, true),
            ("1999-12-31T23:59:59", false, true),
            ("2000-01-01", true, true),
            ("2099-12-31T23:59:59", true, true),
            ("2100-01-01", false, false),
        ] {
            assert_eq!((is_billing_time(at(text)), is_charge_time(at(text))), (billed, charged), "{text}");
        }
        let year_11 = out_of_range("years of ours", -61_820_000_000_000_000);
        assert_eq!(year_11, "out of range: years of ours value=0011-01-01T17:46:40Z");
    }

    #[test]
    fn months_begin_on_their_first_day() {
        let us = micros("2024-12-31T23:59:59Z").unwrap();
        assert_eq!(iso(month_start(us)), "2024-12-01T00:00:00.000");
        assert_eq!(iso(month_end(us)), "2025-01-01T00:00:00.000");
        assert_eq!(iso(after_last_day(micros("9/30/2023").unwrap())), "2023-10-01T00:00:00.000");
        assert_eq!(iso(pacific_month_start("202011")), "2020-11-01T07:00:00.000");
        assert_eq!(iso(pacific_month_start("202203")), "2022-03-01T08:00:00.000");
        assert_eq!(iso(pacific_month_start("202208")), "2022-08-01T07:00:00.000");
        assert_eq!(iso(pacific_month_start("2022")), "none");
    }
}

//! Times and durations as Go has them: instants with a zone, formatted by layouts that spell a certain Monday.
//!
//! Called by `field` for methods and by functions of both flavours. No clock is read here.
//! Spec: <https://pkg.go.dev/time#pkg-constants>

use std::fmt;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, Offset as _, TimeZone as _, Timelike, Utc};
use chrono_tz::{OffsetName as _, Tz};

use super::layout;

/// The zone a time prints in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// Universal time.
    Utc,
    /// A shift without a name.
    Fixed(FixedOffset),
    /// A place.
    Named(Tz),
}

/// An instant and the zone it prints in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// When.
    pub instant: DateTime<Utc>,
    /// Where.
    pub zone: Zone,
}

impl From<DateTime<Utc>> for Time {
    fn from(instant: DateTime<Utc>) -> Self {
        Self { instant, zone: Zone::Utc }
    }
}

impl Time {
    /// Seconds east of universal time.
    pub(super) fn offset(&self) -> i32 {
        match self.zone {
            Zone::Utc => 0,
            Zone::Fixed(offset) => offset.local_minus_utc(),
            Zone::Named(zone) => zone.offset_from_utc_datetime(&self.instant.naive_utc()).fix().local_minus_utc(),
        }
    }

    /// What a clock on the wall shows there.
    pub(super) fn local(&self) -> NaiveDateTime {
        let offset = chrono::TimeDelta::seconds(i64::from(self.offset()));
        self.instant.naive_utc().checked_add_signed(offset).unwrap_or(self.instant.naive_utc())
    }

    /// The zone's short name, if it has one.
    pub(super) fn zone_name(&self) -> Option<String> {
        match self.zone {
            Zone::Utc => Some("UTC".into()),
            Zone::Fixed(_) => None,
            Zone::Named(zone) => {
                zone.offset_from_utc_datetime(&self.instant.naive_utc()).abbreviation().map(str::to_owned)
            }
        }
    }

    /// The same instant seen from a zone of the database.
    pub(super) fn within(self, zone: &str) -> Option<Self> {
        let zone = match zone {
            "" | "UTC" => Zone::Utc,
            _ => Zone::Named(zone.parse().ok()?),
        };
        Some(Self { zone, ..self })
    }

    /// The time in a layout of Go.
    pub(super) fn format(&self, layout: &str) -> String {
        layout::format(self, layout)
    }

    /// Nanoseconds since 1970.
    pub(super) fn nanoseconds(&self) -> i64 {
        self.instant.timestamp_nanos_opt().unwrap_or(0)
    }

    /// Go's zero time: the begin of the year 1.
    pub(super) fn zero() -> Self {
        let begin = NaiveDate::from_ymd_opt(1, 1, 1).and_then(|day| day.and_hms_opt(0, 0, 0));
        begin.map_or(DateTime::UNIX_EPOCH, |begin| begin.and_utc()).into()
    }

    /// As JSON has it.
    pub(super) fn rfc3339(&self) -> String {
        self.format("2006-01-02T15:04:05.999999999Z07:00")
    }

    /// Year, month, day, hour, minute, second, day of the year; for methods of the same names.
    pub(super) fn part(&self, name: &str) -> Option<i64> {
        let local = self.local();
        Some(match name {
            "Year" => local.year().into(),
            "Day" => local.day().into(),
            "Hour" => local.hour().into(),
            "Minute" => local.minute().into(),
            "Second" => local.second().into(),
            "Nanosecond" => local.nanosecond().into(),
            "YearDay" => local.ordinal().into(),
            "Unix" => self.instant.timestamp(),
            "UnixMilli" => self.instant.timestamp_millis(),
            "UnixMicro" => self.instant.timestamp_micros(),
            "UnixNano" => self.nanoseconds(),
            _ => return None,
        })
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

/// A duration as Go prints it: `1h2m3.5s`, `1.5ms`.
pub(super) fn duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let fraction = |value: u64, unit: u64| {
        let digits = unit.ilog10() as usize;
        let below = format!("{:0digits$}", value % unit);
        match below.trim_end_matches('0') {
            "" => (value / unit).to_string(),
            below => format!("{}.{below}", value / unit),
        }
    };
    match total {
        0 => "0s".into(),
        1..1_000 => format!("{sign}{total}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", fraction(total, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", fraction(total, 1_000_000)),
        _ => {
            let minutes = total / 60_000_000_000;
            let seconds = fraction(total % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// Nanoseconds between two instants, as many as fit.
pub(super) fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
    let between = to.signed_duration_since(from);
    between.num_nanoseconds().unwrap_or(if between < chrono::TimeDelta::zero() { i64::MIN } else { i64::MAX })
}

impl Time {
    /// The time so many nanoseconds later.
    pub(super) fn later(self, nanoseconds: i64) -> Self {
        let by = chrono::TimeDelta::nanoseconds(nanoseconds);
        Self { instant: self.instant.checked_add_signed(by).unwrap_or(self.instant), ..self }
    }
}

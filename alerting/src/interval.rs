//! Times at which routes are muted or active: times of day, weekdays, days of the month, months and years, in a time zone.
//!
//! Called by the configuration, which reads them, and by the pipeline, which asks whether an instant is inside.
//!
//! Invariants: within a field one range has to hold, between fields all; a field without ranges always holds. Ranges include both
//! ends, but a time of day its start alone.
//! Not here: names of intervals, and routes that use them.
//! Spec: <https://prometheus.io/docs/alerting/latest/configuration/#time_interval>

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Days and months as they are written; the first is 0 and 1.
const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// One set of conditions on an instant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Interval {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    times: Vec<TimeOfDay>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    weekdays: Vec<Span<Weekdays>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    days_of_month: Vec<Span<DaysOfMonth>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    months: Vec<Span<Months>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    years: Vec<Span<Years>>,
    #[serde(skip_serializing_if = "Zone::is_default")]
    location: Zone,
}

/// Minutes of a day, from the first to before the last.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WrittenTimes")]
struct TimeOfDay {
    start_minute: u32,
    end_minute: u32,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenTimes {
    start_time: String,
    end_time: String,
}

/// A range, and how it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span<K> {
    first: i32,
    last: i32,
    written: String,
    kind: std::marker::PhantomData<K>,
}

/// What a range is of: how its ends are read, and which may stand together.
trait Kind {
    fn read(text: &str) -> Result<i32, String>;

    fn check(first: i32, last: i32) -> Result<(), String> {
        if first <= last { Ok(()) } else { Err("the end is before the start".to_owned()) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Weekdays;
#[derive(Debug, Clone, PartialEq, Eq)]
struct DaysOfMonth;
#[derive(Debug, Clone, PartialEq, Eq)]
struct Months;
#[derive(Debug, Clone, PartialEq, Eq)]
struct Years;

/// A time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    /// That of the machine.
    Local,
    Named(chrono_tz::Tz),
}

impl Interval {
    /// Always, in a time zone.
    pub(crate) fn of(location: Zone) -> Self {
        Self { location, ..Self::default() }
    }

    /// Also on weekdays, if on others at all.
    pub(crate) fn add_weekdays(&mut self, written: &str) -> Result<(), String> {
        self.weekdays.push(Span::parse(written)?);
        Ok(())
    }

    /// Also on days of the month.
    pub(crate) fn add_days_of_month(&mut self, written: &str) -> Result<(), String> {
        self.days_of_month.push(Span::parse(written)?);
        Ok(())
    }

    /// Also in months.
    pub(crate) fn add_months(&mut self, written: &str) -> Result<(), String> {
        self.months.push(Span::parse(written)?);
        Ok(())
    }

    /// Is an instant inside?
    #[must_use]
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        let at = self.location.local(at);
        let minute = at.hour() * 60 + at.minute();
        let month_days = i32::from(at.num_days_in_month());
        let (day, month) = (at.day().cast_signed(), at.month().cast_signed());
        let weekday = at.weekday().num_days_from_sunday().cast_signed();
        holds(&self.times, |times| (times.start_minute..times.end_minute).contains(&minute))
            && holds(&self.weekdays, |days| days.has(weekday))
            && holds(&self.days_of_month, |days| days.has_day(day, month_days))
            && holds(&self.months, |months| months.has(month))
            && holds(&self.years, |years| years.has(at.year()))
    }
}

/// A field holds if one of its ranges does, or if it has none.
fn holds<T>(ranges: &[T], inside: impl Fn(&T) -> bool) -> bool {
    ranges.is_empty() || ranges.iter().any(inside)
}

impl<K> Span<K> {
    fn has(&self, value: i32) -> bool {
        (self.first..=self.last).contains(&value)
    }
}

impl Span<DaysOfMonth> {
    /// Negative ends count from the end of the month; what goes beyond the month ends with it.
    fn has_day(&self, day: i32, month_days: i32) -> bool {
        let from_start = |end: i32| if end < 0 { month_days + 1 + end } else { end };
        (from_start(self.first)..=from_start(self.last)).contains(&day)
    }
}

impl<K: Kind> Span<K> {
    fn parse(written: &str) -> Result<Self, String> {
        let lower = written.to_lowercase();
        let (first, last) = lower.split_once(':').unwrap_or((&lower, &lower));
        let (first, last) = (K::read(first)?, K::read(last)?);
        K::check(first, last).map_err(|reason| format!("`{written}`: {reason}"))?;
        Ok(Self { first, last, written: written.to_owned(), kind: std::marker::PhantomData })
    }
}

impl Kind for Weekdays {
    fn read(text: &str) -> Result<i32, String> {
        index(&WEEKDAYS, text).ok_or_else(|| format!("`{text}` is no weekday: write `monday` or `monday:friday`"))
    }
}

impl Kind for DaysOfMonth {
    fn read(text: &str) -> Result<i32, String> {
        let day = text.parse().ok().filter(|day| (-31..=31).contains(day) && *day != 0);
        day.ok_or_else(|| format!("`{text}` is no day of the month: write 1 to 31, or -1 to -31 from its end"))
    }

    fn check(first: i32, last: i32) -> Result<(), String> {
        if first < 0 && last > 0 {
            return Err("a range that starts from the end of the month must end from there too".to_owned());
        }
        // A range between both ends of the month must not be empty in the shortest one.
        let last_in_shortest = 28 + last;
        let mixed = first > 0 && last < 0;
        if first > last && !mixed || mixed && first > last_in_shortest {
            return Err("the end is always before the start".to_owned());
        }
        Ok(())
    }
}

impl Kind for Months {
    fn read(text: &str) -> Result<i32, String> {
        let named = index(&MONTHS, text).map(|at| at + 1);
        // Numbers that no month has match nothing and are accepted, as upstream does.
        named.or_else(|| text.parse().ok()).ok_or_else(|| format!("`{text}` is no month: write `january` or 1 to 12"))
    }
}

impl Kind for Years {
    fn read(text: &str) -> Result<i32, String> {
        text.parse().map_err(|_| format!("`{text}` is no year"))
    }
}

fn index(names: &[&str], text: &str) -> Option<i32> {
    names.iter().position(|name| *name == text).and_then(|at| i32::try_from(at).ok())
}

impl Zone {
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        match name {
            "Local" => Ok(Self::Local),
            "" | "UTC" => Ok(Self::default()),
            _ => name.parse().map(Self::Named).map_err(|_| {
                format!(
                    "`{name}` is no time zone: write a name of the IANA database like `Europe/Berlin`, `UTC` or `Local`"
                )
            }),
        }
    }

    pub(crate) fn local(self, at: DateTime<Utc>) -> NaiveDateTime {
        match self {
            Self::Local => at.with_timezone(&chrono::Local).naive_local(),
            Self::Named(zone) => at.with_timezone(&zone).naive_local(),
        }
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Local => "local time",
            Self::Named(zone) => zone.name(),
        }
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self::Named(chrono_tz::UTC)
    }
}

impl TryFrom<WrittenTimes> for TimeOfDay {
    type Error = String;

    fn try_from(written: WrittenTimes) -> Result<Self, String> {
        if written.start_time.is_empty() || written.end_time.is_empty() {
            return Err("a range of times needs `start_time` and `end_time`".to_owned());
        }
        let (start_minute, end_minute) = (minute(&written.start_time)?, minute(&written.end_time)?);
        if start_minute >= end_minute {
            return Err("`start_time` must be before `end_time`; write a range over midnight as two".to_owned());
        }
        Ok(Self { start_minute, end_minute })
    }
}

pub(crate) fn minute(text: &str) -> Result<u32, String> {
    let bad = || format!("`{text}` is no time of day: write `00:00` to `24:00`");
    let (hour, minute) = text.split_once(':').ok_or_else(bad)?;
    let number = |part: &str| {
        let two = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        two.then(|| part.parse::<u32>().ok()).flatten()
    };
    match (number(hour), number(minute)) {
        (Some(24), Some(0)) => Ok(24 * 60),
        (Some(hour @ 0..24), Some(minute @ 0..60)) => Ok(hour * 60 + minute),
        _ => Err(bad()),
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
        WrittenTimes { start_time: text(self.start_minute), end_time: text(self.end_minute) }.serialize(serializer)
    }
}

impl<'de, K: Kind> Deserialize<'de> for Span<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl<K> Serialize for Span<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Local => serializer.serialize_str("Local"),
            Self::Named(zone) => serializer.serialize_str(zone.name()),
        }
    }
}

#[cfg(test)]
mod tests;

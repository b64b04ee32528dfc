//! A time of each day, in a time zone: when a digest is due, or a question.
//!
//! Invariants: there is one in each day of the zone; where clocks are put forward over it, it is an hour later, and where they are put
//! back over it, it is the first of the two.

use chrono::{DateTime, Days, LocalResult, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use serde::{Deserialize, Serialize, Serializer};

use crate::interval::{Zone, minute};

/// A time of each day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Daily {
    /// Minute of the day, below 1,440.
    minute: u32,
    location: Zone,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    at: String,
    #[serde(skip_serializing_if = "Zone::is_default")]
    location: Zone,
}

impl Daily {
    /// A time of the day, `09:00`, of a zone.
    pub(crate) fn new(at: &str, location: Zone) -> Result<Self, String> {
        if at.is_empty() {
            return Err("it needs a time `at`, such as `09:00`".to_owned());
        }
        let minute = minute(at)?;
        if minute == 24 * 60 {
            return Err("a day begins at `00:00`: write that instead of `24:00`".to_owned());
        }
        Ok(Self { minute, location })
    }

    /// The first of its times after a time, milliseconds.
    #[must_use]
    pub fn next_ms(self, after_ms: i64) -> i64 {
        const DAY_MS: i64 = 86_400_000;
        let after = DateTime::from_timestamp_millis(after_ms).unwrap_or_default();
        let time = NaiveTime::from_hms_opt(self.minute / 60, self.minute % 60, 0).unwrap_or_default();
        let today = self.location.local(after).date();
        // Today's may have been, and a day is not always the same in both zones.
        let days = [today.checked_sub_days(Days::new(1)), Some(today), today.checked_add_days(Days::new(1))];
        let times = days.into_iter().flatten().map(|day| self.location.instant(day.and_time(time)).timestamp_millis());
        times.filter(|at_ms| *at_ms > after_ms).min().unwrap_or(after_ms + DAY_MS)
    }

    /// What clocks of its zone show at a time, milliseconds, and what the zone is called.
    pub(crate) fn shown(self, at_ms: i64) -> (NaiveDateTime, &'static str) {
        (self.location.local(DateTime::from_timestamp_millis(at_ms).unwrap_or_default()), self.location.name())
    }
}

impl Zone {
    /// The moment at which clocks of the zone show a time.
    fn instant(self, local: NaiveDateTime) -> DateTime<Utc> {
        match self {
            Self::Local => instant(&chrono::Local, local),
            Self::Named(zone) => instant(&zone, local),
        }
    }
}

fn instant<Z: TimeZone>(zone: &Z, local: NaiveDateTime) -> DateTime<Utc> {
    let found = |local: NaiveDateTime| match zone.from_local_datetime(&local) {
        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at.with_timezone(&Utc)),
        LocalResult::None => None,
    };
    found(local).or_else(|| found(local + TimeDelta::hours(1))).unwrap_or_else(|| local.and_utc())
}

impl TryFrom<Written> for Daily {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        Self::new(&written.at, written.location)
    }
}

impl Serialize for Daily {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let at = format!("{:02}:{:02}", self.minute / 60, self.minute % 60);
        Written { at, location: self.location }.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(at: &str, location: &str, after: &str) -> String {
        let daily = Daily::try_from(Written { at: at.to_owned(), location: Zone::parse(location).unwrap() }).unwrap();
        let after = DateTime::parse_from_rfc3339(after).unwrap().timestamp_millis();
        DateTime::from_timestamp_millis(daily.next_ms(after)).unwrap().to_rfc3339()
    }

    #[test]
    fn there_is_one_in_each_day_of_its_zone() {
        for (at, location, after, expected) in [
            ("09:00", "UTC", "2026-11-05T08:59:59Z", "2026-11-05T09:00:00+00:00"),
            ("09:00", "UTC", "2026-11-05T09:00:00Z", "2026-11-06T09:00:00+00:00"),
            ("09:00", "Europe/Berlin", "2026-11-05T07:00:00Z", "2026-11-05T08:00:00+00:00"),
            ("09:00", "Europe/Berlin", "2026-07-05T07:00:00Z", "2026-07-06T07:00:00+00:00"),
            // A day that has begun in the zone and not in UTC, and the other way round.
            ("00:30", "Pacific/Auckland", "2026-07-05T11:00:00Z", "2026-07-05T12:30:00+00:00"),
            ("23:30", "America/Los_Angeles", "2026-07-05T05:00:00Z", "2026-07-05T06:30:00+00:00"),
            // Clocks are put forward from 2 to 3, and back from 3 to 2.
            ("02:30", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:30:00+00:00"),
            ("02:30", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00+00:00"),
            ("02:30", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00+00:00"),
        ] {
            assert_eq!(next(at, location, after), expected, "{at} {location} after {after}");
        }
        assert!(Daily::try_from(Written::default()).is_err());
        assert!(Daily::try_from(Written { at: "24:00".into(), ..Written::default() }).is_err());
    }
}

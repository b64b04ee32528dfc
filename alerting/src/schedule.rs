//! Questions that are asked at their times, and whose answers receivers are told.
//!
//! Made of settings by the binary; the service asks with each step what is due. A question at one of its times is a [`Slot`], which is the
//! group of what is owed then: nothing else is kept of it, and whoever tells it asks the question again, as of the slot's time.
//! Invariants: a slot is told once, whatever ends between; of slots that were missed the last one is told, however late, and the others have a row
//! that says so; a schedule begins when it is first seen, and that is a row too, so that a slot missed before anything was told is known as
//! missed. Not here: what is asked, and what an answer looks like (`notify`).

use std::{fmt, sync::Arc};

use chrono::{DateTime, SecondsFormat};

use crate::{Daily, Interval, Labels, interval::Zone, rows::NotificationRow};

/// Days that are looked at for the next slot: the 29th of February may be eight years away.
const DAYS_MAX: usize = 8 * 366 + 1;
/// What groups of questions begin with; those of routes begin with a brace.
const PREFIX: &str = "query/";

/// Times of a schedule: one of the day, on some days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    daily: Daily,
    days: Interval,
    /// As people wrote them, in one line.
    written: String,
}

impl Times {
    /// Each day at a time, such as `08:00`, of a time zone, such as `Europe/Berlin`.
    ///
    /// # Errors
    /// Why that is none.
    pub fn new(at: &str, location: &str) -> Result<Self, String> {
        let zone = Zone::parse(location)?;
        let written = format!("{at} {}", if location.is_empty() { "UTC" } else { location });
        Ok(Self { daily: Daily::new(at, zone)?, days: Interval::of(zone), written })
    }

    /// Only on weekdays: `monday`, `monday:friday`. What is added is one more possibility.
    ///
    /// # Errors
    /// Why they are none.
    pub fn on_weekdays(mut self, written: &str) -> Result<Self, String> {
        self.days.add_weekdays(written)?;
        Ok(self.also(written))
    }

    /// Only on days of the month: `1`, `-1` for its last, `1:7`.
    ///
    /// # Errors
    /// Why they are none.
    pub fn on_days_of_month(mut self, written: &str) -> Result<Self, String> {
        self.days.add_days_of_month(written)?;
        Ok(self.also(&format!("day {written}")))
    }

    /// Only in months: `january`, `1:3`.
    ///
    /// # Errors
    /// Why they are none.
    pub fn in_months(mut self, written: &str) -> Result<Self, String> {
        self.days.add_months(written)?;
        Ok(self.also(&format!("month {written}")))
    }

    fn also(self, written: &str) -> Self {
        Self { written: format!("{} {written}", self.written), ..self }
    }

    /// The first of them after a time, milliseconds; none if there is no such day.
    #[must_use]
    pub fn next_ms(&self, after_ms: i64) -> Option<i64> {
        let mut at_ms = after_ms;
        (0..DAYS_MAX).find_map(|_| {
            at_ms = self.daily.next_ms(at_ms);
            let at = DateTime::from_timestamp_millis(at_ms)?;
            self.days.contains(at).then_some(at_ms)
        })
    }

    /// One of them as those read it who are told: `2026-11-23 08:00 Europe/Berlin`.
    #[must_use]
    pub fn shown(&self, at_ms: i64) -> String {
        let (at, zone) = self.daily.shown(at_ms);
        format!("{} {zone}", at.format("%Y-%m-%d %H:%M"))
    }

    /// The day that it is there then: `2026-11-23`.
    #[must_use]
    pub fn day(&self, at_ms: i64) -> String {
        self.daily.shown(at_ms).0.format("%Y-%m-%d").to_string()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// A question that is asked at times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Its name.
    pub query: Arc<str>,
    /// Who is told.
    pub receiver: Arc<str>,
    /// When.
    pub times: Times,
}

/// A question at one of its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The question's name.
    pub query: Arc<str>,
    /// The time, whole seconds in milliseconds.
    pub at_ms: i64,
}

impl Slot {
    /// The slot that a group is; none if it is one of alerts.
    #[must_use]
    pub fn of(group: &str) -> Option<Self> {
        let (query, at) = group.strip_prefix(PREFIX)?.rsplit_once('@')?;
        let at = DateTime::parse_from_rfc3339(at).ok()?;
        Some(Self { query: query.into(), at_ms: at.timestamp_millis() })
    }

    /// Its group.
    #[must_use]
    pub fn group(&self) -> Arc<str> {
        format!("{PREFIX}{}@{}", self.query, self.time()).into()
    }

    /// What people find it by.
    #[must_use]
    pub fn labels(&self) -> Labels {
        [("query", &*self.query), ("slot", &*self.time())].into_iter().collect()
    }

    /// Its time, in UTC.
    #[must_use]
    pub fn time(&self) -> String {
        DateTime::from_timestamp_millis(self.at_ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
    }
}

/// What a schedule has come to.
#[derive(Debug, Clone)]
pub struct Turn {
    /// The schedule.
    pub schedule: Schedule,
    /// The slot that is to be told.
    pub due: Option<Slot>,
    /// One of which nobody is told, and why.
    pub kept: Option<(Slot, String)>,
    next_ms: Option<i64>,
}

/// Schedules, and how far each has come.
#[derive(Debug, Default)]
pub struct Schedules(Vec<Waiting>);

#[derive(Debug)]
struct Waiting {
    schedule: Schedule,
    /// The first slot of which nothing is written down.
    next_ms: Option<i64>,
    /// Is nothing written down about it yet?
    is_new: bool,
}

impl Schedules {
    /// Goes on after the last slot of each question among rows. A schedule of other times than those of that row begins now.
    #[must_use]
    pub fn new(schedules: Vec<Schedule>, known: &[NotificationRow], now_ms: i64) -> Self {
        let of = |schedule: Schedule| {
            let slots = known.iter().filter_map(|row| Some((Slot::of(&row.key.group)?, row)));
            let last = slots.filter(|(slot, _)| slot.query == schedule.query).max_by_key(|(slot, _)| slot.at_ms);
            let last = last.filter(|(_, row)| row.by.first().is_some_and(|by| *by == schedule.times.written));
            let last_ms = last.map(|(slot, _)| slot.at_ms);
            Waiting { next_ms: schedule.times.next_ms(last_ms.unwrap_or(now_ms)), is_new: last_ms.is_none(), schedule }
        };
        Self(schedules.into_iter().map(of).collect())
    }

    /// What each has come to by a time, milliseconds, of those that have come to something. Nothing changes before it [went](Self::went).
    #[must_use]
    pub fn turns(&self, now_ms: i64) -> Vec<Turn> {
        let is_due = |waiting: &&Waiting| waiting.is_new || waiting.next_ms.is_some_and(|next_ms| next_ms <= now_ms);
        self.0.iter().filter(is_due).map(|waiting| waiting.turn(now_ms)).collect()
    }

    /// Goes on: what was due is on disk.
    pub fn went(&mut self, turns: Vec<Turn>) {
        for Turn { schedule, next_ms, .. } in turns {
            if let Some(waiting) = self.0.iter_mut().find(|waiting| waiting.schedule.query == schedule.query) {
                (waiting.next_ms, waiting.is_new) = (next_ms, false);
            }
        }
    }

    /// When something is due next, milliseconds.
    #[must_use]
    pub fn wakes_ms(&self) -> Option<i64> {
        self.0.iter().filter_map(|waiting| waiting.next_ms).min()
    }
}

impl Waiting {
    fn turn(&self, now_ms: i64) -> Turn {
        let Self { schedule, next_ms, is_new } = self;
        let slot = |at_ms: i64| Slot { query: Arc::clone(&schedule.query), at_ms };
        let (mut next_ms, mut due, mut missed, mut before) = (*next_ms, None, 0_u64, None);
        while let Some(at_ms) = next_ms.filter(|at_ms| *at_ms <= now_ms) {
            // Whoever was away for a week reads one answer, not seven; whoever was away on the first reads that of the month.
            if let Some(passed) = due.replace(slot(at_ms)) {
                (missed, before) = (missed + 1, Some(passed));
            }
            next_ms = schedule.times.next_ms(at_ms);
        }
        let kept = match (before, next_ms) {
            (Some(before), _) => Some((before, format!("missed: a later one is told slots={missed}"))),
            (None, Some(first_ms)) if *is_new && due.is_none() => Some((
                slot(now_ms.div_euclid(1_000) * 1_000),
                format!("the schedule begins first={}", slot(first_ms).time()),
            )),
            (None, _) => None,
        };
        Turn { schedule: schedule.clone(), due, kept, next_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(at: &str) -> i64 {
        DateTime::parse_from_rfc3339(at).unwrap().timestamp_millis()
    }

    #[test]
    fn times_are_of_the_days_that_are_named() {
        let berlin = || Times::new("08:00", "Europe/Berlin").unwrap();
        let mondays = berlin().on_weekdays("monday").unwrap();
        let months = Times::new("06:30", "").unwrap().on_days_of_month("1").unwrap().on_days_of_month("-1").unwrap();
        let leap = berlin().on_days_of_month("29").unwrap().in_months("february").unwrap();
        for (times, after, expected) in [
            (berlin(), "2026-11-23T07:00:00Z", "2026-11-24T07:00:00Z"),
            (mondays.clone(), "2026-11-23T06:59:59Z", "2026-11-23T07:00:00Z"),
            (mondays.clone(), "2026-11-23T07:00:00Z", "2026-11-30T07:00:00Z"),
            (mondays.clone(), "2026-07-01T00:00:00Z", "2026-07-06T06:00:00Z"),
            (months.clone(), "2026-11-23T00:00:00Z", "2026-11-30T06:30:00Z"),
            (months, "2026-11-30T06:30:00Z", "2026-12-01T06:30:00Z"),
            (leap, "2026-11-23T00:00:00Z", "2028-02-29T07:00:00Z"),
        ] {
            assert_eq!(times.next_ms(ms(after)), Some(ms(expected)), "{times} after {after}");
        }
        assert_eq!(mondays.to_string(), "08:00 Europe/Berlin monday");
        // The first of the month has begun there, and not in UTC.
        let first = Times::new("00:30", "Europe/Berlin").unwrap().on_days_of_month("1").unwrap();
        let at_ms = first.next_ms(ms("2026-11-23T00:00:00Z")).unwrap();
        assert_eq!(at_ms, ms("2026-11-30T23:30:00Z"));
        assert_eq!(
            (first.shown(at_ms), first.day(at_ms)),
            ("2026-12-01 00:30 Europe/Berlin".into(), "2026-12-01".into())
        );
        let never = berlin().on_days_of_month("31").unwrap().in_months("february").unwrap();
        assert_eq!(never.next_ms(0), None);
        for (wrong, why) in [
            (Times::new("8:00", ""), "no time of day"),
            (Times::new("24:00", ""), "`00:00`"),
            (Times::new("", ""), "needs a time `at`"),
            (Times::new("08:00", "Berlin"), "no time zone"),
            (berlin().on_weekdays("mon"), "no weekday"),
            (berlin().on_days_of_month("32"), "no day of the month"),
            (berlin().in_months("jan"), "no month"),
        ] {
            assert!(wrong.as_ref().is_err_and(|error| error.contains(why)), "{wrong:?}");
        }
    }

    #[test]
    fn a_slot_is_a_group() {
        let slot = Slot { query: "costs".into(), at_ms: ms("2026-11-23T07:00:00Z") };
        assert_eq!(&*slot.group(), "query/costs@2026-11-23T07:00:00Z");
        assert_eq!(Slot::of(&slot.group()), Some(slot.clone()));
        assert_eq!(slot.labels().get("slot"), "2026-11-23T07:00:00Z");
        assert_eq!(Slot::of(r#"{}:{query="query/costs@2026-11-23T07:00:00Z"}"#), None);
    }
}

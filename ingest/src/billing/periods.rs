//! How far the bill of each month is: open, over, final, or changed in spite of that.
//!
//! Called by loads, from time to time, and by those who close a month by hand; gives rows of `billing_period_changes`. A month becomes
//! final when every row has its invoice, where the provider says so, or when nothing about it changed for long enough.
//! Invariant: no step goes back to `Open`; what changes after `Closed` is `Reopened` first, so that nobody's report changes silently.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use arrow::{
    array::{AsArray, Date32Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    compute::cast,
    datatypes::{DataType, Date32Type, TimestampMicrosecondType},
};
use chrono::{Datelike, Months, NaiveDate};
use storage::Storage;

use crate::{Error, ErrorKind, Result, stored};

const DAY_US: i64 = 86_400_000_000;
/// A month that was closed and changed is final again when it was quiet for so long: refunds of one day come in one delivery.
const SETTLED_US: i64 = 2 * DAY_US;

/// How far a bill is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Its month is not over.
    Open,
    /// Its month is over, and charges may come.
    Closing,
    /// It is final.
    Closed,
    /// It was final, and changed.
    Reopened,
}

/// What is known of a month of an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Do all rows have their invoice? None if the provider's rows do not tell.
    pub is_final: Option<bool>,
    /// When an amount last changed, microseconds.
    pub changed_us: i64,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A load; did it change any amount?
    Load { changed: bool },
    /// Time passes.
    Tick,
    /// Somebody says that it is final.
    Close,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The export.
    pub export: String,
    /// First day of the month.
    pub month: NaiveDate,
    /// What it is now.
    pub status: Status,
    /// What made it so.
    pub reason: String,
}

impl Status {
    const ALL: [Self; 4] = [Self::Open, Self::Closing, Self::Closed, Self::Reopened];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::Closing => "Closing",
            Self::Closed => "Closed",
            Self::Reopened => "Reopened",
        }
    }

    /// Where a month goes from here, and why; none if it stays.
    fn step(before: Option<Self>, event: Event, facts: Facts, when: When) -> Option<(Self, String)> {
        let quiet_us = when.now_us - facts.changed_us;
        let is_quiet = quiet_us >= when.close_after_us;
        let quiet = || (Self::Closed, format!("no amount changed for {} days", when.close_after_us / DAY_US));
        let invoiced = || (Self::Closed, "every row has its invoice".to_owned());
        let step = match (before, event) {
            (Some(Self::Closed), Event::Load { changed: true }) => {
                (Self::Reopened, "amounts changed after it was final".to_owned())
            }
            (Some(Self::Closed), _) => return None,
            (_, Event::Close) => (Self::Closed, "closed by hand".to_owned()),
            (None | Some(Self::Open), _) if when.now_us < when.month_end_us => {
                (Self::Open, "the month is not over".to_owned())
            }
            (Some(Self::Reopened), _) if is_quiet => quiet(),
            (Some(Self::Reopened), _) if facts.is_final == Some(true) && quiet_us >= SETTLED_US => invoiced(),
            (Some(Self::Reopened), _) => return None,
            _ if facts.is_final == Some(true) => invoiced(),
            _ if is_quiet => quiet(),
            _ => (Self::Closing, "the month is over".to_owned()),
        };
        (before != Some(step.0)).then_some(step)
    }
}

/// Times by which a step is judged, microseconds.
#[derive(Debug, Clone, Copy)]
struct When {
    now_us: i64,
    month_end_us: i64,
    close_after_us: i64,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Status {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|status| status.name() == text);
        known.ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("no status of a billing period, status={text}")))
    }
}

/// Months of all exports.
#[derive(Debug)]
pub(super) struct Periods {
    now: BTreeMap<(String, NaiveDate), (i64, Status)>,
    /// For how long nothing may change until a month is final, microseconds.
    close_after_us: i64,
}

impl Periods {
    /// Reads what was written.
    ///
    /// # Errors
    /// `Corrupt` if it cannot be read.
    pub(super) async fn read(storage: &Storage, close_after_us: i64) -> Result<Self> {
        let mut periods = Self { now: BTreeMap::new(), close_after_us };
        let view = storage.view(schemas::billing_period_changes());
        let columns = ["changed_at", "export", "BillingMonth", "status"];
        stored::read_view(storage, &view, &columns, |rows| periods.take(rows)).await?;
        Ok(periods)
    }

    fn take(&mut self, rows: &RecordBatch) -> Result<()> {
        let column = |name: &str, data_type: &DataType| stored::column(rows, name, data_type);
        let (times, months) = (column("changed_at", &schemas::timestamp())?, column("BillingMonth", &schemas::date())?);
        let (exports, statuses) = (column("export", &DataType::Utf8)?, column("status", &DataType::Utf8)?);
        for row in 0..rows.num_rows() {
            let at_us = times.as_primitive::<TimestampMicrosecondType>().value(row);
            let month = Date32Type::to_naive_date_opt(months.as_primitive::<Date32Type>().value(row));
            let key = (exports.as_string::<i32>().value(row).to_owned(), month.unwrap_or_default());
            let status = statuses.as_string::<i32>().value(row).parse()?;
            let newest = self.now.entry(key).or_insert((at_us, status));
            if newest.0 <= at_us {
                *newest = (at_us, status);
            }
        }
        Ok(())
    }

    /// What a month is.
    pub(super) fn status(&self, export: &str, month: NaiveDate) -> Option<Status> {
        Some(self.now.get(&(export.to_owned(), month))?.1)
    }

    /// Months that may change by themselves.
    pub(super) fn unsettled(&self) -> Vec<(String, NaiveDate)> {
        let unsettled = self.now.iter().filter(|(_, (_, status))| *status != Status::Closed);
        unsettled.map(|(key, _)| key.clone()).collect()
    }

    /// What becomes of a month by an event; nothing is noted yet.
    pub(super) fn step(&self, of: (&str, NaiveDate), event: Event, facts: Facts, now_us: i64) -> Option<Change> {
        let (export, month) = of;
        let when = When { now_us, month_end_us: end_us(month), close_after_us: self.close_after_us };
        let (status, reason) = Status::step(self.status(export, month), event, facts, when)?;
        Some(Change { export: export.to_owned(), month, status, reason })
    }

    /// Notes changes that are written.
    pub(super) fn note(&mut self, changes: &[Change], now_us: i64) {
        for change in changes {
            self.now.insert((change.export.clone(), change.month), (now_us, change.status));
        }
    }
}

/// Rows of `billing_period_changes`.
pub(super) fn rows(changes: &[Change], now_us: i64) -> Result<RecordBatch> {
    let text = |of: &dyn Fn(&Change) -> &str| {
        cast(&StringArray::from_iter_values(changes.iter().map(of)), &schemas::dictionary())
    };
    let months: Date32Array = changes.iter().map(|change| Some(Date32Type::from_naive_date(change.month))).collect();
    let times = TimestampMicrosecondArray::from(vec![now_us; changes.len()]).with_timezone("UTC");
    let (exports, statuses) = (text(&|change| &change.export)?, text(&|change| change.status.name())?);
    let reasons = text(&|change| &change.reason)?;
    let schema = Arc::clone(&schemas::billing_period_changes().schema);
    Ok(RecordBatch::try_new(schema, vec![Arc::new(times), exports, Arc::new(months), statuses, reasons])?)
}

/// The end of a month, exclusive, microseconds.
fn end_us(month: NaiveDate) -> i64 {
    let next = month.with_day(1).unwrap_or(month).checked_add_months(Months::new(1));
    next.and_then(|day| day.and_hms_opt(0, 0, 0)).map_or(i64::MAX, |time| time.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: i64 = 15 * DAY_US;

    /// Takes a month, whose end is day 0, through events on days.
    fn way(events: &[(i64, Event, Facts)]) -> Vec<(i64, Status)> {
        let (mut status, mut way) = (None, Vec::new());
        for (day, event, facts) in events {
            let when = When { now_us: day * DAY_US, month_end_us: 0, close_after_us: AFTER };
            if let Some((next, _)) = Status::step(status, *event, *facts, when) {
                status = Some(next);
                way.push((*day, next));
            }
        }
        way
    }

    fn facts(is_final: Option<bool>, changed_day: i64) -> Facts {
        Facts { is_final, changed_us: changed_day * DAY_US }
    }

    #[test]
    fn a_month_is_final_when_every_row_has_its_invoice() {
        let (changed, same) = (Event::Load { changed: true }, Event::Load { changed: false });
        let open = facts(Some(false), -3);
        let all = [(-3, changed, open), (-2, changed, open), (0, Event::Tick, open), (1, changed, open)];
        let rest = [(3, changed, facts(Some(true), 3)), (4, same, facts(Some(true), 3))];
        let way = way(&[all.as_slice(), rest.as_slice()].concat());
        assert_eq!(way, [(-3, Status::Open), (0, Status::Closing), (3, Status::Closed)]);
    }

    #[test]
    fn a_month_without_invoices_is_final_when_it_was_quiet_for_long() {
        let never = facts(None, 2);
        let way = way(&[(2, Event::Load { changed: true }, never), (16, Event::Tick, never), (17, Event::Tick, never)]);
        assert_eq!(way, [(2, Status::Closing), (17, Status::Closed)]);
    }

    #[test]
    fn what_changes_after_it_was_final_is_reopened_and_settles_again() {
        let changed = Event::Load { changed: true };
        let way = way(&[
            (3, changed, facts(Some(true), 3)),
            (9, changed, facts(Some(true), 9)),
            (10, Event::Tick, facts(Some(true), 9)),
            (11, Event::Tick, facts(Some(true), 9)),
            (20, changed, facts(Some(false), 20)),
            (21, Event::Close, facts(Some(false), 20)),
            (22, Event::Load { changed: false }, facts(Some(true), 20)),
        ]);
        let (closed, reopened) = (Status::Closed, Status::Reopened);
        assert_eq!(way, [(3, closed), (9, reopened), (11, closed), (20, reopened), (21, closed)]);
    }

    #[test]
    fn a_month_ends_where_the_next_begins() {
        let month = |y, m| NaiveDate::from_ymd_opt(y, m, 1).unwrap();
        assert_eq!(end_us(month(2026, 12)), 1_798_761_600_000_000);
        assert_eq!(end_us(month(2024, 2)), 1_709_251_200_000_000);
    }
}

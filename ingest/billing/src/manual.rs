//! Lines written by hand, for what no provider exports: software, support, premises.
//!
//! Called by the reader for each record. A file has these columns, in any order and case, of which the last two may be missing, and no
//! others:
//!
//! | column | what it is |
//! |---|---|
//! | `date` or `period` | a day as `2026-11-01`, a month as `2026-11`, or `2026-11-01/2027-11-01`, the day after the last one behind the slash |
//! | `provider` or `vendor` | who sells and invoices |
//! | `service` | what is bought |
//! | `description` | what the line is for; may be empty |
//! | `amount` | what it costs, as digits with a point; less than zero for what is paid back; of a line that recurs, each time |
//! | `currency` | of the amount, such as `USD` |
//! | `every` | `month`, `quarter` or `year` for what recurs; empty for once |
//! | `until` | the last day or month, inclusive, in which a charge of what recurs may begin; needed with `every`, and only there |
//!
//! A line that recurs becomes a row for each period from its date on, at most 1,000: charged for the period, billed in the month in which
//! the period begins. A date that is a month makes whole months, and one that is a day begins each period on that day, or on the last of a
//! month that has no such day.
//!
//! The file says the amount once, and `x_DeliveredCost` has to add up to what the file says. So the first row is the line as delivered, and
//! those that follow are rows of ours: `derived`, nothing delivered, their cost in the four costs, and the adjustment `recurring-charge`,
//! whose sum is what recurring adds to the file. Delivered and adjusted is what is billed.
//!
//! Invariants: a line is billed in the month it begins in, and costs what is billed; of a line that recurs there are all rows or none.

mod recurring;
#[cfg(test)]
mod tests;

use self::recurring::At;
use crate::{
    columns::{Text, Time},
    detect::Format,
    error::Result,
    mapping::{self, Mapping},
    options::Options,
    record::{Column, Header, Record},
    row::{Adjustment, Fault, Row},
    sink::Sink,
    time,
};

/// How records of one header become rows.
#[derive(Debug)]
pub(crate) struct Manual {
    period: Column,
    provider: Column,
    service: Column,
    description: Column,
    amount: Column,
    currency: Column,
    every: Column,
    until: Column,
}

impl Manual {
    pub(crate) fn new(header: &Header, options: &Options) -> Result<Self> {
        let needed = |keys: &[&str]| mapping::needed(header, Format::Manual, keys, options);
        Ok(Self {
            period: needed(&["date", "period"])?,
            provider: needed(&["provider", "vendor"])?,
            service: needed(&["service"])?,
            description: needed(&["description"])?,
            amount: needed(&["amount"])?,
            currency: mapping::currency(header, &["currency"], options)?,
            every: header.column(&["every"]),
            until: header.column(&["until"]),
        })
    }
}

impl Mapping for Manual {
    fn map(&mut self, record: &Record<'_>, sink: &mut Sink) -> Result<(), Fault> {
        let mut row = Row::new();
        let cost = row.delivered(self.amount.of(record), &self.amount.name)?;
        row.costs(cost, cost, cost, cost);
        row.currency = self.currency.of(record);
        let provider = self.provider.of(record);
        for column in [Text::ProviderName, Text::PublisherName, Text::ServiceProviderName, Text::InvoiceIssuerName] {
            row.set(column, provider);
        }
        row.set(Text::ServiceName, self.service.of(record));
        row.set(Text::ServiceCategory, "Other");
        row.set(Text::ChargeDescription, self.description.of(record));
        row.set(Text::ChargeCategory, if cost < 0 { "Credit" } else { "Purchase" });
        row.set(Text::PricingCategory, "Standard");
        if !self.every.of(record).trim().is_empty() {
            return self.recur(record, &mut row, cost, sink);
        }
        if !self.until.of(record).trim().is_empty() {
            return Err(Fault::new(self.until.name.clone(), "only lines that recur have an end: looked for every"));
        }
        row.set(Text::ChargeFrequency, "One-Time");
        let period = self.period.of(record).trim();
        if !period.is_empty() {
            let bad = || {
                Fault::new(
                    self.period.name.clone(),
                    "no day, month or period, such as 2026-11-01, 2026-11 or 2026-11-01/2027-11-01",
                )
            };
            let (start, end) = self::period(period).ok_or_else(bad)?;
            row.time(Time::ChargePeriodStart, start);
            row.time(Time::ChargePeriodEnd, end);
        }
        sink.write(&mut row)
    }
}

impl Manual {
    /// Writes a row for each period: the first is the line, the others are ours.
    fn recur(&self, record: &Record<'_>, row: &mut Row<'_>, cost: i128, sink: &mut Sink) -> Result<(), Fault> {
        let text = |column: &Column| column.of(record).trim();
        let periods = recurring::periods(text(&self.period), text(&self.every), text(&self.until));
        let periods = periods.map_err(|(at, reason)| {
            let column = match at {
                At::Date => self.period.name.clone(),
                At::Every => self.every.name.clone(),
                // The file may lack the column that the line needs.
                At::Until if self.until.slot.is_none() => "until".to_owned(),
                At::Until => self.until.name.clone(),
            };
            Fault::new(column, reason)
        })?;
        row.set(Text::ChargeFrequency, "Recurring");
        for (at, (start, end)) in periods.into_iter().enumerate() {
            if at > 0 {
                row.derive(Adjustment::RecurringCharge, cost);
            }
            row.time(Time::ChargePeriodStart, start);
            row.time(Time::ChargePeriodEnd, end);
            // Stated for each, since a delivery that is of one month must not take all of them into it.
            row.times[Time::BillingPeriodStart as usize] = time::month_start(start);
            row.times[Time::BillingPeriodEnd as usize] = time::month_end(start);
            sink.write(row)?;
        }
        Ok(())
    }
}

/// Begin and end of a day, a month or a period.
fn period(text: &str) -> Option<(i64, i64)> {
    if let Some((start, end)) = text.split_once('/').filter(|(start, _)| start.contains('-')) {
        return time::micros(start).zip(time::micros(end)).filter(|(start, end)| start < end);
    }
    recurring::day_or_month(text)
}

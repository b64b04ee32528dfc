//! Lines written by hand, for what no provider exports: software, support, premises.
//!
//! Called by the reader for each record. A file has six columns, in any order and case, and no others:
//!
//! | column | what it is |
//! |---|---|
//! | `date` or `period` | a day as `2026-11-01`, a month as `2026-11`, or `2026-11-01/2027-11-01`, the day after the last one behind the slash |
//! | `provider` or `vendor` | who sells and invoices |
//! | `service` | what is bought |
//! | `description` | what the line is for; may be empty |
//! | `amount` | what it costs, as digits with a point; less than zero for what is paid back |
//! | `currency` | of the amount, such as `USD` |
//!
//! Invariants: a line is billed in the month it begins in, and costs what is billed. Not here: entries that recur.

#[cfg(test)]
mod tests;

use crate::{
    columns::{Text, Time},
    detect::Format,
    error::Result,
    mapping::{self, Mapping},
    options::Options,
    record::{Column, Header, Record},
    row::{Fault, Row},
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
        })
    }
}

impl Mapping for Manual {
    fn map(&mut self, record: &Record<'_>, sink: &mut Sink) -> Result<(), Fault> {
        let mut row = Row::new();
        let cost = row.delivered(self.amount.of(record), &self.amount.name)?;
        row.costs(cost, cost, cost, cost);
        row.currency = self.currency.of(record);
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
        let provider = self.provider.of(record);
        for column in [Text::ProviderName, Text::PublisherName, Text::ServiceProviderName, Text::InvoiceIssuerName] {
            row.set(column, provider);
        }
        row.set(Text::ServiceName, self.service.of(record));
        row.set(Text::ServiceCategory, "Other");
        row.set(Text::ChargeDescription, self.description.of(record));
        row.set(Text::ChargeCategory, if cost < 0 { "Credit" } else { "Purchase" });
        row.set(Text::ChargeFrequency, "One-Time");
        row.set(Text::PricingCategory, "Standard");
        sink.write(&mut row)
    }
}

/// Begin and end of a day, a month or a period.
fn period(text: &str) -> Option<(i64, i64)> {
    if let Some((start, end)) = text.split_once('/').filter(|(start, _)| start.contains('-')) {
        return time::micros(start).zip(time::micros(end)).filter(|(start, end)| start < end);
    }
    if text.len() == "2026-11".len()
        && let Some(start) = time::micros(&format!("{text}-01"))
    {
        return Some((start, time::month_end(start)?));
    }
    time::micros(text).map(|start| (start, time::next_day(start)))
}

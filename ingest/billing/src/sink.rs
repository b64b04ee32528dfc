//! Checks rows, counts them and adds them to the batch.
//!
//! Called by the mappings, a row at a time, and by the reader for what is no row. Here is what holds for every provider: what a row must
//! have, what stands in for what it lacks, and which months and times no bill is of: a month becomes a partition, and those of other
//! centuries would be deleted as soon as they are written, or never.
//!
//! Invariants: a row is counted exactly if it is in the batch. Not here: what a provider's columns mean.

use crate::{
    batch::Batch,
    columns::{Amount, Time},
    error::Result,
    options::{Assumed, Options},
    report::Tally,
    row::{Adjustment, Fault, Row},
    time,
};

/// Bytes of a currency: codes have three, virtual ones have names.
const CURRENCY_BYTES_MAX: usize = 32;

/// Where rows go.
pub(crate) struct Sink {
    pub batch: Batch,
    pub tally: Tally,
    pub assumed: Assumed,
    month: (i64, i32),
}

impl Sink {
    pub(crate) fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            batch: Batch::new(&options.scope, &options.file),
            tally: Tally::default(),
            assumed: Assumed::new(options)?,
            month: (i64::MAX, 0),
        })
    }

    /// Writes a row. A second row from one record passes if the first did, since both have the same currency and periods.
    pub(crate) fn write<'a>(&mut self, row: &mut Row<'a>) -> Result<(), Fault> {
        let billed =
            row.amounts[Amount::BilledCost as usize].ok_or_else(|| Fault::new("BilledCost", "the cost is missing"))?;
        self.fill_periods(row, billed)?;
        let is_assumed = row.currency.is_empty();
        let currency: &str = if is_assumed { &self.assumed.currency } else { row.currency };
        check_currency(currency)?;
        let start = row.times[Time::BillingPeriodStart as usize].unwrap_or_default();
        if self.month.0 != start {
            let month = time::month(start).ok_or_else(|| Fault::new("BillingPeriodStart", "no time"))?;
            self.month = (start, month);
        }
        let group = self.tally.group(currency, row.text(crate::columns::Text::ChargeCategory))?;
        if is_assumed {
            row.adjust(Adjustment::AssumedCurrency, billed);
        }
        self.tally.count(row, group, self.month.1);
        self.batch.push(row, currency, self.month.1, &self.assumed.texts);
        Ok(())
    }

    /// Counts a row that another part of the delivery has.
    pub(crate) fn leave_out(&mut self, code: &'static str, row: &Row<'_>) {
        let currency = if row.currency.is_empty() { &self.assumed.currency } else { row.currency };
        self.tally.leave_out(code, currency, row.delivered.value);
    }

    fn fill_periods(&self, row: &mut Row<'_>, billed: i128) -> Result<(), Fault> {
        for (column, us) in &self.assumed.times {
            row.times[*column as usize].get_or_insert(*us);
        }
        let [billing, billing_end, charge, _] = row.times;
        billing.map_or(Ok(()), check_billing)?;
        let charge = match (charge, billing) {
            (Some(charge), _) => charge,
            (None, Some(billing)) => {
                row.adjust(Adjustment::ChargePeriodOfBilling, billed);
                row.times[Time::ChargePeriodEnd as usize] = row.times[Time::ChargePeriodEnd as usize].or(billing_end);
                billing
            }
            (None, None) => return Err(Fault::new("ChargePeriodStart", "the time of the charge is missing")),
        };
        if !time::is_charge_time(charge) {
            return Err(Fault::new("ChargePeriodStart", time::out_of_range("charges are of 1990 to 2099", charge)));
        }
        row.time(Time::ChargePeriodStart, charge);
        if billing.is_none() {
            let month = time::month_start(charge).zip(time::month_end(charge));
            let (start, end) = month.ok_or_else(|| Fault::new("ChargePeriodStart", "no time"))?;
            check_billing(start)?;
            row.time(Time::BillingPeriodStart, start);
            row.times[Time::BillingPeriodEnd as usize] = billing_end.or(Some(end));
        }
        Ok(())
    }
}

fn check_billing(start: i64) -> Result<(), Fault> {
    let fault = || Fault::new("BillingPeriodStart", time::out_of_range("billing months are of 2000 to 2099", start));
    time::is_billing_time(start).then_some(()).ok_or_else(fault)
}

fn check_currency(currency: &str) -> Result<(), Fault> {
    if currency.is_empty() {
        return Err(Fault::new(
            "BillingCurrency",
            "the currency is missing: --assume BillingCurrency=USD says it for all that have none",
        ));
    }
    if currency.len() > CURRENCY_BYTES_MAX || !currency.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Err(Fault::new("BillingCurrency", "no currency, such as USD"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

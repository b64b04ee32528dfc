//! What became of a file: rows, rejects, sums to the last digit, what was changed and what was found odd.
//!
//! Filled by the sink and the reader, read by whoever loads the file, who compares the sums with the provider's and keeps them.
//!
//! Invariants: every row of the file is written, left out or rejected, and counted as such; sums are exact. Not here: the rows.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::Range,
};

use arrow::datatypes::i256;

use crate::{
    columns::{Amount, Text, Time},
    decimal::{self, EXACT_SCALE, LOST_DIGITS, MONEY_SCALE},
    row::{Adjustment, Fault, Row},
};

/// Rejects that are kept; the others are counted. A file of a wrong kind has millions of one kind.
pub const REJECTS_MAX: usize = 1_000;
/// Bytes of a rejected row that are kept.
pub const REJECT_TEXT_BYTES_MAX: usize = 64 << 10;
/// Currencies times categories in one file: a file with more has something else in these columns.
const GROUPS_MAX: usize = 1_000;

/// What became of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows of the file.
    pub rows_read: u64,
    /// Rows of the file that were written.
    pub rows_delivered: u64,
    /// Rows of ours, written beside them.
    pub rows_derived: u64,
    /// Rows that another part of the delivery has, by code and currency.
    pub left_out: BTreeMap<(&'static str, String), Counted>,
    /// Rows that could not be written.
    pub rows_rejected: u64,
    /// The first [`REJECTS_MAX`] of them.
    pub rejects: Vec<Reject>,
    /// Sums by currency and `ChargeCategory`.
    pub totals: BTreeMap<(String, String), Totals>,
    /// Values of money and quantities that had more decimals than are kept.
    pub values_rounded: u64,
    /// What was changed, by currency.
    pub adjustments: BTreeMap<(Adjustment, String), Counted>,
    /// Rows by billing month: its first day, days since the epoch.
    pub billing_months: BTreeMap<i32, u64>,
    /// From the earliest begin to the latest end of what is charged, microseconds since the epoch.
    pub charge_period_us: Option<Range<i64>>,
    /// Latest end of what was used, or its begin where there is no end, microseconds since the epoch: how far the bill has got. Fees of a
    /// month, and what is left of a commitment, are there days before the usage is.
    pub used_until_us: Option<i64>,
    /// What is odd about the file, by code.
    pub findings: BTreeMap<&'static str, Finding>,
    /// Rows of the file without an `InvoiceId`: none, if the bill is final.
    pub rows_without_invoice: u64,
}

/// Sums over rows of one currency and category, in units of 10⁻²².
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rows written.
    pub rows: u64,
    /// Of `x_DeliveredCost`.
    pub delivered: i256,
    /// What rounding took from it, in units of 10⁻⁶⁰.
    pub delivered_lost: i256,
    /// Of credits within lines, which are no part of `delivered` and are part of `billed`.
    pub credits: i256,
    /// Of `BilledCost`.
    pub billed: i256,
    /// Of `EffectiveCost`.
    pub effective: i256,
    /// Of `ListCost`.
    pub list: i256,
    /// Of `ContractedCost`.
    pub contracted: i256,
}

/// How many rows, and their sum in units of 10⁻²².
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Rows.
    pub rows: u64,
    /// Sum.
    pub sum: i256,
}

/// A row that could not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Line of the file in which it begins; in Parquet the number of the row; from 1.
    pub line: u64,
    /// Column that is wrong, as the file names it, if it is one.
    pub column: Option<String>,
    /// What is wrong.
    pub reason: String,
    /// The row as it is, up to [`REJECT_TEXT_BYTES_MAX`].
    pub text: String,
}

/// Something odd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// Rows it is odd in.
    pub rows: u64,
    /// What it was the first time.
    pub first: String,
}

impl Totals {
    /// The cost as the file has it, to its last digit.
    ///
    /// No file gets near the end of the range: that is 10¹⁶ whole units.
    #[must_use]
    pub fn delivered_text(&self) -> String {
        let unit = i256::from_i128(10_i128.pow(LOST_DIGITS));
        let exact = self.delivered.checked_mul(unit).and_then(|sum| sum.checked_add(self.delivered_lost));
        exact.map_or_else(|| decimal::text(self.delivered, MONEY_SCALE), |sum| decimal::text(sum, EXACT_SCALE))
    }

    fn add(&mut self, row: &Row<'_>) {
        let sum = |sum: &mut i256, value: i128| *sum = sum.wrapping_add(i256::from_i128(value));
        self.rows += 1;
        sum(&mut self.delivered, row.delivered.value);
        if row.delivered.lost != 0 {
            sum(&mut self.delivered_lost, row.delivered.lost);
        }
        if row.credits != 0 {
            sum(&mut self.credits, row.credits);
        }
        for (total, column) in [
            (&mut self.billed, Amount::BilledCost),
            (&mut self.effective, Amount::EffectiveCost),
            (&mut self.list, Amount::ListCost),
            (&mut self.contracted, Amount::ContractedCost),
        ] {
            if let Some(value) = row.amounts[column as usize] {
                sum(total, value);
            }
        }
    }
}

impl Report {
    /// Rows of the file that were left out.
    #[must_use]
    pub fn rows_left_out(&self) -> u64 {
        self.left_out.values().map(|counted| counted.rows).sum()
    }

    /// Is every row of the file on an invoice?
    #[must_use]
    pub fn is_invoiced(&self) -> bool {
        self.rows_delivered > 0 && self.rows_without_invoice == 0
    }
}

/// A report in the making. Neighbouring rows mostly count the same way, so the last group is looked at first.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    report: Report,
    groups: Vec<Group>,
    last: usize,
    month: i32,
    month_rows: u64,
}

#[derive(Debug)]
struct Group {
    currency: String,
    category: String,
    totals: Totals,
}

impl Tally {
    /// Is there room for the sums of a row?
    pub(crate) fn group(&mut self, currency: &str, category: &str) -> Result<usize, Fault> {
        let is_same = |group: &Group| group.currency == currency && group.category == category;
        if self.groups.get(self.last).is_some_and(is_same) {
            return Ok(self.last);
        }
        self.last = match self.groups.iter().position(is_same) {
            Some(at) => at,
            None if self.groups.len() >= GROUPS_MAX => {
                let reason = format!("more than {GROUPS_MAX} currencies and categories are in this file");
                return Err(Fault::new("BillingCurrency", reason));
            }
            None => {
                let (currency, category) = (currency.to_owned(), category.to_owned());
                self.groups.push(Group { currency, category, totals: Totals::default() });
                self.groups.len() - 1
            }
        };
        Ok(self.last)
    }

    /// Counts a row that is written.
    pub(crate) fn count(&mut self, row: &Row<'_>, group: usize, month: i32) {
        let Some(group) = self.groups.get_mut(group) else { return };
        group.totals.add(row);
        let report = &mut self.report;
        if row.is_derived {
            report.rows_derived += 1;
        } else {
            report.rows_delivered += 1;
            report.rows_without_invoice += u64::from(row.text(Text::InvoiceId).is_empty());
        }
        report.values_rounded += row.rounded;
        for (code, by) in &row.adjustments {
            let counted = report.adjustments.entry((*code, group.currency.clone())).or_default();
            counted.add(*by);
        }
        if let Some(start) = row.times[Time::ChargePeriodStart as usize] {
            let end = row.times[Time::ChargePeriodEnd as usize].unwrap_or(start);
            let known = report.charge_period_us.get_or_insert(start..end);
            (known.start, known.end) = (known.start.min(start), known.end.max(end));
            // Most rows are not the latest: only those that are have to be looked at.
            if report.used_until_us.is_none_or(|until| until < end) && is_usage(row) {
                report.used_until_us = Some(end);
            }
        }
        if self.month != month {
            self.close_month();
            self.month = month;
        }
        self.month_rows += 1;
    }

    pub(crate) fn read(&mut self) {
        self.report.rows_read += 1;
    }

    pub(crate) fn reject(&mut self, line: u64, column: Option<&str>, reason: &str, text: &str) {
        self.report.rows_rejected += 1;
        if self.report.rejects.len() < REJECTS_MAX {
            let text = text.get(..text.floor_char_boundary(REJECT_TEXT_BYTES_MAX)).unwrap_or_default().to_owned();
            let (column, reason) = (column.map(str::to_owned), reason.to_owned());
            self.report.rejects.push(Reject { line, column, reason, text });
        }
    }

    pub(crate) fn leave_out(&mut self, code: &'static str, currency: &str, cost: i128) {
        self.report.left_out.entry((code, currency.to_owned())).or_default().add(cost);
    }

    pub(crate) fn find(&mut self, code: &'static str, first: impl FnOnce() -> String) {
        let finding = match self.report.findings.entry(code) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Finding { rows: 0, first: first() }),
        };
        finding.rows += 1;
    }

    /// The report of what was counted so far.
    pub(crate) fn report(&mut self) -> Report {
        self.close_month();
        let mut report = self.report.clone();
        for group in &self.groups {
            if group.totals.rows > 0 {
                report.totals.insert((group.currency.clone(), group.category.clone()), group.totals.clone());
            }
        }
        report
    }

    fn close_month(&mut self) {
        if self.month_rows > 0 {
            *self.report.billing_months.entry(self.month).or_default() += self.month_rows;
            self.month_rows = 0;
        }
    }
}

/// Is it charged as it is used, and neither for a period nor for what nothing used?
fn is_usage(row: &Row<'_>) -> bool {
    row.text(Text::ChargeCategory) == "Usage"
        && !matches!(row.text(Text::ChargeFrequency), "Recurring" | "One-Time")
        && row.text(Text::CommitmentDiscountStatus) != "Unused"
}

impl Counted {
    fn add(&mut self, value: i128) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(i256::from_i128(value));
    }
}

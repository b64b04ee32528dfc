//! What a load changes against the one before: amounts by day, service and account.
//!
//! Called by loads with rows of `costs_daily`, those that are replaced and those that replace them; gives rows of `costs_changes`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    compute::cast,
    datatypes::{DataType, Date32Type, Decimal128Type, TimestampMicrosecondType, i256},
};
use hashbrown::HashSet;

use super::{money_text, too_large};
use crate::{Result, stored};

/// Columns of `costs_daily` that are read; the month is in the partition's name.
pub(super) const COLUMNS: [&str; 6] =
    ["ChargePeriodStart", "ServiceName", "SubAccountId", "BillingCurrency", "BilledCost", "EffectiveCost"];

/// Code of the finding that a bill is less by far.
const SHRANK: &str = "bill-shrank";

/// Is a row replaced, or does it replace others?
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    Old,
    New,
}

/// Billing month, begin of the day, service, account and currency.
type Key = (i32, i64, Option<Arc<str>>, Option<Arc<str>>, Arc<str>);

/// Amounts of both sides: billed and effective.
#[derive(Debug, Default)]
pub(super) struct Changes {
    sums: BTreeMap<Key, [[i128; 2]; 2]>,
    /// Each text once, however many sums it is in.
    texts: HashSet<Arc<str>>,
}

/// What changed in a currency, in units of 10⁻²².
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// Sums of a day, service and account that are others than before.
    pub sums: usize,
    /// By how much BilledCost changed in all.
    pub by: i128,
    /// What BilledCost was in all.
    pub old: i128,
}

impl Changed {
    /// Is BilledCost less by more than a fifth? A truncated delivery is more likely than so large a refund.
    #[must_use]
    pub fn is_less_by_far(&self) -> bool {
        self.old > 0 && self.by < -(self.old / 5)
    }
}

impl Changes {
    /// What looks as if not all of a bill is there: a code, and in words.
    pub(super) fn findings(by_currency: &BTreeMap<String, Changed>) -> impl Iterator<Item = (&'static str, String)> {
        by_currency.iter().filter(|(_, changed)| changed.is_less_by_far()).map(|(currency, changed)| {
            let [was, less] = [changed.old, -changed.by].map(|sum| money_text(i256::from_i128(sum)));
            (SHRANK, format!("the bill was {was} {currency}, and is {less} less: is all of it there?"))
        })
    }

    /// Adds rows of `costs_daily`, of a month if they do not say of which.
    pub(super) fn add(&mut self, rows: &RecordBatch, side: Side, month: Option<i32>) -> Result<()> {
        let text = |name: &str| stored::column(rows, name, &DataType::Utf8);
        let starts = stored::column(rows, COLUMNS[0], &schemas::timestamp())?;
        let starts = starts.as_primitive::<TimestampMicrosecondType>();
        let (services, accounts, currencies) = (text(COLUMNS[1])?, text(COLUMNS[2])?, text(COLUMNS[3])?);
        let amounts = [
            stored::column(rows, COLUMNS[4], &schemas::money())?,
            stored::column(rows, COLUMNS[5], &schemas::money())?,
        ];
        let months: ArrayRef = match month {
            Some(month) => Arc::new(Date32Array::from(vec![month; rows.num_rows()])),
            None => stored::column(rows, "x_BillingMonth", &schemas::date())?,
        };
        let months = months.as_primitive::<Date32Type>();
        for row in 0..rows.num_rows() {
            let currency = self.text(&currencies, row).unwrap_or_default();
            let (service, account) = (self.text(&services, row), self.text(&accounts, row));
            let key = (months.value(row), starts.value(row), service, account, currency);
            let sums = &mut self.sums.entry(key).or_default()[side as usize];
            for (sum, amounts) in sums.iter_mut().zip(&amounts) {
                let amounts = amounts.as_primitive::<Decimal128Type>();
                if amounts.is_valid(row) {
                    *sum = sum.checked_add(amounts.value(row)).ok_or_else(too_large)?;
                }
            }
        }
        Ok(())
    }

    fn text(&mut self, column: &ArrayRef, row: usize) -> Option<Arc<str>> {
        let column = column.as_string::<i32>();
        let text = column.is_valid(row).then(|| column.value(row))?;
        Some(Arc::clone(self.texts.get_or_insert_with(text, |text| text.into())))
    }

    /// Sums that differ.
    fn changed(&self) -> impl Iterator<Item = (&Key, &[[i128; 2]; 2])> {
        self.sums.iter().filter(|(_, [old, new])| old != new)
    }

    /// Billing months of which an amount differs: their first days.
    pub(super) fn months(&self) -> BTreeSet<i32> {
        self.changed().map(|(key, _)| key.0).collect()
    }

    /// By currency: how many amounts differ, and by how much all together.
    pub(super) fn by_currency(&self) -> BTreeMap<String, Changed> {
        let mut all: BTreeMap<String, Changed> = BTreeMap::new();
        for ((.., currency), [old, _]) in &self.sums {
            let change = all.entry(currency.as_ref().to_owned()).or_default();
            change.old = change.old.saturating_add(old[0]);
        }
        for ((.., currency), [old, new]) in self.changed() {
            let change = all.entry(currency.as_ref().to_owned()).or_default();
            change.sums += 1;
            change.by = change.by.saturating_add(new[0].saturating_sub(old[0]));
        }
        all.retain(|_, change| change.sums > 0);
        all
    }

    /// Rows of `costs_changes`.
    pub(super) fn rows(&self, scope: &str, revision: i64, now_us: i64) -> Result<RecordBatch> {
        let changed: Vec<_> = self.changed().collect();
        let text = |of: &dyn Fn(&Key) -> Option<&str>| -> Result<ArrayRef> {
            let texts: StringArray = changed.iter().map(|(key, _)| of(key)).collect();
            Ok(cast(&texts, &schemas::dictionary())?)
        };
        let amount = |side: Side, at: usize| -> ArrayRef {
            let amounts = Decimal128Array::from_iter_values(changed.iter().map(|(_, sides)| sides[side as usize][at]));
            Arc::new(amounts.with_data_type(schemas::money()))
        };
        let time = |times: Vec<i64>| Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"));
        let columns: Vec<ArrayRef> = vec![
            time(vec![now_us; changed.len()]),
            cast(&StringArray::from(vec![scope; changed.len()]), &schemas::dictionary())?,
            Arc::new(Int64Array::from(vec![revision; changed.len()])),
            Arc::new(changed.iter().map(|(key, _)| Some(key.0)).collect::<Date32Array>()),
            time(changed.iter().map(|(key, _)| key.1).collect()),
            text(&|key| key.2.as_deref())?,
            text(&|key| key.3.as_deref())?,
            text(&|key| Some(key.4.as_ref()))?,
            amount(Side::Old, 0),
            amount(Side::New, 0),
            amount(Side::Old, 1),
            amount(Side::New, 1),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&schemas::costs_changes().schema), columns)?)
    }
}

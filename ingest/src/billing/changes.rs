//! What a load changes against the one before: amounts by day, service and account.
//!
//! Called by loads with rows of `costs_daily`, those that are replaced and those that replace them; gives rows of `costs_changes`.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    },
    compute::cast,
    datatypes::{DataType, Decimal128Type, TimestampMicrosecondType},
};

use super::too_large;
use crate::{Result, stored};

/// Columns of `costs_daily` that are read.
pub(super) const COLUMNS: [&str; 6] =
    ["ChargePeriodStart", "ServiceName", "SubAccountId", "BillingCurrency", "BilledCost", "EffectiveCost"];

/// Is a row replaced, or does it replace others?
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    Old,
    New,
}

type Key = (i64, Option<String>, Option<String>, String);

/// Amounts of both sides: billed and effective.
#[derive(Debug, Default)]
pub(super) struct Changes(BTreeMap<Key, [[i128; 2]; 2]>);

impl Changes {
    /// Adds rows of `costs_daily`.
    pub(super) fn add(&mut self, rows: &RecordBatch, side: Side) -> Result<()> {
        let text = |name: &str| stored::column(rows, name, &DataType::Utf8);
        let starts = stored::column(rows, COLUMNS[0], &schemas::timestamp())?;
        let starts = starts.as_primitive::<TimestampMicrosecondType>();
        let (services, accounts, currencies) = (text(COLUMNS[1])?, text(COLUMNS[2])?, text(COLUMNS[3])?);
        let amounts = [
            stored::column(rows, COLUMNS[4], &schemas::money())?,
            stored::column(rows, COLUMNS[5], &schemas::money())?,
        ];
        let value = |column: &ArrayRef, row: usize| {
            let column = column.as_string::<i32>();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        for row in 0..rows.num_rows() {
            let currency = value(&currencies, row).unwrap_or_default();
            let key = (starts.value(row), value(&services, row), value(&accounts, row), currency);
            let sums = &mut self.0.entry(key).or_default()[side as usize];
            for (sum, amounts) in sums.iter_mut().zip(&amounts) {
                let amounts = amounts.as_primitive::<Decimal128Type>();
                if amounts.is_valid(row) {
                    *sum = sum.checked_add(amounts.value(row)).ok_or_else(too_large)?;
                }
            }
        }
        Ok(())
    }

    /// By currency: how many amounts differ, and by how much all together.
    pub(super) fn by_currency(&self) -> BTreeMap<String, (usize, i128)> {
        let mut all: BTreeMap<String, (usize, i128)> = BTreeMap::new();
        for ((.., currency), [old, new]) in self.0.iter().filter(|(_, [old, new])| old != new) {
            let (count, by) = all.entry(currency.clone()).or_default();
            *count += 1;
            *by = by.saturating_add(new[0].saturating_sub(old[0]));
        }
        all
    }

    /// Rows of `costs_changes`.
    pub(super) fn rows(&self, scope: &str, revision: i64, now_us: i64) -> Result<RecordBatch> {
        let changed: Vec<_> = self.0.iter().filter(|(_, [old, new])| old != new).collect();
        let text = |of: &dyn Fn(&Key) -> Option<String>| -> Result<ArrayRef> {
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
            text(&|_| Some(scope.to_owned()))?,
            Arc::new(Int64Array::from(vec![revision; changed.len()])),
            time(changed.iter().map(|(key, _)| key.0).collect()),
            text(&|key| key.1.clone())?,
            text(&|key| key.2.clone())?,
            text(&|key| Some(key.3.clone()))?,
            amount(Side::Old, 0),
            amount(Side::New, 0),
            amount(Side::Old, 1),
            amount(Side::New, 1),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&schemas::costs_changes().schema), columns)?)
    }
}

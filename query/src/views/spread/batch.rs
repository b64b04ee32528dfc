//! Cuts the charges of one batch, a bounded number of rows at a time.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Date32Array, PrimitiveArray, RecordBatch, TimestampMicrosecondArray, UInt64Array,
    },
    compute::take,
    datatypes::{ArrowPrimitiveType, DataType, Decimal128Type, SchemaRef, TimestampMicrosecondType},
};
use datafusion::common::Result;

use super::{DAY, DAY_US, END, SPREAD, START, amounts};
use crate::Error;

/// The rows of a batch that come of its charges, batch by batch.
pub(super) struct Cut {
    batch: RecordBatch,
    schema: SchemaRef,
    rows_max: usize,
    starts: TimestampMicrosecondArray,
    ends: TimestampMicrosecondArray,
    /// The next row.
    at: usize,
}

/// Where rows come from, and how long each is.
#[derive(Default)]
struct Parts {
    rows: Vec<u64>,
    times_us: Vec<Range<i64>>,
    /// Of charges that are cut: their row, and their parts' place.
    cut: Vec<(usize, Range<usize>)>,
}

impl Cut {
    pub(super) fn of(batch: RecordBatch, schema: SchemaRef, rows_max: usize) -> Result<Self> {
        let times = |name: &str| {
            let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt());
            column.cloned().ok_or_else(|| Error::wrong_columns(name))
        };
        let (starts, ends) = (times(START)?, times(END)?);
        Ok(Self { batch, schema, rows_max, starts, ends, at: 0 })
    }

    /// Parts of the next charges: at least of one, and then as many as there is room for.
    fn parts(&mut self) -> Parts {
        let mut parts = Parts::default();
        while self.at < self.batch.num_rows() {
            let (row, start) = (self.at, self.starts.value(self.at));
            let end = if self.ends.is_valid(row) { self.ends.value(row) } else { start };
            let days = amounts::days(&(start..end));
            let begin = parts.rows.len();
            if begin > 0 && begin + days.len().max(1) > self.rows_max {
                break;
            }
            self.at += 1;
            if days.is_empty() {
                parts.times_us.push(start..end);
            } else {
                parts.cut.push((row, begin..begin + days.len()));
                parts.times_us.extend(days);
            }
            parts.rows.resize(parts.times_us.len(), row as u64);
        }
        parts
    }

    fn rows(&self, parts: &Parts) -> Result<RecordBatch> {
        let rows = UInt64Array::from_iter_values(parts.rows.iter().copied());
        let is_whole = parts.cut.is_empty() && rows.len() == self.batch.num_rows();
        let column = |field: &arrow::datatypes::FieldRef| -> Result<ArrayRef> {
            let name = field.name().as_str();
            if name == DAY {
                let day = |times: &Range<i64>| i32::try_from(times.start.div_euclid(DAY_US)).unwrap_or(i32::MAX);
                return Ok(Arc::new(Date32Array::from_iter_values(parts.times_us.iter().map(day))));
            }
            let values = self.batch.column_by_name(name).ok_or_else(|| Error::wrong_columns(name))?;
            if is_whole {
                return Ok(Arc::clone(values));
            }
            let repeated = take(values, &rows, None)?;
            Ok(match name {
                START => replace::<TimestampMicrosecondType>(&repeated, parts, |part, _| parts.times_us[part].start),
                END => replace::<TimestampMicrosecondType>(&repeated, parts, |part, _| parts.times_us[part].end),
                name if SPREAD.contains(&name) => spread(&repeated, parts),
                _ => repeated,
            })
        };
        let columns = self.schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

impl Iterator for Cut {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.batch.num_rows() {
            return None;
        }
        let parts = self.parts();
        Some(self.rows(&parts))
    }
}

/// A column with other values in the parts of charges that are cut.
fn replace<T: ArrowPrimitiveType>(
    column: &ArrayRef,
    parts: &Parts,
    value: impl Fn(usize, T::Native) -> T::Native,
) -> ArrayRef {
    let Some(array) = column.as_primitive_opt::<T>() else { return Arc::clone(column) };
    let mut values = array.values().to_vec();
    for part in parts.cut.iter().flat_map(|(_, range)| range.clone()) {
        values[part] = value(part, values[part]);
    }
    let array = PrimitiveArray::<T>::new(values.into(), array.nulls().cloned());
    Arc::new(array.with_data_type(column.data_type().clone()))
}

/// Amounts with each charge's spread over its parts.
fn spread(column: &ArrayRef, parts: &Parts) -> ArrayRef {
    let Some(array) = column.as_primitive_opt::<Decimal128Type>() else { return Arc::clone(column) };
    let mut shares = vec![0; array.len()];
    let (mut lengths, mut split) = (Vec::new(), Vec::new());
    for (_, range) in &parts.cut {
        lengths.clear();
        lengths.extend(parts.times_us[range.clone()].iter().map(|times| times.end - times.start));
        split.clear();
        amounts::split(array.value(range.start), &lengths, &mut split);
        shares[range.clone()].copy_from_slice(&split);
    }
    debug_assert!(matches!(column.data_type(), DataType::Decimal128(..)), "amounts are decimals");
    replace::<Decimal128Type>(column, parts, |part, _| shares[part])
}

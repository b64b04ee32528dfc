//! Columns in the making: texts, numbers and maps.
//!
//! Filled by the batch, a row after the other. Rows that have nothing in a column are skipped until one has, so that columns that a file
//! does not have cost nothing.

use std::{hash::BuildHasher, ops::Range, sync::Arc};

use arrow::{
    array::{
        ArrayRef, ArrowPrimitiveType, DictionaryArray, Int32Array, MapArray, PrimitiveArray, StringArray, StructArray,
        new_null_array,
    },
    buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{ArrowNativeType, DataType, Decimal128Type, Field, Fields, TimestampMicrosecondType},
};
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::error::{Error, ErrorKind, Result};

/// A column of texts of which there are few.
#[derive(Default)]
pub(super) struct Dictionary {
    /// Number of the value of each row, less than zero if it has none. Rows at the end that have none are not there yet.
    keys: Vec<i32>,
    values: String,
    ends: Vec<i32>,
    table: HashTable<i32>,
    hasher: DefaultHashBuilder,
    /// Number and place of the value of the last row that has one.
    last: (i32, Range<usize>),
}

impl Dictionary {
    pub(super) fn push(&mut self, row: usize, text: &str) {
        if text.is_empty() {
            return;
        }
        if self.keys.len() < row {
            self.keys.resize(row, -1);
        }
        if self.values.as_bytes().get(self.last.1.clone()) != Some(text.as_bytes()) {
            let key = self.key(text);
            self.last = (key, place(&self.ends, key));
        }
        self.keys.push(self.last.0);
    }

    fn key(&mut self, text: &str) -> i32 {
        let Self { values, ends, table, hasher, .. } = self;
        let hash = hasher.hash_one(text);
        if let Some(key) = table.find(hash, |key| value(values, ends, *key) == text) {
            return *key;
        }
        let key = number(ends.len());
        values.push_str(text);
        ends.push(number(values.len()));
        table.insert_unique(hash, key, |key| hasher.hash_one(value(values, ends, *key)));
        key
    }

    pub(super) fn take(&mut self, rows: usize) -> Result<ArrayRef> {
        if self.keys.is_empty() {
            return Ok(new_null_array(&schemas::dictionary(), rows));
        }
        self.keys.resize(rows, -1);
        let nulls = nulls(&self.keys, |key| *key >= 0);
        let keys: Vec<i32> = renew(&mut self.keys).into_iter().map(|key| key.max(0)).collect();
        let ends = std::iter::once(0).chain(renew(&mut self.ends)).collect::<Vec<_>>();
        let values = StringArray::try_new(
            OffsetBuffer::new(ScalarBuffer::from(ends)),
            Buffer::from_vec(renew_text(&mut self.values).into_bytes()),
            None,
        )?;
        self.table.clear();
        self.last = (0, 0..0);
        let keys = Int32Array::try_new(ScalarBuffer::from(keys), nulls)?;
        Ok(Arc::new(DictionaryArray::try_new(keys, Arc::new(values))?))
    }
}

/// Text of a number of a dictionary.
fn value<'a>(values: &'a str, ends: &[i32], key: i32) -> &'a str {
    values.get(place(ends, key)).unwrap_or_default()
}

/// Place of that text.
fn place(ends: &[i32], key: i32) -> Range<usize> {
    let key = usize::try_from(key).unwrap_or_default();
    let end = |at: usize| ends.get(at).and_then(|end| usize::try_from(*end).ok()).unwrap_or_default();
    key.checked_sub(1).map_or(0, end)..end(key)
}

/// Batches are bounded far below the range.
fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A column of numbers of which many rows have none.
#[derive(Default)]
pub(super) struct Numbers<T> {
    /// The number of each row, [`Number::NONE`] if it has none. Rows at the end that have none are not there yet.
    values: Vec<T>,
}

/// A number that can be in a column.
pub(super) trait Number: Copy + Default + PartialEq {
    /// A value that none is: it has more digits than a decimal, and is before any year.
    const NONE: Self;
}

impl Number for i128 {
    const NONE: Self = Self::MIN;
}

impl Number for i64 {
    const NONE: Self = Self::MIN;
}

impl<T: Number + ArrowNativeType> Numbers<T> {
    pub(super) fn push(&mut self, row: usize, value: Option<T>) {
        let Some(value) = value else { return };
        if self.values.len() < row {
            self.values.resize(row, T::NONE);
        }
        self.values.push(value);
    }

    fn take<A: ArrowPrimitiveType<Native = T>>(&mut self, rows: usize) -> Result<PrimitiveArray<A>> {
        if self.values.is_empty() {
            return Ok(PrimitiveArray::new_null(rows));
        }
        self.values.resize(rows, T::NONE);
        let mut values = renew(&mut self.values);
        let nulls = nulls(&values, |value| *value != T::NONE);
        if nulls.is_some() {
            values.iter_mut().filter(|value| **value == T::NONE).for_each(|value| *value = T::default());
        }
        Ok(PrimitiveArray::try_new(ScalarBuffer::from(values), nulls)?)
    }
}

impl Numbers<i128> {
    pub(super) fn take_decimals(&mut self, rows: usize, scale: u32) -> Result<ArrayRef> {
        let scale = i8::try_from(scale).unwrap_or_default();
        Ok(Arc::new(self.take::<Decimal128Type>(rows)?.with_precision_and_scale(38, scale)?))
    }
}

impl Numbers<i64> {
    pub(super) fn take_times(&mut self, rows: usize) -> Result<ArrayRef> {
        Ok(Arc::new(self.take::<TimestampMicrosecondType>(rows)?.with_timezone("UTC")))
    }
}

/// A column of maps of texts.
#[derive(Default)]
pub(super) struct Map {
    keys: String,
    key_ends: Vec<i32>,
    values: String,
    value_ends: Vec<i32>,
    row_ends: Vec<i32>,
}

impl Map {
    pub(super) fn push(&mut self, entries: &[(&str, &str)]) {
        for (key, value) in entries {
            self.keys.push_str(key);
            self.key_ends.push(number(self.keys.len()));
            self.values.push_str(value);
            self.value_ends.push(number(self.values.len()));
        }
        self.row_ends.push(number(self.key_ends.len()));
    }

    pub(super) fn take(&mut self, entries: &Arc<Field>) -> Result<ArrayRef> {
        let DataType::Struct(fields) = entries.data_type() else {
            return Err(Error::new(ErrorKind::Internal, format!("entries of a map are no struct: {entries}")));
        };
        let keys = strings(renew_text(&mut self.keys), renew(&mut self.key_ends))?;
        let values = strings(renew_text(&mut self.values), renew(&mut self.value_ends))?;
        let pairs = StructArray::try_new(Fields::clone(fields), vec![Arc::new(keys), Arc::new(values)], None)?;
        let ends = offsets(renew(&mut self.row_ends));
        Ok(Arc::new(MapArray::try_new(Arc::clone(entries), ends, pairs, None, false)?))
    }
}

/// Which values are some; none if all are.
fn nulls<T>(values: &[T], is_some: impl Fn(&T) -> bool) -> Option<NullBuffer> {
    if values.iter().all(&is_some) {
        return None;
    }
    Some(NullBuffer::new(BooleanBuffer::collect_bool(values.len(), |at| values.get(at).is_some_and(&is_some))))
}

/// Takes what was collected. What follows will be about as large, so it need not grow step by step.
fn renew<T>(all: &mut Vec<T>) -> Vec<T> {
    let next = Vec::with_capacity(all.len() + all.len() / 8);
    std::mem::replace(all, next)
}

/// The same of text.
fn renew_text(all: &mut String) -> String {
    let next = String::with_capacity(all.len() + all.len() / 8);
    std::mem::replace(all, next)
}

fn strings(text: String, ends: Vec<i32>) -> Result<StringArray> {
    Ok(StringArray::try_new(offsets(ends), Buffer::from_vec(text.into_bytes()), None)?)
}

fn offsets(ends: Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(std::iter::once(0).chain(ends).collect::<Vec<_>>()))
}

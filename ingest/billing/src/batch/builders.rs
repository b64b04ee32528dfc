//! Columns in the making: texts, numbers and maps.
//!
//! Filled by the batch, a row after the other. Rows that have nothing in a column are skipped until one has, so that columns that a file
//! does not have cost nothing.

use std::{hash::BuildHasher, ops::Range, sync::Arc};

use arrow::{
    array::{
        ArrayRef, ArrowPrimitiveType, DictionaryArray, Int32Array, MapArray, PrimitiveArray, StringArray, StructArray,
    },
    buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{ArrowNativeType, DataType, Decimal128Type, Field, Fields, TimestampMicrosecondType},
};
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::{
    error::{Error, ErrorKind, Result},
    extras::Extras,
    record::is_same,
};

/// A column of texts of which there are few.
pub(super) struct Dictionary {
    /// Number of the value of each row, less than zero if it has none. Rows at the end that have none are not there yet.
    keys: Vec<i32>,
    /// Has a row none that has one behind it?
    has_holes: bool,
    values: String,
    /// Where each value ends, behind a zero.
    ends: Vec<i32>,
    table: HashTable<i32>,
    hasher: DefaultHashBuilder,
    /// Number and text of the value of the last row that has one.
    last: i32,
    last_text: String,
}

impl Default for Dictionary {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            has_holes: false,
            values: String::new(),
            ends: vec![0],
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            last: 0,
            last_text: String::new(),
        }
    }
}

impl Dictionary {
    pub(super) fn push(&mut self, row: usize, text: &str) {
        if text.is_empty() {
            return;
        }
        if !is_same(self.last_text.as_bytes(), text.as_bytes()) {
            self.change(text);
        }
        if self.keys.len() != row {
            self.has_holes = true;
            self.keys.resize(row, -1);
        }
        self.keys.push(self.last);
    }

    fn change(&mut self, text: &str) {
        self.last = self.key(text);
        self.last_text.clear();
        self.last_text.push_str(text);
    }

    fn key(&mut self, text: &str) -> i32 {
        let Self { values, ends, table, hasher, .. } = self;
        let hash = hasher.hash_one(text);
        if let Some(key) = table.find(hash, |key| value(values, ends, *key) == text) {
            return *key;
        }
        let key = number(ends.len() - 1);
        values.push_str(text);
        ends.push(number(values.len()));
        table.insert_unique(hash, key, |key| hasher.hash_one(value(values, ends, *key)));
        key
    }

    /// The column; none if no row has a text.
    pub(super) fn take(&mut self, rows: usize) -> Result<Option<ArrayRef>> {
        if self.keys.is_empty() {
            return Ok(None);
        }
        self.has_holes |= self.keys.len() < rows;
        self.keys.resize(rows, -1);
        let mut keys = renew(&mut self.keys);
        let mut holes = None;
        if std::mem::take(&mut self.has_holes) {
            holes = nulls(&keys, |key| *key >= 0);
            keys.iter_mut().for_each(|key| *key = (*key).max(0));
        }
        let values = strings(&mut self.values, &mut self.ends)?;
        self.table.clear();
        self.last_text.clear();
        let keys = Int32Array::try_new(ScalarBuffer::from(keys), holes)?;
        Ok(Some(Arc::new(DictionaryArray::try_new(keys, Arc::new(values))?)))
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
    end(key)..end(key + 1)
}

/// Adds some texts once more.
fn repeat(text: &mut String, ends: &mut Vec<i32>, which: Range<usize>) {
    let end = |at: usize| ends.get(at).copied().unwrap_or_default();
    let bytes = index(end(which.start))..index(end(which.end));
    let (further, first) = (number(text.len() - bytes.start), ends.len());
    text.extend_from_within(bytes);
    ends.extend_from_within(which.start + 1..which.end + 1);
    ends.iter_mut().skip(first).for_each(|end| *end = end.wrapping_add(further));
}

fn index(end: i32) -> usize {
    usize::try_from(end).unwrap_or_default()
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

    /// The column; none if no row has a number.
    fn take<A: ArrowPrimitiveType<Native = T>>(&mut self, rows: usize) -> Result<Option<PrimitiveArray<A>>> {
        if self.values.is_empty() {
            return Ok(None);
        }
        self.values.resize(rows, T::NONE);
        let mut values = renew(&mut self.values);
        let nulls = nulls(&values, |value| *value != T::NONE);
        if nulls.is_some() {
            values.iter_mut().filter(|value| **value == T::NONE).for_each(|value| *value = T::default());
        }
        Ok(Some(PrimitiveArray::try_new(ScalarBuffer::from(values), nulls)?))
    }
}

impl Numbers<i128> {
    pub(super) fn take_decimals(&mut self, rows: usize, scale: u32) -> Result<Option<ArrayRef>> {
        let scale = i8::try_from(scale).unwrap_or_default();
        let Some(column) = self.take::<Decimal128Type>(rows)? else { return Ok(None) };
        Ok(Some(Arc::new(column.with_precision_and_scale(38, scale)?)))
    }
}

impl Numbers<i64> {
    pub(super) fn take_times(&mut self, rows: usize) -> Result<Option<ArrayRef>> {
        let column = self.take::<TimestampMicrosecondType>(rows)?;
        Ok(column.map(|column| Arc::new(column.with_timezone("UTC")) as ArrayRef))
    }
}

/// A column of maps of texts.
pub(super) struct Map {
    keys: String,
    /// Where each key, value and row ends, behind a zero.
    key_ends: Vec<i32>,
    values: String,
    value_ends: Vec<i32>,
    row_ends: Vec<i32>,
    /// That of the last row, nothing if it has none.
    version: u64,
}

impl Default for Map {
    fn default() -> Self {
        let (key_ends, value_ends, row_ends) = (vec![0], vec![0], vec![0]);
        Self { keys: String::new(), key_ends, values: String::new(), value_ends, row_ends, version: 0 }
    }
}

impl Map {
    pub(super) fn push(&mut self, entries: &[(&str, &str)]) {
        for (key, value) in entries {
            self.entry(key, value);
        }
        self.row_ends.push(number(self.key_ends.len() - 1));
    }

    /// Adds the columns without a place and entries beside them, both by key; of two with one key the column stays.
    pub(super) fn push_kept(&mut self, kept: Option<&Extras>, entries: &[(&str, &str)]) {
        let version = kept.filter(|_| entries.is_empty()).map_or(0, Extras::version);
        if version != 0 && version == self.version {
            self.repeat();
            return;
        }
        self.version = version;
        let mut rest = entries.iter().peekable();
        for (key, value) in kept.into_iter().flat_map(Extras::entries) {
            while let Some((before, text)) = rest.next_if(|entry| entry.0 <= key) {
                if *before != key {
                    self.entry(before, text);
                }
            }
            self.entry(key, value);
        }
        rest.for_each(|(key, value)| self.entry(key, value));
        self.row_ends.push(number(self.key_ends.len() - 1));
    }

    /// Forgets what the last row is.
    pub(super) fn forget(&mut self) {
        self.version = 0;
    }

    fn entry(&mut self, key: &str, value: &str) {
        self.keys.push_str(key);
        self.key_ends.push(number(self.keys.len()));
        self.values.push_str(value);
        self.value_ends.push(number(self.values.len()));
    }

    /// Adds the last row once more.
    fn repeat(&mut self) {
        let [.., start, end] = self.row_ends.as_slice() else { return };
        let entries = index(*start)..index(*end);
        repeat(&mut self.keys, &mut self.key_ends, entries.clone());
        repeat(&mut self.values, &mut self.value_ends, entries);
        self.row_ends.push(number(self.key_ends.len() - 1));
    }

    pub(super) fn take(&mut self, entries: &Arc<Field>) -> Result<ArrayRef> {
        let DataType::Struct(fields) = entries.data_type() else {
            return Err(Error::new(ErrorKind::Internal, format!("entries of a map are no struct: {entries}")));
        };
        let keys = strings(&mut self.keys, &mut self.key_ends)?;
        let values = strings(&mut self.values, &mut self.value_ends)?;
        let pairs = StructArray::try_new(Fields::clone(fields), vec![Arc::new(keys), Arc::new(values)], None)?;
        let ends = offsets(&mut self.row_ends);
        self.version = 0;
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

/// Takes texts that end at some places.
fn strings(text: &mut String, ends: &mut Vec<i32>) -> Result<StringArray> {
    let next = String::with_capacity(text.len() + text.len() / 8);
    let text = std::mem::replace(text, next);
    Ok(StringArray::try_new(offsets(ends), Buffer::from_vec(text.into_bytes()), None)?)
}

/// Takes the places, and begins anew with the zero in front of them.
fn offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let all = renew(ends);
    ends.push(0);
    OffsetBuffer::new(ScalarBuffer::from(all))
}

//! Sums up rows of `costs` by time and a few columns, for `costs_daily` and `costs_hourly`.
//!
//! Called by loads with every batch that they write. Texts become numbers, per column, so that a row is a few words to hash. Invariants:
//! sums are exact, or the load fails; what is null in all rows of a group is null; a group is bounded in number, and when there are too many
//! those so far are handed on, so that groups may come twice with parts of their sums. Not here: how tags are found (`tags`).

use std::{mem, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Date32Array, Decimal128Array, DictionaryArray, Int32Array, Int64Array, RecordBatch,
        StringArray, TimestampMicrosecondArray,
    },
    datatypes::{Date32Type, Decimal128Type, Int32Type, TimestampMicrosecondType},
};
use hashbrown::HashMap;
use schemas::{Dataset, MANDATORY_TAGS, SUMMARY_AMOUNTS, SUMMARY_COLUMNS};

use super::too_large;
use crate::{Error, ErrorKind, Result};

/// Groups held at most: at some 250 bytes each they take 64 MB.
const GROUPS_MAX: usize = 256 << 10;
/// No text.
const NULL: u32 = 0;
const COLUMNS: usize = SUMMARY_COLUMNS.len();
const AMOUNTS: usize = SUMMARY_AMOUNTS.len();
const TAGS_FROM: usize = COLUMNS - MANDATORY_TAGS;

/// Sums of one granularity.
pub(super) struct Summary {
    dataset: &'static Dataset,
    step_us: i64,
    scope: String,
    texts: Vec<Texts>,
    groups: HashMap<Key, Group>,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    start_us: i64,
    month: i32,
    columns: [u32; COLUMNS],
}

#[derive(Default)]
struct Group {
    sums: [Option<i128>; AMOUNTS],
    rows: i64,
}

/// Texts of a column by number, from 1.
#[derive(Default)]
struct Texts {
    numbers: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
}

impl Texts {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.numbers.insert(text, number);
        number
    }

    /// Numbers of a batch's rows.
    fn numbers_of(&mut self, column: &DictionaryArray<Int32Type>) -> Vec<u32> {
        let values = column.values().as_string::<i32>();
        let numbers: Vec<u32> = values.iter().map(|text| text.map_or(NULL, |text| self.number(text))).collect();
        let number = |key: Option<i32>| {
            let key = key.and_then(|key| usize::try_from(key).ok());
            key.and_then(|key| numbers.get(key)).copied().unwrap_or(NULL)
        };
        column.keys().iter().map(number).collect()
    }
}

impl Summary {
    pub(super) fn new(dataset: &'static Dataset, step_us: i64, scope: &str) -> Self {
        let texts = SUMMARY_COLUMNS.iter().map(|_| Texts::default()).collect();
        Self { dataset, step_us, scope: scope.to_owned(), texts, groups: HashMap::new() }
    }

    /// Adds rows of `costs`, whose mandatory tags are those found by rules of a version; gives groups that there is no room for any more.
    ///
    /// # Errors
    /// `Invalid` if a sum has more digits than there are.
    pub(super) fn add(
        &mut self,
        rows: &RecordBatch,
        tags: &[DictionaryArray<Int32Type>],
        tag_rules: i64,
    ) -> Result<Option<RecordBatch>> {
        let mut columns = Vec::with_capacity(COLUMNS);
        for (at, name) in SUMMARY_COLUMNS.iter().enumerate().take(TAGS_FROM) {
            columns.push(self.texts[at].numbers_of(column(rows, name)?.as_dictionary()));
        }
        for (at, found) in tags.iter().enumerate() {
            columns.push(self.texts[TAGS_FROM + at].numbers_of(found));
        }
        let starts = column(rows, "ChargePeriodStart")?.as_primitive::<TimestampMicrosecondType>().values();
        let months = column(rows, "x_BillingMonth")?.as_primitive::<Date32Type>().values();
        let amounts = SUMMARY_AMOUNTS.iter().map(|name| Ok(column(rows, name)?.as_primitive::<Decimal128Type>()));
        let amounts = amounts.collect::<Result<Vec<_>>>()?;
        for (row, start_us) in starts.iter().enumerate() {
            let key = Key {
                start_us: start_us - start_us.rem_euclid(self.step_us),
                month: months[row],
                columns: std::array::from_fn(|at| columns[at][row]),
            };
            let group = self.groups.entry(key).or_default();
            group.rows += 1;
            for (sum, amount) in group.sums.iter_mut().zip(&amounts) {
                if amount.is_valid(row) {
                    let new = sum.unwrap_or(0).checked_add(amount.value(row));
                    *sum = Some(new.filter(|sum| sum.unsigned_abs() < 10u128.pow(38)).ok_or_else(too_large)?);
                }
            }
        }
        if self.groups.len() < GROUPS_MAX {
            return Ok(None);
        }
        self.take(tag_rules).map(Some)
    }

    /// The groups so far, as rows; their tags were found by rules of a version.
    pub(super) fn take(&mut self, tag_rules: i64) -> Result<RecordBatch> {
        let groups: Vec<(Key, Group)> = mem::take(&mut self.groups).into_iter().collect();
        let starts: TimestampMicrosecondArray = groups.iter().map(|(key, _)| Some(key.start_us)).collect();
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![self.scope.as_str(); groups.len()])),
            Arc::new(groups.iter().map(|(key, _)| Some(key.month)).collect::<Date32Array>()),
            Arc::new(starts.with_timezone("UTC")),
        ];
        for (at, texts) in self.texts.iter().enumerate() {
            let key =
                |(key, _): &(Key, Group)| i32::try_from(key.columns[at]).ok()?.checked_sub(1).filter(|key| *key >= 0);
            let keys: Int32Array = groups.iter().map(key).collect();
            let values = StringArray::from_iter_values(&texts.texts);
            columns.push(Arc::new(DictionaryArray::try_new(keys, Arc::new(values))?));
        }
        for at in 0..AMOUNTS {
            let sums: Decimal128Array = groups.iter().map(|(_, group)| group.sums[at]).collect();
            columns.push(Arc::new(sums.with_data_type(schemas::money())));
        }
        columns.push(Arc::new(groups.iter().map(|(_, group)| group.rows).collect::<Int64Array>()));
        columns.push(Arc::new(Int64Array::from(vec![tag_rules; groups.len()])));
        Ok(RecordBatch::try_new(Arc::clone(&self.dataset.schema), columns)?)
    }
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    rows.column_by_name(name)
        .ok_or_else(|| Error::new(ErrorKind::Internal, format!("rows of costs lack a column, column={name}")))
}

//! Sorts rows by a dataset's order and cuts them into partitions.
//!
//! Called by the writer, for runs of the head and for files. Works on ranks: every sort column becomes integers whose order is
//! the column's order, and where the ranks of a row fit 128 bits together with its row number, which they do for recent
//! samples, rows are sorted as plain integers instead of column by column.
//!
//! Invariants: stable: rows with equal keys keep the order they came in. Dictionary columns leave with one sorted dictionary.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, DictionaryArray, Int32Array, PrimitiveArray, RecordBatch, StringArray, UInt32Array,
    },
    compute::{concat, take},
    datatypes::{DataType, Date32Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType},
};
use hashbrown::HashMap;
use schemas::{Dataset, Partition};

use crate::{Error, ErrorKind, Result};

/// Rows of one partition.
pub(crate) struct Part {
    /// Value of the partition column as text; `None` if the table is not partitioned.
    pub partition: Option<Arc<str>>,
    /// Sorted rows, all columns of the dataset.
    pub rows: RecordBatch,
}

/// What happens to rows with equal keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Equal {
    /// They stay; there are none, or they are told apart later.
    Keep,
    /// Only the last one that came stays.
    Last,
}

/// All rows in one sorted batch.
pub(crate) fn sort(dataset: &Dataset, batches: &[&RecordBatch], equal: Equal) -> Result<RecordBatch> {
    let rows = gather(dataset, batches)?;
    let order = order(dataset, &rows, equal)?;
    take_rows(&rows, &order)
}

/// All rows, sorted, in one batch per partition that has any.
pub(crate) fn sort_into_partitions(dataset: &Dataset, batches: &[&RecordBatch], equal: Equal) -> Result<Vec<Part>> {
    let rows = gather(dataset, batches)?;
    if rows.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let Some(partitions) = partition_values(dataset, &rows)? else {
        let order = order(dataset, &rows, equal)?;
        return Ok(vec![Part { partition: None, rows: take_rows(&rows, &order)? }]);
    };
    // Keys are unique within a partition only, so the partition is cut before rows with equal keys are dropped.
    let mut by_partition: BTreeMap<&PartitionValue, Vec<u32>> = BTreeMap::new();
    if partitions.windows(2).all(|pair| pair[0] == pair[1]) {
        let order = order(dataset, &rows, equal)?;
        let partition = partitions.first().map(PartitionValue::text);
        return Ok(vec![Part { partition, rows: take_rows(&rows, &order)? }]);
    }
    for (row, partition) in (0u32..).zip(&partitions) {
        by_partition.entry(partition).or_default().push(row);
    }
    by_partition
        .into_iter()
        .map(|(partition, members)| {
            let part = take_rows(&rows, &members)?;
            let order = order(dataset, &part, equal)?;
            Ok(Part { partition: Some(partition.text()), rows: take_rows(&part, &order)? })
        })
        .collect()
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum PartitionValue {
    Day(i32),
    Text(String),
}

impl PartitionValue {
    fn text(&self) -> Arc<str> {
        match self {
            Self::Day(day) => day_text(*day).into(),
            Self::Text(text) => text.as_str().into(),
        }
    }
}

/// `2026-11-22` for days since the epoch.
pub(crate) fn day_text(day: i32) -> String {
    let epoch = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap_or_default();
    let date = epoch.checked_add_signed(chrono::Duration::days(day.into())).unwrap_or(epoch);
    date.format("%Y-%m-%d").to_string()
}

fn partition_values(dataset: &Dataset, rows: &RecordBatch) -> Result<Option<Vec<PartitionValue>>> {
    const DAY_US: i64 = 86_400_000_000;
    match dataset.partition {
        Partition::None => Ok(None),
        Partition::DayOfTime => {
            let time = column(dataset, rows, dataset.time)?.as_primitive::<TimestampMicrosecondType>();
            let day = |us: &i64| PartitionValue::Day(i32::try_from(us.div_euclid(DAY_US)).unwrap_or(i32::MAX));
            Ok(Some(time.values().iter().map(day).collect()))
        }
        Partition::FirstColumn => {
            let first = rows.column(0);
            Ok(Some(match first.data_type() {
                DataType::Date32 => {
                    first.as_primitive::<Date32Type>().values().iter().map(|day| PartitionValue::Day(*day)).collect()
                }
                DataType::Utf8 => {
                    let texts = first.as_string::<i32>();
                    (0..texts.len()).map(|i| PartitionValue::Text(texts.value(i).to_owned())).collect()
                }
                other => {
                    let message = format!("a {other} column cannot be a partition, dataset={}", dataset.name);
                    return Err(Error::new(ErrorKind::Internal, message));
                }
            }))
        }
    }
}

fn column<'a>(dataset: &Dataset, rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    rows.column_by_name(name).ok_or_else(|| {
        Error::new(ErrorKind::Internal, format!("column is missing, dataset={} column={name}", dataset.name))
    })
}

fn take_rows(rows: &RecordBatch, order: &[u32]) -> Result<RecordBatch> {
    let indices = UInt32Array::from(order.to_vec());
    let columns = rows.columns().iter().map(|column| take(column, &indices, None)).collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}

// === gather ===

/// One batch of all rows; dictionary columns get one sorted dictionary, so that their keys are ranks.
fn gather(dataset: &Dataset, batches: &[&RecordBatch]) -> Result<RecordBatch> {
    let columns = (0..dataset.schema.fields().len())
        .map(|i| {
            let arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(i).as_ref()).collect();
            match dataset.schema.field(i).data_type() {
                DataType::Dictionary(_, _) => Ok(gather_dictionary(&arrays)),
                data_type if arrays.is_empty() => Ok(arrow::array::new_empty_array(data_type)),
                _ => Ok(concat(&arrays)?),
            }
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(Arc::clone(&dataset.schema), columns)?)
}

fn gather_dictionary(arrays: &[&dyn Array]) -> ArrayRef {
    let arrays: Vec<&DictionaryArray<Int32Type>> = arrays.iter().map(|array| array.as_dictionary()).collect();
    let mut numbers: HashMap<&str, i32> = HashMap::new();
    for array in &arrays {
        let values = array.values().as_string::<i32>();
        numbers.extend((0..values.len()).map(|i| (values.value(i), 0)));
    }
    let mut values: Vec<&str> = numbers.keys().copied().collect();
    values.sort_unstable();
    for (rank, value) in (0i32..).zip(&values) {
        numbers.insert(value, rank);
    }
    let rows = arrays.iter().map(|array| array.len()).sum();
    let mut keys = Vec::with_capacity(rows);
    let mut nulls = arrow::array::BooleanBufferBuilder::new(rows);
    for array in &arrays {
        let old = array.values().as_string::<i32>();
        let ranks: Vec<i32> = (0..old.len()).map(|i| numbers[old.value(i)]).collect();
        for key in array.keys() {
            nulls.append(key.is_some());
            keys.push(key.and_then(|key| ranks.get(usize::try_from(key).ok()?)).copied().unwrap_or(0));
        }
    }
    let nulls = Some(arrow::buffer::NullBuffer::new(nulls.finish())).filter(|nulls| nulls.null_count() > 0);
    let keys = Int32Array::new(keys.into(), nulls);
    // Keys are ranks within `values` by construction.
    DictionaryArray::try_new(keys, Arc::new(StringArray::from_iter_values(values)))
        .map_or_else(|_| arrow::array::new_empty_array(&schemas::dictionary()), |array| Arc::new(array) as ArrayRef)
}

// === order ===

/// Row numbers in sort order.
fn order(dataset: &Dataset, rows: &RecordBatch, equal: Equal) -> Result<Vec<u32>> {
    let ranks =
        dataset.sort.iter().map(|name| ranks(column(dataset, rows, name)?)).collect::<Result<Vec<Vec<u64>>>>()?;
    let count = u32::try_from(rows.num_rows())
        .map_err(|_| Error::new(ErrorKind::Internal, "more than 2^32 rows in one commit"))?;
    let same_key = |a: u32, b: u32| ranks[..dataset.key].iter().all(|rank| rank[a as usize] == rank[b as usize]);
    let mut order = match pack(&ranks, count) {
        Some(mut packed) => {
            // Runs arrive sorted, and this sort merges what is.
            packed.sort();
            let mask = (1u128 << bits(u64::from(count))) - 1;
            packed.into_iter().map(|key| u32::try_from(key & mask).unwrap_or(0)).collect()
        }
        None => {
            let mut order: Vec<u32> = (0..count).collect();
            order.sort_by(|&a, &b| {
                let keys = |row: u32| ranks.iter().map(move |rank| rank[row as usize]);
                keys(a).cmp(keys(b))
            });
            order
        }
    };
    if equal == Equal::Last {
        let mut kept: Vec<u32> = Vec::with_capacity(order.len());
        for row in order {
            match kept.last_mut() {
                // Equal rows stand in the order they came in only if the rest of the sort columns is equal too.
                Some(last) if same_key(*last, row) => *last = (*last).max(row),
                _ => kept.push(row),
            }
        }
        order = kept;
    }
    Ok(order)
}

/// Ranks of each row and its number in one integer, most significant column first; `None` if they do not fit.
fn pack(ranks: &[Vec<u64>], count: u32) -> Option<Vec<u128>> {
    let spans: Vec<(u64, u32)> = ranks
        .iter()
        .map(|rank| {
            let min = rank.iter().min().copied().unwrap_or(0);
            (min, bits(rank.iter().max().copied().unwrap_or(0) - min))
        })
        .collect();
    let number_bits = bits(u64::from(count));
    if spans.iter().map(|(_, bits)| bits).sum::<u32>() + number_bits > 128 {
        return None;
    }
    let mut packed = vec![0u128; count as usize];
    for (rank, (min, bits)) in ranks.iter().zip(&spans) {
        for (key, value) in packed.iter_mut().zip(rank) {
            *key = (*key << *bits) | u128::from(value - min);
        }
    }
    for (number, key) in packed.iter_mut().enumerate() {
        *key = (*key << number_bits) | number as u128;
    }
    Some(packed)
}

fn bits(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

/// Integers in the order of the column's values.
fn ranks(column: &ArrayRef) -> Result<Vec<u64>> {
    let signed = |value: i64| value.cast_unsigned() ^ (1 << 63);
    let integers = |values: &PrimitiveArray<Int64Type>| values.values().iter().map(|v| signed(*v)).collect();
    Ok(match column.data_type() {
        DataType::Int64 => integers(column.as_primitive()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            column.as_primitive::<TimestampMicrosecondType>().values().iter().map(|v| signed(*v)).collect()
        }
        DataType::Int32 => column.as_primitive::<Int32Type>().values().iter().map(|v| signed(i64::from(*v))).collect(),
        DataType::Date32 => {
            column.as_primitive::<Date32Type>().values().iter().map(|v| signed(i64::from(*v))).collect()
        }
        DataType::Dictionary(_, _) => {
            column.as_dictionary::<Int32Type>().keys().values().iter().map(|v| signed(i64::from(*v))).collect()
        }
        DataType::Utf8 => {
            let texts = column.as_string::<i32>();
            let mut sorted: Vec<&str> = (0..texts.len()).map(|i| texts.value(i)).collect();
            sorted.sort_unstable();
            sorted.dedup();
            (0..texts.len()).map(|i| sorted.partition_point(|text| *text < texts.value(i)) as u64).collect()
        }
        other => {
            return Err(Error::new(ErrorKind::Internal, format!("rows cannot be sorted by a column of type {other}")));
        }
    })
}

#[cfg(test)]
mod tests;

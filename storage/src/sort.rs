//! Sorts rows by a dataset's order and cuts them into partitions.
//!
//! Called by the writer, for runs of the head and for files. Rows of a metric series come one by one, seldom more than one in a
//! batch, and in the order of time: so rows are put into groups by the leading sort columns, only the groups are sorted, and each
//! row is copied once, to its place. A group whose rows did not come in order is sorted by itself. Rows with texts or nested columns are
//! copied some at a time.
//!
//! Invariants: stable: rows with equal keys keep the order they came in. Dictionary columns leave with a sorted dictionary, one for each batch.

mod groups;
mod scatter;

use std::{collections::BTreeMap, iter, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, Date32Type, TimestampMicrosecondType},
};
use schemas::{Dataset, Partition};

use self::{groups::Groups, scatter::scatter};
use crate::{
    Error, ErrorKind, Result,
    gather::{Piece, assemble},
};

/// Rows that are copied at once if not all are.
const CHUNK_ROWS: usize = 32 << 10;

/// What happens to rows with equal keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Equal {
    /// They stay; there are none, or they are told apart later.
    Keep,
    /// Only the last one that came stays.
    Last,
}

/// Where every row goes.
struct Placement {
    /// Place of each row, in the order the rows came; [`DROPPED`] if a later one replaces it.
    places: Vec<u32>,
    /// Number of each partition that has rows, in order, and the place after its last row.
    ends: Vec<(u32, usize)>,
}

impl Placement {
    /// The row at each place, of batches of so many rows.
    fn pieces(&self, batches: impl Iterator<Item = usize>) -> Vec<Piece> {
        let mut pieces = vec![Piece::default(); self.ends.last().map_or(0, |(_, end)| *end)];
        let rows = batches.enumerate().flat_map(|(batch, rows)| (0..rows).map(move |start| (batch, start)));
        for ((batch, start), place) in rows.zip(&self.places) {
            if let Some(piece) = pieces.get_mut(*place as usize) {
                *piece = Piece { batch, start, len: 1 };
            }
        }
        pieces
    }
}

/// No place.
const DROPPED: u32 = u32::MAX;

/// All rows in one sorted batch.
pub(crate) fn sort(dataset: &Dataset, batches: &[&RecordBatch], equal: Equal) -> Result<RecordBatch> {
    let mut groups = Groups::new(dataset, batches)?;
    for batch in batches {
        groups.add(batch, |_| 0)?;
    }
    let placement = groups.place(batches, equal)?;
    scatter(dataset, batches, &placement)
}

/// Takes the sorted rows of a partition, whose value it is given as text; none if the table is not partitioned.
pub(crate) type Take<'a> =
    dyn FnMut(Option<Arc<str>>, &mut dyn Iterator<Item = Result<RecordBatch>>) -> Result<()> + 'a;

/// Hands on all rows, sorted, partition by partition.
pub(crate) fn sort_into_partitions(
    dataset: &Dataset,
    batches: &[&RecordBatch],
    equal: Equal,
    take: &mut Take<'_>,
) -> Result<()> {
    let mut groups = Groups::new(dataset, batches)?;
    let mut numbers = Numbers::default();
    for batch in batches {
        numbers.add(dataset, batch, |partition| groups.add(batch, partition))?;
    }
    let values = numbers.in_order(&mut groups);
    let placement = groups.place(batches, equal)?;
    let mut start = 0;
    let mut parts = placement.ends.iter().map(|(number, end)| {
        let rows = start..*end;
        start = *end;
        (values.get(*number as usize).and_then(PartitionValue::text), rows)
    });
    if dataset.schema.fields().iter().all(|field| scatter::is_fixed(field.data_type())) {
        let rows = scatter(dataset, batches, &placement)?;
        parts.try_for_each(|(partition, of)| take(partition, &mut iter::once(Ok(rows.slice(of.start, of.len())))))
    } else {
        let order = placement.pieces(batches.iter().map(|batch| batch.num_rows()));
        let chunk = |pieces: &[Piece]| assemble(Arc::clone(&dataset.schema), batches, pieces);
        parts.try_for_each(|(partition, of)| take(partition, &mut order[of].chunks(CHUNK_ROWS).map(chunk)))
    }
}

/// The partition of all rows, as [`Take`] has it; `None` if they are of several, or of none.
pub(crate) fn one_partition(dataset: &Dataset, batches: &[RecordBatch]) -> Result<Option<Option<Arc<str>>>> {
    let mut numbers = Numbers::default();
    for batch in batches {
        numbers.add(dataset, batch, |partition| {
            let _ = (0..batch.num_rows()).map(partition).all(|number| number == 0);
            Ok(())
        })?;
    }
    let mut values = numbers.0.into_keys();
    Ok(values.next().filter(|_| values.next().is_none()).map(|value| value.text()))
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum PartitionValue {
    None,
    Day(i32),
    Text(String),
}

impl PartitionValue {
    fn text(&self) -> Option<Arc<str>> {
        match self {
            Self::None => None,
            Self::Day(day) => Some(day_text(*day).into()),
            Self::Text(text) => Some(text.as_str().into()),
        }
    }
}

/// `2026-11-22` for days since the epoch.
pub(crate) fn day_text(day: i32) -> String {
    let epoch = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap_or_default();
    let date = epoch.checked_add_signed(chrono::Duration::days(day.into())).unwrap_or(epoch);
    date.format("%Y-%m-%d").to_string()
}

/// A number for each partition value met.
#[derive(Default)]
struct Numbers(BTreeMap<PartitionValue, u32>);

impl Numbers {
    fn of(&mut self, value: PartitionValue) -> u32 {
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry(value).or_insert(next)
    }

    /// Hands `work` a way to tell the partition of each row of a batch.
    fn add(
        &mut self,
        dataset: &Dataset,
        batch: &RecordBatch,
        work: impl FnOnce(&mut dyn FnMut(usize) -> u32) -> Result<()>,
    ) -> Result<()> {
        const DAY_US: i64 = 86_400_000_000;
        match dataset.partition {
            Partition::None => {
                let number = self.of(PartitionValue::None);
                work(&mut |_| number)
            }
            Partition::DayOfTime => {
                let times = column(dataset, batch, dataset.time)?.as_primitive::<TimestampMicrosecondType>().values();
                let (mut start_us, mut number) = (i64::MAX, 0);
                work(&mut |row| {
                    // Neighbours nearly always lie on one day.
                    if !(0..DAY_US).contains(&times[row].wrapping_sub(start_us)) {
                        let day = times[row].div_euclid(DAY_US);
                        start_us = day * DAY_US;
                        number = self.of(PartitionValue::Day(i32::try_from(day).unwrap_or(i32::MAX)));
                    }
                    number
                })
            }
            Partition::Columns(1) if *batch.column(0).data_type() == DataType::Date32 => {
                let days = batch.column(0).as_primitive::<Date32Type>().values();
                work(&mut |row| self.of(PartitionValue::Day(days[row])))
            }
            Partition::Columns(columns) => {
                let columns = &batch.columns()[..columns];
                let same = columns.iter().map(same_as_before).collect::<Option<Vec<_>>>().ok_or_else(|| {
                    let message = format!("columns cannot be a partition, dataset={}", dataset.name);
                    Error::new(ErrorKind::Internal, message)
                })?;
                let mut number = 0;
                work(&mut |row| {
                    if row == 0 || !same.iter().all(|same| same(row)) {
                        number = self.of(PartitionValue::Text(partition_text(columns, row)));
                    }
                    number
                })
            }
        }
    }

    /// Values by number, after the numbers in `groups` were changed to be in the order of the values.
    fn in_order(self, groups: &mut Groups<'_>) -> Vec<PartitionValue> {
        let mut ranks = vec![0; self.0.len()];
        for (rank, number) in (0u32..).zip(self.0.values()) {
            ranks[*number as usize] = rank;
        }
        groups.renumber_partitions(&ranks);
        self.0.into_keys().collect()
    }
}

/// Tells whether a column's value is that of the row before.
fn same_as_before(column: &ArrayRef) -> Option<Box<dyn Fn(usize) -> bool + '_>> {
    Some(match column.data_type() {
        DataType::Date32 => {
            let days = column.as_primitive::<Date32Type>().values();
            Box::new(|row| days[row] == days[row - 1])
        }
        DataType::Utf8 => {
            let texts = column.as_string::<i32>();
            Box::new(|row| texts.value(row) == texts.value(row - 1))
        }
        _ => return None,
    })
}

/// Values of partition columns as one text.
fn partition_text(columns: &[ArrayRef], row: usize) -> String {
    let text = |column: &ArrayRef| match column.as_primitive_opt::<Date32Type>() {
        Some(days) => day_text(days.value(row)),
        None => column.as_string::<i32>().value(row).to_owned(),
    };
    columns.iter().map(text).collect::<Vec<_>>().join("/")
}

fn column<'a>(dataset: &Dataset, rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    rows.column_by_name(name).ok_or_else(|| {
        Error::new(ErrorKind::Internal, format!("column is missing, dataset={} column={name}", dataset.name))
    })
}

#[cfg(test)]
mod tests;

//! Groups rows by partition and leading sort columns, and gives every row its place.
//!
//! Called by the sort. Columns become integers, so that a group is found by comparing a few words; texts are numbered as they are
//! met and ranked once all are known. What follows a group usually followed it the last time too, so most rows are found without a
//! table.

use std::cmp::Ordering;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, Date32Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType},
};
use hashbrown::{HashMap, HashTable};
use schemas::Dataset;

use super::{DROPPED, Equal, Placement, column};
use crate::{Error, ErrorKind, Result};

/// Leading sort columns that make a group.
const LEADING: usize = 2;

/// What the rows of a group have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    partition: u32,
    leading: [u64; LEADING],
}

impl Key {
    fn hash(self) -> u64 {
        let [first, second] = self.leading;
        // Series ids are hashes; metrics and days are small numbers.
        let mixed = second ^ first.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(self.partition).rotate_left(48);
        let mixed = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^ (mixed >> 32)
    }
}

struct Group {
    key: Key,
    rows: u32,
    /// The group that came after it last.
    next: u32,
    /// First of the remaining sort columns, of the row that came last.
    last: u64,
    /// Did its rows come in the order of the remaining columns?
    ordered: bool,
}

/// Numbers for texts, in the order met.
#[derive(Default)]
struct Texts<'a> {
    numbers: HashMap<Option<&'a str>, u64>,
}

impl<'a> Texts<'a> {
    fn number(&mut self, text: Option<&'a str>) -> u64 {
        let next = self.numbers.len() as u64;
        *self.numbers.entry(text).or_insert(next)
    }

    /// Ranks by number.
    fn ranks(&self) -> Vec<u64> {
        // What is null comes first.
        let mut sorted: Vec<(Option<&str>, u64)> = self.numbers.iter().map(|(text, number)| (*text, *number)).collect();
        sorted.sort_unstable();
        let mut ranks = vec![0; sorted.len()];
        for (rank, (_, number)) in (0u64..).zip(sorted) {
            if let Some(place) = usize::try_from(number).ok().and_then(|number| ranks.get_mut(number)) {
                *place = rank;
            }
        }
        ranks
    }
}

/// Rows in groups.
pub(super) struct Groups<'a> {
    dataset: &'a Dataset,
    groups: Vec<Group>,
    table: HashTable<u32>,
    current: u32,
    /// Group of each row.
    rows: Vec<u32>,
    texts: Vec<Texts<'a>>,
    /// The leading and the remaining sort columns of the batch at hand, as integers.
    columns: Vec<Vec<u64>>,
}

impl<'a> Groups<'a> {
    /// No rows yet; room for those of `batches`.
    pub(super) fn new(dataset: &'a Dataset, batches: &[&'a RecordBatch]) -> Result<Self> {
        let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
        if rows >= DROPPED as usize {
            return Err(Error::new(ErrorKind::Internal, "more than 2^32 rows in one sort"));
        }
        Ok(Self {
            dataset,
            // Room that is not used is not touched; growing would touch twice what is.
            groups: Vec::with_capacity(rows / 4),
            table: HashTable::new(),
            current: 0,
            rows: Vec::with_capacity(rows),
            texts: dataset.sort.iter().map(|_| Texts::default()).collect(),
            columns: vec![Vec::new(); dataset.sort.len()],
        })
    }

    fn leading(&self) -> usize {
        self.dataset.sort.len().min(LEADING)
    }

    /// Adds the rows of a batch.
    pub(super) fn add(&mut self, batch: &'a RecordBatch, mut partition: impl FnMut(usize) -> u32) -> Result<()> {
        let leading = self.leading();
        for (at, name) in self.dataset.sort.iter().enumerate().take(leading + 1) {
            integers(column(self.dataset, batch, name)?, &mut self.texts[at], &mut self.columns[at])?;
        }
        let columns = std::mem::take(&mut self.columns);
        let column = |at: usize| columns.get(at).map_or(&[][..], Vec::as_slice);
        // A column that is not there is the same in all rows.
        let (first, second) = (column(0), if leading > 1 { column(1) } else { &[] });
        // Without remaining columns all rows of a group are alike, and in order as they come.
        let rest = column(leading);
        // Of several remaining columns the first orders a group only while its values differ.
        let strict = columns.len() > leading + 1;
        for (row, first) in first.iter().enumerate() {
            let leading = [*first, second.get(row).copied().unwrap_or(0)];
            let key = Key { partition: partition(row), leading };
            let last = rest.get(row).copied().unwrap_or(0);
            let at = self.find(key, last);
            let group = &mut self.groups[at as usize];
            group.ordered &= group.rows == 0 || group.last < last || group.last == last && !strict;
            group.last = last;
            group.rows += 1;
            self.rows.push(at);
        }
        self.columns = columns;
        Ok(())
    }

    #[inline]
    fn find(&mut self, key: Key, last: u64) -> u32 {
        let current = self.current;
        let Some(before) = self.groups.get(current as usize) else { return self.look_up(key, last) };
        if before.key == key {
            return current;
        }
        let next = before.next;
        if self.groups.get(next as usize).is_none_or(|group| group.key != key) {
            let found = self.look_up(key, last);
            self.groups[current as usize].next = found;
            return found;
        }
        self.current = next;
        next
    }

    fn look_up(&mut self, key: Key, last: u64) -> u32 {
        let groups = &mut self.groups;
        let found = self.table.find(key.hash(), |at| groups[*at as usize].key == key).copied();
        self.current = found.unwrap_or_else(|| {
            // Below the number of rows, which fits.
            let at = u32::try_from(groups.len()).unwrap_or(DROPPED);
            groups.push(Group { key, rows: 0, next: DROPPED, last, ordered: true });
            self.table.insert_unique(key.hash(), at, |at| groups[*at as usize].key.hash());
            at
        });
        self.current
    }

    /// Gives every partition the number that stands at its old number.
    pub(super) fn renumber_partitions(&mut self, numbers: &[u32]) {
        // The table is not used any more.
        self.table.clear();
        for group in &mut self.groups {
            group.key.partition = numbers.get(group.key.partition as usize).copied().unwrap_or(0);
        }
    }

    /// Places of all rows.
    pub(super) fn place(mut self, batches: &[&'a RecordBatch], equal: Equal) -> Result<Placement> {
        let leading = self.leading();
        for at in 0..leading {
            let ranks = self.texts[at].ranks();
            if !ranks.is_empty() {
                for group in &mut self.groups {
                    let number = usize::try_from(group.key.leading[at]).unwrap_or(usize::MAX);
                    group.key.leading[at] = ranks.get(number).copied().unwrap_or(0);
                }
            }
        }
        let mut order: Vec<u32> = (0..self.groups.len()).map(|at| u32::try_from(at).unwrap_or(DROPPED)).collect();
        order.sort_unstable_by_key(|at| {
            let Key { partition, leading } = self.groups[*at as usize].key;
            (partition, leading)
        });
        // From here on `next` is the place of the group's next row.
        let (mut place, mut ends) = (0u32, Vec::<(u32, usize)>::new());
        for at in &order {
            let group = &mut self.groups[*at as usize];
            group.next = place;
            place += group.rows;
            match ends.last_mut() {
                Some((partition, end)) if *partition == group.key.partition => *end = place as usize,
                _ => ends.push((group.key.partition, place as usize)),
            }
        }
        let mut places = std::mem::take(&mut self.rows);
        for row in &mut places {
            let group = &mut self.groups[*row as usize];
            *row = group.next;
            group.next += 1;
        }
        let mut placement = Placement { places, ends };
        if equal == Equal::Last || self.groups.iter().any(|group| !group.ordered) {
            self.settle(batches, equal, &order, &mut placement)?;
        }
        Ok(placement)
    }

    /// Sorts the groups whose rows did not come in order, and drops rows that later ones replace.
    fn settle(
        &mut self,
        batches: &[&'a RecordBatch],
        equal: Equal,
        order: &[u32],
        placement: &mut Placement,
    ) -> Result<()> {
        let rest = self.rest(batches)?;
        let mut sorted = vec![0u32; placement.places.len()];
        for (row, place) in (0u32..).zip(&placement.places) {
            sorted[*place as usize] = row;
        }
        // A key is no shorter than what makes a group.
        let in_key = self.dataset.key.saturating_sub(self.leading()).min(rest.len());
        // Rows without a key are never the same.
        let has_key = self.dataset.key > 0;
        let same =
            |a: u32, b: u32| has_key && rest[..in_key].iter().all(|ranks| ranks[a as usize] == ranks[b as usize]);
        let (mut start, mut next) = (0usize, 0u32);
        let mut ends = Vec::with_capacity(placement.ends.len());
        let mut kept: Vec<u32> = Vec::new();
        for at in order {
            let group = &self.groups[*at as usize];
            let rows = &mut sorted[start..start + group.rows as usize];
            start += rows.len();
            if !group.ordered {
                rows.sort_by(|a, b| compare(&rest, *a, *b));
            }
            kept.clear();
            for row in rows.iter().copied() {
                match kept.last_mut() {
                    Some(last) if equal == Equal::Last && same(*last, row) => {
                        let (gone, stays) = (row.min(*last), row.max(*last));
                        placement.places[gone as usize] = DROPPED;
                        *last = stays;
                    }
                    _ => kept.push(row),
                }
            }
            for row in &kept {
                placement.places[*row as usize] = next;
                next += 1;
            }
            match ends.last_mut() {
                Some((partition, end)) if *partition == group.key.partition => *end = next as usize,
                _ => ends.push((group.key.partition, next as usize)),
            }
        }
        placement.ends = ends;
        Ok(())
    }

    /// Ranks of the remaining sort columns, by row.
    fn rest(&mut self, batches: &[&'a RecordBatch]) -> Result<Vec<Vec<u64>>> {
        let mut rest = Vec::new();
        for (at, name) in self.dataset.sort.iter().enumerate().skip(self.leading()) {
            let (mut all, mut part) = (Vec::new(), Vec::new());
            for batch in batches {
                integers(column(self.dataset, batch, name)?, &mut self.texts[at], &mut part)?;
                all.append(&mut part);
            }
            let ranks = self.texts[at].ranks();
            if !ranks.is_empty() {
                for value in &mut all {
                    *value = usize::try_from(*value).ok().and_then(|at| ranks.get(at)).copied().unwrap_or(0);
                }
            }
            rest.push(all);
        }
        Ok(rest)
    }
}

fn compare(rest: &[Vec<u64>], a: u32, b: u32) -> Ordering {
    rest.iter().map(|ranks| ranks[a as usize].cmp(&ranks[b as usize])).find(|order| order.is_ne()).unwrap_or(a.cmp(&b))
}

/// The values of a column as integers: in the order of the values, null before all, or, of texts, their numbers.
fn integers<'a>(column: &'a ArrayRef, texts: &mut Texts<'a>, out: &mut Vec<u64>) -> Result<()> {
    let signed = |value: i64| value.cast_unsigned() ^ (1 << 63);
    let mut null = 0;
    out.clear();
    match column.data_type() {
        DataType::Int64 => out.extend(column.as_primitive::<Int64Type>().values().iter().map(|v| signed(*v))),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            out.extend(column.as_primitive::<TimestampMicrosecondType>().values().iter().map(|v| signed(*v)));
        }
        DataType::Int32 => {
            out.extend(column.as_primitive::<Int32Type>().values().iter().map(|v| signed(i64::from(*v))));
        }
        DataType::Date32 => {
            out.extend(column.as_primitive::<Date32Type>().values().iter().map(|v| signed(i64::from(*v))));
        }
        DataType::Dictionary(_, _) => {
            let dictionary = column.as_dictionary::<Int32Type>();
            let values = dictionary.values().as_string::<i32>();
            let numbers: Vec<u64> = values.iter().map(|text| texts.number(Some(text.unwrap_or_default()))).collect();
            null = if column.null_count() > 0 { texts.number(None) } else { 0 };
            let number = |key: &i32| usize::try_from(*key).ok().and_then(|key| numbers.get(key)).copied();
            out.extend(dictionary.keys().values().iter().map(|key| number(key).unwrap_or(0)));
        }
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            null = if column.null_count() > 0 { texts.number(None) } else { 0 };
            out.extend((0..values.len()).map(|row| texts.number(Some(values.value(row)))));
        }
        other => {
            return Err(Error::new(ErrorKind::Internal, format!("rows cannot be sorted by a column of type {other}")));
        }
    }
    if let Some(nulls) = column.nulls() {
        for (value, is_valid) in out.iter_mut().zip(nulls) {
            if !is_valid {
                *value = null;
            }
        }
    }
    Ok(())
}

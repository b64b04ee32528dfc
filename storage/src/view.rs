//! One immutable, consistent cut of a dataset: committed files plus the rows above their positions.
//!
//! Made by the dataset's writer and swapped atomically; read by `query` and, at start, by `ingest`. A commit takes its rows
//! out of the head in the same swap that brings the files in, so a view never lacks a row and never has one twice.
//!
//! Not here: pruning and reading, which is `query`'s work.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::RecordBatch;
use schemas::Dataset;

use crate::Lane;

/// One consistent cut of a dataset.
#[derive(Debug, Clone)]
pub struct View {
    /// The dataset.
    pub dataset: &'static Dataset,
    /// Delta version of `files`; `None` while the table does not exist.
    pub version: Option<i64>,
    /// Active files of that version, oldest `seq` first.
    pub files: Arc<Vec<Arc<DataFile>>>,
    /// Rows not in the files, oldest first.
    pub head: Vec<Arc<Rows>>,
    /// Committed position of every source.
    pub positions: Arc<BTreeMap<Arc<str>, i64>>,
}

/// One active Parquet file.
#[derive(Debug, Clone, PartialEq)]
pub struct DataFile {
    /// Path below the store's root, as object_store takes it.
    pub path: object_store::path::Path,
    /// Size in bytes.
    pub size: u64,
    /// Number of rows.
    pub rows: u64,
    /// Value of the partition column as text (`2026-11-22`), if the table is partitioned.
    pub partition: Option<Arc<str>>,
    /// Smallest and largest value of every column that has statistics, by column name. Strings may be truncated prefixes
    /// (the largest rounded up), so a bound contains the values but need not be one of them.
    pub bounds: BTreeMap<String, (Bound, Bound)>,
    /// Lane of its rows.
    pub lane: Lane,
    /// Orders writes of one key: the row of the file (or head rows) with the larger `seq` was written later.
    pub seq: i64,
    /// Was the file sorted by [`Dataset::sort`] when it was written? Files of foreign engines are not.
    pub sorted: bool,
    /// How often its rows have been merged, 0 in a fresh file.
    pub level: u8,
    /// Stands for the rules by which rows were left out when it was made, if there were any.
    pub trimmed: Option<u64>,
    /// When it was written, milliseconds.
    pub written_ms: i64,
    /// A version of the table whose view had all of its rows: that of the commit that added it, or, if that only moved rows from
    /// other files, the one before. Who has read that view need not read the file.
    pub known_at: i64,
}

/// A bound of a column in a file.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub enum Bound {
    /// Of a string column.
    Text(String),
    /// Of an integer, date (days) or timestamp (microseconds) column.
    Int(i64),
    /// Of a double column.
    Float(f64),
}

/// Rows in the head: a sorted run, or a batch as it came.
#[derive(Debug, Clone)]
pub struct Rows {
    /// The rows, [`Dataset::schema`].
    pub batch: RecordBatch,
    /// Are they sorted by [`Dataset::sort`]?
    pub sorted: bool,
    /// Their lane.
    pub lane: Lane,
    /// As in [`DataFile::seq`]; above that of every file.
    pub seq: i64,
}

impl DataFile {
    /// What is replaced as a whole: the value of the first partition column.
    #[must_use]
    pub fn scope(&self, dataset: &Dataset) -> Option<&str> {
        let partition = self.partition.as_deref()?;
        dataset.partition_values(partition).first().map(|(_, value)| *value)
    }

    /// Smallest and largest value of the time column, microseconds, as far as they are known.
    #[must_use]
    pub fn times_us(&self, dataset: &Dataset) -> Option<(i64, i64)> {
        match self.bounds.get(dataset.time)? {
            (Bound::Int(first), Bound::Int(last)) => Some((*first, *last)),
            _ => None,
        }
    }
}

impl View {
    /// A view of a dataset that has no table and no rows.
    #[must_use]
    pub fn empty(dataset: &'static Dataset) -> Self {
        Self { dataset, version: None, files: Arc::default(), head: Vec::new(), positions: Arc::default() }
    }

    /// Largest committed value of the time column, microseconds; `None` without files.
    #[must_use]
    pub fn committed_time_max(&self) -> Option<i64> {
        self.files.iter().filter_map(|file| Some(file.times_us(self.dataset)?.1)).max()
    }
}

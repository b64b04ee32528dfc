//! What enters storage: rows for one dataset, and how they are to be written.
//!
//! Built by `ingest`, carried by the log, applied by the dataset's writer.

use std::sync::Arc;

use arrow::array::RecordBatch;
use schemas::Dataset;

/// Something to write to one dataset.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The dataset it is for.
    pub dataset: &'static Dataset,
    /// What to do.
    pub write: Write,
}

/// The write verbs that go through the log. The third, [`Replace`], is a staged stream with a position of its own.
#[derive(Debug, Clone)]
pub enum Write {
    /// Add rows, whose schema is [`Dataset::schema`].
    Append(RecordBatch, Lane),
    /// Take out rows written before.
    Delete(Delete),
}

/// Which way rows take; decided at admission, kept in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// No row with the same key was ever written: reads need no deduplication.
    InOrder,
    /// A row with the same key may exist: the latest written wins, and reads that meet such rows deduplicate.
    Late,
}

/// Takes out rows written before it: those whose leading columns equal a row of `keys` and whose time is in the range.
#[derive(Debug, Clone)]
pub struct Delete {
    /// Values of the leading sort columns, each row one prefix; the schema names them.
    pub keys: RecordBatch,
    /// Start of the time range, microseconds, inclusive.
    pub start_us: i64,
    /// End of the time range, microseconds, exclusive.
    pub end_us: i64,
}

/// Rows that replace all rows of one partition value; nothing of them is seen until all of them are.
#[derive(Debug)]
pub struct Replace {
    /// The dataset; partitioned by its first column.
    pub dataset: &'static Dataset,
    /// Value of the partition column whose rows are replaced, as text.
    pub scope: String,
    /// The new rows, [`Dataset::schema`], all within the scope.
    pub rows: Vec<RecordBatch>,
    /// Where they came from; a position not above the committed one makes the call a no-op.
    pub origin: Origin,
}

/// Where rows came from: a source partition and a position in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Name of the source partition, such as `wal/<uuid>`; the application id of the Delta transaction.
    pub source: Arc<str>,
    /// Position in it, monotonic.
    pub position: i64,
}

impl Batch {
    /// Rows to append in a lane.
    #[must_use]
    pub fn append(dataset: &'static Dataset, rows: RecordBatch, lane: Lane) -> Self {
        Self { dataset, write: Write::Append(rows, lane) }
    }
}

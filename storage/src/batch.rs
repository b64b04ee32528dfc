//! What enters storage: rows for one dataset, and how they are to be written.
//!
//! Built by `ingest`, carried by the log, applied by the dataset's writer.

use std::sync::Arc;

use arrow::array::RecordBatch;
use schemas::Dataset;

use crate::delta::action::Add;

/// Something to write to one dataset.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The dataset it is for.
    pub dataset: &'static Dataset,
    /// What to do.
    pub write: Write,
}

/// The write verbs, which all go through the log.
#[derive(Debug, Clone)]
pub enum Write {
    /// Add rows, whose schema is [`Dataset::schema`].
    Append(RecordBatch, Lane),
    /// Take out rows written before.
    Delete(Delete),
    /// Put staged files in the place of rows written before.
    Replace(Replacement),
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

/// Files that replace all rows of a scope: those whose first partition column has one value. Made by [`Staging`](crate::Staging); nothing
/// of them is seen until all of them are.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// Value of the first partition column, as text.
    pub scope: Arc<str>,
    pub(crate) files: Arc<[Add]>,
}

impl Batch {
    /// Rows to append in a lane.
    #[must_use]
    pub fn append(dataset: &'static Dataset, rows: RecordBatch, lane: Lane) -> Self {
        Self { dataset, write: Write::Append(rows, lane) }
    }
}

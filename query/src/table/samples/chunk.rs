//! Rows as a task hands them back, and which of them are of which series.
//!
//! Made by `decode` and `head`, put in order by `assemble`. What the rows are kept as, [`Payload`] says: floats as columns, other rows
//! as batches. Each batch that comes in here has the columns of the job, the time first.

use std::{ops::Range, sync::Arc};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result};

use super::{super::blocks::Block, Job};

/// Rows of one source, or of a part of it.
pub(super) struct Chunk<P> {
    /// Orders sources by when they were written.
    pub rank: u32,
    pub parts: Vec<Part>,
    pub rows: P,
}

/// Rows of one series that stand side by side in a chunk; later rows were written later.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub series: u32,
    /// Which chunk; set when there are several.
    pub chunk: u32,
    pub start: u32,
    pub rows: u32,
    /// Time of the first row, microseconds; above `last` if the times do not ascend by a millisecond at least.
    pub first: i64,
    pub last: i64,
}

impl Part {
    pub(super) fn range(&self) -> Range<usize> {
        self.start as usize..self.start as usize + self.rows as usize
    }

    pub(super) fn ascends(&self) -> bool {
        self.first <= self.last
    }

    /// Does another begin after this one has ended, both ascending?
    pub(super) fn is_before(&self, next: &Self) -> bool {
        self.ascends() && next.ascends() && next.first.saturating_sub(self.last) >= 1_000
    }
}

/// Parts of a chunk that is being made.
#[derive(Debug, Default)]
pub(super) struct Parts(pub Vec<Part>);

impl Parts {
    /// Adds rows of a series that begin at row `start` of the chunk.
    pub(super) fn add(&mut self, series: u32, start: usize, times_us: &[i64]) -> Result<()> {
        let (Some(first), Some(last)) = (times_us.first(), times_us.last()) else { return Ok(()) };
        let count = |rows: usize| {
            u32::try_from(rows).map_err(|_| DataFusionError::ResourcesExhausted("a chunk has too many rows".to_owned()))
        };
        // Times are whole milliseconds; those of a foreign engine need not be, and then two may become one.
        let ascends = times_us.windows(2).all(|pair| pair[1].saturating_sub(pair[0]) >= 1_000);
        let (first, last) = if ascends { (*first, *last) } else { (i64::MAX, i64::MIN) };
        count(start + times_us.len())?;
        self.push(Part { series, chunk: 0, start: count(start)?, rows: count(times_us.len())?, first, last });
        Ok(())
    }

    /// Adds a part, to the one before if that is of the same series and ends where this one begins.
    pub(super) fn push(&mut self, part: Part) {
        match self.0.last_mut() {
            Some(before) if before.series == part.series && before.range().end == part.start as usize => {
                (before.first, before.last) =
                    if before.is_before(&part) { (before.first, part.last) } else { (i64::MAX, i64::MIN) };
                before.rows += part.rows;
            }
            _ => self.0.push(part),
        }
    }
}

/// What the rows of a chunk are kept as.
pub(super) trait Payload: Sized + Send + Sync + 'static {
    /// None yet, with room for some.
    fn with_room(job: &Job, rows: usize) -> Result<Self>;

    /// Adds rows of a batch, in their order.
    fn append(&mut self, job: &Job, batch: &RecordBatch, kept: &[Range<usize>]) -> Result<()>;

    /// All rows of a batch, which is shared with others and takes no memory of its own.
    fn shared(batch: RecordBatch) -> Result<Self>;

    /// Rows of batches, which one and which row, in the order given.
    fn gather(job: &Job, batches: &[RecordBatch], places: &[(usize, usize)]) -> Result<Self>;

    /// The rows of a block; none if they are not kept so.
    fn of_block(_block: &Arc<Block>) -> Option<Self> {
        None
    }

    /// Time of a row, milliseconds.
    fn time_ms(&self, row: usize) -> i64;
}

/// Times of a batch whose first column they are, microseconds.
pub(super) fn times(batch: &RecordBatch) -> Result<&[i64]> {
    let times = batch.column(0).as_primitive_opt::<TimestampMicrosecondType>().filter(|times| times.null_count() == 0);
    times
        .map(|times| times.values().as_ref())
        .ok_or_else(|| DataFusionError::Internal("rows have no times in microseconds".to_owned()))
}

/// How batches of a file become batches of the job: columns in another order, of another type, or not there.
pub(super) struct Shape {
    schema: SchemaRef,
    columns: Vec<Option<usize>>,
}

impl Shape {
    pub(super) fn new(of_file: &SchemaRef, schema: &SchemaRef) -> Result<Self> {
        let find = |field: &arrow::datatypes::FieldRef| match of_file.index_of(field.name()) {
            Ok(index) => Ok(Some(index)),
            Err(_) if field.is_nullable() => Ok(None),
            Err(error) => Err(error.into()),
        };
        let columns = schema.fields().iter().map(find).collect::<Result<Vec<_>>>()?;
        Ok(Self { schema: SchemaRef::clone(schema), columns })
    }

    pub(super) fn fit(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let column = |(field, index): (&arrow::datatypes::FieldRef, &Option<usize>)| -> Result<ArrayRef> {
            let Some(index) = index else { return Ok(new_null_array(field.data_type(), batch.num_rows())) };
            let column = batch.column(*index);
            if column.data_type() == field.data_type() {
                return Ok(ArrayRef::clone(column));
            }
            Ok(cast(column, field.data_type())?)
        };
        let columns = self.schema.fields().iter().zip(&self.columns).map(column).collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(SchemaRef::clone(&self.schema), columns)?)
    }
}

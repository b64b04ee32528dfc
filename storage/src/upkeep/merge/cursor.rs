//! Reads one sorted file, stretch by stretch.
//!
//! Called by the merge. A stretch is a run of rows that agree in the leading sort columns; finding its end is a scan over two
//! columns of integers.

use std::{cmp::Ordering, ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, DictionaryArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Date32Type, Int32Type, Int64Type, TimestampMicrosecondType},
};
use futures::StreamExt;
use object_store::{ObjectStore, path::Path};
use parquet::arrow::{ParquetRecordBatchStreamBuilder, async_reader::ParquetRecordBatchStream};
use schemas::Dataset;

use super::Order;
use crate::{DataFile, Error, ErrorKind, Result, StoredFile};

/// Rows decoded at a time.
const BATCH_ROWS: usize = 32 << 10;

/// A value of a sort column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Word {
    Int(i64),
    Text(Arc<str>),
}

/// Values of the leading sort columns.
pub(super) type Key = Vec<Word>;

/// A sorted file being read.
pub(super) struct Cursor {
    dataset: &'static Dataset,
    path: Path,
    stream: ParquetRecordBatchStream<StoredFile>,
    batch: RecordBatch,
    stretch: Range<usize>,
    /// Key of the stretch; `None` at the end of the file.
    key: Option<Key>,
}

impl Cursor {
    /// Opens a file and reads its first batch. Blocks.
    pub(super) fn open(
        dataset: &'static Dataset,
        order: &Order,
        store: &Arc<dyn ObjectStore>,
        file: &DataFile,
    ) -> Result<Self> {
        let reader = StoredFile::new(Arc::clone(store), file);
        let stream = wait(ParquetRecordBatchStreamBuilder::new(reader))
            .and_then(|builder| builder.with_batch_size(BATCH_ROWS).build())
            .map_err(|error| unreadable(&file.path, error))?;
        let batch = RecordBatch::new_empty(dataset.file_schema());
        let mut cursor = Self { dataset, path: file.path.clone(), stream, batch, stretch: 0..0, key: None };
        cursor.next_batch(order)?;
        Ok(cursor)
    }

    /// Key of the stretch at hand; `None` at the end of the file.
    pub(super) fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// Batch of the stretch at hand.
    pub(super) fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// Rows of the stretch at hand, and whether its batch ends with it. Moves on to the next one. Blocks.
    pub(super) fn advance(&mut self, order: &Order) -> Result<(Range<usize>, bool)> {
        let stretch = self.stretch.clone();
        if stretch.end < self.batch.num_rows() {
            self.find(order, stretch.end)?;
            return Ok((stretch, false));
        }
        self.next_batch(order)?;
        Ok((stretch, true))
    }

    fn next_batch(&mut self, order: &Order) -> Result<()> {
        while let Some(batch) = wait(self.stream.next()) {
            let batch = batch.map_err(|error| unreadable(&self.path, error))?;
            if batch.num_rows() > 0 {
                self.batch = conform(self.dataset, &batch)?;
                return self.find(order, 0);
            }
        }
        self.key = None;
        Ok(())
    }

    /// The stretch that starts at a row.
    fn find(&mut self, order: &Order, start: usize) -> Result<()> {
        let mut end = self.batch.num_rows();
        let mut key = Key::with_capacity(order.leading.len());
        for (at, column) in order.leading.iter().enumerate() {
            let before = self.key.as_ref().and_then(|key| key.get(at));
            let (word, run) = stretch(self.batch.column(*column), start, end, before)?;
            key.push(word);
            end = run;
        }
        if self.key.as_ref().is_some_and(|before| *before > key) {
            let message = format!("a file's rows are not in the order in which it was written, path={}", self.path);
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        self.key = Some(key);
        self.stretch = start..end;
        Ok(())
    }
}

/// The value of a column at `start`, and where another one begins.
fn stretch(column: &ArrayRef, start: usize, end: usize, before: Option<&Word>) -> Result<(Word, usize)> {
    Ok(match column.data_type() {
        DataType::Dictionary(_, _) => {
            let column = column.as_dictionary::<Int32Type>();
            (text_word(before, text(column, start)), run(column.keys().values(), start, end))
        }
        DataType::Utf8 => {
            let column = column.as_string::<i32>();
            let text = column.value(start);
            let run = (start + 1..end).find(|row| column.value(*row) != text).unwrap_or(end);
            (text_word(before, text), run)
        }
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>().values();
            (Word::Int(values[start]), run(values, start, end))
        }
        DataType::Date32 => {
            let values = column.as_primitive::<Date32Type>().values();
            (Word::Int(values[start].into()), run(values, start, end))
        }
        DataType::Timestamp(_, _) => {
            let values = column.as_primitive::<TimestampMicrosecondType>().values();
            (Word::Int(values[start]), run(values, start, end))
        }
        other => return Err(Error::new(ErrorKind::Internal, format!("files cannot be merged by a {other}"))),
    })
}

/// Waits for I/O on the thread of a merge, which is none of the runtime's own.
fn wait<T>(io: impl Future<Output = T>) -> T {
    tokio::runtime::Handle::current().block_on(io)
}

fn text_word(before: Option<&Word>, text: &str) -> Word {
    match before {
        Some(Word::Text(same)) if **same == *text => Word::Text(Arc::clone(same)),
        _ => Word::Text(text.into()),
    }
}

fn run<T: PartialEq>(values: &[T], start: usize, end: usize) -> usize {
    let first = &values[start];
    values[start..end].iter().position(|value| value != first).map_or(end, |len| start + len)
}

fn unreadable(path: &Path, error: parquet::errors::ParquetError) -> Error {
    Error::new(ErrorKind::Corrupt, format!("a file cannot be merged, path={path}")).caused_by(error)
}

/// The batch in the dataset's own types, whoever wrote it.
fn conform(dataset: &Dataset, batch: &RecordBatch) -> Result<RecordBatch> {
    let schema = dataset.file_schema();
    if batch.schema_ref().fields() == schema.fields() {
        return Ok(batch.clone());
    }
    let columns = schema.fields().iter().map(|field| {
        let column = batch.column_by_name(field.name()).ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, format!("a file lacks a column of its dataset, column={}", field.name()))
        })?;
        Ok(cast(column, field.data_type())?)
    });
    Ok(RecordBatch::try_new(Arc::clone(&schema), columns.collect::<Result<Vec<_>>>()?)?)
}

/// Order of two rows by a column of integers or text.
pub(super) fn compare(a: &ArrayRef, a_row: usize, b: &ArrayRef, b_row: usize) -> Ordering {
    match a.data_type() {
        DataType::Int64 => a.as_primitive::<Int64Type>().value(a_row).cmp(&b.as_primitive::<Int64Type>().value(b_row)),
        DataType::Timestamp(_, _) => {
            let (a, b) = (a.as_primitive::<TimestampMicrosecondType>(), b.as_primitive::<TimestampMicrosecondType>());
            a.value(a_row).cmp(&b.value(b_row))
        }
        DataType::Date32 => {
            a.as_primitive::<Date32Type>().value(a_row).cmp(&b.as_primitive::<Date32Type>().value(b_row))
        }
        DataType::Utf8 => a.as_string::<i32>().value(a_row).cmp(b.as_string::<i32>().value(b_row)),
        DataType::Dictionary(_, _) => text(a.as_dictionary(), a_row).cmp(text(b.as_dictionary(), b_row)),
        _ => Ordering::Equal,
    }
}

fn text(array: &DictionaryArray<Int32Type>, row: usize) -> &str {
    usize::try_from(array.keys().value(row)).map_or("", |key| array.values().as_string::<i32>().value(key))
}

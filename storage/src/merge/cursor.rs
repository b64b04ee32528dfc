//! Reads one sorted input, a file or a run in memory, stretch by stretch.
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

/// A value of a sort column. Of one column, all are of one kind.
#[derive(Debug, Clone)]
pub(super) enum Word {
    /// Comes before all others.
    Null,
    Int(i64),
    Text(Arc<str>),
}

impl Ord for Word {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            // Inputs in step share their texts, and the same metric is compared for every series of it.
            (Self::Text(a), Self::Text(b)) if Arc::ptr_eq(a, b) => Ordering::Equal,
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Null, _) | (Self::Int(_), Self::Text(_)) => Ordering::Less,
            (_, Self::Null) | (Self::Text(_), Self::Int(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Word {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Word {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Word {}

/// The text met last, which inputs in step meet one after the other.
#[derive(Default)]
pub(super) struct Texts(Option<Arc<str>>);

impl Texts {
    fn word(&mut self, text: &str) -> Word {
        match &self.0 {
            Some(last) if **last == *text => Word::Text(Arc::clone(last)),
            _ => Word::Text(Arc::clone(self.0.insert(text.into()))),
        }
    }
}

/// Values of the leading sort columns.
pub(super) type Key = Vec<Word>;

/// Where the next batches come from.
enum Source {
    File(Path, Box<ParquetRecordBatchStream<StoredFile>>),
    /// A run in memory, whose rows are all there.
    Run,
}

/// A sorted input being read.
pub(super) struct Cursor {
    dataset: &'static Dataset,
    source: Source,
    batch: RecordBatch,
    stretch: Range<usize>,
    /// Rows of the batch that agree with the stretch in the first leading column, in the first two, and so on.
    runs: Vec<Range<usize>>,
    /// Key of the stretch; `None` at the end.
    key: Option<Key>,
}

impl Cursor {
    /// Opens a file and reads its first batch. Blocks.
    pub(super) fn open(
        dataset: &'static Dataset,
        order: &Order,
        texts: &mut Texts,
        (store, file): (&Arc<dyn ObjectStore>, &DataFile),
    ) -> Result<Self> {
        let reader = StoredFile::new(Arc::clone(store), file);
        let stream = wait(ParquetRecordBatchStreamBuilder::new(reader))
            .and_then(|builder| builder.with_batch_size(BATCH_ROWS).build())
            .map_err(|error| unreadable(&file.path, error))?;
        let source = Source::File(file.path.clone(), Box::new(stream));
        let batch = RecordBatch::new_empty(dataset.file_schema());
        let mut cursor = Self { dataset, source, batch, stretch: 0..0, runs: Vec::new(), key: None };
        cursor.next_batch(order, texts)?;
        Ok(cursor)
    }

    /// A run in memory, of [`Dataset::file_schema`].
    pub(super) fn of(dataset: &'static Dataset, order: &Order, texts: &mut Texts, run: RecordBatch) -> Result<Self> {
        let empty = run.num_rows() == 0;
        let mut cursor = Self { dataset, source: Source::Run, batch: run, stretch: 0..0, runs: Vec::new(), key: None };
        if !empty {
            cursor.find(order, texts, 0)?;
        }
        Ok(cursor)
    }

    /// Key of the stretch at hand; `None` at the end.
    pub(super) fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// Batch of the stretch at hand.
    pub(super) fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// Rows of the stretch at hand, and whether its batch ends with it. Moves on to the next one. Blocks.
    pub(super) fn advance(&mut self, order: &Order, texts: &mut Texts) -> Result<(Range<usize>, bool)> {
        let stretch = self.stretch.clone();
        if stretch.end < self.batch.num_rows() {
            self.find(order, texts, stretch.end)?;
            return Ok((stretch, false));
        }
        self.next_batch(order, texts)?;
        Ok((stretch, true))
    }

    fn next_batch(&mut self, order: &Order, texts: &mut Texts) -> Result<()> {
        if let Source::File(path, stream) = &mut self.source {
            while let Some(batch) = wait(stream.next()) {
                let batch = batch.map_err(|error| unreadable(path, error))?;
                if batch.num_rows() > 0 {
                    self.batch = conform(self.dataset, &batch)?;
                    self.runs.clear();
                    return self.find(order, texts, 0);
                }
            }
        }
        self.key = None;
        Ok(())
    }

    /// The stretch that starts at a row.
    fn find(&mut self, order: &Order, texts: &mut Texts, start: usize) -> Result<()> {
        let mut end = self.batch.num_rows();
        let mut key = Key::with_capacity(order.leading.len());
        for (at, column) in order.leading.iter().enumerate() {
            let (word, run) = match (&self.key, self.runs.get(at)) {
                // A run of the first column is that of many stretches, and is not looked through for each of them.
                (Some(before), Some(run)) if run.contains(&start) && run.end <= end && at < before.len() => {
                    (before[at].clone(), run.end)
                }
                _ => stretch(self.batch.column(*column), start, end, texts)?,
            };
            self.runs.truncate(at);
            self.runs.push(start..run);
            key.push(word);
            end = run;
        }
        if self.key.as_ref().is_some_and(|before| *before > key) {
            return Err(match &self.source {
                Source::File(path, _) => {
                    let message = format!("a file's rows are not in the order in which it was written, path={path}");
                    Error::new(ErrorKind::Corrupt, message)
                }
                Source::Run => Error::new(ErrorKind::Internal, "a run of the head is not sorted"),
            });
        }
        self.key = Some(key);
        self.stretch = start..end;
        Ok(())
    }
}

/// The value of a column at `start`, and where another one begins.
fn stretch(column: &ArrayRef, start: usize, end: usize, texts: &mut Texts) -> Result<(Word, usize)> {
    // What is null stands before the rest.
    let end = match column.nulls() {
        Some(nulls) if nulls.is_null(start) => {
            return Ok((Word::Null, (start + 1..end).find(|row| nulls.is_valid(*row)).unwrap_or(end)));
        }
        Some(nulls) => (start + 1..end).find(|row| nulls.is_null(*row)).unwrap_or(end),
        None => end,
    };
    Ok(match column.data_type() {
        DataType::Dictionary(_, _) => {
            let column = column.as_dictionary::<Int32Type>();
            (texts.word(text(column, start)), run(column.keys().values(), start, end))
        }
        DataType::Utf8 => {
            let column = column.as_string::<i32>();
            let text = column.value(start);
            let run = (start + 1..end).find(|row| column.value(*row) != text).unwrap_or(end);
            (texts.word(text), run)
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
    match (a.is_null(a_row), b.is_null(b_row)) {
        (false, false) => {}
        (a, b) => return b.cmp(&a),
    }
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

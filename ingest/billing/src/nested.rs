//! Reads Parquet as records: members of structs have dotted names, lists and maps are JSON, and numbers are their exact text.
//!
//! Called by the reader. Google's and AWS' exports have costs as binary floats in Parquet: their shortest decimal text that reads back as
//! the same float is taken for what was meant, and the report says so.
//!
//! Invariants: a decimal is exact; memory is bounded by a batch of rows.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, make_array},
    buffer::NullBuffer,
    datatypes::{DataType, FieldRef},
    json::writer::{EncoderOptions, make_encoder},
    util::display::{ArrayFormatter, FormatOptions},
};
use parquet::{
    arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    file::reader::ChunkReader,
};

use crate::{
    error::{Error, ErrorKind, Result},
    record::{Header, Next, Record, Span, Wire},
};

/// Rows that are texts at a time.
const ROWS: usize = 1_024;

/// Rows of Parquet.
pub(crate) struct Nested {
    pub header: Header,
    reader: ParquetRecordBatchReader,
    file: String,
    columns: Vec<Texts>,
    rows: usize,
    row: usize,
    line: u64,
    text: String,
    spans: Vec<Span>,
}

/// A column as texts.
struct Texts {
    text: String,
    ends: Vec<usize>,
    nulls: Option<NullBuffer>,
}

impl Nested {
    pub(crate) fn open(input: impl ChunkReader + 'static, file: &str) -> Result<Self> {
        let damaged = |error: parquet::errors::ParquetError| {
            Error::new(ErrorKind::Corrupt, format!("{file} is no Parquet that can be read: {error}")).caused_by(error)
        };
        let builder = ParquetRecordBatchReaderBuilder::try_new(input).map_err(damaged)?;
        let mut header = Header::default();
        for field in builder.schema().fields() {
            name(&mut header, field, "");
        }
        let reader = builder.with_batch_size(ROWS).build().map_err(damaged)?;
        let (file, columns) = (file.to_owned(), Vec::new());
        Ok(Self { header, reader, file, columns, rows: 0, row: 0, line: 0, text: String::new(), spans: Vec::new() })
    }

    pub(crate) fn record(&self) -> Record<'_> {
        Record { raw: &self.text, side: &self.text, spans: &self.spans }
    }

    pub(crate) fn next(&mut self) -> Result<Next> {
        while self.row == self.rows {
            match self.reader.next() {
                None => return Ok(Next::End),
                Some(Err(error)) => {
                    let message = format!("{} is damaged behind row {}: {error}", self.file, self.line);
                    return Err(Error::new(ErrorKind::Corrupt, message).caused_by(error));
                }
                Some(Ok(batch)) => self.load(&batch)?,
            }
        }
        self.text.clear();
        self.spans.clear();
        for column in &self.columns {
            // A comma between texts lets what is rejected be read.
            if !self.text.is_empty() {
                self.text.push(',');
            }
            let start = self.text.len();
            self.text.push_str(column.get(self.row));
            // Both are the same text; which of the two it is tells an empty text from null.
            let span = if column.is_null(self.row) { Span::raw } else { Span::side };
            self.spans.push(span(start, self.text.len()));
        }
        (self.row, self.line) = (self.row + 1, self.line + 1);
        Ok(Next::Record { line: self.line })
    }

    fn load(&mut self, batch: &RecordBatch) -> Result<()> {
        self.columns.clear();
        (self.rows, self.row) = (batch.num_rows(), 0);
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            texts(field, column, None, &mut self.columns)?;
        }
        Ok(())
    }
}

impl Texts {
    fn get(&self, row: usize) -> &str {
        let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        self.ends.get(row).and_then(|end| self.text.get(start..*end)).unwrap_or_default()
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }
}

/// Names the leaves of a field, in the order of [`texts`].
fn name(header: &mut Header, field: &FieldRef, prefix: &str) {
    let path = if prefix.is_empty() { field.name().clone() } else { format!("{prefix}.{}", field.name()) };
    match field.data_type() {
        DataType::Struct(fields) => fields.iter().for_each(|field| name(header, field, &path)),
        other => {
            let slot = header.push(path);
            header.saw(slot, wire(other));
            if other.is_floating() {
                header.floats.push(slot);
            }
        }
    }
}

/// How values of a type are written.
fn wire(of: &DataType) -> u8 {
    match of {
        DataType::Null => 0,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Wire::TEXT,
        DataType::Timestamp(..) => Wire::TIME,
        DataType::Dictionary(_, of) => wire(of),
        other if other.is_numeric() => Wire::NUMBER,
        _ => Wire::OTHER,
    }
}

/// The same times without a zone: they are UTC whatever it is, and only offsets of zones can be formatted.
fn in_utc(column: &ArrayRef) -> Result<ArrayRef> {
    match column.data_type() {
        DataType::Timestamp(unit, Some(_)) => {
            let data = column.to_data().into_builder().data_type(DataType::Timestamp(*unit, None)).build()?;
            Ok(make_array(data))
        }
        _ => Ok(Arc::clone(column)),
    }
}

/// Turns the leaves of a column into texts.
fn texts(field: &FieldRef, column: &ArrayRef, above: Option<&NullBuffer>, out: &mut Vec<Texts>) -> Result<()> {
    let nulls = NullBuffer::union(above, column.nulls());
    if let DataType::Struct(fields) = field.data_type() {
        for (field, column) in fields.iter().zip(column.as_struct().columns()) {
            texts(field, column, nulls.as_ref(), out)?;
        }
        return Ok(());
    }
    let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let (text, ends) = (String::new(), Vec::with_capacity(column.len()));
    let mut texts = Texts { text, ends, nulls: None };
    if field.data_type().is_nested() {
        let options = EncoderOptions::default();
        let mut encoder = make_encoder(field, column, &options)?;
        let mut json = Vec::new();
        for row in 0..column.len() {
            if !is_null(row) {
                json.clear();
                encoder.encode(row, &mut json);
                texts.text.push_str(&String::from_utf8_lossy(&json));
            }
            texts.ends.push(texts.text.len());
        }
    } else {
        let options = FormatOptions::new();
        let column = in_utc(column)?;
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
        for row in 0..column.len() {
            if !is_null(row) {
                formatter.value(row).write(&mut texts.text)?;
            }
            texts.ends.push(texts.text.len());
        }
    }
    texts.nulls = nulls;
    out.push(texts);
    Ok(())
}

#[cfg(test)]
mod tests;

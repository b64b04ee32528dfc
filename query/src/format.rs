//! Writes batches as JSON, NDJSON, CSV, an Arrow stream, a Parquet file, a workbook or a table.
//!
//! Called by `http`, batch by batch, and by the command line. Timestamps are RFC 3339 in UTC; 64-bit integers are numbers;
//! NaN and infinities are the strings `NaN`, `+Inf`, `-Inf`, as Prometheus writes them; decimals are strings, so that no
//! digit is lost; maps are objects; binary is hexadecimal. Text in CSV that a spreadsheet would run as a formula is led by `'`: tags are
//! written by whoever may make a resource, and read by whoever opens the bill.
//!
//! Invariant: the text of an [`Encoder`] is whole only after [`Encoder::finish`]: JSON lacks its closing brackets before, and
//! an Arrow stream its end marker, a Parquet file its footer, so a body that was cut off is told from a short one.

mod cell;
mod parquet;
mod xlsx;

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
    ipc::writer::StreamWriter,
    util::pretty::pretty_format_batches,
};

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool};

use crate::Result;

use self::{parquet::ParquetFile, xlsx::Sheet};
pub use cell::Cell;
use cell::{Style, cell};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One object: `{"status":"success","data":{"columns":[{"name","type"}],"rows":[[…]]}}`.
    Json,
    /// One object a row, one row a line.
    Ndjson,
    /// RFC 4180 with a header; nulls are empty, lists and maps are JSON; text that begins like a formula, with `=`, `+`, `-`, `@`, a tab
    /// or a carriage return, has a `'` before it. Numbers are left as they are.
    Csv,
    /// Arrow IPC stream.
    Arrow,
    /// Parquet file.
    Parquet,
    /// Workbook of Excel and other spreadsheets.
    Xlsx,
}

impl Format {
    /// The format of a name, as in `format=csv`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv),
            "arrow" => Some(Self::Arrow),
            "parquet" => Some(Self::Parquet),
            "xlsx" => Some(Self::Xlsx),
            _ => None,
        }
    }

    /// How files of it end, of formats that people download.
    #[must_use]
    pub fn extension(self) -> Option<&'static str> {
        match self {
            Self::Json | Self::Ndjson | Self::Arrow => None,
            Self::Csv => Some("csv"),
            Self::Parquet => Some("parquet"),
            Self::Xlsx => Some("xlsx"),
        }
    }

    /// The first media type of an `Accept` header that is a format of ours.
    #[must_use]
    pub fn accepted(header: &str) -> Option<Self> {
        let media = header.split(',').filter_map(|part| part.split(';').next()).map(str::trim);
        media.filter_map(|media| Self::all().into_iter().find(|f| f.has_media_type(media))).next()
    }

    fn all() -> [Self; 6] {
        [Self::Json, Self::Ndjson, Self::Csv, Self::Arrow, Self::Parquet, Self::Xlsx]
    }

    fn has_media_type(self, media: &str) -> bool {
        media == self.content_type() || (self == Self::Csv && media == "text/csv")
    }

    /// Media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        }
    }
}

/// Writes values of a column as JSON.
///
/// # Errors
/// If the column is of a type that cannot be shown.
pub fn json_of(array: &dyn Array) -> Result<Cell<'_>> {
    cell(array, Style::Json)
}

/// A value written as JSON, as a text; what JSON has as a string is one, and null is none.
#[must_use]
pub fn text_of(cell: &Cell<'_>, row: usize) -> Option<String> {
    let mut json = Vec::new();
    cell(row, &mut json);
    match json.first() {
        _ if json == b"null" => None,
        Some(b'"') => serde_json::from_slice(&json).ok(),
        _ => Some(String::from_utf8_lossy(&json).into_owned()),
    }
}

/// Writes one answer, batch by batch.
pub struct Encoder {
    format: Format,
    names: Vec<String>,
    /// Which columns are text.
    texts: Vec<bool>,
    binary: Option<Binary>,
    has_rows: bool,
}

/// What writes formats that are no text.
enum Binary {
    Arrow(Box<StreamWriter<Vec<u8>>>),
    Parquet(Box<ParquetFile>),
    Xlsx(Box<Sheet>),
}

impl Encoder {
    /// Begins an answer; gives its first bytes.
    ///
    /// # Errors
    /// If a type cannot be written in the format.
    pub fn begin(format: Format, schema: &SchemaRef) -> Result<(Self, Vec<u8>)> {
        let names: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        let texts = schema.fields().iter().map(|field| is_text(field.data_type())).collect();
        let mut encoder = Self { format, names, texts, binary: None, has_rows: false };
        let mut out = Vec::new();
        match format {
            Format::Json => {
                out.extend_from_slice(br#"{"status":"success","data":{"columns":["#);
                for (i, field) in schema.fields().iter().enumerate() {
                    out.extend_from_slice(if i == 0 { br#"{"name":"# } else { br#",{"name":"# });
                    cell::quoted(&mut out, field.name());
                    out.extend_from_slice(br#","type":"#);
                    cell::quoted(&mut out, &type_name(field.data_type()));
                    out.push(b'}');
                }
                out.extend_from_slice(br#"],"rows":["#);
            }
            Format::Ndjson => {}
            Format::Csv => {
                for (i, name) in encoder.names.iter().enumerate() {
                    csv_field(&mut out, name.as_bytes(), i, true);
                }
                out.extend_from_slice(b"\r\n");
            }
            Format::Arrow => {
                let mut ipc = StreamWriter::try_new(Vec::new(), schema)?;
                out.append(ipc.get_mut());
                encoder.binary = Some(Binary::Arrow(Box::new(ipc)));
            }
            Format::Parquet => {
                let (file, mut begun) = ParquetFile::begin(schema)?;
                out.append(&mut begun);
                encoder.binary = Some(Binary::Parquet(Box::new(file)));
            }
            Format::Xlsx => encoder.binary = Some(Binary::Xlsx(Box::new(Sheet::begin(schema)?))),
        }
        Ok((encoder, out))
    }

    /// Takes the memory of what must be held until the end of a pool.
    pub(crate) fn bounded_by(&mut self, pool: &Arc<dyn MemoryPool>) {
        if let Some(Binary::Xlsx(sheet)) = &mut self.binary {
            sheet.bounded_by(MemoryConsumer::new("workbook").register(pool));
        }
    }

    /// Does its end take so long that others should go on meanwhile?
    pub(crate) fn ends_slowly(&self) -> bool {
        matches!(self.binary, Some(Binary::Xlsx(_)))
    }

    /// Bytes of some rows.
    ///
    /// # Errors
    /// If a value cannot be written.
    pub fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        match &mut self.binary {
            Some(Binary::Arrow(ipc)) => {
                ipc.write(batch)?;
                return Ok(std::mem::take(ipc.get_mut()));
            }
            Some(Binary::Parquet(file)) => return file.rows(batch),
            Some(Binary::Xlsx(sheet)) => {
                sheet.rows(batch)?;
                return Ok(out);
            }
            None => {}
        }
        let style = if self.format == Format::Csv { Style::Plain } else { Style::Json };
        let cells = cells(batch, style)?;
        let mut text = Vec::new();
        for row in 0..batch.num_rows() {
            match self.format {
                Format::Json => {
                    out.extend_from_slice(if self.has_rows { b",\n[" } else { b"\n[" });
                    for (i, cell) in cells.iter().enumerate() {
                        if i > 0 {
                            out.push(b',');
                        }
                        cell(row, &mut out);
                    }
                    out.push(b']');
                }
                Format::Ndjson | Format::Arrow | Format::Parquet | Format::Xlsx => {
                    for (i, (name, cell)) in self.names.iter().zip(&cells).enumerate() {
                        out.push(if i == 0 { b'{' } else { b',' });
                        cell::quoted(&mut out, name);
                        out.push(b':');
                        cell(row, &mut out);
                    }
                    out.extend_from_slice(if cells.is_empty() { b"{}\n" } else { b"}\n" });
                }
                Format::Csv => {
                    for (i, (cell, is_text)) in cells.iter().zip(&self.texts).enumerate() {
                        text.clear();
                        cell(row, &mut text);
                        csv_field(&mut out, &text, i, *is_text);
                    }
                    out.extend_from_slice(b"\r\n");
                }
            }
            self.has_rows = true;
        }
        Ok(out)
    }

    /// Ends the answer; gives its last bytes.
    ///
    /// # Errors
    /// If a format that is no text cannot be ended.
    pub fn finish(self) -> Result<Vec<u8>> {
        match (self.binary, self.format) {
            (Some(Binary::Arrow(mut ipc)), _) => {
                ipc.finish()?;
                Ok(std::mem::take(ipc.get_mut()))
            }
            (Some(Binary::Parquet(file)), _) => file.finish(),
            (Some(Binary::Xlsx(sheet)), _) => sheet.finish(),
            (None, Format::Json) => Ok(b"\n]}}\n".to_vec()),
            (None, _) => Ok(Vec::new()),
        }
    }
}

/// Whole answer as one JSON object.
///
/// # Errors
/// If a value cannot be written.
pub fn json(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<String> {
    text(Format::Json, schema, batches)
}

/// Whole answer as CSV.
///
/// # Errors
/// If a value cannot be written.
pub fn csv(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<String> {
    text(Format::Csv, schema, batches)
}

fn text(format: Format, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<String> {
    let (mut encoder, mut out) = Encoder::begin(format, schema)?;
    for batch in batches {
        out.append(&mut encoder.rows(batch)?);
    }
    out.append(&mut encoder.finish()?);
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// Whole answer as a table for a terminal.
///
/// # Errors
/// If a value cannot be written.
pub fn table(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<String> {
    let fields: Vec<Field> = schema.fields().iter().map(|f| Field::new(f.name(), DataType::Utf8, true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let mut shown = Vec::new();
    for batch in batches.iter().filter(|b| b.num_columns() > 0) {
        let column = |cell: &Cell<'_>| -> ArrayRef {
            let value = |row| {
                let mut out = Vec::new();
                cell(row, &mut out);
                String::from_utf8_lossy(&out).into_owned()
            };
            Arc::new(StringArray::from_iter_values((0..batch.num_rows()).map(value)))
        };
        let columns = cells(batch, Style::Plain)?.iter().map(column).collect();
        shown.push(RecordBatch::try_new(Arc::clone(&schema), columns)?);
    }
    if shown.is_empty() {
        shown.push(RecordBatch::new_empty(schema));
    }
    Ok(pretty_format_batches(&shown)?.to_string())
}

/// The first rows of a batch as texts, cell by cell.
///
/// # Errors
/// If a value cannot be written.
pub fn texts(batch: &RecordBatch, rows_max: usize) -> Result<Vec<Vec<String>>> {
    let cells = cells(batch, Style::Plain)?;
    let text = |cell: &Cell<'_>, row: usize| {
        let mut out = Vec::new();
        cell(row, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    };
    Ok((0..batch.num_rows().min(rows_max)).map(|row| cells.iter().map(|cell| text(cell, row)).collect()).collect())
}

fn cells(batch: &RecordBatch, style: Style) -> Result<Vec<Cell<'_>>> {
    batch.columns().iter().map(|column| cell(column.as_ref(), style)).collect()
}

fn csv_field(out: &mut Vec<u8>, text: &[u8], index: usize, is_text: bool) {
    if index > 0 {
        out.push(b',');
    }
    let guard: &[u8] = if is_text && is_formula(text) { b"'" } else { b"" };
    if text.iter().any(|b| matches!(b, b'"' | b',' | b'\n' | b'\r')) {
        out.push(b'"');
        out.extend_from_slice(guard);
        for byte in text {
            if *byte == b'"' {
                out.push(b'"');
            }
            out.push(*byte);
        }
        out.push(b'"');
    } else {
        out.extend_from_slice(guard);
        out.extend_from_slice(text);
    }
}

/// Would a spreadsheet run a text as a formula?
fn is_formula(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r'))
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_text(values),
        other => other.is_string(),
    }
}

/// Name of a type in an answer: `int64`, `string`, `timestamp`, `map(string, string)`, `decimal(38, 15)`.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "bool".to_owned(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "binary".to_owned()
        }
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => {
            format!("decimal({p}, {s})")
        }
        DataType::Dictionary(_, values) => type_name(values),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            format!("list({})", type_name(item.data_type()))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => {
                let names: Vec<_> = fields.iter().map(|f| type_name(f.data_type())).collect();
                format!("map({})", names.join(", "))
            }
            other => type_name(other),
        },
        DataType::Struct(fields) => {
            let names: Vec<_> = fields.iter().map(|f| format!("{} {}", f.name(), type_name(f.data_type()))).collect();
            format!("struct({})", names.join(", "))
        }
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests;

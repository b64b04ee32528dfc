//! Encodes sorted rows as one Parquet file, with the writer properties that were measured for metrics.
//!
//! Called by commits and by upkeep. Gives the bytes and the bounds of its columns; knows datasets only by their columns' [`Encoding`].
//! Why these properties: `docs/decisions/0003-parquet-writer-properties.md`.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::{max, min},
    datatypes::{DataType, Date32Type, Int32Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType},
};
use bytes::Bytes;
use parquet::{
    arrow::{
        ArrowWriter,
        arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves},
    },
    basic::{Compression, Encoding as ParquetEncoding, Type as PhysicalType, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::SortingColumn,
        properties::{EnabledStatistics, WriterProperties, WriterVersion},
        writer::SerializedFileWriter,
    },
    schema::types::ColumnPath,
};
use schemas::{Dataset, Encoding};

use crate::{Bound, Result, checked};

/// 64 KiB pages of at most 8,192 rows: about one series and day, so that a needle reads one page per column.
const PAGE_BYTES: usize = 64 << 10;
const PAGE_ROWS: usize = 8192;
const ROW_GROUP_ROWS: usize = 1 << 20;
/// Rows that are taken apart at once, whole pages of them: for what is nested that takes more memory than the rows.
const TAKEN_APART_ROWS: usize = 4 * PAGE_ROWS;

/// An encoded file.
pub(crate) struct Encoded {
    pub bytes: Bytes,
    /// What the name says of the bytes after the data.
    pub tail: String,
    pub rows: u64,
    pub bounds: BTreeMap<String, (Bound, Bound)>,
    pub null_counts: BTreeMap<String, u64>,
}

/// How hard a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Written once and soon merged.
    Fresh,
    /// Read for long.
    Kept,
}

/// Encodes rows that are sorted by the dataset's order and lie in one partition.
pub(crate) fn encode(dataset: &Dataset, rows: impl IntoIterator<Item = Result<RecordBatch>>) -> Result<Encoded> {
    let mut file = FileWriter::new(dataset, Effort::Fresh)?;
    for rows in rows {
        file.write(&file_rows(dataset, &rows?)?)?;
    }
    file.finish()
}

/// The columns of rows that stand in files.
pub(crate) fn file_rows(dataset: &Dataset, rows: &RecordBatch) -> Result<RecordBatch> {
    let first = dataset.columns_of_partition();
    Ok(RecordBatch::try_new(dataset.file_schema(), rows.columns()[first..].to_vec())?)
}

/// A file being encoded in memory, from sorted batches of [`Dataset::file_schema`].
pub(crate) struct FileWriter {
    file: SerializedFileWriter<Vec<u8>>,
    schema: SchemaRef,
    columns: ArrowRowGroupWriterFactory,
    /// Writes those columns whose leaves are amounts, if there are some.
    amounts: Option<ArrowRowGroupWriterFactory>,
    /// The row group that is being encoded, by leaves, and its rows.
    group: Vec<ArrowColumnWriter>,
    group_rows: usize,
    rows: u64,
    bounds: BTreeMap<String, (Bound, Bound)>,
    null_counts: BTreeMap<String, u64>,
}

impl FileWriter {
    pub(crate) fn new(dataset: &Dataset, effort: Effort) -> Result<Self> {
        let schema = dataset.file_schema();
        let parts = |version| {
            let properties = properties(dataset, effort, version);
            ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))?.into_serialized_writer()
        };
        // Only pages of the second version have dictionaries of decimals. They do not compress where a list begins and ends, which is a
        // fourth of a file of bills: so all other columns have pages of the first.
        let (file, columns) = parts(WriterVersion::PARQUET_1_0)?;
        let has_amounts = dataset.columns.iter().any(|column| is_amount(&column.data_type));
        let amounts = has_amounts.then(|| parts(WriterVersion::PARQUET_2_0)).transpose()?.map(|(_, columns)| columns);
        let (bounds, null_counts) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { file, schema, columns, amounts, group: Vec::new(), group_rows: 0, rows: 0, bounds, null_counts })
    }

    /// Adds rows that come after those before.
    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let mut from = 0;
        while from < rows.num_rows() {
            let count = (ROW_GROUP_ROWS - self.group_rows).min(rows.num_rows() - from).min(TAKEN_APART_ROWS);
            self.encode(&rows.slice(from, count))?;
            from += count;
        }
        self.rows += rows.num_rows() as u64;
        for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
            *self.null_counts.entry(field.name().clone()).or_default() += column.null_count() as u64;
            let Some((low, high)) = bounds_of(column) else { continue };
            match self.bounds.get_mut(field.name()) {
                Some(bounds) => {
                    if low < bounds.0 {
                        bounds.0 = low;
                    }
                    if high > bounds.1 {
                        bounds.1 = high;
                    }
                }
                None => drop(self.bounds.insert(field.name().clone(), (low, high))),
            }
        }
        Ok(())
    }

    /// Adds rows to the row group, which has room for them.
    fn encode(&mut self, rows: &RecordBatch) -> Result<()> {
        if self.group.is_empty() {
            let nth = self.file.flushed_row_groups().len();
            self.group = self.columns.create_column_writers(nth)?;
            if let Some(amounts) = &self.amounts {
                let leaves = self.file.schema_descr().columns().iter();
                for ((writer, amount), leaf) in
                    self.group.iter_mut().zip(amounts.create_column_writers(nth)?).zip(leaves)
                {
                    if leaf.physical_type() == PhysicalType::FIXED_LEN_BYTE_ARRAY {
                        *writer = amount;
                    }
                }
            }
        }
        let mut writers = self.group.iter_mut();
        for (field, column) in self.schema.fields().iter().zip(rows.columns()) {
            for (leaf, writer) in compute_leaves(field, column)?.iter().zip(&mut writers) {
                writer.write(leaf)?;
            }
        }
        self.group_rows += rows.num_rows();
        if self.group_rows == ROW_GROUP_ROWS { self.end_group() } else { Ok(()) }
    }

    fn end_group(&mut self) -> Result<()> {
        if self.group_rows > 0 {
            let mut group = self.file.next_row_group()?;
            for writer in self.group.drain(..) {
                writer.close()?.append_to_row_group(&mut group)?;
            }
            group.close()?;
            self.group_rows = 0;
        }
        Ok(())
    }

    /// Bytes so far, about.
    pub(crate) fn bytes(&self) -> usize {
        let in_group: usize = self.group.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum();
        self.file.bytes_written() + in_group
    }

    pub(crate) fn finish(mut self) -> Result<Encoded> {
        self.end_group()?;
        let Self { mut file, rows, bounds, null_counts, .. } = self;
        file.flush().map_err(ParquetError::from)?;
        let data = file.inner().len();
        file.append_key_value_metadata(checked::seal(file.inner()));
        let bytes: Bytes = file.into_inner()?.into();
        let tail = checked::name_of_tail(bytes.get(data..).unwrap_or_default());
        Ok(Encoded { bytes, tail, rows, bounds, null_counts })
    }
}

/// A dictionary of so many amounts pays; with more of them, which are too random to come twice, plain ones take less room.
const AMOUNTS_DICTIONARY_BYTES: usize = 32 << 10;

fn is_amount(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal128(..))
}

fn properties(dataset: &Dataset, effort: Effort, version: WriterVersion) -> WriterProperties {
    let level = match effort {
        Effort::Fresh => 1,
        Effort::Kept => 3,
    };
    let zstd = ZstdLevel::try_new(level).map_or(Compression::SNAPPY, Compression::ZSTD);
    let mut properties = WriterProperties::builder()
        .set_writer_version(version)
        .set_created_by(concat!("streamgauge version ", env!("CARGO_PKG_VERSION")).into())
        .set_compression(zstd)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_sorting_columns(sorting_columns(dataset));
    for column in &dataset.columns {
        for path in leaf_paths(column.name, &column.data_type) {
            let path = ColumnPath::new(path);
            properties = match column.encoding {
                Encoding::Dictionary if is_amount(&column.data_type) => properties
                    .set_column_dictionary_enabled(path.clone(), true)
                    .set_column_dictionary_page_size_limit(path.clone(), AMOUNTS_DICTIONARY_BYTES)
                    .set_column_encoding(path, ParquetEncoding::PLAIN),
                Encoding::Dictionary => properties.set_column_dictionary_enabled(path, true),
                Encoding::Delta => properties
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, ParquetEncoding::DELTA_BINARY_PACKED),
                Encoding::Plain => {
                    let statistics = if dataset.sort.contains(&column.name) {
                        EnabledStatistics::Page
                    } else {
                        EnabledStatistics::None
                    };
                    properties
                        .set_column_dictionary_enabled(path.clone(), false)
                        .set_column_encoding(path.clone(), ParquetEncoding::PLAIN)
                        .set_column_statistics_enabled(path, statistics)
                }
            };
        }
    }
    properties.build()
}

/// Positions of the sort columns among the file's leaves, if they are leaves of their own.
fn sorting_columns(dataset: &Dataset) -> Option<Vec<SortingColumn>> {
    let schema = dataset.file_schema();
    let leaves: Vec<Vec<String>> =
        schema.fields().iter().flat_map(|field| leaf_paths(field.name(), field.data_type())).collect();
    dataset
        .sort
        .iter()
        .map(|name| {
            let leaf = leaves.iter().position(|path| path.len() == 1 && path[0] == *name)?;
            Some(SortingColumn { column_idx: i32::try_from(leaf).ok()?, descending: false, nulls_first: true })
        })
        .collect()
}

/// Paths of the Parquet leaves of a column.
fn leaf_paths(name: &str, data_type: &DataType) -> Vec<Vec<String>> {
    let below = |children: Vec<Vec<String>>, prefix: &[&str]| {
        let prefix: Vec<String> = std::iter::once(name).chain(prefix.iter().copied()).map(str::to_owned).collect();
        children.into_iter().map(|child| [prefix.clone(), child].concat()).collect::<Vec<_>>()
    };
    match data_type {
        DataType::List(item) => below(leaf_paths(item.name(), item.data_type()), &["list"]),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => below(
                fields.iter().flat_map(|field| leaf_paths(field.name(), field.data_type())).collect(),
                &[entries.name()],
            ),
            _ => Vec::new(),
        },
        DataType::Struct(fields) => {
            below(fields.iter().flat_map(|field| leaf_paths(field.name(), field.data_type())).collect(), &[])
        }
        _ => vec![vec![name.to_owned()]],
    }
}

/// Smallest and largest value. Doubles have none: NaN has no place in an order, and no filter prunes by a value.
pub(crate) fn bounds_of(column: &ArrayRef) -> Option<(Bound, Bound)> {
    let integers = |low: Option<i64>, high: Option<i64>| Some((Bound::Int(low?), Bound::Int(high?)));
    match column.data_type() {
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>();
            integers(min(values), max(values))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let values = column.as_primitive::<TimestampMicrosecondType>();
            integers(min(values), max(values))
        }
        DataType::Int32 => {
            let values = column.as_primitive::<Int32Type>();
            integers(min(values).map(i64::from), max(values).map(i64::from))
        }
        DataType::Date32 => {
            let values = column.as_primitive::<Date32Type>();
            integers(min(values).map(i64::from), max(values).map(i64::from))
        }
        DataType::Dictionary(_, _) => {
            let dictionary = column.as_dictionary::<Int32Type>();
            let values = dictionary.values().as_string::<i32>();
            // The dictionary is sorted, so its keys are in the order of its values.
            let low = usize::try_from(min(dictionary.keys())?).ok()?;
            let high = usize::try_from(max(dictionary.keys())?).ok()?;
            Some((Bound::Text(shorten(values.value(low))), Bound::Text(shorten_up(values.value(high)))))
        }
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            let low = arrow::compute::min_string(values)?;
            let high = arrow::compute::max_string(values)?;
            Some((Bound::Text(shorten(low)), Bound::Text(shorten_up(high))))
        }
        _ => None,
    }
}

/// Longest text kept as a bound, in characters.
const BOUND_CHARS: usize = 64;

fn shorten(text: &str) -> String {
    text.chars().take(BOUND_CHARS).collect()
}

fn shorten_up(text: &str) -> String {
    let mut short = shorten(text);
    if short.len() < text.len() {
        // Above every continuation of the prefix.
        short.push('\u{10FFFF}');
    }
    short
}

//! The value that describes one dataset, and the few column types datasets are made of.
//!
//! Called by the dataset files beside it; read by `storage` and `query`, which know no dataset by name.

use std::sync::Arc;

use arrow::{
    array::{MapArray, StringBuilder, StructArray},
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};

/// A named table as a value.
#[derive(Debug)]
pub struct Dataset {
    /// Name of the table, as in SQL and in the storage path.
    pub name: &'static str,
    /// What a row is, in one sentence.
    pub about: &'static str,
    /// Columns in storage order.
    pub columns: Vec<Column>,
    /// Column that says when a row happened.
    pub time: &'static str,
    /// Sort order of every file and every sorted run.
    pub sort: &'static [&'static str],
    /// Identity of a row: the first `key` columns of `sort`. Among rows with one key the latest written wins.
    pub key: usize,
    /// How the table is cut into partitions.
    pub partition: Partition,
    /// Days a row is kept, counted from its partition.
    pub retention_days: u32,
    /// Arrow schema of a batch of rows: all `columns`.
    pub schema: SchemaRef,
}

/// One column of a dataset.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name in SQL and in files.
    pub name: &'static str,
    /// Arrow type of the column in a batch.
    pub data_type: DataType,
    /// May a row lack it?
    pub nullable: bool,
    /// How the column is encoded in fresh files.
    pub encoding: Encoding,
    /// The sentence a user reads.
    pub about: &'static str,
}

/// How a column is laid out in Parquet; measured choices, see `docs/decisions/0003-parquet-writer-properties.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// RLE dictionary: few distinct values, or long runs of one.
    Dictionary,
    /// Delta binary packed: integers that grow steadily.
    Delta,
    /// Plain, without page statistics: values no filter can prune by.
    Plain,
}

/// How a dataset is cut into partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partition {
    /// One partition.
    None,
    /// By a column `day`, which is derived from the time column and is not among the columns.
    DayOfTime,
    /// So many of the first columns are the partition: a string or a date, and then dates.
    Columns(usize),
}

impl Dataset {
    /// Builds a dataset; called once per dataset by its file.
    pub(crate) fn new(name: &'static str, about: &'static str, columns: Vec<Column>, layout: Layout) -> Self {
        let fields: Vec<Field> = columns.iter().map(|c| Field::new(c.name, c.data_type.clone(), c.nullable)).collect();
        let Layout { time, sort, key, partition, retention_days } = layout;
        Self { name, about, columns, time, sort, key, partition, retention_days, schema: Arc::new(Schema::new(fields)) }
    }

    /// Index of a column in [`Dataset::schema`], if there is one of that name.
    #[must_use]
    pub fn index_of(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == column)
    }

    /// Names of the partition columns; none if the table is not partitioned.
    pub fn partition_columns(&self) -> impl Iterator<Item = &'static str> + '_ {
        let (day, columns) = match self.partition {
            Partition::None => (None, 0),
            Partition::DayOfTime => (Some("day"), 0),
            Partition::Columns(columns) => (None, columns),
        };
        day.into_iter().chain(self.columns.iter().take(columns).map(|column| column.name))
    }

    /// The partition columns and their values in a partition's text, where they are separated by `/`. Only the first may have one in it.
    pub fn partition_values<'a>(&self, partition: &'a str) -> Vec<(&'static str, &'a str)> {
        let names: Vec<&'static str> = self.partition_columns().collect();
        let values = partition.rsplitn(names.len().max(1), '/');
        let mut pairs: Vec<_> = names.into_iter().rev().zip(values).collect();
        pairs.reverse();
        pairs
    }

    /// How many of the first columns are not in files, since the partition says what they are.
    #[must_use]
    pub fn columns_of_partition(&self) -> usize {
        match self.partition {
            Partition::Columns(columns) => columns,
            Partition::None | Partition::DayOfTime => 0,
        }
    }

    /// Schema a reader sees: [`Dataset::schema`], with `day` in front when it is derived.
    #[must_use]
    pub fn table_schema(&self) -> SchemaRef {
        if self.partition != Partition::DayOfTime {
            return Arc::clone(&self.schema);
        }
        let day = Arc::new(Field::new("day", DataType::Date32, false));
        Arc::new(Schema::new(std::iter::once(day).chain(self.schema.fields().iter().cloned()).collect::<Fields>()))
    }

    /// Schema of the Parquet files: [`Dataset::schema`] without the partition columns.
    #[must_use]
    pub fn file_schema(&self) -> SchemaRef {
        match self.columns_of_partition() {
            0 => Arc::clone(&self.schema),
            skipped => Arc::new(Schema::new(self.schema.fields().iter().skip(skipped).cloned().collect::<Fields>())),
        }
    }
}

/// The parts of a dataset that are not its columns.
pub(crate) struct Layout {
    pub time: &'static str,
    pub sort: &'static [&'static str],
    pub key: usize,
    pub partition: Partition,
    pub retention_days: u32,
}

impl Column {
    pub(crate) fn new(name: &'static str, data_type: DataType, encoding: Encoding, about: &'static str) -> Self {
        Self { name, data_type, nullable: false, encoding, about }
    }

    pub(crate) fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }
}

/// Microseconds since the epoch, UTC; the content is whole milliseconds.
#[must_use]
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Days since the epoch, UTC.
#[must_use]
pub fn date() -> DataType {
    DataType::Date32
}

/// An amount of money or a price: real bills have up to 21 decimals, and sums stay below 10^16.
#[must_use]
pub fn money() -> DataType {
    DataType::Decimal128(38, 22)
}

/// A quantity: real bills have 15 decimals, and byte-seconds reach 2.6 × 10^21.
#[must_use]
pub fn quantity() -> DataType {
    DataType::Decimal128(38, 15)
}

/// An exchange rate.
#[must_use]
pub fn rate() -> DataType {
    DataType::Decimal128(18, 9)
}

/// Text with few distinct values in a batch.
#[must_use]
pub fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// `MAP<STRING, STRING>`, entries in key order, values never null.
#[must_use]
pub fn string_map() -> DataType {
    let (_, entries) = entries();
    DataType::Map(entries, false)
}

/// Key and value, and the struct of both.
fn entries() -> (Fields, FieldRef) {
    let text = |name| Field::new(name, DataType::Utf8, false);
    let fields = Fields::from(vec![text("key"), text("value")]);
    (fields.clone(), Arc::new(Field::new("key_value", DataType::Struct(fields), false)))
}

/// Maps of texts as an array of [`string_map`], in memory that is made once. Goes over them twice.
///
/// # Errors
/// Texts of more than 2 GiB.
pub fn string_maps<'a, M>(maps: impl Iterator<Item = M> + Clone) -> Result<MapArray, ArrowError>
where
    M: Iterator<Item = (&'a str, &'a str)>,
{
    let (mut entries_count, mut key_bytes, mut value_bytes) = (0, 0, 0);
    let lengths = maps.clone().map(|map| {
        let before = entries_count;
        for (key, value) in map {
            (entries_count, key_bytes, value_bytes) =
                (entries_count + 1, key_bytes + key.len(), value_bytes + value.len());
        }
        entries_count - before
    });
    let lengths: Vec<usize> = lengths.collect();
    let most = entries_count.max(key_bytes).max(value_bytes);
    if i32::try_from(most).is_err() {
        return Err(ArrowError::OffsetOverflowError(most));
    }
    let offsets = OffsetBuffer::from_lengths(lengths);
    let mut keys = StringBuilder::with_capacity(entries_count, key_bytes);
    let mut values = StringBuilder::with_capacity(entries_count, value_bytes);
    for (key, value) in maps.flatten() {
        keys.append_value(key);
        values.append_value(value);
    }
    let (fields, field) = entries();
    let pairs = StructArray::try_new(fields, vec![Arc::new(keys.finish()), Arc::new(values.finish())], None)?;
    MapArray::try_new(field, offsets, pairs, None, false)
}

/// A list of values that are never null.
#[must_use]
pub fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", item, false)))
}

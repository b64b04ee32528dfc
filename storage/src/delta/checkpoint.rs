//! Checkpoints: the lines that make up a table's state, as one Parquet file.
//!
//! Called by the table. Goes through Arrow's JSON reader and writer, so that a checkpoint row and a commit line are the same
//! value. Spec: Delta protocol, "Checkpoints", the single-file classic form.

use std::sync::Arc;

use arrow::{
    datatypes::{DataType, Field, Fields, Schema, SchemaRef},
    json::{ReaderBuilder, writer::LineDelimitedWriter},
};
use bytes::Bytes;
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};

use super::{action, action::Line};
use crate::{Error, ErrorKind, Result};

/// The checkpoint that holds these lines.
pub(crate) fn write(lines: &[Line]) -> Result<Vec<u8>> {
    let schema = checkpoint_schema();
    let mut decoder = ReaderBuilder::new(Arc::clone(&schema)).with_batch_size(lines.len().max(1)).build_decoder()?;
    decoder.serialize(lines)?;
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, schema, None)?;
    if let Some(batch) = decoder.flush()? {
        writer.write(&batch)?;
    }
    writer.close()?;
    Ok(out)
}

/// The lines of a checkpoint.
pub(crate) fn read(bytes: Bytes) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()? {
        let mut text = Vec::new();
        let mut writer = LineDelimitedWriter::new(&mut text);
        writer.write(&batch?)?;
        writer.finish()?;
        let rows = action::parse(&text)
            .map_err(|error| Error::new(ErrorKind::Corrupt, "checkpoint is not readable").caused_by(error))?;
        lines.extend(rows);
    }
    Ok(lines)
}

fn checkpoint_schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let long = |name: &str| Field::new(name, DataType::Int64, true);
    let int = |name: &str| Field::new(name, DataType::Int32, true);
    let flag = |name: &str| Field::new(name, DataType::Boolean, true);
    let map = |name: &str| {
        let entries =
            Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)]);
        let entries = Field::new("key_value", DataType::Struct(entries), false);
        Field::new(name, DataType::Map(Arc::new(entries), false), true)
    };
    let list =
        |name: &str| Field::new(name, DataType::List(Arc::new(Field::new("element", DataType::Utf8, true))), true);
    let group = |name: &str, fields: Vec<Field>| Field::new(name, DataType::Struct(fields.into()), true);
    Arc::new(Schema::new(vec![
        group("txn", vec![text("appId"), long("version"), long("lastUpdated")]),
        group(
            "add",
            vec![
                text("path"),
                map("partitionValues"),
                long("size"),
                long("modificationTime"),
                flag("dataChange"),
                text("stats"),
                map("tags"),
            ],
        ),
        group(
            "remove",
            vec![
                text("path"),
                long("deletionTimestamp"),
                flag("dataChange"),
                flag("extendedFileMetadata"),
                map("partitionValues"),
                long("size"),
            ],
        ),
        group(
            "metaData",
            vec![
                text("id"),
                text("name"),
                text("description"),
                group("format", vec![text("provider"), map("options")]),
                text("schemaString"),
                list("partitionColumns"),
                map("configuration"),
                long("createdTime"),
            ],
        ),
        group("protocol", vec![int("minReaderVersion"), int("minWriterVersion")]),
    ]))
}

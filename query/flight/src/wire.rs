//! Rows as they cross the wire: of types that every driver knows, in messages of bounded size.
//!
//! Types stay what they are in Arrow, with two exceptions. A dictionary travels as its values: it is one message that cannot be cut,
//! often longer than the rows that use it, and some drivers show its numbers. Views of text and bytes travel as text and bytes, which is
//! what drivers of the last years read.
//!
//! Invariant: the schema that is told before is the one of the rows, field by field; clients compare them.

use std::sync::Arc;

use arrow::{
    array::{Array, RecordBatch, RecordBatchOptions},
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
    error::ArrowError,
    ipc::writer::IpcWriteOptions,
};
use arrow_flight::{
    FlightData, IpcMessage, SchemaAsIpc,
    encode::{DictionaryHandling, FlightDataEncoderBuilder},
    error::FlightError,
};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tonic::Status;

use crate::{failure, limits::ROWS_BYTES_MAX};

/// The schema of rows on the wire.
pub(crate) fn plain_schema(schema: &Schema) -> SchemaRef {
    let fields: Vec<FieldRef> = schema.fields().iter().map(plain_field).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn plain_field(field: &FieldRef) -> FieldRef {
    let plain = plain_type(field.data_type());
    if plain == *field.data_type() {
        return Arc::clone(field);
    }
    let new = Field::new(field.name(), plain, field.is_nullable());
    Arc::new(new.with_metadata(field.metadata().clone()))
}

/// The type of values on the wire.
pub(crate) fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type()),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) => DataType::List(plain_field(item)),
        DataType::LargeList(item) => DataType::LargeList(plain_field(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(plain_field(item), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        DataType::Map(entries, is_sorted) => DataType::Map(plain_field(entries), *is_sorted),
        other => other.clone(),
    }
}

/// A schema as its bytes.
pub(crate) fn schema_bytes(schema: &Schema) -> Result<Bytes, Status> {
    let options = IpcWriteOptions::default();
    let message: Result<IpcMessage, ArrowError> = SchemaAsIpc::new(schema, &options).try_into();
    Ok(message.map_err(failure::defect)?.0)
}

/// Rows as messages; the first says what columns there are. `schema` is the one on the wire.
pub(crate) fn messages(
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static,
) -> impl Stream<Item = Result<FlightData, Status>> + Send + 'static {
    let to = Arc::clone(&schema);
    let parts = batches.map(move |batch| {
        let batch = plain(&batch?, &to).map_err(failure::defect)?;
        Ok::<_, FlightError>(stream::iter(parts(batch).into_iter().map(Ok::<_, FlightError>)))
    });
    FlightDataEncoderBuilder::new()
        .with_schema(schema)
        // Both are done already, the second by the bytes of the rows themselves and not of the buffers that they are cut from.
        .with_dictionary_handling(DictionaryHandling::Resend)
        .with_max_flight_data_size(usize::MAX)
        .build(parts.try_flatten())
        .map_err(Status::from)
}

fn plain(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() { Ok(Arc::clone(column)) } else { cast(column, field.data_type()) }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_, _>>()?, &options)
}

/// Cuts rows into parts of bounded size; a single row that is larger stays what it is.
fn parts(batch: RecordBatch) -> Vec<RecordBatch> {
    let (mut rest, mut parts) = (vec![batch], Vec::new());
    while let Some(batch) = rest.pop() {
        let rows = batch.num_rows();
        if rows <= 1 || bytes(&batch) <= ROWS_BYTES_MAX {
            parts.push(batch);
            continue;
        }
        rest.push(batch.slice(rows / 2, rows - rows / 2));
        rest.push(batch.slice(0, rows / 2));
    }
    parts
}

fn bytes(batch: &RecordBatch) -> usize {
    // A type whose size is not known is none that the engine gives.
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{ArrayRef, AsArray, DictionaryArray, StringArray, StringViewArray},
        datatypes::Int32Type,
    };
    use arrow_flight::decode::FlightRecordBatchStream;

    use super::*;

    async fn through(batch: RecordBatch) -> Vec<RecordBatch> {
        let schema = plain_schema(&batch.schema());
        let messages = messages(Arc::clone(&schema), stream::iter([Ok(batch)])).map_err(FlightError::from);
        let batches: Vec<RecordBatch> =
            FlightRecordBatchStream::new_from_flight_data(messages).try_collect().await.unwrap();
        assert!(batches.iter().all(|batch| batch.schema() == schema), "what was told is what comes");
        batches
    }

    #[tokio::test]
    async fn dictionaries_and_views_come_as_what_they_mean() {
        let words: DictionaryArray<Int32Type> = [Some("a"), None, Some("b"), Some("a")].into_iter().collect();
        let views = StringViewArray::from(vec![Some("x"), Some("a text that is not inlined"), None, Some("")]);
        let batch = RecordBatch::try_from_iter([("word", Arc::new(words) as ArrayRef), ("view", Arc::new(views) as _)]);
        let back = through(batch.unwrap().slice(1, 3)).await;
        let column = |at: usize| back[0].column(at).as_string::<i32>().iter().collect::<Vec<_>>();
        assert_eq!(column(0), [None, Some("b"), Some("a")]);
        assert_eq!(column(1), [Some("a text that is not inlined"), None, Some("")]);
    }

    #[tokio::test]
    async fn rows_are_cut_by_their_own_size_and_none_is_lost() {
        // One row takes more than all others.
        let long = "x".repeat(3 * ROWS_BYTES_MAX);
        let texts: Vec<&str> = (0..1_000).map(|row| if row == 500 { long.as_str() } else { "short" }).collect();
        let batch = RecordBatch::try_from_iter([("text", Arc::new(StringArray::from(texts.clone())) as ArrayRef)]);
        let back = through(batch.unwrap()).await;
        let found: Vec<&str> =
            back.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten()).collect();
        assert_eq!(found, texts);
        assert!(back.iter().all(|batch| batch.num_rows() == 1 || bytes(batch) <= ROWS_BYTES_MAX));
        assert!((3..30).contains(&back.len()), "{}", back.len());
    }
}

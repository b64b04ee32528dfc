//! Values of a statement's parameters, which come as one row of Arrow, and become what the engine puts into its places.
//!
//! Invariants: what a client sends is read up to a size and for a time; a value is text of a type that SQL has a name for, so none of it
//! is ever read as SQL.

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::DataType,
    ipc::root_as_message,
    util::display::array_value_to_string,
};
use arrow_flight::{FlightData, decode::FlightRecordBatchStream, error::FlightError};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use prost::Message;
use query::Parameter;
use tokio::time::timeout;
use tonic::Status;

use crate::{
    failure,
    limits::{VALUES_BYTES_MAX, VALUES_TIMEOUT},
    wire,
};

/// Reads the values that a client sends.
pub(crate) async fn receive(
    messages: impl Stream<Item = Result<FlightData, Status>> + Unpin,
) -> Result<Vec<Parameter>, Status> {
    let late = |_| Status::deadline_exceeded("the values of the parameters did not come in time");
    let messages = timeout(VALUES_TIMEOUT, gather(messages)).await.map_err(late)??;
    let messages = stream::iter(messages.into_iter().map(Ok::<_, FlightError>));
    let mut batches = FlightRecordBatchStream::new_from_flight_data(messages);
    let mut row: Option<RecordBatch> = None;
    while let Some(batch) = batches.try_next().await.map_err(failure::unreadable)? {
        if batch.num_rows() == 0 {
            continue;
        }
        if batch.num_rows() > 1 || row.is_some() {
            let message = "a query takes one row of values at a time: bind each row and ask again";
            return Err(Status::invalid_argument(message));
        }
        row = Some(batch);
    }
    row.iter().flat_map(RecordBatch::columns).map(parameter).collect()
}

async fn gather(
    mut messages: impl Stream<Item = Result<FlightData, Status>> + Unpin,
) -> Result<Vec<FlightData>, Status> {
    let (mut gathered, mut bytes) = (Vec::new(), 0);
    while let Some(message) = messages.next().await.transpose()? {
        // A message without a body takes room as well.
        bytes += message.encoded_len() + size_of::<FlightData>();
        if bytes > VALUES_BYTES_MAX {
            let message = format!("the values of the parameters are too large bytes_max={VALUES_BYTES_MAX}");
            return Err(Status::invalid_argument(message));
        }
        // How much is in it would be the client's word, for which room is made before it is read.
        if is_compressed(&message.data_header) {
            let message = "values of parameters are not taken compressed: send them as they are";
            return Err(Status::invalid_argument(message));
        }
        gathered.push(message);
    }
    Ok(gathered)
}

fn is_compressed(header: &[u8]) -> bool {
    let Ok(message) = root_as_message(header) else { return false };
    let rows = message.header_as_record_batch().or_else(|| message.header_as_dictionary_batch()?.data());
    rows.is_some_and(|rows| rows.compression().is_some())
}

/// The first value of a column.
fn parameter(column: &ArrayRef) -> Result<Parameter, Status> {
    let items = match column.data_type() {
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) if column.is_null(0) => {
            return Ok(Parameter::One(None, None));
        }
        DataType::List(_) => column.as_list::<i32>().value(0),
        DataType::LargeList(_) => column.as_list::<i64>().value(0),
        DataType::FixedSizeList(..) => column.as_fixed_size_list().value(0),
        _ => {
            let column = normal(column)?;
            let value = text(&column, 0)?;
            return Ok(match (column.data_type(), value) {
                (DataType::Decimal128(..) | DataType::Decimal256(..), Some(digits)) => Parameter::decimal(digits),
                (data_type, value) => Parameter::One(value, sql_type(data_type)?),
            });
        }
    };
    Parameter::check_items(items.len()).map_err(|error| failure::status(&error))?;
    let items = normal(&items)?;
    let of = sql_type(items.data_type())?;
    Ok(Parameter::List((0..items.len()).map(|at| text(&items, at)).collect::<Result<_, _>>()?, of))
}

/// The same values in a type that is written as SQL reads it.
fn normal(column: &ArrayRef) -> Result<ArrayRef, Status> {
    let to = match wire::plain_type(column.data_type()) {
        // A moment is the same in every zone.
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(unit, Some("+00:00".into())),
        DataType::Date64 => DataType::Date32,
        DataType::LargeUtf8 => DataType::Utf8,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(precision, scale)
        }
        other => other,
    };
    if to == *column.data_type() {
        return Ok(std::sync::Arc::clone(column));
    }
    cast(column, &to).map_err(failure::unreadable)
}

fn text(column: &ArrayRef, row: usize) -> Result<Option<String>, Status> {
    if column.is_null(row) || *column.data_type() == DataType::Null {
        return Ok(None);
    }
    array_value_to_string(column, row).map(Some).map_err(failure::unreadable)
}

fn sql_type(data_type: &DataType) -> Result<Option<&'static str>, Status> {
    match data_type {
        DataType::Null => Ok(None),
        DataType::Time32(_) | DataType::Time64(_) => Ok(Some("TIME")),
        other => query::sql_type(other).map(Some).ok_or_else(|| {
            Status::invalid_argument(format!("parameters of type {other} are not taken: send text and cast it in SQL"))
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{
            BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int64Array,
            ListArray, NullArray, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray,
        },
        datatypes::Int32Type,
        ipc::{CompressionType, writer::IpcWriteOptions},
    };
    use arrow_flight::encode::FlightDataEncoderBuilder;

    use super::*;

    async fn sent(columns: Vec<ArrayRef>) -> Result<Vec<Parameter>, Status> {
        let columns = columns.into_iter().enumerate().map(|(at, column)| (at.to_string(), column, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let messages = FlightDataEncoderBuilder::new().build(stream::iter([Ok(batch)])).map_err(Status::from);
        receive(Box::pin(messages)).await
    }

    fn one(text: &str, sql_type: &'static str) -> Parameter {
        Parameter::One(Some(text.to_owned()), Some(sql_type))
    }

    #[tokio::test]
    async fn values_are_texts_of_their_types() {
        let zoned = TimestampMicrosecondArray::from(vec![1_774_749_599_123_456]).with_timezone("Europe/Berlin");
        let decimal = Decimal128Array::from(vec![-1_234_567]).with_precision_and_scale(20, 3).unwrap();
        let words: DictionaryArray<Int32Type> = [Some("a 'b'")].into_iter().collect();
        let found = sent(vec![
            Arc::new(Int64Array::from(vec![7])),
            Arc::new(Float64Array::from(vec![-0.5])),
            Arc::new(BooleanArray::from(vec![true])),
            Arc::new(words),
            Arc::new(zoned),
            Arc::new(TimestampNanosecondArray::from(vec![1])),
            Arc::new(Date32Array::from(vec![1])),
            Arc::new(decimal),
            Arc::new(NullArray::new(1)),
            Arc::new(StringArray::from(vec![None::<&str>])),
        ]);
        let expected = [
            one("7", "BIGINT"),
            one("-0.5", "DOUBLE"),
            one("true", "BOOLEAN"),
            one("a 'b'", "VARCHAR"),
            one("2026-03-29T01:59:59.123456Z", "TIMESTAMP WITH TIME ZONE"),
            one("1970-01-01T00:00:00.000000001", "TIMESTAMP"),
            one("1970-01-02", "DATE"),
            one("-1234.567", "DECIMAL(38, 9)"),
            Parameter::One(None, None),
            Parameter::One(None, Some("VARCHAR")),
        ];
        assert_eq!(found.await.unwrap(), expected);
    }

    #[tokio::test]
    async fn a_list_is_a_list_and_what_sql_cannot_name_is_refused() {
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])]);
        let expected = Parameter::List(vec![Some("1".to_owned()), None], Some("INT"));
        assert_eq!(sent(vec![Arc::new(list)]).await.unwrap(), [expected]);
        let refused = sent(vec![Arc::new(BinaryArray::from_vec(vec![b"x"]))]).await.unwrap_err();
        assert!(refused.message().contains("of type Binary are not taken"), "{refused}");
    }

    #[tokio::test]
    async fn several_rows_and_endless_messages_are_refused() {
        let two = sent(vec![Arc::new(Int64Array::from(vec![1, 2]))]).await.unwrap_err();
        assert!(two.message().contains("one row of values"), "{two}");
        let endless = stream::repeat_with(|| Ok(FlightData::default()));
        let refused = receive(Box::pin(endless)).await.unwrap_err();
        assert!(refused.message().contains("too large"), "{refused}");
        let mut asked = 0;
        let beside = stream::repeat_with(|| {
            asked += 1;
            Ok(FlightData { app_metadata: vec![0; 1 << 20].into(), ..FlightData::default() })
        });
        let refused = receive(Box::pin(beside)).await.unwrap_err();
        assert!(refused.message().contains("too large"), "{refused}");
        assert_eq!(asked, VALUES_BYTES_MAX >> 20, "what is beside the rows counts");
    }

    #[tokio::test]
    async fn values_that_are_compressed_are_refused_before_they_are_read() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME)).unwrap();
        let encoder = FlightDataEncoderBuilder::new().with_options(options);
        let messages = encoder.build(stream::iter([Ok(batch)])).map_err(Status::from);
        let refused = receive(Box::pin(messages)).await.unwrap_err();
        assert!(refused.message().contains("compressed"), "{refused}");
    }
}

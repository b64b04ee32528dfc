//! Prepared statements and cancelling.

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Int64Type, Schema},
};
use arrow_flight::{
    CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightData, SchemaResult,
    encode::FlightDataEncoderBuilder,
    sql::{
        ActionCancelQueryRequest, ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
        ActionCreatePreparedStatementResult, Any, CommandPreparedStatementQuery, CommandStatementQuery,
        ProstMessageExt,
    },
};
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use prost::Message;
use tonic::{Code, Status};

use super::{Client, described, server, ticket};

async fn prepare(client: &mut Client, query: &str) -> Result<ActionCreatePreparedStatementResult, Status> {
    let asked = ActionCreatePreparedStatementRequest { query: query.to_owned(), transaction_id: None };
    let told = client.act("CreatePreparedStatement", asked.as_any().encode_to_vec()).await?;
    Ok(Any::decode(&*told).unwrap().unpack().unwrap().unwrap())
}

fn schema(bytes: Bytes) -> Schema {
    Schema::try_from(SchemaResult { schema: bytes }).unwrap()
}

fn of(handle: &Bytes) -> CommandPreparedStatementQuery {
    CommandPreparedStatementQuery { prepared_statement_handle: handle.clone() }
}

/// Messages that bring a row of values.
async fn values(handle: &Bytes, columns: Vec<(&str, ArrayRef)>) -> Vec<FlightData> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let messages = FlightDataEncoderBuilder::new().with_flight_descriptor(Some(described(&of(handle))));
    messages.build(stream::iter([Ok(batch)])).try_collect().await.unwrap()
}

#[tokio::test]
async fn a_prepared_statement_is_asked_with_one_value_after_the_other_until_it_is_closed() {
    let server = server();
    let mut anna = Client::of(&server, "anna");
    let query = "SELECT value, $2 AS word FROM generate_series(1, 10) WHERE value > CAST($1 AS BIGINT) ORDER BY value";
    let prepared = prepare(&mut anna, query).await.unwrap();
    let places = schema(prepared.parameter_schema);
    assert_eq!(places.fields().iter().map(|place| place.name().as_str()).collect::<Vec<_>>(), ["$1", "$2"]);
    assert_eq!(*places.field(0).data_type(), DataType::Int64);
    assert_eq!(schema(prepared.dataset_schema).field(0).name(), "value");
    let handle = prepared.prepared_statement_handle;

    let unbound = anna.ask(&of(&handle)).await.unwrap_err();
    assert!(unbound.message().contains("no value for parameter"), "{unbound}");
    for least in [8, 9] {
        let row = vec![
            ("0", Arc::new(Int32Array::from(vec![least])) as ArrayRef),
            ("1", Arc::new(StringArray::from(vec!["it's"])) as _),
        ];
        anna.put(values(&handle, row).await).await.unwrap();
        let (_, rows) = anna.ask(&of(&handle)).await.unwrap();
        let found = rows[0].column(0).as_primitive::<Int64Type>().values().to_vec();
        assert_eq!(found, (i64::from(least) + 1..=10).collect::<Vec<_>>());
        assert_eq!(rows[0].column(1).as_string::<i32>().value(0), "it's");
    }
    let two = vec![("0", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)];
    assert_eq!(anna.put(values(&handle, two).await).await.unwrap_err().code(), Code::InvalidArgument);

    let mut ben = Client::of(&server, "ben");
    assert_eq!(ben.info(&of(&handle)).await.unwrap_err().code(), Code::NotFound, "it is not his");
    let close = ActionClosePreparedStatementRequest { prepared_statement_handle: handle.clone() };
    let close = close.as_any().encode_to_vec();
    ben.act("ClosePreparedStatement", close.clone()).await.unwrap();
    assert!(anna.info(&of(&handle)).await.is_ok(), "only hers to close");
    anna.act("ClosePreparedStatement", close).await.unwrap();
    assert_eq!(anna.info(&of(&handle)).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_statement_without_places_tells_its_columns_before_it_runs() {
    let server = server();
    let mut anna = Client::of(&server, "anna");
    let prepared = prepare(&mut anna, "SELECT 7 AS n").await.unwrap();
    assert!(prepared.parameter_schema.is_empty());
    let (told, rows) = anna.ask(&of(&prepared.prepared_statement_handle)).await.unwrap();
    assert_eq!(told.unwrap(), *rows[0].schema());
    assert_eq!(schema(prepared.dataset_schema), *rows[0].schema());
    let refused = prepare(&mut anna, "INSERT INTO costs VALUES (1)").await.unwrap_err();
    assert!(refused.message().contains("queries only read"), "{refused}");
}

#[tokio::test]
async fn a_query_is_ended_by_its_owner_while_it_works_and_before_it_begins() {
    let server = server();
    let (mut anna, mut ben) = (Client::of(&server, "anna"), Client::of(&server, "ben"));
    let query = "SELECT count(*) FROM generate_series(1, 100000000000)".to_owned();
    let info = anna.info(&CommandStatementQuery { query, transaction_id: None }).await.unwrap();
    let mut reader = anna.clone();
    let taken = ticket(&info);
    let reading = tokio::spawn(async move { reader.rows(taken).await });
    let asked = CancelFlightInfoRequest { info: Some(info.clone()) }.encode_to_vec();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(ben.act("CancelFlightInfo", asked.clone()).await.unwrap_err().code(), Code::NotFound);
    let told = anna.act("CancelFlightInfo", asked.clone()).await.unwrap();
    assert_eq!(CancelFlightInfoResult::decode(&*told).unwrap().status, CancelStatus::Cancelled as i32);
    assert_eq!(reading.await.unwrap().unwrap_err().code(), Code::Cancelled);
    assert_eq!(anna.act("CancelFlightInfo", asked).await.unwrap_err().code(), Code::NotFound, "it has ended");

    let info = anna.info(&CommandStatementQuery { query: "SELECT 1".to_owned(), transaction_id: None }).await.unwrap();
    let asked = ActionCancelQueryRequest { info: info.encode_to_vec().into() };
    anna.act("CancelQuery", asked.as_any().encode_to_vec()).await.unwrap();
    assert_eq!(anna.rows(ticket(&info)).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_query_ends_when_its_reader_is_gone() {
    let server = server();
    let mut anna = Client::of(&server, "anna");
    let query = "SELECT count(*) FROM generate_series(1, 100000000000)".to_owned();
    let info = anna.info(&CommandStatementQuery { query, transaction_id: None }).await.unwrap();
    let request = anna.says(ticket(&info));
    let messages = anna.calls.do_get(request).await.unwrap();
    assert_eq!(server.0.engine.asking().len(), 1);
    drop(messages);
    for _ in 0..100 {
        if server.0.engine.asking().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it goes on without a reader");
}

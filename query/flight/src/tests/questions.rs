//! Questions in SQL and about tables, and what is refused.

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{DataType, Int64Type, Schema},
};
use arrow_flight::{
    FlightData, SchemaResult,
    sql::{
        CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetSqlInfo,
        CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo, CommandStatementIngest, CommandStatementQuery,
        CommandStatementUpdate,
    },
};
use tonic::Code;

use super::{Client, described, server, ticket};

fn sql(query: &str) -> CommandStatementQuery {
    CommandStatementQuery { query: query.to_owned(), transaction_id: None }
}

/// A column of text.
fn words(batches: &[RecordBatch], column: &str) -> Vec<String> {
    let of = |batch: &RecordBatch| {
        let column = batch.column_by_name(column).unwrap();
        column.as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>()
    };
    batches.iter().flat_map(of).collect()
}

#[tokio::test]
async fn columns_are_told_and_rows_come_once() {
    let server = server();
    let mut anna = Client::of(&server, "anna");
    let asked = sql("SELECT value AS n, CAST('x' AS VARCHAR) AS s, TIMESTAMP '2026-03-29T01:59:59Z' AS t, \
                     CAST(1.5 AS DECIMAL(20, 3)) AS d FROM generate_series(1, 20000) ORDER BY 1");
    let (schema, rows) = anna.ask(&asked).await.unwrap();
    let schema = schema.unwrap();
    assert!(rows.iter().all(|batch| *batch.schema() == schema), "{schema:?}");
    assert_eq!(anna.schema(&asked).await.unwrap(), schema);
    assert_eq!(*schema.field(1).data_type(), DataType::Utf8);
    assert_eq!(*schema.field(3).data_type(), DataType::Decimal128(20, 3));
    let numbers: Vec<i64> =
        rows.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    assert_eq!(numbers, (1..=20_000).collect::<Vec<_>>());

    let info = anna.info(&asked).await.unwrap();
    let ben = Client::of(&server, "ben").rows(ticket(&info)).await.unwrap_err();
    assert_eq!(ben.code(), Code::NotFound, "it is not his");
    assert!(anna.rows(ticket(&info)).await.is_ok());
    assert_eq!(anna.rows(ticket(&info)).await.unwrap_err().code(), Code::NotFound);
    // Columns come where there are no rows.
    let (schema, rows) = anna.ask(&sql("SELECT * FROM costs")).await.unwrap();
    assert!(schema.unwrap().column_with_name("BilledCost").is_some());
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
}

#[tokio::test]
async fn what_is_wrong_has_a_code_and_what_writes_is_refused() {
    let server = server();
    let mut anna = Client::of(&server, "anna");
    for (query, said) in [
        ("SELEKT 1", "not valid SQL"),
        ("SELECT nix FROM costs", "nix"),
        ("DELETE FROM costs", "queries only read"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("SELECT $1", "has to be prepared"),
    ] {
        let refused = anna.info(&sql(query)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{query}");
        assert!(refused.message().contains(said), "{query}: {refused}");
    }
    let failed =
        anna.ask(&sql("SELECT CAST(value AS VARCHAR) || 'x' FROM generate_series(1, 2000000)")).await.unwrap_err();
    assert_eq!(failed.code(), Code::FailedPrecondition);
    assert!(failed.message().contains("too many rows"), "{failed}");

    let update = CommandStatementUpdate { query: "DELETE FROM costs".to_owned(), transaction_id: None };
    let sent = |command| FlightData { flight_descriptor: Some(command), ..FlightData::default() };
    for command in [described(&update), described(&CommandStatementIngest::default())] {
        let refused = anna.put(vec![sent(command)]).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("queries only read"), "{refused}");
    }
    for action in ["BeginTransaction", "EndTransaction", "BeginSavepoint", "EndSavepoint"] {
        let refused = anna.act(action, Vec::new()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented, "{action}");
        assert!(refused.message().contains("no transactions"), "{refused}");
    }
    let within = CommandStatementQuery { transaction_id: Some("x".into()), ..sql("SELECT 1") };
    assert_eq!(anna.info(&within).await.unwrap_err().code(), Code::Unimplemented);
    let noise = arrow_flight::Ticket { ticket: "noise".into() };
    assert_eq!(anna.rows(noise).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn tables_are_listed_by_pattern_and_kind_with_their_columns() {
    let server = server();
    let mut anna = Client::of(&server, "anna");
    let (_, catalogs) = anna.ask(&CommandGetCatalogs {}).await.unwrap();
    assert_eq!(words(&catalogs, "catalog_name"), ["streamgauge"]);
    let pattern = Some("pub%".to_owned());
    let asked = CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: pattern.clone() };
    assert_eq!(words(&anna.ask(&asked).await.unwrap().1, "db_schema_name"), ["public"]);
    let (_, kinds) = anna.ask(&CommandGetTableTypes {}).await.unwrap();
    assert_eq!(words(&kinds, "table_type"), ["TABLE", "VIEW"]);

    let tables = |name: &str, kinds: &[&str], include_schema| CommandGetTables {
        catalog: Some("streamgauge".to_owned()),
        db_schema_filter_pattern: Some("public".to_owned()),
        table_name_filter_pattern: Some(name.to_owned()),
        table_types: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        include_schema,
    };
    let all = words(&anna.ask(&tables("%", &[], false)).await.unwrap().1, "table_name");
    assert!(all.contains(&"samples".to_owned()) && all.contains(&"costs_spread".to_owned()), "{all:?}");
    let base = words(&anna.ask(&tables("cost%", &["TABLE", "TABLE"], false)).await.unwrap().1, "table_name");
    assert!(base.contains(&"costs".to_owned()) && !base.contains(&"costs_spread".to_owned()), "{base:?}");
    let (told, one) = anna.ask(&tables("cost_", &[], true)).await.unwrap();
    assert_eq!(words(&one, "table_name"), ["costs"]);
    assert_eq!(told.unwrap(), *one[0].schema());
    let columns = one[0].column_by_name("table_schema").unwrap().as_binary::<i32>().value(0).to_vec();
    let columns = Schema::try_from(SchemaResult { schema: columns.into() }).unwrap();
    assert_eq!(columns, anna.schema(&sql("SELECT * FROM costs")).await.unwrap());
}

#[tokio::test]
async fn there_are_no_keys_and_much_about_the_server() {
    let server = server();
    let mut anna = Client::of(&server, "anna");
    let keys = CommandGetPrimaryKeys { catalog: None, db_schema: None, table: "costs".to_owned() };
    let (schema, rows) = anna.ask(&keys).await.unwrap();
    assert_eq!(schema.unwrap().field(4).name(), "key_sequence");
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
    let (schema, _) = anna.ask(&CommandGetCrossReference::default()).await.unwrap();
    assert_eq!(schema.unwrap().fields().len(), 13);
    let (schema, rows) = anna.ask(&CommandGetSqlInfo { info: Vec::new() }).await.unwrap();
    assert_eq!(schema.unwrap(), *rows[0].schema());
    let (schema, rows) = anna.ask(&CommandGetXdbcTypeInfo { data_type: None }).await.unwrap();
    assert_eq!(schema.unwrap(), *rows[0].schema());
    assert!(words(&rows, "type_name").contains(&"VARCHAR".to_owned()));
    let unknown = anna.info(&arrow_flight::sql::CommandStatementSubstraitPlan::default()).await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);
}

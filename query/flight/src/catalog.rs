//! What clients ask about tables: catalogs, schemas, tables and their columns, and keys, of which there are none.
//!
//! Tables are those of `information_schema`, asked by the engine like every other query, so nothing is told that SQL would not tell.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use arrow_flight::sql::{Command, CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables};
use futures::StreamExt;
use query::{Engine, Error};
use tonic::Status;

use crate::{about, failure, limits::TABLE_TYPES_MAX, wire};

/// All tables, with what `information_schema` says they are.
const TABLES: &str = "SELECT table_catalog, table_schema, table_name, table_type FROM information_schema.tables";
/// Kinds of tables as Flight SQL knows them.
const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";

/// A table: its catalog, schema, name and kind.
type Table = [String; 4];

/// Columns of the answer to a question about the server or its tables.
pub(crate) fn schema(asked: &Command) -> Result<SchemaRef, Status> {
    Ok(match asked {
        Command::CommandGetCatalogs(asked) => asked.into_builder().schema(),
        Command::CommandGetDbSchemas(asked) => asked.clone().into_builder().schema(),
        Command::CommandGetTables(asked) => asked.clone().into_builder().schema(),
        Command::CommandGetTableTypes(asked) => asked.into_builder().schema(),
        Command::CommandGetSqlInfo(_) => about::info_schema(),
        Command::CommandGetXdbcTypeInfo(_) => about::types_schema().map_err(failure::defect)?,
        Command::CommandGetPrimaryKeys(_) => primary_keys(),
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => foreign_keys(),
        other => return Err(failure::absent(&format!("{} is", other.type_url()))),
    })
}

/// The answer to it.
pub(crate) async fn answer(engine: &Engine, asked: Command) -> Result<RecordBatch, Status> {
    let schema = schema(&asked)?;
    match asked {
        Command::CommandGetCatalogs(asked) => catalogs(engine, asked).await,
        Command::CommandGetDbSchemas(asked) => schemas(engine, asked).await,
        Command::CommandGetTables(asked) => tables(engine, asked).await,
        Command::CommandGetTableTypes(asked) => table_types(asked),
        Command::CommandGetSqlInfo(asked) => about::info(&asked.info).map_err(failure::defect),
        Command::CommandGetXdbcTypeInfo(asked) => about::types(asked.data_type).map_err(failure::defect),
        _ => Ok(RecordBatch::new_empty(schema)),
    }
}

async fn catalogs(engine: &Engine, asked: CommandGetCatalogs) -> Result<RecordBatch, Status> {
    let mut found = asked.into_builder();
    let all: BTreeSet<String> = known(engine).await?.into_iter().map(|[catalog, ..]| catalog).collect();
    all.into_iter().for_each(|catalog| found.append(catalog));
    found.build().map_err(failure::defect)
}

async fn schemas(engine: &Engine, asked: CommandGetDbSchemas) -> Result<RecordBatch, Status> {
    let mut found = asked.into_builder();
    let all: BTreeSet<[String; 2]> =
        known(engine).await?.into_iter().map(|[catalog, schema, ..]| [catalog, schema]).collect();
    all.iter().for_each(|[catalog, schema]| found.append(catalog, schema));
    found.build().map_err(failure::unreadable)
}

async fn tables(engine: &Engine, mut asked: CommandGetTables) -> Result<RecordBatch, Status> {
    let kinds: BTreeSet<String> = std::mem::take(&mut asked.table_types).into_iter().collect();
    if kinds.len() > TABLE_TYPES_MAX {
        return Err(Status::invalid_argument(format!("too many types of tables types_max={TABLE_TYPES_MAX}")));
    }
    asked.table_types = kinds.into_iter().collect();
    let none = Schema::empty();
    let mut named = CommandGetTables { include_schema: false, ..asked.clone() }.into_builder();
    for [catalog, schema, table, kind] in &known(engine).await? {
        named.append(catalog, schema, table, kind, &none).map_err(failure::defect)?;
    }
    // What can be wrong here is a pattern.
    let named = named.build().map_err(failure::unreadable)?;
    if !asked.include_schema {
        return Ok(named);
    }
    let mut found = asked.into_builder();
    for [catalog, schema, table, kind] in texts(&named)? {
        let columns = columns(engine, &schema, &table).await?;
        found.append(catalog, schema, table, kind, &columns).map_err(failure::defect)?;
    }
    found.build().map_err(failure::defect)
}

fn table_types(asked: CommandGetTableTypes) -> Result<RecordBatch, Status> {
    let mut found = asked.into_builder();
    found.append(TABLE);
    found.append(VIEW);
    found.build().map_err(failure::defect)
}

/// Columns of a table, as its rows would come.
async fn columns(engine: &Engine, schema: &str, table: &str) -> Result<SchemaRef, Status> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let query = format!("SELECT * FROM {}.{}", quoted(schema), quoted(table));
    let described = engine.describe(&query, &[]).await.map_err(|error| failure::status(&error))?;
    Ok(wire::plain_schema(&described.schema))
}

async fn known(engine: &Engine) -> Result<Vec<Table>, Status> {
    let failed = |error: Error| failure::status(&error);
    let mut answer = engine.sql(TABLES).await.map_err(failed)?;
    let mut tables = Vec::new();
    while let Some(batch) = answer.stream.next().await {
        tables.extend(texts(&batch.map_err(|error| failed(error.into()))?)?);
    }
    for [.., kind] in &mut tables {
        *kind = if kind == VIEW { VIEW } else { TABLE }.to_owned();
    }
    Ok(tables)
}

/// The first four columns of rows.
fn texts(batch: &RecordBatch) -> Result<Vec<Table>, Status> {
    let columns: Result<Vec<_>, _> =
        batch.columns().iter().take(4).map(|column| cast(column, &DataType::Utf8)).collect();
    let columns = columns.map_err(failure::defect)?;
    let rows = 0..batch.num_rows();
    Ok(rows.map(|row| std::array::from_fn(|at| columns[at].as_string::<i32>().value(row).to_owned())).collect())
}

fn text(name: &str, is_nullable: bool) -> Field {
    Field::new(name, DataType::Utf8, is_nullable)
}

fn primary_keys() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("key_name", true),
    ]))
}

fn foreign_keys() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
}

//! Rows of any dataset, written as JSON: what they leave out is NULL, or nothing where there is no NULL.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    compute::cast,
    datatypes::{DataType, Field, Schema},
    json::ReaderBuilder,
};
use schemas::Dataset;
use serde_json::{Map, Value, json};
use storage::Lane;

use super::{Bench, rows};
use crate::Result;

/// An engine's tables with some rows in them, each of the datasets in memory.
pub(crate) fn books(tables: &[(&'static Dataset, &[Value])]) -> Bench {
    let bench = Bench::new();
    for (dataset, rows) in tables {
        bench.head(dataset, batch(dataset, rows), Lane::InOrder, false);
    }
    bench
}

/// Rows of a dataset.
pub(crate) fn batch(dataset: &Dataset, rows: &[Value]) -> RecordBatch {
    let plain = |field: &Arc<Field>| match field.data_type() {
        DataType::Dictionary(_, values) => Arc::new(field.as_ref().clone().with_data_type(values.as_ref().clone())),
        _ => Arc::clone(field),
    };
    let schema = Arc::new(Schema::new(dataset.schema.fields().iter().map(plain).collect::<Vec<_>>()));
    let whole = |row: &Value| {
        let mut whole = Map::new();
        for column in dataset.columns.iter().filter(|column| !column.nullable) {
            whole.insert(column.name.to_owned(), nothing(&column.data_type));
        }
        for (name, value) in row.as_object().unwrap() {
            assert!(dataset.index_of(name).is_some(), "{} has no column {name}", dataset.name);
            whole.insert(name.clone(), value.clone());
        }
        whole
    };
    let mut decoder = ReaderBuilder::new(schema).build_decoder().unwrap();
    decoder.serialize(&rows.iter().map(whole).collect::<Vec<_>>()).unwrap();
    let read = decoder.flush().unwrap().unwrap();
    let columns = read.columns().iter().zip(dataset.schema.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type()).unwrap()).collect();
    RecordBatch::try_new(Arc::clone(&dataset.schema), columns).unwrap()
}

fn nothing(data_type: &DataType) -> Value {
    match data_type {
        DataType::Utf8 | DataType::Dictionary(..) => json!(""),
        DataType::Date32 => json!("2026-11-01"),
        DataType::Timestamp(..) => json!("2026-11-01T00:00:00Z"),
        DataType::Decimal128(..) => json!("0"),
        DataType::List(_) => json!([]),
        DataType::Map(..) => json!({}),
        _ => json!(0),
    }
}

/// Rows of an answer, each as text: values as in CSV, zeros at the end of decimals left out, NULL as `-`.
pub(crate) async fn ask(bench: &Bench, sql: &str) -> Vec<String> {
    try_ask(bench, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

pub(crate) async fn try_ask(bench: &Bench, sql: &str) -> Result<Vec<String>> {
    let cell = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.contains('.') && text.bytes().all(|b| b.is_ascii_digit() || b".-".contains(&b)) => {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let rows = rows(&bench.engine(), sql).await?;
    Ok(rows.iter().map(|row| row.as_array().unwrap().iter().map(cell).collect::<Vec<_>>().join(" ")).collect())
}

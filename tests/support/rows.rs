//! Rows of any dataset, written as JSON: what they leave out is NULL, or nothing where there is no NULL. Tests of crate `query` use it too.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    compute::cast,
    datatypes::{DataType, Field, Schema},
    json::ReaderBuilder,
};
use schemas::Dataset;
use serde_json::{Map, Value, json};

/// Rows of a dataset.
pub fn batch(dataset: &Dataset, rows: &[Value]) -> RecordBatch {
    let plain = |field: &Arc<Field>| match field.data_type() {
        DataType::Dictionary(_, values) => Arc::new(field.as_ref().clone().with_data_type(values.as_ref().clone())),
        _ => Arc::clone(field),
    };
    let schema = Arc::new(Schema::new(dataset.schema.fields().iter().map(plain).collect::<Vec<_>>()));
    let whole = |row: &Value| {
        let missing = dataset.columns.iter().filter(|column| !column.nullable);
        let mut whole: Map<String, Value> =
            missing.map(|column| (column.name.to_owned(), nothing(&column.data_type))).collect();
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
        DataType::List(_) => json!([]),
        DataType::Map(..) => json!({}),
        DataType::Date32 => json!("2026-11-01"),
        DataType::Timestamp(..) => json!("2026-11-01T00:00:00Z"),
        _ => json!(0),
    }
}

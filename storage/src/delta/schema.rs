//! A dataset's schema and bounds in Delta Lake's JSON.
//!
//! Called when a table is made and for the statistics of every file.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field, TimeUnit};
use chrono::{DateTime, NaiveDate, SecondsFormat};
use schemas::Dataset;
use serde_json::{Value, json};

use super::action::{Format, Line, MetaData, Protocol};
use crate::{Bound, Error, ErrorKind, Result};

/// Protocol and metadata lines of a new table.
pub(crate) fn preamble(dataset: &Dataset, format: &str, id: u128, now_ms: i64) -> Result<Vec<Line>> {
    let configuration = [
        ("streamgauge.format", format),
        // Cleaning inside every commit lists the whole log each time; our upkeep does it off the commit path.
        ("delta.enableExpiredLogCleanup", "false"),
        ("delta.logRetentionDuration", "interval 24 hours"),
        ("delta.checkpointInterval", "100"),
    ];
    let meta_data = MetaData {
        id: uuid_text(id),
        name: Some(dataset.name.to_owned()),
        description: Some(dataset.about.to_owned()),
        format: Format { provider: "parquet".to_owned(), options: BTreeMap::new() },
        schema_string: schema_string(dataset)?,
        partition_columns: dataset.partition_columns().map(str::to_owned).collect(),
        configuration: configuration.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        created_time: Some(now_ms),
    };
    let protocol = Protocol { min_reader_version: 1, min_writer_version: 2 };
    Ok(vec![
        Line { protocol: Some(protocol), ..Line::default() },
        Line { meta_data: Some(meta_data), ..Line::default() },
    ])
}

/// The text form of an identifier of 128 bits.
pub(crate) fn uuid_text(bits: u128) -> String {
    uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string()
}

/// The table's schema as Delta writes it.
pub(crate) fn schema_string(dataset: &Dataset) -> Result<String> {
    let schema = dataset.table_schema();
    let comment = |name: &str| dataset.columns.iter().find(|column| column.name == name).map(|column| column.about);
    let fields = schema
        .fields()
        .iter()
        .map(|field| {
            let metadata = comment(field.name()).map_or_else(|| json!({}), |comment| json!({ "comment": comment }));
            field_json(field, metadata)
        })
        .collect::<Result<Vec<Value>>>()?;
    Ok(json!({"type": "struct", "fields": fields}).to_string())
}

/// Do two schemas have the same columns, whatever is said about them?
pub(crate) fn same_columns(a: &str, b: &str) -> bool {
    fn bare(value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                let fields = fields.into_iter().filter(|(key, _)| key != "metadata");
                Value::Object(fields.map(|(key, value)| (key, bare(value))).collect())
            }
            Value::Array(items) => Value::Array(items.into_iter().map(bare).collect()),
            other => other,
        }
    }
    let read = |text: &str| serde_json::from_str(text).map(bare).ok();
    read(a).is_some() && read(a) == read(b)
}

fn field_json(field: &Field, metadata: Value) -> Result<Value> {
    Ok(json!({
        "name": field.name(),
        "type": type_json(field.data_type())?,
        "nullable": field.is_nullable(),
        "metadata": metadata,
    }))
}

fn type_json(data_type: &DataType) -> Result<Value> {
    Ok(match data_type {
        DataType::Utf8 => json!("string"),
        DataType::Dictionary(_, value) => type_json(value)?,
        DataType::Int64 => json!("long"),
        DataType::Int32 => json!("integer"),
        DataType::Float64 => json!("double"),
        DataType::Boolean => json!("boolean"),
        DataType::Date32 => json!("date"),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => json!("timestamp"),
        DataType::Decimal128(precision, scale) => json!(format!("decimal({precision},{scale})")),
        DataType::List(item) => json!({
            "type": "array",
            "elementType": type_json(item.data_type())?,
            "containsNull": item.is_nullable(),
        }),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| field_json(field, json!({}))).collect::<Result<Vec<_>>>()?;
            json!({"type": "struct", "fields": fields})
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => json!({
                "type": "map",
                "keyType": type_json(fields[0].data_type())?,
                "valueType": type_json(fields[1].data_type())?,
                "valueContainsNull": fields[1].is_nullable(),
            }),
            _ => return Err(unsupported(data_type)),
        },
        _ => return Err(unsupported(data_type)),
    })
}

fn unsupported(data_type: &DataType) -> Error {
    Error::new(ErrorKind::Internal, format!("delta lake has no type for {data_type}"))
}

/// A bound as Delta writes it in statistics.
pub(crate) fn stat_value(data_type: &DataType, bound: &Bound) -> Value {
    match (data_type, bound) {
        (DataType::Timestamp(_, _), Bound::Int(us)) => DateTime::from_timestamp_micros(*us)
            .map_or(Value::Null, |time| json!(time.to_rfc3339_opts(SecondsFormat::Micros, true))),
        (DataType::Date32, Bound::Int(day)) => {
            i32::try_from(*day).map_or(Value::Null, |day| json!(crate::sort::day_text(day)))
        }
        (_, Bound::Int(value)) => json!(value),
        (_, Bound::Text(text)) => json!(text),
        (_, Bound::Float(value)) => json!(value),
    }
}

/// A bound read back; `None` if it is not of the column's type.
pub(crate) fn bound(data_type: &DataType, value: &Value) -> Option<Bound> {
    match data_type {
        DataType::Timestamp(_, _) => {
            let time = DateTime::parse_from_rfc3339(value.as_str()?).ok()?;
            Some(Bound::Int(time.timestamp_micros()))
        }
        DataType::Date32 => {
            let date = NaiveDate::parse_from_str(value.as_str()?, "%Y-%m-%d").ok()?;
            Some(Bound::Int(date.signed_duration_since(NaiveDate::default()).num_days()))
        }
        DataType::Int64 | DataType::Int32 => value.as_i64().map(Bound::Int),
        DataType::Float64 => value.as_f64().map(Bound::Float),
        DataType::Utf8 | DataType::Dictionary(_, _) => value.as_str().map(|text| Bound::Text(text.to_owned())),
        _ => None,
    }
}

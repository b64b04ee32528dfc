//! Renders the datasets as the page a user reads, `schemas/SCHEMAS.md`.
//!
//! Called by the test that keeps the page fresh.

use std::fmt::Write as _;

use arrow::datatypes::{DataType, TimeUnit};

use crate::{Dataset, Partition};

/// The text of `schemas/SCHEMAS.md`.
#[must_use]
pub fn schemas_page() -> String {
    let mut out = String::from(
        "# Datasets\n\nGenerated from `schemas/src` by `UPDATE=1 cargo test -p schemas`; do not edit.\n\
         Every dataset is a Delta Lake table under `<data>/tables/<tenant>/<dataset>` and a table in SQL.\n",
    );
    for dataset in crate::all() {
        dataset_section(&mut out, dataset);
    }
    out
}

fn dataset_section(out: &mut String, dataset: &Dataset) {
    let partition = match dataset.partition {
        Partition::None => "not partitioned".to_owned(),
        Partition::DayOfTime => format!("partitioned by `day`, derived from `{}`", dataset.time),
        Partition::Columns(_) => {
            format!("partitioned by `{}`", dataset.partition_columns().collect::<Vec<_>>().join("`, `"))
        }
    };
    let sort = dataset.sort.join("`, `");
    let key = dataset.sort[..dataset.key].join("`, `");
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "\n## {}\n\n{}\n\nSorted by `{sort}`; identity `{key}`; {partition}; kept {} days.\n\n\
         | column | type | null | meaning |\n|---|---|---|---|\n",
        dataset.name, dataset.about, dataset.retention_days
    );
    for column in &dataset.columns {
        let null = if column.nullable { "yes" } else { "" };
        let _ = writeln!(out, "| `{}` | {} | {null} | {} |", column.name, delta_name(&column.data_type), column.about);
    }
}

/// Delta Lake's name of a type.
fn delta_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "STRING".into(),
        DataType::Dictionary(_, value) => delta_name(value),
        DataType::Int64 => "BIGINT".into(),
        DataType::Int32 => "INT".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Date32 => "DATE".into(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "TIMESTAMP".into(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        DataType::List(item) => format!("LIST<{}>", delta_name(item.data_type())),
        DataType::Struct(fields) => {
            let inner: Vec<String> =
                fields.iter().map(|f| format!("{} {}", f.name(), delta_name(f.data_type()))).collect();
            format!("STRUCT<{}>", inner.join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                format!("MAP<{}, {}>", delta_name(fields[0].data_type()), delta_name(fields[1].data_type()))
            }
            other => format!("MAP<{other}>"),
        },
        other => format!("{other}"),
    }
}

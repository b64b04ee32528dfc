//! Books of any datasets, and what is asked of them as text.

#[path = "../../../tests/support/rows.rs"]
mod batches;

use schemas::Dataset;
use serde_json::Value;
use storage::Lane;

use super::{Bench, rows};
use crate::Result;

pub(crate) use batches::batch;

/// An engine's tables with some rows in them, each of the datasets in memory.
pub(crate) fn books(tables: &[(&'static Dataset, &[Value])]) -> Bench {
    let bench = Bench::new();
    for (dataset, rows) in tables {
        bench.head(dataset, batch(dataset, rows), Lane::InOrder, false);
    }
    bench
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

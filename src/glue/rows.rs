//! Answers the SQL of rules over rows that a test writes down: the engine of the server, over tables in memory.
//!
//! Called by `test rules` (`input_rows`). A row says the columns that matter; the others are null, or nothing where there is no null. `now()` is the
//! time of the evaluation.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use alerting::{
    Error, ErrorKind, Result,
    query::Found,
    rules::Sql,
    testing::{Rows, Table},
};
use anyhow::Context;
use arrow::{
    array::RecordBatch,
    compute::cast,
    datatypes::{DataType, Field, Schema},
    json::ReaderBuilder,
};
use object_store::memory::InMemory;
use parking_lot::Mutex;
use prometheus::Registry;
use query::{Catalog, Engine};
use schemas::Dataset;
use serde_json::{Map, Value, json};
use storage::{Clock, Lane, View};
use tokio::runtime::Runtime;

use super::world::of_rows;

/// The engine over rows of tests.
pub struct OfTests {
    engine: Engine,
    tables: Arc<Mutex<BTreeMap<&'static str, RecordBatch>>>,
    now_us: Arc<AtomicI64>,
    runtime: Runtime,
}

impl OfTests {
    /// Without rows.
    ///
    /// # Errors
    /// If the engine cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        let (now_us, tables) =
            (Arc::new(AtomicI64::new(0)), Arc::<Mutex<BTreeMap<&'static str, RecordBatch>>>::default());
        let (reads, shown) = (Arc::clone(&now_us), Arc::clone(&tables));
        let view = move |dataset: &&'static Dataset| {
            let mut view = View::empty(dataset);
            if let Some(batch) = shown.lock().get(dataset.name) {
                let rows = storage::Rows { batch: batch.clone(), sorted: false, lane: Lane::InOrder, seq: 1 };
                view.head.push(Arc::new(rows));
            }
            Arc::new(view)
        };
        let catalog = Catalog {
            store: Arc::new(InMemory::new()),
            datasets: schemas::all(),
            views: Arc::new(move |datasets| datasets.iter().map(&view).collect()),
        };
        let clock = Clock::new(move || reads.load(Ordering::Relaxed));
        let runtime = crate::cli::runtime()?;
        let engine = {
            let _entered = runtime.enter();
            Engine::new(query::Config::default(), catalog, clock, &Registry::new())?
        };
        Ok(Self { engine, tables, now_us, runtime })
    }
}

impl Rows for OfTests {
    fn sql(&self, tables: &[Table], sql: &Sql, at_ms: i64) -> Result<Found> {
        let wrong = |error: anyhow::Error| Error::invalid(format!("{error:#}"));
        let batches = tables.iter().map(batch).collect::<anyhow::Result<BTreeMap<_, _>>>().map_err(wrong)?;
        *self.tables.lock() = batches;
        self.now_us.store(at_ms.saturating_mul(1000), Ordering::Relaxed);
        let answer = self.runtime.block_on(async { self.engine.sql(&sql.text).await?.collect().await });
        let answer = answer.map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
        let samples = answer.iter().map(|rows| of_rows(rows, sql)).collect::<Result<Vec<_>>>()?;
        Ok(Found { samples: samples.concat(), warnings: Vec::new(), fresh: None })
    }
}

/// Rows of a table as its dataset has them.
fn batch(table: &Table) -> anyhow::Result<(&'static str, RecordBatch)> {
    let dataset = schemas::all().into_iter().find(|dataset| dataset.name == table.name);
    let dataset = dataset.with_context(|| format!("input_rows: there is no table {:?}", table.name))?;
    let plain = |field: &Arc<Field>| match field.data_type() {
        DataType::Dictionary(_, values) => Arc::new(field.as_ref().clone().with_data_type(values.as_ref().clone())),
        _ => Arc::clone(field),
    };
    let schema = Arc::new(Schema::new(dataset.schema.fields().iter().map(plain).collect::<Vec<_>>()));
    let mut rows = Vec::new();
    for row in &table.rows {
        let missing = dataset.columns.iter().filter(|column| !column.nullable);
        let mut whole: Map<String, Value> =
            missing.map(|column| (column.name.to_owned(), nothing(&column.data_type))).collect();
        for (name, value) in row {
            let at = dataset.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
            let column = at.with_context(|| format!("input_rows: {} has no column {name:?}", table.name))?;
            whole.insert(column.name.to_owned(), written(value.as_deref(), &column.data_type)?);
        }
        rows.push(whole);
    }
    let of_table = || format!("input_rows of {}", table.name);
    let mut decoder = ReaderBuilder::new(schema).build_decoder().with_context(of_table)?;
    decoder.serialize(&rows).with_context(of_table)?;
    let Some(read) = decoder.flush().with_context(of_table)? else {
        return Ok((dataset.name, RecordBatch::new_empty(Arc::clone(&dataset.schema))));
    };
    let columns = read.columns().iter().zip(dataset.schema.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type())).collect::<Result<Vec<_>, _>>();
    let batch = RecordBatch::try_new(Arc::clone(&dataset.schema), columns.with_context(of_table)?);
    Ok((dataset.name, batch.with_context(of_table)?))
}

/// A value as JSON: maps and lists are written as JSON themselves.
fn written(text: Option<&str>, data_type: &DataType) -> anyhow::Result<Value> {
    let Some(text) = text else { return Ok(Value::Null) };
    Ok(match data_type {
        DataType::Map(..) | DataType::List(_) | DataType::Struct(_) => {
            serde_json::from_str(text).with_context(|| format!("no JSON: {text}"))?
        }
        DataType::Boolean => Value::Bool(text.eq_ignore_ascii_case("true")),
        _ => Value::from(text),
    })
}

fn nothing(data_type: &DataType) -> Value {
    match data_type {
        DataType::Utf8 | DataType::Dictionary(..) => json!(""),
        DataType::List(_) => json!([]),
        DataType::Map(..) => json!({}),
        DataType::Date32 => json!("1970-01-01"),
        DataType::Timestamp(..) => json!("1970-01-01T00:00:00Z"),
        DataType::Boolean => json!(false),
        _ => json!(0),
    }
}

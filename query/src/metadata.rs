//! What is known of metrics: type, unit and help, as clients ask for all of them at once.
//!
//! Called by the endpoint. Table `metadata` has a row per change, and there are few: it is read whole, once, and again when there are
//! other files or rows; what is answered is kept as JSON, since that is all it is for.
//!
//! Invariants: what is answered is the table as it was when it was asked; a text of a metric is told once, the newest first.
//! Derived state: nothing here is stored.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, TimestampMicrosecondType},
};
use datafusion::execution::{
    SessionState,
    memory_pool::{MemoryConsumer, MemoryReservation},
};
use futures::StreamExt;
use serde_json::json;
use storage::{Rows, View};

use crate::{Engine, Error, Result, index::scan, table::Table};

/// What was read last.
#[derive(Default)]
pub(crate) struct Metadata(tokio::sync::Mutex<Option<Cached>>);

struct Cached {
    version: Option<i64>,
    files: usize,
    head: Vec<Weak<Rows>>,
    described: Arc<Described>,
}

/// Texts of metrics.
pub(crate) struct Described {
    /// By metric, in order of the names: each text as an object of JSON, the newest first.
    metrics: Vec<(String, Vec<String>)>,
    _memory: MemoryReservation,
}

/// Which of them are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits<'a> {
    /// Of this metric only.
    pub metric: Option<&'a str>,
    pub metrics_max: Option<usize>,
    pub texts_max: Option<usize>,
}

impl Engine {
    /// What is known of metrics.
    ///
    /// # Errors
    /// `Overloaded` if too many queries run, `Timeout`, `Execution` if there is no memory for it, or what reading met.
    pub(crate) async fn described(&self) -> Result<Arc<Described>> {
        let table = self.table(schemas::metadata());
        if let Some(described) = self.metadata().0.lock().await.as_ref().and_then(|cached| cached.of(table.view())) {
            return Ok(described);
        }
        let engine = self.clone();
        let permit = self.admit().await?;
        let work = async move {
            let mut cached = engine.metadata().0.lock().await;
            // Who waited for another one's reading finds it done.
            if let Some(described) = cached.as_ref().and_then(|cached| cached.of(table.view())) {
                return Ok(described);
            }
            // What was known goes first: both need not fit.
            *cached = None;
            let described = Arc::new(Described::read(engine.session_state(), &table).await?);
            *cached = Some(Cached::new(table.view(), Arc::clone(&described)));
            Ok(described)
        };
        self.within(work, permit, None).await
    }
}

impl Cached {
    fn new(view: &View, described: Arc<Described>) -> Self {
        let head = view.head.iter().map(Arc::downgrade).collect();
        Self { version: view.version, files: view.files.len(), head, described }
    }

    /// What was read, if it was read of such a view.
    fn of(&self, view: &View) -> Option<Arc<Described>> {
        let is_same = |(known, rows): (&Weak<Rows>, &Arc<Rows>)| std::ptr::eq(known.as_ptr(), Arc::as_ptr(rows));
        let same_files = self.version == view.version && self.files == view.files.len();
        let same_head = self.head.len() == view.head.len() && self.head.iter().zip(&view.head).all(is_same);
        (same_files && same_head).then(|| Arc::clone(&self.described))
    }
}

impl Described {
    async fn read(state: &SessionState, table: &Arc<Table>) -> Result<Self> {
        let memory = MemoryConsumer::new("metadata").register(&state.runtime_env().memory_pool);
        let mut texts: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
        let mut rows = scan(state, table, &["metric", "type", "unit", "help", "seen_at"]).await?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            // As JSON with their names they take about twice what they take here.
            memory.try_grow(2 * batch.get_array_memory_size())?;
            add(&batch, &mut texts)?;
        }
        let metrics = texts.into_iter().map(|(metric, mut texts)| {
            texts.sort_by_key(|(seen_us, _)| std::cmp::Reverse(*seen_us));
            let mut kept: Vec<String> = Vec::with_capacity(texts.len());
            for (_, text) in texts {
                if !kept.contains(&text) {
                    kept.push(text);
                }
            }
            (metric, kept)
        });
        Ok(Self { metrics: metrics.collect(), _memory: memory })
    }

    /// As an object of JSON: lists of texts by metric.
    pub(crate) fn json(&self, limits: Limits<'_>) -> String {
        let wanted: &[(String, Vec<String>)] = match limits.metric {
            None => &self.metrics,
            Some(metric) => match self.metrics.binary_search_by(|(known, _)| known.as_str().cmp(metric)) {
                Ok(at) => &self.metrics[at..=at],
                Err(_) => &[],
            },
        };
        let mut out = String::from("{");
        for (at, (metric, texts)) in wanted.iter().take(limits.metrics_max.unwrap_or(usize::MAX)).enumerate() {
            if at > 0 {
                out.push(',');
            }
            out.push_str(&json!(metric).to_string());
            out.push_str(":[");
            for (at, text) in texts.iter().take(limits.texts_max.unwrap_or(usize::MAX)).enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(text);
            }
            out.push(']');
        }
        out.push('}');
        out
    }
}

fn add(batch: &RecordBatch, texts: &mut BTreeMap<String, Vec<(i64, String)>>) -> Result<()> {
    let wrong = Error::wrong_columns;
    let column = |name: &'static str| batch.column_by_name(name).ok_or_else(|| wrong(name));
    let text = |name: &'static str| -> Result<ArrayRef> { Ok(cast(column(name)?, &DataType::Utf8)?) };
    let (metrics, kinds, units, helps) = (text("metric")?, text("type")?, text("unit")?, text("help")?);
    let seen = column("seen_at")?.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| wrong("seen_at"))?;
    let value = |column: &ArrayRef, row: usize| column.as_string::<i32>().value(row).to_owned();
    for row in 0..batch.num_rows() {
        let text = json!({ "type": value(&kinds, row), "unit": value(&units, row), "help": value(&helps, row) });
        texts.entry(value(&metrics, row)).or_default().push((seen.value(row), text.to_string()));
    }
    Ok(())
}

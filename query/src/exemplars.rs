//! Exemplars of the series that a query reads.
//!
//! Called by the endpoint. Series are found in the index, rows of table `exemplars` are streamed, and those of these series are kept.
//!
//! Invariants: of more than [`EXEMPLARS_MAX`] the newest are told, as a Prometheus that keeps so many would; memory is taken from the
//! queries' pool before it is used.

use std::ops::Range;

use arrow::{
    array::{Array, AsArray, MapArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType},
};
use datafusion::{
    common::ScalarValue,
    datasource::provider_as_source,
    execution::memory_pool::{MemoryConsumer, MemoryReservation},
    logical_expr::{Expr, LogicalPlanBuilder, col, lit},
    physical_plan::execute_stream,
};
use futures::StreamExt;
use hashbrown::HashMap;
use promql::{Labels, NAME, Query, Symbols};

use crate::{Engine, Error, Result, Series, Wanted, table::IN_LIST_MAX};

/// Exemplars of an answer: what a Prometheus with exemplar storage keeps of all series by default. A panel shows some hundreds.
const EXEMPLARS_MAX: usize = 100_000;

/// Exemplars of series.
pub(crate) struct Exemplars {
    /// Texts of all labels.
    pub symbols: Symbols,
    /// In order of their labels; each has some.
    pub series: Vec<(Labels, Vec<Exemplar>)>,
    /// Were there more?
    pub cut: bool,
    _memory: MemoryReservation,
}

/// One exemplar.
pub(crate) struct Exemplar {
    /// Milliseconds.
    pub time_ms: i64,
    pub value: f64,
    pub labels: Labels,
}

/// Exemplars while they are collected.
struct Collected {
    symbols: Symbols,
    /// Each with the metric's number and the id of its series.
    kept: Vec<((u32, i64), Exemplar)>,
    cut: bool,
    memory: MemoryReservation,
}

impl Engine {
    /// Exemplars of the series of a query's selectors, both times included.
    ///
    /// # Errors
    /// As of any query.
    pub(crate) async fn exemplars(&self, query: &Query, (start_ms, end_ms): (i64, i64)) -> Result<Exemplars> {
        self.counted("exemplars", query.text(), async |run| {
            let permit = self.admit().await?;
            let (engine, selectors) = (self.clone(), query.selectors());
            let work = async move {
                let times_us = start_ms.saturating_mul(1000)..end_ms.saturating_add(1).saturating_mul(1000);
                // A series is committed before its exemplars: whoever sees these first finds all their series.
                let table = engine.table(schemas::exemplars());
                let mut collected = Collected {
                    symbols: Symbols::default(),
                    kept: Vec::new(),
                    cut: false,
                    memory: MemoryConsumer::new("exemplars").register(engine.memory_pool()),
                };
                // Most senders send none, and then series need not be looked for.
                let selectors = if table.has_rows() { selectors } else { Vec::new() };
                let series = match selectors.as_slice() {
                    [] => Series::none(engine.session_state(), Wanted::Labels),
                    selectors => engine.series_of(selectors, times_us.clone(), Wanted::Labels).await?,
                };
                if series.is_empty() {
                    return collected.grouped(&series);
                }
                let source = provider_as_source(table as _);
                let mut plan = LogicalPlanBuilder::scan("exemplars", source, None)?;
                for filter in filters(&series, times_us) {
                    plan = plan.filter(filter)?;
                }
                let state = engine.session_state();
                let plan = state.create_physical_plan(&plan.build()?).await?;
                let mut rows = execute_stream(plan, state.task_ctx())?;
                while let Some(batch) = rows.next().await {
                    collected.add(&batch?, &series)?;
                }
                collected.grouped(&series)
            };
            let found: Exemplars = self.within(work, permit, None).await?;
            run.add_samples(found.series.iter().map(|(_, exemplars)| exemplars.len()).sum());
            Ok(found)
        })
        .await
    }
}

/// By which rows are left out before they are read: the times, and the metrics and series if they are few.
fn filters(series: &Series, times_us: Range<i64>) -> Vec<Expr> {
    let time = |us: i64| lit(ScalarValue::TimestampMicrosecond(Some(us), Some("UTC".into())));
    let mut filters = vec![col("ts").gt_eq(time(times_us.start)), col("ts").lt(time(times_us.end))];
    let metrics = series.metrics();
    if metrics.len() <= IN_LIST_MAX {
        let name = |name: &str| lit(ScalarValue::Utf8View(Some(name.to_owned())));
        filters.push(col("metric").in_list(metrics.map(name).collect(), false));
    }
    let ids = series.ids();
    if ids.len() <= IN_LIST_MAX {
        filters.push(col("series_id").in_list(ids.map(lit).collect(), false));
    }
    filters
}

impl Collected {
    fn add(&mut self, batch: &RecordBatch, series: &Series) -> Result<()> {
        let wrong = Error::wrong_columns;
        let column = |name: &'static str| batch.column_by_name(name).ok_or_else(|| wrong(name));
        let metrics = cast(column("metric")?, &DataType::Utf8View)?;
        let metrics = metrics.as_string_view();
        let ids = column("series_id")?.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong("series_id"))?;
        let times = column("ts")?.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| wrong("ts"))?;
        let values = column("value")?.as_primitive_opt::<Float64Type>().ok_or_else(|| wrong("value"))?;
        let labels = column("labels")?.as_map_opt().ok_or_else(|| wrong("labels"))?;
        let (before, texts) = (self.kept.len(), self.symbols.bytes());
        for row in 0..batch.num_rows() {
            let (metric, id) = (series.metric(metrics.value(row)), ids.value(row));
            let Some(metric) = metric.filter(|metric| series.place(*metric, id).is_some()) else { continue };
            let labels = self.labels(labels, row)?;
            let exemplar = Exemplar { time_ms: times.value(row).div_euclid(1000), value: values.value(row), labels };
            self.kept.push(((metric, id), exemplar));
        }
        // An exemplar has a label or two.
        let bytes = (self.kept.len() - before) * (size_of::<((u32, i64), Exemplar)>() + 64);
        self.memory.try_grow(bytes + self.symbols.bytes() - texts)?;
        if self.kept.len() >= 2 * EXEMPLARS_MAX {
            self.keep_newest();
        }
        Ok(())
    }

    fn labels(&mut self, labels: &MapArray, row: usize) -> Result<Labels> {
        let entries = labels.value(row);
        let text = |at: usize| -> Result<_> { Ok(cast(entries.column(at), &DataType::Utf8)?) };
        let (names, values) = (text(0)?, text(1)?);
        let (names, values) = (names.as_string::<i32>(), values.as_string::<i32>());
        let pairs = (0..names.len()).map(|at| (names.value(at), values.value(at)));
        Ok(Labels::of(pairs, &mut self.symbols))
    }

    fn keep_newest(&mut self) {
        if self.kept.len() > EXEMPLARS_MAX {
            self.kept.select_nth_unstable_by_key(EXEMPLARS_MAX, |(_, exemplar)| std::cmp::Reverse(exemplar.time_ms));
            self.kept.truncate(EXEMPLARS_MAX);
            self.cut = true;
        }
    }

    /// By series, in order of labels and times.
    fn grouped(mut self, series: &Series) -> Result<Exemplars> {
        self.keep_newest();
        let Self { mut symbols, mut kept, cut, memory } = self;
        kept.sort_by_key(|(_, exemplar)| exemplar.time_ms);
        let mut by_series: HashMap<(u32, i64), Vec<Exemplar>> = HashMap::new();
        for (key, exemplar) in kept {
            by_series.entry(key).or_default().push(exemplar);
        }
        let mut found: Vec<(Labels, Vec<Exemplar>)> = Vec::with_capacity(by_series.len());
        series.each(|metric, id, labels| {
            let key = series.metric(metric).map(|metric| (metric, id));
            if let Some(exemplars) = key.and_then(|key| by_series.remove(&key)) {
                let pairs = [(NAME, metric)].into_iter().chain(labels.iter().copied());
                found.push((Labels::of(pairs, &mut symbols), exemplars));
            }
        })?;
        found.sort_by(|(left, _), (right, _)| left.compare(right, &symbols));
        Ok(Exemplars { symbols, series: found, cut, _memory: memory })
    }
}

//! Attaches labels to samples.
//!
//! Called by the `metrics` view, above its filters. Takes batches with metric, series id and time; hands them on with a
//! column of labels. What it does not know yet it looks up by the batch: the days and metrics in it, no more, so a query
//! that stops after ten rows reads the labels of ten rows.
//!
//! Invariant: rows and their order are those of the input; a sample whose series is not found has no labels, an empty map.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Field, Fields, Int64Type, Schema, SchemaRef, TimestampMicrosecondType},
};
use datafusion::{
    common::{DataFusionError, Result, ScalarValue, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, SessionState, TaskContext},
    logical_expr::{Expr, col, lit},
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
        execution_plan::CardinalityEffect, stream::RecordBatchStreamAdapter,
    },
};
use futures::StreamExt;
use tokio::sync::Mutex;

use crate::{
    index::Index,
    series::{Place, Series, Wanted, on_days},
    table::{DAY_US, Table},
};

/// Ids or metrics up to which a look-up names them.
const NAMED_MAX: usize = 500;

/// Attaches labels.
pub(super) struct LabelsExec {
    input: Arc<dyn ExecutionPlan>,
    source: Arc<Source>,
    properties: Arc<PlanProperties>,
}

/// Where labels come from; shared by the partitions of a query.
pub(super) struct Source {
    state: SessionState,
    table: Arc<Table>,
    index: Arc<Index>,
    /// Resolved while planning, when there were filters on labels: then all of them are here.
    known: Option<Arc<Series>>,
    found: Mutex<Series>,
}

/// A sample's series and day.
struct Row<'a> {
    metric: &'a str,
    id: i64,
    us: i64,
}

impl LabelsExec {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, source: Source) -> Result<Self> {
        Self::over(input, Arc::new(source))
    }

    fn over(input: Arc<dyn ExecutionPlan>, source: Arc<Source>) -> Result<Self> {
        let labels = Arc::new(Field::new("labels", schemas::string_map(), false));
        let schema: SchemaRef =
            Arc::new(Schema::new(input.schema().fields().iter().cloned().chain([labels]).collect::<Fields>()));
        let orders = input.equivalence_properties().oeq_class().iter().cloned();
        let properties = PlanProperties::new(
            EquivalenceProperties::new_with_orderings(schema, orders),
            input.output_partitioning().clone(),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Ok(Self { input, source, properties: Arc::new(properties) })
    }
}

impl ExecutionPlan for LabelsExec {
    fn name(&self) -> &'static str {
        "LabelsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().ok_or_else(|| DataFusionError::Internal("no input".to_owned()))?;
        Ok(Arc::new(Self::over(input, Arc::clone(&self.source))?))
    }

    fn supports_limit_pushdown(&self) -> bool {
        true
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let (source, schema) = (Arc::clone(&self.source), self.schema());
        let with_labels = input.then(move |batch| {
            let (source, schema) = (Arc::clone(&source), Arc::clone(&schema));
            async move { source.attach(&schema, batch?).await }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), with_labels)))
    }
}

impl Source {
    pub(super) fn new(state: SessionState, table: Arc<Table>, index: Arc<Index>, known: Option<Arc<Series>>) -> Self {
        let found = Mutex::new(Series::none(&state, Wanted::Labels));
        Self { state, table, index, known, found }
    }

    async fn attach(&self, schema: &SchemaRef, batch: RecordBatch) -> Result<RecordBatch> {
        let labels = match &self.known {
            Some(known) => known.labels(&places(known, &batch)?)?,
            None => {
                let mut found = self.found.lock().await;
                match self.look_up(&mut found, &batch).await {
                    Err(error) if matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)) => {
                        // Labels of earlier batches may have filled the memory; those of this one alone may fit.
                        found.clear();
                        self.look_up(&mut found, &batch).await?;
                    }
                    done => done?,
                }
                found.labels(&places(&found, &batch)?)?
            }
        };
        let columns = batch.columns().iter().cloned().chain([labels]).collect();
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }

    /// Finds the series of a batch that are not found yet.
    async fn look_up(&self, found: &mut Series, batch: &RecordBatch) -> Result<()> {
        let mut missing: BTreeMap<i64, BTreeSet<(&str, i64)>> = BTreeMap::new();
        let missing_places = places(found, batch)?;
        for (row, place) in rows(batch)?.zip(&missing_places) {
            if place.is_none() {
                missing.entry(row.us.div_euclid(DAY_US)).or_default().insert((row.metric, row.id));
            }
        }
        for (day, mut series) in missing {
            if let Ok(day) = i32::try_from(day)
                && let Some(known) = self.index.load_if_cheap(&self.state, &self.table, day).await?
            {
                let numbers = series.iter().filter_map(|(metric, id)| known.series(metric, *id));
                found.take(&known, numbers.collect::<Vec<_>>())?;
                series.retain(|(metric, id)| known.series(metric, *id).is_none());
            }
            if series.is_empty() {
                continue;
            }
            let metrics: BTreeSet<&str> = series.iter().map(|(metric, _)| *metric).collect();
            let ids: BTreeSet<i64> = series.iter().map(|(_, id)| *id).collect();
            let mut filters = on_days(Some(day * DAY_US), Some(day * DAY_US));
            if metrics.len() <= NAMED_MAX {
                filters.push(one_of("metric", metrics.iter().map(|m| ScalarValue::Utf8View(Some((*m).to_owned())))));
            }
            if ids.len() <= NAMED_MAX {
                filters.push(one_of("series_id", ids.iter().map(|id| ScalarValue::Int64(Some(*id)))));
            }
            found.find(&self.state, &self.table, filters).await?;
        }
        Ok(())
    }
}

fn one_of(column: &str, values: impl Iterator<Item = ScalarValue>) -> Expr {
    col(column).in_list(values.map(lit).collect(), false)
}

fn rows(batch: &RecordBatch) -> Result<impl Iterator<Item = Row<'_>>> {
    let column = |name: &str| {
        batch.column_by_name(name).ok_or_else(|| DataFusionError::Internal(format!("no such column column={name}")))
    };
    let metrics = column("metric")?.as_string_view();
    let ids = column("series_id")?.as_primitive::<Int64Type>().values();
    let times = column("ts")?.as_primitive::<TimestampMicrosecondType>().values();
    Ok((0..batch.num_rows()).map(move |row| Row { metric: metrics.value(row), id: ids[row], us: times[row] }))
}

/// Where the labels of each row of a batch are.
fn places(series: &Series, batch: &RecordBatch) -> Result<Vec<Option<Place>>> {
    let mut last: Option<(&str, i64, Option<Place>)> = None;
    let place = |row: Row<'_>| series.metric(row.metric).and_then(|metric| series.place(metric, row.id));
    let mut out = Vec::with_capacity(batch.num_rows());
    for row in rows(batch)? {
        match last {
            Some((metric, id, place)) if id == row.id && metric == row.metric => out.push(place),
            _ => {
                let (metric, id) = (row.metric, row.id);
                let found = place(row);
                last = Some((metric, id, found));
                out.push(found);
            }
        }
    }
    Ok(out)
}

impl DisplayAs for LabelsExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = if self.source.known.is_some() { "known" } else { "looked up by batch" };
        write!(f, "LabelsExec: labels={from}")
    }
}

impl fmt::Debug for LabelsExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LabelsExec").field("input", &self.input).finish_non_exhaustive()
    }
}

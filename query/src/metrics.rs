//! View `metrics`: samples with their labels, the table people ask first.
//!
//! Called by the engine, one per query; made of the query's `samples` and `series` tables. Filters on metric and labels are
//! answered by the series and become ids; filters on time become filters on `ts` and days; labels are attached last, to the
//! rows that are left, and only if they are asked for.
//!
//! Invariants: every filter that is pushed here is applied here, exactly; staleness markers are no values and are left out
//! (table `samples` has them); a filter over labels and values together stays with DataFusion, above.

mod keep;
mod labels;

use std::{collections::BTreeSet, fmt, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    common::{
        Column, DFSchema, DataFusionError, Result,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    datasource::{TableProvider, TableType},
    execution::SessionState,
    logical_expr::{Expr, TableProviderFilterPushDown, col, lit},
    physical_expr::conjunction,
    physical_plan::{
        ExecutionPlan,
        empty::EmptyExec,
        expressions,
        filter::FilterExec,
        projection::{ProjectionExec, ProjectionExpr},
    },
};

use crate::{
    index::{Index, days_of},
    series::{Series, Wanted, on_days},
    table::{Stretches, Table, pushable, time_range, union},
};

use keep::Keep;
use labels::{LabelsExec, Source};

/// Ids up to which a list of them prunes files and pages one by one; more are kept to the range from least to greatest.
const IDS_MAX: usize = 500;
/// Series up to which rows are found by their place in a file; with more, most pages hold some.
const STRETCHES_MAX: usize = 4096;
/// Values up to which DataFusion prunes pages by a list; it has no setting for pages.
const PAGE_LIST_MAX: usize = 20;

/// Name of the view in SQL.
pub(crate) const NAME: &str = "metrics";
/// What a row is.
pub(crate) const ABOUT: &str = "A sample with the labels of its series.";
/// What columns mean.
pub(crate) const COLUMNS: [(&str, &str); 4] = [
    ("timestamp", "Time of the sample."),
    ("metric", "Name of the metric."),
    ("labels", "Labels of the series, without the name of the metric: `labels['instance']`."),
    ("value", "Value of the sample. Markers of series that ended are left out; table `samples` has them."),
];

/// Samples with their labels.
pub(crate) struct Metrics {
    samples: Arc<Table>,
    series: Arc<Table>,
    index: Arc<Index>,
    schema: SchemaRef,
}

/// Which rows a filter is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// The metric alone: samples and series.
    Metric,
    /// Labels, perhaps with the metric: series.
    Series,
    /// Time or value, perhaps with the metric: samples.
    Samples,
    /// All of it, or nothing that can be told while planning.
    Other,
}

impl Metrics {
    pub(crate) fn new(samples: Arc<Table>, series: Arc<Table>, index: Arc<Index>) -> Self {
        let schema = Arc::new(Schema::new(vec![
            Field::new("timestamp", schemas::timestamp(), false),
            Field::new("metric", DataType::Utf8View, false),
            Field::new("labels", schemas::string_map(), false),
            Field::new("value", DataType::Float64, false),
        ]));
        Self { samples, series, index, schema }
    }

    /// Columns of `samples` that a scan needs.
    fn needed(&self, wanted: &[&str], filters: &[Expr], by_series: bool) -> Vec<usize> {
        let mut names: BTreeSet<&str> = wanted.iter().map(|name| in_samples(name)).collect();
        // Staleness is told by the value.
        names.insert("value");
        if names.remove("labels") {
            names.extend(["metric", "series_id", "ts"]);
        }
        if by_series {
            names.extend(["metric", "series_id"]);
        }
        let schema = self.samples.schema();
        let used = filters.iter().flat_map(Expr::column_refs).map(|c| c.name.as_str()).collect::<BTreeSet<_>>();
        let is_needed = |i: &usize| {
            let name = schema.field(*i).name().as_str();
            names.contains(name) || used.contains(name)
        };
        (0..schema.fields().len()).filter(is_needed).collect()
    }

    async fn find(&self, state: &SessionState, filters: Vec<Expr>, all: &[Expr]) -> Result<Series> {
        let (least, greatest) = time_range(all, "timestamp");
        let mut series = Series::none(state, Wanted::Labels);
        let days = days_of(least, greatest);
        if let Some(known) = self.index.load(state, &self.series, &days).await? {
            series.choose(state, &known, &days, &filters)?;
            return Ok(series);
        }
        series.find(state, &self.series, [filters, on_days(least, greatest)].concat()).await?;
        Ok(series)
    }

    fn source(&self, state: &SessionState, known: Option<Arc<Series>>) -> Source {
        Source::new(state.clone(), Arc::clone(&self.series), Arc::clone(&self.index), known)
    }

    /// Samples for which all filters are true, without staleness markers.
    async fn rows(
        &self,
        session: &dyn Session,
        wanted: &[&str],
        filters: Vec<Expr>,
        series: Option<&Arc<Series>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let needed = self.needed(wanted, &filters, series.is_some());
        let Some(series) = series.filter(|series| series.len() <= STRETCHES_MAX) else {
            let rows = self.samples.scan(session, Some(&needed), &filters, None).await?;
            return self.filtered(session, rows, filters, series);
        };
        // Rows that are found by their place are of these series; of the rest that is still to be asked.
        let of_rows: Vec<Expr> = filters.iter().filter(|filter| !is_about_series(filter)).cloned().collect();
        let shown = self.needed(wanted, &of_rows, false);
        let Stretches { exact, rest } = self.samples.scan_series(session, [&shown, &needed], &filters, series).await?;
        let mut inputs = Vec::new();
        if let Some(exact) = exact {
            inputs.push(self.filtered(session, exact, of_rows, None)?);
        }
        if let Some(rest) = rest {
            let rest = self.filtered(session, rest, filters, Some(series))?;
            let schema = rest.schema();
            let names = shown.iter().map(|i| self.samples.schema().field(*i).name().clone());
            let column = |name: String| Ok(ProjectionExpr { expr: expressions::col(&name, &schema)?, alias: name });
            inputs.push(Arc::new(ProjectionExec::try_new(names.map(column).collect::<Result<Vec<_>>>()?, rest)?));
        }
        union(inputs, &Arc::new(self.samples.schema().project(&shown)?))
    }

    /// Rows for which filters are true, of these series if some are given, without staleness markers.
    fn filtered(
        &self,
        session: &dyn Session,
        rows: Arc<dyn ExecutionPlan>,
        filters: Vec<Expr>,
        series: Option<&Arc<Series>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = rows.schema();
        let df_schema = DFSchema::try_from(schema.as_ref().clone())?;
        let mut predicates = Vec::new();
        for filter in filters {
            predicates.push(session.create_physical_expr(filter, &df_schema)?);
        }
        let column = |name: &str| expressions::col(name, &schema);
        if let Some(series) = series {
            predicates.push(Arc::new(Keep::of_series(Arc::clone(series), column("metric")?, column("series_id")?)));
        }
        predicates.push(Arc::new(Keep::fresh(column("value")?)));
        Ok(Arc::new(FilterExec::try_new(conjunction(predicates), rows)?))
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("samples", &self.samples).field("series", &self.series).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for Metrics {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match about(filter) {
            About::Other => TableProviderFilterPushDown::Unsupported,
            _ => TableProviderFilterPushDown::Exact,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let state = session
            .as_any()
            .downcast_ref::<SessionState>()
            .ok_or_else(|| DataFusionError::Internal("session of a foreign kind".to_owned()))?;
        let indices: Vec<usize> = projection.map_or_else(|| (0..self.schema.fields().len()).collect(), Clone::clone);
        let wanted: Vec<&str> = indices.iter().map(|i| self.schema.field(*i).name().as_str()).collect();

        let (mut on_samples, mut on_series, mut by_labels) = (Vec::new(), Vec::new(), false);
        for filter in filters {
            match about(filter) {
                About::Metric => {
                    on_samples.push(filter.clone());
                    on_series.push(filter.clone());
                }
                About::Series => {
                    on_series.push(filter.clone());
                    by_labels = true;
                }
                About::Samples => on_samples.push(renamed(filter)?),
                About::Other => {}
            }
        }
        let mut series = None;
        if by_labels {
            let found = self.find(state, on_series, filters).await?;
            if found.is_empty() {
                return Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(&indices)?))));
            }
            on_samples.extend(narrowing(&found));
            series = Some(Arc::new(found));
        }
        let mut rows = self.rows(session, &wanted, on_samples, series.as_ref()).await?;
        if wanted.contains(&"labels") {
            rows = Arc::new(LabelsExec::new(rows, self.source(state, series))?);
        }
        let schema = rows.schema();
        let column = |name: &&str| {
            Ok(ProjectionExpr { expr: expressions::col(in_samples(name), &schema)?, alias: (*name).to_owned() })
        };
        let columns = wanted.iter().map(column).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(ProjectionExec::try_new(columns, rows)?))
    }
}

fn about(filter: &Expr) -> About {
    if !pushable(filter) {
        return About::Other;
    }
    let columns: BTreeSet<&str> = filter.column_refs().iter().map(|c| c.name.as_str()).collect();
    let names = |name| columns.contains(name);
    match (names("metric"), names("labels"), names("timestamp") || names("value")) {
        (true, false, false) => About::Metric,
        (_, true, false) => About::Series,
        (_, false, true) => About::Samples,
        _ => About::Other,
    }
}

/// Is a filter over `samples` one over the identity of a series alone?
fn is_about_series(filter: &Expr) -> bool {
    filter.column_refs().iter().all(|column| matches!(column.name.as_str(), "metric" | "series_id"))
}

/// Name of a column of the view in `samples`.
fn in_samples(name: &str) -> &str {
    if name == "timestamp" { "ts" } else { name }
}

/// A filter over the view as one over `samples`.
fn renamed(filter: &Expr) -> Result<Expr> {
    let rename = |expr: Expr| {
        Ok(match expr {
            Expr::Column(column) if column.name == "timestamp" => {
                Transformed::yes(Expr::Column(Column::from_name("ts")))
            }
            other => Transformed::no(other),
        })
    };
    filter.clone().transform(rename).data()
}

/// Filters every sample of the series passes, by which files and pages are pruned. Metric first: files are sorted by it.
fn narrowing(series: &Series) -> Vec<Expr> {
    let list = |values: Vec<Expr>, column: &str| col(column).in_list(values, false);
    let mut filters = Vec::new();
    if series.metrics().len() <= IDS_MAX {
        filters.push(list(series.metrics().map(lit_view).collect(), "metric"));
    } else if let (Some(least), Some(greatest)) = (series.metrics().min(), series.metrics().max()) {
        filters.push(col("metric").between(lit_view(least), lit_view(greatest)));
    }
    let ids: BTreeSet<i64> = series.ids().collect();
    if ids.len() > PAGE_LIST_MAX
        && let (Some(least), Some(greatest)) = (ids.first(), ids.last())
    {
        filters.push(col("series_id").between(lit(*least), lit(*greatest)));
    }
    if ids.len() <= IDS_MAX {
        filters.push(list(ids.into_iter().map(lit).collect(), "series_id"));
    }
    filters
}

fn lit_view(text: &str) -> Expr {
    lit(datafusion::common::ScalarValue::Utf8View(Some(text.to_owned())))
}

#[cfg(test)]
mod tests;

//! Finds series and their labels: the one place where label filters become series ids.
//!
//! Called by the `metrics` view, for filters on labels and to attach labels to samples, and by [`Engine::series`], for
//! selectors. Asks the index in memory, or reads table `series`, which has a row per series and day; hands back a set of
//! (metric, series id), with the labels of each if they are wanted.
//!
//! [`Engine::series`]: crate::Engine::series
//!
//! Invariants: identity is (metric, series id) and never changes its labels, so the same series on several days, or found
//! twice, is kept once; memory is taken from the queries' pool before it is used.

use std::{mem::size_of, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, MapArray, RecordBatch, StringViewArray, UInt32Array},
    compute::{interleave, take},
    datatypes::{DataType, Field, Int64Type, Schema},
};
use datafusion::{
    common::{DFSchema, DataFusionError, Result, ScalarValue},
    datasource::provider_as_source,
    execution::{
        SessionState,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    logical_expr::{Expr, LogicalPlanBuilder, col, lit},
    physical_expr::conjunction_opt,
    physical_plan::execute_stream,
};
use futures::StreamExt;
use hashbrown::HashMap;
use promql::NAME;

use crate::{
    Error, ErrorKind,
    filter::implied,
    index::{Days, Known, NEVER},
    table::{DAY_US, Table},
};

/// Series of which filters are asked at once.
const CHUNK: usize = 8192;

/// Where the labels of a series are: which array, which row.
pub(crate) type Place = (usize, usize);

/// What is wanted of series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Which they are. Takes about 64 bytes a series.
    Ids,
    /// Their labels as well.
    Labels,
}

/// A set of series. Holds its memory of the queries' pool until it is dropped.
#[derive(Debug)]
pub struct Series {
    wanted: Wanted,
    /// A number for each metric name.
    metrics: HashMap<Arc<str>, u32>,
    places: HashMap<(u32, i64), Place>,
    labels: Vec<ArrayRef>,
    memory: MemoryReservation,
}

impl Series {
    /// No series.
    pub(crate) fn none(state: &SessionState, wanted: Wanted) -> Self {
        let memory = MemoryConsumer::new("series").register(&state.runtime_env().memory_pool);
        Self { wanted, metrics: HashMap::new(), places: HashMap::new(), labels: Vec::new(), memory }
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many they are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Metric and id of each, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        let mut names = vec![""; self.metrics.len()];
        for (name, number) in &self.metrics {
            names[*number as usize] = name;
        }
        self.places.keys().map(move |(metric, id)| (names[*metric as usize], *id))
    }

    /// Each as an object of JSON, the name of its metric among the labels; at most `limit`. Says whether there are more.
    ///
    /// # Errors
    /// `Internal` if their labels were not wanted.
    pub fn objects(&self, limit: usize) -> crate::Result<(Vec<String>, bool)> {
        let mut names = vec![""; self.metrics.len()];
        for (name, number) in &self.metrics {
            names[*number as usize] = name;
        }
        let labels: Vec<&MapArray> = self.labels.iter().map(|labels| labels.as_map()).collect();
        let mut out = Vec::with_capacity(self.places.len().min(limit));
        for ((metric, _), (array, row)) in self.places.iter().take(limit) {
            let map = labels.get(*array).ok_or_else(|| Error::new(ErrorKind::Internal, "labels were not wanted"))?;
            let mut object = serde_json::Map::new();
            object.insert(NAME.to_owned(), names[*metric as usize].into());
            let entries = map.value(*row);
            let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
            for (key, value) in keys.iter().zip(values) {
                object.insert(key.unwrap_or_default().to_owned(), value.unwrap_or_default().into());
            }
            out.push(serde_json::Value::Object(object).to_string());
        }
        Ok((out, self.places.len() > limit))
    }

    /// Metric, id and other labels of each, in no order.
    pub(crate) fn each<'s>(&'s self, mut visit: impl FnMut(&str, i64, &[(&str, &str)])) -> Result<()> {
        let mut names = vec![""; self.metrics.len()];
        for (name, number) in &self.metrics {
            names[*number as usize] = name;
        }
        let labels: Vec<&'s MapArray> = self.labels.iter().map(|labels| labels.as_map()).collect();
        let unwanted = || DataFusionError::Internal("labels were not wanted".to_owned());
        for ((metric, id), (array, row)) in &self.places {
            let entries = labels.get(*array).ok_or_else(unwanted)?.value(*row);
            let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
            let texts = |(key, value): (Option<_>, Option<_>)| (key.unwrap_or_default(), value.unwrap_or_default());
            let texts: Vec<(&str, &str)> = keys.iter().zip(values).map(texts).collect();
            visit(names[*metric as usize], *id, &texts);
        }
        Ok(())
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.metrics.clear();
        self.places.clear();
        self.labels.clear();
        self.memory.free();
    }

    /// Names of the metrics.
    pub(crate) fn metrics(&self) -> impl ExactSizeIterator<Item = &str> {
        self.metrics.keys().map(AsRef::as_ref)
    }

    /// Ids of the series, of whatever metric.
    pub(crate) fn ids(&self) -> impl ExactSizeIterator<Item = i64> {
        self.places.keys().map(|(_, id)| *id)
    }

    /// Number of a metric, if a series of it was found.
    pub(crate) fn metric(&self, name: &str) -> Option<u32> {
        self.metrics.get(name).copied()
    }

    /// Where the labels of a series are, if it was found.
    pub(crate) fn place(&self, metric: u32, id: i64) -> Option<Place> {
        self.places.get(&(metric, id)).copied()
    }

    /// Labels at places, in their order; an empty map where there is no place.
    pub(crate) fn labels(&self, places: &[Option<Place>]) -> Result<ArrayRef> {
        let empty = schemas::string_maps(std::iter::once(std::iter::empty()))?;
        let mut arrays: Vec<&dyn Array> = self.labels.iter().map(AsRef::as_ref).collect();
        arrays.push(&empty);
        let nowhere = (arrays.len() - 1, 0);
        let places: Vec<Place> = places.iter().map(|place| place.unwrap_or(nowhere)).collect();
        Ok(interleave(&arrays, &places)?)
    }

    /// Adds series that the index knows.
    pub(crate) fn take(&mut self, known: &Known, series: impl IntoIterator<Item = u32>) -> Result<()> {
        let array = self.labels.len();
        let mut new = Vec::new();
        for series in series {
            let metric = self.number(known.metric(series))?;
            self.places.entry((metric, known.id(series))).or_insert_with(|| {
                new.push(series);
                (array, new.len() - 1)
            });
        }
        let labels = match self.wanted {
            Wanted::Labels if !new.is_empty() => Some(known.labels(new.iter().copied())?),
            _ => None,
        };
        self.hold(new.len(), labels)
    }

    /// Adds the series of some days that the index knows and for which all `filters`, over metric and labels, are true.
    pub(crate) fn choose(&mut self, state: &SessionState, known: &Known, days: &Days, filters: &[Expr]) -> Result<()> {
        let mut among = known.matching(&implied(filters), known.on(days), &NEVER).into_iter();
        let (metric, labels) = (DataType::Utf8View, schemas::string_map());
        let schema = [Field::new("metric", metric, false), Field::new("labels", labels, false)];
        let schema = Arc::new(Schema::new(schema.to_vec()));
        let df_schema = DFSchema::try_from(schema.as_ref().clone())?;
        let filters = filters.iter().map(|filter| state.create_physical_expr(filter.clone(), &df_schema));
        let Some(filter) = conjunction_opt(filters.collect::<Result<Vec<_>>>()?) else {
            return self.take(known, among);
        };
        loop {
            let series: Vec<u32> = among.by_ref().take(CHUNK).collect();
            if series.is_empty() {
                return Ok(());
            }
            let metrics = series.iter().map(|series| known.metric(*series));
            let metrics: ArrayRef = Arc::new(StringViewArray::from_iter_values(metrics));
            let labels = known.labels(series.iter().copied())?;
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![metrics, labels])?;
            let keep = filter.evaluate(&batch)?.into_array(series.len())?;
            let keep = keep
                .as_boolean_opt()
                .ok_or_else(|| DataFusionError::Internal("a filter is no condition".to_owned()))?;
            self.take(
                known,
                series.into_iter().zip(keep).filter(|(_, keep)| *keep == Some(true)).map(|(series, _)| series),
            )?;
        }
    }

    /// Adds the series of table `series` for which all `filters` are true.
    pub(crate) async fn find(&mut self, state: &SessionState, table: &Arc<Table>, filters: Vec<Expr>) -> Result<()> {
        let source = provider_as_source(Arc::clone(table) as _);
        let mut plan = LogicalPlanBuilder::scan("series", source, None)?;
        for filter in filters {
            plan = plan.filter(filter)?;
        }
        let labels = (self.wanted == Wanted::Labels).then(|| col("labels"));
        let plan = plan.project([col("metric"), col("series_id")].into_iter().chain(labels))?.build()?;
        let plan = state.create_physical_plan(&plan).await?;
        let mut batches = execute_stream(plan, state.task_ctx())?;
        while let Some(batch) = batches.next().await {
            self.add(&batch?)?;
        }
        Ok(())
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let metrics: &StringViewArray = batch.column(0).as_string_view();
        let ids = batch.column(1).as_primitive::<Int64Type>();
        let mut new = Vec::new();
        let array = self.labels.len();
        for row in 0..batch.num_rows() {
            let metric = self.number(metrics.value(row))?;
            self.places.entry((metric, ids.value(row))).or_insert_with(|| {
                new.push(row);
                (array, new.len() - 1)
            });
        }
        let labels = match self.wanted {
            Wanted::Labels if !new.is_empty() => {
                let rows = new.iter().map(|row| u32::try_from(*row).unwrap_or(u32::MAX)).collect::<UInt32Array>();
                Some(take(batch.column(2), &rows, None)?)
            }
            _ => None,
        };
        self.hold(new.len(), labels)
    }

    /// Keeps the labels of `new` series whose places are noted, and takes memory for them.
    fn hold(&mut self, new: usize, labels: Option<ArrayRef>) -> Result<()> {
        // The table of places keeps an eighth free and doubles; twice the entries is what it may take.
        let bytes = 2 * new * size_of::<((u32, i64), Place)>();
        let of_labels = labels.as_ref().map_or(0, |labels| labels.get_array_memory_size());
        self.labels.extend(labels);
        self.memory.try_grow(bytes + of_labels)
    }

    fn number(&mut self, metric: &str) -> Result<u32> {
        if let Some(number) = self.metrics.get(metric) {
            return Ok(*number);
        }
        let number = u32::try_from(self.metrics.len())
            .map_err(|_| DataFusionError::ResourcesExhausted("more metrics than can be numbered".to_owned()))?;
        self.metrics.insert(Arc::from(metric), number);
        Ok(number)
    }
}

/// Filters on table `series` for the days that hold times from `least` to `greatest`, both inclusive.
pub(crate) fn on_days(least: Option<i64>, greatest: Option<i64>) -> Vec<Expr> {
    let day = |us: i64| lit(ScalarValue::Date32(Some(i32::try_from(us.div_euclid(DAY_US)).unwrap_or(i32::MAX))));
    let least = least.map(|us| col("day").gt_eq(day(us)));
    let greatest = greatest.map(|us| col("day").lt_eq(day(us)));
    least.into_iter().chain(greatest).collect()
}

#[cfg(test)]
mod tests;

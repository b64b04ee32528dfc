//! Finds series and their labels: the one place where label filters become series ids.
//!
//! Called by the `metrics` view, for filters on labels and to attach labels to samples, and by [`Engine::series`], for
//! selectors. Reads table `series`, which has a row per series and day; hands back a set of (metric, series id), with the
//! labels of each if they are wanted.
//!
//! [`Engine::series`]: crate::Engine::series
//!
//! Invariants: identity is (metric, series id) and never changes its labels, so the same series on several days, or found
//! twice, is kept once; memory is taken from the queries' pool before it is used.

use std::{mem::size_of, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, MapArray, RecordBatch, StringViewArray, UInt32Array, new_empty_array},
    buffer::OffsetBuffer,
    compute::{interleave, take},
    datatypes::{DataType, Int64Type},
};
use datafusion::{
    common::{DataFusionError, Result, ScalarValue},
    datasource::provider_as_source,
    execution::{
        SessionState,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    logical_expr::{Expr, LogicalPlanBuilder, col, lit},
    physical_plan::execute_stream,
};
use futures::StreamExt;
use hashbrown::HashMap;

use crate::table::{DAY_US, Table};

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
        let empty = no_labels()?;
        let mut arrays: Vec<&dyn Array> = self.labels.iter().map(AsRef::as_ref).collect();
        arrays.push(&empty);
        let nowhere = (arrays.len() - 1, 0);
        let places: Vec<Place> = places.iter().map(|place| place.unwrap_or(nowhere)).collect();
        Ok(interleave(&arrays, &places)?)
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
        if new.is_empty() {
            return Ok(());
        }
        // The table of places keeps an eighth free and doubles; twice the entries is what it may take.
        let mut bytes = 2 * new.len() * size_of::<((u32, i64), Place)>();
        if self.wanted == Wanted::Labels {
            let rows = new.iter().map(|row| u32::try_from(*row).unwrap_or(u32::MAX)).collect::<UInt32Array>();
            let labels = take(batch.column(2), &rows, None)?;
            bytes += labels.get_array_memory_size();
            self.labels.push(labels);
        }
        self.memory.try_grow(bytes)
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

/// One empty map.
fn no_labels() -> Result<MapArray> {
    let DataType::Map(entries, ordered) = schemas::string_map() else {
        return Err(DataFusionError::Internal("labels are no map".to_owned()));
    };
    let none = new_empty_array(entries.data_type()).as_struct().clone();
    Ok(MapArray::try_new(entries, OffsetBuffer::from_lengths([0]), none, None, ordered)?)
}

/// Filters on table `series` for the days that hold times from `least` to `greatest`, both inclusive.
pub(crate) fn days(least: Option<i64>, greatest: Option<i64>) -> Vec<Expr> {
    let day = |us: i64| lit(ScalarValue::Date32(Some(i32::try_from(us.div_euclid(DAY_US)).unwrap_or(i32::MAX))));
    let least = least.map(|us| col("day").gt_eq(day(us)));
    let greatest = greatest.map(|us| col("day").lt_eq(day(us)));
    least.into_iter().chain(greatest).collect()
}

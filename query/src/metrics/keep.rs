//! Two tests of sample rows that SQL has no words for, as expressions, so that the optimizer can push them into a scan.
//!
//! Called by the `metrics` view. Invariant: neither is ever null.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    datatypes::{DataType, Float64Type, Int64Type, Schema},
};
use datafusion::{
    common::{DataFusionError, Result},
    logical_expr::ColumnarValue,
    physical_expr::PhysicalExpr,
};
use promql::STALE;

use crate::series::Series;

/// Is a row to be kept?
#[derive(Debug)]
pub(super) struct Keep {
    test: Test,
    columns: Vec<Arc<dyn PhysicalExpr>>,
}

#[derive(Debug, Clone)]
enum Test {
    /// Is (metric, series id) among the series?
    OfSeries(Arc<Series>),
    /// Is the value no staleness marker?
    Fresh,
}

impl Keep {
    /// Keeps the samples of some series.
    pub(super) fn of_series(series: Arc<Series>, metric: Arc<dyn PhysicalExpr>, id: Arc<dyn PhysicalExpr>) -> Self {
        Self { test: Test::OfSeries(series), columns: vec![metric, id] }
    }

    /// Keeps what is no staleness marker.
    pub(super) fn fresh(value: Arc<dyn PhysicalExpr>) -> Self {
        Self { test: Test::Fresh, columns: vec![value] }
    }
}

impl PhysicalExpr for Keep {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _schema: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let arrays = self.columns.iter().map(|c| c.evaluate(batch)?.into_array(batch.num_rows()));
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let wrong = || DataFusionError::Internal(format!("columns of a wrong type test={self}"));
        let keep = match (&self.test, arrays.as_slice()) {
            (Test::Fresh, [value]) => {
                let values = value.as_primitive_opt::<Float64Type>().ok_or_else(wrong)?;
                values.values().iter().map(|v| Some(v.to_bits() != STALE)).collect::<BooleanArray>()
            }
            (Test::OfSeries(series), [metric, id]) => {
                let metrics = metric.as_string_view_opt().ok_or_else(wrong)?;
                let ids = id.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?.values();
                let views = metrics.views();
                // Rows of one metric follow each other, mostly, and then share the very view.
                let (mut view, mut number) = (None, None);
                let is_member = |row: usize| {
                    if view != Some(views[row]) {
                        (view, number) = (Some(views[row]), series.metric(metrics.value(row)));
                    }
                    number.is_some_and(|metric| series.place(metric, ids[row]).is_some())
                };
                (0..batch.num_rows()).map(is_member).map(Some).collect::<BooleanArray>()
            }
            _ => return Err(wrong()),
        };
        Ok(ColumnarValue::Array(Arc::new(keep)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.columns.iter().collect()
    }

    fn with_new_children(self: Arc<Self>, columns: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { test: self.test.clone(), columns }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.test {
            Test::OfSeries(series) => write!(f, "is_one_of_{}_series", series.ids().len())?,
            Test::Fresh => write!(f, "is_not_stale")?,
        }
        let columns: Vec<String> = self.columns.iter().map(ToString::to_string).collect();
        write!(f, "({})", columns.join(", "))
    }
}

impl PartialEq for Keep {
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.test, &other.test) {
            (Test::Fresh, Test::Fresh) => true,
            (Test::OfSeries(a), Test::OfSeries(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        same && self.columns == other.columns
    }
}

impl Eq for Keep {}

impl Hash for Keep {
    fn hash<H: Hasher>(&self, state: &mut H) {
        matches!(self.test, Test::Fresh).hash(state);
        self.columns.hash(state);
    }
}

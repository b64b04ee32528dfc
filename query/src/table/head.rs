//! Reads rows of the head, converted a batch at a time to the types queries see.
//!
//! Called by the table, with slices that pruning left. Converting lazily keeps planning short and copies bounded.
//!
//! Invariant: a partition is one sorted run, or unsorted batches; only the former declares an order.

use std::{fmt, ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Date32Array, Int64Array, RecordBatch, RecordBatchOptions},
    compute::cast,
    datatypes::{SchemaRef, TimestampMicrosecondType},
};
use datafusion::{
    common::{DataFusionError, Result, Statistics, stats::Precision, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
        coop::cooperative,
        execution_plan::{Boundedness, EmissionType, SchedulingType},
        stream::RecordBatchStreamAdapter,
    },
};
use schemas::{Dataset, Partition};
use storage::Rows;

use super::{DAY_US, WRITTEN, ordering};

/// Sorted runs that are read side by side, at most; beyond, their order is not declared.
const RUNS_MAX: usize = 32;

/// Some rows of a batch of the head.
#[derive(Debug, Clone)]
pub(super) struct Slice {
    pub rows: Arc<Rows>,
    pub range: Range<usize>,
    /// Order of writing of its batch's first row; later rows of the batch follow it.
    pub written: i64,
}

impl Slice {
    pub(super) fn all(rows: &Arc<Rows>) -> Self {
        Self { rows: Arc::clone(rows), range: 0..rows.batch.num_rows(), written: 0 }
    }
}

/// A leaf of the plan that reads slices of the head.
#[derive(Debug)]
pub(super) struct HeadExec {
    partitions: Vec<Vec<Slice>>,
    columns: Arc<[Origin]>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

/// Where a column comes from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// A column of the batch.
    Column(usize),
    /// The day of the time column.
    Day(usize),
    /// The order of writing.
    Written,
}

impl HeadExec {
    /// Reads columns as `schema` names them; `slices` are all sorted or all not.
    pub(super) fn new(dataset: &'static Dataset, schema: SchemaRef, slices: Vec<Slice>) -> Result<Self> {
        let origin = |name: &str| {
            if name == WRITTEN {
                return Ok(Origin::Written);
            }
            if let Some(index) = dataset.index_of(name) {
                return Ok(Origin::Column(index));
            }
            match (dataset.partition, dataset.index_of(dataset.time)) {
                (Partition::DayOfTime, Some(time)) => Ok(Origin::Day(time)),
                _ => Err(DataFusionError::Internal(format!("dataset has no such column column={name}"))),
            }
        };
        let columns = schema.fields().iter().map(|f| origin(f.name())).collect::<Result<Vec<_>>>()?;

        let mut runs: Vec<Vec<Slice>> = Vec::new();
        for slice in slices {
            match runs.last_mut() {
                Some(run) if run.last().is_some_and(|s| Arc::ptr_eq(&s.rows, &slice.rows) || !slice.rows.sorted) => {
                    run.push(slice);
                }
                _ => runs.push(vec![slice]),
            }
        }
        let sorted = runs.len() <= RUNS_MAX && runs.iter().flatten().all(|s| s.rows.sorted);
        if !sorted {
            runs = vec![runs.concat()];
        }
        // Rows of one run are told apart by their number, which grows with the run: it may follow the sort columns.
        let names = dataset.sort.iter().copied().chain([WRITTEN]);
        let order = sorted.then(|| ordering(&schema, names)).flatten();
        let equivalence = EquivalenceProperties::new_with_orderings(Arc::clone(&schema), order);
        let properties = PlanProperties::new(
            equivalence,
            Partitioning::UnknownPartitioning(runs.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Ok(Self { partitions: runs, columns: columns.into(), schema, properties: Arc::new(properties) })
    }

    fn rows(&self, partition: Option<usize>) -> usize {
        let of = |slices: &Vec<Slice>| slices.iter().map(|s| s.range.len()).sum::<usize>();
        match partition {
            Some(index) => self.partitions.get(index).map_or(0, of),
            None => self.partitions.iter().map(of).sum(),
        }
    }
}

impl ExecutionPlan for HeadExec {
    fn name(&self) -> &'static str {
        "HeadExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let step = context.session_config().batch_size().max(1);
        let chunks = self.partitions[partition].clone().into_iter().flat_map(move |slice| {
            let end = slice.range.end;
            slice
                .range
                .clone()
                .step_by(step)
                .map(move |start| (Arc::clone(&slice.rows), start..end.min(start + step), slice.written))
        });
        let (schema, columns) = (Arc::clone(&self.schema), Arc::clone(&self.columns));
        let batches =
            chunks.map(move |(rows, range, written)| convert(&schema, &columns, &rows.batch, &range, written));
        let stream = RecordBatchStreamAdapter::new(Arc::clone(&self.schema), futures::stream::iter(batches));
        Ok(Box::pin(cooperative(stream)))
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let num_rows = Precision::Exact(self.rows(partition));
        Ok(Arc::new(Statistics { num_rows, ..Statistics::new_unknown(&self.schema) }))
    }
}

impl DisplayAs for HeadExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeadExec: partitions={}, rows={}", self.partitions.len(), self.rows(None))?;
        match self.properties.output_ordering() {
            Some(order) => write!(f, ", output_ordering=[{order}]"),
            None => Ok(()),
        }
    }
}

fn convert(
    schema: &SchemaRef,
    columns: &[Origin],
    batch: &RecordBatch,
    range: &Range<usize>,
    written: i64,
) -> Result<RecordBatch> {
    let array = |(origin, field): (&Origin, &Arc<arrow::datatypes::Field>)| -> Result<ArrayRef> {
        match origin {
            Origin::Column(index) => {
                let column = batch.column(*index).slice(range.start, range.len());
                Ok(cast(&column, field.data_type())?)
            }
            Origin::Day(index) => {
                let time = batch.column(*index).slice(range.start, range.len());
                let time = time
                    .as_primitive_opt::<TimestampMicrosecondType>()
                    .ok_or_else(|| DataFusionError::Internal("time column holds no microseconds".to_owned()))?;
                let day = |us: i64| i32::try_from(us.div_euclid(DAY_US)).unwrap_or(i32::MAX);
                Ok(Arc::new(time.unary::<_, arrow::datatypes::Date32Type>(day) as Date32Array))
            }
            Origin::Written => {
                let row = |row: usize| written + i64::try_from(row).unwrap_or(i64::MAX >> 1);
                Ok(Arc::new(Int64Array::from_iter_values(range.clone().map(row))))
            }
        }
    };
    let arrays = columns.iter().zip(schema.fields()).map(array).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(range.len()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
}

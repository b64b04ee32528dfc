//! Of rows with one key, keeps the one written last.
//!
//! Called by the table for partitions that hold late rows. Takes rows ordered by key and then by the order of writing (the
//! optimizer merges or sorts to bring them so); hands on the last row of each key, columns unchanged.
//!
//! Invariant: filters and limits from above stop here, since both could drop the later row and let the earlier through.

use std::{fmt, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanArray, BooleanBufferBuilder, RecordBatch},
    compute::{concat_batches, filter_record_batch, partition},
    datatypes::SchemaRef,
};
use datafusion::{
    common::{DataFusionError, Result, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{
        Distribution, LexOrdering, OrderingRequirements, PhysicalExpr, PhysicalSortExpr, expressions::Column,
    },
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, InputDistributionRequirements,
        PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{Stream, StreamExt};

use super::WRITTEN;

/// Keeps the last row of each key.
#[derive(Debug)]
pub(super) struct DedupExec {
    input: Arc<dyn ExecutionPlan>,
    key: usize,
    order: LexOrdering,
    properties: Arc<PlanProperties>,
}

impl DedupExec {
    /// Over rows whose first `key` columns are the key and that say when they were written.
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, key: usize) -> Result<Self> {
        let schema = input.schema();
        let written = schema.index_of(WRITTEN)?;
        let columns = (0..key)
            .chain([written])
            .map(|index| PhysicalSortExpr::new_default(Arc::new(Column::new(schema.field(index).name(), index))));
        let order =
            LexOrdering::new(columns).ok_or_else(|| DataFusionError::Internal("a key has no columns".to_owned()))?;
        let properties = PlanProperties::new(
            input.equivalence_properties().clone(),
            input.output_partitioning().clone(),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self { input, key, order, properties: Arc::new(properties) })
    }
}

impl ExecutionPlan for DedupExec {
    fn name(&self) -> &'static str {
        "DedupExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![Some(OrderingRequirements::from(self.order.clone()))]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
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
        Ok(Arc::new(Self::new(input, self.key)?))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let schema = input.schema();
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), latest(input, schema, self.key))))
    }
}

impl DisplayAs for DedupExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DedupExec: order=[{}]", self.order)
    }
}

/// The last row of each key. The last row of a batch waits for the next batch, which may begin with its key.
fn latest(
    input: SendableRecordBatchStream,
    schema: SchemaRef,
    key: usize,
) -> impl Stream<Item = Result<RecordBatch>> + Send {
    let state = (input.fuse(), None::<RecordBatch>);
    futures::stream::try_unfold(state, move |(mut input, waiting)| {
        let schema = Arc::clone(&schema);
        async move {
            match input.next().await.transpose()? {
                Some(batch) => {
                    let batch = match &waiting {
                        Some(row) => concat_batches(&schema, [row, &batch])?,
                        None => batch,
                    };
                    let (done, waiting) = split(&batch, key)?;
                    Ok(Some((done, (input, waiting))))
                }
                None => Ok(waiting.map(|row| (row, (input, None)))),
            }
        }
    })
}

/// The last row of each key but the last key, and the last row.
fn split(batch: &RecordBatch, key: usize) -> Result<(RecordBatch, Option<RecordBatch>)> {
    let rows = batch.num_rows();
    if rows == 0 {
        return Ok((batch.clone(), None));
    }
    let columns: Vec<ArrayRef> = batch.columns().iter().take(key).map(Arc::clone).collect();
    let ranges = partition(&columns)?.ranges();
    let mut keep = BooleanBufferBuilder::new(rows);
    keep.append_n(rows, false);
    for range in ranges.iter().take(ranges.len() - 1) {
        keep.set_bit(range.end - 1, true);
    }
    let done = filter_record_batch(batch, &BooleanArray::new(keep.finish(), None))?;
    Ok((done, Some(batch.slice(rows - 1, 1))))
}

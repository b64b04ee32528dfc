//! The operator: holds the right side, and lets the left one stream by.
//!
//! Rows of the left side stay in their partitions. The right side is read once, by whoever comes first; its rows and
//! their places count against the memory of queries.

use std::{fmt, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::concat_batches,
    datatypes::{DataType, SchemaRef},
};
use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    common::{
        DataFusionError, Result, internal_err, tree_node::TreeNodeRecursion, utils::memory::RecordBatchMemoryCounter,
    },
    execution::{
        SendableRecordBatchStream, TaskContext,
        context::QueryPlanner,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    logical_expr::{LogicalPlan, UserDefinedLogicalNode, physical_planning_context::PhysicalPlanningContext},
    physical_expr::{Distribution, EquivalenceProperties, Partitioning, PhysicalExpr, expressions::cast},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet},
        stream::RecordBatchStreamAdapter,
    },
    physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner},
};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::OnceCell;

use super::{
    nearest::{Layout, Nearest},
    node::{Node, Side},
};

/// DataFusion's planner, which learns of our join.
#[derive(Debug)]
pub(crate) struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Joins)]).create_physical_plan(plan, session).await
    }
}

struct Joins;

#[async_trait]
impl ExtensionPlanner for Joins {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(node), [left, right]) = (node.as_any().downcast_ref::<Node>(), physical_inputs) else {
            return Ok(None);
        };
        let mut sides = Sides { left: Vec::new(), right: Vec::new() };
        // The time is the last.
        for (of_left, of_right) in node.on.iter().chain([&node.times]) {
            let of_left = planner.create_physical_expr(of_left, node.left.schema(), session, context)?;
            let of_right = planner.create_physical_expr(of_right, node.right.schema(), session, context)?;
            let data_type = of_left.data_type(&left.schema())?;
            sides.left.push(of_left);
            sides.right.push(cast(of_right, &right.schema(), data_type)?);
        }
        let schema = Arc::clone(node.schema().inner());
        Ok(Some(Arc::new(AsofJoinExec::new([left, right].map(Arc::clone), sides, node.side, schema)?)))
    }
}

/// Keys and, as the last, the time: of the left and of the right side, of the same types.
#[derive(Debug, Clone)]
struct Sides {
    left: Vec<Arc<dyn PhysicalExpr>>,
    right: Vec<Arc<dyn PhysicalExpr>>,
}

#[derive(Debug)]
struct AsofJoinExec {
    inputs: [Arc<dyn ExecutionPlan>; 2],
    sides: Sides,
    side: Side,
    nearest: Arc<OnceCell<Held>>,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

/// The right side, and the memory that it takes.
#[derive(Debug)]
struct Held {
    nearest: Nearest,
    #[allow(dead_code, reason = "kept to be dropped, which gives the memory back")]
    memory: MemoryReservation,
}

impl AsofJoinExec {
    fn new(inputs: [Arc<dyn ExecutionPlan>; 2], sides: Sides, side: Side, schema: SchemaRef) -> Result<Self> {
        layout(&sides, &inputs[0].schema())?;
        let partitions = inputs[0].properties().output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let (nearest, metrics) = (Arc::default(), ExecutionPlanMetricsSet::new());
        Ok(Self { inputs, sides, side, nearest, metrics, properties: Arc::new(properties) })
    }
}

fn layout(sides: &Sides, left: &SchemaRef) -> Result<Layout> {
    let types = sides.left.iter().map(|expr| expr.data_type(left)).collect::<Result<Vec<DataType>>>()?;
    Layout::new(&types)
}

impl ExecutionPlan for AsofJoinExec {
    fn name(&self) -> &'static str {
        "AsofJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let mut told = TreeNodeRecursion::Continue;
        for expr in self.sides.left.iter().chain(&self.sides.right) {
            told = told.visit_sibling(|| f(expr))?;
        }
        Ok(told)
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::UnspecifiedDistribution, Distribution::SinglePartition])
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let Ok(inputs) = <[_; 2]>::try_from(children) else { return internal_err!("an AsofJoinExec has two inputs") };
        Ok(Arc::new(Self::new(inputs, self.sides.clone(), self.side, self.schema())?))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let [left, right] = &self.inputs;
        let (of_left, schema, side) = (left.execute(partition, Arc::clone(&context))?, self.schema(), self.side);
        let (cell, right, sides) = (Arc::clone(&self.nearest), Arc::clone(right), self.sides.clone());
        let layout = layout(&sides, &left.schema())?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let joined = async move {
            let reading = read(right, layout, &sides.right, side, &context);
            cell.get_or_try_init(|| reading).await?;
            let of = Arc::clone(&schema);
            let join = move |left: Result<RecordBatch>| {
                let left = left?;
                let _timer = metrics.elapsed_compute().timer();
                // Held by the cell from here on.
                let Some(held) = cell.get() else { return internal_err!("right side of an ASOF JOIN is gone") };
                let right = held.nearest.to(&values(&sides.left, &left)?)?;
                let columns = [left.columns(), &right].concat();
                metrics.record_output(left.num_rows());
                Ok(RecordBatch::try_new(Arc::clone(&of), columns)?)
            };
            Ok::<_, DataFusionError>(of_left.map(join))
        };
        let stream = futures::stream::once(joined).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

impl DisplayAs for AsofJoinExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsofJoinExec: {:?}", self.side)?;
        let pairs = self.sides.left.iter().zip(&self.sides.right);
        pairs.into_iter().try_for_each(|(left, right)| write!(f, ", {left} ~ {right}"))
    }
}

/// Reads the right side.
async fn read(
    right: Arc<dyn ExecutionPlan>,
    layout: Layout,
    columns: &[Arc<dyn PhysicalExpr>],
    side: Side,
    context: &Arc<TaskContext>,
) -> Result<Held> {
    let memory = MemoryConsumer::new("right side of an ASOF JOIN").register(context.memory_pool());
    let (mut stream, schema) = (right.execute(0, Arc::clone(context))?, right.schema());
    let (mut batches, mut counter) = (Vec::new(), RecordBatchMemoryCounter::new());
    while let Some(batch) = stream.try_next().await? {
        counter.count_batch(&batch);
        memory.try_resize(counter.memory_usage())?;
        batches.push(batch);
    }
    // Beside the parts, the whole, until the parts are dropped.
    memory.try_grow(counter.memory_usage())?;
    let batch = concat_batches(&schema, &batches)?;
    drop(batches);
    memory.try_resize(batch.get_array_memory_size())?;
    let columns = values(columns, &batch)?;
    let nearest = Nearest::new(layout, side, batch, &columns)?;
    memory.try_grow(nearest.bytes())?;
    Ok(Held { nearest, memory })
}

fn values(exprs: &[Arc<dyn PhysicalExpr>], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    exprs.iter().map(|expr| expr.evaluate(batch)?.into_array(batch.num_rows())).collect()
}

//! The plan of a call: one partition, evaluated when its first row is asked for.

use std::{fmt, sync::Arc};

use datafusion::{
    common::{Result, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet, RecordOutput},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, TryStreamExt, stream};

use super::{Call, INSTANT, rows::Rows};
use crate::{Error, ErrorKind};

/// Evaluates a call; hands on the columns that are wanted.
pub(super) struct PromqlExec {
    call: Arc<Call>,
    columns: Vec<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl PromqlExec {
    pub(super) fn new(call: Arc<Call>, columns: Vec<usize>) -> Result<Self> {
        let schema = Arc::new(call.schema.project(&columns)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Ok(Self { call, columns, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() })
    }
}

impl ExecutionPlan for PromqlExec {
    fn name(&self) -> &'static str {
        "PromqlExec"
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

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        if !children.is_empty() {
            return Err(Error::new(ErrorKind::Internal, "a call of PromQL has no input").into());
        }
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (call, columns, schema) = (Arc::clone(&self.call), self.columns.clone(), self.schema());
        let rows_max = context.session_config().batch_size();
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let read = MetricBuilder::new(&self.metrics).counter("samples_read", partition);
        let (name, of_rows) = (call.name, Arc::clone(&schema));
        let evaluated = async move {
            let found = call.engine.promql_within(&call.query, call.when, Arc::clone(&call.place)).await?;
            read.add(found.samples);
            for note in found.warnings.iter().chain(&found.infos) {
                tracing::debug!(query = call.query.text(), note, "PromQL within SQL");
            }
            Ok::<_, Error>(Rows::new(call, columns, of_rows, found, rows_max))
        };
        let batches = stream::once(evaluated).map_ok(stream::iter).try_flatten();
        let batches = batches.map(move |batch| {
            let batch = batch.map_err(|error: Error| error.within(name))?;
            Ok(batch.record_output(&baseline))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

impl DisplayAs for PromqlExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Call { name, query, when, .. } = &*self.call;
        write!(f, "PromqlExec: {name}={:?}, ", query.text())?;
        if *name == INSTANT {
            return write!(f, "time_ms={}", when.start_ms);
        }
        write!(f, "start_ms={}, end_ms={}, step_ms={}", when.start_ms, when.end_ms, when.step_ms)
    }
}

impl fmt::Debug for PromqlExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PromqlExec").field("call", &self.call).finish_non_exhaustive()
    }
}

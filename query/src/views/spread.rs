//! Cuts charges for more than a day at midnight UTC, and spreads their amounts evenly over the time.
//!
//! Table `costs_parts`, of which view `costs_spread` is made. A plan of its own over the one of `costs` rather than a union of short and
//! long charges: columns and filters go through it, `costs` is read once, and batches without a long charge pass as they are.
//!
//! Invariants: the sums of the parts' amounts are those of the charge, to the last digit; a filter that parts of a charge can differ in is
//! never applied to the charge. What has no end, or one before its begin, or lasts longer than [`DAYS_MAX`], stays whole.

mod amounts;
mod batch;

use std::{collections::BTreeSet, fmt, sync::Arc};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    common::{
        Column, Result, ScalarValue,
        tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion},
    },
    datasource::{TableProvider, TableType},
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{Cast, Expr, TableProviderFilterPushDown, lit},
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    Error, ErrorKind,
    table::{DAY_US, pushable, time_range},
};

use batch::Cut;

/// Days that a charge may last to be spread: more than any commitment, and few enough to be held in memory for a row.
const DAYS_MAX: i64 = 11 * 366;
const START: &str = "ChargePeriodStart";
const END: &str = "ChargePeriodEnd";
const DAY: &str = "ChargeDay";
/// What is spread: all that add up. Prices do not.
const SPREAD: [&str; 10] = [
    "BilledCost",
    "EffectiveCost",
    "ListCost",
    "ContractedCost",
    "PricingCurrencyEffectiveCost",
    "x_DeliveredCost",
    "x_SplitCost",
    "PricingQuantity",
    "ConsumedQuantity",
    "CommitmentDiscountQuantity",
];

/// `costs`, a row for each UTC day of charges for more than one.
#[derive(Debug)]
pub(super) struct Spread {
    costs: Arc<dyn TableProvider>,
    schema: SchemaRef,
}

impl Spread {
    pub(super) fn new(costs: Arc<dyn TableProvider>) -> Self {
        let (day, columns) = (Arc::new(Field::new(DAY, DataType::Date32, false)), costs.schema());
        let fields = std::iter::once(day).chain(columns.fields().iter().cloned()).collect::<Fields>();
        Self { schema: Arc::new(Schema::new(fields)), costs }
    }
}

#[async_trait]
impl TableProvider for Spread {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let indices: Vec<usize> = projection.map_or_else(|| (0..self.schema.fields().len()).collect(), Clone::clone);
        let schema = Arc::new(self.schema.project(&indices)?);
        let costs = self.costs.schema();
        let wanted: BTreeSet<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let needed = |name: &str| wanted.contains(name) || [START, END].contains(&name);
        let columns = (0..costs.fields().len()).filter(|at| needed(costs.field(*at).name())).collect();
        let input = self.costs.scan(session, Some(&columns), &of_charges(filters)?, None).await?;
        Ok(Arc::new(SpreadExec::over(input, schema)))
    }
}

/// Filters that each charge passes of which a part passes these.
fn of_charges(filters: &[Expr]) -> Result<Vec<Expr>> {
    let differs = |name: &str| [START, END, DAY].contains(&name) || SPREAD.contains(&name);
    let stays = |filter: &&Expr| pushable(filter) && !filter.column_refs().iter().any(|column| differs(&column.name));
    let mut passed: Vec<Expr> = filters.iter().filter(stays).cloned().collect();
    let (mut least, mut before) = time_range(filters, START);
    let (first, last) = time_range(&as_times(filters)?, DAY);
    least = least.max(first);
    before = [before, last.map(|last| last.saturating_add(DAY_US - 1))].into_iter().flatten().min();
    let time = |us: i64| lit(ScalarValue::TimestampMicrosecond(Some(us), Some("UTC".into())));
    let column = |name: &str| Expr::Column(Column::from_name(name));
    if let Some(before) = before {
        passed.push(column(START).lt_eq(time(before)));
    }
    if let Some(least) = least {
        // A part that begins then may be of a charge that began before and ends after; the day itself may begin before the charge.
        let day = least.div_euclid(DAY_US) * DAY_US;
        passed.push(column(END).gt(time(day)).or(column(START).gt_eq(time(day))));
    }
    Ok(passed)
}

/// Filters over days with what they are compared to as a time.
fn as_times(filters: &[Expr]) -> Result<Vec<Expr>> {
    let plain = |expr: Expr| match expr {
        Expr::Cast(Cast { expr, field })
            if field.data_type().is_temporal()
                && matches!(expr.as_ref(), Expr::Column(column) if column.name == DAY) =>
        {
            Ok(Transformed::yes(*expr))
        }
        other => Ok(Transformed::no(other)),
    };
    filters.iter().cloned().map(|filter| filter.transform(plain).data()).collect()
}

/// Cuts the charges of its input.
struct SpreadExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl SpreadExec {
    fn over(input: Arc<dyn ExecutionPlan>, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            input.output_partitioning().clone(),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Self { input, properties: Arc::new(properties) }
    }
}

impl ExecutionPlan for SpreadExec {
    fn name(&self) -> &'static str {
        "SpreadExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
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
        let lacks = || Error::new(ErrorKind::Internal, "a plan of parts of charges lacks its input");
        let input = children.into_iter().next().ok_or_else(lacks)?;
        Ok(Arc::new(Self::over(input, self.schema())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows_max = context.session_config().batch_size();
        let input = self.input.execute(partition, context)?;
        let schema = self.schema();
        let cut = move |batch| Ok(stream::iter(Cut::of(batch, Arc::clone(&schema), rows_max)?));
        let parts = input.and_then(move |batch| futures::future::ready(cut(batch))).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), parts.boxed())))
    }
}

impl DisplayAs for SpreadExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpreadExec: days_max={DAYS_MAX}")
    }
}

impl fmt::Debug for SpreadExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpreadExec").field("input", &self.input).finish_non_exhaustive()
    }
}

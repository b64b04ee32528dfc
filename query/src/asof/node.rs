//! The join in a logical plan.

use std::{cmp::Ordering, fmt, sync::Arc};

use datafusion::{
    common::{DFSchema, DFSchemaRef, Result, plan_err},
    logical_expr::{Expr, LogicalPlan, Operator, UserDefinedLogicalNodeCore},
};

/// Which row of the right side is the nearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Side {
    /// The last one not after the left row, or the last before it.
    Before { or_at: bool },
    /// The first one not before the left row, or the first after it.
    After { or_at: bool },
}

impl Side {
    /// As an operator says that stands between the left time and the right one; none if it compares otherwise.
    pub(super) fn of(operator: Operator) -> Option<Self> {
        match operator {
            Operator::GtEq => Some(Self::Before { or_at: true }),
            Operator::Gt => Some(Self::Before { or_at: false }),
            Operator::LtEq => Some(Self::After { or_at: true }),
            Operator::Lt => Some(Self::After { or_at: false }),
            _ => None,
        }
    }

    fn operator(self) -> Operator {
        match self {
            Self::Before { or_at: true } => Operator::GtEq,
            Self::Before { or_at: false } => Operator::Gt,
            Self::After { or_at: true } => Operator::LtEq,
            Self::After { or_at: false } => Operator::Lt,
        }
    }
}

/// A left and a right expression that are compared.
pub(super) type Pair = (Expr, Expr);

/// Each row of the left input with the nearest of the right one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub left: LogicalPlan,
    pub right: LogicalPlan,
    /// Keys that are equal.
    pub on: Vec<Pair>,
    pub times: Pair,
    pub side: Side,
    schema: DFSchemaRef,
}

impl Node {
    pub(super) fn new(left: LogicalPlan, right: LogicalPlan, on: Vec<Pair>, times: Pair, side: Side) -> Result<Self> {
        // A row that meets nothing has nulls for the right side.
        let nullable = |(table, field): (Option<&_>, &Arc<arrow::datatypes::Field>)| {
            (
                Option::<&datafusion::common::TableReference>::cloned(table),
                Arc::new(field.as_ref().clone().with_nullable(true)),
            )
        };
        let of_left = left.schema().iter().map(|(table, field)| (table.cloned(), Arc::clone(field)));
        let fields = of_left.chain(right.schema().iter().map(nullable)).collect();
        let schema = Arc::new(DFSchema::new_with_metadata(fields, left.schema().metadata().clone())?);
        Ok(Self { left, right, on, times, side, schema })
    }
}

/// Plans have no order; columns of a plan that are compared by place are told apart by the rest.
impl PartialOrd for Node {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for Node {
    fn name(&self) -> &'static str {
        "AsofJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.on.iter().chain([&self.times]).flat_map(|(left, right)| [left.clone(), right.clone()]).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, right) = &self.times;
        write!(f, "AsofJoin: {left} {} {right}", self.side.operator())?;
        self.on.iter().try_for_each(|(left, right)| write!(f, ", {left} = {right}"))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut exprs = exprs.into_iter();
        let mut pairs: Vec<Pair> = Vec::with_capacity(self.on.len() + 1);
        while let (Some(left), Some(right)) = (exprs.next(), exprs.next()) {
            pairs.push((left, right));
        }
        let (Some(times), Ok([left, right])) = (pairs.pop(), <[LogicalPlan; 2]>::try_from(inputs)) else {
            return plan_err!("an AsofJoin has two inputs and a condition");
        };
        Self::new(left, right, pairs, times, self.side)
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let of_left = self.left.schema().fields().len();
        let (left, right): (Vec<usize>, Vec<usize>) = output_columns.iter().partition(|column| **column < of_left);
        Some(vec![left, right.into_iter().map(|column| column - of_left).collect()])
    }
}

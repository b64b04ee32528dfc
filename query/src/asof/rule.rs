//! Puts the join into plans, and conditions on its left side below it.

use std::sync::Arc;

use datafusion::{
    common::{
        DFSchema, Result,
        config::ConfigOptions,
        plan_err,
        tree_node::{Transformed, TransformedResult},
    },
    logical_expr::{
        BinaryExpr, Expr, Extension, Filter, Join, LogicalPlan, Operator,
        utils::{conjunction, split_conjunction, split_conjunction_owned},
    },
    optimizer::{AnalyzerRule, ApplyOrder, OptimizerConfig, OptimizerRule},
};

use super::{
    MARK,
    node::{Node, Pair, Side},
};

/// Puts a [`Node`] in the place of each join that has the mark. The last of the analyser's rules: types are settled, and nothing has taken
/// the join for what it is not.
#[derive(Debug)]
pub(crate) struct Rule;

impl AnalyzerRule for Rule {
    fn name(&self) -> &'static str {
        "asof_join"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Join(join) if is_marked(&join) => Ok(Transformed::yes(node(join)?)),
            other => Ok(Transformed::no(other)),
        })
        .data()
    }
}

fn is_marked(join: &Join) -> bool {
    join.filter.as_ref().is_some_and(|filter| split_conjunction(filter).into_iter().any(|part| mark(part).is_some()))
}

/// What is marked.
fn mark(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == MARK => call.args.first(),
        _ => None,
    }
}

fn node(join: Join) -> Result<LogicalPlan> {
    let (left, right) = (Arc::unwrap_or_clone(join.left), Arc::unwrap_or_clone(join.right));
    let (of_left, of_right) = (Arc::clone(left.schema()), Arc::clone(right.schema()));
    let sides = |a: &Expr, b: &Expr| sides(a, b, &of_left, &of_right);
    let (mut on, mut times) = (join.on, None);
    for part in join.filter.iter().flat_map(split_conjunction) {
        let (compared, is_time) = mark(part).map_or((part, false), |inner| (inner, true));
        match (compared, is_time) {
            (Expr::BinaryExpr(BinaryExpr { left, op, right }), true) => {
                let found = sides(left, right).and_then(|(pair, is_swapped)| {
                    let op = if is_swapped { op.swap()? } else { *op };
                    Some((pair, Side::of(op)?))
                });
                let Some(found) = found else {
                    return plan_err!("{IN_MATCH}");
                };
                times = Some(found);
            }
            (_, true) => return plan_err!("{IN_MATCH}"),
            (Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }), false) => match sides(left, right) {
                Some((pair, _)) => on.push(pair),
                None => return plan_err!("{IN_ON}"),
            },
            (_, false) => return plan_err!("{IN_ON}"),
        }
    }
    let Some((times, side)) = times else { return plan_err!("an ASOF JOIN has a MATCH_CONDITION") };
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(Node::new(left, right, on, times, side)?) }))
}

const IN_MATCH: &str = "MATCH_CONDITION compares one time of the left table with one of the right by >=, >, <= or <: write MATCH_CONDITION (a.ts >= b.ts)";
const IN_ON: &str =
    "ON of an ASOF JOIN has equal keys of both tables and nothing else: put other conditions into WHERE";

/// Two expressions as left and right, and whether they stood the other way round; none if one is of both sides, or both of one.
fn sides(a: &Expr, b: &Expr, left: &DFSchema, right: &DFSchema) -> Option<(Pair, bool)> {
    if is_of(a, left) && is_of(b, right) {
        return Some(((a.clone(), b.clone()), false));
    }
    (is_of(b, left) && is_of(a, right)).then(|| ((b.clone(), a.clone()), true))
}

/// Is every column of an expression one of these, and is there one?
fn is_of(expr: &Expr, schema: &DFSchema) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.into_iter().all(|column| schema.has_column(column))
}

/// Puts conditions on the left side below the join, from where DataFusion brings them to the table. A row that they leave out would be
/// left out above the join as well, and no other row is touched.
#[derive(Debug)]
pub(crate) struct PushDown;

impl OptimizerRule for PushDown {
    fn name(&self) -> &'static str {
        "push_down_into_asof_join"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = &plan else { return Ok(Transformed::no(plan)) };
        let LogicalPlan::Extension(Extension { node }) = filter.input.as_ref() else {
            return Ok(Transformed::no(plan));
        };
        let Some(node) = node.as_any().downcast_ref::<Node>() else { return Ok(Transformed::no(plan)) };
        let can_go = |part: &Expr| is_of(part, node.left.schema()) && !part.is_volatile();
        let (below, above): (Vec<Expr>, Vec<Expr>) =
            split_conjunction_owned(filter.predicate.clone()).into_iter().partition(can_go);
        let Some(below) = conjunction(below) else { return Ok(Transformed::no(plan)) };
        let left = LogicalPlan::Filter(Filter::try_new(below, Arc::new(node.left.clone()))?);
        let joined = Node::new(left, node.right.clone(), node.on.clone(), node.times.clone(), node.side)?;
        let joined = LogicalPlan::Extension(Extension { node: Arc::new(joined) });
        Ok(Transformed::yes(match conjunction(above) {
            Some(above) => LogicalPlan::Filter(Filter::try_new(above, Arc::new(joined))?),
            None => joined,
        }))
    }
}

//! Which samples the value of a step depends on: those up to so long before it.

use crate::ast::{Aggregator, Extent};

use super::{Aggregation, Plan, Select, Step};

/// All samples that a step depends on are this long before it, milliseconds, or longer; negative if some are after it. `None` if it
/// depends on a fixed time, or if that cannot be told.
pub(super) fn of(plan: &Plan, lookback_ms: i64) -> Option<i64> {
    let select = |select: &Select| {
        let after = if select.extent == Extent::Smoothed { lookback_ms } else { 0 };
        select.moment.at_ms.is_none().then(|| select.moment.offset_ms.saturating_sub(after))
    };
    match &plan.node {
        Step::Number(_) | Step::String(_) => Some(i64::MAX),
        Step::Negate(of_all) => of(of_all, lookback_ms),
        Step::Binary(operation) => least([&operation.left, &operation.right].into_iter(), lookback_ms),
        Step::Aggregate(of_all) if is_of_all_steps(of_all) => None,
        Step::Aggregate(of_all) => least(of_all.param.iter().chain([&of_all.expr]), lookback_ms),
        // Labels are those of series at other times, too.
        Step::Call(function, _) if function.name == "info" => None,
        Step::Call(_, args) => least(args.iter(), lookback_ms),
        Step::Instant(of_one) | Step::Range(of_one, _) => select(of_one),
        Step::Subquery(window) if window.moment.at_ms.is_some() => None,
        Step::Subquery(window) => Some(of(&window.expr, lookback_ms)?.saturating_add(window.moment.offset_ms)),
    }
}

/// May more than a step make a difference? What is wrong with a parameter is looked for at all steps at once; and the order of rows, by
/// which sums differ in their last digits and the first of equal ones is chosen, is that of series, but for groups, which are in the
/// order in which they come up at any step.
fn is_of_all_steps(aggregation: &Aggregation) -> bool {
    use Aggregator::{Avg, Bottomk, LimitRatio, Limitk, Stddev, Stdvar, Sum, Topk};
    let is_of_order = matches!(aggregation.op, Avg | Bottomk | Stddev | Stdvar | Sum | Topk);
    let is_constant = |param: &Plan| matches!(param.node, Step::Number(_) | Step::String(_));
    matches!(aggregation.op, Limitk | LimitRatio)
        || !aggregation.param.iter().all(is_constant)
        || (is_of_order && has_groups(&aggregation.expr))
}

/// Is there an aggregation in an expression?
fn has_groups(plan: &Plan) -> bool {
    let mut found = matches!(plan.node, Step::Aggregate(_));
    plan.node.each(&mut |child| found |= has_groups(child));
    found
}

fn least<'a>(mut plans: impl Iterator<Item = &'a Plan>, lookback_ms: i64) -> Option<i64> {
    plans.try_fold(i64::MAX, |lag, plan| Some(lag.min(of(plan, lookback_ms)?)))
}

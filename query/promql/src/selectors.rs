//! The selectors of a query, as who looks for something else than samples wants them: exemplars belong to the series that a query
//! reads, whatever it does with them.

use crate::{
    Selector,
    ast::{Expr, Instant, Node},
};

/// Adds the selectors of an expression in the order in which they are written.
pub(crate) fn collect(expr: &Expr, into: &mut Vec<Selector>) {
    match &expr.node {
        Node::Number { .. } | Node::String(_) => {}
        Node::Paren(inner) => collect(inner, into),
        Node::Unary { operand, .. } => collect(operand, into),
        Node::Binary(binary) => {
            collect(&binary.left, into);
            collect(&binary.right, into);
        }
        Node::Aggregate(aggregate) => {
            aggregate.param.iter().for_each(|param| collect(param, into));
            collect(&aggregate.expr, into);
        }
        Node::Call(call) => call.args.iter().for_each(|arg| collect(arg, into)),
        Node::Instant(instant) => into.push(of(instant)),
        Node::Range(range) => into.push(of(&range.selector)),
        Node::Subquery(subquery) => collect(&subquery.expr, into),
    }
}

fn of(instant: &Instant) -> Selector {
    Selector::of(instant.matchers.to_vec())
}

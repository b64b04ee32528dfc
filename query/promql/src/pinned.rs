//! A query with its times fixed: what Prometheus' own tests do to see that `@` gives what evaluation at a time gives.

use crate::{
    ast::{At, Expr, Node},
    plan::OF_TIME,
};

/// Fixes every selector and subquery that has no time of its own; false if there is a function that asks for the time.
pub(crate) fn pin(expr: &mut Expr, at: At) -> bool {
    match &mut expr.node {
        Node::Number { .. } | Node::String(_) => true,
        Node::Paren(inner) => pin(inner, at),
        Node::Unary { operand, .. } => pin(operand, at),
        Node::Binary(binary) => pin(&mut binary.left, at) && pin(&mut binary.right, at),
        Node::Aggregate(aggregate) => {
            aggregate.param.as_mut().is_none_or(|param| pin(param, at)) && pin(&mut aggregate.expr, at)
        }
        Node::Call(call) => {
            let name = call.function.name;
            let asks_time = OF_TIME.contains(&name) || matches!(name, "start" | "end" | "range" | "step");
            !asks_time && call.args.iter_mut().all(|arg| pin(arg, at))
        }
        Node::Instant(selector) => {
            selector.shift.at.get_or_insert(at);
            true
        }
        Node::Range(range) => {
            range.selector.shift.at.get_or_insert(at);
            true
        }
        // What is inside is evaluated at the times of the subquery.
        Node::Subquery(subquery) => {
            subquery.shift.at.get_or_insert(at);
            true
        }
    }
}

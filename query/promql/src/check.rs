//! Checks the types of a query.
//!
//! Called by the parser with a whole tree, which it leaves as the invariants of `ast` say. Depth
//! first, so that the first error is the one that Prometheus shows.

use crate::selector::{Matcher, NAME};

use super::{
    ast::{Aggregate, Aggregator, Binary, Call, Cardinality, Expr, Instant, Matching, Node, Span, Type},
    literal::quoted,
    wrong::Wrong,
};

/// Checks an expression of the query `text`; gives its type.
pub(super) fn check(expr: &mut Expr, text: &str) -> Result<Type, Wrong> {
    let span = expr.span;
    match &mut expr.node {
        Node::Number { .. } => Ok(Type::Scalar),
        Node::String(_) => Ok(Type::String),
        Node::Paren(inner) => check(inner, text),
        Node::Unary { operand, .. } => match check(operand, text)? {
            valued @ (Type::Scalar | Type::Vector) => Ok(valued),
            other => {
                let what = "unary expression only allowed on expressions of type scalar or instant vector";
                Err(Wrong::new(format!("{what}, got {}", quoted(&other.to_string())), span))
            }
        },
        Node::Binary(binary) => check_binary(binary, span, text),
        Node::Aggregate(aggregate) => check_aggregate(aggregate, text),
        Node::Call(call) => check_call(call, span, text),
        Node::Instant(selector) => check_selector(selector, span).map(|()| Type::Vector),
        Node::Range(range) => check_selector(&range.selector, range.selector_span).map(|()| Type::Matrix),
        Node::Subquery(subquery) => match check(&mut subquery.expr, text)? {
            Type::Vector => Ok(Type::Matrix),
            other => {
                let what = format!("subquery is only allowed on instant vector, got {} instead", other.as_str());
                Err(Wrong::new(what, span))
            }
        },
    }
}

fn expect(expr: &mut Expr, wanted: Type, within: &str, text: &str) -> Result<(), Wrong> {
    let given = check(expr, text)?;
    if given == wanted {
        return Ok(());
    }
    Err(Wrong::new(format!("expected type {wanted} in {within}, got {given}"), expr.span))
}

fn check_aggregate(aggregate: &mut Aggregate, text: &str) -> Result<Type, Wrong> {
    expect(&mut aggregate.expr, Type::Vector, "aggregation expression", text)?;
    let wanted = if aggregate.op == Aggregator::CountValues { Type::String } else { Type::Scalar };
    if let Some(param) = &mut aggregate.param {
        expect(param, wanted, "aggregation parameter", text)?;
    }
    Ok(Type::Vector)
}

fn check_call(call: &mut Call, span: Span, text: &str) -> Result<Type, Wrong> {
    let function = call.function;
    check_arity(call, span)?;
    let is_info = function.name == "info";
    if is_info && let Some(labels) = call.args.get_mut(1) {
        check_labels_of_info(labels, span, text)?;
    }
    let within = format!("call to function {}", quoted(function.name));
    for (at, arg) in call.args.iter_mut().enumerate() {
        let Some(&wanted) = function.args.get(at).or(function.args.last()) else { continue };
        // The labels of `info` were checked, and may all match the empty string.
        if !(is_info && at == 1) {
            expect(arg, wanted, &within, text)?;
        }
    }
    Ok(function.returns)
}

fn check_arity(call: &Call, span: Span) -> Result<(), Wrong> {
    let function = call.function;
    let (declared, given) = (function.args.len(), call.args.len());
    let is_variadic = function.variadic != 0;
    let min = declared - usize::from(is_variadic);
    // What may be there any number of times has no maximum.
    let max = usize::try_from(function.variadic).ok().map(|more| min + more);
    let (bound, count) = match max {
        Some(max) if !is_variadic && given != max => ("", max),
        _ if given < min => ("at least ", min),
        Some(max) if given > max => ("at most ", max),
        _ => return Ok(()),
    };
    let name = quoted(function.name);
    Err(Wrong::new(format!("expected {bound}{count} argument(s) in call to {name}, got {given}"), span))
}

/// The second argument of `info` describes labels of other series.
fn check_labels_of_info(labels: &mut Expr, call: Span, text: &str) -> Result<(), Wrong> {
    let what = match &labels.node {
        Node::Instant(Instant { name: None, .. }) => return Ok(()),
        Node::Instant(_) => "expected label selectors only, got vector selector instead",
        _ => {
            let given = check(labels, text)?;
            if given != Type::Vector {
                let what = format!("expected type {} in call to function \"info\", got {given}", Type::Vector);
                return Err(Wrong::new(what, call));
            }
            "expected label selectors only"
        }
    };
    Err(Wrong::new(what, labels.span))
}

fn check_selector(selector: &Instant, span: Span) -> Result<(), Wrong> {
    let Some(name) = &selector.name else {
        if selector.matchers.iter().all(|matcher| matcher.matches("")) {
            return Err(Wrong::new("vector selector must contain at least one non-empty matcher", span));
        }
        return Ok(());
    };
    // The last matcher is that of the name.
    let is_second = |matcher: &&Matcher| matcher.label == NAME;
    match selector.matchers.iter().rev().skip(1).rev().find(is_second) {
        Some(second) => {
            let (first, second) = (quoted(name), quoted(&second.value));
            Err(Wrong::new(format!("metric name must not be set twice: {first} or {second}"), span))
        }
        None => Ok(()),
    }
}

fn check_binary(binary: &mut Binary, span: Span, text: &str) -> Result<Type, Wrong> {
    let left = check(&mut binary.left, text)?;
    let right = check(&mut binary.right, text)?;
    let is_scalar = left == Type::Scalar && right == Type::Scalar;
    let modifiers = modifiers_span(binary, text);
    if binary.returns_bool && !binary.op.is_comparison() {
        return Err(Wrong::new("bool modifier can only be used on comparison operators", modifiers));
    }
    if is_scalar && binary.op.is_comparison() && !binary.returns_bool {
        return Err(Wrong::new("comparisons between scalars must use BOOL modifier", modifiers));
    }
    if let Some(matching) = &mut binary.matching {
        if binary.op.is_set() && matching.cardinality == Cardinality::OneToOne {
            matching.cardinality = Cardinality::ManyToMany;
        }
        if let Some(label) = matching.labels.iter().find(|label| matching.on && matching.include.contains(label)) {
            let what = format!("label {} must not occur in ON and GROUP clause at once", quoted(label));
            return Err(Wrong::new(what, modifiers));
        }
    }
    for (side, given) in [(&binary.left, left), (&binary.right, right)] {
        if !matches!(given, Type::Scalar | Type::Vector) {
            let what = "binary expression must contain only scalar and instant vector types";
            return Err(Wrong::new(what, side.span));
        }
    }
    let are_vectors = left == Type::Vector && right == Type::Vector;
    check_matching(binary, are_vectors).map_err(|what| Wrong::new(what, span))?;
    Ok(if is_scalar { Type::Scalar } else { Type::Vector })
}

/// Checks how series are matched; drops it where there is nothing to match.
fn check_matching(binary: &mut Binary, are_vectors: bool) -> Result<(), String> {
    let Some(matching) = &binary.matching else { return Ok(()) };
    let op = quoted(binary.op.as_str());
    let is_set = binary.op.is_set();
    let Matching { cardinality, labels, fill_left, fill_right, .. } = matching;
    let has_fill = fill_left.is_some() || fill_right.is_some();
    if are_vectors {
        return match cardinality {
            Cardinality::OneToMany | Cardinality::ManyToOne if is_set => {
                Err(format!("no grouping allowed for {op} operation"))
            }
            _ if is_set && has_fill => Err("filling in missing series not allowed for set operators".to_owned()),
            _ => Ok(()),
        };
    }
    if !labels.is_empty() {
        return Err("vector matching only allowed between instant vectors".to_owned());
    }
    if has_fill {
        return Err("filling in missing series only allowed between instant vectors".to_owned());
    }
    if is_set {
        return Err(format!("set operator {op} not allowed in binary scalar expression"));
    }
    binary.matching = None;
    Ok(())
}

/// Place of the operator and of what modifies it; as Prometheus has it, its last character is left out.
fn modifiers_span(binary: &Binary, text: &str) -> Span {
    let (start, end) = (binary.left.span.end, binary.right.span.start);
    let between = text.get(start..end).unwrap_or_default();
    let blanks = between.len() - between.trim_start().len();
    let start = start + blanks;
    Span { start, end: (start + between.trim().len()).saturating_sub(1).max(start) }
}

//! A query as JSON, as the endpoint `parse_query` of Prometheus gives it to user interfaces.

use serde_json::{Map, Value, json};

use crate::selector::Matcher;

use super::{
    ast::{Aggregate, At, Binary, Call, Cardinality, Duration, DurationNode, Expr, Extent, Instant, Matching, Node},
    ast::{Shift, Subquery},
    duration::literal_ms,
    functions::Signature,
    number::plain,
    printer::sign,
};

/// The tree of an expression. Durations that are computed are 0 here, and their trees stand beside them.
pub(crate) fn to_json(expr: &Expr) -> Value {
    match &expr.node {
        Node::Number { value, .. } => object([("type", "numberLiteral".into()), ("val", plain(*value).into())]),
        Node::String(text) => object([("type", "stringLiteral".into()), ("val", text.as_str().into())]),
        Node::Paren(inner) => object([("type", "parenExpr".into()), ("expr", to_json(inner))]),
        Node::Unary { negative, operand } => {
            object([("type", "unaryExpr".into()), ("op", sign(*negative).into()), ("expr", to_json(operand))])
        }
        Node::Binary(binary) => of_binary(binary),
        Node::Aggregate(aggregate) => of_aggregate(aggregate),
        Node::Call(call) => of_call(call),
        Node::Instant(selector) => Value::Object(of_selector("vectorSelector", selector)),
        Node::Range(range) => {
            let mut fields = of_selector("matrixSelector", &range.selector);
            put_duration(&mut fields, "range", "rangeExpr", Some(&range.range));
            Value::Object(fields)
        }
        Node::Subquery(subquery) => of_subquery(subquery),
    }
}

/// An object of named fields. The macro takes more stack than a tree that is deep can afford.
fn object<const COUNT: usize>(fields: [(&str, Value); COUNT]) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn of_aggregate(aggregate: &Aggregate) -> Value {
    let param = aggregate.param.as_ref().map(to_json);
    object([
        ("type", "aggregation".into()),
        ("op", aggregate.op.as_str().into()),
        ("expr", to_json(&aggregate.expr)),
        ("param", param.unwrap_or_default()),
        ("grouping", aggregate.labels.as_slice().into()),
        ("without", aggregate.without.into()),
    ])
}

fn of_binary(binary: &Binary) -> Value {
    object([
        ("type", "binaryExpr".into()),
        ("op", binary.op.as_str().into()),
        ("lhs", to_json(&binary.left)),
        ("rhs", to_json(&binary.right)),
        ("matching", binary.matching.as_ref().map(of_matching).unwrap_or_default()),
        ("bool", binary.returns_bool.into()),
    ])
}

fn of_matching(matching: &Matching) -> Value {
    let card = match matching.cardinality {
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
        Cardinality::ManyToMany => "many-to-many",
    };
    json!({
        "card": card,
        "labels": matching.labels,
        "on": matching.on,
        "include": matching.include,
        "fillValues": { "lhs": matching.fill_left, "rhs": matching.fill_right },
    })
}

fn of_call(call: &Call) -> Value {
    let args: Vec<Value> = call.args.iter().map(to_json).collect();
    object([("type", "call".into()), ("func", of_function(call.function)), ("args", args.into())])
}

fn of_function(function: &Signature) -> Value {
    let arg_types: Vec<&str> = function.args.iter().map(|arg| arg.as_str()).collect();
    json!({
        "name": function.name,
        "argTypes": arg_types,
        "variadic": function.variadic,
        "returnType": function.returns.as_str(),
    })
}

/// What instant and range selectors have in common.
fn of_selector(kind: &str, selector: &Instant) -> Map<String, Value> {
    let matchers: Vec<Value> = selector.matchers.iter().map(of_matcher).collect();
    let mut fields = Map::new();
    fields.insert("type".to_owned(), kind.into());
    fields.insert("name".to_owned(), selector.name.as_deref().unwrap_or_default().into());
    fields.insert("matchers".to_owned(), matchers.into());
    fields.insert("anchored".to_owned(), (selector.extent == Extent::Anchored).into());
    fields.insert("smoothed".to_owned(), (selector.extent == Extent::Smoothed).into());
    put_shift(&mut fields, &selector.shift);
    fields
}

fn of_matcher(matcher: &Matcher) -> Value {
    json!({ "name": matcher.label, "value": matcher.value, "type": matcher.op.as_str() })
}

fn of_subquery(subquery: &Subquery) -> Value {
    let mut fields = Map::new();
    fields.insert("type".to_owned(), "subquery".into());
    fields.insert("expr".to_owned(), to_json(&subquery.expr));
    put_duration(&mut fields, "range", "rangeExpr", Some(&subquery.range));
    put_duration(&mut fields, "step", "stepExpr", subquery.step.as_ref());
    put_shift(&mut fields, &subquery.shift);
    Value::Object(fields)
}

fn put_shift(fields: &mut Map<String, Value>, shift: &Shift) {
    let (timestamp, bound) = match shift.at {
        Some(At::Time(milliseconds)) => (Some(milliseconds), None),
        Some(At::Start) => (None, Some("start")),
        Some(At::End) => (None, Some("end")),
        None => (None, None),
    };
    fields.insert("timestamp".to_owned(), timestamp.into());
    fields.insert("startOrEnd".to_owned(), bound.into());
    put_duration(fields, "offset", "offsetExpr", shift.offset.as_ref());
}

/// Milliseconds if it is a literal, else its tree.
fn put_duration(fields: &mut Map<String, Value>, name: &str, expr_name: &str, duration: Option<&Duration>) {
    let (milliseconds, expr) = match duration {
        Some(Duration { node: DurationNode::Literal { seconds, .. }, .. }) => (literal_ms(*seconds), Value::Null),
        Some(computed) => (0, of_duration(computed)),
        None => (0, Value::Null),
    };
    fields.insert(name.to_owned(), milliseconds.into());
    fields.insert(expr_name.to_owned(), expr);
}

/// The tree of a duration. Parentheses are a flag of what they enclose, and of a `+` if that is a literal.
fn of_duration(duration: &Duration) -> Value {
    let (op, left, right): (&str, Option<&Duration>, Option<&Duration>) = match &duration.node {
        DurationNode::Literal { seconds, with_units } => {
            return json!({ "type": "numberLiteral", "val": plain(*seconds), "duration": with_units });
        }
        DurationNode::Paren(inner) => {
            let is_literal = matches!(inner.node, DurationNode::Literal { .. });
            let mut wrapped = if is_literal { of_operation("+", None, Some(inner)) } else { of_duration(inner) };
            wrapped["wrapped"] = true.into();
            return wrapped;
        }
        DurationNode::Step => ("step", None, None),
        DurationNode::Range => ("range", None, None),
        DurationNode::Unary { negative, operand } => (sign(*negative), None, Some(operand)),
        DurationNode::Binary { op, left, right } => (op.as_str(), Some(left), Some(right)),
        DurationNode::Min(left, right) => ("min_of", Some(left), Some(right)),
        DurationNode::Max(left, right) => ("max_of", Some(left), Some(right)),
    };
    of_operation(op, left, right)
}

fn of_operation(op: &str, left: Option<&Duration>, right: Option<&Duration>) -> Value {
    object([
        ("type", "durationExpr".into()),
        ("op", op.into()),
        ("lhs", left.map(of_duration).unwrap_or_default()),
        ("rhs", right.map(of_duration).unwrap_or_default()),
        ("wrapped", false.into()),
    ])
}

#[cfg(test)]
mod tests;

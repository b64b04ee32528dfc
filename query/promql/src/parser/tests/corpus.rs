//! Every query that Prometheus tests its engine with.

use std::{fs, path::Path};

use super::super::super::ast::{Duration, DurationNode, Shift};
use super::*;

#[test]
fn every_query_of_the_corpus_is_read_and_reads_back_as_it_is_printed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promqltest/upstream");
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("a copy of the tests") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "test") {
            let text = fs::read_to_string(&path).expect("a file of text");
            let name = path.display().to_string();
            count += queries(&text).iter().map(|query| check(&name, query)).count();
        }
    }
    assert!(count > 1000, "{count} queries in {}", folder.display());
}

struct Query<'t> {
    text: &'t str,
    /// Its evaluation fails, and so may its reading.
    may_fail: bool,
}

fn check(file: &str, query: &Query) {
    let text = query.text;
    let parse = |text: &str| super::super::parse(text, Syntax { unquoted_utf8: true });
    let expr = match parse(text) {
        Ok(expr) => expr,
        Err(_) if query.may_fail => return,
        Err(wrong) => panic!("{file}: {text}: {wrong:?}"),
    };
    for printed in [expr.to_string(), super::super::super::printer::pretty(&expr)] {
        let again = parse(&printed).unwrap_or_else(|wrong| panic!("{file}: {printed}: {wrong:?}"));
        // Not by `==`, for which NaN is not itself.
        let (before, after) = (format!("{:?}", essence(expr.clone())), format!("{:?}", essence(again)));
        assert_eq!(before, after, "{file}: {text} is printed as {printed}");
    }
}

/// The queries of a file: `eval instant at 5m QUERY`, `eval range from 0 to 5m step 1m QUERY`, and what is expected below.
fn queries(text: &str) -> Vec<Query<'_>> {
    let mut queries: Vec<Query> = Vec::new();
    for line in text.lines() {
        let expects_failure = line.trim_start().starts_with("expect fail");
        match queries.last_mut() {
            Some(query) if expects_failure => query.may_fail = true,
            _ => {}
        }
        let Some((command, rest)) = line.split_once(char::is_whitespace) else { continue };
        if !command.starts_with("eval") {
            continue;
        }
        let (kind, mut rest) = word(rest);
        let times = if kind == "range" { ["from", "to", "step"].as_slice() } else { &["at"] };
        for time in times {
            if let (name, after) = word(rest)
                && name == *time
            {
                rest = word(after).1;
            }
        }
        queries.push(Query { text: rest, may_fail: command == "eval_fail" });
    }
    queries
}

fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}

/// An expression without what printing does not keep: places, the order of matchers, a `+` before an offset.
fn essence(mut expr: Expr) -> Expr {
    expr.span = Span::default();
    match &mut expr.node {
        Node::Number { .. } | Node::String(_) => {}
        Node::Paren(inner) | Node::Unary { operand: inner, .. } => reduce(inner),
        Node::Binary(binary) => {
            reduce(&mut binary.left);
            reduce(&mut binary.right);
        }
        Node::Aggregate(aggregate) => {
            reduce(&mut aggregate.expr);
            aggregate.param.iter_mut().for_each(reduce);
        }
        Node::Call(call) => call.args.iter_mut().for_each(reduce),
        Node::Instant(selector) => {
            reduce_matchers(&mut selector.matchers);
            reduce_shift(&mut selector.shift);
        }
        Node::Range(range) => {
            range.selector_span = Span::default();
            reduce_matchers(&mut range.selector.matchers);
            reduce_shift(&mut range.selector.shift);
            reduce_duration(&mut range.range);
        }
        Node::Subquery(subquery) => {
            reduce(&mut subquery.expr);
            reduce_shift(&mut subquery.shift);
            reduce_duration(&mut subquery.range);
            subquery.step.iter_mut().for_each(reduce_duration);
        }
    }
    expr
}

fn reduce(expr: &mut Expr) {
    *expr = essence(expr.clone());
}

fn reduce_matchers(matchers: &mut std::sync::Arc<[crate::selector::Matcher]>) {
    let mut sorted = matchers.to_vec();
    sorted.sort_by_key(|matcher| format!("{}{}{}", matcher.label, matcher.op.as_str(), matcher.value));
    *matchers = sorted.into();
}

fn reduce_shift(shift: &mut Shift) {
    if let Some(offset) = &mut shift.offset {
        reduce_duration(offset);
        if let DurationNode::Unary { negative: false, operand } = &offset.node {
            *offset = (**operand).clone();
        }
    }
}

fn reduce_duration(duration: &mut Duration) {
    duration.span = Span::default();
    match &mut duration.node {
        DurationNode::Literal { .. } | DurationNode::Step | DurationNode::Range => {}
        DurationNode::Unary { operand: inner, .. } | DurationNode::Paren(inner) => reduce_duration(inner),
        DurationNode::Binary { left, right, .. } | DurationNode::Min(left, right) | DurationNode::Max(left, right) => {
            reduce_duration(left);
            reduce_duration(right);
        }
    }
}

//! Trees as the endpoint shows them.

use super::super::{Syntax, parser::parse};
use super::*;

#[track_caller]
fn assert_json(text: &str, expected: Value) {
    let expr = parse(text, Syntax::default()).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
    assert_eq!(to_json(&expr), expected, "{text}");
}

fn selector(name: &str) -> Value {
    json!({
        "type": "vectorSelector",
        "name": name,
        "offset": 0,
        "offsetExpr": null,
        "matchers": [{ "name": "__name__", "value": name, "type": "=" }],
        "timestamp": null,
        "startOrEnd": null,
        "anchored": false,
        "smoothed": false,
    })
}

#[test]
fn operators_have_their_matching() {
    assert_json(
        "a and b",
        json!({
            "type": "binaryExpr",
            "op": "and",
            "lhs": selector("a"),
            "rhs": selector("b"),
            "matching": {
                "card": "many-to-many",
                "labels": [],
                "on": false,
                "include": [],
                "fillValues": { "lhs": null, "rhs": null },
            },
            "bool": false,
        }),
    );
    assert_json(
        "-1 > bool (2m)",
        json!({
            "type": "binaryExpr",
            "op": ">",
            "lhs": { "type": "numberLiteral", "val": "-1" },
            "rhs": { "type": "parenExpr", "expr": { "type": "numberLiteral", "val": "120" } },
            "matching": null,
            "bool": true,
        }),
    );
}

#[test]
fn calls_name_what_their_function_takes() {
    assert_json(
        "-round(quantile by (x) (0.5, a))",
        json!({
            "type": "unaryExpr",
            "op": "-",
            "expr": {
                "type": "call",
                "func": { "name": "round", "argTypes": ["vector", "scalar"], "variadic": 1, "returnType": "vector" },
                "args": [{
                    "type": "aggregation",
                    "op": "quantile",
                    "expr": selector("a"),
                    "param": { "type": "numberLiteral", "val": "0.5" },
                    "grouping": ["x"],
                    "without": false,
                }],
            },
        }),
    );
}

#[test]
fn ranges_have_milliseconds_or_the_tree_that_gives_them() {
    let step = json!({ "type": "durationExpr", "op": "step", "lhs": null, "rhs": null, "wrapped": false });
    assert_json(
        "x{y!~'z'}[1m30s] smoothed @ 1.5 offset -step()",
        json!({
            "type": "matrixSelector",
            "name": "x",
            "range": 90_000,
            "rangeExpr": null,
            "offset": 0,
            "offsetExpr": { "type": "durationExpr", "op": "-", "lhs": null, "rhs": step, "wrapped": false },
            "matchers": [{ "name": "y", "value": "z", "type": "!~" }, { "name": "__name__", "value": "x", "type": "=" }],
            "timestamp": 1500,
            "startOrEnd": null,
            "anchored": false,
            "smoothed": true,
        }),
    );
    let literal = |val: &str, duration: bool| json!({ "type": "numberLiteral", "val": val, "duration": duration });
    let paren = json!({ "type": "durationExpr", "op": "+", "lhs": null, "rhs": literal("2", false), "wrapped": true });
    let sum = json!({ "type": "durationExpr", "op": "+", "lhs": literal("60", true), "rhs": step, "wrapped": true });
    assert_json(
        "(a)[(1m + step()) * (2):] @ end() offset -5m",
        json!({
            "type": "subquery",
            "expr": { "type": "parenExpr", "expr": selector("a") },
            "range": 0,
            "rangeExpr": { "type": "durationExpr", "op": "*", "lhs": sum, "rhs": paren, "wrapped": false },
            "offset": -300_000,
            "offsetExpr": null,
            "step": 0,
            "stepExpr": null,
            "timestamp": null,
            "startOrEnd": "end",
        }),
    );
}

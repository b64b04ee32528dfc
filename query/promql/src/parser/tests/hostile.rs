//! Queries that are made to take too much: stack, time or memory.

use std::thread;

use super::super::super::{json::to_json, printer::pretty};
use super::*;

/// Texts of any depth, and how deep they may be.
struct Shape {
    name: &'static str,
    depth_max: usize,
    text: fn(usize) -> String,
}

const SHAPES: [Shape; 9] = [
    shape("parentheses", NESTING_MAX - 1, |depth| format!("{}x{}", "(".repeat(depth), ")".repeat(depth))),
    shape("calls", NESTING_MAX - 1, |depth| format!("{}x{}", "abs(".repeat(depth), ")".repeat(depth))),
    shape("aggregations", NESTING_MAX - 1, |depth| format!("{}x{}", "sum by (a) (".repeat(depth), ")".repeat(depth))),
    shape("signs", DEPTH_MAX - 1, |depth| format!("{}x", "-".repeat(depth))),
    // Both a sign and a parenthesis nest.
    shape("negations", NESTING_MAX / 2 - 1, |depth| format!("{}x{}", "-(".repeat(depth), ")".repeat(depth))),
    shape("chains", DEPTH_MAX, |depth| vec!["x"; depth].join("+")),
    shape("powers", NESTING_MAX, |depth| vec!["x"; depth].join("^")),
    // The innermost range nests too.
    shape("subqueries", NESTING_MAX - 2, |depth| format!("{}x{}", "rate(".repeat(depth), "[5m:])".repeat(depth))),
    shape("durations", NESTING_MAX / 2, |depth| format!("x[{}5m{}]", "(1*".repeat(depth - 1), ")".repeat(depth - 1))),
];

const fn shape(name: &'static str, depth_max: usize, text: fn(usize) -> String) -> Shape {
    Shape { name, depth_max, text }
}

/// Runs on the stack that threads have.
fn on_a_stack(run: fn()) {
    let thread = thread::Builder::new().stack_size(2 << 20).spawn(run).expect("a thread");
    thread.join().expect("no panic");
}

#[test]
fn what_is_as_deep_as_it_may_be_fits_the_stack() {
    on_a_stack(|| {
        for Shape { name, depth_max, text } in SHAPES {
            let text = text(depth_max);
            let expr = parse(&text).unwrap_or_else(|wrong| panic!("{name}: {wrong:?}"));
            let again = parse(&expr.to_string()).unwrap_or_else(|wrong| panic!("{name}: {wrong:?}"));
            assert_eq!(expr.to_string(), again.to_string(), "{name}");
            assert!(expr.clone() == expr, "{name}");
            assert!(pretty(&expr).len() < 200 * text.len(), "{name}");
            assert!(!to_json(&expr).to_string().is_empty(), "{name}");
        }
    });
}

#[test]
fn what_is_deeper_is_refused_for_that() {
    on_a_stack(|| {
        for Shape { name, depth_max, text } in SHAPES {
            for depth in [depth_max + 1, 5 * depth_max, 20_000] {
                let wrong = parse(&text(depth)).expect_err(name);
                assert!(wrong.message.contains("deep"), "{name}: {}", wrong.message);
            }
        }
        assert!(parse(&"(".repeat(100_000)).is_err());
        assert!(parse(&format!("x[{}", "(".repeat(100_000))).is_err());
        assert!(parse(&format!("x offset {}1", "-".repeat(100_000))).is_ok(), "numbers take their signs");
    });
}

#[test]
fn chains_that_nest_each_other_do_not_add_up() {
    on_a_stack(|| {
        let mut text = "x".to_owned();
        for _ in 0..100 {
            text = format!("({text}{})", "+x".repeat(100));
        }
        let wrong = parse(&text).expect_err("10,000 operators around the first name");
        assert!(wrong.message.contains("too deep, as each operator of a chain counts"), "{}", wrong.message);
    });
}

#[test]
fn what_is_wide_is_read() {
    let args = vec!["\"a\""; 50_000].join(",");
    let text = format!("label_join(x, {args})");
    let expr = read(&text);
    assert!(pretty(&expr).len() < 3 * text.len());
    assert_eq!(to_json(&expr)["args"].as_array().map(Vec::len), Some(50_001));
    let labels = |count| format!("sum by ({}) (x)", vec!["a"; count].join(","));
    read(&labels(1_000));
    let wrong = parse(&labels(1_001)).expect_err("each label is looked for in every row");
    assert!(wrong.message.contains("too many labels"), "{}", wrong.message);
    read(&format!("x{}", " ".repeat(200_000)));
    read(&format!("x{}", "#\n".repeat(100_000)));
}

#[test]
fn what_is_too_long_or_too_much_is_refused() {
    let text = " ".repeat(TEXT_BYTES_MAX + 1);
    assert!(message(&text).starts_with("the query is too long"), "{}", message(&text));
    let matchers = vec![r#"a="b""#; 1001].join(",");
    assert_eq!(message(&format!("x{{{matchers}}}")), "too many matchers matchers_max=1000");
    let selectors = vec![r#"x{a=~"b|c",d!~"e"}"#; 101].join(",");
    assert_eq!(message(&format!("label_join({selectors})")), "too many regular expressions regexes_max=200");
}

#[test]
fn no_beginning_of_a_query_breaks_the_parser() {
    let text = r#"topk by (a) (1, x{b=~"c\u00fc|ü", "d"}[-step()*2:5m] @ end() offset (1h)) </ on("e") group_left fill(-1) -0x1F # g"#;
    for (end, _) in text.char_indices() {
        let wrong = parse(&text[..end]).err();
        assert!(wrong.is_none_or(|wrong| wrong.at.start <= wrong.at.end && wrong.at.end <= end), "{}", &text[..end]);
    }
    for (start, _) in text.char_indices() {
        for (end, _) in text[start..].char_indices() {
            let _ = parse(&text[start..start + end]);
        }
    }
}

//! Facts of Prometheus about what is a query, what is none, and where each part stands; and inputs made to hurt.

mod corpus;
mod hostile;
mod unquoted;

use super::super::ast::{At, Cardinality, Duration, DurationNode, Expr, Matching, Node, Shift};
use super::*;

fn parse(text: &str) -> Result<Expr, Wrong> {
    super::parse(text, Syntax::default())
}

#[track_caller]
fn read(text: &str) -> Expr {
    match parse(text) {
        Ok(expr) => expr,
        Err(wrong) => panic!("{text}: {wrong:?}"),
    }
}

#[track_caller]
fn message(text: &str) -> String {
    match parse(text) {
        Ok(expr) => panic!("{text} is read as {expr:?}"),
        Err(wrong) => wrong.message,
    }
}

/// The part of the text that an expression stands for.
fn part(text: &str, span: Span) -> &str {
    &text[span.start..span.end]
}

#[test]
fn each_error_of_the_table_is_found_where_it_is_and_told_as_prometheus_tells_it() {
    let rows = include_str!("tests/errors.txt").lines().filter(|line| !line.starts_with("# ") && !line.is_empty());
    let mut count = 0;
    for row in rows {
        let (text, rest) = row.split_once("  =>  ").expect(row);
        let (place, message) = rest.split_once("  ").expect(row);
        let (start, end) = place.split_once("..").expect(row);
        let at = Span { start: start.parse().expect(row), end: end.parse().expect(row) };
        assert_eq!(parse(text), Err(Wrong::new(message, at)), "{text}");
        count += 1;
    }
    assert!(count > 200, "{count} rows");
}

#[test]
fn an_error_has_a_line_and_a_column() {
    let text = "sum(\n  rate(x)\n)";
    let wrong = parse(text).expect_err("an instant vector has no rate");
    assert_eq!(
        (wrong.message.as_str(), wrong.place(text)),
        ("expected type range vector in call to function \"rate\", got instant vector", (2, 8))
    );
    assert_eq!(parse("# nothing\n\n").map_err(|wrong| wrong.place("")), Err((1, 1)));
}

#[test]
fn a_regular_expression_that_is_none_is_named_with_its_matcher() {
    let text = r#"up{a="b", c=~"[a-z"}"#;
    let wrong = parse(text).expect_err("the class is not closed");
    assert!(wrong.message.starts_with("error parsing regexp: "), "{}", wrong.message);
    assert_eq!(part(text, wrong.at), r#"c=~"[a-z""#);
}

#[test]
fn escapes_that_are_not_utf8_are_refused() {
    assert!(message(r#""\xff""#).starts_with("error unquoting string"), "{}", message(r#""\xff""#));
    assert_eq!(read(r#""\xc3\xbc""#).node, Node::String("ü".to_owned()));
}

#[test]
fn operators_bind_as_in_mathematics() {
    for (text, grouped) in [
        ("a + b * c", "a + (b * c)"),
        ("a * b + c", "(a * b) + c"),
        ("a ^ b ^ c", "a ^ (b ^ c)"),
        ("a - b - c", "(a - b) - c"),
        ("a atan2 b % c", "(a atan2 b) % c"),
        ("a or b and c unless d", "a or ((b and c) unless d)"),
        ("a > b + c == d", "(a > (b + c)) == d"),
        ("-a ^ b", "-(a ^ b)"),
        ("-a * b", "(-a) * b"),
        ("a ^ -b * c", "(a ^ (-b)) * c"),
        ("-a offset 5m", "-(a offset 5m)"),
        ("a + b offset 5m", "a + (b offset 5m)"),
        ("a </ 1 >/ 2", "(a </ 1) >/ 2"),
    ] {
        assert_eq!(without_parens(read(text)).to_string(), without_parens(read(grouped)).to_string(), "{text}");
        assert_eq!(shape(&read(text)), shape(&read(grouped)), "{text}");
    }
}

/// An expression without the parentheses that group operators.
fn without_parens(mut expr: Expr) -> Expr {
    match expr.node {
        Node::Paren(inner) => without_parens(*inner),
        Node::Unary { negative, operand } => {
            expr.node = Node::Unary { negative, operand: Box::new(without_parens(*operand)) };
            expr
        }
        Node::Binary(mut binary) => {
            binary.left = without_parens(binary.left);
            binary.right = without_parens(binary.right);
            expr.node = Node::Binary(binary);
            expr
        }
        _ => expr,
    }
}

/// How operators are nested.
fn shape(expr: &Expr) -> String {
    match &expr.node {
        Node::Paren(inner) => shape(inner),
        Node::Unary { operand, .. } => format!("[-{}]", shape(operand)),
        Node::Binary(binary) => format!("[{} {} {}]", shape(&binary.left), binary.op.as_str(), shape(&binary.right)),
        _ => expr.to_string(),
    }
}

#[test]
fn signs_before_numbers_are_part_of_them() {
    let number = |value| Node::Number { value, as_duration: false };
    assert_eq!(read("--+-1").node, number(-1.0));
    assert_eq!(read("-Inf").node, number(f64::NEG_INFINITY));
    assert_eq!(read("-5m").node, Node::Number { value: -300.0, as_duration: true });
    assert_eq!(read("0x1F").node, number(31.0));
    assert!(matches!(read("-1 ^ 2").node, Node::Unary { negative: true, .. }));
}

#[test]
fn every_part_stands_where_prometheus_places_it() {
    let text = r#" sum by (a) ( rate( x{b="c"} [5m] offset 1m ) ) + -y @ end() "#;
    let expr = read(text);
    assert_eq!(part(text, expr.span), text.trim());
    let Node::Binary(binary) = &expr.node else { panic!("{expr:?}") };
    assert_eq!(part(text, binary.left.span), r#"sum by (a) ( rate( x{b="c"} [5m] offset 1m ) )"#);
    assert_eq!(part(text, binary.right.span), "-y @ end()");
    let Node::Aggregate(sum) = &binary.left.node else { panic!("{expr:?}") };
    let Node::Call(rate) = &sum.expr.node else { panic!("{expr:?}") };
    assert_eq!(part(text, rate.args[0].span), r#"x{b="c"} [5m] offset 1m"#);
    let Node::Range(range) = &rate.args[0].node else { panic!("{expr:?}") };
    assert_eq!(part(text, range.selector_span), r#"x{b="c"}"#);
    assert_eq!(part(text, range.range.span), "5m");
}

#[test]
fn keywords_are_names_where_nothing_else_can_be_meant() {
    for text in [
        "sum",
        "by + without",
        "offset offset 5m",
        "and and and",
        "start{end='x'}",
        "step + range",
        "min_of",
        "smoothed anchored",
        "fill + fill_left",
        "{sum='a', on='b', bool='c'}",
        "x + on(on, bool, group_left, inf1) y",
        "sum by (by, ON, atan2, offset) (x)",
        "a:b:c",
        ":x",
        "limitk",
        "topk{}",
        "sum without('without', \"a b\", `c.d`) (x)",
    ] {
        assert_eq!(read(&read(text).to_string()).to_string(), read(text).to_string());
    }
}

#[test]
fn names_in_quotes_stand_in_braces() {
    let text = r#"{"http.requests", 'k8s.pod'="a"}"#;
    let Node::Instant(selector) = read(text).node else { panic!("{text}") };
    assert_eq!(selector.name, None);
    assert_eq!(
        (selector.matchers[0].label.as_str(), selector.matchers[0].value.as_str()),
        ("__name__", "http.requests")
    );
    assert_eq!((selector.matchers[1].label.as_str(), selector.matchers[1].value.as_str()), ("k8s.pod", "a"));
}

#[test]
fn operands_that_are_no_vectors_have_no_matching() {
    let matching = |text: &str| -> Option<Matching> {
        let Node::Binary(binary) = read(text).node else { panic!("{text}") };
        binary.matching
    };
    assert_eq!(matching("1 + 2"), None);
    assert_eq!(matching("a + 2"), None);
    assert_eq!(matching("a + b").map(|matching| matching.cardinality), Some(Cardinality::OneToOne));
    assert_eq!(matching("a and b").map(|matching| matching.cardinality), Some(Cardinality::ManyToMany));
    let matching = matching("a == bool on(x) group_right(y,) fill_right(-1) fill_left(5m) b").expect("two vectors");
    assert_eq!(matching.cardinality, Cardinality::OneToMany);
    assert_eq!((matching.labels, matching.include), (vec!["x".to_owned()], vec!["y".to_owned()]));
    assert_eq!((matching.on, matching.fill_left, matching.fill_right), (true, Some(300.0), Some(-1.0)));
}

#[test]
fn times_are_shifted_once_each_in_any_order() {
    let shift = |text: &str| -> Shift {
        match read(text).node {
            Node::Instant(selector) => selector.shift,
            Node::Range(range) => range.selector.shift,
            Node::Subquery(subquery) => subquery.shift,
            _ => panic!("{text}"),
        }
    };
    for text in ["x offset -5m @ -1.0005", "x[1h] @ -1.0005 offset -300", "x[1h:] offset -5m @ -1.0005"] {
        let Shift { offset, at } = shift(text);
        assert_eq!(offset.map(|offset| offset.node), Some(DurationNode::Literal { seconds: -300.0, with_units: true }));
        assert_eq!(at, Some(At::Time(-1001)), "{text}");
    }
    assert_eq!(shift("x offset 0s offset 0"), Shift::default());
    assert_eq!(shift("x @ start()").at, Some(At::Start));
}

#[test]
fn durations_are_computed_where_they_stand_and_where_they_end() {
    let offset = |text: &str| -> Option<Duration> {
        match read(text).node {
            Node::Instant(selector) => selector.shift.offset,
            Node::Binary(binary) => match binary.left.node {
                Node::Instant(selector) => selector.shift.offset,
                _ => None,
            },
            _ => None,
        }
    };
    for (text, written) in [
        ("x offset 1h + 2", "1h"),
        ("x offset -1h ^ 2", "-1h"),
        ("x offset (1h) + 2", "(1h) + 2"),
        ("x offset -(1h) + 2", "-(1h)"),
        ("x offset - -1h + 2", "1h + 2"),
        ("x offset -step() * 2", "-step()"),
        ("x offset ((2 * (1h)))", "(2 * (1h))"),
        ("x offset -max_of(1m, range() / 2)", "-max_of(1m, range() / 2)"),
    ] {
        assert_eq!(offset(text).map(|offset| offset.to_string()).as_deref(), Some(written), "{text}");
    }
    for span in ["min_of(1m, 2m)", "1m + max_of(2m, 3m)", "-step()", "range()"] {
        let text = format!("x[{span}]");
        let Node::Range(range) = read(&text).node else { panic!("{text}") };
        assert_eq!(part(&text, range.range.span), span);
    }
}

#[test]
fn labels_of_info_may_match_the_empty_string() {
    read(r#"info(x, {a=~".*"})"#);
    read(r#"info(x, {__name__="target_info"})"#);
    assert_eq!(message(r#"info({a=~".*"}, {b="c"})"#), "vector selector must contain at least one non-empty matcher");
}

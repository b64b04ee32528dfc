//! Queries printed on one line and on several.

use super::super::parser::parse;
use super::*;

fn read(text: &str) -> Expr {
    read_with(text, Syntax::default())
}

fn read_with(text: &str, syntax: Syntax) -> Expr {
    parse(text, syntax).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"))
}

#[test]
fn queries_are_written_as_prometheus_writes_them() {
    for (text, written) in [
        ("sum  by()(x)", "sum(x)"),
        ("sum without(b,'a.b') (x)", "sum without (b, \"a.b\") (x)"),
        ("SUM(x) by (a)", "sum by (a) (x)"),
        ("topk(5,x)", "topk(5, x)"),
        ("a-on(b)group_left(c)d", "a - on (b) group_left (c) d"),
        ("a-on()d", "a - on () d"),
        ("a-ignoring()d", "a - d"),
        ("a-ignoring()group_left d", "a - ignoring () group_left () d"),
        ("a==bool 1", "a == bool 1"),
        ("a + fill(0) b", "a + fill (0) b"),
        ("a + fill_right(1e-7) fill_left(1e21) b", "a + fill_left (1e+21) fill_right (1e-07) b"),
        ("x{b='1',a!~\"x\"}[5m] offset -1h", "x{a!~\"x\",b=\"1\"}[5m] offset -1h"),
        ("{'a.b',\"c d\"='e'}", "{\"c d\"=\"e\",__name__=\"a.b\"}"),
        ("x[90m:60] @ 1.5 offset 0s", "x[1h30m:1m] @ 1.500"),
        ("x anchored offset 5m @ end()", "x @ end() anchored offset 5m"),
        ("x smoothed [5m] @ start()", "x[5m] smoothed @ start()"),
        ("x offset +step()", "x offset step()"),
        ("x[(5m)+60*2]", "x[(5m) + 60 * 2]"),
        ("-5m + 0x10 + 1e3 + +Inf + NaN", "-5m + 16 + 1000 + +Inf + NaN"),
        ("- x ^ -1", "-x ^ -1"),
        ("info(x, {})", "info(x, {})"),
        ("label_replace(x,'a',`\"`,'\\n','')", "label_replace(x, \"a\", \"\\\"\", \"\\n\", \"\")"),
    ] {
        assert_eq!(read(text).to_string(), written, "{text}");
        assert_eq!(read(written).to_string(), written);
    }
}

#[test]
fn labels_that_are_read_as_something_else_are_in_quotes() {
    let text = "sum by (\"without\", \"inf\", and) (x)";
    assert_eq!(read(text).to_string(), text);
}

#[test]
fn what_does_not_fit_gets_lines_of_its_own() {
    let text = "topk(2, -rate(x[1m]) + on (a) y) / (sum_over_time(up[5m:1m]) or up)";
    let narrow = pretty::within(&read(text), 10);
    // A subquery that fits is not indented: so does Prometheus.
    let lines = [
        "  topk(",
        "    2,",
        "      -rate(",
        "        x[1m]",
        "      )",
        "    + on (a)",
        "      y",
        "  )",
        "/",
        "  (",
        "      sum_over_time(",
        "up[5m:1m]",
        "      )",
        "    or",
        "      up",
        "  )",
    ];
    assert_eq!(narrow.lines().collect::<Vec<_>>(), lines);
    assert_eq!(read(&narrow).to_string(), read(text).to_string());
    assert_eq!(pretty(&read(text)), text);
}

#[test]
fn labels_are_quoted_where_they_could_not_be_read_without() {
    let unquoted_utf8 = Syntax { unquoted_utf8: true };
    for (text, unquoted) in [
        (r#"foo{"service.name"="api"}"#, r#"foo{service.name="api"}"#),
        (r#"sum by ("service.name", "équipe") (foo)"#, "sum by (service.name, équipe) (foo)"),
        (r#"foo + on ("service.name") group_left ("équipe") bar"#, "foo + on (service.name) group_left (équipe) bar"),
        (r#"foo{".name"="x","o̧"="y","😀"="z"}"#, r#"foo{".name"="x","o̧"="y","😀"="z"}"#),
    ] {
        assert_eq!(read(text).to_string(), text);
        assert_eq!(read_with(text, unquoted_utf8).to_string(), unquoted);
        assert_eq!(read_with(unquoted, unquoted_utf8).to_string(), unquoted);
    }
}

//! Names of all alphabets without quotes, which are read only if that is switched on.

use super::*;

const UNQUOTED: Syntax = Syntax { unquoted_utf8: true };

fn unquoted(text: &str) -> Result<Expr, Wrong> {
    super::super::parse(text, UNQUOTED)
}

#[test]
fn letters_and_dots_make_names() {
    for name in [
        "Björn",
        "温度",
        "θερμοκρασία",
        "температура",
        "حرارة",
        "𐐀",
        "a𐐀9",
        "http.server.request.duration",
        "foo..bar",
        "foo.",
        "_:温度.total",
        "rate.total",
        "Inf.total",
        "NaN.total",
        "on.total",
        "sum.total",
        "bool.total",
        "target.info",
        "İnf",
        "а",
        "ö",
    ] {
        match unquoted(name).map(|expr| (expr.to_string(), expr.node)) {
            Ok((printed, Node::Instant(selector))) => {
                assert_eq!((printed.as_str(), selector.name.as_deref()), (name, Some(name)));
            }
            other => panic!("{name}: {other:?}"),
        }
        assert!(parse(name).is_err(), "{name}");
    }
    for text in [
        r#"foo{service.name="api"}"#,
        r#"温度{場所="東京"}"#,
        "sum by (service.name, équipe) (http.server.requests)",
        "requests_total + on (service.name) group_left (équipe) service_info",
        r#"foo{__名=~"東京.*",a..="b"}"#,
        "rate(http.server.requests[5m])",
        "http.server.requests[5m:1m]",
        "http.server.requests offset 5m",
        "http.server.requests @ 0.500",
        "http.server.requests + 0.5",
        "Inf.total + +Inf",
        "NaN.total or foo",
    ] {
        assert_eq!(unquoted(text).map(|expr| expr.to_string()).as_deref(), Ok(text));
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn what_is_no_letter_makes_no_name() {
    for text in [
        ".foo",
        "5foo",
        r#"foo{.label="x"}"#,
        r#"foo{5label="x"}"#,
        r#"foo{a:b="x"}"#,
        "foo😀",
        "foo١",
        "foo²",
        "o\u{308}",
        "foo·bar",
        "foo\u{200d}bar",
        "foo\u{fffd}",
        "sum by (o\u{308}) (foo)",
        r#"foo{é😀="x"}"#,
        "rate.total(foo)",
        "温度(foo)",
        "on",
        "bool",
        "foo[5m.foo]",
        r#"my.metric.name{"my.metric.name"}"#,
        r#"my.name{__name__="my.name"}"#,
        // A vowel sign and a Roman numeral, which are alphabetic to Unicode.
        "क\u{940}",
        "Ⅷ",
    ] {
        assert!(unquoted(text).is_err(), "{text}");
    }
    for text in ["sum by (a:b) (foo)", "foo + on (a:b) bar"] {
        assert!(parse(text).is_ok(), "{text}");
        let wrong = unquoted(text).expect_err("labels have no colons");
        assert_eq!(wrong.message, "invalid label name for grouping: \"a:b\"");
    }
}

#[test]
fn numbers_and_durations_are_read_as_ever() {
    for text in [".5", "5.", "1.5", "1e3", "0x10", "Inf", "inf", "5m", "5m.foo", "温度[step()温]", "x[温]", "x[5m:温]"]
    {
        assert_eq!(unquoted(text).is_ok(), parse(text).is_ok(), "{text}");
    }
    for text in [".5", "5.", "1.5", "1e3", "0x10", "Inf", "inf", "5m"] {
        assert_eq!(unquoted(text), parse(text), "{text}");
    }
}

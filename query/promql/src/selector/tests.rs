//! Selectors: what they are, and what they are not.

use super::{Matcher, Selector};
use crate::ErrorKind;

/// Matchers in words.
fn read(text: &str) -> Vec<String> {
    let selector = Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let word = |matcher: &Matcher| format!("{}{}{}", matcher.label, matcher.op.as_str(), matcher.value);
    selector.matchers.iter().map(word).collect()
}

#[test]
fn names_matchers_quotes_and_escapes_are_read() {
    assert_eq!(read("up"), ["__name__=up"]);
    assert_eq!(read(" job:up:sum{ } "), ["__name__=job:up:sum"]);
    assert_eq!(read("up{a=\"1\",b!='2', c=~`3`,d!~\"4\",}"), ["a=1", "b!=2", "c=~3", "d!~4", "__name__=up"]);
    assert_eq!(read("{\"http.requests\", \"k8s.pod\"=\"a\"}"), ["__name__=http.requests", "k8s.pod=a"]);
    assert_eq!(read("{__name__=~\"a.*\", __name__!=\"ab\"}"), ["__name__=~a.*", "__name__!=ab"]);
    assert_eq!(read("{a=\"\\x41\\101\\u00e9\\n\\\"\"} # done"), ["a=AA\u{e9}\n\""]);
    assert_eq!(read("{a=`\\n`}"), ["a=\\n"]);
    assert_eq!(read("{\n  a = \"b\" # why\n}"), ["a=b"]);
}

#[test]
fn what_is_wrong_has_a_position() {
    for (text, line, column, why) in [
        ("", 1, 1, "no expression"),
        ("up{", 1, 4, "end of input"),
        ("up{job}", 1, 7, "label matching operator"),
        ("up{job=api}", 1, 8, "expected string"),
        ("up{\njob=\"a}", 2, 5, "unterminated"),
        ("up{a=\"\\d\"}", 1, 6, "escape"),
        ("up{a=~\"(\"}", 1, 4, "regexp"),
        ("up{a=\"1\" b=\"2\"}", 1, 10, "\",\" or \"}\""),
        ("up[5m]", 1, 1, "no ranges"),
        ("up offset 5m", 1, 1, "offsets"),
        ("sum(up)", 1, 1, "functions"),
        ("up{__name__=\"down\"}", 1, 1, "twice"),
        ("{a=\"\\xff\"}", 1, 4, "UTF-8"),
        ("{}", 1, 1, "non-empty matcher"),
        ("{a=\"\"}", 1, 1, "non-empty matcher"),
        ("{a=~\".*\", b!=\"x\"}", 1, 1, "non-empty matcher"),
    ] {
        let error = Selector::parse(text).expect_err(text);
        assert_eq!(error.kind, ErrorKind::Invalid, "{text}");
        assert_eq!(error.place, Some((line, column)), "{text}: {error}");
        assert!(error.to_string().contains(why), "{text}: {error}");
    }
}

#[test]
fn expressions_match_whole_values_in_the_dialect_of_go() {
    let is = |text: &str, value: &str| Selector::parse(text).unwrap().matchers[0].matches(value);
    assert!(is("{a=~\"b|c\"}", "c") && !is("{a=~\"b|c\"}", "cc"));
    assert!(is("{a=~\"b.c\"}", "b\nc") && is("{a=~\"x{y}\"}", "x{y}"));
    assert!(is("{a=~\"\\\\d+\"}", "42") && !is("{a=~\"\\\\d+\"}", "\u{664}\u{662}"));
    assert!(is("{a!~\"b\",c=\"d\"}", "") && !is("{a!=\"\"}", ""));
}

#[test]
fn many_expressions_share_the_memory_that_one_may_take() {
    let long = format!("a=~\"{}\"", "[a-z]{900}".repeat(20));
    assert!(Selector::parse(&format!("{{{long}}}")).is_ok());
    let many = vec![long; 100].join(",");
    let error = Selector::parse(&format!("{{{many}}}")).expect_err("they take too much together");
    assert!(error.to_string().contains("size limit"), "{error}");
}

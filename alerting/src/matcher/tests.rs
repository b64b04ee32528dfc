//! Matchers in all grammars, as text and back.

use super::*;

fn read(text: &str, mode: Mode) -> Option<String> {
    Matchers::parse(text, mode).ok().map(|all| all.to_string())
}

/// Text, what the newer grammar reads, what the classic one reads. As upstream's tables of both parsers and of their agreement have it.
const TEXTS: &[(&str, Option<&str>, Option<&str>)] = &[
    ("", Some("{}"), Some("{}")),
    ("{}", Some("{}"), Some("{}")),
    ("{", None, Some("{}")),
    ("}", None, Some("{}")),
    ("{{}}", None, None),
    ("{,}", None, None),
    ("foo=bar", Some(r#"{foo="bar"}"#), Some(r#"{foo="bar"}"#)),
    ("foo!=bar", Some(r#"{foo!="bar"}"#), Some(r#"{foo!="bar"}"#)),
    ("foo=~[a-z]+", Some(r#"{foo=~"[a-z]+"}"#), Some(r#"{foo=~"[a-z]+"}"#)),
    ("foo!~[a-z]+", Some(r#"{foo!~"[a-z]+"}"#), Some(r#"{foo!~"[a-z]+"}"#)),
    (" foo \t=\n \"bar\" ", Some(r#"{foo="bar"}"#), Some(r#"{foo="bar"}"#)),
    ("{foo=bar}", Some(r#"{foo="bar"}"#), Some(r#"{foo="bar"}"#)),
    ("{foo=bar,}", Some(r#"{foo="bar"}"#), Some(r#"{foo="bar"}"#)),
    ("foo=bar,", Some(r#"{foo="bar"}"#), Some(r#"{foo="bar"}"#)),
    ("{foo=bar", None, Some(r#"{foo="bar"}"#)),
    ("foo=bar}", None, Some(r#"{foo="bar"}"#)),
    ("foo=bar,}", None, Some(r#"{foo="bar"}"#)),
    ("{{foo=bar}}", None, None),
    (" {foo=bar} ", Some(r#"{foo="bar"}"#), None),
    ("foo=bar,,a=b", None, None),
    (",foo=bar", None, None),
    ("{foo=bar},", None, Some(r#"{foo="bar}"}"#)),
    ("foo=bar a=b", None, Some(r#"{foo="bar a=b"}"#)),
    ("foo=", None, Some(r#"{foo=""}"#)),
    ("foo=\"\"", Some(r#"{foo=""}"#), Some(r#"{foo=""}"#)),
    ("foo", None, None),
    ("=bar", None, None),
    ("\"\"=bar", None, None),
    ("foo!bar", None, None),
    ("foo~bar", None, None),
    ("foo==bar", None, Some(r#"{foo="=bar"}"#)),
    ("foo=!bar", None, Some(r#"{foo="!bar"}"#)),
    ("foo=~~bar", None, Some(r#"{foo=~"~bar"}"#)),
    ("foo=~[", None, None),
    ("foo!~\"(\"", None, None),
    ("foo=\"bar,baz\"", Some(r#"{foo="bar,baz"}"#), Some(r#"{foo="bar,baz"}"#)),
    ("{a=\"1\", b=\"2\"}", Some(r#"{a="1",b="2"}"#), Some(r#"{a="1",b="2"}"#)),
    ("b=1,a=2,a!=2,a=1", Some(r#"{a="1",a="2",a!="2",b="1"}"#), Some(r#"{a="1",a="2",a!="2",b="1"}"#)),
    ("foo=\"bar", None, None),
    ("foo=bar\"", None, None),
    ("foo=b\"ar", None, None),
    ("foo=\"bar\"baz", None, None),
    ("foo=\"bar\\\"", None, None),
    (r#"foo="b\"ar""#, Some(r#"{foo="b\"ar"}"#), Some(r#"{foo="b\"ar"}"#)),
    (r#"foo="b\\ar""#, Some(r#"{foo="b\\ar"}"#), Some(r#"{foo="b\\ar"}"#)),
    (r#"foo="b\nar""#, Some(r#"{foo="b\nar"}"#), Some(r#"{foo="b\nar"}"#)),
    (r#"foo="b\tar""#, Some("{foo=\"b\tar\"}"), Some(r#"{foo="b\\tar"}"#)),
    (r#"foo="b\dar""#, None, Some(r#"{foo="b\\dar"}"#)),
    (r"foo=~\d+", None, Some(r#"{foo=~"\\d+"}"#)),
    (r#"foo=~"\\d+""#, Some(r#"{foo=~"\\d+"}"#), Some(r#"{foo=~"\\d+"}"#)),
    (r"foo=a\", None, Some(r#"{foo="a\\"}"#)),
    (r"foo=a\\", None, Some(r#"{foo="a\\"}"#)),
    ("foo=\"a\nb\"", None, Some(r#"{foo="a\nb"}"#)),
    ("foo='bar'", None, Some(r#"{foo="'bar'"}"#)),
    ("foo=`bar`", None, Some(r#"{foo="`bar`"}"#)),
    ("foo=🙂", Some("{foo=\"🙂\"}"), Some("{foo=\"🙂\"}")),
    ("foo🙂=bar", Some("{foo🙂=\"bar\"}"), None),
    (r#"foo="\xf0\x9f\x99\x82""#, Some("{foo=\"🙂\"}"), Some(r#"{foo="\\xf0\\x9f\\x99\\x82"}"#)),
    (r#"foo="\u00e9""#, Some("{foo=\"é\"}"), Some(r#"{foo="\\u00e9"}"#)),
    (r#"foo="\U0001f642""#, Some("{foo=\"🙂\"}"), Some(r#"{foo="\\U0001f642"}"#)),
    (r#"foo="\101""#, Some("{foo=\"A\"}"), Some(r#"{foo="\\101"}"#)),
    (r#"foo="\xff""#, None, Some(r#"{foo="\\xff"}"#)),
    (r#"foo="\x4""#, None, Some(r#"{foo="\\x4"}"#)),
    (r#"foo="\ud800""#, None, Some(r#"{foo="\\ud800"}"#)),
    (r#"foo="\400""#, None, Some(r#"{foo="\\400"}"#)),
    (r#"foo="\'""#, None, Some(r#"{foo="\\'"}"#)),
    ("\"foo\"=bar", Some(r#"{foo="bar"}"#), None),
    ("\"foo bar\"=\"a\"", Some(r#"{"foo bar"="a"}"#), None),
    ("\"foo,\"=~\"a|b\",c=d", Some(r#"{c="d","foo,"=~"a|b"}"#), None),
    ("a.b=c", Some(r#"{a.b="c"}"#), None),
    ("a:b=c", Some(r#"{a:b="c"}"#), Some(r#"{a:b="c"}"#)),
    ("1a=c", Some(r#"{1a="c"}"#), None),
    ("{foo=bar}{a=b}", None, Some(r#"{foo="bar}{a=b"}"#)),
    ("foo=bar\\,a=b", None, Some(r#"{a="b",foo="bar\\"}"#)),
];

#[test]
fn each_grammar_reads_what_is_its_own() {
    for (text, utf8, classic) in TEXTS {
        assert_eq!(read(text, Mode::Utf8).as_deref(), *utf8, "utf8: {text:?}");
        assert_eq!(read(text, Mode::Classic).as_deref(), *classic, "classic: {text:?}");
        assert_eq!(read(text, Mode::Fallback).as_deref(), classic.or(*utf8), "fallback: {text:?}");
    }
}

#[test]
fn what_is_printed_is_read_back() {
    for (text, ..) in TEXTS {
        for mode in [Mode::Utf8, Mode::Classic] {
            let Ok(all) = Matchers::parse(text, mode) else { continue };
            // The newer grammar does not take a line feed in quotes but as `\n`; tabs it takes as they are.
            assert_eq!(Matchers::parse(&all.to_string(), Mode::Utf8).unwrap(), all, "{text:?} as {all}");
        }
    }
}

#[test]
fn a_missing_label_is_an_empty_one_and_expressions_match_the_whole_value() {
    let labels: Labels = [("a", "bar"), ("lines", "x\ny")].into_iter().collect();
    for (text, matches) in [
        ("a=bar", true),
        ("a!=bar", false),
        ("a=~ba", false),
        ("a=~ba.", true),
        ("a=~\"foo|bar\"", true),
        ("a=~\"^bar$\"", true),
        ("a!~ba", true),
        ("a!~b.r", false),
        ("lines=~\"x.y\"", true),
        ("none=\"\"", true),
        ("none!=\"\"", false),
        ("none=~\".*\"", true),
        ("none=~\".+\"", false),
        ("none!~\".+\"", true),
        ("none!=x", true),
        ("{}", true),
        ("a=bar,none=\"\"", true),
        ("a=bar,none=x", false),
    ] {
        assert_eq!(Matchers::parse(text, Mode::Fallback).unwrap().matches(&labels), matches, "{text}");
    }
}

#[test]
fn filters_hold_together_and_one_matcher_is_one() {
    let all = Matchers::of_filters(["b=~\"x|y\"", "{a=1,c!=2}"], Mode::Fallback).unwrap();
    assert_eq!(all.to_string(), r#"{a="1",b=~"x|y",c!="2"}"#);
    assert!(Matchers::of_filters(["a=1", "b"], Mode::Fallback).is_err());
    assert_eq!(Matcher::parse("a=1", Mode::Fallback).unwrap().to_string(), r#"a="1""#);
    for text in ["", "a=1,b=2", "{a=1}"] {
        assert!(Matcher::parse(text, Mode::Fallback).is_err(), "{text}");
    }
    assert!(Matchers::parse(&format!("a={}", "x".repeat(TEXT_BYTES_MAX)), Mode::Fallback).is_err());
}

#[test]
fn errors_say_what_was_expected_and_where() {
    let error = Matchers::parse("{a=\"b\" c}", Mode::Utf8).unwrap_err();
    assert_eq!(error.message(), "`{a=\"b\" c}`: expected a comma or a closing brace, found `c` after 7 characters");
}

#[test]
fn amtool_reads_the_classic_grammar_as_we_do() {
    use std::{io::Write as _, process::Command};
    if Command::new("amtool").arg("--version").output().is_err() {
        println!("SKIPPED: amtool is not installed; apt-get install prometheus-alertmanager");
        return;
    }
    for (text, ..) in TEXTS {
        let line = serde_json::to_string(text).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let route = format!("{{receiver: a, routes: [{{matchers: [{line}]}}]}}");
        writeln!(file, "route: {route}\nreceivers: [{{name: a}}]").unwrap();
        let arguments = ["config", "routes", "show", "--config.file"];
        let output = Command::new("amtool").args(arguments).arg(file.path()).output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        let theirs = output.status.success().then(|| {
            let node = shown.rsplit("└── ").next().unwrap_or_default();
            node.rsplit_once("  receiver:").unwrap_or_default().0.to_owned()
        });
        // Without matchers it shows a word.
        let ours = read(text, Mode::Classic).map(|all| if all == "{}" { "default-route".to_owned() } else { all });
        assert_eq!(ours, theirs, "{text:?}: {shown}");
    }
}

//! Selectors: what they are, what they are not, and which series they select.

use serde_json::json;
use storage::Lane;

use super::{Matcher, Selector};
use crate::{
    Config, ErrorKind, Series, Wanted,
    testing::{Bench, DAY_MS, HOUR_MS, series},
};

const DAY_US: i64 = 24 * HOUR_MS * 1000;
const START_US: i64 = DAY_MS * 1000;

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
        assert_eq!(error.position.map(|p| (p.line, p.column)), Some((line, column)), "{text}: {error}");
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

/// Two days in files, the third in the head; `up` of job `db` is there on the third day alone.
async fn bench() -> Bench {
    let bench = Bench::new();
    let rows = [
        ("cpu", 7, &[("job", "node"), ("mode", "idle")][..]),
        ("cpu", 8, &[("job", "node"), ("mode", "user")]),
        ("up", 1, &[("job", "api")]),
        ("up", 7, &[("job", "node")]),
        ("http.requests", 3, &[("k8s.pod", "a")]),
    ];
    for day in 0..2 {
        bench.file(schemas::series(), &series(DAY_MS + day * 24 * HOUR_MS, &rows), Lane::InOrder).await;
    }
    let more = [&rows[..], &[("up", 9, &[("job", "db")][..])]].concat();
    bench.head(schemas::series(), series(DAY_MS + 48 * HOUR_MS, &more), Lane::InOrder, false);
    bench
}

fn ids(series: &Series) -> Vec<(String, i64)> {
    let mut ids: Vec<_> = series.iter().map(|(metric, id)| (metric.to_owned(), id)).collect();
    ids.sort();
    assert_eq!(ids.len(), series.len());
    ids
}

#[tokio::test]
async fn series_are_found_by_name_labels_and_expressions_in_files_and_head() {
    let engine = bench().await.engine();
    for (text, expected) in [
        ("cpu", &[("cpu", 7), ("cpu", 8)][..]),
        ("up{job=\"node\"}", &[("up", 7)]),
        ("up{job!=\"node\"}", &[("up", 1), ("up", 9)]),
        ("{job=~\"a.*|d.\"}", &[("up", 1), ("up", 9)]),
        ("{__name__=~\"cpu|up\",job=\"node\",mode!=\"user\"}", &[("cpu", 7), ("up", 7)]),
        ("{__name__=~\"c.+\",mode!~\"i.*\"}", &[("cpu", 8)]),
        ("{__name__!=\"up\",job=\"node\"}", &[("cpu", 7), ("cpu", 8)]),
        // A label that is not there is empty.
        ("{__name__!=\"\",mode=\"\"}", &[("http.requests", 3), ("up", 1), ("up", 7), ("up", 9)]),
        ("{job=\"node\",mode=~\"|idle\"}", &[("cpu", 7), ("up", 7)]),
        ("{\"http.requests\",\"k8s.pod\"=\"a\"}", &[("http.requests", 3)]),
        ("nothing", &[]),
    ] {
        let expected: Vec<(String, i64)> = expected.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect();
        for wanted in [Wanted::Ids, Wanted::Labels] {
            let selector = [Selector::parse(text).unwrap()];
            let found = engine.series(&selector, i64::MIN..i64::MAX, wanted).await.unwrap();
            assert_eq!(ids(&found), expected, "{text}");
        }
    }
    let both = [Selector::parse("cpu").unwrap(), Selector::parse("{job=\"node\"}").unwrap()];
    let found = engine.series(&both, i64::MIN..i64::MAX, Wanted::Ids).await.unwrap();
    assert_eq!(found.len(), 3, "what two selectors find is found once");
}

#[tokio::test]
async fn only_the_days_of_the_range_are_read() {
    let bench = bench().await;
    let engine = bench.engine();
    let all = [Selector::parse("{job=~\".+\"}").unwrap()];
    for (from, to, count) in [(0, 1, 4), (0, DAY_US + 1, 4), (2 * DAY_US, i64::MAX - START_US, 5), (-9, 0, 0)] {
        let found = engine.series(&all, START_US + from..START_US + to, Wanted::Ids).await.unwrap();
        assert_eq!(found.len(), count, "{from}..{to}");
    }
    bench.store.reads();
    bench.engine().series(&all, START_US..START_US + DAY_US, Wanted::Ids).await.unwrap();
    let read: Vec<String> = bench.store.reads().into_iter().map(|(path, _)| path.to_string()).collect();
    assert!(!read.is_empty() && read.iter().all(|path| path.contains("day=2026-11-22")), "{read:?}");
    assert_eq!(bench.rows("SELECT 1").await, [json!([1])]);
}

#[tokio::test]
async fn series_take_their_memory_from_that_of_queries() {
    let bench = Bench::new();
    let value = "x".repeat(1000);
    let labels = [("job", value.as_str())];
    let rows: Vec<_> = (0..8192).map(|id| ("up", id, &labels[..])).collect();
    bench.head(schemas::series(), series(DAY_MS, &rows), Lane::InOrder, true);
    let engine = bench.engine_with(Config { memory_bytes: 2 << 20, ..Config::default() });
    let all = [Selector::parse("up").unwrap()];
    let error = engine.series(&all, i64::MIN..i64::MAX, Wanted::Labels).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Execution, "{error}");
    assert!(error.to_string().contains("memory"), "{error}");
    let found = engine.series(&all, i64::MIN..i64::MAX, Wanted::Ids).await.unwrap();
    assert_eq!(found.len(), 8192, "without labels they fit");
}

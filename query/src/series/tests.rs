//! Which series a selector finds.

use promql::Selector;
use serde_json::json;
use storage::Lane;

use crate::{
    Config, ErrorKind, Series, Wanted,
    testing::{Bench, DAY_MS, HOUR_MS, series},
};

const DAY_US: i64 = 24 * HOUR_MS * 1000;
const START_US: i64 = DAY_MS * 1000;

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

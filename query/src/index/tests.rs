//! The index against a plain reading of the same series, and what it reads when.

use std::{collections::BTreeSet, ops::Range};

use proptest::prelude::*;
use serde_json::json;
use storage::Lane;

use crate::{
    Config, Engine, ErrorKind, Selector, Wanted,
    testing::{Bench, DAY_MS, HOUR_MS, Labelled, rows, samples, series},
};

const DAY: i64 = 24 * HOUR_MS;

/// Microseconds of whole days from that of the tests on.
fn days(days: Range<i64>) -> Range<i64> {
    (DAY_MS + days.start * DAY) * 1000..(DAY_MS + days.end * DAY) * 1000
}

async fn found(engine: &Engine, selector: &str, of: Range<i64>) -> BTreeSet<(String, i64)> {
    let selector = Selector::parse(selector).unwrap();
    let series = engine.series(&[selector], days(of), Wanted::Labels).await.unwrap();
    series.iter().map(|(metric, id)| (metric.to_owned(), id)).collect()
}

fn set(series: &[(&str, i64)]) -> BTreeSet<(String, i64)> {
    series.iter().map(|(metric, id)| ((*metric).to_owned(), *id)).collect()
}

const NODE: &[(&str, &str)] = &[("instance", "a:1"), ("job", "node")];
const API: &[(&str, &str)] = &[("job", "api")];

#[tokio::test]
async fn what_is_known_is_not_read_again_and_what_is_new_is() {
    let bench = Bench::new();
    let engine = bench.engine();
    let rows: [Labelled<'_>; 2] = [("cpu", 7, NODE), ("up", 1, API)];
    bench.file(schemas::series(), &series(DAY_MS, &rows), Lane::InOrder).await;
    bench.file(schemas::series(), &series(DAY_MS + DAY, &rows[..1]), Lane::InOrder).await;
    assert_eq!(found(&engine, "{job=~\".+\"}", 0..1).await, set(&[("cpu", 7), ("up", 1)]));
    assert!(bench.store.reads().iter().all(|(path, _)| path.as_ref().contains("2026-11-22")), "one day was asked for");
    assert_eq!(found(&engine, "{job=~\".+\"}", 1..2).await, set(&[("cpu", 7)]));
    bench.store.reads();

    // All of it again, and the days of a filter of SQL.
    assert_eq!(found(&engine, "{job=\"node\"}", 0..2).await, set(&[("cpu", 7)]));
    let sql = "SELECT count(*) FROM metrics WHERE labels['job'] = 'node' AND timestamp < '2026-11-24T00:00:00Z'";
    assert_eq!(rows_of(&engine, sql).await, [json!([0])]);
    assert_eq!(bench.store.reads(), [], "nothing is new");

    // Rows in memory, then the same in a file, then merged.
    bench.head(schemas::series(), series(DAY_MS + DAY, &[("up", 2, NODE)]), Lane::InOrder, false);
    assert_eq!(found(&engine, "up", 1..2).await, set(&[("up", 2)]));
    assert_eq!(bench.store.reads(), []);
    let fresh =
        bench.file(schemas::series(), &series(DAY_MS + DAY, &[("up", 2, NODE), ("up", 3, NODE)]), Lane::InOrder).await;
    assert_eq!(found(&engine, "up", 1..2).await, set(&[("up", 2), ("up", 3)]));
    assert!(bench.store.reads().iter().all(|(path, _)| *path == fresh));
    let all: [Labelled<'_>; 3] = [("cpu", 7, NODE), ("up", 2, NODE), ("up", 3, NODE)];
    bench.merged(schemas::series(), &series(DAY_MS + DAY, &all)).await;
    assert_eq!(found(&engine, "{job=\"node\"}", 1..2).await, set(&[("cpu", 7), ("up", 2), ("up", 3)]));
    assert_eq!(bench.store.reads(), [], "its rows were known before");
}

async fn rows_of(engine: &Engine, sql: &str) -> Vec<serde_json::Value> {
    rows(engine, sql).await.unwrap()
}

#[tokio::test]
async fn a_merge_of_files_that_were_never_seen_is_read() {
    let bench = Bench::new();
    let engine = bench.engine();
    bench.file(schemas::series(), &series(DAY_MS, &[("up", 1, API)]), Lane::InOrder).await;
    assert_eq!(found(&engine, "up", 0..1).await.len(), 1);
    // Committed and merged between two questions.
    bench.file(schemas::series(), &series(DAY_MS, &[("up", 2, API)]), Lane::InOrder).await;
    bench.merged(schemas::series(), &series(DAY_MS, &[("up", 1, API), ("up", 2, API)])).await;
    assert_eq!(found(&engine, "up", 0..1).await.len(), 2);
}

#[tokio::test]
async fn labels_of_samples_come_from_the_index_when_it_has_the_day() {
    let bench = Bench::new();
    let engine = bench.engine();
    bench.file(schemas::series(), &series(DAY_MS, &[("up", 1, API)]), Lane::InOrder).await;
    bench.file(schemas::samples(), &samples(&[("up", 1, DAY_MS, 1.0), ("up", 9, DAY_MS, 2.0)]), Lane::InOrder).await;
    let sql = "SELECT labels['job'] FROM metrics ORDER BY value";
    assert_eq!(rows_of(&engine, sql).await, [json!(["api"]), json!([null])]);
    assert_eq!(found(&engine, "up", 0..1).await.len(), 1);
    bench.store.reads();
    assert_eq!(rows_of(&engine, "SELECT labels['job'] FROM metrics WHERE value = 1").await, [json!(["api"])]);
    let of_series = |(path, _): &(object_store::path::Path, _)| path.as_ref().contains("series/");
    assert!(!bench.store.reads().iter().any(of_series));
}

#[tokio::test]
async fn without_memory_the_table_is_read_and_questions_about_labels_say_so() {
    let bench = Bench::new();
    let text = "v".repeat(1000);
    let labels: Vec<[(&str, String); 1]> = (0..4000).map(|i| [("pod", format!("{text}{i}"))]).collect();
    let labels: Vec<Vec<(&str, &str)>> = labels.iter().map(|[(name, value)]| vec![(*name, value.as_str())]).collect();
    let all: Vec<Labelled<'_>> = (0..).zip(&labels).map(|(id, labels)| ("up", id, labels.as_slice())).collect();
    bench.file(schemas::series(), &series(DAY_MS, &all), Lane::InOrder).await;
    let engine = bench.engine_with(Config { memory_bytes: 6 << 20, ..Config::default() });
    let one = format!("{{pod=\"{text}7\"}}");
    assert_eq!(found(&engine, &one, 0..1).await, set(&[("up", 7)]));
    let error = engine.label_values("pod", &[], days(0..1)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Execution, "{error}");
}

/// A made-up fleet: day, metric, id, labels. Ids tell label sets of a metric apart, as hashes do.
type Fleet = Vec<(i64, &'static str, i64, Vec<(&'static str, &'static str)>)>;

fn fleet() -> impl Strategy<Value = Fleet> {
    let value = prop::sample::select(vec!["", "a", "b", "ab", "c"]);
    let one = (0..3i64, prop::sample::select(vec!["cpu", "up", "mem"]), prop::collection::vec(value, 3));
    let one = one.prop_map(|(day, metric, values)| {
        let labels: Vec<_> = ["x", "y", "z"].into_iter().zip(values).filter(|(_, value)| !value.is_empty()).collect();
        let id = labels
            .iter()
            .flat_map(|(name, value)| name.bytes().chain(value.bytes()))
            .fold(7i64, |id, byte| id.wrapping_mul(31).wrapping_add(i64::from(byte)));
        (day, metric, id, labels)
    });
    prop::collection::vec(one, 0..40)
}

fn selector() -> impl Strategy<Value = String> {
    let label = prop::sample::select(vec!["x", "y", "z", "none", "__name__"]);
    let op = prop::sample::select(vec!["=", "!=", "=~", "!~"]);
    let value = prop::sample::select(vec!["", "a", "b", "a|c", "a.*", ".+", ".*b", "up", "[a-c]", "up|mem|"]);
    prop::collection::vec((label, op, value), 0..4).prop_map(|matchers| {
        let matchers: Vec<_> = matchers.iter().map(|(label, op, value)| format!("{label}{op}\"{value}\"")).collect();
        // One that selects no empty name is always there, since a selector of everything is refused.
        format!("{{__name__!=\"\",{}}}", matchers.join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn it_answers_as_a_plain_reading_does(fleet in fleet(), cut in 0..40usize, selectors in prop::collection::vec(selector(), 6), of in (0..3i64, 1..4i64)) {
        let of = of.0..(of.0 + of.1).min(3);
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let bench = Bench::new();
            let engine = bench.engine();
            for (in_files, part) in [(true, &fleet[..cut.min(fleet.len())]), (false, &fleet[cut.min(fleet.len())..])] {
                for day in 0..3 {
                    let mut of_day: Vec<Labelled<'_>> = part.iter().filter(|row| row.0 == day).map(|row| (row.1, row.2, row.3.as_slice())).collect();
                    of_day.sort_unstable();
                    of_day.dedup();
                    if of_day.is_empty() {
                        continue;
                    }
                    let batch = series(DAY_MS + day * DAY, &of_day);
                    if in_files {
                        bench.file(schemas::series(), &batch, Lane::InOrder).await;
                    } else {
                        bench.head(schemas::series(), batch, Lane::InOrder, true);
                    }
                }
            }
            for text in &selectors {
                let selector = Selector::parse(text).unwrap();
                let matches = |row: &&(i64, &str, i64, Vec<(&str, &str)>)| of.contains(&row.0) && selector.matchers().iter().all(|matcher| {
                    let of_label = || row.3.iter().find(|(name, _)| *name == matcher.label()).map_or("", |(_, value)| *value);
                    matcher.matches(if matcher.label() == "__name__" { row.1 } else { of_label() })
                });
                let wanted: Vec<_> = fleet.iter().filter(matches).collect();
                let ids: BTreeSet<_> = wanted.iter().map(|row| (row.1.to_owned(), row.2)).collect();
                assert_eq!(found(&engine, text, of.clone()).await, ids, "{text}");
                let mut names: BTreeSet<&str> = wanted.iter().flat_map(|row| row.3.iter().map(|(name, _)| *name)).collect();
                names.extend((!wanted.is_empty()).then_some("__name__"));
                let selectors = [selector.clone()];
                assert_eq!(engine.label_names(&selectors, days(of.clone())).await.unwrap(), Vec::from_iter(names), "{text}");
                let values: BTreeSet<&str> = wanted.iter().flat_map(|row| row.3.iter().filter(|(name, _)| *name == "x").map(|(_, value)| *value)).collect();
                assert_eq!(engine.label_values("x", &selectors, days(of.clone())).await.unwrap(), Vec::from_iter(values), "{text}");
            }
        });
    }
}

//! What is asked together is answered as if each were alone.

use storage::Lane;

use super::*;
use crate::{
    Config, PromqlConfig,
    testing::{Bench, DAY_MS, HOUR_MS, Sample, samples, series},
};

/// Files and head of 200 series of two metrics, a sample every 15 s for an hour.
async fn bench() -> Bench {
    let bench = Bench::new();
    let names: Vec<String> = (0..100).map(|nth| format!("i{nth}")).collect();
    let labels: Vec<[(&str, &str); 1]> = names.iter().map(|name| [("instance", name.as_str())]).collect();
    let of = |metric| labels.iter().zip(1..).map(move |(labels, id)| (metric, id, &labels[..]));
    let rows: Vec<_> = of("up").chain(of("seen_total")).collect();
    bench.file(schemas::series(), &series(DAY_MS, &rows), Lane::InOrder).await;
    let rows = |from_ms: i64, to_ms: i64| -> Vec<Sample> {
        let times = (from_ms..to_ms).step_by(15_000);
        let of = |metric| {
            let times = times.clone();
            (1..=100).flat_map(move |id| times.clone().map(move |ms| (metric, id, ms, (ms / 1000 * id % 977) as f64)))
        };
        of("seen_total").chain(of("up")).collect()
    };
    let half_ms = DAY_MS + HOUR_MS / 2;
    bench.file(schemas::samples(), &samples(&rows(DAY_MS, half_ms)), Lane::InOrder).await;
    bench.head(schemas::samples(), samples(&rows(half_ms, DAY_MS + HOUR_MS)), Lane::InOrder, false);
    bench
}

/// An answer as JSON, or its error.
fn text(found: Result<Found>, at_ms: i64) -> String {
    found.map_or_else(|error| error.to_string(), |found| crate::json(found, at_ms).collect())
}

async fn compare(engine: &Engine, queries: &[&str]) -> Vec<String> {
    let at_ms = DAY_MS + HOUR_MS;
    let queries: Vec<Query> = queries.iter().map(|text| engine.parse(text).unwrap()).collect();
    let mut alone = Vec::new();
    for query in &queries {
        alone.push(text(engine.promql(query, When::at(at_ms)).await, at_ms));
    }
    let (asking, all) = (engine.clone(), queries.clone());
    let together = engine.on_thread(move || {
        let all: Vec<&Query> = all.iter().collect();
        let mut answers = Vec::new();
        while answers.len() < all.len() {
            answers.extend(asking.promql_together(&all[answers.len()..], When::at(at_ms)).unwrap());
        }
        answers
    });
    let together: Vec<String> = together.unwrap().await.unwrap().into_iter().map(|found| text(found, at_ms)).collect();
    for ((query, alone), together) in queries.iter().zip(&alone).zip(&together) {
        assert_eq!(together, alone, "{}", query.text());
    }
    together
}

const QUERIES: [&str; 10] = [
    "up{instance=\"i7\"}",
    "up{instance=~\"i[1-3]\"} > 100",
    "sum(rate(seen_total[5m]))",
    "rate(seen_total{instance=\"i7\"}[1h]) * on (instance) up",
    "up{instance=\"i7\"} / up{instance=\"i8\"} offset 20m",
    "count(up)",
    "absent(down)",
    "max_over_time(sum(up)[10m:1m])",
    "1 + 1",
    "up * on (job) group_left up",
];

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_answered_together_as_each_is_alone() {
    let engine = bench().await.engine();
    let answers = compare(&engine, &QUERIES).await;
    assert!(answers[0].contains("i7") && answers[9].contains("many-to-many"), "{answers:?}");
    assert!(engine.asking().is_empty());
    assert_eq!(compare(&engine, &[]).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_reads_too_much_fails_alone() {
    // Together they would read more than one may; and the third does so by itself.
    let promql = PromqlConfig { samples_max: 30_000, ..PromqlConfig::default() };
    let engine = bench().await.engine_with(Config { promql, ..Config::default() });
    let answers = compare(
        &engine,
        &["sum_over_time(up[1h])", "sum_over_time(seen_total[1h])", "count_over_time({instance!=\"\"}[1h])", "up > 0"],
    )
    .await;
    let failed: Vec<bool> = answers.iter().map(|answer| answer.contains("too many samples")).collect();
    assert_eq!(failed, [false, false, true, false], "{answers:?}");
}

//! The view people ask first: filters on labels, times and values, and labels in the answer.

use serde_json::{Value, json};
use storage::Lane;

use crate::testing::{Bench, DAY_MS, HOUR_MS, samples, series};
use promql::STALE;

const DAY: i64 = 24 * HOUR_MS;

/// Two days in files and a third in the head; `up` of two jobs and `cpu` of three instances, one of which shares its id.
async fn bench() -> Bench {
    let bench = Bench::new();
    let rows = |start: i64| {
        [
            ("cpu", 7, start, 0.5),
            ("cpu", 8, start, 0.6),
            ("cpu", 9, start, f64::from_bits(STALE)),
            ("up", 1, start, 1.0),
            ("up", 7, start, 0.0),
            ("up", 7, start + 1_000, f64::NAN),
        ]
    };
    let labels = |start| {
        series(
            start,
            &[
                ("cpu", 7, &[("instance", "a:1"), ("job", "node")]),
                ("cpu", 8, &[("instance", "b:1"), ("job", "node")]),
                ("cpu", 9, &[("instance", "c:1"), ("job", "node")]),
                ("up", 1, &[("job", "api")]),
                ("up", 7, &[("instance", "a:1"), ("job", "node")]),
            ],
        )
    };
    for day in 0..2 {
        let start = DAY_MS + day * DAY;
        bench.file(schemas::samples(), &samples(&rows(start)), Lane::InOrder).await;
        bench.file(schemas::series(), &labels(start), Lane::InOrder).await;
    }
    bench.head(schemas::samples(), samples(&rows(DAY_MS + 2 * DAY)), Lane::InOrder, true);
    bench.head(schemas::series(), labels(DAY_MS + 2 * DAY), Lane::InOrder, true);
    bench
}

async fn check(sql: &str, expected: &[Value]) {
    assert_eq!(bench().await.rows(sql).await, expected, "{sql}");
}

#[tokio::test]
async fn a_row_has_time_metric_labels_and_value() {
    let rows = [json!(["2026-11-22T00:00:00.000Z", "up", {"job": "api"}, 1.0])];
    check("SELECT * FROM metrics WHERE metric = 'up' AND labels['job'] = 'api' ORDER BY timestamp LIMIT 1", &rows)
        .await;
}

#[tokio::test]
async fn labels_select_series_in_files_and_head() {
    check("SELECT count(*) FROM metrics WHERE labels['job'] = 'api'", &[json!([3])]).await;
    check("SELECT count(*) FROM metrics WHERE labels['job'] = 'node' AND metric = 'cpu'", &[json!([6])]).await;
    check("SELECT count(*) FROM metrics WHERE labels['instance'] LIKE 'a%'", &[json!([9])]).await;
    check("SELECT count(*) FROM metrics WHERE labels['instance'] ~ '^[ab]:'", &[json!([12])]).await;
    check("SELECT count(*) FROM metrics WHERE labels['instance'] !~ '^a:' AND metric = 'cpu'", &[json!([3])]).await;
    check("SELECT count(*) FROM metrics WHERE labels['instance'] IS NULL", &[json!([3])]).await;
    check("SELECT count(*) FROM metrics WHERE labels['job'] = 'none'", &[json!([0])]).await;
    check("SELECT count(*) FROM metrics WHERE labels['job'] = 'api' OR metric = 'cpu'", &[json!([9])]).await;
}

#[tokio::test]
async fn an_id_shared_by_two_metrics_selects_the_right_one() {
    // Series 7 is of `cpu` and of `up`, series 8 of `cpu` alone; `up` of job `api` is 1.
    let sql = "SELECT DISTINCT metric, labels['job'] AS job FROM metrics \
               WHERE (metric = 'cpu' AND labels['instance'] = 'a:1') OR labels['job'] = 'api' ORDER BY metric";
    check(sql, &[json!(["cpu", "node"]), json!(["up", "api"])]).await;
}

#[tokio::test]
async fn staleness_markers_are_hidden_and_other_nans_are_not() {
    check("SELECT count(*) FROM metrics", &[json!([15])]).await;
    check("SELECT count(*) FROM samples", &[json!([18])]).await;
    check("SELECT count(*) FROM metrics WHERE labels['instance'] = 'c:1'", &[json!([0])]).await;
    check("SELECT count(*) FROM metrics WHERE isnan(value)", &[json!([3])]).await;
}

#[tokio::test]
async fn times_and_values_select_samples() {
    let day = "timestamp >= TIMESTAMP '2026-11-23T00:00:00Z' AND timestamp < TIMESTAMP '2026-11-24T00:00:00Z'";
    check(&format!("SELECT count(*) FROM metrics WHERE {day}"), &[json!([5])]).await;
    check(&format!("SELECT count(*) FROM metrics WHERE {day} AND labels['job'] = 'node'"), &[json!([4])]).await;
    check("SELECT count(*) FROM metrics WHERE value = 0.6", &[json!([3])]).await;
    check("SELECT count(*) FROM metrics WHERE value = 0.6 OR labels['job'] = 'api'", &[json!([6])]).await;
    check(
        "SELECT count(*) FROM metrics WHERE timestamp BETWEEN '2026-11-24T00:00:00Z' AND '2026-11-24T00:00:00Z'",
        &[json!([4])],
    )
    .await;
}

#[tokio::test]
async fn labels_are_attached_to_every_row() {
    let sql = "SELECT labels['instance'] AS i, count(*) FROM metrics GROUP BY i ORDER BY i NULLS FIRST";
    check(sql, &[json!([null, 3]), json!(["a:1", 9]), json!(["b:1", 3])]).await;
    check("SELECT count(*) FROM metrics WHERE cardinality(labels) = 0", &[json!([0])]).await;
}

#[tokio::test]
async fn labels_are_looked_up_only_for_the_days_and_metrics_of_the_answer() {
    let bench = bench().await;
    let rows =
        bench.rows("SELECT labels FROM metrics WHERE metric = 'cpu' AND timestamp < '2026-11-22T00:00:01Z'").await;
    assert_eq!(rows.len(), 2);
    let read: Vec<String> = bench.store.reads().into_iter().map(|(path, _)| path.to_string()).collect();
    assert!(read.iter().any(|path| path.starts_with("series/day=2026-11-22")), "{read:?}");
    assert!(!read.iter().any(|path| path.contains("day=2026-11-23")), "{read:?}");
}

#[tokio::test]
async fn a_label_filter_reads_only_files_with_the_series() {
    let bench = bench().await;
    let sql =
        "SELECT count(*) FROM metrics WHERE labels['job'] = 'api' AND timestamp >= TIMESTAMP '2026-11-23T00:00:00Z'";
    assert_eq!(bench.rows(sql).await, [json!([2])]);
    let read: Vec<String> = bench.store.reads().into_iter().map(|(path, _)| path.to_string()).collect();
    assert!(!read.iter().any(|path| path.contains("day=2026-11-22")), "{read:?}");
}

#[tokio::test]
async fn a_sample_without_its_series_has_no_labels() {
    let bench = Bench::new();
    bench.head(schemas::samples(), samples(&[("up", 1, DAY_MS, 1.0)]), Lane::InOrder, true);
    assert_eq!(bench.rows("SELECT metric, labels FROM metrics").await, [json!(["up", {}])]);
}

#[tokio::test]
async fn joins_and_subqueries_over_the_view_work() {
    let sql = "SELECT count(*) FROM metrics a JOIN metrics b ON a.timestamp = b.timestamp AND a.labels['instance'] = b.labels['instance'] \
               WHERE a.metric = 'cpu' AND b.metric = 'up'";
    check(sql, &[json!([3])]).await;
    check("SELECT count(*) FROM metrics WHERE value = (SELECT max(value) FROM samples WHERE metric = 'cpu' AND series_id = 8)", &[json!([3])]).await;
}

#[tokio::test]
async fn rows_of_a_series_are_found_by_their_place_in_the_file() {
    let bench = Bench::new();
    let names: Vec<String> = (0..40).map(|i| format!("host-{i}")).collect();
    let labels: Vec<[(&str, &str); 1]> = names.iter().map(|name| [("instance", name.as_str())]).collect();
    let of = |metric| (0..).zip(&labels).map(move |(id, labels)| (metric, id, labels.as_slice()));
    bench.file(schemas::series(), &series(DAY_MS, &of("cpu").chain(of("up")).collect::<Vec<_>>()), Lane::InOrder).await;
    // More rows than are decoded at once, so that stretches go on from batch to batch and from one group to the next.
    let rows =
        |metric| (0..40).flat_map(move |id| (0..3000).map(move |t| (metric, id, DAY_MS + t * 1000, (id * t) as f64)));
    let file = samples(&rows("cpu").chain(rows("up")).collect::<Vec<_>>());
    let file = bench.file(schemas::samples(), &file, Lane::InOrder).await;
    bench.head(schemas::samples(), samples(&[("up", 7, DAY_MS + 4_000_000, 0.5)]), Lane::InOrder, true);
    let engine = bench.engine();
    let ask = async |instance: usize, rest: &str| {
        let sql = format!(
            "SELECT count(*), sum(value) FROM metrics WHERE metric = 'up' AND labels['instance'] = 'host-{instance}' {rest}"
        );
        rows_of(&engine, &sql).await
    };
    assert_eq!(ask(7, "").await, [json!([3001, 7.0 * 2999.0 * 1500.0 + 0.5])]);
    bench.store.reads();
    assert_eq!(ask(39, "").await, [json!([3000, 39.0 * 2999.0 * 1500.0])]);
    let read: u64 =
        bench.store.reads().iter().filter(|(path, _)| *path == file).map(|(_, range)| range.end - range.start).sum();
    assert!((1..100_000).contains(&read), "a page or two of values, not the ids of all series: {read}");
    assert_eq!(ask(0, "AND timestamp >= '2026-11-22T00:10:00Z' AND value >= 0").await, [json!([2400, 0.0])]);
    assert_eq!(
        rows_of(
            &engine,
            "SELECT DISTINCT metric, labels['instance'] FROM metrics WHERE labels['instance'] = 'host-3' ORDER BY 1"
        )
        .await,
        [json!(["cpu", "host-3"]), json!(["up", "host-3"])]
    );
}

async fn rows_of(engine: &crate::Engine, sql: &str) -> Vec<Value> {
    crate::testing::rows(engine, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

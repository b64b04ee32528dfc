//! Reads of views: every row once, the latest of each key, nothing opened that cannot match, order kept.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use object_store::path::Path;
use serde_json::json;
use storage::Lane;

use crate::testing::{Bench, DAY_MS, HOUR_MS, Sample, data_file, samples};

const DAY: i64 = 24 * HOUR_MS;

/// Samples of `ids` series of metric `name`, every `step` ms of `start..end`, in sort order.
fn run(name: &'static str, ids: i64, start: i64, end: i64, step: usize) -> Vec<Sample> {
    let times = |id| (start..end).step_by(step).map(move |ms| (name, id, ms, id as f64));
    (0..ids).flat_map(times).collect()
}

fn batch(runs: &[Vec<Sample>]) -> RecordBatch {
    samples(&runs.concat())
}

#[tokio::test]
async fn an_empty_view_answers_with_no_rows() {
    let bench = Bench::new();
    assert_eq!(bench.rows("SELECT count(*) FROM samples").await, [json!([0])]);
    assert!(bench.rows("SELECT * FROM series").await.is_empty());
    assert!(bench.rows("SELECT * FROM metadata").await.is_empty());
}

#[tokio::test]
async fn files_and_head_rows_are_each_read_once() {
    let bench = Bench::new();
    let day = schemas::samples();
    bench.file(day, &samples(&[("a", 1, DAY_MS, 1.0), ("b", 2, DAY_MS, 2.0)]), Lane::InOrder).await;
    bench.file(day, &samples(&[("a", 1, DAY_MS + DAY, 3.0)]), Lane::InOrder).await;
    bench.head(day, samples(&[("a", 1, DAY_MS + DAY + 1, 4.0), ("c", 3, DAY_MS + DAY, 5.0)]), Lane::InOrder, true);
    bench.head(day, samples(&[("c", 3, DAY_MS + DAY + 1, 6.0), ("a", 1, DAY_MS + DAY + 2, 7.0)]), Lane::InOrder, false);
    let rows = bench.rows("SELECT value FROM samples ORDER BY value").await;
    assert_eq!(rows, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0].map(|v| json!([v])));
    assert_eq!(bench.rows("SELECT count(*) FROM samples").await, [json!([7])]);
    let rows = bench.rows("SELECT value FROM samples WHERE metric = 'a' AND series_id = 1 ORDER BY ts").await;
    assert_eq!(rows, [1.0, 3.0, 4.0, 7.0].map(|v| json!([v])));
    let rows = bench.rows("SELECT day, count(*) FROM samples GROUP BY day ORDER BY day").await;
    assert_eq!(rows, [json!(["2026-11-22", 2]), json!(["2026-11-23", 5])]);
    let rows = bench.rows("SELECT count(*) FROM samples WHERE day = DATE '2026-11-23'").await;
    assert_eq!(rows, [json!([5])]);
}

#[tokio::test]
async fn head_rows_are_found_by_what_pins_the_leading_columns() {
    let bench = Bench::new();
    let rows =
        [run("a", 3, DAY_MS, DAY_MS + 10, 1), run("b", 3, DAY_MS, DAY_MS + 10, 1), run("c", 3, DAY_MS, DAY_MS + 10, 1)];
    bench.head(schemas::samples(), batch(&rows), Lane::InOrder, true);
    let plan = bench.plan("SELECT * FROM samples WHERE metric IN ('a', 'c') AND series_id = 1").await;
    assert!(plan.contains("HeadExec: partitions=1, rows=20"), "{plan}");
    let rows =
        bench.rows("SELECT DISTINCT metric, series_id FROM samples WHERE metric IN ('a', 'c') AND series_id = 1").await;
    assert_eq!(rows.len(), 2);
    let plan = bench.plan("SELECT * FROM samples WHERE metric = 'nothing'").await;
    assert!(plan.contains("EmptyExec"), "{plan}");
}

#[tokio::test]
async fn the_latest_of_late_rows_wins() {
    let bench = Bench::new();
    let samples_of =
        |value: i32| samples(&[("a", 1, DAY_MS, value.into()), ("a", 1, DAY_MS + i64::from(value), value.into())]);
    bench.file(schemas::samples(), &samples_of(1), Lane::InOrder).await;
    bench.file(schemas::samples(), &samples_of(2), Lane::Late).await;
    let all = "SELECT value FROM samples ORDER BY ts";
    assert_eq!(bench.rows(all).await, [json!([2.0]), json!([1.0]), json!([2.0])], "file over file");
    bench.head(schemas::samples(), samples_of(3), Lane::Late, true);
    assert_eq!(bench.rows(all).await, [json!([3.0]), json!([1.0]), json!([2.0]), json!([3.0])], "head over file");
    bench.head(schemas::samples(), samples(&[("a", 1, DAY_MS, 4.0), ("a", 1, DAY_MS, 5.0)]), Lane::Late, false);
    let rows = bench.rows(all).await;
    assert_eq!(rows[0], json!([5.0]), "later over earlier row of one batch");
    assert_eq!(bench.rows("SELECT count(*) FROM samples").await, [json!([4])]);
}

#[tokio::test]
async fn a_filter_on_values_does_not_bring_back_what_was_replaced() {
    let bench = Bench::new();
    bench
        .file(schemas::samples(), &samples(&[("a", 1, DAY_MS, 10.0), ("a", 1, DAY_MS + 1, 11.0)]), Lane::InOrder)
        .await;
    bench.file(schemas::samples(), &samples(&[("a", 1, DAY_MS, 1.0)]), Lane::Late).await;
    for sql in [
        "SELECT value FROM samples WHERE value > 5",
        "SELECT value FROM samples WHERE metric = 'a' AND value > 5",
        "SELECT value FROM samples WHERE metric = 'a' AND series_id = 1 AND value > 5 LIMIT 10",
        "SELECT value FROM metrics WHERE value > 5",
    ] {
        let rows = bench.rows(sql).await;
        assert_eq!(rows, [json!([11.0])], "{sql}");
    }
    assert_eq!(bench.rows("SELECT value FROM samples WHERE value < 5").await, [json!([1.0])]);
}

#[tokio::test]
async fn only_days_with_late_rows_are_merged() {
    let bench = Bench::new();
    for day in 0..3 {
        let start = DAY_MS + day * DAY;
        bench.file(schemas::samples(), &batch(&[run("a", 2, start, start + 10, 1)]), Lane::InOrder).await;
    }
    bench.file(schemas::samples(), &samples(&[("a", 0, DAY_MS + DAY, 9.0)]), Lane::Late).await;
    let today = DAY_MS + 2 * DAY;
    bench.head(schemas::samples(), batch(&[run("a", 2, today + 10, today + 20, 1)]), Lane::InOrder, true);
    let plan = bench.plan("SELECT * FROM samples").await;
    let merged = plan.lines().skip_while(|l| !l.contains("DedupExec")).collect::<Vec<_>>().join("\n");
    assert!(merged.contains("day=2026-11-23"), "{plan}");
    assert!(!merged.contains("day=2026-11-22") && !merged.contains("day=2026-11-24"), "{plan}");
    assert!(!merged.contains("HeadExec"), "{plan}");
    let plan = bench.plan("SELECT * FROM samples WHERE day <> DATE '2026-11-23'").await;
    assert!(!plan.contains("DedupExec"), "{plan}");
    assert_eq!(bench.rows("SELECT count(*), max(value) FROM samples").await, [json!([80, 9.0])]);
}

#[tokio::test]
async fn a_dataset_partitioned_by_its_first_column_keeps_one_row_a_key_and_partition() {
    use crate::testing::series;
    let bench = Bench::new();
    let dataset = schemas::series();
    bench.file(dataset, &series(DAY_MS, &[("a", 1, &[("job", "old")])]), Lane::InOrder).await;
    bench.file(dataset, &series(DAY_MS + DAY, &[("a", 1, &[("job", "old")])]), Lane::InOrder).await;
    bench.head(dataset, series(DAY_MS, &[("a", 1, &[("job", "new")])]), Lane::Late, true);
    let rows = bench.rows("SELECT day, labels['job'] FROM series ORDER BY day").await;
    assert_eq!(rows, [json!(["2026-11-22", "new"]), json!(["2026-11-23", "old"])]);
}

#[tokio::test]
async fn files_in_order_are_read_in_order_without_a_sort() {
    let bench = Bench::new();
    for hour in 0..6 {
        let start = DAY_MS + hour * HOUR_MS;
        let runs = [run("a", 4, start, start + HOUR_MS, 60_000), run("b", 4, start, start + HOUR_MS, 60_000)];
        bench.file(schemas::samples(), &batch(&runs), Lane::InOrder).await;
    }
    let sql = "SELECT metric, series_id, ts, value FROM samples ORDER BY metric, series_id, ts";
    let plan = bench.plan(sql).await;
    assert!(!plan.contains("SortExec"), "{plan}");
    let rows = bench.rows(sql).await;
    assert_eq!(rows.len(), 6 * 8 * 60);
    let keys: Vec<_> = rows.iter().map(|r| (r[0].to_string(), r[1].as_i64(), r[2].to_string())).collect();
    assert!(keys.is_sorted());

    let start = DAY_MS + 6 * HOUR_MS;
    bench.head(schemas::samples(), batch(&[run("a", 4, start, start + HOUR_MS, 60_000)]), Lane::InOrder, true);
    let plan = bench.plan(sql).await;
    assert!(!plan.contains("SortExec") && plan.contains("HeadExec"), "{plan}");
    assert_eq!(bench.rows(sql).await.len(), 6 * 8 * 60 + 4 * 60);
}

#[tokio::test]
async fn files_that_do_not_overlap_share_a_group() {
    let bench = Bench::new();
    for (name, start) in [("a", 0), ("b", 0), ("c", 0), ("d", 0), ("e", 0), ("f", 0), ("g", 0), ("h", 0), ("i", 0)] {
        bench.file(schemas::samples(), &batch(&[run(name, 2, DAY_MS + start, DAY_MS + 100, 10)]), Lane::InOrder).await;
    }
    let plan = bench.plan("SELECT metric, ts FROM samples ORDER BY metric, series_id, ts").await;
    assert!(!plan.contains("SortExec"), "{plan}");
    let rows = bench.rows("SELECT metric FROM samples ORDER BY metric, series_id, ts").await;
    assert_eq!(rows.len(), 9 * 20);
    assert!(rows.is_sorted_by_key(|r| r[0].to_string()));
}

#[tokio::test]
async fn a_file_of_a_foreign_engine_is_not_taken_for_sorted() {
    let bench = Bench::new();
    let foreign = data_file(Lane::InOrder, 1, false);
    let rows = samples(&[("b", 1, DAY_MS, 1.0), ("a", 1, DAY_MS, 2.0)]);
    bench.file_as(schemas::samples(), &rows, foreign).await;
    let rows = bench.rows("SELECT metric FROM samples ORDER BY metric, series_id, ts").await;
    assert_eq!(rows, [json!(["a"]), json!(["b"])]);
    assert_eq!(bench.rows("SELECT count(*) FROM samples").await, [json!([2])]);
}

#[tokio::test]
async fn count_is_answered_from_the_file_list() {
    let bench = Bench::new();
    bench.file(schemas::samples(), &batch(&[run("a", 2, DAY_MS, DAY_MS + 100, 1)]), Lane::InOrder).await;
    assert_eq!(bench.rows("SELECT count(*) FROM samples").await, [json!([200])]);
    assert!(bench.store.reads().is_empty());
}

/// Two whole days of 40 metrics with 5 series each, and a day of 24 hourly files.
async fn big() -> (Bench, Path, BTreeSet<Path>) {
    const NAMES: [&str; 20] =
        ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];
    let bench = Bench::new();
    let runs = |start, end| batch(&NAMES.map(|name| run(name, 5, start, end, 15_000)));
    let whole = bench.file(schemas::samples(), &runs(DAY_MS, DAY_MS + DAY), Lane::InOrder).await;
    bench.file(schemas::samples(), &runs(DAY_MS + 2 * DAY, DAY_MS + 3 * DAY), Lane::InOrder).await;
    let mut hourly = BTreeSet::new();
    for hour in 0..24 {
        let start = DAY_MS + DAY + hour * HOUR_MS;
        hourly.insert(bench.file(schemas::samples(), &runs(start, start + HOUR_MS), Lane::InOrder).await);
    }
    (bench, whole, hourly)
}

#[tokio::test]
async fn a_needle_reads_only_the_pages_that_can_hold_it() {
    let (bench, whole, _) = big().await;
    let engine = bench.engine();
    let sql = "SELECT ts, value FROM samples WHERE metric = 'k' AND series_id = 3 \
               AND ts >= TIMESTAMP '2026-11-22T00:00:00Z' AND ts < TIMESTAMP '2026-11-23T00:00:00Z'";
    let rows = crate::testing::rows(&engine, sql).await.unwrap();
    assert_eq!(rows.len(), 5_760);
    let reads = bench.store.reads();
    let files: BTreeSet<_> = reads.iter().map(|(path, _)| path.clone()).collect();
    assert_eq!(files, BTreeSet::from([whole.clone()]), "only the file of the day");

    // Again, now with the footer in memory: what is left are pages.
    let rows = crate::testing::rows(&engine, sql).await.unwrap();
    assert_eq!(rows.len(), 5_760);
    let pages = bench.store.reads();
    let bytes: u64 = pages.iter().map(|(_, range)| range.end - range.start).sum();
    let size = object_store::ObjectStoreExt::head(&bench.store.inner, &whole).await.unwrap().size;
    // Four columns; a dictionary and at most two pages of 8,192 rows each, of 576,000 rows.
    assert!(pages.len() <= 12, "{pages:?}");
    assert!(bytes * 20 < size, "bytes={bytes} size={size}");
}

#[tokio::test]
async fn a_needle_over_many_files_reads_a_few_pages_of_each() {
    let (bench, _, hourly) = big().await;
    let engine = bench.engine();
    let sql = "SELECT count(value) FROM samples WHERE metric = 'k' AND series_id = 3 \
               AND ts >= TIMESTAMP '2026-11-23T00:00:00Z' AND ts < TIMESTAMP '2026-11-24T00:00:00Z'";
    for round in 0..2 {
        assert_eq!(crate::testing::rows(&engine, sql).await.unwrap(), [json!([5_760])]);
        let reads = bench.store.reads();
        let files: BTreeSet<_> = reads.iter().map(|(path, _)| path.clone()).collect();
        assert_eq!(files, hourly);
        let footers = if round == 0 { 24 } else { 0 };
        assert!(reads.len() <= 24 * 12 + footers, "round={round} reads={}", reads.len());
    }
}

#[tokio::test]
async fn bounds_keep_files_closed_that_cannot_match() {
    let (bench, ..) = big().await;
    for (sql, files) in [
        ("SELECT max(value) FROM samples WHERE metric = 'zz'", 0),
        ("SELECT max(value) FROM samples WHERE metric = 'a' AND day = DATE '2026-11-24'", 1),
        (
            "SELECT max(value) FROM samples WHERE ts >= TIMESTAMP '2026-11-23T05:00:00Z' AND ts < TIMESTAMP '2026-11-23T07:00:00Z'",
            2,
        ),
        ("SELECT max(value) FROM samples WHERE series_id > 1000", 0),
        ("SELECT max(value) FROM metrics WHERE timestamp >= TIMESTAMP '2026-11-24T00:00:00Z'", 1),
    ] {
        bench.rows(sql).await;
        let read: BTreeSet<_> = bench.store.reads().into_iter().map(|(path, _)| path).collect();
        assert_eq!(read.len(), files, "{sql}");
    }
}

#[tokio::test]
async fn late_rows_found_in_different_batches_are_still_one_key() {
    let bench = Bench::new();
    // More rows than a batch holds, each key written twice.
    let first: Vec<Sample> = (0..20_000).map(|i| ("a", 1, DAY_MS + i, 1.0)).collect();
    let second: Vec<Sample> = (0..20_000).map(|i| ("a", 1, DAY_MS + i, 2.0)).collect();
    bench.file(schemas::samples(), &samples(&first), Lane::InOrder).await;
    bench.file(schemas::samples(), &samples(&second), Lane::Late).await;
    let rows = bench.rows("SELECT count(*), min(value), max(value) FROM samples").await;
    assert_eq!(rows, [json!([20_000, 2.0, 2.0])]);
}

//! Functions over times and counters.

use storage::Lane;

use crate::{
    ErrorKind,
    testing::{
        Bench, DAY_MS,
        books::{ask, try_ask},
        samples,
    },
};

#[tokio::test]
async fn times_are_cut_to_buckets_as_timescale_does() {
    let bench = Bench::new();
    for (call, expected) in [
        ("time_bucket('5 minutes', timestamp '2026-11-22 10:07:31')", "2026-11-22T10:05:00.000Z"),
        ("time_bucket(interval '1 day', '2026-11-22T10:07:31Z')", "2026-11-22T00:00:00.000Z"),
        // Weeks are from Monday, and 2000-01-03 is one.
        ("time_bucket('1 week', timestamp '2026-11-22 10:00:00')", "2026-11-16T00:00:00.000Z"),
        ("time_bucket('2 days', timestamp '2000-01-02 10:00:00')", "2000-01-01T00:00:00.000Z"),
        ("time_bucket('1 month', timestamp '2026-11-22 10:00:00')", "2026-11-01T00:00:00.000Z"),
        ("time_bucket('2 months', timestamp '2026-12-22')", "2026-11-01T00:00:00.000Z"),
        ("time_bucket('5 months', timestamp '1999-12-31')", "1999-08-01T00:00:00.000Z"),
        ("time_bucket('1 year', timestamp '1969-12-31')", "1969-01-01T00:00:00.000Z"),
        // Of the origin of months only the month matters.
        ("time_bucket('3 months', timestamp '2026-03-22', timestamp '2026-02-15')", "2026-02-01T00:00:00.000Z"),
        (
            "time_bucket('1 hour', timestamp '2026-11-22 10:07:00', timestamp '2000-01-01 00:30:00')",
            "2026-11-22T09:30:00.000Z",
        ),
        ("time_bucket('1 week', date '2026-11-22')", "2026-11-16"),
        ("time_bucket('1 month', date '2026-11-22')", "2026-11-01"),
        ("time_bucket('1 month', CAST(NULL AS TIMESTAMP)) IS NULL", "true"),
    ] {
        assert_eq!(ask(&bench, &format!("SELECT {call}")).await, [expected], "{call}");
    }
}

#[tokio::test]
async fn widths_that_are_none_are_refused() {
    let bench = Bench::new();
    for (call, why) in [
        ("time_bucket('1 month 1 day', timestamp '2026-11-22')", "months differ in length"),
        ("time_bucket('0 seconds', timestamp '2026-11-22')", "at least a microsecond"),
        ("time_bucket('-1 month', timestamp '2026-11-22')", "greater than 0"),
        ("time_bucket(5, timestamp '2026-11-22')", "write time_bucket(interval, time[, origin])"),
        ("time_bucket('1 day', 5)", "write time_bucket(interval, time[, origin])"),
    ] {
        let error = try_ask(&bench, &format!("SELECT {call}")).await.expect_err(call);
        assert!(error.to_string().contains(why), "{call}: {error}");
        assert_eq!(error.kind, ErrorKind::Invalid, "{call}: {error}");
    }
}

#[tokio::test]
async fn a_comparison_with_a_bucket_is_one_of_times() {
    let bench = Bench::new();
    let rows = samples(&[("up", 1, DAY_MS, 1.0), ("up", 1, DAY_MS + 3_600_000, 2.0)]);
    bench.file(schemas::samples(), &rows, Lane::InOrder).await;
    let sql = "SELECT count(*) FROM samples WHERE time_bucket('1 hour', ts) = timestamptz '2026-11-22T01:00:00Z'";
    assert_eq!(ask(&bench, sql).await, ["1"]);
    let plan = bench.plan(sql).await;
    assert!(!plan.contains("time_bucket"), "{plan}");
}

/// A counter that restarts, with a marker of a series that ended, a minute apart.
async fn counter() -> Bench {
    let bench = Bench::new();
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let values = [10.0, 15.0, 3.0, stale, 7.0, 7.0];
    let at = |minute: i64| DAY_MS + minute * 60_000;
    let rows: Vec<_> = (0_i64..).zip(values).map(|(minute, value)| ("hits_total", 1, at(minute), value)).collect();
    bench.file(schemas::samples(), &samples(&rows), Lane::InOrder).await;
    bench
}

#[tokio::test]
async fn a_counter_rises_over_restarts_and_gaps() {
    let bench = counter().await;
    let sql =
        "SELECT counter_increase(value) OVER (PARTITION BY metric, series_id ORDER BY ts) FROM samples ORDER BY ts";
    assert_eq!(ask(&bench, sql).await, ["-", "5.0", "8.0", "8.0", "12.0", "12.0"]);
    let sql = "SELECT counter_increase(value) OVER (PARTITION BY series_id ORDER BY ts \
               RANGE BETWEEN INTERVAL '1 minute' PRECEDING AND CURRENT ROW) FROM samples ORDER BY ts";
    assert_eq!(ask(&bench, sql).await, ["-", "5.0", "3.0", "-", "-", "0.0"]);
    let sql = "SELECT DISTINCT counter_increase(value) OVER (PARTITION BY series_id ORDER BY ts \
               ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) FROM samples";
    assert_eq!(ask(&bench, sql).await, ["12.0"]);
    let error = try_ask(&bench, "SELECT counter_increase('x') OVER () FROM samples").await.unwrap_err();
    assert!(error.to_string().contains("counter_increase(value)"), "{error}");
}

/// Samples of 100 series and events beside them, joined by time: the idiom of the cookbook against an inequality.
#[tokio::test]
async fn the_last_sample_before_an_event_is_found_by_one_sort() {
    let bench = Bench::new();
    let rows: Vec<_> = (0..100_i64)
        .flat_map(|id| (0..100_i64).map(move |at| (id, at)))
        .map(|(id, at)| ("load", id, DAY_MS + at * 60_000, f64::from(u16::try_from(id * 100 + at).unwrap())))
        .collect();
    bench.file(schemas::samples(), &samples(&rows), Lane::InOrder).await;
    let events = "SELECT i.value % 100 AS id, \
                  arrow_cast((1795305630 + i.value * 3) * 1000000, 'Timestamp(Microsecond, Some(\"UTC\"))') AS at \
                  FROM generate_series(0, 1999) AS i(value)";
    let by_sort = format!(
        "WITH events AS ({events}), both_of AS ( \
           SELECT series_id AS id, ts AS at, value, false AS is_event FROM samples WHERE metric = 'load' \
           UNION ALL SELECT id, at, NULL, true FROM events), \
         carried AS (SELECT id, at, is_event, last_value(value) IGNORE NULLS OVER ( \
           PARTITION BY id ORDER BY at, is_event ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS value FROM both_of) \
         SELECT id, at, value FROM carried WHERE is_event"
    );
    let by_inequality = format!(
        "WITH events AS ({events}) SELECT id, at, first_value(value ORDER BY ts DESC) AS value \
         FROM events JOIN samples ON series_id = id AND ts <= at WHERE metric = 'load' GROUP BY id, at"
    );
    let sums = |sql: &str| format!("SELECT count(*), sum(value * (id + 1)) FROM ({sql})");
    let sorted = ask(&bench, &sums(&by_sort)).await;
    let joined = ask(&bench, &sums(&by_inequality)).await;
    assert_eq!(sorted, joined);
    assert!(sorted[0].starts_with("2000 "), "{sorted:?}");
    let plan = bench.plan(&by_sort).await;
    assert!(plan.contains("BoundedWindowAggExec") && !plan.contains("JoinExec"), "{plan}");
}

//! PromQL in SQL: what calls answer, what they refuse and where, and that they need no place of their own.

use serde_json::{Value, json};
use storage::Lane;

use crate::{
    Config, Engine, ErrorKind, Result,
    testing::{Bench, DAY_MS, Sample, rows, samples, series},
};

const MINUTE_MS: i64 = 60_000;

/// Two series over five minutes before the day, which is now: `requests_total` grows by 60 and 120 a minute.
async fn bench() -> Bench {
    let bench = Bench::new();
    let from = DAY_MS - 5 * MINUTE_MS;
    let labelled: [crate::testing::Labelled<'_>; 2] = [
        ("requests_total", 1, &[("instance", "a"), ("job", "api")]),
        ("requests_total", 2, &[("instance", "b"), ("job", "api"), ("team", "pay")]),
    ];
    bench.file(schemas::series(), &series(from, &labelled), Lane::InOrder).await;
    let sample = |id: i64, at: i64| -> Sample {
        let value = (60 * id * at) as f64;
        ("requests_total", id, from + at * MINUTE_MS, value)
    };
    let of = |id: i64| (0..5).map(move |at| sample(id, at)).collect::<Vec<_>>();
    bench.file(schemas::samples(), &samples(&[of(1), of(2)].concat()), Lane::InOrder).await;
    bench
}

async fn ask(engine: &Engine, sql: &str) -> Vec<Value> {
    rows(engine, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_has_a_row_for_each_series_and_step() {
    let engine = bench().await.engine();
    let sql = "SELECT time, value, labels['instance'] AS i FROM promql('rate(requests_total[2m])', \
               now() - interval '3 minutes', '2026-11-21T23:59:00Z', '1m') ORDER BY i, time";
    let answer = ask(&engine, sql).await;
    let expected = json!([
        ["2026-11-21T23:57:00.000Z", 1.0, "a"],
        ["2026-11-21T23:58:00.000Z", 1.0, "a"],
        ["2026-11-21T23:59:00.000Z", 1.0, "a"],
        ["2026-11-21T23:57:00.000Z", 2.0, "b"],
        ["2026-11-21T23:58:00.000Z", 2.0, "b"],
        ["2026-11-21T23:59:00.000Z", 2.0, "b"],
    ]);
    assert_eq!(json!(answer), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_are_a_map_and_columns_where_they_are_asked_for() {
    let engine = bench().await.engine();
    let sql =
        "SELECT * FROM promql_instant('requests_total', '2026-11-21 23:59:00', 'team, instance') ORDER BY instance";
    let time = "2026-11-21T23:59:00.000Z";
    let map = |pairs: Value| pairs;
    let expected = json!([
        [time, 240.0, map(json!({"__name__": "requests_total", "instance": "a", "job": "api"})), null, "a"],
        [
            time,
            480.0,
            map(json!({"__name__": "requests_total", "instance": "b", "job": "api", "team": "pay"})),
            "pay",
            "b"
        ],
    ]);
    assert_eq!(json!(ask(&engine, sql).await), expected);
    // Names of functions are in any case; a call joins and is filtered like a table.
    let sql = "SELECT sum(p.value) FROM PROMQL_INSTANT('requests_total', now(), 'job') p \
               JOIN (VALUES ('api')) AS j(name) ON p.job = j.name WHERE value > 300";
    assert_eq!(json!(ask(&engine, sql).await), json!([[480.0]]));
    assert_eq!(json!(ask(&engine, "SELECT count(*) FROM promql_instant('requests_total', now())").await), json!([[2]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn scalars_have_no_labels_and_range_vectors_all_their_samples() {
    let engine = bench().await.engine();
    let scalar = ask(&engine, "SELECT value, labels FROM promql_instant('1 + 1', 1795305600)").await;
    assert_eq!(json!(scalar), json!([[2.0, {}]]));
    let steps = ask(&engine, "SELECT count(*), max(value) FROM promql('time()', 0, 100, interval '10 seconds')").await;
    assert_eq!(json!(steps), json!([[11, 100.0]]));
    let raw = "SELECT count(*), min(value), max(value) FROM promql_instant('requests_total{job=\"api\"}[10m]', now())";
    assert_eq!(json!(ask(&engine, raw).await), json!([[10, 0.0, 480.0]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_the_same_in_batches_of_any_size() {
    let engine = bench().await.engine();
    let ones = "SELECT count(*), sum(value) FROM promql('vector(1) or requests_total * 0', 1795000000, 1795010000, 1)";
    assert_eq!(json!(ask(&engine, ones).await), json!([[10_001, 10_001.0]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_call_is_told_before_anything_is_read() {
    let bench = bench().await;
    let engine = bench.engine();
    bench.store.reads();
    for (call, why) in [
        ("promql('up')", "write promql('expression', start, end, step"),
        ("promql('up', now(), now(), '1m', 'job', 'x')", "arguments=6"),
        ("promql('up', 'yesterday', now(), '1m')", "start is no time"),
        ("promql('up', NULL, now(), '1m')", "start is NULL"),
        ("promql('up', now(), now() - interval '1 hour', '1m')", "the end is before the start"),
        ("promql('up', now() - interval '1 hour', now(), '1 month')", "months differ"),
        ("promql('up', now() - interval '1 hour', now(), interval '1 month')", "months differ"),
        ("promql('up', now() - interval '1 hour', now(), 'often')", "step is no duration"),
        ("promql('up', now() - interval '1 hour', now(), 0)", "at least a millisecond"),
        ("promql('up', now() - interval '100 days', now(), 1)", "maximum resolution of 11,000 points"),
        ("promql('up[5m]', now() - interval '1 hour', now(), 60)", "invalid expression type"),
        ("promql_instant('\"text\"', now())", "is a string"),
        ("promql_instant('up', now(), 'a,,b')", "a label has no name"),
        ("promql_instant('up', now(), 'job,value')", "labels['value']"),
        ("promql_instant('up', now(), 'job,job')", "two columns"),
        ("promql_instant(concat('u', 'p'), random())", "time must be known"),
        ("pg_ls_dir('/')", "no such table function"),
        ("read_csv('/etc/passwd')", "no such table function"),
    ] {
        let sql = format!("SELECT * FROM {call}");
        let error = rows(&engine, &sql).await.expect_err(&sql);
        assert!(error.to_string().contains(why), "{sql}: {error}");
        assert_eq!(error.kind, ErrorKind::Invalid, "{sql}: {error}");
    }
    assert!(bench.store.reads().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_expression_is_at_its_place_in_the_statement() {
    let engine = bench().await.engine();
    let error = rows(&engine, "SELECT *\nFROM promql('sum(up) by', 0, 1, 1)").await.unwrap_err();
    assert!(error.to_string().starts_with("promql: 1:"), "{error}");
    assert_eq!(error.position.map(|at| at.line), Some(2), "{error}");
    let error = rows(&engine, "SELECT * FROM promql_instant('up + ', 1)").await.unwrap_err();
    let position = error.position.map(|at| (at.line, at.column));
    assert!(position.is_some_and(|(line, column)| line == 1 && (34..=37).contains(&column)), "{error} {position:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_shows_the_call_and_what_it_read() {
    let bench = bench().await;
    let sql = "SELECT max(value) FROM promql('sum(requests_total)', '2026-11-21T23:55:00Z', now(), '1m')";
    let plan = bench.plan(sql).await;
    assert!(plan.contains("PromqlExec: promql=\"sum(requests_total)\", start_ms="), "{plan}");
    let analyzed = format!("{:?}", ask(&bench.engine(), &format!("EXPLAIN ANALYZE {sql}")).await);
    assert!(analyzed.contains("samples_read=10") && analyzed.contains("output_rows=6"), "{analyzed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_share_the_one_place_that_their_query_has() {
    let bench = bench().await;
    let engine = bench.engine_with(Config { concurrent_max: 1, ..Config::default() });
    let call = "SELECT value FROM promql_instant('sum(requests_total)', now())";
    let sql = format!("SELECT sum(value) FROM ({call} UNION ALL {call} UNION ALL {call})");
    let asked = futures::future::join_all((0..4).map(|_| rows(&engine, &sql)));
    let all = tokio::time::timeout(std::time::Duration::from_secs(60), asked).await.expect("no query waits for itself");
    for answer in all {
        assert_eq!(json!(answer.unwrap()), json!([[2160.0]]));
    }
    // And gives it back.
    assert_eq!(json!(ask(&engine, "SELECT 1").await), json!([[1]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_promql_hold_within_sql() {
    let bench = bench().await;
    let promql = crate::PromqlConfig { samples_max: 4, ..crate::PromqlConfig::default() };
    let engine = bench.engine_with(Config { promql, ..Config::default() });
    let answer: Result<_> = rows(&engine, "SELECT * FROM promql_instant('sum(rate(requests_total[5m]))', now())").await;
    let error = answer.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Execution, "{error}");
    assert!(error.to_string().starts_with("promql_instant: "), "{error}");
}

//! Limits, the session's walls, and what is counted.

use futures::StreamExt;
use serde_json::json;
use storage::Lane;

use crate::{
    Config, ErrorKind,
    testing::{Bench, DAY_MS, Sample, rows, samples, series},
};

#[tokio::test]
async fn tables_are_the_datasets_and_the_views() {
    let bench = Bench::new();
    let names = bench
        .rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name")
        .await;
    let views = crate::views::VIEWS.iter().map(|view| view.name);
    let mut wanted: Vec<&str> =
        schemas::all().iter().map(|dataset| dataset.name).chain(["metrics"]).chain(views).collect();
    wanted.sort_unstable();
    assert_eq!(names, wanted.iter().map(|name| json!([name])).collect::<Vec<_>>());
    assert!(bench.rows("SHOW TABLES").await.len() > 6);
    let columns = bench.rows("DESCRIBE samples").await;
    assert_eq!(
        columns.iter().map(|c| c[0].as_str().unwrap()).collect::<Vec<_>>(),
        ["day", "metric", "series_id", "ts", "value", "start_ts"]
    );
}

#[tokio::test]
async fn nothing_outside_the_tables_can_be_read() {
    let engine = Bench::new().engine();
    for sql in [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM parquet_metadata('/etc/passwd')",
        "SELECT read_file('/etc/passwd')",
        "SELECT repeat('x', 2000000000)",
        "SELECT generate_series(1, 10000000000)",
        "SELECT * FROM other.public.samples",
        "SELECT * FROM passwd",
        "SELECT '1', '2', '3' UNION ALL TABLE information_schema.df_settings",
    ] {
        let error = rows(&engine, sql).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{sql}: {error}");
    }
}

#[tokio::test]
async fn an_unknown_column_has_a_position() {
    let error = rows(&Bench::new().engine(), "SELECT\n  nothing FROM samples").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    assert_eq!(error.position.map(|p| (p.line, p.column)), Some((2, 3)), "{error}");
}

#[tokio::test]
async fn a_failing_expression_is_the_querys_fault() {
    let error =
        rows(&Bench::new().engine(), "SELECT 1 / (i - i) FROM generate_series(1, 2) AS g(i)").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Execution, "{error}");
}

#[tokio::test]
async fn an_answer_with_too_many_rows_fails_and_says_what_to_do() {
    let bench = Bench::new();
    let engine = bench.engine_with(Config { rows_max: 10, ..Config::default() });
    assert_eq!(rows(&engine, "SELECT * FROM generate_series(1, 10)").await.unwrap().len(), 10);
    let error = rows(&engine, "SELECT * FROM generate_series(1, 11)").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Execution);
    assert!(error.to_string().contains("LIMIT") && error.to_string().contains("rows_max=10"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_limited() {
    let bench = Bench::new();
    let engine = bench.engine_with(Config { memory_bytes: 4 << 20, ..Config::default() });
    for sql in [
        "SELECT count(*) FROM (SELECT * FROM generate_series(1, 3000000) AS a(i) ORDER BY i * 7 % 1000003)",
        "SELECT i, count(*) FROM generate_series(1, 3000000) AS a(i) GROUP BY i ORDER BY 2 DESC, 1 LIMIT 1",
        "SELECT count(*) FROM generate_series(1, 2000000) AS a(i) JOIN generate_series(1, 2000000) AS b(j) ON i = j",
    ] {
        let error = rows(&engine, sql).await.err();
        let Some(error) = error else { continue };
        assert_eq!(error.kind, ErrorKind::Execution, "{sql}: {error}");
        assert!(error.to_string().contains("memory"), "{sql}: {error}");
    }
    let sorted = "SELECT * FROM generate_series(1, 3000000) AS a(i) ORDER BY i * 7 % 1000003";
    assert_eq!(rows(&engine, sorted).await.unwrap_err().kind, ErrorKind::Execution);
    assert_eq!(rows(&engine, "SELECT 1").await.unwrap(), [json!([1])], "others go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spill_folder_lets_a_sort_exceed_its_memory() {
    let dir = tempfile::tempdir().unwrap();
    let spill_dir = Some(dir.path().to_owned());
    let engine = Bench::new().engine_with(Config { memory_bytes: 32 << 20, spill_dir, ..Config::default() });
    let sql = "SELECT max(n) FROM (SELECT i, row_number() OVER (ORDER BY i * 7 % 1000003) AS n FROM generate_series(1, 3000000) AS a(i))";
    assert_eq!(rows(&engine, sql).await.unwrap(), [json!([3_000_000])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sorts_of_a_few_rows_need_no_room_for_many() {
    let dir = tempfile::tempdir().unwrap();
    let spill_dir = Some(dir.path().to_owned());
    let engine = Bench::new().engine_with(Config { memory_bytes: 64 << 20, spill_dir, ..Config::default() });
    // As a dashboard's panels are asked: at the same time, each with sorts of its own.
    let sort = |seed: u32| {
        format!(
            "SELECT max(n) AS n FROM (SELECT row_number() OVER (ORDER BY i * {seed} % 10007) AS n FROM generate_series(1, 20000) AS a(i))"
        )
    };
    let sql = format!("SELECT sum(n) FROM ({})", (1..=20).map(sort).collect::<Vec<_>>().join(" UNION ALL "));
    assert_eq!(rows(&engine, &sql).await.unwrap(), [json!([400_000])]);
}

#[tokio::test]
async fn time_is_limited() {
    let engine = Bench::new().engine_with(Config { timeout_ms: 200, ..Config::default() });
    for sql in [
        "SELECT count(*) FROM generate_series(1, 1000000) a(i) CROSS JOIN generate_series(1, 1000000) b(j) WHERE i * j % 7 = 1",
        "SELECT count(*) FROM generate_series(1, 10000) a(i) JOIN generate_series(1, 1000000000) b(j) ON i + j < 0",
        "SELECT count(*) FROM generate_series(1, 1000000) a(i) JOIN generate_series(1, 1000000) b(j) ON i % 2 = j % 2",
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        "SELECT count(*) FROM generate_series(1, 1000000000000)",
    ] {
        // An engine whose threads are stuck would still be stuck long after this.
        let result = tokio::time::timeout(std::time::Duration::from_secs(20), rows(&engine, sql)).await;
        let error = result.unwrap_or_else(|_| panic!("not stopped: {sql}")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Timeout, "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_join_that_multiplies_rows_is_stopped_for_good() {
    let engine = Bench::new().engine_with(Config { timeout_ms: 200, concurrent_max: 1, ..Config::default() });
    let sql = "SELECT count(*) FROM generate_series(1, 1000000) a(i) CROSS JOIN generate_series(1, 1000000) b(j) WHERE i * j % 7 = 1";
    assert_eq!(rows(&engine, sql).await.unwrap_err().kind, ErrorKind::Timeout);
    // The place is given back when the work has ended, and a query waits a few seconds for it.
    assert_eq!(rows(&engine, "SELECT 1").await.unwrap(), [json!([1])]);
}

#[tokio::test]
async fn a_deep_query_that_passes_the_gate_does_not_exhaust_the_stack() {
    let engine = Bench::new().engine();
    for sql in [
        format!("SELECT i{} FROM generate_series(1, 2) AS g(i)", "+i".repeat(190)),
        format!("SELECT count(*) FROM samples WHERE {}false", "value = 1 OR ".repeat(300)),
        format!("SELECT {}1{}", "abs(".repeat(40), ")".repeat(40)),
        format!("SELECT 1 {}", "UNION ALL SELECT 1 ".repeat(200)),
    ] {
        let result = rows(&engine, &sql).await;
        assert!(result.is_ok(), "{}…: {:?}", &sql[..40], result.err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_beyond_the_limit_wait_and_a_dropped_one_makes_room() {
    let bench = Bench::new();
    let engine = bench.engine_with(Config { concurrent_max: 1, ..Config::default() });
    let endless = "SELECT * FROM generate_series(1, 100000000000)";
    let mut first = engine.sql(endless).await.unwrap();
    assert!(first.stream.next().await.unwrap().is_ok());
    let second = {
        let engine = engine.clone();
        tokio::spawn(async move { rows(&engine, "SELECT 2").await })
    };
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(!second.is_finished(), "the second waits");
    drop(first);
    assert_eq!(second.await.unwrap().unwrap(), [json!([2])]);
}

#[tokio::test]
async fn a_query_that_finds_the_queue_full_is_told_to_come_later() {
    let engine = Bench::new().engine_with(Config { concurrent_max: 1, ..Config::default() });
    let _first = engine.sql("SELECT * FROM generate_series(1, 100000000000)").await.unwrap();
    let waiting: Vec<_> = (0..super::QUEUE_FACTOR)
        .map(|_| {
            let engine = engine.clone();
            tokio::spawn(async move { engine.sql("SELECT 2").await.map(drop) })
        })
        .collect();
    tokio::task::yield_now().await;
    let error = engine.sql("SELECT 3").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Overloaded, "{error}");
    assert!(waiting.iter().all(|task| !task.is_finished()));
}

#[tokio::test]
async fn work_that_is_cut_off_is_not_taken_for_a_short_answer() {
    let engine = Bench::new().engine();
    let (schema, work, deadline, _) =
        engine.begin("SELECT * FROM generate_series(1, 100000000000)", 0, |_| Ok(())).await.unwrap();
    work.task.abort();
    let count = engine.0.meter.begin();
    let mut stream = super::Bounded {
        work: Some(work),
        schema,
        deadline,
        rows: 0,
        rows_max: usize::MAX,
        timeout_ms: 60_000,
        count,
        run: None,
        killed: Box::pin(tokio_util::sync::CancellationToken::new().cancelled_owned()),
        _engine: engine,
    };
    let mut last = None;
    while let Some(item) = stream.next().await {
        last = Some(item);
    }
    assert!(matches!(last, Some(Err(_))));
}

#[tokio::test]
async fn a_view_is_fixed_for_a_query() {
    let bench = Bench::new();
    let first: Vec<Sample> = (0..50_000).map(|i| ("a", 1, DAY_MS + i, 1.0)).collect();
    bench.file(schemas::samples(), &samples(&first), Lane::InOrder).await;
    let answer = bench.engine().sql("SELECT ts FROM samples").await.unwrap();
    bench.head(schemas::samples(), samples(&[("a", 1, DAY_MS + 60_000, 1.0)]), Lane::InOrder, true);
    let read: usize = answer.collect().await.unwrap().iter().map(|b| b.num_rows()).sum();
    assert_eq!(read, 50_000);
}

#[tokio::test]
async fn now_is_the_clock_that_was_given() {
    assert_eq!(Bench::new().rows("SELECT now()").await, [json!(["2026-11-22T00:00:00.000Z"])]);
}

#[tokio::test]
async fn queries_are_counted_by_how_they_end() {
    let registry = prometheus::Registry::new();
    let bench = Bench::new();
    let catalog = bench.engine().0.catalog.clone();
    let engine = crate::Engine::new(Config::default(), catalog, storage::Clock::new(|| 0), &registry).unwrap();
    rows(&engine, "SELECT 1").await.unwrap();
    rows(&engine, "DROP TABLE x").await.unwrap_err();
    drop(engine.sql("SELECT 1").await.unwrap());
    let families = registry.gather();
    let queries = families.iter().find(|f| f.name() == "streamgauge_query_queries_total").unwrap();
    let count = |result: &str| {
        let of = |m: &&prometheus::proto::Metric| m.get_label().iter().any(|l| l.value() == result);
        queries.get_metric().iter().find(of).map_or(0.0, |m| m.get_counter().get_value())
    };
    assert_eq!((count("ok"), count("invalid"), count("canceled")), (1.0, 1.0, 1.0));
    let running = families.iter().find(|f| f.name() == "streamgauge_query_running").unwrap();
    assert_eq!(running.get_metric()[0].get_gauge().get_value(), 0.0);
}

#[tokio::test]
async fn sql_can_be_asked_at_another_time() {
    let engine = Bench::new().engine();
    let answer = engine.sql_at("SELECT CAST(now() AS BIGINT) / 1000000000 AS s", 1_795_348_800_000_000).await.unwrap();
    let rows = answer.collect().await.unwrap();
    let seconds = arrow::compute::cast(rows[0].column(0), &arrow::datatypes::DataType::Utf8).unwrap();
    assert_eq!(arrow::array::AsArray::as_string::<i32>(&seconds).value(0), "1795348800");
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_of_a_selector_come_with_their_markers_and_no_more_than_are_wanted() {
    let bench = Bench::new();
    let stale = f64::from_bits(promql::STALE);
    let rows = [("up", 1, DAY_MS, 1.0), ("up", 1, DAY_MS + 1_000, stale), ("up", 2, DAY_MS + 2_000, 3.0)];
    bench
        .file(
            schemas::series(),
            &series(DAY_MS, &[("up", 1, &[("job", "a")]), ("up", 2, &[("job", "b")])]),
            Lane::InOrder,
        )
        .await;
    bench.file(schemas::samples(), &samples(&rows), Lane::InOrder).await;
    let engine = bench.engine();
    let matchers = engine.parse("up").unwrap().selectors()[0].matchers().to_vec().into();
    let want = promql::Want { matchers, after_ms: DAY_MS - 1, to_ms: DAY_MS + 2_000, presence: true };
    let loaded = engine.samples(&want, 3).await.unwrap();
    let found = &loaded.samples[0];
    let all: Vec<(Vec<i64>, Vec<u64>)> = (0..found.labels.len())
        .map(|at| (found.floats_of(at).0.to_vec(), found.floats_of(at).1.iter().map(|value| value.to_bits()).collect()))
        .collect();
    assert_eq!(
        all,
        [
            (vec![DAY_MS, DAY_MS + 1_000], vec![1.0_f64.to_bits(), promql::STALE]),
            (vec![DAY_MS + 2_000], vec![3.0_f64.to_bits()])
        ]
    );
    assert!(found.labels[0].texts(&loaded.symbols).any(|pair| pair == ("job", "a")));
    assert_eq!(engine.samples(&want, 2).await.unwrap_err().kind, ErrorKind::Execution);
    let later = promql::Want { after_ms: DAY_MS + 1_000, ..want };
    assert_eq!(engine.samples(&later, 3).await.unwrap().samples[0].floats_count(), 1);
}

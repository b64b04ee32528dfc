//! PromQL, buckets and comments within SQL, asked of a running server over HTTP and of its folder without one.

use serde_json::Value;
use tempfile::tempdir;

use crate::support::server::{Server, binary, now_ms, run};

/// A counter that rises by one a second, a sample each 15 s for ten minutes up to now.
fn counter(server: &Server) -> i64 {
    let now = now_ms() / 15_000 * 15_000;
    let samples: Vec<(i64, f64)> =
        (0_i32..=40).map(|at| (now - i64::from(40 - at) * 15_000, f64::from(at * 15))).collect();
    assert_eq!(server.write("ticks_total", &samples, None).status, 204);
    now
}

#[test]
fn promql_in_sql_says_what_promql_says() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let now = counter(&server);
    let (start, end) = ((now - 300_000) / 1000, now / 1000);
    let expr = "rate(ticks_total[2m])";
    let rows = server.sql(&format!(
        "SELECT CAST(time AS BIGINT) / 1000000 AS second, value, job FROM promql('{expr}', {start}, {end}, '1m', 'job') \
         ORDER BY time"
    ));
    let path = format!(
        "/api/v1/query_range?query={}&start={start}&end={end}&step=60",
        expr.replace('[', "%5B").replace(']', "%5D")
    );
    let answer: Value = serde_json::from_str(&server.get(&path, None).body).unwrap();
    let values = answer["data"]["result"][0]["values"].as_array().expect("a series");
    assert_eq!(rows.len(), 6, "{rows:?}");
    for (row, value) in rows.iter().zip(values) {
        let fields: Vec<&str> = row.split(',').collect();
        assert_eq!(fields[0], value[0].to_string(), "{row} {value}");
        let (ours, theirs): (f64, f64) = (fields[1].parse().unwrap(), value[1].as_str().unwrap().parse().unwrap());
        assert_eq!(ours, theirs);
        assert_eq!(fields[2], "test");
    }
}

#[test]
fn errors_of_promql_have_a_place_in_the_statement() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let wrong = server.call("POST", "/api/v1/sql", None, b"SELECT *\nFROM promql_instant('sum(', now())");
    assert_eq!(wrong.status, 400);
    let body: Value = serde_json::from_str(&wrong.body).unwrap();
    assert_eq!(body["position"]["line"], 2, "{body}");
    assert!(body["error"].as_str().unwrap().starts_with("promql_instant: "), "{body}");
}

#[test]
fn a_server_with_one_place_answers_queries_with_calls() {
    let folder = tempdir().unwrap();
    std::fs::write(folder.path().join("gauge.yaml"), "sql: {concurrent_max: 1, timeout: 20s}\n").unwrap();
    let config = folder.path().join("gauge.yaml");
    let server = Server::start(folder.path(), &["--config", config.to_str().unwrap()]);
    counter(&server);
    let call = "SELECT value FROM promql_instant('count(ticks_total)', now())";
    let sql = format!("SELECT sum(value) FROM ({call} UNION ALL {call} UNION ALL {call})");
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..4).map(|_| scope.spawn(|| server.sql(&sql))).collect();
        for answer in asked {
            assert_eq!(answer.join().expect("an answer"), ["3.0"]);
        }
    });
}

#[test]
fn functions_and_comments_are_there_without_a_server_too() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let now = counter(&server);
    let end = now / 1000;
    let statements = [
        format!("SELECT value FROM promql_instant('ticks_total', {end})"),
        format!(
            "SELECT max(grown) FROM (SELECT counter_increase(value) OVER (ORDER BY timestamp) AS grown FROM metrics \
             WHERE metric = 'ticks_total' AND timestamp <= to_timestamp({end}))"
        ),
        "SELECT time_bucket('1 month', timestamptz '2026-11-22T10:00:00Z')".to_owned(),
        "SELECT count(*) > 10 FROM information_schema.columns WHERE table_name = 'costs' AND comment <> ''".to_owned(),
    ];
    let expected = ["600.0", "600.0", "2026-11-01T00:00:00.000Z", "true"];
    for (sql, expected) in statements.iter().zip(expected) {
        assert_eq!(server.sql(sql), [expected], "{sql}");
    }
    assert!(server.terminate().success());
    let data = folder.path().join("data");
    for (sql, expected) in statements.iter().zip(expected) {
        let (code, out, err) = run(binary().args(["sql", "--format", "csv", "--data-dir"]).arg(&data).arg(sql));
        assert_eq!(code, 0, "{sql}: {err}");
        assert_eq!(out.lines().nth(1), Some(expected), "{sql}: {out}");
    }
}

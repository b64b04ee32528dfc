//! The tables open in other engines: Python's `deltalake` and DuckDB find the same rows in the folder as SQL does here.

use std::{
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use crate::support::{
    process::{self, Home},
    wire::{self, v1},
};

const INSTALL: &str = "pip install deltalake duckdb";
/// Exit code of the script when a package is missing.
const MISSING: i32 = 77;
const METRICS: [&str; 3] = ["requests_total", "temperature_celsius", "queue_length"];
const SERIES: i64 = 20;
const SAMPLES: i64 = 300;
/// An hour between samples makes 13 days of them.
const STEP_MS: i64 = 3_600_000;
/// Before the first sample, so that all are past and within retention.
const BEFORE_NOW_MS: i64 = 20 * 86_400_000;

#[test]
fn deltalake_and_duckdb_find_the_rows_that_sql_finds() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::new(folder.path(), "storage: { flush_age: 1h }\n");
    let _server = home.start(&[]).expect("the server starts");
    let agent = process::agent(Duration::from_secs(30));
    let now_ms = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_millis();
    let start_ms = i64::try_from(now_ms).expect("fits for long") - BEFORE_NOW_MS;
    let write = |body: Vec<u8>| assert!(matches!(home.write(&agent, &body), Ok(200..=299)));
    // Three commits and a request that came twice. The last commit holds late rows only, between those of the others.
    let stretches = [0..SAMPLES / 2, SAMPLES / 2..SAMPLES];
    for hours in stretches {
        write(request(start_ms, hours.clone().filter(|hour| hour % 7 != 0)));
        write(request(start_ms, hours.filter(|hour| hour % 7 != 0)));
        home.flush();
    }
    write(request(start_ms, (0..SAMPLES).filter(|hour| hour % 7 == 0)));
    write(nested(start_ms));
    home.flush();

    let Some(found) = read_by_others(&home.data().join("tables/default")) else { return };
    let samples = rows(&home.sql(
        "SELECT metric, CAST(day AS VARCHAR) AS date, count(*), count(DISTINCT series_id), CAST(sum(value) AS VARCHAR), \
         CAST(min(ts) AS BIGINT), CAST(max(ts) AS BIGINT) FROM samples GROUP BY metric, day ORDER BY metric, day",
    ));
    let series = rows(&home.sql(
        "SELECT metric, CAST(day AS VARCHAR) AS date, count(*), count(DISTINCT series_id) FROM series \
         GROUP BY metric, day ORDER BY metric, day",
    ));
    let histograms = rows(&home.sql(
        "SELECT metric, CAST(day AS VARCHAR) AS date, count(*), CAST(sum(count_int) AS BIGINT), CAST(sum(sum) AS VARCHAR), \
         CAST(sum(array_length(positive_deltas)) AS BIGINT) FROM histograms GROUP BY metric, day ORDER BY metric, day",
    ));
    let exemplars = rows(&home.sql(
        "SELECT metric, CAST(day AS VARCHAR) AS date, count(*), CAST(sum(value) AS VARCHAR), \
         CAST(sum(cardinality(labels)) AS BIGINT) FROM exemplars GROUP BY metric, day ORDER BY metric, day",
    ));
    let metadata = rows(&home.sql("SELECT metric, type, unit, help FROM metadata ORDER BY metric"));
    assert_eq!((histograms.len(), exemplars.len(), metadata.len()), (2, 2, 1), "two days of each, one family");
    let total: i64 = samples.iter().map(|row| row[2].parse::<i64>().expect("a count")).sum();
    let sent = SERIES * SAMPLES * i64::try_from(METRICS.len()).expect("few");
    assert_eq!(total, sent, "the samples that were sent, each once");
    for reader in ["deltalake", "duckdb"] {
        assert_eq!(json!(texts(&found["samples"][reader])), json!(samples), "samples by {reader}");
        assert_eq!(json!(texts(&found["series"][reader])), json!(series), "series by {reader}");
        assert_eq!(json!(texts(&found["histograms"][reader])), json!(histograms), "histograms by {reader}");
        assert_eq!(json!(texts(&found["exemplars"][reader])), json!(exemplars), "exemplars by {reader}");
        assert_eq!(json!(texts(&found["metadata"][reader])), json!(metadata), "metadata by {reader}");
    }
}

/// All series at the hours given; values are whole, so that sums are exact in any order.
fn request(start_ms: i64, hours: impl Iterator<Item = i64>) -> Vec<u8> {
    let hours: Vec<i64> = hours.collect();
    let mut timeseries = Vec::new();
    for (at, metric) in (0_i64..).zip(METRICS) {
        for series in 0..SERIES {
            let value = |hour: &i64| f64::from(u32::try_from(at * 1_000_000 + series * 1000 + hour).expect("small"));
            let points: Vec<_> = hours.iter().map(|hour| (start_ms + hour * STEP_MS, value(hour))).collect();
            let instance = format!("host-{series}");
            timeseries.push(v1::series(&[("__name__", metric), ("instance", &instance), ("job", "test")], &points));
        }
    }
    wire::snappy(&v1::WriteRequest { timeseries, metadata: Vec::new() })
}

/// Two days of native histograms and of exemplars, and metadata of a family.
fn nested(start_ms: i64) -> Vec<u8> {
    let times = [start_ms, start_ms + 24 * STEP_MS];
    let histogram = |timestamp: &i64| wire::Histogram {
        count: Some(wire::Count::Int(7)),
        sum: 12.5,
        zero_count: Some(wire::ZeroCount::Int(1)),
        positive_spans: vec![wire::BucketSpan { offset: 1, length: 2 }],
        positive_deltas: vec![2, 2],
        timestamp: *timestamp,
        ..wire::Histogram::default()
    };
    let exemplar = |timestamp: &i64| {
        let labels = v1::labels(&[("span_id", "0001"), ("trace_id", "0af7651916cd43dd8448eb211c80319c")]);
        v1::Exemplar { labels, value: 0.25, timestamp: *timestamp }
    };
    let (histograms, exemplars) = (times.iter().map(histogram).collect(), times.iter().map(exemplar).collect());
    let labels = v1::labels(&[("__name__", "request_duration_seconds"), ("job", "test")]);
    let timeseries = vec![v1::TimeSeries { labels, histograms, exemplars, ..v1::TimeSeries::default() }];
    let metadata = vec![v1::MetricMetadata {
        r#type: 3,
        metric_family_name: "request_duration_seconds".into(),
        help: "Time to answer a request.".into(),
        unit: "seconds".into(),
    }];
    wire::snappy(&v1::WriteRequest { timeseries, metadata })
}

/// What the script finds; nothing if it cannot run here.
fn read_by_others(tables: &Path) -> Option<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/read_delta.py");
    let Ok(output) = Command::new("python3").arg(script).arg(tables).output() else {
        process::skipped("python3 is not installed", &format!("apt-get install -y python3-pip && {INSTALL}"));
        return None;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(MISSING) {
        process::skipped(errors.trim(), INSTALL);
        return None;
    }
    assert!(output.status.success(), "{errors}");
    Some(serde_json::from_slice(&output.stdout).expect("json"))
}

fn rows(csv: &[String]) -> Vec<Vec<String>> {
    csv.iter().map(|line| line.split(',').map(ToOwned::to_owned).collect()).collect()
}

/// Rows of the script with every cell as text.
fn texts(rows: &Value) -> Vec<Vec<String>> {
    let text = |cell: &Value| cell.as_str().map_or_else(|| cell.to_string(), ToOwned::to_owned);
    let cells = |row: &Value| row.as_array().expect("a row").iter().map(text).collect();
    rows.as_array().expect("rows").iter().map(cells).collect()
}

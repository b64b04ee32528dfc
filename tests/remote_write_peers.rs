//! Real senders: what Prometheus and vmagent scrape from a real `node_exporter` and send to us is what SQL gives back.
//!
//! Prometheus' own API is the oracle of the first test: every raw sample that it has of a stretch of time is in the
//! view `metrics` with the same labels, time and bits, and nothing else is. Our server is told to end in the middle
//! and started again; Prometheus tries again until it is back. For vmagent, which keeps nothing, the oracle is a
//! VictoriaMetrics that gets the same samples; it keeps values in decimal, so the last bits may differ.
//!
//! `STREAMGAUGE_SCRAPE_SECONDS=600` runs each for longer. Debian's Prometheus 2.42 sends protocol version 1 only and
//! its vmagent 1.79 snappy only; version 2 and zstd have tests of their own, with messages made by the tests.

#![allow(clippy::disallowed_methods, reason = "the test is the outside world: it reads the clock")]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime},
};

use arrow::{
    array::{AsArray as _, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMillisecondType},
    ipc::reader::StreamReader,
};
use serde_json::Value;

use crate::support::{
    process::{self, Home, Process, free_port},
    wire,
};

const INSTALL: &str = "apt-get install -y prometheus prometheus-node-exporter victoria-metrics";
/// Longest wait for the senders' queues to run empty.
const CATCH_UP_MAX: Duration = Duration::from_secs(60);

/// Raw samples: labels in one text → milliseconds → bits of the value.
type Samples = BTreeMap<String, BTreeMap<i64, u64>>;

#[test]
fn sql_has_exactly_the_samples_that_prometheus_has_although_the_server_restarts() {
    if let Some(missing) = ["prometheus", "prometheus-node-exporter"].into_iter().find(|p| !process::installed(p)) {
        return process::skipped(&format!("{missing} is not installed"), INSTALL);
    }
    let folder = tempfile::tempdir().expect("a folder");
    // Commits every few seconds, so that the answer comes from files, from the head and from both.
    let home = Home::new(folder.path(), "storage: { flush_age: 5s }\n");
    let server = home.start(&[]).expect("the server starts");
    let (_exporter, exporter_port) = start_node_exporter(folder.path());
    let (_prometheus, prometheus_url) = start_prometheus(folder.path(), &home, exporter_port);

    // A scrape that began before Prometheus' queue was there is not sent: look only at what is later.
    thread::sleep(Duration::from_secs(5));
    let start_ms = now_ms();
    let half = Duration::from_secs(process::setting("STREAMGAUGE_SCRAPE_SECONDS", 60) / 2);
    thread::sleep(half);
    assert!(server.terminate().success(), "a server told to end exits with 0");
    thread::sleep(Duration::from_secs(2));
    let _server = home.start(&[]).expect("the server starts again");
    thread::sleep(half);
    let end_ms = now_ms() - 1;

    let theirs = || samples_of_prometheus(&prometheus_url, start_ms, end_ms);
    let ours = || samples_of_sql(&home, start_ms, end_ms);
    let (theirs, ours) = caught_up(theirs, ours, |theirs, ours| theirs == ours);
    assert_many(&theirs, half);
    for (series, samples) in &theirs {
        assert_eq!(ours.get(series), Some(samples), "{series}");
    }
    for series in ours.keys() {
        assert!(theirs.contains_key(series), "prometheus has no {series}");
    }
    home.flush();
    assert_eq!(samples_of_sql(&home, start_ms, end_ms), theirs, "a flush changes no answer");
}

#[test]
fn sql_has_the_samples_that_vmagent_sends_to_us_and_to_victoria_metrics() {
    let needed = ["vmagent", "victoria-metrics", "prometheus-node-exporter"];
    if let Some(missing) = needed.into_iter().find(|p| !process::installed(p)) {
        return process::skipped(&format!("{missing} is not installed"), INSTALL);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::new(folder.path(), "storage: { flush_age: 5s }\n");
    let _server = home.start(&[]).expect("the server starts");
    let (_exporter, exporter_port) = start_node_exporter(folder.path());
    let (_victoria_metrics, vm_url) = start_victoria_metrics(folder.path());
    let start_ms = now_ms();
    let vmagent =
        start_vmagent(folder.path(), exporter_port, &[&home.url(wire::PATH), &format!("{vm_url}{}", wire::PATH)]);
    let length = Duration::from_secs(process::setting("STREAMGAUGE_SCRAPE_SECONDS", 60) / 3);
    thread::sleep(length);
    let end_ms = now_ms();
    // It sends what it has before it ends.
    assert!(vmagent.terminate().success(), "vmagent ends in order");

    let theirs = || samples_of_victoria_metrics(&vm_url, start_ms, end_ms);
    let ours = || samples_of_sql(&home, start_ms, end_ms);
    let (theirs, ours) = caught_up(theirs, ours, |theirs, ours| times(theirs) == times(ours));
    assert_many(&theirs, length / 2);
    assert_eq!(times(&ours), times(&theirs));
    for (series, samples) in &theirs {
        for (ts_ms, bits) in samples {
            let (their, our) = (f64::from_bits(*bits), f64::from_bits(ours[series][ts_ms]));
            assert!((their - our).abs() <= 1e-12 * our.abs(), "{series} at {ts_ms}: {their} against {our}");
        }
    }
}

/// Asks both sides until they agree, or a minute has passed; gives what they said last.
fn caught_up(
    theirs: impl Fn() -> Samples,
    ours: impl Fn() -> Samples,
    agree: impl Fn(&Samples, &Samples) -> bool,
) -> (Samples, Samples) {
    let begun = Instant::now();
    loop {
        let (their, our) = (theirs(), ours());
        if agree(&their, &our) || begun.elapsed() > CATCH_UP_MAX {
            return (their, our);
        }
        thread::sleep(Duration::from_secs(1));
    }
}

/// A test that compares nothing with nothing would pass.
fn assert_many(samples: &Samples, length: Duration) {
    let of = |name: &str| -> usize {
        samples.iter().filter(|(series, _)| series.contains(&format!("__name__={name:?}"))).map(|(_, s)| s.len()).sum()
    };
    let scrapes = usize::try_from(length.as_secs()).expect("short");
    for metric in ["up", "node_load1", "node_memory_MemAvailable_bytes", "node_cpu_seconds_total"] {
        assert!(of(metric) >= scrapes, "only {} samples of {metric} in {scrapes} scrapes", of(metric));
    }
    println!("compared series={} samples={}", samples.len(), samples.values().map(BTreeMap::len).sum::<usize>());
}

fn times(samples: &Samples) -> BTreeMap<&str, Vec<i64>> {
    samples.iter().map(|(series, samples)| (series.as_str(), samples.keys().copied().collect())).collect()
}

/// Labels as one text, in name order.
fn series_text<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let sorted: BTreeMap<&str, &str> = labels.into_iter().collect();
    sorted.iter().map(|(name, value)| format!("{name}={value:?} ")).collect()
}

/// Samples in the view `metrics`, but for those that say that a series has ended, which no PromQL engine gives out.
/// Values come as Arrow, so that every bit of them does.
fn samples_of_sql(home: &Home, start_ms: i64, end_ms: i64) -> Samples {
    let time = |ms: i64| format!("arrow_cast({}, 'Timestamp(Microsecond, Some(\"UTC\"))')", ms * 1000);
    let (start, end) = (time(start_ms), time(end_ms));
    let query = format!(
        "SELECT timestamp, metric, labels, value FROM metrics WHERE timestamp >= {start} AND timestamp <= {end}"
    );
    let body = home.ask(&query, "arrow").unwrap_or_else(|answer| panic!("{query}: {answer}"));
    let mut samples = Samples::new();
    for batch in StreamReader::try_new(&body[..], None).expect("an arrow stream") {
        add_rows(&mut samples, &batch.expect("a batch"));
    }
    samples
}

fn add_rows(samples: &mut Samples, batch: &RecordBatch) {
    let column = |name: &str, data_type: &DataType| {
        cast(batch.column_by_name(name).expect("a column"), data_type).expect("a cast")
    };
    let times = column("timestamp", &DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())));
    let exact = column("timestamp", &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    let exact = cast(&exact, &DataType::Int64).expect("a cast");
    let (metrics, values) = (column("metric", &DataType::Utf8), column("value", &DataType::Float64));
    let labels = batch.column_by_name("labels").expect("labels").as_map();
    for row in 0..batch.num_rows() {
        let ts_ms = times.as_primitive::<TimestampMillisecondType>().value(row);
        assert_eq!(exact.as_primitive::<Int64Type>().value(row), ts_ms * 1000, "a time is in whole milliseconds");
        let bits = values.as_primitive::<Float64Type>().value(row).to_bits();
        if bits == wire::STALE_BITS {
            continue;
        }
        let entries = labels.value(row);
        let text = |at: usize| cast(entries.column(at), &DataType::Utf8).expect("a cast");
        let (names, texts) = (text(0), text(1));
        let pairs = names.as_string::<i32>().iter().zip(texts.as_string::<i32>()).filter_map(|(n, v)| n.zip(v));
        let name = ("__name__", metrics.as_string::<i32>().value(row));
        let series = series_text(pairs.chain([name]));
        let before = samples.entry(series.clone()).or_default().insert(ts_ms, bits);
        assert_eq!(before, None, "{series} has two samples at {ts_ms}");
    }
}

/// Raw samples of all series, as a range selector gives them.
fn samples_of_prometheus(url: &str, start_ms: i64, end_ms: i64) -> Samples {
    let time = format!("{}.{:03}", end_ms / 1000, end_ms % 1000);
    let query = format!("{{__name__!=\"\"}}[{}ms]", end_ms - start_ms);
    let mut answer = process::agent(Duration::from_secs(60))
        .post(format!("{url}/api/v1/query"))
        .send_form([("query", query.as_str()), ("time", time.as_str())])
        .expect("prometheus answers");
    let body = answer.body_mut().with_config().limit(1 << 30).read_to_vec().expect("an answer");
    let answer: Value = serde_json::from_slice(&body).expect("json");
    assert_eq!(answer["status"], "success", "{answer}");
    let mut samples = Samples::new();
    for series in answer["data"]["result"].as_array().expect("series") {
        let points = series["values"].as_array().map(Vec::as_slice).unwrap_or_default().iter().map(|point| {
            let seconds = point[0].as_f64().expect("a time");
            (millis(seconds), bits_of(point[1].as_str().expect("a value")))
        });
        // The lower end belongs to the range before Prometheus 3.0 and not since; SQL's does.
        samples.insert(text_of(&series["metric"]), points.filter(|(ts_ms, _)| *ts_ms >= start_ms).collect());
    }
    samples.retain(|_, points| !points.is_empty());
    samples
}

/// Raw samples of all series, as VictoriaMetrics exports them: one series a line.
fn samples_of_victoria_metrics(url: &str, start_ms: i64, end_ms: i64) -> Samples {
    let agent = process::agent(Duration::from_secs(60));
    agent.get(format!("{url}/internal/force_flush")).call().expect("victoria-metrics flushes");
    let mut answer = agent
        .get(format!("{url}/api/v1/export"))
        .query("match[]", "{__name__!=\"\"}")
        .query("start", format!("{}.{:03}", start_ms / 1000, start_ms % 1000))
        .query("end", format!("{}.{:03}", end_ms / 1000, end_ms % 1000))
        .call()
        .expect("victoria-metrics answers");
    let body = answer.body_mut().with_config().limit(1 << 30).read_to_string().expect("an answer");
    let mut samples = Samples::new();
    for line in body.lines() {
        let series: Value = serde_json::from_str(line).expect("json");
        let column = |name: &str| series[name].as_array().cloned().unwrap_or_default();
        let points = column("timestamps").into_iter().zip(column("values"));
        // What is no number is written as null or as text: it marks the end of a series here.
        let points = points.filter_map(|(ts, value)| Some((ts.as_i64()?, value.as_f64()?.to_bits())));
        samples.entry(text_of(&series["metric"])).or_default().extend(points);
    }
    samples.retain(|_, points| !points.is_empty());
    samples
}

fn text_of(metric: &Value) -> String {
    let labels = metric.as_object().expect("labels");
    series_text(labels.iter().map(|(name, value)| (name.as_str(), value.as_str().expect("a label value"))))
}

#[allow(clippy::cast_possible_truncation, reason = "milliseconds of this century are exact in a double")]
fn millis(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

fn start_node_exporter(folder: &Path) -> (Process, u16) {
    let port = free_port();
    let mut command = Command::new("prometheus-node-exporter");
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let mut process = Process::start("node_exporter", &mut command, folder);
    process.ready(&format!("http://127.0.0.1:{port}/metrics")).expect("node_exporter starts");
    (process, port)
}

/// Prometheus scrapes the exporter, itself, and us, every second, and sends all of it to us.
fn start_prometheus(folder: &Path, home: &Home, exporter_port: u16) -> (Process, String) {
    let port = free_port();
    let own = home.url("").replace("http://", "");
    let config = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}
scrape_configs:
  - job_name: node
    static_configs: [{{ targets: ['127.0.0.1:{exporter_port}'] }}]
  - job_name: prometheus
    static_configs: [{{ targets: ['127.0.0.1:{port}'] }}]
  - job_name: streamgauge
    static_configs: [{{ targets: ['{own}'] }}]
remote_write:
  - url: {}
    queue_config: {{ batch_send_deadline: 1s, max_backoff: 1s }}
",
        home.url(wire::PATH)
    );
    process::prometheus(folder, port, &config, &[])
}

fn start_victoria_metrics(folder: &Path) -> (Process, String) {
    let port = free_port();
    let mut command = Command::new("victoria-metrics");
    command.arg(format!("-storageDataPath={}", folder.join("victoria-metrics").display()));
    command.arg(format!("-httpListenAddr=127.0.0.1:{port}"));
    let mut process = Process::start("victoria-metrics", &mut command, folder);
    let url = format!("http://127.0.0.1:{port}");
    process.ready(&format!("{url}/health")).expect("victoria-metrics starts");
    (process, url)
}

/// vmagent scrapes the exporter every second and sends to all of `urls`.
fn start_vmagent(folder: &Path, exporter_port: u16, urls: &[&str]) -> Process {
    let config = format!(
        "global: {{ scrape_interval: 1s }}
scrape_configs:
  - job_name: node
    static_configs: [{{ targets: ['127.0.0.1:{exporter_port}'] }}]
"
    );
    let file = folder.join("vmagent.yml");
    fs::write(&file, config).expect("a settings file");
    let port = free_port();
    let mut command = Command::new("vmagent");
    command.arg(format!("-promscrape.config={}", file.display()));
    command.arg(format!("-remoteWrite.tmpDataPath={}", folder.join("vmagent").display()));
    command.arg(format!("-httpListenAddr=127.0.0.1:{port}"));
    command.args(urls.iter().map(|url| format!("-remoteWrite.url={url}")));
    let mut process = Process::start("vmagent", &mut command, folder);
    process.ready(&format!("http://127.0.0.1:{port}/health")).expect("vmagent starts");
    process
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_millis()).expect("fits for long")
}

/// Bits of a value as Prometheus' API prints it. Of a NaN it prints the name only; Go's, which its exporters send, ends in 1.
fn bits_of(text: &str) -> u64 {
    const GO_NAN: u64 = 0x7ff8_0000_0000_0001;
    if text == "NaN" { GO_NAN } else { text.parse::<f64>().expect("a number").to_bits() }
}

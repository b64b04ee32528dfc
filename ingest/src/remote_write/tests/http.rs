//! The endpoint over a real storage: every case of the remote write conformance suite, and what a restart must remember.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use arrow::{
    array::AsArray as _,
    datatypes::{Float64Type, TimestampMicrosecondType},
};
use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode},
};
use prost::Message as _;
use storage::{Clock, Env, Lane, Probe, Random, Storage};
use tower::ServiceExt as _;

use super::{NOW_MS, messages};
use crate::remote_write::{Config, RemoteWrite, series_index::DAY_MS};

const V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
const V1: &str = "application/x-protobuf";
const WRITTEN: [&str; 3] = [
    "x-prometheus-remote-write-samples-written",
    "x-prometheus-remote-write-histograms-written",
    "x-prometheus-remote-write-exemplars-written",
];

/// A receiver over storage in a folder that outlives it.
pub(super) struct Server {
    pub(super) folder: Arc<tempfile::TempDir>,
    pub(super) now_us: Arc<AtomicI64>,
    pub(super) config: Config,
    pub(super) storage: Storage,
    pub(super) remote_write: RemoteWrite,
    pub(super) registry: prometheus::Registry,
}

/// The status, Written headers and text of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    /// The Written headers: samples, histograms, exemplars.
    pub(super) fn written(&self) -> Option<[u64; 3]> {
        let header = |name| self.headers.get(name).map(|value| value.to_str().unwrap().parse().unwrap());
        let written = WRITTEN.map(header);
        written.iter().any(Option::is_some).then(|| written.map(|count: Option<u64>| count.expect("all three or none")))
    }
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    pub(super) async fn start_with(config: Config) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        Self::open(folder, Arc::new(AtomicI64::new(NOW_MS * 1000)), config).await
    }

    async fn open(folder: Arc<tempfile::TempDir>, now_us: Arc<AtomicI64>, config: Config) -> Self {
        static RANDOM: AtomicU64 = AtomicU64::new(1);
        let clock = {
            let now_us = Arc::clone(&now_us);
            Clock::new(move || now_us.load(Ordering::Relaxed))
        };
        let random = Random::new(|| {
            u128::from(RANDOM.fetch_add(1, Ordering::Relaxed)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        });
        let env = Env { clock: clock.clone(), random, probe: Probe::default() };
        let settings = storage::Config {
            tables: storage::Tables::default(),
            data_dir: folder.path().to_owned(),
            tenant: "default".into(),
            flush_bytes: 64 << 20,
            flush_age_ms: 600_000,
            head_bytes_max: 256 << 20,
            wal_segment_bytes: 4 << 20,
            upkeep: false,
            retention_days: std::collections::BTreeMap::new(),
        };
        let registry = prometheus::Registry::new();
        let storage = Storage::open(settings, schemas::all(), env, &registry).await.unwrap();
        let remote_write = RemoteWrite::open(config.clone(), storage.clone(), clock, &registry).await.unwrap();
        Self { folder, now_us, config, storage, remote_write, registry }
    }

    /// Stops as SIGTERM does, with all rows in files, and starts again.
    pub(super) async fn restart(self) -> Self {
        self.storage.close().await.unwrap();
        self.reopen().await
    }

    /// Starts again on what is there.
    async fn reopen(self) -> Self {
        let Self { folder, now_us, config, storage, remote_write, .. } = self;
        drop((storage, remote_write));
        Self::open(folder, now_us, config).await
    }

    async fn request(&self, request: Request<Body>) -> Answer {
        let response = self.remote_write.router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub(super) async fn post(&self, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let mut request = Request::post("/api/v1/write");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.request(request.body(Body::from(body)).unwrap()).await
    }

    pub(super) async fn v1(&self, timeseries: Vec<messages::v1::TimeSeries>) -> Answer {
        let body = messages::v1::WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec();
        self.post(&[("content-type", V1), ("content-encoding", "snappy")], snappy(&body)).await
    }

    pub(super) async fn v2(&self, request: &messages::v2::Request) -> Answer {
        self.post(&[("content-type", V2), ("content-encoding", "snappy")], snappy(&request.encode_to_vec())).await
    }

    /// Samples of the head by time: milliseconds after noon, value, lane. Of one time the one written last.
    pub(super) fn samples(&self) -> Vec<(i64, f64, Lane)> {
        let mut samples = BTreeMap::new();
        let mut head = self.storage.view(schemas::samples()).head.clone();
        head.sort_by_key(|rows| rows.seq);
        for rows in head {
            let ts = rows.batch.column_by_name("ts").unwrap().as_primitive::<TimestampMicrosecondType>();
            let values = rows.batch.column_by_name("value").unwrap().as_primitive::<Float64Type>();
            for row in 0..rows.batch.num_rows() {
                samples.insert(ts.value(row) / 1000 - NOW_MS, (values.value(row), rows.lane));
            }
        }
        samples.into_iter().map(|(after, (value, lane))| (after, value, lane)).collect()
    }

    /// A counter or gauge of `/metrics` by the end of its name and some of its labels.
    pub(super) fn counter(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == format!("streamgauge_{name}")).unwrap();
        let has = |metric: &prometheus::proto::Metric| {
            labels.iter().all(|(n, v)| metric.get_label().iter().any(|pair| pair.name() == *n && pair.value() == *v))
        };
        let metric = family.get_metric().iter().find(|metric| has(metric)).unwrap();
        metric.get_counter().get_value() + metric.get_gauge().get_value()
    }

    pub(super) fn rows(&self, dataset: &'static schemas::Dataset) -> u64 {
        let view = self.storage.view(dataset);
        let head: usize = view.head.iter().map(|rows| rows.batch.num_rows()).sum();
        view.files.iter().map(|file| file.rows).sum::<u64>() + u64::try_from(head).unwrap()
    }
}

fn snappy(body: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(body).unwrap()
}

pub(super) fn up(samples: &[(i64, f64)]) -> Vec<messages::v1::TimeSeries> {
    let samples: Vec<_> = samples.iter().map(|(after, value)| (NOW_MS + after, *value)).collect();
    vec![messages::v1::series(&[("__name__", "up"), ("job", "a")], &samples)]
}

#[tokio::test(flavor = "multi_thread")]
async fn combined_samples_histograms_exemplars_and_metadata_are_written_and_counted() {
    let server = Server::start().await;
    let mut request = messages::v2::Request::empty();
    let help = request.symbol("Help.");
    let trace = request.refs(&[("trace_id", "abc")]);
    let exemplar = |timestamp| messages::v2::Exemplar { labels_refs: trace.clone(), value: 1.0, timestamp };
    let metadata = Some(messages::v2::Metadata { r#type: 1, help_ref: help, unit_ref: 0 });
    let series = request.add(&[("__name__", "requests_total"), ("z", "1"), ("a", "2")]);
    series.sample(NOW_MS - 1000, 1.0).sample(NOW_MS, 2.0);
    (series.exemplars, series.metadata, series.created_timestamp) = (vec![exemplar(NOW_MS)], metadata, NOW_MS - 5000);
    let series = request.add(&[("__name__", "latency_seconds")]);
    series.histograms = vec![messages::int_histogram(NOW_MS - 1), messages::float_histogram(NOW_MS)];
    series.exemplars = vec![exemplar(NOW_MS - 2), exemplar(NOW_MS - 1)];
    let answer = server.v2(&request).await;
    assert_eq!((answer.status, answer.written()), (StatusCode::NO_CONTENT, Some([2, 2, 3])), "{answer:?}");
    assert_eq!(answer.text, "");
    assert_eq!(server.rows(schemas::samples()), 2);
    assert_eq!(server.rows(schemas::histograms()), 2);
    assert_eq!(server.rows(schemas::exemplars()), 3);
    assert_eq!(server.rows(schemas::metadata()), 1);
    assert_eq!(server.rows(schemas::series()), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn special_values_old_samples_and_utf8_names_are_written() {
    let server = Server::start().await;
    let mut request = messages::v2::Request::empty();
    let values = [f64::NAN, f64::from_bits(0x7ff0_0000_0000_0002), f64::INFINITY, f64::NEG_INFINITY, 0.0];
    for (n, value) in values.into_iter().enumerate() {
        let n = i64::try_from(n).unwrap();
        request.add(&[("__name__", "special"), ("n", &n.to_string())]).sample(NOW_MS - 3_600_000 + n, value);
    }
    for name in ["http.requests", "with space", "new\nline", "\u{1f680}"] {
        request.add(&[(name, "x"), ("__name__", name)]).sample(NOW_MS, 1.0);
    }
    request.add(&[("__name__", "special"), ("n", "0")]).sample(NOW_MS, 1.0).sample(NOW_MS - 1_800_000, 1.0);
    let answer = server.v2(&request).await;
    assert_eq!((answer.status, answer.written()), (StatusCode::NO_CONTENT, Some([11, 0, 0])), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn histograms_of_every_kind_are_written_and_a_wrong_count_is_not() {
    let server = Server::start().await;
    let with = |histogram| {
        let mut request = messages::v2::Request::empty();
        request.add(&[("__name__", "h")]).histograms.push(histogram);
        request
    };
    let empty = messages::Histogram { timestamp: NOW_MS + 5, ..Default::default() };
    let good = [
        messages::int_histogram(NOW_MS),
        messages::float_histogram(NOW_MS + 1),
        messages::custom_histogram(NOW_MS + 2),
        empty,
    ];
    for histogram in good {
        let answer = server.v2(&with(histogram)).await;
        assert_eq!((answer.status, answer.written()), (StatusCode::NO_CONTENT, Some([0, 1, 0])), "{answer:?}");
    }
    let wrong = messages::Histogram { count: Some(messages::Count::Int(1)), ..messages::int_histogram(NOW_MS + 9) };
    let answer = server.v2(&with(wrong)).await;
    assert_eq!((answer.status, answer.written()), (StatusCode::BAD_REQUEST, Some([0, 0, 0])));
    assert!(answer.text.contains("histogram count is not the sum of its buckets"), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn exemplars_alone_out_of_order_and_with_special_values_are_written() {
    let server = Server::start().await;
    let mut request = messages::v2::Request::empty();
    let trace = request.refs(&[("trace_id", "abc"), ("span_id", "1")]);
    let exemplar = |timestamp, value| messages::v2::Exemplar { labels_refs: trace.clone(), value, timestamp };
    let exemplars = vec![exemplar(NOW_MS, 1.0), exemplar(NOW_MS - 10, f64::NAN), exemplar(NOW_MS - 5, f64::INFINITY)];
    request.add(&[("__name__", "exemplars_alone")]).exemplars = exemplars.clone();
    request.add(&[("__name__", "with_sample")]).sample(NOW_MS, 1.0).exemplars = exemplars;
    request.add(&[("__name__", "metadata_alone")]).metadata =
        Some(messages::v2::Metadata { r#type: 2, help_ref: 0, unit_ref: 0 });
    let answer = server.v2(&request).await;
    assert_eq!((answer.status, answer.written()), (StatusCode::NO_CONTENT, Some([1, 0, 6])), "{answer:?}");
    assert_eq!(server.rows(schemas::exemplars()), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_series_of_four_is_refused_and_the_good_ones_are_counted() {
    let server = Server::start().await;
    let mut request = messages::v2::Request::empty();
    request.add(&[("__name__", "a")]).sample(NOW_MS, 1.0);
    request.add(&[("job", "nameless")]).sample(NOW_MS, 1.0);
    request.add(&[("__name__", "b")]).sample(NOW_MS, 1.0);
    request.add(&[]).sample(NOW_MS, 1.0);
    let answer = server.v2(&request).await;
    assert_eq!((answer.status, answer.written()), (StatusCode::BAD_REQUEST, Some([2, 0, 0])));
    assert!(answer.text.contains("series has no label __name__"), "{}", answer.text);
    assert!(answer.text.contains("rejected=2"), "{}", answer.text);
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(server.rows(schemas::samples()), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn version_1_is_written_without_headers_and_partly_if_partly_bad() {
    let server = Server::start().await;
    let answer = server.v1(up(&[(0, 1.0), (1, 2.0)])).await;
    assert_eq!((answer.status, answer.written(), answer.text.as_str()), (StatusCode::NO_CONTENT, None, ""));
    let mut timeseries = up(&[(2, 3.0), (-91 * DAY_MS, 1.0)]);
    timeseries.push(messages::v1::series(&[("__name__", "dup"), ("a", "1"), ("a", "2")], &[(NOW_MS, 1.0)]));
    let answer = server.v1(timeseries).await;
    assert_eq!((answer.status, answer.written()), (StatusCode::BAD_REQUEST, None));
    assert!(answer.text.contains("older than the retention") && answer.text.contains("rejected=2"), "{}", answer.text);
    assert_eq!(server.rows(schemas::samples()), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn unsupported_types_and_encodings_are_told_before_the_body_is_read() {
    let server = Server::start().await;
    let corrupt = b"this is no protobuf".to_vec();
    for content_type in ["application/json", "image/png"] {
        let answer = server.post(&[("content-type", content_type)], corrupt.clone()).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    for encoding in ["gzip", "deflate"] {
        let answer = server.post(&[("content-type", V2), ("content-encoding", encoding)], corrupt.clone()).await;
        assert_eq!((answer.status, answer.written()), (StatusCode::UNSUPPORTED_MEDIA_TYPE, Some([0, 0, 0])));
    }
    for content_type in [V1, V2] {
        let answer = server.post(&[("content-type", content_type)], corrupt.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
        let answer = server.post(&[("content-type", content_type)], snappy(&corrupt)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
        assert!(answer.text.contains("at_byte="), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_may_be_absent_and_zstd_is_taken_as_vmagent_sends_it() {
    let server = Server::start().await;
    let body = messages::v1::WriteRequest { timeseries: up(&[(0, 1.0)]), metadata: Vec::new() }.encode_to_vec();
    assert_eq!(server.post(&[], snappy(&body)).await.status, StatusCode::NO_CONTENT);
    let headers = [("content-encoding", "zstd"), ("x-victoriametrics-remote-write-version", "1")];
    assert_eq!(server.post(&headers, zstd::bulk::compress(&body, 1).unwrap()).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.rows(schemas::samples()), 1);
    let asks = Request::get("/api/v1/write?get_vm_proto_version=1").body(Body::empty()).unwrap();
    let answer = server.request(asks).await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, "1"));
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let request = Request::builder().method(method).uri("/api/v1/write").body(Body::empty()).unwrap();
        let answer = server.request(request).await;
        assert_eq!(
            (answer.status, &answer.headers["allow"]),
            (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_beyond_the_limits_are_bad_requests_that_nobody_repeats() {
    let config = Config { body_bytes_max: 1000, decoded_bytes_max: 100_000, ..Config::default() };
    let server = Server::start_with(config).await;
    let declared = server.post(&[("content-length", "1001")], vec![0; 1001]).await;
    assert_eq!((declared.status, declared.text.contains("too large")), (StatusCode::BAD_REQUEST, true));
    let chunks = futures::stream::iter((0..3).map(|_| Ok::<_, std::io::Error>(vec![0u8; 400])));
    let streamed = Request::post("/api/v1/write").body(Body::from_stream(chunks)).unwrap();
    let answer = server.request(streamed).await;
    assert_eq!((answer.status, answer.text.contains("too large")), (StatusCode::BAD_REQUEST, true));
    let long = server.post(&[], snappy(&vec![0; 100_001][..])).await;
    assert_eq!(long.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_memory_for_them_are_told_to_come_later() {
    let server = Server::start().await;
    let held = server.remote_write.0.permits(server.config.inflight_bytes_max).unwrap();
    let answer = server.v1(up(&[(0, 1.0)])).await;
    assert_eq!(
        (answer.status, &answer.headers["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap())
    );
    drop(held);
    assert_eq!(server.v1(up(&[(0, 1.0)])).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_request_is_worked_on_like_a_small_one() {
    let server = Server::start().await;
    let filler = "x".repeat(1000);
    let series = |n: usize| {
        messages::v1::series(&[("__name__", "up"), ("filler", &filler), ("n", &n.to_string())], &[(NOW_MS, 1.0)])
    };
    let answer = server.v1((0..2000).map(series).collect()).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text);
    assert_eq!(server.rows(schemas::samples()), 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_storage_is_unavailable_and_writes_nothing() {
    let server = Server::start().await;
    server.storage.close().await.unwrap();
    let mut request = messages::v2::Request::empty();
    request.add(&[("__name__", "up")]).sample(NOW_MS, 1.0);
    let answer = server.v2(&request).await;
    assert_eq!((answer.status, answer.written()), (StatusCode::SERVICE_UNAVAILABLE, Some([0, 0, 0])), "{answer:?}");
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_sent_again_is_stored_once_before_and_after_a_restart() {
    let mut server = Server::start().await;
    for _ in 0..2 {
        assert_eq!(server.v1(up(&[(0, 1.0), (10, 2.0)])).await.status, StatusCode::NO_CONTENT);
    }
    // The last sample is known and left out; the one before it is written over by itself.
    assert_eq!(server.samples(), [(0, 1.0, Lane::Late), (10, 2.0, Lane::InOrder)]);
    assert_eq!(server.rows(schemas::samples()), 3);

    server = server.restart().await;
    assert_eq!(server.remote_write.0.admission.lock().series(), 1);
    // So after a restart, with the last sample read from its file to the bit.
    assert_eq!(server.v1(up(&[(0, 1.0), (10, 2.0)])).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.samples(), [(0, 1.0, Lane::Late)]);
    assert_eq!(server.v1(up(&[(10, 3.0), (11, 4.0)])).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.samples(), [(0, 1.0, Lane::Late), (10, 3.0, Lane::Late), (11, 4.0, Lane::InOrder)]);
    assert_eq!(server.rows(schemas::series()), 1, "the day's row was remembered");

    server = server.restart().await;
    assert_eq!(server.v1(up(&[(11, 4.0), (12, 5.0)])).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.samples(), [(12, 5.0, Lane::InOrder)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_sample_is_what_a_repetition_must_equal_after_a_restart_too() {
    let mut server = Server::start().await;
    server.v1(up(&[(10, 1.0)])).await;
    server.v1(up(&[(10, 2.0)])).await;
    server = server.restart().await;
    server.v1(up(&[(10, 2.0)])).await;
    assert_eq!(server.samples(), []);
    server.v1(up(&[(10, 1.0)])).await;
    assert_eq!(server.samples(), [(10, 1.0, Lane::Late)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_series_silent_for_long_is_in_order_again_after_a_restart_only_when_it_must_be() {
    let mut server = Server::start().await;
    let quiet = |after| vec![messages::v1::series(&[("__name__", "quiet")], &[(NOW_MS + after, 1.0)])];
    server.v1(quiet(-7_200_000)).await;
    server.storage.flush().await.unwrap();
    server.v1(up(&[(0, 1.0)])).await;
    server = server.restart().await;
    // Its file was too old to be read: up to that file's end rows are late, from there on they are in order.
    server.v1(quiet(-7_200_001)).await;
    server.v1(quiet(-7_200_000)).await;
    server.v1(quiet(-3_600_000)).await;
    assert_eq!(
        server.samples(),
        [(-7_200_001, 1.0, Lane::Late), (-7_200_000, 1.0, Lane::Late), (-3_600_000, 1.0, Lane::InOrder)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_remembers_exemplars_metadata_and_histograms() {
    let mut server = Server::start().await;
    let mut request = messages::v2::Request::empty();
    let help = request.symbol("Help.");
    let trace = request.refs(&[("trace_id", "abc")]);
    let series = request.add(&[("__name__", "latency")]);
    series.histograms = vec![messages::int_histogram(NOW_MS)];
    series.exemplars = vec![messages::v2::Exemplar { labels_refs: trace, value: 1.0, timestamp: NOW_MS }];
    series.metadata = Some(messages::v2::Metadata { r#type: 3, help_ref: help, unit_ref: 0 });
    server.v2(&request).await;
    server = server.restart().await;
    let answer = server.v2(&request).await;
    assert_eq!(answer.written(), Some([0, 1, 1]), "{answer:?}");
    let lanes = |dataset| server.storage.view(dataset).head.iter().map(|rows| rows.lane).collect::<Vec<_>>();
    assert_eq!((lanes(schemas::histograms()), lanes(schemas::exemplars())), (vec![Lane::Late], vec![Lane::Late]));
    assert_eq!(server.rows(schemas::metadata()), 1);
    assert_eq!(server.rows(schemas::series()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_was_answered() {
    let server = Server::start().await;
    server.v1(up(&[(0, 1.0), (0, 1.0), (-91 * DAY_MS, 1.0)])).await;
    server.post(&[("content-type", "image/png")], Vec::new()).await;
    assert_eq!(server.counter("remote_write_samples_written_total", &[]), 2.0);
    assert_eq!(server.counter("remote_write_duplicates_total", &[]), 1.0);
    assert_eq!(server.counter("remote_write_rejected_total", &[("reason", "too_old")]), 1.0);
    assert_eq!(server.counter("remote_write_requests_total", &[("version", "1.0"), ("code", "400")]), 1.0);
    assert_eq!(server.counter("remote_write_requests_total", &[("version", "unknown"), ("code", "415")]), 1.0);
}

//! The tests that Prometheus has of its engine, read unchanged, through the whole way: remote write, log, head, files, index.
//!
//! Every `load` is sent by remote write 2.0 to storage in a folder; half of them are committed to files before they are asked for,
//! so that answers come from head and files alike. `clear` begins a new folder. What fails in memory already is listed in crate
//! `promql`; nothing else may fail here.

#[path = "../query/promql/tests/promqltest"]
mod promqltest {
    pub mod script;
    pub mod shown;
    pub mod skipped;
}

use std::{collections::BTreeMap, fs, sync::Arc};

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use ingest::remote_write::RemoteWrite;
use promqltest::{
    script::{Backend, LoadedSeries, Outcome, Point, pinned_times, run},
    shown::shown,
    skipped::Skipped,
};
use query::{Catalog, Engine, Features, Query, Syntax, When};
use storage::{Clock, Storage};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use prost::Message;

use crate::support::wire::{self, BucketSpan, Count, Histogram, V2_HEADERS, ZeroCount, v2::Symbols};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/query/promql/tests/promqltest/upstream");
/// Years after anything the tests load: samples are old, and none is of the future.
const NOW_US: i64 = 4_000_000_000_000_000;

/// Storage with what writes to it and what asks it.
struct Running {
    storage: Storage,
    write: axum::Router,
    engine: Engine,
    _folder: TempDir,
}

struct Whole {
    runtime: Runtime,
    running: Option<Running>,
    loads: usize,
}

#[test]
fn every_evaluation_of_prometheus_own_tests_has_its_result_through_storage() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut whole = Whole { runtime, running: None, loads: 0 };
    let mut skipped = Skipped::read();
    let (mut unexpected, mut total) = (Vec::new(), 0);
    let mut paths: Vec<_> = fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "test")) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let report =
            run(&fs::read_to_string(&path).unwrap(), &mut whole).unwrap_or_else(|error| panic!("{name}: {error}"));
        total += report.evaluated.len();
        for failure in report.failures {
            if !skipped.takes(&name, &failure.query, failure.mode) {
                let (line, mode, query, what) = (failure.line, failure.mode, failure.query, failure.what);
                unexpected.push(format!("{name}.test:{line} {mode:?}\n  {query}\n{what}"));
            }
        }
    }
    assert!(total > 6_000, "{total} were evaluated");
    let idle = skipped.unused();
    assert!(idle.is_empty(), "listed in skipped.txt, and pass: {idle:?}");
    assert!(unexpected.is_empty(), "{} of {total} fail:\n{}", unexpected.len(), unexpected.join("\n"));
}

impl Whole {
    fn running(&mut self) -> &Running {
        if self.running.is_none() {
            self.running = Some(self.runtime.block_on(start()));
        }
        self.running.as_ref().unwrap()
    }

    fn ask(&mut self, query: &str, when: When) -> Result<Outcome, String> {
        let engine = self.running().engine.clone();
        let query = engine.parse(query).map_err(|error| error.to_string())?;
        let found = self.runtime.block_on(engine.promql(&query, when)).map_err(|error| error.to_string())?;
        Ok(shown(&found.result, &found.symbols, when.start_ms, (found.warnings, found.infos)))
    }
}

async fn start() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let registry = prometheus::Registry::new();
    let clock = Clock::new(|| NOW_US);
    let config = storage::Config {
        tables: storage::Tables::default(),
        data_dir: folder.path().to_owned(),
        tenant: "default".to_owned(),
        flush_bytes: 64 << 20,
        flush_age_ms: 600_000,
        head_bytes_max: 256 << 20,
        wal_segment_bytes: 4 << 20,
        upkeep: false,
        // Nothing is too old.
        retention_days: schemas::all().into_iter().map(|dataset| (dataset.name.to_owned(), 1_000_000)).collect(),
    };
    let env = storage::Env { clock: clock.clone(), ..streamgauge::app::env() };
    let storage = Storage::open(config, schemas::all(), env, &registry).await.unwrap();
    let write = ingest::remote_write::Config { retention_ms: i64::MAX / 4, ..ingest::remote_write::Config::default() };
    let write = RemoteWrite::open(write, storage.clone(), clock.clone(), &registry).await.unwrap();
    let views = storage.clone();
    let catalog = Catalog {
        store: storage.store(),
        datasets: schemas::all(),
        views: Arc::new(move |datasets| views.views(datasets)),
    };
    let features = Features {
        experimental_functions: true,
        fill: true,
        delayed_name_removal: true,
        start_timestamps: true,
        type_and_unit: false,
    };
    let promql = query::PromqlConfig {
        features,
        syntax: Syntax { unquoted_utf8: true },
        samples_max: 1_000_000,
        ..query::PromqlConfig::default()
    };
    let engine = Engine::new(query::Config { promql, ..query::Config::default() }, catalog, clock, &registry).unwrap();
    Running { storage, write: write.router(), engine, _folder: folder }
}

impl Backend for Whole {
    fn clear(&mut self) -> Result<(), String> {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.storage.close()).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn load(&mut self, series: Vec<LoadedSeries>) -> Result<(), String> {
        self.loads += 1;
        let to_files = self.loads.is_multiple_of(2);
        let (write, storage) = (self.running().write.clone(), self.running().storage.clone());
        self.runtime.block_on(async {
            for series in series.chunks(500) {
                let mut request = Request::post(wire::PATH);
                for (name, value) in V2_HEADERS {
                    request = request.header(name, value);
                }
                let body = Body::from(wire::snappy(&message(series)));
                let request = request.header("Content-Encoding", "snappy").body(body).unwrap();
                let response = write.clone().oneshot(request).await.unwrap();
                let status = response.status();
                let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
                if status != StatusCode::NO_CONTENT {
                    return Err(format!("{status}: {}", String::from_utf8_lossy(&body)));
                }
            }
            if to_files { storage.flush().await.map_err(|error| error.to_string()) } else { Ok(()) }
        })
    }

    fn instant(&mut self, query: &str, at_ms: i64) -> Result<Outcome, String> {
        self.ask(query, When::at(at_ms))
    }

    fn range(&mut self, query: &str, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Outcome, String> {
        self.ask(query, When { end_ms, step_ms, ..When::at(start_ms) })
    }

    fn pinned(&mut self, query: &str, at_ms: i64) -> Option<Vec<(String, i64)>> {
        let text = Query::parse_with(query, Syntax { unquoted_utf8: true }).ok()?.pinned(at_ms)?;
        Some(pinned_times(at_ms).into_iter().map(|time| (text.clone(), time)).collect())
    }
}

/// `io.prometheus.write.v2.Request`, with values that are written even if they are -0, which `prost` leaves out as if it were 0.
#[derive(Clone, PartialEq, Message)]
struct Sent {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<SentSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct SentSeries {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<SentSample>,
    #[prost(message, repeated, tag = "3")]
    histograms: Vec<Histogram>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct SentSample {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
    #[prost(int64, tag = "2")]
    timestamp: i64,
    #[prost(int64, tag = "3")]
    start_timestamp: i64,
}

/// Series as remote write 2.0 has them.
fn message(series: &[LoadedSeries]) -> Sent {
    let mut symbols = Symbols::default();
    let one = |loaded: &LoadedSeries, symbols: &mut Symbols| {
        let labels: BTreeMap<&str, &str> = loaded.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let labels: Vec<(&str, &str)> = labels.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        // A series of a message has floats or histograms.
        let of_labels = SentSeries { labels_refs: symbols.labels(&labels), ..SentSeries::default() };
        let (mut floats, mut histograms) = (of_labels.clone(), of_labels);
        for sample in &loaded.samples {
            let (timestamp, start_timestamp) = (sample.t_ms, sample.start_ms.unwrap_or(0));
            match &sample.point {
                Point::Float(value) => {
                    floats.samples.push(SentSample { value: Some(*value), timestamp, start_timestamp });
                }
                Point::Histogram(of) => histograms.histograms.push(histogram(of, timestamp, start_timestamp)),
            }
        }
        [floats, histograms].into_iter().filter(|series| !series.samples.is_empty() || !series.histograms.is_empty())
    };
    let timeseries = series.iter().flat_map(|loaded| one(loaded, &mut symbols)).collect();
    Sent { symbols: symbols.request(Vec::new()).symbols, timeseries }
}

fn histogram(of: &promql::Histogram, timestamp: i64, start_timestamp: i64) -> Histogram {
    let spans = |buckets: &promql::Buckets| {
        buckets.spans.iter().map(|span| BucketSpan { offset: span.offset, length: span.length }).collect()
    };
    Histogram {
        count: Some(Count::Float(of.count)),
        sum: of.sum,
        schema: of.schema,
        zero_threshold: of.zero_threshold,
        zero_count: Some(ZeroCount::Float(of.zero_count)),
        negative_spans: spans(&of.negative),
        negative_counts: of.negative.counts.clone(),
        positive_spans: spans(&of.positive),
        positive_counts: of.positive.counts.clone(),
        reset_hint: match of.hint {
            promql::ResetHint::Unknown => 0,
            promql::ResetHint::Reset => 1,
            promql::ResetHint::NoReset => 2,
            promql::ResetHint::Gauge => 3,
        },
        timestamp,
        custom_values: of.custom_values.to_vec(),
        start_timestamp,
        ..Histogram::default()
    }
}

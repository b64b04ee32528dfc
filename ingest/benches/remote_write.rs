//! Remote write from the compressed body to columns: snappy, decoding, hashing, series lookup, admission.
//!
//! A million series are known; each request has 2,000 samples, one a series, with ten labels as Kubernetes gives them. One
//! core, no storage. Series come in the order of the scrape before, as senders send them, and once in another order each time. Run
//! `cargo bench --workspace --bench remote_write`; the figure is samples (elements) a second.

#[path = "../tests/support/messages.rs"]
mod messages;

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ingest::remote_write::{Admission, Config, Decoded, Located, Request, Version, Window};
use prost::Message as _;

/// The server's allocator, whose huge pages spare the lookup misses of address translation.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SERIES: usize = 1_000_000;
const SERIES_PER_REQUEST: usize = 2_000;
const NOW_MS: i64 = 1_795_348_800_000 + 43_200_000;
/// A time in 2026 takes so many bytes as a varint.
const TS_BYTES: usize = 6;

/// A request, compressed, and where its times stand when it is not.
struct Template {
    compressed: Vec<u8>,
    times: Vec<usize>,
}

fn labels(n: usize) -> Vec<(&'static str, String)> {
    let (node, pod, metric) = (n / 20_000, n / 500, n % 500);
    vec![
        ("__name__", format!("container_network_receive_packets_total_{metric:03}")),
        ("cluster", "production-eu-central-1".into()),
        ("container", format!("application-{}", pod % 40)),
        ("endpoint", "https-metrics".into()),
        ("image", format!("registry.example.com/platform/application-{}@sha256:{:032x}", pod % 40, pod % 40)),
        ("instance", format!("10.{}.{}.{}:10250", node, pod / 250, pod % 250)),
        ("job", "kubelet".into()),
        ("namespace", format!("team-{}", pod % 60)),
        ("node", format!("ip-10-0-{node}-17.eu-central-1.compute.internal")),
        ("pod", format!("application-{}-6c9f7d5b8c-{pod:05}", pod % 40)),
    ]
}

/// `stride` is coprime with the number of series, and so gives each once, in an order of its own.
fn template(version: Version, first: usize, stride: usize) -> Template {
    let mut body = Vec::new();
    let mut times = Vec::new();
    let mut request = messages::v2::Request::empty();
    let mut symbols = std::collections::HashMap::from([(String::new(), 0)]);
    for i in 0..SERIES_PER_REQUEST {
        let n = first + i * stride % SERIES_PER_REQUEST;
        let labels = labels(n);
        let message = match version {
            Version::V1 => {
                let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
                messages::v1::series(&labels, &[(NOW_MS, 1.5)]).encode_to_vec()
            }
            Version::V2 => {
                let mut symbol = |text: String| {
                    let next = u32::try_from(request.symbols.len()).unwrap_or(0);
                    *symbols.entry(text).or_insert_with_key(|text| {
                        request.symbols.push(text.clone());
                        next
                    })
                };
                let labels_refs =
                    labels.into_iter().flat_map(|(name, value)| [symbol(name.into()), symbol(value)]).collect();
                let mut series = messages::v2::TimeSeries { labels_refs, ..Default::default() };
                series.sample(NOW_MS, 1.5);
                series.encode_to_vec()
            }
        };
        body.push(if version == Version::V1 { 0x0a } else { 0x2a });
        prost::encoding::encode_varint(u64::try_from(message.len()).unwrap_or(0), &mut body);
        body.extend_from_slice(&message);
        times.push(body.len() - TS_BYTES);
    }
    let symbols = messages::v2::Request { timeseries: Vec::new(), ..request };
    if version == Version::V2 {
        body.extend_from_slice(&symbols.encode_to_vec());
    }
    Template { compressed: snap::raw::Encoder::new().compress_vec(&body).unwrap_or_default(), times }
}

/// The template's request, scraped at a later time.
fn scraped_at(template: &Template, ts_ms: i64) -> Vec<u8> {
    let mut body = snap::raw::Decoder::new().decompress_vec(&template.compressed).unwrap_or_default();
    let mut ts = Vec::new();
    prost::encoding::encode_varint(ts_ms.cast_unsigned(), &mut ts);
    for at in &template.times {
        body[*at..*at + TS_BYTES].copy_from_slice(&ts);
    }
    snap::raw::Encoder::new().compress_vec(&body).unwrap_or_default()
}

/// What a request goes through, without HTTP and storage.
struct Receiver {
    version: Version,
    admission: Admission,
    window: Window,
    decompressed: Vec<u8>,
    decoded: Decoded,
    located: Located,
}

impl Receiver {
    /// Decompression, decoding and lookup, up to knowing every series.
    fn find(&mut self, compressed: &[u8]) -> bool {
        let len = self.decode(compressed);
        let request = Request { body: &self.decompressed[..len], decoded: &self.decoded };
        self.admission.locate(request, &self.window, &mut self.located);
        self.located.wants_labels()
    }

    fn take(&mut self, compressed: &[u8]) -> ingest::remote_write::Admitted {
        let len = self.decode(compressed);
        let request = Request { body: &self.decompressed[..len], decoded: &self.decoded };
        self.admission.take(request, &self.window, &mut self.located).unwrap_or_else(|error| panic!("{error}"))
    }

    fn decode(&mut self, compressed: &[u8]) -> usize {
        let len = snap::raw::decompress_len(compressed).unwrap_or(0);
        if self.decompressed.len() < len {
            self.decompressed.resize(len, 0);
        }
        let len = snap::raw::Decoder::new().decompress(compressed, &mut self.decompressed).unwrap_or(0);
        let body = &self.decompressed[..len];
        self.decoded.read(self.version, body).unwrap_or_else(|error| panic!("{error}"));
        len
    }
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("remote_write");
    let samples = u64::try_from(SERIES_PER_REQUEST).unwrap_or(0);
    group.throughput(Throughput::Elements(samples)).sample_size(50);
    for (version, name) in [(Version::V1, "1.0"), (Version::V2, "2.0")] {
        let limits = Config { future_ms_max: 86_400_000, ..Config::default() }.limits();
        let window = Window::at(NOW_MS, &limits);
        let mut receiver = Receiver {
            version,
            admission: Admission::new(limits, &window),
            window,
            decompressed: Vec::new(),
            decoded: Decoded::default(),
            located: Located::default(),
        };
        let templates: Vec<Template> =
            (0..SERIES).step_by(SERIES_PER_REQUEST).map(|first| template(version, first, 1)).collect();
        for template in &templates {
            receiver.take(&template.compressed);
        }
        assert_eq!(receiver.admission.series(), SERIES);
        let mut n = 0;
        group.bench_function(BenchmarkId::new("decode and find", name), |bencher| {
            bencher.iter(|| {
                n += 1;
                receiver.find(&templates[n % templates.len()].compressed)
            });
        });
        // The worst case: no request names its series in the order of the last one that named them.
        let shuffled: Vec<Template> =
            (0..SERIES).step_by(SERIES_PER_REQUEST).map(|first| template(version, first, 1237)).collect();
        let mut n = 0;
        group.bench_function(BenchmarkId::new("decode and find, reordered", name), |bencher| {
            bencher.iter(|| {
                n += 1;
                let order = if (n / templates.len()).is_multiple_of(2) { &shuffled } else { &templates };
                receiver.find(&order[n % order.len()].compressed)
            });
        });
        let mut n = 0;
        group.bench_function(BenchmarkId::new("known series", name), |bencher| {
            bencher.iter_batched(
                || {
                    n += 1;
                    // A stride that is coprime with the number of templates: never the request whose lines are still cached.
                    let template = &templates[n * 37 % templates.len()];
                    scraped_at(template, NOW_MS + i64::try_from(n).unwrap_or(0))
                },
                |compressed| {
                    let admitted = receiver.take(&compressed);
                    assert_eq!((admitted.report.samples_written, admitted.report.late), (samples, 0));
                    (black_box(admitted), compressed)
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);

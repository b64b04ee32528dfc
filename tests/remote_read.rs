//! Remote read: what was sent by remote write comes back whole, as samples and as chunks, and a real Prometheus reads it.
//!
//! Answers are read by the decoders of `ingest`, which know nothing of the encoders; Prometheus answers PromQL over our samples as we
//! do ourselves.

use std::time::Duration;

use ingest::{
    protobuf::DecodeError,
    remote_read::{self, Matcher, STREAMED},
    samples::{Count, Histogram, ResetHint, Samples},
};
use promql::STALE;
use serde_json::Value;

use crate::support::{
    process::{self, free_port},
    random::Random,
    server::{Server, now_ms},
    wire::{self, v1},
};

const PATH: &str = "/api/v1/read";

/// The series of an answer: labels in one text, and samples.
type Found = Vec<(String, Samples)>;

fn send(server: &Server, timeseries: Vec<v1::TimeSeries>) {
    let body = wire::snappy(&v1::WriteRequest { timeseries, metadata: Vec::new() });
    let answer = server.call("POST", wire::PATH, None, &body);
    assert_eq!(answer.status, 204, "{}", answer.body);
}

/// Sends a message; status, content type and body of the answer.
fn post(server: &Server, message: &[u8]) -> (u16, String, Vec<u8>) {
    let mut answer = process::agent(Duration::from_secs(60))
        .post(server.url(PATH))
        .header("Content-Encoding", "snappy")
        .header("Content-Type", "application/x-protobuf")
        .send(&wire::snappy_bytes(message)[..])
        .expect("an answer");
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    let body = answer.body_mut().with_config().limit(1 << 30).read_to_vec().expect("a body");
    (answer.status().as_u16(), kind, body)
}

/// The samples of series, as the first kind of answer that is accepted.
fn read(server: &Server, matchers: &[Matcher<'_>], times_ms: (i64, i64), chunks: bool) -> Found {
    let mut message = remote_read::request(matchers, times_ms.0, times_ms.1);
    if !chunks {
        // Without the field that says what is accepted, which is the last.
        message.truncate(message.len() - 4);
    }
    let (status, kind, body) = post(server, &message);
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    assert_eq!(kind.starts_with(STREAMED), chunks, "{kind}");
    let mut found = Found::new();
    let mut add = |series: remote_read::Series<'_>| {
        assert!(series.broken.is_empty(), "{:?}", series.broken);
        let labels: Vec<String> = series.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (labels, mut samples) = (labels.join(","), series.samples);
        match found.last_mut() {
            // A series may take several frames.
            Some((known, all)) if *known == labels => {
                all.floats.append(&mut samples.floats);
                all.histograms.append(&mut samples.histograms);
            }
            _ => found.push((labels, samples)),
        }
        Ok::<_, DecodeError>(())
    };
    if chunks {
        let mut rest = body.as_slice();
        while !rest.is_empty() {
            let (frame, length) = remote_read::unframe(rest).unwrap().expect("a whole frame");
            remote_read::frame(frame, &mut add).unwrap();
            rest = &rest[length..];
        }
    } else {
        let message = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
        remote_read::samples(&message, &mut add).unwrap();
    }
    found
}

/// Values of many kinds: the same again, small steps, noise, and what is no number.
fn floats(random: &mut Random, start_ms: i64, length: i64) -> Vec<(i64, f64)> {
    let mut time = start_ms;
    let sample = |at: i64| {
        time += match random.below(10) {
            0 => 1,
            1 => 137_000,
            2 => 3_000_000,
            _ => 15_000,
        };
        let value = match random.below(6) {
            0 => f64::from_bits(STALE),
            1 => f64::from_bits(random.next()),
            2 => 0.0,
            // Not -0: `prost` leaves it out, as if it were 0.
            3 => -1.0,
            _ => at as f64 * 0.5,
        };
        (time, value)
    };
    (0..length).map(sample).collect()
}

/// Histograms as they come over the wire, of integers or of floats.
fn histograms(random: &mut Random, start_ms: i64, length: i64) -> Vec<wire::Histogram> {
    let (mut deltas, mut whole, mut schema) = (vec![3, 1, -1, 2], true, 0);
    let mut next = |at: i64| {
        match random.below(25) {
            0 => whole = !whole,
            1 => schema = [0, 3, -4, -53][usize::try_from(random.below(4)).unwrap()],
            2 => deltas = vec![1, 1, 1, 1],
            _ => deltas[0] += i64::try_from(random.below(5)).unwrap(),
        }
        let custom = schema == -53;
        let absolute = deltas.iter().scan(0, |count: &mut i64, delta| {
            *count += delta;
            Some(*count)
        });
        let absolute: Vec<i64> = absolute.collect();
        let counts: Vec<f64> = absolute.iter().map(|count| *count as f64).collect();
        let zero = if custom { 0 } else { 2 + u64::try_from(at).unwrap() };
        let all = u64::try_from(absolute.iter().sum::<i64>()).unwrap() + zero;
        let is_gauge = (40..60).contains(&at);
        let mut histogram = wire::Histogram {
            sum: f64::from_bits(if random.below(20) == 0 { STALE } else { (at as f64 * 1.5).to_bits() }),
            schema,
            zero_threshold: if custom {
                0.0
            } else {
                [1e-128, 0.001, 2f64.powi(-128)][usize::try_from(at / 30).unwrap() % 3]
            },
            positive_spans: vec![
                wire::BucketSpan { offset: if custom { 0 } else { -2 }, length: 3 },
                wire::BucketSpan { offset: 1, length: 1 },
            ],
            custom_values: if custom { vec![0.005, 0.1, 1.0, 2.5, 1e9] } else { Vec::new() },
            reset_hint: if is_gauge { 3 } else { 0 },
            timestamp: start_ms + at * 15_000,
            ..wire::Histogram::default()
        };
        if whole {
            histogram.count = Some(wire::Count::Int(all));
            histogram.zero_count = Some(wire::ZeroCount::Int(zero));
            histogram.positive_deltas.clone_from(&deltas);
        } else {
            histogram.count = Some(wire::Count::Float(all as f64));
            histogram.zero_count = Some(wire::ZeroCount::Float(zero as f64));
            histogram.positive_counts = counts;
        }
        histogram
    };
    (0..length).map(&mut next).collect()
}

/// What is to come back of a histogram: whole as samples; as a chunk without what chunks have no place for.
fn expected(sent: &wire::Histogram) -> Histogram {
    let is_int = matches!(sent.count, Some(wire::Count::Int(_)));
    let count = match sent.count {
        Some(wire::Count::Int(count)) => Count::Int(count),
        Some(wire::Count::Float(count)) => Count::Float(count),
        None => panic!("no count"),
    };
    let zero_count = match sent.zero_count {
        Some(wire::ZeroCount::Int(count)) => Count::Int(count),
        Some(wire::ZeroCount::Float(count)) => Count::Float(count),
        None => panic!("no zero count"),
    };
    let mut histogram = Histogram::stale(sent.timestamp, if is_int { Count::Int(0) } else { Count::Float(0.0) });
    histogram.sum_bits = sent.sum.to_bits();
    if histogram.sum_bits == STALE {
        return histogram;
    }
    (histogram.count, histogram.zero_count) = (count, zero_count);
    (histogram.schema, histogram.zero_threshold) = (sent.schema, sent.zero_threshold);
    histogram.positive.spans = sent.positive_spans.iter().map(|span| (span.offset, span.length)).collect();
    histogram.positive.deltas.clone_from(&sent.positive_deltas);
    histogram.positive.counts.clone_from(&sent.positive_counts);
    histogram.custom_values.clone_from(&sent.custom_values);
    histogram.reset_hint = ResetHint::from_number(u64::try_from(sent.reset_hint).unwrap());
    histogram
}

/// Without hints but that it is a gauge: chunks say more than the sender did.
fn unhinted(histogram: &Histogram) -> Histogram {
    let hint = if histogram.reset_hint == ResetHint::Gauge { ResetHint::Gauge } else { ResetHint::Unknown };
    Histogram { reset_hint: hint, ..histogram.clone() }
}

/// A marker has nothing else that counts.
fn bare(histogram: Histogram) -> Histogram {
    match histogram.count {
        _ if histogram.sum_bits != STALE => histogram,
        Count::Int(_) => Histogram::stale(histogram.ts_ms, Count::Int(0)),
        Count::Float(_) => Histogram::stale(histogram.ts_ms, Count::Float(0.0)),
    }
}

#[test]
fn what_was_written_is_read_back_as_samples_and_as_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut random = Random(7);
    let start_ms = now_ms() - 12 * 3_600_000;
    let sent: Vec<(i64, f64)> =
        floats(&mut random, start_ms, 400).into_iter().filter(|(ms, _)| *ms < now_ms()).collect();
    let native = histograms(&mut random, start_ms, 300);
    let labels = [("__name__", "latency"), ("job", "a\"b\\c\n"), ("k8s.pod", "é")];
    let mut both = v1::series(&[("__name__", "mixed")], &[(start_ms + 1, 1.0), (start_ms + 31_000, 2.0)]);
    both.histograms = native[..4].to_vec();
    let mut latency = v1::series(&labels, &[]);
    latency.histograms.clone_from(&native);
    send(&server, vec![v1::series(&[("__name__", "up"), ("job", "api")], &sent), latency, both]);

    let all = (start_ms - 1, now_ms());
    for in_files in [false, true] {
        if in_files {
            assert_eq!(server.call("POST", "/api/v1/admin/flush?wait=true", None, b"").status, 200);
        }
        for chunks in [false, true] {
            let what = format!("in files: {in_files}, as chunks: {chunks}");
            let found = read(&server, &[Matcher { op: "!=", label: "__name__", value: "" }], all, chunks);
            let names: Vec<&str> = found.iter().map(|(labels, _)| labels.as_str()).collect();
            assert_eq!(
                names,
                ["__name__=latency,job=a\"b\\c\n,k8s.pod=é", "__name__=mixed", "__name__=up,job=api"],
                "{what}"
            );
            let floats: Vec<_> = found[2].1.floats.iter().map(|sample| (sample.ts_ms, sample.bits)).collect();
            let expected_floats: Vec<_> = sent.iter().map(|(ms, value)| (*ms, value.to_bits())).collect();
            assert_eq!(floats, expected_floats, "{what}");
            for (got, sent) in found[0].1.histograms.iter().cloned().map(bare).zip(native.iter().map(expected)) {
                assert_eq!(unhinted(&got), unhinted(&sent), "{what}");
            }
            assert_eq!(found[0].1.histograms.len(), native.len(), "{what}");
            let times = |samples: &Samples| (samples.floats.len(), samples.histograms.len());
            assert_eq!(times(&found[1].1), (2, 4), "{what}");

            // Both ends are included, and series without samples in between are not there.
            let (from, to) = (sent[100].0, sent[150].0);
            let api =
                [Matcher { op: "=~", label: "job", value: "ap.*" }, Matcher { op: "=", label: "k8s.pod", value: "" }];
            let found = read(&server, &api, (from, to), chunks);
            assert_eq!((found.len(), found[0].1.floats.len()), (1, 51), "{what}");
            assert_eq!((found[0].1.floats[0].ts_ms, found[0].1.floats[50].ts_ms), (from, to), "{what}");
            assert!(read(&server, &api, (0, 1), chunks).is_empty(), "{what}");
            assert!(read(&server, &api, (to, from), chunks).is_empty(), "{what}");
        }
    }
    let (status, _, body) = post(&server, b"no message");
    assert_eq!((status, &body[..17]), (400, &br#"{"status":"error""#[..]));
    let (status, _, _) = post(&server, &[2 << 3, 9]);
    assert_eq!(status, 400, "no answer of that kind");
}

/// Asks in PromQL over a range; series by their labels.
fn matrix(url: &str, query: &str, range: (i64, i64)) -> Vec<(String, String)> {
    let (start, end) = (range.0.to_string(), range.1.to_string());
    let form = [("query", query), ("start", &start), ("end", &end), ("step", "15")];
    let answer = process::agent(Duration::from_secs(60)).post(format!("{url}/api/v1/query_range")).send_form(form);
    let body = answer.expect("an answer").body_mut().with_config().limit(1 << 28).read_to_string().expect("a body");
    let body: Value = serde_json::from_str(&body).expect("json");
    assert_eq!(body["status"], "success", "{query}: {body}");
    let series = body["data"]["result"].as_array().expect("series").iter();
    let mut series: Vec<_> = series.map(|row| (row["metric"].to_string(), row["values"].to_string())).collect();
    series.sort();
    series
}

#[test]
fn a_real_prometheus_reads_from_us() {
    if !process::installed("prometheus") {
        return process::skipped("prometheus is not installed", "apt-get install -y prometheus");
    }
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let end = now_ms() / 60_000 * 60;
    let start_ms = (end - 3600) * 1000;
    let series = |job: &str, step: f64| {
        let samples: Vec<_> = (0..240).map(|at| (start_ms + at * 15_000, (at % 100) as f64 * step)).collect();
        v1::series(&[("__name__", "requests_total"), ("instance", "a:1"), ("job", job)], &samples)
    };
    send(&server, vec![series("api", 1.0), series("node", 0.25)]);

    let config = format!("remote_read: [{{ url: '{}', read_recent: true }}]\n", server.url(PATH));
    let (prometheus, url) = process::prometheus(folder.path(), free_port(), &config, &[]);

    // Not at times of samples: whether a window has its lower end changed with Prometheus 3.
    let range = (end - 3000 + 7, end - 7);
    for query in [
        "requests_total",
        "requests_total{job=\"api\"}",
        "requests_total{job!~\"a.*\", instance=\"a:1\"}",
        "sum by (instance) (rate(requests_total[5m]))",
        "{__name__=~\"requests.+\"} offset 5m",
    ] {
        let theirs = matrix(&url, query, range);
        assert!(!theirs.is_empty(), "{query}: {}", prometheus.log_tail());
        assert_eq!(theirs, matrix(&server.url(""), query, range), "{query}");
    }
}

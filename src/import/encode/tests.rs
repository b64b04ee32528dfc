//! Requests, read by `prost` from the public definitions.

use ingest::samples::ResetHint;
use prost::Message;

use super::*;
use crate::import::tests::wire;

fn sample(ts_ms: i64, value: f64, start_ms: i64) -> Sample {
    Sample { ts_ms, bits: value.to_bits(), start_ms }
}

fn histogram(ts_ms: i64, count: Count) -> Histogram {
    Histogram {
        start_ms: 3,
        zero_count: count,
        sum_bits: 1.5f64.to_bits(),
        schema: -53,
        zero_threshold: 0.25,
        reset_hint: ResetHint::Gauge,
        positive: Buckets { spans: vec![(-2, 3)], deltas: vec![1, -1, i64::MIN], counts: vec![] },
        negative: Buckets { spans: vec![(0, 1), (7, 0)], deltas: vec![], counts: vec![0.5] },
        custom_values: vec![0.1, f64::INFINITY],
        ..Histogram::stale(ts_ms, count)
    }
}

/// Labels of a series by their references.
fn labels<'a>(request: &'a wire::v2::Request, refs: &[u32]) -> Vec<&'a str> {
    refs.iter().map(|symbol| request.symbols[*symbol as usize].as_str()).collect()
}

#[test]
fn a_request_is_what_the_spec_says() {
    let samples = Samples {
        floats: vec![sample(-1, f64::from_bits(wire::STALE_BITS), 0), sample(1_700_000_000_000, -2.5, 7)],
        histograms: vec![histogram(5, Count::Int(u64::MAX)), histogram(6, Count::Float(0.5))],
    };
    let exemplar = Exemplar { labels: vec![("trace".into(), "x".into())], ts_ms: 9, value: 4.0 };
    let about = About { kind: 1, help: "Help.".into(), unit: String::new() };
    let of = [("__name__", "a"), ("b", "é")];
    let series = Series { labels: &of, samples: &samples, exemplars: &[exemplar], about: Some(&about) };
    let (mut request, mut sent) = (Request::default(), Sent::default());
    assert!(request.is_empty());
    assert!(request.add(&series, &mut sent, 1 << 20));
    assert_eq!(request.counts, Counts { samples: 2, histograms: 2, exemplars: 1 });
    let (message, hashes, _) = request.take();
    assert_eq!(hashes, [identity(&of)]);
    assert!(request.is_empty());

    let read = wire::v2::Request::decode(&*message).unwrap();
    assert_eq!(read.symbols[0], "");
    let [floats, histograms] = &read.timeseries[..] else { panic!("{read:?}") };
    for one in [floats, histograms] {
        assert_eq!(labels(&read, &one.labels_refs), ["__name__", "a", "b", "é"]);
        let metadata = one.metadata.unwrap();
        assert_eq!((metadata.r#type, &*read.symbols[metadata.help_ref as usize], metadata.unit_ref), (1, "Help.", 0));
    }
    let [stale, value] = floats.samples[..] else { panic!("{read:?}") };
    assert_eq!((stale.timestamp, stale.value.to_bits(), stale.start_timestamp), (-1, wire::STALE_BITS, 0));
    assert_eq!((value.timestamp, value.value, value.start_timestamp), (1_700_000_000_000, -2.5, 7));
    let [exemplar] = &floats.exemplars[..] else { panic!("{read:?}") };
    assert_eq!((exemplar.timestamp, exemplar.value), (9, 4.0));
    assert_eq!(labels(&read, &exemplar.labels_refs), ["trace", "x"]);

    let expected = |timestamp, count, zero_count| wire::Histogram {
        count: Some(count),
        sum: 1.5,
        schema: -53,
        zero_threshold: 0.25,
        zero_count: Some(zero_count),
        negative_spans: vec![wire::BucketSpan { offset: 0, length: 1 }, wire::BucketSpan { offset: 7, length: 0 }],
        negative_deltas: vec![],
        negative_counts: vec![0.5],
        positive_spans: vec![wire::BucketSpan { offset: -2, length: 3 }],
        positive_deltas: vec![1, -1, i64::MIN],
        positive_counts: vec![],
        reset_hint: 3,
        timestamp,
        custom_values: vec![0.1, f64::INFINITY],
        start_timestamp: 3,
    };
    let int = expected(5, wire::Count::Int(u64::MAX), wire::ZeroCount::Int(u64::MAX));
    let float = expected(6, wire::Count::Float(0.5), wire::ZeroCount::Float(0.5));
    assert_eq!(histograms.histograms, [int, float]);
    assert!(histograms.samples.is_empty() && floats.histograms.is_empty());
}

#[test]
fn what_does_not_fit_goes_on_in_the_next_request() {
    let floats = (0..1000).map(|i| sample(i, 1.0, 0)).collect();
    let histograms = (0..50).map(|i| histogram(i, Count::Int(1))).collect();
    let samples = Samples { floats, histograms };
    let series = Series { labels: &[("__name__", "a")], samples: &samples, exemplars: &[], about: None };
    let (mut request, mut sent) = (Request::default(), Sent::default());
    let (mut times, mut requests, mut of_histograms) = (Vec::new(), 0, 0);
    loop {
        let all = request.add(&series, &mut sent, 4096);
        let (message, hashes, counts) = request.take();
        assert!(message.len() < 4096 + 200 && !hashes.is_empty() && counts.total() > 0);
        let read = wire::v2::Request::decode(&*message).unwrap();
        for one in &read.timeseries {
            assert!(one.samples.is_empty() != one.histograms.is_empty());
            times.extend(one.samples.iter().map(|sample| sample.timestamp));
            of_histograms += one.histograms.len();
        }
        requests += 1;
        if all {
            break;
        }
    }
    assert!(times.into_iter().eq(0..1000));
    assert_eq!(of_histograms, 50);
    assert!(requests > 3);
}

#[test]
fn an_empty_request_takes_a_value_whatever_its_size() {
    let long = "v".repeat(5000);
    let about = About { kind: 1, help: long.clone(), unit: String::new() };
    let exemplar = Exemplar { labels: vec![("trace".into(), long.clone())], ts_ms: 9, value: 4.0 };
    let samples = Samples {
        floats: vec![sample(1, 1.0, 0), sample(2, 2.0, 0)],
        histograms: vec![histogram(3, Count::Int(1)), histogram(4, Count::Int(1))],
    };
    let of = [("__name__", "a"), ("b", &long)];
    let series = Series { labels: &of, samples: &samples, exemplars: &[exemplar], about: Some(&about) };
    let (mut request, mut sent, mut all) = (Request::default(), Sent::default(), Counts::default());
    for number in 1..=5 {
        let done = request.add(&series, &mut sent, 4096);
        let (message, hashes, counts) = request.take();
        assert_eq!((done, counts.total(), hashes.len()), (number == 5, 1, 1));
        assert_eq!(wire::v2::Request::decode(&*message).unwrap().timeseries.len(), 1);
        all.add(counts);
    }
    assert_eq!(all, Counts { samples: 2, histograms: 2, exemplars: 1 });
}

#[test]
fn help_is_cut_between_characters() {
    let about = About { kind: 1, help: format!("x{}", "é".repeat(9000)), unit: "u".repeat(16 << 10) };
    let samples = Samples { floats: vec![sample(1, 1.0, 0)], histograms: vec![] };
    let series = Series { labels: &[("__name__", "a")], samples: &samples, exemplars: &[], about: Some(&about) };
    let mut request = Request::default();
    assert!(request.add(&series, &mut Sent::default(), 1 << 20));
    let read = wire::v2::Request::decode(&*request.take().0).unwrap();
    let metadata = read.timeseries[0].metadata.unwrap();
    let (help, unit) = (&read.symbols[metadata.help_ref as usize], &read.symbols[metadata.unit_ref as usize]);
    assert_eq!((help.len(), unit.len()), ((16 << 10) - 1, 16 << 10));
    assert!(about.help.starts_with(&**help));
}

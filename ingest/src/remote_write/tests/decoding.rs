//! The decoders: captured requests, everything prost can encode, layouts no sender uses, and noise.

use proptest::{collection::vec, prelude::*};
use prost::Message as _;

use super::{decode, messages, read, readable};
use crate::remote_write::{Decoded, Version};

fn capture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/captures/{name}", env!("CARGO_MANIFEST_DIR"));
    snap::raw::Decoder::new().decompress_vec(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn captured_samples_are_decoded() {
    insta::assert_snapshot!(read(Version::V1, &capture("prometheus-2.42-samples.snappy")));
}

#[test]
fn captured_metadata_is_decoded() {
    insta::assert_snapshot!(read(Version::V1, &capture("prometheus-2.42-metadata.snappy")));
}

#[test]
fn captured_staleness_markers_keep_their_bits() {
    let text = read(Version::V1, &capture("prometheus-2.42-stale.snappy"));
    assert!(text.contains("NaN(0x7ff0000000000002)"), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_request_with_every_field_of_version_2_is_decoded() {
    let mut request = messages::v2::Request::empty();
    let (help, unit) = (request.symbol("Requests served."), request.symbol("seconds"));
    let trace = request.refs(&[("trace_id", "abc")]);
    let series = request.add(&[("__name__", "requests.total"), ("path", "/\u{1f600}\n")]);
    series.samples.push(messages::v2::Sample { value: 1.0, timestamp: 1000, start_timestamp: 500 });
    series.samples.push(messages::v2::Sample { value: f64::NEG_INFINITY, timestamp: -1, start_timestamp: 0 });
    series.exemplars.push(messages::v2::Exemplar { labels_refs: trace, value: f64::NAN, timestamp: 999 });
    series.metadata = Some(messages::v2::Metadata { r#type: 1, help_ref: help, unit_ref: unit });
    series.created_timestamp = 77;
    let series = request.add(&[("__name__", "latency")]);
    series.histograms.push(messages::Histogram { start_timestamp: 7, ..messages::int_histogram(2000) });
    series.histograms.push(messages::float_histogram(3000));
    series.histograms.push(messages::custom_histogram(4000));
    insta::assert_snapshot!(read(Version::V2, &request.encode_to_vec()));
}

#[test]
fn fields_may_come_in_any_order() {
    let whole = messages::v1::TimeSeries {
        exemplars: vec![messages::v1::Exemplar {
            labels: vec![messages::v1::label("t", "1")],
            value: 2.0,
            timestamp: 3,
        }],
        ..messages::v1::series(&[("__name__", "m"), ("a", "1")], &[(5, 6.0)])
    };
    let (labels, rest) = whole.labels.split_at(1);
    let part =
        |labels: &[messages::v1::Label]| messages::v1::TimeSeries { labels: labels.to_vec(), ..Default::default() };
    let values = messages::v1::TimeSeries { labels: Vec::new(), ..whole.clone() };
    // Concatenated messages are one message: here labels, values, labels.
    let message = [part(labels).encode_to_vec(), values.encode_to_vec(), part(rest).encode_to_vec()].concat();
    let mut body = vec![0x0a, u8::try_from(message.len()).unwrap()];
    body.extend(message);
    let straight = messages::v1::WriteRequest { timeseries: vec![whole], metadata: Vec::new() }.encode_to_vec();
    assert_eq!(read(Version::V1, &body), read(Version::V1, &straight));
    let hash = |body: &[u8]| decode(Version::V1, body).unwrap().series[0].hash;
    assert_eq!(hash(&body), hash(&straight));
}

#[test]
fn references_may_be_unpacked_scattered_and_ahead_of_their_symbols() {
    // Series: unpacked reference 1, exemplar with packed references 3 and 4, packed reference 2, a sample.
    let exemplar = [0x0a, 2, 3, 4];
    let mut series = vec![0x08, 1, 0x22, 4];
    series.extend(exemplar);
    series.extend([0x0a, 1, 2, 0x12, 2, 0x10, 9]);
    let mut body = vec![0x2a, u8::try_from(series.len()).unwrap()];
    body.extend(series);
    for symbol in ["", "__name__", "m", "trace_id", "x"] {
        body.extend([0x22, u8::try_from(symbol.len()).unwrap()]);
        body.extend(symbol.as_bytes());
    }
    let text = read(Version::V2, &body);
    assert_eq!(text, "series {__name__=\"m\"} \n  sample 9 0.0 start 0\n  exemplar 0 0.0 {trace_id=\"x\"}\n");
}

#[test]
fn unknown_fields_of_every_kind_are_skipped() {
    let known = messages::v1::WriteRequest {
        timeseries: vec![messages::v1::series(&[("__name__", "m")], &[(5, 6.0)])],
        metadata: Vec::new(),
    };
    let plain = known.encode_to_vec();
    // Field 100 as varint, as 64 bits, as bytes, as 32 bits.
    let mut body =
        vec![0xa0, 0x06, 0x96, 0x01, 0xa1, 0x06, 1, 2, 3, 4, 5, 6, 7, 8, 0xa2, 0x06, 2, 9, 9, 0xa5, 0x06, 1, 2, 3, 4];
    body.extend(&plain);
    assert_eq!(read(Version::V1, &body), "series {__name__=\"m\"} \n  sample 5 6.0 start 0\n");
}

#[test]
fn a_message_of_the_other_version_is_refused_and_not_taken_for_an_empty_one() {
    let v1 = messages::v1::WriteRequest {
        timeseries: vec![messages::v1::series(&[("__name__", "m")], &[(5, 6.0)])],
        metadata: Vec::new(),
    };
    let mut v2 = messages::v2::Request::empty();
    v2.add(&[("__name__", "m")]).sample(5, 6.0);
    assert!(read(Version::V2, &v1.encode_to_vec()).contains("version 1.0?"));
    assert!(read(Version::V1, &v2.encode_to_vec()).contains("version 2.0?"));
    assert_eq!(read(Version::V1, &[]), "");
    assert_eq!(read(Version::V2, &[]), "");
}

#[test]
fn errors_name_the_byte() {
    let cases: [(&[u8], &str); 8] = [
        (&[0x0a, 5, 1], "length points beyond its message at_byte=1"),
        (&[0x08, 1], "field has the wrong wire type at_byte=0"),
        (&[0x0a, 2, 0x0b, 0], "groups are not supported at_byte=2"),
        (&[0x0a, 2, 0x0f, 0], "unknown wire type at_byte=2"),
        (&[0x0a, 2, 0x00, 0], "field number out of range at_byte=2"),
        (&[0x0a, 4, 0x12, 2, 0x09, 1], "message ends inside a 64-bit word at_byte=5"),
        (&[0x0a, 3, 0x28, 0x80, 0x80], "message ends inside a varint at_byte=3"),
        (&[0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], "varint longer than 64 bits at_byte=1"),
    ];
    for (body, error) in cases {
        assert_eq!(read(Version::V1, body), error, "{body:02x?}");
    }
}

#[test]
fn a_series_may_not_refer_beyond_the_symbols() {
    let mut request = messages::v2::Request::empty();
    request.add(&[("__name__", "good")]).sample(1, 1.0);
    request.add(&[("__name__", "bad")]).sample(1, 1.0).labels_refs[1] = 99;
    request.add(&[("__name__", "odd")]).sample(1, 1.0).labels_refs.pop();
    let text = read(Version::V2, &request.encode_to_vec());
    assert!(text.contains("series {__name__=\"good\"} \n"), "{text}");
    assert!(text.contains("symbol that is not there"), "{text}");
    assert!(text.contains("odd number of label references"), "{text}");
    request.symbols[0] = "not empty".into();
    assert!(read(Version::V2, &request.encode_to_vec()).contains("first symbol is not the empty string"));
}

#[test]
fn a_request_of_endless_tiny_series_is_refused() {
    let body = [0x0a, 0].repeat(1_000_000);
    assert!(read(Version::V1, &body).starts_with("too many series in one request"));
}

#[test]
fn a_body_cut_anywhere_is_an_error_within_it_or_a_shorter_request() {
    let mut request = messages::v2::Request::empty();
    let series = request.add(&[("__name__", "latency")]);
    series.histograms.push(messages::int_histogram(2000));
    let body = request.encode_to_vec();
    for cut in 1..body.len() {
        if let Err(error) = decode(Version::V2, &body[..cut]) {
            assert!(error.at <= cut, "{error} of {cut}");
        }
    }
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![any::<u64>().prop_map(f64::from_bits), Just(0.0), Just(f64::from_bits(0x7ff0_0000_0000_0002))]
}

fn label_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,8}", any::<String>()]
}

prop_compose! {
    fn v1_series()(
        labels in vec((label_text(), label_text()), 0..6),
        samples in vec((value(), any::<i64>()), 0..5),
        exemplars in vec((vec((label_text(), label_text()), 0..3), value(), any::<i64>()), 0..3),
    ) -> messages::v1::TimeSeries {
        let to_labels = |pairs: Vec<(String, String)>| pairs.iter().map(|(n, v)| messages::v1::label(n, v)).collect();
        messages::v1::TimeSeries {
            labels: to_labels(labels),
            samples: samples.into_iter().map(|(value, timestamp)| messages::v1::Sample { value, timestamp }).collect(),
            exemplars: exemplars.into_iter()
                .map(|(labels, value, timestamp)| messages::v1::Exemplar { labels: to_labels(labels), value, timestamp })
                .collect(),
            histograms: Vec::new(),
        }
    }
}

/// What the decoder should say of a request, by the message itself.
fn expected(request: &messages::v1::WriteRequest) -> String {
    let labels = |labels: &[messages::v1::Label]| {
        let pairs: Vec<_> = labels.iter().map(|label| format!("{}={:?}", label.name, label.value)).collect();
        format!("{{{}}}", pairs.join(", "))
    };
    let mut out = String::new();
    for series in &request.timeseries {
        out += &format!("series {} \n", labels(&series.labels));
        for s in &series.samples {
            out += &format!("  sample {} {} start 0\n", s.timestamp, super::number(s.value.to_bits()));
        }
        for e in &series.exemplars {
            out += &format!("  exemplar {} {} {}\n", e.timestamp, super::number(e.value.to_bits()), labels(&e.labels));
        }
    }
    for m in &request.metadata {
        out += &format!("metadata {} {} {:?} {:?}\n", m.metric_family_name, m.r#type, m.unit, m.help);
    }
    out
}

proptest! {
    #[test]
    fn what_prost_encodes_of_version_1_is_decoded(
        timeseries in vec(v1_series(), 0..4),
        metadata in vec((0i32..8, any::<String>(), any::<String>()), 0..3),
    ) {
        let metadata = metadata.into_iter()
            .map(|(r#type, metric_family_name, help)| messages::v1::MetricMetadata { r#type, metric_family_name, help, unit: "s".into() })
            .collect();
        let request = messages::v1::WriteRequest { timeseries, metadata };
        prop_assert_eq!(read(Version::V1, &request.encode_to_vec()), expected(&request));
    }

    /// The same series in both messages decode to the same text.
    #[test]
    fn what_prost_encodes_of_version_2_is_decoded(timeseries in vec(v1_series(), 0..4)) {
        let mut request = messages::v2::Request::empty();
        for series in &timeseries {
            let pairs = |labels: &[messages::v1::Label]| labels.iter().map(|l| (l.name.clone(), l.value.clone())).collect::<Vec<_>>();
            let mut refs = |labels: &[messages::v1::Label]| {
                let pairs = pairs(labels);
                request.refs(&pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>())
            };
            let series = messages::v2::TimeSeries {
                labels_refs: refs(&series.labels),
                samples: series.samples.iter()
                    .map(|s| messages::v2::Sample { value: s.value, timestamp: s.timestamp, start_timestamp: 0 })
                    .collect(),
                exemplars: series.exemplars.iter()
                    .map(|e| messages::v2::Exemplar { labels_refs: refs(&e.labels), value: e.value, timestamp: e.timestamp })
                    .collect(),
                ..Default::default()
            };
            request.timeseries.push(series);
        }
        let text = read(Version::V2, &request.encode_to_vec()).replace("series has neither samples nor histograms", "");
        prop_assert_eq!(text, expected(&messages::v1::WriteRequest { timeseries, metadata: Vec::new() }));
    }

    #[test]
    fn noise_never_panics(body in vec(any::<u8>(), 0..400)) {
        for version in [Version::V1, Version::V2] {
            if let Ok(decoded) = decode(version, &body) {
                readable(&decoded, &body);
            }
        }
    }

    /// Noise that gets further in: a good request with a few bytes changed, read into a value used before.
    #[test]
    fn damaged_requests_never_panic(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut request = messages::v2::Request::empty();
        let trace = request.refs(&[("trace_id", "abc")]);
        let series = request.add(&[("__name__", "latency"), ("job", "api")]);
        series.histograms.push(messages::int_histogram(2000));
        series.histograms.push(messages::float_histogram(2000));
        series.exemplars.push(messages::v2::Exemplar { labels_refs: trace, value: 1.0, timestamp: 999 });
        request.add(&[("__name__", "up")]).sample(5, 1.0);
        let mut body = request.encode_to_vec();
        let mut decoded = Decoded::default();
        decoded.read(Version::V2, &body).unwrap();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if decoded.read(Version::V2, &body).is_ok() {
            readable(&decoded, &body);
        }
    }
}

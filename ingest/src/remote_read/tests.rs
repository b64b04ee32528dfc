//! Messages of remote read, written and read by `prost` from the public definitions, so that no decoder of ours checks itself.

use promql::STALE;
use prost::Message;

use super::*;
use crate::samples::{Count, ResetHint};

#[derive(Clone, PartialEq, Message)]
struct ReadRequest {
    #[prost(message, repeated, tag = "1")]
    queries: Vec<QueryMessage>,
    #[prost(int32, repeated, tag = "2")]
    accepted: Vec<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct QueryMessage {
    #[prost(int64, tag = "1")]
    start_ms: i64,
    #[prost(int64, tag = "2")]
    end_ms: i64,
    #[prost(message, repeated, tag = "3")]
    matchers: Vec<MatcherMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct MatcherMessage {
    #[prost(int32, tag = "1")]
    op: i32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct ReadResponse {
    #[prost(message, repeated, tag = "1")]
    results: Vec<QueryResult>,
}

#[derive(Clone, PartialEq, Message)]
struct QueryResult {
    #[prost(message, repeated, tag = "1")]
    series: Vec<SeriesMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct SeriesMessage {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<LabelMessage>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<SampleMessage>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<HistogramMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct SampleMessage {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// Enough of a histogram to see every kind of field.
#[derive(Clone, PartialEq, Message)]
struct HistogramMessage {
    #[prost(double, tag = "2")]
    count: f64,
    #[prost(double, tag = "3")]
    sum: f64,
    #[prost(sint32, tag = "4")]
    schema: i32,
    #[prost(message, repeated, tag = "8")]
    negative_spans: Vec<SpanMessage>,
    #[prost(double, repeated, tag = "10")]
    negative_counts: Vec<f64>,
    #[prost(message, repeated, tag = "11")]
    positive_spans: Vec<SpanMessage>,
    #[prost(sint64, repeated, tag = "12")]
    positive_deltas: Vec<i64>,
    #[prost(int32, tag = "14")]
    hint: i32,
    #[prost(int64, tag = "15")]
    timestamp: i64,
    #[prost(double, repeated, tag = "16")]
    custom_values: Vec<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct SpanMessage {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Frame {
    #[prost(message, repeated, tag = "1")]
    series: Vec<ChunkedSeries>,
    #[prost(int64, tag = "2")]
    query: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ChunkedSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<LabelMessage>,
    #[prost(message, repeated, tag = "2")]
    chunks: Vec<ChunkMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct ChunkMessage {
    #[prost(int64, tag = "1")]
    min_ms: i64,
    #[prost(int64, tag = "2")]
    max_ms: i64,
    #[prost(int32, tag = "3")]
    kind: i32,
    #[prost(bytes, tag = "4")]
    data: Vec<u8>,
}

fn label(name: &str, value: &str) -> LabelMessage {
    LabelMessage { name: name.into(), value: value.into() }
}

#[test]
fn a_request_says_what_is_wanted_and_how() {
    let matchers = [("=", 0), ("!=", 1), ("=~", 2), ("!~", 3)];
    let asked: Vec<_> = matchers.iter().map(|(op, _)| Matcher { op, label: "job", value: "a|b" }).collect();
    let request = ReadRequest::decode(&*request(&asked, -5, 1_700_000_000_000)).unwrap();
    assert_eq!(request.accepted, [1, 0]);
    let [query] = &request.queries[..] else { panic!("{request:?}") };
    assert_eq!((query.start_ms, query.end_ms), (-5, 1_700_000_000_000));
    let ops: Vec<_> = query.matchers.iter().map(|matcher| matcher.op).collect();
    assert_eq!(ops, matchers.map(|(_, number)| number));
    assert!(query.matchers.iter().all(|matcher| (&*matcher.name, &*matcher.value) == ("job", "a|b")));
}

#[test]
fn an_answer_in_samples_is_read() {
    let span = |offset, length| SpanMessage { offset, length };
    let histogram = HistogramMessage {
        count: 7.5,
        sum: f64::from_bits(STALE),
        schema: -53,
        negative_spans: vec![span(-3, 1)],
        negative_counts: vec![0.5],
        positive_spans: vec![span(2, 2), span(0, 1)],
        positive_deltas: vec![1, -1, i64::MIN],
        hint: 2,
        timestamp: -9,
        custom_values: vec![0.1, 0.2],
    };
    let series = SeriesMessage {
        labels: vec![label("__name__", "up"), label("job", "é")],
        samples: vec![SampleMessage { value: 1.5, timestamp: 20 }, SampleMessage { value: f64::NAN, timestamp: 10 }],
        histograms: vec![histogram],
    };
    let answer = ReadResponse { results: vec![QueryResult { series: vec![series.clone(), series] }] }.encode_to_vec();
    let mut seen = 0;
    samples::<DecodeError>(&answer, |series| {
        seen += 1;
        assert_eq!(series.labels, [("__name__", "up"), ("job", "é")]);
        let times: Vec<_> = series.samples.floats.iter().map(|sample| sample.ts_ms).collect();
        assert_eq!(times, [10, 20]);
        let [h] = &series.samples.histograms[..] else { panic!("{series:?}") };
        assert_eq!((h.ts_ms, h.count, h.zero_count), (-9, Count::Float(7.5), Count::Float(0.0)));
        assert_eq!((h.sum_bits, h.schema, h.reset_hint), (STALE, -53, ResetHint::No));
        assert_eq!((&h.negative.spans[..], &h.negative.counts[..]), (&[(-3, 1)][..], &[0.5][..]));
        assert_eq!((&h.positive.spans[..], &h.positive.deltas[..]), (&[(2, 2), (0, 1)][..], &[1, -1, i64::MIN][..]));
        assert_eq!(h.custom_values, [0.1, 0.2]);
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, 2);
    assert!(samples::<DecodeError>(&answer[..answer.len() - 1], |_| Ok(())).is_err());
}

/// A frame with one good chunk, of one sample, and one that is none.
fn framed() -> Vec<u8> {
    let good = [&[0, 1, 0x14][..], &2.5f64.to_be_bytes()].concat();
    let chunk = |kind, data| ChunkMessage { min_ms: 10, max_ms: 10, kind, data };
    let series = ChunkedSeries { labels: vec![label("a", "b")], chunks: vec![chunk(1, good), chunk(99, vec![1])] };
    let body = Frame { series: vec![series], query: 0 }.encode_to_vec();
    let mut bytes = vec![u8::try_from(body.len()).unwrap()];
    bytes.extend(crc32c::crc32c(&body).to_be_bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn frames_are_read_with_their_chunks() {
    let bytes = [framed(), framed()].concat();
    let (body, length) = unframe(&bytes).unwrap().unwrap();
    assert_eq!(length, bytes.len() / 2);
    let mut seen = 0;
    frame::<DecodeError>(body, |series| {
        seen += 1;
        assert_eq!(series.labels, [("a", "b")]);
        let expected = Sample { ts_ms: 10, bits: 2.5f64.to_bits(), start_ms: 0 };
        assert_eq!(series.samples.floats, [expected]);
        assert_eq!(series.broken.len(), 1);
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, 1);
}

#[test]
fn a_frame_is_whole_or_awaited_or_refused() {
    let whole = framed();
    for length in 0..whole.len() {
        assert_eq!(unframe(&whole[..length]), Ok(None), "{length}");
    }
    for at in 1..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        assert!(unframe(&bytes).is_err(), "{at}");
    }
    assert!(unframe(&[0xff; 9]).is_err());
    assert!(unframe(&[0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0]).is_err());
}

//! Native histograms: which contradict themselves, and how fine ones are scaled down.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use prost::Message as _;

use super::{decode, messages};
use crate::remote_write::{Decoded, Version, decoded::Side};

fn decoded(histogram: &messages::Histogram) -> Decoded {
    let mut request = messages::v2::Request::empty();
    request.add(&[("__name__", "h")]).histograms.push(histogram.clone());
    decode(Version::V2, &request.encode_to_vec()).unwrap()
}

fn fault(histogram: &messages::Histogram) -> &'static str {
    decoded(histogram).histograms[0].fault.map_or("", |fault| fault.text)
}

fn changed(change: impl FnOnce(&mut messages::Histogram)) -> &'static str {
    let mut histogram = messages::int_histogram(1);
    change(&mut histogram);
    fault(&histogram)
}

#[test]
fn sound_histograms_are_accepted() {
    assert_eq!(fault(&messages::int_histogram(1)), "");
    assert_eq!(fault(&messages::float_histogram(1)), "");
    assert_eq!(fault(&messages::custom_histogram(1)), "");
    assert_eq!(fault(&messages::Histogram::default()), "", "an empty histogram");
    let stale = messages::Histogram { sum: f64::from_bits(0x7ff0_0000_0000_0002), ..Default::default() };
    assert_eq!(fault(&stale), "", "a stale marker");
    // An observation of NaN is counted but in no bucket.
    assert_eq!(changed(|h| (h.count, h.sum) = (Some(messages::Count::Int(13)), f64::NAN)), "");
}

#[test]
fn integer_histograms_that_contradict_themselves_are_refused() {
    let int = |count| Some(messages::Count::Int(count));
    assert_eq!(changed(|h| h.count = int(13)), "histogram count is not the sum of its buckets");
    assert_eq!(
        changed(|h| (h.count, h.sum) = (int(11), f64::NAN)),
        "histogram has more observations in its buckets than its count"
    );
    assert_eq!(changed(|h| h.schema = -5), "histogram has an unknown schema");
    assert_eq!(changed(|h| h.schema = 53), "histogram has an unknown schema");
    assert_eq!(changed(|h| h.positive_spans[1].offset = -1), "histogram has overlapping spans");
    let spans = "histogram has more or fewer buckets than its spans say";
    assert_eq!(changed(|h| h.positive_spans[1].length = u32::MAX), spans);
    assert_eq!(changed(|h| h.negative_deltas.push(1)), spans);
    assert_eq!(changed(|h| h.positive_deltas[1] = -2), "histogram has a negative bucket");
    assert_eq!(changed(|h| h.positive_deltas = vec![i64::MAX, 1, 1]), "histogram has bucket counts beyond 64 bits");
    assert_eq!(changed(|h| h.positive_spans[0].offset = i32::MAX), "histogram has a bucket index out of range");
    assert_eq!(changed(|h| h.custom_values = vec![1.0]), "histogram has custom bounds but an exponential schema");
    assert_eq!(changed(|h| h.positive_counts = vec![1.0]), "histogram mixes integer and float buckets");
    assert_eq!(
        changed(|h| h.zero_count = Some(messages::ZeroCount::Float(2.0))),
        "histogram mixes integer and float counts"
    );
    let huge = messages::Histogram { count: int(u64::MAX), sum: f64::NAN, ..Default::default() };
    assert_eq!(fault(&huge), "histogram has a count beyond 63 bits");
}

#[test]
fn float_histograms_that_contradict_themselves_are_refused() {
    let float = |change: fn(&mut messages::Histogram)| {
        let mut histogram = messages::float_histogram(1);
        change(&mut histogram);
        fault(&histogram)
    };
    assert_eq!(float(|h| h.count = Some(messages::Count::Float(-1.0))), "histogram has a negative count");
    assert_eq!(float(|h| h.positive_counts[0] = -1.0), "histogram has a negative bucket");
    // The sum of float buckets is not compared: it depends on the order of addition.
    assert_eq!(float(|h| h.count = Some(messages::Count::Float(100.0))), "");
}

#[test]
fn custom_bounds_that_contradict_themselves_are_refused() {
    let custom = |change: fn(&mut messages::Histogram)| {
        let mut histogram = messages::custom_histogram(1);
        change(&mut histogram);
        fault(&histogram)
    };
    let bounds = "histogram has custom bounds that do not rise, or that end in +Inf";
    assert_eq!(custom(|h| h.custom_values = vec![1.0, 1.0]), bounds);
    assert_eq!(custom(|h| h.custom_values = vec![0.5, f64::INFINITY]), bounds);
    assert_eq!(custom(|h| h.custom_values = vec![f64::NAN]), bounds);
    assert_eq!(custom(|h| h.custom_values = vec![0.5]), "histogram has buckets beyond its custom bounds");
    assert_eq!(custom(|h| h.positive_spans[0].offset = -1), "histogram has buckets beyond its custom bounds");
    assert_eq!(custom(|h| h.zero_threshold = 0.1), "histogram has custom bounds and a zero bucket");
    assert_eq!(
        custom(|h| h.negative_spans = vec![messages::span(0, 0)]),
        "histogram has custom bounds and negative buckets"
    );
}

#[test]
fn equal_histograms_have_equal_bits_and_others_have_not() {
    let bits = |histogram: &messages::Histogram| decoded(histogram).histograms[0].bits;
    let whole = messages::int_histogram(1);
    // The time is compared on its own.
    assert_eq!(bits(&whole), bits(&messages::int_histogram(2)));
    let mut other = whole.clone();
    other.positive_spans[1].offset = 2;
    assert_ne!(bits(&whole), bits(&other));
    let mut other = whole.clone();
    other.sum = -other.sum;
    assert_ne!(bits(&whole), bits(&other));
    let other = messages::Histogram { positive_deltas: vec![2, 0, 0], ..whole.clone() };
    assert_eq!(fault(&other), "");
    assert_ne!(bits(&whole), bits(&other));
}

/// Buckets by index, those without observations left out.
fn by_index(decoded: &Decoded, side: &Side, float: bool) -> BTreeMap<i64, f64> {
    let mut counts: Vec<f64> = decoded.buckets.floats[side.counts.range()].to_vec();
    if !float {
        let mut absolute = 0;
        counts = decoded.buckets.deltas[side.deltas.range()]
            .iter()
            .map(|delta| {
                absolute += delta;
                f64::from(i32::try_from(absolute).unwrap())
            })
            .collect();
    }
    let (mut index, mut out, mut counts) = (0i64, BTreeMap::new(), counts.into_iter());
    for (offset, length) in &decoded.buckets.spans[side.spans.range()] {
        index += i64::from(*offset);
        for _ in 0..*length {
            out.insert(index, counts.next().unwrap());
            index += 1;
        }
    }
    assert_eq!(counts.next(), None);
    out
}

proptest! {
    /// A bucket of a finer schema goes where its upper bound lies among the bounds of schema 8.
    #[test]
    fn finer_schemas_are_scaled_down_to_8(
        by in 1i32..6,
        float in any::<bool>(),
        first in -40i32..40,
        runs in vec((0i32..7, vec(0i64..9, 1..6)), 1..6),
    ) {
        let counts: Vec<i64> = runs.iter().flat_map(|run| run.1.clone()).collect();
        let mut spans: Vec<_> = runs.iter().map(|run| messages::span(run.0, u32::try_from(run.1.len()).unwrap())).collect();
        spans[0].offset = first;
        let mut before = 0;
        let deltas = counts.iter().map(|count| count - std::mem::replace(&mut before, *count)).collect();
        let sum: i64 = counts.iter().sum();
        let float_counts: Vec<f64> = counts.iter().map(|count| f64::from(i32::try_from(*count).unwrap())).collect();
        let histogram = if float {
            messages::Histogram { count: Some(messages::Count::Float(1.0)), schema: 8 + by, positive_spans: spans, positive_counts: float_counts.clone(), ..Default::default() }
        } else {
            messages::Histogram { count: Some(messages::Count::Int(u64::try_from(sum).unwrap())), schema: 8 + by, positive_spans: spans, positive_deltas: deltas, ..Default::default() }
        };
        let decoded = decoded(&histogram);
        let scaled = &decoded.histograms[0];
        prop_assert_eq!(scaled.fault, None);
        prop_assert_eq!(scaled.schema, 8);

        let mut expected: BTreeMap<i64, f64> = BTreeMap::new();
        let (mut index, mut counts) = (0i64, float_counts.into_iter());
        for span in &histogram.positive_spans {
            index += i64::from(span.offset);
            for _ in 0..span.length {
                // Upper bound of bucket i is base^(i), base = 2^(2^-schema): in steps of schema 8, i / 2^by, rounded up.
                let step = 1i64 << by;
                let target = index.div_euclid(step) + i64::from(index.rem_euclid(step) > 0);
                *expected.entry(target).or_default() += counts.next().unwrap();
                index += 1;
            }
        }
        prop_assert_eq!(by_index(&decoded, &scaled.positive, float), expected);
    }
}
